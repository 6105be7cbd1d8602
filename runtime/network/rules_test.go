package network

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mayfly/runtime/network/address"
)

// ruleset is what nft(8) lists, or "".
func ruleset(t *testing.T, what ...string) string {
	t.Helper()
	out, err := exec.Command(nft, append([]string{"--numeric", "list"}, what...)...).Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}

// owners are the elements of the set of owners.
func owners(t *testing.T) (list []string) {
	t.Helper()
	_, elements, some := strings.Cut(ruleset(t, "set", "ip", nftTable, nftOwners), "elements = {")
	if !some {
		return nil
	}
	elements, _, _ = strings.Cut(elements, "}")
	for _, e := range strings.Split(elements, ",") {
		list = append(list, strings.Join(strings.Fields(e), " "))
	}
	slices.Sort(list)
	return list
}

// element is an element of the set of owners, as owners has it.
func element(a address.Address, owner uint32) string { return fmt.Sprintf("%v . %d", a, owner) }

// forwarding is the setting of an interface.
func forwarding(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/forwarding")
	must(t, err)
	return strings.TrimSpace(string(content))
}

// withForwarding gives the interfaces that are there, and those to come, a setting.
func withForwarding(t *testing.T, value string) {
	t.Helper()
	for _, name := range []string{"all", "default", "lo"} {
		must(t, os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/forwarding", []byte(value), 0))
	}
}

// The rules can be made twice, and neither an element nor a rule is lost or doubled.
func TestRulesAreMadeTwice(t *testing.T) {
	if !isInside(t) {
		return
	}
	must(t, translate(address.DefaultRange))
	first := ruleset(t, "table", "ip", nftTable)
	for _, line := range []string{
		"ip saddr 10.87.0.0/16 ip daddr != 10.87.0.0/16 masquerade",
		`oifname "mayfly0"`, `oifname != "mayfly0" accept`, "ip daddr . meta skuid @owners accept", "reject with icmp",
	} {
		if strings.Count(first, line) != 1 {
			t.Errorf("%q is not there once", line)
		}
	}
	rules, err := openRules()
	must(t, err)
	defer rules.Close()
	a := address.DefaultRange.At(7)
	for range 2 {
		must(t, changeOwner(rules, unix.NFT_MSG_NEWSETELEM, a, someone))
		must(t, translate(address.DefaultRange))
		if got := owners(t); !slices.Equal(got, []string{element(a, someone)}) {
			t.Errorf("owners are %q", got)
		}
	}
	must(t, changeOwner(rules, unix.NFT_MSG_DELSETELEM, a, someone))
	if now := ruleset(t, "table", "ip", nftTable); now != first {
		t.Errorf("the rules are\n%s\nand were\n%s", now, first)
	}
	if err := changeOwner(rules, unix.NFT_MSG_DELSETELEM, a, someone); err != unix.ENOENT {
		t.Errorf("an element that is not there: %v", err)
	}
	if removed, err := removeBridge(); removed || err != nil {
		t.Errorf("there is no bridge to remove: %v, %v", removed, err)
	}
}

// Only what Mayfly has switched on is switched off again.
func TestForwardingThatOthersHaveSetStays(t *testing.T) {
	if !isInside(t) {
		return
	}
	withForwarding(t, "0")
	veth := netlink.NewVeth(attributes("theirs"))
	veth.PeerName = "ours"
	must(t, netlink.LinkAdd(veth))
	must(t, os.WriteFile("/proc/sys/net/ipv4/conf/theirs/forwarding", []byte("1"), 0))
	for _, c := range []struct{ from, to, want string }{{"0", forwarded, "12220"}, {"0", forwarded, "12220"}, {forwarded, "0", "10000"}} {
		must(t, setForwarding(c.from, c.to))
		got := ""
		for _, name := range []string{"theirs", "ours", "lo", "default", "all"} {
			got += forwarding(t, name)
		}
		if got != c.want {
			t.Errorf("from %s to %s: theirs, ours, lo, default and all are %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

func TestAnInterfaceThatComesMeanwhileForwards(t *testing.T) {
	if !isInside(t) {
		return
	}
	for round := range 30 {
		withForwarding(t, "0")
		stop, made := make(chan bool), make(chan []string)
		go func() {
			var names []string
			for i := 0; ; i++ {
				select {
				case <-stop:
					made <- names
					return
				default:
				}
				veth := netlink.NewVeth(attributes(fmt.Sprintf("a%d-%d", round, i)))
				veth.PeerName = fmt.Sprintf("b%d-%d", round, i)
				if err := netlink.LinkAdd(veth); err != nil {
					t.Error(err)
					continue
				}
				names = append(names, veth.Name, veth.PeerName)
			}
		}()
		err := setForwarding("0", forwarded)
		close(stop)
		names := <-made
		must(t, err)
		for _, name := range names {
			if got := forwarding(t, name); got != forwarded {
				t.Errorf("%s has %s", name, got)
			}
		}
		for _, name := range names {
			if l, err := netlink.LinkByName(name); err == nil { // it goes with the other end
				must(t, netlink.LinkDel(l))
			}
		}
	}
}

package attack

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

const (
	listens = `perl -MIO::Socket::INET -e '$| = 1; my $l = IO::Socket::INET->new(LocalAddr => "0.0.0.0:8080", Listen => 5, ReuseAddr => 1) or die; print "listening\n"; while (my $c = $l->accept) { print $c "hello\n"; close $c }'`
	connect = `perl -MIO::Socket::INET -e 'my $c = IO::Socket::INET->new(PeerAddr => "%s", Timeout => 3); print $c ? <$c> : "not reached\n"'`
)

// privateServer starts a container of the user's with a network of its own in which
// something listens, and returns its address.
func privateServer(t *testing.T, w way, flags ...string) string {
	t.Helper()
	args := append([]string{"run", "--quiet", "--name", "served", "--chdir", "/", "--network", "private"}, flags...)
	cmd := w.cmd(t, append(args, kit.Sealed, "sh", "-c", listens)...)
	out, err := cmd.StdoutPipe()
	kit.Must(t, err)
	kit.Must(t, cmd.Start())
	t.Cleanup(func() { w.run(t, "kill", "served"); _ = cmd.Wait(); kit.Root(t, "gc") })
	line := make([]byte, 64)
	n, _ := out.Read(line)
	if string(line[:n]) != "listening\n" {
		t.Fatalf("it says %q", line[:n])
	}
	found, _ := filepath.Glob("/run/mayfly-network/[0-9]*")
	if len(found) != 1 {
		t.Fatalf("addresses: %v", found)
	}
	return filepath.Base(found[0])
}

// privateRule lets everybody have a private network, and gives the grants what that
// takes.
func privateRule(t *testing.T, w way) {
	t.Helper()
	t.Cleanup(func() { kit.Must(t, w.setUp()) })
	rule(t, kit.AllModes)
	kit.Must(t, w.setUp())
}

// The ports of a private network that are not published are their owner's and root's.
func TestC44UnpublishedPorts(t *testing.T) {
	for _, w := range ways[:3] { // a service's capabilities are the same as a file's, and this one's lack CAP_NET_ADMIN
		t.Run(w.name, func(t *testing.T) {
			privateRule(t, w)
			address := privateServer(t, w, "--publish", "28090:8080")
			for what, c := range map[string]struct {
				cmd  *exec.Cmd
				want string
			}{
				"root":                        {exec.Command("sh", "-c", fmt.Sprintf(connect, address+":8080")), "hello\n"},
				"the owner":                   {kit.As(t, kit.User, "sh", "-c", fmt.Sprintf(connect, address+":8080")), "hello\n"},
				"the owner's other container": {w.cmd(t, "run", "--chdir", "/", kit.Image, "sh", "-c", fmt.Sprintf(connect, address+":8080")), "hello\n"},
				"another user":                {kit.As(t, kit.Other, "sh", "-c", fmt.Sprintf(connect, address+":8080")), "not reached\n"},
				"another user's container":    {w.as(t, kit.Other, w.args("run", "--chdir", "/", kit.Image, "sh", "-c", fmt.Sprintf(connect, address+":8080"))...), "not reached\n"},
				"another user's private one":  {w.as(t, kit.Other, w.args("run", "--chdir", "/", "--network", "private", kit.Image, "sh", "-c", fmt.Sprintf(connect, address+":8080"))...), "not reached\n"},
				"published, another user":     {kit.As(t, kit.Other, "sh", "-c", fmt.Sprintf(connect, "127.0.0.1:28090")), "hello\n"},
				"published, root":             {exec.Command("sh", "-c", fmt.Sprintf(connect, "127.0.0.1:28090")), "hello\n"},
			} {
				if r := kit.Do(t, c.cmd); r.Out != c.want {
					t.Errorf("%s: %+v, want %q", what, r, c.want)
				}
			}
			if i, err := net.InterfaceByName("mayfly0"); err != nil {
				t.Error(err)
			} else if addresses, _ := i.Addrs(); len(addresses) != 1 {
				t.Errorf("the bridge has more than its IPv4 address: %v", addresses)
			}
		})
	}
	kit.NothingLeft(t)
}

// An address that another user had, whose supervisor was killed, is not open to that
// one.
func TestC44TheAddressOfSomebodyKilled(t *testing.T) {
	w := ways[0]
	privateRule(t, w)
	cmd := w.as(t, kit.Other, w.args("run", "--quiet", "--name", "served", "--chdir", "/", "--network", "private", kit.Sealed, "sleep", "600")...)
	kit.Must(t, cmd.Start())
	kit.Eventually(t, "it runs", func() bool { return kit.Do(t, w.as(t, kit.Other, w.args("exec", "served", "true")...)).Code == 0 })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	kit.Eventually(t, "it is gone", func() bool { return len(kit.Inits(t)) == 0 })
	address := privateServer(t, w) // the same name, so the same address
	if r := kit.Do(t, kit.As(t, kit.Other, "sh", "-c", fmt.Sprintf(connect, address+":8080"))); r.Out != "not reached\n" {
		t.Errorf("who had the address before: %+v", r)
	}
	if r := kit.Do(t, kit.As(t, kit.User, "sh", "-c", fmt.Sprintf(connect, address+":8080"))); r.Out != "hello\n" {
		t.Errorf("the owner: %+v", r)
	}
}

// forwarding is which interfaces the host passes packets on from.
func forwarding(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `cd /proc/sys/net/ipv4/conf && for i in *; do case $i in mf*|mayfly*) ;; *) echo "$i $(cat $i/forwarding)";; esac; done; cat ../ip_forward`).Output()
	kit.Must(t, err)
	return string(out)
}

// What the host's settings were they are again; what others have set meanwhile stays.
func TestC45Forwarding(t *testing.T) {
	w := ways[0]
	privateRule(t, w)
	const setting, loopback = "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/lo/forwarding"
	was, err := os.ReadFile(setting)
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, os.WriteFile(setting, was, 0)) })
	kit.Root(t, "gc")
	kit.Must(t, os.WriteFile(setting, []byte("1"), 0))
	kit.Must(t, os.WriteFile(setting, []byte("0"), 0))
	kit.Must(t, os.WriteFile(loopback, []byte("1"), 0))
	before := forwarding(t)
	run := func() {
		t.Helper()
		if r := w.run(t, "run", "--chdir", "/", "--network", "private", kit.Image, "true"); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	run()
	if forwarding(t) == before {
		t.Error("the host forwards nothing")
	}
	kit.Root(t, "gc")
	if after := forwarding(t); after != before {
		t.Errorf("before %q, after %q", before, after)
	}
	run()
	kit.Must(t, os.WriteFile(setting, []byte("1"), 0))
	during := forwarding(t)
	kit.Root(t, "gc")
	if after := forwarding(t); after != during || !strings.HasSuffix(after, "\n1\n") {
		t.Errorf("somebody has set it since: %q, after %q", during, after)
	}
}

package network

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
	"mayfly/runtime/network/address"
)

// Names in nftables. An element of the set is an address, and the uid of the owner of
// the container that has it.
const (
	nftTable  = "mayfly"
	nftOwners = "owners"
)

// rules are the script that makes all rules.
//
// Containers reach what is outside, with the host's address as theirs. Nobody outside
// reaches them. From the host only root and their owners reach them: the rules ask for
// the uid of the socket (meta skuid). Otherwise every user of the host would find the
// ports open that a container does not publish. Two kinds of packets pass besides:
// answers to what a container has begun, and what the kernel sends for a TCP connection
// whose program has ended, which has no uid any more; but none that begins a
// connection.
//
// Each statement can be executed twice. None removes an element of the set: another
// launch may have added it since this one began.
const rules = `add table ip mayfly
add set ip mayfly owners { type ipv4_addr . uid; }
add chain ip mayfly postrouting { type nat hook postrouting priority srcnat; }
add chain ip mayfly forward { type filter hook forward priority filter; }
add chain ip mayfly output { type filter hook output priority filter; }
flush chain ip mayfly postrouting
flush chain ip mayfly forward
flush chain ip mayfly output
add rule ip mayfly postrouting ip saddr %[1]s ip daddr != %[1]s masquerade
add rule ip mayfly forward oifname "%[2]s" ct state != { established, related } drop
add rule ip mayfly output oifname != "%[2]s" accept
add rule ip mayfly output meta skuid 0 accept
add rule ip mayfly output ip daddr . meta skuid @owners accept
add rule ip mayfly output ct direction reply ct state { established, related } accept
add rule ip mayfly output tcp flags & (syn | ack) != syn ct state established accept
add rule ip mayfly output reject with icmp type admin-prohibited
`

// translate makes the rules of a range.
func translate(r address.Range) error { return runNFT(fmt.Sprintf(rules, r, BridgeName)) }

// runNFT has nft(8) execute a script. The process has CAP_NET_ADMIN, which the thread
// must have effective, and of the caller's world only the user id.
func runNFT(script string) error {
	cmd := exec.Command(nft, "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	cmd.Env, cmd.Dir = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{AmbientCaps: []uintptr{unix.CAP_NET_ADMIN}}
	var problem bytes.Buffer
	cmd.Stderr = &problem
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(problem.String()))
	}
	return nil
}

// withoutIPv6 switches IP version 6 off at the bridge. A container's interface has a
// link-local address. Every user of the host would reach it there, past the rules.
func withoutIPv6() error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+BridgeName+"/disable_ipv6", []byte("1\n"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the kernel has none
	}
	return err
}

// forwarded is the value of an interface's setting forwarding when Mayfly has switched
// it on. The kernel only asks whether the value is 0, and everybody else writes 1. So
// the setting itself tells what is to be switched off again, even if the process that
// switched it on was killed. What others have set, before or since, stays.
const forwarded = "2"

// setForwarding changes the setting from one value to another, for the interfaces that
// are there and those to come. To write net.ipv4.ip_forward would change the setting of
// every interface, whatever value it has.
func setForwarding(from, to string) error {
	const settings = "/proc/sys/net/ipv4/conf/"
	// First for those to come: an interface that comes meanwhile has the new value, or
	// is in the list that is made afterwards.
	if err := changeSetting(settings+"default/forwarding", from, to); err != nil {
		return err
	}
	names, err := filepath.Glob(settings + "*/forwarding")
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == settings+"all/forwarding" {
			continue
		}
		if err := changeSetting(name, from, to); err != nil {
			return err
		}
	}
	return nil
}

// changeSetting writes a value to a file of sysctl(8) that has another one. A file that
// is not there is one of an interface that has gone.
func changeSetting(name, from, to string) error {
	now, err := file.Read(name, 16)
	if err == nil && strings.TrimSpace(string(now)) == from {
		err = os.WriteFile(name, []byte(to+"\n"), 0)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

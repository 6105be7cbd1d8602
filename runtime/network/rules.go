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

// Names in nftables. An element of the set is an address and the uid of its container's owner.
const (
	nftTable  = "mayfly"
	nftOwners = "owners"
)

// rules let containers reach what is outside, under the host's address, and nobody
// outside reach them. From the host they are reached by root and by their owners, whose
// sockets tell (meta skuid): other users would find every port open that the container
// did not publish. What answers a container passes, and what the kernel still has to say
// of a TCP connection whose program is gone, which has no owner any more; but no new one.
//
// Each statement can be taken twice, and none removes an element of the set: another
// launch may have put it there since this one began.
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

func translate(r address.Range) error { return runNFT(fmt.Sprintf(rules, r, Bridge)) }

// runNFT runs nft(8) with nothing of the caller's but their id, and CAP_NET_ADMIN.
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

// withoutIPv6 leaves the bridge without IP version 6. A container's interface has a
// link-local address, by which every user of the host would reach it past the rules.
func withoutIPv6() error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+Bridge+"/disable_ipv6", []byte("1\n"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the kernel has none
	}
	return err
}

// forwarded is the setting of an interface by which the host passes on what it receives
// there, as Mayfly makes it: the kernel asks whether it is 0, and everybody else writes 1.
// So what is to be put back is known from the setting itself, whenever the process ends
// that made it, and what others have set, before or since, stays.
const forwarded = "2"

// setForwarding changes the setting from one value to another, for the interfaces that
// there are and those to come. (To write net.ipv4.ip_forward would overwrite it for all,
// whatever they have.)
func setForwarding(from, to string) error {
	const settings = "/proc/sys/net/ipv4/conf/"
	names, err := filepath.Glob(settings + "*/forwarding")
	if err != nil {
		return err
	}
	// First of those to come: of one that comes meanwhile it is known either way.
	for _, name := range append([]string{settings + "default/forwarding"}, names...) {
		now, err := file.Read(name, 16)
		if errors.Is(err, os.ErrNotExist) {
			continue // an interface that is gone
		}
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(now)) != from || name == settings+"all/forwarding" {
			continue
		}
		if err := os.WriteFile(name, []byte(to+"\n"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

package network

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mayfly/integration/kit"
)

const gateway = "10.87.0.1"

// ip runs ip(8).
func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %q: %v: %s", args, err, out)
	}
}

// nothingPrivate checks that no interface and no address of a container is there; after
// gc the bridge and its rules neither.
func nothingPrivate(t *testing.T) {
	t.Helper()
	kit.NothingLeft(t)
	kit.Eventually(t, "no interface is left", func() bool {
		left, err := filepath.Glob("/sys/class/net/mf0a*")
		return err == nil && len(left) == 0
	})
	if r := kit.Root(t, "gc"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if left, err := filepath.Glob("/run/mayfly-network/[0-9]*"); err != nil || len(left) > 0 {
		t.Errorf("addresses left: %q, %v", left, err)
	}
	if _, err := os.Stat("/sys/class/net/mayfly0"); err == nil {
		t.Error("the bridge is left")
	}
	if exec.Command("nft", "list", "table", "ip", "mayfly").Run() == nil {
		t.Error("rules are left")
	}
}

// answering is something that listens at all addresses of the thread's network and
// tells whom it has seen.
func answering(t *testing.T) (port string, seen func() string) {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	peers := make(chan string, 64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			peers <- host
			c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, func() string {
		select {
		case p := <-peers:
			return p
		case <-time.After(kit.Within(5 * time.Second)):
			return "nobody"
		}
	}
}

func TestPrivate(t *testing.T) {
	port, seen := answering(t)
	closed := server(t)
	for _, flags := range [][]string{nil, {"--root"}, {"--writable"}} {
		r := kit.Inside(t, interfaces+"cat /sys/class/net/eth0/operstate; "+fmt.Sprintf(reach, gateway+":"+port)+"; "+fmt.Sprintf(reach, closed)+"; cat /etc/resolv.conf",
			append(flags, "--network", "private", "--chdir", "/")...)
		if !strings.HasPrefix(r.Out, "eth0 lo up\nreached\nnot reached\n") || strings.Contains(r.Out, "127.") || r.Code != 0 {
			t.Errorf("%v: %+v", flags, r)
		}
		if peer := seen(); !strings.HasPrefix(peer, "10.87.") {
			t.Errorf("%v: the host sees %s", flags, peer)
		}
	}
	for _, script := range []string{"ip addr add 10.99.0.1/8 dev eth0", "ip link set eth0 down", "echo 1 >/proc/sys/net/ipv4/ip_forward"} {
		if r := kit.Inside(t, script, "--network", "private", "--root", "--writable"); r.Code == 0 {
			t.Errorf("%s: %+v", script, r)
		}
	}
	nothingPrivate(t)
}

// Outside is reached under the host's address, and reaches no container.
func TestOutside(t *testing.T) {
	t.Cleanup(func() { nothingPrivate(t) })
	ip(t, "netns", "add", "mayfly-outside")
	defer ip(t, "netns", "delete", "mayfly-outside")
	defer func() { _ = exec.Command("ip", "link", "delete", "mfoutside").Run() }()
	ip(t, "link", "add", "mfoutside", "type", "veth", "peer", "name", "out0", "netns", "mayfly-outside")
	ip(t, "addr", "add", "198.51.100.1/24", "dev", "mfoutside")
	ip(t, "link", "set", "mfoutside", "up")
	ip(t, "-n", "mayfly-outside", "addr", "add", "198.51.100.2/24", "dev", "out0")
	ip(t, "-n", "mayfly-outside", "link", "set", "out0", "up")
	ip(t, "-n", "mayfly-outside", "route", "add", "10.87.0.0/16", "via", "198.51.100.1")
	listener := exec.Command("ip", "netns", "exec", "mayfly-outside", "perl", "-MIO::Socket::INET", "-e",
		`$| = 1; my $l = IO::Socket::INET->new(LocalAddr => "198.51.100.2:9000", Listen => 5) or die; print "ready\n"; my $c = $l->accept; print $c->peerhost, "\n"; sleep 600`)
	out, err := listener.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Process.Kill(); _ = listener.Wait() }()
	line := make([]byte, 64)
	if _, err := out.Read(line); err != nil {
		t.Fatal(err)
	}
	if r := kit.Inside(t, fmt.Sprintf(reach, "198.51.100.2:9000"), "--network", "private"); r.Out != "reached\n" {
		t.Fatalf("%+v", r)
	}
	n, err := out.Read(line)
	if err != nil || string(line[:n]) != "198.51.100.1\n" {
		t.Errorf("outside sees %q, %v", line[:n], err)
	}
	background(t, "hidden", fmt.Sprintf(listen, "127.0.0.1:8080"), "--network", "private")
	address := strings.TrimSpace(kit.Run(t, "exec", "hidden", "sh", "-c", "grep -A1 '|-- 10' /proc/net/fib_trie | grep -B1 '/32 host' | head -n 1 | grep -o '10[.0-9]*'").Out)
	if !strings.HasPrefix(address, "10.87.") {
		t.Fatalf("address %q", address)
	}
	probe := exec.Command("ip", "netns", "exec", "mayfly-outside", "sh", "-c", fmt.Sprintf(reach, address+":8080"))
	if out, err := probe.Output(); err != nil || string(out) != "not reached\n" {
		t.Errorf("outside reaches a container: %s, %v", out, err)
	}
}

// Containers of one bridge do not reach each other, unless one has joined the other's
// network.
func TestContainersAreApart(t *testing.T) {
	t.Cleanup(func() { nothingPrivate(t) })
	background(t, "web", fmt.Sprintf(listen, "0.0.0.0:8080"), "--network", "private")
	address := strings.TrimSpace(kit.Run(t, "exec", "web", "sh", "-c", "grep -B1 '/32 host' /proc/net/fib_trie | grep -o '10[.][.0-9]*' | head -n 1").Out)
	for flag, want := range map[string]string{"private": "not reached\n", "join:web": "reached\n"} {
		if r := kit.Inside(t, fmt.Sprintf(reach, address+":8080"), "--network", flag, "--chdir", "/"); r.Out != want {
			t.Errorf("%s: %s: %+v", flag, address, r)
		}
	}
	if r := kit.Do(t, exec.Command("sh", "-c", fmt.Sprintf(reach, address+":8080"))); r.Out != "reached\n" {
		t.Errorf("the host: %+v", r)
	}
}

// Who has joined keeps the address when the one who had it first is gone.
func TestWhoHasJoinedStays(t *testing.T) {
	background(t, "first", fmt.Sprintf(listen, "127.0.0.1:8080"), "--network", "private")
	port, _ := answering(t)
	cmd := kit.As(t, kit.User, kit.Runtime, "run", "--quiet", "--name", "second", "--chdir", "/", "--network", "join:first", kit.Image, "sleep", "600")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _ = cmd.Wait(); kit.Code(cmd.ProcessState) != 143 || said.Len() > 0 {
			t.Errorf("who joined ends with %v: %s", cmd.ProcessState, &said)
		}
		if left, _ := filepath.Glob("/run/mayfly-network/[0-9]*"); len(left) > 0 {
			t.Errorf("addresses left: %q", left)
		}
		nothingPrivate(t)
	}()
	defer kit.Run(t, "kill", "second")
	kit.Eventually(t, "it runs", func() bool { return kit.Run(t, "exec", "second", "true").Code == 0 })
	kit.Run(t, "kill", "first")
	kit.Eventually(t, "the first is gone", func() bool { return !strings.Contains(kit.Run(t, "ps").Out, "first") })
	kit.Root(t, "gc")
	if r := kit.Run(t, "exec", "second", "sh", "-c", fmt.Sprintf(reach, gateway+":"+port)); r.Out != "reached\n" {
		t.Errorf("%+v", r)
	}
}

func TestPublish(t *testing.T) {
	t.Cleanup(func() { nothingPrivate(t) })
	background(t, "published", `exec perl -MIO::Socket::INET -e '$| = 1; my $l = IO::Socket::INET->new(LocalAddr => "0.0.0.0:80", Listen => 5) or die; print "listening\n"; while (my $c = $l->accept) { my $n = 0; while (<$c>) { $n += length } print $c "$n bytes\n"; close $c }'`,
		"--network", "private", "--publish", "28080:80")
	// Sent whole, with its end, and answered after that.
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			c, err := net.Dial("tcp4", "127.0.0.1:28080")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			size := i*300_000 + 1
			if _, err := c.Write([]byte(strings.Repeat("x", size))); err != nil {
				t.Error(err)
			}
			_ = c.(*net.TCPConn).CloseWrite()
			answer := make([]byte, 64)
			n, err := c.Read(answer)
			if want := fmt.Sprintf("%d bytes\n", size); err != nil || string(answer[:n]) != want {
				t.Errorf("%q, %v, want %q", answer[:n], err, want)
			}
		})
	}
	group.Wait()
	for what, c := range map[string]struct{ flags, problem string }{
		"in use":     {"--network private --publish 28080:80", "--publish 28080:80: port 28080 of the host: address already in use"},
		"a low port": {"--network private --publish 80:80", "--publish 80:80: port 80 of the host: permission denied"},
		"no port":    {"--network private --publish 0:80", "want two TCP ports"},
		"UDP":        {"--network private --publish 53:53/udp", "want two TCP ports"},
		"the host's": {"--publish 28081:80", "--publish needs --network private"},
		"nothing":    {"--network none --publish 28081:80", "--publish needs --network private"},
	} {
		if r := kit.Inside(t, "true", strings.Fields(c.flags)...); r.Code != 125 || !strings.Contains(r.Err, c.problem) || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%s: %+v, want %q", what, r, c.problem)
		}
	}
}

func TestFiftyPrivateNetworksAtOnce(t *testing.T) {
	port, _ := answering(t)
	var mu sync.Mutex
	addresses := map[string]bool{}
	var group sync.WaitGroup
	many := kit.Times(50)
	for range many {
		group.Go(func() {
			r := kit.Inside(t, fmt.Sprintf(reach, gateway+":"+port)+"; sleep 2; grep -B1 '/32 host' /proc/net/fib_trie | grep -o '10[.][.0-9]*' | head -n 1", "--network", "private", "--chdir", "/")
			address, reached := strings.CutPrefix(r.Out, "reached\n")
			if !reached {
				t.Errorf("%+v", r)
			}
			mu.Lock()
			addresses[address] = true
			mu.Unlock()
		})
	}
	group.Wait()
	if len(addresses) != many {
		t.Errorf("%d containers had %d addresses", many, len(addresses))
	}
	nothingPrivate(t)
}

func TestAfterSIGKILL(t *testing.T) {
	cmd := kit.As(t, kit.User, kit.Runtime, "run", "--quiet", "--name", "killed", "--chdir", "/", "--network", "private", kit.Image, "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kit.Eventually(t, "it runs", func() bool { return kit.Run(t, "exec", "killed", "true").Code == 0 })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	kit.Eventually(t, "its interface is gone", func() bool {
		left, _ := filepath.Glob("/sys/class/net/mf0a*")
		return len(left) == 0
	})
	kit.Root(t, "gc")
	nothingPrivate(t)
}

// withSetting adds a line to the machine's policy for the length of a test.
func withSetting(t *testing.T, line string) {
	t.Helper()
	const file = "/etc/mayfly/policy.toml"
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append([]byte(line+"\n"), before...), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(file, before, 0o644) })
}

func TestAllAddressesInUse(t *testing.T) {
	t.Cleanup(func() { nothingPrivate(t) })
	withSetting(t, `network-range = "10.99.0.0/29"`)
	for i := range 5 {
		background(t, fmt.Sprintf("addressed-%d", i), fmt.Sprintf(listen, "127.0.0.1:8080"), "--network", "private")
	}
	if r := kit.Inside(t, "true", "--network", "private"); r.Code != 125 || !strings.Contains(r.Err, "every address is in use of 10.99.0.0/29") || strings.Count(r.Err, "\n") != 1 {
		t.Errorf("%+v", r)
	}
}

// What is in the way is named, and nothing is left of the attempt.
func TestWhatPrivateNeeds(t *testing.T) {
	refused := func(what, problem string) {
		t.Helper()
		r := kit.Inside(t, "true", "--network", "private")
		if r.Code != 125 || !strings.Contains(r.Err, problem) || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%s: %+v, want %q", what, r, problem)
		}
	}
	kit.Root(t, "gc")
	ip(t, "link", "add", "mayfly0", "type", "bridge")
	refused("a bridge of somebody else's", "interface mayfly0 is there and is not Mayfly's")
	ip(t, "link", "delete", "mayfly0")
	nothingPrivate(t)

	if err := os.Rename("/usr/sbin/nft", "/usr/sbin/nft.away"); err != nil {
		t.Fatal(err)
	}
	refused("no nftables", "install nftables")
	if err := os.Rename("/usr/sbin/nft.away", "/usr/sbin/nft"); err != nil {
		t.Fatal(err)
	}
	nothingPrivate(t)

	bare := "/usr/local/lib/mayfly-network-runtime"
	kit.Command(t, "install", "-m", "0755", kit.Runtime, bare)
	defer os.Remove(bare)
	kit.Command(t, "setcap", "cap_sys_admin,cap_setuid,cap_setgid,cap_setpcap=p", bare)
	if r := kit.Do(t, kit.As(t, kit.User, bare, "run", "--network", "private", kit.Image, "true")); r.Code != 125 || !strings.Contains(r.Err, "cap_net_admin is missing") {
		t.Errorf("%+v", r)
	}
	if r := kit.Do(t, kit.As(t, kit.User, bare, "run", "--network", "none", "--chdir", "/", kit.Image, "true")); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	nothingPrivate(t)
}

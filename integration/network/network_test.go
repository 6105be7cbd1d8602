// Package network tests the networks that containers can have.
package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"mayfly/integration/kit"
)

const dropIn = "/etc/mayfly/policy.d/00-network.toml"

func TestMain(m *testing.M) {
	regrant := func() error { return exec.Command(kit.Runtime, "grant", "--like", kit.Runtime).Run() }
	if os.Getenv("MAYFLY_INTEGRATION") != "" {
		if err := errors.Join(os.WriteFile(dropIn, []byte(kit.AllModes), 0o644), regrant()); err != nil {
			fmt.Println("FAIL:", err)
			os.Exit(1)
		}
	}
	kit.Main(m, func() {
		os.Remove(dropIn)
		if err := regrant(); err != nil {
			fmt.Println("FAIL:", err)
		}
	})
}

// interfaces prints the names of the interfaces that there are; lo's state; whether
// something answers at a port of 127.0.0.1.
const (
	interfaces = "ls /sys/class/net | tr '\\n' ' '; "
	loopback   = "cat /sys/class/net/lo/operstate /sys/class/net/lo/flags; "
	reach      = `perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(PeerAddr => "%s", Timeout => 2) ? "reached\n" : "not reached\n"'`
	listen     = `perl -MIO::Socket::INET -e 'my $l = IO::Socket::INET->new(LocalAddr => "%s", Listen => 5, ReuseAddr => 1) or die "listen: $!\n"; $| = 1; print "listening\n"; sleep 600'`
)

// server is something of the host's that listens on its loopback address.
func server(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestNone(t *testing.T) {
	address := server(t)
	if r := kit.Inside(t, fmt.Sprintf(reach, address)); r.Out != "reached\n" {
		t.Fatalf("the host's: %+v", r)
	}
	for _, flags := range [][]string{{"--network", "none"}, {"--network", "none", "--root"}, {"--network", "none", "--writable"}} {
		r := kit.Inside(t, interfaces+loopback+fmt.Sprintf(reach, address), append(flags, "--chdir", "/")...)
		if r.Out != "lo unknown\n0x9\nnot reached\n" || r.Code != 0 {
			t.Errorf("%v: %+v", flags, r)
		}
		// A build's tests talk to themselves, on any port.
		r = kit.Inside(t, fmt.Sprintf(listen, "127.0.0.1:80")+" >/tmp/out & while [ ! -s /tmp/out ]; do sleep 0.05; done; "+fmt.Sprintf(reach, "127.0.0.1:80"), append(flags, "--chdir", "/")...)
		if r.Out != "reached\n" {
			t.Errorf("%v: %+v", flags, r)
		}
	}
	// Nobody inside can change it, nor what the host has.
	for _, script := range []string{"echo 1 >/proc/sys/net/ipv4/ip_forward", "echo 1 >/proc/sys/net/ipv4/ip_unprivileged_port_start"} {
		if r := kit.Inside(t, script, "--network", "none", "--root", "--writable"); r.Code == 0 {
			t.Errorf("%s: %+v", script, r)
		}
	}
	kit.NothingLeft(t)
}

// background starts a container whose script says a line and goes on until the test
// ends.
func background(t *testing.T, name, script string, flags ...string) {
	t.Helper()
	cmd := kit.As(t, kit.User, append(append([]string{kit.Runtime, "run", "--quiet", "--name", name, "--chdir", "/"}, flags...), kit.Image, "sh", "-c", script)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kit.Run(t, "kill", name)
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
}

func TestJoin(t *testing.T) {
	t.Cleanup(func() { kit.NothingLeft(t) })
	background(t, "server", fmt.Sprintf(listen, "127.0.0.1:8080"), "--network", "none")
	for _, flags := range [][]string{{"--network", "join:server"}, {"--network", "join:server", "--root"}} {
		if r := kit.Inside(t, fmt.Sprintf(reach, "127.0.0.1:8080"), append(flags, "--chdir", "/")...); r.Out != "reached\n" {
			t.Errorf("%v: %+v", flags, r)
		}
	}
	if r := kit.Root(t, "run", "--network", "join:"+kit.User+"/server", kit.Image, "sh", "-c", fmt.Sprintf(reach, "127.0.0.1:8080")); r.Out != "reached\n" {
		t.Errorf("root: %+v", r)
	}
	if r := kit.Inside(t, fmt.Sprintf(reach, "127.0.0.1:8080"), "--network", "none"); r.Out != "not reached\n" {
		t.Errorf("another network: %+v", r)
	}
	if r := kit.Run(t, "exec", "server", "sh", "-c", fmt.Sprintf(reach, "127.0.0.1:8080")); r.Out != "reached\n" {
		t.Errorf("exec: %+v", r)
	}
	for name, c := range map[string]struct{ user, network, problem string }{
		"nobody's":   {kit.User, "join:nobody", "no such container is running; `runtime ps` lists yours"},
		"another's":  {kit.Other, "join:server", "no such container is running"},
		"by name":    {kit.Other, "join:" + kit.User + "/server", "only root may do this"},
		"no name":    {kit.User, "join:", "container name"},
		"a bad name": {kit.User, "join:../x", "owner"},
		"no mode":    {kit.User, "bridge", "want host, none, private, join:NAME or, for root, interface:IF"},
	} {
		r := kit.Do(t, kit.As(t, c.user, kit.Runtime, "run", "--chdir", "/", "--network", c.network, kit.Image, "true"))
		if r.Code != 125 || !strings.Contains(r.Err, c.problem) || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%s: %+v, want %q", name, r, c.problem)
		}
	}
}

func TestTheHostsNetworkIsNotJoined(t *testing.T) {
	background(t, "plain", "echo up; exec sleep 600")
	if r := kit.Inside(t, "true", "--network", "join:plain"); r.Code != 125 || !strings.Contains(r.Err, "has no network of its own") {
		t.Errorf("%+v", r)
	}
}

// A rule that names no network but an empty one makes builds that are offline, whatever
// is asked for.
func TestOfflineByPolicy(t *testing.T) {
	if err := os.WriteFile(dropIn, []byte(strings.Replace(kit.AllModes, `["host", "none", "private"]`, `["none"]`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(dropIn, []byte(kit.AllModes), 0o644)
	address := server(t)
	if r := kit.Inside(t, interfaces+fmt.Sprintf(reach, address)); r.Out != "lo not reached\n" {
		t.Errorf("%+v", r)
	}
	if r := kit.Inside(t, "true", "--network", "host"); r.Code != 125 || !strings.Contains(r.Err, "--network host: not allowed by the policy: "+dropIn+":2 allows only none") {
		t.Errorf("%+v", r)
	}
}

// namespaces counts the network namespaces that processes or descriptors hold, as lsns
// does.
func namespaces(t *testing.T) int {
	t.Helper()
	out, err := exec.Command("lsns", "--noheadings", "--type", "net", "--output", "NS").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(out), "\n")
}

func TestFiftyNetworksAtOnce(t *testing.T) {
	before := namespaces(t)
	var group sync.WaitGroup
	for range kit.Times(50) {
		group.Go(func() {
			if r := kit.Inside(t, interfaces+fmt.Sprintf(listen, "127.0.0.1:80")+" >/tmp/out & while [ ! -s /tmp/out ]; do sleep 0.1; done; cat /tmp/out", "--network", "none", "--chdir", "/"); r.Out != "lo listening\n" {
				t.Errorf("%+v", r)
			}
		})
	}
	group.Wait()
	kit.NothingLeft(t)
	kit.Eventually(t, "no network is left", func() bool { return namespaces(t) == before })
}

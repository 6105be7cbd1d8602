package network

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestAnInterfaceOfTheHosts(t *testing.T) {
	ip(t, "link", "add", "mayfly-a", "type", "veth", "peer", "name", "mayfly-b")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "delete", "mayfly-a").Run() })
	for device, address := range map[string]string{"mayfly-a": "10.98.0.1/24", "mayfly-b": "10.98.0.2/24"} {
		ip(t, "address", "add", address, "dev", device)
		ip(t, "link", "set", device, "up")
	}
	l, err := net.Listen("tcp", "10.98.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	run := func(device string, script string) kit.Result {
		return kit.Root(t, "run", "--quiet", "--network", "interface:"+device, "--chdir", "/", kit.Image, "sh", "-c", script)
	}
	for device, why := range map[string]string{"nosuch": "the host has none of that name", "": "want the name of an interface", strings.Repeat("x", 16): "want the name of an interface"} {
		if r := run(device, "true"); r.Code != 125 || !strings.Contains(r.Err, why) || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%s: %+v", device, r)
		}
	}
	if r := kit.Inside(t, "true", "--network", "interface:mayfly-b"); r.Code != 125 || !strings.Contains(r.Err, "only root") {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat("/sys/class/net/mayfly-b"); err != nil {
		t.Fatalf("a refused run has taken it: %v", err)
	}
	r := run("mayfly-b", interfaces+fmt.Sprintf(reach, l.Addr()))
	if r.Out != "lo mayfly-b reached\n" {
		t.Errorf("%+v", r)
	}
	kit.Eventually(t, "the kernel removes it with the network", func() bool {
		_, err := os.Stat("/sys/class/net/mayfly-b")
		return err != nil
	})
	kit.NothingLeft(t)
}

package reports

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// configured is the name of an image whose configuration says something.
const configured = "reports-configured"

// importConfigured makes the image by way of an OCI layout, or of what docker save
// writes.
func importConfigured(t *testing.T, docker bool) string {
	t.Helper()
	work := t.TempDir()
	kit.Command(t, "sh", "-ec", `cd $1; umoci init --layout l; umoci new --image l:i; umoci unpack --image l:i b; cd b/rootfs
		mkdir -p bin usr/tool/bin app; cp /bin/busybox bin/busybox; for p in sh env; do ln -s busybox bin/$p; done
		printf '#!/bin/sh\necho tool\n' >usr/tool/bin/tool; chmod 755 usr/tool/bin/tool; cd ../..; umoci repack --image l:i b
		umoci config --image l:i --config.env PATH=/usr/tool/bin:/bin --config.env 'GREETING=a b' --config.env HOME=/image --config.env TZ=image \
			--config.workingdir /app --config.user 4321 --config.entrypoint /entry --config.cmd argument --config.label team=build
		skopeo copy -q oci:l:i docker-archive:d.tar:name:tag`, "sh", work)
	source := filepath.Join(work, map[bool]string{false: "l", true: "d.tar"}[docker])
	r := kit.Root(t, "image", "import", configured, source).WithoutProgress()
	if r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	t.Cleanup(func() { kit.Succeed(t, "image", "remove", configured) })
	return r.Err
}

func TestTheConfigurationOfAnImportedImage(t *testing.T) {
	for name, docker := range map[string]bool{"oci": false, "docker": true} {
		t.Run(name, func(t *testing.T) {
			said := importConfigured(t, docker)
			for _, want := range []string{`WorkingDir "/app"`, `User "4321"`, `Entrypoint ["/entry"]`, `Cmd ["argument"]`} {
				if !strings.Contains(said, want) || strings.Count(said, "\n") != 1 {
					t.Errorf("import says %q, want one line with %s", said, want)
				}
			}
			hold(t, environments(configured))
			t.Run("changed", aVersionKeepsItsConfiguration)
		})
	}
}

func environments(name string) []report {
	return []report{
		{name: "PATH is the image's", source: "singularity: PATH of the docker image is lost", do: `cd /home; $R ` + name + ` tool`, out: "tool\n"},
		{name: "other variables are the image's", source: "enroot: ENV of Dockerfile not set in the container",
			do: `cd /home; $R ` + name + ` sh -c 'echo "$GREETING"'`, out: "a b\n"},
		{name: "who the user is comes before the image", source: "charliecloud: HOME from the image's environment",
			do: `cd /home; $R ` + name + ` sh -c 'echo "$HOME $container"'`, out: "/home/" + kit.User + " mayfly\n"},
		{name: "what passes comes before the image", source: "distrobox: host's variables and the image's",
			do: `cd /home; TZ=caller $R ` + name + ` sh -c 'echo $TZ'`, out: "caller\n"},
		{name: "what the call sets comes before the image", source: "podman: --env does not override ENV",
			do: `cd /home; $R --env GREETING=mine ` + name + ` sh -c 'echo $GREETING'`, out: "mine\n"},
		{name: "a session has the image's variables", source: "toolbox: environment of the image is missing after create",
			do: `cd /home; S=${R% run}; $S session begin --name s ` + name + ` >/dev/null && $R --session s tool; $S session end s`, out: "tool\nsession s is removed\n"},
	}
}

func aVersionKeepsItsConfiguration(t *testing.T) {
	kit.Succeed(t, "image", "shell", "--keep", configured, "--", "sh", "-c", `echo "$GREETING" >/made`)
	other := configured + "-clone"
	kit.Succeed(t, "image", "clone", configured, other)
	t.Cleanup(func() { kit.Succeed(t, "image", "remove", other) })
	if r := kit.Run(t, "run", other, "sh", "-c", "read a </made; echo $a; tool"); r.Out != "a b\ntool\n" {
		t.Errorf("%+v", r)
	}
	// A FIFO would connect the containers of one version: this one is copied for each
	// run, as it is without an environment.
	if r := kit.Run(t, "run", "--dry-run", other, "tool"); !strings.Contains(r.Out, `"kind": "version"`) {
		t.Errorf("%+v", r)
	}
	kit.Succeed(t, "image", "shell", "--keep", other, "--", "busybox", "mkfifo", "/fifo")
	if r := kit.Run(t, "run", "--dry-run", other, "tool"); !strings.Contains(r.Out, `"kind": "snapshot"`) {
		t.Errorf("with a FIFO: %+v", r)
	}
	file := filepath.Join(t.TempDir(), "out.tar")
	kit.Succeed(t, "image", "export", "--format", "oci", other, file)
	text, err := exec.Command("skopeo", "inspect", "--config", "oci-archive:"+file).Output()
	kit.Must(t, err)
	var compact bytes.Buffer
	kit.Must(t, json.Compact(&compact, text))
	for _, want := range []string{`"GREETING=a b"`, `"WorkingDir":"/app"`, `"User":"4321"`, `"Entrypoint":["/entry"]`, `"Cmd":["argument"]`, `"team":"build"`} {
		if !strings.Contains(compact.String(), want) {
			t.Errorf("the exported image lacks %s: %s", want, &compact)
		}
	}
}

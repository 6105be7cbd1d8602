package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// An example is a command line of the documentation. Who runs it: root where it says #,
// or where help is for root.
type example struct {
	from, line string
	root       bool
}

// documented are all examples of README, docs, manual pages and help texts.
func documented(t *testing.T) []example {
	t.Helper()
	var list []example
	files, err := filepath.Glob(source + "/docs/*.md")
	kit.Must(t, err)
	pages, err := filepath.Glob(source + "/docs/man/*.md")
	kit.Must(t, err)
	for _, name := range append(append(files, pages...), source+"/README.md", source+"/SECURITY.md") {
		text, err := os.ReadFile(name)
		kit.Must(t, err)
		for _, found := range regexp.MustCompile(`(?m)^    ([$#]) ((?:runtime|nspawn-run|ssh) .*)$`).FindAllStringSubmatch(string(text), -1) {
			list = append(list, example{filepath.Base(name), uncommented(found[2]), found[1] == "#"})
		}
		if bare := regexp.MustCompile(`(?m)^    (runtime|nspawn-run) [a-z].*$`).FindString(string(text)); bare != "" && !strings.HasSuffix(name, "architecture.md") {
			t.Errorf("%s: nobody runs %q: it has no prompt", name, bare)
		}
	}
	return append(list, helped(t, "runtime")...)
}

// uncommented is a line without what stands behind it.
func uncommented(line string) string {
	return strings.TrimSpace(regexp.MustCompile(`\s{2,}# .*$`).ReplaceAllString(line, ""))
}

// rootsOwn are commands whose help is for root.
var rootsOwn = regexp.MustCompile(`^runtime (image|store|grant|gc|log\b|completion|policy (import|new|explain --user)|.* --all-users)|ssh `)

// helped are the examples of the help texts from a command down.
func helped(t *testing.T, path ...string) []example {
	t.Helper()
	out, err := exec.Command(source+"/bin/runtime", append(path[1:len(path):len(path)], "--help")...).Output()
	kit.Must(t, err)
	text := string(out)
	var list []example
	if _, below, ok := strings.Cut(text, "\ncommands:\n"); ok {
		for _, found := range regexp.MustCompile(`(?m)^  (\S+) +`).FindAllStringSubmatch(below, -1) {
			list = append(list, helped(t, append(path[:len(path):len(path)], found[1])...)...)
		}
		return list
	}
	_, below, ok := strings.Cut(text, "\nexamples:\n")
	if !ok {
		t.Errorf("%s --help has no examples", strings.Join(path, " "))
	}
	for line := range strings.Lines(below) {
		line = strings.TrimSpace(line)
		list = append(list, example{strings.Join(path, " ") + " --help", line, rootsOwn.MatchString(line)})
	}
	return list
}

// A setting is what examples take for granted, by the beginning of their line, and what
// is put back afterwards. All that match are set, in this order. Each is a script of
// root's.
type setting struct{ pattern, before, after string }

const (
	running = asUser + `"cd; runtime run --quiet --name build-1 --bind ~/src:/src deb12-i386 sleep 600" & await mayfly-test/build-1
`
	stopped     = `runtime kill --signal KILL mayfly-test/build-1 2>/dev/null; true`
	detachedEnd = `for name in $(runtime ps --all-users --names); do runtime kill --signal KILL mayfly-test/$name; done 2>/dev/null; true`
	// ci is what runners and agents set for what they call.
	ci = `JOB_RESPONSE_FILE=/home/mayfly-test/job.json MAYFLY_BUILDS=/home/mayfly-test/builds RUNNER_NAME=host BUILDKITE_JOB_ID=1 BUILDKITE_COMMAND=./build.sh BUILDKITE_BUILD_PATH=/home BUILDKITE_BUILD_CHECKOUT_PATH=/home/mayfly-test `

	without = `runtime image remove --force %s >/dev/null 2>&1; `
)

var settings = []setting{
	{`(runtime (exec|kill|inspect))`, running, stopped},
	{`runtime wait build-1 build-2`, asUser + `"cd /; runtime run --quiet --name build-2 deb12-i386 sleep 3" & await mayfly-test/build-2`, ""},
	{`runtime (logs|attach)`, asUser + `"cd; runtime run --detach --name build-1 deb12-i386 sleep 2 >/dev/null"`, detachedEnd},
	{`runtime run --detach`, "", detachedEnd},
	{`runtime (kill db|run --network join:db)`, asUser + `"cd; runtime run --detach --name db --network none deb12-i386 sleep 600 >/dev/null"`, `runtime kill --signal KILL mayfly-test/db 2>/dev/null; true`},
	{`runtime wait`, asUser + `"cd /; runtime run --quiet --name build-1 deb12-i386 sleep 3" & await mayfly-test/build-1`, ""},
	{`runtime (run|shell) --session|runtime session end`, asUser + `"cd /; runtime session begin --name work deb12-i386 >/dev/null"`, ""},
	{`runtime (run|shell) --session|runtime session begin`, "", asUser + `"cd /; runtime session end work"`},
	{`runtime ci gitlab (prepare|run)`, asUser + `"cd; echo true >script.sh; ` + ci + `runtime ci gitlab prepare deb12-i386"`, asUser + `"` + ci + `runtime ci gitlab cleanup"`},
	{`runtime ci github`, `echo '{"command":"prepare_job","responseFile":"/home/mayfly-test/response","args":{"container":{"image":"deb12-i386"}}}' >/home/mayfly-test/prepare_job.json`,
		`echo '{"command":"cleanup_job"}' | ` + asUser + `"` + ci + `runtime ci github"`},
	{`runtime image bisect`, `printf '#!/bin/sh\n[ "$(cat /etc/i 2>/dev/null || echo 1)" -lt 4 ]\n' >/home/mayfly-test/build.sh`, `printf '#!/bin/sh\necho built\n' >/home/mayfly-test/build.sh`},
	{`runtime session for-builddeps`, `echo "Source: hello" >/home/mayfly-test/hello_2.10-3.dsc`, asUser + `"cd /; runtime session end \$(runtime session list --names)"`},
	{`runtime image create deb12-i386 --suite`, fmt.Sprintf(without, "deb12-i386"), ""},
	{`runtime image create deb11`, fmt.Sprintf(without, "deb11"), ""},
	{`runtime image create deb12-qt --next|runtime image rename`, `runtime image clone deb12-i386 deb12-qt >/dev/null; runtime image clone deb12-i386 deb12-next >/dev/null`, ""},
	{`runtime image (import|rename deb12-next) deb12-i386`, fmt.Sprintf(without, "deb12-i386"), ""},
	{`runtime image import( --ref bookworm --arch amd64)? deb1[12]|debootstrap-somewhere`, `runtime image remove --force deb11 deb12 >/dev/null 2>&1`, ""},
	{`runtime image import --next deb12-i386 ./here`, `cp -a /home/mayfly-test/oci-layout /home/mayfly-test/here`, `rm -r /home/mayfly-test/here`},
	{`runtime image export --format oci deb12-i386 ./there/`, "", `rm -r /home/mayfly-test/there`},
	{`runtime image rollback deb12-i386@5`, `runtime image rollback deb12-i386@4 >/dev/null`, ""},
	{`runtime (run (-- make|build)|shell|project.*)$`, `printf 'image = "deb12-i386"\n[commands]\nbuild = "./build.sh"\n' >/home/mayfly-test/mayfly.toml; chown mayfly-test: /home/mayfly-test/mayfly.toml`, `rm /home/mayfly-test/mayfly.toml`},
	{`runtime project pin --check`, asUser + `"cd; runtime project pin >/dev/null"`, ""},
	{`runtime run deb12-i386@stable|runtime image tag --remove`, `runtime image tag deb12-i386@2 stable >/dev/null; runtime image tag deb12-i386@2 release-1.4 >/dev/null`, ""},
	{`runtime run --allow-inputs`, `echo / >/home/mayfly-test/inputs.list`, ""},
	{`runtime image slim`, `for name in inputs nightly; do echo '{"image":"deb12-i386@1","complete":true}' >/home/mayfly-test/$name.json; done`, ""},
	{`runtime run --provenance`, asUser + `"cd; printf '#!/bin/sh\necho built | tee built.deb\n' >build.sh; mkdir -p .ssh; [ -e .ssh/key ] || ssh-keygen -q -t ed25519 -N '' -f .ssh/key"`,
		`cd /home/mayfly-test; rm -f built.deb; printf '#!/bin/sh\necho built\n' >build.sh; echo "me@example.org $(cat .ssh/key.pub)" >signers`},
	{`runtime verify-provenance`, asUser + `"cd; printf '#!/bin/sh\necho built | tee built.deb\n' >build.sh; [ -e build.json ] || runtime run --provenance build.json --output '*.deb' --sign .ssh/key deb12-i386 -- ./build.sh; rm -f built.deb"`,
		`cd /home/mayfly-test; rm -f built.deb build.json*; printf '#!/bin/sh\necho built\n' >build.sh`},
	{`.*ssh(://| host)`, `other 'runtime image remove --force deb12-i386 deb12' >/dev/null 2>&1; true`, ""},
	{`runtime image send --parent 3`, `runtime image send deb12-i386@3 | other 'runtime image receive' >/dev/null`, ""},
	{`ssh host runtime image send`, `runtime image send deb12-i386 | other 'runtime image receive' >/dev/null; ` + fmt.Sprintf(without, "deb12-i386"), ""},
	{`runtime store resize`, `runtime store init --store /srv/images --size 300M`, ""},
	{`runtime store (init|resize) --store`, "", `systemctl stop srv-images.mount; systemctl disable -q srv-images.mount; rm -f /srv/images.btrfs /etc/systemd/system/srv-images.mount`},
	{`runtime policy new`, "", `rm -f /etc/mayfly/policy.d/team.toml`},
	{`runtime policy import >`, "", `rm /etc/mayfly/policy.d/50-imported.toml`},
	{`runtime grant --group`, "", `runtime grant >/dev/null`},
	{`runtime grant --sudo`, "", `rm /etc/sudoers.d/mayfly`},
	{`sudo runtime as-caller`, `runtime grant --sudo >/etc/sudoers.d/mayfly`, `rm /etc/sudoers.d/mayfly`},
	{`runtime image update --install-timer`, "", `systemctl disable -q --now mayfly-update.timer; rm /etc/systemd/system/mayfly-update.*; systemctl daemon-reload`},
	{`runtime image sync.* https://`, `mkdir -p /srv/www; [ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N "" -f /root/.ssh/id_ed25519
		echo "images@example.org $(cat /root/.ssh/id_ed25519.pub)" >/etc/mayfly/signers; runtime image publish --sign /root/.ssh/id_ed25519 /srv/www/mayfly deb12-i386 >/dev/null`, "rm -rf /srv/www"},
	{`runtime image sync /net/images`, `runtime image publish /net/images deb12-i386 >/dev/null`, "rm -rf /net/images"},
	{`runtime image sync ssh:`, `other 'runtime image import deb12-i386 /srv/chroots/deb12-i386' >/dev/null; ` + fmt.Sprintf(without, "deb12-i386"), ""},
	{`runtime image publish --sign`, `[ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N "" -f /root/.ssh/id_ed25519`, ""},
	{`runtime image sync.*--install-timer`, "", `systemctl disable -q --now mayfly-sync.timer; rm /etc/systemd/system/mayfly-sync.*; systemctl daemon-reload`},
	{`runtime gc --install-timer`, "", `rm /etc/systemd/system/mayfly-gc.*; systemctl daemon-reload`},
}

// stage makes what all examples take for granted: images of one static program, a
// project of the user's, another host, and stand-ins for programs that would download
// something or are not there.
const stage = `set -e
tree=/srv/chroots/deb12-i386; mkdir -p $tree && cd $tree
mkdir -p bin dev etc home opt proc run sdk sys tmp usr var/tmp var/lib/dpkg /srv/sdk; printf 'Package: make\nStatus: install ok installed\nVersion: 1\n' >var/lib/dpkg/status; echo VERSION_CODENAME=bookworm >etc/os-release; cp /bin/busybox bin/; for name in $(bin/busybox --list); do [ -e bin/$name ] || ln -s busybox bin/$name; done
printf '#!/bin/sh\nexec sh ./build.sh\n' >bin/make; printf '#!/bin/sh\n' >bin/apt-get; rm -f bin/bash; printf '#!/bin/sh\nexec sh "$@"\n' >bin/bash; chmod 755 bin/make bin/apt-get bin/bash
cd /home/mayfly-test; rm -rf .local; mkdir -p src; printf '#!/bin/sh\necho built\n' | tee build.sh configure src/build.sh src/trace.sh >/dev/null; chmod 755 build.sh configure src/*.sh
echo '{"id":1,"job_info":{"project_id":1}}' >job.json; printf '#!/bin/sh\nexec sleep 600\n' >database.sh; chmod 755 database.sh
mkdir -p /srv/jobs; cp build.sh /srv/jobs; chown -R mayfly-test: /srv/jobs
printf 'from = "deb12-i386"\n[[file]]\npath = "/srv/what"\ncontent = "x"\n' >image.toml; runtime policy default >new.toml
tar -cJf rootfs.tar.xz -C $tree .; truncate -s 300M mkosi.raw; mkfs.btrfs -q -r $tree mkosi.raw; chown -R mayfly-test: .
umoci init --layout oci-layout; umoci new --image oci-layout:bookworm; umoci unpack --image oci-layout:bookworm u 2>/dev/null; cp -a $tree/. u/rootfs/; umoci repack --image oci-layout:bookworm u; rm -rf u
groupadd -f developers; useradd ci 2>/dev/null || :; mkdir -p /etc/fish/completions /etc/systemd/nspawn /etc/schroot/chroot.d /srv/other
printf '[Files]\nReadOnly=yes\n' >/etc/systemd/nspawn/deb11.nspawn; printf '[deb11]\ntype=directory\ndirectory=/srv/deb11\nusers=ci\n' >/etc/schroot/chroot.d/deb11
runtime store init --store /srv/other --size 400M
cd /usr/local/bin
printf '#!/bin/sh\nexec unshare --mount sh -c "mount --bind /srv/other /var/lib/machines; $*"\n' >other
printf '#!/bin/sh\nwhile [ "$1" = -o ]; do shift 2; done; [ "$1" != -- ] || shift; shift; exec other "$*"\n' >ssh; printf '#!/bin/sh\nfor last; do :; done; exec cat "/srv/www${last#https://images.example.org}"\n' >curl; printf '#!/bin/sh\nexec cat\n' >jq
printf '#!/bin/sh\nexec tar -cf - -C %s .\n' $tree >debootstrap-somewhere
printf '#!/bin/sh\nfor last; do case $last in /var/lib/machines/*) cp -a %s/. $last/; esac; done\n' $tree >mmdebstrap
chmod 755 other ssh curl jq debootstrap-somewhere mmdebstrap
cat >restage <<'SCRIPT'
cd /var/lib/machines
for name in deb12-qt deb12-next deb12-old; do [ ! -e $name ] || runtime image remove --force $name; done
for name in deb11 deb12; do [ -e $name ] || runtime image import $name /srv/chroots/deb12-i386; done
if [ "$(readlink deb12-i386/current) $(ls -d deb12-i386/[1-9])" != "5 $(for i in 1 2 3 4 5; do echo deb12-i386/$i; done)" ]; then
	runtime image remove --force deb12-i386; runtime image import deb12-i386 /srv/chroots/deb12-i386
	for i in 2 3 4 5; do runtime image create deb12-i386 --next --from deb12-i386 --run "echo $i >/etc/i"; done
fi
SCRIPT
chmod 755 restage; sed -i '1i#!/bin/sh' restage; runtime image remove --force deb12-i386; sh restage`

// runExamples runs all examples in a machine, which is not good for much afterwards.
func (m *Machine) runExamples(t *testing.T) {
	m.Must(t, stage)
	done := map[string]bool{}
	for _, e := range documented(t) {
		if done[e.line] {
			continue
		}
		done[e.line] = true
		m.count(t, "examples", t.Run(e.from+"/"+e.line, func(t *testing.T) {
			out, code, err := m.Do(e.script(), 5*time.Minute, nil)
			if err != nil || code != 0 {
				t.Errorf("%s: exit %d, %v:\n%s", e.line, code, err, out)
			}
		}))
	}
	if len(done) < 90 {
		t.Errorf("only %d examples", len(done))
	}
}

// script sets the scene, runs the line as who would, and clears up.
func (e example) script() string {
	line, before, after := e.line, "", ""
	for _, s := range settings {
		if regexp.MustCompile(`^(?:` + s.pattern + `)`).MatchString(line) {
			before, after = before+s.before+"\n", after+s.after+"\n"
		}
	}
	if strings.Contains(line, "--watch") {
		line = "timeout 3 " + line + "; [ $? = 124 ]"
	}
	if line == "runtime image shell deb12-i386" { // asks on a terminal
		line = "(sleep 2; echo exit; sleep 2; echo y; sleep 2) | script -qec '" + line + "' /dev/null"
	}
	line = strings.Replace(line, "runtime verify-provenance ", "runtime verify-provenance --here ", 1) // there is no git
	line = strings.ReplaceAll(line, "sha256:1f0c2a9e", `$(runtime image inspect deb12-i386 | sed -n "s/^digest *//p")`)
	if strings.HasPrefix(line, "runtime ci ") {
		line = "export " + ci + "; " + line
	}
	quoted := "'" + strings.ReplaceAll("cd /home/mayfly-test; "+line, "'", `'\''`) + "'"
	who := "sh -c "
	if !e.root {
		who = asUser
	}
	if e.root && strings.Contains(line, "image") {
		after += "restage >/dev/null 2>&1\n"
	}
	return before + who + quoted + "\ncode=$?\n" + after + "exit $code"
}

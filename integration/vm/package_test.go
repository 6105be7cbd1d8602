package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// What a machine is asked of the package itself, before anything else is installed. The
// package's next version is made of it there.
const next = `set -e; rm -rf /tmp/next; dpkg-deb -R /src/mayfly_*.deb /tmp/next; sed -i 's/^Version: .*/Version: 9:9/' /tmp/next/DEBIAN/control
dpkg-deb --root-owner-group -b /tmp/next /tmp/next.deb >/dev/null; set +e
`

var packageScenarios = []scenario{
	{"installed", `dpkg -i /src/mayfly_*.deb; dpkg --verify mayfly && echo verified; runtime grant --check; runtime version`,
		[]string{`(?m)^verified$`, `(?m)^grant +capabilities cap_sys_admin,cap_setuid,cap_setgid,cap_setpcap$`, `(?m)^executed by +everybody$`, `(?m)^all is well$`}},
	{"its units", `systemctl is-enabled mayfly-gc.timer mayfly-store.service; systemctl is-active mayfly-gc.timer; systemctl is-failed mayfly-store.service
systemd-analyze verify mayfly-gc.timer mayfly-gc.service mayfly-store.service 2>&1 | grep -i mayfly; echo verified`,
		[]string{`(?m)\Aenabled\nenabled\nactive\ninactive\nverified$`}},
	{"its manuals", `for page in runtime runtime-run runtime-image-create nspawn-run mayfly mayfly-policy mayfly-image mayfly-containers; do man -w $page || echo missing; done
MANWIDTH=80 man runtime-run | cat; man --warnings -l /usr/share/man/man1/runtime-run.1.gz 2>&1 >/dev/null; whatis mayfly`,
		[]string{`\A(/usr/share/man/man[157]/.*\n){8}`, `runtime-run - run a command in a throw-away container`, `mayfly \(7\) +- concepts`}},
	{"its completion", `bash -ic '. /usr/share/bash-completion/bash_completion; _completion_loader runtime; complete -p runtime'`, []string{`complete .*runtime`}},
	{"the wrapper's name", `nspawn-run --help; ls -l /usr/bin/nspawn-run`, []string{`nspawn-run -n`, `-> runtime`}},
	{"its adapters", `/usr/libexec/mayfly/schroot --version; ls -l /usr/libexec/mayfly/schroot /usr/bin/autopkgtest-virt-mayfly`, []string{`schroot \(Mayfly\) `, `-> ../../bin/runtime`, `(?m)^-rwxr-xr-x .*autopkgtest-virt-mayfly$`}},
	{"an upgrade keeps the group", next + `groupadd builders; runtime grant --group builders; echo '# changed' >> /etc/mayfly/policy.toml
dpkg -i /tmp/next.deb; runtime grant --check; dpkg-query -W mayfly; tail -n 1 /etc/mayfly/policy.toml; ls -A /var/lib/mayfly`,
		[]string{`(?m)^executed by +group builders$`, `(?m)^grant +capabilities`, `mayfly\t9:9`, `(?m)^# changed$`, `cannot access '/var/lib/mayfly'`}},
	{"an upgrade gives back nothing that was taken away", next + `runtime grant --remove; dpkg -i /tmp/next.deb; runtime grant --check`, []string{`(?m)^grant +no grant$`}},
	{"a purge leaves nothing but images", image + `
rm -rf /tmp/next /tmp/next.deb; dpkg -P mayfly; echo purged; ls -d /etc/mayfly /run/mayfly /var/lib/mayfly /usr/share/doc/mayfly; systemctl list-unit-files 'mayfly*' --no-legend | wc -l
find / -xdev -name '*mayfly*' -not -path '/proc/*' -not -path '/src/*' -not -path '/tmp/*' -not -path '/var/lib/dpkg/*'; find / -xdev -name 'runtime' -path '*bin*'; ls /var/lib/machines`,
		[]string{`(?s)purged\n(ls: cannot access [^\n]*\n){4}0\n(/var/lib/systemd/[^\n]*\n)*bb\n`}},
	{"installed again", `dpkg -i /src/mayfly_*.deb; groupdel builders; runtime grant --check`, []string{`(?m)^all is well$`}},
}

// TestThePackageIsReproducible: built twice, in other places and at other times of day,
// it is the same to the byte.
func TestThePackageIsReproducible(t *testing.T) {
	var sums []string
	for i, settings := range []string{"umask 022; export TZ=UTC LC_ALL=C", "umask 077; export TZ=Asia/Tokyo LC_ALL=C.UTF-8"} {
		dir := filepath.Join(t.TempDir(), strings.Repeat("deeper/", i))
		kit.Must(t, os.MkdirAll(dir, 0o755))
		command(t, source, "sh", "-ec", `git ls-files | tar -cf - -T - | (cd "$1" && tar -xf -)
			cd "$1"; `+settings+`; make -s deb VERSION=1.2.3 SOURCE_DATE_EPOCH=1700000000`, "sh", dir)
		sums = append(sums, strings.Fields(command(t, dir, "sh", "-c", "sha256sum bin/mayfly_1.2.3_*.deb"))[0])
	}
	if sums[0] != sums[1] {
		t.Errorf("two builds: %v", sums)
	}
}

package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// platforms are the suites that a run is about: one in `make test-machines`, all in
// `make vm-test`. Of the former's tests, few run inside, since all take hours.
func platforms() []string {
	if list := os.Getenv("MAYFLY_PLATFORMS"); list != "" {
		return strings.Fields(list)
	}
	return []string{"bookworm"}
}

// patience is how much slower than this machine one is that is emulated.
const patience = 12

// suiteWithin bounds the time that one package's tests take in a machine.
const suiteWithin = 2 * time.Hour

// unpack gets a machine what the payload has; then scenarios install the package, as an
// administrator does; prepare makes what the suite needs.
const (
	unpack  = `tar -xf /dev/vdc -C /`
	prepare = `echo 127.0.1.1 $(hostname) >>/etc/hosts && /src/integration/prepare && runtime doctor` // sudo wants to know the host's name
)

func TestTheSuiteOnPlatforms(t *testing.T) {
	t.Parallel()
	packages := chosen(t)
	disk := payload(t, packages)
	for _, suite := range platforms() {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			if suite == "bullseye" {
				isTooOld(t, disk)
				return
			}
			m := Boot(t, suite, Disk{}, storeDisk(t), disk)
			m.introduce(t)
			m.Must(t, unpack)
			m.play(t, "package", packageScenarios)
			t.Log(m.Must(t, prepare))
			m.play(t, "systemd", systemdScenarios)
			for _, p := range packages {
				t.Run(p, func(t *testing.T) { inGuest(t, m, p) })
			}
			if suite == "bookworm" {
				t.Run("examples", m.runExamples)
			}
		})
	}
}

// chosen are the packages of integration, besides this one, whose names
// MAYFLY_PACKAGES, a regular expression, begins to match.
func chosen(t *testing.T) []string {
	which, set := os.LookupEnv("MAYFLY_PACKAGES")
	if !set {
		which = "grant"
	}
	match := regexp.MustCompile("^(?:" + which + ")")
	var list []string
	for _, p := range strings.Fields(command(t, source, "go", "list", "-f", "{{if .TestGoFiles}}{{.ImportPath}}{{end}}", "./integration/...")) {
		if name := filepath.Base(p); name != "vm" && match.MatchString(name) {
			list = append(list, name)
		}
	}
	return list
}

var ended = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+) \((.*)\)$`)

// wantsInternet are tests that a machine without a network cannot pass, or that want
// packages which take up much of its disk.
const wantsInternet = "^(TestASourcePackageWithItsBuildDependencies|TestProgramsOfAnotherMachine)$"

// inGuest runs a package's tests in a machine, those that MAYFLY_RUN matches: each
// becomes one here, with its output.
func inGuest(t *testing.T, m *Machine, name string) {
	script := fmt.Sprintf(`cd /src/integration/%[1]s && MAYFLY_INTEGRATION=1 MAYFLY_RUNTIME=/usr/bin/runtime MAYFLY_PATIENCE=%[2]d ./%[1]s.test -test.v -test.timeout 0 -test.skip '%[3]s' -test.run '%[4]s'`,
		name, patience, wantsInternet, os.Getenv("MAYFLY_RUN"))
	var output strings.Builder
	tests := 0
	_, code, err := m.Do(script, suiteWithin, func(line string) {
		found := ended.FindStringSubmatch(line)
		if found == nil {
			fmt.Fprintln(&output, line)
			return
		}
		tests++
		said := output.String()
		output.Reset()
		m.count(t, name, t.Run(found[2], func(t *testing.T) {
			t.Log(found[3] + " in the machine\n" + said)
			if found[1] != "PASS" {
				t.Error(found[1])
			}
		}))
	})
	if err != nil || code != 0 || tests == 0 {
		t.Errorf("%d tests, exit %d, %v:\n%s", tests, code, err, output.String())
	}
}

// isTooOld: bullseye's 5.10 lacks what a launch needs. The package can be installed all
// the same, and says what is missing.
func isTooOld(t *testing.T, disk Disk) {
	m := Boot(t, "bullseye", Disk{}, storeDisk(t), disk)
	m.introduce(t)
	m.Must(t, unpack+" && useradd --create-home mayfly-test")
	m.play(t, "too old", []scenario{
		{"the kernel", "uname -r", []string{`^5\.10\.`}},
		{"the package is installed", "dpkg -i /src/mayfly_*.deb && echo installed", []string{`(?m)^installed$`}},
		{"a launch by root", "cd /; runtime run deb12-i386 -- true; echo exit $?", []string{`\Aruntime: this kernel is Linux 5\.10\.[^\n]*: 5\.15 or later is needed\nexit 125\n?\z`}},
		{"a launch by a user", asUser + `"cd /; runtime run deb12-i386 -- true"; echo exit $?`, []string{`\Aruntime: this kernel is Linux 5\.10\.[^\n]*: 5\.15 or later is needed\nexit 125\n?\z`}},
		{"doctor", "runtime doctor; echo exit $?", []string{`(?m)^WRONG +kernel +.*Linux 5\.10\..*: 5\.15 or later is needed`, `exit 125`}},
		{"nothing is left", "ls -A /var/lib/machines/.mayfly /run/mayfly 2>/dev/null | grep -v : | wc -w", []string{`^0\n?$`}},
		{"what needs no launch", "runtime image list && runtime image history deb12-i386-sealed && runtime policy check && echo in order", []string{`(?m)^in order$`}},
	})
}

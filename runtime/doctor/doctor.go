// Package doctor examines the machine for what a launch needs, and says what to do if
// something is missing. It changes nothing. Package main calls it. It may import any
// package that knows what it needs itself.
package doctor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/personality/arch"
	"mayfly/runtime/access"
	"mayfly/runtime/caller"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/policy"
	"mayfly/runtime/privilege"
	"mayfly/runtime/programs"
	"mayfly/runtime/rootless"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// A Finding is the result of one examination.
type Finding struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"` // what to do, if OK is false
	Needed bool   `json:"needed"`           // nothing runs if it is not OK
}

// Examine examines everything that a launch depends on.
func Examine(h here.Here) []Finding {
	m := machine{h}
	var list []Finding
	for _, look := range []func() Finding{m.examineKernel, m.examineNamespaces, m.examineOverlay, m.examine32Bit, m.examineForeign, m.examineDumpable, m.examineGrant, m.examineRootless,
		m.examinePolicy, m.examineStore, m.examineStoreMount, m.examineStoreWriting, m.examineState, m.examineCgroups, m.examineLSM} {
		list = append(list, look())
	}
	return list
}

// finding returns what was found, or the error and what to do about it.
type machine struct{ here here.Here }

func finding(what string, needed bool, found string, err error, advice string) Finding {
	if err != nil {
		return Finding{What: what, Found: err.Error(), Advice: advice, Needed: needed}
	}
	return Finding{What: what, OK: true, Found: found, Needed: needed}
}

func (m machine) examineKernel() Finding {
	var name unix.Utsname
	_ = unix.Uname(&name)
	return finding("kernel", true, "Linux "+unix.ByteSliceToString(name.Release[:]), privilege.CheckKernel(), "boot a later kernel")
}

func (m machine) examineNamespaces() Finding {
	var missing []string
	for _, kind := range []string{"mnt", "pid", "uts", "ipc", "cgroup", "net", "user"} {
		if _, err := os.Stat("/proc/self/ns/" + kind); err != nil {
			missing = append(missing, kind)
		}
	}
	var err error
	if missing != nil {
		err = fmt.Errorf("this kernel has none of kind %s", strings.Join(missing, ", "))
	}
	return finding("namespaces", true, "all kinds", err, "boot a kernel with CONFIG_NAMESPACES and all below it")
}

func (m machine) examineOverlay() Finding {
	data, err := file.Read("/proc/filesystems", 1<<16)
	var have []string
	for line := range strings.Lines(string(data)) {
		if name := strings.TrimSpace(strings.TrimPrefix(line, "nodev")); name == "btrfs" || name == "overlay" {
			have = append(have, name)
		}
	}
	if err == nil && have == nil {
		err = errors.New("neither BTRFS nor overlayfs is loaded")
	}
	return finding("file systems", true, strings.Join(have, ", "), err, "`modprobe btrfs`, or overlay for a store without BTRFS")
}

func (m machine) examine32Bit() Finding {
	found := "this machine is none that runs 32-bit programs"
	host, err := programs.HostArchitecture()
	if err == nil && host.Name == "x86-64" {
		found, err = runsPrograms("i386")
	}
	return finding("32-bit", false, found, err, "boot with ia32_emulation=1, or have qemu-user-static run them")
}

// examineForeign finds which emulators run programs of other machines.
func (m machine) examineForeign() Finding {
	host, err := programs.HostArchitecture()
	var have []string
	for _, name := range arch.Names() {
		arch, unknown := arch.ByName(name)
		if err != nil || unknown != nil || arch.RunsOn(host) {
			continue
		}
		interpreter, missing := programs.Emulator(arch)
		switch {
		case missing == nil && interpreter != "":
			have = append(have, arch.Debian+" by "+programs.By(interpreter))
		case missing != nil && !errors.Is(missing, programs.ErrNoEmulator):
			err = missing
		}
	}
	found := "none: " + programs.InstallQemu + " lets images of arm64 and others run"
	if have != nil {
		found = strings.Join(have, ", ")
	} else if _, told := programs.Registrations(programs.Binfmt); !told {
		found = "not told: " + programs.Binfmt + " is not mounted"
	}
	return finding("foreign programs", false, found, err, programs.InstallQemu)
}

// runsPrograms tells what runs programs of an architecture.
func runsPrograms(name string) (string, error) {
	arch, err := arch.ByName(name)
	if err != nil {
		return "", err
	}
	interpreter, err := programs.Emulator(arch)
	if err == nil && interpreter == "" {
		return name + " programs run", nil
	}
	return fmt.Sprintf("%s programs run by %s (%s)", name, programs.By(interpreter), interpreter), err
}

func (m machine) examineDumpable() Finding {
	data, err := file.Read(privilege.DumpableFile, 16)
	setting := strings.TrimSpace(string(data))
	if err == nil && setting == "1" {
		err = errors.New("fs.suid_dumpable is 1, which opens privileged programs to their callers")
	}
	return finding("fs.suid_dumpable", true, setting, err, "`sysctl fs.suid_dumpable=0`")
}

// whereGrantCounts is the advice where the kernel ignores a grant.
const whereGrantCounts = "call it from where that is not so; in a unit, without what sets it"

func (m machine) examineGrant() Finding {
	list, err := privilege.Missing(privilege.LaunchRequirements)
	var names []string
	for _, n := range list {
		names = append(names, n.Name)
	}
	advice := "as root `runtime grant`; `runtime grant --check` tells what is wrong"
	if names != nil {
		err = fmt.Errorf("%s missing", strings.Join(names, ", "))
		if why := here.GrantIgnored(); why != nil {
			err, advice = fmt.Errorf("%w; %w", why, err), whereGrantCounts
		}
	}
	found := "this call has the capabilities of a launch"
	if os.Getuid() == 0 {
		found = "this call is root's: ask as a user"
	}
	return finding("grant", true, found, err, advice)
}

// examineOwn examines whether rootless containers can run.
func (m machine) examineRootless() Finding {
	advice := "" // most errors say it themselves
	caller, err := access.CurrentCaller()
	if err == nil {
		if err = rootless.UserNamespacesOff(); err != nil {
			advice = "allow user namespaces in sysctl"
		}
	}
	found := "user namespaces with subordinate ids"
	if err == nil && caller.UID == 0 {
		found = "user namespaces; whether there are subordinate ids, ask as a user"
	} else if err == nil {
		found, err = m.describeIDs(caller)
	}
	if errors.Is(err, here.ErrNoNewPrivileges) {
		advice = whereGrantCounts
	}
	return finding("without a grant", false, found, err, advice)
}

func (m machine) describeIDs(c caller.Caller) (string, error) {
	database, err := user.Load(m.here)
	if err != nil {
		return "", err
	}
	_, err = rootless.MapperCommands(database, rootless.EntryOf(database, c))
	if err == nil && here.GrantIgnored() == here.ErrNoNewPrivileges {
		return "", rootless.ErrNoMappers()
	}
	if errors.Is(err, passwd.ErrNoRange) || errors.Is(err, os.ErrNotExist) {
		return "user namespaces with a single id: " + err.Error(), nil
	}
	if err == nil {
		err = rootless.SameGroup(database, rootless.EntryOf(database, c))
	}
	return "user namespaces with subordinate ids", err
}

func (m machine) examinePolicy() Finding {
	err := m.lookAsRoot(func() error {
		_, err := policy.LoadSettings(m.here)
		return err
	})
	return finding("policy", true, "in order", err, "`runtime policy check` tells where")
}

func (m machine) examineCgroups() Finding {
	have, err := cgroup.Controllers()
	var missing []string
	for _, c := range []string{"memory", "pids", "cpu", "io"} {
		if !slices.Contains(have, c) {
			missing = append(missing, c)
		}
	}
	if err == nil && missing != nil {
		err = fmt.Errorf("version 2 has no controller for %s", strings.Join(missing, ", "))
	}
	return finding("control groups", false, "bounds for "+strings.Join(have, ", "), err,
		"for --memory, --tasks and the like: boot with systemd.unified_cgroup_hierarchy=1 (cgroup_no_v1=all without systemd)")
}

func (m machine) examineLSM() Finding {
	data, err := file.Read("/sys/kernel/security/lsm", 4096)
	if err != nil {
		data, err = []byte("not told (securityfs is not mounted)"), nil
	}
	list := string(data)
	if rootless.Setting(rootless.AppArmorRestriction) == "1" {
		list += "; AppArmor restricts user namespaces, which a granted runtime does not need"
	}
	return finding("security modules", false, list, err, "")
}

// lookAsRoot calls f with root's rights on files if the grant gives them, else with the
// caller's.
func (m machine) lookAsRoot(f func() error) error {
	if privilege.Check() != nil {
		return f()
	}
	return access.AsRoot(m.here, f)
}

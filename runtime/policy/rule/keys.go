package rule

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"mayfly/personality/arch"
	"mayfly/runtime/image/ref"
)

// A key is a setting of a rule, an index of keyNames.
type key int

// The settings of a rule, in the order in which Explain lists them.
const (
	keyImages key = iota
	keyVersions
	keyUsers
	keyGroups
	keyDeny
	keyBindReadOnly
	keyBind
	keyBindSlave
	KeyDevices
	keyAllowBindReadOnly
	keyAllowBind
	keyBindCwd
	keyBindHome
	keyEnv
	keyEnvAll
	keyPersonality
	keyWritable
	keyTmp
	keyNetwork
	keyRootInside
	keyRootIDs
	keyDropGroups
	keyNestedNamespaces
	keyContainers
	keySessions
	keyMemory
	keySwap
	keyTasks
	keyCPU
	keyCPUWeight
	keyIOWeight
	keyTime
	keyCount
)

var keyNames = [keyCount]string{"images", "versions", "users", "groups", "deny", "bind-ro", "bind", "bind-slave", "devices", "allow-bind-ro", "allow-bind",
	"bind-cwd", "bind-home", "env", "env-all", "personality", "writable", "tmp", "network", "root-inside", "root-ids", "drop-groups", "nested-namespaces",
	"limits.containers", "limits.sessions", "limits.memory", "limits.swap", "limits.tasks", "limits.cpu", "limits.cpu-weight", "limits.io-weight", "limits.time"}

// setting returns a pointer to a key's value.
func (r *Rule) setting(k key) any {
	switch k {
	case keyImages:
		return &r.Images
	case keyVersions:
		return &r.Versions
	case keyUsers:
		return &r.Users
	case keyGroups:
		return &r.Groups
	case keyDeny:
		return &r.Deny
	case keyBindReadOnly:
		return &r.BindReadOnly
	case keyBind:
		return &r.Bind
	case keyBindSlave:
		return &r.BindSlave
	case KeyDevices:
		return &r.Devices
	case keyAllowBindReadOnly:
		return &r.AllowBindReadOnly
	case keyAllowBind:
		return &r.AllowBind
	case keyBindCwd:
		return &r.BindCwd
	case keyBindHome:
		return &r.BindHome
	case keyEnv:
		return &r.Env
	case keyEnvAll:
		return &r.EnvAll
	case keyPersonality:
		return &r.Personality
	case keyWritable:
		return &r.Writable
	case keyTmp:
		return &r.Tmp
	case keyNetwork:
		return &r.Network
	case keyRootInside:
		return &r.RootInside
	case keyRootIDs:
		return &r.RootIDs
	case keyDropGroups:
		return &r.DropGroups
	case keyNestedNamespaces:
		return &r.NestedNamespaces
	case keyContainers:
		return &r.Limits.Containers
	case keySessions:
		return &r.Limits.Sessions
	case keyMemory:
		return (*memory)(&r.Limits.Memory)
	case keySwap:
		return (*memory)(&r.Limits.Swap)
	case keyTasks:
		return &r.Limits.Tasks
	case keyCPU:
		return &r.Limits.CPU
	case keyCPUWeight:
		return &r.Limits.CPUWeight
	case keyIOWeight:
		return &r.Limits.IOWeight
	default:
		return &r.Limits.Time
	}
}

// memory is an amount in bytes, written 512M or 4G.
type memory int64

// The networks that a rule can name.
const (
	NetworkHost    = "host"    // the host's network
	NetworkNone    = "none"    // a network with a loopback interface only
	NetworkPrivate = "private" // a network with an address, which can reach others
)

// Networks lists the networks that a rule can name.
var Networks = []string{NetworkHost, NetworkNone, NetworkPrivate}

// Where /tmp and /var/tmp can be.
const (
	TmpMemory = "memory" // in memory
	TmpDisk   = "disk"   // in a throw-away directory of the store
)

// check returns an error for a value that its type allows and its key does not.
func (r *Rule) check(k key) error {
	switch k {
	case keyImages:
		if len(r.Images) == 0 {
			return errors.New("names no image")
		}
		return each(r.Images, checkImageGlob)
	case keyVersions:
		if len(r.Versions) == 0 {
			return errors.New("names no version; leave it out for all")
		}
		return each(r.Versions, checkVersion)
	case keyEnv:
		return each(r.Env, checkVariableGlob)
	case keyUsers:
		return checkWhom(r.Users)
	case keyGroups:
		return checkWhom(r.Groups)
	case keyBindReadOnly:
		return each(r.BindReadOnly, checkPath)
	case keyBind:
		return each(r.Bind, checkPath)
	case keyAllowBindReadOnly:
		return each(r.AllowBindReadOnly, checkPath)
	case keyAllowBind:
		return each(r.AllowBind, checkPath)
	case KeyDevices:
		return each(r.Devices, checkDevice)
	case keyPersonality:
		_, err := arch.ByName(r.Personality)
		return err
	case keyTmp:
		if r.Tmp != TmpMemory && r.Tmp != TmpDisk {
			return fmt.Errorf("%q: want %q or %q", r.Tmp, TmpMemory, TmpDisk)
		}
	case keyNetwork:
		return each(r.Network, checkNetwork)
	case keyRootIDs:
		if r.RootIDs < RootIDs || r.RootIDs > math.MaxInt32-RootIDs {
			return fmt.Errorf("want the first of %d ids that belong to nobody, such as 1100000000", RootIDs)
		}
	case keyCPUWeight, keyIOWeight:
		if l := r.Limits; l.CPUWeight < 0 || l.CPUWeight > 10000 || l.IOWeight < 0 || l.IOWeight > 10000 {
			return errors.New("want a weight from 1 to 10000 (default 100)")
		}
	case keyContainers, keySessions, keyMemory, keySwap, keyTasks, keyCPU, keyTime:
		l := r.Limits
		if l.Containers < 0 || l.Sessions < 0 || l.Memory < 0 || l.Swap < 0 || l.Tasks < 0 || l.CPU < 0 || l.Time < 0 {
			return errors.New("a limit cannot be negative; leave it out for none")
		}
	}
	return nil
}

func each(list []string, check func(string) error) error {
	for _, s := range list {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

// checkWhom refuses an empty list: it looks like nobody, and would be everybody.
func checkWhom(list []string) error {
	if len(list) == 0 {
		return errors.New("names nobody; leave it out for everybody")
	}
	return each(list, checkWho)
}

func checkWho(who string) error {
	if who == "" || who[0] == '-' || strings.ContainsAny(who, ":\n\x00") {
		return fmt.Errorf("%q is neither a name nor a number", who)
	}
	return nil
}

// checkVersion takes digests in full only: of the first digits of one somebody could
// make another content.
func checkVersion(text string) error {
	choice, err := ref.ParseChoice(text)
	if err == nil && choice.Digest != "" && len(choice.Digest) != ref.DigestDigits {
		err = fmt.Errorf("digest %q: want all %d digits", text, ref.DigestDigits)
	}
	return err
}

func checkPath(name string) error {
	if !path.IsAbs(name) || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("path %q is not absolute", name)
	}
	return nil
}

func checkDevice(name string) error {
	if !strings.HasPrefix(name, "/dev/") || path.Clean(name) != name || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("device %q is not a path in /dev", name)
	}
	return nil
}

func checkNetwork(mode string) error {
	if !slices.Contains(Networks, mode) {
		return fmt.Errorf("network %q: want one of %s", mode, strings.Join(Networks, ", "))
	}
	return nil
}

// ParseBytes reads an amount in bytes: 1024, 64K, 512M, 4G, 1T. The units are powers of
// 1024.
func ParseBytes(text string) (int64, error) {
	number, shift := text, 0
	if i := strings.IndexAny(text, "KMGT"); i >= 0 && i == len(text)-1 {
		number, shift = text[:i], 10*(1+strings.IndexByte("KMGT", text[i]))
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is not a size: use e.g. 512M or 4G", text)
	}
	return n << shift, nil
}

func parseTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a time: use e.g. 90s, 10m or 2h", text)
	}
	return d, nil
}

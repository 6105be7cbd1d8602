package compile

// The profile. Every system call that the tables know is allowed but for the lists
// below. A number that they do not know answers ENOSYS, never EPERM: C libraries fall
// back on the first and give up on the second.

// refusedCalls lists the system calls that answer EPERM: they act on the machine
// rather than on the container, or have been the way out of containers. Most of
// them ask for capabilities that nothing inside holds anyway.
var refusedCalls = []string{
	// The kernel itself.
	"bpf", "create_module", "delete_module", "finit_module", "init_module", "get_kernel_syms", "query_module",
	"kexec_load", "kexec_file_load", "perf_event_open", "lookup_dcookie", "syslog", "_sysctl",
	// The machine.
	"acct", "iopl", "ioperm", "reboot", "swapon", "swapoff", "settimeofday", "clock_settime", "clock_settime64",
	"clock_adjtime", "clock_adjtime64", "adjtimex", "stime", "quotactl", "quotactl_fd", "vhangup", "nfsservctl",
	// Mounts and namespaces.
	"mount", "umount", "umount2", "pivot_root", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig",
	"fsmount", "fspick", "mount_setattr", "setns",
	// Files by handle, past every directory's permission.
	"open_by_handle_at",
	// The host's keyrings have no namespace.
	"add_key", "keyctl", "request_key",
	// Kernel attack surface that builds do without.
	"userfaultfd", "vm86", "vm86old",
}

// nestedCalls are those of them that root of a nested user namespace needs, who has no
// power over what is outside of it. setns(2) is not among them: it would lead to
// namespaces that the caller has made outside of the container.
var nestedCalls = []string{
	"mount", "umount", "umount2", "pivot_root", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig",
	"fsmount", "fspick", "mount_setattr",
}

// missingCalls lists the system calls that answer ENOSYS, as on a kernel without
// them: their callers have another way, and take it.
var missingCalls = []string{
	"clone3", // its flags are behind a pointer, where no filter sees them; clone(2) does
	"io_uring_setup", "io_uring_enter", "io_uring_register",
}

// namespaceFlags are the CLONE_NEW* flags of clone(2) and unshare(2), refused
// because a user namespace would give back what was dropped. CLONE_NEWTIME shares its
// bit with clone's exit signal and is refused in unshare only.
const namespaceFlags = 0x00020000 | // CLONE_NEWNS
	0x02000000 | // CLONE_NEWCGROUP
	0x04000000 | // CLONE_NEWUTS
	0x08000000 | // CLONE_NEWIPC
	0x10000000 | // CLONE_NEWUSER
	0x20000000 | // CLONE_NEWPID
	0x40000000 // CLONE_NEWNET

// A masked rule refuses a call when its argument has any of the bits; a valued
// rule, when it is equal to one of the values (in its lower 32 bits, which is
// all that the kernel looks at here).
type (
	// masked is a condition on bits.
	masked struct {
		Argument int
		Bits     uint32
	}
	// valued is a condition on values.
	valued struct {
		Argument int
		Values   []uint32
	}
)

// refusedBits lists the calls refused with EPERM for bits in an argument.
var refusedBits = map[string]masked{
	"clone":   {0, namespaceFlags},
	"unshare": {0, namespaceFlags | 0x80}, // CLONE_NEWTIME
}

// namespaceCalls are those in whose bits nothing else is refused.
var namespaceCalls = []string{"clone", "unshare"}

// refusedValues lists the calls refused with EPERM for the value of an argument:
// ioctls that push input into a terminal which someone else reads, and those that
// make subvolumes, which would keep a snapshot from being deleted.
var refusedValues = map[string]valued{
	"ioctl": {1, []uint32{
		0x5412,     // TIOCSTI
		0x541c,     // TIOCLINUX
		0x5000940e, // BTRFS_IOC_SUBVOL_CREATE
		0x50009418, // BTRFS_IOC_SUBVOL_CREATE_V2
		0x50009401, // BTRFS_IOC_SNAP_CREATE
		0x50009417, // BTRFS_IOC_SNAP_CREATE_V2
		0x5000940f, // BTRFS_IOC_SNAP_DESTROY
		0x5000943f, // BTRFS_IOC_SNAP_DESTROY_V2
	}},
}

// isolatedFamilies are the address families of socket(2) that are refused with EPERM to
// a container with a network of its own, since they have none: AF_VSOCK reaches the
// host of a virtual machine, and on a host its machines, from every network namespace.
// The arguments of socketcall(2), which 32-bit x86 has besides, are behind a pointer:
// there it does not exist, but where the image's own programs are of that architecture.
var isolatedFamilies = []uint32{
	40, // AF_VSOCK
}

/* What the attack tests cannot do from Go or a shell: as `helper start OPTION... -- PROGRAM
 * ARG...` it puts a process into a hostile state and executes a program in it; by other
 * first arguments it tries one attack and says what came of it. Static, so that it runs in
 * any image. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void limit(const char *text)
{
	static const struct { const char *name; int number; } names[] = {
		{"NPROC", RLIMIT_NPROC}, {"NOFILE", RLIMIT_NOFILE}, {"FSIZE", RLIMIT_FSIZE}, {"AS", RLIMIT_AS}, {"CORE", RLIMIT_CORE},
		{"STACK", RLIMIT_STACK}, {"DATA", RLIMIT_DATA}, {"CPU", RLIMIT_CPU}, {"MEMLOCK", RLIMIT_MEMLOCK},
	};
	char name[32];
	long long soft, hard;
	if (sscanf(text, "%31[A-Z]=%lld:%lld", name, &soft, &hard) != 3)
		exit(99);
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(names[i].name, name)) {
			struct rlimit r = {soft < 0 ? RLIM_INFINITY : soft, hard < 0 ? RLIM_INFINITY : hard};
			if (setrlimit(names[i].number, &r))
				perror("setrlimit"), exit(99);
			return;
		}
	exit(99);
}

static int start(char **argv)
{
	char *argv0 = NULL;
	int argc0 = 0;
	for (; *argv && strcmp(*argv, "--"); argv++) {
		char *value = strchr(*argv, '=');
		value = value ? value + 1 : "";
		if (!strncmp(*argv, "close=", 6))
			for (char *c = value; *c; c++)
				close(*c - '0');
		else if (!strcmp(*argv, "block")) {
			sigset_t all;
			sigfillset(&all);
			sigprocmask(SIG_SETMASK, &all, NULL);
		} else if (!strcmp(*argv, "ignore"))
			for (int i = 1; i < 65; i++)
				signal(i, SIG_IGN);
		else if (!strncmp(*argv, "alarm=", 6)) {
			struct itimerval t = {{0, 0}, {atoi(value) / 1000, atoi(value) % 1000 * 1000}};
			setitimer(ITIMER_REAL, &t, NULL);
			setitimer(ITIMER_VIRTUAL, &t, NULL);
			setitimer(ITIMER_PROF, &t, NULL);
		} else if (!strncmp(*argv, "umask=", 6))
			umask(strtol(value, NULL, 8));
		else if (!strncmp(*argv, "limit=", 6))
			limit(value);
		else if (!strncmp(*argv, "argv0=", 6))
			argv0 = value;
		else if (!strcmp(*argv, "argc0"))
			argc0 = 1;
		else if (!strncmp(*argv, "fchdir=", 7)) {
			if (fchdir(atoi(value)))
				perror("fchdir"), exit(99);
		} else if (!strcmp(*argv, "nnp"))
			prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		else if (!strcmp(*argv, "traceme"))
			ptrace(PTRACE_TRACEME, 0, 0, 0);
		else
			exit(99);
	}
	if (!*argv || !argv[1])
		exit(99);
	char *program = argv[1], *none[] = {NULL};
	if (argv0)
		argv[1] = argv0;
	execv(program, argc0 ? none : argv + 1);
	perror(program);
	return 98;
}

/* traced runs a program under ptrace and lets it go on at every stop. */
static int traced(char **argv)
{
	pid_t pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(argv[0], argv);
		_exit(98);
	}
	int status;
	while (waitpid(pid, &status, 0) == pid) {
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			return 128 + WTERMSIG(status);
		int signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
		ptrace(PTRACE_CONT, pid, 0, signal);
	}
	return 97;
}

/* peek tries to look into a process and names every way that worked. */
static int peek(const char *pid)
{
	char path[64], buffer[64];
	int p = atoi(pid), found = 0;
	static const char *files[] = {"mem", "environ", "maps", "auxv", "stack", "syscall"};
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(path, sizeof path, "/proc/%s/%s", pid, files[i]);
		int fd = open(path, O_RDONLY);
		if (fd >= 0 && (!strcmp(files[i], "mem") || read(fd, buffer, sizeof buffer) > 0))
			found = !!printf("%s ", files[i]);
	}
	static const char *links[] = {"exe", "cwd", "root"};
	for (unsigned i = 0; i < sizeof links / sizeof *links; i++) {
		snprintf(path, sizeof path, "/proc/%s/%s", pid, links[i]);
		if (readlink(path, buffer, sizeof buffer) > 0)
			found = !!printf("%s ", links[i]);
	}
	/* Names alone can be listed while the kernel takes the process for the caller's own. */
	for (int fd = 0; fd < 32; fd++) {
		snprintf(path, sizeof path, "/proc/%s/fd/%d", pid, fd);
		if (readlink(path, buffer, sizeof buffer) > 0 || open(path, O_PATH) >= 0)
			found = !!printf("fd/%d ", fd);
	}
	struct iovec here = {buffer, 8}, there = {(void *)0x400000, 8};
	if (process_vm_readv(p, &here, 1, &there, 1, 0) > 0)
		found = !!printf("process_vm_readv ");
	if (syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, p, 0), 0, 0) >= 0)
		found = !!printf("pidfd_getfd ");
	if (!ptrace(PTRACE_SEIZE, p, 0, 0))
		found = !!printf("ptrace ");
	return found;
}

/* thieve looks for descriptors of a process, thread by thread, until it is gone: the kernel
 * does not ask whether memory is dumpable of a thread that has given its memory back. */
static int thieve(const char *pid)
{
	char path[300], target[256];
	for (;;) {
		snprintf(path, sizeof path, "/proc/%s/task", pid);
		DIR *tasks = opendir(path);
		if (!tasks)
			return 0;
		for (struct dirent *t; (t = readdir(tasks));) {
			if (t->d_name[0] == '.')
				continue;
			for (int fd = 3; fd < 48; fd++) {
				snprintf(path, sizeof path, "/proc/%s/task/%s/fd/%d", pid, t->d_name, fd);
				ssize_t n = readlink(path, target, sizeof target - 1);
				if (n > 0)
					target[n] = 0, printf("%s\n", target), fflush(stdout);
				else if (errno == EACCES || errno == EPERM)
					break;
			}
		}
		closedir(tasks);
	}
}

/* state writes what the process was given to descriptor 9. */
static int state(void)
{
	char line[256], path[32];
	for (int fd = 0; fd < 1024; fd++) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, line, sizeof line - 1);
		if (n > 0)
			line[n] = 0, dprintf(9, "fd %d %s\n", fd, line);
	}
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "Sig", 3) || !strncmp(line, "Cap", 3))
			dprintf(9, "%s", line);
	return 0;
}

#define TRY(name, call) do { errno = 0; long r_ = (long)(call); printf("%s %s\n", name, r_ >= 0 ? "OK" : strerrorname_np(errno)); } while (0)

/* calls makes system calls that nobody inside has use for. */
static int calls(void)
{
	static char buffer[4096];
	TRY("mount", mount("none", "/tmp", "tmpfs", 0, ""));
	TRY("remount", mount("none", "/", NULL, MS_REMOUNT | MS_BIND, NULL));
	TRY("umount", umount2("/home", MNT_DETACH));
	TRY("pivot_root", syscall(SYS_pivot_root, ".", "."));
	TRY("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
	TRY("move_mount", syscall(SYS_move_mount, AT_FDCWD, "/tmp", AT_FDCWD, "/var/tmp", 0));
	TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	TRY("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, buffer, 32));
	TRY("setns", syscall(SYS_setns, open("/proc/self/ns/mnt", O_RDONLY), 0));
	TRY("unshare user", unshare(0x10000000));
	TRY("unshare mount", unshare(0x00020000));
	TRY("clone user", syscall(SYS_clone, 0x10000000 | SIGCHLD, 0, 0, 0, 0));
	TRY("clone3", syscall(SYS_clone3, buffer, 88));
	TRY("keyctl", syscall(SYS_keyctl, 0, -3, 1));
	TRY("add_key", syscall(SYS_add_key, "user", "mayfly", "x", 1, -3));
	TRY("request_key", syscall(SYS_request_key, "user", "mayfly", NULL, -3));
	TRY("bpf", syscall(SYS_bpf, 0, buffer, 120));
	TRY("perf_event_open", syscall(SYS_perf_event_open, buffer, 0, -1, -1, 0));
	TRY("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
	TRY("init_module", syscall(SYS_init_module, buffer, 0, ""));
	TRY("finit_module", syscall(SYS_finit_module, 0, "", 0));
	TRY("delete_module", syscall(SYS_delete_module, "loop", 0));
	TRY("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, buffer, 0));
	TRY("userfaultfd", syscall(SYS_userfaultfd, 1));
	TRY("io_uring_setup", syscall(SYS_io_uring_setup, 4, buffer));
	TRY("mknod", mknod("/tmp/device", S_IFCHR | 0666, 0x103));
	TRY("setuid", setuid(0));
	TRY("sethostname", sethostname("x", 1));
	TRY("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL));
	TRY("syslog", syscall(SYS_syslog, 3, buffer, 16));
	TRY("unknown", syscall(9999));
	TRY("chroot", chroot("/tmp"));
	return 0;
}

/* compat makes the same call by the three conventions of x86. */
static int compat(void)
{
#ifdef __x86_64__
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(21L), "b"(0L), "c"(0L), "d"(0L), "S"(0L), "D"(0L) : "memory", "r8", "r9", "r10", "r11");
	printf("int80 mount %ld\n", r); /* 21: mount */
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(9999L), "b"(0L), "c"(0L), "d"(0L), "S"(0L), "D"(0L) : "memory", "r8", "r9", "r10", "r11");
	printf("int80 unknown %ld\n", r);
	__asm__ volatile("syscall" : "=a"(r) : "a"(0x40000000L | 165), "D"(0L), "S"(0L), "d"(0L) : "memory", "rcx", "r11");
	printf("x32 mount %ld\n", r);
	__asm__ volatile("syscall" : "=a"(r) : "a"(0x40000000L | 9999), "D"(0L), "S"(0L), "d"(0L) : "memory", "rcx", "r11");
	printf("x32 unknown %ld\n", r);
	__asm__ volatile("syscall" : "=a"(r) : "a"(165L), "D"(0L), "S"(0L), "d"(0L) : "memory", "rcx", "r11");
	printf("x64 mount %ld\n", r);
#endif
	return 0;
}

/* subvolumes tries the ioctls of BTRFS on a directory. */
static int subvolumes(const char *path)
{
	static char args[4096];
	int fd = open(path, O_RDONLY | O_DIRECTORY);
	memcpy(args + 8, "mayfly", 7);
	TRY("create", ioctl(fd, 0x5000940e, args));
	TRY("create v2", ioctl(fd, 0x50009418, args));
	TRY("snapshot", ioctl(fd, 0x50009401, args));
	TRY("destroy", ioctl(fd, 0x5000940f, args));
	TRY("destroy v2", ioctl(fd, 0x5000943f, args));
	TRY("tree search", ioctl(fd, 0xd0009411, args));
	TRY("tree search v2", ioctl(fd, 0xc0709411, args));
	TRY("resize", ioctl(fd, 0x50009403, args));
	TRY("set flags", ioctl(fd, 0x4008941a, args));
	TRY("default subvolume", ioctl(fd, 0x40089413, args));
	TRY("balance", ioctl(fd, 0x5000940c, args));
	TRY("quota", ioctl(fd, 0xc0109428, args));
	return 0;
}

/* terminal pushes input into the terminal that is standard input. */
static int terminal(void)
{
	char c = 'X', paste[2] = {3, 0};
	TRY("TIOCSTI", ioctl(0, 0x5412, &c));
	TRY("TIOCLINUX", ioctl(0, 0x541c, paste));
	TRY("TIOCSTI with high bits", syscall(SYS_ioctl, 0, 0x5412UL | 1UL << 32, &c));
	return 0;
}

/* abstract waits on an abstract socket, or reaches for it. */
static int abstract(int connecting)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	memcpy(a.sun_path, "\0mayfly-attack", 14);
	socklen_t length = offsetof(struct sockaddr_un, sun_path) + 14;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connecting) {
		TRY("connect", connect(fd, (struct sockaddr *)&a, length));
		return 0;
	}
	if (bind(fd, (struct sockaddr *)&a, length) || listen(fd, 9))
		return 1;
	puts("ready");
	fflush(stdout);
	pause();
	return 0;
}

/* swap A B [C D ...] exchanges the names of each pair, in turns, as fast as it can. */
static int swap(char **names)
{
	while (getppid() != 1)
		for (char **pair = names; pair[0] && pair[1]; pair += 2)
			syscall(SYS_renameat2, AT_FDCWD, pair[0], AT_FDCWD, pair[1], 2);
	return 0;
}

/* nameless makes a nameless file in one directory and links it into another. */
static int nameless(const char *from, const char *to)
{
	char path[64];
	int fd = open(from, O_TMPFILE | O_RDWR, 0600);
	if (fd < 0)
		return !!printf("O_TMPFILE %s\n", strerrorname_np(errno));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	TRY("linkat", linkat(AT_FDCWD, path, AT_FDCWD, to, AT_SYMLINK_FOLLOW));
	return 0;
}

/* show FILE...: what is in them, for an image that has no other program. */
/* Makes directories in each other, that many. */
static int deep(int levels)
{
	for (; levels > 0; levels--)
		if (mkdir("d", 0755) || chdir("d"))
			return 1;
	return 0;
}

static int show(char **names)
{
	char buffer[4096];
	for (; *names; names++) {
		int fd = open(*names, O_RDONLY);
		ssize_t n = fd < 0 ? -1 : read(fd, buffer, sizeof buffer);
		if (n < 0 || write(1, buffer, n) != n)
			return 1;
		close(fd);
	}
	return 0;
}

/* Takes locks, each of a kind and a path, says so and stops: x and s are flock(2), exclusive and
 * shared, w and r are locks of open files by fcntl(2), for writing and reading. */
static int hold(char **locks)
{
	for (; *locks; locks++) {
		char kind = **locks;
		int ours = kind == 'w' || kind == 'r';
		int fd = open(*locks + 2, kind == 'w' ? O_RDWR : O_RDONLY);
		struct flock whole = {.l_type = kind == 'w' ? F_WRLCK : F_RDLCK};
		if (fd < 0 || (ours ? fcntl(fd, F_OFD_SETLK, &whole) : flock(fd, (kind == 'x' ? LOCK_EX : LOCK_SH) | LOCK_NB)))
			perror(*locks), exit(1);
	}
	puts("held");
	fflush(stdout);
	raise(SIGSTOP);
	pause();
	return 0;
}

/* lend: locks a directory and sends it to a socket. borrow: keeps what comes. */
static int lend(const char *path, const char *name)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	strncpy(to.sun_path, name, sizeof to.sun_path - 1);
	int s = socket(AF_UNIX, SOCK_STREAM, 0), fd = open(path, O_RDONLY);
	char control[CMSG_SPACE(sizeof fd)] = "", byte = 0;
	struct iovec data = {&byte, 1};
	struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	flock(fd, LOCK_SH | LOCK_NB);
	if (fd < 0 || connect(s, (struct sockaddr *)&to, sizeof to) || sendmsg(s, &m, 0) != 1)
		perror("lend"), exit(1);
	pause();
	return 0;
}

static int borrow(const char *name)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	strncpy(at.sun_path, name, sizeof at.sun_path - 1);
	int s = socket(AF_UNIX, SOCK_STREAM, 0), fd;
	if (bind(s, (struct sockaddr *)&at, sizeof at) || listen(s, 1))
		perror("borrow"), exit(1);
	puts("listening");
	fflush(stdout);
	int c = accept(s, NULL, NULL);
	char control[CMSG_SPACE(sizeof fd)], byte;
	struct iovec data = {&byte, 1};
	struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	if (recvmsg(c, &m, 0) != 1 || !CMSG_FIRSTHDR(&m))
		perror("borrow"), exit(1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
	printf("borrowed, %s\n", flock(fd, LOCK_SH | LOCK_NB) ? "not locked" : "locked");
	fflush(stdout);
	pause();
	return 0;
}

/* prey lets everybody of its user look into it, says that it is there and waits to be let go; then it answers a line. */
static int prey(void)
{
	char line[128];
	sigset_t go;
	int got;
	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	sigprocmask(SIG_BLOCK, &go, NULL);
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	prctl(PR_SET_NAME, "mayfly-prey");
	puts("prey out");
	fflush(stdout);
	fputs("prey err\n", stderr);
	sigwait(&go, &got);
	if (!fgets(line, sizeof line, stdin))
		strcpy(line, "nothing\n");
	printf("heard %s", line);
	fflush(stdout);
	fprintf(stderr, "heard too %s", line);
	return 7;
}

/* rob looks for a terminal, or /dev/tty, among the first 256 descriptors of one process, and names each. A number is not
 * enough to know it by: each devpts counts its own. */
static int rob(int pid, const struct stat *terminal)
{
	int found = 0, p = syscall(SYS_pidfd_open, pid, 0);
	for (int fd = 0; p >= 0 && fd < 256; fd++) {
		struct stat st;
		int mine = syscall(SYS_pidfd_getfd, p, fd, 0);
		if (mine < 0 && errno != EBADF)
			break;
		if (mine >= 0 && !fstat(mine, &st) && S_ISCHR(st.st_mode) &&
		    (st.st_rdev == 0x500 || (st.st_dev == terminal->st_dev && st.st_ino == terminal->st_ino)))
			found = printf("%d of %d\n", fd, pid) > 0;
		if (mine >= 0)
			close(mine);
	}
	if (p >= 0)
		close(p);
	return found;
}

/* thief TERMINAL waits for a prey, looks for the terminal in every process that it can, and lets the prey go. */
static int thief(const char *of)
{
	char path[300], name[32];
	struct stat terminal;
	if (stat(of, &terminal))
		return 4;
	for (int tries = 0, prey = 0; tries < 3000 && !prey; tries++, usleep(10000)) {
		int found = 0;
		DIR *all = opendir("/proc");
		for (struct dirent *d; (d = readdir(all));) {
			int pid = atoi(d->d_name);
			snprintf(path, sizeof path, "/proc/%s/comm", d->d_name);
			int fd = pid ? open(path, O_RDONLY) : -1;
			ssize_t n = fd < 0 ? -1 : read(fd, name, sizeof name);
			close(fd);
			if (n == 12 && !memcmp(name, "mayfly-prey\n", 12))
				prey = pid;
			if (n > 0 && pid != getpid())
				found |= rob(pid, &terminal);
		}
		closedir(all);
		if (prey && kill(prey, SIGUSR1))
			return 3;
		if (prey)
			return found;
	}
	return 2;
}

/* answer answers a request of FUSE, with an error where there is no body. */
static void answer(int fuse, const struct fuse_in_header *in, const void *body, size_t size)
{
	struct fuse_out_header head = {.len = sizeof head + size, .unique = in->unique, .error = body ? 0 : -ENOSYS};
	struct iovec both[] = {{&head, sizeof head}, {(void *)body, size}};
	if (writev(fuse, both, 2) < 0 && errno != ENOENT)
		perror("answer"), exit(99);
}

static volatile sig_atomic_t mute;

static void become_mute(int signal) { mute = signal; }

/* silent DIR UID GID [deaf|closing|script]: mounts a user's file system with one file, "program", whose opening it never answers. It has
 * taken the request, so that the kernel lets nobody off before its answer; if deaf, it has not. If closing, it answers that, and,
 * after SIGUSR1, no close(2). If script, the file is one without its interpreter, and the first opening is answered. */
static int silent(const char *dir, const char *uid, const char *gid, const char *how)
{
	int deaf = !strcmp(how, "deaf"), closing = !strcmp(how, "closing"), openings = !strcmp(how, "script");
	static char in[1 << 20], options[128];
	const struct fuse_in_header *head = (void *)in;
	int fuse = open("/dev/fuse", O_RDWR), asked = 0;
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%s,group_id=%s", fuse, uid, gid);
	if (mount("silent", dir, "fuse", MS_NOSUID | MS_NODEV, options) || setgid(atoi(gid)) || setuid(atoi(uid)))
		return perror("silent"), 99;
	signal(SIGUSR1, become_mute);
	while (read(fuse, in, sizeof in) > 0) {
		int root = head->nodeid == 1 && head->opcode != FUSE_LOOKUP;
		struct fuse_attr attr = {.ino = root ? 1 : 2, .mode = root ? S_IFDIR | 0755 : S_IFREG | 0755, .nlink = 1, .size = 4096, .blksize = 4096,
			.uid = atoi(uid), .gid = atoi(gid)};
		struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096, .max_pages = 1};
		struct fuse_attr_out attributes = {.attr_valid = 3600, .attr = attr};
		struct fuse_entry_out entry = {.nodeid = 2, .entry_valid = 3600, .attr_valid = 3600, .attr = attr};
		struct fuse_open_out opened = {.fh = 1};
		struct fuse_statfs_out statfs = {.st = {.bsize = 4096, .namelen = 255, .frsize = 4096}};
		switch (head->opcode) {
		case FUSE_INIT:
			answer(fuse, head, &init, sizeof init);
			puts("mounted");
			break;
		case FUSE_GETATTR:
			answer(fuse, head, &attributes, sizeof attributes);
			break;
		case FUSE_LOOKUP:
			answer(fuse, head, &entry, sizeof entry);
			asked = deaf;
			break;
		case FUSE_STATFS:
			answer(fuse, head, &statfs, sizeof statfs);
			break;
		case FUSE_OPEN:
			asked = !closing && openings-- <= 0;
			if (!asked)
				answer(fuse, head, &opened, sizeof opened);
			break;
		case FUSE_READ:
			answer(fuse, head, "#!/nope\n", 8);
			break;
		case FUSE_FLUSH:
			if (mute)
				asked = 1;
			else
				answer(fuse, head, "", 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			answer(fuse, head, NULL, 0);
		}
		if (asked)
			puts("asked");
		fflush(stdout);
		while (asked && deaf)
			pause();
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "tell") && argc > 2) {
		int fd = open(argv[2], O_WRONLY);
		return fd < 0 || write(fd, "heard", 5) != 5;
	}
	if (!strcmp(what, "silent") && argc > 4)
		return silent(argv[2], argv[3], argv[4], argc > 5 ? argv[5] : "");
	if (!strcmp(what, "prey"))
		return prey();
	if (!strcmp(what, "thief") && argc > 2)
		return thief(argv[2]);
	if (!strcmp(what, "deep") && argc > 3)
		return chdir(argv[2]) || deep(atoi(argv[3]));
	if (!strcmp(what, "show"))
		return show(argv + 2);
	if (!strcmp(what, "start"))
		return start(argv + 2);
	if (!strcmp(what, "traced") && argc > 2)
		return traced(argv + 2);
	if (!strcmp(what, "peek") && argc > 2)
		return peek(argv[2]);
	if (!strcmp(what, "thieve") && argc > 2)
		return thieve(argv[2]);
	if (!strcmp(what, "state"))
		return state();
	if (!strcmp(what, "calls"))
		return calls();
	if (!strcmp(what, "compat"))
		return compat();
	if (!strcmp(what, "subvolumes") && argc > 2)
		return subvolumes(argv[2]);
	if (!strcmp(what, "terminal"))
		return terminal();
	if (!strcmp(what, "listen"))
		return abstract(0);
	if (!strcmp(what, "connect"))
		return abstract(1);
	if (!strcmp(what, "hold"))
		return hold(argv + 2);
	if (!strcmp(what, "lend") && argc > 3)
		return lend(argv[2], argv[3]);
	if (!strcmp(what, "borrow") && argc > 2)
		return borrow(argv[2]);
	if (!strcmp(what, "swap") && argc > 3)
		return swap(argv + 2);
	if (!strcmp(what, "nameless") && argc > 3)
		return nameless(argv[2], argv[3]);
	return 0; /* as good as /bin/true, in images that have nothing else */
}

#include "go_asm.h"
#include "textflag.h"

// The program starts here (the linker's flag -E, see the Makefile), before the Go
// runtime. Without the flag it starts as any other, and is not fit for a grant.
//
// First it parts with what the caller left it and the Go runtime would take on: blocked
// signals, and the runtime's own settings in the environment. Their names begin with
// GO; their first letter becomes \1, which package runtime takes back for the
// container. The soft limits on memory and the like are put off until the command is
// started (limits.go). Descriptors from 3 on are closed in every program that is
// executed (runtime/inherited.go; CLOSE_RANGE_CLOEXEC is there since Linux 5.11).
//
// Whoever has no capability and wants to run something gets a user namespace, which takes a process of a single thread
// (own.go). Asked are the effective user, the permitted capabilities, the first argument, and for all other commands the
// variable by which the program tells itself to do it (runtime/own.go).
//
// Then it maps the whole of itself in two calls, instead of by some seventy
// page faults: 8 % of `runtime version` on a virtual machine where a fault is dear.
// MADV_POPULATE_READ and _WRITE are there since Linux 5.14; their failure does no harm.
TEXT _rt0_mayfly(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVQ	$3, DI
	MOVQ	$0xffffffff, SI
	MOVQ	$4, DX	// CLOSE_RANGE_CLOEXEC
	MOVQ	$436, AX	// close_range
	SYSCALL
	MOVQ	$2, DI	// SIG_SETMASK
	LEAQ	none<>(SB), SI
	XORQ	DX, DX
	MOVQ	$8, R10
	MOVQ	$14, AX	// rt_sigprocmask
	SYSCALL
	MOVQ	0(SP), AX	// argc
	LEAQ	16(SP)(AX*8), SI	// envp
	XORQ	R14, R14	// wanted
	MOVQ	$0x525f594c4659414d, R8	// MAYFLY_R
hide:
	MOVQ	(SI), DI
	ADDQ	$8, SI
	TESTQ	DI, DI
	JZ	limits
	CMPQ	(DI), R8	// there is always something behind the last string: the program's name
	JNE	other
	MOVQ	$1, R14
other:
	CMPB	(DI), $'G'
	JNE	hide
	CMPB	1(DI), $'O'
	JNE	hide
	MOVB	$1, (DI)
	JMP	hide
limits:
	LEAQ	·limits(SB), R12
	MOVQ	$const_limitCount, R13
limit:
	XORQ	DI, DI
	MOVQ	0(R12), SI	// resource
	XORQ	DX, DX
	LEAQ	8(R12), R10	// soft, hard
	MOVQ	$302, AX	// prlimit64
	SYSCALL
	MOVQ	16(R12), AX
	CMPQ	AX, 8(R12)
	JE	next
	MOVQ	AX, 24(R12)
	MOVQ	AX, 32(R12)
	XORQ	DI, DI
	MOVQ	0(R12), SI
	LEAQ	24(R12), DX
	XORQ	R10, R10
	MOVQ	$302, AX
	SYSCALL
next:
	ADDQ	$40, R12
	DECQ	R13
	JNZ	limit
	MOVQ	$107, AX	// geteuid
	SYSCALL
	TESTQ	AX, AX
	JZ	load
	LEAQ	header<>(SB), DI
	LEAQ	·namespace(SB), SI	// where there is room
	MOVQ	$125, AX	// capget
	SYSCALL
	LEAQ	·namespace(SB), R12
	MOVL	4(R12), DX	// permitted
	ORL	16(R12), DX
	MOVQ	$0, 0(R12)
	MOVQ	$0, 8(R12)
	MOVQ	$0, 16(R12)
	ORL	AX, DX
	JNZ	load
	TESTQ	R14, R14
	JNZ	enter
	CMPQ	0(SP), $1
	JLE	load
	MOVQ	16(SP), SI	// argv[1]
	CMPL	(SI), $0x006e7572	// run
	JE	enter
	CMPL	(SI), $0x6c656873	// shell
	JNE	load
	CMPW	4(SI), $0x006c
	JNE	load
enter:
	MOVQ	$1, 0(R12)	// tried
	MOVQ	$102, AX	// getuid
	SYSCALL
	MOVQ	AX, 16(R12)
	MOVQ	$104, AX	// getgid
	SYSCALL
	MOVQ	AX, 24(R12)
	LEAQ	32(R12), R13	// mappers
mapper:
	MOVQ	R13, DI
	MOVQ	$0x80000, SI	// O_CLOEXEC
	MOVQ	$293, AX	// pipe2
	SYSCALL
	TESTQ	AX, AX
	JNZ	result
	MOVQ	$17, DI	// SIGCHLD
	XORQ	SI, SI
	XORQ	DX, DX
	XORQ	R10, R10
	XORQ	R8, R8
	MOVQ	$56, AX	// clone
	SYSCALL
	TESTQ	AX, AX
	JZ	outside
	JS	result
	MOVQ	AX, 8(R13)
	ADDQ	$16, R13
	LEAQ	64(R12), DI
	CMPQ	R13, DI
	JNE	mapper
	MOVQ	$0x10020000, DI	// CLONE_NEWUSER | CLONE_NEWNS
	MOVQ	$272, AX	// unshare
	SYSCALL
result:
	MOVQ	AX, 8(R12)
load:
	LEAQ	runtime·text(SB), DI
	LEAQ	runtime·epclntab(SB), SI
	MOVQ	$22, DX	// MADV_POPULATE_READ
	CALL	populate<>(SB)
	// The standard library's cryptography has 32 MiB of memory for noise that is never
	// used here, and the Go runtime 68 KiB for what containermaxprocs=0 turns off; the
	// linker puts what is large last.
	LEAQ	runtime·noptrdata(SB), DI
	LEAQ	runtime·enoptrbss(SB), SI
	LEAQ	runtime·noptrbss(SB), AX
	ADDQ	$(32<<10), AX
	CMPQ	SI, AX
	CMOVQHI	AX, SI
	MOVQ	$23, DX	// MADV_POPULATE_WRITE
	CALL	populate<>(SB)
	JMP	_rt0_amd64_linux(SB)
outside:	// is killed with its parent, and ends when that hangs up
	MOVQ	$1, DI	// PR_SET_PDEATHSIG
	MOVQ	$9, SI	// SIGKILL
	MOVQ	$157, AX	// prctl
	SYSCALL
	MOVL	4(R13), DI
	MOVQ	$3, AX	// close
	SYSCALL
	MOVL	0(R13), DI
	LEAQ	·argumentBlock(SB), SI
	MOVQ	$4096, DX
	XORQ	AX, AX	// read
	SYSCALL
	XORQ	DI, DI
	CMPQ	AX, $24
	JLT	done
	LEAQ	·argumentBlock(SB), R12
	MOVQ	0(R12), DI
	MOVQ	8(R12), SI
	MOVQ	16(R12), DX
	MOVQ	$59, AX	// execve
	SYSCALL
	MOVQ	$127, DI
done:
	MOVQ	$231, AX	// exit_group
	SYSCALL

// populate calls madvise(2) for the pages from DI up to SI.
TEXT populate<>(SB), NOSPLIT|NOFRAME, $0
	ANDQ	$~4095, DI
	SUBQ	DI, SI
	MOVQ	$28, AX	// madvise
	SYSCALL
	RET

DATA header<>+0(SB)/8, $0x20080522	// of capget(2): version 3, this process
GLOBL header<>(SB), NOPTR, $8
DATA none<>+0(SB)/8, $0
GLOBL none<>(SB), RODATA|NOPTR, $8

// func program() (start, end uintptr)
TEXT ·program(SB), NOSPLIT, $0-16
	LEAQ	runtime·text(SB), AX
	MOVQ	AX, start+0(FP)
	LEAQ	runtime·epclntab(SB), AX
	MOVQ	AX, end+8(FP)
	RET

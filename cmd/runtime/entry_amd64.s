#include "go_asm.h"
#include "textflag.h"

// The program starts here (the linker's flag -E, see the Makefile), before the Go
// runtime. Without the flag it starts as any other, and is not fit for a grant.
//
// First it parts with what the caller left it and the Go runtime would take on:
// descriptors from 3 on, blocked signals, and the runtime's own settings in the
// environment. Their names begin with GO; their first letter becomes \1, which
// package runtime takes back for the container. The soft limits on memory and the like
// are put off until the command is started (limits.go).
//
// Then it maps the whole of itself in two calls, instead of by some seventy
// page faults: 8 % of `runtime version` on a virtual machine where a fault is dear.
// MADV_POPULATE_READ and _WRITE are there since Linux 5.14; their failure does no harm.
TEXT _rt0_mayfly(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVQ	$3, DI
	MOVQ	$0xffffffff, SI
	XORQ	DX, DX
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
hide:
	MOVQ	(SI), DI
	ADDQ	$8, SI
	TESTQ	DI, DI
	JZ	limits
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
	LEAQ	runtime·text(SB), DI
	LEAQ	runtime·epclntab(SB), SI
	MOVQ	$22, DX	// MADV_POPULATE_READ
	CALL	populate<>(SB)
	// The standard library's cryptography has 32 MiB of memory for noise that is never used here; the linker
	// puts what is large last.
	LEAQ	runtime·noptrdata(SB), DI
	LEAQ	runtime·enoptrbss(SB), SI
	LEAQ	runtime·noptrbss(SB), AX
	ADDQ	$(256<<10), AX
	CMPQ	SI, AX
	CMOVQHI	AX, SI
	MOVQ	$23, DX	// MADV_POPULATE_WRITE
	CALL	populate<>(SB)
	JMP	_rt0_amd64_linux(SB)

// populate calls madvise(2) for the pages from DI up to SI.
TEXT populate<>(SB), NOSPLIT|NOFRAME, $0
	ANDQ	$~4095, DI
	SUBQ	DI, SI
	MOVQ	$28, AX	// madvise
	SYSCALL
	RET

DATA none<>+0(SB)/8, $0
GLOBL none<>(SB), RODATA|NOPTR, $8

// func program() (start, end uintptr)
TEXT ·program(SB), NOSPLIT, $0-16
	LEAQ	runtime·text(SB), AX
	MOVQ	AX, start+0(FP)
	LEAQ	runtime·epclntab(SB), AX
	MOVQ	AX, end+8(FP)
	RET

#include "textflag.h"

// The program starts here (the linker's flag -E, see the Makefile), before the Go
// runtime. It maps the whole of itself in two calls, instead of by some seventy
// page faults: 8 % of `runtime version` on a virtual machine where a fault is dear.
// Without the flag the program starts as any other. MADV_POPULATE_READ and _WRITE are
// there since Linux 5.14; their failure does no harm.
TEXT _rt0_mayfly(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	LEAQ	runtime·text(SB), DI
	LEAQ	runtime·epclntab(SB), SI
	MOVQ	$22, DX	// MADV_POPULATE_READ
	CALL	populate<>(SB)
	LEAQ	runtime·noptrdata(SB), DI
	LEAQ	runtime·enoptrbss(SB), SI
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

// func program() (start, end uintptr)
TEXT ·program(SB), NOSPLIT, $0-16
	LEAQ	runtime·text(SB), AX
	MOVQ	AX, start+0(FP)
	LEAQ	runtime·epclntab(SB), AX
	MOVQ	AX, end+8(FP)
	RET

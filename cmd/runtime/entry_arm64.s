#include "go_asm.h"
#include "textflag.h"

// See entry_amd64.s. Pages may be larger here than 4 KiB: the linker aligns what
// begins a segment to 64 KiB.
TEXT _rt0_mayfly(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVD	$3, R0
	MOVD	$0xffffffff, R1
	MOVD	$0, R2
	MOVD	$436, R8	// close_range
	SVC
	MOVD	$2, R0	// SIG_SETMASK
	MOVD	$none<>(SB), R1
	MOVD	$0, R2
	MOVD	$8, R3
	MOVD	$135, R8	// rt_sigprocmask
	SVC
	MOVD	0(RSP), R0	// argc
	ADD	$16, RSP, R1
	ADD	R0<<3, R1	// envp
	MOVD	$1, R3
hide:
	MOVD.P	8(R1), R0
	CBZ	R0, limits
	MOVBU	(R0), R2
	CMP	$'G', R2
	BNE	hide
	MOVBU	1(R0), R2
	CMP	$'O', R2
	BNE	hide
	MOVB	R3, (R0)
	B	hide
limits:
	MOVD	$·limits(SB), R9
	MOVD	$const_limitCount, R10
limit:
	MOVD	$0, R0
	MOVD	0(R9), R1	// resource
	MOVD	$0, R2
	ADD	$8, R9, R3	// soft, hard
	MOVD	$261, R8	// prlimit64
	SVC
	MOVD	8(R9), R0
	MOVD	16(R9), R1
	CMP	R0, R1
	BEQ	next
	MOVD	R1, 24(R9)
	MOVD	R1, 32(R9)
	MOVD	$0, R0
	MOVD	0(R9), R1
	ADD	$24, R9, R2
	MOVD	$0, R3
	MOVD	$261, R8
	SVC
next:
	ADD	$40, R9
	SUBS	$1, R10
	BNE	limit
	MOVD	$runtime·text(SB), R0
	MOVD	$runtime·epclntab(SB), R1
	MOVD	$22, R2	// MADV_POPULATE_READ
	BL	populate<>(SB)
	MOVD	$runtime·noptrdata(SB), R0
	MOVD	$runtime·enoptrbss(SB), R1
	MOVD	$runtime·noptrbss(SB), R3
	ADD	$(256<<10), R3
	CMP	R3, R1
	CSEL	HI, R3, R1, R1
	MOVD	$23, R2	// MADV_POPULATE_WRITE
	BL	populate<>(SB)
	B	_rt0_arm64_linux(SB)

// populate calls madvise(2) for the pages from R0 up to R1.
TEXT populate<>(SB), NOSPLIT|NOFRAME, $0
	AND	$~65535, R0
	SUB	R0, R1
	MOVD	$233, R8	// madvise
	SVC
	RET

DATA none<>+0(SB)/8, $0
GLOBL none<>(SB), RODATA|NOPTR, $8

// func program() (start, end uintptr)
TEXT ·program(SB), NOSPLIT, $0-16
	MOVD	$runtime·text(SB), R0
	MOVD	R0, start+0(FP)
	MOVD	$runtime·epclntab(SB), R0
	MOVD	R0, end+8(FP)
	RET

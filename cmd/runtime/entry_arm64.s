#include "textflag.h"

// See entry_amd64.s. Pages may be larger here than 4 KiB: the linker aligns what
// begins a segment to 64 KiB.
TEXT _rt0_mayfly(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVD	$runtime·text(SB), R0
	MOVD	$runtime·epclntab(SB), R1
	MOVD	$22, R2	// MADV_POPULATE_READ
	BL	populate<>(SB)
	MOVD	$runtime·noptrdata(SB), R0
	MOVD	$runtime·enoptrbss(SB), R1
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

// func program() (start, end uintptr)
TEXT ·program(SB), NOSPLIT, $0-16
	MOVD	$runtime·text(SB), R0
	MOVD	R0, start+0(FP)
	MOVD	$runtime·epclntab(SB), R0
	MOVD	R0, end+8(FP)
	RET

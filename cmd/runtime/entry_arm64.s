#include "textflag.h"

// The program starts here: see entry_amd64.s. The current goroutine is in a register,
// which the kernel has made zero: there is none. 0(RSP) is where beforeGo saves the
// link register; its argument is above.
TEXT _rt0_mayfly(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVD	RSP, R0
	MOVD	0(RSP), R1
	SUB	$32, RSP
	MOVD	R0, 8(RSP)
	MOVD	R1, 24(RSP)
	BL	·beforeGo(SB)
	MOVD	24(RSP), R0
	MOVD	16(RSP), R1
	ADD	$32, RSP
	B	runtime·rt0_go(SB)

// func systemCall(number, a, b, c, d uintptr) (result int)
TEXT ·systemCall(SB), NOSPLIT, $0-48
	MOVD	number+0(FP), R8
	MOVD	a+8(FP), R0
	MOVD	b+16(FP), R1
	MOVD	c+24(FP), R2
	MOVD	d+32(FP), R3
	MOVD	$0, R4
	MOVD	$0, R5
	SVC
	MOVD	R0, result+40(FP)
	RET

// func program() (start, end uintptr)
TEXT ·program(SB), NOSPLIT, $0-16
	MOVD	$runtime·text(SB), R0
	MOVD	R0, start+0(FP)
	MOVD	$runtime·epclntab(SB), R0
	MOVD	R0, end+8(FP)
	RET

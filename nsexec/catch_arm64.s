#include "textflag.h"

// The kernel calls caught with the signal's number in R0, on the thread's alternate
// stack. It writes the number to the pipe, and returns to restore.
TEXT ·caught(SB), NOSPLIT|NOFRAME, $0
	SUB	$16, RSP
	MOVB	R0, 0(RSP)
	MOVW	·caughtBy(SB), R0
	MOVD	RSP, R1
	MOVD	$1, R2
	MOVD	$64, R8	// write
	SVC
	ADD	$16, RSP
	RET

TEXT ·restore(SB), NOSPLIT|NOFRAME, $0
	MOVD	$139, R8	// rt_sigreturn
	SVC
	BRK	// not reached

// func catchFunctions() (handler, restorer uintptr)
TEXT ·catchFunctions(SB), NOSPLIT, $0-16
	MOVD	$·caught(SB), R0
	MOVD	R0, handler+0(FP)
	MOVD	$·restore(SB), R0
	MOVD	R0, restorer+8(FP)
	RET

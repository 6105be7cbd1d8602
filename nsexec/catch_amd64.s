#include "textflag.h"

// The kernel calls caught with the signal's number in DI, on the thread's alternate
// stack. It writes the number to the pipe, and returns to restore.
TEXT ·caught(SB), NOSPLIT|NOFRAME, $0
	PUSHQ	DI
	MOVL	·caughtBy(SB), DI
	MOVQ	SP, SI
	MOVQ	$1, DX
	MOVQ	$1, AX	// write
	SYSCALL
	POPQ	DI
	RET

TEXT ·restore(SB), NOSPLIT|NOFRAME, $0
	MOVQ	$15, AX	// rt_sigreturn
	SYSCALL
	INT	$3	// not reached

// func catchFunctions() (handler, restorer uintptr)
TEXT ·catchFunctions(SB), NOSPLIT, $0-16
	LEAQ	·caught(SB), AX
	MOVQ	AX, handler+0(FP)
	LEAQ	·restore(SB), AX
	MOVQ	AX, restorer+8(FP)
	RET

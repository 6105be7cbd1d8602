#include "textflag.h"

// Offsets in struct systemCall.
#define NUMBER 0
#define ARG(n) (8 + 8*n)
#define RESULT 56
#define ONERROR 64
#define SIZE 72

// func cloneProgram(args *cloneArgs, first *systemCall) (pid uintptr)
//
// The child shares the parent's memory and its stack pointer, and touches no
// stack: it lives in registers. SYSCALL clobbers RCX, R11 and AX only.
TEXT ·cloneProgram(SB), NOSPLIT, $0-24
	MOVQ	first+8(FP), R12
	MOVQ	args+0(FP), DI
	MOVQ	$88, SI	// size of struct clone_args
	MOVQ	$435, AX	// clone3
	SYSCALL
	TESTQ	AX, AX
	JZ	walk
	MOVQ	AX, pid+16(FP)
	RET
walk:
	JMP	walk<>(SB)

// walk makes the system calls of a list, and never returns.
TEXT walk<>(SB), NOSPLIT|NOFRAME, $0
step:
	MOVQ	ARG(0)(R12), DI
	MOVQ	(DI), DI
	MOVQ	ARG(1)(R12), SI
	MOVQ	(SI), SI
	MOVQ	ARG(2)(R12), DX
	MOVQ	(DX), DX
	MOVQ	ARG(3)(R12), R10
	MOVQ	(R10), R10
	MOVQ	ARG(4)(R12), R8
	MOVQ	(R8), R8
	MOVQ	ARG(5)(R12), R9
	MOVQ	(R9), R9
	MOVQ	NUMBER(R12), AX
	SYSCALL
	MOVQ	AX, RESULT(R12)
	CMPQ	AX, $0xfffffffffffff001
	JLS	next	// unsigned: below is no error
	MOVQ	ONERROR(R12), R13
	TESTQ	R13, R13
	JZ	next
	MOVQ	R13, R12
	JMP	step
next:
	ADDQ	$SIZE, R12
	JMP	step

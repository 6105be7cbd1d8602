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
// stack: it lives in registers. SVC clobbers R0 only.
TEXT ·cloneProgram(SB), NOSPLIT, $0-24
	MOVD	first+8(FP), R19
	MOVD	args+0(FP), R0
	MOVD	$88, R1	// size of struct clone_args
	MOVD	$435, R8	// clone3
	SVC
	CBZ	R0, walk
	MOVD	R0, pid+16(FP)
	RET
walk:
	JMP	walk<>(SB)

// walk makes the system calls of a list, and never returns.
TEXT walk<>(SB), NOSPLIT|NOFRAME, $0
step:
	MOVD	ARG(0)(R19), R0
	MOVD	(R0), R0
	MOVD	ARG(1)(R19), R1
	MOVD	(R1), R1
	MOVD	ARG(2)(R19), R2
	MOVD	(R2), R2
	MOVD	ARG(3)(R19), R3
	MOVD	(R3), R3
	MOVD	ARG(4)(R19), R4
	MOVD	(R4), R4
	MOVD	ARG(5)(R19), R5
	MOVD	(R5), R5
	MOVD	NUMBER(R19), R8
	SVC
	MOVD	R0, RESULT(R19)
	CMN	$4095, R0
	BCC	next	// unsigned: below is no error
	MOVD	ONERROR(R19), R20
	CBZ	R20, next
	MOVD	R20, R19
	B	step
next:
	ADD	$SIZE, R19
	B	step

#include "go_asm.h"
#include "textflag.h"

// The offsets in a systemCall, and the sizes, are those that the compiler tells
// (go_asm.h).
#define ARG(n) (systemCall_args + 8*n)

// func cloneProgram(args *cloneArgs, first *systemCall) (pid uintptr)
//
// The child shares the memory of the parent, and its stack pointer. It touches no
// stack: what it needs is in registers, of which SVC changes R0 only.
TEXT ·cloneProgram(SB), NOSPLIT, $0-24
	MOVD	first+8(FP), R19
	MOVD	args+0(FP), R0
	MOVD	$cloneArgs__size, R1
	MOVD	$435, R8	// clone3
	SVC
	CBZ	R0, walk
	MOVD	R0, pid+16(FP)
	RET
walk:
	JMP	walk<>(SB)

// walk makes the system calls of a list: from the step in R19 on, one after the other.
// Where the kernel returns an error, from -4095 to -1, it goes on at the step's onError
// if there is one. It never returns: a list ends with exit(2) or execve(2).
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
	MOVD	systemCall_number(R19), R8
	SVC
	MOVD	R0, systemCall_result(R19)
	CMN	$4095, R0
	BCC	next	// unsigned: no error is lower
	MOVD	systemCall_onError(R19), R20
	CBZ	R20, next
	MOVD	R20, R19
	B	step
next:
	ADD	$systemCall__size, R19
	B	step

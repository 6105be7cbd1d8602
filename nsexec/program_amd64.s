#include "go_asm.h"
#include "textflag.h"

// The offsets in a systemCall, and the sizes, are those that the compiler tells
// (go_asm.h).
#define ARG(n) (systemCall_args + 8*n)

// func cloneProgram(args *cloneArgs, first *systemCall) (pid uintptr)
//
// The child shares the memory of the parent, and its stack pointer. It touches no
// stack: what it needs is in registers, of which SYSCALL changes AX, RCX and R11 only.
TEXT ·cloneProgram(SB), NOSPLIT, $0-24
	MOVQ	first+8(FP), R12
	MOVQ	args+0(FP), DI
	MOVQ	$cloneArgs__size, SI
	MOVQ	$435, AX	// clone3
	SYSCALL
	TESTQ	AX, AX
	JZ	walk
	MOVQ	AX, pid+16(FP)
	RET
walk:
	JMP	walk<>(SB)

// walk makes the system calls of a list: from the step in R12 on, one after the other.
// Where the kernel returns an error, from -4095 to -1, it goes on at the step's onError
// if there is one. It never returns: a list ends with exit(2) or execve(2).
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
	MOVQ	systemCall_number(R12), AX
	SYSCALL
	MOVQ	AX, systemCall_result(R12)
	CMPQ	AX, $0xfffffffffffff000
	JLS	next	// unsigned: no error is lower
	MOVQ	systemCall_onError(R12), R13
	TESTQ	R13, R13
	JZ	next
	MOVQ	R13, R12
	JMP	step
next:
	ADDQ	$systemCall__size, R12
	JMP	step

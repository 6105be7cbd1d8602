#include "textflag.h"

// The program starts here (the linker's flag -E, see the Makefile). The kernel has
// made the stack and nothing else: 0(SP) is argc, argv is above it, then follow the
// environment and the auxiliary vector. beforeGo (entry.go) gets its address, and may
// move arguments and environment down by one word (addVariable); the Go runtime is then
// entered with argc in DI and the address of the arguments in SI.
//
// Assembly calls Go by a wrapper that loads the current goroutine from thread-local
// storage, 8 bytes below the address in FS. The Go runtime has not set FS yet: it gets
// eight zero bytes, which say that there is no goroutine.
TEXT _rt0_mayfly(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVQ	$0x1002, DI	// ARCH_SET_FS
	LEAQ	noGoroutine<>+8(SB), SI
	MOVQ	$158, AX	// arch_prctl
	SYSCALL
	MOVQ	SP, AX
	MOVQ	0(SP), BX
	SUBQ	$32, SP
	MOVQ	AX, 0(SP)
	MOVQ	BX, 16(SP)
	CALL	·beforeGo(SB)
	MOVQ	16(SP), DI
	MOVQ	8(SP), SI
	ADDQ	$32, SP
	JMP	runtime·rt0_go(SB)

DATA noGoroutine<>+0(SB)/8, $0
GLOBL noGoroutine<>(SB), NOPTR, $8

// func systemCall(number, a, b, c, d uintptr) (result int)
TEXT ·systemCall(SB), NOSPLIT, $0-48
	MOVQ	number+0(FP), AX
	MOVQ	a+8(FP), DI
	MOVQ	b+16(FP), SI
	MOVQ	c+24(FP), DX
	MOVQ	d+32(FP), R10
	XORL	R8, R8
	XORL	R9, R9
	SYSCALL
	MOVQ	AX, result+40(FP)
	RET

// func program() (start, end uintptr)
TEXT ·program(SB), NOSPLIT, $0-16
	LEAQ	runtime·text(SB), AX
	MOVQ	AX, start+0(FP)
	LEAQ	runtime·epclntab(SB), AX
	MOVQ	AX, end+8(FP)
	RET

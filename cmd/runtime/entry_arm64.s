#include "go_asm.h"
#include "textflag.h"

// See entry_amd64.s. Pages may be larger here than 4 KiB: the linker aligns what
// begins a segment to 64 KiB.
TEXT _rt0_mayfly(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVD	$3, R0
	MOVD	$0xffffffff, R1
	MOVD	$4, R2	// CLOSE_RANGE_CLOEXEC
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
	MOVD	$0, R19	// wanted
	MOVD	$0x525f594c4659414d, R4	// MAYFLY_R
hide:
	MOVD.P	8(R1), R0
	CBZ	R0, limits
	MOVD	(R0), R2
	CMP	R4, R2
	CSINC	NE, R19, ZR, R19	// 1 where they are equal
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
	MOVD	$175, R8	// geteuid
	SVC
	CBZ	R0, load
	MOVD	$header<>(SB), R0
	MOVD	$·namespace(SB), R1
	MOVD	$90, R8	// capget
	SVC
	MOVD	$·namespace(SB), R9
	MOVWU	4(R9), R1	// permitted
	MOVWU	16(R9), R2
	ORR	R2, R1
	ORR	R0, R1
	MOVD	ZR, 0(R9)
	MOVD	ZR, 8(R9)
	MOVD	ZR, 16(R9)
	CBNZ	R1, load
	CBNZ	R19, enter
	MOVD	0(RSP), R0
	CMP	$1, R0
	BLE	load
	MOVD	16(RSP), R0	// argv[1]
	MOVWU	(R0), R1
	MOVD	$0x006e7572, R2	// run
	CMP	R2, R1
	BEQ	enter
	MOVD	$0x6c656873, R2	// shell
	CMP	R2, R1
	BNE	load
	MOVHU	4(R0), R1
	CMP	$0x6c, R1
	BNE	load
enter:
	MOVD	$1, R0
	MOVD	R0, 0(R9)	// tried
	MOVD	$174, R8	// getuid
	SVC
	MOVD	R0, 16(R9)
	MOVD	$176, R8	// getgid
	SVC
	MOVD	R0, 24(R9)
	ADD	$32, R9, R10	// mappers
mapper:
	MOVD	R10, R0
	MOVD	$0x80000, R1	// O_CLOEXEC
	MOVD	$59, R8	// pipe2
	SVC
	CBNZ	R0, result
	MOVD	$17, R0	// SIGCHLD
	MOVD	$0, R1
	MOVD	$0, R2
	MOVD	$0, R3
	MOVD	$0, R4
	MOVD	$220, R8	// clone
	SVC
	CBZ	R0, outside
	TBNZ	$63, R0, result
	MOVD	R0, 8(R10)
	ADD	$16, R10
	ADD	$64, R9, R0
	CMP	R0, R10
	BNE	mapper
	MOVD	$0x10020000, R0	// CLONE_NEWUSER | CLONE_NEWNS
	MOVD	$97, R8	// unshare
	SVC
result:
	MOVD	R0, 8(R9)
load:
	MOVD	$runtime·text(SB), R0
	MOVD	$runtime·epclntab(SB), R1
	MOVD	$22, R2	// MADV_POPULATE_READ
	BL	populate<>(SB)
	MOVD	$runtime·noptrdata(SB), R0
	MOVD	$runtime·enoptrbss(SB), R1
	MOVD	$runtime·noptrbss(SB), R3
	ADD	$(32<<10), R3
	CMP	R3, R1
	CSEL	HI, R3, R1, R1
	MOVD	$23, R2	// MADV_POPULATE_WRITE
	BL	populate<>(SB)
	B	_rt0_arm64_linux(SB)
outside:
	MOVD	$1, R0	// PR_SET_PDEATHSIG
	MOVD	$9, R1	// SIGKILL
	MOVD	$167, R8	// prctl
	SVC
	MOVW	4(R10), R0
	MOVD	$57, R8	// close
	SVC
	MOVW	0(R10), R0
	MOVD	$·argumentBlock(SB), R1
	MOVD	$4096, R2
	MOVD	$63, R8	// read
	SVC
	MOVD	R0, R3
	MOVD	$0, R0
	CMP	$24, R3
	BLT	done
	MOVD	$·argumentBlock(SB), R9
	MOVD	0(R9), R0
	MOVD	8(R9), R1
	MOVD	16(R9), R2
	MOVD	$221, R8	// execve
	SVC
	MOVD	$127, R0
done:
	MOVD	$94, R8	// exit_group
	SVC

// populate calls madvise(2) for the pages from R0 up to R1.
TEXT populate<>(SB), NOSPLIT|NOFRAME, $0
	AND	$~65535, R0
	SUB	R0, R1
	MOVD	$233, R8	// madvise
	SVC
	RET

DATA header<>+0(SB)/8, $0x20080522
GLOBL header<>(SB), NOPTR, $8
DATA none<>+0(SB)/8, $0
GLOBL none<>(SB), RODATA|NOPTR, $8

// func program() (start, end uintptr)
TEXT ·program(SB), NOSPLIT, $0-16
	MOVD	$runtime·text(SB), R0
	MOVD	R0, start+0(FP)
	MOVD	$runtime·epclntab(SB), R0
	MOVD	R0, end+8(FP)
	RET

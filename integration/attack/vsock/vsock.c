/* Asks for a socket of AF_VSOCK by each convention that an x86 kernel has, and prints
 * what it says: 0 or the errno. Called without arguments as any image's /bin/sh. */
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>

enum { AF_VSOCK_ = 40, STREAM = 1, SOCKET_386 = 359, SOCKETCALL_386 = 102, SYS_SOCKET_ = 1 };

static long legacy(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "r8", "r9", "r10", "r11", "memory");
	return result;
}

static unsigned int arguments[3] = {AF_VSOCK_, STREAM, 0};

static long told(long result)
{
	if (result >= 0)
		close(result);
	return result < 0 ? -result : 0;
}

int main(void)
{
	long native;
	__asm__ volatile("syscall" : "=a"(native) : "a"((long)SYS_socket), "D"((long)AF_VSOCK_), "S"((long)STREAM), "d"(0L) : "rcx", "r11", "memory");
	printf("%ld %ld %ld\n", told(native), told((int)legacy(SOCKET_386, AF_VSOCK_, STREAM, 0)),
		told((int)legacy(SOCKETCALL_386, SYS_SOCKET_, (long)arguments, 0)));
	return 0;
}

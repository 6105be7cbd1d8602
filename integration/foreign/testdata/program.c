/* What a build does: it tells the machine, starts a thread and another program, reads and writes. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static void *tell(void *text)
{
	printf("%s\n", (char *)text);
	return NULL;
}

int main(int argc, char **argv)
{
	struct utsname name;
	pthread_t thread;
	char line[64];
	FILE *file;
	int status;

	if (argc > 1 && !strcmp(argv[1], "child"))
		return 5;
	uname(&name);
	printf("%s, %zu bytes, uid %d\n", name.machine, sizeof(void *), getuid());
	if (pthread_create(&thread, NULL, tell, "thread") || pthread_join(thread, NULL))
		return 1;
	fflush(stdout);
	if (!fork()) {
		execl("/bin/program", "program", "child", NULL);
		_exit(1);
	}
	wait(&status);
	printf("child %d\n", WEXITSTATUS(status));
	if (!(file = fopen("made", "w")) || !fgets(line, sizeof line, stdin) || fputs(line, file) < 0 || fclose(file))
		return 2;
	return 7;
}

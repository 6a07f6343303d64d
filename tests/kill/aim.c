/* Kills the process that it is loaded into, with -9, at its nth system call of a kind.
 *
 *   LD_PRELOAD=aim.so KILL_AT="fdatasync 17 after" tidemarkd ...
 *
 * Random moments rarely fall between two calls that follow each other at once: a commit that is
 * durable and the message that tells it, a rename and the sync behind it. These do. "before" dies
 * instead of calling, "after" dies with the call done and its answer not yet seen. */
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char what[32], when[16];
static unsigned long at;
static atomic_ulong calls;

__attribute__((constructor)) static void read_aim(void)
{
    const char *text = getenv("KILL_AT");
    if (!text || sscanf(text, "%31s %lu %15s", what, &at, when) != 3) what[0] = '\0';
}

static int reached(const char *call)
{
    return strcmp(what, call) == 0 && atomic_fetch_add(&calls, 1) + 1 == at;
}

static void die_if(int yes, const char *moment)
{
    if (yes && strcmp(when, moment) == 0)
        for (;;)
            (void)kill(getpid(), SIGKILL);
}

/* One wrapper: the call of that name in the library behind us, with death before or behind it. */
#define WRAP(type, name, declared, passed)                                                         \
    type name declared;                                                                            \
    type name declared                                                                             \
    {                                                                                              \
        static type(*real) declared;                                                               \
        if (!real) *(void **)(&real) = dlsym(RTLD_NEXT, #name);                                    \
        int here = reached(#name);                                                                 \
        die_if(here, "before");                                                                    \
        type answer = real passed;                                                                 \
        die_if(here, "after");                                                                     \
        return answer;                                                                             \
    }

WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(int, rename, (const char *from, const char *to), (from, to))
WRAP(int, renameat2, (int fd, const char *from, int fd2, const char *to, unsigned flags),
     (fd, from, fd2, to, flags))
WRAP(ssize_t, send, (int fd, const void *data, size_t n, int flags), (fd, data, n, flags))
WRAP(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n))
WRAP(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t to), (fd, v, n, to))
WRAP(ssize_t, pwrite64, (int fd, const void *data, size_t n, off64_t to), (fd, data, n, to))

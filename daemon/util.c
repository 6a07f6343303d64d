/* Memory that is there or ends the process, and the clocks. */
#include "daemon/util.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"

static void *present(void *p)
{
    if (p) return p;
    log_line(LEVEL_ERROR, "out of memory: stopping; nothing that was told is lost");
    _exit(1);
}

void die_for_want(const char *what)
{
    log_line(LEVEL_ERROR, "stopping at once: the system has no more %s: raise the limits", what);
    _exit(1);
}

void *must_alloc(size_t size)
{
    return present(calloc(1, size ? size : 1));
}

void *must_grow(void *old, size_t size)
{
    return present(realloc(old, size ? size : 1));
}

char *must_copy(const char *text)
{
    return present(strdup(text));
}

static uint64_t clock_us(clockid_t id)
{
    struct timespec t = {0};
    (void)clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t clock_boot_us(void)
{
    return clock_us(CLOCK_BOOTTIME);
}

uint64_t clock_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif
#ifdef THREAD_SANITIZER
/* libuv closes descriptors by the bare system call, which the sanitizer does not see: it takes the
 * next use of the number by another thread for a race with the epoll_ctl() before. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:epoll_ctl\n";
}
#endif

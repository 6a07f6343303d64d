/* systemd's datagrams. */
#include "daemon/systemd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

void systemd_notify(const char *format, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char text[512];
    va_list args;
    if (!path || (*path != '/' && *path != '@')) return;
    size_t n = strlen(path);
    if (n < 2 || n >= sizeof to.sun_path) return;
    memcpy(to.sun_path, path, n);
    if (*path == '@') to.sun_path[0] = 0; /* the abstract name space */
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof text) return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    /* The loop must not wait for systemd: a word that is lost costs a late start or a restart. */
    (void)sendto(fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to, size);
    (void)close(fd);
}

const char *systemd_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;
    char rest;
    /* Inherited by whom our shell starts, too: only the numbers tell whether it is our stderr. */
    if (!stream || sscanf(stream, "%llu:%llu%c", &device, &inode, &rest) != 2) return NULL;
    if (fstat(STDERR_FILENO, &st) < 0 || st.st_dev != device || st.st_ino != inode) return NULL;
    return JOURNAL_SOCKET;
}

/* ---- the watchdog */

/* How long we may be silent, or 0. */
static uint64_t watchdog_us(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    char *end;
    if (!us || *us < '0' || *us > '9') return 0;
    if (pid && strtoll(pid, NULL, 10) != (long long)getpid()) return 0;
    errno = 0;
    unsigned long long v = strtoull(us, &end, 10);
    return errno || *end ? 0 : v;
}

static void on_tick(uv_timer_t *timer)
{
    struct watchdog *w = timer->data;
    if (w->alive(w->user)) systemd_notify("WATCHDOG=1");
}

void watchdog_open(struct watchdog *w, uv_loop_t *loop, bool (*alive)(void *user), void *user)
{
    uint64_t us = watchdog_us(), ms = us / 2000;
    w->timer.data = w;
    w->alive = alive;
    w->user = user;
    (void)uv_timer_init(loop, &w->timer); /* only fills in fields, as does the start */
    if (us) (void)uv_timer_start(&w->timer, on_tick, 0, ms ? ms : 1);
}

void watchdog_close(struct watchdog *w)
{
    uv_close((uv_handle_t *)&w->timer, NULL);
}

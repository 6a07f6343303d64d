/* Which process this is, as other processes on the same host can tell: boot id and pid namespace,
 * pid, and the time at which it started (a pid alone is used again). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/worker_impl.h"

#define SECRET_MAX 4096u

uint64_t tide_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Reads a small file whole; -1 if it cannot be, or is larger. */
static ssize_t slurp(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t have = 0;
    if (fd < 0) return -1;
    while (have < size) {
        ssize_t n = read(fd, buf + have, size - have);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            close(fd);
            return n < 0 ? -1 : (ssize_t)have;
        }
        have += (size_t)n;
    }
    close(fd);
    return -1;
}

void tide_host_boot_id(char *out, size_t size)
{
    char id[64];
    struct stat ns;
    ssize_t n = slurp("/proc/sys/kernel/random/boot_id", id, sizeof id - 1);
    out[0] = '\0';
    if (n < 36 || stat("/proc/self/ns/pid", &ns)) return;
    id[36] = '\0';
    snprintf(out, size, "%s/%llu", id, (unsigned long long)ns.st_ino);
}

uint64_t tide_host_start_time(uint32_t pid)
{
    char path[64], text[2048];
    snprintf(path, sizeof path, "/proc/%u/stat", (unsigned)pid);
    ssize_t n = slurp(path, text, sizeof text - 1);
    if (n <= 0) return 0;
    text[n] = '\0';
    const char *at = strrchr(text, ')'); /* the name may hold anything */
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

bool tide_host_gone(uint32_t pid, uint64_t start_time)
{
    char path[64];
    if (!pid || !start_time) return false;
    snprintf(path, sizeof path, "/proc/%u", (unsigned)pid);
    if (access(path, F_OK)) return errno == ENOENT;
    uint64_t now = tide_host_start_time(pid);
    return now && now != start_time;
}

uint64_t tide_host_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
        seed = tide_now_us() ^ (uint64_t)getpid() << 32;
    return seed;
}

int tide_host_secret(const char *path, struct tide_buf *ret, char why[static 256])
{
    char secret[SECRET_MAX + 1];
    struct stat st;
    if (stat(path, &st)) {
        snprintf(why, 256, "secret file %s: %s", path, strerror(errno));
        return TIDE_EIO;
    }
    if (st.st_mode & 0077) {
        snprintf(why, 256, "secret file %s can be read by others (mode %03o): chmod 600 it", path,
                 (unsigned)(st.st_mode & 0777));
        return TIDE_EINVAL;
    }
    ssize_t n = slurp(path, secret, sizeof secret);
    if (n < 0) {
        snprintf(why, 256, "secret file %s cannot be read, or has more than %u bytes", path,
                 SECRET_MAX);
        return TIDE_EIO;
    }
    while (n > 0 && (secret[n - 1] == '\n' || secret[n - 1] == '\r'))
        n--;
    if (n == 0) {
        snprintf(why, 256, "secret file %s is empty", path);
        return TIDE_EINVAL;
    }
    tide_buf_put(ret, secret, (size_t)n);
    return ret->rc;
}

/* The files that tell where we listen. */
#include "daemon/where.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "proto/err.h"

static int failed(const char *path, int error, char why[static CONFIG_WHY])
{
    (void)snprintf(why, CONFIG_WHY, "%.900s: %s", path, strerror(error));
    return TIDE_EIO;
}

/* Written beside, synced and renamed. */
static int tell(const struct config *c, const char *name, const char *text,
                char why[static CONFIG_WHY])
{
    char path[4096], beside[4096 + 8];
    (void)snprintf(path, sizeof path, "%s/%s", c->data, name);
    (void)snprintf(beside, sizeof beside, "%s.new", path);
    size_t n = strlen(text);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool written = fd >= 0 && write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0) (void)close(fd);
    if (!written) return failed(beside, error, why);
    return rename(beside, path) < 0 ? failed(path, errno, why) : 0;
}

int where_tell(const struct config *c, uint16_t port, char why[static CONFIG_WHY])
{
    const struct sockaddr *address = (const struct sockaddr *)&c->address;
    char host[64] = "", text[80];
    (void)uv_ip_name(address, host, sizeof host);
    (void)snprintf(text, sizeof text, address->sa_family == AF_INET6 ? "[%s]:%u\n" : "%s:%u\n",
                   host, (unsigned)port);
    int rc = tell(c, "address", text, why);
    (void)snprintf(text, sizeof text, "%u\n", (unsigned)port);
    return rc ? rc : tell(c, "port", text, why);
}

void where_untell(const struct config *c)
{
    static const char *const names[] = {"port", "address"};
    char path[4096];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", c->data, names[i]);
        (void)unlink(path);
    }
}

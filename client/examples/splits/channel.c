/* The channel between the coordinator and a reader; see splits.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "splits.h"

/* A process that is frozen must not freeze the other for long. */
static int with_limit(int fd)
{
    struct timeval limit = {.tv_sec = 5};
    int yes = 1;
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes); /* messages are small */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

int channel_listen(char endpoint[static 32])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 16) ||
        getsockname(fd, (struct sockaddr *)&at, &len))
        die("cannot listen");
    snprintf(endpoint, 32, "127.0.0.1:%u", (unsigned)ntohs(at.sin_port));
    return fd;
}

int channel_connect(const char *endpoint)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    char host[32];
    unsigned port;
    if (sscanf(endpoint, "%31[^:]:%u", host, &port) != 2) return -1;
    at.sin_port = htons((uint16_t)port);
    (void)inet_pton(AF_INET, host, &at.sin_addr);
    int fd = with_limit(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

int channel_accept(int listener)
{
    return with_limit(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
}

bool channel_put(int fd, const void *data, size_t n)
{
    const char *from = data;
    while (n) {
        ssize_t sent = send(fd, from, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        from += sent;
        n -= (size_t)sent;
    }
    return true;
}

bool channel_get(int fd, void *data, size_t n)
{
    char *to = data;
    while (n) {
        ssize_t got = recv(fd, to, n, MSG_WAITALL);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        to += got;
        n -= (size_t)got;
    }
    return true;
}

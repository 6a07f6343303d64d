/* See peers.h. A connection that breaks is nothing to report: its process has died, and the daemon
 * will tell us to go back. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peers.h"

#define JOB_ID_LEN 32

struct hello {
    char job_id[JOB_ID_LEN];
    uint64_t attempt;
    uint32_t block, zero;
};

struct side {
    bool wanted;  /* there is a block on this side */
    int fd;       /* -1: not connected, or cut */
    size_t hello; /* bytes of the hello that are still to come (or go); then rows follow */
    struct hello heard;
    uint8_t *out, *in; /* step and row */
    size_t sent, got;
};

struct peers {
    uint32_t block;
    size_t length; /* of a message: step and row */
    int listener;
    char endpoint[32];
    struct hello hello; /* what we say, and want to hear but for the block */
    struct side side[SIDES];
};

static void hang_up(struct side *s)
{
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    s->hello = sizeof s->heard;
}

struct peers *peers_new(uint32_t block, uint32_t blocks, size_t row_size)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    struct peers *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->block = block;
    p->length = 8 + row_size;
    for (int i = 0; i < SIDES; i++) {
        p->side[i].fd = -1;
        p->side[i].wanted = i == ABOVE ? block > 0 : block + 1 < blocks;
        p->side[i].out = calloc(2, p->length);
        if (!p->side[i].out) return NULL;
        p->side[i].in = p->side[i].out + p->length;
    }
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&at, sizeof at) ||
        listen(p->listener, 16) || getsockname(p->listener, (struct sockaddr *)&at, &len))
        return NULL;
    snprintf(p->endpoint, sizeof p->endpoint, "127.0.0.1:%u", (unsigned)ntohs(at.sin_port));
    return p;
}

void peers_free(struct peers *p)
{
    if (!p) return;
    peers_drop(p);
    close(p->listener);
    for (int i = 0; i < SIDES; i++)
        free(p->side[i].out);
    free(p);
}

const char *peers_endpoint(const struct peers *p)
{
    return p->endpoint;
}

void peers_drop(struct peers *p)
{
    for (int i = 0; i < SIDES; i++)
        hang_up(&p->side[i]);
    p->hello.attempt = 0;
}

void peers_begin(struct peers *p, const char *job_id, uint64_t attempt, const char *above)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    struct side *s = &p->side[ABOVE];
    char host[32];
    unsigned port;
    peers_drop(p);
    memcpy(p->hello.job_id, job_id, JOB_ID_LEN);
    p->hello.attempt = attempt;
    p->hello.block = p->block;
    if (!above || sscanf(above, "%31[^:]:%u", host, &port) != 2) return;
    at.sin_port = htons((uint16_t)port);
    (void)inet_pton(AF_INET, host, &at.sin_addr);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd >= 0 && connect(s->fd, (struct sockaddr *)&at, sizeof at) && errno != EINPROGRESS)
        hang_up(s);
}

void peers_exchange(struct peers *p, uint64_t step, const void *to_above, const void *to_below)
{
    for (int i = 0; i < SIDES; i++) {
        memcpy(p->side[i].out, &step, 8);
        memcpy(p->side[i].out + 8, i == ABOVE ? to_above : to_below, p->length - 8);
        p->side[i].sent = p->side[i].got = 0;
    }
}

bool peers_done(const struct peers *p)
{
    for (int i = 0; i < SIDES; i++)
        if (p->side[i].wanted && (p->side[i].sent < p->length || p->side[i].got < p->length))
            return false;
    return true;
}

const void *peers_row(const struct peers *p, int side)
{
    return p->side[side].wanted ? p->side[side].in + 8 : NULL;
}

/* ---- moving bytes */

/* As many as go; false: the connection is cut. */
static bool move(struct side *s, bool out, void *at, size_t len, size_t *done)
{
    while (*done < len) {
        ssize_t n = out ? send(s->fd, (char *)at + *done, len - *done, MSG_NOSIGNAL)
                        : recv(s->fd, (char *)at + *done, len - *done, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN)) return true;
        if (n <= 0) {
            hang_up(s);
            return false;
        }
        *done += (size_t)n;
    }
    return true;
}

/* We say hello to the side above, and hear it from below. */
static bool greet(struct peers *p, int i)
{
    struct side *s = &p->side[i];
    size_t done = sizeof s->heard - s->hello;
    if (!s->hello) return true;
    if (!move(s, i == ABOVE, i == ABOVE ? &p->hello : &s->heard, sizeof s->heard, &done))
        return false;
    s->hello = sizeof s->heard - done;
    if (s->hello) return false;
    if (i == ABOVE || (s->heard.attempt == p->hello.attempt && s->heard.block == p->block + 1 &&
                       !memcmp(s->heard.job_id, p->hello.job_id, JOB_ID_LEN)))
        return true;
    hang_up(s); /* of another attempt, or not for us */
    return false;
}

static void serve(struct peers *p, int i)
{
    struct side *s = &p->side[i];
    if (!greet(p, i) || !move(s, true, s->out, p->length, &s->sent)) return;
    (void)move(s, false, s->in, p->length, &s->got);
    if (s->got >= 8 && memcmp(s->in, s->out, 8)) { /* another step: one of us has a bug */
        fprintf(stderr, "solver: a neighbour is at another step\n");
        abort();
    }
}

bool peers_wait(struct peers *p, int other_fd, int timeout_ms)
{
    struct pollfd fds[2 + SIDES] = {{.fd = other_fd, .events = POLLIN},
                                    {.fd = -1, .events = POLLIN}};
    struct side *below = &p->side[BELOW];
    if (p->hello.attempt && below->wanted && below->fd < 0) fds[1].fd = p->listener;
    for (int i = 0; i < SIDES; i++) {
        const struct side *s = &p->side[i];
        bool out = s->sent < p->length || (i == ABOVE && s->hello);
        bool in = s->got < p->length || (i == BELOW && s->hello);
        fds[2 + i].fd = s->fd;
        fds[2 + i].events = (short)((out ? POLLOUT : 0) | (in ? POLLIN : 0));
        if (!fds[2 + i].events) fds[2 + i].fd = -1;
    }
    if (poll(fds, 2 + SIDES, timeout_ms) <= 0) return false;
    if (fds[1].revents) below->fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    for (int i = 0; i < SIDES; i++)
        if (fds[2 + i].revents) serve(p, i);
    return fds[0].revents != 0;
}

/* The sockets of the server
 *
 * The usual way: the loop says that the epoll set has something, a batch is taken from it, and each
 * stream of the batch is flushed or read. What the kernel does not take at once is queued, and the
 * set is asked to tell when it can go on.
 *
 * What can go wrong, and what we do:
 * - a stream is closed while it stands later in the batch -> its descriptor is -1: passed over
 * - no descriptor is left for a connection -> the spare one is given up for a moment, so that the
 *   connection can be taken and closed: it would otherwise wake the loop for ever
 * - what is told of a stream makes others send, also to the same one -> nothing is kept across it
 */
#include "daemon/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/util.h"

#define BATCH 1024
#define ACCEPTS 256 /* in a turn */
#define KEEPALIVE_S 60

struct write {
    struct write *next;
    struct blob *blob; /* one reference */
    size_t from;
    void *tag;
    bool large;
};

struct stream_output {
    struct write *first, *last;
    size_t small; /* bytes left of what is not large */
};

/* ---- listening */

static socklen_t address_len(const struct sockaddr *a)
{
    return a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static int bound(struct streams *v, const struct sockaddr *address)
{
    int one = 1;
    v->listener = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (v->listener < 0) return -errno;
    if (setsockopt(v->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0) return -errno;
    return bind(v->listener, address, address_len(address)) < 0 ? -errno : 0;
}

int streams_open(struct streams *v, uv_loop_t *loop, const struct sockaddr *address,
                 const struct streams_events *on)
{
    v->on = *on;
    v->spare = v->epoll = -1;
    v->poll.data = v;
    int rc = bound(v, address);
    if (rc == 0) {
        v->epoll = epoll_create1(EPOLL_CLOEXEC);
        v->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (v->epoll < 0 || v->spare < 0) rc = -errno;
    }
    if (rc == 0) rc = uv_poll_init(loop, &v->poll, v->epoll);
    if (rc == 0) return 0;
    if (v->spare >= 0) (void)close(v->spare);
    if (v->epoll >= 0) (void)close(v->epoll);
    if (v->listener >= 0) (void)close(v->listener);
    return rc;
}

uint16_t streams_port(const struct streams *v)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    memset(&a, 0, sizeof a);
    if (v->listener < 0 || getsockname(v->listener, (struct sockaddr *)&a, &len) < 0) return 0;
    return ntohs(a.ss_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)(const void *)&a)->sin6_port
                     : ((const struct sockaddr_in *)(const void *)&a)->sin_port);
}

/* With no descriptor left the system does not say whether there is anybody: false if not. */
static bool turn_away(struct streams *v)
{
    (void)close(v->spare);
    int fd = accept4(v->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) (void)close(fd);
    v->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0;
}

static void accept_some(struct streams *v)
{
    for (int i = 0; i < ACCEPTS && v->listener >= 0; i++) {
        int fd = accept4(v->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        int code = fd < 0 ? -errno : 0;
        if (code == UV_EINTR || code == UV_ECONNABORTED) continue;
        if (code == UV_EAGAIN) return;
        if ((code == UV_EMFILE || code == UV_ENFILE) && !turn_away(v)) return;
        v->on.connection(v->on.user, code ? code : fd);
    }
}

/* ---- sending */

static int watch(struct streams *v, struct stream *s, int op, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};
    return epoll_ctl(v->epoll, op, s->fd, &e) < 0 ? -errno : 0;
}

ssize_t stream_try(struct stream *s, const void *bytes, size_t len)
{
    ssize_t n;
    if (s->output) return 0;
    do
        n = send(s->fd, bytes, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? 0 : -errno;
    return n;
}

int stream_queue(struct streams *v, struct stream *s, struct blob *blob, size_t from, bool large,
                 void *tag)
{
    if (!s->output) {
        int rc = watch(v, s, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        if (rc) return rc;
        s->output = must_alloc(sizeof *s->output);
    }
    struct stream_output *o = s->output;
    struct write *w = must_alloc(sizeof *w);
    *w = (struct write){.blob = blob_ref(blob), .from = from, .tag = tag, .large = large};
    *(o->last ? &o->last->next : &o->first) = w;
    o->last = w;
    if (!large) o->small += blob->len - from;
    return 0;
}

size_t stream_queued(const struct stream *s)
{
    return s->output ? s->output->small : 0;
}

bool stream_busy(const struct stream *s)
{
    return s->output != NULL;
}

/* Whoever waits for it is told last: nothing of ours is in use then. */
static void pop(struct streams *v, struct stream *s)
{
    struct stream_output *o = s->output;
    struct write *w = o->first;
    void *tag = w->tag;
    o->first = w->next;
    if (!w->large) o->small -= w->blob->len - w->from;
    blob_unref(w->blob);
    free(w);
    if (!o->first) {
        free(o);
        s->output = NULL;
    }
    v->on.sent(v->on.user, tag);
}

/* 1: the kernel has all of the first; 0: not yet; or a code. */
static int push(struct stream *s)
{
    struct write *w = s->output->first;
    while (w->from < w->blob->len) {
        ssize_t n = send(s->fd, w->blob->data + w->from, w->blob->len - w->from, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? 0 : -errno;
        w->from += (size_t)n;
        if (!w->large) s->output->small -= (size_t)n;
    }
    return 1;
}

static void flush(struct streams *v, struct stream *s)
{
    int code = 1;
    while (s->output && code > 0) {
        code = push(s);
        if (code > 0) pop(v, s);
    }
    if (code == 0) return;
    if (code > 0) code = watch(v, s, EPOLL_CTL_MOD, EPOLLIN);
    v->on.flushed(v->on.user, s, code);
}

int stream_shutdown(struct stream *s)
{
    return shutdown(s->fd, SHUT_WR) < 0 ? -errno : 0;
}

/* ---- reading */

ssize_t stream_read(struct stream *s, void *buffer, size_t len)
{
    ssize_t n;
    do
        n = recv(s->fd, buffer, len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    return n ? n : UV_EOF;
}

static void one_event(struct streams *v, const struct epoll_event *e)
{
    struct stream *s = e->data.ptr;
    if (!s) {
        accept_some(v);
        return;
    }
    if (s->fd >= 0 && s->output && e->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) flush(v, s);
    if (s->fd >= 0 && e->events & (EPOLLIN | EPOLLERR | EPOLLHUP)) v->on.readable(v->on.user, s);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct streams *v = poll->data;
    struct epoll_event batch[BATCH];
    (void)status;
    (void)events;
    int n = epoll_wait(v->epoll, batch, BATCH, 0);
    for (int i = 0; i < n; i++)
        one_event(v, &batch[i]);
}

int streams_listen(struct streams *v, int backlog)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (listen(v->listener, backlog) < 0) return -errno;
    if (epoll_ctl(v->epoll, EPOLL_CTL_ADD, v->listener, &e) < 0) return -errno;
    return uv_poll_start(&v->poll, UV_READABLE, on_poll);
}

void streams_stop_listening(struct streams *v)
{
    if (v->listener < 0) return;
    (void)epoll_ctl(v->epoll, EPOLL_CTL_DEL, v->listener, NULL);
    (void)close(v->listener);
    v->listener = -1;
}

static void on_closed(uv_handle_t *handle)
{
    struct streams *v = handle->data;
    v->on.closed(v->on.user);
}

void streams_close(struct streams *v)
{
    streams_stop_listening(v);
    uv_close((uv_handle_t *)&v->poll, on_closed);
    (void)close(v->epoll);
    (void)close(v->spare);
}

/* ---- one stream */

int stream_open(struct streams *v, struct stream *s, int fd)
{
    int one = 1, idle = KEEPALIVE_S;
    *s = (struct stream){.fd = fd};
    int rc = watch(v, s, EPOLL_CTL_ADD, EPOLLIN);
    if (rc) {
        (void)close(fd);
        s->fd = -1;
        return rc;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    return 0;
}

/* Taken out by hand: a descriptor that a child has inherited would stay in the set. */
void stream_close(struct streams *v, struct stream *s)
{
    if (s->fd < 0) return;
    (void)epoll_ctl(v->epoll, EPOLL_CTL_DEL, s->fd, NULL);
    (void)close(s->fd);
    s->fd = -1;
}

void stream_release(struct streams *v, struct stream *s)
{
    while (s->output)
        pop(v, s);
}

void stream_peer(const struct stream *s, char out[static 80])
{
    struct sockaddr_storage a;
    char ip[INET6_ADDRSTRLEN] = "?";
    socklen_t len = sizeof a;
    int port = 0;
    memset(&a, 0, sizeof a);
    if (getpeername(s->fd, (struct sockaddr *)&a, &len) == 0) {
        if (a.ss_family == AF_INET6) {
            const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a;
            (void)uv_ip6_name(v6, ip, sizeof ip);
            port = ntohs(v6->sin6_port);
        } else {
            const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a;
            (void)uv_ip4_name(v4, ip, sizeof ip);
            port = ntohs(v4->sin_port);
        }
    }
    (void)snprintf(out, 80, "%s port %d", ip, port);
}

/* The connection
 *
 * The usual way: the session wants one (CONNECT), a name is looked up (lookup.c), a non-blocking
 * connect begins, the socket turns writable, the session says Hello; from then on bytes go both
 * ways. Everything runs under the worker's lock, called by the program's thread or by the helper,
 * whichever is there.
 *
 * What can go wrong, and what we do:
 * - a name leads nowhere             -> the program is told why; _disconnected: the session backs
 *                                       off, and the name is looked up again
 * - connect fails or takes too long  -> the same; next time the next address
 * - the peer closes, resets          -> the same
 * - it sends a frame that is too long -> the same
 * - it does not read                 -> what it does not take waits in `out`, up to a bound */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client/worker_impl.h"

#define READ_PIECE 65536u
#define READ_PIECES 256u /* in one go; then callbacks get their turn */

/* ---- addresses */

static int split(const char *address, char host[static 256], char port[static 16])
{
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;
    if (!colon || n == 0 || strlen(colon + 1) == 0 || strlen(colon + 1) > 5) return TIDE_EINVAL;
    if (strspn(colon + 1, "0123456789") != strlen(colon + 1)) return TIDE_EINVAL;
    if (address[0] == '[' && address[n - 1] == ']') {
        address++;
        n -= 2;
    } else if (memchr(address, ':', n)) {
        return TIDE_EINVAL; /* an IPv6 address without its brackets */
    }
    if (n == 0 || n > 255) return TIDE_EINVAL;
    memcpy(host, address, n);
    host[n] = '\0';
    strcpy(port, colon + 1);
    return 0;
}

int tide_connect_address(struct tide_worker *w, const char *address, char why[static 256])
{
    if (split(address, w->host, w->port)) {
        snprintf(why, 256, "address \"%.200s\" is not host:port or [v6]:port", address);
        return TIDE_EINVAL;
    }
    snprintf(w->address_text, sizeof w->address_text, "%s", address);
    w->is_name = !tide_lookup_numeric(w->host, w->port, &w->addresses);
    return 0;
}

/* ---- the socket */

static void watch(struct tide_worker *w, int op, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.fd = w->socket_fd};
    (void)epoll_ctl(w->epoll_fd, op, w->socket_fd, &e);
}

void tide_connect_close(struct tide_worker *w)
{
    char rest[4096];
    w->looking = false;
    if (w->socket_fd < 0) return;
    shutdown(w->socket_fd, SHUT_WR);
    /* unread bytes would make the kernel reset the connection, and what was sent last could be lost
     */
    for (int i = 0; i < 64 && recv(w->socket_fd, rest, sizeof rest, MSG_DONTWAIT) > 0; i++)
        ;
    watch(w, EPOLL_CTL_DEL, 0);
    close(w->socket_fd);
    w->socket_fd = -1;
    w->connecting = w->wants_write = false;
    tide_decoder_release(&w->decoder);
    tide_buf_release(&w->out);
}

static void lose(struct tide_worker *w)
{
    tide_connect_close(w);
    tide_session_disconnected(w->session, tide_now_us());
}

/* There is no connection, and this is why: told once, until another one is made. */
static void fail(struct tide_worker *w, const char *what)
{
    char text[sizeof w->trouble];
    snprintf(text, sizeof text, "no connection to %.299s: %.150s; connecting again",
             w->address_text, what);
    if (strcmp(text, w->trouble) != 0) {
        strcpy(w->trouble, text);
        w->trouble_due = true;
        tide_worker_kick(w);
    }
    lose(w);
}

static void dial(struct tide_worker *w)
{
    uint32_t i = w->next_address++ % w->addresses.n;
    const struct sockaddr *to = (const struct sockaddr *)&w->addresses.at[i];
    int one = 1;
    w->socket_fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (w->socket_fd < 0) {
        fail(w, strerror(errno));
        return;
    }
    (void)setsockopt(w->socket_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    tide_decoder_init(&w->decoder, TIDE_FRAME_MAX);
    w->connecting = true;
    watch(w, EPOLL_CTL_ADD, EPOLLOUT);
    if (connect(w->socket_fd, to, w->addresses.len[i]) && errno != EINPROGRESS)
        fail(w, strerror(errno));
}

/* Where the name is not to be had, what it meant before is as good: a daemon that starts again is
 * mostly where it was. */
static void use(struct tide_worker *w, const char *failure)
{
    w->connect_deadline_us = tide_now_us() + CONNECT_US; /* looking up was not its time */
    if (failure && !w->addresses.n)
        fail(w, failure);
    else
        dial(w);
}

static void check_looking(struct tide_worker *w)
{
    if (tide_lookup_done(w->lookup)) {
        const char *failure = tide_lookup_take(w->lookup, &w->addresses);
        w->lookup = NULL;
        w->looking = false;
        w->next_address = 0;
        use(w, failure);
    } else if (tide_now_us() >= w->connect_deadline_us) {
        w->looking = false;
        use(w, "the name is not resolved yet"); /* the next try waits for the same lookup */
    }
}

static void begin(struct tide_worker *w)
{
    tide_connect_close(w);
    w->connect_deadline_us = tide_now_us() + CONNECT_US;
    if (!w->is_name || (w->addresses.n && w->next_address % w->addresses.n)) {
        dial(w);
        return;
    }
    if (!w->lookup) w->lookup = tide_lookup_start(w->host, w->port, w->event_fd);
    if (!w->lookup) {
        fail(w, "no thread to look up the name");
        return;
    }
    w->looking = true;
    check_looking(w); /* one that came too late for the last try */
}

static void check_connecting(struct tide_worker *w)
{
    int error = 0;
    socklen_t len = sizeof error;
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof peer;
    if (getsockopt(w->socket_fd, SOL_SOCKET, SO_ERROR, &error, &len)) error = errno;
    bool up = !error && getpeername(w->socket_fd, (struct sockaddr *)&peer, &peer_len) == 0;
    if (up) {
        w->connecting = false;
        w->trouble[0] = '\0';
        w->trouble_due = false;
        watch(w, EPOLL_CTL_MOD, EPOLLIN);
        tide_session_connected(w->session, tide_now_us());
    } else if (error || tide_now_us() >= w->connect_deadline_us) {
        fail(w, strerror(error ? error : ETIMEDOUT));
    }
}

/* ---- bytes */

static void flush(struct tide_worker *w)
{
    size_t done = 0;
    while (done < w->out.len) {
        ssize_t n =
            send(w->socket_fd, w->out.data + done, w->out.len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break; /* a broken connection shows when it is read */
        done += (size_t)n;
    }
    if (done == w->out.len) {
        if (w->out.cap > READ_PIECE * 4)
            tide_buf_release(&w->out);
        else
            tide_buf_clear(&w->out);
    } else if (done) {
        memmove(w->out.data, w->out.data + done, w->out.len - done);
        w->out.len -= done;
    }
    bool more = w->out.len > 0;
    if (more == w->wants_write) return;
    w->wants_write = more;
    watch(w, EPOLL_CTL_MOD, more ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void read_some(struct tide_worker *w)
{
    uint8_t piece[READ_PIECE];
    for (unsigned i = 0; i < READ_PIECES && w->socket_fd >= 0 && !w->connecting; i++) {
        ssize_t n = recv(w->socket_fd, piece, sizeof piece, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0) {
            lose(w);
            return;
        }
        struct tide_bytes in = {piece, (size_t)n}, frame;
        enum tide_frame_next got;
        while ((got = tide_decoder_next(&w->decoder, &in, &frame)) == TIDE_FRAME_READY)
            tide_session_frame(w->session, frame, tide_now_us());
        if (got != TIDE_FRAME_MORE) {
            fail(w, got == TIDE_FRAME_NOMEM ? "no memory for a frame"
                                            : "it sent a frame longer than 16 MiB");
            return;
        }
        if ((size_t)n < sizeof piece) return;
    }
}

void tide_connect_carry(struct tide_worker *w, const struct tide_delivery *d)
{
    switch (d->type) {
    case TIDE_DO_CONNECT: begin(w); break;
    case TIDE_DO_CLOSE: lose(w); break;
    case TIDE_DO_SEND:
        if (w->socket_fd < 0 || w->connecting) break;
        tide_buf_put(&w->out, d->bytes.data, d->bytes.len);
        if (w->out.rc) { /* it takes nothing, and the bound is reached */
            lose(w);
            break;
        }
        flush(w);
        break;
    default: break;
    }
}

static void carry_all(struct tide_worker *w)
{
    struct tide_delivery d;
    while (tide_session_next_io(w->session, &d))
        tide_connect_carry(w, &d);
}

void tide_connect_io(struct tide_worker *w)
{
    if (w->looking) check_looking(w);
    if (w->connecting) check_connecting(w);
    if (w->socket_fd >= 0 && !w->connecting) read_some(w);
    if (w->socket_fd >= 0 && !w->connecting && w->out.len) flush(w);
    carry_all(w);
    tide_session_tick(w->session, tide_now_us());
    carry_all(w);
}

void tide_connect_arm(struct tide_worker *w)
{
    uint64_t at = tide_session_deadline(w->session);
    if ((w->looking || w->connecting) && w->connect_deadline_us < at) at = w->connect_deadline_us;
    if (at == w->armed_us && at > tide_now_us()) return;
    struct itimerspec when = {0};
    if (at != UINT64_MAX) {
        when.it_value.tv_sec = (time_t)(at / 1000000);
        when.it_value.tv_nsec = (long)(at % 1000000 * 1000);
        if (!when.it_value.tv_sec && !when.it_value.tv_nsec) when.it_value.tv_nsec = 1;
    }
    w->armed_us = at;
    (void)timerfd_settime(w->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void tide_worker_kick(struct tide_worker *w)
{
    uint64_t one = 1;
    (void)!write(w->event_fd, &one, sizeof one); /* full means readable already */
}

#include "tests/client/lib_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/client/lib_run.h"

void peer_open(struct peer *p)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    *p = (struct peer){.fd = -1};
    p->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(p->listen_fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(p->listen_fd, 8), 0);
    ck_assert_int_eq(getsockname(p->listen_fd, (struct sockaddr *)&at, &len), 0);
    snprintf(p->address, sizeof p->address, "127.0.0.1:%u", ntohs(at.sin_port));
    tide_decoder_init(&p->decoder, TIDE_FRAME_MAX);
    tide_buf_init(&p->in, (size_t)64 << 20);
    tide_joiner_init(&p->joiner, TIDE_PARTS_MAX);
}

void peer_cut(struct peer *p)
{
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    p->gone = false;
    tide_decoder_release(&p->decoder);
    tide_joiner_release(&p->joiner);
    tide_buf_clear(&p->in);
}

void peer_close(struct peer *p)
{
    peer_cut(p);
    close(p->listen_fd);
    tide_buf_release(&p->in);
}

static void gather(struct peer *p)
{
    uint8_t piece[65536];
    while (p->fd >= 0 && !p->gone) {
        ssize_t n = recv(p->fd, piece, sizeof piece, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) return;
        p->gone = n <= 0; /* what came before it is still to be heard */
        if (n > 0) tide_buf_put(&p->in, piece, (size_t)n);
    }
}

static bool parse(struct heard *h, struct peer *p, struct tide_bytes frame)
{
    struct tide_bytes content;
    uint32_t field = tide_frame_peek(frame, &content);
    *h = (struct heard){.what = (Tide__FromWorker__MsgCase)field};
    if (field == TIDE__FROM_WORKER__MSG_JOIN) {
        if (tide_joiner_add(&p->joiner, content) != 1) return false;
        h->join = tide__join__unpack(NULL, p->joiner.bytes.len, p->joiner.bytes.data);
        ck_assert_ptr_nonnull(h->join);
        return true;
    }
    if (field == TIDE__FROM_WORKER__MSG_ACK) {
        uint8_t *copy = malloc(content.len + 1);
        memcpy(copy, content.data, content.len);
        h->ack = (struct tide_bytes){copy, content.len};
        return true;
    }
    h->m = tide__from_worker__unpack(NULL, frame.len, frame.data);
    ck_assert_msg(h->m != NULL, "a frame that cannot be read, field %u", field);
    return true;
}

static void answer_call(struct peer *p)
{
    int one = 1;
    peer_cut(p); /* half a frame of the one before */
    p->fd = accept(p->listen_fd, NULL, NULL);
    if (p->fd < 0) return;
    (void)setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    p->connections++;
}

bool peer_next(struct peer *p, struct heard *ret)
{
    struct tide_bytes frame;
    if (p->fd < 0) answer_call(p);
    if (p->deaf) return false;
    gather(p);
    for (;;) {
        struct tide_bytes in = {p->in.data, p->in.len};
        enum tide_frame_next got = tide_decoder_next(&p->decoder, &in, &frame);
        ck_assert(got == TIDE_FRAME_MORE || got == TIDE_FRAME_READY);
        bool whole = got == TIDE_FRAME_READY && parse(ret, p, frame);
        if (p->in.len) memmove(p->in.data, p->in.data + (p->in.len - in.len), in.len);
        p->in.len = in.len;
        if (whole) return true;
        if (got == TIDE_FRAME_READY) continue; /* a part, and more to come */
        if (p->gone) peer_cut(p);
        return false;
    }
}

void heard_free(struct heard *h)
{
    if (h->m) tide__from_worker__free_unpacked(h->m, NULL);
    if (h->join) tide__join__free_unpacked(h->join, NULL);
    free((void *)(uintptr_t)h->ack.data);
    *h = (struct heard){0};
}

void peer_raw(struct peer *p, const void *data, size_t n)
{
    const uint8_t *at = data;
    while (n && p->fd >= 0) {
        ssize_t done = send(p->fd, at, n, MSG_NOSIGNAL);
        if (done <= 0) return; /* the worker has closed: that shows when it is read */
        at += done;
        n -= (size_t)done;
    }
}

void peer_say(struct peer *p, Tide__ToWorker__MsgCase which, void *message)
{
    struct tide_buf out;
    Tide__ToWorker m = TIDE__TO_WORKER__INIT;
    m.msg_case = which;
    m.welcome = message; /* any member of the union */
    tide_buf_init(&out, TIDE_FRAME_MAX + TIDE_FRAME_HEADER);
    tide_frame_put(&out, &m.base);
    peer_raw(p, out.data, out.len);
    tide_buf_release(&out);
}

void peer_start(struct peer *p, const Tide__Start *m)
{
    struct tide_buf out;
    size_t len = tide__start__get_packed_size(m);
    uint8_t *packed = malloc(len + 1);
    tide__start__pack(m, packed);
    tide_buf_init(&out, (size_t)300 << 20);
    tide_parts_put(&out, TIDE_PART_START, (struct tide_bytes){packed, len});
    peer_raw(p, out.data, out.len);
    tide_buf_release(&out);
    free(packed);
}

#include "tests/client/lib_fake.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/frame.h"
#include "tests/client/lib_run.h"

enum { KINDS = 16 };

struct fake {
    pthread_mutex_t lock;
    pthread_t thread;
    int listen_fd, stop_fd, peer_fd;
    char address[64];
    uint32_t lease_ms, heartbeat_ms;
    bool mute;
    struct heard {
        const char *what;
        unsigned times;
        char *last;
        size_t last_len;
    } heard[KINDS];
};

static struct heard *entry(struct fake *f, const char *what)
{
    for (unsigned i = 0; i < KINDS; i++) {
        if (!f->heard[i].what) f->heard[i].what = what;
        if (!strcmp(f->heard[i].what, what)) return &f->heard[i];
    }
    abort();
}

static void hear(struct fake *f, const char *what, struct tide_bytes body)
{
    struct heard *h = entry(f, what);
    h->times++;
    free(h->last);
    h->last = malloc(body.len + 1);
    if (body.len) memcpy(h->last, body.data, body.len);
    h->last[body.len] = '\0';
    h->last_len = body.len;
}

static void write_all(int fd, const uint8_t *p, size_t n)
{
    while (n) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done <= 0) return;
        p += done;
        n -= (size_t)done;
    }
}

static void say(struct fake *f, Tide__ToWorker__MsgCase which, void *message)
{
    struct tide_buf out;
    Tide__ToWorker m = TIDE__TO_WORKER__INIT;
    m.msg_case = which;
    m.welcome = message;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_frame_put(&out, &m.base);
    write_all(f->peer_fd, out.data, out.len);
    tide_buf_release(&out);
}

static void on_join(struct fake *f, struct tide_bytes part)
{
    struct tide_joiner j;
    Tide__Joined joined = TIDE__JOINED__INIT;
    tide_joiner_init(&j, TIDE_PARTS_MAX);
    if (tide_joiner_add(&j, part) == 1) {
        Tide__Join *m = tide__join__unpack(NULL, j.bytes.len, j.bytes.data);
        hear(f, m && m->token ? "join with attempt" : "join", (struct tide_bytes){0});
        if (m) tide__join__free_unpacked(m, NULL);
    }
    tide_joiner_release(&j);
    if (f->mute) return; /* a Joined would renew the lease */
    joined.job_id = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t) "0123456789abcdef"};
    joined.lease_ms = f->lease_ms;
    joined.heartbeat_ms = f->heartbeat_ms;
    joined.orphan_limit_ms = 1000;
    joined.progress_ms = 100;
    say(f, TIDE__TO_WORKER__MSG_JOINED, &joined);
}

static void on_frame(struct fake *f, struct tide_bytes frame)
{
    struct tide_bytes content, none = {0};
    uint32_t field = tide_frame_peek(frame, &content);
    if (field == TIDE__FROM_WORKER__MSG_JOIN) {
        on_join(f, content);
        return;
    }
    if (field == TIDE__FROM_WORKER__MSG_ACK) {
        hear(f, "ack", content);
        return;
    }
    Tide__FromWorker *m = tide__from_worker__unpack(NULL, frame.len, frame.data);
    if (!m) return;
    Tide__Welcome welcome = TIDE__WELCOME__INIT;
    Tide__HeartbeatAck alive = TIDE__HEARTBEAT_ACK__INIT;
    switch (m->msg_case) {
    case TIDE__FROM_WORKER__MSG_HELLO:
        hear(f, "hello", (struct tide_bytes){m->hello->secret.data, m->hello->secret.len});
        welcome.version = 1;
        welcome.store_id = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t) "store store stor"};
        say(f, TIDE__TO_WORKER__MSG_WELCOME, &welcome);
        break;
    case TIDE__FROM_WORKER__MSG_HEARTBEAT:
        hear(f, "beat", none);
        alive.sequence = m->heartbeat->sequence;
        if (!f->mute) say(f, TIDE__TO_WORKER__MSG_ALIVE, &alive);
        break;
    case TIDE__FROM_WORKER__MSG_RESTORED: hear(f, "restored", none); break;
    case TIDE__FROM_WORKER__MSG_RESTORE_FAILED:
        hear(f, "restore failed",
             (struct tide_bytes){m->restore_failed->reason.data, m->restore_failed->reason.len});
        break;
    case TIDE__FROM_WORKER__MSG_DECLINE:
        hear(f, "decline", (struct tide_bytes){m->decline->reason.data, m->decline->reason.len});
        break;
    case TIDE__FROM_WORKER__MSG_BARRIER: hear(f, "progress", none); break;
    case TIDE__FROM_WORKER__MSG_FINISHED: hear(f, "finished", none); break;
    case TIDE__FROM_WORKER__MSG_CONFIRM: hear(f, "confirm", none); break;
    case TIDE__FROM_WORKER__MSG_LEAVE: hear(f, "leave", none); break;
    default: break;
    }
    tide__from_worker__free_unpacked(m, NULL);
}

static void drop_peer(struct fake *f)
{
    if (f->peer_fd >= 0) close(f->peer_fd);
    f->peer_fd = -1;
}

static void *serve(void *arg)
{
    struct fake *f = arg;
    struct tide_decoder d;
    uint8_t piece[4096];
    tide_decoder_init(&d, TIDE_FRAME_MAX);
    for (;;) {
        pthread_mutex_lock(&f->lock);
        int peer = f->peer_fd;
        pthread_mutex_unlock(&f->lock);
        struct pollfd fds[3] = {{.fd = f->stop_fd, .events = POLLIN},
                                {.fd = f->listen_fd, .events = POLLIN},
                                {.fd = peer, .events = POLLIN}};
        poll(fds, 3, 5);
        if (fds[0].revents) break;
        pthread_mutex_lock(&f->lock);
        if (fds[1].revents) {
            drop_peer(f);
            f->peer_fd = accept(f->listen_fd, NULL, NULL);
            tide_decoder_release(&d);
        } else if (f->peer_fd >= 0 && f->peer_fd == peer && fds[2].revents) {
            ssize_t n = recv(f->peer_fd, piece, sizeof piece, MSG_DONTWAIT);
            struct tide_bytes in = {piece, n > 0 ? (size_t)n : 0}, frame;
            while (n > 0 && tide_decoder_next(&d, &in, &frame) == TIDE_FRAME_READY)
                on_frame(f, frame);
            if (n == 0) drop_peer(f);
        }
        pthread_mutex_unlock(&f->lock);
    }
    tide_decoder_release(&d);
    return NULL;
}

struct fake *fake_open(void)
{
    struct fake *f = calloc(1, sizeof *f);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    pthread_mutex_init(&f->lock, NULL);
    f->peer_fd = -1;
    f->lease_ms = 10000;
    f->heartbeat_ms = 1000;
    f->stop_fd = eventfd(0, EFD_CLOEXEC);
    f->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(f->listen_fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(f->listen_fd, 8), 0);
    ck_assert_int_eq(getsockname(f->listen_fd, (struct sockaddr *)&at, &len), 0);
    snprintf(f->address, sizeof f->address, "127.0.0.1:%u", ntohs(at.sin_port));
    ck_assert_int_eq(pthread_create(&f->thread, NULL, serve, f), 0);
    return f;
}

void fake_close(struct fake *f)
{
    uint64_t one = 1;
    ck_assert_int_eq(write(f->stop_fd, &one, sizeof one), sizeof one);
    pthread_join(f->thread, NULL);
    drop_peer(f);
    close(f->listen_fd);
    close(f->stop_fd);
    for (unsigned i = 0; i < KINDS; i++)
        free(f->heard[i].last);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

const char *fake_address(const struct fake *f)
{
    return f->address;
}

void fake_times(struct fake *f, uint32_t lease_ms, uint32_t heartbeat_ms)
{
    pthread_mutex_lock(&f->lock);
    f->lease_ms = lease_ms;
    f->heartbeat_ms = heartbeat_ms;
    pthread_mutex_unlock(&f->lock);
}

void fake_mute(struct fake *f, bool mute)
{
    pthread_mutex_lock(&f->lock);
    f->mute = mute;
    pthread_mutex_unlock(&f->lock);
}

void fake_cut(struct fake *f)
{
    pthread_mutex_lock(&f->lock);
    if (f->peer_fd >= 0) shutdown(f->peer_fd, SHUT_RDWR);
    pthread_mutex_unlock(&f->lock);
}

unsigned fake_heard(struct fake *f, const char *what)
{
    pthread_mutex_lock(&f->lock);
    unsigned times = entry(f, what)->times;
    pthread_mutex_unlock(&f->lock);
    return times;
}

char *fake_last(struct fake *f, const char *what, size_t *ret_len)
{
    pthread_mutex_lock(&f->lock);
    const struct heard *h = entry(f, what);
    char *copy = malloc(h->last_len + 1);
    if (h->last_len) memcpy(copy, h->last, h->last_len);
    copy[h->last_len] = '\0';
    if (ret_len) *ret_len = h->last_len;
    pthread_mutex_unlock(&f->lock);
    return copy;
}

void fake_say(struct fake *f, Tide__ToWorker__MsgCase which, void *message)
{
    pthread_mutex_lock(&f->lock);
    say(f, which, message);
    pthread_mutex_unlock(&f->lock);
}

void fake_start(struct fake *f, const Tide__Start *start)
{
    struct tide_buf out;
    size_t len = tide__start__get_packed_size(start);
    uint8_t *packed = malloc(len + 1);
    tide__start__pack(start, packed);
    tide_buf_init(&out, TIDE_PARTS_MAX);
    tide_parts_put(&out, TIDE_PART_START, (struct tide_bytes){packed, len});
    pthread_mutex_lock(&f->lock);
    write_all(f->peer_fd, out.data, out.len);
    pthread_mutex_unlock(&f->lock);
    tide_buf_release(&out);
    free(packed);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void turn_until(struct tide_worker *w, struct fake *f, const char *what, unsigned n)
{
    uint64_t end = now_ms() + 10000;
    while (fake_heard(f, what) < n) {
        ck_assert_msg(now_ms() < end, "%s was not heard %u times", what, n);
        (void)tide_worker_wait(w, 5);
    }
}

void turn_for(struct tide_worker *w, unsigned ms)
{
    uint64_t end = now_ms() + ms;
    while (now_ms() < end)
        (void)tide_worker_wait(w, 5);
}

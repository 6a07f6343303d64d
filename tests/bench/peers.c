#include "tests/bench/peers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "proto/ack.h"
#include "proto/admin.pb-c.h"
#include "proto/arena.h"
#include "proto/err.h"
#include "proto/frame.h"
#include "proto/worker.pb-c.h"

#define HEARTBEAT_MS 20000u
#define LEASE_MS 300000u
#define PATIENCE_MS 120000
#define EVENTS 1024
#define RECEIVE (256u << 10)
#define PREFIX 64 /* of an ack frame: header, tag, length, attempt, round */
#define PAGE 1000 /* rounds of one ListRounds */

struct batch {
    uint8_t *columns; /* an AckBatch without attempt and round */
    size_t len;
};

struct peer {
    int fd;
    struct tide_decoder decoder;
    struct tide_joiner joiner;
    struct batch *batches;
    uint32_t n_batches, first, tasks;
};

struct peers {
    uint32_t n, tasks, interval_ms;
    struct peer *peer; /* n workers, then the admin; or admins alone, then n is 0 */
    uint32_t n_admins, welcomed;
    int epoll;
    uint8_t *receive;
    struct tide_arena arena;
    struct tide_buf out;
    uint64_t attempt, round, request, beat;
    uint32_t running, completes, answered;
    uint64_t last_complete;  /* wall, us: when the last one was read */
    uint64_t *rounds, *ends; /* of this run */
    struct round_times *times;
    uint32_t n_rounds, n_listed;
    bool more;
    uint64_t before;
};

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

uint64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static void *must_alloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p) die("out of memory");
    return p;
}

static ProtobufCBinaryData text(const char *s)
{
    return (ProtobufCBinaryData){.len = strlen(s), .data = (uint8_t *)(uintptr_t)s};
}

/* ---- sending */

static void send_all(int fd, const void *data, size_t n)
{
    for (const char *p = data; n > 0;) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0 && errno != EINTR) die("send: %s", strerror(errno));
        if (k > 0) p += k, n -= (size_t)k;
    }
}

static void send_out(struct peers *p, int fd)
{
    if (p->out.rc) die("encoding: %s", tide_strerror(p->out.rc));
    send_all(fd, p->out.data, p->out.len);
    tide_buf_clear(&p->out);
}

static void send_message(struct peers *p, int fd, const ProtobufCMessage *message)
{
    tide_frame_put(&p->out, message);
    send_out(p, fd);
}

static size_t put_varint(uint8_t *at, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        at[n++] = (uint8_t)(v | 0x80);
    at[n++] = (uint8_t)v;
    return n;
}

/* What changes from round to round stands in front of a batch's columns. */
static size_t put_prefix(uint8_t prefix[static PREFIX], uint64_t attempt, uint64_t round,
                         size_t columns)
{
    uint8_t ids[32], head[16];
    size_t n_ids = 0, n_head = 0;
    ids[n_ids++] = 1 << 3;
    n_ids += put_varint(ids + n_ids, attempt);
    ids[n_ids++] = 2 << 3;
    n_ids += put_varint(ids + n_ids, round);
    head[n_head++] = 6 << 3 | 2; /* FromWorker.ack */
    n_head += put_varint(head + n_head, n_ids + columns);
    tide_set_u32(prefix, (uint32_t)(n_head + n_ids + columns));
    memcpy(prefix + 4, head, n_head);
    memcpy(prefix + 4 + n_head, ids, n_ids);
    return 4 + n_head + n_ids;
}

static void send_acks(struct peers *p, struct peer *w)
{
    enum { FRAMES = 64 };
    uint8_t prefix[FRAMES][PREFIX];
    struct iovec parts[2 * FRAMES];
    for (uint32_t i = 0; i < w->n_batches;) {
        int n = 0;
        for (; i < w->n_batches && n < 2 * FRAMES; i++, n += 2) {
            const struct batch *b = &w->batches[i];
            uint8_t *at = prefix[n / 2];
            parts[n] = (struct iovec){at, put_prefix(at, p->attempt, p->round, b->len)};
            parts[n + 1] = (struct iovec){b->columns, b->len};
        }
        for (struct iovec *next = parts; n > 0;) {
            struct msghdr message = {.msg_iov = next, .msg_iovlen = (size_t)n};
            ssize_t k = sendmsg(w->fd, &message, MSG_NOSIGNAL);
            if (k < 0 && errno != EINTR) die("send: %s", strerror(errno));
            size_t sent = k > 0 ? (size_t)k : 0;
            for (; n > 0 && sent >= next->iov_len; next++, n--)
                sent -= next->iov_len;
            if (n > 0) {
                next->iov_base = (char *)next->iov_base + sent;
                next->iov_len -= sent;
            }
        }
    }
}

/* ---- what a worker says besides */

static void send_hello(struct peers *p, int fd, Tide__PeerKind kind)
{
    Tide__Hello hello = TIDE__HELLO__INIT;
    hello.version_min = TIDE_PROTOCOL_MIN;
    hello.version_max = TIDE_PROTOCOL_MAX;
    hello.kind = kind;
    hello.software = text("tidemark bench");
    if (kind == TIDE__PEER_KIND__PEER_ADMIN) {
        Tide__Request request = TIDE__REQUEST__INIT;
        request.call_case = TIDE__REQUEST__CALL_HELLO;
        request.hello = &hello;
        send_message(p, fd, &request.base);
        return;
    }
    Tide__FromWorker m = TIDE__FROM_WORKER__INIT;
    m.msg_case = TIDE__FROM_WORKER__MSG_HELLO;
    m.hello = &hello;
    send_message(p, fd, &m.base);
}

static void send_join(struct peers *p, const struct peer *w)
{
    Tide__Operator op = TIDE__OPERATOR__INIT, *ops[] = {&op};
    op.uid = text("task");
    op.parallelism = p->tasks;
    Tide__Checkpointing rules = TIDE__CHECKPOINTING__INIT;
    rules.interval_ms = p->interval_ms;
    rules.heartbeat_ms = HEARTBEAT_MS;
    rules.lease_ms = LEASE_MS;
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    spec.name = text("bench");
    spec.operators = ops;
    spec.n_operators = 1;
    spec.checkpointing = &rules;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[] = {&range};
    range.first = w->first;
    range.count = w->tasks;
    char name[32];
    snprintf(name, sizeof name, "w%05u", (unsigned)(w - p->peer));
    Tide__Join join = TIDE__JOIN__INIT;
    join.job = spec.name;
    join.what_case = TIDE__JOIN__WHAT_SPEC;
    join.spec = &spec;
    join.worker = text(name);
    join.endpoint = text("127.0.0.1:1");
    join.tasks = ranges;
    join.n_tasks = 1;

    size_t len = tide__join__get_packed_size(&join);
    uint8_t *packed = must_alloc(len, 1);
    tide__join__pack(&join, packed);
    tide_parts_put(&p->out, TIDE_PART_JOIN, (struct tide_bytes){packed, len});
    send_out(p, w->fd);
    free(packed);
}

static void send_restored(struct peers *p, const struct peer *w)
{
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[] = {&range};
    range.first = w->first;
    range.count = w->tasks;
    Tide__Restored restored = TIDE__RESTORED__INIT;
    restored.attempt = p->attempt;
    restored.tasks = ranges;
    restored.n_tasks = 1;
    Tide__FromWorker m = TIDE__FROM_WORKER__INIT;
    m.msg_case = TIDE__FROM_WORKER__MSG_RESTORED;
    m.restored = &restored;
    send_message(p, w->fd, &m.base);
}

static void send_confirms(struct peers *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        const struct peer *w = &p->peer[i];
        Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[] = {&range};
        range.first = w->first;
        range.count = w->tasks;
        Tide__Confirm confirm = TIDE__CONFIRM__INIT;
        confirm.attempt = p->attempt;
        confirm.round = p->round;
        confirm.tasks = ranges;
        confirm.n_tasks = 1;
        Tide__FromWorker m = TIDE__FROM_WORKER__INIT;
        m.msg_case = TIDE__FROM_WORKER__MSG_CONFIRM;
        m.confirm = &confirm;
        send_message(p, w->fd, &m.base);
    }
}

void peers_heartbeat(struct peers *p)
{
    p->beat++;
    for (uint32_t i = 0; i < p->n; i++) {
        Tide__Heartbeat beat = TIDE__HEARTBEAT__INIT;
        beat.sequence = p->beat;
        Tide__FromWorker m = TIDE__FROM_WORKER__INIT;
        m.msg_case = TIDE__FROM_WORKER__MSG_HEARTBEAT;
        m.heartbeat = &beat;
        send_message(p, p->peer[i].fd, &m.base);
    }
}

/* ---- hearing */

static void *must_unpack(struct peers *p, const ProtobufCMessageDescriptor *type,
                         struct tide_bytes bytes)
{
    int rc = 0;
    void *message = tide_unpack(&p->arena, type, bytes, &rc);
    if (!message) die("%s from the daemon: %s", type->short_name, tide_strerror(rc));
    return message;
}

static void on_start(struct peers *p, struct peer *w, struct tide_bytes part)
{
    int rc = tide_joiner_add(&w->joiner, part);
    if (rc < 0) die("Start: %s", tide_strerror(rc));
    if (rc == 0) return;
    struct tide_arena arena; /* it names every peer */
    tide_arena_init(&arena, (size_t)256 << 20);
    Tide__Start *start =
        tide_unpack(&arena, &tide__start__descriptor,
                    (struct tide_bytes){w->joiner.bytes.data, w->joiner.bytes.len}, &rc);
    if (!start || !start->token) die("Start from the daemon: %s", tide_strerror(rc));
    p->attempt = start->token->attempt;
    tide_arena_release(&arena);
    tide_joiner_release(&w->joiner);
    send_restored(p, w);
}

static void on_worker_frame(struct peers *p, struct peer *w, struct tide_bytes frame)
{
    struct tide_bytes content;
    uint32_t kind = tide_frame_peek(frame, &content);
    switch (kind) {
    case TIDE__TO_WORKER__MSG_WELCOME: send_join(p, w); return;
    case TIDE__TO_WORKER__MSG_JOINED:
    case TIDE__TO_WORKER__MSG_ALIVE: return;
    case TIDE__TO_WORKER__MSG_START: on_start(p, w, content); return;
    case TIDE__TO_WORKER__MSG_RUN: p->running++; return;
    case TIDE__TO_WORKER__MSG_TRIGGER: {
        const Tide__Trigger *m = must_unpack(p, &tide__trigger__descriptor, content);
        p->round = m->round;
        send_acks(p, w);
        return;
    }
    case TIDE__TO_WORKER__MSG_COMPLETE: {
        const Tide__Complete *m = must_unpack(p, &tide__complete__descriptor, content);
        if (m->round != p->round) return;
        if (++p->completes == p->n) p->last_complete = wall_us();
        return;
    }
    case TIDE__TO_WORKER__MSG_REFUSED: {
        const Tide__Refused *m = must_unpack(p, &tide__refused__descriptor, content);
        die("a worker was refused: %.*s", (int)m->reason.len, (const char *)m->reason.data);
    }
    case TIDE__TO_WORKER__MSG_ABORT: {
        const Tide__Abort *m = must_unpack(p, &tide__abort__descriptor, content);
        die("round %" PRIu64 " aborted: %.*s", m->round, (int)m->reason.len,
            (const char *)m->reason.data);
    }
    default: die("message %u from the daemon is not expected here", kind);
    }
}

static void on_rounds(struct peers *p, const Tide__RoundList *list)
{
    for (size_t i = 0; i < list->n_rounds; i++) {
        const Tide__RoundInfo *r = list->rounds[i];
        p->before = r->round;
        for (uint32_t k = 0; k < p->n_rounds; k++) {
            if (p->rounds[k] != r->round) continue;
            struct round_times *t = &p->times[k];
            t->trigger = r->trigger_us;
            t->acks = r->acks_us;
            t->commit = r->commit_us;
            t->total = p->ends[k] - r->begun_wall_us;
            uint64_t before = t->trigger + t->acks + t->commit;
            t->notify = t->total > before ? t->total - before : 0;
            p->n_listed++;
        }
    }
    p->more = list->more && list->n_rounds > 0 && p->n_listed < p->n_rounds;
}

static void on_response(struct peers *p, struct tide_bytes frame)
{
    const Tide__Response *m = must_unpack(p, &tide__response__descriptor, frame);
    switch (m->result_case) {
    case TIDE__RESPONSE__RESULT_WELCOME: p->welcomed++; break;
    case TIDE__RESPONSE__RESULT_ERROR:
        die("the daemon answers: %.*s", (int)m->error->text.len, (const char *)m->error->text.data);
    case TIDE__RESPONSE__RESULT_REFUSED:
        die("the admin was refused: %.*s", (int)m->refused->reason.len,
            (const char *)m->refused->reason.data);
    case TIDE__RESPONSE__RESULT_ROUNDS: on_rounds(p, m->rounds); break;
    default: break;
    }
    p->answered++;
}

/* Takes what has arrived, waiting at most so long for something; false: nothing has. */
static bool hear(struct peers *p, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(p->epoll, events, EVENTS, timeout_ms);
    if (n < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int e = 0; e < n; e++) {
        struct peer *w = &p->peer[events[e].data.u32];
        ssize_t k = recv(w->fd, p->receive, RECEIVE, MSG_DONTWAIT);
        if (k < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (k <= 0) die("the daemon has closed a connection: %s", k ? strerror(errno) : "end");
        struct tide_bytes in = {p->receive, (size_t)k}, frame;
        enum tide_frame_next next;
        while ((next = tide_decoder_next(&w->decoder, &in, &frame)) == TIDE_FRAME_READY) {
            if (w >= &p->peer[p->n])
                on_response(p, frame);
            else
                on_worker_frame(p, w, frame);
            tide_arena_reset(&p->arena);
        }
        if (next != TIDE_FRAME_MORE) die("a frame of the daemon is too long");
    }
    return n > 0;
}

static void must_hear(struct peers *p)
{
    if (!hear(p, PATIENCE_MS)) die("the daemon says nothing for %d s", PATIENCE_MS / 1000);
}

/* ---- birth */

/* One artifact for each task, of a size and timings such as real ones have. */
static void encode_acks(struct peer *w, uint32_t batch)
{
    struct tide_ack_builder builder;
    tide_ack_builder_init(&builder, TIDE_FRAME_MAX);
    w->n_batches = (w->tasks + batch - 1) / batch;
    w->batches = must_alloc(w->n_batches, sizeof *w->batches);
    uint64_t random = w->first + 1;
    for (uint32_t i = 0; i < w->n_batches; i++) {
        uint32_t from = w->first + i * batch, end = w->first + w->tasks;
        if (end - from > batch) end = from + batch;
        for (uint32_t task = from; task < end; task++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            uint32_t r = (uint32_t)(random >> 32);
            struct tide_ack_file file = {100000 + r % 3000000, random, random ^ (random << 21)};
            tide_ack_builder_add(&builder, task, 200 + r % 3000, 300 + r % 9000, 5000 + r % 40000,
                                 &file, 1);
        }
        struct tide_buf out;
        tide_buf_init(&out, TIDE_FRAME_MAX);
        tide_ack_builder_put(&builder, 0, 0, &out); /* without ids: they come in front */
        if (out.rc) die("encoding acks: %s", tide_strerror(out.rc));
        w->batches[i].columns = tide_buf_take(&out, &w->batches[i].len);
        tide_ack_builder_clear(&builder);
    }
    tide_ack_builder_release(&builder);
}

static void connect_peer(struct peers *p, uint32_t i, uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    struct peer *w = &p->peer[i];
    int on = 1;
    w->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w->fd < 0 || connect(w->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect: %s", strerror(errno));
    if (setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        epoll_ctl(p->epoll, EPOLL_CTL_ADD, w->fd, &event) != 0)
        die("connection %u: %s", i, strerror(errno));
    tide_decoder_init(&w->decoder, TIDE_FRAME_MAX);
    tide_joiner_init(&w->joiner, TIDE_PARTS_MAX);
    send_hello(p, w->fd, i < p->n ? TIDE__PEER_KIND__PEER_WORKER : TIDE__PEER_KIND__PEER_ADMIN);
}

static struct peers *make(uint32_t workers, uint32_t admins)
{
    struct peers *p = must_alloc(1, sizeof *p);
    p->n = workers;
    p->n_admins = admins;
    p->peer = must_alloc(workers + admins, sizeof *p->peer);
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    p->receive = must_alloc(RECEIVE, 1);
    tide_arena_init(&p->arena, (size_t)64 << 20);
    tide_buf_init(&p->out, TIDE_PARTS_MAX);
    return p;
}

struct peers *peers_admins(uint16_t port, uint32_t n)
{
    struct peers *p = make(0, n);
    for (uint32_t i = 0; i < n; i++)
        connect_peer(p, i, port);
    while (p->welcomed < n)
        must_hear(p);
    return p;
}

struct peers *peers_open(uint16_t port, uint32_t connections, uint32_t tasks, uint32_t batch,
                         uint32_t interval_ms)
{
    struct peers *p = make(connections, 1);
    p->tasks = tasks;
    p->interval_ms = interval_ms;
    for (uint32_t i = 0; i < connections; i++) {
        struct peer *w = &p->peer[i];
        w->first = (uint32_t)((uint64_t)tasks * i / connections);
        w->tasks = (uint32_t)((uint64_t)tasks * (i + 1) / connections) - w->first;
        encode_acks(w, batch);
    }
    for (uint32_t i = 0; i <= connections; i++)
        connect_peer(p, i, port);
    while (p->running < p->n)
        must_hear(p);
    return p;
}

/* ---- rounds */

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint32_t peers_serve(struct peers *p, uint32_t seconds)
{
    uint64_t begun = now_ms(), end = begun + (uint64_t)seconds * 1000, beat = begun;
    uint32_t rounds = 0;
    for (uint64_t now = begun; now < end; now = now_ms()) {
        if (now >= beat) {
            peers_heartbeat(p);
            beat += p->interval_ms ? 2000 : HEARTBEAT_MS;
        }
        (void)hear(p, (int)((beat < end ? beat : end) - now) + 1);
        if (p->completes < p->n) continue;
        p->completes = 0;
        send_confirms(p);
        rounds++;
    }
    return rounds;
}

static void request(struct peers *p, Tide__Request *m)
{
    m->id = ++p->request;
    uint32_t want = p->answered + 1;
    send_message(p, p->peer[p->n].fd, &m->base);
    while (p->answered < want)
        must_hear(p);
}

static void one_round(struct peers *p)
{
    Tide__TriggerCheckpoint trigger = TIDE__TRIGGER_CHECKPOINT__INIT;
    trigger.job = text("bench");
    trigger.who = text("bench");
    Tide__Request m = TIDE__REQUEST__INIT;
    m.call_case = TIDE__REQUEST__CALL_CHECKPOINT;
    m.checkpoint = &trigger;
    p->completes = 0;
    request(p, &m);
    while (p->completes < p->n)
        must_hear(p);
    send_confirms(p);
}

/* The times of a round's commit and notification are stored with the commit after it, so one
 * round more is taken than is asked for. */
void peers_rounds(struct peers *p, uint32_t n, struct round_times *times)
{
    p->rounds = must_alloc(n, sizeof *p->rounds);
    p->ends = must_alloc(n, sizeof *p->ends);
    p->times = times;
    p->n_rounds = n;
    p->n_listed = 0;
    for (uint32_t i = 0; i < n; i++) {
        one_round(p);
        p->rounds[i] = p->round;
        p->ends[i] = p->last_complete;
    }
    one_round(p);
    peers_heartbeat(p);
    p->before = 0;
    do {
        Tide__ListRounds list = TIDE__LIST_ROUNDS__INIT;
        list.job = text("bench");
        list.limit = PAGE;
        list.before = p->before;
        Tide__Request m = TIDE__REQUEST__INIT;
        m.call_case = TIDE__REQUEST__CALL_ROUNDS;
        m.rounds = &list;
        request(p, &m);
    } while (p->more);
    if (p->n_listed != n) die("the daemon knows %u of %u rounds", p->n_listed, n);
    free(p->rounds);
    free(p->ends);
}

void peers_close(struct peers *p)
{
    for (uint32_t i = 0; i < p->n + p->n_admins; i++) {
        struct peer *w = &p->peer[i];
        close(w->fd);
        tide_decoder_release(&w->decoder);
        tide_joiner_release(&w->joiner);
        for (uint32_t k = 0; k < w->n_batches; k++)
            free(w->batches[k].columns);
        free(w->batches);
    }
    close(p->epoll);
    tide_arena_release(&p->arena);
    tide_buf_release(&p->out);
    free(p->receive);
    free(p->peer);
    free(p);
}

#include "tests/daemon/lib_worker.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "proto/ack.h"
#include "proto/frame.h"

static void say(struct script *w, Tide__FromWorker__MsgCase kind, void *content)
{
    Tide__FromWorker m = TIDE__FROM_WORKER__INIT;
    m.msg_case = kind;
    m.heartbeat = content; /* a union of pointers */
    peer_send(w->fd, &m.base);
}

void script_connect(struct script *w, uint16_t port)
{
    w->fd = peer_connect(port);
    peer_hello(w->fd, TIDE__PEER_KIND__PEER_WORKER, "");
    Tide__ToWorker *m = peer_word(w->fd);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(m->msg_case, TIDE__TO_WORKER__MSG_WELCOME);
    tide__to_worker__free_unpacked(m, NULL);
}

void script_close(struct script *w)
{
    (void)close(w->fd);
    w->fd = -1;
}

void script_forget(struct script *w)
{
    if (w->token) tide__token__free_unpacked(w->token, NULL);
    w->token = NULL;
    w->phase = TIDE__WORKER_PHASE__PHASE_NOTHING;
    w->open = w->told_complete = w->unconfirmed = 0;
}

void script_release(struct script *w)
{
    script_forget(w);
    if (w->fd >= 0) script_close(w);
}

static void put_join(struct script *w, Tide__Join *join)
{
    struct tide_buf message, frames;
    tide_buf_init(&message, TIDE_PARTS_MAX);
    tide_buf_init(&frames, TIDE_PARTS_MAX);
    uint8_t *p = tide_buf_extend(&message, tide__join__get_packed_size(join));
    ck_assert_ptr_nonnull(p);
    (void)tide__join__pack(join, p);
    tide_parts_put(&frames, TIDE_PART_JOIN, (struct tide_bytes){message.data, message.len});
    ck_assert_int_eq(frames.rc, 0);
    peer_send_raw(w->fd, frames.data, frames.len);
    tide_buf_release(&message);
    tide_buf_release(&frames);
}

void script_join(struct script *w)
{
    Tide__Operator read = TIDE__OPERATOR__INIT, count = TIDE__OPERATOR__INIT;
    Tide__Operator *operators[] = {&count, &read};
    Tide__Edge edge = TIDE__EDGE__INIT, *edges[] = {&edge};
    Tide__Checkpointing often = TIDE__CHECKPOINTING__INIT;
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    Tide__TaskRange all = TIDE__TASK_RANGE__INIT, *ranges[] = {&all};
    Tide__Host host = TIDE__HOST__INIT;
    Tide__OpenRound open = TIDE__OPEN_ROUND__INIT, *opens[] = {&open};
    Tide__Join join = TIDE__JOIN__INIT;
    read.uid = BYTES_OF("read");
    read.parallelism = 1;
    count.uid = BYTES_OF("count");
    count.parallelism = 2;
    edge.from = read.uid;
    edge.to = count.uid;
    edge.pattern = TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
    often.interval_ms = w->interval_ms;
    often.lease_ms = w->lease_ms;
    spec.name = BYTES_OF(w->job);
    spec.operators = operators, spec.n_operators = 2;
    spec.edges = edges, spec.n_edges = 1;
    spec.checkpointing = &often;
    all.count = WORKER_TASKS;
    host.boot_id = BYTES_OF("boot of the test");
    host.pid = 1 + w->boot;
    host.start_time = 1;
    join.job = spec.name;
    join.what_case = TIDE__JOIN__WHAT_SPEC;
    join.spec = &spec;
    join.worker = BYTES_OF("scripted");
    join.host = &host;
    join.tasks = ranges, join.n_tasks = 1;
    join.endpoint = BYTES_OF("nowhere");
    join.token = w->token;
    join.phase = w->phase;
    open.round = w->open;
    join.open = opens, join.n_open = w->open ? 1 : 0;
    join.told_complete = w->told_complete;
    join.unconfirmed = &w->unconfirmed, join.n_unconfirmed = w->unconfirmed ? 1 : 0;
    put_join(w, &join);
}

/* What is repeated until it is confirmed is passed over. */
static Tide__ToWorker *next_word(struct script *w)
{
    for (;;) {
        Tide__ToWorker *m = peer_word(w->fd);
        ck_assert_msg(m != NULL, "the daemon closed the connection");
        bool again =
            m->msg_case == TIDE__TO_WORKER__MSG_COMPLETE && m->complete->round <= w->told_complete;
        if (m->msg_case != TIDE__TO_WORKER__MSG_ALIVE && !again) return m;
        tide__to_worker__free_unpacked(m, NULL);
    }
}

Tide__ToWorker *script_expect(struct script *w, Tide__ToWorker__MsgCase kind)
{
    Tide__ToWorker *m = next_word(w);
    if (m->msg_case == TIDE__TO_WORKER__MSG_REFUSED && kind != m->msg_case)
        ck_abort_msg("refused: %.*s", (int)m->refused->reason.len,
                     (const char *)m->refused->reason.data);
    ck_assert_msg(m->msg_case == kind, "word %d instead of %d", (int)m->msg_case, (int)kind);
    return m;
}

Tide__Start *script_start(struct script *w)
{
    struct tide_joiner joiner;
    int rc = 0;
    tide_joiner_init(&joiner, TIDE_PARTS_MAX);
    while (rc == 0) {
        struct tide_buf b;
        struct tide_bytes content;
        ck_assert(peer_read(w->fd, &b));
        ck_assert_uint_eq(tide_frame_peek((struct tide_bytes){b.data, b.len}, &content),
                          TIDE__TO_WORKER__MSG_START);
        rc = tide_joiner_add(&joiner, content);
        tide_buf_release(&b);
    }
    ck_assert_int_eq(rc, 1);
    Tide__Start *start = tide__start__unpack(NULL, joiner.bytes.len, joiner.bytes.data);
    ck_assert_ptr_nonnull(start);
    tide_joiner_release(&joiner);
    script_forget(w);
    size_t n = tide__token__get_packed_size(start->token);
    uint8_t *copy = malloc(n);
    (void)tide__token__pack(start->token, copy);
    w->token = tide__token__unpack(NULL, n, copy);
    free(copy);
    w->phase = TIDE__WORKER_PHASE__PHASE_STARTING;
    return start;
}

void script_restored(struct script *w)
{
    Tide__TaskRange all = TIDE__TASK_RANGE__INIT, *ranges[] = {&all};
    Tide__Restored m = TIDE__RESTORED__INIT;
    all.count = WORKER_TASKS;
    m.attempt = w->token->attempt;
    m.tasks = ranges, m.n_tasks = 1;
    say(w, TIDE__FROM_WORKER__MSG_RESTORED, &m);
    w->phase = TIDE__WORKER_PHASE__PHASE_RESTORED;
}

void script_run(struct script *w)
{
    Tide__ToWorker *m = script_expect(w, TIDE__TO_WORKER__MSG_RUN);
    ck_assert_uint_eq(m->run->attempt, w->token->attempt);
    tide__to_worker__free_unpacked(m, NULL);
    w->phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
}

uint64_t script_begin(struct script *w)
{
    script_join(w);
    tide__to_worker__free_unpacked(script_expect(w, TIDE__TO_WORKER__MSG_JOINED), NULL);
    Tide__Start *start = script_start(w);
    uint64_t snapshot = start->snapshot;
    tide__start__free_unpacked(start, NULL);
    script_restored(w);
    script_run(w);
    return snapshot;
}

enum resolved script_resume(struct script *w)
{
    enum resolved was = WAS_NONE;
    bool resumed = false, run = false;
    uint64_t open = w->open;
    script_join(w);
    tide__to_worker__free_unpacked(script_expect(w, TIDE__TO_WORKER__MSG_JOINED), NULL);
    while (!resumed || !run || (open && was == WAS_NONE)) {
        Tide__ToWorker *m = next_word(w);
        switch (m->msg_case) {
        case TIDE__TO_WORKER__MSG_RESUMED:
            ck_assert_uint_eq(m->resumed->attempt, w->token->attempt);
            resumed = true;
            break;
        case TIDE__TO_WORKER__MSG_RUN: run = true; break;
        case TIDE__TO_WORKER__MSG_COMPLETE:
            if (m->complete->round == open) was = WAS_COMPLETE;
            if (m->complete->round > w->told_complete) w->told_complete = m->complete->round;
            break;
        case TIDE__TO_WORKER__MSG_ABORT:
            ck_assert_uint_eq(m->abort->round, open);
            was = WAS_ABORTED;
            break;
        default: ck_abort_msg("word %d while resuming", (int)m->msg_case);
        }
        tide__to_worker__free_unpacked(m, NULL);
    }
    w->open = 0;
    return was;
}

uint64_t script_trigger(struct script *w, char *directory, size_t size)
{
    Tide__ToWorker *m = script_expect(w, TIDE__TO_WORKER__MSG_TRIGGER);
    uint64_t round = m->trigger->round;
    ck_assert_uint_eq(m->trigger->attempt, w->token->attempt);
    ck_assert_uint_gt(round, w->told_complete);
    if (directory)
        (void)snprintf(directory, size, "%.*s", (int)m->trigger->directory.len,
                       (const char *)m->trigger->directory.data);
    tide__to_worker__free_unpacked(m, NULL);
    w->open = round;
    return round;
}

void script_ack(struct script *w, uint64_t round, const char *directory, const char *bytes)
{
    struct tide_ack_builder b;
    struct tide_buf frame;
    char path[4200];
    size_t n = strlen(bytes);
    XXH128_hash_t digest = XXH3_128bits(bytes, n);
    struct tide_ack_file file = {n, digest.low64, digest.high64};
    ck_assert(mkdir(directory, 0755) == 0 || errno == EEXIST);
    (void)snprintf(path, sizeof path, "%s/t0-0", directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
    ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
    ck_assert_int_eq(fsync(fd), 0);
    (void)close(fd);
    tide_ack_builder_init(&b, 1u << 20);
    tide_buf_init(&frame, 1u << 20);
    for (uint32_t t = 0; t < WORKER_TASKS; t++)
        tide_ack_builder_add(&b, t, 1, 2, 3, &file, t == 0);
    tide_ack_builder_put_frame(&b, w->token->attempt, round, &frame);
    ck_assert_int_eq(frame.rc, 0);
    peer_send_raw(w->fd, frame.data, frame.len);
    tide_buf_release(&frame);
    tide_ack_builder_release(&b);
}

void script_complete(struct script *w, uint64_t round)
{
    Tide__ToWorker *m = script_expect(w, TIDE__TO_WORKER__MSG_COMPLETE);
    ck_assert_uint_eq(m->complete->round, round);
    tide__to_worker__free_unpacked(m, NULL);
    w->open = 0;
    w->told_complete = w->unconfirmed = round;
}

void script_confirm(struct script *w, uint64_t round)
{
    Tide__TaskRange all = TIDE__TASK_RANGE__INIT, *ranges[] = {&all};
    Tide__Confirm m = TIDE__CONFIRM__INIT;
    all.count = WORKER_TASKS;
    m.attempt = w->token->attempt;
    m.round = round;
    m.tasks = ranges, m.n_tasks = 1;
    say(w, TIDE__FROM_WORKER__MSG_CONFIRM, &m);
    w->unconfirmed = 0;
}

uint64_t script_round(struct script *w)
{
    char directory[4096], bytes[32];
    uint64_t round = script_trigger(w, directory, sizeof directory);
    (void)snprintf(bytes, sizeof bytes, "state %llu", (unsigned long long)round);
    script_ack(w, round, directory, bytes);
    script_complete(w, round);
    script_confirm(w, round);
    return round;
}

void script_leave(struct script *w)
{
    Tide__Leave m = TIDE__LEAVE__INIT;
    m.reason = BYTES_OF("done");
    say(w, TIDE__FROM_WORKER__MSG_LEAVE, &m);
}

void script_heartbeat(struct script *w, uint64_t sequence)
{
    Tide__Heartbeat m = TIDE__HEARTBEAT__INIT;
    m.sequence = sequence;
    say(w, TIDE__FROM_WORKER__MSG_HEARTBEAT, &m);
}

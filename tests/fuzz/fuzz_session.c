/* The session against a daemon that says anything. The input is a list of moves: a byte that
 * chooses one, and for frames a byte of length and so many bytes. Whatever comes, its invariants
 * hold, deadlines pass, and it asks for nothing impossible. */
#include <stdlib.h>
#include <string.h>

#include "client/session.h"
#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fact)
{
    if (!fact) abort();
}

static ProtobufCBinaryData text(const char *t)
{
    return (ProtobufCBinaryData){strlen(t), (uint8_t *)(uintptr_t)t};
}

static struct tide_session *make(void)
{
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    Tide__Operator a = TIDE__OPERATOR__INIT, b = TIDE__OPERATOR__INIT, *operators[2] = {&a, &b};
    Tide__Edge edge = TIDE__EDGE__INIT, *edges[1] = {&edge};
    struct tide_session *s;
    char why[256];
    spec.name = text("job");
    spec.n_operators = 2;
    spec.operators = operators;
    spec.n_edges = 1;
    spec.edges = edges;
    a.uid = edge.from = text("a");
    b.uid = edge.to = text("b");
    a.parallelism = b.parallelism = 1;
    edge.pattern = TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
    struct tide_session_config c = {
        .spec = &spec, .worker = tide_bytes_of("w"), .boot_id = tide_bytes_of("boot"), .seed = 1};
    must(tide_session_new(&c, &s, why) == 0);
    must(tide_session_add_task(s, tide_bytes_of("a"), 0, 0) == 0);
    must(tide_session_add_task(s, tide_bytes_of("b"), 0, 2) == 1);
    return s;
}

/* Carries deliveries out as a shell and a willing application would. */
static void pump(struct tide_session *s, uint64_t now)
{
    struct tide_delivery d;
    const struct tide_bytes none = {0};
    for (unsigned n = 0; tide_session_next(s, &d); n++) {
        must(n < 100000);
        struct tide_session_ack ack = {.attempt = d.attempt, .round = d.round, .task = d.task};
        switch (d.type) {
        case TIDE_DO_CONNECT: tide_session_connected(s, now); break;
        case TIDE_DO_CLOSE: tide_session_disconnected(s, now); break;
        case TIDE_DO_RESTORE:
            must(d.start && d.start->token);
            (void)tide_session_restored(s, d.task, 0, none, now);
            break;
        case TIDE_DO_FORWARD:
            if (d.task == 0) (void)tide_session_barrier(s, 1, 0, d.barrier, now);
            break;
        case TIDE_DO_SNAPSHOT:
            must(d.directory.len > 0);
            (void)tide_session_ack(s, &ack, now);
            break;
        case TIDE_DO_COMPLETE: (void)tide_session_confirm(s, d.task, d.round, now); break;
        case TIDE_DO_REWIND: (void)tide_session_rewound(s, d.task, now); break;
        case TIDE_DO_CHECK_HOLDER: tide_session_holder(s, d.round & 1, now); break;
        default: break;
        }
    }
    must(tide_session_check(s) == NULL);
}

/* Start, in the only form in which it is read: a Part with a right digest. */
static void start(struct tide_session *s, const uint8_t *body, size_t len, uint64_t now)
{
    struct tide_buf out;
    struct tide_decoder d;
    struct tide_bytes frame;
    tide_buf_init(&out, TIDE_FRAME_MAX);
    tide_parts_put(&out, TIDE_PART_START, (struct tide_bytes){body, len});
    struct tide_bytes in = {out.data, out.len};
    tide_decoder_init(&d, TIDE_FRAME_MAX);
    while (tide_decoder_next(&d, &in, &frame) == TIDE_FRAME_READY)
        tide_session_frame(s, frame, now);
    tide_decoder_release(&d);
    tide_buf_release(&out);
}

/* One that is good, so that what follows is reached. */
static void good_start(struct tide_session *s, uint64_t attempt, uint64_t now)
{
    uint8_t packed[256];
    Tide__Start m = TIDE__START__INIT;
    Tide__Token token = TIDE__TOKEN__INIT;
    token.store_id = token.job_id = text("0123456789abcdef");
    token.attempt = attempt;
    m.token = &token;
    m.directory = text("/a");
    start(s, packed, tide__start__pack(&m, packed), now);
}

static void good(struct tide_session *s, unsigned which, uint64_t number, uint64_t now)
{
    uint8_t packed[256];
    Tide__ToWorker m = TIDE__TO_WORKER__INIT;
    Tide__Welcome welcome = TIDE__WELCOME__INIT;
    Tide__Joined joined = TIDE__JOINED__INIT;
    Tide__Run run = TIDE__RUN__INIT;
    Tide__Resumed resumed = TIDE__RESUMED__INIT;
    welcome.version = 1;
    welcome.store_id = joined.job_id = text("0123456789abcdef");
    joined.lease_ms = 3000;
    joined.heartbeat_ms = joined.orphan_limit_ms = joined.progress_ms = 500;
    run.attempt = resumed.attempt = number;
    if (which == 0) m.msg_case = TIDE__TO_WORKER__MSG_WELCOME, m.welcome = &welcome;
    if (which == 1) m.msg_case = TIDE__TO_WORKER__MSG_JOINED, m.joined = &joined;
    if (which == 2) m.msg_case = TIDE__TO_WORKER__MSG_RUN, m.run = &run;
    if (which == 3) m.msg_case = TIDE__TO_WORKER__MSG_RESUMED, m.resumed = &resumed;
    size_t len = tide__to_worker__pack(&m, packed);
    tide_session_frame(s, (struct tide_bytes){packed, len}, now);
}

static uint64_t until(struct tide_session *s, uint64_t now, uint64_t end)
{
    for (unsigned n = 0; tide_session_deadline(s) <= end; n++) {
        must(n < 100000);
        if (tide_session_deadline(s) > now) now = tide_session_deadline(s);
        tide_session_tick(s, now);
        pump(s, now);
    }
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_session *s = make();
    uint64_t now = until(s, 1, 1000);
    for (size_t at = 0; at + 2 <= size;) {
        uint8_t move = data[at] % 12, arg = data[at + 1];
        at += 2;
        size_t len = move <= 2 ? arg : 0;
        if (len > size - at) len = size - at;
        if (move <= 1) tide_session_frame(s, (struct tide_bytes){data + at, len}, now);
        if (move == 2) start(s, data + at, len, now);
        at += len;
        if (move == 3) good_start(s, arg % 4, now);
        if (move >= 4 && move <= 7) good(s, move - 4u, arg % 4, now);
        if (move == 8) tide_session_disconnected(s, now);
        if (move == 9) (void)tide_session_finished(s, arg & 1, now);
        if (move == 10) tide_session_flush(s, now);
        pump(s, now);
        if (move == 11) now = until(s, now, now + (uint64_t)arg * arg * 1000);
    }
    tide_session_free(s);
    return 0;
}

#include "tests/client/lib_session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/client/lib_run.h"

struct bench bench;
uint32_t bench_window;
bool bench_externals;
bool bench_union;
bool bench_regional;

static const uint8_t job_id[16] = JOB_ID;

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    size_t len = strlen(bench.trace);
    va_list args;
    va_start(args, format);
    vsnprintf(bench.trace + len, sizeof bench.trace - len, format, args);
    va_end(args);
}

static ProtobufCBinaryData text(const char *t)
{
    return (ProtobufCBinaryData){strlen(t), (uint8_t *)(uintptr_t)t};
}

/* ---- what the session sends, in words */

static void note_ranges(const char *what, size_t n, Tide__TaskRange **ranges)
{
    if (n && what[0]) note(" %s", what);
    for (size_t i = 0; i < n; i++)
        note("%s%u+%u", i ? "," : " ", ranges[i]->first, ranges[i]->count);
}

static void note_part(const char *before, const Tide__External *e)
{
    note("%s%s%.*s", before, e->kind == TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR ? "@" : "",
         (int)e->name.len, (char *)e->name.data);
}

static void note_join(struct tide_bytes part)
{
    struct tide_joiner j;
    tide_joiner_init(&j, TIDE_PARTS_MAX);
    ck_assert_int_eq(tide_joiner_add(&j, part), 1);
    Tide__Join *m = tide__join__unpack(NULL, j.bytes.len, j.bytes.data);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(m->what_case, TIDE__JOIN__WHAT_SPEC);
    note("> join");
    note_ranges("", m->n_tasks, m->tasks);
    if (m->token) note(" attempt %llu phase %d", (unsigned long long)m->token->attempt, m->phase);
    for (size_t i = 0; i < m->n_open; i++) {
        note(" open %llu", (unsigned long long)m->open[i]->round);
        note_ranges("acked", m->open[i]->n_acked, m->open[i]->acked);
    }
    if (m->told_complete) note(" told %llu", (unsigned long long)m->told_complete);
    for (size_t i = 0; i < m->n_unconfirmed; i++)
        note(" unconfirmed %llu", (unsigned long long)m->unconfirmed[i]);
    note_ranges("ending", m->n_ending, m->ending);
    note_ranges("ended", m->n_ended, m->ended);
    for (size_t i = 0; i < m->n_externals; i++)
        note_part(" ", m->externals[i]);
    note("\n");
    tide__join__free_unpacked(m, NULL);
    tide_joiner_release(&j);
}

static void note_acks(struct tide_bytes body)
{
    struct tide_acks acks;
    struct tide_ack_view v;
    char why[160];
    ck_assert_msg(tide_acks_open(&acks, body, why) == 0, "%s", why);
    note("> acks %llu", (unsigned long long)acks.round);
    while (tide_acks_next(&acks, &v)) {
        note(" %u(%u", v.task, v.artifacts);
        if (v.full) note(" full");
        if (v.unaligned) note(" unaligned");
        if (v.finished_operator) note(" finished");
        if (v.start_delay_us || v.align_us)
            note(" delay %u align %u", v.start_delay_us, v.align_us);
        if (v.processed_bytes || v.persisted_bytes)
            note(" bytes %llu kept %llu", (unsigned long long)v.processed_bytes,
                 (unsigned long long)v.persisted_bytes);
        if (v.has_handle) note(" handle %.*s", (int)v.handle.len, (const char *)v.handle.data);
        note(")");
    }
    note("\n");
}

static void note_sent(const Tide__FromWorker *m)
{
    switch (m->msg_case) {
    case TIDE__FROM_WORKER__MSG_HELLO: note("> hello\n"); break;
    case TIDE__FROM_WORKER__MSG_HEARTBEAT:
        note("> heartbeat %llu\n", (unsigned long long)m->heartbeat->sequence);
        break;
    case TIDE__FROM_WORKER__MSG_RESTORED:
        note("> restored");
        note_ranges("", m->restored->n_tasks, m->restored->tasks);
        note("\n");
        break;
    case TIDE__FROM_WORKER__MSG_RESTORE_FAILED:
        note("> restore failed %u: %.*s\n", m->restore_failed->task,
             (int)m->restore_failed->reason.len, (char *)m->restore_failed->reason.data);
        break;
    case TIDE__FROM_WORKER__MSG_DECLINE:
        note("> decline %llu task %u: %.*s\n", (unsigned long long)m->decline->round,
             m->decline->task, (int)m->decline->reason.len, (char *)m->decline->reason.data);
        break;
    case TIDE__FROM_WORKER__MSG_BARRIER:
        note("> progress %llu", (unsigned long long)m->barrier->round);
        for (size_t i = 0; i < m->barrier->n_tasks; i++) {
            const Tide__TaskProgress *p = m->barrier->tasks[i];
            note(" %u phase %d", p->task, p->phase);
            if (p->channels_missing)
                note(" missing %u from %u", p->channels_missing, p->channel_first);
            if (p->bytes) note(" bytes %llu", (unsigned long long)p->bytes);
            if (p->position) note(" at %llu", (unsigned long long)p->position);
        }
        note("\n");
        break;
    case TIDE__FROM_WORKER__MSG_FINISHED:
        note("> finished");
        note_ranges("", m->finished->n_tasks, m->finished->tasks);
        note("\n");
        break;
    case TIDE__FROM_WORKER__MSG_CONFIRM:
        note("> confirm %llu", (unsigned long long)m->confirm->round);
        note_ranges("", m->confirm->n_tasks, m->confirm->tasks);
        note("\n");
        break;
    case TIDE__FROM_WORKER__MSG_HOLDER_GONE:
        note("> holder gone %u\n", m->holder_gone->holder->pid);
        break;
    case TIDE__FROM_WORKER__MSG_BACKLOG:
        note("> backlog %u %s\n", m->backlog->task, m->backlog->behind ? "begins" : "ends");
        break;
    case TIDE__FROM_WORKER__MSG_LEAVE: note("> leave\n"); break;
    case TIDE__FROM_WORKER__MSG_POSITION:
        note("> position %llu:", (unsigned long long)m->position->round);
        for (size_t i = 0; i < m->position->n_task; i++)
            note(" %u at %llu", m->position->task[i], (unsigned long long)m->position->position[i]);
        note("\n");
        break;
    case TIDE__FROM_WORKER__MSG_STANDING:
        note("> standing %llu", (unsigned long long)m->standing->round);
        note_ranges("", m->standing->n_tasks, m->standing->tasks);
        note("\n");
        break;
    case TIDE__FROM_WORKER__MSG_ADVANCED:
        note("> advanced %llu\n", (unsigned long long)m->advanced->attempt);
        break;
    case TIDE__FROM_WORKER__MSG_EXTERNAL:
        note_part("> external ", m->external->state->external);
        note(" %llu %.*s%s%.*s\n", (unsigned long long)m->external->round,
             (int)m->external->state->data.len, (char *)m->external->state->data.data,
             m->external->failed.len ? "failed: " : "", (int)m->external->failed.len,
             (char *)m->external->failed.data);
        break;
    default: ck_abort_msg("a message of case %d", (int)m->msg_case);
    }
}

static void note_bytes(struct tide_bytes bytes)
{
    struct tide_decoder d;
    struct tide_bytes frame, content;
    tide_decoder_init(&d, TIDE_FRAME_MAX);
    enum tide_frame_next got;
    while ((got = tide_decoder_next(&d, &bytes, &frame)) == TIDE_FRAME_READY) {
        uint32_t field = tide_frame_peek(frame, &content);
        if (field == TIDE__FROM_WORKER__MSG_JOIN) {
            note_join(content);
        } else if (field == TIDE__FROM_WORKER__MSG_ACK) {
            note_acks(content);
        } else {
            Tide__FromWorker *m = tide__from_worker__unpack(NULL, frame.len, frame.data);
            ck_assert_ptr_nonnull(m);
            note_sent(m);
            tide__from_worker__free_unpacked(m, NULL);
        }
    }
    ck_assert_int_eq(got, TIDE_FRAME_MORE);
    ck_assert_uint_eq(tide_decoder_held(&d), 0);
    tide_decoder_release(&d);
}

/* ---- what it delivers, in words */

static void note_barrier(const struct tide_delivery *d)
{
    struct tide_barrier b;
    ck_assert_int_eq(tide_barrier_decode(d->barrier, &b), 0);
    ck_assert_uint_eq(b.job_check, tide_job_check(job_id));
    memcpy(bench.barrier, d->barrier, sizeof bench.barrier);
    note("%u: %s%s %llu\n", d->task,
         d->type == TIDE_DO_PROMOTE ? "promote"
         : d->ahead                 ? "forward ahead"
                                    : "forward",
         b.flags & TIDE_BARRIER_CANCEL      ? " cancel"
         : b.flags & TIDE_BARRIER_END       ? " end"
         : b.flags & TIDE_BARRIER_COUNTED   ? " counted"
         : b.flags & TIDE_BARRIER_UNALIGNED ? " unaligned"
                                            : "",
         (unsigned long long)b.round);
}

static void note_external(const struct tide_delivery *d)
{
    unsigned long long r = (unsigned long long)d->round;
    const char *part = d->external ? "lock" : bench_regional ? "@c" : "@a";
    switch (d->type) {
    case TIDE_DO_EXTERNAL_RESTORE:
        if (d->has_data)
            note("%s: restore from %llu: %.*s\n", part, r, (int)d->bytes.len,
                 (const char *)d->bytes.data);
        else
            note("%s: reset, from %llu\n", part, r);
        break;
    case TIDE_DO_EXTERNAL_RUN: note("%s: run\n", part); break;
    case TIDE_DO_EXTERNAL_SNAPSHOT: note("%s: snapshot %llu\n", part, r); break;
    case TIDE_DO_EXTERNAL_RELEASE:
        if (d->count == UINT32_MAX)
            note("%s: release %llu\n", part, r);
        else
            note("%s: release %llu %u+%u\n", part, r, d->first, d->count);
        break;
    case TIDE_DO_EXTERNAL_COMPLETE: note("%s: complete %llu\n", part, r); break;
    case TIDE_DO_EXTERNAL_ABORT: note("%s: abort %llu\n", part, r); break;
    case TIDE_DO_EXTERNAL_LOST:
        note("%s: lost %u+%u, from %llu\n", part, d->first, d->count, r);
        break;
    case TIDE_DO_EXTERNAL_READY: note("%s: ready\n", part); break;
    case TIDE_DO_ADVANCE: note("advance to %llu\n", (unsigned long long)d->attempt); break;
    case TIDE_DO_EXTERNAL_REWIND:
        note("%s: rewind: %.*s\n", part, (int)d->text.len, (const char *)d->text.data);
        break;
    default: ck_abort_msg("a delivery of type %d", (int)d->type);
    }
}

static void note_delivery(const struct tide_delivery *d)
{
    unsigned long long r = (unsigned long long)d->round;
    int len = (int)d->text.len;
    const char *t = (const char *)d->text.data;
    switch (d->type) {
    case TIDE_DO_CONNECT: note("connect\n"); break;
    case TIDE_DO_SEND: note_bytes(d->bytes); break;
    case TIDE_DO_CLOSE: note("close\n"); break;
    case TIDE_DO_RESTORE:
        note("%u: restore from %llu artifacts %zu%s\n", d->task, r,
             d->restore ? d->restore->n_artifacts : 0, d->task_ended ? " ended" : "");
        break;
    case TIDE_DO_RUN: note("%u: run\n", d->task); break;
    case TIDE_DO_TRIGGER: note("%u: trigger %llu\n", d->task, r); break;
    case TIDE_DO_BLOCK: note("%u: block %u\n", d->task, d->channel); break;
    case TIDE_DO_UNBLOCK: note("%u: unblock %u\n", d->task, d->channel); break;
    case TIDE_DO_PROMOTE:
    case TIDE_DO_FORWARD: note_barrier(d); break;
    case TIDE_DO_SNAPSHOT:
        note("%u: snapshot %llu in %.*s%s%s%s\n", d->task, r, (int)d->directory.len,
             (const char *)d->directory.data, d->savepoint ? " savepoint" : "",
             d->captures ? " captures" : "", d->waits ? " waits" : "");
        break;
    case TIDE_DO_OVERTAKE: note("%u: overtake %u %llu\n", d->task, d->channel, r); break;
    case TIDE_DO_ACKABLE: note("%u: ackable %llu\n", d->task, r); break;
    case TIDE_DO_POSITION: note("%u: call\n", d->task); break;
    case TIDE_DO_COMPLETE:
        note("%u: complete %llu", d->task, r);
        if (d->has_handle) note(" handle %.*s", (int)d->handle.len, (const char *)d->handle.data);
        note("\n");
        break;
    case TIDE_DO_ABORT: note("%u: abort %llu\n", d->task, r); break;
    case TIDE_DO_SUBSUMED: note("%u: subsumed %llu\n", d->task, r); break;
    case TIDE_DO_DRAIN: note("%u: drain %llu\n", d->task, r); break;
    case TIDE_DO_SUSPEND: note("%u: stand still %llu\n", d->task, r); break;
    case TIDE_DO_RESUME: note("%u: go on %llu\n", d->task, r); break;
    case TIDE_DO_ENDED: note("%u: ended\n", d->task); break;
    case TIDE_DO_REWIND: note("%u: rewind: %.*s\n", d->task, len, t); break;
    case TIDE_DO_FENCED: note("fenced\n"); break;
    case TIDE_DO_UNFENCED: note("unfenced\n"); break;
    case TIDE_DO_STOP: note("stop: %.*s\n", len, t); break;
    case TIDE_DO_REFUSED: note("refused %d: %.*s\n", d->rc, len, t); break;
    case TIDE_DO_CHECK_HOLDER: note("check holder %u\n", d->pid); break;
    case TIDE_DO_NOTE: note("note: %.*s\n", len, t); break;
    default: note_external(d);
    }
}

void bench_pump(void)
{
    struct tide_delivery d;
    while (tide_session_next(bench.s, &d))
        note_delivery(&d);
    const char *wrong = tide_session_check(bench.s);
    ck_assert_msg(!wrong, "%s", wrong ? wrong : "");
}

void bench_until(uint64_t us)
{
    for (;;) {
        uint64_t at = tide_session_deadline(bench.s);
        if (at > us) break;
        if (at > bench.now) bench.now = at;
        tide_session_tick(bench.s, bench.now);
        bench_pump();
        ck_assert_msg(tide_session_deadline(bench.s) > bench.now, "a deadline that does not pass");
    }
    if (us > bench.now) bench.now = us;
}

/* ---- the daemon */

void bench_say(Tide__ToWorker__MsgCase which, void *message)
{
    Tide__ToWorker m = TIDE__TO_WORKER__INIT;
    m.msg_case = which;
    m.welcome = message;
    size_t len = tide__to_worker__get_packed_size(&m);
    uint8_t *packed = malloc(len + 1);
    tide__to_worker__pack(&m, packed);
    tide_session_frame(bench.s, (struct tide_bytes){packed, len}, bench.now);
    memset(packed, 0xaa, len); /* nothing may point into it afterwards */
    free(packed);
    bench_pump();
}

void say_welcome(void)
{
    Tide__Welcome m = TIDE__WELCOME__INIT;
    m.version = bench_window || bench_externals || bench_union || bench_regional ? 2 : 1;
    m.store_id = text("store store stor");
    m.incarnation = 7;
    bench_say(TIDE__TO_WORKER__MSG_WELCOME, &m);
}

void say_joined(void)
{
    Tide__Joined m = TIDE__JOINED__INIT;
    m.job_id = text(JOB_ID);
    m.lease_ms = 3000;
    m.heartbeat_ms = 1000;
    m.orphan_limit_ms = 500;
    m.progress_ms = 400;
    bench_say(TIDE__TO_WORKER__MSG_JOINED, &m);
}

void say_alive(uint64_t sequence)
{
    Tide__HeartbeatAck m = TIDE__HEARTBEAT_ACK__INIT;
    m.sequence = sequence;
    bench_say(TIDE__TO_WORKER__MSG_ALIVE, &m);
}

void start_init(Tide__Start *m, Tide__Token *token, uint64_t attempt)
{
    tide__start__init(m);
    tide__token__init(token);
    token->store_id = text("store store stor");
    token->job_id = text(JOB_ID);
    token->attempt = attempt;
    token->incarnation = 7;
    token->external = 1000 + attempt;
    m->token = token;
    m->directory = text("/state/a");
    m->lowest_pending = 1;
}

void say_start_message(const Tide__Start *m)
{
    struct tide_buf out;
    struct tide_decoder d;
    struct tide_bytes frame;
    size_t len = tide__start__get_packed_size(m);
    uint8_t *packed = malloc(len + 1);
    tide__start__pack(m, packed);
    tide_buf_init(&out, TIDE_PARTS_MAX);
    tide_parts_put(&out, TIDE_PART_START, (struct tide_bytes){packed, len});
    ck_assert_int_eq(out.rc, 0);
    struct tide_bytes in = {out.data, out.len};
    tide_decoder_init(&d, TIDE_FRAME_MAX);
    while (tide_decoder_next(&d, &in, &frame) == TIDE_FRAME_READY)
        tide_session_frame(bench.s, frame, bench.now);
    tide_decoder_release(&d);
    tide_buf_release(&out);
    free(packed);
    bench_pump();
}

void say_start(uint64_t attempt)
{
    Tide__Start m;
    Tide__Token token;
    start_init(&m, &token, attempt);
    say_start_message(&m);
}

void say_run(uint64_t attempt)
{
    Tide__Run m = TIDE__RUN__INIT;
    m.attempt = attempt;
    bench_say(TIDE__TO_WORKER__MSG_RUN, &m);
}

void advance_init(Tide__Advance *m, Tide__Token *token, uint64_t from, uint64_t to)
{
    tide__advance__init(m);
    tide__token__init(token);
    token->store_id = text("store store stor");
    token->job_id = text(JOB_ID);
    token->attempt = to;
    token->incarnation = 7;
    token->external = 1000 + to;
    m->from = from;
    m->token = token;
    m->directory = text("/d");
}

void say_advance(uint64_t from, uint64_t to, uint64_t snapshot)
{
    Tide__Advance m;
    Tide__Token token;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    advance_init(&m, &token, from, to);
    range.first = 3; /* c's subtasks 1 and 2 */
    range.count = 2;
    m.rewound = ranges;
    m.n_rewound = 1;
    m.snapshot = snapshot;
    bench_say(TIDE__TO_WORKER__MSG_ADVANCE, &m);
}

void say_resumed(uint64_t attempt)
{
    Tide__Resumed m = TIDE__RESUMED__INIT;
    m.attempt = attempt;
    m.lowest_pending = 1;
    bench_say(TIDE__TO_WORKER__MSG_RESUMED, &m);
}

void say_trigger(uint64_t attempt, uint64_t round)
{
    say_trigger_as(attempt, round, TIDE__ALIGNMENT__ALIGN_ALIGNED, 0, 0);
}

void say_trigger_as(uint64_t attempt, uint64_t round, Tide__Alignment alignment,
                    uint32_t aligned_timeout_ms, uint32_t age_ms)
{
    Tide__Trigger m = TIDE__TRIGGER__INIT;
    char directory[64];
    snprintf(directory, sizeof directory, "/state/a/r%llu", (unsigned long long)round);
    m.attempt = attempt;
    m.round = round;
    m.incarnation = 7;
    m.kind = TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    m.left_ms = 60000;
    m.directory = text(directory);
    m.lowest_pending = round < bench.lowest ? round : bench.lowest ? bench.lowest : round;
    m.alignment = alignment;
    m.aligned_timeout_ms = aligned_timeout_ms;
    m.age_ms = age_ms;
    bench_say(TIDE__TO_WORKER__MSG_TRIGGER, &m);
}

void say_turn(uint64_t attempt, uint64_t round)
{
    Tide__TurnUnaligned m = TIDE__TURN_UNALIGNED__INIT;
    m.attempt = attempt;
    m.round = round;
    bench_say(TIDE__TO_WORKER__MSG_TURN_UNALIGNED, &m);
}

void say_complete(uint64_t attempt, uint64_t round, bool commits)
{
    Tide__Complete m = TIDE__COMPLETE__INIT;
    m.attempt = attempt;
    m.round = round;
    m.commits = commits;
    m.lowest_pending = round + 1;
    bench_say(TIDE__TO_WORKER__MSG_COMPLETE, &m);
}

void say_ended(uint64_t attempt, uint64_t round, uint32_t first, uint32_t count)
{
    Tide__Complete m = TIDE__COMPLETE__INIT;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    range.first = first;
    range.count = count;
    m.attempt = attempt;
    m.round = round;
    m.commits = true;
    m.n_ended = 1;
    m.ended = ranges;
    m.lowest_pending = round + 1;
    bench_say(TIDE__TO_WORKER__MSG_COMPLETE, &m);
}

void say_abort(uint64_t attempt, uint64_t round)
{
    Tide__Abort m = TIDE__ABORT__INIT;
    m.attempt = attempt;
    m.round = round;
    m.code = TIDE__ABORT_CODE__ABORT_DEADLINE;
    m.reason = text("too slow");
    m.lowest_pending = round + 1;
    bench_say(TIDE__TO_WORKER__MSG_ABORT, &m);
}

void say_rewind(uint64_t attempt)
{
    Tide__Rewind m = TIDE__REWIND__INIT;
    m.attempt = attempt;
    m.reason = text("a worker is lost");
    bench_say(TIDE__TO_WORKER__MSG_REWIND, &m);
}

void say_ask(uint64_t attempt, uint64_t round, const char *part, uint32_t first, uint32_t count)
{
    Tide__AskExternal m = TIDE__ASK_EXTERNAL__INIT;
    Tide__External e = TIDE__EXTERNAL__INIT;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    e.kind = part[0] == '@' ? TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR
                            : TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
    e.name = text(part + (part[0] == '@'));
    m.attempt = attempt;
    m.round = round;
    m.external = &e;
    m.phase =
        count ? TIDE__EXTERNAL_PHASE__EXTERNAL_RELEASE : TIDE__EXTERNAL_PHASE__EXTERNAL_SNAPSHOT;
    range.first = first;
    range.count = count;
    m.n_tasks = count != 0;
    m.tasks = ranges;
    m.left_ms = 1000;
    bench_say(TIDE__TO_WORKER__MSG_ASK_EXTERNAL, &m);
}

void say_refused(Tide__RefusedCode code)
{
    Tide__Refused m = TIDE__REFUSED__INIT;
    m.code = code;
    m.reason = text("because");
    m.outcome = text("FINISHED");
    bench_say(TIDE__TO_WORKER__MSG_REFUSED, &m);
}

/* ---- life */

void bench_open(void)
{
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    Tide__Operator a = TIDE__OPERATOR__INIT, b = TIDE__OPERATOR__INIT, c_ = TIDE__OPERATOR__INIT,
                   *operators[3] = {&a, &b, &c_};
    Tide__Edge edge = TIDE__EDGE__INIT, *edges[1] = {&edge};
    Tide__Checkpointing checkpointing = TIDE__CHECKPOINTING__INIT;
    char why[256];
    spec.name = text("job");
    checkpointing.style = TIDE__ROUND_STYLE__STYLE_RENDEZVOUS;
    checkpointing.window = bench_window;
    if (bench_regional) tide__checkpointing__init(&checkpointing);
    checkpointing.regional = bench_regional;
    if (bench_window || bench_regional) spec.checkpointing = &checkpointing;
    spec.n_operators = bench_regional ? 3 : 2;
    spec.operators = operators;
    spec.n_edges = 1;
    spec.edges = edges;
    a.uid = edge.from = text("a");
    b.uid = edge.to = text("b");
    a.parallelism = b.parallelism = 1;
    c_.uid = text("c");
    c_.parallelism = 3;
    edge.pattern = TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
    struct tide_session_config c = {.spec = &spec,
                                    .worker = tide_bytes_of("w1"),
                                    .endpoint = tide_bytes_of("here"),
                                    .software = tide_bytes_of("test"),
                                    .boot_id = tide_bytes_of("boot/1"),
                                    .pid = 42,
                                    .start_time = 4242,
                                    .seed = 1};
    ProtobufCBinaryData hooks[1] = {text("lock")};
    a.coordinator = bench_externals && !bench_regional;
    c_.coordinator = bench_externals && bench_regional;
    a.union_state = bench_union;
    spec.n_hooks = bench_externals;
    spec.hooks = hooks;
    memset(&bench, 0, sizeof bench);
    bench.now = 1000000;
    ck_assert_msg(tide_session_new(&c, &bench.s, why) == 0, "%s", why);
    ck_assert_int_eq(tide_session_add_task(bench.s, tide_bytes_of("b"), 0, 2), 1);
    ck_assert_int_eq(tide_session_add_task(bench.s, tide_bytes_of("a"), 0, 0), 0);
    if (!bench_externals) return;
    const char *directs = bench_regional ? "c" : "a";
    ck_assert_int_eq(tide_session_add_external(bench.s, false, tide_bytes_of(directs)), 0);
    ck_assert_int_eq(tide_session_add_external(bench.s, true, tide_bytes_of("lock")), 1);
}

void bench_close(void)
{
    const char *wrong = tide_session_check(bench.s);
    ck_assert_msg(!wrong, "%s", wrong ? wrong : "");
    tide_session_free(bench.s);
    bench.s = NULL;
}

void bench_run(void)
{
    bench_open();
    tide_session_tick(bench.s, bench.now);
    bench_pump();
    tide_session_connected(bench.s, bench.now);
    bench_pump();
    say_welcome();
    say_joined();
    say_alive(1);
    say_start(1);
    for (uint32_t t = 0; t < 2; t++)
        ck_assert_int_eq(tide_session_restored(bench.s, t, 0, (struct tide_bytes){0}, bench.now),
                         0);
    for (uint32_t i = 0; bench_externals && i < 2; i++)
        ck_assert_int_eq(
            tide_session_external_restored(bench.s, i, 0, (struct tide_bytes){0}, bench.now), 0);
    bench_pump();
    say_run(1);
    bench.trace[0] = '\0';
}

void bench_reconnect(void)
{
    for (int i = 0; i < 10 && !strstr(bench.trace, "connect\n"); i++) /* the back-off */
        bench_until(tide_session_deadline(bench.s));
    tide_session_connected(bench.s, bench.now);
    bench_pump();
    say_welcome();
    say_joined();
}

int bench_barrier(uint32_t channel, uint64_t round, uint32_t flags)
{
    struct tide_barrier b = {round, flags, tide_job_check(job_id)};
    uint8_t bytes[TIDE_BARRIER_BYTES];
    tide_barrier_encode(&b, bytes);
    int rc = tide_session_barrier(bench.s, 1, channel, bytes, bench.now);
    bench_pump();
    return rc;
}

int bench_ack(uint32_t task, uint64_t round)
{
    struct tide_artifact_view file = {.size = 10, .digest_low = 1, .digest_high = 2};
    struct tide_session_ack ack = {.attempt = tide_session_attempt(bench.s),
                                   .round = round,
                                   .task = task,
                                   .artifacts = &file,
                                   .n_artifacts = 1};
    int rc = tide_session_ack(bench.s, &ack, bench.now);
    bench_pump();
    return rc;
}

/* ---- shortcuts */

void flush(void)
{
    tide_session_flush(bench.s, bench.now);
    bench_pump();
}

void cut(void)
{
    tide_session_disconnected(bench.s, bench.now);
    bench_pump();
}

int confirm(uint32_t task, uint64_t round)
{
    int rc = tide_session_confirm(bench.s, task, round, bench.now);
    bench_pump();
    return rc;
}

void snapshot_both(uint64_t round)
{
    say_trigger(1, round);
    ck_assert_int_eq(bench_barrier(0, round, 0), 0);
    ck_assert_int_eq(bench_barrier(1, round, 0), 0);
    bench.trace[0] = '\0';
}

void join_once(void)
{
    bench_open();
    tide_session_tick(bench.s, bench.now);
    bench_pump();
    tide_session_connected(bench.s, bench.now);
    bench_pump();
    say_welcome();
    bench.trace[0] = '\0';
}

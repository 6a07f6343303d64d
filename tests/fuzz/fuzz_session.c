/* The session against a daemon that says anything, and a program that answers when it likes. The
 * input is a list of moves: a byte that chooses one, a byte for what it is about, and for frames,
 * whose length that byte is, so many bytes. Whatever comes, its invariants hold, deadlines pass, it
 * asks for nothing impossible, and once it is over it asks for nothing.
 *
 * An input that begins with a byte of 255 has a job of rendezvous rounds, and moves of 224 to 255
 * for them; one that begins with 254 has a coordinator and a hook in its worker, and moves of 192
 * to 215 for them; with 253 the coordinator is of an operator that has its tasks elsewhere, in
 * regions of their own, and moves of 216 to 223 rewind these. In one that begins with
 * 252 barriers may go ahead of records, and moves of 192 to 223 are about that. */
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

static bool meets;    /* a job of rendezvous rounds */
static bool parts;    /* external ones live in the worker */
static bool flies;    /* barriers go ahead of records */
static bool regional; /* ... and there is an operator c, of two tasks */

static struct tide_session *make(void)
{
    ProtobufCBinaryData hooks[1] = {text("lock")};
    Tide__Checkpointing checkpointing = TIDE__CHECKPOINTING__INIT;
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    Tide__Operator a = TIDE__OPERATOR__INIT, b = TIDE__OPERATOR__INIT, c_ = TIDE__OPERATOR__INIT,
                   *operators[3] = {&a, &b, &c_};
    Tide__Edge edge = TIDE__EDGE__INIT, *edges[1] = {&edge};
    struct tide_session *s;
    char why[256];
    spec.name = text("job");
    spec.n_operators = regional ? 3 : 2;
    spec.operators = operators;
    spec.n_edges = 1;
    spec.edges = edges;
    a.uid = edge.from = text("a");
    b.uid = edge.to = text("b");
    a.parallelism = b.parallelism = 1;
    edge.pattern = TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
    c_.uid = text("c");
    c_.parallelism = 2;
    checkpointing.regional = regional;
    if (meets) checkpointing.style = TIDE__ROUND_STYLE__STYLE_RENDEZVOUS;
    if (flies) checkpointing.alignment = TIDE__ALIGNMENT__ALIGN_UNALIGNED;
    if (meets || regional || flies) spec.checkpointing = &checkpointing;
    a.coordinator = parts && !regional;
    c_.coordinator = regional;
    spec.n_hooks = parts;
    spec.hooks = hooks;
    struct tide_session_config c = {
        .spec = &spec, .worker = tide_bytes_of("w"), .boot_id = tide_bytes_of("boot"), .seed = 1};
    must(tide_session_new(&c, &s, why) == 0);
    must(tide_session_add_task(s, tide_bytes_of("a"), 0, 0) == 0);
    must(tide_session_add_task(s, tide_bytes_of("b"), 0, 2) == 1);
    must(!parts || tide_session_add_external(s, false, tide_bytes_of(regional ? "c" : "a")) == 0);
    must(!parts || tide_session_add_external(s, true, tide_bytes_of("lock")) == 1);
    return s;
}

static bool lazy;        /* the program is busy: what waits for it waits */
static bool asking;      /* the program has asked where to stand, just now */
static bool at_its_end;  /* or it has finished, or was busy when it asked */
static uint64_t current; /* the last attempt */

/* Carries deliveries out as a shell and a willing application would. */
static void pump(struct tide_session *s, uint64_t now)
{
    struct tide_delivery d;
    const struct tide_bytes none = {0};
    for (unsigned n = 0; lazy ? tide_session_next_io(s, &d) : tide_session_next(s, &d); n++) {
        must(n < 100000);
        if (tide_session_attempt(s)) current = tide_session_attempt(s);
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
            must(!meets || asking ||
                 at_its_end); /* nobody is snapshotted in the middle of a step */
            tide_session_captured(s, d.task, d.round);
            (void)tide_session_ack(s, &ack, now);
            break;
        case TIDE_DO_COMPLETE: (void)tide_session_confirm(s, d.task, d.round, now); break;
        case TIDE_DO_REWIND: (void)tide_session_rewound(s, d.task, now); break;
        case TIDE_DO_EXTERNAL_RESTORE:
            must(d.external == 1 || (d.start && d.external == 0));
            (void)tide_session_external_restored(s, d.external, 0, none, now);
            break;
        case TIDE_DO_EXTERNAL_SNAPSHOT:
            if (d.round & 1)
                (void)tide_session_external_answer(s, d.external, d.attempt, d.round, 0,
                                                   tide_bytes_of("state"), now);
            break;
        case TIDE_DO_EXTERNAL_RELEASE:
            must(d.count == UINT32_MAX || d.first + d.count <= 1u + regional);
            break;
        case TIDE_DO_EXTERNAL_LOST:
            must(d.external == 0 && d.count && d.first + d.count <= 2);
            break;
        case TIDE_DO_ADVANCE:
            must(d.bytes.len > 0 && d.attempt <= tide_session_attempt(s));
            current = tide_session_attempt(s);
            break;
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

/* One that is good, so that what follows is reached; bits of arg are what it brings. */
static void good_start(struct tide_session *s, uint8_t arg, uint64_t now)
{
    uint8_t packed[512];
    Tide__Start m = TIDE__START__INIT;
    Tide__Token token = TIDE__TOKEN__INIT;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    Tide__Peer peer = TIDE__PEER__INIT, *peers[1] = {&peer};
    Tide__Artifact artifact, *artifacts[1] = {&artifact};
    Tide__Owed owed = TIDE__OWED__INIT, *owes[1] = {&owed};
    Tide__TaskRestore restore = TIDE__TASK_RESTORE__INIT, *restores[1] = {&restore};
    tide__artifact__init(&artifact);
    token.store_id = token.job_id = text("0123456789abcdef");
    token.attempt = arg & 3;
    m.token = &token;
    m.directory = m.snapshot_directory = text("/a");
    range.count = 1;
    peer.n_tasks = 1;
    peer.tasks = m.ended = ranges;
    m.peers = peers;
    m.tasks = restores;
    restore.task = 1;
    restore.artifacts = artifacts;
    restore.owed = owes;
    owed.round = 1;
    restore.n_artifacts = 1;
    artifact.place_case = TIDE__ARTIFACT__PLACE_PATH;
    artifact.path = text("r1/t1-0");
    m.snapshot = m.n_tasks = arg >> 2 & 1;
    restore.n_owed = arg >> 3 & 1;
    m.n_ended = arg >> 4 & 1;
    m.n_peers = arg >> 5 & 1;
    m.deliver_only = arg >> 6 & 1;
    start(s, packed, tide__start__pack(&m, packed), now);
}

static void say(struct tide_session *s, Tide__ToWorker__MsgCase which, void *message, uint64_t now)
{
    uint8_t packed[512];
    Tide__ToWorker m = TIDE__TO_WORKER__INIT;
    m.msg_case = which;
    m.welcome = message; /* any member of the union */
    must(tide__to_worker__get_packed_size(&m) <= sizeof packed);
    size_t len = tide__to_worker__pack(&m, packed);
    tide_session_frame(s, (struct tide_bytes){packed, len}, now);
}

/* The opening, by which everything else is reached. */
static void good(struct tide_session *s, unsigned which, uint64_t number, uint64_t now)
{
    Tide__Welcome welcome = TIDE__WELCOME__INIT;
    Tide__Joined joined = TIDE__JOINED__INIT;
    Tide__Run run = TIDE__RUN__INIT;
    Tide__Resumed resumed = TIDE__RESUMED__INIT;
    welcome.version = meets || parts || flies ? 2 : 1;
    welcome.store_id = joined.job_id = text("0123456789abcdef");
    joined.lease_ms = 3000;
    joined.heartbeat_ms = joined.orphan_limit_ms = joined.progress_ms = 500;
    run.attempt = resumed.attempt = number;
    if (which == 0) say(s, TIDE__TO_WORKER__MSG_WELCOME, &welcome, now);
    if (which == 1) say(s, TIDE__TO_WORKER__MSG_JOINED, &joined, now);
    if (which == 2) say(s, TIDE__TO_WORKER__MSG_RUN, &run, now);
    if (which == 3) say(s, TIDE__TO_WORKER__MSG_RESUMED, &resumed, now);
}

/* Rounds, of the attempt under way; four bits of arg are the round, the others what is special. */
static void rounds(struct tide_session *s, unsigned which, uint8_t arg, uint64_t now)
{
    Tide__Trigger trigger = TIDE__TRIGGER__INIT;
    Tide__Complete complete = TIDE__COMPLETE__INIT;
    Tide__Abort abort_ = TIDE__ABORT__INIT;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    uint64_t round = arg & 15, lowest = arg & 16 ? round : 0;
    trigger.attempt = complete.attempt = abort_.attempt = current;
    trigger.round = complete.round = abort_.round = round;
    trigger.lowest_pending = complete.lowest_pending = abort_.lowest_pending = lowest;
    trigger.directory = text("/a/r");
    trigger.left_ms = arg & 32 ? 700 : 60000;
    trigger.stop = (Tide__StopMode)(arg >> 6); /* 3: none that there is */
    complete.commits = !(arg & 32);
    range.first = arg >> 6 & 1;
    range.count = 1;
    complete.ended = ranges;
    complete.n_ended = arg >> 7;
    if (which == 0) say(s, TIDE__TO_WORKER__MSG_TRIGGER, &trigger, now);
    if (which == 1) say(s, TIDE__TO_WORKER__MSG_COMPLETE, &complete, now);
    if (which == 2) say(s, TIDE__TO_WORKER__MSG_ABORT, &abort_, now);
}

/* Rendezvous rounds: a bit for the task; the others are a round, or a position. */
static void meeting(struct tide_session *s, unsigned which, uint8_t arg, uint64_t now)
{
    Tide__Prepare prepare = TIDE__PREPARE__INIT;
    Tide__Cut at = TIDE__CUT__INIT;
    Tide__SnapshotNow go = TIDE__SNAPSHOT_NOW__INIT;
    static uint64_t round;
    prepare.attempt = at.attempt = go.attempt = current;
    if (which == 0) round = prepare.round = arg & 15;
    at.round = go.round = round;
    prepare.lowest_pending = arg & 16 ? round : 0;
    prepare.directory = text("/a/r");
    prepare.left_ms = arg & 32 ? 700 : 60000;
    prepare.window = arg >> 6;
    at.position = arg;
    if (which == 0) say(s, TIDE__TO_WORKER__MSG_PREPARE, &prepare, now);
    if (which == 1) say(s, TIDE__TO_WORKER__MSG_CUT, &at, now);
    if (which == 2) say(s, TIDE__TO_WORKER__MSG_SNAPSHOT_NOW, &go, now);
    if (which < 3) return;
    pump(s, now);
    asking = true;
    at_its_end = at_its_end || lazy;
    (void)tide_session_position(s, arg & 1, arg >> 1, now);
}

/* Barriers that go ahead: three bits for the round, the others for how, the channel, the task. */
static void flight(struct tide_session *s, unsigned which, uint8_t arg, uint64_t now)
{
    static const uint32_t flags[] = {0, TIDE_BARRIER_UNALIGNED, TIDE_BARRIER_COUNTED,
                                     TIDE_BARRIER_CANCEL};
    Tide__Trigger trigger = TIDE__TRIGGER__INIT;
    Tide__TurnUnaligned turn = TIDE__TURN_UNALIGNED__INIT;
    uint8_t bytes[TIDE_BARRIER_BYTES];
    struct tide_barrier b = {.round = arg & 7,
                             .flags = flags[arg >> 4 & 3],
                             .job_check = tide_job_check((const uint8_t *)"0123456789abcdef")};
    uint32_t channel = arg >> 3 & 1;
    trigger.attempt = turn.attempt = current;
    trigger.round = turn.round = arg & 7;
    trigger.directory = text("/a/r");
    trigger.left_ms = arg & 128 ? 700 : 60000;
    trigger.alignment = (Tide__Alignment)(arg >> 3 & 7); /* some are none */
    trigger.aligned_timeout_ms = 300;
    trigger.age_ms = arg & 64 ? 400 : 0;
    tide_barrier_encode(&b, bytes);
    switch (which) {
    case 0: say(s, TIDE__TO_WORKER__MSG_TRIGGER, &trigger, now); break;
    case 1: say(s, TIDE__TO_WORKER__MSG_TURN_UNALIGNED, &turn, now); break;
    case 2: (void)tide_session_announce(s, 1, channel, bytes, now); break;
    case 3: (void)tide_session_barrier(s, 1, channel, bytes, now); break;
    case 4: (void)tide_session_sent(s, arg >> 7, bytes, now); break;
    case 5: tide_session_processed(s, 1, arg); break;
    case 6:
        (void)tide_session_force(s, 1, channel, arg & 1);
        (void)tide_session_promotable(s, arg >> 7, arg >> 1 & 3);
        break;
    default: /* a record is of the round that is captured, or of none */
        must(!tide_session_record(s, 1, channel, arg) || tide_session_attempt(s));
    }
}

/* Of the external parts: four bits for the round, one for the part, the rest for what is special.
 */
static void external(struct tide_session *s, unsigned which, uint8_t arg, uint64_t now)
{
    Tide__AskExternal ask = TIDE__ASK_EXTERNAL__INIT;
    Tide__External e = TIDE__EXTERNAL__INIT;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    const struct tide_bytes what = tide_bytes_of("what");
    uint32_t part = arg >> 4 & 1;
    e.kind = part ? TIDE__EXTERNAL_KIND__EXTERNAL_HOOK : TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR;
    e.name = text(part ? "lock" : regional ? "c" : "a");
    ask.attempt = current;
    ask.round = arg & 15;
    ask.external = arg == 255 ? NULL : &e;
    ask.phase = (Tide__ExternalPhase)(1 + (arg >> 5 & 1));
    ask.tasks = ranges;
    ask.n_tasks = ask.phase == TIDE__EXTERNAL_PHASE__EXTERNAL_RELEASE;
    range.first = arg >> 6 & 1;
    range.count = 1 + (arg >> 7);
    if (which == 0) say(s, TIDE__TO_WORKER__MSG_ASK_EXTERNAL, &ask, now);
    if (which == 1)
        (void)tide_session_external_answer(s, part, current, arg & 15, arg & 32 ? TIDE_EIO : 0,
                                           what, now);
    if (which == 2)
        (void)tide_session_external_restored(s, part, arg & 32 ? TIDE_EIO : 0, what, now);
    if (which == 3) (void)tide_session_external_failed(s, part, what, now);
}

/* Another region is rewound: two bits for the attempt, one each for from which, for whose tasks,
 * for the hook's bytes; the others for what is wrong. */
static void advance(struct tide_session *s, uint8_t arg, uint64_t now)
{
    Tide__Advance m = TIDE__ADVANCE__INIT;
    Tide__Token token = TIDE__TOKEN__INIT;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    Tide__External e = TIDE__EXTERNAL__INIT;
    Tide__ExternalState state = TIDE__EXTERNAL_STATE__INIT, *states[1] = {&state};
    token.store_id = text("0123456789abcdef");
    token.job_id = text(arg == 254 ? "0123456789abcdeX" : "0123456789abcdef");
    m.from = arg & 4 ? 1 : current;
    token.attempt = current + (arg & 3);
    m.token = arg == 255 ? NULL : &token;
    m.directory = text(arg == 253 ? "" : "/d");
    range.first = arg == 252 ? 1 : 2 + (arg >> 3 & 1);
    range.count = arg == 251 ? 9 : 1;
    m.rewound = ranges;
    m.n_rewound = 1;
    m.snapshot = arg >> 5;
    e.kind =
        arg == 250 ? TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR : TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
    e.name = text(arg == 250 ? "c" : "lock");
    state.external = &e;
    state.data = text("held");
    m.externals = states;
    m.n_externals = arg >> 4 & 1;
    say(s, TIDE__TO_WORKER__MSG_ADVANCE, &m, now);
}

static void others(struct tide_session *s, uint8_t arg, uint64_t now)
{
    Tide__HeartbeatAck alive = TIDE__HEARTBEAT_ACK__INIT;
    Tide__Rewind rewind = TIDE__REWIND__INIT;
    Tide__Fenced fenced = TIDE__FENCED__INIT;
    Tide__Parked parked = TIDE__PARKED__INIT;
    Tide__Refused refused = TIDE__REFUSED__INIT;
    Tide__Host host = TIDE__HOST__INIT;
    Tide__Bye bye = TIDE__BYE__INIT;
    Tide__Stop stop = TIDE__STOP__INIT;
    alive.sequence = arg >> 3;
    rewind.attempt = current;
    refused.code = (Tide__RefusedCode)(arg >> 3);
    host.boot_id = text(arg & 8 ? "boot" : "other");
    host.pid = 7;
    parked.holder = arg & 16 ? NULL : &host;
    parked.wait_ms = arg;
    switch (arg & 7) {
    case 0: say(s, TIDE__TO_WORKER__MSG_ALIVE, &alive, now); break;
    case 1: say(s, TIDE__TO_WORKER__MSG_REWIND, &rewind, now); break;
    case 2: say(s, TIDE__TO_WORKER__MSG_FENCED, &fenced, now); break;
    case 3: say(s, TIDE__TO_WORKER__MSG_PARKED, &parked, now); break;
    case 4: say(s, TIDE__TO_WORKER__MSG_REFUSED, &refused, now); break;
    case 5: say(s, TIDE__TO_WORKER__MSG_BYE, &bye, now); break;
    case 6: say(s, TIDE__TO_WORKER__MSG_STOP, &stop, now); break;
    default: tide_session_heartbeat(s, now); break;
    }
}

/* What the program says, at whatever moment: a bit for the task, four for the round. */
static void program(struct tide_session *s, unsigned which, uint8_t arg, uint64_t now)
{
    uint32_t task = arg & 1;
    uint64_t round = arg >> 1 & 15, number;
    const struct tide_bytes why = tide_bytes_of("why");
    struct tide_artifact_view one = {.size = arg, .name = tide_bytes_of("name")};
    struct tide_session_ack ack = {
        .attempt = current, .round = round, .task = task, .artifacts = &one, .n_artifacts = 1};
    if (arg & 64) one.name.len = 0;
    ack.has_handle = arg & 128;
    switch (which) {
    case 0: (void)tide_session_ack(s, &ack, now); break;
    case 1: (void)tide_session_decline(s, current, round, task, why, arg, now); break;
    case 2: (void)tide_session_confirm(s, task, round, now); break;
    case 3: (void)tide_session_commit_failed(s, task, round, now); break;
    case 4: (void)tide_session_restored(s, task, arg & 2 ? TIDE_EIO : 0, why, now); break;
    case 5: (void)tide_session_rewound(s, task, now); break;
    case 6: (void)tide_session_progress(s, task, round, arg, now); break;
    case 7: (void)tide_session_channel_end(s, task, arg >> 1 & 1, now); break;
    case 8: (void)tide_session_channels(s, task, arg >> 1 & 7); break;
    case 9: tide_session_holder(s, arg & 1, now); break;
    case 10: (void)tide_session_token(s, now, &number); break;
    default: tide_session_leave(s, why, now); break;
    }
}

static void barrier(struct tide_session *s, uint8_t arg, uint64_t now)
{
    uint8_t bytes[TIDE_BARRIER_BYTES];
    struct tide_barrier b = {.round = arg & 15,
                             .job_check = tide_job_check((const uint8_t *)"0123456789abcdef")};
    if (arg & 32) b.flags = arg & 64 ? TIDE_BARRIER_CANCEL : TIDE_BARRIER_END;
    if (arg & 128) b.job_check++;
    tide_barrier_encode(&b, bytes);
    (void)tide_session_barrier(s, 1, arg >> 4 & 1, bytes, now);
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

/* Over is over: nothing is wanted any more but that the connection be closed. */
static void check_over(struct tide_session *s, uint64_t now)
{
    struct tide_delivery d;
    tide_session_leave(s, tide_bytes_of("the end"), now);
    pump(s, now);
    /* what waits before the last word is delivered under the lease, which may end meanwhile */
    uint64_t at = tide_session_deadline(s);
    if (at != UINT64_MAX) tide_session_tick(s, at);
    must(tide_session_deadline(s) == UINT64_MAX);
    good(s, 0, 1, now);
    rounds(s, 0, 5, now);
    barrier(s, 5, now);
    tide_session_tick(s, now + 100000000);
    while (tide_session_next(s, &d)) /* what was kept for a busy program, and no more */
        must(d.type != TIDE_DO_SEND && d.type != TIDE_DO_CONNECT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    meets = size && data[0] == 255;
    asking = at_its_end = false;
    regional = size && data[0] == 253;
    parts = regional || (size && data[0] == 254);
    flies = size && data[0] == 252;
    struct tide_session *s = make();
    uint64_t now = until(s, 1, 1000);
    lazy = false;
    current = 0;
    for (size_t at = meets || parts || flies; at + 2 <= size;) {
        uint8_t which = data[at], move = which % 32, arg = data[at + 1];
        at += 2;
        if (meets && which >= 224) {
            meeting(s, which & 3u, arg, now);
            pump(s, now);
            asking = false;
            continue;
        }
        if (parts && which >= 192 && which < 224) {
            if (regional && which >= 216)
                advance(s, arg, now);
            else
                external(s, which & 3u, arg, now);
            pump(s, now);
            continue;
        }
        if (flies && which >= 192 && which < 224) {
            flight(s, which & 7u, arg, now);
            pump(s, now);
            continue;
        }
        size_t len = move <= 2 ? arg : 0;
        if (len > size - at) len = size - at;
        if (move <= 1) tide_session_frame(s, (struct tide_bytes){data + at, len}, now);
        if (move == 2) start(s, data + at, len, now);
        at += len;
        if (move == 3) good_start(s, arg, now);
        if (move >= 4 && move <= 7) good(s, move - 4u, arg % 4, now);
        if (move == 8) tide_session_disconnected(s, now);
        if (move == 9 && tide_session_finished(s, arg & 1, now) == 0) at_its_end = true;
        if (move == 10) tide_session_flush(s, now);
        if (move == 12) lazy = arg & 1;
        if (move >= 13 && move <= 15) rounds(s, move - 13u, arg, now);
        if (move >= 16 && move <= 17) others(s, arg, now);
        if (move == 18) barrier(s, arg, now);
        if (move >= 19 && move <= 30) program(s, move - 19u, arg, now);
        pump(s, now);
        if (move == 11 || move == 31) now = until(s, now, now + (uint64_t)arg * arg * 1000);
    }
    check_over(s, now);
    tide_session_free(s);
    return 0;
}

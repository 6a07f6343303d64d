/* The daemon's words of a script: each message that it can say, and Start and bytes in all the ways
 * in which they can be wrong. */
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/client/lib_script_impl.h"

uint64_t tide_host_start_time(uint32_t pid); /* client/host.c */

/* ---- bytes out */

static void put(const void *data, size_t n)
{
    const uint8_t *at = data;
    if (script.batching) {
        tide_buf_put(&script.batch, data, n);
        return;
    }
    if (!script.slow) {
        peer_raw(&script.peer, data, n);
        return;
    }
    for (size_t i = 0; i < n; i++) { /* a byte, and the worker's turn */
        peer_raw(&script.peer, at + i, 1);
        if (!script.over) (void)tide_worker_process(script.w);
    }
}

static void frame(Tide__ToWorker__MsgCase which, void *message, struct tide_buf *out)
{
    Tide__ToWorker m = TIDE__TO_WORKER__INIT;
    m.msg_case = which;
    m.welcome = message; /* any member of the union */
    tide_buf_init(out, TIDE_FRAME_MAX + TIDE_FRAME_HEADER);
    tide_frame_put(out, &m.base);
}

void script_say(Tide__ToWorker__MsgCase which, void *message)
{
    struct tide_buf out;
    frame(which, message, &out);
    put(out.data, out.len);
    tide_buf_release(&out);
}

/* ---- messages */

static void w_welcome(char **arg)
{
    Tide__Welcome m = TIDE__WELCOME__INIT;
    m.version =
        (uint32_t)script_number(arg[0], script.window || script.parts || script.flight ? 2 : 1);
    m.store_id = pb_text(arg[1][0] ? arg[1] : ID);
    m.incarnation = 1;
    m.frame_max = (uint32_t)script_number(arg[2], TIDE_FRAME_MAX);
    script_say(TIDE__TO_WORKER__MSG_WELCOME, &m);
}

static void w_joined(char **arg)
{
    Tide__Joined m = TIDE__JOINED__INIT;
    m.lease_ms = (uint32_t)script_number(arg[0], 10000);
    m.heartbeat_ms = (uint32_t)script_number(arg[1], 1000);
    m.job_id = pb_text(arg[2][0] ? arg[2] : ID);
    m.orphan_limit_ms = (uint32_t)script_number(arg[3], 1000);
    m.progress_ms = 60000;
    script_say(TIDE__TO_WORKER__MSG_JOINED, &m);
}

static void w_parked(char **arg)
{
    Tide__Parked m = TIDE__PARKED__INIT;
    Tide__Host host = TIDE__HOST__INIT;
    bool here = strcmp(arg[0], "elsewhere") != 0, gone = strcmp(arg[0], "gone") == 0;
    host.boot_id = pb_text(here ? script.boot_id : "another");
    host.pid = gone ? 4194304 : (uint32_t)getpid(); /* above every pid_max */
    host.start_time = strcmp(arg[0], "alive") == 0 ? tide_host_start_time(host.pid) : 1;
    m.holder = &host;
    m.worker = pb_text("w0");
    m.wait_ms = 1000;
    if (strcmp(arg[0], "nobody") == 0) m.holder = NULL;
    script_say(TIDE__TO_WORKER__MSG_PARKED, &m);
}

static void w_refused(char **arg)
{
    Tide__Refused m = TIDE__REFUSED__INIT;
    m.code = (Tide__RefusedCode)script_number(arg[0], 0);
    m.reason = pb_text("because");
    m.outcome = pb_text(arg[1]);
    script_say(TIDE__TO_WORKER__MSG_REFUSED, &m);
}

static void w_alive(char **arg)
{
    Tide__HeartbeatAck m = TIDE__HEARTBEAT_ACK__INIT;
    m.sequence = script_number(arg[0], 0);
    script_say(TIDE__TO_WORKER__MSG_ALIVE, &m);
}

static void w_run(char **arg)
{
    Tide__Run m = TIDE__RUN__INIT;
    m.attempt = script_number(arg[0], 1);
    script_say(TIDE__TO_WORKER__MSG_RUN, &m);
}

static void w_resumed(char **arg)
{
    Tide__Resumed m = TIDE__RESUMED__INIT;
    m.attempt = script_number(arg[0], 1);
    m.lowest_pending = script_number(arg[1], 0);
    script_say(TIDE__TO_WORKER__MSG_RESUMED, &m);
}

static void trigger_init(Tide__Trigger *m, char **arg, char *where, size_t size)
{
    tide__trigger__init(m);
    m->round = script_number(arg[0], 0);
    m->attempt = script_number(arg[1], 1);
    m->left_ms = (uint32_t)script_number(arg[2], 60000);
    m->kind = strcmp(arg[3], "savepoint") == 0 ? TIDE__ROUND_KIND__ROUND_SAVEPOINT
                                               : TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    snprintf(where, size, "%s/r%llu", script.dir, (unsigned long long)m->round);
    m->directory = pb_text(arg[4][0] && arg[4][0] != '-' ? arg[4] : where);
    if (strcmp(arg[5], "suspend") == 0) m->stop = TIDE__STOP_MODE__STOP_SUSPEND;
    if (strcmp(arg[5], "drain") == 0) m->stop = TIDE__STOP_MODE__STOP_DRAIN;
    m->full = strcmp(arg[5], "full") == 0;
}

static void w_trigger(char **arg)
{
    Tide__Trigger m;
    char where[100];
    trigger_init(&m, arg, where, sizeof where);
    script_say(TIDE__TO_WORKER__MSG_TRIGGER, &m);
}

/* prepare ROUND [LEFT_MS [ATTEMPT [DIRECTORY]]] */
static void w_prepare(char **arg)
{
    Tide__Prepare m = TIDE__PREPARE__INIT;
    char where[100];
    m.round = script_number(arg[0], 0);
    m.left_ms = (uint32_t)script_number(arg[1], 60000);
    m.attempt = script_number(arg[2], 1);
    m.kind = TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    m.window = script.window == TIDE_NO_WINDOW ? 0 : script.window;
    snprintf(where, sizeof where, "%s/r%llu", script.dir, (unsigned long long)m.round);
    m.directory = pb_text(arg[3][0] ? arg[3] : where);
    script_say(TIDE__TO_WORKER__MSG_PREPARE, &m);
}

static void w_fix(char **arg) /* fix ROUND POSITION [ATTEMPT]: Cut */
{
    Tide__Cut m = TIDE__CUT__INIT;
    m.round = script_number(arg[0], 0);
    m.position = script_number(arg[1], 0);
    m.attempt = script_number(arg[2], 1);
    script_say(TIDE__TO_WORKER__MSG_CUT, &m);
}

static void w_now(char **arg) /* now ROUND [ATTEMPT] */
{
    Tide__SnapshotNow m = TIDE__SNAPSHOT_NOW__INIT;
    m.round = script_number(arg[0], 0);
    m.attempt = script_number(arg[1], 1);
    script_say(TIDE__TO_WORKER__MSG_SNAPSHOT_NOW, &m);
}

static void w_complete(char **arg)
{
    Tide__Complete m = TIDE__COMPLETE__INIT;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    m.round = script_number(arg[0], 0);
    m.attempt = script_number(arg[1], 1);
    m.commits = strcmp(arg[2], "savepoint") != 0;
    m.lowest_pending = m.round + 1;
    range.first = (uint32_t)script_number(arg[3], 0);
    range.count = (uint32_t)script_number(arg[4], 0);
    m.ended = ranges;
    m.n_ended = arg[4][0] && arg[4][0] != '-';
    m.subsumed = script_number(arg[5], 0);
    script_say(TIDE__TO_WORKER__MSG_COMPLETE, &m);
}

static void w_abort(char **arg)
{
    Tide__Abort m = TIDE__ABORT__INIT;
    m.round = script_number(arg[0], 0);
    m.attempt = script_number(arg[1], 1);
    m.reason = pb_text("because");
    m.lowest_pending = script_number(arg[2], m.round + 1);
    script_say(TIDE__TO_WORKER__MSG_ABORT, &m);
}

/* advance FROM TO [SNAPSHOT [FIRST [COUNT [HOOK'S DATA]]]]: c[1], task 3, if nothing else is said
 */
static void w_advance(char **arg)
{
    Tide__Advance m = TIDE__ADVANCE__INIT;
    Tide__Token token = TIDE__TOKEN__INIT;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    char *hook[] = {"lock", arg[5]};
    Tide__ExternalState *states[1];
    token.store_id = pb_text(ID);
    token.job_id = pb_text(ID);
    token.attempt = script_number(arg[1], 2);
    token.incarnation = 1;
    token.external = 1000;
    m.from = script_number(arg[0], 1);
    m.token = &token;
    m.directory = pb_text(script.dir);
    m.snapshot = script_number(arg[2], 0);
    range.first = (uint32_t)script_number(arg[3], 3);
    range.count = (uint32_t)script_number(arg[4], 1);
    m.rewound = ranges;
    m.n_rewound = 1;
    if (arg[5][0]) {
        states[0] = script_gave(hook);
        m.externals = states;
        m.n_externals = 1;
    }
    script_say(TIDE__TO_WORKER__MSG_ADVANCE, &m);
}

static void w_rewind(char **arg)
{
    Tide__Rewind m = TIDE__REWIND__INIT;
    m.attempt = script_number(arg[0], 1);
    m.reason = pb_text("a worker was lost");
    script_say(TIDE__TO_WORKER__MSG_REWIND, &m);
}

static void w_fenced(char **arg)
{
    Tide__Fenced m = TIDE__FENCED__INIT;
    (void)arg;
    m.reason = pb_text("another store");
    script_say(TIDE__TO_WORKER__MSG_FENCED, &m);
}

static void w_bye(char **arg)
{
    Tide__Bye m = TIDE__BYE__INIT;
    (void)arg;
    m.reason = pb_text("restart");
    script_say(TIDE__TO_WORKER__MSG_BYE, &m);
}

static void w_stop(char **arg)
{
    Tide__Stop m = TIDE__STOP__INIT;
    m.outcome = pb_text(arg[0][0] ? arg[0] : "FINISHED");
    script_say(TIDE__TO_WORKER__MSG_STOP, &m);
}

/* ---- Start: words before it change what it says */

static Tide__Start start; /* what the next `start` says; changed by words before it */
static Tide__Token token;
static Tide__TaskRestore restore, *restores[1] = {&restore};
static Tide__Artifact artifact, *artifacts[4] = {&artifact}, added[3];
static Tide__Owed owed[2], *owes[2] = {&owed[0], &owed[1]};
static Tide__TaskRange ended, *ends[1] = {&ended}, peer_range, *peer_ranges[1] = {&peer_range};
static Tide__Peer one_peer, *one_peers[1] = {&one_peer};
static Tide__KeyGroups cut, *cuts[1] = {&cut};
static char cut_uid[8];
static char from_dir[100], path[100], inline_text[100];
static size_t part_max;
static int
    part_fault; /* 1 count, 2 digest, 3 order, 4 none is the last, 5 empty ones, 6 too long */

void script_start_init(void)
{
    tide__start__init(&start);
    tide__token__init(&token);
    tide__task_restore__init(&restore);
    tide__artifact__init(&artifact);
    tide__owed__init(&owed[0]);
    tide__owed__init(&owed[1]);
    tide__task_range__init(&ended);
    tide__task_range__init(&peer_range);
    tide__peer__init(&one_peer);
    tide__key_groups__init(&cut);
    part_max = TIDE_PART_MAX;
    part_fault = 0;
    token.store_id = token.job_id = pb_text(ID);
    token.external = 1001;
    snprintf(from_dir, sizeof from_dir, "%s/from", script.dir);
    start.token = &token;
    start.directory = pb_text(script.dir);
    start.snapshot_directory = pb_text(from_dir);
    start.lowest_pending = 1;
    restore.task = 1;
    artifacts[0] = &artifact;
    restore.artifacts = artifacts;
    restore.owed = owes;
    start.tasks = restores;
    start.ended = ends;
    start.peers = one_peers;
    start.cut = cuts;
    one_peer.tasks = peer_ranges;
}

void script_start_add(const Tide__Artifact *a)
{
    size_t n = restore.n_artifacts++;
    ck_assert_uint_lt(n, 4);
    artifacts[n] = n ? &added[n - 1] : &artifact;
    *artifacts[n] = *a;
    start.snapshot = 4;
    start.n_tasks = 1;
}

/* state PATH|inline SIZE CONTENT [task]: b restores it; its digest is that of CONTENT. */
static void w_state(char **arg)
{
    XXH128_hash_t h = XXH3_128bits(arg[2], strlen(arg[2]));
    snprintf(path, sizeof path, "%s", arg[0]);
    snprintf(inline_text, sizeof inline_text, "%s", arg[2]);
    start.snapshot = 4;
    start.n_tasks = restore.n_artifacts = 1;
    restore.task = (uint32_t)script_number(arg[3], 1);
    artifact.size = script_number(arg[1], 0);
    artifact.digest_low = h.low64;
    artifact.digest_high = h.high64;
    if (strcmp(path, "inline") == 0) {
        artifact.place_case = TIDE__ARTIFACT__PLACE_INLINE;
        artifact.inline_ = pb_text(inline_text);
    } else {
        artifact.place_case = TIDE__ARTIFACT__PLACE_PATH;
        artifact.path = pb_text(path);
    }
}

/* file NAME CONTENT: in the snapshot's directory; "dir": a directory. */
static void w_file(char **arg)
{
    char where[200];
    (void)mkdir(from_dir, 0755);
    snprintf(where, sizeof where, "%s/%s", from_dir, arg[0]);
    if (strcmp(arg[1], "dir") == 0) {
        ck_assert_int_eq(mkdir(where, 0755), 0);
        return;
    }
    FILE *f = fopen(where, "w");
    fputs(arg[1], f);
    fclose(f);
}

/* owe ROUND [ROUND]: b owes commits. */
static void w_owe(char **arg)
{
    start.n_tasks = 1;
    start.snapshot = 4;
    for (restore.n_owed = 0; restore.n_owed < 2 && arg[restore.n_owed][0]; restore.n_owed++) {
        owed[restore.n_owed].round = script_number(arg[restore.n_owed], 0);
        owed[restore.n_owed].handle = pb_text("h");
    }
}

/* gave PART DATA: an external part restores it. */
static void w_gave(char **arg)
{
    static Tide__ExternalState *states[1];
    states[0] = script_gave(arg);
    start.snapshot = 4;
    start.n_externals = 1;
    start.externals = states;
}

/* but WHAT [ARG]: Start is wrong, or special. */
static void w_but(char **arg)
{
    const char *what = arg[0];
    if (!strcmp(what, "no-token")) start.token = NULL;
    if (!strcmp(what, "no-job")) token.job_id.len = 3;
    if (!strcmp(what, "no-directory")) start.directory.len = 0;
    if (!strcmp(what, "relative")) start.directory = pb_text("relative");
    if (!strcmp(what, "no-from")) start.snapshot_directory.len = 0;
    if (!strcmp(what, "deliver")) start.deliver_only = true;
    if (!strcmp(what, "ended")) {
        start.n_ended = 1;
        ended.first = (uint32_t)script_number(arg[1], 0);
        ended.count = (uint32_t)script_number(arg[2], 1);
    }
    if (!strcmp(what, "peer")) {
        start.n_peers = one_peer.n_tasks = 1;
        peer_range.first = (uint32_t)script_number(arg[1], 0);
        peer_range.count = (uint32_t)script_number(arg[2], 1);
    }
    if (!strcmp(what, "cut")) {
        start.n_cut = 1;
        snprintf(cut_uid, sizeof cut_uid, "%s", arg[1]);
        cut.uid = pb_text(cut_uid);
        cut.max_parallelism = (uint32_t)script_number(arg[2], 0);
    }
    if (!strcmp(what, "parts")) part_max = script_number(arg[1], 20);
    if (!strcmp(what, "count")) part_fault = 1;
    if (!strcmp(what, "digest")) part_fault = 2;
    if (!strcmp(what, "order")) part_fault = 3;
    if (!strcmp(what, "endless")) part_fault = 4;
    if (!strcmp(what, "empty")) part_fault = 5;
    if (!strcmp(what, "long")) part_fault = 6;
    if (!strcmp(what, "bye")) part_fault = 7;
}

static void say_part(const uint8_t *data, size_t n, uint32_t count, XXH128_hash_t h)
{
    Tide__Part p = TIDE__PART__INIT;
    p.data = (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)data};
    p.count = count;
    if (count) {
        p.digest_low = h.low64;
        p.digest_high = h.high64 ^ (part_fault == 2);
    }
    script_say(TIDE__TO_WORKER__MSG_START, &p);
}

/* start ATTEMPT */
static void w_start(char **arg)
{
    char *none[ARGS] = {"", "", "", "", "", "", "", ""};
    token.attempt = script_number(arg[0], 1);
    size_t len = tide__start__get_packed_size(&start), at = 0;
    uint8_t *packed = calloc(len + TIDE_PART_MAX + 2, 1);
    tide__start__pack(&start, packed);
    XXH128_hash_t h = XXH3_128bits(packed, len);
    if (part_fault == 5) say_part(packed, 0, 0, h);
    if (part_fault == 6) say_part(packed, TIDE_PART_MAX + 1, 1, h);
    if (part_fault == 3 && len > part_max) /* the second one first */
        say_part(packed + part_max, len - part_max, 0, h);
    for (uint32_t n = 1; part_fault < 5 || part_fault == 7; n++) {
        size_t part = len - at < part_max ? len - at : part_max;
        bool last = at + part == len && part_fault != 4;
        say_part(packed + at, part, last ? n + (part_fault == 1) + (part_fault == 3) : 0, h);
        at += part;
        if (part_fault == 7 && !last) w_bye(none); /* other messages may stand between them */
        if (last || at == len) break;
    }
    free(packed);
    script_start_init();
}

/* ---- bytes */

static void w_raw(char **arg)
{
    put(arg[0], strlen(arg[0]));
}

static void w_hex(char **arg) /* hex BYTES: as they are; frame BYTES: with their length in front */
{
    uint8_t bytes[256];
    size_t n = 0;
    for (const char *at = arg[0]; at[0] && at[1]; at += 2) {
        char two[3] = {at[0], at[1], '\0'};
        bytes[n++] = (uint8_t)strtoul(two, NULL, 16);
    }
    put(bytes, n);
}

static void w_frame(char **arg)
{
    uint8_t head[TIDE_FRAME_HEADER];
    tide_set_u32(head, (uint32_t)(strlen(arg[0]) / 2));
    put(head, sizeof head);
    w_hex(arg);
}

static void w_length(char **arg)
{
    uint8_t head[TIDE_FRAME_HEADER];
    tide_set_u32(head, (uint32_t)script_number(arg[0], 0));
    put(head, sizeof head);
}

/* large N: Bye with an unknown field of N bytes. many N: Complete with N ranges. */
static void w_large(char **arg)
{
    size_t n = script_number(arg[0], 0);
    struct tide_buf out;
    tide_buf_init(&out, (size_t)32 << 20);
    struct tide_buf in;
    tide_buf_init(&in, (size_t)32 << 20);
    tide_buf_put_varint(&in, 99 << 3 | 2);
    tide_buf_put_varint(&in, n);
    for (size_t i = 0; i < n; i++)
        tide_buf_put_u8(&in, 'x');
    struct tide_buf body;
    tide_buf_init(&body, (size_t)32 << 20);
    tide_buf_put_varint(&body, TIDE__TO_WORKER__MSG_BYE << 3 | 2);
    tide_buf_put_varint(&body, in.len);
    tide_buf_put(&body, in.data, in.len);
    tide_buf_put_u32(&out, (uint32_t)body.len);
    tide_buf_put(&out, body.data, body.len);
    ck_assert_int_eq(out.rc, 0);
    while (out.len) { /* the worker's turns between: the kernel holds only so much */
        size_t part = out.len < 65536 ? out.len : 65536;
        put(out.data, part);
        memmove(out.data, out.data + part, out.len - part);
        out.len -= part;
        (void)tide_worker_process(script.w);
    }
    tide_buf_release(&in);
    tide_buf_release(&body);
    tide_buf_release(&out);
}

static void w_many(char **arg)
{
    Tide__Complete m = TIDE__COMPLETE__INIT;
    size_t n = script_number(arg[0], 0);
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT;
    Tide__TaskRange **ranges = calloc(n, sizeof *ranges);
    for (size_t i = 0; i < n; i++)
        ranges[i] = &range;
    m.attempt = 1;
    m.round = 5;
    m.ended = ranges;
    m.n_ended = n;
    script_say(TIDE__TO_WORKER__MSG_COMPLETE, &m);
    free(ranges);
}

/* bite N ROUND: the first N bytes of a Trigger's frame, then the connection is closed. */
static void w_bite(char **arg)
{
    Tide__Trigger m;
    struct tide_buf out;
    char where[100];
    trigger_init(&m, arg + 1, where, sizeof where);
    frame(TIDE__TO_WORKER__MSG_TRIGGER, &m, &out);
    size_t n = script_number(arg[0], 0);
    put(out.data, n < out.len ? n : out.len);
    script_settle();
    peer_cut(&script.peer);
    script.was_up = script.greeted = script.said_hello = false;
    tide_buf_release(&out);
}

static void w_batch(char **arg)
{
    (void)arg;
    script.batching = true;
    tide_buf_init(&script.batch, TIDE_FRAME_MAX);
}

static void w_send(char **arg)
{
    (void)arg;
    script.batching = false;
    put(script.batch.data, script.batch.len);
    tide_buf_release(&script.batch);
}

/* loris MS: a frame of 1,000 bytes, a byte each MS, until the worker has had enough. */
static void w_loris(char **arg)
{
    uint8_t head[TIDE_FRAME_HEADER];
    unsigned before = script.peer.connections;
    uint64_t end = script_now_ms() + 20000;
    tide_set_u32(head, 1000);
    put(head, sizeof head);
    script.mute = true; /* an answer would stand in the middle of the frame */
    while (script.peer.connections == before && script.peer.fd >= 0 && script_now_ms() < end) {
        struct timespec t = {0, (long)script_number(arg[0], 20) * 1000000};
        put("\n", 1);
        nanosleep(&t, NULL);
        script_turn(0);
    }
    script.mute = false;
}

static void w_cut(char **arg)
{
    (void)arg;
    peer_cut(&script.peer);
    script.was_up = script.greeted = script.said_hello = false;
}

static void w_deaf(char **arg)
{
    script.peer.deaf = arg[0][0] == '\0';
}

static void w_mute(char **arg)
{
    script.mute = arg[0][0] == '\0';
}

static void w_slow(char **arg)
{
    (void)arg;
    script.slow = true;
}

const struct word daemon_words[] = {
    {"welcome", w_welcome}, {"joined", w_joined},   {"parked", w_parked},
    {"refused", w_refused}, {"alive", w_alive},     {"start", w_start},
    {"state", w_state},     {"file", w_file},       {"owe", w_owe},
    {"but", w_but},         {"gave", w_gave},       {"run", w_run},
    {"resumed", w_resumed}, {"trigger", w_trigger}, {"complete", w_complete},
    {"abort", w_abort},     {"rewind", w_rewind},   {"fenced", w_fenced},
    {"advance", w_advance}, {"bye", w_bye},         {"stop", w_stop},
    {"raw", w_raw},         {"hex", w_hex},         {"frame", w_frame},
    {"length", w_length},   {"large", w_large},     {"many", w_many},
    {"bite", w_bite},       {"batch", w_batch},     {"send", w_send},
    {"loris", w_loris},     {"prepare", w_prepare}, {"fix", w_fix},
    {"now", w_now},         {"cut", w_cut},         {"deaf", w_deaf},
    {"mute", w_mute},       {"slow", w_slow},       {NULL, NULL},
};

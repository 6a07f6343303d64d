/* A coordinator and a hook, while each allocation under the library fails in turn. Whatever fails,
 * what is acked is a cut: the coordinator's bytes count the events that the subtasks know of. What
 * comes back is what was given, a round that cannot be taken is said to be so, nothing leaks, and
 * the same life is lived to its end.
 *
 * Everything is on one thread, so the n-th call is the same one each time. */
#include <stdio.h>
#include <xxhash.h>

#include "client/tidemark.h"
#include "tests/client/lib_peer.h"
#include "tests/client/lib_run.h"

/* ---- faults: the one numbered fail_at, of those counted while armed (--wrap, see the Makefile) */

static bool armed, hit;
static long calls, fail_at; /* 0: none */

static bool fault(void)
{
    if (!armed || ++calls != fail_at) return false;
    return hit = true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
    return fault() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fault() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fault() ? NULL : __real_realloc(p, n);
}

/* ---- the program: a coordinator that counts what it sends, subtasks that count what they get */

#define SUBTASKS 2u

static struct tide_worker *worker;
static struct tide_coordinator *coordinator;
static uint64_t sent, got[SUBTASKS], to_confirm;
static bool may_send;
static unsigned closed, stopped, brought_back, resets;
static char broken[200]; /* a promise that was broken */

static void breaks(const char *what)
{
    if (!broken[0]) snprintf(broken, sizeof broken, "%s", what);
}

static int on_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    struct tide_state_reader *reader = NULL;
    uint64_t *to = user;
    size_t n = 0;
    (void)t;
    *to = 0;
    if (!r->n_states) return 0;
    int rc = tide_state_open(r, &r->states[0], &reader);
    if (!rc) rc = tide_state_read(reader, to, sizeof *to, &n);
    tide_state_close(reader);
    return rc || n == sizeof *to ? rc : TIDE_ECORRUPT;
}

static int on_task_snapshot(struct tide_task *t, struct tide_snapshot *s, void *user)
{
    (void)t;
    return tide_snapshot_write(s, user, sizeof(uint64_t));
}

static int on_begin(struct tide_coordinator *c, uint64_t snapshot, const void *data, size_t n,
                    void *user)
{
    (void)c, (void)snapshot, (void)user;
    sent = 0;
    brought_back += data != NULL;
    if (data && n != sizeof sent) breaks("another length comes back");
    if (data && n == sizeof sent) memcpy(&sent, data, n);
    return 0;
}

static void on_run(struct tide_coordinator *c, void *user)
{
    (void)c, (void)user;
    if (got[0] + got[1] != sent) breaks("what was restored is no cut");
    may_send = true;
}

static int on_event(struct tide_coordinator *c, uint32_t subtask, uint64_t event, const void *data,
                    size_t n, void *user)
{
    (void)c, (void)user;
    if (n != 5 || memcmp(data, "split", 5) != 0) breaks("another event");
    got[subtask]++;
    if (event % 3 || to_confirm) return 0;
    to_confirm = event;
    return TIDE_EAGAIN;
}

static int on_ask(struct tide_coordinator *c, uint64_t round, void *user)
{
    (void)user;
    return tide_coordinator_snapshot(c, round, &sent, sizeof sent);
}

static void on_rewind(struct tide_coordinator *c, const char *reason, void *user)
{
    (void)c, (void)reason, (void)user;
    may_send = false;
    to_confirm = 0;
}

static void on_stop(struct tide_coordinator *c, const char *outcome, void *user)
{
    (void)c, (void)outcome, (void)user;
    stopped++;
}

static int on_trigger(struct tide_hook *h, uint64_t round, void *user)
{
    (void)round, (void)user;
    return tide_hook_data(h, "tag", 3);
}

static int on_back(struct tide_hook *h, uint64_t snapshot, const void *data, size_t n, void *user)
{
    (void)h, (void)snapshot, (void)user;
    if (n != 3 || memcmp(data, "tag", 3) != 0) breaks("other bytes come back to the hook");
    return 0;
}

static int on_reset(struct tide_hook *h, void *user)
{
    (void)h, (void)user;
    resets++;
    return 0;
}

static void on_close(struct tide_hook *h, void *user)
{
    (void)h, (void)user;
    closed++;
}

static const struct tide_callbacks task_calls = {.restore = on_restore,
                                                 .snapshot = on_task_snapshot};
static const struct tide_coordinator_callbacks coordinator_calls = {.restore = on_begin,
                                                                    .run = on_run,
                                                                    .event = on_event,
                                                                    .snapshot = on_ask,
                                                                    .rewind = on_rewind,
                                                                    .stop = on_stop};
static const struct tide_hook_callbacks hook_calls = {
    .trigger = on_trigger, .restore = on_back, .reset = on_reset, .close = on_close};

static int make_worker(const char *address)
{
    struct tide_spec *spec = NULL;
    struct tide_checkpointing every = {.interval_ms = 1000};
    char why[256];
    int rc = tide_spec_new("job", &spec);
    if (rc) return rc;
    (void)tide_spec_operator(spec, "a", SUBTASKS, 0);
    (void)tide_spec_coordinator(spec, "a");
    (void)tide_spec_hook(spec, "lock");
    (void)tide_spec_checkpointing(spec, &every);
    struct tide_worker_config c = {
        .spec = spec, .address = address, .name = "w1", .no_helper_thread = true};
    rc = tide_worker_new(&c, &worker, why);
    if (rc && !why[0]) breaks("no reason was given");
    tide_spec_free(spec);
    for (uint32_t i = 0; !rc && i < SUBTASKS; i++) {
        struct tide_task *task;
        rc = tide_worker_add_task(worker, "a", i, 0, &task_calls, &got[i], &task);
    }
    if (!rc) rc = tide_worker_add_coordinator(worker, "a", &coordinator_calls, NULL, &coordinator);
    if (!rc) rc = tide_worker_add_hook(worker, "lock", &hook_calls, NULL, NULL);
    return rc;
}

/* ---- the daemon: enough of one */

static struct peer peer;
static uint64_t attempt, round_, next_round, completed; /* round_ 0: none is open */
static uint64_t kept, kept_got[SUBTASKS];               /* of the completed round */
static uint64_t given, acked_got[SUBTASKS];             /* of the open one */
static bool running, restored, part_restored[2], answered[2], acked[SUBTASKS], rewound_once;
static unsigned declines, failures;

#define SAY(Type, type, WHICH, ...)                                                                \
    do {                                                                                           \
        Tide__##Type m_;                                                                           \
        tide__##type##__init(&m_);                                                                 \
        Tide__##Type *m = &m_;                                                                     \
        __VA_ARGS__;                                                                               \
        peer_say(&peer, TIDE__TO_WORKER__MSG_##WHICH, m);                                          \
    } while (0)

static void name_part(Tide__External *e, bool hook)
{
    tide__external__init(e);
    e->kind = hook ? TIDE__EXTERNAL_KIND__EXTERNAL_HOOK : TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR;
    e->name = pb_text(hook ? "lock" : "a");
}

static void ask(bool hook)
{
    Tide__External e;
    name_part(&e, hook);
    SAY(AskExternal, ask_external, ASK_EXTERNAL, m->attempt = attempt, m->round = round_,
        m->external = &e, m->phase = TIDE__EXTERNAL_PHASE__EXTERNAL_SNAPSHOT, m->left_ms = 60000);
}

static void trigger(void)
{
    SAY(Trigger, trigger, TRIGGER, m->attempt = attempt, m->round = round_,
        m->kind = TIDE__ROUND_KIND__ROUND_CHECKPOINT, m->left_ms = 60000,
        m->directory = pb_text("/nowhere/r"), m->lowest_pending = round_);
}

static void begin(void)
{
    round_ = next_round++;
    memset(answered, 0, sizeof answered);
    memset(acked, 0, sizeof acked);
    ask(false);
}

static void rewind_all(const char *reason)
{
    SAY(Rewind, rewind, REWIND, m->attempt = attempt, m->reason = pb_text(reason));
}

static void start(void)
{
    Tide__Start m = TIDE__START__INIT;
    Tide__Token token = TIDE__TOKEN__INIT;
    Tide__Peer one = TIDE__PEER__INIT, *peers[1] = {&one};
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    Tide__TaskRestore restore[SUBTASKS], *restores[SUBTASKS];
    Tide__Artifact all[SUBTASKS], *lists[SUBTASKS];
    Tide__External names[2];
    Tide__ExternalState states[2], *externals[2];
    attempt++;
    if (completed) rewound_once = true; /* by a fault, before the confirmation came */
    running = restored = false;
    round_ = 0;
    memset(part_restored, 0, sizeof part_restored);
    token.store_id = token.job_id = pb_text("0123456789abcdef");
    token.attempt = token.external = attempt;
    range.count = SUBTASKS;
    one.n_tasks = 1;
    one.tasks = ranges;
    m.token = &token;
    m.directory = pb_text("/nowhere");
    m.n_peers = 1;
    m.peers = peers;
    m.lowest_pending = next_round;
    for (uint32_t i = 0; i < SUBTASKS; i++) {
        XXH128_hash_t h = XXH3_128bits(&kept_got[i], sizeof kept_got[i]);
        lists[i] = &all[i];
        tide__artifact__init(lists[i]);
        all[i].place_case = TIDE__ARTIFACT__PLACE_INLINE;
        all[i].inline_ = (ProtobufCBinaryData){sizeof kept_got[i], (uint8_t *)&kept_got[i]};
        all[i].size = sizeof kept_got[i];
        all[i].digest_low = h.low64;
        all[i].digest_high = h.high64;
        restores[i] = &restore[i];
        tide__task_restore__init(restores[i]);
        restore[i].task = i;
        restore[i].artifacts = &lists[i];
        restore[i].n_artifacts = 1;
    }
    for (int i = 0; i < 2; i++) {
        externals[i] = &states[i];
        tide__external_state__init(externals[i]);
        name_part(&names[i], i == 1);
        states[i].external = &names[i];
        states[i].data = i ? pb_text("tag") : (ProtobufCBinaryData){sizeof kept, (uint8_t *)&kept};
    }
    if (completed) {
        m.snapshot = completed;
        m.snapshot_directory = pb_text("/nowhere/r");
        m.tasks = restores;
        m.n_tasks = SUBTASKS;
        m.externals = externals;
        m.n_externals = 2;
    }
    peer_start(&peer, &m);
}

static void on_join(const Tide__Join *j)
{
    if (j->n_externals != 2) breaks("Join does not name the parts");
    SAY(Joined, joined, JOINED, m->job_id = pb_text("0123456789abcdef"), m->lease_ms = 10000,
        m->heartbeat_ms = 1000, m->orphan_limit_ms = 1000, m->progress_ms = 1000);
    if (j->token)
        SAY(Rewind, rewind, REWIND, m->attempt = j->token->attempt, m->reason = pb_text("go"));
    else
        start();
}

static void again(void) /* the round came to nothing */
{
    SAY(Abort, abort, ABORT, m->attempt = attempt, m->round = round_, m->reason = pb_text("failed"),
        m->lowest_pending = round_ + 1);
    begin();
}

static void on_answer(const Tide__ExternalAnswer *a)
{
    bool hook = a->state->external->kind == TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
    if (a->attempt != attempt) return;
    if (a->failed.len && !a->round) {
        failures++;
        round_ = 0;
        rewind_all("a part failed");
    } else if (!a->round) {
        part_restored[hook] = true;
    } else if (a->round == round_ && a->failed.len) {
        declines++;
        again();
    } else if (a->round == round_ && !answered[hook]) {
        answered[hook] = true;
        if (hook && (a->state->data.len != 3 || memcmp(a->state->data.data, "tag", 3) != 0))
            breaks("the hook's bytes are others");
        if (!hook && a->state->data.len == sizeof given)
            memcpy(&given, a->state->data.data, sizeof given);
        else if (!hook)
            breaks("the coordinator's bytes are others");
        if (hook)
            trigger();
        else
            ask(true);
    }
}

static void all_acked(void)
{
    if (acked_got[0] + acked_got[1] != given) breaks("what was acked is no cut");
    completed = round_;
    round_ = 0;
    kept = given;
    memcpy(kept_got, acked_got, sizeof kept_got);
    SAY(Complete, complete, COMPLETE, m->attempt = attempt, m->round = completed, m->commits = true,
        m->lowest_pending = next_round);
}

static void release(uint32_t task)
{
    Tide__External e;
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    name_part(&e, false);
    range.first = task;
    range.count = 1;
    SAY(AskExternal, ask_external, ASK_EXTERNAL, m->attempt = attempt, m->round = round_,
        m->external = &e, m->phase = TIDE__EXTERNAL_PHASE__EXTERNAL_RELEASE, m->n_tasks = 1,
        m->tasks = ranges);
}

static void on_acks(struct tide_bytes body)
{
    struct tide_acks r;
    struct tide_ack_view v;
    char why[160];
    ck_assert_msg(tide_acks_open(&r, body, why) == 0, "%s", why);
    if (!round_ || r.attempt != attempt || r.round != round_) return;
    while (tide_acks_next(&r, &v)) {
        struct tide_artifact_place place = {0};
        struct tide_artifact_view a;
        acked[v.task] = true;
        if (v.artifacts != 1 || !tide_acks_artifact(&v, &place, &a) ||
            a.inlined.len != sizeof acked_got[0])
            breaks("an ack with less than was written");
        else
            memcpy(&acked_got[v.task], a.inlined.data, sizeof acked_got[0]);
        release(v.task);
    }
    if (acked[0] && acked[1]) all_acked();
}

/* The life: a round; a rewind and a restore from it; another round; the end. */
static void go_on(uint64_t round)
{
    if (round != completed) return;
    if (!rewound_once) {
        rewound_once = true;
        rewind_all("once");
    } else {
        SAY(Stop, stop, STOP, m->outcome = pb_text("FINISHED"));
    }
}

static void hear(struct heard *h)
{
    switch (h->what) {
    case TIDE__FROM_WORKER__MSG_HELLO:
        SAY(Welcome, welcome, WELCOME, m->version = 2, m->store_id = pb_text("0123456789abcdef"));
        break;
    case TIDE__FROM_WORKER__MSG_JOIN: on_join(h->join); break;
    case TIDE__FROM_WORKER__MSG_HEARTBEAT:
        SAY(HeartbeatAck, heartbeat_ack, ALIVE, m->sequence = h->m->heartbeat->sequence);
        break;
    case TIDE__FROM_WORKER__MSG_RESTORED: restored |= h->m->restored->attempt == attempt; break;
    case TIDE__FROM_WORKER__MSG_RESTORE_FAILED:
        failures++;
        rewind_all("restore failed");
        break;
    case TIDE__FROM_WORKER__MSG_EXTERNAL: on_answer(h->m->external); break;
    case TIDE__FROM_WORKER__MSG_ACK: on_acks(h->ack); break;
    case TIDE__FROM_WORKER__MSG_DECLINE:
        if (h->m->decline->attempt != attempt || h->m->decline->round != round_) break;
        declines++;
        again();
        break;
    case TIDE__FROM_WORKER__MSG_CONFIRM: go_on(h->m->confirm->round); break;
    default: break;
    }
    if (running || !restored || !part_restored[0] || !part_restored[1]) return;
    running = true;
    SAY(Run, run, RUN, m->attempt = attempt);
}

/* ---- one life */

static void forget(void)
{
    attempt = round_ = completed = sent = to_confirm = given = kept = 0;
    next_round = 5;
    declines = failures = closed = stopped = brought_back = resets = 0;
    running = restored = rewound_once = may_send = hit = false;
    memset(got, 0, sizeof got);
    broken[0] = '\0';
}

static int turn(unsigned i)
{
    struct heard h;
    armed = true;
    int rc = tide_worker_wait(worker, 1);
    if (!rc && may_send && tide_coordinator_event(coordinator, i % SUBTASKS, "split", 5) == 0)
        sent++;
    if (!rc && to_confirm && i % 4 == 0) {
        (void)tide_coordinator_confirm(coordinator, to_confirm, 0);
        to_confirm = 0;
    }
    armed = false;
    while (peer_next(&peer, &h)) {
        hear(&h);
        heard_free(&h);
    }
    if (running && may_send && !round_ && sent > 3 && (!completed || rewound_once)) begin();
    return rc;
}

/* The worker's life with fault k, and again after the handle died of it. How often it died. */
static unsigned live(long k)
{
    unsigned deaths = 0;
    int rc;
    forget();
    peer_open(&peer);
    calls = 0;
    fail_at = k;
    for (;;) {
        armed = true;
        rc = make_worker(peer.address);
        armed = false;
        for (unsigned i = 0; !rc && i < 8000; i++)
            rc = turn(i);
        if (rc != TIDE_ENOMEM || deaths) break;
        deaths++;
        tide_worker_free(worker);
        worker = NULL;
        may_send = running = false;
        to_confirm = round_ = 0;
        stopped = closed = 0;
    }
    ck_assert_msg(!broken[0], "call %ld: %s", k, broken);
    ck_assert_msg(rc == TIDE_EENDED, "call %ld: the end was not reached but %d (%s)", k, rc,
                  worker ? tide_worker_error(worker) : "");
    ck_assert_uint_eq(stopped, 1);
    ck_assert_uint_ge(brought_back, 1);
    armed = true;
    tide_worker_free(worker);
    armed = false;
    ck_assert_uint_eq(closed, 1);
    worker = NULL;
    peer_close(&peer);
    return deaths;
}

START_TEST(a_life_without_faults)
{
    ck_assert_uint_eq(live(0), 0);
    ck_assert_uint_eq(declines + failures, 0);
    ck_assert_uint_eq(brought_back, 1);
    ck_assert_uint_eq(resets, 1);
    ck_assert_int_gt(calls, 40); /* or the linker did not do its part */
}
END_TEST

START_TEST(each_allocation_fails_in_turn)
{
    long k = 0;
    unsigned died = 0, declined = 0, failed = 0;
    do {
        died += live(++k);
        declined += declines != 0;
        failed += failures != 0;
    } while (hit);
    printf("%ld allocations failed in turn: %u handles died, %u rounds and %u restores failed\n",
           k - 1, died, declined, failed);
    ck_assert_int_gt(k, 40);
    ck_assert_uint_gt(died, 5);
    ck_assert_uint_gt(declined, 1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_life_without_faults, each_allocation_fails_in_turn};
    Suite *suite = suite_create("client faults of parts");
    TCase *tc = tcase_create("faults");
    tcase_set_timeout(tc, 60);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}

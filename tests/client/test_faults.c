/* Whatever fails under the library, at whatever moment: it says so and the job goes on. Each
 * allocation of a worker's whole life fails in turn, then each file operation, with the errors that
 * disks have. An ack never speaks of bytes that are not there; nothing leaks; and after the one
 * fault the same life is lived to its end.
 *
 * The faults are put in by the linker (--wrap, see the Makefile), so that sanitizers and valgrind
 * see the real calls behind them. Everything is on one thread, so the n-th call is the same one
 * each time. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "client/tidemark.h"
#include "tests/client/lib_peer.h"
#include "tests/client/lib_run.h"

#define BIG 1300000u
#define FEW 6u /* small artifacts of the sink */

/* ---- faults: the one numbered fail_at, of those counted while armed */

enum kind { ALLOCATIONS, FILES };
static enum kind kind;
static bool armed;
static long calls, fail_at;                        /* 0: none */
static int fail_as;                                /* errno */
static char hit[200];                              /* which call it was */
static bool watched[1024];                         /* descriptors of state files and directories */
static char dir[] = "/tmp/tidemark-faults-XXXXXX"; /* made by setup */

static bool fault(enum kind of, const char *what)
{
    if (!armed || of != kind || ++calls != fail_at) return false;
    snprintf(hit, sizeof hit, "%s", what);
    errno = of == ALLOCATIONS ? ENOMEM : fail_as;
    return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
int __real_open(const char *path, int flags, ...);
int __real_openat(int at, const char *path, int flags, ...);
int __real_mkdir(const char *path, mode_t mode);
ssize_t __real_write(int fd, const void *data, size_t n);
ssize_t __real_read(int fd, void *data, size_t n);
int __real_fsync(int fd);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_open(const char *path, int flags, ...);
int __wrap_openat(int at, const char *path, int flags, ...);
int __wrap_mkdir(const char *path, mode_t mode);
ssize_t __wrap_write(int fd, const void *data, size_t n);
ssize_t __wrap_read(int fd, void *data, size_t n);
int __wrap_fsync(int fd);

void *__wrap_malloc(size_t n)
{
    return fault(ALLOCATIONS, "malloc") ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fault(ALLOCATIONS, "calloc") ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fault(ALLOCATIONS, "realloc") ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
    return fault(ALLOCATIONS, "strdup") ? NULL : __real_strdup(s);
}

static int watch(int fd)
{
    if (fd >= 0 && fd < (int)(sizeof watched / sizeof *watched)) watched[fd] = armed;
    return fd;
}

static bool is_watched(int fd)
{
    return fd >= 0 && fd < (int)(sizeof watched / sizeof *watched) && watched[fd];
}

int __wrap_open(const char *path, int flags, ...)
{
    bool ours = strncmp(path, dir, sizeof dir - 1) == 0 && !strstr(path, "secret");
    if (ours && fault(FILES, "open")) return -1;
    int fd = __real_open(path, flags, 0);
    return ours ? watch(fd) : fd;
}

int __wrap_openat(int at, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fault(FILES, "openat") ? -1 : watch(__real_openat(at, path, flags, mode));
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return fault(FILES, "mkdir") ? -1 : __real_mkdir(path, mode);
}

ssize_t __wrap_write(int fd, const void *data, size_t n)
{
    if (!is_watched(fd)) return __real_write(fd, data, n);
    if (fault(FILES, "write")) return -1;
    return __real_write(fd, data, n > 1000 ? n / 2 : n); /* and disks may take less than is given */
}

ssize_t __wrap_read(int fd, void *data, size_t n)
{
    return is_watched(fd) && fault(FILES, "read") ? -1 : __real_read(fd, data, n);
}

int __wrap_fsync(int fd)
{
    return fault(FILES, "fsync") ? -1 : __real_fsync(fd);
}

/* ---- the program */

static uint8_t big[BIG], seen[BIG + 1];
static char endpoint[4097]; /* so long that it needs an allocation of its own */
static struct tide_worker *worker;
static struct tide_task *source, *sink;
static uint64_t to_trigger; /* the source answered EAGAIN for this round */
static unsigned restored_from, commits, handles, ends;
static bool commit_fails;
static char broken[200]; /* a promise that was broken */

static void breaks(const char *what)
{
    if (!broken[0]) snprintf(broken, sizeof broken, "%s", what);
}

static int read_state(const struct tide_restore *r, uint32_t i)
{
    struct tide_state_reader *reader;
    const struct tide_state *s = &r->states[i];
    size_t n, have = 0;
    int rc = tide_state_open(r, s, &reader);
    if (rc) return rc;
    while (!(rc = tide_state_read(reader, seen + have, 400000, &n)) && n)
        have += n;
    tide_state_close(reader);
    if (rc) return rc;
    bool same = strcmp(s->name, "big") == 0 ? have == BIG && memcmp(seen, big, BIG) == 0
                                            : have == 5 && memcmp(seen, "small", 5) == 0;
    if (!same) breaks("what was restored is not what was acked");
    return 0;
}

static int on_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    (void)user;
    if (r->snapshot && t == sink && r->n_states != FEW + 1) breaks("states are missing");
    for (uint32_t i = 0; i < r->n_states; i++) {
        int rc = read_state(r, i);
        if (rc) return rc;
    }
    if (t == sink) restored_from = (unsigned)r->snapshot;
    return 0;
}

static int on_trigger(struct tide_task *t, uint64_t round, void *user)
{
    (void)t, (void)user;
    to_trigger = round;
    return TIDE_EAGAIN;
}

static void on_forward(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE], void *user)
{
    (void)user;
    if (t == source) (void)tide_task_barrier(sink, 0, barrier);
}

static int on_snapshot(struct tide_task *t, struct tide_snapshot *s, void *user)
{
    (void)user;
    if (t == source) return 0;
    for (unsigned i = 0; i < FEW; i++) {
        (void)tide_snapshot_artifact(s, "small", i, 1);
        (void)tide_snapshot_write(s, "small", 5);
    }
    (void)tide_snapshot_artifact(s, "big", 0, 0);
    for (size_t at = 0; at < BIG; at += 500000)
        (void)tide_snapshot_write(s, big + at, BIG - at < 500000 ? BIG - at : 500000);
    return tide_snapshot_handle(s, "publish", 7);
}

static int on_complete(struct tide_task *t, uint64_t round, const void *handle, size_t len,
                       void *user)
{
    (void)round, (void)user;
    if (handle && (len != 7 || memcmp(handle, "publish", 7) != 0)) breaks("another handle");
    if (t != sink) return 0;
    if (commit_fails) { /* it has to come again */
        commit_fails = false;
        tide_task_fail_reason(t, "not now");
        return TIDE_EIO;
    }
    commits++;
    handles += handle != NULL;
    return 0;
}

static void on_ended(struct tide_task *t, void *user)
{
    (void)t, (void)user;
    ends++;
}

static const struct tide_callbacks callbacks = {.restore = on_restore,
                                                .trigger = on_trigger,
                                                .forward = on_forward,
                                                .snapshot = on_snapshot,
                                                .complete = on_complete,
                                                .ended = on_ended};

static int make_worker(const char *address)
{
    struct tide_spec *spec = NULL;
    struct tide_checkpointing every = {.interval_ms = 1000};
    char why[256], secret[64];
    snprintf(secret, sizeof secret, "%s/secret", dir);
    int rc = tide_spec_new("job", &spec);
    if (rc) return rc;
    (void)tide_spec_operator(spec, "a", 1, 0);
    (void)tide_spec_operator(spec, "b", 1, 0);
    (void)tide_spec_edge(spec, "a", "b", TIDE_ALL_TO_ALL);
    (void)tide_spec_checkpointing(spec, &every);
    struct tide_worker_config c = {.spec = spec,
                                   .address = address,
                                   .secret_file = secret,
                                   .name = "w1",
                                   .endpoint = endpoint,
                                   .inline_max = 64,
                                   .no_helper_thread = true};
    rc = tide_worker_new(&c, &worker, why);
    if (rc && !why[0]) breaks("no reason was given");
    tide_spec_free(spec);
    if (!rc) rc = tide_worker_add_task(worker, "b", 0, 1, &callbacks, "b", &sink);
    if (!rc) rc = tide_worker_add_task(worker, "a", 0, 0, &callbacks, "a", &source);
    return rc;
}

/* ---- the daemon: enough of one to lead the worker through its life, whatever it answers */

static struct peer peer;
static uint64_t attempt, round_, next_round, completed; /* round_ 0: none is open */
static bool running, acked[2], confirmed[2], finished[2], rewound_once;
static struct {
    uint64_t size, low, high;
    bool is_inline;
} kept[FEW + 1], acks_[FEW + 1]; /* the sink's artifacts: of the completed round, of the open one */
static unsigned declines, failures;
static char last_reason[600];

#define SAY(Type, type, WHICH, ...)                                                                \
    do {                                                                                           \
        Tide__##Type m_;                                                                           \
        tide__##type##__init(&m_);                                                                 \
        Tide__##Type *m = &m_;                                                                     \
        __VA_ARGS__;                                                                               \
        peer_say(&peer, TIDE__TO_WORKER__MSG_##WHICH, m);                                          \
    } while (0)

static void directory_of(uint64_t round, char *ret, size_t size)
{
    snprintf(ret, size, "%s/r%llu", dir, (unsigned long long)round);
}

static void trigger(bool anew)
{
    char where[100];
    if (anew) {
        round_ = next_round++;
        memset(acked, 0, sizeof acked);
    }
    directory_of(round_, where, sizeof where);
    SAY(Trigger, trigger, TRIGGER, m->attempt = attempt, m->round = round_,
        m->kind = TIDE__ROUND_KIND__ROUND_CHECKPOINT, m->left_ms = 60000,
        m->directory = pb_text(where), m->lowest_pending = round_);
}

static void start(void)
{
    Tide__Start m = TIDE__START__INIT;
    Tide__Token token = TIDE__TOKEN__INIT;
    Tide__Peer one = TIDE__PEER__INIT, *peers[1] = {&one};
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    Tide__TaskRestore restore = TIDE__TASK_RESTORE__INIT, *restores[1] = {&restore};
    Tide__Artifact all[FEW + 1], *list[FEW + 1];
    Tide__Owed owed = TIDE__OWED__INIT, *owes[1] = {&owed};
    char from[100];
    directory_of(completed, from, sizeof from);
    attempt++;
    running = false;
    round_ = 0;
    ends = 0;
    memset(finished, 0, sizeof finished);
    token.store_id = token.job_id = pb_text("0123456789abcdef");
    token.attempt = attempt;
    token.external = attempt;
    range.count = 2;
    one.endpoint = pb_text(endpoint);
    one.n_tasks = 1;
    one.tasks = ranges;
    m.token = &token;
    m.directory = pb_text(dir);
    m.n_peers = 1;
    m.peers = peers;
    m.lowest_pending = next_round;
    for (unsigned i = 0; i <= FEW; i++) {
        list[i] = &all[i];
        tide__artifact__init(list[i]);
        list[i]->name = pb_text(i == FEW ? "big" : "small");
        list[i]->place_case =
            kept[i].is_inline ? TIDE__ARTIFACT__PLACE_INLINE : TIDE__ARTIFACT__PLACE_PATH;
        if (kept[i].is_inline)
            list[i]->inline_ = pb_text("small");
        else
            list[i]->path = pb_text("t1-6");
        list[i]->size = kept[i].size;
        list[i]->digest_low = kept[i].low;
        list[i]->digest_high = kept[i].high;
    }
    restore.task = 1;
    restore.artifacts = list;
    restore.n_artifacts = FEW + 1;
    owed.round = completed;
    owed.handle = pb_text("publish");
    restore.owed = owes;
    restore.n_owed = confirmed[1] ? 0 : 1;
    if (completed) {
        m.snapshot = completed;
        m.snapshot_directory = pb_text(from);
        m.tasks = restores;
        m.n_tasks = 1;
    }
    peer_start(&peer, &m);
}

static void on_join(const Tide__Join *j)
{
    if (j->endpoint.len != sizeof endpoint - 1 || j->worker.len != 2 || j->n_tasks != 1 ||
        !j->spec || j->spec->n_edges != 1 || !j->spec->checkpointing || !j->host->boot_id.len)
        breaks("Join says less than it should");
    SAY(Joined, joined, JOINED, m->job_id = pb_text("0123456789abcdef"), m->lease_ms = 10000,
        m->heartbeat_ms = 1000, m->orphan_limit_ms = 1000, m->progress_ms = 1000);
    if (!j->token || j->token->attempt != attempt ||
        j->phase < TIDE__WORKER_PHASE__PHASE_RESTORED) {
        if (j->token)
            SAY(Rewind, rewind, REWIND, m->attempt = j->token->attempt, m->reason = pb_text("go"));
        else
            start();
        return;
    }
    SAY(Resumed, resumed, RESUMED, m->attempt = attempt);
    if (running) SAY(Run, run, RUN, m->attempt = attempt);
    if (running && round_) trigger(false);
}

/* What an ack says must be on the disk, or in it. */
static void check_artifact(unsigned i, const struct tide_artifact_view *a)
{
    char path[160], where[100];
    XXH128_hash_t h;
    if (a->is_inline) {
        h = XXH3_128bits(a->inlined.data, a->inlined.len);
        if (a->inlined.len != 5 || memcmp(a->inlined.data, "small", 5) != 0)
            breaks("an ack with other inline bytes");
    } else {
        directory_of(round_, where, sizeof where);
        snprintf(path, sizeof path, "%s/t1-%u", where, i);
        int fd = open(path, O_RDONLY);
        ssize_t n = fd < 0 ? -1 : read(fd, seen, sizeof seen);
        if (fd >= 0) close(fd);
        if (n != (ssize_t)BIG || memcmp(seen, big, BIG) != 0)
            breaks("an ack for bytes that are not there");
        h = XXH3_128bits(seen, n < 0 ? 0 : (size_t)n);
    }
    if (h.low64 != a->digest_low || h.high64 != a->digest_high)
        breaks("an ack with a wrong digest");
    acks_[i].size = a->size;
    acks_[i].low = a->digest_low;
    acks_[i].high = a->digest_high;
    acks_[i].is_inline = a->is_inline;
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
        if (v.task == 0) continue;
        if (v.artifacts != FEW + 1 || !v.has_handle) breaks("an ack with less than was written");
        for (unsigned i = 0; i <= FEW && tide_acks_artifact(&v, &place, &a); i++)
            check_artifact(i, &a);
    }
    if (!acked[0] || !acked[1]) return;
    completed = round_;
    round_ = 0;
    memcpy(kept, acks_, sizeof kept);
    memset(confirmed, 0, sizeof confirmed);
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    range.count = 2;
    SAY(Complete, complete, COMPLETE, m->attempt = attempt, m->round = completed, m->commits = true,
        m->lowest_pending = next_round, m->ended = ranges, m->n_ended = finished[0] && finished[1]);
}

static void each(size_t n, Tide__TaskRange **ranges, bool *flags)
{
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < ranges[i]->count; k++)
            flags[ranges[i]->first + k] = true;
}

/* The life: a round; a rewind and a restore from it; another round; the end. */
static void go_on(void)
{
    if (!confirmed[0] || !confirmed[1]) return;
    if (!rewound_once) {
        rewound_once = true;
        memset(confirmed, 0, sizeof confirmed); /* owed again */
        SAY(Rewind, rewind, REWIND, m->attempt = attempt, m->reason = pb_text("once"));
    } else if (finished[0] && finished[1] && ends == 2) {
        SAY(Stop, stop, STOP, m->outcome = pb_text("FINISHED"));
    }
}

static void on_reason(ProtobufCBinaryData reason)
{
    if (!reason.len) breaks("no reason was given");
    snprintf(last_reason, sizeof last_reason, "%.*s", (int)reason.len, (char *)reason.data);
}

static void hear(struct heard *h)
{
    switch (h->what) {
    case TIDE__FROM_WORKER__MSG_HELLO:
        if (h->m->hello->secret.len != 4 || !h->m->hello->software.len)
            breaks("Hello says less than it should");
        SAY(Welcome, welcome, WELCOME, m->version = 1, m->store_id = pb_text("0123456789abcdef"));
        break;
    case TIDE__FROM_WORKER__MSG_JOIN: on_join(h->join); break;
    case TIDE__FROM_WORKER__MSG_HEARTBEAT:
        SAY(HeartbeatAck, heartbeat_ack, ALIVE, m->sequence = h->m->heartbeat->sequence);
        break;
    case TIDE__FROM_WORKER__MSG_RESTORED:
        if (h->m->restored->attempt != attempt || running) break;
        running = true;
        SAY(Run, run, RUN, m->attempt = attempt);
        trigger(true);
        break;
    case TIDE__FROM_WORKER__MSG_RESTORE_FAILED:
        failures++;
        on_reason(h->m->restore_failed->reason);
        SAY(Rewind, rewind, REWIND, m->attempt = attempt, m->reason = pb_text("restore failed"));
        break;
    case TIDE__FROM_WORKER__MSG_ACK: on_acks(h->ack); break;
    case TIDE__FROM_WORKER__MSG_DECLINE:
        if (h->m->decline->attempt != attempt || h->m->decline->round != round_) break;
        declines++;
        on_reason(h->m->decline->reason);
        SAY(Abort, abort, ABORT, m->attempt = attempt, m->round = round_,
            m->reason = pb_text("declined"), m->lowest_pending = round_ + 1);
        trigger(true);
        break;
    case TIDE__FROM_WORKER__MSG_FINISHED:
        each(h->m->finished->n_tasks, h->m->finished->tasks, finished);
        if (finished[0] && finished[1] && !round_) trigger(true);
        break;
    case TIDE__FROM_WORKER__MSG_CONFIRM:
        if (h->m->confirm->round == completed)
            each(h->m->confirm->n_tasks, h->m->confirm->tasks, confirmed);
        go_on();
        break;
    default: break;
    }
}

/* ---- one life */

static void forget(void)
{
    attempt = round_ = completed = to_trigger = 0;
    next_round = 5;
    declines = failures = restored_from = commits = handles = ends = 0;
    running = rewound_once = commit_fails = false;
    memset(acked, 0, sizeof acked);
    memset(confirmed, 0, sizeof confirmed);
    memset(finished, 0, sizeof finished);
    broken[0] = last_reason[0] = hit[0] = '\0';
}

static int turn(void)
{
    struct heard h;
    armed = true;
    int rc = tide_worker_wait(worker, 1);
    if (!rc && to_trigger && tide_task_triggered(source, to_trigger) == 0) to_trigger = 0;
    if (!rc && restored_from && running && !finished[0]) {
        (void)tide_task_finished(source);
        (void)tide_task_finished(sink);
    }
    armed = false;
    while (peer_next(&peer, &h)) {
        hear(&h);
        heard_free(&h);
    }
    return rc;
}

/* The worker's life with fault k, and again after the handle died of it. How often it died. */
static unsigned live(long k)
{
    unsigned deaths = 0;
    int rc;
    forget();
    peer_open(&peer);
    commit_fails = !k; /* it takes its time to come again */
    calls = 0;
    fail_at = k;
    memset(watched, 0, sizeof watched);
    for (;;) {
        armed = true;
        rc = make_worker(peer.address);
        armed = false;
        for (unsigned i = 0; !rc && i < 8000; i++)
            rc = turn();
        if (rc != TIDE_ENOMEM || deaths) break;
        if (worker && !tide_worker_error(worker)[0]) breaks("the handle died without a word");
        deaths++;
        tide_worker_free(worker);
        worker = NULL;
    }
    ck_assert_msg(!broken[0], "call %ld (%s): %s", k, hit, broken);
    ck_assert_msg(rc == TIDE_EENDED,
                  "call %ld (%s): the end was not reached but %d (%s); declined %u times, last "
                  "for \"%s\"",
                  k, hit, rc, worker ? tide_worker_error(worker) : "", declines, last_reason);
    ck_assert_uint_eq(ends, 2);
    ck_assert_uint_ge(commits, 2);
    armed = true;
    tide_worker_free(worker);
    armed = false;
    worker = NULL;
    peer_close(&peer);
    return deaths;
}

static void clean(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s/r*", dir);
    ck_assert_int_eq(system(command), 0);
}

static void setup(void)
{
    char path[64];
    strcpy(dir, "/tmp/tidemark-faults-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (size_t i = 0; i < BIG; i++)
        big[i] = (uint8_t)(i * 31 + i / 1000);
    memset(endpoint, 'e', sizeof endpoint - 1);
    snprintf(path, sizeof path, "%s/secret", dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(write(fd, "hush\n", 5), 5);
    close(fd);
}

static void teardown(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(a_life_without_faults)
{
    kind = ALLOCATIONS;
    ck_assert_uint_eq(live(0), 0);
    ck_assert_uint_eq(declines + failures, 0);
    ck_assert_uint_eq(restored_from, 5);
    ck_assert_uint_ge(handles, 1);
    ck_assert_int_gt(calls, 40); /* or the linker did not do its part */
}
END_TEST

START_TEST(each_allocation_fails_in_turn)
{
    long k = 0;
    unsigned died = 0, declined = 0, failed = 0;
    kind = ALLOCATIONS;
    do {
        died += live(++k);
        declined += declines != 0;
        failed += failures != 0;
        clean();
    } while (calls >= k && hit[0]);
    printf("%ld allocations failed in turn: %u handles died, %u rounds were declined, %u restores "
           "failed, the rest went on\n",
           k - 1, died, declined, failed);
    ck_assert_int_gt(k, 40);
    ck_assert_uint_gt(declined, 5);
    ck_assert_uint_gt(failed, 1);
}
END_TEST

static void each_file_operation_fails_as(int error)
{
    long k = 0;
    unsigned declined = 0, failed = 0;
    kind = FILES;
    fail_as = error;
    do {
        ck_assert_uint_eq(live(++k), 0);
        clean();
        if (!hit[0]) break;
        /* it was said, with the cause and where */
        ck_assert_msg(declines + failures == 1, "call %ld (%s): %u declines, %u failures", k, hit,
                      declines, failures);
        ck_assert_msg(strstr(last_reason, strerror(error)) != NULL, "%s: %s", hit, last_reason);
        ck_assert_msg(strstr(last_reason, dir) != NULL, "%s: %s", hit, last_reason);
        declined += declines;
        failed += failures;
    } while (true);
    printf("%ld file operations failed in turn (%s): %u declines, %u failed restores\n", k - 1,
           strerror(error), declined, failed);
    ck_assert_uint_gt(declined, 10);
    ck_assert_uint_gt(failed, 2);
}

START_TEST(each_file_operation_fails_in_turn)
{
    const int errors[] = {EIO, ENOSPC, EROFS};
    each_file_operation_fails_as(errors[_i]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_life_without_faults, each_allocation_fails_in_turn};
    Suite *suite = suite_create("client faults");
    TCase *tc = tcase_create("faults");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tc, tests[i]);
    tcase_add_loop_test(tc, each_file_operation_fails_in_turn, 0, 3);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}

/* The whole library against a made-up daemon on a real socket: files, threads, the lease. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/client/lib_fake.h"
#include "tests/client/lib_run.h"

#define BIG 3000001u

static struct fake *fake;
static struct tide_worker *worker;
static struct tide_task *source, *sink;
static char dir[] = "/tmp/tidemark-client-XXXXXX";

/* What the callbacks saw. */
static char log_text[8192];
static uint8_t big[BIG], seen[BIG + 1];
static size_t n_seen;
static int restore_answer, snapshot_answer, trigger_answer, complete_answer;
static unsigned sleep_ms, complete_ms, fail_commits;
static struct tide_snapshot *given;

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    size_t len = strlen(log_text);
    va_list args;
    va_start(args, format);
    vsnprintf(log_text + len, sizeof log_text - len, format, args);
    va_end(args);
}

static void nap(unsigned ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static int read_state(const struct tide_restore *r, const struct tide_state *s)
{
    struct tide_state_reader *reader;
    size_t n;
    int rc = tide_state_open(r, s, &reader);
    if (rc) return rc;
    n_seen = 0;
    while (!(rc = tide_state_read(reader, seen + n_seen, 100000, &n)) && n)
        n_seen += n;
    tide_state_close(reader);
    note("%s: %zu bytes\n", s->name, n_seen);
    return rc;
}

static int on_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    (void)t;
    note("%s restores from %llu\n", (char *)user, (unsigned long long)r->snapshot);
    for (uint32_t i = 0; i < r->n_states; i++) {
        int rc = read_state(r, &r->states[i]);
        if (rc) return rc;
    }
    return restore_answer;
}

static void on_run(struct tide_task *t, void *user)
{
    (void)t;
    note("%s runs\n", (char *)user);
}

static int on_trigger(struct tide_task *t, uint64_t round, void *user)
{
    (void)t;
    note("%s trigger %llu\n", (char *)user, (unsigned long long)round);
    return trigger_answer;
}

static void on_forward(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE], void *user)
{
    note("%s forward%s\n", (char *)user, barrier[8] & 2 ? " cancel" : "");
    if (t == source) ck_assert_int_eq(tide_task_barrier(sink, 0, barrier), 0);
}

static int on_snapshot(struct tide_task *t, struct tide_snapshot *s, void *user)
{
    note("%s snapshot %llu\n", (char *)user, (unsigned long long)tide_snapshot_round(s));
    ck_assert(!tide_snapshot_is_savepoint(s));
    if (t == sink) {
        given = s;
        (void)tide_snapshot_artifact(s, "small", 3, 4);
        (void)tide_snapshot_write(s, "abc", 3);
        if (snapshot_answer == TIDE_EAGAIN) return TIDE_EAGAIN;
        (void)tide_snapshot_artifact(s, "big", 0, 0);
        for (size_t at = 0; at < BIG; at += 77777)
            (void)tide_snapshot_write(s, big + at, BIG - at < 77777 ? BIG - at : 77777);
        (void)tide_snapshot_handle(s, "publish", 7);
    }
    nap(sleep_ms);
    if (snapshot_answer && t == sink) tide_task_fail_reason(t, "no wish to");
    return t == sink ? snapshot_answer : 0;
}

static int on_complete(struct tide_task *t, uint64_t round, const void *handle, size_t len,
                       void *user)
{
    (void)t;
    note("%s complete %llu %.*s\n", (char *)user, (unsigned long long)round, (int)len,
         handle ? (const char *)handle : "");
    nap(complete_ms);
    complete_ms = 0;
    if (!fail_commits) return complete_answer;
    fail_commits--;
    return TIDE_EIO;
}

static void on_abort(struct tide_task *t, uint64_t round, void *user)
{
    (void)t;
    note("%s abort %llu\n", (char *)user, (unsigned long long)round);
}

static void on_rewind(struct tide_task *t, const char *reason, void *user)
{
    (void)t;
    note("%s rewind: %s\n", (char *)user, reason);
}

static void on_stop(struct tide_task *t, const char *outcome, void *user)
{
    (void)t;
    note("%s stop: %s\n", (char *)user, outcome);
}

static void on_fenced(struct tide_task *t, bool fenced, void *user)
{
    (void)t;
    note("%s %s\n", (char *)user, fenced ? "fenced" : "unfenced");
}

static const struct tide_callbacks callbacks = {.restore = on_restore,
                                                .run = on_run,
                                                .trigger = on_trigger,
                                                .forward = on_forward,
                                                .snapshot = on_snapshot,
                                                .complete = on_complete,
                                                .abort = on_abort,
                                                .rewind = on_rewind,
                                                .stop = on_stop,
                                                .fenced = on_fenced};

static struct tide_spec *make_spec(void)
{
    struct tide_spec *spec;
    ck_assert_int_eq(tide_spec_new("job", &spec), 0);
    tide_spec_operator(spec, "a", 1, 0);
    tide_spec_operator(spec, "b", 1, 0);
    tide_spec_edge(spec, "a", "b", TIDE_ALL_TO_ALL);
    return spec;
}

static void open_worker(bool no_helper)
{
    char why[256];
    struct tide_spec *spec = make_spec();
    struct tide_worker_config c = {.spec = spec,
                                   .address = fake_address(fake),
                                   .name = "w1",
                                   .endpoint = "here:1",
                                   .no_helper_thread = no_helper};
    ck_assert_msg(tide_worker_new(&c, &worker, why) == 0, "%s", why);
    tide_spec_free(spec);
    ck_assert_int_eq(tide_worker_add_task(worker, "b", 0, 1, &callbacks, "b", &sink), 0);
    ck_assert_int_eq(tide_worker_add_task(worker, "a", 0, 0, &callbacks, "a", &source), 0);
    ck_assert_int_eq(tide_worker_add_task(worker, "c", 0, 0, &callbacks, "c", NULL),
                     TIDE_ENOTFOUND);
}

static void setup(void)
{
    for (size_t i = 0; i < BIG; i++)
        big[i] = (uint8_t)(i * 31 + i / 1000);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    fake = fake_open();
}

static void teardown(void)
{
    char command[100];
    tide_worker_free(worker);
    fake_close(fake);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static ProtobufCBinaryData text(const char *t)
{
    return (ProtobufCBinaryData){strlen(t), (uint8_t *)(uintptr_t)t};
}

static void start(uint64_t attempt, uint64_t snapshot, size_t n, Tide__TaskRestore **tasks)
{
    Tide__Start m = TIDE__START__INIT;
    Tide__Token token = TIDE__TOKEN__INIT;
    Tide__Peer peer = TIDE__PEER__INIT, *peers[1] = {&peer};
    Tide__TaskRange range = TIDE__TASK_RANGE__INIT, *ranges[1] = {&range};
    char from[100];
    snprintf(from, sizeof from, "%s/r5", dir);
    token.store_id = text("store store stor");
    token.job_id = text("0123456789abcdef");
    token.attempt = attempt;
    token.external = 1000 + attempt;
    range.count = 2;
    peer.worker = text("w1");
    peer.endpoint = text("here:1");
    peer.n_tasks = 1;
    peer.tasks = ranges;
    m.token = &token;
    m.directory = text(dir);
    m.snapshot = snapshot;
    m.snapshot_directory = text(from);
    m.n_tasks = n;
    m.tasks = tasks;
    m.n_peers = 1;
    m.peers = peers;
    m.lowest_pending = 1;
    fake_start(fake, &m);
}

static void run(uint64_t attempt)
{
    Tide__Run m = TIDE__RUN__INIT;
    m.attempt = attempt;
    fake_say(fake, TIDE__TO_WORKER__MSG_RUN, &m);
}

static void trigger(uint64_t attempt, uint64_t round)
{
    Tide__Trigger m = TIDE__TRIGGER__INIT;
    char where[100];
    snprintf(where, sizeof where, "%s/r%llu", dir, (unsigned long long)round);
    m.attempt = attempt;
    m.round = round;
    m.kind = TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    m.left_ms = 60000;
    m.directory = text(where);
    m.lowest_pending = round;
    fake_say(fake, TIDE__TO_WORKER__MSG_TRIGGER, &m);
}

static void complete(uint64_t attempt, uint64_t round)
{
    Tide__Complete m = TIDE__COMPLETE__INIT;
    m.attempt = attempt;
    m.round = round;
    m.commits = true;
    m.lowest_pending = round + 1;
    fake_say(fake, TIDE__TO_WORKER__MSG_COMPLETE, &m);
}

static void resumed(uint64_t attempt)
{
    Tide__Resumed m = TIDE__RESUMED__INIT;
    m.attempt = attempt;
    fake_say(fake, TIDE__TO_WORKER__MSG_RESUMED, &m);
}

static void until(const char *what)
{
    for (int i = 0; i < 1000 && !strstr(log_text, what); i++)
        turn_for(worker, 10);
    ck_assert_msg(strstr(log_text, what) != NULL, "\"%s\" did not come:\n%s", what, log_text);
}

/* Up to a running attempt 1. */
static void up(bool no_helper)
{
    open_worker(no_helper);
    turn_until(worker, fake, "join", 1);
    turn_until(worker, fake, "beat", 1);
    start(1, 0, 0, NULL);
    turn_until(worker, fake, "restored", 1);
    run(1);
    until("b runs");
    log_text[0] = '\0';
}

/* All acks heard: how many entries, and the sink's as a view. */
static unsigned acks(struct tide_acks *r, char **body, struct tide_ack_view *ret_sink)
{
    struct tide_ack_view v;
    char why[160];
    size_t len;
    unsigned n = 0;
    *body = fake_last(fake, "ack", &len);
    ck_assert_msg(tide_acks_open(r, (struct tide_bytes){(uint8_t *)*body, len}, why) == 0, "%s",
                  why);
    while (tide_acks_next(r, &v)) {
        if (v.task == 1) *ret_sink = v;
        n++;
    }
    return n;
}

START_TEST(snapshots_are_written_digested_and_read_back)
{
    struct tide_acks r;
    struct tide_ack_view v = {0};
    struct tide_artifact_view files[2];
    struct tide_artifact_place place = {0};
    char *body, path[100];
    const char *endpoint;
    struct stat st;
    up(false);
    ck_assert_str_eq(tide_worker_job_id(worker), "30313233343536373839616263646566");
    ck_assert_int_eq(tide_worker_endpoint(worker, "b", 0, &endpoint), 0);
    ck_assert_str_eq(endpoint, "here:1");
    ck_assert_int_eq(tide_worker_endpoint(worker, "b", 1, &endpoint), TIDE_ENOTFOUND);
    trigger(1, 5);
    turn_until(worker, fake, "ack", 1);
    expect(log_text, "a trigger 5\na forward\na snapshot 5\nb forward\nb snapshot 5\n");
    ck_assert_uint_eq(acks(&r, &body, &v), 2);
    ck_assert_uint_eq(v.artifacts, 2);
    ck_assert(v.has_handle && v.handle.len == 7);
    ck_assert(tide_acks_artifact(&v, &place, &files[0]) &&
              tide_acks_artifact(&v, &place, &files[1]));
    ck_assert(files[0].is_inline && files[0].size == 3 && files[0].key_group_count == 4);
    ck_assert(!files[1].is_inline && files[1].size == BIG);
    XXH128_hash_t want = XXH3_128bits(big, BIG);
    ck_assert(files[1].digest_low == want.low64 && files[1].digest_high == want.high64);
    snprintf(path, sizeof path, "%s/r5/t1-1", dir);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, BIG);

    /* and back, in another attempt */
    Tide__Rewind rewind = TIDE__REWIND__INIT;
    rewind.attempt = 1;
    rewind.reason = text("lost");
    fake_say(fake, TIDE__TO_WORKER__MSG_REWIND, &rewind);
    turn_until(worker, fake, "join", 2);
    expect(log_text, "a rewind: lost\nb rewind: lost\n");
    ck_assert_uint_eq(tide_worker_attempt(worker), 0);
    Tide__TaskRestore restore = TIDE__TASK_RESTORE__INIT, *restores[1] = {&restore};
    Tide__Artifact back[2], *list[2] = {&back[0], &back[1]};
    Tide__Owed owed = TIDE__OWED__INIT, *owes[1] = {&owed};
    tide__artifact__init(&back[0]);
    tide__artifact__init(&back[1]);
    back[0].place_case = TIDE__ARTIFACT__PLACE_INLINE;
    back[0].inline_ = text("abc");
    back[1].place_case = TIDE__ARTIFACT__PLACE_PATH;
    back[1].path = text("t1-1");
    for (unsigned i = 0; i < 2; i++) {
        back[i].size = files[i].size;
        back[i].digest_low = files[i].digest_low;
        back[i].digest_high = files[i].digest_high;
        back[i].name = text(i ? "big" : "small");
    }
    restore.task = 1;
    restore.n_artifacts = 2;
    restore.artifacts = list;
    restore.n_owed = 1;
    restore.owed = owes;
    owed.round = 5;
    owed.handle = text("publish");
    turn_for(worker, 20);
    start(2, 5, 1, restores);
    turn_until(worker, fake, "restored", 2);
    expect(log_text, "a restores from 5\nb restores from 5\nsmall: 3 bytes\nbig: 3000001 bytes\n");
    ck_assert_mem_eq(seen, big, BIG);
    run(2);
    turn_until(worker, fake, "confirm", 1);
    expect(log_text, "a runs\nb runs\nb complete 5 publish\n");

    /* a flipped bit is seen */
    int fd = open(path, O_RDWR);
    ck_assert_int_eq(pwrite(fd, "X", 1, 2000000), 1);
    close(fd);
    rewind.attempt = 2;
    fake_say(fake, TIDE__TO_WORKER__MSG_REWIND, &rewind);
    turn_until(worker, fake, "join", 3);
    turn_for(worker, 20);
    start(3, 5, 1, restores);
    turn_until(worker, fake, "restore failed", 1);
    char *reason = fake_last(fake, "restore failed", NULL);
    ck_assert_ptr_nonnull(strstr(reason, "/r5/t1-1: damaged: its digest is not the snapshot's"));
    free(reason);
    free(body);
}
END_TEST

START_TEST(nobodys_bytes_are_written_over)
{
    char path[100];
    up(false);
    snprintf(path, sizeof path, "%s/r5", dir);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/r5/t1-1", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    ck_assert_int_eq(write(fd, "old", 3), 3);
    close(fd);
    trigger(1, 5);
    turn_until(worker, fake, "decline", 1);
    char *reason = fake_last(fake, "decline", NULL);
    ck_assert_ptr_nonnull(strstr(reason, "t1-1: File exists"));
    free(reason);
    struct stat st;
    ck_assert(stat(path, &st) == 0 && st.st_size == 3);
}
END_TEST

START_TEST(a_snapshot_that_fails_declines_with_its_reason)
{
    Tide__Abort m = TIDE__ABORT__INIT;
    up(false);
    snapshot_answer = TIDE_ENOSPC;
    trigger(1, 5);
    turn_until(worker, fake, "decline", 1);
    char *reason = fake_last(fake, "decline", NULL);
    ck_assert_str_eq(reason, "no wish to");
    free(reason);
    log_text[0] = '\0';
    m.attempt = 1;
    m.round = 5;
    m.lowest_pending = 6;
    fake_say(fake, TIDE__TO_WORKER__MSG_ABORT, &m);
    until("a abort 5\n");
}
END_TEST

static void *upload(void *arg)
{
    struct tide_snapshot *s = arg;
    (void)tide_snapshot_artifact(s, "big", 0, 0);
    for (size_t at = 0; at < BIG; at += 100000) {
        (void)tide_snapshot_write(s, big + at, BIG - at < 100000 ? BIG - at : 100000);
        nap(2);
    }
    ck_assert_int_eq(tide_snapshot_done(s, 0, NULL, 0), 0);
    return NULL;
}

START_TEST(acks_come_from_a_thread_while_the_task_goes_on)
{
    struct tide_acks r;
    struct tide_ack_view v = {0};
    char *body;
    pthread_t thread;
    up(false);
    snapshot_answer = TIDE_EAGAIN;
    for (uint64_t round = 5; round < 8; round++) {
        given = NULL;
        unsigned heard = fake_heard(fake, "ack");
        trigger(1, round);
        while (!given)
            turn_for(worker, 1);
        ck_assert_int_eq(pthread_create(&thread, NULL, upload, given), 0);
        turn_until(worker, fake, "ack", heard + 2); /* the source's, then this one */
        pthread_join(thread, NULL);
        (void)acks(&r, &body, &v);
        ck_assert_uint_eq(v.artifacts, 2);
        ck_assert_uint_eq(v.bytes, BIG + 3);
        ck_assert_uint_gt(v.async_us, 0);
        free(body);
    }
}
END_TEST

static void *begin_round(void *arg)
{
    nap(30);
    ck_assert_int_eq(tide_task_triggered(source, *(uint64_t *)arg), 0);
    return NULL;
}

START_TEST(a_source_begins_the_round_when_it_is_ready)
{
    pthread_t thread;
    uint64_t round = 5;
    up(false);
    trigger_answer = TIDE_EAGAIN;
    trigger(1, 5);
    until("a trigger 5\n");
    turn_for(worker, 20);
    expect(log_text, "a trigger 5\n");
    ck_assert_int_eq(pthread_create(&thread, NULL, begin_round, &round), 0);
    turn_until(worker, fake, "ack", 1);
    pthread_join(thread, NULL);
    expect(log_text, "a forward\na snapshot 5\nb forward\nb snapshot 5\n");
}
END_TEST

START_TEST(a_held_round_that_aborts_lets_the_next_one_through)
{
    Tide__Abort m = TIDE__ABORT__INIT;
    up(false);
    trigger_answer = TIDE_EAGAIN;
    trigger(1, 5);
    until("a trigger 5\n");
    trigger_answer = 0;
    m.attempt = 1;
    m.round = 5;
    m.lowest_pending = 6;
    fake_say(fake, TIDE__TO_WORKER__MSG_ABORT, &m);
    until("a abort 5\n");
    log_text[0] = '\0';
    trigger(1, 6);
    turn_until(worker, fake, "ack", 1);
    expect(log_text, "a trigger 6\na forward\na snapshot 6\nb forward\nb snapshot 6\n");
}
END_TEST

/* What is still being written for a round that came to nothing stops soon. */
START_TEST(a_writer_hears_that_its_round_is_over)
{
    Tide__Abort m = TIDE__ABORT__INIT;
    size_t done = 0;
    int rc = 0;
    up(false);
    snapshot_answer = TIDE_EAGAIN;
    for (uint64_t round = 5; round < 7; round++) {
        trigger(1, round);
        given = NULL;
        while (!given)
            turn_for(worker, 1);
        ck_assert_int_eq(tide_snapshot_progress(given, 100), 0);
        (void)tide_snapshot_artifact(given, "big", 0, 0);
        m.attempt = 1;
        m.round = round;
        m.lowest_pending = round + 1;
        log_text[0] = '\0';
        fake_say(fake, TIDE__TO_WORKER__MSG_ABORT, &m);
        until("b abort");
        if (round == 5) { /* it asks */
            ck_assert_int_eq(tide_snapshot_progress(given, 200), TIDE_ESTALE);
            ck_assert_int_eq(tide_snapshot_write(given, big, 1), TIDE_ESTALE);
        } else { /* it only writes */
            for (; !rc && done < (size_t)64 << 20; done += 100000)
                rc = tide_snapshot_write(given, big, 100000);
            ck_assert_int_eq(rc, TIDE_ESTALE);
        }
        ck_assert_int_eq(tide_snapshot_done(given, 0, NULL, 0), TIDE_ESTALE);
    }
}
END_TEST

START_TEST(a_source_that_refuses_a_round_cancels_it)
{
    up(false);
    trigger_answer = TIDE_EIO;
    trigger(1, 5);
    turn_until(worker, fake, "decline", 1);
    expect(log_text, "a trigger 5\na forward cancel\nb forward cancel\n");
}
END_TEST

START_TEST(the_helper_keeps_the_lease_while_a_callback_takes_long)
{
    uint64_t number;
    fake_times(fake, 2000, 100);
    up(false);
    sleep_ms = 3000;
    unsigned beats = fake_heard(fake, "beat");
    trigger(1, 5);
    turn_until(worker, fake, "ack", 1);
    ck_assert_uint_ge(fake_heard(fake, "beat"), beats + 8);
    ck_assert_int_eq(tide_worker_token(worker, &number), 0);
    ck_assert_uint_eq(number, 1001);
    ck_assert_ptr_null(strstr(log_text, "fenced"));
}
END_TEST

START_TEST(without_the_helper_a_long_callback_costs_the_lease)
{
    uint64_t number;
    fake_times(fake, 1500, 100);
    up(true);
    sleep_ms = 2000;
    trigger(1, 5);
    until("b fenced\n");
    ck_assert_int_eq(tide_worker_token(worker, &number), TIDE_EFENCED);
    ck_assert_uint_eq(fake_heard(fake, "ack"), 0);
    /* back in the same attempt: what was done meanwhile is acked */
    sleep_ms = 0;
    turn_until(worker, fake, "join with attempt", 1);
    turn_for(worker, 20);
    resumed(1);
    until("b unfenced\n");
    turn_until(worker, fake, "ack", 1);
    ck_assert_int_eq(tide_worker_token(worker, &number), 0);
}
END_TEST

/* One effect takes longer than the lease lasts: the next one, which waits behind it in the same
 * turn, is for whoever has the lease. */
START_TEST(no_commit_follows_a_callback_that_outlasts_the_lease)
{
    fake_times(fake, 1500, 100);
    up(true);
    trigger(1, 5);
    turn_until(worker, fake, "ack", 1);
    log_text[0] = '\0';
    complete_ms = 2000;
    complete(1, 5);
    until("b fenced\n");
    expect(log_text, "a complete 5 \na fenced\nb fenced\n");
    turn_until(worker, fake, "join with attempt", 1);
    turn_for(worker, 20);
    resumed(1);
    until("b complete 5 \n");
}
END_TEST

START_TEST(a_daemon_that_goes_silent_fences_in_time)
{
    uint64_t number;
    fake_times(fake, 1500, 100);
    up(false);
    fake_mute(fake, true);
    struct timespec from, to;
    int64_t ms = 0, last_ms; /* when the last call began that was given a token */
    clock_gettime(CLOCK_BOOTTIME, &from);
    do { /* no process(): the answer needs nobody else */
        nap(5);
        clock_gettime(CLOCK_BOOTTIME, &to);
        last_ms = ms;
        ms = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
    } while (tide_worker_token(worker, &number) == 0 && ms < 20000);
    ck_assert_int_le(last_ms, 1500);
    until("b fenced\n");
}
END_TEST

START_TEST(a_broken_connection_is_made_again)
{
    up(false);
    snapshot_answer = TIDE_EAGAIN;
    trigger(1, 5);
    until("b snapshot 5\n");
    turn_until(worker, fake, "ack", 1);
    fake_cut(fake);
    turn_for(worker, 20);
    ck_assert_int_eq(tide_snapshot_done(given, 0, NULL, 0), 0); /* kept */
    turn_until(worker, fake, "join with attempt", 1);
    ck_assert_uint_eq(fake_heard(fake, "ack"), 1);
    turn_for(worker, 20);
    resumed(1);
    turn_until(worker, fake, "ack", 2);
    struct tide_acks r;
    struct tide_ack_view v = {0};
    char *body;
    ck_assert_uint_eq(acks(&r, &body, &v), 2); /* both again */
    free(body);
}
END_TEST

START_TEST(commits_that_fail_come_again_until_they_are_confirmed)
{
    up(false);
    trigger(1, 5);
    turn_until(worker, fake, "ack", 1);
    log_text[0] = '\0';
    fail_commits = 1;
    complete(1, 5);
    turn_until(worker, fake, "confirm", 2); /* b's at once, a's the second time */
    expect(log_text, "a complete 5 \nb complete 5 \na complete 5 \n");
    complete_answer = TIDE_EAGAIN;
    trigger(1, 6);
    turn_until(worker, fake, "ack", 2);
    complete(1, 6);
    until("b complete 6 \n");
    turn_for(worker, 20);
    ck_assert_uint_eq(fake_heard(fake, "confirm"), 2);
    ck_assert_int_eq(tide_task_confirm(sink, 6), 0);
    ck_assert_int_eq(tide_task_confirm(source, 6), 0);
    turn_until(worker, fake, "confirm", 3);
}
END_TEST

START_TEST(the_fd_is_readable_when_there_is_something_to_do)
{
    up(false);
    struct pollfd fd = {.fd = tide_worker_fd(worker), .events = POLLIN};
    int tries = 0; /* a heartbeat may be due now and then */
    do
        turn_for(worker, 50);
    while (poll(&fd, 1, 50) != 0 && ++tries < 20);
    ck_assert_int_lt(tries, 20);
    trigger(1, 5);
    ck_assert_int_eq(poll(&fd, 1, 5000), 1);
    while (!strstr(log_text, "a snapshot"))
        ck_assert_int_eq(tide_worker_process(worker), 0);
}
END_TEST

START_TEST(the_end_of_the_job_ends_process)
{
    Tide__Stop m = TIDE__STOP__INIT;
    up(false);
    m.outcome = text("FINISHED");
    fake_say(fake, TIDE__TO_WORKER__MSG_STOP, &m);
    int rc = 0;
    for (int i = 0; i < 1000 && !rc; i++)
        rc = tide_worker_wait(worker, 10);
    ck_assert_int_eq(rc, TIDE_EENDED);
    expect(log_text, "a stop: FINISHED\nb stop: FINISHED\n");
    ck_assert_int_eq(tide_worker_process(worker), TIDE_EENDED);
    ck_assert_str_eq(tide_worker_error(worker), "the job has ended: FINISHED");
}
END_TEST

START_TEST(leaving_is_told)
{
    up(false);
    tide_worker_free(worker);
    worker = NULL;
    for (int i = 0; i < 200 && !fake_heard(fake, "leave"); i++)
        nap(10);
    ck_assert_uint_eq(fake_heard(fake, "leave"), 1);
}
END_TEST

START_TEST(a_daemon_that_is_not_there_is_waited_for)
{
    char why[256];
    struct tide_spec *spec = make_spec();
    struct tide_worker_config c = {.spec = spec, .address = "127.0.0.1:1", .name = "w1"};
    ck_assert_int_eq(tide_worker_new(&c, &worker, why), 0);
    tide_spec_free(spec);
    ck_assert_int_eq(tide_worker_process(worker), TIDE_ESTATE); /* no task */
    ck_assert_int_eq(tide_worker_add_task(worker, "a", 0, 0, &callbacks, "a", &source), 0);
    turn_for(worker, 300);
    ck_assert_int_eq(tide_worker_process(worker), 0);
    ck_assert_ptr_nonnull(strstr(tide_worker_error(worker), "connecting again"));
}
END_TEST

START_TEST(what_is_wrong_is_said)
{
    char why[256], path[100];
    struct tide_spec *spec = make_spec(), *bad;
    struct tide_worker_config c = {.spec = spec, .name = "w1", .address = "nowhere"};
    ck_assert_int_eq(tide_worker_new(&c, &worker, why), TIDE_EINVAL);
    ck_assert_str_eq(why, "address \"nowhere\" is not host:port or [v6]:port");
    c.address = "::1:7460";
    ck_assert_int_eq(tide_worker_new(&c, &worker, why), TIDE_EINVAL);
    c.address = "[::1]:7460";
    c.inline_max = 2000000;
    ck_assert_int_eq(tide_worker_new(&c, &worker, why), TIDE_EINVAL);
    ck_assert_ptr_nonnull(strstr(why, "inline_max"));
    c.inline_max = 0;
    snprintf(path, sizeof path, "%s/secret", dir);
    FILE *file = fopen(path, "w");
    fputs("hush\n", file);
    fclose(file);
    chmod(path, 0644);
    c.secret_file = path;
    ck_assert_int_eq(tide_worker_new(&c, &worker, why), TIDE_EINVAL);
    ck_assert_ptr_nonnull(strstr(why, "can be read by others"));
    chmod(path, 0600);
    c.name = "";
    ck_assert_int_eq(tide_worker_new(&c, &worker, why), TIDE_EINVAL);
    c.name = "w1";
    ck_assert_int_eq(tide_spec_new("job", &bad), 0);
    tide_spec_operator(bad, "a", 1, 0);
    tide_spec_edge(bad, "a", "a", TIDE_ALL_TO_ALL);
    c.spec = bad;
    ck_assert_int_eq(tide_worker_new(&c, &worker, why), TIDE_EINVAL);
    ck_assert_ptr_nonnull(strstr(why, "a"));
    tide_spec_free(bad);
    c.spec = spec;
    c.address = fake_address(fake);
    ck_assert_int_eq(tide_worker_new(&c, &worker, why), 0);
    ck_assert_int_eq(tide_worker_add_task(worker, "a", 0, 0, &callbacks, "a", &source), 0);
    turn_until(worker, fake, "hello", 1);
    char *secret = fake_last(fake, "hello", NULL);
    ck_assert_str_eq(secret, "hush");
    free(secret);
    tide_spec_free(spec);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        snapshots_are_written_digested_and_read_back,
        nobodys_bytes_are_written_over,
        a_snapshot_that_fails_declines_with_its_reason,
        a_writer_hears_that_its_round_is_over,
        acks_come_from_a_thread_while_the_task_goes_on,
        a_source_begins_the_round_when_it_is_ready,
        a_held_round_that_aborts_lets_the_next_one_through,
        a_source_that_refuses_a_round_cancels_it,
        the_helper_keeps_the_lease_while_a_callback_takes_long,
        without_the_helper_a_long_callback_costs_the_lease,
        no_commit_follows_a_callback_that_outlasts_the_lease,
        a_daemon_that_goes_silent_fences_in_time,
        a_broken_connection_is_made_again,
        commits_that_fail_come_again_until_they_are_confirmed,
        the_fd_is_readable_when_there_is_something_to_do,
        the_end_of_the_job_ends_process,
        leaving_is_told,
        a_daemon_that_is_not_there_is_waited_for,
        what_is_wrong_is_said,
    };
    Suite *suite = suite_create("worker");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        TCase *tc = tcase_create(tests[i]->name);
        tcase_set_timeout(tc, 60);
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, tests[i]);
        suite_add_tcase(suite, tc);
    }
    return run_suite(suite);
}

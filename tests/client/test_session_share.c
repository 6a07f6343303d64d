/* Which shared artifacts a session knows: what a task may refer to in the ack of a round. */
#include <stdio.h>
#include <string.h>

#include "tests/client/lib_run.h"
#include "tests/client/lib_session.h"

static ProtobufCBinaryData data(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static const char *key_of(uint64_t round, uint32_t index)
{
    static char keys[8][64];
    static unsigned next;
    char *key = keys[next++ % 8];
    snprintf(key, sizeof keys[0], "a7-1/r%llu/s0-%u", (unsigned long long)round, index);
    return key;
}

enum { FULL = 1, SAVEPOINT = 2, FULL_TASK = 4 };

static void trigger(uint64_t round, unsigned how)
{
    Tide__Trigger m = TIDE__TRIGGER__INIT;
    Tide__TaskRange one = TIDE__TASK_RANGE__INIT, *ranges[] = {&one};
    char directory[64];
    snprintf(directory, sizeof directory, "/state/job/a7-1/r%llu", (unsigned long long)round);
    m.attempt = 1;
    m.round = round;
    m.incarnation = 7;
    m.kind =
        how & SAVEPOINT ? TIDE__ROUND_KIND__ROUND_SAVEPOINT : TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    m.left_ms = 60000;
    m.directory = data(directory);
    m.lowest_pending = 1;
    m.full = how & FULL;
    one.count = 1; /* task 0 */
    m.full_tasks = ranges;
    m.n_full_tasks = how & FULL_TASK ? 1 : 0;
    bench_say(TIDE__TO_WORKER__MSG_TRIGGER, &m);
}

static int find(uint64_t round, const char *key)
{
    struct tide_artifact_view v;
    int rc = tide_session_share_find(bench.s, 0, round, tide_bytes_of(key), &v);
    if (rc) return rc;
    ck_assert(tide_bytes_equal(v.path, tide_bytes_of(key)));
    ck_assert_uint_eq(v.shared, TIDE__SHARED__SHARED_AGAIN);
    return (int)v.size;
}

/* Task 0 acks with these files: new if the key is the round's own, of a size that the key tells. */
static void ack(uint64_t round, const char *one, const char *two)
{
    const char *keys[] = {one, two};
    struct tide_artifact_view views[2];
    struct tide_session_ack m = {.attempt = 1, .round = round, .artifacts = views};
    for (unsigned i = 0; i < 2 && keys[i]; i++) {
        bool again = find(round, keys[i]) > 0;
        views[m.n_artifacts++] = (struct tide_artifact_view){
            .path = tide_bytes_of(keys[i]),
            .size = 5,
            .shared = again ? TIDE__SHARED__SHARED_AGAIN : TIDE__SHARED__SHARED_NEW};
    }
    ck_assert_int_eq(tide_session_ack(bench.s, &m, bench.now), 0);
}

static void done(uint64_t round)
{
    say_complete(1, round, true);
}

/* Of two rounds under way the first makes no use of a file, since it was not known yet: when it
 * completes the file may go, so the second writes it again. */
START_TEST(a_file_that_a_round_under_way_leaves)
{
    bench_run();
    const char *old = key_of(1, 0), *mine = key_of(2, 0);
    trigger(1, 0);
    trigger(2, 0);
    ack(2, mine, NULL);
    ack(1, old, NULL); /* written in the background, acked late */
    done(1);
    trigger(3, 0);
    ck_assert_int_eq(find(3, old), TIDE_ENOTFOUND);
    ack(3, key_of(3, 0), NULL);
    done(2);
    done(3);
    trigger(4, 0);
    trigger(5, 0);
    const char *kept = key_of(3, 0);
    ck_assert_int_gt(find(4, kept), 0); /* asked for: its ack will name it */
    ck_assert_int_gt(find(5, kept), 0);
}
END_TEST

/* A file may be referred to once the checkpoint that brought it is complete, as long as the newest
 * complete one makes use of it. */
START_TEST(a_file_is_known_from_its_checkpoint_on)
{
    bench_run();
    trigger(5, 0);
    ck_assert_int_eq(find(5, key_of(5, 0)), TIDE_ENOTFOUND);
    ack(5, key_of(5, 0), key_of(5, 1));
    trigger(6, 0);
    ck_assert_int_eq(find(6, key_of(5, 0)), TIDE_ENOTFOUND); /* not complete yet */
    done(5);
    ck_assert_int_eq(find(6, key_of(5, 0)), 5);
    ck_assert_int_eq(find(6, key_of(5, 2)), TIDE_ENOTFOUND);
    ack(6, key_of(5, 0), key_of(6, 0));
    done(6);
    trigger(7, 0);
    ck_assert_int_eq(find(7, key_of(5, 0)), 5);
    ck_assert_int_eq(find(7, key_of(5, 1)), TIDE_ENOTFOUND); /* 6 did without: it may be gone */
    ck_assert_int_eq(find(7, key_of(6, 0)), 5);
    ck_assert_int_eq(find(9, key_of(6, 0)), TIDE_ENOTFOUND); /* no such round */
    bench_close();
}
END_TEST

/* In a savepoint, in a round that must be full, and of a task that must be, no key is known; it is
 * again afterwards. */
START_TEST(full_rounds_know_nothing)
{
    bench_run();
    trigger(5, 0);
    ack(5, key_of(5, 0), NULL);
    done(5);
    trigger(6, FULL);
    ck_assert_int_eq(find(6, key_of(5, 0)), TIDE_ENOTFOUND);
    say_abort(1, 6);
    trigger(7, SAVEPOINT);
    ck_assert_int_eq(find(7, key_of(5, 0)), TIDE_ENOTFOUND);
    say_abort(1, 7);
    bench.trace[0] = '\0';
    trigger(8, FULL_TASK);
    ck_assert_int_eq(find(8, key_of(5, 0)), TIDE_ENOTFOUND);
    say_abort(1, 8);
    trigger(9, 0);
    ck_assert_int_eq(find(9, key_of(5, 0)), 5);
    bench_close();
}
END_TEST

/* What an aborted round brought is never known; what it referred to still is. */
START_TEST(an_aborted_round_brings_nothing_S79)
{
    bench_run();
    trigger(5, 0);
    ack(5, key_of(5, 0), NULL);
    done(5);
    trigger(6, 0);
    ack(6, key_of(5, 0), key_of(6, 0));
    say_abort(1, 6);
    trigger(7, 0);
    ck_assert_int_eq(find(7, key_of(6, 0)), TIDE_ENOTFOUND);
    ck_assert_int_eq(find(7, key_of(5, 0)), 5);
    ack(7, key_of(5, 0), key_of(7, 0));
    done(7);
    trigger(8, 0);
    ck_assert_int_eq(find(8, key_of(6, 0)), TIDE_ENOTFOUND);
    ck_assert_int_eq(find(8, key_of(5, 0)), 5);
    bench_close();
}
END_TEST

static void start(const char *directory, const char *shared_directory, const char *key)
{
    Tide__Start m;
    Tide__Token token;
    Tide__TaskRestore restore = TIDE__TASK_RESTORE__INIT, *restores[] = {&restore};
    Tide__Artifact file, *files[] = {&file};
    tide__artifact__init(&file);
    start_init(&m, &token, 1);
    m.directory = data(directory);
    m.snapshot = 4;
    m.snapshot_incarnation = 7;
    m.snapshot_directory = data("/state/job/a7-0/r4");
    m.shared_directory = data(shared_directory);
    file.place_case = TIDE__ARTIFACT__PLACE_PATH;
    file.path = data(key);
    file.size = 9;
    file.shared = TIDE__SHARED__SHARED_AGAIN;
    restore.n_artifacts = 1;
    restore.artifacts = files;
    m.n_tasks = 1;
    m.tasks = restores;
    join_once();
    say_joined();
    say_start_message(&m);
}

static void begin(void)
{
    ck_assert_int_eq(tide_session_restored(bench.s, 0, 0, (struct tide_bytes){0}, bench.now), 0);
    ck_assert_int_eq(tide_session_restored(bench.s, 1, 0, (struct tide_bytes){0}, bench.now), 0);
    bench_pump();
    say_run(1);
    trigger(5, 0);
}

/* S127, S133: what is restored of the job's own files may be referred to at once, by the attempt
 * that follows; a rewind forgets it. */
START_TEST(what_is_restored_is_known_S127)
{
    start("/state/job/a7-1", "/state/job", "a7-0/r3/s0-0");
    begin();
    ck_assert_int_eq(find(5, "a7-0/r3/s0-0"), 9);
    say_rewind(1);
    ck_assert_int_eq(find(5, "a7-0/r3/s0-0"), TIDE_ENOTFOUND);
    bench_close();
}
END_TEST

/* What was restored from elsewhere is its user's. */
START_TEST(what_is_anothers_is_not_known)
{
    start("/state/job/a7-1", "/elsewhere/job", "a7-0/r3/s0-0");
    begin();
    ck_assert_int_eq(find(5, "a7-0/r3/s0-0"), TIDE_ENOTFOUND);
    bench_close();
}
END_TEST

/* A Start with a shared artifact without a place breaks the protocol. */
START_TEST(a_start_says_where_shared_files_lie)
{
    start("/state/job/a7-1", "", "a7-0/r3/s0-0");
    ck_assert_ptr_nonnull(strstr(bench.trace, "shared artifact in an unknown way"));
    bench_close();
    start("/state/job/a7-1", "/state/job", "../r3/s0-0");
    ck_assert_uint_eq(tide_session_attempt(bench.s), 0);
    bench_close();
    start("/state/job/a7-1", "/state/job", "t0-0");
    ck_assert_uint_eq(tide_session_attempt(bench.s), 0);
    bench_close();
}
END_TEST

/* With a daemon of version 1 nothing is shared: no key is known. */
START_TEST(version_1_shares_nothing)
{
    bench_union = false;
    bench_run();
    trigger(5, 0);
    ack(5, key_of(5, 0), NULL);
    done(5);
    trigger(6, 0);
    ck_assert_int_eq(find(6, key_of(5, 0)), TIDE_ENOTFOUND);
    bench_close();
}
END_TEST

/* Many files: the table grows, and shrinks again. */
START_TEST(there_may_be_many)
{
    bench_run();
    struct tide_artifact_view views[1000];
    char keys[1000][64];
    for (uint64_t round = 5; round < 9; round++) {
        struct tide_session_ack m = {
            .attempt = 1, .round = round, .artifacts = views, .n_artifacts = 1000};
        trigger(round, 0);
        for (unsigned i = 0; i < 1000; i++) {
            if (round > 5 && i < 500) { /* the first half is of round 5 */
                ck_assert_int_eq(find(round, keys[i]), 5);
                views[i].shared = TIDE__SHARED__SHARED_AGAIN;
                continue;
            }
            snprintf(keys[i], sizeof keys[i], "a7-1/r%llu/s0-%u", (unsigned long long)round, i);
            views[i] = (struct tide_artifact_view){
                .path = tide_bytes_of(keys[i]), .size = 5, .shared = TIDE__SHARED__SHARED_NEW};
        }
        ck_assert_int_eq(tide_session_ack(bench.s, &m, bench.now), 0);
        flush();
        bench.trace[0] = '\0';
        done(round);
    }
    trigger(9, 0);
    ck_assert_int_eq(find(9, key_of(5, 499)), 5);
    ck_assert_int_eq(find(9, key_of(7, 999)), TIDE_ENOTFOUND);
    ck_assert_int_eq(find(9, key_of(8, 999)), 5);
    bench_close();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_file_is_known_from_its_checkpoint_on,
                                  a_file_that_a_round_under_way_leaves,
                                  full_rounds_know_nothing,
                                  an_aborted_round_brings_nothing_S79,
                                  what_is_restored_is_known_S127,
                                  what_is_anothers_is_not_known,
                                  a_start_says_where_shared_files_lie,
                                  version_1_shares_nothing,
                                  there_may_be_many};
    bench_union = true; /* so that version 2 is spoken */
    Suite *suite = suite_create("session share");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}

/* Each allocation fails in turn, those of proto/ and storage/ and those within SQLite: what fails
 * is told, nothing is lost, nothing leaks (the sanitizers' run says so), and the next try succeeds.
 *
 * malloc() and its kin are wrapped by the linker, SQLite has hooks of its own. Only what a call of
 * the store allocates is counted, so that every test repeats one call until its last allocation has
 * had its turn. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/files.h"
#include "tests/proto/lib_brief.h"
#include "tests/storage/lib_fixture.h"

enum whose { OURS, SQLITE };

static bool armed;
static enum whose whose;
static long calls, fail_at;

static bool fault(enum whose caller)
{
    return armed && caller == whose && ++calls == fail_at;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
    return fault(OURS) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fault(OURS) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fault(OURS) ? NULL : __real_realloc(old, size);
}

static sqlite3_mem_methods memory;

static void *sqlite_malloc(int n)
{
    return fault(SQLITE) ? NULL : memory.xMalloc(n);
}

static void *sqlite_realloc(void *p, int n)
{
    return fault(SQLITE) ? NULL : memory.xRealloc(p, n);
}

/* Calls until all allocations have failed once, every `step`th of them; TIDE_EACH=1: every one. */
static void each_in_turn(enum whose of, long step, long least, void (*call)(void))
{
    long reached;
    if (of == SQLITE && least >= 1000) step *= OF_NEIGHBOURS(9);
    if (getenv("TIDE_EACH")) step = 1;
    whose = of;
    fail_at = 0;
    do {
        fail_at += step;
        calls = 0;
        call();
        reached = calls;
    } while (reached >= fail_at);
    ck_assert_int_ge(reached, least); /* the last one met no fault */
}

#define ARMED(...)                                                                                 \
    do {                                                                                           \
        armed = true;                                                                              \
        __VA_ARGS__;                                                                               \
        armed = false;                                                                             \
    } while (0)

/* ---- opening */

static void open_once(void)
{
    char why[512] = "";
    struct tide_store_options o = options();
    int rc;
    st = NULL;
    ARMED(rc = tide_store_open(&o, &st, why));
    if (rc) {
        ck_assert_ptr_null(st);
        ck_assert_msg(rc == TIDE_ENOMEM || rc == TIDE_EIO || rc == TIDE_ENOSPC, "%ld: %d %s",
                      fail_at, rc, why);
        ck_assert(why[0] != '\0');
    }
    close_store();
}

static void open_fresh(void)
{
    char path[128];
    static const char *const files[] = {"tidemark.db", "tidemark.db-wal", "tidemark.db-shm",
                                        "journal.0",   "journal.1",       "tidemark.lock"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        (void)unlink(path);
    }
    open_once();
    if (fail_at % 64 == 1) { /* what a start that failed left behind is no obstacle */
        open_store();
        close_store();
    }
}

START_TEST(opening_a_fresh_store)
{
    each_in_turn(OURS, 1, 3, open_fresh);
    each_in_turn(SQLITE, 17, 2000, open_fresh);
}
END_TEST

static void fill(void)
{
    open_store();
    struct tide_commit *c = commit_new();
    add_job(c, job_a, "alpha");
    add_attempt(c, job_a, 1, 0);
    add_snapshot(c, job_a, 10, 0, 20);
    stored(c);
    c = commit_new();
    add_snapshot(c, job_a, 11, 10, 20000);
    stored(c);
    ck_assert_int_eq(tide_store_settle(st), 0);
}

START_TEST(opening_one_that_is_there)
{
    fill();
    close_store();
    each_in_turn(OURS, 1, 3, open_once);
    each_in_turn(SQLITE, 1, 1000, open_once);
    open_store();
    ck_assert_int_eq(number("SELECT count(*) FROM snapshot"), 2);
    ck_assert_int_eq(number("SELECT count(DISTINCT snapshot) FROM manifest"), 2);
}
END_TEST

/* ---- commits */

static uint64_t next_round;
static long not_stored, in_doubt;

static bool is_there(uint64_t round)
{
    char sql[128];
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM snapshot JOIN manifest ON snapshot = round WHERE round = "
                   "%" PRIu64,
                   round);
    return number(sql) > 0;
}

/* One alone, two as a group, of which one is large. */
static void commit_once(void)
{
    struct tide_commit *c[3];
    for (int i = 0; i < 3; i++) {
        c[i] = commit_new();
        add_snapshot(c[i], job_a, next_round + (uint64_t)i, 0, i == 2 ? 20000 : 20);
    }
    c[1]->next = c[2];
    ARMED(tide_store_commit(st, c[0]); tide_store_commit(st, c[1]);
          while (tide_store_maintain(st) > 0));
    if (st->dead) {
        in_doubt++;
        close_store();
        open_store();
    }
    for (int i = 0; i < 3; i++) {
        enum tide_outcome outcome = c[i]->outcome;
        ck_assert_int_eq(c[i]->error[0] != '\0', outcome != TIDE_STORED);
        if (outcome == TIDE_STORED)
            ck_assert_msg(is_there(next_round + (uint64_t)i), "%ld: stored and lost", fail_at);
        else
            not_stored++;
        if (outcome == TIDE_REFUSED || outcome == TIDE_NO_SPACE)
            ck_assert_msg(!is_there(next_round + (uint64_t)i), "%ld: there and not stored",
                          fail_at);
        tide_commit_free(c[i]);
    }
    next_round += 3;
}

static void commit_each(enum whose of, long least)
{
    fill();
    next_round = 100;
    not_stored = in_doubt = 0;
    each_in_turn(of, 1, least, commit_once);
    ck_assert_int_gt(not_stored, least / 4);
    close_store();
    open_store();
    ck_assert_int_gt(number("SELECT count(*) FROM snapshot"), 3);
}

START_TEST(commits_for_want_of_ours)
{
    commit_each(OURS, 4);
}
END_TEST

START_TEST(commits_for_want_of_sqlites)
{
    commit_each(SQLITE, 20);
}
END_TEST

/* ---- reading */

static void load_once(void)
{
    char why[512] = "";
    struct tide_catalog *c = NULL;
    int rc;
    ARMED(rc = tide_store_load(st, &c, why));
    if (rc) {
        ck_assert_ptr_null(c);
        ck_assert_msg(rc == TIDE_ENOMEM || rc == TIDE_ENOSPC, "%ld: %d %s", fail_at, rc, why);
        ck_assert(why[0] != '\0');
        return;
    }
    ck_assert_uint_eq(c->n_jobs, 1);
    ck_assert_uint_eq(c->jobs[0].n_snapshots, 2);
    tide_catalog_free(c);
}

START_TEST(loading)
{
    fill();
    each_in_turn(OURS, 1, 2, load_once);
    each_in_turn(SQLITE, 1, 100, load_once);
}
END_TEST

static void ask(struct tide_reader *r, Tide__Request *request, Tide__Request__CallCase call)
{
    request->call_case = call;
    Tide__Response *answer;
    ARMED(answer = tide_reader_answer(r, request));
    if (!answer) return;
    ck_assert(answer->result_case == TIDE__RESPONSE__RESULT_ERROR || fail_at > 0);
    tide__response__free_unpacked(answer, NULL);
}

static void read_once(void)
{
    char why[512];
    struct tide_reader *r;
    struct tide_buf image = {0};
    int rc;
    ARMED(rc = tide_reader_open(dir, &r, why));
    if (rc) return;
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ListSnapshots snapshots = TIDE__LIST_SNAPSHOTS__INIT;
    Tide__ShowSnapshot snapshot = TIDE__SHOW_SNAPSHOT__INIT;
    Tide__ListRounds rounds = TIDE__LIST_ROUNDS__INIT;
    Tide__Lineage lineage = TIDE__LINEAGE__INIT;
    snapshot.snapshot = lineage.snapshot = 10;
    snapshot.limit = 5;
    request.snapshots = &snapshots;
    ask(r, &request, TIDE__REQUEST__CALL_SNAPSHOTS);
    request.snapshot = &snapshot;
    ask(r, &request, TIDE__REQUEST__CALL_SNAPSHOT);
    request.rounds = &rounds;
    ask(r, &request, TIDE__REQUEST__CALL_ROUNDS);
    request.lineage = &lineage;
    ask(r, &request, TIDE__REQUEST__CALL_LINEAGE);
    ARMED(rc = tide_reader_manifest(r, 10, &image, why));
    tide_buf_release(&image);
    tide_reader_close(r);
}

START_TEST(answering)
{
    fill();
    each_in_turn(OURS, 1, 50, read_once);
    each_in_turn(SQLITE, 1, 1000, read_once);
}
END_TEST

/* ---- verifying */

static struct tide_buf whole;

static void verify_once(void)
{
    char why[256] = "";
    volatile int stop = 0;
    Tide__VerifyResult *result = NULL;
    int rc;
    ARMED(rc = tide_files_verify(in_dir("none"), (struct tide_bytes){whole.data, whole.len}, &stop,
                                 &result, why));
    if (rc) {
        ck_assert_ptr_null(result);
        ck_assert_int_eq(rc, TIDE_ENOMEM);
        ck_assert(why[0] != '\0');
        return;
    }
    tide__verify_result__free_unpacked(result, NULL);
}

START_TEST(verifying)
{
    char why[512];
    struct tide_reader *r;
    fill();
    ck_assert_int_eq(tide_reader_open(dir, &r, why), 0);
    ck_assert_int_eq(tide_reader_manifest(r, 10, &whole, why), 0);
    tide_reader_close(r);
    each_in_turn(OURS, 1, 10, verify_once);
    tide_buf_release(&whole);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, opening_a_fresh_store);
    tcase_add_test(tc, opening_one_that_is_there);
    tcase_add_test(tc, commits_for_want_of_ours);
    tcase_add_test(tc, commits_for_want_of_sqlites);
    tcase_add_test(tc, loading);
    tcase_add_test(tc, answering);
    tcase_add_test(tc, verifying);
}

int main(void)
{
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    sqlite3_mem_methods faulty = memory;
    faulty.xMalloc = sqlite_malloc;
    faulty.xRealloc = sqlite_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty) || sqlite3_initialize()) return 1;
    return run("memory", add_tests);
}

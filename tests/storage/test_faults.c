/* Whatever fails, at whatever moment: what was reported stored is there, what was reported as not
 * stored is not, and the store opens again. Each allocation, write and sync fails in turn; the disk
 * is full; the process is killed. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/journal.h"
#include "tests/storage/lib_fixture.h"

/* ---- faults: the one numbered fail_at, of those counted */

static long calls, fail_at; /* fail_at 0: none */
static bool count_io;       /* writes, syncs and truncations; otherwise allocations */

static bool fault(void)
{
    return ++calls == fail_at;
}

static sqlite3_mem_methods memory;

static void *fault_malloc(int n)
{
    return !count_io && fault() ? NULL : memory.xMalloc(n);
}

static void *fault_realloc(void *p, int n)
{
    return !count_io && fault() ? NULL : memory.xRealloc(p, n);
}

/* SQLite has a table of methods per kind of file; each gets its double. */
static struct double_ {
    sqlite3_io_methods methods; /* first: a file points here */
    const sqlite3_io_methods *real;
} doubles[8];
static int n_doubles;

static const sqlite3_io_methods *real(const sqlite3_file *f)
{
    return ((const struct double_ *)(const void *)f->pMethods)->real;
}

static int fail_as;

static int fault_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    if (!count_io || !fault()) return real(f)->xWrite(f, data, n, at);
    if (n > 512) real(f)->xWrite(f, data, n / 2, at); /* a part of it got out */
    return fail_as;
}

static int fault_sync(sqlite3_file *f, int flags)
{
    return count_io && fault() ? SQLITE_IOERR_FSYNC : real(f)->xSync(f, flags);
}

static int fault_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return count_io && fault() ? SQLITE_IOERR_TRUNCATE : real(f)->xTruncate(f, size);
}

static int fault_journal(void)
{
    return !count_io || !fault() ? 0 : fail_as == SQLITE_FULL ? ENOSPC : EIO;
}

static sqlite3_vfs *real_vfs, vfs;

static int fault_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    (void)v;
    int i = 0, rc = real_vfs->xOpen(real_vfs, name, f, flags, out);
    if (rc || !f->pMethods) return rc;
    while (i < n_doubles && doubles[i].real != f->pMethods)
        i++;
    if (i == n_doubles) {
        if (n_doubles == 8) abort();
        doubles[n_doubles++] = (struct double_){*f->pMethods, f->pMethods};
        doubles[i].methods.xWrite = fault_write;
        doubles[i].methods.xSync = fault_sync;
        doubles[i].methods.xTruncate = fault_truncate;
    }
    f->pMethods = &doubles[i].methods;
    return rc;
}

/* ---- the history that is repeated */

static enum tide_outcome outcome[3]; /* of its commits; 0: not reached */

static struct tide_commit *make(int i)
{
    struct tide_commit *c = commit_new();
    if (i == 0) {
        add_job(c, job_a, "alpha");
        add_attempt(c, job_a, 1, 0);
    }
    add_snapshot(c, job_a, 10 + (uint64_t)i, 0, i == 2 ? 20000 : 20);
    return c;
}

/* Commits 0, and 1 and 2 as a group. Commits are made with no fault under way. */
static void history(long k, void (*reading)(void))
{
    char why[512] = "";
    struct tide_store_options o = options();
    o.journal = 256 << 10;
    memset(outcome, 0, sizeof outcome);
    calls = 0;
    fail_at = k;
    int rc = tide_store_open(&o, &st, why);
    if (rc) {
        ck_assert_ptr_null(st);
        ck_assert(why[0] != '\0');
        return;
    }
    struct tide_commit *c[3];
    for (int i = 0; i < 3; i++) {
        long kept = fail_at;
        fail_at = 0;
        c[i] = make(i);
        fail_at = kept;
    }
    c[1]->next = c[2];
    for (int i = 0; i < 2; i++)
        tide_store_commit(st, c[i]);
    for (int i = 0; i < 3; i++) {
        outcome[i] = c[i]->outcome;
        ck_assert_int_ge(outcome[i], TIDE_STORED);
        ck_assert_int_le(outcome[i], TIDE_UNKNOWN);
        ck_assert_int_eq(c[i]->error[0] != '\0', outcome[i] != TIDE_STORED);
        tide_commit_free(c[i]);
    }
    while (tide_store_maintain(st) > 0)
        ;
    if (reading) reading();
    close_store();
}

static void check_history(const char *what, long k)
{
    fail_at = 0;
    open_store();
    for (int i = 0; i < 3; i++) {
        char sql[128];
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM snapshot JOIN manifest ON snapshot = round WHERE round = %d",
                 10 + i);
        bool is_there = number(sql) > 0;
        if (outcome[i] == TIDE_STORED)
            ck_assert_msg(is_there, "%s %ld: stored and lost: %d", what, k, i);
        if (outcome[i] == TIDE_REFUSED || outcome[i] == TIDE_NO_SPACE || outcome[i] == 0)
            ck_assert_msg(!is_there, "%s %ld: not stored and yet there: %d", what, k, i);
    }
    close_store();
}

static void each_in_turn(const char *what, void (*reading)(void))
{
    long k = 0, failures = 0;
    do {
        setup();
        history(++k, reading);
        long reached = calls;
        for (int i = 0; i < 3; i++)
            failures += outcome[i] != TIDE_STORED;
        check_history(what, k);
        teardown();
        if (reached < k) break;
    } while (true);
    ck_assert_int_gt(k, 50);
    ck_assert_int_gt(failures, 10);
}

START_TEST(each_write_fails)
{
    count_io = true;
    fail_as = SQLITE_IOERR_WRITE;
    each_in_turn("I/O error", NULL);
}
END_TEST

START_TEST(each_write_finds_the_disk_full)
{
    count_io = true;
    fail_as = SQLITE_FULL;
    each_in_turn("disk full", NULL);
}
END_TEST

/* ---- memory, also while loading and answering */

static void ask(struct tide_reader *r, Tide__Request *request, Tide__Request__CallCase call)
{
    request->call_case = call;
    Tide__Response *answer = tide_reader_answer(r, request);
    if (answer) tide__response__free_unpacked(answer, NULL);
}

static void reading(void)
{
    char why[512];
    struct tide_catalog *c;
    struct tide_reader *r;
    struct tide_buf image = {0};
    if (tide_store_load(st, &c, why) == 0) tide_catalog_free(c);
    if (tide_reader_open(dir, &r, why)) return;
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ListSnapshots snapshots = TIDE__LIST_SNAPSHOTS__INIT;
    Tide__ShowSnapshot snapshot = TIDE__SHOW_SNAPSHOT__INIT;
    Tide__ListRounds rounds = TIDE__LIST_ROUNDS__INIT;
    Tide__Lineage lineage = TIDE__LINEAGE__INIT;
    snapshot.snapshot = 10;
    snapshot.limit = 5;
    lineage.snapshot = 10;
    request.snapshots = &snapshots;
    ask(r, &request, TIDE__REQUEST__CALL_SNAPSHOTS);
    request.snapshot = &snapshot;
    ask(r, &request, TIDE__REQUEST__CALL_SNAPSHOT);
    request.rounds = &rounds;
    ask(r, &request, TIDE__REQUEST__CALL_ROUNDS);
    request.lineage = &lineage;
    ask(r, &request, TIDE__REQUEST__CALL_LINEAGE);
    if (tide_reader_manifest(r, 10, &image, why) == 0) tide_buf_release(&image);
    tide_reader_close(r);
}

START_TEST(each_allocation_fails)
{
    count_io = false;
    tide_mem_set_fault(fault);
    long k = 0, reached;
    /* All of them take minutes: TIDE_EACH=1 does that, otherwise it is every 29th. */
    long stride = getenv("TIDE_EACH") ? 1 : 29;
    do {
        k += stride;
        setup();
        tide_mem_set_fault(fault);
        history(k, reading);
        reached = calls;
        tide_mem_set_fault(NULL);
        check_history("allocation", k);
        teardown();
    } while (reached >= k);
    ck_assert_int_gt(k, 500);
}
END_TEST

/* ---- a full disk, as the store sees it */

START_TEST(full_disk)
{
    char sql[64];
    setup();
    open_store();
    stored(make(0));
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %" PRId64, number("PRAGMA page_count") + 4);
    sqlite3_exec(st->db, sql, NULL, NULL, NULL);
    /* The journal has room: it is stored, but the database cannot follow. Nothing more is taken. */
    stored(make(2));
    ck_assert_int_eq(tide_store_settle(st), TIDE_ENOSPC);
    ck_assert_int_eq(tide_store_maintain(st), 0);
    expect(make(1), TIDE_NO_SPACE, "full");
    sqlite3_exec(st->db, "PRAGMA max_page_count = 100000", NULL, NULL, NULL);
    stored(make(1));
    ck_assert_int_eq(number("SELECT count(*) FROM snapshot"), 3);
    ck_assert_int_eq(number("SELECT count(*) FROM manifest WHERE snapshot = 12"), 3);
    teardown();
}
END_TEST

/* ---- killed at any moment */

static void child(int fd)
{
    for (uint64_t n = (uint64_t)number("SELECT coalesce(max(number), 100) FROM round") + 1;; n++) {
        struct tide_commit *c = commit_new();
        add_snapshot(c, job_a, n, 0, 20);
        tide_store_commit(st, c);
        if (c->outcome != TIDE_STORED || write(fd, &n, sizeof n) != sizeof n) _exit(1);
        tide_commit_free(c);
        if (n % 16 == 0 && tide_store_maintain(st) < 0) _exit(1);
    }
}

START_TEST(killed)
{
    uint64_t last = 100;
    setup();
    open_store();
    struct tide_commit *c = commit_new();
    add_job(c, job_a, "alpha");
    add_attempt(c, job_a, 1, 0);
    stored(c);
    close_store();
    srand(7);
    for (int i = 0; i < 25; i++) {
        int fds[2];
        uint64_t n;
        ck_assert_int_eq(pipe(fds), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(fds[0]);
            open_store();
            child(fds[1]);
        }
        close(fds[1]);
        usleep((useconds_t)(2000 + rand() % 30000));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (read(fds[0], &n, sizeof n) == sizeof n)
            last = n;
        close(fds[0]);
        open_store();
        int64_t there = number("SELECT coalesce(max(round), 100) FROM snapshot");
        ck_assert_int_ge(there, (int64_t)last);
        ck_assert_int_le(there, (int64_t)last + 1); /* one may be durable and not reported yet */
        ck_assert_int_eq(number("SELECT count(*) FROM snapshot"), there - 100);
        ck_assert_int_eq(number("SELECT count(*) FROM round"), there - 100);
        last = (uint64_t)there;
        close_store();
    }
    ck_assert_uint_gt(last, 110);
    teardown();
}
END_TEST

int main(void)
{
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    sqlite3_mem_methods faulty = memory;
    faulty.xMalloc = fault_malloc;
    faulty.xRealloc = fault_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty) || sqlite3_initialize()) return 1;
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.zName = "faulty";
    vfs.xOpen = fault_open;
    sqlite3_vfs_register(&vfs, 1);

    tide_journal_set_fault(fault_journal);

    Suite *suite = suite_create("faults");
    TCase *tc = tcase_create("faults");
    tcase_set_timeout(tc, 280);
    tcase_add_test(tc, each_write_fails);
    tcase_add_test(tc, each_write_finds_the_disk_full);
    tcase_add_test(tc, each_allocation_fails);
    tcase_add_test(tc, full_disk);
    tcase_add_test(tc, killed);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

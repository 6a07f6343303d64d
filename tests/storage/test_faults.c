/* Whatever fails, at whatever moment: what was reported stored is there, what was reported as not
 * stored is not, and the store opens again. Each write and sync fails in turn; the disk is full;
 * the process is killed. Allocations: test_memory.c. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/flusher.h"
#include "storage/journal.h"
#include "tests/proto/lib_brief.h"
#include "tests/storage/lib_fixture.h"

/* ---- faults: the one numbered fail_at, of those counted */

static long calls, fail_at; /* fail_at 0: none */

static bool fault(void)
{
    return ++calls == fail_at;
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
    if (!fault()) return real(f)->xWrite(f, data, n, at);
    if (n > 512) real(f)->xWrite(f, data, n / 2, at); /* a part of it got out */
    return fail_as;
}

static int fault_sync(sqlite3_file *f, int flags)
{
    return fault() ? SQLITE_IOERR_FSYNC : real(f)->xSync(f, flags);
}

static int fault_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return fault() ? SQLITE_IOERR_TRUNCATE : real(f)->xTruncate(f, size);
}

static int fault_journal(void)
{
    return !fault() ? 0 : fail_as == SQLITE_FULL ? ENOSPC : EIO;
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
static void history(long k)
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

static void each_in_turn(const char *what)
{
    int step = OF_NEIGHBOURS(3);
    long k = 0, failures = 0;
    do {
        setup();
        history(k += step);
        long reached = calls;
        for (int i = 0; i < 3; i++)
            failures += outcome[i] != TIDE_STORED;
        check_history(what, k);
        teardown();
        if (reached < k) break;
    } while (true);
    ck_assert_int_gt(k, 50);
    ck_assert_int_gt(failures, 10 / step);
}

START_TEST(each_write_fails)
{
    fail_as = SQLITE_IOERR_WRITE;
    each_in_turn("I/O error");
}
END_TEST

START_TEST(each_write_finds_the_disk_full)
{
    fail_as = SQLITE_FULL;
    each_in_turn("disk full");
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
    /* The journal has room: it is stored, but the database cannot show it. */
    stored(make(2));
    ck_assert_int_eq(tide_store_settle(st), TIDE_ENOSPC);
    ck_assert_int_eq(tide_store_maintain(st), 0);
    /* What makes room is stored as well, and then there is. */
    struct tide_commit *c = commit_new();
    add_snapshot_state(c, job_a, 12, TIDE_DELETING);
    add_snapshot_state(c, job_a, 12, TIDE_DELETED);
    stored(c);
    ck_assert_int_eq(tide_store_settle(st), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM snapshot"), 2);
    ck_assert_int_eq(number("SELECT count(*) FROM manifest WHERE snapshot = 12"), 0);
    c = commit_new();
    add_snapshot(c, job_a, 13, 0, 20000);
    stored(c);
    ck_assert_int_eq(tide_store_settle(st), TIDE_ENOSPC);
    sqlite3_exec(st->db, "PRAGMA max_page_count = 100000", NULL, NULL, NULL);
    stored(make(1));
    ck_assert_int_eq(number("SELECT count(*) FROM snapshot"), 4);
    ck_assert_int_eq(number("SELECT count(*) FROM manifest WHERE snapshot = 13"), 3);
    teardown();
}
END_TEST

/* ---- killed at any moment */

/* Check takes the messages of assertions from a file that the child shares; half of one, left by
 * a kill, would end the whole program. So the child has them written elsewhere: all files that it
 * inherits but fd are none of its business. */
static void leave_check(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) _exit(1);
    for (int i = STDERR_FILENO + 1; i < 64; i++)
        if (i != fd && i != null && fcntl(i, F_GETFD) >= 0 && dup2(null, i) < 0) _exit(1);
}

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
            leave_check(fds[1]);
            open_store();
            child(fds[1]);
        }
        close(fds[1]);
        /* every second one has stored something, however slow the machine */
        if (i % 2 == 0) ck_assert_int_eq(poll(&(struct pollfd){fds[0], POLLIN, 0}, 1, 60000), 1);
        usleep((useconds_t)(2000 + rand() % 30000));
        kill(pid, SIGKILL);
        int status = 0;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status)); /* otherwise the child had failed before */
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
    if (sqlite3_initialize()) return 1;
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.zName = "faulty";
    vfs.xOpen = fault_open;
    sqlite3_vfs_register(&vfs, 1);

    tide_flusher_set_fault(fault_journal);

    Suite *suite = suite_create("faults");
    TCase *tc = tcase_create("faults");
    tcase_set_timeout(tc, 280);
    tcase_add_test(tc, each_write_fails);
    tcase_add_test(tc, each_write_finds_the_disk_full);
    tcase_add_test(tc, full_disk);
    tcase_add_test(tc, killed);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

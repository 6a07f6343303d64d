/* File lanes: results come back, the queue has a bound, work that takes too long counts as failed
 * and comes to nothing, one root's trouble is not another's. */
#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/lanes.h"
#include "daemon/util.h"
#include "proto/err.h"

static uv_loop_t loop;
static struct lanes *lanes;
static atomic_int dropped, running, gate; /* gate 1: work may go on */

struct job {
    struct lane_work work;
    int rc;         /* what it is to return */
    bool waits;     /* for the gate */
    bool sees_stop; /* ends when told to stop */
    int done_rc, *order;
    char text[LANES_WHY];
};

static int done, at_most; /* how many; end the loop then */
static int results[64];
static char whys[64][LANES_WHY];
static const struct job *done_jobs[64];

static int job_run(struct lane_work *w, const volatile int *stop, char why[static LANES_WHY])
{
    const struct job *j = (const struct job *)w;
    atomic_fetch_add(&running, 1);
    while (j->waits && !atomic_load(&gate) &&
           !(j->sees_stop && __atomic_load_n(stop, __ATOMIC_RELAXED)))
        (void)usleep(500);
    if (j->rc) (void)strcpy(why, "as told");
    atomic_fetch_sub(&running, 1);
    return j->rc;
}

static void job_done(struct lane_work *w, int rc, const char *why)
{
    ck_assert_int_lt(done, 64);
    results[done] = rc;
    done_jobs[done] = (const struct job *)w;
    (void)strncpy(whys[done], why, LANES_WHY - 1);
    if (++done == at_most) uv_stop(&loop);
}

static void job_drop(struct lane_work *w)
{
    free(w);
    atomic_fetch_add(&dropped, 1);
}

static struct job *submit(const char *root, uint64_t timeout_us, int rc, bool waits)
{
    struct job *j = must_alloc(sizeof *j);
    j->work = (struct lane_work){job_run, job_done, job_drop, timeout_us};
    j->rc = rc;
    j->waits = waits;
    j->sees_stop = waits && rc == 0;
    lanes_submit(lanes, root, &j->work);
    return j;
}

static void wait_for(int n)
{
    at_most = n;
    if (done < n) (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(done, n);
}

static void setup(void)
{
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    struct lanes_options o = {.loop = &loop, .threads = 2, .queue = 3, .roots = 4};
    lanes = lanes_open(&o);
}

static void teardown(void)
{
    atomic_store(&gate, 1);
    ck_assert(lanes_close(lanes, 5000000));
    while (uv_run(&loop, UV_RUN_DEFAULT))
        ;
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ck_assert_int_eq(atomic_load(&running), 0);
}

#define LONG 60000000u

START_TEST(results_come_back)
{
    (void)submit("/a", LONG, 0, false);
    wait_for(1);
    ck_assert_int_eq(results[0], 0);
    (void)submit("/a", LONG, TIDE_EIO, false);
    wait_for(2);
    ck_assert_int_eq(results[1], TIDE_EIO);
    ck_assert_str_eq(whys[1], "as told");
    ck_assert_int_eq(atomic_load(&dropped), 2);
}
END_TEST

START_TEST(many_pieces_all_come_back)
{
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 3; i++)
            (void)submit(i == 2 ? "/b" : "/a", LONG, 0, false);
        wait_for(3 * (round + 1));
    }
    ck_assert_int_eq(atomic_load(&dropped), 30);
}
END_TEST

/* Two run, three wait, the sixth is refused; done() never comes from within submit. */
START_TEST(the_queue_has_a_bound)
{
    for (int i = 0; i < 2; i++)
        (void)submit("/a", LONG, 0, true);
    while (atomic_load(&running) < 2)
        (void)usleep(500);
    for (int i = 0; i < 4; i++)
        (void)submit("/a", LONG, 0, true);
    ck_assert_int_eq(done, 0);
    wait_for(1);
    ck_assert_int_eq(results[0], TIDE_EBUSY);
    ck_assert_str_eq(whys[0], "3 file operations are waiting below /a already ([files] queue)");
    atomic_store(&gate, 1);
    wait_for(6);
    for (int i = 1; i < 6; i++)
        ck_assert_int_eq(results[i], 0);
    ck_assert_int_eq(atomic_load(&dropped), 6);
}
END_TEST

START_TEST(a_hung_root_does_not_hold_up_another)
{
    for (int i = 0; i < 5; i++) {
        (void)submit("/hung", LONG, TIDE_EIO, true);
        while (i == 1 && atomic_load(&running) < 2)
            (void)usleep(500);
    }
    const struct job *other = submit("/fine", LONG, 0, false);
    wait_for(1);
    ck_assert_ptr_eq(done_jobs[0], other);
    atomic_store(&gate, 1);
    wait_for(6);
}
END_TEST

/* The limit gives the caller its answer; the late result is dropped, by the thread. */
START_TEST(late_results_are_dropped)
{
    struct job *j = submit("/a", 50000, TIDE_EIO, true); /* does not look at stop */
    while (atomic_load(&running) < 1)
        (void)usleep(500);
    wait_for(1);
    ck_assert_int_eq(results[0], TIDE_ETIMEDOUT);
    ck_assert_str_eq(whys[0], "took longer than 0.1 s");
    ck_assert_ptr_eq(done_jobs[0], j);
    ck_assert_int_eq(atomic_load(&dropped), 0); /* still in use */
    atomic_store(&gate, 1);
    (void)submit("/b", LONG, 0, false);
    wait_for(2);
    for (int i = 0; i < 2000 && atomic_load(&dropped) < 2; i++)
        (void)usleep(1000);
    ck_assert_int_eq(atomic_load(&dropped), 2);
    ck_assert_int_eq(done, 2);
}
END_TEST

START_TEST(what_waits_too_long_never_runs)
{
    (void)submit("/a", LONG, TIDE_EIO, true);
    (void)submit("/a", LONG, TIDE_EIO, true);
    while (atomic_load(&running) < 2)
        (void)usleep(500);
    (void)submit("/a", 20000, 0, false);
    wait_for(1);
    ck_assert_int_eq(results[0], TIDE_ETIMEDOUT);
    ck_assert_int_eq(atomic_load(&dropped), 1);
    ck_assert_int_eq(atomic_load(&running), 2);
    atomic_store(&gate, 1);
    wait_for(3);
}
END_TEST

START_TEST(cancelled_work_is_told_to_stop)
{
    struct job *j = submit("/a", LONG, 0, true);
    while (atomic_load(&running) < 1)
        (void)usleep(500);
    lanes_cancel(lanes, &j->work);
    ck_assert_int_eq(done, 1);
    ck_assert_int_eq(results[0], TIDE_ECLOSED);
    for (int i = 0; i < 2000 && atomic_load(&dropped) < 1; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT); /* it may have ended before it was given up */
        (void)usleep(1000);
    }
    ck_assert_int_eq(atomic_load(&dropped), 1);
    ck_assert_int_eq(done, 1);
}
END_TEST

START_TEST(more_roots_than_lanes_share)
{
    static const char *const roots[] = {"/1", "/2", "/3", "/4", "/5", "/6"};
    for (int i = 0; i < 6; i++)
        (void)submit(roots[i], LONG, 0, false);
    wait_for(6);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(results[i], 0);
}
END_TEST

/* Closing drops what waits, without a word. */
START_TEST(closing_with_work_under_way)
{
    for (int i = 0; i < 5; i++) {
        (void)submit("/a", LONG, 0, true); /* these look at stop */
        while (i == 1 && atomic_load(&running) < 2)
            (void)usleep(500);
    }
}
END_TEST

/* A thread that hangs is left alone; closing says so within its limit. */
START_TEST(a_hung_thread_does_not_hold_up_the_end)
{
    struct lanes_options o = {.loop = &loop, .threads = 1, .queue = 3, .roots = 1};
    struct lanes *first = lanes, *second = lanes_open(&o);
    lanes = second;
    (void)submit("/a", LONG, TIDE_EIO, true); /* does not look at stop */
    while (atomic_load(&running) < 1)
        (void)usleep(500);
    ck_assert(!lanes_close(second, 0));
    lanes = first;
    atomic_store(&gate, 1);
    while (atomic_load(&running))
        (void)usleep(500);
    _exit(0); /* as the daemon does: that thread's memory is not given back */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lanes");
    TCase *t = tcase_create("lanes");
    tcase_set_timeout(t, 30);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, results_come_back);
    tcase_add_test(t, many_pieces_all_come_back);
    tcase_add_test(t, the_queue_has_a_bound);
    tcase_add_test(t, a_hung_root_does_not_hold_up_another);
    tcase_add_test(t, late_results_are_dropped);
    tcase_add_test(t, what_waits_too_long_never_runs);
    tcase_add_test(t, cancelled_work_is_told_to_stop);
    tcase_add_test(t, more_roots_than_lanes_share);
    tcase_add_test(t, closing_with_work_under_way);
    tcase_add_exit_test(t, a_hung_thread_does_not_hold_up_the_end, 0);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* The store thread: what is ready together is committed together, what nobody awaits rides along,
 * a store that hangs is reported. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/store_thread.h"
#include "proto/err.h"

static uv_loop_t loop;
static struct store_thread *thread;

/* A store that writes down what it is given. */
static struct {
    atomic_int settled, groups, maintained, gate, at_gate, in_maintain;
    int sizes[64];
    int settle_rc, maintain_rc, steps; /* that maintaining takes beside the last */
} store;

static int done, at_most;
static uint64_t tags[1024];
static char failure[200];

static void fake_commit(void *unused, struct tide_commit *list)
{
    (void)unused;
    int n = 0;
    atomic_store(&store.at_gate, 1);
    while (!atomic_load(&store.gate))
        (void)usleep(500);
    atomic_store(&store.at_gate, 0);
    for (; list; list = list->next, n++)
        list->outcome = TIDE_STORED;
    store.sizes[atomic_load(&store.groups)] = n;
    atomic_fetch_add(&store.groups, 1);
}

static int fake_settle(void *unused)
{
    (void)unused;
    atomic_fetch_add(&store.settled, 1);
    return store.settle_rc;
}

static int fake_maintain(void *unused)
{
    (void)unused;
    atomic_fetch_add(&store.maintained, 1);
    return atomic_load(&store.maintained) <= store.steps ? 1 : store.maintain_rc;
}

static void on_done(void *user, struct tide_commit *list)
{
    (void)user;
    while (list) {
        struct tide_commit *c = list;
        list = c->next;
        ck_assert_int_eq(c->outcome, TIDE_STORED);
        tags[done++] = c->tag;
        tide_commit_free(c);
    }
    if (done >= at_most) uv_stop(&loop);
}

static void on_failed(void *user, const char *why)
{
    (void)user;
    ck_assert_str_eq(failure, "");
    (void)strncpy(failure, why, sizeof failure - 1);
    uv_stop(&loop);
}

static void start(uint64_t ride_us, uint64_t timeout_us)
{
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    struct store_thread_options o = {.loop = &loop,
                                     .commit = fake_commit,
                                     .settle = fake_settle,
                                     .maintain = fake_maintain,
                                     .quiet_us = 50000,
                                     .ride_us = ride_us,
                                     .timeout_us = timeout_us,
                                     .done = on_done,
                                     .failed = on_failed};
    thread = store_thread_start(&o);
}

static void stop(void)
{
    ck_assert(store_thread_stop(thread));
    while (uv_run(&loop, UV_RUN_DEFAULT))
        ;
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void submit(uint64_t tag, bool awaited)
{
    struct tide_commit *c = tide_commit_new(awaited);
    ck_assert_ptr_nonnull(c);
    c->tag = tag;
    store_thread_submit(thread, c);
}

static void wait_for(int n)
{
    at_most = n;
    if (done < n) (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(done, n);
}

START_TEST(one_by_one)
{
    atomic_store(&store.gate, 1);
    start(1000000, 30000000);
    for (int i = 0; i < 20; i++) {
        submit((uint64_t)i, true);
        wait_for(i + 1);
        ck_assert_uint_eq(tags[i], (uint64_t)i);
    }
    ck_assert_int_eq(atomic_load(&store.groups), 20);
    ck_assert_uint_eq(store_thread_flushes(thread), 20);
    ck_assert_uint_eq(store_thread_waiting(thread), 0);
    stop();
}
END_TEST

/* While one group is being flushed, all that comes meanwhile becomes the next. */
START_TEST(what_is_ready_shares_a_flush)
{
    start(1000000, 30000000);
    submit(0, true);
    while (!atomic_load(&store.at_gate))
        (void)usleep(500);
    for (uint64_t i = 1; i <= 100; i++)
        submit(i, true);
    ck_assert_uint_eq(store_thread_waiting(thread), 101);
    atomic_store(&store.gate, 1);
    wait_for(101);
    ck_assert_int_eq(atomic_load(&store.groups), 2);
    ck_assert_int_eq(store.sizes[0], 1);
    ck_assert_int_eq(store.sizes[1], 100);
    for (uint64_t i = 0; i <= 100; i++)
        ck_assert_uint_eq(tags[i], i);
    stop();
}
END_TEST

/* A rider causes no flush; the next awaited commit takes it along, in order. */
START_TEST(riders_wait_for_an_awaited_commit)
{
    atomic_store(&store.gate, 1);
    start(60000000, 30000000);
    submit(1, false);
    submit(2, false);
    (void)usleep(50000);
    ck_assert_int_eq(atomic_load(&store.groups), 0);
    submit(3, true);
    wait_for(3);
    ck_assert_int_eq(atomic_load(&store.groups), 1);
    ck_assert_int_eq(store.sizes[0], 3);
    for (uint64_t i = 0; i < 3; i++)
        ck_assert_uint_eq(tags[i], i + 1);
    stop();
}
END_TEST

START_TEST(riders_do_not_wait_for_ever)
{
    atomic_store(&store.gate, 1);
    start(100000, 30000000);
    uint64_t before = uv_hrtime();
    submit(1, false);
    wait_for(1);
    uint64_t took = (uv_hrtime() - before) / 1000;
    ck_assert_uint_ge(took, 50000); /* the loop's clock is a little behind */
    ck_assert_uint_lt(took, 5000000);
    stop();
}
END_TEST

/* The end commits what is queued, riders too. */
START_TEST(stopping_loses_nothing)
{
    start(60000000, 30000000);
    submit(1, true);
    submit(2, false);
    submit(3, true);
    submit(4, false);
    atomic_store(&store.gate, 1);
    stop();
    ck_assert_int_eq(done, 4);
}
END_TEST

START_TEST(maintained_when_quiet_and_only_then)
{
    atomic_store(&store.gate, 1);
    start(1000000, 30000000);
    (void)usleep(60000);
    ck_assert_int_eq(atomic_load(&store.maintained), 0); /* nothing was committed yet */
    submit(1, true);
    wait_for(1);
    for (int i = 0; i < 2000 && !atomic_load(&store.maintained); i++)
        (void)usleep(1000);
    ck_assert_int_eq(atomic_load(&store.maintained), 1);
    (void)usleep(100000);
    ck_assert_int_eq(atomic_load(&store.maintained), 1);
    stop();
}
END_TEST

/* What takes several steps goes on at once, and lets a commit in between. */
START_TEST(maintained_step_by_step)
{
    atomic_store(&store.gate, 1);
    store.steps = 5;
    start(1000000, 30000000);
    submit(1, true);
    wait_for(1);
    for (int i = 0; i < 2000 && atomic_load(&store.maintained) < 6; i++)
        (void)usleep(1000);
    (void)usleep(150000);
    ck_assert_int_eq(atomic_load(&store.maintained), 6);
    stop();
}
END_TEST

START_TEST(readers_wait_until_they_see_what_is_stored)
{
    atomic_store(&store.gate, 1);
    start(1000000, 30000000);
    ck_assert_int_eq(store_thread_settle(thread), 0);
    ck_assert_int_eq(atomic_load(&store.settled), 0); /* nothing to wait for */
    for (int i = 1; i <= 3; i++) {
        submit((uint64_t)i, true);
        wait_for(i);
        ck_assert_int_eq(store_thread_settle(thread), 0);
        ck_assert_int_eq(atomic_load(&store.settled), i);
        ck_assert_int_eq(store_thread_settle(thread), 0);
        ck_assert_int_eq(atomic_load(&store.settled), i);
    }
    store.settle_rc = TIDE_ENOSPC; /* no reader must take what was before for what is */
    submit(4, true);
    wait_for(4);
    ck_assert_int_eq(store_thread_settle(thread), TIDE_ENOSPC);
    ck_assert_int_eq(store_thread_settle(thread), TIDE_ENOSPC);
    store.settle_rc = TIDE_EIO;
    submit(5, true);
    wait_for(5);
    ck_assert_int_eq(store_thread_settle(thread), TIDE_EIO);
    at_most = 1000;
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_str_eq(failure, "the database cannot be written");
    stop();
}
END_TEST

/* A reader that waits for a store that hangs is let go, and the loop runs out all the same. */
static void *settle_on_a_thread(void *rc)
{
    *(int *)rc = store_thread_settle(thread);
    return NULL;
}

START_TEST(who_waits_is_let_go)
{
    pthread_t reader;
    int rc = 1;
    atomic_store(&store.gate, 1);
    start(1000000, 30000000);
    submit(1, true);
    wait_for(1);
    atomic_store(&store.gate, 0); /* the next commit hangs, and with it the thread */
    submit(2, true);
    while (!atomic_load(&store.at_gate))
        (void)usleep(500);
    ck_assert_int_eq(pthread_create(&reader, NULL, settle_on_a_thread, &rc), 0);
    (void)usleep(50000);
    store_thread_let_go(thread);
    ck_assert_int_eq(pthread_join(reader, NULL), 0);
    ck_assert_int_eq(rc, TIDE_EBUSY);
    atomic_store(&store.gate, 1);
    stop();
}
END_TEST

START_TEST(a_store_that_cannot_be_maintained_is_reported)
{
    atomic_store(&store.gate, 1);
    store.maintain_rc = TIDE_EIO;
    start(1000000, 30000000);
    submit(1, true);
    wait_for(1);
    at_most = 1000;
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_str_eq(failure, "the database cannot be written");
    stop();
}
END_TEST

START_TEST(a_store_that_hangs_is_reported)
{
    start(1000000, 100000);
    submit(1, true);
    at_most = 1;
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(done, 0);
    ck_assert_ptr_eq(strstr(failure, "the store has not answered for 0."), failure);
    ck_assert_ptr_nonnull(strstr(failure, " s ([store] timeout)"));
    ck_assert_uint_ge(store_thread_busy_us(thread), 90000); /* so that no watchdog is fed */
    atomic_store(&store.gate, 1);
    stop();
    ck_assert_int_eq(done, 1);
}
END_TEST

START_TEST(a_busy_store_is_not_a_hung_one)
{
    atomic_store(&store.gate, 1);
    start(10000, 1000000);
    for (uint64_t i = 0; i < 200; i++) { /* twice the limit */
        submit(i, i % 3 == 0);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        (void)usleep(10000);
        if (atomic_load(&store.groups) > 60) atomic_store(&store.groups, 0);
    }
    ck_assert_str_eq(failure, "");
    stop();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("store thread");
    TCase *t = tcase_create("store thread");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, one_by_one);
    tcase_add_test(t, what_is_ready_shares_a_flush);
    tcase_add_test(t, riders_wait_for_an_awaited_commit);
    tcase_add_test(t, riders_do_not_wait_for_ever);
    tcase_add_test(t, stopping_loses_nothing);
    tcase_add_test(t, maintained_when_quiet_and_only_then);
    tcase_add_test(t, maintained_step_by_step);
    tcase_add_test(t, readers_wait_until_they_see_what_is_stored);
    tcase_add_test(t, who_waits_is_let_go);
    tcase_add_test(t, a_store_that_cannot_be_maintained_is_reported);
    tcase_add_test(t, a_store_that_hangs_is_reported);
    tcase_add_test(t, a_busy_store_is_not_a_hung_one);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

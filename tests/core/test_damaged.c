/* Requests that the store gives back damaged: what an admin has asked for is carried out as far as
 * the columns beside the request say it, or fails; nothing is made up. */
#include <stdio.h>

#include "tests/core/lib_play.h"

static const struct job_options plain = {
    .sources = 2, .sinks = 1, .deadline_ms = 60000, .retained = 3};
static struct play p;

/* Two ways to be damaged: no message at all, and another request than was asked. */
static struct tide_bytes damaged(int way)
{
    static uint8_t packed[64];
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__ListJobs m = TIDE__LIST_JOBS__INIT;
    if (way == 0) return tide_bytes_of("\xff\xff\xff");
    r.id = 1;
    r.call_case = TIDE__REQUEST__CALL_LIST_JOBS;
    r.list_jobs = &m;
    return (struct tide_bytes){packed, tide__request__pack(&r, packed)};
}

static void run(void)
{
    play_running(&p, &plain);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_checkpoint(&p, &(struct ask){0});
    play_settle(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    play_confirm(&p, 1, p.round, 0, 3);
    play_settle(&p);
    play_savepoint(&p, ADMIN, "first");
    play_settle(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    ck_assert_uint_eq(p.round, 4);
}

/* The daemon dies as soon as the request is durable; the next one reads it damaged, and the worker
 * comes back. */
static void comes_back(int way)
{
    struct shelf_job *j = &p.shelf.jobs[0];
    play_stored(&p, TIDE_STORED);
    struct tide_catalog_operation *o = &j->operations[j->n_operations - 1];
    ck_assert_int_eq(o->state, TIDE_OP_QUEUED);
    o->request = damaged(way);
    play_crash(&p);
    play_settle(&p);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &plain,
              &(struct join_options){.count = 3,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = 1,
                                     .told_complete = 2,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_settle(&p);
}

static void outcome(const char *lines)
{
    uint64_t id = p.shelf.jobs[0].operations[p.shelf.jobs[0].n_operations - 1].id;
    play_forget(&p);
    play_ask_operation(&p, ADMIN, id);
    play_expect(&p, lines);
}

START_TEST(a_round)
{
    run();
    play_ask_checkpoint(&p, &(struct ask){.full = true});
    comes_back(_i);
    ck_assert_ptr_nonnull(strstr(p.trace, "trigger checkpoint"));
    ck_assert_ptr_null(strstr(p.trace, ", full"));
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    outcome("to 100: operation checkpoint done\n");
    play_end(&p);

    run();
    play_ask_savepoint(&p, &(struct ask){.commits = true});
    comes_back(_i);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "commits nothing")); /* nobody knows that it should */
    outcome("to 100: operation savepoint done\n");
    play_end(&p);
}
END_TEST

/* A stop becomes the gentlest of its kind; a cancel needs no more than its name. */
START_TEST(a_stop)
{
    run();
    play_ask_stop(&p, &(struct ask){.drain = true, .checkpoint = true});
    comes_back(_i);
    ck_assert_ptr_nonnull(strstr(p.trace, "trigger savepoint"));
    ck_assert_ptr_nonnull(strstr(p.trace, ", suspend\n"));
    play_end(&p);

    run();
    play_ask_cancel(&p, &(struct ask){0});
    comes_back(_i);
    outcome("to 100: operation cancel done\n");
    play_end(&p);
}
END_TEST

START_TEST(an_order)
{
    Tide__RestoreJob m = TIDE__RESTORE_JOB__INIT;
    run();
    play_ask_hold(&p, &(struct ask){.cause = "why"});
    comes_back(_i);
    outcome("to 100: operation hold done\n");
    play_forget(&p);
    play_ask_job(&p, ADMIN);
    ck_assert_ptr_nonnull(strstr(p.trace, "job HELD"));
    play_forget(&p);
    play_ask_release(&p, &(struct ask){.abandon = true});
    comes_back(_i);
    outcome("to 100: operation release done\n");
    play_end(&p);

    run();
    m.from_case = TIDE__RESTORE_JOB__FROM_LATEST;
    m.latest = true;
    play_ask_restore(&p, &m);
    comes_back(_i);
    outcome("to 100: operation restore failed: the order as it was stored cannot be read\n");
    play_end(&p);
}
END_TEST

START_TEST(a_disposal)
{
    run();
    play_ask_dispose(&p, &(struct ask){.snapshot = 4});
    comes_back(_i);
    outcome("to 100: operation dispose done\n");
    play_end(&p);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_round, a_stop, an_order, a_disposal};
    Suite *suite = suite_create("damaged");
    TCase *all = tcase_create("damaged");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_loop_test(all, tests[i], 0, 2);
    tcase_set_timeout(all, 60);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

/* Promises about regional failover, each as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_regions.h"

/* The usual way: the region of the lost worker starts from the newest snapshot, the others advance,
 * the round under way aborts, the next begins when all are at the new attempt. */
START_TEST(survivors_advance)
{
    static struct play p;
    region_running(&p, &region_columns, 6);
    region_round(&p, 6);
    play_wait(&p, 100);
    play_expect(&p, "ride: round-begin\nto 6,5,4,3,2,1: trigger checkpoint 2\n");
    for (uint32_t t = 0; t < 5; t++)
        play_ack(&p, t + 1, 1, 2, t);
    play_leave(&p, 3);
    play_expect(&p, "close 3\ncommit: round-end=aborted[b.2 waiting for the first barrier]\n"
                    "to 6,5,4,2,1: abort 2 code 3\nto 6: rewind attempt 1\n");
    play_settle(&p);
    play_ack(&p, 6, 1, 2, 5); /* of the region that is rewound: of no use any more */
    play_expect(&p, "");
    play_join(&p, 6, &region_columns,
              &(struct join_options){.first = 5, .count = 1, .worker = "w5", .pid = 16});
    play_expect(&p, "to 6: joined\n");
    region_join(&p, 7, &region_columns, 2);
    play_expect(&p, "to 7: joined\nload 1\n");
    play_settle(&p);
    play_expect(&p, "commit: attempt-end attempt job-state=RESTORING\nmkdir a1000-2\n"
                    "to 7: start attempt 2 from 1, 1 tasks with state or owed, 0 owed, 0 ended\n"
                    "to 6: start attempt 2 from 1, 1 tasks with state or owed, 0 owed, 0 ended\n"
                    "to 5: advance attempt 1 to 2, rewound 2+1 5+1 from 1, 6 peers\n"
                    "to 5: complete 1\n"
                    "to 4: advance attempt 1 to 2, rewound 2+1 5+1 from 1, 6 peers\n"
                    "to 4: complete 1\n"
                    "to 2: advance attempt 1 to 2, rewound 2+1 5+1 from 1, 6 peers\n"
                    "to 2: complete 1\n"
                    "to 1: advance attempt 1 to 2, rewound 2+1 5+1 from 1, 6 peers\n"
                    "to 1: complete 1\n");
    play_restored(&p, 6, 5, 1);
    play_restored(&p, 7, 2, 1);
    for (uint64_t s = 1; s <= 4; s++)
        play_advanced(&p, s, 2);
    play_expect(&p, ""); /* not before all of them */
    play_advanced(&p, 5, 2);
    play_expect(&p, "commit: attempt-run job-state=RUNNING\n");
    play_settle(&p);
    play_expect(&p, "to 7,6,5,4,2,1: run\n");
    play_end(&p);
}
END_TEST

/* A worker is rewound as a whole: one that hosts tasks of two regions makes them one. */
START_TEST(worker_connects_regions)
{
    static struct play p;
    play_start(&p);
    region_again(&p, 1, &region_columns, (struct join_options){.first = 0, .count = 2, .pid = 1},
                 "w1"); /* regions 0 and 1 */
    region_again(&p, 2, &region_columns, (struct join_options){.first = 2, .count = 1, .pid = 2},
                 "w2");
    region_again(&p, 3, &region_columns, (struct join_options){.first = 3, .count = 1, .pid = 3},
                 "w3");
    region_again(&p, 4, &region_columns, (struct join_options){.first = 4, .count = 1, .pid = 4},
                 "w4");
    region_again(&p, 5, &region_columns, (struct join_options){.first = 5, .count = 1, .pid = 5},
                 "w5");
    play_settle(&p);
    play_restored(&p, 1, 0, 2);
    for (uint64_t s = 2; s <= 5; s++)
        play_restored(&p, s, (uint32_t)s, 1);
    play_settle(&p);
    play_forget(&p);
    play_leave(&p, 4);
    play_expect(&p, "close 4\nto 3: rewind attempt 1\nto 1: rewind attempt 1\n");
    play_end(&p);
}
END_TEST

/* A second loss while the first one's region is not back: both start in one attempt. One in the
 * middle of the restore begins another. */
START_TEST(losses_add_up)
{
    static struct play p;
    region_running(&p, &region_apart, 3);
    play_leave(&p, 3);
    play_leave(&p, 2);
    play_expect(&p, "close 3\nclose 2\n");
    region_join(&p, 4, &region_apart, 1);
    play_expect(&p, "to 4: joined\n");
    region_join(&p, 5, &region_apart, 2);
    play_settle(&p);
    play_expect(&p, "to 5: joined\ncommit: attempt-end attempt job-state=RESTORING\nmkdir a1000-2\n"
                    "to 5: start attempt 2 from 0, 0 tasks with state or owed, 0 owed, 0 ended\n"
                    "to 4: start attempt 2 from 0, 0 tasks with state or owed, 0 owed, 0 ended\n"
                    "to 1: advance attempt 1 to 2, rewound 1+2 from 0, 3 peers\n");
    play_advanced(&p, 1, 2);
    play_restored(&p, 4, 1, 1);
    play_leave(&p, 5);
    play_expect(&p, "close 5\nto 4: rewind attempt 2\n"); /* it had not run: it is not spared */
    play_join(&p, 4, &region_apart,
              &(struct join_options){.first = 1, .count = 1, .worker = "w1", .pid = 14});
    region_join(&p, 6, &region_apart, 2);
    play_wait(&p, 1000);
    play_settle(&p);
    play_expect(&p, "to 4: joined\nto 6: joined\ncommit: attempt-end attempt job-state=RESTORING\n"
                    "mkdir a1000-3\n"
                    "to 6: start attempt 3 from 0, 0 tasks with state or owed, 0 owed, 0 ended\n"
                    "to 4: start attempt 3 from 0, 0 tasks with state or owed, 0 owed, 0 ended\n"
                    "to 1: advance attempt 2 to 3, rewound 1+2 from 0, 3 peers\n");
    play_restored(&p, 4, 1, 1);
    play_restored(&p, 6, 2, 1);
    play_advanced(&p, 1, 2); /* late, from before */
    play_expect(&p, "");
    play_advanced(&p, 1, 3);
    play_settle(&p);
    play_expect(&p, "commit: attempt-run job-state=RUNNING\nto 6,4,1: run\n");
    play_end(&p);
}
END_TEST

/* A survivor that is away while the others go on comes back with its old attempt, hears how its
 * round ended, and advances then. */
START_TEST(survivor_was_away)
{
    static struct play p;
    region_running(&p, &region_apart, 3);
    play_wait(&p, 100);
    play_close(&p, 1);
    play_leave(&p, 3);
    region_join(&p, 4, &region_apart, 2);
    play_settle(&p);
    play_restored(&p, 4, 2, 1);
    play_advanced(&p, 2, 2);
    play_forget(&p);
    play_settle(&p);
    play_expect(&p, "");
    region_again(&p, 5, &region_apart,
                 (struct join_options){.first = 0,
                                       .count = 1,
                                       .pid = 11,
                                       .attempt = 1,
                                       .open_round = 1,
                                       .phase = TIDE__WORKER_PHASE__PHASE_RUNNING},
                 "w0");
    play_expect(&p, "to 5: joined\nto 5: resumed attempt 1\nto 5: run\n"
                    "to 5: advance attempt 1 to 2, rewound 2+1 from 0, 3 peers\n"
                    "to 5: abort 1 code 6\n");
    play_close(&p, 5); /* whether the Advance has come shows when it joins again */
    region_again(&p, 6, &region_apart,
                 (struct join_options){.first = 0,
                                       .count = 1,
                                       .pid = 11,
                                       .attempt = 2,
                                       .phase = TIDE__WORKER_PHASE__PHASE_RUNNING},
                 "w0");
    play_expect(&p, "to 6: joined\nto 6: resumed attempt 2\n"
                    "commit: attempt-run job-state=RUNNING\n");
    play_settle(&p);
    play_expect(&p, "to 4,2,6: run\n");
    play_end(&p);
}
END_TEST

/* Who is rewound has nothing left to say under its old attempt; a survivor has, until it has
 * confirmed the new one, and its Confirm strikes what it is owed. */
START_TEST(old_attempt_speaks_for_survivors)
{
    static struct play p;
    region_running(&p, &region_apart, 3);
    play_wait(&p, 100);
    for (uint32_t t = 0; t < 3; t++)
        play_ack_handle(&p, t + 1, t, "h");
    play_settle(&p);
    play_forget(&p);
    play_leave(&p, 3);
    region_join(&p, 4, &region_apart, 2);
    play_settle(&p);
    play_expect(&p,
                "close 3\nto 4: joined\nload 1\ncommit: attempt-end attempt job-state=RESTORING\n"
                "mkdir a1000-2\n"
                "to 4: start attempt 2 from 1, 1 tasks with state or owed, 1 owed, 0 ended\n"
                "to 2: advance attempt 1 to 2, rewound 2+1 from 1, 3 peers\n"
                "to 1: advance attempt 1 to 2, rewound 2+1 from 1, 3 peers\n");
    p.attempt = 1;
    play_confirm(&p, 4, 1, 2, 1); /* nobody in worker 4 has ever been in attempt 1 */
    play_expect(&p, "");
    play_confirm(&p, 2, 1, 1, 1);
    play_expect(&p, "ride: strike\n");
    play_finished(&p, 1, 0, 1); /* not to be lost either */
    p.attempt = 2;
    play_confirm(&p, 4, 1, 2, 1);
    play_expect(&p, "ride: strike\n");
    play_advanced(&p, 1, 2);
    play_advanced(&p, 2, 2);
    play_restored(&p, 4, 2, 1);
    play_settle(&p);
    play_expect(&p, "commit: attempt-run job-state=RUNNING\nto 4,2,1: run\nto 4,2,1: complete 1\n");
    play_end(&p);
}
END_TEST

/* A round whose commit is with the store completes, for survivors as for all: the region starts
 * from it, and not before its outcome is known. */
START_TEST(commit_under_way)
{
    static struct play p;
    region_running(&p, &region_apart, 3);
    play_wait(&p, 100);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, t + 1, 1, 1, t);
    play_forget(&p);
    play_leave(&p, 3);
    region_join(&p, 4, &region_apart, 2);
    play_expect(&p, "close 3\nto 4: joined\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 2,1: complete 1\nload 1\n");
    play_settle(&p);
    play_expect(&p, "commit: attempt-end attempt job-state=RESTORING\nmkdir a1000-2\n"
                    "to 4: start attempt 2 from 1, 1 tasks with state or owed, 0 owed, 0 ended\n"
                    "to 2: advance attempt 1 to 2, rewound 2+1 from 1, 3 peers\n"
                    "to 2: complete 1\n"
                    "to 1: advance attempt 1 to 2, rewound 2+1 from 1, 3 peers\n"
                    "to 1: complete 1\nride: round-times\n");
    play_end(&p);
}
END_TEST

/* S143: hooks are restored or reset in regional recovery too, wherever they live, and the region
 * waits for them; the coordinator of a survivor is left alone. */
START_TEST(hooks_are_reset_coordinators_are_not_S143)
{
    static struct play p;
    struct job_options with = region_apart;
    with.coordinator = true;
    with.hooks = "lock";
    region_running(&p, &with, 3);
    play_leave(&p, 3);
    region_join(&p, 4, &with, 2);
    play_settle(&p);
    play_expect(&p, "close 3\nto 4: joined\ncommit: attempt-end attempt job-state=RESTORING\n"
                    "mkdir a1000-2\n"
                    "to 4: start attempt 2 from 0, 0 tasks with state or owed, 0 owed, 0 ended\n"
                    "to 2: advance attempt 1 to 2, rewound 2+1 from 0, 3 peers\n"
                    "to 1: advance attempt 1 to 2, rewound 2+1 from 0, 3 peers\n");
    play_restored(&p, 4, 2, 1);
    play_advanced(&p, 1, 2);
    play_advanced(&p, 2, 2);
    play_expect(&p, "");
    play_external(&p, 1, "lock", 0, NULL, NULL);
    play_settle(&p);
    play_expect(&p, "commit: attempt-run job-state=RUNNING\nto 4,2,1: run\n");
    play_wait(&p, 100);
    play_external(&p, 1, "@a", 1, "7", NULL);
    play_external(&p, 1, "lock", 1, "5", NULL);
    play_ack(&p, 1, 2, 1, 0);
    play_ack(&p, 2, 2, 1, 1);
    play_ack(&p, 4, 2, 1, 2);
    play_settle(&p);
    play_forget(&p);
    play_leave(&p, 2);
    region_join(&p, 5, &with, 1);
    play_settle(&p);
    play_expect(&p,
                "close 2\nto 5: joined\nload 1\ncommit: attempt-end attempt job-state=RESTORING\n"
                "mkdir a1000-3\n"
                "to 5: start attempt 3 from 1, 1 tasks with state or owed, 0 owed, 0 ended\n"
                "to 4: advance attempt 2 to 3, rewound 1+1 from 1, 3 peers\n"
                "to 4: complete 1\n"
                "to 1: advance attempt 2 to 3, rewound 1+1 from 1, 3 peers, lock=5\n"
                "to 1: complete 1\n");
    play_external(&p, 1, "lock", 0, NULL, "it is stuck"); /* its worker goes back with it, and the
                                                             coordinator takes all of `a` along */
    play_expect(&p, "ride: attempt-end job-state=WAITING\nto 5: rewind attempt 3\n"
                    "to 4: rewind attempt 3\nto 1: rewind attempt 3\n");
    play_end(&p);
}
END_TEST

/* A restore that fails is the region's own affair, up to the job's limit of attempts. */
START_TEST(failing_restores_end_the_job)
{
    static struct play p;
    struct job_options few = region_apart;
    few.attempts_max = 2;
    region_running(&p, &few, 3);
    play_leave(&p, 3);
    play_expect(&p, "close 3\n");
    region_join(&p, 4, &few, 2);
    play_settle(&p);
    play_forget(&p);
    play_leave(&p, 4);
    play_expect(&p, "close 4\nride: attempt-end job-state=WAITING\nto 2: rewind attempt 2\n"
                    "to 1: rewind attempt 2\ncommit: job-state=FAILED\n");
    play_end(&p);
}
END_TEST

/* An order of an admin is for the whole job, also while survivors go on. */
START_TEST(hold_rewinds_everybody)
{
    static struct play p;
    Tide__HoldJob hold = TIDE__HOLD_JOB__INIT;
    Tide__Request m = TIDE__REQUEST__INIT;
    region_running(&p, &region_apart, 3);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_leave(&p, 3);
    hold.job = play_bytes("job");
    m.call_case = TIDE__REQUEST__CALL_HOLD;
    m.hold = &hold;
    play_request(&p, 100, &m);
    play_forget(&p);
    play_stored(&p, TIDE_STORED);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 2: rewind attempt 1\nto 1: rewind attempt 1\n"));
    play_end(&p);
}
END_TEST

/* A job whose last task is about to stop has nothing to restore: everybody is rewound, and what is
 * owed is delivered. */
START_TEST(last_round_is_of_all)
{
    static struct play p;
    region_running(&p, &region_apart, 3);
    for (uint32_t t = 0; t < 3; t++)
        play_finished(&p, t + 1, t, 1);
    play_wait(&p, 0);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, t + 1, 1, p.round, t);
    play_forget(&p);
    play_leave(&p, 3);
    play_expect(&p, "close 3\nride: attempt-end\nto 2: rewind attempt 1\nto 1: rewind attempt 1\n");
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "job-state=FINISHED\n"));
    play_end(&p);
}
END_TEST

/* The restore takes too long: what was to be restored is rewound, and with it a survivor that has
 * not advanced; the others go on. What it says of the attempt before, late, is too late. */
START_TEST(restore_deadline)
{
    static struct play p;
    region_running(&p, &region_apart, 3);
    play_leave(&p, 3);
    play_advanced(&p, 1, 1); /* nobody has asked it */
    region_join(&p, 4, &region_apart, 2);
    play_settle(&p);
    play_advanced(&p, 1, 2);
    play_forget(&p);
    for (int i = 0; i < 601; i++) { /* the default is 10 minutes */
        play_wait(&p, 1000);
        for (uint64_t s = 1; s <= 4; s++)
            if (s != 3) play_heartbeat(&p, s);
    }
    ck_assert_ptr_nonnull(strstr(p.trace, "to 4: rewind attempt 2\n"));
    ck_assert_ptr_nonnull(strstr(p.trace, "to 2: rewind attempt 2\n"));
    ck_assert_ptr_null(strstr(p.trace, "to 1: rewind"));
    ck_assert_ptr_null(strstr(p.trace, "to 1: start"));
    play_end(&p);
}
END_TEST

/* Two operators without edges, of which `a` has a coordinator. */
static void join_parts(struct play *p, uint64_t session, uint32_t task, const char *externals)
{
    Tide__Operator a = TIDE__OPERATOR__INIT, b = TIDE__OPERATOR__INIT, *operators[2] = {&a, &b};
    Tide__Checkpointing cp = TIDE__CHECKPOINTING__INIT;
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    char name[8];
    snprintf(name, sizeof name, "w%u", task);
    a.uid = play_bytes("a");
    b.uid = play_bytes("b");
    a.parallelism = b.parallelism = 2;
    a.coordinator = true;
    cp.regional = true;
    cp.interval_ms = 100;
    spec.name = play_bytes("job");
    spec.operators = operators;
    spec.n_operators = 2;
    spec.checkpointing = &cp;
    play_open(p, session, TIDE__PEER_KIND__PEER_WORKER);
    play_join_spec(p, session, &spec,
                   &(struct join_options){.first = task,
                                          .count = 1,
                                          .worker = name,
                                          .pid = 10 + (uint32_t)session,
                                          .externals = externals});
}

/* A coordinator does not go back without the tasks of its operator; these do without it. */
START_TEST(coordinator_takes_its_tasks_along)
{
    static struct play p;
    play_start(&p);
    for (uint32_t t = 0; t < 4; t++)
        join_parts(&p, t + 1, t, t == 3 ? "@a" : NULL); /* it lives with b[1] */
    play_settle(&p);
    for (uint32_t t = 0; t < 4; t++)
        play_restored(&p, t + 1, t, 1);
    play_external(&p, 4, "@a", 0, NULL, NULL);
    play_settle(&p);
    play_forget(&p);
    play_leave(&p, 1);
    play_expect(&p, "close 1\n");
    join_parts(&p, 5, 0, NULL);
    play_settle(&p);
    play_restored(&p, 5, 0, 1);
    for (uint64_t s = 2; s <= 4; s++)
        play_advanced(&p, s, 2);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 5,4,3,2: run\n"));
    play_forget(&p);
    play_external(&p, 4, "@a", 0, NULL, "an event is lost"); /* b[1], a[0] and a[1]; not b[0] */
    play_expect(&p, "to 5: rewind attempt 2\nto 4: rewind attempt 2\nto 2: rewind attempt 2\n");
    play_end(&p);
}
END_TEST

/* Sources that have ended their input for a drain cannot go on: a loss rewinds everybody then. */
START_TEST(a_drain_is_of_all)
{
    static struct play p;
    Tide__StopJob stop = TIDE__STOP_JOB__INIT;
    Tide__Request m = TIDE__REQUEST__INIT;
    struct job_options quiet = region_apart;
    quiet.interval_ms = 0;
    region_running(&p, &quiet, 3);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    stop.job = play_bytes("job");
    stop.drain = true;
    m.call_case = TIDE__REQUEST__CALL_STOP;
    m.stop = &stop;
    play_request(&p, 100, &m);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, ", drain"));
    play_leave(&p, 3);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 2: rewind attempt 1\nto 1: rewind attempt 1\n"));
    play_end(&p);
}
END_TEST

/* The next attempt's row is refused: the survivors hold what they had, the region is READY again,
 * and the try after it ends attempt 1 in the store. */
START_TEST(row_is_refused)
{
    static struct play p;
    region_running(&p, &region_apart, 3);
    play_leave(&p, 3);
    region_join(&p, 4, &region_apart, 2);
    play_forget(&p);
    play_stored(&p, TIDE_REFUSED);
    play_filed(&p, 0); /* too late */
    play_expect(&p, "");
    play_advanced(&p, 1, 2); /* of what was never told */
    play_close(&p, 1);
    region_again(&p, 5, &region_apart,
                 (struct join_options){.first = 0,
                                       .count = 1,
                                       .pid = 11,
                                       .attempt = 1,
                                       .phase = TIDE__WORKER_PHASE__PHASE_RUNNING},
                 "w0");
    play_expect(&p, "to 5: joined\nto 5: resumed attempt 1\nto 5: run\n");
    play_wait(&p, 1000);
    play_settle(&p);
    play_expect(&p, "commit: attempt-end attempt job-state=RESTORING\nmkdir a1000-3\n"
                    "to 4: start attempt 3 from 0, 0 tasks with state or owed, 0 owed, 0 ended\n"
                    "to 2: advance attempt 1 to 3, rewound 2+1 from 0, 3 peers\n"
                    "to 5: advance attempt 1 to 3, rewound 2+1 from 0, 3 peers\n");
    play_end(&p);
}
END_TEST

/* While the row of the next attempt is with the store another region fails; then the row is
 * refused: whoever ends what is left, it has no end to be stored (seed 1194593). */
START_TEST(row_is_refused_behind_a_failure)
{
    static struct play p;
    region_running(&p, &region_apart, 3);
    play_leave(&p, 3);
    region_join(&p, 4, &region_apart, 2);
    play_leave(&p, 2);
    play_stored(&p, TIDE_REFUSED);
    play_filed(&p, 0);
    play_forget(&p);
    play_leave(&p, 1);
    play_expect(&p, "close 1\nride: job-state=WAITING\n");
    play_settle(&p);
    region_join(&p, 5, &region_apart, 1);
    region_join(&p, 6, &region_apart, 0);
    play_wait(&p, 1000);
    play_expect(&p, "to 5: joined\nto 6: joined\n"
                    "commit: attempt-end attempt job-state=RESTORING\nmkdir a1000-3\n");
    play_end(&p);
}
END_TEST

/* S137: of who goes on what has ended stays so, and what holds its end; of who is rewound the
 * snapshot says it: a task that only held its end reads on. */
START_TEST(ends_of_both_S137)
{
    static struct play p;
    region_running(&p, &region_apart, 3);
    play_finished(&p, 1, 0, 1);
    region_round(&p, 3); /* task 0 has ended */
    play_finished(&p, 2, 1, 1);
    play_finished(&p, 3, 2, 1);
    play_leave(&p, 3);
    region_join(&p, 4, &region_apart, 2);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "start attempt 2 from 1, 1 tasks with state or owed, 0 "
                                          "owed, 1 ended\n"));
    play_restored(&p, 4, 2, 1);
    play_advanced(&p, 1, 2);
    play_advanced(&p, 2, 2);
    play_settle(&p);
    play_forget(&p);
    play_finished(&p, 4, 2, 1); /* now all hold their end, or have ended: the last round */
    play_wait(&p, 0);
    ck_assert_ptr_nonnull(strstr(p.trace, "trigger checkpoint"));
    play_ack(&p, 2, 2, p.round, 1);
    play_ack(&p, 4, 2, p.round, 2);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "job-state=STOPPING"));
    ck_assert_ptr_nonnull(strstr(p.trace, "job-state=FINISHED"));
    play_end(&p);
}
END_TEST

/* A savepoint that publishes effects is what the region goes back to, when it is the newest; it is
 * looked for first. One that publishes none is not. */
START_TEST(back_to_a_savepoint)
{
    static struct play p;
    struct job_options quiet = region_apart;
    quiet.interval_ms = 0;
    Tide__TriggerSavepoint take = TIDE__TRIGGER_SAVEPOINT__INIT;
    Tide__Request m = TIDE__REQUEST__INIT;
    region_running(&p, &quiet, 3);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    take.job = play_bytes("job");
    m.call_case = TIDE__REQUEST__CALL_SAVEPOINT;
    m.savepoint = &take;
    for (int i = 0; i < 2; i++) {
        take.commits = i == 0;
        play_request(&p, 100, &m);
        play_settle(&p);
        for (uint32_t t = 0; t < 3; t++)
            play_ack(&p, t + 1, 1, p.round, t);
        play_settle(&p);
    }
    uint64_t newest = p.round;
    play_leave(&p, 3);
    region_join(&p, 4, &quiet, 2);
    play_forget(&p);
    play_filed(&p, 0);             /* its _metadata is in its place */
    play_filed(&p, 0);             /* and all that it names */
    play_not_loaded(&p, TIDE_EIO); /* tried again, and the survivors go on meanwhile */
    ck_assert_ptr_nonnull(strstr(p.trace, "load 2\n"));
    ck_assert_uint_gt(newest, 2);
    play_wait(&p, 1000);
    ck_assert_ptr_nonnull(strstr(p.trace, "publish "));
    ck_assert_ptr_null(strstr(p.trace, "rewind"));
    play_forget(&p);
    play_filed(&p, TIDE_ENOTFOUND); /* its user has moved it: nothing else may take its place */
    ck_assert_ptr_nonnull(strstr(p.trace, "to 2: rewind attempt 1\nto 1: rewind attempt 1\n"));
    ck_assert_ptr_nonnull(strstr(p.trace, "job-state=HELD"));
    play_end(&p);
}
END_TEST

SUITE_MAIN("regions", survivors_advance, worker_connects_regions, losses_add_up, survivor_was_away,
           old_attempt_speaks_for_survivors, commit_under_way,
           hooks_are_reset_coordinators_are_not_S143, failing_restores_end_the_job,
           hold_rewinds_everybody, last_round_is_of_all, restore_deadline,
           coordinator_takes_its_tasks_along, a_drain_is_of_all, row_is_refused,
           row_is_refused_behind_a_failure, ends_of_both_S137, back_to_a_savepoint)

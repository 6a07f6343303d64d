/* Promises about regional failover at its edges, each as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_regions.h"

static struct play p;

static void join(uint64_t session, const struct job_options *job, struct join_options join)
{
    join.pid = join.pid ? join.pid : 10 + (uint32_t)session;
    play_open(&p, session, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, session, job, &join);
}

static void failed_to_restore(uint64_t session, uint32_t task)
{
    Tide__RestoreFailed m = TIDE__RESTORE_FAILED__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = p.attempt;
    m.task = task;
    message.msg_case = TIDE__FROM_WORKER__MSG_RESTORE_FAILED;
    message.restore_failed = &m;
    play_frame(&p, session, &message);
}

/* A daemon dies while a region restores, and all come back: hooks of who goes on are waited for as
 * before, and for the region no longer than a restore may take. */
static void back_in_between(const struct job_options *job, uint64_t first_session)
{
    for (uint32_t t = 0; t < 3; t++) {
        char name[8];
        snprintf(name, sizeof name, "w%u", t + 1);
        join(first_session + t, job,
             (struct join_options){.first = t,
                                   .count = 1,
                                   .worker = name,
                                   .pid = t == 2 ? 14 : 11 + t,
                                   .attempt = 2,
                                   .phase = t == 2 ? TIDE__WORKER_PHASE__PHASE_RESTORED
                                                   : TIDE__WORKER_PHASE__PHASE_RUNNING,
                                   .externals = t == 0 ? "@a lock" : NULL});
    }
}

static void restart_while_restoring(const struct job_options *job)
{
    play_start(&p);
    join(1, job, (struct join_options){.count = 1, .worker = "w1", .externals = "@a lock"});
    join(2, job, (struct join_options){.first = 1, .count = 1, .worker = "w2"});
    join(3, job, (struct join_options){.first = 2, .count = 1, .worker = "w3"});
    play_settle(&p);
    for (uint32_t t = 0; t < 3; t++)
        play_restored(&p, t + 1, t, 1);
    play_external(&p, 1, "@a", 0, NULL, NULL);
    play_external(&p, 1, "lock", 0, NULL, NULL);
    play_settle(&p);
    play_leave(&p, 3);
    join(4, job, (struct join_options){.first = 2, .count = 1, .worker = "w3"});
    play_settle(&p);
    ck_assert_uint_eq(p.attempt, 2);
    play_crash(&p);
    play_settle(&p);
    play_forget(&p);
    back_in_between(job, 5);
    play_expect(&p, "to 5: joined\nto 6: joined\nto 7: joined\n"
                    "to 5: resumed attempt 2\nto 6: resumed attempt 2\n"
                    "to 7: resumed attempt 2\n");
}

START_TEST(hooks_are_waited_for_after_a_restart_S143)
{
    struct job_options with = region_apart;
    with.coordinator = true;
    with.hooks = "lock";
    restart_while_restoring(&with);
    play_external(&p, 5, "lock", 0, NULL, NULL);
    play_settle(&p);
    play_expect(&p, "commit: attempt-run job-state=RUNNING\nto 5,6,7: run\n");
    play_end(&p);

    restart_while_restoring(&with);
    play_external(&p, 5, "lock", 0, NULL, "it is stuck");
    ck_assert_ptr_nonnull(strstr(p.trace, "to 5: rewind attempt 2\n"));
    play_end(&p);

    restart_while_restoring(&with);
    for (int i = 0; i < 601; i++) { /* the default is 10 minutes */
        play_wait(&p, 1000);
        for (uint64_t s = 5; s <= 7; s++)
            play_heartbeat(&p, s);
    }
    ck_assert_ptr_nonnull(strstr(p.trace, "to 5: rewind attempt 2\n"));
    play_end(&p);
}
END_TEST

/* All tasks of a worker fail to restore: that is one attempt that has failed, not one for each. */
START_TEST(restore_fails_once)
{
    struct job_options few = region_apart;
    few.attempts_max = 3;
    play_start(&p);
    join(1, &few, (struct join_options){.count = 1, .worker = "w1"});
    join(2, &few, (struct join_options){.first = 1, .count = 2, .worker = "w2"});
    play_settle(&p);
    play_restored(&p, 1, 0, 1);
    play_restored(&p, 2, 1, 2);
    play_settle(&p);
    play_leave(&p, 2);
    join(3, &few, (struct join_options){.first = 1, .count = 2, .worker = "w2"});
    play_settle(&p);
    ck_assert_uint_eq(p.attempt, 2);
    play_forget(&p);
    failed_to_restore(3, 1);
    play_expect(&p, "to 3: rewind attempt 2\n");
    failed_to_restore(3, 2);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* A survivor comes back with an endpoint so long that what it has to be told does not fit into a
 * frame any more, its hooks' bytes being nearly as many as may be: everybody rewinds. */
START_TEST(too_long_to_advance)
{
    static char data[(1 << 20) - 150], endpoint[4000]; /* sixteen times the first: almost 16 MiB */
    static const char all[] = "a b c d e f g h i j k l m n o p";
    struct job_options with = region_apart;
    with.hooks = all;
    memset(data, 'd', sizeof data - 1);
    memset(endpoint, 'e', sizeof endpoint - 1);
    play_start(&p);
    join(1, &with, (struct join_options){.count = 1, .worker = "w1", .externals = all});
    join(2, &with, (struct join_options){.first = 1, .count = 2, .worker = "w2"});
    play_settle(&p);
    play_restored(&p, 1, 0, 1);
    play_restored(&p, 2, 1, 2);
    for (size_t i = 0; i < sizeof all; i += 2)
        play_external(&p, 1, (char[]){all[i], 0}, 0, NULL, NULL);
    play_settle(&p);
    play_wait(&p, 100);
    for (size_t i = 0; i < sizeof all; i += 2)
        play_external(&p, 1, (char[]){all[i], 0}, 1, data, NULL);
    play_ack(&p, 1, 1, 1, 0);
    play_ack(&p, 2, 1, 1, 1);
    play_ack(&p, 2, 1, 1, 2);
    play_settle(&p);
    play_close(&p, 1);
    play_leave(&p, 2);
    join(3, &with, (struct join_options){.first = 1, .count = 2, .worker = "w2"});
    play_settle(&p);
    ck_assert_uint_eq(p.attempt, 2);
    play_forget(&p);
    join(4, &with,
         (struct join_options){.count = 1,
                               .worker = "w1",
                               .pid = 11,
                               .attempt = 1,
                               .told_complete = 1,
                               .endpoint = endpoint,
                               .externals = all,
                               .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_expect(&p, "to 4: joined\nride: attempt-end job-state=WAITING\n"
                    "to 3: rewind attempt 2\nto 4: rewind attempt 1\n");
    play_end(&p);
}
END_TEST

/* What a survivor owes from before it was started itself holds back the completions of later rounds
 * after a restart as before it (sim: seed 2012892). */
START_TEST(owed_from_before_a_restart)
{
    static const uint32_t pids[] = {11, 14, 15};
    static const char *const names[] = {"w0", "w1", "w2"};
    play_start(&p);
    for (uint32_t t = 0; t < 3; t++)
        join(t + 1, &region_apart,
             (struct join_options){.first = t, .count = 1, .worker = names[t]});
    play_settle(&p);
    for (uint32_t t = 0; t < 3; t++)
        play_restored(&p, t + 1, t, 1);
    play_settle(&p);
    play_wait(&p, 100);
    for (uint32_t t = 0; t < 3; t++)
        play_ack_handle(&p, t + 1, t, "h");
    play_settle(&p);
    play_confirm(&p, 1, 1, 0, 1);
    play_confirm(&p, 3, 1, 2, 1);
    play_leave(&p, 2);
    join(4, &region_apart,
         (struct join_options){.first = 1,
                               .count = 1,
                               .worker =
                                   "w1"}); /* it is started from round 1, whose commit it owes */
    play_settle(&p);
    play_restored(&p, 4, 1, 1);
    play_advanced(&p, 1, 2);
    play_advanced(&p, 3, 2);
    play_settle(&p);
    play_leave(&p, 3);
    join(5, &region_apart,
         (struct join_options){.first = 2, .count = 1, .worker = "w2"}); /* now it is a survivor */
    play_settle(&p);
    play_restored(&p, 5, 2, 1);
    play_advanced(&p, 1, 3);
    play_advanced(&p, 4, 3);
    play_settle(&p);
    play_forget(&p);
    play_wait(&p, 100);
    play_ack(&p, 1, 3, p.round, 0);
    play_ack(&p, 4, 3, p.round, 1);
    play_ack(&p, 5, 3, p.round, 2);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: round-end=complete"));
    ck_assert_ptr_null(strstr(p.trace, ": complete"));
    char complete[32];
    snprintf(complete, sizeof complete, ": complete %u\n", (unsigned)p.round);
    play_crash(&p);
    play_settle(&p);
    play_forget(&p);
    for (uint32_t t = 0; t < 3; t++)
        join(6 + t, &region_apart,
             (struct join_options){.first = t,
                                   .count = 1,
                                   .worker = names[t],
                                   .pid = pids[t],
                                   .attempt = 3,
                                   .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 7: resumed attempt 3\n"));
    ck_assert_ptr_null(strstr(p.trace, ": complete"));
    play_confirm(&p, 7, 1, 1, 1);
    ck_assert_ptr_nonnull(strstr(p.trace, complete));
    play_end(&p);
}
END_TEST

SUITE_MAIN("regions_odd", hooks_are_waited_for_after_a_restart_S143, restore_fails_once,
           too_long_to_advance, owed_from_before_a_restart)

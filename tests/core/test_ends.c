/* What is left of a job that has ended, and of what was asked for and had not begun: each as the
 * trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"

static const struct job_options three = {
    .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 60000, .retained = 3};
static struct play p;

static void complete(void)
{
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    play_confirm(&p, 1, p.round, 0, 3);
    play_settle(&p);
}

static void checkpoint(void)
{
    uint64_t before = p.round;
    while (p.round == before)
        play_wait(&p, 10);
    complete();
}

static void run(const struct job_options *job, int checkpoints)
{
    play_running(&p, job);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    while (checkpoints-- > 0)
        checkpoint();
    play_forget(&p);
}

/* Nothing more is put out of use, however long it takes, also by a daemon that starts anew (it may
 * repeat a deletion of before, whose end it has lost). */
static void expect_nothing_goes(void)
{
    for (int life = 0; life < 2; life++) {
        for (int hour = 0; hour < 24; hour++)
            play_wait(&p, 3600000);
        play_settle(&p);
        ck_assert_msg(life || !strstr(p.trace, "delete"), "%s", p.trace);
        ck_assert_msg(!strstr(p.trace, "deleting"), "%s", p.trace);
        play_crash(&p);
        play_settle(&p);
    }
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_forget(&p);
}

static void restore(uint64_t snapshot, const char *outcome)
{
    Tide__RestoreJob m = TIDE__RESTORE_JOB__INIT;
    m.from_case = TIDE__RESTORE_JOB__FROM_SNAPSHOT;
    m.snapshot = snapshot;
    m.allow_repeat = true;
    play_ask_restore(&p, &m);
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    ck_assert_msg(strncmp(p.trace, outcome, strlen(outcome)) == 0, "%s", p.trace);
    play_forget(&p);
}

/* S103: a job that has finished keeps its checkpoints, as many as it retains: an admin may let it
 * go on from each that had input left. */
START_TEST(finished_keeps_what_it_retains_S103)
{
    run(&three, 3);
    play_finished(&p, 1, 0, 3);
    complete();
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: stop FINISHED\n"));
    ck_assert_ptr_nonnull(strstr(p.trace, "delete r1\n")); /* the last one put it out of use */
    play_forget(&p);
    expect_nothing_goes();
    restore(4, "to 100: operation restore failed: operator 'a': every task of the job had ended");
    restore(2, "to 100: operation restore done\n");
    play_end(&p);
}
END_TEST

/* S104: a job that is suspended keeps them too, with what it goes on from. */
START_TEST(suspended_keeps_what_it_retains_S104)
{
    run(&three, 1);
    play_ask_stop(&p, &(struct ask){.checkpoint = true});
    play_settle(&p);
    complete();
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: stop SUSPENDED\n"));
    play_forget(&p);
    expect_nothing_goes();
    restore(1, "to 100: operation restore done\n");
    play_end(&p);
}
END_TEST

/* S116: and so does one that has failed: nobody has to have asked for it. */
START_TEST(failed_keeps_what_it_retains_S116)
{
    struct job_options job = three;
    job.attempts_max = 1;
    run(&job, 2);
    play_close(&p, 1);
    play_wait(&p, 60000);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "job-state=FAILED"));
    play_forget(&p);
    expect_nothing_goes();
    restore(1, "to 100: operation restore done\n");
    play_end(&p);
}
END_TEST

/* S17: the job ends between a request and the number of its round: the request fails, told why, and
 * no number is used up. */
START_TEST(it_ends_before_a_number_S17)
{
    struct job_options job = three;
    job.max_concurrent = 1;
    run(&job, 0);
    play_wait(&p, 100);
    ck_assert_uint_eq(p.round, 1);
    play_ask_checkpoint(&p, &(struct ask){.key = "k"}); /* operation 2 waits for round 1 */
    play_settle(&p);
    uint64_t waits = p.operation;
    play_forget(&p);
    play_ask_cancel(&p, &(struct ask){.key = "c"});
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "job-state=CANCELLED"));
    ck_assert_ptr_null(strstr(p.trace, "round-begin"));
    play_forget(&p);
    play_ask_operation(&p, ADMIN, waits);
    play_expect(&p, "to 100: operation checkpoint failed: the job has ended: it is CANCELLED\n");
    play_end(&p);
}
END_TEST

/* S109: a cancelled job: what its aborted rounds have left goes, also when it had acks, and what it
 * retained stays. */
START_TEST(cancelled_keeps_what_it_retains_S109)
{
    run(&three, 2);
    play_wait(&p, 100);
    ck_assert_uint_eq(p.round, 3);
    play_ack(&p, 1, 1, 3, 0);
    play_ask_cancel(&p, &(struct ask){0});
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "job-state=CANCELLED"));
    play_wait(&p, 60000);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "delete r3\n"));
    ck_assert_ptr_null(strstr(p.trace, "delete r1\n"));
    ck_assert_ptr_null(strstr(p.trace, "delete r2\n"));
    play_forget(&p);
    expect_nothing_goes();
    restore(1, "to 100: operation restore done\n");
    play_end(&p);
}
END_TEST

/* S58: the deadline of a round that has ended, well or not, comes and goes without a word. */
START_TEST(deadline_of_an_ended_round_S58)
{
    struct job_options job = three;
    job.deadline_ms = 500;
    job.interval_ms = 0;
    for (int well = 0; well < 2; well++) {
        run(&job, 0);
        play_ask_checkpoint(&p, &(struct ask){0});
        play_settle(&p);
        if (well)
            play_ack_all(&p, 1, p.round, NULL);
        else
            play_decline(&p, 1, 0, "no disk");
        play_settle(&p);
        play_forget(&p);
        for (int i = 0; i < 10; i++) {
            play_wait(&p, 100);
            play_expect(&p, "");
            play_heartbeat(&p, 1);
            play_forget(&p);
        }
        play_end(&p);
    }
}
END_TEST

SUITE_MAIN("ends", cancelled_keeps_what_it_retains_S109, deadline_of_an_ended_round_S58,
           finished_keeps_what_it_retains_S103, suspended_keeps_what_it_retains_S104,
           failed_keeps_what_it_retains_S116, it_ends_before_a_number_S17)

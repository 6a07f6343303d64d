/* Promises of a round, each as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"

static const struct job_options two_and_one = {.sources = 2, .sinks = 1, .deadline_ms = 1000};

static const struct job_options periodic = {
    .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 1000};

/* Round 1 has been triggered. */
static void up_to_the_trigger(struct play *p)
{
    play_running(p, &periodic);
    play_wait(p, 100);
}

/* A job starts once every task is hosted; row and directory come before Start, the row before Run.
 */
START_TEST(job_starts)
{
    static struct play p;
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &two_and_one, &(struct join_options){.count = 2, .worker = "w1", .pid = 10});
    play_expect(&p, "commit: job lease\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: joined\n");
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &two_and_one,
              &(struct join_options){.first = 2, .count = 1, .worker = "w2", .pid = 11});
    play_expect(&p, "to 2: joined\ncommit: attempt job-state=RESTORING\nmkdir a1000-1\n");
    play_filed(&p, 0);
    play_expect(&p, "");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 2: start attempt 1 from 0, 0 tasks with state or owed, 0 owed, 0 ended\n"
                    "to 1: start attempt 1 from 0, 0 tasks with state or owed, 0 owed, 0 ended\n");
    play_restored(&p, 1, 0, 2);
    play_expect(&p, "");
    play_restored(&p, 2, 2, 1);
    play_expect(&p, "commit: attempt-run job-state=RUNNING\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 2,1: run\n");
    play_end(&p);
}
END_TEST

/* S49: one ack, then the same again, then the others; complete is told only when the row is
 * durable. */
START_TEST(acks_are_a_set_S49)
{
    static struct play p;
    up_to_the_trigger(&p);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 1\n");
    play_ack(&p, 1, 1, 1, 0);
    play_ack(&p, 1, 1, 1, 0);
    play_ack(&p, 1, 1, 1, 1);
    play_ack(&p, 1, 1, 1, 1);
    play_expect(&p, "");
    play_ack(&p, 1, 1, 1, 2);
    play_expect(&p, "commit: round-end=complete snapshot\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: complete 1\n");
    play_end(&p);
}
END_TEST

/* S50, S100: with one retained (there is no way to ask for none: 0 is the default), the next
 * checkpoint replaces the first: deleting is durable before the delete, deleted after it. */
START_TEST(next_replaces_S50)
{
    static struct play p;
    up_to_the_trigger(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    play_forget(&p);
    play_wait(&p, 100);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 2\n");
    play_ack_all(&p, 1, p.round, NULL);
    play_expect(&p, "commit: round-end=complete snapshot snapshot-state=deleting 1\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: complete 2\ndelete r1\n");
    play_filed(&p, 0);
    play_expect(&p, "ride: snapshot-state=deleted 1\n");
    play_end(&p);
}
END_TEST

static void complete_next(struct play *p, uint32_t after_ms)
{
    play_wait(p, after_ms);
    play_ack_all(p, 1, p->round, NULL);
    play_settle(p);
}

/* What a job keeps is by number, period, age and least number; storage/test_retention.c has the
 * rule itself. */
START_TEST(what_stays_is_a_policy)
{
    static struct play p;
    struct job_options job = periodic;
    job.interval_ms = 600;
    job.retained = 3;
    job.retained_age_s = 1;
    job.retained_least = 2;
    play_running(&p, &job);
    complete_next(&p, 600);
    complete_next(&p, 600);
    ck_assert_ptr_null(strstr(p.trace, "deleting"));
    complete_next(&p, 600); /* the first is 1.2 s old now, and not one of the newest two */
    ck_assert_ptr_nonnull(strstr(p.trace, "snapshot-state=deleting 1\n"));
    complete_next(&p, 600);
    complete_next(&p, 600);
    ck_assert_ptr_nonnull(strstr(p.trace, "snapshot-state=deleting 3\n"));
    ck_assert_ptr_null(strstr(p.trace, "snapshot-state=deleting 4\n"));
    play_end(&p);

    job = periodic;
    job.retained_hours = 2;
    play_running(&p, &job);
    for (int i = 0; i < 4; i++)
        complete_next(&p, 100); /* of one hour the last stays, which is the newest */
    ck_assert_ptr_nonnull(strstr(p.trace, "snapshot-state=deleting 3\n"));
    play_end(&p);
}
END_TEST

/* S52, S53: acks of another attempt, an unknown round or a finished one change nothing; one for a
 * task of another worker is malformed. */
START_TEST(stray_acks_S52_S53)
{
    static struct play p;
    play_running_on_two(&p, &periodic, 2);
    play_wait(&p, 100);
    play_forget(&p);
    play_ack(&p, 1, 7, p.round, 0);
    play_ack(&p, 1, 1, p.round + 5, 0);
    play_ack(&p, 1, 1, p.round, 0);
    play_ack(&p, 1, 1, p.round, 1);
    play_expect(&p, "");
    play_ack(&p, 1, 1, p.round, 2);
    play_expect(&p, "to 1: refused: AckBatch: task 2 is not hosted by this worker\nclose 1\n");
    play_end(&p);
}
END_TEST

/* S71: one decline aborts the round for everybody, and its reason is kept. */
START_TEST(decline_aborts_S71)
{
    static struct play p;
    up_to_the_trigger(&p);
    play_ack(&p, 1, 1, p.round, 0);
    play_forget(&p);
    play_decline(&p, 1, 1, "no disk");
    play_expect(&p, "commit: round-end=aborted[a.1 has not acted on its trigger][b.0 waiting for "
                    "the first barrier]\nto 1: abort 1 code 2\n");
    play_decline(&p, 1, 2, "no disk");
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* S73: the store has no room for the abort at first: it names the same when it is told again. */
START_TEST(abort_is_recorded_again_with_its_holders)
{
    static struct play p;
    up_to_the_trigger(&p);
    play_ack(&p, 1, 1, p.round, 0);
    play_decline(&p, 1, 1, "no disk");
    play_forget(&p);
    play_stored(&p, TIDE_NO_SPACE);
    play_wait(&p, 1001);
    ck_assert_ptr_nonnull(strstr(p.trace,
                                 "commit: round-end=aborted[a.1 has not acted on its trigger]"
                                 "[b.0 waiting for the first barrier]\n"));
    play_end(&p);
}
END_TEST

/* S74: the deadline aborts, naming who held it; no completion is told; the next round comes on
 * schedule. */
START_TEST(deadline_names_S74)
{
    static struct play p;
    up_to_the_trigger(&p);
    play_ack(&p, 1, 1, p.round, 0);
    play_ack(&p, 1, 1, p.round, 2);
    play_forget(&p);
    play_wait(&p, 999);
    play_expect(&p, "commit: round-end=aborted[a.1 has not acted on its trigger]\nto 1: abort 1 "
                    "code 1\nride: round-begin\nto 1: trigger checkpoint 2\n");
    play_end(&p);
}
END_TEST

/* From the hand-over of the commit nothing aborts a round but the store's own no. */
START_TEST(committing_is_not_aborted)
{
    static struct play p;
    up_to_the_trigger(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_forget(&p);
    play_wait(&p, 5000); /* past its deadline */
    play_expect(&p, "");
    play_close(&p, 1);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &periodic, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_expect(&p,
                "ride: attempt-end job-state=WAITING\nto 2: joined\n"); /* and nothing starts before
                                                                           the store has answered */
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "load 1\n");
    play_end(&p);
}
END_TEST

/* S64, S65: the store refuses the last step: the round is aborted, and what it had goes once a
 * later one has completed. */
START_TEST(store_full_aborts)
{
    static struct play p;
    up_to_the_trigger(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_forget(&p);
    play_stored(&p, TIDE_NO_SPACE);
    play_expect(&p, "commit: round-end=aborted\nto 1: abort 1 code 4\n");
    play_stored(&p, TIDE_STORED);
    play_wait(&p, 100);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 2\n");
    play_ack_all(&p, 1, p.round, NULL);
    play_expect(&p, "commit: round-end=complete snapshot\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: complete 2\ndelete r1\n");
    play_filed(&p, 0);
    play_expect(&p, "ride: swept\n");
    play_end(&p);
}
END_TEST

/* An I/O error of a commit: nobody can say what is durable; not a word to anyone. */
START_TEST(unknown_outcome_stops)
{
    static struct play p;
    up_to_the_trigger(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_forget(&p);
    play_stored(&p, TIDE_UNKNOWN);
    play_expect(&p, "stop 1: a reason\n");
    play_end(&p);
}
END_TEST

START_TEST(silent_store_stops)
{
    static struct play p;
    up_to_the_trigger(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_forget(&p);
    for (int i = 0; i < 30; i++) {
        play_wait(&p, 1000);
        if (!p.stopped) play_heartbeat(&p, 1);
    }
    ck_assert(p.stopped);
    play_end(&p);
}
END_TEST

/* S94, S95: a savepoint subsumes nothing, commits nothing, and is answered once its metadata is in
 * place. */
START_TEST(savepoint_S95)
{
    static struct play p;
    play_running(&p, &two_and_one);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_expect(&p, "commit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "mkdir savepoint-c15c02-1000-1\nto 100: operation savepoint queued\n");
    play_filed(&p, 0);
    play_expect(&p, "commit: round-begin operation=running\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: trigger savepoint 2\n");
    play_ack_all(&p, 1, p.round, NULL);
    play_expect(&p, "write-metadata savepoint-c15c02-1000-1\n");
    play_filed(&p, 0);
    play_expect(&p, "commit: round-end=complete snapshot operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "publish savepoint-c15c02-1000-1\nto 1: complete 2, commits nothing\n");
    play_filed(&p, 0);
    play_savepoint(&p, 100, "k"); /* S238: the same key is the same operation */
    play_expect(&p, "to 100: operation savepoint done\n");
    play_end(&p);
}
END_TEST

/* A directory that was there before is another's: it is neither used nor swept. */
START_TEST(savepoint_in_a_strange_directory)
{
    static struct play p;
    play_running(&p, &periodic);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_filed(&p, TIDE_EEXIST);
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: round-end=aborted"));
    play_wait(&p, 100);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: complete"));
    ck_assert_ptr_nonnull(strstr(p.trace, "ride: swept"));
    ck_assert_ptr_null(strstr(p.trace, "delete savepoint"));
    play_end(&p);
}
END_TEST

/* An operation that has ended is forgotten when enough others have ended since, one with a key
 * later; the store has all. */
START_TEST(operations_are_forgotten)
{
    static struct play p;
    uint64_t first = 0, keyed = 0;
    char answer[200];
    play_running(&p, &two_and_one);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    for (int i = 0; i < 70; i++) {
        play_savepoint(&p, 100, i == 1 ? "a key" : "");
        play_settle(&p);
        play_ack_all(&p, 1, p.round, NULL);
        play_settle(&p);
        if (i == 0) first = p.operation;
        if (i == 1) keyed = p.operation;
        play_forget(&p);
        play_ask_operation(&p, 100, first);
        snprintf(answer, sizeof answer,
                 i <= 65 ? "to 100: operation savepoint done\n"
                         : "to 100: error 1: there is no operation %d\n",
                 (int)first);
        play_expect(&p, answer);
    }
    play_savepoint(&p, 100, "a key");
    play_expect(&p, "to 100: operation savepoint done\n");
    ck_assert_uint_eq(p.operation, keyed);
    play_end(&p);
}
END_TEST

/* S176, S236: what cannot be is refused with a sentence. */
START_TEST(savepoint_refused_S176)
{
    static struct play p;
    play_start(&p);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_expect(&p, "to 100: error 1: there is no job \"job\"\n");
    play_end(&p);
}
END_TEST

/* S112: a commit handle is owed until it is confirmed, across a new attempt, and comes before that
 * attempt's completions. */
START_TEST(owed_until_confirmed)
{
    static struct play p;
    up_to_the_trigger(&p);
    play_ack(&p, 1, 1, p.round, 0);
    play_ack(&p, 1, 1, p.round, 1);
    play_ack_handle(&p, 1, 2, "part-1");
    play_forget(&p);
    play_close(&p, 1);
    play_stored(&p, TIDE_STORED);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &periodic, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_wait(&p, 0);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(
        p.trace, "to 2: start attempt 2 from 1, 3 tasks with state or owed, 1 owed, 0 ended\n"));
    play_restored(&p, 2, 0, 3);
    play_settle(&p);
    play_wait(&p, 100);
    play_forget(&p);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 2, 2, p.round, t);
    /* round 1 is not put out of use while its commit is owed */
    play_expect(&p, "commit: round-end=complete snapshot\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "");
    play_confirm(&p, 2, 1, 2, 1);
    play_expect(&p, "ride: strike\nto 2: complete 2\n");
    play_end(&p);
}
END_TEST

/* A completion that waits for what is owed from before is not overtaken, not even by a savepoint's:
 * its confirm would speak for the checkpoint too. */
START_TEST(no_completion_overtakes_another)
{
    static struct play p;
    up_to_the_trigger(&p);
    play_ack(&p, 1, 1, p.round, 0);
    play_ack(&p, 1, 1, p.round, 1);
    play_ack_handle(&p, 1, 2, "part-1");
    play_close(&p, 1);
    play_stored(&p, TIDE_STORED);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &periodic, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_wait(&p, 0);
    play_settle(&p);
    play_restored(&p, 2, 0, 3);
    play_settle(&p);
    play_wait(&p, 100);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 2, 2, p.round, t);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_settle(&p);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 2, 2, p.round, t);
    play_settle(&p);
    ck_assert_ptr_null(strstr(p.trace, "to 2: complete"));
    play_forget(&p);
    play_confirm(&p, 2, 1, 2, 1);
    play_expect(&p, "ride: strike\nto 2: complete 2\nto 2: complete 4, commits nothing\n");
    play_end(&p);
}
END_TEST

/* S82: all tasks at their end: the final round starts at once, moves the job to STOPPING, and
 * FINISHED follows what is owed. */
START_TEST(final_round)
{
    static struct play p;
    play_running(&p, &two_and_one);
    play_finished(&p, 1, 0, 2);
    play_expect(&p, "");
    play_finished(&p, 1, 2, 1);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 1\n");
    play_ack(&p, 1, 1, 1, 0);
    play_ack(&p, 1, 1, 1, 1);
    play_ack_handle(&p, 1, 2, "last");
    play_expect(&p, "commit: round-end=complete snapshot owed job-state=STOPPING\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: complete 1, some ended\n");
    play_confirm(&p, 1, 1, 0, 3);
    play_expect(&p, "ride: strike\ncommit: attempt-end strike job-state=FINISHED\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: stop FINISHED\n");
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &two_and_one, &(struct join_options){.count = 3, .worker = "w", .pid = 12});
    play_expect(&p, "to 2: refused: job job is FINISHED\nclose 2\n");
    play_end(&p);
}
END_TEST

/* S28: a task that has ended counts as acked from the beginning of the next round on, also in
 * what people are shown and in the rounds' rows. */
START_TEST(ended_counts_as_acked_S28)
{
    static struct play p;
    play_running(&p, &periodic);
    play_finished(&p, 1, 0, 1);
    play_wait(&p, 100);
    play_ack_all(&p, 1, p.round, NULL);
    play_stored(&p, TIDE_STORED);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: complete 1, some ended\n"));
    ck_assert_uint_eq(p.row_acked, 3);
    play_wait(&p, 100);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_job(&p, 100);
    ck_assert_uint_eq(p.row_acked, 1);
    ck_assert_uint_eq(p.shown_acked, 1);
    play_forget(&p);
    play_ack(&p, 1, 1, 2, 1);
    play_ask_job(&p, 100);
    ck_assert_uint_eq(p.shown_acked, 2);
    play_ack(&p, 1, 1, 2, 2);
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: round-end=complete snapshot"));
    ck_assert_uint_eq(p.row_acked, 3);
    play_end(&p);
}
END_TEST

SUITE_MAIN("rounds", job_starts, acks_are_a_set_S49, next_replaces_S50, what_stays_is_a_policy,
           stray_acks_S52_S53, decline_aborts_S71, abort_is_recorded_again_with_its_holders,
           deadline_names_S74, committing_is_not_aborted, store_full_aborts, unknown_outcome_stops,
           silent_store_stops, savepoint_S95, savepoint_in_a_strange_directory,
           operations_are_forgotten, no_completion_overtakes_another, savepoint_refused_S176,
           owed_until_confirmed, final_round, ended_counts_as_acked_S28)

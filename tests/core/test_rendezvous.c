/* Rendezvous rounds, each promise as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"

#define NO_WINDOW UINT32_MAX

static const struct job_options solver = {
    .sources = 3, .interval_ms = 100, .deadline_ms = 1000, .window = 2};

/* Worker 1 with tasks 0 and 1, worker 2 with task 2; prepared, the trace is empty. */
static void prepared(struct play *p, const struct job_options *job)
{
    play_start(p);
    play_open(p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, 1, job, &(struct join_options){.count = 2, .worker = "w1", .pid = 10});
    play_open(p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, 2, job, &(struct join_options){.first = 2, .count = 1, .worker = "w2", .pid = 11});
    play_settle(p);
    play_restored(p, 1, 0, 2);
    play_restored(p, 2, 2, 1);
    play_settle(p);
    play_forget(p);
    play_wait(p, 100);
    char lines[100];
    snprintf(lines, sizeof lines, "ride: round-begin\nto 2,1: prepare checkpoint 1 window %u\n",
             job->window == NO_WINDOW ? 0 : job->window);
    play_expect(p, lines);
}

static void at_the_cut(struct play *p)
{
    prepared(p, &solver);
    play_position(p, 1, 0, 7);
    play_position(p, 1, 1, 9);
    play_position(p, 2, 2, 8);
    play_standing(p, 1, 0, 2);
    play_expect(p, "to 2,1: cut 1 at 11\n");
}

static void taken(struct play *p)
{
    at_the_cut(p);
    play_standing(p, 2, 2, 1);
    play_expect(p, "to 2,1: snapshot now 1\n");
}

START_TEST(a_round_from_prepare_to_complete)
{
    static struct play p;
    prepared(&p, &solver);
    play_position(&p, 1, 0, 7);
    play_position(&p, 1, 1, 9);
    play_expect(&p, "");
    play_position(&p, 2, 2, 8);
    play_expect(&p, "to 2,1: cut 1 at 11\n");
    play_standing(&p, 2, 2, 1);
    play_expect(&p, "");
    play_standing(&p, 1, 0, 2);
    play_expect(&p, "to 2,1: snapshot now 1\n");
    play_ack(&p, 1, 1, 1, 0);
    play_ack(&p, 1, 1, 1, 1);
    play_expect(&p, "");
    play_ack(&p, 2, 1, 1, 2);
    play_expect(&p, "commit: round-end=complete snapshot[of position 11]\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 2,1: complete 1\n");
    play_end(&p);
}
END_TEST

/* S49: as acks are: whoever says it twice is one. */
START_TEST(positions_and_standing_are_sets)
{
    static struct play p;
    prepared(&p, &solver);
    play_position(&p, 1, 0, 7);
    play_position(&p, 1, 0, 70); /* the first one counts */
    play_position(&p, 1, 0, 7);
    play_position(&p, 1, 1, 7);
    play_expect(&p, "");
    play_position(&p, 2, 2, 7);
    play_expect(&p, "to 2,1: cut 1 at 9\n");
    play_standing(&p, 1, 0, 1);
    play_standing(&p, 1, 0, 1);
    play_standing(&p, 1, 0, 1);
    play_expect(&p, "");
    play_position(&p, 1, 0, 12); /* late: the cut stays */
    play_standing(&p, 1, 0, 2);
    play_standing(&p, 2, 2, 1);
    play_expect(&p, "to 2,1: snapshot now 1\n");
    play_standing(&p, 2, 2, 1);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

START_TEST(without_a_window_the_cut_is_the_largest_position)
{
    static struct play p;
    struct job_options job = solver;
    job.window = NO_WINDOW;
    prepared(&p, &job);
    for (uint32_t t = 0; t < 3; t++)
        play_position(&p, t < 2 ? 1 : 2, t, 0);
    play_expect(&p, "to 2,1: cut 1 at 0\n");
    play_end(&p);
}
END_TEST

/* The tasks of a program without a window stand from their report on. The next round leaves them
 * alone for as long as the first stood for the last, unless the job says how long. */
static void stands_for_a_while(uint32_t window, uint32_t min_pause_ms, uint32_t pause_ms)
{
    static struct play p;
    struct job_options job = solver;
    job.window = window;
    job.min_pause_ms = min_pause_ms;
    prepared(&p, &job);
    play_position(&p, 1, 0, 0);
    play_wait(&p, 450); /* it is rarely at a safe point */
    play_position(&p, 1, 1, 0);
    play_position(&p, 2, 2, 0);
    play_standing(&p, 1, 0, 2);
    play_standing(&p, 2, 2, 1);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, t < 2 ? 1 : 2, 1, 1, t);
    play_forget(&p);
    play_stored(&p, TIDE_STORED);
    if (pause_ms) {
        play_wait(&p, pause_ms - 1);
        play_expect(&p, "to 2,1: complete 1\n");
        play_wait(&p, 1);
    }
    ck_assert_ptr_nonnull(strstr(p.trace, "prepare checkpoint 2"));
    play_end(&p);
}

START_TEST(standing_takes_at_most_half_of_the_time)
{
    stands_for_a_while(NO_WINDOW, 0, 450);
    stands_for_a_while(NO_WINDOW, 30, 30);
    stands_for_a_while(2, 0, 0); /* they went on meanwhile, and the period has passed */
}
END_TEST

/* Nothing is snapshotted before all stand; who says so has a bug. */
START_TEST(a_step_that_is_skipped_is_refused)
{
    static struct play p;
    prepared(&p, &solver);
    play_standing(&p, 1, 0, 2);
    play_expect(&p, "to 1: refused: Standing of round 1 before its Cut\nclose 1\n");
    play_end(&p);
    at_the_cut(&p);
    play_ack(&p, 1, 1, 1, 0);
    play_expect(&p, "to 1: refused: AckBatch of round 1 before its SnapshotNow\nclose 1\n");
    play_end(&p);
}
END_TEST

START_TEST(what_is_wrong_with_positions_is_refused)
{
    static struct play p;
    Tide__Position m = TIDE__POSITION__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    uint32_t tasks[2] = {0, 1};
    uint64_t positions[2] = {1, 2};
    message.msg_case = TIDE__FROM_WORKER__MSG_POSITION;
    message.position = &m;
    m.attempt = m.round = 1;
    m.task = tasks;
    m.position = positions;
    m.n_task = 2;
    m.n_position = 1;
    prepared(&p, &solver);
    play_frame(&p, 1, &message);
    play_expect(&p, "to 1: refused: Position has columns of unequal length\nclose 1\n");
    m.n_position = 2;
    play_frame(&p, 2, &message);
    play_expect(&p, "to 2: refused: Position names a task of another worker\nclose 2\n");
    play_end(&p);
    prepared(&p, &solver);
    play_position(&p, 1, 0, UINT64_C(1) << 62);
    play_position(&p, 1, 1, (UINT64_C(1) << 62) + 1);
    play_expect(&p, "to 1: refused: Position has a position above 2^62\nclose 1\n");
    play_standing(&p, 2, 1, 2);
    play_expect(&p, "to 2: refused: Standing names a task of another worker\nclose 2\n");
    play_end(&p);
}
END_TEST

START_TEST(messages_of_other_rounds_and_styles)
{
    static struct play p;
    prepared(&p, &solver);
    p.round = 7; /* of no round, or not of this one */
    play_position(&p, 1, 0, 1);
    play_standing(&p, 1, 0, 1);
    p.round = 1;
    p.attempt = 3;
    play_position(&p, 1, 0, 1);
    play_expect(&p, "");
    play_end(&p);
    struct job_options flow = solver;
    flow.window = 0;
    play_running(&p, &flow);
    play_wait(&p, 100);
    play_forget(&p);
    play_position(&p, 1, 0, 1);
    play_expect(&p, "to 1: refused: Position of round 1, which is no rendezvous round\nclose 1\n");
    play_end(&p);
}
END_TEST

/* S74: those are named who keep the round from its next step, and where they are. */
START_TEST(deadline_names_who_has_not_reported_S74)
{
    static struct play p;
    prepared(&p, &solver);
    play_position(&p, 1, 0, 7);
    play_position(&p, 2, 2, 8);
    play_wait(&p, 1000);
    play_expect(&p, "commit: round-end=aborted[a.1 not at a safe point yet]\n"
                    "to 2,1: abort 1 code 1\n"
                    "ride: round-begin\nto 2,1: prepare checkpoint 2 window 2\n");
    play_end(&p);
}
END_TEST

START_TEST(deadline_names_who_is_on_its_way_to_the_cut_S74)
{
    static struct play p;
    Tide__Barrier m = TIDE__BARRIER__INIT;
    Tide__TaskProgress at = TIDE__TASK_PROGRESS__INIT, *tasks[1] = {&at};
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    at_the_cut(&p);
    play_wait(&p, 500);
    m.attempt = m.round = 1;
    m.n_tasks = 1;
    m.tasks = tasks;
    at.task = 2;
    at.phase = TIDE__TASK_PHASE__TASK_WAITING;
    at.position = 10;
    message.msg_case = TIDE__FROM_WORKER__MSG_BARRIER;
    message.barrier = &m;
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_job(&p, 100);
    play_expect(&p, "to 100: [held by 2, on its way to 11]job RUNNING, waits for: \n");
    play_frame(&p, 2, &message);
    play_wait(&p, 500);
    play_expect(&p, "commit: round-end=aborted[a.2 at 10, on its way to 11]\n"
                    "to 2,1: abort 1 code 1\n"
                    "ride: round-begin\nto 2,1: prepare checkpoint 2 window 2\n");
    play_end(&p);
}
END_TEST

START_TEST(deadline_names_who_has_not_acked_S74)
{
    static struct play p;
    taken(&p);
    play_ack(&p, 1, 1, 1, 1);
    play_close(&p, 2);
    play_wait(&p, 1000);
    play_expect(&p, "commit: round-end=aborted[a.0 standing at 11][a.2 standing at 11, its worker "
                    "is away]\nto 1: abort 1 code 1\n"
                    "ride: round-begin\nto 1: prepare checkpoint 2 window 2\n");
    play_end(&p);
}
END_TEST

START_TEST(a_task_that_cannot_reach_the_cut_declines)
{
    static struct play p;
    at_the_cut(&p);
    play_decline(&p, 2, 2, "it counts by fives");
    play_expect(&p, "commit: round-end=aborted[a.2 on its way to 11]\nto 2,1: abort 1 code 2\n");
    play_end(&p);
}
END_TEST

/* DMTCP lets those go who wait at a barrier when one of them dies. */
START_TEST(a_lost_worker_does_not_release_the_others)
{
    static struct play p;
    at_the_cut(&p);
    play_leave(&p, 2);
    play_expect(&p, "close 2\ncommit: round-end=aborted[a.2 on its way to 11, its worker is away]\n"
                    "ride: attempt-end job-state=WAITING\n"
                    "to 1: rewind attempt 1\n");
    play_end(&p);
}
END_TEST

/* Whoever comes back hears how far the round is. */
START_TEST(a_worker_that_was_away_is_told_again)
{
    static struct play p;
    prepared(&p, &solver);
    play_position(&p, 1, 0, 7);
    play_position(&p, 1, 1, 7);
    play_close(&p, 2);
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    struct join_options back = {.first = 2,
                                .count = 1,
                                .worker = "w2",
                                .pid = 11,
                                .attempt = 1,
                                .open_round = 1,
                                .phase = TIDE__WORKER_PHASE__PHASE_RUNNING};
    play_join(&p, 3, &solver, &back);
    play_expect(&p, "to 3: joined\nto 3: resumed attempt 1\nto 3: run\n"
                    "to 3: prepare checkpoint 1 window 2\n");
    play_position(&p, 3, 2, 7);
    play_expect(&p, "to 3,1: cut 1 at 9\n");
    play_standing(&p, 1, 0, 2);
    play_standing(&p, 3, 2, 1);
    play_expect(&p, "to 3,1: snapshot now 1\n");
    play_close(&p, 3);
    play_open(&p, 4, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 4, &solver, &back);
    play_expect(&p, "to 4: joined\nto 4: resumed attempt 1\nto 4: run\n"
                    "to 4: prepare checkpoint 1 window 2\nto 4: cut 1 at 9\n"
                    "to 4: snapshot now 1\n");
    play_end(&p);
}
END_TEST

/* Savepoints, too, and one at a time with checkpoints. */
START_TEST(a_savepoint_meets_and_comes_alone)
{
    static struct play p;
    at_the_cut(&p);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_settle(&p);
    play_forget(&p);
    play_standing(&p, 2, 2, 1);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, t < 2 ? 1 : 2, 1, 1, t);
    play_expect(&p, "to 2,1: snapshot now 1\n"
                    "commit: round-end=complete snapshot[of position 11]\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 2,1: complete 1\ncommit: round-begin operation=running\n");
    play_settle(&p);
    play_expect(&p, "to 2,1: prepare savepoint 3 window 2\nride: round-times\n");
    for (uint32_t t = 0; t < 3; t++)
        play_position(&p, t < 2 ? 1 : 2, t, 20);
    play_standing(&p, 1, 0, 2);
    play_standing(&p, 2, 2, 1);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, t < 2 ? 1 : 2, 1, p.round, t);
    play_expect(&p, "to 2,1: cut 3 at 22\nto 2,1: snapshot now 3\nwrite-metadata "
                    "savepoint-c15c02-1000-2\n");
    play_end(&p);
}
END_TEST

static void ask_stop(struct play *p, bool drain)
{
    Tide__StopJob m = TIDE__STOP_JOB__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.job = play_bytes("job");
    m.kind = TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    m.drain = drain;
    r.call_case = TIDE__REQUEST__CALL_STOP;
    r.stop = &m;
    play_request(p, 100, &r);
}

START_TEST(it_is_suspended_not_drained)
{
    static struct play p;
    struct job_options job = solver;
    job.interval_ms = 0;
    play_running(&p, &job);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    ask_stop(&p, true);
    play_expect(&p, "to 100: error 3: job job has no input that could be drained: its rounds are "
                    "rendezvous rounds; suspend it\n");
    ask_stop(&p, false);
    play_settle(&p);
    play_forget(&p);
    for (uint32_t t = 0; t < 3; t++)
        play_position(&p, 1, t, 4);
    play_standing(&p, 1, 0, 3);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 1, 1, p.round, t);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "job-state=SUSPENDED"));
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: stop SUSPENDED"));
    play_end(&p);
}
END_TEST

/* A task that has ended is asked nothing any more; one that holds its end answers. */
START_TEST(ended_tasks_are_not_waited_for)
{
    static struct play p;
    prepared(&p, &solver);
    play_finished(&p, 2, 2, 1);
    for (uint32_t t = 0; t < 3; t++)
        play_position(&p, t < 2 ? 1 : 2, t, 4);
    play_standing(&p, 1, 0, 2);
    play_expect(&p, "to 2,1: cut 1 at 6\n");
    play_standing(&p, 2, 2, 1);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, t < 2 ? 1 : 2, 1, 1, t);
    play_settle(&p);
    play_wait(&p, 100); /* this one knew that it held its end */
    play_forget(&p);
    for (uint32_t t = 0; t < 3; t++)
        play_position(&p, t < 2 ? 1 : 2, t, 8);
    play_standing(&p, 1, 0, 2);
    play_standing(&p, 2, 2, 1);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, t < 2 ? 1 : 2, 1, 2, t);
    play_settle(&p);
    play_wait(&p, 100);
    play_forget(&p);
    play_position(&p, 2, 2, 90); /* it has ended, and moves no cut */
    play_position(&p, 1, 0, 12);
    play_position(&p, 1, 1, 12);
    play_expect(&p, "to 2,1: cut 3 at 14\n");
    play_standing(&p, 1, 0, 2);
    play_expect(&p, "to 2,1: snapshot now 3\n");
    play_ack(&p, 1, 1, 3, 0);
    play_ack(&p, 1, 1, 3, 1);
    play_expect(&p,
                "commit: round-end=complete snapshot[of position 14] snapshot-state=deleting 2\n");
    play_end(&p);
}
END_TEST

SUITE_MAIN("core rendezvous", a_round_from_prepare_to_complete, positions_and_standing_are_sets,
           without_a_window_the_cut_is_the_largest_position,
           standing_takes_at_most_half_of_the_time, a_step_that_is_skipped_is_refused,
           what_is_wrong_with_positions_is_refused, messages_of_other_rounds_and_styles,
           deadline_names_who_has_not_reported_S74, deadline_names_who_is_on_its_way_to_the_cut_S74,
           deadline_names_who_has_not_acked_S74, a_task_that_cannot_reach_the_cut_declines,
           a_lost_worker_does_not_release_the_others, a_worker_that_was_away_is_told_again,
           a_savepoint_meets_and_comes_alone, it_is_suspended_not_drained,
           ended_tasks_are_not_waited_for)

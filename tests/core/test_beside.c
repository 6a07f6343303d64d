/* Rounds beside each other, and when they begin: each as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"

static const struct job_options plain = {.sources = 2, .sinks = 1, .deadline_ms = 1000};
static struct play p;
/* A job like that, with what is named besides. */
#define RUN(...)                                                                                   \
    play_running(                                                                                  \
        &p, &(struct job_options){.sources = 2, .sinks = 1, .deadline_ms = 1000, __VA_ARGS__})

static void complete(uint64_t round)
{
    play_ack_all(&p, 1, round, NULL);
    play_settle(&p);
}

#define AMONG(...) PLAY_AMONG(&p, __VA_ARGS__)

static void say_progress(uint32_t task, Tide__TaskPhase phase, uint64_t bytes)
{
    Tide__TaskProgress task_progress = TIDE__TASK_PROGRESS__INIT, *tasks[] = {&task_progress};
    Tide__Barrier m = TIDE__BARRIER__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    task_progress.task = task;
    task_progress.phase = phase;
    task_progress.bytes = bytes;
    m.attempt = p.attempt;
    m.round = p.round;
    m.n_tasks = 1;
    m.tasks = tasks;
    message.msg_case = TIDE__FROM_WORKER__MSG_BARRIER;
    message.barrier = &m;
    play_frame(&p, 1, &message);
}

/* Time passes, and the worker's lease is renewed meanwhile. */
static void wait_ms(uint64_t ms)
{
    for (; ms; ms -= ms < 500 ? ms : 500) {
        play_wait(&p, ms < 500 ? ms : 500);
        play_heartbeat(&p, 1);
    }
}

/* S34: two under way, the younger completes: the older is subsumed, and two more may begin. */
START_TEST(the_younger_completes_S34)
{
    RUN(.interval_ms = 100, .max_concurrent = 2);
    play_wait(&p, 200);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 1\n"
                    "ride: round-begin\nto 1: trigger checkpoint 2\n");
    play_wait(&p, 200);
    play_expect(&p, "");
    play_ack(&p, 1, 1, 1, 0);
    play_ack_all(&p, 1, 2, NULL);
    play_expect(&p, "commit: round-end=complete snapshot\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: complete 2\n"
                    "commit: round-end=aborted[a.1 has not acted on its trigger]"
                    "[b.0 waiting for the first barrier]\n"
                    "to 1: abort 1 code 9\n"
                    "ride: round-begin\nto 1: trigger checkpoint 3\n");
    play_wait(&p, 100);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 4\n");
    play_end(&p);
}
END_TEST

/* S77, S94: a savepoint among checkpoints is put out of use by none, puts none out of use, and is
 * not counted among the retained; the next checkpoint names the one before as out of use. */
START_TEST(a_savepoint_among_checkpoints_S77_S94)
{
    RUN(.interval_ms = 100, .max_concurrent = 2);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k"); /* operation 1 */
    play_settle(&p);
    ck_assert_uint_eq(p.round, 2);
    play_wait(&p, 200);
    ck_assert_uint_eq(p.round, 4);
    play_forget(&p);
    complete(4);
    AMONG("commit: round-end=complete snapshot\n", "to 1: complete 4\n", "to 1: abort 3 code 9\n");
    ck_assert_uint_eq(p.subsumed, 0);
    play_ask_operation(&p, 100, p.operation);
    play_expect(&p, "to 100: operation savepoint running\n");
    complete(2);
    AMONG("write-metadata", "commit: round-end=complete snapshot operation=done\n",
          "publish savepoint", "to 1: complete 2, commits nothing\n");
    ck_assert_uint_eq(p.subsumed, 0);
    play_wait(&p, 100);
    play_forget(&p);
    complete(p.round);
    AMONG("commit: round-end=complete snapshot snapshot-state=deleting 4\n", "to 1: complete");
    ck_assert_uint_eq(p.subsumed, 4);
    play_end(&p);
}
END_TEST

/* S20: a request comes while another is set up: it waits, and both begin. */
START_TEST(one_is_set_up_at_a_time_S20)
{
    struct job_options job = plain;
    play_running(&p, &job);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_stored(&p, TIDE_STORED);
    play_filed(&p, 0);
    play_forget(&p);
    play_ask_checkpoint(&p, &(struct ask){.key = "l"});
    play_expect(&p, "commit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED); /* the savepoint's begin */
    play_expect(&p, "to 1: trigger savepoint 2\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "ride: round-begin operation=running\nto 1: trigger checkpoint 4\n"
                    "to 100: operation checkpoint running\n");
    play_end(&p);
}
END_TEST

/* Commits of a job are with the store one at a time, in order of rounds; one that is refused lets
 * the next one go on. */
START_TEST(one_commit_at_a_time)
{
    RUN(.interval_ms = 100, .max_concurrent = 3, .retained = 2);
    play_wait(&p, 300);
    play_forget(&p);
    play_ack_all(&p, 1, 1, NULL);
    play_expect(&p, "commit: round-end=complete snapshot\n");
    play_ack_all(&p, 1, 3, NULL);
    play_ack_all(&p, 1, 2, NULL);
    play_expect(&p, "");
    play_stored(&p, TIDE_REFUSED);
    AMONG("commit: round-end=aborted\n", "to 1: abort 1 code 8\n",
          "commit: round-end=complete snapshot\n");
    play_stored(&p, TIDE_STORED); /* the abort */
    play_stored(&p, TIDE_STORED);
    AMONG("to 1: complete 2\n", "commit: round-end=complete snapshot\n");
    play_stored(&p, TIDE_STORED);
    AMONG("to 1: complete 3\n");
    play_end(&p);
}
END_TEST

/* A round whose turn does not come by its deadline aborts, and says what it waited for. */
START_TEST(the_turn_does_not_come)
{
    struct job_options job = plain;
    job.interval_ms = 100;
    job.max_concurrent = 2;
    job.deadline_ms = 400;
    play_running(&p, &job);
    play_wait(&p, 200);
    play_ack_all(&p, 1, 1, NULL);
    play_ack_all(&p, 1, 2, NULL);
    play_forget(&p);
    play_wait(&p, 500);
    AMONG("to 1: abort 2 code 1\n");
    ck_assert_str_eq(p.reason,
                     "its commit still waited for that of round 1 at the deadline of 400 ms");
    play_end(&p);
}
END_TEST

/* A savepoint is complete before a checkpoint that began earlier: whoever asked is told, the tasks
 * are not, since they would confirm what the checkpoint has not yet asked of them. */
START_TEST(effects_come_first)
{
    RUN(.interval_ms = 100);
    play_wait(&p, 100);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_settle(&p);
    ck_assert_uint_eq(p.round, 3);
    play_forget(&p);
    complete(3);
    ck_assert_ptr_null(strstr(p.trace, "complete 3, commits"));
    play_ask_operation(&p, 100, p.operation);
    AMONG("to 100: operation savepoint done\n");
    play_ack_all(&p, 1, 1, NULL);
    play_settle(&p);
    AMONG("to 1: complete 1\n", "to 1: complete 3, commits nothing\n");
    play_end(&p);
}
END_TEST

/* The same when the checkpoint comes to nothing. */
START_TEST(effects_do_not_come)
{
    RUN(.interval_ms = 100);
    play_wait(&p, 100);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_settle(&p);
    complete(3);
    play_forget(&p);
    p.round = 1;
    play_decline(&p, 1, 0, "not now");
    AMONG("to 1: abort 1 code 2\n", "to 1: complete 3, commits nothing\n");
    play_end(&p);
}
END_TEST

/* A task that held its end is released by a completed round while a later one is under way: its end
 * is its ack there. */
START_TEST(an_end_is_an_ack)
{
    RUN(.interval_ms = 100, .max_concurrent = 2);
    play_finished(&p, 1, 0, 1);
    play_wait(&p, 200);
    play_ack(&p, 1, 1, 2, 1);
    play_ack(&p, 1, 1, 2, 2);
    play_forget(&p);
    play_ack_all(&p, 1, 1, NULL);
    play_stored(&p, TIDE_STORED);
    AMONG("to 1: complete 1, some ended\n", "commit: round-end=complete snapshot");
    play_settle(&p);
    AMONG("to 1: complete 2, some ended\n");
    play_end(&p);
}
END_TEST

/* A savepoint's target that hangs delays no checkpoint, and the savepoint fails when its time is
 * over; a directory that is made in the end goes again. */
START_TEST(a_target_hangs)
{
    RUN(.interval_ms = 100, .retained = 100);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_stored(&p, TIDE_STORED);
    AMONG("mkdir savepoint");
    for (uint64_t round = 2; round < 8; round++) {
        play_wait(&p, 100);
        ck_assert_uint_eq(p.round, round);
        play_ack_all(&p, 1, round, NULL);
        play_stored(&p, TIDE_STORED);
        play_heartbeat(&p, 1);
    }
    wait_ms(600);
    play_forget(&p);
    play_ask_operation(&p, 100, p.operation);
    play_expect(&p,
                "to 100: operation savepoint failed: no round could begin for it within 1000 ms: "
                "the job was RUNNING, its turn did not come\n");
    play_filed(&p, 0);
    AMONG("delete-attempt savepoint");
    play_end(&p);
}
END_TEST

/* S26: a request that comes while the job does not run waits, and says what for when its time is
 * over. Flink fails it at once. */
START_TEST(a_request_waits_for_the_job_S26)
{
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &plain, &(struct join_options){.count = 2, .worker = "w1", .pid = 10});
    play_settle(&p);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_stored(&p, TIDE_STORED);
    uint64_t first = p.operation;
    play_wait(&p, 500);
    play_ask_checkpoint(&p, &(struct ask){.key = "l"});
    play_stored(&p, TIDE_STORED);
    play_wait(&p, 600);
    play_ask_operation(&p, 100, first);
    AMONG("operation savepoint failed: no round could begin for it within 1000 ms: the job was "
          "WAITING, waiting for workers for 1 of its 3 tasks\n");
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &plain,
              &(struct join_options){.first = 2, .count = 1, .worker = "w2", .pid = 11});
    play_settle(&p);
    play_restored(&p, 1, 0, 2);
    play_restored(&p, 2, 2, 1);
    play_settle(&p);
    AMONG("to 2,1: run\n", "ride: round-begin operation=running\n", "trigger checkpoint");
    play_end(&p);
}
END_TEST

/* S13, S14: the period does not drift by what held a round back; what came due meanwhile is one
 * round, the rest is counted as skipped. */
START_TEST(the_period_does_not_drift_S14)
{
    RUN(.interval_ms = 100, .min_pause_ms = 30);
    uint64_t before = p.now_us;
    play_wait(&p, 100);
    ck_assert_uint_eq(p.round, 1);
    play_wait(&p, 350);
    complete(1); /* three came due in the meantime */
    play_forget(&p);
    play_wait(&p, 29);
    play_expect(&p, "");
    play_wait(&p, 1);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 2\n");
    complete(2);
    play_forget(&p);
    while (p.round == 2)
        play_wait(&p, 1);
    uint64_t third = p.now_us;
    complete(3);
    play_wait(&p, 100);
    ck_assert_uint_eq(p.round, 4);
    ck_assert_uint_lt(third - before, 700000);
    ck_assert_uint_eq(play_gauges(&p)->skipped_periodic_triggers, 2);
    play_end(&p);
}
END_TEST

/* A pause of its own after a failure; what people ask for does not wait for it. */
START_TEST(a_pause_after_a_failure)
{
    RUN(.interval_ms = 10, .failure_pause_ms = 300);
    play_wait(&p, 10);
    play_decline(&p, 1, 0, "no");
    play_settle(&p);
    play_forget(&p);
    play_wait(&p, 299);
    play_expect(&p, "");
    play_wait(&p, 1);
    AMONG("to 1: trigger checkpoint 2\n");
    play_decline(&p, 1, 0, "no");
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_checkpoint(&p, &(struct ask){.key = "k"});
    play_settle(&p);
    AMONG("to 1: trigger checkpoint 4\n");
    play_end(&p);
}
END_TEST

/* While a source has a backlog another interval holds: a longer one from the next fire on, the
 * shorter one again at once; with none no round begins by itself, but people may ask. */
START_TEST(backlogs)
{
    RUN(.interval_ms = 100, .backlog_interval_ms = 1000);
    play_backlog(&p, 1, 0, true);
    play_backlog(&p, 1, 1, true);
    play_wait(&p, 100);
    ck_assert_uint_eq(p.round, 1);
    complete(1);
    play_wait(&p, 850);
    ck_assert_uint_eq(p.round, 1);
    play_heartbeat(&p, 1);
    play_backlog(&p, 1, 0, false);
    play_wait(&p, 50);
    ck_assert_uint_eq(p.round, 1); /* one still has */
    play_backlog(&p, 1, 1, false);
    play_wait(&p, 100);
    ck_assert_uint_eq(p.round, 2);
    play_backlog(&p, 1, 2, true);
    AMONG("refused: Backlog names a task that is no source\n");
    play_end(&p);
}
END_TEST

START_TEST(no_rounds_in_a_backlog)
{
    struct job_options job = plain;
    job.interval_ms = 100;
    job.backlog_interval_ms = UINT32_MAX;
    play_running(&p, &job);
    play_backlog(&p, 1, 0, true);
    wait_ms(2000);
    ck_assert_uint_eq(p.round, 0);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_checkpoint(&p, &(struct ask){.key = "k"});
    play_settle(&p);
    ck_assert_uint_ne(p.round, 0);
    complete(p.round);
    uint64_t last = p.round;
    wait_ms(1000);
    ck_assert_uint_eq(p.round, last);
    play_backlog(&p, 1, 0, false);
    play_wait(&p, 99);
    ck_assert_uint_eq(p.round, last);
    play_wait(&p, 1);
    ck_assert_uint_ne(p.round, last);
    play_end(&p);
}
END_TEST

/* S4: while more is out of use than rounds may be under way, none begins; what cannot be deleted at
 * the first try does not count any more. */
START_TEST(deletion_does_not_starve_rounds_S4)
{
    RUN(.interval_ms = 100);
    for (uint64_t round = 1; round <= 3; round++) {
        play_wait(&p, 100);
        ck_assert_uint_eq(p.round, round);
        play_ack_all(&p, 1, round, NULL);
        while (p.n_commits)
            play_stored(&p, TIDE_STORED);
    }
    play_forget(&p);
    play_wait(&p, 500); /* 1 is being deleted, 2 waits for it */
    play_expect(&p, "");
    ck_assert_uint_eq(p.n_files, 1);
    play_filed(&p, TIDE_EIO);
    AMONG("delete r2\n", "to 1: trigger checkpoint 4\n");
    play_end(&p);
}
END_TEST

/* The deadline moves along with progress, up to its cap: acks that count, and tasks that are
 * further than they were; what is said again is no progress. */
START_TEST(deadlines_move_along)
{
    struct job_options job = plain;
    job.interval_ms = 100;
    job.deadline_ms = 300;
    job.deadline_cap_ms = 1000;
    play_running(&p, &job);
    while (p.round != 1)
        play_wait(&p, 1); /* 0 */
    play_forget(&p);
    play_wait(&p, 200);
    play_ack(&p, 1, 1, 1, 0); /* at 200: until 500 */
    play_wait(&p, 200);
    play_expect(&p, "");
    say_progress(1, TIDE__TASK_PHASE__TASK_UPLOADING, 10); /* at 400: until 700 */
    play_wait(&p, 200);
    say_progress(1, TIDE__TASK_PHASE__TASK_UPLOADING, 11); /* at 600: until 900 */
    play_wait(&p, 250);
    say_progress(1, TIDE__TASK_PHASE__TASK_UPLOADING, 11); /* no more than before */
    play_ack(&p, 1, 1, 1, 0);
    play_wait(&p, 49);
    play_expect(&p, "");
    play_wait(&p, 1);
    AMONG("to 1: abort 1 code 1\n", "to 1: trigger checkpoint 2\n");
    ck_assert_ptr_nonnull(strstr(p.reason, "2 tasks had not acked by the deadline of 900 ms"));
    uint64_t at = 0;
    for (; at < 1000; at += 50) {
        say_progress(1, TIDE__TASK_PHASE__TASK_UPLOADING, 100 + at);
        play_wait(&p, 50);
    }
    AMONG("to 1: abort 2 code 1\n");
    ck_assert_ptr_nonnull(strstr(p.reason, "by the deadline of 1000 ms"));
    play_end(&p);
}
END_TEST

SUITE_MAIN("beside", the_younger_completes_S34, a_savepoint_among_checkpoints_S77_S94,
           one_is_set_up_at_a_time_S20, one_commit_at_a_time, the_turn_does_not_come,
           effects_come_first, effects_do_not_come, an_end_is_an_ack, a_target_hangs,
           a_request_waits_for_the_job_S26, the_period_does_not_drift_S14, a_pause_after_a_failure,
           backlogs, no_rounds_in_a_backlog, deletion_does_not_starve_rounds_S4,
           deadlines_move_along)

/* How a job is stopped and cancelled, each promise as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"

static const struct job_options two_and_one = {.sources = 2, .sinks = 1, .deadline_ms = 1000};

static void start_job(struct play *p, uint32_t interval_ms)
{
    struct job_options job = two_and_one;
    job.interval_ms = interval_ms;
    play_running(p, &job);
    play_open(p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
}

/* Up to the trigger of the stop's round. */
static void stop_up_to_trigger(struct play *p, const struct ask *o)
{
    play_ask_stop(p, o);
    play_settle(p);
    play_forget(p);
}

/* S166: a savepoint, its effects confirmed, the end: the operation has its path, the snapshot is
 * kept, the period stays off, and whoever joins hears how it ended. */
START_TEST(stop_suspends_S166)
{
    static struct play p;
    start_job(&p, 100);
    play_ask_stop(&p, &(struct ask){.key = "k"});
    play_expect(&p, "commit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "mkdir savepoint-c15c02-1000-1\nto 100: operation stop queued\n");
    play_wait(&p, 500); /* nothing begins meanwhile */
    play_expect(&p, "");
    play_filed(&p, 0);
    play_expect(&p, "commit: round-begin operation=running\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: trigger savepoint 2, suspend\n");
    play_ack_all(&p, 1, p.round, "part");
    play_expect(&p, "write-metadata savepoint-c15c02-1000-1\n");
    play_filed(&p, 0);
    play_expect(&p, "commit: round-end=complete snapshot with effects owed operation=running "
                    "job-state=STOPPING\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "publish savepoint-c15c02-1000-1\nto 1: complete 2\n");
    play_filed(&p, 0);
    play_expect(&p, ""); /* its effects first */
    play_confirm(&p, 1, 2, 0, 3);
    play_expect(&p,
                "ride: strike\ncommit: attempt-end strike job-state=SUSPENDED operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: stop SUSPENDED\n");
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p, "to 100: operation stop done, snapshot 2 good\n");
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    struct job_options job = two_and_one;
    job.interval_ms = 100;
    play_join(&p, 2, &job, &(struct join_options){.count = 3, .worker = "w", .pid = 11});
    play_expect(&p, "to 2: refused: job job is SUSPENDED: suspended by operation 1\nclose 2\n");
    play_wait(&p, 10000);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* S166, S178: drained: every task has ended by the last round, also when some held their end before
 * it was asked for; the job is FINISHED. With a checkpoint as well as with a savepoint. */
START_TEST(stop_drains_S166_S178)
{
    static struct play p;
    start_job(&p, 0);
    play_finished(&p, 1, 0, 1);
    stop_up_to_trigger(&p, &(struct ask){.drain = true, .checkpoint = true});
    play_finished(&p, 1, 0, 3); /* all hold their end: no other last round begins */
    play_expect(&p, "");
    play_ack_all(&p, 1, p.round, NULL);
    play_expect(&p, "commit: round-end=complete snapshot operation=running job-state=STOPPING\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: complete 2, some ended\n"
                    "commit: attempt-end job-state=FINISHED operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: stop FINISHED\n");
    play_end(&p);
}
END_TEST

/* S178: a stop that arrives while the job's last checkpoint is waited for: that one completes and
 * the job ends by itself; the operation says so. */
START_TEST(stop_behind_the_last_checkpoint_S178)
{
    static struct play p;
    start_job(&p, 0);
    play_finished(&p, 1, 0, 3);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 1\n");
    play_ask_stop(&p, &(struct ask){0});
    play_settle(&p);
    play_forget(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: round-end=complete snapshot job-state=STOPPING\n"
                    "to 1: complete 1, some ended\n"
                    "commit: attempt-end job-state=FINISHED operation=failed\n");
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p, "to 100: operation stop failed: the job has ended: it is FINISHED\n");
    play_end(&p);
}
END_TEST

/* S178: when all tasks hold their end and the stop came first, its round is the last. */
START_TEST(stop_is_the_last_round_S178)
{
    static struct play p;
    start_job(&p, 0);
    play_ask_stop(&p, &(struct ask){0});
    play_stored(&p, TIDE_STORED);
    play_finished(&p, 1, 0, 3);
    play_forget(&p);
    play_filed(&p, 0);
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: round-begin operation=running\nto 1: trigger savepoint 2, suspend\n");
    play_end(&p);
}
END_TEST

/* S167: no snapshot: the operation fails, the job goes on where it stands, its period is back. */
START_TEST(stop_fails_before_the_snapshot_S167)
{
    static struct play p;
    start_job(&p, 100);
    stop_up_to_trigger(&p, &(struct ask){.key = "k"});
    play_wait(&p, 500);
    play_decline(&p, 1, 1, "no disk");
    play_expect(&p, "commit: operation=failed\n"
                    "commit: round-end=aborted[a.0 has not acted on its trigger][a.1 has not acted "
                    "on its trigger][b.0 waiting for the first barrier]\n"
                    "to 1: abort 2 code 2\n");
    play_ask_operation(&p, ADMIN, p.operation); /* not yet: a restart would carry it out */
    play_expect(&p, "to 100: operation stop running\n");
    play_stored(&p, TIDE_NO_SPACE);
    play_expect(&p, "");
    play_ask_stop(&p, &(struct ask){.key = "other"});
    play_expect(&p, "to 100: error 3: job job is being stopped already, by operation 1\n");
    play_settle(&p);
    play_forget(&p);
    play_wait(&p, 1000);
    play_expect(&p, "ride: round-begin\nto 1: trigger checkpoint 3\n"
                    "commit: round-end=aborted[a.0 has not acted on its trigger][a.1 has not acted "
                    "on its trigger][b.0 waiting for the first barrier]\n"
                    "to 1: abort 3 code 1\nride: round-begin\nto 1: trigger checkpoint 4\n"
                    "commit: operation=failed\n");
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p,
                "to 100: operation stop failed: no snapshot was taken, the job goes on: round 2 "
                "aborted: a[1] declined: no disk\n");
    play_end(&p);
}
END_TEST

/* S175: a drain that comes to nothing: its sources have ended for nothing, so the job goes on from
 * its recovery point. */
START_TEST(drain_that_aborts_rewinds_S175)
{
    static struct play p;
    start_job(&p, 0);
    stop_up_to_trigger(&p, &(struct ask){.drain = true});
    play_decline(&p, 1, 1, "no disk");
    play_expect(&p, "commit: operation=failed\n"
                    "commit: round-end=aborted[a.0 has not acted on its trigger][a.1 has not acted "
                    "on its trigger][b.0 waiting for the first barrier]\n"
                    "to 1: abort 2 code 2\n"
                    "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 1\n");
    play_end(&p);
}
END_TEST

/* S175, S169: a worker that is lost while the last round is collected: no snapshot; the job goes on
 * from its recovery point, with its period. */
START_TEST(worker_lost_before_the_snapshot_S175_S169)
{
    static struct play p;
    start_job(&p, 0);
    stop_up_to_trigger(&p, &(struct ask){0});
    play_ack(&p, 1, 1, p.round, 0);
    play_leave(&p, 1);
    play_expect(&p, "close 1\ncommit: operation=failed\ncommit: round-end=aborted[a.1 has not "
                    "acted on its trigger, its worker is "
                    "away][b.0 waiting for the first barrier, its worker is away]\n"
                    "ride: attempt-end job-state=WAITING\n");
    play_end(&p);
}
END_TEST

/* A stop lets rounds under way finish; what was asked for before it comes first, and nothing else
 * any more. */
START_TEST(stop_waits_for_rounds_under_way)
{
    static struct play p;
    start_job(&p, 100);
    play_wait(&p, 100);
    play_forget(&p);
    play_ask_stop(&p, &(struct ask){0});
    play_settle(&p);
    play_forget(&p);
    play_wait(&p, 300);
    play_expect(&p, "");
    play_ack_all(&p, 1, p.round, NULL);
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: round-end=complete snapshot\nto 1: complete 1\n"
                    "commit: round-begin operation=running\n");
    play_end(&p);
}
END_TEST

/* ... or it supersedes them. */
START_TEST(stop_supersedes)
{
    static struct play p;
    start_job(&p, 100);
    play_savepoint(&p, ADMIN, "s");
    play_settle(&p);
    play_wait(&p, 100);
    play_forget(&p);
    play_ask_stop(&p, &(struct ask){.supersede = true, .checkpoint = true});
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: operation=queued audit\n"
                    "commit: round-end=aborted[a.0 has not acted on its trigger][a.1 has not acted "
                    "on its trigger][b.0 waiting for the first barrier] operation=failed\n"
                    "to 1: abort 2 code 10\n"
                    "commit: round-end=aborted[a.0 has not acted on its trigger][a.1 has not acted "
                    "on its trigger][b.0 waiting for the first barrier]\n"
                    "to 1: abort 3 code 10\n"
                    "commit: round-begin operation=running\nto 100: operation stop running\n");
    play_end(&p);
}
END_TEST

/* A round whose commit is with the store is not superseded: its outcome comes first. */
START_TEST(committing_is_not_superseded)
{
    static struct play p;
    start_job(&p, 100);
    play_wait(&p, 100);
    play_ack_all(&p, 1, p.round, NULL);
    play_forget(&p);
    play_ask_stop(&p, &(struct ask){.supersede = true, .checkpoint = true});
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: operation=queued audit\nto 1: complete 1\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: round-begin operation=running\nto 100: operation stop running\n");
    play_end(&p);
}
END_TEST

/* One stop at a time; its key finds it again; no other round is asked for meanwhile. */
START_TEST(one_stop_at_a_time)
{
    static struct play p;
    start_job(&p, 0);
    play_ask_stop(&p, &(struct ask){.key = "first"});
    play_settle(&p);
    play_forget(&p);
    play_ask_stop(&p, &(struct ask){.key = "first"});
    play_expect(&p, "to 100: operation stop running\n");
    play_ask_stop(&p, &(struct ask){.key = "second", .drain = true});
    play_expect(&p, "to 100: error 3: job job is being stopped already, by operation 1\n");
    play_ask_cancel(&p, &(struct ask){.key = "third", .savepoint = true});
    play_expect(&p, "to 100: error 3: job job is being stopped already, by operation 1\n");
    play_savepoint(&p, ADMIN, "s");
    play_expect(&p, "to 100: error 3: job job is being stopped already, by operation 1\n");
    play_end(&p);
}
END_TEST

/* S176: errors say what is wrong; a job without a period is stopped like another. */
START_TEST(what_cannot_be_stopped_S176)
{
    static struct play p;
    start_job(&p, 0);
    play_ask_stop(&p, &(struct ask){.job = "other"});
    play_expect(&p, "to 100: error 1: there is no job \"other\"\n");
    play_ask_stop(&p, &(struct ask){.target = "here"});
    play_expect(&p, "to 100: error 2: the target \"here\" is not an absolute path\n");
    play_ask_stop(&p, &(struct ask){.target = "/state/x"});
    play_expect(&p, "to 100: error 2: the target lies in the directory of checkpoints, /state, "
                    "which the daemon cleans\n");
    stop_up_to_trigger(&p, &(struct ask){0});
    ck_assert_uint_eq(p.round, 2);
    play_end(&p);
}
END_TEST

/* S170: the savepoint is in its place before or after its effects are confirmed: either way the job
 * ends when both are done, and the operation has both. */
START_TEST(either_order_S170_S172)
{
    static struct play p;
    start_job(&p, 0);
    stop_up_to_trigger(&p, &(struct ask){0});
    play_ack_all(&p, 1, p.round, "part");
    play_filed(&p, 0);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_confirm(&p, 1, 2, 0, 3);
    play_expect(&p, "ride: strike\n");
    play_filed(&p, 0);
    play_expect(&p, "commit: attempt-end strike job-state=SUSPENDED operation=done\n");
    play_end(&p);
}
END_TEST

/* The savepoint's _metadata cannot be put in place: the job has ended all the same, and the
 * operation tells the good snapshot from the failed stop. */
START_TEST(metadata_is_not_in_its_place)
{
    static struct play p;
    start_job(&p, 0);
    stop_up_to_trigger(&p, &(struct ask){0});
    play_ack_all(&p, 1, p.round, NULL);
    play_filed(&p, 0);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_filed(&p, TIDE_EIO);
    play_expect(&p, "commit: attempt-end job-state=SUSPENDED operation=failed\n");
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p,
                "to 100: operation stop failed: savepoint 2 is complete in the store, but its "
                "_metadata could not be put in place (a reason); the daemon tries again when it "
                "starts, snapshot 2 good\n");
    play_end(&p);
}
END_TEST

/* S175: a worker is lost after the snapshot: the next attempt only delivers what is owed, then the
 * job ends as it was asked to. */
START_TEST(worker_lost_after_the_snapshot_S175)
{
    static struct play p;
    start_job(&p, 0);
    stop_up_to_trigger(&p, &(struct ask){0});
    play_ack_all(&p, 1, p.round, "part");
    play_settle(&p);
    play_forget(&p);
    play_close(&p, 1);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &two_and_one,
              &(struct join_options){.count = 3, .worker = "w", .boot = "other", .pid = 11});
    play_expect(&p, "to 2: parked behind w\n");
    play_wait(&p, 11250); /* its lease */
    play_expect(&p,
                "ride: attempt-end\nto 2: joined\ncommit: attempt-end attempt\nmkdir a1000-2\n");
    play_settle(&p);
    play_expect(&p, "to 2: start attempt 2 from 0, 1 tasks with state or owed, 1 owed, 0 ended, "
                    "deliver only\n");
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p, "to 100: operation stop running, snapshot 2 good\n");
    play_confirm(&p, 2, 2, 0, 3);
    play_expect(&p,
                "ride: strike\ncommit: attempt-end strike job-state=SUSPENDED operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 2: stop SUSPENDED\n");
    play_end(&p);
}
END_TEST

/* ... and when nobody confirms that in time: snapshot good, stop failed; the job is HELD and names
 * what is owed. */
START_TEST(nobody_delivers)
{
    static struct play p;
    start_job(&p, 0);
    stop_up_to_trigger(&p, &(struct ask){0});
    play_ack_all(&p, 1, p.round, "part");
    play_settle(&p);
    play_close(&p, 1);
    play_wait(&p, 11250);
    play_forget(&p);
    play_wait(&p, 600000);
    play_expect(&p, "commit: job-state=HELD operation=failed\n");
    play_settle(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p,
                "to 100: operation stop failed: snapshot 2 is complete, but the stop failed: the "
                "last snapshot is good, the stop failed: nobody came within 600000 ms to carry out "
                "the commits still owed; commits owed: b[0] of round 2, snapshot 2 good\n");
    play_end(&p);
}
END_TEST

/* ... both in one commit, however often that is refused: a job that is HELD with its stop still
 * open would have no period when it is released (seed 802856). */
START_TEST(held_and_failed_at_once)
{
    static struct play p;
    struct job_options job = two_and_one;
    job.interval_ms = 100;
    start_job(&p, job.interval_ms);
    stop_up_to_trigger(&p, &(struct ask){0});
    play_ack_all(&p, 1, p.round, "part");
    play_settle(&p);
    play_close(&p, 1);
    play_wait(&p, 11250);
    play_wait(&p, 600000);
    play_stored(&p, TIDE_NO_SPACE);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p, "to 100: operation stop running, snapshot 2 good\n");
    play_wait(&p, 10000);
    play_expect(&p, "commit: job-state=HELD operation=failed\n");
    play_stored(&p, TIDE_STORED);
    play_crash(&p);
    play_settle(&p);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_release(&p, &(struct ask){.abandon = true});
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &job, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_settle(&p);
    play_restored(&p, 1, 0, 3);
    play_settle(&p);
    uint64_t before = p.round;
    play_wait(&p, 200);
    ck_assert_uint_gt(p.round, before);
    play_end(&p);
}
END_TEST

/* The daemon restarts in STOPPING: its workers come back, hear Complete again, and the job ends as
 * it was asked to; the operation has lived on. */
START_TEST(daemon_restarts_after_the_snapshot)
{
    static struct play p;
    start_job(&p, 0);
    stop_up_to_trigger(&p, &(struct ask){0});
    play_ack_all(&p, 1, p.round, "part");
    play_filed(&p, 0);
    play_stored(&p, TIDE_STORED);
    play_crash(&p);
    play_settle(&p);
    play_forget(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &two_and_one,
              &(struct join_options){.count = 3,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = 1,
                                     .open_round = 2,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_expect(&p, "to 1: joined\nto 1: resumed attempt 1\nto 1: run\nto 1: complete 2\n"
                    "to 1: complete 2\n");
    play_confirm(&p, 1, 2, 0, 3);
    play_expect(&p,
                "ride: strike\ncommit: attempt-end strike job-state=SUSPENDED operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: stop SUSPENDED\n");
    play_end(&p);
}
END_TEST

/* The daemon restarts before the snapshot: the stop is tried again; a job that was being drained
 * goes back to its recovery point first, since its sources have ended their input. */
START_TEST(daemon_restarts_before_the_snapshot)
{
    for (int drain = 0; drain < 2; drain++) {
        static struct play p;
        start_job(&p, 0);
        stop_up_to_trigger(&p, &(struct ask){.drain = drain, .checkpoint = true});
        play_ack(&p, 1, 1, p.round, 0);
        play_crash(&p);
        play_settle(&p);
        play_forget(&p);
        play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
        play_join(&p, 1, &two_and_one,
                  &(struct join_options){.count = 3,
                                         .worker = "w",
                                         .pid = 10,
                                         .attempt = 1,
                                         .open_round = 2,
                                         .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
        if (drain) {
            play_expect(&p, "to 1: rewind attempt 1\n");
            play_join(&p, 1, &two_and_one,
                      &(struct join_options){.count = 3, .worker = "w", .pid = 10});
            play_settle(&p);
            play_restored(&p, 1, 0, 3);
            play_stored(&p, TIDE_STORED);
            play_forget(&p);
        } else {
            play_expect(&p, "to 1: joined\nto 1: resumed attempt 1\nto 1: run\n"
                            "to 1: abort 2 code 6\ncommit: round-begin operation=running\n");
        }
        play_settle(&p);
        play_expect(&p, drain ? "to 1: trigger checkpoint 1002, drain\n"
                              : "to 1: trigger checkpoint 1002, suspend\n");
        play_end(&p);
    }
}
END_TEST

/* A cancel is durable before it is told, whatever the job is at; S173: a stop under way fails. */
START_TEST(cancel_while_it_runs_S173)
{
    static struct play p;
    start_job(&p, 100);
    stop_up_to_trigger(&p, &(struct ask){0});
    uint64_t stop = p.operation;
    play_ask_cancel(&p, &(struct ask){.key = "k"});
    play_expect(&p, "commit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: operation=failed\n"
                    "commit: round-end=aborted[a.0 has not acted on its trigger][a.1 has not acted "
                    "on its trigger][b.0 waiting for the first barrier]\n"
                    "to 1: abort 2 code 14\n"
                    "commit: attempt-end job-state=CANCELLED operation=done\n"
                    "to 100: operation cancel queued\n");
    play_stored(&p, TIDE_STORED);
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: stop CANCELLED\n");
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p, "to 100: operation cancel done\n");
    play_ask_operation(&p, ADMIN, stop);
    play_expect(&p,
                "to 100: operation stop failed: no snapshot was taken, the job goes on: round 2 "
                "aborted: the job is being cancelled\n");
    play_ask_cancel(&p, &(struct ask){.key = "again"});
    play_expect(&p, "to 100: error 3: job job is CANCELLED\n");
    play_ask_cancel(&p, &(struct ask){.key = "k"});
    play_expect(&p, "to 100: operation cancel done\n");
    play_wait(&p, 10000); /* until nobody can be writing any more */
    play_expect(&p, "delete savepoint-c15c02-1000-1\n");
    play_end(&p);
}
END_TEST

START_TEST(cancel_while_it_waits_or_restores)
{
    static struct play p;
    play_start(&p);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &two_and_one, &(struct join_options){.count = 2, .worker = "w", .pid = 10});
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_ask_cancel(&p, &(struct ask){.key = "k"});
    play_settle(&p);
    play_expect(&p, "commit: operation=queued audit\n"
                    "commit: job-state=CANCELLED operation=done\n"
                    "to 100: operation cancel queued\nto 1: stop CANCELLED\n");
    play_end(&p);

    play_start(&p);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &two_and_one, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_stored(&p, TIDE_STORED);
    play_ask_cancel(&p, &(struct ask){.key = "k"});
    play_forget(&p);
    play_stored(&p, TIDE_STORED); /* the attempt's row */
    play_stored(&p, TIDE_STORED); /* the operation's */
    play_expect(&p, "commit: attempt-end job-state=CANCELLED operation=done\n"
                    "to 100: operation cancel queued\n");
    play_filed(&p, 0); /* its directory: too late, nothing starts */
    play_expect(&p, "");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: stop CANCELLED\n");
    play_end(&p);
}
END_TEST

/* The store has no room for the end: it is tried again, and until then nobody is told. */
START_TEST(cancel_that_cannot_be_stored)
{
    static struct play p;
    start_job(&p, 0);
    play_ask_cancel(&p, &(struct ask){.key = "k"});
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_stored(&p, TIDE_NO_SPACE);
    play_expect(&p, "");
    play_wait(&p, 1000);
    play_expect(&p, "commit: attempt-end job-state=CANCELLED operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: stop CANCELLED\n");
    play_end(&p);
}
END_TEST

/* The daemon dies after the cancel was taken: the next one carries it out. */
START_TEST(cancel_across_a_restart)
{
    static struct play p;
    start_job(&p, 0);
    play_ask_cancel(&p, &(struct ask){.key = "k"});
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_crash(&p);
    play_expect(&p, "commit: reserve\n"
                    "commit: attempt-end job-state=CANCELLED operation=done\n");
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
    play_join(&p, 1, &two_and_one,
              &(struct join_options){.count = 3,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = 1,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_expect(&p, "to 1: refused: job job is CANCELLED: cancelled by operation 1\nclose 1\n");
    play_end(&p);
}
END_TEST

/* A cancel in STOPPING does not wait for effects; the stop has its snapshot, and has failed. */
START_TEST(cancel_while_it_stops_S173)
{
    static struct play p;
    start_job(&p, 0);
    stop_up_to_trigger(&p, &(struct ask){0});
    uint64_t stop = p.operation;
    play_ack_all(&p, 1, p.round, "part");
    play_settle(&p);
    play_forget(&p);
    play_ask_cancel(&p, &(struct ask){.key = "k"});
    play_settle(&p);
    play_expect(&p, "commit: operation=queued audit\n"
                    "commit: attempt-end job-state=CANCELLED operation=failed operation=done\n"
                    "to 100: operation cancel queued\nto 1: stop CANCELLED\n");
    play_ask_operation(&p, ADMIN, stop);
    play_expect(&p,
                "to 100: operation stop failed: snapshot 2 is complete, but the stop failed: the "
                "job is CANCELLED, snapshot 2 good\n");
    play_end(&p);
}
END_TEST

/* A cancel waits for a round whose commit is with the store: it may become the last snapshot. */
START_TEST(cancel_waits_for_a_commit)
{
    static struct play p;
    start_job(&p, 100);
    play_wait(&p, 100);
    play_ack_all(&p, 1, p.round, NULL);
    play_forget(&p);
    play_ask_cancel(&p, &(struct ask){.key = "k"});
    play_expect(&p, "commit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED); /* the round's */
    play_expect(&p, "to 1: complete 1\n");
    play_stored(&p, TIDE_STORED); /* the operation's */
    play_expect(&p, "commit: attempt-end job-state=CANCELLED operation=done\n"
                    "to 100: operation cancel queued\n");
    play_end(&p);
}
END_TEST

/* Cancelled after a savepoint, with its effects; if the savepoint fails the job runs on. */
START_TEST(cancel_with_savepoint)
{
    static struct play p;
    start_job(&p, 0);
    play_ask_cancel(&p, &(struct ask){.key = "k", .savepoint = true});
    play_settle(&p);
    play_decline(&p, 1, 0, "no disk");
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p,
                "to 100: operation cancel failed: no snapshot was taken, the job goes on: round "
                "2 aborted: a[0] declined: no disk\n");
    play_ask_cancel(&p, &(struct ask){.key = "again", .savepoint = true});
    play_settle(&p);
    play_ack_all(&p, 1, p.round, "part");
    play_settle(&p);
    play_forget(&p);
    play_confirm(&p, 1, p.round, 0, 3);
    play_expect(&p,
                "ride: strike\ncommit: attempt-end strike job-state=CANCELLED operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: stop CANCELLED\n");
    play_end(&p);
}
END_TEST

SUITE_MAIN("stop", stop_suspends_S166, stop_drains_S166_S178, stop_behind_the_last_checkpoint_S178,
           stop_is_the_last_round_S178, stop_fails_before_the_snapshot_S167,
           drain_that_aborts_rewinds_S175, worker_lost_before_the_snapshot_S175_S169,
           stop_waits_for_rounds_under_way, stop_supersedes, committing_is_not_superseded,
           one_stop_at_a_time, what_cannot_be_stopped_S176, either_order_S170_S172,
           metadata_is_not_in_its_place, worker_lost_after_the_snapshot_S175, nobody_delivers,
           held_and_failed_at_once, daemon_restarts_after_the_snapshot,
           daemon_restarts_before_the_snapshot, cancel_while_it_runs_S173,
           cancel_while_it_waits_or_restores, cancel_that_cannot_be_stored, cancel_across_a_restart,
           cancel_while_it_stops_S173, cancel_waits_for_a_commit, cancel_with_savepoint)

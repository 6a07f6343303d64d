/* Savepoints that publish effects, what is out of use, and what may be disposed of: each promise as
 * the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"

static const struct job_options plain = {
    .sources = 2, .sinks = 1, .deadline_ms = 1000, .retained = 1};
static const struct join_options whole = {.count = 3, .worker = "w", .pid = 10};

static void start_job(struct play *p)
{
    play_running(p, &plain);
    play_open(p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
}

static void savepoint(struct play *p, bool commits)
{
    play_ask_savepoint(p, &(struct ask){.commits = commits});
    play_settle(p);
}

static void checkpoint(struct play *p, bool full)
{
    play_ask_checkpoint(p, &(struct ask){.full = full});
    play_settle(p);
}

static void stop_job(struct play *p)
{
    play_ask_stop(p, &(struct ask){0});
    play_settle(p);
}

static void cancel_job(struct play *p)
{
    play_ask_cancel(p, &(struct ask){0});
    play_settle(p);
}

static void take_savepoint(struct play *p, bool commits, const char *handle)
{
    savepoint(p, commits);
    play_ack_all(p, 1, p->round, handle);
    play_settle(p);
}

static void take_checkpoint(struct play *p)
{
    checkpoint(p, false);
    play_ack_all(p, 1, p->round, NULL);
    play_settle(p);
    play_forget(p);
}

/* Its worker dies, a new one comes; up to what the next attempt asks first. */
static void fail_over(struct play *p)
{
    play_close(p, 1);
    play_wait(p, 11250);
    play_open(p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_wait(p, 10000);
    play_forget(p);
    play_join(p, 2, &plain, &whole);
}

/* S95, S94: a savepoint is done when it is durable and in its place; it publishes nothing, puts
 * nothing out of use and nobody goes back to it; the next checkpoint's Complete names the one
 * before as out of use. */
START_TEST(savepoints_publish_nothing_S94_S95)
{
    static struct play p;
    start_job(&p);
    take_checkpoint(&p);
    uint64_t first = p.round;
    savepoint(&p, false);
    play_ack_all(&p, 1, p.round, "part");
    play_forget(&p);
    play_filed(&p, 0);
    play_expect(&p, "commit: round-end=complete snapshot operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "publish savepoint-c15c02-1000-3\nto 1: complete 4, commits nothing\n");
    ck_assert_uint_eq(p.subsumed, 0);
    play_filed(&p, 0);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p, "to 100: operation savepoint done\n");
    take_checkpoint(&p);
    ck_assert_uint_eq(p.subsumed, first);
    uint64_t second = p.round;
    fail_over(&p);
    char want[60];
    snprintf(want, sizeof want, "to 2: joined\nload %u\n", (unsigned)second);
    play_expect(&p, want);
    play_end(&p);
}
END_TEST

/* One that was asked to publishes, owes handles as a checkpoint does, puts older checkpoints out of
 * use, and is what the job goes back to. */
START_TEST(savepoint_with_effects_is_the_recovery_point_S98)
{
    static struct play p;
    start_job(&p);
    take_checkpoint(&p);
    savepoint(&p, true);
    play_ack_all(&p, 1, p.round, "part");
    play_forget(&p);
    play_filed(&p, 0);
    play_expect(&p,
                "commit: round-end=complete snapshot with effects owed snapshot-state=deleting 2 "
                "operation=done\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "publish savepoint-c15c02-1000-3\nto 1: complete 4\ndelete r2\n");
    ck_assert_uint_eq(p.subsumed, 2);
    play_settle(&p);
    fail_over(&p);
    play_expect(&p, "to 2: joined\npublish savepoint-c15c02-1000-3\n"); /* is it there? */
    play_filed(&p, 0);
    play_expect(&p, "read savepoint-c15c02-1000-3\n"); /* and all of it? */
    play_filed(&p, 0);
    play_expect(&p, "load 4\n");
    play_loaded(&p);
    play_settle(&p);
    play_expect(&p, "commit: attempt-end attempt job-state=RESTORING\nmkdir a1000-2\n"
                    "to 2: start attempt 2 from 4, 3 tasks with state or owed, 1 owed, 0 ended\n");
    play_end(&p);
}
END_TEST

/* ... and when its bytes are not where they were, the job is HELD: nothing older is restored. */
START_TEST(recovery_point_is_gone)
{
    static struct play p;
    start_job(&p);
    take_checkpoint(&p);
    take_savepoint(&p, true, NULL);
    fail_over(&p);
    play_forget(&p);
    play_filed(&p, TIDE_ENOTFOUND);
    play_expect(&p, "commit: job-state=HELD\n");
    play_settle(&p);
    play_ask_job(&p, ADMIN);
    play_expect(&p, "to 100: job HELD, waits for: \n");
    play_end(&p);
}
END_TEST

/* ... or one of its artifacts is, or is another: the _metadata alone is no savepoint. */
START_TEST(part_of_the_recovery_point_is_gone)
{
    static const int what[] = {TIDE_ENOTFOUND, TIDE_ECORRUPT, TIDE_EVERSION};
    static struct play p;
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        start_job(&p);
        take_checkpoint(&p);
        savepoint(&p, true);
        play_ack_all(&p, 1, p.round, NULL);
        play_settle(&p);
        fail_over(&p);
        play_filed(&p, 0);
        play_forget(&p);
        play_not_filed(&p, what[i], "/save/s/t0-0: is missing");
        play_expect(&p, "commit: job-state=HELD\n");
        play_settle(&p);
        play_ask_job(&p, ADMIN);
        play_expect(&p, "to 100: job HELD, waits for: \n");
        play_end(&p);
    }
}
END_TEST

/* A disk that does not answer is no savepoint that is gone: it is tried again. */
START_TEST(recovery_point_cannot_be_seen)
{
    static struct play p;
    start_job(&p);
    take_savepoint(&p, true, NULL);
    fail_over(&p);
    play_forget(&p);
    play_filed(&p, TIDE_EIO);
    play_expect(&p, "");
    play_wait(&p, 10000);
    play_expect(&p, "publish savepoint-c15c02-1000-1\n");
    play_end(&p);
}
END_TEST

/* A savepoint that was to publish effects completes behind a later checkpoint: that one has
 * published them already. */
START_TEST(effects_of_a_later_round_are_enough_S94)
{
    static struct play p;
    start_job(&p);
    savepoint(&p, true);
    uint64_t first = p.round;
    checkpoint(&p, false);
    play_ack_all(&p, 1, p.round, "part");
    play_settle(&p);
    play_forget(&p);
    play_ack(&p, 1, 1, first, 0);
    play_ack(&p, 1, 1, first, 1);
    play_ack(&p, 1, 1, first, 2);
    play_filed(&p, 0);
    play_expect(&p, "write-metadata savepoint-c15c02-1000-1\n"
                    "commit: round-end=complete snapshot operation=done\n");
    play_end(&p);
}
END_TEST

/* S97, S98: checkpoint, savepoint, savepoint with which the job stops: the checkpoint goes,
 * savepoints are their user's and stay. */
START_TEST(stop_puts_checkpoints_out_of_use_S97_S98)
{
    static struct play p;
    start_job(&p);
    take_checkpoint(&p);
    take_savepoint(&p, false, NULL);
    stop_job(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_forget(&p);
    play_filed(&p, 0);
    play_expect(&p, "commit: round-end=complete snapshot with effects snapshot-state=deleting 2 "
                    "operation=running job-state=STOPPING\n");
    play_end(&p);
}
END_TEST

/* What is out of use is told across a restart of the daemon, too, when its row says deleted
 * already. */
START_TEST(out_of_use_across_a_restart)
{
    static struct play p;
    start_job(&p);
    take_checkpoint(&p);
    checkpoint(&p, false);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p); /* 4 is complete, 2 deleted */
    play_ask_job(&p, ADMIN);
    savepoint(&p, false); /* what rides is durable */
    play_crash(&p);
    play_settle(&p);
    play_forget(&p);
    p.subsumed = 0;
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &plain,
              &(struct join_options){.count = 3,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = 1,
                                     .told_complete = 2,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_expect(&p, "to 1: joined\nto 1: resumed attempt 1\nto 1: run\nto 1: complete 4\n"
                    "mkdir savepoint-c15c02-2000-5\n");
    ck_assert_uint_eq(p.subsumed, 2);
    play_end(&p);
}
END_TEST

/* S38: a full checkpoint is asked for as such. */
START_TEST(full_checkpoint_S38)
{
    static struct play p;
    start_job(&p);
    play_forget(&p);
    checkpoint(&p, true);
    play_expect(&p, "commit: operation=queued audit\nride: round-begin operation=running\n"
                    "to 1: trigger checkpoint 2, full\nto 100: operation checkpoint running\n");
    play_end(&p);
}
END_TEST

/* A savepoint in the tasks' own formats is asked for as such. */
START_TEST(native_savepoint)
{
    static struct play p;
    start_job(&p);
    play_forget(&p);
    play_ask_savepoint(&p, &(struct ask){.native = true});
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: trigger savepoint 2, native\n"));
    play_end(&p);
}
END_TEST

/* retained, deleting, deleted: each durable before the next; done when the bytes are gone; the same
 * key finds the operation again, and so does nobody the snapshot. */
START_TEST(dispose_of_a_savepoint)
{
    static struct play p;
    start_job(&p);
    take_savepoint(&p, false, NULL);
    play_forget(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = 2, .key = "k"});
    play_expect(&p, "commit: operation=queued audit\n");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: snapshot-state=deleting 2 operation=running\n"
                    "to 100: operation dispose running\n");
    play_ask_dispose(&p, &(struct ask){.snapshot = 2, .key = "other"});
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: operation=queued audit\ndelete savepoint-c15c02-1000-1\n");
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_filed(&p, TIDE_EIO); /* tried again until it is gone */
    play_wait(&p, 1000);
    play_expect(&p, "delete savepoint-c15c02-1000-1\n");
    play_filed(&p, 0);
    play_expect(&p, "ride: snapshot-state=deleted 2 operation=done operation=done\n");
    play_ask_dispose(&p, &(struct ask){.snapshot = 2, .key = "k"});
    play_expect(&p, "to 100: operation dispose done\n");
    play_ask_dispose(&p, &(struct ask){.snapshot = 2, .key = "third"});
    play_expect(&p, "to 100: error 1: there is no snapshot 2, or it is deleted already\n");
    play_end(&p);
}
END_TEST

/* The daemon dies while the bytes are being deleted: the next one goes on. */
START_TEST(dispose_across_a_restart)
{
    static struct play p;
    start_job(&p);
    take_savepoint(&p, false, NULL);
    play_ask_dispose(&p, &(struct ask){.snapshot = 2, .key = "k"});
    play_stored(&p, TIDE_STORED);
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_crash(&p);
    play_expect(&p, "commit: reserve\ndelete savepoint-c15c02-1000-1\n");
    play_filed(&p, 0);
    play_expect(&p, "ride: snapshot-state=deleted 2 operation=done\n");
    play_end(&p);

    start_job(&p); /* or before anything but the request was durable */
    take_savepoint(&p, false, NULL);
    play_ask_dispose(&p, &(struct ask){.snapshot = 2, .key = "k"});
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_crash(&p);
    play_expect(&p, "commit: reserve\npublish savepoint-c15c02-1000-1\n"
                    "commit: snapshot-state=deleting 2 operation=running\n");
    play_end(&p);
}
END_TEST

/* What is needed is not disposed of, and why is said. */
START_TEST(what_is_needed_stays)
{
    static struct play p;
    start_job(&p);
    take_checkpoint(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = 2, .key = "a"});
    play_expect(&p, "to 100: error 3: snapshot 2 is a checkpoint of job job: the daemon deletes it "
                    "when its time has come\n");
    play_ask_dispose(&p, &(struct ask){.snapshot = 7, .key = "b"});
    play_expect(&p, "to 100: error 1: there is no snapshot 7, or it is deleted already\n");
    take_savepoint(&p, true, "part");
    play_forget(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = 4, .key = "c"});
    play_expect(&p, "to 100: error 3: a commit of snapshot 4 is still owed to b[0] of job job\n");
    play_confirm(&p, 1, 4, 0, 3);
    play_forget(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = 4, .key = "d"});
    play_expect(&p, "to 100: error 3: job job goes on from snapshot 4 until a later round with "
                    "effects is complete\n");
    take_checkpoint(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = 4, .key = "e"});
    play_settle(&p);
    play_expect(&p, "commit: operation=queued audit\n"
                    "commit: snapshot-state=deleting 4 operation=running\n"
                    "to 100: operation dispose running\ndelete savepoint-c15c02-1000-3\n"
                    "ride: snapshot-state=deleted 4 operation=done\n");
    play_end(&p);
}
END_TEST

/* A suspended job needs its snapshot until it is given up. */
START_TEST(suspended_job_keeps_its_snapshot)
{
    static struct play p;
    start_job(&p);
    stop_job(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    play_forget(&p);
    play_ask_dispose(&p, &(struct ask){.snapshot = 2, .key = "a"});
    play_expect(&p,
                "to 100: error 3: job job is SUSPENDED with snapshot 2: cancel the job first\n");
    cancel_job(&p);
    play_expect(&p, "commit: operation=queued audit\ncommit: job-state=CANCELLED operation=done\n"
                    "to 100: operation cancel queued\n");
    play_ask_dispose(&p, &(struct ask){.snapshot = 2, .key = "b"});
    play_settle(&p);
    play_expect(&p, "commit: operation=queued audit\n"
                    "commit: snapshot-state=deleting 2 operation=running\n"
                    "to 100: operation dispose running\ndelete savepoint-c15c02-1000-1\n"
                    "ride: snapshot-state=deleted 2 operation=done\n");
    play_end(&p);
}
END_TEST

/* The store does not take it: nothing is deleted. */
START_TEST(dispose_that_cannot_be_stored)
{
    static struct play p;
    start_job(&p);
    take_savepoint(&p, false, NULL);
    play_ask_dispose(&p, &(struct ask){.snapshot = 2, .key = "k"});
    play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_stored(&p, TIDE_NO_SPACE);
    play_expect(&p, "ride: operation=failed\n");
    play_end(&p);
}
END_TEST

SUITE_MAIN("savepoints", native_savepoint, savepoints_publish_nothing_S94_S95,
           savepoint_with_effects_is_the_recovery_point_S98, recovery_point_is_gone,
           part_of_the_recovery_point_is_gone, recovery_point_cannot_be_seen,
           effects_of_a_later_round_are_enough_S94, stop_puts_checkpoints_out_of_use_S97_S98,
           out_of_use_across_a_restart, full_checkpoint_S38, dispose_of_a_savepoint,
           dispose_across_a_restart, what_is_needed_stays, suspended_job_keeps_its_snapshot,
           dispose_that_cannot_be_stored)

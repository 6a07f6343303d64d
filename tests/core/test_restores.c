/* Promises about what is restored, and what becomes of a job that cannot restore it, as traces. */
#include "tests/core/lib_play.h"

static const struct job_options job = {.sources = 1, .interval_ms = 100, .deadline_ms = 10000};
static struct play p;

/* A checkpoint is complete; the task is told to restore it, and cannot. */
static void fail_to_restore(void)
{
    Tide__RestoreFailed m = TIDE__RESTORE_FAILED__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = p.attempt;
    m.reason = play_bytes("t0-0: No such file or directory");
    message.msg_case = TIDE__FROM_WORKER__MSG_RESTORE_FAILED;
    message.restore_failed = &m;
    play_frame(&p, 1, &message);
    play_join(&p, 1, &job, &(struct join_options){.count = 1, .worker = "w", .pid = 10});
    play_forget(&p);
    play_wait(&p, 10000);
}

static void two_have_failed(void)
{
    play_running(&p, &job);
    play_wait(&p, 100);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    play_leave(&p, 1);
    play_close(&p, 1);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &job, &(struct join_options){.count = 1, .worker = "w", .pid = 10});
    play_settle(&p);
    fail_to_restore();
    play_expect(&p, "load 1\n");
    play_loaded(&p);
    play_expect(&p, "look r1\n"); /* a worker that is lost counts too */
}

/* Files of the checkpoint are gone: that will not mend itself, so the job is HELD and says which,
 * instead of failing in one attempt after the other. */
START_TEST(missing_files_hold_the_job)
{
    two_have_failed();
    play_not_filed(&p, TIDE_ENOTFOUND, "/state/job/a1000-1/r1/t0-0: is missing");
    play_expect(&p, "commit: job-state=HELD\n");
    play_settle(&p);
    play_expect(&p, "");
    ck_assert(tide_bytes_equal(
        p.shelf.jobs[0].cause,
        tide_bytes_of("the job goes on from checkpoint 1, which is not whole any more: "
                      "/state/job/a1000-1/r1/t0-0: is missing")));
    play_end(&p);
}
END_TEST

/* They are there, or nobody can say: it is tried again. */
START_TEST(what_is_there_is_tried_again)
{
    for (int rc = 0; rc >= TIDE_EIO; rc += TIDE_EIO) {
        two_have_failed();
        play_filed(&p, rc);
        play_expect(&p, "commit: attempt-end attempt job-state=RESTORING\nmkdir a1000-3\n");
        play_end(&p);
    }
}
END_TEST

/* The worker goes while the files are being looked at. */
START_TEST(nobody_is_there_any_more)
{
    two_have_failed();
    play_close(&p, 1);
    play_forget(&p);
    play_filed(&p, 0);
    play_expect(&p, "");
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &job, &(struct join_options){.count = 1, .worker = "w", .pid = 11});
    play_expect(&p, "to 2: joined\nload 1\n");
    play_end(&p);
}
END_TEST

/* A worker proves that the job was known once, to a newer copy of the store: that must not be
 * forgotten because the job could not begin from what it names; whoever comes next would have it
 * begin there. */
START_TEST(a_witness_outlives_a_beginning_that_cannot_be)
{
    static const uint8_t lost[16] = {1, 2, 3};
    struct job_options begins = {.sources = 1, .restore_from = "/backup/s"};
    play_start(&p);
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &begins,
              &(struct join_options){.count = 1,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = 1,
                                     .job_id = lost,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: refused: job job: worker w knows of a job"));
    play_close(&p, 1);
    play_forget(&p);
    play_not_filed(&p, TIDE_ENOTFOUND, "/backup/s: cannot be opened");
    play_expect(&p, "commit: job lease\n");
    play_stored(&p, TIDE_STORED);
    PLAY_AMONG(&p, "commit: job-state=HELD\n");
    play_settle(&p);
    play_end(&p);
}
END_TEST

/* ... and is heard although the job has meanwhile been born from elsewhere. */
START_TEST(a_witness_may_have_begun_elsewhere)
{
    static const uint8_t lost[16] = {1, 2, 3};
    struct job_options afresh = {.sources = 2}, begins = afresh;
    begins.restore_from = "/backup/s";
    play_start(&p);
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &afresh, &(struct join_options){.count = 1, .worker = "v", .pid = 10});
    play_settle(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
    play_join(&p, 2, &begins,
              &(struct join_options){.first = 1,
                                     .count = 1,
                                     .worker = "w",
                                     .pid = 11,
                                     .attempt = 1,
                                     .job_id = lost,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    PLAY_AMONG(&p, "commit: job-state=HELD\n");
    play_end(&p);
}
END_TEST

/* The job is held, or ended, while its files are looked at: nothing begins, whatever the answer is.
 */
START_TEST(the_job_is_wanted_no_more)
{
    for (int i = 0; i < 4; i++) {
        two_have_failed();
        play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
        if (i < 2)
            play_ask_hold(&p, &(struct ask){0});
        else
            play_ask_cancel(&p, &(struct ask){0});
        play_stored(&p, TIDE_STORED);
        play_forget(&p);
        play_not_filed(&p, i & 1 ? TIDE_ENOTFOUND : 0, "a reason");
        ck_assert_ptr_null(strstr(p.trace, "attempt"));
        play_settle(&p);
        ck_assert_ptr_null(strstr(p.trace, "attempt job-state=RESTORING"));
        play_end(&p);
    }
}
END_TEST

SUITE_MAIN("restores", the_job_is_wanted_no_more, missing_files_hold_the_job,
           what_is_there_is_tried_again, nobody_is_there_any_more,
           a_witness_outlives_a_beginning_that_cannot_be, a_witness_may_have_begun_elsewhere)

/* Promises about attempts, leases and fencing, each as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"

static const struct job_options job = {
    .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 60000};
static const struct join_options w1 = {.count = 2, .worker = "w1", .pid = 10};
static const struct join_options w2 = {.first = 2, .count = 1, .worker = "w2", .pid = 11};

static void two_workers_restored(struct play *p)
{
    play_start(p);
    play_open(p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, 1, &job, &w1);
    play_open(p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, 2, &job, &w2);
    play_settle(p);
    play_restored(p, 1, 0, 2);
    play_restored(p, 2, 2, 1);
}

static void two_workers(struct play *p)
{
    two_workers_restored(p);
    play_settle(p);
    play_forget(p);
}

static void beat(struct play *p, uint64_t session, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        play_wait(p, 1000);
        play_heartbeat(p, session);
    }
}

/* A cut connection ends no lease: until it is over, nothing of the attempt ends and nobody takes
 * the place. */
START_TEST(away_until_the_lease_is_over)
{
    static struct play p;
    two_workers(&p);
    play_wait(&p, 100);
    play_forget(&p);
    play_close(&p, 2);
    beat(&p, 1, 10);
    play_expect(&p, "to 1: alive\nto 1: alive\nto 1: alive\nto 1: alive\nto 1: alive\nto 1: "
                    "alive\nto 1: alive\nto 1: alive\nto 1: alive\nto 1: alive\n");
    play_wait(&p, 1300); /* L + L/8 since it was last heard */
    play_expect(&p, "commit: round-end=aborted[a.0 has not acted on its trigger][a.1 has not acted "
                    "on its trigger]"
                    "[b.0 waiting for the first barrier, its worker is away]\n"
                    "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 1\n");
    play_end(&p);
}
END_TEST

/* Of several processes of one name that wait the newest is let in: those before it are dead, and
 * would hold the tasks for a lease each (sim: seed 2558). */
START_TEST(newest_of_a_name_waits)
{
    static struct play p;
    two_workers(&p);
    play_close(&p, 2);
    for (uint64_t s = 3; s <= 5; s++) {
        play_open(&p, s, TIDE__PEER_KIND__PEER_WORKER);
        play_join(&p, s, &job,
                  &(struct join_options){.first = 2,
                                         .count = 1,
                                         .worker = "w2",
                                         .pid = 20 + (uint32_t)s,
                                         .boot = "another host"});
    }
    beat(&p, 1, 12);
    ck_assert_ptr_nonnull(strstr(p.trace, "close 3\n"));
    ck_assert_ptr_nonnull(strstr(p.trace, "close 4\n"));
    ck_assert_ptr_nonnull(strstr(p.trace, "to 5: joined\n"));
    play_end(&p);
}
END_TEST

/* A loop that stood still has heard nobody, and knows that it stood still also when nothing but the
 * leases was due meanwhile (sim: seed 300746). */
START_TEST(standing_still_ends_no_lease)
{
    static struct play p;
    struct job_options idle = {.sources = 1}; /* no period: nothing else is due */
    play_running(&p, &idle);
    play_wait(&p, 100);
    p.now_us += 12000 * 1000;
    play_wait(&p, 0);
    play_heartbeat(&p, 1);
    play_wait(&p, 9000);
    ck_assert_ptr_null(strstr(p.trace, "rewind"));
    ck_assert_ptr_null(strstr(p.trace, "attempt-end"));
    play_end(&p);
}
END_TEST

/* It is said once, though each event comes late until the timers have run; and again the next time.
 */
START_TEST(standing_still_is_said_once)
{
    static struct play p;
    struct job_options idle = {.sources = 1};
    play_running(&p, &idle);
    for (uint32_t i = 1; i <= 3; i++) {
        play_wait(&p, 100);
        ck_assert_uint_eq(p.standstills, i - 1);
        p.now_us += 3000 * 1000;
        for (int k = 0; k < 5; k++) {
            play_heartbeat(&p, 1);
            ck_assert_uint_eq(p.standstills, i);
        }
        play_wait(&p, 500);
        ck_assert_uint_eq(p.standstills, i);
    }
    play_end(&p);
}
END_TEST

/* Another process for the tasks of a holder that is away is parked; that the holder's process is
 * gone from the same host ends the wait at once. */
START_TEST(parked_until_holder_is_gone)
{
    static struct play p;
    two_workers(&p);
    play_close(&p, 2);
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &job,
              &(struct join_options){.first = 2, .count = 1, .worker = "w2", .pid = 12});
    play_expect(&p, "to 3: parked behind w2\n");
    Tide__HolderGone gone = TIDE__HOLDER_GONE__INIT;
    Tide__Host host = TIDE__HOST__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    host.boot_id = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "host"};
    host.pid = 11;
    host.start_time = 1;
    gone.holder = &host;
    message.msg_case = TIDE__FROM_WORKER__MSG_HOLDER_GONE;
    message.holder_gone = &gone;
    play_frame(&p, 3, &message);
    play_expect(&p, "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 1\nto 3: joined\n");
    /* and the next attempt waits for the answer of the worker that was rewound */
    play_wait(&p, 1000);
    play_expect(&p, "");
    play_join(&p, 1, &job, &w1);
    play_expect(&p,
                "to 1: joined\ncommit: attempt-end attempt job-state=RESTORING\nmkdir a1000-2\n");
    play_end(&p);
}
END_TEST

/* Whoever says so from another host proves nothing. */
START_TEST(gone_from_another_host)
{
    static struct play p;
    two_workers(&p);
    play_close(&p, 2);
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &job,
              &(struct join_options){
                  .first = 2, .count = 1, .worker = "w2", .pid = 12, .boot = "elsewhere"});
    Tide__HolderGone gone = TIDE__HOLDER_GONE__INIT;
    Tide__Host host = TIDE__HOST__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    host.boot_id = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "host"};
    host.pid = 11;
    host.start_time = 1;
    gone.holder = &host;
    message.msg_case = TIDE__FROM_WORKER__MSG_HOLDER_GONE;
    message.holder_gone = &gone;
    play_frame(&p, 3, &message);
    play_expect(&p, "to 3: parked behind w2\n");
    play_end(&p);
}
END_TEST

START_TEST(present_holder_refuses_second_host)
{
    static struct play p;
    two_workers(&p);
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &job,
              &(struct join_options){.first = 2, .count = 1, .worker = "x", .pid = 12});
    play_expect(
        &p,
        "to 3: refused: a task of worker x is hosted by worker w2, which is present\nclose 3\n");
    play_end(&p);
}
END_TEST

START_TEST(other_spec_is_refused_with_the_difference)
{
    static struct play p;
    struct job_options other = job;
    two_workers(&p);
    other.sources = 3;
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &other, &(struct join_options){.count = 1, .worker = "x", .pid = 12});
    ck_assert_ptr_nonnull(
        strstr(p.trace, "to 3: refused: the spec differs from the one in force for job job: "));
    ck_assert_ptr_nonnull(strstr(p.trace, "parallelism"));
    play_end(&p);
}
END_TEST

/* A worker that comes back in time goes on, hears how its rounds ended, and gets the trigger again.
 */
START_TEST(back_in_time)
{
    static struct play p;
    two_workers(&p);
    play_wait(&p, 100);
    uint64_t round = p.round;
    play_forget(&p);
    play_close(&p, 2);
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &job,
              &(struct join_options){.first = 2,
                                     .count = 1,
                                     .worker = "w2",
                                     .pid = 11,
                                     .attempt = 1,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING,
                                     .open_round = round});
    play_expect(&p,
                "to 3: joined\nto 3: resumed attempt 1\nto 3: run\nto 3: trigger checkpoint 1\n");
    play_end(&p);
}
END_TEST

/* One that comes too late is told to drop what it has; its acks count for nothing. */
START_TEST(too_late)
{
    static struct play p;
    two_workers(&p);
    play_close(&p, 2);
    beat(&p, 1, 12);
    play_forget(&p);
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &job,
              &(struct join_options){.first = 2,
                                     .count = 1,
                                     .worker = "w2",
                                     .pid = 11,
                                     .attempt = 1,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_expect(&p, "to 3: rewind attempt 1\n");
    play_ack(&p, 3, 1, 1, 2);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* w2 comes back and says what it has; the store takes its time with what comes of it. */
static void comes_back(struct play *p, uint64_t session, struct join_options with)
{
    with.first = 2;
    with.count = 1;
    with.worker = "w2";
    with.pid = 11;
    if (!with.attempt) with.attempt = 1;
    with.phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
    play_close(p, session - 1);
    play_open(p, session, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(p);
    play_join(p, session, &job, &with);
}

/* A Join that knows more than the store: an old database was put back. Who knows it is told to
 * forget only when the job is durably HELD; until then it comes again, to this daemon or the next
 * one, which has forgotten what was not stored. */
static void old_database(struct join_options with, const char *named)
{
    static struct play p;
    char line[200];
    two_workers(&p);
    comes_back(&p, 3, with);
    snprintf(line, sizeof line, "to 3: refused: job job: worker w2 knows of %s", named);
    ck_assert_ptr_nonnull(strstr(p.trace, line));
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: job-state=HELD\n"));
    ck_assert_ptr_null(strstr(p.trace, "fenced"));

    play_stored(&p, TIDE_NO_SPACE); /* it is asked again */
    comes_back(&p, 4, with);
    ck_assert_ptr_null(strstr(p.trace, "fenced"));
    play_wait(&p, 1001);
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: job-state=HELD\n"));
    play_stored(&p, TIDE_STORED);

    comes_back(&p, 5, with);
    snprintf(line, sizeof line, "to 5: fenced: worker w2 knows of %s", named);
    ck_assert_ptr_nonnull(strstr(p.trace, line));
    play_forget(&p);
    play_open(&p, 6, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 6, &job, &w2);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 6: refused: job job is held"));
    play_end(&p);
}

START_TEST(old_database_is_noticed)
{
    old_database((struct join_options){.attempt = 9}, "an attempt that this store has not seen");
}
END_TEST

START_TEST(old_database_without_the_round)
{
    old_database((struct join_options){.told_complete = 9},
                 "a completed round that this store does not have");
}
END_TEST

/* It would take no round below it any more: the job would wait for ever (sim: seed 11325). */
START_TEST(old_database_without_the_ids)
{
    old_database((struct join_options){.lowest_pending = 2001},
                 "a round that this store has not issued");
}
END_TEST

/* The copy is from before the job (sim: seed 191). */
START_TEST(old_database_without_the_job)
{
    static const uint8_t lost[16] = {1, 2, 3};
    old_database((struct join_options){.job_id = lost}, "a job that this store has not seen");
}
END_TEST

/* ... which the witness makes anew: it is HELD as soon as it is there, and starts nothing. */
START_TEST(old_database_and_a_new_job)
{
    static const uint8_t lost[16] = {1, 2, 3};
    static struct play p;
    struct job_options one = {.sources = 1};
    play_start(&p);
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
    play_join(&p, 1, &one,
              &(struct join_options){.count = 1,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = 1,
                                     .job_id = lost,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: refused: job job: worker w knows of a job"));
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &one, &(struct join_options){.count = 1, .worker = "v", .pid = 11});
    play_forget(&p);
    play_stored(&p, TIDE_STORED);
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: job-state=HELD\n"));
    play_settle(&p);
    ck_assert_ptr_null(strstr(p.trace, "start"));
    play_end(&p);
}
END_TEST

/* ... and when the store does not take it at first, and the witness is gone, it is made again
 * (seed 4435). */
START_TEST(old_database_and_a_new_job_that_is_refused)
{
    static const uint8_t lost[16] = {1, 2, 3};
    static struct play p;
    struct job_options one = {.sources = 1};
    play_start(&p);
    play_settle(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &one,
              &(struct join_options){.count = 1,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = 1,
                                     .job_id = lost,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &one, &(struct join_options){.count = 1, .worker = "v", .pid = 11});
    play_close(&p, 1);
    play_forget(&p);
    play_stored(&p, TIDE_REFUSED);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 2: refused: job job could not be stored: "));
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &one, &(struct join_options){.count = 1, .worker = "v", .pid = 12});
    play_forget(&p);
    play_wait(&p, 1000);
    play_expect(&p, "commit: job lease\n");
    play_stored(&p, TIDE_STORED);
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: job-state=HELD\n"));
    play_settle(&p);
    ck_assert_ptr_null(strstr(p.trace, "start"));
    play_end(&p);
}
END_TEST

/* One that joins again with nothing has lost what it had: the attempt ends. */
START_TEST(lost_its_state)
{
    static struct play p;
    two_workers(&p);
    play_close(&p, 2);
    play_open(&p, 3, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 3, &job, &w2);
    play_expect(&p, "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 1\nto 3: joined\n");
    play_end(&p);
}
END_TEST

static void part(struct play *p, uint64_t session, size_t len)
{
    static uint8_t bytes[1 << 20];
    Tide__Part m = TIDE__PART__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.data = (ProtobufCBinaryData){len, bytes};
    message.msg_case = TIDE__FROM_WORKER__MSG_JOIN;
    message.join = &m;
    play_frame(p, session, &message);
}

/* Nobody may begin with a Join, keep silent, and have the daemon hold its parts for ever. */
START_TEST(a_join_that_does_not_end)
{
    static struct play p;
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    part(&p, 1, 10);
    play_wait(&p, 30000);
    part(&p, 1, 10);
    play_wait(&p, 29999);
    play_expect(&p, "");
    play_wait(&p, 1);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: refused: Join: its last part did not come"));
    play_close(&p, 1);
    play_end(&p);
}
END_TEST

/* All together hold no more than the limit: whoever would bring more is refused, the others go on.
 */
START_TEST(joins_that_are_too_much_together)
{
    static struct play p;
    play_start(&p);
    for (uint64_t i = 1; i <= 3; i++)
        play_open(&p, i, TIDE__PEER_KIND__PEER_WORKER);
    part(&p, 1, 1 << 20);
    part(&p, 1, 1 << 20);
    part(&p, 2, 1 << 20);
    play_expect(&p, "");
    part(&p, 3, 1);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 3: refused: Join: too much is arriving at once"));
    play_forget(&p);
    play_close(&p, 2);
    part(&p, 1, 1 << 20);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* The end may come while a Join is half sent, and after it timers of a running job were set. */
START_TEST(an_end_amid_a_join)
{
    static struct play p;
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    part(&p, 1, 10);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &job, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_settle(&p);
    ck_assert_uint_ne(core_deadline(p.core), UINT64_MAX);
    play_end(&p);
}
END_TEST

START_TEST(restore_fails_and_is_tried_again)
{
    static struct play p;
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &job, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_settle(&p);
    play_forget(&p);
    Tide__RestoreFailed m = TIDE__RESTORE_FAILED__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = 1;
    m.task = 1;
    message.msg_case = TIDE__FROM_WORKER__MSG_RESTORE_FAILED;
    message.restore_failed = &m;
    play_frame(&p, 1, &message);
    play_expect(&p, "ride: attempt-end job-state=WAITING\nto 1: rewind attempt 1\n");
    play_join(&p, 1, &job, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_expect(&p, "to 1: joined\n"); /* a back-off first */
    play_wait(&p, 200);
    play_expect(&p, "commit: attempt-end attempt job-state=RESTORING\nmkdir a1000-2\n");
    play_end(&p);
}
END_TEST

/* ---- a daemon's restart */

struct stored { /* what a store would give after two_workers() */
    struct tide_catalog catalog;
    struct tide_catalog_incarnation incarnations[2];
    struct tide_catalog_job job;
    struct tide_member members[2];
    uint32_t ranges[4];
    uint8_t spec[1024];
};

static void after_restart(struct play *p, struct stored *s, bool ended)
{
    Tide__Operator a = TIDE__OPERATOR__INIT, b = TIDE__OPERATOR__INIT, *operators[2] = {&a, &b};
    Tide__Edge edge = TIDE__EDGE__INIT, *edges[1] = {&edge};
    Tide__Checkpointing cp = TIDE__CHECKPOINTING__INIT;
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    memset(s, 0, sizeof *s);
    a.uid = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "a"};
    a.parallelism = job.sources;
    b.uid = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "b"};
    b.parallelism = job.sinks;
    edge.from = a.uid;
    edge.to = b.uid;
    edge.pattern = TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
    cp.interval_ms = job.interval_ms;
    cp.deadline_ms = job.deadline_ms;
    spec.name = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "job"};
    spec.n_operators = 2;
    spec.operators = operators;
    spec.n_edges = 1;
    spec.edges = edges;
    spec.checkpointing = &cp;
    size_t len = tide__job_spec__pack(&spec, s->spec);
    s->incarnations[0] = (struct tide_catalog_incarnation){1000, 77};
    s->incarnations[1] = (struct tide_catalog_incarnation){2000, 88};
    s->ranges[1] = 2;
    s->ranges[2] = 2;
    s->ranges[3] = 1;
    s->members[0] = (struct tide_member){.worker = tide_bytes_of("w1"),
                                         .boot_id = tide_bytes_of("host"),
                                         .pid = 10,
                                         .start_time = 1,
                                         .ranges = s->ranges,
                                         .n_ranges = 1};
    s->members[1] = (struct tide_member){.worker = tide_bytes_of("w2"),
                                         .boot_id = tide_bytes_of("host"),
                                         .pid = 11,
                                         .start_time = 1,
                                         .ranges = s->ranges + 2,
                                         .n_ranges = 1};
    s->job = (struct tide_catalog_job){.name = tide_bytes_of("job"),
                                       .spec = {s->spec, len},
                                       .state = ended ? TIDE_JOB_WAITING : TIDE_JOB_RUNNING,
                                       .attempts = 1};
    s->job.last = (struct tide_catalog_attempt){.attempt = 1,
                                                .incarnation = 1000,
                                                .nonce = 77,
                                                .external = 5,
                                                .directory = tide_bytes_of("/state/job/a1000-1"),
                                                .members = s->members,
                                                .n_members = 2,
                                                .running = true,
                                                .ended = ended};
    s->catalog = (struct tide_catalog){.incarnation = 2000,
                                       .nonce = 88,
                                       .reserved = 1000,
                                       .external = 5,
                                       .lease_us = 10000000,
                                       .incarnations = s->incarnations,
                                       .n_incarnations = 2,
                                       .jobs = &s->job,
                                       .n_jobs = 1};
    memset(s->catalog.store_id.b, 5, 16);
    p->catalog = s->catalog;
    play_restart(p, &s->catalog);
    play_settle(p);
    play_forget(p);
}

static void rejoin(struct play *p, uint64_t session, const struct join_options *who)
{
    struct join_options o = *who;
    o.attempt = 1;
    o.phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
    p->incarnation = 1000;
    p->nonce = 77;
    play_open(p, session, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, session, &job, &o);
}

/* When all come back with the attempt within the grace, it goes on, and rounds with it. */
START_TEST(adopted)
{
    static struct play p;
    static struct stored s;
    two_workers(&p);
    after_restart(&p, &s, false);
    rejoin(&p, 11, &w1);
    play_expect(&p, "to 11: joined\n");
    rejoin(&p, 12, &w2);
    play_expect(&p, "to 12: joined\nto 12: resumed attempt 1\nto 12: run\nto 11: resumed attempt "
                    "1\nto 11: run\n");
    play_wait(&p, 101);
    play_expect(&p, "ride: round-begin\nto 12,11: trigger checkpoint 1001\n"); /* above everything
                                                                                  reserved before */
    play_end(&p);
}
END_TEST

/* The copy has issued the number again by now, in another incarnation (sim: seed 9581). */
START_TEST(old_database_issued_the_attempt_again)
{
    static struct play p;
    static struct stored s;
    two_workers(&p);
    after_restart(&p, &s, false);
    rejoin(&p, 11, &w1);
    play_forget(&p);
    struct join_options o = w2;
    o.attempt = 1;
    o.phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
    p.incarnation = 2000; /* listed, but not the one of attempt 1 */
    p.nonce = 88;
    play_open(&p, 12, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 12, &job, &o);
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: job-state=HELD\n"));
    ck_assert_ptr_null(strstr(p.trace, "resumed"));
    play_end(&p);
}
END_TEST

/* A round that a worker names and that no row knows has not outlived the restart. */
START_TEST(open_round_is_resolved)
{
    static struct play p;
    static struct stored s;
    two_workers(&p);
    after_restart(&p, &s, false);
    rejoin(&p, 11, &w1);
    struct join_options o = w2;
    o.open_round = 7;
    play_forget(&p);
    rejoin(&p, 12, &o);
    play_expect(&p, "to 12: joined\nto 12: resumed attempt 1\nto 12: run\ncommit: "
                    "round-end=aborted\nto 12: abort 7 code 6\n"
                    "to 11: resumed attempt 1\nto 11: run\n");
    play_end(&p);
}
END_TEST

/* The end of the grace ends the attempt; the next waits for the lease of the one that is missing.
 */
START_TEST(grace_is_over)
{
    static struct play p;
    static struct stored s;
    two_workers(&p);
    after_restart(&p, &s, false);
    rejoin(&p, 11, &w1);
    play_forget(&p);
    beat(&p, 11, 9);
    play_forget(&p);
    play_wait(&p, 1000);
    play_expect(&p, "ride: attempt-end job-state=WAITING\nto 11: rewind attempt 1\n");
    play_join(&p, 11, &job, &w1);
    play_open(&p, 13, TIDE__PEER_KIND__PEER_WORKER);
    play_join(
        &p, 13, &job,
        &(struct join_options){.first = 2, .count = 1, .worker = "w2", .pid = 15, .boot = "new"});
    play_expect(&p, "to 11: joined\nto 13: parked behind w2\n");
    play_wait(&p, 1300);
    play_expect(&p,
                "to 13: joined\ncommit: attempt-end attempt job-state=RESTORING\nmkdir a2000-2\n");
    play_end(&p);
}
END_TEST

/* A daemon that stands still hears nobody: that time does not count (sim: seed 361). */
START_TEST(grace_is_not_used_up_standing_still)
{
    static struct play p;
    static struct stored s;
    two_workers(&p);
    after_restart(&p, &s, false);
    p.now_us += 12000 * 1000;
    rejoin(&p, 11, &w1);
    play_wait(&p, 0);
    rejoin(&p, 12, &w2);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 12: resumed attempt 1\n"));
    ck_assert_ptr_null(strstr(p.trace, "rewind"));
    play_end(&p);
}
END_TEST

/* ... and when all are back nobody is waited for any more: a daemon that stands still while it
 * stores that the attempt runs begins no second grace (sim: seed 1048876). */
START_TEST(grace_ends_when_all_are_back)
{
    static struct play p;
    two_workers_restored(&p);
    play_crash(&p); /* before it is stored that the attempt runs */
    play_settle(&p);
    for (uint64_t s = 11; s <= 12; s++) {
        struct join_options o = s == 11 ? w1 : w2;
        o.attempt = 1;
        o.phase = TIDE__WORKER_PHASE__PHASE_RESTORED;
        play_open(&p, s, TIDE__PEER_KIND__PEER_WORKER);
        play_join(&p, s, &job, &o);
    }
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: attempt-run job-state=RUNNING\n"));
    p.now_us += 3000 * 1000;
    play_heartbeat(&p, 11);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 11: resumed attempt 1\n"));
    for (int i = 0; i < 15; i++) {
        play_wait(&p, 1000);
        play_heartbeat(&p, 11);
        play_heartbeat(&p, 12);
    }
    ck_assert_ptr_null(strstr(p.trace, "rewind"));
    play_end(&p);
}
END_TEST

/* ... and when nothing but the grace time itself was due meanwhile, so that nobody sees that it
 * stood still: who is welcomed and has not joined yet is waited for, once (sim: seed 17164). */
START_TEST(grace_waits_for_who_is_welcomed)
{
    static struct play p;
    static struct stored s;
    two_workers(&p);
    after_restart(&p, &s, false);
    rejoin(&p, 11, &w1);
    beat(&p, 11, 9);
    play_wait(&p, 990);
    play_open(&p, 12, TIDE__PEER_KIND__PEER_WORKER);
    play_forget(&p);
    play_wait(&p, 20);
    play_expect(&p, "");
    struct join_options o = w2;
    o.attempt = 1;
    o.phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
    play_join(&p, 12, &job, &o);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 12: resumed attempt 1\n"));
    play_end(&p);
}
END_TEST

/* Of an attempt that had ended before the restart nobody knows that the leases are over: they count
 * as renewed. */
START_TEST(leases_outlive_a_restart)
{
    static struct play p;
    static struct stored s;
    two_workers(&p);
    after_restart(&p, &s, true);
    play_open(&p, 13, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 13, &job,
              &(struct join_options){.count = 3, .worker = "w", .pid = 15, .boot = "new"});
    ck_assert_ptr_nonnull(strstr(p.trace, "to 13: parked behind"));
    play_forget(&p);
    play_wait(&p, 11000);
    play_expect(&p, "");
    play_wait(&p, 300);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 13: joined\ncommit: attempt"));
    play_end(&p);
}
END_TEST

/* SIGTERM: other rounds abort, commits are awaited, workers hear Bye, never Stop. */
START_TEST(shutdown)
{
    static struct play p;
    two_workers(&p);
    play_wait(&p, 100);
    play_forget(&p);
    play_shutdown(&p);
    play_expect(&p, "commit: round-end=aborted[a.0 has not acted on its trigger][a.1 has not acted "
                    "on its trigger][b.0 waiting for the first barrier]\n"
                    "to 2,1: abort 1 code 7\ncommit:\n");
    play_stored(&p, TIDE_STORED);
    play_stored(&p, TIDE_STORED);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: bye\n"));
    ck_assert_ptr_nonnull(strstr(p.trace, "to 2: bye\n"));
    ck_assert_ptr_nonnull(strstr(p.trace, "stop 0: shut down in good order\n"));
    play_end(&p);
}
END_TEST

SUITE_MAIN("attempts", away_until_the_lease_is_over, standing_still_ends_no_lease,
           standing_still_is_said_once, newest_of_a_name_waits, parked_until_holder_is_gone,
           gone_from_another_host, present_holder_refuses_second_host,
           other_spec_is_refused_with_the_difference, back_in_time, too_late,
           old_database_is_noticed, old_database_without_the_round, old_database_without_the_ids,
           old_database_without_the_job, old_database_and_a_new_job,
           old_database_and_a_new_job_that_is_refused, lost_its_state, a_join_that_does_not_end,
           joins_that_are_too_much_together, an_end_amid_a_join, restore_fails_and_is_tried_again,
           adopted, old_database_issued_the_attempt_again, open_round_is_resolved, grace_is_over,
           grace_is_not_used_up_standing_still, grace_ends_when_all_are_back,
           grace_waits_for_who_is_welcomed, leases_outlive_a_restart, shutdown)

/* A job's life over many rounds: the schedule, what is kept, what a restart goes on with. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/core/lib_play.h"

static const struct job_options two_and_one = {
    .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 1000};

/* A round of the schedule, to its end; its number. */
static uint64_t checkpoint(struct play *p, uint64_t session)
{
    play_forget(p);
    play_wait(p, 100);
    ck_assert_ptr_nonnull(strstr(p->trace, "trigger checkpoint"));
    play_ack_all(p, session, p->round, NULL);
    play_settle(p);
    return p->round;
}

/* The one worker is gone, and another process in its place: it joins with nothing. */
static void another_process(struct play *p, uint64_t before, uint64_t session,
                            const struct job_options *job)
{
    play_close(p, before);
    play_open(p, session, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, session, job, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_settle(p);
    play_wait(p, 0);
    play_settle(p);
}

/* S13: as many rounds as intervals pass, with rising numbers; none while the job does not run; and
 * as many again afterwards. */
START_TEST(schedule_S13)
{
    static struct play p;
    uint64_t last = 0;
    play_running(&p, &two_and_one);
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_gt(checkpoint(&p, 1), last);
        last = p.round;
    }
    play_forget(&p);
    another_process(&p, 1, 2, &two_and_one);
    play_wait(&p, 500); /* it has not restored yet */
    ck_assert_ptr_nonnull(strstr(p.trace, "to 2: start attempt 2"));
    ck_assert_ptr_null(strstr(p.trace, "trigger"));
    play_restored(&p, 2, 0, 3);
    play_settle(&p);
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_gt(checkpoint(&p, 2), last);
        last = p.round;
    }
    play_end(&p);
}
END_TEST

/* S19: a daemon that stops takes no further round, whatever is asked and however long it lasts. */
START_TEST(none_while_it_stops_S19)
{
    static struct play p;
    play_running(&p, &two_and_one);
    checkpoint(&p, 1);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_shutdown(&p);
    play_forget(&p);
    play_savepoint(&p, 100, "late");
    play_wait(&p, 1000);
    ck_assert_ptr_null(strstr(p.trace, "trigger"));
    ck_assert_ptr_null(strstr(p.trace, "round-begin"));
    play_end(&p);
}
END_TEST

/* S101, S113, S115: what is above the number to keep goes, the oldest first, bytes after the row
 * says deleting and before it says deleted. */
START_TEST(the_oldest_goes_first_S101)
{
    static struct play p;
    struct job_options job = two_and_one;
    job.retained = 3;
    play_running(&p, &job);
    for (int i = 0; i < 3; i++) {
        checkpoint(&p, 1);
        ck_assert_ptr_null(strstr(p.trace, "deleting"));
    }
    for (unsigned gone = 1; gone <= 3; gone++) {
        char want[100];
        play_forget(&p);
        play_wait(&p, 100);
        play_forget(&p);
        play_ack_all(&p, 1, p.round, NULL);
        snprintf(want, sizeof want,
                 "commit: round-end=complete snapshot snapshot-state=deleting %u\n", gone);
        play_expect(&p, want);
        play_stored(&p, TIDE_STORED);
        snprintf(want, sizeof want, "to 1: complete %u\ndelete r%u\n", gone + 3, gone);
        play_expect(&p, want);
        play_filed(&p, 0);
        snprintf(want, sizeof want, "ride: snapshot-state=deleted %u\n", gone);
        play_expect(&p, want);
    }
    play_end(&p);
}
END_TEST

/* S110: neither the end of an attempt nor that of the daemon deletes what can be restored. */
START_TEST(nothing_goes_with_an_attempt_S110)
{
    static struct play p;
    play_running(&p, &two_and_one);
    checkpoint(&p, 1);
    play_forget(&p);
    another_process(&p, 1, 2, &two_and_one);
    play_shutdown(&p);
    while (p.n_commits)
        play_stored(&p, TIDE_STORED);
    ck_assert_ptr_null(strstr(p.trace, "deleting"));
    ck_assert_ptr_null(strstr(p.trace, "delete r"));
    play_end(&p);
}
END_TEST

/* S131, S133: the first attempt is told that there is nothing, each later one what the newest
 * checkpoint has of every task, again and again. */
START_TEST(every_attempt_is_told_its_state_S133)
{
    static struct play p;
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &two_and_one, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_settle(&p);
    ck_assert_ptr_nonnull(
        strstr(p.trace, "to 1: start attempt 1 from 0, 0 tasks with state or owed"));
    play_restored(&p, 1, 0, 3);
    play_settle(&p);
    uint64_t round = checkpoint(&p, 1);
    for (uint64_t attempt = 2; attempt < 5; attempt++) {
        char want[100];
        play_forget(&p);
        another_process(&p, attempt - 1, attempt, &two_and_one);
        play_wait(&p, 3000); /* the back-off of attempts without a round */
        play_settle(&p);
        snprintf(want, sizeof want, "start attempt %u from %u, 3 tasks with state or owed",
                 (unsigned)attempt, (unsigned)round);
        ck_assert_msg(strstr(p.trace, want) != NULL, "no %s in %s", want, p.trace);
    }
    play_end(&p);
}
END_TEST

/* S31: the directory of a savepoint cannot be made: its round is aborted with that cause, whoever
 * asked is told, and the schedule goes on. */
START_TEST(no_place_S31)
{
    static struct play p;
    play_running(&p, &two_and_one);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    while (p.n_files == 0)
        play_stored(&p, TIDE_STORED);
    play_forget(&p);
    play_filed(&p, TIDE_EIO);
    play_settle(&p);
    play_expect(&p,
                "commit: round-end=aborted[a.0 not triggered yet][a.1 not triggered yet][b.0 not "
                "triggered yet] operation=failed\nto 1: abort 2 code 5\n");
    play_ask_operation(&p, 100, p.operation);
    ck_assert_ptr_nonnull(strstr(p.trace, "operation savepoint failed: "));
    checkpoint(&p, 1);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: complete"));
    play_end(&p);
}
END_TEST

/* S70, S137, S181: what has ended is kept with the snapshot: the next attempt is told, the task
 * stays ended, and rounds are made by the others. */
START_TEST(ended_tasks_stay_ended_S137)
{
    static struct play p;
    play_running(&p, &two_and_one);
    play_finished(&p, 1, 0, 1);
    play_wait(&p, 100);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: complete 1, some ended\n"));
    play_forget(&p);
    another_process(&p, 1, 2, &two_and_one);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 2: start attempt 2 from 1, "));
    ck_assert_ptr_nonnull(strstr(p.trace, ", 1 ended\n"));
    play_restored(&p, 2, 0, 3);
    play_settle(&p);
    play_wait(&p, 100);
    play_forget(&p);
    play_ack(&p, 2, p.attempt, p.round, 1);
    play_expect(&p, "");
    play_ack(&p, 2, p.attempt, p.round, 2);
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: round-end=complete snapshot"));
    play_settle(&p);
    play_forget(&p);
    another_process(&p, 2, 3, &two_and_one); /* and from a snapshot of which it was no part */
    play_wait(&p, 3000);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, ", 1 ended\n"));
    play_end(&p);
}
END_TEST

/* ---- on what a store hands over */

static uint8_t spec_bytes[512];
static struct tide_catalog_snapshot snapshots[3];
static struct tide_catalog_job catalog_job;
static struct tide_member member;
static uint32_t range[2] = {0, 3};

static ProtobufCBinaryData pb(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

/* A daemon that took checkpoints 1, 2 and 3 is started again, with numbers up to `reserved` used
 * up. */
static void hand_over(struct play *p, const struct job_options *job, uint64_t reserved,
                      enum tide_outcome numbers) /* of the commit that reserves more of them */
{
    Tide__Operator a = TIDE__OPERATOR__INIT, b = TIDE__OPERATOR__INIT, *operators[2] = {&a, &b};
    Tide__Edge edge = TIDE__EDGE__INIT, *edges[1] = {&edge};
    Tide__Checkpointing cp = TIDE__CHECKPOINTING__INIT;
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    static struct tide_catalog_incarnation incarnations[2] = {{1000, 77}, {2000, 88}};
    static char directories[3][40];
    a.uid = pb("a");
    a.parallelism = job->sources;
    b.uid = pb("b");
    b.parallelism = job->sinks;
    edge.from = a.uid;
    edge.to = b.uid;
    edge.pattern = TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
    cp.interval_ms = job->interval_ms;
    cp.deadline_ms = job->deadline_ms;
    cp.retained = job->retained;
    spec.name = pb("job");
    spec.n_operators = 2;
    spec.operators = operators;
    spec.n_edges = 1;
    spec.edges = edges;
    spec.checkpointing = &cp;
    size_t len = tide__job_spec__pack(&spec, spec_bytes);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(directories[i], sizeof directories[i], "/state/job/a1000-1/r%u", i + 1);
        snapshots[i] = (struct tide_catalog_snapshot){.round = i + 1,
                                                      .incarnation = 1000,
                                                      .attempt = 1,
                                                      .kind = TIDE_CHECKPOINT,
                                                      .state = TIDE_RETAINED,
                                                      .commits = true,
                                                      .directory = tide_bytes_of(directories[i])};
    }
    member = (struct tide_member){.worker = tide_bytes_of("w"),
                                  .boot_id = tide_bytes_of("host"),
                                  .pid = 10,
                                  .start_time = 1,
                                  .ranges = range,
                                  .n_ranges = 1};
    catalog_job = (struct tide_catalog_job){.name = tide_bytes_of("job"),
                                            .spec = {spec_bytes, len},
                                            .state = TIDE_JOB_WAITING,
                                            .attempts = 1,
                                            .snapshots = snapshots,
                                            .n_snapshots = 3};
    catalog_job.last =
        (struct tide_catalog_attempt){.attempt = 1,
                                      .incarnation = 1000,
                                      .nonce = 77,
                                      .external = 5,
                                      .directory = tide_bytes_of("/state/job/a1000-1"),
                                      .members = &member,
                                      .n_members = 1,
                                      .running = true,
                                      .ended = true};
    play_running(p, job);
    for (unsigned i = 0; i < 3; i++)
        checkpoint(p, 1); /* and so the stage has the image of the newest */
    memcpy(catalog_job.id.b, p->job_id, sizeof p->job_id);
    p->catalog.incarnation = 2000;
    p->catalog.nonce = 88;
    p->catalog.reserved = reserved;
    p->catalog.external = 5;
    p->catalog.incarnations = incarnations;
    p->catalog.n_incarnations = 2;
    p->catalog.jobs = &catalog_job;
    p->catalog.n_jobs = 1;
    play_restart(p, &p->catalog);
    play_stored(p, numbers);
    play_settle(p);
    play_forget(p);
    play_open(p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(p, 1, job, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
}

/* S106: what was kept is known in the order of its numbers: the newest is restored, and with more
 * than are to be kept the oldest goes first. */
START_TEST(known_in_their_order_S106)
{
    static struct play p;
    struct job_options job = two_and_one;
    job.retained = 3;
    hand_over(&p, &job, 1000, TIDE_STORED);
    play_expect(&p, "to 1: joined\nload 3\n");
    play_loaded(&p);
    play_settle(&p);
    ck_assert_ptr_nonnull(
        strstr(p.trace, "to 1: start attempt 2 from 3, 3 tasks with state or owed"));
    play_restored(&p, 1, 0, 3);
    play_settle(&p);
    play_wait(&p, 100);
    play_forget(&p);
    play_ack_all(&p, 1, p.round, NULL);
    play_expect(&p, "commit: round-end=complete snapshot snapshot-state=deleting 1\n");
    play_end(&p);
}
END_TEST

/* S118, S139: no number comes twice, and it may have more than 32 bits. */
START_TEST(numbers_go_on_S118)
{
    static struct play p;
    const uint64_t used = UINT64_C(5) << 32;
    hand_over(&p, &two_and_one, used, TIDE_STORED);
    play_settle(&p);
    play_restored(&p, 1, 0, 3);
    play_settle(&p);
    uint64_t last = used;
    for (int i = 0; i < 3; i++) {
        char want[100];
        play_forget(&p);
        play_wait(&p, 100);
        play_ack_all(&p, 1, p.round, NULL);
        play_settle(&p);
        ck_assert_uint_gt(p.round, last);
        last = p.round;
        snprintf(want, sizeof want, "to 1: complete %" PRIu64 "\n", last);
        ck_assert_ptr_nonnull(strstr(p.trace, want));
    }
    play_end(&p);
}
END_TEST

/* S22, S32: while the store has no room for the reservation of numbers nothing begins and nothing
 * is left half begun; whoever asks is told; as soon as there is room rounds go on. */
START_TEST(no_numbers_S22)
{
    static struct play p;
    hand_over(&p, &two_and_one, 1000, TIDE_NO_SPACE);
    play_settle(&p);
    play_restored(&p, 1, 0, 3);
    play_settle(&p);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_forget(&p);
    play_wait(&p, 300);
    play_savepoint(&p, 100, "early");
    ck_assert_ptr_null(strstr(p.trace, "trigger"));
    ck_assert_ptr_null(strstr(p.trace, "round-begin"));
    ck_assert_ptr_nonnull(strstr(p.trace, "to 100: error 4: "));
    play_wait(&p, 1000);
    play_forget(&p);
    play_settle(&p); /* there is room now */
    play_wait(&p, 100);
    ck_assert_ptr_nonnull(strstr(p.trace, "trigger checkpoint"));
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: complete"));
    play_end(&p);
}
END_TEST

SUITE_MAIN("life", schedule_S13, none_while_it_stops_S19, the_oldest_goes_first_S101,
           nothing_goes_with_an_attempt_S110, every_attempt_is_told_its_state_S133,
           known_in_their_order_S106, numbers_go_on_S118, no_numbers_S22, no_place_S31,
           ended_tasks_stay_ended_S137)

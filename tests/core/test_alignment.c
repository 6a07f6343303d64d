/* How rounds wait for their barriers: what tasks are told, and when they are told to turn. Each
 * promise as the trace it leaves. */
#include <stdio.h>

#include "tests/core/lib_play.h"

#define ADMIN 100

static const struct job_options plain = {.sources = 2, .sinks = 1, .deadline_ms = 1000};
static struct play p;

static void begin(struct job_options job)
{
    play_running(&p, &job);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
}

/* alignment below 0: as usual */
static void ask_savepoint(const char *key, int alignment)
{
    Tide__TriggerSavepoint m = TIDE__TRIGGER_SAVEPOINT__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.job = play_bytes("job");
    m.key = play_bytes(key);
    if (alignment >= 0) {
        m.how_case = TIDE__TRIGGER_SAVEPOINT__HOW_ALIGNMENT;
        m.alignment = (Tide__Alignment)alignment;
    }
    r.call_case = TIDE__REQUEST__CALL_SAVEPOINT;
    r.savepoint = &m;
    play_request(&p, ADMIN, &r);
}

static void say_phase(uint64_t session, uint64_t round, uint32_t task, Tide__TaskPhase phase)
{
    Tide__TaskProgress progress = TIDE__TASK_PROGRESS__INIT, *tasks[] = {&progress};
    Tide__Barrier m = TIDE__BARRIER__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    progress.task = task;
    progress.phase = phase;
    progress.channels_missing = phase == TIDE__TASK_PHASE__TASK_ALIGNING;
    m.attempt = p.attempt;
    m.round = round;
    m.n_tasks = 1;
    m.tasks = tasks;
    message.msg_case = TIDE__FROM_WORKER__MSG_BARRIER;
    message.barrier = &m;
    play_frame(&p, session, &message);
}

static void ack_all(void)
{
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 1, p.attempt, p.round, t);
    play_settle(&p);
}

/* A checkpoint begins now. */
static void next_round(void)
{
    Tide__TriggerCheckpoint m = TIDE__TRIGGER_CHECKPOINT__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    m.job = play_bytes("job");
    r.call_case = TIDE__REQUEST__CALL_CHECKPOINT;
    r.checkpoint = &m;
    play_request(&p, ADMIN, &r);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, ", aligned with timeout\n"));
    play_forget(&p);
}

/* ---- the order to turn */

/* Tasks turn by timers of their own; one that no barrier has reached yet has none that runs. The
 * daemon hears who still aligns when the time is over, and says so to all, once. */
START_TEST(told_to_turn_once)
{
    struct job_options job = plain;
    job.aligned_timeout_ms = 200;
    begin(job);
    next_round();
    play_wait(&p, 100);
    say_phase(1, p.round, 2, TIDE__TASK_PHASE__TASK_ALIGNING);
    play_expect(&p, ""); /* its time has not come */
    play_wait(&p, 100);
    play_expect(&p, ""); /* nobody has said since that it aligns */
    say_phase(1, p.round, 2, TIDE__TASK_PHASE__TASK_ALIGNING);
    play_expect(&p, "to 1: turn 2 unaligned\n");
    say_phase(1, p.round, 2, TIDE__TASK_PHASE__TASK_ALIGNING);
    say_phase(1, p.round, 1, TIDE__TASK_PHASE__TASK_WAITING);
    play_expect(&p, "");
    play_end(&p);
}
END_TEST

/* Also when a task waits for its first barrier: that is whom the order is for. */
START_TEST(told_to_turn_before_the_first_barrier)
{
    struct job_options job = plain;
    job.aligned_timeout_ms = 200;
    begin(job);
    next_round();
    play_wait(&p, 250);
    say_phase(1, p.round, 0, TIDE__TASK_PHASE__TASK_SNAPSHOTTING);
    say_phase(1, p.round, 0, TIDE__TASK_PHASE__TASK_UPLOADING);
    play_expect(&p, ""); /* these have turned, or need not */
    say_phase(1, p.round, 2, TIDE__TASK_PHASE__TASK_WAITING);
    play_expect(&p, "to 1: turn 2 unaligned\n");
    play_end(&p);
}
END_TEST

/* All workers hear it; one that was away has its own timers, from the age in the trigger. */
START_TEST(all_workers_are_told_to_turn)
{
    struct job_options job = plain;
    job.aligned_timeout_ms = 200;
    play_start(&p);
    for (uint32_t w = 0; w < 3; w++) {
        play_open(&p, 1 + w, TIDE__PEER_KIND__PEER_WORKER);
        play_join(&p, 1 + w, &job,
                  &(struct join_options){.first = w,
                                         .count = 1,
                                         .worker = w == 0   ? "w0"
                                                   : w == 1 ? "w1"
                                                            : "w2",
                                         .pid = 10 + w});
    }
    play_settle(&p);
    for (uint32_t w = 0; w < 3; w++)
        play_restored(&p, 1 + w, w, 1);
    play_settle(&p);
    play_open(&p, ADMIN, TIDE__PEER_KIND__PEER_ADMIN);
    next_round();
    play_wait(&p, 200);
    play_close(&p, 2);
    play_forget(&p);
    say_phase(3, p.round, 2, TIDE__TASK_PHASE__TASK_ALIGNING);
    play_expect(&p, "to 3,1: turn 2 unaligned\n");
    play_end(&p);
}
END_TEST

/* What has nothing to turn is left alone: another round, one that is over, one that was aligned
 * or unaligned from its begin. */
START_TEST(not_told_to_turn)
{
    struct job_options job = plain;
    job.aligned_timeout_ms = 200;
    begin(job);
    next_round();
    play_wait(&p, 300);
    say_phase(1, p.round + 1, 2, TIDE__TASK_PHASE__TASK_ALIGNING);
    play_expect(&p, "");
    ack_all();
    play_forget(&p);
    say_phase(1, p.round, 2, TIDE__TASK_PHASE__TASK_ALIGNING);
    play_expect(&p, "");
    static const int other[] = {TIDE_ALIGNED, TIDE_UNALIGNED};
    for (size_t i = 0; i < 2; i++) {
        uint64_t before = p.round;
        ask_savepoint(i ? "b" : "a", other[i]);
        play_settle(&p);
        ck_assert_uint_gt(p.round, before);
        play_wait(&p, 250);
        play_forget(&p);
        say_phase(1, p.round, 2, TIDE__TASK_PHASE__TASK_ALIGNING);
        play_expect(&p, "");
        ack_all();
    }
    play_end(&p);
}
END_TEST

/* ---- savepoints */

/* Unless they are asked for otherwise they wait for all barriers, whatever the job's checkpoints
 * do. S7, S8, S9, S35: beside unaligned checkpoints too. */
START_TEST(savepoints_are_aligned_by_themselves_S35)
{
    struct job_options job = plain;
    job.aligned_timeout_ms = 200;
    begin(job);
    next_round();
    ask_savepoint("a", -1);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: trigger savepoint 4\n"));
    play_forget(&p);
    ask_savepoint("b", TIDE_ALIGNED);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: trigger savepoint 6\n"));
    play_end(&p);
}
END_TEST

START_TEST(savepoints_aligned_as_asked)
{
    struct job_options job = plain;
    begin(job);
    ask_savepoint("a", TIDE_UNALIGNED);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: trigger savepoint 2, unaligned\n"));
    play_forget(&p);
    ack_all();
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p, "to 100: operation savepoint done\n"
                    "  it came out aligned: no task let its barrier go ahead of records, since "
                    "their program cannot, or nothing was queued\n");
    play_end(&p);

    job.aligned_timeout_ms = 200;
    begin(job);
    ask_savepoint("a", TIDE_ALIGNED_TIMEOUT);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: trigger savepoint 2, aligned with timeout\n"));
    play_wait(&p, 200);
    play_forget(&p);
    say_phase(1, p.round, 2, TIDE__TASK_PHASE__TASK_ALIGNING);
    play_expect(&p, "to 1: turn 2 unaligned\n");
    play_end(&p);

    job = plain;
    job.at_least_once = true;
    begin(job);
    ask_savepoint("a", -1);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: trigger savepoint 2, at least once\n"));
    ack_all();
    ask_savepoint("b", TIDE_ALIGNED);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: trigger savepoint 4\n"));
    play_end(&p);
}
END_TEST

/* A daemon that dies between the request and its round takes it as it was asked for. */
START_TEST(alignment_outlives_a_crash)
{
    struct job_options job = plain;
    begin(job);
    ask_savepoint("a", TIDE_UNALIGNED);
    play_stored(&p, TIDE_STORED); /* the request is durable, its directory not made */
    play_crash(&p);
    play_settle(&p);
    play_open(&p, 2, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 2, &job,
              &(struct join_options){.count = 3,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = p.attempt,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_settle(&p);
    ck_assert_msg(strstr(p.trace, ", unaligned\n"), "%s", p.trace);
    play_end(&p);
}
END_TEST

/* Who stands still captures nothing. */
START_TEST(what_stops_a_job_is_aligned)
{
    struct job_options job = plain;
    Tide__StopJob m = TIDE__STOP_JOB__INIT;
    Tide__Request r = TIDE__REQUEST__INIT;
    job.aligned_timeout_ms = 200;
    begin(job);
    m.job = play_bytes("job");
    m.kind = TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    r.call_case = TIDE__REQUEST__CALL_STOP;
    r.stop = &m;
    play_request(&p, ADMIN, &r);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: trigger checkpoint 2, suspend\n"));
    play_end(&p);
}
END_TEST

/* What makes no sense is refused with why, and changes nothing. */
START_TEST(alignments_that_make_no_sense)
{
    struct job_options job = plain;
    begin(job);
    ask_savepoint("a", 4);
    play_expect(&p, "to 100: error 2: alignment 4 means nothing in this version\n");
    ask_savepoint("a", TIDE_AT_LEAST_ONCE);
    play_expect(&p, "to 100: error 2: job job is exactly once: a savepoint of it cannot be at "
                    "least once\n");
    ask_savepoint("a", TIDE_ALIGNED_TIMEOUT);
    play_expect(&p, "to 100: error 2: job job has no aligned_timeout_ms: a savepoint of it cannot "
                    "be aligned with timeout\n");
    play_end(&p);
    job.at_least_once = true;
    begin(job);
    ask_savepoint("a", TIDE_UNALIGNED);
    play_expect(&p, "to 100: error 2: job job is at least once: a savepoint of it cannot be "
                    "unaligned\n");
    play_end(&p);
    job = plain;
    job.window = 2;
    begin(job);
    ask_savepoint("a", TIDE_ALIGNED);
    play_expect(&p, "to 100: error 2: job job takes rendezvous rounds, which have no barriers to "
                    "align\n");
    play_end(&p);
}
END_TEST

/* A worker of version 1 takes a barrier that goes ahead for an error of its channel. */
START_TEST(old_workers_know_no_barriers_that_go_ahead)
{
    struct job_options job = plain;
    job.old = true;
    begin(job);
    ask_savepoint("a", TIDE_UNALIGNED);
    play_settle(&p);
    play_forget(&p);
    play_ask_operation(&p, ADMIN, p.operation);
    play_expect(&p,
                "to 100: operation savepoint failed: worker w speaks version 1 of the protocol, "
                "which knows no barriers that go ahead: take an aligned savepoint\n");
    ask_savepoint("b", TIDE_ALIGNED);
    play_settle(&p);
    ck_assert_ptr_nonnull(strstr(p.trace, "to 1: trigger savepoint "));
    play_end(&p);
}
END_TEST

/* ---- what is told of it */

static void ack_with(uint32_t task, bool unaligned, uint64_t persisted, uint32_t align_us)
{
    struct tide_ack_builder b;
    uint8_t packed[256];
    Tide__TaskAck ack;
    tide__task_ack__init(&ack);
    ack.task = task;
    ack.unaligned = unaligned;
    ack.align_us = align_us;
    ack.processed_bytes = 1000;
    ack.persisted_bytes = persisted;
    size_t len = tide__task_ack__pack(&ack, packed);
    tide_ack_builder_init(&b, 4096);
    tide_ack_builder_add_full(&b, (struct tide_bytes){packed, len});
    play_ack_frame(&p, 1, &b);
}

static void ack_in_full(uint32_t task, bool unaligned, uint32_t align_us)
{
    ack_with(task, unaligned, unaligned ? 10 : 0, align_us);
}

static void ack_in_columns(uint32_t first, uint32_t n, const uint32_t *align_us)
{
    struct tide_ack_builder b;
    tide_ack_builder_init(&b, 4096);
    for (uint32_t i = 0; i < n; i++)
        tide_ack_builder_add(&b, first + i, align_us[i], 2, 3, NULL, 0);
    play_ack_frame(&p, 1, &b);
}

/* A source has no barrier to wait for; what it had in its outputs is in the snapshot all the same.
 */
START_TEST(records_in_flight_of_a_source_make_a_round_unaligned)
{
    struct job_options job = plain;
    job.aligned_timeout_ms = 200;
    begin(job);
    next_round();
    ack_with(0, false, 10, 0);
    ack_with(1, false, 0, 0);
    ack_with(2, false, 0, 0);
    play_settle(&p);
    ck_assert(p.row.complete && p.row.unaligned);
    play_forget(&p);
    next_round();
    ack_with(0, false, 0, 0);
    ack_with(1, false, 0, 0);
    ack_with(2, false, 0, 0);
    play_settle(&p);
    ck_assert(p.row.complete && !p.row.unaligned);
    play_end(&p);
}
END_TEST

/* The row of a round that turned says when: the order, or the first task that did so by itself. */
START_TEST(when_it_turned)
{
    struct job_options job = plain;
    job.aligned_timeout_ms = 200;
    begin(job);
    next_round();
    play_wait(&p, 230);
    ack_in_full(0, true, 5000);
    play_wait(&p, 70);
    say_phase(1, p.round, 2, TIDE__TASK_PHASE__TASK_WAITING); /* told to, but it had turned */
    ack_in_full(1, true, 300);
    ack_in_full(2, false, 9000);
    play_settle(&p);
    ck_assert(p.row.complete && p.row.unaligned);
    ck_assert_uint_eq(p.row.turned_us, 230000);
    ck_assert_uint_eq(p.row.align_us, 9000);
    ck_assert_uint_eq(p.row.processed_bytes, 3000);
    ck_assert_uint_eq(p.row.persisted_bytes, 20);
    play_forget(&p);

    next_round();
    play_wait(&p, 240);
    say_phase(1, p.round, 2, TIDE__TASK_PHASE__TASK_WAITING);
    play_wait(&p, 10);
    ack_in_full(0, true, 1);
    ack_in_columns(1, 2, (const uint32_t[]){0, 0});
    play_settle(&p);
    ck_assert(p.row.complete && p.row.unaligned);
    ck_assert_uint_eq(p.row.turned_us, 240000);
    play_end(&p);
}
END_TEST

/* One that lined up in time has not turned; nor has one that was unaligned from its begin. The
 * longest alignment is that of any task, in whichever form its ack came. */
START_TEST(what_has_not_turned)
{
    struct job_options job = plain;
    job.aligned_timeout_ms = 200;
    begin(job);
    next_round();
    ack_in_columns(0, 2, (const uint32_t[]){7, 70000});
    ack_in_columns(2, 1, (const uint32_t[]){300});
    play_settle(&p);
    ck_assert(p.row.complete && !p.row.unaligned);
    ck_assert_uint_eq(p.row.turned_us, 0);
    ck_assert_uint_eq(p.row.align_us, 70000);
    ask_savepoint("a", TIDE_UNALIGNED);
    play_settle(&p);
    for (uint32_t t = 0; t < 3; t++)
        ack_in_full(t, true, 40 - t);
    ack_in_columns(0, 2, (const uint32_t[]){9999, 9999}); /* again: these do not count */
    play_settle(&p);
    ck_assert(p.row.complete && p.row.unaligned);
    ck_assert_uint_eq(p.row.turned_us, 0);
    ck_assert_uint_eq(p.row.align_us, 40);
    play_end(&p);
}
END_TEST

SUITE_MAIN("alignment", records_in_flight_of_a_source_make_a_round_unaligned, when_it_turned,
           what_has_not_turned, told_to_turn_once, told_to_turn_before_the_first_barrier,
           all_workers_are_told_to_turn, not_told_to_turn, savepoints_are_aligned_by_themselves_S35,
           savepoints_aligned_as_asked, alignment_outlives_a_crash, what_stops_a_job_is_aligned,
           alignments_that_make_no_sense, old_workers_know_no_barriers_that_go_ahead)

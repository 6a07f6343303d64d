/* What counts as a failure, and what comes of too many; the figures of rounds. */
#include <stdio.h>

#include "proto/abort.h"
#include "tests/core/lib_play.h"

static const struct job_options plain = {
    .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 50};
static struct play p;

static void begin_round(void)
{
    uint64_t before = p.round;
    for (int i = 0; i < 500 && p.round == before; i++)
        play_wait(&p, 1);
    ck_assert_uint_gt(p.round, before);
    play_heartbeat(&p, 1);
}

static void complete_round(void)
{
    begin_round();
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
}

static void decline(uint64_t round, uint32_t retry_after_ms, bool gave_up)
{
    Tide__Decline m = TIDE__DECLINE__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    m.attempt = p.attempt;
    m.round = round;
    m.task = 2;
    m.reason = play_bytes("the disk is full");
    m.retry_after_ms = retry_after_ms;
    m.gave_up = gave_up;
    message.msg_case = TIDE__FROM_WORKER__MSG_DECLINE;
    message.decline = &m;
    play_frame(&p, 1, &message);
    play_settle(&p);
}

static void fail_round(void)
{
    begin_round();
    decline(p.round, 0, false);
}

static bool rewound(void)
{
    play_wait(&p, 0);
    bool is = strstr(p.trace, "to 1: rewind attempt 1\n") != NULL;
    if (is) ck_assert_msg(strstr(p.reason, "rounds in a row have failed"), "%s", p.reason);
    return is;
}

static void run(uint32_t failures_max)
{
    struct job_options job = plain;
    job.failures_max = failures_max;
    job.max_concurrent = 4;
    play_running(&p, &job);
}

/* S83: a failure that is older than the last success does not count. Two are tolerated. */
START_TEST(older_than_the_last_success_S83)
{
    run(3);
    fail_round();
    begin_round();
    uint64_t old = p.round;
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    begin_round();
    ck_assert_uint_eq(p.round, old + 1);
    play_wait(&p, 0);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p); /* the older is subsumed, which is no failure */
    ck_assert_uint_eq(play_gauges(&p)->failures_in_a_row, 0);
    decline(old, 0, false);
    ck_assert_uint_eq(play_gauges(&p)->failures_in_a_row, 0);
    fail_round();
    fail_round();
    ck_assert(!rewound());
    ck_assert_uint_eq(play_gauges(&p)->failures_in_a_row, 2);
    fail_round();
    ck_assert(rewound());
    play_end(&p);
}
END_TEST

/* S85: what is not to count does not; a success begins the count anew. */
START_TEST(a_success_in_between_S85)
{
    run(3);
    fail_round();
    fail_round();
    begin_round();
    decline(p.round, 1, false); /* not ready */
    begin_round();
    decline(p.round, 0, true); /* the library gave it up */
    ck_assert_uint_eq(play_gauges(&p)->failures_in_a_row, 2);
    complete_round();
    ck_assert_uint_eq(play_gauges(&p)->failures_in_a_row, 0);
    begin_round();
    play_wait(&p, 60); /* its deadline */
    play_settle(&p);
    ck_assert_uint_eq(play_gauges(&p)->failures_in_a_row, 1);
    ck_assert(!rewound());
    play_end(&p);
}
END_TEST

/* S86: of all reasons there are these count, each stands in the table once, and what this version
 * does not know does not count. Flink has five; ours are by what was hit: the deadline, a task, the
 * room, the directory, the store, a coordinator or hook, the disk, a shared artifact. */
START_TEST(every_reason_S86)
{
    static const Tide__AbortCode counted[] = {
        TIDE__ABORT_CODE__ABORT_DEADLINE, TIDE__ABORT_CODE__ABORT_DECLINED,
        TIDE__ABORT_CODE__ABORT_NO_SPACE, TIDE__ABORT_CODE__ABORT_STORAGE,
        TIDE__ABORT_CODE__ABORT_REFUSED,  TIDE__ABORT_CODE__ABORT_EXTERNAL,
        TIDE__ABORT_CODE__ABORT_IO,       TIDE__ABORT_CODE__ABORT_SHARED};
    for (unsigned i = 0; i < tide__abort_code__descriptor.n_values; i++) {
        unsigned code = (unsigned)tide__abort_code__descriptor.values[i].value;
        const struct tide_abort *reason = tide_abort_of(code);
        bool counts = false;
        for (size_t k = 0; k < sizeof counted / sizeof *counted; k++)
            counts = counts || counted[k] == code;
        ck_assert_msg(reason->counts == counts, "%s", reason->name);
        ck_assert_msg(code == 0 || strcmp(reason->name, "unknown") != 0, "code %u", code);
        for (unsigned k = 0; k < i; k++)
            ck_assert_str_ne(reason->name, tide_abort_of(k)->name);
    }
    ck_assert(!tide_abort_of(4711)->counts);
    ck_assert_str_eq(tide_abort_of(4711)->name, "unknown");
}
END_TEST

/* S67, S91: none is tolerated; the store refuses a commit: the attempt ends, once. */
START_TEST(a_commit_is_refused_S67_S91)
{
    run(1);
    begin_round();
    play_ack_all(&p, 1, p.round, NULL);
    play_stored(&p, TIDE_REFUSED);
    play_settle(&p);
    ck_assert(rewound());
    ck_assert_uint_eq(play_gauges(&p)->number_of_failed_checkpoints, 1);
    ck_assert_uint_eq(play_gauges(&p)->total_number_of_checkpoints, 1);
    ck_assert_uint_eq(play_gauges(&p)->number_of_in_progress_checkpoints, 0);
    play_end(&p);
}
END_TEST

/* S88, S92: none is tolerated; a task could not write its state: the attempt ends. */
START_TEST(a_task_could_not_write_S88_S92)
{
    run(1);
    fail_round();
    ck_assert(rewound());
    play_end(&p);
}
END_TEST

/* S89: none is tolerated; the deadline passes: the attempt ends. */
START_TEST(the_deadline_passes_S89)
{
    run(1);
    begin_round();
    play_wait(&p, 60);
    play_settle(&p);
    ck_assert(rewound());
    play_end(&p);
}
END_TEST

/* A savepoint never counts: it is the user's, and so is its target. In Flink one that a task
 * declines does. */
START_TEST(a_savepoint_never_counts)
{
    struct job_options job = plain;
    job.failures_max = 1;
    job.interval_ms = 0;
    play_running(&p, &job);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_settle(&p);
    decline(p.round, 0, false);
    play_savepoint(&p, 100, "l");
    play_stored(&p, TIDE_STORED);
    play_filed(&p, TIDE_ENOSPC);
    play_settle(&p);
    ck_assert(!rewound());
    ck_assert_uint_eq(play_gauges(&p)->failures_in_a_row, 0);
    ck_assert_uint_eq(play_gauges(&p)->number_of_failed_checkpoints, 2);
    play_end(&p);
}
END_TEST

/* The count is durable: an attempt that goes on after a restart of the daemon has it; a new attempt
 * begins at 0. */
START_TEST(the_count_outlives_the_daemon)
{
    struct job_options job = plain;
    job.failures_max = 3;
    play_running(&p, &job);
    fail_round();
    fail_round();
    play_crash(&p);
    ck_assert_uint_eq(play_gauges(&p)->failures_in_a_row, 2);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &job,
              &(struct join_options){.count = 3,
                                     .worker = "w",
                                     .pid = 10,
                                     .attempt = 1,
                                     .phase = TIDE__WORKER_PHASE__PHASE_RUNNING});
    play_settle(&p);
    p.round = 0;
    fail_round();
    ck_assert(rewound());
    play_join(&p, 1, &job, &(struct join_options){.count = 3, .worker = "w", .pid = 10});
    play_settle(&p);
    play_restored(&p, 1, 0, 3);
    play_settle(&p);
    ck_assert_uint_eq(p.attempt, 2);
    ck_assert_uint_eq(play_gauges(&p)->failures_in_a_row, 0);
    play_end(&p);
}
END_TEST

/* S218, S227: the figures: absent first, then as measured; what never began counts nowhere. */
START_TEST(gauges_S218_S227)
{
    struct job_options job = plain;
    job.interval_ms = 0;
    play_running(&p, &job);
    const Tide__Gauges *g = play_gauges(&p);
    ck_assert_int_eq(g->last_checkpoint_duration, -1);
    ck_assert_int_eq(g->last_checkpoint_size, -1);
    ck_assert_int_eq(g->last_checkpoint_full_size, -1);
    ck_assert_int_eq(g->last_completed_checkpoint_id, -1);
    ck_assert_int_eq(g->last_checkpoint_completed_timestamp, -1);
    ck_assert_int_eq(g->last_checkpoint_restore_timestamp, -1);
    ck_assert_uint_eq(g->last_checkpoint_external_path.len, 0);
    ck_assert_uint_eq(g->number_of_in_progress_checkpoints, 0);
    ck_assert_uint_eq(g->number_of_completed_checkpoints, 0);
    ck_assert_uint_eq(g->number_of_failed_checkpoints, 0);
    ck_assert_uint_eq(g->total_number_of_checkpoints, 0);
    ck_assert_uint_eq(g->number_of_restored_checkpoints, 0);
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_savepoint(&p, 100, "k");
    play_settle(&p);
    ck_assert_uint_eq(play_gauges(&p)->number_of_in_progress_checkpoints, 1);
    ck_assert_uint_eq(play_gauges(&p)->total_number_of_checkpoints, 1);
    play_wait(&p, 7);
    play_ack_all(&p, 1, p.round, NULL);
    play_settle(&p);
    g = play_gauges(&p);
    ck_assert_int_eq(g->last_checkpoint_duration, 7);
    ck_assert_int_eq(g->last_checkpoint_size, 300);
    ck_assert_int_eq(g->last_completed_checkpoint_id, (int64_t)p.round);
    ck_assert_int_eq(g->last_checkpoint_completed_timestamp, (int64_t)(p.wall_us / 1000));
    ck_assert_uint_gt(g->last_checkpoint_external_path.len, 0);
    ck_assert_uint_eq(g->number_of_in_progress_checkpoints, 0);
    ck_assert_uint_eq(g->number_of_completed_checkpoints, 1);
    play_savepoint(&p, 100, "l");
    play_settle(&p);
    decline(p.round, 0, false);
    g = play_gauges(&p);
    ck_assert_uint_eq(g->number_of_failed_checkpoints, 1);
    ck_assert_uint_eq(g->total_number_of_checkpoints, 2);
    ck_assert_uint_eq(g->number_of_completed_checkpoints, 1);
    play_end(&p);
}
END_TEST

/* S80: what arrives when the round has failed fills in its figures, each task once; it counts no
 * more as acked. */
START_TEST(figures_that_come_late_S80)
{
    run(0);
    begin_round();
    uint64_t round = p.round;
    play_ack(&p, 1, p.attempt, round, 0);
    decline(round, 0, false);
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: round-end=aborted"));
    play_forget(&p);
    play_ack(&p, 1, p.attempt, round, 1);
    play_expect(&p, "ride: round-end=aborted\n");
    play_ack(&p, 1, p.attempt, round, 1);
    play_ack(&p, 1, p.attempt, round, 0);
    play_ack(&p, 1, p.attempt + 1, round, 2);
    play_expect(&p, "");
    const struct tide_record_round *row = NULL;
    play_settle(&p);
    begin_round(); /* an awaited commit takes along what rides */
    decline(p.round, 0, false);
    for (uint32_t i = 0; i < p.shelf.jobs[0].n_rounds; i++)
        if (p.shelf.jobs[0].rounds[i].round.number == round) row = &p.shelf.jobs[0].rounds[i].round;
    ck_assert_ptr_nonnull(row);
    ck_assert_uint_eq(row->acked, 1);
    ck_assert_uint_eq(row->bytes, 200);
    play_end(&p);
}
END_TEST

SUITE_MAIN("failures", older_than_the_last_success_S83, a_success_in_between_S85, every_reason_S86,
           a_commit_is_refused_S67_S91, a_task_could_not_write_S88_S92, the_deadline_passes_S89,
           a_savepoint_never_counts, the_count_outlives_the_daemon, gauges_S218_S227,
           figures_that_come_late_S80)

/* Who holds a round, however many they are and however they are called; how long it may take. */
#include <stdio.h>

#include "tests/core/lib_play_impl.h"

static struct play p;

static void say(uint64_t session, uint64_t attempt, uint64_t round, uint32_t task,
                Tide__TaskPhase phase, uint64_t bytes)
{
    Tide__TaskProgress each = TIDE__TASK_PROGRESS__INIT, *tasks[1] = {&each};
    Tide__Barrier m = TIDE__BARRIER__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    each.task = task;
    each.phase = phase;
    each.bytes = bytes;
    m.attempt = attempt;
    m.round = round;
    m.n_tasks = 1;
    m.tasks = tasks;
    message.msg_case = TIDE__FROM_WORKER__MSG_BARRIER;
    message.barrier = &m;
    play_frame(&p, session, &message);
}

static uint32_t named(void) /* in the last row */
{
    uint32_t n = 0;
    for (const char *at = p.trace; (at = strstr(at, "[a.")); at++)
        n++;
    return n;
}

/* The first hundred are named in the row, three in the reason, and all are counted. */
START_TEST(more_than_can_be_named_S74)
{
    play_running(&p,
                 &(struct job_options){.sources = 150, .interval_ms = 100, .deadline_ms = 1000});
    play_wait(&p, 100);
    play_forget(&p);
    play_wait(&p, 1000);
    ck_assert_str_eq(p.reason,
                     "150 tasks had not acked by the deadline of 1000 ms: a[0] (has not acted on "
                     "its trigger), a[1] (has not acted on its trigger), a[2] (has not acted on "
                     "its trigger), ...");
    ck_assert_uint_eq(named(), 100);
    play_end(&p);
}
END_TEST

/* What a task reports is what it is named with, also when it reports out of turn; reports of
 * another attempt or round change nothing. */
START_TEST(the_newest_report_counts_S74)
{
    play_running(&p, &(struct job_options){
                         .sources = 3, .sinks = 1, .interval_ms = 100, .deadline_ms = 1000});
    play_wait(&p, 100);
    play_forget(&p);
    say(1, 1, 1, 2, TIDE__TASK_PHASE__TASK_UPLOADING, 7);
    say(1, 1, 1, 0, TIDE__TASK_PHASE__TASK_SNAPSHOTTING, 0);
    say(1, 1, 1, 1, TIDE__TASK_PHASE__TASK_WAITING, 0);
    say(1, 1, 1, 2, TIDE__TASK_PHASE__TASK_UPLOADING, 9);
    say(1, 7, 1, 2, TIDE__TASK_PHASE__TASK_UPLOADING, 1000);
    say(1, 1, 5, 2, TIDE__TASK_PHASE__TASK_UPLOADING, 1000);
    play_expect(&p, "");
    play_wait(&p, 1000);
    PLAY_AMONG(&p, "[a.0 snapshotting][a.1 waiting for the first barrier]"
                   "[a.2 uploading, 9 bytes so far][b.0 waiting for the first barrier]");
    play_end(&p);
}
END_TEST

/* Reports are kept of so many tasks; whoever is told of less is named without a phase. */
START_TEST(reports_are_bounded)
{
    enum { TASKS = 65540, AT_ONCE = 10000 };
    static Tide__TaskProgress each[AT_ONCE], *tasks[AT_ONCE];
    play_running(&p,
                 &(struct job_options){.sources = TASKS, .interval_ms = 100, .deadline_ms = 1000});
    play_wait(&p, 100);
    for (uint32_t first = 0; first < TASKS; first += AT_ONCE) {
        Tide__Barrier m = TIDE__BARRIER__INIT;
        Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
        for (uint32_t i = 0; i < AT_ONCE && first + i < TASKS; i++) {
            tide__task_progress__init(&each[i]);
            each[i].task = first + i;
            each[i].phase = TIDE__TASK_PHASE__TASK_SNAPSHOTTING;
            tasks[m.n_tasks++] = &each[i];
        }
        m.attempt = p.attempt;
        m.round = p.round;
        m.tasks = tasks;
        message.msg_case = TIDE__FROM_WORKER__MSG_BARRIER;
        message.barrier = &m;
        play_frame(&p, 1, &message);
    }
    for (uint32_t t = 0; t < TASKS - 5; t++)
        if (t != 65535 - 2) play_ack(&p, 1, p.attempt, p.round, t);
    play_forget(&p);
    play_wait(&p, 1000);
    PLAY_AMONG(&p, "[a.65533 snapshotting][a.65535 snapshotting]"
                   "[a.65536 has not acted on its trigger][a.65537 has not acted on its trigger]");
    play_end(&p);
}
END_TEST

/* Names that are too long for a reason are left out of it, not out of the row. */
START_TEST(long_names)
{
    static char uid[256];
    Tide__Operator op = TIDE__OPERATOR__INIT, *operators[1] = {&op};
    Tide__Checkpointing cp = TIDE__CHECKPOINTING__INIT;
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    memset(uid, 'u', 255);
    op.uid = play_bytes(uid);
    op.parallelism = 2;
    cp.interval_ms = 100;
    cp.deadline_ms = 1000;
    spec.name = play_bytes("job");
    spec.n_operators = 1;
    spec.operators = operators;
    spec.checkpointing = &cp;
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join_spec(&p, 1, &spec, &(struct join_options){.count = 2, .worker = "w", .pid = 10});
    play_settle(&p);
    play_restored(&p, 1, 0, 2);
    play_settle(&p);
    play_wait(&p, 100);
    play_forget(&p);
    play_wait(&p, 1000);
    ck_assert_ptr_nonnull(strstr(p.reason, "2 tasks had not acked by the deadline of 1000 ms"));
    ck_assert_ptr_nonnull(strstr(p.trace, ".0 has not acted on its trigger]"));
    ck_assert_ptr_nonnull(strstr(p.trace, ".1 has not acted on its trigger]"));
    play_end(&p);
}
END_TEST

/* A reason is cut where a character ends, however many bytes it has. */
START_TEST(reasons_are_cut_between_characters)
{
    static char reason[402];
    play_running(&p, &(struct job_options){
                         .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 1000});
    for (size_t before = 0; before < 3; before++) {
        play_wait(&p, 100);
        memset(reason, 'x', before);
        for (size_t i = before; i + 3 <= 400; i += 3) /* three bytes each */
            memcpy(reason + i, "\xe2\x82\xac", 4);
        play_decline(&p, 1, 0, reason);
        const char *text = strstr(p.reason, "declined: ") + strlen("declined: ");
        size_t len = strlen(text);
        ck_assert_uint_eq(len, before + (200 - before) / 3 * 3);
        ck_assert_mem_eq(text + len - 3, "\xe2\x82\xac", 3);
        play_settle(&p);
    }
    play_end(&p);
}
END_TEST

/* S71: a decline that comes too late decides nothing: of another attempt, of a round that is with
 * the store, of a task that has acked. */
START_TEST(late_declines_S71)
{
    Tide__Decline m = TIDE__DECLINE__INIT;
    Tide__FromWorker message = TIDE__FROM_WORKER__INIT;
    play_running(&p, &(struct job_options){
                         .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 1000});
    play_wait(&p, 100);
    play_ack(&p, 1, 1, 1, 0);
    play_forget(&p);
    play_decline(&p, 1, 0, "too late");
    m.attempt = 9;
    m.round = 1;
    m.task = 1;
    message.msg_case = TIDE__FROM_WORKER__MSG_DECLINE;
    message.decline = &m;
    play_frame(&p, 1, &message);
    play_expect(&p, "");
    play_ack(&p, 1, 1, 1, 1);
    play_ack(&p, 1, 1, 1, 2);
    play_expect(&p, "commit: round-end=complete snapshot\n");
    play_decline(&p, 1, 1, "too late");
    play_expect(&p, "");
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "to 1: complete 1\n");
    play_end(&p);
}
END_TEST

/* Figures that a worker makes up are cut to what the store can keep. */
START_TEST(figures_do_not_run_over)
{
    play_running(&p, &(struct job_options){
                         .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 1000});
    for (int late = 0; late < 2; late++) {
        play_wait(&p, 100);
        uint64_t round = p.round;
        if (late) play_decline(&p, 1, 2, "no disk");
        for (uint32_t t = 0; t < 2 + !late; t++) {
            struct tide_ack_builder b;
            uint8_t packed[256];
            Tide__TaskAck ack;
            tide__task_ack__init(&ack);
            ack.task = t;
            ack.unaligned = true;
            ack.processed_bytes = ack.persisted_bytes = UINT64_MAX;
            size_t len = tide__task_ack__pack(&ack, packed);
            tide_ack_builder_init(&b, 4096);
            tide_ack_builder_add_full(&b, (struct tide_bytes){packed, len});
            p.round = round;
            play_ack_frame(&p, 1, &b);
        }
        play_settle(&p);
        ck_assert_ptr_nonnull(strstr(p.trace, late ? "aborted" : "complete"));
        if (!late) ck_assert_int_eq(play_gauges(&p)->last_checkpoint_processed_data, INT64_MAX);
        play_forget(&p);
    }
    play_end(&p);
}
END_TEST

SUITE_MAIN("holders", more_than_can_be_named_S74, the_newest_report_counts_S74, reports_are_bounded,
           long_names, reasons_are_cut_between_characters, late_declines_S71,
           figures_do_not_run_over)

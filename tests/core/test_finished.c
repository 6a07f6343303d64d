/* Promises about operators whose state goes to all tasks on restore, while tasks finish. */
#include "tests/core/lib_play.h"

static const struct job_options job = {
    .sources = 2, .sinks = 1, .interval_ms = 100, .deadline_ms = 60000, .union_state = true};

/* An ack that says that the operator has finished in this task. */
static void ack_finished(struct play *p, uint32_t task)
{
    struct tide_ack_builder b;
    uint8_t packed[256];
    Tide__TaskAck ack;
    tide__task_ack__init(&ack);
    ack.task = task;
    ack.finished_operator = true;
    size_t len = tide__task_ack__pack(&ack, packed);
    tide_ack_builder_init(&b, 4096);
    tide_ack_builder_add_full(&b, (struct tide_bytes){packed, len});
    play_ack_frame(p, 1, &b);
}

static void next_round(struct play *p)
{
    uint64_t before = p->round;
    p->reason[0] = '\0';
    while (p->round == before)
        play_wait(p, 100);
    play_settle(p);
    play_forget(p);
}

/* Part of its tasks hold their end: a snapshot could neither keep nor leave out their pieces. When
 * all of them do, it is taken. */
START_TEST(no_round_while_partly_finished)
{
    static struct play p;
    play_running(&p, &job);
    play_finished(&p, 1, 0, 1);
    next_round(&p);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 1, p.attempt, p.round, t);
    ck_assert_str_eq(p.reason,
                     "operator a keeps union list state, and 1 of its 2 tasks have finished");
    ck_assert_ptr_nonnull(strstr(p.trace, "round-end=aborted"));
    play_settle(&p);
    play_finished(&p, 1, 1, 1);
    next_round(&p);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 1, p.attempt, p.round, t);
    ck_assert_ptr_nonnull(strstr(p.trace, "round-end=complete"));
    play_end(&p);
}
END_TEST

/* Nobody had said so when the round began: the acks say in whose snapshot the end is. */
START_TEST(no_round_in_which_part_has_finished)
{
    static struct play p;
    play_running(&p, &job);
    next_round(&p);
    ack_finished(&p, 0);
    play_ack(&p, 1, p.attempt, p.round, 1);
    play_expect(&p, "");
    play_ack(&p, 1, p.attempt, p.round, 2);
    ck_assert_str_eq(p.reason,
                     "operator a keeps union list state, and 1 of its 2 tasks have finished");
    play_settle(&p);
    next_round(&p);
    ack_finished(&p, 1);
    ack_finished(&p, 1); /* twice is once */
    ack_finished(&p, 0);
    play_ack(&p, 1, p.attempt, p.round, 2);
    ck_assert_ptr_nonnull(strstr(p.trace, "round-end=complete"));
    play_end(&p);
}
END_TEST

/* The end of a task of another operator is nobody's concern. */
START_TEST(others_may_finish)
{
    static struct play p;
    struct job_options with = job;
    with.union_state = false;
    play_running(&p, &with);
    play_finished(&p, 1, 0, 1);
    next_round(&p);
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 1, p.attempt, p.round, t);
    ck_assert_ptr_nonnull(strstr(p.trace, "round-end=complete"));
    play_end(&p);
}
END_TEST

SUITE_MAIN("finished", no_round_while_partly_finished, no_round_in_which_part_has_finished,
           others_may_finish)

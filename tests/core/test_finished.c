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

/* A task may finish while its snapshot is on its way to disk: what counts is whether its ack says
 * that the end is in it, not when the daemon heard of the end. */
START_TEST(the_ack_says_what_it_holds)
{
    static struct play p;
    play_running(&p, &job);
    next_round(&p);
    play_finished(&p, 1, 0, 1); /* after its snapshot: both are in it as they ran */
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 1, p.attempt, p.round, t);
    ck_assert_ptr_nonnull(strstr(p.trace, "round-end=complete"));
    play_settle(&p);
    next_round(&p);
    ack_finished(&p, 0); /* it is known that this one held its end; the other says so itself */
    ack_finished(&p, 1);
    play_finished(&p, 1, 1, 1); /* this comes last, and is told again when the round is over */
    play_ack(&p, 1, p.attempt, p.round, 2);
    ck_assert_ptr_nonnull(strstr(p.trace, "round-end=complete"));
    play_end(&p);
}
END_TEST

/* S29: a task ends between a round's plan and its trigger: its end is its ack, and nothing fails.
 */
START_TEST(ends_before_the_trigger_S29)
{
    static struct play p;
    struct job_options with = {.sources = 2,
                               .sinks = 1,
                               .interval_ms = 100,
                               .deadline_ms = 60000,
                               .max_concurrent = 2,
                               .hooks = "lock"};
    play_start(&p);
    play_open(&p, 1, TIDE__PEER_KIND__PEER_WORKER);
    play_join(&p, 1, &with,
              &(struct join_options){.count = 3, .worker = "w", .pid = 10, .externals = "lock"});
    play_settle(&p);
    play_restored(&p, 1, 0, 3);
    play_external(&p, 1, "lock", 0, NULL, NULL);
    play_settle(&p);
    play_finished(&p, 1, 0, 1);
    play_wait(&p, 100);
    play_external(&p, 1, "lock", 1, NULL, NULL);
    play_forget(&p);
    play_wait(&p, 100);
    play_expect(&p, "ride: round-begin\nto 1: ask lock 2\n");
    for (uint32_t t = 0; t < 3; t++)
        play_ack(&p, 1, p.attempt, 1, t);
    play_stored(&p, TIDE_STORED);
    play_expect(&p, "commit: round-end=complete snapshot\nto 1: complete 1, some ended\n");
    play_open(&p, 100, TIDE__PEER_KIND__PEER_ADMIN);
    play_ask_job(&p, 100);
    ck_assert_uint_eq(p.shown_acked, 1);
    play_forget(&p);
    play_external(&p, 1, "lock", 2, NULL, NULL);
    play_expect(&p, "to 1: trigger checkpoint 2\n");
    play_ack(&p, 1, p.attempt, 2, 0); /* it is behind the times, and counts for nothing */
    play_ack(&p, 1, p.attempt, 2, 1);
    play_ack(&p, 1, p.attempt, 2, 2);
    ck_assert_ptr_nonnull(strstr(p.trace, "commit: round-end=complete snapshot"));
    ck_assert_uint_eq(p.row_acked, 3);
    play_end(&p);
}
END_TEST

/* Of a batch of which only part counts, too. */
START_TEST(the_rest_of_a_batch_says_so)
{
    static struct play p;
    struct tide_ack_builder b;
    uint8_t packed[256];
    play_running(&p, &job);
    next_round(&p);
    play_ack(&p, 1, p.attempt, p.round, 2);
    tide_ack_builder_init(&b, 4096);
    for (uint32_t t = 0; t < 3; t += 2) {
        Tide__TaskAck ack;
        tide__task_ack__init(&ack);
        ack.task = t;
        ack.finished_operator = t == 0;
        size_t len = tide__task_ack__pack(&ack, packed);
        tide_ack_builder_add_full(&b, (struct tide_bytes){packed, len});
    }
    play_ack_frame(&p, 1, &b);
    play_ack(&p, 1, p.attempt, p.round, 1);
    ck_assert_str_eq(p.reason,
                     "operator a keeps union list state, and 1 of its 2 tasks have finished");
    play_end(&p);
}
END_TEST

SUITE_MAIN("finished", the_rest_of_a_batch_says_so, the_ack_says_what_it_holds,
           ends_before_the_trigger_S29, no_round_while_partly_finished,
           no_round_in_which_part_has_finished, others_may_finish)

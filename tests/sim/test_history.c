/* The history checker finds what it is to find: for each of the ten sentences a log that keeps it
 * and logs that break it. Each begins with the same two workers and one round; what differs stands
 * behind it. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/lib_history.h"

#define MS 1000u

static struct history *h;
static uint64_t now;
static char found[400];

/* Adds a line; the first that breaks something is kept. */
static void log_at(uint64_t at, struct happening e)
{
    e.at = now = at;
    const char *wrong = history_add(h, &e);
    if (wrong && !*found) strcpy(found, wrong);
}
#define LOG(at_ms, ...) log_at((at_ms) * (uint64_t)MS, (struct happening){__VA_ARGS__})

/* A daemon, a job of two tasks, worker 1 with task 0, worker 2 with task 1, in attempt 1. */
static void begin(void)
{
    if (!h) h = history_new();
    history_begin(h);
    found[0] = '\0';
    LOG(0, .type = H_JOB, .tasks = 3, .n = 1000 * MS);
    LOG(1, .type = H_UP, .incarnation = 100);
    LOG(2, .type = H_ATTEMPT, .attempt = 1, .incarnation = 100, .n = 1000, .tasks = 3);
    for (uint32_t w = 1; w <= 2; w++) {
        LOG(2, .type = H_MEMBER, .attempt = 1, .worker = w, .tasks = w);
        LOG(3, .type = H_LEASE, .worker = w, .n = 5000 * MS);
    }
    LOG(4, .type = H_START, .attempt = 1);
    for (uint32_t w = 1; w <= 2; w++)
        LOG(5, .type = H_HOLDS, .worker = w, .attempt = 1);
    LOG(6, .type = H_RUN, .attempt = 1);
}

static void round_begins(uint64_t at, uint64_t number)
{
    LOG(at, .type = H_ROUND, .attempt = 1, .round = number, .incarnation = 100, .n = 500 * MS);
}

static void acks(uint64_t at, uint64_t number, uint32_t worker)
{
    LOG(at, .type = H_WRITTEN, .worker = worker, .round = number, .task = worker - 1);
    LOG(at, .type = H_ACKED, .attempt = 1, .round = number, .worker = worker, .task = worker - 1);
}

static void stored(uint64_t at, uint64_t number)
{
    LOG(at, .type = H_HANDED, .round = number);
    LOG(at + 1, .type = H_SNAPSHOT, .attempt = 1, .round = number, .tasks = 3);
    LOG(at + 1, .type = H_SAY_COMPLETE, .round = number);
}

static void hears(uint64_t at, uint64_t number, uint32_t worker)
{
    LOG(at, .type = H_HEARD, .round = number, .worker = worker, .task = worker - 1);
    LOG(at, .type = H_PUBLISHED, .attempt = 1, .round = number, .worker = worker,
        .task = worker - 1, .n = number);
    LOG(at, .type = H_CONFIRMED, .round = number, .worker = worker, .task = worker - 1);
}

static void whole_round(uint64_t at, uint64_t number)
{
    round_begins(at, number);
    acks(at + 1, number, 1);
    acks(at + 2, number, 2);
    stored(at + 3, number);
    hears(at + 5, number, 1);
    hears(at + 6, number, 2);
}

static void ends(uint64_t at)
{
    LOG(at, .type = H_TICK);
    LOG(at, .type = H_END, .n = 100 * MS);
}

static void finds(const char *what)
{
    if (strncmp(found, what, strlen(what)) != 0)
        ck_abort_msg("found \"%s\" instead of \"%s\"", found, what);
}

START_TEST(nothing_is_wrong)
{
    begin();
    whole_round(100, 1);
    whole_round(200, 2);
    LOG(210, .type = H_DELETING, .round = 1);
    LOG(211, .type = H_GONE, .round = 1);
    LOG(212, .type = H_DELETED, .round = 1);
    round_begins(300, 3);
    acks(301, 3, 1);
    LOG(350, .type = H_TROUBLE);
    LOG(351, .type = H_DROPS, .worker = 2);
    LOG(352, .type = H_REWIND, .attempt = 1);
    LOG(352, .type = H_SAY_ABORT, .round = 3);
    LOG(353, .type = H_ABORTED, .round = 3, .ordered = true);
    LOG(360, .type = H_GONE, .round = 3);
    ends(800);
    finds("");
}
END_TEST

/* ---- 1 */

START_TEST(completes_without_an_ack)
{
    begin();
    round_begins(100, 1);
    acks(101, 1, 1);
    stored(102, 1);
    finds("1: snapshot 1 is complete, and no member acked for task 1");

    begin();
    round_begins(100, 1);
    acks(101, 1, 1);
    LOG(102, .type = H_HANDED, .round = 1);
    LOG(103, .type = H_SNAPSHOT, .attempt = 1, .round = 1, .tasks = 1);
    finds("1: snapshot 1 has not one state of each task");
}
END_TEST

START_TEST(completes_with_a_strangers_ack)
{
    begin();
    round_begins(100, 1);
    acks(101, 1, 1);
    LOG(101, .type = H_LEASE, .worker = 3, .n = 5000 * MS);
    LOG(102, .type = H_ACKED, .attempt = 1, .round = 1, .worker = 3, .task = 1);
    stored(103, 1);
    finds("1: snapshot 1 is complete, and no member acked for task 1");
}
END_TEST

START_TEST(acks_twice)
{
    begin();
    round_begins(100, 1);
    acks(101, 1, 1);
    acks(102, 1, 1);
    finds("1: round 1 is acked twice for task 0");
}
END_TEST

START_TEST(completes_with_a_lost_member)
{
    begin();
    round_begins(100, 1);
    acks(101, 1, 1);
    acks(102, 1, 2);
    LOG(103, .type = H_TROUBLE);
    LOG(103, .type = H_REWIND, .attempt = 1);
    stored(104, 1);
    finds("1: round 1 is to complete, and a member of its attempt is lost");
}
END_TEST

static void says(uint64_t at, uint64_t number, uint32_t worker)
{
    LOG(at, .type = H_SAID, .attempt = 1, .round = number, .worker = worker, .task = worker - 1);
}

START_TEST(goes_on_without_a_task)
{
    begin();
    round_begins(100, 1);
    says(101, 1, 1);
    says(102, 1, 2);
    LOG(103, .type = H_STEP, .round = 1);
    says(104, 1, 1);
    says(105, 1, 1);
    LOG(106, .type = H_STEP, .round = 1);
    finds("1: round 1 goes on without tasks 2");
}
END_TEST

START_TEST(starts_without_a_record)
{
    begin();
    LOG(100, .type = H_START, .attempt = 2);
    finds("1: attempt 2 is started, and its members are not recorded");
}
END_TEST

/* ---- 2 */

START_TEST(told_too_early)
{
    begin();
    round_begins(100, 1);
    LOG(101, .type = H_SAY_COMPLETE, .round = 1);
    finds("2: complete is told of round 1, which is not durable");

    begin();
    round_begins(100, 1);
    LOG(101, .type = H_HEARD, .round = 1, .worker = 1);
    finds("2: task 0 hears of round 1, which is not durable");

    begin();
    round_begins(100, 1);
    LOG(101, .type = H_PUBLISHED, .attempt = 1, .round = 1, .worker = 1);
    finds("2: task 0 publishes for round 1, which is not durable");
}
END_TEST

START_TEST(told_both)
{
    begin();
    whole_round(100, 1);
    LOG(200, .type = H_SAY_ABORT, .round = 1);
    finds("2: abort is told of round 1, which is complete");

    begin();
    round_begins(100, 1);
    acks(101, 1, 1);
    acks(102, 1, 2);
    LOG(103, .type = H_SAY_ABORT, .round = 1);
    stored(104, 1);
    finds("2: round 1 is to complete, and had ended");
}
END_TEST

START_TEST(never_told)
{
    begin();
    round_begins(100, 1);
    acks(101, 1, 1);
    acks(102, 1, 2);
    stored(103, 1);
    hears(105, 1, 1);
    ends(800);
    finds("2: round 1 is complete, and tasks 2 were never told");

    begin();
    LOG(100, .type = H_CONFIRMED, .round = 1, .worker = 1);
    finds("2: task 0 confirms round 1, of which it has not heard");
}
END_TEST

START_TEST(goes_back_behind_effects)
{
    begin();
    whole_round(100, 1);
    whole_round(200, 2);
    LOG(300, .type = H_TROUBLE);
    LOG(301, .type = H_REWIND, .attempt = 1);
    LOG(302, .type = H_ATTEMPT, .attempt = 2, .incarnation = 100, .n = 1001, .round = 1,
        .tasks = 3);
    finds("2: attempt 2 restores 1, and round 2 has published effects");

    begin();
    whole_round(100, 1);
    whole_round(200, 2);
    LOG(300, .type = H_TROUBLE);
    LOG(302, .type = H_ATTEMPT, .attempt = 2, .incarnation = 100, .n = 1001, .round = 1, .tasks = 3,
        .ordered = true); /* only to deliver what is owed */
    finds("");
}
END_TEST

/* An admin may order it by name, and then nothing else is restored. */
START_TEST(goes_back_by_order)
{
    begin();
    whole_round(100, 1);
    whole_round(200, 2);
    LOG(300, .type = H_TROUBLE);
    LOG(301, .type = H_ORDERED, .round = 1);
    LOG(302, .type = H_ATTEMPT, .attempt = 2, .incarnation = 100, .n = 1001, .round = 1,
        .tasks = 3);
    LOG(303, .type = H_ATTEMPT, .attempt = 3, .incarnation = 100, .n = 1002, .round = 1,
        .tasks = 3);
    finds("");

    begin();
    whole_round(100, 1);
    whole_round(200, 2);
    LOG(300, .type = H_TROUBLE);
    LOG(301, .type = H_ORDERED, .round = 1);
    LOG(302, .type = H_ATTEMPT, .attempt = 2, .incarnation = 100, .n = 1001, .round = 2,
        .tasks = 3);
    finds("2: attempt 2 restores 2, and 1 was ordered");

    begin(); /* an old copy knows nothing of the order */
    whole_round(100, 1);
    LOG(300, .type = H_TROUBLE);
    LOG(301, .type = H_ORDERED, .round = 1);
    LOG(302, .type = H_DOWN);
    LOG(303, .type = H_PUT_BACK);
    LOG(304, .type = H_UP, .incarnation = 101);
    LOG(305, .type = H_ATTEMPT, .attempt = 1, .incarnation = 101, .n = 1001, .tasks = 3);
    finds("");
}
END_TEST

/* ---- 3 */

START_TEST(outlives_its_deadline)
{
    begin();
    round_begins(100, 1);
    LOG(640, .type = H_TICK);
    finds("");
    LOG(670, .type = H_TICK);
    finds("3: round 1 is 70000 us past its deadline");

    begin();
    round_begins(100, 1);
    LOG(200, .type = H_AWAY, .n = 900 * MS); /* the daemon stands still: it is not held to that */
    LOG(700, .type = H_TICK);
    finds("");
}
END_TEST

START_TEST(aborts_what_the_store_has)
{
    begin();
    round_begins(100, 1);
    acks(101, 1, 1);
    acks(102, 1, 2);
    LOG(103, .type = H_HANDED, .round = 1);
    LOG(104, .type = H_SAY_ABORT, .round = 1);
    finds("3: abort is told of round 1 while the store has its completion");
}
END_TEST

START_TEST(names_not_all_who_held_it)
{
    begin();
    LOG(50, .type = H_TROUBLE);
    round_begins(100, 1);
    acks(101, 1, 1);
    LOG(600, .type = H_ABORTED, .round = 1, .tasks = 2);
    finds("");

    begin();
    LOG(50, .type = H_TROUBLE);
    round_begins(100, 1);
    LOG(600, .type = H_ABORTED, .round = 1, .tasks = 2);
    finds("3: round 1 missed its deadline, and not all who held it are named: 2 of 3");

    begin();
    LOG(50, .type = H_TROUBLE);
    round_begins(100, 1);
    says(101, 1, 1);
    LOG(600, .type = H_ABORTED, .round = 1, .tasks = 2);
    finds("");
}
END_TEST

/* Who had ended before an old copy was made holds nothing in the attempt that goes on from it. */
START_TEST(an_old_copy_knows_who_had_ended)
{
    for (uint64_t by = 1; by <= 2; by++) { /* by a snapshot of the attempt, by what it restored */
        begin();
        LOG(100, .type = H_DOWN);
        LOG(101, .type = H_PUT_BACK);
        LOG(102, .type = H_KNOWN, .attempt = 2, .n = 7, .tasks = 3);
        LOG(102, .type = H_KNOWN, .attempt = by, .round = by == 1 ? 7 : 9, .tasks = 3, .n = 1);
        LOG(102, .type = H_KNOWN, .attempt = 1, .round = 5, .tasks = 3, .n = 2);
        LOG(103, .type = H_UP, .incarnation = 101);
        LOG(104, .type = H_ROUND, .attempt = 2, .round = 20, .incarnation = 101, .n = 500 * MS);
        LOG(600, .type = H_ABORTED, .round = 20, .tasks = 2);
        finds("");
        LOG(601, .type = H_ROUND, .attempt = 2, .round = 21, .incarnation = 101, .n = 500 * MS);
        LOG(1200, .type = H_ABORTED, .round = 21, .tasks = 1);
        finds("3: round 21 missed its deadline, and not all who held it are named: 1 of 2");
    }
}
END_TEST

/* ---- 4 */

START_TEST(issues_an_id_twice)
{
    begin();
    whole_round(100, 1);
    LOG(200, .type = H_DOWN);
    LOG(201, .type = H_UP, .incarnation = 101);
    LOG(202, .type = H_ROUND, .attempt = 1, .round = 1, .incarnation = 101);
    finds("4: round 1 is issued twice");

    begin();
    LOG(200, .type = H_DOWN);
    LOG(201, .type = H_UP, .incarnation = 100);
    finds("4: incarnation 100 comes after 100");

    begin();
    LOG(200, .type = H_ATTEMPT, .attempt = 1, .incarnation = 100, .n = 2000, .tasks = 3);
    finds("4: attempt 1 is issued twice");

    begin();
    LOG(200, .type = H_ATTEMPT, .attempt = 2, .incarnation = 100, .n = 1000, .tasks = 3);
    finds("4: external number 1000 comes after 1000");
}
END_TEST

/* Numbers that an old copy forgets come again, and are others: they bear another incarnation. */
START_TEST(issues_an_id_twice_after_an_old_copy)
{
    begin();
    whole_round(100, 1);
    LOG(200, .type = H_DOWN);
    LOG(201, .type = H_PUT_BACK);
    LOG(202, .type = H_UP, .incarnation = 101);
    LOG(203, .type = H_ATTEMPT, .attempt = 1, .incarnation = 101, .n = 2000, .tasks = 3);
    LOG(204, .type = H_ROUND, .attempt = 1, .round = 1, .incarnation = 101);
    finds("");
    LOG(205, .type = H_ATTEMPT, .attempt = 2, .incarnation = 101, .n = 999, .tasks = 3);
    finds("4: external number 999 comes after 2000");
}
END_TEST

/* ---- 5 */

START_TEST(speaks_without_a_lease)
{
    begin();
    round_begins(5000, 1);
    acks(5001, 1, 1);
    finds("5: worker 1 acks 1000 us after the end of its lease");
}
END_TEST

START_TEST(two_hold_the_world)
{
    begin();
    LOG(100, .type = H_TROUBLE);
    LOG(101, .type = H_REWIND, .attempt = 1);
    LOG(101, .type = H_DROPS, .worker = 1);
    LOG(102, .type = H_ATTEMPT, .attempt = 2, .incarnation = 100, .n = 1001, .tasks = 3);
    LOG(103, .type = H_START, .attempt = 2);
    finds("5: attempt 2 is started, worker 2 of attempt 1 has its lease for 4897000 us more");

    begin();
    whole_round(100, 1);
    LOG(150, .type = H_TROUBLE);
    LOG(151, .type = H_DROPS, .worker = 1);
    LOG(151, .type = H_DROPS, .worker = 2);
    LOG(152, .type = H_ATTEMPT, .attempt = 2, .incarnation = 100, .n = 1001, .round = 1,
        .tasks = 3);
    LOG(153, .type = H_START, .attempt = 2);
    LOG(154, .type = H_PUBLISHED, .attempt = 1, .round = 1, .worker = 2, .task = 1);
    finds("5: task 1 of attempt 1 publishes, and 2 has started");
}
END_TEST

/* ---- 6 */

START_TEST(the_daemon_alone_ends_an_attempt)
{
    begin();
    LOG(100, .type = H_WEATHER);
    LOG(100, .type = H_DOWN);
    LOG(200, .type = H_UP, .incarnation = 101);
    LOG(300, .type = H_REWIND, .attempt = 1);
    finds("6: attempt 1 is over, and nothing but the daemon had trouble");
}
END_TEST

/* ---- 7 */

START_TEST(deletes_what_is_retained)
{
    begin();
    whole_round(100, 1);
    LOG(200, .type = H_GONE, .round = 1);
    finds("7: the bytes of snapshot 1 are deleted, and it is retained");

    begin();
    round_begins(100, 1);
    LOG(200, .type = H_GONE, .round = 1);
    finds("7: the bytes of round 1 are deleted, and it is under way");

    begin();
    whole_round(100, 1);
    LOG(200, .type = H_DELETING, .round = 1);
    LOG(201, .type = H_DELETED, .round = 1);
    finds("7: the row of snapshot 1 says deleted, and its bytes are there");
}
END_TEST

START_TEST(never_deletes)
{
    begin();
    whole_round(100, 1);
    whole_round(200, 2);
    LOG(300, .type = H_DELETING, .round = 1);
    ends(900);
    finds("7: the bytes of snapshot 1 are never deleted");

    begin(); /* what a lost worker had written */
    round_begins(100, 1);
    acks(101, 1, 1);
    LOG(200, .type = H_TROUBLE);
    LOG(200, .type = H_ABORTED, .round = 1, .ordered = true);
    whole_round(300, 2);
    ends(900);
    finds("7: what round 1 had written is never deleted");
}
END_TEST

/* ---- 8 */

START_TEST(deletes_a_savepoint)
{
    begin();
    round_begins(100, 1);
    acks(101, 1, 1);
    acks(101, 1, 2);
    LOG(102, .type = H_HANDED, .round = 1);
    LOG(103, .type = H_SNAPSHOT, .attempt = 1, .round = 1, .tasks = 3, .savepoint = true);
    LOG(200, .type = H_DELETING, .round = 1);
    finds("8: savepoint 1 is to be deleted, and nobody has ordered it");
}
END_TEST

/* ---- 9 */

START_TEST(others_trouble_is_felt)
{
    begin();
    LOG(7, .type = H_JOB, .job = 1, .tasks = 1);
    LOG(50, .type = H_TROUBLE, .job = 1);
    round_begins(100, 1);
    LOG(120, .type = H_ABORTED, .round = 1, .ordered = true);
    finds("9: round 1 is aborted, and job 0 had no trouble");

    begin();
    whole_round(100, 1);
    whole_round(1500, 2);
    finds("9: 1400000 us without a snapshot, and job 0 had no trouble");
}
END_TEST

/* ---- after the faults */

START_TEST(never_gets_well)
{
    begin();
    whole_round(100, 1);
    LOG(200, .type = H_FINE, .n = 3000 * MS);
    LOG(2900, .type = H_TICK);
    finds("");
    LOG(3001, .type = H_TICK);
    finds("live: job 0 has no new snapshot 2801000 us after the last fault");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {nothing_is_wrong,
                                  completes_without_an_ack,
                                  completes_with_a_strangers_ack,
                                  acks_twice,
                                  completes_with_a_lost_member,
                                  goes_on_without_a_task,
                                  starts_without_a_record,
                                  told_too_early,
                                  told_both,
                                  never_told,
                                  goes_back_behind_effects,
                                  goes_back_by_order,
                                  outlives_its_deadline,
                                  aborts_what_the_store_has,
                                  names_not_all_who_held_it,
                                  an_old_copy_knows_who_had_ended,
                                  issues_an_id_twice,
                                  issues_an_id_twice_after_an_old_copy,
                                  speaks_without_a_lease,
                                  two_hold_the_world,
                                  the_daemon_alone_ends_an_attempt,
                                  deletes_what_is_retained,
                                  never_deletes,
                                  deletes_a_savepoint,
                                  others_trouble_is_felt,
                                  never_gets_well};
    Suite *suite = suite_create("history");
    TCase *all = tcase_create("history");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(all, tests[i]);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

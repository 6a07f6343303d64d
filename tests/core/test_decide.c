/* The decision whether a round begins, and which, as a table. */
#include <stdio.h>

#include "daemon/core/internal.h"
#include "tests/core/lib_play.h"

#define SAVEPOINT(n)                                                                               \
    {                                                                                              \
        .id = n, .savepoint = true                                                                 \
    }
#define CHECKPOINT(n)                                                                              \
    {                                                                                              \
        .id = n                                                                                    \
    }
#define T 1000000u /* now, us */

struct row {
    const char *what;
    struct decide facts;
    struct request requests[4];
    enum begin begins;
    uint64_t request, again; /* again 0: never */
};

static const struct row rows[] = {
    {"nothing to do", {.max_concurrent = 1, .periodic_at = NEVER}, {{0}}, BEGIN_NOTHING, 0, 0},
    {"S1: a savepoint beside a checkpoint",
     {.max_concurrent = 1, .checkpoints = 1, .n_requests = 1, .periodic_at = NEVER},
     {SAVEPOINT(5)},
     BEGIN_REQUEST,
     5,
     0},
    {"S2: a checkpoint at the limit waits",
     {.max_concurrent = 1, .checkpoints = 1, .n_requests = 1, .periodic_at = 0},
     {CHECKPOINT(5)},
     BEGIN_NOTHING,
     0,
     0},
    {"S2: a periodic one as well",
     {.max_concurrent = 2, .checkpoints = 2, .periodic_at = T - 1},
     {{0}},
     BEGIN_NOTHING,
     0,
     0},
    {"S2: below the limit it begins",
     {.max_concurrent = 2, .checkpoints = 1, .n_requests = 1, .periodic_at = 0},
     {CHECKPOINT(5)},
     BEGIN_REQUEST,
     5,
     0},
    {"S4: 11 being deleted, limit 10",
     {.max_concurrent = 10, .deleting = 11, .n_requests = 1, .periodic_at = 0},
     {SAVEPOINT(5)},
     BEGIN_NOTHING,
     0,
     0},
    {"S4: 10 being deleted",
     {.max_concurrent = 10, .deleting = 10, .n_requests = 1, .periodic_at = NEVER},
     {SAVEPOINT(5)},
     BEGIN_REQUEST,
     5,
     0},
    {"S5: a user's request before the period",
     {.max_concurrent = 1, .n_requests = 1, .periodic_at = T - 500},
     {CHECKPOINT(5)},
     BEGIN_REQUEST,
     5,
     0},
    {"S8: the savepoint first",
     {.max_concurrent = 1, .n_requests = 3, .periodic_at = 0},
     {CHECKPOINT(5), SAVEPOINT(9), SAVEPOINT(7)},
     BEGIN_REQUEST,
     7,
     0},
    {"a checkpoint that can begin, when no savepoint can",
     {.max_concurrent = 1, .savepoints = SAVEPOINTS_AT_ONCE, .n_requests = 2, .periodic_at = NEVER},
     {SAVEPOINT(5), CHECKPOINT(6)},
     BEGIN_REQUEST,
     6,
     0},
    {"S11: the pause after a success holds back no savepoint",
     {.max_concurrent = 1,
      .n_requests = 1,
      .completed_us = T,
      .min_pause_us = 1u << 30,
      .periodic_at = 0},
     {SAVEPOINT(5)},
     BEGIN_REQUEST,
     5,
     0},
    {"nor a checkpoint that was asked for, though a task has declined until later",
     {.max_concurrent = 1,
      .n_requests = 1,
      .failed_us = T,
      .failure_pause_us = 1u << 30,
      .not_before = T + 9,
      .periodic_at = 0},
     {CHECKPOINT(5)},
     BEGIN_REQUEST,
     5,
     0},
    {"S14: the pause after a success, for the period",
     {.max_concurrent = 1, .completed_us = T - 10, .min_pause_us = 50, .periodic_at = T - 3},
     {{0}},
     BEGIN_NOTHING,
     0,
     T + 40},
    {"a pause that is over",
     {.max_concurrent = 1, .completed_us = T - 50, .min_pause_us = 50, .periodic_at = T - 3},
     {{0}},
     BEGIN_PERIODIC,
     0,
     0},
    {"the pause after a failure, the longer of both",
     {.max_concurrent = 1,
      .completed_us = T - 10,
      .min_pause_us = 50,
      .failed_us = T - 5,
      .failure_pause_us = 100,
      .periodic_at = T},
     {{0}},
     BEGIN_NOTHING,
     0,
     T + 95},
    {"no round yet: no pause",
     {.max_concurrent = 1, .min_pause_us = 1u << 30, .periodic_at = T},
     {{0}},
     BEGIN_PERIODIC,
     0,
     0},
    {"the period is not due",
     {.max_concurrent = 1, .periodic_at = T + 7},
     {{0}},
     BEGIN_NOTHING,
     0,
     T + 7},
    {"S16: without a period nothing begins by itself",
     {.max_concurrent = 1, .periodic_at = NEVER},
     {{0}},
     BEGIN_NOTHING,
     0,
     0},
    {"S20: a round is being set up",
     {.max_concurrent = 5, .setting_up = 1, .n_requests = 1, .periodic_at = 0},
     {SAVEPOINT(5)},
     BEGIN_NOTHING,
     0,
     0},
    {"S35: a savepoint goes before what is due of the period",
     {.max_concurrent = 1, .checkpoints = 0, .n_requests = 1, .periodic_at = 1},
     {SAVEPOINT(5)},
     BEGIN_REQUEST,
     5,
     0},
    {"all tasks hold their end: at once, whatever the period and its pauses",
     {.max_concurrent = 1,
      .at_end = true,
      .completed_us = T,
      .min_pause_us = 1u << 30,
      .periodic_at = NEVER},
     {{0}},
     BEGIN_LAST,
     0,
     0},
    {"but not before a task that has declined wants it",
     {.max_concurrent = 1, .at_end = true, .not_before = T + 3, .periodic_at = NEVER},
     {{0}},
     BEGIN_NOTHING,
     0,
     T + 3},
    {"nor twice",
     {.max_concurrent = 2,
      .checkpoints = 1,
      .at_end = true,
      .last_under_way = true,
      .periodic_at = T - 1},
     {{0}},
     BEGIN_NOTHING,
     0,
     0},
};

/* S1, S2, S4, S5, S7, S8, S11, S14, S16, S20, S35, S37: a row each. Tidemark's rules differ in
 * this: every savepoint is what Flink calls forced, also beside unaligned checkpoints (S7, S8,
 * S35); the period is no request in the queue but always the last in the order, and triggers of it
 * that come due together are one (S5, S35); its phase does not shift by a pause (S14). */
START_TEST(each_row)
{
    const struct row *row = &rows[_i];
    struct decide facts = row->facts;
    facts.now = T;
    facts.requests = row->requests;
    struct decision d = decide(&facts);
    ck_assert_msg(d.what == row->begins, "%s: %d begins", row->what, (int)d.what);
    ck_assert_msg(d.request == row->request, "%s: request %d", row->what, (int)d.request);
    uint64_t again = row->again ? row->again : NEVER;
    ck_assert_msg(d.again == again, "%s: again at %lld", row->what, (long long)d.again);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("decide");
    TCase *all = tcase_create("decide");
    tcase_add_loop_test(all, each_row, 0, sizeof rows / sizeof *rows);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

/* Who takes part in a round and how, as a table: tasks that run, that hold their end, that have
 * ended, in mixed graphs. */
#include <stdio.h>

#include "daemon/core/internal.h"
#include "tests/core/lib_play.h"
#include "tests/core/lib_spec.h"

/* Tasks are numbered as the operators are written, a letter each: '.' runs, 'h' holds its end, 'x'
 * has ended. */
static struct bits those(const struct tide_graph *g, const char *tasks, char letter)
{
    struct bits b;
    uint32_t t = 0;
    bits_init(&b, g->tasks);
    for (; *tasks; tasks++) {
        if (*tasks == ' ') continue;
        if (*tasks == letter) bits_put(&b, t);
        t++;
    }
    ck_assert_uint_eq(t, g->tasks);
    return b;
}

static struct plan plan_of(const struct tide_graph *g, const char *tasks)
{
    struct plan p;
    struct bits ended = those(g, tasks, 'x'), ending = those(g, tasks, 'h');
    plan_make(&p, g, &ended, &ending);
    bits_release(&ended);
    bits_release(&ending);
    return p;
}

static void expect_bits(const struct bits *b, const char *tasks, char letter)
{
    uint32_t t = 0;
    for (const char *at = tasks; *at; at++) {
        if (*at == ' ') continue;
        ck_assert_msg(bits_get(b, t) == (*at == letter), "task %u in %s", t, tasks);
        t++;
    }
}

static const struct row {
    const char *what, *graph, *tasks, *roles; /* B begins, f follows, - has ended */
    bool final;
} rows[] = {
    {"S43: all run: the sources begin, all are waited for", "a3 b4; a>b", "... ....", "BBB ffff",
     false},
    {"S44: two of three sources have ended, all to all: the third alone begins", "a3 b4; a>b",
     "xx. ....", "--B ffff", false},
    {"S44: all three have: whom they fed begins", "a3 b4; a>b", "xxx ....", "--- BBBB", false},
    {"S46: pointwise: two sources and a target have ended", "a4 b4; a=b", "xx.. x...", "--BB -Bff",
     false},
    {"S47: two inputs, one of them has ended", "a2 b2 c2; a>c b>c", "xx .. ..", "-- BB ff", false},
    {"S47: two inputs that are fed in different ways", "a2 b2 c2; a=c b>c", ".x xx ..", "B- -- fB",
     false},
    {"S47: the same, and the other input runs", "a2 b2 c2; a=c b>c", ".x x. ..", "B- -B ff", false},
    {"S47: levels: who is fed by the third begins only when the second has ended",
     "a2 b2 c2 d2; a>b b=c c>d", "xx x. .. ..", "-- -B Bf ff", false},
    {"S47: an edge that leaves a level out", "a2 b2 c2; a>b b>c a=c", "x. .. ..", "-B ff ff",
     false},
    {"a task that holds its end still acts on triggers, and has not closed its channels",
     "a2 b2; a=b", "h. ..", "BB ff", false},
    {"all but one hold their end", "a2 b1; a>b", "hx .", "B- f", false},
    {"every task holds its end or has ended: there is a last round", "a2 b1; a>b", "hx h", "B- f",
     true},
    {"nobody is left: nothing is waited for", "a2 b2; a=b", "xx xx", "-- --", true},
};

/* S43, S44, S46, S47: a row each, or more. The plan tells whom a round is begun by; triggers go to
 * every worker all the same. */
START_TEST(each_row)
{
    const struct row *row = &rows[_i];
    struct tide_graph *g = spec_graph(row->graph);
    struct plan p = plan_of(g, row->tasks);
    uint32_t t = 0, waits = 0;
    for (const char *at = row->roles; *at; at++) {
        if (*at == ' ') continue;
        enum plan_role role = plan_role(&p, t++);
        ck_assert_msg(role == (*at == '-'   ? PLAN_ENDED
                               : *at == 'B' ? PLAN_BEGINS
                                            : PLAN_FOLLOWS),
                      "%s: task %u has role %d", row->what, t - 1, (int)role);
        waits += *at != '-';
    }
    ck_assert_msg(p.expected == waits, "%s: %u acks are expected", row->what, p.expected);
    ck_assert_msg(p.final == row->final, "%s: final", row->what);
    plan_release(&p);
    tide_graph_free(g);
}
END_TEST

/* S47: more tasks than stand in one word, of which one at either end of an operator runs. */
START_TEST(one_of_many_S47)
{
    struct tide_graph *g = spec_graph("a300 b1; a>b");
    struct bits ended, none;
    bits_init(&none, 301);
    for (uint32_t runs = 0; runs <= 300; runs++) {
        struct plan p;
        bits_init(&ended, 301);
        for (uint32_t t = 0; t < 300; t++)
            if (t != runs) bits_put(&ended, t);
        plan_make(&p, g, &ended, &none);
        ck_assert_int_eq(plan_role(&p, 300), runs == 300 ? PLAN_BEGINS : PLAN_FOLLOWS);
        ck_assert_uint_eq(p.expected, runs == 300 ? 1 : 2);
        plan_release(&p);
        bits_release(&ended);
    }
    bits_release(&none);
    tide_graph_free(g);
}
END_TEST

/* S29: what ends between the plan and its trigger, or later, acks by that, once, if the plan knew
 * that it held its end; whoever had not is behind its snapshot, and acks. */
START_TEST(ends_after_the_plan_S29)
{
    static const struct {
        const char *plan, *acked, *ends, *ended, *released; /* acked: 'a' */
        uint32_t expected;
    } each[] = {
        {"... .", "... .", "... .", "... .", "... .", 4},
        {"h.. .", "... .", "x.. .", "x.. .", "... .", 3},
        {"h.. .", "a.. .", "x.. .", "... .", "x.. .", 4},
        {".h. .", "... .", "xx. .", ".x. .", "... .", 3},
        {"xh. .", "... .", "xx. .", "xx. .", "... .", 2},
        {"hhh h", "a.a .", "xxx x", ".x. x", "x.x .", 2},
    };
    struct tide_graph *g = spec_graph("a3 b1; a>b");
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        struct plan p = plan_of(g, each[i].plan);
        struct bits ended = those(g, each[i].ends, 'x'), acked = those(g, each[i].acked, 'a');
        for (int twice = 0; twice < 2; twice++) {
            plan_ended_since(&p, &ended, &acked);
            expect_bits(&p.ended, each[i].ended, 'x');
            expect_bits(plan_lets_end(&p, false), each[i].released, 'x');
            expect_bits(plan_lets_end(&p, true), each[i].plan, 'h');
            ck_assert_msg(p.expected == each[i].expected, "%zu: %u", i, p.expected);
        }
        bits_release(&ended);
        bits_release(&acked);
        plan_release(&p);
    }
    tide_graph_free(g);
}
END_TEST

/* Whoever has not ended holds its end once a round has drained the job. */
START_TEST(a_drained_round_is_the_last)
{
    struct tide_graph *g = spec_graph("a3 b1; a>b");
    struct plan p = plan_of(g, "xh. .");
    ck_assert(!p.final);
    plan_drained(&p);
    ck_assert(p.final);
    expect_bits(&p.ended, "x.. .", 'x');
    expect_bits(&p.ending, ".hh h", 'h');
    plan_release(&p);
    tide_graph_free(g);
}
END_TEST

/* S181: union list state is whole when all of an operator's tasks are in the snapshot as running,
 * or all as finished, however that was learnt: 'f' says so by its ack. */
START_TEST(union_state_is_all_or_nothing_S181)
{
    static const struct {
        const char *tasks;
        const char *why;
    } each[] = {
        {"... ...", NULL},
        {"xxx ...", NULL},
        {"xhf ...", NULL},
        {"... h..", NULL},
        {"..h ...", "operator a keeps union list state, and 1 of its 3 tasks have finished"},
        {"f.. ...", "operator a keeps union list state, and 1 of its 3 tasks have finished"},
        {"xf. xxx", "operator a keeps union list state, and 2 of its 3 tasks have finished"},
    };
    struct tide_graph *g = spec_graph("a3u b3; a>b");
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        struct plan p = plan_of(g, each[i].tasks);
        bits_release(&p.finished);
        p.finished = those(g, each[i].tasks, 'f');
        char *why = plan_partly_finished(&p);
        if (each[i].why)
            ck_assert_str_eq(why ? why : "", each[i].why);
        else
            ck_assert_msg(!why, "%s: %s", each[i].tasks, why ? why : "");
        free(why);
        plan_release(&p);
    }
    tide_graph_free(g);
}
END_TEST

ROWS_MAIN("plan", each_row, sizeof rows / sizeof *rows, one_of_many_S47, ends_after_the_plan_S29,
          a_drained_round_is_the_last, union_state_is_all_or_nothing_S181)

/* The gateway's promises, each as the events that go and in which order; and a model of it, played
 * against the real one from seeds. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/gateway.h"
#include "proto/err.h"

static struct tide_gateway *g;
static uint64_t taken[4096]; /* ids in order */
static unsigned n_taken;

static void open_gateway(uint32_t subtasks)
{
    ck_assert_int_eq(tide_gateway_new(subtasks, 1 << 20, &g), 0);
    n_taken = 0;
}

static void fine(void)
{
    const char *wrong = tide_gateway_check(g);
    ck_assert_msg(!wrong, "%s", wrong ? wrong : "");
}

static void put(uint32_t subtask, const char *text)
{
    struct tide_bytes bytes = {(const uint8_t *)text, strlen(text)};
    ck_assert_int_eq(tide_gateway_put(g, subtask, bytes), 0);
    fine();
}

/* What may go now, as "subtask:text ". */
static const char *go(void)
{
    static char out[512];
    struct tide_gateway_event e;
    size_t at = 0;
    out[0] = '\0';
    while (tide_gateway_next(g, &e)) {
        at += (size_t)snprintf(out + at, sizeof out - at, "%u:%.*s ", e.subtask, (int)e.bytes.len,
                               (const char *)e.bytes.data);
        taken[n_taken++] = e.id;
    }
    fine();
    return out;
}

static void confirm_all(void)
{
    for (unsigned i = 0; i < n_taken; i++)
        tide_gateway_confirm(g, taken[i], false);
    n_taken = 0;
    fine();
}

static void snapshot(uint64_t round)
{
    ck_assert_int_eq(tide_gateway_mark(g, round), 0);
    ck_assert(tide_gateway_close(g, round));
}

/* S182: events before the snapshot pass, also between the trigger and the snapshot. */
START_TEST(before_the_snapshot_passes_S182)
{
    open_gateway(2);
    put(0, "a");
    ck_assert_str_eq(go(), "0:a ");
    ck_assert_int_eq(tide_gateway_mark(g, 5), 0);
    put(1, "b");
    ck_assert_str_eq(go(), "1:b ");
    ck_assert(tide_gateway_close(g, 5));
    put(0, "c");
    ck_assert_str_eq(go(), "");
    ck_assert_uint_gt(tide_gateway_held(g), 0);
    tide_gateway_free(g);
}
END_TEST

/* S182: what is put after the snapshot waits for the subtask's ack, for the abort, or for nothing
 * any more. */
START_TEST(after_the_snapshot_waits_S182)
{
    open_gateway(3);
    snapshot(1);
    put(0, "a");
    put(1, "b");
    put(2, "c");
    ck_assert_str_eq(go(), "");
    tide_gateway_release(g, 1, 1, 1);
    ck_assert_str_eq(go(), "1:b ");
    put(1, "d"); /* released: it passes at once */
    put(0, "e");
    ck_assert_str_eq(go(), "1:d ");
    tide_gateway_open(g, 1); /* aborted, or complete */
    ck_assert_str_eq(go(), "0:a 0:e 2:c ");
    snapshot(2);
    put(0, "f");
    tide_gateway_reset(g); /* restored: what was held is gone, the gateway is open */
    ck_assert_str_eq(go(), "");
    put(0, "g");
    ck_assert_str_eq(go(), "0:g ");
    ck_assert_uint_eq(tide_gateway_held(g), 0);
    tide_gateway_free(g);
}
END_TEST

/* S184: two snapshots in a row, the first good or aborted: events 0, 1, 2, 3 keep their order. */
START_TEST(order_over_two_snapshots_S184)
{
    for (int aborted = 0; aborted < 2; aborted++) {
        open_gateway(1);
        put(0, "0");
        snapshot(1);
        put(0, "1");
        ck_assert_str_eq(go(), "0:0 ");
        if (!aborted) tide_gateway_release(g, 1, 0, 1);
        tide_gateway_open(g, 1);
        put(0, "2");
        ck_assert_str_eq(go(), "0:1 0:2 ");
        snapshot(2);
        put(0, "3");
        ck_assert_str_eq(go(), "");
        tide_gateway_open(g, 2);
        ck_assert_str_eq(go(), "0:3 ");
        tide_gateway_free(g);
    }
}
END_TEST

/* S185: events that are not confirmed delay the snapshot. */
START_TEST(unconfirmed_delays_S185)
{
    open_gateway(2);
    put(0, "a");
    put(1, "b");
    go();
    snapshot(1);
    put(0, "c"); /* not before it */
    ck_assert_int_eq(tide_gateway_settled(g, 1), TIDE_EAGAIN);
    tide_gateway_confirm(g, 2, false);
    ck_assert_int_eq(tide_gateway_settled(g, 1), TIDE_EAGAIN);
    tide_gateway_confirm(g, 77, false); /* nobody's */
    tide_gateway_confirm(g, 1, false);
    tide_gateway_confirm(g, 1, false); /* twice */
    ck_assert_int_eq(tide_gateway_settled(g, 1), 0);
    tide_gateway_free(g);
}
END_TEST

/* S185: one that may go and was not taken yet counts as well. */
START_TEST(not_taken_delays_S185)
{
    open_gateway(1);
    put(0, "a");
    snapshot(1);
    tide_gateway_confirm(g, 1, false); /* it cannot be, it never went */
    ck_assert_int_eq(tide_gateway_settled(g, 1), TIDE_EAGAIN);
    ck_assert_str_eq(go(), "0:a ");
    confirm_all();
    ck_assert_int_eq(tide_gateway_settled(g, 1), 0);
    tide_gateway_free(g);
}
END_TEST

/* S185: a lost event fails the snapshot, whether it was lost before or after the trigger, and each
 * one after that until reset. */
START_TEST(lost_fails_S185)
{
    for (int before = 0; before < 2; before++) {
        open_gateway(1);
        put(0, "a");
        go();
        if (before) tide_gateway_confirm(g, 1, true);
        snapshot(1);
        if (!before) tide_gateway_confirm(g, 1, true);
        ck_assert_int_eq(tide_gateway_settled(g, 1), TIDE_EIO);
        ck_assert(tide_gateway_failed(g));
        tide_gateway_open(g, 1);
        snapshot(2);
        ck_assert_int_eq(tide_gateway_settled(g, 2), TIDE_EIO);
        tide_gateway_reset(g);
        snapshot(3);
        ck_assert_int_eq(tide_gateway_settled(g, 3), 0);
        tide_gateway_free(g);
    }
}
END_TEST

/* A snapshot that comes when its round was aborted must not close the gateway. */
START_TEST(late_does_not_close)
{
    open_gateway(1);
    ck_assert_int_eq(tide_gateway_mark(g, 1), 0);
    tide_gateway_open(g, 1);
    ck_assert(!tide_gateway_close(g, 1));
    ck_assert_int_eq(tide_gateway_settled(g, 1), TIDE_ESTALE);
    put(0, "a");
    ck_assert_str_eq(go(), "0:a ");
    ck_assert_int_eq(tide_gateway_mark(g, 2), 0);
    tide_gateway_lowest(g, 3); /* nobody told how it ended */
    ck_assert(!tide_gateway_close(g, 2));
    tide_gateway_free(g);
}
END_TEST

/* A subtask that acks before the coordinator has: it is not held back by that round. */
START_TEST(early_ack_is_remembered)
{
    open_gateway(2);
    ck_assert_int_eq(tide_gateway_mark(g, 1), 0);
    tide_gateway_release(g, 1, 0, 1);
    ck_assert(tide_gateway_close(g, 1));
    put(0, "a");
    put(1, "b");
    ck_assert_str_eq(go(), "0:a ");
    tide_gateway_free(g);
}
END_TEST

START_TEST(ids_must_rise)
{
    open_gateway(1);
    ck_assert_int_eq(tide_gateway_mark(g, 5), 0);
    ck_assert_int_eq(tide_gateway_mark(g, 5), TIDE_EINVAL);
    ck_assert_int_eq(tide_gateway_mark(g, 4), TIDE_EINVAL);
    tide_gateway_reset(g); /* another attempt, perhaps of an older copy of the store */
    ck_assert_int_eq(tide_gateway_mark(g, 2), 0);
    tide_gateway_reset(g);
    for (uint64_t i = 0; i < TIDE_GATEWAY_ROUNDS_MAX; i++)
        ck_assert_int_eq(tide_gateway_mark(g, 6 + i), 0);
    ck_assert_int_eq(tide_gateway_mark(g, 1000), TIDE_EBUSY);
    tide_gateway_open(g, 30);
    ck_assert_int_eq(tide_gateway_mark(g, 1000), 0);
    tide_gateway_free(g);
}
END_TEST

/* What an older round holds back was put before a younger one's snapshot: that waits for it. A
 * snapshot that comes after a younger one's would lack what that one holds back. */
START_TEST(rounds_in_order)
{
    open_gateway(1);
    snapshot(1);
    put(0, "a");
    snapshot(2);
    ck_assert_int_eq(tide_gateway_settled(g, 1), 0);
    ck_assert_int_eq(tide_gateway_settled(g, 2), TIDE_EAGAIN);
    tide_gateway_release(g, 1, 0, 1);
    ck_assert_str_eq(go(), "0:a ");
    ck_assert_int_eq(tide_gateway_settled(g, 2), TIDE_EAGAIN);
    confirm_all();
    ck_assert_int_eq(tide_gateway_settled(g, 2), 0);
    ck_assert_int_eq(tide_gateway_mark(g, 3), 0);
    ck_assert_int_eq(tide_gateway_mark(g, 4), 0);
    ck_assert(tide_gateway_close(g, 4));
    ck_assert(!tide_gateway_close(g, 3));
    tide_gateway_free(g);
}
END_TEST

/* Several rounds block at once: the oldest sends what it holds, a younger one that goes first
 * leaves its events behind those of the next older one. */
START_TEST(several_rounds_keep_order)
{
    open_gateway(1);
    snapshot(1);
    put(0, "a");
    snapshot(2);
    put(0, "b");
    snapshot(3);
    put(0, "c");
    tide_gateway_open(g, 2);
    ck_assert_str_eq(go(), "");
    put(0, "d");
    tide_gateway_open(g, 1);
    ck_assert_str_eq(go(), "0:a 0:b ");
    tide_gateway_release(g, 3, 0, 1);
    ck_assert_str_eq(go(), "0:c 0:d ");
    snapshot(4);
    snapshot(5);
    put(0, "e");
    tide_gateway_open(g, 5);
    ck_assert_str_eq(go(), "");
    tide_gateway_open(g, 4);
    ck_assert_str_eq(go(), "0:e ");
    tide_gateway_free(g);
}
END_TEST

/* What is held is bounded, as is one event; the next one fits when others have gone. */
START_TEST(full_is_refused)
{
    static const uint8_t big[TIDE_GATEWAY_EVENT_MAX + 1];
    ck_assert_int_eq(tide_gateway_new(2, 1000, &g), 0);
    ck_assert_int_eq(tide_gateway_put(g, 2, (struct tide_bytes){big, 1}), TIDE_EINVAL);
    ck_assert_int_eq(tide_gateway_put(g, 0, (struct tide_bytes){big, sizeof big}), TIDE_ETOOBIG);
    ck_assert_int_eq(tide_gateway_put(g, 0, (struct tide_bytes){big, 1000}), TIDE_EBUSY);
    snapshot(1);
    int n = 0;
    while (tide_gateway_put(g, 0, (struct tide_bytes){big, 100}) == 0)
        n++;
    ck_assert_int_gt(n, 3);
    ck_assert_int_lt(n, 10);
    ck_assert_int_eq(tide_gateway_put(g, 1, (struct tide_bytes){big, 100}), TIDE_EBUSY);
    tide_gateway_open(g, 1);
    ck_assert_int_eq(tide_gateway_put(g, 1, (struct tide_bytes){big, 100}), TIDE_EBUSY);
    struct tide_gateway_event e;
    ck_assert(tide_gateway_next(g, &e));
    ck_assert_int_eq(tide_gateway_put(g, 1, (struct tide_bytes){big, 100}), 0);
    ck_assert_int_eq(tide_gateway_put(g, 1, (struct tide_bytes){NULL, 0}), TIDE_EBUSY);
    fine();
    tide_gateway_free(g);
}
END_TEST

/* Some subtasks begin anew: what was on its way to them is neither waited for nor sent. */
START_TEST(subtasks_begin_anew)
{
    open_gateway(3);
    put(0, "a");
    put(1, "b");
    go();
    put(1, "c"); /* may go, not taken */
    put(2, "d");
    snapshot(1);
    put(1, "e"); /* held */
    put(2, "f");
    tide_gateway_confirm(g, 1, false);
    tide_gateway_reset_subtasks(g, 1, 1);
    ck_assert_str_eq(go(), "2:d ");
    ck_assert_int_eq(tide_gateway_settled(g, 1), TIDE_EAGAIN);
    tide_gateway_confirm(g, 2, true); /* nobody minds */
    tide_gateway_confirm(g, 4, false);
    ck_assert_int_eq(tide_gateway_settled(g, 1), 0);
    put(1, "g"); /* what it is sent from now on it has to have */
    ck_assert_str_eq(go(), "1:g ");
    tide_gateway_open(g, 1);
    ck_assert_str_eq(go(), "2:f ");
    tide_gateway_free(g);
}
END_TEST

/* Subtasks that are not there yet: what is sent to them waits until they are, in order, and goes
 * behind nothing that was put later; what others get passes. */
START_TEST(absent_subtasks_are_waited_for)
{
    open_gateway(3);
    put(1, "a");
    tide_gateway_reset_subtasks(g, 1, 2);
    tide_gateway_pause_subtasks(g, 1, 2);
    put(1, "b");
    put(0, "c");
    put(2, "d");
    ck_assert_str_eq(go(), "0:c ");
    put(1, "e");
    fine();
    ck_assert_str_eq(go(), "");
    tide_gateway_reset_subtasks(g, 2, 1); /* that one once more */
    tide_gateway_resume(g);
    put(1, "f");
    ck_assert_str_eq(go(), "1:b 1:e 1:f ");
    tide_gateway_pause_subtasks(g, 0, 1);
    put(0, "g");
    tide_gateway_reset(g); /* all are there again */
    put(0, "h");
    ck_assert_str_eq(go(), "0:h ");
    tide_gateway_free(g);
}
END_TEST

/* ---- against a model: per subtask a list of events and, per round, where it stands */

#define SUBTASKS 3u
#define ROUNDS 6u

static uint64_t seed;

static unsigned below(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

struct model {
    unsigned sent[SUBTASKS];     /* put so far: events are numbered per subtask */
    unsigned received[SUBTASKS]; /* gone so far */
    struct {
        bool marked, closed, acked[SUBTASKS];
        unsigned at[SUBTASKS]; /* what the coordinator's snapshot says was sent */
    } round[ROUNDS];
};

/* How many events of the subtask may have gone. */
static unsigned limit(const struct model *m, uint32_t subtask)
{
    unsigned most = m->sent[subtask];
    for (unsigned r = 0; r < ROUNDS; r++)
        if (m->round[r].marked && m->round[r].closed && !m->round[r].acked[subtask] &&
            m->round[r].at[subtask] < most)
            most = m->round[r].at[subtask];
    return most;
}

static void take(struct model *m)
{
    struct tide_gateway_event e;
    while (tide_gateway_next(g, &e)) {
        unsigned number;
        memcpy(&number, e.bytes.data, sizeof number);
        ck_assert_msg(number == m->received[e.subtask], "subtask %u gets event %u after %u",
                      e.subtask, number, m->received[e.subtask]);
        m->received[e.subtask]++;
        tide_gateway_confirm(g, e.id, false);
    }
    for (uint32_t i = 0; i < SUBTASKS; i++)
        ck_assert_msg(m->received[i] == limit(m, i), "subtask %u has %u events, %u may have gone",
                      i, m->received[i], limit(m, i));
    /* settled: every subtask has what the snapshot says was sent */
    for (unsigned r = 0; r < ROUNDS; r++) {
        bool all = true;
        for (uint32_t i = 0; i < SUBTASKS; i++)
            all = all && m->received[i] >= m->round[r].at[i];
        int want = !m->round[r].marked || !m->round[r].closed ? TIDE_ESTALE : all ? 0 : TIDE_EAGAIN;
        ck_assert_int_eq(tide_gateway_settled(g, r + 1), want);
    }
}

static void one_history(void)
{
    static struct model m;
    unsigned next = 0;
    m = (struct model){0};
    open_gateway(SUBTASKS);
    for (int step = 0; step < 60; step++) {
        unsigned r = below(ROUNDS);
        uint32_t i = below(SUBTASKS);
        switch (below(6)) {
        case 0:
        case 1:
            ck_assert_int_eq(
                tide_gateway_put(g, i,
                                 (struct tide_bytes){(uint8_t *)&m.sent[i], sizeof(unsigned)}),
                0);
            m.sent[i]++;
            break;
        case 2:
            if (next == ROUNDS) break;
            ck_assert_int_eq(tide_gateway_mark(g, next + 1), 0);
            m.round[next++].marked = true;
            break;
        case 3:
            ck_assert(tide_gateway_close(g, r + 1) == m.round[r].marked);
            if (!m.round[r].marked || m.round[r].closed) break;
            for (unsigned older = 0; older < r; older++)
                if (!m.round[older].closed) m.round[older].marked = false;
            m.round[r].closed = true;
            memcpy(m.round[r].at, m.sent, sizeof m.sent);
            break;
        case 4:
            tide_gateway_release(g, r + 1, i, 1);
            m.round[r].acked[i] |= m.round[r].marked;
            break;
        default:
            if (below(3)) break;
            tide_gateway_open(g, r + 1);
            if (m.round[r].marked) m.round[r].marked = m.round[r].closed = false;
        }
        fine();
        take(&m);
    }
    tide_gateway_free(g);
}

/* S187: what a coordinator's snapshot says was sent is what each subtask has when it acks. */
START_TEST(the_cut_is_exact_S187)
{
    for (seed = 1; seed < 20000; seed += 7) {
        uint64_t before = seed;
        one_history();
        seed = before;
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {before_the_snapshot_passes_S182,
                                  after_the_snapshot_waits_S182,
                                  order_over_two_snapshots_S184,
                                  unconfirmed_delays_S185,
                                  not_taken_delays_S185,
                                  lost_fails_S185,
                                  late_does_not_close,
                                  early_ack_is_remembered,
                                  ids_must_rise,
                                  rounds_in_order,
                                  several_rounds_keep_order,
                                  full_is_refused,
                                  subtasks_begin_anew,
                                  absent_subtasks_are_waited_for,
                                  the_cut_is_exact_S187};
    Suite *suite = suite_create("gateway");
    TCase *all = tcase_create("gateway");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(all, tests[i]);
    tcase_set_timeout(all, 60);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

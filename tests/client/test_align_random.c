/* S197: random interleavings of records and barriers, against a model that counts: no loss, no mix.
 *
 * A task with up to five channels. What its upstreams send on each is drawn beforehand: records,
 * and one barrier or cancel marker of each round, in order. The task receives it into a queue,
 * announces what it likes, reads when it likes, and does what the aligner says. For every round
 * that it might ack:
 *
 *   aligned    what it had processed at the snapshot is what stood before the barrier, per channel
 *   unaligned  so is what it had processed, with what was captured behind it, without a gap
 *   counted    it had processed at least that
 *
 * Barriers leave in order of rounds, a round is snapshotted once, and when all channels have ended
 * no triggered round is without an answer and no channel is blocked. */
#include <stdio.h>
#include <stdlib.h>

#include "client/align.h"
#include "proto/barrier.h"
#include "tests/client/lib_run.h"

#define CHANNELS 5u
#define ROUNDS 12u
#define ITEMS 120u

enum kind { RECORD, BARRIER, CANCEL };
struct item {
    enum kind kind;
    uint32_t round, flags;
    bool taken; /* a barrier that went ahead: its place is left empty */
};

struct lane {
    struct item item[ITEMS];
    uint32_t n, received, next; /* next: to be read; items in between are queued */
    uint32_t processed;         /* records */
    uint32_t before[ROUNDS];    /* records before the round's barrier; UINT32_MAX: it has none */
    bool blocked, ended;
};

struct model {
    uint64_t seed, now, last_forward;
    struct tide_align *a;
    uint32_t channels, promotable;
    struct lane lane[CHANNELS];
    struct {
        enum tide_align_mode mode;
        bool triggered, snapshotted, discarded, ackable, asked, passed;
        uint32_t state[CHANNELS], captured[CHANNELS], outputs;
        bool had_ended[CHANNELS];
    } round[ROUNDS];
};

static uint64_t rnd(struct model *m, uint64_t n)
{
    m->seed ^= m->seed << 13;
    m->seed ^= m->seed >> 7;
    m->seed ^= m->seed << 17;
    return m->seed % n;
}

#define must(m, fact)                                                                              \
    do {                                                                                           \
        if (!(fact)) ck_abort_msg("seed %llu, %s", first_seed, #fact);                             \
    } while (0)
static unsigned long long first_seed;
static unsigned acked[4], captures; /* in each mode; of them captured */

static void plan(struct model *m)
{
    m->channels = 1 + (uint32_t)rnd(m, CHANNELS);
    m->promotable = (uint32_t)rnd(m, 3);
    uint64_t style = rnd(m, 6); /* one mode for all rounds, or any */
    for (uint32_t r = 1; r < ROUNDS; r++)
        m->round[r].mode = (enum tide_align_mode)(style < 4 ? style : rnd(m, 4));
    for (uint32_t c = 0; c < m->channels; c++) {
        struct lane *l = &m->lane[c];
        uint32_t records = 0;
        for (uint32_t r = 1; r < ROUNDS; r++) {
            for (uint64_t k = rnd(m, 6); k; k--, records++)
                l->item[l->n++] = (struct item){.kind = RECORD};
            l->before[r] = UINT32_MAX;
            if (rnd(m, 12) == 0) { /* given up upstream */
                if (rnd(m, 3)) l->item[l->n++] = (struct item){.kind = CANCEL, .round = r};
                continue;
            }
            l->before[r] = records;
            uint32_t flags = 0;
            if (m->round[r].mode == TIDE_ALIGN_COUNTED) flags = TIDE_BARRIER_COUNTED;
            if (m->round[r].mode == TIDE_ALIGN_UNALIGNED) flags = TIDE_BARRIER_UNALIGNED;
            if (m->round[r].mode == TIDE_ALIGN_TIMEOUT && rnd(m, 4) == 0)
                flags = TIDE_BARRIER_UNALIGNED;
            l->item[l->n++] = (struct item){.kind = BARRIER, .round = r, .flags = flags};
        }
        for (uint64_t k = rnd(m, 4); k; k--)
            l->item[l->n++] = (struct item){.kind = RECORD};
    }
}

/* ---- what the aligner says */

static void check_ackable(struct model *m, uint32_t r)
{
    must(m, m->round[r].snapshotted && !m->round[r].discarded && !m->round[r].ackable);
    m->round[r].ackable = true;
    acked[m->round[r].mode]++;
    captures += m->round[r].passed;
    for (uint32_t c = 0; c < m->channels; c++) {
        const struct lane *l = &m->lane[c];
        uint32_t want = l->before[r], have = m->round[r].state[c] + m->round[r].captured[c];
        if (want == UINT32_MAX) { /* its end stood for the barrier */
            must(m, l->ended);
            want = l->processed;
        }
        if (m->round[r].mode == TIDE_ALIGN_COUNTED)
            must(m, have >= want);
        else
            must(m, have == want);
        if (!m->round[r].passed) must(m, !m->round[r].captured[c]);
    }
}

static void feed(struct model *m, uint32_t c, const struct item *i);

static void overtake(struct model *m, uint32_t c, uint32_t r)
{
    struct lane *l = &m->lane[c];
    for (uint32_t i = l->next; i < l->received; i++) {
        struct item *it = &l->item[i];
        if (it->kind == RECORD) m->round[r].captured[c]++;
        if (it->kind == RECORD || it->taken) continue;
        must(m, it->kind == BARRIER && it->round == r); /* none is overtaken */
        it->taken = true;
        feed(m, c, it);
        return;
    }
    ck_abort_msg("seed %llu: no such barrier is queued", first_seed);
}

static void took_snapshot(struct model *m, const struct tide_align_step *s)
{
    uint32_t r = (uint32_t)s->round;
    must(m, m->last_forward == r && m->round[r].triggered);
    must(m, !m->round[r].snapshotted && !m->round[r].discarded);
    m->round[r].snapshotted = true;
    m->round[r].passed = s->unaligned;
    if (s->unaligned) must(m, s->waits && m->round[r].mode >= TIDE_ALIGN_UNALIGNED);
    for (uint32_t c = 0; c < m->channels; c++)
        m->round[r].state[c] = m->lane[c].processed;
    if (!s->waits) check_ackable(m, r);
    if (s->waits && !s->unaligned) m->round[r].outputs = m->promotable;
}

/* Takes all steps at first: what is fed by an overtaking brings steps of its own. */
static void steps(struct model *m)
{
    struct tide_align_step all[64];
    uint32_t n = 0;
    while (tide_align_next(m->a, &all[n]))
        must(m, ++n < 64);
    for (uint32_t i = 0; i < n; i++) {
        const struct tide_align_step *s = &all[i];
        uint32_t r = (uint32_t)s->round;
        switch (s->what) {
        case TIDE_ALIGN_BLOCK:
            must(m, !m->lane[s->channel].blocked && !m->lane[s->channel].ended);
            m->lane[s->channel].blocked = true;
            break;
        case TIDE_ALIGN_UNBLOCK:
            must(m, m->lane[s->channel].blocked);
            m->lane[s->channel].blocked = false;
            break;
        case TIDE_ALIGN_FORWARD:
            must(m, r > m->last_forward);
            must(m, s->unaligned == (s->flags == TIDE_BARRIER_UNALIGNED));
            m->last_forward = r;
            break;
        case TIDE_ALIGN_SNAPSHOT: took_snapshot(m, s); break;
        case TIDE_ALIGN_CANCEL: break;
        case TIDE_ALIGN_DISCARD:
            must(m, !m->round[r].ackable);
            m->round[r].discarded = true;
            break;
        case TIDE_ALIGN_ENDED: must(m, tide_align_open(m->a) == 0); break;
        case TIDE_ALIGN_OVERTAKE: overtake(m, s->channel, r); break;
        case TIDE_ALIGN_PROMOTE: m->round[r].outputs = 0; break;
        case TIDE_ALIGN_ACKABLE: check_ackable(m, r); break;
        }
    }
}

/* ---- what happens */

static void feed(struct model *m, uint32_t c, const struct item *i)
{
    int rc = i->kind == CANCEL ? tide_align_cancel(m->a, c, i->round, ++m->now)
                               : tide_align_barrier(m->a, c, i->round, i->flags, ++m->now);
    must(m, rc == 0);
    steps(m);
}

static void read_one(struct model *m, uint32_t c)
{
    struct lane *l = &m->lane[c];
    if (l->blocked || l->next == l->received) return;
    const struct item *i = &l->item[l->next++];
    if (i->taken) return;
    if (i->kind != RECORD) {
        feed(m, c, i);
        return;
    }
    uint64_t round = tide_align_capturing(m->a);
    if (tide_align_record(m->a, c, 1)) m->round[round].captured[c]++;
    l->processed++;
}

static void announce(struct model *m, uint32_t c)
{
    const struct lane *l = &m->lane[c];
    for (uint32_t i = l->next; i < l->received; i++) {
        const struct item *it = &l->item[i];
        if (it->kind == RECORD || it->taken) continue;
        if (it->kind == CANCEL) return;
        must(m, tide_align_announce(m->a, c, it->round, it->flags, ++m->now) == 0);
        steps(m);
        return;
    }
}

static void trigger(struct model *m, uint32_t r)
{
    struct tide_align_trigger t = {.round = r,
                                   .deadline_us = rnd(m, 8) ? 100000 : m->now + rnd(m, 100),
                                   .mode = m->round[r].mode,
                                   .switch_us = m->now + rnd(m, 60)};
    m->round[r].triggered = true;
    must(m, tide_align_trigger(m->a, &t, ++m->now) == 0);
    steps(m);
}

static void end(struct model *m, uint32_t c)
{
    struct lane *l = &m->lane[c];
    if (l->ended || l->next < l->n) return;
    l->ended = true;
    l->blocked = false;
    must(m, tide_align_end(m->a, c, ++m->now) == 0);
    steps(m);
}

static void anything(struct model *m, uint32_t *next_trigger)
{
    uint32_t c = (uint32_t)rnd(m, m->channels), r = 1 + (uint32_t)rnd(m, ROUNDS - 1);
    struct lane *l = &m->lane[c];
    switch (rnd(m, 40)) {
    case 0:
        if (*next_trigger < ROUNDS) trigger(m, (*next_trigger)++);
        break;
    case 1: must(m, tide_align_tick(m->a, m->now += rnd(m, 20), 200) == 0); break;
    case 2: must(m, tide_align_turn(m->a, r, ++m->now) == 0); break;
    case 3:
        if (rnd(m, 12) || m->round[r].ackable) break;
        must(m, tide_align_abort(m->a, r, true, NULL, ++m->now) == 0);
        m->round[r].discarded = true; /* some are only remembered */
        break;
    case 4:
        if (!m->round[r].outputs) break;
        m->round[r].outputs--;
        must(m, tide_align_sent(m->a, r, ++m->now) == 0);
        break;
    case 5:
    case 6:
    case 7: announce(m, c); return;
    case 8: end(m, c); return;
    default:
        if (rnd(m, 2))
            l->received += l->received < l->n;
        else
            read_one(m, c);
        return;
    }
    steps(m);
}

static void one(uint64_t seed)
{
    struct model model = {.seed = seed * 0x9e3779b97f4a7c15u + 1, .now = 1}, *m = &model;
    uint32_t next_trigger = 1;
    first_seed = seed;
    plan(m);
    ck_assert_int_eq(tide_align_new(m->channels, &m->a), 0);
    tide_align_promotable(m->a, m->promotable);
    for (unsigned k = 0; k < 1500; k++)
        anything(m, &next_trigger);
    while (next_trigger < ROUNDS)
        trigger(m, next_trigger++);
    must(m, tide_align_tick(m->a, m->now += 200, 200) == 0);
    steps(m);
    for (unsigned k = 0; k < 300; k++)
        for (uint32_t c = 0; c < m->channels; c++) {
            m->lane[c].received = m->lane[c].n;
            read_one(m, c);
            end(m, c);
        }
    must(m, tide_align_open(m->a) == 0);
    must(m, tide_align_tick(m->a, 200000, 200) == 0);
    steps(m);
    for (uint32_t r = 1; r < ROUNDS; r++)
        must(m, m->round[r].ackable || m->round[r].discarded);
    for (uint32_t c = 0; c < m->channels; c++)
        must(m, !m->lane[c].blocked);
    must(m, tide_align_deadline(m->a, 200) == UINT64_MAX);
    tide_align_free(m->a);
}

/* S197: also with more channels than two, and in every mode. */
START_TEST(s197_random_interleavings_lose_and_mix_nothing)
{
    unsigned seeds = getenv("ALIGN_SEEDS") ? (unsigned)atoi(getenv("ALIGN_SEEDS")) : 10000;
    for (unsigned seed = 1; seed <= seeds; seed++)
        one(seed);
    for (unsigned mode = 0; mode < 4; mode++) /* else it means nothing */
        ck_assert_uint_gt(acked[mode], seeds);
    ck_assert_uint_gt(captures, seeds);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("align_random");
    add_test(suite, s197_random_interleavings_lose_and_mix_nothing);
    return run_suite(suite);
}

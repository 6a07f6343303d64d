/* Who restores what: Flink's vectors, and 10,000 layouts at random in which every element arrives
 * exactly where it belongs, once. */
#include <string.h>

#include "state/assign.h"
#include "tests/proto/lib_random.h"
#include "tests/proto/lib_run.h"

#define SOURCES 40u
#define PARTS_MAX 40u

/* Check's own assertions are too slow for tens of millions. */
static void same(uint64_t have, uint64_t want)
{
    if (have != want)
        ck_abort_msg("%llu is not %llu", (unsigned long long)have, (unsigned long long)want);
}

struct taken {
    struct tide_piece pieces[SOURCES];
    uint32_t n;
};

static int take(void *user, const struct tide_piece *p)
{
    struct taken *t = user;
    if (t->n == SOURCES) ck_abort_msg("more pieces than sources");
    t->pieces[t->n++] = *p;
    return 0;
}

static struct taken assign(enum tide_states_kind kind, const struct tide_source_part *sources,
                           uint32_t n, uint32_t had, uint32_t p, uint32_t max, uint32_t subtask,
                           uint32_t *start)
{
    struct taken t = {.n = 0};
    struct tide_assign a = {kind, sources, n, had, p, max, subtask};
    if (tide_assign(&a, start, take, &t)) ck_abort_msg("refused");
    return t;
}

static void is_piece(const struct taken *t, uint32_t i, uint32_t source, uint64_t first,
                     uint64_t count)
{
    ck_assert_uint_lt(i, t->n);
    ck_assert_uint_eq(t->pieces[i].source, source);
    ck_assert_uint_eq(t->pieces[i].first, first);
    ck_assert_uint_eq(t->pieces[i].count, count);
}

/* a={h0:2,h1:2}, 3 tasks -> s0 h0[0,1], s1 h1[0], s2 h1[1] */
START_TEST(split_vectors)
{
    struct tide_source_part a[2] = {{.subtask = 0, .rows = 2}, {.subtask = 1, .rows = 2}};
    static const struct tide_piece want[3] = {{0, 0, 2}, {1, 0, 1}, {1, 1, 1}};
    for (uint32_t s = 0; s < 3; s++) {
        uint32_t start = 0;
        struct taken t = assign(TIDE_SPLIT, a, 2, 2, 3, 128, s, &start);
        ck_assert_uint_eq(t.n, 1);
        is_piece(&t, 0, want[s].source, want[s].first, want[s].count);
        ck_assert_uint_eq(start, 1);
    }
    /* a={h0:5}, b={h0:3}, 4 tasks -> s0 a[0,1]; s1 a[2] b[0]; s2 a[3] b[1]; s3 a[4] b[2] */
    struct tide_source_part five = {.rows = 5}, three = {.rows = 3};
    for (uint32_t s = 0; s < 4; s++) {
        uint32_t start = 0;
        struct taken t = assign(TIDE_SPLIT, &five, 1, 1, 4, 128, s, &start);
        is_piece(&t, 0, 0, s ? s + 1 : 0, s ? 1 : 2);
        t = assign(TIDE_SPLIT, &three, 1, 1, 4, 128, s, &start);
        ck_assert_uint_eq(t.n, s != 0);
        if (s) is_piece(&t, 0, 0, s - 1, 1);
    }
}
END_TEST

/* S157: union 2 to 3, 2 to 1, 2 to 2: everyone gets everything. */
START_TEST(union_goes_to_everyone)
{
    struct tide_source_part a[2] = {{.subtask = 0, .rows = 2}, {.subtask = 1, .rows = 3}};
    for (uint32_t p = 1; p <= 3; p++)
        for (uint32_t s = 0; s < p; s++) {
            uint32_t start = 0;
            struct taken t = assign(TIDE_UNION, a, 2, 2, p, 128, s, &start);
            ck_assert_uint_eq(t.n, 2);
            is_piece(&t, 0, 0, 0, 2);
            is_piece(&t, 1, 1, 0, 3);
        }
}
END_TEST

/* S158: broadcast: everyone gets one copy. */
START_TEST(broadcast_gives_one_copy)
{
    struct tide_source_part a[3] = {
        {.subtask = 0, .rows = 4}, {.subtask = 1, .rows = 4}, {.subtask = 2, .rows = 4}};
    for (uint32_t p = 1; p <= 7; p++)
        for (uint32_t s = 0; s < p; s++) {
            uint32_t start = 0;
            struct taken t = assign(TIDE_BROADCAST, a, 3, 3, p, 128, s, &start);
            ck_assert_uint_eq(t.n, 1);
            is_piece(&t, 0, s % 3, 0, 4);
        }
}
END_TEST

/* ---- at random */

struct layout {
    uint32_t had, p, max;
    struct tide_source_part sources[PARTS_MAX];
};

static void draw(struct rng *rng, struct layout *l)
{
    l->had = 1 + rng_below(rng, PARTS_MAX);
    l->p = rng_below(rng, 4) ? 1 + rng_below(rng, PARTS_MAX) : l->had;
    l->max = PARTS_MAX + rng_below(rng, 300);
    for (uint32_t i = 0; i < l->had; i++) {
        struct tide_source_part *s = &l->sources[i];
        *s = (struct tide_source_part){.subtask = i, .rows = rng_below(rng, 9)};
        tide_key_group_range(i, l->had, l->max, &s->group_first, &s->group_count);
    }
}

static void check_keyed(const struct layout *l)
{
    uint8_t seen[PARTS_MAX + 300] = {0};
    for (uint32_t s = 0; s < l->p; s++) {
        uint32_t start = 0;
        struct taken t = assign(TIDE_MAP, l->sources, l->had, l->had, l->p, l->max, s, &start);
        for (uint32_t i = 0; i < t.n; i++)
            for (uint64_t g = t.pieces[i].first; g < t.pieces[i].first + t.pieces[i].count; g++) {
                same(tide_key_group_owner((uint32_t)g, l->p, l->max), s);
                same(tide_key_group_owner((uint32_t)g, l->had, l->max), t.pieces[i].source);
                seen[g]++;
            }
    }
    for (uint32_t g = 0; g < l->max; g++)
        same(seen[g], 1);
}

/* Two split states of one operator: each element once, loads that differ by at most 1, in order. */
static void check_split(const struct layout *l, struct rng *rng)
{
    struct tide_source_part other[PARTS_MAX];
    uint8_t seen[2][PARTS_MAX][16] = {{{0}}};
    uint64_t least = UINT64_MAX, most = 0;
    memcpy(other, l->sources, sizeof other);
    for (uint32_t i = 0; i < l->had; i++)
        other[i].rows = rng_below(rng, 9);
    for (uint32_t s = 0; s < l->p; s++) {
        uint64_t load = 0;
        uint32_t start = 0;
        for (unsigned state = 0; state < 2; state++) {
            struct taken t = assign(TIDE_SPLIT, state ? other : l->sources, l->had, l->had, l->p,
                                    l->max, s, &start);
            for (uint32_t i = 0; i < t.n; i++) {
                const struct tide_piece *p = &t.pieces[i];
                if (i) same(p->source > t.pieces[i - 1].source, true);
                if (l->p == l->had) same(p->source, s);
                for (uint64_t k = p->first; k < p->first + p->count; k++)
                    seen[state][p->source][k]++;
                load += p->count;
            }
        }
        if (load < least) least = load;
        if (load > most) most = load;
    }
    if (l->p != l->had) ck_assert_uint_le(most - least, 1);
    for (uint32_t i = 0; i < l->had; i++)
        for (uint64_t k = 0; k < 16; k++) {
            same(seen[0][i][k], k < l->sources[i].rows);
            same(seen[1][i][k], k < other[i].rows);
        }
}

/* Everybody has every element of a union, and one copy of broadcast state. */
static void check_copies(const struct layout *l)
{
    for (uint32_t s = 0; s < l->p; s++) {
        uint32_t start = 0, full = 0;
        for (uint32_t i = 0; i < l->had; i++)
            full += l->sources[i].rows > 0;
        struct taken t = assign(TIDE_UNION, l->sources, l->had, l->had, l->p, l->max, s, &start);
        same(t.n, full);
        for (uint32_t i = 0; i < t.n; i++) {
            same(t.pieces[i].first, 0);
            same(t.pieces[i].count, l->sources[t.pieces[i].source].rows);
            if (i) same(t.pieces[i].source > t.pieces[i - 1].source, true);
        }
        t = assign(TIDE_BROADCAST, l->sources, l->had, l->had, l->p, l->max, s, &start);
        same(t.n, l->sources[s % l->had].rows > 0);
        if (t.n) same(t.pieces[0].source, s % l->had);
        if (t.n) same(t.pieces[0].count, l->sources[s % l->had].rows);
    }
}

/* ---- records in flight */

static uint32_t takers(const struct layout *l, const struct tide_flight_place *p, uint32_t *ret)
{
    uint32_t n = 0;
    for (uint32_t s = 0; s < l->p; s++)
        if (tide_assign_flight(p, l->p, l->max, s)) {
            *ret = s;
            n++;
        }
    return n;
}

/* Which channels of `channels` get it, as bits of channel numbers. */
static uint64_t channels_of(const struct tide_flight_place *p, uint32_t channels, uint32_t max)
{
    uint32_t first, step;
    uint64_t set = 0;
    tide_assign_channels(p, channels, max, &first, &step);
    same(step != 0, true);
    for (uint32_t c = first; c < channels; c += step)
        set |= UINT64_C(1) << c;
    return set;
}

static struct tide_flight_place draw_place(const struct layout *l, struct rng *rng)
{
    struct tide_flight_place p = {.output = rng_below(rng, 2),
                                  .route = TIDE_FLOW_KEYED + rng_below(rng, 3),
                                  .had_subtask = rng_below(rng, l->had),
                                  .had_parallelism = l->had,
                                  .group = rng_below(rng, l->max),
                                  .had_channels = 1 + rng_below(rng, PARTS_MAX)};
    p.had_channel = rng_below(rng, p.had_channels);
    return p;
}

/* A record goes to one task and there into one channel: its key's owner, or anybody, but all of a
 * channel to the same. Of a broadcast, everybody gets the copies that one task, or channel, had. */
static void check_flight(const struct layout *l, struct rng *rng)
{
    struct tide_flight_place p = draw_place(l, rng), other = p;
    const uint32_t channels = 1 + rng_below(rng, PARTS_MAX);
    uint32_t who = 0, again = 0;
    uint64_t all = channels == 64 ? UINT64_MAX : (UINT64_C(1) << channels) - 1, seen = 0;
    const uint32_t n = takers(l, &p, &who);
    if (p.route == TIDE_FLOW_BROADCAST && !p.output) {
        for (uint32_t s = 0; s < l->p; s++) {
            uint32_t copies = 0;
            for (other.had_subtask = 0; other.had_subtask < l->had; other.had_subtask++)
                copies += tide_assign_flight(&other, l->p, l->max, s);
            same(copies, 1);
        }
        return;
    }
    same(n, 1);
    if (p.route == TIDE_FLOW_KEYED && !p.output)
        same(who, tide_key_group_owner(p.group, l->p, l->max));
    if (l->p == l->had && (p.output || p.route == TIDE_FLOW_SPLIT)) same(who, p.had_subtask);
    if (p.output && p.route == TIDE_FLOW_BROADCAST) {
        for (other.had_channel = 0; other.had_channel < p.had_channels; other.had_channel++) {
            uint64_t set = channels_of(&other, channels, l->max);
            same(seen & set, 0);
            seen |= set;
        }
        same(seen, all);
        return;
    }
    seen = channels_of(&p, channels, l->max);
    same((seen & (seen - 1)) == 0 && seen && !(seen & ~all), true);
    if (p.output && p.route == TIDE_FLOW_KEYED)
        same(seen, UINT64_C(1) << tide_key_group_owner(p.group, channels, l->max));
    if (p.route == TIDE_FLOW_KEYED) return;
    other.group = rng_below(rng, l->max); /* another record of that channel stays behind it */
    same(takers(l, &other, &again), 1);
    same(again, who);
    same(channels_of(&other, channels, l->max), seen);
}

/* S155: 10,000 random layouts of keyed, split, union and broadcast state and of records in flight:
 * totals match per mode; when the parallelism changes loads differ by at most 1. */
START_TEST(every_element_is_restored_where_it_belongs_once)
{
    struct rng rng = {20261128};
    struct layout l;
    for (unsigned i = 0; i < 10000; i++) {
        draw(&rng, &l);
        check_keyed(&l);
        check_split(&l, &rng);
        check_copies(&l);
        for (unsigned k = 0; k < 8; k++)
            check_flight(&l, &rng);
    }
}
END_TEST

START_TEST(nonsense_is_refused)
{
    uint32_t start = 0;
    struct taken t = {.n = 0};
    struct tide_assign a = {
        .kind = TIDE_SPLIT, .parallelism = 2, .max_parallelism = 4, .subtask = 2};
    ck_assert_int_eq(tide_assign(&a, &start, take, &t), TIDE_EINVAL);
    a.parallelism = 0;
    ck_assert_int_eq(tide_assign(&a, &start, take, &t), TIDE_EINVAL);
    a.parallelism = 3;
    start = 3;
    ck_assert_int_eq(tide_assign(&a, &start, take, &t), TIDE_EINVAL);
    start = 0;
    a.kind = 0;
    ck_assert_int_eq(tide_assign(&a, &start, take, &t), TIDE_EINVAL);
    a.kind = TIDE_BROADCAST; /* of no copies */
    ck_assert_int_eq(tide_assign(&a, &start, take, &t), 0);
    ck_assert_uint_eq(t.n, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state_assign");
    add_test(s, split_vectors);
    add_test(s, union_goes_to_everyone);
    add_test(s, broadcast_gives_one_copy);
    add_test(s, every_element_is_restored_where_it_belongs_once);
    add_test(s, nonsense_is_refused);
    return run_suite(s);
}

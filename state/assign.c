/* The arithmetic of rescaling. */
#include "state/assign.h"

typedef int piece_visit(void *user, const struct tide_piece *p);

static int keyed(const struct tide_assign *a, piece_visit *f, void *user)
{
    uint32_t first, count;
    int rc = 0;
    tide_key_group_range(a->subtask, a->parallelism, a->max_parallelism, &first, &count);
    const uint64_t end = (uint64_t)first + count;
    for (uint32_t i = 0; !rc && i < a->n_sources; i++) {
        const struct tide_source_part *s = &a->sources[i];
        uint64_t from = s->group_first, to = from + s->group_count;
        if (from < first) from = first;
        if (to > end) to = end;
        if (from < to) rc = f(user, &(struct tide_piece){i, from, to - from});
    }
    return rc;
}

static int whole(const struct tide_assign *a, uint32_t i, piece_visit *f, void *user)
{
    uint64_t rows = a->sources[i].rows;
    return rows ? f(user, &(struct tide_piece){i, 0, rows}) : 0;
}

/* Rows first to first + count - 1 of all lists, one behind the other. */
static int slice(const struct tide_assign *a, uint64_t first, uint64_t count, piece_visit *f,
                 void *user)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && count && i < a->n_sources; i++) {
        uint64_t rows = a->sources[i].rows;
        if (first >= rows) {
            first -= rows;
            continue;
        }
        uint64_t n = rows - first < count ? rows - first : count;
        rc = f(user, &(struct tide_piece){i, first, n});
        first = 0;
        count -= n;
    }
    return rc;
}

static int split(const struct tide_assign *a, uint32_t *start, piece_visit *f, void *user)
{
    const uint32_t p = a->parallelism;
    uint64_t total = 0;
    if (a->had_parallelism == p) { /* everybody keeps their own */
        for (uint32_t i = 0; i < a->n_sources; i++)
            if (a->sources[i].subtask == a->subtask) return whole(a, i, f, user);
        return 0;
    }
    for (uint32_t i = 0; i < a->n_sources; i++)
        total += a->sources[i].rows;
    const uint64_t base = total / p, extra = total % p;
    const uint64_t turn = ((uint64_t)a->subtask + p - *start) % p;
    *start = (uint32_t)((*start + extra) % p);
    return slice(a, turn * base + (turn < extra ? turn : extra), base + (turn < extra), f, user);
}

static int all(const struct tide_assign *a, piece_visit *f, void *user)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < a->n_sources; i++)
        rc = whole(a, i, f, user);
    return rc;
}

int tide_assign(const struct tide_assign *a, uint32_t *start,
                int (*f)(void *user, const struct tide_piece *p), void *user)
{
    if (a->subtask >= a->parallelism || *start >= a->parallelism) return TIDE_EINVAL;
    switch (a->kind) {
    case TIDE_VALUE:
    case TIDE_LIST:
    case TIDE_MAP: return keyed(a, f, user);
    case TIDE_SPLIT: return split(a, start, f, user);
    case TIDE_UNION: return all(a, f, user);
    case TIDE_BROADCAST: return a->n_sources ? whole(a, a->subtask % a->n_sources, f, user) : 0;
    }
    return TIDE_EINVAL;
}

bool tide_assign_flight(const struct tide_flight_place *p, uint32_t parallelism,
                        uint32_t max_parallelism, uint32_t subtask)
{
    if (!p->output && p->route == TIDE_FLOW_KEYED)
        return tide_key_group_owner(p->group, parallelism, max_parallelism) == subtask;
    if (!p->output && p->route == TIDE_FLOW_BROADCAST)
        return subtask % p->had_parallelism == p->had_subtask;
    return p->had_subtask % parallelism == subtask;
}

void tide_assign_channels(const struct tide_flight_place *p, uint32_t channels,
                          uint32_t max_parallelism, uint32_t *ret_first, uint32_t *ret_step)
{
    *ret_step = channels; /* one */
    if (p->output && p->route == TIDE_FLOW_KEYED) {
        *ret_first = tide_key_group_owner(p->group, channels, max_parallelism);
    } else if (p->output && p->route == TIDE_FLOW_BROADCAST) {
        *ret_first = p->had_channel;
        *ret_step = p->had_channels;
    } else {
        *ret_first = p->had_channel % channels;
    }
}

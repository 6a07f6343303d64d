/* Building a job's spec. The first failure sticks; what the spec says as a whole (uids that exist,
 * cycles, bounds) is checked where it is used, with a sentence. */
#include <stdlib.h>
#include <string.h>

#include "client/worker_impl.h"
#include "proto/arena.h"

struct tide_spec {
    struct tide_arena arena; /* holds every string and message */
    Tide__JobSpec message;
    Tide__Checkpointing checkpointing;
    size_t cap_operators, cap_edges;
    ProtobufCBinaryData hooks[TIDE_HOOKS_MAX];
    int rc;
};

static ProtobufCBinaryData copy(struct tide_spec *s, const char *text)
{
    struct tide_bytes from = tide_bytes_of(text ? text : "");
    struct tide_bytes to = tide_arena_bytes(&s->arena, from);
    if (!to.data && from.len && !s->rc) s->rc = TIDE_ENOMEM;
    return (ProtobufCBinaryData){from.len, (uint8_t *)(uintptr_t)to.data};
}

/* Room for one more pointer. */
static bool grow(struct tide_spec *s, void ***items, size_t n, size_t *cap, size_t most)
{
    if (s->rc) return false;
    if (n == most) s->rc = TIDE_ETOOBIG;
    if (s->rc || n < *cap) return !s->rc;
    size_t more = *cap ? *cap * 2 : 16;
    void **bigger = realloc(*items, more * sizeof *bigger);
    if (!bigger) {
        s->rc = TIDE_ENOMEM;
        return false;
    }
    *items = bigger;
    *cap = more;
    return true;
}

int tide_spec_new(const char *job, struct tide_spec **ret)
{
    if (!job || !ret) return TIDE_EINVAL;
    struct tide_spec *s = calloc(1, sizeof *s);
    if (!s) return TIDE_ENOMEM;
    tide_arena_init(&s->arena, (size_t)32 << 20);
    tide__job_spec__init(&s->message);
    tide__checkpointing__init(&s->checkpointing);
    s->message.name = copy(s, job);
    *ret = s;
    return 0;
}

void tide_spec_free(struct tide_spec *s)
{
    if (!s) return;
    tide_arena_release(&s->arena);
    free(s->message.operators);
    free(s->message.edges);
    free(s);
}

int tide_spec_operator(struct tide_spec *s, const char *uid, uint32_t parallelism,
                       uint32_t max_parallelism)
{
    if (!s) return TIDE_EINVAL;
    if (!uid && !s->rc) s->rc = TIDE_EINVAL;
    void **items = (void **)s->message.operators;
    bool room = grow(s, &items, s->message.n_operators, &s->cap_operators, TIDE_OPERATORS_MAX);
    s->message.operators = (Tide__Operator **)items;
    if (!room) return s->rc;
    Tide__Operator *op = tide_arena_alloc(&s->arena, sizeof *op);
    if (!op) return s->rc = TIDE_ENOMEM;
    tide__operator__init(op);
    op->uid = copy(s, uid);
    op->parallelism = parallelism;
    op->max_parallelism = max_parallelism;
    s->message.operators[s->message.n_operators++] = op;
    return s->rc;
}

int tide_spec_edge(struct tide_spec *s, const char *from, const char *to, enum tide_pattern pattern)
{
    if (!s) return TIDE_EINVAL;
    if ((!from || !to) && !s->rc) s->rc = TIDE_EINVAL;
    void **items = (void **)s->message.edges;
    bool room = grow(s, &items, s->message.n_edges, &s->cap_edges, TIDE_EDGES_MAX);
    s->message.edges = (Tide__Edge **)items;
    if (!room) return s->rc;
    Tide__Edge *e = tide_arena_alloc(&s->arena, sizeof *e);
    if (!e) return s->rc = TIDE_ENOMEM;
    tide__edge__init(e);
    e->from = copy(s, from);
    e->to = copy(s, to);
    e->pattern = pattern == TIDE_POINTWISE    ? TIDE__EDGE_PATTERN__EDGE_POINTWISE
                 : pattern == TIDE_ALL_TO_ALL ? TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL
                                              : TIDE__EDGE_PATTERN__EDGE_UNSPECIFIED;
    s->message.edges[s->message.n_edges++] = e;
    return s->rc;
}

static Tide__Operator *find_operator(struct tide_spec *s, const char *uid)
{
    struct tide_bytes name = tide_bytes_of(uid ? uid : "");
    for (size_t i = 0; i < s->message.n_operators && !s->rc; i++) {
        Tide__Operator *op = s->message.operators[i];
        if (tide_bytes_equal(name, (struct tide_bytes){op->uid.data, op->uid.len})) return op;
    }
    if (!s->rc) s->rc = TIDE_ENOTFOUND;
    return NULL;
}

int tide_spec_coordinator(struct tide_spec *s, const char *uid)
{
    if (!s) return TIDE_EINVAL;
    Tide__Operator *op = find_operator(s, uid);
    if (op) op->coordinator = true;
    return s->rc;
}

int tide_spec_union_state(struct tide_spec *s, const char *uid)
{
    if (!s) return TIDE_EINVAL;
    Tide__Operator *op = find_operator(s, uid);
    if (op) op->union_state = true;
    return s->rc;
}

int tide_spec_hook(struct tide_spec *s, const char *name)
{
    if (!s) return TIDE_EINVAL;
    if (!name && !s->rc) s->rc = TIDE_EINVAL;
    if (s->message.n_hooks == TIDE_HOOKS_MAX && !s->rc) s->rc = TIDE_ETOOBIG;
    if (s->rc) return s->rc;
    s->message.hooks = s->hooks;
    s->hooks[s->message.n_hooks++] = copy(s, name);
    return s->rc;
}

int tide_spec_restore_from(struct tide_spec *s, const char *directory, bool allow_unmatched)
{
    if (!s) return TIDE_EINVAL;
    if (!directory && !s->rc) s->rc = TIDE_EINVAL;
    if (s->rc) return s->rc;
    s->message.restore_from = copy(s, directory);
    s->message.allow_unmatched = allow_unmatched;
    return s->rc;
}

#define LEAST                                                                                      \
    (offsetof(struct tide_checkpointing, attempts_max) + sizeof(uint32_t)) /* in 0.1.0             \
                                                                            */

int tide_spec_checkpointing_sized(struct tide_spec *s, const struct tide_checkpointing *from,
                                  size_t size)
{
    struct tide_checkpointing all, *c = &all;
    if (!s || !from) return TIDE_EINVAL;
    if (!s->rc) s->rc = tide_sized_copy(&all, sizeof all, from, size, LEAST);
    if (s->rc) return s->rc;
    Tide__Checkpointing *m = &s->checkpointing;
    m->interval_ms = c->interval_ms;
    m->min_pause_ms = c->min_pause_ms;
    m->deadline_ms = c->deadline_ms;
    m->retained = c->retained;
    m->restore_deadline_ms = c->restore_deadline_ms;
    m->lease_ms = c->lease_ms;
    m->heartbeat_ms = c->heartbeat_ms;
    m->grace_ms = c->grace_ms;
    m->orphan_limit_ms = c->orphan_limit_ms;
    m->progress_ms = c->progress_ms;
    m->attempts_max = c->attempts_max;
    m->style = (Tide__RoundStyle)c->style;
    m->window = c->window;
    m->alignment = (Tide__Alignment)c->alignment;
    m->aligned_timeout_ms = c->aligned_timeout_ms;
    m->max_concurrent = c->max_concurrent;
    m->failure_pause_ms = c->failure_pause_ms;
    m->failures_max = c->failures_max;
    m->backlog_interval_ms = c->backlog_interval_ms;
    m->deadline_cap_ms = c->deadline_cap_ms;
    m->regional = c->regional != 0;
    m->retained_hours = c->retained_hours;
    m->retained_days = c->retained_days;
    m->retained_weeks = c->retained_weeks;
    m->retained_age_s = c->retained_age_s;
    m->retained_mib = c->retained_mib;
    m->retained_least = c->retained_least;
    s->message.checkpointing = m;
    return 0;
}

int tide_spec_message(const struct tide_spec *s, const Tide__JobSpec **ret)
{
    if (!s) return TIDE_EINVAL;
    *ret = &s->message;
    return s->rc;
}

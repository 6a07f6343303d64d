/* In words, the first difference between two specs. Compared are the specs as they were given, from
 * the canonical bytes: 0 and the default that it stands for are two fingerprints, and the sentence
 * must say so. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/graph.h"
#include "proto/graph_show.h"

struct both {
    const Tide__JobSpec *have, *want;
    char *out; /* 256 bytes */
};

static const char *const in_have = "only in the spec in force";
static const char *const in_want = "only in the new spec";

/* "<what> is 4 in the spec in force and 8 in the new one" */
static bool numbers_differ(struct both *b, const char *what, uint32_t have, uint32_t want,
                           uint32_t fallback)
{
    char note[48] = "";

    if (have == want) return false;
    if (have == 0 || want == 0) {
        if (fallback)
            (void)snprintf(note, sizeof note, " (0: the default, %" PRIu32 ")", fallback);
        else
            (void)snprintf(note, sizeof note, " (0: none)");
    }
    (void)snprintf(b->out, 256,
                   "%s is %" PRIu32 " in the spec in force and %" PRIu32 " in the new one%s", what,
                   have, want, note);
    return true;
}

/* Of two sorted lists' next ones, that which the other list cannot have; NULL: both have it. */
static const Tide__Operator *lesser_operator(const Tide__Operator *x, const Tide__Operator *y)
{
    int order = tide_bytes_compare(tide_bytes_in(x->uid), tide_bytes_in(y->uid));
    return order == 0 ? NULL : order < 0 ? x : y;
}

static bool operators_differ(struct both *b)
{
    size_t i = 0, k = 0;

    for (;; i++, k++) {
        const Tide__Operator *x = i < b->have->n_operators ? b->have->operators[i] : NULL;
        const Tide__Operator *y = k < b->want->n_operators ? b->want->operators[k] : NULL;
        if (x == NULL && y == NULL) return false;
        const Tide__Operator *only = x == NULL ? y : y == NULL ? x : lesser_operator(x, y);
        if (only) {
            (void)snprintf(b->out, 256, "operator %s is %s",
                           tide_show(tide_bytes_in(only->uid)).text, only == x ? in_have : in_want);
            return true;
        }
        struct tide_shown uid = tide_show(tide_bytes_in(x->uid));
        char what[128];
        (void)snprintf(what, sizeof what, "the parallelism of operator %s", uid.text);
        if (numbers_differ(b, what, x->parallelism, y->parallelism, 0)) return true;
        (void)snprintf(what, sizeof what, "the max parallelism of operator %s", uid.text);
        if (numbers_differ(b, what, x->max_parallelism, y->max_parallelism,
                           tide_max_parallelism_default(x->parallelism)))
            return true;
        (void)snprintf(what, sizeof what, "union_state of operator %s", uid.text);
        if (numbers_differ(b, what, (uint32_t)x->union_state, (uint32_t)y->union_state, 0))
            return true;
        (void)snprintf(what, sizeof what, "coordinator of operator %s", uid.text);
        if (numbers_differ(b, what, (uint32_t)x->coordinator, (uint32_t)y->coordinator, 0))
            return true;
    }
}

static const Tide__Edge *lesser_edge(const Tide__Edge *x, const Tide__Edge *y)
{
    int order = tide_bytes_compare(tide_bytes_in(x->from), tide_bytes_in(y->from));
    if (order == 0) order = tide_bytes_compare(tide_bytes_in(x->to), tide_bytes_in(y->to));
    return order == 0 ? NULL : order < 0 ? x : y;
}

static const char *pattern_name(Tide__EdgePattern p)
{
    return p == TIDE__EDGE_PATTERN__EDGE_POINTWISE ? "pointwise" : "all-to-all";
}

static bool edges_differ(struct both *b)
{
    size_t i = 0, k = 0;

    for (;; i++, k++) {
        const Tide__Edge *x = i < b->have->n_edges ? b->have->edges[i] : NULL;
        const Tide__Edge *y = k < b->want->n_edges ? b->want->edges[k] : NULL;
        if (x == NULL && y == NULL) return false;
        const Tide__Edge *only = x == NULL ? y : y == NULL ? x : lesser_edge(x, y);
        const Tide__Edge *e = only ? only : x;
        struct tide_shown from = tide_show(tide_bytes_in(e->from));
        struct tide_shown to = tide_show(tide_bytes_in(e->to));
        if (only) {
            (void)snprintf(b->out, 256, "the edge from %s to %s is %s", from.text, to.text,
                           only == x ? in_have : in_want);
            return true;
        }
        if (x->pattern != y->pattern) {
            (void)snprintf(b->out, 256,
                           "the edge from %s to %s is %s in the spec in force and %s "
                           "in the new one",
                           from.text, to.text, pattern_name(x->pattern), pattern_name(y->pattern));
            return true;
        }
    }
}

static bool checkpointing_differs(struct both *b)
{
    for (size_t i = 0; i < TIDE_CHECKPOINTING_FIELDS; i++) {
        const struct tide_checkpointing_field *f = &tide_checkpointing_fields[i];
        uint32_t x = 0, y = 0;
        if (b->have->checkpointing)
            memcpy(&x, (const char *)b->have->checkpointing + f->offset, sizeof x);
        if (b->want->checkpointing)
            memcpy(&y, (const char *)b->want->checkpointing + f->offset, sizeof y);
        if (numbers_differ(b, f->name, x, y, f->fallback)) return true;
    }
    return false;
}

static bool hooks_differ(struct both *b)
{
    for (size_t i = 0; i < b->have->n_hooks || i < b->want->n_hooks; i++) {
        const ProtobufCBinaryData *x = i < b->have->n_hooks ? &b->have->hooks[i] : NULL;
        const ProtobufCBinaryData *y = i < b->want->n_hooks ? &b->want->hooks[i] : NULL;
        int order = !x ? 1 : !y ? -1 : tide_bytes_compare(tide_bytes_in(*x), tide_bytes_in(*y));
        if (order == 0) continue;
        (void)snprintf(b->out, 256, "the hook %s is %s",
                       tide_show(tide_bytes_in(order < 0 ? *x : *y)).text,
                       order < 0 ? in_have : in_want);
        return true;
    }
    return false;
}

static void compare(struct both *b)
{
    if (!tide_bytes_equal(tide_bytes_in(b->have->name), tide_bytes_in(b->want->name))) {
        (void)snprintf(b->out, 256,
                       "the job's name is %s in the spec in force and %s in the new one",
                       tide_show(tide_bytes_in(b->have->name)).text,
                       tide_show(tide_bytes_in(b->want->name)).text);
        return;
    }
    if (operators_differ(b) || edges_differ(b) || checkpointing_differs(b) || hooks_differ(b))
        return;
    (void)snprintf(b->out, 256, "the specs differ in something that this version does not know");
}

void tide_graph_difference(const struct tide_graph *have, const struct tide_graph *want,
                           char out[static 256])
{
    struct tide_arena arena;

    if (memcmp(have->fingerprint, want->fingerprint, sizeof have->fingerprint) == 0) {
        (void)snprintf(out, 256, "the specs are the same");
        return;
    }
    tide_arena_init(&arena, SIZE_MAX);
    struct both b = {tide_unpack(&arena, &tide__job_spec__descriptor,
                                 (struct tide_bytes){have->spec_bytes, have->spec_len}, NULL),
                     tide_unpack(&arena, &tide__job_spec__descriptor,
                                 (struct tide_bytes){want->spec_bytes, want->spec_len}, NULL),
                     out};
    if (b.have && b.want)
        compare(&b);
    else
        (void)snprintf(out, 256, "the specs have different fingerprints");
    tide_arena_release(&arena);
}

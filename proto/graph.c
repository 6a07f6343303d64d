/* A job's graph: checked, sorted, numbered, packed, in that order.
 *
 * Everything that a graph owns lies in one arena, so that giving up half-way is one call. Checks
 * name what they refuse; the first one that fails ends the work. */
#include "proto/graph.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/arena.h"
#include "proto/err.h"
#include "proto/graph_show.h"

#define NAME_MAX_BYTES 255u

/* The graph and what lies behind it; the caller sees the first member. */
struct owned {
    struct tide_graph graph;
    struct tide_arena arena;
};

struct sorted_edge {
    uint32_t from, to;
    Tide__Edge *edge; /* borrowed from the spec */
};

/* What is needed while the graph is made; borrowed from the spec or in the arena. */
struct making {
    struct owned *o;
    const Tide__JobSpec *spec;
    Tide__Operator **operators; /* sorted by uid */
    struct sorted_edge *edges;  /* sorted by (from, to) */
    ProtobufCBinaryData *hooks; /* sorted bytewise */
    char *why;                  /* 256 bytes */
};

__attribute__((format(printf, 2, 3))) static int refuse(struct making *m, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(m->why, 256, format, args);
    va_end(args);
    return TIDE_EINVAL;
}

static void *need(struct making *m, size_t n, size_t size)
{
    return tide_arena_zalloc(&m->o->arena, n * size); /* n is bounded by the limits in graph.h */
}

static struct tide_bytes uid_of(const Tide__Operator *op)
{
    return tide_bytes_in(op->uid);
}

/* ---- checks of single values */

static int check_name(struct making *m)
{
    struct tide_bytes name = tide_bytes_in(m->spec->name);

    if (name.len == 0) return refuse(m, "the job has no name");
    if (name.len > NAME_MAX_BYTES)
        return refuse(m, "the job's name %s has %zu bytes: at most 255 are allowed",
                      tide_show(name).text, name.len);
    if (name.data[0] == '.')
        return refuse(m, "the job's name %s starts with a dot", tide_show(name).text);
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';
        if (!fine)
            return refuse(m,
                          "the job's name %s holds something else than A-Z, a-z, 0-9, '.', '_' "
                          "and '-'",
                          tide_show(name).text);
    }
    return 0;
}

static int check_operator(struct making *m, const Tide__Operator *op)
{
    struct tide_bytes uid = uid_of(op);
    struct tide_shown shown = tide_show(uid);

    if (uid.len == 0) return refuse(m, "an operator has no uid");
    if (uid.len > NAME_MAX_BYTES)
        return refuse(m, "the uid %s has %zu bytes: at most 255 are allowed", shown.text, uid.len);
    if (!tide_text_valid(uid))
        return refuse(m, "the uid %s is not valid UTF-8 without NUL", shown.text);
    if (op->parallelism == 0 || op->parallelism > TIDE_PARALLELISM_MAX)
        return refuse(m, "operator %s has parallelism %" PRIu32 ": it must be 1 to %u", shown.text,
                      op->parallelism, TIDE_PARALLELISM_MAX);
    if (op->max_parallelism == 0) return 0;
    if (op->max_parallelism > TIDE_PARALLELISM_MAX)
        return refuse(m, "operator %s has max parallelism %" PRIu32 ": it must be at most %u",
                      shown.text, op->max_parallelism, TIDE_PARALLELISM_MAX);
    if (op->max_parallelism < op->parallelism)
        return refuse(
            m, "operator %s has max parallelism %" PRIu32 ", less than its parallelism %" PRIu32,
            shown.text, op->max_parallelism, op->parallelism);
    return 0;
}

/* ---- operators */

static int by_uid(const void *a, const void *b)
{
    return tide_bytes_compare(uid_of(*(Tide__Operator *const *)a),
                              uid_of(*(Tide__Operator *const *)b));
}

static int sort_operators(struct making *m)
{
    size_t n = m->spec->n_operators;
    int rc;

    if (n == 0) return refuse(m, "the job has no operators");
    if (n > TIDE_OPERATORS_MAX)
        return refuse(m, "the job has %zu operators: at most %u are allowed", n,
                      TIDE_OPERATORS_MAX);
    m->operators = need(m, n, sizeof(Tide__Operator *));
    if (m->operators == NULL) return TIDE_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        m->operators[i] = m->spec->operators[i];
        rc = check_operator(m, m->operators[i]);
        if (rc) return rc;
    }
    qsort(m->operators, n, sizeof(Tide__Operator *), by_uid);
    for (size_t i = 1; i < n; i++)
        if (by_uid(&m->operators[i - 1], &m->operators[i]) == 0)
            return refuse(m, "two operators have the uid %s",
                          tide_show(uid_of(m->operators[i])).text);
    return 0;
}

static int number_operators(struct making *m)
{
    struct tide_graph *g = &m->o->graph;
    size_t n = m->spec->n_operators;
    uint64_t tasks = 0; /* 4096 operators of 2^20: fits by far */

    g->operators = need(m, n, sizeof *g->operators);
    if (g->operators == NULL) return TIDE_ENOMEM;
    g->n_operators = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        const Tide__Operator *from = m->operators[i];
        struct tide_operator *to = &g->operators[i];
        to->uid = tide_arena_bytes(&m->o->arena, uid_of(from));
        if (to->uid.data == NULL) return TIDE_ENOMEM;
        to->parallelism = from->parallelism;
        to->max_parallelism = from->max_parallelism;
        to->max_chosen = to->max_parallelism == 0;
        if (to->max_chosen) to->max_parallelism = tide_max_parallelism_default(from->parallelism);
        to->first_task = (uint32_t)tasks;
        to->source = true;
        to->union_state = from->union_state;
        to->coordinator = from->coordinator;
        tasks += from->parallelism;
    }
    if (tasks > TIDE_TASKS_MAX)
        return refuse(m, "the job has %" PRIu64 " tasks in all: at most %u are allowed", tasks,
                      TIDE_TASKS_MAX);
    g->tasks = (uint32_t)tasks;
    return 0;
}

static const struct tide_operator *find_operator(const struct tide_graph *g, struct tide_bytes uid)
{
    uint32_t low = 0, high = g->n_operators;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = tide_bytes_compare(uid, g->operators[middle].uid);
        if (order == 0) return &g->operators[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* ---- edges */

static int check_edge(struct making *m, Tide__Edge *edge, struct sorted_edge *ret)
{
    const struct tide_graph *g = &m->o->graph;
    struct tide_shown from = tide_show(tide_bytes_in(edge->from));
    struct tide_shown to = tide_show(tide_bytes_in(edge->to));
    const struct tide_operator *a = find_operator(g, tide_bytes_in(edge->from));
    const struct tide_operator *b = find_operator(g, tide_bytes_in(edge->to));

    if (a == NULL || b == NULL)
        return refuse(m, "the edge from %s to %s: there is no operator %s", from.text, to.text,
                      a ? to.text : from.text);
    if (edge->pattern != TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL &&
        edge->pattern != TIDE__EDGE_PATTERN__EDGE_POINTWISE)
        return refuse(m, "the edge from %s to %s has the unknown pattern %d", from.text, to.text,
                      (int)edge->pattern);
    if (edge->pattern == TIDE__EDGE_PATTERN__EDGE_POINTWISE && a->parallelism != b->parallelism)
        return refuse(m,
                      "the pointwise edge from %s to %s needs equal parallelism, not %" PRIu32
                      " and %" PRIu32,
                      from.text, to.text, a->parallelism, b->parallelism);
    ret->from = (uint32_t)(a - g->operators);
    ret->to = (uint32_t)(b - g->operators);
    ret->edge = edge;
    return 0;
}

static int by_ends(const void *a, const void *b)
{
    const struct sorted_edge *x = a, *y = b;
    if (x->from != y->from) return x->from < y->from ? -1 : 1;
    return (x->to > y->to) - (x->to < y->to);
}

static int sort_edges(struct making *m)
{
    struct tide_graph *g = &m->o->graph;
    size_t n = m->spec->n_edges;

    if (n > TIDE_EDGES_MAX)
        return refuse(m, "the job has %zu edges: at most %u are allowed", n, TIDE_EDGES_MAX);
    m->edges = need(m, n, sizeof *m->edges);
    g->edges = need(m, n, sizeof *g->edges);
    if (m->edges == NULL || g->edges == NULL) return TIDE_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int rc = check_edge(m, m->spec->edges[i], &m->edges[i]);
        if (rc) return rc;
    }
    if (n) qsort(m->edges, n, sizeof *m->edges, by_ends);
    for (size_t i = 0; i < n; i++) {
        const struct sorted_edge *e = &m->edges[i];
        if (i && by_ends(e - 1, e) == 0)
            return refuse(m, "two edges lead from %s to %s",
                          tide_show(g->operators[e->from].uid).text,
                          tide_show(g->operators[e->to].uid).text);
        g->edges[i] = (struct tide_edge){e->from, e->to, e->edge->pattern};
        g->operators[e->to].source = false;
    }
    g->n_edges = (uint32_t)n;
    return 0;
}

/* ---- cycles */

/* path[0] -> path[1] -> ... -> path[n - 1] -> path[0] */
static int refuse_cycle(struct making *m, const uint32_t *path, uint32_t n)
{
    static const char head[] = "the graph has a cycle: ";
    static const char tail[] = "; feedback edges are not supported yet, remove one of these edges";
    const struct tide_operator *ops = m->o->graph.operators;
    struct tide_shown first = tide_show(ops[path[0]].uid);
    char text[256];
    /* what must fit behind the names: " -> (4096 more)", " -> " and the first name again */
    const size_t reserve = sizeof head + sizeof tail + 16 + 4 + strlen(first.text);
    size_t at = (size_t)snprintf(text, sizeof text, "%s", first.text);
    uint32_t shown = 1;

    for (; shown < n; shown++) {
        struct tide_shown next = tide_show(ops[path[shown]].uid);
        if (at + 4 + strlen(next.text) + reserve > sizeof text) break;
        at += (size_t)snprintf(text + at, sizeof text - at, " -> %s", next.text);
    }
    if (shown < n)
        at += (size_t)snprintf(text + at, sizeof text - at, " -> (%" PRIu32 " more)", n - shown);
    (void)snprintf(text + at, sizeof text - at, " -> %s", first.text);
    return refuse(m, "%s%s%s", head, text, tail);
}

/* A walk in depth, without recursion: path holds the operators from the start to the present one,
 * place where each of them is in its edges. */
struct search {
    uint32_t *first; /* per operator, its first edge; n + 1 of them */
    uint32_t *place;
    uint32_t *path;
    uint32_t depth;
    enum { UNSEEN, ON_PATH, DONE } * state;
};

static int search_from(struct making *m, struct search *s, uint32_t start)
{
    const struct tide_graph *g = &m->o->graph;

    s->path[0] = start;
    s->depth = 1;
    s->state[start] = ON_PATH;
    while (s->depth) {
        uint32_t at = s->path[s->depth - 1];
        if (s->place[at] == s->first[at + 1]) {
            s->state[at] = DONE;
            s->depth--;
            continue;
        }
        uint32_t to = g->edges[s->place[at]++].to;
        if (s->state[to] == ON_PATH) {
            uint32_t i = 0;
            while (s->path[i] != to)
                i++;
            return refuse_cycle(m, s->path + i, s->depth - i);
        }
        if (s->state[to] == DONE) continue;
        s->state[to] = ON_PATH;
        s->path[s->depth++] = to;
    }
    return 0;
}

static int check_cycles(struct making *m)
{
    const struct tide_graph *g = &m->o->graph;
    const uint32_t n = g->n_operators;
    struct search s = {need(m, n + 1, sizeof *s.first), need(m, n, sizeof *s.place),
                       need(m, n, sizeof *s.path), 0, need(m, n, sizeof *s.state)};

    if (!s.first || !s.place || !s.path || !s.state) return TIDE_ENOMEM;
    for (uint32_t e = 0; e < g->n_edges; e++)
        s.first[g->edges[e].from + 1]++;
    for (uint32_t i = 0; i < n; i++) {
        s.first[i + 1] += s.first[i];
        s.place[i] = s.first[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        if (s.state[i] != UNSEEN) continue;
        int rc = search_from(m, &s, i);
        if (rc) return rc;
    }
    return 0;
}

/* ---- regions */

static uint32_t root_of(uint32_t *up, uint32_t i)
{
    while (up[i] != i)
        i = up[i] = up[up[i]];
    return i;
}

static void unite(uint32_t *up, uint32_t a, uint32_t b)
{
    a = root_of(up, a);
    b = root_of(up, b);
    if (a < b) /* the first of the operators stands for all */
        up[b] = a;
    else
        up[a] = b;
}

/* Operators that pointwise edges connect are rows of equal length, and a column of them is a region
 * of its own, unless one of these operators has an edge from all to all: then no two of their tasks
 * are apart, and neither are those at the other end. */
static int find_regions(struct making *m)
{
    struct tide_graph *g = &m->o->graph;
    uint32_t *up = need(m, g->n_operators, sizeof *up);
    bool *whole = need(m, g->n_operators, sizeof *whole);

    if (!up || !whole) return TIDE_ENOMEM;
    for (uint32_t i = 0; i < g->n_operators; i++)
        up[i] = i;
    for (uint32_t e = 0; e < g->n_edges; e++)
        unite(up, g->edges[e].from, g->edges[e].to);
    for (uint32_t e = 0; e < g->n_edges; e++)
        if (g->edges[e].pattern == TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL)
            whole[root_of(up, g->edges[e].from)] = true;
    for (uint32_t i = 0; i < g->n_operators; i++) {
        struct tide_operator *op = &g->operators[i];
        uint32_t root = root_of(up, i);
        op->apart = !whole[root];
        op->first_region = root == i ? g->regions : g->operators[root].first_region;
        if (root == i) g->regions += op->apart ? op->parallelism : 1;
    }
    return 0;
}

uint32_t tide_graph_region(const struct tide_graph *g, uint32_t task)
{
    uint32_t subtask = 0;
    const struct tide_operator *op = tide_graph_operator(g, task, &subtask);
    return op->first_region + (op->apart ? subtask : 0);
}

/* What one region's rewind alone cannot get right. */
static int check_regional(struct making *m)
{
    const struct tide_graph *g = &m->o->graph;
    if (!g->checkpointing.regional) return 0;
    if (g->checkpointing.style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS)
        return refuse(m, "regional: tasks of rendezvous rounds depend on each other by no edges "
                         "that are known, so none can be rewound alone");
    for (uint32_t i = 0; i < g->n_operators; i++) {
        const struct tide_operator *op = &g->operators[i];
        if (op->union_state && op->apart && op->parallelism > 1)
            return refuse(m,
                          "regional: operator %s keeps union list state, which every one of its "
                          "tasks restores whole, and they are in %" PRIu32 " regions",
                          tide_show(op->uid).text, op->parallelism);
    }
    return 0;
}

/* ---- what version 2 of the protocol added */

static int by_bytes(const void *a, const void *b)
{
    return tide_bytes_compare(tide_bytes_in(*(const ProtobufCBinaryData *)a),
                              tide_bytes_in(*(const ProtobufCBinaryData *)b));
}

static int sort_hooks(struct making *m)
{
    size_t n = m->spec->n_hooks;
    if (n > TIDE_HOOKS_MAX)
        return refuse(m, "the job has %zu hooks: at most %u are allowed", n, TIDE_HOOKS_MAX);
    m->hooks = need(m, n, sizeof *m->hooks);
    if (m->hooks == NULL) return TIDE_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct tide_bytes name = tide_bytes_in(m->spec->hooks[i]);
        if (name.len == 0) return refuse(m, "a hook has no name");
        if (name.len > NAME_MAX_BYTES || !tide_text_valid(name))
            return refuse(m, "the hook's name %s is not UTF-8 without NUL of at most 255 bytes",
                          tide_show(name).text);
        m->hooks[i] = m->spec->hooks[i];
    }
    if (n) qsort(m->hooks, n, sizeof *m->hooks, by_bytes);
    for (size_t i = 1; i < n; i++)
        if (by_bytes(&m->hooks[i - 1], &m->hooks[i]) == 0)
            return refuse(m, "two hooks have the name %s",
                          tide_show(tide_bytes_in(m->hooks[i])).text);
    return 0;
}

static int number_externals(struct making *m)
{
    struct tide_graph *g = &m->o->graph;
    size_t n = m->spec->n_hooks;

    for (uint32_t i = 0; i < g->n_operators; i++)
        n += g->operators[i].coordinator;
    g->externals = need(m, n, sizeof *g->externals);
    if (g->externals == NULL) return TIDE_ENOMEM;
    for (uint32_t i = 0; i < g->n_operators; i++) {
        const struct tide_operator *op = &g->operators[i];
        if (!op->coordinator) continue;
        g->externals[g->n_externals++] = (struct tide_external){
            TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR, op->uid, op->first_task, op->parallelism};
    }
    for (size_t i = 0; i < m->spec->n_hooks; i++) {
        struct tide_external *e = &g->externals[g->n_externals++];
        e->kind = TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
        e->name = tide_arena_bytes(&m->o->arena, tide_bytes_in(m->hooks[i]));
        if (e->name.data == NULL) return TIDE_ENOMEM;
    }
    return 0;
}

static int check_restore_from(struct making *m)
{
    struct tide_bytes path = tide_bytes_in(m->spec->restore_from);
    if (path.len == 0) return 0;
    if (path.len > 4095 || path.data[0] != '/' || !tide_text_valid(path))
        return refuse(m, "restore_from %s is not an absolute path of at most 4,095 bytes",
                      tide_show(path).text);
    m->o->graph.restore_from = tide_arena_bytes(&m->o->arena, path);
    m->o->graph.allow_unmatched = m->spec->allow_unmatched;
    return m->o->graph.restore_from.data ? 0 : TIDE_ENOMEM;
}

static uint32_t version_needed(const Tide__JobSpec *spec)
{
    if (spec->n_hooks || spec->restore_from.len || spec->allow_unmatched) return 2;
    for (size_t i = 0; i < spec->n_operators; i++)
        if (spec->operators[i]->union_state || spec->operators[i]->coordinator) return 2;
    for (size_t i = TIDE_CHECKPOINTING_FIELDS_1;
         spec->checkpointing && i < TIDE_CHECKPOINTING_FIELDS; i++) {
        uint32_t v;
        memcpy(&v, (const char *)spec->checkpointing + tide_checkpointing_fields[i].offset,
               sizeof v);
        if (v) return 2;
    }
    return 1;
}

/* ---- the canonical bytes */

static int pack_canonical(struct making *m)
{
    struct tide_graph *g = &m->o->graph;
    Tide__JobSpec canonical = *m->spec; /* with what a newer peer may have added */
    Tide__Edge **edges = need(m, m->spec->n_edges, sizeof(Tide__Edge *));

    if (edges == NULL) return TIDE_ENOMEM;
    for (uint32_t i = 0; i < g->n_edges; i++)
        edges[i] = m->edges[i].edge;
    canonical.operators = m->operators;
    canonical.edges = edges;
    canonical.hooks = m->hooks;
    /* how a job begins is no part of what it is */
    canonical.restore_from = (ProtobufCBinaryData){0};
    canonical.allow_unmatched = 0;
    /* to say nothing and to say "all defaults" is the same */
    if (canonical.checkpointing &&
        protobuf_c_message_get_packed_size(&canonical.checkpointing->base) == 0)
        canonical.checkpointing = NULL;
    g->spec_len = protobuf_c_message_get_packed_size(&canonical.base);
    g->spec_bytes = tide_arena_alloc(&m->o->arena, g->spec_len);
    if (g->spec_bytes == NULL) return TIDE_ENOMEM;
    protobuf_c_message_pack(&canonical.base, g->spec_bytes);
    XXH128_hash_t digest = XXH3_128bits(g->spec_bytes, g->spec_len);
    tide_set_u64(g->fingerprint, digest.low64);
    tide_set_u64(g->fingerprint + 8, digest.high64);
    return 0;
}

static int make(struct making *m)
{
    struct tide_graph *g = &m->o->graph;
    int rc = check_name(m);

    if (rc == 0) rc = sort_operators(m);
    if (rc == 0) rc = number_operators(m);
    if (rc == 0) rc = sort_edges(m);
    if (rc == 0) rc = check_cycles(m);
    if (rc == 0) rc = find_regions(m);
    if (rc == 0) rc = tide_checkpointing_fill(m->spec->checkpointing, &g->checkpointing, m->why);
    if (rc == 0) rc = sort_hooks(m);
    if (rc == 0) rc = number_externals(m);
    if (rc == 0) rc = check_restore_from(m);
    if (rc == 0) rc = check_regional(m);
    if (rc == 0) rc = pack_canonical(m);
    if (rc) return rc;
    g->version = version_needed(m->spec);
    g->name = tide_arena_bytes(&m->o->arena, tide_bytes_in(m->spec->name));
    return g->name.data ? 0 : TIDE_ENOMEM;
}

int tide_graph_new(const Tide__JobSpec *spec, struct tide_graph **ret, char why[static 256])
{
    struct owned *o = calloc(1, sizeof *o);
    struct making m = {.o = o, .spec = spec, .why = why};

    (void)snprintf(why, 256, "%s", tide_strerror(TIDE_ENOMEM));
    if (o == NULL) return TIDE_ENOMEM;
    tide_arena_init(&o->arena, SIZE_MAX);
    int rc = make(&m);
    if (rc) {
        tide_graph_free(&o->graph);
        return rc;
    }
    why[0] = '\0';
    *ret = &o->graph;
    return 0;
}

void tide_graph_free(struct tide_graph *g)
{
    if (g == NULL) return;
    struct owned *o = (struct owned *)g;
    tide_arena_release(&o->arena);
    free(o);
}

/* ---- numbers */

const struct tide_operator *tide_graph_operator(const struct tide_graph *g, uint32_t task,
                                                uint32_t *ret_subtask)
{
    uint32_t low = 0, high = g->n_operators; /* the last operator that begins at or before task */

    if (task >= g->tasks) return NULL;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (g->operators[middle].first_task <= task)
            low = middle;
        else
            high = middle;
    }
    if (ret_subtask) *ret_subtask = task - g->operators[low].first_task;
    return &g->operators[low];
}

int64_t tide_graph_task(const struct tide_graph *g, struct tide_bytes uid, uint32_t subtask)
{
    const struct tide_operator *op = find_operator(g, uid);
    if (op == NULL || subtask >= op->parallelism) return -1;
    return (int64_t)op->first_task + subtask;
}

int64_t tide_graph_external(const struct tide_graph *g, const Tide__External *e)
{
    struct tide_bytes name = tide_bytes_in(e->name);
    uint32_t low = 0, high = g->n_externals; /* they are in order of kind and name */

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct tide_external *x = &g->externals[middle];
        int order = e->kind == x->kind  ? tide_bytes_compare(name, x->name)
                    : e->kind < x->kind ? -1
                                        : 1;
        if (order == 0) return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

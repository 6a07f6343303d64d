/* A spec is refused with a sentence that names what is wrong, or numbered in one way whatever
 * order it came in. */
#include <stdio.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/err.h"
#include "proto/graph.h"
#include "tests/proto/lib_random.h"
#include "tests/proto/lib_run.h"

/* A spec under construction; uids and names are C strings that outlive it. */
#define OPS_MAX (TIDE_OPERATORS_MAX + 1)
#define EDGES_MAX (TIDE_EDGES_MAX + 1)
struct draft {
    Tide__JobSpec spec;
    Tide__Checkpointing checkpointing;
    Tide__Operator ops[OPS_MAX], *op_list[OPS_MAX];
    Tide__Edge edges[EDGES_MAX], *edge_list[EDGES_MAX];
};
static struct draft d; /* each test runs in a process of its own */

static ProtobufCBinaryData data_of(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static void draft(const char *name)
{
    tide__job_spec__init(&d.spec);
    tide__checkpointing__init(&d.checkpointing);
    d.spec.name = data_of(name);
    d.spec.operators = d.op_list;
    d.spec.edges = d.edge_list;
}

static Tide__Operator *op(const char *uid, uint32_t parallelism, uint32_t max)
{
    Tide__Operator *o = &d.ops[d.spec.n_operators];
    tide__operator__init(o);
    o->uid = data_of(uid);
    o->parallelism = parallelism;
    o->max_parallelism = max;
    return d.op_list[d.spec.n_operators++] = o;
}

static Tide__Edge *edge(const char *from, const char *to)
{
    Tide__Edge *e = &d.edges[d.spec.n_edges];
    tide__edge__init(e);
    e->from = data_of(from);
    e->to = data_of(to);
    e->pattern = TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
    return d.edge_list[d.spec.n_edges++] = e;
}

static Tide__Checkpointing *checkpointing(void)
{
    return d.spec.checkpointing = &d.checkpointing;
}

static struct tide_graph *accept(void)
{
    struct tide_graph *g = NULL;
    char why[256];
    int rc = tide_graph_new(&d.spec, &g, why);
    ck_assert_msg(rc == 0, "refused: %s", why);
    return g;
}

static void refused(const char *sentence)
{
    struct tide_graph *g = NULL;
    char why[256];
    ck_assert_int_eq(tide_graph_new(&d.spec, &g, why), TIDE_EINVAL);
    ck_assert_ptr_null(g);
    ck_assert_str_eq(why, sentence);
}

static void wordcount(void)
{
    draft("wordcount");
    op("split", 3, 0);
    op("source", 2, 0);
    op("sink", 1, 1);
    op("count", 4, 256);
    edge("source", "split");
    edge("split", "count");
    edge("count", "sink");
}

START_TEST(tasks_are_numbered_by_uid_then_subtask)
{
    static const char *const uids[] = {"count", "sink", "source", "split"};
    static const uint32_t first[] = {0, 4, 5, 7, 10};
    wordcount();
    struct tide_graph *g = accept();
    uint32_t subtask;
    ck_assert_uint_eq(g->tasks, 10);
    ck_assert_uint_eq(g->n_operators, 4);
    ck_assert(tide_bytes_equal(g->name, tide_bytes_of("wordcount")));
    for (uint32_t i = 0; i < 4; i++) {
        const struct tide_operator *o = &g->operators[i];
        ck_assert(tide_bytes_equal(o->uid, tide_bytes_of(uids[i])));
        ck_assert_uint_eq(o->first_task, first[i]);
        ck_assert_int_eq(o->source, strcmp(uids[i], "source") == 0);
        for (uint32_t t = first[i]; t < first[i + 1]; t++) {
            ck_assert_ptr_eq(tide_graph_operator(g, t, &subtask), o);
            ck_assert_uint_eq(subtask, t - first[i]);
            ck_assert_int_eq(tide_graph_task(g, o->uid, subtask), t);
        }
        ck_assert_int_eq(tide_graph_task(g, o->uid, o->parallelism), -1);
    }
    ck_assert_uint_eq(g->operators[0].max_parallelism, 256);
    ck_assert_uint_eq(g->operators[1].max_parallelism, 1);
    ck_assert_uint_eq(g->operators[2].max_parallelism, 128);
    ck_assert_ptr_nonnull(tide_graph_operator(g, 9, NULL));
    ck_assert_ptr_null(tide_graph_operator(g, 10, NULL));
    ck_assert_ptr_null(tide_graph_operator(g, UINT32_MAX, NULL));
    ck_assert_int_eq(tide_graph_task(g, tide_bytes_of("nobody"), 0), -1);
    ck_assert_uint_eq(g->n_edges, 3);
    ck_assert_uint_eq(g->edges[0].from, 0); /* count -> sink, source -> split, split -> count */
    ck_assert_uint_eq(g->edges[0].to, 1);
    ck_assert_uint_eq(g->edges[2].from, 3);
    ck_assert_uint_eq(g->edges[2].to, 0);
    tide_graph_free(g);
    tide_graph_free(NULL);
}
END_TEST

START_TEST(uids_sort_as_bytes)
{
    draft("j");
    op("b", 1, 0);
    op("Z", 1, 0);
    op("\xc3\xa4", 1, 0);
    op("ab", 1, 0);
    op("a", 1, 0);
    struct tide_graph *g = accept();
    static const char *const order[] = {"Z", "a", "ab", "b", "\xc3\xa4"};
    for (uint32_t i = 0; i < 5; i++)
        ck_assert_int_eq(tide_graph_task(g, tide_bytes_of(order[i]), 0), i);
    tide_graph_free(g);
}
END_TEST

START_TEST(defaults_are_filled_in)
{
    draft("j");
    op("a", 1, 0);
    checkpointing()->interval_ms = 500;
    struct tide_graph *g = accept();
    const Tide__Checkpointing *c = &g->checkpointing;
    ck_assert_uint_eq(c->interval_ms, 500);
    ck_assert_uint_eq(c->min_pause_ms, 0);
    ck_assert_uint_eq(c->deadline_ms, 600000);
    ck_assert_uint_eq(c->retained, 1);
    ck_assert_uint_eq(c->restore_deadline_ms, 600000);
    ck_assert_uint_eq(c->lease_ms, 10000);
    ck_assert_uint_eq(c->heartbeat_ms, 1000);
    ck_assert_uint_eq(c->grace_ms, 10000);
    ck_assert_uint_eq(c->orphan_limit_ms, 1000);
    ck_assert_uint_eq(c->progress_ms, 1000);
    ck_assert_uint_eq(c->attempts_max, 0);
    tide_graph_free(g);
}
END_TEST

START_TEST(the_order_makes_no_difference)
{
    struct rng r = {5};
    wordcount();
    struct tide_graph *first = accept();
    /* what protoc and the reference library make of the sorted spec */
    ck_assert_uint_eq(tide_get_u64(first->fingerprint), 0x63cb260e1c60aebc);
    ck_assert_uint_eq(tide_get_u64(first->fingerprint + 8), 0x15ca8120db91640e);
    for (int i = 0; i < 50; i++) {
        for (uint32_t k = 4; k > 1; k--) {
            uint32_t other = rng_below(&r, k);
            Tide__Operator *o = d.op_list[k - 1];
            d.op_list[k - 1] = d.op_list[other];
            d.op_list[other] = o;
        }
        for (uint32_t k = 3; k > 1; k--) {
            uint32_t other = rng_below(&r, k);
            Tide__Edge *e = d.edge_list[k - 1];
            d.edge_list[k - 1] = d.edge_list[other];
            d.edge_list[other] = e;
        }
        if (i & 1) checkpointing(); /* present, but all defaults */
        struct tide_graph *g = accept();
        ck_assert_uint_eq(g->spec_len, first->spec_len);
        ck_assert_mem_eq(g->spec_bytes, first->spec_bytes, g->spec_len);
        ck_assert_mem_eq(g->fingerprint, first->fingerprint, 16);
        tide_graph_free(g);
    }
    tide_graph_free(first);
}
END_TEST

START_TEST(canonical_bytes_give_the_same_graph_again)
{
    struct tide_arena a;
    wordcount();
    checkpointing()->interval_ms = 1000;
    struct tide_graph *g = accept(), *again = NULL;
    char why[256];
    tide_arena_init(&a, TIDE_ARENA_MAX);
    Tide__JobSpec *spec = tide_unpack(&a, &tide__job_spec__descriptor,
                                      (struct tide_bytes){g->spec_bytes, g->spec_len}, NULL);
    ck_assert_ptr_nonnull(spec);
    ck_assert_int_eq(tide_graph_new(spec, &again, why), 0);
    tide_arena_release(&a); /* a graph borrows nothing */
    ck_assert_mem_eq(again->fingerprint, g->fingerprint, 16);
    ck_assert_mem_eq(again->spec_bytes, g->spec_bytes, g->spec_len);
    ck_assert(tide_bytes_equal(again->operators[3].uid, tide_bytes_of("split")));
    tide_graph_free(again);
    tide_graph_free(g);
}
END_TEST

START_TEST(names_are_checked)
{
    char long_name[257];
    memset(long_name, 'n', 256);
    long_name[256] = '\0';
    draft("");
    op("a", 1, 0);
    refused("the job has no name");
    d.spec.name = data_of(".hidden");
    refused("the job's name '.hidden' starts with a dot");
    d.spec.name = data_of("a/b");
    refused("the job's name 'a/b' holds something else than A-Z, a-z, 0-9, '.', '_' and '-'");
    d.spec.name = data_of("a\nb");
    refused("the job's name 'a?b' holds something else than A-Z, a-z, 0-9, '.', '_' and '-'");
    d.spec.name = data_of(long_name);
    refused(
        "the job's name 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...' has 256 "
        "bytes: at most 255 are allowed");
    d.spec.name.len = 255;
    tide_graph_free(accept());
    d.spec.name = data_of("A.z_0-9");
    tide_graph_free(accept());
}
END_TEST

START_TEST(operators_are_checked)
{
    char long_uid[257];
    memset(long_uid, 'u', 256);
    long_uid[256] = '\0';
    draft("j");
    refused("the job has no operators");
    Tide__Operator *o = op("", 1, 0);
    refused("an operator has no uid");
    o->uid = data_of(long_uid);
    refused(
        "the uid 'uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu...' has 256 bytes: "
        "at most 255 are allowed");
    o->uid = data_of("a\xff");
    refused("the uid 'a?' is not valid UTF-8 without NUL");
    o->uid = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "a\0b"};
    refused("the uid 'a?b' is not valid UTF-8 without NUL");
    o->uid = data_of("map");
    o->parallelism = 0;
    refused("operator 'map' has parallelism 0: it must be 1 to 1048576");
    o->parallelism = 1048577;
    refused("operator 'map' has parallelism 1048577: it must be 1 to 1048576");
    o->parallelism = 1048576;
    tide_graph_free(accept());
    o->parallelism = 5;
    o->max_parallelism = 4;
    refused("operator 'map' has max parallelism 4, less than its parallelism 5");
    o->max_parallelism = 1048577;
    refused("operator 'map' has max parallelism 1048577: it must be at most 1048576");
    o->max_parallelism = 5;
    tide_graph_free(accept());
    op("other", 1, 0);
    op("map", 1, 0);
    refused("two operators have the uid 'map'");
}
END_TEST

START_TEST(sizes_are_bounded)
{
    static char uids[OPS_MAX][8];
    draft("j");
    op("a", 1u << 20, 0);
    op("b", 1u << 20, 0);
    struct tide_graph *g = accept();
    ck_assert_uint_eq(g->tasks, TIDE_TASKS_MAX);
    tide_graph_free(g);
    op("c", 1, 0);
    refused("the job has 2097153 tasks in all: at most 2097152 are allowed");
    draft("j");
    for (uint32_t i = 0; i < OPS_MAX; i++) {
        snprintf(uids[i], sizeof uids[i], "o%04u", i);
        op(uids[i], 1, 0);
    }
    refused("the job has 4097 operators: at most 4096 are allowed");
    d.spec.n_operators = 4096;
    for (uint32_t i = 0; i < EDGES_MAX; i++)
        edge(uids[i % 4000], uids[i % 4000 + 1 + i / 4000]);
    refused("the job has 16385 edges: at most 16384 are allowed");
    d.spec.n_edges = 16384;
    g = accept();
    ck_assert_uint_eq(g->n_edges, 16384);
    tide_graph_free(g);
}
END_TEST

START_TEST(edges_are_checked)
{
    draft("j");
    op("a", 2, 0);
    op("b", 2, 0);
    op("c", 3, 0);
    Tide__Edge *e = edge("a", "x");
    refused("the edge from 'a' to 'x': there is no operator 'x'");
    e->from = data_of("y");
    refused("the edge from 'y' to 'x': there is no operator 'y'");
    e->from = data_of("a");
    e->to = data_of("c");
    e->pattern = TIDE__EDGE_PATTERN__EDGE_UNSPECIFIED;
    refused("the edge from 'a' to 'c' has the unknown pattern 0");
    e->pattern = (Tide__EdgePattern)3;
    refused("the edge from 'a' to 'c' has the unknown pattern 3");
    e->pattern = TIDE__EDGE_PATTERN__EDGE_POINTWISE;
    refused("the pointwise edge from 'a' to 'c' needs equal parallelism, not 2 and 3");
    e->to = data_of("b");
    tide_graph_free(accept());
    edge("b", "c");
    edge("a", "b");
    refused("two edges lead from 'a' to 'b'");
}
END_TEST

START_TEST(cycles_are_named)
{
    draft("j");
    op("a", 1, 0);
    edge("a", "a");
    refused(
        "the graph has a cycle: 'a' -> 'a'; feedback edges are not supported yet, remove one of "
        "these edges");
    draft("j");
    op("in", 1, 0);
    op("a", 1, 0);
    op("b", 1, 0);
    op("c", 1, 0);
    op("out", 1, 0);
    edge("in", "a");
    edge("a", "b");
    edge("b", "c");
    edge("c", "out");
    edge("a", "c"); /* a diamond is no cycle */
    tide_graph_free(accept());
    edge("c", "a");
    refused(
        "the graph has a cycle: 'a' -> 'b' -> 'c' -> 'a'; feedback edges are not supported yet, "
        "remove one of these edges");
}
END_TEST

START_TEST(a_long_cycle_is_cut_short)
{
    static char uids[4096][64];
    char why[256];
    struct tide_graph *g = NULL;
    draft("j");
    for (uint32_t i = 0; i < 4096; i++) {
        snprintf(uids[i], sizeof uids[i], "an-operator-with-a-long-name-%04u", i);
        op(uids[i], 1, 0);
    }
    for (uint32_t i = 0; i < 4095; i++)
        edge(uids[i], uids[i + 1]);
    tide_graph_free(accept());
    edge(uids[4095], uids[0]);
    ck_assert_int_eq(tide_graph_new(&d.spec, &g, why), TIDE_EINVAL);
    ck_assert_str_eq(why, "the graph has a cycle: 'an-operator-with-a-long-name-0000' -> "
                          "'an-operator-with-a-long-name-0001' -> (4094 more) -> "
                          "'an-operator-with-a-long-name-0000'; feedback edges are not supported "
                          "yet, remove one of these edges");
}
END_TEST

START_TEST(checkpointing_is_checked_together)
{
    draft("j");
    op("a", 1, 0);
    Tide__Checkpointing *c = checkpointing();
    c->interval_ms = 9;
    refused("interval_ms is 9: it must be at least 10, or 0 for the default");
    c->interval_ms = 10;
    tide_graph_free(accept());
    c->lease_ms = 2999;
    refused(
        "lease_ms is 2999 with a heartbeat_ms of 1000: a lease must be at least three heartbeats");
    c->lease_ms = 3000;
    tide_graph_free(accept());
    c->heartbeat_ms = UINT32_MAX;
    c->lease_ms = UINT32_MAX;
    refused("lease_ms is 4294967295: it must be at most 86400000, a day");
    c->lease_ms = 86400000;
    refused(
        "lease_ms is 86400000 with a heartbeat_ms of 4294967295: a lease must be at least three "
        "heartbeats");
    c->heartbeat_ms = 4000;
    c->lease_ms = 0;
    refused(
        "lease_ms is 10000 with a heartbeat_ms of 4000: a lease must be at least three heartbeats");
    c->heartbeat_ms = 9;
    refused("heartbeat_ms is 9: it must be at least 10, or 0 for the default");
    c->heartbeat_ms = 0;
    c->progress_ms = 1;
    refused("progress_ms is 1: it must be at least 10, or 0 for the default");
}
END_TEST

/* The difference between the wordcount and what change() makes of it. */
static void differs(void (*change)(void), const char *sentence)
{
    char out[256];
    wordcount();
    struct tide_graph *have = accept();
    wordcount();
    change();
    struct tide_graph *want = accept();
    tide_graph_difference(have, want, out);
    ck_assert_str_eq(out, sentence);
    tide_graph_free(have);
    tide_graph_free(want);
}

static void nothing(void)
{
}
static void rename_job(void)
{
    d.spec.name = data_of("other");
}
static void more_splits(void)
{
    d.ops[0].parallelism = 8;
}
static void other_groups(void)
{
    d.ops[0].max_parallelism = 512;
}
static void explicit_groups(void)
{
    d.ops[0].max_parallelism = 128;
}
static void one_more(void)
{
    op("extra", 1, 0);
}
static void rename_sink(void)
{
    d.ops[2].uid = data_of("tail");
    d.edges[2].to = data_of("tail");
}
static void another_edge(void)
{
    edge("source", "count");
}
static void one_edge_less(void)
{
    d.spec.n_edges = 2;
}
static void faster(void)
{
    checkpointing()->interval_ms = 100;
}
static void more_retained(void)
{
    checkpointing()->retained = 3;
}

START_TEST(differences_in_words)
{
    differs(nothing, "the specs are the same");
    differs(rename_job,
            "the job's name is 'wordcount' in the spec in force and 'other' in the new one");
    differs(more_splits,
            "the parallelism of operator 'split' is 3 in the spec in force and 8 in the new one");
    differs(other_groups,
            "the max parallelism of operator 'split' is 0 in the spec in force and 512 in "
            "the new one (0: the default, 128)");
    differs(explicit_groups,
            "the max parallelism of operator 'split' is 0 in the spec in force and 128 "
            "in the new one (0: the default, 128)");
    differs(one_more, "operator 'extra' is only in the new spec");
    differs(rename_sink, "operator 'sink' is only in the spec in force");
    differs(another_edge, "the edge from 'source' to 'count' is only in the new spec");
    differs(one_edge_less, "the edge from 'count' to 'sink' is only in the spec in force");
    differs(faster, "interval_ms is 0 in the spec in force and 100 in the new one (0: none)");
    differs(more_retained,
            "retained is 0 in the spec in force and 3 in the new one (0: the default, 1)");
}
END_TEST

START_TEST(patterns_differ)
{
    char out[256];
    draft("j");
    op("a", 2, 0);
    op("b", 2, 0);
    Tide__Edge *e = edge("a", "b");
    struct tide_graph *have = accept();
    e->pattern = TIDE__EDGE_PATTERN__EDGE_POINTWISE;
    struct tide_graph *want = accept();
    tide_graph_difference(have, want, out);
    ck_assert_str_eq(out,
                     "the edge from 'a' to 'b' is all-to-all in the spec in force and pointwise in "
                     "the new one");
    tide_graph_free(have);
    tide_graph_free(want);
}
END_TEST

/* A later version's field is no difference that this one could name, but it is one. */
START_TEST(unknown_fields_count)
{
    char out[256];
    uint8_t later[] = {2, 'x', 'y'}; /* a length and as many bytes */
    ProtobufCMessageUnknownField field = {300, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, 3, later};
    wordcount();
    struct tide_graph *have = accept();
    d.spec.base.n_unknown_fields = 1;
    d.spec.base.unknown_fields = &field;
    struct tide_graph *want = accept();
    ck_assert_mem_ne(have->fingerprint, want->fingerprint, 16);
    tide_graph_difference(have, want, out);
    ck_assert_str_eq(out, "the specs differ in something that this version does not know");
    tide_graph_free(have);
    tide_graph_free(want);
}
END_TEST

/* ---- regions */

static uint32_t first_of(uint32_t *up, uint32_t t)
{
    while (up[t] != t)
        t = up[t];
    return t;
}

static void connect(uint32_t *up, uint32_t a, uint32_t b)
{
    a = first_of(up, a);
    b = first_of(up, b);
    up[a > b ? a : b] = a < b ? a : b;
}

/* Task by task, from the edges alone: two are in one region exactly when edges lead from one to the
 * other, whichever way; regions are numbered by their first tasks. */
static void check_regions(const struct tide_graph *g)
{
    uint32_t up[64], regions = 0, number[64];
    ck_assert_uint_le(g->tasks, 64);
    for (uint32_t t = 0; t < g->tasks; t++)
        up[t] = t;
    for (uint32_t e = 0; e < g->n_edges; e++) {
        const struct tide_operator *a = &g->operators[g->edges[e].from],
                                   *b = &g->operators[g->edges[e].to];
        for (uint32_t i = 0; i < a->parallelism; i++)
            for (uint32_t k = 0; k < b->parallelism; k++)
                if (i == k || g->edges[e].pattern == TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL)
                    connect(up, a->first_task + i, b->first_task + k);
    }
    for (uint32_t t = 0; t < g->tasks; t++) {
        uint32_t first = first_of(up, t);
        if (first == t) number[t] = regions++;
        ck_assert_uint_eq(tide_graph_region(g, t), number[first]);
    }
    ck_assert_uint_eq(g->regions, regions);
}

START_TEST(regions_are_what_edges_connect)
{
    static const char *const uids[] = {"e", "b", "d", "a", "f", "c"};
    struct rng r = {7};
    for (int n = 0; n < 3000; n++) {
        uint32_t columns = 1 + rng_below(&r, 4);
        memset(&d, 0, sizeof d);
        draft("job");
        uint32_t ops = 1 + rng_below(&r, 6);
        for (uint32_t i = 0; i < ops; i++)
            op(uids[i], rng_below(&r, 3) ? columns : 1 + rng_below(&r, 4), 0);
        for (uint32_t i = 0; i < ops; i++)
            for (uint32_t k = i + 1; k < ops; k++) {
                if (rng_below(&r, 3)) continue;
                bool pointwise = d.ops[i].parallelism == d.ops[k].parallelism && rng_below(&r, 4);
                Tide__Edge *e = edge(uids[i], uids[k]);
                if (pointwise) e->pattern = TIDE__EDGE_PATTERN__EDGE_POINTWISE;
            }
        struct tide_graph *g = accept();
        check_regions(g);
        tide_graph_free(g);
    }
}
END_TEST

START_TEST(regional_needs_regions_that_edges_tell)
{
    draft("job");
    op("a", 3, 0)->union_state = true;
    op("b", 3, 0);
    checkpointing()->regional = true;
    refused("regional: operator 'a' keeps union list state, which every one of its tasks restores "
            "whole, and they are in 3 regions");
    edge("a", "b")->pattern = TIDE__EDGE_PATTERN__EDGE_POINTWISE;
    refused("regional: operator 'a' keeps union list state, which every one of its tasks restores "
            "whole, and they are in 3 regions");
    d.edges[0].pattern = TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
    tide_graph_free(accept());
    d.ops[0].union_state = false;
    checkpointing()->style = TIDE__ROUND_STYLE__STYLE_RENDEZVOUS;
    refused("regional: tasks of rendezvous rounds depend on each other by no edges that are known, "
            "so none can be rewound alone");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("graph");
    add_test(s, regions_are_what_edges_connect);
    add_test(s, regional_needs_regions_that_edges_tell);
    add_test(s, tasks_are_numbered_by_uid_then_subtask);
    add_test(s, uids_sort_as_bytes);
    add_test(s, defaults_are_filled_in);
    add_test(s, the_order_makes_no_difference);
    add_test(s, canonical_bytes_give_the_same_graph_again);
    add_test(s, names_are_checked);
    add_test(s, operators_are_checked);
    add_test(s, sizes_are_bounded);
    add_test(s, edges_are_checked);
    add_test(s, cycles_are_named);
    add_test(s, a_long_cycle_is_cut_short);
    add_test(s, checkpointing_is_checked_together);
    add_test(s, differences_in_words);
    add_test(s, patterns_differ);
    add_test(s, unknown_fields_count);
    return run_suite(s);
}

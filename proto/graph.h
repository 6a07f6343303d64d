/* A job's spec, checked and numbered: both sides must agree on what a task's number means.
 *
 * Operators are sorted by uid bytewise; tasks are numbered from 0 through the operators' subtasks.
 * The fingerprint is XXH3-128 over the canonical bytes: the spec packed with operators sorted by
 * uid and edges sorted by (from, to), so that the order in which a program adds them is no
 * difference, and without restore_from and allow_unmatched, which count only for a job that is
 * new. */
#ifndef TIDE_GRAPH_H
#define TIDE_GRAPH_H

#include "proto/bytes.h"
#include "proto/common.pb-c.h"

#define TIDE_TASKS_MAX (1u << 21)
#define TIDE_OPERATORS_MAX 4096u
#define TIDE_EDGES_MAX 16384u
#define TIDE_HOOKS_MAX 64u
#define TIDE_PARALLELISM_MAX (1u << 20)
#define TIDE_NONE UINT32_MAX /* in a number of Checkpointing: none, where 0 is the default */

struct tide_operator {
    struct tide_bytes uid; /* view into spec_bytes' unpacked form, lives as long as the graph */
    uint32_t parallelism, max_parallelism; /* max_parallelism is never 0 here */
    uint32_t first_task;
    bool source; /* no edge leads to it */
    bool union_state, coordinator;
    bool max_chosen; /* the spec leaves max_parallelism to us */
    /* Regions: tasks that edges connect. All tasks of the operator are in this one, or, apart, its
     * subtasks are in this one and those that follow it. */
    uint32_t first_region;
    bool apart;
};

/* A part outside the tasks: the coordinator of an operator, or a hook. */
struct tide_external {
    Tide__ExternalKind kind;
    struct tide_bytes name;     /* of a coordinator: the operator's uid */
    uint32_t first_task, tasks; /* of its operator; of a hook: none */
};

struct tide_edge {
    uint32_t from, to; /* indices of operators */
    Tide__EdgePattern pattern;
};

struct tide_graph {
    struct tide_bytes name;
    struct tide_operator *operators;
    uint32_t n_operators;
    struct tide_edge *edges;
    uint32_t n_edges;
    struct tide_external *externals; /* coordinators as their operators, then hooks bytewise */
    uint32_t n_externals;
    uint32_t tasks;
    uint32_t regions; /* numbered from 0 in order of their first tasks */
    Tide__Checkpointing
        checkpointing; /* defaults filled in; 0 in the others says "none", and so does TIDE_NONE */
    struct tide_bytes restore_from; /* where a job that is new begins; not in spec_bytes */
    bool allow_unmatched;
    uint32_t version;    /* of the protocol that a worker needs to host its tasks */
    uint8_t *spec_bytes; /* canonical, owned */
    size_t spec_len;
    uint8_t fingerprint[16]; /* low half first, little-endian */
};

/* Checks and numbers a spec. 0 and *ret (free it with tide_graph_free), or TIDE_EINVAL with a
 * sentence in why (names the operator, edge or cycle), or TIDE_ENOMEM. */
int tide_graph_new(const Tide__JobSpec *spec, struct tide_graph **ret, char why[static 256]);
void tide_graph_free(struct tide_graph *g);
/* The operator of a task, or NULL. *ret_subtask may be NULL. */
const struct tide_operator *tide_graph_operator(const struct tide_graph *g, uint32_t task,
                                                uint32_t *ret_subtask);
/* The number of a task, or -1. */
int64_t tide_graph_task(const struct tide_graph *g, struct tide_bytes uid, uint32_t subtask);
/* The region of a task that exists: those that no edge leads between have others. */
uint32_t tide_graph_region(const struct tide_graph *g, uint32_t task);
/* The number of an external part, or -1. */
int64_t tide_graph_external(const struct tide_graph *g, const Tide__External *e);
/* In words, the first difference between two specs, for a person. */
void tide_graph_difference(const struct tide_graph *have, const struct tide_graph *want,
                           char out[static 256]);
/* Default max parallelism of Flink: min(max(nextPow2(p + p/2), 128), 32768), at least p. */
uint32_t tide_max_parallelism_default(uint32_t parallelism);

/* Key groups (Flink 2.0, KeyGroupRangeAssignment, on our own hash): hash32(key) is the low 32
 * bits of XXH3-64, seed 0, of the key's bytes; the key group is hash32 mod max parallelism. */
uint32_t tide_key_group(const void *key, size_t len, uint32_t max_parallelism);
/* The subtask that owns a key group: kg * parallelism / max_parallelism. */
uint32_t tide_key_group_owner(uint32_t key_group, uint32_t parallelism, uint32_t max_parallelism);
/* First and number of key groups of a subtask. */
void tide_key_group_range(uint32_t subtask, uint32_t parallelism, uint32_t max_parallelism,
                          uint32_t *ret_first, uint32_t *ret_count);

#endif

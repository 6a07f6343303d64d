/* Who restores what: the state of the tasks of a snapshot, dealt out to the tasks of a job whose
 * parallelism may be another. Flink's rules (docs/state-format.md); pure arithmetic.
 *
 * What each task of the snapshot has of a state is a source; sources come in the order of their
 * subtasks. A piece is what one task of the job takes from one source: rows of a list, or key
 * groups. */
#ifndef TIDE_STATE_ASSIGN_H
#define TIDE_STATE_ASSIGN_H

#include <stdint.h>

#include "state/tidemark-state.h"

struct tide_source_part {
    uint32_t subtask;
    uint32_t group_first, group_count; /* keyed: the key groups that it covers */
    uint64_t rows;                     /* the others: how many */
};

struct tide_piece {
    uint32_t source;       /* its place among the sources */
    uint64_t first, count; /* rows, from 0; or key groups */
};

struct tide_assign {
    enum tide_states_kind kind;
    const struct tide_source_part *sources;
    uint32_t n_sources;
    uint32_t had_parallelism;                       /* of the snapshot */
    uint32_t parallelism, max_parallelism, subtask; /* of the job, and of the task that asks */
};

/* Calls f for each piece that the task takes, in order; empty ones are left out. f's first answer
 * other than 0 ends it and is returned. *start, of split lists: the task at which dealing begins,
 * 0 for the first state of an operator; becomes that of the next one, in the order of the states'
 * names. */
int tide_assign(const struct tide_assign *a, uint32_t *start,
                int (*f)(void *user, const struct tide_piece *p), void *user);

/* A record that was in flight. */
struct tide_flight_place {
    bool output;
    enum tide_flow_route route;
    uint32_t had_subtask, had_parallelism; /* whose it was */
    uint32_t group;                        /* keyed: its key group, by today's max parallelism */
    uint32_t had_channel, had_channels;    /* counted within its flow, from 0 */
};
/* Whether a task takes it. Input: the owner of its key group; of a broadcast, who takes that task's
 * copy of broadcast state; else the channels of old subtasks go round the new ones. Output: in the
 * last way, whatever its route: the task puts it out again. */
bool tide_assign_flight(const struct tide_flight_place *p, uint32_t parallelism,
                        uint32_t max_parallelism, uint32_t subtask);
/* Into which channels that task then puts it: *ret_first, and each that lies *ret_step behind,
 * below channels. max_parallelism: of the operator that reads, whose tasks the channels of an
 * output are. */
void tide_assign_channels(const struct tide_flight_place *p, uint32_t channels,
                          uint32_t max_parallelism, uint32_t *ret_first, uint32_t *ret_step);

#endif

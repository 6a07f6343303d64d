/* The gateway: events on their way from an operator's coordinator to its subtasks, in an order that
 * makes a snapshot of both exact. A pure object: it owns no transport, reads no clock.
 *
 * The usual way: an event is put, may go at once, is taken by whoever transports it, and confirmed
 * once the subtask has it. A round closes the gateway when the coordinator's snapshot is taken:
 * what is put from then on is held back, for each subtask until it has acked the round, so that no
 * subtask's snapshot knows of an event that the coordinator's does not. The coordinator's snapshot
 * counts only once every event that went before it is confirmed, so that every subtask's does.
 *
 * What can go wrong, and what we do:
 * - the round is aborted before the snapshot was taken -> it closes nothing any more
 * - an event is lost -> the two sides cannot agree again: every round fails until reset
 * - several rounds at once -> what the oldest holds back goes when it releases; a younger one that
 *   releases first leaves its events to the next older one, behind what that one holds, in order
 * - too much is held back -> refused, the program must wait (Flink 2.0, SubtaskGatewayImpl, has no
 *   limit there) */
#ifndef TIDE_GATEWAY_H
#define TIDE_GATEWAY_H

#include "proto/bytes.h"

#define TIDE_GATEWAY_ROUNDS_MAX 64u              /* marked at once */
#define TIDE_GATEWAY_EVENT_MAX ((size_t)1 << 20) /* bytes of one event */
#define TIDE_GATEWAY_FLIGHTS_MAX (1u << 20)      /* events that are not settled */

struct tide_gateway;

/* bytes_max: of events that are held back or have not been taken. 0 or TIDE_ENOMEM. */
int tide_gateway_new(uint32_t subtasks, size_t bytes_max, struct tide_gateway **ret);
void tide_gateway_free(struct tide_gateway *g);
/* Open, nothing held, nothing under way, no failure: the attempt is over. Ids of events go on
 * rising, rounds begin anew, all subtasks are there. */
void tide_gateway_reset(struct tide_gateway *g);
/* These subtasks alone have begun anew: what was on its way to them is nothing to anybody. */
void tide_gateway_reset_subtasks(struct tide_gateway *g, uint32_t first, uint32_t count);
/* They are not there yet: what is put for them, or is let go by a round, waits until all are. */
void tide_gateway_pause_subtasks(struct tide_gateway *g, uint32_t first, uint32_t count);
void tide_gateway_resume(struct tide_gateway *g);

/* ---- events */

/* An event for a subtask; the bytes are copied. 0; TIDE_EINVAL (no such subtask); TIDE_ETOOBIG
 * (longer than an event may be); TIDE_EBUSY (full: when others have gone); TIDE_ENOMEM. */
int tide_gateway_put(struct tide_gateway *g, uint32_t subtask, struct tide_bytes event);

struct tide_gateway_event {
    uint64_t id; /* in the order in which they were put */
    uint32_t subtask;
    struct tide_bytes bytes; /* view until the next call of _next, _reset or _free */
};
/* Takes the next event that may go now. */
bool tide_gateway_next(struct tide_gateway *g, struct tide_gateway_event *ret);
/* The subtask has it; or it is lost. Ids that were never taken or are settled change nothing. */
void tide_gateway_confirm(struct tide_gateway *g, uint64_t id, bool lost);
/* An event was lost since the last reset. */
bool tide_gateway_failed(const struct tide_gateway *g);
size_t tide_gateway_held(const struct tide_gateway *g); /* bytes that are held back */

/* ---- rounds */

/* A round begins. TIDE_EINVAL: its id is not above all earlier ones; TIDE_EBUSY: too many. */
int tide_gateway_mark(struct tide_gateway *g, uint64_t round);
/* The coordinator's snapshot for it is taken. False: it is not marked (any more). Older rounds that
 * have not closed can do so no more: what is held back by this one would be missing in theirs. */
bool tide_gateway_close(struct tide_gateway *g, uint64_t round);
/* Whether the snapshot counts: 0: all that was put before it is confirmed, also what an older round
 * holds back; TIDE_EAGAIN: not yet; TIDE_EIO: an event is lost; TIDE_ESTALE: the round does not
 * close the gateway. */
int tide_gateway_settled(const struct tide_gateway *g, uint64_t round);
/* These subtasks have acked the round: what it holds back for them may go. */
void tide_gateway_release(struct tide_gateway *g, uint64_t round, uint32_t first, uint32_t count);
/* The round is over, complete or aborted: for all of them. */
void tide_gateway_open(struct tide_gateway *g, uint64_t round);
/* Rounds below are over. */
void tide_gateway_lowest(struct tide_gateway *g, uint64_t lowest_pending);

/* Names a broken invariant, or NULL. For tests and the simulator. */
const char *tide_gateway_check(const struct tide_gateway *g);

#endif

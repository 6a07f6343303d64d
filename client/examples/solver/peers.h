/* The neighbours: the process with the block above, and the one with the block below.
 *
 * One TCP connection to each. It opens with a hello that names job, attempt and block, and any
 * other is refused, so that a process that was replaced and does not know it disturbs nobody. Then
 * each step sends a row in each direction, with the number of the step in front. A row is read when
 * its step has come, and not before: what a neighbour that is ahead has sent lies in the kernel. */
#ifndef SOLVER_PEERS_H
#define SOLVER_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ABOVE, BELOW, SIDES };

struct peers;

/* Listens on any port of 127.0.0.1. NULL: that fails. row_size: bytes of a row. */
struct peers *peers_new(uint32_t block, uint32_t blocks, size_t row_size);
void peers_free(struct peers *p);
const char *peers_endpoint(const struct peers *p); /* "host:port", for the block below */

/* A new attempt: connects to the block above (NULL: there is none), accepts the one below. */
void peers_begin(struct peers *p, const char *job_id, uint64_t attempt, const char *above);
void peers_drop(struct peers *p);

/* Begins to send the rows of a step to both sides, and to receive theirs. */
void peers_exchange(struct peers *p, uint64_t step, const void *to_above, const void *to_below);
/* Whether all is sent and received: then the neighbours' rows, NULL at the rim. */
bool peers_done(const struct peers *p);
const void *peers_row(const struct peers *p, int side);
/* Sends and receives what can be, waiting at most timeout_ms for that; true: other_fd is readable.
 */
bool peers_wait(struct peers *p, int other_fd, int timeout_ms);

#endif

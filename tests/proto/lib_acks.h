/* Random batches of acks, and the walk compared with protobuf-c's own reading. */
#ifndef TESTS_ACKS_H
#define TESTS_ACKS_H

#include "proto/ack.h"
#include "proto/worker.pb-c.h"
#include "tests/proto/lib_random.h"

/* Builds a random batch with the builder and appends the message to out. */
void random_batch(struct rng *r, uint32_t columns_max, uint32_t full_max, struct tide_buf *out);

/* Walks a batch that open accepted: everything it yields lies within body. Returns the entries. */
uint32_t walk_in_bounds(struct tide_acks acks, struct tide_bytes body);

/* Fails the test unless the walk yields exactly what protobuf-c unpacks. */
void compare_with_unpack(struct tide_acks acks, struct tide_bytes body);

#endif

/* How late the loop is: for each turn that had something to do, the time that whatever became
 * ready at its beginning has waited at its end. Where an alarm began the turn, it counts from when
 * the alarm was due, so a process that did not get the processor shows as well.
 *
 * Counted into powers of two since the start; a turn with nothing to do counts nothing, so an idle
 * daemon pays nothing for it. */
#ifndef LAG_H
#define LAG_H

#include <stdint.h>

#include "proto/admin.pb-c.h"

#define LAG_FIRST_BIT 4 /* the first bucket: below 16 us */
#define LAG_BUCKETS 22  /* ... 32 us, up to below 16.8 s, and the rest */

struct lag {
    uint64_t since_us; /* of the turn under way; 0: it has had nothing to do yet */
    uint64_t max_us;
    uint64_t counts[LAG_BUCKETS];
};

/* Something became ready at that moment. The earliest of a turn counts. */
void lag_begin(struct lag *l, uint64_t since_us);
/* The turn is over. */
void lag_end(struct lag *l, uint64_t now_us);

/* Fills in the status' part; the memory is the caller's. */
struct lag_answer {
    Tide__LagBucket buckets[LAG_BUCKETS], *list[LAG_BUCKETS];
};
void lag_answer(const struct lag *l, struct lag_answer *memory, Tide__Status *status);

#endif

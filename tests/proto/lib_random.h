/* Random numbers that are the same on every machine: a test that fails, fails again. */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdint.h>

#include "proto/bytes.h"

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n); /* 0 to n - 1 */
/* Small, middling and huge numbers alike: the length in bits is random. */
uint64_t rng_any(struct rng *r, unsigned bits_max);
void rng_fill(struct rng *r, void *data, size_t len);

#endif

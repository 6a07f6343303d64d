/* The histogram of the loop's lag, see lag.h. */
#include "daemon/lag.h"

void lag_begin(struct lag *l, uint64_t since_us)
{
    if (!l->since_us || since_us < l->since_us) l->since_us = since_us;
}

/* Bucket i holds what is below 2^(LAG_FIRST_BIT + i) us, the last one everything else. */
static unsigned bucket_of(uint64_t us)
{
    unsigned bits = us ? 64 - (unsigned)__builtin_clzll(us) : 0;
    if (bits <= LAG_FIRST_BIT) return 0;
    return bits - LAG_FIRST_BIT < LAG_BUCKETS ? bits - LAG_FIRST_BIT : LAG_BUCKETS - 1;
}

void lag_end(struct lag *l, uint64_t now_us)
{
    if (!l->since_us) return;
    uint64_t us = now_us > l->since_us ? now_us - l->since_us : 0;
    l->counts[bucket_of(us)]++;
    if (us > l->max_us) l->max_us = us;
    l->since_us = 0;
}

void lag_answer(const struct lag *l, struct lag_answer *memory, Tide__Status *status)
{
    for (unsigned i = 0; i < LAG_BUCKETS; i++) {
        tide__lag_bucket__init(&memory->buckets[i]);
        memory->buckets[i].below_us = i + 1 < LAG_BUCKETS ? (uint64_t)1 << (LAG_FIRST_BIT + i) : 0;
        memory->buckets[i].count = l->counts[i];
        memory->list[i] = &memory->buckets[i];
    }
    status->loop_lag = memory->list;
    status->n_loop_lag = LAG_BUCKETS;
    status->loop_lag_max_us = l->max_us;
}

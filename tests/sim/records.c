/* Sets of records: which of each source. */
#include "tests/sim/job.h"

bool set_has(const record_set *r, uint32_t source, uint32_t number)
{
    return r->word[source][number / 64] >> (number % 64) & 1;
}

void set_put(record_set *r, uint32_t source, uint32_t number)
{
    r->word[source][number / 64] |= (uint64_t)1 << (number % 64);
}

bool set_overlap(const record_set *a, const record_set *b)
{
    uint64_t both = 0;
    for (uint32_t i = 0; i < SOURCES_MAX; i++)
        for (uint32_t w = 0; w < WORDS; w++)
            both |= a->word[i][w] & b->word[i][w];
    return both != 0;
}

void set_meet(record_set *a, const record_set *b)
{
    for (uint32_t i = 0; i < SOURCES_MAX; i++)
        for (uint32_t w = 0; w < WORDS; w++)
            a->word[i][w] &= b->word[i][w];
}

void set_add(record_set *a, const record_set *b)
{
    for (uint32_t i = 0; i < SOURCES_MAX; i++)
        for (uint32_t w = 0; w < WORDS; w++)
            a->word[i][w] |= b->word[i][w];
}

uint32_t set_count(const record_set *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < SOURCES_MAX; i++)
        for (uint32_t w = 0; w < WORDS; w++)
            n += (uint32_t)__builtin_popcountll(r->word[i][w]);
    return n;
}

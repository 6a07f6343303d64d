/* splitmix64 */
#include "tests/proto/lib_random.h"

uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)(rng_next(r) >> 32) % n;
}

uint64_t rng_any(struct rng *r, unsigned bits_max)
{
    unsigned bits = rng_below(r, bits_max + 1);
    return bits ? rng_next(r) >> (64 - bits) : 0;
}

void rng_fill(struct rng *r, void *data, size_t len)
{
    uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)rng_next(r);
}

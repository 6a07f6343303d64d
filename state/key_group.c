/* From a key to its key group. All arithmetic is modulo 2^32; what Java calls negative has the
 * highest bit set here. */
#include "state/key_group.h"

#include <xxhash.h>

#include "state/tidemark-state.h"

static uint32_t rotate(uint32_t v, unsigned by)
{
    return v << by | v >> (32 - by);
}

uint32_t tide_states_spread(uint32_t hash)
{
    uint32_t h = rotate(hash * 0xcc9e2d51u, 15) * 0x1b873593u;
    h = rotate(h, 13) * 5 + 0xe6546b64u;
    h ^= 4; /* the length in bytes of what was hashed */
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    h ^= h >> 16;
    if (h <= INT32_MAX) return h;
    return h == 0x80000000u ? 0 : 0u - h; /* the absolute value, of which INT_MIN has none */
}

uint32_t tide_states_hash(const void *key, size_t len)
{
    return (uint32_t)XXH3_64bits(key, len);
}

uint32_t tide_states_key_group(const void *key, size_t len, uint32_t max_parallelism)
{
    if (max_parallelism == 0) return 0;
    return tide_states_spread(tide_states_hash(key, len)) % max_parallelism;
}

void tide_states_key_of_int(int64_t value, uint8_t ret_key[8])
{
    uint64_t bits = (uint64_t)value;
    for (unsigned i = 0; i < 8; i++)
        ret_key[i] = (uint8_t)(bits >> 8 * i);
}

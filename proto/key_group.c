/* Key groups: which subtask owns which part of the keys. The arithmetic is Flink's, in 64 bits, so
 * that it holds for every parallelism that a spec may have. */
#include "proto/graph.h"

#include <xxhash.h>

uint32_t tide_max_parallelism_default(uint32_t parallelism)
{
    uint64_t wish = (uint64_t)parallelism + parallelism / 2;
    uint32_t groups = 128;

    while (groups < wish && groups < 32768)
        groups *= 2;
    return groups < parallelism ? parallelism : groups;
}

uint32_t tide_key_group(const void *key, size_t len, uint32_t max_parallelism)
{
    uint32_t hash = (uint32_t)XXH3_64bits(key, len);
    return max_parallelism ? hash % max_parallelism : 0;
}

uint32_t tide_key_group_owner(uint32_t key_group, uint32_t parallelism, uint32_t max_parallelism)
{
    if (max_parallelism == 0) return 0;
    return (uint32_t)((uint64_t)key_group * parallelism / max_parallelism);
}

void tide_key_group_range(uint32_t subtask, uint32_t parallelism, uint32_t max_parallelism,
                          uint32_t *ret_first, uint32_t *ret_count)
{
    *ret_first = *ret_count = 0;
    if (parallelism == 0 || max_parallelism == 0 || subtask >= parallelism) return;
    /* rounded up: the least group whose owner is this subtask, and the next one's */
    uint64_t first = ((uint64_t)subtask * max_parallelism + parallelism - 1) / parallelism;
    uint64_t next = ((uint64_t)(subtask + 1) * max_parallelism + parallelism - 1) / parallelism;
    *ret_first = (uint32_t)first;
    *ret_count = (uint32_t)(next - first);
}

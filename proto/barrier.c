/* The in-band barrier's 16 bytes. What is decoded is checked: a receiver acts on flags that it
 * knows in combinations that mean something, or not at all. */
#include "proto/barrier.h"

#include <xxhash.h>

#include "proto/bytes.h"
#include "proto/err.h"

#define FLAGS                                                                                      \
    (TIDE_BARRIER_UNALIGNED | TIDE_BARRIER_CANCEL | TIDE_BARRIER_END | TIDE_BARRIER_COUNTED)

void tide_barrier_encode(const struct tide_barrier *b, uint8_t out[static TIDE_BARRIER_BYTES])
{
    tide_set_u64(out, b->round);
    tide_set_u32(out + 8, b->flags);
    tide_set_u32(out + 12, b->job_check);
}

int tide_barrier_decode(const uint8_t in[static TIDE_BARRIER_BYTES], struct tide_barrier *ret)
{
    struct tide_barrier b = {tide_get_u64(in), tide_get_u32(in + 8), tide_get_u32(in + 12)};
    const bool end = b.flags & TIDE_BARRIER_END;

    if (b.flags & ~(uint32_t)FLAGS || b.flags & (b.flags - 1)) return TIDE_EPROTO;
    if (end != (b.round == 0)) return TIDE_EPROTO;
    *ret = b;
    return 0;
}

uint32_t tide_job_check(const uint8_t job_id[static 16])
{
    return (uint32_t)XXH3_64bits(job_id, 16);
}

/* The in-band barrier: 16 bytes that workers put into their own channels.
 *
 *   bytes 0-7   round, little-endian
 *   bytes 8-11  flags, little-endian
 *   bytes 12-15 job check: low 32 bits of XXH3-64 over the 16 bytes of the job's id, little-endian
 */
#ifndef TIDE_BARRIER_H
#define TIDE_BARRIER_H

#include <stdbool.h>
#include <stdint.h>

#define TIDE_BARRIER_BYTES 16

enum tide_barrier_flag {
    TIDE_BARRIER_UNALIGNED = 1, /* the sender does not wait for barriers of this round: nor does the
                                   receiver any more */
    TIDE_BARRIER_CANCEL = 2,    /* the round was given up upstream */
    TIDE_BARRIER_END = 4,       /* no more barriers come on this channel; round is 0 */
    TIDE_BARRIER_COUNTED = 8    /* at least once: nothing is blocked for this round */
};

struct tide_barrier {
    uint64_t round;
    uint32_t flags, job_check;
};

void tide_barrier_encode(const struct tide_barrier *b, uint8_t out[static TIDE_BARRIER_BYTES]);
/* 0, or TIDE_EPROTO: unknown flags, more than one of them, a round of 0 without END, a round with
 * END. */
int tide_barrier_decode(const uint8_t in[static TIDE_BARRIER_BYTES], struct tide_barrier *ret);
uint32_t tide_job_check(const uint8_t job_id[static 16]);

#endif

/* The aligner: decides, for one task, when its barriers have lined up. A pure object: it owns no
 * channel, reads no clock, allocates nothing after birth but for growing to more channels. It is
 * fed with what happened and answers with what to do now.
 *
 * The usual way, exactly-once and aligned (Flink 2.0, SingleCheckpointBarrierHandler; Carbone et
 * al. 2015, arXiv 1506.08603): the first barrier of a round on a channel blocks that channel; when
 * every open channel has had it, the task forwards the barrier, takes its snapshot, and unblocks
 * all.
 *
 * A round may be aborted, given up, or overtaken by a newer one; it is then remembered, also one
 * not yet seen, down to the lowest pending round, so that its late barriers are dropped, and
 * answered downstream with a cancel marker. */
#ifndef TIDE_ALIGN_H
#define TIDE_ALIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIDE_CHANNELS_MAX 65536u

enum tide_align_do {
    TIDE_ALIGN_BLOCK = 1, /* stop reading `channel` */
    TIDE_ALIGN_UNBLOCK,   /* read `channel` again */
    TIDE_ALIGN_FORWARD,   /* put the barrier of `round` into every output */
    TIDE_ALIGN_SNAPSHOT,  /* take the snapshot of `round` now; align_us tells how long it took to
                             line up */
    TIDE_ALIGN_CANCEL,    /* put a cancel marker for `round` into every output */
    TIDE_ALIGN_DISCARD,   /* the round is given up here: decline it, for `reason`; NULL: the daemon
                             knows already */
    TIDE_ALIGN_ENDED      /* every channel has ended: triggers act as for a source from now on */
};

struct tide_align_step {
    enum tide_align_do what;
    uint32_t channel;
    uint64_t round, align_us, start_us; /* start_us: when the first barrier came */
    const char *reason;
};

struct tide_align;

/* channels: 0 for a source. 0, TIDE_EINVAL (too many), TIDE_ENOMEM. */
int tide_align_new(uint32_t channels, struct tide_align **ret);
void tide_align_free(struct tide_align *a);

/* Each of these answers by steps, fetched with tide_align_next() in order until it returns false,
 * before the next call. All return 0, or TIDE_EINVAL (channel out of range), TIDE_EPROTO (a barrier
 * on an ended channel). */
int tide_align_barrier(struct tide_align *a, uint32_t channel, uint64_t round, uint64_t now_us);
int tide_align_cancel(struct tide_align *a, uint32_t channel, uint64_t round, uint64_t now_us);
int tide_align_end(struct tide_align *a, uint32_t channel, uint64_t now_us);
/* The daemon's trigger. A task with no open channel forwards and snapshots at once; others remember
 * it: no snapshot is asked for before both barriers and trigger are there. deadline_us: when the
 * round's time is over. */
int tide_align_trigger(struct tide_align *a, uint64_t round, uint64_t deadline_us, uint64_t now_us);
/* The daemon aborted it (known), or it is given up here (the worker was cut off too long). */
int tide_align_abort(struct tide_align *a, uint64_t round, bool known, const char *reason,
                     uint64_t now_us);
/* Rounds below are resolved: what was remembered of them is dropped; their barriers are stale. */
void tide_align_lowest(struct tide_align *a, uint64_t lowest_pending);
/* Time passes: gives up a round whose deadline is over, or whose barriers lined up without a
 * trigger for longer than orphan_limit_us. */
int tide_align_tick(struct tide_align *a, uint64_t now_us, uint64_t orphan_limit_us);
/* Back to the state at birth, `channels` of them. */
int tide_align_reset(struct tide_align *a, uint32_t channels);

bool tide_align_next(struct tide_align *a, struct tide_align_step *ret);

/* Where the task stands, for progress reports. */
struct tide_align_view {
    uint64_t round;                  /* under way: aligning or lined up without trigger; 0: none */
    uint32_t missing, first_missing; /* channels without its barrier */
    uint64_t since_us;
    bool triggered;
};
void tide_align_look(const struct tide_align *a, struct tide_align_view *ret);
uint32_t tide_align_open(const struct tide_align *a); /* channels that have not ended */
bool tide_align_blocked(const struct tide_align *a, uint32_t channel);
/* When tide_align_tick() has something to do; UINT64_MAX: never. */
uint64_t tide_align_deadline(const struct tide_align *a, uint64_t orphan_limit_us);

#endif

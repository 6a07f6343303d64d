/* The aligner: decides, for one task, when its barriers have lined up. A pure object: it owns no
 * channel, reads no clock, allocates nothing after birth but for growing to more channels or
 * rounds. It is fed with what happened and answers with what to do now.
 *
 * How a round waits is its mode (Flink 2.0, SingleCheckpointBarrierHandler and
 * CheckpointBarrierTracker; Carbone et al. 2015, arXiv 1506.08603):
 *
 *   aligned    the first barrier of a round on a channel blocks that channel; when every open
 *              channel has had it, the task forwards the barrier, takes its snapshot, and unblocks
 *              all
 *   unaligned  the task forwards and snapshots at the first barrier, which overtakes what is queued
 *              in front of it; records that still come on the other channels before their barriers
 *              are processed and kept as part of the snapshot (captured)
 *   timeout    aligned at first, unaligned from a certain time on; or by the daemon's advice, or
 *              when a barrier comes that an upstream has already turned
 *   counted    (at least once) nothing is blocked; the task snapshots when it has counted all
 *
 * A round may be aborted, given up, or overtaken by a newer one; it is then remembered, also one
 * not yet seen, down to the lowest pending round, so that its late barriers are dropped, and
 * answered downstream with a cancel marker.
 *
 * Several rounds may be under way: counted ones, and beside them one that aligns or captures.
 * Barriers come in order of rounds on every channel and leave in order of rounds on every output:
 * a barrier that is put ahead passes records only, and while a task captures for one round the
 * barrier of another blocks its channel until that is over. */
#ifndef TIDE_ALIGN_H
#define TIDE_ALIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIDE_CHANNELS_MAX 65536u
#define TIDE_COUNTED_MAX 50u /* counted rounds under way at once; one more drops the oldest */

enum tide_align_do {
    TIDE_ALIGN_BLOCK = 1, /* stop reading `channel` */
    TIDE_ALIGN_UNBLOCK,   /* read `channel` again */
    TIDE_ALIGN_FORWARD,   /* put the barrier of `round` into every output, with `flags`. If
                             `unaligned`: ahead of the records that wait in the output, behind any
                             barrier that does; the records that it passes belong to the snapshot */
    TIDE_ALIGN_SNAPSHOT,  /* take the snapshot of `round` now; align_us tells how long it took to
                             line up. If `waits`: the ack must not be sent before ACKABLE */
    TIDE_ALIGN_CANCEL,    /* put a cancel marker for `round` into every output */
    TIDE_ALIGN_DISCARD,   /* the round is given up here: decline it, for `reason`; NULL: the daemon
                             knows already. It may have been snapshotted, if ACKABLE was not said */
    TIDE_ALIGN_ENDED,     /* every channel has ended: triggers act as for a source from now on */
    TIDE_ALIGN_OVERTAKE,  /* the barrier of `round` that is queued on `channel` goes ahead: take it
                             out of the queue, keep the records that were in front of it as
                             in-flight ones (they are processed later, in their turn), then feed
                             the barrier */
    TIDE_ALIGN_PROMOTE,   /* the barrier of `round` that waits in outputs goes ahead there, with
                             `flags`: the records that it passes belong to the snapshot */
    TIDE_ALIGN_ACKABLE    /* nothing is missing from the snapshot of `round` any more; the figures
                             are final */
};

enum tide_align_mode { /* as Alignment in the Trigger */
                       TIDE_ALIGN_ALIGNED = 0,
                       TIDE_ALIGN_COUNTED = 1,
                       TIDE_ALIGN_UNALIGNED = 2,
                       TIDE_ALIGN_TIMEOUT = 3
};

struct tide_align_step {
    enum tide_align_do what;
    uint32_t channel;
    uint64_t round;
    uint32_t flags;          /* FORWARD, PROMOTE: for the barrier, see proto/barrier.h */
    bool unaligned;          /* FORWARD: goes ahead; SNAPSHOT, ACKABLE: some channel's barrier was
                                not waited for */
    bool waits;              /* SNAPSHOT */
    uint64_t align_us;       /* SNAPSHOT, ACKABLE: from the first barrier to the last, so far */
    uint64_t start_us;       /* when the first barrier came */
    uint64_t start_delay_us; /* from the trigger to then */
    /* ACKABLE, or SNAPSHOT that does not wait: of the records for which tide_align_record() was
     * called between the first barrier and the last; and of those among them for which it said
     * true. (What barriers passed is known to those who kept it.) */
    uint64_t processed_bytes, persisted_bytes;
    const char *reason;
};

struct tide_align;

/* channels: 0 for a source. 0, TIDE_EINVAL (too many), TIDE_ENOMEM. */
int tide_align_new(uint32_t channels, struct tide_align **ret);
void tide_align_free(struct tide_align *a);
/* A channel whose records cannot be kept: every round waits for its barrier as an aligned one does,
 * and snapshots no sooner. Stays so until it is set otherwise, or a reset changes the number of
 * channels. TIDE_ESTATE: after the first barrier; or the channel has ended. */
int tide_align_force(struct tide_align *a, uint32_t channel, bool aligned);
/* In so many outputs a barrier that waits can still be put ahead: of a round with a timeout each
 * one tells by tide_align_sent() that the barrier has left. 0 at birth. Stays over a reset. */
void tide_align_promotable(struct tide_align *a, uint32_t outputs);

/* Each of these answers by steps, fetched with tide_align_next() in order until it returns false,
 * before the next call. All return 0, or TIDE_EINVAL (channel out of range), TIDE_EPROTO (a barrier
 * on an ended channel), TIDE_ESTATE (a barrier on a channel that another one blocks), TIDE_ENOMEM
 * (nothing works any more). flags: of proto/barrier.h, UNALIGNED
 * and COUNTED. */
int tide_align_barrier(struct tide_align *a, uint32_t channel, uint64_t round, uint32_t flags,
                       uint64_t now_us);
int tide_align_cancel(struct tide_align *a, uint32_t channel, uint64_t round, uint64_t now_us);
int tide_align_end(struct tide_align *a, uint32_t channel, uint64_t now_us);
/* A barrier was received and is queued behind records of its channel. To be told of the first
 * barrier in the queue only, since none may overtake it. It will be fed as well, in its turn or
 * after OVERTAKE. Without this call all is right too, but late. */
int tide_align_announce(struct tide_align *a, uint32_t channel, uint64_t round, uint32_t flags,
                        uint64_t now_us);
/* The daemon's trigger. A task with no open channel forwards and snapshots at once; others remember
 * it: no snapshot is asked for before both barriers and trigger are there. */
struct tide_align_trigger {
    uint64_t round;
    uint64_t deadline_us; /* when the round's time is over */
    enum tide_align_mode mode;
    uint64_t switch_us; /* TIMEOUT: when it turns unaligned; UINT64_MAX: never */
};
int tide_align_trigger(struct tide_align *a, const struct tide_align_trigger *t, uint64_t now_us);
/* The daemon's advice: turn the round unaligned. Remembered before the first barrier, acted on if
 * the task has not snapshotted, else nothing; nor in a round that is to be aligned or counted. */
int tide_align_turn(struct tide_align *a, uint64_t round, uint64_t now_us);
/* The daemon aborted it (known), or it is given up here (the worker was cut off too long). */
int tide_align_abort(struct tide_align *a, uint64_t round, bool known, const char *reason,
                     uint64_t now_us);
/* The barrier of `round` has left one of the promotable outputs. */
int tide_align_sent(struct tide_align *a, uint64_t round, uint64_t now_us);
/* Rounds below are resolved: what was remembered of them is dropped; their barriers are stale. */
void tide_align_lowest(struct tide_align *a, uint64_t lowest_pending);
/* Time passes: gives up a round whose deadline is over, or whose barriers lined up without a
 * trigger for longer than orphan_limit_us; turns unaligned what has waited long enough. */
int tide_align_tick(struct tide_align *a, uint64_t now_us, uint64_t orphan_limit_us);
/* Back to the state at birth, `channels` of them. */
int tide_align_reset(struct tide_align *a, uint32_t channels);

bool tide_align_next(struct tide_align *a, struct tide_align_step *ret);

/* A record of so many bytes was taken from the channel to be processed. True: it belongs to the
 * snapshot of the round that the task captures for. Costs next to nothing otherwise. */
bool tide_align_record(struct tide_align *a, uint32_t channel, size_t bytes);
/* The same for many at once, of channels that are not captured. */
void tide_align_processed(struct tide_align *a, uint64_t bytes);
/* The round that the task captures for; 0: none. And whether this channel's records belong to it.
 */
uint64_t tide_align_capturing(const struct tide_align *a);
bool tide_align_captures(const struct tide_align *a, uint32_t channel);

/* Where the task stands, for progress reports. */
struct tide_align_view {
    uint64_t round;                  /* under way; 0: not under way */
    uint32_t missing, first_missing; /* channels without its barrier */
    uint64_t since_us;
    bool triggered;
    bool captured; /* the snapshot was asked for; what is missing is captured */
    bool sending;  /* the barrier waits in outputs; missing is 0 */
};
/* round: 0 takes the one that aligns or captures, counted ones left aside. */
void tide_align_look(const struct tide_align *a, uint64_t round, struct tide_align_view *ret);
uint32_t tide_align_open(const struct tide_align *a); /* channels that have not ended */
bool tide_align_blocked(const struct tide_align *a, uint32_t channel);
/* When tide_align_tick() has something to do; UINT64_MAX: never. */
uint64_t tide_align_deadline(const struct tide_align *a, uint64_t orphan_limit_us);

#endif

/* Rounds that do not wait for all barriers
 *
 * The usual way: a round that is unaligned from its trigger on snapshots at its first barrier; one
 * with a timeout turns so when its time has come, or when a barrier comes that an upstream has
 * turned. A barrier that is queued behind records (announced) counts as come: the task snapshots,
 * and then takes it out of the queue; what it passes is kept. From the snapshot to each channel's
 * barrier the channel is captured.
 *
 * Meanwhile another round's barrier may come on a channel that has had its own: it is parked, its
 * channel blocked, and both go on when the capture is over. On a channel that is captured it ends
 * the round, since that one's barrier will not come any more.
 *
 * A channel that is forced to be aligned has no in-flight records: the round snapshots when all of
 * those have had their barriers, and until then waits like an aligned one. (Flink writes into the
 * barrier that it is downgraded for such an edge; here the flag tells of the round alone, each end
 * of the edge knows of its place.)
 *
 * Flink blocks a channel on which an aligned barrier comes while others are captured, since its
 * network does. Here it is not: the task has snapshotted, what comes next is behind the cut and may
 * be processed.
 *
 * A round with a timeout whose barriers lined up in time may be held up behind records that wait in
 * the task's outputs: it is not acked before its barrier has left them, and when the time has come
 * it is put ahead there. */
#include "client/align_impl.h"
#include "proto/barrier.h"
#include "proto/err.h"
#include "proto/plant.h"

/* ---- announcements */

void tide_align_forget_announced(struct tide_align *a, uint32_t channel)
{
    a->channel[channel].announced = 0;
    a->n_announced--;
}

int tide_align_announce(struct tide_align *a, uint32_t channel, uint64_t round, uint32_t flags,
                        uint64_t now_us)
{
    int rc = tide_align_enter(a, now_us);
    if (rc) return rc;
    if (channel >= a->channels || !round) return TIDE_EINVAL;
    struct channel *ch = &a->channel[channel];
    if (ch->flags & ENDED) return TIDE_EPROTO;
    if (tide_align_resolved(a, round) || flags & TIDE_BARRIER_COUNTED) return 0;
    struct round *r = tide_align_remember(a, round);
    if (!r || r->state == OVER || ch->last >= round || ch->parked >= round) return a->rc;
    if (!ch->announced) a->n_announced++;
    ch->announced = round;
    if (flags & TIDE_BARRIER_UNALIGNED) tide_align_turn_round(r);
    tide_align_time(a, r);
    tide_align_progress(a);
    tide_align_consider(a);
    return a->rc;
}

/* One that is to be aligned stays so, whatever is said: nothing of it may be in flight. */
void tide_align_turn_round(struct round *r)
{
    if (r->state != KNOWN && r->state != ALIGNING) return;
    if (r->counted || (r->triggered && r->mode == TIDE_ALIGN_ALIGNED)) return;
    r->unaligned = true;
}

void tide_align_time(struct tide_align *a, struct round *r)
{
    if (r->triggered && a->now_us >= r->switch_us) tide_align_turn_round(r);
}

/* The oldest round that may begin by an announcement. */
static struct round *announced_first(struct tide_align *a)
{
    for (uint32_t i = 0; i < a->n_rounds; i++) {
        struct round *r = &a->rounds[i];
        if (r->state != KNOWN || !r->triggered || !r->unaligned || r->number <= a->newest) continue;
        for (uint32_t c = 0; c < a->channels; c++)
            if (a->channel[c].announced == r->number) return r;
    }
    return NULL;
}

void tide_align_consider(struct tide_align *a)
{
    if (!a->n_announced) return;
    if (!a->current && !a->forced) {
        struct round *r = announced_first(a);
        if (r) {
            tide_align_begin(a, r, NO_CHANNEL);
            tide_align_progress(a);
        }
    }
    for (uint32_t c = 0; a->capturing && c < a->channels; c++) {
        if (a->channel[c].announced != a->capturing) continue;
        tide_align_forget_announced(a, c);
        tide_align_say(a, TIDE_ALIGN_OVERTAKE, a->capturing, c, NULL);
    }
}

/* ---- capture */

bool tide_align_captures(const struct tide_align *a, uint32_t channel)
{
    if (!a->capturing || channel >= a->channels) return false;
    const struct channel *ch = &a->channel[channel];
    return ch->last < a->capturing && !(ch->flags & ENDED);
}

bool tide_align_record(struct tide_align *a, uint32_t channel, size_t bytes)
{
    a->bytes += bytes;
    if (!a->capturing || !tide_align_captures(a, channel)) return false;
    a->persisted += bytes;
    return true;
}

void tide_align_processed(struct tide_align *a, uint64_t bytes)
{
    a->bytes += bytes;
}

uint64_t tide_align_capturing(const struct tide_align *a)
{
    return a->capturing;
}

void tide_align_captured(struct tide_align *a, struct round *r)
{
    r->processed = a->bytes - r->bytes_before;
    r->persisted = a->persisted;
    tide_align_say_of(a, TIDE_ALIGN_ACKABLE, r)->unaligned = true;
    tide_align_leave(a, r, NO_CHANNEL);
}

/* ---- barriers that wait until a capture is over */

bool tide_align_park(struct tide_align *a, uint32_t channel, struct round *r, uint32_t flags)
{
    struct channel *ch = &a->channel[channel];
    if (!a->capturing || r->number <= a->capturing || ch->last < a->capturing) return false;
    if (r->state == OVER || r->counted || flags & TIDE_BARRIER_COUNTED) return false;
    ch->parked = r->number;
    ch->parked_flags = (uint8_t)flags;
    ch->flags |= BLOCKED; /* it was not: the snapshot has unblocked all */
    a->n_parked++;
    if (PLANTED(READ_ON)) return true;
    tide_align_say(a, TIDE_ALIGN_BLOCK, 0, channel, NULL);
    return true;
}

/* The channel stays blocked if its round blocks it. */
static void release(struct tide_align *a, uint32_t channel)
{
    struct channel *ch = &a->channel[channel];
    struct round *r = tide_align_find(a, ch->parked);
    ch->parked = 0;
    a->n_parked--;
    tide_align_take(a, channel, r, ch->parked_flags);
    if ((r->number == a->current && r->state == ALIGNING) || !(ch->flags & BLOCKED)) return;
    tide_align_say(a, TIDE_ALIGN_UNBLOCK, 0, channel, NULL);
    ch->flags &= (uint8_t)~BLOCKED;
}

void tide_align_unpark(struct tide_align *a)
{
    for (uint32_t c = 0; a->n_parked && c < a->channels; c++)
        if (a->channel[c].parked) release(a, c);
}

void tide_align_unpark_over(struct tide_align *a)
{
    for (uint32_t c = 0; a->n_parked && c < a->channels; c++)
        if (a->channel[c].parked && tide_align_find(a, a->channel[c].parked)->state == OVER)
            release(a, c);
}

/* ---- outputs */

static void left(struct tide_align *a, struct round *r)
{
    tide_align_say_of(a, TIDE_ALIGN_ACKABLE, r);
    r->state = OVER;
}

int tide_align_sent(struct tide_align *a, uint64_t round, uint64_t now_us)
{
    int rc = tide_align_enter(a, now_us);
    struct round *r = tide_align_find(a, round);
    if (rc || !r || r->state != SENDING) return rc;
    if (--r->outputs == 0) left(a, r);
    return a->rc;
}

void tide_align_tick_outputs(struct tide_align *a, struct round *r)
{
    if (a->now_us < r->switch_us) return;
    tide_align_say_of(a, TIDE_ALIGN_PROMOTE, r)->flags = TIDE_BARRIER_UNALIGNED;
    left(a, r);
}

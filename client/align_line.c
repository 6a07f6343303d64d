/* Barriers that line up
 *
 * The usual way: take the barriers of a round as they come, block their channels; when none is
 * missing, or the round does not wait for those that are, and the trigger is there: forward,
 * snapshot, unblock. A round that was snapshotted before its last barrier is captured from then on
 * and finished with that one.
 *
 * Each barrier that comes proves that rounds below it which have not come on that channel never
 * will: barriers leave every task in order of rounds. What has not begun by then is skipped, what
 * is under way and waits for that channel is given up, at once instead of at its deadline. */
#include "client/align_impl.h"
#include "proto/barrier.h"
#include "proto/plant.h"

void tide_align_unblock(struct tide_align *a, uint32_t keep)
{
    for (uint32_t i = 0; i < a->channels; i++) {
        struct channel *ch = &a->channel[i];
        if (!(ch->flags & BLOCKED) || ch->parked || i == keep) continue;
        tide_align_say(a, TIDE_ALIGN_UNBLOCK, 0, i, NULL);
        ch->flags &= (uint8_t)~BLOCKED;
    }
}

void tide_align_leave(struct tide_align *a, struct round *r, uint32_t keep)
{
    r->state = OVER;
    r->silent = true;
    if (r->number != a->current) return;
    a->current = a->capturing = 0;
    tide_align_unblock(a, keep);
    tide_align_unpark(a);
}

void tide_align_give_up(struct tide_align *a, uint64_t round, const char *reason, uint32_t keep)
{
    tide_align_say(a, TIDE_ALIGN_CANCEL, round, 0, NULL);
    tide_align_say(a, TIDE_ALIGN_DISCARD, round, 0, reason);
    tide_align_leave(a, tide_align_find(a, round), keep);
}

void tide_align_skip(struct tide_align *a, struct round *r, const char *reason)
{
    tide_align_say(a, TIDE_ALIGN_CANCEL, r->number, 0, NULL);
    tide_align_say(a, TIDE_ALIGN_DISCARD, r->number, 0, reason);
    r->state = OVER;
    r->silent = true;
}

static void skip_older(struct tide_align *a, const struct round *r)
{
    for (struct round *old = a->rounds; old < r; old++)
        if (old->state == KNOWN) tide_align_skip(a, old, tide_align_overtaken);
}

void tide_align_begin(struct tide_align *a, struct round *r, uint32_t channel)
{
    if (!r->counted && a->current) tide_align_give_up(a, a->current, tide_align_overtaken, channel);
    skip_older(a, r);
    if (r->counted)
        tide_align_count_room(a);
    else
        a->current = r->number;
    a->newest = r->number;
    r->state = ALIGNING;
    r->start_us = r->last_us = a->now_us;
    r->bytes_before = a->bytes;
    r->missing = a->open; /* nobody has had it: what has come since is not newer than this */
    r->forced_missing = a->forced;
}

static bool is_ready(const struct round *r)
{
    return r->missing == 0 || (r->unaligned && r->forced_missing == 0);
}

static void snapshot(struct tide_align *a, struct round *r)
{
    tide_align_drop_older(a, r->number);
    r->passed = r->missing > 0;
    if (!r->missing) r->processed = a->bytes - r->bytes_before;
    const bool sends = r->mode == TIDE_ALIGN_TIMEOUT && !r->unaligned && a->promotable;
    struct step *s = tide_align_say_of(a, TIDE_ALIGN_FORWARD, r);
    s->unaligned = r->unaligned;
    s->flags = r->counted ? TIDE_BARRIER_COUNTED : r->unaligned ? TIDE_BARRIER_UNALIGNED : 0;
    s = tide_align_say_of(a, TIDE_ALIGN_SNAPSHOT, r);
    s->unaligned = r->passed;
    s->waits = r->passed || (sends && !PLANTED(ACK_UNSENT));
    if (r->passed) {
        r->state = CAPTURING;
        a->capturing = r->number;
        a->persisted = 0;
        tide_align_unblock(a, NO_CHANNEL);
        return;
    }
    tide_align_leave(a, r, NO_CHANNEL);
    if (!sends) return;
    r->state = SENDING;
    r->outputs = a->promotable;
}

void tide_align_progress(struct tide_align *a)
{
    for (uint32_t i = 0; i < a->n_rounds; i++) {
        struct round *r = &a->rounds[i];
        if (r->state == ALIGNING && is_ready(r)) {
            if (r->triggered)
                snapshot(a, r);
            else if (!r->ready)
                r->ready = true, r->ready_us = a->now_us;
        } else if (r->state == CAPTURING && r->missing <= PLANTED(CAPTURE_SHORT)) {
            tide_align_captured(a, r);
            i = UINT32_MAX; /* what waited for it may have begun: from the start */
        }
    }
}

/* The last of all blocks only to wait for the trigger. */
static void block(struct tide_align *a, uint32_t channel, const struct round *r)
{
    struct channel *ch = &a->channel[channel];
    if (r->state != ALIGNING || r->counted || ch->flags & BLOCKED) return;
    tide_align_say(a, TIDE_ALIGN_BLOCK, 0, channel, NULL);
    ch->flags |= BLOCKED;
}

void tide_align_take(struct tide_align *a, uint32_t channel, struct round *r, uint32_t flags)
{
    struct channel *ch = &a->channel[channel];
    tide_align_skipped_on(a, channel, r->number);
    uint64_t before = ch->last;
    if (r->number > ch->last) ch->last = r->number;
    if (r->state == OVER) {
        if (r->number > a->newest) a->newest = r->number;
        tide_align_answer_once(a, r);
        skip_older(a, r);
        return;
    }
    if (r->state == KNOWN && r->number <= a->newest) {
        tide_align_skip(a, r, tide_align_overtaken);
        return;
    }
    if (flags & TIDE_BARRIER_COUNTED) tide_align_count(a, r);
    if (r->state == KNOWN)
        tide_align_begin(a, r, channel);
    else if (before >= r->number)
        return;
    r->missing--;
    if (ch->flags & FORCED) r->forced_missing--;
    r->last_us = a->now_us;
    if (PLANTED(EARLY_SNAPSHOT) && r->triggered && r->missing == 1) r->missing--;
    if (flags & TIDE_BARRIER_UNALIGNED) tide_align_turn_round(r);
    if (r->missing) tide_align_time(a, r);
    tide_align_progress(a);
    block(a, channel, r);
}

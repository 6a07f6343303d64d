/* The aligner of one task: what it is fed with, and what is known of rounds.
 *
 * The usual way: the first barrier of a round opens it (align_line.c), each further one is taken
 * and its channel blocked; with the last and the daemon's trigger the round is finished: forward,
 * snapshot, unblock.
 *
 * What can go wrong, and what we do:
 * - a newer round's barrier comes            -> the one under way is overtaken: cancel, discard
 * - a cancel marker, an abort, a deadline    -> the same, for that round alone
 * - a barrier of a round that is over        -> dropped; answered with one cancel marker, unless
 *                                               downstream has had the barrier or the marker
 *                                               already
 * - barriers line up without a trigger       -> stay blocked, until the orphan limit
 *
 * A cancel marker names one round and touches no other, counted ones included (Flink's tracker
 * takes it for all older ones as well): it may be sent while an older round is still on its way in
 * the same channel. */
#include <stdlib.h>
#include <string.h>

#include "client/align_impl.h"
#include "proto/barrier.h"
#include "proto/err.h"

static const char cancelled[] = "cancelled upstream";
static const char time_over[] = "the round's time is over";
static const char no_trigger[] = "barriers lined up, but no trigger came within the orphan limit";
const char tide_align_overtaken[] = "overtaken by a newer round";

/* ---- steps */

struct step *tide_align_say(struct tide_align *a, enum tide_align_do what, uint64_t round,
                            uint32_t channel, const char *reason)
{
    if (a->n_steps == a->cap_steps) {
        uint32_t cap = a->cap_steps ? a->cap_steps * 2 : 1;
        struct step *steps = a->rc ? NULL : realloc(a->steps, cap * sizeof *steps);
        if (!steps) {
            a->rc = TIDE_ENOMEM;
            return &a->nowhere;
        }
        a->steps = steps;
        a->cap_steps = cap;
    }
    struct step *s = &a->steps[a->n_steps++];
    *s = (struct step){.round = round, .reason = reason, .channel = channel, .what = (uint8_t)what};
    return s;
}

struct step *tide_align_say_of(struct tide_align *a, enum tide_align_do what, const struct round *r)
{
    struct step *s = tide_align_say(a, what, r->number, 0, NULL);
    s->figures = true;
    return s;
}

int tide_align_enter(struct tide_align *a, uint64_t now_us)
{
    a->n_steps = a->next = 0;
    a->now_us = now_us;
    return a->rc;
}

bool tide_align_next(struct tide_align *a, struct tide_align_step *ret)
{
    if (a->next == a->n_steps) return false;
    const struct step *s = &a->steps[a->next++];
    *ret = (struct tide_align_step){
        .what = (enum tide_align_do)s->what,
        .channel = s->channel,
        .round = s->round,
        .flags = s->flags,
        .unaligned = s->unaligned,
        .waits = s->waits,
        .start_us = a->now_us,
        .reason = s->reason,
    };
    const struct round *r = s->figures ? tide_align_find(a, s->round) : NULL;
    if (!r) return true;
    ret->align_us = r->last_us - r->start_us;
    ret->start_us = r->start_us;
    ret->start_delay_us = r->start_us > r->trigger_us ? r->start_us - r->trigger_us : 0;
    ret->processed_bytes = r->processed;
    ret->persisted_bytes = r->persisted;
    return true;
}

/* ---- rounds that are known */

struct round *tide_align_find(struct tide_align *a, uint64_t round)
{
    for (uint32_t i = a->n_rounds; i-- > 0;)
        if (a->rounds[i].number == round) return &a->rounds[i];
    return NULL;
}

static void drop_rounds(struct tide_align *a, uint32_t n)
{
    a->n_rounds -= n;
    memmove(a->rounds, a->rounds + n, a->n_rounds * sizeof *a->rounds);
}

/* Room for one more: by growing, or by forgetting the oldest, which then counts as resolved, as all
 * before it. */
static bool make_room(struct tide_align *a, uint64_t round)
{
    if (a->n_rounds < a->cap_rounds) return true;
    uint32_t cap = a->cap_rounds ? a->cap_rounds * 2 : 1;
    struct round *rounds = cap <= ROUNDS_MAX ? realloc(a->rounds, cap * sizeof *rounds) : NULL;
    if (rounds) {
        a->rounds = rounds;
        a->cap_rounds = cap;
        return true;
    }
    struct round *oldest = &a->rounds[0];
    if (round < oldest->number) {
        a->lowest = round + 1;
        return false;
    }
    if (is_live(oldest) || oldest->state == SENDING)
        tide_align_give_up(a, oldest->number, tide_align_overtaken, NO_CHANNEL);
    a->lowest = a->rounds[0].number + 1;
    drop_rounds(a, 1);
    return true;
}

struct round *tide_align_remember(struct tide_align *a, uint64_t round)
{
    struct round *r = tide_align_find(a, round);
    if (r) return r;
    if (round < a->lowest || !make_room(a, round)) return NULL;
    uint32_t at = a->n_rounds++;
    for (; at && a->rounds[at - 1].number > round; at--)
        a->rounds[at] = a->rounds[at - 1];
    a->rounds[at] = (struct round){.number = round, .switch_us = UINT64_MAX};
    return &a->rounds[at];
}

void tide_align_answer_once(struct tide_align *a, struct round *r)
{
    if (!r->silent) tide_align_say(a, TIDE_ALIGN_CANCEL, r->number, 0, NULL);
    r->silent = true;
}

/* ---- what happens */

static int check(const struct tide_align *a, uint32_t channel, uint64_t round)
{
    if (channel >= a->channels || !round) return TIDE_EINVAL;
    return a->channel[channel].flags & ENDED ? TIDE_EPROTO : 0;
}

int tide_align_barrier(struct tide_align *a, uint32_t channel, uint64_t round, uint32_t flags,
                       uint64_t now_us)
{
    int rc = tide_align_enter(a, now_us);
    if (!rc) rc = check(a, channel, round);
    if (rc) return rc;
    if (a->channel[channel].parked) return TIDE_ESTATE;
    if (a->channel[channel].announced) tide_align_forget_announced(a, channel);
    struct round *r = tide_align_remember(a, round);
    if (!r) return a->rc;
    if (!tide_align_park(a, channel, r, flags)) tide_align_take(a, channel, r, flags);
    tide_align_consider(a);
    return a->rc;
}

/* It cannot even be remembered. */
static int refuse(struct tide_align *a, uint64_t round)
{
    tide_align_say(a, TIDE_ALIGN_CANCEL, round, 0, NULL);
    tide_align_say(a, TIDE_ALIGN_DISCARD, round, 0, tide_align_overtaken);
    return a->rc;
}

int tide_align_cancel(struct tide_align *a, uint32_t channel, uint64_t round, uint64_t now_us)
{
    int rc = tide_align_enter(a, now_us);
    if (!rc) rc = check(a, channel, round);
    if (rc || tide_align_resolved(a, round)) return rc;
    struct round *r = tide_align_remember(a, round);
    if (!r) return refuse(a, round);
    if (r->state == OVER)
        tide_align_answer_once(a, r);
    else if (r->state != KNOWN)
        tide_align_give_up(a, round, cancelled, NO_CHANNEL);
    else
        tide_align_skip(a, r, round > a->newest ? cancelled : tide_align_overtaken);
    tide_align_unpark_over(a);
    tide_align_consider(a);
    return a->rc;
}

/* Nothing to align any more: triggers that waited for barriers need not. */
static void all_ended(struct tide_align *a)
{
    tide_align_say(a, TIDE_ALIGN_ENDED, 0, 0, NULL);
    for (uint32_t i = 0; i < a->n_rounds; i++) {
        struct round *r = &a->rounds[i];
        if (r->state != KNOWN || !r->triggered) continue;
        tide_align_begin(a, r, NO_CHANNEL);
        tide_align_progress(a);
    }
}

int tide_align_end(struct tide_align *a, uint32_t channel, uint64_t now_us)
{
    int rc = tide_align_enter(a, now_us);
    if (rc) return rc;
    if (channel >= a->channels) return TIDE_EINVAL;
    struct channel *ch = &a->channel[channel];
    if (ch->flags & ENDED) return 0;
    if (ch->announced) tide_align_forget_announced(a, channel);
    if (ch->parked) a->n_parked--; /* it read on nevertheless */
    ch->parked = 0;
    a->open--;
    if (ch->flags & FORCED) a->forced--;
    for (uint32_t i = 0; i < a->n_rounds; i++) { /* stands for the barriers that are awaited */
        struct round *r = &a->rounds[i];
        if (!is_live(r) || ch->last >= r->number) continue;
        r->missing--;
        if (ch->flags & FORCED) r->forced_missing--;
        r->last_us = now_us;
        if (r->missing) tide_align_time(a, r);
    }
    ch->flags = (ch->flags & FORCED) | ENDED;
    tide_align_progress(a);
    if (!a->open) all_ended(a);
    tide_align_consider(a);
    return a->rc;
}

int tide_align_trigger(struct tide_align *a, const struct tide_align_trigger *t, uint64_t now_us)
{
    int rc = tide_align_enter(a, now_us);
    if (rc) return rc;
    if (!t->round) return TIDE_EINVAL;
    if (tide_align_resolved(a, t->round)) return 0;
    struct round *r = tide_align_remember(a, t->round);
    if (!r) return refuse(a, t->round);
    if (r->state == OVER || r->triggered) return 0;
    if (r->state == KNOWN && t->round <= a->newest) {
        tide_align_skip(a, r, tide_align_overtaken);
        return a->rc;
    }
    r->triggered = true;
    r->deadline_us = t->deadline_us;
    r->trigger_us = now_us;
    r->mode = (uint8_t)t->mode;
    if (t->mode == TIDE_ALIGN_COUNTED) tide_align_count(a, r);
    if (t->mode == TIDE_ALIGN_ALIGNED) r->unaligned = false;
    if (t->mode == TIDE_ALIGN_UNALIGNED) tide_align_turn_round(r);
    if (t->mode == TIDE_ALIGN_TIMEOUT) r->switch_us = t->switch_us;
    if (r->state == KNOWN || r->missing) tide_align_time(a, r);
    if (r->state == KNOWN && !a->open) tide_align_begin(a, r, NO_CHANNEL);
    tide_align_progress(a);
    tide_align_consider(a);
    return a->rc;
}

int tide_align_turn(struct tide_align *a, uint64_t round, uint64_t now_us)
{
    int rc = tide_align_enter(a, now_us);
    if (rc) return rc;
    if (!round) return TIDE_EINVAL;
    struct round *r = tide_align_remember(a, round);
    if (!r) return a->rc;
    tide_align_turn_round(r);
    tide_align_progress(a);
    tide_align_consider(a);
    return a->rc;
}

int tide_align_abort(struct tide_align *a, uint64_t round, bool known, const char *reason,
                     uint64_t now_us)
{
    int rc = tide_align_enter(a, now_us);
    if (rc) return rc;
    if (!round) return TIDE_EINVAL;
    struct round *r = tide_align_remember(a, round);
    if (!r || r->state == OVER) return a->rc;
    if (r->state != KNOWN) {
        tide_align_give_up(a, round, known ? NULL : reason, NO_CHANNEL);
    } else {
        /* Not seen: its barrier, should it come, is answered with a cancel marker then, not now,
         * since an older round may still be on its way to those downstream. */
        if (!known) tide_align_say(a, TIDE_ALIGN_DISCARD, round, 0, reason);
        r->state = OVER;
    }
    tide_align_unpark_over(a);
    tide_align_consider(a);
    return a->rc;
}

void tide_align_lowest(struct tide_align *a, uint64_t lowest_pending)
{
    if (tide_align_enter(a, a->now_us) || lowest_pending <= a->lowest) return;
    uint32_t n = 0;
    for (; n < a->n_rounds && a->rounds[n].number < lowest_pending; n++) {
        struct round *r = &a->rounds[n];
        if (r->state != KNOWN) continue;
        r->state = OVER;
        r->silent = true;
    }
    for (uint32_t i = 0; i < n; i++)
        if (a->rounds[i].state != OVER)
            tide_align_give_up(a, a->rounds[i].number, NULL, NO_CHANNEL);
    tide_align_unpark_over(a);
    a->lowest = lowest_pending;
    drop_rounds(a, n);
    tide_align_consider(a);
}

/* ---- time */

static bool is_late(const struct tide_align *a, const struct round *r)
{
    return r->state != OVER && r->triggered && a->now_us >= r->deadline_us;
}

static bool is_orphan(const struct tide_align *a, const struct round *r, uint64_t limit_us)
{
    return r->state == ALIGNING && !r->triggered && r->ready && a->now_us - r->ready_us >= limit_us;
}

int tide_align_tick(struct tide_align *a, uint64_t now_us, uint64_t orphan_limit_us)
{
    int rc = tide_align_enter(a, now_us);
    if (rc) return rc;
    for (uint32_t i = 0; i < a->n_rounds; i++) {
        struct round *r = &a->rounds[i];
        bool late = is_late(a, r);
        if (late && r->state == KNOWN) {
            r->state = OVER;
            tide_align_say(a, TIDE_ALIGN_DISCARD, r->number, 0, time_over);
        } else if (late || is_orphan(a, r, orphan_limit_us)) {
            tide_align_give_up(a, r->number, late ? time_over : no_trigger, NO_CHANNEL);
            i = UINT32_MAX; /* what waited for it may have begun: from the start */
        } else if (r->state == SENDING) {
            tide_align_tick_outputs(a, r);
        } else {
            tide_align_time(a, r);
        }
    }
    tide_align_unpark_over(a);
    tide_align_progress(a);
    tide_align_consider(a);
    return a->rc;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t tide_align_deadline(const struct tide_align *a, uint64_t orphan_limit_us)
{
    uint64_t at = UINT64_MAX;
    for (uint32_t i = 0; i < a->n_rounds; i++) {
        const struct round *r = &a->rounds[i];
        if (r->state == OVER) continue;
        if (r->triggered) {
            bool turns =
                r->state == SENDING || (r->state != CAPTURING && !r->unaligned && !r->counted);
            at = sooner(at, r->deadline_us);
            if (turns) at = sooner(at, r->switch_us);
        } else if (r->ready && orphan_limit_us < UINT64_MAX - r->ready_us) {
            at = sooner(at, r->ready_us + orphan_limit_us);
        }
    }
    return at;
}

/* ---- how it stands */

void tide_align_look(const struct tide_align *a, uint64_t round, struct tide_align_view *ret)
{
    const struct round *r = NULL;
    *ret = (struct tide_align_view){0};
    if (!round) round = a->current;
    for (uint32_t i = 0; i < a->n_rounds; i++)
        if (a->rounds[i].number == round) r = &a->rounds[i];
    if (!r || r->state == KNOWN || r->state == OVER) return;
    ret->round = round;
    ret->missing = r->missing;
    ret->since_us = r->start_us;
    ret->triggered = r->triggered;
    ret->captured = r->state == CAPTURING;
    ret->sending = r->state == SENDING;
    const struct channel *ch = a->channel;
    while (r->missing && (ch->flags & ENDED || ch->last >= round))
        ch++;
    ret->first_missing = r->missing ? (uint32_t)(ch - a->channel) : 0;
}

uint32_t tide_align_open(const struct tide_align *a)
{
    return a->open;
}

bool tide_align_blocked(const struct tide_align *a, uint32_t channel)
{
    return channel < a->channels && a->channel[channel].flags & BLOCKED;
}

/* ---- life */

int tide_align_force(struct tide_align *a, uint32_t channel, bool aligned)
{
    if (channel >= a->channels) return TIDE_EINVAL;
    struct channel *ch = &a->channel[channel];
    if (a->newest || ch->flags & ENDED) return TIDE_ESTATE;
    if (!(ch->flags & FORCED) == !aligned) return 0;
    ch->flags ^= FORCED;
    a->forced += aligned ? 1u : UINT32_MAX;
    return 0;
}

void tide_align_promotable(struct tide_align *a, uint32_t outputs)
{
    a->promotable = outputs;
}

static int make(struct tide_align *a, uint32_t channels)
{
    struct channel *channel = calloc(channels ? channels : 1, sizeof *channel);
    struct step *steps = calloc(channels + 8, sizeof *steps);
    if (!a->rounds) a->rounds = calloc(ROUNDS_FEW, sizeof *a->rounds);
    if (!channel || !steps || !a->rounds) {
        free(channel);
        free(steps);
        return TIDE_ENOMEM;
    }
    if (!a->cap_rounds) a->cap_rounds = ROUNDS_FEW;
    free(a->channel);
    free(a->steps);
    a->channel = channel;
    a->steps = steps;
    a->cap_steps = channels + 8;
    a->channels = channels;
    return 0;
}

int tide_align_reset(struct tide_align *a, uint32_t channels)
{
    if (channels > TIDE_CHANNELS_MAX) return TIDE_EINVAL;
    if (channels != a->channels || !a->steps) {
        int rc = make(a, channels);
        if (rc) return rc;
    }
    *a = (struct tide_align){.channel = a->channel,
                             .channels = channels,
                             .open = channels,
                             .promotable = a->promotable,
                             .rounds = a->rounds,
                             .cap_rounds = a->cap_rounds,
                             .steps = a->steps,
                             .cap_steps = a->cap_steps};
    for (uint32_t i = 0; i < channels; i++) {
        a->channel[i] = (struct channel){.flags = a->channel[i].flags & FORCED};
        a->forced += a->channel[i].flags ? 1 : 0;
    }
    return 0;
}

int tide_align_new(uint32_t channels, struct tide_align **ret)
{
    struct tide_align *a = calloc(1, sizeof *a);
    if (!a) return TIDE_ENOMEM;
    int rc = tide_align_reset(a, channels);
    if (rc) {
        tide_align_free(a);
        return rc;
    }
    *ret = a;
    return 0;
}

void tide_align_free(struct tide_align *a)
{
    if (!a) return;
    free(a->channel);
    free(a->rounds);
    free(a->steps);
    free(a);
}

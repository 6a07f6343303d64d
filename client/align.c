/* The aligner of one task.
 *
 * The usual way: the first barrier of a round opens it (start), each further one is taken and its
 * channel blocked; with the last (lined_up) and the daemon's trigger the round is finished:
 * forward, snapshot, unblock.
 *
 * What can go wrong, and what we do:
 * - a newer round's barrier comes            -> the one under way is overtaken: cancel, discard
 * - a cancel marker, an abort, a deadline    -> the same, for that round alone
 * - a barrier of a round that is over        -> dropped; answered with one cancel marker, unless
 *                                               downstream has had the barrier or the marker
 * already
 * - barriers line up without a trigger       -> stay blocked, until the orphan limit
 *
 * A cancel marker names one round and touches no other: it may be sent while an older
 * round is still on its way in the same channel. */
#include "client/align.h"

#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "proto/plant.h"

#define KNOWN_MAX 16u /* rounds remembered; a job has one or two in flight */
#define NO_CHANNEL UINT32_MAX
#define STEPS_EXTRA (2u * KNOWN_MAX + 8u) /* steps of one call beyond one per channel */

enum channel_flag { ENDED = 1, HAS = 2, BLOCKED = 4 };

/* A round that the aligner knows by its trigger, or remembers as over. */
struct known {
    uint64_t round, deadline_us;
    bool triggered;
    bool over;
    bool silent; /* downstream has had its barrier or its cancel marker */
};

struct step {
    uint64_t round;
    const char *reason;
    uint32_t channel;
    uint8_t what;
    bool aligned; /* SNAPSHOT: the round under way had an alignment */
};

struct tide_align {
    uint8_t *channel; /* flags of each */
    uint32_t channels, open;

    uint64_t round; /* under way; 0: none */
    uint32_t missing;
    bool triggered;
    uint64_t start_us, lined_up_us, deadline_us;
    uint64_t align_us, aligned_start_us; /* of the last one finished, for its SNAPSHOT step */

    uint64_t newest; /* highest round that was begun: older ones cannot line up any more */
    uint64_t lowest; /* rounds below are resolved */
    struct known known[KNOWN_MAX];
    uint32_t n_known;

    struct step *steps; /* room for channels + STEPS_EXTRA */
    uint32_t n_steps, next;
    uint64_t now_us;
};

static const char overtaken[] = "overtaken by a newer round";
static const char cancelled[] = "cancelled upstream";
static const char time_over[] = "the round's time is over";
static const char no_trigger[] = "barriers lined up, but no trigger came within the orphan limit";

/* ---- steps */

static void say(struct tide_align *a, enum tide_align_do what, uint64_t round, uint32_t channel,
                const char *reason)
{
    if (a->n_steps == a->channels + STEPS_EXTRA) return; /* cannot be: see the bound */
    a->steps[a->n_steps++] =
        (struct step){.round = round, .reason = reason, .channel = channel, .what = (uint8_t)what};
}

static void begin(struct tide_align *a, uint64_t now_us)
{
    a->n_steps = a->next = 0;
    a->now_us = now_us;
}

bool tide_align_next(struct tide_align *a, struct tide_align_step *ret)
{
    if (a->next == a->n_steps) return false;
    const struct step *s = &a->steps[a->next++];
    *ret = (struct tide_align_step){
        .what = (enum tide_align_do)s->what,
        .channel = s->channel,
        .round = s->round,
        .align_us = s->aligned ? a->align_us : 0,
        .start_us = s->aligned ? a->aligned_start_us : a->now_us,
        .reason = s->reason,
    };
    return true;
}

/* ---- rounds that are known */

static struct known *find(struct tide_align *a, uint64_t round)
{
    for (uint32_t i = 0; i < a->n_known; i++)
        if (a->known[i].round == round) return &a->known[i];
    return NULL;
}

/* NULL: there is no room for one that is older than all; then it counts as resolved. So no known
 * round is ever below `lowest`. */
static struct known *remember(struct tide_align *a, uint64_t round)
{
    struct known *k = find(a, round);
    if (k) return k;
    if (a->n_known == KNOWN_MAX) { /* forgets the oldest: then all up to it count as resolved */
        uint32_t oldest = 0;
        for (uint32_t i = 1; i < KNOWN_MAX; i++)
            if (a->known[i].round < a->known[oldest].round) oldest = i;
        if (round < a->known[oldest].round) {
            if (round >= a->lowest) a->lowest = round + 1;
            return NULL;
        }
        if (a->known[oldest].round >= a->lowest) a->lowest = a->known[oldest].round + 1;
        a->known[oldest] = a->known[--a->n_known];
    }
    k = &a->known[a->n_known++];
    *k = (struct known){.round = round};
    return k;
}

static bool resolved(const struct tide_align *a, uint64_t round)
{
    return round < a->lowest && round != a->round;
}

static void close_round(struct tide_align *a, uint64_t round, bool silent)
{
    if (round < a->lowest) return;
    struct known *k = remember(a, round);
    if (!k) return;
    k->over = true;
    k->silent = silent;
}

/* ---- the round under way */

static void unblock_all(struct tide_align *a, uint32_t keep)
{
    for (uint32_t i = 0; i < a->channels; i++) {
        if (a->channel[i] & BLOCKED && i != keep) {
            say(a, TIDE_ALIGN_UNBLOCK, 0, i, NULL);
            a->channel[i] &= (uint8_t)~BLOCKED;
        }
        a->channel[i] &= (uint8_t)~HAS;
    }
}

/* Ends the round under way without a snapshot. `keep` stays blocked: a newer round's barrier is on
 * it. */
static void give_up(struct tide_align *a, const char *reason, uint32_t keep)
{
    uint64_t round = a->round;
    say(a, TIDE_ALIGN_CANCEL, round, 0, NULL);
    say(a, TIDE_ALIGN_DISCARD, round, 0, reason);
    a->round = 0;
    close_round(a, round, true);
    unblock_all(a, keep);
}

static void finish(struct tide_align *a)
{
    uint64_t round = a->round;
    a->align_us = a->lined_up_us - a->start_us;
    a->aligned_start_us = a->start_us;
    say(a, TIDE_ALIGN_FORWARD, round, 0, NULL);
    say(a, TIDE_ALIGN_SNAPSHOT, round, 0, NULL);
    a->steps[a->n_steps - 1].aligned = true;
    a->round = 0;
    close_round(a, round, true);
    unblock_all(a, NO_CHANNEL);
}

static void lined_up(struct tide_align *a)
{
    a->lined_up_us = a->now_us;
    if (a->triggered) finish(a);
}

/* A round that never began here and cannot line up any more, since a newer one has begun. */
static void skip(struct tide_align *a, uint64_t round, const char *reason)
{
    say(a, TIDE_ALIGN_CANCEL, round, 0, NULL);
    say(a, TIDE_ALIGN_DISCARD, round, 0, reason);
    close_round(a, round, true);
}

static void skip_older(struct tide_align *a, uint64_t round)
{
    for (uint32_t i = 0; i < a->n_known; i++)
        if (a->known[i].round < round && !a->known[i].over) skip(a, a->known[i].round, overtaken);
}

static void start(struct tide_align *a, uint64_t round, uint32_t channel)
{
    if (a->round) give_up(a, overtaken, channel);
    skip_older(a, round);
    const struct known *k = find(a, round);
    a->round = a->newest = round;
    a->missing = a->open;
    a->start_us = a->now_us;
    a->triggered = k && k->triggered;
    a->deadline_us = k ? k->deadline_us : 0;
}

/* Nothing to align: every channel has ended, or there never was one. */
static void snapshot_at_once(struct tide_align *a, uint64_t round)
{
    if (a->round) give_up(a, overtaken, NO_CHANNEL);
    skip_older(a, round);
    a->newest = round;
    say(a, TIDE_ALIGN_FORWARD, round, 0, NULL);
    say(a, TIDE_ALIGN_SNAPSHOT, round, 0, NULL);
    close_round(a, round, true);
}

/* ---- what happens */

int tide_align_barrier(struct tide_align *a, uint32_t channel, uint64_t round, uint64_t now_us)
{
    begin(a, now_us);
    if (channel >= a->channels || !round) return TIDE_EINVAL;
    if (a->channel[channel] & ENDED) return TIDE_EPROTO;
    if (resolved(a, round)) return 0;
    if (round != a->round) {
        struct known *k = find(a, round);
        if (k && k->over) {
            if (!k->silent) say(a, TIDE_ALIGN_CANCEL, round, 0, NULL);
            k->silent = true;
            return 0;
        }
        if (round <= a->newest) {
            skip(a, round, overtaken);
            return 0;
        }
        start(a, round, channel);
    } else if (a->channel[channel] & HAS) {
        return 0;
    }
    a->channel[channel] |= HAS;
    if (PLANTED(EARLY_SNAPSHOT) && a->triggered && a->missing == 2) a->missing--;
    if (--a->missing || !a->triggered) { /* the last of all blocks only to wait for the trigger */
        if (!(a->channel[channel] & BLOCKED)) say(a, TIDE_ALIGN_BLOCK, 0, channel, NULL);
        a->channel[channel] |= BLOCKED;
    }
    if (!a->missing) lined_up(a);
    return 0;
}

int tide_align_cancel(struct tide_align *a, uint32_t channel, uint64_t round, uint64_t now_us)
{
    begin(a, now_us);
    if (channel >= a->channels || !round) return TIDE_EINVAL;
    if (a->channel[channel] & ENDED) return TIDE_EPROTO;
    if (resolved(a, round)) return 0;
    if (round == a->round) {
        give_up(a, cancelled, NO_CHANNEL);
        return 0;
    }
    struct known *k = find(a, round);
    if (k && k->over) {
        if (!k->silent) say(a, TIDE_ALIGN_CANCEL, round, 0, NULL);
        k->silent = true;
        return 0;
    }
    skip(a, round, round > a->newest ? cancelled : overtaken);
    return 0;
}

int tide_align_end(struct tide_align *a, uint32_t channel, uint64_t now_us)
{
    begin(a, now_us);
    if (channel >= a->channels) return TIDE_EINVAL;
    if (a->channel[channel] & ENDED) return 0;
    bool counted = a->channel[channel] & HAS;
    a->channel[channel] = ENDED;
    a->open--;
    if (a->round && !counted && --a->missing == 0) lined_up(a);
    if (a->open) return 0;
    say(a, TIDE_ALIGN_ENDED, 0, 0, NULL);
    for (;;) { /* triggers that waited for barriers need not wait any more */
        const struct known *oldest = NULL;
        for (uint32_t i = 0; i < a->n_known; i++) {
            const struct known *k = &a->known[i];
            if (k->triggered && !k->over && (!oldest || k->round < oldest->round)) oldest = k;
        }
        if (!oldest) return 0;
        snapshot_at_once(a, oldest->round);
    }
}

int tide_align_trigger(struct tide_align *a, uint64_t round, uint64_t deadline_us, uint64_t now_us)
{
    begin(a, now_us);
    if (!round) return TIDE_EINVAL;
    if (resolved(a, round)) return 0;
    if (round == a->round) {
        if (a->triggered) return 0;
        a->triggered = true;
        a->deadline_us = deadline_us;
        if (!a->missing) finish(a);
        return 0;
    }
    const struct known *old = find(a, round);
    if (old) return 0; /* over, or triggered before */
    if (round <= a->newest) {
        skip(a, round, overtaken);
        return 0;
    }
    struct known *k = remember(a, round);
    if (!k) {
        skip(a, round, overtaken);
        return 0;
    }
    k->triggered = true;
    k->deadline_us = deadline_us;
    if (!a->open) snapshot_at_once(a, round);
    return 0;
}

int tide_align_abort(struct tide_align *a, uint64_t round, bool known, const char *reason,
                     uint64_t now_us)
{
    begin(a, now_us);
    if (!round) return TIDE_EINVAL;
    if (resolved(a, round)) return 0;
    if (round == a->round) {
        give_up(a, known ? NULL : reason, NO_CHANNEL);
        return 0;
    }
    const struct known *k = find(a, round);
    if (k && k->over) return 0;
    /* Not seen: its barrier, should it come, is answered with a cancel marker then, not now,
     * since an older round may still be on its way to those downstream. */
    if (!known) say(a, TIDE_ALIGN_DISCARD, round, 0, reason);
    close_round(a, round, false);
    return 0;
}

void tide_align_lowest(struct tide_align *a, uint64_t lowest_pending)
{
    begin(a, a->now_us);
    if (lowest_pending <= a->lowest) return;
    a->lowest = lowest_pending;
    for (uint32_t i = 0; i < a->n_known;) {
        if (a->known[i].round < lowest_pending)
            a->known[i] = a->known[--a->n_known];
        else
            i++;
    }
    if (a->round && a->round < lowest_pending) give_up(a, NULL, NO_CHANNEL);
}

int tide_align_tick(struct tide_align *a, uint64_t now_us, uint64_t orphan_limit_us)
{
    begin(a, now_us);
    if (a->round) {
        bool waits = !a->triggered && !a->missing;
        if (a->triggered && now_us >= a->deadline_us)
            give_up(a, time_over, NO_CHANNEL);
        else if (waits && now_us >= a->lined_up_us && now_us - a->lined_up_us >= orphan_limit_us)
            give_up(a, no_trigger, NO_CHANNEL);
    }
    for (uint32_t i = 0; i < a->n_known; i++) {
        struct known *k = &a->known[i];
        if (k->over || !k->triggered || k->round == a->round || now_us < k->deadline_us) continue;
        k->over = true;
        say(a, TIDE_ALIGN_DISCARD, k->round, 0, time_over);
    }
    return 0;
}

uint64_t tide_align_deadline(const struct tide_align *a, uint64_t orphan_limit_us)
{
    uint64_t at = UINT64_MAX;
    if (a->round && a->triggered) at = a->deadline_us;
    if (a->round && !a->triggered && !a->missing && orphan_limit_us < UINT64_MAX - a->lined_up_us)
        at = a->lined_up_us + orphan_limit_us;
    for (uint32_t i = 0; i < a->n_known; i++) {
        const struct known *k = &a->known[i];
        if (k->triggered && !k->over && k->round != a->round && k->deadline_us < at)
            at = k->deadline_us;
    }
    return at;
}

void tide_align_look(const struct tide_align *a, struct tide_align_view *ret)
{
    *ret = (struct tide_align_view){.round = a->round};
    if (!a->round) return;
    ret->missing = a->missing;
    ret->since_us = a->start_us;
    ret->triggered = a->triggered;
    while (a->missing && a->channel[ret->first_missing] & (HAS | ENDED))
        ret->first_missing++;
}

uint32_t tide_align_open(const struct tide_align *a)
{
    return a->open;
}

bool tide_align_blocked(const struct tide_align *a, uint32_t channel)
{
    return channel < a->channels && a->channel[channel] & BLOCKED;
}

/* ---- life */

int tide_align_reset(struct tide_align *a, uint32_t channels)
{
    if (channels > TIDE_CHANNELS_MAX) return TIDE_EINVAL;
    if (channels != a->channels || !a->steps) {
        uint8_t *flags = calloc(channels ? channels : 1, sizeof *flags);
        struct step *steps = calloc(channels + STEPS_EXTRA, sizeof *steps);
        if (!flags || !steps) {
            free(flags);
            free(steps);
            return TIDE_ENOMEM;
        }
        free(a->channel);
        free(a->steps);
        a->channel = flags;
        a->steps = steps;
    }
    *a = (struct tide_align){
        .channel = a->channel, .steps = a->steps, .channels = channels, .open = channels};
    memset(a->channel, 0, channels);
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
    free(a->steps);
    free(a);
}

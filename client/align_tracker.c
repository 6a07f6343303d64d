/* Counted rounds (at least once), and what a barrier tells of older rounds
 *
 * Nothing is blocked for a counted round, so several are under way at once; the task snapshots when
 * each open channel has had the barrier. What a channel brings between its barrier and the last one
 * is in the snapshot and comes again after a restore.
 *
 * Flink's tracker keeps an older round until a newer one completes and drops it without a word, and
 * the daemon would wait for it to the deadline. Here it is declined, and at once: as soon as a
 * channel brings a newer barrier without its own. */
#include "client/align_impl.h"

void tide_align_count(struct tide_align *a, struct round *r)
{
    if (r->counted || r->state > ALIGNING) return; /* or it is too late */
    r->counted = true;
    r->unaligned = false;
    if (r->number != a->current) return;
    a->current = 0; /* its barriers came before its trigger, from those that do not count */
    tide_align_unblock(a, NO_CHANNEL);
}

void tide_align_count_room(struct tide_align *a)
{
    uint64_t oldest = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_rounds; i++) {
        if (a->rounds[i].state != ALIGNING || !a->rounds[i].counted) continue;
        if (!n++) oldest = a->rounds[i].number;
    }
    if (n >= TIDE_COUNTED_MAX) tide_align_give_up(a, oldest, tide_align_overtaken, NO_CHANNEL);
}

void tide_align_skipped_on(struct tide_align *a, uint32_t channel, uint64_t round)
{
    const struct channel *ch = &a->channel[channel];
    for (uint32_t i = 0; i < a->n_rounds && a->rounds[i].number < round; i++) {
        const struct round *r = &a->rounds[i];
        if (!is_live(r) || ch->last >= r->number) continue;
        tide_align_give_up(a, r->number, tide_align_overtaken, channel);
        i = UINT32_MAX; /* what waited for it may have begun: from the start */
    }
}

/* None is left but one that waits for its trigger: of the others this one's barriers have told. */
void tide_align_drop_older(struct tide_align *a, uint64_t round)
{
    for (uint32_t i = 0; i < a->n_rounds && a->rounds[i].number < round; i++)
        if (a->rounds[i].state == ALIGNING)
            tide_align_give_up(a, a->rounds[i].number, tide_align_overtaken, NO_CHANNEL);
}

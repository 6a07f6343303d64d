/* The aligner against any sequence of events. The first byte gives the number of channels; every
 * three bytes after it are one event: what (with flags or a mode in its upper half), channel,
 * round. Whatever comes, it keeps its promises: a round is snapshotted at most once, only after
 * each channel that must be waited for has had its barrier and the trigger has come, never after it
 * was discarded; it is ackable when the others have had theirs; barriers leave in order of rounds;
 * and nothing stays blocked without a round under way. */
#include <stdlib.h>
#include <string.h>

#include "client/align.h"
#include "proto/barrier.h"

#define CHANNELS 8u
#define ROUNDS 256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum life { NOTHING, SNAPSHOTTED, ACKABLE, DISCARDED };

struct model {
    struct tide_align *a;
    uint32_t channels;
    bool ended[CHANNELS], forced[CHANNELS], blocked[CHANNELS];
    bool had[ROUNDS][CHANNELS]; /* barrier of this round on this channel */
    bool announced[ROUNDS][CHANNELS];
    bool triggered[ROUNDS];
    uint8_t life[ROUNDS];
    uint64_t forwarded;
    uint64_t overtaken[CHANNELS]; /* to be fed: its barrier goes ahead */
};

static void must(bool fact)
{
    if (!fact) abort();
}

static bool all_had(const struct model *m, uint64_t round, bool only_forced)
{
    for (uint32_t c = 0; c < m->channels; c++)
        if (!m->ended[c] && !m->had[round][c] && (m->forced[c] || !only_forced)) return false;
    return true;
}

static void check_step(struct model *m, const struct tide_align_step *s)
{
    must(s->round < ROUNDS);
    uint8_t *life = &m->life[s->round];
    switch (s->what) {
    case TIDE_ALIGN_BLOCK:
        must(s->channel < m->channels && !m->blocked[s->channel] && !m->ended[s->channel]);
        m->blocked[s->channel] = true;
        break;
    case TIDE_ALIGN_UNBLOCK:
        must(s->channel < m->channels && m->blocked[s->channel]);
        m->blocked[s->channel] = false;
        break;
    case TIDE_ALIGN_FORWARD:
        must(s->round > m->forwarded && (!s->unaligned || s->flags == TIDE_BARRIER_UNALIGNED));
        m->forwarded = s->round;
        break;
    case TIDE_ALIGN_SNAPSHOT:
        must(m->forwarded == s->round); /* the barrier goes first */
        must(m->triggered[s->round] && *life == NOTHING);
        must(all_had(m, s->round, s->unaligned) && (s->waits || !s->unaligned));
        *life = s->waits ? SNAPSHOTTED : ACKABLE;
        break;
    case TIDE_ALIGN_ACKABLE:
        must(*life == SNAPSHOTTED && all_had(m, s->round, false));
        *life = ACKABLE;
        break;
    case TIDE_ALIGN_CANCEL: must(*life != ACKABLE); break;
    case TIDE_ALIGN_DISCARD:
        must(*life != ACKABLE);
        *life = DISCARDED;
        break;
    case TIDE_ALIGN_OVERTAKE:
        must(s->channel < m->channels && m->announced[s->round][s->channel]);
        must(!m->had[s->round][s->channel] && *life == SNAPSHOTTED);
        m->overtaken[s->channel] = s->round;
        break;
    case TIDE_ALIGN_PROMOTE: must(*life == SNAPSHOTTED && s->flags); break;
    case TIDE_ALIGN_ENDED: must(tide_align_open(m->a) == 0); break;
    default: abort();
    }
}

static void take_steps(struct model *m)
{
    struct tide_align_step s;
    unsigned n = 0;
    while (tide_align_next(m->a, &s)) {
        must(++n < 1000);
        check_step(m, &s);
    }
}

static void check_state(const struct model *m)
{
    struct tide_align_view v;
    uint32_t open = 0;
    uint64_t capturing = tide_align_capturing(m->a);
    tide_align_look(m->a, 0, &v);
    must(!capturing || (v.round == capturing && v.captured));
    for (uint32_t c = 0; c < m->channels; c++) {
        open += !m->ended[c];
        must(tide_align_blocked(m->a, c) == m->blocked[c]);
        if (!v.round) must(!m->blocked[c]);
        must(tide_align_captures(m->a, c) == (capturing && !m->ended[c] && !m->had[capturing][c]));
        must(tide_align_record(m->a, c, 1) == tide_align_captures(m->a, c));
    }
    must(tide_align_open(m->a) == open);
    if (!v.round) return;
    must(v.missing <= open && m->life[v.round] == (v.captured ? SNAPSHOTTED : NOTHING));
    if (v.missing) must(v.first_missing < m->channels && !m->ended[v.first_missing]);
    /* what waits for time says so: a round lined up without its trigger, or with a deadline */
    if (v.triggered || !v.missing) must(tide_align_deadline(m->a, 100) < UINT64_MAX);
}

static void barrier(struct model *m, uint32_t channel, uint64_t round, uint8_t how, uint64_t now)
{
    static const uint32_t flags[] = {0, TIDE_BARRIER_UNALIGNED, TIDE_BARRIER_COUNTED, 0};
    /* judged by what has happened, so first */
    bool fine = channel < m->channels && round && !m->ended[channel];
    bool before = fine && m->had[round][channel];
    if (fine) m->had[round][channel] = true;
    int rc = tide_align_barrier(m->a, channel, round, flags[how % 4], now);
    if (rc && fine) m->had[round][channel] = before; /* on a channel that is blocked */
}

static void event(struct model *m, const uint8_t *e, uint64_t now)
{
    uint32_t channel = e[1] % CHANNELS;
    uint64_t round = e[2];
    uint8_t how = e[0] >> 4;
    struct tide_align_trigger t = {.round = round,
                                   .deadline_us = now + 4u * e[1],
                                   .mode = (enum tide_align_mode)(how % 4),
                                   .switch_us = now + e[1]};
    switch (e[0] & 15) {
    case 0:
    case 1: barrier(m, channel, round, how, now); break;
    case 2: (void)tide_align_cancel(m->a, channel, round, now); break;
    case 3:
        /* flags first: its steps are judged by what has happened */
        if (channel < m->channels) {
            m->ended[channel] = true;
            m->blocked[channel] = false;
        }
        (void)tide_align_end(m->a, channel, now);
        break;
    case 4:
        m->triggered[round] = true;
        (void)tide_align_trigger(m->a, &t, now);
        break;
    case 5: (void)tide_align_abort(m->a, round, e[1] & 1, "given up", now); break;
    case 6: tide_align_lowest(m->a, round); break;
    case 7: (void)tide_align_tick(m->a, now, e[1]); break;
    case 8: /* a rewind, perhaps to another number of channels */
        if (tide_align_reset(m->a, channel)) break;
        *m = (struct model){.a = m->a, .channels = channel};
        for (uint32_t c = 0; c < channel; c++)
            (void)tide_align_force(m->a, c, false);
        break;
    case 9:
    case 10:
        if (channel < m->channels) m->announced[round][channel] = true;
        (void)tide_align_announce(m->a, channel, round, how & 1, now);
        break;
    case 11: (void)tide_align_turn(m->a, round, now); break;
    case 12: (void)tide_align_sent(m->a, round, now); break;
    case 13: tide_align_promotable(m->a, channel); break;
    case 14:
        if (!tide_align_force(m->a, channel, how & 1)) m->forced[channel] = how & 1;
        break;
    default: break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model m;
    if (size == 0) return 0;
    memset(&m, 0, sizeof m);
    m.channels = data[0] % (CHANNELS + 1);
    if (tide_align_new(m.channels, &m.a)) return 0;
    for (size_t at = 1; at + 3 <= size; at += 3) {
        event(&m, data + at, at);
        take_steps(&m);
        for (uint32_t c = 0; c < m.channels; c++) {
            uint64_t round = m.overtaken[c];
            m.overtaken[c] = 0;
            if (!round) continue;
            barrier(&m, c, round, 1, at);
            take_steps(&m);
        }
        check_state(&m);
    }
    tide_align_free(m.a);
    return 0;
}

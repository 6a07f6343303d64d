/* The aligner against any sequence of events. The first byte gives the number of channels; every
 * three bytes after it are one event: what, channel, round. Whatever comes, it keeps its promises:
 * a round is snapshotted at most once, only after each open channel has had its barrier and the
 * trigger has come, never after it was discarded; and nothing stays blocked without a round under
 * way. */
#include <stdlib.h>
#include <string.h>

#include "client/align.h"

#define CHANNELS 8u
#define ROUNDS 256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct model {
    struct tide_align *a;
    uint32_t channels;
    bool ended[CHANNELS];
    bool had[ROUNDS][CHANNELS]; /* barrier of this round on this channel */
    bool triggered[ROUNDS], snapshotted[ROUNDS], discarded[ROUNDS], blocked[CHANNELS];
};

static void must(bool fact)
{
    if (!fact) abort();
}

static void check_snapshot(struct model *m, uint64_t round)
{
    must(round < ROUNDS && m->triggered[round]);
    must(!m->snapshotted[round] && !m->discarded[round]);
    m->snapshotted[round] = true;
    for (uint32_t c = 0; c < m->channels; c++)
        must(m->ended[c] || m->had[round][c]);
}

static void take_steps(struct model *m)
{
    struct tide_align_step s;
    uint64_t forwarded = 0;
    unsigned n = 0;
    while (tide_align_next(m->a, &s)) {
        must(++n < 200);
        switch (s.what) {
        case TIDE_ALIGN_BLOCK:
            must(s.channel < m->channels && !m->blocked[s.channel] && !m->ended[s.channel]);
            m->blocked[s.channel] = true;
            break;
        case TIDE_ALIGN_UNBLOCK:
            must(s.channel < m->channels && m->blocked[s.channel]);
            m->blocked[s.channel] = false;
            break;
        case TIDE_ALIGN_FORWARD: forwarded = s.round; break;
        case TIDE_ALIGN_SNAPSHOT:
            must(forwarded == s.round); /* the barrier goes first */
            check_snapshot(m, s.round);
            break;
        case TIDE_ALIGN_CANCEL: must(s.round < ROUNDS && !m->snapshotted[s.round]); break;
        case TIDE_ALIGN_DISCARD:
            must(s.round < ROUNDS && !m->snapshotted[s.round]);
            m->discarded[s.round] = true;
            break;
        case TIDE_ALIGN_ENDED: must(tide_align_open(m->a) == 0); break;
        default: abort();
        }
    }
}

static void check_state(const struct model *m)
{
    struct tide_align_view v;
    uint32_t open = 0;
    tide_align_look(m->a, 0, &v);
    for (uint32_t c = 0; c < m->channels; c++) {
        open += !m->ended[c];
        must(tide_align_blocked(m->a, c) == m->blocked[c]);
        if (!v.round) must(!m->blocked[c]);
    }
    must(tide_align_open(m->a) == open);
    if (v.round) must(v.missing <= open && !m->snapshotted[v.round]);
    if (v.round && v.missing) must(v.first_missing < m->channels && !m->ended[v.first_missing]);
    /* what waits for time says so: a round lined up without its trigger, or with a deadline */
    if (v.round && (v.triggered || !v.missing)) must(tide_align_deadline(m->a, 100) < UINT64_MAX);
}

static void event(struct model *m, const uint8_t *e, uint64_t now)
{
    uint32_t channel = e[1] % CHANNELS;
    uint64_t round = e[2];
    switch (e[0] % 9) {
    case 0:
    case 1:
        if (tide_align_barrier(m->a, channel, round, 0, now) == 0) m->had[round][channel] = true;
        break;
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
        if (round) m->triggered[round] = true;
        (void)tide_align_trigger(
            m->a, &(struct tide_align_trigger){.round = round, .deadline_us = now + e[1]}, now);
        break;
    case 5: (void)tide_align_abort(m->a, round, e[1] & 1, "given up", now); break;
    case 6: tide_align_lowest(m->a, round); break;
    case 7: (void)tide_align_tick(m->a, now, e[1]); break;
    default: /* a rewind, perhaps to another number of channels */
        if (tide_align_reset(m->a, channel)) break;
        *m = (struct model){.a = m->a, .channels = channel};
        break;
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
        check_state(&m);
    }
    tide_align_free(m.a);
    return 0;
}

/* Source: reads its range of the input file and hands out blocks of whole words, each to whichever
 * splitter has room. Its state is the offset of the next block.
 *
 *   block: 8 bytes offset, little-endian, then the text */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "wordcount.h"
#include "worker.h"

#define STATE_LEN 16 /* offset, size of the file */
#define PACE_MS 2    /* with --rate: about this long from block to block */
#define BLOCK_MIN 256u

struct source {
    struct input_file input;
    uint64_t at, end; /* next byte, end of our range */
    uint32_t next;    /* splitter whose turn it is */
    int64_t started;  /* with --rate: when, and how much has been put out since */
    uint64_t sent;
};

static int source_restore(struct worker *w, void *self, const struct tide_restore *r)
{
    struct source *s = self;
    const struct options *o = worker_options(w);
    uint64_t first;
    if (input_cut(&s->input, o->index, o->plan.sources, &first) ||
        input_cut(&s->input, o->index + 1, o->plan.sources, &s->end))
        die("cannot read %s: %s", o->input, strerror(errno));
    s->at = first;
    s->started = now_ms();
    s->sent = 0;
    if (r->ended) s->at = s->end; /* nothing was kept of it: there is nothing left to do */
    if (r->ended || r->snapshot == 0) return 0;

    uint8_t *state;
    if (r->n_states != 1 || r->states[0].size != STATE_LEN) return TIDE_ECORRUPT;
    int rc = state_load(r, &r->states[0], &state);
    if (rc) return rc;
    uint64_t at = get_u64(state), size = get_u64(state + 8);
    free(state);
    if (size != s->input.size) {
        say("%s has another size than when the snapshot was taken", o->input);
        return TIDE_EINVAL;
    }
    if (at < first || at > s->end) return TIDE_ECORRUPT;
    s->at = at;
    return 0;
}

/* With --rate: in how many ms the next block is due; 0: now. */
static int due(struct source *s, uint64_t rate)
{
    int64_t when = s->started + (int64_t)(s->sent * 1000 / rate);
    int64_t now = now_ms();
    return when > now ? (int)(when - now) : 0;
}

static int source_produce(struct worker *w, void *self)
{
    struct source *s = self;
    struct channels *c = worker_channels(w);
    const struct options *o = worker_options(w);
    uint64_t rate = full_speed ? 0 : o->rate / o->plan.sources;
    uint32_t max = o->room < BLOCK_MAX ? o->room : BLOCK_MAX, out = s->next, len;
    if (s->at == s->end) {
        worker_no_more(w);
        return 0;
    }
    if (rate) {
        int ms = due(s, rate);
        if (ms > 0) return ms;
        if (rate * PACE_MS / 1000 < max) max = (uint32_t)(rate * PACE_MS / 1000);
        if (max < BLOCK_MIN) max = BLOCK_MIN;
    }
    for (uint32_t tried = 0; channels_full(c, out); tried++) {
        if (tried == o->plan.splitters) return -1; /* all are full: one that drains wakes us */
        out = (out + 1) % o->plan.splitters;
    }
    uint8_t *p = channels_put_begin(c, out, 8 + BLOCK_MAX);
    if (input_block(&s->input, s->at, s->end, max, p + 8, &len))
        die("cannot read %s at %llu: %s", o->input, (unsigned long long)s->at,
            errno == EFBIG ? "a word is too long" : strerror(errno));
    put_u64(p, s->at);
    channels_put_commit(c, out, FRAME_DATA, 8 + len);
    s->at += len;
    s->sent += len;
    s->next = (out + 1) % o->plan.splitters;
    return 0;
}

static int source_snapshot(struct worker *w, void *self, struct tide_snapshot *snapshot)
{
    struct source *s = self;
    uint8_t state[STATE_LEN];
    (void)w;
    put_u64(state, s->at);
    put_u64(state + 8, s->input.size);
    return tide_snapshot_write(snapshot, state, sizeof state);
}

static void source_free(void *self)
{
    struct source *s = self;
    input_file_close(&s->input);
    free(s);
}

void source_stage(const struct options *o, struct stage *stage)
{
    struct source *s = must_alloc(sizeof *s);
    memset(s, 0, sizeof *s);
    if (input_file_open(&s->input, o->input)) die("cannot open %s: %s", o->input, strerror(errno));
    s->next = o->index % o->plan.splitters;
    *stage = (struct stage){
        .uid = "source",
        .outputs = o->plan.splitters,
        .output_uid = "splitter",
        .self = s,
        .restore = source_restore,
        .produce = source_produce,
        .snapshot = source_snapshot,
        .free = source_free,
    };
}

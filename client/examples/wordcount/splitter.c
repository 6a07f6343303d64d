/* Splitter: finds the words of each block and sends (word, how often) to the counter that owns the
 * word's key group. While more blocks are waiting, their counts are sent together; since everything
 * held back is sent in front of each barrier, there is no state to snapshot.
 *
 *   counts: any number of: 4 bytes how often, 4 bytes length, both little-endian, then the word */
#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "wordcount.h"
#include "words.h"
#include "worker.h"

#define BATCH_TEXT (1u << 20) /* bytes of input whose counts are sent together */
#define RECORD_HEAD 8u
#define COUNTS_MAX (FRAME_MAX / 2)

struct splitter {
    struct words words;
    uint64_t held; /* bytes of input that the words come from */
};

/* One pass over the words per counter, so that each frame is filled in place. */
static void send_counts(struct worker *w, struct splitter *s, uint32_t counter)
{
    struct channels *c = worker_channels(w);
    const struct plan *plan = &worker_options(w)->plan;
    uint8_t *frame = NULL;
    uint32_t len = 0;
    for (size_t i = 0; i < s->words.cap; i++) {
        const struct entry *e = &s->words.entries[i];
        if (!e->used ||
            tide_key_group_owner(e->key_group, plan->counters, plan->max_parallelism) != counter)
            continue;
        if (frame && len + RECORD_HEAD + e->len > COUNTS_MAX) {
            channels_put_commit(c, counter, FRAME_DATA, len);
            frame = NULL;
        }
        if (!frame) {
            frame = channels_put_begin(c, counter, COUNTS_MAX);
            len = 0;
        }
        put_u32(frame + len, (uint32_t)e->increment);
        put_u32(frame + len + 4, e->len);
        if (e->len) memcpy(frame + len + RECORD_HEAD, words_text(&s->words, e), e->len);
        len += RECORD_HEAD + e->len;
    }
    if (frame) channels_put_commit(c, counter, FRAME_DATA, len);
}

static void splitter_flush(struct worker *w, void *self)
{
    struct splitter *s = self;
    const struct plan *plan = &worker_options(w)->plan;
    if (s->words.used == 0) return;
    for (size_t i = 0; i < s->words.cap; i++) {
        struct entry *e = &s->words.entries[i];
        if (e->used)
            e->key_group = tide_key_group(words_text(&s->words, e), e->len, plan->max_parallelism);
    }
    for (uint32_t i = 0; i < plan->counters; i++)
        send_counts(w, s, i);
    words_clear(&s->words);
    s->held = 0;
}

static void splitter_data(struct worker *w, void *self, const struct frame *f)
{
    struct splitter *s = self;
    if (f->len < 8) {
        channels_refuse(worker_channels(w), f->channel, "block without an offset");
        return;
    }
    words_split(&s->words, f->body + 8, f->len - 8, get_u64(f->body) == 0);
    s->held += f->len;
    if (s->held >= BATCH_TEXT || s->held >= worker_options(w)->room) splitter_flush(w, s);
}

static void splitter_drop(struct worker *w, void *self)
{
    struct splitter *s = self;
    (void)w;
    words_clear(&s->words);
    s->held = 0;
}

static int splitter_restore(struct worker *w, void *self, const struct tide_restore *r)
{
    (void)r;
    splitter_drop(w, self);
    return 0;
}

static void splitter_free(void *self)
{
    struct splitter *s = self;
    words_free(&s->words);
    free(s);
}

void splitter_stage(const struct options *o, struct stage *stage)
{
    struct splitter *s = must_alloc(sizeof *s);
    words_init(&s->words);
    s->held = 0;
    *stage = (struct stage){
        .uid = "splitter",
        .inputs = o->plan.sources,
        .outputs = o->plan.counters,
        .output_uid = "counter",
        .self = s,
        .restore = splitter_restore,
        .data = splitter_data,
        .idle = splitter_flush,
        .flush = splitter_flush,
        .drop = splitter_drop,
        .free = splitter_free,
    };
}

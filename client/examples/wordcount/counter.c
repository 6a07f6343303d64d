/* Counter: keeps how often each word of its key groups was seen. In front of each barrier it sends
 * to the sink what has been added since the last one. Its state is all totals, snapshotted by
 * ranges of key groups, so that a job with more or fewer counters could take the ranges apart
 * again.
 *
 *   state, and per word: 8 bytes total, 4 bytes length, then the word
 *   increments:          8 bytes increment, 8 bytes total, 4 bytes length, then the word */
#include <stdlib.h>
#include <string.h>

#include "wordcount.h"
#include "words.h"
#include "worker.h"

#define RANGE_GROUPS 16u /* key groups in one artifact: fewer files to sync than one for each */
#define COUNT_HEAD 8u
#define STATE_HEAD 12u
#define INCREMENT_HEAD 20u
#define INCREMENTS_MAX (FRAME_MAX / 2)
#define WRITE_SIZE (64u << 10)

struct counter {
    struct words words;
    uint32_t first_group, n_groups; /* ours */
};

/* The word's entry, with its key group; NULL if that is not ours. */
static struct entry *counter_get(struct worker *w, struct counter *s, const uint8_t *word,
                                 uint32_t len)
{
    const char *text = (const char *)word;
    size_t before = s->words.used;
    struct entry *e = words_get(&s->words, text, len, word_hash(text, len));
    if (s->words.used == before) return e;
    e->key_group = tide_key_group(text, len, worker_options(w)->plan.max_parallelism);
    return e->key_group - s->first_group < s->n_groups ? e : NULL;
}

static void counter_data(struct worker *w, void *self, const struct frame *f)
{
    struct counter *s = self;
    const uint8_t *p = f->body, *end = f->body + f->len;
    while ((size_t)(end - p) >= COUNT_HEAD) {
        uint32_t n = get_u32(p), len = get_u32(p + 4);
        p += COUNT_HEAD;
        if (len > (size_t)(end - p)) break;
        struct entry *e = counter_get(w, s, p, len);
        if (!e) die("splitter %u sent a word that is not ours", f->channel);
        e->total += n;
        e->increment += n;
        p += len;
    }
    if (p != end) die("splitter %u sent a damaged frame", f->channel);
}

static void counter_flush(struct worker *w, void *self)
{
    struct counter *s = self;
    struct channels *c = worker_channels(w);
    uint8_t *frame = NULL;
    uint32_t len = 0;
    for (size_t i = 0; i < s->words.cap; i++) {
        struct entry *e = &s->words.entries[i];
        if (!e->used || e->increment == 0) continue;
        if (frame && len + INCREMENT_HEAD + e->len > INCREMENTS_MAX) {
            channels_put_commit(c, 0, FRAME_DATA, len);
            frame = NULL;
        }
        if (!frame) {
            frame = channels_put_begin(c, 0, INCREMENTS_MAX);
            len = 0;
        }
        put_u64(frame + len, e->increment);
        put_u64(frame + len + 8, e->total);
        put_u32(frame + len + 16, e->len);
        if (e->len) memcpy(frame + len + INCREMENT_HEAD, words_text(&s->words, e), e->len);
        len += INCREMENT_HEAD + e->len;
        e->increment = 0;
    }
    if (frame) channels_put_commit(c, 0, FRAME_DATA, len);
}

/* ---- state */

static int write_range(struct counter *s, uint32_t first, uint32_t n,
                       struct tide_snapshot *snapshot)
{
    uint8_t buf[WRITE_SIZE];
    size_t len = 0;
    int rc = tide_snapshot_artifact(snapshot, "totals", first, n);
    for (size_t i = 0; i < s->words.cap && rc == 0; i++) {
        const struct entry *e = &s->words.entries[i];
        if (!e->used || e->key_group - first >= n) continue;
        if (len + STATE_HEAD + e->len > sizeof buf) {
            rc = tide_snapshot_write(snapshot, buf, len);
            len = 0;
        }
        put_u64(buf + len, e->total);
        put_u32(buf + len + 8, e->len);
        len += STATE_HEAD;
        if (e->len > sizeof buf - STATE_HEAD) { /* a word longer than the buffer */
            if (rc == 0) rc = tide_snapshot_write(snapshot, buf, len);
            if (rc == 0) rc = tide_snapshot_write(snapshot, words_text(&s->words, e), e->len);
            len = 0;
        } else {
            if (e->len) memcpy(buf + len, words_text(&s->words, e), e->len);
            len += e->len;
        }
    }
    if (rc == 0 && len > 0) rc = tide_snapshot_write(snapshot, buf, len);
    return rc;
}

/* The increments were sent in front of the barrier, just before: only totals are left. */
static int counter_snapshot(struct worker *w, void *self, struct tide_snapshot *snapshot)
{
    struct counter *s = self;
    uint32_t end = s->first_group + s->n_groups;
    int rc = 0;
    (void)w;
    for (uint32_t g = s->first_group; g < end && rc == 0; g += RANGE_GROUPS)
        rc = write_range(s, g, end - g < RANGE_GROUPS ? end - g : RANGE_GROUPS, snapshot);
    return rc;
}

/* Adds the words of one artifact, or those of them that are ours. */
static int take_range(struct worker *w, struct counter *s, const uint8_t *p, size_t size)
{
    const uint8_t *end = p + size;
    while ((size_t)(end - p) >= STATE_HEAD) {
        uint64_t total = get_u64(p);
        uint32_t len = get_u32(p + 8);
        p += STATE_HEAD;
        if (len > (size_t)(end - p)) break;
        uint32_t group = tide_key_group(p, len, worker_options(w)->plan.max_parallelism);
        /* another counter's, which has been given the same artifact: the parallelism has changed */
        if (group - s->first_group < s->n_groups) counter_get(w, s, p, len)->total = total;
        p += len;
    }
    return p == end ? 0 : TIDE_ECORRUPT;
}

static void counter_drop(struct worker *w, void *self)
{
    struct counter *s = self;
    (void)w;
    words_clear(&s->words);
}

static int counter_restore(struct worker *w, void *self, const struct tide_restore *r)
{
    struct counter *s = self;
    int rc = 0;
    counter_drop(w, s);
    for (uint32_t i = 0; i < r->n_states && rc == 0; i++) {
        uint8_t *state;
        rc = state_load(r, &r->states[i], &state);
        if (rc) break;
        rc = take_range(w, s, state, (size_t)r->states[i].size);
        free(state);
    }
    return rc;
}

static void counter_free(void *self)
{
    struct counter *s = self;
    words_free(&s->words);
    free(s);
}

void counter_stage(const struct options *o, struct stage *stage)
{
    struct counter *s = must_alloc(sizeof *s);
    words_init(&s->words);
    tide_key_group_range(o->index, o->plan.counters, o->plan.max_parallelism, &s->first_group,
                         &s->n_groups);
    *stage = (struct stage){
        .uid = "counter",
        .inputs = o->plan.splitters,
        .outputs = 1,
        .output_uid = "sink",
        .slow = true,
        .self = s,
        .restore = counter_restore,
        .data = counter_data,
        .flush = counter_flush,
        .snapshot = counter_snapshot,
        .drop = counter_drop,
        .free = counter_free,
    };
}

/* Words and their table, see words.h */
#include "words.h"

#include <stdlib.h>
#include <string.h>

#include "wordcount.h"

#define CAP_MIN 4096
#define HASH_START 2166136261u
#define HASH_PRIME 16777619u

bool is_letter(uint8_t c)
{
    return (uint8_t)((c | 0x20) - 'a') < 26;
}

void words_init(struct words *w)
{
    *w = (struct words){.cap = CAP_MIN, .text_cap = CAP_MIN * 8};
    w->entries = must_alloc(w->cap * sizeof *w->entries);
    w->text = must_alloc(w->text_cap);
    words_clear(w);
}

void words_clear(struct words *w)
{
    memset(w->entries, 0, w->cap * sizeof *w->entries);
    w->used = w->text_len = 0;
}

void words_free(struct words *w)
{
    free(w->entries);
    free(w->text);
}

/* FNV-1a, its bits mixed once more at the end since the table takes the low ones. */
static inline uint32_t finish(uint32_t h)
{
    return h ^ h >> 15;
}

uint32_t word_hash(const char *word, uint32_t len)
{
    uint32_t h = HASH_START;
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)word[i]) * HASH_PRIME;
    return finish(h);
}

static void grow(struct words *w)
{
    struct entry *old = w->entries;
    size_t n = w->cap;
    w->cap *= 2;
    w->entries = must_alloc(w->cap * sizeof *w->entries);
    memset(w->entries, 0, w->cap * sizeof *w->entries);
    for (size_t i = 0; i < n; i++) {
        if (!old[i].used) continue;
        size_t at = old[i].hash & (w->cap - 1);
        while (w->entries[at].used)
            at = (at + 1) & (w->cap - 1);
        w->entries[at] = old[i];
    }
    free(old);
}

struct entry *words_get(struct words *w, const char *word, uint32_t len, uint32_t hash)
{
    if (w->used >= w->cap / 2) grow(w);
    size_t at = hash & (w->cap - 1);
    for (; w->entries[at].used; at = (at + 1) & (w->cap - 1)) {
        struct entry *e = &w->entries[at];
        if (e->hash == hash && e->len == len && memcmp(w->text + e->text, word, len) == 0) return e;
    }
    while (w->text_len + len > w->text_cap) {
        w->text_cap *= 2;
        w->text = must_realloc(w->text, w->text_cap);
    }
    if (len) memcpy(w->text + w->text_len, word, len);
    w->entries[at] = (struct entry){.text = w->text_len, .hash = hash, .len = len, .used = true};
    w->text_len += len;
    w->used++;
    return &w->entries[at];
}

void words_split(struct words *w, const uint8_t *data, size_t len, bool first)
{
    const uint8_t *p = data, *end = data + len;
    if (first && p < end && !is_letter(*p)) words_get(w, "", 0, word_hash("", 0))->increment++;
    for (;;) {
        while (p < end && !is_letter(*p))
            p++;
        if (p == end) return;
        const uint8_t *word = p;
        uint32_t h = HASH_START;
        for (; p < end && is_letter(*p); p++)
            h = (h ^ *p) * HASH_PRIME;
        words_get(w, (const char *)word, (uint32_t)(p - word), finish(h))->increment++;
    }
}

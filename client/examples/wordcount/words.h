/* Words: finding them in text, and a hash table that counts them.
 *
 * A word is a longest run of ASCII letters, as in `LC_ALL=C tr -cs A-Za-z '\n'`. There is one more
 * in that command's output: if the whole input begins with something that is not a letter, its
 * first line is empty. That empty word is counted too, once. */
#ifndef WORDCOUNT_WORDS_H
#define WORDCOUNT_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct entry {
    uint64_t total;     /* how often the word was seen */
    uint64_t increment; /* of that, not told yet to the next stage */
    size_t text;        /* where it stands in the table's text */
    uint32_t hash, len;
    uint32_t key_group; /* the counters' */
    bool used;
};

struct words {
    struct entry *entries; /* cap of them, a power of two; open addressing */
    size_t cap, used;
    char *text;
    size_t text_len, text_cap;
};

void words_init(struct words *w);
void words_clear(struct words *w); /* forgets the words, keeps the memory */
void words_free(struct words *w);
uint32_t word_hash(const char *word, uint32_t len);
/* The entry of a word, added with zeroes if it is new. Dead after the next call. */
struct entry *words_get(struct words *w, const char *word, uint32_t len, uint32_t hash);
static inline const char *words_text(const struct words *w, const struct entry *e)
{
    return w->text + e->text;
}

/* Counts the words of a block into `increment`. The block must begin and end at the edge of a word;
 * `first`: it is the beginning of the whole input. */
void words_split(struct words *w, const uint8_t *data, size_t len, bool first);

/* As letters, so that the edge of a word is where this differs. */
bool is_letter(uint8_t c);

#endif

/* Adds up the published parts and prints them as `sort | uniq -c` would, in the C locale.
 *
 * It also checks the parts against themselves: every line tells the counter's total at that
 * moment, so the increments of a word must add up to the highest of its totals. A part lost,
 * doubled, or published for a round that came to nothing does not. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wordcount.h"
#include "words.h"

static int add_line(struct words *sum, char *line, ssize_t len)
{
    char *rest;
    if (len == 0 || line[len - 1] != '\n') return -1;
    uint64_t increment = strtoull(line, &rest, 10);
    if (*rest != ' ') return -1;
    uint64_t total = strtoull(rest + 1, &rest, 10);
    if (*rest != ' ') return -1;
    const char *word = rest + 1;
    uint32_t n = (uint32_t)(line + len - 1 - word);
    struct entry *e = words_get(sum, word, n, word_hash(word, n));
    e->increment += increment;
    if (total > e->total) e->total = total;
    return 0;
}

static int add_part(struct words *sum, const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int rc = 0;
    FILE *f = fopen(path, "r");
    if (!f) {
        say("cannot open %s: %s", path, strerror(errno));
        return -1;
    }
    while (rc == 0 && (len = getline(&line, &cap, f)) >= 0)
        rc = add_line(sum, line, len);
    if (rc) say("%s has a damaged line", path);
    free(line);
    fclose(f);
    return rc;
}

static const struct words *sorting; /* qsort has no argument for it */

static int by_bytes(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    uint32_t n = x->len < y->len ? x->len : y->len;
    int c = memcmp(words_text(sorting, x), words_text(sorting, y), n);
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* Moves the used entries to the front, in order. The table can only be read from then on. */
static int print(struct words *sum)
{
    size_t n = 0;
    int bad = 0;
    for (size_t i = 0; i < sum->cap; i++)
        if (sum->entries[i].used) sum->entries[n++] = sum->entries[i];
    sorting = sum;
    qsort(sum->entries, n, sizeof *sum->entries, by_bytes);
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = &sum->entries[i];
        printf("%7" PRIu64 " %.*s\n", e->increment, (int)e->len, words_text(sum, e));
        if (e->increment == e->total) continue;
        say("\"%.*s\": the parts add up to %" PRIu64 ", its counter had %" PRIu64, (int)e->len,
            words_text(sum, e), e->increment, e->total);
        bad = 1;
    }
    if (fflush(stdout)) {
        say("cannot write: %s", strerror(errno));
        return -1;
    }
    return bad ? -1 : 0;
}

int sum_parts(const char *directory)
{
    struct words sum;
    const struct dirent *e;
    int rc = 0;
    DIR *d = opendir(directory);
    if (!d) {
        say("cannot open %s: %s", directory, strerror(errno));
        return 1;
    }
    words_init(&sum);
    while (rc == 0 && (e = readdir(d))) {
        char path[4096];
        if (strncmp(e->d_name, "part-", 5) != 0) continue;
        snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
        rc = add_part(&sum, path);
    }
    closedir(d);
    if (rc == 0) rc = print(&sum);
    words_free(&sum);
    return rc ? 1 : 0;
}

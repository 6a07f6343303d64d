/* The example's words are those of coreutils, wherever the input is cut.
 *
 * Random texts, small ones above all, go through the cuts of 1 to 5 sources and through blocks of
 * every small size, and the counts must be those of `tr | sort | uniq -c`, byte for byte. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/examples/wordcount/input.h"
#include "client/examples/wordcount/words.h"

static char path[] = "/tmp/tidemark-words-XXXXXX";
static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

static void write_input(const void *data, size_t len)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, len, f), len);
    ck_assert_int_eq(fclose(f), 0);
}

static void setup(void)
{
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void teardown(void)
{
    unlink(path);
}

/* What coreutils say, as one string to be freed. */
static char *expected(void)
{
    char command[200], *text = NULL;
    size_t len = 0, n;
    char buf[4096];
    snprintf(command, sizeof command, "LC_ALL=C tr -cs A-Za-z '\\n' < %s | LC_ALL=C sort | uniq -c",
             path);
    FILE *p = popen(command, "r");
    FILE *out = open_memstream(&text, &len);
    while ((n = fread(buf, 1, sizeof buf, p)) > 0)
        fwrite(buf, 1, n, out);
    ck_assert_int_eq(pclose(p), 0);
    fclose(out);
    return text;
}

static const struct words *sorting;
static int by_bytes(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    uint32_t n = x->len < y->len ? x->len : y->len;
    int c = memcmp(words_text(sorting, x), words_text(sorting, y), n);
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* What n sources with blocks of `max` bytes count. */
static char *counted(uint32_t n, uint32_t max)
{
    static uint8_t block[BLOCK_MAX];
    struct input_file in;
    struct words w;
    uint64_t at = 0;
    words_init(&w);
    ck_assert_int_eq(input_file_open(&in, path), 0);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t first, end;
        ck_assert_int_eq(input_cut(&in, i, n, &first), 0);
        ck_assert_int_eq(input_cut(&in, i + 1, n, &end), 0);
        ck_assert_uint_eq(first, at); /* no gap, no overlap */
        while (at < end) {
            uint32_t len;
            ck_assert_int_eq(input_block(&in, at, end, max, block, &len), 0);
            ck_assert_uint_gt(len, 0);
            words_split(&w, block, len, at == 0);
            at += len;
        }
    }
    ck_assert_uint_eq(at, in.size);
    input_file_close(&in);

    char *text = NULL;
    size_t len = 0, k = 0;
    FILE *out = open_memstream(&text, &len);
    for (size_t i = 0; i < w.cap; i++)
        if (w.entries[i].used) w.entries[k++] = w.entries[i];
    sorting = &w;
    qsort(w.entries, k, sizeof *w.entries, by_bytes);
    for (size_t i = 0; i < k; i++)
        fprintf(out, "%7" PRIu64 " %.*s\n", w.entries[i].increment, (int)w.entries[i].len,
                words_text(&w, &w.entries[i]));
    fclose(out);
    words_free(&w);
    return text;
}

static void check_all_cuts(void)
{
    char *want = expected();
    for (uint32_t n = 1; n <= 5; n++) {
        for (uint32_t max = 1; max <= 9; max += 2) {
            char *have = counted(n, max);
            ck_assert_str_eq(have, want);
            free(have);
        }
    }
    free(want);
}

START_TEST(empty_lines_are_coreutils)
{
    static const char *const texts[] = {"",    "\n",  "a",   " a",     "a ",      "  ",
                                        "a b", "\0a", "aXb", "1a2b3c", "--a--b-", "[`{@a"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_input(texts[i], i == 7 ? 2 : strlen(texts[i]));
        check_all_cuts();
    }
}
END_TEST

START_TEST(random_texts)
{
    static const char alphabet[] = "aabAzZ  \n.0\x80\xff[`";
    char text[200];
    for (state = 1; state < 41;) {
        uint64_t seed = state;
        uint32_t len = draw(sizeof text);
        uint32_t letters = 2 + draw(sizeof alphabet - 2); /* few kinds of bytes: long words */
        for (uint32_t i = 0; i < len; i++)
            text[i] = alphabet[draw(letters)];
        write_input(text, len);
        check_all_cuts();
        state = seed + 1;
    }
}
END_TEST

START_TEST(long_words)
{
    static char text[3 * BLOCK_MAX];
    struct input_file in;
    static uint8_t block[BLOCK_MAX];
    uint32_t len;
    memset(text, 'x', sizeof text);
    text[BLOCK_MAX - 1] = ' '; /* the longest that fits, then one that does not */
    write_input(text, sizeof text);
    ck_assert_int_eq(input_file_open(&in, path), 0);
    ck_assert_int_eq(input_block(&in, 0, in.size, 16, block, &len), 0);
    ck_assert_uint_eq(len, BLOCK_MAX);
    ck_assert_int_eq(input_block(&in, BLOCK_MAX, in.size, 16, block, &len), -1);
    ck_assert_int_eq(errno, EFBIG);
    input_file_close(&in);
}
END_TEST

START_TEST(many_words)
{
    struct words w;
    char word[16];
    words_init(&w);
    for (uint32_t i = 0; i < 100000; i++) {
        int n = snprintf(word, sizeof word, "w%u", i);
        words_get(&w, word, (uint32_t)n, word_hash(word, (uint32_t)n))->total = i;
    }
    ck_assert_uint_eq(w.used, 100000);
    for (uint32_t i = 0; i < 100000; i++) {
        int n = snprintf(word, sizeof word, "w%u", i);
        ck_assert_uint_eq(words_get(&w, word, (uint32_t)n, word_hash(word, (uint32_t)n))->total, i);
    }
    ck_assert_uint_eq(w.used, 100000);
    words_free(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("words");
    TCase *t = tcase_create("words");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, empty_lines_are_coreutils);
    tcase_add_test(t, random_texts);
    tcase_add_test(t, long_words);
    tcase_add_test(t, many_words);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}

/* The library against a daemon that says what it should not, or when it should not: each vector of
 * conformance.txt is a script for the daemon and the trace that must come of it. A vector cites the
 * sentence of docs/protocol.md that it holds the library to; that has to stand there. */
#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/client/lib_run.h"
#include "tests/client/lib_script.h"

#define VECTORS_MAX 512
#define FILE_NAME "tests/client/conformance.txt"

static struct vector {
    const char *name, *says, *script, *trace;
} vectors[VECTORS_MAX];
static int n_vectors;
static char *file, *protocol;

static char *slurp(const char *path)
{
    size_t size = (size_t)1 << 20;
    FILE *f = fopen(path, "r");
    char *text = calloc(1, size);
    if (!f || !text) {
        fprintf(stderr, "%s cannot be read: this runs where the source tree is\n", path);
        exit(2);
    }
    size_t n = fread(text, 1, size - 1, f);
    fclose(f);
    text[n] = '\0';
    return text;
}

/* Each run of white space becomes one blank. */
static void squeeze(char *text)
{
    char *to = text;
    for (const char *at = text; *at; at++) {
        bool space = isspace((unsigned char)*at) != 0;
        if (!space)
            *to++ = *at;
        else if (to > text && to[-1] != ' ')
            *to++ = ' ';
    }
    if (to > text && to[-1] == ' ') to--;
    *to = '\0';
}

/* The next paragraph that begins with this, without it; ends at the next line that begins with a
 * word and a colon, or with a #. */
static char *take(char **at, const char *label)
{
    size_t len = strlen(label);
    if (strncmp(*at, label, len) != 0) {
        fprintf(stderr, "%s: \"%s\" should stand before: %.60s\n", FILE_NAME, label, *at);
        exit(2);
    }
    char *text = *at + len, *end = text;
    for (;;) {
        end = strchr(end, '\n');
        if (!end) break;
        end++;
        if (*end == '#' || strncmp(end, "says:", 5) == 0 || strncmp(end, "script:", 7) == 0 ||
            strncmp(end, "trace:", 6) == 0)
            break;
    }
    *at = end ? end : text + strlen(text);
    if (end) end[-1] = '\0';
    return text;
}

static void load(void)
{
    file = slurp(FILE_NAME);
    protocol = slurp("docs/protocol.md");
    squeeze(protocol);
    char *at = strstr(file, "\n# ");
    if (at) at++;
    while (at && *at == '#') {
        if (n_vectors == VECTORS_MAX) {
            fprintf(stderr, "%s has more than %d vectors\n", FILE_NAME, VECTORS_MAX);
            exit(2);
        }
        struct vector *v = &vectors[n_vectors++];
        char *name = take(&at, "# "), *says = take(&at, "says:"), *script = take(&at, "script:"),
             *trace = take(&at, "trace:\n");
        squeeze(name);
        squeeze(says);
        char *end = trace + strlen(trace);
        while (end > trace && end[-1] == '\n')
            *--end = '\0';
        *v = (struct vector){name, says[0] == ' ' ? says + 1 : says, script, trace};
    }
}

START_TEST(vector_holds)
{
    const struct vector *v = &vectors[_i];
    const char *trace = script_run(v->script);
    char want[SCRIPT_TRACE], have[SCRIPT_TRACE];
    snprintf(want, sizeof want, "%s%s", v->trace, v->trace[0] ? "\n" : "");
    snprintf(have, sizeof have, "%s", trace);
    ck_assert_msg(strcmp(want, have) == 0, "%s:\n--- should be\n%s--- was\n%s---", v->name, want,
                  have);
}
END_TEST

START_TEST(each_vector_cites_the_protocol)
{
    for (int i = 0; i < n_vectors; i++)
        ck_assert_msg(
            strstr(protocol, vectors[i].says) != NULL,
            "%s: docs/protocol.md does not say (any more): \"%s\"\nIf it says it in other "
            "words, cite those in %s; if it says something else, look whether the library "
            "does that.",
            vectors[i].name, vectors[i].says, FILE_NAME);
}
END_TEST

START_TEST(there_are_vectors)
{
    ck_assert_int_ge(n_vectors, 60);
    for (int i = 0; i < n_vectors; i++)
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(vectors[i].name, vectors[k].name);
}
END_TEST

int main(void)
{
    load();
    Suite *suite = suite_create("conformance");
    TCase *tc = tcase_create("vectors");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, vector_holds, 0, n_vectors);
    tcase_add_test(tc, each_vector_cites_the_protocol);
    tcase_add_test(tc, there_are_vectors);
    suite_add_tcase(suite, tc);
    int rc = run_suite(suite);
    free(file);
    free(protocol);
    return rc;
}

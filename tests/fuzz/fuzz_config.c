/* The configuration file: refused with a sentence, or taken; what was taken, written as a file, is
 * read again as the same, and may replace or be replaced by the defaults. The first byte tells
 * whether all errors are asked for, or the first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned errors;

static void count(const char *why)
{
    if (why[0] == '\0') abort();
    errors++;
}

static void differs(const char *key, const char *value, bool taken)
{
    if (!key[0] || !value || (int)taken > 1) abort();
}

static char *written(const struct config *c, size_t *ret_len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_len);
    if (!out || !config_write(c, out) || fclose(out)) abort();
    return text;
}

static void again(struct config *c)
{
    char why[CONFIG_WHY] = "", *first, *second;
    struct config next;
    size_t len, len2;
    first = written(c, &len);
    config_init(&next);
    if (config_parse(&next, "again", (struct tide_bytes){(const uint8_t *)first, len}, why))
        abort();
    if (!*c->secret_file && config_finish(&next, why) == 0) {
        second = written(&next, &len2);
        if (len != len2 || memcmp(first, second, len) != 0) abort();
        free(second);
        (void)config_adopt(c, &next, differs, why);
    }
    config_close(&next);
    config_init(&next);
    if (!*c->secret_file && config_finish(&next, why)) abort();
    (void)config_adopt(c, &next, differs, why);
    config_close(&next);
    free(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[CONFIG_WHY] = "";
    struct config c;
    if (size == 0) return 0;
    config_init(&c);
    errors = 0;
    if (data[0] & 1) c.error = count;
    int rc = config_parse(&c, "fuzz", (struct tide_bytes){data + 1, size - 1}, why);
    if (rc && why[0] == '\0' && !errors) abort();
    /* It would be read, wherever it points to. */
    if (!rc && !*c.secret_file) rc = config_finish(&c, why);
    if (!rc) again(&c);
    config_close(&c);
    return 0;
}

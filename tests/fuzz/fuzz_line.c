/* Lines of JSON for `tidemark state write`: any bytes are refused with a reason, or become members
 * that lie within the line and are what was written.
 *
 * Input: a line. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void is_within(struct tide_bytes b, const char *text, size_t size)
{
    const char *at = (const char *)b.data;
    if (at < text || at + b.len > text + size) abort();
    /* an escape may stand for NUL, which is the one thing that is no text here */
    if (!memchr(at, 0, b.len) && !tide_text_valid(b)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct line l;
    char *text = malloc(size ? size : 1);
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    const char *wrong = line_parse(text, size, &l);
    if (l.n > LINE_MEMBERS) abort();
    for (uint32_t i = 0; !wrong && i < l.n; i++) {
        is_within(l.members[i].name, text, size);
        if (l.members[i].kind == LINE_TEXT) is_within(l.members[i].text, text, size);
        for (uint32_t k = 0; k < i; k++)
            if (tide_bytes_equal(l.members[i].name, l.members[k].name)) abort();
    }
    if (!wrong && line_find(&l, "no such member, whatever the input") >= 0 && size < 20) abort();
    free(text);
    return 0;
}

/* One line of JSON: an object whose members are texts, whole numbers, true, false or null. What
 * `tidemark state read` prints, and `tidemark state write` reads; nothing is nested. */
#ifndef TIDE_CLI_LINE_H
#define TIDE_CLI_LINE_H

#include "proto/bytes.h"

#define LINE_MEMBERS 24u

struct line {
    struct {
        struct tide_bytes name, text; /* views into the line */
        /* FIELD: of CSV, a text, and a number if `number` is not UINT64_MAX */
        enum { LINE_TEXT, LINE_NUMBER, LINE_OTHER, LINE_FIELD } kind;
        uint64_t number;
    } members[LINE_MEMBERS];
    uint32_t n;
};

/* Unescapes within text. NULL, or what is wrong (static). */
const char *line_parse(char *text, size_t len, struct line *ret);
/* The member of this name: its place, or -1. */
int line_find(const struct line *l, const char *name);

#endif

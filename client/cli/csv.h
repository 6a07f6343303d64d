/* Records of CSV, as RFC 4180 has them: what `tidemark state read --csv` prints, and `write --csv`
 * reads. The first record names the columns, in any order; an empty field is a member that is not
 * there. */
#ifndef TIDE_CLI_CSV_H
#define TIDE_CLI_CSV_H

#include <stdio.h>

#include "client/cli/line.h"

struct csv { /* what the first record says */
    struct line columns;
};

/* A record with its end: a line, and those that follow while a quote is open. 1; 0 at the end;
 * TIDE_ETOOBIG, TIDE_ENOMEM, TIDE_EIO (errno). *lines: how many lines it has. */
int csv_read(FILE *in, struct tide_buf *ret, uint64_t *lines);
/* Both take quotes off within text, which is borrowed for as long as what they return, and by
 * csv_header() until the last record. NULL, or what is wrong (static). */
const char *csv_header(char *text, size_t len, struct csv *ret);
const char *csv_record(const struct csv *c, char *text, size_t len, struct line *ret);
void csv_put(struct tide_bytes field, FILE *out);

#endif

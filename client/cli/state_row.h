/* One line about a state or an entry: a JSON document, or a record of CSV whose columns are named
 * like the document's members. */
#ifndef TIDE_CLI_STATE_ROW_H
#define TIDE_CLI_STATE_ROW_H

#include "state/format.h"

struct row_out {
    bool csv;
    unsigned at; /* members or columns so far */
};

/* The names of the columns; of JSON nothing. */
void row_names(const struct row_out *o);
/* Members come in the order of the columns (state_row.c). */
void row_begin(struct row_out *o);
void row_text(struct row_out *o, const char *name, struct tide_bytes text);
/* "name", or, if it is not plain text, "name_hex". */
void row_bytes(struct row_out *o, const char *name, struct tide_bytes bytes);
void row_number(struct row_out *o, const char *name, uint64_t number);
void row_end(struct row_out *o);
/* Is it a column? */
bool row_is_known(struct tide_bytes name);

/* Members of whatever speaks of a state's entry. */
void row_entry(struct row_out *o, enum tide_states_kind kind, const struct tide_row *row);

#endif

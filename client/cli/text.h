/* Text for people: sizes, durations, times, and tables that line up.
 *
 * Whatever came from elsewhere (a job's name, a reason) passes through text_clean(), so that no
 * peer can send control sequences to an admin's terminal. */
#ifndef TIDE_CLI_TEXT_H
#define TIDE_CLI_TEXT_H

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>

#include "proto/bytes.h"

/* Memory for the program's own small needs: never NULL, out of memory ends the program with 1. */
void *xrealloc(void *p, size_t size);
char *xprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct tide_bytes text_view(ProtobufCBinaryData data);
/* A malloc'ed string: what is not printable UTF-8 stands as \xNN. */
char *text_clean(ProtobufCBinaryData data);
/* Columns that the string takes on a terminal: its code points. */
size_t text_width(const char *text);
/* Where the text has to be cut to take at most so many columns. */
const char *text_cut(const char *text, size_t columns);
/* Microseconds since 1970. */
uint64_t text_now_wall(void);

/* Each fills the caller's buffer and returns it. */
#define TEXT_MAX 64
char *text_size(char out[static TEXT_MAX], uint64_t bytes);  /* 12.3 MiB */
char *text_duration(char out[static TEXT_MAX], uint64_t us); /* 1.24 s */
char *text_time(char out[static TEXT_MAX],
                uint64_t wall_us); /* 2026-01-31 23:59:58 CET, local; "-" for 0 */
char *text_age(char out[static TEXT_MAX], uint64_t wall_us); /* 12 s; "-" for 0 */
char *text_ago(char out[static TEXT_MAX], uint64_t wall_us); /* 12 s ago; "-" for 0 */
char *text_hex(char *out, ProtobufCBinaryData data,
               size_t max); /* lower case, at most max bytes of data */

/* A duration as a person writes it: 10 (seconds), 500ms, 30s, 5m, 1h. False: not one. */
bool text_parse_duration(const char *text, uint64_t *ret_us);
/* A decimal number without sign that fits. */
bool text_parse_u64(const char *text, uint64_t *ret);

/* A table is filled cell by cell, row by row, then printed. On a terminal that is too narrow spare
 * columns are left out, the last one first, then wide ones are cut; elsewhere nothing is. */
enum { TABLE_LEFT = 0, TABLE_RIGHT = 1, TABLE_WIDE = 2, TABLE_SPARE = 4 };
struct table {
    const char *const *titles; /* borrowed */
    const unsigned char *columns;
    size_t n_columns;
    char **cells; /* owned; row by row */
    size_t n_cells, cap;
    char **notes; /* owned; notes[row] is printed, indented, below the row; NULL: none */
    size_t n_notes;
};
void table_init(struct table *t, size_t n, const char *const *titles, const unsigned char *columns);
void table_put(struct table *t, const char *cell); /* copied */
void table_put_u64(struct table *t, uint64_t value);
void table_put_data(struct table *t, ProtobufCBinaryData data); /* cleaned; "-" when empty */
/* Adds lines to be printed below the row that is being filled or was filled last. Copied. */
void table_note(struct table *t, const char *lines);
void table_print(const struct table *t, FILE *out, size_t width /* 0: no limit */);
void table_release(struct table *t);

/* The width of the terminal that f is, or 0 when it is none. */
size_t text_terminal_width(FILE *f);

#endif

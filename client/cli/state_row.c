#include "client/cli/state_row.h"

#include <stdio.h>
#include <string.h>

#include "client/cli/csv.h"

static const char *const columns[] = {
    "operator", "subtask", "state",           "kind",       "key_group",   "key",
    "key_hex",  "item",    "item_hex",        "value",      "value_hex",   "schema",
    "version",  "rows",    "first_key_group", "key_groups", "parallelism", "max_parallelism",
    "round"};
#define N_COLUMNS (sizeof columns / sizeof *columns)

bool row_is_known(struct tide_bytes name)
{
    for (size_t i = 0; i < N_COLUMNS; i++)
        if (tide_bytes_equal(name, tide_bytes_of(columns[i]))) return true;
    return false;
}

void row_names(const struct row_out *o)
{
    for (size_t i = 0; o->csv && i < N_COLUMNS; i++)
        printf("%s%s", i ? "," : "", columns[i]);
    if (o->csv) printf("\r\n");
}

void row_begin(struct row_out *o)
{
    o->at = 0;
    if (!o->csv) putchar('{');
}

/* Up to where the value stands. */
static void begin_member(struct row_out *o, const char *name)
{
    if (!o->csv) {
        printf("%s\"%s\": ", o->at++ ? ", " : "", name);
        return;
    }
    for (; o->at < N_COLUMNS - 1 && strcmp(columns[o->at], name) != 0; o->at++)
        putchar(',');
}

static void put_text(struct tide_bytes b)
{
    putchar('"');
    for (size_t i = 0; i < b.len; i++) {
        if (b.data[i] == '"' || b.data[i] == '\\') putchar('\\');
        if (b.data[i] < 0x20)
            printf("\\u%04x", b.data[i]);
        else
            putchar(b.data[i]);
    }
    putchar('"');
}

void row_text(struct row_out *o, const char *name, struct tide_bytes text)
{
    begin_member(o, name);
    if (o->csv)
        csv_put(text, stdout);
    else
        put_text(text);
}

static bool is_text(struct tide_bytes b)
{
    if (!tide_text_valid(b)) return false;
    for (size_t i = 0; i < b.len; i++)
        if (b.data[i] < 0x20 || b.data[i] == 0x7f) return false;
    return true;
}

void row_bytes(struct row_out *o, const char *name, struct tide_bytes bytes)
{
    char hex[32];
    if (is_text(bytes)) {
        row_text(o, name, bytes);
        return;
    }
    snprintf(hex, sizeof hex, "%s_hex", name);
    begin_member(o, hex);
    if (!o->csv) putchar('"');
    for (size_t i = 0; i < bytes.len; i++)
        printf("%02x", bytes.data[i]);
    if (!o->csv) putchar('"');
}

void row_number(struct row_out *o, const char *name, uint64_t number)
{
    begin_member(o, name);
    printf("%llu", (unsigned long long)number);
}

void row_end(struct row_out *o)
{
    for (; o->csv && o->at < N_COLUMNS - 1; o->at++)
        putchar(',');
    printf(o->csv ? "\r\n" : "}\n");
}

void row_entry(struct row_out *o, enum tide_states_kind kind, const struct tide_row *row)
{
    if (tide_kind_is_keyed(kind)) {
        row_number(o, "key_group", row->group);
        row_bytes(o, "key", row->key);
    }
    if (kind == TIDE_MAP || kind == TIDE_BROADCAST) row_bytes(o, "item", row->item);
    row_bytes(o, "value", row->value);
}

/* Text for people, see text.h. */
#include "client/cli/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

void *xrealloc(void *p, size_t size)
{
    void *q = realloc(p, size ? size : 1);
    if (!q) {
        fputs("tidemark: out of memory\n", stderr);
        exit(1);
    }
    return q;
}

char *xprintf(const char *format, ...)
{
    va_list args;
    char *text;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) {
        fputs("tidemark: out of memory\n", stderr);
        exit(1);
    }
    return text;
}

struct tide_bytes text_view(ProtobufCBinaryData data)
{
    return (struct tide_bytes){data.data, data.len};
}

/* Length of the printable UTF-8 sequence at p, or 0: C0, DEL and C1 are not printable. */
static size_t printable(const uint8_t *p, size_t left)
{
    if (p[0] < 0x80) return p[0] >= 0x20 && p[0] != 0x7f;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (n > left || !tide_text_valid((struct tide_bytes){p, n})) return 0;
    if (p[0] == 0xc2 && p[1] < 0xa0) return 0;
    return n;
}

char *text_clean(ProtobufCBinaryData data)
{
    char *out = xrealloc(NULL, data.len * 4 + 1), *to = out;
    for (size_t i = 0; i < data.len;) {
        size_t n = printable(data.data + i, data.len - i);
        if (n) {
            memcpy(to, data.data + i, n);
            to += n;
        } else {
            to += sprintf(to, "\\x%02x", data.data[i]);
        }
        i += n ? n : 1;
    }
    *to = '\0';
    return out;
}

size_t text_width(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

uint64_t text_now_wall(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

char *text_size(char out[static TEXT_MAX], uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        snprintf(out, TEXT_MAX, "%" PRIu64 " B", bytes);
        return out;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    for (; value >= 1023.95 && unit + 1 < sizeof units / sizeof *units; unit++)
        value /= 1024;
    snprintf(out, TEXT_MAX, "%.1f %s", value, units[unit]);
    return out;
}

char *text_duration(char out[static TEXT_MAX], uint64_t us)
{
    static const struct {
        uint64_t below_s, unit_s;
        const char *unit, *rest;
        uint64_t rest_s;
    } forms[] = {{3600, 60, "min", "s", 1},
                 {86400, 3600, "h", "min", 60},
                 {UINT64_MAX, 86400, "d", "h", 3600}};
    uint64_t s = us / 1000000, i = 0;
    if (us < 1000)
        snprintf(out, TEXT_MAX, "%" PRIu64 " us", us);
    else if (us < 100000)
        snprintf(out, TEXT_MAX, "%.1f ms", (double)us / 1e3);
    else if (us < 1000000)
        snprintf(out, TEXT_MAX, "%" PRIu64 " ms", us / 1000);
    else if (s < 60 && us % 1000000 == 0)
        snprintf(out, TEXT_MAX, "%" PRIu64 " s", s);
    else if (s < 60)
        snprintf(out, TEXT_MAX, "%.*f s", s < 10 ? 2 : 1, (double)us / 1e6);
    if (s < 60) return out;
    while (s >= forms[i].below_s)
        i++;
    uint64_t rest = s % forms[i].unit_s / forms[i].rest_s;
    int n = snprintf(out, TEXT_MAX, "%" PRIu64 " %s", s / forms[i].unit_s, forms[i].unit);
    if (rest) snprintf(out + n, TEXT_MAX - (size_t)n, " %" PRIu64 " %s", rest, forms[i].rest);
    return out;
}

char *text_time(char out[static TEXT_MAX], uint64_t wall_us)
{
    time_t t = (time_t)(wall_us / 1000000);
    struct tm tm;
    if (!wall_us || !localtime_r(&t, &tm) || !strftime(out, TEXT_MAX, "%Y-%m-%d %H:%M:%S %Z", &tm))
        strcpy(out, "-");
    return out;
}

char *text_age(char out[static TEXT_MAX], uint64_t wall_us)
{
    uint64_t now = text_now_wall();
    /* The daemon's clock may run ahead of ours. */
    uint64_t us = wall_us < now ? now - wall_us : 0;
    if (!wall_us)
        strcpy(out, "-");
    else
        text_duration(out, us / 1000000 * 1000000);
    if (wall_us && us < 1000000) strcpy(out, "0 s");
    return out;
}

char *text_ago(char out[static TEXT_MAX], uint64_t wall_us)
{
    if (wall_us)
        strcat(text_age(out, wall_us), " ago");
    else
        strcpy(out, "-");
    return out;
}

char *text_hex(char *out, ProtobufCBinaryData data, size_t max)
{
    size_t n = data.len < max ? data.len : max;
    for (size_t i = 0; i < n; i++)
        sprintf(out + 2 * i, "%02x", data.data[i]);
    out[2 * n] = '\0';
    return out;
}

bool text_parse_u64(const char *text, uint64_t *ret)
{
    uint64_t value = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

bool text_parse_duration(const char *text, uint64_t *ret_us)
{
    static const struct {
        const char *unit;
        uint64_t us;
    } units[] = {{"", 1000000},   {"ms", 1000},      {"s", 1000000},
                 {"m", 60000000}, {"min", 60000000}, {"h", 3600000000}};
    size_t digits = strspn(text, "0123456789");
    char number[16];
    uint64_t value;
    if (digits == 0 || digits >= sizeof number) return false;
    memcpy(number, text, digits);
    number[digits] = '\0';
    if (!text_parse_u64(number, &value)) return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(text + digits, units[i].unit) == 0)
            return !__builtin_mul_overflow(value, units[i].us, ret_us);
    return false;
}

size_t text_terminal_width(FILE *f)
{
    struct winsize size;
    if (!isatty(fileno(f))) return 0;
    if (ioctl(fileno(f), TIOCGWINSZ, &size) || size.ws_col < 20) return 80;
    return size.ws_col;
}

/* ---- tables */

void table_init(struct table *t, size_t n, const char *const *titles, const unsigned char *columns)
{
    *t = (struct table){.titles = titles, .columns = columns, .n_columns = n};
}

void table_put(struct table *t, const char *cell)
{
    if (t->n_cells == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->cells = xrealloc(t->cells, t->cap * sizeof *t->cells);
    }
    t->cells[t->n_cells++] = xprintf("%s", cell);
}

void table_put_u64(struct table *t, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    table_put(t, text);
}

void table_put_data(struct table *t, ProtobufCBinaryData data)
{
    char *clean = text_clean(data);
    table_put(t, *clean ? clean : "-");
    free(clean);
}

void table_note(struct table *t, const char *lines)
{
    size_t row = t->n_cells ? (t->n_cells - 1) / t->n_columns : 0;
    if (row >= t->n_notes) {
        t->notes = xrealloc(t->notes, (row + 1) * sizeof *t->notes);
        while (t->n_notes <= row)
            t->notes[t->n_notes++] = NULL;
    }
    char *old = t->notes[row];
    t->notes[row] = xprintf("%s%s%s", old ? old : "", old ? "\n" : "", lines);
    free(old);
}

#define HIDDEN SIZE_MAX /* as a column's width */
#define CUT_LEAST 8     /* columns that a cell keeps when it is cut */
#define NOTE_INDENT 4

static size_t total_width(const struct table *t, const size_t *width)
{
    size_t total = 0, shown = 0;
    for (size_t c = 0; c < t->n_columns; c++)
        if (width[c] != HIDDEN) {
            total += width[c];
            shown++;
        }
    return shown ? total + 2 * (shown - 1) : 0;
}

/* Spare columns go, the last one first; then those that may be cut share what is missing, the
 * widest first. */
static void fit(const struct table *t, size_t *width, size_t limit)
{
    for (size_t c = t->n_columns; limit && c-- && total_width(t, width) > limit;)
        if (t->columns[c] & TABLE_SPARE) width[c] = HIDDEN;
    while (limit && total_width(t, width) > limit) {
        size_t widest = t->n_columns;
        for (size_t c = 0; c < t->n_columns; c++)
            if ((t->columns[c] & TABLE_WIDE) && width[c] != HIDDEN && width[c] > CUT_LEAST &&
                (widest == t->n_columns || width[c] > width[widest]))
                widest = c;
        if (widest == t->n_columns) return;
        width[widest]--;
    }
}

const char *text_cut(const char *text, size_t columns)
{
    size_t n = 0;
    for (; *text; text++)
        if (((unsigned char)*text & 0xc0) != 0x80 && n++ == columns) break;
    return text;
}

static void print_cell(FILE *out, const char *cell, size_t width, bool right, bool last)
{
    size_t have = text_width(cell);
    if (have > width) { /* cut, and show that it is */
        fprintf(out, "%.*s..", (int)(text_cut(cell, width - 2) - cell), cell);
    } else {
        int pad = (int)(width - have);
        if (right)
            fprintf(out, "%*s%s", pad, "", cell);
        else
            fprintf(out, "%s%*s", cell, last ? 0 : pad, "");
    }
    fputs(last ? "\n" : "  ", out);
}

static void print_row(const struct table *t, FILE *out, const char *const *cells,
                      const size_t *width)
{
    size_t last = t->n_columns - 1;
    while (last && (width[last] == HIDDEN || !*cells[last]))
        last--;
    for (size_t c = 0; c <= last; c++)
        if (width[c] != HIDDEN)
            print_cell(out, cells[c], width[c], (t->columns[c] & TABLE_RIGHT) != 0, c == last);
}

/* Below the row, indented; on a terminal broken between words. */
static void print_note(FILE *out, const char *lines, size_t limit)
{
    size_t room = limit > NOTE_INDENT + CUT_LEAST ? limit - NOTE_INDENT : SIZE_MAX;
    while (lines && *lines) {
        const char *end = lines + strcspn(lines, "\n"), *cut = text_cut(lines, room);
        if (cut < end) {
            const char *space = cut;
            while (space > lines && *space != ' ')
                space--;
            end = space > lines ? space : cut;
        }
        fprintf(out, "%*s%.*s\n", NOTE_INDENT, "", (int)(end - lines), lines);
        lines = end + (*end == '\n' || *end == ' ');
    }
}

void table_print(const struct table *t, FILE *out, size_t limit)
{
    size_t width[16];
    if (t->n_columns == 0 || t->n_columns > sizeof width / sizeof *width) return;
    for (size_t c = 0; c < t->n_columns; c++)
        width[c] = text_width(t->titles[c]);
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t w = text_width(t->cells[i]);
        if (w > width[i % t->n_columns]) width[i % t->n_columns] = w;
    }
    fit(t, width, limit);
    print_row(t, out, t->titles, width);
    for (size_t row = 0; row < t->n_cells / t->n_columns; row++) {
        print_row(t, out, (const char *const *)t->cells + row * t->n_columns, width);
        if (row < t->n_notes) print_note(out, t->notes[row], limit);
    }
}

void table_release(struct table *t)
{
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i]);
    for (size_t i = 0; i < t->n_notes; i++)
        free(t->notes[i]);
    free(t->cells);
    free(t->notes);
    *t = (struct table){0};
}

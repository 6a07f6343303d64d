/* The parser: strict, and in place, since what is quoted is longer than what it stands for. */
#include "client/cli/csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

int csv_read(FILE *in, struct tide_buf *ret, uint64_t *lines)
{
    char *text = NULL;
    size_t room = 0;
    bool quoted = false;
    int rc = 0;
    *lines = 0;
    do {
        errno = 0;
        ssize_t n = getline(&text, &room, in);
        if (n < 0) {
            rc = ferror(in) ? TIDE_EIO : errno == ENOMEM ? TIDE_ENOMEM : 0;
            break;
        }
        ++*lines;
        for (ssize_t i = 0; i < n; i++)
            quoted ^= text[i] == '"';
        tide_buf_put(ret, text, (size_t)n);
        rc = ret->rc;
    } while (!rc && quoted);
    free(text);
    return rc ? rc : *lines ? 1 : 0;
}

struct fields {
    char *at, *end;
    const char *wrong;
    bool more; /* a comma was the last thing */
};

static struct tide_bytes wrong(struct fields *f, const char *what)
{
    f->wrong = what;
    return (struct tide_bytes){0};
}

/* Behind the opening quote. */
static struct tide_bytes quoted(struct fields *f)
{
    char *begin = f->at, *to = f->at;
    for (;;) {
        if (f->at == f->end) return wrong(f, "a quoted field without an end");
        char c = *f->at++;
        if (c == '"') {
            if (f->at == f->end || *f->at != '"') break;
            f->at++;
        }
        *to++ = c;
    }
    if (f->at < f->end && *f->at != ',') return wrong(f, "something behind a quoted field");
    return (struct tide_bytes){(const uint8_t *)begin, (size_t)(to - begin)};
}

static struct tide_bytes next(struct fields *f)
{
    struct tide_bytes field;
    if (f->at < f->end && *f->at == '"') {
        f->at++;
        field = quoted(f);
    } else {
        const char *begin = f->at;
        bool quote = false;
        for (; f->at < f->end && *f->at != ','; f->at++)
            quote |= *f->at == '"';
        if (quote) return wrong(f, "a quote within a field that has none around it");
        field = (struct tide_bytes){(const uint8_t *)begin, (size_t)(f->at - begin)};
    }
    f->more = f->at < f->end;
    f->at += f->more;
    return field;
}

static struct fields begin(char *text, size_t len)
{
    struct fields f = {text, text + len, NULL, true};
    if (f.end > f.at && f.end[-1] == '\n') f.end--;
    if (f.end > f.at && f.end[-1] == '\r') f.end--;
    if (!tide_text_valid((struct tide_bytes){(const uint8_t *)text, len})) f.wrong = "not UTF-8";
    return f;
}

const char *csv_header(char *text, size_t len, struct csv *ret)
{
    static const char mark[] = "\xef\xbb\xbf"; /* of byte order, which spreadsheets write */
    size_t skip = len >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
    struct fields f = begin(text + skip, len - skip);
    struct line *l = &ret->columns;
    l->n = 0;
    while (!f.wrong && f.more) {
        if (l->n == LINE_MEMBERS) return "too many columns";
        l->members[l->n].name = next(&f);
        for (uint32_t i = 0; !f.wrong && i < l->n; i++)
            if (tide_bytes_equal(l->members[i].name, l->members[l->n].name))
                return "a column that stands twice";
        l->n++;
    }
    return f.wrong;
}

/* As a number, or one that nothing takes. */
static uint64_t number_of(struct tide_bytes field)
{
    uint64_t n = 0;
    if (field.len > 18) return UINT64_MAX;
    for (size_t i = 0; i < field.len; i++) {
        if (field.data[i] < '0' || field.data[i] > '9') return UINT64_MAX;
        n = n * 10 + (uint64_t)(field.data[i] - '0');
    }
    return n;
}

const char *csv_record(const struct csv *c, char *text, size_t len, struct line *ret)
{
    struct fields f = begin(text, len);
    uint32_t column = 0;
    ret->n = 0;
    for (; !f.wrong && f.more; column++) {
        struct tide_bytes field = next(&f);
        if (f.wrong) break;
        if (column == c->columns.n) return "more fields than the first record names";
        if (!field.len) continue;
        ret->members[ret->n].name = c->columns.members[column].name;
        ret->members[ret->n].text = field;
        ret->members[ret->n].kind = LINE_FIELD;
        ret->members[ret->n++].number = number_of(field);
    }
    if (!f.wrong && column < c->columns.n) return "fewer fields than the first record names";
    return f.wrong;
}

void csv_put(struct tide_bytes field, FILE *out)
{
    bool plain = true;
    for (size_t i = 0; i < field.len; i++)
        plain &= field.data[i] != '"' && field.data[i] != ',' && field.data[i] != '\r' &&
                 field.data[i] != '\n';
    if (!plain) putc('"', out);
    for (size_t i = 0; i < field.len; i++) {
        if (field.data[i] == '"') putc('"', out);
        putc(field.data[i], out);
    }
    if (!plain) putc('"', out);
}

/* The parser: strict, and in place, since no escape is shorter than what it stands for. */
#include "client/cli/line.h"

#include <stdlib.h>
#include <string.h>

struct parsing {
    char *at, *end;
    const char *wrong;
};

static bool fail(struct parsing *p, const char *what)
{
    if (!p->wrong) p->wrong = what;
    return false;
}

static void blanks(struct parsing *p)
{
    while (p->at < p->end && strchr(" \t\r\n", *p->at) && *p->at)
        p->at++;
}

static bool take(struct parsing *p, char c)
{
    blanks(p);
    if (p->at == p->end || *p->at != c) return false;
    p->at++;
    return true;
}

static bool hex4(struct parsing *p, uint32_t *ret)
{
    *ret = 0;
    for (unsigned i = 0; i < 4; i++, p->at++) {
        static const char digits[] = "0123456789abcdef";
        const char *d = p->at < p->end && *p->at ? strchr(digits, *p->at | 0x20) : NULL;
        if (!d) return fail(p, "\\u without four hexadecimal digits");
        *ret = *ret << 4 | (uint32_t)(d - digits);
    }
    return true;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        if (c < 0x10000) {
            *to++ = (char)(0xe0 | c >> 12);
        } else {
            *to++ = (char)(0xf0 | c >> 18);
            *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        }
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

static bool unicode(struct parsing *p, char **to)
{
    uint32_t c, low;
    if (!hex4(p, &c)) return false;
    if (c >= 0xdc00 && c < 0xe000) return fail(p, "half of a character");
    if (c >= 0xd800 && c < 0xdc00) {
        if (p->end - p->at < 2 || p->at[0] != '\\' || p->at[1] != 'u')
            return fail(p, "half of a character");
        p->at += 2;
        if (!hex4(p, &low)) return false;
        if (low < 0xdc00 || low >= 0xe000) return fail(p, "half of a character");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    *to = put_utf8(*to, c);
    return true;
}

/* Behind the opening quote. */
static bool string(struct parsing *p, struct tide_bytes *ret)
{
    static const char from[] = "\"\\/bfnrt", to_[] = "\"\\/\b\f\n\r\t";
    char *begin = p->at, *to = p->at;
    for (;;) {
        if (p->at == p->end) return fail(p, "a text without an end");
        char c = *p->at++;
        if (c == '"') break;
        if ((unsigned char)c < 0x20) return fail(p, "a control character in a text");
        if (c != '\\') {
            *to++ = c;
            continue;
        }
        c = p->at < p->end ? *p->at++ : '\0';
        const char *known = c ? strchr(from, c) : NULL;
        if (known)
            *to++ = to_[known - from];
        else if (c != 'u')
            return fail(p, "an unknown escape in a text");
        else if (!unicode(p, &to))
            return false;
    }
    *ret = (struct tide_bytes){(const uint8_t *)begin, (size_t)(to - begin)};
    return true;
}

static bool number(struct parsing *p, uint64_t *ret)
{
    *ret = 0;
    for (unsigned n = 0; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++, n++) {
        if (*ret > (UINT64_MAX - 9) / 10) return fail(p, "a number that is too large");
        if (n && !*ret) return fail(p, "a number that begins with 0");
        *ret = *ret * 10 + (uint64_t)(*p->at - '0');
    }
    if (p->at < p->end && (*p->at == '.' || *p->at == 'e' || *p->at == 'E'))
        return fail(p, "a number that is not whole");
    return true;
}

static bool word(struct parsing *p)
{
    static const char *const words[] = {"true", "false", "null"};
    for (unsigned i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(p->end - p->at) < n || memcmp(p->at, words[i], n) != 0) continue;
        p->at += n;
        return true;
    }
    return fail(p, "a value that is neither a text nor a whole number");
}

static bool member(struct parsing *p, struct line *l)
{
    if (l->n == LINE_MEMBERS) return fail(p, "too many members");
    if (!take(p, '"')) return fail(p, "a member without a name");
    if (!string(p, &l->members[l->n].name)) return false;
    for (uint32_t i = 0; i < l->n; i++)
        if (tide_bytes_equal(l->members[i].name, l->members[l->n].name))
            return fail(p, "a member that stands twice");
    if (!take(p, ':')) return fail(p, "a name without a value");
    blanks(p);
    if (p->at < p->end && *p->at >= '0' && *p->at <= '9') {
        l->members[l->n].kind = LINE_NUMBER;
        if (!number(p, &l->members[l->n].number)) return false;
    } else if (take(p, '"')) {
        l->members[l->n].kind = LINE_TEXT;
        if (!string(p, &l->members[l->n].text)) return false;
    } else {
        l->members[l->n].kind = LINE_OTHER;
        if (!word(p)) return false;
    }
    l->n++;
    return true;
}

const char *line_parse(char *text, size_t len, struct line *ret)
{
    struct parsing p = {text, text + len, NULL};
    *ret = (struct line){.n = 0};
    if (!tide_text_valid((struct tide_bytes){(const uint8_t *)text, len})) return "not UTF-8";
    if (!take(&p, '{')) return "no JSON object";
    if (!take(&p, '}')) {
        while (member(&p, ret) && take(&p, ','))
            ;
        if (!p.wrong && !take(&p, '}')) fail(&p, "an object without an end");
    }
    blanks(&p);
    if (!p.wrong && p.at != p.end) fail(&p, "more than one object in a line");
    return p.wrong;
}

int line_find(const struct line *l, const char *name)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (tide_bytes_equal(l->members[i].name, tide_bytes_of(name))) return (int)i;
    return -1;
}

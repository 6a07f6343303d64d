/* Whether bytes of one message can be read as another, by protobuf's rules: fields are known by
 * their numbers, names do not matter.
 *
 *   as they are        fields that are new; types that hold all values of the old one in the same
 *                      encoding; one that may now repeat
 *   after conversion   fields that are gone are taken out of the values, so that a later type may
 *                      use their numbers; types that hold some values of the old one, if each value
 *                      fits; one that repeated, if each has at most one
 *   incompatible       anything else */
#include <stdio.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/graph_show.h"
#include "proto/wire.h"
#include "state/descriptor_impl.h"

#define PAIRS_MAX 8192u
#define DEPTH_MAX 100u /* of values, as protobuf's libraries have it */
#define VALUE_MAX ((size_t)1 << 30)

enum outcome { AS_IS, CONVERTED, REFUSED };

/* How a type's values are written. */
enum encoding { NONE, VARINT, ZIGZAG, BITS_32, BITS_64, REAL_32, REAL_64, TEXT, MESSAGE };

struct kind {
    const char *name;
    enum encoding encoding;
    int bits;       /* of integers */
    bool is_signed; /* the same */
};

static const struct kind kinds[TYPE_LAST + 1] = {
    [TYPE_DOUBLE] = {"double", REAL_64, 0, false},
    [TYPE_FLOAT] = {"float", REAL_32, 0, false},
    [TYPE_INT64] = {"int64", VARINT, 64, true},
    [TYPE_UINT64] = {"uint64", VARINT, 64, false},
    [TYPE_INT32] = {"int32", VARINT, 32, true},
    [TYPE_FIXED64] = {"fixed64", BITS_64, 64, false},
    [TYPE_FIXED32] = {"fixed32", BITS_32, 32, false},
    [TYPE_BOOL] = {"bool", VARINT, 1, false},
    [TYPE_STRING] = {"string", TEXT, 0, false},
    [TYPE_GROUP] = {"group", NONE, 0, false},
    [TYPE_MESSAGE] = {"message", MESSAGE, 0, false},
    [TYPE_BYTES] = {"bytes", TEXT, 0, false},
    [TYPE_UINT32] = {"uint32", VARINT, 32, false},
    [TYPE_ENUM] = {"enum", VARINT, 32, true},
    [TYPE_SFIXED32] = {"sfixed32", BITS_32, 32, true},
    [TYPE_SFIXED64] = {"sfixed64", BITS_64, 64, true},
    [TYPE_SINT32] = {"sint32", ZIGZAG, 32, true},
    [TYPE_SINT64] = {"sint64", ZIGZAG, 64, true},
};

static const struct field *find(const struct tide_descriptor *d, const struct type *t,
                                uint32_t number)
{
    uint32_t low = 0, high = t->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct field *f = &d->fields[t->first + middle];
        if (f->number == number) return f;
        if (f->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool has_value(const struct tide_descriptor *d, uint32_t type, int64_t value)
{
    const struct type *t = &d->types[type];
    for (uint32_t i = 0; i < t->n; i++)
        if (d->values[t->first + i] == value) return true;
    return false;
}

/* ---- types */

struct comparing {
    const struct tide_descriptor *had, *now;
    uint32_t *pairs; /* of types that are compared, or will be: (had, now) */
    uint32_t n_pairs, done;
    enum outcome outcome;
    char *why;
    size_t used;
    int rc;
};

static void worsen(struct comparing *c, enum outcome o)
{
    if (o > c->outcome) c->outcome = o;
}

static void refuse(struct comparing *c, const struct type *in, const struct field *f,
                   const char *what)
{
    size_t room = TIDE_DESCRIPTOR_WHY - c->used;
    int n = snprintf(c->why + c->used, room, "%sfield %u of %s (%s) %s", c->used ? "; " : "",
                     f->number, tide_show(in->name).text, tide_show(f->name).text, what);
    c->used += (size_t)n < room ? (size_t)n : room - 1;
    worsen(c, REFUSED);
}

static void refuse_types(struct comparing *c, const struct type *in, const struct field *had,
                         const struct field *now)
{
    char what[80];
    snprintf(what, sizeof what, "is %s there, %s here", kinds[had->type].name,
             kinds[now->type].name);
    refuse(c, in, now, what);
}

static void later(struct comparing *c, uint32_t had, uint32_t now)
{
    for (uint32_t i = 0; i < c->n_pairs; i++)
        if (c->pairs[2 * i] == had && c->pairs[2 * i + 1] == now) return;
    if (c->n_pairs == PAIRS_MAX) {
        c->rc = TIDE_ETOOBIG;
        return;
    }
    if ((c->n_pairs & (c->n_pairs - 1)) == 0) {
        uint32_t *more = realloc(c->pairs, (size_t)(c->n_pairs ? c->n_pairs * 2 : 1) * 8);
        if (!more) {
            c->rc = TIDE_ENOMEM;
            return;
        }
        c->pairs = more;
    }
    c->pairs[2 * c->n_pairs] = had;
    c->pairs[2 * c->n_pairs++ + 1] = now;
}

/* Whether each value of the one is one of the other. */
static bool holds(const struct kind *had, const struct kind *now)
{
    if (had->is_signed == now->is_signed) return now->bits >= had->bits;
    return now->is_signed && now->bits > had->bits;
}

static bool lacks_values(const struct comparing *c, const struct field *had,
                         const struct field *now)
{
    const struct type *t = &c->had->types[had->refers];
    if (c->now->types[now->refers].open) return false;
    for (uint32_t i = 0; i < t->n; i++)
        if (!has_value(c->now, now->refers, c->had->values[t->first + i])) return true;
    return t->open;
}

static enum outcome of_types(struct comparing *c, const struct field *had, const struct field *now)
{
    const struct kind *a = &kinds[had->type], *b = &kinds[now->type];
    if (had->type == TYPE_MESSAGE && now->type == TYPE_BYTES) return AS_IS; /* as protobuf has it */
    if (a->encoding != b->encoding) return REFUSED;
    if (had->type == TYPE_MESSAGE) {
        later(c, had->refers, now->refers);
        return AS_IS;
    }
    if (now->type == TYPE_ENUM && had->type == TYPE_ENUM)
        return lacks_values(c, had, now) ? CONVERTED : AS_IS;
    if (now->type == TYPE_ENUM && !c->now->types[now->refers].open) return CONVERTED;
    if (had->type == now->type) return AS_IS;
    if (now->type == TYPE_STRING) return CONVERTED; /* must be UTF-8 */
    return now->type == TYPE_BYTES || holds(a, b) ? AS_IS : CONVERTED;
}

static void field_stays(struct comparing *c, const struct type *in, const struct field *had,
                        const struct field *now)
{
    enum outcome o = of_types(c, had, now);
    if (o == REFUSED)
        refuse_types(c, in, had, now);
    else if (now->label == LABEL_REQUIRED && had->label != LABEL_REQUIRED)
        refuse(c, in, now, "may be missing there, and is required here");
    else if (had->label == LABEL_REPEATED && now->label != LABEL_REPEATED)
        worsen(c, CONVERTED);
    worsen(c, o);
}

/* Fields of which at most one is set now, and of which several may have been. */
static void of_oneof(struct comparing *c, const struct type *t, const struct type *was,
                     const struct field *f)
{
    const struct field *before = find(c->had, was, f->number);
    if (f->oneof == NO_TYPE || !before) return;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct field *other = &c->now->fields[t->first + i];
        const struct field *had = other->number < f->number && other->oneof == f->oneof
                                      ? find(c->had, was, other->number)
                                      : NULL;
        if (!had || (had->oneof != NO_TYPE && had->oneof == before->oneof)) continue;
        refuse(c, t, f, "excludes another one here, and did not there");
        return;
    }
}

static void compare_pair(struct comparing *c, const struct type *was, const struct type *t)
{
    for (uint32_t i = 0; i < was->n; i++)
        if (!find(c->now, t, c->had->fields[was->first + i].number)) worsen(c, CONVERTED);
    for (uint32_t i = 0; !c->rc && i < t->n; i++) {
        const struct field *now = &c->now->fields[t->first + i];
        const struct field *had = find(c->had, was, now->number);
        if (had)
            field_stays(c, t, had, now);
        else if (now->label == LABEL_REQUIRED)
            refuse(c, t, now, "is required, and not there");
        of_oneof(c, t, was, now);
    }
}

int tide_descriptor_compare(const struct tide_descriptor *had, const struct tide_descriptor *now,
                            char why[static TIDE_DESCRIPTOR_WHY])
{
    struct comparing c = {.had = had, .now = now, .why = why};
    why[0] = '\0';
    later(&c, had->root, now->root);
    for (; !c.rc && c.done < c.n_pairs; c.done++)
        compare_pair(&c, &had->types[c.pairs[2 * c.done]], &now->types[c.pairs[2 * c.done + 1]]);
    free(c.pairs);
    if (c.rc) snprintf(why, TIDE_DESCRIPTOR_WHY, "%s", tide_strerror(c.rc));
    return c.rc ? c.rc : c.outcome == REFUSED ? TIDE_EREFUSED : c.outcome == CONVERTED;
}

/* ---- values */

struct converting {
    const struct tide_descriptor *had, *now;
    char *why;
};

static int misfit(struct converting *c, const struct field *f, const char *what)
{
    snprintf(c->why, TIDE_DESCRIPTOR_WHY, "field %u (%.40s) %s", f->number, tide_show(f->name).text,
             what);
    return TIDE_EREFUSED;
}

/* A number as the old type has it, in the new one. */
static bool fits(const struct converting *c, const struct field *had, const struct field *now,
                 uint64_t raw)
{
    const struct kind *a = &kinds[had->type], *b = &kinds[now->type];
    if (!a->bits || !b->bits) return true; /* no integer */
    if (a->encoding == ZIGZAG) raw = (raw >> 1) ^ (0 - (raw & 1));
    if (a->is_signed && a->bits == 32) raw = (uint64_t)(int64_t)(int32_t)(uint32_t)raw;
    if (!a->is_signed && a->bits == 32) raw = (uint32_t)raw;
    if (a->bits == 1) raw = raw != 0;
    const bool negative = a->is_signed && (int64_t)raw < 0;
    if (negative && !b->is_signed) return false;
    if (b->bits == 32 && b->is_signed)
        if (negative ? (int64_t)raw < INT32_MIN : raw > INT32_MAX) return false;
    if (b->bits == 32 && !b->is_signed && raw > UINT32_MAX) return false;
    if (b->bits == 64 && b->is_signed && !negative && raw > INT64_MAX) return false;
    if (b->bits == 1 && raw > 1) return false;
    return now->type != TYPE_ENUM || c->now->types[now->refers].open ||
           has_value(c->now, now->refers, (int64_t)raw);
}

static uint32_t wire_type(const struct field *f)
{
    switch (kinds[f->type].encoding) {
    case VARINT:
    case ZIGZAG: return TIDE_WIRE_VARINT;
    case BITS_32:
    case REAL_32: return TIDE_WIRE_32;
    case BITS_64:
    case REAL_64: return TIDE_WIRE_64;
    default: return TIDE_WIRE_LEN;
    }
}

/* Numbers one behind the other. */
static int check_packed(struct converting *c, const struct field *had, const struct field *now,
                        struct tide_bytes b, uint64_t *n)
{
    const uint8_t *at = b.data, *end = b.data + b.len;
    const uint32_t type = wire_type(had);
    for (; at < end; ++*n) {
        uint64_t raw = 0;
        size_t size = type == TIDE_WIRE_32 ? 4 : 8;
        if (type == TIDE_WIRE_VARINT) {
            if (!tide_wire_varint(&at, end, &raw)) return misfit(c, had, "is not of its schema");
        } else {
            if ((size_t)(end - at) < size) return misfit(c, had, "is not of its schema");
            raw = size == 4 ? tide_get_u32(at) : tide_get_u64(at);
            at += size;
        }
        if (!fits(c, had, now, raw)) return misfit(c, now, "has a number that does not fit");
    }
    return 0;
}

static int convert(struct converting *c, uint32_t had, uint32_t now, struct tide_bytes value,
                   unsigned depth, struct tide_buf *out);

static int convert_message(struct converting *c, const struct field *had, const struct field *now,
                           struct tide_bytes b, unsigned depth, struct tide_buf *out)
{
    struct tide_buf inner;
    tide_buf_init(&inner, VALUE_MAX);
    int rc = convert(c, had->refers, now->refers, b, depth + 1, &inner);
    if (!rc) {
        tide_buf_put_varint(out, (uint64_t)now->number << 3 | TIDE_WIRE_LEN);
        tide_buf_put_varint(out, inner.len);
        if (inner.len) tide_buf_put(out, inner.data, inner.len);
        rc = out->rc;
    }
    tide_buf_release(&inner);
    return rc;
}

/* One occurrence; from: its bytes, tag included. *n: how many there were, and are. */
static int convert_field(struct converting *c, const struct field *had, const struct field *now,
                         const struct tide_wire_field *f, struct tide_bytes from, uint64_t *n,
                         unsigned depth, struct tide_buf *out)
{
    const uint32_t type = wire_type(had);
    const bool packed = f->type == TIDE_WIRE_LEN && type != TIDE_WIRE_LEN;
    int rc = 0;
    if (f->type != type && !packed) return misfit(c, had, "is not of its schema");
    if (packed) {
        rc = check_packed(c, had, now, f->bytes, n);
    } else {
        ++*n;
        if (type != TIDE_WIRE_LEN && !fits(c, had, now, f->value))
            rc = misfit(c, now, "has a number that does not fit");
        if (now->type == TYPE_STRING && had->type == TYPE_BYTES && f->bytes.len &&
            !tide_text_valid(f->bytes))
            rc = misfit(c, now, "has bytes that are no text");
    }
    if (!rc && had->label == LABEL_REPEATED && now->label != LABEL_REPEATED && *n > 1)
        rc = misfit(c, now, "has more than one value");
    if (rc) return rc;
    if (had->type == TYPE_MESSAGE && now->type == TYPE_MESSAGE)
        return convert_message(c, had, now, f->bytes, depth, out);
    if (packed && now->label != LABEL_REPEATED) { /* alone it has its own tag */
        if (!f->bytes.len) return 0;
        tide_buf_put_varint(out, (uint64_t)now->number << 3 | type);
        tide_buf_put(out, f->bytes.data, f->bytes.len);
    } else {
        tide_buf_put(out, from.data, from.len);
    }
    return out->rc;
}

static int convert(struct converting *c, uint32_t had, uint32_t now, struct tide_bytes value,
                   unsigned depth, struct tide_buf *out)
{
    const struct type *was = &c->had->types[had], *is = &c->now->types[now];
    struct tide_wire w = tide_wire_of(value);
    struct tide_wire_field f;
    int rc = depth < DEPTH_MAX ? 0 : TIDE_ETOOBIG;
    uint64_t *seen = calloc((size_t)was->n + 1, sizeof *seen); /* of each field, how many */
    if (!seen) rc = TIDE_ENOMEM;
    if (rc) snprintf(c->why, TIDE_DESCRIPTOR_WHY, "%s", tide_strerror(rc));
    const uint8_t *from = w.at;
    for (; !rc && tide_wire_next(&w, &f); from = w.at) {
        const struct field *a = find(c->had, was, f.number), *b = find(c->now, is, f.number);
        const struct tide_bytes whole = {from, (size_t)(w.at - from)};
        if (a && b)
            rc = convert_field(c, a, b, &f, whole, &seen[a - &c->had->fields[was->first]], depth,
                               out);
        else if (!a) { /* nobody's: as it is */
            tide_buf_put(out, whole.data, whole.len);
            rc = out->rc;
        }
    }
    if (!rc && w.bad) {
        snprintf(c->why, TIDE_DESCRIPTOR_WHY, "it is no message of protobuf");
        rc = TIDE_EREFUSED;
    }
    free(seen);
    return rc;
}

int tide_descriptor_convert(const struct tide_descriptor *had, const struct tide_descriptor *now,
                            struct tide_bytes value, struct tide_buf *out,
                            char why[static TIDE_DESCRIPTOR_WHY])
{
    struct converting c = {had, now, why};
    why[0] = '\0';
    int rc = convert(&c, had->root, now->root, value, 0, out);
    if (rc && !why[0]) snprintf(why, TIDE_DESCRIPTOR_WHY, "%s", tide_strerror(rc));
    return rc;
}

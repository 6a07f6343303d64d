/* Reading descriptors.
 *
 * The usual way: all messages and enums of all files are noted with their full names, then sorted,
 * then the names that fields refer to are looked up, and each message's fields sorted by number.
 * Nothing is read in a way that its size or nesting could make deep or long. */
#include "state/descriptor.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/arena.h"
#include "proto/err.h"
#include "proto/graph_show.h"
#include "proto/wire.h"
#include "state/descriptor_impl.h"

#define NESTING_MAX 32u
#define ARENA_MAX ((size_t)16 << 20)

struct reading {
    struct tide_descriptor *d;
    bool proto3; /* the file under way */
    char *why;
    int rc; /* sticks */
};

static bool fail(struct reading *g, int rc, const char *what, struct tide_bytes name)
{
    if (g->rc) return false;
    g->rc = rc;
    if (name.len)
        snprintf(g->why, TIDE_DESCRIPTOR_WHY, "%s %s", what, tide_show(name).text);
    else
        snprintf(g->why, TIDE_DESCRIPTOR_WHY, "%s", what);
    return false;
}

static bool malformed(struct reading *g)
{
    return fail(g, TIDE_EINVAL, "it is no FileDescriptorSet", (struct tide_bytes){0});
}

static void *grow(struct reading *g, void *items, uint32_t n, uint32_t max, size_t size)
{
    if (n == max) {
        (void)fail(g, TIDE_EINVAL, "it has too many types or fields", (struct tide_bytes){0});
        return NULL;
    }
    if (n & (n - 1)) return items; /* room is a power of two */
    void *more = realloc(items, (size_t)(n ? n * 2 : 1) * size);
    if (!more) (void)fail(g, TIDE_ENOMEM, tide_strerror(TIDE_ENOMEM), (struct tide_bytes){0});
    return more;
}

/* scope.name */
static struct tide_bytes join(struct reading *g, struct tide_bytes scope, struct tide_bytes name)
{
    if (!name.len || !tide_text_valid(name) || scope.len + name.len > 1000) {
        (void)malformed(g);
        return name;
    }
    if (!scope.len) return name;
    uint8_t *to = tide_arena_alloc(&g->d->arena, scope.len + 1 + name.len);
    if (!to) {
        (void)fail(g, TIDE_ENOMEM, tide_strerror(TIDE_ENOMEM), (struct tide_bytes){0});
        return name;
    }
    memcpy(to, scope.data, scope.len);
    to[scope.len] = '.';
    memcpy(to + scope.len + 1, name.data, name.len);
    return (struct tide_bytes){to, scope.len + 1 + name.len};
}

/* The last length-delimited field of that number. */
static struct tide_bytes text_of(struct tide_bytes message, uint32_t number)
{
    struct tide_wire w = tide_wire_of(message);
    struct tide_wire_field f;
    struct tide_bytes found = {0};
    while (tide_wire_next(&w, &f))
        if (f.number == number && f.type == TIDE_WIRE_LEN) found = f.bytes;
    return found;
}

/* ---- fields, values of enums */

static void read_field(struct reading *g, struct tide_bytes bytes)
{
    struct tide_descriptor *d = g->d;
    struct tide_wire w = tide_wire_of(bytes);
    struct tide_wire_field f;
    struct field field = {.refers = NO_TYPE, .oneof = NO_TYPE, .label = LABEL_OPTIONAL};
    bool alone = false; /* proto3's `optional` is a oneof of one */
    while (tide_wire_next(&w, &f)) {
        if (f.type == TIDE_WIRE_LEN) {
            if (f.number == 1) field.name = f.bytes;
            if (f.number == 6) field.type_name = f.bytes;
            continue;
        }
        if (f.type != TIDE_WIRE_VARINT) continue;
        if (f.number == 3) field.number = f.value > FIELD_NUMBER_MAX ? 0 : (uint32_t)f.value;
        if (f.number == 4) field.label = f.value > 3 ? 0 : (uint8_t)f.value;
        if (f.number == 5) field.type = f.value > TYPE_LAST ? 0 : (uint8_t)f.value;
        if (f.number == 9) field.oneof = f.value > 65535 ? NO_TYPE : (uint32_t)f.value;
        if (f.number == 17) alone = f.value != 0;
    }
    if (alone) field.oneof = NO_TYPE;
    if (w.bad || !field.number || !field.label || !field.type || !field.name.len ||
        !tide_text_valid(field.name)) {
        (void)malformed(g);
        return;
    }
    struct field *more = grow(g, d->fields, d->n_fields, FIELDS_MAX, sizeof *more);
    if (!more) return;
    d->fields = more;
    d->fields[d->n_fields++] = field;
}

static void read_value(struct reading *g, struct tide_bytes bytes)
{
    struct tide_descriptor *d = g->d;
    struct tide_wire w = tide_wire_of(bytes);
    struct tide_wire_field f;
    int32_t number = 0;
    while (tide_wire_next(&w, &f))
        if (f.number == 2 && f.type == TIDE_WIRE_VARINT) number = (int32_t)(uint32_t)f.value;
    if (w.bad) {
        (void)malformed(g);
        return;
    }
    int32_t *more = grow(g, d->values, d->n_values, FIELDS_MAX, sizeof *more);
    if (!more) return;
    d->values = more;
    d->values[d->n_values++] = number;
}

/* ---- types */

static struct type *add_type(struct reading *g, struct tide_bytes name, bool is_enum)
{
    struct tide_descriptor *d = g->d;
    struct type *more = g->rc ? NULL : grow(g, d->types, d->n_types, TYPES_MAX, sizeof *more);
    if (!more) return NULL;
    d->types = more;
    d->types[d->n_types] = (struct type){.name = name, .is_enum = is_enum, .open = g->proto3};
    return &d->types[d->n_types++];
}

static void read_enum(struct reading *g, struct tide_bytes bytes, struct tide_bytes scope)
{
    struct tide_wire w = tide_wire_of(bytes);
    struct tide_wire_field f;
    const uint32_t first = g->d->n_values;
    while (!g->rc && tide_wire_next(&w, &f))
        if (f.number == 2 && f.type == TIDE_WIRE_LEN) read_value(g, f.bytes);
    if (w.bad) (void)malformed(g);
    struct type *t = add_type(g, join(g, scope, text_of(bytes, 1)), true);
    if (!t) return;
    t->first = first;
    t->n = g->d->n_values - first;
}

/* Its fields first, so that they follow each other; then what is nested in it. */
static void read_message(struct reading *g, struct tide_bytes bytes, struct tide_bytes scope,
                         unsigned depth)
{
    struct tide_wire w = tide_wire_of(bytes);
    struct tide_wire_field f;
    const struct tide_bytes name = join(g, scope, text_of(bytes, 1));
    const uint32_t first = g->d->n_fields;
    if (depth == NESTING_MAX) (void)fail(g, TIDE_EINVAL, "its types are nested too deeply", name);
    while (!g->rc && tide_wire_next(&w, &f))
        if (f.number == 2 && f.type == TIDE_WIRE_LEN) read_field(g, f.bytes);
    if (w.bad) (void)malformed(g);
    struct type *t = add_type(g, name, false);
    if (!t) return;
    t->first = first;
    t->n = g->d->n_fields - first;
    w = tide_wire_of(bytes);
    while (!g->rc && tide_wire_next(&w, &f)) {
        if (f.type != TIDE_WIRE_LEN) continue;
        if (f.number == 3) read_message(g, f.bytes, name, depth + 1);
        if (f.number == 4) read_enum(g, f.bytes, name);
    }
}

static void read_file(struct reading *g, struct tide_bytes bytes)
{
    struct tide_wire w = tide_wire_of(bytes);
    struct tide_wire_field f;
    const struct tide_bytes package = text_of(bytes, 2);
    g->proto3 = tide_bytes_equal(text_of(bytes, 12), tide_bytes_of("proto3"));
    while (!g->rc && tide_wire_next(&w, &f)) {
        if (f.type != TIDE_WIRE_LEN) continue;
        if (f.number == 4) read_message(g, f.bytes, package, 0);
        if (f.number == 5) read_enum(g, f.bytes, package);
    }
    if (w.bad) (void)malformed(g);
}

/* ---- what refers to what */

static int by_name(const void *a, const void *b)
{
    return tide_bytes_compare(((const struct type *)a)->name, ((const struct type *)b)->name);
}

static int by_number(const void *a, const void *b)
{
    const uint32_t x = ((const struct field *)a)->number, y = ((const struct field *)b)->number;
    return (x > y) - (x < y);
}

static uint32_t find_type(const struct tide_descriptor *d, struct tide_bytes name)
{
    const struct type key = {.name = name}, *t = d->n_types ? bsearch(&key, d->types, d->n_types,
                                                                      sizeof *d->types, by_name)
                                                            : NULL;
    return t ? (uint32_t)(t - d->types) : NO_TYPE;
}

static void resolve(struct reading *g, struct field *f)
{
    if (f->type == TYPE_GROUP) {
        (void)fail(g, TIDE_EINVAL, "it has a group, which is not supported yet:", f->name);
        return;
    }
    if (f->type != TYPE_MESSAGE && f->type != TYPE_ENUM) return;
    if (f->type_name.len && f->type_name.data[0] == '.')
        f->refers =
            find_type(g->d, (struct tide_bytes){f->type_name.data + 1, f->type_name.len - 1});
    if (f->refers == NO_TYPE || g->d->types[f->refers].is_enum != (f->type == TYPE_ENUM))
        (void)fail(g, TIDE_EINVAL, "it refers to a type that it has not:", f->type_name);
}

static void connect(struct reading *g, struct tide_bytes message)
{
    struct tide_descriptor *d = g->d;
    if (d->n_types) qsort(d->types, d->n_types, sizeof *d->types, by_name);
    for (uint32_t i = 1; i < d->n_types; i++)
        if (tide_bytes_equal(d->types[i].name, d->types[i - 1].name))
            (void)fail(g, TIDE_EINVAL, "it has a type twice:", d->types[i].name);
    for (uint32_t i = 0; i < d->n_fields; i++)
        resolve(g, &d->fields[i]);
    for (uint32_t i = 0; !g->rc && i < d->n_types; i++) {
        const uint32_t n = d->types[i].is_enum ? 0 : d->types[i].n;
        struct field *f = n ? d->fields + d->types[i].first : NULL;
        if (n) qsort(f, n, sizeof *f, by_number);
        for (uint32_t k = 1; k < n; k++)
            if (f[k].number == f[k - 1].number)
                (void)fail(g, TIDE_EINVAL, "it has two fields of one number in", d->types[i].name);
    }
    d->root = find_type(d, message);
    if (d->root == NO_TYPE || d->types[d->root].is_enum)
        (void)fail(g, TIDE_EINVAL, "it has no message", message);
}

int tide_descriptor_open(struct tide_bytes files, struct tide_bytes message,
                         struct tide_descriptor **ret, char why[static TIDE_DESCRIPTOR_WHY])
{
    struct reading g = {.d = calloc(1, sizeof *g.d), .why = why};
    struct tide_wire w = tide_wire_of(files);
    struct tide_wire_field f;
    snprintf(why, TIDE_DESCRIPTOR_WHY, "%s", tide_strerror(TIDE_ENOMEM));
    if (!g.d) return TIDE_ENOMEM;
    tide_arena_init(&g.d->arena, ARENA_MAX);
    while (!g.rc && tide_wire_next(&w, &f))
        if (f.number == 1 && f.type == TIDE_WIRE_LEN) read_file(&g, f.bytes);
    if (w.bad) (void)malformed(&g);
    if (!g.rc) connect(&g, message);
    if (g.rc) {
        tide_descriptor_close(g.d);
        return g.rc;
    }
    *ret = g.d;
    return 0;
}

void tide_descriptor_close(struct tide_descriptor *d)
{
    if (!d) return;
    tide_arena_release(&d->arena);
    free(d->types);
    free(d->fields);
    free(d->values);
    free(d);
}

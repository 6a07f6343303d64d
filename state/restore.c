/* Restoring: from what libtidemark hands out, from files, from a savepoint's directory. All three
 * open databases and let load.c do the rest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/directory.h"
#include "state/native.h"

struct opened {
    struct tide_format_reader **readers;
    uint8_t **images; /* of those that are not files */
    uint32_t n;
};

static int opened_init(struct opened *o, uint32_t n)
{
    *o = (struct opened){0};
    o->readers = calloc((size_t)n + 1, sizeof(struct tide_format_reader *));
    o->images = calloc((size_t)n + 1, sizeof(uint8_t *));
    return o->readers && o->images ? 0 : TIDE_ENOMEM;
}

static void opened_close(struct opened *o)
{
    for (uint32_t i = 0; i < o->n; i++)
        tide_format_close(o->readers[i]);
    for (uint32_t i = 0; o->images && i < o->n; i++)
        free(o->images[i]);
    free(o->readers);
    free(o->images);
}

/* ---- what libtidemark hands out */

static int too_big(struct tide_states *s, const struct tide_state *state)
{
    return tide_states_fail(s, TIDE_ETOOBIG, "inline state %.100s has %llu bytes", state->name,
                            (unsigned long long)state->size);
}

static const char *called(const struct tide_state_reader *r, const struct tide_state *state)
{
    const char *path = tide_state_path(r);
    return path ? path : state->name;
}

/* Reads it to its end, so that its digest is compared. Bytes are kept if it is no file, or wanted.
 */
static int read_artifact(struct tide_states *s, struct tide_state_reader *r,
                         const struct tide_state *state, bool wanted, uint8_t **ret)
{
    uint8_t block[65536];
    const bool is_file = tide_state_path(r) != NULL && !wanted;
    uint64_t at = 0;
    size_t n = 1;
    if (!is_file) {
        if (state->size > TIDE_STATES_BYTES_MAX) return too_big(s, state);
        *ret = malloc((size_t)state->size + 1);
        if (!*ret)
            return tide_states_fail(s, TIDE_ENOMEM, "%.200s: %s", state->name,
                                    tide_strerror(TIDE_ENOMEM));
    }
    while (n) {
        int rc = tide_state_read(r, block, sizeof block, &n);
        if (rc) return tide_states_fail(s, rc, "%.200s: %s", called(r, state), tide_strerror(rc));
        if (!is_file && n <= state->size - at) memcpy(*ret + at, block, n);
        at += n;
    }
    return 0;
}

static int open_artifact(struct tide_states *s, const struct tide_restore *r,
                         const struct tide_state *state, struct opened *o)
{
    char why[WHY_SIZE] = "";
    struct tide_state_reader *reader = NULL;
    int rc = tide_state_open(r, state, &reader);
    if (rc) return tide_states_fail(s, rc, "state %.100s: %s", state->name, tide_strerror(rc));
    const uint32_t at = o->n++; /* from now on opened_close() frees what it has */
    const bool is_native = !strcmp(state->name, TIDE_ARTIFACT_NATIVE);
    rc = read_artifact(s, reader, state, is_native, &o->images[at]);
    if (!rc) {
        const char *path = tide_state_path(reader);
        struct tide_bytes image = {o->images[at], (size_t)state->size};
        rc = is_native ? tide_native_open(called(reader, state), image, &o->readers[at], why)
             : path    ? tide_format_open(path, &o->readers[at], why)
                       : tide_format_open_bytes(state->name, image, &o->readers[at], why);
        if (!rc && is_native) o->readers[at]->native->scratch = s->directory;
        if (rc) (void)tide_states_fail(s, rc, "%s", why[0] ? why : tide_strerror(rc));
    }
    tide_state_close(reader);
    return rc;
}

/* A file of a native part. */
static int open_file(struct tide_states *s, const struct tide_restore *r,
                     const struct tide_state *state, struct opened *o)
{
    uint8_t *image = NULL;
    struct tide_state_reader *reader = NULL;
    int rc = tide_state_open(r, state, &reader);
    if (rc) return tide_states_fail(s, rc, "state %.100s: %s", state->name, tide_strerror(rc));
    rc = read_artifact(s, reader, state, false, &image);
    for (uint32_t i = 0; !rc && i < o->n; i++) {
        rc = tide_native_found(o->readers[i], state->name, tide_state_path(reader),
                               (struct tide_bytes){image, (size_t)state->size}, state->key);
        if (rc) (void)tide_states_fail(s, rc, "%s", o->readers[i]->why);
    }
    free(image);
    tide_state_close(reader);
    return rc;
}

static bool is_part(const char *name)
{
    return !strcmp(name, TIDE_ARTIFACT_KEYED) || !strcmp(name, TIDE_ARTIFACT_OWN) ||
           !strcmp(name, TIDE_ARTIFACT_NATIVE) || !strcmp(name, TIDE_ARTIFACT_FLIGHT);
}

int tide_states_restore(struct tide_states *s, const struct tide_restore *r)
{
    struct opened o;
    if (!s || !r) return TIDE_EINVAL;
    tide_states_drop(s);
    int rc = opened_init(&o, r->n_states);
    if (rc) (void)tide_states_fail(s, rc, "%s", tide_strerror(rc));
    for (uint32_t i = 0; !rc && i < r->n_states; i++)
        if (is_part(r->states[i].name)) rc = open_artifact(s, r, &r->states[i], &o);
    for (uint32_t i = 0; !rc && i < r->n_states; i++)
        if (!strncmp(r->states[i].name, TIDE_NATIVE_FILE, sizeof TIDE_NATIVE_FILE - 1))
            rc = open_file(s, r, &r->states[i], &o);
    if (!rc) rc = tide_states_load(s, o.readers, o.n);
    opened_close(&o);
    return rc;
}

/* ---- files */

int tide_states_restore_files(struct tide_states *s, const char *const *paths, uint32_t n)
{
    char why[WHY_SIZE] = "";
    struct opened o;
    if (!s || (!paths && n)) return TIDE_EINVAL;
    tide_states_drop(s);
    int rc = opened_init(&o, n);
    if (rc) (void)tide_states_fail(s, rc, "%s", tide_strerror(rc));
    while (!rc && o.n < n) {
        rc = tide_format_open(paths[o.n], &o.readers[o.n], why);
        if (rc)
            (void)tide_states_fail(s, rc, "%s", why[0] ? why : tide_strerror(rc));
        else
            o.n++;
    }
    if (!rc) rc = tide_states_load(s, o.readers, o.n);
    opened_close(&o);
    return rc;
}

/* ---- a savepoint's directory */

struct gathering {
    struct tide_states *s;
    struct opened *o;
    uint32_t room;
    char why[WHY_SIZE];
};

static int gather(void *user, const struct tide_directory_artifact *a)
{
    struct gathering *g = user;
    if (!tide_bytes_equal(a->op->uid, tide_bytes_of(g->s->uid)) || !tide_directory_is_state(a))
        return 0;
    if (g->o->n == g->room) {
        uint32_t room = g->room ? g->room * 2 : 16;
        struct tide_format_reader **more =
            realloc(g->o->readers, room * sizeof(struct tide_format_reader *));
        if (!more) return TIDE_ENOMEM;
        g->o->readers = more;
        g->room = room;
    }
    int rc = tide_directory_read(a, &g->o->readers[g->o->n], g->why);
    if (!rc && g->o->readers[g->o->n]->native)
        g->o->readers[g->o->n]->native->scratch = g->s->directory;
    g->o->n += !rc;
    return rc;
}

int tide_states_restore_directory(struct tide_states *s, const char *directory)
{
    struct opened o = {0};
    struct tide_directory d = {0};
    struct gathering g = {.s = s, .o = &o};
    if (!s || !directory) return TIDE_EINVAL;
    tide_states_drop(s);
    int rc = tide_directory_open(directory, &d, g.why);
    if (!rc) rc = tide_directory_each(&d, gather, &g);
    if (rc) (void)tide_states_fail(s, rc, "%s", g.why[0] ? g.why : tide_strerror(rc));
    if (!rc && !o.n)
        rc = tide_states_fail(s, TIDE_ENOTFOUND, "%.200s: has no state of operator %.100s",
                              directory, s->uid);
    if (!rc) rc = tide_states_load(s, o.readers, o.n);
    opened_close(&o);
    tide_directory_close(&d);
    return rc;
}

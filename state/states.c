/* The names: what a task has declared, and the backend that keeps it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state/impl.h"
#include "state/place.h"

static const char *const kinds[] = {
    [TIDE_VALUE] = "value", [TIDE_LIST] = "list",   [TIDE_MAP] = "map",
    [TIDE_SPLIT] = "split", [TIDE_UNION] = "union", [TIDE_BROADCAST] = "broadcast"};

const char *tide_states_kind_name(enum tide_states_kind kind)
{
    return (unsigned)kind < sizeof kinds / sizeof *kinds ? kinds[kind] : NULL;
}

const char *tide_flow_route_name(enum tide_flow_route route)
{
    static const char *const routes[] = {[TIDE_FLOW_KEYED] = "keyed",
                                         [TIDE_FLOW_SPLIT] = "split",
                                         [TIDE_FLOW_BROADCAST] = "broadcast"};
    return (unsigned)route < sizeof routes / sizeof *routes ? routes[route] : NULL;
}

int tide_states_fail(struct tide_states *s, int rc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(s->why, sizeof s->why, format, args);
    va_end(args);
    return rc;
}

const char *tide_states_error(const struct tide_states *s)
{
    return s ? s->why : "no states";
}

bool tide_states_is_name(const char *text)
{
    struct tide_bytes b = text ? tide_bytes_of(text) : (struct tide_bytes){0};
    return b.len >= 1 && b.len <= 255 && tide_text_valid(b);
}

int tide_states_copy_sized(void *to, size_t to_size, const void *from, size_t size)
{
    const uint8_t *bytes = from;
    for (size_t i = to_size; i < size; i++)
        if (bytes[i]) return TIDE_ENOTSUP;
    memset(to, 0, to_size);
    memcpy(to, from, size < to_size ? size : to_size);
    return 0;
}

static int check(struct tide_states_config *c, char why[256])
{
    if (!tide_states_is_name(c->uid)) {
        snprintf(why, 256, "the operator's uid must be 1 to 255 bytes of UTF-8");
        return TIDE_EINVAL;
    }
    if (!c->max_parallelism) c->max_parallelism = tide_max_parallelism_default(c->parallelism);
    if (!c->parallelism || c->parallelism > c->max_parallelism || c->max_parallelism > 1u << 20) {
        snprintf(why, 256, "operator %.100s: a parallelism of %u with a max parallelism of %u",
                 c->uid, c->parallelism, c->max_parallelism);
        return TIDE_EINVAL;
    }
    if (c->subtask < c->parallelism) return 0;
    snprintf(why, 256, "operator %.100s: there is no subtask %u at a parallelism of %u", c->uid,
             c->subtask, c->parallelism);
    return TIDE_EINVAL;
}

static const struct tide_backend_class *choose(const struct tide_states_config *c, char why[256])
{
    char reason[WHY_SIZE] = "";
    const struct tide_backend_class *class =
        tide_backend_find(c->backend ? c->backend : "memory", reason);
    if (class && class->needs_directory && !(c->directory && *c->directory)) {
        snprintf(reason, sizeof reason, "backend %s needs a directory of the task's own",
                 class->name);
        class = NULL;
    }
    if (!class) snprintf(why, 256, "operator %.100s: %.140s", c->uid, reason);
    return class;
}

int tide_states_new_sized(const struct tide_states_config *config, size_t size,
                          struct tide_states **ret, char why[256])
{
    struct tide_states_config c;
    char own[256];
    if (!why) why = own;
    why[0] = '\0';
    if (!config || !ret || size < offsetof(struct tide_states_config, backend)) {
        snprintf(why, 256, "%s", tide_strerror(TIDE_EINVAL));
        return TIDE_EINVAL;
    }
    int rc = tide_states_copy_sized(&c, sizeof c, config, size);
    if (rc) {
        snprintf(why, 256, "the configuration has what this library does not know");
        return rc;
    }
    rc = check(&c, why);
    if (rc) return rc;
    const struct tide_backend_class *class = choose(&c, why);
    if (!class) return TIDE_ENOTSUP;
    struct tide_states *s = calloc(1, sizeof *s);
    if (!s) return TIDE_ENOMEM;
    s->uid = strdup(c.uid);
    s->directory = c.directory ? strdup(c.directory) : NULL;
    if (!s->uid || (c.directory && !s->directory)) {
        free(s->directory);
        free(s->uid);
        free(s);
        return TIDE_ENOMEM;
    }
    s->subtask = c.subtask;
    s->parallelism = c.parallelism;
    s->max_parallelism = c.max_parallelism;
    s->derived = !config->max_parallelism;
    s->drop_unmatched = c.drop_unmatched;
    s->class = class;
    s->taken = -1;
    atomic_init(&s->cancelled, false);
    tide_key_group_range(c.subtask, c.parallelism, c.max_parallelism, &s->first, &s->count);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    *ret = s;
    return 0;
}

static void named_free(struct tide_named *n)
{
    if (!n) return;
    tide_evolve_free(&n->schema);
    free(n->name);
    free(n);
}

void tide_states_drop(struct tide_states *s)
{
    atomic_store(&s->cancelled, true);
    pthread_mutex_lock(&s->lock);
    while (s->writing)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    atomic_store(&s->cancelled, false);
    if (s->keyed) s->keyed->class->close(s->keyed);
    if (s->own) s->own->class->close(s->own);
    s->keyed = s->own = NULL;
    free(s->shared);
    s->shared = NULL;
    s->n_shared = s->cap_shared = 0;
    for (uint32_t i = 0; i < s->n_flows; i++)
        tide_flow_drop(s->flows[i]);
}

void tide_states_free(struct tide_states *s)
{
    if (!s) return;
    tide_states_drop(s);
    for (uint32_t i = 0; i < s->n_items; i++)
        named_free(s->items[i]);
    for (uint32_t i = 0; i < s->n_flows; i++)
        tide_flow_free(s->flows[i]);
    free(s->flows);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    if (s->taken >= 0) close(s->taken);
    free(s->items);
    free(s->directory);
    free(s->uid);
    free(s);
}

static int told(struct tide_states *s, int rc)
{
    if (!rc || s->why[0]) return rc;
    return tide_states_fail(s, rc, "operator %.100s: the states cannot be opened: %s", s->uid,
                            tide_strerror(rc));
}

int tide_states_reopen(struct tide_states *s, uint32_t first, uint32_t count,
                       int (*place)(void *user, const char *directory, char *why), void *user,
                       struct tide_backend **ret)
{
    char path[4096];
    struct tide_backend_config config = {.n_states = s->n_keyed,
                                         .first = first,
                                         .count = count,
                                         .mode = place ? TIDE_BACKEND_THERE : TIDE_BACKEND_EMPTY,
                                         .directory = path,
                                         .why = s->why};
    s->why[0] = '\0';
    int rc = s->taken >= 0 ? 0 : tide_place_take(s->directory, &s->taken, s->why);
    if (!rc && !tide_place_path(path, sizeof path, s->directory, "db", 0)) rc = TIDE_EINVAL;
    if (!rc && place) {
        tide_place_remove(path);
        rc = mkdir(path, 0777) ? tide_place_errno(path, s->why) : place(user, path, s->why);
    }
    return told(s, rc ? rc : s->class->open(&config, ret));
}

int tide_states_open(struct tide_states *s, bool keyed, uint32_t first, uint32_t count,
                     struct tide_backend **ret)
{
    if (keyed && s->n_keyed && s->class->needs_directory)
        return tide_states_reopen(s, first, count, NULL, NULL, ret);
    const struct tide_backend_class *class = keyed && s->n_keyed ? s->class : &tide_backend_memory;
    const struct tide_backend_config config = {.n_states =
                                                   keyed ? s->n_keyed : s->n_items - s->n_keyed,
                                               .first = keyed ? first : 0,
                                               .count = keyed ? count : 1,
                                               .why = s->why};
    s->why[0] = '\0';
    return told(s, class->open(&config, ret));
}

int tide_states_ready(struct tide_states *s)
{
    if (s->own) return 0;
    int rc = s->keyed ? 0 : tide_states_open(s, true, s->first, s->count, &s->keyed);
    return rc ? rc : tide_states_open(s, false, 0, 0, &s->own);
}

struct tide_named *tide_states_find(const struct tide_states *s, struct tide_bytes name)
{
    for (uint32_t i = 0; i < s->n_items; i++)
        if (tide_bytes_equal(tide_bytes_of(s->items[i]->name), name)) return s->items[i];
    return NULL;
}

uint32_t tide_states_max_parallelism(const struct tide_states *s)
{
    return s->max_parallelism;
}

static int check_declaration(struct tide_states *s, const char *name, enum tide_states_kind kind)
{
    if (!tide_states_is_name(name))
        return tide_states_fail(s, TIDE_EINVAL, "a state's name must be 1 to 255 bytes of UTF-8");
    if (!tide_states_kind_name(kind))
        return tide_states_fail(s, TIDE_EINVAL, "state %.100s: there is no kind %d", name,
                                (int)kind);
    if (s->keyed) return tide_states_fail(s, TIDE_ESTATE, "state %.100s: declared too late", name);
    if (tide_states_find(s, tide_bytes_of(name)))
        return tide_states_fail(s, TIDE_EEXIST, "state %.100s: declared twice", name);
    if (s->n_items == STATES_MAX)
        return tide_states_fail(s, TIDE_ETOOBIG, "more than %u states", STATES_MAX);
    return 0;
}

int tide_states_declare_sized(struct tide_states *s, const char *name, enum tide_states_kind kind,
                              const struct tide_schema *schema, size_t size,
                              struct tide_named **ret)
{
    struct tide_schema known = {0};
    if (!s || !ret || (schema && size < sizeof known)) return TIDE_EINVAL;
    int rc = schema ? tide_states_copy_sized(&known, sizeof known, schema, size) : 0;
    if (rc) return tide_states_fail(s, rc, "the schema has what this library does not know");
    rc = check_declaration(s, name, kind);
    if (rc) return rc;
    if (s->n_items == s->cap_items) {
        uint32_t cap = s->cap_items ? s->cap_items * 2 : 8;
        struct tide_named **items = realloc(s->items, cap * sizeof(struct tide_named *));
        if (!items) return TIDE_ENOMEM;
        s->items = items;
        s->cap_items = cap;
    }
    struct tide_named *n = calloc(1, sizeof *n);
    if (!n) return TIDE_ENOMEM;
    n->states = s;
    n->number = tide_kind_is_keyed(kind) ? s->n_keyed : s->n_items - s->n_keyed;
    n->kind = kind;
    n->name = strdup(name);
    rc = n->name ? 0 : TIDE_ENOMEM;
    if (!rc && schema) rc = tide_evolve_copy(s, "state", name, &known, &n->schema);
    if (rc) {
        named_free(n);
        return rc;
    }
    s->items[s->n_items++] = n;
    s->n_keyed += tide_kind_is_keyed(kind);
    *ret = n;
    return 0;
}

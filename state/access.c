/* What a program does with its states: each call checks the kind and the key, and asks the
 * backend. */
#include "state/impl.h"

#define KINDS(a) (1u << (a))
#define KEYED (KINDS(TIDE_VALUE) | KINDS(TIDE_LIST) | KINDS(TIDE_MAP))
#define VALUES KINDS(TIDE_VALUE)
#define LISTS (KINDS(TIDE_LIST) | KINDS(TIDE_SPLIT) | KINDS(TIDE_UNION))
#define MAPS (KINDS(TIDE_MAP) | KINDS(TIDE_BROADCAST))

static struct tide_backend *backend(const struct tide_named *n)
{
    return tide_named_backend(n);
}

static struct tide_bytes bytes(const void *data, size_t len)
{
    return (struct tide_bytes){data, len};
}

static int check_length(struct tide_named *n, size_t len)
{
    if (len <= TIDE_STATES_BYTES_MAX) return 0;
    return tide_states_fail(n->states, TIDE_ETOOBIG,
                            "state %.100s: %zu bytes, at most %u are allowed", n->name, len,
                            TIDE_STATES_BYTES_MAX);
}

/* The place of a key, if the state is of one of these kinds and the key this task's. */
static int slot(struct tide_named *n, unsigned wanted, const void *key, size_t len,
                struct tide_slot *ret)
{
    if (!n || (!key && len)) return TIDE_EINVAL;
    struct tide_states *s = n->states;
    if (!(wanted & KINDS(n->kind)))
        return tide_states_fail(s, TIDE_EINVAL, "state %.100s is of the kind %s", n->name,
                                tide_states_kind_name(n->kind));
    int rc = tide_states_ready(s);
    if (!rc) rc = check_length(n, len);
    if (rc) return rc;
    *ret = (struct tide_slot){n->number, 0, bytes(key, len)};
    s->why[0] = '\0';
    if (!tide_kind_is_keyed(n->kind))
        return len ? tide_states_fail(s, TIDE_EINVAL, "state %.100s has no keys", n->name) : 0;
    ret->group = tide_states_key_group(key, len, s->max_parallelism);
    if (ret->group >= s->first && ret->group - s->first < s->count) return 0;
    return tide_states_fail(s, TIDE_EINVAL,
                            "state %.100s: the key is of key group %u, which is not subtask %u's",
                            n->name, ret->group, s->subtask);
}

static int give(int rc, struct tide_bytes found, const void **ret_value, size_t *ret_len)
{
    if (rc) return rc;
    *ret_value = found.data;
    *ret_len = found.len;
    return 0;
}

int tide_value_get(struct tide_named *n, const void *key, size_t key_len, const void **ret_value,
                   size_t *ret_len)
{
    struct tide_slot at;
    struct tide_bytes found = {0};
    int rc = ret_value && ret_len ? slot(n, VALUES, key, key_len, &at) : TIDE_EINVAL;
    if (!rc) rc = backend(n)->class->get(backend(n), &at, &found);
    return give(rc, found, ret_value, ret_len);
}

int tide_value_put(struct tide_named *n, const void *key, size_t key_len, const void *value,
                   size_t len)
{
    struct tide_slot at;
    int rc = value || !len ? slot(n, VALUES, key, key_len, &at) : TIDE_EINVAL;
    if (!rc) rc = check_length(n, len);
    return rc ? rc : backend(n)->class->put(backend(n), &at, bytes(value, len));
}

static int drop(struct tide_named *n, unsigned wanted, const void *key, size_t key_len)
{
    struct tide_slot at;
    int rc = slot(n, wanted, key, key_len, &at);
    return rc ? rc : backend(n)->class->remove(backend(n), &at);
}

int tide_value_remove(struct tide_named *n, const void *key, size_t key_len)
{
    return drop(n, VALUES, key, key_len);
}

static uint64_t count(struct tide_named *n, unsigned wanted, const void *key, size_t key_len)
{
    struct tide_slot at;
    uint64_t items = 0;
    if (slot(n, wanted, key, key_len, &at)) return 0;
    return backend(n)->class->count(backend(n), &at, &items) ? 0 : items;
}

/* ---- lists */

int tide_list_add(struct tide_named *n, const void *key, size_t key_len, const void *value,
                  size_t len)
{
    struct tide_slot at;
    int rc = value || !len ? slot(n, LISTS, key, key_len, &at) : TIDE_EINVAL;
    if (!rc) rc = check_length(n, len);
    return rc ? rc : backend(n)->class->append(backend(n), &at, bytes(value, len));
}

uint64_t tide_list_count(struct tide_named *n, const void *key, size_t key_len)
{
    return count(n, LISTS, key, key_len);
}

int tide_list_get(struct tide_named *n, const void *key, size_t key_len, uint64_t position,
                  const void **ret_value, size_t *ret_len)
{
    struct tide_slot at;
    struct tide_bytes found = {0};
    uint8_t item[8];
    int rc = ret_value && ret_len ? slot(n, LISTS, key, key_len, &at) : TIDE_EINVAL;
    if (rc) return rc;
    tide_item_of_position(position, item);
    rc = backend(n)->class->get_item(backend(n), &at, bytes(item, sizeof item), &found);
    return give(rc, found, ret_value, ret_len);
}

int tide_list_clear(struct tide_named *n, const void *key, size_t key_len)
{
    int rc = drop(n, LISTS, key, key_len);
    return rc == TIDE_ENOTFOUND ? 0 : rc;
}

/* ---- maps */

int tide_map_put(struct tide_named *n, const void *key, size_t key_len, const void *item,
                 size_t item_len, const void *value, size_t len)
{
    struct tide_slot at;
    int rc =
        (value || !len) && (item || !item_len) ? slot(n, MAPS, key, key_len, &at) : TIDE_EINVAL;
    if (!rc) rc = check_length(n, len);
    if (!rc) rc = check_length(n, item_len);
    return rc ? rc
              : backend(n)->class->put_item(backend(n), &at, bytes(item, item_len),
                                            bytes(value, len));
}

int tide_map_get(struct tide_named *n, const void *key, size_t key_len, const void *item,
                 size_t item_len, const void **ret_value, size_t *ret_len)
{
    struct tide_slot at;
    struct tide_bytes found = {0};
    int rc = ret_value && ret_len && (item || !item_len) ? slot(n, MAPS, key, key_len, &at)
                                                         : TIDE_EINVAL;
    if (!rc) rc = backend(n)->class->get_item(backend(n), &at, bytes(item, item_len), &found);
    return give(rc, found, ret_value, ret_len);
}

int tide_map_remove(struct tide_named *n, const void *key, size_t key_len, const void *item,
                    size_t item_len)
{
    struct tide_slot at;
    int rc = item || !item_len ? slot(n, MAPS, key, key_len, &at) : TIDE_EINVAL;
    return rc ? rc : backend(n)->class->remove_item(backend(n), &at, bytes(item, item_len));
}

uint64_t tide_map_count(struct tide_named *n, const void *key, size_t key_len)
{
    return count(n, MAPS, key, key_len);
}

int tide_map_clear(struct tide_named *n, const void *key, size_t key_len)
{
    int rc = drop(n, MAPS, key, key_len);
    return rc == TIDE_ENOTFOUND ? 0 : rc;
}

struct visiting {
    int (*item)(const void *item, size_t item_len, const void *value, size_t len, void *user);
    int (*key)(const void *key, size_t key_len, void *user);
    void *user;
};

static int visit_item(void *user, const struct tide_row *r)
{
    struct visiting *v = user;
    return v->item(r->item.data, r->item.len, r->value.data, r->value.len, v->user);
}

static int visit_key(void *user, const struct tide_row *r)
{
    struct visiting *v = user;
    return v->key(r->key.data, r->key.len, v->user);
}

int tide_map_each(struct tide_named *n, const void *key, size_t key_len,
                  int (*f)(const void *item, size_t item_len, const void *value, size_t len,
                           void *user),
                  void *user)
{
    struct tide_slot at;
    struct visiting v = {.item = f, .user = user};
    int rc = f ? slot(n, MAPS, key, key_len, &at) : TIDE_EINVAL;
    return rc ? rc : backend(n)->class->each_item(backend(n), &at, false, visit_item, &v);
}

int tide_keys_each(struct tide_named *n, int (*f)(const void *key, size_t key_len, void *user),
                   void *user)
{
    struct visiting v = {.key = f, .user = user};
    if (!n || !f) return TIDE_EINVAL;
    if (!(KEYED & KINDS(n->kind)))
        return tide_states_fail(n->states, TIDE_EINVAL, "state %.100s has no keys", n->name);
    int rc = tide_states_ready(n->states);
    return rc ? rc : backend(n)->class->each_key(backend(n), n->number, visit_key, &v);
}

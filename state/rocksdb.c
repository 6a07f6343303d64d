/* The RocksDB backend: keyed states in a RocksDB of the task's own, for more than fits into memory.
 *
 * A key of it is: the state (2 bytes) and the key group (4), so that a range of key groups is a
 * range of keys; the length of the key (4) and the key; a tag (1); and, behind TAG_ITEM, the name
 * of an item. All numbers are big-endian, so that they sort. A slot with items has a row of the tag
 * TAG_COUNT, with their number as 8 bytes, in front of them.
 *
 * There is no log of writes: what a crash loses comes back from a snapshot. So a checkpoint writes
 * what is in memory to files first, at most WRITE_BUFFER bytes, and then links all files: that is
 * what a native snapshot stops the task for.
 *
 * RocksDB has threads of its own, which are to take no signals of the program's. When there is no
 * memory it ends the process. */
#include <errno.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "state/impl.h"
#include "state/place.h"

#define WRITE_BUFFER ((size_t)8 << 20)
#define CACHE ((size_t)8 << 20)
#define FILE_SIZE ((uint64_t)16 << 20)
#define FILES_OPEN 256
#define RANGE_FROM 1000u /* items that are removed as a range */
#define HEAD 10u         /* bytes in front of the key */
#define KEY_MAX (2 * (size_t)TIDE_STATES_BYTES_MAX + 64)

enum { TAG_VALUE, TAG_COUNT, TAG_ITEM, TAG_END };

struct rocks {
    struct tide_backend base;
    uint32_t n_states, first, count;
    char *directory, *why;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *writing;
    rocksdb_readoptions_t *reading;
    rocksdb_t *db;
    struct tide_buf key, item_key;
    rocksdb_pinnableslice_t *pinned; /* what the last call has returned a view of */
};

struct tide_frozen {
    struct rocks *r;
    const rocksdb_snapshot_t *snapshot;
};

static struct rocks *of(struct tide_backend *b)
{
    return (struct rocks *)b;
}

/* ---- failures */

static int code_of(const char *error)
{
    if (strstr(error, "No space left") || strstr(error, "quota")) return TIDE_ENOSPC;
    if (!strncmp(error, "Corruption", 10)) return TIDE_ECORRUPT;
    if (strstr(error, "lock hold by current process") || strstr(error, "While lock file"))
        return TIDE_EBUSY;
    return TIDE_EIO;
}

/* Takes error, which may be NULL: then it is none. */
static int fail(const char *directory, char *error, char *why)
{
    if (!error) return 0;
    int rc = code_of(error);
    snprintf(why, WHY_SIZE, "%.200s: RocksDB: %.280s", directory, error);
    rocksdb_free(error);
    return rc;
}

/* ---- keys */

static void put_number(uint8_t *to, uint32_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
}

static uint32_t number(const uint8_t *from, unsigned bytes)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | from[i];
    return v;
}

static int make_key(struct tide_buf *to, const struct tide_slot *s, uint8_t tag,
                    struct tide_bytes item)
{
    uint8_t head[HEAD];
    put_number(head, s->state, 2);
    put_number(head + 2, s->group, 4);
    put_number(head + 6, (uint32_t)s->key.len, 4);
    tide_buf_clear(to);
    tide_buf_put(to, head, sizeof head);
    if (s->key.len) tide_buf_put(to, s->key.data, s->key.len);
    tide_buf_put_u8(to, tag);
    if (item.len) tide_buf_put(to, item.data, item.len);
    return to->rc;
}

/* Makes the key of a slot, if the backend has such a one. */
static int slot_key(struct rocks *r, const struct tide_slot *s, uint8_t tag)
{
    if (s->state >= r->n_states || s->group < r->first || s->group - r->first >= r->count)
        return TIDE_EINVAL;
    return make_key(&r->key, s, tag, (struct tide_bytes){0});
}

/* What a key of the database says. False: it is none of ours. */
static bool read_key(const char *data, size_t len, struct tide_slot *ret, uint8_t *ret_tag,
                     struct tide_bytes *ret_item)
{
    const uint8_t *k = (const uint8_t *)data;
    if (len < HEAD + 1) return false;
    const size_t key_len = number(k + 6, 4);
    if (key_len > len - HEAD - 1) return false;
    *ret = (struct tide_slot){number(k, 2), number(k + 2, 4), {k + HEAD, key_len}};
    *ret_tag = k[HEAD + key_len];
    *ret_item = (struct tide_bytes){k + HEAD + key_len + 1, len - HEAD - key_len - 1};
    return *ret_tag == TAG_ITEM || (*ret_tag < TAG_ITEM && !ret_item->len);
}

/* ---- opening */

/* What is only in memory when it is closed is of no use to anybody. */
static rocksdb_options_t *forgetful(rocksdb_options_t *o)
{
    char *error = NULL;
    rocksdb_options_t *made = rocksdb_options_create();
    rocksdb_get_options_from_string(o, "avoid_flush_during_shutdown=true", made, &error);
    rocksdb_options_destroy(error ? made : o);
    rocksdb_free(error);
    return error ? o : made;
}

static rocksdb_options_t *make_options(void)
{
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(CACHE);
    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_cache_destroy(cache); /* the options have one of their own */
    rocksdb_block_based_options_destroy(t);
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_write_buffer_size(o, WRITE_BUFFER);
    rocksdb_options_set_max_write_buffer_number(o, 3);
    rocksdb_options_set_target_file_size_base(o, FILE_SIZE);
    rocksdb_options_set_max_open_files(o, FILES_OPEN);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_max_manifest_file_size(o, (size_t)1 << 20);
    rocksdb_options_set_keep_log_file_num(o, 1);
    rocksdb_options_set_info_log_level(o, 4);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
    return forgetful(o);
}

static void rocks_close(struct tide_backend *b)
{
    struct rocks *r = of(b);
    if (r->pinned) rocksdb_pinnableslice_destroy(r->pinned);
    if (r->db) rocksdb_close(r->db);
    if (r->reading) rocksdb_readoptions_destroy(r->reading);
    if (r->writing) rocksdb_writeoptions_destroy(r->writing);
    if (r->options) rocksdb_options_destroy(r->options);
    tide_buf_release(&r->key);
    tide_buf_release(&r->item_key);
    free(r->directory);
    free(r);
}

static int open_db(struct rocks *r, enum tide_backend_mode mode)
{
    char *error = NULL;
    if (mode == TIDE_BACKEND_READ) {
        r->db = rocksdb_open_for_read_only(r->options, r->directory, 0, &error);
        return fail(r->directory, error, r->why);
    }
    if (mode == TIDE_BACKEND_EMPTY) {
        tide_place_remove(r->directory);
    }
    r->db = rocksdb_open(r->options, r->directory, &error);
    return fail(r->directory, error, r->why);
}

static int rocks_open(const struct tide_backend_config *c, struct tide_backend **ret)
{
    sigset_t all, old;
    if (!c->directory) return TIDE_EINVAL;
    struct rocks *r = calloc(1, sizeof *r);
    if (!r) return TIDE_ENOMEM;
    r->base.class = &tide_backend_rocksdb;
    r->n_states = c->n_states;
    r->first = c->first;
    r->count = c->count;
    r->why = c->why;
    tide_buf_init(&r->key, KEY_MAX);
    tide_buf_init(&r->item_key, KEY_MAX);
    r->directory = strdup(c->directory);
    if (!r->directory) {
        free(r);
        return TIDE_ENOMEM;
    }
    sigfillset(&all); /* its threads inherit this */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r->options = make_options();
    r->writing = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(r->writing, 1);
    r->reading = rocksdb_readoptions_create();
    int rc = open_db(r, c->mode);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc)
        rocks_close(&r->base);
    else
        *ret = &r->base;
    return rc;
}

/* ---- values */

static int look(struct rocks *r, const struct tide_buf *key, rocksdb_pinnableslice_t **ret)
{
    char *error = NULL;
    *ret = rocksdb_get_pinned(r->db, r->reading, (const char *)key->data, key->len, &error);
    if (error) return fail(r->directory, error, r->why);
    return *ret ? 0 : TIDE_ENOTFOUND;
}

static int exists(struct rocks *r, const struct tide_buf *key)
{
    rocksdb_pinnableslice_t *found;
    int rc = look(r, key, &found);
    if (!rc) rocksdb_pinnableslice_destroy(found);
    return rc;
}

/* For the program, which may hand a view that it has into the next call: that one still finds it.
 */
static int give(struct rocks *r, const struct tide_buf *key, struct tide_bytes *ret)
{
    rocksdb_pinnableslice_t *found;
    int rc = look(r, key, &found);
    if (rc) return rc;
    if (r->pinned) rocksdb_pinnableslice_destroy(r->pinned);
    r->pinned = found;
    ret->data = (const uint8_t *)rocksdb_pinnableslice_value(found, &ret->len);
    return 0;
}

static int rocks_get(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes *ret)
{
    int rc = slot_key(of(b), s, TAG_VALUE);
    return rc ? rc : give(of(b), &of(b)->key, ret);
}

static int rocks_put(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes value)
{
    struct rocks *r = of(b);
    char *error = NULL;
    int rc = slot_key(r, s, TAG_VALUE);
    if (rc) return rc;
    rocksdb_put(r->db, r->writing, (const char *)r->key.data, r->key.len,
                value.len ? (const char *)value.data : "", value.len, &error);
    return fail(r->directory, error, r->why);
}

/* ---- items */

static int rocks_count(struct tide_backend *b, const struct tide_slot *s, uint64_t *ret)
{
    struct rocks *r = of(b);
    rocksdb_pinnableslice_t *found;
    size_t len;
    *ret = 0;
    int rc = slot_key(r, s, TAG_COUNT);
    if (!rc) rc = look(r, &r->key, &found);
    if (rc == TIDE_ENOTFOUND) return 0;
    if (rc) return rc;
    const char *value = rocksdb_pinnableslice_value(found, &len);
    if (len == 8) {
        *ret = tide_position_of_item((const uint8_t *)value);
    } else {
        snprintf(r->why, WHY_SIZE, "%.300s: RocksDB: a count has %zu bytes", r->directory, len);
        rc = TIDE_ECORRUPT;
    }
    rocksdb_pinnableslice_destroy(found);
    return rc;
}

/* A batch, and the count of the slot in it: none is no row. r->key is made anew. */
static rocksdb_writebatch_t *batch_with_count(struct rocks *r, const struct tide_slot *s,
                                              uint64_t count, int *rc)
{
    uint8_t value[8];
    *rc = make_key(&r->key, s, TAG_COUNT, (struct tide_bytes){0});
    if (*rc) return NULL;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    tide_item_of_position(count, value);
    if (count)
        rocksdb_writebatch_put(batch, (const char *)r->key.data, r->key.len, (const char *)value,
                               sizeof value);
    else
        rocksdb_writebatch_delete(batch, (const char *)r->key.data, r->key.len);
    return batch;
}

static int write_batch(struct rocks *r, rocksdb_writebatch_t *batch)
{
    char *error = NULL;
    rocksdb_write(r->db, r->writing, batch, &error);
    rocksdb_writebatch_destroy(batch);
    return fail(r->directory, error, r->why);
}

static int write_item(struct rocks *r, const struct tide_slot *s, uint64_t count,
                      struct tide_bytes value)
{
    int rc;
    rocksdb_writebatch_t *batch = batch_with_count(r, s, count, &rc);
    if (!batch) return rc;
    rocksdb_writebatch_put(batch, (const char *)r->item_key.data, r->item_key.len,
                           value.len ? (const char *)value.data : "", value.len);
    return write_batch(r, batch);
}

static int rocks_append(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes value)
{
    struct rocks *r = of(b);
    uint8_t item[8];
    uint64_t count;
    int rc = rocks_count(b, s, &count);
    if (rc) return rc;
    tide_item_of_position(count, item);
    rc = make_key(&r->item_key, s, TAG_ITEM, (struct tide_bytes){item, sizeof item});
    return rc ? rc : write_item(r, s, count + 1, value);
}

/* Makes the key of an item; 0: it is there. */
static int find_item(struct rocks *r, const struct tide_slot *s, struct tide_bytes item)
{
    int rc = slot_key(r, s, TAG_ITEM);
    if (!rc) rc = make_key(&r->item_key, s, TAG_ITEM, item);
    return rc ? rc : exists(r, &r->item_key);
}

static int rocks_get_item(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes item,
                          struct tide_bytes *ret)
{
    struct rocks *r = of(b);
    int rc = slot_key(r, s, TAG_ITEM);
    if (!rc) rc = make_key(&r->item_key, s, TAG_ITEM, item);
    return rc ? rc : give(r, &r->item_key, ret);
}

static int rocks_put_item(struct tide_backend *b, const struct tide_slot *s, struct tide_bytes item,
                          struct tide_bytes value)
{
    struct rocks *r = of(b);
    char *error = NULL;
    uint64_t count;
    int rc = find_item(r, s, item);
    if (rc && rc != TIDE_ENOTFOUND) return rc;
    if (!rc) {
        rocksdb_put(r->db, r->writing, (const char *)r->item_key.data, r->item_key.len,
                    value.len ? (const char *)value.data : "", value.len, &error);
        return fail(r->directory, error, r->why);
    }
    rc = rocks_count(b, s, &count);
    return rc ? rc : write_item(r, s, count + 1, value);
}

static int rocks_remove_item(struct tide_backend *b, const struct tide_slot *s,
                             struct tide_bytes item)
{
    struct rocks *r = of(b);
    uint64_t count;
    int rc = find_item(r, s, item);
    if (!rc) rc = rocks_count(b, s, &count);
    if (rc) return rc;
    rocksdb_writebatch_t *batch = batch_with_count(r, s, count ? count - 1 : 0, &rc);
    if (!batch) return rc;
    rocksdb_writebatch_delete(batch, (const char *)r->item_key.data, r->item_key.len);
    return write_batch(r, batch);
}

/* ---- visiting */

struct scan {
    rocksdb_iterator_t *at;
    rocksdb_readoptions_t *options;
    uint8_t to[HEAD + 1];
};

/* Rows from a key on, up to the end of some key groups of a state. */
static void scan_begin(struct scan *s, rocksdb_t *db, const rocksdb_snapshot_t *snapshot,
                       uint32_t state, uint64_t end, struct tide_bytes from)
{
    s->options = rocksdb_readoptions_create();
    if (snapshot) rocksdb_readoptions_set_snapshot(s->options, snapshot);
    rocksdb_readoptions_set_fill_cache(s->options, 0);
    put_number(s->to, end > UINT32_MAX ? state + 1 : state, 2);
    put_number(s->to + 2, end > UINT32_MAX ? 0 : (uint32_t)end, 4);
    rocksdb_readoptions_set_iterate_upper_bound(s->options, (const char *)s->to, 6);
    s->at = rocksdb_create_iterator(db, s->options);
    rocksdb_iter_seek(s->at, (const char *)from.data, from.len);
}

static void scan_end(struct scan *s)
{
    rocksdb_iter_destroy(s->at);
    rocksdb_readoptions_destroy(s->options);
}

/* 1: a row, 0: there is none any more. */
static int scan_row(struct scan *s, const char *directory, struct tide_row *ret, uint8_t *ret_tag,
                    char *why)
{
    struct tide_slot slot;
    size_t len;
    char *error = NULL;
    if (!rocksdb_iter_valid(s->at)) {
        rocksdb_iter_get_error(s->at, &error);
        return fail(directory, error, why);
    }
    const char *key = rocksdb_iter_key(s->at, &len);
    if (!read_key(key, len, &slot, ret_tag, &ret->item)) {
        snprintf(why, WHY_SIZE, "%.300s: RocksDB: a key of %zu bytes is none of Tidemark's",
                 directory, len);
        return TIDE_ECORRUPT;
    }
    ret->group = slot.group;
    ret->key = slot.key;
    ret->value.data = (const uint8_t *)rocksdb_iter_value(s->at, &ret->value.len);
    return 1;
}

static int rocks_each_item(struct tide_backend *b, const struct tide_slot *s, bool is_list,
                           tide_row_visit *f, void *user)
{
    struct rocks *r = of(b);
    struct scan scan;
    struct tide_row row;
    uint8_t tag;
    int rc = slot_key(r, s, TAG_ITEM);
    (void)is_list; /* positions sort as lists do */
    if (rc) return rc;
    scan_begin(&scan, r->db, NULL, s->state, (uint64_t)s->group + 1,
               (struct tide_bytes){r->key.data, r->key.len});
    while ((rc = scan_row(&scan, r->directory, &row, &tag, r->why)) == 1) {
        if (row.group != s->group || !tide_bytes_equal(row.key, s->key)) {
            rc = 0;
            break;
        }
        rc = f(user, &row);
        if (rc) break;
        rocksdb_iter_next(scan.at);
    }
    scan_end(&scan);
    return rc;
}

static int rocks_each_key(struct tide_backend *b, uint32_t state, tide_row_visit *f, void *user)
{
    struct rocks *r = of(b);
    struct scan scan;
    struct tide_row row;
    uint8_t tag, from[2];
    int rc;
    if (state >= r->n_states) return TIDE_EINVAL;
    put_number(from, state, 2);
    scan_begin(&scan, r->db, NULL, state, UINT64_MAX, (struct tide_bytes){from, sizeof from});
    while ((rc = scan_row(&scan, r->directory, &row, &tag, r->why)) == 1) {
        row.item = row.value = (struct tide_bytes){0};
        rc = tag == TAG_ITEM ? 0 : f(user, &row);
        if (rc) break;
        rocksdb_iter_next(scan.at);
    }
    scan_end(&scan);
    return rc;
}

/* The items of a slot go as a range when they are many, since each by itself would be a long batch;
 * a range costs every later reader, so it is not for few. */
static int remove_items(struct rocks *r, const struct tide_slot *s, uint64_t count)
{
    struct scan scan;
    struct tide_row row;
    uint8_t tag;
    int rc;
    rocksdb_writebatch_t *batch = batch_with_count(r, s, 0, &rc);
    if (rc) return rc;
    rc = make_key(&r->key, s, TAG_ITEM, (struct tide_bytes){0});
    if (!rc) rc = make_key(&r->item_key, s, TAG_END, (struct tide_bytes){0});
    if (!rc && count >= RANGE_FROM) {
        rocksdb_writebatch_delete_range(batch, (const char *)r->key.data, r->key.len,
                                        (const char *)r->item_key.data, r->item_key.len);
        return write_batch(r, batch);
    }
    scan_begin(&scan, r->db, NULL, s->state, (uint64_t)s->group + 1,
               (struct tide_bytes){r->key.data, r->key.len});
    while (!rc && (rc = scan_row(&scan, r->directory, &row, &tag, r->why)) == 1) {
        size_t len;
        const char *key = rocksdb_iter_key(scan.at, &len);
        rc = 0;
        if (row.group != s->group || !tide_bytes_equal(row.key, s->key)) break;
        rocksdb_writebatch_delete(batch, key, len);
        rocksdb_iter_next(scan.at);
    }
    scan_end(&scan);
    if (!rc) return write_batch(r, batch);
    rocksdb_writebatch_destroy(batch);
    return rc;
}

static int rocks_remove(struct tide_backend *b, const struct tide_slot *s)
{
    struct rocks *r = of(b);
    char *error = NULL;
    uint64_t count;
    int rc = slot_key(r, s, TAG_VALUE);
    if (!rc) rc = exists(r, &r->key);
    if (!rc) {
        rocksdb_delete(r->db, r->writing, (const char *)r->key.data, r->key.len, &error);
        return fail(r->directory, error, r->why);
    }
    if (rc != TIDE_ENOTFOUND) return rc;
    rc = rocks_count(b, s, &count);
    if (rc || !count) return rc ? rc : TIDE_ENOTFOUND;
    return remove_items(r, s, count);
}

/* ---- views */

static int rocks_freeze(struct tide_backend *b, struct tide_frozen **ret)
{
    struct tide_frozen *f = malloc(sizeof *f);
    if (!f) return TIDE_ENOMEM;
    *f = (struct tide_frozen){of(b), rocksdb_create_snapshot(of(b)->db)};
    *ret = f;
    return 0;
}

static int rocks_walk(const struct tide_frozen *f, uint32_t state, bool is_list, uint32_t first,
                      uint32_t count, tide_row_visit *visit, void *user, char why[static WHY_SIZE])
{
    struct scan scan;
    struct tide_row row;
    uint8_t tag, from[6];
    int rc;
    (void)is_list;
    if (state >= f->r->n_states) return TIDE_EINVAL;
    put_number(from, state, 2);
    put_number(from + 2, first, 4);
    scan_begin(&scan, f->r->db, f->snapshot, state, (uint64_t)first + count,
               (struct tide_bytes){from, sizeof from});
    while ((rc = scan_row(&scan, f->r->directory, &row, &tag, why)) == 1) {
        rc = tag == TAG_COUNT ? 0 : visit(user, &row);
        if (rc) break;
        rocksdb_iter_next(scan.at);
    }
    scan_end(&scan);
    return rc;
}

static void rocks_over(struct tide_frozen *f)
{
    rocksdb_release_snapshot(f->r->db, f->snapshot);
    free(f);
}

static int rocks_checkpoint(struct tide_backend *b, const char *directory)
{
    struct rocks *r = of(b);
    char *error = NULL;
    tide_place_remove(directory); /* what a process that was killed has left */
    rocksdb_checkpoint_t *c = rocksdb_checkpoint_object_create(r->db, &error);
    if (error) return fail(directory, error, r->why);
    rocksdb_checkpoint_create(c, directory, 0, &error);
    rocksdb_checkpoint_object_destroy(c);
    return fail(directory, error, r->why);
}

static bool rocks_is_fixed(const char *name)
{
    size_t len = strlen(name);
    return len > 4 && !strcmp(name + len - 4, ".sst");
}

const struct tide_backend_class tide_backend_rocksdb = {
    .name = "rocksdb",
    .needs_directory = true,
    .open = rocks_open,
    .close = rocks_close,
    .get = rocks_get,
    .put = rocks_put,
    .remove = rocks_remove,
    .get_item = rocks_get_item,
    .put_item = rocks_put_item,
    .append = rocks_append,
    .remove_item = rocks_remove_item,
    .count = rocks_count,
    .each_item = rocks_each_item,
    .each_key = rocks_each_key,
    .freeze = rocks_freeze,
    .walk = rocks_walk,
    .over = rocks_over,
    .checkpoint = rocks_checkpoint,
    .is_fixed = rocks_is_fixed,
};

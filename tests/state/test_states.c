/* Named states: what a program does with them; saved, and restored at another parallelism, by
 * another program, and refused with a reason. All of it under each backend. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/bytes.h"
#include "tests/proto/lib_random.h"
#include "tests/proto/lib_run.h"
#include "tests/state/lib_task.h"

START_TEST(values_lists_and_maps)
{
    const void *data;
    size_t len;
    make_directory(_i);
    struct task t = new_task(0, 1, 0);
    ck_assert_int_eq(tide_value_get(t.value, "a", 1, &data, &len), TIDE_ENOTFOUND);
    ck_assert_int_eq(tide_value_put(t.value, "a", 1, "one", 3), 0);
    ck_assert_int_eq(tide_value_put(t.value, "", 0, NULL, 0), 0);
    is_text(tide_value_get(t.value, "a", 1, &data, &len), &data, &len, "one");
    is_text(tide_value_get(t.value, NULL, 0, &data, &len), &data, &len, "");
    ck_assert_int_eq(tide_value_put(t.value, "a", 1, "another", 7), 0);
    is_text(tide_value_get(t.value, "a", 1, &data, &len), &data, &len, "another");
    ck_assert_int_eq(tide_value_remove(t.value, "a", 1), 0);
    ck_assert_int_eq(tide_value_remove(t.value, "a", 1), TIDE_ENOTFOUND);

    ck_assert_int_eq(tide_list_add(t.list, "k", 1, "x", 1), 0);
    ck_assert_int_eq(tide_list_add(t.list, "k", 1, "y", 1), 0);
    ck_assert_uint_eq(tide_list_count(t.list, "k", 1), 2);
    is_text(tide_list_get(t.list, "k", 1, 1, &data, &len), &data, &len, "y");
    ck_assert_int_eq(tide_list_get(t.list, "k", 1, 2, &data, &len), TIDE_ENOTFOUND);
    ck_assert_int_eq(tide_list_clear(t.list, "k", 1), 0);
    ck_assert_int_eq(tide_list_clear(t.list, "k", 1), 0);
    ck_assert_uint_eq(tide_list_count(t.list, "k", 1), 0);

    ck_assert_int_eq(tide_map_put(t.map, "k", 1, "i", 1, "1", 1), 0);
    ck_assert_int_eq(tide_map_put(t.map, "k", 1, "j", 1, "2", 1), 0);
    ck_assert_uint_eq(tide_map_count(t.map, "k", 1), 2);
    is_text(tide_map_get(t.map, "k", 1, "j", 1, &data, &len), &data, &len, "2");
    ck_assert_int_eq(tide_map_remove(t.map, "k", 1, "j", 1), 0);
    ck_assert_int_eq(tide_map_remove(t.map, "k", 1, "j", 1), TIDE_ENOTFOUND);
    ck_assert_int_eq(tide_map_clear(t.map, "k", 1), 0);
    ck_assert_int_eq(tide_map_put(t.broadcast, NULL, 0, "rule", 4, "r", 1), 0);
    ck_assert_int_eq(tide_list_add(t.split, NULL, 0, "s", 1), 0);
    ck_assert_uint_eq(tide_list_count(t.split, NULL, 0), 1);
    tide_states_free(t.states);
    remove_directory();
}
END_TEST

START_TEST(misuse_is_refused)
{
    struct tide_named *n = NULL;
    struct tide_states *s = NULL;
    const void *data;
    size_t len;
    char why[256], key[2] = "a";
    make_directory(_i);
    struct task t = new_task(1, 2, 2);
    ck_assert_int_eq(tide_states_declare(t.states, "map", TIDE_MAP, NULL, &n), TIDE_EEXIST);
    ck_assert_int_eq(tide_states_declare(t.states, "", TIDE_MAP, NULL, &n), TIDE_EINVAL);
    ck_assert_int_eq(tide_states_declare(t.states, "x", (enum tide_states_kind)9, NULL, &n),
                     TIDE_EINVAL);
    ck_assert_int_eq(tide_map_put(t.value, "k", 1, "i", 1, "1", 1), TIDE_EINVAL);
    ck_assert_int_eq(tide_list_add(t.split, "k", 1, "1", 1), TIDE_EINVAL);
    while (tide_states_key_group(key, 1, 2) != 0)
        key[0]++;
    ck_assert_int_eq(tide_value_get(t.value, key, 1, &data, &len), TIDE_EINVAL);
    ck_assert_str_eq(tide_states_error(t.states),
                     "state value: the key is of key group 0, which is not subtask 1's");
    ck_assert_int_eq(tide_states_declare(t.states, "late", TIDE_MAP, NULL, &n), TIDE_ESTATE);
    ck_assert_int_eq(tide_keys_each(t.split, count_key, NULL), TIDE_EINVAL);
    tide_states_free(t.states);

    struct tide_states_config bad[] = {{NULL, 0, 1, 0, false, NULL, NULL},
                                       {"u", 1, 1, 0, false, NULL, NULL},
                                       {"u", 0, 0, 0, false, NULL, NULL},
                                       {"u", 0, 9, 8, false, NULL, NULL}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(tide_states_new(&bad[i], &s, why), TIDE_EINVAL);
    remove_directory();
}
END_TEST

/* ---- saved and restored: every task of one parallelism saves, every task of another restores */

static uint32_t save_all(uint32_t p, uint32_t max, char paths[][100])
{
    uint32_t n = 0;
    for (uint32_t s = 0; s < p; s++) {
        struct task t = new_task(s, p, max);
        fill(&t, s, p, max);
        for (int keyed = 0; keyed < 2; keyed++) {
            snprintf(paths[n], 100, "%s/p%u-t%u-%d", directory, p, s, keyed);
            (void)unlink(paths[n]);
            ck_assert_int_eq(tide_states_save(t.states, paths[n], keyed), 0);
            n++;
        }
        tide_states_free(t.states);
    }
    return n;
}

static void restore_all(uint32_t p_had, uint32_t p, uint32_t max, char paths[][100], uint32_t n)
{
    const char *list[64];
    uint8_t seen[32][4] = {{0}};
    for (uint32_t i = 0; i < n; i++) /* in no order */
        list[i] = paths[n - 1 - i];
    for (uint32_t s = 0; s < p; s++) {
        struct task t = new_task(s, p, max);
        int rc = tide_states_restore_files(t.states, list, n);
        ck_assert_msg(rc == 0, "%d: %s", rc, tide_states_error(t.states));
        (void)check_own(&t, p_had, seen);
        check_keyed(&t, s, p, max);
        tide_states_free(t.states);
    }
    for (uint32_t s = 0; s < p_had; s++)
        for (uint32_t i = 0; i < 4; i++)
            ck_assert_uint_eq(seen[s][i], i < s % 4);
}

/* S160, S161: scale in and out of keyed and operator state, all modes in one database. */
START_TEST(restored_at_every_parallelism)
{
    static const uint32_t ps[] = {1, 2, 3, 5, 8};
    char paths[64][100];
    make_directory(_i);
    for (size_t i = 0; i < 5; i++) {
        uint32_t n = save_all(ps[i], 13, paths);
        for (size_t k = 0; k < 5; k++)
            restore_all(ps[i], ps[k], 13, paths, n);
    }
    remove_directory();
}
END_TEST

/* ---- refused, and then nothing is there */

static void refused(struct tide_states *s, const char *path, int code, const char *text)
{
    char start[200];
    int rc = tide_states_restore_files(s, &path, 1);
    ck_assert_int_eq(rc, code);
    snprintf(start, sizeof start, text, path);
    ck_assert_msg(strncmp(tide_states_error(s), start, strlen(start)) == 0, "%s is not %s",
                  tide_states_error(s), start);
    tide_states_free(s);
}

/* S134: a max parallelism that was chosen and is another; one below the new parallelism. */
START_TEST(what_does_not_fit_is_refused)
{
    char paths[64][100];
    struct tide_named *n;
    make_directory(_i);
    (void)save_all(1, 13, paths);
    const char *keyed = paths[1];

    struct task t = new_task(0, 1, 14);
    refused(t.states, keyed, TIDE_EREFUSED,
            "operator count: the snapshot has max parallelism 13, the job 14");
    t = new_task(0, 14, 0);
    refused(t.states, keyed, TIDE_EREFUSED,
            "operator count: the snapshot has max parallelism 13, less than the parallelism 14");
    struct tide_states *s = new_states(0, 1, 13);
    n = declare(s, "value", TIDE_VALUE);
    refused(s, keyed, TIDE_EREFUSED, "%s: state list is not declared, and would be lost");
    s = new_states(0, 1, 13);
    n = declare(s, "value", TIDE_MAP);
    refused(s, keyed, TIDE_EREFUSED, "%s: state value is of the kind value there, map here");
    (void)n;
    s = new_states(0, 1, 13);
    (void)declare(s, "value", TIDE_VALUE);
    refused(s, "/nowhere/at/all", TIDE_EIO, "%s: cannot be read: unable to open database file");
    remove_directory();
}
END_TEST

START_TEST(max_parallelism_is_the_snapshots_unless_chosen)
{
    char paths[64][100];
    make_directory(_i);
    uint32_t n = save_all(1, 13, paths);
    const char *list[] = {paths[0], paths[1]};
    struct task t = new_task(1, 3, 0);
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(tide_states_restore_files(t.states, list, 2), 0);
    ck_assert_uint_eq(tide_states_max_parallelism(t.states), 13);
    check_keyed(&t, 1, 3, 13);
    tide_states_free(t.states);
    remove_directory();
}
END_TEST

START_TEST(a_missing_part_is_noticed)
{
    char paths[64][100];
    const char *list[64];
    make_directory(_i);
    uint32_t n = save_all(3, 13, paths);
    for (uint32_t missing = 0; missing < n; missing++) {
        uint32_t m = 0;
        for (uint32_t i = 0; i < n; i++)
            if (i != missing) list[m++] = paths[i];
        struct task t = new_task(0, 1, 13);
        int rc = tide_states_restore_files(t.states, list, m);
        ck_assert_int_eq(rc, TIDE_ECORRUPT);
        ck_assert_ptr_nonnull(strstr(tide_states_error(t.states),
                                     missing % 2 ? "in none of the 5 databases"
                                                 : "the lists of 3 tasks belong together, those of "
                                                   "2 are there"));
        tide_states_free(t.states);
    }
    list[0] = paths[0];
    list[1] = paths[1];
    struct task alone = new_task(0, 3, 13); /* it is given its own, and has a union */
    ck_assert_int_eq(tide_states_restore_files(alone.states, list, 2), TIDE_EREFUSED);
    ck_assert_ptr_nonnull(strstr(tide_states_error(alone.states), "has a union of the lists of 3"));
    tide_states_free(alone.states);
    list[0] = list[1] = paths[1];
    struct task t = new_task(0, 3, 13);
    ck_assert_int_eq(tide_states_restore_files(t.states, list, 2), TIDE_ECORRUPT);
    tide_states_free(t.states);
    remove_directory();
}
END_TEST

/* ---- schemas */

static int widen(uint32_t version, const void *value, size_t len, void **ret_value, size_t *ret_len,
                 void *user)
{
    int64_t *wide = malloc(sizeof *wide);
    int32_t narrow;
    ++*(int *)user;
    if (!wide || len != sizeof narrow || version != 1) {
        free(wide);
        return -1;
    }
    memcpy(&narrow, value, sizeof narrow);
    *wide = narrow;
    *ret_value = wide;
    *ret_len = sizeof *wide;
    return 0;
}

static struct tide_states *with_schema(const struct tide_schema *schema, struct tide_named **ret)
{
    struct tide_states *s = new_states(0, 1, 13);
    ck_assert_int_eq(tide_states_declare(s, "total", TIDE_VALUE, schema, ret), 0);
    return s;
}

START_TEST(schemas_are_compatible_migrated_or_refused)
{
    char path[100];
    int calls = 0;
    int32_t narrow = -7;
    int64_t wide;
    const void *data;
    size_t len;
    struct tide_named *n;
    make_directory(_i);
    snprintf(path, sizeof path, "%s/one", directory);
    const char *list[] = {path};
    struct tide_schema v1 = {.id = "total", .version = 1};
    struct tide_states *s = with_schema(&v1, &n);
    ck_assert_int_eq(tide_value_put(n, "k", 1, &narrow, sizeof narrow), 0);
    ck_assert_int_eq(tide_states_save(s, path, true), 0);
    ck_assert_int_eq(tide_states_save(s, path, true), TIDE_EEXIST);
    tide_states_free(s);

    struct tide_schema v2 = {.id = "total", .version = 2};
    refused(with_schema(&v2, &n), path, TIDE_EREFUSED,
            "%s: state total is incompatible: version 1 of schema total, which this program does "
            "not migrate to version 2");
    struct tide_schema other = {.id = "sum", .version = 1};
    refused(with_schema(&other, &n), path, TIDE_EREFUSED,
            "%s: state total is incompatible: its schema is total there, sum here");
    refused(with_schema(NULL, &n), path, TIDE_EREFUSED,
            "%s: state total is incompatible: its schema is total there, none here");

    v2.reads_from = 1;
    s = with_schema(&v2, &n);
    ck_assert_int_eq(tide_states_restore_files(s, list, 1), 0);
    ck_assert_int_eq(tide_value_get(n, "k", 1, &data, &len), 0);
    ck_assert_uint_eq(len, sizeof narrow);
    tide_states_free(s);

    v2.reads_from = 0;
    v2.migrate = widen;
    v2.user = &calls;
    s = with_schema(&v2, &n);
    ck_assert_int_eq(tide_states_restore_files(s, list, 1), 0);
    ck_assert_int_eq(tide_value_get(n, "k", 1, &data, &len), 0);
    ck_assert_uint_eq(len, sizeof wide);
    memcpy(&wide, data, sizeof wide);
    ck_assert_int_eq(wide, -7);
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(tide_value_put(n, "k", 1, "odd", 3), 0);
    tide_states_free(s);
    remove_directory();
}
END_TEST

START_TEST(a_failed_migration_leaves_nothing)
{
    char path[100];
    int calls = 0;
    const void *data;
    size_t len;
    struct tide_named *n;
    make_directory(_i);
    snprintf(path, sizeof path, "%s/one", directory);
    struct tide_schema v1 = {.id = "total", .version = 1};
    struct tide_states *s = with_schema(&v1, &n);
    for (int32_t i = 0; i < 20; i++)
        ck_assert_int_eq(tide_value_put(n, &i, sizeof i, &i, i == 7 ? 3 : sizeof i), 0);
    ck_assert_int_eq(tide_states_save(s, path, true), 0);
    tide_states_free(s);

    struct tide_schema v2 = {.id = "total", .version = 2, .migrate = widen, .user = &calls};
    s = with_schema(&v2, &n);
    const char *list[] = {path};
    ck_assert_int_eq(tide_states_restore_files(s, list, 1), TIDE_EREFUSED);
    ck_assert_str_eq(tide_states_error(s), "state total: a value of version 1 of its schema could "
                                           "not be migrated to version 2 (-1)");
    for (int32_t i = 0; i < 20; i++)
        ck_assert_int_eq(tide_value_get(n, &i, sizeof i, &data, &len), TIDE_ENOTFOUND);
    tide_states_free(s);
    remove_directory();
}
END_TEST

/* What a program can do with a slot, in any order, under each backend. */
START_TEST(a_backend_keeps_what_a_model_does)
{
    enum { SLOTS = 20, ITEMS = 6 };
    uint8_t value[SLOTS] = {0}, item[SLOTS][ITEMS] = {{0}};
    uint32_t list[SLOTS] = {0};
    struct rng rng = {7};
    const void *data;
    size_t len;
    make_directory(_i);
    struct task t = new_task(0, 1, 13);
    for (uint32_t i = 0; i < 6000; i++) {
        uint32_t k = rng_below(&rng, SLOTS), m = rng_below(&rng, ITEMS);
        uint8_t v = (uint8_t)(1 + rng_below(&rng, 255));
        switch (rng_below(&rng, 8)) {
        case 0:
            ck_assert_int_eq(tide_value_put(t.value, &k, sizeof k, &v, 1), 0);
            value[k] = v;
            break;
        case 1:
            ck_assert_int_eq(tide_value_remove(t.value, &k, sizeof k),
                             value[k] ? 0 : TIDE_ENOTFOUND);
            value[k] = 0;
            break;
        case 2:
        case 3:
            ck_assert_int_eq(tide_map_put(t.map, &k, sizeof k, "items.", m, &v, 1), 0);
            item[k][m] = v;
            break;
        case 4:
            ck_assert_int_eq(tide_map_remove(t.map, &k, sizeof k, "items.", m),
                             item[k][m] ? 0 : TIDE_ENOTFOUND);
            item[k][m] = 0;
            break;
        case 5:
            if (rng_below(&rng, 10)) break;
            ck_assert_int_eq(tide_map_clear(t.map, &k, sizeof k), 0);
            memset(item[k], 0, ITEMS);
            break;
        case 6:
            ck_assert_int_eq(tide_list_add(t.list, &k, sizeof k, &list[k], sizeof k), 0);
            list[k]++;
            break;
        default:
            if (rng_below(&rng, 10)) break;
            ck_assert_int_eq(tide_list_clear(t.list, &k, sizeof k), 0);
            list[k] = 0;
        }
    }
    for (uint32_t k = 0; k < SLOTS; k++) {
        uint32_t n = 0;
        int rc = tide_value_get(t.value, &k, sizeof k, &data, &len);
        ck_assert_int_eq(rc, value[k] ? 0 : TIDE_ENOTFOUND);
        if (!rc) ck_assert_uint_eq(*(const uint8_t *)data, value[k]);
        for (uint32_t m = 0; m < ITEMS; m++) {
            rc = tide_map_get(t.map, &k, sizeof k, "items.", m, &data, &len);
            ck_assert_int_eq(rc, item[k][m] ? 0 : TIDE_ENOTFOUND);
            if (!rc) ck_assert_uint_eq(*(const uint8_t *)data, item[k][m]);
            n += item[k][m] != 0;
        }
        ck_assert_uint_eq(tide_map_count(t.map, &k, sizeof k), n);
        ck_assert_uint_eq(tide_list_count(t.list, &k, sizeof k), list[k]);
        for (uint32_t m = 0; m < list[k]; m++) {
            ck_assert_int_eq(tide_list_get(t.list, &k, sizeof k, m, &data, &len), 0);
            ck_assert_mem_eq(data, &m, sizeof m);
        }
    }
    tide_states_free(t.states);
    remove_directory();
}
END_TEST

START_TEST(a_backend_that_is_not_there)
{
    struct tide_states *s = NULL;
    char why[256];
    struct tide_states_config c = {"count", 0, 1, 1, false, "heap", NULL};
    ck_assert_int_eq(tide_states_new(&c, &s, why), TIDE_ENOTSUP);
    ck_assert_str_eq(why, "operator count: there is no backend heap; memory and rocksdb are");
    c.backend = "rocksdb";
    ck_assert_int_eq(tide_states_new(&c, &s, why), TIDE_ENOTSUP);
    ck_assert_str_eq(why,
                     tide_backend_find("rocksdb", (char[WHY_SIZE]){0})
                         ? "operator count: backend rocksdb needs a directory of the task's own"
                         : "operator count: backend rocksdb: not supported: built without "
                           "RocksDB");
}
END_TEST

START_TEST(a_directory_that_is_in_use)
{
    char why[256];
    struct tide_states *a = NULL, *b = NULL;
    struct tide_named *n;
    make_directory(1);
    struct tide_states_config c = {"count", 0, 1, 1, false, "rocksdb", directory};
    if (!tide_backend_find("rocksdb", (char[WHY_SIZE]){0})) {
        ck_assert_int_eq(tide_states_new(&c, &a, why), TIDE_ENOTSUP);
        remove_directory();
        return;
    }
    ck_assert_int_eq(tide_states_new(&c, &a, why), 0);
    ck_assert_int_eq(tide_states_new(&c, &b, why), 0);
    n = declare(a, "value", TIDE_VALUE);
    ck_assert_int_eq(tide_value_put(n, "k", 1, "v", 1), 0);
    n = declare(b, "value", TIDE_VALUE);
    ck_assert_int_eq(tide_value_put(n, "k", 1, "v", 1), TIDE_EBUSY);
    ck_assert_ptr_nonnull(strstr(tide_states_error(b), directory));
    tide_states_free(b);
    tide_states_free(a);
    remove_directory();
}
END_TEST

int main(void)
{
    char why[WHY_SIZE];
    const int n = tide_backend_find("rocksdb", why) && !getenv("ONE_BACKEND") ? 2 : 1;
    Suite *s = suite_create("states");
    add_loop_test(s, values_lists_and_maps, n);
    add_loop_test(s, misuse_is_refused, n);
    add_loop_test(s, restored_at_every_parallelism, n);
    add_loop_test(s, what_does_not_fit_is_refused, n);
    add_loop_test(s, max_parallelism_is_the_snapshots_unless_chosen, n);
    add_loop_test(s, a_missing_part_is_noticed, n);
    add_loop_test(s, schemas_are_compatible_migrated_or_refused, n);
    add_loop_test(s, a_failed_migration_leaves_nothing, n);
    add_loop_test(s, a_backend_keeps_what_a_model_does, n);
    add_test(s, a_backend_that_is_not_there);
    add_test(s, a_directory_that_is_in_use);
    return run_suite(s);
}

#include "tests/state/lib_task.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char directory[64];

static const char *const backends[] = {"memory", "rocksdb"};
const char *backend;

void make_directory(int i)
{
    backend = backends[i];
    strcpy(directory, "/tmp/tide-state-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

void remove_directory(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0); /* NOLINT */
}

struct tide_states *new_states(uint32_t subtask, uint32_t p, uint32_t max)
{
    static unsigned opened;
    char own[100], why[256];
    struct tide_states_config c = {"count", subtask, p, max, false, backend, own};
    struct tide_states *s = NULL;
    snprintf(own, sizeof own, "%s/own-%u", directory, opened++);
    ck_assert_int_eq(tide_states_new(&c, &s, why), 0);
    return s;
}

struct tide_named *declare(struct tide_states *s, const char *name, enum tide_states_kind kind)
{
    struct tide_named *n = NULL;
    ck_assert_int_eq(tide_states_declare(s, name, kind, NULL, &n), 0);
    return n;
}

struct task new_task(uint32_t subtask, uint32_t p, uint32_t max)
{
    struct task t = {.states = new_states(subtask, p, max)};
    t.value = declare(t.states, "value", TIDE_VALUE);
    t.list = declare(t.states, "list", TIDE_LIST);
    t.map = declare(t.states, "map", TIDE_MAP);
    t.split = declare(t.states, "split", TIDE_SPLIT);
    t.all = declare(t.states, "all", TIDE_UNION);
    t.broadcast = declare(t.states, "broadcast", TIDE_BROADCAST);
    return t;
}

void is_text(int rc, const void *const *data, const size_t *len, const char *want)
{
    ck_assert_int_eq(rc, 0);
    ck_assert_uint_eq(*len, strlen(want));
    ck_assert_mem_eq(*data, want, *len);
}

int count_key(const void *key, size_t len, void *user)
{
    (void)key;
    (void)len;
    ++*(uint32_t *)user;
    return 0;
}

void fill(struct task *t, uint32_t subtask, uint32_t p, uint32_t max)
{
    for (int64_t n = 0; n < KEYS; n++) {
        uint8_t key[8], item[8];
        tide_states_key_of_int(n, key);
        if (tide_key_group_owner(tide_states_key_group(key, 8, max), p, max) != subtask) continue;
        ck_assert_int_eq(tide_value_put(t->value, key, 8, &n, sizeof n), 0);
        for (int64_t i = 0; i < n % 5; i++) {
            int64_t v = n * 10 + i;
            tide_states_key_of_int(i, item);
            ck_assert_int_eq(tide_list_add(t->list, key, 8, &v, sizeof v), 0);
            ck_assert_int_eq(tide_map_put(t->map, key, 8, item, 8, &v, sizeof v), 0);
        }
    }
    for (uint32_t i = 0; i < subtask % 4; i++) {
        uint32_t v = subtask * 100 + i;
        ck_assert_int_eq(tide_list_add(t->split, NULL, 0, &v, sizeof v), 0);
        ck_assert_int_eq(tide_list_add(t->all, NULL, 0, &v, sizeof v), 0);
    }
    ck_assert_int_eq(tide_map_put(t->broadcast, NULL, 0, "rule", 4, "yes", 3), 0);
}

uint32_t check_own(struct task *t, uint32_t p_had, uint8_t seen[][4])
{
    const void *data;
    size_t len;
    uint32_t v, total = 0;
    uint64_t count = tide_list_count(t->split, NULL, 0);
    for (uint64_t i = 0; i < count; i++) {
        ck_assert_int_eq(tide_list_get(t->split, NULL, 0, i, &data, &len), 0);
        memcpy(&v, data, sizeof v);
        seen[v / 100][v % 100]++;
    }
    for (uint32_t s = 0; s < p_had; s++)
        total += s % 4;
    ck_assert_uint_eq(tide_list_count(t->all, NULL, 0), total);
    is_text(tide_map_get(t->broadcast, NULL, 0, "rule", 4, &data, &len), &data, &len, "yes");
    return (uint32_t)count;
}

void check_keyed(struct task *t, uint32_t subtask, uint32_t p, uint32_t max)
{
    uint32_t keys = 0, expected = 0;
    for (int64_t n = 0; n < KEYS; n++) {
        uint8_t key[8], item[8];
        const void *data;
        size_t len;
        tide_states_key_of_int(n, key);
        if (tide_key_group_owner(tide_states_key_group(key, 8, max), p, max) != subtask) continue;
        expected++;
        ck_assert_int_eq(tide_value_get(t->value, key, 8, &data, &len), 0);
        ck_assert_mem_eq(data, &n, sizeof n);
        ck_assert_uint_eq(tide_list_count(t->list, key, 8), (uint64_t)(n % 5));
        ck_assert_uint_eq(tide_map_count(t->map, key, 8), (uint64_t)(n % 5));
        for (int64_t i = 0; i < n % 5; i++) {
            int64_t v = n * 10 + i;
            tide_states_key_of_int(i, item);
            ck_assert_int_eq(tide_list_get(t->list, key, 8, (uint64_t)i, &data, &len), 0);
            ck_assert_mem_eq(data, &v, sizeof v);
            ck_assert_int_eq(tide_map_get(t->map, key, 8, item, 8, &data, &len), 0);
            ck_assert_mem_eq(data, &v, sizeof v);
        }
    }
    ck_assert_int_eq(tide_keys_each(t->value, count_key, &keys), 0);
    ck_assert_uint_eq(keys, expected);
}

/* What a set of databases must be before anything of it is restored: complete, of this operator,
 * without what nobody would take. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state/format.h"
#include "tests/proto/lib_run.h"

static char directory[64];

static void make_directory(void)
{
    strcpy(directory, "/tmp/tide-load-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void remove_directory(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0); /* NOLINT */
}

enum { KEYED = 1, OWN = 2 };

/* The states of a task of three, all with an entry if `fill`. */
static struct tide_states *task_of(const char *uid, uint32_t subtask, int kinds, bool fill)
{
    struct tide_states_config c = {uid, subtask, 3, 12, false, NULL, NULL};
    struct tide_states *s = NULL;
    struct tide_named *n = NULL;
    ck_assert_int_eq(tide_states_new(&c, &s, NULL), 0);
    if (kinds & KEYED) ck_assert_int_eq(tide_states_declare(s, "value", TIDE_VALUE, NULL, &n), 0);
    if (kinds & OWN) ck_assert_int_eq(tide_states_declare(s, "list", TIDE_SPLIT, NULL, &n), 0);
    if (fill && kinds & OWN) ck_assert_int_eq(tide_list_add(n, NULL, 0, "x", 1), 0);
    return s;
}

static void save(const char *uid, uint32_t subtask, int kinds, bool keyed, char path[100])
{
    struct tide_states *s = task_of(uid, subtask, kinds, true);
    snprintf(path, 100, "%s/%s-%u-%d", directory, uid, subtask, keyed);
    ck_assert_int_eq(tide_states_save(s, path, keyed), 0);
    tide_states_free(s);
}

/* What restore answers to the task; want: how its sentence begins. */
static void restored(struct tide_states *s, char paths[][100], uint32_t n, int code,
                     const char *want)
{
    const char *list[8];
    for (uint32_t i = 0; i < n; i++)
        list[i] = paths[i];
    int rc = tide_states_restore_files(s, list, n);
    ck_assert_msg(rc == code, "%d: %s", rc, tide_states_error(s));
    if (rc)
        ck_assert_msg(!strncmp(tide_states_error(s), want, strlen(want)), "%s",
                      tide_states_error(s));
    tide_states_free(s);
}

static void alter(const char *path, const char *sql)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* What of the states is there by halves: the files of one kind, of all tasks. */
START_TEST(a_kind_that_is_missing_is_noticed)
{
    char keyed[6][100], own[6][100];
    make_directory();
    for (uint32_t i = 0; i < 3; i++) {
        save("count", i, KEYED | OWN, true, keyed[i]);
        save("count", i, KEYED | OWN, false, own[i]);
        memcpy(keyed[i + 3], own[i], sizeof own[i]);
    }
    restored(task_of("count", 1, KEYED | OWN, false), keyed, 6, 0, "");
    restored(task_of("count", 1, KEYED | OWN, false), keyed, 3, TIDE_ECORRUPT,
             "operator count: the states without keys are in none of the 3 databases");
    restored(task_of("count", 1, KEYED | OWN, false), own, 3, TIDE_ECORRUPT,
             "operator count: key group 4 is in none of the 3 databases");
    alter(own[1], "UPDATE task SET databases = 2");
    restored(task_of("count", 1, KEYED | OWN, false), keyed, 6, TIDE_ECORRUPT, directory);
    remove_directory();
}
END_TEST

/* A task with states of one kind has nothing of the other, and misses nothing. */
START_TEST(a_kind_that_never_was_is_not_missed)
{
    char keyed[3][100], own[4][100];
    make_directory();
    for (uint32_t i = 0; i < 3; i++) {
        save("keys", i, KEYED, true, keyed[i]);
        save("lists", i, OWN, false, own[i]);
    }
    restored(task_of("keys", 2, KEYED, false), keyed, 3, 0, "");
    restored(task_of("lists", 2, OWN, false), own, 3, 0, "");
    save("lists", 0, OWN, true, own[3]); /* an empty one */
    restored(task_of("lists", 2, OWN, false), own, 4, 0, "");
    remove_directory();
}
END_TEST

START_TEST(another_operator_is_refused)
{
    char paths[3][100], want[200];
    make_directory();
    for (uint32_t i = 0; i < 3; i++)
        save("count", i, KEYED, true, paths[i]);
    snprintf(want, sizeof want, "%s: is of operator count, not of sum", paths[0]);
    restored(task_of("sum", 0, KEYED, false), paths, 3, TIDE_EREFUSED, want);
    remove_directory();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("load");
    add_test(s, a_kind_that_is_missing_is_noticed);
    add_test(s, a_kind_that_never_was_is_not_missed);
    add_test(s, another_operator_is_refused);
    return run_suite(s);
}

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
    struct tide_states_config c = {uid, subtask, 3, 12, false};
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

START_TEST(records_in_flight_are_not_lost)
{
    char paths[6][100], want[200];
    make_directory();
    for (uint32_t i = 0; i < 3; i++)
        save("count", i, KEYED, true, paths[i]);
    restored(task_of("count", 0, KEYED, false), paths, 3, 0, "");
    alter(paths[1], "INSERT INTO in_flight VALUES (1, 'input', 0, NULL, x'00')");
    snprintf(want, sizeof want, "%s: has 1 records in flight: not supported yet", paths[1]);
    restored(task_of("count", 0, KEYED, false), paths, 3, TIDE_ENOTSUP, want);
    remove_directory();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("load");
    add_test(s, records_in_flight_are_not_lost);
    return run_suite(s);
}

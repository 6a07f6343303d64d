/* The canonical format: what was written is read; what is damaged, foreign or newer is refused with
 * the file's name; and sqlite3 alone can read it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state/format.h"
#include "tests/proto/lib_run.h"

static const struct tide_format_task task = {.uid = {(const uint8_t *)"count", 5},
                                             .writer = {(const uint8_t *)"0.2.0", 5},
                                             .subtask = 1,
                                             .parallelism = 2,
                                             .max_parallelism = 8,
                                             .first = 4,
                                             .count = 4,
                                             .databases = 3,
                                             .round = 17};

static struct tide_bytes text(const char *t)
{
    return tide_bytes_of(t);
}

/* A keyed map in the key groups that this task has, and a list. */
static void write_sample(const char *path, uint8_t **ret, size_t *ret_len)
{
    struct tide_format_writer *w = NULL;
    char why[WHY_SIZE];
    ck_assert_int_eq(tide_format_create(path, &task, &w, why), 0);
    struct tide_format_state map = {
        .name = text("map"), .kind = TIDE_MAP, .schema = text("totals"), .version = 3};
    ck_assert_int_eq(tide_format_state(w, &map), 0);
    for (uint32_t group = 4; group < 8; group++)
        for (int64_t n = 0; n < 40; n++) {
            uint8_t key[8];
            tide_states_key_of_int(n, key);
            if (tide_states_key_group(key, 8, 8) != group) continue;
            struct tide_row row = {group, {key, 8}, text("item"), {key, 8}};
            ck_assert_int_eq(tide_format_row(w, &row), 0);
        }
    struct tide_format_state list = {.name = text("list"), .kind = TIDE_SPLIT};
    ck_assert_int_eq(tide_format_state(w, &list), 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(tide_format_row(w, &(struct tide_row){.value = text(i ? "more" : "")}), 0);
    ck_assert_int_eq(tide_format_finish(w, ret, ret_len, why), 0);
}

/* Records in flight: a keyed flow of inputs, one of outputs. */
static void write_flights(const char *path, uint8_t **ret, size_t *ret_len)
{
    struct tide_format_writer *w = NULL;
    struct tide_format_task of = task;
    char why[WHY_SIZE];
    of.first = of.count = 0;
    of.databases = TIDE_FORMAT_KEYED | TIDE_FORMAT_OWN | TIDE_FORMAT_FLIGHT;
    ck_assert_int_eq(tide_format_create(path, &of, &w, why), 0);
    struct tide_format_flow in = {.name = text("words"),
                                  .peer = text("split"),
                                  .direction = TIDE_FLIGHT_INPUT,
                                  .route = TIDE_FLOW_KEYED,
                                  .first_channel = 2,
                                  .channels = 3,
                                  .max_parallelism = 8,
                                  .schema = text("word"),
                                  .version = 4};
    ck_assert_int_eq(tide_format_flow(w, &in), 0);
    for (uint32_t c = 2; c < 5; c++) {
        struct tide_flight_row row = {c, tide_states_key_group("key", 3, 8), text("key"),
                                      text("record")};
        ck_assert_int_eq(tide_format_record(w, &row), 0);
    }
    struct tide_format_flow out = {.name = text("counts"),
                                   .direction = TIDE_FLIGHT_OUTPUT,
                                   .route = TIDE_FLOW_SPLIT,
                                   .channels = 1};
    ck_assert_int_eq(tide_format_flow(w, &out), 0);
    ck_assert_int_eq(tide_format_record(w, &(struct tide_flight_row){.record = text("")}), 0);
    ck_assert_int_eq(tide_format_finish(w, ret, ret_len, why), 0);
}

struct seen {
    uint32_t rows, flights;
};

static int see_row(void *user, const struct tide_row *row)
{
    struct seen *s = user;
    s->rows++;
    (void)row;
    return 0;
}

static int see_record(void *user, const struct tide_flight_row *row)
{
    struct seen *s = user;
    ck_assert_uint_eq(row->channel, s->flights < 3 ? 2 + s->flights : 0);
    ck_assert(tide_bytes_equal(row->record, text(s->flights < 3 ? "record" : "")));
    ck_assert(tide_bytes_equal(row->key, text(s->flights < 3 ? "key" : "")));
    s->flights++;
    return 0;
}

START_TEST(what_was_written_is_read)
{
    uint8_t *image;
    size_t len;
    char why[WHY_SIZE];
    struct tide_format_reader *r;
    struct seen all = {0}, some = {0};
    write_sample(NULL, &image, &len);
    ck_assert_int_eq(tide_format_open_bytes("sample", (struct tide_bytes){image, len}, &r, why), 0);
    ck_assert(tide_bytes_equal(r->task.uid, text("count")));
    ck_assert_uint_eq(r->task.round, 17);
    ck_assert_uint_eq(r->task.databases, 3);
    ck_assert_uint_eq(r->n_states, 2);
    ck_assert_int_eq(r->states[0].kind, TIDE_MAP);
    ck_assert_uint_eq(r->states[0].version, 3);
    ck_assert(tide_bytes_equal(r->states[0].schema, text("totals")));
    ck_assert_int_eq(tide_format_rows(r, 0, 4, 4, see_row, &all), 0);
    ck_assert_uint_eq(all.rows, r->states[0].rows);
    for (uint64_t g = 4; g < 8; g++)
        ck_assert_int_eq(tide_format_rows(r, 0, g, 1, see_row, &some), 0);
    ck_assert_uint_eq(some.rows, all.rows);
    ck_assert_int_eq(tide_format_rows(r, 0, 0, 4, see_row, &some), 0); /* others' key groups */
    ck_assert_uint_eq(some.rows, all.rows);
    ck_assert_int_eq(tide_format_rows(r, 1, 1, 2, see_row, &all), 0);
    ck_assert_uint_eq(all.rows, some.rows + 2);
    ck_assert_int_eq(tide_format_rows(r, 1, 2, 2, see_row, &all), TIDE_EINVAL);
    ck_assert_uint_eq(r->n_flows, 0);
    tide_format_close(r);
    sqlite3_free(image);
}
END_TEST

START_TEST(records_in_flight_are_read)
{
    uint8_t *image;
    size_t len;
    char why[WHY_SIZE];
    struct tide_format_reader *r;
    struct seen seen = {0};
    write_flights(NULL, &image, &len);
    ck_assert_msg(!tide_format_open_bytes("sample", (struct tide_bytes){image, len}, &r, why), "%s",
                  why);
    ck_assert_uint_eq(r->n_flows, 2);
    ck_assert_uint_eq(r->n_in_flight, 4);
    ck_assert(tide_bytes_equal(r->flows[0].name, text("words")));
    ck_assert(tide_bytes_equal(r->flows[0].peer, text("split")));
    ck_assert_int_eq(r->flows[0].direction, TIDE_FLIGHT_INPUT);
    ck_assert_int_eq(r->flows[0].route, TIDE_FLOW_KEYED);
    ck_assert_uint_eq(r->flows[0].version, 4);
    ck_assert_int_eq(r->flows[1].direction, TIDE_FLIGHT_OUTPUT);
    ck_assert_uint_eq(r->flows[1].peer.len, 0);
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_int_eq(tide_format_records(r, i, see_record, &seen), 0);
    ck_assert_uint_eq(seen.flights, 4);
    ck_assert_int_eq(tide_format_records(r, 2, see_record, &seen), TIDE_EINVAL);
    tide_format_close(r);
    sqlite3_free(image);
}
END_TEST

static int ignore_record(void *user, const struct tide_flight_row *row)
{
    (void)user;
    (void)row;
    return 0;
}

/* 0, or the code; the reason must name the file. */
static int read_all(const uint8_t *image, size_t len)
{
    char why[WHY_SIZE] = "";
    struct tide_format_reader *r;
    struct seen seen = {0};
    int rc = tide_format_open_bytes("the sample", (struct tide_bytes){image, len}, &r, why);
    if (rc) {
        ck_assert_msg(strncmp(why, "the sample: ", 12) == 0, "%d: %s", rc, why);
        return rc;
    }
    for (uint32_t i = 0; !rc && i < r->n_states; i++) {
        bool is_keyed = tide_kind_is_keyed(r->states[i].kind);
        rc = tide_format_rows(r, i, is_keyed ? r->task.first : 0,
                              is_keyed ? r->task.count : r->states[i].rows, see_row, &seen);
    }
    for (uint32_t i = 0; !rc && i < r->n_flows; i++)
        rc = tide_format_records(r, i, ignore_record, NULL);
    ck_assert_msg(!rc || strncmp(r->why, "the sample: ", 12) == 0, "%d: %s", rc, r->why);
    tide_format_close(r);
    return rc;
}

/* Without the digest, which is compared before: bytes of values may be others then, everything else
 * is noticed, or means nothing (what SQLite does not look at), and nothing crashes. */
START_TEST(every_byte_flipped_in_turn)
{
    uint8_t *image;
    size_t len, refused = 0;
    (_i ? write_flights : write_sample)(NULL, &image, &len);
    ck_assert_int_eq(read_all(image, len), 0);
    for (size_t i = 0; i < len; i++) {
        image[i] ^= 0xff;
        refused += read_all(image, len) != 0;
        image[i] ^= 0xff;
    }
    ck_assert_uint_gt(refused, 500);
    for (size_t n = 0; n < len; n += 64)
        ck_assert_int_ne(read_all(image, n), 0);
    sqlite3_free(image);
}
END_TEST

static void is_refused(const char *path, int code, const char *want)
{
    char why[WHY_SIZE] = "", text_of[WHY_SIZE];
    struct tide_format_reader *r;
    int rc = tide_format_open(path, &r, why);
    ck_assert_int_eq(rc, code);
    snprintf(text_of, sizeof text_of, "%s: %s", path, want);
    ck_assert_str_eq(why, text_of);
}

static void alter(const char *path, const char *sql)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* What somebody has changed with sqlite3, and what is none of ours. */
START_TEST(foreign_newer_and_altered_files)
{
    static const struct {
        const char *sql;
        int code;
        const char *why;
    } cases[] = {
        {"PRAGMA user_version = 2", TIDE_EVERSION,
         "has version 2 of the format; this library reads version 1"},
        {"PRAGMA application_id = 1", TIDE_ECORRUPT,
         "is a database, but not one of a task's state"},
        {"CREATE INDEX more ON entry (value)", TIDE_ECORRUPT,
         "its tables are not those of the format"},
        {"DROP VIEW entries", TIDE_ECORRUPT, "has not all tables"},
        {"DELETE FROM task", TIDE_ECORRUPT, "does not say whose state it is"},
        {"UPDATE task SET subtask = 2", TIDE_ECORRUPT, "what it says about its task cannot be"},
        {"UPDATE task SET databases = 0", TIDE_ECORRUPT, "what it says about its task cannot be"},
        {"UPDATE task SET databases = 1", TIDE_ECORRUPT,
         "state 2 is described in a way that cannot be"},
        {"UPDATE task SET hash = 'md5'", TIDE_EVERSION,
         "its keys are hashed in a way that this library does not know"},
        {"UPDATE state SET kind = 'heap' WHERE id = 2", TIDE_ECORRUPT,
         "state 2 is described in a way that cannot be"},
        {"UPDATE state SET name = 'map' WHERE id = 2", TIDE_ECORRUPT,
         "state 2 is described in a way that cannot be"},
        {"DELETE FROM state WHERE id = 2", TIDE_ECORRUPT, "has other rows than its states have"},
        {"DELETE FROM key_group WHERE key_group = 5", TIDE_ECORRUPT,
         "the key groups of state map cannot be"},
        {"INSERT INTO key_group VALUES (2, 5, 1, 1)", TIDE_ECORRUPT,
         "has key groups that are no state's"},
    };
    char path[] = "/tmp/tide-format-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "What is this?", 13), 13);
    close(fd);
    is_refused(path, TIDE_ECORRUPT, "is not a database");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(unlink(path), 0);
        write_sample(path, NULL, NULL);
        alter(path, cases[i].sql);
        is_refused(path, cases[i].code, cases[i].why);
    }
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* A row that was changed is found when it is read: a key in a key group other than its own, one
 * that is missing, one of another type. */
START_TEST(altered_rows)
{
    static const char *const changes[] = {
        "UPDATE entry SET key = x'ff' WHERE id = 2", "DELETE FROM entry WHERE id = 2",
        "UPDATE entry SET key_group = NULL WHERE id = 2", "UPDATE entry SET state = 2 WHERE id = 2",
        "UPDATE entry SET item = NULL WHERE id = 2"};
    char path[] = "/tmp/tide-format-XXXXXX", why[WHY_SIZE], want[WHY_SIZE];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct tide_format_reader *r;
        struct seen seen = {0};
        ck_assert_int_eq(unlink(path), 0);
        write_sample(path, NULL, NULL);
        alter(path, changes[i]);
        ck_assert_int_eq(tide_format_open(path, &r, why), 0);
        ck_assert_int_eq(tide_format_rows(r, 0, 4, 4, see_row, &seen), TIDE_ECORRUPT);
        snprintf(want, sizeof want, "%s: state map: row 2 is missing or cannot be", path);
        ck_assert_str_eq(r->why, want);
        tide_format_close(r);
    }
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(altered_flights)
{
    static const struct {
        const char *sql, *why;
    } cases[] = {
        {"DELETE FROM flow", "has flows and states in one, or should have flows"},
        {"UPDATE task SET databases = 3", "has flows and states in one, or should have flows"},
        {"UPDATE task SET key_groups = 4", "has flows and states in one, or should have flows"},
        {"DELETE FROM in_flight WHERE id = 4", "has other records in flight than its flows have"},
        {"UPDATE flow SET first = 3 WHERE id = 2", "flow 2 is described in a way that cannot be"},
        {"UPDATE flow SET route = 'none'", "flow 1 is described in a way that cannot be"},
        {"UPDATE flow SET direction = 'x'", "flow 1 is described in a way that cannot be"},
        {"UPDATE flow SET channels = 0", "flow 1 is described in a way that cannot be"},
        {"UPDATE flow SET channels = 65536", "flow 1 is described in a way that cannot be"},
        {"UPDATE flow SET max_parallelism = 0", "flow 1 is described in a way that cannot be"},
        {"UPDATE flow SET peer = ''", "flow 1 is described in a way that cannot be"},
        {"UPDATE flow SET message = 'a'", "flow 1 is described in a way that cannot be"},
        {"UPDATE flow SET descriptor = x'00'", "flow 1 is described in a way that cannot be"},
        {"UPDATE flow SET name = 'words'", "flow 2 is described in a way that cannot be"},
        {"UPDATE in_flight SET key = x'ff' WHERE id = 2", NULL},
        {"UPDATE in_flight SET key = NULL WHERE id = 2", NULL},
        {"UPDATE in_flight SET key_group = NULL WHERE id = 2", NULL},
        {"UPDATE in_flight SET channel = 1 WHERE id = 2", NULL},
        {"UPDATE in_flight SET channel = 5 WHERE id = 2", NULL},
        {"UPDATE in_flight SET flow = 2 WHERE id = 2", NULL},
        {"UPDATE in_flight SET id = 9 WHERE id = 2; UPDATE flow SET records = 8 WHERE id = 1; "
         "UPDATE flow SET first = 9 WHERE id = 2",
         NULL},
    };
    char path[] = "/tmp/tide-format-XXXXXX", why[WHY_SIZE], want[WHY_SIZE];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tide_format_reader *r;
        ck_assert_int_eq(unlink(path), 0);
        write_flights(path, NULL, NULL);
        alter(path, cases[i].sql);
        if (cases[i].why) {
            is_refused(path, TIDE_ECORRUPT, cases[i].why);
            continue;
        }
        ck_assert_msg(!tide_format_open(path, &r, why), "%s: %s", cases[i].sql, why);
        ck_assert_int_eq(tide_format_records(r, 0, ignore_record, NULL), TIDE_ECORRUPT);
        snprintf(want, sizeof want, "%s: flow words: record 2 is missing or cannot be", path);
        ck_assert_str_eq(r->why, want);
        tide_format_close(r);
    }
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(a_place_that_cannot_be_written)
{
    struct tide_format_writer *w;
    char why[WHY_SIZE];
    ck_assert_int_eq(tide_format_create("/nowhere/at/all", &task, &w, why), TIDE_EIO);
    ck_assert_str_eq(why, "/nowhere/at/all: cannot be written: unable to open database file: No "
                          "such file or directory");
    ck_assert_int_eq(tide_format_create(NULL, &task, &w, why), 0);
    struct tide_format_state state = {.name = text("map"), .kind = TIDE_MAP};
    ck_assert_int_eq(tide_format_state(w, &state), 0);
    struct tide_row big = {.value = {(const uint8_t *)"", (size_t)1 << 40}};
    ck_assert_int_eq(tide_format_row(w, &big), TIDE_ETOOBIG);
    ck_assert_int_eq(tide_format_finish(w, NULL, NULL, why), TIDE_ETOOBIG);
    ck_assert_str_eq(why, "memory: cannot be written: string or blob too big");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state_format");
    add_test(s, what_was_written_is_read);
    add_test(s, records_in_flight_are_read);
    add_loop_test(s, every_byte_flipped_in_turn, 2);
    add_test(s, foreign_newer_and_altered_files);
    add_test(s, altered_rows);
    add_test(s, altered_flights);
    add_test(s, a_place_that_cannot_be_written);
    return run_suite(s);
}

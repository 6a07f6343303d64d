/* Records in flight as named state: what a task's channels had is kept with its keys and schemas,
 * and comes back to whoever it belongs to, once and in order, at any parallelism. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/worker_impl.h"
#include "state/format.h"
#include "tests/proto/lib_random.h"
#include "tests/proto/lib_run.h"

/* ---- what the library asks of libtidemark, which has no daemon here */

typedef int write_flights(struct tide_snapshot *s, struct tide_flights *f, char why[256],
                          void *user);
static write_flights *kept_by;
static void *kept_user;
static char kept_path[100]; /* where a file is wanted */
static uint8_t *kept_data;
static size_t kept_len;

#define WRAPS(type, name, ...)                                                                     \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAPS(int, tide_task_keep_flights, struct tide_task *t, write_flights *write, void *user)
{
    (void)t;
    kept_by = write;
    kept_user = user;
    return 0;
}

WRAPS(uint64_t, tide_snapshot_round, const struct tide_snapshot *s)
{
    (void)s;
    return 7;
}

WRAPS(int, tide_snapshot_artifact, struct tide_snapshot *s, const char *name, uint32_t first,
      uint32_t count)
{
    (void)s;
    ck_assert_str_eq(name, "state.flight");
    ck_assert_uint_eq(first + count, 0);
    return 0;
}

WRAPS(int, tide_snapshot_file, struct tide_snapshot *s, char *ret_path, size_t size)
{
    (void)s;
    snprintf(ret_path, size, "%s", kept_path);
    return 0;
}

WRAPS(int, tide_snapshot_write, struct tide_snapshot *s, const void *data, size_t n)
{
    (void)s;
    kept_data = malloc(n + 1);
    ck_assert_ptr_nonnull(kept_data);
    memcpy(kept_data, data, n);
    kept_len = n;
    return 0;
}

/* ---- a task: a keyed input, one of any, a broadcast one, and the same as outputs */

enum { FLOWS = 6, CHANNELS_MAX = 12, EACH = 3 };
static const char *const names[FLOWS] = {"in-keyed",  "in-any",  "in-all",
                                         "out-keyed", "out-any", "out-all"};

struct shape {
    uint32_t parallelism, max, channels; /* of each flow */
    uint32_t readers_max;                /* of the operator that its keyed output goes to */
};

/* A record: "key:...". */
static int key_of(const void *record, size_t len, const void **ret_key, size_t *ret_len, void *user)
{
    const char *end = memchr(record, ':', len);
    (void)user;
    if (!end) return 1;
    *ret_key = record;
    *ret_len = (size_t)(end - (const char *)record);
    return 0;
}

static struct tide_flow_config config_of(const struct shape *shape, unsigned i)
{
    struct tide_flow_config c = {.direction = i < 3 ? TIDE_FLIGHT_INPUT : TIDE_FLIGHT_OUTPUT,
                                 .route = TIDE_FLOW_KEYED + i % 3,
                                 .first_channel = i % 3 * shape->channels,
                                 .channels = shape->channels,
                                 .peer = "other"};
    if (i % 3 == 0) c.key = key_of;
    if (i == 3) c.max_parallelism = shape->readers_max;
    return c;
}

static struct tide_states *task_of(const struct shape *shape, uint32_t subtask,
                                   struct tide_flow **flows)
{
    struct tide_states_config c = {.uid = "op",
                                   .subtask = subtask,
                                   .parallelism = shape->parallelism,
                                   .max_parallelism = shape->max};
    struct tide_states *s = NULL;
    struct tide_named *n = NULL;
    ck_assert_int_eq(tide_states_new(&c, &s, NULL), 0);
    ck_assert_int_eq(tide_states_declare(s, "value", TIDE_VALUE, NULL, &n), 0);
    for (unsigned i = 0; i < FLOWS; i++) {
        struct tide_flow_config f = config_of(shape, i);
        ck_assert_int_eq(tide_states_flow(s, names[i], &f, &flows[i]), 0);
    }
    return s;
}

/* ---- a snapshot of all tasks, in files */

static char directory[64];

static void make_directory(void)
{
    strcpy(directory, "/tmp/tide-flow-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void remove_directory(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0); /* NOLINT */
}

static void put(struct flight *f, enum tide_flight kind, uint32_t channel, const char *record)
{
    struct tide_buf *lane = &f->lanes[kind - 1][channel];
    size_t n = strlen(record);
    tide_buf_put_u32(lane, (uint32_t)n);
    tide_buf_put_u32(lane, 0);
    tide_buf_put(lane, record, n);
    f->total += n;
}

static void begin(struct flight *f)
{
    *f = (struct flight){.n_lanes = {3 * CHANNELS_MAX, 3 * CHANNELS_MAX}};
    for (unsigned k = 0; k < 2; k++) {
        f->lanes[k] = calloc(f->n_lanes[k], sizeof *f->lanes[k]);
        ck_assert_ptr_nonnull(f->lanes[k]);
        for (uint32_t i = 0; i < f->n_lanes[k]; i++)
            tide_buf_init(&f->lanes[k][i], (size_t)1 << 20);
    }
}

/* What flight.c does when a snapshot has all its records. */
static int keep(struct tide_states *s, struct flight *f, char why[256])
{
    struct tide_task task = {.write_flights = NULL};
    kept_by = NULL;
    free(kept_data);
    kept_data = NULL;
    ck_assert_int_eq(tide_states_keep_flights(s, &task), 0);
    task.write_flights = kept_by;
    task.flights_user = kept_user;
    int rc = tide_flight_hand_out(&task, f, NULL, why);
    for (unsigned k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < f->n_lanes[k]; i++)
            tide_buf_release(&f->lanes[k][i]);
        free(f->lanes[k]);
    }
    return rc;
}

static void keep_to(struct tide_states *s, struct flight *f, const char *path)
{
    char why[256];
    snprintf(kept_path, sizeof kept_path, "%s", path);
    ck_assert_msg(keep(s, f, why) == 0, "%s", why);
    if (!kept_data) return; /* a file already, or nothing was in flight */
    FILE *out = fopen(path, "w");
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(fwrite(kept_data, 1, kept_len, out), kept_len);
    ck_assert_int_eq(fclose(out), 0);
}

/* A key of the task's own, if it is an input's: only such records come to it. */
static void draw_key(struct rng *rng, const struct shape *shape, uint32_t subtask, bool own,
                     char key[16])
{
    do
        snprintf(key, 16, "k%u", rng_below(rng, 1000));
    while (own && tide_key_group_owner(tide_states_key_group(key, strlen(key), shape->max),
                                       shape->parallelism, shape->max) != subtask);
}

/* Of each channel some, each "key:flow.subtask.channel.number". */
static void fill(struct flight *f, struct rng *rng, const struct shape *shape, uint32_t subtask)
{
    char key[16], record[100];
    for (unsigned i = 0; i < FLOWS; i++) {
        const struct tide_flow_config c = config_of(shape, i);
        for (uint32_t ch = 0; ch < c.channels; ch++)
            for (uint32_t n = 0; n < EACH; n++) {
                draw_key(rng, shape, subtask, i == 0, key);
                snprintf(record, sizeof record, "%s:%u.%u.%u.%u", key, i, subtask, ch, n);
                put(f, c.direction, c.first_channel + ch, record);
            }
    }
}

static uint32_t save(struct rng *rng, const struct shape *shape, char paths[][100])
{
    struct tide_flow *flows[FLOWS];
    for (uint32_t i = 0; i < shape->parallelism; i++) {
        struct tide_states *s = task_of(shape, i, flows);
        struct flight f;
        snprintf(paths[2 * i], 100, "%s/keyed-%u", directory, i);
        snprintf(paths[2 * i + 1], 100, "%s/flight-%u", directory, i);
        ck_assert_int_eq(tide_states_save(s, paths[2 * i], true), 0);
        begin(&f);
        fill(&f, rng, shape, i);
        keep_to(s, &f, paths[2 * i + 1]);
        tide_states_free(s);
    }
    return 2 * shape->parallelism;
}

/* states_save() knows of no round. */
static void set_round(const char *path)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "UPDATE task SET round = 7", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* ---- and what comes of it */

struct seen {
    uint8_t times[FLOWS][CHANNELS_MAX][CHANNELS_MAX][EACH]; /* by old subtask and channel */
    /* of each old channel, the number that came last to a task or channel */
    int8_t last[FLOWS][CHANNELS_MAX][CHANNELS_MAX][CHANNELS_MAX];
};

static void look(struct seen *seen, const struct shape *had, const struct shape *now,
                 uint32_t subtask, struct tide_flow *flow, unsigned i)
{
    const struct tide_flow_config c = config_of(now, i);
    struct tide_flow_record r;
    int rc;
    while (!(rc = tide_flow_next(flow, &r))) {
        unsigned key, of, was, ch, n;
        char text[100];
        ck_assert_uint_lt(r.len, sizeof text);
        memcpy(text, r.data, r.len);
        text[r.len] = '\0';
        ck_assert_int_eq(sscanf(text, "k%u:%u.%u.%u.%u", &key, &of, &was, &ch, &n), 5);
        ck_assert_uint_eq(of, i);
        ck_assert_uint_eq(r.had_subtask, was);
        ck_assert_uint_eq(r.had_channel, i % 3 * had->channels + ch);
        const size_t key_len = strcspn(text, ":");
        const uint32_t to = r.channel - c.first_channel;
        ck_assert_uint_lt(to, now->channels);
        if (i == 0)
            ck_assert_uint_eq(tide_key_group_owner(tide_states_key_group(text, key_len, now->max),
                                                   now->parallelism, now->max),
                              subtask);
        if (i == 3)
            ck_assert_uint_eq(
                tide_key_group_owner(tide_states_key_group(text, key_len, now->readers_max),
                                     now->channels, now->readers_max),
                to);
        if (i == 2) ck_assert_uint_eq(was, subtask % had->parallelism);
        if (i == 5) ck_assert_uint_eq(ch, to % had->channels);
        seen->times[i][was][ch][n]++;
        int8_t *last = &seen->last[i][was][ch][i == 5 ? to : subtask];
        ck_assert_int_gt((int)n + 1, *last);
        *last = (int8_t)(n + 1);
    }
    ck_assert_int_eq(rc, TIDE_ENOTFOUND);
}

static uint32_t wanted(const struct shape *had, const struct shape *now, unsigned i, uint32_t was,
                       uint32_t ch)
{
    uint32_t n = 0;
    if (i == 2)
        for (uint32_t s = 0; s < now->parallelism; s++)
            n += s % had->parallelism == was;
    if (i == 5)
        for (uint32_t c = 0; c < now->channels; c++)
            n += c % had->channels == ch;
    return i == 2 || i == 5 ? n : 1;
}

static void check(const struct seen *seen, const struct shape *had, const struct shape *now)
{
    for (unsigned i = 0; i < FLOWS; i++)
        for (uint32_t was = 0; was < had->parallelism; was++)
            for (uint32_t ch = 0; ch < had->channels; ch++)
                for (uint32_t n = 0; n < EACH; n++)
                    ck_assert_uint_eq(seen->times[i][was][ch][n], wanted(had, now, i, was, ch));
}

static struct shape draw(struct rng *rng, uint32_t max, uint32_t readers_max)
{
    return (struct shape){1 + rng_below(rng, 6), max, 1 + rng_below(rng, 6), readers_max};
}

/* S155, S163: whatever the parallelisms before and after, each record arrives where it belongs,
 * once, behind those that it was behind in its channel. */
START_TEST(every_record_is_restored_where_it_belongs_once)
{
    struct rng rng = {20261128u + (unsigned)_i};
    static struct seen seen;
    char paths[2 * CHANNELS_MAX][100];
    const char *list[2 * CHANNELS_MAX];
    const uint32_t max = 12 + rng_below(&rng, 100), readers_max = 12 + rng_below(&rng, 100);
    const struct shape had = draw(&rng, max, readers_max);
    make_directory();
    uint32_t n = save(&rng, &had, paths);
    for (uint32_t i = 0; i < n; i++) {
        list[i] = paths[i];
        set_round(paths[i]);
    }
    for (unsigned k = 0; k < 4; k++) {
        const struct shape now = k ? draw(&rng, max, readers_max) : had;
        memset(&seen, 0, sizeof seen);
        for (uint32_t s = 0; s < now.parallelism; s++) {
            struct tide_flow *flows[FLOWS];
            struct tide_states *states = task_of(&now, s, flows);
            ck_assert_msg(!tide_states_restore_files(states, list, n), "%s",
                          tide_states_error(states));
            for (unsigned i = 0; i < FLOWS; i++)
                look(&seen, &had, &now, s, flows[i], i);
            tide_states_free(states);
        }
        check(&seen, &had, &now);
    }
    remove_directory();
}
END_TEST

/* ---- one task */

static const struct shape one = {1, 12, 1, 12};

/* What a task of a program that has one flow restores from that of `one`. */
static struct tide_states *with_flow(const char *name, const struct tide_flow_config *c, bool drop,
                                     struct tide_flow **ret)
{
    struct tide_states_config config = {
        .uid = "op", .parallelism = 1, .max_parallelism = 12, .drop_unmatched = drop};
    struct tide_states *s = NULL;
    struct tide_named *n = NULL;
    ck_assert_int_eq(tide_states_new(&config, &s, NULL), 0);
    ck_assert_int_eq(tide_states_declare(s, "value", TIDE_VALUE, NULL, &n), 0);
    ck_assert_int_eq(tide_states_flow(s, name, c, ret), 0);
    return s;
}

static void save_one(const struct tide_schema *schema, const char *record, char paths[2][100])
{
    struct tide_flow_config c = config_of(&one, 0);
    struct tide_flow *flow;
    struct flight f;
    c.schema = schema;
    struct tide_states *s = with_flow("words", &c, false, &flow);
    snprintf(paths[0], 100, "%s/keyed", directory);
    snprintf(paths[1], 100, "%s/flight", directory);
    (void)unlink(paths[0]);
    (void)unlink(paths[1]);
    ck_assert_int_eq(tide_states_save(s, paths[0], true), 0);
    begin(&f);
    put(&f, TIDE_FLIGHT_INPUT, 0, record);
    keep_to(s, &f, paths[1]);
    set_round(paths[0]);
    tide_states_free(s);
}

static void refused(struct tide_states *s, char paths[2][100], const char *why)
{
    const char *list[2] = {paths[0], paths[1]};
    char want[500];
    snprintf(want, sizeof want, why, paths[1]);
    ck_assert_int_eq(tide_states_restore_files(s, list, 2), TIDE_EREFUSED);
    ck_assert_str_eq(tide_states_error(s), want);
    tide_states_free(s);
}

static int number_it(uint32_t version, const void *value, size_t len, void **ret_value,
                     size_t *ret_len, void *user)
{
    char *made = malloc(len + 8);
    (void)user;
    if (!made || version > 1) return free(made), 5;
    *ret_len = (size_t)sprintf(made, "%.*s+%u", (int)len, (const char *)value, version);
    *ret_value = made;
    return 0;
}

static void restored(struct tide_states *s, struct tide_flow *flow, char paths[2][100],
                     const char *want)
{
    const char *list[2] = {paths[0], paths[1]};
    struct tide_flow_record r;
    ck_assert_msg(!tide_states_restore_files(s, list, 2), "%s", tide_states_error(s));
    if (want) {
        ck_assert_int_eq(tide_flow_next(flow, &r), 0);
        ck_assert_msg(r.len == strlen(want) && !memcmp(r.data, want, r.len), "%.*s", (int)r.len,
                      (const char *)r.data);
    }
    ck_assert_int_eq(tide_flow_next(flow, &r), TIDE_ENOTFOUND);
    tide_states_free(s);
}

/* Records evolve like state. */
START_TEST(records_are_compatible_migrated_or_refused)
{
    char paths[2][100];
    struct tide_flow *flow;
    struct tide_flow_config c = config_of(&one, 0);
    struct tide_schema v1 = {.id = "word", .version = 1}, v2 = {.id = "word", .version = 2};
    make_directory();
    save_one(&v1, "a:b", paths);
    c.schema = &v1;
    struct tide_states *s = with_flow("words", &c, false, &flow);
    restored(s, flow, paths, "a:b");
    c.schema = &v2;
    refused(with_flow("words", &c, false, &flow), paths,
            "%s: flow words is incompatible: version 1 of schema word, which this program does not "
            "migrate to version 2");
    v2.migrate = number_it;
    s = with_flow("words", &c, false, &flow);
    restored(s, flow, paths, "a:b+1");
    c.schema = NULL;
    refused(with_flow("words", &c, false, &flow), paths,
            "%s: flow words is incompatible: its schema is word there, none here");
    /* what was written without one is version 0 */
    save_one(NULL, "a:b", paths);
    c.schema = &v2;
    s = with_flow("words", &c, false, &flow);
    restored(s, flow, paths, "a:b+0");
    v2.migrate = NULL;
    refused(with_flow("words", &c, false, &flow), paths,
            "%s: flow words is incompatible: it was written without a schema, which is version 0, "
            "and this program does not migrate that to version 2 of schema word");
    remove_directory();
}
END_TEST

/* No record is lost by a change of the program unless that is allowed. */
START_TEST(flows_that_fit_no_more_are_refused)
{
    char paths[2][100];
    struct tide_flow *flow;
    struct tide_flow_config c = config_of(&one, 0);
    make_directory();
    save_one(NULL, "a:b", paths);
    refused(with_flow("others", &c, false, &flow), paths,
            "%s: flow words is not declared, and its 1 records in flight would be lost");
    struct tide_states *s = with_flow("others", &c, true, &flow);
    restored(s, flow, paths, NULL);
    c.direction = TIDE_FLIGHT_OUTPUT;
    refused(with_flow("words", &c, false, &flow), paths,
            "%s: flow words is of inputs there, of outputs here");
    c = config_of(&one, 2);
    refused(with_flow("words", &c, false, &flow), paths,
            "%s: flow words is keyed there, broadcast here, and which records are copies of others "
            "nobody knows");
    c = config_of(&one, 1); /* no longer by key: that is fine */
    s = with_flow("words", &c, false, &flow);
    restored(s, flow, paths, "a:b");
    save_one(NULL, "a:b", paths);
    s = with_flow("words", &c, false, &flow);
    const char *list[2] = {paths[0], paths[1]};
    ck_assert_int_eq(tide_states_restore_files(s, list, 2), 0);
    /* until they are taken no snapshot has them */
    snprintf(kept_path, sizeof kept_path, "%s/new", directory);
    ck_assert_int_eq(tide_states_save(s, kept_path, true), TIDE_ESTATE);
    ck_assert_str_eq(tide_states_error(s),
                     "flow words: 1 restored records in flight are not taken yet");
    tide_states_free(s);
    remove_directory();
}
END_TEST

/* The partitioning has changed, but the daemon, which sees the same graph, hands each task its own
 * records alone: what belongs to another one must not get lost. */
START_TEST(records_that_now_belong_to_others_are_refused)
{
    const struct shape two = {2, 12, 1, 12};
    struct rng rng = {3};
    char paths[4][100];
    struct tide_flow *flows[FLOWS];
    make_directory();
    (void)save(&rng, &two, paths);
    set_round(paths[0]);
    struct tide_states_config config = {
        .uid = "op", .parallelism = 2, .max_parallelism = 12, .drop_unmatched = true};
    struct tide_states *s = NULL;
    struct tide_named *n = NULL;
    ck_assert_int_eq(tide_states_new(&config, &s, NULL), 0);
    ck_assert_int_eq(tide_states_declare(s, "value", TIDE_VALUE, NULL, &n), 0);
    struct tide_flow_config c = config_of(&two, 0); /* what could go to anybody has keys now */
    ck_assert_int_eq(tide_states_flow(s, names[1], &c, &flows[0]), 0);
    const char *list[4] = {paths[0], paths[1], paths[2], paths[3]};
    int rc = tide_states_restore_files(s, list, 2);
    ck_assert_int_eq(rc, TIDE_EREFUSED);
    ck_assert_ptr_nonnull(strstr(tide_states_error(s), "is routed otherwise than there"));
    set_round(paths[2]);
    ck_assert_int_eq(tide_states_restore_files(s, list, 4), 0);
    tide_states_free(s);
    remove_directory();
}
END_TEST

START_TEST(nonsense_is_refused)
{
    static const struct {
        struct tide_flow_config config;
        int rc;
        const char *why;
    } cases[] = {
        {{.route = TIDE_FLOW_SPLIT, .channels = 1},
         TIDE_EINVAL,
         "neither of inputs nor of outputs"},
        {{.direction = 1, .channels = 1}, TIDE_EINVAL, "there is no route 0"},
        {{.direction = 1, .route = TIDE_FLOW_KEYED, .channels = 1},
         TIDE_EINVAL,
         "a keyed one has a key function, no other has"},
        {{.direction = 1, .route = TIDE_FLOW_SPLIT, .channels = 1, .key = key_of},
         TIDE_EINVAL,
         "a keyed one has a key function, no other has"},
        {{.direction = 1, .route = TIDE_FLOW_SPLIT},
         TIDE_EINVAL,
         "has at least one channel, and none above 65535"},
        {{.direction = 1, .route = TIDE_FLOW_SPLIT, .first_channel = 65535, .channels = 2},
         TIDE_EINVAL,
         "has at least one channel, and none above 65535"},
        {{.direction = 1, .route = TIDE_FLOW_SPLIT, .channels = 1, .max_parallelism = 8},
         TIDE_EINVAL,
         "a max parallelism of 8 for 1 channels"},
        {{.direction = 1, .route = TIDE_FLOW_SPLIT, .first_channel = 4, .channels = 3},
         TIDE_EINVAL,
         "has channels of flow words"},
        {{.direction = 1, .route = TIDE_FLOW_SPLIT, .channels = 1, .peer = ""},
         TIDE_EINVAL,
         "its peer is no operator's uid"},
    };
    struct tide_flow_config c = {
        .direction = 1, .route = TIDE_FLOW_SPLIT, .first_channel = 5, .channels = 1};
    struct tide_flow *flow;
    struct tide_states *s = with_flow("words", &c, false, &flow);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[200];
        snprintf(want, sizeof want, "flow other: %s", cases[i].why);
        ck_assert_int_eq(tide_states_flow(s, "other", &cases[i].config, &flow), cases[i].rc);
        ck_assert_str_eq(tide_states_error(s), want);
    }
    c.first_channel = 9;
    ck_assert_int_eq(tide_states_flow(s, "words", &c, &flow), TIDE_EEXIST);
    ck_assert_int_eq(tide_states_flow(s, "", &c, &flow), TIDE_EINVAL);
    ck_assert_int_eq(tide_states_flow(s, "more", NULL, &flow), TIDE_EINVAL);
    ck_assert_uint_eq(tide_states_max_parallelism(s), 12);
    tide_states_free(s);
}
END_TEST

/* What the program says cannot be kept fails the round with a reason, and leaves nothing. */
START_TEST(what_cannot_be_kept)
{
    struct tide_flow_config c = config_of(&one, 0);
    struct tide_flow *flow;
    struct flight f;
    char why[256], big[70000];
    make_directory();
    struct tide_states *s = with_flow("words", &c, false, &flow);
    begin(&f);
    put(&f, TIDE_FLIGHT_INPUT, 0, "no key");
    ck_assert_int_eq(keep(s, &f, why), TIDE_EINVAL);
    ck_assert_str_eq(why, "flow words: a record has no key (1)");
    begin(&f);
    put(&f, TIDE_FLIGHT_INPUT, 0, "a:");
    put(&f, TIDE_FLIGHT_OUTPUT, 3, "b:");
    ck_assert_int_eq(keep(s, &f, why), TIDE_EINVAL);
    ck_assert_str_eq(why, "records in flight of output 3 were not kept by the program");
    begin(&f); /* nothing was in flight: nothing is written */
    ck_assert_int_eq(keep(s, &f, why), 0);
    ck_assert_ptr_null(kept_data);
    memset(big, 'x', sizeof big);
    big[1] = ':';
    big[sizeof big - 1] = '\0';
    snprintf(kept_path, sizeof kept_path, "%s/nothing/here", directory);
    begin(&f);
    put(&f, TIDE_FLIGHT_INPUT, 0, big);
    ck_assert_int_eq(keep(s, &f, why), TIDE_EIO);
    ck_assert_ptr_nonnull(strstr(why, "/nothing/here: cannot be written"));
    char paths[2][100];
    save_one(NULL, big, paths); /* as a file of its own */
    ck_assert_ptr_null(kept_data);
    restored(s, flow, paths, big);
    remove_directory();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state_flow");
    add_loop_test(s, every_record_is_restored_where_it_belongs_once, 25);
    add_test(s, records_are_compatible_migrated_or_refused);
    add_test(s, flows_that_fit_no_more_are_refused);
    add_test(s, records_that_now_belong_to_others_are_refused);
    add_test(s, nonsense_is_refused);
    add_test(s, what_cannot_be_kept);
    return run_suite(s);
}

/* What state costs, each beside its yardstick in the same run.
 *
 *   bench_state [KEYS [MEGABYTES [NATIVE]]]
 *
 *   write    a canonical database of KEYS keys of 8 bytes with values of 64, beside the same rows
 *            through SQLite alone; and read back at another parallelism
 *   stop     MEGABYTES of state in memory: the longest that one call of the task's thread takes
 *            while a snapshot of it is written, in its own CPU time and in wall time, beside a
 *            thread that only looks at the clock; freezing many states with many key groups, and
 *            clearing a list of a million
 *   native   NATIVE megabytes of state in a RocksDB: what a checkpoint writes after 1 % of the keys
 *            were touched, in no order, beside a full one
 *
 * The sizes that docs/performance.md has: bench_state 10000000 1024 2048 */
#include <dirent.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "state/format.h"
#include "state/place.h"

#define VALUE 64
#define OPS_MAX 20000000u

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(bool fact, const char *what)
{
    if (fact) return;
    fprintf(stderr, "bench_state: %s\n", what);
    exit(1);
}

static struct tide_states *new_states(uint32_t subtask, uint32_t parallelism,
                                      struct tide_named **ret)
{
    struct tide_states_config c = {
        .uid = "bench", .subtask = subtask, .parallelism = parallelism, .max_parallelism = 128};
    struct tide_states *s = NULL;
    char why[256];
    must(tide_states_new(&c, &s, why) == 0, why);
    must(tide_states_declare(s, "value", TIDE_VALUE, NULL, ret) == 0, "declare");
    return s;
}

static void put(struct tide_named *n, uint64_t i, uint64_t version)
{
    uint8_t key[8], value[VALUE] = {0};
    tide_states_key_of_int((int64_t)i, key);
    memcpy(value, &i, 8);
    memcpy(value + 8, &version, 8);
    must(tide_value_put(n, key, 8, value, VALUE) == 0, "put");
}

/* ---- write */

static double bare(const char *path, uint64_t keys)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    uint8_t key[8], value[VALUE] = {0};
    must(sqlite3_open(path, &db) == SQLITE_OK, path);
    double begun = now(CLOCK_PROCESS_CPUTIME_ID);
    must(sqlite3_exec(
             db,
             "PRAGMA page_size = 16384; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
             "PRAGMA locking_mode = EXCLUSIVE; BEGIN;"
             "CREATE TABLE entry (id INTEGER PRIMARY KEY, state INTEGER NOT NULL,"
             "  key_group INTEGER, key BLOB, item BLOB, value BLOB NOT NULL) STRICT",
             NULL, NULL, NULL) == SQLITE_OK,
         "bare");
    must(sqlite3_prepare_v2(db, "INSERT INTO entry VALUES (?, 1, ?, ?, NULL, ?)", -1, &st, NULL) ==
             SQLITE_OK,
         "bare");
    for (uint64_t i = 0; i < keys; i++) {
        tide_states_key_of_int((int64_t)i, key);
        memcpy(value, &i, 8);
        sqlite3_bind_int64(st, 1, (sqlite3_int64)i + 1);
        sqlite3_bind_int64(st, 2, (sqlite3_int64)(i * 128 / keys));
        sqlite3_bind_blob(st, 3, key, 8, SQLITE_STATIC);
        sqlite3_bind_blob(st, 4, value, VALUE, SQLITE_STATIC);
        must(sqlite3_step(st) == SQLITE_DONE, "bare");
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    must(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK, "bare");
    sqlite3_close(db);
    return now(CLOCK_PROCESS_CPUTIME_ID) - begun;
}

static void bench_write(uint64_t keys)
{
    char path[64], yardstick[80];
    const char *paths[] = {path};
    struct tide_named *n;
    struct tide_states *s = new_states(0, 1, &n);
    snprintf(path, sizeof path, "/tmp/bench-state-%d", (int)getpid());
    snprintf(yardstick, sizeof yardstick, "%s-bare", path);
    for (uint64_t i = 0; i < keys; i++)
        put(n, i, 0);
    double begun = now(CLOCK_PROCESS_CPUTIME_ID);
    must(tide_states_save(s, path, true) == 0, tide_states_error(s));
    double ours = now(CLOCK_PROCESS_CPUTIME_ID) - begun;
    double theirs = bare(yardstick, keys);
    tide_states_free(s);
    begun = now(CLOCK_PROCESS_CPUTIME_ID);
    for (uint32_t i = 0; i < 3; i++) {
        s = new_states(i, 3, &n);
        must(tide_states_restore_files(s, paths, 1) == 0, tide_states_error(s));
        tide_states_free(s);
    }
    double back = now(CLOCK_PROCESS_CPUTIME_ID) - begun;
    printf(
        "state: %llu keys written %.2f M/s, SQLite alone %.2f M/s: %.2f of it; restored by 3 tasks "
        "%.2f M/s (CPU time)\n",
        (unsigned long long)keys, (double)keys / ours / 1e6, (double)keys / theirs / 1e6,
        theirs / ours, (double)keys / back / 1e6);
    (void)unlink(path);
    (void)unlink(yardstick);
}

/* ---- stop */

struct writing {
    struct tide_states *states;
    struct tide_frozen *frozen;
    struct tide_format_writer *writer;
    atomic_bool over;
};

static int write_row(void *user, const struct tide_row *row)
{
    struct writing *w = user;
    return tide_format_row(w->writer, row);
}

static void *write_view(void *user)
{
    struct writing *w = user;
    char path[64], why[WHY_SIZE];
    struct tide_format_task task = {.uid = tide_bytes_of("bench"),
                                    .writer = tide_bytes_of("bench"),
                                    .parallelism = 1,
                                    .max_parallelism = 128,
                                    .count = 128,
                                    .databases = TIDE_FORMAT_KEYED};
    struct tide_format_state state = {.name = tide_bytes_of("value"), .kind = TIDE_VALUE};
    snprintf(path, sizeof path, "/tmp/bench-state-%d-view", (int)getpid());
    must(tide_format_create(path, &task, &w->writer, why) == 0, why);
    must(tide_format_state(w->writer, &state) == 0, "state");
    must(w->states->keyed->class->walk(w->frozen, 0, false, 0, UINT32_MAX, write_row, w,
                                       w->states->why) == 0,
         "walk");
    must(tide_format_finish(w->writer, NULL, NULL, why) == 0, why);
    w->states->keyed->class->over(w->frozen);
    (void)unlink(path);
    atomic_store(&w->over, true);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

struct times {
    float *wall; /* of each call, ms */
    uint32_t n;
    double cpu_max, wall_max;
};

static void note(struct times *t, double wall, double cpu)
{
    if (t->n < OPS_MAX) t->wall[t->n++] = (float)(wall * 1e3);
    if (cpu * 1e3 > t->cpu_max) t->cpu_max = cpu * 1e3;
    if (wall * 1e3 > t->wall_max) t->wall_max = wall * 1e3;
}

static void show(const char *what, struct times *t)
{
    qsort(t->wall, t->n, sizeof *t->wall, compare);
    printf("state: %-8s %u calls, longest %.3f ms of CPU; wall p99.9 %.4f ms, longest %.2f ms\n",
           what, t->n, t->cpu_max, (double)t->wall[(uint64_t)t->n * 999 / 1000], t->wall_max);
}

static void bench_stop(uint64_t megabytes)
{
    const uint64_t keys = (megabytes << 20) / (VALUE + 8);
    struct tide_named *n;
    struct writing w = {.states = new_states(0, 1, &n)};
    struct times task = {.wall = malloc(OPS_MAX * sizeof(float))};
    struct times idle = {.wall = malloc(OPS_MAX * sizeof(float))};
    pthread_t thread;
    uint64_t at = 1;
    must(task.wall && idle.wall, "memory");
    for (uint64_t i = 0; i < keys; i++)
        put(n, i, 0);
    double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
    must(w.states->keyed->class->freeze(w.states->keyed, &w.frozen) == 0, "freeze");
    note(&task, now(CLOCK_MONOTONIC) - wall, now(CLOCK_THREAD_CPUTIME_ID) - cpu);
    double begun = now(CLOCK_MONOTONIC);
    must(pthread_create(&thread, NULL, write_view, &w) == 0, "thread");
    for (uint64_t i = 0; !atomic_load(&w.over); i++) {
        at = at * 6364136223846793005u + 1442695040888963407u;
        wall = now(CLOCK_MONOTONIC);
        cpu = now(CLOCK_THREAD_CPUTIME_ID);
        if (i % 2) {
            put(n, (at >> 20) % keys, i);
            note(&task, now(CLOCK_MONOTONIC) - wall, now(CLOCK_THREAD_CPUTIME_ID) - cpu);
        } else {
            note(&idle, now(CLOCK_MONOTONIC) - wall, now(CLOCK_THREAD_CPUTIME_ID) - cpu);
        }
    }
    pthread_join(thread, NULL);
    printf("state: a snapshot of %llu MB was written in %.1f s while the task went on\n",
           (unsigned long long)megabytes, now(CLOCK_MONOTONIC) - begun);
    for (uint64_t i = 0; i < keys / 8; i++) { /* what the view kept alive is freed along the way */
        wall = now(CLOCK_MONOTONIC);
        cpu = now(CLOCK_THREAD_CPUTIME_ID);
        put(n, i, 2);
        note(&task, now(CLOCK_MONOTONIC) - wall, now(CLOCK_THREAD_CPUTIME_ID) - cpu);
    }
    show("task", &task);
    show("idle", &idle);
    tide_states_free(w.states);
    free(task.wall);
    free(idle.wall);
}

static void bench_freeze(void)
{
    enum { STATES = 100, GROUPS = 32768, ITEMS = 1000000 };
    struct tide_states_config c = {.uid = "bench", .parallelism = 1, .max_parallelism = GROUPS};
    struct tide_named *n[STATES], *list;
    struct tide_states *s;
    struct tide_frozen *f;
    char why[256], name[16];
    must(tide_states_new(&c, &s, why) == 0, why);
    for (unsigned i = 0; i < STATES; i++) {
        snprintf(name, sizeof name, "s%u", i);
        must(tide_states_declare(s, name, TIDE_VALUE, NULL, &n[i]) == 0, "declare");
    }
    must(tide_states_declare(s, "list", TIDE_LIST, NULL, &list) == 0, "declare");
    for (unsigned i = 0; i < STATES; i++)
        for (uint64_t k = 0; k < 20000; k++)
            put(n[i], k, 0);
    for (unsigned k = 0; k < ITEMS; k++)
        must(tide_list_add(list, "k", 1, &k, sizeof k) == 0, "add");
    double begun = now(CLOCK_THREAD_CPUTIME_ID);
    must(s->keyed->class->freeze(s->keyed, &f) == 0, "freeze");
    double frozen = now(CLOCK_THREAD_CPUTIME_ID) - begun;
    s->keyed->class->over(f);
    begun = now(CLOCK_THREAD_CPUTIME_ID);
    must(tide_list_clear(list, "k", 1) == 0, "clear");
    double cleared = now(CLOCK_THREAD_CPUTIME_ID) - begun;
    printf("state: freezing %d states with %d key groups takes %.3f ms, clearing a list of %d "
           "%.3f ms of CPU\n",
           STATES, GROUPS, frozen * 1e3, ITEMS, cleared * 1e3);
    tide_states_free(s);
}

/* ---- native */

struct listing {
    struct {
        char name[64];
        uint64_t size;
        bool is_fixed;
    } files[4096];
    unsigned n;
};

static void checkpoint(struct tide_states *s, const char *directory, struct listing *ret)
{
    char path[512];
    struct dirent *e;
    struct stat st;
    must(s->keyed->class->checkpoint(s->keyed, directory) == 0, s->why);
    DIR *d = opendir(directory);
    must(d != NULL, directory);
    ret->n = 0;
    while ((e = readdir(d))) {
        snprintf(path, sizeof path, "%s/%.63s", directory, e->d_name);
        must(stat(path, &st) == 0, path);
        if (!S_ISREG(st.st_mode)) continue;
        must(ret->n < sizeof ret->files / sizeof *ret->files, "files");
        snprintf(ret->files[ret->n].name, 64, "%.63s", e->d_name);
        ret->files[ret->n].is_fixed = s->keyed->class->is_fixed(e->d_name);
        ret->files[ret->n++].size = (uint64_t)st.st_size;
    }
    closedir(d);
}

/* What a checkpoint writes when this one is there; small files every time. */
static double written(const struct listing *now_there, const struct listing *before)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < now_there->n; i++) {
        bool known = false;
        for (unsigned k = 0; before && now_there->files[i].is_fixed && k < before->n; k++)
            known |= !strcmp(before->files[k].name, now_there->files[i].name);
        if (!known) bytes += now_there->files[i].size;
    }
    return (double)bytes / (1 << 20);
}

static void put_kilobyte(struct tide_named *n, uint64_t i, uint64_t version)
{
    uint8_t key[8], value[1000];
    uint64_t at = i * 6364136223846793005u + version;
    for (size_t k = 0; k < sizeof value; k += sizeof at) { /* nothing that could be compressed */
        at ^= at << 13, at ^= at >> 7, at ^= at << 17;
        memcpy(value + k, &at, sizeof at);
    }
    tide_states_key_of_int((int64_t)i, key);
    must(tide_value_put(n, key, 8, value, sizeof value) == 0, tide_states_error(n->states));
}

static void bench_native(uint64_t megabytes)
{
    static struct listing full, next;
    char directory[64], path[80], why[256];
    const uint64_t keys = (megabytes << 20) / 1008;
    struct tide_states *s;
    struct tide_named *n;
    uint64_t at = 1;
    snprintf(directory, sizeof directory, "/tmp/bench-state-%d-rocks", (int)getpid());
    struct tide_states_config c = {.uid = "bench", .parallelism = 1, .max_parallelism = 128};
    c.backend = "rocksdb";
    c.directory = directory;
    if (tide_states_new(&c, &s, why) == TIDE_ENOTSUP) {
        printf("state: %s\n", why);
        return;
    }
    must(tide_states_declare(s, "value", TIDE_VALUE, NULL, &n) == 0, "declare");
    for (uint64_t i = 0; i < keys; i++)
        put_kilobyte(n, i, 0);
    snprintf(path, sizeof path, "%s/checkpoint-1", directory);
    checkpoint(s, path, &full);
    for (uint64_t i = 0; i < keys / 100; i++) {
        at = at * 6364136223846793005u + 1442695040888963407u;
        put_kilobyte(n, (at >> 20) % keys, 1);
    }
    snprintf(path, sizeof path, "%s/checkpoint-2", directory);
    double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
    checkpoint(s, path, &next);
    wall = now(CLOCK_MONOTONIC) - wall, cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    double touched = (double)(keys / 100) * 1008 / (1 << 20);
    printf("state: %.0f MB in RocksDB, 1 %% of the keys touched: the checkpoint writes %.1f MB, "
           "%.1f %% of a full one (%.1f MB); %.1f MB are what was touched, the rest what "
           "compaction has rewritten; the task stood %.1f ms, %.1f of CPU\n",
           written(&next, NULL), written(&next, &full),
           100 * written(&next, &full) / written(&full, NULL), written(&full, NULL), touched,
           wall * 1e3, cpu * 1e3);
    tide_states_free(s);
    snprintf(path, sizeof path, "%s/db", directory);
    tide_place_remove(path);
    for (unsigned i = 1; i < 3; i++) {
        snprintf(path, sizeof path, "%s/checkpoint-%u", directory, i);
        tide_place_remove(path);
    }
    tide_place_remove(directory);
}

int main(int argc, char **argv)
{
    uint64_t keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    uint64_t megabytes = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;
    uint64_t native = argc > 3 ? strtoull(argv[3], NULL, 10) : 100;
    must(keys && megabytes && native, "usage: bench_state [KEYS [MEGABYTES [NATIVE]]]");
    bench_write(keys);
    bench_stop(megabytes);
    bench_freeze();
    bench_native(native);
    return 0;
}

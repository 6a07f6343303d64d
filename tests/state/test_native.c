/* Native snapshots: taken while the task goes on, restored as they are, by key groups at another
 * parallelism, under the other backend, and by a program that has changed; damaged at every byte.
 *
 * The snapshot is one of these tests' own, with files in a directory; it is read back by
 * libtidemark's reader, digests and all. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "client/worker_impl.h"
#include "state/native.h"
#include "tests/proto/lib_run.h"
#include "tests/state/lib_task.h"

#define ARTIFACTS_MAX 64

struct kept {
    char name[128], path[64], key[TIDE_KEY_SIZE];
    uint32_t first, count;
};

struct tide_snapshot { /* in the place of libtidemark's */
    char directory[100];
    uint64_t round, written; /* written: bytes, into files of its own */
    bool savepoint, full, done;
    int rc, fail_with; /* fail_with: what write() answers */
    char why[256];
    struct kept items[ARTIFACTS_MAX];
    uint32_t n;
};

uint64_t __wrap_tide_snapshot_round(const struct tide_snapshot *s);          /* NOLINT */
bool __wrap_tide_snapshot_is_native(const struct tide_snapshot *s);          /* NOLINT */
int __wrap_tide_snapshot_artifact(struct tide_snapshot *s, const char *name, /* NOLINT */
                                  uint32_t first, uint32_t count);
int __wrap_tide_snapshot_write(struct tide_snapshot *s, const void *data, size_t n); /* NOLINT */
int __wrap_tide_snapshot_file(struct tide_snapshot *s, char *ret, size_t size);      /* NOLINT */
int __wrap_tide_snapshot_progress(struct tide_snapshot *s, uint64_t bytes);          /* NOLINT */
int __wrap_tide_snapshot_done(struct tide_snapshot *s, int rc, const char *reason,   /* NOLINT */
                              uint32_t retry_after_ms);

uint64_t __wrap_tide_snapshot_round(const struct tide_snapshot *s) /* NOLINT */
{
    return s->round;
}

bool __wrap_tide_snapshot_is_native(const struct tide_snapshot *s) /* NOLINT */
{
    return !s->savepoint;
}

int __wrap_tide_snapshot_artifact(struct tide_snapshot *s, const char *name, /* NOLINT */
                                  uint32_t first, uint32_t count)
{
    ck_assert_uint_lt(s->n, ARTIFACTS_MAX);
    struct kept *a = &s->items[s->n];
    *a = (struct kept){.first = first, .count = count};
    snprintf(a->name, sizeof a->name, "%s", name);
    snprintf(a->path, sizeof a->path, "a%u", s->n++);
    return 0;
}

static void path_of(const struct tide_snapshot *s, uint32_t i, char ret[200])
{
    snprintf(ret, 200, "%s/%s", s->directory, s->items[i].path);
}

int __wrap_tide_snapshot_write(struct tide_snapshot *s, const void *data, size_t n) /* NOLINT */
{
    char path[200];
    if (s->fail_with) return s->fail_with;
    path_of(s, s->n - 1, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, n), (ssize_t)n);
    close(fd);
    s->written += n;
    return 0;
}

int __wrap_tide_snapshot_file(struct tide_snapshot *s, char *ret, size_t size) /* NOLINT */
{
    char path[200];
    path_of(s, s->n - 1, path);
    snprintf(ret, size, "%s", path);
    return 0;
}

int __wrap_tide_snapshot_progress(struct tide_snapshot *s, uint64_t bytes) /* NOLINT */
{
    (void)s, (void)bytes;
    return 0;
}

int __wrap_tide_snapshot_done(struct tide_snapshot *s, int rc, const char *reason, /* NOLINT */
                              uint32_t retry_after_ms)
{
    (void)retry_after_ms;
    s->rc = rc;
    snprintf(s->why, sizeof s->why, "%s", reason ? reason : "");
    s->done = true;
    return rc;
}

/* What a key stands for is the file, wherever the snapshot is that brought it. */
static char complete[64]; /* keys of rounds that are not complete begin otherwise */

int __wrap_tide_snapshot_share(struct tide_snapshot *s, char ret_key[TIDE_KEY_SIZE]); /* NOLINT */
int __wrap_tide_snapshot_share(struct tide_snapshot *s, char ret_key[TIDE_KEY_SIZE])  /* NOLINT */
{
    struct kept *a = &s->items[s->n - 1];
    snprintf(a->key, sizeof a->key, "../snapshot-%u/a%u", (unsigned)s->round, s->n - 1);
    snprintf(ret_key, TIDE_KEY_SIZE, "%s", s->savepoint ? "" : a->key);
    return 0;
}

int __wrap_tide_snapshot_refer(struct tide_snapshot *s, const char *key); /* NOLINT */
int __wrap_tide_snapshot_refer(struct tide_snapshot *s, const char *key)  /* NOLINT */
{
    struct kept *a = &s->items[s->n - 1];
    if (s->savepoint || s->full || strncmp(key, complete, strlen(complete)) != 0)
        return TIDE_ENOTFOUND;
    snprintf(a->key, sizeof a->key, "%s", key);
    snprintf(a->path, sizeof a->path, "%.60s", key);
    return 0;
}

/* ---- taking one */

static struct tide_snapshot *new_snapshot(uint64_t round, bool savepoint)
{
    struct tide_snapshot *s = calloc(1, sizeof *s);
    ck_assert_ptr_nonnull(s);
    s->round = round;
    s->savepoint = savepoint;
    snprintf(s->directory, sizeof s->directory, "%s/snapshot-%u", directory, (unsigned)round);
    (void)mkdir(s->directory, 0777);
    return s;
}

static void wait_for(struct tide_states *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->writing)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void take(struct task *t, struct tide_snapshot *s)
{
    ck_assert_int_eq(tide_states_snapshot(t->states, s), TIDE_EAGAIN);
    wait_for(t->states);
    ck_assert(s->done);
    ck_assert_msg(s->rc == 0, "%d: %s", s->rc, s->why);
}

/* All tasks of a parallelism into one snapshot. */
static struct tide_snapshot *take_all(uint32_t p, uint32_t max, bool savepoint)
{
    static uint64_t rounds;
    struct tide_snapshot *s = new_snapshot(++rounds, savepoint);
    for (uint32_t i = 0; i < p; i++) {
        struct task t = new_task(i, p, max);
        fill(&t, i, p, max);
        take(&t, s);
        tide_states_free(t.states);
    }
    return s;
}

/* ---- restoring from it */

struct handed {
    struct tide_worker worker;
    struct tide_task task;
    Tide__Artifact artifacts[ARTIFACTS_MAX];
    struct tide_source sources[ARTIFACTS_MAX];
    struct tide_state states[ARTIFACTS_MAX];
    struct tide_restore restore;
};

static XXH128_hash_t digest(const char *path, uint64_t *ret_size)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    uint8_t *data = malloc((size_t)st.st_size + 1);
    ck_assert_int_eq(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    XXH128_hash_t h = XXH3_128bits(data, (size_t)st.st_size);
    free(data);
    *ret_size = (uint64_t)st.st_size;
    return h;
}

static struct handed *hand(struct tide_snapshot *s)
{
    char path[200];
    struct handed *h = calloc(1, sizeof *h);
    pthread_mutex_init(&h->worker.lock, NULL);
    h->task.worker = &h->worker;
    for (uint32_t i = 0; i < s->n; i++) {
        Tide__Artifact *a = &h->artifacts[i];
        path_of(s, i, path);
        tide__artifact__init(a);
        a->place_case = TIDE__ARTIFACT__PLACE_PATH;
        a->path = (ProtobufCBinaryData){strlen(s->items[i].path), (uint8_t *)s->items[i].path};
        XXH128_hash_t d = digest(path, &a->size);
        a->digest_low = d.low64;
        a->digest_high = d.high64;
        h->sources[i] = (struct tide_source){&h->task, a, tide_bytes_of(s->directory)};
        h->states[i] = (struct tide_state){.name = s->items[i].name,
                                           .size = a->size,
                                           .key_group_first = s->items[i].first,
                                           .key_group_count = s->items[i].count,
                                           .handle = &h->sources[i],
                                           .key = s->items[i].key[0] ? s->items[i].key : NULL};
    }
    h->restore = (struct tide_restore){
        .snapshot = s->round, .attempt = 1, .states = h->states, .n_states = s->n};
    return h;
}

static void hand_back(struct handed *h)
{
    pthread_mutex_destroy(&h->worker.lock);
    free(h);
}

static bool is_keyed_native(const struct tide_snapshot *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (!strcmp(s->items[i].name, TIDE_ARTIFACT_NATIVE)) return true;
    return false;
}

static void restore_all(struct tide_snapshot *s, uint32_t p_had, uint32_t p, uint32_t max)
{
    uint8_t seen[32][4] = {{0}};
    struct handed *h = hand(s);
    for (uint32_t i = 0; i < p; i++) {
        struct task t = new_task(i, p, max);
        int rc = tide_states_restore(t.states, &h->restore);
        ck_assert_msg(rc == 0, "%d: %s", rc, tide_states_error(t.states));
        (void)check_own(&t, p_had, seen);
        check_keyed(&t, i, p, max);
        ck_assert_int_eq(tide_value_put(t.broadcast, NULL, 0, "v", 1), TIDE_EINVAL);
        tide_states_free(t.states);
    }
    hand_back(h);
}

/* S160, S161: native snapshots at every parallelism and under either backend, and canonical ones
 * across backends. */
START_TEST(restored_at_every_parallelism)
{
    static const uint32_t ps[] = {1, 2, 3, 5};
    make_directory(1);
    for (size_t i = 0; i < 4; i++)
        for (unsigned savepoint = 0; savepoint < 2; savepoint++) {
            backend = "rocksdb";
            struct tide_snapshot *s = take_all(ps[i], 13, savepoint);
            ck_assert(is_keyed_native(s) == !savepoint);
            for (size_t k = 0; k < 4; k++) {
                backend = (i + k) % 2 ? "memory" : "rocksdb";
                restore_all(s, ps[i], ps[k], 13);
            }
            backend = "memory";
            restore_all(s, ps[i], ps[i], 13);
            free(s);
        }
    struct tide_snapshot *s = take_all(2, 13, false); /* memory's own */
    ck_assert(!is_keyed_native(s));
    backend = "rocksdb";
    restore_all(s, 2, 3, 13);
    free(s);
    remove_directory();
}
END_TEST

static void is_number(struct tide_named *n, uint32_t key, uint32_t want)
{
    const void *data;
    size_t len;
    int rc = tide_value_get(n, &key, sizeof key, &data, &len);
    ck_assert_int_eq(rc, want ? 0 : TIDE_ENOTFOUND);
    if (want) ck_assert_mem_eq(data, &want, sizeof want);
}

/* A snapshot is of its moment, whatever the task does meanwhile; and what is restored from it goes
 * on by itself, and is no part of the snapshot any more. */
START_TEST(a_snapshot_is_of_its_moment)
{
    uint32_t one = 1, two = 2;
    make_directory(1);
    struct task t = new_task(0, 1, 13);
    for (uint32_t k = 0; k < 2000; k++)
        ck_assert_int_eq(tide_value_put(t.value, &k, sizeof k, &one, sizeof one), 0);
    struct tide_snapshot *s = new_snapshot(1, false), *more = new_snapshot(2, false);
    ck_assert_int_eq(tide_states_snapshot(t.states, s), TIDE_EAGAIN);
    for (uint32_t k = 0; k < 2000; k += 2)
        ck_assert_int_eq(tide_value_put(t.value, &k, sizeof k, &two, sizeof two), 0);
    take(&t, more); /* beside it, or behind it */
    wait_for(t.states);
    ck_assert_int_eq(s->rc, 0);
    tide_states_free(t.states);

    for (unsigned again = 0; again < 2; again++) {
        struct handed *h = hand(again ? more : s);
        t = new_task(0, 1, 13);
        ck_assert_int_eq(tide_states_restore(t.states, &h->restore), 0);
        for (uint32_t k = 0; k < 2000; k++)
            is_number(t.value, k, again && k % 2 == 0 ? 2 : 1);
        for (uint32_t k = 0; k < 2000; k++)
            ck_assert_int_eq(tide_value_remove(t.value, &k, sizeof k), 0);
        struct tide_snapshot *empty = new_snapshot(3 + again, false);
        take(&t, empty);
        is_number(t.value, 7, 0);
        ck_assert_int_eq(tide_states_restore(t.states, &h->restore), 0);
        is_number(t.value, 7, 1);
        tide_states_free(t.states);
        hand_back(h);
        free(empty);
    }
    free(s);
    free(more);
    remove_directory();
}
END_TEST

/* Other states, in another order, one of them new; one gone, which is dropped when that is allowed.
 */
START_TEST(a_program_that_has_changed)
{
    uint32_t one = 1, key = 5;
    make_directory(1);
    struct tide_snapshot *s = new_snapshot(1, false);
    struct task t = {.states = new_states(0, 1, 13)};
    struct tide_named *a = declare(t.states, "a", TIDE_VALUE);
    struct tide_named *b = declare(t.states, "b", TIDE_VALUE);
    ck_assert_int_eq(tide_value_put(a, &key, sizeof key, &one, sizeof one), 0);
    one++;
    ck_assert_int_eq(tide_value_put(b, &key, sizeof key, &one, sizeof one), 0);
    take(&t, s);
    tide_states_free(t.states);
    struct handed *h = hand(s);

    t.states = new_states(0, 1, 13);
    struct tide_named *c = declare(t.states, "c", TIDE_VALUE);
    b = declare(t.states, "b", TIDE_VALUE);
    a = declare(t.states, "a", TIDE_VALUE);
    ck_assert_int_eq(tide_states_restore(t.states, &h->restore), 0);
    is_number(a, key, 1);
    is_number(b, key, 2);
    is_number(c, key, 0);
    struct tide_snapshot *again = new_snapshot(2, false);
    ck_assert_int_eq(tide_value_put(c, &key, sizeof key, &one, sizeof one), 0);
    take(&t, again);
    tide_states_free(t.states);

    struct handed *h2 = hand(again);
    t.states = new_states(0, 1, 13);
    b = declare(t.states, "b", TIDE_VALUE);
    ck_assert_int_eq(tide_states_restore(t.states, &h2->restore), TIDE_EREFUSED);
    t.states->drop_unmatched = true;
    ck_assert_int_eq(tide_states_restore(t.states, &h2->restore), 0);
    is_number(b, key, 2);
    tide_states_free(t.states);
    hand_back(h);
    hand_back(h2);
    free(s);
    free(again);
    remove_directory();
}
END_TEST

/* ---- incremental checkpoints */

static void put_random(struct tide_named *n, uint32_t k, uint64_t seed)
{
    uint8_t value[1000];
    for (size_t i = 0; i < sizeof value; i++) /* nothing that could be compressed */
        value[i] = (uint8_t)(XXH3_64bits_withSeed(&i, sizeof i, k + seed) >> 7);
    memcpy(value, &seed, sizeof seed);
    ck_assert_int_eq(tide_value_put(n, &k, sizeof k, value, sizeof value), 0);
}

static void has_random(struct tide_named *n, uint32_t keys, uint32_t changed, uint64_t seed)
{
    const void *data;
    size_t len;
    for (uint32_t k = 0; k < keys; k++) {
        const uint64_t want = k % 100 == changed ? seed : 0;
        ck_assert_int_eq(tide_value_get(n, &k, sizeof k, &data, &len), 0);
        ck_assert_uint_eq(len, 1000);
        ck_assert_mem_eq(data, &want, sizeof want);
    }
}

static struct task restored(struct tide_snapshot *s)
{
    struct handed *h = hand(s);
    struct task t = new_task(0, 1, 13);
    int rc = tide_states_restore(t.states, &h->restore);
    ck_assert_msg(rc == 0, "%d: %s", rc, tide_states_error(t.states));
    hand_back(h);
    return t;
}

/* S41: what an earlier checkpoint has written is referred to: also after a restore, not in a full
 * one, and not when that round came to nothing. */
START_TEST(files_are_shared)
{
    enum { N = 4000 };
    struct tide_snapshot *s[6];
    make_directory(1);
    struct task t = new_task(0, 1, 13);
    for (unsigned i = 0; i < 6; i++)
        s[i] = new_snapshot(i + 1, false);
    for (uint32_t k = 0; k < N; k++)
        put_random(t.value, k, 0);
    strcpy(complete, "none");
    take(&t, s[0]);
    ck_assert_uint_gt(s[0]->written, N * 1000);
    take(&t, s[1]); /* the first one came to nothing */
    ck_assert_uint_gt(s[1]->written, N * 1000);
    strcpy(complete, "../snapshot-2/");
    for (uint32_t k = 7; k < N; k += 100)
        put_random(t.value, k, 1);
    take(&t, s[2]);
    ck_assert_uint_lt(s[2]->written, N * 1000 / 20);
    s[3]->full = true;
    take(&t, s[3]);
    ck_assert_uint_gt(s[3]->written, N * 1000);
    tide_states_free(t.states);

    t = restored(s[2]);
    has_random(t.value, N, 7, 1);
    for (uint32_t k = 7; k < N; k += 100)
        put_random(t.value, k, 2);
    strcpy(complete, "../snapshot-"); /* whichever it was restored from */
    take(&t, s[4]);
    ck_assert_uint_lt(s[4]->written, N * 1000 / 20);
    tide_states_free(t.states);
    backend = "memory";
    for (unsigned i = 2; i < 5; i++) {
        t = restored(s[i]);
        has_random(t.value, N, 7, i == 4 ? 2 : 1);
        tide_states_free(t.states);
    }
    for (unsigned i = 0; i < 6; i++)
        free(s[i]);
    remove_directory();
}
END_TEST

/* ---- damage */

static void change(const char *path, off_t at, uint8_t with)
{
    uint8_t c;
    int fd = open(path, O_RDWR);
    ck_assert_int_eq(pread(fd, &c, 1, at), 1);
    c ^= with;
    ck_assert_int_eq(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

START_TEST(every_byte_of_a_snapshot_matters)
{
    char path[200];
    uint64_t size;
    make_directory(1);
    struct tide_snapshot *s = take_all(1, 13, false);
    struct handed *h = hand(s);
    struct task t = new_task(0, 1, 13);
    for (uint32_t i = 0; i < s->n; i++) {
        path_of(s, i, path);
        (void)digest(path, &size);
        for (off_t at = 0; at < (off_t)size; at++) {
            change(path, at, (uint8_t)(1u << at % 8));
            ck_assert_int_eq(tide_states_restore(t.states, &h->restore), TIDE_ECORRUPT);
            ck_assert_msg(strncmp(tide_states_error(t.states), path, strlen(path)) == 0, "%s",
                          tide_states_error(t.states));
            ck_assert_ptr_null(t.states->keyed);
            change(path, at, (uint8_t)(1u << at % 8));
        }
    }
    ck_assert_int_eq(tide_states_restore(t.states, &h->restore), 0);
    tide_states_free(t.states);
    hand_back(h);
    free(s);
    remove_directory();
}
END_TEST

/* Big enough that the backend's files are artifacts of their own. */
static struct tide_snapshot *take_large(uint32_t n)
{
    struct task t = new_task(0, 1, 13);
    for (uint32_t k = 0; k < n; k++)
        put_random(t.value, k, 0);
    struct tide_snapshot *s = new_snapshot(1, false);
    take(&t, s);
    tide_states_free(t.states);
    return s;
}

START_TEST(a_file_that_is_missing_or_short)
{
    make_directory(1);
    struct tide_snapshot *s = take_large(500);
    struct handed *h = hand(s);
    uint32_t at = 0;
    while (at < s->n && strncmp(s->items[at].name, TIDE_NATIVE_FILE, 11) != 0)
        at++;
    ck_assert_uint_lt(at, s->n);
    for (unsigned p = 1; p < 3; p++) { /* as it is, and by key groups */
        struct task t = new_task(0, p, 13);
        char *name = s->items[at].name, was = name[0];
        name[0] = 'x';
        ck_assert_int_eq(tide_states_restore(t.states, &h->restore), TIDE_ECORRUPT);
        ck_assert_ptr_nonnull(strstr(tide_states_error(t.states), ".sst is not in the snapshot"));
        name[0] = was;
        ck_assert_int_eq(tide_states_restore(t.states, &h->restore), 0);
        ck_assert_uint_gt(tide_states_max_parallelism(t.states), 0);
        tide_states_free(t.states);
    }
    hand_back(h);
    free(s);
    remove_directory();
}
END_TEST

START_TEST(a_disk_that_is_full)
{
    char path[200];
    uint32_t one = 1;
    make_directory(1);
    struct task t = new_task(0, 1, 13);
    ck_assert_int_eq(tide_value_put(t.value, &one, sizeof one, &one, sizeof one), 0);
    struct tide_snapshot *s = new_snapshot(1, false), *again = new_snapshot(2, false);
    s->fail_with = TIDE_ENOSPC;
    ck_assert_int_eq(tide_states_snapshot(t.states, s), TIDE_EAGAIN);
    wait_for(t.states);
    ck_assert_int_eq(s->rc, TIDE_ENOSPC);
    snprintf(path, sizeof path, "%s/checkpoint-1", t.states->directory);
    ck_assert_int_ne(access(path, F_OK), 0); /* nothing is left of it */
    is_number(t.value, 1, 1);
    take(&t, again);
    tide_states_free(t.states);
    free(s);
    free(again);
    remove_directory();
}
END_TEST

/* What a process that was killed has left in the directory goes. */
START_TEST(a_directory_with_leftovers)
{
    char path[300];
    uint32_t one = 1;
    make_directory(1);
    struct task t = new_task(0, 1, 13);
    (void)mkdir(t.states->directory, 0777);
    for (unsigned i = 0; i < 3; i++) {
        static const char *const names[] = {"db", "checkpoint-7", "part-abc"};
        snprintf(path, sizeof path, "%s/%s", t.states->directory, names[i]);
        ck_assert_int_eq(mkdir(path, 0777), 0);
        snprintf(path, sizeof path, "%s/%s/CURRENT", t.states->directory, names[i]);
        int fd = open(path, O_WRONLY | O_CREAT, 0666);
        ck_assert_int_eq(write(fd, "rubbish\n", 8), 8);
        close(fd);
    }
    ck_assert_int_eq(tide_value_put(t.value, &one, sizeof one, &one, sizeof one), 0);
    ck_assert_int_ne(access(path, F_OK), 0);
    tide_states_free(t.states);
    remove_directory();
}
END_TEST

int main(void)
{
    char why[WHY_SIZE];
    Suite *s = suite_create("native");
    if (!tide_backend_find("rocksdb", why)) {
        puts(why);
        return 0;
    }
    add_test(s, restored_at_every_parallelism);
    add_test(s, a_snapshot_is_of_its_moment);
    add_test(s, a_program_that_has_changed);
    add_test(s, files_are_shared);
    add_test(s, every_byte_of_a_snapshot_matters);
    add_test(s, a_file_that_is_missing_or_short);
    add_test(s, a_disk_that_is_full);
    add_test(s, a_directory_with_leftovers);
    return run_suite(s);
}

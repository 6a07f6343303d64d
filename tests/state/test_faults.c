/* Every allocation of the library fails in turn: the call that needed it says so, what was there
 * before is there still, a restore that failed has left nothing, and nothing leaks. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state/impl.h"
#include "tests/proto/lib_run.h"

static unsigned calls, fail_at;
static _Atomic long live; /* allocations that are not freed */

static bool fails(void)
{
    return fail_at && ++calls == fail_at;
}

void *__real_malloc(size_t size);             /* NOLINT */
void *__real_calloc(size_t n, size_t size);   /* NOLINT */
void *__real_realloc(void *old, size_t size); /* NOLINT */
char *__real_strdup(const char *text);        /* NOLINT */
void __real_free(void *p);                    /* NOLINT */
void __wrap_free(void *p);                    /* NOLINT */
void *__wrap_malloc(size_t size);             /* NOLINT */
void *__wrap_calloc(size_t n, size_t size);   /* NOLINT */
void *__wrap_realloc(void *old, size_t size); /* NOLINT */
char *__wrap_strdup(const char *text);        /* NOLINT */

void *__wrap_malloc(size_t size) /* NOLINT */
{
    if (fails()) return NULL;
    live++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) /* NOLINT */
{
    if (fails()) return NULL;
    live++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size) /* NOLINT */
{
    if (fails()) return NULL;
    live += !old;
    return __real_realloc(old, size);
}

char *__wrap_strdup(const char *text) /* NOLINT */
{
    if (fails()) return NULL;
    live++;
    return __real_strdup(text);
}

void __wrap_free(void *p) /* NOLINT */
{
    live -= p != NULL;
    __real_free(p);
}

struct task {
    struct tide_states *states;
    struct tide_named *value, *map, *list;
};

/* 0, or what the first call that failed answered. */
static int open_task(struct task *t)
{
    static const struct tide_states_config config = {"count", 0, 1, 16, false, NULL, NULL};
    static const struct tide_schema schema = {.id = "s", .version = 1};
    *t = (struct task){0};
    int rc = tide_states_new(&config, &t->states, NULL);
    if (!rc) rc = tide_states_declare(t->states, "value", TIDE_VALUE, &schema, &t->value);
    if (!rc) rc = tide_states_declare(t->states, "map", TIDE_MAP, NULL, &t->map);
    if (!rc) rc = tide_states_declare(t->states, "list", TIDE_SPLIT, NULL, &t->list);
    return rc;
}

/* Each number is put whole or not at all. */
static int put(struct task *t, uint32_t i)
{
    int rc = tide_value_put(t->value, &i, sizeof i, &i, sizeof i);
    if (!rc) rc = tide_map_put(t->map, "k", 1, &i, sizeof i, &i, sizeof i);
    return rc ? rc : tide_list_add(t->list, NULL, 0, &i, sizeof i);
}

static void check(struct task *t, uint32_t n)
{
    const void *data;
    size_t len;
    ck_assert_uint_eq(tide_list_count(t->list, NULL, 0), n);
    ck_assert_uint_ge(tide_map_count(t->map, "k", 1), n);
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_int_eq(tide_value_get(t->value, &i, sizeof i, &data, &len), 0);
        ck_assert_mem_eq(data, &i, sizeof i);
        ck_assert_int_eq(tide_map_get(t->map, "k", 1, &i, sizeof i, &data, &len), 0);
        ck_assert_int_eq(tide_list_get(t->list, NULL, 0, i, &data, &len), 0);
        ck_assert_mem_eq(data, &i, sizeof i);
    }
}

START_TEST(using_states)
{
    bool reached = true;
    for (unsigned k = 1; reached; k++) {
        struct task t;
        uint32_t done = 0;
        calls = 0;
        fail_at = k;
        int rc = open_task(&t);
        while (!rc && done < 40) {
            rc = put(&t, done);
            done += !rc;
        }
        reached = calls >= k;
        fail_at = 0;
        ck_assert_int_eq(rc, reached ? TIDE_ENOMEM : 0);
        if (t.list) check(&t, done);
        tide_states_free(t.states);
    }
}
END_TEST

START_TEST(saving_and_restoring)
{
    char path[2][64];
    const char *paths[2] = {path[0], path[1]};
    struct task t;
    bool reached = true;
    ck_assert_int_eq(open_task(&t), 0);
    for (uint32_t i = 0; i < 40; i++)
        ck_assert_int_eq(put(&t, i), 0);
    for (unsigned i = 0; i < 2; i++)
        snprintf(path[i], sizeof path[i], "/tmp/tide-state-faults-%d-%u", (int)getpid(), i);
    for (unsigned k = 1; reached; k++) {
        calls = 0;
        fail_at = k;
        int rc = tide_states_save(t.states, path[0], true);
        const int first = rc;
        if (!rc) rc = tide_states_save(t.states, path[1], false);
        reached = calls >= k;
        fail_at = 0;
        ck_assert_int_eq(rc, reached ? TIDE_ENOMEM : 0);
        if (!reached) break;
        ck_assert_int_ne(access(path[first ? 0 : 1], F_OK), 0); /* half of a file is none */
        (void)unlink(path[0]);
    }
    tide_states_free(t.states);

    ck_assert_int_eq(open_task(&t), 0);
    reached = true;
    for (unsigned k = 1; reached; k++) {
        calls = 0;
        fail_at = k;
        int rc = tide_states_restore_files(t.states, paths, 2);
        reached = calls >= k;
        fail_at = 0;
        ck_assert_int_eq(rc, reached ? TIDE_ENOMEM : 0);
        check(&t, reached ? 0 : 40);
    }
    tide_states_free(t.states);
    (void)unlink(path[0]);
    (void)unlink(path[1]);
}
END_TEST

/* ---- no thread */

static bool all_blocked, threads;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, /* NOLINT */
                          void *(*f)(void *), void *user);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, /* NOLINT */
                          void *(*f)(void *), void *user);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, /* NOLINT */
                          void *(*f)(void *), void *user)
{
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    if (threads) return __real_pthread_create(thread, attributes, f, user);
    all_blocked = sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGUSR1) &&
                  sigismember(&blocked, SIGCHLD);
    return EAGAIN;
}

uint64_t __wrap_tide_snapshot_round(const struct tide_snapshot *s); /* NOLINT */
uint64_t __wrap_tide_snapshot_round(const struct tide_snapshot *s)  /* NOLINT */
{
    return *(const uint64_t *)(const void *)s;
}

/* The writer's thread takes no signal of the program's; without one the call says so. */
START_TEST(no_thread_to_write)
{
    struct task t;
    sigset_t blocked;
    uint64_t round = 1;
    ck_assert_int_eq(open_task(&t), 0);
    ck_assert_int_eq(put(&t, 1), 0);
    ck_assert_int_eq(tide_states_snapshot(t.states, (struct tide_snapshot *)&round), TIDE_ENOMEM);
    ck_assert(all_blocked);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    ck_assert(!sigismember(&blocked, SIGTERM));
    ck_assert_uint_eq(tide_list_count(t.list, NULL, 0), 1);
    tide_states_free(t.states);
}
END_TEST

/* ---- an artifact that cannot be read */

int __wrap_tide_state_open(const struct tide_restore *restore, /* NOLINT */
                           const struct tide_state *state, struct tide_state_reader **ret);
int __wrap_tide_state_open(const struct tide_restore *restore, /* NOLINT */
                           const struct tide_state *state, struct tide_state_reader **ret)
{
    (void)state;
    *ret = (struct tide_state_reader *)(uintptr_t)restore;
    return 0;
}

int __wrap_tide_state_read(struct tide_state_reader *r, void *to, size_t n,
                           size_t *ret); /* NOLINT */
int __wrap_tide_state_read(struct tide_state_reader *r, void *to, size_t n,
                           size_t *ret) /* NOLINT */
{
    (void)r;
    (void)to;
    (void)n;
    (void)ret;
    return TIDE_ECORRUPT;
}

const char *__wrap_tide_state_path(const struct tide_state_reader *r); /* NOLINT */
const char *__wrap_tide_state_path(const struct tide_state_reader *r)  /* NOLINT */
{
    (void)r;
    return NULL;
}

void __wrap_tide_state_close(struct tide_state_reader *r); /* NOLINT */
void __wrap_tide_state_close(struct tide_state_reader *r)  /* NOLINT */
{
    (void)r;
}

START_TEST(a_damaged_inline_artifact)
{
    struct task t;
    struct tide_state state = {.name = "state.keyed", .size = 1000};
    struct tide_restore restore = {.snapshot = 1, .states = &state, .n_states = 1};
    ck_assert_int_eq(open_task(&t), 0);
    const long before = live;
    ck_assert_int_eq(tide_states_restore(t.states, &restore), TIDE_ECORRUPT);
    ck_assert_int_eq(live, before);
    ck_assert_ptr_nonnull(strstr(tide_states_error(t.states), "state.keyed: damaged"));
    tide_states_free(t.states);
}
END_TEST

/* ---- a round that is over while its writer writes */

static char written[64];
static unsigned looks;
static int done_with;

int __wrap_tide_snapshot_artifact(struct tide_snapshot *s, const char *name, /* NOLINT */
                                  uint32_t first, uint32_t count);
int __wrap_tide_snapshot_artifact(struct tide_snapshot *s, const char *name, /* NOLINT */
                                  uint32_t first, uint32_t count)
{
    (void)s;
    (void)name;
    (void)first;
    (void)count;
    return 0;
}

int __wrap_tide_snapshot_file(struct tide_snapshot *s, char *ret, size_t size); /* NOLINT */
int __wrap_tide_snapshot_file(struct tide_snapshot *s, char *ret, size_t size)  /* NOLINT */
{
    (void)s;
    snprintf(ret, size, "%s", written);
    return 0;
}

int __wrap_tide_snapshot_progress(struct tide_snapshot *s, uint64_t bytes); /* NOLINT */
int __wrap_tide_snapshot_progress(struct tide_snapshot *s, uint64_t bytes)  /* NOLINT */
{
    (void)s;
    ck_assert_uint_ge(bytes, ++looks * (UINT64_C(4) << 20));
    return looks == 2 ? TIDE_ESTALE : 0;
}

int __wrap_tide_snapshot_done(struct tide_snapshot *s, int rc, const char *reason, /* NOLINT */
                              uint32_t retry_after_ms);
int __wrap_tide_snapshot_done(struct tide_snapshot *s, int rc, const char *reason, /* NOLINT */
                              uint32_t retry_after_ms)
{
    (void)s;
    (void)retry_after_ms;
    done_with = rc;
    ck_assert_str_eq(reason, "the round is over");
    return rc;
}

START_TEST(a_round_that_is_over_is_not_written_to_its_end)
{
    static uint8_t value[8192];
    struct task t;
    uint64_t round = 1;
    ck_assert_int_eq(open_task(&t), 0);
    for (uint32_t i = 0; i < 3000; i++)
        ck_assert_int_eq(tide_value_put(t.value, &i, sizeof i, value, sizeof value), 0);
    snprintf(written, sizeof written, "/tmp/tide-state-faults-%d-over", (int)getpid());
    threads = true;
    ck_assert_int_eq(tide_states_snapshot(t.states, (struct tide_snapshot *)&round), TIDE_EAGAIN);
    pthread_mutex_lock(&t.states->lock);
    while (t.states->writing)
        pthread_cond_wait(&t.states->changed, &t.states->lock);
    pthread_mutex_unlock(&t.states->lock);
    threads = false;
    ck_assert_uint_eq(looks, 2);
    ck_assert_int_eq(done_with, TIDE_ESTALE);
    tide_states_free(t.states);
    (void)unlink(written);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state_faults");
    add_test(s, using_states);
    add_test(s, saving_and_restoring);
    add_test(s, no_thread_to_write);
    add_test(s, a_damaged_inline_artifact);
    add_test(s, a_round_that_is_over_is_not_written_to_its_end);
    return run_suite(s);
}

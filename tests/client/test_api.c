/* What the library promises to programs that it was not compiled with, and to their threads:
 * structs of another length, and calls that wait for nobody. */
#include <stdio.h>

#include "tests/client/lib_fake.h"
#include "tests/client/lib_run.h"

static int on_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    (void)t, (void)r, (void)user;
    return 0;
}

static int on_snapshot(struct tide_task *t, struct tide_snapshot *s, void *user)
{
    (void)t, (void)s, (void)user;
    return 0;
}

static const struct tide_callbacks callbacks = {.restore = on_restore, .snapshot = on_snapshot};

static struct tide_spec *make_spec(void)
{
    struct tide_spec *spec;
    ck_assert_int_eq(tide_spec_new("job", &spec), 0);
    ck_assert_int_eq(tide_spec_operator(spec, "a", 1, 0), 0);
    return spec;
}

/* ---- structs that grow */

struct newer_checkpointing {
    struct tide_checkpointing known;
    uint32_t unknown;
};
struct newer_config {
    struct tide_worker_config known;
    void *unknown;
};
struct newer_callbacks {
    struct tide_callbacks known;
    void (*unknown)(void);
};

static void something(void)
{
}

START_TEST(a_newer_struct_is_taken_while_it_asks_for_nothing_new)
{
    char why[256];
    struct tide_spec *spec = make_spec();
    struct newer_checkpointing every = {.known = {.interval_ms = 1000}};
    struct newer_config config = {.known = {.spec = spec, .name = "w1"}};
    struct newer_callbacks calls = {.known = callbacks};
    struct tide_worker *w = NULL;
    ck_assert_int_eq(tide_spec_checkpointing_sized(spec, &every.known, sizeof every), 0);
    ck_assert_int_eq(tide_worker_new_sized(&config.known, sizeof config, &w, why), 0);
    ck_assert_int_eq(
        tide_worker_add_task_sized(w, "a", 0, 0, &calls.known, sizeof calls, NULL, NULL), 0);
    tide_worker_free(w);

    w = NULL;
    config.unknown = why;
    ck_assert_int_eq(tide_worker_new_sized(&config.known, sizeof config, &w, why), TIDE_ENOTSUP);
    ck_assert_ptr_null(w);
    ck_assert_ptr_nonnull(strstr(why, "config has 72 bytes"));
    config.unknown = NULL;
    ck_assert_int_eq(tide_worker_new_sized(&config.known, sizeof config, &w, why), 0);
    calls.unknown = something;
    ck_assert_int_eq(
        tide_worker_add_task_sized(w, "a", 0, 0, &calls.known, sizeof calls, NULL, NULL),
        TIDE_ENOTSUP);
    ck_assert_ptr_nonnull(strstr(tide_worker_error(w), "callbacks have 104 bytes"));
    tide_worker_free(w);
    every.unknown = 1;
    ck_assert_int_eq(tide_spec_checkpointing_sized(spec, &every.known, sizeof every), TIDE_ENOTSUP);
    /* and it sticks */
    ck_assert_int_eq(tide_worker_new(&config.known, &w, why), TIDE_ENOTSUP);
    tide_spec_free(spec);
}
END_TEST

START_TEST(a_struct_shorter_than_it_ever_was_is_refused)
{
    char why[256];
    struct tide_spec *spec = make_spec();
    struct tide_checkpointing every = {.interval_ms = 1000};
    struct tide_worker_config config = {.spec = spec, .name = "w1"};
    struct tide_worker *w;
    ck_assert_int_eq(tide_worker_new_sized(&config, sizeof config - 8, &w, why), TIDE_EINVAL);
    ck_assert_int_eq(tide_worker_new(&config, &w, why), 0);
    ck_assert_int_eq(
        tide_worker_add_task_sized(w, "a", 0, 0, &callbacks, sizeof callbacks - 8, NULL, NULL),
        TIDE_EINVAL);
    tide_worker_free(w);
    ck_assert_int_eq(tide_spec_checkpointing_sized(spec, &every, sizeof every - 4), TIDE_EINVAL);
    tide_spec_free(spec);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_newer_struct_is_taken_while_it_asks_for_nothing_new,
        a_struct_shorter_than_it_ever_was_is_refused,
    };
    Suite *suite = suite_create("api");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}

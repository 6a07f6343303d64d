/* What a store hands over is looked at before it is believed: each kind of damage has a sentence.
 */
#include <stdio.h>

#include "tests/core/lib_play.h"

static uint8_t spec_bytes[512];
static uint32_t ranges[8];
static struct tide_member members[2];
static struct tide_catalog_job job;
static struct tide_catalog catalog;
static char why[512];

static ProtobufCBinaryData pb(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

/* A job of four tasks on two workers, in order. */
static void setup(void)
{
    Tide__Operator a = TIDE__OPERATOR__INIT, *operators[1] = {&a};
    Tide__JobSpec spec = TIDE__JOB_SPEC__INIT;
    a.uid = pb("a");
    a.parallelism = 4;
    spec.name = pb("job");
    spec.operators = operators;
    spec.n_operators = 1;
    size_t len = tide__job_spec__pack(&spec, spec_bytes);
    memcpy(ranges, (uint32_t[8]){0, 1, 2, 1, 1, 1, 3, 1}, sizeof ranges);
    members[0] =
        (struct tide_member){.worker = tide_bytes_of("w1"), .ranges = ranges, .n_ranges = 2};
    members[1] =
        (struct tide_member){.worker = tide_bytes_of("w2"), .ranges = ranges + 4, .n_ranges = 2};
    job = (struct tide_catalog_job){.name = tide_bytes_of("job"), .spec = {spec_bytes, len}};
    job.last.members = members;
    job.last.n_members = 2;
    catalog = (struct tide_catalog){.jobs = &job, .n_jobs = 1};
    why[0] = '\0';
}

static void refused(const char *text)
{
    ck_assert_int_eq(core_check_catalog(&catalog, why), TIDE_ECORRUPT);
    ck_assert_str_eq(why, text);
}

START_TEST(what_is_right_is_believed)
{
    ck_assert_int_eq(core_check_catalog(&catalog, why), 0);
    catalog.n_jobs = 0;
    ck_assert_int_eq(core_check_catalog(&catalog, why), 0);
}
END_TEST

/* S107: a damaged entry is not passed over. */
START_TEST(members_that_cannot_be)
{
    members[0].n_ranges = 0;
    refused("job job: worker w1 hosts no task");
    setup();
    ranges[1] = 0;
    refused("job job: the tasks of worker w1 are in no rising order");
    setup();
    ranges[2] = 0;
    refused("job job: the tasks of worker w1 are in no rising order");
    setup();
    ranges[7] = 2;
    refused("job job: worker w2 hosts tasks 3-4, of 4");
    setup();
    ranges[4] = 2;
    refused("job job: task 2 is hosted twice, by worker w2 too");
    setup();
    char name[100];
    memset(name, 'n', sizeof name);
    members[1].worker = (struct tide_bytes){(const uint8_t *)name, sizeof name};
    members[1].n_ranges = 0;
    ck_assert_int_eq(core_check_catalog(&catalog, why), TIDE_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(why, "nnnn hosts no task"));
}
END_TEST

START_TEST(specs_that_cannot_be)
{
    char text[120];
    job.name = tide_bytes_of("another");
    refused("job another: its spec is that of job job");
    memset(text, 'j', sizeof text);
    job.name = (struct tide_bytes){(const uint8_t *)text, sizeof text};
    ck_assert_int_eq(core_check_catalog(&catalog, why), TIDE_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(why, "jjj: its spec is that of job job"));
    setup();
    job.spec.len--;
    ck_assert_int_eq(core_check_catalog(&catalog, why), TIDE_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(why, "job job: its spec cannot be unpacked: "));
    setup();
    job.spec.len = 0;
    refused("job job: the job has no name");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_is_right_is_believed, members_that_cannot_be,
                                  specs_that_cannot_be};
    Suite *suite = suite_create("catalog");
    TCase *all = tcase_create("catalog");
    tcase_add_checked_fixture(all, setup, NULL);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(all, tests[i]);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

/* What every test program ends with. */
#ifndef TESTS_RUN_H
#define TESTS_RUN_H

#include <check.h>
#include <stdlib.h>

static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A suite with one case per test, so that each is named in the output. */
static inline void add_test(Suite *suite, const TTest *test)
{
    TCase *tc = tcase_create(test->name);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test);
    suite_add_tcase(suite, tc);
}

/* The same body for each of n cases: it has their number in _i. */
static inline void add_loop_test(Suite *suite, const TTest *test, int n)
{
    TCase *tc = tcase_create(test->name);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test, 0, n);
    suite_add_tcase(suite, tc);
}

#endif

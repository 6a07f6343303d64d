/* What every test program here ends with, and how traces are compared. */
#ifndef TESTS_CLIENT_RUN_H
#define TESTS_CLIENT_RUN_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "proto/bytes.h"

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

/* Compares what happened since the last time with what should have, and forgets it. */
#define expect(trace, text)                                                                        \
    do {                                                                                           \
        ck_assert_str_eq(trace, text);                                                             \
        (trace)[0] = '\0';                                                                         \
    } while (0)

#endif

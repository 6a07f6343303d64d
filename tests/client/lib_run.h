/* How traces are compared, beside what every test program ends with. */
#ifndef TESTS_CLIENT_RUN_H
#define TESTS_CLIENT_RUN_H

#include <string.h>

#include "proto/bytes.h"
#include "tests/proto/lib_run.h"

/* Compares what happened since the last time with what should have, and forgets it. */
#define expect(trace, text)                                                                        \
    do {                                                                                           \
        ck_assert_str_eq(trace, text);                                                             \
        (trace)[0] = '\0';                                                                         \
    } while (0)

#endif

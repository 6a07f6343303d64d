/* Included before each test (Makefile). Check writes to its parent, with a system call, where every
 * assertion that holds stands, to name the last one before a crash: most of the time of tests that
 * ask much. A crash is found with CK_FORK=no and a debugger, a sanitizer or valgrind; an assertion
 * that fails says where it stands as ever. */
#ifndef LIB_MARK_H
#define LIB_MARK_H

#include <check.h>

#define _mark_point(file, line) ((void)0)

#endif

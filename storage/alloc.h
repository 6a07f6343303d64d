/* The one place where storage/ takes memory, so that a test can let each taking fail in turn. What
 * is taken here is given back with free(). */
#ifndef TIDE_ALLOC_H
#define TIDE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

void *tide_mem_alloc(size_t size);              /* NULL: no memory */
void *tide_mem_zalloc(size_t n, size_t size);   /* zeroed; NULL also when n * size overflows */
void *tide_mem_realloc(void *old, size_t size); /* NULL: no memory, old is as it was */

/* For tests, before any thread is started: asked before each taking, true lets it fail. NULL:
 * never. */
void tide_mem_set_fault(bool (*fault)(void));

#endif

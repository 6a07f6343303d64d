/* What every part of the daemon needs: memory that is there or ends the process, and the clocks.
 *
 * The daemon stops when one of its own small allocations fails: the store makes that safe. Sizes
 * that a peer decides never come here. */
#ifndef UTIL_H
#define UTIL_H

#include <stddef.h>
#include <stdint.h>

void *must_alloc(size_t size); /* zeroed */
void *must_grow(void *old, size_t size);
char *must_copy(const char *text);
/* Ends the process: the system has no more of what (threads, ...). */
_Noreturn void die_for_want(const char *what);

uint64_t clock_boot_us(void); /* CLOCK_BOOTTIME: goes on while the machine sleeps */
uint64_t clock_wall_us(void); /* since 1970 */

#endif

/* The scheduler: what happens when, what chance decides, what is written down of it. */
#ifndef SIM_SCHED_H
#define SIM_SCHED_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "client/session.h"
#include "daemon/core/core.h"
#include "proto/frame.h"
#include "proto/plant.h"
#include "storage/manifest.h"
#include "storage/record.h"
#include "storage/store.h"

#define MS 1000u
#define SECOND 1000000u
#define NEVER UINT64_MAX
#define BEGIN ((uint64_t)SECOND) /* of a history; the trace counts from here */

struct sim;
typedef void sim_fn(struct sim *s, void *arg, uint64_t x);

uint64_t rnd(struct sim *s);
uint64_t below(struct sim *s, uint64_t n);                    /* 0 to n - 1 */
uint64_t between(struct sim *s, uint64_t low, uint64_t high); /* both included */
bool percent(struct sim *s, uint32_t p);
void sim_at(struct sim *s, uint64_t when, sim_fn *fn, void *arg, uint64_t x);
void sim_at_late(struct sim *s, uint64_t when, sim_fn *fn, void *arg,
                 uint64_t x); /* after all else of that time */
bool sim_step(struct sim *s);
void *sim_alloc(struct sim *s, size_t size); /* zeroed, lives as long as the history */
char *sim_text(struct sim *s, const char *text);
struct tide_bytes sim_bytes(struct sim *s, struct tide_bytes from);
void note(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t in_trace(uint64_t at); /* ms, as the trace counts them */
struct place {                  /* where a fact stands that must hold */
    const char *file, *function, *fact;
    int line;
};
_Noreturn void broken(struct sim *s, const struct place *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define must(s, fact, ...)                                                                         \
    do {                                                                                           \
        if (!(fact))                                                                               \
            broken((s), &(const struct place){__FILE__, __func__, #fact, __LINE__}, __VA_ARGS__);  \
    } while (0)
void sim_reset(struct sim *s, uint64_t seed); /* a new history; keeps heap and pool */
void sim_release(struct sim *s);

#endif

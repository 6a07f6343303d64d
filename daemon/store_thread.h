/* The store thread: the one thread that commits.
 *
 * It takes all commits that are ready and hands them to the store as one group, so that they
 * share a flush. A commit that nobody awaits does not cause a flush of its own: it waits for an
 * awaited one, at most `ride_us`. When there is nothing to commit the store is maintained.
 *
 * Outcomes come back on the loop, in the order of the commits. A store that does not answer
 * within its limit, or that cannot be maintained, is reported once by failed(). */
#ifndef STORE_THREAD_H
#define STORE_THREAD_H

#include <stdbool.h>
#include <uv.h>

#include "storage/record.h"

struct store_thread;

struct store_thread_options {
    uv_loop_t *loop; /* borrowed */
    void *store;     /* borrowed; given to commit and maintain, which run on the thread */
    void (*commit)(void *store, struct tide_commit *list);
    int (*settle)(void *store);   /* what is stored becomes visible to readers; TIDE_EIO: failed */
    int (*maintain)(void *store); /* the same, and what else is to be done when idle */
    uint64_t ride_us, timeout_us;
    uint64_t quiet_us; /* no commit for so long: time to maintain */
    void *user;        /* given to done and failed, which run on the loop */
    void (*done)(void *user, struct tide_commit *list); /* takes the list, linked by next */
    void (*failed)(void *user, const char *why);
};

struct store_thread *store_thread_start(const struct store_thread_options *o);
/* Takes the commit. On the loop only. */
void store_thread_submit(struct store_thread *t, struct tide_commit *c);
/* Waits until readers see all that was stored before the call, at most the limit. On any thread but
 * the store's, until store_thread_let_go(). 0; TIDE_EBUSY (not within the limit, or let go) or what
 * settle() said: readers see what was before. */
int store_thread_settle(struct store_thread *t);
void store_thread_let_go(struct store_thread *t);            /* before those who wait are stopped */
uint64_t store_thread_waiting(const struct store_thread *t); /* commits without an outcome yet */
uint64_t store_thread_flushes(const struct store_thread *t); /* groups committed so far */
/* For how long the thread has been in the store, 0: it is not. */
uint64_t store_thread_busy_us(const struct store_thread *t);
/* Commits what is left, ends the thread and closes the handles; last outcomes are given to done().
 * False: the thread hangs in the store, and the process should end without waiting for it.
 * The memory is freed by the loop, when the handles have closed. */
bool store_thread_stop(struct store_thread *t);

#endif

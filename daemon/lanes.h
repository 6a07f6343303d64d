/* File lanes: a few threads and a bounded queue for each root directory.
 *
 * Blocking file work runs here and nowhere else, so that a slow disk or a hung mount delays
 * neither the loop nor work below another root. Each piece of work has a limit; when it is over
 * the work counts as failed with TIDE_ETIMEDOUT, and what it still comes to is dropped. */
#ifndef LANES_H
#define LANES_H

#include <stdbool.h>
#include <uv.h>

#define LANES_WHY 256

struct lanes;
struct lane_work;

struct lanes_options {
    uv_loop_t *loop;  /* borrowed */
    unsigned threads; /* for each root, started when needed */
    unsigned queue;   /* pieces of work that may wait, for each root */
    unsigned roots;   /* at most; further ones share the last */
};

/* A piece of work; embed it at the start of your own struct. run() is called on a thread, the
 * others on the loop, but drop() also on a thread when the work was given up. */
struct lane_work {
    /* 0 or a negative code, and a sentence in why. `stop` becomes true when nobody waits any more.
     */
    int (*run)(struct lane_work *w, const volatile int *stop, char why[static LANES_WHY]);
    /* Called once. After TIDE_ETIMEDOUT run() may still be under way: read nothing that it writes.
     */
    void (*done)(struct lane_work *w, int rc, const char *why);
    void (*drop)(struct lane_work *w); /* frees it; the last call */
    uint64_t timeout_us;
};

struct lanes *lanes_open(const struct lanes_options *o);
/* Takes the work. done() follows from the loop in every case, also with TIDE_EBUSY when the queue
 * is full. */
void lanes_submit(struct lanes *l, const char *root, struct lane_work *w);
/* Makes done() follow soon with TIDE_ECLOSED and sets `stop`. Fine if it has been called already,
 * not after drop(). */
void lanes_cancel(struct lanes *l, struct lane_work *w);
/* What waits is dropped without a word, what runs is told to stop and awaited, at most wait_us.
 * False: a thread hangs in the file system; its memory is left to it. Handles are closed, the
 * memory is freed by the loop. */
bool lanes_close(struct lanes *l, uint64_t wait_us);

#endif

/* What tests of orders to restore share: a job with three tasks in one worker, orders, and images
 * that lie elsewhere. */
#ifndef LIB_RESTORE_H
#define LIB_RESTORE_H

#include "tests/core/lib_play.h"

extern const struct job_options order_job;
extern const struct join_options order_whole; /* the worker */

extern Tide__RestoreJob order; /* the one that is being made, for play_ask_restore() */
Tide__RestoreJob *order_restore(void);
Tide__RestoreJob *order_from(uint64_t snapshot);
Tide__RestoreJob *order_in(const char *directory);
/* What became of the last order. */
void order_outcome(struct play *p, const char *lines);
/* A checkpoint completes and all is confirmed; its number. */
uint64_t order_checkpoint(struct play *p);
/* With checkpoints 1, 2 and 3, all of which have had their effects; a copy of the last one's
 * _metadata lies elsewhere. */
void order_running(struct play *p);
/* The worker that was rewound, or refused, joins and restores. */
void order_back(struct play *p, uint64_t session);

/* Another's: the image as a different daemon, or job, would have written it. */
enum {
    OTHER_STORE = 1,
    OTHER_MAX = 2,
    OTHER_UID = 4,
    ENDED_SINK = 8,
    NO_KIND = 16,
    ENDED_SOURCE = 32,
    NAMED = 64,
    NO_EDGE = 128
};
struct tide_bytes image_changed(struct tide_bytes image, unsigned how); /* malloc'ed */
/* The _metadata that a job of another daemon has left; malloc'ed. */
struct tide_bytes image_foreign(unsigned how);
void image_drop(struct play *p); /* ends the play, and frees what lay elsewhere */

#endif

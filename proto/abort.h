/* Why rounds abort: every reason, in words for people, and whether it counts as a failure. */
#ifndef TIDE_ABORT_H
#define TIDE_ABORT_H

#include <stdbool.h>
#include <stdint.h>

struct tide_abort {
    const char *name; /* "deadline" */
    const char *text; /* "not all tasks acked in time" */
    /* A checkpoint that aborts so counts against the job's failures_max. A savepoint never does. */
    bool counts;
};

/* Of an AbortCode of worker.proto; never NULL, "unknown" for what this version does not know. */
const struct tide_abort *tide_abort_of(uint32_t code);

#endif

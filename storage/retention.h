/* Which checkpoints of a job stay, and why. Pure: the daemon decides with it, and the command
 * explains with it what the daemon decides.
 *
 * A checkpoint stays while one of these wants it:
 * - it is the newest, or commits are owed from it: whatever else is said
 * - it is among the newest `least`: whatever its age or the sizes are
 * - it is among the newest `latest`, or the last one of its hour, day or week, for so many of these
 *   as have one: unless it is older than `age_us`, or it and the younger ones that stay together
 *   have more than `bytes`
 * Hours, days and weeks are UTC's; a week begins on Monday. Savepoints are the user's: not here. */
#ifndef TIDE_RETENTION_H
#define TIDE_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/common.pb-c.h"

struct tide_retention {
    uint32_t latest, hours, days, weeks, least;
    uint64_t age_us, bytes; /* 0: no limit */
};

enum { /* why a checkpoint stays, */
       TIDE_STAYS_NEWEST = 1 << 0,
       TIDE_STAYS_OWED = 1 << 1,
       TIDE_STAYS_LEAST = 1 << 2,
       TIDE_STAYS_LATEST = 1 << 3,
       TIDE_STAYS_HOUR = 1 << 4,
       TIDE_STAYS_DAY = 1 << 5,
       TIDE_STAYS_WEEK = 1 << 6,
       /* and why the last four do not count */
       TIDE_GOES_AGE = 1 << 8,
       TIDE_GOES_BYTES = 1 << 9
};

struct tide_kept {
    uint64_t snapshot, completed_wall, bytes;
    bool owed;
    unsigned why; /* set: the reasons above */
    bool stays;   /* set: what follows from them */
};

/* What the job's configuration asks for, its defaults filled in. */
struct tide_retention tide_retention_of(const Tide__Checkpointing *c);
/* Judges the n checkpoints, ascending by number, as of the time now_wall (us since 1970). */
void tide_retention_judge(const struct tide_retention *r, uint64_t now_wall, struct tide_kept *k,
                          size_t n);

#endif

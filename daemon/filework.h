/* The core's file operations, carried out on lanes. */
#ifndef FILEWORK_H
#define FILEWORK_H

#include "daemon/core/core.h"
#include "daemon/lanes.h"

struct filework {
    struct lanes *lanes;                     /* borrowed, as are the paths */
    const char *state_root, *savepoint_root; /* each has its lane; elsewhere every directory */
    uint64_t timeout_us, inspect_us;         /* the latter: where every file is looked at */
    void *user;                              /* given to done() */
    /* bytes: what was read, place: where it lies, without links, or NULL; borrowed for the call */
    void (*done)(void *user, uint64_t tag, int rc, const char *why, struct tide_bytes bytes,
                 const char *place);
};

/* Carries out an ACT_FILE; takes its image. done() follows from the loop in every case. */
void filework_submit(const struct filework *f, struct action *a);

#endif

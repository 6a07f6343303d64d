/* From a checkpoint of a backend, a directory of files, to the artifacts of a snapshot. On the
 * thread that writes it. */
#ifndef TIDE_STATE_UPLOAD_H
#define TIDE_STATE_UPLOAD_H

#include "state/native.h"

struct tide_upload {
    struct tide_states *states;
    struct tide_snapshot *snapshot;
    const char *directory;
    const struct tide_format_task *task;
    const struct tide_format_state *of; /* the keyed states, by their numbers */
    char *why;                          /* WHY_SIZE bytes */
};

/* 0, or a code; why may have a sentence. */
int tide_upload(const struct tide_upload *u);

/* Files that never change are shared between the checkpoints of a backend: which are in the
 * catalogue is kept by name, from the checkpoint that brought a file, or the snapshot that it was
 * restored from, until the backend is closed. */
int tide_upload_restored(struct tide_states *s, const struct tide_native *from);

#endif

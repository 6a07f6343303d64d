/* Where shared artifacts lie: files that several checkpoints of a job refer to.
 *
 * Such a file stands in the directory of the round that wrote it, <job>/a<n>-<n>/r<n>, under the
 * name s<task>-<index>. What follows the job's directory is its key, in messages, in manifests and
 * in the store. */
#ifndef TIDE_SHARED_H
#define TIDE_SHARED_H

#include "proto/bytes.h"

#define TIDE_SHARED_KEY_SIZE 96u /* of a key as a string; the longest has 87 bytes */

/* Whether it has the form of a key. */
bool tide_shared_key_valid(struct tide_bytes key);
/* The key of the file `s<task>-<index>` in a round's directory; returns its length, or 0 when the
 * directory is none of a checkpoint's. */
size_t tide_shared_key(char key[static TIDE_SHARED_KEY_SIZE], struct tide_bytes round_directory,
                       uint32_t task, uint32_t index);
/* The directory two levels above, of the job, when that is a round's: a view; empty when there is
 * none. */
struct tide_bytes tide_shared_directory(struct tide_bytes round_directory);

/* Where an artifact's file lies, given the directory of its snapshot, as a string of at most size
 * bytes. False: it is inline, or does not fit. */
struct tide_artifact_view;
bool tide_artifact_where(char *out, size_t size, struct tide_bytes directory, uint32_t task,
                         uint32_t index, const struct tide_artifact_view *v);

#endif

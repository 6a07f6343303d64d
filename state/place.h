/* The directory of a task's own: one process at a time has it, and what an earlier one has left in
 * it goes. In it are `lock`, `db` (a backend's files), `checkpoint-<n>` (of snapshots that are
 * being written) and `part-<x>` (of snapshots that are being read). */
#ifndef TIDE_STATE_PLACE_H
#define TIDE_STATE_PLACE_H

#include "state/backend.h"

/* Makes it, if it is not there, and locks it: *ret_lock, for close(). TIDE_EBUSY: somebody has it.
 */
int tide_place_take(const char *directory, int *ret_lock, char why[static WHY_SIZE]);
/* A directory in it; false: no room. */
bool tide_place_path(char *ret, size_t size, const char *directory, const char *name, uint64_t n);
/* Removes a directory and the files in it, of which none is a directory. */
void tide_place_remove(const char *directory);
int tide_place_errno(const char *path, char why[static WHY_SIZE]); /* a code for errno, and why */

#endif

/* libtidemark-state: named state of tasks, on top of libtidemark.
 *
 * A program that takes part through libtidemark alone writes and reads bytes of its own. With this
 * library it keeps its state under names, and what a snapshot holds can be restored at another
 * parallelism, looked into with sqlite3, and read after the program has changed.
 *
 * All functions return 0 or a negative code (tide_strerror). None exits, aborts or prints. */
#ifndef TIDEMARK_STATE_H
#define TIDEMARK_STATE_H

#include "client/tidemark.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- key groups
 *
 * Keyed state is cut into as many key groups as the operator's max parallelism; a key group is the
 * unit that moves between tasks, and tide_key_group_range() and tide_key_group_owner() of
 * libtidemark tell whose it is. A key's group is h mod max parallelism, where h is Flink's
 * MathUtils.murmurHash() of hash32(key), and hash32 the low 32 bits of XXH3-64, seed 0, of the
 * key's bytes. The databases of a snapshot name this hash TIDE_STATES_HASH.
 *
 * Whoever sends a record to the task that owns its key must use this function. (tide_key_group() of
 * libtidemark is another: it leaves the murmur step out, and stays as released, since snapshots of
 * programs that keep their own bytes are cut by it.) */
#define TIDE_STATES_HASH "xxh3-64-murmur"

/* hash32() of a key. */
TIDE_API uint32_t tide_states_hash(const void *key, size_t len);
/* The key group of a key; 0 when max_parallelism is. */
TIDE_API uint32_t tide_states_key_group(const void *key, size_t len, uint32_t max_parallelism);
/* An integer as key: 8 bytes, little-endian, so that it is the same on every machine. */
TIDE_API void tide_states_key_of_int(int64_t value, uint8_t ret_key[8]);

#ifdef __cplusplus
}
#endif
#endif

/* libtidemark-state: named state of tasks, on top of libtidemark.
 *
 * A program that takes part through libtidemark alone writes and reads bytes of its own. With this
 * library it keeps its state under names, and what a snapshot holds can be restored at another
 * parallelism, looked into with sqlite3, and read after the program has changed.
 *
 *     tide_states_new(&config, &states, why);             the states of one task
 *     tide_states_declare(states, "totals", TIDE_VALUE, &schema, &totals);
 *     in the restore callback:     return tide_states_restore(states, restore);
 *     while it runs:               tide_value_put(totals, word, len, &n, sizeof n);
 *     in the snapshot callback:    return tide_states_snapshot(states, snapshot);
 *
 * A snapshot freezes the states, which takes no time to speak of; a thread of the library's writes
 * what was frozen while the task goes on. What it writes is described in docs/state-format.md.
 *
 * One thread at a time for the states of a task. All functions return 0 or a negative code
 * (tide_strerror); tide_states_error() has a sentence. None exits, aborts or prints. */
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

/* ---- the states of a task */

struct tide_states;
struct tide_named; /* one of them */

enum tide_states_kind {
    /* Keyed: under each key, in the task that owns the key. */
    TIDE_VALUE = 1, /* bytes */
    TIDE_LIST = 2,  /* a list */
    TIDE_MAP = 3,   /* a map */
    /* The task's own, without keys. */
    TIDE_SPLIT = 4,    /* a list; at another parallelism, all lists are dealt out evenly */
    TIDE_UNION = 5,    /* a list; every task restores the lists of all */
    TIDE_BROADCAST = 6 /* a map, the same in every task, which restores one of the copies */
};

/* What the bytes of a state's values mean, so that a later program knows whether it can read them.
 * Keys have no schema: they cannot change. */
struct tide_schema {
    const char *id;   /* 1 to 255 bytes of UTF-8: another id is another type */
    uint32_t version; /* of what this program writes */
    /* Values of the versions from this one to `version` are read as they are; 0: of `version`
     * alone. */
    uint32_t reads_from;
    /* For values of other versions: makes one of `version`, malloc'ed, which the library frees.
     * Another answer than 0 fails the restore. NULL: they are incompatible. */
    int (*migrate)(uint32_t version, const void *value, size_t len, void **ret_value,
                   size_t *ret_len, void *user);
    void *user;
    /* Values that are protobuf messages: the full name of their type, and a FileDescriptorSet that
     * has it (protoc --include_imports --descriptor_set_out), of at most
     * TIDE_STATES_DESCRIPTOR_MAX bytes; copied. When a snapshot's values have one as well, and
     * `migrate` is not asked for because of the version, protobuf's rules decide whether they are
     * compatible: docs/state-format.md. NULL: other values. */
    const char *message;
    const void *descriptor;
    size_t descriptor_len;
};

struct tide_states_config {
    const char *uid; /* of the operator */
    uint32_t subtask, parallelism;
    uint32_t max_parallelism; /* 0: the default for the parallelism, or what a snapshot has */
    bool drop_unmatched;      /* states of a snapshot that are not declared are dropped */
    /* Where keyed states live while the task runs: "memory" (NULL), or "rocksdb", for more than
     * fits there, in a directory of the task's own, made when it is not there. The library keeps
     * what it likes in it; nothing in it need last when the process has ended. States without keys
     * are always in memory. */
    const char *backend, *directory;
};

/* 0 and *ret; TIDE_EINVAL (what is wrong in why), TIDE_ENOMEM, TIDE_ENOTSUP (config has what a
 * newer header knows and this library does not; there is no such backend, it wants a directory, or
 * the library was built without it). */
TIDE_API int tide_states_new_sized(const struct tide_states_config *config, size_t size,
                                   struct tide_states **ret, char why[256]);
static inline int tide_states_new(const struct tide_states_config *config, struct tide_states **ret,
                                  char why[256])
{
    return tide_states_new_sized(config, sizeof *config, ret, why);
}
/* Gives up snapshots that are being written, and waits for that: before tide_worker_free(). NULL is
 * fine. */
TIDE_API void tide_states_free(struct tide_states *s);
/* A sentence about the last failure; valid until the next call. Never NULL. */
TIDE_API const char *tide_states_error(const struct tide_states *s);

/* The max parallelism that keys are cut by: after a restore, the snapshot's. */
TIDE_API uint32_t tide_states_max_parallelism(const struct tide_states *s);

/* Declares a state, before the first one is used or restored. name: 1 to 255 bytes of UTF-8. schema
 * is copied, but for user; NULL: bytes that no library need understand. TIDE_EEXIST: declared
 * already; TIDE_ESTATE: too late. */
TIDE_API int tide_states_declare_sized(struct tide_states *s, const char *name,
                                       enum tide_states_kind kind, const struct tide_schema *schema,
                                       size_t size, struct tide_named **ret);
static inline int tide_states_declare(struct tide_states *s, const char *name,
                                      enum tide_states_kind kind, const struct tide_schema *schema,
                                      struct tide_named **ret)
{
    return tide_states_declare_sized(s, name, kind, schema, sizeof *schema, ret);
}

/* ---- using them
 *
 * Keys, values and the names of a map's items are bytes, of any length up to TIDE_STATES_BYTES_MAX,
 * also 0. A key must be one of the task's own: TIDE_EINVAL otherwise, and for a state of another
 * kind. Without keys (TIDE_SPLIT, TIDE_UNION, TIDE_BROADCAST) key is NULL and key_len 0. What is
 * returned is a view that dies with the next call about any state of the task; what a visitor is
 * given lives until it returns. */
#define TIDE_STATES_BYTES_MAX (256u << 20)
#define TIDE_STATES_DESCRIPTOR_MAX (1u << 20)

/* TIDE_VALUE. TIDE_ENOTFOUND: the key has none. */
TIDE_API int tide_value_get(struct tide_named *n, const void *key, size_t key_len,
                            const void **ret_value, size_t *ret_len);
TIDE_API int tide_value_put(struct tide_named *n, const void *key, size_t key_len,
                            const void *value, size_t len);
TIDE_API int tide_value_remove(struct tide_named *n, const void *key, size_t key_len);

/* TIDE_LIST, TIDE_SPLIT, TIDE_UNION. A key has a list as long as the list is not empty. */
TIDE_API int tide_list_add(struct tide_named *n, const void *key, size_t key_len, const void *value,
                           size_t len);
TIDE_API uint64_t tide_list_count(struct tide_named *n, const void *key, size_t key_len);
/* TIDE_ENOTFOUND: position is not below the count. */
TIDE_API int tide_list_get(struct tide_named *n, const void *key, size_t key_len, uint64_t position,
                           const void **ret_value, size_t *ret_len);
TIDE_API int tide_list_clear(struct tide_named *n, const void *key, size_t key_len);

/* TIDE_MAP, TIDE_BROADCAST. */
TIDE_API int tide_map_put(struct tide_named *n, const void *key, size_t key_len, const void *item,
                          size_t item_len, const void *value, size_t len);
TIDE_API int tide_map_get(struct tide_named *n, const void *key, size_t key_len, const void *item,
                          size_t item_len, const void **ret_value, size_t *ret_len);
TIDE_API int tide_map_remove(struct tide_named *n, const void *key, size_t key_len,
                             const void *item, size_t item_len);
TIDE_API uint64_t tide_map_count(struct tide_named *n, const void *key, size_t key_len);
TIDE_API int tide_map_clear(struct tide_named *n, const void *key, size_t key_len);
/* Calls f for each item, in no order, until it returns something other than 0, which is the answer.
 * Nothing may be changed meanwhile. */
TIDE_API int tide_map_each(struct tide_named *n, const void *key, size_t key_len,
                           int (*f)(const void *item, size_t item_len, const void *value,
                                    size_t len, void *user),
                           void *user);

/* The keys of a keyed state, in the same way. */
TIDE_API int tide_keys_each(struct tide_named *n,
                            int (*f)(const void *key, size_t key_len, void *user), void *user);

/* ---- records in flight
 *
 * In an unaligned round (tide_task_record() of libtidemark) records become part of the snapshot.
 * libtidemark keeps them as bytes of a channel, which can only come back to the same channel. A
 * task that says what its channels carry has them kept as records, each with its key and its
 * schema: they are restored at any parallelism, after the partitioning has changed, migrated like
 * state, and read offline.
 *
 *     tide_states_flow(states, "words", &flow, &words);   which channels, and how they are routed
 *     tide_states_keep_flights(states, task);             after tide_worker_add_task()
 *     in the run callback, before any channel is read:
 *         while (tide_flow_next(words, &record) == 0) ...
 */
#define TIDE_FLOW_CHANNELS_MAX 65536u
enum tide_flow_route {                         /* which task a record goes to */
                       TIDE_FLOW_KEYED = 1,    /* the one that owns its key */
                       TIDE_FLOW_SPLIT = 2,    /* any one: forward, rebalance */
                       TIDE_FLOW_BROADCAST = 3 /* all */
};
struct tide_flow;
struct tide_flow_config {
    enum tide_flight direction; /* of whose records it is: of inputs, or of outputs */
    enum tide_flow_route route;
    uint32_t first_channel, channels; /* as the program numbers them; of outputs, one per task that
                                         reads, in the order of their subtasks */
    /* TIDE_FLOW_KEYED: the key of a record, a view into it or static. Another answer than 0 fails
     * the round, or the restore. Perhaps on a thread of the library's. */
    int (*key)(const void *record, size_t len, const void **ret_key, size_t *ret_len, void *user);
    void *user;
    /* Of outputs that are keyed: the max parallelism of the operator that reads; 0: the default
     * for as many tasks as there are channels, or what a snapshot has. */
    uint32_t max_parallelism;
    const char *peer; /* uid of the operator at the other end, for whoever reads a snapshot; NULL */
    const struct tide_schema *schema; /* of the records; copied like a state's. NULL: bytes */
};
/* Declares a flow, before the first state is used or restored. TIDE_EEXIST, TIDE_ESTATE as
 * tide_states_declare(); TIDE_EINVAL: channels that another one has, or what cannot be. */
TIDE_API int tide_states_flow_sized(struct tide_states *s, const char *name,
                                    const struct tide_flow_config *config, size_t size,
                                    struct tide_flow **ret);
static inline int tide_states_flow(struct tide_states *s, const char *name,
                                   const struct tide_flow_config *config, struct tide_flow **ret)
{
    return tide_states_flow_sized(s, name, config, sizeof *config, ret);
}
/* From now on the task's records in flight are kept here. All its channels that can have some are
 * declared: a record of another one declines the round. Before the first process(). */
TIDE_API int tide_states_keep_flights(struct tide_states *s, struct tide_task *task);

struct tide_flow_record {
    const void *data; /* of the schema's version that the program writes */
    size_t len;
    uint32_t channel; /* by this program's routing: of an output where it goes, of an input where it
                         counts as come from */
    uint32_t had_subtask, had_channel; /* where it was */
};
/* After a restore: the next record that this task is to have, in order for each channel that there
 * was; each record of the snapshot is had by one task, of a broadcast by each one once.
 * TIDE_ENOTFOUND: there is none any more. A view until the next call. Those of inputs are
 * processed, those of outputs put out, before anything is read from a channel; then no round meets
 * them. Whoever queues them instead hands them to rounds like any record in that queue. */
TIDE_API int tide_flow_next(struct tide_flow *f, struct tide_flow_record *ret);

/* ---- snapshots */

/* An operator with a union says so in the job's spec, by tide_spec_union_state(): otherwise the
 * daemon hands each task its own lists alone, and a union of several tasks is refused
 * (TIDE_EREFUSED).
 *
 * For the restore callback, whose answer is that of this function: the states become those of the
 * snapshot, or, if there is none, empty. At another parallelism, or with another operator's range
 * of keys, the task gets its part of what all tasks had. What was there before is dropped, and if
 * it fails nothing is there: TIDE_ECORRUPT (a database is damaged), TIDE_EVERSION (written by a
 * newer library), TIDE_EREFUSED (state that is not declared, of another kind, or whose schema is
 * incompatible; a max parallelism that does not fit), TIDE_ENOTSUP, TIDE_ENOMEM, TIDE_EIO. The
 * callback says why with tide_task_fail_reason(task, tide_states_error(states)): the daemon and its
 * admins have only the code otherwise. */
TIDE_API int tide_states_restore(struct tide_states *s, const struct tide_restore *r);
/* The same from databases by their paths: those of all tasks that the operator had, in any order.
 * Nothing compares their digests. */
TIDE_API int tide_states_restore_files(struct tide_states *s, const char *const *paths, uint32_t n);

/* The same from a savepoint's directory, wherever it lies, by its _metadata: what the operator had
 * there, with all digests compared. For a job that is not the one the savepoint is of, and begins
 * afresh: the daemon does not know. TIDE_ENOTFOUND: there is nothing of the operator. */
TIDE_API int tide_states_restore_directory(struct tide_states *s, const char *directory);

/* For the snapshot callback, whose answer is that of this function: TIDE_EAGAIN. Everything as of
 * now is written by a thread of the library's, which ends with tide_snapshot_done(): a savepoint
 * as databases, a checkpoint as files of the backend's own, if it has such. The program may have
 * begun artifacts of its own before, with names that do not begin with "state.". */
TIDE_API int tide_states_snapshot(struct tide_states *s, struct tide_snapshot *snapshot);
/* Writes everything as of now to a file that is not there: the keyed states, or the others.
 * TIDE_EEXIST, TIDE_EIO, TIDE_ENOSPC, TIDE_ENOMEM: then there is no file. */
TIDE_API int tide_states_save(struct tide_states *s, const char *path, bool keyed);

#ifdef __cplusplus
}
#endif
#endif

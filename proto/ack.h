/* The AckBatch on the wire: written by the client, walked by the daemon and by readers of
 * manifests, without an object per ack.
 *
 * tide_acks_open() checks everything that can be checked without knowing the job: structure,
 * columns of equal length, counts that add up, lengths of full entries, sizes that add up to less
 * than 2^64, paths that stay in their directory, keys of shared files, inline bytes as long as
 * their size says. After it has succeeded tide_acks_next() cannot fail. Unknown fields are skipped.
 */
#ifndef TIDE_ACK_H
#define TIDE_ACK_H

#include "proto/bytes.h"

#define TIDE_ARTIFACTS_PER_ACK_MAX 65536u
#define TIDE_HANDLE_MAX (64u << 10)
#define TIDE_ARTIFACT_PATH_MAX 1024u /* bytes of an explicit path */
#define TIDE_ARTIFACT_NAME_MAX 1024u
/* Names of libtidemark-state's artifacts: keyed states, with their key groups; and the others,
 * without, of which every task of the operator takes its part if it is given those of all; and
 * records in flight, of which the same holds. */
#define TIDE_ARTIFACT_KEYED "state.keyed"
#define TIDE_ARTIFACT_OWN "state.own"
#define TIDE_ARTIFACT_NATIVE "state.native"
#define TIDE_ARTIFACT_FLIGHT "state.flight"

struct tide_artifact_view {
    uint64_t size, digest_low, digest_high;
    struct tide_bytes path;    /* empty: derived, t<task>-<index>, unless inline */
    struct tide_bytes inlined; /* valid when is_inline */
    bool is_inline;
    struct tide_bytes name;
    uint32_t key_group_first, key_group_count;
    uint32_t flight, channel; /* flight: a Flight; not 0: in-flight records of that channel */
    uint32_t shared;          /* a Shared; not 0: path is its key, see proto/shared.h */
};

struct tide_ack_view {
    uint32_t task, align_us, sync_us, async_us;
    uint32_t artifacts; /* number of them */
    uint64_t bytes;     /* their sizes added up (wraps never: checked) */
    bool full;          /* came as a TaskAck; then what follows may be other than 0 */
    bool unaligned, finished_operator;
    uint32_t start_delay_us;
    uint64_t processed_bytes, persisted_bytes;
    bool has_handle;
    struct tide_bytes handle;
    struct tide_bytes message; /* full: the TaskAck's bytes */
    /* where the artifacts begin, for tide_acks_artifact() */
    const uint8_t *sizes, *lows, *highs;
};

/* A reader's place; what stands below `columns` is private to ack.c. */
struct tide_acks {
    uint64_t attempt, round;
    uint64_t bytes, artifacts; /* of all entries: sizes added up, and how many */
    uint64_t shared;           /* how many of them are shared */
    uint32_t entries;          /* columns and full ones together */
    bool run;                  /* the tasks are first, first + 1, ... and no entry is full */
    uint32_t first;
    uint32_t columns, done;
    const uint8_t *task, *align, *sync, *async, *count, *size, *low, *high; /* cursors */
    struct tide_bytes body;                                                 /* the whole message */
    size_t full_at; /* where to look for the next full entry */
};

/* body: the AckBatch message (not the frame). 0, or TIDE_EPROTO with a sentence in why. The columns
 * must each come in one packed field: more than one is refused by name. */
int tide_acks_open(struct tide_acks *r, struct tide_bytes body, char why[static 160]);
/* The next entry; false at the end. Column entries come first, then full ones. */
bool tide_acks_next(struct tide_acks *r, struct tide_ack_view *ret);
/* The same, but no more of it than who has acked, what is to be committed and what was in flight:
 * two bytes or three are read of an entry of columns instead of thirty. */
struct tide_ack_task {
    uint32_t task, align_us; /* align_us: of full entries alone */
    bool has_handle, unaligned, finished_operator;
    struct tide_bytes handle;
    uint64_t processed_bytes, persisted_bytes;
};
bool tide_acks_next_task(struct tide_acks *r, struct tide_ack_task *ret);
/* The largest align_us of the entries of columns that are still to be walked. */
uint32_t tide_acks_align_most(const struct tide_acks *r);
/* Walks the artifacts of one entry: start with a zeroed place, false at the end. */
struct tide_artifact_place {
    uint32_t index;
    size_t at;
    const uint8_t *sizes;
};
bool tide_acks_artifact(const struct tide_ack_view *ack, struct tide_artifact_place *place,
                        struct tide_artifact_view *ret);
/* "t<task>-<index>" into path; returns its length. */
size_t tide_artifact_path(char path[static 32], uint32_t task, uint32_t index);

/* Building a batch. add_plain is for acks whose artifacts all have derived paths, no name, no key
 * groups and no handle; add_full takes a packed TaskAck. */
struct tide_ack_builder {
    struct tide_buf columns[8]; /* task, align, sync, async, artifacts, size, low, high */
    struct tide_buf full;
    uint32_t entries;
};
void tide_ack_builder_init(struct tide_ack_builder *b, size_t max);
void tide_ack_builder_release(struct tide_ack_builder *b);
void tide_ack_builder_clear(struct tide_ack_builder *b);
struct tide_ack_file {
    uint64_t size, digest_low, digest_high;
};
void tide_ack_builder_add(struct tide_ack_builder *b, uint32_t task, uint32_t align_us,
                          uint32_t sync_us, uint32_t async_us, const struct tide_ack_file *files,
                          uint32_t n);
void tide_ack_builder_add_full(struct tide_ack_builder *b, struct tide_bytes task_ack);
/* Appends the AckBatch message to out (no frame header); a failure of any part sticks in out->rc.
 */
void tide_ack_builder_put(const struct tide_ack_builder *b, uint64_t attempt, uint64_t round,
                          struct tide_buf *out);
/* The same as a frame: FromWorker{ack}. */
void tide_ack_builder_put_frame(const struct tide_ack_builder *b, uint64_t attempt, uint64_t round,
                                struct tide_buf *out);

#endif

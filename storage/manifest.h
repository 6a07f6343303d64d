/* Manifests: the self-describing, checksummed list of a snapshot's artifacts.
 *
 * The layout is the same in the database (joined from its parts) and in a `_metadata` file:
 *
 *   8 bytes   magic "TIDEMETA"
 *   4 bytes   version, little-endian: 1
 *   4 bytes   length of the head, little-endian
 *   ...       the head: a packed ManifestHead
 *   8 bytes   length of the acks, little-endian
 *   ...       the acks: per batch 4 bytes length, little-endian, and an AckBatch message
 *   16 bytes  XXH3-128 of everything before, low half first, little-endian
 *
 * Pure: no I/O. A chunk is a run of whole (length, AckBatch) entries, as the daemon received
 * them; chunks follow each other without anything between. */
#ifndef TIDE_MANIFEST_H
#define TIDE_MANIFEST_H

#include "proto/ack.h"
#include "proto/arena.h"
#include "proto/manifest.pb-c.h"

#define TIDE_MANIFEST_VERSION 1u
#define TIDE_MANIFEST_HEAD_MAX ((size_t)32 << 20)
/* More than the acks that a round can hold in memory, and its head: what the daemon reads at most.
 */
#define TIDE_MANIFEST_MAX ((size_t)1200 << 20)

/* Appends the whole image to out. */
void tide_manifest_put(struct tide_buf *out, struct tide_bytes head,
                       const struct tide_bytes *chunks, size_t n_chunks);

/* Appends what is before the acks only: acks_len is the length of all chunks. */
void tide_manifest_put_front(struct tide_buf *out, struct tide_bytes head, uint64_t acks_len);
/* The digest and the length that tide_manifest_put() would give the image, without building it: the
 * store keeps them beside the parts. */
void tide_manifest_digest(struct tide_bytes head, const struct tide_bytes *chunks, size_t n_chunks,
                          uint8_t ret_digest[static 16], uint64_t *ret_len);

struct tide_manifest {
    struct tide_arena arena;
    Tide__ManifestHead *head;
    struct tide_bytes acks;
    struct tide_bytes image; /* borrowed from the caller of open */
};

/* Checks magic, version, lengths, digest, that every batch is well formed and of this round, and
 * that each task stands in it once. The image is borrowed until close. 0, TIDE_EVERSION,
 * TIDE_ECORRUPT, TIDE_ENOMEM; why says what is wrong and where. */
int tide_manifest_open(struct tide_manifest *m, struct tide_bytes image, char why[static 256]);
void tide_manifest_close(struct tide_manifest *m);

/* Walks all acks, batch by batch, in stored order. Start with a zeroed walk; false at the end. */
struct tide_manifest_walk {
    size_t at;
    struct tide_acks acks;
    bool open;
};
bool tide_manifest_next(const struct tide_manifest *m, struct tide_manifest_walk *w,
                        struct tide_ack_view *ret);

#endif

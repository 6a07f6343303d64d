/* The journal: where a commit becomes durable, with one flush over blocks that were written before.
 * The database follows it.
 *
 * Two files, journal.0 and journal.1, are filled in turn. An entry is one group of commits:
 *
 *   8 bytes   magic "TIDEJRNL"
 *   4 bytes   version, little-endian as all here: 1
 *   4 bytes   zero
 *   16 bytes  the store's id
 *   8 bytes   sequence: one more than that of the entry before
 *   8 bytes   length of the records
 *   8 bytes   length of the bulk
 *   16 bytes  digest of the entry before
 *   16 bytes  digest: XXH3-128 of everything before, the records and the bulk, low half first
 *   ...       the records, packed (record_pack.h)
 *   ...       the bulk: the chunks of the snapshots among them
 *   ...       zeros up to a multiple of 4096, so that no write touches a block of another entry
 *
 * A file holds a chain: entries from its start, each numbered one above the one before, whose
 * digest it has; what follows the chain is left from before, or torn. So a journal continues one
 * history, and no other one that had come as far. Place is used again only when the database has
 * all that stands there, durably. */
#ifndef TIDE_JOURNAL_H
#define TIDE_JOURNAL_H

#include "storage/record.h"

struct tide_journal;

struct tide_journal_mark { /* an entry; zeros: before the first */
    uint64_t sequence;
    uint8_t digest[16];
};

struct tide_journal_place { /* of bytes in the bulk of an entry */
    int file;
    uint64_t at;
};

/* Opens or creates the two files in directory. 0, TIDE_EIO, TIDE_ENOSPC, TIDE_ENOMEM and why. */
int tide_journal_open(const char *directory, struct tide_journal **ret, char why[static 512]);
void tide_journal_close(struct tide_journal *j); /* NULL is fine */

/* Hands every entry behind `above` to take(), in order, with the place of its bulk; the commits
 * stay the journal's. Only entries of this store that continue `above` without a gap are believed:
 * TIDE_ECORRUPT otherwise, and why. take() returns 0 or an error that ends the replay and is
 * returned (why is then take()'s); after TIDE_EREFUSED of the very last one
 * that is taken out of the journal, why stays, and the replay ends well. Finds the ends of both
 * files anew: after an error nothing must be appended before a replay has succeeded. */
typedef int tide_journal_take(void *user, const struct tide_journal_mark *entry,
                              struct tide_journal_place bulk, struct tide_commit *list,
                              char why[static 512]);
int tide_journal_replay(struct tide_journal *j, tide_id store, struct tide_journal_mark above,
                        tide_journal_take *take, void *user, char why[static 512]);

/* From here on entries are appended behind `last`; all up to there is durable elsewhere. Each file
 * gets at least prime bytes of written blocks, if there is room. 0, TIDE_EIO, or TIDE_ENOMEM (also
 * for want of a thread). */
int tide_journal_start(struct tide_journal *j, tide_id store, struct tide_journal_mark last,
                       uint64_t prime);

/* Begins to append the commits from first up to, not including, past, and to flush: on a thread of
 * its own, so that the caller may check meanwhile whether they can be applied. They stay as they
 * are until tide_journal_end(), which must follow. TIDE_ENOSPC, TIDE_ENOMEM, TIDE_ETOOBIG,
 * TIDE_ECORRUPT (a number that the journal cannot hold): not begun, the journal is as before. */
int tide_journal_begin(struct tide_journal *j, const struct tide_commit *first,
                       const struct tide_commit *past);
/* keep: 0: durable, *ret is where the bulk begins. TIDE_ENOSPC: nothing was written that counts,
 * the journal is as before. Not keep: 0 or TIDE_ENOSPC: the entry was taken back, durably, as if it
 * had never been begun. TIDE_EIO, either way, with errno: in doubt, never append again. */
int tide_journal_end(struct tide_journal *j, bool keep, struct tide_journal_place *ret);
struct tide_journal_mark tide_journal_last(const struct tide_journal *j);
/* Reads bytes of the bulk of an entry whose place is not free yet. 0 or TIDE_EIO. */
int tide_journal_read(const struct tide_journal *j, struct tide_journal_place place, void *data,
                      size_t len);

/* All entries up to sequence are durable in the database: their place may be used again. */
void tide_journal_release(struct tide_journal *j, uint64_t sequence);
/* True when the file in use is full and the other one is not free: the database should catch up
 * before more is appended. */
bool tide_journal_tight(const struct tide_journal *j);

#endif

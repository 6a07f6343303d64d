/* A transaction of the database, and what applies records within one. Internal to storage/.
 *
 * The first failure sticks: after it everything here does nothing, until the end rolls back. */
#ifndef TIDE_APPLY_H
#define TIDE_APPLY_H

#include "storage/db.h"
#include "storage/journal.h"

/* A large manifest whose chunks are in the journal, and not in the database yet. */
struct tide_bulk {
    uint64_t round;
    struct tide_journal_place place; /* of the first chunk that is not done */
    uint32_t n, done;                /* chunks, in all and in the database */
    size_t *lens;                    /* malloc'ed: of the n chunks, one behind the other */
};

struct tide_txn {
    struct tide_store *s;
    int rc;          /* SQLite's, of the first failure */
    bool fenced;     /* the store is another incarnation's */
    bool ended;      /* the failure was in COMMIT */
    char error[200]; /* of that failure */
};

/* Begins a transaction, or goes on in the one that is open. */
void tide_txn_begin(struct tide_txn *t, struct tide_store *s);
__attribute__((format(printf, 3, 4))) void tide_txn_fail(struct tide_txn *t, int rc,
                                                         const char *format, ...);
/* Writes bulk, about so many bytes of it. */
void tide_txn_bulk(struct tide_txn *t, size_t bytes);
/* Writes what is left of the bulk, records how far the journal has been followed, and commits; or
 * rolls back, if anything failed. */
enum tide_outcome tide_txn_end(struct tide_txn *t);
/* Takes back all since the last commit. */
void tide_txn_rollback(struct tide_store *s);
enum tide_outcome tide_txn_outcome(const struct tide_txn *t); /* what t->rc means */

/* The one place where records become rows. */
void tide_apply(struct tide_txn *t, const struct tide_commit *c);
/* Constraints that the database would look at only when it commits. */
void tide_apply_check(struct tide_txn *t);

int tide_apply_prepare(struct tide_store *s, char why[static 512]); /* 0 or an SQLite code */
void tide_apply_close(struct tide_store *s);
/* The store's id and how far it has followed the journal; zeros for a new one. An SQLite code. */
int tide_apply_identity(struct tide_store *s);
/* Mints this start's incarnation. An SQLite code. */
int tide_apply_incarnation(struct tide_store *s, uint64_t now_wall, tide_id new_store_id);
/* Frees the manifest of one deleted snapshot, if there is one. An SQLite code. */
int tide_apply_purge(struct tide_store *s);

#endif

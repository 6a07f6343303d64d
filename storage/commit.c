/* Commits: durable in the journal, then in the database.
 *
 * The usual way of a group: the journal begins to append it, the one flush; meanwhile its records
 * are applied within the open transaction, which checks them; both went well: it is stored. The
 * transaction stays
 * open for the next group and is committed when somebody wants to read, when nothing else is to do,
 * or when it has been open long enough. So the database always is what the journal was at some
 * entry, store.applied, and lacks only what the journal still has.
 *
 * What can go wrong:
 * - a record is refused, no room in the database or the journal -> the entry is taken out of the
 *   journal, the transaction is rolled back, the database follows the journal again, and each
 *   commit of the group is tried alone
 * - no room for the database -> the journal is used up first, then: no space
 * - the journal's flush fails, or the database fails otherwise -> unknown, and nothing is written
 * any more by this process */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/err.h"
#include "storage/apply.h"
#include "storage/store.h"

#define PAGE 16384
#define SLICE ((size_t)4 << 20)        /* of bulk, in one step of maintain */
#define WAL_MOST ((8 << 20) / PAGE)    /* frames; with more, maintain writes the WAL back */
#define WAL_LIMIT ((256 << 20) / PAGE) /* with more, the next commit does so before it begins */

/* ---- following the journal */

static bool is_behind(const struct tide_store *s)
{
    return s->applied.sequence < tide_journal_last(s->journal).sequence;
}

/* Where the chunks that stayed behind are now. */
static void place_bulk(struct tide_store *s, const struct tide_commit *first,
                       const struct tide_commit *past, struct tide_journal_place place)
{
    for (const struct tide_commit *c = first; c != past; c = c->next)
        for (const struct tide_record *r = c->first; r; r = r->next) {
            if (r->type != TIDE_REC_SNAPSHOT) continue;
            for (size_t i = s->n_bulk; i-- > 0;)
                if (s->bulk[i].round == r->snapshot.round) s->bulk[i].place = place;
            for (uint32_t i = 0; i < r->snapshot.n_chunks; i++)
                place.at += r->snapshot.chunks[i].len;
        }
}

static bool is_busy(int rc)
{
    return (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED;
}

static int take(void *user, const struct tide_journal_mark *entry, struct tide_journal_place bulk,
                struct tide_commit *list, char why[static 512])
{
    struct tide_txn *t = user;
    for (const struct tide_commit *c = list; c; c = c->next)
        tide_apply(t, c);
    tide_apply_check(t);
    if (t->rc) {
        /* Being taken back when the process ended? Only if the same tables refuse it at a start. */
        bool refused = !t->s->incarnation && !t->s->migrated &&
                       tide_txn_outcome(t) == TIDE_REFUSED && !is_busy(t->rc);
        snprintf(why, 512,
                 "%.200s: entry %" PRIu64 " of the journal cannot be applied: %.150s; if a copy of "
                 "the database was put back, move journal.0 and journal.1 away",
                 t->s->path, entry->sequence, t->error);
        return refused ? TIDE_EREFUSED : TIDE_ECORRUPT;
    }
    place_bulk(t->s, list, NULL, bulk);
    t->s->applied = *entry;
    return 0;
}

/* Applies what the journal has and the open transaction has not. */
static enum tide_outcome follow(struct tide_store *s, bool *ret_fenced, char why[static 512])
{
    struct tide_txn t;
    why[0] = '\0';
    tide_txn_begin(&t, s);
    if (!t.rc) {
        int rc = tide_journal_replay(s->journal, s->id, s->applied, take, &t, why);
        if (rc) tide_txn_fail(&t, rc == TIDE_ENOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT, "%.190s", why);
        if (!rc && t.rc) { /* refused, and taken out; a part of it was applied */
            snprintf(s->note, sizeof s->note,
                     "%.440s; nobody was told of it: taken out of the journal", why);
            tide_txn_rollback(s);
            return s->dead ? TIDE_UNKNOWN : follow(s, ret_fenced, why);
        }
    }
    if (!t.rc && is_behind(s))
        tide_txn_fail(&t, SQLITE_CORRUPT, "its last entries cannot be read back");
    *ret_fenced = t.fenced;
    enum tide_outcome outcome = tide_txn_outcome(&t);
    if (outcome == TIDE_STORED) return outcome;
    tide_txn_rollback(s);
    if (!*why) snprintf(why, 512, "%.250s: cannot follow its journal: %s", s->path, t.error);
    /* What was stored once must be storable again: the database and the journal do not agree. */
    if (outcome == TIDE_REFUSED && !is_busy(t.rc) && !t.fenced) outcome = TIDE_UNKNOWN;
    if (outcome == TIDE_UNKNOWN) s->dead = true;
    return s->dead ? TIDE_UNKNOWN : outcome;
}

static int checkpoint(struct tide_store *s);

/* The same; where there is no room, again with the log written back, so that it need not grow. */
static enum tide_outcome catch_up(struct tide_store *s, bool *ret_fenced, char why[static 512])
{
    *ret_fenced = false;
    if (!is_behind(s)) return TIDE_STORED;
    enum tide_outcome outcome = follow(s, ret_fenced, why);
    if (outcome != TIDE_NO_SPACE || checkpoint(s)) return outcome;
    return follow(s, ret_fenced, why);
}

static enum tide_outcome settle(struct tide_store *s, bool *ret_fenced, char why[static 512])
{
    struct tide_txn t;
    enum tide_outcome outcome = catch_up(s, ret_fenced, why);
    if (outcome != TIDE_STORED || !s->open) return outcome;
    tide_txn_begin(&t, s);
    outcome = tide_txn_end(&t);
    if (outcome != TIDE_STORED) snprintf(why, 512, "%.250s: %s", s->path, t.error);
    return outcome;
}

enum tide_outcome tide_store_follow(struct tide_store *s, char why[static 512])
{
    bool fenced;
    enum tide_outcome outcome = follow(s, &fenced, why);
    return outcome == TIDE_STORED ? settle(s, &fenced, why) : outcome;
}

int tide_store_settle(struct tide_store *s)
{
    char why[512];
    bool fenced;
    if (s->dead) return TIDE_EIO;
    enum tide_outcome outcome = settle(s, &fenced, why);
    if (outcome == TIDE_NO_SPACE && !checkpoint(s)) outcome = settle(s, &fenced, why);
    if (fenced || s->dead) return TIDE_EIO;
    return outcome == TIDE_STORED ? 0 : outcome == TIDE_UNKNOWN ? TIDE_EIO : TIDE_ENOSPC;
}

static int checkpoint(struct tide_store *s)
{
    int all = -1, done = -2;
    int rc = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_PASSIVE, &all, &done);
    switch (rc & 0xff) {
    case SQLITE_OK:
        if (all != done) return 0; /* a reader is in the way: later */
        s->wal_frames = 0;
        tide_journal_release(s->journal, s->committed.sequence);
        return 0;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_NOMEM: return 0; /* the journal has it; later */
    default:
        if (rc == SQLITE_IOERR_NOMEM) return 0;
        s->dead = true;
        return TIDE_EIO;
    }
}

int tide_store_maintain(struct tide_store *s)
{
    struct tide_txn t;
    if (s->dead) return TIDE_EIO;
    if (s->n_bulk) {
        tide_txn_begin(&t, s);
        tide_txn_bulk(&t, SLICE);
        if (!t.rc) return 1;
        tide_txn_rollback(s); /* what follows judges */
    }
    int rc = tide_store_settle(s);
    if (rc) return rc == TIDE_EIO ? rc : 0;
    rc = s->unpurged ? tide_apply_purge(s) : 0;
    if (s->dead) return TIDE_EIO;
    if (!rc && s->unpurged) return 1;
    return rc || s->wal_frames > WAL_MOST || tide_journal_tight(s->journal) ? checkpoint(s) : 0;
}

/* The host calls maintain when idle. If it never is, neither log must grow for ever. */
static void keep_in_bounds(struct tide_store *s)
{
    if (s->wal_frames <= WAL_LIMIT && !tide_journal_tight(s->journal)) return;
    if (!tide_store_settle(s) && !s->dead) (void)checkpoint(s);
}

/* ---- commits */

static void journal_failed(struct tide_txn *t, int rc)
{
    switch (rc) {
    case 0: return;
    case TIDE_ENOSPC:
        tide_txn_fail(t, SQLITE_FULL, "%.120s: no room for the journal", t->s->path);
        return;
    case TIDE_ENOMEM: tide_txn_fail(t, SQLITE_NOMEM, "no memory for the journal"); return;
    case TIDE_ECORRUPT:
        tide_txn_fail(t, SQLITE_MISMATCH, "a record holds a number that the journal cannot");
        return;
    case TIDE_ETOOBIG: tide_txn_fail(t, SQLITE_TOOBIG, "too large for the journal"); return;
    default:
        t->rc = 0; /* whatever else failed: now it is in doubt */
        tide_txn_fail(t, SQLITE_IOERR_WRITE, "the journal of %.120s cannot be written: %s",
                      t->s->path, strerror(errno));
        return;
    }
}

/* Appended to the journal and applied, both at once. */
static void store_group(struct tide_txn *t, const struct tide_commit *first,
                        const struct tide_commit *past)
{
    struct tide_journal_place place;
    if (t->rc) return;
    int begun = tide_journal_begin(t->s->journal, first, past);
    for (const struct tide_commit *c = first; c != past; c = c->next)
        tide_apply(t, c);
    tide_apply_check(t);
    journal_failed(t, begun ? begun : tide_journal_end(t->s->journal, !t->rc, &place));
    if (t->rc) return;
    t->s->applied = tide_journal_last(t->s->journal);
    place_bulk(t->s, first, past, place);
}

static void set_outcome(struct tide_commit *first, const struct tide_commit *past,
                        enum tide_outcome outcome, bool fenced, const char *error)
{
    for (struct tide_commit *c = first; c != past; c = c->next) {
        c->outcome = outcome;
        c->fenced = fenced;
        snprintf(c->error, sizeof c->error, "%.*s", (int)sizeof c->error - 1, error);
    }
}

/* As one entry: from first up to, not including, past. */
static enum tide_outcome commit_group(struct tide_store *s, struct tide_commit *first,
                                      const struct tide_commit *past)
{
    struct tide_txn t;
    char why[512];
    bool fenced;
    enum tide_outcome outcome = catch_up(s, &fenced, why);
    if (outcome != TIDE_STORED) {
        set_outcome(first, past, outcome, fenced, why);
        return outcome;
    }
    tide_txn_begin(&t, s);
    store_group(&t, first, past);
    outcome = tide_txn_outcome(&t);
    if (outcome != TIDE_STORED) tide_txn_rollback(s);
    if (outcome == TIDE_UNKNOWN) s->dead = true;
    if (s->dead) outcome = TIDE_UNKNOWN;
    set_outcome(first, past, outcome, t.fenced, t.error);
    return outcome;
}

void tide_store_commit(struct tide_store *s, struct tide_commit *list)
{
    if (!list) return;
    if (!s->dead) keep_in_bounds(s);
    if (!s->dead) {
        enum tide_outcome outcome = commit_group(s, list, NULL);
        if (outcome == TIDE_STORED || outcome == TIDE_UNKNOWN || list->fenced || !list->next)
            return;
    }
    for (struct tide_commit *c = list; c; c = c->next)
        if (!s->dead)
            commit_group(s, c, c->next);
        else
            set_outcome(c, c->next, TIDE_UNKNOWN, false,
                        "an earlier write to the store ended in doubt");
}

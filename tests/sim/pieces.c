/* Files that several checkpoints of a job share: a program of tasks that keep some, the store's
 * rows of them, and the promise: what a retained snapshot refers to is there, everything else goes.
 *
 * Tasks of such a job have pieces beside their state, as an LSM tree has files. With each snapshot
 * some are dropped and one is new; the others are referred to if the session knows them, and
 * written again if it does not. */
#include "proto/shared.h"
#include "tests/sim/sim.h"

struct piece { /* a file; of a task: what it calls its own */
    struct piece *next;
    struct tide_bytes key;
    uint64_t digest;
};
struct d_piece { /* a row of the store */
    struct d_piece *next;
    struct tide_shared_file file;
    struct tide_bytes directory;
    enum tide_snapshot_state state;
    uint64_t first, last;
};

#define PIECES_KEPT 5u

static const char *text(struct sim *s, struct tide_bytes directory, struct tide_bytes key)
{
    char *path = sim_alloc(s, directory.len + key.len + 2);
    memcpy(path, directory.data, directory.len);
    path[directory.len] = '/';
    memcpy(path + directory.len + 1, key.data, key.len);
    return path;
}

/* ---- files; by their names in the round's directory */

static struct directory *round_of(struct sim *s, const char *path)
{
    return files_find(s, path, (size_t)(strrchr(path, '/') - path));
}

static const struct piece *piece_at(struct sim *s, const char *path)
{
    const struct directory *d = round_of(s, path);
    const struct tide_bytes name = tide_bytes_of(strrchr(path, '/') + 1);
    for (const struct piece *p = d && d->exists ? d->pieces : NULL; p; p = p->next)
        if (tide_bytes_equal(p->key, name)) return p;
    return NULL;
}

/* The list may be another's as well (a copy of the store): it is made anew without the piece. */
int pieces_delete(struct sim *s, const char *path)
{
    struct directory *d = round_of(s, path);
    const struct tide_bytes name = tide_bytes_of(strrchr(path, '/') + 1);
    if (!d || !d->exists) return 0;
    struct piece *kept = NULL;
    for (const struct piece *p = d->pieces; p; p = p->next) {
        if (tide_bytes_equal(p->key, name)) continue;
        struct piece *copy = sim_alloc(s, sizeof *copy);
        *copy = (struct piece){kept, p->key, p->digest};
        kept = copy;
    }
    d->pieces = kept;
    if (d->gone && !d->pieces && !d->files) d->exists = false;
    return 0;
}

static void write_piece(struct sim *s, struct tide_bytes directory, struct piece *of)
{
    struct directory *d = files_find(s, (const char *)directory.data, directory.len);
    struct piece *p = sim_alloc(s, sizeof *p);
    must(s, d && d->exists, "a piece is written where nothing is");
    *p = *of;
    while (memchr(p->key.data, '/', p->key.len)) {
        size_t front =
            (size_t)((const uint8_t *)memchr(p->key.data, '/', p->key.len) - p->key.data) + 1;
        p->key = (struct tide_bytes){p->key.data + front, p->key.len - front};
    }
    p->next = d->pieces;
    d->pieces = p;
}

/* ---- tasks */

static struct tide_artifact_view view_of(const struct job *j, const struct piece *p,
                                         uint32_t shared)
{
    return (struct tide_artifact_view){.size = 10,
                                       .digest_low = p->digest,
                                       .path = p->key,
                                       .shared = shared,
                                       .name = j->portable ? tide_bytes_of(TIDE_ARTIFACT_OWN)
                                                           : (struct tide_bytes){0}};
}

uint32_t pieces_put(struct sim *s, struct task *t, uint64_t round, struct tide_bytes directory,
                    struct tide_artifact_view *views)
{
    struct job *j = t->proc->job;
    struct piece **at = &t->pieces;
    uint32_t n = 0, index = 0;
    char key[TIDE_SHARED_KEY_SIZE];
    if (!j->pieces || !tide_shared_key(key, directory, 0, 0)) return 0;
    if (percent(s, 60) || !t->pieces) {
        struct piece *p = sim_alloc(s, sizeof *p);
        *p = (struct piece){.next = t->pieces, .digest = rnd(s)};
        t->pieces = p;
    }
    while (*at) {
        struct piece *p = *at;
        struct tide_artifact_view known;
        if (n == PIECES_KEPT || (n && percent(s, 15))) { /* merged into another */
            *at = p->next;
            continue;
        }
        at = &p->next;
        int rc = p->key.len
                     ? tide_session_share_find(t->proc->session, t->number, round, p->key, &known)
                     : TIDE_ENOTFOUND;
        must(s, rc == 0 || rc == TIDE_ENOTFOUND, "a session does not answer what it knows: %s",
             tide_strerror(rc));
        if (rc) {
            struct piece *again = sim_alloc(s, sizeof *again); /* its key was another's */
            size_t len = tide_shared_key(key, directory, t->number, index++);
            p->key = sim_bytes(s, (struct tide_bytes){(const uint8_t *)key, len});
            *again = *p;
            write_piece(s, directory, again);
            s->stats->pieces_new++;
        } else {
            must(s, known.digest_low == p->digest, "a session knows another piece by that key");
            s->stats->pieces_again++;
        }
        views[n++] = view_of(j, p, rc ? TIDE__SHARED__SHARED_NEW : TIDE__SHARED__SHARED_AGAIN);
    }
    return n;
}

bool pieces_restored(struct sim *s, struct task *t, const struct tide_delivery *d,
                     const Tide__Artifact *a)
{
    struct tide_bytes directory = {d->start->shared_directory.data, d->start->shared_directory.len};
    struct tide_bytes key = {a->path.data, a->path.len};
    const struct piece *file = piece_at(s, text(s, directory, key));
    if (!file && t->proc->stale) return false;
    must(s, file, "%s restores %.*s of snapshot %" PRIu64 ", and it is not there",
         task_name(t->proc->job, t->number), (int)key.len, (const char *)key.data,
         d->start->snapshot);
    must(s, file->digest == a->digest_low, "%s restores %.*s, and it is another",
         task_name(t->proc->job, t->number), (int)key.len, (const char *)key.data);
    struct piece *p = sim_alloc(s, sizeof *p);
    *p = (struct piece){t->pieces, sim_bytes(s, key), a->digest_low};
    t->pieces = p;
    return true;
}

/* ---- the store */

static struct d_piece *row_of(struct sim *s, struct job *j, struct tide_bytes key)
{
    struct d_piece *d = j->store.pieces;
    while (d && !tide_bytes_equal(d->file.key, key))
        d = d->next;
    must(s, d, "the store has no shared artifact %.*s", (int)key.len, (const char *)key.data);
    return d;
}

void pieces_changed(struct sim *s, struct job *j, const struct tide_record *r)
{
    for (uint32_t i = 0; i < r->shared.n_added; i++) {
        struct d_piece *d = sim_alloc(s, sizeof *d);
        *d = (struct d_piece){.next = j->store.pieces,
                              .file = r->shared.added[i],
                              .directory = sim_bytes(s, r->shared.directory),
                              .state = TIDE_RETAINED,
                              .first = r->shared.round};
        d->file.key = sim_bytes(s, d->file.key);
        for (const struct d_piece *o = j->store.pieces; o; o = o->next)
            must(s, !tide_bytes_equal(o->file.key, d->file.key), "%.*s is inserted twice",
                 (int)d->file.key.len, (const char *)d->file.key.data);
        j->store.pieces = d;
    }
    for (uint32_t i = 0; i < r->shared.n_left; i++) {
        struct d_piece *d = row_of(s, j, r->shared.left[i]);
        must(s, !d->last && r->shared.before >= d->first,
             "a shared artifact is left that was not "
             "used");
        d->last = r->shared.before;
    }
    for (uint32_t i = 0; i < r->shared.n_again; i++) {
        struct d_piece *d = row_of(s, j, r->shared.again[i]);
        must(s, d->last && d->state == TIDE_RETAINED, "a shared artifact is used again that is %s",
             tide_snapshot_state_name(d->state));
        d->last = 0;
    }
}

void pieces_moved(struct sim *s, struct job *j, const struct tide_record *r)
{
    for (uint32_t i = 0; i < r->shared_state.n_keys; i++) {
        struct d_piece *d = row_of(s, j, r->shared_state.keys[i]);
        must(s, r->shared_state.state == d->state + 1u, "a shared artifact goes from %s to %s",
             tide_snapshot_state_name(d->state), tide_snapshot_state_name(r->shared_state.state));
        d->state = r->shared_state.state;
    }
}

void pieces_catalog(struct sim *s, const struct job_store *st, struct tide_catalog_job *j)
{
    for (const struct d_piece *d = st->pieces; d; d = d->next)
        j->n_shared += d->state != TIDE_DELETED;
    j->shared = sim_alloc(s, (j->n_shared + 1) * sizeof *j->shared);
    uint32_t n = j->n_shared;
    for (const struct d_piece *d = st->pieces; d; d = d->next)
        if (d->state != TIDE_DELETED)
            j->shared[--n] =
                (struct tide_catalog_shared){d->file, d->directory, d->state, d->first, d->last};
}

void pieces_copy(struct sim *s, struct job_store *st)
{
    for (struct d_piece **p = &st->pieces; *p; p = &(*p)->next)
        *p = memcpy(sim_alloc(s, sizeof **p), *p, sizeof **p);
}

/* ---- the promise */

void pieces_of_snapshot(struct sim *s, struct d_snapshot *d, const struct tide_artifact_view *a,
                        bool full)
{
    struct piece *p = sim_alloc(s, sizeof *p);
    const char *path = text(s, tide_shared_directory(d->directory), a->path);
    const struct piece *file = piece_at(s, path);
    must(s, d->kind == TIDE_CHECKPOINT, "savepoint %" PRIu64 " refers to %s", d->round, path);
    must(s, file, "snapshot %" PRIu64 " refers to %s, and it is not there", d->round, path);
    must(s, file->digest == a->digest_low, "snapshot %" PRIu64 " refers to %s, which is another",
         d->round, path);
    *p = (struct piece){d->pieces, tide_bytes_of(path), a->digest_low};
    d->pieces = p;
    must(s, !full || a->shared == TIDE__SHARED__SHARED_NEW,
         "snapshot %" PRIu64 " must be full and refers to %s", d->round, path);
}

/* A deletion, asked for or being carried out: of a piece, or of a directory with all in it. */
void pieces_check_deletion(struct sim *s, enum file_op op, const char *path)
{
    size_t len = strlen(path);
    if (op != FILE_DELETE_ROUND && op != FILE_DELETE_SHARED) return;
    for (const struct job *j = s->jobs; j; j = j->next)
        for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
            for (const struct piece *p = d->state == TIDE_RETAINED ? d->pieces : NULL; p;
                 p = p->next)
                must(s,
                     strncmp((const char *)p->key.data, path, len) != 0 ||
                         (op == FILE_DELETE_ROUND && p->key.data[len] != '/') ||
                         (op == FILE_DELETE_SHARED && p->key.len != len),
                     "%s is to be deleted, and snapshot %" PRIu64 " refers to %.*s", path, d->round,
                     (int)p->key.len, (const char *)p->key.data);
}

static bool is_used(struct sim *s, const struct job *j, const char *path)
{
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        for (const struct piece *p = d->state == TIDE_RETAINED ? d->pieces : NULL; p; p = p->next)
            if (tide_bytes_equal(p->key, tide_bytes_of(path))) return true;
    (void)s;
    return false;
}

/* What no retained snapshot refers to has gone, but for what nobody can delete. Files of aborted
 * rounds go with their directories. */
bool pieces_clean(struct sim *s, const struct job *j)
{
    for (const struct d_piece *d = j->store.pieces; d; d = d->next) {
        const char *path = text(s, d->directory, d->file.key);
        const struct directory *in = round_of(s, path);
        if (in && files_cursed(s, in->path)) continue;
        bool there = piece_at(s, path) != NULL;
        if (there != is_used(s, j, path) && !(there && in->late)) return false;
    }
    return true;
}

/* Promises about what is kept: nothing goes before its row says so, and only what may. */
#include "tests/sim/sim.h"

void check_disposed(struct sim *s, struct job *j, const struct tide_record *r)
{
    struct d_snapshot *d = store_snapshot(j, r->snapshot_state.round);
    enum tide_job_state state = j->store.state;
    if (d->kind != TIDE_SAVEPOINT || r->snapshot_state.state != TIDE_DELETING) return;
    must(s, r->snapshot_state.disposed, "savepoint %" PRIu64 " goes, and nobody asked for it",
         d->round);
    d->disposed = true;
    s->stats->disposed++;
    if (tide_job_ended(state) && state != TIDE_JOB_SUSPENDED) return;
    d->state = TIDE_RETAINED;
    must(s, base_expected(j) != d->round,
         "savepoint %" PRIu64 " is disposed of, and its job goes on from it", d->round);
    d->state = TIDE_DELETING;
}

void check_retention(struct sim *s, const struct job *j)
{
    const struct d_snapshot *newest = NULL;
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next) {
        if (d->kind == TIDE_SAVEPOINT)
            must(s, d->state == TIDE_RETAINED || d->disposed, "savepoint %" PRIu64 " is %s",
                 d->round, tide_snapshot_state_name(d->state));
        bool effects = (d->kind == TIDE_CHECKPOINT || d->commits) && d->round > j->store.base_since;
        if (effects && (!newest || d->round > newest->round)) newest = d;
        if (d->state == TIDE_RETAINED) continue;
        for (const struct d_owed *o = j->store.owed; o; o = o->next)
            must(s, o->round != d->round || !check_owed(j, o),
                 "snapshot %" PRIu64 " is %s and commits are owed from it", d->round,
                 tide_snapshot_state_name(d->state));
    }
    bool over = tide_job_ended(j->store.state) && j->store.state != TIDE_JOB_SUSPENDED;
    if (newest && !over)
        must(s, newest->state == TIDE_RETAINED, "the newest with effects, %" PRIu64 ", is %s",
             newest->round, tide_snapshot_state_name(newest->state));
}

/* With a new checkpoint go all that the job does not keep, but for those from which commits are
 * owed. */
void check_kept(struct sim *s, const struct job *j)
{
    uint32_t kept = 0;
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next) {
        bool owed = d->kind != TIDE_CHECKPOINT || d->state != TIDE_RETAINED;
        for (const struct d_owed *o = j->store.owed; o && !owed; o = o->next)
            owed = o->round == d->round;
        for (const struct d_operation *o = j->store.operations; o && !owed; o = o->next)
            owed = o->o.kind == TIDE_OP_EXPORT && o->o.snapshot == d->round; /* was kept for it */
        kept += !owed;
    }
    uint32_t most = j->checkpointing.retained; /* the last ones, and older ones for their hours */
    if (most < j->checkpointing.retained_least) most = j->checkpointing.retained_least;
    most += j->checkpointing.retained_hours;
    must(s, kept <= most, "%u checkpoints are retained, the job keeps %u", kept, most);
}

/* ---- files */

static bool is_there(struct sim *s, struct tide_bytes path)
{
    const struct directory *d = files_find(s, (const char *)path.data, path.len);
    bool emptied = d && d->gone && !d->files; /* but for what others share */
    return d && d->exists && !d->late && !emptied && !files_cursed(s, d->path);
}

bool check_stuck(struct sim *s, const struct d_snapshot *of)
{
    const struct directory *d = files_find(s, (const char *)of->directory.data, of->directory.len);
    return d && files_cursed(s, d->path);
}

/* It was swept, and that waits for somebody else's flush: what a worker writes later is an orphan.
 */
static bool sweep_rides(const struct sim *s, uint64_t round)
{
    for (const struct tide_commit *c = s->store.queue; c; c = c->next)
        for (const struct tide_record *r = c->first; r; r = r->next)
            if (r->type == TIDE_REC_ROUND_SWEPT && r->swept.number == round) return true;
    return false;
}

/* What is out of use has been deleted, what aborted rounds had left has been swept. */
bool check_clean(struct sim *s, const struct job *j)
{
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if (d->state == TIDE_DELETING && !d->imported && is_there(s, d->directory)) return false;
    for (const struct d_round *r = j->store.rounds; r; r = r->next)
        if (r->ended && !r->r.complete && !r->swept && is_there(s, r->r.directory) &&
            !sweep_rides(s, r->r.number))
            return false;
    return pieces_clean(s, j);
}

static uint64_t trailing_number(const char *path)
{
    const char *at = strrchr(path, '/');
    uint64_t n = 0;
    if (!at) return 0;
    for (at++; *at && (*at < '0' || *at > '9'); at++)
        continue;
    for (; *at >= '0' && *at <= '9'; at++)
        n = n * 10 + (uint64_t)(*at - '0');
    return n;
}

static void log_deletion(struct sim *s, const struct job *j, const char *path, uint64_t round,
                         bool executing)
{
    if (executing)
        log_round(s, j, H_GONE, round);
    else if (files_cursed(s, path))
        log_round(s, j, H_STUCK, round);
}

/* Whether the store has a row of that directory; then it must allow its deletion. */
static bool known(struct sim *s, const struct job *j, const char *path, bool executing)
{
    size_t len = strlen(path);
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next) {
        if (d->directory.len != len || memcmp(d->directory.data, path, len)) continue;
        must(s, !d->imported, "%s is to be deleted, and is not the daemon's", path);
        must(s, d->state != TIDE_RETAINED,
             "%s of snapshot %" PRIu64 " %s deleted, and its row says retained", path, d->round,
             executing ? "is being" : "is to be");
        log_deletion(s, j, path, d->round, executing);
        return true;
    }
    for (const struct d_round *r = j->store.rounds; r; r = r->next) {
        if (r->r.directory.len != len || memcmp(r->r.directory.data, path, len)) continue;
        must(s, (r->ended || s->store.dropped) && !r->r.complete,
             "%s is to be deleted, and round %" PRIu64 " is not over in the store", path,
             r->r.number);
        log_deletion(s, j, path, r->r.number, executing);
        return true;
    }
    return false;
}

void check_file(struct sim *s, enum file_op op, const char *path, bool executing)
{
    const struct round *lost = NULL;
    pieces_check_deletion(s, op, path);
    if (op != FILE_DELETE_ROUND && op != FILE_DELETE_OWN) return;
    for (const struct job *j = s->jobs; j; j = j->next) {
        if (known(s, j, path, executing)) return;
        if (!lost && s->store.dropped) lost = check_round(j, trailing_number(path));
    }
    must(s, lost && lost->over,
         "%s is to be deleted, and the store knows nothing of round %" PRIu64, path,
         trailing_number(path));
}

/* What admins order of whole jobs: hold, release and restore. When the faults have stopped a
 * patient admin releases what is held, again and again, since any of the orders may be lost. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/sim.h"

#define CAUSE "the simulator holds it"

static ProtobufCBinaryData text(const char *t)
{
    return (ProtobufCBinaryData){strlen(t), (uint8_t *)(uintptr_t)t};
}

static void send(struct sim *s, struct job *j, Tide__Request *r, const char *what)
{
    struct conn *c = net_admin(s);
    struct tide_buf b;
    if (!c) return;
    r->id = s->order + 1;
    tide_buf_init(&b, 4096);
    tide_frame_put(&b, &r->base);
    struct tide_bytes frames = sim_bytes(s, (struct tide_bytes){b.data, b.len});
    tide_buf_release(&b);
    note(s, "%sadmin: orders %s", j->prefix, what);
    net_to_daemon(s, c, frames);
}

static void hold(struct sim *s, struct job *j, const char *key)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__HoldJob m = TIDE__HOLD_JOB__INIT;
    m.job = text(j->name);
    m.key = text(key);
    m.who = text("sim");
    m.cause = text(CAUSE);
    r.call_case = TIDE__REQUEST__CALL_HOLD;
    r.hold = &m;
    send(s, j, &r, "a hold");
}

static void release(struct sim *s, struct job *j, const char *key, bool abandons)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__ReleaseJob m = TIDE__RELEASE_JOB__INIT;
    m.job = text(j->name);
    m.key = text(key);
    m.who = text("sim");
    r.call_case = TIDE__REQUEST__CALL_RELEASE;
    r.release = &m;
    m.abandon_owed = abandons;
    j->may_abandon = j->may_abandon || abandons;
    send(s, j, &r, abandons ? "a release, giving up what is owed" : "a release");
}

bool order_may_copy(struct sim *s, const struct d_snapshot *d)
{
    const struct directory *in = files_find(s, (const char *)d->directory.data, d->directory.len);
    return d->state == TIDE_RETAINED && !(in && in->moved) && !d->shared;
}

/* Where a copy of a retained snapshot lies: a new one, one of before, or where there is none. */
static const char *copied(struct sim *s, struct job *j)
{
    static const char nowhere[] = "/copies/none";
    if (percent(s, 10)) return nowhere;
    const struct directory *of_before = NULL;
    for (const struct directory *d = percent(s, 30) ? s->files.directories : NULL; d; d = d->next)
        for (const struct d_snapshot *o = j->store.snapshots; o && d->origin; o = o->next)
            if (o == d->origin && percent(s, 50)) of_before = d;
    if (of_before) return of_before->path;
    uint32_t n = 0;
    struct d_snapshot *from = NULL;
    for (struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if (order_may_copy(s, d) && below(s, ++n) == 0) from = d;
    if (!from) return nowhere;
    return files_copy(s, j, from, percent(s, 10))->path;
}

/* The newest, an older one of any kind, or nothing; mostly with leave to repeat effects. */
static void restore(struct sim *s, struct job *j, const char *key)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__RestoreJob m = TIDE__RESTORE_JOB__INIT;
    uint64_t n = 0;
    m.job = text(j->name);
    m.key = text(key);
    m.who = text("sim");
    m.allow_repeat = percent(s, 70);
    m.allow_unmatched = percent(s, 10);
    m.dry_run = percent(s, 10);
    m.abandon_owed = percent(s, 20);
    j->may_abandon = j->may_abandon || (m.abandon_owed && !m.dry_run);
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        n += d->state == TIDE_RETAINED;
    if (n && percent(s, 50)) {
        n = below(s, n);
        const struct d_snapshot *d = j->store.snapshots;
        for (; d->state != TIDE_RETAINED || n; d = d->next)
            n -= d->state == TIDE_RETAINED;
        m.from_case = TIDE__RESTORE_JOB__FROM_SNAPSHOT;
        m.snapshot = d->round;
    } else if (n && percent(s, 30)) {
        m.from_case = TIDE__RESTORE_JOB__FROM_DIRECTORY;
        m.directory = text(copied(s, j));
    } else if (percent(s, 75)) {
        m.from_case = TIDE__RESTORE_JOB__FROM_LATEST;
        m.latest = true;
    } else {
        m.from_case = TIDE__RESTORE_JOB__FROM_NOTHING;
        m.nothing = true;
    }
    r.call_case = TIDE__REQUEST__CALL_RESTORE;
    r.restore = &m;
    char what[100];
    bool named = m.from_case == TIDE__RESTORE_JOB__FROM_SNAPSHOT;
    snprintf(what, sizeof what, "a restore of %" PRIu64 "%s%.*s%s%s%s", named ? m.snapshot : 0,
             m.from_case == TIDE__RESTORE_JOB__FROM_LATEST ? ", the latest" : "",
             m.from_case == TIDE__RESTORE_JOB__FROM_DIRECTORY ? (int)m.directory.len : 0,
             m.from_case == TIDE__RESTORE_JOB__FROM_DIRECTORY ? (char *)m.directory.data : "",
             m.allow_repeat ? ", repeating" : "", m.abandon_owed ? ", giving up what is owed" : "",
             m.dry_run ? ", dry" : "");
    send(s, j, &r, what);
}

/* A savepoint, or a copy, lies elsewhere from now on, and the job is to go on from there, mostly.
 */
static void move_something(struct sim *s, struct job *j, const char *key)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__RestoreJob m = TIDE__RESTORE_JOB__INIT;
    uint32_t n = 0;
    struct d_snapshot *which = NULL;
    uint64_t goes_on_from = base_expected(j);
    for (struct d_snapshot *d = j->store.snapshots; d; d = d->next) {
        const struct directory *in =
            files_find(s, (const char *)d->directory.data, d->directory.len);
        if (d->kind == TIDE_SAVEPOINT && order_may_copy(s, d) && in && in->published &&
            (below(s, ++n) == 0 || d->round == goes_on_from))
            which = d;
    }
    if (!which) return;
    const char *path = files_move(s, j, which)->path;
    note(s, "%sadmin: moves snapshot %" PRIu64 " from %.*s to %s", j->prefix, which->round,
         (int)which->directory.len, (const char *)which->directory.data, path);
    if (percent(s, 30)) return;
    m.job = text(j->name);
    m.key = text(key);
    m.who = text("sim");
    m.allow_repeat = true;
    m.abandon_owed = percent(s, 20);
    j->may_abandon = j->may_abandon || m.abandon_owed;
    m.from_case = TIDE__RESTORE_JOB__FROM_DIRECTORY;
    m.directory = text(path);
    r.call_case = TIDE__REQUEST__CALL_RESTORE;
    r.restore = &m;
    send(s, j, &r, "a restore of what was moved");
}

void order_something(struct sim *s, struct job *j)
{
    char key[32];
    snprintf(key, sizeof key, "order%u", (unsigned)below(s, 50));
    check_trouble(s, j);
    j->ordered = true;
    if (percent(s, 25))
        move_something(s, j, key);
    else if (percent(s, 50))
        restore(s, j, key);
    else if (percent(s, j->store.state == TIDE_JOB_HELD ? 20 : 70))
        hold(s, j, key);
    else
        release(s, j, key, percent(s, 30));
}

static void patience(struct sim *s, void *arg, uint64_t x)
{
    struct job *j = arg;
    if (!j->done && order_may_release(j)) { /* done, it may be undone by an old copy */
        s->admin = NULL;                    /* the connection of before may lead nowhere */
        release(s, j, "", false);
    }
    sim_at(s, s->now + 400 * MS, patience, arg, x);
}

void order_calm(struct sim *s, struct job *j)
{
    sim_at(s, s->now + below(s, 100 * MS), patience, j, 0);
}

bool order_may_release(const struct job *j)
{
    static const char *const ends[] = {"the last snapshot is good, the stop failed",
                                       "the manifest of snapshot ", "the job goes on from ", CAUSE};
    struct tide_bytes cause = j->store.cause;
    if (j->store.state != TIDE_JOB_HELD) return false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (cause.len >= strlen(ends[i]) && !memcmp(cause.data, ends[i], strlen(ends[i])))
            return true;
    return false;
}

/* An old copy of the store, and somebody who puts it back between two lives of the daemon, with the
 * bytes that its snapshots refer to, as docs/operations.md says; but not all workers are stopped.
 *
 * What the copy does not know has happened all the same: rounds and attempts from after it are
 * `past` to the checks (their numbers come again, under another incarnation), and what was
 * published then may be published again. Workers that live through it are `stale` until they have
 * rewound; one that knows more than the copy is proof, and nothing of its job may go on. */
#include "tests/sim/sim.h"

struct kept_directory {
    struct kept_directory *next;
    struct directory *directory;
    bool published, pending;
    struct file *files;
    struct piece *pieces;
};

struct copy {
    uint64_t taken_at, reserved, external, lease_us;
    uint32_t n_incarnations;
    struct job_store jobs[JOBS_MAX];
    struct kept_directory *directories;
};

/* ---- taking it */

static void copy_lists(struct sim *s, struct job_store *to)
{
    for (struct d_round **p = &to->rounds; *p; p = &(*p)->next)
        *p = memcpy(sim_alloc(s, sizeof **p), *p, sizeof **p);
    for (struct d_snapshot **p = &to->snapshots; *p; p = &(*p)->next)
        *p = memcpy(sim_alloc(s, sizeof **p), *p, sizeof **p);
    for (struct d_owed **p = &to->owed; *p; p = &(*p)->next)
        *p = memcpy(sim_alloc(s, sizeof **p), *p, sizeof **p);
    pieces_copy(s, to);
    for (struct d_operation **p = &to->operations; *p; p = &(*p)->next)
        *p = memcpy(sim_alloc(s, sizeof **p), *p, sizeof **p);
}

void old_copy(struct sim *s)
{
    struct copy *c = sim_alloc(s, sizeof *c);
    const struct store *st = &s->store;
    *c = (struct copy){.taken_at = s->now,
                       .reserved = st->reserved,
                       .external = st->external,
                       .lease_us = st->lease_us,
                       .n_incarnations = st->n_incarnations};
    for (const struct job *j = s->jobs; j; j = j->next) {
        c->jobs[j->number] = j->store;
        copy_lists(s, &c->jobs[j->number]);
    }
    for (struct directory *d = s->files.directories; d; d = d->next) {
        if (!d->exists) continue;
        struct kept_directory *k = sim_alloc(s, sizeof *k);
        *k = (struct kept_directory){c->directories, d,        d->published,
                                     d->pending,     d->files, d->pieces};
        c->directories = k;
    }
    s->old.copy = c;
    note(s, "fault: somebody copies the store");
}

/* ---- putting it back */

static uint64_t newest_of(const struct job_store *st, bool with_effects)
{
    uint64_t newest = 0;
    for (const struct d_snapshot *d = st->snapshots; d; d = d->next)
        if (d->round > newest && !d->imported &&
            (d->kind == TIDE_CHECKPOINT || d->commits || !with_effects))
            newest = d->round;
    return newest;
}

/* What the copy does not know is forgotten, but for its numbers. */
static void forget(struct job *j, const struct job_store *was)
{
    for (struct round *r = j->rounds; r; r = r->next) {
        const struct d_round *row = was->rounds;
        while (row && row->r.number != r->number)
            row = row->next;
        r->past = r->past || !row || !row->ended;
    }
    for (struct attempt *a = j->attempts; a; a = a->next)
        a->past = a->past || a->number > was->attempts;
    uint64_t upto = newest_of(was, true);
    bool inherits = was->base_snapshot && !was->base_new; /* what an heir began with: round 0 */
    memset(&j->published, 0, sizeof j->published);
    for (struct part *p = j->parts; p; p = p->next) {
        bool known = p->round ? p->round <= upto : inherits;
        if (!known && p->state == PART_PUBLISHED) p->state = PART_FORGOTTEN;
        if (p->state == PART_PUBLISHED) set_add(&j->published, &p->records);
    }
    if (j->newest_published > upto) j->newest_published = upto;
    for (uint32_t t = 0; t < TASKS_MAX; t++)
        if (j->last_effect[t] > upto) j->last_effect[t] = upto;
}

/* Whether the worker has what the store as it is now cannot have told: numbers that the copy did
 * not know come again, and then say nothing any more. */
static bool knows_more(const struct sim *s, const struct proc *p)
{
    const struct job_store *st = &p->job->store;
    uint64_t has = p->alive && p->stale ? tide_session_attempt(p->session) : 0;
    bool listed = false;
    if (!has) return false;
    for (uint32_t i = 0; i < s->store.n_incarnations; i++)
        listed = listed || s->store.incarnations[i].number == p->token_incarnation;
    return !st->made || !listed || has > st->attempts ||
           (has == st->attempts && p->token_incarnation != st->last.incarnation) ||
           p->told_complete > newest_of(st, false);
}

static void put_job_back(struct sim *s, struct job *j, const struct copy *c, uint32_t mercy)
{
    const struct job_store *was = &c->jobs[j->number];
    for (struct proc *p = j->procs; p; p = p->next)
        if (percent(s, mercy)) proc_kill(s, p, "stopped, since an old copy comes", false);
    for (struct proc *p = j->procs; p; p = p->next)
        p->stale = p->alive;
    forget(j, was);
    for (struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        d->left_behind = true; /* of what the copy does not know there may be copies */
    j->store = *was;
    /* an attempt that did not run yet, as the copy knows, has that to be stored once more */
    j->resume = j->resume && j->resume_attempt == was->attempts && was->last.running &&
                !was->last.ended && was->state == TIDE_JOB_RUNNING;
    j->old = true;
    j->done = false;
    if (!j->over || tide_job_ended(was->state)) return;
    j->over = false; /* it had ended, and goes on from before */
    for (uint32_t i = 0; i < j->slots; i++)
        sim_at(s, s->now + below(s, 100 * MS), proc_start, j, i);
}

void old_put_back(struct sim *s)
{
    struct copy *c = s->old.copy;
    struct store *st = &s->store;
    if (!s->old.wanted) return;
    s->old.wanted = false;
    s->old.done = true;
    note(s, "fault: the copy of %" PRIu64 " ms is put back", in_trace(c->taken_at));
    uint32_t mercy = (uint32_t)below(s, 101); /* of a hundred workers so many are stopped first */
    for (struct job *j = s->jobs; j; j = j->next)
        put_job_back(s, j, c, mercy);
    for (struct conn *n = s->conns; n; n = n->next)
        n->hole_w = true; /* nothing of before lies in the network any more */
    happens(s, (struct happening){.type = H_PUT_BACK});
    for (struct job *j = s->jobs; j; j = j->next)
        log_known(s, j);
    st->reserved = c->reserved;
    st->external = c->external;
    st->lease_us = c->lease_us;
    st->n_incarnations = c->n_incarnations;
    for (struct job *j = s->jobs; j; j = j->next)
        for (struct proc *p = j->procs; p; p = p->next)
            if (p->alive)
                note(s, "%s: lives through it with attempt %" PRIu64 "%s", proc_name(p),
                     tide_session_attempt(p->session),
                     knows_more(s, p) ? ", and knows more than the copy" : "");
    for (struct kept_directory *k = c->directories; k; k = k->next) {
        k->directory->exists = true;
        k->directory->moved = false;
        k->directory->published = k->published;
        k->directory->pending = k->pending;
        k->directory->files = k->files;
        k->directory->pieces = k->pieces;
    }
}

/* ---- what must come of it */

void old_joins(struct sim *s, struct proc *p, struct tide_bytes content)
{
    Tide__Part *part = tide__part__unpack(NULL, content.len, content.data);
    Tide__Join *m =
        part && part->count == 1 ? tide__join__unpack(NULL, part->data.len, part->data.data) : NULL;
    must(s, m, "a Join that is not one Part");
    bool token = m->token != NULL;
    tide__join__free_unpacked(m, NULL);
    tide__part__free_unpacked(part, NULL);
    if (!token) return;
    p->job->may_hold = true; /* for an open round that the copy cannot know */
    if (!knows_more(s, p)) return;
    note(s, "%s: joins, and knows more than the store", proc_name(p));
    p->job->must_hold = true;
    if (!s->calm && percent(s, 30)) s->daemon.doomed = true; /* at the worst moment */
}

void old_check_sent(struct sim *s, const struct job *j, const char *what)
{
    must(s, !j->must_hold, "a worker of job %s knew more than the store, and %s is sent", j->name,
         what);
}

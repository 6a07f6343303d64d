/* Rendezvous rounds in a session: where tasks are, and when each has to stand
 *
 * The usual way: Prepare opens the round. Each task reports its position, the last safe point that
 * it has reached, and goes on, at most `window` further; Cut says where all stop; a task that calls
 * from there is told to stand, and Standing says so; with SnapshotNow it is asked to call again,
 * takes its snapshot inside that call, and goes on.
 *
 * Without a window a task reports at its next safe point, and stands there. So does one that has
 * not called yet.
 *
 * What can go wrong, and what we do:
 * - the round aborts, is over, its time is over,  -> tasks that stand are asked to call again, and
 *   or the daemon is absent for too long             may go on; those that gave it up decline
 * - a task goes on where it should stand, or      -> it declines
 *   counts past the cut
 * - a task reaches the end of its input           -> it has reached every position behind: it is
 *                                                    reported, and stands, by itself */
#include <stdio.h>

#include "client/session_impl.h"
#include "proto/plant.h"

static bool is_of_style(const struct tide_session *s)
{
    return s->graph->checkpointing.style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS;
}

static bool is_open(const struct tide_session *s, const struct round *r, uint32_t i)
{
    return r->tasks[i].state == ROUND_NOTHING && !s->tasks[i].ended;
}

/* The round that the task's next answer is about. */
static struct round *at_hand(const struct tide_session *s, uint32_t i)
{
    for (uint32_t k = 0; k < s->n_rounds; k++) {
        struct round *r = s->rounds[k];
        if (r->meets && (is_open(s, r, i) || r->tasks[i].meet & MEET_CAPTURING)) return r;
    }
    return NULL;
}

/* ---- to the task */

static void call(struct tide_session *s, uint32_t i)
{
    struct stask *t = &s->tasks[i];
    if (t->called) return;
    t->called = true;
    struct tide_delivery d = {.type = TIDE_DO_POSITION, .task = t->number, .attempt = s->attempt};
    tide_session_push(s, &d, NULL);
}

static void wake(struct tide_session *s, uint32_t i)
{
    if (s->tasks[i].stands) call(s, i);
}

static void wake_all(struct tide_session *s)
{
    for (uint32_t i = 0; i < s->n_tasks; i++)
        wake(s, i);
}

static void decline(struct tide_session *s, struct round *r, uint32_t i, const char *reason)
{
    tide_round_decline(s, i, r->number, tide_bytes_of(reason), 0);
    wake(s, i);
}

static void give_up(struct tide_session *s, struct round *r, const char *reason)
{
    for (uint32_t i = 0; i < s->n_tasks; i++)
        if (is_open(s, r, i)) {
            tide_round_give_up(s, i, r->number, tide_bytes_of(reason));
            wake(s, i);
        }
    r->meet_left = 0;
}

static void capture(struct tide_session *s, struct round *r, uint32_t i, uint64_t now_us)
{
    const struct stask *t = &s->tasks[i];
    r->tasks[i].meet |= MEET_CAPTURING;
    r->meet_left--;
    tide_round_snapshot(s, i, r->number, t->stands_us ? now_us - t->stands_us : 0);
}

/* ---- to the daemon: at once when it is the last task's, at the end of the turn otherwise */

static void report(struct tide_session *s, struct round *r, uint32_t i)
{
    struct round_place *p = &r->tasks[i];
    if (p->meet & MEET_REPORTED) return;
    p->meet |= MEET_REPORTED | MEET_REPORT_DUE;
    p->position = s->tasks[i].at;
    if (++r->n_reported >= r->n_meet)
        tide_session_send_positions(s, r);
    else
        s->flush_due = true;
}

static void stand(struct tide_session *s, struct round *r, uint32_t i)
{
    struct round_place *p = &r->tasks[i];
    if (p->meet & MEET_STANDS) return;
    p->meet |= MEET_STANDS | MEET_STANDS_DUE;
    if (++r->n_stands >= r->n_meet)
        tide_session_send_standing(s, r);
    else
        s->flush_due = true;
}

void tide_meet_send(struct tide_session *s)
{
    for (uint32_t k = 0; k < s->n_rounds; k++) {
        if (!s->rounds[k]->meets) continue;
        tide_session_send_positions(s, s->rounds[k]);
        tide_session_send_standing(s, s->rounds[k]);
    }
}

void tide_meet_repeat(struct tide_session *s, struct round *r)
{
    for (uint32_t i = 0; r->meets && i < s->n_tasks; i++) {
        struct round_place *p = &r->tasks[i];
        if (!is_open(s, r, i)) continue;
        if (p->meet & MEET_REPORTED) p->meet |= MEET_REPORT_DUE;
        if (p->meet & MEET_STANDS) p->meet |= MEET_STANDS_DUE;
    }
}

/* ---- what the daemon says */

void tide_meet_prepare(struct tide_session *s, const Tide__Prepare *m, uint64_t now_us)
{
    struct tide_bytes directory = tide_of_pb(m->directory);
    struct round *r = tide_round_open(s, m->round, directory, m->left_ms, now_us);
    if (!r) return;
    r->savepoint = m->kind == TIDE__ROUND_KIND__ROUND_SAVEPOINT;
    r->full = m->full;
    tide_share_full(s, r, m->n_full_tasks, m->full_tasks);
    r->native = m->native;
    r->directory_exists = m->directory_exists;
    r->stop = m->stop;
    r->meets = true;
    r->window = m->window;
    for (uint32_t i = 0; i < s->n_tasks; i++)
        r->n_meet += !s->tasks[i].ended;
    r->meet_left = r->n_meet;
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        const struct stask *t = &s->tasks[i];
        if (t->ended) continue;
        if (t->finished || (r->window && t->has_at))
            report(s, r, i);
        else
            call(s, i);
    }
}

/* Whether the task may be at the cut, or come there; if not, why. */
static bool cannot_reach(const struct stask *t, uint64_t cut, char why[static 96])
{
    if (t->finished || t->at < cut || (t->at == cut && t->stands)) return false;
    snprintf(why, 96, "at position %llu it has passed the cut, %llu", (unsigned long long)t->at,
             (unsigned long long)cut);
    return true;
}

const char *tide_meet_cut(struct tide_session *s, const Tide__Cut *m)
{
    struct round *r = tide_round_find(s, m->round);
    char why[96];
    if (!r || !r->meets) return NULL; /* over */
    if (r->has_cut) return r->cut == m->position ? NULL : "Cut twice, at different positions";
    for (uint32_t i = 0; i < s->n_tasks; i++)
        if (is_open(s, r, i) && !(r->tasks[i].meet & MEET_REPORTED))
            return "Cut before all tasks have reported their positions";
    r->has_cut = true;
    r->cut = m->position;
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        const struct stask *t = &s->tasks[i];
        if (!is_open(s, r, i)) continue;
        if (cannot_reach(t, r->cut, why))
            decline(s, r, i, why);
        else if (t->finished || t->at == r->cut)
            stand(s, r, i);
        else
            wake(s, i);
    }
    return NULL;
}

const char *tide_meet_snapshot_now(struct tide_session *s, const Tide__SnapshotNow *m,
                                   uint64_t now_us)
{
    struct round *r = tide_round_find(s, m->round);
    if (!r || !r->meets || r->snapshot_now) return NULL;
    for (uint32_t i = 0; i < s->n_tasks; i++)
        if (is_open(s, r, i) && !(r->tasks[i].meet & MEET_STANDS))
            return "SnapshotNow before all tasks stand";
    r->snapshot_now = true;
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        if (!is_open(s, r, i)) continue;
        if (s->tasks[i].finished || PLANTED(SNAPSHOT_ANYWHERE))
            capture(s, r, i, now_us);
        else
            wake(s, i);
    }
    return NULL;
}

void tide_meet_resolved(struct tide_session *s)
{
    wake_all(s);
}

void tide_meet_lowest(struct tide_session *s)
{
    bool any = false;
    for (uint32_t k = 0; k < s->n_rounds && s->rounds[k]->number < s->lowest_pending; k++) {
        struct round *r = s->rounds[k];
        if (!r->meets || !r->meet_left) continue;
        for (uint32_t i = 0; i < s->n_tasks; i++)
            if (is_open(s, r, i)) r->tasks[i].state = ROUND_DECLINED; /* nobody wants to hear it */
        r->meet_left = 0;
        any = true;
    }
    if (any) wake_all(s);
}

/* ---- what the application says */

/* Whether the task has to stand where it is. */
static bool look(struct tide_session *s, uint32_t i, uint64_t now_us)
{
    const struct stask *t = &s->tasks[i];
    struct round *r = at_hand(s, i);
    char why[96];
    if (t->suspended || t->halted) return true;
    if (!r) return false;
    if (r->tasks[i].meet & MEET_CAPTURING) return true;
    report(s, r, i);
    if (!r->has_cut) return t->at - r->tasks[i].position >= r->window;
    if (t->at < r->cut) return false;
    if (t->at > r->cut) {
        (void)cannot_reach(t, r->cut, why);
        decline(s, r, i, why);
        return false;
    }
    stand(s, r, i);
    if (r->snapshot_now) capture(s, r, i, now_us);
    return !PLANTED(SNAPSHOT_ANYWHERE);
}

int tide_session_position(struct tide_session *s, uint32_t task, uint64_t position, uint64_t now_us)
{
    tide_session_enter(s);
    uint32_t i;
    struct stask *t = tide_session_task(s, task, &i);
    if (s->dead) return s->dead;
    if (!t || position > TIDE_POSITION_MAX) return TIDE_EINVAL;
    if (t->stood && t->stood != s->attempt) { /* told to stand in an attempt that is over */
        t->stood = 0;
        return TIDE_ESTALE;
    }
    if (!is_of_style(s) || !s->attempt || s->phase != TIDE__WORKER_PHASE__PHASE_RUNNING ||
        s->link == LINK_OVER)
        return TIDE_ESTATE;
    if (t->has_at && position < t->at) return TIDE_EINVAL;
    if (t->finished) return 0;
    tide_session_fence(s, now_us);
    tide_meet_tick(s, now_us);
    t->at = position;
    t->has_at = true;
    t->called = t->stands = false;
    t->stands = look(s, i, now_us);
    t->stood = t->stands ? s->attempt : 0;
    if (!t->stands)
        t->stands_us = 0;
    else if (!t->stands_us)
        t->stands_us = now_us;
    return t->stands ? TIDE_EAGAIN : 0;
}

void tide_session_captured(struct tide_session *s, uint32_t task, uint64_t round)
{
    tide_session_enter(s);
    uint32_t i;
    struct round *r = tide_round_find(s, round);
    if (s->dead || !r || !r->meets || !tide_session_task(s, task, &i)) return;
    r->tasks[i].meet &= (uint8_t)~MEET_CAPTURING;
    wake(s, i);
}

void tide_meet_finished(struct tide_session *s, uint32_t i, uint64_t now_us)
{
    struct round *r = at_hand(s, i);
    if (!r || !is_open(s, r, i)) return;
    report(s, r, i);
    if (r->has_cut) stand(s, r, i);
    if (r->snapshot_now) capture(s, r, i, now_us);
}

void tide_meet_fenced(struct tide_session *s)
{
    for (uint32_t k = 0; k < s->n_rounds; k++)
        if (s->rounds[k]->meets) give_up(s, s->rounds[k], "the lease was over before the snapshot");
}

/* ---- time */

void tide_meet_tick(struct tide_session *s, uint64_t now_us)
{
    bool cut = s->attempt && !s->attached && now_us >= s->cut_us + s->orphan_us;
    for (uint32_t k = 0; k < s->n_rounds; k++) {
        struct round *r = s->rounds[k];
        if (!r->meets || !r->meet_left) continue;
        if (now_us >= r->deadline_us)
            give_up(s, r, "the round's time is over");
        else if (cut && !PLANTED(STAND_ON))
            give_up(s, r, "cut off from the daemon for longer than the orphan limit");
    }
    if (cut) wake_all(s); /* those that stood still for the end of the job, too */
}

uint64_t tide_meet_deadline(const struct tide_session *s)
{
    uint64_t at = UINT64_MAX;
    for (uint32_t k = 0; k < s->n_rounds; k++) {
        const struct round *r = s->rounds[k];
        if (!r->meets || !r->meet_left) continue;
        at = tide_min(at, r->deadline_us);
        if (!s->attached && !PLANTED(STAND_ON)) at = tide_min(at, s->cut_us + s->orphan_us);
    }
    return at;
}

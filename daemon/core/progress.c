/* How far the tasks of a round are: who holds it, whether it may take longer, whether it should
 * turn unaligned.
 *
 * A round has a deadline. While it makes progress (an ack that counts, a task that is further than
 * it said before) the deadline moves along, up to the job's deadline_cap_ms after the begin; tasks
 * are told of that cap alone. By its deadline a round aborts, naming who held it and where each
 * was.
 *
 * In a round with a timeout for aligning, tasks turn unaligned by their own timers. The daemon,
 * which hears who still aligns when that time is over, says so too, once, to all: a task that no
 * barrier has reached yet has no timer that runs. */
#include <stdio.h>

#include "daemon/core/internal.h"

/* ---- progress */

static bool is_further(const struct progress *before, const struct progress *now, bool known)
{
    if (!known || now->phase > before->phase) return true;
    return now->phase == before->phase &&
           (now->bytes > before->bytes || now->missing < before->missing ||
            now->position > before->position);
}

static void turn(struct core *c, struct round *r)
{
    Tide__TurnUnaligned m = TIDE__TURN_UNALIGNED__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    if (r->alignment != TIDE_ALIGNED_TIMEOUT || r->turned || r->state != ROUND_COLLECTING ||
        c->now < r->begun_us + r->aligned_timeout_ms * MS)
        return;
    r->turned = true;
    if (!r->turned_us) r->turned_us = c->now - r->begun_us;
    m.attempt = r->attempt;
    m.round = r->number;
    message.msg_case = TIDE__TO_WORKER__MSG_TURN_UNALIGNED;
    message.turn_unaligned = &m;
    send_holders(c, r->job, &message, 0);
    core_log(c, LEVEL_INFO, about_round(r->job, r->number),
             "job %s: round %" PRIu64 " turns unaligned, tasks still align %u ms after its begin",
             r->job->name, r->number, r->aligned_timeout_ms);
}

void round_progress(struct core *c, struct worker *w, const Tide__Barrier *m)
{
    struct job *job = w->job;
    struct round *r = job_round(job, m->round);
    bool aligns = false;
    if (!r || m->attempt != job->attempt || w->attempt != m->attempt) return;
    for (size_t i = 0; i < m->n_tasks; i++) {
        const Tide__TaskProgress *p = m->tasks[i];
        size_t low = 0, high = r->n_progress;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (r->progress[middle].task < p->task)
                low = middle + 1;
            else
                high = middle;
        }
        bool known = low < r->n_progress && r->progress[low].task == p->task;
        if (!known) {
            if (r->n_progress == PROGRESS_MAX) continue; /* more than anybody reads */
            r->progress =
                core_grow(r->progress, r->n_progress, &r->progress_cap, sizeof *r->progress);
            memmove(&r->progress[low + 1], &r->progress[low],
                    (r->n_progress - low) * sizeof *r->progress);
            r->n_progress++;
        }
        struct progress now = {p->task,          p->phase, p->channels_missing,
                               p->channel_first, p->bytes, p->position};
        if (is_further(&r->progress[low], &now, known)) r->progress_us = c->now;
        r->progress[low] = now;
        aligns = aligns || p->phase == TIDE__TASK_PHASE__TASK_ALIGNING ||
                 p->phase == TIDE__TASK_PHASE__TASK_WAITING;
    }
    if (aligns) turn(c, r);
}

/* ---- who holds a round */

static struct tide_bytes phase_words(const struct round *r, const struct worker *w, uint32_t task,
                                     struct tide_arena *arena)
{
    const struct progress *p = NULL;
    for (size_t i = 0; i < r->n_progress && !p; i++)
        if (r->progress[i].task == task) p = &r->progress[i];
    const char *away = w && w->session ? "" : ", its worker is away";
    if (r->state < ROUND_COLLECTING) return VIEW("not triggered yet");
    const char *text;
    switch (p ? p->phase : TIDE__TASK_PHASE__TASK_WAITING) {
    case TIDE__TASK_PHASE__TASK_ALIGNING:
        text = tide_arena_printf(arena, "aligning, %u channels missing, first %u%s", p->missing,
                                 p->first_missing, away);
        break;
    case TIDE__TASK_PHASE__TASK_SNAPSHOTTING:
        text = tide_arena_printf(arena, "snapshotting%s", away);
        break;
    case TIDE__TASK_PHASE__TASK_UPLOADING:
        text = tide_arena_printf(arena, "uploading, %" PRIu64 " bytes so far%s", p->bytes, away);
        break;
    default:
        text = r->meeting ? meeting_words(r, p, away, arena)
               : !p && plan_role(&r->plan, task) == PLAN_BEGINS
                   ? tide_arena_printf(arena, "has not acted on its trigger%s", away)
                   : tide_arena_printf(arena, "waiting for the first barrier%s", away);
    }
    core_assert(text != NULL);
    return VIEW(text);
}

uint32_t round_holders(const struct round *r, struct tide_arena *arena, struct tide_holder **ret,
                       uint32_t *ret_total)
{
    const struct job *job = r->job;
    uint32_t n = 0;
    *ret_total = 0;
    *ret = tide_arena_zalloc(arena, HOLDERS_MAX * sizeof **ret);
    core_assert(*ret != NULL);
    if (r->state == ROUND_ASKING) return external_holders(r, arena, *ret, HOLDERS_MAX, ret_total);
    for (uint32_t t = 0; t < job->graph->tasks; t++) {
        if (PLANTED(UNNAMED) && t == 1) continue;
        if (bits_get(&r->acked, t) || bits_get(&r->plan.ended, t) || !meeting_holds(r, t)) continue;
        if ((*ret_total)++ >= HOLDERS_MAX) continue;
        struct tide_holder *h = &(*ret)[n++];
        const struct tide_operator *op = tide_graph_operator(job->graph, t, &h->subtask);
        h->task = t;
        h->uid = tide_arena_bytes(arena, op->uid);
        if (job->host[t]) h->worker = tide_arena_bytes(arena, job->host[t]->name);
        h->phase = phase_words(r, job->host[t], t, arena);
    }
    return n;
}

/* ---- the deadline */

uint32_t round_left_ms(const struct core *c, const struct round *r)
{
    return r->cap_us > c->now ? (uint32_t)((r->cap_us - c->now) / MS) : 0;
}

/* Moves the deadline along with what has been heard since it was set. */
static bool extended(struct core *c, struct round *r)
{
    uint64_t at = r->progress_us + r->job->graph->checkpointing.deadline_ms * MS;
    if (at > r->cap_us) at = r->cap_us;
    if (at <= c->now) return false;
    r->deadline_us = at;
    timer_set(c, &r->timer, at);
    return true;
}

static char *deadline_words(struct core *c, const struct round *r)
{
    const struct round *other = job_committing(r->job);
    unsigned ms = (unsigned)((r->deadline_us - r->begun_us) / MS);
    if (r->state == ROUND_FINALIZING)
        return core_printf("its _metadata was not written by the deadline of %u ms", ms);
    if (r->state == ROUND_READY && other)
        return core_printf("its commit still waited for that of round %" PRIu64
                           " at the deadline of %u ms",
                           other->number, ms);
    if (r->state == ROUND_ASKING) return external_deadline_words(r, ms);
    struct tide_holder *holders;
    uint32_t total, n = round_holders(r, &c->out, &holders, &total);
    char names[300] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < n && i < 3; i++)
        if (at + holders[i].uid.len + holders[i].phase.len + 20 < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s %.*s[%u] (%.*s)",
                                   i ? "," : ":", (int)holders[i].uid.len,
                                   (const char *)holders[i].uid.data, holders[i].subtask,
                                   (int)holders[i].phase.len, (const char *)holders[i].phase.data);
    if (total > 3) snprintf(names + at, sizeof names - at, ", ...");
    return meeting_late(r, total, names);
}

void round_deadline(struct core *c, void *arg)
{
    struct round *r = arg;
    if (round_holds(r) || extended(c, r)) return;
    char *why = deadline_words(c, r);
    round_abort(c, r, TIDE__ABORT_CODE__ABORT_DEADLINE, why);
    free(why);
}

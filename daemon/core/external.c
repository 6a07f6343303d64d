/* External parts: operators' coordinators and hooks, which live in a worker beside its tasks.
 *
 * A job waits until each of its parts is hosted once, as it waits for its tasks; an attempt runs
 * once each has been given its state, or told that it has none. A round asks all coordinators, then
 * all hooks, and triggers the tasks when each has answered: so no coordinator's state is newer than
 * that of its operator's tasks. As these ack, the coordinator is told, so that the events that it
 * holds back for them may go.
 *
 * Answers are a set, kept in the round, and become part of the manifest's head. What can go wrong:
 * a part cannot, or does not answer by the deadline: the round aborts and names it. One that is
 * lost goes with its worker. An answer to a round that is over is late, and changes nothing. */
#include <stdio.h>

#include "daemon/core/internal.h"
#include "proto/graph_show.h"

#define EXTERNAL_DATA_MAX ((size_t)1 << 20)
#define EXTERNAL_ALL_MAX ((size_t)16 << 20) /* of one round: they stand in the manifest's head */

static const struct tide_external *facts(const struct job *job, uint32_t index)
{
    return &job->graph->externals[index];
}

static bool is_hook(const struct job *job, uint32_t index)
{
    return facts(job, index)->kind == TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
}

struct external_words external_words(const struct tide_external *e)
{
    struct external_words words;
    snprintf(words.text, sizeof words.text, "%s %s",
             e->kind == TIDE__EXTERNAL_KIND__EXTERNAL_HOOK ? "hook" : "the coordinator of",
             tide_show(e->name).text);
    return words;
}

#define WORDS(job, index) external_words(facts(job, index)).text

void external_init(struct job *job)
{
    job->externals = core_alloc((job->graph->n_externals + 1) * sizeof *job->externals);
}

/* ---- who hosts what */

bool external_take(struct job *job, struct worker *w, const Tide__Join *m, char why[static 256])
{
    struct bits seen;
    bool fine = true;
    bits_init(&seen, job->graph->n_externals + 1);
    uint32_t *own = core_alloc((m->n_externals + 1) * sizeof *own);
    for (size_t i = 0; fine && i < m->n_externals; i++) {
        int64_t index = tide_graph_external(job->graph, m->externals[i]);
        struct tide_external named = {m->externals[i]->kind, UNPB(m->externals[i]->name), 0, 0};
        fine = index >= 0 && bits_put(&seen, (uint32_t)index);
        if (!fine)
            snprintf(why, 256, "Join names %s%s", external_words(&named).text,
                     index < 0 ? ", which the job does not have" : " twice");
    }
    for (uint32_t i = 0, n = 0; fine && i < job->graph->n_externals; i++)
        if (bits_get(&seen, i)) own[n++] = i;
    if (fine && w) {
        free(w->externals);
        w->externals = own;
        w->n_externals = seen.set;
        own = NULL;
    }
    free(own);
    bits_release(&seen);
    return fine;
}

bool external_back(struct worker *w, const Tide__Join *m)
{
    struct job *job = w->job;
    bool adopted = job->adopting && !w->back;
    if (!adopted && m->n_externals != w->n_externals) return false;
    for (size_t i = 0; i < m->n_externals; i++) {
        int64_t index = tide_graph_external(job->graph, m->externals[i]);
        core_assert(index >= 0); /* the Join was looked at */
        const struct worker *host = job->externals[index].host;
        if (host ? host != w : !adopted) return false;
    }
    char why[256];
    if (!adopted || w->n_externals) return true;
    core_assert(external_take(job, w, m, why));
    external_place(w);
    return true;
}

void external_place(struct worker *w)
{
    for (uint32_t i = 0; i < w->n_externals; i++) {
        struct worker **host = &w->job->externals[w->externals[i]].host;
        core_assert(*host == NULL);
        *host = w;
    }
}

void external_release(struct worker *w)
{
    for (uint32_t i = 0; i < w->n_externals; i++) {
        struct worker **host = &w->job->externals[w->externals[i]].host;
        if (*host == w) *host = NULL;
    }
    free(w->externals);
    w->externals = NULL;
    w->n_externals = 0;
}

struct worker *external_in_the_way(const struct worker *w, uint32_t *ret_index)
{
    for (uint32_t i = 0; i < w->n_externals; i++) {
        struct worker *host = w->job->externals[w->externals[i]].host;
        if (!host || host == w) continue;
        *ret_index = w->externals[i];
        return host;
    }
    return NULL;
}

bool external_missing(const struct job *job, enum standing standing, uint32_t *ret_index)
{
    for (uint32_t i = 0; i < job->graph->n_externals; i++) {
        const struct worker *host = job->externals[i].host;
        if (host && host->standing == standing) continue;
        if (host && standing == STANDS_READY && job->gap && region_survives(host)) continue;
        *ret_index = i;
        return true;
    }
    return false;
}

/* ---- restoring */

/* Coordinators of survivors stay as they are. */
void external_begin_attempt(struct job *job)
{
    for (uint32_t i = 0; i < job->graph->n_externals; i++) {
        struct external *e = &job->externals[i];
        e->restored = job->gap && !is_hook(job, i) && e->host && region_survives(e->host);
    }
}

/* Its Join says that it has restored, or has run before the attempt: a hook then restores again. */
void external_back_restored(const struct worker *w)
{
    for (uint32_t i = 0; i < w->n_externals; i++)
        w->job->externals[w->externals[i]].restored = !w->ran || !is_hook(w->job, w->externals[i]);
}

bool external_not_restored(const struct job *job, uint32_t *ret_index)
{
    for (uint32_t i = 0; i < job->graph->n_externals; i++) {
        if (job->externals[i].restored) continue;
        *ret_index = i;
        return true;
    }
    return false;
}

void external_put_states(const struct worker *w, const Tide__ManifestHead *head, bool hooks_alone,
                         struct tide_buf *out)
{
    for (size_t i = 0; head && i < head->n_externals; i++) {
        Tide__Start start = TIDE__START__INIT;
        const Tide__External *e = head->externals[i]->external;
        int64_t index = e ? tide_graph_external(w->job->graph, e) : -1;
        if (index < 0 || w->job->externals[index].host != w) continue;
        if (hooks_alone && !is_hook(w->job, (uint32_t)index)) continue;
        start.n_externals = 1;
        start.externals = &head->externals[i];
        uint8_t *room = tide_buf_extend(out, tide__start__get_packed_size(&start));
        if (room) tide__start__pack(&start, room);
    }
}

/* ---- a round asks */

void external_begin_round(struct round *r)
{
    uint32_t n = r->job->graph->n_externals;
    if (!n) return;
    r->asking = core_alloc(sizeof *r->asking + n * sizeof r->asking->parts[0]);
    bits_init(&r->asking->released, r->job->graph->tasks);
}

void external_free_round(struct round *r)
{
    if (!r->asking) return;
    for (uint32_t i = 0; i < r->job->graph->n_externals; i++)
        free((void *)(uintptr_t)r->asking->parts[i].data.data);
    bits_release(&r->asking->released);
    free(r->asking);
    r->asking = NULL;
}

static void send_ask(struct core *c, const struct round *r, uint32_t index,
                     Tide__ExternalPhase phase, size_t n_tasks, Tide__TaskRange **tasks)
{
    const struct job *job = r->job;
    const struct worker *host = job->externals[index].host;
    Tide__AskExternal m = TIDE__ASK_EXTERNAL__INIT;
    Tide__External e = TIDE__EXTERNAL__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    if (!host || host->standing != STANDS_HOLDING || !host->session) return;
    e.kind = facts(job, index)->kind;
    e.name = PB(facts(job, index)->name);
    m.attempt = r->attempt;
    m.round = r->number;
    m.external = &e;
    m.phase = phase;
    m.n_tasks = n_tasks;
    m.tasks = tasks;
    m.left_ms = r->deadline_us > c->now ? (uint32_t)((r->deadline_us - c->now) / MS) : 0;
    message.msg_case = TIDE__TO_WORKER__MSG_ASK_EXTERNAL;
    message.ask_external = &m;
    send_worker(c, host->session, &message);
}

/* All coordinators have answered: hooks come after them. */
static bool hooks_turn(const struct round *r)
{
    for (uint32_t i = 0; i < r->job->graph->n_externals; i++)
        if (!is_hook(r->job, i) && !r->asking->parts[i].answered) return false;
    return true;
}

bool external_ask(struct core *c, struct round *r)
{
    if (!r->asking) return true;
    bool hooks = hooks_turn(r);
    for (uint32_t i = 0; i < r->job->graph->n_externals; i++) {
        struct part *p = &r->asking->parts[i];
        if (p->asked || is_hook(r->job, i) != hooks) continue;
        p->asked = true;
        send_ask(c, r, i, TIDE__EXTERNAL_PHASE__EXTERNAL_SNAPSHOT, 0, NULL);
    }
    return r->asking->answered == r->job->graph->n_externals;
}

/* What the worker has not answered is asked again; what it was told of acks may not have come. */
void external_resume(struct core *c, struct worker *w)
{
    for (struct round *r = w->job->rounds; r; r = r->next)
        for (uint32_t i = 0; r->asking && r->attempt == w->job->attempt && i < w->n_externals;
             i++) {
            uint32_t index = w->externals[i];
            const struct tide_external *e = facts(w->job, index);
            if (r->state == ROUND_ASKING && r->asking->parts[index].asked &&
                !r->asking->parts[index].answered)
                send_ask(c, r, index, TIDE__EXTERNAL_PHASE__EXTERNAL_SNAPSHOT, 0, NULL);
            for (uint32_t t = e->first_task; t < e->first_task + e->tasks; t++)
                if (bits_get(&r->asking->released, t)) bits_drop(&r->asking->released, t);
            external_acked(c, r);
        }
}

/* ---- and is answered */

/* It lives in a worker that holds the attempt. */
static void part_failed(struct core *c, struct job *job, uint32_t index, struct round *r,
                        struct tide_bytes reason)
{
    reason = core_text_cut(reason, 200);
    const char *what = r                                  ? "failed"
                       : job->state == TIDE_JOB_RESTORING ? "could not restore"
                                                          : "cannot go on";
    char *why = core_printf("%s %s: %.*s", WORDS(job, index), what, (int)reason.len,
                            (const char *)reason.data);
    if (r)
        round_abort(c, r, TIDE__ABORT_CODE__ABORT_EXTERNAL, why);
    else
        attempt_fail(c, job, job->externals[index].host, why);
    free(why);
}

static void keep_answer(struct core *c, struct round *r, uint32_t index, struct tide_bytes data)
{
    struct job *job = r->job;
    struct part *p = &r->asking->parts[index];
    p->answered = true;
    r->asking->answered++;
    r->asking->bytes += data.len;
    /* a coordinator without bytes is restored as that, a hook that gave none is reset */
    if (data.len || !is_hook(r->job, index)) p->data = core_copy(data);
    if (r->asking->bytes > EXTERNAL_ALL_MAX)
        round_abort(c, r, TIDE__ABORT_CODE__ABORT_EXTERNAL,
                    "its coordinators and hooks gave more than 16 MiB in all");
    else
        round_asked(c, r);
    trigger_pump(c, job); /* it is set up, or aborted: what has waited for that may begin */
}

const char *external_malformed(const struct worker *w, const Tide__ExternalAnswer *m)
{
    if (!m->state || !m->state->external) return "names no external part";
    if (m->state->data.len > EXTERNAL_DATA_MAX) return "has more than 1 MiB of data";
    int64_t index = tide_graph_external(w->job->graph, m->state->external);
    for (uint32_t i = 0; i < w->n_externals && w->standing != STANDS_PARKED; i++)
        if (w->externals[i] == index) return NULL;
    return "names a part that this worker does not host";
}

void external_answer(struct core *c, struct worker *w, const Tide__ExternalAnswer *m)
{
    struct job *job = w->job;
    uint32_t index = (uint32_t)tide_graph_external(job->graph, m->state->external);
    if (!worker_speaks(w, m->attempt)) return;
    if (m->round == 0 && m->failed.len) {
        part_failed(c, job, index, NULL, UNPB(m->failed));
        return;
    }
    if (m->attempt != job->attempt) return;
    if (m->round == 0) {
        job->externals[index].restored = true;
        attempt_all_restored(c, job);
        return;
    }
    struct round *r = job_round(job, m->round);
    if (!r || r->state != ROUND_ASKING || !r->asking->parts[index].asked ||
        r->asking->parts[index].answered)
        return; /* late, or said again */
    if (m->failed.len && !(PLANTED(HOOK_IGNORED) && is_hook(job, index)))
        part_failed(c, job, index, r, UNPB(m->failed));
    else
        keep_answer(c, r, index, UNPB(m->state->data));
}

size_t external_states(const struct round *r, struct tide_arena *arena, Tide__ExternalState ***ret)
{
    uint32_t n = r->asking ? r->job->graph->n_externals : 0;
    size_t given = 0;
    *ret = tide_arena_alloc(arena, (n + 1) * sizeof **ret);
    core_assert(*ret != NULL);
    for (uint32_t i = 0; i < n; i++) {
        if (!r->asking->parts[i].data.data) continue;
        Tide__ExternalState *s = tide_arena_alloc(arena, sizeof *s);
        Tide__External *e = tide_arena_alloc(arena, sizeof *e);
        core_assert(s && e);
        tide__external_state__init(s);
        tide__external__init(e);
        e->kind = facts(r->job, i)->kind;
        e->name = PB(facts(r->job, i)->name);
        s->external = e;
        s->data = PB(r->asking->parts[i].data);
        (*ret)[given++] = s;
    }
    return given;
}

/* ---- tasks have acked */

static void tell_acked(struct core *c, struct round *r, uint32_t index)
{
    const struct tide_external *e = facts(r->job, index);
    struct bits now;
    Tide__TaskRange **ranges;
    bits_init(&now, r->job->graph->tasks);
    for (uint32_t t = e->first_task; t < e->first_task + e->tasks; t++) {
        bool acked =
            bits_get(&r->acked, t) || bits_get(&r->plan.ended, t) || PLANTED(RELEASE_EARLY);
        if (acked && bits_put(&r->asking->released, t)) bits_put(&now, t);
    }
    size_t n = bits_ranges(&now, &c->out, &ranges);
    if (n) send_ask(c, r, index, TIDE__EXTERNAL_PHASE__EXTERNAL_RELEASE, n, ranges);
    bits_release(&now);
}

static void tell_due(struct core *c, void *arg)
{
    struct job *job = arg;
    for (struct round *r = job->rounds; r; r = r->next)
        for (uint32_t i = 0; r->asking && i < job->graph->n_externals; i++)
            if (r->state >= ROUND_COLLECTING && r->attempt == job->attempt && !is_hook(job, i))
                tell_acked(c, r, i);
}

/* All acks of a turn of the host's loop are told in one message. */
void external_acked(struct core *c, struct round *r)
{
    struct job *job = r->job;
    if (!r->asking || is_hook(job, 0)) return;
    job->release_timer.fire = tell_due;
    job->release_timer.arg = job;
    if (!job->release_timer.place) timer_set(c, &job->release_timer, c->now);
}

/* ---- who holds a round, for people */

uint32_t external_holders(const struct round *r, struct tide_arena *arena, struct tide_holder *ret,
                          uint32_t most, uint32_t *ret_total)
{
    uint32_t n = 0;
    *ret_total = 0;
    for (uint32_t i = 0; i < r->job->graph->n_externals; i++) {
        const struct part *p = &r->asking->parts[i];
        const struct worker *host = r->job->externals[i].host;
        if (p->answered || (*ret_total)++ >= most) continue;
        const char *phase =
            tide_arena_printf(arena, "%s%s", p->asked ? "has not answered" : "not asked yet",
                              host && host->session ? "" : ", its worker is away");
        core_assert(phase != NULL);
        ret[n++] = (struct tide_holder){.task = r->job->graph->tasks + i,
                                        .subtask = (uint32_t)facts(r->job, i)->kind,
                                        .uid = tide_arena_bytes(arena, facts(r->job, i)->name),
                                        .worker = host ? tide_arena_bytes(arena, host->name)
                                                       : (struct tide_bytes){0},
                                        .phase = VIEW(phase)};
    }
    return n;
}

void external_holder(Tide__RoundHolder *h, struct tide_arena *arena)
{
    h->external = tide_arena_alloc(arena, sizeof *h->external);
    core_assert(h->external != NULL);
    tide__external__init(h->external);
    h->external->kind = (Tide__ExternalKind)h->subtask;
    h->external->name = h->operator_uid;
    h->operator_uid = (ProtobufCBinaryData){0};
    h->task = h->subtask = 0;
}

char *external_deadline_words(const struct round *r, uint32_t ms)
{
    char names[300] = "";
    size_t at = 0;
    uint32_t shown = 0, total = 0;
    for (uint32_t i = 0; i < r->job->graph->n_externals; i++) {
        const struct part *p = &r->asking->parts[i];
        const struct worker *host = r->job->externals[i].host;
        if (p->answered || !p->asked || total++ >= 3) continue;
        int n = snprintf(names + at, sizeof names - at, "%s%s%s", shown ? ", " : "",
                         WORDS(r->job, i), host && host->session ? "" : " (its worker is away)");
        if (n < 0 || (size_t)n >= sizeof names - at) {
            names[at] = '\0';
            break;
        }
        at += (size_t)n;
        shown++;
    }
    return core_printf("%s%s had not answered by the deadline of %u ms", names,
                       total > shown ? " and others" : "", ms);
}

static const char *state_words(const struct job *job, const struct external *e)
{
    const struct worker *host = e->host;
    if (!host) return "missing";
    if (!host->session) return "away";
    if (host->standing == STANDS_READY) return "waiting";
    if (host->standing == STANDS_REWINDING) return "rewinding";
    return job->state == TIDE_JOB_RESTORING && !e->restored ? "restoring" : "running";
}

void external_show(struct core *c, const struct job *job, Tide__JobDetail *m)
{
    uint32_t n = job->graph->n_externals;
    m->externals = tide_arena_alloc(&c->out, (n + 1) * sizeof *m->externals);
    core_assert(m->externals != NULL);
    for (uint32_t i = 0; i < n; i++) {
        Tide__ExternalInfo *info = tide_arena_alloc(&c->out, sizeof *info);
        Tide__External *e = tide_arena_alloc(&c->out, sizeof *e);
        core_assert(info && e);
        tide__external_info__init(info);
        tide__external__init(e);
        e->kind = facts(job, i)->kind;
        e->name = PB(facts(job, i)->name);
        info->external = e;
        if (job->externals[i].host) info->worker = PB(job->externals[i].host->name);
        info->state = PB(VIEW(state_words(job, &job->externals[i])));
        m->externals[m->n_externals++] = info;
    }
}

/* What admins ask of the core: jobs, one job, a savepoint, a checkpoint. What they asked for is an
 * operation from then on: operation.c. */
#include <stdarg.h>
#include <stdio.h>

#include "daemon/core/internal.h"

#define WORKERS_SHOWN_MAX 10000u

bool core_answers(Tide__Request__CallCase call)
{
    return call == TIDE__REQUEST__CALL_LIST_JOBS || call == TIDE__REQUEST__CALL_SHOW_JOB ||
           call == TIDE__REQUEST__CALL_SAVEPOINT || call == TIDE__REQUEST__CALL_CHECKPOINT ||
           call == TIDE__REQUEST__CALL_WAIT || call == TIDE__REQUEST__CALL_HOLD ||
           call == TIDE__REQUEST__CALL_RELEASE || call == TIDE__REQUEST__CALL_RESTORE ||
           call == TIDE__REQUEST__CALL_IMPORT_SNAPSHOT || call == TIDE__REQUEST__CALL_STOP ||
           call == TIDE__REQUEST__CALL_CANCEL || call == TIDE__REQUEST__CALL_DISPOSE ||
           call == TIDE__REQUEST__CALL_EXPORT_SNAPSHOT;
}

void admin_answer(struct core *c, uint64_t session, uint64_t request, Tide__Response *response)
{
    response->id = request;
    act_send(c, session, pack_frame(&response->base));
}

void admin_error(struct core *c, uint64_t session, uint64_t request, Tide__ErrorCode code,
                 const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    Tide__Error error = TIDE__ERROR__INIT;
    Tide__Response response = TIDE__RESPONSE__INIT;
    error.code = code;
    error.text = PB(VIEW(text));
    response.result_case = TIDE__RESPONSE__RESULT_ERROR;
    response.error = &error;
    admin_answer(c, session, request, &response);
}

struct tide_bytes admin_sayable(struct tide_bytes text)
{
    struct tide_bytes cut = core_text_cut(text, 200);
    return tide_text_valid(cut) ? cut : VIEW("?");
}

/* ---- requests for rounds */

Tide__ErrorCode admin_wish_wrong(struct core *c, const struct wish *wish, const struct job *job,
                                 char why[static 300])
{
    struct tide_bytes name = admin_sayable(wish->job), target = admin_sayable(wish->target);
    why[0] = '\0';
    if (!job || !job->durable) {
        snprintf(why, 300, "there is no job \"%.*s\"", (int)name.len, (const char *)name.data);
        return TIDE__ERROR_CODE__ERROR_NOT_FOUND;
    }
    if (wish->key.len > 64 || wish->label.len > 255 || wish->who.len > 255 ||
        wish->target.len > 2048 || !tide_text_valid(wish->label) || !tide_text_valid(wish->who) ||
        !tide_text_valid(wish->target)) {
        snprintf(
            why, 300,
            "key (64 bytes), label (255), who (255) or target (2,048) is too long or not UTF-8");
        return TIDE__ERROR_CODE__ERROR_INVALID;
    }
    if (wish->call.len > REQUEST_MAX) {
        snprintf(why, 300, "the request has more than %zu bytes", REQUEST_MAX);
        return TIDE__ERROR_CODE__ERROR_INVALID;
    }
    if (wish->target.len && wish->target.data[0] != '/') {
        snprintf(why, 300, "the target \"%.*s\" is not an absolute path", (int)target.len,
                 (const char *)target.data);
        return TIDE__ERROR_CODE__ERROR_INVALID;
    }
    size_t root = strlen(c->config.state_root);
    if (wish->target.len && wish->target.len >= root &&
        memcmp(wish->target.data, c->config.state_root, root) == 0 &&
        (wish->target.len == root || wish->target.data[root] == '/')) {
        snprintf(why, 300,
                 "the target lies in the directory of checkpoints, %s, which the daemon cleans",
                 c->config.state_root);
        return TIDE__ERROR_CODE__ERROR_INVALID;
    }
    if (wish->takes == TIDE_SAVEPOINT && !wish->target.len && !c->config.savepoint_root) {
        snprintf(why, 300, "no target is given and none is configured ([daemon] savepoints)");
        return TIDE__ERROR_CODE__ERROR_INVALID;
    }
    if (wish->takes && (tide_job_ended(job->state) || job->state == TIDE_JOB_HELD ||
                        job->state == TIDE_JOB_STOPPING || job->end_asked)) {
        snprintf(why, 300, "job %s is %s: no round can be taken%s", job->name,
                 tide_job_state_name(job->state),
                 job->state == TIDE_JOB_HELD ? " until it is released (tidemark release)" : "");
        return TIDE__ERROR_CODE__ERROR_STATE;
    }
    if (wish->aligns && alignment_wrong(job, wish->alignment, why))
        return TIDE__ERROR_CODE__ERROR_INVALID;
    return 0;
}

void admin_trigger(struct core *c, const struct wish *wish)
{
    struct job *job = job_find(c, wish->job);
    char why[300];
    if (job && operation_again(c, job, wish)) return;
    Tide__ErrorCode code = admin_wish_wrong(c, wish, job, why);
    if (code)
        admin_error(c, wish->session, wish->id, code, "%s", why);
    else if (!stop_refuses(c, job, wish))
        operation_new(c, job, wish);
}

/* ---- jobs */

static uint32_t tasks_present(const struct job *job)
{
    uint32_t n = 0;
    for (const struct worker *w = job->workers; w; w = w->next)
        if (w->session && w->standing != STANDS_PARKED) n += w->tasks;
    return n;
}

static Tide__JobSummary *summary(const struct job *job, struct tide_arena *arena)
{
    Tide__JobSummary *m = tide_arena_alloc(arena, sizeof *m);
    core_assert(m != NULL);
    tide__job_summary__init(m);
    m->name = PB(VIEW(job->name));
    m->id = PB(((struct tide_bytes){job->id.b, 16}));
    m->state = PB(VIEW(tide_job_state_name(job->state)));
    if (job->cause) m->cause = PB(VIEW(job->cause));
    m->attempt = job->attempt;
    m->tasks = job->graph->tasks;
    m->tasks_present = tasks_present(job);
    m->workers = job->n_workers;
    m->last_complete = job->last_complete;
    const struct snapshot *s = job_snapshot(job, job->last_complete);
    if (s) m->last_complete_wall_us = s->completed_wall;
    m->created_wall_us = job->created_wall;
    return m;
}

static void list_jobs(struct core *c, uint64_t session, uint64_t request)
{
    Tide__JobList list = TIDE__JOB_LIST__INIT;
    Tide__Response response = TIDE__RESPONSE__INIT;
    list.jobs = tide_arena_alloc(&c->out, (c->n_jobs + 1) * sizeof *list.jobs);
    core_assert(list.jobs != NULL);
    for (struct job *job = c->jobs; job; job = job->next)
        if (job->durable) list.jobs[list.n_jobs++] = summary(job, &c->out);
    response.result_case = TIDE__RESPONSE__RESULT_JOBS;
    response.jobs = &list;
    admin_answer(c, session, request, &response);
}

static void show_workers(struct core *c, const struct job *job, Tide__JobDetail *m)
{
    m->workers = tide_arena_alloc(&c->out, (job->n_workers + 1) * sizeof *m->workers);
    core_assert(m->workers != NULL);
    for (const struct worker *w = job->workers; w && m->n_workers < WORKERS_SHOWN_MAX;
         w = w->next) {
        Tide__WorkerInfo *info = tide_arena_alloc(&c->out, sizeof *info);
        core_assert(info != NULL);
        tide__worker_info__init(info);
        info->name = PB(w->name);
        info->endpoint = PB(w->endpoint);
        info->state = PB(VIEW(w->standing == STANDS_PARKED ? "parked"
                              : w->session                 ? "present"
                                                           : "away"));
        info->tasks = tide_arena_alloc(&c->out, (w->n_ranges + 1) * sizeof *info->tasks);
        core_assert(info->tasks != NULL);
        for (uint32_t i = 0; i < w->n_ranges; i++) {
            Tide__TaskRange *range = tide_arena_alloc(&c->out, sizeof *range);
            core_assert(range != NULL);
            tide__task_range__init(range);
            range->first = w->ranges[2 * i];
            range->count = w->ranges[2 * i + 1];
            info->tasks[info->n_tasks++] = range;
        }
        bool leased = w->standing == STANDS_HOLDING || w->standing == STANDS_REWINDING;
        info->lease_left_ms =
            leased && w->lease_until > c->now ? (uint32_t)((w->lease_until - c->now) / MS) : 0;
        m->workers[m->n_workers++] = info;
    }
}

static uint32_t tasks_missing(const struct job *job)
{
    uint32_t n = job->graph->tasks;
    for (const struct worker *w = job->workers; w; w = w->next)
        if (w->standing == STANDS_READY || (job->gap && region_survives(w))) n -= w->tasks;
    return n;
}

const char *job_waits_for(struct core *c, const struct job *job)
{
    char *text = NULL;
    uint32_t part, missing;
    const struct worker *behind = region_behind(job);
    if (job->adopting) {
        text = tide_arena_printf(&c->out, "its workers to come back after the daemon's restart");
    } else if (job->state == TIDE_JOB_RESTORING) {
        if (job->restored.set == job->graph->tasks && external_not_restored(job, &part))
            text = tide_arena_printf(&c->out, "%s to restore",
                                     external_words(&job->graph->externals[part]).text);
        else if (job->restored.set == job->graph->tasks && behind)
            text = tide_arena_printf(&c->out, "worker %.*s, whose region goes on, to advance",
                                     (int)behind->name.len, (const char *)behind->name.data);
        else
            text = tide_arena_printf(&c->out, "%u of %u tasks to restore",
                                     job->graph->tasks - job->restored.set, job->graph->tasks);
    } else if (job->state == TIDE_JOB_STOPPING) {
        text = tide_arena_printf(&c->out, "its last commits to be confirmed");
    } else if (job->state != TIDE_JOB_WAITING) {
        return "";
    } else if (job->starting == START_STORING) {
        text = tide_arena_printf(&c->out, "the store");
    } else if (job->n_holders != region_survivors(job)) {
        for (const struct worker *w = job->workers; w && !text; w = w->next)
            if ((w->standing == STANDS_HOLDING && !(job->gap && region_survives(w))) ||
                w->standing == STANDS_REWINDING)
                text =
                    tide_arena_printf(&c->out,
                                      "worker %.*s, which holds attempt %" PRIu64
                                      ", to drop it, or its lease (%" PRIu64 " ms left)",
                                      (int)w->name.len, (const char *)w->name.data, w->attempt,
                                      w->lease_until > c->now ? (w->lease_until - c->now) / MS : 0);
    } else if ((missing = tasks_missing(job)) > 0) {
        text = tide_arena_printf(&c->out, "workers for %u of its %u tasks", missing,
                                 job->graph->tasks);
    } else if (external_missing(job, STANDS_READY, &part)) {
        text = tide_arena_printf(&c->out, "a worker that hosts %s",
                                 external_words(&job->graph->externals[part]).text);
    } else if (job->rounds) {
        text = tide_arena_printf(&c->out, "the commit of round %" PRIu64, job->rounds->number);
    } else if (job->not_before > c->now) {
        text = tide_arena_printf(&c->out, "the next try, in %" PRIu64 " ms",
                                 (job->not_before - c->now) / MS);
    } else {
        text = tide_arena_printf(&c->out, "the store");
    }
    core_assert(text != NULL);
    return text;
}

static void show_round(struct core *c, const struct round *r, Tide__JobDetail *m)
{
    static const char *const names[] = {"",           "opening", "asking",    "collecting",
                                        "finalizing", "ready",   "committing"};
    const struct job *job = r->job;
    Tide__RoundInfo *info = tide_arena_alloc(&c->out, sizeof *info);
    core_assert(info != NULL);
    tide__round_info__init(info);
    info->round = r->number;
    info->incarnation = c->incarnation;
    info->attempt = r->attempt;
    info->kind = (Tide__RoundKind)r->kind;
    info->state = PB(VIEW(names[r->state]));
    info->begun_wall_us = r->begun_wall;
    info->tasks = job->graph->tasks;
    info->acked = round_acked(r);
    info->trigger_us = r->triggered_us ? r->triggered_us - r->begun_us : 0;
    info->bytes = r->bytes;
    if (r->meeting) info->style = TIDE__ROUND_STYLE__STYLE_RENDEZVOUS;
    info->alignment = (Tide__Alignment)r->alignment;
    info->unaligned = r->unaligned;
    info->processed_bytes = r->processed;
    info->persisted_bytes = r->persisted;
    info->align_us = r->align_us;
    info->turned_us = r->turned_us;
    info->stop = (Tide__StopMode)r->stop;
    info->job = PB(VIEW(job->name));
    info->operation = r->operation ? r->operation->id : 0;
    struct tide_holder *holders;
    uint32_t total, n = round_holders(r, &c->out, &holders, &total);
    info->held_by_count = total;
    info->held_by = tide_arena_alloc(&c->out, (n + 1) * sizeof *info->held_by);
    core_assert(info->held_by != NULL);
    for (uint32_t i = 0; i < n; i++) {
        Tide__RoundHolder *h = tide_arena_alloc(&c->out, sizeof *h);
        core_assert(h != NULL);
        tide__round_holder__init(h);
        h->task = holders[i].task;
        h->operator_uid = PB(holders[i].uid);
        h->subtask = holders[i].subtask;
        h->worker = PB(holders[i].worker);
        h->phase = PB(holders[i].phase);
        if (holders[i].task >= job->graph->tasks) external_holder(h, &c->out);
        info->held_by[info->n_held_by++] = h;
    }
    m->open[m->n_open++] = info;
}

static void show_job(struct core *c, uint64_t session, uint64_t request, struct tide_bytes name)
{
    struct job *job = job_find(c, name);
    if (!job) {
        name = admin_sayable(name);
        admin_error(c, session, request, TIDE__ERROR_CODE__ERROR_NOT_FOUND,
                    "there is no job \"%.*s\"", (int)name.len, (const char *)name.data);
        return;
    }
    Tide__JobDetail m = TIDE__JOB_DETAIL__INIT;
    Tide__Response response = TIDE__RESPONSE__INIT;
    struct bits missing;
    m.summary = summary(job, &c->out);
    m.spec = tide_unpack(&c->out, &tide__job_spec__descriptor,
                         (struct tide_bytes){job->graph->spec_bytes, job->graph->spec_len}, NULL);
    show_workers(c, job, &m);
    bits_init(&missing, job->graph->tasks);
    for (uint32_t t = 0; t < job->graph->tasks; t++)
        if (!job->host[t]) bits_put(&missing, t);
    m.n_missing = bits_ranges(&missing, &c->out, &m.missing);
    bits_release(&missing);
    m.n_ended = bits_ranges(&job->ended, &c->out, &m.ended);
    m.open = tide_arena_alloc(&c->out, (round_in_progress(job) + 1) * sizeof *m.open);
    core_assert(m.open != NULL);
    for (const struct round *r = job->rounds; r; r = r->next)
        show_round(c, r, &m);
    external_show(c, job, &m);
    region_show(c, job, &m);
    m.waiting_for = PB(VIEW(job_waits_for(c, job)));
    if (job->last_failure) m.last_failure = PB(VIEW(job->last_failure));
    m.gauges = &job->gauges;
    response.result_case = TIDE__RESPONSE__RESULT_JOB;
    response.job = &m;
    admin_answer(c, session, request, &response);
}

void core_status(const struct core *c, struct tide_arena *arena, Tide__Status *status)
{
    status->workers = c->n_workers;
    status->rounds_complete = c->rounds_complete;
    status->rounds_aborted = c->rounds_aborted;
    status->deleting = clean_backlog(c);
    status->delete_failures = c->delete_failures;
    status->jobs = tide_arena_alloc(arena, (c->n_jobs + 1) * sizeof *status->jobs);
    for (const struct job *job = c->jobs; job && status->jobs; job = job->next) {
        Tide__JobStatus *s = tide_arena_alloc(arena, sizeof *s);
        if (!s) return;
        tide__job_status__init(s);
        s->name = PB(VIEW(job->name));
        s->state = PB(VIEW(tide_job_state_name(job->state)));
        s->gauges = (Tide__Gauges *)(uintptr_t)&job->gauges;
        status->jobs[status->n_jobs++] = s;
    }
}

void admin_frame(struct core *c, struct session *s, struct tide_bytes frame)
{
    int rc;
    Tide__Request *m = tide_unpack(&c->arena, &tide__request__descriptor, frame, &rc);
    if (!m || m->call_case == TIDE__REQUEST__CALL__NOT_SET || m->id == 0) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_MALFORMED,
                     "a request that cannot be parsed, or without an id");
        return;
    }
    if (m->call_case > TIDE__REQUEST__CALL_STATUS && s->version < 2) {
        send_refused(c, s, TIDE__REFUSED_CODE__REFUSED_STATE,
                     "this call is of version 2 of the protocol, this connection has 1");
        return;
    }
    switch (m->call_case) {
    case TIDE__REQUEST__CALL_HOLD:
    case TIDE__REQUEST__CALL_RESTORE:
    case TIDE__REQUEST__CALL_IMPORT_SNAPSHOT:
    case TIDE__REQUEST__CALL_RELEASE: order_asked(c, s, m, frame); break;
    case TIDE__REQUEST__CALL_STOP:
    case TIDE__REQUEST__CALL_CANCEL: stop_asked(c, s, m, frame); break;
    case TIDE__REQUEST__CALL_DISPOSE: dispose_asked(c, s, m, frame); break;
    case TIDE__REQUEST__CALL_EXPORT_SNAPSHOT: export_asked(c, s, m, frame); break;
    case TIDE__REQUEST__CALL_LIST_JOBS: list_jobs(c, s->id, m->id); break;
    case TIDE__REQUEST__CALL_SHOW_JOB: show_job(c, s->id, m->id, UNPB(m->show_job->job)); break;
    case TIDE__REQUEST__CALL_WAIT: operation_wait(c, s->id, m->id, m->wait); break;
    case TIDE__REQUEST__CALL_SAVEPOINT:
        admin_trigger(c, &(struct wish){.session = s->id,
                                        .id = m->id,
                                        .job = UNPB(m->savepoint->job),
                                        .target = UNPB(m->savepoint->target),
                                        .key = UNPB(m->savepoint->key),
                                        .who = UNPB(m->savepoint->who),
                                        .label = UNPB(m->savepoint->label),
                                        .call = frame,
                                        .takes = TIDE_SAVEPOINT,
                                        .aligns = m->savepoint->how_case ==
                                                  TIDE__TRIGGER_SAVEPOINT__HOW_ALIGNMENT,
                                        .alignment = (uint32_t)m->savepoint->alignment,
                                        .kind = TIDE_OP_SAVEPOINT});
        break;
    case TIDE__REQUEST__CALL_CHECKPOINT:
        admin_trigger(c, &(struct wish){.session = s->id,
                                        .id = m->id,
                                        .job = UNPB(m->checkpoint->job),
                                        .key = UNPB(m->checkpoint->key),
                                        .who = UNPB(m->checkpoint->who),
                                        .call = frame,
                                        .takes = TIDE_CHECKPOINT,
                                        .kind = TIDE_OP_CHECKPOINT});
        break;
    default:
        admin_error(c, s->id, m->id, TIDE__ERROR_CODE__ERROR_UNSUPPORTED,
                    "this call is not supported yet");
    }
}

/* A job: its birth from a spec or from the store, its states, its end.
 *
 * WAITING (for tasks) -> RESTORING -> RUNNING -> back to WAITING whenever an attempt ends, or
 * STOPPING once every task has ended, or an admin has stopped it -> FINISHED, SUSPENDED or
 * CANCELLED. HELD and the ends are left by an operator's hand alone. Each state is durable before
 * anybody is told. */
#include <stdio.h>

#include "daemon/core/internal.h"

static const uint32_t may_move[] = {
    [TIDE_JOB_WAITING] = 1u << TIDE_JOB_RESTORING | 1u << TIDE_JOB_STOPPING | 1u << TIDE_JOB_HELD |
                         1u << TIDE_JOB_FAILED | 1u << TIDE_JOB_CANCELLED,
    [TIDE_JOB_RESTORING] = 1u << TIDE_JOB_WAITING | 1u << TIDE_JOB_RUNNING | 1u << TIDE_JOB_HELD |
                           1u << TIDE_JOB_FAILED | 1u << TIDE_JOB_STOPPING |
                           1u << TIDE_JOB_CANCELLED,
    [TIDE_JOB_RUNNING] = 1u << TIDE_JOB_WAITING | 1u << TIDE_JOB_STOPPING | 1u << TIDE_JOB_HELD |
                         1u << TIDE_JOB_FAILED | 1u << TIDE_JOB_CANCELLED,
    [TIDE_JOB_STOPPING] = 1u << TIDE_JOB_FINISHED | 1u << TIDE_JOB_HELD | 1u << TIDE_JOB_SUSPENDED |
                          1u << TIDE_JOB_CANCELLED,
    [TIDE_JOB_HELD] = 1u << TIDE_JOB_WAITING | 1u << TIDE_JOB_STOPPING | 1u << TIDE_JOB_CANCELLED,
    [TIDE_JOB_SUSPENDED] = 1u << TIDE_JOB_CANCELLED | 1u << TIDE_JOB_WAITING,
    [TIDE_JOB_FINISHED] = 1u << TIDE_JOB_WAITING,
    [TIDE_JOB_CANCELLED] = 1u << TIDE_JOB_WAITING,
    [TIDE_JOB_FAILED] = 1u << TIDE_JOB_WAITING,
};

void job_move(struct job *job, enum tide_job_state to)
{
    if (job->state == to) return;
    core_assert(may_move[job->state] & 1u << to);
    job->state = to;
}

void job_record_state(struct core *c, struct tide_commit *commit, struct job *job,
                      enum tide_job_state state)
{
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_JOB_STATE, job->id);
    core_assert(r != NULL);
    r->job_state.state = state;
    if (job->cause && state >= TIDE_JOB_HELD)
        r->job_state.cause = tide_commit_bytes(commit, VIEW(job->cause));
    r->job_state.snapshot = tide_job_ended(state) ? job->ended_snapshot : 0;
    r->job_state.wall = c->wall;
    core_assert(commit->rc == 0);
}

static struct job *job_init(struct core *c, struct tide_graph *graph, tide_id id)
{
    struct job *job = core_alloc(sizeof *job);
    job->core = c;
    job->id = id;
    job->name = core_text(graph->name);
    job->graph = graph;
    job->state = TIDE_JOB_WAITING;
    job->host = core_alloc(graph->tasks * sizeof *job->host);
    bits_init(&job->restored, graph->tasks);
    bits_init(&job->ending, graph->tasks);
    if (graph->checkpointing.regional)
        job->starts = core_alloc(graph->regions * sizeof *job->starts);
    bits_init(&job->ended, graph->tasks);
    bits_init(&job->backlog, graph->tasks);
    tide__gauges__init(&job->gauges);
    job->gauges.last_checkpoint_duration = job->gauges.last_checkpoint_size = -1;
    job->gauges.last_checkpoint_full_size = job->gauges.last_completed_checkpoint_id = -1;
    job->gauges.last_checkpoint_completed_timestamp =
        job->gauges.last_checkpoint_restore_timestamp = -1;
    job->gauges.last_checkpoint_processed_data = job->gauges.last_checkpoint_persisted_data = -1;
    attempt_timers_init(job);
    trigger_init(job);
    external_init(job);
    clean_init(job);
    *c->jobs_end = job;
    c->jobs_end = &job->next;
    c->n_jobs++;
    return job;
}

/* Its birth, with what it begins from, is one commit. */
static void store_birth(struct core *c, struct job *job)
{
    const struct tide_graph *graph = job->graph;
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_JOB, job->id);
    core_assert(r != NULL);
    r->job_new.name = tide_commit_bytes(commit, graph->name);
    r->job_new.spec =
        tide_commit_bytes(commit, (struct tide_bytes){graph->spec_bytes, graph->spec_len});
    r->job_new.fingerprint =
        tide_commit_bytes(commit, (struct tide_bytes){(const uint8_t *)graph->fingerprint, 16});
    r->job_new.created_wall = c->wall;
    /* the longest lease ever granted is durable before it is granted */
    uint64_t lease_us = graph->checkpointing.lease_ms * MS;
    if (lease_us > c->lease_us) {
        r = tide_commit_add(commit, TIDE_REC_LEASE, job->id);
        core_assert(r != NULL);
        r->lease.lease_us = lease_us;
    }
    if (job->birth && !import_record(c, commit, job, job->birth, (struct tide_bytes){0})) {
        tide_commit_free(commit);
        job_forget(c, job, TIDE__REFUSED_CODE__REFUSED_BUSY, "no number can be had at the moment");
        return;
    }
    if (job->birth) {
        job->base.since = c->next_id - 1;
        job->base.snapshot = import_id(job->birth);
        r = tide_commit_add(commit, TIDE_REC_BASE, job->id);
        core_assert(r != NULL);
        r->base.since = job->base.since;
        r->base.snapshot = job->base.snapshot;
        r->base.unmatched = job->base.unmatched;
        r->base.adopted = tide_commit_bytes(commit, job->base.adopted);
    }
    core_assert(commit->rc == 0);
    ask_commit(c, commit, ASKED_JOB, job, 0);
}

struct job *job_new(struct core *c, struct tide_graph *graph)
{
    tide_id id;
    tide_set_u64(id.b, core_random(c));
    tide_set_u64(id.b + 8, core_random(c));
    struct job *job = job_init(c, graph, id);
    job->created_wall = c->wall;
    if (graph->restore_from.len) {
        char *path = import_path(graph->restore_from);
        ask_file(c, FILE_META_READ, path, ASKED_JOB_FROM, job, 0);
        free(path);
    } else {
        store_birth(c, job);
    }
    return job;
}

/* Nothing of the job is stored before it is known that it can begin from there: a Join that names
 * what it cannot begin from is refused, and leaves nothing. */
void job_from(struct core *c, struct job *job, const struct event *ev)
{
    char why[300], text[256];
    struct tide_manifest m;
    struct match match;
    struct match_wish wish = {.unmatched = job->graph->allow_unmatched};
    char *path = import_path(job->graph->restore_from);
    if (c->shutting_down) {
        free(path);
        return;
    }
    job->birth = import_new(path, ev, why);
    int rc = job->birth ? tide_manifest_open(&m, import_image(job->birth), text) : TIDE_EINVAL;
    if (job->birth && !rc) {
        rc = match_new(&match, job->graph, &m, &wish, text);
        if (!rc) {
            job->base.unmatched = wish.unmatched;
            job->base.adopted = match.adopted;
            match.adopted = (struct tide_bytes){0};
            import_keep_ended(job->birth, job, &m, &match);
            match_release(&match);
        }
        tide_manifest_close(&m);
    }
    if (job->birth && !rc && import_goes(c, job->birth)) {
        snprintf(text, sizeof text, "it is being disposed of");
        rc = TIDE_EBUSY;
    }
    if (job->birth && rc) snprintf(why, sizeof why, "%.40s: %.250s", path, text);
    free(path);
    /* who knew of an old copy may be gone: the job is to be HELD, whatever it was to begin from */
    if (job->doubt && rc) {
        free((void *)(uintptr_t)job->base.adopted.data);
        job->base = (struct base){0};
    }
    if ((PLANTED(BEGIN_AFRESH) || job->doubt) && rc) {
        import_free(job->birth);
        job->birth = NULL;
        rc = 0;
    }
    if (rc)
        job_forget(c, job, TIDE__REFUSED_CODE__REFUSED_SPEC, why);
    else
        store_birth(c, job);
}

static void refuse_waiting(struct core *c, struct job *job, Tide__RefusedCode code, const char *why)
{
    while (job->workers) {
        struct session *s = map_get(&c->sessions, job->workers->session);
        core_assert(s != NULL);
        if (code == TIDE__REFUSED_CODE__REFUSED_SPEC)
            send_refused(c, s, code, "job %s cannot begin from restore_from: %s", job->name, why);
        else
            send_refused(c, s, code, "job %s could not be stored: %s", job->name, why);
        worker_release(c, job->workers);
    }
}

static void birth_again(struct core *c, void *arg)
{
    if (!c->shutting_down) store_birth(c, arg);
}

void job_stored(struct core *c, struct job *job, const struct event *ev)
{
    if (ev->outcome != TIDE_STORED && job->doubt) {
        /* who knew of an old copy may be gone: it is not forgotten before it is stored */
        refuse_waiting(c, job, TIDE__REFUSED_CODE__REFUSED_BUSY, ev->text);
        job->save_timer = (struct timer){.fire = birth_again, .arg = job};
        timer_set(c, &job->save_timer, c->now + 1000 * MS);
        return;
    }
    if (ev->outcome != TIDE_STORED) {
        job_forget(c, job, TIDE__REFUSED_CODE__REFUSED_BUSY, ev->text);
        return;
    }
    job->durable = true;
    core_log(c, LEVEL_INFO, about_job(job), "job %s: new, %u tasks", job->name, job->graph->tasks);
    if (job->graph->checkpointing.lease_ms * MS > c->lease_us)
        c->lease_us = job->graph->checkpointing.lease_ms * MS;
    if (job->birth) {
        import_add(c, job, job->birth);
        job_adopt(job);
        core_log(c, LEVEL_INFO, about_job(job),
                 "job %s begins from %s in %s, which is its snapshot %" PRIu64, job->name,
                 import_words(job->birth), import_directory(job->birth), import_id(job->birth));
        import_free(job->birth);
        job->birth = NULL;
    }
    if (job->doubt) job_hold(c, job, job->doubt);
    job_tell_joined(c, job);
    attempt_try(c, job);
}

void job_adopt(struct job *job)
{
    const struct tide_bytes a = job->base.adopted;
    for (uint32_t i = 0; i < job->graph->n_operators; i++) {
        struct tide_operator *op = &job->graph->operators[i];
        if (op->max_chosen) op->max_parallelism = tide_max_parallelism_default(op->parallelism);
    }
    for (size_t at = 0; at + 8 <= a.len; at += 8) {
        uint32_t i = tide_get_u32(a.data + at), max = tide_get_u32(a.data + at + 4);
        if (i < job->graph->n_operators && job->graph->operators[i].max_chosen)
            job->graph->operators[i].max_parallelism = max;
    }
}

void job_free(struct job *job)
{
    struct core *c = job->core;
    while (job->workers)
        worker_release(c, job->workers);
    while (job->rounds)
        round_free(c, job->rounds);
    while (job->snapshots) {
        struct snapshot *s = job->snapshots;
        job->snapshots = s->next;
        free(s->directory);
        free((void *)(uintptr_t)s->ended.data);
        free(s);
    }
    while (job->owed) {
        struct owed *o = job->owed;
        job->owed = o->next;
        free((void *)(uintptr_t)o->handle.data);
        free(o);
    }
    while (job->operations) {
        struct operation *op = job->operations;
        job->operations = op->next;
        operation_free(op);
    }
    choice_free(job);
    import_free(job->birth);
    notify_forget(job);
    free((void *)(uintptr_t)job->base.adopted.data);
    free(job->last_failure);
    clean_free(job);
    share_free(job);
    bits_release(&job->doubtful);
    while (job->strikes) {
        struct owed *o = job->strikes;
        job->strikes = o->next;
        free(o);
    }
    attempt_ends_free(job);
    free(job->image);
    bits_release(&job->restored);
    bits_release(&job->ending);
    free(job->starts);
    bits_release(&job->ended);
    bits_release(&job->backlog);
    tide_graph_free(job->graph);
    free(job->host);
    free(job->externals);
    free(job->directory);
    free(job->cause);
    free(job->doubt);
    free(job->name);
    free(job);
}

void job_forget(struct core *c, struct job *job, Tide__RefusedCode code, const char *why)
{
    struct job **at = &c->jobs;
    core_assert(!job->durable && !job->rounds && !job->attempt_open && !job->operations);
    refuse_waiting(c, job, code, why);
    timer_clear(c, &job->lease_timer);
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    if (c->jobs_end == &job->next) c->jobs_end = at;
    c->n_jobs--;
    job_free(job);
}

/* ---- from the store */

static void load_snapshots(struct job *job, const struct tide_catalog_job *from)
{
    struct snapshot **end = &job->snapshots;
    job->subsumed = from->subsumed;
    job->last_complete = job->known_upto = from->completed; /* one that is disposed of, perhaps */
    for (uint32_t i = 0; i < from->n_snapshots; i++) {
        const struct tide_catalog_snapshot *f = &from->snapshots[i];
        if (f->state == TIDE_DELETED) {
            notify_remember(job, f->round, f->commits);
            continue;
        }
        struct snapshot *s = core_alloc(sizeof *s);
        *s =
            (struct snapshot){.round = f->round,
                              .incarnation = f->incarnation,
                              .attempt = f->attempt,
                              .parent = f->parent,
                              .completed_wall = f->completed_wall,
                              .bytes = f->bytes,
                              .shared = f->shared,
                              .kind = f->kind,
                              .state = f->state,
                              .commits = (f->kind == TIDE_CHECKPOINT && !f->imported) || f->commits,
                              .imported = f->imported,
                              .directory = core_text(f->directory),
                              .ended = core_copy(f->ended)};
        *end = s;
        end = &s->next;
        if (s->state == TIDE_DELETING) clean_add_snapshot(job, s);
        if (s->imported) continue; /* no round of the job's */
        if (f->round > job->last_complete) job->last_complete = f->round;
        if (f->round > job->known_upto) job->known_upto = f->round;
        job->gauges.last_completed_checkpoint_id = (int64_t)s->round;
        job->gauges.last_checkpoint_completed_timestamp = (int64_t)(s->completed_wall / MS);
        job->gauges.last_checkpoint_size = job->gauges.last_checkpoint_full_size =
            (int64_t)s->bytes;
        job->gauges.last_checkpoint_external_path = PB(VIEW(s->directory));
    }
}

static void load_attempt(struct job *job, const struct tide_catalog_attempt *from)
{
    /* the record of its end rides, and may not have followed what the job became by it */
    bool ended = from->ended || job->state == TIDE_JOB_HELD || job->state == TIDE_JOB_WAITING;
    if (from->attempt == 0) return;
    job->attempt_incarnation = from->incarnation;
    job->attempt_nonce = from->nonce;
    job->external = from->external;
    job->restored_from = from->restored_from;
    job->directory = core_text(from->directory);
    /* nobody goes on in it; it is known to be ours when the job is reopened */
    if (tide_job_ended(job->state)) return;
    for (uint32_t i = 0; i < from->n_members; i++) {
        const struct tide_member *m = &from->members[i];
        struct worker *w = worker_new(job, m->worker);
        w->endpoint = core_copy(m->endpoint);
        w->boot_id = core_copy(m->boot_id);
        w->pid = m->pid;
        w->start_time = m->start_time;
        w->n_ranges = m->n_ranges;
        w->ranges = core_alloc((size_t)m->n_ranges * 2 * sizeof *w->ranges + 8);
        memcpy(w->ranges, m->ranges, (size_t)m->n_ranges * 2 * sizeof *w->ranges);
        for (uint32_t k = 0; k < m->n_ranges; k++)
            w->tasks += w->ranges[2 * k + 1];
        w->attempt = job->attempt;
        w->since = m->since ? m->since : job->attempt;
        w->ran = w->since < job->attempt ? w->since : 0;
        w->started = true;
        /* of an attempt that has ended, too, nobody knows here that the leases are over */
        worker_place(w, ended ? STANDS_REWINDING : STANDS_HOLDING);
    }
    job->attempt_open = job->adopting = !ended;
    if (ended && !from->ended) attempt_end_unrecorded(job);
}

static void load_owed(struct job *job, const struct tide_catalog_job *from)
{
    struct owed **end = &job->owed;
    for (uint32_t i = 0; i < from->n_owed; i++) {
        int64_t task = tide_graph_task(job->graph, from->owed[i].uid, from->owed[i].subtask);
        if (task < 0)
            continue; /* an operator that the graph lost: kept in the store, named there */
        struct owed *o = core_alloc(sizeof *o);
        *o = (struct owed){from->owed[i].round, (uint32_t)task, core_copy(from->owed[i].handle),
                           NULL};
        *end = o;
        end = &o->next;
    }
}

static void load_rounds(struct job *job, const struct tide_catalog_job *from)
{
    for (uint32_t i = 0; i < from->n_rounds; i++) {
        struct tide_record_round r = from->rounds[i].round;
        if (!from->rounds[i].ended) { /* ended in the store at the start event */
            r.complete = false;
            r.ended_wall = 0; /* of that event */
            r.tasks = job->graph->tasks;
            r.code = TIDE__ABORT_CODE__ABORT_RESTARTED;
            r.reason = VIEW(tide_abort_of(TIDE__ABORT_CODE__ABORT_RESTARTED)->text);
        }
        if (!from->rounds[i].ended && r.stop == TIDE_STOP_DRAIN) job->drain_lost = true;
        clean_add_round(job, &r, from->rounds[i].ended, false);
        /* what is swept came before a round that completed */
        if (from->rounds[i].ended && r.counted && r.attempt == job->attempt &&
            r.number > job->last_complete)
            job->gauges.failures_in_a_row++;
        if (r.number > job->known_upto) job->known_upto = r.number;
    }
}

static void load_operations(struct job *job, const struct tide_catalog_job *from)
{
    struct operation **end = &job->operations;
    for (uint32_t i = 0; i < from->n_operations; i++) {
        const struct tide_catalog_operation *f = &from->operations[i];
        struct operation *op = core_alloc(sizeof *op);
        *op = (struct operation){.id = f->id,
                                 .snapshot = f->snapshot,
                                 .begun_wall = f->begun_wall,
                                 .ended_wall = f->ended_wall,
                                 .kind = f->kind,
                                 .state = f->state,
                                 .key = core_copy(f->key),
                                 .target = core_copy(f->target),
                                 .location = core_copy(f->location),
                                 .error = core_copy(f->error),
                                 .label = core_copy(f->label),
                                 .request = core_copy(f->request),
                                 .report = core_copy(f->report),
                                 .snapshot_good = f->snapshot_good,
                                 .durable = true};
        operation_read(job->core, op);
        const struct snapshot *s = job_snapshot(job, op->snapshot);
        bool deleting = op->kind == TIDE_OP_DISPOSE && (!s || s->state != TIDE_RETAINED);
        /* its round, if it had one, did not complete, or the operation would be done, or its
         * snapshot good: try again */
        if (op->state == TIDE_OP_RUNNING && !op->snapshot_good && !deleting) {
            op->state = TIDE_OP_QUEUED;
            if (op->takes) op->snapshot = 0;
        }
        *end = op;
        end = &op->next;
    }
}

/* Tasks that stay ended when the newest checkpoint is restored, or go on having ended. */
static void load_ended(struct job *job)
{
    const struct snapshot *s = job_recovery_point(job);
    if (!s) return;
    for (size_t at = 0; at + 8 <= s->ended.len; at += 8) {
        uint32_t first = tide_get_u32(s->ended.data + at),
                 count = tide_get_u32(s->ended.data + at + 4);
        for (uint32_t i = 0; i < count && first + i < job->graph->tasks; i++)
            bits_put(&job->ended, first + i);
    }
}

void job_load(struct core *c, const struct tide_catalog_job *from)
{
    char why[256];
    struct tide_graph *graph = NULL;
    Tide__JobSpec *spec = tide__job_spec__unpack(NULL, from->spec.len, from->spec.data);
    core_assert(spec != NULL); /* the store's integrity was checked, and it holds what we packed */
    int rc = tide_graph_new(spec, &graph, why);
    tide__job_spec__free_unpacked(spec, NULL);
    core_assert(rc == 0);
    struct job *job = job_init(c, graph, from->id);
    job->state = from->state;
    job->durable = true;
    job->created_wall = from->created_wall;
    job->ended_snapshot = from->ended_snapshot;
    job->attempt = from->attempts;
    job->held_stored = job->state == TIDE_JOB_HELD;
    job->base = (struct base){from->base_since, from->base_snapshot, from->base_unmatched,
                              core_copy(from->base_adopted)};
    if (PLANTED(FORGET_ORDER)) job->base = (struct base){0};
    job_adopt(job);
    if (from->cause.len || job->state == TIDE_JOB_HELD) job->cause = core_text(from->cause);
    load_snapshots(job, from);
    share_load(job, from);
    load_owed(job, from);
    load_rounds(job, from);
    load_operations(job, from);
    load_ended(job);
    load_attempt(job, &from->last);
    if (!job->attempt_open && (job->state == TIDE_JOB_RESTORING || job->state == TIDE_JOB_RUNNING))
        job->state =
            TIDE_JOB_WAITING; /* the attempt's end is durable, the state's row had not followed */
}

/* ---- ending */

static void store_end(struct core *c, struct job *job)
{
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    if (job->attempt_open && !job->attempt_refused) {
        struct tide_record *r = tide_commit_add(commit, TIDE_REC_ATTEMPT_END, job->id);
        core_assert(r != NULL);
        r->attempt_end.attempt = job->attempt;
        r->attempt_end.wall = c->wall;
        r->attempt_end.reason = tide_commit_bytes(commit, VIEW("the job has ended"));
    }
    record_strikes(job, commit); /* it would keep its snapshot for ever */
    job_record_state(c, commit, job, job->end_asked);
    stop_record_end(job, commit);
    ask_commit(c, commit, ASKED_ENDED, job, 0);
}

static void end_again(struct core *c, void *arg)
{
    store_end(c, arg);
}

void job_end_not_stored(struct core *c, struct job *job)
{
    core_log(c, LEVEL_ERROR, about_job(job),
             "job %s: its end as %s could not be stored; trying again", job->name,
             tide_job_state_name(job->end_asked));
    job->end_timer = (struct timer){.fire = end_again, .arg = job};
    timer_set(c, &job->end_timer, c->now + 1000 * MS);
}

void job_end(struct core *c, struct job *job, enum tide_job_state state)
{
    if (job->end_asked) return;
    job->end_asked = state;
    job->ended_wall = c->wall;
    char *cause = stop_cause(job);
    if (cause) {
        free(job->cause);
        job->cause = cause;
    }
    timer_clear(c, &job->grace_timer);
    timer_clear(c, &job->restore_timer);
    timer_clear(c, &job->trigger_timer);
    timer_clear(c, &job->start_timer);
    timer_clear(c, &job->end_timer);
    const struct snapshot *last = job_recovery_point(job);
    job->ended_snapshot = last ? last->round : 0;
    store_end(c, job);
}

/* In STOPPING: once nothing is owed any more, a savepoint that was under way has its end, and that
 * of the stop is in its place, the job may end. */
void job_finish(struct core *c, struct job *job)
{
    if (job->state == TIDE_JOB_STOPPING && (!job->owed || PLANTED(STOP_EARLY)) && !job->rounds &&
        !job->publishing)
        job_end(c, job, stop_outcome(job));
}

void job_fail(struct core *c, struct job *job, const char *cause)
{
    if (job->end_asked) return;
    free(job->cause);
    job->cause = core_printf("%s", cause);
    job_end(c, job, TIDE_JOB_FAILED);
}

void job_ended_stored(struct core *c, struct job *job)
{
    Tide__Stop stop = TIDE__STOP__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    job_move(job, job->end_asked);
    stop.outcome = PB(VIEW(tide_job_state_name(job->state)));
    stop.snapshot = job->ended_snapshot;
    stop.reason = PB(VIEW(job->cause ? job->cause : "every task has reached the end of its input"));
    message.msg_case = TIDE__TO_WORKER__MSG_STOP;
    message.stop = &stop;
    core_log(c, LEVEL_INFO, about_job(job), "job %s is %s, last snapshot %" PRIu64, job->name,
             tide_job_state_name(job->state), job->ended_snapshot);
    job->attempt_open = job->adopting = job->gap = false;
    job->starting = START_NOT; /* the answer about an attempt's row may come later */
    timer_clear(c, &job->trigger_timer);
    for (struct worker *w = job->workers, *next; w; w = next) {
        next = w->next;
        struct session *s = map_get(&c->sessions, w->session);
        if (w->attempt && w->lease_until > job->let_go_us) job->let_go_us = w->lease_until;
        send_worker(c, w->session, &message);
        if (s) s->worker = NULL;
        worker_release(c, w);
    }
    stop_ended(c, job);
    job->end_asked = 0;
    order_pump(c, job);
    clean_later(c, job);
    clean_pump(c, job);
}

/* ---- looking things up */

uint64_t job_lowest_pending(const struct job *job)
{
    return job->rounds ? job->rounds->number : job->core->next_id;
}

struct round *job_round(const struct job *job, uint64_t number)
{
    struct round *r = job->rounds;
    while (r && r->number != number)
        r = r->next;
    return r;
}

struct round *job_round_of(const struct job *job, const struct operation *op)
{
    struct round *r = job->rounds;
    while (r && r->operation != op)
        r = r->next;
    return r;
}

struct round *job_committing(const struct job *job)
{
    struct round *r = job->rounds;
    while (r && r->state != ROUND_COMMITTING)
        r = r->next;
    return r;
}

const struct snapshot *job_recovery_point(const struct job *job)
{
    const struct snapshot *latest = NULL;
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        if (s->commits && s->state == TIDE_RETAINED && s->round > job->base.since) latest = s;
    return latest || !job->base.since ? latest : job_snapshot(job, job->base.snapshot);
}

/* Whatever it was, it may begin again. */
void job_reopen(struct job *job)
{
    job_move(job, TIDE_JOB_WAITING);
    job->end_asked = 0;
    job->ended_snapshot = 0;
    free(job->cause);
    job->cause = NULL;
}

bool job_all_ended(const struct job *job)
{
    const struct snapshot *s = job_recovery_point(job);
    uint32_t ended = 0;
    for (size_t at = 0; s && at + 8 <= s->ended.len; at += 8)
        ended += tide_get_u32(s->ended.data + at + 4);
    return ended == job->graph->tasks;
}

struct snapshot *job_snapshot(const struct job *job, uint64_t round)
{
    for (struct snapshot *s = job->snapshots; s; s = s->next)
        if (s->round == round) return s;
    return NULL;
}

const struct worker *job_old_worker(const struct job *job)
{
    for (const struct worker *w = job->workers; w; w = w->next)
        if (w->standing == STANDS_HOLDING && w->version < 2) return w;
    return NULL;
}

/* The life of one round.
 *
 * The usual way of a checkpoint: COLLECTING (triggered, acks come in) -> COMMITTING (one commit
 * holds everything) -> complete, told to everybody. A savepoint has OPENING before (its intent and
 * directory are made) and FINALIZING in between (its _metadata.pending is written and synced).
 *
 * What can go wrong: a task declines, the deadline comes, a worker is lost, the disk is full, the
 * daemon shuts down: the round aborts, naming who held it and where each was. From the hand-over of
 * the commit nothing aborts it but the store's own no. What workers are told stands in notify.c. */
#include <stdio.h>

#include "daemon/core/internal.h"

static const uint32_t may_move[] = {
    [ROUND_OPENING] = 1u << ROUND_COLLECTING,
    [ROUND_COLLECTING] = 1u << ROUND_FINALIZING | 1u << ROUND_COMMITTING,
    [ROUND_FINALIZING] = 1u << ROUND_COMMITTING,
    [ROUND_COMMITTING] = 0,
};

static void round_move(struct round *r, enum round_state to)
{
    core_assert(may_move[r->state] & 1u << to);
    if (to >= ROUND_FINALIZING && !PLANTED(ACK_COUNT) && !PLANTED(LEAVE_OUT))
        core_assert(r->acked.set == r->expected);
    r->state = to;
}

bool round_holds(const struct round *r)
{
    return r->state == ROUND_COMMITTING && !PLANTED(ABORT_COMMITTING);
}

void round_free(struct core *c, struct job *job)
{
    struct round *r = job->round;
    timer_clear(c, &job->deadline_timer);
    while (r->handles) {
        struct owed *o = r->handles;
        r->handles = o->next;
        free((void *)(uintptr_t)o->handle.data);
        free(o);
    }
    for (uint32_t i = 0; i < r->n_chunks; i++)
        free((void *)(uintptr_t)r->chunks[i].data);
    free(r->chunks);
    tide_buf_release(&r->chunk);
    bits_release(&r->acked);
    bits_release(&r->ending);
    free(r->progress);
    free(r->directory);
    free(r);
    job->round = NULL;
}

/* ---- beginning */

static void record_round(struct core *c, struct tide_commit *commit, struct job *job,
                         enum tide_record_type type, struct tide_record_round **ret)
{
    struct round *r = job->round;
    struct tide_record *rec = tide_commit_add(commit, type, job->id);
    core_assert(rec != NULL);
    rec->round.number = r->number;
    rec->round.incarnation = c->incarnation;
    rec->round.attempt = r->attempt;
    rec->round.operation = r->operation ? r->operation->id : 0;
    rec->round.kind = r->kind;
    rec->round.directory = tide_commit_bytes(commit, VIEW(r->directory));
    rec->round.begun_wall = r->begun_wall;
    rec->round.tasks = job->graph->tasks;
    rec->round.acked = r->acked.set;
    *ret = &rec->round;
}

static char *savepoint_directory(const struct core *c, const struct job *job,
                                 const struct operation *op, uint64_t number)
{
    struct tide_bytes target = op->target.len ? op->target : VIEW(c->config.savepoint_root);
    const uint8_t *id = job->id.b;
    return core_printf("%.*s/savepoint-%02x%02x%02x-%" PRIu64 "-%" PRIu64, (int)target.len,
                       (const char *)target.data, id[0], id[1], id[2], c->incarnation, number);
}

void round_begin(struct core *c, struct job *job, enum tide_kind kind, struct operation *op)
{
    uint64_t number = core_new_id(c);
    struct tide_record_round *rec;
    if (!number) return; /* no ids at the moment: whoever reserves them asks again */
    struct round *r = job->round = core_alloc(sizeof *r);
    r->number = number;
    r->attempt = job->attempt;
    r->kind = kind;
    r->operation = op;
    r->state = kind == TIDE_SAVEPOINT ? ROUND_OPENING : ROUND_COLLECTING;
    r->begun_us = c->now;
    r->begun_wall = c->wall;
    r->deadline_us = c->now + job->graph->checkpointing.deadline_ms * MS;
    r->handles_end = &r->handles;
    bits_init(&r->acked, job->graph->tasks);
    bits_init(&r->ending, job->graph->tasks);
    bits_or(&r->ending, &job->ending);
    r->expected = job->graph->tasks - job->ended.set;
    r->final = job->ended.set + r->ending.set == job->graph->tasks;
    tide_buf_init(&r->chunk, ROUND_BYTES_MAX + TIDE_FRAME_MAX + 4);
    r->directory = kind == TIDE_SAVEPOINT ? savepoint_directory(c, job, op, number)
                                          : core_printf("%s/r%" PRIu64, job->directory, number);
    timer_set(c, &job->deadline_timer, r->deadline_us);
    job->gauges.total_number_of_checkpoints++;
    job->gauges.number_of_in_progress_checkpoints = 1;

    struct tide_commit *commit = tide_commit_new(kind == TIDE_SAVEPOINT);
    core_assert(commit != NULL);
    record_round(c, commit, job, TIDE_REC_ROUND_BEGIN, &rec);
    if (op) {
        op->state = TIDE_OP_RUNNING;
        op->snapshot = number;
        operation_record(commit, job, op);
    }
    core_assert(commit->rc == 0);
    if (kind == TIDE_SAVEPOINT) {
        ask_commit(c, commit, ASKED_ROUND_BEGIN, job, number);
        ask_file(c, FILE_MKDIR, r->directory, ASKED_ROUND_DIR, job, number);
    } else {
        ride_commit(c, commit);
        round_trigger(c, job, 0);
    }
    if (op) operation_changed(c, op);
}

static void opened(struct core *c, struct job *job, const struct event *ev, bool stored)
{
    struct round *r = job->round;
    if (stored && ev->outcome != TIDE_STORED) {
        round_abort(c, job,
                    ev->outcome == TIDE_NO_SPACE ? TIDE__ABORT_CODE__ABORT_NO_SPACE
                                                 : TIDE__ABORT_CODE__ABORT_REFUSED,
                    "the savepoint's intent could not be stored");
        return;
    }
    if (!stored && ev->rc) {
        r->directory_strange = ev->rc == TIDE_EEXIST;
        char *why = core_printf("its directory could not be made: %s",
                                ev->text ? ev->text : tide_strerror(ev->rc));
        round_abort(c, job,
                    ev->rc == TIDE_ENOSPC ? TIDE__ABORT_CODE__ABORT_NO_SPACE
                                          : TIDE__ABORT_CODE__ABORT_STORAGE,
                    why);
        free(why);
        return;
    }
    *(stored ? &r->begin_stored : &r->directory_made) = true;
    if (!r->begin_stored || !r->directory_made) return;
    round_move(r, ROUND_COLLECTING);
    round_trigger(c, job, 0);
    operation_changed(c, r->operation);
}

/* ---- completing */

static struct tide_bytes manifest_head(struct core *c, struct job *job)
{
    struct round *r = job->round;
    const struct snapshot *parent = job_latest_checkpoint(job);
    Tide__ManifestHead head = TIDE__MANIFEST_HEAD__INIT;
    head.store_id = PB(((struct tide_bytes){c->store_id.b, 16}));
    head.job_id = PB(((struct tide_bytes){job->id.b, 16}));
    head.spec = tide__job_spec__unpack(NULL, job->graph->spec_len, job->graph->spec_bytes);
    core_assert(head.spec != NULL);
    head.round = r->number;
    head.incarnation = c->incarnation;
    head.attempt = r->attempt;
    head.kind = (Tide__RoundKind)r->kind;
    head.begun_wall_us = r->begun_wall;
    head.tasks = job->graph->tasks;
    head.n_ended = bits_ranges(&job->ended, &c->out, &head.ended);
    head.n_ending = bits_ranges(&r->ending, &c->out, &head.ending);
    head.directory = PB(VIEW(r->directory));
    head.parent = parent ? parent->round : job->restored_from;
    if (r->operation) head.label = PB(r->operation->label);
    uint8_t *packed = tide_arena_alloc(&c->out, tide__manifest_head__get_packed_size(&head));
    core_assert(packed != NULL);
    size_t len = tide__manifest_head__pack(&head, packed);
    tide__job_spec__free_unpacked(head.spec, NULL);
    return (struct tide_bytes){packed, len};
}

/* Ranges of the tasks that stay ended when this round is restored, as pairs of u32. */
static struct tide_bytes ended_after(struct core *c, const struct job *job)
{
    struct bits both;
    struct tide_buf out;
    uint32_t at = 0, first, count;
    bits_init(&both, job->graph->tasks);
    bits_or(&both, &job->ended);
    bits_or(&both, &job->round->ending);
    tide_buf_init(&out, (size_t)job->graph->tasks * 8 + 8);
    while (bits_run(&both, &at, &first, &count)) {
        tide_buf_put_u32(&out, first);
        tide_buf_put_u32(&out, count);
    }
    core_assert(out.rc == 0);
    struct tide_bytes view = tide_arena_bytes(&c->out, (struct tide_bytes){out.data, out.len});
    tide_buf_release(&out);
    bits_release(&both);
    return view;
}

static void record_snapshot(struct core *c, struct job *job, struct tide_commit *commit)
{
    struct round *r = job->round;
    const struct snapshot *parent = job_latest_checkpoint(job);
    struct tide_record *rec = tide_commit_add(commit, TIDE_REC_SNAPSHOT, job->id);
    core_assert(rec != NULL);
    rec->snapshot.round = r->number;
    rec->snapshot.incarnation = c->incarnation;
    rec->snapshot.attempt = r->attempt;
    rec->snapshot.parent = parent ? parent->round : job->restored_from;
    rec->snapshot.kind = r->kind;
    rec->snapshot.directory = tide_commit_bytes(commit, VIEW(r->directory));
    if (r->operation) rec->snapshot.label = tide_commit_bytes(commit, r->operation->label);
    rec->snapshot.begun_wall = r->begun_wall;
    rec->snapshot.completed_wall = c->wall;
    rec->snapshot.bytes = r->bytes;
    rec->snapshot.artifacts = r->artifacts;
    rec->snapshot.tasks = job->graph->tasks;
    rec->snapshot.ended = tide_commit_bytes(commit, ended_after(c, job));
    rec->snapshot.head = tide_commit_bytes(commit, manifest_head(c, job));
    rec->snapshot.chunks = commit->chunks = r->chunks; /* the commit owns them from here on */
    rec->snapshot.n_chunks = commit->n_chunks = r->n_chunks;
    r->chunks = NULL;
    r->n_chunks = 0;
}

static void record_owed(struct job *job, struct tide_commit *commit)
{
    if (job->round->kind != TIDE_CHECKPOINT) return; /* a savepoint commits nothing outside */
    for (struct owed *o = job->round->handles; o; o = o->next) {
        uint32_t subtask;
        const struct tide_operator *op = tide_graph_operator(job->graph, o->task, &subtask);
        struct tide_record *rec = tide_commit_add(commit, TIDE_REC_OWED, job->id);
        core_assert(rec != NULL);
        rec->owed.round = o->round;
        rec->owed.uid = tide_commit_bytes(commit, op->uid);
        rec->owed.subtask = subtask;
        rec->owed.handle = tide_commit_bytes(commit, o->handle);
    }
}

static void hand_over(struct core *c, struct job *job)
{
    struct round *r = job->round;
    struct tide_record_round *rec;
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    round_move(r, ROUND_COMMITTING);
    if (!PLANTED(ABORT_COMMITTING)) timer_clear(c, &job->deadline_timer);
    record_round(c, commit, job, TIDE_REC_ROUND_END, &rec);
    rec->complete = true;
    rec->ended_wall = c->wall;
    rec->trigger_us = r->triggered_us ? r->triggered_us - r->begun_us : 0;
    rec->acks_us = r->acked_us - (r->triggered_us ? r->triggered_us : r->begun_us);
    rec->bytes = r->bytes;
    record_snapshot(c, job, commit);
    record_owed(job, commit);
    for (const struct owed *o = job->strikes; o; o = o->next) {
        record_strike(job, commit, o);
        r->strikes = r->strikes ? r->strikes : o;
    }
    if (r->kind == TIDE_CHECKPOINT) clean_subsume(c, job, commit);
    if (r->operation) {
        struct operation done = *r->operation;
        done.state = TIDE_OP_DONE;
        done.location = VIEW(r->directory);
        done.ended_wall = c->wall;
        operation_record(commit, job, &done);
    }
    if (r->final && r->kind == TIDE_CHECKPOINT) job_record_state(c, commit, job, TIDE_JOB_STOPPING);
    core_assert(commit->rc == 0);
    ask_commit(c, commit, ASKED_ROUND_COMMIT, job, r->number);
    if (r->operation) operation_changed(c, r->operation);
    if (PLANTED(TELL_EARLY)) round_send_complete(c, job, r->number);
}

void round_all_acked(struct core *c, struct job *job)
{
    struct round *r = job->round;
    r->acked_us = c->now;
    if (r->kind == TIDE_CHECKPOINT) {
        hand_over(c, job);
        return;
    }
    struct tide_buf image;
    round_move(r, ROUND_FINALIZING);
    tide_buf_init(&image, SIZE_MAX / 2);
    tide_manifest_put(&image, manifest_head(c, job), r->chunks, r->n_chunks);
    core_assert(image.rc == 0);
    ask_file(c, FILE_META_WRITE, r->directory, ASKED_METADATA, job, r->number);
    struct action *x = &c->todo->items[c->todo->n - 1];
    x->image = tide_buf_take(&image, &x->image_len);
    if (r->operation) operation_changed(c, r->operation);
}

static void gauges_complete(struct core *c, struct job *job, const struct snapshot *s)
{
    struct round *r = job->round;
    Tide__Gauges *g = &job->gauges;
    g->last_checkpoint_duration = (int64_t)((c->now - r->begun_us) / MS);
    g->last_checkpoint_size = g->last_checkpoint_full_size = (int64_t)s->bytes;
    g->last_completed_checkpoint_id = (int64_t)s->round;
    g->last_checkpoint_completed_timestamp = (int64_t)(c->wall / MS);
    g->last_checkpoint_external_path = PB(VIEW(s->directory));
    g->number_of_completed_checkpoints++;
    g->number_of_in_progress_checkpoints = 0;
    c->rounds_complete++;
}

static void keep_snapshot(struct core *c, struct job *job)
{
    struct round *r = job->round;
    struct snapshot *s = core_alloc(sizeof *s), **end = &job->snapshots;
    const struct snapshot *parent = job_latest_checkpoint(job);
    *s = (struct snapshot){.round = r->number,
                           .incarnation = c->incarnation,
                           .attempt = r->attempt,
                           .parent = parent ? parent->round : job->restored_from,
                           .completed_wall = c->wall,
                           .bytes = r->bytes,
                           .kind = r->kind,
                           .state = TIDE_RETAINED,
                           .directory = core_printf("%s", r->directory),
                           .ended = core_copy(ended_after(c, job))};
    while (*end)
        end = &(*end)->next;
    *end = s;
    job->last_complete = r->number;
    gauges_complete(c, job, s);
    if (r->kind != TIDE_CHECKPOINT) return;
    struct owed **last = &job->owed;
    while (*last)
        last = &(*last)->next;
    *last = r->handles;
    r->handles = NULL;
    bits_or(&job->ended, &r->ending);
    bits_minus(&job->ending, &job->ended);
}

/* Those from `upto` on were in the commit that is now stored; newer ones stand before it. */
static void forget_strikes(struct job *job, const struct owed *upto)
{
    struct owed **at = &job->strikes;
    while (upto && *at != upto)
        at = &(*at)->next;
    while (upto && *at) {
        struct owed *o = *at;
        *at = o->next;
        free(o);
    }
}

static void complete(struct core *c, struct job *job)
{
    struct round *r = job->round;
    struct operation *op = r->operation;
    uint64_t number = r->number;
    bool checkpoint = r->kind == TIDE_CHECKPOINT, stopping = r->final && checkpoint,
         here = r->attempt == job->attempt && job->attempt_open;
    keep_snapshot(c, job);
    forget_strikes(job, r->strikes);
    job->last_complete_us = c->now;
    job->failed_attempts = 0;
    job->times_round = number;
    job->times_commit_us = c->now - r->acked_us;
    if (stopping) {
        if (job->state == TIDE_JOB_WAITING || job->state == TIDE_JOB_RUNNING ||
            job->state == TIDE_JOB_RESTORING)
            job_move(job, TIDE_JOB_STOPPING);
        timer_clear(c, &job->start_timer);
    }
    if (!checkpoint) {
        ask_file(c, FILE_META_PUBLISH, r->directory, ASKED_PUBLISH, job, number);
    } else if (op) {
        op->state = TIDE_OP_DONE;
        op->ended_wall = c->wall;
        free((void *)(uintptr_t)op->location.data);
        op->location = core_copy(VIEW(r->directory));
        operation_changed(c, op);
    }
    core_log(c, LEVEL_DEBUG, about_round(job, number),
             "job %s: %s %" PRIu64 " is complete, %" PRIu64 " bytes", job->name,
             tide_kind_name(r->kind), number, r->bytes);
    round_free(c, job);
    if (checkpoint) clean_subsumed(job);
    if (here && !PLANTED(TELL_EARLY)) round_send_complete(c, job, number);
    clean_pump(c, job);
    if (stopping) job_finish(c, job);
    if (job->attempt_open)
        trigger_pump(c, job);
    else
        attempt_try(c, job);
}

static void committed(struct core *c, struct job *job, const struct event *ev)
{
    struct round *r = job->round;
    if (ev->outcome == TIDE_STORED) {
        complete(c, job);
        return;
    }
    for (struct snapshot *s = job->snapshots; s; s = s->next)
        s->subsuming = false;
    r->state = ROUND_FINALIZING; /* the store's no: nothing was changed, so it may abort */
    char *why = core_printf("the store did not take it: %s", ev->text ? ev->text : "");
    round_abort(c, job,
                ev->outcome == TIDE_NO_SPACE ? TIDE__ABORT_CODE__ABORT_NO_SPACE
                                             : TIDE__ABORT_CODE__ABORT_REFUSED,
                why);
    free(why);
    if (!job->attempt_open) attempt_try(c, job);
}

static void published(struct core *c, struct job *job, const struct pending *p,
                      const struct event *ev)
{
    for (struct operation *op = job->operations; op; op = op->next) {
        if (op->snapshot != p->number || op->kind != TIDE_OP_SAVEPOINT ||
            op->state != TIDE_OP_RUNNING)
            continue;
        const struct snapshot *s = job_snapshot(job, p->number);
        if (ev->rc == 0 && s) {
            op->state = TIDE_OP_DONE;
            op->ended_wall = c->wall;
            free((void *)(uintptr_t)op->location.data);
            op->location = core_copy(VIEW(s->directory));
            operation_changed(c, op);
            return;
        }
        char *why = core_printf(
            "savepoint %" PRIu64
            " is complete in the store, but its _metadata could not be put in place (%s); "
            "the daemon tries again when it starts",
            p->number, ev->text ? ev->text : tide_strerror(ev->rc));
        operation_fail(c, job, op, NULL, why);
        free(why);
        return;
    }
    if (ev->rc)
        core_log(c, LEVEL_WARN, about_round(job, p->number),
                 "job %s: _metadata of savepoint %" PRIu64 " could not be put in place: %s",
                 job->name, p->number, ev->text ? ev->text : tide_strerror(ev->rc));
}

static void complete_sent(struct core *c, struct job *job, uint64_t number)
{
    if (job->times_round != number) return;
    struct tide_commit *commit = tide_commit_new(false);
    core_assert(commit != NULL);
    struct tide_record *rec = tide_commit_add(commit, TIDE_REC_ROUND_TIMES, job->id);
    core_assert(rec != NULL);
    rec->times.number = number;
    rec->times.commit_us = job->times_commit_us;
    rec->times.notify_us = c->now - job->last_complete_us;
    job->times_round = 0;
    ride_commit(c, commit);
}

void round_answer(struct core *c, struct job *job, const struct pending *p, const struct event *ev)
{
    struct round *r = job->round && job->round->number == p->number ? job->round : NULL;
    switch (p->what) {
    case ASKED_ROUND_BEGIN:
    case ASKED_ROUND_DIR:
        /* aborted before its directory was there: what is there is another's */
        if (!r && p->what == ASKED_ROUND_DIR && ev->rc == TIDE_EEXIST) clean_leave(job, p->number);
        if (r && r->state == ROUND_OPENING) opened(c, job, ev, p->what == ASKED_ROUND_BEGIN);
        break;
    case ASKED_TRIGGER_SENT:
        if (r && !r->triggered_us) r->triggered_us = c->now;
        break;
    case ASKED_METADATA:
        if (!r || r->state != ROUND_FINALIZING) break;
        if (ev->rc == 0) {
            hand_over(c, job);
        } else {
            char *why = core_printf("its _metadata could not be written: %s",
                                    ev->text ? ev->text : tide_strerror(ev->rc));
            round_abort(c, job,
                        ev->rc == TIDE_ENOSPC ? TIDE__ABORT_CODE__ABORT_NO_SPACE
                                              : TIDE__ABORT_CODE__ABORT_STORAGE,
                        why);
            free(why);
        }
        break;
    case ASKED_ROUND_COMMIT:
        if (r) committed(c, job, ev);
        break;
    case ASKED_PUBLISH: published(c, job, p, ev); break;
    case ASKED_COMPLETE_SENT: complete_sent(c, job, p->number); break;
    default: core_assert(p->what == ASKED_ROUND_COMMIT); /* not a round's question */
    }
}

/* ---- aborting */

static void record_abort(struct core *c, struct job *job, Tide__AbortCode code, const char *reason)
{
    struct round *r = job->round;
    struct tide_record_round *rec;
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    record_round(c, commit, job, TIDE_REC_ROUND_END, &rec);
    rec->ended_wall = c->wall;
    rec->code = (int)code;
    rec->reason = tide_commit_bytes(commit, VIEW(reason));
    rec->trigger_us = r->triggered_us ? r->triggered_us - r->begun_us : 0;
    rec->bytes = r->bytes;
    struct tide_holder *holders;
    rec->n_holders = round_holders(job, &commit->arena, &holders, &rec->holders_total);
    rec->holders = holders;
    if (r->operation) {
        char *why = core_printf("round %" PRIu64 " aborted: %s", r->number, reason);
        operation_fail(c, job, r->operation, commit, why);
        free(why);
    }
    core_assert(commit->rc == 0);
    ask_commit(c, commit, ASKED_ABORTED, job, r->number);
    clean_add_round(job, rec, false, true);
    if (r->directory_strange) clean_leave(job, r->number);
}

void round_abort(struct core *c, struct job *job, Tide__AbortCode code, const char *reason)
{
    struct round *r = job->round;
    core_assert(r && !round_holds(r));
    core_log(c, LEVEL_WARN, about_round(job, r->number),
             "job %s: %s %" PRIu64 " aborted, %u of %u tasks had acked: %s", job->name,
             tide_kind_name(r->kind), r->number, r->acked.set, r->expected, reason);
    record_abort(c, job, code, reason);
    c->rounds_aborted++;
    job->gauges.number_of_failed_checkpoints++;
    job->gauges.number_of_in_progress_checkpoints = 0;
    uint64_t number = r->number;
    bool final = r->final;
    round_free(c, job);
    round_send_abort(c, job, number, code, reason, 0);
    /* without a period nothing else would space out the tries of a final round */
    if (final && job->hold_until < c->now + 100 * MS) job->hold_until = c->now + 100 * MS;
    timer_set(c, &job->trigger_timer, c->now);
}

static void deadline(struct core *c, void *arg)
{
    struct job *job = arg;
    struct round *r = job->round;
    if (!r || round_holds(r)) return;
    struct tide_holder *holders;
    uint32_t total, n = round_holders(job, &c->out, &holders, &total);
    char names[300] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < n && i < 3; i++)
        if (at + holders[i].uid.len + holders[i].phase.len + 20 < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s %.*s[%u] (%.*s)",
                                   i ? "," : ":", (int)holders[i].uid.len,
                                   (const char *)holders[i].uid.data, holders[i].subtask,
                                   (int)holders[i].phase.len, (const char *)holders[i].phase.data);
    char *why =
        r->state == ROUND_FINALIZING
            ? core_printf("its _metadata was not written by the deadline of %u ms",
                          job->graph->checkpointing.deadline_ms)
            : core_printf("%u tasks had not acked by the deadline of %u ms%s%s", total,
                          job->graph->checkpointing.deadline_ms, names, total > 3 ? ", ..." : "");
    round_abort(c, job, TIDE__ABORT_CODE__ABORT_DEADLINE, why);
    free(why);
}

void round_decline(struct core *c, struct worker *w, const Tide__Decline *m)
{
    struct job *job = w->job;
    struct round *r = job->round;
    uint32_t subtask;
    if (!r || r->state != ROUND_COLLECTING || m->round != r->number || m->attempt != job->attempt ||
        w->attempt != m->attempt || w->standing != STANDS_HOLDING || bits_get(&r->acked, m->task))
        return; /* late: the round's fate does not hang on it */
    const struct tide_operator *op = tide_graph_operator(job->graph, m->task, &subtask);
    struct tide_bytes reason = core_text_cut(UNPB(m->reason), 200);
    char *why = core_printf("%.*s[%u] declined: %.*s", (int)op->uid.len, (const char *)op->uid.data,
                            subtask, (int)reason.len, (const char *)reason.data);
    uint64_t not_before = c->now + m->retry_after_ms * MS;
    if (not_before > job->hold_until) job->hold_until = not_before;
    round_abort(c, job, TIDE__ABORT_CODE__ABORT_DECLINED, why);
    free(why);
}

void round_init(struct job *job)
{
    job->deadline_timer = (struct timer){.fire = deadline, .arg = job};
}

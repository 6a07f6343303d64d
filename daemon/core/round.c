/* The life of one round.
 *
 * The usual way of a checkpoint: COLLECTING (triggered, acks come in) -> COMMITTING (one commit
 * holds everything) -> complete, told to everybody. A savepoint has OPENING before (its intent is
 * stored) and FINALIZING in between (its _metadata.pending is written and synced); every round of a
 * job with external parts has ASKING before it is triggered (external.c).
 *
 * Several rounds of a job may be under way. Their commits are handed over one at a time, in order
 * of rounds, so that each knows what those before it did: one whose turn has not come is READY. A
 * checkpoint that completes aborts those with smaller numbers. What can go wrong stands in abort.c,
 * what workers are told in notify.c. */
#include "daemon/core/internal.h"

static const uint32_t may_move[] = {
    [ROUND_OPENING] = 1u << ROUND_ASKING,
    [ROUND_ASKING] = 1u << ROUND_COLLECTING,
    [ROUND_COLLECTING] = 1u << ROUND_FINALIZING | 1u << ROUND_READY | 1u << ROUND_COMMITTING,
    [ROUND_FINALIZING] = 1u << ROUND_READY | 1u << ROUND_COMMITTING,
    [ROUND_READY] = 1u << ROUND_COMMITTING,
    [ROUND_COMMITTING] = 0,
};

static void round_move(struct round *r, enum round_state to)
{
    core_assert(may_move[r->state] & 1u << to);
    if (to >= ROUND_FINALIZING && !PLANTED(ACK_COUNT) && !PLANTED(LEAVE_OUT))
        core_assert(r->acked.set == r->plan.expected);
    r->state = to;
}

bool round_holds(const struct round *r)
{
    return r->state == ROUND_COMMITTING && !PLANTED(ABORT_COMMITTING);
}

uint32_t round_in_progress(const struct job *job)
{
    uint32_t n = 0;
    for (const struct round *r = job->rounds; r; r = r->next)
        n++;
    return n;
}

uint32_t round_acked(const struct round *r)
{
    return r->job->graph->tasks - r->plan.expected + r->acked.set;
}

void round_free(struct core *c, struct round *r)
{
    struct job *job = r->job;
    struct round **at = &job->rounds;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    job->gauges.number_of_in_progress_checkpoints = round_in_progress(job);
    timer_clear(c, &r->timer);
    share_let_go(r);
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
    plan_release(&r->plan);
    meeting_free(r);
    external_free_round(r);
    free(r->progress);
    free(r->directory);
    free(r);
}

/* ---- beginning */

struct tide_record_round *round_record(struct core *c, struct tide_commit *commit,
                                       const struct round *r, enum tide_record_type type)
{
    const struct job *job = r->job;
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
    rec->round.acked = round_acked(r);
    rec->round.alignment = r->alignment;
    rec->round.style = r->meeting ? TIDE_RENDEZVOUS : TIDE_FLOW;
    rec->round.stop = r->stop;
    rec->round.unaligned = r->unaligned;
    rec->round.processed_bytes = r->processed;
    rec->round.persisted_bytes = r->persisted;
    rec->round.align_us = r->align_us;
    rec->round.turned_us = r->turned_us;
    return &rec->round;
}

static struct round *round_new(struct core *c, struct job *job, enum tide_kind kind,
                               struct operation *op)
{
    uint64_t number = core_new_id(c);
    if (!number) return NULL;
    struct round *r = core_alloc(sizeof *r), **end = &job->rounds;
    while (*end)
        end = &(*end)->next;
    *end = r;
    r->job = job;
    r->number = number;
    r->attempt = job->attempt;
    r->kind = kind;
    r->commits = kind == TIDE_CHECKPOINT || op->commits;
    r->stop = op ? op->stop : TIDE_STOP_NOT;
    r->full = (op && op->full) || (kind == TIDE_CHECKPOINT && import_wants_full(job));
    r->native = op && op->native;
    r->operation = op;
    r->state = ROUND_OPENING;
    r->begun_us = c->now;
    r->begun_wall = c->wall;
    r->deadline_us = c->now + job->graph->checkpointing.deadline_ms * MS;
    r->cap_us = c->now + job->graph->checkpointing.deadline_cap_ms * MS;
    r->progress_us = c->now;
    alignment_choose(r);
    r->handles_end = &r->handles;
    bits_init(&r->acked, job->graph->tasks);
    plan_make(&r->plan, job->graph, &job->ended, &job->ending);
    meeting_begin(r);
    external_begin_round(r);
    tide_buf_init(&r->chunk, ROUND_BYTES_MAX + TIDE_FRAME_MAX + 4);
    if (kind == TIDE_SAVEPOINT) {
        r->directory = op->directory;
        op->directory = NULL;
    } else {
        r->directory = core_printf("%s/r%" PRIu64, job->directory, number);
    }
    r->timer = (struct timer){.fire = round_deadline, .arg = r};
    timer_set(c, &r->timer, r->deadline_us);
    job->gauges.total_number_of_checkpoints++;
    job->gauges.number_of_in_progress_checkpoints = round_in_progress(job);
    if (op) {
        op->state = TIDE_OP_RUNNING;
        op->snapshot = number;
    }
    return r;
}

/* Tasks are triggered once every external part has answered; one that was not told may have acked
 * already, if something else made it. */
void round_asked(struct core *c, struct round *r)
{
    if (external_ask(c, r)) {
        round_move(r, ROUND_COLLECTING);
        if (!PLANTED(LOSE_START) || r->number % 4) round_trigger(c, r, 0);
        external_acked(c, r);
        if (r->acked.set >= r->plan.expected) round_all_acked(c, r);
    }
    if (r->operation) operation_changed(c, r->operation);
}

bool round_begin(struct core *c, struct job *job, enum tide_kind kind, struct operation *op)
{
    struct round *r = round_new(c, job, kind, op);
    if (!r) return false;
    bool first = kind == TIDE_SAVEPOINT || r->stop; /* its row is durable before it is told */
    struct tide_commit *commit = tide_commit_new(first);
    core_assert(commit != NULL);
    round_record(c, commit, r, TIDE_REC_ROUND_BEGIN);
    if (op) operation_record(commit, job, op);
    core_assert(commit->rc == 0);
    if (first) {
        ask_commit(c, commit, ASKED_ROUND_BEGIN, job, r->number);
    } else {
        ride_commit(c, commit);
        round_move(r, ROUND_ASKING);
        round_asked(c, r);
        return true;
    }
    operation_changed(c, op);
    return true;
}

void round_stillborn(struct core *c, struct job *job, struct operation *op, int rc,
                     const char *reason)
{
    char *why = core_printf("its directory could not be made: %s", reason);
    struct round *r = round_new(c, job, TIDE_SAVEPOINT, op);
    if (r) {
        uint64_t number = r->number;
        round_abort(c, r,
                    rc == TIDE_ENOSPC ? TIDE__ABORT_CODE__ABORT_NO_SPACE
                                      : TIDE__ABORT_CODE__ABORT_STORAGE,
                    why);
        if (rc == TIDE_EEXIST) clean_leave(job, number);
    } else { /* no id */
        free(op->directory);
        op->directory = NULL;
        operation_fail(c, job, op, NULL, why);
    }
    free(why);
}

static void opened(struct core *c, struct round *r, const struct event *ev)
{
    if (ev->outcome != TIDE_STORED) {
        round_abort(c, r,
                    ev->outcome == TIDE_NO_SPACE ? TIDE__ABORT_CODE__ABORT_NO_SPACE
                                                 : TIDE__ABORT_CODE__ABORT_REFUSED,
                    "its intent could not be stored");
        return;
    }
    struct job *job = r->job;
    round_move(r, ROUND_ASKING);
    round_asked(c, r);
    trigger_pump(c, job); /* it is set up: what has waited for that may begin */
}

/* ---- completing */

/* The snapshot that it follows, or the snapshot that its attempt was restored from. */
/* Asked once: others may complete between the writing of _metadata and the commit. */
static uint64_t parent_of(struct round *r)
{
    if (r->has_parent) return r->parent;
    r->has_parent = true;
    r->parent = r->job->restored_from;
    for (const struct snapshot *s = r->job->snapshots; s && s->round < r->number; s = s->next)
        if (s->commits && s->state == TIDE_RETAINED && s->round > r->job->base.since)
            r->parent = s->round;
    return r->parent;
}

static struct tide_bytes manifest_head(struct core *c, struct round *r)
{
    const struct job *job = r->job;
    Tide__ManifestHead head = TIDE__MANIFEST_HEAD__INIT;
    head.store_id = PB(((struct tide_bytes){c->store_id.b, 16}));
    head.job_id = PB(((struct tide_bytes){job->id.b, 16}));
    head.spec = tide__job_spec__unpack(NULL, job->graph->spec_len, job->graph->spec_bytes);
    core_assert(head.spec != NULL);
    /* what cuts key groups is not left for a reader to choose */
    for (size_t i = 0; i < head.spec->n_operators; i++) {
        const struct tide_operator *op = &job->graph->operators[i];
        if (op->max_parallelism != tide_max_parallelism_default(op->parallelism))
            head.spec->operators[i]->max_parallelism = op->max_parallelism;
    }
    head.round = r->number;
    head.incarnation = c->incarnation;
    head.attempt = r->attempt;
    head.kind = (Tide__RoundKind)r->kind;
    head.begun_wall_us = r->begun_wall;
    head.alignment = (Tide__Alignment)r->alignment;
    head.unaligned = r->unaligned;
    head.commits = r->commits && r->kind == TIDE_SAVEPOINT;
    if (r->meeting) head.style = TIDE__ROUND_STYLE__STYLE_RENDEZVOUS;
    head.position = meeting_position(r);
    head.tasks = job->graph->tasks;
    head.n_ended = bits_ranges(&r->plan.ended, &c->out, &head.ended);
    head.n_ending = bits_ranges(plan_lets_end(&r->plan, r->commits), &c->out, &head.ending);
    head.directory = PB(VIEW(r->directory));
    head.parent = parent_of(r);
    if (r->operation) head.label = PB(r->operation->label);
    head.n_externals = external_states(r, &c->out, &head.externals);
    uint8_t *packed = tide_arena_alloc(&c->out, tide__manifest_head__get_packed_size(&head));
    core_assert(packed != NULL);
    size_t len = tide__manifest_head__pack(&head, packed);
    tide__job_spec__free_unpacked(head.spec, NULL);
    return (struct tide_bytes){packed, len};
}

/* Ranges of the tasks that stay ended when this round is restored, as pairs of u32. */
static struct tide_bytes ended_after(struct core *c, const struct round *r)
{
    struct bits both;
    struct tide_buf out;
    uint32_t at = 0, first, count;
    bits_init(&both, r->plan.ended.size);
    bits_or(&both, &r->plan.ended);
    bits_or(&both, plan_lets_end(&r->plan, r->commits));
    tide_buf_init(&out, (size_t)r->plan.ended.size * 8 + 8);
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

static void record_snapshot(struct core *c, struct round *r, struct tide_commit *commit)
{
    const struct job *job = r->job;
    struct tide_record *rec = tide_commit_add(commit, TIDE_REC_SNAPSHOT, job->id);
    core_assert(rec != NULL);
    rec->snapshot.round = r->number;
    rec->snapshot.incarnation = c->incarnation;
    rec->snapshot.attempt = r->attempt;
    rec->snapshot.parent = parent_of(r);
    rec->snapshot.kind = r->kind;
    rec->snapshot.style = r->meeting ? TIDE_RENDEZVOUS : TIDE_FLOW;
    rec->snapshot.unaligned = r->unaligned;
    rec->snapshot.commits = r->commits && r->kind == TIDE_SAVEPOINT;
    rec->snapshot.directory = tide_commit_bytes(commit, VIEW(r->directory));
    if (r->operation) rec->snapshot.label = tide_commit_bytes(commit, r->operation->label);
    rec->snapshot.begun_wall = r->begun_wall;
    rec->snapshot.completed_wall = c->wall;
    rec->snapshot.bytes = r->bytes;
    rec->snapshot.artifacts = r->artifacts;
    rec->snapshot.shared = r->shared;
    rec->snapshot.tasks = job->graph->tasks;
    rec->snapshot.ended = tide_commit_bytes(commit, ended_after(c, r));
    rec->snapshot.head = tide_commit_bytes(commit, manifest_head(c, r));
    rec->snapshot.chunks = commit->chunks = r->chunks; /* the commit owns them from here on */
    rec->snapshot.n_chunks = commit->n_chunks = r->n_chunks;
    r->chunks = NULL;
    r->n_chunks = 0;
}

static void record_owed(const struct round *r, struct tide_commit *commit)
{
    const struct job *job = r->job;
    if (!r->commits) return;
    for (struct owed *o = r->handles; o; o = o->next) {
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

bool round_stops(const struct round *r)
{
    return r->commits && (r->plan.final || r->stop);
}

/* A round that began later has published what this savepoint would. */
static bool is_overtaken(const struct round *r)
{
    const struct snapshot *newest = job_recovery_point(r->job);
    return newest && newest->round > r->number;
}

/* What a commit says depends on what the commits before it have done, so a job's are with the store
 * one at a time, and those that wait follow in order of rounds. */
static void hand_over(struct core *c, struct round *r)
{
    struct job *job = r->job;
    if (job_committing(job)) {
        round_move(r, ROUND_READY);
        return;
    }
    struct tide_commit *commit = tide_commit_new(true);
    core_assert(commit != NULL);
    round_move(r, ROUND_COMMITTING);
    if (r->commits && is_overtaken(r)) r->commits = false;
    if (!PLANTED(ABORT_COMMITTING)) timer_clear(c, &r->timer);
    struct tide_record_round *rec = round_record(c, commit, r, TIDE_REC_ROUND_END);
    rec->complete = true;
    rec->ended_wall = c->wall;
    rec->trigger_us = r->triggered_us ? r->triggered_us - r->begun_us : 0;
    rec->acks_us = r->acked_us - (r->triggered_us ? r->triggered_us : r->begun_us);
    rec->bytes = r->bytes;
    record_snapshot(c, r, commit);
    share_record(commit, r);
    record_owed(r, commit);
    for (const struct owed *o = job->strikes; o; o = o->next) {
        record_strike(job, commit, o);
        r->strikes = r->strikes ? r->strikes : o;
    }
    if (r->commits) clean_subsume(c, r, commit);
    if (r->operation) {
        alignment_report(r);
        struct operation done = *r->operation;
        done.location = VIEW(r->directory);
        done.snapshot_good = r->stop;
        if (!r->stop) { /* a stop is done when the job has ended */
            done.state = TIDE_OP_DONE;
            done.ended_wall = c->wall;
        }
        operation_record(commit, job, &done);
    }
    if (round_stops(r)) job_record_state(c, commit, job, TIDE_JOB_STOPPING);
    core_assert(commit->rc == 0);
    ask_commit(c, commit, ASKED_ROUND_COMMIT, job, r->number);
    if (r->operation) operation_changed(c, r->operation);
    if (PLANTED(TELL_EARLY)) round_send_complete(c, job, r->number);
}

static void hand_over_next(struct core *c, struct job *job)
{
    struct round *r = job->rounds;
    while (r && r->state != ROUND_READY)
        r = r->next;
    if (r && !job_committing(job)) hand_over(c, r);
}

void round_all_acked(struct core *c, struct round *r)
{
    r->acked_us = r->progress_us = c->now;
    ack_flush(r);
    /* their barrier came behind the end of their input */
    if (r->stop == TIDE_STOP_DRAIN) plan_drained(&r->plan);
    char *why = plan_partly_finished(&r->plan);
    if (why) {
        round_abort(c, r, TIDE__ABORT_CODE__ABORT_FINISHED_PARTLY, why);
        free(why);
        return;
    }
    if (r->kind == TIDE_CHECKPOINT) {
        hand_over(c, r);
        return;
    }
    struct tide_buf image;
    round_move(r, ROUND_FINALIZING);
    tide_buf_init(&image, SIZE_MAX / 2);
    tide_manifest_put(&image, manifest_head(c, r), r->chunks, r->n_chunks);
    core_assert(image.rc == 0);
    ask_file(c, FILE_META_WRITE, r->directory, ASKED_METADATA, r->job, r->number);
    struct action *x = &c->todo->items[c->todo->n - 1];
    x->image = tide_buf_take(&image, &x->image_len);
    if (r->operation) operation_changed(c, r->operation);
}

static void gauges_complete(struct core *c, const struct round *r, const struct snapshot *s)
{
    Tide__Gauges *g = &r->job->gauges;
    g->last_checkpoint_duration = (int64_t)((c->now - r->begun_us) / MS);
    g->last_checkpoint_full_size = (int64_t)s->bytes;
    g->last_checkpoint_size = (int64_t)(s->bytes - r->shared_bytes);
    g->last_checkpoint_processed_data = (int64_t)r->processed;
    g->last_checkpoint_persisted_data = (int64_t)r->persisted;
    g->last_completed_checkpoint_id = (int64_t)s->round;
    g->last_checkpoint_completed_timestamp = (int64_t)(c->wall / MS);
    g->last_checkpoint_external_path = PB(VIEW(s->directory));
    g->number_of_completed_checkpoints++;
    c->rounds_complete++;
}

static void keep_snapshot(struct core *c, struct round *r)
{
    struct job *job = r->job;
    struct snapshot *s = core_alloc(sizeof *s), **at = &job->snapshots;
    *s = (struct snapshot){.round = r->number,
                           .incarnation = c->incarnation,
                           .attempt = r->attempt,
                           .parent = parent_of(r),
                           .completed_wall = c->wall,
                           .bytes = r->bytes,
                           .shared = r->shared,
                           .kind = r->kind,
                           .state = TIDE_RETAINED,
                           .commits = r->commits,
                           .directory = core_printf("%s", r->directory),
                           .ended = core_copy(ended_after(c, r))};
    while (*at && (*at)->round < s->round) /* a savepoint may complete after a later checkpoint */
        at = &(*at)->next;
    s->next = *at;
    *at = s;
    if (r->number > job->last_complete) job->last_complete = r->number;
    gauges_complete(c, r, s);
    if (!r->commits) return;
    struct owed **last = &job->owed;
    while (*last)
        last = &(*last)->next;
    *last = r->handles;
    r->handles = NULL;
    bits_or(&job->ended, &r->plan.ending);
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

/* A round with effects is complete: checkpoints before it are of no more use, what began after it
 * goes on. */
static void others_go_on(struct core *c, struct job *job, uint64_t number, const struct bits *ended)
{
    for (struct round *r = job->rounds, *next; r; r = next) {
        next = r->next;
        core_assert(!round_holds(r));
        if (r->number < number && r->kind == TIDE_CHECKPOINT) {
            char *why = core_printf("round %" PRIu64 " completed first", number);
            round_abort(c, r, TIDE__ABORT_CODE__ABORT_SUBSUMED, why);
            free(why);
            continue;
        }
        if (r->number > number && r->state <= ROUND_COLLECTING) /* it has said nothing of it yet */
            plan_ended_since(&r->plan, ended, &r->acked);
        if (r->state == ROUND_COLLECTING && r->acked.set >= r->plan.expected) round_all_acked(c, r);
    }
}

/* The job stops: what has not been triggered can find no task that takes part. */
static void abort_opening(struct core *c, struct job *job)
{
    for (struct round *r = job->rounds, *next; r; r = next) {
        next = r->next;
        if (r->state < ROUND_COLLECTING || r->kind == TIDE_CHECKPOINT)
            round_abort(c, r, TIDE__ABORT_CODE__ABORT_NOT_RUNNING,
                        "every task has reached the end of its input");
    }
}

static void complete(struct core *c, struct round *r)
{
    struct job *job = r->job;
    struct operation *op = r->operation;
    uint64_t number = r->number;
    bool commits = r->commits, stopping = round_stops(r),
         here = r->attempt == job->attempt && job->attempt_open;
    keep_snapshot(c, r);
    share_complete(r);
    forget_strikes(job, r->strikes);
    job->last_complete_us = c->now;
    job->stood_us = r->meeting ? r->meeting->stood_us : 0;
    attempt_failed(job, NULL);
    if (number == job->last_complete) job->gauges.failures_in_a_row = 0;
    job->times_round = number;
    job->times_commit_us = c->now - r->acked_us;
    if (stopping) {
        if (job->state == TIDE_JOB_WAITING || job->state == TIDE_JOB_RUNNING ||
            job->state == TIDE_JOB_RESTORING)
            job_move(job, TIDE_JOB_STOPPING);
        timer_clear(c, &job->start_timer);
    }
    if (r->kind == TIDE_SAVEPOINT)
        ask_file(c, FILE_META_PUBLISH, r->directory, ASKED_PUBLISH, job, number);
    if (r->stop) {
        stop_complete(c, r);
    } else if (op && r->kind == TIDE_CHECKPOINT) {
        op->state = TIDE_OP_DONE;
        op->ended_wall = c->wall;
        free((void *)(uintptr_t)op->location.data);
        op->location = core_copy(VIEW(r->directory));
        operation_changed(c, op);
    }
    core_log(c, LEVEL_DEBUG, about_round(job, number),
             "job %s: %s %" PRIu64 " is complete, %" PRIu64 " bytes", job->name,
             tide_kind_name(r->kind), number, r->bytes);
    struct bits ended = r->plan.ending;
    r->plan.ending = (struct bits){0};
    round_free(c, r);
    if (commits) clean_subsumed(job);
    /* before anything else can release the completions of later rounds that have waited for it */
    if (here && !PLANTED(TELL_EARLY)) round_send_complete(c, job, number);
    if (commits) {
        if (stopping) abort_opening(c, job);
        others_go_on(c, job, number, &ended);
    }
    bits_release(&ended);
    hand_over_next(c, job);
    round_release(c, job);
    clean_pump(c, job);
    job_finish(c, job);
    trigger_pump(c, job);
    if (!job->attempt_open || job->gap) attempt_try(c, job);
}

static void committed(struct core *c, struct round *r, const struct event *ev)
{
    struct job *job = r->job;
    if (ev->outcome == TIDE_STORED) {
        complete(c, r);
        return;
    }
    for (struct snapshot *s = job->snapshots; s; s = s->next)
        s->subsuming = false;
    r->state = ROUND_FINALIZING; /* the store's no: nothing was changed, so it may abort */
    char *why = core_printf("the store did not take it: %s", ev->text);
    round_abort(c, r,
                ev->outcome == TIDE_NO_SPACE ? TIDE__ABORT_CODE__ABORT_NO_SPACE
                                             : TIDE__ABORT_CODE__ABORT_REFUSED,
                why);
    free(why);
    hand_over_next(c, job);
    if (!job->attempt_open || job->gap) attempt_try(c, job);
}

/* A savepoint is done when its _metadata is in its place, too. */
static void published(struct core *c, struct job *job, const struct pending *p,
                      const struct event *ev)
{
    const struct snapshot *s = job_snapshot(job, p->number);
    struct operation *op = job->operations;
    while (op && !(op->snapshot == p->number && op->kind == TIDE_OP_SAVEPOINT &&
                   op->state == TIDE_OP_RUNNING))
        op = op->next;
    char *why =
        ev->rc == 0 && s
            ? NULL
            : core_printf("savepoint %" PRIu64 " is complete in the store, but its _metadata could "
                          "not be put in place (%s); the daemon tries again when it starts",
                          p->number, ev->text);
    if (job->publishing == p->number) {
        stop_published(c, job, why);
    } else if (op && why) {
        operation_fail(c, job, op, NULL, why);
    } else if (op) {
        op->state = TIDE_OP_DONE;
        op->ended_wall = c->wall;
        free((void *)(uintptr_t)op->location.data);
        op->location = core_copy(VIEW(s->directory));
        operation_changed(c, op);
    } else if (why) {
        core_log(c, LEVEL_WARN, about_round(job, p->number), "job %s: %s", job->name, why);
    }
    free(why);
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
    struct round *r = job_round(job, p->number);
    switch (p->what) {
    case ASKED_ROUND_BEGIN:
        if (r && r->state == ROUND_OPENING) opened(c, r, ev);
        break;
    case ASKED_TRIGGER_SENT:
        if (r && !r->triggered_us) r->triggered_us = c->now;
        break;
    case ASKED_METADATA:
        if (!r || r->state != ROUND_FINALIZING) break;
        if (ev->rc == 0) {
            hand_over(c, r);
        } else {
            char *why = core_printf("its _metadata could not be written: %s", ev->text);
            round_abort(c, r,
                        ev->rc == TIDE_ENOSPC ? TIDE__ABORT_CODE__ABORT_NO_SPACE
                                              : TIDE__ABORT_CODE__ABORT_STORAGE,
                        why);
            free(why);
        }
        break;
    case ASKED_ROUND_COMMIT:
        if (r) committed(c, r, ev);
        order_pump(c, job); /* one may have waited for it */
        break;
    case ASKED_PUBLISH: published(c, job, p, ev); break;
    case ASKED_COMPLETE_SENT: complete_sent(c, job, p->number); break;
    default: core_assert(p->what == ASKED_ROUND_COMMIT); /* not a round's question */
    }
}

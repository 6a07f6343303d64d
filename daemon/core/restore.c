/* What each worker is told to restore: one Start per worker, made in one walk over the manifest.
 *
 * A Start is put together from pieces of packed bytes: the head, the peers (the same for all), and
 * one TaskRestore per task of that worker; protobuf reads concatenated pieces as one message. */
#include "daemon/core/internal.h"
#include "proto/shared.h"

#define START_TASKS_TAG 0x32u /* field 6, length-delimited */
#define ARENA_START ((size_t)1 << 30)

struct making {
    struct worker *w;
    struct tide_buf tasks;
};

static void put_piece(struct tide_buf *out, const ProtobufCMessage *m)
{
    uint8_t *room = tide_buf_extend(out, protobuf_c_message_get_packed_size(m));
    if (room) protobuf_c_message_pack(m, room);
}

static void put_task(struct tide_buf *out, const Tide__TaskRestore *task)
{
    size_t len = tide__task_restore__get_packed_size(task);
    tide_buf_put_u8(out, START_TASKS_TAG);
    tide_buf_put_varint(out, len);
    uint8_t *room = tide_buf_extend(out, len);
    if (room) tide__task_restore__pack(task, room);
}

/* The commits owed to a task, in order of rounds. */
static void add_owed(const struct job *job, Tide__TaskRestore *task, struct tide_arena *arena)
{
    size_t n = 0;
    for (const struct owed *o = job->owed; o; o = o->next)
        n += o->task == task->task;
    if (!n) return;
    task->owed = tide_arena_alloc(arena, n * sizeof *task->owed);
    core_assert(task->owed != NULL);
    for (const struct owed *o = job->owed; o; o = o->next) {
        if (o->task != task->task) continue;
        Tide__Owed *m = tide_arena_alloc(arena, sizeof *m);
        core_assert(m != NULL);
        tide__owed__init(m);
        m->round = o->round;
        m->handle = PB(o->handle);
        task->owed[task->n_owed++] = m;
    }
}

/* The artifact of that index of a task of the snapshot. */
static Tide__Artifact *artifact_of(uint32_t task, uint32_t index,
                                   const struct tide_artifact_view *view, struct tide_arena *arena)
{
    Tide__Artifact *a = tide_arena_alloc(arena, sizeof *a);
    core_assert(a != NULL);
    tide__artifact__init(a);
    if (view->is_inline) {
        a->place_case = TIDE__ARTIFACT__PLACE_INLINE;
        a->inline_ = PB(view->inlined);
    } else {
        char derived[32];
        struct tide_bytes path = view->path;
        if (!path.len) {
            path = (struct tide_bytes){(const uint8_t *)derived,
                                       tide_artifact_path(derived, task, index)};
            path = tide_arena_bytes(arena, path);
            core_assert(path.data != NULL);
        }
        a->place_case = TIDE__ARTIFACT__PLACE_PATH;
        a->path = PB(path);
    }
    a->size = view->size;
    a->digest_low = view->digest_low;
    a->digest_high = view->digest_high;
    a->name = PB(view->name);
    a->key_group_first = view->key_group_first;
    a->key_group_count = view->key_group_count;
    a->flight = (Tide__Flight)view->flight;
    a->channel = view->channel;
    a->shared = (Tide__Shared)view->shared;
    return a;
}

static void add_artifacts(const struct tide_ack_view *ack, Tide__TaskRestore *task,
                          struct tide_arena *arena)
{
    struct tide_artifact_place place = {0};
    struct tide_artifact_view view;
    task->artifacts =
        tide_arena_alloc(arena, ((size_t)ack->artifacts + 1) * sizeof *task->artifacts);
    core_assert(task->artifacts != NULL);
    for (uint32_t i = 0; tide_acks_artifact(ack, &place, &view); i++) {
        if (PLANTED(DROP_FLIGHT) && view.flight) continue;
        task->artifacts[task->n_artifacts++] = artifact_of(ack->task, i, &view, arena);
    }
}

/* Each artifact to all who get it: as pieces of their TaskRestores, since one task may get some of
 * many acks. */
static void deal_artifacts(struct match *match, const struct tide_ack_view *ack,
                           struct making **by_task, struct tide_buf *dealt,
                           struct tide_arena *arena)
{
    struct tide_artifact_place place = {0};
    struct tide_artifact_view view;
    for (uint32_t i = 0; tide_acks_artifact(ack, &place, &view); i++) {
        Tide__TaskRestore piece = TIDE__TASK_RESTORE__INIT;
        Tide__Artifact *list[1] = {artifact_of(ack->task, i, &view, arena)};
        uint32_t first, n = match_artifact(match, ack->task, &view, &first);
        if (PLANTED(DEAL_PARTLY) && n > 1) n--;
        piece.n_artifacts = 1;
        piece.artifacts = list;
        for (uint32_t t = first; t < first + n; t++)
            if (by_task[t]) put_piece(&dealt[t], &piece.base);
    }
}

static void put_dealt(struct job *job, struct making **by_task, struct tide_buf *dealt,
                      struct bits *done)
{
    struct tide_arena arena;
    tide_arena_init(&arena, ARENA_START);
    for (uint32_t t = 0; t < job->graph->tasks; t++) {
        Tide__TaskRestore task = TIDE__TASK_RESTORE__INIT;
        if (!dealt[t].len) continue;
        task.task = t;
        if (job->owed) add_owed(job, &task, &arena);
        size_t len = tide__task_restore__get_packed_size(&task) + dealt[t].len;
        struct tide_buf *out = &by_task[t]->tasks;
        tide_buf_put_u8(out, START_TASKS_TAG);
        tide_buf_put_varint(out, len);
        put_piece(out, &task.base);
        core_assert(dealt[t].rc == 0);
        tide_buf_put(out, dealt[t].data, dealt[t].len);
        tide_buf_release(&dealt[t]);
        bits_put(done, t);
        tide_arena_reset(&arena);
    }
    tide_arena_release(&arena);
}

/* One TaskRestore for each ack of the manifest, to whoever hosts that task in the job; where a task
 * may get something of others, one for each task. */
static void put_states(struct job *job, const struct tide_manifest *m, struct match *match,
                       struct making **by_task, struct bits *done)
{
    struct tide_manifest_walk walk = {0};
    struct tide_ack_view ack;
    struct tide_arena arena;
    struct tide_buf *dealt = NULL;
    tide_arena_init(&arena, ARENA_START);
    if (match->divides) dealt = core_alloc(job->graph->tasks * sizeof *dealt);
    for (uint32_t t = 0; dealt && t < job->graph->tasks; t++)
        tide_buf_init(&dealt[t], TIDE_PARTS_MAX);
    while (tide_manifest_next(m, &walk, &ack)) {
        Tide__TaskRestore task = TIDE__TASK_RESTORE__INIT;
        if (match_way(match, ack.task) != MATCH_SAME) {
            if (dealt) deal_artifacts(match, &ack, by_task, dealt, &arena);
            tide_arena_reset(&arena);
            continue;
        }
        task.task = match_task(match, ack.task);
        if (task.task == TIDE_NONE || !by_task[task.task]) continue;
        add_artifacts(&ack, &task, &arena);
        if (job->owed) add_owed(job, &task, &arena);
        if (task.n_artifacts || task.n_owed) put_task(&by_task[task.task]->tasks, &task);
        bits_put(done, task.task);
        tide_arena_reset(&arena);
    }
    if (dealt) put_dealt(job, by_task, dealt, done);
    free(dealt);
    tide_arena_release(&arena);
}

/* What is owed to tasks that the walk did not meet. */
static void put_owed(struct job *job, struct making **by_task, struct bits *done)
{
    struct tide_arena arena;
    tide_arena_init(&arena, ARENA_START);
    for (const struct owed *o = job->owed; o; o = o->next) {
        Tide__TaskRestore task = TIDE__TASK_RESTORE__INIT;
        if (!by_task[o->task] || !bits_put(done, o->task)) continue;
        task.task = o->task;
        add_owed(job, &task, &arena);
        put_task(&by_task[o->task]->tasks, &task);
    }
    tide_arena_release(&arena);
}

static void put_peers(struct job *job, struct tide_buf *out)
{
    for (struct worker *w = job->workers; w; w = w->next) {
        Tide__Start start = TIDE__START__INIT;
        Tide__Peer peer = TIDE__PEER__INIT, *peers[1] = {&peer};
        if (w->standing != STANDS_HOLDING) continue;
        Tide__TaskRange *ranges = core_alloc(w->n_ranges * sizeof *ranges),
                        **pointers = core_alloc(w->n_ranges * sizeof *pointers);
        for (uint32_t i = 0; i < w->n_ranges; i++) {
            tide__task_range__init(&ranges[i]);
            ranges[i].first = w->ranges[2 * i];
            ranges[i].count = w->ranges[2 * i + 1];
            pointers[i] = &ranges[i];
        }
        peer.worker = PB(w->name);
        peer.endpoint = PB(w->endpoint);
        peer.n_tasks = w->n_ranges;
        peer.tasks = pointers;
        start.n_peers = 1;
        start.peers = peers;
        put_piece(out, &start.base);
        free(ranges);
        free(pointers);
    }
}

static void send_start(struct core *c, const struct making *made, struct tide_bytes head,
                       struct tide_bytes peers)
{
    struct tide_buf whole, frames;
    tide_buf_init(&whole, TIDE_PARTS_MAX);
    tide_buf_init(&frames, TIDE_PARTS_MAX * 2ul);
    tide_buf_put(&whole, head.data, head.len);
    tide_buf_put(&whole, peers.data, peers.len);
    tide_buf_put(&whole, made->tasks.data, made->tasks.len);
    tide_parts_put(&frames, TIDE_PART_START, (struct tide_bytes){whole.data, whole.len});
    core_assert(whole.rc == 0 && frames.rc == 0);
    act_send(c, made->w->session, blob_new(frames.data, frames.len));
    tide_buf_release(&whole);
    tide_buf_release(&frames);
}

/* What workers cannot know: which max parallelisms are not the default. */
static void put_cuts(struct core *c, const struct job *job, Tide__Start *start)
{
    start->cut = tide_arena_alloc(&c->out, job->graph->n_operators * sizeof *start->cut);
    core_assert(start->cut != NULL);
    for (uint32_t i = 0; i < job->graph->n_operators; i++) {
        const struct tide_operator *op = &job->graph->operators[i];
        if (!op->max_chosen || op->max_parallelism == tide_max_parallelism_default(op->parallelism))
            continue;
        Tide__KeyGroups *m = tide_arena_alloc(&c->out, sizeof *m);
        core_assert(m != NULL);
        tide__key_groups__init(m);
        m->uid = PB(op->uid);
        m->max_parallelism = op->max_parallelism;
        start->cut[start->n_cut++] = m;
    }
}

static void put_head(struct core *c, struct job *job, const struct tide_manifest *m,
                     struct tide_buf *out)
{
    Tide__Start start = TIDE__START__INIT;
    Tide__Token token = TIDE__TOKEN__INIT;
    token.store_id = PB(((struct tide_bytes){c->store_id.b, 16}));
    token.job_id = PB(((struct tide_bytes){job->id.b, 16}));
    token.attempt = job->attempt;
    token.incarnation = job->attempt_incarnation;
    token.nonce = job->attempt_nonce;
    token.external = job->external;
    start.token = &token;
    start.directory = PB(VIEW(job->directory));
    if (m) {
        const struct snapshot *from = job_snapshot(job, job->restored_from);
        core_assert(from != NULL);
        start.snapshot = from->round;
        start.snapshot_incarnation = from->incarnation;
        start.snapshot_directory =
            PLANTED(OLD_PLACE) ? m->head->directory : PB(VIEW(from->directory));
        if (from->shared) start.shared_directory = PB(tide_shared_directory(VIEW(from->directory)));
    }
    start.n_ended = bits_ranges(&job->ended, &c->out, &start.ended);
    start.deliver_only = job->deliver_only;
    start.lowest_pending = job_lowest_pending(job);
    put_cuts(c, job, &start);
    put_piece(out, &start.base);
}

/* Nothing is sent before all of it is known to fit: the attempt begins for everybody or not at all.
 */
static char *told_too_much(const struct job *job, const struct making *made, size_t n, size_t all)
{
    for (size_t i = 0; i < n; i++) {
        if (!made[i].tasks.rc && all + made[i].tasks.len <= TIDE_PARTS_MAX) continue;
        return core_printf("what worker %.*s would restore of snapshot %" PRIu64
                           " is longer than %u MiB",
                           (int)made[i].w->name.len, (const char *)made[i].w->name.data,
                           job->restored_from, TIDE_PARTS_MAX >> 20);
    }
    return NULL;
}

char *restore_send_starts(struct core *c, struct job *job, const struct tide_manifest *m,
                          struct match *match)
{
    struct making *made = core_alloc((job->n_workers + 1) * sizeof *made);
    struct making **by_task = core_alloc(job->graph->tasks * sizeof *by_task);
    struct bits done;
    struct tide_buf head, peers;
    size_t n = 0;
    bits_init(&done, job->graph->tasks);
    tide_buf_init(&head, SIZE_MAX / 2);
    tide_buf_init(&peers, SIZE_MAX / 2);
    for (struct worker *w = job->workers; w; w = w->next) {
        if (w->standing != STANDS_HOLDING || (job->gap && region_survives(w))) continue;
        made[n].w = w;
        tide_buf_init(&made[n].tasks, TIDE_PARTS_MAX);
        for (uint32_t i = 0; i < w->n_ranges; i++)
            for (uint32_t t = 0; t < w->ranges[2 * i + 1]; t++)
                by_task[w->ranges[2 * i] + t] = &made[n];
        n++;
    }
    if (m) put_states(job, m, match, by_task, &done);
    put_owed(job, by_task, &done);
    for (size_t i = 0; i < n; i++)
        external_put_states(made[i].w, m ? m->head : NULL, false, &made[i].tasks);
    put_head(c, job, m, &head);
    put_peers(job, &peers);
    core_assert(head.rc == 0 && peers.rc == 0);
    char *too_much = told_too_much(job, made, n, head.len + peers.len);
    for (size_t i = 0; i < n; i++) {
        if (!too_much)
            send_start(c, &made[i], (struct tide_bytes){head.data, head.len},
                       (struct tide_bytes){peers.data, peers.len});
        tide_buf_release(&made[i].tasks);
    }
    tide_buf_release(&head);
    tide_buf_release(&peers);
    bits_release(&done);
    free(by_task);
    free(made);
    return too_much;
}

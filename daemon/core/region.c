/* Regional failover: a lost worker rewinds its region alone.
 *
 * A region is what edges connect (proto/graph.h). The usual way, in a job that asks for it: a
 * worker is lost; the rounds under way abort; the workers of its region are told to rewind, the
 * others, the survivors, hold their attempt and go on. When every task of the region is hosted
 * again, attempt a+1 is made durable, its members with the attempt in which each was started. Those
 * of the region get Start, from the newest snapshot, the survivors Advance, which changes nothing
 * for them but the number. When the region has restored and all survivors have confirmed, the job
 * runs, and rounds begin again.
 *
 * A worker is rewound as a whole, so one that hosts tasks of two regions makes them one; and the
 * coordinator of an operator does not go back without the operator's tasks, though they may without
 * it.
 *
 * What can go wrong: more are lost meanwhile, or the restore fails: the regions concerned follow,
 * and an attempt a+2 does for both. Nobody survives, the job is about to stop, or the daemon
 * restarts before the region has restored and the survivors have shown a+1: everybody is rewound,
 * as in other jobs. Until a survivor has confirmed, what it says under its older attempts is valid,
 * down to the one that it was started in; what a rewound worker says under them is not. */
#include <stdio.h>

#include "daemon/core/internal.h"

#define REGIONS_SHOWN_MAX 100u

bool region_survives(const struct worker *w)
{
    return w->standing == STANDS_HOLDING && w->ran;
}

uint32_t region_survivors(const struct job *job)
{
    uint32_t n = 0;
    for (const struct worker *w = job->gap ? job->workers : NULL; w; w = w->next)
        n += region_survives(w);
    return n;
}

static bool task_survives(const struct job *job, uint32_t task)
{
    return job->gap && job->host[task] && region_survives(job->host[task]);
}

void region_drop(const struct job *job, struct bits *b)
{
    if (!job->gap) {
        bits_clear(b);
        return;
    }
    for (uint32_t t = 0; t < job->graph->tasks; t++)
        if (bits_get(b, t) && !task_survives(job, t)) bits_drop(b, t);
}

void region_put(const struct job *job, struct bits *b)
{
    for (uint32_t t = 0; t < job->graph->tasks; t++)
        if (task_survives(job, t)) bits_put(b, t);
}

bool worker_speaks(const struct worker *w, uint64_t attempt)
{
    return w->standing == STANDS_HOLDING && w->job->attempt_open && attempt <= w->attempt &&
           attempt >= w->since;
}

uint64_t region_oldest(const struct job *job)
{
    uint64_t oldest = job->attempt;
    const struct worker *first = job->graph->checkpointing.regional ? job->workers : NULL;
    for (const struct worker *w = first; w; w = w->next)
        if (w->standing == STANDS_HOLDING && w->since < oldest) oldest = w->since;
    return oldest;
}

const struct worker *region_behind(const struct job *job)
{
    for (const struct worker *w = job->workers; w; w = w->next)
        if (w->standing == STANDS_HOLDING && w->shown != job->attempt) return w;
    return NULL;
}

/* ---- who is rewound */

struct extent {
    const struct job *job;
    uint32_t *up;      /* regions that a worker connects have one root */
    struct bits going; /* roots */
};

static uint32_t root_of(const struct extent *x, uint32_t region)
{
    while (x->up[region] != region)
        region = x->up[region] = x->up[x->up[region]];
    return region;
}

/* The region of a task; *at moves to the next task, up to `end`, that may have another. */
static uint32_t step(const struct job *job, uint32_t *at, uint32_t end)
{
    uint32_t subtask, region = tide_graph_region(job->graph, *at);
    const struct tide_operator *op = tide_graph_operator(job->graph, *at, &subtask);
    *at += op->apart ? 1 : op->parallelism - subtask;
    if (*at > end) *at = end;
    return region;
}

static uint32_t root_of_worker(const struct extent *x, const struct worker *w)
{
    return root_of(x, tide_graph_region(x->job->graph, w->ranges[0]));
}

static void connect(struct extent *x, const struct worker *w)
{
    for (uint32_t i = 0; i < w->n_ranges; i++)
        for (uint32_t t = w->ranges[2 * i], end = t + w->ranges[2 * i + 1]; t < end;)
            x->up[root_of(x, step(x->job, &t, end))] = root_of_worker(x, w);
}

/* Coordinators of workers that go back take their operators with them. True: that was news. */
static bool follow_coordinators(struct extent *x)
{
    const struct tide_graph *g = x->job->graph;
    bool news = false;
    for (uint32_t i = 0; i < g->n_externals; i++) {
        const struct tide_external *e = &g->externals[i];
        const struct worker *host = x->job->externals[i].host;
        if (e->kind != TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR || !host || !host->going) continue;
        for (uint32_t t = e->first_task, end = t + e->tasks; t < end;)
            news |= bits_put(&x->going, root_of(x, step(x->job, &t, end)));
    }
    return news;
}

static bool goes_by_itself(const struct job *job, const struct worker *w, const struct worker *lost)
{
    if (w == lost) return true;
    if (w->standing != STANDS_HOLDING) return false;
    if (!w->ran) return true;
    if (lost || job->gap) return false;
    for (uint32_t i = 0; i < w->n_externals; i++)
        if (!job->externals[w->externals[i]].restored) return true;
    return w->shown != job->attempt; /* it was told to advance, and did not */
}

/* Marks the workers that go back. How many that hold the attempt do not. */
static uint32_t find_extent(struct job *job, const struct worker *lost)
{
    struct extent x = {.job = job};
    uint32_t left;
    x.up = core_alloc((job->graph->regions + 1) * sizeof *x.up);
    bits_init(&x.going, job->graph->regions + 1);
    for (uint32_t i = 0; i < job->graph->regions; i++)
        x.up[i] = i;
    for (struct worker *w = job->workers; w; w = w->next) {
        w->going = false;
        if (w == lost || w->standing == STANDS_HOLDING) connect(&x, w);
    }
    for (const struct worker *w = job->workers; w; w = w->next)
        if (goes_by_itself(job, w, lost)) bits_put(&x.going, root_of_worker(&x, w));
    do {
        left = 0;
        for (struct worker *w = job->workers; w; w = w->next) {
            if (w != lost && w->standing != STANDS_HOLDING) continue;
            w->going = bits_get(&x.going, root_of_worker(&x, w));
            left += !w->going;
        }
    } while (follow_coordinators(&x));
    bits_release(&x.going);
    free(x.up);
    return left;
}

/* ---- the failure */

static bool may_go_on(struct core *c, const struct job *job)
{
    const struct round *r = job_committing(job);
    uint32_t most = job->graph->checkpointing.attempts_max;
    if (!job->graph->checkpointing.regional || job->adopting || job->deliver_only ||
        job->end_asked || c->shutting_down || (r && round_stops(r)))
        return false;
    if (most && job->failed_attempts + 1 >= most) return false; /* the job is to fail */
    return job->state == TIDE_JOB_RUNNING || job->state == TIDE_JOB_RESTORING ||
           (job->state == TIDE_JOB_WAITING && job->gap);
}

static void rewind_some(struct core *c, struct job *job, const char *reason)
{
    bool failed = job->state == TIDE_JOB_RESTORING || job->starting == START_STORING;
    uint32_t tasks = 0;
    if (!job->attempt_refused) attempt_add_end(job, c->wall, reason);
    attempt_failed(job, reason);
    job->gap = true;
    job->starting = START_NOT;
    job_move(job, TIDE_JOB_WAITING);
    attempt_drop_image(job);
    timer_clear(c, &job->restore_timer);
    timer_set(c, &job->trigger_timer, c->now); /* for requests that wait */
    for (struct worker *w = job->workers, *next; w; w = next) {
        next = w->next;
        if (!w->going) continue;
        tasks += w->tasks;
        if (w->standing == STANDS_HOLDING) attempt_let_go(c, w, reason);
    }
    core_log(c, LEVEL_WARN, about_job(job),
             "job %s: attempt %" PRIu64 " ends for %u of %u tasks, the others go on: %s", job->name,
             job->attempt, tasks, job->graph->tasks, reason);
    if (failed)
        attempt_try_again_later(c, job);
    else
        timer_set(c, &job->start_timer, c->now); /* not in the middle of what has ended this one */
}

/* See proto/plant.h. */
static void planted_release(struct core *c, struct job *job)
{
    struct round *r = job->rounds;
    if (!r || !PLANTED(RELEASE_REGION)) return;
    if (r->state != ROUND_COLLECTING) return;
    for (uint32_t t = 0; t < job->graph->tasks; t++)
        if (job->host[t] && job->host[t]->going && !bits_get(&r->plan.ended, t))
            bits_put(&r->acked, t);
    if (r->acked.set >= r->plan.expected) round_all_acked(c, r);
}

void attempt_fail(struct core *c, struct job *job, struct worker *w, const char *reason)
{
    if (!job->attempt_open) return;
    if (!may_go_on(c, job) || PLANTED(REWIND_SURVIVOR) || !find_extent(job, w)) {
        attempt_end(c, job, reason);
        return;
    }
    if (PLANTED(RELEASE_REGION)) planted_release(c, job);
    round_abort_all(c, job, TIDE__ABORT_CODE__ABORT_WORKER_LOST, reason);
    /* the end of a round may be that of the attempt */
    if (job->attempt_open) rewind_some(c, job, reason);
}

/* ---- Advance */

static void put_piece(struct tide_buf *out, const ProtobufCMessage *m)
{
    uint8_t *room = tide_buf_extend(out, protobuf_c_message_get_packed_size(m));
    if (room) protobuf_c_message_pack(m, room);
}

static void put_peer(const struct worker *w, struct tide_arena *arena, struct tide_buf *out)
{
    Tide__Advance advance = TIDE__ADVANCE__INIT;
    Tide__Peer peer = TIDE__PEER__INIT, *peers[1] = {&peer};
    peer.tasks = tide_arena_alloc(arena, (w->n_ranges + 1) * sizeof *peer.tasks);
    core_assert(peer.tasks != NULL);
    while (peer.n_tasks < w->n_ranges) {
        Tide__TaskRange *range = tide_arena_alloc(arena, sizeof *range);
        core_assert(range != NULL);
        tide__task_range__init(range);
        range->first = w->ranges[2 * peer.n_tasks];
        range->count = w->ranges[2 * peer.n_tasks + 1];
        peer.tasks[peer.n_tasks++] = range;
    }
    peer.worker = PB(w->name);
    peer.endpoint = PB(w->endpoint);
    advance.n_peers = 1;
    advance.peers = peers;
    put_piece(out, &advance.base);
}

/* All of an Advance but who it is for: the same for all survivors of an attempt. */
static void put_common(struct core *c, struct job *job, struct tide_buf *out)
{
    Tide__Advance m = TIDE__ADVANCE__INIT;
    Tide__Token token = TIDE__TOKEN__INIT;
    struct bits rewound;
    struct tide_arena arena;
    tide_arena_init(&arena, (size_t)1 << 30);
    bits_init(&rewound, job->graph->tasks);
    for (const struct worker *w = job->workers; w; w = w->next) {
        if (w->standing != STANDS_HOLDING) continue;
        put_peer(w, &arena, out);
        for (uint32_t i = 0; !w->ran && i < w->n_ranges; i++)
            bits_put_run(&rewound, w->ranges[2 * i], w->ranges[2 * i + 1]);
    }
    token.store_id = PB(((struct tide_bytes){c->store_id.b, 16}));
    token.job_id = PB(((struct tide_bytes){job->id.b, 16}));
    token.attempt = job->attempt;
    token.incarnation = job->attempt_incarnation;
    token.nonce = job->attempt_nonce;
    token.external = job->external;
    m.token = &token;
    m.directory = PB(VIEW(job->directory));
    m.n_rewound = bits_ranges(&rewound, &arena, &m.rewound);
    m.snapshot = job->restored_from;
    put_piece(out, &m.base);
    bits_release(&rewound);
    tide_arena_release(&arena);
}

/* What follows is one field of ToWorker: its tag and length. */
static size_t put_head(struct tide_buf *out, size_t len)
{
    tide_buf_put_varint(out, (uint32_t)TIDE__TO_WORKER__MSG_ADVANCE << 3 | 2u);
    tide_buf_put_varint(out, len);
    return out->len;
}

/* With who it is for, and the heads. */
static bool fits_in_a_frame(size_t common, size_t hooks)
{
    return common + hooks + 64 <= TIDE_FRAME_MAX;
}

bool region_fits(struct core *c, struct job *job)
{
    struct tide_buf common;
    bool behind = false;
    size_t most = 0;
    for (const struct worker *w = job->workers; !job->gap && w; w = w->next) {
        if (!region_survives(w) || w->attempt == job->attempt) continue;
        behind = true;
        if (w->hooks.len > most) most = w->hooks.len;
    }
    if (!behind) return true;
    tide_buf_init(&common, SIZE_MAX / 2);
    put_common(c, job, &common);
    core_assert(common.rc == 0);
    bool fits = fits_in_a_frame(common.len, most);
    tide_buf_release(&common);
    return fits;
}

bool region_keep_hooks(struct core *c, struct job *job, const Tide__ManifestHead *head)
{
    struct tide_buf common;
    size_t most = 0;
    if (!job->gap) return true;
    tide_buf_init(&common, SIZE_MAX / 2);
    put_common(c, job, &common);
    for (struct worker *w = job->workers; w; w = w->next) {
        struct tide_buf hooks;
        if (!region_survives(w)) continue;
        tide_buf_init(&hooks, SIZE_MAX / 2);
        external_put_states(w, head, true, &hooks);
        core_assert(hooks.rc == 0);
        free((void *)(uintptr_t)w->hooks.data);
        w->hooks.data = tide_buf_take(&hooks, &w->hooks.len);
        if (w->hooks.len > most) most = w->hooks.len;
    }
    core_assert(common.rc == 0);
    bool fits = fits_in_a_frame(common.len, most);
    tide_buf_release(&common);
    return fits;
}

static void advance(struct core *c, struct worker *w, struct tide_bytes common)
{
    struct job *job = w->job;
    Tide__Advance m = TIDE__ADVANCE__INIT;
    struct tide_buf body, head;
    m.from = w->attempt;
    m.lowest_pending = job_lowest_pending(job);
    tide_buf_init(&body, SIZE_MAX / 2);
    tide_buf_init(&head, 64);
    put_piece(&body, &m.base);
    tide_buf_put(&body, common.data, common.len);
    tide_buf_put(&body, w->hooks.data, w->hooks.len);
    size_t len = put_head(&head, body.len) + body.len;
    core_assert(body.rc == 0 && head.rc == 0 && len <= TIDE_FRAME_MAX);
    struct blob *frame = blob_new(NULL, TIDE_FRAME_HEADER + len);
    tide_set_u32(frame->data, (uint32_t)len);
    memcpy(frame->data + TIDE_FRAME_HEADER, head.data, head.len);
    memcpy(frame->data + TIDE_FRAME_HEADER + head.len, body.data, body.len);
    act_send(c, w->session, frame);
    tide_buf_release(&body);
    tide_buf_release(&head);
    w->attempt = job->attempt;
    round_resolve(c, w);
}

void region_advance(struct core *c, struct worker *w)
{
    struct tide_buf common;
    tide_buf_init(&common, SIZE_MAX / 2);
    put_common(c, w->job, &common);
    core_assert(common.rc == 0);
    advance(c, w, (struct tide_bytes){common.data, common.len});
    tide_buf_release(&common);
}

void region_advance_all(struct core *c, struct job *job)
{
    struct tide_buf common;
    if (!job->gap) return;
    tide_buf_init(&common, SIZE_MAX / 2);
    put_common(c, job, &common); /* it names all workers: once, not once for each */
    core_assert(common.rc == 0);
    for (struct worker *w = job->workers; w; w = w->next)
        if (region_survives(w) && w->session && w->attempt != job->attempt)
            advance(c, w, (struct tide_bytes){common.data, common.len});
    tide_buf_release(&common);
    job->gap = false;
}

void region_advanced(struct core *c, struct worker *w, const Tide__Advanced *m)
{
    struct job *job = w->job;
    if (!worker_speaks(w, m->attempt) || m->attempt != job->attempt || job->gap) return;
    w->shown = m->attempt;
    attempt_all_restored(c, job);
}

/* ---- for people */

void region_started(const struct worker *w)
{
    struct job *job = w->job;
    for (uint32_t i = 0; job->starts && i < w->n_ranges; i++)
        for (uint32_t t = w->ranges[2 * i], end = t + w->ranges[2 * i + 1]; t < end;) {
            struct region_starts *s = &job->starts[step(job, &t, end)];
            s->n += s->attempt != job->attempt;
            s->attempt = job->attempt;
        }
}

static void show_tasks(struct core *c, const struct job *job, uint32_t region,
                       Tide__RegionInfo *info, const struct worker **ret_host, bool *ret_missing)
{
    const struct tide_graph *g = job->graph;
    info->tasks = tide_arena_alloc(&c->out, g->n_operators * sizeof *info->tasks);
    core_assert(info->tasks != NULL);
    for (uint32_t i = 0; i < g->n_operators; i++) {
        const struct tide_operator *op = &g->operators[i];
        uint32_t at = region - op->first_region, count = op->apart ? 1 : op->parallelism;
        if (region < op->first_region || at >= (op->apart ? op->parallelism : 1)) continue;
        Tide__TaskRange *range = tide_arena_alloc(&c->out, sizeof *range);
        core_assert(range != NULL);
        tide__task_range__init(range);
        range->first = op->first_task + at;
        range->count = count;
        info->tasks[info->n_tasks++] = range;
        for (uint32_t t = range->first; t < range->first + count; t++) {
            const struct worker *host = job->host[t];
            *ret_missing |= !host;
            if (host &&
                (!*ret_host || host->standing != STANDS_HOLDING || !host->session || !host->ran))
                *ret_host = host;
        }
    }
}

static const char *words(const struct job *job, const struct worker *host, bool missing)
{
    if (!host || missing || host->standing == STANDS_READY) return "waiting";
    if (host->standing == STANDS_REWINDING) return "rewinding";
    if (!host->session) return "away";
    return host->ran || job->state == TIDE_JOB_STOPPING ? "running" : "restoring";
}

void region_show(struct core *c, const struct job *job, Tide__JobDetail *m)
{
    uint32_t n = job->graph->regions < REGIONS_SHOWN_MAX ? job->graph->regions : REGIONS_SHOWN_MAX;
    if (!job->graph->checkpointing.regional) return;
    m->regions_count = job->graph->regions;
    m->regions = tide_arena_alloc(&c->out, n * sizeof *m->regions);
    core_assert(m->regions != NULL);
    while (m->n_regions < n) {
        const struct worker *host = NULL;
        bool missing = false;
        Tide__RegionInfo *info = tide_arena_alloc(&c->out, sizeof *info);
        core_assert(info != NULL);
        tide__region_info__init(info);
        show_tasks(c, job, (uint32_t)m->n_regions, info, &host, &missing);
        info->state = PB(VIEW(words(job, host, missing)));
        if (host && host->standing == STANDS_HOLDING) info->since = host->since;
        info->starts = job->starts[m->n_regions].n;
        m->regions[m->n_regions++] = info;
    }
}

/* What the daemon says to a session: one function per message.
 *
 * Every message of a round is idempotent by (attempt, round); one of another attempt is dropped.
 * What breaks a rule closes the connection with a note: the daemon has a bug, or is none, and a new
 * Join sorts it out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/session_impl.h"
#include "proto/graph_show.h"
#include "proto/plant.h"

void tide_session_broken(struct tide_session *s, const char *what, uint64_t now_us)
{
    tide_session_note(s, "the daemon broke the protocol: %s; closing the connection", what);
    tide_session_close(s, now_us);
}

static int width(struct tide_bytes text)
{
    return text.len > 300 ? 300 : (int)text.len;
}

/* ---- joining */

static void on_welcome(struct tide_session *s, const Tide__Welcome *m, uint64_t now_us)
{
    if (s->link != LINK_HELLO) {
        tide_session_broken(s, "Welcome twice", now_us);
        return;
    }
    if (m->version < s->graph->version || m->version > TIDE_PROTOCOL_MAX || m->store_id.len != 16) {
        tide_session_broken(s, "Welcome names a version that was not offered, or no store", now_us);
        return;
    }
    if (m->frame_max && m->frame_max < TIDE_FRAME_MAX) { /* parts and batches are made for ours */
        tide_session_broken(s, "Welcome allows only shorter frames than 16 MiB", now_us);
        return;
    }
    s->link = LINK_WELCOMED;
    s->version = m->version;
    if (!s->rewinding) tide_session_send_join(s, now_us);
}

static int refused_code(Tide__RefusedCode code)
{
    switch (code) {
    case TIDE__REFUSED_CODE__REFUSED_VERSION: return TIDE_EVERSION;
    case TIDE__REFUSED_CODE__REFUSED_SPEC: return TIDE_EINVAL;
    case TIDE__REFUSED_CODE__REFUSED_NO_JOB: return TIDE_ENOTFOUND;
    case TIDE__REFUSED_CODE__REFUSED_UNSUPPORTED: return TIDE_ENOTSUP;
    case TIDE__REFUSED_CODE__REFUSED_SECRET: return TIDE_EREFUSED;
    default: return TIDE_EPROTO;
    }
}

static bool is_restore(struct tide_session *s, struct tide_delivery *d)
{
    (void)s;
    return d->type == TIDE_DO_RESTORE;
}

/* One last delivery, then nothing more: of an attempt that will never run nothing is restored. */
static void finish(struct tide_session *s, enum tide_delivery_type type, struct tide_bytes text,
                   uint64_t round, int rc)
{
    struct shared *hold = tide_shared_new(s, text);
    if (!hold) return;
    struct tide_delivery d = {
        .type = type, .text = {hold->data, hold->len}, .round = round, .rc = rc};
    tide_session_purge(s, is_restore);
    tide_session_push(s, &d, hold);
    tide_shared_unref(hold);
    tide_session_end(s);
}

static void on_refused(struct tide_session *s, const Tide__Refused *m, uint64_t now_us)
{
    struct tide_bytes reason = tide_of_pb(m->reason);
    switch (m->code) {
    case TIDE__REFUSED_CODE__REFUSED_JOB_ENDED:
        finish(s, TIDE_DO_STOP, tide_of_pb(m->outcome), m->snapshot, 0);
        return;
    case TIDE__REFUSED_CODE__REFUSED_TASKS:
    case TIDE__REFUSED_CODE__REFUSED_BUSY:
    case TIDE__REFUSED_CODE__REFUSED_HELD: s->bad_refusals = 0; break;
    case TIDE__REFUSED_CODE__REFUSED_VERSION:
    case TIDE__REFUSED_CODE__REFUSED_SPEC:
    case TIDE__REFUSED_CODE__REFUSED_NO_JOB:
    case TIDE__REFUSED_CODE__REFUSED_UNSUPPORTED:
    case TIDE__REFUSED_CODE__REFUSED_SECRET:
        finish(s, TIDE_DO_REFUSED, reason, 0, refused_code(m->code));
        return;
    default: /* one side has a bug; perhaps only on this connection */
        if (++s->bad_refusals >= 3) {
            finish(s, TIDE_DO_REFUSED, reason, 0, TIDE_EPROTO);
            return;
        }
    }
    tide_session_note(s, "refused for now: %.*s", width(reason), (const char *)reason.data);
    if (!s->failures) s->failures = 1; /* not at once */
    tide_session_close(s, now_us);
}

static void on_joined(struct tide_session *s, const Tide__Joined *m, uint64_t now_us)
{
    if (s->link != LINK_JOINING) {
        tide_session_broken(s, "Joined without a Join", now_us);
        return;
    }
    if (m->job_id.len != 16 || !m->heartbeat_ms || m->lease_ms < m->heartbeat_ms ||
        m->lease_ms > TIDE_LEASE_MAX_MS || !m->orphan_limit_ms || !m->progress_ms) {
        tide_session_broken(s, "Joined lacks the job's id or times", now_us);
        return;
    }
    s->link = LINK_JOINED;
    s->answered = s->sequence; /* of those before, nothing is known */
    s->parked_us = 0;
    s->lease_us = (uint64_t)m->lease_ms * 1000;
    s->heartbeat_us = (uint64_t)m->heartbeat_ms * 1000;
    s->orphan_us = (uint64_t)m->orphan_limit_ms * 1000;
    s->progress_us = (uint64_t)m->progress_ms * 1000;
    tide_session_lease(s, s->join_us);
    tide_session_send_beat(s, now_us);
}

static void on_parked(struct tide_session *s, const Tide__Parked *m, uint64_t now_us)
{
    if (s->link != LINK_JOINING) {
        tide_session_broken(s, "Parked without a Join", now_us);
        return;
    }
    struct tide_bytes worker = tide_of_pb(m->worker);
    s->link_deadline_us = now_us + (uint64_t)m->wait_ms * 1000 + JOINED_US;
    tide_session_note(s, "the tasks are held by worker %.*s, which is away; at most %u ms to wait",
                      width(worker), (const char *)worker.data, (unsigned)m->wait_ms);
    s->parked_us = 0;
    if (!m->holder || !s->boot_id.len || m->holder->boot_id.len > sizeof s->holder_boot) return;
    if (!tide_bytes_equal(tide_of_pb(m->holder->boot_id), s->boot_id)) return;
    memcpy(s->holder_boot, m->holder->boot_id.data, m->holder->boot_id.len);
    s->holder = (Tide__Host)TIDE__HOST__INIT;
    s->holder.boot_id = (ProtobufCBinaryData){m->holder->boot_id.len, s->holder_boot};
    s->holder.pid = m->holder->pid;
    s->holder.start_time = m->holder->start_time;
    s->parked_us = now_us ? now_us : 1; /* the first look at the next tick */
}

static void on_alive(struct tide_session *s, const Tide__HeartbeatAck *m)
{
    if (s->link != LINK_JOINED || m->sequence > s->sequence || m->sequence <= s->answered) return;
    if (s->sequence - m->sequence < BEATS) tide_session_lease(s, s->beats[m->sequence % BEATS]);
    s->answered = m->sequence;
    s->failures = s->bad_refusals = 0;
}

/* ---- the attempt */

bool tide_directory_valid(struct tide_bytes d)
{
    return d.len && d.len <= DIRECTORY_MAX && d.data[0] == '/' && tide_text_valid(d);
}

/* Relative, and staying below where it starts. */
static bool path_valid(struct tide_bytes path)
{
    if (!path.len || path.len > DIRECTORY_MAX || path.data[0] == '/' || !tide_text_valid(path))
        return false;
    for (size_t at = 0; at <= path.len;) {
        const uint8_t *slash = memchr(path.data + at, '/', path.len - at);
        size_t len = slash ? (size_t)(slash - path.data) - at : path.len - at;
        if (len == 2 && !memcmp(path.data + at, "..", 2)) return false;
        at += len + 1;
    }
    return true;
}

static const char *wrong_restore(struct tide_session *s, const Tide__TaskRestore *r,
                                 struct tide_bytes shared_directory)
{
    uint64_t last = 0;
    if (!tide_session_task(s, r->task, NULL)) return "Start restores a task of another worker";
    for (size_t i = 0; i < r->n_owed; i++) {
        if (r->owed[i]->round <= last) return "Start lists owed commits out of order";
        last = r->owed[i]->round;
    }
    for (size_t i = 0; i < r->n_artifacts; i++) {
        const Tide__Artifact *a = r->artifacts[i];
        if (a->place_case == TIDE__ARTIFACT__PLACE_INLINE) {
            if (a->inline_.len != a->size) return "Start has an inline artifact of another size";
        } else if (a->place_case != TIDE__ARTIFACT__PLACE_PATH || !path_valid(tide_of_pb(a->path)))
            return "Start has an artifact whose path is missing or leads elsewhere";
        if (!tide_text_valid(tide_of_pb(a->name))) return "Start has a name that is not UTF-8";
        if (a->flight > TIDE__FLIGHT__FLIGHT_OUTPUT || a->channel >= TIDE_CHANNELS_MAX)
            return "Start has records in flight in an unknown way, or of a channel out of range";
        if (!a->shared) continue;
        if (a->shared > TIDE__SHARED__SHARED_AGAIN || !tide_directory_valid(shared_directory) ||
            a->place_case != TIDE__ARTIFACT__PLACE_PATH ||
            !tide_shared_key_valid(tide_of_pb(a->path)))
            return "Start has a shared artifact in an unknown way, or without its place";
    }
    return NULL;
}

bool tide_ranges_fit(const struct tide_session *s, size_t n, Tide__TaskRange *const *ranges)
{
    for (size_t i = 0; i < n; i++)
        if (ranges[i]->first >= s->graph->tasks ||
            ranges[i]->count > s->graph->tasks - ranges[i]->first)
            return false;
    return true;
}

/* In how many key groups state is cut: as the spec says or leaves to us, or as the daemon does. */
static struct tide_operator *cut_of(struct tide_session *s, const Tide__KeyGroups *m)
{
    int64_t task = tide_graph_task(s->graph, tide_of_pb(m->uid), 0);
    const struct tide_operator *op =
        task < 0 ? NULL : tide_graph_operator(s->graph, (uint32_t)task, NULL);
    if (!op || !op->max_chosen || m->max_parallelism < op->parallelism ||
        m->max_parallelism > TIDE_PARALLELISM_MAX)
        return NULL;
    return &s->graph->operators[op - s->graph->operators];
}

static void take_cuts(struct tide_session *s, const Tide__Start *m)
{
    for (uint32_t i = 0; i < s->graph->n_operators; i++) {
        struct tide_operator *op = &s->graph->operators[i];
        if (op->max_chosen) op->max_parallelism = tide_max_parallelism_default(op->parallelism);
    }
    for (size_t i = 0; i < m->n_cut; i++)
        cut_of(s, m->cut[i])->max_parallelism = m->cut[i]->max_parallelism;
}

static const char *wrong_start(struct tide_session *s, const Tide__Start *m)
{
    const Tide__Token *k = m->token;
    if (!k || k->store_id.len != 16 || k->job_id.len != 16 || !k->attempt)
        return "Start without a token";
    if (!m->deliver_only && !tide_directory_valid(tide_of_pb(m->directory)))
        return "Start without a directory";
    if (m->snapshot && !tide_directory_valid(tide_of_pb(m->snapshot_directory)))
        return "Start without the snapshot's directory";
    if (!tide_ranges_fit(s, m->n_ended, m->ended)) return "Start names tasks that do not exist";
    for (size_t i = 0; i < m->n_peers; i++)
        if (!tide_ranges_fit(s, m->peers[i]->n_tasks, m->peers[i]->tasks))
            return "Start names peers' tasks that do not exist";
    for (size_t i = 0; i < m->n_tasks; i++) {
        const char *wrong = wrong_restore(s, m->tasks[i], tide_of_pb(m->shared_directory));
        if (wrong) return wrong;
    }
    for (size_t i = 0; i < m->n_cut; i++)
        if (!cut_of(s, m->cut[i])) return "Start cuts an operator in key groups that cannot be";
    return tide_externals_wrong(s, m);
}

/* Calls for each task of this worker that is in the ranges. */
static void each_in(struct tide_session *s, size_t n, Tide__TaskRange *const *ranges,
                    void (*call)(struct stask *t, uint64_t round), uint64_t round)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t at;
        (void)tide_session_task(s, ranges[i]->first, &at);
        for (; at < s->n_tasks && s->tasks[at].number - ranges[i]->first < ranges[i]->count; at++)
            call(&s->tasks[at], round);
    }
}

static void set_ended(struct stask *t, uint64_t round)
{
    (void)round;
    t->ended = t->finished = true;
}

void tide_session_push_restore(struct tide_session *s, struct stask *t)
{
    struct tide_delivery d = {.type = TIDE_DO_RESTORE,
                              .task = t->number,
                              .attempt = s->attempt,
                              .round = s->start->snapshot,
                              .start = s->start,
                              .restore = t->restore,
                              .task_ended = t->ended};
    t->restore_due = false;
    tide_session_push(s, &d, NULL);
}

static void begin_attempt(struct tide_session *s, uint64_t now_us)
{
    Tide__Start *m = s->start;
    s->attempt = m->token->attempt;
    s->phase = TIDE__WORKER_PHASE__PHASE_STARTING;
    s->deliver_only = m->deliver_only;
    s->restoring = s->n_tasks + s->n_externals;
    s->job_check = tide_job_check(m->token->job_id.data);
    take_cuts(s, m);
    s->lowest_pending = m->lowest_pending;
    s->told_complete = s->told_effects = 0; /* of this attempt */
    s->attached = true;
    s->fenced = s->advancing = false;
    s->align_due_us = s->retry_due_us = UINT64_MAX;
    for (size_t i = 0; i < m->n_tasks; i++)
        tide_session_task(s, m->tasks[i]->task, NULL)->restore = m->tasks[i];
    for (uint32_t i = 0; i < s->n_tasks; i++)
        tide_share_restored(s, &s->tasks[i]);
    each_in(s, m->n_ended, m->ended, set_ended, 0);
    tide_externals_begin(s);
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *t = &s->tasks[i];
        tide_align_lowest(t->align, m->lowest_pending);
        if (s->deliver_only) {
            tide_rounds_commit_next(s, t, now_us);
            continue;
        }
        tide_session_push_restore(s, t);
    }
}

static void on_start(struct tide_session *s, struct tide_bytes part, uint64_t now_us)
{
    int rc = tide_joiner_add(&s->joiner, part);
    if (rc == 0) return;
    if (rc == TIDE_ENOMEM) { /* perhaps there is more when it is said again */
        tide_session_note(s, "no memory for a part of Start; joining again");
        tide_session_close(s, now_us);
        return;
    }
    if (rc < 0) {
        tide_session_broken(s, "a part of Start is damaged, or it is too long", now_us);
        return;
    }
    if (s->link != LINK_JOINED || s->rewinding) {
        tide_joiner_release(&s->joiner);
        tide_session_broken(s, "Start before Joined", now_us);
        return;
    }
    if (now_us >= s->lease_until_us &&
        !PLANTED(NO_LEASE)) { /* it lay unread: another has its place, perhaps */
        tide_joiner_release(&s->joiner);
        tide_session_note(s, "Start came when the lease was over; joining again");
        tide_session_close(s, now_us);
        return;
    }
    if (s->attempt) { /* the repeat of the one that we have is harmless */
        struct tide_arena probe;
        tide_arena_init(&probe, START_ARENA_MAX);
        struct tide_bytes bytes = {s->joiner.bytes.data, s->joiner.bytes.len};
        const Tide__Start *m = tide_unpack(&probe, &tide__start__descriptor, bytes, NULL);
        bool same = m && m->token && m->token->attempt == s->attempt;
        tide_arena_release(&probe);
        tide_joiner_release(&s->joiner);
        if (!same) tide_session_broken(s, "Start of another attempt before Rewind", now_us);
        return;
    }
    /* The old one's views are dead: every task has rewound since. */
    s->start = NULL;
    tide_arena_release(&s->start_arena);
    for (uint32_t i = 0; i < s->n_tasks; i++)
        s->tasks[i].restore = NULL;
    struct tide_bytes bytes = {s->joiner.bytes.data, s->joiner.bytes.len};
    Tide__Start *m = tide_unpack(&s->start_arena, &tide__start__descriptor, bytes, &rc);
    const char *wrong = m                   ? wrong_start(s, m)
                        : rc == TIDE_EPROTO ? "Start cannot be read"
                                            : "Start takes too much memory";
    tide_joiner_release(&s->joiner);
    if (wrong) {
        tide_session_broken(s, wrong, now_us);
        return;
    }
    s->start = m;
    s->bad_refusals = 0;
    begin_attempt(s, now_us);
}

static void on_run(struct tide_session *s, const Tide__Run *m, uint64_t now_us)
{
    if (!s->attached || m->attempt != s->attempt) return;
    if (s->advancing) { /* the region that was rewound runs */
        s->advancing = false;
        tide_externals_advanced(s);
    }
    if (s->phase == TIDE__WORKER_PHASE__PHASE_RUNNING) return;
    if (s->phase != TIDE__WORKER_PHASE__PHASE_RESTORED) {
        tide_session_broken(s, "Run before Restored", now_us);
        return;
    }
    s->phase = TIDE__WORKER_PHASE__PHASE_RUNNING;
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *t = &s->tasks[i];
        struct tide_delivery d = {
            .type = TIDE_DO_RUN, .task = t->number, .attempt = s->attempt, .task_ended = t->ended};
        tide_session_push(s, &d, NULL);
        if (t->ended) tide_flow_forward_end(s, t);
    }
    tide_externals_run(s);
    tide_rounds_commit_all(s, now_us);
}

static void on_resumed(struct tide_session *s, const Tide__Resumed *m, uint64_t now_us)
{
    if (s->link != LINK_JOINED || !s->attempt || m->attempt != s->attempt) {
        tide_session_broken(s, "Resumed for an attempt that was not joined with", now_us);
        return;
    }
    if (now_us >= s->lease_until_us) { /* so slow that it is over again */
        tide_session_note(s, "Resumed came later than the lease lasts; joining again");
        tide_session_fence(s, now_us);
        tide_session_close(s, now_us);
        return;
    }
    s->attached = true;
    if (s->fenced) {
        s->fenced = false;
        struct tide_delivery d = {.type = TIDE_DO_UNFENCED, .attempt = s->attempt};
        tide_session_push(s, &d, NULL);
    }
    for (uint32_t i = 0; i < s->n_tasks; i++)
        if (s->tasks[i].restore_due) tide_session_push_restore(s, &s->tasks[i]);
    tide_externals_resumed(s);
    tide_rounds_lowest(s, m->lowest_pending);
    tide_session_repeat(s);
    tide_rounds_commit_all(s, now_us);
}

static void on_rewind(struct tide_session *s, uint64_t attempt, struct tide_bytes reason,
                      uint64_t now_us)
{
    if (!s->attempt || attempt != s->attempt) return;
    if (s->link == LINK_JOINING) s->link = LINK_WELCOMED;
    tide_session_rewind(s, reason, now_us);
}

static void on_fenced(struct tide_session *s, const Tide__Fenced *m, uint64_t now_us)
{
    struct tide_bytes reason = tide_of_pb(m->reason);
    tide_session_note(s, "fenced by the daemon: %.*s", width(reason), (const char *)reason.data);
    if (s->link == LINK_JOINING) s->link = LINK_WELCOMED;
    if (s->attempt)
        tide_session_rewind(s, reason, now_us);
    else
        tide_session_close(s, now_us);
}

static void set_end_at(struct stask *t, uint64_t round)
{
    if (!t->ended && (!t->end_at || round < t->end_at)) t->end_at = round;
}

static bool releases_unfinished(struct tide_session *s, size_t n, Tide__TaskRange *const *ranges)
{
    for (uint32_t k = 0; k < s->n_tasks; k++)
        for (size_t i = 0; i < n && !s->tasks[k].finished; i++)
            if (s->tasks[k].number - ranges[i]->first < ranges[i]->count) return true;
    return false;
}

static void on_complete(struct tide_session *s, const Tide__Complete *m, uint64_t now_us)
{
    if (!s->attached || m->attempt != s->attempt) return;
    if (!m->round || !tide_ranges_fit(s, m->n_ended, m->ended)) {
        tide_session_broken(s, "Complete names no round, or tasks that do not exist", now_us);
        return;
    }
    if (releases_unfinished(s, m->n_ended, m->ended)) {
        tide_session_broken(s, "Complete releases a task that has not told its end", now_us);
        return;
    }
    each_in(s, m->n_ended, m->ended, set_end_at, m->round);
    tide_rounds_complete(s, m, now_us);
}

static bool is_rendezvous(const struct tide_session *s)
{
    return s->graph->checkpointing.style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS;
}

static void on_trigger(struct tide_session *s, const Tide__Trigger *m, uint64_t now_us)
{
    if (!s->attached || m->attempt != s->attempt) return;
    if (s->phase != TIDE__WORKER_PHASE__PHASE_RUNNING) {
        tide_session_broken(s, "Trigger before Run", now_us);
        return;
    }
    if (is_rendezvous(s)) {
        tide_session_broken(s, "Trigger, and the job's rounds are rendezvous rounds", now_us);
        return;
    }
    if (!tide_ranges_fit(s, m->n_full_tasks, m->full_tasks)) {
        tide_session_broken(s, "Trigger wants all of tasks that do not exist", now_us);
        return;
    }
    if (!m->round || !tide_directory_valid(tide_of_pb(m->directory))) {
        tide_session_broken(s, "Trigger names no round or no directory", now_us);
        return;
    }
    if (m->alignment > TIDE__ALIGNMENT__ALIGN_TIMEOUT) {
        tide_session_broken(s, "Trigger of a round that is aligned in an unknown way", now_us);
        return;
    }
    tide_rounds_lowest(s, m->lowest_pending);
    tide_rounds_trigger(s, m, now_us);
}

static void on_turn_unaligned(struct tide_session *s, const Tide__TurnUnaligned *m, uint64_t now_us)
{
    if (s->attached && m->attempt == s->attempt) tide_flow_turn(s, m->round, now_us);
}

static void on_prepare(struct tide_session *s, const Tide__Prepare *m, uint64_t now_us)
{
    if (!s->attached || m->attempt != s->attempt) return;
    if (s->phase != TIDE__WORKER_PHASE__PHASE_RUNNING) {
        tide_session_broken(s, "Prepare before Run", now_us);
        return;
    }
    if (!is_rendezvous(s)) {
        tide_session_broken(s, "Prepare, and the job's rounds are those of a flow", now_us);
        return;
    }
    if (!tide_ranges_fit(s, m->n_full_tasks, m->full_tasks)) {
        tide_session_broken(s, "Prepare wants all of tasks that do not exist", now_us);
        return;
    }
    if (!m->round || !tide_directory_valid(tide_of_pb(m->directory))) {
        tide_session_broken(s, "Prepare names no round or no directory", now_us);
        return;
    }
    tide_rounds_lowest(s, m->lowest_pending);
    tide_meet_prepare(s, m, now_us);
}

static void on_cut(struct tide_session *s, const Tide__Cut *m, uint64_t now_us)
{
    if (!s->attached || m->attempt != s->attempt) return;
    const char *wrong = tide_meet_cut(s, m);
    if (wrong) tide_session_broken(s, wrong, now_us);
}

static void on_snapshot_now(struct tide_session *s, const Tide__SnapshotNow *m, uint64_t now_us)
{
    if (!s->attached || m->attempt != s->attempt) return;
    const char *wrong = tide_meet_snapshot_now(s, m, now_us);
    if (wrong) tide_session_broken(s, wrong, now_us);
}

static void on_ask_external(struct tide_session *s, const Tide__AskExternal *m, uint64_t now_us)
{
    if (!s->attached || m->attempt != s->attempt) return;
    const char *wrong = tide_externals_ask(s, m);
    if (wrong) tide_session_broken(s, wrong, now_us);
}

static void on_abort(struct tide_session *s, const Tide__Abort *m, uint64_t now_us)
{
    struct tide_bytes reason = tide_of_pb(m->reason);
    if (!s->attached || m->attempt != s->attempt || !m->round) return;
    tide_session_note(s, "round %llu aborted: %.*s", (unsigned long long)m->round, width(reason),
                      (const char *)reason.data);
    tide_rounds_abort(s, m->round, now_us);
    tide_rounds_lowest(s, m->lowest_pending);
}

static void dispatch(struct tide_session *s, const Tide__ToWorker *m, uint64_t now_us)
{
    struct tide_bytes text;
    switch (m->msg_case) {
    case TIDE__TO_WORKER__MSG_WELCOME: on_welcome(s, m->welcome, now_us); break;
    case TIDE__TO_WORKER__MSG_JOINED: on_joined(s, m->joined, now_us); break;
    case TIDE__TO_WORKER__MSG_PARKED: on_parked(s, m->parked, now_us); break;
    case TIDE__TO_WORKER__MSG_ALIVE: on_alive(s, m->alive); break;
    case TIDE__TO_WORKER__MSG_RUN: on_run(s, m->run, now_us); break;
    case TIDE__TO_WORKER__MSG_RESUMED: on_resumed(s, m->resumed, now_us); break;
    case TIDE__TO_WORKER__MSG_TRIGGER: on_trigger(s, m->trigger, now_us); break;
    case TIDE__TO_WORKER__MSG_TURN_UNALIGNED:
        on_turn_unaligned(s, m->turn_unaligned, now_us);
        break;
    case TIDE__TO_WORKER__MSG_PREPARE: on_prepare(s, m->prepare, now_us); break;
    case TIDE__TO_WORKER__MSG_CUT: on_cut(s, m->cut, now_us); break;
    case TIDE__TO_WORKER__MSG_ASK_EXTERNAL: on_ask_external(s, m->ask_external, now_us); break;
    case TIDE__TO_WORKER__MSG_SNAPSHOT_NOW: on_snapshot_now(s, m->snapshot_now, now_us); break;
    case TIDE__TO_WORKER__MSG_COMPLETE: on_complete(s, m->complete, now_us); break;
    case TIDE__TO_WORKER__MSG_ABORT: on_abort(s, m->abort, now_us); break;
    case TIDE__TO_WORKER__MSG_REWIND:
        on_rewind(s, m->rewind->attempt, tide_of_pb(m->rewind->reason), now_us);
        break;
    case TIDE__TO_WORKER__MSG_FENCED: on_fenced(s, m->fenced, now_us); break;
    case TIDE__TO_WORKER__MSG_BYE:
        text = tide_of_pb(m->bye->reason);
        tide_session_note(s, "the daemon goes away and will be back: %.*s", width(text),
                          (const char *)text.data);
        break;
    case TIDE__TO_WORKER__MSG_STOP:
        finish(s, TIDE_DO_STOP, tide_of_pb(m->stop->outcome), m->stop->snapshot, 0);
        break;
    case TIDE__TO_WORKER__MSG_REFUSED:
    case TIDE__TO_WORKER__MSG_START:
    case TIDE__TO_WORKER__MSG_ADVANCE:
    default: tide_session_broken(s, "an unknown message", now_us);
    }
}

void tide_session_receive(struct tide_session *s, struct tide_bytes frame, uint64_t now_us)
{
    struct tide_bytes content;
    uint32_t field = tide_frame_peek(frame, &content);
    if (field == TIDE__TO_WORKER__MSG_START) {
        on_start(s, content, now_us);
        return;
    }
    if (field == TIDE__TO_WORKER__MSG_ADVANCE && s->link != LINK_HELLO) {
        tide_session_on_advance(s, content, now_us);
        return;
    }
    tide_arena_reset(&s->arena);
    int rc = TIDE_EPROTO;
    const Tide__ToWorker *m =
        field ? tide_unpack(&s->arena, &tide__to_worker__descriptor, frame, &rc) : NULL;
    if (!m) {
        tide_session_broken(s,
                            rc == TIDE_EPROTO ? "a frame that cannot be read"
                                              : "a frame that takes too much memory",
                            now_us);
        return;
    }
    if (m->msg_case == TIDE__TO_WORKER__MSG_REFUSED)
        on_refused(s, m->refused, now_us);
    else if (s->link == LINK_HELLO && m->msg_case != TIDE__TO_WORKER__MSG_WELCOME)
        tide_session_broken(s, "its first message is no Welcome", now_us);
    else
        dispatch(s, m, now_us);
}

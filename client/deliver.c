/* What the session delivers becomes callbacks, one at a time, on the program's thread and without
 * the lock. A callback may call back into the library: what that brings is delivered
 * after it has returned, by the loop that called it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/worker_impl.h"

void tide_worker_say(struct tide_worker *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->error, sizeof w->error, format, args);
    va_end(args);
}

struct tide_task *tide_worker_find(const struct tide_worker *w, uint32_t number)
{
    uint32_t low = 0, high = w->n_tasks;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (w->tasks[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < w->n_tasks && w->tasks[low]->number == number ? w->tasks[low] : NULL;
}

static void text_of(const struct tide_delivery *d, char *out, size_t size)
{
    size_t n = d->text.len < size ? d->text.len : size - 1;
    if (n) memcpy(out, d->text.data, n);
    out[n] = '\0';
}

static void forget_reason(struct tide_task *t)
{
    free(t->fail_reason);
    t->fail_reason = NULL;
}

/* ---- the attempt */

static void forget_peers(struct tide_worker *w)
{
    for (uint32_t i = 0; i < w->n_peers; i++) {
        free(w->peers[i].endpoint);
        free(w->peers[i].ranges);
    }
    free(w->peers);
    w->peers = NULL;
    w->n_peers = 0;
}

static bool copy_peer(struct peer *to, const Tide__Peer *from)
{
    to->endpoint = malloc(from->endpoint.len + 1);
    to->ranges = malloc((from->n_tasks + 1) * 2 * sizeof *to->ranges);
    if (!to->endpoint || !to->ranges) return false;
    if (from->endpoint.len) memcpy(to->endpoint, from->endpoint.data, from->endpoint.len);
    to->endpoint[from->endpoint.len] = '\0';
    for (size_t i = 0; i < from->n_tasks; i++) {
        to->ranges[2 * i] = from->tasks[i]->first;
        to->ranges[2 * i + 1] = from->tasks[i]->count;
    }
    to->n_ranges = (uint32_t)from->n_tasks;
    return true;
}

static bool copy_peers(struct tide_worker *w, size_t n, Tide__Peer *const *peers)
{
    forget_peers(w);
    w->peers = calloc(n + 1, sizeof *w->peers);
    if (!w->peers) return false;
    for (size_t i = 0; i < n; i++) {
        w->n_peers++;
        if (!copy_peer(&w->peers[i], peers[i])) return false;
    }
    return true;
}

bool tide_deliver_begin(struct tide_worker *w, const struct tide_delivery *d)
{
    if (w->attempt == d->attempt) return true;
    const Tide__Start *start = d->start;
    for (unsigned i = 0; i < 16; i++)
        snprintf(w->job_id + 2 * i, 3, "%02x", start->token->job_id.data[i]);
    if (!copy_peers(w, start->n_peers, start->peers)) return false;
    w->attempt = d->attempt;
    return true;
}

/* Another region was rewound. Without memory for the peers that it has now, the program learns so
 * from tide_worker_endpoint(). */
static void advance(struct tide_worker *w, const struct tide_delivery *d)
{
    Tide__Advance *m = tide__advance__unpack(NULL, d->bytes.len, d->bytes.data);
    if (!m || !copy_peers(w, m->n_peers, m->peers)) {
        forget_peers(w);
        tide_worker_say(w, "no memory for the peers of attempt %llu",
                        (unsigned long long)d->attempt);
    }
    if (m) tide__advance__free_unpacked(m, NULL);
    w->attempt = d->attempt;
    tide_parts_advance(w, d->attempt);
    for (uint32_t i = 0; i < w->n_tasks; i++) {
        struct tide_task *t = w->tasks[i];
        if (t->callbacks.advance) t->callbacks.advance(t, d->attempt, t->user);
        forget_reason(t);
    }
}

/* ---- restoring */

struct restoring {
    struct tide_state *states;
    struct tide_source *sources;
    char *names;
    size_t n_states; /* those in flight follow */
};

static void restoring_free(struct restoring *r)
{
    free(r->states);
    free(r->sources);
    free(r->names);
}

static size_t key_len(const Tide__Artifact *a)
{
    return a->shared ? a->path.len + 1 : 0;
}

/* The state's first, then those that were in flight, each in the order of the snapshot. */
static int restoring_init(struct restoring *r, struct tide_task *t, const struct tide_delivery *d,
                          size_t n)
{
    size_t bytes = n, state = 0, flight = 0;
    for (size_t i = 0; i < n; i++)
        bytes += d->restore->artifacts[i]->name.len + key_len(d->restore->artifacts[i]);
    for (size_t i = 0; i < n; i++)
        flight += d->restore->artifacts[i]->flight == TIDE__FLIGHT__FLIGHT_NONE;
    r->n_states = flight;
    r->states = calloc(n + 1, sizeof *r->states);
    r->sources = calloc(n + 1, sizeof *r->sources);
    r->names = malloc(bytes + 1);
    if (!r->states || !r->sources || !r->names) return TIDE_ENOMEM;
    char *name = r->names;
    for (size_t i = 0; i < n; i++) {
        const Tide__Artifact *a = d->restore->artifacts[i];
        struct tide_state *to = &r->states[a->flight ? flight++ : state++];
        r->sources[i].task = t;
        r->sources[i].artifact = a;
        ProtobufCBinaryData directory =
            a->shared ? d->start->shared_directory : d->start->snapshot_directory;
        r->sources[i].directory = (struct tide_bytes){directory.data, directory.len};
        *to = (struct tide_state){.name = name,
                                  .size = a->size,
                                  .key_group_first = a->key_group_first,
                                  .key_group_count = a->key_group_count,
                                  .handle = &r->sources[i],
                                  .flight = a->flight,
                                  .channel = a->channel};
        if (a->name.len) memcpy(name, a->name.data, a->name.len);
        name[a->name.len] = '\0';
        name += a->name.len + 1;
        if (!a->shared) continue;
        to->key = memcpy(name, a->path.data, a->path.len);
        name[a->path.len] = '\0';
        name += a->path.len + 1;
    }
    return 0;
}

static void restore(struct tide_worker *w, struct tide_task *t, const struct tide_delivery *d)
{
    struct restoring r = {0};
    pthread_mutex_lock(&w->lock);
    t->state_why[0] = '\0';
    pthread_mutex_unlock(&w->lock);
    size_t n = d->restore ? d->restore->n_artifacts : 0;
    int rc = tide_deliver_begin(w, d) ? restoring_init(&r, t, d, n) : TIDE_ENOMEM;
    if (!rc) {
        struct tide_restore what = {.snapshot = d->round,
                                    .attempt = d->attempt,
                                    .ended = d->task_ended,
                                    .states = r.states,
                                    .n_states = (uint32_t)r.n_states,
                                    .in_flight = r.states + r.n_states,
                                    .n_in_flight = (uint32_t)(n - r.n_states)};
        rc = t->callbacks.restore(t, &what, t->user);
    }
    restoring_free(&r);
    if (rc != TIDE_EAGAIN) (void)tide_task_restored(t, rc, t->fail_reason);
}

static void rewound(struct tide_worker *w, struct tide_task *t, const struct tide_delivery *d)
{
    char reason[512];
    text_of(d, reason, sizeof reason);
    for (uint32_t i = 0; i < t->n_held; i++)
        free(t->held[i].directory);
    t->n_held = 0;
    t->refused = 0;
    w->attempt = 0;
    t->unsaid = 0;
    tide_snapshot_forget(w);
    tide_snapshot_abandon(t, 0);
    if (t->callbacks.rewind) t->callbacks.rewind(t, reason, t->user);
    pthread_mutex_lock(&w->lock);
    t->finish_wanted = false;
    t->triggered = 0;
    (void)tide_session_rewound(w->session, t->number, tide_now_us());
    pthread_mutex_unlock(&w->lock);
}

/* ---- rounds */

static void complete(struct tide_worker *w, struct tide_task *t, const struct tide_delivery *d)
{
    int rc = 0;
    if (t->callbacks.complete)
        rc = t->callbacks.complete(t, d->round, d->has_handle ? d->handle.data : NULL,
                                   d->handle.len, t->user);
    if (rc == TIDE_EAGAIN) return;
    pthread_mutex_lock(&w->lock);
    if (rc)
        (void)tide_session_commit_failed(w->session, t->number, d->round, tide_now_us());
    else
        (void)tide_session_confirm(w->session, t->number, d->round, tide_now_us());
    pthread_mutex_unlock(&w->lock);
}

static bool hold(struct tide_task *t, const struct tide_delivery *d)
{
    if (t->n_held == t->cap_held) {
        uint32_t cap = t->cap_held ? t->cap_held * 2 : 4;
        struct held *held = realloc(t->held, cap * sizeof *held);
        if (!held) return false;
        t->held = held;
        t->cap_held = cap;
    }
    struct held *h = &t->held[t->n_held];
    *h = (struct held){.d = *d};
    if (d->directory.len) {
        h->directory = malloc(d->directory.len);
        if (!h->directory) return false;
        memcpy(h->directory, d->directory.data, d->directory.len);
        h->d.directory.data = (uint8_t *)h->directory;
    }
    t->n_held++;
    return true;
}

/* Lets go what is held, from `first` on; a further trigger in it may be answered EAGAIN again. */
static void let_go(struct tide_worker *w, struct tide_task *t, uint32_t first)
{
    struct held *held = t->held;
    uint32_t n = t->n_held;
    t->held = NULL;
    t->n_held = t->cap_held = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (i >= first) tide_deliver(w, &held[i].d);
        free(held[i].directory);
    }
    free(held);
}

static void forget_round(struct tide_worker *w, struct tide_task *t, uint64_t round)
{
    uint32_t kept = 0;
    if (!t->n_held) return;
    bool waited_for = t->held[0].d.round == round;
    for (uint32_t i = 0; i < t->n_held; i++) {
        if (t->held[i].d.round == round)
            free(t->held[i].directory);
        else
            t->held[kept++] = t->held[i];
    }
    t->n_held = kept;
    if (waited_for) let_go(w, t, 0);
}

/* The round will not be taken here: declined, and what belongs to it turns into a cancel marker. */
static void refuse_round(struct tide_task *t, uint64_t attempt, uint64_t round, int rc)
{
    struct tide_worker *w = t->worker;
    struct tide_bytes reason = tide_bytes_of(t->fail_reason ? t->fail_reason : tide_strerror(rc));
    t->refused = round;
    pthread_mutex_lock(&w->lock);
    (void)tide_session_decline(w->session, attempt, round, t->number, reason, 0, tide_now_us());
    pthread_mutex_unlock(&w->lock);
}

/* A trigger that was answered EAGAIN holds back what belongs to its round, and all rounds after. */
static bool held_back(struct tide_task *t, const struct tide_delivery *d)
{
    bool of_round = d->type == TIDE_DO_TRIGGER || d->type == TIDE_DO_FORWARD ||
                    d->type == TIDE_DO_SNAPSHOT || d->type == TIDE_DO_SUSPEND ||
                    d->type == TIDE_DO_PROMOTE || d->type == TIDE_DO_ACKABLE;
    if (!of_round || !t->n_held) return false;
    if (hold(t, d)) return true;
    refuse_round(t, d->attempt, d->round, TIDE_ENOMEM);
    return false;
}

static void trigger(struct tide_task *t, const struct tide_delivery *d)
{
    int rc = t->callbacks.trigger ? t->callbacks.trigger(t, d->round, t->user) : 0;
    if (!rc) return;
    if (rc == TIDE_EAGAIN && hold(t, d)) return;
    refuse_round(t, d->attempt, d->round, rc == TIDE_EAGAIN ? TIDE_ENOMEM : rc);
}

static void drain(struct tide_task *t, const struct tide_delivery *d)
{
    int rc = TIDE_ENOTSUP;
    if (t->callbacks.drain)
        rc = t->callbacks.drain(t, d->round, t->user);
    else
        tide_task_fail_reason(t, "the program cannot be drained: it has no `drain` callback");
    if (rc) refuse_round(t, d->attempt, d->round, rc);
}

static void forward(struct tide_task *t, const struct tide_delivery *d)
{
    uint8_t barrier[TIDE_BARRIER_BYTES];
    struct tide_barrier b;
    bool refused = t->refused && d->round == t->refused;
    memcpy(barrier, d->barrier, sizeof barrier);
    if (refused && !tide_barrier_decode(barrier, &b)) {
        b.flags = TIDE_BARRIER_CANCEL;
        tide_barrier_encode(&b, barrier);
    }
    if (d->ahead && !refused && t->callbacks.overtake_output)
        tide_flight_ahead(t, d->round, barrier, false);
    else if (t->callbacks.forward)
        t->callbacks.forward(t, barrier, t->user);
}

void tide_deliver_held(struct tide_worker *w)
{
    for (uint32_t i = 0; i < w->n_tasks; i++) {
        struct tide_task *t = w->tasks[i];
        if (!t->n_held) continue;
        pthread_mutex_lock(&w->lock);
        bool begun = t->triggered == t->held[0].d.round;
        pthread_mutex_unlock(&w->lock);
        if (begun) let_go(w, t, 1); /* the first is the trigger itself */
    }
}

/* ---- all of them */

static void to_all(struct tide_worker *w, const struct tide_delivery *d)
{
    char text[512];
    text_of(d, text, sizeof text);
    if (d->type == TIDE_DO_STOP) {
        w->over = TIDE_EENDED;
        tide_worker_say(w, "the job has ended: %s", text);
    } else if (d->type == TIDE_DO_FENCED) {
        tide_worker_say(w, "%s", text);
        if (w->log) w->log(text, w->user);
    } else if (w->log) {
        w->log("the lease is held again", w->user);
    }
    for (uint32_t i = 0; i < w->n_tasks; i++) {
        struct tide_task *t = w->tasks[i];
        if (d->type == TIDE_DO_STOP && t->callbacks.stop) t->callbacks.stop(t, text, t->user);
        if (d->type != TIDE_DO_STOP && t->callbacks.fenced)
            t->callbacks.fenced(t, d->type == TIDE_DO_FENCED, t->user);
        if (d->type != TIDE_DO_UNFENCED) continue;
        pthread_mutex_lock(&w->lock);
        if (t->finish_wanted &&
            tide_session_finished(w->session, t->number, tide_now_us()) != TIDE_EFENCED)
            t->finish_wanted = false;
        pthread_mutex_unlock(&w->lock);
    }
    if (d->type == TIDE_DO_UNFENCED) tide_snapshot_unfenced(w);
    if (d->type == TIDE_DO_STOP) tide_parts_stop(w, text);
}

static void of_worker(struct tide_worker *w, const struct tide_delivery *d)
{
    char text[512];
    switch (d->type) {
    case TIDE_DO_REFUSED:
        text_of(d, text, sizeof text);
        w->over = TIDE_EREFUSED;
        tide_worker_say(w, "the daemon at %s refuses this worker: %s", w->address_text, text);
        break;
    case TIDE_DO_CHECK_HOLDER: {
        bool gone = tide_host_gone(d->pid, d->start_time);
        pthread_mutex_lock(&w->lock);
        tide_session_holder(w->session, gone, tide_now_us());
        pthread_mutex_unlock(&w->lock);
        break;
    }
    case TIDE_DO_NOTE:
        text_of(d, text, sizeof text);
        tide_worker_say(w, "%s", text);
        if (w->log) w->log(text, w->user);
        break;
    default: break;
    }
}

static void of_task(struct tide_worker *w, struct tide_task *t, const struct tide_delivery *d)
{
    const struct tide_callbacks *call = &t->callbacks;
    if (held_back(t, d)) return;
    switch (d->type) {
    case TIDE_DO_RESTORE: restore(w, t, d); break;
    case TIDE_DO_RUN:
        if (call->run) call->run(t, t->user);
        break;
    case TIDE_DO_TRIGGER: trigger(t, d); break;
    case TIDE_DO_BLOCK:
    case TIDE_DO_UNBLOCK:
        if (call->block) call->block(t, d->channel, d->type == TIDE_DO_BLOCK, t->user);
        break;
    case TIDE_DO_FORWARD: forward(t, d); break;
    case TIDE_DO_SNAPSHOT:
        if (d->round != t->refused) tide_snapshot_run(t, d);
        pthread_mutex_lock(&w->lock);
        tide_session_captured(w->session, t->number, d->round);
        pthread_mutex_unlock(&w->lock);
        break;
    case TIDE_DO_OVERTAKE: tide_flight_overtake(t, d); break;
    case TIDE_DO_PROMOTE:
        if (d->round != t->refused) tide_flight_ahead(t, d->round, d->barrier, true);
        break;
    case TIDE_DO_ACKABLE: tide_snapshot_ackable(t, d->round); break;
    case TIDE_DO_POSITION:
        if (call->position && !t->asking) call->position(t, t->user);
        break;
    case TIDE_DO_COMPLETE: complete(w, t, d); break;
    case TIDE_DO_ABORT:
        forget_round(w, t, d->round);
        tide_snapshot_abandon(t, d->round);
        if (call->abort) call->abort(t, d->round, t->user);
        break;
    case TIDE_DO_SUBSUMED:
        if (call->subsumed) call->subsumed(t, d->round, t->user);
        break;
    case TIDE_DO_DRAIN: drain(t, d); break;
    case TIDE_DO_SUSPEND:
    case TIDE_DO_RESUME:
        if (call->suspend) call->suspend(t, d->type == TIDE_DO_SUSPEND, t->user);
        break;
    case TIDE_DO_ENDED:
        if (call->ended) call->ended(t, t->user);
        break;
    case TIDE_DO_REWIND: rewound(w, t, d); break;
    default: break;
    }
    forget_reason(t);
}

void tide_deliver(struct tide_worker *w, const struct tide_delivery *d)
{
    switch (d->type) {
    case TIDE_DO_STOP:
    case TIDE_DO_FENCED:
    case TIDE_DO_UNFENCED: to_all(w, d); return;
    case TIDE_DO_REFUSED:
    case TIDE_DO_CHECK_HOLDER:
    case TIDE_DO_NOTE: of_worker(w, d); return;
    case TIDE_DO_ADVANCE: advance(w, d); return;
    default: break;
    }
    struct tide_task *t = tide_worker_find(w, d->task);
    if (d->type >= TIDE_DO_EXTERNAL_RESTORE)
        tide_parts_deliver(w, d);
    else if (t)
        of_task(w, t, d);
}

void tide_deliver_forget(struct tide_worker *w)
{
    forget_peers(w);
    for (uint32_t i = 0; i < w->n_tasks; i++) {
        struct tide_task *t = w->tasks[i];
        for (uint32_t k = 0; k < t->n_held; k++)
            free(t->held[k].directory);
        free(t->held);
        tide_snapshot_abandon(t, 0);
        free(t->fail_reason);
        free(t);
    }
    free(w->tasks);
}

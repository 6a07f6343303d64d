/* The life of a session
 *
 * The usual way: connect, Hello, Welcome, Join, Joined; from then heartbeats. Start begins an
 * attempt, Run lets it go, rounds follow (session_round.c), Stop ends it all.
 *
 * What can go wrong, and what we do:
 * - the connection breaks          -> back-off, connect, Join with what we have; Resumed: repeat
 *                                     what is unanswered. Computing goes on all the while
 * - no heartbeat is answered       -> after half a lease: close, and the same
 * - cut off past the orphan limit  -> rounds that align are given up, so that nothing stands still
 * - the lease is over              -> fenced: nothing that speaks for a task leaves or is
 * delivered, until Resumed, Rewind or Fenced settles it
 * - Rewind, Fenced                 -> every task drops what it has, then Join with nothing
 * - Refused                        -> later again, or the end, by its code
 * - Stop, while the program is busy -> what came before it is delivered before it, but for what
 *                                     needs the lease, once that is over */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/session_impl.h"
#include "proto/plant.h"

bool tide_session_dead(struct tide_session *s, int rc, const char *what, int line)
{
    if (s->dead) return false;
    s->dead = rc;
    snprintf(s->dead_why, sizeof s->dead_why, "%s (line %d)", what, line);
    s->link = LINK_OVER;
    s->want_connect = false;
    s->want_close = true;
    return false;
}

/* ---- shared bytes and the queue of deliveries */

struct shared *tide_shared_new(struct tide_session *s, struct tide_bytes bytes)
{
    struct shared *b = malloc(sizeof *b + bytes.len);
    if (!b) {
        tide_session_dead(s, TIDE_ENOMEM, "out of memory", __LINE__);
        return NULL;
    }
    b->refs = 1;
    b->len = bytes.len;
    if (bytes.len) memcpy(b->data, bytes.data, bytes.len);
    return b;
}

struct shared *tide_shared_ref(struct shared *b)
{
    if (b) b->refs++;
    return b;
}

void tide_shared_unref(struct shared *b)
{
    if (b && --b->refs == 0) free(b);
}

void tide_session_push(struct tide_session *s, const struct tide_delivery *d, struct shared *hold)
{
    if (s->dead) return;
    if (s->n_queue == s->cap_queue) {
        uint32_t cap = s->cap_queue ? s->cap_queue * 2 : 64;
        struct item *queue = cap <= QUEUE_MAX ? malloc(cap * sizeof *queue) : NULL;
        if (!queue) {
            tide_session_dead(s, TIDE_ENOMEM, "too many deliveries wait", __LINE__);
            return;
        }
        for (uint32_t i = 0; i < s->n_queue; i++)
            queue[i] = s->queue[(s->head + i) & (s->cap_queue - 1)];
        free(s->queue);
        s->queue = queue;
        s->cap_queue = cap;
        s->head = 0;
    }
    struct item *item = &s->queue[(s->head + s->n_queue++) & (s->cap_queue - 1)];
    item->d = *d;
    item->hold = tide_shared_ref(hold);
}

void tide_session_note(struct tide_session *s, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0) return;
    size_t n = (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
    struct shared *hold = malloc(sizeof *hold + n);
    if (!hold) return; /* a note is not worth a session */
    *hold = (struct shared){.refs = 1, .len = n};
    memcpy(hold->data, text, n);
    struct tide_delivery d = {.type = TIDE_DO_NOTE, .text = {hold->data, hold->len}};
    tide_session_push(s, &d, hold);
    tide_shared_unref(hold);
}

void tide_session_purge(struct tide_session *s,
                        bool (*drop)(struct tide_session *, struct tide_delivery *))
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->n_queue; i++) {
        struct item item = s->queue[(s->head + i) & (s->cap_queue - 1)];
        if (drop(s, &item.d))
            tide_shared_unref(item.hold);
        else
            s->queue[(s->head + kept++) & (s->cap_queue - 1)] = item;
    }
    s->n_queue = kept;
}

bool tide_session_next_io(struct tide_session *s, struct tide_delivery *ret)
{
    if (s->out.len && !s->out_given && !s->out.rc) {
        s->out_given = true;
        *ret = (struct tide_delivery){.type = TIDE_DO_SEND, .bytes = {s->out.data, s->out.len}};
        return true;
    }
    if (s->want_close) {
        s->want_close = false;
        *ret = (struct tide_delivery){.type = TIDE_DO_CLOSE};
        return true;
    }
    if (s->want_connect) {
        s->want_connect = false;
        *ret = (struct tide_delivery){.type = TIDE_DO_CONNECT};
        return true;
    }
    return false;
}

bool tide_session_next(struct tide_session *s, struct tide_delivery *ret)
{
    tide_shared_unref(s->given);
    s->given = NULL;
    if (tide_session_next_io(s, ret)) return true;
    if (s->dead || !s->n_queue) return false;
    struct item item = s->queue[s->head];
    s->head = (s->head + 1) & (s->cap_queue - 1);
    s->n_queue--;
    *ret = item.d;
    s->given = item.hold;
    return true;
}

bool tide_session_waits(const struct tide_session *s)
{
    return s->n_queue > 0;
}

/* ---- the connection */

/* Every door begins here: what was given out of `out` is on its way. */
void tide_session_enter(struct tide_session *s)
{
    if (!s->out_given) return;
    s->out_given = false;
    if (s->out.cap > FRAME_GOAL * 4)
        tide_buf_release(&s->out);
    else
        tide_buf_clear(&s->out);
}

static uint64_t draw(struct tide_session *s)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Half of it fixed, half drawn, so that workers cut off together do not come back together. */
static uint64_t back_off(struct tide_session *s)
{
    uint64_t most = s->reconnect_min_us;
    for (uint32_t i = 1; i < s->failures && most < s->reconnect_max_us; i++)
        most *= 2;
    most = tide_min(most, s->reconnect_max_us);
    return most / 2 + draw(s) % (most - most / 2 + 1);
}

void tide_session_detach(struct tide_session *s, uint64_t since_us)
{
    if (!s->attached) return;
    s->attached = false;
    s->cut_us = since_us;
    s->align_due_us = tide_min(s->align_due_us, since_us + s->orphan_us);
}

void tide_session_close(struct tide_session *s, uint64_t now_us)
{
    if (s->link == LINK_DOWN || s->link == LINK_CLOSING || s->link == LINK_OVER) return;
    s->link = LINK_CLOSING;
    s->want_close = true;
    s->parked_us = 0;
    tide_session_detach(s, now_us);
}

void tide_session_end(struct tide_session *s)
{
    s->want_close = s->link != LINK_DOWN && s->link != LINK_CLOSING;
    s->want_connect = false;
    s->link = LINK_OVER;
    s->attached = false;
    s->parked_us = 0;
}

void tide_session_connected(struct tide_session *s, uint64_t now_us)
{
    tide_session_enter(s);
    if (s->link != LINK_CONNECTING) return;
    s->link = LINK_HELLO;
    s->link_deadline_us = now_us + WELCOME_US;
    s->answered = s->sequence;
    tide_joiner_release(&s->joiner);
    tide_buf_clear(&s->out);
    tide_session_send_hello(s, now_us);
}

void tide_session_disconnected(struct tide_session *s, uint64_t now_us)
{
    tide_session_enter(s);
    tide_buf_clear(&s->out);
    s->want_close = false;
    if (s->link == LINK_OVER || s->link == LINK_DOWN) return;
    tide_session_detach(s, now_us);
    s->link = LINK_DOWN;
    s->parked_us = 0;
    if (s->failures < 32) s->failures++;
    uint64_t wait_us = back_off(s);
    s->connect_us = now_us + wait_us;
    if (s->failures == 1)
        tide_session_note(s, "the connection is gone; connecting again in %u ms",
                          (unsigned)(wait_us / 1000));
}

void tide_session_frame(struct tide_session *s, struct tide_bytes frame, uint64_t now_us)
{
    tide_session_enter(s);
    if (s->dead || s->link < LINK_HELLO || s->link >= LINK_CLOSING) return;
    tide_session_fence(s, now_us);
    if (s->link < LINK_CLOSING) tide_session_receive(s, frame, now_us);
}

/* ---- the lease */

void tide_session_lease(struct tide_session *s, uint64_t sent_us)
{
    if (sent_us < s->lease_from_us) return;
    s->lease_from_us = sent_us;
    s->lease_until_us = sent_us + s->lease_us;
}

bool tide_session_fence(struct tide_session *s, uint64_t now_us)
{
    if (!s->attempt || s->fenced) return s->fenced;
    if (now_us < s->lease_until_us || PLANTED(NO_LEASE)) return false;
    s->fenced = true;
    tide_rounds_fenced(s);
    if (s->link == LINK_OVER) return true; /* the last word has been given: nothing follows it */
    struct tide_delivery d = {.type = TIDE_DO_FENCED, .attempt = s->attempt};
    d.text = tide_bytes_of("the lease is over: the daemon has not answered in time");
    tide_session_push(s, &d, NULL);
    tide_session_close(s, now_us); /* only a new Join can bring Resumed */
    return true;
}

int tide_session_token(const struct tide_session *s, uint64_t now_us, uint64_t *ret_external)
{
    if (s->dead) return s->dead;
    if (!s->attempt || s->rewinding || s->link == LINK_OVER) return TIDE_ESTATE;
    if (!PLANTED(NO_LEASE) && (s->fenced || now_us >= s->lease_until_us)) return TIDE_EFENCED;
    *ret_external = s->start->token->external;
    return 0;
}

void tide_session_heartbeat(struct tide_session *s, uint64_t now_us)
{
    tide_session_enter(s);
    if (s->dead || s->link != LINK_JOINED) return;
    tide_session_send_beat(s, now_us);
}

/* Closes a connection on which nobody answers. */
static void watch_beats(struct tide_session *s, uint64_t now_us)
{
    if (s->link != LINK_JOINED || s->rewinding) return; /* none is answered until the next Join */
    if (s->answered < s->sequence) {
        uint64_t oldest = s->beats[(s->answered + 1) % BEATS];
        if (s->sequence - s->answered >= BEATS || now_us >= oldest + s->lease_us / 2) {
            tide_session_note(s, "the daemon has not answered for %u ms; connecting again",
                              (unsigned)((now_us - oldest) / 1000));
            tide_session_detach(s, oldest);
            tide_session_close(s, now_us);
            return;
        }
    }
    if (now_us >= s->beat_us) tide_session_send_beat(s, now_us);
}

void tide_session_tick(struct tide_session *s, uint64_t now_us)
{
    tide_session_enter(s);
    if (s->dead) return;
    s->frozen = true;
    tide_session_fence(s, now_us);
    if (s->link == LINK_OVER) return;
    if (s->link == LINK_DOWN && now_us >= s->connect_us) {
        s->link = LINK_CONNECTING;
        s->want_connect = true;
    }
    if ((s->link == LINK_HELLO || s->link == LINK_JOINING) && now_us >= s->link_deadline_us) {
        tide_session_note(s, "the daemon does not answer %s; connecting again",
                          s->link == LINK_HELLO ? "Hello" : "Join");
        tide_session_close(s, now_us);
    }
    if (s->parked_us && now_us >= s->parked_us) {
        s->parked_us = now_us + PARKED_CHECK_US;
        struct tide_delivery d = {
            .type = TIDE_DO_CHECK_HOLDER, .pid = s->holder.pid, .start_time = s->holder.start_time};
        tide_session_push(s, &d, NULL);
    }
    watch_beats(s, now_us);
    tide_rounds_tick(s, now_us);
    if (now_us >= s->ack_due_us || s->flush_due) tide_session_send_due(s);
    if (s->out.rc) { /* a peer that does not read; what matters is repeated after Resumed */
        tide_buf_release(&s->out);
        tide_session_close(s, now_us);
    }
}

void tide_session_flush(struct tide_session *s, uint64_t now_us)
{
    tide_session_enter(s);
    if (s->dead || tide_session_fence(s, now_us)) return;
    tide_session_send_due(s);
}

void tide_session_look(struct tide_session *s, uint64_t now_us)
{
    if (s->dead || s->fenced || now_us < s->lease_until_us) return;
    tide_session_enter(s);
    tide_session_fence(s, now_us);
}

uint64_t tide_session_deadline(const struct tide_session *s)
{
    uint64_t at = UINT64_MAX;
    bool leased = s->attempt && !s->fenced && !PLANTED(NO_LEASE);
    if (s->dead) return at;
    /* what waits before the last word is delivered under the lease only */
    if (s->link == LINK_OVER) return leased && s->n_queue ? s->lease_until_us : at;
    if (s->link == LINK_DOWN) at = s->connect_us;
    if (s->link == LINK_HELLO || s->link == LINK_JOINING) at = s->link_deadline_us;
    if (s->link == LINK_JOINED && !s->rewinding) {
        at = s->beat_us;
        if (s->answered < s->sequence)
            at = tide_min(at, s->beats[(s->answered + 1) % BEATS] + s->lease_us / 2);
        if (s->flush_due && s->attached && !s->fenced) at = 0;
    }
    if (s->parked_us) at = tide_min(at, s->parked_us);
    if (leased) at = tide_min(at, s->lease_until_us);
    if (s->attached && !s->fenced) at = tide_min(at, s->ack_due_us);
    return tide_min(at, tide_rounds_deadline(s));
}

/* ---- tasks */

struct stask *tide_session_task(struct tide_session *s, uint32_t number, uint32_t *ret_index)
{
    uint32_t low = 0, high = s->n_tasks;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->tasks[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (ret_index) *ret_index = low;
    return low < s->n_tasks && s->tasks[low].number == number ? &s->tasks[low] : NULL;
}

int64_t tide_session_add_task(struct tide_session *s, struct tide_bytes uid, uint32_t subtask,
                              uint32_t channels)
{
    uint32_t at;
    if (s->dead) return s->dead;
    if (s->frozen) return TIDE_ESTATE;
    int64_t number = tide_graph_task(s->graph, uid, subtask);
    if (number < 0) return TIDE_ENOTFOUND;
    if (tide_session_task(s, (uint32_t)number, &at)) return TIDE_EEXIST;
    if (s->n_tasks == s->cap_tasks) {
        uint32_t cap = s->cap_tasks ? s->cap_tasks * 2 : 8;
        struct stask *tasks = realloc(s->tasks, cap * sizeof *tasks);
        if (!tasks) return TIDE_ENOMEM;
        s->tasks = tasks;
        s->cap_tasks = cap;
    }
    struct tide_align *align;
    int rc = tide_align_new(channels, &align);
    if (rc) return rc;
    memmove(&s->tasks[at + 1], &s->tasks[at], (s->n_tasks - at) * sizeof *s->tasks);
    s->tasks[at] = (struct stask){
        .number = (uint32_t)number, .channels = channels, .open = channels, .align = align};
    s->n_tasks++;
    return number;
}

int tide_session_channels(struct tide_session *s, uint32_t task, uint32_t channels)
{
    tide_session_enter(s);
    struct stask *t = tide_session_task(s, task, NULL);
    if (s->dead) return s->dead;
    if (!t || channels > TIDE_CHANNELS_MAX) return TIDE_EINVAL;
    if (t->restored) return TIDE_ESTATE;
    int rc = tide_align_reset(t->align, channels);
    if (rc) return rc;
    tide_align_lowest(t->align, s->lowest_pending);
    t->channels = t->open = channels;
    return 0;
}

int tide_session_restored(struct tide_session *s, uint32_t task, int rc, struct tide_bytes reason,
                          uint64_t now_us)
{
    tide_session_enter(s);
    struct stask *t = tide_session_task(s, task, NULL);
    if (s->dead) return s->dead;
    if (!t) return TIDE_EINVAL;
    if (s->phase != TIDE__WORKER_PHASE__PHASE_STARTING || s->rewinding || s->deliver_only ||
        s->link == LINK_OVER)
        return TIDE_ESTALE;
    if (t->restored) return 0;
    tide_session_fence(s, now_us);
    if (rc) { /* the daemon ends the attempt; cut off, a Join in phase starting does the same */
        if (!reason.len) reason = tide_bytes_of(tide_strerror(rc));
        tide_session_send_restore_failed(s, task, reason);
        return 0;
    }
    t->restored = true;
    tide_session_one_restored(s);
    return 0;
}

void tide_session_one_restored(struct tide_session *s)
{
    if (--s->restoring) return;
    s->phase = TIDE__WORKER_PHASE__PHASE_RESTORED;
    tide_session_send_restored(s);
}

/* ---- the end of an attempt */

static bool of_attempt(struct tide_session *s, struct tide_delivery *d)
{
    if (d->type == TIDE_DO_EXTERNAL_RESTORE) tide_externals_unasked(s, d->external);
    return d->type != TIDE_DO_NOTE && d->type != TIDE_DO_CHECK_HOLDER;
}

void tide_session_rewind(struct tide_session *s, struct tide_bytes reason, uint64_t now_us)
{
    if (!s->attempt || s->rewinding) return;
    tide_session_purge(s, of_attempt);
    tide_rounds_clear(s);
    tide_session_detach(s, now_us);
    struct shared *hold = tide_shared_new(s, reason);
    if (!hold) return;
    tide_externals_rewind(s, hold); /* before the tasks, whose answers bring the next Join */
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        struct stask *t = &s->tasks[i];
        int rc = tide_align_reset(t->align, t->channels);
        if (rc) tide_session_dead(s, rc, "out of memory", __LINE__);
        tide_align_promotable(t->align, t->promotable);
        tide_share_forget(t);
        *t = (struct stask){.number = t->number,
                            .channels = t->channels,
                            .open = t->channels,
                            .promotable = t->promotable,
                            .align = t->align,
                            .stood = t->stood,
                            .rewinding = true};
        struct tide_delivery d = {.type = TIDE_DO_REWIND,
                                  .task = t->number,
                                  .attempt = s->attempt,
                                  .text = {hold->data, hold->len}};
        tide_session_push(s, &d, hold);
    }
    tide_shared_unref(hold);
    s->rewinding = s->n_tasks;
    s->fenced = s->advancing = false;
    s->attempt = 0;
    s->phase = TIDE__WORKER_PHASE__PHASE_NOTHING;
}

int tide_session_rewound(struct tide_session *s, uint32_t task, uint64_t now_us)
{
    tide_session_enter(s);
    struct stask *t = tide_session_task(s, task, NULL);
    if (s->dead) return s->dead;
    if (!t) return TIDE_EINVAL;
    if (!t->rewinding) return TIDE_ESTALE;
    t->rewinding = false;
    if (--s->rewinding == 0 && (s->link == LINK_WELCOMED || s->link == LINK_JOINED))
        tide_session_send_join(s, now_us);
    return 0;
}

void tide_session_holder(struct tide_session *s, bool gone, uint64_t now_us)
{
    tide_session_enter(s);
    (void)now_us;
    if (s->dead || !gone || !s->parked_us) return;
    tide_session_send_holder_gone(s);
    s->parked_us = 0;
}

void tide_session_leave(struct tide_session *s, struct tide_bytes reason, uint64_t now_us)
{
    tide_session_enter(s);
    if (s->dead || s->link == LINK_OVER) return;
    if (!tide_session_fence(s, now_us)) tide_session_send_due(s);
    tide_rounds_fenced(s); /* from here on others may take the tasks */
    if (s->link >= LINK_JOINING && s->link < LINK_CLOSING) tide_session_send_leave(s, reason);
    tide_session_end(s);
}

uint64_t tide_session_heartbeat_us(const struct tide_session *s)
{
    return s->heartbeat_us;
}

uint64_t tide_session_attempt(const struct tide_session *s)
{
    return s->attempt;
}

const struct tide_graph *tide_session_graph(const struct tide_session *s)
{
    return s->graph;
}

int tide_session_failed(const struct tide_session *s, const char **ret_why)
{
    if (ret_why) *ret_why = s->dead_why;
    return s->dead;
}

/* ---- birth and end */

static int copy_config(struct tide_session *s, const struct tide_session_config *c,
                       char why[static 256])
{
    if (!c->worker.len || c->worker.len > 255 || !tide_text_valid(c->worker)) {
        snprintf(why, 256, "the worker's name must be 1 to 255 bytes of UTF-8 without NUL");
        return TIDE_EINVAL;
    }
    if (c->endpoint.len > 4096) {
        snprintf(why, 256, "the endpoint has %zu bytes; at most 4096 are allowed", c->endpoint.len);
        return TIDE_EINVAL;
    }
    if (c->secret.len > 4096 || c->software.len > 64 || c->boot_id.len > 255) {
        snprintf(why, 256, "secret (at most 4096 bytes), software (64) or boot id (255) too long");
        return TIDE_EINVAL;
    }
    struct tide_bytes spec = {s->graph->spec_bytes, s->graph->spec_len};
    s->spec = tide_unpack(&s->birth, &tide__job_spec__descriptor, spec, NULL);
    s->worker = tide_arena_bytes(&s->birth, c->worker);
    s->endpoint = tide_arena_bytes(&s->birth, c->endpoint);
    s->secret = tide_arena_bytes(&s->birth, c->secret);
    s->software = tide_arena_bytes(&s->birth, c->software);
    s->boot_id = tide_arena_bytes(&s->birth, c->boot_id);
    if (!s->spec || !s->worker.data || !s->endpoint.data || !s->secret.data || !s->software.data ||
        !s->boot_id.data) {
        snprintf(why, 256, "out of memory");
        return TIDE_ENOMEM;
    }
    /* no part of what is canonical */
    s->spec->restore_from.data = (uint8_t *)(uintptr_t)s->graph->restore_from.data;
    s->spec->restore_from.len = s->graph->restore_from.len;
    s->spec->allow_unmatched = s->graph->allow_unmatched;
    return 0;
}

int tide_session_new(const struct tide_session_config *c, struct tide_session **ret,
                     char why[static 256])
{
    struct tide_session *s = calloc(1, sizeof *s);
    if (!s) {
        snprintf(why, 256, "out of memory");
        return TIDE_ENOMEM;
    }
    tide_arena_init(&s->birth, (size_t)32 << 20);
    tide_arena_init(&s->arena, TIDE_ARENA_MAX);
    tide_arena_init(&s->start_arena, START_ARENA_MAX);
    tide_buf_init(&s->out, OUT_MAX);
    tide_joiner_init(&s->joiner, TIDE_PARTS_MAX);
    tide_ack_builder_init(&s->batch, TIDE_FRAME_MAX);
    int rc = tide_graph_new(c->spec, &s->graph, why);
    if (!rc) rc = copy_config(s, c, why);
    if (rc) {
        tide_session_free(s);
        return rc;
    }
    s->pid = c->pid;
    s->start_time = c->start_time;
    s->random = c->seed;
    s->reconnect_min_us = c->reconnect_min_us ? c->reconnect_min_us : 50000;
    s->reconnect_max_us = c->reconnect_max_us ? c->reconnect_max_us : 5000000;
    if (s->reconnect_max_us < s->reconnect_min_us) s->reconnect_max_us = s->reconnect_min_us;
    s->ack_batch = c->ack_batch ? c->ack_batch : 64;
    s->ack_delay_us = c->ack_delay_us ? c->ack_delay_us : 500;
    s->ack_due_us = s->align_due_us = s->retry_due_us = UINT64_MAX;
    /* until Joined tells */
    s->lease_us = 10000000;
    s->heartbeat_us = s->orphan_us = s->progress_us = 1000000;
    *ret = s;
    return 0;
}

void tide_session_free(struct tide_session *s)
{
    if (!s) return;
    tide_rounds_free(s);
    tide_externals_free(s);
    for (uint32_t i = 0; i < s->n_queue; i++)
        tide_shared_unref(s->queue[(s->head + i) & (s->cap_queue - 1)].hold);
    tide_shared_unref(s->given);
    for (uint32_t i = 0; i < s->n_tasks; i++)
        tide_align_free(s->tasks[i].align), tide_share_forget(&s->tasks[i]);
    tide_ack_builder_release(&s->batch);
    tide_joiner_release(&s->joiner);
    tide_buf_release(&s->out);
    tide_arena_release(&s->start_arena);
    tide_arena_release(&s->arena);
    tide_arena_release(&s->birth);
    tide_graph_free(s->graph);
    free(s->tasks);
    free(s->queue);
    free(s);
}

const char *tide_session_check(const struct tide_session *s)
{
    uint32_t rewinding = 0, last = 0;
    if (s->dead) return s->dead_why;
    if (s->attempt && !s->start) return "an attempt without its Start";
    if (s->attempt && s->rewinding) return "an attempt while tasks still rewind";
    if (s->attached && !s->attempt) return "attached without an attempt";
    if (s->attached && s->link != LINK_JOINED) return "attached without being joined";
    if (s->fenced && !s->attempt) return "fenced without an attempt";
    if (s->advancing && s->phase != TIDE__WORKER_PHASE__PHASE_RUNNING)
        return "advances without running";
    if (s->attempt && s->start->token->attempt != s->attempt) return "another attempt's token";
    if (!s->attempt && s->n_rounds) return "rounds without an attempt";
    for (uint32_t i = 0; i < s->n_tasks; i++) {
        const struct stask *t = &s->tasks[i];
        if (i && t->number <= last) return "tasks out of order";
        last = t->number;
        rewinding += t->rewinding;
        if (t->asked && t->asked <= t->done) return "asked for a commit that is carried out";
        if (s->fenced && t->asked) return "asked for a commit while fenced";
        if (t->stands && t->stood != s->attempt) return "stands for another attempt";
    }
    if (rewinding != s->rewinding) return "count of rewinding tasks";
    const char *wrong = tide_externals_check(s);
    if (wrong) return wrong;
    for (uint32_t i = 1; i < s->n_rounds; i++)
        if (s->rounds[i]->number <= s->rounds[i - 1]->number) return "rounds out of order";
    return NULL;
}

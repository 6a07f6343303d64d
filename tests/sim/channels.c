/* The channels of the dataflow: FIFO pipes with back-pressure, in which a barrier can be put ahead.
 *
 * An item waits in the sender's output until `sent_at`, and can be read from `at` on; until it is
 * read it is queued at the receiver. What a barrier passes, at either end, is kept as in flight; so
 * is what a task reads while its session says so. What has been put into a channel is remembered,
 * so that a snapshot's records in flight can be compared with it, record by record. */
#include "tests/sim/sim.h"

#define PIPE_FULL 12u

/* ---- records in flight */

struct flights *flights_of(struct sim *s, struct task *t, uint64_t round)
{
    for (struct flights *f = t->flights; f; f = f->next)
        if (f->round == round) return f;
    struct flights *f = sim_alloc(s, sizeof *f);
    *f = (struct flights){.next = t->flights, .round = round};
    t->flights = f;
    return f;
}

void flights_add(struct sim *s, struct flights *f, Tide__Flight flight, uint32_t channel,
                 const struct item *i)
{
    if (f->n == f->cap) {
        uint32_t cap = f->cap ? f->cap * 2 : 16;
        struct flying *items = sim_alloc(s, cap * sizeof *items);
        if (f->n) memcpy(items, f->item, f->n * sizeof *items);
        f->item = items;
        f->cap = cap;
    }
    f->item[f->n++] =
        (struct flying){(uint32_t)flight, channel, (uint32_t)i->kind, i->source, i->number};
}

/* One artifact for each direction and channel, as the library makes them. */
uint32_t flights_pack(struct sim *s, const struct flights *f, struct tide_artifact_view *views)
{
    uint32_t n = 0;
    for (uint32_t flight = 1; f && flight <= 2; flight++)
        for (uint32_t c = 0; c < CHANNELS_MAX; c++) {
            struct tide_buf b;
            tide_buf_init(&b, 1u << 20);
            for (uint32_t i = 0; i < f->n; i++) {
                const struct flying *x = &f->item[i];
                if (x->flight != flight || x->channel != c) continue;
                tide_buf_put_u32(&b, x->kind);
                tide_buf_put_u32(&b, x->source);
                tide_buf_put_u32(&b, x->number);
            }
            if (b.len)
                views[n++] = (struct tide_artifact_view){
                    .size = b.len,
                    .is_inline = true,
                    .inlined = sim_bytes(s, (struct tide_bytes){b.data, b.len}),
                    .flight = flight,
                    .channel = c};
            tide_buf_release(&b);
        }
    return n;
}

bool flights_unpack(struct sim *s, struct flights *f, uint32_t flight, uint32_t channel,
                    struct tide_bytes bytes)
{
    if (bytes.len % 12) return false;
    for (size_t i = 0; i < bytes.len; i += 12)
        flights_add(s, f, (Tide__Flight)flight, channel,
                    &(struct item){.kind = (enum item_kind)tide_get_u32(bytes.data + i),
                                   .source = tide_get_u32(bytes.data + i + 4),
                                   .number = tide_get_u32(bytes.data + i + 8)});
    return true;
}

/* In the same order per direction and channel. */
bool flights_equal(const struct flights *a, const struct flights *b)
{
    static const struct flights none;
    if (!a) a = &none;
    if (!b) b = &none;
    if (a->n != b->n) return false;
    for (uint32_t flight = 1; flight <= 2; flight++)
        for (uint32_t c = 0; c < CHANNELS_MAX; c++) {
            uint32_t i = 0, k = 0;
            for (;; i++, k++) {
                while (i < a->n && (a->item[i].flight != flight || a->item[i].channel != c))
                    i++;
                while (k < b->n && (b->item[k].flight != flight || b->item[k].channel != c))
                    k++;
                if (i == a->n || k == b->n) break;
                if (memcmp(&a->item[i], &b->item[k], sizeof a->item[i])) return false;
            }
            if (i != a->n || k != b->n) return false;
        }
    return true;
}

/* ---- putting */

static void remember(struct sim *s, struct channel_log *log, const struct item *i)
{
    if (log->n == log->cap) {
        uint32_t cap = log->cap ? log->cap * 2 : 32;
        struct logged *items = sim_alloc(s, cap * sizeof *items);
        if (log->n) memcpy(items, log->item, log->n * sizeof *items);
        log->item = items;
        log->cap = cap;
    }
    log->item[log->n++] = (struct logged){i->source, i->number};
}

struct leaving {
    struct task *task;
    uint32_t generation;
    struct item *item;
};

/* The barrier has left an output in which it could have been put ahead. */
static void has_left(struct sim *s, void *arg, uint64_t x)
{
    struct leaving *l = arg;
    struct task *t = l->task;
    struct proc *p = t->proc;
    if (!p->alive || t->generation != l->generation || l->item->moved) return;
    if (proc_busy(s, p, has_left, arg, x)) return;
    (void)tide_session_sent(p->session, t->number, l->item->barrier, proc_now(s, p));
    proc_pump(s, p);
}

static void watch(struct sim *s, struct task *t, struct item *i)
{
    if (i->kind != ITEM_BARRIER || !t->promotable) return;
    struct leaving *l = sim_alloc(s, sizeof *l);
    *l = (struct leaving){t, t->generation, i};
    sim_at(s, i->sent_at, has_left, l, 0);
}

void channel_put(struct sim *s, struct task *t, uint32_t channel, const struct item *what)
{
    struct job *j = t->proc->job;
    struct pipe *p = &t->in->pipe[channel];
    if (p->broken) return;
    struct item *i = sim_alloc(s, sizeof *i);
    *i = *what;
    i->next = NULL;
    bool slow = j->flow.channel[channel].slow && !s->calm && !j->calm;
    i->sent_at = s->now + (slow ? below(s, 150 * MS) : percent(s, 5) ? below(s, 40 * MS) : 0);
    if (i->sent_at < p->last_sent) i->sent_at = p->last_sent;
    p->last_sent = i->sent_at;
    i->at = i->sent_at + between(s, 50, 2 * MS);
    if (i->at < p->last_at) i->at = p->last_at;
    p->last_at = i->at;
    if (!p->first) p->last = &p->first;
    *p->last = i;
    p->last = &i->next;
    p->length++;
    if (i->kind == ITEM_RECORD) remember(s, &p->log, i);
    watch(s, t, i);
    if (p->reader) j->program->wake(s, p->reader, i->at);
}

void channel_put_all(struct sim *s, struct task *t, const struct item *what)
{
    const struct flow_task *f = &t->proc->job->flow.task[t->number];
    for (uint32_t o = 0; o < f->n_out; o++)
        channel_put(s, t, f->out[o], what);
}

bool channels_room(const struct task *t)
{
    const struct flow_task *f = &t->proc->job->flow.task[t->number];
    for (uint32_t o = 0; o < f->n_out; o++)
        if (t->in->pipe[f->out[o]].length >= PIPE_FULL && !t->in->pipe[f->out[o]].broken)
            return false;
    return true;
}

/* ---- putting ahead */

static bool same_round(const struct item *i, const uint8_t *barrier)
{
    return i->kind == ITEM_BARRIER && tide_get_u64(i->barrier) == tide_get_u64(barrier);
}

/* Where a barrier goes that goes ahead: behind what has been sent, and behind other barriers. */
static struct item **place_ahead(struct sim *s, struct pipe *p, struct item *until,
                                 struct item **ret_before)
{
    struct item **at = &p->first, **place = at;
    *ret_before = NULL;
    for (struct item *i = p->first; i && i != until; i = i->next) {
        at = &i->next;
        bool fence = i->kind == ITEM_BARRIER && !PLANTED(OVERTAKE_BARRIER);
        if (i->sent_at > s->now && !fence) continue;
        place = at;
        *ret_before = i;
    }
    return place;
}

static void put_ahead(struct sim *s, struct task *t, uint32_t output, const uint8_t *barrier,
                      struct flights *f, bool promote)
{
    struct job *j = t->proc->job;
    uint32_t channel = j->flow.task[t->number].out[output];
    struct pipe *p = &t->in->pipe[channel];
    struct item *old = NULL, *before;
    for (struct item *i = p->first; i; i = i->next)
        if (i->sent_at > s->now && same_round(i, barrier)) old = i;
    if (p->broken || (promote && !old)) return; /* it has left */
    struct item **place = place_ahead(s, p, old, &before);
    struct item *i = sim_alloc(s, sizeof *i);
    for (struct item **at = place; *at && *at != old; at = &(*at)->next)
        flights_add(s, f, TIDE__FLIGHT__FLIGHT_OUTPUT, output, *at);
    for (struct item **at = &p->first; old && *at; at = &(*at)->next) {
        if (*at != old) continue;
        *at = old->next;
        old->moved = true;
        p->length--;
        if (!*at) p->last = at;
        if (p->last == &old->next) p->last = at;
        break;
    }
    *i = (struct item){.next = *place, .kind = ITEM_BARRIER};
    memcpy(i->barrier, barrier, TIDE_BARRIER_BYTES);
    i->sent_at = before && before->sent_at > s->now ? before->sent_at : s->now;
    i->at = i->sent_at + between(s, 50, 2 * MS);
    if (before && i->at < before->at) i->at = before->at;
    if (*place && i->at > (*place)->at) i->at = (*place)->at;
    if (!*place) { /* the last one */
        p->last = &i->next;
        if (i->at < p->last_at) i->at = p->last_at;
        p->last_at = i->at;
        if (i->sent_at > p->last_sent) p->last_sent = i->sent_at;
    }
    *place = i;
    if (!p->first->next) p->last = &p->first->next;
    p->length++;
    watch(s, t, i);
    if (p->reader) j->program->wake(s, p->reader, i->at);
}

void channels_put_ahead(struct sim *s, struct task *t, const struct tide_delivery *d)
{
    const struct flow_task *f = &t->proc->job->flow.task[t->number];
    struct flights *kept = flights_of(s, t, d->round);
    for (uint32_t o = 0; o < f->n_out; o++)
        put_ahead(s, t, o, d->barrier, kept, d->type == TIDE_DO_PROMOTE);
}

/* ---- reading */

/* The next item of the input, if it is there. */
struct item *channel_next(struct sim *s, struct task *t, uint32_t input)
{
    struct pipe *p = &t->in->pipe[t->proc->job->flow.task[t->number].in[input]];
    if (!p->first || p->first->at > s->now) return NULL;
    struct item *i = p->first;
    p->first = i->next;
    p->length--;
    return i;
}

/* The first barrier that has come and waits behind records; NULL: there is none. */
static struct item **queued_barrier(struct sim *s, struct pipe *p)
{
    for (struct item **at = &p->first; *at && (*at)->at <= s->now; at = &(*at)->next)
        if ((*at)->kind == ITEM_BARRIER) return at;
    return NULL;
}

/* Tells the session of barriers that are queued behind records; not of all, since it need not be.
 */
void channels_announce(struct sim *s, struct task *t)
{
    struct proc *p = t->proc;
    const struct flow_task *f = &p->job->flow.task[t->number];
    for (uint32_t i = 0; i < f->n_in && t->running && !p->away; i++) {
        struct item **at = queued_barrier(s, &t->in->pipe[f->in[i]]);
        if (!at || (*at)->announced || at == &t->in->pipe[f->in[i]].first) continue;
        (*at)->announced = true;
        if (percent(s, 15)) continue;
        int rc = tide_session_announce(p->session, t->number, i, (*at)->barrier, proc_now(s, p));
        must(s, rc == 0, "%s: tide_session_announce on channel %u: %s",
             task_name(p->job, t->number), i, tide_strerror(rc));
        proc_pump(s, p);
    }
}

/* Takes the announced barrier out of the queue; what stood before it is kept. */
struct item *channel_overtake(struct sim *s, struct task *t, uint32_t input, struct flights *kept)
{
    struct job *j = t->proc->job;
    struct pipe *p = &t->in->pipe[j->flow.task[t->number].in[input]];
    struct item **at = queued_barrier(s, p);
    must(s, at, "%s is to put a barrier of input %u ahead, and none is queued",
         task_name(j, t->number), input);
    for (struct item *i = p->first; i != *at; i = i->next)
        flights_add(s, kept, TIDE__FLIGHT__FLIGHT_INPUT, input, i);
    struct item *barrier = *at;
    *at = barrier->next;
    if (p->last == &barrier->next) p->last = at;
    p->length--;
    return barrier;
}

/* ---- restoring */

/* Records that were in flight: those of inputs are read first, those of outputs sent first. */
void channels_restore(struct sim *s, struct task *t, const struct flights *f)
{
    const struct flow_task *ft = &t->proc->job->flow.task[t->number];
    for (uint32_t i = 0; i < ft->n_in; i++) {
        struct pipe *p = &t->in->pipe[ft->in[i]];
        p->got_before = t->state.got[ft->in[i]];
        struct item **at = &p->first;
        if (!p->first) p->last = at;
        for (uint32_t k = 0; f && k < f->n; k++) {
            const struct flying *x = &f->item[k];
            if (x->flight != TIDE__FLIGHT__FLIGHT_INPUT || x->channel != i) continue;
            struct item *item = sim_alloc(s, sizeof *item);
            *item = (struct item){.next = *at,
                                  .kind = (enum item_kind)x->kind,
                                  .source = x->source,
                                  .number = x->number};
            if (!*at) p->last = &item->next;
            *at = item;
            at = &item->next;
            p->length++;
            if (item->kind == ITEM_RECORD) remember(s, &p->before, item);
        }
    }
    for (uint32_t k = 0; f && k < f->n; k++) {
        const struct flying *x = &f->item[k];
        if (x->flight != TIDE__FLIGHT__FLIGHT_OUTPUT) continue;
        must(s, x->channel < ft->n_out, "%s restores records of output %u",
             task_name(t->proc->job, t->number), x->channel);
        channel_put(s, t, ft->out[x->channel],
                    &(struct item){
                        .kind = (enum item_kind)x->kind, .source = x->source, .number = x->number});
    }
}

/* The record number n of a channel, from the first ever, as it was put in in this attempt. */
const struct logged *channel_logged(const struct pipe *p, uint32_t n)
{
    if (n < p->got_before) return NULL;
    n -= p->got_before;
    if (n < p->before.n) return &p->before.item[n];
    n -= p->before.n;
    return n < p->log.n ? &p->log.item[n] : NULL;
}

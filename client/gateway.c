/* Events in order, see gateway.h.
 *
 * An event is held (in its subtask's list, with the round that holds it back), or it may go (in one
 * queue for all), or it was taken. Ids are given as events are put, without gaps, so "all that were
 * put before" is one number: a ring of flights says which of the ids are settled, and `done` is the
 * last of those that are settled without a gap.
 *
 * Rounds are few and in rising order. A subtask is held back by the rounds that have closed and
 * that it has not been released from; what is put is held by the youngest of them. */
#include "client/gateway.h"

#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "proto/plant.h"

struct event {
    struct event *next;
    uint64_t id, round; /* round: holds it back; 0: it may go */
    uint32_t subtask;
    size_t len;
    uint8_t data[];
};

struct list {
    struct event *first, *last;
};

enum flight_state { FLIGHT_HERE, FLIGHT_TAKEN, FLIGHT_SETTLED };

struct flight {
    uint32_t subtask;
    uint8_t state;
};

struct marked {
    uint64_t round;
    bool closed;
    uint64_t upto;      /* last id when it closed */
    uint64_t *released; /* a bit per subtask */
};

struct tide_gateway {
    uint32_t subtasks;
    size_t bytes_max, bytes, held_bytes;
    uint32_t n_held;
    struct list *held; /* per subtask */
    struct list ready;
    struct list waiting; /* may go but for their subtasks, which are not there */
    uint64_t *absent;    /* a bit per subtask */
    struct event *given; /* taken last: the caller's view */
    struct flight *flights;
    uint32_t cap; /* of flights, a power of two */
    uint64_t last, done;
    struct marked rounds[TIDE_GATEWAY_ROUNDS_MAX]; /* ascending */
    uint32_t n_rounds;
    uint64_t latest;
    bool failed;
};

static struct flight *flight(const struct tide_gateway *g, uint64_t id)
{
    return &g->flights[id & (g->cap - 1)];
}

static size_t weight(const struct event *e)
{
    return sizeof *e + e->len;
}

static void append(struct list *l, struct event *e)
{
    e->next = NULL;
    if (l->first)
        l->last->next = e;
    else
        l->first = e;
    l->last = e;
}

static struct event *shift(struct list *l)
{
    struct event *e = l->first;
    if (e) l->first = e->next;
    return e;
}

/* ---- birth and end */

int tide_gateway_new(uint32_t subtasks, size_t bytes_max, struct tide_gateway **ret)
{
    struct tide_gateway *g = calloc(1, sizeof *g);
    if (!g) return TIDE_ENOMEM;
    g->subtasks = subtasks;
    g->bytes_max = bytes_max;
    g->held = calloc(subtasks ? subtasks : 1, sizeof *g->held);
    g->absent = calloc(subtasks / 64 + 1, sizeof *g->absent);
    if (!g->held || !g->absent) {
        free(g->held);
        free(g->absent);
        free(g);
        return TIDE_ENOMEM;
    }
    *ret = g;
    return 0;
}

static void drop_list(struct list *l)
{
    struct event *e;
    while ((e = shift(l)))
        free(e);
}

static void remove_round(struct tide_gateway *g, uint32_t at)
{
    free(g->rounds[at].released);
    g->n_rounds--;
    memmove(&g->rounds[at], &g->rounds[at + 1], (g->n_rounds - at) * sizeof g->rounds[0]);
}

void tide_gateway_reset(struct tide_gateway *g)
{
    for (uint32_t i = 0; i < g->subtasks; i++)
        drop_list(&g->held[i]);
    drop_list(&g->ready);
    drop_list(&g->waiting);
    memset(g->absent, 0, (g->subtasks / 64 + 1) * sizeof *g->absent);
    free(g->given);
    g->given = NULL;
    while (g->n_rounds)
        remove_round(g, g->n_rounds - 1);
    g->bytes = g->held_bytes = 0;
    g->n_held = 0;
    g->done = g->last;
    g->latest = 0; /* where an old copy of a store was put back, rounds may have lower numbers */
    g->failed = false;
}

void tide_gateway_free(struct tide_gateway *g)
{
    if (!g) return;
    tide_gateway_reset(g);
    free(g->flights);
    free(g->held);
    free(g->absent);
    free(g);
}

/* ---- events */

static bool make_room(struct tide_gateway *g)
{
    uint64_t wanted = g->last - g->done + 1;
    uint32_t cap = g->cap ? g->cap : 64;
    while (cap < wanted)
        cap *= 2;
    if (cap == g->cap) return true;
    struct flight *flights = malloc(cap * sizeof *flights);
    if (!flights) return false;
    for (uint64_t id = g->done + 1; id <= g->last; id++)
        flights[id & (cap - 1)] = *flight(g, id);
    free(g->flights);
    g->flights = flights;
    g->cap = cap;
    return true;
}

static bool is_released(const struct marked *m, uint32_t subtask)
{
    return m->released[subtask >> 6] >> (subtask & 63) & 1;
}

/* The youngest round below `below` that holds the subtask back; 0: none. */
static uint64_t held_by(const struct tide_gateway *g, uint32_t subtask, uint64_t below)
{
    if (PLANTED(GATEWAY_OPEN)) return 0;
    for (uint32_t i = g->n_rounds; i-- > 0;) {
        const struct marked *m = &g->rounds[i];
        if (m->round < below && m->closed && !is_released(m, subtask)) return m->round;
    }
    return 0;
}

int tide_gateway_put(struct tide_gateway *g, uint32_t subtask, struct tide_bytes bytes)
{
    if (subtask >= g->subtasks) return TIDE_EINVAL;
    if (bytes.len > TIDE_GATEWAY_EVENT_MAX) return TIDE_ETOOBIG;
    if (g->bytes + sizeof(struct event) + bytes.len > g->bytes_max ||
        g->last - g->done >= TIDE_GATEWAY_FLIGHTS_MAX)
        return TIDE_EBUSY;
    struct event *e = make_room(g) ? malloc(sizeof *e + bytes.len) : NULL;
    if (!e) return TIDE_ENOMEM;
    *e = (struct event){.id = ++g->last,
                        .round = held_by(g, subtask, UINT64_MAX),
                        .subtask = subtask,
                        .len = bytes.len};
    if (bytes.len) memcpy(e->data, bytes.data, bytes.len);
    *flight(g, e->id) = (struct flight){subtask, FLIGHT_HERE};
    g->bytes += weight(e);
    if (e->round) {
        append(&g->held[subtask], e);
        g->held_bytes += weight(e);
        g->n_held++;
    } else {
        append(&g->ready, e);
    }
    return 0;
}

static bool is_absent(const struct tide_gateway *g, uint32_t subtask)
{
    return g->absent[subtask >> 6] >> (subtask & 63) & 1;
}

bool tide_gateway_next(struct tide_gateway *g, struct tide_gateway_event *ret)
{
    struct event *e;
    while ((e = shift(&g->ready)) && is_absent(g, e->subtask))
        append(&g->waiting, e);
    free(g->given);
    g->given = e;
    if (!e) return false;
    g->bytes -= weight(e);
    flight(g, e->id)->state = FLIGHT_TAKEN;
    *ret = (struct tide_gateway_event){e->id, e->subtask, {e->data, e->len}};
    return true;
}

static void settle(struct tide_gateway *g, uint64_t id)
{
    flight(g, id)->state = FLIGHT_SETTLED;
    while (g->done < g->last && flight(g, g->done + 1)->state == FLIGHT_SETTLED)
        g->done++;
}

void tide_gateway_confirm(struct tide_gateway *g, uint64_t id, bool lost)
{
    if (id <= g->done || id > g->last || flight(g, id)->state != FLIGHT_TAKEN) return;
    if (lost) g->failed = true;
    settle(g, id);
}

bool tide_gateway_failed(const struct tide_gateway *g)
{
    return g->failed;
}

size_t tide_gateway_held(const struct tide_gateway *g)
{
    return g->held_bytes;
}

static void drop_held(struct tide_gateway *g, uint32_t subtask)
{
    struct event *e;
    while ((e = shift(&g->held[subtask]))) {
        g->bytes -= weight(e);
        g->held_bytes -= weight(e);
        g->n_held--;
        free(e);
    }
}

static void drop_ready(struct tide_gateway *g, struct list *from, uint32_t first, uint32_t count)
{
    struct list all = *from;
    struct event *e;
    *from = (struct list){0};
    while ((e = shift(&all))) {
        if (e->subtask - first >= count) {
            append(from, e);
            continue;
        }
        g->bytes -= weight(e);
        free(e);
    }
}

void tide_gateway_reset_subtasks(struct tide_gateway *g, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < g->subtasks && first < g->subtasks - i; i++) {
        drop_held(g, first + i);
        for (uint32_t r = 0; r < g->n_rounds; r++)
            g->rounds[r].released[(first + i) >> 6] |= UINT64_C(1) << ((first + i) & 63);
    }
    drop_ready(g, &g->ready, first, count);
    drop_ready(g, &g->waiting, first, count);
    for (uint64_t id = g->done + 1; id <= g->last; id++)
        if (flight(g, id)->subtask - first < count) flight(g, id)->state = FLIGHT_SETTLED;
    while (g->done < g->last && flight(g, g->done + 1)->state == FLIGHT_SETTLED)
        g->done++;
}

void tide_gateway_pause_subtasks(struct tide_gateway *g, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < g->subtasks && first < g->subtasks - i; i++)
        g->absent[(first + i) >> 6] |= UINT64_C(1) << ((first + i) & 63);
}

/* What has waited goes before what was put since. */
void tide_gateway_resume(struct tide_gateway *g)
{
    struct event *e;
    memset(g->absent, 0, (g->subtasks / 64 + 1) * sizeof *g->absent);
    while ((e = shift(&g->ready)))
        append(&g->waiting, e);
    g->ready = g->waiting;
    g->waiting = (struct list){0};
}

/* ---- rounds */

static struct marked *find(const struct tide_gateway *g, uint64_t round)
{
    for (uint32_t i = 0; i < g->n_rounds; i++)
        if (g->rounds[i].round == round) return (struct marked *)&g->rounds[i];
    return NULL;
}

int tide_gateway_mark(struct tide_gateway *g, uint64_t round)
{
    if (round <= g->latest) return TIDE_EINVAL;
    if (g->n_rounds == TIDE_GATEWAY_ROUNDS_MAX) return TIDE_EBUSY;
    uint64_t *released = calloc(g->subtasks / 64 + 1, sizeof *released);
    if (!released) return TIDE_ENOMEM;
    g->rounds[g->n_rounds++] = (struct marked){.round = round, .released = released};
    g->latest = round;
    return 0;
}

bool tide_gateway_close(struct tide_gateway *g, uint64_t round)
{
    struct marked *m = find(g, round);
    if (!m) return false;
    if (m->closed) return true;
    while (g->rounds[0].round != round && !(m - 1)->closed) { /* too late for those before it */
        tide_gateway_open(g, (m - 1)->round);
        m = find(g, round);
    }
    m->closed = true;
    m->upto = g->last;
    return true;
}

int tide_gateway_settled(const struct tide_gateway *g, uint64_t round)
{
    const struct marked *m = find(g, round);
    if (!m || !m->closed) return TIDE_ESTALE;
    if (g->failed) return TIDE_EIO;
    return g->done >= m->upto ? 0 : TIDE_EAGAIN;
}

/* What the round holds back for the subtask goes, or falls to the next older round. */
static void let_go(struct tide_gateway *g, uint64_t round, uint32_t subtask)
{
    uint64_t older = held_by(g, subtask, round);
    struct list all = g->held[subtask];
    struct event *e;
    g->held[subtask] = (struct list){0};
    while ((e = shift(&all))) {
        if (e->round == round) e->round = older;
        if (e->round) {
            append(&g->held[subtask], e);
            continue;
        }
        g->held_bytes -= weight(e);
        g->n_held--;
        append(&g->ready, e);
    }
}

static void release(struct tide_gateway *g, struct marked *m, uint32_t subtask)
{
    if (is_released(m, subtask)) return;
    m->released[subtask >> 6] |= UINT64_C(1) << (subtask & 63);
    if (g->held[subtask].first) let_go(g, m->round, subtask);
}

void tide_gateway_release(struct tide_gateway *g, uint64_t round, uint32_t first, uint32_t count)
{
    struct marked *m = find(g, round);
    for (uint32_t i = 0; m && i < count && i < g->subtasks && first < g->subtasks - i; i++)
        release(g, m, first + i);
}

void tide_gateway_open(struct tide_gateway *g, uint64_t round)
{
    tide_gateway_release(g, round, 0, g->subtasks);
    struct marked *m = find(g, round);
    if (m) remove_round(g, (uint32_t)(m - g->rounds));
}

void tide_gateway_lowest(struct tide_gateway *g, uint64_t lowest_pending)
{
    while (g->n_rounds && g->rounds[0].round < lowest_pending)
        tide_gateway_open(g, g->rounds[0].round);
}

/* ---- what must hold */

const char *tide_gateway_check(const struct tide_gateway *g)
{
    size_t bytes = 0, held = 0;
    uint64_t n = 0;
    for (uint32_t i = 0; i < g->subtasks; i++) {
        uint64_t last = 0;
        for (const struct event *e = g->held[i].first; e; e = e->next, n++) {
            const struct marked *m = find(g, e->round);
            if (e->subtask != i) return "an event in the list of another subtask";
            if (!m || !m->closed || is_released(m, i)) return "an event is held by no round";
            if (e->round < last) return "events are held out of order";
            if (flight(g, e->id)->state != FLIGHT_HERE) return "an event that is held was taken";
            last = e->round;
            held += weight(e);
        }
    }
    if (n != g->n_held) return "count of held events";
    for (const struct event *e = g->ready.first; e; e = e->next) {
        if (e->id > g->last || e->id <= g->done) return "ids of events that may go";
        if (flight(g, e->id)->state != FLIGHT_HERE) return "an event that may go was taken";
        bytes += weight(e);
    }
    for (const struct event *e = g->waiting.first; e; e = e->next) {
        if (!is_absent(g, e->subtask)) return "an event waits for a subtask that is there";
        if (flight(g, e->id)->state != FLIGHT_HERE) return "an event that waits was taken";
        bytes += weight(e);
    }
    if (held != g->held_bytes || bytes + held != g->bytes) return "bytes of events";
    for (uint32_t i = 1; i < g->n_rounds; i++)
        if (g->rounds[i].round <= g->rounds[i - 1].round) return "rounds out of order";
    return NULL;
}

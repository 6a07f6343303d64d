/* Timers: a binary heap of pointers, each timer knowing its place. */
#include "daemon/core/internal.h"

static void put(struct timers *t, size_t place, struct timer *timer)
{
    t->heap[place] = timer;
    timer->place = (uint32_t)place;
}

static void sift_up(struct timers *t, size_t place)
{
    struct timer *moving = t->heap[place];
    for (; place > 1 && t->heap[place / 2]->at > moving->at; place /= 2)
        put(t, place, t->heap[place / 2]);
    put(t, place, moving);
}

static void sift_down(struct timers *t, size_t place)
{
    struct timer *moving = t->heap[place];
    for (size_t child; (child = 2 * place) <= t->n; place = child) {
        if (child < t->n && t->heap[child + 1]->at < t->heap[child]->at) child++;
        if (t->heap[child]->at >= moving->at) break;
        put(t, place, t->heap[child]);
    }
    put(t, place, moving);
}

void timer_set(struct core *c, struct timer *timer, uint64_t at)
{
    struct timers *t = &c->timers;
    timer_clear(c, timer);
    if (at == NEVER || c->ending) return;
    timer->at = at < c->now
                    ? c->now
                    : at; /* a time in the past must not look like a loop that stood still */
    t->heap = core_grow(t->heap, t->n + 1, &t->cap, sizeof *t->heap); /* place 0 is not used */
    put(t, ++t->n, timer);
    sift_up(t, t->n);
}

void timer_clear(struct core *c, struct timer *timer)
{
    struct timers *t = &c->timers;
    size_t place = timer->place;
    if (!place) return;
    core_assert(t->heap[place] == timer);
    timer->place = 0;
    struct timer *last = t->heap[t->n--];
    if (last == timer) return;
    put(t, place, last);
    sift_up(t, place);
    sift_down(t, last->place);
}

void timers_run(struct core *c)
{
    /* one that arms itself again for a time that has come is left for the next event */
    size_t most = c->timers.n;
    while (most-- && c->timers.n && c->timers.heap[1]->at <= c->now) {
        struct timer *due = c->timers.heap[1];
        timer_clear(c, due);
        due->fire(c, due->arg);
    }
}

void timers_end(struct core *c)
{
    for (size_t i = 1; i <= c->timers.n; i++)
        c->timers.heap[i]->place = 0;
    c->timers.n = 0;
    c->ending = true;
}

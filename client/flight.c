/* In-flight records: what an unaligned round passes over becomes part of its snapshot.
 *
 * The usual way: from the snapshot on, the program says which records it takes from its inputs
 * (tide_task_record), and, when a barrier goes ahead, which ones that passes (tide_task_in_flight).
 * They are kept in memory, by direction and channel, each with its length in front, until the
 * session says that nothing is missing; then they go to the snapshot, as artifacts behind the
 * state's.
 *
 *   a record in an artifact: 4 bytes length, 4 bytes that are 0, the record; little-endian
 *
 * A program that has said so (tide_task_keep_flights) puts them into artifacts of its own instead.
 *
 * Everything here is on the program's thread. While nothing is captured a record costs an addition.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/worker_impl.h"

#define RECORD_HEAD 8u
#define FLIGHT_MAX ((uint64_t)1 << 30) /* bytes of one task in one round */

static void flight_free(struct flight *f)
{
    if (!f) return;
    for (unsigned k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < f->n_lanes[k]; i++)
            tide_buf_release(&f->lanes[k][i]);
        free(f->lanes[k]);
    }
    free(f);
}

/* NULL: no memory; the round is then declined when its snapshot is made. */
struct flight *tide_flight_of(struct tide_task *t, uint64_t round)
{
    for (struct flight *f = t->flights; f; f = f->next)
        if (f->round == round) return f;
    struct flight *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    *f = (struct flight){.next = t->flights, .round = round};
    t->flights = f;
    return f;
}

struct flight *tide_flight_take(struct tide_task *t, uint64_t round)
{
    struct flight **at = &t->flights;
    while (*at && (*at)->round != round)
        at = &(*at)->next;
    struct flight *f = *at;
    if (!f) return NULL;
    *at = f->next;
    f->next = NULL;
    if (t->capturing == f) t->capturing = NULL;
    return f;
}

void tide_flight_drop(struct flight *f)
{
    flight_free(f);
}

void tide_flight_forget(struct tide_task *t)
{
    while (t->flights)
        flight_free(tide_flight_take(t, t->flights->round));
    t->filling = NULL;
}

static struct tide_buf *lane_of(struct flight *f, enum tide_flight kind, uint32_t channel)
{
    const unsigned k = kind - 1;
    if (channel >= f->n_lanes[k]) {
        uint32_t n = f->n_lanes[k] * 2 > channel ? f->n_lanes[k] * 2 : channel + 4;
        struct tide_buf *lanes = realloc(f->lanes[k], n * sizeof *lanes);
        if (!lanes) return NULL;
        for (uint32_t i = f->n_lanes[k]; i < n; i++)
            tide_buf_init(&lanes[i], FLIGHT_MAX);
        f->lanes[k] = lanes;
        f->n_lanes[k] = n;
    }
    return &f->lanes[k][channel];
}

static int put(struct flight *f, enum tide_flight kind, uint32_t channel, const void *data,
               size_t n)
{
    if (f->rc) return f->rc;
    struct tide_buf *lane = lane_of(f, kind, channel);
    if (n > FLIGHT_MAX - f->total) f->rc = TIDE_ETOOBIG;
    if (!lane) f->rc = TIDE_ENOMEM;
    if (f->rc) return f->rc;
    f->total += n;
    tide_buf_put_u32(lane, (uint32_t)n);
    tide_buf_put_u32(lane, 0);
    tide_buf_put(lane, data, n);
    return f->rc = lane->rc;
}

/* ---- what the program calls */

void tide_task_said(struct tide_task *t)
{
    if (t->unsaid) tide_session_processed(t->worker->session, t->number, t->unsaid);
    t->unsaid = 0;
}

int tide_task_record(struct tide_task *t, uint32_t channel, const void *data, size_t n)
{
    struct tide_worker *w = t->worker;
    struct flight *f = t->capturing;
    if (channel >= t->channels) return TIDE_EINVAL;
    if (!f) {
        t->unsaid += n;
        return 0;
    }
    pthread_mutex_lock(&w->lock);
    tide_task_said(t);
    bool kept = tide_session_record(w->session, t->number, channel, n) == f->round;
    pthread_mutex_unlock(&w->lock);
    return kept ? put(f, TIDE_FLIGHT_INPUT, channel, data, n) : 0;
}

int tide_task_in_flight(struct tide_task *t, enum tide_flight kind, uint32_t channel,
                        const void *data, size_t n)
{
    if (kind != TIDE_FLIGHT_INPUT && kind != TIDE_FLIGHT_OUTPUT) return TIDE_EINVAL;
    if (channel >= (kind == TIDE_FLIGHT_INPUT ? t->channels : TIDE_CHANNELS_MAX))
        return TIDE_EINVAL;
    return t->filling ? put(t->filling, kind, channel, data, n) : TIDE_ESTATE;
}

int tide_task_announce(struct tide_task *t, uint32_t channel,
                       const uint8_t barrier[TIDE_BARRIER_SIZE])
{
    struct tide_worker *w = t->worker;
    if (!t->callbacks.overtake_input) return 0; /* all its channels wait */
    pthread_mutex_lock(&w->lock);
    tide_task_said(t);
    int rc = tide_session_announce(w->session, t->number, channel, barrier, tide_now_us());
    pthread_mutex_unlock(&w->lock);
    tide_worker_pump(w);
    return rc;
}

int tide_task_sent(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE])
{
    struct tide_worker *w = t->worker;
    pthread_mutex_lock(&w->lock);
    int rc = tide_session_sent(w->session, t->number, barrier, tide_now_us());
    pthread_mutex_unlock(&w->lock);
    tide_worker_pump(w);
    return rc;
}

int tide_task_promotable(struct tide_task *t, uint32_t outputs)
{
    struct tide_worker *w = t->worker;
    if (w->started) return TIDE_ESTATE;
    if (!t->callbacks.overtake_output || outputs > TIDE_CHANNELS_MAX) return TIDE_EINVAL;
    pthread_mutex_lock(&w->lock);
    int rc = tide_session_promotable(w->session, t->number, outputs);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

int tide_task_keep_aligned(struct tide_task *t, uint32_t channel)
{
    struct tide_worker *w = t->worker;
    if (w->started) return TIDE_ESTATE;
    pthread_mutex_lock(&w->lock);
    int rc = tide_session_force(w->session, t->number, channel, true);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

/* ---- records that the program keeps in a way of its own */

int tide_task_keep_flights(struct tide_task *t,
                           int (*write)(struct tide_snapshot *s, struct tide_flights *f,
                                        char why[256], void *user),
                           void *user)
{
    if (!write) return TIDE_EINVAL;
    if (t->worker->started) return TIDE_ESTATE;
    t->write_flights = write;
    t->flights_user = user;
    return 0;
}

bool tide_flights_next(struct tide_flights *f, enum tide_flight flight, uint32_t channel,
                       const void **ret_data, size_t *ret_n)
{
    const unsigned k = flight - 1u;
    if (k > 1 || channel >= f->flight->n_lanes[k]) return false;
    const struct tide_buf *lane = &f->flight->lanes[k][channel];
    size_t *at = &f->at[k][channel];
    if (*at == lane->len) return false;
    *ret_n = tide_get_u32(lane->data + *at);
    *ret_data = lane->data + *at + RECORD_HEAD;
    *at += RECORD_HEAD + *ret_n;
    return true;
}

uint64_t tide_flights_bytes(const struct tide_flights *f)
{
    return f->flight->total;
}

static int check_taken(const struct tide_flights *f, char why[static 256])
{
    for (unsigned k = 0; k < 2; k++)
        for (uint32_t i = 0; i < f->flight->n_lanes[k]; i++)
            if (f->at[k][i] != f->flight->lanes[k][i].len) {
                snprintf(why, 256, "records in flight of %s %u were not kept by the program",
                         k ? "output" : "input", i);
                return TIDE_EINVAL;
            }
    return 0;
}

int tide_flight_hand_out(struct tide_task *t, struct flight *f, struct tide_snapshot *s,
                         char why[static 256])
{
    struct tide_flights out = {.flight = f};
    why[0] = '\0';
    bool any = false;
    for (unsigned k = 0; k < 2; k++)
        for (uint32_t i = 0; i < f->n_lanes[k]; i++)
            any |= f->lanes[k][i].len > 0;
    if (!any) return 0;
    out.at[0] = calloc(f->n_lanes[0] + 1, sizeof *out.at[0]);
    out.at[1] = calloc(f->n_lanes[1] + 1, sizeof *out.at[1]);
    int rc = out.at[0] && out.at[1] ? t->write_flights(s, &out, why, t->flights_user) : TIDE_ENOMEM;
    if (!rc) rc = check_taken(&out, why);
    free(out.at[0]);
    free(out.at[1]);
    return rc;
}

/* ---- what is delivered */

/* Puts the barrier ahead in the outputs; what it passes there belongs to the snapshot of `round`.
 */
void tide_flight_ahead(struct tide_task *t, uint64_t round,
                       const uint8_t barrier[TIDE_BARRIER_SIZE], bool queued)
{
    t->filling = tide_flight_of(t, round);
    t->callbacks.overtake_output(t, barrier, queued, t->user);
    t->filling = NULL;
}

void tide_flight_overtake(struct tide_task *t, const struct tide_delivery *d)
{
    t->filling = t->capturing && t->capturing->round == d->round ? t->capturing : NULL;
    t->callbacks.overtake_input(t, d->channel, t->user);
    t->filling = NULL;
}

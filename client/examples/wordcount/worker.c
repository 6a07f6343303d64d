/* How a task takes part in Tidemark
 *
 * The usual way: the daemon has everybody's Join -> restore (take the state, accept this attempt's
 * connections)
 * -> run (all have restored: connect downstream, work) -> rounds: a barrier arrives -> block that
 * channel; all have arrived -> forward, snapshot, unblock -> complete. At the end of the input, or
 * when the job is drained: finished -> ended -> stop. When it is suspended we stand still from the
 * last snapshot on, until stop, or until that came to nothing.
 *
 * What can go wrong, and what we do:
 * - a worker dies, this one included     -> rewind: drop everything, and from the top
 * - the daemon dies                      -> nothing; the library reconnects while we go on
 * - a data connection breaks             -> stand still, the rewind is on its way; if none comes
 * for a minute, exit, so that the supervisor's restart makes one */
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wordcount.h"

#define FRAMES_PER_TURN 32 /* then the daemon is listened to again */
#define CUT_MAX_MS 60000
#define DECLINE_AFTER_MS 100
#define STATE_MAX ((uint64_t)4 << 30)

struct worker {
    const struct options *options;
    struct stage stage;
    struct tide_worker *tide;
    struct tide_task *task;
    struct channels *channels;
    uint32_t inputs_with_data; /* inputs that have not said NO_MORE */
    bool no_more[PARALLELISM_MAX];
    bool running;               /* between run and rewind */
    bool suspended;             /* the last snapshot is taken: no input until we hear more */
    bool finished;              /* no more data comes from us */
    bool told;                  /* all of it has left, and the library knows */
    bool ended;                 /* and that is durable */
    struct tide_snapshot *late; /* to be declined at decline_at; NULL: none */
    int64_t decline_at;
    int64_t busy_until;    /* --slow: no frame of data before */
    struct frames *unsent; /* of each output: passed by a barrier once, to be sent first */
    int exit_code;
};

struct frames {
    uint8_t *data;
    size_t len;
};

volatile sig_atomic_t decline_next;
volatile sig_atomic_t full_speed;
volatile sig_atomic_t die_next;

struct channels *worker_channels(struct worker *w)
{
    return w->channels;
}

const struct options *worker_options(const struct worker *w)
{
    return w->options;
}

/* ---- what the library asks of us */

static void forget_unsent(struct worker *w)
{
    for (uint32_t i = 0; i < w->stage.outputs; i++)
        free(w->unsent[i].data);
    memset(w->unsent, 0, (w->stage.outputs + 1) * sizeof *w->unsent);
}

static void keep_unsent(struct frames *f, const void *data, size_t n)
{
    f->data = must_realloc(f->data, f->len + n + 1);
    memcpy(f->data + f->len, data, n);
    f->len += n;
}

/* Frames that a barrier had passed: those of inputs lie in front of all that comes, those of
 * outputs go out when we are connected. */
static int restore_in_flight(struct worker *w, const struct tide_restore *r)
{
    forget_unsent(w);
    for (uint32_t i = 0; i < r->n_in_flight; i++) {
        const struct tide_state *s = &r->in_flight[i];
        struct tide_state_reader *reader;
        const void *frame;
        size_t n;
        bool in = s->flight == TIDE_FLIGHT_INPUT;
        if (s->channel >= (in ? w->stage.inputs : w->stage.outputs)) return TIDE_ECORRUPT;
        int rc = tide_state_open(r, s, &reader);
        if (rc) return rc;
        while ((rc = tide_state_next(reader, &frame, &n)) == 0 && frame) {
            if (in)
                channels_restore_input(w->channels, s->channel, frame, n);
            else
                keep_unsent(&w->unsent[s->channel], frame, n);
        }
        tide_state_close(reader);
        if (rc) return rc;
    }
    return 0;
}

static int on_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    struct worker *w = user;
    (void)t;
    channels_begin(w->channels, tide_worker_job_id(w->tide), r->attempt);
    memset(w->no_more, 0, sizeof w->no_more);
    w->inputs_with_data = w->stage.inputs;
    w->running = w->finished = w->told = w->suspended = false;
    w->ended = r->ended;
    int rc = restore_in_flight(w, r);
    if (!rc && w->stage.restore) rc = w->stage.restore(w, w->stage.self, r);
    if (rc) return rc;
    say("restored attempt %llu from snapshot %llu", (unsigned long long)r->attempt,
        (unsigned long long)r->snapshot);
    return 0;
}

/* Every task has restored, so every listener knows the attempt: now connecting makes sense. */
static void on_run(struct tide_task *t, void *user)
{
    struct worker *w = user;
    const char *endpoint;
    (void)t;
    if (w->running) return; /* the daemon was away and is back */
    for (uint32_t i = 0; i < w->stage.outputs; i++) {
        int rc = tide_worker_endpoint(w->tide, w->stage.output_uid, i, &endpoint);
        if (rc == 0 && channels_connect(w->channels, i, endpoint)) rc = TIDE_EINVAL;
        if (rc) die("no way to %s %u: %s", w->stage.output_uid, i, tide_strerror(rc));
        channels_restore_output(w->channels, i, w->unsent[i].data, w->unsent[i].len);
    }
    forget_unsent(w);
    w->running = true;
    say("running attempt %llu", (unsigned long long)tide_worker_attempt(w->tide));
    if (w->ended) channels_put_all(w->channels, FRAME_END, NULL, 0);
}

static void on_block(struct tide_task *t, uint32_t channel, bool blocked, void *user)
{
    struct worker *w = user;
    (void)t;
    channels_block(w->channels, channel, blocked);
}

static void on_forward(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE], void *user)
{
    struct worker *w = user;
    (void)t;
    if (w->ended) return;
    if (w->stage.flush && !w->finished) w->stage.flush(w, w->stage.self);
    channels_put_all(w->channels, FRAME_BARRIER, barrier, TIDE_BARRIER_SIZE);
}

static void passed_input(void *arg, uint32_t channel, const uint8_t *frame, uint32_t len)
{
    struct worker *w = arg;
    (void)tide_task_in_flight(w->task, TIDE_FLIGHT_INPUT, channel, frame, len);
}

static void passed_output(void *arg, uint32_t channel, const uint8_t *frame, uint32_t len)
{
    struct worker *w = arg;
    (void)tide_task_in_flight(w->task, TIDE_FLIGHT_OUTPUT, channel, frame, len);
}

static void on_overtake_input(struct tide_task *t, uint32_t channel, void *user)
{
    struct worker *w = user;
    uint8_t barrier[TIDE_BARRIER_SIZE];
    if (channels_overtake_input(w->channels, channel, barrier, passed_input, w))
        (void)tide_task_barrier(t, channel, barrier);
}

static void on_overtake_output(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE],
                               bool queued, void *user)
{
    struct worker *w = user;
    (void)t;
    if (w->ended) return;
    if (!queued && w->stage.flush && !w->finished) w->stage.flush(w, w->stage.self);
    for (uint32_t i = 0; i < w->stage.outputs; i++)
        channels_overtake_output(w->channels, i, barrier, queued ? tide_same_round : NULL,
                                 passed_output, w);
}

/* SIGUSR1: as a task would that writes its snapshot in the background, and fails. Until it says so,
 * the tasks behind it have long taken theirs. */
static void decline_late(struct worker *w, bool now)
{
    if (!w->late || (!now && now_ms() < w->decline_at)) return;
    say("declining round %llu", (unsigned long long)tide_snapshot_round(w->late));
    (void)tide_snapshot_done(w->late, TIDE_EIO, "told to decline by SIGUSR1", 0);
    w->late = NULL;
}

static int on_snapshot(struct tide_task *t, struct tide_snapshot *s, void *user)
{
    struct worker *w = user;
    (void)t;
    if (decline_next && !w->late) {
        decline_next = 0;
        w->late = s;
        w->decline_at = now_ms() + DECLINE_AFTER_MS;
        return TIDE_EAGAIN;
    }
    return w->stage.snapshot ? w->stage.snapshot(w, w->stage.self, s) : 0;
}

static int on_complete(struct tide_task *t, uint64_t round, const void *handle, size_t len,
                       void *user)
{
    struct worker *w = user;
    (void)t;
    return w->stage.complete ? w->stage.complete(w, w->stage.self, round, handle, len) : 0;
}

static void on_abort(struct tide_task *t, uint64_t round, void *user)
{
    (void)t, (void)user;
    say("aborted round %llu", (unsigned long long)round); /* what we wrote is covered by the next */
}

static void on_ended(struct tide_task *t, void *user)
{
    struct worker *w = user;
    (void)t;
    w->ended = true;
    channels_put_all(w->channels, FRAME_END, NULL, 0);
}

static int on_drain(struct tide_task *t, uint64_t round, void *user)
{
    struct worker *w = user;
    (void)t;
    say("draining for round %llu", (unsigned long long)round);
    worker_no_more(w);
    return 0;
}

static void on_suspend(struct tide_task *t, bool suspended, void *user)
{
    struct worker *w = user;
    (void)t;
    w->suspended = suspended;
    say("%s", suspended ? "standing still" : "going on");
}

static void on_rewind(struct tide_task *t, const char *reason, void *user)
{
    struct worker *w = user;
    (void)t;
    say("rewind: %s", reason ? reason : "no reason given");
    decline_late(w, true);
    channels_drop(w->channels);
    w->running = w->suspended = false;
    if (w->stage.drop) w->stage.drop(w, w->stage.self);
}

static void on_stop(struct tide_task *t, const char *outcome, void *user)
{
    struct worker *w = user;
    (void)t;
    say("stop: the job is %s", outcome);
    w->exit_code = strcmp(outcome, "FAILED") == 0 ? 1 : 0;
}

static void on_log(const char *text, void *user)
{
    (void)user;
    say("%s", text);
}

int state_load(const struct tide_restore *r, const struct tide_state *s, uint8_t **ret)
{
    struct tide_state_reader *reader;
    size_t len = 0, n = 1;
    if (s->size > STATE_MAX) return TIDE_ETOOBIG;
    int rc = tide_state_open(r, s, &reader);
    if (rc) return rc;
    uint8_t *state = must_alloc((size_t)s->size + 1); /* one more, to see the end */
    while (rc == 0 && n > 0 && len <= s->size) {
        rc = tide_state_read(reader, state + len, (size_t)s->size + 1 - len, &n);
        len += n;
    }
    tide_state_close(reader);
    if (rc == 0 && len != s->size) rc = TIDE_ECORRUPT;
    if (rc)
        free(state);
    else
        *ret = state;
    return rc;
}

/* ---- what arrives on the channels */

void worker_no_more(struct worker *w)
{
    if (w->finished) return;
    if (w->stage.flush) w->stage.flush(w, w->stage.self);
    channels_put_all(w->channels, FRAME_NO_MORE, NULL, 0);
    w->finished = true;
}

/* The library is told once everything has left our outputs: a task that has finished puts no
 * barrier ahead there, since nothing in flight is kept of it. False: not yet. */
static bool tell_finished(struct worker *w)
{
    if (!channels_empty(w->channels)) return false;
    w->told = true;
    int rc = tide_task_finished(w->task);
    if (rc) say("cannot tell the end: %s", tide_strerror(rc));
    say("finished");
    return true;
}

static void input_no_more(struct worker *w, uint32_t channel)
{
    if (w->no_more[channel]) return;
    w->no_more[channel] = true;
    if (--w->inputs_with_data == 0) worker_no_more(w);
}

static void take_frame(struct worker *w, const struct frame *f)
{
    int rc = 0;
    bool record = f->type == FRAME_DATA || f->type == FRAME_NO_MORE;
    if (w->ended) return; /* an upstream whose end is not durable yet: we need nothing from it */
    if (record)           /* the whole frame, as it will come back */
        (void)tide_task_record(w->task, f->channel, f->body - FRAME_HEAD, FRAME_HEAD + f->len);
    switch (f->type) {
    case FRAME_DATA:
        if (w->no_more[f->channel] || !w->stage.data)
            channels_refuse(w->channels, f->channel, "data after the end of data");
        else
            w->stage.data(w, w->stage.self, f);
        return;
    case FRAME_BARRIER:
        if (f->len == TIDE_BARRIER_SIZE) rc = tide_task_barrier(w->task, f->channel, f->body);
        if (rc == TIDE_EPROTO || f->len != TIDE_BARRIER_SIZE)
            channels_refuse(w->channels, f->channel, "not a barrier of this job");
        return;
    case FRAME_NO_MORE: input_no_more(w, f->channel); return;
    case FRAME_END:
        input_no_more(w, f->channel);
        (void)tide_task_channel_end(w->task, f->channel);
        return;
    case FRAME_NOTHING:
    case FRAME_HELLO: break;
    }
    channels_refuse(w->channels, f->channel, "unknown frame");
}

/* Works on what is there, at most for one turn. Returns how long the loop may sleep. */
static int work(struct worker *w)
{
    struct frame f;
    bool slow = w->stage.slow && w->options->slow && !full_speed;
    if (!w->running || w->suspended) return -1;
    if (w->stage.produce && !w->finished && !w->ended) return w->stage.produce(w, w->stage.self);
    for (int i = 0; i < FRAMES_PER_TURN; i++) {
        if (w->finished && !w->told && !tell_finished(w)) return -1;
        int64_t busy = slow ? w->busy_until - now_ms() : 0;
        if (busy > 0) return (int)busy;
        /* Barriers pass a full output as well, but only in their place behind the data. */
        if (channels_any_full(w->channels) && !w->ended) return -1;
        if (!channels_next(w->channels, &f)) {
            if (w->stage.idle) w->stage.idle(w, w->stage.self);
            return -1;
        }
        if (slow && f.type == FRAME_DATA)
            w->busy_until = now_ms() + (int64_t)(f.len * 1000 / w->options->slow);
        take_frame(w, &f);
        if (!w->running || w->suspended) return -1;
    }
    return 0;
}

/* Barriers that have come, and may go ahead; that have left, and need not any more. */
static void tell_barriers(struct worker *w)
{
    uint8_t barrier[TIDE_BARRIER_SIZE];
    uint32_t channel;
    while (w->running && !w->ended && channels_barrier_came(w->channels, &channel, barrier))
        if (tide_task_announce(w->task, channel, barrier) == TIDE_EPROTO)
            channels_refuse(w->channels, channel, "not a barrier of this job");
    while (channels_barrier_left(w->channels, barrier))
        (void)tide_task_sent(w->task, barrier);
}

/* ---- the loop */

static int worker_loop(struct worker *w)
{
    int fd = tide_worker_fd(w->tide);
    for (;;) {
        int sleep_ms = work(w);
        decline_late(w, false);
        if (w->late && (sleep_ms < 0 || sleep_ms > 10)) sleep_ms = 10;
        int64_t cut = channels_cut(w->channels);
        if (cut && !w->ended) {
            if (now_ms() - cut > CUT_MAX_MS) die("a data connection was cut and no rewind came");
            if (sleep_ms < 0 || sleep_ms > 1000) sleep_ms = 1000;
        }
        bool read = w->running && !w->suspended && w->finished == w->told &&
                    (w->ended || !channels_any_full(w->channels));
        bool process = channels_wait(w->channels, fd, read, sleep_ms);
        tell_barriers(w);
        if (!process) continue;
        int rc = tide_worker_process(w->tide);
        if (rc == TIDE_EENDED) {
            say("%s", tide_worker_error(w->tide));
            return w->exit_code;
        }
        if (rc) die("%s: %s", tide_strerror(rc), tide_worker_error(w->tide));
    }
}

static struct tide_spec *describe(const struct plan *p)
{
    struct tide_spec *spec;
    int rc = tide_spec_new(p->job, &spec);
    if (rc) die("cannot describe the job: %s", tide_strerror(rc));
    /* A failure of these sticks, and tide_worker_new() tells it. */
    (void)tide_spec_operator(spec, "source", p->sources, 0);
    (void)tide_spec_operator(spec, "splitter", p->splitters, 0);
    (void)tide_spec_operator(spec, "counter", p->counters, p->max_parallelism);
    (void)tide_spec_operator(spec, "sink", 1, 0);
    (void)tide_spec_edge(spec, "source", "splitter", TIDE_ALL_TO_ALL);
    (void)tide_spec_edge(spec, "splitter", "counter", TIDE_ALL_TO_ALL);
    (void)tide_spec_edge(spec, "counter", "sink", TIDE_ALL_TO_ALL);
    (void)tide_spec_checkpointing(spec, &p->checkpointing);
    if (p->restore_from) (void)tide_spec_restore_from(spec, p->restore_from, false);
    return spec;
}

int worker_run(const struct options *o, const struct stage *stage)
{
    static const struct tide_callbacks callbacks = {
        .restore = on_restore,
        .run = on_run,
        .block = on_block,
        .forward = on_forward,
        .snapshot = on_snapshot,
        .complete = on_complete,
        .abort = on_abort,
        .ended = on_ended,
        .rewind = on_rewind,
        .stop = on_stop,
        .drain = on_drain,
        .suspend = on_suspend,
        .overtake_input = on_overtake_input,
        .overtake_output = on_overtake_output,
    };
    const uint32_t barriers = o->plan.checkpointing.alignment;
    struct worker w = {.options = o, .stage = *stage};
    char name[64], why[256] = "";
    snprintf(name, sizeof name, "%s-%u", stage->uid, o->index);
    if (channels_new(o->host, o->index, stage->inputs, stage->outputs, &w.channels))
        die("cannot listen on %s: %s", o->host, strerror(errno));
    channels_room(w.channels, o->room);
    w.unsent = must_alloc((stage->outputs + 1) * sizeof *w.unsent);
    memset(w.unsent, 0, (stage->outputs + 1) * sizeof *w.unsent);
    if (barriers == TIDE_BARRIERS_UNALIGNED || barriers == TIDE_BARRIERS_TIMEOUT)
        channels_go_ahead(w.channels);

    struct tide_spec *spec = describe(&o->plan);
    struct tide_worker_config config = {
        .spec = spec,
        .address = o->connect,
        .secret_file = o->secret_file,
        .name = name,
        .endpoint = channels_endpoint(w.channels),
        .log = on_log,
    };
    int rc = tide_worker_new(&config, &w.tide, why);
    tide_spec_free(spec);
    if (rc) die("%s", why[0] ? why : tide_strerror(rc));
    rc = tide_worker_add_task(w.tide, stage->uid, o->index, stage->inputs, &callbacks, &w, &w.task);
    if (rc) die("cannot host %s %u: %s", stage->uid, o->index, tide_strerror(rc));
    if (barriers == TIDE_BARRIERS_TIMEOUT) (void)tide_task_promotable(w.task, stage->outputs);

    int code = worker_loop(&w);
    decline_late(&w, true);
    tide_worker_free(w.tide);
    channels_free(w.channels);
    forget_unsent(&w);
    free(w.unsent);
    return code;
}

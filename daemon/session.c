/* The life of a session
 *
 * The usual way: accept, Hello, Welcome; from then on every frame is handed on, and what is sent
 * goes to the kernel at once if it takes it, to a queue if not. At the end the session is
 * finished: nothing more is taken from it, what was sent goes out, our side is shut down, and it
 * is closed when the peer has closed its side, which lets a last word be read.
 *
 * What can go wrong, and what we do:
 * - no Hello in time, a frame too long, a Hello that is refused -> Refused with the reason, finish
 * - the peer closes or resets                                   -> close
 * - it does not read                  -> doomed once its queue passes the limit, closed next turn
 * - it says nothing                   -> admins, and workers before their first frame: idle limit;
 *                                        workers that joined: their lease, which is the core's
 * - it does not close after the last word                       -> close when the linger is over
 * - more connections or more partial frames than allowed        -> refused as busy
 *
 * - it says more than others        -> its turn is over: what it says waits in the kernel
 *
 * A session stands in at most one of three lists, each with one limit for all in it and therefore
 * in order of time; one timer looks at their heads. An idle session owns no buffer and no timer.
 *
 * Turns: a small frame costs as much to answer as 10 KiB of acks cost to read, so both count. Who
 * speaks in small frames is read in small pieces, and is not read again in a turn of the loop in
 * which its share is used up; the loop asks again in the next. */
#include "daemon/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/stream.h"
#include "daemon/util.h"
#include "proto/frame.h"
#include "proto/worker.pb-c.h"

#define READ_BYTES (64u << 10)
#define READ_SMALL 4096u /* of a worker that last said small things */
#define READ_ADMIN 1024u /* of an admin, and of who has not said yet what it is */
#define FRAME_SMALL 256u
/* Of a session in one turn, frames and KiB together; what was read is heard out. */
#define TURN_SHARE 512u
#define LINGER_US 3000000u
#define BACKLOG 4096
#define SLOT_BITS 20
#define SLOTS_MAX (1u << SLOT_BITS)
#define LINGERERS_MAX 1000  /* connections over the limit that still get to hear why */
#define COMPLAINTS_PER_S 10 /* lines about refused peers */

enum session_state { HELLO, OPEN, FINISHING, CLOSED };
enum list_name { LIST_HELLO, LIST_IDLE, LIST_LINGER, LISTS, LIST_NONE = LISTS };

/* There may be many, and most say nothing for long. */
struct session {
    struct stream stream; /* first: a stream is a session */
    struct server *server;
    uint64_t id;
    struct tide_decoder decoder;
    struct session *older, *younger; /* in a list */
    struct session *next;            /* among the doomed, then among the dead */
    const char *why;                 /* it ends */
    uint32_t since_ms;               /* in its list; the low half of the loop's clock */
    uint32_t held;                   /* what it is charged for its partial frame */
    uint16_t turn;                   /* of the loop, in which it was last read */
    uint16_t share;                  /* used up in that turn */
    uint8_t state, kind;
    uint8_t list : 2;
    bool small : 1; /* what it said last */
    bool doomed : 1, told : 1, shut : 1, hard : 1, heard : 1;
};

struct list {
    struct session *oldest, *youngest;
    uint64_t limit_us;
};

/* A broadcast whose end somebody wants to know. */
struct tell {
    uint64_t tag;
    size_t left; /* writes that are queued */
};

struct slot {
    struct session *session;
};

struct server {
    struct server_options o;
    struct server_events on;
    struct hello_config hello;
    struct streams streams;
    uv_timer_t sweep;
    uv_idle_t soon; /* active while somebody is doomed or dead */
    uv_prepare_t turns;
    uv_timer_t drain;
    uint16_t turn;
    unsigned handles;
    bool draining, closed;
    struct slot *slots;
    uint32_t *free_slots;
    uint32_t n_slots, n_free, connections;
    uint64_t sequence, refused;
    struct list lists[LISTS];
    struct session *doomed, *doomed_last;
    struct session *dead; /* closed, perhaps still in use by whoever did it */
    uint64_t held;        /* bytes of partial frames */
    uint64_t complaints_second, complaints;
    uint64_t sweep_at_ms; /* on the loop's clock; UINT64_MAX: the timer is off */
    uint8_t buffer[READ_BYTES];
};

static void doom(struct session *s, const char *why, bool hard);
static void on_sweep(uv_timer_t *timer);
static void on_soon(uv_idle_t *idle);

/* ---- slots: an id is (sequence, slot), so that finding a session needs no search */

static struct session *session_find(const struct server *v, uint64_t id)
{
    uint32_t slot = (uint32_t)(id & (SLOTS_MAX - 1));
    struct session *s = slot < v->n_slots ? v->slots[slot].session : NULL;
    return s && s->id == id ? s : NULL;
}

static void slot_take(struct server *v, struct session *s)
{
    if (v->n_free == 0) {
        uint32_t n = v->n_slots ? 2 * v->n_slots : 64;
        v->slots = must_grow(v->slots, n * sizeof *v->slots);
        v->free_slots = must_grow(v->free_slots, n * sizeof *v->free_slots);
        for (uint32_t i = n; i-- > v->n_slots;) {
            v->slots[i].session = NULL;
            v->free_slots[v->n_free++] = i;
        }
        v->n_slots = n;
    }
    uint32_t slot = v->free_slots[--v->n_free];
    s->id = ++v->sequence << SLOT_BITS | slot;
    v->slots[slot].session = s;
}

static void slot_drop(struct server *v, const struct session *s)
{
    uint32_t slot = (uint32_t)(s->id & (SLOTS_MAX - 1));
    v->slots[slot].session = NULL;
    v->free_slots[v->n_free++] = slot;
}

/* ---- the three lists and their timer */

static void list_leave(struct session *s)
{
    if (s->list == LIST_NONE) return;
    struct list *l = &s->server->lists[s->list];
    *(s->older ? &s->older->younger : &l->oldest) = s->younger;
    *(s->younger ? &s->younger->older : &l->youngest) = s->older;
    s->older = s->younger = NULL;
    s->list = LIST_NONE;
}

static void sweep_in(struct server *v, uint64_t wait_us)
{
    uint64_t wait_ms = wait_us / 1000 + 1, at = uv_now(v->o.loop) + wait_ms;
    if (at >= v->sweep_at_ms || v->closed) return;
    v->sweep_at_ms = at;
    (void)uv_timer_start(&v->sweep, on_sweep, wait_ms, 0);
}

static void list_join(struct session *s, enum list_name name)
{
    struct server *v = s->server;
    struct list *l = &v->lists[name];
    list_leave(s);
    s->list = name & 3;
    s->since_ms = (uint32_t)uv_now(v->o.loop);
    s->older = l->youngest;
    *(l->youngest ? &l->youngest->younger : &l->oldest) = s;
    l->youngest = s;
    sweep_in(v, l->limit_us);
}

static void list_expired(struct session *s, enum list_name name)
{
    if (name == LIST_HELLO)
        server_refuse(s->server, s->id, TIDE__REFUSED_CODE__REFUSED_STATE,
                      "no Hello came in time ([limits] hello-timeout)");
    else if (name == LIST_IDLE)
        server_refuse(s->server, s->id, TIDE__REFUSED_CODE__REFUSED_STATE,
                      "nothing was said for too long ([limits] idle-timeout)");
    else
        doom(s, s->why, true);
}

static void on_sweep(uv_timer_t *timer)
{
    struct server *v = timer->data;
    uint32_t now = (uint32_t)uv_now(v->o.loop);
    v->sweep_at_ms = UINT64_MAX;
    for (enum list_name name = 0; name < LISTS; name++) {
        struct list *l = &v->lists[name];
        while (l->oldest && (now - l->oldest->since_ms) * UINT64_C(1000) >= l->limit_us) {
            struct session *s = l->oldest;
            list_leave(s);
            list_expired(s, name);
        }
        if (l->oldest) sweep_in(v, l->limit_us - (now - l->oldest->since_ms) * UINT64_C(1000));
    }
}

/* ---- the end of a session */

static void drained_perhaps(struct server *v)
{
    if (!v->draining || v->connections || v->closed) return;
    v->draining = false;
    (void)uv_timer_stop(&v->drain);
    v->on.drained(v->on.user);
}

static void bury(struct server *v)
{
    while (v->dead) {
        struct session *s = v->dead;
        v->dead = s->next;
        stream_release(&v->streams, &s->stream);
        tide_decoder_release(&s->decoder);
        slot_drop(v, s);
        v->connections--;
        free(s);
        drained_perhaps(v);
    }
}

static void tell_closed(struct session *s)
{
    if (s->told) return;
    s->told = true;
    struct server *v = s->server;
    if (!v->closed) v->on.closed(v->on.user, s->id, s->kind, s->why);
}

static void doomed_leave(struct session *s)
{
    struct server *v = s->server;
    struct session *before = NULL, **at = &v->doomed;
    if (!s->doomed) return;
    while (*at != s)
        before = *at, at = &(*at)->next;
    *at = s->next;
    if (v->doomed_last == s) v->doomed_last = before;
    s->doomed = false;
}

/* Not from within server_send() or server_finish(): it tells. */
static void session_close(struct session *s, const char *why)
{
    struct server *v = s->server;
    if (s->state == CLOSED) return;
    if (!s->why) s->why = why;
    s->state = CLOSED;
    list_leave(s);
    doomed_leave(s);
    v->held -= s->held;
    s->held = 0;
    stream_close(&v->streams, &s->stream);
    s->next = v->dead;
    v->dead = s;
    if (!v->closed) (void)uv_idle_start(&v->soon, on_soon);
    tell_closed(s);
}

static void on_soon(uv_idle_t *idle)
{
    struct server *v = idle->data;
    while (v->doomed || v->dead) {
        struct session *s = v->doomed;
        if (s) doomed_leave(s);
        if (!s)
            bury(v);
        else if (s->hard)
            session_close(s, s->why);
        else
            tell_closed(s);
    }
    (void)uv_idle_stop(idle);
}

/* The session ends on the next turn, when nobody is walking over it. Hard: it is closed; otherwise
 * it only is told to be closed, and lingers. */
static void doom(struct session *s, const char *why, bool hard)
{
    struct server *v = s->server;
    if (s->state == CLOSED) return;
    if (!s->why) s->why = why;
    s->hard = s->hard || hard;
    s->state = FINISHING;
    if (s->doomed) return;
    s->doomed = true;
    s->next = NULL;
    *(v->doomed_last ? &v->doomed_last->next : &v->doomed) = s;
    v->doomed_last = s;
    (void)uv_idle_start(&v->soon, on_soon);
}

/* Once all is written our side is shut down; the peer then closes its own. */
static void shut_if_written(struct session *s)
{
    if (s->state != FINISHING || s->shut || s->hard || stream_busy(&s->stream)) return;
    s->shut = true;
    if (stream_shutdown(&s->stream)) doom(s, s->why, true);
}

static void session_finish(struct session *s, const char *why)
{
    if (s->state == FINISHING || s->state == CLOSED) return;
    doom(s, why, false);
    list_join(s, LIST_LINGER);
    shut_if_written(s);
}

void server_finish(struct server *v, uint64_t id, const char *why)
{
    struct session *s = session_find(v, id);
    if (s) session_finish(s, why);
}

/* ---- writing */

static void tell_one(struct server *v, struct tell *t)
{
    if (!t || --t->left) return;
    uint64_t tag = t->tag;
    free(t);
    if (!v->closed) v->on.sent(v->on.user, tag);
}

static void on_sent(void *user, void *tag)
{
    tell_one(user, tag);
}

static void on_flushed(void *user, struct stream *stream, int code)
{
    struct session *s = (struct session *)stream;
    (void)user;
    if (code)
        session_close(s, uv_strerror(code));
    else
        shut_if_written(s);
}

/* A blob that is large by itself (a Start of many tasks) does not count against the limit, or it
 * could never be sent; what comes on top of it does. */
static void write_queued(struct session *s, struct blob *blob, size_t from, struct tell *tell)
{
    struct server *v = s->server;
    size_t rest = blob->len - from;
    bool large = rest > v->o.output_queue / 2;
    if (stream_queued(&s->stream) + (large ? 0 : rest) > v->o.output_queue) {
        doom(s, "does not read what is sent to it ([limits] output-queue)", true);
        return;
    }
    int code = stream_queue(&v->streams, &s->stream, blob, from, large, tell);
    if (code)
        doom(s, uv_strerror(code), true);
    else if (tell)
        tell->left++;
}

static void use_share(struct session *s, size_t units)
{
    size_t share = s->share + units;
    s->share = share < UINT16_MAX ? (uint16_t)share : UINT16_MAX;
}

static void write_blob(struct session *s, struct blob *blob, struct tell *tell)
{
    if (blob->len == 0) return;
    use_share(s, blob->len / 1024);
    ssize_t n = stream_try(&s->stream, blob->data, blob->len);
    if (n < 0)
        doom(s, uv_strerror((int)n), true);
    else if ((size_t)n < blob->len)
        write_queued(s, blob, (size_t)n, tell);
}

void server_send(struct server *v, const uint64_t *ids, size_t n, struct blob *blob, bool tell,
                 uint64_t tag)
{
    struct tell *t = NULL;
    if (tell) {
        t = must_alloc(sizeof *t);
        *t = (struct tell){.tag = tag, .left = 1}; /* ourselves, until all are served */
    }
    for (size_t i = 0; i < n; i++) {
        struct session *s = session_find(v, ids[i]);
        if (s && s->state == OPEN) write_blob(s, blob, t);
    }
    tell_one(v, t);
}

static void session_say(struct session *s, const struct tide_buf *frame)
{
    if (frame->rc) {
        doom(s, "no memory for an answer", true);
        return;
    }
    struct blob *blob = blob_new(frame->data, frame->len);
    write_blob(s, blob, NULL);
    blob_unref(blob);
}

/* ---- refusing */

/* Whoever is flooded with nonsense must not be flooded with lines about it. */
static bool may_complain(struct server *v)
{
    uint64_t second = uv_now(v->o.loop) / 1000;
    if (second != v->complaints_second) {
        if (v->complaints > COMPLAINTS_PER_S)
            log_line(LEVEL_WARN, "%" PRIu64 " more connections were refused in that second",
                     v->complaints - COMPLAINTS_PER_S);
        v->complaints_second = second;
        v->complaints = 0;
    }
    return ++v->complaints <= COMPLAINTS_PER_S;
}

static void complain(struct session *s, const char *reason)
{
    char name[80];
    s->server->refused++;
    if (!may_complain(s->server)) return;
    stream_peer(&s->stream, name);
    log_about(LEVEL_WARN, &(struct log_fields){.peer = name}, "%s refused: %s", name, reason);
}

/* Refused is field 2 of ToWorker and of Response alike: the kind of the peer does not matter. */
static void session_refuse(struct session *s, Tide__RefusedCode code, const char *reason)
{
    if (s->state == FINISHING || s->state == CLOSED) return;
    Tide__Refused refused = TIDE__REFUSED__INIT;
    Tide__ToWorker message = TIDE__TO_WORKER__INIT;
    struct tide_buf frame;
    complain(s, reason);
    refused.code = code;
    refused.reason = (ProtobufCBinaryData){strlen(reason), (uint8_t *)(uintptr_t)reason};
    message.msg_case = TIDE__TO_WORKER__MSG_REFUSED;
    message.refused = &refused;
    tide_buf_init(&frame, TIDE_FRAME_MAX_HELLO);
    tide_frame_put(&frame, &message.base);
    session_say(s, &frame);
    tide_buf_release(&frame);
    session_finish(s, "refused");
}

void server_refuse(struct server *v, uint64_t id, Tide__RefusedCode code, const char *reason)
{
    struct session *s = session_find(v, id);
    if (s) session_refuse(s, code, reason);
}

/* ---- reading */

static void session_hello(struct session *s, struct tide_bytes frame)
{
    struct server *v = s->server;
    struct peer peer = {TIDE__PEER_KIND__PEER_UNSPECIFIED, 0};
    struct tide_buf reply;
    char why[160] = "";
    tide_buf_init(&reply, TIDE_FRAME_MAX_HELLO);
    bool welcome = hello_check(&v->hello, frame, &peer, &reply, why);
    session_say(s, &reply);
    tide_buf_release(&reply);
    if (s->state != HELLO) return; /* it went away meanwhile */
    if (!welcome) {
        complain(s, why);
        session_finish(s, "refused");
        return;
    }
    s->kind = (uint8_t)peer.kind;
    s->state = OPEN;
    s->told = false;
    s->decoder.max = TIDE_FRAME_MAX;
    list_join(s, LIST_IDLE);
    v->on.open(v->on.user, s->id, peer);
}

static void session_frame(struct session *s, struct tide_bytes frame)
{
    struct server *v = s->server;
    if (s->kind == TIDE__PEER_KIND__PEER_ADMIN)
        list_join(s, LIST_IDLE); /* to its young end */
    else if (!s->heard)
        list_leave(s);
    s->heard = true;
    v->on.frame(v->on.user, s->id, s->kind, frame);
}

/* A partial frame owns its whole length: it counts from the moment its header is there. */
static void charge(struct session *s)
{
    struct server *v = s->server;
    uint32_t held = (uint32_t)tide_decoder_held(&s->decoder);
    v->held = v->held - s->held + held;
    s->held = held;
    if (held && v->held > v->o.input_memory)
        session_refuse(s, TIDE__REFUSED_CODE__REFUSED_BUSY,
                       "too much is arriving at once ([limits] input-memory): try later");
}

static void session_feed(struct session *s, struct tide_bytes in)
{
    struct tide_bytes frame;
    enum tide_frame_next got = TIDE_FRAME_READY;
    size_t bytes = in.len, frames = 0;
    char why[80];
    while (got == TIDE_FRAME_READY && (s->state == HELLO || s->state == OPEN)) {
        got = tide_decoder_next(&s->decoder, &in, &frame);
        if (got != TIDE_FRAME_READY) break;
        frames++;
        if (s->state == HELLO)
            session_hello(s, frame);
        else
            session_frame(s, frame);
    }
    s->small = frames && bytes / frames < FRAME_SMALL;
    use_share(s, frames + bytes / 1024);
    if (s->state != HELLO && s->state != OPEN) return;
    if (got == TIDE_FRAME_TOO_LONG) {
        (void)snprintf(why, sizeof why, "a frame of more than %" PRIu32 " bytes", s->decoder.max);
        session_refuse(s, TIDE__REFUSED_CODE__REFUSED_TOO_LONG, why);
    } else if (got == TIDE_FRAME_NOMEM) {
        session_refuse(s, TIDE__REFUSED_CODE__REFUSED_BUSY, "no memory for this frame: try later");
    } else {
        charge(s);
    }
}

static void on_turn(uv_prepare_t *prepare)
{
    struct server *v = prepare->data;
    v->turn++;
}

/* How much may be read now; 0: its share is used up, what is there makes the loop ask again. */
static size_t may_read(struct session *s)
{
    struct server *v = s->server;
    bool worker = s->state == OPEN && s->kind == TIDE__PEER_KIND__PEER_WORKER;
    if (s->turn != v->turn) s->share = 0;
    s->turn = v->turn;
    if (s->share >= TURN_SHARE) return 0;
    return !worker ? READ_ADMIN : s->small ? READ_SMALL : READ_BYTES;
}

static void on_readable(void *user, struct stream *stream)
{
    struct server *v = user;
    struct session *s = (struct session *)stream;
    size_t max, short_by = 0;
    while (s->state != CLOSED && (max = may_read(s)) > 0 && short_by == 0) {
        ssize_t rc = stream_read(stream, v->buffer, max);
        if (rc < 0)
            session_close(s,
                          rc == UV_EOF ? "the peer closed the connection" : uv_strerror((int)rc));
        if (rc <= 0) return; /* nothing to read after all: not the end */
        if (s->state == HELLO || s->state == OPEN) {
            v->on.input(v->on.user);
            session_feed(s, (struct tide_bytes){v->buffer, (size_t)rc});
        } else {
            use_share(s, 1 + (size_t)rc / 1024); /* it lingers: unheard on purpose */
        }
        short_by = max - (size_t)rc;
    }
}

/* ---- accepting */

static void not_accepted(struct server *v, int code)
{
    v->refused++;
    if (may_complain(v))
        log_line(LEVEL_WARN, "a connection could not be accepted: %s", uv_strerror(code));
}

static void on_connection(void *user, int fd_or_code)
{
    struct server *v = user;
    if (fd_or_code < 0) {
        not_accepted(v, fd_or_code);
        return;
    }
    struct session *s = must_alloc(sizeof *s);
    s->server = v;
    s->list = LIST_NONE;
    s->told = true; /* nobody has heard of it yet */
    int rc = stream_open(&v->streams, &s->stream, fd_or_code);
    if (rc) {
        not_accepted(v, rc);
        free(s);
        return;
    }
    tide_decoder_init(&s->decoder, TIDE_FRAME_MAX_HELLO);
    slot_take(v, s);
    v->connections++;
    list_join(s, LIST_HELLO);
    if (v->connections > v->o.connections + LINGERERS_MAX)
        session_close(s, "far too many connections");
    else if (v->connections > v->o.connections)
        session_refuse(s, TIDE__REFUSED_CODE__REFUSED_BUSY,
                       "the limit of connections is reached ([limits] connections): try later");
}

/* ---- the server */

/* What closes in one turn does so in no order that we could rely on: the last of all frees. */
static void on_part_closed(void *user)
{
    struct server *v = user;
    if (--v->handles) return;
    bury(v);
    free(v->slots);
    free(v->free_slots);
    free(v);
}

void server_limits(struct server *v, const struct server_options *o)
{
    uv_loop_t *loop = v->o.loop;
    v->o = *o;
    v->o.loop = loop;
    if (v->o.connections > SLOTS_MAX / 2) v->o.connections = SLOTS_MAX / 2;
    v->lists[LIST_HELLO].limit_us = o->hello_timeout_us;
    v->lists[LIST_IDLE].limit_us = o->idle_timeout_us;
    sweep_in(v, 0); /* a shorter limit may be over for some */
}

int server_open(const struct server_options *o, const struct server_events *events,
                const struct sockaddr *address, struct server **ret)
{
    struct server *v = must_alloc(sizeof *v);
    struct streams_events on = {.user = v,
                                .connection = on_connection,
                                .readable = on_readable,
                                .flushed = on_flushed,
                                .sent = on_sent,
                                .closed = on_part_closed};
    int rc = streams_open(&v->streams, o->loop, address, &on);
    if (rc) {
        free(v);
        return rc;
    }
    v->o.loop = o->loop;
    v->on = *events;
    v->lists[LIST_LINGER].limit_us = LINGER_US;
    v->sweep.data = v->soon.data = v->turns.data = v->drain.data = v;
    if (uv_timer_init(o->loop, &v->sweep) || uv_idle_init(o->loop, &v->soon) ||
        uv_timer_init(o->loop, &v->drain) || uv_prepare_init(o->loop, &v->turns) ||
        uv_prepare_start(&v->turns, on_turn))
        abort(); /* these only fill in fields */
    v->handles = 5;
    v->sweep_at_ms = UINT64_MAX;
    server_limits(v, o);
    *ret = v;
    return 0;
}

void server_welcome_with(struct server *v, const struct hello_config *hello)
{
    v->hello = *hello;
}

int server_listen(struct server *v)
{
    return streams_listen(&v->streams, BACKLOG);
}

uint16_t server_port(const struct server *v)
{
    return streams_port(&v->streams);
}

uint32_t server_connections(const struct server *v)
{
    return v->connections;
}

uint64_t server_refused(const struct server *v)
{
    return v->refused;
}

static void on_handle_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

void server_stop_listening(struct server *v)
{
    streams_stop_listening(&v->streams);
}

static void on_drain_limit(uv_timer_t *timer)
{
    struct server *v = timer->data;
    if (!v->draining) return;
    v->draining = false;
    v->on.drained(v->on.user);
}

void server_drain(struct server *v, uint64_t limit_us)
{
    server_stop_listening(v);
    for (uint32_t i = 0; i < v->n_slots; i++)
        if (v->slots[i].session) session_finish(v->slots[i].session, "the daemon shuts down");
    v->draining = true;
    (void)uv_timer_start(&v->drain, on_drain_limit, v->connections ? limit_us / 1000 : 0, 0);
}

void server_close(struct server *v)
{
    if (!v || v->closed) return;
    v->closed = true;
    for (uint32_t i = 0; i < v->n_slots; i++)
        if (v->slots[i].session) session_close(v->slots[i].session, "the daemon stops");
    streams_close(&v->streams);
    uv_close((uv_handle_t *)&v->sweep, on_handle_closed);
    uv_close((uv_handle_t *)&v->soon, on_handle_closed);
    uv_close((uv_handle_t *)&v->turns, on_handle_closed);
    uv_close((uv_handle_t *)&v->drain, on_handle_closed);
}

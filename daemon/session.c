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
#define KEEPALIVE_S 60
#define LINGERERS_MAX 1000  /* connections over the limit that still get to hear why */
#define COMPLAINTS_PER_S 10 /* lines about refused peers */

enum session_state { HELLO, OPEN, FINISHING, CLOSED };
enum list_name { LIST_HELLO, LIST_IDLE, LIST_LINGER, LISTS, LIST_NONE = LISTS };

/* There may be many, and most say nothing for long: 248 bytes of this are libuv's. */
struct session {
    uv_tcp_t tcp; /* first, its data is the server: a handle of libuv's is a session */
    uint64_t id;
    struct tide_decoder decoder;
    struct session *older, *younger; /* in a list */
    struct session *next_doomed;
    const char *why;   /* it ends */
    size_t large;      /* queued bytes of blobs over half the limit */
    uint32_t since_ms; /* in its list; the low half of the loop's clock */
    uint32_t held;     /* what it is charged for its partial frame */
    uint16_t turn;     /* of the loop, in which it was last read */
    uint16_t share;    /* used up in that turn */
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

struct write {
    uv_write_t request;
    struct session *session;
    struct blob *blob;
    struct tell *tell;
    size_t large;
};

struct server {
    struct server_options o;
    struct server_events on;
    struct hello_config hello;
    uv_tcp_t listener;
    uv_timer_t sweep;
    uv_idle_t soon; /* active while somebody is doomed */
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
    uint64_t held; /* bytes of partial frames */
    uint64_t complaints_second, complaints;
    uint64_t sweep_at_ms; /* on the loop's clock; UINT64_MAX: the timer is off */
    uint8_t buffer[READ_BYTES];
};

static struct server *server_of(const struct session *s)
{
    return s->tcp.data;
}

static void doom(struct session *s, const char *why, bool hard);
static void on_sweep(uv_timer_t *timer);

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
    struct list *l = &server_of(s)->lists[s->list];
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
    struct server *v = server_of(s);
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
        server_refuse(server_of(s), s->id, TIDE__REFUSED_CODE__REFUSED_STATE,
                      "no Hello came in time ([limits] hello-timeout)");
    else if (name == LIST_IDLE)
        server_refuse(server_of(s), s->id, TIDE__REFUSED_CODE__REFUSED_STATE,
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

/* Handles of one turn are closed in no order that we could rely on: the last of all frees. */
static void free_if_last(struct server *v)
{
    if (v->handles || v->connections) return;
    free(v->slots);
    free(v->free_slots);
    free(v);
}

static void on_closed(uv_handle_t *handle)
{
    struct session *s = (struct session *)handle;
    struct server *v = server_of(s);
    tide_decoder_release(&s->decoder);
    slot_drop(v, s);
    v->connections--;
    free(s);
    drained_perhaps(v);
    free_if_last(v);
}

static void tell_closed(struct session *s)
{
    if (s->told) return;
    s->told = true;
    struct server *v = server_of(s);
    if (!v->closed) v->on.closed(v->on.user, s->id, s->kind, s->why);
}

static void doomed_leave(struct session *s)
{
    struct server *v = server_of(s);
    struct session *before = NULL, **at = &v->doomed;
    if (!s->doomed) return;
    while (*at != s)
        before = *at, at = &(*at)->next_doomed;
    *at = s->next_doomed;
    if (v->doomed_last == s) v->doomed_last = before;
    s->doomed = false;
}

/* Not from within server_send() or server_finish(): it tells. */
static void session_close(struct session *s, const char *why)
{
    if (s->state == CLOSED) return;
    if (!s->why) s->why = why;
    s->state = CLOSED;
    list_leave(s);
    doomed_leave(s);
    server_of(s)->held -= s->held;
    s->held = 0;
    tell_closed(s);
    uv_close((uv_handle_t *)&s->tcp, on_closed);
}

static void on_soon(uv_idle_t *idle)
{
    struct server *v = idle->data;
    while (v->doomed) {
        struct session *s = v->doomed;
        doomed_leave(s);
        if (s->hard)
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
    struct server *v = server_of(s);
    if (s->state == CLOSED) return;
    if (!s->why) s->why = why;
    s->hard = s->hard || hard;
    s->state = FINISHING;
    if (s->doomed) return;
    s->doomed = true;
    s->next_doomed = NULL;
    *(v->doomed_last ? &v->doomed_last->next_doomed : &v->doomed) = s;
    v->doomed_last = s;
    (void)uv_idle_start(&v->soon, on_soon);
}

static void on_shut(uv_shutdown_t *request, int status)
{
    (void)status;
    free(request);
}

/* Once all is written our side is shut down; the peer then closes its own. */
static void shut_if_written(struct session *s)
{
    if (s->state != FINISHING || s->shut || s->hard) return;
    if (uv_stream_get_write_queue_size((uv_stream_t *)&s->tcp)) return;
    s->shut = true;
    uv_shutdown_t *request = must_alloc(sizeof *request);
    if (uv_shutdown(request, (uv_stream_t *)&s->tcp, on_shut)) {
        free(request);
        doom(s, s->why, true);
    }
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

static void on_written(uv_write_t *request, int status)
{
    struct write *w = request->data;
    struct session *s = w->session;
    s->large -= w->large;
    blob_unref(w->blob);
    tell_one(server_of(s), w->tell);
    free(w);
    if (status < 0)
        session_close(s, uv_strerror(status));
    else
        shut_if_written(s);
}

/* A blob that is large by itself (a Start of many tasks) does not count against the limit, or it
 * could never be sent; what comes on top of it does. */
static bool fits(const struct session *s, size_t more, size_t large)
{
    size_t queued = uv_stream_get_write_queue_size((const uv_stream_t *)&s->tcp);
    size_t counted = queued > s->large ? queued - s->large : 0;
    return counted + (large ? 0 : more) <= server_of(s)->o.output_queue;
}

static void write_queued(struct session *s, struct blob *blob, size_t from, struct tell *tell)
{
    struct server *v = server_of(s);
    size_t rest = blob->len - from;
    size_t large = rest > v->o.output_queue / 2 ? rest : 0;
    if (!fits(s, rest, large)) {
        doom(s, "does not read what is sent to it ([limits] output-queue)", true);
        return;
    }
    struct write *w = must_alloc(sizeof *w);
    *w = (struct write){.session = s, .blob = blob_ref(blob), .tell = tell, .large = large};
    w->request.data = w;
    uv_buf_t buf = {.base = (char *)blob->data + from, .len = rest};
    int rc = uv_write(&w->request, (uv_stream_t *)&s->tcp, &buf, 1, on_written);
    if (rc == 0) {
        s->large += large;
        if (tell) tell->left++;
        return;
    }
    blob_unref(blob);
    free(w);
    doom(s, uv_strerror(rc), true);
}

static void use_share(struct session *s, size_t units)
{
    size_t share = s->share + units;
    s->share = share < UINT16_MAX ? (uint16_t)share : UINT16_MAX;
}

static void write_blob(struct session *s, struct blob *blob, struct tell *tell)
{
    size_t done = 0;
    if (blob->len == 0) return;
    use_share(s, blob->len / 1024);
    if (uv_stream_get_write_queue_size((uv_stream_t *)&s->tcp) == 0) {
        uv_buf_t buf = {.base = (char *)blob->data, .len = blob->len};
        int n = uv_try_write((uv_stream_t *)&s->tcp, &buf, 1);
        if (n < 0 && n != UV_EAGAIN) {
            doom(s, uv_strerror(n), true);
            return;
        }
        if (n > 0) done = (size_t)n;
    }
    if (done < blob->len) write_queued(s, blob, done, tell);
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

static void peer_name(const struct session *s, char out[static 80])
{
    struct sockaddr_storage a;
    char ip[INET6_ADDRSTRLEN] = "?";
    int len = sizeof a, port = 0;
    memset(&a, 0, sizeof a);
    if (uv_tcp_getpeername(&s->tcp, (struct sockaddr *)&a, &len) == 0) {
        if (a.ss_family == AF_INET6) {
            const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a;
            (void)uv_ip6_name(v6, ip, sizeof ip);
            port = ntohs(v6->sin6_port);
        } else {
            const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a;
            (void)uv_ip4_name(v4, ip, sizeof ip);
            port = ntohs(v4->sin_port);
        }
    }
    (void)snprintf(out, 80, "%s port %d", ip, port);
}

static void complain(struct session *s, const char *reason)
{
    char name[80];
    server_of(s)->refused++;
    if (!may_complain(server_of(s))) return;
    peer_name(s, name);
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
    struct server *v = server_of(s);
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
    struct server *v = server_of(s);
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
    struct server *v = server_of(s);
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

/* No buffer: libuv does not read and says UV_ENOBUFS; what is there makes it ask again. */
static void on_buffer(uv_handle_t *handle, size_t hint, uv_buf_t *ret)
{
    struct session *s = (struct session *)handle;
    struct server *v = server_of(s);
    bool worker = s->state == OPEN && s->kind == TIDE__PEER_KIND__PEER_WORKER;
    uint32_t n = !worker ? READ_ADMIN : s->small ? READ_SMALL : READ_BYTES;
    (void)hint;
    if (s->turn != v->turn) s->share = 0;
    s->turn = v->turn;
    *ret = uv_buf_init((char *)v->buffer, s->share < TURN_SHARE ? n : 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct session *s = (struct session *)stream;
    struct server *v = server_of(s);
    if (n == 0 || n == UV_ENOBUFS) return; /* nothing to read after all, or later: not the end */
    if (n < 0) {
        session_close(s, n == UV_EOF ? "the peer closed the connection" : uv_strerror((int)n));
        return;
    }
    if (s->state == FINISHING || s->state == CLOSED) return; /* lingers: unread on purpose */
    v->on.input(v->on.user);
    session_feed(s, (struct tide_bytes){(const uint8_t *)buf->base, (size_t)n});
}

/* ---- accepting */

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *v = listener->data;
    if (status < 0) {
        log_line(LEVEL_WARN, "a connection could not be accepted: %s", uv_strerror(status));
        return;
    }
    struct session *s = must_alloc(sizeof *s);
    s->tcp.data = v;
    s->list = LIST_NONE;
    s->told = true; /* nobody has heard of it yet */
    tide_decoder_init(&s->decoder, TIDE_FRAME_MAX_HELLO);
    if (uv_tcp_init(v->o.loop, &s->tcp)) {
        free(s);
        return;
    }
    slot_take(v, s);
    v->connections++;
    int rc = uv_accept(listener, (uv_stream_t *)&s->tcp);
    if (rc == 0) rc = uv_read_start((uv_stream_t *)&s->tcp, on_buffer, on_read);
    if (rc) {
        log_line(LEVEL_WARN, "a connection could not be accepted: %s", uv_strerror(rc));
        session_close(s, "not accepted");
        return;
    }
    (void)uv_tcp_nodelay(&s->tcp, 1);
    (void)uv_tcp_keepalive(&s->tcp, 1, KEEPALIVE_S);
    list_join(s, LIST_HELLO);
    if (v->connections > v->o.connections + LINGERERS_MAX)
        session_close(s, "far too many connections");
    else if (v->connections > v->o.connections)
        session_refuse(s, TIDE__REFUSED_CODE__REFUSED_BUSY,
                       "the limit of connections is reached ([limits] connections): try later");
}

/* ---- the server */

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
    struct sockaddr_storage bound;
    int len = sizeof bound, rc;
    v->o.loop = o->loop;
    v->on = *events;
    v->lists[LIST_LINGER].limit_us = LINGER_US;
    v->listener.data = v->sweep.data = v->soon.data = v->turns.data = v->drain.data = v;
    if (uv_tcp_init(o->loop, &v->listener) || uv_timer_init(o->loop, &v->sweep) ||
        uv_idle_init(o->loop, &v->soon) || uv_timer_init(o->loop, &v->drain) ||
        uv_prepare_init(o->loop, &v->turns) || uv_prepare_start(&v->turns, on_turn))
        abort(); /* these only fill in fields */
    v->handles = 5;
    v->sweep_at_ms = UINT64_MAX;
    server_limits(v, o);
    rc = uv_tcp_bind(&v->listener, address, 0);
    /* libuv keeps "address in use" for later; asking for the name brings it up */
    if (rc == 0) rc = uv_tcp_getsockname(&v->listener, (struct sockaddr *)&bound, &len);
    if (rc)
        server_close(v);
    else
        *ret = v;
    return rc;
}

void server_welcome_with(struct server *v, const struct hello_config *hello)
{
    v->hello = *hello;
}

int server_listen(struct server *v)
{
    return uv_listen((uv_stream_t *)&v->listener, BACKLOG, on_connection);
}

uint16_t server_port(const struct server *v)
{
    struct sockaddr_storage a;
    int len = sizeof a;
    memset(&a, 0, sizeof a);
    if (uv_tcp_getsockname(&v->listener, (struct sockaddr *)&a, &len)) return 0;
    return ntohs(a.ss_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)(const void *)&a)->sin6_port
                     : ((const struct sockaddr_in *)(const void *)&a)->sin_port);
}

uint32_t server_connections(const struct server *v)
{
    return v->connections;
}

uint64_t server_refused(const struct server *v)
{
    return v->refused;
}

static void on_server_closed(uv_handle_t *handle)
{
    struct server *v = handle->data;
    v->handles--;
    free_if_last(v);
}

void server_stop_listening(struct server *v)
{
    if (uv_is_closing((uv_handle_t *)&v->listener)) return;
    uv_close((uv_handle_t *)&v->listener, on_server_closed);
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
    server_stop_listening(v);
    uv_close((uv_handle_t *)&v->sweep, on_server_closed);
    uv_close((uv_handle_t *)&v->soon, on_server_closed);
    uv_close((uv_handle_t *)&v->turns, on_server_closed);
    uv_close((uv_handle_t *)&v->drain, on_server_closed);
}

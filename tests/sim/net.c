/* The network: one connection per worker process or admin, each direction in order, with delays.
 *
 * What can go wrong: a cut that both sides see, or one, or none (what is sent vanishes until a side
 * finds out by its heartbeats); a side that dies with or without a word from its kernel. */

#include "tests/sim/sim.h"

struct message {
    struct conn *conn;
    struct tide_bytes frame; /* without its header */
};

struct conn *net_find(struct sim *s, uint64_t session)
{
    for (struct conn *c = s->conns; c; c = c->next)
        if (c->session == session) return c;
    return NULL;
}

static uint64_t delay(struct sim *s)
{
    if (s->now < s->lag_until && percent(s, 30)) return between(s, 5 * MS, 150 * MS);
    return between(s, 50, percent(s, 10) ? 8 * MS : MS);
}

static bool daemon_side(const struct sim *s, const struct conn *c)
{
    return c->open_d && s->daemon.up && c->life == s->daemon.life;
}

/* What arrives, in the trace; heartbeats would drown the rest. */
static void note_frame(struct sim *s, const struct conn *c, struct tide_bytes frame, bool to_daemon)
{
    struct tide_bytes content;
    if (!s->trace || !c->proc) return;
    uint32_t field = tide_frame_peek(frame, &content);
    if (field == (to_daemon ? 3 : 5)) return;
    const char *text = wire_text(c->proc->job, frame, to_daemon);
    if (to_daemon)
        note(s, "net: %s -> daemon: %s", proc_name(c->proc), text);
    else
        note(s, "net: daemon -> %s: %s", proc_name(c->proc), text);
}

/* ---- towards the daemon */

static void arrive_d(struct sim *s, void *arg, uint64_t x)
{
    struct message *m = arg;
    struct conn *c = m->conn;
    if (!daemon_side(s, c) || c->hole_d || daemon_frozen(s, arrive_d, arg, x)) return;
    note_frame(s, c, m->frame, true);
    struct tide_bytes content;
    if (c->proc && c->proc->stale && tide_frame_peek(m->frame, &content) == 2)
        old_joins(s, c->proc, content);
    if (!c->welcomed) {
        daemon_hello(s, c, m->frame);
        return;
    }
    daemon_feed(s, (struct event){.type = EV_FRAME, .session = c->session, .bytes = m->frame});
}

static void closed_d(struct sim *s, void *arg, uint64_t x)
{
    struct conn *c = arg;
    if (!daemon_side(s, c) || daemon_frozen(s, closed_d, arg, x)) return;
    c->open_d = false;
    if (!c->welcomed) return;
    note(s, "daemon: session %" PRIu64 " is gone", c->session);
    daemon_feed(s, (struct event){.type = EV_CLOSED,
                                  .session = c->session,
                                  .text = "the connection was closed"});
}

/* ---- towards the worker */

static void arrive_w(struct sim *s, void *arg, uint64_t x)
{
    struct message *m = arg;
    struct conn *c = m->conn;
    if (!c->open_w || c->hole_w) return;
    if (c->proc && proc_frozen(s, c->proc, arrive_w, arg, x)) return;
    note_frame(s, c, m->frame, false);
    if (c->proc) proc_frame(s, c->proc, m->frame);
}

static void closed_w(struct sim *s, void *arg, uint64_t x)
{
    struct conn *c = arg;
    struct proc *p = c->proc;
    if (!c->open_w || (p && proc_frozen(s, p, closed_w, arg, x))) return;
    c->open_w = false;
    if (s->admin == c) s->admin = NULL;
    if (!p || !p->alive || p->conn != c) return;
    p->conn = NULL;
    p->cut_at = s->now;
    tide_session_disconnected(p->session, proc_now(s, p));
    proc_pump(s, p);
}

/* ---- sending */

static void send(struct sim *s, struct conn *c, struct tide_bytes frames, bool to_daemon)
{
    uint64_t *last = to_daemon ? &c->at_d : &c->at_w;
    if (to_daemon ? c->hole_d : c->hole_w) return;
    while (frames.len >= TIDE_FRAME_HEADER) {
        size_t n = tide_get_u32(frames.data);
        must(s, n <= frames.len - TIDE_FRAME_HEADER, "a frame of %zu bytes is cut short", n);
        struct message *m = sim_alloc(s, sizeof *m);
        *m = (struct message){
            c, sim_bytes(s, (struct tide_bytes){frames.data + TIDE_FRAME_HEADER, n})};
        uint64_t at = s->now + delay(s);
        if (at < *last) at = *last;
        *last = at;
        sim_at(s, at, to_daemon ? arrive_d : arrive_w, m, 0);
        frames.data += TIDE_FRAME_HEADER + n;
        frames.len -= TIDE_FRAME_HEADER + n;
    }
    must(s, frames.len == 0, "%zu bytes behind the last frame", frames.len);
}

void net_to_daemon(struct sim *s, struct conn *c, struct tide_bytes frames)
{
    if (c->open_w) send(s, c, frames, true);
}

void net_to_worker(struct sim *s, struct conn *c, struct tide_bytes frames)
{
    if (c->open_d) send(s, c, frames, false);
}

/* ---- opening and closing */

static struct conn *conn_new(struct sim *s, struct proc *p)
{
    struct conn *c = sim_alloc(s, sizeof *c);
    *c = (struct conn){.next = s->conns,
                       .session = ++s->daemon.next_session,
                       .life = s->daemon.life,
                       .proc = p,
                       .open_d = true,
                       .open_w = true};
    s->conns = c;
    return c;
}

static void connected(struct sim *s, void *arg, uint64_t x)
{
    struct proc *p = arg;
    if (!p->alive || p->over || p->conn || x != p->connects || proc_frozen(s, p, connected, arg, x))
        return;
    if (!s->daemon.up || s->now < p->dark_until) {
        tide_session_disconnected(p->session, proc_now(s, p));
    } else {
        p->conn = conn_new(s, p);
        note(s, "%s: connected, session %" PRIu64, proc_name(p), p->conn->session);
        tide_session_connected(p->session, proc_now(s, p));
    }
    proc_pump(s, p);
}

void net_connect(struct sim *s, struct proc *p)
{
    uint64_t takes = between(s, 100, 2 * MS);
    if (s->now < p->dark_until) takes = between(s, 10 * MS, 100 * MS);
    sim_at(s, s->now + takes, connected, p, ++p->connects);
}

static void say_hello(struct sim *s, struct conn *c, Tide__PeerKind kind)
{
    struct tide_buf b;
    tide_buf_init(&b, 4096);
    Tide__Hello hello = TIDE__HELLO__INIT;
    hello.version_min = TIDE_PROTOCOL_MIN;
    hello.version_max = TIDE_PROTOCOL_MAX;
    hello.kind = kind;
    if (kind == TIDE__PEER_KIND__PEER_ADMIN) {
        Tide__Request r = TIDE__REQUEST__INIT;
        r.call_case = TIDE__REQUEST__CALL_HELLO;
        r.hello = &hello;
        tide_frame_put(&b, &r.base);
    } else {
        Tide__FromWorker m = TIDE__FROM_WORKER__INIT;
        m.msg_case = TIDE__FROM_WORKER__MSG_HELLO;
        m.hello = &hello;
        tide_frame_put(&b, &m.base);
    }
    net_to_daemon(s, c, (struct tide_bytes){b.data, b.len});
    tide_buf_release(&b);
}

struct conn *net_admin(struct sim *s)
{
    if (!s->daemon.up) return NULL;
    if (!s->admin || !s->admin->open_w) {
        s->admin = conn_new(s, NULL);
        say_hello(s, s->admin, TIDE__PEER_KIND__PEER_ADMIN);
    }
    return s->admin;
}

struct conn *net_stranger(struct sim *s, bool hello)
{
    struct conn *c = conn_new(s, NULL);
    c->stranger = true;
    if (hello) say_hello(s, c, TIDE__PEER_KIND__PEER_WORKER);
    return c;
}

/* What was sent before is out first. */
static void close_after(struct sim *s, struct conn *c, uint64_t *last, sim_fn *fn)
{
    uint64_t at = s->now + delay(s);
    if (at < *last) at = *last;
    *last = at;
    sim_at(s, at, fn, c, 0);
}

void net_close_by_daemon(struct sim *s, struct conn *c)
{
    if (!c->hole_w) close_after(s, c, &c->at_w, closed_w);
    c->hole_d = true;
    sim_at(s, s->now, closed_d, c, 0);
}

void net_close_by_worker(struct sim *s, struct conn *c)
{
    c->open_w = false;
    if (!c->hole_d) close_after(s, c, &c->at_d, closed_d);
}

void net_cut(struct sim *s, struct conn *c, bool daemon_sees, bool worker_sees)
{
    note(s, "net: session %" PRIu64 " is cut%s%s", c->session,
         daemon_sees ? ", the daemon sees it" : "", worker_sees ? ", the worker sees it" : "");
    c->hole_d = c->hole_w = true;
    if (daemon_sees) sim_at(s, s->now + delay(s), closed_d, c, 0);
    if (worker_sees) sim_at(s, s->now + delay(s), closed_w, c, 0);
}

void net_daemon_gone(struct sim *s, bool vanish)
{
    for (struct conn *c = s->conns; c; c = c->next) {
        if (c->life != s->daemon.life || !c->open_d) continue;
        c->open_d = false;
        c->hole_d = true;
        if (vanish)
            c->hole_w = true;
        else if (!c->hole_w)
            close_after(s, c, &c->at_w, closed_w);
    }
}

void net_proc_gone(struct sim *s, struct proc *p, bool vanish)
{
    struct conn *c = p->conn;
    if (!c) return;
    p->conn = NULL;
    c->hole_w = true;
    if (vanish) {
        c->hole_d = true;
        c->open_w = false;
    } else {
        net_close_by_worker(s, c);
    }
}

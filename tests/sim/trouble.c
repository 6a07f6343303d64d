/* Trouble of one job that the others must not feel, and of nobody: a worker that reconnects without
 * end, strangers who speak nonsense. */
#include "tests/sim/sim.h"

/* ---- a reconnect storm */

static void cut_again(struct sim *s, void *arg, uint64_t until)
{
    struct proc *p = arg;
    if (!p->alive || s->now >= until || s->calm) return;
    if (p->conn) net_cut(s, p->conn, true, true);
    sim_at(s, s->now + between(s, MS, 20 * MS), cut_again, p, until);
}

void trouble_storm(struct sim *s, struct proc *p)
{
    uint64_t until = s->now + between(s, 100 * MS, SECOND);
    note(s, "fault: %s reconnects without end until %" PRIu64 " ms", proc_name(p), in_trace(until));
    cut_again(s, p, until);
}

/* ---- strangers */

static void check_gone(struct sim *s, void *arg, uint64_t life)
{
    struct conn *c = arg;
    if (!s->daemon.up || s->daemon.life != life || daemon_frozen(s, check_gone, arg, life)) return;
    must(s, !c->open_d || c->hole_d, "a stranger spoke nonsense, and still has its connection");
}

/* One frame of nonsense, as the first or after a good Hello: one refusal, and nobody else notices.
 */
void trouble_stranger(struct sim *s)
{
    uint8_t nonsense[64] = {0};
    size_t n = between(s, 1, sizeof nonsense);
    if (!s->daemon.up || s->now < s->daemon.thaw_at || s->daemon.asked_down) return;
    struct conn *c = net_stranger(s, percent(s, 70));
    for (size_t i = 0; i < n; i++)
        nonsense[i] = (uint8_t)rnd(s);
    nonsense[0] = (uint8_t)(nonsense[0] | 7); /* no such type: nothing can parse it */
    struct tide_buf b;
    tide_buf_init(&b, 4096);
    tide_buf_put_u32(&b, (uint32_t)n);
    tide_buf_put(&b, nonsense, n);
    note(s, "fault: a stranger speaks nonsense on session %" PRIu64, c->session);
    net_to_daemon(s, c, (struct tide_bytes){b.data, b.len});
    tide_buf_release(&b);
    sim_at(s, s->now + SECOND, check_gone, c, s->daemon.life);
}

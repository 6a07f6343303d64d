/* What admins ask for that ends a job, or deletes what it has left: stop, cancel, dispose. Who asks
 * waits for the answer on the same connection, as long as that lasts. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/sim.h"

static ProtobufCBinaryData text(const char *t)
{
    return (ProtobufCBinaryData){strlen(t), (uint8_t *)(uintptr_t)t};
}

static void send(struct sim *s, const struct job *j, Tide__Request *r, const char *what)
{
    struct conn *c = net_admin(s);
    struct tide_buf b;
    if (!c) return;
    r->id = s->order + 1;
    tide_buf_init(&b, 4096);
    tide_frame_put(&b, &r->base);
    struct tide_bytes frames = sim_bytes(s, (struct tide_bytes){b.data, b.len});
    tide_buf_release(&b);
    note(s, "%sadmin: %s", j->prefix, what);
    net_to_daemon(s, c, frames);
}

static void stop(struct sim *s, struct job *j, const char *key)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__StopJob m = TIDE__STOP_JOB__INIT;
    char what[60];
    m.job = text(j->name);
    m.key = text(key);
    m.who = text("sim");
    m.kind =
        percent(s, 50) ? TIDE__ROUND_KIND__ROUND_SAVEPOINT : TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    m.drain = percent(s, 45);
    m.supersede = percent(s, 40);
    r.call_case = TIDE__REQUEST__CALL_STOP;
    r.stop = &m;
    snprintf(what, sizeof what, "asks to %s it with a %s%s", m.drain ? "drain" : "suspend",
             m.kind == TIDE__ROUND_KIND__ROUND_CHECKPOINT ? "checkpoint" : "savepoint",
             m.supersede ? ", at once" : "");
    send(s, j, &r, what);
}

static void cancel(struct sim *s, struct job *j, const char *key)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__CancelJob m = TIDE__CANCEL_JOB__INIT;
    m.job = text(j->name);
    m.key = text(key);
    m.who = text("sim");
    m.savepoint = percent(s, 50);
    r.call_case = TIDE__REQUEST__CALL_CANCEL;
    r.cancel = &m;
    send(s, j, &r, m.savepoint ? "asks to cancel it after a savepoint" : "asks to cancel it");
}

/* A savepoint, at times any snapshot: many must be refused. */
static void dispose(struct sim *s, struct job *j, const char *key)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__DisposeSnapshot m = TIDE__DISPOSE_SNAPSHOT__INIT;
    char what[60];
    uint64_t n = 0;
    bool any = percent(s, 20);
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if ((d->kind == TIDE_SAVEPOINT || any) && below(s, ++n) == 0) m.snapshot = d->round;
    if (!m.snapshot) return;
    m.key = text(key);
    m.who = text("sim");
    r.call_case = TIDE__REQUEST__CALL_DISPOSE;
    r.dispose = &m;
    snprintf(what, sizeof what, "asks to dispose of snapshot %" PRIu64, m.snapshot);
    send(s, j, &r, what);
}

/* Any snapshot, mostly into a new directory. Shared files are rewritten by the lane, which is
 * tested with real ones. */
static void export(struct sim *s, struct job *j, const char *key)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__ExportSnapshot m = TIDE__EXPORT_SNAPSHOT__INIT;
    char what[80], directory[40];
    uint64_t n = 0;
    for (const struct d_snapshot *d = j->store.snapshots; d; d = d->next)
        if ((d->state == TIDE_RETAINED || percent(s, 5)) && !j->pieces && below(s, ++n) == 0)
            m.snapshot = d->round;
    if (!m.snapshot) return;
    if (!s->files.exports || percent(s, 90)) s->files.exports++;
    snprintf(directory, sizeof directory, "/exports/%u", (unsigned)s->files.exports);
    m.directory = text(directory);
    m.key = text(key);
    m.who = text("sim");
    r.call_case = TIDE__REQUEST__CALL_EXPORT_SNAPSHOT;
    r.export_snapshot = &m;
    snprintf(what, sizeof what, "asks to export snapshot %" PRIu64, m.snapshot);
    send(s, j, &r, what);
}

/* Waits for the newest operation of the job that has to do with its end. */
static void wait_for_end(struct sim *s, struct job *j)
{
    Tide__Request r = TIDE__REQUEST__INIT;
    Tide__WaitOperation m = TIDE__WAIT_OPERATION__INIT;
    for (const struct d_operation *d = j->store.operations; d; d = d->next)
        if ((d->o.kind == TIDE_OP_STOP || d->o.kind == TIDE_OP_CANCEL) && d->o.id > m.operation)
            m.operation = d->o.id;
    m.timeout_ms = percent(s, 40) ? (uint32_t)between(s, 5, 600) : 60000;
    r.call_case = TIDE__REQUEST__CALL_WAIT;
    r.wait = &m;
    if (m.operation) send(s, j, &r, "waits for the end");
}

static void power_out(struct sim *s, void *arg, uint64_t x)
{
    struct job *j = arg;
    (void)x;
    for (struct proc *p = j->procs; p && !s->calm; p = p->next)
        proc_kill(s, p, "the power is out", false);
}

/* While it stops the outside world does not answer, and its workers die: who comes is there to
 * deliver alone, and may not get that done in time. */
static void disturb(struct sim *s, struct job *j)
{
    j->mute_until = s->now + between(s, 500 * MS, 5 * SECOND);
    note(s, "%sfault: the outside world does not answer until %" PRIu64 " ms", j->prefix,
         in_trace(j->mute_until));
    sim_at(s, s->now + between(s, 20 * MS, 700 * MS), power_out, j, 0);
}

void stop_something(struct sim *s, struct job *j)
{
    char key[32];
    uint64_t kind = below(s, 100);
    if (kind < 20) { /* so that a job lives for a while */
        snprintf(key, sizeof key, "export%u", (unsigned)below(s, 20));
        export(s, j, percent(s, 50) ? "" : key);
        return;
    }
    if (kind < 40) {
        dispose(s, j, percent(s, 50) ? "" : "dispose");
        return;
    }
    if (kind < 60) {
        wait_for_end(s, j);
        return;
    }
    snprintf(key, sizeof key, "stop%u", (unsigned)below(s, 20));
    check_trouble(s, j);
    j->ordered = true;
    if (kind < 90)
        stop(s, j, key);
    else
        cancel(s, j, key);
    if (percent(s, 20)) disturb(s, j);
    wait_for_end(s, j);
}

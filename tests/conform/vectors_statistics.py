"""What is counted and measured, as an admin sees it."""
import time

from peer import Worker, check, short, vector
from wire import w
from proto import admin_pb2 as a

GAUGES = "workers, missing tasks, the open round, gauges, what it waits for"
ROUNDS = "also aborted ones, with reason, holders and phases"


def gauges(x):
    g = x.ctx.admin().ask(show_job=a.ShowJob(job=x.spec.name)).job.gauges
    check(g.total_number_of_checkpoints == g.number_of_in_progress_checkpoints + g.number_of_completed_checkpoints +
          g.number_of_failed_checkpoints, "counts that do not add up: %s" % short(g))
    return g


def counts(g):
    return (g.number_of_in_progress_checkpoints, g.number_of_completed_checkpoints, g.number_of_failed_checkpoints)


# S218, S227
@vector("gauges of a job", GAUGES)
def through_a_life(ctx):
    x = ctx.worker().run()
    g = gauges(x)
    check(counts(g) == (0, 0, 0) and g.last_checkpoint_external_path == b"", short(g))
    absent = [f.name for f in g.DESCRIPTOR.fields if f.name.startswith("last_") and f.type == f.TYPE_SINT64]
    check(len(absent) >= 8, "gauges: %s" % absent)
    for name in absent:
        check(getattr(g, name) == -1, "%s is %d before anything was measured" % (name, getattr(g, name)))
    before = time.time() * 1000
    number = x.round()
    g = gauges(x)
    check(counts(g) == (0, 1, 0) and g.last_completed_checkpoint_id == number, short(g))
    check(g.last_checkpoint_size == g.last_checkpoint_full_size == 3 and g.last_checkpoint_duration >= 0, short(g))
    check(g.last_checkpoint_external_path.endswith(b"/r%d" % number), short(g))
    check(-5000 < g.last_checkpoint_completed_timestamp - before < 60000, short(g))
    check(g.last_checkpoint_restore_timestamp == -1, short(g))
    t = x.trigger()
    check(counts(gauges(x)) == (1, 1, 0), "a round is under way: %s" % short(gauges(x)))
    x.decline(t.round)
    x.expect("abort")
    g = gauges(x)
    check(counts(g) == (0, 1, 1) and g.last_completed_checkpoint_id == number, short(g))
    x.send(leave=w.Leave(reason=b"restarting"))
    x.ends()
    y = Worker(ctx, x.spec, x.tasks, x.name).run()
    g = gauges(y)
    check(-5000 < g.last_checkpoint_restore_timestamp - before < 60000, short(g))
    check(counts(g) == (0, 1, 1), short(g))


# S229: it took from its trigger to its failure
@vector("an aborted round in the list", ROUNDS)
def aborted(ctx):
    x = ctx.worker().run()
    t = x.trigger()
    time.sleep(0.3)
    x.decline(t.round, reason=b"the disk is wet")
    x.expect("abort")
    admin, end = ctx.admin(), time.monotonic() + 10
    while True:  # the abort is told before it is durable
        r = admin.ask(rounds=a.ListRounds(job=x.spec.name)).rounds.rounds[0]
        if r.ended_wall_us or time.monotonic() > end:
            break
        time.sleep(0.02)
    check(r.round == t.round and r.state == b"aborted" and b"the disk is wet" in r.reason, short(r))
    check(300000 <= r.ended_wall_us - r.begun_wall_us < 15000000, "it took %d us" % (r.ended_wall_us - r.begun_wall_us))
    check((r.tasks, r.acked, r.bytes, r.held_by_count) == (1, 0, 0, 1), short(r))

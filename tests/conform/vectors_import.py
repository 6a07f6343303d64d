"""Snapshots that the store does not know: restored from where they lie, made known, begun from by new jobs."""
import shutil

import wire
from peer import Worker, check, make_spec, short, vector
from vectors_orders import order, restore
from wire import c, w
from proto import admin_pb2 as a

WHOLE = ("it has a _metadata that opens as a manifest, and every file named in it is there with its size. Otherwise the "
         "order fails, and its error names the file")
KNOWN = "it becomes a snapshot of the job: under a new number, imported, owned by its user, without effects"
HERE = "its paths below the directory in which it lies now"
FULL = "After a restore from an imported snapshot checkpoints have Trigger.full until one has completed"
NEW = "say how a job that is new begins: from the snapshot in that directory"
REFUSED = "If it cannot begin from there it is Refused{SPEC}, with the file or the operator in the text, and nothing is left of the job"
NO_PART = "Neither field is part of the fingerprint; for a job that the daemon knows they count for nothing"
CUT = "if the max parallelisms of an operator differ, unless the job leaves its own to be chosen: then the snapshot's holds"


class Modern(Worker):
    """It speaks version 2."""

    def welcomed(self, **changes):
        return super().welcomed(version_max=2, **changes)


def worker(ctx, spec=None):
    return Modern(ctx, spec or make_spec(ctx.job()))


def inline(task, data=b"abc"):
    low, high = wire.digest(data)
    return w.TaskAck(task=task, artifacts=[c.Artifact(inline=data, size=len(data), digest_low=low, digest_high=high)])


def copied(ctx, x):
    """A savepoint of the worker's job, copied elsewhere; the directory and its number."""
    p = ctx.admin2()
    o = p.ask(savepoint=a.TriggerSavepoint(job=x.spec.name)).operation
    t = x.expect("trigger")
    x.send(ack=w.AckBatch(attempt=x.attempt, round=t.round, full=[inline(0)]))
    x.complete(t.round)
    x.confirm(t.round)
    o = p.ask(wait=a.WaitOperation(operation=o.id, timeout_ms=10000)).operation
    check(o.state == b"done", short(o))
    to = o.location + b"-copy"
    shutil.copytree(o.location, to)
    return to, t.round


def info(ctx, number):
    return ctx.admin().ask(snapshot=a.ShowSnapshot(snapshot=number)).snapshot.info


@vector("restore from a copy", HERE, needs="daemon")
def copy(ctx):
    x = worker(ctx).run()
    place, number = copied(ctx, x)
    o = restore(ctx, x, directory=place)
    check(o.state == b"done" and any(b"op: restored" in line for line in o.report), short(o))
    x.expect("rewind", skip=("alive", "abort"))
    x.join()
    x.expect("joined")
    s = x.start()
    check(s.snapshot > number and s.snapshot_directory == place, short(s))
    check(s.tasks[0].artifacts[0].inline == b"abc", short(s))


@vector("the first checkpoint after it", FULL, needs="daemon")
def full(ctx):
    x = worker(ctx).run()
    place, _ = copied(ctx, x)
    check(restore(ctx, x, directory=place).state == b"done", "not restored")
    x.expect("rewind", skip=("alive", "abort"))
    x.join()
    x.expect("joined")
    x.start()
    x.restored()
    x.expect("run")
    t = x.trigger()
    check(t.full, "the first one is not full")
    x.ack(t.round)
    x.complete(t.round)
    x.confirm(t.round)
    check(not x.trigger().full, "the second one is full")


@vector("import", KNOWN, needs="daemon")
def known(ctx):
    x = worker(ctx).run()
    place, number = copied(ctx, x)
    o = order(ctx, import_snapshot=a.ImportSnapshot(job=x.spec.name, directory=place + b"/", label=b"a copy"))
    check((o.kind, o.state, o.location) == (b"import", b"done", place), short(o))
    s = info(ctx, o.snapshot)
    check(s.imported and s.owner == b"user" and not s.commits and s.directory == place, short(s))
    check((s.attempt, s.parent, s.label, s.kind) == (0, number, b"a copy", c.ROUND_SAVEPOINT), short(s))
    m = ctx.admin().ask(verify=a.VerifySnapshot(snapshot=o.snapshot)).verified
    check(m.artifacts == 1 and not m.problem_count, short(m))
    x.round()  # the attempt goes on


@vector("import, dry run", "dry_run only says what restoring it would do", needs="daemon")
def dry(ctx):
    x = worker(ctx).run()
    place, _ = copied(ctx, x)
    o = order(ctx, import_snapshot=a.ImportSnapshot(job=x.spec.name, directory=place, dry_run=True))
    check(o.state == b"done" and not o.snapshot and any(b"op: restored" in line for line in o.report), short(o))


@vector("a directory that is no snapshot", WHOLE, needs="daemon")
def none(ctx):
    x = worker(ctx).run()
    place, _ = copied(ctx, x)
    with open(place + b"/_metadata", "r+b") as f:
        f.truncate(40)
    o = restore(ctx, x, directory=place)
    check(o.state == b"failed" and place + b"/_metadata" in o.error, short(o))
    o = restore(ctx, x, directory=place + b"/nowhere")
    check(o.state == b"failed" and place + b"/nowhere" in o.error, short(o))
    x.round()  # the attempt goes on


def begins(ctx, place, **operator):
    spec = make_spec(ctx.job())
    spec.operators[0].MergeFrom(c.Operator(**operator))
    spec.restore_from = place
    return worker(ctx, spec)


@vector("a new job from a snapshot", NEW, needs="daemon")
def new(ctx):
    place, number = copied(ctx, worker(ctx).run())
    y = begins(ctx, place).joined()
    s = y.start()
    check(s.snapshot_directory == place and s.tasks[0].artifacts[0].inline == b"abc", short(s))
    i = info(ctx, s.snapshot)
    check(i.job == y.spec.name and i.imported, short(i))


@vector("a new job from nowhere", REFUSED, needs="daemon")
def nowhere(ctx):
    y = begins(ctx, b"/nowhere/at/all")
    y.welcomed()
    y.join()
    y.refused(c.REFUSED_SPEC, "/nowhere/at/all")
    ctx.admin().error(a.ERROR_NOT_FOUND, show_job=a.ShowJob(job=y.spec.name))


@vector("a new job that does not fit", REFUSED, needs="daemon")
def unfit(ctx):
    place, _ = copied(ctx, worker(ctx).run())
    spec = make_spec(ctx.job(), operators=((b"other", 1),))
    spec.restore_from = place
    y = worker(ctx, spec)
    y.welcomed()
    y.join()
    y.refused(c.REFUSED_SPEC, "'op'")
    spec.allow_unmatched = True
    s = worker(ctx, spec).joined().start()
    check(s.snapshot and not s.tasks, short(s))


@vector("restore_from of a job that is known", NO_PART)
def no_part(ctx):
    x = worker(ctx).run()
    spec = c.JobSpec()
    spec.CopyFrom(x.spec)
    spec.restore_from = b"/nowhere/at/all"
    check(wire.fingerprint(spec) == wire.fingerprint(x.spec), "another fingerprint")
    x.close()
    y = Modern(ctx, spec, x.tasks, x.name)
    y.host = x.host
    y.welcomed()
    y.join(token=x.token, phase=w.PHASE_RUNNING)
    y.expect("resumed", skip=("joined", "alive"))


@vector("max parallelism of a snapshot", CUT, needs="daemon")
def cut(ctx):
    spec = make_spec(ctx.job())
    spec.operators[0].max_parallelism = 512
    place, _ = copied(ctx, worker(ctx, spec).run())
    s = begins(ctx, place).joined().start()
    check([(k.uid, k.max_parallelism) for k in s.cut] == [(b"op", 512)], short(s))
    y = begins(ctx, place, max_parallelism=128)
    y.welcomed()
    y.join()
    y.refused(c.REFUSED_SPEC, "max parallelism 512")

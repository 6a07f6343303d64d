"""Rounds that do not wait for all barriers: what the Trigger says, TurnUnaligned, records in flight, savepoints of another
alignment than the job's checkpoints."""
import time

from peer import Worker, check, make_spec, short, vector
from wire import c, w
from proto import admin_pb2 as a

SAYS = "Trigger.alignment says how tasks wait for the barriers of the round:"
AGE = "A task turns, and does as above from then on, once aligned_timeout_ms have passed since the round's begin (age_ms had passed when the Trigger was sent)"
ADVICE = "TurnUnaligned is advice: it is remembered when it comes before the first barrier, and it never makes a round fail."
ORDER = "The daemon says it once per round, to all workers, when the time is over and a task says that it waits or aligns."
STOPS = "Rounds that stop a job are always aligned."
FLIGHT = "In-flight records travel as artifacts of the task's TaskAck in full, one for each channel that has any: flight and channel tell where they were"
FIGURES = "unaligned is set when some barrier was not waited for, persisted_bytes counts those artifacts, processed_bytes what was processed while barriers were awaited."
SAVEPOINT = "A savepoint is aligned too, or at least once in a job of such checkpoints, unless TriggerSavepoint.alignment asks for another way"
INVALID = "anything else, and any of it in a rendezvous job, is INVALID."
OLD = "An operation that asks for UNALIGNED or TIMEOUT fails while a worker of version 1 hosts tasks"
OF_VERSION_2 = "A Join for a job whose spec needs version 2 is answered by VERSION there."


class Flyer(Worker):
    """A worker that speaks version 2."""

    def welcomed(self, **changes):
        return super().welcomed(version_max=2, **changes)

    def again(self, **changes):
        other = Flyer(self.ctx, self.spec, self.tasks, self.name)
        other.host, other.token, other.attempt = self.host, self.token, self.attempt
        other.welcomed()
        other.join(**dict(dict(token=self.token, phase=w.PHASE_RUNNING), **changes))
        return other

    def phase(self, number, phase, task=0):
        self.send(barrier=w.Barrier(attempt=self.attempt, round=number,
                                    tasks=[w.TaskProgress(task=task, phase=phase)]))


def flyer(ctx, tasks=1, **checkpointing):
    return Flyer(ctx, make_spec(ctx.job(), ((b"op", tasks),), **checkpointing), range(tasks)).run()


def timed(ctx, ms=100):
    return flyer(ctx, alignment=c.ALIGN_TIMEOUT, aligned_timeout_ms=ms)


def says(name, alignment, **checkpointing):
    @vector("Trigger: " + name, SAYS)
    def play(ctx):
        x = flyer(ctx, alignment=alignment, **checkpointing)
        t = x.trigger()
        check(t.alignment == alignment, short(t))
        check(t.aligned_timeout_ms == checkpointing.get("aligned_timeout_ms", 0), short(t))
        x.ack(t.round)
        x.complete(t.round)


says("aligned", c.ALIGN_ALIGNED)
says("at least once", c.ALIGN_AT_LEAST_ONCE)
says("unaligned", c.ALIGN_UNALIGNED)
says("aligned with a timeout", c.ALIGN_TIMEOUT, aligned_timeout_ms=700)


@vector("Trigger: the age of a round, for one that comes back", AGE)
def age(ctx):
    x = timed(ctx, 60000)
    t = x.trigger()
    check(t.age_ms < 5000, short(t))
    time.sleep(0.3)
    z = x.again(open=[w.OpenRound(round=t.round)])
    for kind in ("joined", "resumed", "run"):
        z.expect(kind)
    again = z.expect("trigger")
    check(again.round == t.round and again.age_ms >= t.age_ms + 250, short(again))
    check((again.alignment, again.aligned_timeout_ms) == (c.ALIGN_TIMEOUT, 60000), short(again))


@vector("TurnUnaligned", ORDER)
def turn(ctx):
    x = timed(ctx)
    t = x.trigger()
    time.sleep(0.2)
    x.phase(t.round, w.TASK_SNAPSHOTTING)
    x.phase(t.round, w.TASK_UPLOADING)
    x.quiet()
    x.phase(t.round, w.TASK_ALIGNING)
    m = x.expect("turn_unaligned")
    check((m.attempt, m.round) == (x.attempt, t.round), short(m))
    x.phase(t.round, w.TASK_WAITING)
    x.phase(t.round, w.TASK_ALIGNING)
    x.quiet()


@vector("TurnUnaligned: to all workers", ORDER)
def turn_all(ctx):
    spec = make_spec(ctx.job(), ((b"op", 2),), alignment=c.ALIGN_TIMEOUT, aligned_timeout_ms=100)
    x, y = Flyer(ctx, spec, (0,)).joined(), Flyer(ctx, spec, (1,)).joined()
    for z in (x, y):
        z.start()
        z.restored()
    for z in (x, y):
        z.expect("run")
    t = x.trigger()
    y.expect("trigger")
    time.sleep(0.2)
    y.phase(t.round, w.TASK_WAITING, task=1)
    for z in (x, y):
        check(z.expect("turn_unaligned").round == t.round, "another round")


@vector("TurnUnaligned: not before the time is over", ORDER)
def turn_early(ctx):
    x = timed(ctx, 60000)
    t = x.trigger()
    x.phase(t.round, w.TASK_ALIGNING)
    x.quiet()


@vector("TurnUnaligned: a task that does not", ADVICE)
def turn_ignored(ctx):
    x = timed(ctx)
    t = x.trigger()
    time.sleep(0.2)
    x.phase(t.round, w.TASK_WAITING)
    x.expect("turn_unaligned")
    x.ack(t.round)
    x.complete(t.round)
    info = ctx.admin2().ask(rounds=a.ListRounds(job=x.spec.name, limit=1)).rounds.rounds[0]
    check(info.alignment == c.ALIGN_TIMEOUT and not info.unaligned, short(info))


def not_turned(name, alignment):
    @vector("TurnUnaligned: not in a round that is " + name, ORDER)
    def play(ctx):
        x = flyer(ctx, alignment=alignment)
        t = x.trigger()
        time.sleep(0.2)
        x.phase(t.round, w.TASK_ALIGNING)
        x.quiet()


not_turned("aligned", c.ALIGN_ALIGNED)
not_turned("unaligned", c.ALIGN_UNALIGNED)


@vector("the last round is aligned", STOPS)
def stop(ctx):
    x = flyer(ctx, alignment=c.ALIGN_UNALIGNED)
    ctx.admin2().ask(stop=a.StopJob(job=x.spec.name, kind=c.ROUND_CHECKPOINT))
    t = x.expect("trigger")
    check((t.alignment, t.stop) == (c.ALIGN_ALIGNED, c.STOP_SUSPEND), short(t))


# ---- records in flight

def record(data):
    return len(data).to_bytes(4, "little") + bytes(4) + data


def flown(x, number):
    """One record that was passed on the way in, two on the way out; and what of it belongs in a restore."""
    kept = [(c.FLIGHT_INPUT, 0, record(b"first")), (c.FLIGHT_OUTPUT, 3, record(b"") + record(b"second"))]
    x.send(ack=w.AckBatch(attempt=x.attempt, round=number, full=[w.TaskAck(
        unaligned=True, processed_bytes=77, persisted_bytes=sum(len(d) for _, _, d in kept),
        artifacts=[c.Artifact(inline=b"state", size=5)] +
        [c.Artifact(inline=d, size=len(d), flight=f, channel=n) for f, n, d in kept])]))
    return kept


@vector("records in flight: kept, and handed back", FLIGHT)
def in_flight(ctx):
    x = flyer(ctx, alignment=c.ALIGN_UNALIGNED)
    t = x.trigger()
    kept = flown(x, t.round)
    x.complete(t.round)
    x.send(leave=w.Leave(reason=b"restarting"))
    x.ends()
    s = Flyer(ctx, x.spec, x.tasks, x.name).joined().start()
    check(s.snapshot == t.round and len(s.tasks) == 1, short(s))
    got = s.tasks[0].artifacts
    check([(f.flight, f.channel, f.inline) for f in got] == [(c.FLIGHT_NONE, 0, b"state")] + kept, short(s))


@vector("records in flight: their figures", FIGURES)
def figures(ctx):
    x = flyer(ctx, alignment=c.ALIGN_UNALIGNED)
    t = x.trigger()
    flown(x, t.round)
    x.complete(t.round)
    admin = ctx.admin2()
    info = admin.ask(rounds=a.ListRounds(job=x.spec.name, limit=1)).rounds.rounds[0]
    check((info.alignment, info.unaligned, info.processed_bytes, info.persisted_bytes) ==
          (c.ALIGN_UNALIGNED, True, 77, 13 + 8 + 14), short(info))
    snapshot = admin.ask(snapshot=a.ShowSnapshot(snapshot=t.round)).snapshot.info
    check(snapshot.unaligned, short(snapshot))


@vector("records in flight: in a way that is none", FLIGHT)
def flight_unknown(ctx):
    x = flyer(ctx, alignment=c.ALIGN_UNALIGNED)
    t = x.trigger()
    artifact = c.Artifact(inline=b"", flight=c.FLIGHT_INPUT).SerializeToString().replace(
        b"\xa0\x06\x01", b"\xa0\x06\x07")
    check(b"\xa0\x06\x07" in artifact, "field 100 is written otherwise")
    ack = w.TaskAck(artifacts=[c.Artifact.FromString(artifact)])
    x.send(ack=w.AckBatch(attempt=x.attempt, round=t.round, full=[ack]))
    x.refused(c.REFUSED_MALFORMED)


# ---- savepoints

def asked(ctx, x, **how):
    m = ctx.admin2().ask(savepoint=a.TriggerSavepoint(job=x.spec.name, **how))
    check(m.WhichOneof("result") == "operation", short(m))
    return m.operation


def savepoint(name, of, want, **how):
    @vector("savepoint: " + name, SAVEPOINT)
    def play(ctx):
        timeout = {"aligned_timeout_ms": 700} if of == c.ALIGN_TIMEOUT else {}
        x = flyer(ctx, alignment=of, **timeout)
        o = asked(ctx, x, **how)
        t = x.expect("trigger")
        check((t.kind, t.alignment) == (c.ROUND_SAVEPOINT, want), short(t))
        check(t.aligned_timeout_ms == (700 if want == c.ALIGN_TIMEOUT else 0), short(t))
        flown(x, t.round) if want == c.ALIGN_UNALIGNED else x.ack(t.round)
        x.complete(t.round)
        done = ctx.admin2().ask(wait=a.WaitOperation(operation=o.id, timeout_ms=15000)).operation
        check(done.state == b"done", short(done))


savepoint("aligned by itself", c.ALIGN_UNALIGNED, c.ALIGN_ALIGNED)
savepoint("aligned by itself, beside a timeout", c.ALIGN_TIMEOUT, c.ALIGN_ALIGNED)
savepoint("as the job, when that counts", c.ALIGN_AT_LEAST_ONCE, c.ALIGN_AT_LEAST_ONCE)
savepoint("aligned, of a job that counts", c.ALIGN_AT_LEAST_ONCE, c.ALIGN_ALIGNED, alignment=c.ALIGN_ALIGNED)
savepoint("unaligned", c.ALIGN_ALIGNED, c.ALIGN_UNALIGNED, alignment=c.ALIGN_UNALIGNED)
savepoint("unaligned, beside unaligned checkpoints", c.ALIGN_UNALIGNED, c.ALIGN_UNALIGNED,
          alignment=c.ALIGN_UNALIGNED)
savepoint("with the job's timeout", c.ALIGN_TIMEOUT, c.ALIGN_TIMEOUT, alignment=c.ALIGN_TIMEOUT)


def senseless(name, how, *names, **checkpointing):
    @vector("savepoint: " + name, INVALID)
    def play(ctx):
        x = flyer(ctx, **checkpointing)
        ctx.admin2().error(a.ERROR_INVALID, *names,
                           savepoint=a.TriggerSavepoint(job=x.spec.name, alignment=how))
        x.quiet()


senseless("at least once, of a job that is not", c.ALIGN_AT_LEAST_ONCE, "exactly once")
senseless("with a timeout that the job has not", c.ALIGN_TIMEOUT, "aligned_timeout_ms",
          alignment=c.ALIGN_UNALIGNED)
senseless("unaligned, of a job that counts", c.ALIGN_UNALIGNED, "at least once", alignment=c.ALIGN_AT_LEAST_ONCE)
senseless("aligned, of a rendezvous job", c.ALIGN_ALIGNED, "rendezvous", style=c.STYLE_RENDEZVOUS)
senseless("in a way that is none", 9, "9")


@vector("savepoint: unaligned, with a worker of version 1", OLD)
def old_worker(ctx):
    x = ctx.worker().run()
    o = asked(ctx, x, alignment=c.ALIGN_UNALIGNED)
    x.quiet()
    done = ctx.admin2().ask(wait=a.WaitOperation(operation=o.id, timeout_ms=15000)).operation
    check(done.state == b"failed" and b"version 1" in done.error, short(done))
    x.round()


@vector("a worker of version 1 cannot host a job of unaligned rounds", OF_VERSION_2)
def version(ctx):
    x = ctx.worker(alignment=c.ALIGN_UNALIGNED)
    x.welcomed()
    x.join()
    x.refused(c.REFUSED_VERSION)

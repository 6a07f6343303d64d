"""External parts: coordinators and hooks, hosted, restored, asked before the tasks, released by acks."""
import time

import wire
from peer import Worker, check, make_spec, short, vector
from wire import c, w
from proto import admin_pb2 as a

HOSTED = "A job waits until each of its parts is hosted once, as for its tasks"
REFUSED = "an external part that the job has not, one that is named twice, or one held by a worker that is present"
RESET = "A part without an entry is reset: it begins as if nothing had been."
RUNS = "Each answers with ExternalAnswer of round 0, and the attempt runs when all tasks and all parts have"
FAILED = "one that failed ends the attempt"
CANNOT = "A part that cannot go on in the attempt says so by the same message, failed, at any time."
ORDER = ("and, when each has answered, all hooks; and only when each of these has, it triggers the tasks: no coordinator knows "
         "more than its tasks.")
MANIFEST = "They become part of the manifest; of hooks only those that gave any."
ABORTS = "failed aborts the round, and so does the deadline: the abort names the part."
FIRST = "The first answer counts; one that comes late changes nothing."
AGAIN = "After a reconnect the daemon asks again what was not answered, and a part that has answered answers again with the same."
KNOWS = "A worker that was asked knows of the round from then on (Join.open, Abort), before it is triggered, if it ever is."
ALONE = "No other round begins meanwhile."
RELEASE = "AskExternal with EXTERNAL_RELEASE names tasks that have acked the round"
SIZE = "and at most 1 MiB of data, all of them together at most 16 MiB"
WRONG = "An answer that names no part of this worker, or has more than 1 MiB of data, is MALFORMED."
LOST = "A worker that is lost takes its parts with it."


def coordinator(name=b"op"):
    return c.External(kind=c.EXTERNAL_COORDINATOR, name=name)


def hook(name=b"lock"):
    return c.External(kind=c.EXTERNAL_HOOK, name=name)


class Host(Worker):
    """A worker of version 2 with external parts."""

    def __init__(self, ctx, spec, tasks=(0,), parts=(), name=None):
        super().__init__(ctx, spec, tasks, name)
        self.externals = list(parts)

    def welcomed(self, **changes):
        return super().welcomed(version_max=2, **changes)

    def join_message(self, **changes):
        j = super().join_message(**changes)
        j.externals.extend(self.externals)
        return j

    def says(self, part, number, data=b"", failed=b"", attempt=None):
        self.send(external=w.ExternalAnswer(attempt=attempt or self.attempt, round=number, failed=failed,
                                            state=c.ExternalState(external=part, data=data)))

    def parts_restored(self):
        for part in self.externals:
            self.says(part, 0)

    def run(self):
        self.joined()
        self.start()
        self.restored()
        self.parts_restored()
        self.expect("run")
        return self

    def asked(self, phase=w.EXTERNAL_SNAPSHOT):
        m = self.expect("ask_external")
        check((m.attempt, m.phase) == (self.attempt, phase), short(m))
        return m

    def again(self, **changes):
        other = Host(self.ctx, self.spec, self.tasks, self.externals, self.name)
        other.host, other.token, other.attempt = self.host, self.token, self.attempt
        other.welcomed()
        other.join(**dict(dict(token=self.token, phase=w.PHASE_RUNNING), **changes))
        return other

    def anew(self):
        """The same process has lost what it had."""
        self.close()
        other = Host(self.ctx, self.spec, self.tasks, self.externals, self.name)
        other.host = self.host
        return other.joined()


def spec_of(ctx, tasks=1, coordinators=True, hooks=(b"lock",), **checkpointing):
    spec = make_spec(ctx.job(), ((b"op", tasks),), **checkpointing)
    spec.operators[0].coordinator = coordinators
    spec.hooks.extend(hooks)
    return spec


def alone(ctx, **changes):
    """One worker with a task, the coordinator and the hook."""
    return Host(ctx, spec_of(ctx, **changes), (0,), (coordinator(), hook())).run()


def begin(x):
    """A checkpoint is asked for; the ask of the coordinator."""
    x.operation = x.ctx.checkpoint(x.spec.name)
    m = x.asked()
    check(m.external == coordinator() and m.left_ms > 0, short(m))
    return m.round


def give(x, number, of_coordinator=b"next: 7", of_hook=b"tag"):
    """Until the round is triggered."""
    x.says(coordinator(), number, of_coordinator)
    check(x.asked().external == hook(), "the hook is not asked")
    x.says(hook(), number, of_hook)
    check(x.expect("trigger").round == number, "another round is triggered")


def ended(x, number):
    """How the round ended, as a row: of an abort it is written after it was told."""
    admin = x.ctx.admin2()
    for _ in range(250):
        r = admin.ask(rounds=a.ListRounds(job=x.spec.name, limit=1)).rounds.rounds[0]
        if r.round == number and r.ended_wall_us:
            break
        time.sleep(0.02)
    return r


@vector("a worker of version 1 cannot host the job", "A Join for a job whose spec needs version 2 is answered by VERSION there.")
def version(ctx):
    x = Worker(ctx, spec_of(ctx))
    x.welcomed()
    x.join()
    x.refused(c.REFUSED_VERSION)


@vector("a part that nobody hosts", HOSTED)
def missing(ctx):
    spec = spec_of(ctx)
    x = Host(ctx, spec, (0,), (coordinator(),)).joined()
    x.quiet()
    d = ctx.admin2().ask(show_job=a.ShowJob(job=spec.name)).job
    check({(e.external.name, e.state) for e in d.externals} == {(b"op", b"waiting"), (b"lock", b"missing")}, short(d.externals))


def wrong_parts(name, *names, parts):
    @vector(name, REFUSED)
    def play(ctx):
        x = Host(ctx, spec_of(ctx), (0,), parts)
        x.welcomed()
        x.join()
        x.refused(c.REFUSED_TASKS, *names)


wrong_parts("a hook that the job has not", "key", parts=(hook(b"key"),))
wrong_parts("a coordinator of an operator that has none", "other", parts=(coordinator(b"other"),))
wrong_parts("a part that is named twice", "twice", parts=(hook(), hook()))
wrong_parts("a kind that is none", parts=(c.External(name=b"lock"),))


@vector("a part that another one hosts", REFUSED)
def held(ctx):
    spec = spec_of(ctx, tasks=2)
    x = Host(ctx, spec, (0,), (coordinator(), hook())).joined()
    y = Host(ctx, spec, (1,), (hook(),))
    y.welcomed()
    y.join()
    y.refused(c.REFUSED_TASKS, "lock")
    x.quiet()


@vector("the attempt runs when the parts have answered, too", RUNS)
def runs(ctx):
    x = Host(ctx, spec_of(ctx), (0,), (coordinator(), hook())).joined()
    check(not x.start().externals, "something to restore from nothing")
    x.restored()
    x.says(hook(), 0)
    x.quiet()
    x.says(coordinator(), 0)
    x.expect("run")


@vector("a part that cannot restore", FAILED)
def cannot_restore(ctx):
    x = Host(ctx, spec_of(ctx), (0,), (coordinator(), hook())).joined()
    x.start()
    x.restored()
    x.says(coordinator(), 0, failed=b"no such table")
    check(b"no such table" in x.expect("rewind").reason, "the reason is lost")


@vector("a part that cannot go on", CANNOT)
def cannot_go_on(ctx):
    x = alone(ctx)
    x.says(coordinator(), 0, failed=b"an event is lost")
    check(b"an event is lost" in x.expect("rewind").reason, "the reason is lost")


@vector("coordinators, then hooks, then tasks", ORDER)
def order(ctx):
    spec = spec_of(ctx, tasks=2)
    x = Host(ctx, spec, (0,), (coordinator(),)).joined()
    y = Host(ctx, spec, (1,), (hook(),)).joined()
    for each in (x, y):
        each.start()
        each.restored()
        each.parts_restored()
    for each in (x, y):
        each.expect("run")
    number = begin(x)
    y.quiet()
    x.says(coordinator(), number, b"1")
    check(y.asked().round == number, "the hook is asked for another round")
    x.quiet()
    y.says(hook(), number)
    for each in (x, y):
        check(each.expect("trigger").round == number, "another round is triggered")
        each.ack(number)
    for each in (x, y):
        each.expect("complete", skip=("alive", "ask_external"))


@vector("what they gave comes back", MANIFEST)
def comes_back(ctx):
    x = alone(ctx)
    number = begin(x)
    give(x, number)
    x.ack(number)
    x.expect("complete", skip=("alive", "ask_external"))
    x.confirm(number)
    s = x.anew().start()
    check(s.snapshot == number, "from another snapshot: %s" % short(s))
    got = {e.external.kind: e.data for e in s.externals}
    check(got == {c.EXTERNAL_COORDINATOR: b"next: 7", c.EXTERNAL_HOOK: b"tag"}, short(s.externals))


@vector("a hook that gave nothing is reset", MANIFEST)
def gave_nothing(ctx):
    x = alone(ctx)
    number = begin(x)
    give(x, number, b"", b"")
    x.ack(number)
    x.expect("complete", skip=("alive", "ask_external"))
    x.confirm(number)
    s = x.anew().start()
    check([(e.external.kind, e.data) for e in s.externals] == [(c.EXTERNAL_COORDINATOR, b"")], short(s.externals))


def fails(name, part):
    @vector(name, ABORTS)
    def play(ctx):
        x = alone(ctx)
        number = begin(x)
        if part.kind == c.EXTERNAL_HOOK:
            x.says(coordinator(), number)
            x.asked()
        x.says(part, number, failed=b"disk full")
        m = x.expect("abort")
        check(m.round == number and m.code == w.ABORT_EXTERNAL and b"disk full" in m.reason and part.name in m.reason, short(m))
        number = begin(x)  # and the next one is another try
        give(x, number)
        x.ack(number)
        x.expect("complete", skip=("alive", "ask_external"))


fails("a coordinator fails the round", coordinator())
fails("a hook fails the round", hook())


@vector("a part that does not answer", ABORTS)
def silent(ctx):
    x = alone(ctx, deadline_ms=300)
    number = begin(x)
    m = x.expect("abort")
    check(m.round == number and b"coordinator of 'op'" in m.reason and b"deadline" in m.reason, short(m))
    r = ended(x, number)
    check([h.external for h in r.held_by][:1] == [coordinator()] and r.held_by[0].worker == x.name, short(r))
    x.says(coordinator(), number, b"late")
    x.alive()


@vector("the first answer counts", FIRST)
def first(ctx):
    x = alone(ctx)
    number = begin(x)
    x.says(coordinator(), number, b"first")
    x.says(coordinator(), number, b"second")
    x.says(coordinator(), number, failed=b"third")
    check(x.asked().external == hook(), "the hook is not asked")
    x.says(hook(), number)
    x.expect("trigger")
    x.ack(number)
    x.expect("complete", skip=("alive", "ask_external"))
    x.confirm(number)
    s = x.anew().start()
    check(s.externals[0].data == b"first", short(s.externals))


@vector("an answer that was not asked for", FIRST)
def unasked(ctx):
    x = alone(ctx)
    x.says(hook(), 99)
    number = begin(x)
    x.says(hook(), number, b"too early")  # it has not been asked yet
    x.says(coordinator(), number, attempt=x.attempt + 1)
    x.quiet()
    give(x, number)


@vector("a part that it does not host", WRONG)
def not_hosted(ctx):
    x = Host(ctx, spec_of(ctx), (0,), (coordinator(), hook())).run()
    x.says(hook(b"key"), 0)
    x.refused(c.REFUSED_MALFORMED)


@vector("an answer without a part", WRONG)
def without_a_part(ctx):
    x = alone(ctx)
    x.send(external=w.ExternalAnswer(attempt=x.attempt))
    x.refused(c.REFUSED_MALFORMED)


@vector("more than 1 MiB", WRONG)
def too_big(ctx):
    x = alone(ctx)
    number = begin(x)
    x.says(coordinator(), number, b"x" * ((1 << 20) + 1))
    x.refused(c.REFUSED_MALFORMED, "1 MiB")


@vector("1 MiB", SIZE)
def big(ctx):
    x = alone(ctx)
    number = begin(x)
    data = bytes(range(256)) * 4096
    give(x, number, data, data)
    x.ack(number)
    x.expect("complete", skip=("alive", "ask_external"))
    x.confirm(number)
    s = x.anew().start()
    check([e.data for e in s.externals] == [data, data], "other bytes come back")


@vector("more than 16 MiB in all", SIZE)
def too_big_in_all(ctx):
    hooks = [b"h%02d" % i for i in range(17)]
    x = Host(ctx, spec_of(ctx, coordinators=False, hooks=hooks), (0,), [hook(h) for h in hooks]).run()
    x.operation = ctx.checkpoint(x.spec.name)
    for _ in hooks:
        m = x.asked()
        x.says(m.external, m.round, b"x" * (1 << 20))
    m = x.expect("abort")
    check(m.code == w.ABORT_EXTERNAL and b"16 MiB" in m.reason, short(m))


@vector("asked again after a reconnect", AGAIN)
def asked_again(ctx):
    x = alone(ctx)
    number = begin(x)
    x.close()
    y = x.again(open=[w.OpenRound(round=number)])
    y.expect("joined")
    y.expect("resumed")
    m = y.expect("ask_external", skip=("alive", "run"))
    check((m.round, m.external) == (number, coordinator()), short(m))
    give(y, number)


@vector("an aborted round is told to who was asked", KNOWS)
def told(ctx):
    x = alone(ctx)
    number = begin(x)
    ctx.admin2().ask(cancel=a.CancelJob(job=x.spec.name))
    check(x.expect("abort").round == number, "another round is aborted")
    x.expect("stop")


@vector("no other round begins while parts are asked", ALONE)
def no_other(ctx):
    x = alone(ctx, max_concurrent=2)
    number = begin(x)
    ctx.checkpoint(x.spec.name)
    x.quiet()
    give(x, number)
    check(x.asked().round > number, "the second one does not begin")


@vector("acks release", RELEASE)
def release(ctx):
    spec = spec_of(ctx, tasks=2, hooks=())
    x = Host(ctx, spec, (0,), (coordinator(),)).joined()
    y = Host(ctx, spec, (1,)).joined()
    for each in (x, y):
        each.start()
        each.restored()
        each.parts_restored()
    for each in (x, y):
        each.expect("run")
    number = begin(x)
    x.says(coordinator(), number)
    for each in (x, y):
        each.expect("trigger")
    y.ack(number)
    m = x.asked(w.EXTERNAL_RELEASE)
    check(m.round == number and m.external == coordinator() and list(m.tasks) == wire.ranges([1]), short(m))
    x.ack(number)
    x.expect("complete", skip=("alive", "ask_external"))


@vector("a release is said again after a reconnect", "Complete and Abort release all. It needs no answer; after a reconnect it is said again.")
def release_again(ctx):
    spec = spec_of(ctx, tasks=2, hooks=())
    x = Host(ctx, spec, (0,), (coordinator(),)).joined()
    y = Host(ctx, spec, (1,)).joined()
    for each in (x, y):
        each.start()
        each.restored()
        each.parts_restored()
    for each in (x, y):
        each.expect("run")
    number = begin(x)
    x.says(coordinator(), number)
    for each in (x, y):
        each.expect("trigger")
    y.ack(number)
    x.asked(w.EXTERNAL_RELEASE)
    x.close()
    z = x.again(open=[w.OpenRound(round=number)])
    z.expect("joined")
    m = z.expect("ask_external", skip=("alive", "run", "resumed", "trigger"))
    check((m.phase, m.round, list(m.tasks)) == (w.EXTERNAL_RELEASE, number, wire.ranges([1])), short(m))


@vector("a worker with other parts than its token's", "A worker that joins with a token names the same parts as before.")
def other_parts(ctx):
    x = alone(ctx)
    x.close()
    x.externals = x.externals[:1]
    y = x.again()
    check(y.receive().WhichOneof("msg") in ("rewind", "refused"), "it goes on with fewer parts")


@vector("who takes over restores the parts", LOST)
def takes_over(ctx):
    x = alone(ctx)
    number = begin(x)
    give(x, number)
    x.ack(number)
    x.expect("complete", skip=("alive", "ask_external"))
    x.confirm(number)
    x.send(leave=w.Leave())
    y = Host(ctx, x.spec, (0,), x.externals).joined()
    check({e.data for e in y.start().externals} == {b"next: 7", b"tag"}, "the parts are not restored")

"""Rendezvous rounds: Prepare, Position, Cut, Standing, SnapshotNow, in order, out of order, twice and from the wrong
worker."""
import time

from peer import Worker, check, make_spec, short, vector
from wire import c, w
from proto import admin_pb2 as a

ORDER = "In place of Trigger:"
FIRST = "The first report of a task counts."
CUT = "Cut: the largest position reported + window."
NONE = "how many positions further than the one that it reports a task may go before it knows the cut (0: none; the spec's default is 2)"
SETS = "Positions and standings are sets, as acks are."
MALFORMED = "Position with columns of unequal length, a position above 2^62, and in both messages a task of another worker, is MALFORMED."
LATE = "Of another attempt or round, or late, it is ignored."
EARLY = "Standing before the Cut, an AckBatch before SnapshotNow, and a Position or Standing of a round that is none of these, is refused with STATE."
AGAIN = "After a reconnect the daemon says again Prepare, Cut and SnapshotNow, as far as the round has come"
ANY = "Everything after that is as in any round too: deadline, decline, abort, completion, effects."
NAMES = "An abort names those that kept the round from its next step: who had not reported, who was not at the cut, who had not acked."
ENDED = "A task that has ended is asked nothing."


class Meeter(Worker):
    """A worker that speaks version 2, of a job of rendezvous rounds."""

    def welcomed(self, **changes):
        return super().welcomed(version_max=2, **changes)

    def again(self, **changes):
        other = Meeter(self.ctx, self.spec, self.tasks, self.name)
        other.host, other.token, other.attempt = self.host, self.token, self.attempt
        other.welcomed()
        other.join(**dict(dict(token=self.token, phase=w.PHASE_RUNNING), **changes))
        return other

    def at(self, number, *positions, tasks=None, attempt=None):
        self.send(position=w.Position(attempt=attempt or self.attempt, round=number,
                                      task=self.tasks if tasks is None else tasks, position=positions))

    def stand(self, number, tasks=None, attempt=None):
        ranges = [c.TaskRange(first=t, count=1) for t in (self.tasks if tasks is None else tasks)]
        self.send(standing=w.Standing(attempt=attempt or self.attempt, round=number, tasks=ranges))

    def prepared(self):
        p = self.expect("prepare")
        check(p.attempt == self.attempt and p.directory.startswith(b"/") and p.left_ms > 0, short(p))
        return p

    def cut(self, number):
        m = self.expect("cut")
        check((m.attempt, m.round) == (self.attempt, number), short(m))
        return m.position

    def now(self, number):
        m = self.expect("snapshot_now")
        check((m.attempt, m.round) == (self.attempt, number), short(m))


def pair(ctx, prepared=True, **checkpointing):
    """Two workers with a task each; and the number of a round that has begun."""
    spec = make_spec(ctx.job(), ((b"op", 2),), style=c.STYLE_RENDEZVOUS, **checkpointing)
    both = Meeter(ctx, spec, (0,)).joined(), Meeter(ctx, spec, (1,)).joined()
    for x in both:
        x.start()
        x.restored()
    for x in both:
        x.expect("run")
    if not prepared:
        return both
    both[0].operation = ctx.checkpoint(spec.name)
    numbers = {x.prepared().round for x in both}
    check(len(numbers) == 1, "two rounds are prepared")
    return (*both, numbers.pop())


def at_the_cut(ctx):
    x, y, n = pair(ctx)
    x.at(n, 7)
    y.at(n, 8)
    for each in (x, y):
        check(each.cut(n) == 10, "the cut is at another position")
    return x, y, n


def aborted(ctx, x, *names):
    admin, end = ctx.admin2(), time.monotonic() + 10
    while True:  # the abort is told before it is durable
        m = admin.ask(rounds=a.ListRounds(job=x.spec.name, limit=1)).rounds.rounds[0]
        if m.state == b"aborted" or time.monotonic() > end:
            break
        time.sleep(0.02)
    check(m.state == b"aborted" and m.style == c.STYLE_RENDEZVOUS, short(m))
    check([(h.task, h.phase.decode()) for h in m.held_by] == list(names), "held by %s" % short(m))


@vector("a round", ORDER)
def a_round(ctx):
    x, y, n = at_the_cut(ctx)
    x.stand(n)
    x.quiet()
    y.stand(n)
    for each in (x, y):
        each.now(n)
        each.ack(n)
    for each in (x, y):
        check(each.complete(n).commits, "it commits nothing")
        each.confirm(n)
    d = ctx.admin2().ask(snapshot=a.ShowSnapshot(snapshot=n)).snapshot.info
    check(d.style == c.STYLE_RENDEZVOUS, short(d))


@vector("a worker of version 1 cannot host it", "A Join for a job whose spec needs version 2 is answered by VERSION there.")
def version(ctx):
    x = Worker(ctx, make_spec(ctx.job(), style=c.STYLE_RENDEZVOUS))
    x.welcomed()
    x.join()
    x.refused(c.REFUSED_VERSION)


@vector("the cut waits for every position", ORDER)
def waits(ctx):
    x, y, n = pair(ctx)
    x.at(n, 5)
    x.quiet()
    y.at(n, 0)
    check(x.cut(n) == 7, "the cut is at another position")


@vector("no window", NONE)
def no_window(ctx):
    x, y, n = pair(ctx, window=4294967295)
    x.at(n, 0)
    y.at(n, 0)
    check(x.cut(n) == 0 and y.cut(n) == 0, "the cut is at another position")


@vector("a window of one's own", CUT)
def window(ctx):
    x, y, n = pair(ctx, window=1000)
    x.at(n, 3)
    y.at(n, 1 << 62)
    check(x.cut(n) == (1 << 62) + 1000, "the cut is at another position")


@vector("the first report counts", FIRST)
def first(ctx):
    x, y, n = pair(ctx)
    x.at(n, 5)
    x.at(n, 500)
    y.at(n, 6)
    check(x.cut(n) == 8, "the second report counted")
    x.at(n, 900)
    x.quiet()


@vector("said twice", SETS)
def twice(ctx):
    x, y, n = pair(ctx)
    for _ in range(3):
        x.at(n, 5)
    x.quiet()
    y.at(n, 5)
    for each in (x, y):
        each.cut(n)
    for _ in range(3):
        x.stand(n)
    x.quiet()
    y.stand(n)
    x.now(n)


def wrong(name, says, code, names, play, prepare=pair):
    @vector(name, says)
    def vector_of(ctx):
        x, y, n = prepare(ctx)
        play(x, y, n)
        x.refused(code, *names)
        y.quiet()


wrong("unequal columns", MALFORMED, c.REFUSED_MALFORMED, ("unequal length",),
      lambda x, y, n: x.at(n, 1, 2))
wrong("a column that is empty", MALFORMED, c.REFUSED_MALFORMED, ("unequal length",), lambda x, y, n: x.at(n))
wrong("a position too high", MALFORMED, c.REFUSED_MALFORMED, ("2^62",), lambda x, y, n: x.at(n, (1 << 62) + 1))
wrong("a position of another's task", MALFORMED, c.REFUSED_MALFORMED, ("another worker",),
      lambda x, y, n: x.at(n, 1, tasks=[1]))
wrong("a position of no task", MALFORMED, c.REFUSED_MALFORMED, ("another worker",),
      lambda x, y, n: x.at(n, 1, tasks=[2]))
wrong("another's task stands", MALFORMED, c.REFUSED_MALFORMED, ("another worker",),
      lambda x, y, n: x.stand(n, tasks=[1]), at_the_cut)
wrong("standing before the cut", EARLY, c.REFUSED_STATE, ("before its Cut",), lambda x, y, n: x.stand(n))
wrong("an ack before the snapshot", EARLY, c.REFUSED_STATE, ("before its SnapshotNow",),
      lambda x, y, n: x.ack(n), at_the_cut)
wrong("an ack before the cut", EARLY, c.REFUSED_STATE, ("before its SnapshotNow",), lambda x, y, n: x.ack(n))


@vector("a position in a flow", EARLY)
def in_a_flow(ctx):
    x = Meeter(ctx, make_spec(ctx.job()))
    x.run()
    n = x.trigger().round
    x.at(n, 1)
    x.refused(c.REFUSED_STATE, "no rendezvous round")


@vector("of another round or attempt", LATE)
def others(ctx):
    x, y, n = pair(ctx)
    for number, attempt in ((n + 1, 1), (1 << 60, 1), (n, 2), (n, 1 << 60)):
        x.at(number, 900, attempt=attempt)
        x.stand(number, attempt=attempt)
    x.quiet()
    x.at(n, 1)
    y.at(n, 1)
    check(x.cut(n) == 3, "one of them was believed")


@vector("late", LATE)
def late(ctx):
    x, y, n = at_the_cut(ctx)
    x.decline(n)
    for each in (x, y):
        check(each.expect("abort").code == w.ABORT_DECLINED, "another code")
    for each in (x, y):
        each.at(n, 9)
        each.stand(n)
        each.ack(n)
        each.quiet()


@vector("a decline", ANY)
def declined(ctx):
    x, y, n = at_the_cut(ctx)
    y.decline(n)
    check(x.expect("abort").round == n, "another round")
    aborted(ctx, x, (0, "on its way to 10"), (1, "on its way to 10"))


@vector("a deadline names who has not reported", NAMES)
def deadline_positions(ctx):
    x, y, n = pair(ctx, deadline_ms=300)
    x.at(n, 3)
    check(x.expect("abort").code == w.ABORT_DEADLINE, "another code")
    aborted(ctx, x, (1, "not at a safe point yet"))


@vector("a deadline names who is not at the cut", NAMES)
def deadline_cut(ctx):
    x, y, n = pair(ctx, deadline_ms=500)
    x.at(n, 3)
    y.at(n, 3)
    x.cut(n)
    x.stand(n)
    y.cut(n)
    y.send(barrier=w.Barrier(attempt=1, round=n, tasks=[w.TaskProgress(task=1, phase=w.TASK_WAITING, position=4)]))
    check(y.expect("abort").code == w.ABORT_DEADLINE, "another code")
    aborted(ctx, x, (1, "at 4, on its way to 5"))


@vector("told again after a reconnect", AGAIN)
def again(ctx):
    x, y, n = pair(ctx)
    x.at(n, 3)
    x.close()
    z = x.again(open=[w.OpenRound(round=n)])
    for kind in ("joined", "resumed", "run"):
        z.expect(kind)
    check(z.prepared().round == n, "another round")
    y.at(n, 3)
    z.cut(n)
    z.stand(n)
    y.cut(n)
    y.stand(n)
    z.now(n)
    z.close()
    z = z.again(open=[w.OpenRound(round=n)])
    for kind in ("joined", "resumed", "run", "prepare", "cut", "snapshot_now"):
        z.expect(kind)
    y.now(n)
    z.ack(n)
    y.ack(n)
    z.complete(n)


@vector("a task that has ended is asked nothing", ENDED)
def ended(ctx):
    x, y = pair(ctx, prepared=False)
    y.send(finished=w.TaskFinished(attempt=1, tasks=y.mine()))
    y.alive()
    for last in (False, True):
        ctx.checkpoint(x.spec.name)
        n = x.prepared().round
        y.prepared()
        x.at(n, 5)
        if not last:
            y.at(n, 2)
        x.cut(n)
        y.cut(n)
        x.stand(n)
        if not last:
            y.stand(n)
        x.now(n)
        y.now(n)
        x.ack(n)
        if not last:
            y.ack(n)
        m = x.complete(n)
        check([(r.first, r.count) for r in m.ended] == [(1, 1)], "ended: %s" % short(m))
        y.complete(n)
        x.confirm(n)
        y.confirm(n)


@vector("one at a time", "One such round is under way at a time, and no other beside it.")
def one_at_a_time(ctx):
    x, y, n = at_the_cut(ctx)
    admin = ctx.admin2()
    check(admin.ask(savepoint=a.TriggerSavepoint(job=x.spec.name)).WhichOneof("result") == "operation", "no savepoint")
    x.quiet()
    x.stand(n)
    y.stand(n)
    for each in (x, y):
        each.now(n)
        each.ack(n)
    for each in (x, y):
        each.complete(n)
        check(each.prepared().kind == c.ROUND_SAVEPOINT, "another kind")

"""Regional failover: who is rewound, who advances, and under which attempt each may speak."""
from peer import Worker, check, make_spec, short, vector
from wire import c, w

REGION = "with an edge from all to all every task of both operators, with pointwise edges the tasks of one subtask number."
SPEC = "A spec with `regional` is refused if its rounds are rendezvous rounds"
UNION = "if an operator with union list state has tasks in several regions"
WHOLE = "A worker is rewound as a whole: one that hosts tasks of two regions makes them one."
ABORT = "The rounds under way abort, but for one whose commit is with the store."
HEAR = "hear nothing, compute, publish and confirm as before. No round begins."
START = "Workers of the region get `Start`, from the newest snapshot; survivors get `Advance`:"
RUN = "When the region has restored, every survivor has advanced and every hook has answered, and that is durable, every worker gets `Run`"
UNTIL = "Until a survivor has advanced, what it says under an earlier attempt counts, down to the one that it was started in."
STALE = "What a worker that was rewound says under them does not."
BACK = "A survivor that joins with a token of such an attempt gets `Joined`, `Resumed` and `Run` for that attempt, then `Advance`"
CONFIRMS = "that it joins with a token of a+1 confirms a+1 as `Advanced` does."
MEANWHILE = "A worker that is lost meanwhile, or whose restore fails, takes its region along, and attempt a+2 starts both"
EXTERNAL = "`external` is that of the tasks that are started"
ALL = "All workers are rewound when none survives"


class Regional(Worker):
    """A worker that speaks version 2, of a job with regions."""

    def welcomed(self, **changes):
        return super().welcomed(version_max=2, **changes)

    def again(self, **changes):
        other = Regional(self.ctx, self.spec, self.tasks, self.name)
        other.host, other.token, other.attempt = self.host, self.token, self.attempt
        other.welcomed()
        other.join(**dict(dict(token=self.token, phase=w.PHASE_RUNNING), **changes))
        return other

    def advance(self, confirm=True):
        m = self.expect("advance", skip=("alive", "complete"))
        check(getattr(m, "from") <= self.attempt, short(m))
        check(m.token.attempt > self.attempt and m.directory.startswith(b"/"), short(m))
        self.advanced = m
        self.token, self.attempt = m.token, m.token.attempt
        if confirm:
            self.send(advanced=w.Advanced(attempt=self.attempt))
        return m

    def leave(self):
        self.send(leave=w.Leave(reason=b"the vector wants it"))
        self.ends()


def regional(ctx, n, edges=(), operators=None, **checkpointing):
    """So many tasks in as many workers, running."""
    spec = make_spec(ctx.job(), operators or ((b"op", n),), regional=True, **checkpointing)
    for f, t, pattern in edges:
        spec.edges.add(**{"from": f, "to": t, "pattern": pattern})
    workers = [Regional(ctx, spec, (t,)).joined() for t in range(n)]
    for x in workers:
        x.start()
        x.restored()
    for x in workers:
        x.expect("run")
    return workers


def good_round(ctx, workers):
    ctx.checkpoint(workers[0].spec.name)
    numbers = {x.expect("trigger", skip=("alive", "complete")).round for x in workers}
    number = numbers.pop()
    check(not numbers, "one round has several numbers")
    for x in workers:
        x.ack(number)
    for x in workers:
        x.complete(number)
        x.confirm(number)
    return number


def replace(old):
    new = Regional(old.ctx, old.spec, old.tasks, old.name).joined()
    new.start()
    return new


@vector("the others advance", START)
def _(ctx):
    one, two = regional(ctx, 2)
    number = good_round(ctx, (one, two))
    two.leave()
    one.quiet()
    two = replace(two)
    m = one.advance()
    check(two.start_message.snapshot == m.snapshot == number, "restored is %d, advanced %d, complete %d" % (
        two.start_message.snapshot, m.snapshot, number))
    check([(r.first, r.count) for r in m.rewound] == [(1, 1)], short(m))
    check({p.worker for p in m.peers} == {one.name, two.name}, short(m))
    check(two.attempt == one.attempt == 2, "attempts %d and %d" % (one.attempt, two.attempt))
    two.restored()
    one.expect("run", skip=("alive", "complete"))
    two.expect("run")
    check(good_round(ctx, (one, two)) > number, "no further round")


@vector("the number for the outside", EXTERNAL)
def _(ctx):
    one, two = regional(ctx, 2)
    before = one.token.external
    two.leave()
    two = replace(two)
    m = one.advance()
    check(m.token.external == two.token.external > before, short(m))


@vector("the round under way aborts", ABORT)
def _(ctx):
    one, two = regional(ctx, 2)
    ctx.checkpoint(one.spec.name)
    number = one.expect("trigger").round
    two.expect("trigger")
    one.ack(number)
    two.leave()
    m = one.expect("abort")
    check((m.round, m.attempt) == (number, 1), short(m))


@vector("survivors are left alone", HEAR)
def _(ctx):
    one, two, three = regional(ctx, 3)
    two.leave()
    one.quiet()
    three.alive()
    ctx.checkpoint(one.spec.name)  # waits
    one.quiet()


@vector("columns of pointwise edges", REGION)
def _(ctx):
    workers = regional(ctx, 4, ((b"a", b"b", c.EDGE_POINTWISE),), ((b"a", 2), (b"b", 2)))
    workers[1].leave()
    check(workers[3].expect("rewind").attempt == 1, "b[1] is told something else")
    workers[0].quiet()
    workers[2].quiet()


@vector("an edge from all to all", ALL)
def _(ctx):
    workers = regional(ctx, 4, ((b"a", b"b", c.EDGE_ALL_TO_ALL),), ((b"a", 2), (b"b", 2)))
    workers[1].leave()
    for x in (workers[0], workers[2], workers[3]):
        x.expect("rewind")


@vector("a worker with tasks of two regions", WHOLE)
def _(ctx):
    spec = make_spec(ctx.job(), ((b"op", 3),), regional=True)
    both, other = Regional(ctx, spec, (0, 1)).joined(), Regional(ctx, spec, (2,)).joined()
    for x in (both, other):
        x.start()
        x.restored()
    for x in (both, other):
        x.expect("run")
    both.leave()
    other.quiet()
    both = replace(both)
    check([(r.first, r.count) for r in other.advance().rewound] == [(0, 2)], short(other.advanced))


@vector("it runs when all have advanced", RUN)
def _(ctx):
    one, two, three = regional(ctx, 3)
    three.leave()
    three = replace(three)
    three.restored()
    one.advance()
    two.advance(confirm=False)
    three.quiet()
    two.send(advanced=w.Advanced(attempt=1))  # that of before
    three.quiet()
    two.send(advanced=w.Advanced(attempt=2))
    for x in (one, two, three):
        x.expect("run", skip=("alive", "complete"))


@vector("a confirm under the old attempt", UNTIL)
def _(ctx):
    one, two = regional(ctx, 2)
    ctx.checkpoint(one.spec.name)
    number = one.expect("trigger").round
    two.expect("trigger")
    ack = w.AckBatch(attempt=1, round=number)
    ack.full.add(task=0, handle=b"h")
    one.send(ack=ack)
    ack = w.AckBatch(attempt=1, round=number)  # without a file, which would be missed by the third attempt
    ack.full.add(task=1)
    two.send(ack=ack)
    one.complete(number)
    two.complete(number)
    two.leave()
    one.confirm(number)  # what it is owed, in attempt 1
    two = replace(two)
    one.advance()
    two.restored()
    one.expect("run", skip=("alive", "complete"))
    two.expect("run")
    one.leave()  # and is not owed any more
    one = replace(one)
    check(not any(t.owed for t in one.start_message.tasks), short(one.start_message))


@vector("a rewound worker is not heard", STALE)
def _(ctx):
    one, two, three, four = regional(ctx, 4, ((b"a", b"b", c.EDGE_POINTWISE),), ((b"a", 2), (b"b", 2)))
    two.leave()
    four.expect("rewind")
    four.send(finished=w.TaskFinished(attempt=1, tasks=four.mine()))
    four.confirm(1)
    four.join()
    four.expect("joined")
    two = replace(two)
    four.start()
    check(two.start_message.ended == four.start_message.ended and not len(four.start_message.ended), "ended")
    four.send(finished=w.TaskFinished(attempt=1, tasks=four.mine()))
    four.restored()
    two.restored()
    one.advance()
    three.advance()
    four.expect("run")
    ctx.checkpoint(one.spec.name)
    check(four.expect("trigger").attempt == 2, "a trigger of another attempt")


@vector("a survivor that was away", BACK)
def _(ctx):
    one, two = regional(ctx, 2)
    one.close()
    two.leave()
    two = replace(two)
    two.restored()
    two.quiet()
    one = one.again()
    one.expect("joined")
    check(one.expect("resumed").attempt == 1, "it joined with attempt 1")
    check(one.expect("run").attempt == 1, "it joined with attempt 1")
    one.advance()
    check(one.expect("run", skip=("alive", "complete")).attempt == 2, "attempt 2 runs")
    two.expect("run")


@vector("a token of the new attempt confirms", CONFIRMS)
def _(ctx):
    one, two = regional(ctx, 2)
    two.leave()
    two = replace(two)
    two.restored()
    one.advance(confirm=False)
    two.quiet()
    one.close()
    one = one.again()
    one.expect("joined")
    check(one.expect("resumed").attempt == 2, "it joined with attempt 2")
    two.expect("run")
    one.expect("run", skip=("alive", "complete"))


@vector("lost in the middle of it", MEANWHILE)
def _(ctx):
    one, two, three = regional(ctx, 3)
    three.leave()
    three = replace(three)
    one.advance()
    two.advance()
    three.leave()
    one.quiet()
    three = replace(three)
    check((one.advance().token.attempt, two.advance().token.attempt, three.attempt) == (3, 3, 3), "attempt 3")
    three.restored()
    for x in (one, two, three):
        x.expect("run", skip=("alive", "complete"))


@vector("rendezvous rounds have no regions", SPEC)
def _(ctx):
    spec = make_spec(ctx.job(), ((b"op", 2),), regional=True, style=c.STYLE_RENDEZVOUS)
    x = Regional(ctx, spec).welcomed()
    x.join()
    x.refused(c.REFUSED_SPEC, "regional", "rendezvous")


@vector("union list state in several regions", UNION)
def _(ctx):
    spec = make_spec(ctx.job(), ((b"op", 2),), regional=True)
    spec.operators[0].union_state = True
    x = Regional(ctx, spec).welcomed()
    x.join()
    x.refused(c.REFUSED_SPEC, "regional", "op", "2 regions")

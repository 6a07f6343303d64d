"""Shared artifacts: declared, referred to, and refused in every way."""
from peer import Worker, check, make_spec, short, vector
from proto import admin_pb2 as a
from wire import c, w

FORM = "each number without zeros in front: its key."
AGAIN = "SHARED_AGAIN refers to one that was declared so in a checkpoint that is complete, with the size and the digest that it had then"
FULL = "In a round with full, and of a task in full_tasks, everything is new. A savepoint has no shared artifact at all."
NOTHING = "What was declared in a round that came to nothing is not referred to: the daemon deletes it."
BREAKS = "An ack that breaks one of these rules, a key that is taken, another size or digest abort the round (ABORT_SHARED)"
MALFORMED = "A path that is no such key, inline bytes, or records in flight make the batch MALFORMED."
START = "or to what its Start gave it, if shared_directory is the directory above directory"


class Sharer(Worker):
    """A worker that speaks version 2."""

    def welcomed(self, **changes):
        return super().welcomed(version_max=2, **changes)

    def key(self, t, index=0, task=None):
        """Of a file written for the round."""
        parts = t.directory.split(b"/")[-2:]
        return b"/".join(parts) + b"/s%d-%d" % (self.tasks[0] if task is None else task, index)

    def share(self, t, *artifacts, task=None):
        full = w.TaskAck(task=self.tasks[0] if task is None else task, artifacts=artifacts)
        self.send(ack=w.AckBatch(attempt=self.attempt, round=t.round, full=[full]))

    def done(self, t):
        self.complete(t.round)
        self.confirm(t.round)

    def aborted(self, t, *words):
        m = self.expect("abort")
        check((m.round, m.code) == (t.round, w.ABORT_SHARED), short(m))
        check(all(word in m.reason for word in words), "%r, in %r" % (words, m.reason))


def new(key, size=5, digest=7, **more):
    return c.Artifact(path=key, size=size, digest_low=digest, shared=c.SHARED_NEW, **more)


def again(key, size=5, digest=7, **more):
    return c.Artifact(path=key, size=size, digest_low=digest, shared=c.SHARED_AGAIN, **more)


def sharer(ctx, tasks=1, **checkpointing):
    return Sharer(ctx, make_spec(ctx.job(), ((b"op", tasks),), **checkpointing), tuple(range(tasks))).run()


@vector("declared, then referred to", AGAIN)
def referred(ctx):
    x = sharer(ctx)
    t = x.trigger()
    one = x.key(t)
    x.share(t, new(one))
    x.done(t)
    for index in range(2):
        t = x.trigger()
        x.share(t, again(one), new(x.key(t, index)))
        x.done(t)


def refused(name, says, artifacts, *words):
    @vector(name, says)
    def play(ctx):
        x = sharer(ctx)
        first = x.trigger()
        x.share(first, new(x.key(first)))
        x.done(first)
        t = x.trigger()
        x.share(t, *artifacts(x, first, t))
        x.aborted(t, b"op[0]", *words)
        t = x.trigger()
        check([(r.first, r.count) for r in t.full_tasks] == [(0, 1)], "full_tasks: %s" % short(t))
        x.share(t, new(x.key(t)))
        x.done(t)
        t = x.trigger()
        check(not t.full_tasks, short(t))


refused("a reference to what is not known", BREAKS, lambda x, first, t: [again(x.key(first, 9))], b"not known")
refused("a reference to this round's own", AGAIN, lambda x, first, t: [new(x.key(t)), again(x.key(t))], b"not known")
refused("a reference with another size", AGAIN, lambda x, first, t: [again(x.key(first), size=6)], b"size")
refused("a reference with another digest", AGAIN, lambda x, first, t: [again(x.key(first), digest=8)], b"digest")
refused("a key that is taken", BREAKS, lambda x, first, t: [new(x.key(t)), new(x.key(t))], b"taken")
refused("a new file in another round's directory", BREAKS, lambda x, first, t: [new(x.key(first, 1))], b"directory")


@vector("a full checkpoint", FULL)
def full(ctx):
    x = sharer(ctx)
    t = x.trigger()
    one = x.key(t)
    x.share(t, new(one))
    x.done(t)
    ctx.admin2().ask(checkpoint=a.TriggerCheckpoint(job=x.spec.name, full=True))
    t = x.expect("trigger")
    check(t.full, short(t))
    x.share(t, again(one))
    x.aborted(t, b"op[0]", b"full")


@vector("a round that came to nothing", NOTHING)
def nothing(ctx):
    x = sharer(ctx, tasks=2)
    t = x.trigger()
    one = x.key(t)
    x.share(t, new(one))
    x.decline(t.round, task=1)
    x.expect("abort")
    t = x.trigger()
    x.share(t, again(one))
    x.aborted(t, b"op[0]", b"not known")


def malformed(name, says, artifact):
    @vector("malformed: " + name, says)
    def play(ctx):
        x = sharer(ctx)
        t = x.trigger()
        x.share(t, artifact(x, t))
        x.refused(c.REFUSED_MALFORMED)


malformed("a path of another form", MALFORMED, lambda x, t: new(b"t0-0"))
malformed("a path upwards", MALFORMED, lambda x, t: new(b"../" + x.key(t)))
malformed("a number with a zero in front", FORM, lambda x, t: new(x.key(t)[:-1] + b"00"))
malformed("an absolute path", MALFORMED, lambda x, t: new(b"/" + x.key(t)))
malformed("inline bytes", MALFORMED, lambda x, t: c.Artifact(inline=b"12345", size=5, shared=c.SHARED_NEW))
malformed("records in flight", MALFORMED, lambda x, t: new(x.key(t), flight=c.FLIGHT_INPUT))
malformed("a number that is no Shared", MALFORMED,
          lambda x, t: c.Artifact(path=x.key(t), size=5, shared=3))


@vector("what is restored goes on to be referred to", START)
def restored(ctx):
    x = sharer(ctx)
    t = x.trigger()
    one = x.key(t)
    x.share(t, new(one))
    x.done(t)
    x.send(leave=w.Leave(reason=b"done"))
    x.close()
    y = Sharer(ctx, x.spec, x.tasks).joined()
    s = y.start()
    file = s.tasks[0].artifacts[0]
    check(s.snapshot == t.round and file.path == one and file.shared and file.size == 5, short(s))
    check(s.directory.startswith(s.shared_directory + b"/"), short(s))
    y.restored()
    y.expect("run")
    t = y.trigger()
    y.share(t, again(one))
    y.done(t)

"""The job's spec: what is checked, and what a different one is told."""
from peer import Worker, make_spec, check, vector
import wire
from wire import c

CHECKED = "The first rule that a spec breaks is named in Refused{SPEC}"
NAME = "the name (1 to 255 of A-Z a-z 0-9 . _ -, no leading dot)"
CYCLE = "no cycle (it is named in the refusal)"
DIFFERS = "Refused{SPEC} names the first difference from the spec in force"
ALL, POINT = c.EDGE_ALL_TO_ALL, c.EDGE_POINTWISE


def refused_spec(ctx, spec, *names):
    x = Worker(ctx, spec).welcomed()
    x.join()
    x.refused(c.REFUSED_SPEC, *names)


def job_name(title, name, named):
    @vector("name: " + title, NAME)
    def play(ctx):
        refused_spec(ctx, make_spec(name), named)


job_name("empty", b"", "name")
job_name("a leading dot", b".x", "dot")
job_name("a slash", b"a/b", "a/b")
job_name("a space", b"a b", "a b")
job_name("256 bytes", b"x" * 256, "256")
job_name("UTF-8", "jöb".encode(), "jöb")
job_name("not UTF-8", b"j\xffb", "name")
job_name("with NUL", b"a\0b", "name")
job_name("two dots", b"..", "dot")


@vector("name: 255 bytes", NAME)
def longest_name(ctx):
    name = ctx.job()
    Worker(ctx, make_spec(name + b"x" * (255 - len(name)))).joined()


@vector("name: of Join another than that of the spec", "Join.job and the spec's name are the same")
def two_names(ctx):
    x = ctx.worker().welcomed()
    x.join(job=b"another")
    x.refused(c.REFUSED_SPEC, "another", x.spec.name.decode())


@vector("neither spec nor fingerprint", "A Join with neither is Refused{SPEC}")
def neither(ctx):
    x = ctx.worker().welcomed()
    x.join(spec=None)
    x.refused(c.REFUSED_SPEC, "neither")


def bad(title, *names, operators=((b"op", 1, 0),), edges=()):
    @vector("refused: " + title, CYCLE if "cycle" in title else CHECKED)
    def play(ctx):
        spec = c.JobSpec(name=ctx.job(),
                         operators=[c.Operator(uid=u, parallelism=p, max_parallelism=m) for u, p, m in operators],
                         edges=[wire.edge(f, t, p) for f, t, p in edges])
        refused_spec(ctx, spec, *names)


def ops(*uids):
    return [(u, 1, 0) for u in uids]


bad("no operators", "no operators", operators=())
bad("4,097 operators", "4097", "4096", operators=ops(*(b"%d" % i for i in range(4097))))
bad("an operator without uid", "uid", operators=ops(b""))
bad("a uid of 256 bytes", "256", operators=ops(b"u" * 256))
bad("a uid that is not UTF-8", "uid", operators=ops(b"\xff"))
bad("a uid with NUL", "uid", operators=ops(b"a\0b"))
bad("a uid twice", "twin", operators=ops(b"twin", b"x", b"twin"))
bad("parallelism 0", "parallelism 0", "'op'", operators=[(b"op", 0, 0)])
bad("parallelism 1,048,577", "1048577", operators=[(b"op", 1048577, 0)])
bad("parallelism 2^32 - 1", "4294967295", operators=[(b"op", 0xFFFFFFFF, 0)])
bad("max parallelism below the parallelism", "'op'", "max parallelism 3", operators=[(b"op", 4, 3)])
bad("max parallelism 1,048,577", "1048577", operators=[(b"op", 4, 1048577)])
bad("2,097,153 tasks", "2097153", operators=[(b"a", 1048576, 0), (b"b", 1048576, 0), (b"c", 1, 0)])
bad("an edge from nowhere", "'gone'", edges=[(b"gone", b"op", ALL)])
bad("an edge to nowhere", "'gone'", edges=[(b"op", b"gone", ALL)])
bad("an edge twice", "'a'", "'b'", operators=ops(b"a", b"b"), edges=[(b"a", b"b", ALL), (b"a", b"b", ALL)])
bad("an edge without pattern", "pattern 0", operators=ops(b"a", b"b"), edges=[(b"a", b"b", 0)])
bad("an edge of pattern 9", "pattern 9", operators=ops(b"a", b"b"), edges=[(b"a", b"b", 9)])
bad("a pointwise edge of unequal ends", "'a'", "'b'", "2", "3",
    operators=[(b"a", 2, 0), (b"b", 3, 0)], edges=[(b"a", b"b", POINT)])
bad("16,385 edges", "16385", operators=ops(*(b"%d" % i for i in range(200))),
    edges=[(b"%d" % (i // 199), b"%d" % (i % 199 + (i % 199 >= i // 199)), ALL) for i in range(16385)])
bad("a cycle of one", "cycle", "'op' -> 'op'", edges=[(b"op", b"op", ALL)])
bad("a cycle of two", "cycle", "'a' -> 'b' -> 'a'", operators=ops(b"a", b"b"),
    edges=[(b"a", b"b", ALL), (b"b", b"a", ALL)])
bad("a cycle behind a source", "cycle", "'y'", "'z'", operators=ops(b"a", b"x", b"y", b"z"),
    edges=[(b"a", b"x", ALL), (b"x", b"y", ALL), (b"y", b"z", ALL), (b"z", b"y", ALL)])
bad("a cycle of 300", "cycle", "more", operators=ops(*(b"%03d" % i for i in range(300))),
    edges=[(b"%03d" % i, b"%03d" % ((i + 1) % 300), ALL) for i in range(300)])


def bad_number(title, *names, **numbers):
    @vector("checkpointing: " + title, "Checkpointing values are checked together")
    def play(ctx):
        refused_spec(ctx, make_spec(ctx.job(), **numbers), *names)


bad_number("interval 9 ms", "interval_ms", "10", interval_ms=9)
bad_number("heartbeat 9 ms", "heartbeat_ms", heartbeat_ms=9)
bad_number("progress 9 ms", "progress_ms", progress_ms=9)
bad_number("a lease of two heartbeats", "lease_ms", "heartbeat", lease_ms=2000, heartbeat_ms=1000)
bad_number("a lease below three default heartbeats", "lease_ms", lease_ms=2999)
bad_number("heartbeats above a third of the default lease", "lease_ms", heartbeat_ms=3334)
bad_number("a lease above a day", "lease_ms", "86400000", lease_ms=86400001)


def differs(title, change, *names):
    @vector("differs: " + title, DIFFERS)
    def play(ctx):
        spec = c.JobSpec(name=ctx.job(), operators=[c.Operator(uid=b"a", parallelism=2),
                                                    c.Operator(uid=b"b", parallelism=2)],
                         edges=[wire.edge(b"a", b"b", ALL)], checkpointing=c.Checkpointing(interval_ms=5000))
        first = Worker(ctx, spec, (0,)).joined()
        other = c.JobSpec()
        other.CopyFrom(spec)
        change(other)
        refused_spec(ctx, other, *names)
        first.alive()


def set_number(message, name, value):
    setattr(message, name, value)


differs("a parallelism", lambda s: set_number(s.operators[1], "parallelism", 3), "'b'", "parallelism", "2", "3")
# S134
differs("a max parallelism", lambda s: set_number(s.operators[0], "max_parallelism", 64), "'a'", "max parallelism", "64")
differs("an operator more", lambda s: s.operators.add(uid=b"c", parallelism=1), "'c'")
differs("an operator less", lambda s: (s.operators.pop(), s.edges.pop()), "'b'")
differs("an edge less", lambda s: s.edges.pop(), "'a'", "'b'", "edge")
differs("a pattern", lambda s: set_number(s.edges[0], "pattern", POINT), "'a'", "'b'", "pointwise")
differs("a checkpointing value", lambda s: set_number(s.checkpointing, "interval_ms", 6000), "interval_ms", "5000", "6000")
differs("a default that is written out", lambda s: set_number(s.checkpointing, "lease_ms", 10000), "lease_ms", "10000")
differs("no checkpointing at all", lambda s: s.ClearField("checkpointing"), "interval_ms")


@vector("the same in another order", "The order of operators and edges in a spec means nothing")
def other_order(ctx):
    name = ctx.job()
    operators, edges = ((b"a", 1), (b"b", 1), (b"ab", 1)), ((b"a", b"b"), (b"a", b"ab"), (b"ab", b"b"))
    spec = make_spec(name, operators, edges)
    other = make_spec(name, operators[::-1], edges[::-1])
    x, y = Worker(ctx, spec, (0, 1)).joined(), Worker(ctx, other, (2,)).joined()
    check(x.start().token == y.start().token, "two jobs")


@vector("an empty Checkpointing", "a Checkpointing with no field set left out")
def empty_checkpointing(ctx):
    name = ctx.job()
    x = Worker(ctx, make_spec(name, ((b"op", 2),)), (0,)).joined()
    other = make_spec(name, ((b"op", 2),))
    other.checkpointing.SetInParent()
    y = Worker(ctx, other, (1,)).joined()
    check(x.start().token == y.start().token, "two jobs")


@vector("task numbers", "Operators are sorted by uid, bytewise, the shorter first when one begins with the other")
def task_numbers(ctx):
    spec = make_spec(ctx.job(), ((b"b", 1), (b"ab", 2), (b"a", 1), (b"B", 1), ("ä".encode(), 1)))
    x = Worker(ctx, spec, range(6)).run()
    x.decline(x.trigger().round, task=wire.task_number(spec, b"ab", 1))
    m = x.expect("abort")
    check(b"ab[1]" in m.reason, "the third task, ab[1], declined: %s" % m.reason)
    x.decline(x.trigger().round, task=5)
    check("ä[0]".encode() in x.expect("abort").reason, "the last task is not ä[0]")

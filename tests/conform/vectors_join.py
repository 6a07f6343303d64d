"""Parts, Join, and who may host what."""
import time

import wire
from peer import Worker, check, field, make_spec, short, unknown_field, vector
from wire import c, w
from proto import admin_pb2 as a

PARTS = "The parts of a message are checked: no empty one but a last one, at most 1 MiB each, the right count, the right digest"
UNKNOWN = "Unknown fields are ignored"
NAMES = "The worker's name has 1 to 255 bytes, the endpoint at most 4,096, host.boot_id at most 255"
ONCE = "One Join per connection, directly after Welcome; a second one only as the answer to Rewind"
TASKS = "Refused{TASKS}: a task that does not exist, ranges that are not ascending and disjoint, or a task held by a worker that is present"
FINGERPRINT = "a fingerprint suffices for a job that the daemon knows (Refused{NO_JOB} otherwise)"
FENCED = "Fenced: what it says cannot be true for this store"


def parts_case(name, change):
    @vector("parts: " + name, PARTS)
    def play(ctx):
        x = ctx.worker().welcomed()
        for p in change(x.join_message().SerializeToString()):
            x.send(join=p)
        x.refused(c.REFUSED_MALFORMED, "part")


def two(data):
    return [w.Part(data=data[:20]), last_part(data[20:], 2, data)]


def last_part(data, count, whole):
    low, high = wire.digest(whole)
    return w.Part(data=data, count=count, digest_low=low, digest_high=high)


parts_case("out of order", lambda d: [w.Part(data=d[20:]), last_part(d[:20], 2, d)])
parts_case("another digest", lambda d: [last_part(d, 1, d + b"x")])
parts_case("halves of the digest exchanged", lambda d: [w.Part(
    data=d, count=1, digest_low=wire.digest(d)[1], digest_high=wire.digest(d)[0])])
parts_case("no digest", lambda d: [w.Part(data=d, count=1)])
parts_case("a count too high", lambda d: [two(d)[0], last_part(d[20:], 3, d)])
parts_case("a count too low", lambda d: [two(d)[0], last_part(d[20:], 1, d)])
parts_case("one missing", lambda d: [last_part(d[20:], 1, d)])
parts_case("an empty one", lambda d: [w.Part(), last_part(d, 2, d)])
parts_case("one of 1 MiB and a byte", lambda d: [w.Part(data=b"x" * ((1 << 20) + 1))])
parts_case("the first twice", lambda d: [two(d)[0]] + [two(d)[0], last_part(d[20:], 3, d)])


@vector("parts: one byte each", PARTS)
def one_byte_parts(ctx):
    x = ctx.worker().welcomed()
    data = x.join_message().SerializeToString()
    for i in range(len(data) - 1):
        x.send(join=w.Part(data=data[i:i + 1]))
    x.send(join=last_part(data[-1:], len(data), data))
    x.expect("joined")


@vector("parts: an empty last one", PARTS)
def empty_last(ctx):
    x = ctx.worker().welcomed()
    data = x.join_message().SerializeToString()
    x.send(join=w.Part(data=data))
    x.send(join=last_part(b"", 2, data))
    x.expect("joined")


@vector("parts: a Join of 3 MiB", PARTS)
def large_join(ctx):
    x = ctx.worker(spec=make_spec(ctx.job()))
    x.welcomed()
    x.join(x.join_message().SerializeToString() + field(77, b"x" * (3 << 20)))
    x.expect("joined")


@vector("parts: a Part that is none", PARTS)
def no_part(ctx):
    x = ctx.worker().welcomed()
    x.send(field(2, b"\xff\xff"))
    x.refused(c.REFUSED_MALFORMED, "part")


@vector("Joined", "Joined: accepted. Job id, lease, heartbeat interval, orphan limit, progress interval")
def joined(ctx):
    j = ctx.worker(lease_ms=9000, heartbeat_ms=700).joined().answer_joined
    check(len(j.job_id) == 16, "job id: %s" % short(j))
    check((j.lease_ms, j.heartbeat_ms, j.orphan_limit_ms, j.progress_ms) == (9000, 700, 1000, 1000), short(j))


@vector("Joined: defaults", "Joined: accepted. Job id, lease, heartbeat interval, orphan limit, progress interval")
def joined_defaults(ctx):
    j = ctx.worker().joined().answer_joined
    check((j.lease_ms, j.heartbeat_ms, j.orphan_limit_ms, j.progress_ms) == (10000, 1000, 1000, 1000), short(j))


def nested(name, change):
    @vector("unknown field in " + name, UNKNOWN)
    def play(ctx):
        x = ctx.worker(spec=make_spec(ctx.job(), ((b"a", 1), (b"b", 1)), ((b"a", b"b"),), lease_ms=9000),
                       tasks=(0, 1))
        x.welcomed()
        x.join(change(x))
        x.expect("joined")


EXTRA = unknown_field()


def rest_of(x, *without):
    j = x.join_message()
    for name in without:
        j.ClearField(name)
    return j.SerializeToString()


def spec_with(x, which):
    """The packed spec, each message of one kind with a field that nobody knows."""
    s = x.spec
    out = field(1, s.name)
    out += b"".join(field(2, o.SerializeToString() + (EXTRA if which == "Operator" else b"")) for o in s.operators)
    out += b"".join(field(3, e.SerializeToString() + (EXTRA if which == "Edge" else b"")) for e in s.edges)
    return out + field(4, s.checkpointing.SerializeToString() + (EXTRA if which == "Checkpointing" else b""))


nested("Join", lambda x: rest_of(x) + EXTRA)
nested("Host", lambda x: rest_of(x, "host") + field(5, x.host.SerializeToString() + EXTRA))
nested("the tasks of Join", lambda x: rest_of(x, "tasks") + field(6, b"\x10\x02" + EXTRA))
nested("JobSpec", lambda x: rest_of(x, "spec") + field(2, x.spec.SerializeToString() + EXTRA))
for _which in ("Operator", "Edge", "Checkpointing"):
    nested(_which, lambda x, which=_which: rest_of(x, "spec") + field(2, spec_with(x, which)))


@vector("unknown field in Part", UNKNOWN)
def part_unknown(ctx):
    x = ctx.worker().welcomed()
    data = x.join_message().SerializeToString()
    x.send(field(2, last_part(data, 1, data).SerializeToString() + EXTRA))
    x.expect("joined")


def malformed(name, says, named, **changes):
    @vector(name, says)
    def play(ctx):
        x = ctx.worker().welcomed()
        x.join(**changes)
        x.refused(c.REFUSED_MALFORMED, named)


malformed("worker: no name", NAMES, "worker", worker=b"")
malformed("worker: 256 bytes", NAMES, "worker", worker=b"x" * 256)
malformed("worker: not UTF-8", NAMES, "worker", worker=b"\xc3\x28")
malformed("worker: with NUL", NAMES, "worker", worker=b"a\0b")
malformed("endpoint: 4,097 bytes", NAMES, "endpoint", endpoint=b"x" * 4097)
malformed("endpoint: not UTF-8", NAMES, "endpoint", endpoint=b"\x80")
malformed("host: a boot id of 256 bytes", NAMES, "boot_id", host=w.Host(boot_id=b"x" * 256))
malformed("host: a boot id that is not UTF-8", NAMES, "boot_id", host=w.Host(boot_id=b"\xff"))
malformed("tasks: none", "the tasks it hosts, at least one; ascending, disjoint ranges", "task", tasks=[])
malformed("open: 1,025 rounds", "rounds it has heard of (a trigger, or a barrier) that were not resolved, with the "
          "tasks that have acked; at most 1,024", "1,024", open=[w.OpenRound(round=i + 1) for i in range(1025)])
malformed("token: a short store id", "store id and job id have 16 bytes each", "16",
          token=c.Token(store_id=b"x" * 15, job_id=b"y" * 16, attempt=1))
malformed("token: a long job id", "store id and job id have 16 bytes each", "16",
          token=c.Token(store_id=b"x" * 16, job_id=b"y" * 17, attempt=1))
malformed("phase: 4", "a body that does not parse, columns of unequal length, a number out of range, a text that is "
          "not UTF-8", "phase", phase=4)


@vector("a Join that does not parse", "a body that does not parse, columns of unequal length, a number out of range")
def join_garbage(ctx):
    x = ctx.worker().welcomed()
    x.join(b"\xff" * 20)
    x.refused(c.REFUSED_MALFORMED, "Join")


@vector("worker: 255 bytes, endpoint: 4,096", NAMES)
def longest(ctx):
    x = ctx.worker().welcomed()
    x.join(worker=b"x" * 255, endpoint=b"e" * 4096, host=w.Host(boot_id=b"b" * 255, pid=1, start_time=1))
    x.expect("joined")


def tasks_case(name, given):
    @vector("tasks: " + name, TASKS)
    def play(ctx):
        x = ctx.worker(spec=make_spec(ctx.job(), ((b"op", 4),))).welcomed()
        x.join(tasks=[c.TaskRange(first=f, count=n) for f, n in given])
        x.refused(c.REFUSED_TASKS, "4")


tasks_case("one too many", [(0, 5)])
tasks_case("beyond the last", [(4, 1)])
tasks_case("2^32 - 1 of them", [(1, 0xFFFFFFFF)])
tasks_case("the last of 2^32", [(0xFFFFFFFF, 1)])
tasks_case("an empty range", [(0, 0)])
tasks_case("descending", [(2, 1), (0, 1)])
tasks_case("overlapping", [(0, 2), (1, 2)])
tasks_case("twice the same", [(0, 1), (0, 1)])


@vector("tasks: of a worker that is present", TASKS)
def held(ctx):
    x = ctx.worker().run()
    y = Worker(ctx, x.spec).welcomed()
    y.join()
    y.refused(c.REFUSED_TASKS, x.name.decode())
    x.round()


@vector("tasks: one of two is of a worker that is present", TASKS)
def held_partly(ctx):
    spec = make_spec(ctx.job(), ((b"op", 2),))
    x, y = Worker(ctx, spec, (1,)).joined(), Worker(ctx, spec, (0, 1)).welcomed()
    y.join()
    y.refused(c.REFUSED_TASKS, x.name.decode())
    z = Worker(ctx, spec, (0,)).joined()
    x.start()
    z.start()


def second_join(name, prepare):
    @vector("second Join: " + name, ONCE)
    def play(ctx):
        x = ctx.worker(spec=make_spec(ctx.job(), ((b"op", 2),)), tasks=(0,))
        prepare(x)
        x.join()
        x.refused(c.REFUSED_STATE, "Join")


second_join("waiting", lambda x: x.joined())


@vector("second Join: running", ONCE)
def second_running(ctx):
    x = ctx.worker().run()
    x.join()
    x.refused(c.REFUSED_STATE, "Join")
    y = x.again()
    y.expect("joined")
    y.expect("resumed")


@vector("second Join: for another job", ONCE)
def second_job(ctx):
    x = ctx.worker().joined()
    other = ctx.worker()
    x.join(other.join_message().SerializeToString())
    x.refused(c.REFUSED_STATE, skip=("alive", "start"))


@vector("spare", "Refused{UNSUPPORTED}: a spare")
def spare(ctx):
    x = ctx.worker().welcomed()
    x.join(spare=True)
    x.refused(c.REFUSED_UNSUPPORTED, "spare")


@vector("fingerprint: unknown job", FINGERPRINT)
def fingerprint_unknown(ctx):
    x = ctx.worker().welcomed()
    x.join(spec=None, fingerprint=wire.fingerprint(x.spec))
    x.refused(c.REFUSED_NO_JOB, x.spec.name.decode())


@vector("fingerprint: known job", FINGERPRINT)
def fingerprint_known(ctx):
    spec = make_spec(ctx.job(), ((b"b", 1), (b"a", 1)), ((b"b", b"a"),), lease_ms=9000)
    first = Worker(ctx, spec, (0,)).joined()
    x = Worker(ctx, spec, (1,)).welcomed()
    x.join(spec=None, fingerprint=wire.fingerprint(spec))
    x.expect("joined")
    check(x.start().token == first.start().token, "two tokens")


@vector("fingerprint: another", "Refused{SPEC} names the first difference from the spec in force")
def fingerprint_another(ctx):
    x = ctx.worker().joined()
    y = Worker(ctx, x.spec).welcomed()
    y.join(spec=None, fingerprint=b"0" * 16)
    y.refused(c.REFUSED_SPEC, "fingerprint")


@vector("fingerprint: 15 bytes", "Refused{SPEC} names the first difference from the spec in force")
def fingerprint_short(ctx):
    x = ctx.worker().joined()
    y = Worker(ctx, x.spec).welcomed()
    y.join(spec=None, fingerprint=wire.fingerprint(x.spec)[:15])
    y.refused(c.REFUSED_SPEC, "fingerprint")


def fenced(name, named, change, held_after=True):
    @vector("token: " + name, FENCED)
    def play(ctx):
        x = ctx.worker().run()
        number = x.round()
        x.close()
        token = c.Token()
        token.CopyFrom(x.token)
        for _ in range(100):
            y = x.again(**change(token, number))
            m = y.receive()
            if m.WhichOneof("msg") == "fenced":
                break
            # the only witness: it may not forget before HELD is durable
            check(held_after and m.refused.code == c.REFUSED_HELD, "%s instead of fenced" % short(m))
            y.reason(m.refused.reason, (named,))
            y.ends()
            time.sleep(0.02)
        y.reason(m.fenced.reason, (named,))
        state = ctx.admin().ask(show_job=a.ShowJob(job=x.spec.name)).job.summary.state
        check((state == b"HELD") == held_after, "the job is %s" % state.decode())
        if held_after:
            z = Worker(ctx, x.spec).welcomed()
            z.join()
            z.refused(c.REFUSED_HELD, named)


def with_token(token, **changes):
    for key, value in changes.items():
        setattr(token, key, value)
    return {"token": token}


fenced("another store's", "store", lambda t, n: with_token(t, store_id=b"s" * 16), False)
fenced("of a job that never was", "job", lambda t, n: with_token(t, job_id=b"j" * 16))
fenced("an incarnation that never was", "incarnation", lambda t, n: with_token(t, incarnation=t.incarnation + 1))
fenced("other random bits", "incarnation", lambda t, n: with_token(t, nonce=t.nonce ^ 1))
fenced("an attempt that never was", "attempt", lambda t, n: with_token(t, attempt=t.attempt + 1))
fenced("a completed round that never was", "completed round",
       lambda t, n: dict(with_token(t), told_complete=n + 1))
fenced("a completed round with effects that never was", "completed round",
       lambda t, n: dict(with_token(t), told_effects=n + 1))
fenced("an open round that never was", "round",
       lambda t, n: dict(with_token(t), open=[w.OpenRound(round=n + (1 << 40))]))


@vector("after Fenced", "After Fenced the connection stays, and nothing said on it counts")
def after_fenced(ctx):
    x = ctx.worker().run()
    x.close()
    token = c.Token()
    token.CopyFrom(x.token)
    y = x.again(**with_token(token, store_id=b"s" * 16))
    y.expect("fenced")
    y.ack(1)
    y.send(heartbeat=w.Heartbeat(sequence=1))
    y.quiet()

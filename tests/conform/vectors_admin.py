"""Admins: calls, limits, keys, many at once."""
import time

from peer import Worker, check, field, make_spec, short, unknown_field, vector
from wire import c, w
import wire
from proto import admin_pb2 as a

NOT_FOUND = "NOT_FOUND (no such job, snapshot, operation)"
INVALID = "INVALID (an argument; the text names it)"
IDS = "each Request has an id of at least 1 chosen by the client and one call"
ONE = "each is answered by exactly one Response with the same id, in any order"
KEY = "key in triggers and orders, at most 64 bytes, makes a retry return the first try's operation instead of starting another"
LIMITS = "A limit above its maximum is INVALID"
PAGES = "newest first; before pages"


def not_found(name, *names, **call):
    @vector("not found: " + name, NOT_FOUND)
    def play(ctx):
        ctx.admin().error(a.ERROR_NOT_FOUND, *names, **call)


MANY = (1 << 64) - 1
not_found("ShowJob", "no-such", show_job=a.ShowJob(job=b"no-such"))
not_found("ShowJob without a name", show_job=a.ShowJob())
not_found("ShowJob by an id", show_job=a.ShowJob(job=b"0" * 32))
not_found("ShowJob, not UTF-8", show_job=a.ShowJob(job=b"\xff\xfe"))
not_found("ShowJob, with NUL", show_job=a.ShowJob(job=b"a\0b"))
not_found("ShowJob, 1 MiB", show_job=a.ShowJob(job=b"x" * (1 << 20)))
not_found("ShowJob, cut within a character", show_job=a.ShowJob(job="ä".encode() * 500))
not_found("TriggerCheckpoint", "no-such", checkpoint=a.TriggerCheckpoint(job=b"no-such"))
not_found("TriggerSavepoint", "no-such", savepoint=a.TriggerSavepoint(job=b"no-such"))
not_found("TriggerSavepoint, not UTF-8", savepoint=a.TriggerSavepoint(job=b"\xff" * 300))
not_found("WaitOperation", str(MANY), wait=a.WaitOperation(operation=MANY))
not_found("WaitOperation 0", wait=a.WaitOperation())
not_found("ShowSnapshot", "123456789012", snapshot=a.ShowSnapshot(snapshot=123456789012))
not_found("ShowSnapshot 2^64 - 1", snapshot=a.ShowSnapshot(snapshot=MANY, limit=10))
not_found("VerifySnapshot", "123456789012", verify=a.VerifySnapshot(snapshot=123456789012))
not_found("Lineage of a snapshot", "123456789012", lineage=a.Lineage(snapshot=123456789012))
not_found("Lineage of a job", "no-such", lineage=a.Lineage(job=b"no-such"))
not_found("ListRounds", "no-such", rounds=a.ListRounds(job=b"no-such"))
not_found("ListRounds, not UTF-8", rounds=a.ListRounds(job=b"\xff"))
not_found("ListSnapshots", "no-such", snapshots=a.ListSnapshots(job=b"no-such"))


@vector("id 0", IDS)
def id_zero(ctx):
    p = ctx.admin()
    p.send(a.Request(list_jobs=a.ListJobs()))
    p.refused(c.REFUSED_MALFORMED, "id")


@vector("ids of any size", ONE)
def ids(ctx):
    p = ctx.admin()
    for number in (1, 2, 1, 1 << 40, MANY):
        m = p.ask(number, status=a.GetStatus())
        check(m.WhichOneof("result") == "status", short(m))


@vector("500 requests in flight", ONE)
def in_flight(ctx):
    p = ctx.admin()
    calls = (dict(list_jobs=a.ListJobs()), dict(status=a.GetStatus()), dict(show_job=a.ShowJob(job=b"no-such")),
             dict(snapshots=a.ListSnapshots(limit=3)), dict(rounds=a.ListRounds(job=b"no-such")),
             dict(wait=a.WaitOperation(operation=5)), dict(lineage=a.Lineage(snapshot=1 << 50)))
    p.raw(b"".join(wire.frame(a.Request(id=i + 1, **calls[i % len(calls)])) for i in range(500)))
    got = {}
    for _ in range(500):
        m = p.receive()
        check(m.id not in got, "request %d is answered twice" % m.id)
        got[m.id] = m.WhichOneof("result")
        if got[m.id] == "error":
            check(m.error.code in (a.ERROR_NOT_FOUND, a.ERROR_BUSY), short(m))
    check(set(got) == set(range(1, 501)), "not every request is answered")
    p.quiet()


def knows(name, call, result):
    @vector("unknown field in " + name, "Unknown fields are ignored")
    def play(ctx):
        x = ctx.worker().run()
        number = x.round()
        p = ctx.admin()
        which, content = call(x, number)
        m = p.answered(field(which, content.SerializeToString() + unknown_field()) + b"\x90\x03\x05" + unknown_field(), 5)
        check(m.WhichOneof("result") == result, short(m))


knows("ListJobs", lambda x, n: (2, a.ListJobs()), "jobs")
knows("ShowJob", lambda x, n: (3, a.ShowJob(job=x.spec.name)), "job")
knows("TriggerSavepoint", lambda x, n: (4, a.TriggerSavepoint(job=x.spec.name)), "operation")
knows("TriggerCheckpoint", lambda x, n: (5, a.TriggerCheckpoint(job=x.spec.name)), "operation")
knows("WaitOperation", lambda x, n: (6, a.WaitOperation(operation=x.operation)), "operation")
knows("ListSnapshots", lambda x, n: (7, a.ListSnapshots(job=x.spec.name)), "snapshots")
knows("ShowSnapshot", lambda x, n: (8, a.ShowSnapshot(snapshot=n)), "snapshot")
knows("VerifySnapshot", lambda x, n: (9, a.VerifySnapshot(snapshot=n)), "verified")
knows("Lineage", lambda x, n: (10, a.Lineage(snapshot=n)), "lineage")
knows("ListRounds", lambda x, n: (11, a.ListRounds(job=x.spec.name)), "rounds")
knows("GetStatus", lambda x, n: (12, a.GetStatus()), "status")


@vector("ShowJob by its id", "job by name or by its 32 hex digits")
def by_id(ctx):
    x = ctx.worker().run()
    text = x.answer_joined.job_id.hex().encode()
    m = ctx.admin().ask(show_job=a.ShowJob(job=text)).job
    check(m.summary.name == x.spec.name, "by %s: %s" % (text, short(m.summary)))
    m = ctx.admin().ask(rounds=a.ListRounds(job=text))
    check(m.WhichOneof("result") == "rounds", short(m))


@vector("ShowJob", "workers, missing tasks, the open round, gauges, what it waits for")
def show_job(ctx):
    spec = make_spec(ctx.job(), ((b"op", 3),))
    x = Worker(ctx, spec, (0, 2)).joined()
    m = ctx.admin().ask(show_job=a.ShowJob(job=spec.name)).job
    check([(r.first, r.count) for r in m.missing] == [(1, 1)], "missing: %s" % short(m))
    check(m.summary.state == b"WAITING" and m.summary.tasks_present == 2 and b"1 of its 3" in m.waiting_for, short(m))
    check(m.spec == spec and m.workers[0].name == x.name, short(m))


def invalid(name, *names, **call):
    @vector("invalid: " + name, LIMITS if "limit" in name else INVALID)
    def play(ctx):
        x = ctx.worker().run()
        number = x.round()
        for message in call.values():
            if hasattr(message, "job") and not message.job:
                message.job = x.spec.name
            if hasattr(message, "snapshot"):
                message.snapshot = number
        ctx.admin().error(a.ERROR_INVALID, *names, **call)


invalid("limit of ListSnapshots", "1001", "1000", snapshots=a.ListSnapshots(limit=1001))
invalid("limit of ListRounds", "1001", "1000", rounds=a.ListRounds(limit=1001))
invalid("limit of ListRounds, 2^32 - 1", "4294967295", rounds=a.ListRounds(limit=0xFFFFFFFF))
invalid("limit of ShowSnapshot", "10001", "10000", snapshot=a.ShowSnapshot(limit=10001))
invalid("a target that is not absolute", "here/it", savepoint=a.TriggerSavepoint(target=b"here/it"))
invalid("a target of 2,049 bytes", "target", savepoint=a.TriggerSavepoint(target=b"/" + b"x" * 2048))
invalid("a target with NUL", "target", savepoint=a.TriggerSavepoint(target=b"/a\0b"))
invalid("a label of 256 bytes", "label", savepoint=a.TriggerSavepoint(label=b"x" * 256))
invalid("a label that is not UTF-8", "label", savepoint=a.TriggerSavepoint(label=b"\xff"))
invalid("who with NUL", "who", checkpoint=a.TriggerCheckpoint(who=b"a\0b"))
invalid("who of 256 bytes", "who", checkpoint=a.TriggerCheckpoint(who=b"x" * 256))
invalid("a key of 65 bytes", "key", checkpoint=a.TriggerCheckpoint(key=b"k" * 65))


@vector("a target among the checkpoints", INVALID)
def target_inside(ctx):
    x = ctx.worker().run()
    root = x.start_message.directory.rpartition(b"/" + x.spec.name + b"/")[0]
    for target in (root, root + b"/x"):
        ctx.admin().error(a.ERROR_INVALID, root.decode(), savepoint=a.TriggerSavepoint(job=x.spec.name, target=target))


@vector("a key again", KEY)
def key_again(ctx):
    x = ctx.worker().run()
    p = ctx.admin()
    key = bytes(range(256))[192:]  # any bytes
    first = p.ask(checkpoint=a.TriggerCheckpoint(job=x.spec.name, key=key)).operation
    t = x.expect("trigger")
    second = ctx.admin().ask(checkpoint=a.TriggerCheckpoint(job=x.spec.name, key=key)).operation
    check(first.id == second.id and first.id, "%d, then %d" % (first.id, second.id))
    x.ack(t.round)
    x.complete(t.round)
    third = p.ask(checkpoint=a.TriggerCheckpoint(job=x.spec.name, key=key)).operation
    check((third.id, third.state, third.snapshot) == (first.id, b"done", t.round), short(third))
    x.quiet()
    other = p.ask(savepoint=a.TriggerSavepoint(job=x.spec.name, key=key)).operation
    check(other.id != first.id, "a savepoint's key is a checkpoint's")
    y = ctx.worker().run()
    other = p.ask(checkpoint=a.TriggerCheckpoint(job=y.spec.name, key=key)).operation
    check(other.id != first.id, "another job's key is this one's")


@vector("no key", KEY)
def no_key(ctx):
    x = ctx.worker().run()
    p = ctx.admin()
    first = p.ask(checkpoint=a.TriggerCheckpoint(job=x.spec.name)).operation
    second = p.ask(checkpoint=a.TriggerCheckpoint(job=x.spec.name)).operation
    check(first.id != second.id, "two requests without a key are one")
    for _ in range(2):
        t = x.expect("trigger")
        x.ack(t.round)
        x.complete(t.round)


# S26: asked for while tasks are missing they wait, and nothing is under way; S10: none gives way to a savepoint
@vector("64 requests that wait for a job", "BUSY (a limit is reached")
def queue(ctx):
    spec = make_spec(ctx.job(), ((b"op", 2),))
    x = Worker(ctx, spec, (0,)).joined()
    p = ctx.admin()
    for i in range(64):
        m = p.ask(checkpoint=a.TriggerCheckpoint(job=spec.name)).operation
        check(m.state == b"queued" and m.phase, "request %d: %s" % (i, short(m)))
    p.error(a.ERROR_BUSY, "64", checkpoint=a.TriggerCheckpoint(job=spec.name))
    p.error(a.ERROR_BUSY, "64", savepoint=a.TriggerSavepoint(job=spec.name))
    x.alive()


@vector("WaitOperation: its time", "when it ends, when progress differs from what was seen, or when the time is over")
def wait_time(ctx):
    x = ctx.worker().run()
    p = ctx.admin()
    t = x.trigger()
    begun = time.monotonic()
    m = p.ask(wait=a.WaitOperation(operation=x.operation, timeout_ms=300)).operation
    check(0.3 <= time.monotonic() - begun < 10 and m.state == b"running", short(m))
    m = p.ask(wait=a.WaitOperation(operation=x.operation)).operation
    check(m.state == b"running" and m.snapshot == t.round and (m.tasks, m.acked) == (1, 0), short(m))
    p.send(a.Request(id=2, wait=a.WaitOperation(operation=x.operation, timeout_ms=15000, seen_progress=m.progress)))
    x.ack(t.round)
    m = p.receive()
    check(m.id == 2 and m.operation.progress and m.operation.state in (b"running", b"done"), short(m))
    m = p.ask(wait=a.WaitOperation(operation=x.operation, timeout_ms=15000)).operation
    check(m.state == b"done" and m.acked == 1 and m.ended_wall_us >= m.begun_wall_us, short(m))


@vector("pages of rounds", PAGES)
def pages(ctx):
    x = ctx.worker(retained=10).run()
    numbers = [x.round() for _ in range(5)]
    p = ctx.admin()
    for call, result, name in (("rounds", "rounds", "round"), ("snapshots", "snapshots", "snapshot")):
        before, got = 0, []
        while True:
            make = a.ListRounds if call == "rounds" else a.ListSnapshots
            m = getattr(p.ask(**{call: make(job=x.spec.name, before=before, limit=2)}), result)
            got += [getattr(i, name) for i in getattr(m, result)]
            if not m.more:
                break
            before = got[-1]
        check(got == numbers[::-1], "%s: %s instead of %s" % (call, got, numbers[::-1]))
    steps = p.ask(lineage=a.Lineage(job=x.spec.name)).lineage.steps
    check([s.info.snapshot for s in steps] == numbers[::-1], "lineage: %s" % [s.info.snapshot for s in steps])
    check(p.ask(rounds=a.ListRounds(job=x.spec.name, before=1)).rounds == a.RoundList(), "rounds before 1")
    m = p.ask(rounds=a.ListRounds(job=x.spec.name, before=MANY)).rounds
    check(len(m.rounds) == 5, "%d rounds before 2^64 - 1" % len(m.rounds))


@vector("pages of tasks", "with tasks and their artifacts, paged by task")
def task_pages(ctx):
    x = Worker(ctx, make_spec(ctx.job(), ((b"op", 5),)), range(5)).run()
    number = x.round()
    p = ctx.admin()
    m = p.ask(snapshot=a.ShowSnapshot(snapshot=number)).snapshot
    check(not m.tasks and m.info.tasks == 5, short(m))
    m = p.ask(snapshot=a.ShowSnapshot(snapshot=number, limit=2)).snapshot
    check([t.task for t in m.tasks] == [0, 1] and m.more, short(m))
    m = p.ask(snapshot=a.ShowSnapshot(snapshot=number, first_task=2, limit=3)).snapshot
    check([t.task for t in m.tasks] == [2, 3, 4] and not m.more, short(m))
    m = p.ask(snapshot=a.ShowSnapshot(snapshot=number, first_task=0xFFFFFFFF, limit=3)).snapshot
    check(not m.tasks and not m.more, short(m))


@vector("VerifySnapshot", "reads every artifact and compares size and digest")
def verify(ctx):
    x = Worker(ctx, make_spec(ctx.job(), ((b"op", 3),)), range(3)).run()
    t = x.trigger()
    low, high = wire.digest(b"abc")
    x.send(ack=w.AckBatch(attempt=1, round=t.round, full=[
        w.TaskAck(task=0, artifacts=[c.Artifact(inline=b"abc", size=3, digest_low=low, digest_high=high)]),
        w.TaskAck(task=1, artifacts=[c.Artifact(inline=b"abc", size=3, digest_low=high, digest_high=low)]),
        w.TaskAck(task=2, artifacts=[c.Artifact(path=b"nowhere", size=3)])]))
    x.complete(t.round)
    m = ctx.admin().ask(verify=a.VerifySnapshot(snapshot=t.round)).verified
    check([p.task for p in m.problems] == [1, 2] and m.problem_count == 2, short(m))
    check(b"digest" in m.problems[0].problem and b"missing" in m.problems[1].problem, short(m))


@vector("an ended job", "STATE (not possible now)")
def ended(ctx):
    x = ctx.worker().run()
    x.send(finished=w.TaskFinished(attempt=1, tasks=x.mine()))
    t = x.expect("trigger")
    x.ack(t.round)
    x.complete(t.round)
    x.expect("stop")
    ctx.admin().error(a.ERROR_STATE, "FINISHED", checkpoint=a.TriggerCheckpoint(job=x.spec.name))


@vector("an admin that hangs up while it waits", "No error of one connection changes anything for another")
def hang_up(ctx):
    x = ctx.worker().run()
    t = x.trigger()
    p = ctx.admin()
    p.send(a.Request(id=1, wait=a.WaitOperation(operation=x.operation, timeout_ms=15000)))
    p.close()
    x.ack(t.round)
    x.complete(t.round)
    x.confirm(t.round)
    x.round()


@vector("a peer that does not read", "a peer that does not read: its output buffer is over the daemon's limit", needs="daemon")
def does_not_read(ctx):
    p = ctx.admin()
    p.socket.settimeout(5)
    request = b"".join(wire.frame(a.Request(id=i + 1, list_jobs=a.ListJobs())) for i in range(50))
    try:
        for _ in range(400):
            p.socket.sendall(request)
            time.sleep(0.01)
    except OSError:
        return
    check(False, "it is still connected")

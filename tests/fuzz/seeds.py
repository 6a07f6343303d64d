#!/usr/bin/python3
"""seeds.py: writes the first inputs of the corpora of fuzz targets (needs protobuf-compiler,
python3-protobuf). Run it from the top of the tree after the messages have changed."""
import glob
import os
import struct
import subprocess
import sys
import tempfile

generated = tempfile.mkdtemp()
names = ["common", "worker", "admin", "manifest"]
subprocess.run(["protoc", "--python_out=" + generated] + ["proto/%s.proto" % n for n in names], check=True)
sys.path.insert(0, generated)
from proto import admin_pb2 as A, common_pb2 as C, manifest_pb2 as M, worker_pb2 as W  # noqa: E402


def seed(target, name, data):
    folder = "tests/fuzz/fuzz_%s.corpus" % target
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def with_parts():
    """The spec, with a coordinator of `source` and a hook."""
    s = spec()
    s.operators[0].coordinator = True
    s.hooks.append(b"lock")
    return s


PARTS = [C.External(kind=C.EXTERNAL_COORDINATOR, name=b"source"), C.External(kind=C.EXTERNAL_HOOK, name=b"lock")]


def spec(name=b"job"):
    s = C.JobSpec(name=name)
    s.operators.add(uid=b"source", parallelism=1)
    s.operators.add(uid=b"map", parallelism=2, max_parallelism=8)
    s.edges.add(**{"from": b"source"}, to=b"map", pattern=C.EDGE_ALL_TO_ALL)
    s.checkpointing.interval_ms = 100
    return s


def batch(attempt=1, rnd=1):
    b = W.AckBatch(attempt=attempt, round=rnd, task=[0, 1], align_us=[0, 300], sync_us=[1, 2],
                   async_us=[5, 500], artifacts=[1, 2], size=[10, 20, 30], digest_low=[1, 2, 3],
                   digest_high=[4, 5, 6])
    full = b.full.add(task=2, align_us=7, handle=b"publish")
    full.artifacts.add(inline=b"abc", size=3, digest_low=1, digest_high=2, name=b"count", key_group_count=4)
    full.artifacts.add(path=b"t2-1", size=1000)
    return b


def frames(*messages):
    return b"".join(struct.pack("<I", len(m)) + m for m in messages)


def steps(*items):
    """(opcode, who, body) for fuzz_core"""
    return b"".join(bytes([op | who << 3]) + struct.pack("<H", len(body)) + body for op, who, body in items)


seed("frame", "three", bytes([3]) + frames(b"", b"hello", b"x" * 100))
seed("frame", "long", bytes([1]) + struct.pack("<I", 5000) + b"y" * 20)
seed("ack", "batch", batch().SerializeToString())
seed("ack", "plain", W.AckBatch(attempt=9, round=300, task=range(40), align_us=[0] * 40, sync_us=[0] * 40,
                                async_us=[0] * 40, artifacts=[0] * 40).SerializeToString())
shared = W.AckBatch(attempt=9, round=300)
shared.full.add(task=2).artifacts.extend([
    C.Artifact(path=b"a1000-9/r300/s2-0", size=5, digest_low=1, shared=C.SHARED_NEW),
    C.Artifact(path=b"a1000-8/r299/s2-0", size=6, digest_high=1, shared=C.SHARED_AGAIN, name=b"f", key_group_count=4)])
seed("ack", "shared", shared.SerializeToString())
seed("graph", "small", spec().SerializeToString())
wide = spec(b"wide")
for i in range(10):
    wide.operators.add(uid=b"op%d" % i, parallelism=i + 1)
    wide.edges.add(**{"from": b"map"}, to=b"op%d" % i, pattern=C.EDGE_ALL_TO_ALL)
seed("graph", "wide", wide.SerializeToString())
cycle = spec(b"cycle")
cycle.edges.add(**{"from": b"map"}, to=b"source", pattern=C.EDGE_ALL_TO_ALL)
seed("graph", "cycle", cycle.SerializeToString())
head = M.ManifestHead(store_id=b"s" * 16, job_id=b"j" * 16, spec=spec(), round=1, incarnation=1, attempt=1,
                      kind=C.ROUND_CHECKPOINT, tasks=3, directory=b"/state/j/a1-1/r1").SerializeToString()
acks = frames(batch().SerializeToString())
seed("manifest", "whole", b"TIDEMETA" + struct.pack("<II", 1, len(head)) + head + struct.pack("<Q", len(acks)) + acks)
seed("manifest", "empty", b"TIDEMETA" + struct.pack("<II", 1, 0) + struct.pack("<Q", 0))
pieces = [head] + [batch().SerializeToString()] + [W.AckBatch(attempt=1, round=1, task=[i], align_us=[0], sync_us=[0],
                                                              async_us=[0], artifacts=[0]).SerializeToString()
                                                   for i in range(3)]
seed("manifest", "parts", b"".join(struct.pack("<H", len(p)) + p for p in pieces[:2]))
seed("manifest", "more-parts", b"".join(struct.pack("<H", len(p)) + p for p in pieces[:1] + pieces[2:]))
for name, hello in (("worker", C.Hello(kind=C.PEER_WORKER, version_min=1, version_max=1, secret=b"secret")),
                    ("admin", C.Hello(kind=C.PEER_ADMIN, version_min=1, version_max=9, secret=b"wrong!")),
                    ("text", C.Hello(kind=C.PEER_ADMIN, version_min=1, version_max=1, secret=b"secret", software=b"\xff"))):
    seed("messages", "hello-" + name, b"\x80" + W.FromWorker(hello=hello).SerializeToString())

# The first byte: whether all errors are asked for. The dictionary has every word that means something.
with open("daemon/tidemarkd.conf", "rb") as f:
    text = f.read()
lines = [l.lstrip(b"#") for l in text.split(b"\n") if l[:1] == b"[" or l[:2] != b"# "]
for name, first in (("sample", b"1"), ("paths", b"0")):
    keep = [l for l in lines if l[:1] == b"[" or not l.startswith(b"secret-file")]
    seed("config", name, first + b"\n".join(l for l in keep if name == "sample" or b"= /" in l or l[:1] == b"["))
seed("config", "wrong", b"1[daemon]\nlisten 1\n[nothing]\nx = y\nconnections = 99999999999999999999\n")
with open("tests/fuzz/fuzz_config.dict", "w") as f:
    words = sorted({w for l in lines for w in l.decode().replace("=", " = ").split()} |
                   {"K", "M", "G", "us", "ms", "s", "m", "h", "\\x0a", " = ", "error", "warn", "debug", "[::1]:0"})
    f.write("".join('"%s"\n' % w for w in words if '"' not in w))
# The command: each with an answer that fits, as text and as JSON, in each of its ways.
answers = {}
for path in sorted(glob.glob("tests/golden/wire/Response.*.hex")):
    with open(path) as f:
        answers[path.split(".")[1]] = bytes.fromhex("".join(l for l in f if l[0] != "#").replace(" ", ""))
done = A.Response(id=1, operation=A.Operation(id=9, kind=b"savepoint", job=b"job", state=b"done", snapshot=7, tasks=4,
                                              acked=4, location=b"/savepoints/7")).SerializeToString()
fits = ("jobs", "job", "operation", "operation", "snapshots", "snapshot", "verified", "lineage", "rounds", "operation",
        "status")
for number, kind in enumerate(fits):
    for options in range(4):
        body = [answers[kind]] * 2 + [done] * (kind == "operation")
        seed("cli", "%s-%d-%d" % (kind, number, options), bytes([number, options | 8]) +
             b"".join(struct.pack("<H", len(b)) + b for b in body))
seed("cli", "error", bytes([1, 1]) + struct.pack("<H", len(answers["error"])) + answers["error"])


# The session: moves of two bytes behind a 254. Up to Run, then questions, answers, releases, ends.
up = [(4, 0), (5, 0), (3, 1), (6, 1)]
for name, moves in (("ask", [(192, 1), (192, 0x11), (192, 0x21), (14, 1)]), ("late", [(192, 2), (13, 2), (15, 2), (193, 2)]),
                    ("cut", [(192, 2), (8, 0), (11, 40), (4, 0), (5, 0), (193, 2), (7, 1), (192, 2)]),
                    ("fails", [(192, 2), (193, 0x22), (195, 0), (16, 1), (3, 2)]), ("lowest", [(192, 2), (192, 4), (13, 0x15)]),
                    ("fence", [(12, 1), (192, 2), (11, 200), (12, 0), (11, 200)])):
    seed("session", "external-" + name, b"\xfe" + b"".join(bytes(m) for m in up + moves))
for name, moves in (("once", [(216, 1), (192, 1), (6, 2)]), ("again", [(216, 0x31), (216, 0x39), (216, 5), (6, 3)]),
                    ("cut", [(216, 0x11), (8, 0), (11, 40), (4, 0), (5, 0), (216, 1), (194, 0x30)]),
                    ("wrong", [(216, 255), (216, 254), (216, 252), (216, 250)]),
                    ("rewound", [(216, 1), (16, 2), (216, 1)])):
    seed("session", "advance-" + name, b"\xfd" + b"".join(bytes(m) for m in up + moves))


# Rounds that stop the job: suspended, drained, neither; behind Welcome, Joined, Start and Run.
for name, moves in (("suspend", [(13, 0x45), (14, 5), (16, 6)]), ("drain", [(13, 0x85), (9, 0), (9, 1), (14, 0x85), (16, 6)]),
                    ("suspend-aborts", [(13, 0x45), (15, 5), (13, 6)]), ("suspend-away", [(13, 0x45), (8, 0), (11, 40)]),
                    ("stop-unknown", [(13, 0xc5), (15, 5)])):
    seed("session", "stop-" + name, b"\xfe" + b"".join(bytes(m) for m in up + moves))
# Each message that golden bytes are kept of.
types = ("FromWorker", "ToWorker", "Request", "Response", "Join", "Start", "ManifestHead")
for path in sorted(glob.glob("tests/golden/wire/*.hex")):
    name = os.path.basename(path)[:-4]
    with open(path) as f:
        golden = bytes.fromhex("".join(l for l in f if l[0] != "#").replace(" ", ""))
    seed("messages", name, bytes([types.index(name.split(".")[0])]) + golden)


def join(who, first, count, **more):
    j = W.Join(job=b"job", spec=spec(), worker=b"w%d" % who, tasks=[C.TaskRange(first=first, count=count)], **more)
    return (5, who, j.SerializeToString())


def say(who, **message):
    return (0, who, W.FromWorker(**message).SerializeToString())


def ask(**call):
    return (0, 3, A.Request(id=1, **call).SerializeToString())


def restored(who, first, count):
    return say(who, restored=W.Restored(attempt=1, tasks=[C.TaskRange(first=first, count=count)]))


def plain(rnd, *tasks):
    n = len(tasks)
    return W.AckBatch(attempt=1, round=rnd, task=tasks, align_us=[1] * n, sync_us=[1] * n, async_us=[1] * n,
                      artifacts=[1] * n, size=[100] * n, digest_low=[1] * n, digest_high=[2] * n)


wait = (7, 0, b"")  # 10 ms for each byte of the length, and one more
later = (7, 0, b"\0" * 20)
begin = [join(0, 0, 1), join(1, 1, 2), wait, restored(0, 0, 1), restored(1, 1, 2), wait]
one_round = [later] + [say(w, ack=plain(r, *t)) for r in range(1001, 1005) for w, t in ((0, [0]), (1, [1, 2]))] + [wait]
confirm = [say(w, confirm=W.Confirm(attempt=1, round=r, tasks=[C.TaskRange(first=f, count=c)]))
           for r in range(1001, 1005) for w, f, c in ((0, 0, 1), (1, 1, 2))]
seed("core", "round", steps(*begin, *one_round, *confirm, later))



def sharing(rnd, *files):
    """Task 0 shares what it wrote for its round, and refers to files of other rounds."""
    b = W.AckBatch(attempt=1, round=rnd)
    b.full.add(task=0).artifacts.extend(C.Artifact(
        path=b"a1000-1/r%d/s0-%d" % f, size=5, digest_low=1, shared=C.SHARED_NEW if f[0] == rnd else C.SHARED_AGAIN)
        for f in files)
    return say(0, ack=b)


# Files that are used on, left, used again, unknown; by rounds one after the other.
seed("core", "shared", steps(*begin, later, sharing(1001, (1001, 0), (1001, 1)), say(1, ack=plain(1001, 1, 2)), later,
                             sharing(1002, (1001, 0), (1002, 0)), say(1, ack=plain(1002, 1, 2)), later,
                             sharing(1003, (1002, 0), (1003, 9)), say(1, ack=plain(1003, 1, 2)), later,
                             sharing(1004, (1001, 1)), say(1, ack=plain(1004, 1, 2)), later))
seed("core", "shared-back", steps(*begin, later, sharing(1001, (1001, 0)), say(1, ack=plain(1001, 1, 2)), later,
                                  (6, 0, b""), (6, 1, b""), (7, 0, b"\0" * 2000), join(0, 0, 1), join(1, 1, 2), wait, later))
seed("core", "lost", steps(*begin, *one_round, (6, 0, b""), (7, 0, b"\0" * 2000), join(0, 0, 1), later))
seed("core", "decline", steps(*begin, later, *[say(0, decline=W.Decline(attempt=1, round=r, task=0, reason=b"full"))
                                               for r in range(1001, 1005)], later))
seed("core", "finish", steps(*begin, say(0, finished=W.TaskFinished(attempt=1, tasks=[C.TaskRange(count=1)])),
                             say(1, finished=W.TaskFinished(attempt=1, tasks=[C.TaskRange(first=1, count=2)])),
                             *one_round, *confirm, later))
seed("core", "admin", steps(*begin, ask(list_jobs=A.ListJobs()), ask(show_job=A.ShowJob(job=b"job")),
                            ask(savepoint=A.TriggerSavepoint(job=b"job", key=b"k", who=b"me")), *one_round,
                            ask(wait=A.WaitOperation(operation=1001, timeout_ms=100)), later))
# A second attempt from the snapshot; a worker that comes back with its token; what fails; what is refused.
def join_parts(who, first, count, *parts, **more):
    j = W.Join(job=b"job", spec=with_parts(), worker=b"w%d" % who, tasks=[C.TaskRange(first=first, count=count)],
               externals=[PARTS[p] for p in parts], **more)
    return (5, who, j.SerializeToString())


def answer(who, part, rnd, failed=b"", data=b"data"):
    return say(who, external=W.ExternalAnswer(attempt=1, round=rnd, failed=failed,
                                              state=C.ExternalState(external=PARTS[part], data=data)))


parts_begin = [join_parts(0, 0, 1, 0), join_parts(1, 1, 2, 1), wait, restored(0, 0, 1), restored(1, 1, 2),
               answer(0, 0, 0), answer(1, 1, 0), wait, later]
parts_answer = [answer(w, w, r) for r in range(1001, 1005) for w in (0, 1)]
seed("core", "external", steps(*parts_begin, *parts_answer, *one_round, later))
seed("core", "external-fails", steps(*parts_begin, *[answer(0, 0, r, b"no") for r in range(1001, 1005)], later,
                                     answer(1, 1, 0, b"cannot go on"), later))
seed("core", "external-back", steps(*parts_begin, (6, 0, b""), wait, join_parts(
    0, 0, 1, 0, token=C.Token(attempt=1), phase=W.PHASE_RUNNING), *parts_answer, *one_round, later))
seed("core", "external-refused", steps(join_parts(0, 0, 1, 0, 0), join_parts(1, 1, 2, 0, 1), join_parts(2, 0, 1, 1), wait))
both = [(6, 0, b""), (6, 1, b""), (7, 0, b"\0" * 2000), join(0, 0, 1), join(1, 1, 2), wait]
again = [say(w, restored=W.Restored(attempt=2, tasks=[C.TaskRange(first=f, count=c)])) for w, f, c in ((0, 0, 1), (1, 1, 2))]
seed("core", "restore", steps(*begin, *one_round, *both, *again, later))
seed("core", "restore-failed", steps(*begin, *one_round, *both, say(0, restore_failed=W.RestoreFailed(
    attempt=2, task=0, reason=b"gone")), later))
# What lies in a directory: the newest snapshot, unless something else is said to; a job that is new begins from it.
elsewhere = ask(restore=A.RestoreJob(job=b"job", directory=b"/copies/1", allow_repeat=True))
seed("core", "import", steps(*begin, *one_round, elsewhere, *both, *again, later))
seed("core", "import-alone", steps(*begin, *one_round, ask(import_snapshot=A.ImportSnapshot(
    job=b"job", directory=b"/copies/1", label=b"l")), ask(restore=A.RestoreJob(job=b"job", snapshot=1003)), later))
seed("core", "import-damaged", steps(*begin, *one_round, (4, 0, b"TIDEMETA\1\0\0\0\0\0\0\0"), elsewhere, later))
begins = spec(b"new")
begins.restore_from = b"/copies/1"
seed("core", "import-new", steps(*begin, *one_round, (5, 2, W.Join(job=b"new", spec=begins, worker=b"w2", tasks=[
    C.TaskRange(first=0, count=3)]).SerializeToString()), wait, say(2, restored=W.Restored(
        attempt=1, tasks=[C.TaskRange(first=0, count=3)])), later))
mine = C.Token(attempt=1)
seed("core", "back", steps(*begin, *one_round, (6, 0, b""), wait, join(0, 0, 1, token=mine, phase=W.PHASE_RUNNING,
                                                                      told_complete=1001, unconfirmed=[1001]), later))
seed("core", "back-open", steps(*begin, later, (6, 1, b""), join(1, 1, 2, token=mine, phase=W.PHASE_RUNNING, open=[
    W.OpenRound(round=1001, acked=[C.TaskRange(first=1, count=1)]), W.OpenRound(round=1002)]), later))
seed("core", "backlog", steps(*begin, say(0, backlog=W.Backlog(attempt=1, task=0, behind=True)), later, *[
    say(0, decline=W.Decline(attempt=1, round=r, task=0, reason=b"overtaken", gave_up=True)) for r in range(1001, 1005)],
    say(0, backlog=W.Backlog(attempt=1, task=0)), later, say(1, backlog=W.Backlog(attempt=1, task=1, behind=True))))
seed("core", "late", steps(*begin, later, say(0, decline=W.Decline(attempt=1, round=1001, task=0, reason=b"full")),
                           *[say(1, ack=plain(1001, 1, 2)) for _ in range(2)], later))
seed("core", "no-space", steps(*begin, (4, 0, b""), *one_round, later))
seed("core", "refused", steps(*begin, (4, 2, b""), *one_round, later))
seed("core", "no-directory", steps(join(0, 0, 1), (4, 3, b""), join(1, 1, 2), wait, restored(0, 0, 1), later))
seed("core", "savepoint-fails", steps(*begin, (4, 1, b""), ask(savepoint=A.TriggerSavepoint(job=b"job", target=b"/t")),
                                      *one_round, later))
host = W.Host(boot_id=b"boot", pid=7, start_time=9)
seed("core", "parked", steps(join(0, 0, 1, host=host), join(1, 1, 2, host=host), wait, restored(0, 0, 1), restored(1, 1, 2),
                             wait, join(2, 0, 1, host=host), say(2, holder_gone=W.HolderGone(holder=host)), wait,
                             say(1, leave=W.Leave(reason=b"done")), later))
other = spec()
other.operators.add(uid=b"more", parallelism=1)
seed("core", "other-spec", steps(join(0, 0, 1), (5, 1, W.Join(job=b"job", spec=other, worker=b"w1", tasks=[
    C.TaskRange(first=1, count=1)]).SerializeToString()), wait))
seed("core", "barrier", steps(*begin, later, say(1, barrier=W.Barrier(round=1001, attempt=1, tasks=[W.TaskProgress(task=1, phase=1)])),
                              say(0, heartbeat=W.Heartbeat(sequence=1)), say(0, barrier=W.Barrier(round=1001, attempt=1)),
                              later))

# How jobs are stopped, and what else admins order.
finished = [say(0, finished=W.TaskFinished(attempt=1, tasks=[C.TaskRange(count=1)])),
            say(1, finished=W.TaskFinished(attempt=1, tasks=[C.TaskRange(first=1, count=2)]))]
owing = [later] + [say(w, ack=W.AckBatch(attempt=1, round=r, full=[W.TaskAck(task=t, handle=b"part") for t in tasks]))
                   for r in range(1001, 1005) for w, tasks in ((0, [0]), (1, [1, 2]))] + [wait]
stop = A.StopJob(job=b"job", key=b"k", who=b"me", label=b"last")
seed("core", "stop", steps(*begin, ask(stop=stop), *one_round, *confirm, later, ask(show_job=A.ShowJob(job=b"job")), join(0, 0, 1)))
seed("core", "stop-supersedes", steps(*begin, later, ask(stop=A.StopJob(job=b"job", kind=C.ROUND_CHECKPOINT, supersede=True)),
                                      *one_round, *confirm, later))
seed("core", "stop-owes", steps(*begin, ask(stop=stop), *owing, (6, 1, b""), wait, join(1, 1, 2), later, *confirm, later))
seed("core", "stop-declined", steps(*begin, ask(stop=stop), *[say(0, decline=W.Decline(attempt=1, round=r, task=0, reason=b"no"))
                                                              for r in range(1001, 1005)], later, ask(stop=stop), later))
drain = ask(stop=A.StopJob(job=b"job", drain=True))
seed("core", "drain", steps(*begin, drain, *finished, *one_round, *confirm, later))
seed("core", "drain-aborts", steps(*begin, drain, *finished[:1], later, (6, 1, b""), (7, 0, b"\0" * 2000), join(1, 1, 2), later))
seed("core", "cancel", steps(*begin, later, ask(stop=stop), ask(cancel=A.CancelJob(job=b"job")), *one_round, later))
seed("core", "cancel-savepoint", steps(*begin, ask(cancel=A.CancelJob(job=b"job", savepoint=True, target=b"/t")), *one_round,
                                       *confirm, later))
seed("core", "commits", steps(*begin, ask(savepoint=A.TriggerSavepoint(job=b"job", commits=True)), *one_round, *confirm,
                              *[ask(dispose=A.DisposeSnapshot(snapshot=r)) for r in range(1001, 1005)], later))
seed("core", "hold", steps(*begin, *one_round, ask(hold=A.HoldJob(job=b"job", cause=b"because")), wait, join(0, 0, 1), join(1, 1, 2),
                           ask(release=A.ReleaseJob(job=b"job", abandon_owed=True)), join(0, 0, 1), join(1, 1, 2), later))
for number, order in enumerate((dict(latest=True, dry_run=True), dict(nothing=True, allow_repeat=True), dict(snapshot=1001),
                                dict(directory=b"/state/r1001", allow_unmatched=True))):
    seed("core", "order-%d" % number, steps(*begin, *one_round, *confirm, ask(restore=A.RestoreJob(job=b"job", **order)), wait,
                                            join(0, 0, 1), join(1, 1, 2), later))

# Rendezvous rounds: one that completes, with who says it twice; and what is refused.
meet = spec()
meet.checkpointing.style = C.STYLE_RENDEZVOUS
hosts = [(5, w, W.Join(job=b"job", spec=meet, worker=b"w%d" % w, tasks=[C.TaskRange(first=f, count=c)]).SerializeToString())
         for w, f, c in ((0, 0, 1), (1, 1, 2))]
parts = ((0, [0]), (1, [1, 2]))
met = [*hosts, wait, restored(0, 0, 1), restored(1, 1, 2), later]
for r in range(1001, 1005):
    met += [say(w, position=W.Position(attempt=1, round=r, task=t, position=[7] * len(t))) for w, t in parts * 2]
    met += [say(w, standing=W.Standing(attempt=1, round=r, tasks=[C.TaskRange(first=t[0], count=len(t))])) for w, t in parts]
    met += [say(w, ack=plain(r, *t)) for w, t in parts]
seed("core", "rendezvous", steps(*met, wait, later, ask(show_job=A.ShowJob(job=b"job"))))
meet.operators[0].coordinator = True
meet.hooks.append(b"lock")
hosts = [(5, w, W.Join(job=b"job", spec=meet, worker=b"w%d" % w, tasks=[C.TaskRange(first=f, count=c)],
                       externals=[PARTS[w]]).SerializeToString()) for w, f, c in ((0, 0, 1), (1, 1, 2))]
seed("core", "rendezvous-external", steps(*hosts, wait, restored(0, 0, 1), restored(1, 1, 2), answer(0, 0, 0), answer(1, 1, 0), wait,
                                          later, *parts_answer, *met[6:], wait, later))
seed("core", "unequal", steps(*met[:6], *[say(0, position=W.Position(attempt=1, round=r, task=[0], position=[1, 2]))
                                          for r in range(1001, 1005)]))
seed("core", "early", steps(*met[:6], *[say(1, standing=W.Standing(attempt=1, round=r, tasks=[C.TaskRange(first=1, count=2)]))
                                        for r in range(1001, 1005)], later))
# Barriers that go ahead: moves of 192 to 223 behind a 252.
flights = {
    "unaligned": [(192, 0x11), (195, 0x11), (199, 5), (194, 9), (199, 13), (195, 0x19)],
    "timeout": [(192, 0x1a), (195, 2), (194, 10), (11, 30), (199, 9), (195, 10)],
    "turned": [(192, 0x1b), (193, 3), (195, 3), (197, 9), (195, 11)],
    "counted": [(192, 0x0c), (195, 0x24), (192, 0x0d), (195, 0x25), (195, 0x2d)],
    "parked": [(192, 0x11), (192, 2), (195, 1), (195, 2), (199, 8), (195, 9), (195, 10)],
    "aborted": [(192, 0x11), (195, 1), (199, 8), (15, 1), (195, 9)],
    "given-up": [(192, 0x11), (195, 1), (8, 0), (11, 40), (195, 9)],
    "promoted": [(192, 0x19), (195, 1), (195, 9), (11, 30), (196, 1)],
    "forced": [(192, 0x11), (195, 9), (195, 1)],
}
for name, moves in flights.items():
    before = {"promoted": b"\xc6\x02", "forced": b"\xc6\x01"}.get(name, b"")
    seed("session", "flight-" + name, b"\xfc" + before + b"".join(bytes(m) for m in up + moves))
# The same for a session: moves of fuzz_session.c.
opening = bytes([255, 4, 0, 5, 0, 3, 1, 6, 1])  # Welcome, Joined, Start, Run of attempt 1
at_3 = bytes([227, 6, 227, 7])  # both tasks at position 3
at_5 = bytes([227, 10, 227, 11])
seed("session", "meet", opening + at_3 + bytes([224, 0x85, 225, 5]) + at_5 + bytes([226, 0]) + at_5 + bytes([14, 5]))
seed("session", "meet-abort", opening + at_3 + bytes([224, 0x85, 225, 5]) + at_5 + bytes([15, 5]) + at_5)
seed("session", "meet-cut-off", opening + at_3 + bytes([224, 0xa5, 225, 5]) + at_5 + bytes([8, 0, 11, 40]) + at_5)
seed("session", "meet-finished", opening + at_3 + bytes([9, 0, 224, 0x85, 225, 5]) + at_5 + bytes([226, 0]))

for name, call in (("snapshots", {"snapshots": A.ListSnapshots(job=b"alpha", deleted=True, limit=2)}),
                   ("before", {"snapshots": A.ListSnapshots(before=12)}),
                   ("snapshot", {"snapshot": A.ShowSnapshot(snapshot=11, first_task=2, limit=3)}),
                   ("lineage", {"lineage": A.Lineage(snapshot=12)}), ("job", {"lineage": A.Lineage(job=b"alpha")}),
                   ("rounds", {"rounds": A.ListRounds(job=b"alpha")}),
                   ("aborted", {"rounds": A.ListRounds(job=b"alpha", limit=1, before=14)}),
                   ("operation", {"wait": A.WaitOperation(operation=5)})):
    seed("reader", name, A.Request(id=1, **call).SerializeToString())


# fuzz_align: the number of channels, then (what, channel, round); flags and modes in the upper half.
ALIGNED, COUNTED, UNALIGNED, TIMEOUT = 0, 0x10, 0x20, 0x30 # of a trigger
PLAIN, FLAGGED, COUNTING = 0, 0x10, 0x20 # of a barrier
BARRIER, CANCEL, END, TRIGGER, ABORT, TICK, ANNOUNCE, TURN, SENT, PROMOTABLE, FORCE = 0, 2, 3, 4, 5, 7, 9, 11, 12, 13, 14
LONG = 200 # of a trigger, in the place of the channel: time until it turns


def alignment(name, channels, *events):
    seed("align", name, bytes([channels]) + b"".join(bytes(e) for e in events))


alignment("unaligned", 3, (TRIGGER | UNALIGNED, LONG, 1), (BARRIER | FLAGGED, 1, 1), (BARRIER | FLAGGED, 0, 1),
          (BARRIER | FLAGGED, 2, 1))
alignment("announced", 3, (TRIGGER | UNALIGNED, LONG, 1), (ANNOUNCE | FLAGGED, 1, 1), (ANNOUNCE, 0, 1), (BARRIER, 2, 1))
alignment("turned-by-time", 2, (TRIGGER | TIMEOUT, 3, 1), (BARRIER, 0, 1), (ANNOUNCE, 1, 1), (TICK, 250, 0))
alignment("turned-by-advice", 2, (TURN, 0, 1), (TRIGGER | TIMEOUT, LONG, 1), (BARRIER, 0, 1), (TURN, 0, 1),
          (BARRIER, 1, 1))
alignment("turned-upstream", 2, (TRIGGER | TIMEOUT, LONG, 1), (BARRIER, 0, 1), (BARRIER | FLAGGED, 1, 1))
alignment("waits-behind", 2, (TRIGGER | UNALIGNED, LONG, 1), (TRIGGER, LONG, 2), (BARRIER | FLAGGED, 0, 1),
          (BARRIER, 0, 2), (BARRIER | FLAGGED, 1, 1), (BARRIER, 1, 2))
alignment("forced", 3, (FORCE | FLAGGED, 1, 0), (TRIGGER | UNALIGNED, LONG, 1), (BARRIER | FLAGGED, 0, 1),
          (ANNOUNCE | FLAGGED, 2, 1), (BARRIER, 1, 1))
alignment("outputs", 1, (PROMOTABLE, 2, 0), (TRIGGER | TIMEOUT, LONG, 1), (BARRIER, 0, 1), (SENT, 0, 1), (SENT, 0, 1),
          (TRIGGER | TIMEOUT, 6, 2), (BARRIER, 0, 2), (TICK, 250, 0))
alignment("counted", 2, (TRIGGER | COUNTED, LONG, 1), (TRIGGER | COUNTED, LONG, 2), (BARRIER | COUNTING, 0, 1),
          (BARRIER | COUNTING, 0, 2), (CANCEL, 1, 1), (END, 1, 0), (ABORT, 1, 2))

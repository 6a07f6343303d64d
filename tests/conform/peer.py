"""What the vectors are written with: a connection that says what it is told to, and what the page
promises about the answer.

A Peer is one raw connection; a Worker a Peer that joins, starts and acks by calls, and says nothing
by itself. Context is what all vectors share: where the implementation listens, and the bystander,
a well-behaved worker whose job must go on whatever a vector does.
"""
import itertools
import select
import socket
import struct
import threading
import time

import wire
from admin import PATIENCE_S, Admin, busy
from wire import c, w
from proto import admin_pb2 as a


class Failed(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failed(text)


def short(message):
    text = " ".join(str(message).split())
    return text if len(text) < 300 else text[:300] + "..."


def unknown_field(number=77):
    """A field that no message has, of a later version perhaps."""
    return varint(number << 3 | 2) + varint(5) + b"later"


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    """A length-delimited field: a message around its content."""
    return varint(number << 3 | 2) + varint(len(data)) + data


class Peer:
    """One connection."""

    def __init__(self, ctx, kind=c.PEER_WORKER):
        self.ctx, self.kind = ctx, kind
        self.socket = socket.create_connection(ctx.address, timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.frames = wire.Frames()
        self.answer = w.ToWorker if kind == c.PEER_WORKER else a.Response

    def raw(self, data):
        self.socket.settimeout(PATIENCE_S)
        self.socket.sendall(data)

    def send(self, message=None, **member):
        """A message or bytes, framed."""
        if message is None:
            message = w.FromWorker(**member)
        self.raw(wire.frame(message))

    def receive(self, seconds=PATIENCE_S):
        """The next message; None at the end of the connection. Fails when nothing comes."""
        end = time.monotonic() + seconds
        while True:
            body = self.frames.next()
            if body is not None:
                return self.answer.FromString(body)
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                raise Failed("no answer within %g s" % seconds)
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self.frames.feed(data)

    def expect(self, kind, seconds=PATIENCE_S, skip=("alive",)):
        """The next message, which must be of this kind; its content."""
        while True:
            m = self.receive(seconds)
            if m is None:
                raise Failed("the connection was closed instead of %s" % kind)
            got = m.WhichOneof("msg" if self.kind == c.PEER_WORKER else "result")
            if got in skip and got != kind:
                continue
            check(got == kind, "%s instead of %s: %s" % (got, kind, short(m)))
            return getattr(m, got)

    def refused(self, code, *names, skip=("alive",)):
        """Refused with this code and a reason that names these, then the end."""
        r = self.expect("refused", skip=skip)
        check(r.code == code, "%s instead of %s: %s" % (
            c.RefusedCode.Name(r.code), c.RefusedCode.Name(code), r.reason))
        self.reason(r.reason, names)
        self.ends()
        return r

    @staticmethod
    def reason(text, names):
        said = text.decode()  # UTF-8, always
        check(said and "\0" not in said, "an empty reason")
        for name in names:
            check(name in said, "the reason does not name %r: %s" % (name, said))

    def ends(self, seconds=PATIENCE_S):
        m = self.receive(seconds)
        check(m is None, "after the last word came %s" % short(m or ""))
        self.close()

    def quiet(self, seconds=0.15):
        """Nothing comes, and the connection stays."""
        try:
            m = self.receive(seconds)
        except Failed:
            return
        raise Failed("unexpected: %s" % (short(m) if m else "the connection was closed"))

    def close(self):
        self.socket.close()

    def hello(self, **changes):
        h = c.Hello(version_min=1, version_max=1, kind=self.kind, secret=self.ctx.secret, software=b"conform")
        for name, value in changes.items():
            setattr(h, name, value)
        self.send(w.FromWorker(hello=h) if self.kind == c.PEER_WORKER else a.Request(hello=h))
        return self

    def welcomed(self, **changes):
        self.hello(**changes)
        self.welcome = self.expect("welcome")
        return self

    # admins
    def ask(self, call_id=1, **call):
        """The answer; BUSY, which the page allows at any time, is none yet."""
        return self.answered(a.Request(id=call_id, **call), call_id)

    def answered(self, request, call_id, or_busy=False):
        end = time.monotonic() + PATIENCE_S
        while True:
            self.send(request)
            m = self.receive()
            check(m is not None, "the connection was closed")
            check(m.id == call_id, "answer %d to request %d" % (m.id, call_id))
            if or_busy or not busy(m) or time.monotonic() > end:
                return m
            time.sleep(0.05)

    def error(self, code, *names, **call):
        m = self.answered(a.Request(id=1, **call), 1, or_busy=code == a.ERROR_BUSY)
        check(m.WhichOneof("result") == "error", "no error: %s" % short(m))
        check(m.error.code == code, "%s instead of %s: %s" % (
            a.ErrorCode.Name(m.error.code), a.ErrorCode.Name(code), m.error.text))
        self.reason(m.error.text, names)


def make_spec(name, operators=((b"op", 1),), edges=(), **checkpointing):
    return c.JobSpec(name=name, operators=[c.Operator(uid=u, parallelism=p) for u, p in operators],
                     edges=[wire.edge(f, t, c.EDGE_ALL_TO_ALL) for f, t in edges],
                     checkpointing=c.Checkpointing(**checkpointing) if checkpointing else None)


numbers = itertools.count(1)


class Worker(Peer):
    """A connection that takes part."""

    def __init__(self, ctx, spec, tasks=(0,), name=None):
        super().__init__(ctx)
        self.spec, self.tasks = spec, list(tasks)
        self.name = name or b"w%d" % next(numbers)
        self.host = w.Host(boot_id=b"conform/1", pid=next(numbers), start_time=1)
        self.parts = wire.Parts()
        self.token, self.attempt = None, 0

    def mine(self):
        return wire.ranges(self.tasks)

    def join_message(self, **changes):
        j = w.Join(job=self.spec.name, spec=self.spec, worker=self.name, host=self.host,
                   tasks=self.mine(), endpoint=b"nowhere")
        for key, value in changes.items():
            if value is None:
                j.ClearField(key)
            elif key == "tasks":
                del j.tasks[:]
                j.tasks.extend(value)
            elif key in ("open", "unconfirmed", "ending", "ended"):
                getattr(j, key).extend(value)
            elif key in ("spec", "host", "token"):
                getattr(j, key).CopyFrom(value)
            else:
                setattr(j, key, value)
        return j

    def join(self, message=None, **changes):
        data = message if isinstance(message, bytes) else self.join_message(**changes).SerializeToString()
        for part in wire.parts(data):
            self.send(join=part)
        return self

    def joined(self, **changes):
        self.welcomed()
        self.join(**changes)
        self.answer_joined = self.expect("joined")
        return self

    def start(self):
        data = None
        while data is None:
            data = self.parts.add(self.expect("start"))
        s = self.start_message = w.Start.FromString(data)
        self.token, self.attempt = s.token, s.token.attempt
        return s

    def restored(self, tasks=None):
        self.send(restored=w.Restored(attempt=self.attempt, tasks=wire.ranges(tasks or self.tasks)))

    def run(self):
        """From nothing to running, alone."""
        self.joined()
        self.start()
        self.restored()
        self.expect("run")
        return self

    def alive(self, sequence=99):
        """The daemon still listens to it."""
        self.send(heartbeat=w.Heartbeat(sequence=sequence))
        m = self.expect("alive")
        check(m.sequence == sequence, "heartbeat %d answered as %d" % (sequence, m.sequence))

    def batch(self, number, tasks=None, **changes):
        tasks = self.tasks if tasks is None else tasks
        b = w.AckBatch(attempt=self.attempt, round=number, task=tasks, align_us=[0] * len(tasks),
                       sync_us=[1] * len(tasks), async_us=[2] * len(tasks), artifacts=[1] * len(tasks),
                       size=[3] * len(tasks), digest_low=[3] * len(tasks), digest_high=[4] * len(tasks))
        for key, value in changes.items():
            if key == "size" and isinstance(value, int):
                value = [value] * len(tasks)
            if isinstance(value, list):
                del getattr(b, key)[:]
                getattr(b, key).extend(value)
            else:
                setattr(b, key, value)
        return b

    def ack(self, number, tasks=None, **changes):
        self.send(ack=self.batch(number, tasks, **changes))

    def decline(self, number, task=None, **changes):
        values = dict(attempt=self.attempt, round=number, task=self.tasks[0] if task is None else task,
                      reason=b"not now")
        values.update(changes)
        self.send(decline=w.Decline(**values))

    def confirm(self, number, tasks=None, **changes):
        values = dict(attempt=self.attempt, round=number, tasks=wire.ranges(tasks or self.tasks))
        values.update(changes)
        self.send(confirm=w.Confirm(**values))

    def trigger(self):
        """A checkpoint is asked for by an admin; what the worker is told."""
        self.operation = self.ctx.checkpoint(self.spec.name)
        t = self.expect("trigger")
        check(t.attempt == self.attempt, "a trigger of attempt %d" % t.attempt)
        return t

    def complete(self, number):
        m = self.expect("complete")
        check((m.attempt, m.round) == (self.attempt, number), "complete: %s" % short(m))
        return m

    def round(self):
        """One good checkpoint; its number."""
        t = self.trigger()
        self.ack(t.round)
        self.complete(t.round)
        self.confirm(t.round)
        return t.round

    def again(self, **changes):
        """The same process on a new connection, with what it has."""
        other = Worker(self.ctx, self.spec, self.tasks, self.name)
        other.host, other.token, other.attempt = self.host, self.token, self.attempt
        other.welcomed()
        values = dict(token=self.token, phase=w.PHASE_RUNNING)
        values.update(changes)
        other.join(**values)
        return other


class Bystander(threading.Thread):
    """A job of two tasks on a worker that keeps the rules, in a thread of its own."""

    def __init__(self, ctx):
        super().__init__(daemon=True)
        self.ctx, self.over, self.failure = ctx, False, None
        spec = make_spec(ctx.job(), ((b"op", 2),), lease_ms=20000, heartbeat_ms=500)
        self.worker = Worker(ctx, spec, (0, 1)).run()
        self.attempt = self.worker.attempt
        self.start_time = time.monotonic()
        self.start()

    def run(self):
        try:
            beat = 0
            while not self.over:
                if time.monotonic() > self.start_time + beat * 0.5:
                    beat += 1
                    self.worker.send(heartbeat=w.Heartbeat(sequence=beat))
                if select.select([self.worker.socket], [], [], 0.1)[0]:
                    self.listen()
        except Exception as e:
            self.failure = e

    def listen(self):
        m = self.worker.receive()
        check(m is not None, "its connection was closed")
        kind = m.WhichOneof("msg")
        if kind == "trigger":
            self.worker.ack(m.trigger.round)
        elif kind == "complete":
            self.worker.confirm(m.complete.round)
        else:
            check(kind == "alive", "it was told %s" % short(m))

    def healthy(self):
        """A round completes, in the attempt that it began with."""
        job = self.worker.spec.name
        admin = Peer(self.ctx, c.PEER_ADMIN).welcomed()
        operation = self.ctx.checkpoint(job)
        m = admin.ask(wait=a.WaitOperation(operation=operation, timeout_ms=PATIENCE_S * 1000)).operation
        check(self.failure is None, "the bystander: %s" % self.failure)
        check(m.state == b"done", "the bystander's checkpoint is %s: %s" % (m.state.decode(), m.error.decode()))
        attempt = admin.ask(show_job=a.ShowJob(job=job)).job.summary.attempt
        check(attempt == self.attempt, "the bystander's job is in attempt %d" % attempt)
        admin.close()

    def end(self):
        self.over = True
        self.join()
        self.worker.close()


class Context:
    """Where the implementation is, and what it was told."""

    def __init__(self, address, secret, hello_timeout_s, daemon=None):
        self.address, self.secret = address, secret
        self.hello_timeout_s, self.daemon = hello_timeout_s, daemon
        self.prefix = b"conform-%08x-" % (int(time.time() * 1000) & 0xFFFFFFFF)
        self.jobs = itertools.count(1)

    def job(self):
        """A name that no other vector uses."""
        return self.prefix + b"%d" % next(self.jobs)

    def peer(self):
        return Peer(self)

    def admin(self):
        return Peer(self, c.PEER_ADMIN).welcomed()

    def admin2(self):
        """One that speaks version 2."""
        return Peer(self, c.PEER_ADMIN).welcomed(version_max=2)

    def worker(self, spec=None, tasks=(0,), **checkpointing):
        return Worker(self, spec or make_spec(self.job(), **checkpointing), tasks)

    def pair(self, **checkpointing):
        """A job of two tasks, running on two workers."""
        spec = make_spec(self.job(), ((b"op", 2),), **checkpointing)
        both = Worker(self, spec, (0,)).joined(), Worker(self, spec, (1,)).joined()
        for x in both:
            x.start()
            x.restored()
        for x in both:
            x.expect("run")
        return both

    def checkpoint(self, job):
        admin = Admin(self.address, self.secret)
        try:
            answer = admin.ask(checkpoint=a.TriggerCheckpoint(job=job))
            check(isinstance(answer, a.Operation), "no checkpoint: %s" % short(answer))
            return answer.id
        finally:
            admin.close()


# ---- the list of vectors

class Vector:
    def __init__(self, group, name, says, play, needs, hasty):
        self.group, self.name, self.says, self.play = group, name, says, play
        self.needs, self.hasty = needs, hasty


vectors = []


def vector(name, says, needs=None, hasty=False):
    """Registers a function of the context. says: the sentence of docs/protocol.md that it checks;
    needs: "secret", "daemon" (one of ours, to be restarted), or nothing; hasty: it fails when the
    machine keeps one of us waiting for a second, so that a failure counts when it repeats itself alone."""
    def register(play):
        group = play.__module__.rpartition("_")[2]
        vectors.append(Vector(group, name, says, play, needs, hasty))
        return play
    return register


def raw_batch(message, replace=None, drop=None, extra=b""):
    """An AckBatch as bytes, with one column's bytes exchanged or left out."""
    data, out, at = message.SerializeToString(), b"", 0
    while at < len(data):
        key, begin = read_varint(data, at)
        if key & 7 == 0:
            end = read_varint(data, begin)[1]
        elif key & 7 == 2:
            n, begin = read_varint(data, begin)
            end = begin + n
        else:
            raise ValueError("a type that an AckBatch does not have")
        if key >> 3 == drop:
            pass
        elif replace and key >> 3 == replace[0]:
            out += replace[1]
        else:
            out += data[at:end]
        at = end
    return out + extra


def read_varint(data, at):
    n = shift = 0
    while True:
        n |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return n, at


def frame_of(length, body=b""):
    return struct.pack("<I", length) + body

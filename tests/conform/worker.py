"""A worker that takes part in a job, written from docs/protocol.md and proto/*.proto alone.

It hosts one task. Worker speaks with the daemon; Aligner is the task's part of a round; what the
task computes is a Program. One thread, one loop, as in an embedded program: whoever owns the loop
waits for Worker.socket to be readable or for Worker.wait_s(), and calls Worker.turn().

The usual way: connect, Hello, Join -> Start: restore -> Run -> rounds -> TaskFinished -> Stop.
What can go wrong: the connection breaks (the task computes on, the worker joins again with what
it has), the daemon says Rewind (drop everything, join with nothing), the lease is over (silent
until Resumed), the job has ended (Ended is raised).
"""
import errno
import os
import random
import socket
import time

from google.protobuf.message import DecodeError

import wire
from wire import c, w

INLINE_MAX = 4096
BACKOFF_S = 0.05, 5.0


def now():
    """A clock that runs on while the machine sleeps: leases are counted on it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def this_host():
    with open("/proc/sys/kernel/random/boot_id") as f:
        boot = f.read().strip()
    namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    return w.Host(boot_id=("%s/%s" % (boot, namespace)).encode(), pid=os.getpid(),
                  start_time=start_time(os.getpid()))


def start_time(pid):
    """Field 22 of its stat, None if there is no such process."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19])


class Ended(Exception):
    """The job has ended, with this outcome; nothing is left to do."""


class Hopeless(Exception):
    """The daemon's word is one that only a person can change."""


class Program:
    """What a task computes, and how it moves barriers. All that is asked of it, in the order of a
    life; each may raise to refuse where that makes sense (restore, snapshot)."""

    def restore(self, start, states, ended):
        """states: (Artifact, its bytes). start.token names job and attempt."""

    def run(self, start):
        pass

    def block(self, channel, blocked):
        pass

    def forward(self, data):
        """Put these 16 bytes into every output, now."""

    def snapshot(self):
        """(bytes, name, first key group, number of key groups)"""
        return b"", b"", 0, 0

    def complete(self, number, handle):
        """Publish; handle is None but for a commit that is owed since before the restore."""

    def ended(self):
        pass

    def rewind(self, reason):
        pass


class Aligner:
    """Alignment of one task, as in 'Rounds': which channels are blocked, which rounds are over."""

    def __init__(self, program, channels, take, lost):
        """take(trigger): snapshot and ack; lost(round, reason): the task has given it up."""
        self.program, self.n, self.take, self.lost = program, channels, take, lost
        self.reset(b"", 0)

    def reset(self, job_id, lowest_pending):
        self.job_id, self.lowest = job_id, lowest_pending
        self.open = set(range(self.n))
        self.aligning, self.had = 0, set()
        self.since = 0.0
        self.triggers, self.time_over = {}, {}  # round: Trigger; until when it may be aligned
        self.over = {}  # round: whether its barrier or its cancel marker has gone downstream

    def trigger(self, t):
        if t.round < self.lowest or t.round in self.over:
            return
        self.triggers[t.round] = t
        self.time_over[t.round] = now() + t.left_ms / 1000
        if not self.open or self.aligning == t.round:
            self.aligning = t.round
            self.check()

    def barrier(self, channel, data):
        """Raises Malformed: an error of the channel."""
        number, flags = wire.read_barrier(self.job_id, data)
        if flags & wire.FLAG_END:
            return self.channel_end(channel)
        if flags & wire.FLAG_CANCEL:
            return self.give_up(number, "it was given up upstream")
        if number < self.lowest or number < self.aligning:
            return
        if number in self.over:
            return self.cancel_downstream(number)
        if self.aligning and number > self.aligning:
            self.give_up(self.aligning, "round %d has overtaken it" % number)
        if not self.aligning:
            self.aligning, self.since = number, now()
        self.had.add(channel)
        self.program.block(channel, True)
        self.check()

    def channel_end(self, channel):
        self.open.discard(channel)
        if not self.open and not self.aligning and self.triggers:
            self.aligning = max(self.triggers)
        self.check()

    def check(self):
        if not self.aligning or not self.open <= self.had or self.aligning not in self.triggers:
            return
        t = self.triggers.pop(self.aligning)
        self.program.forward(wire.barrier(self.job_id, t.round))
        self.over[t.round] = True
        self.take(t)
        self.unblock()

    def unblock(self):
        self.aligning = 0
        for channel in sorted(self.had):
            self.program.block(channel, False)
        self.had.clear()

    def give_up(self, number, reason=None):
        """The round is over, perhaps before it was seen; without reason: by the daemon's word."""
        if number < self.lowest:
            return
        self.triggers.pop(number, None)
        self.cancel_downstream(number)
        if self.aligning == number:
            self.unblock()
        if reason:
            self.lost(number, reason)

    def tick(self, cut_since, orphan_s):
        """Nobody waits for an absent daemon, nor for a round whose time is over."""
        number = self.aligning
        if not number:
            return
        if cut_since and now() - max(cut_since, self.since) > orphan_s:
            self.give_up(number, "the daemon was away for longer than the orphan limit")
        elif now() > self.time_over.get(number, now()):
            self.give_up(number, "its time was over before every barrier was there")

    def cancel_downstream(self, number):
        if not self.over.get(number):
            self.over[number] = True
            self.program.forward(wire.barrier(self.job_id, number, wire.FLAG_CANCEL))

    def resolved(self, lowest):
        """All rounds below are resolved, and need not be remembered."""
        self.lowest = max(self.lowest, lowest)
        for known in (self.triggers, self.time_over, self.over):
            for number in [n for n in known if n < self.lowest]:
                del known[number]
        if self.aligning and self.aligning < self.lowest:
            self.unblock()


class Worker:
    def __init__(self, address, secret, spec, name, task, channels, endpoint, program, log=print):
        self.address, self.secret, self.spec, self.name = address, secret, spec, name
        self.task, self.endpoint, self.program, self.log = task, endpoint, program, log
        self.aligner = Aligner(program, channels, self.take_snapshot, self.lost)
        self.host = this_host()
        self.socket, self.state = None, "closed"  # then hello, joining, parked, joined
        self.backoff, self.next_try = BACKOFF_S[0], 0.0
        self.heartbeat_s = (spec.checkpointing.heartbeat_ms or 1000) / 1000
        self.lease_s = (spec.checkpointing.lease_ms or 10000) / 1000
        self.orphan_s, self.progress_s, self.sequence = 1.0, 1.0, 0
        self.lease_until, self.cut_since, self.reported = 0.0, 0.0, 0.0
        self.holder, self.next_look = w.Host(), 0.0
        self.drop()

    # ---- what the task has of its attempt

    def drop(self):
        self.token, self.phase = None, w.PHASE_NOTHING
        self.attempt = 0
        self.open = {}  # round: packed AckBatch, or None as long as it has not acked
        self.declines = {}  # round: reason; kept while the connection is cut
        self.told_complete = self.told_effects = self.confirmed = 0
        self.finished = self.is_ended = False
        self.attached = False  # this connection knows our attempt: between Start or Resumed and its end
        self.is_fenced = False
        self.start_message = None

    def fenced(self):
        """The lease is over, or was: only Resumed lifts that."""
        self.is_fenced = self.is_fenced or bool(self.token) and now() >= self.lease_until
        return self.is_fenced

    def may_speak(self):
        return self.state == "joined" and self.attached and not self.fenced()

    # ---- the connection

    def turn(self):
        """Does what there is to do; does not wait."""
        if self.state == "closed":
            if now() < self.next_try:
                return
            self.connect()
        self.read()
        if self.attached and self.fenced():
            self.close("the lease is over")
        self.heartbeat()
        self.look_for_holder()
        self.aligner.tick(self.cut_since, self.orphan_s)
        self.report()

    def wait_s(self):
        return max(0.0, min(self.next_heartbeat if self.state != "closed" else self.next_try,
                            now() + self.orphan_s) - now())

    def connect(self):
        try:
            self.socket = socket.create_connection(self.address, timeout=1)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            return self.close("cannot connect")
        self.frames, self.start_parts = wire.Frames(), wire.Parts()
        self.state, self.heard = "hello", now()
        self.sent_heartbeats, self.next_heartbeat = {}, now() + self.heartbeat_s
        self.send(hello=c.Hello(version_min=1, version_max=1, kind=c.PEER_WORKER,
                                secret=self.secret, software=b"conform.py"))

    def close(self, why):
        if self.socket:
            self.log("connection closed: %s" % why)
            self.socket.close()
            self.cut_since = now()
        self.socket, self.state, self.attached = None, "closed", False
        self.next_try = now() + self.backoff * random.uniform(0.5, 1)
        self.backoff = min(self.backoff * 2, BACKOFF_S[1])

    def send(self, **message):
        if not self.socket:
            return
        try:
            self.socket.settimeout(5)
            self.socket.sendall(wire.frame(w.FromWorker(**message)))
        except OSError as e:
            self.close(str(e))

    def read(self):
        while self.socket:
            self.socket.setblocking(False)
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError as e:
                return self.close(str(e))
            if not data:
                return self.close("the daemon closed it")
            self.heard = now()
            self.frames.feed(data)
            try:
                self.take_frames()
            except (wire.Malformed, DecodeError) as e:
                return self.close("the daemon sent nonsense: %s" % e)
        if self.socket and now() - self.heard > self.lease_s:
            self.close("the daemon is silent")

    def take_frames(self):
        while self.socket:
            body = self.frames.next()
            if body is None:
                return
            message = w.ToWorker.FromString(body)
            kind = message.WhichOneof("msg")
            if kind is None:
                raise wire.Malformed("an unknown message")
            getattr(self, "on_" + kind)(getattr(message, kind))

    # ---- joining

    def join(self):
        j = w.Join(job=self.spec.name, spec=self.spec, worker=self.name, host=self.host,
                   tasks=wire.ranges([self.task]), endpoint=self.endpoint)
        if self.token:
            mine = wire.ranges([self.task])
            j.token.CopyFrom(self.token)
            j.phase, j.told_complete, j.told_effects = self.phase, self.told_complete, self.told_effects
            known = set(self.open) | set(self.aligner.triggers)
            if self.aligner.aligning:
                known.add(self.aligner.aligning)
            for number in sorted(known):
                j.open.add(round=number, acked=mine if self.open.get(number) else [])
            if self.finished and not self.is_ended:
                j.ending.extend(mine)
            if self.is_ended:
                j.ended.extend(mine)
        for part in wire.parts(j.SerializeToString()):
            self.send(join=part)
        self.state, self.joined_at = "joining", now()

    def on_welcome(self, m):
        if self.state != "hello":
            raise wire.Malformed("a second Welcome")
        self.join()

    def on_joined(self, m):
        """Without a token Start follows; with one Resumed, when all are back, or Rewind."""
        self.state = "joined"
        self.heartbeat_s, self.lease_s = m.heartbeat_ms / 1000, m.lease_ms / 1000
        self.orphan_s, self.progress_s = m.orphan_limit_ms / 1000, m.progress_ms / 1000
        self.next_heartbeat = now()
        self.renew(self.joined_at)
        self.backoff = BACKOFF_S[0]

    def on_parked(self, m):
        self.state, self.holder, self.next_look = "parked", m.holder, now()

    def look_for_holder(self):
        h = self.holder
        if self.state != "parked" or not h.boot_id or h.boot_id != self.host.boot_id or now() < self.next_look:
            return
        self.next_look = now() + 1
        if start_time(h.pid) != h.start_time:
            self.send(holder_gone=w.HolderGone(holder=h))

    def on_resumed(self, m):
        if m.attempt != self.attempt or self.state != "joined":
            raise wire.Malformed("Resumed for attempt %d" % m.attempt)
        if now() >= self.lease_until:
            return self.close("Resumed came when the lease was over again")
        self.attached, self.is_fenced, self.cut_since = True, False, 0.0
        self.aligner.resolved(m.lowest_pending)
        mine = wire.ranges([self.task])
        if self.phase == w.PHASE_RESTORED:
            self.send(restored=w.Restored(attempt=self.attempt, tasks=mine))
        for number in sorted(set(self.open) | set(self.declines)):
            self.say_round(number)
        if self.finished and not self.is_ended:
            self.send(finished=w.TaskFinished(attempt=self.attempt, tasks=mine))
        if self.confirmed:
            self.confirm(self.confirmed)

    def on_rewind(self, m):
        self.log("rewind: %s" % m.reason.decode())
        self.program.rewind(m.reason.decode())
        self.drop()
        self.lease_until = 0.0
        self.aligner.reset(b"", 0)
        self.join()

    def on_fenced(self, m):
        raise Hopeless("fenced: %s" % m.reason.decode())

    def on_refused(self, m):
        text = "%s: %s" % (c.RefusedCode.Name(m.code), m.reason.decode())
        if m.code == c.REFUSED_JOB_ENDED:
            raise Ended(m.outcome.decode())
        if m.code in (c.REFUSED_SECRET, c.REFUSED_VERSION, c.REFUSED_SPEC, c.REFUSED_UNSUPPORTED):
            raise Hopeless(text)
        self.close(text)

    def on_bye(self, m):
        self.log("bye: %s" % m.reason.decode())

    def on_stop(self, m):
        self.send(leave=w.Leave(reason=b"the job has ended"))
        self.close("the job is %s" % m.outcome.decode())
        raise Ended(m.outcome.decode())

    # ---- the lease

    def heartbeat(self):
        if self.state != "joined" or now() < self.next_heartbeat:
            return
        self.sequence += 1
        self.sent_heartbeats[self.sequence] = now()
        self.next_heartbeat = now() + self.heartbeat_s
        self.send(heartbeat=w.Heartbeat(sequence=self.sequence))

    def on_alive(self, m):
        sent = self.sent_heartbeats.pop(m.sequence, None)
        if sent is not None and self.state == "joined":
            self.renew(sent)

    def renew(self, sent):
        self.lease_until = max(self.lease_until, sent + self.lease_s)

    # ---- start, restore, run

    def on_start(self, part):
        data = self.start_parts.add(part)
        if data is None:
            return
        if now() >= self.lease_until:  # it lay unread: another may have our place
            return self.close("Start came when the lease was over")
        s = self.start_message = w.Start.FromString(data)
        self.attached, self.cut_since = True, 0.0
        self.token, self.attempt, self.phase = s.token, s.token.attempt, w.PHASE_STARTING
        self.is_ended = any(r.first <= self.task < r.first + r.count for r in s.ended)
        self.aligner.reset(s.token.job_id, s.lowest_pending)
        mine = [t for t in s.tasks if t.task == self.task]
        owed = [o for t in mine for o in t.owed]
        if not s.deliver_only:
            try:
                states = [(a, self.load(s, a)) for t in mine for a in t.artifacts]
                self.program.restore(s, states, self.is_ended)
            except (OSError, ValueError) as e:
                return self.send(restore_failed=w.RestoreFailed(
                    attempt=self.attempt, task=self.task, reason=str(e).encode()))
            self.phase = w.PHASE_RESTORED
            self.send(restored=w.Restored(attempt=self.attempt, tasks=wire.ranges([self.task])))
        for o in owed:
            self.program.complete(o.round, o.handle)
            self.confirm(o.round)

    @staticmethod
    def load(start, a):
        if a.WhichOneof("place") == "inline":
            data = a.inline
        else:
            with open(os.path.join(start.snapshot_directory, a.path), "rb") as f:
                data = f.read()
        if len(data) != a.size:
            raise ValueError("%s has %d bytes instead of %d" % (a.path, len(data), a.size))
        if wire.digest(data) != (a.digest_low, a.digest_high):
            raise ValueError("%s has another digest" % a.path)
        return data

    def on_run(self, m):
        if m.attempt != self.attempt or self.phase == w.PHASE_RUNNING:
            return
        self.phase = w.PHASE_RUNNING
        self.program.run(self.start_message)

    # ---- rounds

    def on_trigger(self, m):
        self.aligner.resolved(m.lowest_pending)
        if m.attempt != self.attempt or not self.may_speak() or self.is_ended:
            return
        if self.open.get(m.round):
            return self.say_round(m.round)
        self.open.setdefault(m.round, None)
        self.aligner.trigger(m)

    def take_snapshot(self, t):
        """The barrier is in the outputs: write the state as of now, and ack it."""
        begun = time.monotonic()
        data, name, first, count = self.program.snapshot()
        batch = w.AckBatch(attempt=self.attempt, round=t.round)
        low, high = wire.digest(data)
        try:
            if len(data) > INLINE_MAX:
                self.write(t, data)
                us = int((time.monotonic() - begun) * 1e6)
                for column, value in (("task", self.task), ("align_us", 0), ("sync_us", us),
                                      ("async_us", 0), ("artifacts", 1), ("size", len(data)),
                                      ("digest_low", low), ("digest_high", high)):
                    getattr(batch, column).append(value)
            else:
                ack = batch.full.add(task=self.task)
                ack.artifacts.add(inline=data, size=len(data), digest_low=low, digest_high=high,
                                  name=name, key_group_first=first, key_group_count=count)
            self.open[t.round] = batch.SerializeToString()
        except OSError as e:
            return self.lost(t.round, str(e))
        self.say_round(t.round)

    def lost(self, number, reason):
        """The task has given a round up: kept like an ack until it can be said."""
        if not self.open.get(number):
            self.log("gave up round %d: %s" % (number, reason))
            self.declines[number] = reason
            self.say_round(number)

    def report(self):
        """What holds the round, if aligning takes long."""
        a = self.aligner
        if not a.aligning or not self.may_speak() or now() < max(a.since, self.reported) + self.progress_s:
            return
        self.reported = now()
        missing = sorted(a.open - a.had)
        self.send(barrier=w.Barrier(attempt=self.attempt, round=a.aligning, tasks=[w.TaskProgress(
            task=self.task, phase=w.TASK_ALIGNING, channels_missing=len(missing),
            channel_first=missing[0] if missing else 0)]))

    def write(self, t, data):
        directory = t.directory.decode()
        if not t.directory_exists:
            try:
                os.mkdir(directory)
            except FileExistsError:
                pass
            sync_directory(os.path.dirname(directory))
        path = os.path.join(directory, "t%d-0" % self.task)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        sync_directory(directory)

    def say_round(self, number):
        """What there is to say about a round; kept for later while cut off or fenced."""
        if not self.may_speak():
            return
        if number in self.declines:
            reason = self.declines[number]
            return self.send(decline=w.Decline(attempt=self.attempt, round=number, task=self.task,
                                               reason=reason.encode()))
        if self.open.get(number):
            self.send(ack=w.AckBatch.FromString(self.open[number]))

    def on_complete(self, m):
        self.aligner.resolved(m.lowest_pending)
        if m.attempt != self.attempt or not self.may_speak():
            return
        self.forget(m.round)
        self.told_complete = max(self.told_complete, m.round)
        if m.commits:
            self.told_effects = max(self.told_effects, m.round)
        self.program.complete(m.round, None)
        if not self.is_ended and any(r.first <= self.task < r.first + r.count for r in m.ended):
            self.is_ended = True
            self.program.forward(wire.barrier(self.token.job_id, 0, wire.FLAG_END))
            self.program.ended()
        self.confirm(m.round)

    def forget(self, number):
        """The round is resolved, and those before it."""
        for known in (self.open, self.declines):
            for old in [n for n in known if n <= number]:
                del known[old]

    def confirm(self, number):
        """Nothing answers it: the newest is said again after each Resumed."""
        self.confirmed = max(self.confirmed, number)
        if self.may_speak():
            self.send(confirm=w.Confirm(attempt=self.attempt, round=number, tasks=wire.ranges([self.task])))

    def on_abort(self, m):
        self.aligner.resolved(m.lowest_pending)
        if m.attempt != self.attempt:
            return
        self.log("aborted round %d: %s" % (m.round, m.reason.decode()))
        self.forget(m.round)
        self.aligner.give_up(m.round)

    def finish(self):
        """The end of the input: told once, held until Complete names us."""
        if self.finished or self.is_ended:
            return
        self.finished = True
        if self.may_speak():
            self.send(finished=w.TaskFinished(attempt=self.attempt, tasks=wire.ranges([self.task])))


def sync_directory(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as e:
        if e.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)

"""The counter of client/examples/wordcount in Python, beside sources, splitters, sink and another
counter in C: the same channels, the same state, so that either can be restored from the other's.

    counter.py --index I --connect HOST:PORT --job NAME [--secret FILE] --interval MS ...

The data channels are those of client/examples/wordcount/channels.h, the state that of counter.c.
"""
import argparse
import select
import socket
import struct
import sys

import wire
import worker
from wire import c

HELLO, DATA, BARRIER, NO_MORE, END = 1, 2, 3, 4, 5
FRAME_MAX = 1 << 20
OUTPUT_ROOM = 1 << 20


class Input:
    def __init__(self):
        self.socket, self.data, self.at = None, bytearray(), 0
        self.blocked = self.no_more = self.ended = False

    def next(self):
        """(type, body) of the next whole frame, or None."""
        have = len(self.data) - self.at
        if have < 5:
            return None
        length, kind = struct.unpack_from("<IB", self.data, self.at)
        if length > FRAME_MAX:
            raise wire.Malformed("a frame of %d bytes" % length)
        if have < 5 + length:
            return None
        body = bytes(self.data[self.at + 5:self.at + 5 + length])
        self.at += 5 + length
        if self.at == len(self.data) or self.at > FRAME_MAX:
            del self.data[:self.at]
            self.at = 0
        return kind, body


class Counter(worker.Program):
    def __init__(self, o):
        self.o = o
        self.first, self.count = wire.key_groups_of(o.index, o.counters, o.key_groups)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listener.setblocking(False)
        self.endpoint = b"127.0.0.1:%d" % self.listener.getsockname()[1]
        self.worker = None
        self.reset()

    def reset(self):
        for s in [i.socket for i in getattr(self, "inputs", [])] + [getattr(self, "out", None)]:
            if s:
                s.close()
        self.totals, self.increments = {}, {}
        self.inputs = [Input() for _ in range(self.o.splitters)]
        self.out, self.pending = None, bytearray()
        self.running = self.is_ended = False
        self.hello = None

    # ---- what the worker asks

    def restore(self, start, states, ended):
        self.reset()
        for artifact, data in states:
            at = 0
            while at < len(data):
                total, length = struct.unpack_from("<QI", data, at)
                word = data[at + 12:at + 12 + length]
                if len(word) != length or not self.mine(word):
                    raise ValueError("the state of %s is not ours" % artifact.name)
                self.totals[word] = total
                at += 12 + length
        self.is_ended = ended
        self.hello = start.token.job_id.hex().encode() + struct.pack("<Q", start.token.attempt)
        say("restored attempt %d from snapshot %d, %d words" %
            (start.token.attempt, start.snapshot, len(self.totals)))

    def mine(self, word):
        return 0 <= wire.key_group(word, self.o.key_groups) - self.first < self.count

    def run(self, start):
        if self.running:
            return
        sink = wire.task_number(self.worker.spec, b"sink", 0)
        for p in start.peers:
            if any(r.first <= sink < r.first + r.count for r in p.tasks):
                host, _, port = p.endpoint.decode().rpartition(":")
                try:
                    self.out = socket.create_connection((host, int(port)), timeout=5)
                    self.out.setblocking(False)
                except OSError as e:
                    say("sink: %s" % e)
        self.running = True
        self.put(HELLO, self.hello + struct.pack("<II", self.o.index, 0))
        if self.is_ended:
            self.put(END, b"")
        say("running attempt %d" % start.token.attempt)

    def block(self, channel, blocked):
        self.inputs[channel].blocked = blocked

    def forward(self, data):
        if self.is_ended:
            return
        self.flush()
        self.put(BARRIER, data)

    def snapshot(self):
        data = b"".join(struct.pack("<QI", n, len(word)) + word for word, n in self.totals.items())
        return data, b"totals", self.first, self.count

    def ended(self):
        self.is_ended = True
        self.put(END, b"")

    def complete(self, number, handle):
        say("complete round %d" % number)

    def rewind(self, reason):
        self.reset()

    # ---- the channels

    def put(self, kind, body):
        if self.out:
            self.pending += struct.pack("<IB", len(body), kind) + body

    def flush(self):
        """What has been counted since the last barrier, in front of the next."""
        body = bytearray()
        for word, n in self.increments.items():
            if len(body) + 20 + len(word) > FRAME_MAX // 2:
                self.put(DATA, body)
                body = bytearray()
            body += struct.pack("<QQI", n, self.totals[word], len(word)) + word
        if body:
            self.put(DATA, body)
        self.increments.clear()

    def write(self):
        while self.out and self.pending:
            try:
                n = self.out.send(self.pending)
            except BlockingIOError:
                return
            except OSError:
                self.out = None
                return
            del self.pending[:n]

    def accept(self):
        try:
            s = self.listener.accept()[0]
        except OSError:
            return
        s.settimeout(1)
        data = b""
        try:
            while len(data) < 5 + 48:
                more = s.recv(5 + 48 - len(data))
                if not more:
                    return s.close()
                data += more
        except OSError:
            return s.close()
        sender, receiver = struct.unpack_from("<II", data, 45)
        known = (self.hello and data[:5] == struct.pack("<IB", 48, HELLO) and
                 data[5:45] == self.hello and receiver == self.o.index and
                 sender < len(self.inputs) and not self.inputs[sender].socket)
        if not known:
            return s.close()
        s.setblocking(False)
        self.inputs[sender].socket = s

    def read(self, i):
        try:
            data = i.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            i.socket.close()
            i.socket = None
        i.data += data

    def work(self):
        """At most one frame of each input; whether there was any."""
        busy = False
        for number, i in enumerate(self.inputs):
            if not self.running or i.blocked or len(self.pending) > OUTPUT_ROOM:
                continue
            f = i.next()
            if f is None:
                continue
            busy = True
            if self.is_ended:
                continue
            kind, body = f
            if kind == DATA:
                self.count_words(body)
            elif kind == BARRIER:
                self.worker.aligner.barrier(number, body)
            elif kind in (NO_MORE, END):
                self.no_more(i)
                if kind == END:
                    self.worker.aligner.channel_end(number)
        return busy

    def count_words(self, body):
        at = 0
        while at < len(body):
            n, length = struct.unpack_from("<II", body, at)
            word = body[at + 8:at + 8 + length]
            assert self.mine(word), word
            self.totals[word] = self.totals.get(word, 0) + n
            self.increments[word] = self.increments.get(word, 0) + n
            at += 8 + length

    def no_more(self, i):
        i.no_more = True
        if all(x.no_more for x in self.inputs) and not self.worker.finished:
            self.flush()
            self.put(NO_MORE, b"")
            self.worker.finish()
            say("finished")

    def turn(self):
        self.worker.turn()
        busy = self.work()
        self.write()
        readers = [self.listener] + [i.socket for i in self.inputs
                                     if i.socket and not i.blocked and len(i.data) - i.at < FRAME_MAX + 5]
        if self.worker.socket:
            readers.append(self.worker.socket)
        writers = [self.out] if self.out and self.pending else []
        timeout = 0 if busy else min(0.5, self.worker.wait_s())
        ready, _, _ = select.select(readers, writers, [], timeout)
        if self.listener in ready:
            self.accept()
        for i in self.inputs:
            if i.socket in ready:
                self.read(i)


def say(text):
    print("counter.py: %s" % text, file=sys.stderr, flush=True)


def describe(o):
    """The same spec as every process in C derives, or the Join is refused."""
    all_to_all = c.EDGE_ALL_TO_ALL
    return c.JobSpec(
        name=o.job.encode(),
        operators=[c.Operator(uid=b"source", parallelism=o.sources),
                   c.Operator(uid=b"splitter", parallelism=o.splitters),
                   c.Operator(uid=b"counter", parallelism=o.counters, max_parallelism=o.key_groups),
                   c.Operator(uid=b"sink", parallelism=1)],
        edges=[wire.edge(b"source", b"splitter", all_to_all),
               wire.edge(b"splitter", b"counter", all_to_all),
               wire.edge(b"counter", b"sink", all_to_all)],
        checkpointing=c.Checkpointing(interval_ms=o.interval, deadline_ms=o.deadline,
                                      lease_ms=o.lease, heartbeat_ms=o.heartbeat, grace_ms=o.grace))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("stage", nargs="?", default="counter")
    p.add_argument("--connect", default="127.0.0.1:7460")
    p.add_argument("--secret")
    p.add_argument("--job", default="wordcount")
    for name, default in (("index", 0), ("sources", 2), ("splitters", 2), ("counters", 2),
                          ("key-groups", 128), ("interval", 500), ("deadline", 10000),
                          ("lease", 0), ("heartbeat", 0), ("grace", 0)):
        p.add_argument("--" + name, type=int, default=default)
    o = p.parse_args()
    secret = b""
    if o.secret:
        with open(o.secret, "rb") as f:
            secret = f.read().rstrip(b"\r\n")
    host, _, port = o.connect.rpartition(":")
    program = Counter(o)
    spec = describe(o)
    program.worker = worker.Worker(
        (host, int(port)), secret, spec, b"counter-%d" % o.index,
        wire.task_number(spec, b"counter", o.index), o.splitters, program.endpoint, program, say)
    try:
        while True:
            program.turn()
    except worker.Ended as e:
        say("the job is %s" % e)
        return 0 if str(e) == "FINISHED" else 1
    except worker.Hopeless as e:
        say(str(e))
        return 1


if __name__ == "__main__":
    sys.exit(main())

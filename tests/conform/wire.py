"""The wire of docs/protocol.md: frames, parts, digests, the job's spec, barriers.

Knows no state and opens no socket. `make check` has protoc generate the message modules
(proto/common.proto and so on) into the build folder; run.sh puts them on the path.
"""
import struct

import xxhash

from proto import common_pb2 as c
from proto import worker_pb2 as w

PART_MAX = 1 << 20
TASKS_MAX = 2097152
FLAG_UNALIGNED, FLAG_CANCEL, FLAG_END = 1, 2, 4


class Malformed(Exception):
    """What arrived breaks the protocol; the text says how."""


# ---- frames

def frame(message):
    """A message, or bytes that pretend to be one, behind its length."""
    body = message if isinstance(message, bytes) else message.SerializeToString()
    return struct.pack("<I", len(body)) + body


class Frames:
    """Cuts what arrives into bodies."""

    def __init__(self, limit=16 << 20):
        self.data, self.limit = bytearray(), limit

    def feed(self, data):
        self.data += data

    def next(self):
        """The next body, or None as long as it is not there as a whole."""
        if len(self.data) < 4:
            return None
        length = struct.unpack_from("<I", self.data)[0]
        if length > self.limit:
            raise Malformed("a frame of %d bytes" % length)
        if len(self.data) < 4 + length:
            return None
        body = bytes(self.data[4:4 + length])
        del self.data[:4 + length]
        return body


# ---- digests and parts

def digest(data):
    """(low, high) of XXH3-128."""
    whole = xxhash.xxh3_128_intdigest(data)
    return whole & (1 << 64) - 1, whole >> 64


def digest_bytes(data):
    return struct.pack("<QQ", *digest(data))


def parts(data):
    """The Part messages of a Join or Start."""
    pieces = [data[i:i + PART_MAX] for i in range(0, len(data), PART_MAX)] or [b""]
    made = [w.Part(data=p) for p in pieces]
    made[-1].count = len(pieces)
    made[-1].digest_low, made[-1].digest_high = digest(data)
    return made


class Parts:
    """Joins the parts of a message."""

    def __init__(self):
        self.data, self.count = b"", 0

    def add(self, part):
        """The bytes of the message, or None as long as parts are missing."""
        self.data += part.data
        self.count += 1
        if part.count == 0:
            return None
        data, count = self.data, self.count
        self.data, self.count = b"", 0
        if part.count != count:
            raise Malformed("part %d says that there are %d" % (count, part.count))
        if (part.digest_low, part.digest_high) != digest(data):
            raise Malformed("the digest of %d parts differs" % count)
        return data


# ---- the job's spec

def canonical(spec):
    """The bytes that the fingerprint is made of."""
    s = c.JobSpec()
    s.CopyFrom(spec)
    operators = sorted(s.operators, key=lambda o: o.uid)
    rank = {o.uid: i for i, o in enumerate(operators)}
    edges = sorted(s.edges, key=lambda e: (rank[getattr(e, "from")], rank[e.to]))
    del s.operators[:], s.edges[:]
    s.operators.extend(operators)
    s.edges.extend(edges)
    if s.HasField("checkpointing") and s.checkpointing == c.Checkpointing():
        s.ClearField("checkpointing")
    s.ClearField("restore_from")  # how a job begins is no part of what it is
    s.ClearField("allow_unmatched")
    return s.SerializeToString()


def fingerprint(spec):
    return digest_bytes(canonical(spec))


def task_number(spec, uid, subtask):
    before = sum(o.parallelism for o in spec.operators if o.uid < uid)
    return before + subtask


def edge(sender, receiver, pattern):
    return c.Edge(**{"from": sender, "to": receiver, "pattern": pattern})


def max_parallelism(operator):
    """The number of key groups of an operator."""
    if operator.max_parallelism:
        return operator.max_parallelism
    p, power = operator.parallelism, 1
    while power < p + p // 2:
        power *= 2
    return max(min(max(power, 128), 32768), p)


def key_group(key, n_groups):
    return (xxhash.xxh3_64_intdigest(key) & 0xFFFFFFFF) % n_groups


def key_groups_of(subtask, parallelism, n_groups):
    """(first, count) of the key groups that a subtask owns."""
    first = -(-subtask * n_groups // parallelism)
    return first, -(-(subtask + 1) * n_groups // parallelism) - first


def ranges(tasks):
    """Task numbers as ascending, disjoint TaskRanges."""
    made = []
    for t in sorted(tasks):
        if made and made[-1].first + made[-1].count == t:
            made[-1].count += 1
        else:
            made.append(c.TaskRange(first=t, count=1))
    return made


# ---- barriers in band

def job_check(job_id):
    return xxhash.xxh3_64_intdigest(job_id) & 0xFFFFFFFF


def barrier(job_id, round_number, flags=0):
    return struct.pack("<QII", round_number, flags, job_check(job_id))


def read_barrier(job_id, data):
    """(round, flags)."""
    if len(data) != 16:
        raise Malformed("a barrier of %d bytes" % len(data))
    number, flags, check = struct.unpack("<QII", data)
    if check != job_check(job_id):
        raise Malformed("a barrier of another job")
    if flags & ~(FLAG_CANCEL | FLAG_END):
        raise Malformed("a barrier with flags %#x" % flags)
    if (number == 0) != bool(flags & FLAG_END):
        raise Malformed("a barrier of round %d with flags %#x" % (number, flags))
    return number, flags

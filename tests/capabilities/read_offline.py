#!/usr/bin/python3
"""Read with an offline tool: `tidemark state read`, with no process of ours running.

The snapshot is a cut: the counters have counted exactly the numbers that the sources' streams have behind them there, but
for those in flight, which are read as well. So from the streams' places, as they are read, Python counts what the counters
must have."""
import collections
import json

from lib import KEYS, Daemon, begun, exported, must, row, take, tool

STREAMS = 8


def number(row, name):
    return int.from_bytes(bytes.fromhex(row[name + "_hex"]) if name + "_hex" in row else row[name].encode(), "little")


def bytes_of(row, name):
    return bytes.fromhex(row[name + "_hex"]) if name + "_hex" in row else row[name].encode()


def story(kind):
    job = begun(Daemon())
    snapshot = exported(job, take(job))
    job.kill()
    job.daemon.stop()
    rows = [r for r in map(json.loads, tool("read", snapshot.directory)) if "rows" not in r]
    places = [number(r, "value") for r in rows if r["state"] == "streams"]
    must(len(places) == STREAMS and len({p % STREAMS for p in places}) == STREAMS, "streams: %s", places)
    want = collections.defaultdict(lambda: [0, 0])
    for place in places:
        for n in range((place - 1) % STREAMS, place - 1, STREAMS):
            entry = want[n * 2654435761 % KEYS]
            entry[0] += 1
            entry[1] += n
    have = {}
    for r in rows:
        if r["state"] == "count":
            value = bytes_of(r, "value")
            have[number(r, "key")] = [int.from_bytes(value[:4], "little"), int.from_bytes(value[4:], "little")]
    flights = [int.from_bytes(bytes_of(r, "value")[8:16], "little") for r in rows if r["state"] in ("in", "out")]
    must(bool(flights) == (kind == "unaligned"), "%d records in flight", len(flights))
    for n in flights:
        entry = have.setdefault(n * 2654435761 % KEYS, [0, 0])
        entry[0] += 1
        entry[1] += n
    must(have and have == dict(want), "what is read is not what was counted: %d keys, %d expected", len(have), len(want))


row(("canonical", "native", "aligned", "unaligned"), story)

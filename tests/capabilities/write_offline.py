#!/usr/bin/python3
"""Write with an offline tool: `tidemark state write`, with no process of ours running.

A canonical savepoint is made that no worker has ever taken: Python counts the numbers below 8000, and says so in lines; a job
goes on from there to the end. Of the other kinds one is taken, read, changed (a thousand is added to each sum), and written
again; the sums at the end are those of Python and the thousands."""
import json
import os

from lib import WORK, Daemon, Job, begun, expected, exported, must, row, take, tool

BEGUN, STREAMS, ADDED = 8000, 8, 1000


def lines():
    counted = {"operator": "counter", "state": "count", "kind": "value"}
    streams = {"operator": "source", "state": "streams", "kind": "split"}
    yield json.dumps({**counted, "rows": 0, "schema": "counted", "version": 1, "max_parallelism": 128})
    yield json.dumps({**streams, "rows": 0, "max_parallelism": 128})
    for stream in range(STREAMS):
        yield json.dumps({**streams, "value_hex": (BEGUN + stream + 1).to_bytes(8, "little").hex()})
    for key, (n, total) in expected(BEGUN).items():
        yield json.dumps({**counted, "key_hex": key.to_bytes(8, "little").hex(),
                          "value_hex": (n.to_bytes(4, "little") + total.to_bytes(8, "little")).hex()})


def bytes_of(entry, name):
    return bytes.fromhex(entry[name + "_hex"]) if name + "_hex" in entry else entry[name].encode()


def changed(directory, more):
    """The lines of a snapshot, declarations first; what was added to which key."""
    had = [json.loads(line) for line in tool("read", directory)]
    for entry in sorted(had, key=lambda entry: "rows" not in entry):
        if entry["state"] == "count" and "rows" not in entry:
            value = bytes_of(entry, "value")
            entry.pop("value", None)
            entry["value_hex"] = (value[:4] + (int.from_bytes(value[4:], "little") + ADDED).to_bytes(8, "little")).hex()
            more[int.from_bytes(bytes_of(entry, "key"), "little")] = ADDED
        yield json.dumps(entry)


def story(kind):
    directory, more = os.path.join(WORK, "written"), {}
    if kind == "canonical":
        daemon, told = Daemon(), list(lines())
    else:
        job = begun(Daemon())
        snapshot, daemon = exported(job, take(job)), job.daemon
        job.cancel()
        told = list(changed(snapshot.directory, more))
        must(len(more) > 100, "only %d keys", len(more))
    tool("write", directory, "--job", "job", lines=told)
    job = Job(daemon, "other", **{"from": directory})
    job.begins_elsewhere()
    job.end(more=more)


row(("canonical", "native", "aligned"), story)

#!/usr/bin/python3
"""Write with an offline tool: a snapshot that no worker has ever taken.

Python counts the numbers below 8000, and says so in lines; `tidemark state write` makes a savepoint of them, and a job goes
on from there to the end."""
import json
import os

from lib import WORK, Daemon, Job, expected, row, tool

BEGUN, STREAMS = 8000, 8


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


def story(_):
    directory = os.path.join(WORK, "written")
    tool("write", directory, "--job", "job", lines=list(lines()))
    job = Job(Daemon(), **{"from": directory})
    job.begins_elsewhere()
    job.end()


row(("canonical",), story)

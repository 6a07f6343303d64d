#!/usr/bin/python3
"""Change the state backend: what was kept in memory goes on in RocksDB, and what was there goes on in memory.

The kinds but the native savepoint are taken with the one and restored with the other, both ways."""
from lib import Daemon, again, begun, row, take


def story(_):
    daemon = Daemon()
    job = begun(daemon, backend="memory")
    snapshot = take(job)
    other = again(job, snapshot, "other", slow=200, backend="rocksdb")
    snapshot = take(other)
    again(other, snapshot, "third", backend="memory").end()


row(("canonical", "aligned", "unaligned"), story)

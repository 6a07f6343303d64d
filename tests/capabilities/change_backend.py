#!/usr/bin/python3
"""Change the state backend: what was kept in the one goes on in the other.

A canonical savepoint is taken with each and restored with the other; of the other kinds what RocksDB has written as
its own files goes on in memory, and that in RocksDB."""
from lib import KIND, Daemon, again, begun, row, take

ONE, OTHER = ("memory", "rocksdb") if KIND == "canonical" else ("rocksdb", "memory")


def story(_):
    job = begun(Daemon(), backend=ONE)
    other = again(job, take(job), "other", slow=200, backend=OTHER)
    again(other, take(other), "third", backend=ONE).end()


row(("canonical", "native", "aligned", "unaligned"), story)

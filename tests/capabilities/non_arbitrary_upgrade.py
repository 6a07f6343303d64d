#!/usr/bin/python3
"""Non-arbitrary job upgrade: the operators' code is another, graph and records are the same.

Version 1 of the program begins; its workers are killed behind the snapshot, and others of a later version, which counts
with other limits of its channels and another pace, go on from it."""
from lib import begun, again, row, take, Daemon


def story(_):
    job = begun(Daemon())
    snapshot = take(job)
    again(job, snapshot, slow=0).end()


row(("canonical", "native", "aligned", "unaligned"), story)

#!/usr/bin/python3
"""Non-arbitrary job upgrade: the operators' code is another, graph and records are the same.

The program's workers are killed behind the snapshot, and those of another one go on from it, whose sources go through
their streams in another order, with other limits of the channels and another pace."""
from lib import begun, again, row, take, Daemon


def story(_):
    job = begun(Daemon())
    snapshot = take(job)
    again(job, snapshot, slow=0, reverse=1).end()


row(("canonical", "native", "aligned", "unaligned"), story)

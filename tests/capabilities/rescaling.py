#!/usr/bin/python3
"""Rescaling: a job of two sources and two counters goes on with three and five, and then with one of each.

Streams, a split list, are dealt out anew, and each key goes to the counter that owns it."""
from lib import Daemon, again, begun, exported, row, take


def story(_):
    job = begun(Daemon())
    wider = again(job, exported(job, take(job)), "wider", shape=(3, 5), slow=200)
    again(wider, exported(wider, take(wider)), "narrow", shape=(1, 1)).end()


row(("canonical", "native", "aligned", "unaligned"), story)

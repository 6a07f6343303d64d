#!/usr/bin/python3
"""Arbitrary job upgrade: an operator comes between the two, so that sources deal their records out in another way, and goes again.

The state of the operator that goes is dropped since that is allowed; records, and the counts, are of another type
in the second life, and there are more counters."""
from lib import Daemon, again, begun, row, take


def story(_):
    job = begun(Daemon())
    wider = again(job, take(job), "wider", shape=(2, 3, 2), version=2, slow=200)
    again(wider, take(wider), "narrow", shape=(3, 2), version=2, drop=1).end(mark=7)


row(("canonical",), story)

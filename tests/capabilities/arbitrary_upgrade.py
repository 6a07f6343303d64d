#!/usr/bin/python3
"""Arbitrary job upgrade: an operator goes, another comes between the two, so that sources deal their records out in another way.

The state of the one that goes is dropped since that is allowed; records, those in flight among them, and the counts are of
another type in the second life, and there are more counters."""
from lib import Daemon, again, begun, exported, row, take


def story(_):
    job = begun(Daemon(), audits=1)
    again(job, exported(job, take(job)), "wider", shape=(2, 3, 2), version=2, drop=1).end(mark=7)


row(("canonical", "native", "aligned", "unaligned"), story)

#!/usr/bin/python3
"""Self-contained and relocatable: the directory is moved, everything else deleted, and a daemon that never heard of it restores it."""
import os
import shutil

from lib import WORK, Daemon, Job, begun, exported, must, row, take


def story(_):
    job = begun(Daemon())
    snapshot = exported(job, take(job))
    moved = os.path.join(WORK, "elsewhere", "moved")
    os.mkdir(os.path.dirname(moved))
    job.kill()
    job.daemon.stop()
    os.rename(snapshot.directory, moved)
    shutil.rmtree(job.daemon.data)
    daemon = Daemon("other")
    other = Job(daemon, "other", **{"from": moved})
    other.begins_elsewhere()
    must(daemon.json("snapshots", "other")["snapshots"][-1]["directory"] == moved, "it is not restored in its new place")
    other.end()


row(("canonical", "native", "aligned", "unaligned"), story)

#!/usr/bin/python3
"""Schema evolution: counts of 4 bytes become counts of 8, with a field that has a default.

A program that can read neither is refused before anything runs, and told why; the one that migrates goes on, and so
does a third life, whose state is compatible as it is."""
from lib import Daemon, again, begun, must, read, row, take, until


def story(_):
    job = begun(Daemon())
    snapshot = take(job)
    refused = again(job, snapshot, "refused", version=3, refused=True)
    until(lambda: "refused: " in refused.log(), "it is not refused: %s", refused.log())
    why = next(line for line in refused.log().splitlines() if "refused: " in line)
    must("incompatible: version 1 of schema " in why and "does not migrate to version 3" in why, "it is not told why: %s", why)
    until(lambda: refused.daemon.json("job", "show", refused.name)["job"]["last_failure"], "no reason is kept")
    must("begins with" not in "".join(read(refused.path(t, "log")) for t in refused.tasks if t[0] == "counter"), "it runs")
    if snapshot.directory:
        refused.cancel()
        refused = job
    job = again(refused, snapshot, "second", version=2, slow=200)
    again(job, take(job), "third", version=2).end(mark=7)


row(("canonical", "native", "aligned", "unaligned"), story)

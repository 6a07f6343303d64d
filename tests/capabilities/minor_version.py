#!/usr/bin/python3
"""Minor version upgrade: what 0.1.0 has left (tests/golden) is restored, a savepoint and a checkpoint.

The word count goes on from it in the programs of this tree; what it comes to is compared with coreutils. Other kinds
than these two did not exist then."""
import subprocess

from lib import BUILD, TREE, must, row

NAMES = {"canonical": "savepoint", "aligned": "checkpoint"}


def story(kind):
    done = subprocess.run(["bash", TREE + "/tests/golden/run.sh", BUILD, NAMES[kind]], capture_output=True, text=True)
    must(done.returncode == 0, "%s", done.stderr[-2000:])
    told = [line for line in done.stdout.splitlines() if ": %s " % NAMES[kind] in line and "the count is right" in line]
    must(len(told) >= 2 and all("golden: 0.1.0/" in line for line in told[:2]), "what 0.1.0 has left: %s", done.stdout)


row(NAMES, story)

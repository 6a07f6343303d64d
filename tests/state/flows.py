#!/usr/bin/python3
"""flows.py BUILD WORK: records in flight go on at another parallelism.

Two sources feed three slow counters; checkpoints do not wait for what is queued. An unaligned savepoint is taken and the
process killed with -9. Other jobs begin with the savepoint, at the same and at other parallelisms of both, some of a
version of the program whose records are longer; one of them is killed as well and goes on from its own checkpoint. What
is counted in the end, of each key and of each mark in every counter, is what Python counts."""
import collections
import glob
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

BUILD, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
PATIENCE = 60  # seconds, for what should take one
KEYS, PARTITIONS = 211, 12
PROCESSES = []


def must(fact, text, *args):
    if not fact:
        raise SystemExit("flows: FAILED: " + (text % args if args else text))


def until(fact, text, *args):
    end = time.monotonic() + PATIENCE
    while True:
        value = fact()
        if value:
            return value
        must(time.monotonic() < end, text, *args)
        time.sleep(0.02)


def popen(args, log):
    with open(log, "ab") as out:
        PROCESSES.append(subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
    return PROCESSES[-1]


def tidemark(*args):
    return subprocess.run([BUILD + "/tidemark", *args, "--data", WORK + "/data"], capture_output=True, text=True,
                          timeout=PATIENCE)


def text(path):
    with open(path) as f:
        return f.read()


class Job:
    def __init__(self, name, sources, counters, version, stop=0, begin=None):
        self.name, self.sources, self.counters = name, sources, counters
        self.args = [name, str(sources), str(counters), str(version), "127.0.0.1:" + text(WORK + "/data/port").strip(),
                     self.path("out"), str(stop), *([begin] if begin else [])]
        self.start()

    def path(self, suffix):
        return "%s/%s.%s" % (WORK, self.name, suffix)

    def start(self):
        self.process = popen([BUILD + "/tests/state/flows", *self.args], self.path("log"))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def complete(self):
        done = tidemark("rounds", self.name, "--limit", "1000", "--json")
        return sum(r["state"] == "complete" for r in json.loads(done.stdout)["rounds"]) if done.returncode == 0 else 0

    def end(self):
        until(lambda: self.process.poll() is not None, "%s does not end: %s", self.name, text(self.path("log"))[-2000:])
        must(self.process.returncode == 0, "%s ends with %d: %s", self.name, self.process.returncode,
             text(self.path("log"))[-2000:])


def check(job):
    """Of each partition the numbers from 0 up to where its source stands, each once."""
    have, marks, positions = collections.Counter(), {}, {}
    landed = late = 0
    for line in text(job.path("out")).splitlines():
        word, *numbers = line.split()
        numbers = [int(n) for n in numbers]
        if word == "partition":
            must(numbers[0] not in positions, "%s: partition %d twice", job.name, numbers[0])
            positions[numbers[0]] = numbers[1]
        elif word == "key":
            must(numbers[0] not in have, "%s: key %d twice", job.name, numbers[0])
            have[numbers[0]] = numbers[1]
        elif word == "mark":
            marks[tuple(numbers[:2])] = numbers[2]
        elif word == "landed":
            landed += numbers[0]
        else:
            late += numbers[0]
    must(sorted(positions) == list(range(PARTITIONS)), "%s: partitions %s", job.name, positions)
    want = collections.Counter((p * 7919 + n * 104729) % KEYS for p, end in positions.items() for n in range(end))
    wrong = [k for k in set(have) | set(want) if have[k] != want[k]]
    must(not wrong, "%s: key %s: %s is not %s", job.name, wrong[:1], have[wrong[0]] if wrong else 0,
         want[wrong[0]] if wrong else 0)
    want = {(c, p): (end + 1) // 2 for c in range(job.counters) for p, end in positions.items()}
    must(marks == want, "%s: marks %s", job.name, [(k, marks.get(k), want[k]) for k in want if marks.get(k) != want[k]][:3])
    # A partition that has moved to another source may overtake what its old one had put out.
    must(late == 0 or job.sources > 2, "%s: %d records came behind later ones", job.name, late)
    print("flows: %s: %d numbers, %d records had been in flight: all is right" % (job.name, sum(have.values()), landed))


def look(directory):
    """What was in flight, with the command and with SQLite alone."""
    done = subprocess.run([BUILD + "/tidemark", "state", "ls", directory], capture_output=True, text=True, timeout=PATIENCE)
    must(done.returncode == 0, "state ls: %s", done.stderr)
    flows = [line for line in map(json.loads, done.stdout.splitlines()) if line["kind"] in ("input", "output")]
    records = collections.Counter()
    for f in flows:
        must((f["state"], f["route"]) in (("numbers", "keyed"), ("marks", "broadcast")) and
             (f["operator"], f["kind"], f["peer"]) in (("source", "output", "counter"), ("counter", "input", "source")) and
             (f["schema"], f["version"]) == ("record", 1), "a flow: %s", f)
        records[f["operator"], f["state"]] += f["rows"]
    for operator in ("source", "counter"):
        must(records[operator, "numbers"] + records[operator, "marks"], "in flight: %s", records)
    done = subprocess.run([BUILD + "/tidemark", "state", "read", directory], capture_output=True, text=True, timeout=PATIENCE)
    shown = [line for line in map(json.loads, done.stdout.splitlines()) if "channel" in line]
    must(len(shown) == sum(records.values()), "state read: %d records of %d", len(shown), sum(records.values()))
    n = 0
    for path in glob.glob(directory + "/t*"):
        db = sqlite3.connect("file:%s?mode=ro&immutable=1" % path, uri=True)
        n += sum(len(record) == 12 for (record,) in db.execute("SELECT record FROM in_flight"))
        db.close()
    must(n == sum(records.values()), "sqlite: %d records of %d", n, sum(records.values()))
    return n


def main():
    os.mkdir(WORK + "/data")
    daemon = popen([BUILD + "/tidemarkd", "--listen", "127.0.0.1:0", "--data", WORK + "/data"], WORK + "/tidemarkd.log")
    until(lambda: tidemark("status").returncode == 0, "tidemarkd does not start")

    job = Job("first", 2, 3, 1)
    until(lambda: job.complete() >= 2, "no checkpoint completes: %s", text(job.path("log")))
    taken = tidemark("savepoint", "first", "--alignment", "unaligned")
    must(taken.returncode == 0, "savepoint: %s", taken.stderr)
    directory = taken.stdout.strip()
    job.kill()
    tidemark("cancel", "first")
    n = look(directory)

    moved = WORK + "/moved"
    os.rename(directory, moved)
    for name, sources, counters, version in (("same", 2, 3, 1), ("wider", 3, 5, 2), ("narrower", 1, 2, 2), ("one", 2, 1, 2)):
        job = Job(name, sources, counters, version, 300, moved)
        if name == "wider":
            until(lambda: job.complete() >= 2, "wider: no checkpoint completes: %s", text(job.path("log")))
            job.kill()
            job.start()
        job.end()
        again = sum(int(line.split()[-3]) for line in text(job.path("log")).splitlines()
                    if "puts out" in line)
        must(again > 0, "%s: nothing is put out again: %s", name, text(job.path("log")))
        check(job)
    dry = tidemark("restore", "wider", "--from", moved, "--dry-run")
    must("counter: restored: 5 tasks" in dry.stdout + dry.stderr and "to all tasks" in dry.stdout + dry.stderr, "dry run: %s", dry)
    print("flows: %d records were in flight in the savepoint" % n)
    daemon.send_signal(signal.SIGTERM)
    must(daemon.wait(PATIENCE) == 0, "tidemarkd does not end in good order")


try:
    main()
finally:
    for each in PROCESSES:
        if each.poll() is None:
            each.kill()
            each.wait()

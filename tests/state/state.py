#!/usr/bin/python3
"""state.py BUILD WORK [BACKEND]: a job with every kind of state, killed, and gone on with at other parallelisms.

Three tasks count. One is killed with -9: all restore what the last checkpoint has. A savepoint is taken, and all are
killed. Another job, of a later version of the program whose counts are wider, begins with the savepoint at a
parallelism of 5, and another one of 1; then the same is done by the daemon, which hands out to each task what concerns
it. What they have at their end is what Python counts: each key once, with the right
numbers, each chore once, the chores dealt out evenly. With a backend, the first job and every other one keep their
state there, and the savepoint is a native one."""
import collections
import glob
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

BUILD, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
BACKENDS = [sys.argv[3], "memory"] if sys.argv[3:] else ["memory"]
JOBS = []
PATIENCE = 60  # seconds, for what should take one
KEYS = 997


def must(fact, text, *args):
    if not fact:
        raise SystemExit("state: FAILED: " + (text % args if args else text))


def until(fact, text, *args):
    end = time.monotonic() + PATIENCE
    while True:
        value = fact()
        if value:
            return value
        must(time.monotonic() < end, text, *args)
        time.sleep(0.02)


PROCESSES = []


def popen(args, log, **more):
    with open(log, "ab") as out:
        PROCESSES.append(subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(os.environ, **more)))
    return PROCESSES[-1]


def tidemark(*args):
    return subprocess.run([BUILD + "/tidemark", *args, "--data", WORK + "/data"], capture_output=True, text=True,
                          timeout=PATIENCE)


class Job:
    def __init__(self, name, parallelism, version, *savepoint):
        self.name, self.parallelism, self.backend = name, parallelism, BACKENDS[len(JOBS) % len(BACKENDS)]
        JOBS.append(self)
        with open(WORK + "/data/port") as port:
            self.args = [str(version), "127.0.0.1:" + port.read().strip()], list(savepoint)
        self.workers = [self.start(i) for i in range(parallelism)]

    def path(self, i, suffix):
        return "%s/%s-%d.%s" % (WORK, self.name, i, suffix)

    def start(self, i):
        version_and_port, savepoint = self.args
        return popen([BUILD + "/tests/state/worker", self.name, str(i), str(self.parallelism), *version_and_port,
                      self.path(i, "out"), *savepoint], self.path(i, "log"), BACKEND=self.backend, DIRECTORY=self.path(i, "backend"))

    def log(self, i):
        with open(self.path(i, "log")) as f:
            return f.read()

    def complete(self):
        done = tidemark("rounds", self.name, "--limit", "1000", "--json")
        return done.returncode == 0 and sum(r["state"] == "complete" for r in json.loads(done.stdout)["rounds"])

    def kill(self, i):
        self.workers[i].kill()
        self.workers[i].wait()

    def end(self):
        for i, worker in enumerate(self.workers):
            until(lambda: worker.poll() is not None, "%s: task %d does not end", self.name, i)
            must(worker.returncode == 0, "%s: task %d ends with %d: %s", self.name, i, worker.returncode, self.log(i))


def expected(steps):
    keys = collections.defaultdict(list)
    for i in range(steps):
        keys[i * 2654435761 % KEYS].append(i)
    return {key: (len(those), those[:3], {p: n for p, n in (("even", sum(i % 2 == 0 for i in those)),
                                                            ("odd", sum(i % 2 for i in those))) if n})
            for key, those in keys.items()}


def check(job, chores, seen):
    """What the tasks of a job say that they have at their end."""
    have, dealt, steps = {}, [], set()
    for i in range(job.parallelism):
        mine = 0
        with open(job.path(i, "out")) as out:
            lines = out.readlines()
        for line in lines:
            what, *rest = line.split()
            if what == "chore":
                dealt.append(int(rest[0]))
                mine += 1
            elif what == "members":
                must(int(rest[0]) in seen, "%s: task %d sees %s members", job.name, i, rest[0])
            elif what == "step":
                steps.add(int(rest[0]))
            else:
                key, count = int(rest[0]), int(rest[1])
                must(key not in have, "%s: two tasks have key %d", job.name, key)
                parity = dict(p.split(":") for p in rest if ":" in p)
                have[key] = (count, [int(n) for n in rest[2:] if ":" not in n], {p: int(n) for p, n in parity.items()})
        must(mine in (chores // job.parallelism, -(-chores // job.parallelism)), "%s: task %d has %d chores", job.name, i, mine)
    must(len(steps) == 1, "%s: its tasks end at steps %s", job.name, steps)
    want = expected(steps.pop())
    wrong = [k for k in set(have) | set(want) if have.get(k) != want.get(k)]
    must(not wrong, "%s: key %s: %s is not %s", job.name, wrong[:1], have.get(wrong[0] if wrong else 0),
         want.get(wrong[0] if wrong else 0))
    must(sorted(dealt) == list(range(chores)), "%s: chores %s", job.name, sorted(dealt))
    print("state: %s: %d keys, %d chores at parallelism %d: all is right" % (job.name, len(have), chores, job.parallelism))


def is_database(path):
    with open(path, "rb") as f:
        return f.read(6) == b"SQLite"


def look(directory):
    """Anybody can read it with SQLite alone: the counts of the savepoint, summed up in SQL."""
    total, place = 0, set()
    for path in glob.glob(directory + "/t*"):
        db = sqlite3.connect("file:%s?mode=ro&immutable=1" % path, uri=True)
        for (value,) in db.execute("SELECT value FROM entries WHERE state = 'count'"):
            total += int.from_bytes(value, "little")
        place |= {int.from_bytes(v, "little") for (v,) in
                  db.execute("SELECT value FROM entries WHERE state = 'place' AND item = CAST('step' AS BLOB)")}
        db.close()
    must(place == {total}, "the savepoint counts %d, its tasks stand at %s", total, place)
    return total


def step_of(directory):
    """Of a native one, by the command: where its tasks stand."""
    (place,) = {row.get("value_hex") or row["value"].encode().hex() for row in rows_of(directory, "--state", "place")}
    return int.from_bytes(bytes.fromhex(place), "little")


def read(directory, steps):
    """The same with the command, which needs no daemon."""
    listed = [json.loads(line) for line in tool("ls", directory)]
    must(sorted({s["state"] for s in listed}) == ["chores", "count", "first", "members", "note", "parity", "place"], "ls: %s", listed)
    must(all(s["schema"] == "count" and s["version"] == 1 for s in listed if s["state"] == "count"), "ls: %s", listed)
    here = subprocess.run([BUILD + "/tidemark", "state", "ls", os.path.basename(directory)], cwd=os.path.dirname(directory),
                          capture_output=True, text=True, timeout=PATIENCE)
    must(here.stdout.splitlines() == tool("ls", directory), "ls of a relative directory: %s", here)
    rows = rows_of(directory, "--operator", "count", "--state", "count")
    must(len(rows) == sum(s["rows"] for s in listed if s["state"] == "count"), "read: %d rows", len(rows))
    must(sum(int.from_bytes(bytes.fromhex(r["value_hex"]) if "value_hex" in r else r["value"].encode(), "little")
             for r in rows) == steps, "read: the counts are not those of %d steps", steps)
    rows = rows_of(directory, "--state", "place")
    must([r["item"] for r in rows] == ["step"] * 3, "read: %s", rows)
    one = sorted(path for path in glob.glob(directory + "/t*") if is_database(path))[0]
    must(all(json.loads(line)["round"] for line in tool("ls", one)), "ls of a file")
    for args, text in ((("ls", directory + "/nothing"), "unable to open database file"), (("read", WORK), "No such file"),
                       (("ls", directory, "--state", "nothing"), "has no such state"),
                       (("ls", directory + "/_metadata"), "is not a database")):
        done = subprocess.run([BUILD + "/tidemark", "state", *args], capture_output=True, text=True, timeout=PATIENCE)
        must(done.returncode == 1 and text in done.stderr, "%s: %s", args, done)


def write(directory):
    """Out of what was read, in another order and with other key groups: the same savepoint in other words."""
    lines = tool("read", directory)
    entries = [line for line in lines if '"state": "first"' in line and '"rows"' not in line]
    others = [line for line in lines if line not in entries]  # the elements of a list keep their order
    others.reverse()
    others = [line.replace('"max_parallelism": 128', '"max_parallelism": 64') for line in others if '"rows"' in line] + \
             [line for line in others if '"rows"' not in line]
    written = WORK + "/written"
    must(tool("write", written, "--job", "edited", "--max-parallelism", "256", lines=others + entries) == [written], "write")
    listed = [json.loads(line) for line in tool("ls", written)]
    must({(s["subtask"], s["parallelism"], s["max_parallelism"]) for s in listed} == {(0, 1, 256)}, "written: %s", listed)
    had, have = (sorted(row.get("value_hex") or row["value"] for row in rows_of(d) if row["state"] != "place")
                 for d in (directory, written))
    must(had == have, "written: other values")
    row = '{"operator": "o", "state": "s", "kind": "value", "key": "k", "value": "v"}'
    for bad, text in (("x", "line 1: no JSON object"), (row + row, "line 1: more than one object in a line"),
                      (row.replace('"key": "k", ', ""), "line 1: has no key"), (row.replace("value\"", "heap\"", 1), "no kind"),
                      (row.replace('"k"', '"\\ud800"'), "line 1: half of a character"),
                      (row.replace('"value": "v"', '"value_hex": "0"'), "is not hexadecimal"),
                      (row.replace('"key"', '"kee"'), 'unknown member "kee"'),
                      (row + "\n" + row.replace('"v"', '"w"'), "state s: two entries of one key"),
                      (row + "\n" + row.replace('"value", "key"', '"list", "key"'), "line 2: state s was declared otherwise"),
                      ("", "no line declares a state")):
        done = subprocess.run([BUILD + "/tidemark", "state", "write", "%s/bad-%d" % (WORK, abs(hash(bad)))], input=bad,
                              capture_output=True, text=True, timeout=PATIENCE)
        must(done.returncode == 1 and text in done.stderr, "%s: %s", bad, done)
    must(subprocess.run([BUILD + "/tidemark", "state", "write", written], input=row, capture_output=True, text=True,
                        timeout=PATIENCE).returncode == 1, "it writes over what is there")
    must(not glob.glob(WORK + "/bad-*"), "half a savepoint")

    # What is read is written as it was: schemas, max parallelism, states without entries.
    again = WORK + "/again"
    lines = ['{"operator": "o", "state": "none", "kind": "map", "rows": 0, "schema": "i", "version": 7, "max_parallelism": 9}']
    must(tool("write", WORK + "/empty", lines=lines) == [WORK + "/empty"], "write of a declaration")
    for source in (written, WORK + "/empty"):
        for form in ((), ("--csv",)):
            tool("write", again, *form, lines=tool("read", source, *form))
            must([strip(line) for line in tool("ls", again)] == [strip(line) for line in tool("ls", source)],
                 "read and written: %s", tool("ls", again))
            must(tool("read", again) == tool("read", source), "read and written otherwise")
            shutil.rmtree(again)
    return written


def convert(directory):
    """To other tasks, key groups and names, and back to the names: nothing else has changed."""
    there, back = WORK + "/there", WORK + "/back"
    tool("convert", directory, there, "--parallelism", "5", "--max-parallelism", "count=64", "--rename", "count=total",
         "--rename", "count/count=sum")
    listed = [json.loads(line) for line in tool("ls", there, "--operator", "total")]
    must({(s["parallelism"], s["max_parallelism"]) for s in listed} == {(5, 64)} and {s["subtask"] for s in listed} == set(range(5)) and
         {"sum", "note"} <= {s["state"] for s in listed}, "convert: %s", listed)
    tool("convert", there, back, "--parallelism", "total=2", "--max-parallelism", "300", "--rename", "total=count",
         "--rename", "total/sum=count")
    had, have = ([{k: v for k, v in row.items() if k not in ("key_group", "subtask")} for row in sorted(rows_of(d), key=lambda row: row["subtask"])]
                 for d in (directory, back))
    place = [[r for r in rows if r["state"] == "place"] for rows in (had, have)]
    must(place[0][:2 * len(place[0]) // 3] == place[1], "convert: copies of a broadcast: %s", place)
    for state in {r["state"] for r in had} - {"place"}:
        one, other = ([json.dumps(r) for r in rows if r["state"] == state] for rows in (had, have))
        must(one == other if state in ("chores", "members") else sorted(one) == sorted(other), "convert: %s is another", state)
    return back


def rows_of(*args):
    return [row for row in map(json.loads, tool("read", *args)) if "rows" not in row]


def strip(line):
    return {name: value for name, value in json.loads(line).items() if name != "round"}


def tool(*args, lines=None):
    done = subprocess.run([BUILD + "/tidemark", "state", *args], input=None if lines is None else "\n".join(lines) + "\n",
                          capture_output=True, text=True, timeout=PATIENCE)
    must(done.returncode == 0, "%s: %s", args, done.stderr)
    return done.stdout.splitlines()


def main():
    os.mkdir(WORK + "/data")
    daemon = popen([BUILD + "/tidemarkd", "--listen", "127.0.0.1:0", "--data", WORK + "/data"], WORK + "/tidemarkd.log")
    until(lambda: tidemark("status").returncode == 0, "tidemarkd does not start")

    job = Job("first", 3, 1)
    until(lambda: job.complete() >= 2, "no checkpoint completes")
    job.kill(1)
    job.workers[1] = job.start(1)
    until(lambda: "attempt 2 begins with snapshot" in job.log(1), "the job does not come back")
    must("attempt 2 begins with snapshot 0 " not in job.log(1), "it begins afresh: %s", job.log(1))
    must("sees 3 members" in job.log(1), "it does not see the lists of all: %s", job.log(1))
    before = job.complete()
    until(lambda: job.complete() > before, "no checkpoint completes after the restart")
    taken = tidemark("savepoint", "first", *(["--native"] if sys.argv[3:] else []))
    must(taken.returncode == 0, "savepoint: %s", taken.stderr)
    directory = taken.stdout.strip()
    for i in range(3):
        job.kill(i)
    tidemark("cancel", "first")
    steps = look(directory) if not sys.argv[3:] else step_of(directory)
    must(max(map(os.path.getsize, glob.glob(directory + "/t*"))) > 1 << 16, "no database was written as a file")

    read(directory, steps)

    written, converted = write(directory), convert(directory)

    # It may be moved, and is restored from its new place.
    moved = WORK + "/moved"
    os.rename(directory, moved)
    for name, parallelism, begun_with in (("wider", 5, moved), ("narrower", 1, moved), ("edited", 4, written), ("converted", 4, converted)):
        job = Job(name, parallelism, 2, begun_with)
        job.end()
        must("begins with snapshot 0 at step %d\n" % steps in job.log(0), "%s: %s", name, job.log(0))
        check(job, 12, (3,))

    # The daemon does the same: each task gets what concerns it, and nobody's process reads the directory.
    for name, parallelism, begun_with in (("out", 5, moved), ("in", 1, moved), ("level", 3, moved), ("more", 4, written), ("again", 2, converted)):
        job = Job(name, parallelism, 2, "daemon:" + begun_with)
        until(lambda: job.complete() >= 1, "%s: no checkpoint completes", name)
        job.kill(0)
        job.workers[0] = job.start(0)
        job.end()
        must(all("attempt 1 begins with snapshot" in job.log(i) and "at step %d\n" % steps in job.log(i)
                 for i in range(parallelism)), "%s: %s", name, job.log(0))
        check(job, 12, (3, parallelism))
    dry = tidemark("restore", "out", "--from", moved, "--dry-run")
    said = re.search(r"count: restored: 5 tasks, (\d+) artifacts, .* from 3 tasks, (\d+) by their key groups, 3 to all tasks", dry.stdout)
    groups = int(said[2]) if said else 0  # of a native one also the files that are packed apart
    must(said and int(said[1]) == groups + 3 and (groups >= 3 if sys.argv[3:] else groups == 3), "dry run: %s", dry)

    # Damage is told by the file's name, and nothing is restored.
    path = sorted(glob.glob(moved + "/t*"))[0]
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 1]))
    job = Job("damaged", 1, 2, moved)
    until(lambda: "%s: damaged: its digest is not the snapshot's" % path in job.log(0), "damage is not told: %s", job.log(0))
    job.kill(0)
    daemon.send_signal(signal.SIGTERM)
    must(daemon.wait(PATIENCE) == 0, "tidemarkd does not end in good order")


try:
    main()
finally:
    for process in PROCESSES:
        if process.poll() is None:
            process.kill()
            process.wait()

"""What the rows of docs/capabilities.md share: a daemon, the job of worker.c, and what it must come to.

A row is a script that does its operation for the kind of snapshot that it is given, with real processes, and compares
the counters' last words with what Python counts. Keyed state lives in memory for canonical savepoints, and in RocksDB for the
other kinds, which so are of its own files. It ends by done(), which prints the cell; what cannot be done yet is
not tried: then the page has the cell as open, with its reason."""
import collections
import json
import os
import shutil
import subprocess
import sys
import time

BUILD, WORK, KIND = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3]
ROW = os.path.splitext(os.path.basename(sys.argv[0]))[0]
TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
UNALIGNED = 2  # enum tide_barriers
PATIENCE = 60  # seconds, for what should take one
KEYS, END = 499, 20000


def must(fact, text, *args):
    if not fact:
        raise SystemExit("%s, %s: FAILED: %s" % (ROW, KIND, text % args if args else text))


def until(fact, text, *args):
    end = time.monotonic() + PATIENCE
    while True:
        value = fact()
        if value:
            return value
        must(time.monotonic() < end and not any((p.poll() or 0) > 0 for p in PROCESSES), text, *args)
        time.sleep(0.02)


PROCESSES = []


def popen(args, log):
    with open(log, "ab") as out:
        PROCESSES.append(subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
    return PROCESSES[-1]


def read(path):
    with open(path, errors="replace") as f:
        return f.read()


class Daemon:
    """With a store of its own."""

    def __init__(self, name="data"):
        self.data = os.path.join(WORK, name)
        os.mkdir(self.data)
        self.process = popen([BUILD + "/tidemarkd", "--listen", "127.0.0.1:0", "--data", self.data], self.data + ".log")
        until(lambda: self.tidemark("status").returncode == 0, "tidemarkd does not start: %s", read(self.data + ".log"))
        self.address = "127.0.0.1:" + read(self.data + "/port").strip()

    def tidemark(self, *args):
        return subprocess.run([BUILD + "/tidemark", *args, "--data", self.data], capture_output=True, text=True, timeout=PATIENCE)

    def ask(self, *args):
        done = self.tidemark(*args)
        must(done.returncode == 0, "tidemark %s: %s", args, done.stderr)
        return done.stdout.strip()

    def json(self, *args):
        return json.loads(self.ask(*args, "--json"))

    def stop(self):
        self.process.terminate()
        must(self.process.wait(PATIENCE) == 0, "tidemarkd does not end in good order")


def tool(*args, lines=None):
    """`tidemark state ...`, which asks no daemon; what it prints."""
    done = subprocess.run([BUILD + "/tidemark", "state", *args], input=None if lines is None else "\n".join(lines) + "\n",
                          capture_output=True, text=True, timeout=PATIENCE)
    must(done.returncode == 0, "tidemark state %s: %s", args, done.stderr)
    return done.stdout.splitlines()


class Job:
    """Its workers, a process each; options as in worker.c."""

    def __init__(self, daemon, name="job", sources=2, counters=2, relays=0, audits=0, **options):
        self.daemon, self.name = daemon, name
        self.counters, self.ended = counters, False
        self.barriers = UNALIGNED if KIND == "unaligned" else 0
        self.tasks = [(uid, i) for uid, n in (("source", sources), ("relay", relays), ("counter", counters), ("audit", audits)) for i in range(n)]
        self.shape = {"sources": sources, "relays": relays, "counters": counters, "audits": audits}
        self.begin(**options)

    def path(self, task, suffix):
        return "%s/%s-%s-%d.%s" % (WORK, self.name, *task, suffix)

    def begin(self, **options):
        """All workers anew; what was said before is forgotten."""
        self.workers = []
        options = {"backend": "memory" if KIND == "canonical" else "rocksdb", **self.shape, "barriers": self.barriers, "end": END, **options}
        self.backend = options["backend"]
        for task in self.tasks:
            for suffix in ("log", "out"):
                if os.path.exists(self.path(task, suffix)):
                    os.unlink(self.path(task, suffix))
            own = ["own=" + self.path(task, "own")]
            shutil.rmtree(self.path(task, "own"), ignore_errors=True)
            self.workers.append(popen(
                [BUILD + "/tests/capabilities/worker", "job=" + self.name, "address=" + self.daemon.address, "uid=" + task[0],
                 "index=%d" % task[1], "out=" + self.path(task, "out"), *own, *("%s=%s" % o for o in options.items())],
                self.path(task, "log")))

    def log(self):
        return "".join(read(self.path(task, "log")) for task in self.tasks if os.path.exists(self.path(task, "log")))

    def kill(self):
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            worker.wait()

    def cancel(self):
        self.ended = True
        self.kill()
        self.daemon.ask("cancel", self.name)

    def begins_with(self, snapshot):
        """Every task, in its first life."""
        said = " begins with snapshot %d\n" % snapshot
        until(lambda: self.log().count(said) == len(self.tasks), "not restored from %d: %s", snapshot, self.log())

    def begins_elsewhere(self):
        """From a snapshot that its daemon has not taken for this job: the first attempt of a new job is not afresh."""
        until(lambda: self.log().count("attempt 1 begins with snapshot ") == len(self.tasks), "not restored: %s", self.log())
        must("attempt 1 begins with snapshot 0\n" not in self.log(), "it begins afresh: %s", self.log())

    def end(self, mark=0, more=None):
        """All is counted, once: compared with what Python counts. mark: what version 2 has beside each count; more: what was
        added to the sums of some keys."""
        for worker in self.workers:
            until(lambda: worker.poll() is not None, "a worker does not end: %s", self.log())
            must(worker.returncode == 0, "a worker ends with %d: %s", worker.returncode, self.log())
        have = {}
        for i in range(self.counters):
            for line in read(self.path(("counter", i), "out")).splitlines():
                key, n, total, had = map(int, line.split())
                must(key not in have, "two counters have key %d", key)
                must(not mark or had == mark, "key %d: its mark is %d, not %d", key, had, mark)
                have[key] = (n, total)
        want = {key: (n, total + (more or {}).get(key, 0)) for key, (n, total) in expected(END).items()}
        wrong = [key for key in set(have) | set(want) if have.get(key) != want.get(key)]
        must(not wrong, "%d keys are wrong, key %s: %s instead of %s", len(wrong), wrong[:1],
             have.get(wrong[0]) if wrong else None, want.get(wrong[0]) if wrong else None)


def expected(end):
    """How many numbers below `end` each key has, and their sum."""
    keys = collections.defaultdict(list)
    for number in range(end):
        keys[number * 2654435761 % KEYS].append(number)
    return {key: (len(those), sum(those)) for key, those in keys.items()}


# ---- the snapshot of a cell's kind

Snapshot = collections.namedtuple("Snapshot", "number directory")


def take(job):
    """One of the kind in question, in the middle of the input."""
    time.sleep(0.3)  # not a race: whenever it is taken, the sum of what came before and after is the same
    if KIND in ("canonical", "native"):
        directory = job.daemon.ask("savepoint", job.name, *(["--native"] if KIND == "native" else []))
        rounds = job.daemon.json("rounds", job.name)["rounds"]
        number = max(r["round"] for r in rounds if r["state"] == "complete" and r["kind"] == "savepoint")
    else:
        number = int(job.daemon.ask("checkpoint", job.name))
        directory = None
    row = next(r for r in job.daemon.json("rounds", job.name)["rounds"] if r["round"] == number)
    must(row["unaligned"] == (row["persisted_bytes"] > 0) == (KIND == "unaligned"), "it is not of its kind: %s", row)
    tasks = job.daemon.json("snapshot", "show", str(number), "--tasks")["tasks"]
    native = [t for t in tasks if any(a["name"] == "state.native" for a in t["artifacts"])]
    must(len(native) == (job.counters if KIND != "canonical" and job.backend == "rocksdb" else 0), "its format: %s", tasks)
    must(not any(os.path.exists(job.path(task, "out")) for task in job.tasks), "the input was through already")
    return Snapshot(number, directory)


def begun(daemon, **options):
    """A job that has been at it for a moment. Behind slow counters records queue, for those who overtake them."""
    job = Job(daemon, slow=200, **options)
    until(lambda: job.log().count(" begins with snapshot 0\n") == len(job.tasks), "it does not begin: %s", job.log())
    return job


def exported(job, snapshot):
    """A checkpoint as a directory of its own; a savepoint is one."""
    if snapshot.directory:
        return snapshot
    directory = os.path.join(WORK, "exported-%d" % snapshot.number)
    must(job.daemon.ask("snapshot", "export", str(snapshot.number), directory) == directory, "it is exported elsewhere")
    return Snapshot(snapshot.number, directory)


def again(job, snapshot, name="next", shape=None, refused=False, **options):
    """The job with other workers, from that snapshot and no other: the same job from a checkpoint, a new one from a savepoint."""
    if snapshot.directory is None:
        must(shape is None, "a job of another shape is another job")
        job.kill()
        job.begin(**options)
        if not refused:
            job.begins_with(snapshot.number)
        return job
    if not job.ended:
        job.cancel()
    job = Job(job.daemon, name, *(shape or (2, 2)), **{"from": snapshot.directory, **options})
    if not refused:
        job.begins_elsewhere()
    return job


def done():
    print("cell %s %s" % (ROW, KIND))


def row(kinds, story):
    """The script's main: `story` for a kind that it is for; for others nothing is claimed."""
    if KIND not in kinds:
        return
    try:
        story(KIND)
    finally:
        for process in PROCESSES:
            if process.poll() is None:
                process.kill()
                process.wait()
    done()

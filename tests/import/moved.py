#!/usr/bin/python3
"""moved.py BUILD WORK [NAME ...]: wordcount is stopped at one daemon, its savepoint is moved, and another goes on.

No word of the input occurs twice. So what was published under the first daemon and what is published under the second
must be, together, each word once: nothing is lost on the way, and nothing comes twice.
"""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib_processes import LENGTH, PROCESSES, STAGES, WORDCOUNT, WORK, must, popen, until, word  # noqa: E402
import lib_processes  # noqa: E402

WORDS = 200000


class Daemon(lib_processes.Daemon):
    def __init__(self, name):
        super().__init__("%s/%s" % (WORK, name), "%s/%s.log" % (WORK, name))

    def fails(self, words, *args):
        """An operation that fails, for that reason."""
        code, answer = self.ask(*args)
        op = answer.get("operation")
        why = op["error"] if op else answer["error"]["text"]
        must(code == 1 and why and words in why, "%s: not '%s': %s", args, words, answer)
        return op


class Job:
    """One wordcount; whoever dies is started again, until it ends well."""

    def __init__(self, daemon, name, restore_from=None, rate=100000):
        self.daemon, self.name, self.from_, self.rate = daemon, name, restore_from, rate
        self.parts = "%s/%s-%d" % (WORK, name, len(PROCESSES))
        os.mkdir(self.parts)
        self.log = self.parts + ".log"
        self.workers = {stage: self.start(stage) for stage in STAGES}

    def start(self, stage):
        kind, index = stage
        args = {"source": ["--input", WORK + "/input", "--rate", str(self.rate)],
                "sink": ["--parts", self.parts]}.get(kind, [])
        if kind != "sink":
            args += ["--index", str(index)]
        if self.from_:
            args += ["--restore-from", self.from_]
        return popen(
            [WORDCOUNT, kind, *args, "--job", self.name, "--connect", "127.0.0.1:%d" % self.daemon.port, "--interval",
             "100", "--lease", "1500", "--heartbeat", "200"], self.log)

    def state(self):
        for stage, process in self.workers.items():
            if process.poll() not in (None, 0):
                self.workers[stage] = self.start(stage)
        found = self.daemon.job(self.name)
        return found and found["state"]

    def until_state(self, state):
        until(lambda: self.state() == state, "%s: does not become %s", self.name, state)

    def until_rounds(self, n):
        begun = len(self.daemon.complete(self.name)) if self.state() else 0
        until(lambda: self.state() and len(self.daemon.complete(self.name)) >= begun + n, "%s: no round completes",
              self.name)

    def until_published(self, n):
        until(lambda: self.state() and len(self.published()) >= n, "%s: too little is published", self.name)

    def ended(self):
        until(lambda: self.state() and all(p.poll() == 0 for p in self.workers.values()), "%s: its workers do not end",
              self.name)

    def end_by_force(self):
        for process in self.workers.values():
            process.kill()
            process.wait()

    def published(self):
        """How often each word."""
        done = subprocess.run([WORDCOUNT, "sum", self.parts], capture_output=True, text=True)
        must(done.returncode == 0, "%s: %s", self.name, done.stderr)
        return {w: int(n) for n, w in (line.split() for line in done.stdout.splitlines())}


def running(daemon, name, **more):
    job = Job(daemon, name, **more)
    job.until_state("RUNNING")
    job.until_rounds(2)
    return job


def moved(op, name):
    """The savepoint of that operation, somewhere else."""
    to = "%s/%s" % (WORK, name)
    shutil.move(op["location"], to)
    return to


def complete(first, second):
    """Both together have published each word once."""
    a, b = first.published(), second.published()
    both = [w for w in a if w in b]
    must(not both, "%d words were published twice: %s ...", len(both), both[:3])
    have = sorted({**a, **b}.items())
    must(a and b, "one of the two has published nothing: %d, %d words", len(a), len(b))
    must(have == [(word(i), 1) for i in range(WORDS)], "%d of %d words were published", len(have), WORDS)


def another_daemon_goes_on():
    """S149: with the moved savepoint of a stop a new job of another daemon goes on where that ended."""
    one = Daemon("one")
    first = running(one, "job")
    op = one.ok("stop", "job")["operation"]
    first.ended()
    one.kill()
    place = moved(op, "moved")
    two = Daemon("two")
    second = running(two, "job", restore_from=place)
    info = two.ok("snapshots", "job", "--all", "--limit", "1000")["snapshots"][-1]
    must(info["directory"] == place and info["imported"] and info["owner"] == "user", "%s", info)
    must(two.ok("snapshot", "verify", str(info["snapshot"]))["ok"], "it does not verify where it is now")
    show = two.run("snapshot", "show", str(info["snapshot"]), "--tasks").stdout
    must("imported" in show and "counter/1" in show and place in show, "%s", show)
    lineage = two.run("lineage", "job").stdout
    must("elsewhere" in lineage, "%s", lineage)
    # the daemon dies, and the program goes on saying where it began
    two.kill()
    two.start()
    second.until_state("FINISHED")
    second.ended()
    complete(first, second)
    must(os.path.exists(place + "/_metadata"), "its bytes are gone")
    two.kill()


def restored_by_order():
    """A job that is there goes on from what another daemon has taken, is held when that is gone, and released."""
    one = Daemon("three")
    first = running(one, "job", rate=100000)  # there is something left to do when the stop comes
    first.until_published(WORDS * 2 // 5)  # so that its states are files
    op = one.ok("stop", "job")["operation"]
    first.ended()
    one.kill()
    place = moved(op, "lent")
    two = Daemon("four")
    job = running(two, "job", rate=100000)
    dry = two.run("restore", "job", "--from", place, "--allow-repeat", "--dry-run").stdout
    must("counter: restored: 2 tasks" in dry and "repeats: the effects of the rounds after 0" in dry, "%s", dry)
    two.fails("would be repeated: only if that is allowed", "restore", "job", "--from", place)
    shutil.copytree(place, WORK + "/bad")
    part = next(f for f in sorted(os.listdir(place)) if f.startswith("t"))
    os.truncate("%s/bad/%s" % (WORK, part), 1)
    two.fails("/bad/%s: has 1 bytes instead of" % part, "restore", "job", "--from", WORK + "/bad", "--allow-repeat")
    os.unlink("%s/bad/%s" % (WORK, part))
    two.fails("/bad/%s: is missing" % part, "snapshot", "import", "job", "--from", WORK + "/bad")
    os.truncate(WORK + "/bad/_metadata", 100)
    two.fails("/bad/_metadata: ", "snapshot", "import", "job", "--from", WORK + "/bad")
    two.fails("/nowhere: cannot be opened", "snapshot", "import", "job", "--from", WORK + "/nowhere")
    must(two.job("job")["state"] == "RUNNING", "an order that failed has ended the attempt")
    number = two.ok("snapshot", "import", "job", "--from", place, "--label", "lent")["operation"]["snapshot"]
    two.fails("is snapshot %d of job job already" % number, "snapshot", "import", "job", "--from", place)
    job.end_by_force()
    # its processes are gone, perhaps before they had confirmed what a round has committed
    two.ok("restore", "job", "--snapshot", str(number), "--allow-repeat", "--abandon-owed")
    os.rename(place, place + "-away")
    job.parts, job.rate = job.parts + "-again", 0
    os.mkdir(job.parts)
    job.workers = {stage: job.start(stage) for stage in STAGES}
    until(lambda: two.job("job")["state"] == "HELD", "it is not held")
    cause = two.job("job")["cause"]
    must("which is not in %s any more" % place in cause, "%s", cause)
    os.rename(place + "-away", place)
    two.ok("release", "job")
    job.until_state("FINISHED")
    job.ended()
    complete(first, job)
    two.ok("snapshot", "dispose", str(number))
    must(os.path.exists(place + "/_metadata"), "its bytes are gone")
    two.kill()


def a_new_job_that_cannot_begin():
    """Its workers are told why by the file's name, and nothing of it is left."""
    two = Daemon("five")
    os.mkdir(WORK + "/empty")
    process = Job(two, "job", restore_from=WORK + "/empty").workers["sink", 0]
    until(lambda: process.poll() is not None, "it waits")
    must(process.returncode != 0, "it ends well")
    must(two.ok("jobs")["jobs"] == [], "there is a job")
    for p in PROCESSES[-len(STAGES):]:
        until(lambda p=p: p.poll() is not None, "it waits")
    two.kill()


def by_every_name():
    """A job is ordered back: to what it would go on from by itself, to a savepoint by its number, to nothing."""
    two = Daemon("six")
    job = running(two, "job", rate=20000)

    def goes_on_from(snapshot, *how):
        before = two.job("job")["attempt"]
        # refused as long as commits of a later round are owed: workers confirm them in a moment
        until(lambda: two.ask("restore", "job", *how)[0] == 0, "it cannot be ordered")
        until(lambda: job.state() == "RUNNING" and two.job("job")["attempt"] > before, "it does not go on")
        with open(job.log) as f:
            have = "restored attempt %d from snapshot %d" % (two.job("job")["attempt"], snapshot)
            must(have in f.read(), "not said: %s", have)

    saved = two.ok("savepoint", "job", "--commits")["operation"]["snapshot"]
    job.until_rounds(2)
    two.fails("would be repeated: only if that is allowed", "restore", "job", "--snapshot", str(saved))
    two.ok("hold", "job")
    newest = two.ok("snapshots", "job")["snapshots"][0]["snapshot"]
    goes_on_from(newest, "--latest")  # also a job that is held
    goes_on_from(saved, "--snapshot", str(saved), "--allow-repeat")
    goes_on_from(0, "--nothing", "--allow-repeat")
    job.end_by_force()
    two.kill()


def exported():
    """A checkpoint leaves its daemon: what is exported is all that is left, and another daemon goes on with it."""
    one = Daemon("six")
    first = running(one, "job")
    live = one.ok("snapshots", "job")["snapshots"][0]["snapshot"]  # newer ones take its place ten times a second
    code, answer = one.ask("snapshot", "export", str(live), WORK + "/live", "--key", "live")
    must(code == 0 or "deleted" in answer["error"]["text"], "export of what is just retained: %s", answer)
    op = one.ok("stop", "job", "--checkpoint")["operation"]
    first.ended()
    number, place = str(op["snapshot"]), WORK + "/exported"
    done = one.run("snapshot", "export", number, place, "--key", "k")
    must(done.returncode == 0 and done.stdout == place + "\n", "export: %s", done)
    must(one.ok("snapshot", "export", number, place, "--key", "k")["operation"]["location"] == place, "not found by its key")
    one.fails("/exported: cannot be made: File exists", "snapshot", "export", number, place)
    one.fails("no snapshot 4611686018427387904", "snapshot", "export", str(1 << 62), place + "2")
    one.fails("which the daemon cleans", "snapshot", "export", number, one.data + "/state/x")
    files = [f for f in os.listdir(place) if f != "_metadata"]
    must(files and all(os.stat(place + "/" + f).st_nlink == 2 for f in files), "no links: %s", files)
    must(not os.path.exists(place + "/_metadata.pending"), "something is left")
    one.kill()
    shutil.rmtree(one.data)
    place = shutil.move(place, WORK + "/elsewhere")
    two = Daemon("seven")
    second = running(two, "job", restore_from=place)
    info = two.ok("snapshots", "job", "--all", "--limit", "1000")["snapshots"][-1]
    must(info["directory"] == place and info["kind"] == "checkpoint" and info["imported"], "%s", info)
    must(two.ok("snapshot", "verify", str(info["snapshot"]))["ok"], "it does not verify")
    if code == 0:
        two.ok("snapshot", "import", "job", "--from", WORK + "/live")
    again = two.ok("snapshot", "export", str(info["snapshot"]), WORK + "/again")["operation"]  # one that was imported
    must(sorted(os.listdir(again["location"])) == sorted(files + ["_metadata"]), "%s", os.listdir(again["location"]))
    second.until_state("FINISHED")
    second.ended()
    complete(first, second)
    two.kill()


TESTS = [another_daemon_goes_on, exported, by_every_name, restored_by_order, a_new_job_that_cannot_begin]


def main():
    with open(WORK + "/input", "w") as f:
        f.writelines(word(i) + "\n" for i in range(WORDS))
    wanted = sys.argv[3:]
    begun = time.monotonic()
    try:
        for test in TESTS:
            if not wanted or test.__name__ in wanted:
                test()
    finally:
        for process in PROCESSES:
            process.kill()
            process.wait()
    print("import: OK: %d ways to go on elsewhere, %.1f s" % (len(wanted or TESTS), time.monotonic() - begun))


main()

#!/usr/bin/python3
"""stop.py BUILD WORK [NAME ...]: wordcount, stopped in every way, while daemon and sink die at the worst moments.

No word of the input occurs twice, and they ascend. So whatever is published when a job has been stopped must be each
word once, a run of them from the beginning of each source's half: that is what a cut is, and what exactly once is.
"""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib_processes import Daemon, LENGTH, PROCESSES, STAGES, WORDCOUNT, WORK, must, popen, until, word  # noqa: E402

WORDS = 60000


class Job:
    """One wordcount; whoever dies is started again, until it ends well."""

    def __init__(self, daemon, name, interval=100):
        self.daemon, self.name, self.interval = daemon, name, str(interval)
        self.parts = "%s/%s" % (WORK, name)
        os.mkdir(self.parts)
        self.log = "%s/%s.log" % (WORK, name)
        self.keep = True
        self.workers = {stage: self.start(stage) for stage in STAGES}

    def start(self, stage):
        kind, index = stage
        args = {"source": ["--input", WORK + "/input", "--rate", "60000"], "sink": ["--parts", self.parts]}.get(kind, [])
        if kind != "sink":
            args += ["--index", str(index)]
        return popen(
            [WORDCOUNT, kind, *args, "--job", self.name, "--connect", "127.0.0.1:%d" % self.daemon.port, "--interval",
             self.interval, "--lease", "4000", "--heartbeat", "200"], self.log)

    def supervise(self):
        for stage, process in self.workers.items():
            if process.poll() not in (None, 0) and self.keep:
                self.workers[stage] = self.start(stage)

    def state(self):
        self.supervise()
        found = self.daemon.job(self.name)
        return found and found["state"]

    def until_state(self, state):
        until(lambda: self.state() == state, "%s: does not become %s", self.name, state)

    def until_rounds(self, n):
        """Until so many more have completed."""
        begun = len(self.daemon.complete(self.name)) if self.state() else 0
        until(lambda: self.state() and len(self.daemon.complete(self.name)) >= begun + n, "%s: no round completes",
              self.name)

    def signal(self, stage, number):
        self.workers[stage].send_signal(number)

    def ended(self):
        """All workers have ended, having been told so."""
        def all_zero():
            self.supervise()
            return all(p.poll() == 0 for p in self.workers.values())
        until(all_zero, "%s: its workers do not end", self.name)

    def published(self):
        done = subprocess.run([WORDCOUNT, "sum", self.parts], capture_output=True, text=True)
        must(done.returncode == 0, "%s: %s", self.name, done.stderr)
        return [line.split() for line in done.stdout.splitlines()]

    def check(self, whole=False):
        """What is published: each word once, a run from the beginning of each half. Returns how many words."""
        counts = self.published()
        must(all(n == "1" for n, _ in counts), "%s: a word was published twice", self.name)
        have = [w for _, w in counts]
        first = 0
        while first < len(have) and have[first] == word(first):
            first += 1
        second = [i for i in (WORDS // 2 - 1, WORDS // 2, WORDS // 2 + 1)
                  if have[first:] == [word(i + k) for k in range(len(have) - first)]]
        must(second, "%s: what is published is no cut: %d words, %d of the first half", self.name, len(have), first)
        must(not whole or len(have) == WORDS, "%s: %d words are published", self.name, len(have))
        return len(have)

    def only_parts(self):
        """Nothing was computed behind the last snapshot, and nothing of it waits."""
        left = [f for f in os.listdir(self.parts) if not f.startswith("part-")]
        must(not left, "%s: not published: %s", self.name, left)

    def end_by_force(self):
        self.keep = False
        for process in self.workers.values():
            process.kill()
            process.wait()

    def refused(self, outcome):
        """Whoever joins later hears how it has ended, and ends well."""
        process = self.start(("counter", 0))
        until(lambda: process.poll() is not None, "%s: who joins later is not told", self.name)
        must(process.returncode == 0, "%s: who joins later ends with %d", self.name, process.returncode)
        with open(self.log) as f:
            must(any(line.endswith("stop: the job is " + outcome) for line in f.read().splitlines()[-2:]),
                 "%s: who joins later does not hear %s", self.name, outcome)


def running(daemon, name):
    job = Job(daemon, name)
    job.until_state("RUNNING")
    job.until_rounds(2)
    return job


def ended_with(job, state, answer, good=True):
    op = answer["operation"]
    must(op["state"] == "done", "%s: %s", job.name, op)
    must(not good or op["snapshot_good"], "%s: %s", job.name, op)
    must(job.state() == state, "%s: is %s when it is told done", job.name, job.state())
    n = job.check()
    job.ended()
    must(job.check() == n, "%s: something was published after the end", job.name)
    if good:
        job.only_parts()
    return op


def suspend(daemon):
    job = running(daemon, "suspend")
    op = ended_with(job, "SUSPENDED", daemon.ok("stop", job.name))
    must(os.path.exists(op["location"] + "/_metadata"), "no _metadata in %s", op["location"])
    must(daemon.ok("snapshot", "verify", str(op["snapshot"]))["ok"], "the snapshot cannot be verified")
    job.refused("SUSPENDED")
    code, answer = daemon.ask("snapshot", "dispose", str(op["snapshot"]))
    must(code == 1, "the snapshot of a suspended job can be disposed of: %s", answer)
    code, answer = daemon.ask("stop", job.name)
    must(code == 1 and "SUSPENDED" in answer["error"]["text"], "stopped twice: %s", answer)
    daemon.kill()
    daemon.start()
    must(job.state() == "SUSPENDED", "after a restart it is %s", job.state())
    job.refused("SUSPENDED")


def suspend_with_a_checkpoint(daemon):
    job = running(daemon, "checkpoint")
    op = ended_with(job, "SUSPENDED", daemon.ok("stop", job.name, "--checkpoint", "--supersede"))
    shown = daemon.ok("snapshot", "show", str(op["snapshot"]))["snapshot"]
    must(op["location"] == shown["directory"], "it is in %s: %s", shown["directory"], op)


def drain(daemon):
    job = running(daemon, "drain")
    ended_with(job, "FINISHED", daemon.ok("stop", job.name, "--drain"))
    job.refused("FINISHED")


def drained_twice(daemon):
    """A retry with the same key finds the first."""
    job = running(daemon, "retry")
    first = daemon.ok("stop", job.name, "--drain", "--key", "k")["operation"]
    again = daemon.ok("stop", job.name, "--drain", "--key", "k")["operation"]
    must(first["id"] == again["id"], "a retry is another operation: %s", again)
    job.ended()


def cancel(daemon):
    job = running(daemon, "cancel")
    ended_with(job, "CANCELLED", daemon.ok("cancel", job.name), good=False)
    job.refused("CANCELLED")


def cancel_with_savepoint(daemon):
    job = running(daemon, "leave")
    op = ended_with(job, "CANCELLED", daemon.ok("cancel", job.name, "--savepoint"), good=False)
    must(os.path.exists(op["location"] + "/_metadata"), "no _metadata in %s", op["location"])


def cancel_without_workers(daemon):
    job = running(daemon, "alone")
    job.end_by_force()
    op = daemon.ok("cancel", job.name)["operation"]
    must(op["state"] == "done" and job.state() == "CANCELLED", "%s: %s", op, job.state())


def dispose(daemon):
    job = running(daemon, "dispose")
    op = daemon.ok("savepoint", job.name, "--commits")["operation"]
    number, where = str(op["snapshot"]), op["location"]
    job.until_rounds(2)  # it is no recovery point any more
    first = daemon.ok("snapshot", "dispose", number, "--key", "k")["operation"]
    must(first["state"] == "done" and not os.path.exists(where), "%s is still there: %s", where, first)
    again = daemon.ok("snapshot", "dispose", number, "--key", "k")["operation"]
    must(again["id"] == first["id"], "a retry is another operation: %s", again)
    job.signal(("source", 0), signal.SIGUSR2)
    job.signal(("source", 1), signal.SIGUSR2)
    job.until_state("FINISHED")
    job.ended()
    job.check(whole=True)


def recovery_point_is_damaged(daemon):
    """A file of the savepoint that the job goes on from is away, then it is cut: HELD, until it is whole again."""
    job = Job(daemon, "damaged", interval=60000)  # no checkpoint comes behind it
    job.until_state("RUNNING")
    time.sleep(0.5)
    op = daemon.ok("savepoint", job.name, "--commits")["operation"]
    job.end_by_force()
    place = op["location"]
    files = sorted(f for f in os.listdir(place) if f != "_metadata")
    must(files, "everything of it is in its _metadata: %s", op)
    victim, away = place + "/" + files[-1], WORK + "/away"
    with open(victim, "rb") as f:
        data = f.read()

    def held(what):
        job.keep = True
        job.workers = {stage: job.start(stage) for stage in STAGES}
        job.until_state("HELD")
        cause = daemon.job(job.name)["cause"]
        must("savepoint %d" % op["snapshot"] in cause and files[-1] in cause and what in cause, "%s", cause)
        attempts = daemon.job(job.name)["attempt"]
        job.end_by_force()
        return attempts

    os.rename(victim, away)
    first = held("is missing")
    with open(victim, "wb") as f:
        f.write(data[:-1])
    daemon.ok("release", job.name)
    must(held("bytes instead of") == first, "an attempt was begun from what is damaged")
    os.rename(away, victim)
    daemon.ok("release", job.name)
    job.keep = True
    job.workers = {stage: job.start(stage) for stage in STAGES}
    job.until_state("RUNNING")
    for source in (0, 1):
        job.signal(("source", source), signal.SIGUSR2)
    daemon.ok("stop", job.name, "--drain")
    job.ended()
    job.check()


def result(daemon, job, op):
    def over():
        _, answer = daemon.ask("operation", str(op["id"]))  # 1 when it has failed
        return answer if job.state() and answer["operation"]["state"] in ("done", "failed") else None
    return until(over, "%s: its stop does not end", job.name)


def sink_dies(daemon, name, how, outcome, with_daemon):
    """The sink dies when it should publish the last round, and the daemon with it: whether it came to that."""
    job = running(daemon, name)
    job.keep = False
    op = daemon.ok("stop", job.name, "--detach", "--supersede", *how)["operation"]
    job.signal(("sink", 0), signal.SIGUSR2)
    until(lambda: job.workers["sink", 0].poll() is not None, "%s: the sink lives", name)
    met = job.workers["sink", 0].returncode != 0 and job.state() == "STOPPING"
    if met and with_daemon:
        daemon.kill()
        time.sleep(0.1)
        daemon.start()
        must(job.state() == "STOPPING", "%s: %s after the restart", name, job.state())
    if met:
        job.check()  # the last part is not published
        must(any(f.startswith("pending-") for f in os.listdir(job.parts)), "%s: nothing is to be published", name)
        must(daemon.ok("operation", str(op["id"]))["operation"]["state"] == "running", "%s: told done too early", name)
    job.keep = True
    answer = result(daemon, job, op)
    if not met and answer["operation"]["state"] == "failed":  # it died for a round before: the stop had none
        must(not answer["operation"]["snapshot_good"], "%s: %s", name, answer)
        job.end_by_force()
        return False
    ended_with(job, outcome, answer)
    return met


def open_rounds(daemon, job):
    return [r["round"] for r in daemon.ok("job", "show", job.name)["job"]["open_rounds"]]


def until_stuck(daemon, job):
    """A counter is frozen, and a checkpoint hangs on it: its number."""
    job.signal(("counter", 0), signal.SIGSTOP)

    def hangs():
        before = open_rounds(daemon, job)
        time.sleep(0.5)  # longer than any round takes that need not wait for it
        return before and before == open_rounds(daemon, job) and before[0]
    return until(hangs, "%s: no round hangs", job.name)


def ended_round(daemon, job, number):
    return until(lambda: [r for r in daemon.ok("rounds", job.name, "--limit", "1000")["rounds"]
                          if r["round"] == number and r["state"] in ("complete", "aborted")],
                 "%s: round %d does not end", job.name, number)[0]


def supersedes(daemon):
    """The round under way is aborted by a stop that says so, and is let finish by one that does not."""
    job = running(daemon, "supersedes")
    stuck = until_stuck(daemon, job)
    op = daemon.ok("stop", job.name, "--detach", "--supersede")["operation"]
    row = ended_round(daemon, job, stuck)
    must(row["state"] == "aborted" and "operation %d" % op["id"] in row["reason"], "it is not superseded: %s", row)
    job.signal(("counter", 0), signal.SIGCONT)
    ended_with(job, "SUSPENDED", result(daemon, job, op))
    job = running(daemon, "waits")
    stuck = until_stuck(daemon, job)
    op = daemon.ok("stop", job.name, "--detach")["operation"]
    job.signal(("counter", 0), signal.SIGCONT)
    op = ended_with(job, "SUSPENDED", result(daemon, job, op))
    must(ended_round(daemon, job, stuck)["state"] == "complete" and op["snapshot"] > stuck, "round %d was not let finish", stuck)


def no_snapshot(daemon):
    """A worker is lost for the last round: no snapshot, the job goes on, and the answer says so."""
    job = running(daemon, "lost")
    stuck = until_stuck(daemon, job)
    op = daemon.ok("stop", job.name, "--detach", "--supersede")["operation"]
    until(lambda: max(open_rounds(daemon, job), default=0) > stuck, "%s: the last round does not begin", job.name)
    job.signal(("counter", 0), signal.SIGKILL)
    answer = result(daemon, job, op)["operation"]
    must(answer["state"] == "failed" and not answer["snapshot_good"], "%s", answer)
    must("no snapshot was taken, the job goes on" in answer["error"] and "counter" in answer["error"], "%s", answer["error"])
    job.until_state("RUNNING")
    ended_with(job, "SUSPENDED", daemon.ok("stop", job.name))


def snapshot_good(daemon):
    """The sink does not publish what the last snapshot has, and the job is cancelled: the snapshot is good all the same."""
    for i in range(10):
        job = running(daemon, "good-%d" % i)
        job.keep = False
        op = daemon.ok("stop", job.name, "--detach", "--supersede")["operation"]
        job.signal(("sink", 0), signal.SIGUSR2)
        until(lambda: job.workers["sink", 0].poll() is not None, "%s: the sink lives", job.name)
        if job.workers["sink", 0].returncode == 0 or job.state() != "STOPPING":  # it died for a round before, or too late
            job.end_by_force()
            continue
        daemon.ok("cancel", job.name)
        answer = result(daemon, job, op)["operation"]
        must(answer["state"] == "failed" and answer["snapshot_good"], "%s", answer)
        must("is complete, but the stop failed" in answer["error"], "%s", answer["error"])
        must(os.path.exists(answer["location"] + "/_metadata"), "it is not in %s", answer["location"])
        must(daemon.ok("snapshot", "verify", str(answer["snapshot"]))["ok"], "it cannot be verified")
        job.end_by_force()
        return
    must(False, "never in STOPPING")


def at_the_end(daemon, name, *args):
    """Until the moment was met; after a few tries that is no chance any more."""
    must(any(sink_dies(daemon, "%s-%d" % (name, i), *args) for i in range(10)), "%s: never in STOPPING", name)


def sink_dies_in_stopping(daemon):
    at_the_end(daemon, "sink-suspend", [], "SUSPENDED", False)
    at_the_end(daemon, "sink-drain", ["--drain"], "FINISHED", False)


def daemon_dies_in_stopping(daemon):
    at_the_end(daemon, "daemon-suspend", [], "SUSPENDED", True)
    at_the_end(daemon, "daemon-drain", ["--drain", "--checkpoint"], "FINISHED", True)


def daemon_dies_early(daemon):
    """Right behind the order, at some moment of it."""
    for i, how in enumerate([[], ["--drain"], ["--supersede"], ["--drain", "--checkpoint"]]):
        job = running(daemon, "early-%d" % i)
        op = daemon.ok("stop", job.name, "--detach", *how)["operation"]
        time.sleep(0.03 * i)
        daemon.kill()
        daemon.start()
        answer = result(daemon, job, op)
        if answer["operation"]["state"] == "failed":  # the round was lost with the daemon: it runs on
            must(not answer["operation"].get("snapshot_good"), "%s: %s", job.name, answer)
            job.until_state("RUNNING")
            answer = daemon.ok("stop", job.name, *how)
        ended_with(job, "FINISHED" if "--drain" in how else "SUSPENDED", answer)


TESTS = [suspend, suspend_with_a_checkpoint, drain, drained_twice, cancel, cancel_with_savepoint,
         cancel_without_workers, dispose, recovery_point_is_damaged, supersedes, no_snapshot, snapshot_good, sink_dies_in_stopping, daemon_dies_in_stopping,
         daemon_dies_early]


def main():
    with open(WORK + "/input", "w") as f:
        f.writelines(word(i) + "\n" for i in range(WORDS))
    with open(WORK + "/conf", "w") as f:
        f.write("[daemon]\nsavepoints = %s/savepoints\n" % WORK)
    os.mkdir(WORK + "/savepoints")
    wanted = sys.argv[3:]
    begun = time.monotonic()
    try:
        daemon = Daemon(WORK + "/data", WORK + "/tidemarkd.log", "--config", WORK + "/conf")
        for test in TESTS:
            if not wanted or test.__name__ in wanted:
                test(daemon)
    finally:
        for process in PROCESSES:
            process.kill()
            process.wait()
    print("stop: OK: %d ways to stop, %.1f s" % (len(wanted or TESTS), time.monotonic() - begun))


main()

#!/usr/bin/python3
"""shared.py BUILD WORK: a job whose checkpoints are incremental.

Each checkpoint writes the files that are new and refers to the others. Worker and daemon are killed in turn: what is
restored is whole, whoever wrote it in which attempt, and the next checkpoint goes on referring to it. A savepoint and a
full checkpoint refer to nothing. What is in the state root is what retained snapshots use, also once the job is
cancelled.
"""
import json
import os
import sqlite3
import subprocess
import sys
import time

BUILD, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
PATIENCE = 60  # seconds, for what should take one


def must(fact, text, *args):
    if not fact:
        raise SystemExit("shared: FAILED: " + (text % args if args else text))


def popen(args, log):
    with open(log, "ab") as out:
        return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


class Run:
    def __init__(self):
        self.port = 0
        self.start_daemon()
        self.start_worker()

    def start_daemon(self):
        self.daemon = popen([BUILD + "/tidemarkd", "--listen", "127.0.0.1:%d" % self.port, "--data", WORK + "/data"],
                            WORK + "/tidemarkd.log")
        self.until(lambda: self.ask("status")[0] == 0, "tidemarkd does not start")
        with open(WORK + "/data/port") as f:
            self.port = int(f.read())

    def start_worker(self):
        self.worker = popen([BUILD + "/tests/shared/worker", "127.0.0.1:%d" % self.port, WORK], WORK + "/worker.log")

    def end(self):
        for process in (self.daemon, self.worker):
            process.kill()
            process.wait()

    def until(self, fact, text, *args):
        end = time.monotonic() + PATIENCE
        while not fact():
            must(time.monotonic() < end, text, *args)
            time.sleep(0.02)

    def ask(self, *args):
        done = subprocess.run([BUILD + "/tidemark", *args, "--data", WORK + "/data", "--json"], capture_output=True,
                              text=True, timeout=PATIENCE)
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def complete(self):
        code, answer = self.ask("rounds", "tree", "--limit", "1000")
        return [r for r in answer["rounds"] if r["state"] == "complete"] if code == 0 else []

    def further(self, n):
        before = len(self.complete())
        self.until(lambda: len(self.complete()) >= before + n, "no %d further rounds complete", n)


def lines(word):
    with open(WORK + "/log") as f:
        return [line.split() for line in f if line.startswith(word + " ")]


def files(letter):
    """Those of the state root."""
    found = []
    for top, _, names in os.walk(WORK + "/data/state"):
        found += [os.path.join(top, name) for name in names if name.startswith(letter)]
    return found


def rows(sql):
    base = sqlite3.connect("file:%s/data/tidemark.db?mode=ro" % WORK, uri=True)
    try:
        return base.execute(sql).fetchall()
    finally:
        base.close()


def verify(run):
    for snapshot in run.ask("snapshots", "tree")[1]["snapshots"]:
        if snapshot["state"] == "retained":
            code, answer = run.ask("snapshot", "verify", str(snapshot["snapshot"]))
            must(code == 0 or "deleted" in str(answer) or "no snapshot" in str(answer), "snapshot %s: %s",
                 snapshot["snapshot"], answer)


def main():
    run = Run()
    try:
        run.further(12)
        said = [[int(n) for n in line[1::2]] for line in lines("round")]
        must(all(r[1] == 1 for r in said[1:]), "a checkpoint writes what it could refer to: %s", said)
        must(sum(r[2] for r in said) > 20, "checkpoints hardly refer to anything: %s", said)
        verify(run)

        # killed: the next attempt restores files of the one before, and goes on referring to them
        run.worker.kill()
        run.worker.wait()
        run.start_worker()
        run.until(lambda: len(lines("restore")) == 2, "the worker does not restore")
        seen = len(lines("round"))
        must(int(lines("restore")[1][2]) >= 3, "what is restored is too little: %s", lines("restore"))
        run.further(8)
        after = [[int(n) for n in line[1::2]] for line in lines("round")[seen:]]
        must(all(r[1] == 1 for r in after) and after[0][2] >= 2, "files of the attempt before are not used: %s", after)
        run.daemon.kill()
        run.daemon.wait()
        run.start_daemon()
        run.further(4)
        must(len(lines("restore")) == 2, "a daemon's restart rewinds")
        verify(run)

        # a savepoint has all of its files itself, a full checkpoint too
        code, answer = run.ask("savepoint", "tree", "--target", WORK + "/savepoints")
        must(code == 0, "savepoint: %s", answer)
        number = answer["operation"]["snapshot"]
        line = [line for line in lines("round") if line[1] == str(number)]
        must(line and line[0][5] == "0" and line[0][7] == "1", "a savepoint refers to shared files: %s", line)
        must(run.ask("snapshot", "verify", str(number))[0] == 0, "the savepoint is not whole")
        code, answer = run.ask("checkpoint", "tree", "--full")
        must(code == 0, "checkpoint: %s", answer)
        line = [line for line in lines("round") if line[1] == str(answer["operation"]["snapshot"])]
        must(line and line[0][5] == "0" and line[0][7] == "1", "a full checkpoint refers to others' files: %s", line)

        # what is there is what is known
        run.further(4)
        must(run.ask("cancel", "tree")[0] == 0, "it cannot be cancelled")
        run.worker.wait(PATIENCE)
        verify(run)  # a job that is cancelled keeps what it retains
        run.until(lambda: rows("SELECT count(*) FROM shared WHERE state = 'deleting'") == [(0,)],
                  "something is not deleted")
        run.until(lambda: len(files("s")) == rows("SELECT count(*) FROM shared WHERE state = 'retained'")[0][0],
                  "%d files, of %s", len(files("s")), rows("SELECT state, count(*) FROM shared GROUP BY 1"))
        must(run.ask("snapshot", "verify", str(number))[0] == 0, "the savepoint did not outlive the job")
        print("shared: OK: %d rounds, %d files written, %d referred to" % (
            len(lines("round")), sum(int(line[3]) for line in lines("round")), sum(int(line[5]) for line in
                                                                                    lines("round"))))
    finally:
        run.end()


main()

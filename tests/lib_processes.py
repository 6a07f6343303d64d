"""What tests with real processes share: a daemon that can be killed, words that occur once, and how to wait.

A test's script begins with BUILD and WORK, the folders that it is given, and NAME, what it is called in a complaint.
"""
import json
import os
import subprocess
import sys
import time

NAME = os.path.basename(os.path.dirname(os.path.abspath(sys.argv[0])))
BUILD, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
TIDEMARK, WORDCOUNT = BUILD + "/tidemark", BUILD + "/client/examples/wordcount/wordcount"
STAGES = [("source", 0), ("source", 1), ("splitter", 0), ("splitter", 1), ("counter", 0), ("counter", 1), ("sink", 0)]
LENGTH = 9     # of a word and its newline
PATIENCE = 60  # seconds, for what should take one
PROCESSES = []


def must(fact, text, *args):
    if not fact:
        raise SystemExit(NAME + ": FAILED: " + (text % args if args else text))


def until(fact, text, *args):
    end = time.monotonic() + PATIENCE
    while True:
        value = fact()
        if value:
            return value
        must(time.monotonic() < end, text, *args)
        time.sleep(0.02)


def word(i):
    letters = ""
    for _ in range(LENGTH - 1):
        letters = chr(ord("a") + i % 26) + letters
        i //= 26
    return letters


def popen(args, log):
    with open(log, "ab") as out:
        PROCESSES.append(subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
    return PROCESSES[-1]


class Daemon:
    """A real tidemarkd, killed with -9 and started again on its port."""

    def __init__(self, data, log, *options):
        self.data, self.log, self.options, self.port = data, log, options, 0
        self.start()

    def start(self):
        self.process = popen([BUILD + "/tidemarkd", "--listen", "127.0.0.1:%d" % self.port, "--data", self.data,
                              *self.options], self.log)
        until(lambda: self.ask("status")[0] == 0, "tidemarkd does not start")
        with open(self.data + "/port") as f:
            self.port = int(f.read())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def run(self, *args):
        return subprocess.run([TIDEMARK, *args, "--data", self.data], capture_output=True, text=True, timeout=PATIENCE)

    def ask(self, *args):
        """(exit code, answer)"""
        done = self.run(*args, "--json")
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def ok(self, *args):
        code, answer = self.ask(*args)
        must(code == 0, "%s: %s", args, answer)
        return answer

    def job(self, name):
        return next((j for j in self.ok("jobs")["jobs"] if j["name"] == name), None)

    def complete(self, name):
        """Its complete rounds."""
        return [r for r in self.ok("rounds", name, "--limit", "1000")["rounds"] if r["state"] == "complete"]

#!/usr/bin/python3
"""words.py BUILD WORK: the word count, which keeps bytes of its own under key groups, goes on with other numbers of counters.

A job with two counters is stopped with a savepoint; another one with three goes on from it, is stopped, and a third one
with a single counter ends the work. What was published in all is what `sort | uniq -c` says. More sources are refused:
their bytes are without key groups."""
import json
import os
import random
import signal
import subprocess
import sys
import time

BUILD, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
PATIENCE = 60  # seconds, for what should take one
PROCESSES = []


def must(fact, text, *args):
    if not fact:
        raise SystemExit("words: FAILED: " + (text % args if args else text))


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


def start(job, counters, *options, sources=2):
    """All processes of a job, and where each one's log is."""
    common = ["--connect", "127.0.0.1:" + text(WORK + "/data/port").strip(), "--job", job, "--interval", "100",
              "--sources", str(sources), "--counters", str(counters), *options]
    started = []
    for stage, n, more in (("source", sources, ["--input", WORK + "/input"]), ("splitter", 2, []),
                           ("counter", counters, []), ("sink", 1, ["--parts", WORK + "/parts"])):
        for i in range(n):
            log = "%s/%s-%s-%d.log" % (WORK, job, stage, i)
            started.append((popen([BUILD + "/client/examples/wordcount/wordcount", stage, "--index", str(i), *more,
                                   *common], log), log))
    return started


def wait(started):
    for process, log in started:
        until(lambda: process.poll() is not None, "%s: does not end", log)
        must(process.returncode == 0, "%s: ends with %d: %s", log, process.returncode, text(log))


def complete(job):
    done = tidemark("rounds", job, "--limit", "1000", "--json")
    return done.returncode == 0 and sum(r["state"] == "complete" for r in json.loads(done.stdout)["rounds"])


def stop(job, started):
    """Its last savepoint, with all effects published."""
    until(lambda: complete(job) >= 2, "%s: no checkpoint completes: %s", job, text(started[0][1]))
    done = tidemark("stop", job)
    must(done.returncode == 0, "stop %s: %s", job, done)
    wait(started)
    return done.stdout.strip().splitlines()[-1].split()[-1]


def main():
    rng = random.Random(7)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 5))) for _ in range(3000)]
    with open(WORK + "/input", "w") as f:
        for _ in range(40000):
            f.write(" ".join(rng.choices(words, k=8)) + "\n")
    os.mkdir(WORK + "/data")
    daemon = popen([BUILD + "/tidemarkd", "--listen", "127.0.0.1:0", "--data", WORK + "/data"], WORK + "/tidemarkd.log")
    until(lambda: tidemark("status").returncode == 0, "tidemarkd does not start")

    slow = ("--rate", "400000")
    saved = stop("two", start("two", 2, *slow))

    started = start("refused", 2, "--restore-from", saved, sources=3)
    for _, log in started:
        until(lambda: "operator 'source': the snapshot has parallelism 2, the job 3, and artifact '' of task" in text(log) and
              "is without key groups" in text(log), "more sources are not refused: %s", log)
    for process, _ in started:
        process.kill()
        process.wait()

    done = tidemark("state", "convert", saved, WORK + "/converted")
    must(done.returncode == 1 and " keeps bytes of its own (" in done.stderr, "convert: %s", done)

    saved = stop("three", start("three", 3, "--restore-from", saved, *slow))
    wait(start("one", 1, "--restore-from", saved))
    published = subprocess.run([BUILD + "/client/examples/wordcount/wordcount", "sum", WORK + "/parts"],
                               capture_output=True, text=True, timeout=PATIENCE)
    must(published.returncode == 0, "sum: %s", published.stderr)
    want = subprocess.run("LC_ALL=C tr -cs A-Za-z '\\n' < %s/input | LC_ALL=C sort | uniq -c" % WORK, shell=True,
                          capture_output=True, text=True, timeout=PATIENCE)
    must(published.stdout == want.stdout, "the words are counted otherwise")
    print("words: %d words by 2, 3 and 1 counters: all is right" % len(want.stdout.splitlines()))
    daemon.send_signal(signal.SIGTERM)
    must(daemon.wait(PATIENCE) == 0, "tidemarkd does not end in good order")


try:
    main()
finally:
    for each in PROCESSES:
        if each.poll() is None:
            each.kill()
            each.wait()

#!/usr/bin/python3
"""region.py BUILD WORK [KILLS [SEED]]: two regions, one of them killed again and again.

Worker 0 has the operator's coordinator and a hook. It is never touched: whatever happens to worker 1, it restores nothing and is rewound never, in an attempt whose
number rises. Worker 1 goes on from the newest complete round each time, no older and no newer. At the end each number
of both was published once, each subtask has had each event of the coordinator once and in order, and the hook was
restored from the same snapshots as worker 1.
"""
import json
import os
import random
import subprocess
import sys
import time

BUILD, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
KILLS = int(sys.argv[3]) if len(sys.argv) > 3 else 10
SEED = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 32)
WORKERS, TOTAL, PAUSE, EVENTS = 2, 600 * KILLS, 1000, 200
PATIENCE = 60  # seconds, for what should take one


def must(fact, text, *args):
    if not fact:
        raise SystemExit("region: FAILED (SEED=%d): " % SEED + (text % args if args else text))


def popen(args, log):
    with open(log, "ab") as out:
        return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


class Run:
    def __init__(self):
        self.port = 0
        os.mkdir(WORK + "/out")
        self.start_daemon()
        self.workers = [None] * WORKERS
        for index in range(WORKERS):
            self.start(index)

    def start_daemon(self):
        self.daemon = popen([BUILD + "/tidemarkd", "--listen", "127.0.0.1:%d" % self.port, "--data", WORK + "/data"],
                            WORK + "/tidemarkd.log")
        self.until(lambda: self.ask("status")[0] == 0, "tidemarkd does not start")
        with open(WORK + "/data/port") as f:
            self.port = int(f.read())

    def start(self, index):
        self.workers[index] = popen([BUILD + "/tests/region/worker", "127.0.0.1:%d" % self.port, str(index),
                                     str(WORKERS), str(TOTAL), str(PAUSE), WORK + "/out"], WORK + "/worker-%d.log" % index)

    def kill(self, index):
        self.workers[index].kill()
        self.workers[index].wait()
        self.start(index)

    def kill_daemon(self):
        self.daemon.kill()
        self.daemon.wait()
        self.start_daemon()

    def end(self):
        for process in [self.daemon, *self.workers]:
            process.kill()
            process.wait()

    def until(self, fact, text, *args):
        end = time.monotonic() + PATIENCE
        while not fact():
            must(time.monotonic() < end, text, *args)
            time.sleep(0.01)

    def ask(self, *args):
        done = subprocess.run([BUILD + "/tidemark", *args, "--data", WORK + "/data", "--json"], capture_output=True,
                              text=True, timeout=PATIENCE)
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def show(self):
        return self.ask("job", "show", "regions")[1]["job"]

    def state(self):
        code, answer = self.ask("jobs")
        return answer["jobs"][0]["state"] if code == 0 and answer["jobs"] else None  # None: not joined yet

    def complete(self):
        rounds = self.ask("rounds", "regions", "--limit", "1000")[1]["rounds"]
        return max([r["round"] for r in rounds if r["state"] == "complete"], default=0)

    def further(self):
        """It runs, and completes another round."""
        self.until(lambda: self.state() == "RUNNING", "the job does not run")
        before = self.complete()
        self.until(lambda: self.complete() > before or self.state() == "FINISHED", "no round completes")


def lines(index, word):
    with open(WORK + "/out/log-%d" % index) as f:
        return [[int(n) if n.isdigit() else n for n in line.split()[1:]] for line in f if line.split()[:1] == [word]]


def check_published(index):
    """Each number once."""
    ranges = sorted(tuple(int(n) for n in name.split("-")[1:]) for name in os.listdir(WORK + "/out")
                    if name.startswith("%d-" % index) and "." not in name)
    next_ = 1
    for first, last in ranges:
        must(first == next_ and last >= first, "worker %d: %d to %d is published, and %d would be next", index, first,
             last, next_)
        next_ = last + 1
    must(next_ == TOTAL + 1, "worker %d: published up to %d of %d", index, next_ - 1, TOTAL)


def main():
    random.seed(SEED)
    run = Run()
    try:
        run.further()
        shown = run.show()
        must(len(shown["regions"]) == WORKERS and all(r["state"] == "running" for r in shown["regions"]),
             "regions: %s", shown.get("regions"))
        for kill in range(KILLS):
            run.kill(1)
            if random.random() < 0.3:  # once more, in the middle of it
                time.sleep(random.random() * 0.1)
                run.kill(1)
            run.further()
            if kill == KILLS // 2:  # what has to do with the daemon alone rewinds nobody
                run.kill_daemon()
                run.further()
        run.until(lambda: run.state() == "FINISHED", "the job does not finish")
        for worker in run.workers:
            worker.wait(PATIENCE)
            must(worker.returncode == 0, "a worker ends with %s", worker.returncode)
        restores, advances = lines(0, "restore"), lines(0, "advance")
        must(len(restores) == 1 and not lines(0, "rewind"), "worker 0 was rewound: %s", restores)
        must(len(advances) >= KILLS, "worker 0 has advanced %d times only", len(advances))
        must([n for n, in advances] == sorted({n for n, in advances}), "attempts do not rise: %s", advances)
        back = lines(1, "restore")
        must(len(back) > KILLS, "worker 1 has restored %d times only", len(back))
        must([r[1] for r in back] == sorted(r[1] for r in back), "worker 1 has restored an older snapshot: %s", back)
        must({r[2] for r in back[1:]} >= {back[-1][2]} and back[-1][2] == advances[-1][0],
             "the last attempts of both differ: %s, %s", back[-1], advances[-1])
        for index in range(WORKERS):
            check_published(index)
            must(not lines(index, "gap") and lines(index, "end") == [[EVENTS]], "worker %d: events: %s, %s", index,
                 lines(index, "gap"), lines(index, "end"))
        hooks, resets = lines(0, "hook"), lines(0, "reset")
        must(len(hooks) > KILLS and all(snapshot == value for snapshot, value in hooks), "the hook restored %s", hooks)
        must(len(resets) >= KILLS and all(r[0] == 1 for r in resets), "the coordinator was told of %s", resets)
        must({r[1] for r in back} <= {snapshot for snapshot, _ in hooks}, "the hook did not restore with worker 1: %s, %s",
             back, hooks)
        print("region: OK: %d numbers of %d regions published once each; region 1 restored %d times, region 0 once and "
              "advanced %d times (SEED=%d)" % (TOTAL * WORKERS, WORKERS, len(back), len(advances), SEED))
    finally:
        run.end()


main()

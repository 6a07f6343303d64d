#!/usr/bin/python3
"""external.py BUILD WORK [KILLS [SEED]]: client/examples/splits, with every process killed again and again.

Which reader reads which file is decided as the job runs, by a coordinator in a process of its own. So what can be
compared is this: at the end each file was read once, and its sum is the one that Python computes; and in each
savepoint on the way the readers know exactly those files that the coordinator has handed out. The ledger, which a hook
keeps outside, has the line of each snapshot that anybody went back to, and nothing of what came behind it.
"""
import json
import os
import random
import struct
import subprocess
import sys
import time

from proto import common_pb2 as common, manifest_pb2 as manifest, worker_pb2 as worker

BUILD, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
KILLS = int(sys.argv[3]) if len(sys.argv) > 3 else 12
SEED = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 32)
TIDEMARK, SPLITS = BUILD + "/tidemark", BUILD + "/client/examples/splits/splits"
COORDINATOR, READER, LEDGER = 0, 1, 2  # who is where, beside a reader in each
READERS, LINES = 3, 12
FILES = 40 * KILLS  # more than are read at the slow pace until the last kill
PAUSE = 3000             # us for each line
PATIENCE = 60            # seconds, for what should take one
STATE = struct.Struct("=256sqq?7xQ")  # reader.c: struct state


def must(fact, text, *args):
    if not fact:
        raise SystemExit("external: FAILED (SEED=%d): " % SEED + (text % args if args else text))


def popen(args, log):
    with open(log, "ab") as out:
        return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


class Run:
    def __init__(self):
        self.port, self.pause, self.daemon = 0, PAUSE, None
        self.workers = {}
        self.start_daemon()
        for index in range(READERS):
            self.start(index)

    # ---- processes

    def start_daemon(self):
        self.daemon = popen([BUILD + "/tidemarkd", "--listen", "127.0.0.1:%d" % self.port, "--data", WORK + "/data",
                             "--config", WORK + "/conf"], WORK + "/tidemarkd.log")
        self.until(lambda: self.ask("status")[0] == 0, "tidemarkd does not start")
        with open(WORK + "/data/port") as f:
            self.port = int(f.read())

    def start(self, index):
        self.workers[index] = popen(
            [SPLITS, str(index), "--files", WORK + "/files", "--out", WORK + "/out", "--readers", str(READERS),
             "--interval", "40", "--pause", str(self.pause), "--connect", "127.0.0.1:%d" % self.port],
            WORK + "/splits-%d.log" % index)

    def supervise(self):
        for index, process in self.workers.items():
            if process.poll() not in (None, 0):
                must(process.returncode == -9, "reader %d ends with %d", index, process.returncode)
                self.start(index)

    def kill(self, index):
        self.workers[index].kill()
        self.workers[index].wait()

    def kill_daemon(self):
        self.daemon.kill()
        self.daemon.wait()
        self.start_daemon()

    def end(self):
        for process in [self.daemon, *self.workers.values()]:
            process.kill()
            process.wait()

    def until(self, fact, text, *args):
        end = time.monotonic() + PATIENCE
        while not fact():
            must(time.monotonic() < end, text, *args)
            self.supervise()
            time.sleep(0.01)

    # ---- questions

    def ask(self, *args):
        done = subprocess.run([TIDEMARK, *args, "--data", WORK + "/data", "--json"], capture_output=True, text=True,
                              timeout=PATIENCE)
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def ok(self, *args):
        code, answer = self.ask(*args)
        must(code == 0, "%s: %s", args, answer)
        return answer

    def state(self):
        jobs = self.ok("jobs")["jobs"]
        return jobs[0]["state"] if jobs else None

    def complete(self):
        return sum(r["state"] == "complete" for r in self.ok("rounds", "splits", "--limit", "1000")["rounds"])


def begin():
    """The files, and what is in them: name -> sum."""
    sums = {}
    os.mkdir(WORK + "/files")
    os.mkdir(WORK + "/savepoints")
    with open(WORK + "/conf", "w") as f:
        f.write("[daemon]\nsavepoints = %s/savepoints\n" % WORK)
    for i in range(FILES):
        numbers = [random.randrange(-10**9, 10**9) for _ in range(LINES)]
        name = "%05d" % i
        with open(WORK + "/files/" + name, "w") as f:
            f.writelines("%d\n" % n for n in numbers)
        sums[name] = sum(numbers)
    return sums


def read_savepoint(directory):
    """Its number; bytes of the coordinator and of the hook; per reader its state."""
    with open(directory + "/_metadata", "rb") as f:
        data = f.read()
    must(data[:8] == b"TIDEMETA", "%s: no manifest", directory)
    n = struct.unpack_from("<I", data, 12)[0]
    head, at = manifest.ManifestHead.FromString(data[16:16 + n]), 24 + n
    externals = {e.external.kind: (e.external.name, e.data) for e in head.externals}
    must(len(externals) == len(head.externals) == 2, "%s: %s", directory, head.externals)
    states = {}
    while at < len(data) - 16:
        n = struct.unpack_from("<I", data, at)[0]
        batch = worker.AckBatch.FromString(data[at + 4:at + 4 + n])
        must(not batch.task, "%s: an ack without a handle", directory)
        for ack in batch.full:
            must(len(ack.artifacts) == 1, "%s: %s", directory, ack)
            a = ack.artifacts[0]
            if a.WhichOneof("place") == "path":
                with open(os.path.join(directory, a.path.decode()), "rb") as f:
                    states[ack.task] = f.read()
            else:
                states[ack.task] = a.inline
        at += 4 + n
    return head.round, externals, states


def ledger():
    """The round of each line."""
    with open(WORK + "/out.ledger") as f:
        lines = f.read().split("\n")
    must(lines.pop() == "", "the ledger ends within a line")
    for i, line in enumerate(lines):
        words = line.split()
        must(len(line) == 31 and len(words) == 3 and words[0] == str(i + 1), "line %d of the ledger: %r", i + 1, line)
    rounds = [int(line.split()[2]) for line in lines]
    must(rounds == sorted(set(rounds)), "the rounds in the ledger do not ascend: %s", rounds)
    return rounds


def check_savepoint(run, sums):
    """S187: it is a cut: the readers know of exactly what the coordinator had handed out, each file once."""
    code, answer = run.ask("savepoint", "splits")
    if code:
        return None  # somebody died for the round before
    number, externals, states = read_savepoint(answer["operation"]["location"])
    name, data = externals[common.EXTERNAL_COORDINATOR]
    must(name == b"reader" and len(data) == 8, "the coordinator's bytes: %s %s", name, data)
    handed_out = struct.unpack("=Q", data)[0]
    known = []
    for state in states.values():
        file, _, _, _, n = STATE.unpack_from(state)
        must(len(state) == STATE.size + n, "a state of %d bytes", len(state))
        done = [line.split() for line in state[STATE.size:].decode().splitlines()]
        must(all(sums[f] == int(s) for f, s in done), "a wrong sum: %s", done)
        known += [f for f, _ in done]
        if file[0]:
            known.append(file[:file.index(0)].decode())
    must(sorted(known) == ["%05d" % i for i in range(handed_out)],
         "savepoint %d is no cut: %d files are handed out, the readers know of %s", number, handed_out, sorted(known))
    name, data = externals[common.EXTERNAL_HOOK]
    line = struct.unpack("=Q", data)[0]
    must(name == b"ledger" and ledger()[line - 1] == number, "line %d of the ledger is not that of %d", line, number)
    return handed_out


def murder(run):
    """One or two at once, at a moment that has nothing to do with the round."""
    victims = random.choices([[COORDINATOR], [READER], [LEDGER], [COORDINATOR, READER], []], [4, 4, 2, 2, 2])[0]
    time.sleep(random.random() * 0.08)
    for victim in victims:
        run.kill(victim)
    if not victims:
        run.kill_daemon()


def said(log, words):
    with open(WORK + "/" + log) as f:
        return [line for line in f if words in line]


def check_end(run, sums):
    """S182, S184, S185: no event was lost, none came twice, whatever died while it was on its way."""
    run.until(lambda: run.state() == "FINISHED", "the job does not finish")
    run.until(lambda: all(p.poll() == 0 for p in run.workers.values()), "its processes do not end")
    done = []
    for i in range(READERS):
        with open(WORK + "/out.%d" % i) as f:
            done += [line.split() for line in f]
    twice = sorted(f for f, _ in done if [g for g, _ in done].count(f) > 1)
    must(not twice, "read twice: %s", twice)
    missing = sorted(set(sums) - {f for f, _ in done})
    must(not missing, "never read: %s", missing)
    wrong = [f for f, s in done if sums[f] != int(s)]
    must(not wrong, "the sums are wrong of: %s", wrong)
    rounds = ledger()
    complete = [r["round"] for r in run.ok("rounds", "splits", "--limit", "1000")["rounds"] if r["state"] == "complete"]
    must(max(complete) in rounds, "the last snapshot is not in the ledger")


def main():
    random.seed(SEED)
    begun = time.monotonic()
    sums = begin()
    run = Run()
    try:
        cuts = []
        for i in range(KILLS):
            n = run.complete() if run.state() else 0
            run.until(lambda: run.state() and run.complete() > n, "no round completes")
            if run.state() == "FINISHED":  # a slow machine that is fast at times
                must(i > KILLS / 2, "it was over before it could be killed %d times", KILLS)
                break
            if i % 3 == 2:
                cuts.append(check_savepoint(run, sums))
            murder(run)
        cuts = [c for c in cuts if c]
        must(cuts == sorted(cuts) and cuts, "the files that are handed out do not become more: %s", cuts)
        run.pause = 0
        for i in range(READERS):
            run.kill(i)
        check_end(run, sums)
        middle = [line for line in said("splits-0.log", "are handed out") if " 0 files" not in line]
        cut = said("splits-%d.log" % LEDGER, "cut to line")
        must(middle and cut, "nobody was restored in the middle")
    finally:
        run.end()
    print("external: OK: %d files, each once, though %d were killed (SEED=%d); %d savepoints were cuts; "
          "the coordinator was restored %d times, the ledger %d times; %.1f s"
          % (FILES, KILLS, SEED, len(cuts), len(middle), len(cut), time.monotonic() - begun))


main()

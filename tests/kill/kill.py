#!/usr/bin/python3
"""kill.py BUILD WORK KILLS SEED [BYTES]: kills the daemon with -9, again and again, while a job runs on real disks.

Workers (worker.c) tell each of their callbacks on a pipe; admins' commands run beside them. What anybody was told is
kept by a witness of its own, and after each death what the daemon has left is copied, opened once (recover.c) and
compared with it: no completed snapshot lost, no id twice, no worker restarted. At the end the workers are killed as
well, and what they restore must be what they had at that snapshot.

Half of the deaths come at a random moment, the others at a chosen system call (aim.c) or just behind something that a
worker was told. The seed gives the plan; what the machine makes of it differs from run to run. BYTES is a keeper's state
[1500]; above 100000 it travels in the acks, and some lives are long enough for the journal to change its file.
"""
import json
import os
import random
import select
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import time

WORKERS = 3
INTERVAL_MS = 50
RETAINED = 2  # as in worker.c
PATIENCE = 60  # seconds, for anything that should take one
HEARD_S = 15  # without a round told: a quarter of the lease
TASKS = ["%s-%d" % (kind, i) for kind in ("source", "keeper") for i in range(WORKERS)]
# System calls of the daemon, and up to which of them one start may be let live.
CALLS = {"fdatasync": 40, "fsync": 20, "mkdir": 3, "unlinkat": 60, "rename": 1, "renameat2": 1, "write": 60,
         "send": 120, "pwritev": 60, "pwrite64": 1500}


class Failed(Exception):
    pass


def must(fact, text, *args):
    if not fact:
        raise Failed(text % args if args else text)


class Witness:
    """What workers and admins were told, and what the store said at each death before."""

    def __init__(self):
        self.complete = {}  # round: tasks that were told
        self.aborted = {}
        self.triggered = {}  # (task, round): when
        self.states = {}  # (round, task): (count, hash) as of its snapshot
        self.kinds = {}  # round: as its tasks were told
        self.savepoints = {}  # round: directory, from the admin's answer
        self.operations = {}  # id: round
        self.listed = set()  # snapshots that an admin was shown as retained
        self.incarnations = []  # rows of the store, as last seen
        self.rounds = {}  # number: (incarnation, begun), as the store said
        self.restored = {}  # task: (attempt, snapshot, count, hash), of its process's life
        self.running = set()
        self.quiet = True  # nobody may restore or rewind now
        self.files = True  # a keeper's state is a file
        self.last = 0  # newest round told complete
        self.told_at = {}  # round: when the first task was told complete
        self.acked = 0  # newest round that all tasks have snapshotted
        self.triggers = 0

    def line(self, text):
        word = text.split(" ")
        what, task = word[0], word[1]
        if what == "note":
            return
        if what == "trigger":
            key = (task, int(word[2]))
            must(key not in self.triggered, "round %d was triggered twice at %s", key[1], task)
            self.triggered[key] = time.monotonic()
            self.triggers += 1
        elif what == "snapshot":
            number = int(word[2])
            must((number, task) not in self.states, "round %d was snapshotted twice at %s", number, task)
            must(number not in self.complete and number not in self.aborted,
                 "%s snapshots round %d, which had ended", task, number)
            must(self.kinds.setdefault(number, word[3]) == word[3], "round %d is of two kinds", number)
            self.states[number, task] = (int(word[4]), word[5])
            if all((number, t) in self.states for t in TASKS):
                self.acked = max(self.acked, number)
        elif what == "complete":
            self.told_complete(int(word[2]), task, word[3])
        elif what == "abort":
            self.aborted.setdefault(int(word[2]), set()).add(task)
            must(int(word[2]) not in self.complete, "%s: round %s was told complete and aborted", task, word[2])
        elif what == "restore":
            must(not self.quiet, "%s was told to restore while only the daemon was killed", task)
            self.restored[task] = (int(word[2]), int(word[3]), int(word[4]), word[5])
        elif what == "run":
            self.running.add(task)
        elif what in ("rewind", "fenced", "stop"):
            raise Failed("%s was told: %s" % (task, text))
        else:
            raise Failed("a worker says: " + text)

    def told_complete(self, number, task, handle):
        must(number not in self.aborted, "%s: round %d was told aborted and complete", task, number)
        must(all((number, t) in self.states for t in TASKS),
             "round %d is told complete, but not all tasks have snapshotted it", number)
        must(handle in ("-", str(number)), "%s: round %d comes with the handle %s", task, number, handle)
        self.complete.setdefault(number, set()).add(task)
        if number > self.last:
            self.last, self.told_at[number] = number, time.monotonic()
            for i in range(WORKERS):
                must(self.states[number, "source-%d" % i][0] == self.states[number, "keeper-%d" % i][0],
                     "round %d is not a consistent cut", number)

    def told(self):
        return set(self.complete) | set(self.savepoints) | self.listed

    def savepoint(self, answer):
        op = answer["operation"]
        number, directory = op["snapshot"], op["location"]
        must(op["state"] == "done" and number and directory, "a savepoint's answer says: %s", answer)
        must(op["id"] not in self.operations and number not in self.savepoints, "two savepoints are operation %d, "
             "snapshot %d", op["id"], number)
        self.operations[op["id"]] = number
        self.savepoints[number] = directory

    # ---- the store, as a daemon has left it

    def judge(self, db):
        """Everything that was told is there; nothing was issued twice. Returns the newest complete round."""
        rows = db.execute("SELECT number, nonce FROM incarnation ORDER BY number").fetchall()
        rows.pop()  # that of recover.c
        must(rows[:len(self.incarnations)] == self.incarnations, "incarnations have changed: %s", rows)
        must(len({nonce for _, nonce in rows}) == len(rows), "two incarnations have the same nonce")
        self.incarnations = rows
        rounds = {r[0]: r for r in db.execute("SELECT number, incarnation, begun_wall, state, kind, reason FROM round")}
        for number, (incarnation, begun) in self.rounds.items():
            must(number in rounds, "round %d has gone from the store", number)
            must(rounds[number][1:3] == (incarnation, begun), "round %d was issued twice: %s", number, rounds[number])
        self.rounds = {n: r[1:3] for n, r in rounds.items()}
        # A round that died before its row is known from a worker: its row has the attempt's incarnation.
        order = [r[1] for _, r in sorted(rounds.items()) if r[5] != "the daemon restarted"]
        must(order == sorted(order), "a round of a later incarnation has a number below one of an earlier")
        for number in self.aborted:
            must(number not in rounds or rounds[number][3] != "complete", "round %d was told aborted, and is complete",
                 number)
        self.judge_snapshots(db, rounds)
        attempts = db.execute("SELECT number, ended_wall FROM attempt").fetchall()
        must(not self.quiet or attempts == [(1, None)], "the attempt has not gone on: %s", attempts)
        operations = [r[0] for r in db.execute("SELECT id FROM operation")]
        must(not set(operations) & set(rounds), "an operation and a round have the same number")
        return max((n for n, r in rounds.items() if r[3] == "complete"), default=0)

    def judge_snapshots(self, db, rounds):
        snapshots = {s[0]: s for s in db.execute("SELECT round, kind, state, owner, directory FROM snapshot")}
        complete = sorted((n for n, r in rounds.items() if r[3] == "complete"), reverse=True)
        must(complete == sorted(snapshots, reverse=True), "complete rounds and snapshots differ")
        for number in self.told():
            must(number in snapshots, "snapshot %d, told complete, is not in the store", number)
            must(self.kinds.get(number, snapshots[number][1]) == snapshots[number][1], "snapshot %d changed its kind", number)
        newer = 0  # checkpoints above the one that is looked at
        for number in complete:
            _, kind, state, _, directory = snapshots[number]
            if state != "retained":
                must(kind == "checkpoint", "savepoint %d is %s", number, state)
                must(newer >= RETAINED, "checkpoint %d is %s, with %d newer ones", number, state, newer)
            elif kind == "checkpoint" and self.files:
                files = os.listdir(directory) if os.path.isdir(directory) else []
                for i in range(WORKERS):
                    must(any(f.startswith("t%d-" % i) for f in files), "%s has nothing of keeper %d", directory, i)
            newer += kind == "checkpoint"
        for number, directory in self.savepoints.items():
            must(os.path.exists(directory + "/_metadata"), "savepoint %d has lost its _metadata", number)


class Run:
    def __init__(self, build, work, kills, seed, state):
        self.state, self.large = state, state >= 100000
        self.build, self.work, self.kills = os.path.abspath(build), os.path.abspath(work), kills
        self.random = random.Random(seed)
        self.witness = Witness()
        self.witness.files = not self.large
        # One pipe for all workers: what they say stands in it in the order in which they said it.
        self.told, self.tell = os.pipe()
        os.set_blocking(self.told, False)
        self.rest = b""
        self.workers, self.daemon, self.commands = [], None, []
        self.address = "127.0.0.1:0"
        self.data = self.work + "/data"
        self.log = open(self.work + "/tidemarkd.log", "ab")
        self.lines = open(self.work + "/told.log", "w")
        self.recoveries, self.moments, self.starts = [], {}, 0
        self.began = time.monotonic()

    # ---- processes

    def start_daemon(self, aim=None):
        env = {k: v for k, v in os.environ.items() if k != "KILL_AT"}
        if aim:
            env.update(LD_PRELOAD=self.build + "/tests/kill/aim.so", KILL_AT=aim)
            env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.log.write(("---- start %d, %s\n" % (self.starts, aim or "no aim")).encode())
        self.log.flush()
        self.daemon = subprocess.Popen(
            [self.build + "/tidemarkd", "--listen", self.address, "--data", self.data], env=env,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.starts += 1
        self.started_at = time.monotonic()

    def start_worker(self, index):
        return subprocess.Popen([self.build + "/tests/kill/worker", self.address, str(index), str(WORKERS),
                                 str(INTERVAL_MS), str(self.state)], stdin=subprocess.DEVNULL, stdout=self.tell)

    def command(self, *args, done=None):
        """An admin's command beside everything else; done(exit code, answer) when it has ended."""
        out = open(self.work + "/command-%d.json" % self.random.getrandbits(48), "w+")
        p = subprocess.Popen([self.build + "/tidemark", *args, "--json", "--connect", self.address],
                             stdin=subprocess.DEVNULL, stdout=out, stderr=self.log)
        self.commands.append((p, out, done))

    def reap(self):
        for item in list(self.commands):
            p, out, done = item
            if p.poll() is None:
                continue
            self.commands.remove(item)
            out.seek(0)
            text = out.read()
            out.close()
            os.unlink(out.name)
            done(p.returncode, text)
        for p in self.workers:
            must(p.poll() is None, "worker %d has ended by itself", p.pid)

    def pump(self, seconds, until=None):
        """Reads what the workers say, for so long or until that holds; whether it does."""
        end = time.monotonic() + seconds
        while not (until and until()):
            left = end - time.monotonic()
            if left <= 0:
                return False
            if select.select([self.told], [], [], min(left, 0.02))[0]:
                self.read()
            self.reap()
        return True

    def read(self):
        try:
            *lines, self.rest = (self.rest + os.read(self.told, 1 << 20)).split(b"\n")
        except BlockingIOError:
            return
        for line in lines:
            text = line.decode()
            self.lines.write("%.4f %s\n" % (time.monotonic() - self.began, text))
            self.witness.line(text)

    # ---- admins

    def take_savepoint(self):
        def done(code, text):
            if code == 0:
                self.witness.savepoint(json.loads(text))
            else:  # there was no daemon, or it died with the request or the round
                error = json.loads(text)
                must(error.get("error", {}).get("code") == "unreachable" or "abort" in text or "restart" in text,
                     "a savepoint failed: %s", text)
                self.failed_savepoints += 1
        self.command("savepoint", "kill", done=done)

    def look(self):
        def done(code, text):
            if code == 0:
                self.witness.listed |= {s["snapshot"] for s in json.loads(text)["snapshots"] if s["state"] == "retained"}
            self.looks += 1
        self.command("snapshots", "kill", "--limit", "10", done=done)

    def verify(self, number):
        answers = []
        self.command("snapshot", "verify", str(number), done=lambda code, text: answers.append((code, text)))
        must(self.pump(PATIENCE, lambda: answers), "verify %d is not answered", number)
        return answers[0]

    # ---- killing

    def copy_store(self):
        copy = self.work + "/seen"
        shutil.rmtree(copy, ignore_errors=True)
        os.mkdir(copy)
        for name in os.listdir(self.data):
            if os.path.isfile(self.data + "/" + name) and not name.endswith("-shm"):
                shutil.copyfile(self.data + "/" + name, copy + "/" + name)
        done = subprocess.run([self.build + "/tests/kill/recover", copy], stderr=subprocess.PIPE, text=True)
        must(done.returncode == 0, "what the daemon has left cannot be opened: %s", done.stderr)
        return sqlite3.connect(copy + "/tidemark.db")

    def judge(self):
        """The daemon is dead: what it told, and what it leaves."""
        self.pump(0.002)
        self.read()
        db = self.copy_store()
        newest = self.witness.judge(db)
        deleting = db.execute("SELECT count(*) FROM snapshot WHERE state = 'deleting'").fetchone()[0]
        db.close()
        return newest, deleting

    def moment(self, newest, deleting, rounds_before, triggers_before):
        """What the daemon was at, as far as one can tell from outside."""
        w = self.witness
        if newest > w.last:
            return "durable, not yet told"
        if w.triggers == triggers_before:
            return "start-up, recovery"
        if w.acked > max(w.last, newest) and w.acked not in w.aborted:
            return "snapshots taken, not yet durable"
        if any(n > w.last and n not in w.aborted for _, n in list(w.triggered)[-len(TASKS):]):
            return "within a round"
        return "between rounds, deleting" if deleting else "between rounds"

    def kill_once(self):
        """One life of the daemon; it is dead at the end, and judged."""
        w, draw = self.witness, self.random
        way = draw.choices(("any", "start", "call", "told", "long"), (35, 15, 35, 15, 20 * self.large))[0]
        aim = None
        if way == "call":
            call = draw.choice(list(CALLS))
            nth = round((CALLS[call] * (3 if self.large else 1)) ** draw.random())
            aim = "%s %d %s" % (call, nth, draw.choice(("before", "after")))
        starved = time.monotonic() - max(w.told_at.values(), default=self.began) > HEARD_S
        self.start_daemon(None if starved else aim)
        last, triggers = w.last, w.triggers
        if starved:  # on a slow machine no daemon has lived long enough to answer: the leases are not to end by that
            must(self.pump(PATIENCE, lambda: w.last > last), "no round completes")

        def gone():
            return self.daemon.poll() is not None

        if way != "start" and draw.random() < 0.3:
            self.pump(1.0, lambda: gone() or w.triggers > triggers)
            (self.take_savepoint if draw.random() < 0.7 else self.look)()
        if way == "any":
            self.pump(draw.uniform(0, 0.7))
        elif way == "start":
            self.pump(draw.uniform(0, 0.1))
        elif way == "call":
            self.pump(5.0 if self.large else 1.0, gone)
        elif way == "long":
            self.pump(draw.uniform(2, 6))
        else:  # just behind a trigger, the last snapshot, the first complete
            mark = draw.choice(("triggers", "acked", "last"))
            before = getattr(w, mark)
            self.pump(2.0, lambda: getattr(w, mark) > before)
            time.sleep(draw.uniform(0, 0.003))
        self.aimed += gone()
        self.daemon.kill()
        self.daemon.wait()
        must(self.daemon.returncode == -signal.SIGKILL, "the daemon ended by itself, with %d", self.daemon.returncode)
        newest, deleting = self.judge()
        if w.last > last:
            self.recoveries.append(min(at for n, at in w.told_at.items() if n > last) - self.started_at)
        name = self.moment(newest, deleting, last, triggers)
        self.moments[name] = self.moments.get(name, 0) + 1

    # ---- the whole

    def begin(self):
        self.failed_savepoints = self.looks = self.aimed = 0
        self.start_daemon()
        port = self.data + "/port"
        must(self.pump(PATIENCE, lambda: os.path.exists(port)), "the daemon does not start")
        with open(port) as f:
            self.address = "127.0.0.1:" + f.read().strip()
        self.witness.quiet = False
        self.workers = [self.start_worker(i) for i in range(WORKERS)]
        must(self.pump(PATIENCE, lambda: self.witness.last), "no round completes")
        self.witness.quiet = True
        self.daemon.kill()
        self.daemon.wait()
        self.judge()

    def settle(self):
        """Undisturbed: a round completes, every command is answered, the newest snapshot is whole."""
        last = self.witness.last
        must(self.pump(PATIENCE, lambda: self.witness.last > last), "no round completes any more")
        must(self.pump(PATIENCE, lambda: not self.commands), "an admin's command is not answered")
        for _ in range(20):  # the one that is verified may be put out of use meanwhile
            number = self.witness.last
            code, text = self.verify(number)
            if code == 0 and json.loads(text)["ok"]:
                return
            must("not" in text or "delet" in text, "snapshot %d: %s", number, text)
        raise Failed("no snapshot can be verified: " + text)

    def restore(self):
        """Every worker is killed: what they restore is what they had."""
        w = self.witness
        w.quiet = False
        for p in self.workers:
            p.kill()
        for p in self.workers:
            p.wait()
        self.read()
        w.running.clear()
        w.restored.clear()
        self.workers = [self.start_worker(i) for i in range(WORKERS)]
        must(self.pump(PATIENCE, lambda: len(w.running) == len(TASKS)), "the workers do not restore")
        snapshots = {s for _, s, _, _ in w.restored.values()}
        must(len(snapshots) == 1, "the tasks restore from several snapshots: %s", snapshots)
        number = snapshots.pop()
        must(number >= max(w.told()), "restored from %d, though %d was told complete", number, max(w.told()))
        for task, (_, _, count, digest) in w.restored.items():
            must((count, digest) == w.states[number, task], "%s restores %d %s from %d, and had %s", task, count, digest,
                 number, w.states[number, task])
        last = w.last
        must(self.pump(PATIENCE, lambda: w.last > last), "no round completes after the restore")
        return number

    def finish(self):
        self.daemon.send_signal(signal.SIGTERM)
        must(self.pump(PATIENCE, lambda: self.daemon.poll() is not None), "the daemon does not stop")
        must(self.daemon.returncode == 0, "the daemon stops with %d", self.daemon.returncode)
        self.witness.quiet = False
        self.read()
        db = self.copy_store()
        self.witness.judge(db)
        must(db.execute("PRAGMA integrity_check").fetchone() == ("ok",), "the database is damaged")
        states = dict(db.execute("SELECT state, count(*) FROM round GROUP BY state"))
        db.close()
        return states

    def all(self):
        self.begin()
        for n in range(self.kills):
            self.kill_once()
            if n % 100 == 99:
                print("kill: %d kills, %d rounds told complete, %.0f s" %
                      (n + 1, len(self.witness.complete), time.monotonic() - self.began), flush=True)
        self.start_daemon()
        self.settle()
        number = self.restore()
        states = self.finish()
        w, r = self.witness, sorted(self.recoveries) or [0.0]
        print("kill: at: " + ", ".join("%s %d" % m for m in sorted(self.moments.items())))
        print("kill: OK: %d kills (%d at a chosen call), %d rounds complete, %d aborted; %d savepoints, %d refused; "
              "%d lists; restart to next completed round %.2f s median, %.2f s worst of %d; restored from %d; "
              "%.0f s" % (self.kills, self.aimed, states.get("complete", 0), states.get("aborted", 0),
                                len(w.savepoints), self.failed_savepoints, self.looks, statistics.median(r), r[-1], len(r),
                                number, time.monotonic() - self.began))

    def end(self):
        for p in self.workers + [self.daemon] + [c[0] for c in self.commands]:
            if p and p.poll() is None:
                p.kill()
                p.wait()
        for _, out, _ in self.commands:
            out.close()
        self.lines.close()
        self.log.close()


def main():
    build, work = sys.argv[1:3]
    kills, seed, state = [int(arg) for arg in sys.argv[3:] + ["1500"]][:3]
    run = Run(build, work, kills, seed, state)
    try:
        run.all()
    except Failed as why:
        print("kill: FAILED: %s\nkill: seed %d, start %d, after %.1f s; logs and data are in %s" %
              (why, seed, run.starts, time.monotonic() - run.began, work))
        return 1
    finally:
        run.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the tests of bad input share: a daemon, a small job beside it, and a case with a folder of its own.

A case starts what it needs and waits for what it promises; at its end everything is killed by its id and the
folder removed. The job is the wordcount example with one process for each stage, so its result can be compared:
whatever was done to the daemon, what the sink has published must be the count of the words, exactly once."""
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import unittest

BUILD = os.environ["BUILD"]
DAEMON = os.path.join(BUILD, "tidemarkd")
TOOL = os.path.join(BUILD, "tidemark")
WORDCOUNT = os.path.join(BUILD, "client/examples/wordcount/wordcount")
MOUNTS = bool(os.environ.get("MOUNTS"))
with open(DAEMON, "rb") as program:
    text = program.read()
# A sanitizer maps terabytes and makes all slower.
SANITIZED = b"__asan_init" in text or b"__tsan_init" in text
PATIENCE = 120 if SANITIZED else 40
# Without the right to open what the mode forbids, as a service has it.
NO_OVERRIDE = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps",
               "-dac_override,-dac_read_search"]


def environment(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMARK") and k != "JOURNAL_STREAM"}
    env.update(TZ="UTC", LC_ALL="C.UTF-8", **more)
    return env


def wait_for(what, check, seconds=None):
    """The first true answer of check()."""
    end = time.monotonic() + (seconds or PATIENCE)
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError("waited in vain for: %s" % (what() if callable(what) else what))
        time.sleep(0.02)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data, mode=0o644):
    with open(path, "wb") as f:
        f.write(data.encode() if isinstance(data, str) else data)
    os.chmod(path, mode)


def flip(path, at, bit=1):
    """One bit of a file."""
    with open(path, "r+b") as f:
        f.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ bit]))


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


class Process:
    """A program whose stderr and stdout go to a file; it dies with us."""

    def __init__(self, argv, log, limits=(), env=None):
        def prepare():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            for what, much in limits:
                resource.setrlimit(what, (much, much))

        self.log_path = log
        with open(log, "ab") as out:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            env=env or environment(), preexec_fn=prepare)

    def log(self):
        return read(self.log_path).decode("utf-8", "replace")

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        if self.running():
            self.process.send_signal(number)

    def wait(self, seconds=None):
        try:
            return self.process.wait(seconds or PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError("did not end: %s\n%s" % (self.process.args, self.log())) from None

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()


class Daemon(Process):
    """tidemarkd on a data directory; started again it takes the same port and appends to the same log."""

    def __init__(self, case, data, *flags, config="", port=0, prefix=(), limits=(), env=None):
        self.data = data
        conf = case.path("conf")
        write(conf, config)
        argv = [*prefix, DAEMON, "--config", conf, "--data", data, "--listen", "127.0.0.1:%d" % port, *flags]
        log = case.path("daemon.log")
        self.began_at = os.path.getsize(log) if os.path.exists(log) else 0
        super().__init__(argv, log, limits=limits, env=env)
        case.addCleanup(self.kill)

    def log(self):
        """Of this start alone."""
        return super().log()[self.began_at:]

    def ready(self):
        wait_for(lambda: "the daemon's start:\n" + self.log(),
                 lambda: not self.running() or " ready: port " in self.log())
        if not self.running():
            raise AssertionError("did not start: %s" % self.log())
        self.port = int(re.search(r" ready: port (\d+)", self.log()).group(1))
        return self

    def says(self, text, seconds=None):
        wait_for(lambda: "%r in:\n%s" % (text, self.log()), lambda: text in self.log(), seconds)

    def stop(self):
        self.signal(signal.SIGTERM)
        code = self.wait()
        if code:
            raise AssertionError("stopped with %d:\n%s" % (code, self.log()))


class Job:
    """The wordcount example: a process for each stage, supervised until stop()."""

    STAGES = ("source", "splitter", "counter", "sink")

    def __init__(self, case, daemon, interval=100, rate=400000, words=30000, grace=3000, lease=2000):
        self.case, self.address = case, "127.0.0.1:%d" % daemon.port
        self.input, self.parts = case.path("input"), case.path("parts")
        os.makedirs(self.parts, exist_ok=True)
        if not os.path.exists(self.input):
            # words so long and so many that the counter's state soon is a file, and no inline bytes
            write(self.input, "\n".join("w" * 200 + letters(i * 7919 % 5003) for i in range(words)) + "\n")
        self.options = ["--connect", self.address, "--interval", str(interval), "--deadline", "3000", "--lease",
                        str(lease), "--heartbeat", "200", "--grace", str(grace), "--sources", "1", "--splitters",
                        "1", "--counters", "1", "--input", self.input, "--parts", self.parts, "--rate", str(rate)]
        self.workers = {}
        for stage in self.STAGES:
            self.start(stage)
        case.addCleanup(self.stop)

    def start(self, stage):
        self.workers[stage] = Process([WORDCOUNT, stage, *self.options], self.case.path(stage + ".log"))

    def supervise(self):
        """Starts again what has ended without having finished."""
        for stage, worker in self.workers.items():
            if worker.process.poll() not in (None, 0):
                self.start(stage)

    def log(self, stage):
        return self.workers[stage].log()

    def hurry(self):
        self.workers["source"].signal(signal.SIGUSR2)

    def finish(self):
        """To the end of the input; then what was published must be the count of the words."""
        self.hurry()
        due = time.monotonic() + PATIENCE

        def done():
            self.supervise()
            if time.monotonic() > due - 1:
                raise AssertionError("the job does not end; the daemon says:\n%s" % self.case.daemon.log()[-3000:])
            self.hurry()
            return all(not w.running() for w in self.workers.values())
        wait_for("the end of the job", done)
        got = subprocess.run([WORDCOUNT, "sum", self.parts], capture_output=True, check=True).stdout
        want = {}
        for word in read(self.input).split():
            want[word] = want.get(word, 0) + 1
        text = b"".join(b"%7d %s\n" % (n, word) for word, n in sorted(want.items()))
        if got != text:
            raise AssertionError("what was published is not the count of the words: %d bytes, not %d" %
                                 (len(got), len(text)))

    def stop(self):
        for worker in self.workers.values():
            worker.kill()


def letters(n):
    out = ""
    while True:
        out += chr(ord("a") + n % 26)
        n //= 26
        if not n:
            return out


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tide-bad-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.data = self.path("data")

    def path(self, *names):
        return os.path.join(self.folder, *names)

    # ---- the daemon

    def start(self, *flags, **more):
        """A daemon that runs; the one before gave it its port."""
        more.setdefault("port", self.daemon.port if hasattr(self, "daemon") else 0)
        self.daemon = Daemon(self, self.data, *flags, **more).ready()
        return self.daemon

    def refuses_to_start(self, *texts, code=1, flags=(), **more):
        """One line on stderr that has these texts, and this exit code."""
        daemon = Daemon(self, self.data, *flags, **more)
        wait_for("the daemon's end", lambda: not daemon.running() or " ready: port " in daemon.log())
        daemon.signal(signal.SIGKILL)
        self.assertEqual(daemon.wait(), code, daemon.log())
        said = [line for line in daemon.log().splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line)]
        self.assertEqual(len(said), 1, daemon.log())
        self.assertTrue(said[0].startswith("tidemarkd: "), said[0])
        for text in texts:
            self.assertIn(text, said[0])
        return said[0]

    # ---- the command

    def tool(self, *args, code=0, daemon=True, env=None):
        where = ["--connect", "127.0.0.1:%d" % self.daemon.port] if daemon else []
        r = subprocess.run([TOOL, *args, *where], capture_output=True, env=env or environment(), timeout=PATIENCE)
        self.assertEqual(r.returncode, code, (args, r.stdout, r.stderr, self.daemon.log()[-1500:]))
        return r

    def ask(self, *args, **more):
        """The answer as JSON; None while the daemon cannot be asked."""
        return json.loads(self.tool(*args, "--json", **more).stdout)

    def snapshots(self):
        return self.ask("snapshots", "wordcount")["snapshots"]

    def rounds(self):
        return self.ask("rounds", "wordcount")["rounds"]

    def job(self):
        found = [j for j in self.ask("jobs")["jobs"] if j["name"] == "wordcount"]
        return found[0] if found else None

    def wait_checkpoints(self, n=1, above=0):
        """The newest checkpoint, once there are n completed ones above a number."""
        def enough():
            completed = [r["round"] for r in self.rounds() if r["state"] == "complete" and r["round"] > above]
            return len(completed) >= n and max(completed)
        wait_for("the job's first attempt", lambda: (self.job() or {}).get("attempt"))
        return wait_for(lambda: "%d checkpoints; the job: %s; the daemon:\n%s" %
                        (n, self.job(), self.daemon.log()[-2000:]), enough)

    # ---- the store, while no daemon has it

    def database(self):
        return os.path.join(self.data, "tidemark.db")

    def sql(self, text, *values):
        with sqlite3.connect(self.database()) as db:
            rows = db.execute(text, values).fetchall()
        db.close()
        return rows

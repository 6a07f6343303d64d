"""A counter in Python takes part in the word count beside workers in C, while one or the other and
the daemon are killed with -9; the count must be that of coreutils, byte for byte.

    job.py BUILD WORK       called by run.sh
"""
import os
import signal
import subprocess
import sys
import time

from admin import Admin, Daemon

BYTES = 6000000
RATE = 250000  # bytes a second until the plan is done
LEASE_S = 1.5
OPTIONS = ["--interval", "150", "--deadline", "3000", "--lease", "1500", "--heartbeat", "250", "--grace", "3000"]
PYTHON = os.environ.get("PYTHON", "/usr/bin/python3")


def say(text):
    print("%6.2f s  %s" % (time.monotonic() - begun, text), flush=True)


class Workers:
    """The processes of the job; whoever dies is started again, as a supervisor would."""

    def __init__(self, build, work, address):
        wordcount = os.path.join(build, "client/examples/wordcount/wordcount")
        connect = ["--connect", "%s:%d" % address]
        self.work = work
        source = ["--input", os.path.join(work, "input"), "--rate", str(RATE)]
        sink = ["--parts", os.path.join(work, "parts")]
        self.commands, self.processes, self.meant = {}, {}, set()
        for stage, index, more in (("source", 0, source), ("source", 1, source), ("splitter", 0, []),
                                   ("splitter", 1, []), ("counter", 0, []), ("counter", 1, []),
                                   ("sink", 0, sink)):
            self.commands["%s %d" % (stage, index)] = \
                [wordcount, stage, "--index", str(index), *more, *connect, *OPTIONS]
        self.in_c = self.commands["counter 1"]
        self.in_python = [PYTHON, os.path.join(os.path.dirname(os.path.abspath(__file__)), "counter.py"),
                          "counter", "--index", "1", *connect, *OPTIONS]
        self.commands["counter 1"] = self.in_python
        self.done = set()
        for name in self.commands:
            self.start(name)

    def start(self, name):
        with open(os.path.join(self.work, name.replace(" ", "-") + ".log"), "ab") as log:
            self.processes[name] = subprocess.Popen(self.commands[name], stderr=log, stdin=subprocess.DEVNULL)

    def kill(self, name):
        say("kill -9 %s" % name)
        self.meant.add(name)
        self.processes[name].kill()

    def look_after(self):
        for name, p in list(self.processes.items()):
            code = p.poll()
            if code is None or name in self.done:
                continue
            if code == 0:
                self.done.add(name)
            elif name in self.meant:
                self.meant.discard(name)
                self.start(name)
            else:
                raise SystemExit("%s ended with %d by itself" % (name, code))

    def stop(self):
        for p in self.processes.values():
            if p.poll() is None:
                p.kill()
            p.wait()


class Job:
    def __init__(self, build, work):
        self.daemon = Daemon(os.path.join(build, "tidemarkd"), os.path.join(work, "d"))
        os.mkdir(os.path.join(work, "parts"))
        self.workers = Workers(build, work, self.daemon.address)

    def summary(self):
        try:
            admin = Admin(self.daemon.address)
            try:
                return admin.ask(show_job={"job": b"wordcount"}).summary
            finally:
                admin.close()
        except (OSError, AttributeError):
            return None

    def wait(self, what, reached, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.workers.look_after()
            s = self.summary()
            if s is not None and reached(s):
                return s
            time.sleep(0.05)
        raise SystemExit("after %d s: %s; the job: %s" % (seconds, what, str(self.summary()).replace("\n", " ")))

    def steady(self):
        """Two more rounds complete."""
        s = self.wait("the job cannot be asked for", lambda s: True)
        last = s.last_complete
        return self.wait("no round completes", lambda s: s.state == b"RUNNING" and s.last_complete > last + 1)

    def new_attempt(self, old):
        s = self.wait("attempt %d goes on" % old, lambda s: s.state == b"RUNNING" and s.attempt > old)
        say("   -> attempt %d runs" % s.attempt)

    def kill_workers(self, *names):
        old = self.steady().attempt
        for name in names:
            self.workers.kill(name)
        self.new_attempt(old)

    def kill_daemon(self, away_s, *names):
        """Whether the workers go on in the attempt that they have."""
        s = self.steady()
        say("kill -9 tidemarkd, for %.1f s" % away_s)
        self.daemon.kill()
        for name in names:
            self.workers.kill(name)
        end = time.monotonic() + away_s
        while time.monotonic() < end:
            self.workers.look_after()
            time.sleep(0.02)
        self.daemon.start()
        if names:
            self.new_attempt(s.attempt)
            return
        after = self.wait("no round completes", lambda x: x.last_complete > s.last_complete)
        say("   -> round %d completes" % after.last_complete)
        if after.attempt != s.attempt:
            raise SystemExit("attempt %d was not adopted: the job is in %d" % (s.attempt, after.attempt))

    def freeze(self, name):
        """For longer than its lease: it is declared lost, finds that out itself, and comes back."""
        old = self.steady().attempt
        say("%s stands still for longer than its lease" % name)
        self.workers.processes[name].send_signal(signal.SIGSTOP)
        time.sleep(LEASE_S * 1.5)
        self.workers.processes[name].send_signal(signal.SIGCONT)
        self.new_attempt(old)

    def plan(self):
        self.steady()
        self.kill_workers("counter 1")
        self.kill_workers("splitter 0")
        self.kill_daemon(0)
        self.freeze("counter 1")
        self.kill_workers("counter 1", "sink 0")
        self.workers.commands["counter 1"] = self.workers.in_c
        say("the counter in C is to go on with the state of the one in Python, and the reverse")
        self.kill_workers("counter 1")
        self.workers.commands["counter 1"] = self.workers.in_python
        self.kill_workers("counter 1")
        self.kill_daemon(1.5)  # beyond the orphan limit and the lease
        self.kill_daemon(0, "counter 1")
        self.steady()
        say("full speed to the end of the input")
        for name in ("source 0", "source 1"):
            self.workers.processes[name].send_signal(signal.SIGUSR2)
        self.wait("the job is not FINISHED", lambda s: s.state == b"FINISHED")
        end = time.monotonic() + 10
        while len(self.workers.done) < len(self.workers.commands):
            if time.monotonic() > end:
                raise SystemExit("still there: %s" % (set(self.workers.commands) - self.workers.done))
            self.workers.look_after()
            time.sleep(0.05)

    def stop(self):
        self.workers.stop()
        return self.daemon.stop()


def make_input(path):
    shell = ("find -L /usr/share/common-licenses /usr/share/doc/*/copyright -type f -size +0 2>/dev/null |"
             " LC_ALL=C sort -u | tr '\\n' '\\0' | xargs -0 cat 2>/dev/null | head -c %d >\"$1\"" % BYTES)
    subprocess.run(["sh", "-c", shell, "sh", path], check=True)
    size = os.path.getsize(path)
    if size < BYTES // 2:
        raise SystemExit("only %d bytes of text in /usr/share" % size)


def main():
    build, work = sys.argv[1:]
    text = os.path.join(work, "input")
    make_input(text)
    want = subprocess.run(["sh", "-c", "LC_ALL=C tr -cs A-Za-z '\\n' <\"$1\" | LC_ALL=C sort | uniq -c", "sh", text],
                          check=True, stdout=subprocess.PIPE).stdout
    job = Job(build, work)
    try:
        job.plan()
        wordcount = os.path.join(build, "client/examples/wordcount/wordcount")
        got = subprocess.run([wordcount, "sum", os.path.join(work, "parts")], check=True,
                             stdout=subprocess.PIPE).stdout
    finally:
        code = job.stop()
    if got != want:
        raise SystemExit("the count differs from that of coreutils")
    if code:
        raise SystemExit("tidemarkd ended with %d" % code)
    say("the count of %d bytes is that of coreutils, byte for byte" % os.path.getsize(text))


begun = time.monotonic()
if __name__ == "__main__":
    main()

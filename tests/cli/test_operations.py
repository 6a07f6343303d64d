"""savepoint, checkpoint, operation: what is sent, waited for and survived."""
import os
import pty
import re
import signal
import struct
import subprocess
import threading
import time

from proto import admin_pb2 as admin
from proto import common_pb2 as common

import fake as f
import samples as s
from base import PROGRAM, Case, environment, run

R = admin.Response


class Operations(Case):
    """savepoint, checkpoint, operation: triggers, waits, and what happens meanwhile."""

    def setUp(self):
        super().setUp()
        self.waits = 0
        self.on(savepoint=R(operation=s.operation(b"queued", progress=1)), wait=self.wait_thrice)

    def wait_thrice(self, call, request):
        self.waits += 1
        self.assertEqual(call.operation, 7)
        if self.waits < 3:
            return R(operation=s.operation(acked=self.waits, progress=1 + self.waits))
        return R(operation=s.operation(b"done", progress=9))

    def test_savepoint(self):
        out = self.text("savepoint", "wordcount", "--label", "before the upgrade", "--target", "/save")
        self.assertEqual((out, self.waits), ("/save/savepoint-001122-21\n", 3))
        call = self.fake.seen[0][1]
        self.assertEqual((call.job, call.target, call.label), (b"wordcount", b"/save", b"before the upgrade"))
        self.assertRegex(call.key, rb"^[0-9a-f]{32}$")
        self.assertRegex(call.who, rb"^[^@]+@.+$")
        hello = self.fake.hellos[0]
        self.assertEqual((hello.kind, hello.version_min, hello.version_max, hello.secret),
                         (common.PEER_ADMIN, 1, 2, b""))

    def test_relative_target_is_in_the_working_directory(self):
        for given, want in (("save", "/save"), ("./save", "/save"), (".", "")):
            r = subprocess.run([PROGRAM, "savepoint", "w", "--detach", "--target", given, "--connect",
                                self.fake.address()], cwd=self.tmp.name, capture_output=True)
            self.assertEqual(r.returncode, 0, r.stderr)
            self.assertEqual(self.fake.seen[-1][1].target.decode(), os.path.realpath(self.tmp.name) + want)

    def test_savepoint_json(self):
        self.assertEqual(self.json("savepoint", "wordcount"), {"operation": {
            "id": 7, "kind": "savepoint", "job": "wordcount", "state": "done", "snapshot": 21,
            "location": "/save/savepoint-001122-21", "error": None, "tasks": 4, "acked": 4, "phase": None,
            "begun_wall_us": s.T0, "ended_wall_us": s.T0 + 2 * s.S, "snapshot_good": False, "report": []}})

    def test_detach(self):
        self.assertEqual(self.text("savepoint", "w", "--detach", "--key", "nightly"), "7\n")
        self.assertEqual(([n for n, _ in self.fake.seen], self.fake.seen[0][1].key), (["savepoint"], b"nightly"))
        self.assertEqual(self.json("savepoint", "w", "--detach")["operation"]["state"], "queued")

    def test_checkpoint_prints_its_number(self):
        self.on(checkpoint=R(operation=s.operation(kind=b"checkpoint")),
                wait=R(operation=s.operation(b"done", kind=b"checkpoint", location=b"")))
        self.assertEqual(self.text("checkpoint", "w"), "21\n")
        self.assertEqual(self.json("checkpoint", "w")["operation"]["snapshot"], 21)

    def test_a_retry_that_finds_the_first_try_done_does_not_wait(self):
        self.on(savepoint=R(operation=s.operation(b"done")))
        self.assertEqual(self.text("savepoint", "w", "--key", "k"), "/save/savepoint-001122-21\n")
        self.assertEqual(self.waits, 0)

    def test_failed(self):
        self.on(wait=R(operation=s.operation(b"failed", error=b"count/1 declined: disk full")))
        r = self.tidemark("savepoint", "wordcount", code=1)
        self.assertEqual((r.stdout, r.stderr),
                         (b"", b"tidemark: savepoint of wordcount failed: count/1 declined: disk full\n"))
        doc = self.json("savepoint", "wordcount", code=1)["operation"]
        self.assertEqual((doc["state"], doc["error"]), ("failed", "count/1 declined: disk full"))

    def test_operation(self):
        self.on(wait=R(operation=s.operation()))
        self.assertEqual(self.text("operation", "7"),
                         "Operation       7, savepoint of wordcount\n"
                         "State           running: collecting\n"
                         "Begun           2026-01-02 00:00:00 UTC (AGE ago)\n"
                         "Acked           1 of 4 tasks\n"
                         "Snapshot        21\n")
        self.assertLess(self.fake.seen[-1][1].timeout_ms, 100)
        self.assertEqual(self.json("operation", "7")["operation"]["phase"], "collecting")
        self.on(wait=R(operation=s.operation(b"failed", error=b"deadline")))
        self.assertIn("Error           deadline\n", self.text("operation", "7", code=1))

    def test_operation_wait(self):
        self.assertEqual((self.text("operation", "7", "--wait"), self.waits), ("/save/savepoint-001122-21\n", 3))

    def test_the_daemon_dies_while_we_wait_and_comes_back(self):
        died = threading.Event()

        def wait(call, request):
            self.waits += 1
            if self.waits == 1:
                died.set()
                raise f.HangUp
            return R(operation=s.operation(b"done"))

        def restart():
            died.wait(10)
            self.fake.stop()
            time.sleep(0.7)
            self.fake.start()

        self.on(wait=wait)
        thread = threading.Thread(target=restart)
        thread.start()
        r = self.tidemark("savepoint", "wordcount")
        thread.join()
        self.assertEqual((r.stdout, r.stderr.decode()), (
            b"/save/savepoint-001122-21\n",
            "tidemark: the connection to %s broke: the daemon closed it; trying again\n" % self.fake.address()))
        self.assertEqual([n for n, _ in self.fake.seen], ["savepoint", "wait", "wait"])

    def test_the_port_is_read_anew_after_a_restart(self):
        other = f.Fake({"wait": lambda call, request: R(operation=s.operation(b"done"))})
        self.addCleanup(other.stop)
        f.write_port(self.fake, self.tmp.name)

        def wait(call, request):
            f.write_port(other, self.tmp.name)
            raise f.HangUp

        self.on(wait=wait)
        r = run("savepoint", "w", "--data", self.tmp.name)
        self.assertEqual((r.returncode, r.stdout), (0, b"/save/savepoint-001122-21\n"), r.stderr)

    def test_a_lost_answer_does_not_start_a_second_one(self):
        def savepoint(call, request):
            if len(self.fake.seen) == 1:
                raise f.HangUp
            return R(operation=s.operation(b"done"))

        self.on(savepoint=savepoint)
        r = self.tidemark("savepoint", "w")
        self.assertEqual(r.stdout, b"/save/savepoint-001122-21\n")
        keys = [call.key for _, call in self.fake.seen]
        self.assertEqual((len(keys), keys[0]), (2, keys[1]))

    def test_another_store_cannot_know_the_operation(self):
        def wait(call, request):
            self.fake.store = b"\xff" * 16
            raise f.HangUp

        self.on(wait=wait)
        r = self.tidemark("savepoint", "w", code=1)
        self.assertIn(b"is now a daemon with another store: it cannot know the operation", r.stderr)

    def test_timeout_says_how_to_go_on(self):
        self.on(wait=lambda call, request: time.sleep(call.timeout_ms / 1e3) or R(operation=s.operation()))
        r = self.tidemark("savepoint", "w", "--timeout", "2s", code=1)
        self.assertRegex(r.stderr.decode(), r"^tidemark: the savepoint has not ended after \d\.\d+ s; "
                                            r"'tidemark operation 7 --wait --connect %s' goes on waiting\n$"
                         % re.escape(self.fake.address()))
        self.assertEqual(self.json("savepoint", "w", "--timeout", "100ms", code=1)["error"]["code"], "timeout")

    def test_timeout_with_the_daemon_away(self):
        def wait(call, request):
            threading.Thread(target=self.fake.stop).start()
            raise f.HangUp

        self.on(wait=wait)
        r = self.tidemark("savepoint", "w", "--timeout", "2s", code=1)
        self.assertIn(b"has not ended after", r.stderr)
        self.fake.start()

    def test_busy_while_waiting_is_waited_out(self):
        def wait(call, request):
            self.waits += 1
            if self.waits < 3:
                return f.error(admin.ERROR_BUSY, "too many waiters")
            return R(operation=s.operation(b"done"))

        self.on(wait=wait)
        r = self.tidemark("savepoint", "w")
        self.assertEqual((r.stdout, r.stderr), (b"/save/savepoint-001122-21\n",
                                                b"tidemark: the daemon is busy; trying again\n"))

    def test_interrupt(self):
        asked = threading.Event()

        def wait(call, request):
            asked.set()
            time.sleep(call.timeout_ms / 1e3)
            return R(operation=s.operation())

        self.on(wait=wait)
        p = subprocess.Popen([PROGRAM, "savepoint", "w", "--connect", self.fake.address()],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        asked.wait(60)
        time.sleep(0.1)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual((p.returncode, out, err), (
            -signal.SIGINT, b"", b"tidemark: interrupted; the savepoint goes on by itself: "
                                 b"'tidemark operation 7 --wait --connect %s' goes on waiting\n"
            % self.fake.address().encode()))

    def on_terminal(self, *args, columns=80):
        """Everything that the program writes to a terminal."""
        try:
            master, slave = pty.openpty()
        except OSError as e:  # a bare root without /dev/pts
            self.skipTest("no terminals here: %s" % e)
        import fcntl
        import termios
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        p = subprocess.Popen([PROGRAM, *args, "--connect", self.fake.address()], stdout=slave, stderr=slave,
                             env=environment())
        os.close(slave)
        out = b""
        try:
            while True:
                piece = os.read(master, 4096)
                if not piece:
                    break
                out += piece
        except OSError:
            pass
        os.close(master)
        self.assertEqual(p.wait(60), 0, out)
        return out.decode()

    def test_bar(self):
        out = self.on_terminal("savepoint", "wordcount")
        self.assertIn("savepoint [=======>                      ] 1/4  ", out)
        self.assertIn("savepoint [===============>              ] 2/4  ", out)
        self.assertTrue(out.endswith("\rsavepoint 21 of wordcount took 2 s\r\n/save/savepoint-001122-21\r\n"), out)
        self.assertNotIn("\x1b", out)
        for line in re.split("[\r\n]+", out):
            self.assertLess(len(line), 80)
        waits = [call for name, call in self.fake.seen if name == "wait"]
        self.assertEqual([c.seen_progress for c in waits], [0, 2, 3])

    def test_tables_fit_the_terminal(self):
        # How wide its age is changes with the day that this test is run on, and the name takes what is left.
        self.on(list_jobs=R(jobs=admin.JobList(jobs=[s.summary(b"j" * 100)])))
        words = self.on_terminal("jobs", columns=60).split()
        self.assertEqual(words[:4], ["JOB", "STATE", "TASKS", "AGE"])
        self.assertRegex(words[4], r"^j{20,50}\.\.$")
        lines = self.on_terminal("jobs", columns=60).replace("\r", "").splitlines()
        self.assertEqual(max(map(len, lines)), 60)
        self.assertRegex(lines[1], r"^j+\.\.  RUNNING ")
        self.assertIn("j" * 100, self.text("jobs"))  # not a terminal: nothing is cut

    def test_a_narrow_terminal_gets_fewer_columns(self):
        self.on(rounds=R(rounds=admin.RoundList(rounds=[s.complete_round(), s.aborted_round()])))
        for columns, titles in ((100, "ROUND STATE BEGUN (UTC) TOOK TRIGGER ACKS COMMIT ACKED SIZE KIND"),
                                (80, "ROUND STATE BEGUN (UTC) TOOK TRIGGER ACKS COMMIT ACKED"),
                                (60, "ROUND STATE BEGUN (UTC) TOOK TRIGGER ACKED"),
                                (50, "ROUND STATE BEGUN (UTC) TOOK ACKED")):
            lines = self.on_terminal("rounds", "w", columns=columns).replace("\r", "").splitlines()
            self.assertEqual(lines[0].split(), titles.split())
            self.assertLessEqual(max(map(len, lines)), columns)
        self.assertEqual(lines[3:], ["    not all tasks acked within 10 s",  # at 50, broken between words
                                     "    held by count/1 on w2: aligning, 1 channel",
                                     "    missing",
                                     "    held by sink/0 on w2: waiting for the first",
                                     "    barrier"])


class Orders(Case):
    """hold, release: what is sent, and that nothing but failure is told."""

    def test_hold(self):
        self.on(hold=R(operation=s.order(b"hold", b"queued")), wait=R(operation=s.order(b"hold")))
        self.assertEqual(self.text("hold", "w", "--cause", "a new disk", "--key", "k"), "")
        call = self.fake.seen[0][1]
        self.assertEqual((call.job, call.cause, call.key), (b"w", b"a new disk", b"k"))
        self.assertRegex(call.who, rb"^[^@]+@.+$")
        self.assertEqual(self.text("hold", "w", "--detach"), "7\n")

    def test_release(self):
        self.on(release=R(operation=s.order(b"release")))
        self.assertEqual(self.text("release", "w"), "")
        self.assertFalse(self.fake.seen[-1][1].abandon_owed)
        self.assertEqual(self.text("release", "w", "--abandon-owed"), "")
        self.assertTrue(self.fake.seen[-1][1].abandon_owed)
        self.assertFalse(self.fake.seen[-1][1].allow_repeat)
        self.text("release", "w", "--allow-repeat")
        self.assertTrue(self.fake.seen[-1][1].allow_repeat)

    def test_restore(self):
        report = [b"from: checkpoint 17 of attempt 3", b"count: restored"]
        self.on(restore=R(operation=s.order(b"restore", snapshot=17, report=report)))
        self.assertEqual(self.text("restore", "w", "--snapshot", "17", "--allow-repeat"),
                         "from: checkpoint 17 of attempt 3\ncount: restored\n")
        call = self.fake.seen[-1][1]
        self.assertEqual((call.job, call.WhichOneof("from"), call.snapshot, call.allow_repeat, call.dry_run),
                         (b"w", "snapshot", 17, True, False))
        self.text("restore", "w", "--latest", "--dry-run", "--allow-unmatched", "--abandon-owed")
        call = self.fake.seen[-1][1]
        self.assertEqual((call.WhichOneof("from"), call.dry_run, call.allow_unmatched, call.abandon_owed),
                         ("latest", True, True, True))
        self.text("restore", "w", "--from", "/savepoints/one")
        call = self.fake.seen[-1][1]
        self.assertEqual((call.WhichOneof("from"), call.directory), ("directory", b"/savepoints/one"))
        self.text("restore", "w", "--from", "./one")
        self.assertEqual(self.fake.seen[-1][1].directory, os.path.join(os.getcwd(), "one").encode())
        self.text("restore", "w", "--nothing")
        self.assertEqual(self.fake.seen[-1][1].WhichOneof("from"), "nothing")

    def test_import(self):
        report = [b"from: savepoint 7 of 'w', in /mnt/s", b"count: restored"]
        self.on(import_snapshot=R(operation=s.order(b"import", snapshot=18, report=report)))
        self.assertEqual(self.text("snapshot", "import", "w", "--from", "/mnt/s", "--label", "of there"),
                         "from: savepoint 7 of 'w', in /mnt/s\ncount: restored\nsnapshot 18\n")
        call = self.fake.seen[-1][1]
        self.assertEqual((call.job, call.directory, call.label, call.dry_run), (b"w", b"/mnt/s", b"of there", False))
        self.on(import_snapshot=R(operation=s.order(b"import", report=report)))
        self.assertEqual(self.text("snapshot", "import", "w", "--from", "s", "--dry-run"),
                         "from: savepoint 7 of 'w', in /mnt/s\ncount: restored\n")
        call = self.fake.seen[-1][1]
        self.assertEqual((call.directory, call.dry_run), (os.path.join(os.getcwd(), "s").encode(), True))
        r = self.tidemark("snapshot", "import", "w", code=2)
        self.assertIn(b"--from DIR is missing: where the snapshot lies", r.stderr)

    def test_a_refused_restore_tells_its_report(self):
        self.on(restore=R(operation=s.order(b"restore", b"failed", error=b"no", report=[b"a: refused: no"])))
        r = self.tidemark("restore", "w", "--latest", code=1)
        self.assertEqual((r.stdout, r.stderr), (b"a: refused: no\n", b"tidemark: restore of wordcount failed: no\n"))

    def test_failed(self):
        self.on(release=R(operation=s.order(b"release", b"failed", error=b"job w is RUNNING, not HELD")))
        r = self.tidemark("release", "w", code=1)
        self.assertEqual(r.stderr, b"tidemark: release of wordcount failed: job w is RUNNING, not HELD\n")

    def test_misuse(self):
        r = self.tidemark("hold", "w", "--cause", "x" * 256, code=2)
        self.assertIn(b"--cause is longer than 255 bytes", r.stderr)
        for given in ((), ("--latest", "--nothing"), ("--from", "/a", "--latest"), ("--snapshot", "x")):
            self.tidemark("restore", "w", *given, code=2)
        r = self.tidemark("hold", "w", "--abandon-owed", code=2)
        self.assertIn(b"--abandon-owed does not go with this command", r.stderr)


class Stops(Case):
    """stop, cancel, snapshot dispose: what is sent, and what is told of what came of it."""

    def stopped(self, state=b"done", **more):
        fields = dict(kind=b"stop", location=b"/save/savepoint-001122-21" if state == b"done" else b"")
        fields.update(more)
        return R(operation=s.operation(state, **fields))

    def test_stop(self):
        self.on(stop=self.stopped(b"queued"), wait=self.stopped())
        self.assertEqual(self.text("stop", "w", "--drain", "--supersede", "--label", "the last", "--target", "/t"),
                         "/save/savepoint-001122-21\n")
        call = self.fake.seen[0][1]
        self.assertEqual((call.job, call.drain, call.supersede, call.label, call.target, call.kind),
                         (b"w", True, True, b"the last", b"/t", common.ROUND_SAVEPOINT))
        self.assertEqual(len(call.key), 32)
        self.assertEqual(self.text("stop", "w", "--detach", "--key", "k"), "7\n")
        self.assertEqual((self.fake.seen[-1][1].drain, self.fake.seen[-1][1].key), (False, b"k"))

    def test_stop_with_a_checkpoint(self):
        self.on(stop=self.stopped(location=b"/state/a1-1/r21"))
        self.assertEqual(self.text("stop", "w", "--checkpoint"), "21\n")
        self.assertEqual(self.fake.seen[-1][1].kind, common.ROUND_CHECKPOINT)

    def test_no_snapshot_and_snapshot_good(self):
        self.on(stop=self.stopped(b"failed", error=b"no snapshot was taken, the job goes on: round 21 aborted"))
        r = self.tidemark("stop", "w", code=1)
        self.assertEqual(r.stderr, b"tidemark: stop of wordcount failed: no snapshot was taken, the job goes on: "
                                   b"round 21 aborted\n")
        self.on(stop=self.stopped(b"failed", error=b"the stop failed", snapshot_good=True, location=b"/save/s"))
        r = self.tidemark("stop", "w", code=1)
        self.assertEqual(r.stderr, b"tidemark: stop of wordcount failed: the stop failed\n"
                                   b"tidemark: snapshot 21 is good: /save/s\n")

    def test_cancel(self):
        self.on(cancel=R(operation=s.order(b"cancel")))
        self.assertEqual(self.text("cancel", "w"), "")
        self.assertFalse(self.fake.seen[-1][1].savepoint)
        self.on(cancel=self.stopped(kind=b"cancel"))
        self.assertEqual(self.text("cancel", "w", "--savepoint", "--target", "/t"), "/save/savepoint-001122-21\n")
        call = self.fake.seen[-1][1]
        self.assertEqual((call.savepoint, call.target), (True, b"/t"))

    def test_dispose(self):
        self.on(dispose=R(operation=s.order(b"dispose", b"running", snapshot=17)),
                wait=R(operation=s.order(b"dispose", snapshot=17)))
        self.assertEqual(self.text("snapshot", "dispose", "17"), "")
        self.assertEqual(self.fake.seen[0][1].snapshot, 17)

    def test_export(self):
        self.on(export_snapshot=R(operation=s.order(b"export", b"running", snapshot=17, phase=b"copying, 3 of 9 MiB")),
                wait=R(operation=s.order(b"export", snapshot=17, location=b"/b/x")))
        self.assertEqual(self.text("snapshot", "export", "17", "/b/x"), "/b/x\n")
        call = self.fake.seen[0][1]
        self.assertEqual((call.snapshot, call.directory, len(call.key)), (17, b"/b/x", 32))
        self.text("snapshot", "export", "17", "x")
        self.assertEqual(self.fake.seen[-2][1].directory, os.getcwd().encode() + b"/x")

    def test_savepoint_and_checkpoint(self):
        self.on(savepoint=R(operation=s.operation(b"done")), checkpoint=R(operation=s.operation(b"done", location=b"")))
        self.text("savepoint", "w", "--commits")
        self.assertTrue(self.fake.seen[-1][1].commits)
        self.assertEqual(self.fake.seen[-1][1].WhichOneof("how"), None)
        for word, number in (("aligned", 0), ("at-least-once", 1), ("unaligned", 2), ("timeout", 3)):
            self.text("savepoint", "w", "--alignment", word)
            call = self.fake.seen[-1][1]
            self.assertEqual((call.WhichOneof("how"), call.alignment), ("alignment", number))
        self.text("checkpoint", "w", "--full")
        self.assertTrue(self.fake.seen[-1][1].full)

    def test_misuse(self):
        for words, why in ((("stop", "w", "--checkpoint", "--target", "/t"), b"does not go with --checkpoint"),
                           (("cancel", "w", "--label", "x"), b"give --savepoint as well"),
                           (("cancel", "w", "--target", "x"), b"give --savepoint as well"),
                           (("savepoint", "w", "--drain"), b"does not go with this command"),
                           (("savepoint", "w", "--alignment", "no"), b"--alignment 'no' must be aligned, unaligned"),
                           (("checkpoint", "w", "--alignment", "aligned"), b"does not go with this command"),
                           (("stop",), b"JOB is missing"), (("snapshot", "export", "17"), b"DIR is missing"),
                           (("snapshot", "export", "0", "/x"), b"'0' is not the number of a snapshot"),
                           (("snapshot", "dispose", "x"), b"'x' is not the number of a snapshot")):
            r = self.tidemark(*words, code=2)
            self.assertIn(why, r.stderr)
        self.assertEqual(self.fake.seen, [])

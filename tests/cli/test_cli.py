"""The CLI `tidemark` against a played daemon: what it prints, how it ends, what it survives."""
import json
import os
import pty
import re
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from proto import admin_pb2 as admin
from proto import common_pb2 as common

import fake as f
import samples as s

PROGRAM = os.path.abspath(os.environ["TIDEMARK"])
R = admin.Response


def environment(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMARK")}
    env.update(TZ="UTC", LC_ALL="C.UTF-8", **more)
    return env


def run(*args, env=None, timeout=30):
    return subprocess.run([PROGRAM, *args], capture_output=True, env=env or environment(), timeout=timeout)


def check_json(data):
    """The document, checked by python3 -m json.tool as any script would."""
    tool = subprocess.run([sys.executable, "-m", "json.tool"], input=data, capture_output=True)
    if tool.returncode:
        raise AssertionError("not JSON: %s\n%r" % (tool.stderr.decode(), data))
    return json.loads(data)


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.fake = f.Fake()
        self.addCleanup(self.fake.stop)
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)

    def on(self, **handlers):
        for name, result in handlers.items():
            fixed = result
            self.fake.handlers[name] = result if callable(result) else lambda call, request, r=fixed: r

    def tidemark(self, *args, code=0, **more):
        r = run(*args, "--connect", self.fake.address(), **more)
        self.assertEqual(r.returncode, code, (r.stdout, r.stderr))
        return r

    def text(self, *args, err="", code=0):
        """stdout of a command that says nothing but err on stderr; ages are replaced."""
        r = self.tidemark(*args, code=code)
        self.assertEqual(r.stderr.decode(), err)
        out = re.sub(r"\(\d+ d( \d+ h)? ago\)", "(AGE ago)", r.stdout.decode())
        return re.sub(r"\d+ d( \d+ h)? ago", "AGE ago", out)

    def json(self, *args, code=0):
        return check_json(self.tidemark(*args, "--json", code=code).stdout)

    def failure(self, code, text, *args):
        """Exit 1, the sentence on stderr, and with --json the same in a document."""
        r = self.tidemark(*args, code=1)
        self.assertEqual((r.stdout, r.stderr.decode()), (b"", "tidemark: %s\n" % text))
        self.assertEqual(self.json(*args, code=1), {"error": {"code": code, "text": text}})

    def misuse(self, text, *args, env=None):
        r = run(*args, env=env)
        self.assertEqual((r.returncode, r.stdout, r.stderr.decode()), (2, b"", "tidemark: %s\n" % text))


class Listing(Case):
    def test_jobs(self):
        self.on(list_jobs=R(jobs=admin.JobList(jobs=[
            s.summary(),
            s.summary(b"b", b"HELD", cause=b"an old database was put back", attempt=0, last_complete=0,
                      last_complete_wall_us=0)])))
        out = re.sub(r" +\d+ d( \d+ h)?$", "  AGE", self.text("jobs"), flags=re.M)
        out = re.sub(r"COMPLETE +AGE", "COMPLETE  AGE", out)
        self.assertEqual(re.sub(r" +-\n", "  -\n", out),
                         "JOB        STATE    ATTEMPT  TASKS  LAST COMPLETE  AGE\n"
                         "wordcount  RUNNING        3    3/4             17  AGE\n"
                         "b          HELD           0    3/4              -  -\n"
                         "    an old database was put back\n")
        jobs = self.json("jobs")["jobs"]
        self.assertEqual(jobs[0], {
            "name": "wordcount", "id": s.ID.hex(), "state": "RUNNING", "cause": None, "attempt": 3,
            "tasks": 4, "tasks_present": 3, "workers": 2, "last_complete": 17,
            "last_complete_wall_us": s.T0 + 60 * s.S, "created_wall_us": s.T0})
        self.assertEqual((jobs[1]["cause"], jobs[1]["last_complete"], jobs[1]["attempt"]),
                         ("an old database was put back", None, None))

    def test_no_jobs(self):
        self.on(list_jobs=R(jobs=admin.JobList()))
        self.assertEqual(self.text("jobs", err="no jobs: one appears when its first worker joins\n"), "")
        self.assertEqual(self.json("jobs"), {"jobs": []})

    def test_job_show(self):
        self.on(show_job=R(job=s.job_detail()))
        out = self.text("job", "show", "wordcount")
        for line in ("Job             wordcount", "Id              " + s.ID.hex(), "State           RUNNING",
                     "Waiting for     a worker for sink/0", "Missing         sink/0",
                     "At their end    1: source/0", "Last complete   round 17, AGE ago",
                     "Checkpoints     every 500 ms, 2 retained", "Limits          round 10 min, lease 10 s",
                     "OPERATOR  TASKS  MAX  FROM", "count         2  128  source",
                     "w1      present  9.50 s  count/0-1  10.0.0.1:9000",
                     "   18  checkpoint  collecting  2026-01-02 00:00     -    1/4     -"):
            self.assertIn(line + "\n", out)
        self.assertEqual(self.fake.seen[-1][1].job, b"wordcount")

    def test_job_show_json(self):
        self.on(show_job=R(job=s.job_detail()))
        job = self.json("job", "show", "wordcount")["job"]
        self.assertEqual(job["spec"]["operators"][1], {"uid": "count", "parallelism": 2, "max_parallelism": 0})
        self.assertEqual(job["spec"]["edges"][0], {"from": "source", "to": "count", "pattern": "all_to_all"})
        self.assertEqual((job["spec"]["checkpointing"]["interval_ms"], job["spec"]["checkpointing"]["lease_ms"]),
                         (500, 10000))
        self.assertEqual(job["worker_list"][0], {
            "name": "w1", "state": "present", "endpoint": "10.0.0.1:9000", "lease_left_ms": 9500,
            "tasks": [{"first": 0, "count": 2}]})
        self.assertEqual((job["missing"], job["ended"]),
                         ([{"first": 2, "count": 1}], [{"first": 3, "count": 1}]))
        self.assertEqual((job["open_rounds"][0]["round"], job["waiting_for"]), (18, "a worker for sink/0"))
        self.assertEqual(job["gauges"]["lastCheckpointDuration"], 120)

    def test_job_without_a_usable_spec_is_shown_by_task_numbers(self):
        detail = s.job_detail()
        del detail.spec.operators[:]
        self.on(show_job=R(job=detail))
        self.assertIn("Missing         task/2\n", self.text("job", "show", "x"))
        self.json("job", "show", "x")

    def test_rounds(self):
        self.on(rounds=R(rounds=admin.RoundList(rounds=[s.open_round(), s.complete_round(), s.aborted_round()])))
        self.assertEqual(self.text("rounds", "wordcount"),
                         "ROUND  KIND        STATE       BEGUN               TOOK  ACKED     SIZE\n"
                         "   18  checkpoint  collecting  2026-01-02 00:00       -    1/4        -\n"
                         "   17  checkpoint  complete    2026-01-02 00:00  123 ms    4/4  4.0 KiB\n"
                         "   16  checkpoint  aborted     2026-01-02 00:00    10 s    2/4        -\n"
                         "    not all tasks acked within 10 s\n"
                         "    held by count/1 on w2: aligning, 1 channel missing\n"
                         "    held by sink/0 on w2: waiting for the first barrier\n")

    def test_rounds_json(self):
        self.on(rounds=R(rounds=admin.RoundList(rounds=[s.complete_round(), s.aborted_round()])))
        doc = self.json("rounds", "wordcount")
        self.assertEqual(doc["rounds"][0], {
            "round": 17, "job": "wordcount", "kind": "checkpoint", "state": "complete", "incarnation": 1,
            "attempt": 3, "operation": None, "begun_wall_us": s.T0 + 17 * s.S,
            "ended_wall_us": s.T0 + 17 * s.S + 123456, "tasks": 4, "acked": 4, "trigger_us": 100,
            "acks_us": 120000, "commit_us": 300, "notify_us": 80, "bytes": 4096, "reason": None,
            "held_by": [], "held_by_count": 0})
        self.assertEqual(doc["rounds"][1]["held_by"][0], {
            "task": 1, "operator": "count", "subtask": 1, "worker": "w2",
            "phase": "aligning, 1 channel missing"})
        self.assertEqual((doc["rounds"][1]["reason"], doc["more"]), ("not all tasks acked within 10 s", False))

    def test_many_holders_are_cut_in_text(self):
        r = s.aborted_round()
        for i in range(98):
            r.held_by.add(task=i, operator_uid=b"x", subtask=i, worker=b"w", phase=b"p")
        r.held_by_count = 5000
        self.on(rounds=R(rounds=admin.RoundList(rounds=[r])))
        out = self.text("rounds", "w")
        self.assertEqual(out.count("held by"), 8)
        self.assertIn("    and 4992 more\n", out)

    def pages(self, make, field, kind):
        def answer(call, request):
            top = call.before - 1 if call.before else 2500
            low = max(top - call.limit, 0)
            return R(**{field: kind(**{field: [make(i) for i in range(top, low, -1)], "more": low > 0})})
        return answer

    def test_rounds_come_in_pages(self):
        self.on(rounds=self.pages(s.complete_round, "rounds", admin.RoundList))
        doc = self.json("rounds", "w", "--limit", "2400")
        self.assertEqual([r["round"] for r in doc["rounds"]], list(range(2500, 100, -1)))
        self.assertTrue(doc["more"])
        self.assertEqual([c.limit for _, c in self.fake.seen], [1000, 1000, 400])
        self.fake.seen.clear()
        out = self.text("rounds", "w", err="older ones exist: see --limit\n")
        self.assertEqual((out.count("\n"), [c.limit for _, c in self.fake.seen]), (101, [100]))

    def test_failed_rounds_only(self):
        self.on(rounds=self.pages(lambda i: s.aborted_round(i) if i % 1000 == 0 else s.complete_round(i),
                                  "rounds", admin.RoundList))
        self.assertEqual([r["round"] for r in self.json("rounds", "w", "--failed")["rounds"]], [2000, 1000])

    def test_a_daemon_that_pages_in_circles_does_not_keep_us(self):
        self.on(rounds=R(rounds=admin.RoundList(rounds=[s.complete_round(5)], more=True)),
                snapshots=R(snapshots=admin.SnapshotList(snapshots=[s.snapshot(5)], more=True)))
        self.json("rounds", "w")
        self.json("snapshots", "w")
        self.assertEqual(len(self.fake.seen), 4)

    def test_status(self):
        self.on(status=R(status=s.status()))
        out = self.text("status")
        for line in ("Daemon          tidemarkd 0.1.0",
                     "Store           000102030405060708090a0b0c0d0e0f, incarnation 1700000000000000",
                     "Started         2026-01-02 00:00:00 (AGE ago)",
                     "Connections     3, 2 of them workers; 1 refused", "Rounds          16 complete, 2 aborted",
                     "Commits         40, 0 waiting", "Deleting        1, 0 tries failed",
                     "Memory          12.0 MiB", "Loop            1000 turns, 1 of them over 10 ms"):
            self.assertIn(line + "\n", out)
        self.assertRegex(out, r"\nwordcount  RUNNING    17  +\d+ d( \d+ h)?  120 ms  4.0 KiB    16       2\n")

    def test_status_json_has_the_known_gauges(self):
        self.on(status=R(status=s.status()))
        doc = self.json("status")["status"]
        self.assertEqual(doc["jobs"][0]["gauges"], {
            "lastCheckpointDuration": 120, "lastCheckpointSize": 4096, "lastCheckpointFullSize": 8192,
            "lastCompletedCheckpointId": 17, "lastCheckpointCompletedTimestamp": s.T0 // 1000 + 60000,
            "lastCheckpointProcessedData": -1, "lastCheckpointPersistedData": -1,
            "lastCheckpointExternalPath": "/state/a1-1/r17", "lastCheckpointRestoreTimestamp": -1,
            "numberOfInProgressCheckpoints": 1, "numberOfCompletedCheckpoints": 16,
            "numberOfFailedCheckpoints": 2, "totalNumberOfCheckpoints": 19, "skippedPeriodicTriggers": 3})
        self.assertEqual((doc["jobs"][1]["gauges"]["lastCompletedCheckpointId"],
                          doc["jobs"][1]["gauges"]["lastCheckpointExternalPath"]), (-1, "n/a"))
        self.assertEqual((doc["loop_lag"][2], doc["rss_bytes"], doc["store_id"]),
                         ({"below_us": None, "count": 1}, 12 << 20, bytes(range(16)).hex()))


class Snapshots(Case):
    def test_list(self):
        self.on(snapshots=R(snapshots=admin.SnapshotList(snapshots=[s.snapshot(), s.savepoint()])))
        self.assertEqual(self.text("snapshots"),
                         "SNAPSHOT  JOB        KIND        COMPLETED         STATE        SIZE  LABEL\n"
                         "      17  wordcount  checkpoint  2026-01-02 00:00  retained  5.0 MiB  -\n"
                         "      12  wordcount  savepoint   2026-01-02 00:00  retained  5.0 MiB  before the upgrade\n")
        self.assertEqual((self.fake.seen[-1][1].job, self.fake.seen[-1][1].deleted), (b"", False))
        doc = self.json("snapshots", "wordcount", "--all")
        self.assertEqual((self.fake.seen[-1][1].job, self.fake.seen[-1][1].deleted), (b"wordcount", True))
        self.assertEqual(doc["snapshots"][1], {
            "snapshot": 12, "job": "wordcount", "kind": "savepoint", "state": "retained", "owner": "user",
            "label": "before the upgrade", "directory": "/save/savepoint-001122-12", "parent": 11,
            "incarnation": 1, "attempt": 3, "begun_wall_us": s.T0 + 12 * s.S,
            "completed_wall_us": s.T0 + 12 * s.S + 123456, "tasks": 4, "artifacts": 4, "bytes": 5 << 20,
            "manifest_bytes": 300, "owed": 0})
        self.assertEqual((doc["snapshots"][0]["label"], doc["more"]), (None, False))

    def test_none(self):
        self.on(snapshots=R(snapshots=admin.SnapshotList()))
        self.assertEqual(self.text("snapshots", err="no snapshots\n"), "")
        self.assertEqual(self.json("snapshots"), {"snapshots": [], "more": False})

    def detail(self, call, request):
        count = min(call.limit, 3) if call.first_task < 4 else 0
        count = min(count, 4 - call.first_task)
        return R(snapshot=admin.SnapshotDetail(info=s.savepoint(), tasks=s.snapshot_tasks(call.first_task, count),
                                               more=call.limit > 0 and call.first_task + count < 4))

    def test_show(self):
        self.on(snapshot=self.detail)
        self.assertEqual(self.text("snapshot", "show", "12"),
                         "Snapshot        12\n"
                         "Job             wordcount, attempt 3\n"
                         "Kind            savepoint, owned by the user\n"
                         "Label           before the upgrade\n"
                         "State           retained\n"
                         "Completed       2026-01-02 00:00:12 (AGE ago)\n"
                         "Took            123 ms\n"
                         "Tasks           4\n"
                         "Artifacts       4, 5.0 MiB\n"
                         "Manifest        300 B\n"
                         "Parent          11\n"
                         "Directory       /save/savepoint-001122-12\n")
        doc = self.json("snapshot", "show", "12")
        self.assertEqual((doc["snapshot"]["snapshot"], "tasks" in doc), (12, False))

    def test_show_tasks(self):
        self.on(snapshot=self.detail)
        out = self.text("snapshot", "show", "12", "--tasks")
        self.assertIn("   1  count/1   1.0 MiB      64-127  counts  t1-0\n"
                      "   1  count/1      12 B           -  -       (inline)\n", out)
        self.assertIn("   3  count/3     ended           -  -       -\n", out)
        tasks = self.json("snapshot", "show", "12", "--tasks")["tasks"]
        self.assertEqual([t["task"] for t in tasks], [0, 1, 2, 3])
        self.assertEqual(tasks[1]["artifacts"], [
            {"name": "counts", "path": "t1-0", "bytes": 1 << 20, "xxh3_128": "%016x%016x" % (1, 0xabc),
             "key_group_first": 64, "key_group_count": 64},
            {"name": None, "path": None, "bytes": 12, "xxh3_128": "%032x" % 2, "key_group_first": 0,
             "key_group_count": 0}])
        self.assertTrue(tasks[3]["ended"])

    def test_verify(self):
        self.on(verify=R(verified=admin.VerifyResult(artifacts=4, bytes=5 << 20)))
        self.assertEqual(self.text("snapshot", "verify", "17"),
                         "snapshot 17 is good: 4 artifacts, 5.0 MiB read\n")
        self.assertEqual(self.json("snapshot", "verify", "17"), {
            "snapshot": 17, "ok": True, "artifacts": 4, "bytes": 5 << 20, "problem_count": 0, "problems": []})

    def test_verify_finds_damage(self):
        self.on(verify=R(verified=admin.VerifyResult(
            artifacts=4, bytes=9, problem_count=1,
            problems=[admin.VerifyProblem(task=1, path=b"t1-0", problem=b"size 10 instead of 12")])))
        out = self.text("snapshot", "verify", "17", code=1,
                        err="tidemark: snapshot 17 is damaged: 1 problem in 4 artifacts\n")
        self.assertEqual(out, "task 1: t1-0: size 10 instead of 12\n")
        doc = self.json("snapshot", "verify", "17", code=1)
        self.assertEqual((doc["ok"], doc["problems"]),
                         (False, [{"task": 1, "path": "t1-0", "problem": "size 10 instead of 12"}]))

    def test_lineage(self):
        steps = [admin.LineageStep(info=s.snapshot(17, parent=12), relation=b"follows"),
                 admin.LineageStep(info=s.savepoint(12, parent=3), relation=b"restored-from"),
                 admin.LineageStep(info=s.snapshot(3, parent=0, state=b"deleted"))]
        self.on(lineage=R(lineage=admin.LineageList(steps=steps)))
        self.assertEqual(self.text("lineage", "17"),
                         "SNAPSHOT  JOB        KIND        COMPLETED         STATE        SIZE  FROM\n"
                         "      17  wordcount  checkpoint  2026-01-02 00:00  retained  5.0 MiB  follows 12\n"
                         "      12  wordcount  savepoint   2026-01-02 00:00  retained  5.0 MiB  restored from 3\n"
                         "       3  wordcount  checkpoint  2026-01-02 00:00  deleted   5.0 MiB  the start\n")
        self.assertEqual((self.fake.seen[-1][1].snapshot, self.fake.seen[-1][1].job), (17, b""))
        doc = self.json("lineage", "wordcount")
        self.assertEqual((self.fake.seen[-1][1].snapshot, self.fake.seen[-1][1].job), (0, b"wordcount"))
        self.assertEqual([x["relation"] for x in doc["lineage"]], ["follows", "restored-from", None])
        self.json("lineage", "1" * 32)  # a job's id, though all of its digits are decimal
        self.assertEqual(self.fake.seen[-1][1].job, b"1" * 32)


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
                         (common.PEER_ADMIN, 1, 1, b""))

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
            "begun_wall_us": s.T0, "ended_wall_us": s.T0 + 2 * s.S}})

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
                         "Begun           2026-01-02 00:00:00 (AGE ago)\n"
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
        begun = time.monotonic()
        r = self.tidemark("savepoint", "w", "--timeout", "400ms", code=1)
        self.assertLess(time.monotonic() - begun, 5)
        self.assertRegex(r.stderr.decode(), r"^tidemark: the savepoint has not ended after \d+ ms; "
                                            r"'tidemark operation 7 --wait' goes on waiting\n$")
        self.assertEqual(self.json("savepoint", "w", "--timeout", "100ms", code=1)["error"]["code"], "timeout")

    def test_timeout_with_the_daemon_away(self):
        def wait(call, request):
            threading.Thread(target=self.fake.stop).start()
            raise f.HangUp

        self.on(wait=wait)
        r = self.tidemark("savepoint", "w", "--timeout", "500ms", code=1)
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
        asked.wait(10)
        time.sleep(0.1)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=10)
        self.assertEqual((p.returncode, out, err), (
            -signal.SIGINT, b"", b"tidemark: interrupted; the savepoint goes on by itself: "
                                 b"'tidemark operation 7 --wait' goes on waiting\n"))

    def on_terminal(self, *args, columns=80):
        """Everything that the program writes to a terminal."""
        master, slave = pty.openpty()
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
        self.assertEqual(p.wait(10), 0, out)
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
        self.on(list_jobs=R(jobs=admin.JobList(jobs=[s.summary(b"j" * 100)])))
        lines = self.on_terminal("jobs", columns=60).replace("\r", "").splitlines()
        self.assertEqual(max(map(len, lines)), 60)
        self.assertRegex(lines[1], r"^j+\.\.  RUNNING ")
        self.assertIn("j" * 100, self.text("jobs"))  # not a terminal: nothing is cut


class Failures(Case):
    def test_no_daemon(self):
        self.fake.stop()
        for args in (["jobs"], ["savepoint", "w"], ["operation", "7", "--wait"], ["snapshot", "verify", "1"]):
            self.failure("unreachable", "cannot connect to %s: Connection refused; is tidemarkd running?"
                         % self.fake.address(), *args)
        self.fake.start()

    def test_the_daemons_errors(self):
        for code, name in ((admin.ERROR_NOT_FOUND, "not_found"), (admin.ERROR_INVALID, "invalid"),
                           (admin.ERROR_STATE, "state"), (admin.ERROR_BUSY, "busy"),
                           (admin.ERROR_INTERNAL, "internal"), (admin.ERROR_UNSUPPORTED, "unsupported"),
                           (77, "internal")):
            self.on(**{n: f.error(code, "there is no job 'x'") for n in (
                "list_jobs", "show_job", "savepoint", "checkpoint", "wait", "snapshots", "snapshot", "verify",
                "lineage", "rounds", "status")})
            commands = (["job", "show", "x"],) if name != "not_found" else (
                ["jobs"], ["job", "show", "x"], ["savepoint", "x"], ["checkpoint", "x"], ["operation", "9"],
                ["operation", "9", "--wait"], ["snapshots", "x"], ["snapshot", "show", "9"],
                ["snapshot", "show", "9", "--tasks"], ["snapshot", "verify", "9"], ["lineage", "x"],
                ["rounds", "x"], ["status"])
            for args in commands:
                self.failure(name, "there is no job 'x'", *args)

    def test_secret(self):
        path = os.path.join(self.tmp.name, "secret")
        with open(path, "w") as out:
            out.write("open sesame\n")
        os.chmod(path, 0o600)
        self.fake.secret = b"open sesame"
        self.on(list_jobs=R(jobs=admin.JobList()))
        self.assertEqual(self.json("jobs", "--secret-file", path), {"jobs": []})
        r = run("jobs", "--json", env=environment(TIDEMARK_CONNECT=self.fake.address(), TIDEMARK_SECRET_FILE=path))
        self.assertEqual(check_json(r.stdout), {"jobs": []})
        peer = self.fake.address()
        self.failure("refused", peer + " refuses: the secret is missing or wrong; give it by --secret-file", "jobs")
        with open(path, "w") as out:
            out.write("wrong\n")
        self.failure("refused", peer + " refuses: the secret is missing or wrong; check --secret-file",
                     "jobs", "--secret-file", path)
        os.chmod(path, 0o604)
        self.failure("setup", "the secret in %s can be read by everyone: chmod o-rwx it" % path,
                     "jobs", "--secret-file", path)
        self.failure("setup", "cannot read the secret in %s-: No such file or directory" % path,
                     "jobs", "--secret-file", path + "-")
        os.truncate(path, 0)
        self.failure("setup", "the secret's file %s is empty" % path, "jobs", "--secret-file", path)

    def test_data_directory(self):
        self.on(list_jobs=R(jobs=admin.JobList()))
        port = os.path.join(self.tmp.name, "port")
        r = run("jobs", "--data", self.tmp.name)
        self.assertEqual((r.returncode, r.stderr.decode()), (
            1, "tidemark: cannot read %s: No such file or directory; "
               "is tidemarkd running on this data directory?\n" % port))
        f.write_port(self.fake, self.tmp.name)
        self.assertEqual(run("jobs", "--json", "--data", self.tmp.name).returncode, 0)
        with open(port, "w") as out:
            out.write(self.fake.address() + "\n")
        self.assertEqual(run("jobs", "--json", "--data", self.tmp.name).returncode, 0)
        for nonsense in ("", "x", "0", "70000", "9" * 1000):
            with open(port, "w") as out:
                out.write(nonsense)
            r = run("jobs", "--data", self.tmp.name)
            self.assertEqual((r.returncode, r.stdout), (1, b""), r.stderr)
            self.assertIn(port.encode(), r.stderr)

    def test_a_silent_daemon(self):
        self.on(list_jobs=lambda call, request: time.sleep(3) or R(jobs=admin.JobList()))
        self.failure("timeout", "no answer from %s in time; see --timeout" % self.fake.address(),
                     "jobs", "--timeout", "200ms")
        self.fake.handlers["hello"] = lambda hello, c: time.sleep(3)
        self.failure("timeout", "no answer from %s in time; see --timeout" % self.fake.address(),
                     "jobs", "--timeout", "200ms")

    def test_a_daemon_that_hangs_up(self):
        def hang_up(*_):
            raise f.HangUp
        self.on(list_jobs=hang_up)
        text = "the connection to %s broke: the daemon closed it" % self.fake.address()
        self.failure("unreachable", text, "jobs")
        self.fake.handlers["hello"] = hang_up
        self.failure("unreachable", text, "jobs")

    def test_what_is_not_the_protocol(self):
        peer = self.fake.address()
        for data, text in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", "%s sends frames that are too long: is it tidemarkd?"),
                           (b"\x03\0\0\0\xff\xff\xff",
                            "what %s answers is not Tidemark's protocol (the peer broke the protocol): is it tidemarkd?"),
                           (b"\0\0\0\0", "%s does not answer as tidemarkd does")):
            def garbage(hello, c, data=data):
                c.sendall(data)
                raise f.HangUp
            self.fake.handlers["hello"] = garbage
            self.failure("protocol", text % peer, "jobs")
        del self.fake.handlers["hello"]
        self.on(list_jobs=R(status=s.status()), wait=R(jobs=admin.JobList()), show_job=R(job=admin.JobDetail()),
                snapshot=R(snapshot=admin.SnapshotDetail()))
        self.failure("protocol", peer + " gave an answer that does not fit the question", "jobs")
        self.failure("protocol", peer + " gave an answer that does not fit the question", "operation", "7", "--wait")
        self.failure("protocol", "the daemon's answer about the job is empty", "job", "show", "x")
        self.failure("protocol", "the daemon's answer about the snapshot is empty", "snapshot", "show", "1")

    def test_a_late_answer_is_passed_over(self):
        def late(call, request):
            old = R(id=99, jobs=admin.JobList(jobs=[s.summary(b"old")])).SerializeToString()
            new = R(id=request.id, jobs=admin.JobList(jobs=[s.summary(b"new")])).SerializeToString()
            return b"".join(struct.pack("<I", len(x)) + x for x in (old, new))
        self.on(list_jobs=late)
        self.assertEqual([j["name"] for j in self.json("jobs")["jobs"]], ["new"])

    def test_another_version(self):
        def welcome(hello, c):
            f.Fake.send(c, R(welcome=common.Welcome(version=2, store_id=f.STORE)))
            raise f.HangUp
        self.fake.handlers["hello"] = welcome
        self.failure("protocol", "%s speaks version 2 of the protocol, this program 1" % self.fake.address(), "jobs")

    def test_hostile_text(self):
        name = b'a"\\\x1b[31m\n\xff\xc2\x9b\xe2\x82\xac\x7f\xed\xa0\x80/'
        self.on(list_jobs=R(jobs=admin.JobList(jobs=[s.summary(name, cause=b"line\none")])))
        out = self.text("jobs")
        self.assertIn('a"\\\\x1b[31m\\x0a\\xff\\xc2\\x9b€\\x7f\\xed\\xa0\\x80/', out)
        self.assertIn("    line\\x0aone\n", out)
        self.assertEqual(len(re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", out)), 0)
        self.assertEqual(self.json("jobs")["jobs"][0]["name"], 'a"\\\x1b[31m\n\ufffd\x9b€\x7f\ufffd\ufffd\ufffd/')
        self.on(list_jobs=f.error(admin.ERROR_INTERNAL, "a\x1b]0;b\x07"))
        self.failure("internal", "a\\x1b]0;b\\x07", "jobs")

    def test_a_large_answer(self):
        jobs = [s.summary(b"job-%d" % i) for i in range(60000)]
        self.on(list_jobs=R(jobs=admin.JobList(jobs=jobs)))
        self.assertEqual(len(self.json("jobs")["jobs"]), 60000)

    def test_full_disk(self):
        self.on(list_jobs=R(jobs=admin.JobList(jobs=[s.summary()])))
        for more in ([], ["--json"]):
            with open("/dev/full", "wb") as full:
                r = subprocess.run([PROGRAM, "jobs", "--connect", self.fake.address(), *more], stdout=full,
                                   stderr=subprocess.PIPE)
            self.assertEqual((r.returncode, r.stderr),
                             (1, b"tidemark: cannot write the answer: No space left on device\n"))


class Misuse(Case):
    def test_command_line(self):
        for text, *args in (
                ("a command is missing; see 'tidemark --help'",),
                ("unknown command 'job-s'; see 'tidemark --help'", "job-s"),
                ("'job' needs a further word: job show", "job"),
                ("'snapshot' needs a further word: snapshot show or verify", "snapshot"),
                ("unknown command 'snapshot drop': expected snapshot show or verify", "snapshot", "drop", "1"),
                ("JOB is missing: tidemark job show JOB", "job", "show"),
                ("JOB is missing: tidemark savepoint JOB", "savepoint"),
                ("JOB is empty: tidemark savepoint JOB", "savepoint", ""),
                ("ID is missing: tidemark snapshot verify ID", "snapshot", "verify"),
                ("ID|JOB is missing: tidemark lineage ID|JOB", "lineage"),
                ("'more' is too much: tidemark jobs", "jobs", "more"),
                ("'b' is too much: tidemark rounds JOB", "rounds", "a", "b"),
                ("too many arguments", *"abcdefghi"),
                ("unknown option '--frobnicate'; see 'tidemark --help'", "jobs", "--frobnicate"),
                ("unknown option '-x'; see 'tidemark --help'", "-x", "jobs"),
                ("--json takes no value", "jobs", "--json=yes"),
                ("--timeout needs a value: --timeout TIME", "jobs", "--timeout"),
                ("--connect needs a value: --connect HOST:PORT", "jobs", "--connect="),
                ("--detach does not go with this command; see 'tidemark jobs --help'", "jobs", "--detach"),
                ("--target does not go with this command; see 'tidemark checkpoint --help'",
                 "checkpoint", "w", "--target", "/x"),
                ("--tasks does not go with this command; see 'tidemark snapshot verify --help'",
                 "snapshot", "verify", "1", "--tasks"),
                ("--timeout '5 parsecs' is not a time: give 10 or 10s, 500ms, 5m, 1h", "jobs", "--timeout", "5 parsecs"),
                ("--timeout '0' is not a time: give 10 or 10s, 500ms, 5m, 1h", "jobs", "--timeout", "0"),
                ("--timeout '99999999999999h' is not a time: give 10 or 10s, 500ms, 5m, 1h",
                 "jobs", "--timeout", "99999999999999h"),
                ("--limit 'x' is not a number above 0", "rounds", "w", "--limit", "x"),
                ("--limit '99999999999999999999' is not a number above 0",
                 "rounds", "w", "--limit", "99999999999999999999"),
                ("--key is longer than 64 bytes", "checkpoint", "w", "--key", "k" * 65),
                ("--label is longer than 255 bytes", "savepoint", "w", "--label", "k" * 256),
                ("--label is not UTF-8", "savepoint", "w", "--label", b"\xff"),
                ("--key is not UTF-8", "savepoint", "w", "--key", b"\xff"),
                ("give --connect or --data, not both", "jobs", "--connect", "a:1", "--data", "/x"),
                ("'x' is not the number of a snapshot: see 'tidemark snapshots'", "snapshot", "show", "x"),
                ("'0' is not the number of a snapshot: see 'tidemark snapshots'", "snapshot", "verify", "0"),
                ("'-' is not the number of an operation", "operation", "-"),
                ("0 is not the number of a snapshot", "lineage", "0")):
            with self.subTest(args=args):
                self.misuse(text, *args)

    def test_address(self):
        for address in ("localhost", ":1", "a:", "a:0", "a:65536", "a:1x", "::1:7460", "[::1]", "[]:1", "h" * 300 + ":1"):
            with self.subTest(address=address):
                r = run("jobs", "--connect", address)
                self.assertEqual((r.returncode, r.stdout), (2, b""))
                self.assertIn(b"is not an address: give HOST:PORT or [IPV6]:PORT", r.stderr)
        self.assertEqual(run("jobs", env=environment(TIDEMARK_CONNECT="nonsense")).returncode, 2)
        self.assertEqual(run("jobs", "--connect", "[::1]:1").returncode, 1)

    def test_options_may_stand_anywhere(self):
        self.on(list_jobs=R(jobs=admin.JobList()), show_job=R(job=s.job_detail()))
        r = run("--json", "--connect=" + self.fake.address(), "jobs")
        self.assertEqual((r.returncode, check_json(r.stdout)), (0, {"jobs": []}))
        r = run("job", "--connect", self.fake.address(), "show", "--json", "--", "--odd")
        self.assertEqual((r.returncode, self.fake.seen[-1][1].job), (0, b"--odd"))
        r = run("jobs", "--json", env=environment(TIDEMARK_CONNECT=self.fake.address()))
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_help(self):
        r = run("--help")
        self.assertEqual((r.returncode, r.stderr), (0, b""))
        commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?)[ \n]", r.stdout.decode().split("\n\n")[2], re.M)
        self.assertEqual(len(commands), 11)
        for text in [r.stdout] + [run(*c.split(), "--help").stdout for c in commands]:
            self.assertLess(max(len(line) for line in text.decode().splitlines()), 89)
            self.assertIn(b"--secret-file FILE", text)
        self.assertEqual(run("-h").stdout, r.stdout)
        self.assertIn(b"--detach", run("savepoint", "-h").stdout)
        self.assertNotIn(b"--detach", run("jobs", "-h").stdout)
        self.assertRegex(run("--version").stdout, rb"^tidemark \d+\.\d+\.\d+\n$")


class Completion(Case):
    """The completion script of bash, asked as bash asks it."""

    def complete(self, *words, env=None):
        script = os.path.join(os.path.dirname(__file__), "../../client/cli/tidemark.bash")
        line = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tidemark; printf "%s\\n" "${COMPREPLY[@]}"'
        env = env or environment()
        env["PATH"] = os.path.dirname(PROGRAM) + ":" + env["PATH"]
        r = subprocess.run(["bash", "-c", line, script, *words], capture_output=True, env=env, timeout=20)
        self.assertEqual((r.returncode, r.stderr), (0, b""))
        return r.stdout.decode().split()

    def test_words(self):
        self.assertEqual(set(self.complete("tidemark", "")), {
            "jobs", "job", "savepoint", "checkpoint", "snapshots", "snapshot", "lineage", "rounds", "operation",
            "status"})
        self.assertEqual(self.complete("tidemark", "snapshot", ""), ["show", "verify"])
        self.assertEqual(self.complete("tidemark", "st"), ["status"])
        self.assertIn("--detach", self.complete("tidemark", "savepoint", "w", "--"))
        self.assertNotIn("--detach", self.complete("tidemark", "jobs", "--"))

    def test_every_option_of_the_help_is_completed(self):
        for command in ("jobs", "job show", "savepoint", "checkpoint", "snapshots", "snapshot show",
                        "snapshot verify", "lineage", "rounds", "operation", "status"):
            help_text = run(*command.split(), "--help").stdout.decode()
            self.assertEqual(set(self.complete("tidemark", *command.split(), "--")),
                             set(re.findall(r"^ +(?:-h, )?(--[a-z-]+)", help_text, re.M)), command)

    def test_jobs(self):
        self.on(list_jobs=R(jobs=admin.JobList(jobs=[s.summary(), s.summary(b"other")])))
        env = environment(TIDEMARK_CONNECT=self.fake.address())
        self.assertEqual(self.complete("tidemark", "savepoint", "", env=env), ["wordcount", "other"])
        self.assertEqual(self.complete("tidemark", "job", "show", "wo", env=env), ["wordcount"])


if __name__ == "__main__":
    unittest.main(verbosity=1, warnings="error")

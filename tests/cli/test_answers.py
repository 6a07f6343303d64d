"""What the commands that only ask print, in text and in JSON."""
import re

from proto import admin_pb2 as admin
from proto import common_pb2 as common

import samples as s
from base import Case

R = admin.Response


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
                         "b          HELD           -    3/4              -  -\n"
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
                     "   18  collecting  2026-01-02 00:00     -   100 us     -       -    1/4     -  checkpoint      -          -"):
            self.assertIn(line + "\n", out)
        self.assertEqual(self.fake.seen[-1][1].job, b"wordcount")

    def test_job_show_json(self):
        self.on(show_job=R(job=s.job_detail()))
        job = self.json("job", "show", "wordcount")["job"]
        self.assertEqual(job["spec"]["operators"][1], {"uid": "count", "parallelism": 2, "max_parallelism": 0, "coordinator": False})
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

    def test_regions(self):
        detail = s.job_detail()
        detail.spec.checkpointing.regional = True
        detail.regions_count = 2
        detail.regions.add(tasks=[common.TaskRange(first=0, count=1)], state=b"running", since=3, starts=5)
        detail.regions.add(tasks=[common.TaskRange(first=1, count=1)], state=b"waiting")
        self.on(show_job=R(job=detail))
        out = self.text("job", "show", "wordcount")
        self.assertIn("Failover", out)
        self.assertRegex(out, r"REGION  STATE    SINCE  STARTS  TASKS\n +0  running +3 +5  \S+\n +1  waiting +- +0  \S+\n")
        job = self.json("job", "show", "wordcount")["job"]
        self.assertEqual((job["region_count"], job["regions"]), (2, [
            {"tasks": [{"first": 0, "count": 1}], "state": "running", "since": 3, "starts": 5},
            {"tasks": [{"first": 1, "count": 1}], "state": "waiting", "since": 0, "starts": 0}]))

    def test_externals(self):
        detail = s.job_detail()
        coordinator = common.External(kind=common.EXTERNAL_COORDINATOR, name=b"source")
        lock = common.External(kind=common.EXTERNAL_HOOK, name=b"lock")
        detail.spec.hooks.append(b"lock")
        detail.externals.add(external=coordinator, worker=b"w1", state=b"running")
        detail.externals.add(external=lock, state=b"missing")
        self.on(show_job=R(job=detail))
        out = self.text("job", "show", "wordcount")
        self.assertIn("PART                       STATE    WORKER\n"
                      "the coordinator of source  running  w1\n"
                      "hook lock                  missing  -\n", out)
        job = self.json("job", "show", "wordcount")["job"]
        self.assertEqual(job["spec"]["hooks"], ["lock"])
        self.assertEqual(job["externals"], [
            {"kind": "coordinator", "name": "source", "worker": "w1", "state": "running"},
            {"kind": "hook", "name": "lock", "worker": None, "state": "missing"}])
        r = s.aborted_round()
        del r.held_by[:]
        r.held_by.add(external=lock, worker=b"w2", phase=b"has not answered")
        r.held_by_count = 1
        self.on(rounds=R(rounds=admin.RoundList(rounds=[r])))
        self.assertIn("    held by hook lock on w2: has not answered\n", self.text("rounds", "x"))
        self.assertEqual(self.json("rounds", "x")["rounds"][0]["held_by"][0], {
            "task": None, "operator": None, "subtask": None, "external": {"kind": "hook", "name": "lock"},
            "worker": "w2", "phase": "has not answered"})

    def test_job_without_a_usable_spec_is_shown_by_task_numbers(self):
        detail = s.job_detail()
        del detail.spec.operators[:]
        self.on(show_job=R(job=detail))
        self.assertIn("Missing         task/2\n", self.text("job", "show", "x"))
        self.json("job", "show", "x")

    def test_rounds(self):
        self.on(rounds=R(rounds=admin.RoundList(rounds=[s.open_round(), s.complete_round(), s.aborted_round()])))
        self.assertEqual(self.text("rounds", "wordcount"),
                         "ROUND  STATE       BEGUN (UTC)         TOOK  TRIGGER    ACKS  COMMIT  ACKED     SIZE  KIND         ALIGN  IN FLIGHT\n"
                         "   18  collecting  2026-01-02 00:00       -   100 us       -       -    1/4        -  checkpoint       -          -\n"
                         "   17  complete    2026-01-02 00:00  123 ms   100 us  120 ms  300 us    4/4  4.0 KiB  checkpoint  110 ms          -\n"
                         "   16  aborted     2026-01-02 00:00    10 s   100 us       -       -    2/4        -  checkpoint       -          -\n"
                         "    not all tasks acked within 10 s\n"
                         "    held by count/1 on w2: aligning, 1 channel missing\n"
                         "    held by sink/0 on w2: waiting for the first barrier\n")

    def test_rounds_that_do_not_wait(self):
        rounds = [s.complete_round(20, alignment=3, unaligned=True, turned_us=210000, processed_bytes=9000,
                                   persisted_bytes=2048),
                  s.complete_round(19, alignment=3, align_us=5), s.complete_round(18, alignment=2, unaligned=True),
                  s.complete_round(17, alignment=1, kind=2)]
        self.on(rounds=R(rounds=admin.RoundList(rounds=rounds)))
        lines = [line.split("4/4  ")[1] for line in self.text("rounds", "w").splitlines()[1:]]
        self.assertEqual(lines, ["4.0 KiB  checkpoint, unaligned after 210 ms  110 ms    2.0 KiB",
                                 "4.0 KiB  checkpoint                            5 us          -",
                                 "4.0 KiB  checkpoint, unaligned               110 ms          -",
                                 "4.0 KiB  savepoint, at least once            110 ms          -"])
        doc = self.json("rounds", "w")["rounds"]
        self.assertEqual([(r["alignment"], r["unaligned"], r["turned_us"]) for r in doc],
                         [("aligned with timeout", True, 210000), ("aligned with timeout", False, None),
                          ("unaligned", True, None), ("at least once", False, None)])
        self.assertEqual((doc[0]["processed_bytes"], doc[0]["persisted_bytes"]), (9000, 2048))

    def test_rounds_json(self):
        self.on(rounds=R(rounds=admin.RoundList(rounds=[s.complete_round(), s.aborted_round()])))
        doc = self.json("rounds", "wordcount")
        self.assertEqual(doc["rounds"][0], {
            "round": 17, "job": "wordcount", "kind": "checkpoint", "style": "flow", "alignment": "aligned",
            "unaligned": False, "align_us": 110000, "turned_us": None, "processed_bytes": 0, "persisted_bytes": 0,
            "state": "complete", "incarnation": 1,
            "attempt": 3, "operation": None, "begun_wall_us": s.T0 + 17 * s.S,
            "ended_wall_us": s.T0 + 17 * s.S + 123456, "tasks": 4, "acked": 4, "trigger_us": 100,
            "acks_us": 120000, "commit_us": 300, "notify_us": 80, "bytes": 4096, "reason": None,
            "code": None, "counted": False, "held_by": [], "held_by_count": 0})
        self.assertEqual(doc["rounds"][1]["held_by"][0], {
            "task": 1, "operator": "count", "subtask": 1, "external": None, "worker": "w2",
            "phase": "aligning, 1 channel missing"})
        self.assertEqual((doc["rounds"][1]["reason"], doc["more"]), ("not all tasks acked within 10 s", False))
        self.assertEqual((doc["rounds"][1]["code"], doc["rounds"][1]["counted"]), ("deadline", True))

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
                     "Started         2026-01-02 00:00:00 UTC (AGE ago)",
                     "Connections     3, 2 of them workers; 1 refused", "Rounds          16 complete, 2 aborted",
                     "Commits         40, 0 waiting", "Deleting        1, 0 tries failed",
                     "Memory          12.0 MiB", "Loop lag        p50 below 1.0 ms, p99 below 1.0 ms, max 45.7 ms"):
            self.assertIn(line + "\n", out)
        self.assertRegex(out, r"\nwordcount  RUNNING    17  +\d+ d( \d+ h)?  120 ms  4.0 KiB    16       2\n")

    def test_status_json_has_the_known_gauges(self):
        self.on(status=R(status=s.status()))
        doc = self.json("status")["status"]
        self.assertEqual(doc["jobs"][0]["gauges"], {
            "lastCheckpointDuration": 120, "lastCheckpointSize": 4096, "lastCheckpointFullSize": 8192,
            "lastCheckpointProcessedData": 512, "lastCheckpointPersistedData": 64,
            "lastCompletedCheckpointId": 17, "lastCheckpointCompletedTimestamp": s.T0 // 1000 + 60000,
            "lastCheckpointExternalPath": "/state/a1-1/r17", "lastCheckpointRestoreTimestamp": -1,
            "numberOfInProgressCheckpoints": 1, "numberOfCompletedCheckpoints": 16,
            "numberOfFailedCheckpoints": 2, "totalNumberOfCheckpoints": 19, "skippedPeriodicTriggers": 3,
            "numberOfRestoredCheckpoints": 1, "failuresInARow": 2})
        self.assertEqual((doc["jobs"][1]["gauges"]["lastCompletedCheckpointId"],
                          doc["jobs"][1]["gauges"]["lastCheckpointExternalPath"]), (-1, "n/a"))
        self.assertEqual([doc["loop_lag_%s_us" % q] for q in ("p50", "p99", "max")], [1000, 1000, 45678])
        self.assertEqual((doc["loop_lag"][2], doc["rss_bytes"], doc["store_id"]),
                         ({"below_us": None, "count": 1}, 12 << 20, bytes(range(16)).hex()))


    def test_status_verbose_shows_the_histogram(self):
        self.on(status=R(status=s.status()))
        self.assertIn("LAG BELOW  TURNS     %%\n"
                      "   1.0 ms    990  99.0  %s\n"
                      "  10.0 ms      9   0.9  #\n"
                      "     more      1   0.1  #\n" % ("#" * 40),
                      re.sub(r"% +\n", "%\n", self.text("status", "--verbose")))

    def test_counts_that_no_daemon_can_have_counted(self):
        odd = s.status()
        odd.loop_lag[0].count = odd.loop_lag[1].count = 1 << 63
        self.on(status=R(status=odd))
        self.assertIn("   1.0 ms  9223372036854775808  50.0  %s\n" % ("#" * 20), self.text("status", "--verbose"))

    def test_the_lag_of_a_loop_that_has_not_turned(self):
        quiet = s.status()
        quiet.loop_lag_max_us = 0
        for bucket in quiet.loop_lag:
            bucket.count = 0
        self.on(status=R(status=quiet))
        self.assertNotIn("lag", self.text("status", "--verbose").lower())
        self.assertEqual(self.json("status")["status"]["loop_lag_p99_us"], 0)


class Snapshots(Case):
    def test_list(self):
        self.on(snapshots=R(snapshots=admin.SnapshotList(snapshots=[s.snapshot(), s.savepoint()])))
        self.assertEqual(self.text("snapshots"),
                         "SNAPSHOT  JOB        KIND        COMPLETED (UTC)   STATE        SIZE  LABEL\n"
                         "      17  wordcount  checkpoint  2026-01-02 00:00  retained  5.0 MiB  -\n"
                         "      12  wordcount  savepoint   2026-01-02 00:00  retained  5.0 MiB  before the upgrade\n")
        self.assertEqual((self.fake.seen[-1][1].job, self.fake.seen[-1][1].deleted), (b"", False))
        doc = self.json("snapshots", "wordcount", "--all")
        self.assertEqual((self.fake.seen[-1][1].job, self.fake.seen[-1][1].deleted), (b"wordcount", True))
        self.assertEqual(doc["snapshots"][1], {
            "snapshot": 12, "job": "wordcount", "kind": "savepoint", "style": "flow", "state": "retained", "owner": "user",
            "label": "before the upgrade", "directory": "/save/savepoint-001122-12", "parent": 11,
            "incarnation": 1, "attempt": 3, "begun_wall_us": s.T0 + 12 * s.S,
            "completed_wall_us": s.T0 + 12 * s.S + 123456, "tasks": 4, "artifacts": 4, "bytes": 5 << 20,
            "manifest_bytes": 300, "owed": 0, "imported": False})
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
                         "Completed       2026-01-02 00:00:12 UTC (AGE ago)\n"
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
        self.assertIn("   1  count/1   1.0 MiB      64-127  counts  t1-0      12.3 ms  90 us    2 s\n"
                      "   1  count/1      12 B           -  -       (inline)        -      -      -\n", out)
        self.assertIn("   3  count/3     ended           -  -       -               -      -      -\n", out)
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

    def test_retention(self):
        detail = s.job_detail()
        detail.spec.checkpointing.retained = 2
        detail.spec.checkpointing.retained_mib = 12
        self.on(show_job=R(job=detail), snapshots=R(snapshots=admin.SnapshotList(snapshots=[
            s.snapshot(19), s.snapshot(18, state=b"deleting"), s.snapshot(17), s.savepoint(12), s.snapshot(11), s.snapshot(10, owed=1)])))
        self.assertEqual(self.text("retention", "wordcount", err="what goes is deleted when the next checkpoint completes\n"),
                         "SNAPSHOT  KIND        COMPLETED (UTC)      SIZE  NEXT   WHY\n"
                         "      19  checkpoint  2026-01-02 00:00  5.0 MiB  stays  the newest, of the least number, of the latest\n"
                         "      17  checkpoint  2026-01-02 00:00  5.0 MiB  stays  of the latest\n"
                         "      12  savepoint   2026-01-02 00:00  5.0 MiB  stays  yours: never deleted by the system\n"
                         "      11  checkpoint  2026-01-02 00:00  5.0 MiB  goes   nothing wants it\n"
                         "      10  checkpoint  2026-01-02 00:00  5.0 MiB  stays  commits are owed from it, too many bytes\n")
        doc = self.json("retention", "wordcount")["retention"]
        self.assertEqual([(x["snapshot"], x["stays"], x["why"]) for x in doc], [
            (19, True, ["newest", "least", "latest"]), (17, True, ["latest"]), (12, True, ["user"]), (11, False, []),
            (10, True, ["owed", "bytes"])])

    def test_lineage(self):
        steps = [admin.LineageStep(info=s.snapshot(17, parent=12), relation=b"follows"),
                 admin.LineageStep(info=s.savepoint(12, parent=3), relation=b"restored-from"),
                 admin.LineageStep(info=s.snapshot(3, parent=0, state=b"deleted"))]
        self.on(lineage=R(lineage=admin.LineageList(steps=steps)))
        self.assertEqual(self.text("lineage", "17"),
                         "SNAPSHOT  JOB        KIND        COMPLETED (UTC)   STATE        SIZE  FROM\n"
                         "      17  wordcount  checkpoint  2026-01-02 00:00  retained  5.0 MiB  follows 12\n"
                         "      12  wordcount  savepoint   2026-01-02 00:00  retained  5.0 MiB  restored from 3\n"
                         "       3  wordcount  checkpoint  2026-01-02 00:00  deleted   5.0 MiB  the start\n")
        self.assertEqual((self.fake.seen[-1][1].snapshot, self.fake.seen[-1][1].job), (17, b""))
        doc = self.json("lineage", "wordcount")
        self.assertEqual((self.fake.seen[-1][1].snapshot, self.fake.seen[-1][1].job), (0, b"wordcount"))
        self.assertEqual([x["relation"] for x in doc["lineage"]], ["follows", "restored-from", None])
        self.json("lineage", "1" * 32)  # a job's id, though all of its digits are decimal
        self.assertEqual(self.fake.seen[-1][1].job, b"1" * 32)

"""--json: each command's document has exactly the members that tidemark(1) lists."""
import re
import unittest

from proto import admin_pb2 as admin

import fake as f
import samples as s
import schema
from base import Case, read

R = admin.Response

ARGUMENTS = {
    "jobs": (), "job show": ("w",), "savepoint": ("w",), "checkpoint": ("w",), "operation": ("7",),
    "hold": ("w",), "release": ("w",), "stop": ("w",), "cancel": ("w",), "snapshot dispose": ("17",),
    "restore": ("w", "--latest"), "snapshot import": ("w", "--from", "/a"),
    "snapshot export": ("17", "/b"),
    "snapshots": (), "snapshot show": ("12",), "snapshot show --tasks": ("12",), "snapshot verify": ("17",),
    "lineage": ("17",), "retention": ("w",), "rounds": ("w",), "status": ()}


class Json(Case):
    def answers(self):
        steps = [admin.LineageStep(info=s.snapshot(17, parent=12), relation=b"follows"),
                 admin.LineageStep(info=s.savepoint(12, parent=0))]
        self.on(list_jobs=R(jobs=admin.JobList(jobs=[s.summary(), s.summary(b"b", attempt=0, last_complete=0)])),
                show_job=R(job=s.job_detail()), savepoint=R(operation=s.operation(b"done")),
                hold=R(operation=s.order(b"hold")), release=R(operation=s.order(b"release")),
                stop=R(operation=s.operation(b"done", kind=b"stop")), cancel=R(operation=s.order(b"cancel")),
                dispose=R(operation=s.order(b"dispose", snapshot=17)),
                restore=R(operation=s.order(b"restore", report=[b"a: restored", b"b: new"])),
                export_snapshot=R(operation=s.order(b"export", snapshot=17, location=b"/b")),
                import_snapshot=R(operation=s.order(b"import", snapshot=18, report=[b"a: restored"])),
                checkpoint=R(operation=s.operation(b"done", location=b"")), wait=R(operation=s.operation()),
                snapshots=R(snapshots=admin.SnapshotList(snapshots=[s.snapshot(), s.savepoint()])),
                snapshot=R(snapshot=admin.SnapshotDetail(info=s.savepoint(), tasks=s.snapshot_tasks(0, 4))),
                verify=R(verified=admin.VerifyResult(artifacts=4, bytes=9)),
                lineage=R(lineage=admin.LineageList(steps=steps)),
                rounds=R(rounds=admin.RoundList(rounds=[s.open_round(), s.complete_round(), s.aborted_round()])),
                status=R(status=s.status()))

    def test_forms(self):
        self.answers()
        self.assertEqual(set(ARGUMENTS), set(schema.FORMS))
        for command, form in schema.FORMS.items():
            with self.subTest(command=command):
                schema.check(self.json(*command.split(), *ARGUMENTS[command]), form)

    def test_forms_of_what_is_empty(self):
        """As little as a daemon can answer: absent members become null, none is left out."""
        empty = admin.SnapshotInfo(snapshot=1)
        self.on(list_jobs=R(jobs=admin.JobList(jobs=[admin.JobSummary(id=s.ID)])),
                show_job=R(job=admin.JobDetail(summary=admin.JobSummary(id=s.ID))),
                savepoint=R(operation=admin.Operation(id=1, state=b"done")),
                checkpoint=R(operation=admin.Operation(id=1, state=b"done")),
                hold=R(operation=admin.Operation(id=1, state=b"done")),
                release=R(operation=admin.Operation(id=1, state=b"done")),
                stop=R(operation=admin.Operation(id=1, state=b"done")),
                cancel=R(operation=admin.Operation(id=1, state=b"done")),
                dispose=R(operation=admin.Operation(id=1, state=b"done")),
                restore=R(operation=admin.Operation(id=1, state=b"done")),
                import_snapshot=R(operation=admin.Operation(id=1, state=b"done")),
                export_snapshot=R(operation=admin.Operation(id=1, state=b"done")),
                wait=R(operation=admin.Operation(id=1)), verify=R(verified=admin.VerifyResult()),
                snapshots=R(snapshots=admin.SnapshotList(snapshots=[empty])),
                snapshot=R(snapshot=admin.SnapshotDetail(info=empty, tasks=[admin.SnapshotTask()])),
                lineage=R(lineage=admin.LineageList(steps=[admin.LineageStep(info=empty)])),
                rounds=R(rounds=admin.RoundList(rounds=[admin.RoundInfo(round=1)])),
                status=R(status=admin.Status(store_id=s.ID, jobs=[admin.JobStatus()])))
        for command, form in schema.FORMS.items():
            with self.subTest(command=command):
                schema.check(self.json(*command.split(), *ARGUMENTS[command]), form)

    def test_form_of_failures(self):
        for command in schema.FORMS:
            call = {"jobs": "list_jobs", "job show": "show_job", "operation": "wait", "snapshot verify": "verify",
                    "snapshot show --tasks": "snapshot", "snapshot show": "snapshot",
                    "snapshot dispose": "dispose", "snapshot import": "import_snapshot",
                    "snapshot export": "export_snapshot"}.get(command, command)
            self.on(**{call: f.error(admin.ERROR_STATE, "no")})
            with self.subTest(command=command):
                doc = self.json(*command.split(), *ARGUMENTS[command], code=1)
                schema.check(doc, schema.ERROR)
                self.assertEqual(doc["error"], {"code": "state", "text": "no"})

    def test_the_checker_sees(self):
        for value, form in (({"a": 1}, {}), ({}, {"a": schema.U64}), (None, schema.TEXT), (True, schema.U64),
                            (-1, schema.U64), ({"a": [1, "x"]}, {"a": [schema.I64]}), ("x", [schema.TEXT])):
            with self.assertRaises(AssertionError):
                schema.check(value, form)


class Documented(unittest.TestCase):
    def test_every_member_is_in_the_man_page(self):
        page = read("docs/man/tidemark.1")
        section = page[page.index(".Sh JSON"):page.index(".Sh ENVIRONMENT")]
        words = set(re.findall(r"[A-Za-z0-9_]+", section))
        members = schema.names(schema.ERROR).union(*(schema.names(form) for form in schema.FORMS.values()))
        self.assertEqual(sorted(members - words), [])

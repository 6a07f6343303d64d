"""Errors of the daemon, of the network and of the command line."""
import os
import re
import struct
import subprocess
import time

from proto import admin_pb2 as admin
from proto import common_pb2 as common

import fake as f
import samples as s
import schema
from base import PROGRAM, Case, check_json, environment, run

R = admin.Response


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

    def test_a_job_that_is_not_there(self):
        jobs = [s.summary(n) for n in (b"wordcount", b"billing", b"audit")]
        self.on(list_jobs=R(jobs=admin.JobList(jobs=jobs)), **{n: f.error(admin.ERROR_NOT_FOUND, "no such job") for n in (
            "show_job", "savepoint", "checkpoint", "snapshots", "rounds", "lineage", "restore", "import_snapshot")})
        for args in (["job", "show"], ["savepoint"], ["checkpoint"], ["snapshots"], ["rounds"], ["lineage"]):
            with self.subTest(args=args):
                self.failure("not_found", 'no such job; did you mean "wordcount"?', *args, "wordcont")
        self.failure("not_found", 'no such job; there are "wordcount", "billing", "audit"', "rounds", "unlike")
        for args in (["restore", "unlike", "--latest"], ["snapshot", "import", "unlike", "--from", "/x"]):
            self.failure("not_found", 'no such job; there are "wordcount", "billing", "audit"; a new job begins from a snapshot '
                         "when its workers name it (tide_spec_restore_from)", *args)
        self.failure("not_found", 'no such job; there are "wordcount", "billing", "audit"', "rounds", "x" * 300)
        self.failure("not_found", "no such job", "lineage", "audit")  # it is there: something else is not
        jobs = [s.summary(b"job\x1b%d" % i) for i in range(1000, 2000)]
        self.on(list_jobs=R(jobs=admin.JobList(jobs=jobs)))
        self.failure("not_found", "no such job; there are %s and 995 more: see 'tidemark jobs'" % ", ".join(
            '"job\\x1b%d"' % i for i in range(1000, 1005)), "rounds", "unlike")
        self.on(list_jobs=R(jobs=admin.JobList(jobs=jobs[:1])))
        self.failure("not_found", 'no such job; the only one is "job\\x1b1000"', "rounds", "unlike")
        self.on(list_jobs=R(jobs=admin.JobList()))
        self.failure("not_found", "no such job; there are no jobs yet", "rounds", "unlike")

        def hang_up(call, request):
            raise f.HangUp
        self.on(list_jobs=hang_up)
        self.failure("not_found", "no such job", "rounds", "unlike")

    def test_a_snapshot_that_is_not_there(self):
        self.on(snapshots=R(snapshots=admin.SnapshotList(snapshots=[s.snapshot(17)], more=True)),
                **{n: f.error(admin.ERROR_NOT_FOUND, "no such snapshot") for n in ("snapshot", "verify", "lineage")})
        for args in (["snapshot", "show"], ["snapshot", "verify"], ["lineage"]):
            self.failure("not_found", "no such snapshot; the newest is 17: see 'tidemark snapshots'", *args, "99")
        self.on(snapshots=R(snapshots=admin.SnapshotList()))
        self.failure("not_found", "no such snapshot; there are no snapshots yet", "snapshot", "show", "99")

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
        self.failure("refused", peer + " refuses: the secret is missing or wrong (--secret-file)", "jobs")
        with open(path, "w") as out:
            out.write("wrong\n")
        self.failure("refused", peer + " refuses: the secret is missing or wrong (--secret-file)",
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
        address = os.path.join(self.tmp.name, "address")
        for told in ("0.0.0.0:%d", "127.0.0.1:%d"):  # everywhere: this machine as well
            with open(address, "w") as out:
                out.write(told % self.fake.port + "\n")
            with open(port, "w") as out:
                out.write("1\n")  # is not looked at
            self.assertEqual(run("jobs", "--json", "--data", self.tmp.name).returncode, 0)
        with open(address, "w") as out:
            out.write("[::]:1\n")
        self.assertIn(b"cannot connect to [::1]:1:", run("jobs", "--data", self.tmp.name).stderr)
        os.unlink(address)
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
            f.Fake.send(c, R(welcome=common.Welcome(version=3, store_id=f.STORE)))
            raise f.HangUp
        self.fake.handlers["hello"] = welcome
        self.failure("protocol", "%s speaks version 3 of the protocol, this program 1 to 2" % self.fake.address(), "jobs")

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
                ("'snapshot' needs a further word: snapshot show or verify or dispose or import or export", "snapshot"),
                ("unknown command 'snapshot drop': expected snapshot show or verify or dispose or import or export", "snapshot",
                 "drop", "1"),
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
        self.assertEqual(set(commands), schema.COMMANDS)
        for text in [r.stdout] + [run(*c.split(), "--help").stdout for c in commands]:
            self.assertLess(max(len(line) for line in text.decode().splitlines()), 89)
            self.assertIn(b"--secret-file FILE", text)
            self.assertIn(b"xit status:", text)
        for c in commands:
            examples = run(*c.split(), "--help").stdout.decode().split("Examples:\n")[1].split("\n\n")[0]
            for example in examples.splitlines():
                self.assertRegex(example, r"^  tidemark %s( |$)" % c)
        self.assertEqual(run("-h").stdout, r.stdout)
        self.assertIn(b"--detach", run("savepoint", "-h").stdout)
        self.assertNotIn(b"--detach", run("jobs", "-h").stdout)
        self.assertRegex(run("--version").stdout, rb"^tidemark \d+\.\d+\.\d+\n$")

"""Completion and man pages: they must say what the programs do."""
import os
import re
import shutil
import subprocess
import time
import unittest

from proto import admin_pb2 as admin

import samples as s
import schema
from base import PROGRAM, Case, environment, read, run, tree

R = admin.Response


class Completion(Case):
    """The completion script of bash, asked as bash asks it."""

    def complete(self, *words, env=None):
        script = os.path.join(os.path.dirname(__file__), "../../client/cli/tidemark.bash")
        line = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tidemark; printf "%s\\n" "${COMPREPLY[@]}"'
        env = env or environment()
        env["PATH"] = os.path.dirname(PROGRAM) + ":" + env["PATH"]
        for _ in range(30):
            begun = time.monotonic()
            r = subprocess.run(["bash", "-c", line, script, *words], capture_output=True, env=env, timeout=120)
            if time.monotonic() - begun < 0.9:
                break  # the script waits a second for the daemon; a slow machine may need another try
        self.assertEqual((r.returncode, r.stderr), (0, b""))
        return r.stdout.decode().split()

    def test_words(self):
        self.assertEqual(set(self.complete("tidemark", "")), {c.split()[0] for c in schema.COMMANDS})
        self.assertEqual(self.complete("tidemark", "snapshot", ""), ["show", "verify", "dispose", "import", "export"])
        self.assertEqual(set(self.complete("tidemark", "st")), {"status", "stop", "state"})
        self.assertIn("--detach", self.complete("tidemark", "savepoint", "w", "--"))
        self.assertNotIn("--detach", self.complete("tidemark", "jobs", "--"))

    def test_every_option_of_the_help_is_completed(self):
        for command in schema.COMMANDS:
            help_text = run(*command.split(), "--help").stdout.decode()
            self.assertEqual(set(self.complete("tidemark", *command.split(), "--")),
                             set(re.findall(r"^ +(?:-h, )?(--[a-z-]+)", help_text, re.M)), command)

    def test_jobs(self):
        self.on(list_jobs=R(jobs=admin.JobList(jobs=[s.summary(), s.summary(b"other")])))
        env = environment(TIDEMARK_CONNECT=self.fake.address())
        self.assertEqual(self.complete("tidemark", "savepoint", "", env=env), ["wordcount", "other"])
        self.assertEqual(self.complete("tidemark", "job", "show", "wo", env=env), ["wordcount"])

    def test_the_daemon_that_the_command_line_names_is_asked(self):
        self.on(list_jobs=R(jobs=admin.JobList(jobs=[s.summary(b"two words"), s.summary(b"$x")])))
        self.assertEqual(self.complete("tidemark", "--connect", self.fake.address(), "rounds", ""),
                         ["two\\", "words", "\\$x"])  # split here alone: bash gets two answers
        self.assertEqual(self.complete("tidemark", "rounds", "", env=environment(TIDEMARK_CONNECT="127.0.0.1:1")), [])

    def test_words_as_the_shell_splits_them(self):
        self.on(list_jobs=R(jobs=admin.JobList(jobs=[s.summary()])))
        host, port = self.fake.address().split(":")
        self.assertEqual(self.complete("tidemark", "--connect", host, ":", port, "rounds", ""), ["wordcount"])
        self.assertEqual(self.complete("tidemark", "--connect", "=", host, ":", port, "job", "show", "w"), ["wordcount"])
        self.assertEqual(self.complete("tidemark", "--connect", host, ":", ""), [])

    def test_snapshots(self):
        self.on(snapshots=R(snapshots=admin.SnapshotList(snapshots=[s.snapshot(), s.savepoint()])),
                list_jobs=R(jobs=admin.JobList(jobs=[s.summary()])))
        env = environment(TIDEMARK_CONNECT=self.fake.address())
        self.assertEqual(self.complete("tidemark", "snapshot", "show", "", env=env), ["17", "12"])
        self.assertEqual(self.complete("tidemark", "snapshot", "verify", "17", env=env), ["17"])
        self.assertEqual(self.complete("tidemark", "lineage", "", env=env), ["wordcount", "17", "12"])
        self.assertEqual(self.fake.seen[-1][1].limit, 50)


class Manual(unittest.TestCase):
    """The man pages say what the programs do."""

    def test_every_command_and_option_is_described(self):
        page = read("docs/man/tidemark.1").replace("\\-", "-")
        for line in run("--help").stdout.decode().split("\n\n")[2].splitlines()[1:]:
            command = re.match(r"  ([a-z]+(?: [a-z]+)?)", line).group(1)
            self.assertRegex(page, r"\n\.It Cm %s\b" % command)
            for option in re.findall(r"^ +(?:-h, )?-(-[a-z-]+)", run(*command.split(), "--help").stdout.decode(), re.M):
                self.assertIn("Fl " + option, page)

    def test_every_key_of_the_configuration_is_described(self):
        page = re.sub(r"\n\.Pq? ?\n", "\n", read("docs/man/tidemarkd.conf.5"))
        described, section = set(), None
        for line in page.splitlines():
            section = line[4:] if line.startswith(".Ss [") else section
            if line.startswith(".It Cm "):
                described.add((section, line[7:]))
        known, section = set(), None
        for line in read("daemon/tidemarkd.conf").splitlines():
            key = re.match(r"#?([a-z-]+) =", line)
            section = line if line.startswith("[") else section
            if key:
                known.add((section, key.group(1)))
        self.assertGreater(len(known), 15)
        self.assertEqual(described, known)

    def test_the_defaults_are_the_configurations(self):
        page = read("docs/man/tidemarkd.conf.5")
        for key, value in re.findall(r"^#([a-z-]+) = (.+)$", read("daemon/tidemarkd.conf"), re.M):
            entries = re.findall(r"\n\.It Cm %s\n(.*?)\n\.(?:It Cm|El)" % key, page, re.S)
            self.assertTrue(any(re.search(r"[Dd]efault:?\s+(\.(Pa|Cm) )?%s\b" % re.escape(value), e)
                                for e in entries), (key, value))

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed")
    def test_lint(self):
        for page in sorted(os.listdir(tree("docs/man"))):
            r = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", tree("docs/man", page)],
                               capture_output=True)
            self.assertEqual((r.returncode, r.stdout, r.stderr), (0, b"", b""), page)

    def test_the_example_compiles(self):
        code = re.search(r"\n\.Bd -literal\n(.*?)\n\.Ed\n", read("docs/man/libtidemark.3"), re.S).group(1)
        r = subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror",
                            "-I" + tree(), "-I" + tree("client"), "-fsyntax-only", "-x", "c", "-"],
                           input=code.replace("\\e", "\\").encode(), capture_output=True)
        self.assertEqual((r.returncode, r.stderr.decode()), (0, ""))

"""What the CLI's tests share: running the program, and a case with a played daemon."""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import fake as f

PROGRAM = os.path.abspath(os.environ["TIDEMARK"])


def environment(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMARK")}
    env.update(TZ="UTC", LC_ALL="C.UTF-8", **more)
    return env


def run(*args, env=None, timeout=120):
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


def tree(*path):
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..", *path)


def read(*path):
    with open(tree(*path)) as page:
        return page.read()

"""Flags, the configuration, secrets, addresses: each misuse is one line that names what is wrong and what to do, and
begins nothing."""
import os
import socket
import subprocess

import base as b


class Flags(b.Case):
    SECONDS = 2

    def run_with(self, *args):
        r = subprocess.run([b.DAEMON, *args], capture_output=True, env=b.environment(), timeout=b.PATIENCE)
        return r.returncode, r.stderr.decode()

    def misused(self, text, *args, code=2):
        got, said = self.run_with(*args)
        self.assertEqual(got, code, said)
        self.assertIn(text, said)
        self.assertFalse(os.path.exists(self.data), "something was begun")

    def test_each(self):
        d = ["--data", self.data]
        self.misused("unrecognized option '--nonsense'", "--nonsense", *d)
        self.misused("option '--data' requires an argument", "--data")
        self.misused("option '--listen' requires an argument", *d, "--listen")
        self.misused("option '--config' requires an argument", *d, "--config")
        self.misused("'--check-config' doesn't allow an argument", *d, "--check-config=yes")
        self.misused("'stray' is no option", "stray", *d)
        self.misused("invalid option -- 'x'", "-x", *d)
        self.misused("--data: [daemon] data: ", "--data", "", code=1)
        self.misused("the path has ", "--data", "/" + "x" * 5000, code=1)
        self.misused("not valid UTF-8", "--data", b"/tmp/\xff\xfe", code=1)
        for address in ("", "here", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "256.0.0.1:1",
                        "::1:7460", "[::1]", "[::1]:x", "localhost:7460", ":7460", "127.0.0.1:7460 ",
                        "127.0.0.1:" + "9" * 40, "[" + "1" * 400 + "]:1"):
            with self.subTest(address):
                self.misused("is not an address: write IP:PORT", *d, "--listen", address, code=1)
        self.misused("can be reached from other machines, so a secret is needed: set [daemon] secret-file", *d,
                     "--listen", "0.0.0.0:0", code=1)
        self.misused("/nowhere/at/all: cannot be read: No such file or directory", *d, "--config", "/nowhere/at/all",
                     code=1)


class Configuration(b.Case):
    SECONDS = 2

    def wrong(self, text, *parts):
        """A start and --check-config say the same, and where."""
        said = self.refuses_to_start(*parts, config=text)
        r = subprocess.run([b.DAEMON, "--config", self.path("conf"), "--data", self.data, "--check-config"],
                           capture_output=True, env=b.environment())
        self.assertEqual((r.returncode, r.stderr.decode()), (1, said + "\n"))
        self.assertFalse(os.path.exists(self.data), "something was begun")

    def test_each(self):
        conf = self.path("conf")
        for text, *parts in (
                ("[daemon]\nlog-level = loud\n", conf + ":2: [daemon] log-level: 'loud' is none of error, warn, info"),
                ("[daemon]\nfoo = 1\n", conf + ":2: unknown key 'foo' in [daemon]"),
                ("[daemon]\njobs = 1\n", conf + ":2: unknown key 'jobs' in [daemon]; it belongs to [limits]"),
                ("[deamon]\n", conf + ":1: unknown section [deamon]: known are [daemon], [limits]"),
                ("[daemon\n", conf + ":1: '[daemon' is not a section: write [name]"),
                ("listen = 127.0.0.1:0\n", conf + ":1: key 'listen' stands before the first [section]"),
                ("[limits]\njobs\n", conf + ":2: 'jobs' is neither a [section] nor key = value"),
                ("[limits]\njobs = 1\njobs = 2\n", conf + ":3: [limits] jobs: set before, in line 2"),
                ("[limits]\njobs = 0\n", conf + ":2: [limits] jobs: '0' is out of bounds: at least 1, at most 100000"),
                ("[limits]\njobs = 100001\n", "out of bounds: at least 1, at most 100000"),
                ("[limits]\njobs = -1\n", "'-1' is not a whole number such as 100"),
                ("[limits]\njobs = 18446744073709551617\n", "is not a whole number"),
                ("[limits]\njobs = 10 # ten\n", "'10 # ten' is not a whole number", "a comment needs a line of its own"),
                ("[limits]\njobs =\n", "'' is not a whole number"),
                ("[store]\ntimeout = 5\n", "'5' is not a time with its unit such as 500ms"),
                ("[store]\ntimeout = 5 s\n", "'5 s' is not a time"),
                ("[store]\ntimeout = 1us\n", "out of bounds: at least 1s, at most 1h"),
                ("[store]\ntimeout = 18446744073709551615h\n", "is not a time"),
                ("[limits]\ninput-memory = 1T\n", "'1T' is not a size such as 64K, 16M or 1G"),
                ("[limits]\ninput-memory = 1K\n", "out of bounds: at least 16M, at most 1024G"),
                ("[daemon]\nstate = relative\n", "[daemon] state: 'relative' is not an absolute path"),
                ("[daemon]\nstate = /" + "x" * 4000 + "\n", "the path has 4001 bytes, at most 3000 are possible"),
                ("[daemon]\nstate = /a/\nsavepoints = /a\n", "[daemon] state and savepoints: both are /a; each needs"),
                (b"[daemon]\nstate = /\xff\n", conf + ":2: the line is not valid UTF-8"),
                (b"[daemon]\nstate = /a\0b\n", conf + ":2: the line is not valid UTF-8"),
                (os.urandom(1000).replace(b"\n", b"\xff"), conf + ":1: the line is not valid UTF-8"),
                (b"\n" * (1 << 22), conf + ": larger than ")):
            with self.subTest(text[:40]):
                self.wrong(text, "tidemarkd: ", *parts)

    def test_no_file(self):
        conf = self.path("conf")
        b.write(conf, "")
        os.unlink(conf)

        def said(*prefix):
            r = subprocess.run([*prefix, b.DAEMON, "--config", conf, "--data", self.data], capture_output=True,
                               env=b.environment(), timeout=b.PATIENCE)
            self.assertEqual(r.returncode, 1)
            return r.stderr.decode()

        os.mkdir(conf)
        self.assertEqual(said(), "tidemarkd: %s: cannot be read: Is a directory\n" % conf)
        os.rmdir(conf)
        os.symlink(conf, conf)
        self.assertEqual(said(), "tidemarkd: %s: cannot be read: Too many levels of symbolic links\n" % conf)
        os.unlink(conf)
        b.write(conf, "", mode=0)
        self.assertEqual(said(*b.NO_OVERRIDE), "tidemarkd: %s: cannot be read: Permission denied\n" % conf)
        self.assertFalse(os.path.exists(self.data))


class Secret(b.Case):
    """The daemon's file, and that of who comes."""
    SECONDS = 2

    def setUp(self):
        super().setUp()
        self.secret = self.path("secret")
        self.config = "[daemon]\nsecret-file = %s\n" % self.secret

    def test_the_daemons(self):
        def refused(*texts, **more):
            self.refuses_to_start("tidemarkd: [daemon] secret-file: %s: " % self.secret, *texts, config=self.config,
                                  **more)
        refused("cannot be read: No such file or directory")
        b.write(self.secret, "hush\n", 0o644)
        refused("everybody on this machine may read or write it; run: chmod o-rw '%s'" % self.secret)
        b.write(self.secret, "hush\n", 0o602)
        refused("everybody on this machine may read or write it")
        b.write(self.secret, "", 0o600)
        refused("empty")
        b.write(self.secret, "\n\n", 0o600)
        refused("empty")
        b.write(self.secret, "x" * 5000, 0o600)
        refused("longer than 4096 bytes")
        b.write(self.secret, "hush\n", 0o000)
        refused("cannot be read: Permission denied", prefix=b.NO_OVERRIDE)
        os.unlink(self.secret)
        os.mkdir(self.secret)
        refused("not a regular file")
        os.rmdir(self.secret)
        os.mkfifo(self.secret, 0o600)
        refused("not a regular file")

    def test_who_comes(self):
        b.write(self.secret, "hush\n", 0o600)
        self.start(config=self.config)
        self.assertIn("secret", self.tool("status", code=1).stderr.decode())
        other = self.path("other")
        b.write(other, "another-word\n", 0o600)
        wrong = self.tool("status", "--secret-file", other, code=1).stderr.decode()
        self.assertIn("secret", wrong)
        self.tool("status", "--secret-file", self.secret)
        # as does a worker, and the daemon stays well
        log = self.path("worker.log")
        worker = b.Process([b.WORDCOUNT, "sink", "--connect", "127.0.0.1:%d" % self.daemon.port, "--parts", self.folder,
                            "--secret", other, "--sources", "1"], log)
        self.addCleanup(worker.kill)
        b.wait_for(lambda: "a word of the secret in: " + worker.log(), lambda: "secret" in worker.log())
        self.assertNotIn("hush", worker.log() + self.daemon.log() + wrong)
        self.assertNotIn("another-word", worker.log() + self.daemon.log() + wrong)
        missing = self.tool("status", "--secret-file", self.path("none"), code=1).stderr.decode()
        self.assertIn(self.path("none") + ": ", missing)
        b.write(self.path("empty"), "", 0o600)
        self.assertIn("empty", self.tool("status", "--secret-file", self.path("empty"), code=1).stderr.decode())


class Places(b.Case):
    """What is in use, and what cannot be."""
    SECONDS = 2

    def test_addresses(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            port = s.getsockname()[1]
            self.refuses_to_start("tidemarkd: [daemon] listen: 127.0.0.1:%d: address already in use" % port, port=port)
        self.assertFalse(os.path.exists(self.database()), "a store was begun for nothing")
        secret = self.path("secret")
        b.write(secret, "hush\n", 0o600)
        self.refuses_to_start("[daemon] listen: 192.0.2.1:7460: address not available",
                              flags=["--listen", "192.0.2.1:7460"], config="[daemon]\nsecret-file = %s\n" % secret)
        self.refuses_to_start("[daemon] listen: [2001:db8::1]:7460: address ", config="[daemon]\nsecret-file = %s\n" %
                              secret, flags=["--listen", "[2001:db8::1]:7460"])

    def test_a_data_directory_in_use(self):
        first = self.start()
        self.refuses_to_start("tidemarkd: %s/tidemark.lock: another daemon has this data directory, process %d" %
                              (self.data, first.process.pid))
        link = self.path("link")
        os.symlink(self.data, link)
        self.refuses_to_start("another daemon has this data directory, process %d" % first.process.pid,
                              flags=["--data", link])
        self.tool("status")
        first.kill()
        self.start()  # the lock of one that was killed does not hold

    def test_directories(self):
        for name in ("data", "state", "savepoints"):
            with self.subTest(name):
                file = self.path("file-" + name)
                b.write(file, "")
                config = "[daemon]\n%s = %s\n" % (name, file)
                flags = ["--data", file] if name == "data" else []
                self.refuses_to_start("[daemon] %s: %s is not a directory" % (name, file), config=config, flags=flags)
                config = "[daemon]\n%s = %s/below/it\n" % (name, file)
                flags = ["--data", file + "/below/it"] if name == "data" else []
                self.refuses_to_start("[daemon] %s: %s/below/it cannot be made: Not a directory" % (name, file),
                                      config=config, flags=flags)
                closed = self.path("closed-" + name)
                os.mkdir(closed, 0o555)
                config = "[daemon]\n%s = %s\n" % (name, closed)
                flags = ["--data", closed] if name == "data" else []
                self.refuses_to_start("[daemon] %s: %s: Permission denied" % (name, closed), config=config,
                                      flags=flags, prefix=b.NO_OVERRIDE)

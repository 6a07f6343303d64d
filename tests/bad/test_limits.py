"""Too few descriptors, too little memory: what cannot be had is refused or waits, what runs goes on."""
import resource
import socket
import struct
import time
import unittest

import base as b


class Limits(b.Case):
    SECONDS = 5

    def test_descriptors(self):
        """More connections than the daemon may have open files: the rest waits or is refused, and the job runs on."""
        self.start(limits=[(resource.RLIMIT_NOFILE, 64)])
        self.assertIn("the system allows 64 open files only", self.daemon.log())
        work = b.Job(self, self.daemon)
        newest = self.wait_checkpoints(2)
        crowd = []
        for _ in range(150):
            s = socket.socket()
            self.addCleanup(s.close)
            s.settimeout(1)
            try:
                s.connect(("127.0.0.1", self.daemon.port))
                crowd.append(s)
            except OSError:
                s.close()
        self.assertGreater(len(crowd), 60)
        time.sleep(0.5)
        self.assertTrue(self.daemon.running(), self.daemon.log())
        used = self.cpu()
        time.sleep(0.5)
        self.assertLess(self.cpu() - used, 0.4, "the daemon spins while it has no descriptor")
        for s in crowd:
            s.close()
        self.wait_checkpoints(2, above=max(newest, self.wait_checkpoints()))
        self.assertNotIn("aborted", self.daemon.log())
        self.assertEqual(self.job()["attempt"], 1)
        self.assertRegex(self.daemon.log(), "(?i)open files|descriptor|too many")
        work.finish()

    def cpu(self):
        with open("/proc/%d/stat" % self.daemon.process.pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def test_too_few_descriptors_to_start(self):
        """Whatever the number, it starts or says in a line why not."""
        for n in [*range(3, 40, 3), 39]:
            daemon = b.Daemon(self, self.data, limits=[(resource.RLIMIT_NOFILE, n)])
            b.wait_for("a start or its refusal", lambda d=daemon: not d.running() or " ready: port " in d.log())
            # below four not even the dynamic linker finds its way
            self.assertIn(daemon.wait(), (1, 127), (n, daemon.log()))
            self.assertRegex(daemon.log(), r"(the system allows %d open files only, at least 40 are needed: raise the "
                             r"limit .*|error while loading shared libraries.*)\n$" % n)

    @unittest.skipIf(b.SANITIZED, "a sanitizer maps more than any limit")
    def test_memory(self):
        """Frames that would take more memory than there is are refused; who is there already notices nothing."""
        self.start(config="[limits]\ninput-memory = 16M\n", limits=[(resource.RLIMIT_AS, 400 << 20)])
        work = b.Job(self, self.daemon)
        self.wait_checkpoints(2)
        crowd = []
        for _ in range(40):
            s = socket.create_connection(("127.0.0.1", self.daemon.port))
            self.addCleanup(s.close)
            s.settimeout(5)
            # a Hello of a worker, of version 1, then most of a frame of 15 MiB that never ends
            s.sendall(struct.pack("<I", len(HELLO)) + HELLO)
            crowd.append(s)
        for s in crowd:
            try:
                s.setblocking(False)
                s.send(struct.pack("<I", 15 << 20) + b"\x12" * 100000)
            except OSError:
                pass
        self.daemon.says("refused")
        self.wait_checkpoints(2, above=self.wait_checkpoints())
        self.assertGreater(self.ask("status")["status"]["refused"], 30)
        for s in crowd:
            s.close()
        work.finish()

    @unittest.skipIf(b.SANITIZED, "a sanitizer maps more than any limit")
    def test_too_little_memory_to_start(self):
        """Whatever the limit, it starts or says in a line why not."""
        ended = 0
        for megabytes in (4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512):
            daemon = b.Daemon(self, self.data, limits=[(resource.RLIMIT_AS, megabytes << 20)])
            b.wait_for("a start or its refusal", lambda d=daemon: not d.running() or " ready: port " in d.log())
            if daemon.running():
                break
            ended += 1
            self.assertIn(daemon.wait(), (1, 127), (megabytes, daemon.log()))
            self.assertRegex(daemon.log(), r"(memory|shared libraries|shared object|event loop could not).*\n$")
        self.assertTrue(daemon.running(), "512 MiB are not enough")
        self.assertGreater(ended, 1)


# Hello of a worker, version 1
HELLO = b"\x0a\x06\x08\x01\x10\x01\x18\x01"

"""Full disks and read-only ones, before a start and in the middle of running rounds: small file systems in a mount
namespace of our own. Rounds abort and say why; nothing completed is lost; with room again, the job goes on."""
import errno
import os
import re
import shutil
import subprocess
import unittest

import base as b


def mounted(case, path, kind, *options):
    os.makedirs(path, exist_ok=True)
    done = subprocess.run(["mount", "-t", kind, *options, path], capture_output=True)
    if done.returncode:
        if os.getuid() == 0 and b.MOUNTS and kind == "tmpfs":
            raise AssertionError(done.stderr.decode())
        raise unittest.SkipTest("cannot mount a %s: %s" % (kind, done.stderr.decode().strip()))
    case.addCleanup(subprocess.run, ["umount", "-l", path], stderr=subprocess.DEVNULL)


def remount(path, how):
    """`ro` or `rw`: of the mount alone, which is what a user namespace may do as well."""
    return subprocess.run(["mount", "-o", "remount,bind," + how, path], capture_output=True).returncode == 0


@unittest.skipUnless(b.MOUNTS, "needs a mount namespace: be root, or allow user namespaces")
class Disk(b.Case):
    SECONDS = 10

    def fill(self, path, leave=0):
        """Writes until there is no room, then gives some back."""
        name = os.path.join(path, "filler")
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    os.write(fd, b"\0" * size)
            except OSError as e:
                self.assertEqual(e.errno, errno.ENOSPC)
        os.close(fd)
        if leave:
            os.truncate(name, os.path.getsize(name) - leave)
        return name

    def small(self, path, megabytes):
        mounted(self, path, "tmpfs", "-o", "size=%dM,mode=755" % megabytes, "none")

    def aborted(self, *texts):
        """A round whose reason has all of these, as its row says."""
        def look():
            return [r for r in self.rounds() if r["state"] == "aborted" and all(text in r["reason"] for text in texts)]
        return b.wait_for(lambda: "a round aborted with %r: %s" % (texts, self.daemon.log()[-1500:]), look)

    def state_in_files(self):
        """A checkpoint with files; its number."""
        return b.wait_for("a state in files", lambda: [s["snapshot"] for s in self.snapshots()
                                                       if s["state"] == "retained" and os.path.isdir(s["directory"])])[0]

    def with_state(self, journal="8M"):
        """The configuration for a state root that is not in the data directory."""
        os.makedirs(self.path("state"), exist_ok=True)
        return "[daemon]\nstate = %s\n[store]\njournal = %s\n" % (self.path("state"), journal)

    def test_the_data_directory_fills_up(self):
        self.small(self.data, 64)
        self.start(config=self.with_state(journal="0"))
        work = b.Job(self, self.daemon)
        self.wait_checkpoints(2)
        filler = self.fill(self.data)
        self.daemon.says("aborted, 4 of 4 tasks had acked: the store did not take it: ")
        said = re.search(r"the store did not take it: (.*)", self.daemon.log()).group(1)
        self.assertRegex(said, r"%s.*: (database or disk is full|no room for the journal)" % self.data)
        self.assertEqual(self.job()["state"], "RUNNING")
        self.assertGreater(self.ask("status")["status"]["rounds_aborted"], 0)
        newest = self.job()["last_complete"] # a list would be answered with the lack of room
        os.unlink(filler)
        newest = self.wait_checkpoints(2, above=newest)
        self.daemon.kill()
        self.start(config=self.with_state(journal="0"))
        self.assertGreaterEqual(self.job()["last_complete"], newest)
        work.finish()

    def test_rounds_go_on_while_the_journal_has_room(self):
        """It has its size from the start. Lists wait, rounds do not, also when the daemon is killed."""
        self.small(self.data, 64)
        self.start(config=self.with_state())
        work = b.Job(self, self.daemon)
        self.wait_checkpoints(2)
        filler = self.fill(self.data)
        last = self.job()["last_complete"]
        b.wait_for("ten rounds more", lambda: self.job()["last_complete"] >= last + 10)
        self.assertNotIn("aborted", self.daemon.log())
        last = self.job()["last_complete"]
        self.daemon.kill()
        os.unlink(filler)
        self.start(config=self.with_state())
        self.assertGreaterEqual(self.job()["last_complete"], last)
        self.wait_checkpoints(2, above=last)
        work.finish()

    def test_killed_while_the_data_directory_is_full(self):
        self.small(self.data, 64)
        self.start(config=self.with_state(journal="0"))
        work = b.Job(self, self.daemon)
        self.wait_checkpoints(2)
        filler = self.fill(self.data)
        self.daemon.says("the store did not take it: ")
        newest = self.job()["last_complete"]
        self.daemon.kill()
        os.unlink(filler)
        self.start(config=self.with_state(journal="0"))
        self.assertGreaterEqual(self.job()["last_complete"], newest)
        work.finish()

    def test_the_state_root_fills_up(self):
        config = self.with_state()
        self.small(self.path("state"), 8)
        self.start(config=config)
        work = b.Job(self, self.daemon)
        self.state_in_files()
        filler = self.fill(self.path("state"))
        self.aborted("counter[0] declined: ", self.path("state"), "No space left on device")
        self.assertEqual(self.job()["state"], "RUNNING")
        newest = self.wait_checkpoints()
        os.unlink(filler)
        self.wait_checkpoints(2, above=newest)
        work.finish()

    def test_the_state_root_becomes_read_only(self):
        config = self.with_state()
        self.small(self.path("state"), 8)
        self.start(config=config)
        work = b.Job(self, self.daemon)
        self.state_in_files()
        b.wait_for("a moment without a file open for writing", lambda: remount(self.path("state"), "ro"))
        self.aborted("counter[0] declined: ", self.path("state"), "Read-only file system")
        self.assertEqual(self.job()["state"], "RUNNING")
        newest = self.wait_checkpoints()
        self.assertTrue(remount(self.path("state"), "rw"))
        self.wait_checkpoints(2, above=newest)
        work.finish()

    def test_no_attempt_can_begin_on_a_read_only_state_root(self):
        config = self.with_state()
        self.small(self.path("state"), 8)
        self.start(config=config)
        self.assertTrue(remount(self.path("state"), "ro"))
        work = b.Job(self, self.daemon)
        self.daemon.says("its directory could not be made: %s/wordcount: cannot be made: Read-only file system" %
                         self.path("state"))
        self.assertTrue(remount(self.path("state"), "rw"))
        work.finish()

    def test_the_state_root_is_gone_and_comes_back(self):
        self.start(config=self.with_state())
        work = b.Job(self, self.daemon)
        self.state_in_files()
        os.rename(self.path("state"), self.path("away"))
        self.aborted("counter[0] declined: ", self.path("state"), "No such file or directory")
        os.rename(self.path("away"), self.path("state"))
        self.wait_checkpoints(2, above=self.wait_checkpoints())
        work.finish()

    def test_no_room_for_a_start(self):
        self.small(self.data, 20)
        filler = self.fill(self.data)
        self.refuses_to_start(self.database() + ": cannot be opened: database or disk is full")
        os.unlink(filler)
        self.start().stop()
        # and for a store that is there: it starts, or says why not; and it starts when there is room
        for leave in (0, 4096, 16384, 32768, 65536, 1 << 20):
            filler = self.fill(self.data, leave=leave)
            daemon = b.Daemon(self, self.data)
            b.wait_for("a start or its refusal", lambda d=daemon: not d.running() or " ready: port " in d.log())
            if not daemon.running():
                self.assertRegex(daemon.log(), r"^tidemarkd: %s.*(No space left on device|disk is full)\n$" % self.data)
                self.assertEqual(daemon.wait(), 1)
            daemon.kill()
            os.unlink(filler)
            self.start().stop()

    def test_a_read_only_start(self):
        self.small(self.data, 64)
        self.start().stop()
        self.assertTrue(remount(self.data, "ro"))
        self.refuses_to_start("[daemon] data: %s: Read-only file system" % self.data)
        self.assertTrue(remount(self.data, "rw"))
        self.start(config=self.with_state()).stop()
        config = self.with_state()
        self.small(self.path("state"), 1)
        self.assertTrue(remount(self.path("state"), "ro"))
        self.refuses_to_start("[daemon] state: %s: Read-only file system" % self.path("state"), config=config)

    def test_a_disk_that_fails(self):
        """It answers with errors: nobody knows what is durable, so the daemon stops, and finds out when it can."""
        image = self.path("image")
        with open(image, "wb") as f:
            f.truncate(64 << 20)
        if not shutil.which("mkfs.ext4"):
            self.skipTest("no mkfs.ext4")
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        mounted(self, self.data, "ext4", "-o", "loop,errors=remount-ro", image)
        with open("/proc/mounts") as mounts:
            device = [line.split()[0] for line in mounts if line.split()[1] == self.data][0]
        trigger = "/sys/fs/ext4/%s/trigger_fs_error" % os.path.basename(device)
        if not os.access(trigger, os.W_OK):
            self.skipTest("this kernel lets no file system fail on purpose")
        self.start(config=self.with_state())
        work = b.Job(self, self.daemon, lease=10000, grace=10000)
        newest = self.wait_checkpoints(2)
        with open(trigger, "w") as f:
            f.write("1")
        self.assertEqual(self.daemon.wait(), 1)
        self.assertRegex(self.daemon.log(), r"stopping at once: .*%s.* cannot be written: Read-only file system\n" %
                         self.data)
        self.refuses_to_start("Read-only file system", port=self.daemon.port, config=self.with_state())
        subprocess.run(["umount", self.data], check=True)
        subprocess.run(["fsck.ext4", "-p", "-f", image], capture_output=True)
        mounted(self, self.data, "ext4", "-o", "loop,errors=remount-ro", image)
        self.start(config=self.with_state())
        self.assertGreaterEqual(self.job()["last_complete"], newest)
        work.finish()

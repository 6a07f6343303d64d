"""Manifests and artifacts that were damaged after they were durable: in the database, in the directory of a
savepoint, in the state root. What is damaged is named, and nothing older takes its place in silence."""
import os
import re
import shutil
import sqlite3

import base as b


class InTheDatabase(b.Case):
    """One bit of the manifest of the newest checkpoint is flipped while the daemon is down."""
    SECONDS = 7

    def setUp(self):
        super().setUp()
        self.start()
        self.work = b.Job(self, self.daemon)
        self.wait_checkpoints()
        self.tool("savepoint", "wordcount")
        self.wait_checkpoints(2)
        self.work.stop()
        self.daemon.stop()
        with sqlite3.connect(self.database()) as db:
            self.newest = db.execute("SELECT max(round) FROM snapshot WHERE kind = 'checkpoint' AND "
                                     "state = 'retained'").fetchone()[0]
            self.image = db.execute("SELECT data FROM manifest WHERE snapshot = ?", (self.newest,)).fetchone()[0]
        db.close()

    def damage(self, data):
        with sqlite3.connect(self.database()) as db:
            db.execute("UPDATE manifest SET data = ? WHERE snapshot = ?", (data, self.newest))
        db.close()

    def flipped(self, bit):
        data = bytearray(self.image)
        data[bit // 8] ^= 1 << bit % 8
        return bytes(data)

    def bits(self):
        """Some of each region: its front, its head, its acks, its end."""
        n = len(self.image) * 8
        return sorted(set(list(range(0, 136, 17)) + [n * k // 12 + k for k in range(12)] + [n - 200, n - 65, n - 1]))

    def test_verify_and_restore_name_it(self):
        self.damage(self.flipped(len(self.image) * 4))
        self.start()
        said = self.tool("snapshot", "verify", str(self.newest), code=1).stderr.decode()
        self.assertIn("the manifest of snapshot %d in %s is damaged" % (self.newest, self.database()), said)
        said = self.tool("snapshot", "show", str(self.newest), "--tasks", code=1).stderr.decode()
        self.assertIn("damaged", said)
        # the workers come: nothing is restored, neither this one nor the savepoint before it
        for stage in self.work.STAGES:
            self.work.start(stage)
        b.wait_for("the job to be held", lambda: self.job()["state"] == "HELD")
        cause = self.job()["cause"]
        self.assertIn("the manifest of snapshot %d in %s is damaged" % (self.newest, self.database()), cause)
        self.assertIn("job wordcount is HELD: " + cause, self.daemon.log())
        self.assertNotIn("restored attempt", self.work.log("counter").split("attempt 1", 1)[-1].partition("\n")[2])
        # a start of the daemon does not forget it; what was there is there
        self.daemon.kill()
        self.start()
        self.assertEqual((self.job()["state"], self.job()["cause"]), ("HELD", cause))
        self.assertIn(self.newest, [s["snapshot"] for s in self.snapshots() if s["state"] == "retained"])
        # the right bytes put back: good again
        self.daemon.stop()
        self.damage(self.image)
        self.start()
        self.assertIn("is good", self.tool("snapshot", "verify", str(self.newest)).stdout.decode())

    def test_any_bit(self):
        self.start()
        for bit in self.bits():
            with self.subTest("bit %d of %d" % (bit, len(self.image) * 8)):
                self.damage(self.flipped(bit))
                said = self.tool("snapshot", "verify", str(self.newest), code=1).stderr.decode()
                self.assertIn("the manifest of snapshot %d in %s is damaged" % (self.newest, self.database()), said)

    def test_cut_and_gone(self):
        self.start()
        for data in (self.image[:-1], self.image[:16], b"", self.image + b"\0"):
            with self.subTest("%d bytes" % len(data)):
                self.damage(data)
                said = self.tool("snapshot", "verify", str(self.newest), code=1).stderr.decode()
                self.assertIn("the manifest of snapshot %d in %s is damaged" % (self.newest, self.database()), said)
        with sqlite3.connect(self.database()) as db:
            db.execute("DELETE FROM manifest WHERE snapshot = ?", (self.newest,))
        db.close()
        said = self.tool("snapshot", "verify", str(self.newest), code=1).stderr.decode()
        self.assertIn("the manifest of snapshot %d in %s is damaged" % (self.newest, self.database()), said)


class OfASavepoint(b.Case):
    """`_metadata`, which is what a savepoint is known by where there is no database."""
    SECONDS = 4

    def test_verify_names_it(self):
        self.start()
        b.Job(self, self.daemon)
        self.wait_checkpoints(2)
        done = self.ask("savepoint", "wordcount")["operation"]
        path, number = os.path.join(done["location"], "_metadata"), str(done["snapshot"])
        whole = b.read(path)
        self.assertIn("is good", self.tool("snapshot", "verify", number).stdout.decode())

        def damaged(data, text):
            if data is None:
                os.unlink(path)
            else:
                b.write(path, data)
            r = self.tool("snapshot", "verify", number, code=1)
            self.assertRegex(r.stdout.decode(), r"^_metadata: .*" + text)
            self.assertIn("snapshot %s is damaged: 1 problem" % number, r.stderr.decode())

        for bit in list(range(0, 200, 11)) + [len(whole) * 4, len(whole) * 8 - 1]:
            with self.subTest("bit %d" % bit):
                data = bytearray(whole)
                data[bit // 8] ^= 1 << bit % 8
                damaged(data, "not a manifest" if bit < 64 else "has version" if bit < 96 else
                        "digest does not match|does not fit|lengths say")
        damaged(whole[:-1], "lengths say")
        damaged(whole + b"x", "lengths say")
        damaged(whole + b"xx", "longer than the %d bytes" % len(whole))
        damaged(b"", "not a manifest")
        other = self.ask("savepoint", "wordcount")["operation"]
        data = b.read(os.path.join(other["location"], "_metadata"))
        if len(data) <= len(whole):
            damaged(data, "is another snapshot's")
        damaged(None, "missing")
        os.mkdir(path)
        r = self.tool("snapshot", "verify", number, code=1)
        self.assertIn("_metadata: not a file", r.stdout.decode())


class Artifacts(b.Case):
    """A file of the newest checkpoint is damaged; a worker that must restore it says so, and by name."""
    SECONDS = 8

    def setUp(self):
        super().setUp()
        self.start()
        self.work = b.Job(self, self.daemon)
        b.wait_for("a counter's state in files", lambda: [s for s in self.snapshots()
                                                          if s["state"] == "retained" and os.path.isdir(s["directory"])])
        self.daemon.stop()
        self.work.stop()
        with sqlite3.connect(self.database()) as db:
            self.newest, directory = db.execute("SELECT round, directory FROM snapshot WHERE kind = 'checkpoint' AND "
                                                "state = 'retained' ORDER BY round DESC").fetchone()
        db.close()
        self.file = os.path.join(directory, sorted(os.listdir(directory))[0])
        self.whole = b.read(self.file)
        self.start()

    def named(self, problem, reason):
        """By verify, by the worker, by the daemon; the job tries again and restores nothing else."""
        r = self.tool("snapshot", "verify", str(self.newest), code=1)
        self.assertRegex(r.stdout.decode(), r"^task 0: %s: %s" % (os.path.basename(self.file), problem))
        self.assertIn("snapshot %d is damaged: 1 problem" % self.newest, r.stderr.decode())
        for stage in self.work.STAGES:
            self.work.start(stage)
        self.daemon.says("counter[0] could not restore: ")
        why = re.search(r"counter\[0\] could not restore: (.*)", self.daemon.log()).group(1)
        self.assertRegex(why, reason)
        self.assertIn(self.file, why)
        self.assertEqual(set(re.findall(r"starts from snapshot (\d+)", self.daemon.log())), {str(self.newest)})
        self.assertIn(self.newest, [s["snapshot"] for s in self.snapshots() if s["state"] == "retained"])

    def repaired(self):
        """The file put back, the job goes on by itself and loses nothing."""
        b.write(self.file, self.whole)
        self.work.finish()

    def test_one_that_is_missing(self):
        os.unlink(self.file)
        self.named("missing", "No such file or directory")
        self.repaired()

    def test_one_that_is_cut(self):
        os.truncate(self.file, len(self.whole) - 1)
        self.named("size %d instead of %d" % (len(self.whole) - 1, len(self.whole)), "damaged: %d bytes, the snapshot "
                   "has %d" % (len(self.whole) - 1, len(self.whole)))
        self.repaired()

    def test_one_with_a_bit_flipped(self):
        b.flip(self.file, len(self.whole) // 2)
        self.named("digest differs", "damaged: its digest is not the snapshot's")
        self.repaired()

    def test_the_whole_directory_is_gone(self):
        directory = os.path.dirname(self.file)
        shutil.move(directory, self.path("away"))
        r = self.tool("snapshot", "verify", str(self.newest), code=1)
        self.assertIn("missing", r.stdout.decode())
        for stage in self.work.STAGES:
            self.work.start(stage)
        self.daemon.says("counter[0] could not restore: " )
        shutil.move(self.path("away"), directory)
        self.work.finish()

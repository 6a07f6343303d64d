"""A database that is damaged, newer, another program's, or not a file; its logs damaged; an old one put back."""
import glob
import os
import shutil
import signal
import sqlite3
import struct

import base as b

ADVICE = "restore it from a backup, or move it away to start with an empty store"
PAGE = 16384


class NotOurs(b.Case):
    """What lies where the database should be, and is none of ours, is refused and stays as it is."""
    SECONDS = 3

    def setUp(self):
        super().setUp()
        os.mkdir(self.data)

    def refused(self, *texts):
        before = b.read(self.database()) if os.path.isfile(self.database()) else None
        said = self.refuses_to_start("tidemarkd: " + self.database() + ": ", *texts)
        if before is not None:
            self.assertTrue(b.read(self.database()) == before, "the file was changed: " + said)

    def made_by(self, *statements):
        with sqlite3.connect(self.database()) as db:
            for statement in statements:
                db.execute(statement)
        db.close()

    def test_a_database_of_another_program(self):
        self.made_by("CREATE TABLE addresses (name TEXT)", "INSERT INTO addresses VALUES ('x')")
        self.refused("is the database of another program; " + ADVICE)

    def test_a_database_of_another_program_that_numbers_its_versions(self):
        self.made_by("CREATE TABLE addresses (name TEXT)", "PRAGMA user_version = 1")
        self.refused("is the database of another program; " + ADVICE)

    def test_a_database_of_a_newer_version(self):
        self.start().stop()
        self.made_by("PRAGMA user_version = 999", "PRAGMA wal_checkpoint(TRUNCATE)")
        self.refused("was written by a newer version of tidemarkd (its tables have version 999, this program "
                     "knows up to", "run that version, or restore a backup from before")

    def test_a_text(self):
        b.write(self.database(), "this is no database\n" * 1000)
        self.refused("file is not a database; " + ADVICE)

    def test_a_directory(self):
        os.mkdir(self.database())
        self.refused("is not a file")

    def test_a_symbolic_link(self):
        os.symlink(self.path("elsewhere.db"), self.database())
        self.refused("is a symbolic link")
        self.assertFalse(os.path.exists(self.path("elsewhere.db")))

    def test_a_fifo(self):
        os.mkfifo(self.database())
        self.refused("is not a file")

    def test_one_that_may_not_be_read(self):
        self.start().stop()
        os.chmod(self.database(), 0)
        self.refuses_to_start(self.database() + ": cannot be read and written: Permission denied", prefix=b.NO_OVERRIDE)

    def test_one_that_may_not_be_written(self):
        self.start().stop()
        os.chmod(self.database(), 0o400)
        self.refuses_to_start(self.database() + ": cannot be read and written: Permission denied", prefix=b.NO_OVERRIDE)


class Damaged(b.Case):
    """The database of a job that ran is damaged. Each start must refuse it by name, and leave it as it is."""
    SECONDS = 6

    def setUp(self):
        super().setUp()
        self.start()
        work = b.Job(self, self.daemon)
        self.wait_checkpoints(2)
        self.tool("savepoint", "wordcount")
        self.daemon.kill()
        work.stop()
        with sqlite3.connect(self.database()) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("VACUUM")  # no page is free, so each that is damaged has something to tell
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.tables = dict(db.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0"))
        db.close()
        self.whole = b.read(self.database())

    def refused(self, image, *texts, unchanged=True):
        for name in os.listdir(self.data):
            if name.startswith("tidemark.db"):
                os.unlink(os.path.join(self.data, name))
        b.write(self.database(), bytes(image))
        said = self.refuses_to_start("tidemarkd: " + self.database() + ": ", *texts, port=self.daemon.port)
        if unchanged:
            self.assertTrue(b.read(self.database()) == image, "the damaged file was changed: " + said)

    def test_the_header_is_gone(self):
        self.refused(b"\0" * 100 + self.whole[100:], "file is not a database; " + ADVICE)

    def test_any_bit_of_the_magic(self):
        for at in range(16):
            image = bytearray(self.whole)
            image[at] ^= 1 << at % 8
            self.refused(image, "file is not a database; " + ADVICE)

    def test_truncated(self):
        pages = len(self.whole) // PAGE
        for cut in (PAGE, len(self.whole) // 2, len(self.whole) - PAGE):
            with self.subTest("%d of %d pages" % (cut // PAGE, pages)):
                self.refused(self.whole[:cut], ADVICE)

    def test_each_page_zeroed(self):
        pages = len(self.whole) // PAGE
        self.assertGreater(pages, 15)
        free = struct.unpack(">I", self.whole[36:40])[0]
        self.assertEqual(free, 0)
        for page in range(1, pages):
            if self.whole[page * PAGE] not in (2, 5, 10, 13):
                continue  # not of a tree: the end of a long manifest, which has its digest
            with self.subTest("page %d" % (page + 1)):
                self.refused(self.whole[:page * PAGE] + b"\0" * PAGE + self.whole[(page + 1) * PAGE:], ADVICE)

    def test_a_table_is_missing(self):
        image = self.whole.replace(b"CREATE TABLE owed ", b"CREATE TABLE awed ")
        self.assertNotEqual(image, self.whole)
        self.refused(image, ADVICE)

    def test_bits_of_the_spec_of_a_job(self):
        """SQLite does not see these. A job that was loaded with another spec than it had would refuse its workers."""
        at = self.whole.index(b"splitter", (self.tables["job"] - 1) * PAGE)
        for offset in range(-8, 16):
            image = bytearray(self.whole)
            image[at + offset] ^= 1 << (offset % 8)
            self.refused(image, "cannot be loaded: the spec of job wordcount is damaged; " + ADVICE, unchanged=False)

    def test_tasks_that_the_job_does_not_have(self):
        """Nor these: whoever believed them would write beyond the table of the job's tasks."""
        for tasks, said in (("0-9", "worker counter-0 hosts tasks 0-9, of 4"),
                            ("3-4", "worker counter-0 hosts tasks 3-4, of 4"),
                            ("4000000000-4294967290", "worker counter-0 hosts tasks 4000000000-4294967290, of 4"),
                            ("1-1", "task 1 is hosted twice, by worker "), ("", "worker counter-0 hosts no task"),
                            ("2-3 0-1", "the tasks of worker counter-0 are in no rising order")):
            with self.subTest(tasks):
                b.write(self.database(), self.whole)
                with sqlite3.connect(self.database()) as db:
                    db.execute("PRAGMA journal_mode = DELETE")
                    db.execute("UPDATE attempt_member SET tasks = ? WHERE worker = 'counter-0'", (tasks,))
                db.close()
                self.refused(b.read(self.database()), "is damaged: job wordcount: ", said, ADVICE, unchanged=False)


class Logs(b.Case):
    """The daemon is killed under a running job; before it starts again, its logs are damaged."""
    SECONDS = 8

    def setUp(self):
        super().setUp()
        self.start()
        self.work = b.Job(self, self.daemon)
        self.wait_checkpoints(3)

    def killed(self):
        """The newest checkpoint of which somebody was told."""
        newest = self.wait_checkpoints()
        self.daemon.kill()
        return newest

    def nothing_was_lost(self, newest):
        self.start()
        kept = [s["snapshot"] for s in self.snapshots() if s["state"] == "retained"]
        self.assertTrue(kept and max(kept) >= newest, (newest, kept))
        self.wait_checkpoints(2, above=max(kept))
        self.assertEqual(self.job()["state"], "RUNNING", self.job())
        self.work.finish()

    def test_the_write_ahead_log_is_gone(self):
        newest = self.killed()
        for end in ("-wal", "-shm"):
            os.unlink(self.database() + end)
        self.nothing_was_lost(newest)

    def test_the_write_ahead_log_is_truncated(self):
        newest = self.killed()
        os.truncate(self.database() + "-wal", os.path.getsize(self.database() + "-wal") // 2 + 11)
        self.nothing_was_lost(newest)

    def test_a_bit_of_the_write_ahead_log_is_flipped(self):
        newest = self.killed()
        b.flip(self.database() + "-wal", os.path.getsize(self.database() + "-wal") // 3)
        self.nothing_was_lost(newest)

    def test_the_index_of_the_write_ahead_log_is_nonsense(self):
        newest = self.killed()
        b.write(self.database() + "-shm", os.urandom(32768))
        self.nothing_was_lost(newest)


class Journal(b.Case):
    """The database is behind its journal: a copy of it from before is put back alone."""
    SECONDS = 6

    def setUp(self):
        super().setUp()
        self.start()
        self.work = b.Job(self, self.daemon)
        self.wait_checkpoints(2)
        with sqlite3.connect(self.database()) as db, sqlite3.connect(self.path("old.db")) as copy:
            db.backup(copy)
            self.applied = copy.execute("SELECT applied FROM store").fetchone()[0]
        db.close(), copy.close()
        self.newest = self.wait_checkpoints(4, above=self.wait_checkpoints())
        self.daemon.kill()
        for name in os.listdir(self.data):
            if name.startswith("tidemark.db"):
                os.unlink(os.path.join(self.data, name))
        shutil.copy(self.path("old.db"), self.database())
        self.journal = os.path.join(self.data, "journal.0")

    def entries(self):
        """Where each entry of the journal begins, by its number."""
        image, at, found = b.read(self.journal), 0, {}
        while image[at:at + 8] == b"TIDEJRNL":
            number, records, bulk = struct.unpack("<QQQ", image[at + 32:at + 56])
            if found and number != max(found) + 1:
                break
            found[number] = at
            at += (88 + records + bulk + 4095) // 4096 * 4096
        return found

    def test_the_journal_has_what_the_copy_has_not(self):
        self.start()
        kept = [s["snapshot"] for s in self.snapshots() if s["state"] == "retained"]
        self.assertGreaterEqual(max(kept), self.newest)
        self.wait_checkpoints(2, above=max(kept))
        self.work.finish()

    def test_damage_in_the_middle_of_what_is_needed(self):
        """What stands behind it was told, and must not be dropped without a word."""
        entries = self.entries()
        self.assertGreater(max(entries), self.applied + 3)
        for number in (self.applied + 1, self.applied + 2, max(entries) - 1):
            for offset in (0, 9, 20, 33, 41, 60, 75, 100):
                with self.subTest("byte %d of entry %d of %d" % (offset, number, max(entries))):
                    b.flip(self.journal, entries[number] + offset)
                    self.refuses_to_start("tidemarkd: %s: is damaged %d bytes from its start, and entry %d behind that is "
                                          "needed; put back" % (self.journal, entries[number], number + 1), port=self.daemon.port)
                    b.flip(self.journal, entries[number] + offset)
        self.test_the_journal_has_what_the_copy_has_not()

    def test_damage_before_what_is_needed(self):
        entries = self.entries()
        self.assertIn(self.applied - 1, entries)
        b.flip(self.journal, entries[self.applied - 1] + 75)
        self.refuses_to_start("tidemarkd: " + self.journal + ": is damaged ", port=self.daemon.port)

    def test_the_last_entry_is_torn(self):
        """Nobody can tell it from one that was never finished; who was told of it says so."""
        entries = self.entries()
        b.flip(self.journal, entries[max(entries)] + 75)
        self.start()
        b.wait_for("the job's decision", lambda: " goes on, all workers are back" in self.daemon.log() or
                   self.job()["state"] == "HELD")
        if self.job()["state"] == "HELD":
            self.assertIn("an old copy of the database may have been put back", self.job()["cause"])
        else:
            self.work.finish()

    def test_the_journal_of_another_store(self):
        for name in os.listdir(self.data):
            if name.startswith("tidemark.db"):
                os.unlink(os.path.join(self.data, name))
        self.refuses_to_start("tidemarkd: " + self.journal + ": holds commits of another store than tidemark.db; "
                              "put back the tidemark.db that belongs to it, or move journal.0 and journal.1 away",
                              port=self.daemon.port)

    def test_the_journal_is_gone(self):
        os.unlink(self.journal)
        os.unlink(os.path.join(self.data, "journal.1"))
        self.start()
        b.wait_for("the job to be held", lambda: self.job()["state"] == "HELD")
        self.assertIn("an old copy of the database may have been put back", self.job()["cause"])

    def test_the_journal_is_no_file(self):
        os.unlink(self.journal)
        os.mkdir(self.journal)
        self.refuses_to_start("tidemarkd: " + self.journal + ": ", "directory", port=self.daemon.port)

    def test_the_journal_may_not_be_read(self):
        os.chmod(self.journal, 0)
        self.refuses_to_start("tidemarkd: " + self.journal + ": cannot be opened: Permission denied",
                              port=self.daemon.port, prefix=b.NO_OVERRIDE)


class PutBack(b.Case):
    """An old copy of the database is put back under workers that know more."""
    SECONDS = 6

    def test_the_job_is_held_and_nothing_is_deleted(self):
        self.start()
        work = b.Job(self, self.daemon)
        old = self.wait_checkpoints(2)
        with sqlite3.connect(self.database()) as db, sqlite3.connect(self.path("old.db")) as copy:
            db.backup(copy)
        db.close(), copy.close()
        newest = self.wait_checkpoints(3, above=old)
        self.daemon.kill()
        # workers still write, and rename
        shutil.copytree(self.data, self.path("kept"), ignore=shutil.ignore_patterns("*.part"))
        for name in os.listdir(self.data):
            if name.startswith(("tidemark.db", "journal")):
                os.unlink(os.path.join(self.data, name))
        shutil.copy(self.path("old.db"), self.database())
        self.start()
        b.wait_for("the job to be held", lambda: self.job()["state"] == "HELD")
        cause = self.job()["cause"]
        self.assertRegex(cause, r"worker \S+ knows of .*: an old copy of the database may have been put back")
        self.assertIn("job wordcount is HELD: " + cause, self.daemon.log())
        self.assertIn(cause, self.tool("job", "show", "wordcount").stdout.decode())
        self.assertIn("HELD", self.tool("savepoint", "wordcount", code=1).stderr.decode())
        self.tool("status")
        # nobody lets it go on by mistake
        refused = self.tool("release", "wordcount", code=1).stderr.decode()
        self.assertRegex(refused, r"effects would be repeated: only if that is allowed \(--allow-repeat\); those of the rounds "
                         r"after %d, up to \d+ or further" % self.newest_in("old.db"))
        refused = self.tool("restore", "wordcount", "--latest", code=1).stderr.decode()
        self.assertIn("only if that is allowed (--allow-repeat)", refused)
        self.assertEqual(self.job()["state"], "HELD")
        # what the old copy does not know is not its to delete
        kept = self.unknown_to(self.path("old.db"))
        for directory in kept:
            self.assertTrue(os.path.isdir(directory), directory)
        self.daemon.stop()
        # and the right one put back: the job goes on
        shutil.move(self.data, self.path("wrong"))
        shutil.move(self.path("kept"), self.data)
        for attempt in {os.path.dirname(directory) for directory in kept}:
            shutil.copytree(attempt.replace(self.data, self.path("wrong")), attempt, dirs_exist_ok=True)
        self.start()
        self.wait_checkpoints(1, above=newest)
        work.finish()

    def newest_in(self, name):
        """The newest round with effects that a copy knows."""
        with sqlite3.connect(self.path(name)) as copy:
            newest = copy.execute("SELECT max(round) FROM snapshot WHERE kind = 'checkpoint'").fetchone()[0]
        copy.close()
        return newest

    def unknown_to(self, database):
        """Rounds' directories that were there when the daemon was killed, of rounds that this database has not begun."""
        with sqlite3.connect(database) as db:
            known, = db.execute("SELECT max(number) FROM round").fetchone()
        db.close()
        found = [d for d in glob.glob(self.path("kept", "state", "wordcount", "*", "r*"))
                 if int(os.path.basename(d)[1:]) > known]
        self.assertGreater(len(found), 0)
        return [d.replace(self.path("kept"), self.data) for d in found]

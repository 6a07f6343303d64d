"""A wall clock that jumps. Numbers that must rise do, in a running daemon and between two of them; leases and
intervals, which are counted on another clock, take no notice."""
import os
import time
import unittest

import base as b

HOUR, YEAR = 3600, 365 * 86400


def moved(file):
    """The environment in which a program's wall clock is off by what stands in the file."""
    return b.environment(LD_PRELOAD=os.environ["CLOCK"], WALL_CLOCK=file)


@unittest.skipIf(b.SANITIZED, "a preloaded library and a sanitizer do not go together")
class Clock(b.Case):
    SECONDS = 9

    def setUp(self):
        super().setUp()
        self.offset = self.path("offset")
        self.jump(0)

    def jump(self, seconds):
        b.write(self.offset + ".new", "%+d\n" % seconds)
        os.rename(self.offset + ".new", self.offset)

    def begin(self):
        return self.start(env=moved(self.offset))

    def ages_are_not_negative(self):
        for command in (["jobs"], ["job", "show", "wordcount"], ["rounds", "wordcount"], ["snapshots"], ["status"]):
            text = self.tool(*command).stdout.decode()
            self.assertNotRegex(text, r"(^|[ (])-\d", "%s says:\n%s" % (command, text))

    def wall_of_daemon(self):
        """How far its clock is from ours, in seconds."""
        return self.ask("status")["status"]["started_wall_us"] / 1e6 - time.time()

    def test_between_two_starts(self):
        self.begin()
        self.assertLess(abs(self.wall_of_daemon()), 60)
        work = b.Job(self, self.daemon, rate=200000)
        last = self.ask("status")["status"]["incarnation"], self.external(work), self.wait_checkpoints(2)
        for seconds in (-HOUR, YEAR, 0, -YEAR):
            self.daemon.kill()
            self.jump(seconds)
            self.begin()
            self.assertLess(abs(self.wall_of_daemon() - seconds), 60, "the clock was not moved")
            newest = self.wait_checkpoints(2, above=last[2])
            self.assertEqual(self.job()["state"], "RUNNING")
            # an attempt that is adopted keeps its number; a new one has a higher
            work.workers["splitter"].kill()
            work.supervise()
            b.wait_for("a new attempt", lambda: self.external(work) != last[1])
            now = self.ask("status")["status"]["incarnation"], self.external(work), newest
            for before, after in zip(last, now):
                self.assertGreater(after, before)
            self.ages_are_not_negative()
            last = now
        self.jump(0)
        self.daemon.kill()
        self.begin()
        self.assertGreater(self.ask("status")["status"]["incarnation"], last[0])
        work.finish()

    def external(self, work):
        """The highest number that an attempt has been given, as the database has it."""
        self.ask("snapshots")
        return self.sql("SELECT max(external) FROM attempt")[0][0] or 0

    def test_in_a_running_daemon(self):
        self.begin()
        work = b.Job(self, self.daemon, rate=200000)
        newest = self.wait_checkpoints(2)
        external = self.external(work)
        for seconds in (YEAR, -HOUR, -YEAR, 0):
            self.jump(seconds)
            newest = self.wait_checkpoints()
            began = time.monotonic()
            newest = self.wait_checkpoints(5, above=newest)
            took = time.monotonic() - began
            self.assertLess(took, 10, "the interval followed the wall clock")
            self.assertGreater(took, 0.2, "rounds were not 100 ms apart")
            self.ages_are_not_negative()
        self.assertNotIn("lost", self.daemon.log())
        self.assertNotIn("aborted", self.daemon.log())
        self.assertEqual(self.job()["attempt"], 1)
        self.jump(-YEAR)
        work.workers["counter"].kill()
        work.supervise()
        b.wait_for("a new attempt", lambda: self.external(work) != external)
        self.assertGreater(self.external(work), external)
        for r in self.rounds():
            self.assertGreaterEqual(r["ended_wall_us"] or r["begun_wall_us"], 0)
        work.finish()

    def test_a_clock_that_makes_no_sense(self):
        self.jump(-int(time.time()) - YEAR)
        self.refuses_to_start("the system's clock", "set it right", env=moved(self.offset))
        self.jump(60 * YEAR)
        self.begin()
        self.ask("status")
        self.daemon.stop()
        self.jump(0)
        self.begin()
        self.tool("status")

"""docs/errors.md has an entry for every message of the programs and the library, and none for what nobody says."""
import re

import base as b
import messages


class Page(b.Case):
    def test_every_message_has_an_entry_and_every_entry_a_message(self):
        without, unsaid, n, m = messages.compare()
        self.assertEqual(without, [], "add these to docs/errors.md: the message, its cause, what to do")
        self.assertEqual(unsaid, [], "nobody says these any more: take them out of docs/errors.md")
        self.assertGreater(n, 500)
        self.assertGreater(m, 300)

    def test_the_check_can_fail(self):
        self.assertTrue(messages.covers("…: is damaged (…); restore it", "…: is damaged (…); restore it from a backup"))
        self.assertFalse(messages.covers("…: is damaged (…); restore it", "…: restore it; is damaged (…)"))
        found = messages.messages()
        for text in ("the secret is wrong: compare the secret files of both sides", "ABORT_NO_SPACE",
                     "TIDE_ENOSPC: no space left", "its lease is over", "the graph has a cycle:",
                     "…: is the database of another program; restore it from a backup, or move it away to start with "
                     "an empty store"):
            self.assertIn(text, found)

    def test_entries_say_something(self):
        """An entry of a word or two would cover what it does not mean."""
        short = [e for e in messages.entries() if len(re.sub(r"[^A-Za-z_]", "", e)) < 5]
        self.assertEqual(short, [])

    def test_links_lead_somewhere(self):
        with open(messages.ROOT + "/docs/errors.md") as page:
            text = page.read()
        anchors = {re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
                   for line in text.splitlines() if line.startswith("#")}
        links = re.findall(r"\]\(#([^)]*)\)", text)
        self.assertGreater(len(links), 10)
        for link in links:
            self.assertIn(link, anchors)

#!/usr/bin/python3
"""check.py BUILD: docs/capabilities.md says what the tests have shown, no more and no less.

BUILD/tests/capabilities/cells has a line for each cell whose test ran, and passed, just now; where a build has no RocksDB, what needs it is left out. A mark in the page must link
to the test of its row and have its line; a cell without a mark is open, and has its reason. First it is seen that the
check can fail."""
import os
import re
import sys

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
PAGE = os.path.join(TREE, "docs/capabilities.md")
KINDS = ("canonical", "native", "aligned", "unaligned")
ROWS = ("change_backend", "write_offline", "read_offline", "self_contained", "schema_evolution", "arbitrary_upgrade",
        "non_arbitrary_upgrade", "minor_version", "patch_version", "rescaling")
CELL = re.compile(r"\[✓\]\(\.\./tests/capabilities/(\w+)\.py\)")


def table(page):
    """The rows of the first table with five columns, as lists of cells."""
    lines = [[c.strip() for c in line.strip("|\n").split("|")] for line in page.splitlines() if line.startswith("|")]
    return [cells for cells in lines if len(cells) == 5][2:]


def reasons(page):
    """{(row, kind): why} of the table of open cells."""
    found = {}
    for line in page.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")] if line.startswith("|") else []
        if len(cells) == 3 and cells[0] in ROWS:
            for kind in cells[1].split(", "):
                found[cells[0], kind] = cells[2]
    return found


def wrong(page, ran, exists):
    """What is not as it should be, a sentence each."""
    rows, why, claimed = table(page), reasons(page), 0
    if len(rows) != len(ROWS):
        yield "the table has %d rows instead of %d" % (len(rows), len(ROWS))
        return
    for name, cells in zip(ROWS, rows):
        for kind, cell in zip(KINDS, cells[1:]):
            mark = CELL.fullmatch(cell)
            where = "%s, %s" % (name, kind)
            if mark:
                claimed += 1
                if mark.group(1) != name or not exists(name):
                    yield "%s: there is no test %s.py of this row" % (where, mark.group(1))
                elif (name, kind) not in ran:
                    yield "%s: is claimed, and no test has shown it in this run" % where
                if (name, kind) in why:
                    yield "%s: is claimed, and has a reason why it is open" % where
            elif cell != "open":
                yield "%s: is neither claimed with its test nor open: %s" % (where, cell)
            elif not why.get((name, kind)):
                yield "%s: is open without a reason" % where
            elif (name, kind) in ran:
                yield "%s: is shown by its test, and the page has it as open" % where
    if "%d of 40" % claimed not in page:
        yield "the page does not say that %d of 40 are earned" % claimed


def self_check(page, ran, exists):
    """What would be wrong is seen: marks without tests, tests that did not run, cells without reasons."""
    some = sorted(ran)[0]
    mark = "[✓](../tests/capabilities/%s.py)" % some[0]
    other = min(k for k in reasons(page))
    line = next(x for x in page.splitlines() if x.startswith("| %s |" % other[0]))
    for what, changed, shown in (("a test that did not run", page, ran - {some}),
                                 ("a test that is another row's", page.replace(mark, "[✓](../tests/capabilities/lib.py)", 1), ran),
                                 ("a mark without a link", page.replace(mark, "✓", 1), ran),
                                 ("an open cell that is shown", page, ran | {other}),
                                 ("an open cell without a reason", page.replace(line, "", 1), ran),
                                 ("another number", page.replace(" of 40", " of 41"), ran)):
        if not list(wrong(changed, shown, exists)):
            yield "the check does not see %s" % what


def main():
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    with open(os.path.join(sys.argv[1], "tests/capabilities/cells"), encoding="utf-8") as f:
        lines = [line.split(":")[0].split() for line in f]
    left_out = {(row, kind) for what, row, kind in lines if what == "skip"}
    ran = {(row, kind) for what, row, kind in lines if what == "cell"} | left_out

    def exists(name):
        return os.path.exists(os.path.join(TREE, "tests/capabilities", name + ".py"))
    found = list(wrong(page, ran, exists)) or list(self_check(page, ran, exists))
    for line in found:
        print("capabilities: " + line)
    print("capabilities: %d of 40 cells shown in this run, %d left out" % (len(ran) - len(left_out), len(left_out)))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

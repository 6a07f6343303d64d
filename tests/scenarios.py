#!/usr/bin/python3
"""tests/SCENARIOS.md: the numbered scenarios, the tests that bear their numbers, and where Tidemark's rule differs.

    tests/scenarios.py            checks: every number has a test or a reason, and the page is up to date
    tests/scenarios.py --write    fills in the page's column of tests
    tests/scenarios.py --missing  lists the numbers that have neither

A test bears a number by a comment that names it, such as `S49: ...` or `S49, S50: ...`, in front of the test or in
it, or by its name (s49_acks_are_a_set); in Python a comment or a docstring does.
"""
import glob
import os
import re
import sys

TESTS = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(TESTS, "SCENARIOS.md")
ROW = re.compile(r"^\| *(\d+) *\|([^|]*)\|([^|]*)\|([^|]*)\|$")
NUMBER = re.compile(r"\bS(\d{1,3})\b")
NAMED = re.compile(r"(?:^|_)[sS](\d{1,3})(?=_|$)")  # in the name of a test
C_TEST = re.compile(r"START_TEST\((\w+)\)|^(?:static )?[\w ]+?\*?\b(\w+)\([^;]*\)\n\{", re.M)
PY_TEST = re.compile(r"^\s*def (\w+)\(|^@?\w+\(\"([^\"]*)\"", re.M)


def after(tests, at):
    """The test in which a place is, or the next."""
    for begin, end, name in tests:
        if at < end:
            return name
    return None


def spans(text, pattern):
    found = [(m.start(), next(g for g in m.groups() if g)) for m in pattern.finditer(text)]
    ends = [begin for begin, _ in found[1:]] + [len(text)]
    return [(begin, end, name) for (begin, name), end in zip(found, ends)]


def in_c(text):
    """Each number with the test: that behind the comment when the comment stands outside of a function."""
    tests = spans(text, C_TEST)
    for comment in re.finditer(r"/\*.*?\*/|//[^\n]*", text, re.S):
        numbers = NUMBER.findall(comment.group(0))
        if not numbers:
            continue
        line = text.rfind("\n", 0, comment.start()) + 1
        outside = comment.start() == line
        if outside:
            name = next((n for begin, _, n in tests if begin >= comment.end()), None)
        else:
            name = next((n for begin, end, n in tests if begin <= comment.start() < end), None)
        for number in numbers:
            yield int(number), name
    for _, _, name in tests:
        for number in NAMED.findall(name):
            yield int(number), name


BEFORE_TEST = re.compile(r"\s*(?:#[^\n]*\n\s*)*(?:@[^\n]*\n\s*)*(?:def |class |\w+\(\")")


def in_python(text):
    tests = spans(text, PY_TEST)
    for place in re.finditer(r"#[^\n]*|\"\"\".*?\"\"\"", text, re.S):
        for number in NUMBER.findall(place.group(0)):
            if BEFORE_TEST.match(text, place.end()):
                name = next((n for begin, _, n in tests if begin >= place.end()), None)
            else:
                name = next((n for begin, end, n in tests if begin <= place.start() < end), None)
            yield int(number), name


def in_script(text):
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            for number in NUMBER.findall(line):
                yield int(number), None


READERS = {".c": in_c, ".h": in_c, ".py": in_python, ".sh": in_script, ".txt": in_script}


def covered():
    """Number -> names of tests, in order."""
    found = {}
    for path in sorted(glob.glob(os.path.join(TESTS, "**", "*"), recursive=True)):
        reader = READERS.get(os.path.splitext(path)[1])
        if not reader or os.path.abspath(path) == os.path.abspath(__file__) or not os.path.isfile(path):
            continue
        with open(path, encoding="utf-8") as source:
            text = source.read()
        where = os.path.splitext(os.path.relpath(path, TESTS))[0]
        for number, name in reader(text):
            test = "%s: %s" % (where, name) if name else where
            if test not in found.setdefault(number, []):
                found[number].append(test)
    return found


def main():
    found = covered()
    lines, missing, listed = [], [], 0
    with open(PAGE, encoding="utf-8") as page:
        before = page.read()
    for line in before.splitlines():
        row = ROW.match(line)
        if row:
            number, scenario, _, rule = (cell.strip() for cell in row.groups())
            tests = found.get(int(number), [])
            listed += 1
            if not tests and not rule:
                missing.append("S%s: %s" % (number, scenario))
            line = "| %s | %s | %s | %s |" % (number, scenario, "<br>".join("`%s`" % t for t in tests), rule)
            line = re.sub(r" +\|", " |", line)
        lines.append(line)
    text = "\n".join(lines) + "\n"
    if "--missing" in sys.argv:
        print("\n".join(missing))
        print("%d scenarios, %d have neither a test nor a reason" % (listed, len(missing)))
        return 0
    if "--write" in sys.argv:
        with open(PAGE, "w", encoding="utf-8") as page:
            page.write(text)
        return 0
    wrong = ["neither a test that bears the number nor a reason: " + m for m in missing]
    if listed < 130:
        wrong.append("tests/SCENARIOS.md lists only %d scenarios" % listed)
    if text != before and STRICT:
        wrong.append("tests/SCENARIOS.md is not up to date: run tests/scenarios.py --write")
    elif text != before:
        print("scenarios: the column of tests is not up to date: run tests/scenarios.py --write")
    for line in wrong:
        print("scenarios: " + line)
    print("scenarios: %d listed, %d with a test, %d without test and reason" % (
        listed, sum(1 for line in lines if ROW.match(line) and int(ROW.match(line).group(1)) in found), len(missing)))
    return 1 if wrong else 0


STRICT = False  # True: the column of tests must be up to date as well

if __name__ == "__main__":
    sys.exit(main())

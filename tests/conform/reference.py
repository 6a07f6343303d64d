#!/usr/bin/python3
"""The last section of docs/protocol.md: every message and field, as proto/*.proto have them.

    tests/conform/reference.py            checks that the section is up to date
    tests/conform/reference.py --write    writes it anew

test_page.py compares it, besides, with what protoc makes of the same files.
"""
import os
import re
import sys

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
PAGE = os.path.join(TREE, "docs/protocol.md")
FILES = ("common", "worker", "admin", "manifest")
HEADING = "## Every message and field\n"
INTRO = HEADING + """
What the `.proto` files say, in the order of theirs; `make check` compares. Numbers are protobuf's field numbers.
"(2)": only on connections of version 2, or in jobs whose spec needs it.
"""
FIELD = re.compile(r"(repeated )?([\w.]+) (\w+) = (\d+);$")
VALUE = re.compile(r"(\w+) = (\d+);$")


def lines_of(text):
    """(code, comment) of each line; what stands on one line in braces is taken apart."""
    for line in text.splitlines():
        inner = re.match(r"(message \w+ )\{ ?(.*?) ?\}$", line)
        if inner:
            yield inner.group(1) + "{", ""
            for field, comment in re.findall(r"([^;]*;)(?: */\* (.*?) \*/)?", inner.group(2)):
                yield field.strip(), comment
            yield "}", ""
        else:
            code, _, comment = line.partition("//")
            yield code.strip(), comment.strip()


def blocks(text):
    """(kind, name, what is said in front of it, rows) of each message and enum."""
    kind = name = oneof = None
    said, rows = [], []
    for code, comment in lines_of(text):
        begin = re.match(r"(message|enum|oneof) (\w+) \{(\})?$", code)
        if begin and begin.group(1) == "oneof":
            oneof = begin.group(2)
        elif begin:
            kind, name, rows = begin.group(1), begin.group(2), []
            if begin.group(3):
                yield kind, name, " ".join(said), rows
                kind, said = None, []
        elif code == "}" and oneof:
            oneof = None
        elif code == "}":
            yield kind, name, " ".join(said), rows
            kind, said = None, []
        elif kind is None:
            said = said + [comment] if comment and not code else []
        elif code:
            rows.append(row(kind, code, oneof, comment))
        elif comment:
            rows.append(("", "", "", comment))


def row(kind, code, oneof, comment):
    reserved = re.match(r"reserved (.*);$", code)
    if reserved:
        return reserved.group(1), "", "", ("reserved: " + comment) if comment else "reserved"
    if kind == "enum":
        value = VALUE.match(code)
        return value.group(2), "`%s`" % value.group(1), "", comment
    repeated, of, name, number = FIELD.match(code).groups()
    return number, "`%s`" % name, ("list of " if repeated else "") + of + (", one of `%s`" % oneof if oneof else ""), comment


def section():
    out = [INTRO]
    for file in FILES:
        with open(os.path.join(TREE, "proto", file + ".proto"), encoding="utf-8") as f:
            text = f.read()
        out.append("\n### proto/%s.proto\n" % file)
        for kind, name, said, rows in blocks(text):
            out.append("\n**%s**%s%s\n" % (name, "" if kind == "message" else " (enum)", (": " + said) if said else ""))
            if not rows:
                continue
            columns = ("number", "field", "type", "meaning") if kind == "message" else ("number", "value", "meaning")
            out.append("\n| %s |\n|%s\n" % (" | ".join(columns), "---|" * len(columns)))
            for cells in rows:
                if kind == "enum":
                    cells = (cells[0], cells[1], cells[3])
                out.append("| %s |\n" % " | ".join(c.replace("|", "\\|") for c in cells))
    return "".join(out)


def page():
    """The page before the section, and the section."""
    with open(PAGE, encoding="utf-8") as f:
        before, heading, after = f.read().partition("\n" + HEADING)
    return before, (heading + after)[1:]


def main():
    before, have = page()
    want = section()
    if sys.argv[1:] == ["--write"]:
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(before.rstrip("\n") + "\n\n" + want)
        return 0
    if have != want:
        print("docs/protocol.md: its last section is not what proto/*.proto say: tests/conform/reference.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The texts that a user of tidemarkd, tidemark or libtidemark can meet, out of the sources, and the entries of
docs/errors.md. `python3 tests/bad/messages.py` lists what has no entry, and entries that are nowhere said."""
import glob
import os
import re

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
SOURCES = ("proto/*.c", "storage/*.c", "daemon/*.c", "daemon/core/*.c", "client/*.c", "client/cli/*.c", "state/*.c")
PROTOS = ("proto/common.proto", "proto/worker.proto", "proto/admin.proto")
# Help, tables and facts about our own mistakes (docs/errors.md has one entry for all of these).
LEFT_OUT = ("storage/schema.c", "state/format.c", "daemon/core/check.c", "daemon/systemd.c", "daemon/log.c", "proto/graph_show.c", "storage/record.c",
            "client/cli/jobs.c", "client/cli/rounds.c", "client/cli/show.c", "client/cli/status.c", "client/cli/json.c")
WORDS = 3  # a text of fewer is a word of something, or a title
SQL = re.compile(r"\s*\(?(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|BEGIN|ROLLBACK|FROM|WHERE|ORDER|ON|AND|JOIN|VALUES)\b|.*(\?\d|state = '|MAX\()")
INFO = re.compile(r"\b(?:core_log|log_line|log_about)\((?:[^;\"]|%s)*?LEVEL_(?:INFO|DEBUG)(?:[^;\"]|%s)*;" % (('"(?:[^"\\\\\n]|\\\\.)*"',) * 2))
# Facts about our own mistakes within other files.
FACTS = re.compile(r"^(?:static )?const char \*\w+_check\([^;{]*\)\n\{.*?^\}", re.M | re.S)
STRING = r'"(?:[^"\\\n]|\\.)*"'
GLUE = r"(?:\s|PRI\w+|[A-Z][A-Z0-9_]{3,}|\\\n)*"


def macros(texts):
    """What a name of a text stands for, such as TIDE_DB_ADVICE."""
    found = {}
    for text in texts.values():
        for name, body in re.findall(r"#define\s+(\w+)((?:[ \t]|\\\n|%s|PRI\w+)+)" % STRING, text):
            parts = re.findall(STRING, body)
            if parts:
                found[name] = "".join(p[1:-1] for p in parts)
    return found


def normal(text):
    """As it is in the page: one ellipsis for what the program fills in."""
    text = re.sub(r"\\(.)", lambda m: {"n": "\n", "t": " "}.get(m.group(1), m.group(1)), text)
    text = re.sub(r"%[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?(?:hh|h|ll|l|j|z|t)?[diouxXcsp]", "…", text.replace("%%", "%"))
    return re.sub(r"\s+", " ", re.sub(r"…(\s*…)+", "…", text)).strip()


def literals(text, names):
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"_Static_assert\(.*?\);", "", text, flags=re.S)
    text = re.sub(r"^[ \t]*#[ \t]*(include|define MS|define S )[^\n]*$", "", text, flags=re.M)
    for run in re.finditer(r"%s(?:%s%s)*(?:%s(?=[,;:)]))?" % (STRING, GLUE, STRING, GLUE), text):
        out = ""
        for part in re.finditer(r"%s|[A-Z]\w+" % STRING, run.group(0)):
            word = part.group(0)
            if word[0] == '"':
                out += word[1:-1]
            elif word.startswith("PRI"):
                out += "d"
            else:
                out += names.get(word, "")
        yield out


def messages():
    """Each with the file it is in."""
    texts = {}
    for pattern in SOURCES:
        for path in sorted(glob.glob(os.path.join(ROOT, pattern))):
            name = os.path.relpath(path, ROOT)
            with open(path) as source:
                texts[name] = source.read()
    with open(os.path.join(ROOT, "storage/db.h")) as header, open(os.path.join(ROOT, "proto/err.h")) as codes:
        names = macros({**texts, "db.h": header.read()})
        listed = codes.read()
    found = {}
    for name, text in texts.items():
        if name in LEFT_OUT:
            continue
        if name == "client/cli/main.c":  # what stands before is help
            text = text[text.index("void cli_note("):]
        if name == "proto/graph.c":  # what "…: not supported yet" is filled in with
            text = re.sub(r'\bwhat = "[^"]*";', "", text)
        if name.startswith("daemon/core/"):
            text = FACTS.sub("", text)
        text = INFO.sub(";", text)
        if name == "daemon/main.c":
            text = re.sub(r"static const char usage\[\] =.*?;\n", "", text, flags=re.S)
        for line in literals(text, names):
            if normal(line).startswith("# ") or SQL.match(line) or " " not in line.strip() or len(re.findall(r"[A-Za-z]{2,}", line)) < WORDS:
                continue
            found.setdefault(normal(line), name)
    for name, text in re.findall(r"X\((TIDE_\w+), -\d+, \"([^\"]*)\"\)", listed):
        found.setdefault("%s: %s" % (name, text), "proto/err.h")
    for path in PROTOS:
        with open(os.path.join(ROOT, path)) as proto:
            for name in re.findall(r"^  ((?:REFUSED|ABORT|ERROR)_\w+) = [1-9]", proto.read(), re.M):
                found.setdefault(name, path)
    return found


def entries():
    """The first column of the page's tables; several in one cell stand in several spans of code."""
    with open(os.path.join(ROOT, "docs/errors.md")) as page:
        cells = re.findall(r"^\| (`.*?) \|", page.read(), re.M)
    return [entry for cell in cells for entry in re.findall(r"`([^`]+)`", cell)]


def covers(entry, message):
    """Its pieces stand in the message, in order."""
    at = 0
    for piece in entry.split("…"):
        piece = piece.strip()
        at = message.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


def compare():
    """Messages without an entry, and entries without a message."""
    said, known = messages(), entries()
    without = sorted("%s: %s" % (name, text) for text, name in said.items() if not any(covers(e, text) for e in known))
    unsaid = sorted(e for e in known if not any(covers(e, text) for text in said))
    return without, unsaid, len(said), len(known)


if __name__ == "__main__":
    lost, stale, n, m = compare()
    for line in lost:
        print(line)
    for line in stale:
        print("docs/errors.md: nobody says: " + line)
    print("%d messages, %d entries, %d without an entry, %d entries nowhere said" % (n, m, len(lost), len(stale)))

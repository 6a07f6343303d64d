#!/usr/bin/python3
"""tools.py BUILD WORK: the offline tools on savepoints that they have made themselves, without a daemon.

What goes through CSV is what Python's reader has of it. What cannot be is refused by its line or file, and leaves nothing behind."""
import csv
import io
import json
import os
import random
import shutil
import subprocess
import sys

BUILD, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
PATIENCE = 60  # seconds, for what should take one
KINDS = ("value", "list", "map", "split", "union", "broadcast")


def must(fact, text, *args):
    if not fact:
        raise SystemExit("tools: FAILED: " + (text % args if args else text))


def run(*args, text=""):
    return subprocess.run([BUILD + "/tidemark", "state", *args], input=text.encode("utf-8", "surrogateescape"), capture_output=True,
                          timeout=PATIENCE)


def tool(*args, text=""):
    done = run(*args, text=text)
    must(done.returncode == 0, "%s: %s", args, done.stderr)
    return done.stdout.decode()


def comma_separated():
    """CSV: what Python's own reader has of it is what the lines say; what cannot be is refused by its line."""
    head = "operator,state,kind,key,key_hex,item,value,value_hex\r\n"
    rows = [["o", "m", "map", 'say "a", "b"', "", "i,j", "two words", ""], ["o", "m", "map", "", "00ff", "", "", "0d0a"],
            ["o", "m", "map", "", "", "", "", ""], ["o", "l", "list", " blank ", "", "", "\u00e4", ""]]
    where = WORK + "/comma"
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    for given in (head + text.getvalue(), "\ufeff" + (head + text.getvalue()).replace("\r\n", "\n") + "\n"):
        must(tool("write", where, "--csv", text=given) == where + "\n", "write --csv")
        read = tool("read", where, "--csv")
        must("\n" not in read.replace("\r\n", ""), "read --csv: %s", read)
        have = [r for r in csv.DictReader(io.StringIO(read, newline="")) if not r["rows"]]
        names = head.strip().split(",")
        must(sorted([r[n] for n in names] for r in have) == sorted(rows), "read --csv: %s", have)
        shutil.rmtree(where)
    good = "o,m,map,k,,i,v,\n"
    for bad, said in ((head + good + "o,m,map,k\n", "line 3: fewer fields"), (head + good.strip() + ",\n", "line 2: more fields"),
                      (head + 'o,m,map,"k,,i,v,\n', "line 2: a quoted field without an end"),
                      (head + 'o,m,map,k"k,,i,v,\n', "line 2: a quote within a field"),
                      (head + 'o,m,map,k"k",,i,v,\n', "line 2: a quote within a field"),
                      (head + 'o,m,map,"k"k,,i,v,\n', "line 2: something behind a quoted field"),
                      ("operator,state,colour\n", 'line 1: has an unknown member "colour"'), ("kind,kind\n", "a column that stands twice"),
                      (head + '"o\n",m,map,k,,i,v,\n' + good.replace("k,", "\udcff,"), "line 4: not UTF-8"),
                      ("version,state,kind,operator,key,value\nx,s,value,o,k,v\n", '"version" is no number'), ("", "no line declares")):
        done = run("write", where, "--csv", text=bad)
        must(done.returncode == 1 and said in done.stderr.decode(), "%r: %s", bad, done)
    must(not os.path.exists(where), "half a savepoint")


def rows_of(where, *args):
    return [row for row in map(json.loads, tool("read", where, *args).splitlines()) if "rows" not in row]


def content(rows):
    """What it says, wherever it stands: of each key, in order, what it has."""
    found = {}
    for row in rows:
        name = tuple(row.get(k, row.get(k + "_hex")) for k in ("operator", "state", "kind", "key"))
        found.setdefault(name, []).append((row.get("item"), row.get("value", row.get("value_hex"))))
    return {name: sorted(those) if name[2] in ("map", "broadcast") else those for name, those in found.items()}


def make(where, seed, **also):
    """Every kind of state, in operators a and b; b has an a of its own."""
    rng, lines = random.Random(seed), []
    for n in range(600):
        kind = rng.choice(KINDS)
        line = {"operator": rng.choice("ab"), "state": rng.choice(("x", "a")) + kind, "kind": kind, "value": str(n)}
        if kind in KINDS[:3]:
            line["key"] = str(rng.randrange(100) if kind == "list" else n)
        if kind in ("map", "broadcast"):
            line["item"] = str(n)
        lines.append(json.dumps({**line, **also}))
    tool("write", where, text="\n".join(lines) + "\n")
    return content(rows_of(where))


def conversions():
    """Whatever it is converted to, each entry is there once, in its task and key group."""
    had, at, want = WORK + "/had", WORK + "/had", make(WORK + "/had", 3)
    for n, (tasks, most) in enumerate([(1, 128), (7, 7), (5, 1000), (1, 1), (3, 128), (64, 64)]):
        to = WORK + "/to-%d" % n
        must(tool("convert", at, to, "--parallelism", str(tasks), "--max-parallelism", str(most), "--job", "j%d" % n) == to + "\n",
             "convert")
        rows = rows_of(to)
        for row in rows:
            must("key" not in row or row["key_group"] * tasks // most == row["subtask"], "%s is not where it belongs", row)
        copies = [row for row in rows if row["kind"] == "broadcast"]
        must(all(len({r["subtask"] for r in copies if r["item"] == c["item"] and r["state"] == c["state"]}) == tasks for c in copies),
             "a task has no copy")
        must(content(row for row in rows if row["kind"] != "broadcast" or row["subtask"] == 0) == want, "convert: other entries")
        at = to
    to = WORK + "/renamed"
    tool("convert", had, to, "--rename", "a=b", "--rename", "b=a", "--rename", "a/xmap=ymap", "--drop", "b/alist", "--drop", "a/xvalue")
    names = {"a": "b", "b": "a"}
    must(content(rows_of(to)) == {(names[o], "ymap" if (o, s) == ("a", "xmap") else s, *more): v for (o, s, *more), v in want.items()
                                  if (o, s) not in (("b", "alist"), ("a", "xvalue"))}, "renamed: other entries")
    tool("convert", had, WORK + "/one", "--drop", "a")
    must({row["operator"] for row in rows_of(WORK + "/one")} == {"b"}, "dropped")

    # The same tasks keep their own lists, and their own copies.
    tool("convert", WORK + "/to-4", WORK + "/same", "--max-parallelism", "77")
    must([[row for row in rows_of(w) if row["kind"] in KINDS[3:]] for w in (WORK + "/same",)] ==
         [[row for row in rows_of(WORK + "/to-4") if row["kind"] in KINDS[3:]]], "lists have moved")
    for args, said in ((("--rename", "a=b"), "two operators would be called b"), (("--rename", "b/xmap=amap"), "two states would be called amap"),
                       (("--rename", "c=d"), "has nothing that 'c=d' is about"), (("--drop", "a/zz"), "has nothing that 'a/zz' is about"),
                       (("--max-parallelism", "c=3"), "has nothing that 'c=3' is about"),
                       (("--parallelism", "b=200"), "operator b: a parallelism of 200 is above 128"),
                       (("--drop", "a", "--drop", "b"), "nothing would be left"), (("--rename", "a="), "1 to 255 bytes")):
        done = run("convert", had, WORK + "/bad", *args)
        must(done.returncode == 1 and said in done.stderr.decode(), "%s: %s", args, done)
    must(run("convert", had, to).returncode == 1, "it converts over what is there")
    for args, said in ((("--rename", "a"), "--rename needs OLD=NEW"), (("--parallelism", "a=0"), "--parallelism is 1 to"),
                       (sum([("--drop", str(i)) for i in range(33)], ()), "--drop is given more than 32 times")):
        done = run("convert", had, WORK + "/bad", *args)
        must(done.returncode == 2 and said in done.stderr.decode(), "%s: %s", args, done)
    must(run("convert", had).returncode == 2, "convert without TO")

    # What is missing or of something else is named.
    shutil.copytree(WORK + "/to-4", WORK + "/hurt")
    os.remove(WORK + "/hurt/t1-0")
    done = run("convert", WORK + "/hurt", WORK + "/bad")
    must(done.returncode == 1 and "/hurt/t1-0: No such file" in done.stderr.decode(), "%s", done)
    must(not os.path.exists(WORK + "/bad"), "half a savepoint")


def diff(a, b, *args):
    done = run("diff", a, b, "--json", *args)
    must(done.returncode in (0, 1) and bool(done.stdout) == (done.returncode == 1), "diff: %s", done)
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def differences():
    """What differs is what differs in Python, at whatever parallelism."""
    one, two = WORK + "/had", WORK + "/other"
    for n in range(6):  # the same state dealt out to other tasks
        must(diff(one, WORK + "/to-%d" % n) == diff(WORK + "/to-%d" % n, one) == [], "conversions differ")
    lines = [line for line in tool("read", WORK + "/to-4").splitlines()]
    kept = [line for line in lines if '"state": "xmap", "kind"' not in line or '"subtask": 1' not in line]
    tool("write", two, text="\n".join(line.replace('"value": "5', '"value": "95') for line in kept) + "\n")
    want = {"a": content(rows_of(one)), "b": content(rows_of(two))}
    found = diff(one, two)
    for side, other in (("a", "b"), ("b", "a")):
        listed = {}
        for row in found:
            if row["in"] == side:
                key = (row["operator"], row["state"], row["kind"], row.get("key"), row.get("item", row.get("position")))
                must(key not in listed, "%s twice", key)
                listed[key] = row["value"]
        flat = [{(*name, item if name[2] in ("map", "broadcast") else i if name[2] in ("list", "split", "union") else None): value
                 for name, those in want[s].items() for i, (item, value) in enumerate(those)} for s in (side, other)]
        expected = {k: v for k, v in flat[0].items() if flat[1].get(k) != v}
        must(listed == expected and expected, "%s: %s is not %s", side, listed, expected)
    text = run("diff", one, two)
    must(text.returncode == 1 and {line[:3] for line in text.stdout.decode().splitlines()} == {"- {", "+ {"}, "%s", text)
    must(diff(one, two, "--operator", "a", "--state", "asplit") == [row for row in found if (row["operator"], row["state"]) == ("a", "asplit")],
         "options")
    tool("convert", one, WORK + "/less", "--drop", "a/xmap", "--rename", "b/alist=l")
    tool("write", WORK + "/typed", text=tool("read", one).replace('"kind": "value", "rows"', '"kind": "value", "schema": "s", "version": 2, "rows"'))
    states = [(row["in"], row["operator"], row["state"]) for row in diff(one, WORK + "/less") if "rows" in row]
    must(sorted(states) == [("a", "a", "xmap"), ("a", "b", "alist"), ("b", "b", "l")], "%s", states)
    found = diff(one, WORK + "/typed")
    must(found and all(row["kind"] == "value" and "rows" in row for row in found), "schemas: %s", found)
    for args, said in (((one, WORK + "/nothing"), "unable to open"), ((one, WORK + "/hurt"), "t1-0: No such file"),
                       ((one, two, "--state", "no"), "has no such state, nor has the other one"), ((one,), "B is missing")):
        done = run("diff", *args)
        must(done.returncode == 2 and said in done.stderr.decode(), "%s: %s", args, done)


def damage():
    """Every byte of a small savepoint changed in turn: one sentence that names the file, and nothing is made of it."""
    where, to = WORK + "/small", WORK + "/never"
    tool("write", where, text='{"operator": "o", "state": "s", "kind": "value", "key": "k", "value": "v"}\n')
    for name in sorted(os.listdir(where)):
        path = where + "/" + name
        with open(path, "rb") as f:
            whole = f.read()
        step = 1 if len(whole) < 1000 else 997  # a test of the library has every byte
        for at in range(0, len(whole), step):
            with open(path, "wb") as f:
                f.write(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1:])
            done = run("convert", where, to)
            must(done.returncode == 1 and path in done.stderr.decode() and not os.path.exists(to), "%s, byte %d: %s", name, at, done)
        for cut in (0, 1, len(whole) // 2, len(whole) - 1):
            with open(path, "wb") as f:
                f.write(whole[:cut])
            done = run("diff", where, WORK + "/had")
            must(done.returncode == 2 and path in done.stderr.decode(), "%s, cut to %d: %s", name, cut, done)
        with open(path, "wb") as f:
            f.write(whole)
    must(tool("convert", where, to) == to + "\n", "it is not whole again")


comma_separated()
conversions()
differences()
damage()
print("tools: all is right")

#!/usr/bin/python3
"""tools.py BUILD WORK: the offline tools on savepoints that they have made themselves, without a daemon.

What goes through CSV is what Python's reader has of it. What cannot be is refused by its line or file, and leaves nothing behind."""
import csv
import io
import os
import shutil
import subprocess
import sys

BUILD, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
PATIENCE = 60  # seconds, for what should take one


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


comma_separated()
print("tools: all is right")

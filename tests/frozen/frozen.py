"""One of 64 workers is stopped (SIGSTOP): each round that it holds aborts by its deadline and names that worker,
its task and where it was, and nobody else; the next begins on schedule; nobody is rewound, since its lease
outlives the freeze; and once it goes on, rounds complete again.

    frozen.py BUILD WORK-FOLDER

Times are those that the daemon has recorded, in us; a deadline of 2 s may be missed by a tenth, and by what the
machine kept the daemon's loop waiting, which it has measured itself."""
import json
import os
import re
import signal
import subprocess
import sys
import time

BUILD, WORK = sys.argv[1:]
WORKERS, FROZEN = 64, 41
INTERVAL, DEADLINE = 500000, 2000000
PATIENCE = 90
started = []


def fail(text):
    sys.exit("frozen: %s\nthe daemon says:\n%s" % (text, open(os.path.join(WORK, "daemon.log")).read()[-3000:]))


def start(name, *argv):
    log = open(os.path.join(WORK, name + ".log"), "ab")
    started.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
    return started[-1]


def wait_for(what, check):
    end = time.monotonic() + PATIENCE
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > end:
            fail("waited in vain for " + what)
        time.sleep(0.05)


def port():
    found = re.search(r" ready: port (\d+)", open(os.path.join(WORK, "daemon.log")).read())
    return found and found.group(1)


def ask(*argv):
    out = subprocess.run([BUILD + "/tidemark", *argv, "--json", "--connect", address], capture_output=True)
    return json.loads(out.stdout) if out.returncode == 0 else {}


def attempt():
    return [j["attempt"] for j in ask("jobs").get("jobs", [])]


def rounds(state, above=0):
    """Those that have ended so, oldest first."""
    found = ask("rounds", "frozen").get("rounds", [])
    return sorted((r for r in found if r["state"] == state and r["round"] > above), key=lambda r: r["round"])


def check_aborted(r, late):
    took = r["ended_wall_us"] - r["begun_wall_us"]
    if not DEADLINE <= took <= DEADLINE * 11 // 10 + late:
        fail("round %d was aborted after %d us: %s" % (r["round"], took, r["reason"]))
    held = [(h["operator"], h["subtask"], h["worker"]) for h in r["held_by"]]
    if held != [("member", FROZEN, "worker-%d" % FROZEN)] or r["held_by_count"] != 1:
        fail("round %d names as holders %s" % (r["round"], held))
    if not r["held_by"][0]["phase"] or "member[%d]" % FROZEN not in r["reason"]:
        fail("round %d does not say where the holder was: %s" % (r["round"], r))
    if r["acked"] != WORKERS - 1:
        fail("of round %d %d tasks had acked" % (r["round"], r["acked"]))


def main():
    start("daemon", BUILD + "/tidemarkd", "--data", WORK + "/data", "--listen", "127.0.0.1:0")
    global address
    address = "127.0.0.1:" + wait_for("the daemon", port)
    workers = [start("worker-%d" % i, BUILD + "/tests/frozen/worker", address, str(i), str(WORKERS))
               for i in range(WORKERS)]
    wait_for("a checkpoint of all", lambda: rounds("complete"))
    before = attempt()

    workers[FROZEN].send_signal(signal.SIGSTOP)
    aborted = wait_for("two rounds that it holds", lambda: len(rounds("aborted")) >= 2 and rounds("aborted"))
    workers[FROZEN].send_signal(signal.SIGCONT)
    late = ask("status")["status"]["loop_lag_max_us"]
    for r in aborted[:2]:
        check_aborted(r, late)
    pause = aborted[1]["begun_wall_us"] - aborted[0]["ended_wall_us"]
    if pause > INTERVAL + DEADLINE // 10 + late:
        fail("the next round began %d us after the abort, with an interval of %d us" % (pause, INTERVAL))
    wait_for("a checkpoint after the freeze", lambda: rounds("complete", aborted[-1]["round"]))
    if attempt() != before:
        fail("the job was rewound")
    print("frozen: %d workers, one frozen: aborted after %s ms, the next began %d ms later" %
          (WORKERS, ", ".join("%d" % ((r["ended_wall_us"] - r["begun_wall_us"]) // 1000) for r in aborted[:2]),
           pause // 1000))


try:
    main()
finally:
    for process in started:
        process.kill()
    for process in started:
        process.wait()

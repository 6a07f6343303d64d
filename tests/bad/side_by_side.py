"""Runs the test classes of this folder side by side, since they mostly wait; the longest begin first."""
import glob
import os
import re
import subprocess
import sys
import time

AT_ONCE = 4
LIMIT_S = 800


def classes():
    """Each with a guess of how long it takes: what its class says."""
    found = []
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "test_*.py"))):
        module = os.path.basename(path)[:-3]
        with open(path) as source:
            text = source.read()
        for name, body in re.findall(r"^class (\w+)\(b\.Case\):\n(.*?)(?=^\S|\Z)", text, re.M | re.S):
            seconds = re.search(r"^    SECONDS = (\d+)", body, re.M)
            found.append((-int(seconds.group(1)) if seconds else 0, "%s.%s" % (module, name)))
    return [name for _, name in sorted(found)]


def main():
    began = time.monotonic()
    waiting, running, failed, tests = classes(), {}, [], 0
    if not waiting:
        sys.exit("tests/bad: no tests")
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            name = waiting.pop(0)
            running[name] = subprocess.Popen([sys.executable, "-W", "error", "-m", "unittest", name],
                                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT), time.monotonic()
        for name, (process, since) in list(running.items()):
            try:
                out, _ = process.communicate(timeout=0.05)
            except subprocess.TimeoutExpired:
                if time.monotonic() - began > LIMIT_S:
                    process.kill()
                continue
            del running[name]
            text = out.decode("utf-8", "replace")
            ran = re.search(r"^Ran (\d+) tests?", text, re.M)
            tests += int(ran.group(1)) if ran else 0
            skipped = re.findall(r"^OK \(skipped=.*", text, re.M)
            print("%-34s %s, %.1f s %s" % (name, "ok" if process.returncode == 0 else "FAILED",
                                           time.monotonic() - since, " ".join(skipped)), flush=True)
            if process.returncode or not ran or ran.group(1) == "0":
                failed.append(name)
                print(text, flush=True)
    print("bad: %d tests, %.0f s%s" % (tests, time.monotonic() - began,
                                       "; FAILED: " + " ".join(failed) if failed else ""))
    sys.exit(bool(failed))


main()

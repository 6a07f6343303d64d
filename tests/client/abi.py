"""abi.py BUILD [LIBRARY]: what programs that were compiled against tidemark.h (or the header of that
library, tidemark-state) rely on, as text.

    symbol  every name that libtidemark.so exports, with its version
    call    every function's declaration
    struct  size, and offset, size and declaration of each member, as the compiler lays them out
    enum, define   names and values

tests/pure.sh compares it with tests/client/abi.txt and tests/state/abi.txt. The declarations are read from the installed
header; a program that is made of them asks the compiler for the numbers."""
import os
import re
import subprocess
import sys
import tempfile

build = sys.argv[1]
library = (sys.argv[2:] or ["tidemark"])[0]
compiler = os.environ.get("CC", "cc").split()
header = os.path.join(build, f"include/{library}.h")
text = open(header).read()
defines = re.findall(r"^#define (TIDE_[A-Z_]+) +(?=[\d(])", text, re.M)

# Without what it includes only our own declarations are left.
own = re.sub(r"^#include <.*>$", "", text, flags=re.M)
without = ["-DTIDE_API="] if "define TIDE_API" not in own else []
own = subprocess.run([*compiler, *without, "-E", "-P", "-x", "c", "-"], input=own, text=True, check=True,
                     capture_output=True).stdout
own = re.sub(r"__attribute__ ?\(\(.*?\)\)+ ?", "", own)
own = re.sub(r"\s+", " ", own)
own = re.sub(r"static inline [^{;]*\{[^}]*\}", "", own)  # what the program compiles itself

lines, probe = [], []
for line in subprocess.run(["nm", "-D", "--defined-only", os.path.join(build, f"lib{library}.so")],
                           text=True, check=True, capture_output=True).stdout.splitlines():
    lines.append("symbol " + line.split()[2])


def show(expression, label):
    probe.append(f'printf("{label}\\n", {expression});')


for kind, name, body in re.findall(r"\b(struct|enum) (\w+) \{(.*?)\};", own):
    if kind == "enum":
        for value in re.findall(r"(\w+)(?: = [^,]+)?,?", body):
            if not value.lstrip("-").isdigit():
                show(f"(long){value}", f"enum {name}.{value} = %ld")
        continue
    show(f"sizeof(struct {name})", f"struct {name}: %zu bytes")
    for member in filter(None, map(str.strip, body.split(";"))):
        pointer = re.search(r"\(\*(\w+)\)\(", member)
        if pointer:
            fields = [(pointer[1], member.replace(pointer[1], "", 1))]
        else:
            first, *more = (part.strip() for part in member.split(","))
            base = re.match(r"(.*?)(\**\w+(?:\[\d+\])?)$", first)
            fields = [(re.search(r"\w+", one)[0], base[1] + re.sub(r"\w+", "", one, count=1))
                      for one in [base[2], *more]]
        for field, kind_of in fields:
            show(f"offsetof(struct {name}, {field}), sizeof(((struct {name} *)0)->{field})",
                 f"struct {name}.{field}: at %zu, %zu bytes: {kind_of.strip()}")
for name in defines:
    show(f"(long){name}", f"define {name} = %ld")

rest = re.sub(r"\b(struct|enum) \w+ \{.*?\};", "", own)
lines += sorted("call " + c.replace(" )", ")").strip() for c in rest.split(";") if "(" in c)

with tempfile.TemporaryDirectory() as where:
    source = os.path.join(where, "probe.c")
    with open(source, "w") as out:
        out.write(f'#include <stdio.h>\n#include "{library}.h"\n')
        out.write("int main(void)\n{\n")
        out.write("\n".join(probe) + "\nreturn 0;\n}\n")
    subprocess.run([*compiler, "-std=c11", "-I" + os.path.dirname(header), source,
                    "-o", source[:-2]], check=True)
    lines += subprocess.run([source[:-2]], text=True, check=True,
                            capture_output=True).stdout.splitlines()
print("\n".join(lines))

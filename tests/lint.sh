#!/bin/bash
# lint.sh [FILE...] -- COMPILER-FLAGS: the formatter's check over every file that git knows, the man
# pages, then static analysis of every source file, two at a time. An empty list of files is a failure.
# NODES: how many states of a function the analyzer looks at.
set -euo pipefail
files=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    [ "$1" = all ] || files+=("$1")
    shift
done
shift
if [ ${#files[@]} = 0 ]; then mapfile -t files < <(git ls-files '*.[ch]'); fi
[ ${#files[@]} -gt 0 ] || {
    echo "lint: git ls-files names no source: is this a work tree?" >&2
    exit 1
}
echo "lint: format of ${#files[@]} files"
failed=0 formatted=()
for file in "${files[@]}"; do
    [ "$file" != tests/bench/floor.c ] || continue # kept as it came
    formatted+=("$file")
done
printf '%s\0' "${formatted[@]}" | xargs -0 -n 20 -P "$(nproc)" clang-format --dry-run -Werror ||
    { echo "lint: run make format"; failed=1; }

for page in docs/man/*.[1-8]; do
    mandoc -Tlint -W warning "$page" || failed=1
done

# A short list that is meant to stay clean. Left out is what this code does on purpose (integer
# parameters side by side, sizeof of a pointer for arrays of pointers, bytes without NUL) and what the
# analyzer cannot follow across functions here: reference counts, and results that are set only
# when a code of 0 is returned. Sanitizers and valgrind look for those.
checks='-*,bugprone-*,clang-analyzer-*'
for check in bugprone-easily-swappable-parameters bugprone-reserved-identifier bugprone-sizeof-expression \
    bugprone-assignment-in-if-condition bugprone-implicit-widening-of-multiplication-result \
    bugprone-narrowing-conversions bugprone-branch-clone bugprone-suspicious-include \
    bugprone-signal-handler bugprone-macro-parentheses bugprone-not-null-terminated-result \
    bugprone-integer-division bugprone-suspicious-string-compare \
    'clang-analyzer-security.insecureAPI.*' clang-analyzer-optin.performance.Padding \
    clang-analyzer-unix.Malloc clang-analyzer-core.NullDereference clang-analyzer-core.CallAndMessage \
    clang-analyzer-core.DivideZero clang-analyzer-core.uninitialized.Assign; do
    checks+=,-$check
done
mapfile -t sources < <(printf '%s\n' "${files[@]}" | grep '\.c$' | grep -vE '^tests/(bench/floor\.c|[a-z]+/test_)')
echo "lint: clang-tidy of ${#sources[@]} sources"
# The analyzer's own limit, 225,000 states a function, takes two and a half times as long as a third of it and
# reaches 2 % more of the blocks: nearly all functions end before either. `make check-long` goes to the end.
nodes=${NODES:-75000}
flags=("$@")
export LINT_CHECKS=$checks LINT_NODES=$nodes LINT_FLAGS="${flags[*]@Q}"
# The longest first: no processor waits for the last one.
wc -c "${sources[@]}" | grep -v ' total$' | sort -rn | sed 's/^ *[0-9]* //' | tr '\n' '\0' | xargs -0 -n 1 -P "$(nproc)" bash -c '
    eval "flags=($LINT_FLAGS)"
    out=$(clang-tidy --quiet --checks="$LINT_CHECKS" --warnings-as-errors="*" "$1" -- "${flags[@]}" \
        -Xclang -analyzer-config -Xclang max-nodes="$LINT_NODES" -I"$B/include" -Iclient/examples/wordcount 2>/dev/null) ||
        { printf "%s\n" "$out"; exit 1; }' _ || failed=1
[ $failed = 0 ] || exit 1
echo "lint: clean"

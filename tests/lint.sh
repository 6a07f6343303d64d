#!/bin/bash
# lint.sh [FILE...] -- COMPILER-FLAGS: the formatter's check over every file that git knows, the man
# pages, then static analysis of every source file, two at a time. An empty list of files is a failure.
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
failed=0
for file in "${files[@]}"; do
    [ "$file" != tests/bench/floor.c ] || continue # kept as it came
    clang-format --dry-run -Werror "$file" 2>/dev/null || { echo "lint: $file: run make format"; failed=1; }
done

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
flags=("$@")
export LINT_CHECKS=$checks LINT_FLAGS="${flags[*]@Q}"
printf '%s\0' "${sources[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c '
    eval "flags=($LINT_FLAGS)"
    out=$(clang-tidy --quiet --checks="$LINT_CHECKS" --warnings-as-errors="*" "$1" -- "${flags[@]}" -I"$B/include" 2>/dev/null) ||
        { printf "%s\n" "$out"; exit 1; }' _ || failed=1
[ $failed = 0 ] || exit 1
echo "lint: clean"

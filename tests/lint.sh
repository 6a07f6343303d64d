#!/bin/bash
# lint.sh [FILE...] -- COMPILER-FLAGS: the formatter's check over every file that git knows, then
# static analysis of every source file, two at a time. An empty list of files is a failure.
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
clang-format --dry-run -Werror "${files[@]}"

# What the analyzer cannot know or what this code does on purpose is left out: integer parameters
# side by side, reserved names of the fuzzer's entry point, memcpy instead of memcpy_s.
checks='-*,bugprone-*,clang-analyzer-*'
checks+=',-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-assignment-in-if-condition'
checks+=',-bugprone-implicit-widening-of-multiplication-result,-bugprone-narrowing-conversions,-bugprone-branch-clone'
checks+=',-bugprone-suspicious-include,-bugprone-signal-handler,-bugprone-macro-parentheses'
checks+=',-clang-analyzer-security.insecureAPI.*,-clang-analyzer-optin.performance.Padding'
mapfile -t sources < <(printf '%s\n' "${files[@]}" | grep '\.c$' | grep -v '^tests/bench/floor\.c$')
echo "lint: clang-tidy of ${#sources[@]} sources"
flags=("$@")
export LINT_CHECKS=$checks LINT_FLAGS="${flags[*]@Q}"
printf '%s\0' "${sources[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c '
    eval "flags=($LINT_FLAGS)"
    out=$(clang-tidy --quiet --checks="$LINT_CHECKS" --warnings-as-errors="*" "$1" -- "${flags[@]}" -I"$B/include" 2>/dev/null) ||
        { printf "%s\n" "$out"; exit 1; }' _
echo "lint: clean"

#!/bin/bash
# cover.sh: `make cover`: how many branches of daemon/core/ and of the client's aligner the tests of pure code take, assertions left out,
# and with them check.c, which is nothing but assertions. Fails below LEAST percent; each line with a branch that nobody took is in
# build/cover/branches.txt, with its source in build/cover/html/. docs/coverage.md says what is left, and why.
#
#   [LEAST=95] [SEEDS=4000] tests/cover.sh
set -euo pipefail
cd "$(dirname "$0")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL B SAN
build=build/cover
command -v gcovr >/dev/null || { echo "cover: needs gcovr" >&2; exit 1; }
find $build '(' -name '*.gcda' -o -name '*.ok' ')' -delete 2>/dev/null || true # every test runs, and only these count
make --no-print-directory -j"$(nproc)" check B=$build CFLAGS="-O0 -g --coverage" LDFLAGS=--coverage \
    AREAS="core client sim" SIM_SEEDS=$((${SEEDS:-4000} / 4)) CK_TIMEOUT_MULTIPLIER=10
make --no-print-directory -j"$(nproc)" B=$build CFLAGS="-O0 -g --coverage" LDFLAGS=--coverage \
    $build/tests/fuzz/fuzz_{core,session,align}.ok
mkdir -p $build/html
gcovr --root . --object-directory $build --filter 'daemon/core/' --filter 'client/align' --exclude daemon/core/check.c \
    --exclude-branches-by-pattern '.*core_assert.*|.*tide_assert.*' --exclude-throw-branches \
    --gcov-ignore-parse-errors --branches --print-summary --txt $build/branches.txt \
    --html-details $build/html/index.html --fail-under-branch "${LEAST:-95}" $build || { cat $build/branches.txt; exit 1; }
cat $build/branches.txt

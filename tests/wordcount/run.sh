#!/bin/bash
# Every snippet of docs/guide.md stands in the source file that the comment in front of it names. And the
# example refuses what makes no sense, with one line that names it.
#
#   tests/wordcount/run.sh [BUILD]
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${1:-${B:-build}}
wordcount=$B/client/examples/wordcount/wordcount
failures=0

fail() {
    echo "wordcount: $*"
    failures=$((failures + 1))
}

# ---- the guide
file='' block='' inside='' snippets=0
while IFS= read -r line; do
    case $inside$line in
    '<!-- '*' -->') file=${line#<!-- } file=${file% -->} ;;
    '```c') inside=yes block='' ;;
    'yes```')
        inside=''
        snippets=$((snippets + 1))
        [[ $(<"$file")$'\n' == *"$block"* ]] || fail "docs/guide.md shows this, which is not in $file: $block"
        ;;
    yes*) block+=$line$'\n' ;;
    esac
done <docs/guide.md
[ "$snippets" -ge 15 ] || fail "docs/guide.md has only $snippets snippets"

# ---- options
refused() { # what the message must name, then the arguments
    local want=$1 said code
    shift
    said=$("$wordcount" "$@" 2>&1)
    code=$?
    [ "$code" = 1 ] || [ "$code" = 2 ] || fail "$*: exit code $code"
    [[ $said == *"$want"* ]] || fail "$*: does not name '$want': $said"
}
refused usage
refused reducer reducer
refused '--index 2' counter --index 2
refused '--index x' counter --index x
refused '--sources 0' source --sources 0
refused '--counters 99999999999999999999' source --counters 99999999999999999999
refused '--key-groups 2' counter --counters 3 --key-groups 2
refused --input source
refused /nowhere/at/all source --input /nowhere/at/all
refused --parts sink
refused /nowhere/parts sink --parts /nowhere/parts
refused /nowhere/parts sum /nowhere/parts

[ "$failures" = 0 ]

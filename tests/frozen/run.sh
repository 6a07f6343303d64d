#!/bin/sh
# One of 64 workers is frozen; frozen.py has the story.
#   tests/frozen/run.sh BUILD-FOLDER
set -eu
[ $# -eq 1 ] || { echo "usage: tests/frozen/run.sh BUILD-FOLDER" >&2; exit 2; }
cd "$(dirname "$0")/../.."
mkdir -p "$1/tests/frozen"
work=$(mktemp -d "$1/tests/frozen/run-XXXXXX")
${PYTHON:-/usr/bin/python3} -W error::SyntaxWarning tests/frozen/frozen.py "$1" "$work"
rm -rf "$work"

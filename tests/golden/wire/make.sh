#!/bin/bash
# make.sh: writes the .hex files of this folder from messages.txt. Run it after adding a message
# there; a change of a file that exists already is a change of the protocol.
set -euo pipefail
cd "$(dirname "$0")"
top=../../..
type='' name='' text=''
flush() {
    [ -n "$type" ] || return 0
    {
        printf '%s\n' "tide.$type" "$text" | sed -e '/^$/d' -e 's/^/# /'
        printf '%s' "$text" | protoc -I "$top" --encode="tide.$type" \
            proto/common.proto proto/worker.proto proto/admin.proto proto/manifest.proto | od -An -v -tx1 -w16
    } >"$type.$name.hex"
    text=''
}
while IFS= read -r line; do
    case $line in
    '== '*) flush; read -r _ type name <<<"$line" ;;
    *) text+=$line$'\n' ;;
    esac
done <messages.txt
flush

#!/bin/bash
# pure.sh BUILD 'OBJECTS': what the linker alone does not prove.
#
# 1. The core, the aligner and the session, and what they link with, are pure: the objects import nothing but what stands in
#    the list below and what other parts of Tidemark define. No clock, random number, file, socket,
#    thread, libuv or SQLite is in it, and a new function of libc is out until somebody adds it here.
# 2. libtidemark never ends its program: it imports neither abort, exit nor __assert_fail.
# 3. libtidemark.so exports what tidemark.h declares, no more and no less; libtidemark.a defines
#    nothing outside tide_.
set -euo pipefail
build=$1
objects=$2
failed=0
fail() {
    echo "pure: $*" >&2
    failed=1
}

allowed='
memchr memcmp bcmp memcpy memmove memset memmem
strchr strcmp strlen strncmp strncpy strnlen strrchr strstr strspn strcspn stpcpy
snprintf vsnprintf qsort bsearch strtoul strtoull
malloc calloc realloc free
__memcpy_chk __memmove_chk __memset_chk __snprintf_chk __vsnprintf_chk __strcpy_chk __strncpy_chk
__stack_chk_fail __popcountdi2
protobuf_c_message_unpack protobuf_c_message_free_unpacked protobuf_c_message_pack
protobuf_c_message_get_packed_size protobuf_c_message_pack_to_buffer protobuf_c_message_check
protobuf_c_message_init protobuf_c_message_descriptor protobuf_c_enum_descriptor
protobuf_c_empty_string protobuf_c_enum_descriptor_get_value
'
# The core may stop the process when its own memory ends or one of its assertions fails, and may
# say so; what it links to beside (proto/, storage/record, storage/manifest) is checked as well.
core_only='abort stderr fprintf fputs fputc fwrite vfprintf __fprintf_chk __vfprintf_chk'

[ -n "$objects" ] || fail "no objects given"
# shellcheck disable=SC2086
defined=$(nm --defined-only -g $objects | awk 'NF == 3 {print $3}' | sort -u)
for object in $objects; do
    extra=''
    case $object in "$build"/daemon/core/*) extra=$core_only ;; esac
    imports=$(nm -u "$object" | awk '$2 != "_GLOBAL_OFFSET_TABLE_" {print $2}')
    while read -r symbol; do
        [ -z "$symbol" ] && continue
        grep -qxF -- "$symbol" <<<"$defined" && continue
        case " $(echo $allowed $extra) " in *" ${symbol%@*} "*) continue ;; esac
        fail "${object#"$build"/} imports $symbol"
    done <<<"$imports"
done

for symbol in abort exit _exit __assert_fail __assert quick_exit; do
    for library in "$build/libtidemark.a" "$build/libtidemark.so"; do
        undefined=$(case $library in *.so) nm -D -u "$library" ;; *) nm -u "$library" ;; esac)
        if awk '{print $2}' <<<"$undefined" | sed 's/@.*//' | grep -qxF -- "$symbol"; then
            fail "${library#"$build"/} imports $symbol"
        fi
    done
done

declared=$(sed -n 's/^    \(tide_[a-z0-9_]*\);$/\1/p' "$build/libtidemark.map" | sort -u)
exported=$(nm -D --defined-only "$build/libtidemark.so" | awk '$2 ~ /^[TDBRVW]$/ {print $3}' | sed 's/@.*//' | sort -u)
[ "$(wc -l <<<"$declared")" -gt 10 ] || fail "tidemark.h seems to declare hardly anything"
difference=$(diff <(echo "$declared") <(echo "$exported")) || {
    fail "tidemark.h (<) and the symbols of libtidemark.so (>) differ:"
    echo "$difference" >&2
}
foreign=$(nm --defined-only -g "$build/libtidemark.a" | awk 'NF == 3 {print $3}' | grep -v '^tide_' | sort -u || true)
[ -z "$foreign" ] || fail "libtidemark.a defines" $foreign

[ $failed = 0 ] || exit 1
echo "pure: $(wc -w <<<"$objects") objects, $(wc -l <<<"$exported") exported symbols"

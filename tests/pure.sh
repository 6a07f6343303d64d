#!/bin/bash
# pure.sh BUILD 'OBJECTS': what the linker alone does not prove.
#
# 1. The core, the aligner and the session, and what they link with, are pure: the objects import nothing but what stands in
#    the list below and what other parts of Tidemark define. No clock, random number, file, socket,
#    thread, libuv or SQLite is in it, and a new function of libc is out until somebody adds it here.
# 2. libtidemark never ends its program and never prints: it imports neither abort, exit nor
#    __assert_fail, and nothing of stdio that writes.
# 3. libtidemark needs libc and protobuf-c alone, the shared and the static one.
# 4. libtidemark.so exports what tidemark.h declares, no more and no less; libtidemark.a defines
#    nothing outside tide_. libtidemark(3) names each function.
# 5. What programs were compiled against has not changed: symbols, declarations, the layout of
#    structs, the values of enums are those of tests/client/abi.txt.
# 6. The same of libtidemark-state, which may use libtidemark, SQLite and RocksDB beside.
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
protobuf_c_message_descriptor_get_field
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

never='abort exit _exit _Exit quick_exit __assert_fail __assert_perror_fail __assert raise kill err errx
stdout stderr printf vprintf puts putchar fputs fputc fwrite fprintf vfprintf __printf_chk
__fprintf_chk __vfprintf_chk perror psignal syslog __syslog_chk'
for library in "$build"/libtidemark{,-state}.{a,so}; do
    undefined=$(case $library in *.so) nm -D -u "$library" ;; *) nm -u "$library" ;; esac |
        awk 'NF == 2 {print $2}' | sed 's/@.*//' | sort -u)
    nm "$library" | grep ' tide_' >/dev/null || fail "${library#"$build"/} has nothing: nm does not see it"
    for symbol in $never; do
        ! grep -qxF -- "$symbol" <<<"$undefined" || fail "${library#"$build"/} imports $symbol"
    done
done

needed=$(readelf -d "$build/libtidemark.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p' | sort | tr '\n' ' ')
[ "$needed" = 'libc.so.6 libprotobuf-c.so.1 ' ] || fail "libtidemark.so needs $needed"
${CC:-cc} -shared -nostdlib -o "$build/pure.so" -Wl,--no-undefined -Wl,--whole-archive "$build/libtidemark.a" \
    -Wl,--no-whole-archive -lprotobuf-c -lc || fail "libtidemark.a needs more than libc and protobuf-c"
rm -f "$build/pure.so"

needed=$(readelf -d "$build/libtidemark-state.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p')
foreign=$(grep -vxE 'lib(c|protobuf-c|sqlite3|tidemark|rocksdb)\.so\.[0-9.]+' <<<"$needed" || true)
[ -z "$foreign" ] || fail "libtidemark-state.so needs" $foreign

library() { # NAME ABI-FILE LEAST: what it exports, and that its page and the list of old know it
    local name=$1 abi_file=$2 least=$3 declared exported difference foreign symbol abi
    declared=$(sed -n 's/^    \(tide_[a-z0-9_]*\);$/\1/p' "$build/$name.map" | sort -u)
    exported=$(nm -D --defined-only "$build/$name.so" | awk '$2 ~ /^[TDBRVW]$/ {print $3}' | sed 's/@.*//' | sort -u)
    [ "$(wc -l <<<"$declared")" -gt $least ] || fail "$name.map seems to declare hardly anything"
    difference=$(diff <(echo "$declared") <(echo "$exported")) || {
        fail "the header of $name (<) and its symbols (>) differ:"
        echo "$difference" >&2
    }
    foreign=$(nm --defined-only -g "$build/$name.a" | awk 'NF == 3 {print $3}' | grep -v '^tide_' | sort -u || true)
    [ -z "$foreign" ] || fail "$name.a defines" $foreign

    for symbol in $exported; do # of a macro that hands over a size, the page has the macro
        grep -q "^\.Fn ${symbol%_sized}\>" docs/man/$name.3 ||
            fail "docs/man/$name.3 does not tell about $symbol"
    done

    symbols=$((symbols + $(wc -l <<<"$exported")))
    abi=$("${PYTHON:-python3}" tests/client/abi.py "$build" "${name#lib}") || {
        fail "tests/client/abi.py failed"
        exit 1
    }
    difference=$(diff $abi_file - <<<"$abi") || {
        fail "what programs rely on has changed, $abi_file (<) against this tree (>):"
        cat >&2 <<END
$difference
If that is not meant, undo it: programs that run today would break.
If it only adds (a function, a code, an enum's value, a struct's member at the end of one that is
handed over with its size, where no padding was), write it down:
    ${PYTHON:-python3} tests/client/abi.py $build ${name#lib} >$abi_file
If it takes away or changes anything, it also needs a new soname: $name.so.1 and TIDEMARK_1 in
the Makefile in the place of $name.so.0 and TIDEMARK_0, and a line in CHANGELOG.md.
END
    }
}
symbols=0
library libtidemark tests/client/abi.txt 10
library libtidemark-state tests/state/abi.txt 2

[ $failed = 0 ] || exit 1
echo "pure: $(wc -w <<<"$objects") objects, $symbols exported symbols"

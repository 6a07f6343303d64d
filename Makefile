# Tidemark. The folders decide what links with what:
#
#   proto/        libprotobuf-c                     (P)
#   storage/      P, SQLite; record and manifest are pure (R)
#   daemon/core/  P, R: nothing else, see tests/pure.sh
#   daemon/       all of the above, libuv
#   client/       libtidemark: P without anything else; the CLI adds storage
#   tests/<area>/test_*.c  one program each, linked with what the area may use
#
# A variant is a build folder:  make check B=build/asan SAN=address,undefined
B ?= build
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
PYTHON ?= /usr/bin/python3

PACKAGES := gcc libc6-dev make autoconf pkg-config protobuf-c-compiler libprotobuf-c-dev libuv1-dev \
            libsqlite3-dev libxxhash-dev check

all:
ifeq ($(filter clean distclean help,$(MAKECMDGOALS)),)
include config.mk
endif
CFLAGS := $(or $(CFLAGS),-g -O2)

SANITIZE = $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
WARN = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes $(WERROR)
FLAGS = -std=c11 -D_GNU_SOURCE -DTIDE_VERSION='"$(VERSION)"' -DXXH_INLINE_ALL -I. -I$B -fPIC -fvisibility=hidden \
        $(WARN) $(UV_CFLAGS) $(PROTO_CFLAGS) $(SQLITE_CFLAGS) $(XXHASH_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(SANITIZE)
Q = $(if $(V),,@echo '  $(1) $@';)

PB       := $(patsubst proto/%.proto,$B/proto/%.pb-c,$(wildcard proto/*.proto))
PB_H     := $(PB:=.h)
obj       = $(patsubst %.c,$B/%.o,$(wildcard $(addsuffix /*.c,$(1))))
P        := $(call obj,proto) $(PB:=.o)
R        := $B/storage/record.o $B/storage/manifest.o
S        := $(filter-out $R,$(call obj,storage))
CORE     := $(call obj,daemon/core)
HOST     := $(filter-out $B/daemon/main.o,$(call obj,daemon))
CLI      := $(call obj,client/cli)
LIB      := $(call obj,client)
# libtidemark carries only what it needs of proto/
LIB_P    := $(filter-out $B/proto/admin.pb-c.o $B/proto/manifest.pb-c.o,$P)

all: $B/tidemarkd $B/tidemark $B/libtidemark.a $B/libtidemark.so

$B/tidemarkd: $B/daemon/main.o $(HOST) $(CORE) $S $R $P
	$(call Q,LINK)$(CC) $(LDFLAGS) $(CFLAGS) $(SANITIZE) -o $@ $^ $(UV_LIBS) $(SQLITE_LIBS) $(PROTO_LIBS) -pthread
$B/tidemark: $(CLI) $S $R $P
	$(call Q,LINK)$(CC) $(LDFLAGS) $(CFLAGS) $(SANITIZE) -o $@ $^ $(SQLITE_LIBS) $(PROTO_LIBS) -pthread
$B/libtidemark.a: $(LIB) $(LIB_P)
	$(call Q,AR)rm -f $@ && $(AR) rcs $@ $^
$B/libtidemark.so: $(LIB) $(LIB_P) client/libtidemark.map
	$(call Q,LINK)$(CC) -shared -Wl,-soname,libtidemark.so.0 -Wl,--version-script=client/libtidemark.map -Wl,--no-undefined \
	  $(LDFLAGS) $(CFLAGS) $(SANITIZE) -o $@ $(filter %.o,$^) $(PROTO_LIBS) -pthread

$B/%.o: %.c config.mk | $(PB_H)
	@mkdir -p $(@D)
	$(call Q,CC)$(CC) $(FLAGS) -MMD -MP -c -o $@ $<
$B/proto/%.pb-c.o: $B/proto/%.pb-c.c
	$(call Q,CC)$(CC) $(FLAGS) -w -c -o $@ $<
$B/proto/%.pb-c.c $B/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	$(call Q,PROTOC)$(PROTOC_C) --c_out=$B $<

# ---- tests: the folder says what may be linked
TESTS    := $(patsubst %.c,$B/%,$(wildcard tests/*/test_*.c))
$B/tests/proto/%:   NEEDS = $P
$B/tests/storage/%: NEEDS = $S $R $P
$B/tests/core/%:    NEEDS = $(CORE) $R $P
$B/tests/client/%:  NEEDS = $(LIB) $P
$B/tests/daemon/%:  NEEDS = $(HOST) $(CORE) $S $R $P
.SECONDEXPANSION:
$(TESTS): $$@.o $$(filter %.o,$$(patsubst %.c,$$B/%.o,$$(wildcard $$(@D:$$B/%=%)/lib_*.c))) $P $R
$(filter $B/tests/storage/%,$(TESTS)): $S
$(filter $B/tests/core/%,$(TESTS)): $(CORE)
$(filter $B/tests/client/%,$(TESTS)): $(LIB)
$(filter $B/tests/daemon/%,$(TESTS)): $(HOST) $(CORE) $S
$(TESTS):
	$(call Q,LINK)$(CC) $(LDFLAGS) $(CFLAGS) $(SANITIZE) -o $@ $(filter %.o,$^) $(CHECK_LIBS) $(UV_LIBS) $(SQLITE_LIBS) $(PROTO_LIBS) -pthread
%.ok: %
	$(call Q,TEST)$(RUN) $< && touch $@
check: $(TESTS:=.ok)

config.mk: config.mk.in configure
	if test -x config.status; then ./config.status --recheck && ./config.status; else ./configure; fi
configure: configure.ac
	autoconf
clean:
	rm -rf build
distclean: clean
	rm -rf config.mk config.status config.log configure configure~ autom4te.cache
.PHONY: all check clean distclean
-include $(shell find $B -name '*.d' 2>/dev/null)

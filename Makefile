# Tidemark. `make help` lists the targets. The folders decide what links with what:
#
#   proto/           libprotobuf-c                             (P)
#   storage/         P, SQLite; record, manifest, retention are pure   (S; R)
#   daemon/core/     P, R and nothing else: tests/pure.sh      (CORE)
#   daemon/          all of the above, libuv                   (HOST)
#   client/          libtidemark: P and nothing else           (LIB)
#   state/           libtidemark-state: tidemark.h, P, SQLite,
#                    RocksDB if configured                     (STATE)
#   client/cli/      P, storage, what reads state              (CLI)
#   client/examples/ the installed header and libtidemark.a
#   tests/<area>/    test_*.c: one program each, linked with what the area may use and with the
#                    area's lib_*.c; run.sh: a test with real processes
#
# A variant is a build folder, with one set of flags for its whole life:
#   make check B=build/asan SAN=address,undefined       make B=build/clang CC=clang
#   make check B=build/cov CFLAGS="-O0 --coverage" LDFLAGS=--coverage
#
# > make                     programs, library and examples, below build/
# > make demo                the main job on real text, with kills [BYTES=200M SEED=n]
# > make demo-solver         an iterative solver, with kills [BLOCKS=6 SIZE=600 STEPS=4000 KILLS=30 SEED=n]
# > make check               all tests once, with one compiler
# > make check-all           the gate: other compiler, sanitizers, valgrind, lint, short demos [STEPS="lint asan"]
# > make check-long          sizes and spans too long for the gate
# > make sim                 simulated histories [SEEDS=n FIRST=n ALL=1 | SEED=n TRACE=1]
# > make bench               the benchmark's table and build/bench.json [BENCH_ARGS=...]
# > make cover             branches of the core and the aligner that the tests take
# > make fuzz SECONDS=n      the fuzz targets, n seconds each [TARGETS="line state"]
# > make lint, make format   formatter check and static analysis; formatting
# > make install, uninstall  honour prefix and DESTDIR
# > make deb                 Debian packages, in build/deb
# > make clean, distclean    remove what was built; and configured
# > make dist                an archive that builds without autoconf
# > V=1 shows commands, DEPS=no leaves packages alone, B=folder and SAN=, CC=, CFLAGS= make variants
B ?= build
export B
PYTHON ?= /usr/bin/python3
export PYTHON

.DELETE_ON_ERROR:
.SECONDARY:
.SECONDEXPANSION:
MAKEFLAGS += --no-builtin-rules
ifeq ($(MAKELEVEL),0)
# Many tests mostly wait: with more of them than cores.
MAKEFLAGS += -j$(shell expr $$(nproc) + $(if $(filter check,$(MAKECMDGOALS)),2,0))
endif

# What the build needs, what `make check` needs beside, and `make check-all`; Debian's names.
PACKAGES := gcc libc6-dev make autoconf pkg-config protobuf-c-compiler libprotobuf-c-dev libuv1-dev \
            libsqlite3-dev libxxhash-dev check
# The RocksDB backend is optional, and built where this is installed; the tests want it.
PACKAGES_ROCKSDB := $(if $(filter check%,$(MAKECMDGOALS)),librocksdb-dev)
PACKAGES_CHECK := python3 python3-protobuf python3-xxhash protobuf-compiler sqlite3 procps
PACKAGES_ALL := git clang clang-format clang-tidy libclang-rt-14-dev valgrind mandoc
PACKAGES_COVER := gcovr
PACKAGES_DEB := debhelper dpkg-dev fakeroot lintian

all:
ifneq ($(if $(MAKECMDGOALS),$(filter-out clean distclean help dist,$(MAKECMDGOALS)),all),)
include config.mk
endif
CFLAGS := $(or $(CFLAGS),-g -O2)
# Below /usr and /usr/local the configuration is in /etc, unless another place was asked for.
ifeq ($(value sysconfdir),$${prefix}/etc)
ifneq ($(filter /usr /usr/local,$(prefix)),)
sysconfdir = /etc
endif
endif
export CK_TIMEOUT_MULTIPLIER ?= 5

SANITIZE = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
WARN  = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes $(WERROR)
BASE  = -std=c11 -D_GNU_SOURCE -fPIC $(WARN) $(CPPFLAGS) $(CFLAGS) $(SANITIZE)
FLAGS = $(BASE) -DTIDE_VERSION='"$(VERSION)"' -DXXH_INLINE_ALL -I. -I$B \
        $(UV_CFLAGS) $(PROTO_CFLAGS) $(SQLITE_CFLAGS) $(XXHASH_CFLAGS)
LINK  = $(CC) $(LDFLAGS) $(CFLAGS) $(SANITIZE)
Q     = $(if $(V),,@echo '  $(1) $@';)

# ---- what there is

obj    = $(patsubst %.c,$B/%.o,$(wildcard $(1)))
PB    := $(patsubst proto/%.proto,$B/proto/%.pb-c,$(wildcard proto/*.proto))
P     := $(call obj,proto/*.c) $(PB:=.o)
R     := $(addprefix $B/storage/,record.o manifest.o retention.o)
S     := $(filter-out $R,$(call obj,storage/*.c))
CORE  := $(call obj,daemon/core/*.c)
HOST  := $(filter-out $B/daemon/main.o,$(call obj,daemon/*.c))
CLI   := $(call obj,client/cli/*.c)
LIB   := $(call obj,client/*.c)
STATE := $(filter-out $(if $(ROCKSDB_LIBS),,$B/state/rocksdb%.o),$(call obj,state/*.c))
# What STATE needs beside what libtidemark carries: manifests, indexes of native snapshots.
STATE_P := $B/storage/manifest.o $B/proto/manifest.pb-c.o $B/proto/native.pb-c.o
# What the command reads state with.
CLI_STATE := $(addprefix $B/state/,backend.o descriptor.o descriptor_compare.o directory.o evolve.o flow.o format.o key_group.o memory.o native.o place.o read.o states.o tree.o write.o) \
             $(filter $B/state/rocksdb%.o,$(STATE))
# The part of LIB that does no I/O, and the part of P that libtidemark carries.
PURE  := $(call obj,client/align*.c client/gateway.c client/session*.c)
LIB_P := $(filter-out $B/proto/admin.pb-c.o $B/proto/manifest.pb-c.o $B/proto/native.pb-c.o,$P)

PROGRAMS := $B/tidemarkd $B/tidemark
LIBRARY  := $(foreach l,tidemark tidemark-state,$B/lib$l.a $B/lib$l.so $B/lib$l.so.0 $B/include/$l.h $B/$l.pc)
EXAMPLES := $(foreach e,$(sort $(notdir $(patsubst %/,%,$(dir $(wildcard client/examples/*/*.c))))),$B/client/examples/$e/$e)
TESTS    := $(patsubst %.c,$B/%,$(wildcard tests/*/test_*.c))
SCRIPTS  := $(patsubst %.sh,$B/%,$(wildcard tests/*/run.sh))
FUZZ     := $(patsubst %.c,$B/%,$(wildcard tests/fuzz/fuzz_*.c))
SIM_SRC  := $(filter-out $(wildcard tests/sim/test_*.c),$(wildcard tests/sim/*.c))
SIM      := $(if $(SIM_SRC),$B/tests/sim/sim)
BENCH    := $B/tests/bench/floor $B/tests/bench/bench $B/tests/bench/bench_store $B/tests/bench/bench_acks $B/tests/bench/bench_align $B/tests/bench/bench_state
DRIVER   := $(if $(wildcard tests/demo/*.c),$B/demo/driver)

all: $(PROGRAMS) $(LIBRARY) $(EXAMPLES)

# ---- compiling

$B/state/backend.o: FLAGS += $(if $(ROCKSDB_LIBS),-DTIDE_ROCKSDB)
$B/state/rocksdb.o: FLAGS += $(ROCKSDB_CFLAGS)
$B/%.o: %.c config.mk | $(PB:=.h)
	@mkdir -p $(@D)
	$(call Q,CC    )$(CC) $(FLAGS) -MMD -MP -c -o $@ $<
$B/proto/%.pb-c.o: $B/proto/%.pb-c.c
	$(call Q,CC    )$(CC) $(FLAGS) -DNDEBUG -w -c -o $@ $< # generated code asserts; a library does not
$B/proto/%.pb-c.c $B/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	$(call Q,PROTOC)$(PROTOC_C) --c_out=$B $<

# ---- programs and library

$B/tidemarkd: $B/daemon/main.o $(HOST) $(CORE) $S $R $P
	$(call Q,LINK  )$(LINK) -o $@ $^ $(UV_LIBS) $(SQLITE_LIBS) $(PROTO_LIBS) -pthread
$B/tidemark: $(CLI) $(CLI_STATE) $S $R $P
	$(call Q,LINK  )$(LINK) -o $@ $^ $(ROCKSDB_LIBS) $(SQLITE_LIBS) $(PROTO_LIBS) -pthread

$B/libtidemark.a: $(LIB) $(LIB_P)
	$(call Q,AR    )rm -f $@ && $(AR) rcs $@ $^
$B/libtidemark.so.$(VERSION): $(LIB) $(LIB_P) $B/libtidemark.map
	$(call Q,LINK  )$(LINK) -shared -Wl,-soname,libtidemark.so.0 -Wl,--version-script=$B/libtidemark.map \
	  $(if $(SAN),,-Wl,--no-undefined) -o $@ $(filter %.o,$^) $(PROTO_LIBS) -pthread
# The state library calls the other one, and carries what it uses of P, unseen from outside.
$B/libtidemark-state.a: $(STATE) $(STATE_P)
	$(call Q,AR    )rm -f $@ && $(AR) rcs $@ $^
$B/libtidemark-state.so.$(VERSION): $(STATE) $(STATE_P) $(LIB_P) $B/libtidemark-state.map | $B/libtidemark.so $B/libtidemark.so.0
	$(call Q,LINK  )$(LINK) -shared -Wl,-soname,libtidemark-state.so.0 -Wl,--version-script=$B/libtidemark-state.map \
	  $(if $(SAN),,-Wl,--no-undefined) -o $@ $(filter %.o,$^) -L$B -ltidemark $(ROCKSDB_LIBS) $(SQLITE_LIBS) $(PROTO_LIBS) -pthread
$B/libtidemark.so $B/libtidemark.so.0: $B/libtidemark.so.$$(VERSION)
$B/libtidemark-state.so $B/libtidemark-state.so.0: $B/libtidemark-state.so.$$(VERSION)
$(foreach l,$B/libtidemark $B/libtidemark-state,$l.so $l.so.0):
	@ln -sf $(<F) $@
# The header that is installed is one file: err.h in the place of its #include. What it declares
# is what the shared library exports.
$B/include/tidemark.h: client/tidemark.h proto/err.h
	@mkdir -p $(@D)
	$(call Q,HEADER)sed -e '/^#include "proto\/err.h"$$/{r proto/err.h' -e 'd' -e '}' $< >$@
$B/include/tidemark-state.h: state/tidemark-state.h
	@mkdir -p $(@D)
	$(call Q,HEADER)sed -e 's/^#include "client.tidemark.h"$$/#include <tidemark.h>/' $< >$@
# $(call map,header,version): what is declared and not inline
map = $(call Q,MAP   )sed 's/^\#include <tidemark.h>//' $1 | $(CC) -E -P -x c - | tr '\n' ' ' | \
	  sed 's/static inline[^{]*{[^}]*}//g' | grep -o '\<tide_[a-z0-9_]*(' | sort -u | \
	  { echo '$2 {'; echo '  global:'; sed 's/.$$/;/; s/^/    /'; echo '  local: *;'; echo '};'; } >$@
$B/libtidemark.map: $B/include/tidemark.h
	$(call map,$<,TIDEMARK_0)
$B/libtidemark-state.map: $B/include/tidemark-state.h
	$(call map,$<,TIDEMARK_STATE_0)
# Where things go may be given as late as `make install prefix=...`: what names those places is
# made anew when they have changed.
$B/paths: FORCE
	@mkdir -p $(@D) && echo '$(prefix) $(exec_prefix) $(libdir) $(includedir) $(sbindir) $(sysconfdir) $(datarootdir)' >$@.new && \
	  { cmp -s $@.new $@ || cp $@.new $@; }
FORCE:
$B/daemon/main.o: FLAGS += -DTIDE_SYSCONFDIR='"$(sysconfdir)"'
$B/daemon/main.o: $B/paths
$B/tidemark.pc: client/tidemark.pc.in
$B/tidemark-state.pc: state/tidemark-state.pc.in
$B/tidemark.pc $B/tidemark-state.pc: config.mk $B/paths
	$(call Q,PC    )sed -e 's|@prefix@|$(prefix)|; s|@exec_prefix@|$(exec_prefix)|; s|@libdir@|$(libdir)|' \
	  -e 's|@includedir@|$(includedir)|; s|@VERSION@|$(VERSION)|; s|@ROCKSDB_LIBS@|$(ROCKSDB_LIBS)|' $(filter %.in,$^) >$@

# client/examples/<name>/*.c make the program <name>, with no more than what is installed.
$B/client/examples/%.o: client/examples/%.c $B/include/tidemark.h config.mk
	@mkdir -p $(@D)
	$(call Q,CC    )$(CC) $(BASE) -I$B/include -I. -MMD -MP -c -o $@ $<
$(EXAMPLES): $$(patsubst %.c,$B/%.o,$$(wildcard $$(patsubst $B/%,%,$$(@D))/*.c)) $B/libtidemark.a
	$(call Q,LINK  )$(LINK) -o $@ $^ $(PROTO_LIBS) -pthread

# ---- tests: `make check`. A test that passes leaves an .ok beside its .log and is not run again
# until something that it is made of changes.

libs = $(patsubst %.c,$B/%.o,$(wildcard $(patsubst $B/%,%,$(1))/lib_*.c))
$(TESTS:=.o) $(call obj,tests/*/lib_*.c): FLAGS += -include tests/proto/lib_mark.h
$(TESTS): %: %.o $$(call libs,$$(@D)) $P
	$(call Q,LINK  )$(LINK) -o $@ $(filter %.o,$^) $(CHECK_LIBS) $(LIBS) $(PROTO_LIBS) -pthread
$(filter $B/tests/storage/%,$(TESTS)): $S $R
$(filter $B/tests/core/%,$(TESTS)): $(CORE) $R
$(filter $B/tests/client/%,$(TESTS)): $(LIB)
$(filter $B/tests/state/%,$(TESTS)): $(STATE) $(LIB) $S $R $B/tests/proto/lib_random.o
$(filter $B/tests/cli/%,$(TESTS)): $(filter-out $B/client/cli/main.o,$(CLI)) $(CLI_STATE) $S $R
$(filter $B/tests/daemon/%,$(TESTS)): $(HOST) $(CORE) $S $R
$(filter $B/tests/sim/%,$(TESTS)): $(CORE) $(PURE) $R
$B/tests/storage/%: LIBS = $(SQLITE_LIBS)
$B/tests/cli/% $B/tests/state/%: LIBS = $(ROCKSDB_LIBS) $(SQLITE_LIBS)
$B/tests/storage/test_export: LIBS = $(SQLITE_LIBS) -Wl,--wrap=linkat
$B/tests/storage/test_memory: LIBS = $(SQLITE_LIBS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
$B/tests/daemon/%: LIBS = $(UV_LIBS) $(SQLITE_LIBS)
# The calls that these tests let fail.
comma := ,
$B/tests/client/test_faults: LIBS = $(foreach f,malloc calloc realloc strdup open openat mkdir write read fsync,-Wl$(comma)--wrap=$f)
$B/tests/state/test_faults: LIBS = $(ROCKSDB_LIBS) $(SQLITE_LIBS) $(foreach f,malloc calloc realloc strdup free pthread_create $(addprefix tide_snapshot_,round artifact file progress done) tide_state_open tide_state_read tide_state_path tide_state_close,-Wl$(comma)--wrap=$f)
$B/tests/state/test_native: LIBS = $(ROCKSDB_LIBS) $(SQLITE_LIBS) $(foreach f,round is_native artifact write file share refer progress done,-Wl$(comma)--wrap=tide_snapshot_$f)
$B/tests/state/test_flow: LIBS = $(ROCKSDB_LIBS) $(SQLITE_LIBS) $(foreach f,tide_task_keep_flights $(addprefix tide_snapshot_,round artifact file write),-Wl$(comma)--wrap=$f)
$B/tests/client/test_align_faults: LIBS = -Wl,--wrap=calloc,--wrap=realloc
$B/tests/client/test_faults_parts: LIBS = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

$(SIM): $(SIM_SRC:%.c=$B/%.o) $(CORE) $(PURE) $R $P
	$(call Q,LINK  )$(LINK) -o $@ $^ $(PROTO_LIBS) -pthread

# Fuzz targets link with a main that replays their corpus; `make fuzz` takes the fuzzer's.
REPLAY = $B/tests/fuzz/replay.o
$(FUZZ): %: %.o $(REPLAY) $(HOST) $(CORE) $(PURE) $S $R $P
	$(call Q,LINK  )$(LINK) $(FUZZER) -o $@ $(filter %.o,$^) $(LIBS) $(UV_LIBS) $(ROCKSDB_LIBS) $(SQLITE_LIBS) $(PROTO_LIBS) -pthread
$B/tests/fuzz/fuzz_reader: $B/tests/storage/lib_fixture.o
$B/tests/fuzz/fuzz_reader: LIBS = $(CHECK_LIBS)

$B/tests/fuzz/fuzz_state $B/tests/fuzz/fuzz_native $B/tests/fuzz/fuzz_descriptor: $(STATE) $(LIB)
$B/tests/fuzz/fuzz_line: $B/client/cli/line.o
$B/tests/fuzz/fuzz_csv: $B/client/cli/csv.o

# Its connection is replaced, and its main is part of the target.
$B/tests/fuzz/fuzz_cli: $(filter-out $B/client/cli/main.o $B/client/cli/rpc.o,$(CLI)) $(CLI_STATE)

# $(call run,command): runs a test with its output in a log, which is shown if it fails.
run = $(call Q,TEST  )timeout -k 5 $(or $(TIMEOUT),900) $(1) >$(@:.ok=.log) 2>&1 || \
      { rc=$$?; cat $(@:.ok=.log); echo "$(@:.ok=): failed with exit code $$rc" >&2; exit $$rc; }; touch $@
$(TESTS:=.ok): %.ok: %
	$(call run,$(RUN) $<)
$(filter $B/tests/daemon/%,$(TESTS:=.ok)): $B/tidemarkd
$B/tests/client/test_conformance.ok: tests/client/conformance.txt docs/protocol.md
$(SCRIPTS:=.ok): $B/%.ok: %.sh docs/guide.md docs/errors.md docs/operations.md $$(filter-out %.corpus,$$(wildcard $$(dir $$*)*)) $(PROGRAMS) $(LIBRARY) $(EXAMPLES) | .deps-check
	@mkdir -p $(@D)
	$(call run,bash $< $B)
# The workers of scripts; what the daemon is killed by, see tests/kill/kill.py.
$B/tests/%/worker: tests/%/worker.c $B/libtidemark.a $B/include/tidemark.h config.mk
	@mkdir -p $(@D)
	$(call Q,CC    )$(CC) $(BASE) -I$B/include $(LDFLAGS) -o $@ $< $B/libtidemark.a $(PROTO_LIBS) -pthread
$B/tests/kill/aim.so: tests/kill/aim.c config.mk
	@mkdir -p $(@D)
	$(call Q,CC    )$(CC) -std=c11 -D_GNU_SOURCE -O2 $(WARN) -shared -fPIC -o $@ $< -ldl
$B/tests/kill/recover: $B/tests/kill/recover.o $S $R $P
	$(call Q,LINK  )$(LINK) -o $@ $^ $(SQLITE_LIBS) $(PROTO_LIBS) -pthread
$B/tests/state/worker $B/tests/state/flows: $B/tests/state/%: tests/state/%.c $B/libtidemark-state.a $B/libtidemark.a $B/include/tidemark-state.h $B/include/tidemark.h config.mk
	@mkdir -p $(@D)
	$(call Q,CC    )$(CC) $(BASE) -I$B/include $(LDFLAGS) -o $@ $< $B/libtidemark-state.a $B/libtidemark.a $(ROCKSDB_LIBS) $(SQLITE_LIBS) $(PROTO_LIBS) -pthread
# With the channels of the word count.
WORDCOUNT := client/examples/wordcount
$B/tests/capabilities/worker: tests/capabilities/worker.c $(WORDCOUNT)/channels.c $(WORDCOUNT)/channels.h $(WORDCOUNT)/util.c $(WORDCOUNT)/wordcount.h \
                              $B/libtidemark-state.a $B/libtidemark.a $B/include/tidemark-state.h $B/include/tidemark.h config.mk
	@mkdir -p $(@D)
	$(call Q,CC    )$(CC) $(BASE) -I$B/include -I$(WORDCOUNT) $(LDFLAGS) -o $@ $(filter %.c,$^) $B/libtidemark-state.a $B/libtidemark.a $(ROCKSDB_LIBS) $(SQLITE_LIBS) $(PROTO_LIBS) -pthread
$B/tests/capabilities/run.ok: $B/tests/capabilities/worker docs/capabilities.md
$B/tests/frozen/run.ok: $B/tests/frozen/worker
$B/tests/state/run.ok: $B/tests/state/worker $B/tests/state/flows
$B/tests/region/run.ok: $B/tests/region/worker
$B/tests/shared/run.ok: $B/tests/shared/worker
$B/tests/kill/run.ok: $B/tests/kill/worker $B/tests/kill/aim.so $B/tests/kill/recover
$(FUZZ:=.ok): $B/%.ok: $B/% $$(wildcard $$*.corpus/*)
	$(call run,$< $(wildcard $*.corpus))

# 20,000 histories in as many parts as make runs side by side.
SIM_PARTS := 1 5001 10001 15001
SIM_OK := $(if $(SIM),$(SIM_PARTS:%=$B/tests/sim/seeds-%.ok))
$(SIM_OK): $B/tests/sim/seeds-%.ok: $(SIM)
	$(call run,$(SIM) --jobs 1 --first $* --seeds $(or $(SIM_SEEDS),5000))

# What sanitizers and coverage add is not ours to judge.
PURE_OK := $B/tests/pure.ok
$(PURE_OK): tests/pure.sh $(CORE) $(PURE) $R $P $B/libtidemark.a $B/libtidemark.so $B/include/tidemark.h \
            $B/libtidemark-state.a $B/libtidemark-state.so $B/include/tidemark-state.h tests/client/abi.py \
            tests/client/abi.txt tests/state/abi.txt docs/man/libtidemark.3 docs/man/libtidemark-state.3 | .deps-check
	@mkdir -p $(@D)
	$(call run,env CC='$(CC)' bash tests/pure.sh $B '$(CORE) $(PURE) $R $P')

# Every numbered scenario has a test that bears its number, or a reason.
SCENARIOS_OK := $B/tests/scenarios.ok
$(SCENARIOS_OK): tests/scenarios.py tests/SCENARIOS.md $(filter-out %/,$(wildcard tests/*/*.[ch] tests/*/*.py tests/*/*.sh tests/*/*.txt)) | .deps-check
	@mkdir -p $(@D)
	$(call run,$(PYTHON) tests/scenarios.py)

# make check AREAS="proto core" runs the tests of these folders alone, SKIP="proto/test_ack" not that one.
ALL_OK := $(filter-out $(SKIP:%=$B/tests/%.ok),$(TESTS:=.ok) $(SCRIPTS:=.ok) $(FUZZ:=.ok) $(SIM_OK))
check: $(if $(AREAS),$(foreach a,$(AREAS),$(filter $B/tests/$a/%,$(ALL_OK))),$(ALL_OK) $(SCENARIOS_OK) $(if $(SAN)$(findstring coverage,$(CFLAGS)),,$(PURE_OK)))
	@SKIP='$(SKIP)' sh tests/tally.sh $B $(AREAS)
check-all: .deps-all
	@bash tests/gate.sh
check-long: all
	@bash tests/long.sh

$B/tests/demo/run.ok: $(DRIVER)
$(DRIVER): $(call obj,tests/demo/*.c)
	@mkdir -p $(@D)
	$(call Q,LINK  )$(LINK) -o $@ $^
demo: all $(DRIVER)
	@bash tests/demo.sh
demo-solver: all
	@BLOCKS=$(or $(BLOCKS),6) SIZE=$(or $(SIZE),600) STEPS=$(or $(STEPS),4000) KILLS=$(or $(KILLS),30) PAUSE=$(or $(PAUSE),3000) \
	  SEED=$(SEED) bash tests/solver/run.sh $B

# make sim SEEDS=200000 FIRST=20001 ALL=1      make sim SEED=97 TRACE=1
sim: $(SIM)
	$(SIM) $(if $(SEED),--seed $(SEED),$(if $(FIRST),--first $(FIRST)) --seeds $(or $(SEEDS),1000) $(if $(ALL),--all)) $(if $(TRACE),--trace)

$B/tests/bench/floor: tests/bench/floor.c config.mk
	@mkdir -p $(@D)
	$(call Q,CC    )$(CC) -std=c11 -O2 -Wall -Wextra -o $@ $<
$B/tests/bench/bench: $(filter-out %/floor.o %/bench_store.o %/bench_acks.o %/bench_align.o %/bench_state.o,$(call obj,tests/bench/*.c)) $P
	$(call Q,LINK  )$(LINK) -o $@ $^ $(PROTO_LIBS) -pthread
$B/tests/bench/bench_store: $B/tests/bench/bench_store.o $S $R $P
	$(call Q,LINK  )$(LINK) -o $@ $^ $(SQLITE_LIBS) $(PROTO_LIBS) -pthread
$B/tests/bench/bench_align: $B/tests/bench/bench_align.o $(filter %/align.o %/align_line.o %/align_tracker.o %/align_unaligned.o,$(PURE))
	$(call Q,LINK  )$(LINK) -o $@ $^
$B/tests/bench/bench_state: $B/tests/bench/bench_state.o $(STATE) $(STATE_P) $(LIB) $P
	$(call Q,LINK  )$(LINK) -o $@ $^ $(ROCKSDB_LIBS) $(SQLITE_LIBS) $(PROTO_LIBS) -pthread
$B/tests/bench/bench_acks: $B/tests/bench/bench_acks.o $(CORE) $R $P
	$(call Q,LINK  )$(LINK) -o $@ $^ $(PROTO_LIBS) -pthread
bench: $(PROGRAMS) $(BENCH)
	@$B/tests/bench/bench --daemon $B/tidemarkd --floor $B/tests/bench/floor --json $B/bench.json $(BENCH_ARGS)
	@$B/tests/bench/bench_align
	@$B/tests/bench/bench_state

fuzz: .deps-all
	@bash tests/fuzz/fuzz.sh $(or $(SECONDS),30) $(TARGETS:%=fuzz_%)
fuzzers: $(FUZZ)

cover: .deps-cover
	@bash tests/cover.sh

lint: .deps-all $(PB:=.h) $B/include/tidemark.h $B/include/tidemark-state.h
	@bash tests/lint.sh $(if $(FILES),$(FILES),all) -- $(FLAGS)
format:
	git ls-files -z '*.[ch]' ':!tests/bench/floor.c' | xargs -0 clang-format -i

# ---- configuring: on a fresh machine the packages come first. DEPS=no leaves packages alone.

# Another apt at work, of ours or of the machine's, is waited for.
APT = $$([ "$$(id -u)" = 0 ] || echo sudo) sh -c 'apt-get update -q && \
      DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 $(1)'
# $(call deps,is everything there?,packages)
deps = if [ "$(DEPS)" = no ] || { $(1); } >/dev/null 2>&1; then :; \
       elif command -v apt-get >/dev/null; then $(call APT,$(2)) || exit 1; \
       else echo 'please install what Debian calls: $(2)' >&2; exit 1; fi; touch $@

config.mk: config.mk.in configure | .deps
	@if test -x config.status; then ./config.status -q --recheck && ./config.status -q; else ./configure -q; fi
configure: configure.ac | .deps
	autoconf
.deps: configure.ac
	@$(call deps,command -v autoconf && command -v $(or $(CC),cc) && command -v protoc-c && \
	  pkg-config --exists libuv libprotobuf-c sqlite3 libxxhash check $(if $(PACKAGES_ROCKSDB),rocksdb),$(PACKAGES) $(PACKAGES_ROCKSDB))
.deps-check: Makefile | .deps
	@$(call deps,command -v protoc && command -v sqlite3 && command -v pkill && $(PYTHON) -c 'import google.protobuf; import xxhash',$(PACKAGES_CHECK))
.deps-all: | .deps-check config.mk
	@$(call deps,command -v git && command -v clang && command -v clang-format && command -v clang-tidy && \
	  command -v valgrind && command -v mandoc && test -e "$$(clang -print-file-name=libclang_rt.fuzzer-x86_64.a)",$(PACKAGES_ALL))

.deps-cover: | .deps-check config.mk
	@$(call deps,command -v gcovr,$(PACKAGES_COVER))
.deps-deb: | .deps
	@$(call deps,command -v dh && command -v dpkg-buildpackage && command -v fakeroot && command -v lintian,$(PACKAGES_DEB))

# ---- installing

MAN := $(wildcard docs/man/*.[1-8])
COMPLETION := $(firstword $(wildcard client/cli/*.bash client/cli/*completion*))
docdir = $(datarootdir)/doc/tidemark
confdir = $(sysconfdir)/tidemark
# What names places of the installation is installed as made for them, below $B.
PLACED := $(MAN:%=$B/%) $B/daemon/tidemarkd.service
$(PLACED): $B/%: % config.mk $B/paths
	@mkdir -p $(@D)
	@sed -e 's|/usr/sbin/tidemarkd|$(sbindir)/tidemarkd|; s|/etc/tidemark|$(confdir)|' \
	  -e 's|/usr/share/doc/tidemark|$(docdir)|; s|/usr/share/tidemark|$(datarootdir)/tidemark|' $< >$@
# source|mode|target of everything that is installed
INSTALLED = $B/tidemarkd|755|$(sbindir)/tidemarkd $B/tidemark|755|$(bindir)/tidemark \
  $(foreach l,tidemark tidemark-state,$B/lib$l.a|644|$(libdir)/lib$l.a $B/lib$l.so.$(VERSION)|755|$(libdir)/lib$l.so.$(VERSION) \
    $B/include/$l.h|644|$(includedir)/$l.h $B/$l.pc|644|$(libdir)/pkgconfig/$l.pc) \
  $(foreach m,$(MAN),$B/$m|644|$(mandir)/man$(subst .,,$(suffix $m))/$(notdir $m)) \
  $B/daemon/tidemarkd.service|644|$(prefix)/lib/systemd/system/tidemarkd.service \
  daemon/tidemark.sysusers|644|$(prefix)/lib/sysusers.d/tidemark.conf \
  daemon/tidemark.tmpfiles|644|$(prefix)/lib/tmpfiles.d/tidemark.conf \
  daemon/tidemarkd.conf|644|$(docdir)/tidemarkd.conf docs/protocol.md|644|$(docdir)/protocol.md \
  docs/state-format.md|644|$(docdir)/state-format.md \
  $(foreach p,$(wildcard proto/*.proto),$p|644|$(datarootdir)/tidemark/$p) \
  $(addsuffix |644|$(datarootdir)/bash-completion/completions/tidemark,$(COMPLETION))
LINKS = $(foreach l,libtidemark libtidemark-state,$(libdir)/$l.so $(libdir)/$l.so.0)
parts = $(subst |, ,$(1))
# The configuration is the admin's: it is replaced, or removed, only while it is still the sample
# of the last installation.
conf = "$(DESTDIR)$(confdir)/tidemarkd.conf"
untouched = cmp -s "$(DESTDIR)$(docdir)/tidemarkd.conf" $(conf)
install: all $(PLACED)
	if test ! -e $(conf) || $(untouched); then install -D -m 644 daemon/tidemarkd.conf $(conf); fi
	$(foreach f,$(INSTALLED),install -D -m $(word 2,$(call parts,$f)) $(word 1,$(call parts,$f)) \
	  "$(DESTDIR)$(word 3,$(call parts,$f))" &&) \
	$(foreach l,$(LINKS),ln -sf $(firstword $(subst .so, ,$(notdir $l))).so.$(VERSION) "$(DESTDIR)$l" &&) true
uninstall:
	if $(untouched); then rm -f $(conf); fi
	rm -f $(foreach f,$(INSTALLED),"$(DESTDIR)$(word 3,$(call parts,$f))") $(LINKS:%="$(DESTDIR)%")
	for d in $(confdir) $(docdir) $(datarootdir)/tidemark/proto $(datarootdir)/tidemark; do \
	  rmdir "$(DESTDIR)$$d" 2>/dev/null; done; true
deb: .deps-deb
	@bash daemon/debian/build.sh $B/deb

dist: configure
	v=$$(sed -n 's/^AC_INIT(\[tidemark\], \[\(.*\)\])/\1/p' configure.ac); \
	git archive --format=tar.gz --prefix=tidemark-$$v/ --add-file=configure -o tidemark-$$v.tar.gz HEAD && \
	echo tidemark-$$v.tar.gz
clean:
	rm -rf build
distclean: clean
	rm -rf config.mk config.status config.log configure configure~ autom4te.cache \
	  .deps .deps-check .deps-all .deps-cover .deps-deb tidemark-*.tar.gz

help:
	@sed -n 's/^# > //p' Makefile
.PHONY: FORCE all check check-all check-long demo demo-solver sim bench cover fuzz fuzzers lint format install uninstall deb dist clean distclean help
-include $(wildcard $(addprefix $B/,$(addsuffix *.d,$(wildcard proto/ storage/ daemon/ daemon/core/ client/ state/ client/cli/ \
  client/examples/*/ tests/*/))))

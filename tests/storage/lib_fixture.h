/* A store in a directory of its own, and commits as the core would make them. */
#ifndef LIB_FIXTURE_H
#define LIB_FIXTURE_H

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>

#include "proto/err.h"
#include "storage/alloc.h"
#include "storage/db.h"
#include "storage/manifest.h"
#include "storage/store.h"

#define WALL 1700000000000000u /* us since 1970 of "now" */

extern char dir[64];          /* the test's directory, made by setup() */
extern struct tide_store *st; /* the open store, or NULL */
extern const tide_id job_a, job_b;

void setup(void);    /* makes dir */
void teardown(void); /* closes the store, removes dir */

struct tide_store_options options(void);
/* Opens the store in dir: must succeed. */
void open_store(void);
void close_store(void);
char *in_dir(const char *name); /* static */

/* Adds records; a failed allocation sticks in the commit. */
struct tide_commit *commit_new(void);
void add_job(struct tide_commit *c, tide_id job, const char *name);
void add_attempt(struct tide_commit *c, tide_id job, uint64_t attempt, uint64_t restored_from);
struct tide_record *add_round(struct tide_commit *c, enum tide_record_type type, tide_id job,
                              uint64_t number);
/* ROUND_END and SNAPSHOT of `tasks` tasks with one artifact each. */
void add_snapshot(struct tide_commit *c, tide_id job, uint64_t round, uint64_t parent,
                  uint32_t tasks);
void add_snapshot_state(struct tide_commit *c, tide_id job, uint64_t round,
                        enum tide_snapshot_state state);
/* The packed head of such a snapshot, malloc'ed. */
struct tide_bytes make_head(uint64_t round, uint32_t tasks);
/* A chunk with the acks of such tasks, malloc'ed, in batches of at most 64. */
struct tide_bytes make_chunk(uint64_t round, uint32_t first, uint32_t tasks);
/* Commits one, expects this outcome, frees it. */
void expect(struct tide_commit *c, enum tide_outcome outcome, const char *error);
static inline void stored(struct tide_commit *c)
{
    expect(c, TIDE_STORED, "");
}
/* Maintains until there is nothing more to do. */
void maintain(void);
/* A number out of the open database, all that is stored included. */
int64_t number(const char *sql);

int run(const char *name, void (*add)(TCase *)); /* a suite of one case, with setup and teardown */

#endif

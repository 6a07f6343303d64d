/* A store for the core's tests: takes what commits say, once they are stored, and gives it back as
 * the catalog of the next start, as storage/ would. Memory lasts until shelf_release(). */
#ifndef LIB_SHELF_H
#define LIB_SHELF_H

#include "storage/record.h"
#include "storage/store.h"

#define SHELF_MAX 4096u /* of each kind, per job */

struct shelf_job {
    tide_id id;
    struct tide_bytes name, spec, cause;
    enum tide_job_state state;
    uint64_t created_wall, ended_snapshot, base_since, base_snapshot;
    bool base_unmatched;
    struct tide_bytes base_adopted;
    struct tide_catalog_attempt last;
    struct tide_catalog_snapshot snapshots[SHELF_MAX];
    struct tide_bytes images[SHELF_MAX]; /* the manifests of snapshots */
    struct tide_catalog_owed owed[SHELF_MAX];
    struct tide_catalog_operation operations[SHELF_MAX];
    struct tide_catalog_round rounds[SHELF_MAX];
    struct tide_catalog_shared shared[SHELF_MAX];
    uint32_t n_snapshots, n_owed, n_operations, n_rounds, n_shared;
    uint64_t subsumed, completed;
};

struct shelf {
    struct tide_arena arena;
    struct shelf_job jobs[2];
    uint32_t n_jobs;
    uint64_t reserved, external, lease_us;
    struct tide_catalog_incarnation incarnations[16];
    uint32_t n_incarnations;
    struct tide_catalog_job catalog_jobs[2];
};

void shelf_init(struct shelf *s);
void shelf_release(struct shelf *s);
void shelf_apply(struct shelf *s, const struct tide_commit *c);
/* What the next daemon, of this incarnation, is started on; it views the shelf. */
struct tide_catalog shelf_catalog(struct shelf *s, uint64_t incarnation, uint64_t nonce);
/* The manifest of a snapshot; nothing: there is none. */
struct tide_bytes shelf_image(const struct shelf *s, uint64_t round);

#endif

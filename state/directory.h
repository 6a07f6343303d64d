/* The directory of a savepoint, by its _metadata: which databases of state are in it, and whose.
 * Read by whoever needs no daemon for it. */
#ifndef TIDE_STATE_DIRECTORY_H
#define TIDE_STATE_DIRECTORY_H

#include "proto/graph.h"
#include "state/format.h"
#include "storage/manifest.h"

struct tide_directory {
    char *path;
    void *image; /* of _metadata, mapped */
    size_t len;
    struct tide_manifest manifest;
    struct tide_graph *graph;
};

struct tide_directory_artifact {
    const struct tide_directory *in;
    const struct tide_operator *op;
    uint32_t subtask;
    struct tide_artifact_view view;
    char file[4096]; /* its path; "": its bytes stand in the manifest */
};

/* 0, or a code and why, which names the file. */
int tide_directory_open(const char *path, struct tide_directory *ret, char why[static WHY_SIZE]);
void tide_directory_close(struct tide_directory *d); /* a zeroed one is fine */
/* Calls f for each artifact, by tasks as they stand in the manifest. Another answer than 0 ends it.
 */
typedef int tide_directory_visit(void *user, const struct tide_directory_artifact *a);
int tide_directory_each(const struct tide_directory *d, tide_directory_visit *f, void *user);
/* Compares size and digest, then opens it as a database of state, or as a native part, of which
 * those of all its files are compared as well. */
int tide_directory_read(const struct tide_directory_artifact *a, struct tide_format_reader **ret,
                        char why[static WHY_SIZE]);
bool tide_directory_is_state(const struct tide_directory_artifact *a);
/* A file of a native part, which is read along with that. */
bool tide_directory_is_file(const struct tide_directory_artifact *a);

#endif

/* What admins ask that the core does not answer: lists and details out of the database, the
 * verification of a snapshot's bytes, manifests for the core itself. */
#ifndef QUERY_H
#define QUERY_H

#include "daemon/config.h"
#include "daemon/lanes.h"
#include "daemon/session.h"

struct queries;

struct queries_options {
    uv_loop_t *loop; /* borrowed, as is all that is pointed to */
    const struct config *config;
    struct server *server;
    struct lanes *lanes;
    void *user;
    int (*settle)(void *user); /* see reader_options */
    /* The answer to an ACT_LOAD; image is borrowed for the call. */
    void (*loaded)(void *user, uint64_t tag, int rc, const char *why, struct tide_bytes image);
};

int queries_open(const struct queries_options *o, struct queries **ret, char why[static 512]);
/* Answers the request of a session, sooner or later, unless the session is gone by then. bytes is
 * the packed request. Calls: snapshots, snapshot, lineage, rounds, wait, verify; others are not
 * supported yet. */
void queries_request(struct queries *q, uint64_t session, const Tide__Request *request,
                     struct tide_bytes bytes);
/* Reads the manifest of a snapshot; loaded() follows from the loop in every case. */
void queries_load(struct queries *q, uint64_t round, uint64_t tag);
/* Nobody waits for this session's verifications any more. */
void queries_forget(struct queries *q, uint64_t session);
/* Before lanes_close(). False: a thread hangs. */
bool queries_stop(struct queries *q);
/* After the lanes have closed and the loop has run out. */
void queries_free(struct queries *q);

/* Sends a response as a frame; what does not fit into one becomes an error. */
void respond(struct server *server, uint64_t session, uint64_t id, Tide__Response *response);
void respond_error(struct server *server, uint64_t session, uint64_t id, Tide__ErrorCode code,
                   const char *text);

#endif

/* The core: the coordinator as a pure state machine. Events and the time go in, actions come out.
 *
 * It opens no socket, no file, no database, reads no clock, starts no thread, draws no random
 * number but from its own generator, seeded at birth. Whoever hosts it (the loop in daemon/, the
 * simulator in tests/sim/) does the following, and nothing else, for each event:
 *
 *     core_step(core, &event, &todo);
 *     for (i = 0; i < todo.n; i++) carry_out(&todo.items[i]);
 *     actions_clear(&todo);
 *     arm(core_deadline(core));
 *
 * Actions are carried out in order. A host that crashes between any two of them, starts again on
 * its store, and makes a new core from what tide_store_load() gives, loses nothing that was told.
 */
#ifndef CORE_H
#define CORE_H

#include "proto/admin.pb-c.h"
#include "proto/err.h"
#include "storage/record.h"
#include "storage/store.h"

struct core;

struct core_config {
    const char *state_root;         /* absolute: attempts' directories are made below it */
    const char *savepoint_root;     /* absolute: default target of savepoints; NULL: none */
    uint64_t store_timeout_us;      /* a commit that takes longer stops the daemon */
    uint32_t jobs_max, workers_max; /* refused beyond */
    uint64_t join_memory;           /* bytes of Joins of which parts are missing; 0: no bound */
    const char *software;           /* "tidemarkd 0.1.0" */
};

/* ---- events */

/* Who has been welcomed, and which version of the protocol holds. */
struct peer {
    Tide__PeerKind kind;
    uint32_t version;
};

enum event_type {
    EV_START = 1, /* first event of a core's life */
    EV_OPEN,      /* a session has been welcomed: session, peer */
    EV_FRAME,     /* a frame of a welcomed session: session, bytes (borrowed for the call) */
    EV_CLOSED,    /* a session is gone, whoever closed it: session, text (why) */
    EV_TIMER,     /* core_deadline() has come; all input that had arrived was fed before */
    EV_STORED,    /* a commit's outcome: tag, outcome, text */
    EV_FILE,      /* a file operation's result: tag, rc, text; of META_READ also bytes (borrowed) */
    EV_MANIFEST,  /* an ACT_LOAD's result: tag, rc, text, bytes (borrowed) */
    EV_SENT,      /* the last byte of a broadcast marked `tell` was handed to the kernel: tag */
    EV_SHUTDOWN   /* SIGTERM: await commits, abort the rest, say Bye; ends in ACT_STOP */
};

struct event {
    enum event_type type;
    uint64_t now_us;  /* CLOCK_BOOTTIME */
    uint64_t wall_us; /* CLOCK_REALTIME */
    uint64_t session; /* chosen by the host, at least 1; a later connection has a higher one */
    struct peer peer; /* OPEN */
    struct tide_bytes bytes;
    uint64_t tag;
    enum tide_outcome outcome;
    int rc;
    const char *text;  /* may be NULL */
    const char *place; /* FILE, of MKDIR and META_READ: the directory without links; may be NULL */
};

/* ---- actions */

enum action_type {
    ACT_SEND = 1, /* blob to each of sessions[0..n_sessions): the same bytes */
    ACT_CLOSE,    /* close sessions[0] after what was sent before is out */
    ACT_COMMIT, /* hand `commit` to the store (it takes it); awaited ones come back as EV_STORED */
    ACT_FILE,   /* carry out `file` on a lane; comes back as EV_FILE, also when it takes too long */
    ACT_LOAD,   /* read the manifest of snapshot `round`; comes back as EV_MANIFEST */
    ACT_LOG,    /* text, level; job, attempt, worker, round: what it is about */
    ACT_STOP    /* stop the process now with this exit code: text says why */
};

enum log_level {
    LEVEL_ERROR = 3,
    LEVEL_WARN = 4,
    LEVEL_INFO = 6,
    LEVEL_DEBUG = 7
}; /* as syslog's */

enum file_op {
    FILE_MKDIR = 1,  /* tide_files_mkdir(path) */
    FILE_META_WRITE, /* tide_files_metadata_write(path, head + chunks): commit's snapshot record */
    FILE_META_PUBLISH,
    FILE_DELETE_ROUND,
    FILE_DELETE_ATTEMPT,
    FILE_DELETE_OWN, /* of a snapshot, but for its shared artifacts: tide_files_delete_own(path) */
    FILE_DELETE_SHARED, /* tide_files_delete_shared(path) */
    FILE_META_READ,     /* tide_files_inspect(path): the answer has the manifest's image */
    FILE_LOOK,          /* tide_files_whole(path, image) */
    /* tide_files_export*(); FILE_EXPORT answers TIDE_EAGAIN and the place as 3 numbers of 8 bytes,
     * little-endian, when there is more to do */
    FILE_EXPORT_BEGIN,
    FILE_EXPORT,
    FILE_EXPORT_DROP
};

/* Reference-counted bytes, not shared between threads: the host may keep a reference until written.
 */
struct blob {
    uint32_t refs;
    size_t len;
    uint8_t data[];
};
struct blob *blob_new(const void *data, size_t len);
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b);

struct action {
    enum action_type type;
    struct blob *blob;  /* one reference, dropped by actions_clear() */
    uint64_t *sessions; /* owned by the actions */
    uint32_t n_sessions;
    bool tell; /* SEND: answer with EV_SENT(tag) */
    uint64_t tag;
    struct tide_commit *commit; /* COMMIT: the host takes it and sets this to NULL */
    enum file_op op;
    char *path;                /* FILE; owned by the actions */
    char *from;                /* EXPORT: the snapshot's directory; owned by the actions */
    uint64_t place[3], for_us; /* EXPORT: where to go on, and for how long */
    uint8_t *image; /* META_WRITE, EXPORT_BEGIN: malloc'ed manifest image; the host takes it and
                       sets this to NULL */
    size_t image_len;
    uint64_t round;
    enum log_level level;
    char *text;         /* LOG, STOP; owned by the actions */
    char *job, *worker; /* LOG, or NULL; owned by the actions */
    uint64_t attempt;   /* LOG, 0: none; so is round */
    int exit_code;
};

struct actions {
    struct action *items;
    size_t n, cap;
};
void actions_init(struct actions *a);
void actions_clear(struct actions *a); /* drops the items, keeps the memory */
void actions_release(struct actions *a);

/* ---- the machine */

/* Whether core_new() may be given it: 0, or TIDE_ECORRUPT or TIDE_ENOMEM with the job and what is
 * wrong with it in why. */
int core_check_catalog(const struct tide_catalog *catalog, char why[static 512]);

/* The catalog is borrowed for the call. seed: for back-offs and spreads. Out of memory stops the
 * process, here and in every step: the store makes that safe. */
struct core *core_new(const struct core_config *config, const struct tide_catalog *catalog,
                      uint64_t seed);
void core_free(struct core *c);
void core_step(struct core *c, const struct event *ev, struct actions *todo);
/* Other limits from now on; who is over one already stays. */
void core_limits(struct core *c, uint32_t jobs_max, uint32_t workers_max, uint64_t join_memory);
/* When EV_TIMER is wanted, on the clock of now_us; UINT64_MAX: never. */
uint64_t core_deadline(const struct core *c);

/* Fills in the core's part of Status: jobs with gauges, workers, counts. Memory comes from the
 * arena. */
void core_status(const struct core *c, struct tide_arena *arena, Tide__Status *status);

/* Which requests of admins the core answers itself: jobs, job, savepoint, checkpoint, wait. The
 * host answers the others (readers, lanes) and never feeds them. A wait for an operation that the
 * core does not know is answered with ERROR_NOT_FOUND; the host asks a reader first when it sees
 * fit. */
bool core_answers(Tide__Request__CallCase call);

/* The opening exchange, pure as well, for whoever hosts sessions: checks a first frame. Returns
 * true and fills *ret_peer with the Welcome frame in reply, or false with the Refused frame in
 * reply. */
struct hello_config {
    tide_id store_id;
    uint64_t incarnation, nonce;
    struct tide_bytes secret;
};
bool hello_check(const struct hello_config *config, struct tide_bytes frame, struct peer *ret_peer,
                 struct tide_buf *reply, char why[static 160]);

/* Names an invariant that the core's own state breaks, or NULL; for tests and the simulator, slow.
 */
const char *core_check(const struct core *c);

#endif

/* What the commands of `tidemark` share: the options, the connection, and the ways to end.
 *
 * A command is a function that takes the struct cli and returns the exit code: 0 done, 1 failed,
 * 2 misused. Answers go to stdout, talk to stderr; with --json stdout gets exactly one document
 * unless the command line was wrong. */
#ifndef TIDE_CLI_CLI_H
#define TIDE_CLI_CLI_H

#include "client/cli/json.h"
#include "client/cli/rpc.h"
#include "client/cli/text.h"
#include "proto/err.h"

enum { DONE = 0, FAILED = 1, MISUSED = 2 };

struct many { /* of an option that may be given more than once */
    const char *item[32];
    uint32_t n;
};

struct options {
    bool json, help, version, detach, all, tasks, wait, failed, verbose;
    bool abandon_owed, latest, nothing, allow_unmatched, allow_repeat, dry_run, commits, native,
        full, drain, checkpoint, supersede, savepoint, csv;
    const char *cause, *snapshot, *from, *operator_uid, *state, *job;
    struct many renames, drops, parallelism, max_parallelism;
    bool anywhere; /* connect was not given: it is the environment's, or the default */
    const char *connect, *data, *secret_file, *timeout, *target, *label, *key, *limit, *alignment;
    uint64_t timeout_us; /* RPC_NEVER: not given */
    uint64_t limit_n;    /* 0: not given */
};

struct cli {
    struct options options;
    const char *args[2]; /* of the command; NULL: not given */
    struct rpc rpc;
    uint64_t deadline; /* of the whole command, on rpc_now(); RPC_NEVER: none */
};

/* Says what failed on stderr and, with --json, in a document {"error": {"code", "text"}}. Returns
 * FAILED. */
int cli_fail(const struct cli *c, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The command line is wrong: says so on stderr. Returns MISUSED. */
int cli_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A remark on stderr, after what stands on stdout so far. */
void cli_note(const char *text);
/* The failure of a call, told by cli_fail(). */
int cli_fail_call(const struct cli *c, enum rpc_rc rc);
/* The daemon's error, which dies with the next call: the answer to this request. What is not there
 * is followed by what is, as far as the daemon tells. */
int cli_fail_error(struct cli *c, const Tide__Request *request, const Tide__Error *error);
/* Calls and expects this result. DONE and *ret, or what cli_fail() returned. */
int cli_ask(struct cli *c, Tide__Request *request, Tide__Response__ResultCase want,
            const Tide__Response **ret);
/* Prints and releases the document. DONE, or FAILED when it does not fit into memory. */
int cli_answer(const struct cli *c, struct json *j);
/* The argument as a snapshot's or operation's number. DONE or MISUSED. */
int cli_number(const char *arg, const char *what, uint64_t *ret);

ProtobufCBinaryData cli_data(const char *text); /* a view; NULL gives an empty one */
bool cli_is(ProtobufCBinaryData data, const char *text);

/* suggest.c: what there is instead of what the request names: "; did you mean \"wordcount\"?".
 * malloc'ed, may be empty. */
char *suggest(struct cli *c, const Tide__Request *request);

/* show.c: what more than one command shows */
const char *show_kind(Tide__RoundKind kind);
void show_time(char out[static TEXT_MAX],
               uint64_t wall_us); /* short: with the date only if not today */
/* A column's title with the time zone of its times: "BEGUN (CET)". */
const char *show_zoned(char out[static TEXT_MAX], const char *title);
void show_gauges_json(struct json *j, const Tide__Gauges *g); /* NULL: as before the first value */
/* "hook lock", "the coordinator of source": malloc'ed; e may be NULL. */
char *show_part(const Tide__External *e);
void show_part_json(struct json *j, const Tide__External *e); /* members of the open object */
void show_round_json(struct json *j, const char *key, const Tide__RoundInfo *r);
void show_rounds(Tide__RoundInfo *const *rounds, size_t n, struct table *t); /* adds rows */
void show_rounds_table(struct table *t);                                     /* inits it */
void show_snapshot_json(struct json *j, const char *key, const Tide__SnapshotInfo *s,
                        const char *relation /* NULL: none */);
/* "label   value" lines, aligned. */
void show_line(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));
void show_print(struct table *t); /* to stdout, fitted to the terminal, and releases it */

/* operation.c: for commands that begin an operation: a key and who asks, as the request is to have
 * them; and the request itself, repeated and waited for. DONE, or what the command returns. */
int operation_ready(struct cli *c, char key[static 40], char who[static 320]);
int operation_run(struct cli *c, const char *verb, Tide__Request *request);
/* The directory of that option, absolute: malloc'ed, or NULL when none is given. */
int operation_directory(struct cli *c, const char *given, const char *option, char **ret);

/* The commands. */
int order_hold(struct cli *c);
int order_release(struct cli *c);
int stop_job(struct cli *c);
int cancel_job(struct cli *c);
int snapshot_dispose(struct cli *c);
int snapshot_export(struct cli *c);
int order_restore(struct cli *c);
int snapshot_import(struct cli *c);
int jobs_list(struct cli *c);
int job_show(struct cli *c);
int savepoint_take(struct cli *c);
int checkpoint_take(struct cli *c);
int operation_show(struct cli *c);
int snapshots_list(struct cli *c);
int snapshot_show(struct cli *c);
int snapshot_verify(struct cli *c);
int lineage_show(struct cli *c);
int rounds_list(struct cli *c);
int retention_explain(struct cli *c);
int state_ls(struct cli *c);
int state_read(struct cli *c);
int state_write(struct cli *c);
int state_convert(struct cli *c);
int state_diff(struct cli *c);
int status_show(struct cli *c);

#endif

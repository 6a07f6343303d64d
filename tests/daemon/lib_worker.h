/* A scripted worker: raw frames over a socket, nothing of the client library. It hosts all tasks
 * of a job of two operators, read (1 task) and count (2 tasks). */
#ifndef LIB_WORKER_H
#define LIB_WORKER_H

#include "tests/daemon/lib_peer.h"

#define WORKER_TASKS 3u

struct script {
    const char *job;
    uint32_t interval_ms, lease_ms;
    int fd;
    uint32_t boot; /* tells processes apart: part of its identity */
    /* the attempt that it has */
    Tide__Token *token; /* NULL: none */
    Tide__WorkerPhase phase;
    uint64_t open; /* round acked or triggered, not resolved; 0: none */
    uint64_t told_complete, unconfirmed;
};

void script_connect(struct script *w, uint16_t port);
void script_close(struct script *w);
void script_forget(struct script *w); /* the attempt */
void script_release(struct script *w);
void script_join(struct script *w);
/* The next word of this kind; others than `alive` fail the test. The caller frees it. */
Tide__ToWorker *script_expect(struct script *w, Tide__ToWorker__MsgCase kind);
/* Reads the Start, keeps its token. The caller frees it. */
Tide__Start *script_start(struct script *w);
void script_restored(struct script *w);
/* Waits for Run. */
void script_run(struct script *w);
/* Join, Joined, Start, Restored, Run. Returns the snapshot that it started from. */
uint64_t script_begin(struct script *w);
/* Join with the attempt, Joined, Resumed, Run; what an open round came to is told by the return: */
enum resolved { WAS_NONE, WAS_COMPLETE, WAS_ABORTED };
enum resolved script_resume(struct script *w);
/* The next Trigger; its round. Directory into `directory` if not NULL. */
uint64_t script_trigger(struct script *w, char *directory, size_t size);
/* Task 0 with one file, the others with nothing. */
void script_ack(struct script *w, uint64_t round, const char *directory, const char *bytes);
void script_complete(struct script *w, uint64_t round); /* waits for it */
void script_confirm(struct script *w, uint64_t round);
/* Trigger, ack, complete, confirm; the round. */
uint64_t script_round(struct script *w);
void script_leave(struct script *w);
void script_heartbeat(struct script *w, uint64_t sequence);

#endif

/* What the files of the script share.
 *
 *   lib_script.c      the trace, the program's callbacks and words, running
 *   lib_script_say.c  the daemon's words
 *   lib_script_parts.c  a coordinator and a hook, and their words
 *   lib_script_flight.c queues that barriers go ahead of, and their words */
#ifndef TESTS_CLIENT_SCRIPT_IMPL_H
#define TESTS_CLIENT_SCRIPT_IMPL_H

#include "client/tidemark.h"
#include "tests/client/lib_peer.h"
#include "tests/client/lib_run.h"
#include "tests/client/lib_script.h"

#define ID "0123456789abcdef"
#define ARGS 8u

struct script {
    struct peer peer;
    struct tide_worker *w;
    struct tide_task *task[2];
    struct tide_snapshot *given[2];     /* of `defer` */
    uint8_t barrier[TIDE_BARRIER_SIZE]; /* the last one of a */
    bool hold, defer, late, mute, slow, over, batching, was_up;
    bool said_hello; /* on this connection */
    bool greeted;    /* and was not answered yet */
    bool once, unattended;
    uint32_t window; /* not 0: the job's rounds are rendezvous rounds */
    int complete_rc, snapshot_rc, drain_rc;
    bool parts;    /* a coordinator and a hook live here too */
    bool regional; /* ... the coordinator of c, whose three tasks are elsewhere, in other regions */
    bool flight;   /* its tasks have queues */
    uint32_t promotable; /* outputs of each */
    struct tide_coordinator *coordinator;
    struct tide_hook *hook;
    int part_rc, event_rc, restore_rc;
    struct tide_buf batch;
    char boot_id[256];
    char dir[64], trace[SCRIPT_TRACE];
};
extern struct script script;

/* A word and what it does; args: those given, then "". */
struct word {
    const char *name;
    void (*call)(char **arg);
};
extern const struct word daemon_words[]; /* ends with NULL */
extern const struct word part_words[];
extern const struct word flight_words[];
void script_flight_begin(void); /* empty queues */
void script_flight_input(struct tide_task *t, uint32_t channel, void *user);
void script_flight_output(struct tide_task *t, const uint8_t barrier[TIDE_BARRIER_SIZE],
                          bool queued, void *user);
int script_flight_restore(struct tide_task *t, const struct tide_restore *r);
/* What an ack in full says of records in flight. */
void script_flight_ack(const struct tide_ack_view *v, char *to, size_t size);
/* An artifact that the next Start hands to b too. */
void script_start_add(const Tide__Artifact *artifact);
const char *script_name_of(const struct tide_task *t); /* a, b */
void script_parts_spec(struct tide_spec *spec);
void script_parts_add(void);
Tide__ExternalState *script_gave(char **arg); /* static */

void script_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void script_turn(int ms); /* the worker's, then the daemon's */
void script_settle(void); /* until nothing happens any more */
uint64_t script_number(const char *arg, uint64_t otherwise);
uint64_t script_now_ms(void);
void script_say(Tide__ToWorker__MsgCase which, void *message);
void script_start_init(void); /* the next Start is a plain one again */

#endif

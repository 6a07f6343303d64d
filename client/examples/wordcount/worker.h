/* A worker process and its one task: what every stage shares, and what a stage is.
 *
 * worker.c speaks with libtidemark and moves frames; a stage (source.c, splitter.c, counter.c,
 * sink.c) is a handful of functions and a state of its own. */
#ifndef WORDCOUNT_WORKER_H
#define WORDCOUNT_WORKER_H

#include <signal.h>

#include "channels.h"
#include <tidemark.h>

/* The shape of the job, the same in every process. */
struct plan {
    const char *job;
    const char *restore_from;              /* NULL: afresh */
    uint32_t sources, splitters, counters; /* and one sink */
    uint32_t max_parallelism;              /* number of key groups */
    struct tide_checkpointing checkpointing;
};

struct options {
    struct plan plan;
    const char *connect, *secret_file, *host;
    const char *input; /* sources */
    const char *parts; /* sink: directory */
    uint64_t rate;     /* sources: bytes a second, all together; 0: as fast as it goes */
    uint32_t room;     /* bytes that wait in a channel, at either end */
    uint64_t slow;     /* counters: bytes of counts a second, each; 0: as fast as it goes */
    uint32_t index;
};

#define PARALLELISM_MAX 256u /* of any stage of this example */

struct worker;

/* A stage. `self` is its state, made by whoever describes the stage. All but uid may be NULL. */
struct stage {
    const char *uid;
    uint32_t inputs, outputs; /* channels; both from or to every task of the next stage */
    const char *output_uid;
    bool slow; /* --slow is meant for it */
    void *self;
    /* Take this state; snapshot 0 means begin at the beginning. 0 or a negative TIDE_ code. */
    int (*restore)(struct worker *w, void *self, const struct tide_restore *r);
    /* Source: put out a piece of work. Returns in how many ms it wants to be called again. */
    int (*produce)(struct worker *w, void *self);
    /* One data frame. Called only while no output is full. */
    void (*data)(struct worker *w, void *self, const struct frame *f);
    /* Nothing has arrived that could be worked on. */
    void (*idle)(struct worker *w, void *self);
    /* Put out what belongs in front of a barrier, or of the end of data. */
    void (*flush)(struct worker *w, void *self);
    int (*snapshot)(struct worker *w, void *self, struct tide_snapshot *s);
    /* The round is durable: publish. 0 or a negative TIDE_ code (then it is asked again). */
    int (*complete)(struct worker *w, void *self, uint64_t round, const void *handle, size_t len);
    /* Forget everything: the attempt is over. */
    void (*drop)(struct worker *w, void *self);
    void (*free)(void *self);
};

/* Runs the stage until the job has ended. The exit code. */
int worker_run(const struct options *o, const struct stage *stage);

struct channels *worker_channels(struct worker *w);
const struct options *worker_options(const struct worker *w);
/* Source: everything has been put out; also called for the other stages, by worker.c, when all
 * their inputs have no more data. */
void worker_no_more(struct worker *w);

/* Reads one state whole; *ret is malloc'ed, s->size bytes. The library checks its digest. */
int state_load(const struct tide_restore *r, const struct tide_state *s, uint8_t **ret);

/* Set by signals, for those who want to see what happens then. */
extern volatile sig_atomic_t decline_next; /* SIGUSR1: the next snapshot is declined */
extern volatile sig_atomic_t full_speed;   /* SIGUSR2 to a source: --rate is forgotten */
extern volatile sig_atomic_t die_next;     /* SIGUSR2 to a sink: it dies before it publishes */

/* Each makes the state of its stage and fills in the rest. */
void source_stage(const struct options *o, struct stage *stage);
void splitter_stage(const struct options *o, struct stage *stage);
void counter_stage(const struct options *o, struct stage *stage);
void sink_stage(const struct options *o, struct stage *stage);

#endif

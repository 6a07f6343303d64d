/* The demo's driver: supervises tidemarkd and the workers of wordcount, does them harm, and tells
 * what happens. demo.c has the story, procs.c the processes, watch.c what is read out of their
 * logs. */
#ifndef DEMO_H
#define DEMO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define WORKERS 7
#define DAEMON WORKERS       /* its number among the processes */
#define ZOMBIE (WORKERS + 1) /* a worker that was replaced while it was frozen */
#define PROCS (WORKERS + 2)
#define ARGS_MAX 40

struct proc {
    char name[32];
    const char *argv[ARGS_MAX];
    pid_t pid; /* 0: not running */
    int out;   /* its stderr, read by us; -1: none */
    FILE *log;
    char line[2048];
    size_t len;
    bool keep;   /* start it again when it dies */
    bool killed; /* by us */
    int code;    /* how it ended: exit code, or 256 + signal */
};
extern struct proc procs[PROCS];

/* ---- procs.c */
int64_t now_ms(void); /* since the driver began */
/* One line for the person who watches. */
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void spawn(struct proc *p);
/* A command without supervision; output goes to the file, or nowhere. Its pid. */
pid_t spawn_command(const char *const argv[], const char *output);
/* Lets everything go on for a while, or until the condition holds; false: it does not after
 * timeout_ms. */
bool pump(bool (*until)(void), int timeout_ms);
/* The same until that process has ended; its exit code, or -1 when it takes too long. */
int pump_child(pid_t pid, int timeout_ms);
void kill_all(void);
extern const char *work_dir;

/* ---- watch.c: what the logs say */
struct watch {
    uint64_t attempt;   /* the newest that all workers run */
    uint64_t snapshot;  /* that it was restored from */
    uint64_t completed; /* rounds whose completion the sink has carried out */
    uint64_t last_complete;
    uint64_t parts;   /* published */
    uint64_t owed;    /* of them, because a commit handle named them */
    uint64_t aborted; /* rounds that aborted without the attempt's end, each counted once */
    uint64_t last_aborted;
    int64_t ran_at, completed_at;       /* ms */
    bool zombie_fenced, zombie_rewound; /* the replaced worker has noticed; was told to drop all */
    uint32_t finished;                  /* workers that have put out all their data */
};
extern struct watch watch;
void watch_line(struct proc *p, const char *line);
void watch_started(const struct proc *p); /* a new process runs nothing yet */

#endif

/* The workers' side of the benchmark: one process, many connections, each one worker of one job,
 * speaking the protocol directly. What a worker answers is encoded before the first round; only ids
 * change. An admin's connection beside them starts the rounds. Anything unexpected ends the
 * process. */
#ifndef PEERS_H
#define PEERS_H

#include <stdbool.h>
#include <stdint.h>

struct peers;

struct round_times { /* us */
    uint64_t total; /* from the first trigger handed to the kernel to the last complete read here */
    uint64_t trigger, acks, commit, notify;
};

/* Connects, joins, restores and waits for Run. batch: acks per frame. interval_ms: of the job's
 * checkpoints; 0: only those that are ordered. */
struct peers *peers_open(uint16_t port, uint32_t connections, uint32_t tasks, uint32_t batch,
                         uint32_t interval_ms);
struct peers *peers_admins(uint16_t port, uint32_t n); /* welcomed, and then silent */
/* Answers what comes for so long; returns how many rounds were complete. */
uint32_t peers_serve(struct peers *p, uint32_t seconds);
/* n rounds, each started when the one before is complete and confirmed; then asks the daemon when
 * each began and how long its phases took. */
void peers_rounds(struct peers *p, uint32_t n, struct round_times *times);
void peers_heartbeat(struct peers *p); /* at least once a minute */
void peers_close(struct peers *p);

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t wall_us(void);

#endif

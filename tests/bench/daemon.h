/* The tidemarkd that is measured, one at a time, with a data directory of its own. */
#ifndef DAEMON_H
#define DAEMON_H

#include <stdint.h>
#include <sys/types.h>

struct daemon {
    pid_t pid;
    char directory[256];
    uint16_t port;
};

/* The directory is made beside that path. */
const struct daemon *daemon_start(const char *program, const char *beside);
void daemon_remove(void); /* stops it in good order */
void daemon_kill(void);   /* from a signal's handler */

/* A line such as "VmRSS:  1234 kB" of /proc/<pid>/status, in bytes. */
double daemon_memory(const char *key);
void daemon_memory_peak_reset(void);
/* CPU time in ns, of the loop's thread and of the others; better than the clock on a busy machine.
 */
struct cpu {
    double loop, others;
};
struct cpu daemon_cpu(void);

#endif

/* What tidemarkd costs while nothing happens. */
#ifndef IDLE_H
#define IDLE_H

/* Prints bytes for an idle connection, of an admin and of a worker, and the CPU time that one job
 * with a round a second takes. */
void idle_measure(const char *daemon, const char *beside);

#endif

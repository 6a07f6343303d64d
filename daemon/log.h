/* The log: one line for each event, from any thread.
 *
 * On stderr a line is written with one write(2): time, level, text. In the journal it is an entry
 * of its own, whose fields say what it is about, so that `journalctl JOB=name` finds it. Text of
 * peers may stand in a line: control characters become '?'. */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>

#include "daemon/core/core.h"

/* What a line is about, besides its text: fields of the journal. NULL and 0: nothing to say. */
struct log_fields {
    const char *job, *worker, *peer;
    uint64_t attempt, round;
};

/* journal: the path of its socket, borrowed for good; NULL: lines on stderr. */
void log_open(enum log_level most_verbose, const char *journal);
/* From now on; any thread may be logging. */
void log_set_level(enum log_level most_verbose);
bool log_wants(enum log_level level);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_about(enum log_level level, const struct log_fields *about, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "error", "warn", "info" or "debug". 0 for any other name. */
enum log_level log_level_of(const char *name);
const char *log_level_name(enum log_level level);

#endif

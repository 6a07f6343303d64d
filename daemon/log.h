/* The log: one line on stderr for each event, from any thread.
 *
 * A line is written with one write(2). Under the journal it opens with the priority, elsewhere
 * with time and level. Text of peers may stand in a line: control characters become '?'. */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>

#include "daemon/core/core.h"

void log_open(enum log_level most_verbose, bool journal);
/* Where lines go; 2 until told otherwise. For tests. */
void log_to(int fd);
bool log_wants(enum log_level level);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "error", "warn", "info" or "debug". 0 for any other name. */
enum log_level log_level_of(const char *name);
const char *log_level_name(enum log_level level);

#endif

/* The log: lines on stderr. */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static struct {
    enum log_level most_verbose;
    bool journal;
    int fd;
} state = {LEVEL_INFO, false, 2};

static const struct {
    enum log_level level;
    const char *name;
} levels[] = {
    {LEVEL_ERROR, "error"}, {LEVEL_WARN, "warn"}, {LEVEL_INFO, "info"}, {LEVEL_DEBUG, "debug"}};

enum log_level log_level_of(const char *name)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(name, levels[i].name) == 0) return levels[i].level;
    return 0;
}

const char *log_level_name(enum log_level level)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (levels[i].level == level) return levels[i].name;
    return "?";
}

void log_open(enum log_level most_verbose, bool journal)
{
    state.most_verbose = most_verbose;
    state.journal = journal;
}

void log_to(int fd)
{
    state.fd = fd;
}

bool log_wants(enum log_level level)
{
    return level <= state.most_verbose;
}

static int put_head(char *line, size_t size, enum log_level level)
{
    if (state.journal) return snprintf(line, size, "<%d>", (int)level);
    struct timespec now = {0};
    struct tm utc = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(line + n, size - n, ".%03dZ %-5s ", (int)(now.tv_nsec / 1000000),
                        log_level_name(level));
    return (int)n + more;
}

void log_line(enum log_level level, const char *format, ...)
{
    if (!log_wants(level)) return;
    char line[LINE_MAX_BYTES];
    size_t head = (size_t)put_head(line, sizeof line, level);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line + head, sizeof line - head - 1, format, args);
    va_end(args);
    if (n < 0) return;
    size_t len = head + (size_t)n;
    if (len > sizeof line - 2) {
        len = sizeof line - 2;
        for (size_t i = len - 3; i < len; i++)
            line[i] = '.';
    }
    for (size_t i = head; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = '?';
    line[len++] = '\n';
    /* A full pipe or a closed stderr must not stop the daemon: the line is lost. */
    ssize_t written = write(state.fd, line, len);
    (void)written;
}

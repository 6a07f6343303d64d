/* The log: lines on stderr, or entries of the journal.
 *
 * What can go wrong, and what we do:
 * - the journal does not read      -> after a tenth of a second the line is lost, since a log must
 *                                     not stop the daemon
 * - the journal cannot be reached  -> its lines go to stderr, where systemd catches them too, with
 *                                     their priority but without their fields */
#include "daemon/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/util.h"

#define LINE_MAX_BYTES 1024
#define FIELD_MAX_BYTES 256
#define ENTRY_MAX_BYTES (LINE_MAX_BYTES + 8 * FIELD_MAX_BYTES)
#define JOURNAL_WAIT_US 100000

static struct {
    _Atomic int most_verbose;
    bool journal;                     /* stderr is read by systemd */
    int socket;                       /* to the journal; -1: none */
    _Atomic uint64_t jammed_until_us; /* it did not read */
    struct sockaddr_un at;
} state = {LEVEL_INFO, false, -1, 0, {0}};

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

void log_open(enum log_level most_verbose, const char *journal)
{
    struct timeval wait = {.tv_usec = JOURNAL_WAIT_US};
    log_set_level(most_verbose);
    if (state.socket >= 0) (void)close(state.socket);
    state.socket = -1;
    state.journal = journal != NULL;
    if (!journal || strlen(journal) >= sizeof state.at.sun_path) return;
    state.at = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)strcpy(state.at.sun_path, journal);
    state.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (state.socket >= 0)
        (void)setsockopt(state.socket, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
}

void log_set_level(enum log_level most_verbose)
{
    atomic_store_explicit(&state.most_verbose, (int)most_verbose, memory_order_relaxed);
}

bool log_wants(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&state.most_verbose, memory_order_relaxed);
}

/* Control characters become '?': a line is a line, whatever a peer calls itself. */
static void make_plain(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) text[i] = '?';
}

/* ---- the journal: lines of FIELD=value in one datagram */

static size_t put_text(char *entry, size_t len, const char *name, const char *value)
{
    if (!value || !*value) return len;
    int n = snprintf(entry + len, FIELD_MAX_BYTES, "%s=%s", name, value);
    size_t used = n < FIELD_MAX_BYTES ? (size_t)n : FIELD_MAX_BYTES - 1;
    make_plain(entry + len, used);
    entry[len + used] = '\n';
    return len + used + 1;
}

static size_t put_number(char *entry, size_t len, const char *name, uint64_t value)
{
    char text[24];
    if (!value) return len;
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    return put_text(entry, len, name, text);
}

static bool to_journal(enum log_level level, const struct log_fields *about, const char *text)
{
    char entry[ENTRY_MAX_BYTES];
    int n = snprintf(entry, LINE_MAX_BYTES + FIELD_MAX_BYTES,
                     "PRIORITY=%d\nSYSLOG_IDENTIFIER=tidemarkd\nMESSAGE=%s\n", (int)level, text);
    if (state.socket < 0 || n < 0) return false;
    size_t len = (size_t)n;
    len = put_text(entry, len, "JOB", about->job);
    len = put_number(entry, len, "ATTEMPT", about->attempt);
    len = put_number(entry, len, "ROUND", about->round);
    len = put_text(entry, len, "WORKER", about->worker);
    len = put_text(entry, len, "PEER", about->peer);
    /* A journal that does not read may cost one wait a second, not one for each line. */
    uint64_t now = clock_boot_us();
    int flags = MSG_NOSIGNAL | (now < state.jammed_until_us ? MSG_DONTWAIT : 0);
    if (sendto(state.socket, entry, len, flags, (struct sockaddr *)&state.at, sizeof state.at) >= 0)
        return true;
    if (errno != EAGAIN) return false;
    state.jammed_until_us = now + 1000000;
    return true;
}

/* ---- stderr */

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

static void to_stderr(enum log_level level, const char *text)
{
    char line[LINE_MAX_BYTES + 64];
    int head = put_head(line, 64, level);
    size_t n = strlen(text);
    memcpy(line + head, text, n);
    line[(size_t)head + n] = '\n';
    /* A full pipe or a closed stderr must not stop the daemon: the line is lost. */
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&out, 1, 0) != 1) return;
    ssize_t written = write(STDERR_FILENO, line, (size_t)head + n + 1);
    (void)written;
}

static void __attribute__((format(printf, 3, 0)))
put(enum log_level level, const struct log_fields *about, const char *format, va_list args)
{
    char text[LINE_MAX_BYTES];
    int n = vsnprintf(text, sizeof text, format, args);
    if (n < 0) return;
    if ((size_t)n >= sizeof text) memcpy(text + sizeof text - 4, "...", 4);
    make_plain(text, strlen(text));
    if (!to_journal(level, about, text)) to_stderr(level, text);
}

void log_line(enum log_level level, const char *format, ...)
{
    static const struct log_fields nothing;
    va_list args;
    if (!log_wants(level)) return;
    va_start(args, format);
    put(level, &nothing, format, args);
    va_end(args);
}

void log_about(enum log_level level, const struct log_fields *about, const char *format, ...)
{
    va_list args;
    if (!log_wants(level)) return;
    va_start(args, format);
    put(level, about, format, args);
    va_end(args);
}

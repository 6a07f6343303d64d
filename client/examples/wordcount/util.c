/* Small things that all files use, see wordcount.h */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "wordcount.h"

static char who[64] = "wordcount";

void say_who(const char *name)
{
    snprintf(who, sizeof who, "%s", name);
}

/* One write per line: several processes may share the log. */
static void speak(const char *format, va_list args)
{
    char line[1024];
    int n = snprintf(line, sizeof line, "%s: ", who);
    n += vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    if (n > (int)sizeof line - 2) n = (int)sizeof line - 2;
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)n) < 0) return; /* nobody listens: nothing to be done */
}

void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    speak(format, args);
    va_end(args);
}

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    speak(format, args);
    va_end(args);
    exit(1);
}

void *must_alloc(size_t n)
{
    return must_realloc(NULL, n);
}

void *must_realloc(void *p, size_t n)
{
    p = realloc(p, n ? n : 1);
    if (!p) die("out of memory (%zu bytes)", n);
    return p;
}

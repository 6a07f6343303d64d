#include "proto/shared.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/ack.h"

struct at {
    const uint8_t *p, *end;
};

static bool letter(struct at *at, char c)
{
    if (at->p == at->end || *at->p != (uint8_t)c) return false;
    at->p++;
    return true;
}

/* Of at most 20 digits, as a number of 64 bits has; without a 0 in front, so that no two spellings
 * mean one file. */
static bool number(struct at *at)
{
    const uint8_t *from = at->p;
    while (at->p != at->end && *at->p >= '0' && *at->p <= '9')
        at->p++;
    size_t n = (size_t)(at->p - from);
    return n >= 1 && n <= 20 && (n == 1 || *from != '0');
}

/* a<number>-<number>/r<number> */
static bool directories(struct at *at)
{
    return letter(at, 'a') && number(at) && letter(at, '-') && number(at) && letter(at, '/') &&
           letter(at, 'r') && number(at);
}

static struct at at_of(struct tide_bytes b)
{
    static const uint8_t nothing;
    const uint8_t *data = b.data ? b.data : &nothing;
    return (struct at){data, data + b.len};
}

bool tide_shared_key_valid(struct tide_bytes key)
{
    struct at at = at_of(key);
    return key.len < TIDE_SHARED_KEY_SIZE && directories(&at) && letter(&at, '/') &&
           letter(&at, 's') && number(&at) && letter(&at, '-') && number(&at) && at.p == at.end;
}

/* Where the last two components begin; the whole length when there is nothing before them. */
static size_t last_two(struct tide_bytes directory)
{
    int slashes = 0;
    for (size_t i = directory.len; i-- > 0;)
        if (directory.data[i] == '/' && ++slashes == 2) return i + 1;
    return directory.len;
}

size_t tide_shared_key(char key[static TIDE_SHARED_KEY_SIZE], struct tide_bytes round_directory,
                       uint32_t task, uint32_t index)
{
    size_t from = last_two(round_directory), len = round_directory.len - from;
    struct tide_bytes two = {len ? round_directory.data + from : NULL, len};
    struct at at = at_of(two);
    if (!directories(&at) || at.p != at.end) return 0;
    memcpy(key, two.data, len);
    return len + (size_t)snprintf(key + len, TIDE_SHARED_KEY_SIZE - len, "/s%" PRIu32 "-%" PRIu32,
                                  task, index);
}

struct tide_bytes tide_shared_directory(struct tide_bytes round_directory)
{
    size_t from = last_two(round_directory);
    if (from == round_directory.len || from < 2) return (struct tide_bytes){0};
    return (struct tide_bytes){round_directory.data, from - 1};
}

bool tide_artifact_where(char *out, size_t size, struct tide_bytes directory, uint32_t task,
                         uint32_t index, const struct tide_artifact_view *v)
{
    char derived[32];
    struct tide_bytes path = v->path;
    if (v->is_inline) return false;
    if (!path.len)
        path =
            (struct tide_bytes){(const uint8_t *)derived, tide_artifact_path(derived, task, index)};
    if (v->shared) directory = tide_shared_directory(directory);
    int n = snprintf(out, size, "%.*s/%.*s", (int)directory.len, (const char *)directory.data,
                     (int)path.len, (const char *)path.data);
    return n > 0 && (size_t)n < size;
}

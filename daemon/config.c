/* Reading the configuration.
 *
 * One table names every key with its type and bounds; the parser knows lines, the table knows
 * meanings. A value is everything between the equals sign and the end of the line, without the
 * blanks around it: nothing is cut, and a comment stands on a line of its own. */
#include "daemon/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/util.h"
#include "proto/err.h"

enum type { ADDRESS, PATH, COUNT, SIZE, TIME, LEVEL };

#define K ((uint64_t)1 << 10)
#define M ((uint64_t)1 << 20)
#define G ((uint64_t)1 << 30)
#define MS ((uint64_t)1000)
#define S (1000 * MS)
#define MINUTE (60 * S)
#define HOUR (60 * MINUTE)
#define AT(field) offsetof(struct config, field)

static const struct key {
    const char *section, *name;
    enum type type;
    size_t at;
    uint64_t min, max;
    uint64_t value;
    const char *text; /* the default of texts */
    bool live;        /* may change while the daemon runs */
} keys[] = {
    {"daemon", "listen", ADDRESS, AT(listen), 0, 0, 0, "127.0.0.1:7460", false},
    {"daemon", "data", PATH, AT(data), 0, 0, 0, "/var/lib/tidemark", false},
    {"daemon", "state", PATH, AT(state), 0, 0, 0, "", false},
    {"daemon", "savepoints", PATH, AT(savepoints), 0, 0, 0, "", false},
    {"daemon", "secret-file", PATH, AT(secret_file), 0, 0, 0, "", true},
    {"daemon", "log-level", LEVEL, AT(log_level), 0, 0, LEVEL_INFO, NULL, true},
    {"limits", "connections", COUNT, AT(connections), 1, 1000000, 10000, NULL, true},
    {"limits", "jobs", COUNT, AT(jobs), 1, 100000, 1000, NULL, true},
    {"limits", "workers", COUNT, AT(workers), 1, 1000000, 10000, NULL, true},
    {"limits", "output-queue", SIZE, AT(output_queue), 64 * K, 4 * G, 64 * M, NULL, true},
    {"limits", "input-memory", SIZE, AT(input_memory), 16 * M, 1024 * G, 1 * G, NULL, true},
    {"limits", "hello-timeout", TIME, AT(hello_timeout), 100 * MS, 10 * MINUTE, 10 * S, NULL, true},
    {"limits", "idle-timeout", TIME, AT(idle_timeout), 1 * S, 24 * HOUR, 10 * MINUTE, NULL, true},
    {"store", "timeout", TIME, AT(store_timeout), 1 * S, 1 * HOUR, 30 * S, NULL, false},
    {"store", "journal", SIZE, AT(journal), 0, 512 * M, 8 * M, NULL, false},
    {"files", "lanes", COUNT, AT(lanes), 1, 64, 2, NULL, false},
    {"files", "queue", COUNT, AT(lane_queue), 1, 65536, 256, NULL, false},
    {"files", "timeout", TIME, AT(file_timeout), 100 * MS, 1 * HOUR, 60 * S, NULL, false},
    {"files", "inspect-timeout", TIME, AT(inspect_timeout), 1 * S, 24 * HOUR, 10 * MINUTE, NULL,
     false},
    {"queries", "queue", COUNT, AT(query_queue), 1, 65536, 64, NULL, false},
    {"queries", "timeout", TIME, AT(query_timeout), 100 * MS, 10 * MINUTE, 10 * S, NULL, false},
    {"queries", "verify-timeout", TIME, AT(verify_timeout), 1 * S, 24 * HOUR, 1 * HOUR, NULL,
     false},
};
#define N_KEYS (sizeof keys / sizeof *keys)
_Static_assert(N_KEYS <= CONFIG_KEYS_MAX, "lines[] has a place for each key");

static const struct unit {
    const char *name;
    uint64_t factor;
} sizes[] = {{"K", K}, {"M", M}, {"G", G}},
  times[] = {{"us", 1}, {"ms", MS}, {"s", S}, {"m", MINUTE}, {"h", HOUR}};

static char **text_at(struct config *c, const struct key *k)
{
    return (char **)(void *)((char *)c + k->at);
}

static uint64_t *number_at(struct config *c, const struct key *k)
{
    return (uint64_t *)(void *)((char *)c + k->at);
}

static bool is_text(const struct key *k)
{
    return k->type == ADDRESS || k->type == PATH;
}

void config_init(struct config *c)
{
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < N_KEYS; i++)
        if (is_text(&keys[i]))
            *text_at(c, &keys[i]) = must_copy(keys[i].text);
        else
            *number_at(c, &keys[i]) = keys[i].value;
}

void config_close(struct config *c)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (is_text(&keys[i])) free(*text_at(c, &keys[i]));
    free(c->secret);
    memset(c, 0, sizeof *c);
}

/* Every error passes here. */
static int __attribute__((format(printf, 3, 4)))
say(const struct config *c, char why[static CONFIG_WHY], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, CONFIG_WHY, format, args);
    va_end(args);
    if (c->error) c->error(why);
    return TIDE_EINVAL;
}

/* ---- numbers with units */

static void put_number(char out[static 64], enum type type, uint64_t v)
{
    const struct unit *units = type == SIZE ? sizes : times;
    size_t n = type == SIZE ? sizeof sizes / sizeof *sizes : sizeof times / sizeof *times;
    if (type == LEVEL) {
        (void)snprintf(out, 64, "%s", log_level_name((enum log_level)v));
        return;
    }
    if (type == SIZE || type == TIME)
        for (size_t i = n; i-- > 0;)
            if (v && v % units[i].factor == 0) {
                (void)snprintf(out, 64, "%" PRIu64 "%s", v / units[i].factor, units[i].name);
                return;
            }
    (void)snprintf(out, 64, "%" PRIu64, v);
}

/* Digits and, for sizes and times, a unit right behind them. */
static bool get_number(const char *text, enum type type, uint64_t *ret)
{
    uint64_t v = 0, factor = 1;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10) return false;
        v = v * 10 + digit;
    }
    if (p == text) return false;
    if (type == TIME) factor = v ? 0 : 1; /* a time needs a unit, unless it is 0 */
    if (*p) {
        const struct unit *units = type == SIZE ? sizes : times;
        size_t n = type == SIZE   ? sizeof sizes / sizeof *sizes
                   : type == TIME ? sizeof times / sizeof *times
                                  : 0;
        factor = 0;
        for (size_t i = 0; i < n; i++)
            if (strcmp(p, units[i].name) == 0) factor = units[i].factor;
    }
    if (factor == 0 || v > UINT64_MAX / factor) return false;
    *ret = v * factor;
    return true;
}

static int set_number(struct config *c, const struct key *k, const char *value, const char *where,
                      char why[static CONFIG_WHY])
{
    static const char *const forms[] = {
        [COUNT] = "a whole number such as 100",
        [SIZE] = "a size such as 64K, 16M or 1G",
        [TIME] = "a time with its unit such as 500ms, 10s, 5m or 1h",
    };
    uint64_t v;
    if (!get_number(value, k->type, &v))
        return say(c, why, "%s: [%s] %s: '%.200s' is not %s (a comment needs a line of its own)",
                   where, k->section, k->name, value, forms[k->type]);
    if (v < k->min || v > k->max) {
        char low[64], high[64];
        put_number(low, k->type, k->min);
        put_number(high, k->type, k->max);
        return say(c, why, "%s: [%s] %s: '%.200s' is out of bounds: at least %s, at most %s", where,
                   k->section, k->name, value, low, high);
    }
    *number_at(c, k) = v;
    return 0;
}

/* ---- addresses and paths */

static bool port_of(const char *text, uint16_t *ret)
{
    uint64_t v;
    if (!get_number(text, COUNT, &v) || v > 65535) return false;
    *ret = (uint16_t)v;
    return true;
}

/* IP:PORT or [IP]:PORT: names are not looked up, since their meaning changes behind our back. */
static bool address_of(const char *text, struct sockaddr_storage *ret)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    uint16_t port;
    memset(ret, 0, sizeof *ret);
    if (!colon || !port_of(colon + 1, &port)) return false;
    size_t n = (size_t)(colon - text);
    bool brackets = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    if (brackets) text++, n -= 2;
    if (n == 0 || n >= sizeof host) return false;
    memcpy(host, text, n);
    host[n] = 0;
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)ret;
    if (brackets) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)a;
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static int set_text(struct config *c, const struct key *k, const char *value, const char *where,
                    char why[static CONFIG_WHY])
{
    struct sockaddr_storage address;
    if (k->type == ADDRESS && !address_of(value, &address))
        return say(c, why,
                   "%s: [%s] %s: '%.200s' is not an address: write IP:PORT, such as "
                   "127.0.0.1:7460 or [::1]:7460 (names are not looked up; port 0 takes any)",
                   where, k->section, k->name, value);
    if (k->type == PATH) {
        if (!*value && *k->text)
            return say(c, why, "%s: [%s] %s: has no value", where, k->section, k->name);
        if (*value && *value != '/')
            return say(c, why, "%s: [%s] %s: '%.200s' is not an absolute path", where, k->section,
                       k->name, value);
        if (strlen(value) >= CONFIG_TEXT_MAX) /* names are appended, and the system ends at 4096 */
            return say(c, why, "%s: [%s] %s: the path has %zu bytes, at most %d are possible",
                       where, k->section, k->name, strlen(value), CONFIG_TEXT_MAX - 1);
    }
    char **place = text_at(c, k);
    free(*place);
    *place = must_copy(value);
    return 0;
}

static int set_key(struct config *c, const struct key *k, const char *value, const char *where,
                   char why[static CONFIG_WHY])
{
    if (is_text(k)) return set_text(c, k, value, where, why);
    if (k->type != LEVEL) return set_number(c, k, value, where, why);
    enum log_level level = log_level_of(value);
    if (!level)
        return say(c, why, "%s: [%s] %s: '%.200s' is none of error, warn, info and debug", where,
                   k->section, k->name, value);
    *number_at(c, k) = level;
    return 0;
}

static const struct key *find_key(const char *section, const char *name)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

/* ---- lines */

struct parser {
    struct config *c;
    const char *name;
    uint32_t line;
    const char *section; /* of the table; NULL before the first */
    char *why;
};

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t n = strlen(text);
    while (n && (text[n - 1] == ' ' || text[n - 1] == '\t' || text[n - 1] == '\r'))
        n--;
    text[n] = 0;
    return text;
}

static int parse_section(struct parser *p, char *text)
{
    size_t n = strlen(text);
    if (n < 3 || text[n - 1] != ']')
        return say(p->c, p->why, "%s:%u: '%.200s' is not a section: write [name]", p->name, p->line,
                   text);
    text[n - 1] = 0;
    char *section = trim(text + 1);
    for (size_t i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].section, section) == 0) {
            p->section = keys[i].section;
            return 0;
        }
    return say(p->c, p->why,
               "%s:%u: unknown section [%.200s]: known are [daemon], [limits], [store], [files] "
               "and [queries]",
               p->name, p->line, section);
}

/* Another section that has the key, for people who only got the section wrong. */
static const char *section_of(const char *name)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].name, name) == 0) return keys[i].section;
    return NULL;
}

static int parse_pair(struct parser *p, char *text)
{
    char *equals = strchr(text, '='), where[600];
    if (!equals)
        return say(p->c, p->why, "%s:%u: '%.200s' is neither a [section] nor key = value", p->name,
                   p->line, text);
    *equals = 0;
    char *name = trim(text), *value = trim(equals + 1);
    if (!p->section)
        return say(p->c, p->why, "%s:%u: key '%.200s' stands before the first [section]", p->name,
                   p->line, name);
    const struct key *k = find_key(p->section, name);
    if (!k) {
        const char *other = section_of(name);
        if (other)
            return say(p->c, p->why, "%s:%u: unknown key '%.200s' in [%s]; it belongs to [%s]",
                       p->name, p->line, name, p->section, other);
        return say(p->c, p->why, "%s:%u: unknown key '%.200s' in [%s]", p->name, p->line, name,
                   p->section);
    }
    uint32_t *first = &p->c->lines[k - keys];
    if (*first)
        return say(p->c, p->why, "%s:%u: [%s] %s: set before, in line %u", p->name, p->line,
                   p->section, name, *first);
    *first = p->line;
    (void)snprintf(where, sizeof where, "%.500s:%u", p->name, p->line);
    return set_key(p->c, k, value, where, p->why);
}

static int parse_line(struct parser *p, struct tide_bytes bytes)
{
    if (bytes.len && !tide_text_valid(bytes))
        return say(p->c, p->why, "%s:%u: the line is not valid UTF-8", p->name, p->line);
    char *line = must_alloc(bytes.len + 1);
    if (bytes.len) memcpy(line, bytes.data, bytes.len);
    char *text = trim(line);
    int rc = 0;
    if (*text == '[')
        rc = parse_section(p, text);
    else if (*text && *text != '#' && *text != ';')
        rc = parse_pair(p, text);
    free(line);
    return rc;
}

int config_parse(struct config *c, const char *name, struct tide_bytes text,
                 char why[static CONFIG_WHY])
{
    char next[CONFIG_WHY];
    struct parser p = {.c = c, .name = name, .why = why};
    int first = 0;
    memset(c->lines, 0, sizeof c->lines);
    if (text.len > CONFIG_FILE_MAX)
        return say(c, why, "%s: larger than %u bytes", name, CONFIG_FILE_MAX);
    for (size_t at = 0; at < text.len;) {
        const uint8_t *start = text.data + at, *end = memchr(start, '\n', text.len - at);
        size_t n = end ? (size_t)(end - start) : text.len - at;
        p.line++;
        int rc = parse_line(&p, (struct tide_bytes){start, n});
        if (rc && !c->error) return rc;
        if (rc && !first) first = rc, p.why = next; /* `why` keeps the first error */
        at += n + 1;
    }
    return first;
}

/* ---- files */

/* Reads at most max bytes of an open file. 0, TIDE_ETOOBIG or TIDE_EIO with errno set. */
static int read_all(int fd, size_t max, struct tide_buf *ret)
{
    tide_buf_init(ret, max + 1);
    for (;;) {
        uint8_t piece[4096];
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return TIDE_EIO;
        if (n == 0) break;
        tide_buf_put(ret, piece, (size_t)n);
        if (ret->rc) break;
    }
    return ret->rc || ret->len > max ? TIDE_ETOOBIG : 0;
}

int config_load(struct config *c, const char *path, char why[static CONFIG_WHY])
{
    struct tide_buf text;
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
    if (fd < 0) {
        if (errno != ENOENT) return say(c, why, "%s: cannot be read: %s", path, strerror(errno));
        (void)snprintf(why, CONFIG_WHY, "%s: cannot be read: %s", path, strerror(errno));
        return TIDE_ENOTFOUND;
    }
    rc = read_all(fd, CONFIG_FILE_MAX, &text);
    if (rc == TIDE_EIO)
        rc = say(c, why, "%s: cannot be read: %s", path, strerror(errno));
    else if (rc)
        rc = say(c, why, "%s: larger than %u bytes", path, CONFIG_FILE_MAX);
    else
        rc = config_parse(c, path, (struct tide_bytes){text.data, text.len}, why);
    tide_buf_release(&text);
    (void)close(fd);
    return rc;
}

int config_set(struct config *c, const char *section, const char *key, const char *value,
               const char *flag, char why[static CONFIG_WHY])
{
    const struct key *k = find_key(section, key);
    if (!k) return say(c, why, "%s: unknown key %s in [%s]", flag, key, section);
    if (!tide_text_valid(tide_bytes_of(value)))
        return say(c, why, "%s: the value is not valid UTF-8", flag);
    c->flags[k - keys] = true;
    return set_key(c, k, value, flag, why);
}

static int read_secret(struct config *c, int fd, char why[static CONFIG_WHY])
{
    struct stat st;
    struct tide_buf text;
    if (fstat(fd, &st) < 0)
        return say(c, why, "[daemon] secret-file: %s: %s", c->secret_file, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return say(c, why, "[daemon] secret-file: %s: not a regular file", c->secret_file);
    if (st.st_mode & (S_IROTH | S_IWOTH))
        return say(c, why,
                   "[daemon] secret-file: %s: everybody on this machine may read or write it; "
                   "run: chmod o-rw '%s'",
                   c->secret_file, c->secret_file);
    int rc = read_all(fd, CONFIG_SECRET_MAX, &text);
    while (rc == 0 && text.len &&
           (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    if (rc == TIDE_EIO)
        rc = say(c, why, "[daemon] secret-file: %s: cannot be read: %s", c->secret_file,
                 strerror(errno));
    else if (rc)
        rc = say(c, why, "[daemon] secret-file: %s: longer than %u bytes", c->secret_file,
                 CONFIG_SECRET_MAX);
    else if (text.len == 0)
        rc = say(c, why, "[daemon] secret-file: %s: empty", c->secret_file);
    if (rc == 0)
        c->secret = tide_buf_take(&text, &c->secret_len);
    else
        tide_buf_release(&text);
    return rc;
}

static int load_secret(struct config *c, char why[static CONFIG_WHY])
{
    int fd = open(c->secret_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return say(c, why, "[daemon] secret-file: %s: cannot be read: %s", c->secret_file,
                   strerror(errno));
    int rc = read_secret(c, fd, why);
    (void)close(fd);
    return rc;
}

static void default_path(char **place, const char *data, const char *name)
{
    if (**place) return;
    size_t n = strlen(data) + strlen(name) + 2;
    free(*place);
    *place = must_alloc(n);
    (void)snprintf(*place, n, "%s/%s", data, name);
}

static void strip_slashes(char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = 0;
}

/* An address that others can reach, and nothing to keep them out. */
static int check_secret(const struct config *c, const char *address, const uint8_t *secret,
                        char why[static CONFIG_WHY])
{
    struct sockaddr_storage a;
    if (secret || !address_of(address, &a) || is_loopback(&a)) return 0;
    return say(c, why,
               "[daemon] listen: %s can be reached from other machines, so a secret is "
               "needed: set [daemon] secret-file",
               address);
}

int config_finish(struct config *c, char why[static CONFIG_WHY])
{
    char next[CONFIG_WHY];
    int rc = 0;
    strip_slashes(c->data);
    default_path(&c->state, c->data, "state");
    default_path(&c->savepoints, c->data, "savepoints");
    strip_slashes(c->state);
    strip_slashes(c->savepoints);
    if (!address_of(c->listen, &c->address))
        return say(c, why, "[daemon] listen: '%.200s' is not an address", c->listen);
    if (strcmp(c->state, c->savepoints) == 0)
        rc = say(c, why, "[daemon] state and savepoints: both are %s; each needs its own directory",
                 c->state);
    if (rc && !c->error) return rc;
    int secret = *c->secret_file ? load_secret(c, rc ? next : why)
                                 : check_secret(c, c->listen, NULL, rc ? next : why);
    return rc ? rc : secret;
}

/* ---- taking over, writing */

static void put_value(const struct config *c, const struct key *k, char *out, size_t size)
{
    char text[64];
    if (is_text(k)) {
        (void)snprintf(out, size, "%s", *text_at((struct config *)(uintptr_t)c, k));
        return;
    }
    put_number(text, k->type, *number_at((struct config *)(uintptr_t)c, k));
    (void)snprintf(out, size, "%s", text);
}

static void swap(struct config *a, struct config *b, const struct key *k)
{
    if (is_text(k)) {
        char *text = *text_at(a, k);
        *text_at(a, k) = *text_at(b, k);
        *text_at(b, k) = text;
    } else {
        uint64_t number = *number_at(a, k);
        *number_at(a, k) = *number_at(b, k);
        *number_at(b, k) = number;
    }
}

static bool same_secret(const struct config *a, const struct config *b)
{
    return a->secret_len == b->secret_len &&
           (!a->secret_len || memcmp(a->secret, b->secret, a->secret_len) == 0);
}

int config_adopt(struct config *c, struct config *next,
                 void (*differs)(const char *key, const char *value, bool taken),
                 char why[static CONFIG_WHY])
{
    /* It keeps its address until the next start, and must not lose the secret that goes with it. */
    int rc = check_secret(next, c->listen, next->secret, why);
    if (rc) return rc;
    for (size_t i = 0; i < N_KEYS; i++) {
        char before[CONFIG_TEXT_MAX], after[CONFIG_TEXT_MAX], name[64];
        put_value(c, &keys[i], before, sizeof before);
        put_value(next, &keys[i], after, sizeof after);
        if (strcmp(before, after) == 0) continue;
        (void)snprintf(name, sizeof name, "[%s] %s", keys[i].section, keys[i].name);
        differs(name, after, keys[i].live);
        if (keys[i].live) swap(c, next, &keys[i]);
    }
    if (!same_secret(c, next)) differs("the secret", "another", true);
    struct config was = *c;
    c->secret = next->secret, c->secret_len = next->secret_len;
    next->secret = was.secret, next->secret_len = was.secret_len;
    return 0;
}

bool config_write(const struct config *c, FILE *out)
{
    const char *section = "";
    for (size_t i = 0; i < N_KEYS; i++) {
        char value[CONFIG_TEXT_MAX];
        bool given = c->lines[i] || c->flags[i];
        put_value(c, &keys[i], value, sizeof value);
        if (strcmp(section, keys[i].section) != 0)
            (void)fprintf(out, "%s[%s]\n", *section ? "\n" : "", keys[i].section);
        section = keys[i].section;
        size_t n = strlen(value); /* a blank at the end would be lost, but for a slash behind it */
        bool blank = n && (value[n - 1] == ' ' || value[n - 1] == '\t' || value[n - 1] == '\r');
        (void)fprintf(out, "%s%s =%s%s%s\n", given ? "" : "#", keys[i].name, n ? " " : "", value,
                      blank ? "/" : "");
    }
    return !ferror(out);
}

bool config_key(size_t i, const char **ret_section, const char **ret_key, char text[static 64])
{
    if (i >= N_KEYS) return false;
    *ret_section = keys[i].section;
    *ret_key = keys[i].name;
    if (is_text(&keys[i]))
        (void)snprintf(text, 64, "%s", keys[i].text);
    else
        put_number(text, keys[i].type, keys[i].value);
    return true;
}

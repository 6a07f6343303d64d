/* The configuration: sections of `key = value` in a file, then flags on top of it.
 *
 * Call config_init(), then config_load() or config_parse(), config_set() for each flag, and
 * config_finish() once. Every key has bounds that are checked where it is read. What is wrong is
 * told with file, line and key: `why` has the first error; who sets `error` hears of all. A
 * configuration with errors is not to be used. tidemarkd.conf documents every key.
 *
 * A daemon that runs reads another one in the same way and takes over what it can of it with
 * config_adopt(). */
#ifndef CONFIG_H
#define CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/bytes.h"

#ifndef TIDE_SYSCONFDIR /* the Makefile says it for the program that is installed */
#define TIDE_SYSCONFDIR "/etc"
#endif
#define CONFIG_DEFAULT_FILE TIDE_SYSCONFDIR "/tidemark/tidemarkd.conf"
#define CONFIG_KEYS_MAX 32
#define CONFIG_FILE_MAX (1u << 20)
#define CONFIG_SECRET_MAX 4096u
#define CONFIG_TEXT_MAX 3001 /* a path, with its NUL */
#define CONFIG_WHY 1024

struct config {
    /* [daemon] */
    char *listen, *data, *state, *savepoints, *secret_file;
    uint64_t log_level;
    /* [limits] */
    uint64_t connections, jobs, workers;
    uint64_t output_queue, input_memory;  /* bytes */
    uint64_t hello_timeout, idle_timeout; /* us, as are all times here */
    /* [store] */
    uint64_t store_timeout, journal;
    /* [files] */
    uint64_t lanes, lane_queue, file_timeout, inspect_timeout;
    /* [queries] */
    uint64_t query_queue, query_timeout, verify_timeout;

    /* What config_finish() makes of them. */
    struct sockaddr_storage address;
    uint8_t *secret; /* NULL: none */
    size_t secret_len;

    uint32_t lines[CONFIG_KEYS_MAX]; /* where each key was set, 0: not */
    bool flags[CONFIG_KEYS_MAX];     /* ... by a flag, whatever the file says */

    void (*error)(const char *why); /* set after config_init(), or NULL: the first error ends it */
};

void config_init(struct config *c); /* the defaults */
void config_close(struct config *c);
/* Reads the text of a file; name is for messages. 0 or TIDE_EINVAL with a sentence in why. */
int config_parse(struct config *c, const char *name, struct tide_bytes text,
                 char why[static CONFIG_WHY]);
/* The same for a file. TIDE_ENOTFOUND when there is none. */
int config_load(struct config *c, const char *path, char why[static CONFIG_WHY]);
/* Sets one key as a flag does: section and key, value, and the flag's name for messages. */
int config_set(struct config *c, const char *section, const char *key, const char *value,
               const char *flag, char why[static CONFIG_WHY]);
/* Checks what concerns more than one key, fills in the paths that follow from `data`, reads the
 * secret. Makes nothing on disk. */
int config_finish(struct config *c, char why[static CONFIG_WHY]);

/* Takes over the keys of next that may change while the daemon runs, and its secret; each key that
 * differs is told: `taken`, or only at the next start. next keeps what it had before of c, for
 * config_close(). TIDE_EINVAL, and nothing is taken, if next is only right with its own address. */
int config_adopt(struct config *c, struct config *next,
                 void (*differs)(const char *key, const char *value, bool taken),
                 char why[static CONFIG_WHY]);
/* Writes it as a file: what was set, and what was not as comments. False: out cannot be written. */
bool config_write(const struct config *c, FILE *out);

/* The known keys, for tests: false when i is beyond the last. text receives the default. */
bool config_key(size_t i, const char **ret_section, const char **ret_key, char text[static 64]);

#endif

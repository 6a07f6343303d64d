/* The configuration: sections of `key = value` in a file, then flags on top of it.
 *
 * Call config_init(), then config_load() or config_parse(), config_set() for each flag, and
 * config_finish() once. Every key has bounds that are checked where it is read; the first thing
 * wrong is told with file, line and key, and nothing is applied half. tidemarkd.conf documents
 * every key. */
#ifndef CONFIG_H
#define CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"

#define CONFIG_DEFAULT_FILE "/etc/tidemark/tidemarkd.conf"
#define CONFIG_KEYS_MAX 32
#define CONFIG_FILE_MAX (1u << 20)
#define CONFIG_SECRET_MAX 4096u
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
    uint64_t store_timeout, wal_prime;
    /* [files] */
    uint64_t lanes, lane_queue, file_timeout;
    /* [queries] */
    uint64_t query_queue, query_timeout, verify_timeout;

    /* What config_finish() makes of them. */
    struct sockaddr_storage address;
    uint8_t *secret; /* NULL: none */
    size_t secret_len;

    uint32_t lines[CONFIG_KEYS_MAX]; /* where each key was set, 0: not */
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

/* The known keys, for tests: false when i is beyond the last. text receives the default. */
bool config_key(size_t i, const char **ret_section, const char **ret_key, char text[static 64]);

#endif

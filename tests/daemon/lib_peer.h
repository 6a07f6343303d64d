/* For tests of the daemon: a host in a thread of this process, the real program as a child, and
 * peers that speak frames over a socket. Everything has a time limit; a failure ends the test. */
#ifndef LIB_PEER_H
#define LIB_PEER_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/config.h"
#include "daemon/host.h"
#include "proto/admin.pb-c.h"
#include "proto/bytes.h"
#include "proto/worker.pb-c.h"

/* A fresh directory below /tmp, static; removed by directory_remove(). */
const char *directory_make(void);
void directory_remove(const char *path);

/* ---- a host in a thread */

struct inside {
    struct config config;
    struct host *host;
    uint16_t port;
    unsigned long thread;
    int exit_code;
    bool clean; /* host_close() said so */
};
/* Defaults, but data in `directory` and any port. settings: "[section]\nkey = value\n", or "". */
void inside_start(struct inside *in, const char *directory, const char *settings);
/* Asks it to stop, and checks that it ends with 0 and gives everything back. */
void inside_stop(struct inside *in);

/* ---- the program as a child */

struct child {
    pid_t pid;
    int err; /* its stderr */
    char said[16384];
    size_t said_len;
};
/* Runs the tidemarkd of this build; arguments end with NULL. */
void child_start(struct child *c, const char *const *arguments);
/* Waits for its end: the exit code, or -signal. Its stderr is in said. */
int child_wait(struct child *c);
void child_kill(struct child *c, int signal);
/* The port in the file `port` of the directory, once it is there. */
uint16_t port_of(const char *directory);

/* ---- a peer */

int peer_connect(uint16_t port);
void peer_send_raw(int fd, const void *data, size_t len);
void peer_send(int fd, const ProtobufCMessage *message);
void peer_hello(int fd, Tide__PeerKind kind, const char *secret);
/* The next frame, malloc'ed; false: the peer closed. Fails the test after ten seconds. */
bool peer_read(int fd, struct tide_buf *ret);
Tide__ToWorker *peer_word(int fd);   /* NULL: closed */
Tide__Response *peer_answer(int fd); /* NULL: closed */
/* True when the peer closes within the time, whatever it says before. */
bool peer_closes(int fd, int limit_ms);

/* Expects Refused with this code and these words, then the end. */
void peer_refused(int fd, Tide__RefusedCode code, const char *words);
/* Hello as an admin, Welcome, then status. */
int admin_connect(uint16_t port);
Tide__Response *admin_status(int fd);

#define BYTES_OF(text) ((ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)(text)})
#define TEXT_IS(binary, text)                                                                      \
    ((binary).len == strlen(text) && memcmp((binary).data, text, strlen(text)) == 0)

#endif

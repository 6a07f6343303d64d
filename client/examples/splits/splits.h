/* What the processes of the example have in common; main.c says what it is. */
#ifndef SPLITS_H
#define SPLITS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <tidemark.h>

#define OPERATOR "reader"
#define HOOK "ledger"
#define READERS_MAX 64
#define JOB_ID_LEN 32

struct options {
    const char *files, *out, *connect;
    uint32_t readers, index, interval_ms, pause_us;
};

_Noreturn void die(const char *what);

/* Each _new adds a part to the worker, or exits with a message. Each _fds says what to poll for,
 * and _serve takes what poll() has found there. */
struct reader;
struct reader *reader_new(struct tide_worker *tide, const struct options *o, int listener);
void reader_free(struct reader *r);
#define READER_FDS 2
void reader_fds(const struct reader *r, struct pollfd fds[static READER_FDS]);
void reader_serve(struct reader *r, const struct pollfd fds[static READER_FDS]);
bool reader_work(struct reader *r); /* a bit of it; false: there is none */

struct coordinator;
struct coordinator *coordinator_new(struct tide_worker *tide, const struct options *o);
void coordinator_free(struct coordinator *c);
void coordinator_fds(const struct coordinator *c, struct pollfd *fds); /* as many as readers */
void coordinator_serve(struct coordinator *c, const struct pollfd *fds);

struct ledger;
struct ledger *ledger_new(struct tide_worker *tide, const struct options *o);
void ledger_free(struct ledger *l);

/* The channel between the coordinator and a reader: the coordinator connects, says hello, and from
 * then on sends events; the reader answers with their numbers, and with 0 when it has nothing to
 * do. */
struct hello {
    char job_id[JOB_ID_LEN];
    uint64_t attempt;
};
struct event {
    uint64_t number;
    char file[256]; /* to be read; "": there are none left */
};

int channel_listen(char endpoint[static 32]);
int channel_connect(const char *endpoint); /* -1: nobody is there */
int channel_accept(int listener);
/* All of it, or false: the channel is cut. Peers send what is small and at once. */
bool channel_put(int fd, const void *data, size_t n);
bool channel_get(int fd, void *data, size_t n);

#endif

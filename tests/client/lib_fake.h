/* A made-up daemon on a real socket: a thread that answers Hello, Join and heartbeats by itself,
 * writes down what it hears, and says what the test tells it to. */
#ifndef TESTS_CLIENT_FAKE_H
#define TESTS_CLIENT_FAKE_H

#include "client/tidemark.h"
#include "proto/ack.h"
#include "proto/worker.pb-c.h"

struct fake;

struct fake *fake_open(void);
void fake_close(struct fake *f);
const char *fake_address(const struct fake *f); /* 127.0.0.1:port */
void fake_times(struct fake *f, uint32_t lease_ms, uint32_t heartbeat_ms);
void fake_mute(struct fake *f, bool mute); /* answers no heartbeat, no Join */
void fake_cut(struct fake *f);             /* closes the connection that there is */
/* How often this has been heard: "hello", "join", "join with attempt", "beat", "restored",
 * "restore failed", "ack", "decline", "finished", "confirm", "leave", "progress". */
unsigned fake_heard(struct fake *f, const char *what);
void fake_say(struct fake *f, Tide__ToWorker__MsgCase which, void *message);
void fake_start(struct fake *f, const Tide__Start *start);
/* The body of the last AckBatch, or the reason of the last decline or failed restore; the caller
 * frees. */
char *fake_last(struct fake *f, const char *what, size_t *ret_len);

/* Turns the worker's wheel until this has been heard n times; fails the test after 10 s. */
void turn_until(struct tide_worker *w, struct fake *f, const char *what, unsigned n);
void turn_for(struct tide_worker *w, unsigned ms);

#endif

/* A reader: a thread that asks the database, one question after the other, off the loop.
 *
 * A question that takes longer than its limit is interrupted and answered as timed out. */
#ifndef READERS_H
#define READERS_H

#include <stdbool.h>
#include <uv.h>

#include "proto/admin.pb-c.h"
#include "storage/store.h"

#define READERS_WHY 256

struct reader_thread;

/* A question and its answer; embed or allocate, zeroed. Taken until done() gives it back. */
struct question {
    /* Asked: either a packed Request, or a round whose manifest is wanted. */
    uint8_t *request; /* malloc'ed, freed by question_free() */
    size_t request_len;
    uint64_t round;
    bool with_directory; /* and where its bytes lie */
    /* Whoever asked. */
    uint64_t session, id, tag;
    void (*done)(void *user, struct question *q); /* on the loop; takes the question */
    /* Answered. */
    Tide__Response *response; /* NULL: rc and why say what went wrong */
    struct tide_buf image, directory;
    int rc;
    char why[READERS_WHY];
    bool timed_out;
    struct question *next;
};
void question_free(struct question *q);

struct reader_options {
    uv_loop_t *loop;       /* borrowed */
    const char *directory; /* the data directory */
    unsigned queue;
    uint64_t timeout_us;
    /* On the reader's thread, before each question: 0 once the database shows all that was stored
     * before, or why it does not: the answer, then. NULL: it always does. */
    int (*settle)(void *settle_user);
    void *settle_user;
    void *user; /* given to done() */
};

/* 0, or what tide_reader_open() says. */
int reader_start(const struct reader_options *o, struct reader_thread **ret, char why[static 512]);
/* False: the queue is full, and the question stays yours. */
bool reader_ask(struct reader_thread *r, struct question *q);
/* What waits is dropped, what is under way is interrupted, the thread ends. The memory is freed by
 * the loop. False: the thread hangs. */
bool reader_stop(struct reader_thread *r);

#endif

/* Writes and flushes, one piece of work at a time, while whoever hands it in does something else:
 * much of it on a thread of its own, little of it by having the disk begin. It allocates nothing
 * per write. */
#ifndef TIDE_FLUSHER_H
#define TIDE_FLUSHER_H

#include <stdint.h>
#include <sys/uio.h>

struct tide_flusher;

/* 0, TIDE_ENOMEM (no memory, or no thread). */
int tide_flusher_start(struct tide_flusher **ret);
void tide_flusher_stop(struct tide_flusher *f); /* NULL is fine; nothing must be under way */

/* Begins to write the n pieces at that place of the file, and to flush it. The vector (consumed)
 * and what it points to stay untouched until tide_flusher_wait() has returned. */
void tide_flusher_begin(struct tide_flusher *f, int fd, uint64_t at, struct iovec *iov, size_t n);
/* How that went: 0: durable. TIDE_ENOSPC: no room, a part may have been written. TIDE_EIO: in
 * doubt. With an error errno is set. */
int tide_flusher_wait(struct tide_flusher *f);

/* For tests: asked before each write and flush, by the one who begins; an errno lets it fail, a
 * write after all but its last piece. */
void tide_flusher_set_fault(int (*fault)(void));

/* The same for few bytes, here and now. */
int tide_flusher_write(int fd, uint64_t at, struct iovec *iov, size_t n);
int tide_flusher_sync(int fd);

#endif

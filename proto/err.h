/* The error codes of every library part of Tidemark: 0 is success, all others are negative.
 * Each code stands here once, with its text; what to do about it is told where it is returned. */
#ifndef TIDE_ERR_H
#define TIDE_ERR_H

#define TIDE_ERR_LIST(X)                                                                           \
    X(TIDE_EINVAL, -1, "invalid argument")                                                         \
    X(TIDE_EIO, -2, "input/output error")                                                          \
    X(TIDE_ENOMEM, -3, "out of memory")                                                            \
    X(TIDE_EPROTO, -4, "the peer broke the protocol")                                              \
    X(TIDE_ESTATE, -5, "not possible in this state")                                               \
    X(TIDE_ESTALE, -6, "belongs to an older attempt or to a round that is over")                   \
    X(TIDE_EFENCED, -7, "fenced: the lease is over, another worker may have taken over")           \
    X(TIDE_ETOOBIG, -8, "larger than the limit")                                                   \
    X(TIDE_EVERSION, -9, "version not supported")                                                  \
    X(TIDE_ECORRUPT, -10, "damaged: structure or digest does not match")                           \
    X(TIDE_ENOTFOUND, -11, "not found")                                                            \
    X(TIDE_EEXIST, -12, "exists already")                                                          \
    X(TIDE_ENOSPC, -13, "no space left")                                                           \
    X(TIDE_ETIMEDOUT, -14, "timed out")                                                            \
    X(TIDE_EBUSY, -15, "busy, or in use by another process")                                       \
    X(TIDE_EREFUSED, -16, "refused")                                                               \
    X(TIDE_ENOTSUP, -17, "not supported yet")                                                      \
    X(TIDE_EAGAIN, -18, "not ready: the answer follows later")                                     \
    X(TIDE_EBUG, -19, "internal error: an assertion failed, the handle is dead")                   \
    X(TIDE_ECLOSED, -20, "closed")                                                                 \
    X(TIDE_EENDED, -21, "the job has ended")

enum tide_err {
#define X(name, value, text) name = value,
    TIDE_ERR_LIST(X)
#undef X
};

/* The text of a code; never NULL, static. 0 gives "success". */
__attribute__((visibility("default"))) const char *tide_strerror(int rc);

#endif

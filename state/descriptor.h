/* Descriptors of protobuf: what a FileDescriptorSet says of a message, as far as its bytes depend
 * on it; and whether bytes of one type can be read as another, by protobuf's own rules
 * (docs/state-format.md). Pure; a set is foreign bytes when it comes out of a snapshot. */
#ifndef TIDE_STATE_DESCRIPTOR_H
#define TIDE_STATE_DESCRIPTOR_H

#include "proto/bytes.h"

#define TIDE_DESCRIPTOR_WHY 256u

struct tide_descriptor;

/* files: borrowed until close. message: the full name of the values' type. TIDE_EINVAL: it is no
 * such set, or has not the type, and why; TIDE_ENOMEM. */
int tide_descriptor_open(struct tide_bytes files, struct tide_bytes message,
                         struct tide_descriptor **ret, char why[static TIDE_DESCRIPTOR_WHY]);
void tide_descriptor_close(struct tide_descriptor *d); /* NULL is fine */
/* 0: values of `had` are such of `now` as they are; 1: after tide_descriptor_convert();
 * TIDE_EREFUSED: they are not, and why, field by field as far as there is room; TIDE_ENOMEM. */
int tide_descriptor_compare(const struct tide_descriptor *had, const struct tide_descriptor *now,
                            char why[static TIDE_DESCRIPTOR_WHY]);
/* A value without the fields that `now` has no longer. TIDE_EREFUSED: it does not fit, and why. */
int tide_descriptor_convert(const struct tide_descriptor *had, const struct tide_descriptor *now,
                            struct tide_bytes value, struct tide_buf *out,
                            char why[static TIDE_DESCRIPTOR_WHY]);

#endif

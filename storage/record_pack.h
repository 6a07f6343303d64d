/* Commits as bytes, for the journal: every field of every record, in one fixed order. Pure. */
#ifndef TIDE_RECORD_PACK_H
#define TIDE_RECORD_PACK_H

#include "storage/record.h"

/* Appends the commits from first up to, not including, past. The bytes of the snapshots' chunks are
 * not among them: they are to follow, in the order of the records, tide_records_bulk() in all. What
 * fails sticks in out->rc. */
void tide_records_pack(struct tide_buf *out, const struct tide_commit *first,
                       const struct tide_commit *past);
uint64_t tide_records_bulk(const struct tide_commit *first, const struct tide_commit *past);

/* The same commits again, for tide_commit_free() one by one; their views point into packed and
 * bulk, which must outlive them. 0, TIDE_ECORRUPT or TIDE_ENOMEM. */
int tide_records_unpack(struct tide_bytes packed, struct tide_bytes bulk, struct tide_commit **ret);

#endif

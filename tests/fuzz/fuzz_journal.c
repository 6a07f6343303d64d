/* Records out of a journal's entry, behind a digest that matched.
 *
 * Input: two bytes of length and the records, then the bulk. What is understood must be the same
 * bytes again when packed. */
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "storage/record_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void free_list(struct tide_commit *list)
{
    while (list) {
        struct tide_commit *next = list->next;
        tide_commit_free(list);
        list = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    size_t n = data[0] | (size_t)data[1] << 8;
    if (n > size - 2) n = size - 2;
    struct tide_bytes records = {data + 2, n}, bulk = {data + 2 + n, size - 2 - n};
    struct tide_commit *list = NULL;
    int rc = tide_records_unpack(records, bulk, &list);
    if (rc && rc != TIDE_ECORRUPT && rc != TIDE_ENOMEM) abort();
    if (rc) return 0;
    if (tide_records_bulk(list, NULL) != bulk.len) abort();
    /* Packed again they have the newest format, and from then on the same bytes. */
    struct tide_buf once, twice;
    struct tide_commit *same = NULL;
    tide_buf_init(&once, (size_t)1 << 30);
    tide_buf_init(&twice, (size_t)1 << 30);
    tide_records_pack(&once, list, NULL);
    if (once.rc || once.len < n) abort();
    rc = tide_records_unpack((struct tide_bytes){once.data, once.len}, bulk, &same);
    if (rc == TIDE_ECORRUPT) abort();
    if (!rc) tide_records_pack(&twice, same, NULL);
    if (!rc && (twice.len != once.len || (n && memcmp(twice.data, once.data, once.len) != 0)))
        abort();
    tide_buf_release(&once);
    tide_buf_release(&twice);
    free_list(same);
    free_list(list);
    return 0;
}

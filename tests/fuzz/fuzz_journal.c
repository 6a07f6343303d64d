/* Records out of a journal's entry, behind a digest that matched.
 *
 * Input: two bytes of length and the records, then the bulk. What is understood must be the same
 * bytes again when packed. */
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "storage/record_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    struct tide_buf again;
    tide_buf_init(&again, (size_t)1 << 30);
    tide_records_pack(&again, list, NULL);
    if (again.rc || again.len != n || (n && memcmp(again.data, records.data, n) != 0)) abort();
    if (tide_records_bulk(list, NULL) != bulk.len) abort();
    tide_buf_release(&again);
    while (list) {
        struct tide_commit *next = list->next;
        tide_commit_free(list);
        list = next;
    }
    return 0;
}

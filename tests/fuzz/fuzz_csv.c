/* Records of CSV for `tidemark state write --csv`: any bytes are refused with a reason, or become
 * fields that lie within the record, in columns that the first one has named.
 *
 * Input: a file. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void is_within(struct tide_bytes b, const struct tide_buf *record)
{
    if (b.data < record->data || b.data + b.len > record->data + record->len) abort();
    if (!tide_text_valid(b)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_buf names, record;
    struct csv csv = {.columns.n = 0};
    uint64_t lines, all = 0, ends = 0;
    FILE *in = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
    if (!in) return 0;
    tide_buf_init(&names, size);
    tide_buf_init(&record, size);
    for (size_t i = 0; i < size; i++)
        ends += data[i] == '\n';
    const bool first = csv_read(in, &names, &lines) == 1;
    bool wrong = !first || csv_header((char *)names.data, names.len, &csv) != NULL;
    if (csv.columns.n > LINE_MEMBERS) abort();
    all = first ? lines : 0;
    while (!wrong && csv_read(in, &record, &lines) == 1) {
        struct line l;
        all += lines;
        wrong = csv_record(&csv, (char *)record.data, record.len, &l) != NULL;
        if (l.n > csv.columns.n) abort();
        for (uint32_t i = 0; !wrong && i < l.n; i++) {
            is_within(l.members[i].text, &record);
            is_within(l.members[i].name, &names);
            if (!l.members[i].text.len) abort();
        }
        tide_buf_clear(&record);
    }
    if (all > ends + 1) abort();
    tide_buf_release(&names);
    tide_buf_release(&record);
    fclose(in);
    return 0;
}

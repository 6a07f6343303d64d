/* The backends that there are. */
#include "state/backend.h"

#include <stdio.h>
#include <string.h>

const struct tide_backend_class *tide_backend_find(const char *name, char why[static WHY_SIZE])
{
    if (!strcmp(name, tide_backend_memory.name)) return &tide_backend_memory;
#ifdef TIDE_ROCKSDB
    if (!strcmp(name, tide_backend_rocksdb.name)) return &tide_backend_rocksdb;
#endif
    if (!strcmp(name, "rocksdb"))
        snprintf(why, WHY_SIZE, "backend rocksdb: not supported: built without RocksDB");
    else
        snprintf(why, WHY_SIZE, "there is no backend %.100s; memory and rocksdb are", name);
    return NULL;
}

void tide_item_of_position(uint64_t position, uint8_t ret_item[8])
{
    for (unsigned i = 0; i < 8; i++)
        ret_item[i] = (uint8_t)(position >> (56 - 8 * i));
}

uint64_t tide_position_of_item(const uint8_t item[8])
{
    uint64_t position = 0;
    for (unsigned i = 0; i < 8; i++)
        position = position << 8 | item[i];
    return position;
}

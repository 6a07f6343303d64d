/* The configuration file: refused with a sentence, or taken. */
#include <stdlib.h>

#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[CONFIG_WHY] = "";
    struct config c;
    config_init(&c);
    if (config_parse(&c, "fuzz", (struct tide_bytes){data, size}, why) != 0 && why[0] == '\0')
        abort();
    config_close(&c);
    return 0;
}

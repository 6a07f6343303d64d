/* Opens the store in a copied data directory once, and closes it: what the journal has is in the
 * database then, where the witness looks at it. */
#include <stdio.h>
#include <string.h>

#include "storage/store.h"

int main(int argc, char **argv)
{
    char why[512];
    struct tide_store *s;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: recover DIRECTORY\n");
        return 2;
    }
    const struct tide_store_options o = {.directory = argv[1], .nonce = 1, .now_wall = 1};
    int rc = tide_store_open(&o, &s, why);
    if (rc) {
        (void)fprintf(stderr, "%s\n", why);
        return 1;
    }
    tide_store_close(s);
    return 0;
}

/* Where we listen, told in the data directory: the files `port` and `address`. Whoever finds one
 * finds all of it, and `port` comes last. A daemon that was killed leaves them; the next start
 * removes them before it listens. */
#ifndef WHERE_H
#define WHERE_H

#include <stdint.h>

#include "daemon/config.h"

/* The address as configured, with the port that was taken. 0 or TIDE_EIO and a sentence. */
int where_tell(const struct config *c, uint16_t port, char why[static CONFIG_WHY]);
void where_untell(const struct config *c); /* when there are none: nothing */

#endif

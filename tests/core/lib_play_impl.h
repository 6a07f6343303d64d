/* What the files of the stage share; tests have lib_play.h. */
#ifndef LIB_PLAY_IMPL_H
#define LIB_PLAY_IMPL_H

#include "tests/core/lib_play.h"

void play_step(struct play *p, struct event ev); /* now; what comes of it is said */
void play_feed(struct play *p, uint64_t session, const struct tide_buf *frames);
/* Carries out what is to do: says it, and keeps what is to be answered. The core is whole then. */
void play_say_actions(struct play *p);

#endif

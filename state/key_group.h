/* The one step between a key's hash and its key group, apart, since its vectors are Flink's. */
#ifndef TIDE_STATE_KEY_GROUP_H
#define TIDE_STATE_KEY_GROUP_H

#include <stdint.h>

/* Flink's MathUtils.murmurHash(): never negative, so at most INT32_MAX. */
uint32_t tide_states_spread(uint32_t hash);

#endif

/* What options change about the operators and states of a snapshot: new names, what is dropped,
 * numbers of tasks and of key groups. A rule names an operator by its uid, or a state by UID/NAME.
 */
#ifndef TIDE_CLI_STATE_CHANGE_H
#define TIDE_CLI_STATE_CHANGE_H

#include "client/cli/cli.h"

struct change {
    const struct many *renames, *drops;
    uint32_t renames_used, drops_used; /* bit i: the i-th matched something */
};

/* Of an operator (state empty), or of a state: dropped? And its name, which is a view. */
bool change_drops(struct change *c, struct tide_bytes uid, struct tide_bytes state);
struct tide_bytes change_name(struct change *c, struct tide_bytes uid, struct tide_bytes state);
/* A rule that matched nothing, as it was given; NULL: there is none. */
const char *change_unused(const struct change *c);

/* [UID=]N: the number for this operator, of the last rule that is for it alone, or else of the last
 * for all; 0: there is none. *ret_used gets the bits of those that are for it. */
uint32_t change_number(const struct many *rules, struct tide_bytes uid, uint32_t *ret_used);
/* All of them are numbers from 1 to 1048576. The first that is not, or NULL. */
const char *change_number_wrong(const struct many *rules);

#endif

/* Specs of jobs, told in one line. */
#ifndef LIB_SPEC_H
#define LIB_SPEC_H

#include <check.h>

#include "proto/graph.h"

enum { SPEC_ITEMS = 8 };

/* "a3 b4/16@ c2u; a>b b=c; lock feed": operators, each a letter, its parallelism, /max parallelism
 * if that is chosen, @ if it has a coordinator, u if it keeps union list state; edges, all to all
 * or (=) task i to task i; hooks. What is left out at the end is none. */
struct spec {
    Tide__JobSpec spec;
    Tide__Operator operators[SPEC_ITEMS], *operator_list[SPEC_ITEMS];
    Tide__Edge edges[SPEC_ITEMS], *edge_list[SPEC_ITEMS];
    ProtobufCBinaryData hooks[SPEC_ITEMS];
    Tide__Checkpointing checkpointing;
    char text[256];
};
void spec_read(struct spec *ret, const char *text);
struct tide_graph *spec_graph(const char *text); /* free it with tide_graph_free() */

#endif

/* Of faults that are injected one by one, every nth. A sanitizer looks for what their error paths
 * leave behind, and neighbours share theirs; TIDE_BRIEF=1, which the gate sets for the other
 * compiler, asks for the same. `make check` injects each. */
#ifndef LIB_BRIEF_H
#define LIB_BRIEF_H

#include <stdlib.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define OF_NEIGHBOURS(n) (n)
#else
#define OF_NEIGHBOURS(n) (getenv("TIDE_BRIEF") ? (n) : 1)
#endif

#endif

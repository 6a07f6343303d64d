/* The parts of the example that need no daemon, linked into the tests of this folder. */
#include "client/examples/wordcount/channels.c"
#include "client/examples/wordcount/input.c"
#include "client/examples/wordcount/util.c"
#include "client/examples/wordcount/words.c"

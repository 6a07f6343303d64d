/* The texts of the error codes, made from the one list in err.h. */
#include "proto/err.h"

const char *tide_strerror(int rc)
{
    switch (rc) {
    case 0: return "success";
#define X(name, value, text)                                                                       \
    case name: return text;
        TIDE_ERR_LIST(X)
#undef X
    default: return "unknown error";
    }
}

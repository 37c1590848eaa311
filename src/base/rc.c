/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rc.h"

const char *rc_name(enum rc rc)
{
    switch (rc) {
    case RC_OK:
        return "ok";
    case RC_AGAIN:
        return "again";
    case RC_FULL:
        return "full";
    case RC_REFUSED:
        return "refused";
    case RC_NO_MEMORY:
        return "no_memory";
    case RC_NOT_FOUND:
        return "not_found";
    case RC_EXISTS:
        return "exists";
    case RC_INVALID:
        return "invalid";
    case RC_CLOSED:
        return "closed";
    case RC_IO:
        return "io";
    }
    return "unknown";
}

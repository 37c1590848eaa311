/* SPDX-License-Identifier: Apache-2.0 */
/* Return codes for what the world can do to us. The peer's faults are MQTT reason codes instead. */
#ifndef BASE_RC_H
#define BASE_RC_H

enum rc {
    RC_OK = 0,
    RC_AGAIN,     /* not now: come back when told */
    RC_FULL,      /* a limit of ours was hit, or the disk is full */
    RC_REFUSED,   /* nobody wanted it, by policy */
    RC_NO_MEMORY, /* a size that a peer chose could not be allocated */
    RC_NOT_FOUND,
    RC_EXISTS,
    RC_INVALID, /* input that does not mean anything */
    RC_CLOSED,
    RC_IO, /* the operating system said no; errno or the log says why */
};

#define MUST_USE __attribute__((warn_unused_result))

/* The code's name, for logs and tests: "RC_FULL" -> "full". Never NULL. */
const char *rc_name(enum rc rc);

#endif

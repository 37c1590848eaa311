/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection to a host by name, for programs that may wait for it: command line and tests. */
#ifndef CLIENT_DIAL_H
#define CLIENT_DIAL_H

#include "base/rc.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Tries every address of `host` in turn, each for at most timeout_ms, with TCP_NODELAY, from
 * `source` (an address of this machine; NULL: any). RC_OK: *fd is connected and non-blocking.
 * RC_NOT_FOUND: a name does not resolve; RC_IO: nobody answers. `why` then says so in words.
 */
MUST_USE enum rc dial(const char *host, uint16_t port, const char *source, uint64_t timeout_ms,
                      int *fd, char *why, size_t why_room);

#endif

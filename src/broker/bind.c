/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "broker/node.h"
#include "config/address.h"

#include <errno.h>
#include <stdio.h>

int bind_or_say(const char *key, struct listener_address *address, int backlog)
{
    int fd = listener_bind(address, backlog);
    if (fd >= 0)
        return fd;
    int error = errno;
    char name[CONFIG_TEXT_MAX + 8];
    fprintf(stderr, "skein: %s: cannot listen on %s: %s\n", key,
            address_format(address->host, address->port, name, sizeof(name)),
            error == EADDRINUSE ? "the address is taken by another process" : strerror(error));
    LOG(LOG_ERROR, "broker.cannot_listen", log_text("key", key), log_text("host", address->host),
        log_uint("port", address->port), log_text("error", strerror(error)));
    return -1;
}

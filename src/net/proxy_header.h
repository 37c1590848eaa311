/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of the PROXY protocol, versions 1 (a line of text) and 2 (binary), which a load
 * balancer puts in front of a connection to say whose it is. Rules: "The PROXY protocol, Versions 1
 * & 2", which HAProxy maintains. Pure; the stream's part is in proxy.c.
 */
#ifndef NET_PROXY_HEADER_H
#define NET_PROXY_HEADER_H

#include "base/bytes.h"
#include "net/stream.h"

enum {
    PROXY_V1_MAX = 107,            /* of a line, its end included */
    PROXY_HEADER_MAX = 16 + 65535, /* of any, in bytes */
};

enum proxy_result {
    PROXY_MORE, /* what is there can be the beginning of a header */
    PROXY_DONE,
    PROXY_REFUSED,
};

struct proxy_header {
    /* Of the whole header. Of version 2 it may be more than was given: what stands behind the
     * addresses means nothing to us, and need not be kept until all of it is there. */
    size_t size;
    struct stream_peer client; /* family 0: the header does not say: LOCAL, UNKNOWN, not TCP */
    const char *fault;         /* when refused: a few words for the log */
};

/* Reads a header off the front of `in`, of which PROXY_V1_MAX bytes are always enough. */
enum proxy_result proxy_header_decode(struct bytes in, struct proxy_header *header);

#endif

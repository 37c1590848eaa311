/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom a stream is with: whom its socket knows, or whom the header of the PROXY protocol names,
 * which then comes first on the stream.
 *
 *     awaits, some kept --addresses are there--> awaits, `skip` bytes to come --> peer known
 *        '--wrong, late--> CLOSING                    '--late--> CLOSING
 */
#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"
#include "net/proxy_header.h"
#include "net/stream_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

enum { NAME_ROOM = 64 };

/* ---- aside -------------------------------------------------------------------------------------
 */

struct stream_aside *stream_aside(struct stream *stream)
{
    if (stream->aside == NULL) {
        stream->aside = NEW(struct stream_aside);
        stream->aside->stream = stream;
        loop_timer_init(&stream->aside->timer, NULL);
    }
    return stream->aside;
}

struct stream_aside *stream_aside_start(struct stream *stream, uint64_t wait_ms,
                                        void (*fire)(struct loop_timer *timer))
{
    struct stream_aside *aside = stream_aside(stream);

    aside->awaits_header = false;
    aside->timer.fire = fire;
    loop_timer_start(stream->loop, &aside->timer, stream->loop->now_ms + wait_ms);
    return aside;
}

void stream_aside_free(struct stream *stream)
{
    if (stream->aside == NULL)
        return;
    loop_timer_stop(stream->loop, &stream->aside->timer);
    mem_free(stream->aside);
    stream->aside = NULL;
}

/* ---- the header --------------------------------------------------------------------------------
 */

static void refuse(struct stream *stream, const char *fault)
{
    char name[NAME_ROOM];

    stream_peer_name(stream, name, sizeof(name));
    LOG_LIMITED(LOG_INFO, "net.proxy_header_refused", log_text("from", name),
                log_text("reason", fault));
    stream_end(stream, STREAM_CLOSED_BY_PROXY);
}

static void on_header_late(struct loop_timer *timer)
{
    refuse(CONTAINER_OF(timer, struct stream_aside, timer)->stream, "it did not come in time");
}

void stream_expect_proxy_header(struct stream *stream)
{
    CHECK(stream->kept == NULL && stream->aside == NULL);
    stream_aside_start(stream, STREAM_PROXY_HEADER_MS, on_header_late)->awaits_header = true;
}

static void header_is_over(struct stream *stream)
{
    struct stream_aside *aside = stream->aside;

    aside->awaits_header = false;
    loop_timer_stop(stream->loop, &aside->timer);
    if (aside->peer.family == 0)
        stream_aside_free(stream);
}

/* Everything up to the addresses is there, and `len` bytes with it. Gives how many are behind. */
static size_t header_is_read(struct stream *stream, const struct proxy_header *header, size_t len)
{
    stream_kept_free(stream);
    stream->aside->peer = header->client;
    if (header->size > len) {
        stream->aside->skip = (uint32_t)(header->size - len);
        return 0;
    }
    header_is_over(stream);
    return len - header->size;
}

static size_t skip_more(struct stream *stream, size_t len)
{
    struct stream_aside *aside = stream->aside;

    if (len < aside->skip) {
        aside->skip -= (uint32_t)len;
        return 0;
    }
    len -= aside->skip;
    header_is_over(stream);
    return len;
}

size_t stream_take_header(struct stream *stream, uint8_t **data, size_t len)
{
    struct bytes before = stream_kept_bytes(stream);
    const uint8_t *end = *data + len;
    struct bytes all = bytes_of(*data - before.len, before.len + len);
    struct proxy_header header;
    size_t behind = 0;

    if (stream->aside->skip > 0) {
        behind = skip_more(stream, len);
        *data = (uint8_t *)end - behind;
        return behind;
    }
    if (before.len > 0)
        memcpy(*data - before.len, before.data, before.len);
    switch (proxy_header_decode(all, &header)) {
    case PROXY_MORE:
        if (!stream_keep(stream, all))
            stream_end(stream, STREAM_CLOSED_BY_ERROR);
        break;
    case PROXY_REFUSED:
        refuse(stream, header.fault);
        break;
    case PROXY_DONE:
        behind = header_is_read(stream, &header, all.len);
        *data = (uint8_t *)end - behind;
        break;
    }
    return behind;
}

/* ---- the peer ----------------------------------------------------------------------------------
 */

void stream_set_peer(struct stream *stream, const struct stream_peer *peer)
{
    if (peer->family != 0)
        stream_aside(stream)->peer = *peer;
}

struct stream_peer stream_peer(const struct stream *stream)
{
    return stream->aside == NULL ? (struct stream_peer){.family = 0} : stream->aside->peer;
}

static struct stream_peer peer_of_socket(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    struct stream_peer peer = {.family = 0};

    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0)
        return peer;
    peer.family = (uint8_t)address.ss_family;
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
        memcpy(peer.address, &v4->sin_addr, sizeof(v4->sin_addr));
        peer.port = ntohs(v4->sin_port);
    } else if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
        memcpy(peer.address, &v6->sin6_addr, sizeof(v6->sin6_addr));
        peer.port = ntohs(v6->sin6_port);
    }
    return peer;
}

struct stream_peer stream_peer_known(const struct stream *stream)
{
    struct stream_peer peer = stream_peer(stream);

    return peer.family == 0 && stream->fd >= 0 ? peer_of_socket(stream->fd) : peer;
}

void stream_peer_name(const struct stream *stream, char *out, size_t room)
{
    struct stream_peer peer = stream_peer_known(stream);
    char host[INET6_ADDRSTRLEN] = "";

    CHECK(room > 0);
    if (peer.family == 0) {
        snprintf(out, room, "?");
    } else if (peer.family == AF_INET) {
        inet_ntop(AF_INET, peer.address, host, sizeof(host));
        snprintf(out, room, "%s:%u", host, peer.port);
    } else if (peer.family == AF_INET6) {
        inet_ntop(AF_INET6, peer.address, host, sizeof(host));
        snprintf(out, room, "[%s]:%u", host, peer.port);
    } else {
        snprintf(out, room, "local");
    }
}

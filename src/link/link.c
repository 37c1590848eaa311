/* SPDX-License-Identifier: Apache-2.0 */
#include "link/link.h"

#include "base/log.h"
#include "base/memory.h"

static struct link *link_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct link, stream);
}

static size_t received(struct stream *stream, struct bytes in)
{
    struct link *link = link_of(stream);
    size_t consumed = 0;
    if (link->ops->ready != NULL && !link->ops->ready(link)) {
        stream_pause(stream);
        return 0;
    }
    while (link->open) {
        struct link_frame frame;
        size_t size;
        struct bytes rest = bytes_of(in.data + consumed, in.len - consumed);
        enum link_parse parsed = link_frame_parse(rest, LINK_BODY_MAX, &frame, &size);
        if (parsed == LINK_INCOMPLETE)
            break;
        if (parsed == LINK_TOO_LONG || !link->ops->frame(link, &frame)) {
            LOG_LIMITED(LOG_ERROR, "link.malformed",
                        log_int("kind", parsed == LINK_PARSED ? frame.kind : -1));
            stream_close(stream);
            return in.len;
        }
        consumed += size;
    }
    if (link->open && consumed > 0 && link->ops->received != NULL)
        link->ops->received(link);
    return consumed;
}

static void drained(struct stream *stream)
{
    struct link *link = link_of(stream);
    if (link->ops->drained != NULL)
        link->ops->drained(link);
}

static void ended(struct stream *stream, enum stream_close_reason reason)
{
    struct link *link = link_of(stream);
    link->open = false;
    link->finished = reason == STREAM_CLOSED_BY_PEER; /* else it may have given us up */
    link->ops->ended(link);
}

static void closed(struct stream *stream)
{
    struct link *link = link_of(stream);
    link->ops->closed(link);
}

static const struct stream_ops stream_ops = {
    .received = received, .drained = drained, .ended = ended, .closed = closed};

enum rc link_open(struct link *link, struct loop *loop, const struct link_ops *ops, int fd,
                  struct bytes unread)
{
    link->ops = ops;
    link->open = true;
    link->finished = false;
    return stream_open(&link->stream, loop, &stream_ops, fd, TRANSPORT_TCP, NULL, unread);
}

bool link_send(struct link *link, enum link_kind kind, uint8_t flags, struct bytes body)
{
    uint8_t *out = link->open ? stream_reserve(&link->stream, LINK_HEADER + body.len) : NULL;
    if (out == NULL)
        return false;
    link_header_write(out, kind, flags, (uint32_t)body.len);
    link_write_bytes(out + LINK_HEADER, body);
    stream_commit(&link->stream, LINK_HEADER + body.len);
    return true;
}

bool link_send_parts(struct link *link, enum link_kind kind, uint8_t flags, struct bytes head,
                     struct bytes rest, struct message *message)
{
    bool by_reference = message != NULL && rest.len >= STREAM_REFERENCE_MIN;
    size_t room = LINK_HEADER + head.len + (by_reference ? 0 : rest.len);
    uint8_t *out = link->open ? stream_reserve(&link->stream, room) : NULL;
    if (out == NULL)
        return false;
    link_header_write(out, kind, flags, (uint32_t)(head.len + rest.len));
    out = link_write_bytes(out + LINK_HEADER, head);
    if (!by_reference)
        link_write_bytes(out, rest);
    stream_commit(&link->stream, room);
    if (by_reference)
        stream_write_message(&link->stream, message, rest);
    return true;
}

bool link_publish(struct link *link, const struct link_publish *publish, struct message *message)
{
    const struct publication *p = &publish->publication;
    bool by_reference = message != NULL && p->payload.len >= STREAM_REFERENCE_MIN;
    size_t room = LINK_PUBLISH_HEAD_MAX + p->topic.len + p->properties.len +
                  (by_reference ? 0 : p->payload.len);
    uint8_t *out = link->open ? stream_reserve(&link->stream, room) : NULL;
    if (out == NULL)
        return false;
    size_t size = link_publish_write(publish, link->stream.loop->now_ms, out);
    if (!by_reference)
        size = (size_t)(link_write_bytes(out + size, p->payload) - out);
    stream_commit(&link->stream, size);
    if (by_reference)
        stream_write_message(&link->stream, message, message->publication.payload);
    return true;
}

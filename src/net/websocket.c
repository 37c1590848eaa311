/* SPDX-License-Identifier: Apache-2.0 */
#include "net/websocket.h"

#include "base/check.h"
#include "base/memory.h"
#include "net/out_pool.h"
#include "net/stream_internal.h"

static void opening_free(struct stream_filter *filter)
{
    if (filter->opening != NULL)
        loop_timer_stop(filter->opening->stream->loop, &filter->opening->timer);
    mem_free(filter->opening);
    filter->opening = NULL;
}

void stream_filter_free(struct stream_filter *filter)
{
    if (filter == NULL)
        return;
    opening_free(filter);
    frames_deinit(&filter->frames);
    mem_free(filter);
}

/* Copies bytes that are no payload (a handshake, a control frame) behind the output. */
static enum rc put_raw(struct stream *stream, struct bytes bytes)
{
    struct out_chunk *chunk;

    websocket_end_frame(stream);
    chunk = stream_output_chunk(stream, bytes.len);
    if (chunk == NULL)
        return RC_NO_MEMORY;
    memcpy(chunk->data + chunk->used, bytes.data, bytes.len);
    chunk->used += (uint32_t)bytes.len;
    stream_output_grew(stream, bytes.len);
    return RC_OK;
}

/* Sends the response that the handshake has come to. */
static void opening_answer(struct stream *stream)
{
    struct stream_filter *filter = stream->filter;
    const struct handshake *handshake = &filter->opening->handshake;
    bool sent = put_raw(stream, bytes_of_str(handshake->response)) == RC_OK;

    filter->state =
        sent && handshake->result == HANDSHAKE_ACCEPTED ? WEBSOCKET_OPEN : WEBSOCKET_CLOSED;
    opening_free(filter);
}

static void on_handshake_late(struct loop_timer *timer)
{
    struct websocket_opening *opening = CONTAINER_OF(timer, struct websocket_opening, timer);
    struct stream *stream = opening->stream;

    handshake_time_out(&opening->handshake);
    opening_answer(stream);
    websocket_input_done(stream);
}

struct stream_filter *websocket_new(struct stream *stream)
{
    struct stream_filter *filter = NEW(struct stream_filter);
    struct websocket_opening *opening = NEW(struct websocket_opening);

    filter->state = WEBSOCKET_HANDSHAKE;
    filter->opening = opening;
    opening->stream = stream;
    handshake_init(&opening->handshake);
    loop_timer_init(&opening->timer, on_handshake_late);
    loop_timer_start(stream->loop, &opening->timer, stream->loop->now_ms + WEBSOCKET_HANDSHAKE_MS);
    return filter;
}

static void on_ping(void *owner, struct bytes payload)
{
    struct stream *stream = owner;
    uint8_t frame[FRAME_HEADER_MAX + FRAME_CONTROL_MAX];
    size_t len;

    if (stream->out_bytes > STREAM_OUT_HIGH)
        return; /* it does not read what it asks for */
    len = frame_header(frame, WSLAY_PONG, payload.len);
    if (payload.len > 0)
        memcpy(frame + len, payload.data, payload.len);
    put_raw(stream, bytes_of(frame, len + payload.len));
}

size_t websocket_decode(struct stream *stream, uint8_t *data, size_t len)
{
    struct stream_filter *filter = stream->filter;
    size_t consumed = 0;

    if (filter->state == WEBSOCKET_HANDSHAKE) {
        if (handshake_feed(&filter->opening->handshake, bytes_of(data, len), &consumed) ==
            HANDSHAKE_MORE)
            return 0;
        opening_answer(stream);
    }
    if (filter->state != WEBSOCKET_OPEN)
        return 0;
    return frames_decode(&filter->frames, data, bytes_of(data + consumed, len - consumed), on_ping,
                         stream);
}

void websocket_input_done(struct stream *stream)
{
    const struct stream_filter *filter = stream->filter;
    bool over = filter->state == WEBSOCKET_CLOSED || filter->frames.close_code != 0;

    if (stream->state != STREAM_OPEN || stream->paused || !over)
        return;
    stream_finish(
        stream, filter->frames.closed_by_peer ? STREAM_CLOSED_BY_PEER : STREAM_CLOSED_BY_HANDSHAKE,
        WEBSOCKET_LINGER_MS);
}

uint8_t *websocket_begin_frame(struct stream *stream, size_t size)
{
    struct stream_filter *filter = stream->filter;
    struct out_chunk *chunk;

    websocket_end_frame(stream);
    chunk = stream_output_chunk(stream, FRAME_HEADER_MAX + size);
    if (chunk == NULL)
        return NULL;
    filter->frame = chunk;
    filter->frame_at = chunk->used;
    filter->frame_header = (uint32_t)frame_header_size(size);
    chunk->used += filter->frame_header;
    return chunk->data + chunk->used;
}

void websocket_end_frame(struct stream *stream)
{
    struct stream_filter *filter = stream->filter;
    struct out_chunk *chunk = filter->frame;
    uint8_t *header, *payload;
    size_t copied, header_len;

    if (chunk == NULL)
        return;
    filter->frame = NULL;
    header = chunk->data + filter->frame_at;
    payload = header + filter->frame_header;
    copied = (size_t)(chunk->data + chunk->used - payload);
    if (copied == 0) { /* reserved and not used */
        chunk->used = filter->frame_at;
        return;
    }
    header_len = frame_header_size(copied + chunk->external.len);
    if (header_len != filter->frame_header) { /* not all was used, or a message came behind it */
        memmove(header + header_len, payload, copied);
        chunk->used = (uint32_t)(filter->frame_at + header_len + copied);
    }
    frame_header(header, WSLAY_BINARY_FRAME, copied + chunk->external.len);
    stream_output_grew(stream, header_len);
}

void websocket_put_close(struct stream *stream)
{
    struct stream_filter *filter = stream->filter;
    uint16_t code = filter->frames.close_code;
    uint8_t frame[FRAME_HEADER_MAX + 2];
    size_t len;

    opening_free(filter);
    if (filter->state != WEBSOCKET_OPEN) {
        filter->state = WEBSOCKET_CLOSED;
        return;
    }
    if (code == 0)
        code = WSLAY_CODE_NORMAL_CLOSURE;
    len = frame_header(frame, WSLAY_CONNECTION_CLOSE, 2);
    frame[len++] = (uint8_t)(code >> 8);
    frame[len++] = (uint8_t)code;
    put_raw(stream, bytes_of(frame, len));
    filter->state = WEBSOCKET_CLOSED;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "net/websocket_frames.h"

#include "base/check.h"
#include "base/memory.h"
#include "base/utf8.h"

struct frame_decoder {
    wslay_frame_context_ptr wslay;
    struct bytes raw;      /* not yet taken by wslay */
    uint64_t taken;        /* bytes that wslay has taken, and */
    uint64_t complete;     /* bytes of all frames that have begun: equal only between frames */
    uint64_t payload_left; /* of the current frame */
    uint8_t opcode;
    bool fin;
    uint8_t control_len;
    uint8_t control[FRAME_CONTROL_MAX];
};

static ssize_t give_raw(uint8_t *to, size_t room, int flags, void *arg)
{
    struct frame_decoder *d = arg;
    size_t len = d->raw.len < room ? d->raw.len : room;

    (void)flags;
    if (len == 0)
        return -1;
    memcpy(to, d->raw.data, len);
    d->raw = bytes_of(d->raw.data + len, d->raw.len - len);
    d->taken += len;
    return (ssize_t)len;
}

static struct frame_decoder *decoder_new(void)
{
    const struct wslay_frame_callbacks callbacks = {.recv_callback = give_raw};
    struct frame_decoder *d = NEW(struct frame_decoder);

    CHECK(wslay_frame_context_init(&d->wslay, &callbacks, d) == 0);
    return d;
}

static void decoder_free(struct frame_decoder *d)
{
    if (d == NULL)
        return;
    wslay_frame_context_free(d->wslay);
    mem_free(d);
}

void frames_deinit(struct frames *frames)
{
    decoder_free(frames->decoder);
    frames->decoder = NULL;
}

/* What is wrong with a frame that begins; 0: nothing. */
static uint16_t frame_fault(const struct frames *frames, const struct wslay_frame_iocb *frame)
{
    if (!frame->mask || frame->rsv != WSLAY_RSV_NONE)
        return WSLAY_CODE_PROTOCOL_ERROR;
    switch (frame->opcode) {
    case WSLAY_CONTINUATION_FRAME:
        return frames->in_message ? 0 : WSLAY_CODE_PROTOCOL_ERROR;
    case WSLAY_BINARY_FRAME:
        return frames->in_message ? WSLAY_CODE_PROTOCOL_ERROR : 0;
    case WSLAY_TEXT_FRAME:
        return WSLAY_CODE_UNSUPPORTED_DATA; /* [MQTT-6.0.0-1] */
    case WSLAY_CONNECTION_CLOSE:
    case WSLAY_PING:
    case WSLAY_PONG:
        return frame->fin && frame->payload_length <= FRAME_CONTROL_MAX ? 0
                                                                        : WSLAY_CODE_PROTOCOL_ERROR;
    default:
        return WSLAY_CODE_PROTOCOL_ERROR;
    }
}

/* True when a frame is expected next, not the rest of one. */
static bool frame_is_over(const struct frame_decoder *d)
{
    return d->payload_left == 0;
}

static void frame_begin(struct frames *frames, const struct wslay_frame_iocb *frame)
{
    struct frame_decoder *d = frames->decoder;

    frames->close_code = frame_fault(frames, frame);
    d->opcode = frame->opcode;
    d->fin = frame->fin;
    d->control_len = 0;
    d->payload_left = frame->payload_length;
    d->complete += frame_header_size(frame->payload_length) + frame->payload_length;
    if (frame->mask)
        d->complete += 4;
}

/* What is wrong with the payload of a close frame; 0: nothing, and *code is the peer's (RFC
 * 6455, 7.4). */
static uint16_t close_fault(struct bytes payload, uint16_t *code)
{
    unsigned said;

    *code = WSLAY_CODE_NORMAL_CLOSURE;
    if (payload.len == 0)
        return 0;
    if (payload.len == 1)
        return WSLAY_CODE_PROTOCOL_ERROR;
    said = (unsigned)payload.data[0] << 8 | payload.data[1];
    *code = (uint16_t)said;
    if (!utf8_valid(bytes_of(payload.data + 2, payload.len - 2)))
        return WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA;
    if ((said >= 1000 && said <= 1003) || (said >= 1007 && said <= 1014) ||
        (said >= 3000 && said <= 4999))
        return 0;
    return WSLAY_CODE_PROTOCOL_ERROR;
}

static void close_frame_take(struct frames *frames, struct bytes payload)
{
    uint16_t code;
    uint16_t fault = close_fault(payload, &code);

    frames->closed_by_peer = fault == 0;
    frames->close_code = fault == 0 ? code : fault;
}

static void frame_end(struct frames *frames, frames_ping_fn *ping, void *owner)
{
    const struct frame_decoder *d = frames->decoder;
    struct bytes control = bytes_of(d->control, d->control_len);

    switch (d->opcode) {
    case WSLAY_PING:
        ping(owner, control);
        return;
    case WSLAY_PONG:
        return;
    case WSLAY_CONNECTION_CLOSE:
        close_frame_take(frames, control);
        return;
    default:
        frames->in_message = !d->fin;
    }
}

/* Takes the payload that came of the current frame; data goes to `out`. Gives how many bytes went
 * there. */
static size_t payload_take(struct frame_decoder *d, uint8_t *out, struct bytes payload)
{
    CHECK(payload.len <= d->payload_left);
    d->payload_left -= payload.len;
    if (payload.len == 0)
        return 0;
    if (wslay_is_ctrl_frame(d->opcode)) {
        memcpy(d->control + d->control_len, payload.data, payload.len);
        d->control_len += (uint8_t)payload.len;
        return 0;
    }
    memcpy(out, payload.data, payload.len);
    return payload.len;
}

size_t frames_decode(struct frames *frames, uint8_t *out, struct bytes raw, frames_ping_fn *ping,
                     void *owner)
{
    struct frame_decoder *d = frames->decoder;
    size_t written = 0;

    if (frames->close_code != 0 || raw.len == 0)
        return 0;
    if (d == NULL)
        d = frames->decoder = decoder_new();
    d->raw = raw;
    while (frames->close_code == 0) {
        struct wslay_frame_iocb frame = {0};
        ssize_t got = wslay_frame_recv(d->wslay, &frame);
        if (got == WSLAY_ERR_WANT_READ)
            break;
        if (got < 0) {
            frames->close_code = WSLAY_CODE_PROTOCOL_ERROR;
            break;
        }
        if (frame_is_over(d))
            frame_begin(frames, &frame);
        if (frames->close_code != 0)
            break;
        written += payload_take(d, out + written, bytes_of(frame.data, (size_t)got));
        if (frame_is_over(d))
            frame_end(frames, ping, owner);
    }
    if (frames->close_code != 0 || (frame_is_over(d) && d->taken == d->complete))
        frames_deinit(frames);
    return written;
}

size_t frame_header(uint8_t *header, enum wslay_opcode opcode, uint64_t payload_len)
{
    size_t size = frame_header_size(payload_len);
    size_t len_bytes = size - 2;

    header[0] = (uint8_t)(0x80U | opcode); /* FIN */
    header[1] = len_bytes == 0 ? (uint8_t)payload_len : len_bytes == 2 ? 126 : 127;
    for (size_t i = 0; i < len_bytes; i++)
        header[2 + i] = (uint8_t)(payload_len >> (8 * (len_bytes - 1 - i)));
    return size;
}

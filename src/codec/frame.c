/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/frame.h"

enum frame_result frame_parse(struct bytes in, size_t size_max, struct frame *frame)
{
    frame->size = 0;
    if (in.len < 2)
        return FRAME_MORE;
    uint32_t remaining = in.data[1] & 127;
    size_t header = 2;
    if (in.data[1] & 128) {
        unsigned shift = 7;
        uint8_t byte;
        do {
            if (header == FRAME_HEADER_MAX)
                return FRAME_MALFORMED;
            if (header == in.len)
                return FRAME_MORE;
            byte = in.data[header++];
            remaining |= (uint32_t)(byte & 127) << shift;
            shift += 7;
        } while (byte & 128);
        if (byte == 0)
            return FRAME_MALFORMED; /* not the shortest form [MQTT-1.5.5-1] */
    }
    frame->size = header + remaining;
    if (frame->size > size_max)
        return FRAME_TOO_LARGE;
    if (frame->size > in.len)
        return FRAME_MORE;
    frame->type = in.data[0] >> 4;
    frame->flags = in.data[0] & 15;
    frame->body = bytes_of(in.data + header, remaining);
    return FRAME_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/frame.h"

enum { LENGTH_BYTES_MAX = 4 };

enum frame_result frame_parse(struct bytes in, size_t size_max, struct frame *frame)
{
    frame->size = 0;
    if (in.len < 2)
        return FRAME_MORE;
    frame->type = in.data[0] >> 4;
    frame->flags = in.data[0] & 15;

    size_t at = 1;
    size_t remaining = 0;
    uint8_t byte;
    do {
        if (at > LENGTH_BYTES_MAX)
            return FRAME_MALFORMED;
        if (at == in.len)
            return FRAME_MORE;
        byte = in.data[at];
        remaining |= (size_t)(byte & 127) << (7 * (at - 1));
        at++;
    } while (byte >= 128);
    if (byte == 0 && at > 2)
        return FRAME_MALFORMED; /* not the shortest form [MQTT-1.5.5-1] */

    frame->size = at + remaining;
    if (frame->size > size_max)
        return FRAME_TOO_LARGE;
    if (frame->size > in.len)
        return FRAME_MORE;
    frame->body = bytes_of(in.data + at, remaining);
    return FRAME_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed header, with the bytes coming one at a time: the answer may only become more certain.
 */
#include "codec/frame.h"
#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PREFIX_MAX = 64 };

static void check_frame(const struct frame *frame, struct bytes in)
{
    uint8_t header[FRAME_HEADER_MAX] = {in.data[0]};
    size_t header_size = (size_t)(varint_write(header + 1, (uint32_t)frame->body.len) - header);
    CHECK(frame->size <= in.len);
    CHECK(frame->size == header_size + frame->body.len);
    CHECK(memcmp(in.data, header, header_size) == 0); /* the shortest form, and no other */
    CHECK(frame->body.data == in.data + header_size);
    CHECK((frame->type << 4 | frame->flags) == in.data[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t size_max = (size_t)data[0] << 8 | data[1];
    struct bytes whole = bytes_of(data + 2, size - 2);
    struct frame final;
    enum frame_result result = frame_parse(whole, size_max, &final);
    if (result == FRAME_OK)
        check_frame(&final, whole);
    for (size_t len = 0; len < whole.len && len < PREFIX_MAX; len++) {
        struct frame frame;
        enum frame_result early = frame_parse(bytes_of(whole.data, len), size_max, &frame);
        CHECK(early == FRAME_MORE || early == result);
        if (early == FRAME_MORE && frame.size != 0)
            CHECK(frame.size > len && frame.size == final.size);
    }
    return 0;
}

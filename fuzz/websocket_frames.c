/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket frames of a client, in pieces of every size. The first byte of the input is the seed of
 * the pieces, the rest is what comes over the wire. Whatever the pieces, the same bytes, pings and
 * close code must come out; after each step the decoder must exist only while a frame is
 * incomplete.
 */
#include "net/websocket_frames.h"
#include "base/check.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    uint8_t *plain;
    size_t plain_len;
    uint64_t pings; /* a checksum over all of them */
    uint16_t close_code;
    bool closed_by_peer, in_message, between_frames;
};

static void on_ping(void *owner, struct bytes payload)
{
    struct outcome *o = owner;

    CHECK(payload.len <= FRAME_CONTROL_MAX);
    o->pings = o->pings * 31 + payload.len + 1;
    for (size_t i = 0; i < payload.len; i++)
        o->pings = o->pings * 31 + payload.data[i];
}

/* Decodes in place, as a stream does, in pieces that `seed` makes; seed 0: all at once. */
static struct outcome decode(const uint8_t *data, size_t size, uint32_t seed)
{
    struct frames frames = {0};
    struct outcome o = {.plain = malloc(size + 1)};
    size_t done = 0;

    CHECK(o.plain != NULL);
    while (done < size) {
        size_t piece = size - done;
        uint8_t *buffer;
        size_t got;

        if (seed != 0) {
            seed = seed * 1103515245U + 12345U;
            piece = 1 + (seed >> 16) % 9;
            if (piece > size - done)
                piece = size - done;
        }
        buffer = malloc(piece); /* exactly, so that a sanitizer sees any overrun */
        CHECK(buffer != NULL);
        memcpy(buffer, data + done, piece);
        got = frames_decode(&frames, buffer, bytes_of(buffer, piece), on_ping, &o);
        CHECK(got <= piece);
        CHECK(frames.close_code == 0 || frames.decoder == NULL);
        memcpy(o.plain + o.plain_len, buffer, got);
        o.plain_len += got;
        free(buffer);
        done += piece;
    }
    o.close_code = frames.close_code;
    o.closed_by_peer = frames.closed_by_peer;
    o.in_message = frames.in_message;
    o.between_frames = frames.decoder == NULL;
    frames_deinit(&frames);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, pieces;

    if (size == 0)
        return 0;
    whole = decode(data + 1, size - 1, 0);
    pieces = decode(data + 1, size - 1, data[0] | 0x100U);
    CHECK(whole.plain_len == pieces.plain_len);
    CHECK(memcmp(whole.plain, pieces.plain, whole.plain_len) == 0);
    CHECK(whole.pings == pieces.pings);
    CHECK(whole.close_code == pieces.close_code);
    CHECK(whole.closed_by_peer == pieces.closed_by_peer);
    CHECK(whole.in_message == pieces.in_message);
    CHECK(whole.between_frames == pieces.between_frames);
    free(whole.plain);
    free(pieces.plain);
    return 0;
}

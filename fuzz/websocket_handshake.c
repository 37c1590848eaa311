/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WebSocket handshake, twice: whole, and byte by byte. Both must come to the same answer, and
 * an answer must be a complete HTTP response.
 */
#include "net/websocket_handshake.h"
#include "base/check.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t feed_all(struct handshake *h, struct bytes in, size_t step)
{
    size_t done = 0;

    while (done < in.len && h->result == HANDSHAKE_MORE) {
        size_t len = in.len - done < step ? in.len - done : step;
        size_t consumed = 0;
        handshake_feed(h, bytes_of(in.data + done, len), &consumed);
        CHECK(consumed <= len);
        CHECK(consumed == len || h->result != HANDSHAKE_MORE);
        done += consumed;
    }
    return done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct handshake whole, pieces;
    size_t whole_len, pieces_len;

    handshake_init(&whole);
    handshake_init(&pieces);
    whole_len = feed_all(&whole, bytes_of(data, size), size);
    pieces_len = feed_all(&pieces, bytes_of(data, size), 1);
    CHECK(whole.result == pieces.result);
    CHECK(strcmp(whole.response, pieces.response) == 0);
    CHECK(whole.result != HANDSHAKE_ACCEPTED || whole_len == pieces_len);
    if (whole.result == HANDSHAKE_MORE) {
        CHECK(whole_len == size && size < HANDSHAKE_BYTES_MAX);
        handshake_time_out(&whole);
    }
    CHECK(memcmp(whole.response, "HTTP/1.1 ", 9) == 0);
    CHECK(strstr(whole.response, "\r\n\r\n") != NULL);
    return 0;
}

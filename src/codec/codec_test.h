/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of codec/: packets as text. "10 0004 'MQTT' 05" is the bytes 10 00 04 4D 51 54 54
 * 05. Each packet lies in memory of exactly its size, so that a sanitizer sees any byte read behind
 * it.
 */
#ifndef CODEC_CODEC_TEST_H
#define CODEC_CODEC_TEST_H

#include "base/check.h"
#include "codec/packet.h"

#include <stdlib.h>

/* Gives the bytes that `text` stands for, to be freed. */
static inline uint8_t *unhex(const char *text, size_t *len)
{
    uint8_t *bytes = malloc(strlen(text) + 1);
    bool quoted = false;
    *len = 0;
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            quoted = !quoted;
        } else if (quoted) {
            bytes[(*len)++] = (uint8_t)*text;
        } else if (*text != ' ') {
            const char pair[3] = {text[0], text[1], '\0'};
            char *end;
            bytes[(*len)++] = (uint8_t)strtoul(pair, &end, 16);
            CHECK(end == pair + 2);
            text++;
        }
    }
    return bytes;
}

/* A copy in memory of exactly its size, which lives until the copy of eight calls later. */
static inline struct bytes exact_copy(const uint8_t *data, size_t len)
{
    static uint8_t *copies[8];
    static unsigned next;
    uint8_t **copy = &copies[next++ % 8];
    free(*copy);
    *copy = malloc(len == 0 ? 1 : len);
    memcpy(*copy, data, len);
    return bytes_of(*copy, len);
}

static inline struct bytes packet_of(const char *text)
{
    size_t len;
    uint8_t *bytes = unhex(text, &len);
    struct bytes copy = exact_copy(bytes, len);
    free(bytes);
    return copy;
}

static inline struct frame frame_of_bytes(struct bytes packet)
{
    struct frame frame;
    CHECK(frame_parse(packet, SIZE_MAX, &frame) == FRAME_OK);
    CHECK(frame.size == packet.len);
    return frame;
}

static inline struct frame frame_of(const char *text)
{
    return frame_of_bytes(packet_of(text));
}

static inline bool is_bytes(struct bytes actual, const char *text)
{
    size_t len;
    uint8_t *expected = unhex(text, &len);
    bool equal = bytes_equal(actual, bytes_of(expected, len));
    free(expected);
    return equal;
}

#define assert_bytes(actual, text) assert_true(is_bytes(actual, text))

#endif

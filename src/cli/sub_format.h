/* SPDX-License-Identifier: Apache-2.0 */
/* How `skein sub` prints a message: as it is, with its topic, or by a format string. */
#ifndef CLI_SUB_FORMAT_H
#define CLI_SUB_FORMAT_H

#include "codec/packet.h"

#include <stdio.h>

enum sub_style {
    SUB_PAYLOAD, /* the payload */
    SUB_VERBOSE, /* topic, space, payload */
    SUB_FORMAT,
};

struct sub_format {
    enum sub_style style;
    const char *format; /* SUB_FORMAT */
    bool no_newline;    /* nothing behind the message */
    bool pretty;        /* JSON with line breaks */
    uint8_t *block;     /* room to decode properties in */
    size_t block_room;
};

/* What is wrong with a format string, NULL when it is fine: "unknown %y". `out` is room for it. */
const char *sub_format_check(const char *format, char out[32]);

/* Prints one message that has just come. */
void sub_format_print(struct sub_format *format, const struct publish *publish, FILE *out);

void sub_format_deinit(struct sub_format *format);

#endif

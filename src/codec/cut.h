/* SPDX-License-Identifier: Apache-2.0 */
/* Where packets end in a stream that is passed on and not parsed. Pure. */
#ifndef CODEC_CUT_H
#define CODEC_CUT_H

#include "base/bytes.h"

/* All zero: between two packets. */
struct packet_cut {
    uint32_t left;  /* bytes of the body to come, once its length is known */
    uint8_t header; /* bytes of the fixed header that have come, until that is complete */
};

static inline bool packet_cut_between(const struct packet_cut *cut)
{
    return cut->left == 0 && cut->header == 0;
}

/* How many bytes from the start of `in` (at least one) are of the packet that comes: up to its end,
 * or all. The stream is well-formed: a broker has made it. */
size_t packet_cut_next(struct packet_cut *cut, struct bytes in);

#endif

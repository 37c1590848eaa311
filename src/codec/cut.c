/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/cut.h"

enum { LENGTH_BITS = 7, LENGTH_GOES_ON = 128 };

/* Takes bytes of the fixed header; gives how many. */
static size_t take_header(struct packet_cut *cut, struct bytes in)
{
    size_t at = 0;
    while (at < in.len) {
        uint8_t byte = in.data[at++];
        if (cut->header++ == 0)
            continue; /* the packet's type */
        uint32_t shift = (cut->header - 2u) * LENGTH_BITS;
        cut->left |= shift < 32 ? (uint32_t)(byte & ~LENGTH_GOES_ON) << shift : 0;
        if (!(byte & LENGTH_GOES_ON)) {
            cut->header = 0;
            break;
        }
    }
    return at;
}

size_t packet_cut_next(struct packet_cut *cut, struct bytes in)
{
    size_t at = 0;
    if (cut->left == 0 || cut->header > 0) {
        at = take_header(cut, in);
        if (cut->header > 0)
            return at; /* it goes on in the next bytes */
    }
    size_t body = cut->left < in.len - at ? cut->left : in.len - at;
    cut->left -= (uint32_t)body;
    return at + body;
}

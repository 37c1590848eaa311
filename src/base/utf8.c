/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#define HIGH_BITS 0x8080808080808080u
#define LOW_BITS 0x0101010101010101u

/* Length of the ASCII prefix, rounded down to words of eight; *zero is set when a zero byte is in
 * it. */
static size_t ascii_prefix(struct bytes text, bool *zero)
{
    size_t at = 0;
    for (; at + 8 <= text.len; at += 8) {
        uint64_t word;
        memcpy(&word, text.data + at, 8);
        if ((word & HIGH_BITS) != 0)
            break;
        if (((word - LOW_BITS) & ~word & HIGH_BITS) != 0)
            *zero = true;
    }
    return at;
}

/* True when `count` continuation bytes follow the first byte. */
static bool continues(struct bytes text, size_t count)
{
    if (text.len <= count)
        return false;
    for (size_t i = 1; i <= count; i++)
        if ((text.data[i] & 0xC0) != 0x80)
            return false;
    return true;
}

/* Table 3-7 of the Unicode standard: what the first byte and the range of the second allow. */
size_t utf8_character_size(struct bytes text)
{
    uint8_t lead = text.data[0];
    uint8_t second = text.len > 1 ? text.data[1] : 0;
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2) /* a continuation byte, or overlong */
        return 0;
    if (lead < 0xE0)
        return continues(text, 1) ? 2 : 0;
    if (lead < 0xF0) {
        bool overlong = lead == 0xE0 && second < 0xA0;
        bool surrogate = lead == 0xED && second > 0x9F;
        return !overlong && !surrogate && continues(text, 2) ? 3 : 0;
    }
    if (lead < 0xF5) {
        bool overlong = lead == 0xF0 && second < 0x90;
        bool too_high = lead == 0xF4 && second > 0x8F;
        return !overlong && !too_high && continues(text, 3) ? 4 : 0;
    }
    return 0;
}

static bool valid(struct bytes text, bool allow_zero)
{
    bool zero = false;
    while (text.len > 0) {
        size_t size = ascii_prefix(text, &zero);
        if (size == 0) {
            size = utf8_character_size(text);
            if (size == 0)
                return false;
            zero |= text.data[0] == 0;
        }
        text = bytes_of(text.data + size, text.len - size);
    }
    return allow_zero || !zero;
}

bool utf8_valid_mqtt(struct bytes text)
{
    return valid(text, false);
}

bool utf8_valid(struct bytes text)
{
    return valid(text, true);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#define HIGH_BITS 0x8080808080808080u
#define LOW_BITS 0x0101010101010101u

/* Length of the ASCII prefix, in steps of eight; *zero is set when a zero byte may be in it. */
static size_t ascii_prefix(struct bytes text, bool *zero)
{
    size_t at = 0;
    for (; at + 8 <= text.len; at += 8) {
        uint64_t word;
        memcpy(&word, text.data + at, 8);
        if (word & HIGH_BITS)
            break;
        if ((word - LOW_BITS) & ~word & HIGH_BITS)
            *zero = true;
    }
    return at;
}

static bool continues(struct bytes text, size_t at, size_t count)
{
    if (text.len - at < count)
        return false;
    for (size_t i = 0; i < count; i++)
        if ((text.data[at + i] & 0xC0) != 0x80)
            return false;
    return true;
}

/* Bytes of the multi-byte character at `at`; 0 when it is ill-formed. Table 3-7 of the Unicode standard. */
static size_t character(struct bytes text, size_t at)
{
    uint8_t lead = text.data[at];
    uint8_t second = at + 1 < text.len ? text.data[at + 1] : 0;
    if (lead >= 0xC2 && lead <= 0xDF)
        return continues(text, at + 1, 1) ? 2 : 0;
    if (lead >= 0xE0 && lead <= 0xEF) {
        bool overlong = lead == 0xE0 && second < 0xA0;
        bool surrogate = lead == 0xED && second > 0x9F;
        return !overlong && !surrogate && continues(text, at + 1, 2) ? 3 : 0;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        bool overlong = lead == 0xF0 && second < 0x90;
        bool too_high = lead == 0xF4 && second > 0x8F;
        return !overlong && !too_high && continues(text, at + 1, 3) ? 4 : 0;
    }
    return 0;
}

static bool valid(struct bytes text, bool allow_zero)
{
    bool zero = false;
    size_t at = ascii_prefix(text, &zero);
    while (at < text.len) {
        if (text.data[at] < 0x80) {
            zero |= text.data[at] == 0;
            at++;
            continue;
        }
        size_t size = character(text, at);
        if (size == 0)
            return false;
        at += size;
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

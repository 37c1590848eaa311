/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include "base/word.h"

static uint64_t not_plain(uint64_t word)
{
    return word_zeroes(word) | word_not_ascii(word);
}

/* True for ASCII without zero bytes: nearly every text. */
static bool is_plain(struct bytes text)
{
    if (text.len < 8)
        return text.len == 0 || not_plain(word_of_short(text.data, text.len)) == 0;
    uint64_t bad = not_plain(word_at(text.data + text.len - 8)); /* may overlap the one before */
    for (size_t at = 0; at + 8 < text.len; at += 8)
        bad |= not_plain(word_at(text.data + at));
    return bad == 0;
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

/* Bytes of ASCII without zeroes at the start, in words of eight. */
static size_t plain_words(struct bytes text)
{
    size_t at = 0;
    while (at + 8 <= text.len && not_plain(word_at(text.data + at)) == 0)
        at += 8;
    return at;
}

static bool valid(struct bytes text, bool allow_zero)
{
    if (is_plain(text))
        return true;
    while (text.len > 0) {
        size_t size = plain_words(text);
        if (size == 0) {
            size = utf8_character_size(text);
            if (size == 0 || (text.data[0] == 0 && !allow_zero))
                return false;
        }
        text = bytes_of(text.data + size, text.len - size);
    }
    return true;
}

bool utf8_valid_mqtt(struct bytes text)
{
    return valid(text, false);
}

bool utf8_valid(struct bytes text)
{
    return valid(text, true);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "model/topic.h"

#include "base/word.h"

_Static_assert(('#' ^ '+') == 8, "one bit makes one test of two");

/* Not 0 exactly when one of the eight characters is a wildcard. */
static uint64_t wildcards_in(uint64_t word)
{
    return word_zeroes((word | WORD_OF_BYTES(8)) ^ WORD_OF_BYTES('+'));
}

static uint64_t not_plain(uint64_t word)
{
    return word_zeroes(word) | wildcards_in(word) | word_not_ascii(word);
}

bool topic_name_is_plain(struct bytes name)
{
    if (name.len < 8)
        return name.len > 0 && not_plain(word_of_short(name.data, name.len)) == 0;
    uint64_t bad = not_plain(word_at(name.data + name.len - 8)); /* may overlap the one before */
    for (size_t at = 0; at + 8 < name.len; at += 8)
        bad |= not_plain(word_at(name.data + at));
    return bad == 0;
}

bool topic_name_valid(struct bytes name)
{
    size_t at = 0;
    for (; at + 8 <= name.len; at += 8) {
        uint64_t word = word_at(name.data + at);
        if ((word_zeroes(word) | wildcards_in(word)) != 0)
            return false;
    }
    for (; at < name.len; at++)
        if (name.data[at] == '+' || name.data[at] == '#' || name.data[at] == 0)
            return false;
    return name.len > 0;
}

bool topic_filter_valid(struct bytes filter)
{
    if (filter.len == 0)
        return false;
    struct topic_cursor cursor = topic_cursor_of(filter);
    struct bytes level;
    while (topic_next_level(&cursor, &level)) {
        for (size_t i = 0; i < level.len; i++) {
            uint8_t c = level.data[i];
            if (c == 0 || ((c == '+' || c == '#') && level.len != 1))
                return false;
        }
        if (level.len == 1 && level.data[0] == '#' && cursor.next != NULL)
            return false; /* '#' is the last level [MQTT-4.7.1-1] */
    }
    return true;
}

bool topic_filter_has_wildcard(struct bytes filter)
{
    for (size_t i = 0; i < filter.len; i++)
        if (filter.data[i] == '+' || filter.data[i] == '#')
            return true;
    return false;
}

size_t topic_levels(struct bytes topic)
{
    size_t levels = 1;
    for (size_t i = 0; i < topic.len; i++)
        levels += topic.data[i] == '/';
    return levels;
}

bool topic_matches(struct bytes filter, struct bytes name)
{
    if (name.len > 0 && name.data[0] == '$' && filter.len > 0 &&
        (filter.data[0] == '+' || filter.data[0] == '#'))
        return false;
    struct topic_cursor filters = topic_cursor_of(filter), names = topic_cursor_of(name);
    struct bytes want, have;
    while (topic_next_level(&filters, &want)) {
        if (want.len == 1 && want.data[0] == '#')
            return true;
        if (!topic_next_level(&names, &have))
            return false;
        if (!(want.len == 1 && want.data[0] == '+') && !bytes_equal(want, have))
            return false;
    }
    return !topic_next_level(&names, &have);
}

enum share_parse topic_share_parse(struct bytes filter, struct bytes *name, struct bytes *inner)
{
    static const char prefix[] = "$share/";
    size_t lead = sizeof(prefix) - 1;
    if (!bytes_starts_with(filter, bytes_of(prefix, lead)))
        return SHARE_NONE;
    const uint8_t *start = filter.data + lead;
    const uint8_t *slash = memchr(start, '/', filter.len - lead);
    if (slash == NULL || slash == start)
        return SHARE_INVALID;
    struct bytes share = bytes_of(start, (size_t)(slash - start));
    if (topic_filter_has_wildcard(share))
        return SHARE_INVALID; /* [MQTT-4.8.2-2] */
    *name = share;
    *inner = bytes_of(slash + 1, (size_t)(filter.data + filter.len - slash - 1));
    return inner->len == 0 ? SHARE_INVALID : SHARE_OK;
}

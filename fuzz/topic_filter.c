/* SPDX-License-Identifier: Apache-2.0 */
/* A filter and a topic name, separated by the first line feed, against a matcher written otherwise.
 */
#include "base/check.h"
#include "base/utf8.h"
#include "model/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool at_end(struct bytes b, size_t at)
{
    return at == b.len;
}

/* Matches from the given places on, character by character. */
static bool matches_from(struct bytes filter, size_t f, struct bytes name, size_t n)
{
    for (;;) {
        if (!at_end(filter, f) && filter.data[f] == '#')
            return true;
        if (!at_end(filter, f) && filter.data[f] == '+') {
            f++;
            while (!at_end(name, n) && name.data[n] != '/')
                n++;
        }
        if (at_end(name, n)) /* "a/#" matches "a" too */
            return at_end(filter, f) ||
                   (filter.len - f == 2 && filter.data[f] == '/' && filter.data[f + 1] == '#');
        if (at_end(filter, f) || filter.data[f] != name.data[n])
            return false;
        f++;
        n++;
    }
}

static void check_levels(struct bytes topic)
{
    struct topic_cursor cursor = topic_cursor_of(topic);
    struct bytes level;
    size_t levels = 0, len = 0;
    while (topic_next_level(&cursor, &level)) {
        levels++;
        len += level.len + 1;
    }
    CHECK(levels == topic_levels(topic));
    CHECK(len == topic.len + 1);
}

static void check_share(struct bytes filter)
{
    struct bytes name, inner;
    if (topic_share_parse(filter, &name, &inner) != SHARE_OK)
        return;
    CHECK(name.len > 0 && inner.len > 0);
    CHECK(filter.len == sizeof("$share//") - 1 + name.len + inner.len);
    CHECK(memchr(name.data, '/', name.len) == NULL && !topic_filter_has_wildcard(name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size == 0 ? NULL : memchr(data, '\n', size);
    if (end == NULL)
        return 0;
    struct bytes filter = bytes_of(data, (size_t)(end - data));
    struct bytes name = bytes_of(end + 1, size - filter.len - 1);
    check_levels(filter);
    check_share(filter);
    if (topic_name_is_plain(name))
        CHECK(topic_name_valid(name) && utf8_valid_mqtt(name));
    if (!topic_filter_valid(filter) || !topic_name_valid(name))
        return 0;
    CHECK(!topic_name_valid(filter) == topic_filter_has_wildcard(filter));
    bool hidden = name.data[0] == '$' && (filter.data[0] == '+' || filter.data[0] == '#');
    CHECK(topic_matches(filter, name) == (!hidden && matches_from(filter, 0, name, 0)));
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Topic names, topic filters and shared subscription filters (sections 4.7, 4.8.2). Pure. */
#ifndef MODEL_TOPIC_H
#define MODEL_TOPIC_H

#include "base/bytes.h"

/*
 * A non-empty name without '#', '+' and U+0000 [MQTT-4.7.0-1, MQTT-4.7.3-1, MQTT-4.7.3-2]. UTF-8
 * is not looked at here: the codec has done that.
 */
bool topic_name_valid(struct bytes name);

/*
 * The quick test of the common name, in one pass: true only for a non-empty name of plain ASCII
 * that is valid UTF-8 and a valid topic name. False says nothing: ask utf8_valid_mqtt() and
 * topic_name_valid().
 */
bool topic_name_is_plain(struct bytes name);

/* A non-empty filter with its wildcards in legal places [MQTT-4.7.1-1, MQTT-4.7.1-2]. Does not know
 * "$share": split that off first. */
bool topic_filter_valid(struct bytes filter);

bool topic_filter_has_wildcard(struct bytes filter);

/* Levels in a name or filter: 1 + number of '/'. */
size_t topic_levels(struct bytes topic);

/* Section 4.7: does this (valid) filter match this (valid) name? Wildcards at the start never match
 * a name that starts with '$' [MQTT-4.7.2-1]. */
bool topic_matches(struct bytes filter, struct bytes name);

/* One level of a name or filter. Start with rest = the whole topic; false when no level is left.
 * "a//b" gives "a", "", "b"; "/" gives "", "". */
struct topic_cursor {
    const uint8_t *next; /* NULL: exhausted */
    const uint8_t *end;
};

static inline struct topic_cursor topic_cursor_of(struct bytes topic)
{
    return (struct topic_cursor){.next = topic.data, .end = topic.data + topic.len};
}

static inline bool topic_next_level(struct topic_cursor *cursor, struct bytes *level)
{
    if (cursor->next == NULL)
        return false;
    const uint8_t *start = cursor->next;
    const uint8_t *at = start;
    while (at < cursor->end && *at != '/')
        at++;
    *level = bytes_of(start, (size_t)(at - start));
    cursor->next = at < cursor->end ? at + 1 : NULL;
    return true;
}

enum share_parse {
    SHARE_NONE,    /* an ordinary filter */
    SHARE_OK,      /* "$share/name/filter" */
    SHARE_INVALID, /* starts with "$share/" and breaks [MQTT-4.8.2-1] or [MQTT-4.8.2-2] */
};

/* Splits "$share/{name}/{filter}". On SHARE_OK name and inner borrow from `filter`; the inner
 * filter still has to be checked with topic_filter_valid(). On SHARE_NONE both stay as they were.
 */
enum share_parse topic_share_parse(struct bytes filter, struct bytes *name, struct bytes *inner);

#endif

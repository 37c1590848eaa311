/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/news.h"

#include "link/handshake.h"

enum { FOUNDED = 1, STANDBY = 2, DRAINED = 4, HOLDS = 8 };

_Static_assert((int)HOMES_ADDRESS_MAX > (int)LINK_ADDRESS_MAX, "what links know of a node fits");

static uint8_t *write_group(uint8_t *out, const struct homes_group_news *group)
{
    const struct changelog_position *flushed = &group->flushed;

    *out++ = group->part;
    out = link_write_u64(out, group->epoch);
    out = link_write_u64(out, group->sequence);
    out = link_write_u64(out, flushed->sequence);
    out = link_write_u64(out, flushed->epoch);
    out = link_write_u64(out, flushed->batch);
    out = link_write_bytes(out, bytes_of(flushed->hash.bytes, sizeof(flushed->hash.bytes)));
    *out++ = flushed->held;
    return out;
}

static uint8_t engine_of(const struct homes_news *news, uint16_t version)
{
    bool unknown = version < LINK_VERSION_JOINS && news->engine == HOMES_ENGINE_JOINS;
    return unknown ? HOMES_ENGINE_UP : news->engine;
}

size_t news_write(const struct homes_news *news, uint16_t version, uint8_t out[NEWS_BYTES])
{
    uint8_t *at = link_write_text(out, bytes_of_str(news->id));

    *at++ = (uint8_t)((news->founded ? FOUNDED : 0) | (news->holds ? HOLDS : 0) |
                      (news->standby ? STANDBY : 0) | (news->drained ? DRAINED : 0));
    *at++ = engine_of(news, version);
    at = link_write_u16(at, news->weight);
    at = link_write_u16(at, news->workers);
    at = link_write_u32(at, news->rebalance);
    at = link_write_u64(at, news->instance);
    at = link_write_text(at, bytes_of_str(news->server));
    at = link_write_u16(at, HOMES_GROUPS);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        at = write_group(at, &news->groups[i]);
    if (version >= LINK_VERSION_JOINS)
        at = link_write_text(at, bytes_of_str(news->left));
    return (size_t)(at - out);
}

static void read_group(struct link_reader *reader, struct homes_group_news *group)
{
    struct changelog_position *flushed = &group->flushed;

    group->part = link_read_u8(reader);
    group->epoch = link_read_u64(reader);
    group->sequence = link_read_u64(reader);
    flushed->sequence = link_read_u64(reader);
    flushed->epoch = link_read_u64(reader);
    flushed->batch = link_read_u64(reader);
    struct bytes hash = link_read_bytes(reader, sizeof(flushed->hash.bytes));
    if (!reader->failed)
        memcpy(flushed->hash.bytes, hash.data, sizeof(flushed->hash.bytes));
    uint8_t held = link_read_u8(reader);
    flushed->held = held == 1;
    if (group->part > HOMES_COPIES || held > 1 || group->epoch >> 46 != 0)
        reader->failed = true;
}

/* Without spaces: it is a word in files. */
static void read_name(struct link_reader *reader, char *out, size_t room)
{
    struct bytes name = link_read_text(reader);

    out[0] = '\0';
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] <= ' ' || name.data[i] > '~')
            reader->failed = true;
    if (name.len >= room)
        reader->failed = true;
    if (reader->failed || name.len == 0)
        return;
    memcpy(out, name.data, name.len);
    out[name.len] = '\0';
}

bool news_read(struct bytes body, uint16_t version, struct homes_news *news)
{
    struct link_reader reader = link_reader_of(body);

    *news = (struct homes_news){.id = ""};
    struct bytes id = link_read_text(&reader);
    if (id.len >= sizeof(news->id))
        return false;
    if (id.len > 0)
        memcpy(news->id, id.data, id.len);
    uint8_t flags = link_read_u8(&reader);
    news->founded = (flags & FOUNDED) != 0;
    news->standby = (flags & STANDBY) != 0;
    news->holds = (flags & HOLDS) != 0;
    news->drained = (flags & DRAINED) != 0;
    news->engine = link_read_u8(&reader);
    news->weight = link_read_u16(&reader);
    news->workers = link_read_u16(&reader);
    news->rebalance = link_read_u32(&reader);
    news->instance = link_read_u64(&reader);
    read_name(&reader, news->server, sizeof(news->server));
    if (link_read_u16(&reader) != HOMES_GROUPS || news->engine >= HOMES_ENGINES ||
        news->weight == 0 || memchr(news->id, 0, id.len) != NULL)
        return false;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        read_group(&reader, &news->groups[i]);
    if (version >= LINK_VERSION_JOINS)
        read_name(&reader, news->left, sizeof(news->left));
    return link_reader_ok(&reader);
}

size_t news_write_removed(const struct homes_known *removed, uint8_t out[NEWS_REMOVED_BYTES])
{
    uint8_t *at = link_write_text(out, bytes_of_str(removed->node));

    at = link_write_text(at, bytes_of_str(removed->address));
    at = link_write_text(at, bytes_of_str(removed->server));
    at = link_write_u64(at, removed->instance);
    return (size_t)(at - out);
}

bool news_read_removed(struct bytes body, struct homes_known *removed)
{
    struct link_reader reader = link_reader_of(body);

    *removed = (struct homes_known){.node = ""};
    read_name(&reader, removed->node, sizeof(removed->node));
    read_name(&reader, removed->address, sizeof(removed->address));
    read_name(&reader, removed->server, sizeof(removed->server));
    removed->instance = link_read_u64(&reader);
    return link_reader_ok(&reader) && removed->node[0] != '\0' && removed->instance != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/news.h"

enum { FOUNDED = 1, STANDBY = 2, DRAINED = 4, HOLDS = 8 };

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

size_t news_write(const struct homes_news *news, uint8_t out[NEWS_BYTES])
{
    uint8_t *at = link_write_text(out, bytes_of_str(news->id));

    *at++ = (uint8_t)((news->founded ? FOUNDED : 0) | (news->holds ? HOLDS : 0) |
                      (news->standby ? STANDBY : 0) | (news->drained ? DRAINED : 0));
    *at++ = news->engine;
    at = link_write_u16(at, news->weight);
    at = link_write_u16(at, news->workers);
    at = link_write_u32(at, news->rebalance);
    at = link_write_u16(at, HOMES_GROUPS);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        at = write_group(at, &news->groups[i]);
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

bool news_read(struct bytes body, struct homes_news *news)
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
    if (link_read_u16(&reader) != HOMES_GROUPS || news->engine > HOMES_ENGINE_UP ||
        news->weight == 0 || memchr(news->id, 0, id.len) != NULL)
        return false;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        read_group(&reader, &news->groups[i]);
    return link_reader_ok(&reader);
}

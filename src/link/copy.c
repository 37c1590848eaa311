/* SPDX-License-Identifier: Apache-2.0 */
#include "link/copy.h"

#include "base/check.h"
#include "base/crc32c.h"

const char *copy_refusal_text(enum copy_refusal refusal)
{
    static const char *const texts[COPY_REFUSALS] = {
        [COPY_FORMAT_UNKNOWN] = "it speaks another version",
        [COPY_OTHER_CLUSTER] = "it is of another cluster, or has other shards",
        [COPY_NOT_WHOLE] = "it does not have the group",
        [COPY_BUSY] = "it gives as many copies as it can",
        [COPY_NOT_READABLE] = "its store cannot be read",
    };
    return texts[refusal];
}

size_t copy_ask_write(const struct copy_ask *ask, uint8_t out[COPY_ASK_MAX])
{
    CHECK(ask->cluster.len <= COPY_ID_MAX);
    uint8_t *at = out;
    *at++ = ask->format;
    at = link_write_text(at, ask->cluster);
    at = link_write_u32(at, ask->group);
    at = link_write_u32(at, ask->groups);
    at = link_write_u32(at, ask->shards);
    return (size_t)(at - out);
}

bool copy_ask_read(struct bytes body, struct copy_ask *ask)
{
    struct link_reader reader = link_reader_of(body);
    *ask = (struct copy_ask){.format = link_read_u8(&reader)};
    if (!reader.failed && ask->format != COPY_FORMAT)
        return true;
    ask->cluster = link_read_text(&reader);
    ask->group = link_read_u32(&reader);
    ask->groups = link_read_u32(&reader);
    ask->shards = link_read_u32(&reader);
    return link_reader_ok(&reader) && ask->cluster.len <= COPY_ID_MAX && ask->group < ask->groups &&
           ask->groups <= ask->shards;
}

void copy_chunk_write(uint32_t number, struct bytes records, uint8_t out[COPY_CHUNK_HEAD])
{
    link_write_u32(link_write_u32(out, number), crc32c(0, records));
}

bool copy_chunk_read(struct bytes body, uint32_t *number, struct bytes *records)
{
    struct link_reader reader = link_reader_of(body);
    *number = link_read_u32(&reader);
    uint32_t sum = link_read_u32(&reader);
    if (reader.failed || reader.at == reader.end)
        return false;
    *records = bytes_of(reader.at, (size_t)(reader.end - reader.at));
    return crc32c(0, *records) == sum;
}

void copy_credit_write(uint32_t written, uint8_t out[COPY_CREDIT_SIZE])
{
    link_write_u32(out, written);
}

bool copy_credit_read(struct bytes body, uint32_t *written)
{
    struct link_reader reader = link_reader_of(body);
    *written = link_read_u32(&reader);
    return link_reader_ok(&reader);
}

void copy_end_write(uint32_t chunks, uint64_t bytes, uint8_t out[COPY_END_SIZE])
{
    link_write_u64(link_write_u32(out, chunks), bytes);
}

bool copy_end_read(struct bytes body, uint32_t *chunks, uint64_t *bytes)
{
    struct link_reader reader = link_reader_of(body);
    *chunks = link_read_u32(&reader);
    *bytes = link_read_u64(&reader);
    return link_reader_ok(&reader);
}

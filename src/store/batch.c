/* SPDX-License-Identifier: Apache-2.0 */
#include "store/batch.h"

#include "base/check.h"
#include "base/memory.h"

/* Before each record. */
struct frame_head {
    struct store_waiter *waiter; /* who waits for this record alone; NULL: nobody */
    uint32_t len;                /* of the record behind it */
    uint16_t shard;
    uint8_t live;
    uint8_t unused;
};

/* Record types of RocksDB's write batch; its log is written in them, so they do not change. */
enum {
    TYPE_DELETE = 0x0,
    TYPE_PUT = 0x1,
    TYPE_LOG_DATA = 0x3,
    TYPE_FAMILY_DELETE = 0x4,
    TYPE_FAMILY_PUT = 0x5,
    TYPE_FAMILY_DELETE_RANGE = 0xE,
    TYPE_DELETE_RANGE = 0xF,
    VARINT32_MAX = 5,
};

void batch_init(struct batch *batch)
{
    *batch = (struct batch){0};
}

void batch_deinit(struct batch *batch)
{
    mem_free(batch->data);
}

void batch_reset(struct batch *batch)
{
    uint8_t *data = batch->data;
    size_t room = batch->room;
    if (room > BATCH_KEEP_ROOM) {
        mem_free(data);
        data = NULL;
        room = 0;
    }
    *batch = (struct batch){.data = data, .room = room};
}

static uint8_t *reserve(struct batch *batch, size_t len)
{
    if (batch->used + len > batch->room) {
        size_t room = batch->room == 0 ? BATCH_ROOM_FIRST : batch->room * 2;
        while (room < batch->used + len)
            room *= 2;
        batch->data = mem_resize(batch->data, room);
        batch->room = room;
    }
    return batch->data + batch->used;
}

static uint8_t *put_varint(uint8_t *to, uint32_t value)
{
    while (value >= 0x80) {
        *to++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *to++ = (uint8_t)value;
    return to;
}

static size_t parts_len(const struct bytes *parts, uint32_t count)
{
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++)
        len += parts[i].len;
    return len;
}

/* A length and the spans behind it. */
static uint8_t *put_parts(uint8_t *to, const struct bytes *parts, uint32_t count, size_t len)
{
    to = put_varint(to, (uint32_t)len);
    for (uint32_t i = 0; i < count; i++) {
        if (parts[i].len == 0)
            continue;
        memcpy(to, parts[i].data, parts[i].len);
        to += parts[i].len;
    }
    return to;
}

static uint8_t record_type(const struct batch_record *record)
{
    bool family = record->family != STORE_STATE;
    switch (record->operation) {
    case BATCH_PUT:
        return family ? TYPE_FAMILY_PUT : TYPE_PUT;
    case BATCH_DELETE:
        return family ? TYPE_FAMILY_DELETE : TYPE_DELETE;
    default:
        return family ? TYPE_FAMILY_DELETE_RANGE : TYPE_DELETE_RANGE;
    }
}

size_t batch_add(struct batch *batch, const struct batch_record *record)
{
    size_t key_len = parts_len(record->key, record->key_parts);
    size_t value_len = parts_len(record->value, record->value_parts);
    uint8_t *frame = reserve(batch, sizeof(struct frame_head) + 1 + (size_t)VARINT32_MAX * 3 +
                                        key_len + value_len);
    uint8_t *start = frame + sizeof(struct frame_head), *to = start;
    *to++ = record_type(record);
    if (record->family != STORE_STATE)
        to = put_varint(to, record->family);
    to = put_parts(to, record->key, record->key_parts, key_len);
    if (record->operation != BATCH_DELETE)
        to = put_parts(to, record->value, record->value_parts, value_len);
    struct frame_head head = {.len = (uint32_t)(to - start), .shard = record->shard, .live = 1};
    memcpy(frame, &head, sizeof(head));
    size_t at = batch->used;
    batch->used += (size_t)(to - frame);
    batch->live_bytes += head.len;
    batch->live++;
    return at;
}

static struct frame_head frame_at(const struct batch *batch, size_t at)
{
    struct frame_head head;
    CHECK(at + sizeof(head) <= batch->used);
    memcpy(&head, batch->data + at, sizeof(head));
    return head;
}

bool batch_await(struct batch *batch, size_t at, struct store_waiter *waiter)
{
    struct frame_head head = frame_at(batch, at);
    if (!head.live)
        return false;
    CHECK(head.waiter == NULL);
    head.waiter = waiter;
    memcpy(batch->data + at, &head, sizeof(head));
    batch->held++;
    return true;
}

bool batch_cancel(struct batch *batch, size_t at, struct store_waiter **waiter)
{
    struct frame_head head = frame_at(batch, at);
    *waiter = head.waiter;
    if (!head.live)
        return false;
    head.live = 0;
    head.waiter = NULL;
    memcpy(batch->data + at, &head, sizeof(head));
    batch->live--;
    batch->live_bytes -= head.len;
    batch->held -= *waiter != NULL;
    return true;
}

uint8_t *batch_serialise(const struct batch *batch, uint8_t *out)
{
    for (size_t at = 0; at < batch->used;) {
        struct frame_head head;
        memcpy(&head, batch->data + at, sizeof(head));
        at += sizeof(head);
        if (head.live) {
            memcpy(out, batch->data + at, head.len);
            out += head.len;
        }
        at += head.len;
    }
    return out;
}

uint32_t batch_header_count(struct bytes serialised)
{
    const uint8_t *count = serialised.data + 8;
    if (serialised.len < BATCH_HEADER)
        return 0;
    return count[0] | (uint32_t)count[1] << 8 | (uint32_t)count[2] << 16 | (uint32_t)count[3] << 24;
}

void batch_header(uint8_t out[BATCH_HEADER], uint32_t count)
{
    memset(out, 0, 8);
    out[8] = (uint8_t)count; /* little endian, as RocksDB has it */
    out[9] = (uint8_t)(count >> 8);
    out[10] = (uint8_t)(count >> 16);
    out[11] = (uint8_t)(count >> 24);
}

void batch_mark(uint8_t out[BATCH_MARK], uint64_t synced)
{
    out[0] = TYPE_LOG_DATA;
    out[1] = sizeof(synced);
    for (uint32_t i = 0; i < sizeof(synced); i++)
        out[2 + i] = (uint8_t)(synced >> (8 * i));
}

bool batch_mark_read(struct bytes behind_header, uint64_t *synced)
{
    const uint8_t *at = behind_header.data;
    if (behind_header.len < BATCH_MARK || at[0] != TYPE_LOG_DATA || at[1] != sizeof(*synced))
        return false;
    *synced = 0;
    for (uint32_t i = 0; i < sizeof(*synced); i++)
        *synced |= (uint64_t)at[2 + i] << (8 * i);
    return true;
}

static bool get_varint(struct bytes *rest, uint32_t *out)
{
    *out = 0;
    for (uint32_t shift = 0; shift < 7 * VARINT32_MAX && rest->len > 0; shift += 7) {
        uint8_t byte = rest->data[0];
        *rest = bytes_of(rest->data + 1, rest->len - 1);
        *out |= (uint32_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

/* A length and so many bytes. */
static bool get_text(struct bytes *rest, struct bytes *out)
{
    uint32_t len;
    if (!get_varint(rest, &len) || len > rest->len)
        return false;
    *out = bytes_of(rest->data, len);
    *rest = bytes_of(rest->data + len, rest->len - len);
    return true;
}

bool batch_change_next(struct bytes *rest, struct batch_change *out)
{
    static const struct {
        uint8_t type;
        bool family, value;
        enum batch_operation operation;
    } types[] = {{TYPE_DELETE, false, false, BATCH_DELETE},
                 {TYPE_PUT, false, true, BATCH_PUT},
                 {TYPE_FAMILY_DELETE, true, false, BATCH_DELETE},
                 {TYPE_FAMILY_PUT, true, true, BATCH_PUT},
                 {TYPE_FAMILY_DELETE_RANGE, true, true, BATCH_DELETE_RANGE},
                 {TYPE_DELETE_RANGE, false, true, BATCH_DELETE_RANGE}};
    while (rest->len > 0) {
        uint8_t type = rest->data[0];
        uint32_t family = STORE_STATE;
        struct bytes text;
        *rest = bytes_of(rest->data + 1, rest->len - 1);
        if (type == TYPE_LOG_DATA) {
            if (!get_text(rest, &text))
                return false;
            continue;
        }
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
            if (types[i].type != type)
                continue;
            *out = (struct batch_change){.operation = types[i].operation};
            bool good = (!types[i].family || get_varint(rest, &family)) &&
                        get_text(rest, &out->key) &&
                        (!types[i].value || get_text(rest, &out->value));
            out->family = (enum store_family)family;
            return good && family < STORE_FAMILIES;
        }
        return false;
    }
    return false;
}

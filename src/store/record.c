/* SPDX-License-Identifier: Apache-2.0 */
#include "store/record.h"

#include "base/check.h"

enum { FORMAT = 1, SHARD_BYTES = SHARD_PREFIX, KIND_AT = 2, NUMBER_AT = 3, SECOND_AT = 11 };

/* ---- numbers in bytes --------------------------------------------------------------------------
 */

static uint8_t *put_be(uint8_t *to, uint64_t value, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    return to + bytes;
}

static uint64_t get_be(const uint8_t *from, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++)
        value = value << 8 | from[i];
    return value;
}

static uint8_t *put_le(uint8_t *to, uint64_t value, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
    return to + bytes;
}

/* Bytes that are read from the front; `bad` once there were too few. */
struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static struct reader reader_of(struct bytes value)
{
    return (struct reader){.at = value.data, .end = value.data + value.len};
}

static uint64_t get_le(struct reader *reader, uint32_t bytes)
{
    uint64_t value = 0;
    if ((size_t)(reader->end - reader->at) < bytes) {
        reader->bad = true;
        return 0;
    }
    for (uint32_t i = 0; i < bytes; i++)
        value |= (uint64_t)reader->at[i] << (8 * i);
    reader->at += bytes;
    return value;
}

static struct bytes get_bytes(struct reader *reader, size_t len)
{
    if ((size_t)(reader->end - reader->at) < len) {
        reader->bad = true;
        return bytes_of(reader->at, 0);
    }
    struct bytes bytes = bytes_of(reader->at, len);
    reader->at += len;
    return bytes;
}

static struct bytes get_rest(struct reader *reader)
{
    return get_bytes(reader, (size_t)(reader->end - reader->at));
}

/* Reads the format byte; false when it is another one. */
static bool begin(struct reader *reader)
{
    return get_le(reader, 1) == FORMAT && !reader->bad;
}

/* Makes what stands in the head up to `end` the whole value so far. */
static void head_only(struct record_value *out, const uint8_t *end)
{
    CHECK(end <= out->head + RECORD_HEAD);
    out->parts[0] = bytes_of(out->head, (size_t)(end - out->head));
    out->count = 1;
}

static void add_part(struct record_value *out, struct bytes part)
{
    CHECK(out->count < RECORD_PARTS);
    out->parts[out->count++] = part;
}

/* ---- keys --------------------------------------------------------------------------------------
 */

struct store_key record_key(uint32_t shard, enum record_kind kind)
{
    struct store_key key = {.head_len = NUMBER_AT};
    put_be(key.head, shard, SHARD_BYTES);
    key.head[KIND_AT] = (uint8_t)kind;
    return key;
}

static void add_number(struct store_key *key, uint64_t number, uint32_t bytes)
{
    put_be(key->head + key->head_len, number, bytes);
    key->head_len += bytes;
}

struct store_key record_key_of(uint32_t shard, enum record_kind kind, uint64_t number)
{
    struct store_key key = record_key(shard, kind);
    add_number(&key, number, 8);
    return key;
}

struct store_key record_key_queued(uint32_t shard, uint64_t session, uint64_t sequence)
{
    struct store_key key = record_key_of(shard, RECORD_QUEUED, session);
    add_number(&key, 0, 1); /* see with_hints() in engine.c */
    add_number(&key, sequence, 8);
    return key;
}

struct store_key record_key_received(uint32_t shard, uint64_t session, uint16_t packet_id)
{
    struct store_key key = record_key_of(shard, RECORD_RECEIVED, session);
    add_number(&key, packet_id, 2);
    return key;
}

struct store_key record_key_high_water(uint32_t shard, uint32_t source)
{
    struct store_key key = record_key(shard, RECORD_HIGH_WATER);
    add_number(&key, source, 2);
    return key;
}

struct store_key record_key_position(uint32_t group)
{
    struct store_key key = record_key(SHARD_META, RECORD_POSITION);
    add_number(&key, group, 2);
    return key;
}

struct store_key record_key_subscription(uint32_t shard, uint64_t session, struct bytes filter)
{
    struct store_key key = record_key_of(shard, RECORD_SUBSCRIPTION, session);
    key.tail = filter;
    return key;
}

struct store_key record_key_testament(uint32_t shard, uint64_t number, struct bytes client_id)
{
    struct store_key key = record_key_of(shard, RECORD_TESTAMENT, number);
    key.tail = client_id;
    return key;
}

struct store_key record_key_retained(uint32_t shard, struct bytes topic)
{
    struct store_key key = record_key(shard, RECORD_RETAINED);
    key.tail = topic;
    return key;
}

struct store_key record_key_end(const struct store_key *key)
{
    struct store_key end = {.head_len = key->head_len};
    memcpy(end.head, key->head, key->head_len);
    uint32_t last = end.head_len;
    while (last > 0 && ++end.head[last - 1] == 0)
        last--; /* a carry */
    CHECK(last > 0);
    end.head_len = last;
    return end;
}

/* Bytes behind shard and kind; -1: and a text of any length behind these 8. -2: a text. */
static int key_shape(uint8_t kind)
{
    switch (kind) {
    case RECORD_SESSION:
    case RECORD_WILL:
    case RECORD_OUTBOX:
    case RECORD_CHOICES:
    case RECORD_SHARED:
        return 8;
    case RECORD_QUEUED:
        return 17;
    case RECORD_RECEIVED:
        return 10;
    case RECORD_HIGH_WATER:
    case RECORD_POSITION:
        return 2;
    case RECORD_META:
        return 0;
    case RECORD_SUBSCRIPTION:
    case RECORD_TESTAMENT:
        return -1;
    case RECORD_RETAINED:
        return -2;
    default:
        return -3;
    }
}

bool record_key_parse(struct bytes key, struct record_key *out)
{
    if (key.len < NUMBER_AT)
        return false;
    *out = (struct record_key){
        .shard = (uint32_t)get_be(key.data, SHARD_BYTES),
        .kind = (enum record_kind)key.data[KIND_AT],
    };
    int shape = key_shape(key.data[KIND_AT]);
    size_t rest = key.len - NUMBER_AT;
    if (shape == -3 || (shape >= 0 && rest != (size_t)shape) || (shape == -1 && rest < 8))
        return false;
    if (shape == 17 && key.data[SECOND_AT] != 0)
        return false;
    if (shape == -2) {
        out->text = bytes_of(key.data + NUMBER_AT, rest);
        return true;
    }
    if (rest >= 8)
        out->number = get_be(key.data + NUMBER_AT, 8);
    if (shape == -1)
        out->text = bytes_of(key.data + SECOND_AT, rest - 8);
    else if (shape == 2)
        out->sequence = get_be(key.data + NUMBER_AT, 2);
    else if (shape == 17)
        out->sequence = get_be(key.data + SECOND_AT + 1, 8);
    else if (rest > 8)
        out->sequence = get_be(key.data + SECOND_AT, (uint32_t)rest - 8);
    return true;
}

/* ---- the store ---------------------------------------------------------------------------------
 */

void meta_record_encode(const struct meta_record *meta, struct record_value *out)
{
    uint8_t *to = put_le(out->head, meta->format, 4);
    to = put_le(to, meta->shards, 4);
    head_only(out, put_le(to, meta->starts, 8));
}

bool meta_record_decode(struct bytes value, struct meta_record *out)
{
    struct reader reader = reader_of(value);
    out->format = (uint32_t)get_le(&reader, 4);
    out->shards = (uint32_t)get_le(&reader, 4);
    out->starts = get_le(&reader, 8);
    return !reader.bad;
}

/* ---- sessions ----------------------------------------------------------------------------------
 */

enum { SESSION_CONNECTED = 1 };

void session_record_encode(const struct session_record *session, struct record_value *out)
{
    uint8_t *to = put_le(out->head, FORMAT, 1);
    to = put_le(to, session->connected ? SESSION_CONNECTED : 0, 1);
    to = put_le(to, session->expiry_s, 4);
    to = put_le(to, session->at_wall_ms, 8);
    to = put_le(to, session->next_sequence, 8);
    head_only(out, put_le(to, session->sent_sequence, 8));
    add_part(out, session->client_id);
}

bool session_record_decode(struct bytes value, struct session_record *out)
{
    struct reader reader = reader_of(value);
    if (!begin(&reader))
        return false;
    out->connected = get_le(&reader, 1) & SESSION_CONNECTED;
    out->expiry_s = (uint32_t)get_le(&reader, 4);
    out->at_wall_ms = get_le(&reader, 8);
    out->next_sequence = get_le(&reader, 8);
    out->sent_sequence = get_le(&reader, 8);
    out->client_id = get_rest(&reader);
    return !reader.bad && out->client_id.len > 0 && out->client_id.len <= UINT16_MAX;
}

/* ---- subscriptions -----------------------------------------------------------------------------
 */

enum { OPTION_NO_LOCAL = 1, OPTION_RETAIN_AS_PUBLISHED = 2 };

void subscription_record_encode(const struct subscription_record *subscription,
                                struct record_value *out)
{
    const struct subscription_options *options = &subscription->options;
    int flags = (options->no_local ? OPTION_NO_LOCAL : 0) |
                (options->retain_as_published ? OPTION_RETAIN_AS_PUBLISHED : 0);
    uint8_t *to = put_le(out->head, FORMAT, 1);
    to = put_le(to, options->qos, 1);
    to = put_le(to, (uint64_t)flags, 1);
    to = put_le(to, options->retain_handling, 1);
    head_only(out, put_le(to, options->identifier, 4));
}

bool subscription_record_decode(struct bytes value, struct subscription_record *out)
{
    struct reader reader = reader_of(value);
    if (!begin(&reader))
        return false;
    struct subscription_options *options = &out->options;
    options->qos = (uint8_t)get_le(&reader, 1);
    uint64_t flags = get_le(&reader, 1);
    options->no_local = flags & OPTION_NO_LOCAL;
    options->retain_as_published = flags & OPTION_RETAIN_AS_PUBLISHED;
    options->retain_handling = (uint8_t)get_le(&reader, 1);
    options->identifier = (uint32_t)get_le(&reader, 4);
    return !reader.bad && options->qos <= 2 && options->retain_handling <= RETAIN_DO_NOT_SEND;
}

/* ---- messages ----------------------------------------------------------------------------------
 */

enum { MESSAGE_QOS = 3, MESSAGE_RETAIN = 4, MESSAGE_EXPIRES = 8 };

/* Appends a message; its first bytes are written to `to`, in the head. */
static void add_message(const struct publication *p, const struct record_clock *clock, uint8_t *to,
                        struct record_value *out)
{
    uint8_t *start = to;
    uint64_t age_ms = clock->now_ms > p->received_ms ? clock->now_ms - p->received_ms : 0;
    uint64_t wall_ms = clock->wall_ms > age_ms ? clock->wall_ms - age_ms : 0;
    int flags = p->qos | (p->retain ? MESSAGE_RETAIN : 0) | (p->has_expiry ? MESSAGE_EXPIRES : 0);
    to = put_le(to, FORMAT, 1);
    to = put_le(to, (uint64_t)flags, 1);
    to = put_le(to, wall_ms, 8);
    to = put_le(to, p->has_expiry ? p->expiry_s : 0, 4);
    to = put_le(to, p->publisher_hash, 4);
    to = put_le(to, p->topic.len, 2);
    to = put_le(to, p->properties.len, 4);
    CHECK(to <= out->head + RECORD_HEAD);
    add_part(out, bytes_of(start, (size_t)(to - start)));
    add_part(out, p->topic);
    add_part(out, p->properties);
    add_part(out, p->payload);
}

void message_record_encode(const struct publication *publication, const struct record_clock *clock,
                           struct record_value *out)
{
    out->count = 0;
    add_message(publication, clock, out->head, out);
}

/* What is left of the expiry interval counts from now on. A clock that went back adds nothing. */
enum { ROUNDED_UP_MS = 1000 }; /* what expires() adds to what is left, at most */

static bool expires(struct publication *p, uint64_t received_wall_ms,
                    const struct record_clock *clock)
{
    if (!p->has_expiry)
        return false;
    uint64_t whole_ms = (uint64_t)p->expiry_s * 1000;
    uint64_t waited_ms = clock->wall_ms > received_wall_ms ? clock->wall_ms - received_wall_ms : 0;
    if (waited_ms >= whole_ms)
        return true;
    p->expiry_s = (uint32_t)((whole_ms - waited_ms + 999) / 1000);
    return false;
}

bool message_record_decode(struct bytes value, const struct record_clock *clock,
                           struct publication *out, bool *expired)
{
    struct reader reader = reader_of(value);
    if (!begin(&reader))
        return false;
    uint64_t flags = get_le(&reader, 1);
    uint64_t wall_ms = get_le(&reader, 8);
    *out = (struct publication){
        .qos = flags & MESSAGE_QOS,
        .retain = flags & MESSAGE_RETAIN,
        .has_expiry = flags & MESSAGE_EXPIRES,
        .received_ms = clock->now_ms,
    };
    out->expiry_s = (uint32_t)get_le(&reader, 4);
    out->publisher_hash = (uint32_t)get_le(&reader, 4);
    size_t topic_len = get_le(&reader, 2), properties_len = get_le(&reader, 4);
    out->topic = get_bytes(&reader, topic_len);
    out->properties = get_bytes(&reader, properties_len);
    out->payload = get_rest(&reader);
    *expired = expires(out, wall_ms, clock);
    return !reader.bad && out->qos <= 2 && out->topic.len > 0;
}

bool message_record_expired_by(struct bytes value, uint64_t wall_ms)
{
    struct record_clock then = {.wall_ms = wall_ms - ROUNDED_UP_MS};
    struct publication publication;
    bool expired = false;
    return wall_ms > ROUNDED_UP_MS && message_record_decode(value, &then, &publication, &expired) &&
           expired;
}

uint64_t message_record_wall_ms(struct bytes value)
{
    struct reader reader = reader_of(value);
    if (!begin(&reader))
        return 0;
    get_le(&reader, 1);
    uint64_t wall_ms = get_le(&reader, 8);
    return reader.bad ? 0 : wall_ms;
}

uint64_t will_record_wall_ms(struct bytes value)
{
    struct reader reader = reader_of(value);
    if (!begin(&reader))
        return 0;
    get_le(&reader, 4);
    return reader.bad ? 0 : message_record_wall_ms(get_rest(&reader));
}

/* format, number of shares; hash and shard of each; whom. */
void choices_record_encode(const struct outbox_share *shares, uint32_t count, enum outbox_whom whom,
                           uint8_t *encoded, struct record_value *out)
{
    uint8_t *share = encoded;
    head_only(out, put_le(put_le(out->head, FORMAT, 1), count, 2));
    for (uint32_t i = 0; i < count; i++)
        share = put_le(put_le(share, shares[i].filter_hash, 8), shares[i].shard, 2);
    share = put_le(share, whom, 1);
    add_part(out, bytes_of(encoded, (size_t)(share - encoded)));
}

bool choices_record_decode(struct bytes value, struct bytes *shares, enum outbox_whom *whom)
{
    struct reader reader = reader_of(value);
    if (!begin(&reader))
        return false;
    size_t count = get_le(&reader, 2);
    *shares = get_bytes(&reader, count * OUTBOX_SHARE_BYTES);
    struct bytes rest = get_rest(&reader); /* of an older version: nothing */
    *whom = rest.len > 0 && rest.data[0] == OUTBOX_SHARES ? OUTBOX_SHARES : OUTBOX_ALL;
    return !reader.bad;
}

bool choices_record_next(struct bytes *rest, struct outbox_share *share)
{
    struct reader reader = reader_of(*rest);
    share->filter_hash = get_le(&reader, 8);
    share->shard = (uint16_t)get_le(&reader, 2);
    *rest = get_rest(&reader);
    return !reader.bad;
}

/* format, the number up to which all have come, and those behind it that have. */
void high_water_record_encode(uint64_t all, const uint64_t *numbers, uint32_t count,
                              uint8_t *encoded, struct record_value *out)
{
    uint8_t *at = encoded;
    head_only(out, put_le(put_le(out->head, FORMAT, 1), all, 8));
    for (uint32_t i = 0; i < count; i++)
        at = put_le(at, numbers[i], HIGH_WATER_NUMBER_BYTES);
    add_part(out, bytes_of(encoded, (size_t)(at - encoded)));
}

bool high_water_record_decode(struct bytes value, uint64_t *all, struct bytes *numbers)
{
    struct reader reader = reader_of(value);
    if (!begin(&reader))
        return false;
    *all = get_le(&reader, 8);
    *numbers = get_rest(&reader);
    return !reader.bad && numbers->len % HIGH_WATER_NUMBER_BYTES == 0 &&
           (*all > 0 || numbers->len > 0);
}

bool high_water_record_next(struct bytes *rest, uint64_t *number)
{
    struct reader reader = reader_of(*rest);
    if (rest->len == 0)
        return false;
    *number = get_le(&reader, HIGH_WATER_NUMBER_BYTES);
    *rest = get_rest(&reader);
    return !reader.bad;
}

void will_record_encode(const struct will_record *will, const struct record_clock *clock,
                        struct record_value *out)
{
    uint8_t *to = put_le(out->head, FORMAT, 1);
    to = put_le(to, will->delay_s, 4);
    head_only(out, to);
    add_message(&will->publication, clock, to, out);
}

bool will_record_decode(struct bytes value, const struct record_clock *clock,
                        struct will_record *out)
{
    struct reader reader = reader_of(value);
    bool expired;
    if (!begin(&reader))
        return false;
    out->delay_s = (uint32_t)get_le(&reader, 4);
    return !reader.bad &&
           message_record_decode(get_rest(&reader), clock, &out->publication, &expired);
}

/* ---- queues ------------------------------------------------------------------------------------
 */

enum { QUEUED_QOS = 3, QUEUED_RETAIN = 4, QUEUED_SHARE = 8 };

/*
 * format, kind, flags, number of identifiers, size of the message, number of a shared one;
 * identifiers (4 bytes each); name of the share with 2 bytes of length; then the message, if it
 * stands here.
 */
void queue_record_encode(const struct queue_record *entry, const struct publication *publication,
                         const struct record_clock *clock, struct record_value *out)
{
    uint32_t count = entry->identifier_count < QUEUE_RECORD_IDENTIFIERS ? entry->identifier_count
                                                                        : QUEUE_RECORD_IDENTIFIERS;
    int flags = entry->qos | (entry->retain ? QUEUED_RETAIN : 0) |
                (entry->share.len > 0 ? QUEUED_SHARE : 0);
    uint8_t *to = put_le(out->head, FORMAT, 1);
    to = put_le(to, entry->kind, 1);
    to = put_le(to, (uint64_t)flags, 1);
    to = put_le(to, count, 1);
    to = put_le(to, entry->size, 4);
    if (entry->kind == QUEUE_RECORD_SHARED)
        to = put_le(to, entry->shared, 8);
    for (uint32_t i = 0; i < count; i++)
        to = put_le(to, entry->identifiers[i], 4);
    if (entry->share.len > 0)
        to = put_le(to, entry->share.len, 2);
    head_only(out, to);
    if (entry->share.len > 0)
        add_part(out, entry->share);
    if (entry->kind == QUEUE_RECORD_MESSAGE)
        add_message(publication, clock, to, out);
}

bool queue_record_decode(struct bytes value, struct queue_record *out)
{
    struct reader reader = reader_of(value);
    if (!begin(&reader))
        return false;
    *out = (struct queue_record){.kind = (enum queue_record_kind)get_le(&reader, 1)};
    uint64_t flags = get_le(&reader, 1);
    out->qos = flags & QUEUED_QOS;
    out->retain = flags & QUEUED_RETAIN;
    out->identifier_count = (uint32_t)get_le(&reader, 1);
    out->size = (uint32_t)get_le(&reader, 4);
    if (out->kind == QUEUE_RECORD_SHARED)
        out->shared = get_le(&reader, 8);
    out->identifier_bytes = get_bytes(&reader, (size_t)out->identifier_count * 4);
    if (flags & QUEUED_SHARE)
        out->share = get_bytes(&reader, get_le(&reader, 2));
    out->message = get_rest(&reader);
    return !reader.bad && out->qos >= 1 && out->qos <= 2 && out->kind >= QUEUE_RECORD_MESSAGE &&
           out->kind <= QUEUE_RECORD_RELEASED && out->identifier_count <= QUEUE_RECORD_IDENTIFIERS;
}

bool queue_record_identifier(struct bytes *rest, uint32_t *identifier)
{
    struct reader reader = reader_of(*rest);
    if (rest->len < 4)
        return false;
    *identifier = (uint32_t)get_le(&reader, 4);
    *rest = bytes_of(reader.at, (size_t)(reader.end - reader.at));
    return true;
}

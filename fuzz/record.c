/* SPDX-License-Identifier: Apache-2.0 */
/* A record of the store: its kind, then its key or its value, as a damaged disk gives it back. What
 * is taken lies within the bytes, and is the same when it is written again. */
#include "store/record.h"
#include "base/check.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WRITTEN_MAX = 8192 };

static const struct record_clock now = {.now_ms = 1000000, .wall_ms = 1700000000000};

static void check_within(struct bytes whole, struct bytes part)
{
    CHECK(part.len == 0 ||
          (part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

static size_t joined(const struct bytes *parts, uint32_t count, uint8_t out[WRITTEN_MAX])
{
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        CHECK(len + parts[i].len <= WRITTEN_MAX);
        if (parts[i].len > 0)
            memcpy(out + len, parts[i].data, parts[i].len);
        len += parts[i].len;
    }
    return len;
}

/* ---- keys --------------------------------------------------------------------------------------
 */

/* These have one shard, but whatever can be read has to be written in the same way. */
static struct store_key position_made(const struct record_key *key)
{
    struct store_key made = record_key_position((uint32_t)key->sequence);
    struct store_key begin = record_key(key->shard, key->kind);
    memcpy(made.head, begin.head, begin.head_len);
    return made;
}

static struct store_key key_made(const struct record_key *key)
{
    switch (key->kind) {
    case RECORD_SUBSCRIPTION:
        return record_key_subscription(key->shard, key->number, key->text);
    case RECORD_RETAINED:
        return record_key_retained(key->shard, key->text);
    case RECORD_RECEIVED:
        return record_key_received(key->shard, key->number, (uint16_t)key->sequence);
    case RECORD_QUEUED:
        return record_key_queued(key->shard, key->number, key->sequence);
    case RECORD_HIGH_WATER:
        return record_key_high_water(key->shard, (uint32_t)key->sequence);
    case RECORD_TESTAMENT:
        return record_key_testament(key->shard, key->number, key->text);
    case RECORD_POSITION:
        return position_made(key);
    case RECORD_META:
        return record_key(key->shard, key->kind);
    default:
        return record_key_of(key->shard, key->kind, key->number);
    }
}

static void check_key(struct bytes whole)
{
    struct record_key key;
    uint8_t again[WRITTEN_MAX];
    if (!record_key_parse(whole, &key))
        return;
    check_within(whole, key.text);
    struct store_key made = key_made(&key);
    struct bytes parts[] = {bytes_of(made.head, made.head_len), made.tail};
    CHECK(bytes_equal(whole, bytes_of(again, joined(parts, 2, again))));
}

/* ---- values ------------------------------------------------------------------------------------
 */

static void check_meta(struct bytes value)
{
    struct meta_record meta, again;
    struct record_value made;
    if (!meta_record_decode(value, &meta))
        return;
    meta_record_encode(&meta, &made);
    CHECK(meta_record_decode(made.parts[0], &again));
    CHECK(again.format == meta.format && again.shards == meta.shards &&
          again.starts == meta.starts);
}

static void check_session(struct bytes value)
{
    struct session_record session, again;
    struct record_value made;
    uint8_t written[WRITTEN_MAX];
    if (!session_record_decode(value, &session))
        return;
    check_within(value, session.client_id);
    session_record_encode(&session, &made);
    CHECK(
        session_record_decode(bytes_of(written, joined(made.parts, made.count, written)), &again));
    CHECK(bytes_equal(again.client_id, session.client_id) && again.expiry_s == session.expiry_s);
    CHECK(again.connected == session.connected && again.at_wall_ms == session.at_wall_ms);
    CHECK(again.next_sequence == session.next_sequence &&
          again.sent_sequence == session.sent_sequence);
}

static void check_subscription(struct bytes value)
{
    struct subscription_record subscription, again;
    struct record_value made;
    if (!subscription_record_decode(value, &subscription))
        return;
    subscription_record_encode(&subscription, &made);
    CHECK(subscription_record_decode(made.parts[0], &again));
    CHECK(again.options.qos == subscription.options.qos &&
          again.options.identifier == subscription.options.identifier);
}

static void check_publication(struct bytes value, const struct publication *p)
{
    check_within(value, p->topic);
    check_within(value, p->properties);
    check_within(value, p->payload);
    CHECK(p->qos <= 2 && p->topic.len > 0);
}

static void check_message(struct bytes value)
{
    struct publication p, again;
    struct record_value made;
    uint8_t written[WRITTEN_MAX];
    bool expired, still;
    if (!message_record_decode(value, &now, &p, &expired))
        return;
    check_publication(value, &p);
    message_record_encode(&p, &now, &made);
    CHECK(message_record_decode(bytes_of(written, joined(made.parts, made.count, written)), &now,
                                &again, &still));
    CHECK(bytes_equal(again.topic, p.topic) && bytes_equal(again.payload, p.payload));
    CHECK(bytes_equal(again.properties, p.properties) && again.qos == p.qos);
    CHECK(expired || (again.expiry_s == p.expiry_s || !p.has_expiry));
}

static void check_will(struct bytes value)
{
    struct will_record will;
    if (will_record_decode(value, &now, &will))
        check_publication(value, &will.publication);
}

static void check_queued(struct bytes value)
{
    struct queue_record entry, again;
    struct record_value made;
    uint32_t identifiers[QUEUE_RECORD_IDENTIFIERS], count = 0;
    uint8_t written[WRITTEN_MAX];
    struct publication p = {.topic = bytes_of_str("t")};
    if (!queue_record_decode(value, &entry))
        return;
    check_within(value, entry.share);
    check_within(value, entry.message);
    check_within(value, entry.identifier_bytes);
    CHECK(entry.identifier_count <= QUEUE_RECORD_IDENTIFIERS && entry.qos >= 1 && entry.qos <= 2);
    struct bytes rest = entry.identifier_bytes;
    while (queue_record_identifier(&rest, &identifiers[count]))
        if (++count == QUEUE_RECORD_IDENTIFIERS)
            break;
    CHECK(count == entry.identifier_count);
    entry.identifiers = identifiers;
    queue_record_encode(&entry, &p, &now, &made);
    CHECK(queue_record_decode(bytes_of(written, joined(made.parts, made.count, written)), &again));
    CHECK(again.kind == entry.kind && again.shared == entry.shared && again.size == entry.size);
    CHECK(bytes_equal(again.share, entry.share) &&
          bytes_equal(again.identifier_bytes, entry.identifier_bytes));
}

static void check_high_water(struct bytes value)
{
    uint64_t all, again, numbers[WRITTEN_MAX / HIGH_WATER_NUMBER_BYTES];
    uint32_t count = 0;
    struct bytes rest;
    struct record_value made;
    uint8_t encoded[WRITTEN_MAX], written[WRITTEN_MAX];
    if (!high_water_record_decode(value, &all, &rest))
        return;
    check_within(value, rest);
    while (high_water_record_next(&rest, &numbers[count]))
        count++;
    high_water_record_encode(all, numbers, count, encoded, &made);
    CHECK(high_water_record_decode(bytes_of(written, joined(made.parts, made.count, written)),
                                   &again, &rest));
    CHECK(again == all && rest.len == (size_t)count * HIGH_WATER_NUMBER_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(struct bytes) = {
        check_key,     check_meta, check_session, check_subscription,
        check_message, check_will, check_queued,  check_high_water,
    };
    if (size == 0 || size > 4096)
        return 0;
    checks[data[0] % (sizeof(checks) / sizeof(checks[0]))](bytes_of(data + 1, size - 1));
    return 0;
}

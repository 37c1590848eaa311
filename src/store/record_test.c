/* SPDX-License-Identifier: Apache-2.0 */
#include "store/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { VALUE_ROOM = 1024, HOUR_MS = 3600 * 1000 };

static const struct record_clock now = {.now_ms = 50000, .wall_ms = 1700000000000};

/* A value in memory of its own, so that reading past its end is found. */
struct value {
    uint8_t *data;
    size_t len;
};

static struct value joined(const struct record_value *record)
{
    struct value value = {.data = malloc(VALUE_ROOM)};
    assert_non_null(value.data);
    for (uint32_t i = 0; i < record->count; i++) {
        struct bytes part = record->parts[i];
        assert_true(value.len + part.len <= VALUE_ROOM);
        if (part.len > 0)
            memcpy(value.data + value.len, part.data, part.len);
        value.len += part.len;
    }
    return value;
}

static struct bytes bytes_in(const struct value *value)
{
    return bytes_of(value->data, value->len);
}

static void assert_bytes(struct bytes a, struct bytes b)
{
    assert_true(bytes_equal(a, b));
}

static struct publication a_publication(void)
{
    return (struct publication){.topic = bytes_of_str("a/b"),
                                .properties = bytes_of_str("props"),
                                .payload = bytes_of_str("payload"),
                                .publisher_hash = 0xCAFEBABE,
                                .received_ms = now.now_ms,
                                .expiry_s = 60,
                                .has_expiry = true,
                                .qos = 2,
                                .retain = true};
}

/* ---- round trips ---------------------------------------------------------------------------- */

static struct value a_meta(void)
{
    struct record_value record;
    meta_record_encode(&(struct meta_record){.format = 1, .shards = 64, .starts = 1ull << 40},
                       &record);
    return joined(&record);
}

static void meta_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct value value = a_meta();
    struct meta_record meta;
    assert_true(meta_record_decode(bytes_in(&value), &meta));
    assert_int_equal(meta.format, 1);
    assert_int_equal(meta.shards, 64);
    assert_int_equal(meta.starts, 1ull << 40);
    free(value.data);
}

static const struct session_record sample_session = {
    .client_id = {(const uint8_t *)"pump-7", 6},
    .expiry_s = 0xFFFFFFFF,
    .connected = true,
    .at_wall_ms = 1700000000001,
    .next_sequence = UINT64_MAX,
    .sent_sequence = 12345678901234,
};

static struct value a_session(void)
{
    struct record_value record;
    session_record_encode(&sample_session, &record);
    return joined(&record);
}

static void session_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct value value = a_session();
    struct session_record session;
    assert_true(session_record_decode(bytes_in(&value), &session));
    assert_bytes(session.client_id, sample_session.client_id);
    assert_int_equal(session.expiry_s, sample_session.expiry_s);
    assert_true(session.connected);
    assert_int_equal(session.at_wall_ms, sample_session.at_wall_ms);
    assert_int_equal(session.next_sequence, sample_session.next_sequence);
    assert_int_equal(session.sent_sequence, sample_session.sent_sequence);
    free(value.data);
}

static struct value subscription_of(struct subscription_options options)
{
    struct record_value record;
    subscription_record_encode(&(struct subscription_record){.options = options}, &record);
    return joined(&record);
}

static struct value a_subscription(void)
{
    return subscription_of((struct subscription_options){.qos = 2,
                                                         .no_local = true,
                                                         .retain_as_published = true,
                                                         .retain_handling = 2,
                                                         .identifier = 268435455});
}

static void subscription_is_read_as_it_was_written(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 36; bits++) {
        struct subscription_options options = {.qos = (uint8_t)(bits / 12),
                                               .no_local = bits & 1,
                                               .retain_as_published = bits & 2,
                                               .retain_handling = (uint8_t)(bits / 4 % 3),
                                               .identifier = bits * 7000000};
        struct value value = subscription_of(options);
        struct subscription_record read;
        assert_true(subscription_record_decode(bytes_in(&value), &read));
        assert_int_equal(read.options.qos, options.qos);
        assert_int_equal(read.options.no_local, options.no_local);
        assert_int_equal(read.options.retain_as_published, options.retain_as_published);
        assert_int_equal(read.options.retain_handling, options.retain_handling);
        assert_int_equal(read.options.identifier, options.identifier);
        free(value.data);
    }
}

static struct value message_of(const struct publication *p)
{
    struct record_value record;
    message_record_encode(p, &now, &record);
    return joined(&record);
}

static struct value a_message(void)
{
    struct publication p = a_publication();
    return message_of(&p);
}

static void message_says(const struct publication *read, const struct publication *p)
{
    assert_bytes(read->topic, p->topic);
    assert_bytes(read->properties, p->properties);
    assert_bytes(read->payload, p->payload);
    assert_int_equal(read->publisher_hash, p->publisher_hash);
    assert_int_equal(read->qos, p->qos);
    assert_int_equal(read->retain, p->retain);
    assert_int_equal(read->has_expiry, p->has_expiry);
    assert_int_equal(read->expiry_s, p->expiry_s);
}

static void message_is_read_as_it_was_written(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++) {
        struct publication p = a_publication(), read;
        bool expired;
        p.qos = (uint8_t)(i % 3);
        p.retain = i & 1;
        p.has_expiry = i & 2;
        p.expiry_s = p.has_expiry ? 60 : 0;
        if (i & 4)
            p.properties = bytes_of_str("");
        if (i & 8)
            p.payload = bytes_of_str("");
        struct value value = message_of(&p);
        assert_true(message_record_decode(bytes_in(&value), &now, &read, &expired));
        assert_false(expired);
        message_says(&read, &p);
        free(value.data);
    }
}

static void mark_of_an_outbox_is_read_as_it_was_written(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {12, 1ull << 50};
    struct record_value record;
    uint8_t encoded[2 * HIGH_WATER_NUMBER_BYTES + 1];
    high_water_record_encode(10, numbers, 2, encoded, &record);
    struct value value = joined(&record);
    struct bytes rest;
    uint64_t all, number;
    assert_true(high_water_record_decode(bytes_in(&value), &all, &rest));
    assert_int_equal(all, 10);
    for (int i = 0; i < 2; i++) {
        assert_true(high_water_record_next(&rest, &number));
        assert_int_equal(number, numbers[i]);
    }
    assert_false(high_water_record_next(&rest, &number));
    assert_false(high_water_record_decode(bytes_of(value.data, value.len - 1), &all, &rest));
    /* one as they were before marks had holes */
    assert_true(high_water_record_decode(bytes_of(value.data, 9), &all, &rest));
    assert_false(high_water_record_next(&rest, &number));
    free(value.data);
}

static const struct outbox_share two_shares[] = {{0xF102030405060708, 65535}, {1, 2}};

static struct value the_choices(void)
{
    struct record_value record;
    uint8_t encoded[2 * OUTBOX_SHARE_BYTES + 1];
    choices_record_encode(two_shares, 2, OUTBOX_SHARES, encoded, &record);
    return joined(&record);
}

static void choices_are_read_as_they_were_written(void **state)
{
    (void)state;
    struct value value = the_choices();
    struct bytes shares;
    enum outbox_whom whom;
    assert_true(choices_record_decode(bytes_in(&value), &shares, &whom));
    assert_int_equal(whom, OUTBOX_SHARES);
    struct outbox_share share;
    for (int i = 0; i < 2; i++) {
        assert_true(choices_record_next(&shares, &share));
        assert_int_equal(share.filter_hash, two_shares[i].filter_hash);
        assert_int_equal(share.shard, two_shares[i].shard);
    }
    assert_false(choices_record_next(&shares, &share));
    free(value.data);
}

static struct value a_will(void)
{
    struct record_value record;
    struct will_record will = {.delay_s = 3600, .publication = a_publication()};
    will_record_encode(&will, &now, &record);
    return joined(&record);
}

static void will_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct value value = a_will();
    struct publication p = a_publication();
    struct will_record will;
    assert_true(will_record_decode(bytes_in(&value), &now, &will));
    assert_int_equal(will.delay_s, 3600);
    message_says(&will.publication, &p);
    free(value.data);
}

static struct value queued_of(const struct queue_record *entry)
{
    struct record_value record;
    struct publication p = a_publication();
    queue_record_encode(entry, &p, &now, &record);
    return joined(&record);
}

static const uint32_t three[] = {1, 70000, 268435455};

static struct queue_record a_queue_entry(enum queue_record_kind kind)
{
    return (struct queue_record){.kind = kind,
                                 .qos = 1,
                                 .retain = true,
                                 .share = bytes_of_str("group/a/+"),
                                 .identifiers = three,
                                 .identifier_count = 3,
                                 .shared = kind == QUEUE_RECORD_SHARED ? 77ull << 33 : 0,
                                 .size = 4711};
}

static struct value a_queued_message(void)
{
    struct queue_record entry = a_queue_entry(QUEUE_RECORD_MESSAGE);
    return queued_of(&entry);
}

static struct value a_queued_shared(void)
{
    struct queue_record entry = a_queue_entry(QUEUE_RECORD_SHARED);
    return queued_of(&entry);
}

static struct value a_released(void)
{
    struct queue_record entry = {.kind = QUEUE_RECORD_RELEASED, .qos = 2};
    return queued_of(&entry);
}

static void assert_identifiers(struct bytes rest, const uint32_t *wanted, uint32_t count)
{
    uint32_t identifier;
    for (uint32_t i = 0; i < count; i++) {
        assert_true(queue_record_identifier(&rest, &identifier));
        assert_int_equal(identifier, wanted[i]);
    }
    assert_false(queue_record_identifier(&rest, &identifier));
}

static void queue_entry_of_each_kind_is_read_as_it_was_written(void **state)
{
    (void)state;
    static const enum queue_record_kind kinds[] = {QUEUE_RECORD_MESSAGE, QUEUE_RECORD_SHARED,
                                                   QUEUE_RECORD_RELEASED};
    for (int i = 0; i < 3; i++) {
        struct queue_record entry = a_queue_entry(kinds[i]), read;
        struct value value = queued_of(&entry);
        assert_true(queue_record_decode(bytes_in(&value), &read));
        assert_int_equal(read.kind, entry.kind);
        assert_int_equal(read.qos, entry.qos);
        assert_int_equal(read.retain, entry.retain);
        assert_bytes(read.share, entry.share);
        assert_int_equal(read.shared, entry.shared);
        assert_int_equal(read.size, entry.size);
        assert_identifiers(read.identifier_bytes, three, 3);
        if (entry.kind == QUEUE_RECORD_MESSAGE) {
            struct publication p = a_publication(), message;
            bool expired;
            assert_true(message_record_decode(read.message, &now, &message, &expired));
            message_says(&message, &p);
        }
        free(value.data);
    }
}

static void queue_entry_keeps_as_many_identifiers_as_it_may(void **state)
{
    (void)state;
    uint32_t many[QUEUE_RECORD_IDENTIFIERS + 5];
    for (uint32_t i = 0; i < QUEUE_RECORD_IDENTIFIERS + 5; i++)
        many[i] = i + 1;
    struct queue_record entry = a_queue_entry(QUEUE_RECORD_MESSAGE), read;
    entry.identifiers = many;
    entry.identifier_count = QUEUE_RECORD_IDENTIFIERS + 5;
    struct value value = queued_of(&entry);
    assert_true(queue_record_decode(bytes_in(&value), &read));
    assert_identifiers(read.identifier_bytes, many, QUEUE_RECORD_IDENTIFIERS);
    free(value.data);
}

/* ---- clocks --------------------------------------------------------------------------------- */

/* What is left of 60 s when the wall clock has moved by so much. */
static uint32_t left_after(int64_t wall_ms, bool *expired)
{
    struct value value = a_message();
    struct record_clock then = {.now_ms = 1, /* another boot */
                                .wall_ms = (uint64_t)((int64_t)now.wall_ms + wall_ms)};
    struct publication read;
    assert_true(message_record_decode(bytes_in(&value), &then, &read, expired));
    assert_int_equal(read.received_ms, 1);
    free(value.data);
    return read.expiry_s;
}

static void message_expiry_counts_down_while_the_broker_is_away(void **state)
{
    (void)state;
    bool expired;
    assert_int_equal(left_after(0, &expired), 60);
    assert_false(expired);
    assert_int_equal(left_after(20000, &expired), 40);
    assert_int_equal(left_after(59999, &expired), 1);
    assert_false(expired);
    left_after(60000, &expired);
    assert_true(expired);
    left_after(100ll * HOUR_MS, &expired);
    assert_true(expired);
}

static void message_expiry_grows_by_no_clock_that_went_back(void **state)
{
    (void)state;
    bool expired;
    assert_int_equal(left_after(-1, &expired), 60);
    assert_int_equal(left_after(-(int64_t)now.wall_ms, &expired), 60);
    assert_false(expired);
}

static void message_expiry_counts_from_when_it_was_received(void **state)
{
    (void)state;
    struct publication p = a_publication(), read;
    struct record_value record;
    struct record_clock written = {.now_ms = p.received_ms + 15000, .wall_ms = now.wall_ms};
    bool expired;
    message_record_encode(&p, &written, &record);
    struct value value = joined(&record);
    struct record_clock then = {.now_ms = 1, .wall_ms = now.wall_ms + 5000};
    assert_true(message_record_decode(bytes_in(&value), &then, &read, &expired));
    assert_int_equal(read.expiry_s, 40);
    free(value.data);
}

static void message_of_the_longest_expiry_lasts(void **state)
{
    (void)state;
    struct publication p = a_publication(), read;
    p.expiry_s = UINT32_MAX;
    bool expired;
    struct value value = message_of(&p);
    struct record_clock then = {.now_ms = 1, .wall_ms = now.wall_ms + HOUR_MS};
    assert_true(message_record_decode(bytes_in(&value), &then, &read, &expired));
    assert_false(expired);
    assert_int_equal(read.expiry_s, UINT32_MAX - 3600);
    free(value.data);
}

/* ---- damage --------------------------------------------------------------------------------- */

/* Reads all that a value claims to be; whatever is claimed lies within it. */
static void read_within(struct bytes whole, struct bytes part)
{
    assert_true(part.len == 0 ||
                (part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

static bool decode_meta(struct bytes value)
{
    struct meta_record meta;
    return meta_record_decode(value, &meta);
}

static bool decode_session(struct bytes value)
{
    struct session_record session;
    if (!session_record_decode(value, &session))
        return false;
    read_within(value, session.client_id);
    assert_in_range(session.client_id.len, 1, UINT16_MAX);
    return true;
}

static bool decode_subscription(struct bytes value)
{
    struct subscription_record subscription;
    if (!subscription_record_decode(value, &subscription))
        return false;
    assert_in_range(subscription.options.qos, 0, 2);
    assert_in_range(subscription.options.retain_handling, 0, 2);
    return true;
}

static void message_within(struct bytes value, const struct publication *p)
{
    read_within(value, p->topic);
    read_within(value, p->properties);
    read_within(value, p->payload);
    assert_true(p->topic.len > 0);
    assert_in_range(p->qos, 0, 2);
}

static bool decode_message(struct bytes value)
{
    struct publication p;
    bool expired;
    if (!message_record_decode(value, &now, &p, &expired))
        return false;
    message_within(value, &p);
    return true;
}

static bool decode_choices(struct bytes value)
{
    struct bytes shares;
    enum outbox_whom whom;
    if (!choices_record_decode(value, &shares, &whom))
        return false;
    read_within(value, shares);
    return true;
}

static bool decode_will(struct bytes value)
{
    struct will_record will;
    if (!will_record_decode(value, &now, &will))
        return false;
    message_within(value, &will.publication);
    return true;
}

static bool decode_queued(struct bytes value)
{
    struct queue_record entry;
    if (!queue_record_decode(value, &entry))
        return false;
    read_within(value, entry.share);
    read_within(value, entry.identifier_bytes);
    read_within(value, entry.message);
    assert_in_range(entry.qos, 1, 2);
    uint32_t identifier, count = 0;
    while (queue_record_identifier(&entry.identifier_bytes, &identifier))
        count++;
    assert_int_equal(count, entry.identifier_count);
    assert_in_range(count, 0, QUEUE_RECORD_IDENTIFIERS);
    return entry.kind != QUEUE_RECORD_MESSAGE || decode_message(entry.message);
}

static const struct sample {
    struct value (*make)(void);
    bool (*decode)(struct bytes value);
    size_t shortest; /* what is shorter is no record */
} samples[] = {
    {a_meta, decode_meta, 16},
    {a_session, decode_session, 31},
    {a_subscription, decode_subscription, 8},
    {a_message, decode_message, 24 + 8},
    {the_choices, decode_choices, 3 + 2 * OUTBOX_SHARE_BYTES},
    {a_will, decode_will, 5 + 24 + 8},
    {a_queued_message, decode_queued, 8 + 12 + 11 + 24 + 8},
    {a_queued_shared, decode_queued, 16 + 12 + 11},
    {a_released, decode_queued, 8},
};

enum { SAMPLES = sizeof(samples) / sizeof(samples[0]) };

static void value_that_was_cut_short_is_refused_or_within_its_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        struct value whole = samples[i].make();
        assert_true(samples[i].decode(bytes_in(&whole)));
        for (size_t cut = 0; cut < whole.len; cut++) {
            uint8_t *data = malloc(cut + 1); /* of its own: reading on is found */
            assert_non_null(data);
            memcpy(data + 1, whole.data, cut);
            bool good = samples[i].decode(bytes_of(data + 1, cut));
            assert_int_equal(good, cut >= samples[i].shortest);
            free(data);
        }
        free(whole.data);
    }
}

static void value_with_a_wrong_byte_is_refused_or_within_its_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        struct value whole = samples[i].make();
        uint8_t *data = malloc(whole.len);
        assert_non_null(data);
        for (size_t at = 0; at < whole.len; at++)
            for (unsigned wrong = 0; wrong < 256; wrong++) {
                memcpy(data, whole.data, whole.len);
                data[at] = (uint8_t)wrong;
                samples[i].decode(bytes_of(data, whole.len));
            }
        free(data);
        free(whole.data);
    }
}

static void value_of_another_format_is_refused(void **state)
{
    (void)state;
    for (size_t i = 1; i < SAMPLES; i++) { /* the first says what the format is */
        struct value whole = samples[i].make();
        for (unsigned format = 0; format < 256; format++) {
            uint8_t right = whole.data[0];
            whole.data[0] = (uint8_t)format;
            assert_int_equal(samples[i].decode(bytes_in(&whole)), format == right);
            whole.data[0] = right;
        }
        free(whole.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meta_is_read_as_it_was_written),
        cmocka_unit_test(session_is_read_as_it_was_written),
        cmocka_unit_test(subscription_is_read_as_it_was_written),
        cmocka_unit_test(message_is_read_as_it_was_written),
        cmocka_unit_test(mark_of_an_outbox_is_read_as_it_was_written),
        cmocka_unit_test(choices_are_read_as_they_were_written),
        cmocka_unit_test(will_is_read_as_it_was_written),
        cmocka_unit_test(queue_entry_of_each_kind_is_read_as_it_was_written),
        cmocka_unit_test(queue_entry_keeps_as_many_identifiers_as_it_may),
        cmocka_unit_test(message_expiry_counts_down_while_the_broker_is_away),
        cmocka_unit_test(message_expiry_grows_by_no_clock_that_went_back),
        cmocka_unit_test(message_expiry_counts_from_when_it_was_received),
        cmocka_unit_test(message_of_the_longest_expiry_lasts),
        cmocka_unit_test(value_that_was_cut_short_is_refused_or_within_its_bytes),
        cmocka_unit_test(value_with_a_wrong_byte_is_refused_or_within_its_bytes),
        cmocka_unit_test(value_of_another_format_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

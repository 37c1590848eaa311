/* SPDX-License-Identifier: Apache-2.0 */
#include "link/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct link_publish example(void)
{
    return (struct link_publish){.publication = {.topic = bytes_of_str("a/b"),
                                                 .properties = bytes_of_str("\x03\x00\x01x"),
                                                 .payload = bytes_of_str("21.5"),
                                                 .received_ms = 10000,
                                                 .expiry_s = 60,
                                                 .has_expiry = true,
                                                 .qos = 1,
                                                 .retain = true,
                                                 .durability = DURABILITY_INTERVAL,
                                                 .publisher_hash = 7,
                                                 .publisher = 0x1234567890},
                                 .share = 99,
                                 .asks = true,
                                 .number = 5,
                                 .outbox = 1ull << 41,
                                 .outbox_shard = 511,
                                 .outbox_low = (1ull << 41) - 3,
                                 .has_shard = true,
                                 .shard = 300,
                                 .replayed = true};
}

/* Gives the size of the whole frame in `out`. */
static size_t written(const struct link_publish *publish, uint64_t now_ms, uint8_t *out)
{
    size_t size = link_publish_write(publish, now_ms, out);
    return (size_t)(link_write_bytes(out + size, publish->publication.payload) - out);
}

static void publication_that_was_written_is_read_as_it_was(void **state)
{
    (void)state;
    uint8_t out[256];
    struct link_publish sent = example(), got;
    struct link_frame frame;
    size_t size, whole = written(&sent, 25000, out);
    assert_int_equal(link_frame_parse(bytes_of(out, whole), LINK_BODY_MAX, &frame, &size),
                     LINK_PARSED);
    assert_int_equal(size, whole);
    assert_int_equal(frame.kind, LINK_PUBLISH);
    assert_true(link_publish_read(&frame, 500, &got));
    const struct publication *a = &sent.publication, *b = &got.publication;
    assert_true(bytes_equal(a->topic, b->topic));
    assert_true(bytes_equal(a->properties, b->properties));
    assert_true(bytes_equal(a->payload, b->payload));
    assert_int_equal(b->expiry_s, 45); /* 15 s have passed */
    assert_int_equal(b->received_ms, 500);
    assert_true(b->has_expiry && b->retain);
    assert_int_equal(b->qos, 1);
    assert_int_equal(b->durability, DURABILITY_INTERVAL);
    assert_int_equal(b->publisher, a->publisher);
    assert_int_equal(b->publisher_hash, 7);
    assert_int_equal(got.share, 99);
    assert_true(got.asks);
    assert_int_equal(got.number, 5);
    assert_int_equal(got.outbox, sent.outbox);
    assert_int_equal(got.outbox_shard, 511);
    assert_int_equal(got.outbox_low, sent.outbox_low);
    assert_true(got.has_shard);
    assert_int_equal(got.shard, 300);
    assert_true(got.replayed);
}

static void publication_as_the_version_before_wrote_it_is_read(void **state)
{
    (void)state;
    uint8_t out[256];
    struct link_publish sent = example(), got;
    size_t size, with = written(&sent, 25000, out);
    sent.outbox_low = 0;
    sent.has_shard = false;
    size_t whole = written(&sent, 25000, out);
    struct link_frame frame;
    assert_int_equal(whole, with - 8 - 2);
    assert_int_equal(link_frame_parse(bytes_of(out, whole), LINK_BODY_MAX, &frame, &size),
                     LINK_PARSED);
    assert_true(link_publish_read(&frame, 500, &got));
    assert_int_equal(got.outbox, sent.outbox);
    assert_int_equal(got.outbox_low, 0);
    assert_false(got.has_shard);
    assert_true(bytes_equal(got.publication.payload, sent.publication.payload));
}

static void frame_that_has_not_come_whole_is_incomplete(void **state)
{
    (void)state;
    uint8_t out[256];
    struct link_publish sent = example();
    size_t whole = written(&sent, 25000, out);
    for (size_t len = 0; len < whole; len++) {
        struct link_frame frame;
        size_t size;
        assert_int_equal(link_frame_parse(bytes_of(out, len), LINK_BODY_MAX, &frame, &size),
                         LINK_INCOMPLETE);
    }
}

static void frame_that_is_too_long_is_refused_by_its_header(void **state)
{
    (void)state;
    uint8_t header[LINK_HEADER];
    struct link_frame frame;
    size_t size;
    link_header_write(header, LINK_HELLO, 0, LINK_GREETING_MAX + 1);
    assert_int_equal(
        link_frame_parse(bytes_of(header, sizeof(header)), LINK_GREETING_MAX, &frame, &size),
        LINK_TOO_LONG);
}

static void publication_that_is_cut_short_is_malformed(void **state)
{
    (void)state;
    uint8_t out[256];
    struct link_publish sent = example(), got;
    size_t head = link_publish_write(&sent, 25000, out);
    for (size_t len = 0; len < head - LINK_HEADER; len++) {
        struct link_frame frame = {LINK_PUBLISH, out[5], bytes_of(out + LINK_HEADER, len)};
        assert_false(link_publish_read(&frame, 0, &got));
    }
}

static void publication_with_a_qos_or_durability_that_is_none_is_malformed(void **state)
{
    (void)state;
    uint8_t out[256];
    struct link_publish sent = example(), got;
    size_t whole = written(&sent, 25000, out);
    struct link_frame frame = {LINK_PUBLISH, out[5] | 3, bytes_of(out + 8, whole - 8)};
    assert_false(link_publish_read(&frame, 0, &got));
    frame.flags = out[5] | 0x60;
    assert_false(link_publish_read(&frame, 0, &got));
}

static void reader_that_failed_reads_zeroes(void **state)
{
    (void)state;
    struct link_reader reader = link_reader_of(bytes_of_str("\x01\x02\x03"));
    assert_int_equal(link_read_u32(&reader), 0);
    assert_int_equal(link_read_u8(&reader), 0);
    assert_false(link_reader_ok(&reader));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publication_that_was_written_is_read_as_it_was),
        cmocka_unit_test(publication_as_the_version_before_wrote_it_is_read),
        cmocka_unit_test(frame_that_has_not_come_whole_is_incomplete),
        cmocka_unit_test(frame_that_is_too_long_is_refused_by_its_header),
        cmocka_unit_test(publication_that_is_cut_short_is_malformed),
        cmocka_unit_test(publication_with_a_qos_or_durability_that_is_none_is_malformed),
        cmocka_unit_test(reader_that_failed_reads_zeroes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

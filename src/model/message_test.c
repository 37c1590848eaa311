/* SPDX-License-Identifier: Apache-2.0 */
#include "model/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void message_keeps_a_copy_of_everything(void **state)
{
    char *topic = strdup("a/b"), *payload = strdup("hello");
    struct publication publication = {
        .topic = bytes_of_str(topic),
        .properties = bytes_of("\x03\x00\x01t", 4),
        .payload = bytes_of_str(payload),
        .received_ms = 5,
        .expiry_s = 6,
        .qos = 2,
        .retain = true,
        .has_expiry = true,
        .publisher = 7,
    };
    (void)state;
    struct message *message = message_new(&publication);
    memset(topic, 'x', 3);
    free(topic);
    free(payload);
    const struct publication *p = &message->publication;
    assert_true(bytes_equal(p->topic, bytes_of_str("a/b")));
    assert_true(bytes_equal(p->properties, bytes_of("\x03\x00\x01t", 4)));
    assert_true(bytes_equal(p->payload, bytes_of_str("hello")));
    assert_int_equal(p->received_ms, 5);
    assert_int_equal(p->expiry_s, 6);
    assert_int_equal(p->qos, 2);
    assert_true(p->retain && p->has_expiry);
    assert_int_equal(p->publisher, 7);
    assert_int_equal(message->size, sizeof(struct message) + 3 + 4 + 5);
    message_drop(message);
}

static void message_lives_as_long_as_somebody_holds_it(void **state)
{
    struct publication publication = {.topic = bytes_of_str("t")};
    (void)state;
    struct message *message = message_new(&publication);
    assert_ptr_equal(message_hold(message), message);
    message_drop(message);
    assert_int_equal(message->publication.topic.data[0], 't');
    message_drop(message);
    message_drop(NULL);
}

static void publication_expires_when_its_interval_has_passed(void **state)
{
    struct publication p = {.received_ms = 10000, .expiry_s = 3, .has_expiry = true};
    (void)state;
    assert_false(publication_expired(&p, 12999));
    assert_true(publication_expired(&p, 13000));
    assert_true(publication_overdue(&p, 13000));
    p.expiry_s = 0;
    assert_false(publication_overdue(&p, 10000));
    assert_true(publication_overdue(&p, 10001));
    p.has_expiry = false;
    assert_false(publication_expired(&p, UINT64_MAX));
    assert_false(publication_overdue(&p, UINT64_MAX));
}

static void publication_expiry_counts_down_by_whole_seconds(void **state)
{
    struct publication p = {.received_ms = 10000, .expiry_s = UINT32_MAX, .has_expiry = true};
    (void)state;
    assert_int_equal(publication_expiry_left_s(&p, 10999), UINT32_MAX);
    assert_int_equal(publication_expiry_left_s(&p, 11000), UINT32_MAX - 1);
    p.expiry_s = 2;
    assert_int_equal(publication_expiry_left_s(&p, 11999), 1);
    assert_int_equal(publication_expiry_left_s(&p, 99999), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_keeps_a_copy_of_everything),
        cmocka_unit_test(message_lives_as_long_as_somebody_holds_it),
        cmocka_unit_test(publication_expires_when_its_interval_has_passed),
        cmocka_unit_test(publication_expiry_counts_down_by_whole_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

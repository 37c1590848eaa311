/* SPDX-License-Identifier: Apache-2.0 */
#include "session/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int set_up(void **state)
{
    *state = queue_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    queue_free(*state);
    return 0;
}

/* A message whose payload is its number. */
static uint64_t push(struct queue *queue, uint32_t number, uint8_t qos)
{
    char payload[16];
    snprintf(payload, sizeof(payload), "%u", number);
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str(payload)};
    struct kept kept = {.message = message_new(&p), .qos = qos};
    assert_non_null(kept.message);
    assert_int_equal(queue_push(queue, &kept), RC_OK);
    return kept_bytes(&kept);
}

static uint32_t number_of(const struct kept *kept)
{
    char payload[16] = "";
    struct bytes bytes = kept->message->publication.payload;
    memcpy(payload, bytes.data, bytes.len);
    return (uint32_t)atoi(payload);
}

static uint32_t take(struct queue *queue)
{
    struct kept kept = queue_take(queue);
    uint32_t number = number_of(&kept);
    kept_drop(&kept);
    return number;
}

static void queue_gives_the_oldest_first(void **state)
{
    for (uint32_t i = 0; i < 100; i++)
        push(*state, i, 1);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(take(*state), i);
}

static void queue_keeps_the_order_while_its_ring_turns_and_grows(void **state)
{
    struct queue *queue = *state;
    uint32_t in = 0, out = 0;
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < 1 + round % 7; i++)
            push(queue, in++, 1);
        for (uint32_t i = 0; i < 1 + round % 5 && queue->count > 0; i++)
            assert_int_equal(take(queue), out++);
    }
    while (queue->count > 0)
        assert_int_equal(take(queue), out++);
    assert_int_equal(in, out);
}

static void queue_peek_leaves_the_oldest_where_it_is(void **state)
{
    push(*state, 7, 1);
    push(*state, 8, 1);
    assert_int_equal(number_of(queue_peek(*state)), 7);
    assert_int_equal(number_of(queue_peek(*state)), 7);
}

static void queue_peek_of_nothing_is_null(void **state)
{
    assert_null(queue_peek(*state));
    assert_null(queue_peek(NULL));
}

static void queue_at_counts_from_the_oldest(void **state)
{
    for (uint32_t i = 0; i < 12; i++)
        push(*state, i, 1);
    for (uint32_t i = 0; i < 5; i++)
        take(*state);
    for (uint32_t i = 12; i < 18; i++)
        push(*state, i, 1);
    for (uint32_t n = 0; n < 13; n++)
        assert_int_equal(number_of(queue_at(*state, n)), n + 5);
}

static void queue_counts_messages_bytes_and_qos0(void **state)
{
    struct queue *queue = *state;
    uint64_t first = push(queue, 1, 0);
    assert_int_equal(queue->qos0, 1);
    uint64_t second = push(queue, 123456, 2);
    assert_int_equal(queue->count, 2);
    assert_int_equal(queue->qos0, 1);
    assert_int_equal(queue->bytes, first + second);
    take(queue);
    assert_int_equal(queue->qos0, 0);
    assert_int_equal(queue->bytes, second);
    take(queue);
    assert_int_equal(queue->bytes, 0);
}

static void queue_drop_qos0_drops_the_oldest_of_them(void **state)
{
    struct queue *queue = *state;
    push(queue, 1, 1);
    push(queue, 2, 0);
    push(queue, 3, 2);
    uint64_t bytes = queue->bytes;
    uint64_t last = push(queue, 4, 0);
    assert_true(queue_drop_qos0(queue));
    assert_int_equal(queue->count, 3);
    assert_int_equal(queue->qos0, 1);
    assert_int_equal(queue->bytes, bytes); /* as long as the one that came for it */
    assert_true(last > 0);
    assert_int_equal(take(queue), 1);
    assert_int_equal(take(queue), 3);
    assert_int_equal(take(queue), 4);
}

static void queue_drop_qos0_finds_none_among_higher_qos(void **state)
{
    push(*state, 1, 1);
    push(*state, 2, 2);
    assert_false(queue_drop_qos0(*state));
    assert_int_equal(take(*state), 1);
}

static void queue_drop_qos0_does_not_look_far(void **state)
{
    for (uint32_t i = 0; i < 64; i++)
        push(*state, i, 1);
    push(*state, 64, 0);
    assert_false(queue_drop_qos0(*state));
    take(*state);
    assert_true(queue_drop_qos0(*state));
}

static void insert(struct queue *queue, uint64_t sequence, uint8_t qos)
{
    struct publication p = {.topic = bytes_of_str("t")};
    struct kept kept = {.message = message_new(&p), .qos = qos, .sequence = sequence};
    assert_int_equal(queue_insert(queue, &kept), RC_OK);
}

static void queue_insert_goes_behind_those_with_lower_numbers(void **state)
{
    static const uint64_t arrivals[] = {10, 20, 5, 15, 30, 25, 1};
    static const uint64_t order[] = {1, 5, 10, 15, 20, 25, 30};
    struct queue *queue = *state;
    for (int i = 0; i < 7; i++)
        insert(queue, arrivals[i], 1);
    for (int i = 0; i < 7; i++) {
        struct kept kept = queue_take(queue);
        assert_int_equal(kept.sequence, order[i]);
        kept_drop(&kept);
    }
    assert_int_equal(queue->bytes, 0);
}

/* QoS 0 has the number of the message before which it stands. */
static void queue_insert_keeps_the_order_around_qos0(void **state)
{
    static const uint64_t order[] = {9, 10, 11, 11, 12, 13};
    static const uint8_t qos[] = {1, 1, 0, 1, 1, 0};
    struct queue *queue = *state;
    insert(queue, 10, 1);
    insert(queue, 11, 0);
    insert(queue, 12, 1);
    insert(queue, 13, 0);
    insert(queue, 11, 1);
    insert(queue, 9, 1);
    for (int i = 0; i < 6; i++) {
        struct kept kept = queue_take(queue);
        assert_int_equal(kept.sequence, order[i]);
        assert_int_equal(kept.qos, qos[i]);
        kept_drop(&kept);
    }
}

static void queue_front_is_where_the_lowest_number_stands(void **state)
{
    struct queue *queue = *state;
    assert_false(queue_front_in_memory(queue));
    insert(queue, 10, 1);
    assert_true(queue_front_in_memory(queue));
    queue->tail = (struct queue_tail){.from = 11, .count = 3};
    assert_true(queue_front_in_memory(queue));
    queue->tail.from = 9;
    assert_false(queue_front_in_memory(queue));
}

static void queue_counts_what_is_on_disk_alone(void **state)
{
    struct queue *queue = *state;
    uint64_t bytes = push(queue, 0, 1);
    queue->tail = (struct queue_tail){.from = 7, .count = 3, .bytes = 500};
    assert_int_equal(queue_size(queue), 4);
    assert_int_equal(queue_bytes(queue), bytes + 500);
    assert_int_equal(queue_size(NULL), 0);
    assert_int_equal(queue_bytes(NULL), 0);
}

static void queue_free_drops_what_is_left(void **state)
{
    (void)state;
    struct publication p = {.topic = bytes_of_str("t")};
    struct message *message = message_new(&p);
    struct queue *queue = queue_new(NULL);
    for (int i = 0; i < 20; i++)
        assert_int_equal(queue_push(queue, &(struct kept){.message = message_hold(message)}),
                         RC_OK);
    queue_free(queue);
    queue_free(NULL);
    assert_int_equal(message->references, 1);
    message_drop(message);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(queue_gives_the_oldest_first),
        RULE(queue_keeps_the_order_while_its_ring_turns_and_grows),
        RULE(queue_peek_leaves_the_oldest_where_it_is),
        RULE(queue_peek_of_nothing_is_null),
        RULE(queue_at_counts_from_the_oldest),
        RULE(queue_counts_messages_bytes_and_qos0),
        RULE(queue_drop_qos0_drops_the_oldest_of_them),
        RULE(queue_drop_qos0_finds_none_among_higher_qos),
        RULE(queue_drop_qos0_does_not_look_far),
        RULE(queue_insert_goes_behind_those_with_lower_numbers),
        RULE(queue_insert_keeps_the_order_around_qos0),
        RULE(queue_front_is_where_the_lowest_number_stands),
        RULE(queue_counts_what_is_on_disk_alone),
        RULE(queue_free_drops_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "link/tunnel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct tunnel_open client = {.id = 7,
                                          .hash = 0x01020304,
                                          .transport = 1,
                                          .durability = 2,
                                          .listener = 3,
                                          .family = 10,
                                          .address = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
                                          .port = 54321};

static void open_is_read_as_it_was_written(void **state)
{
    (void)state;
    uint8_t body[TUNNEL_OPEN_SIZE];
    struct tunnel_open open = {0};
    tunnel_open_write(&client, body);
    assert_true(tunnel_open_read(bytes_of(body, sizeof(body)), &open));
    assert_memory_equal(&open, &client, sizeof(open));
}

static void open_of_another_length_or_transport_is_malformed(void **state)
{
    (void)state;
    uint8_t body[TUNNEL_OPEN_SIZE + 1] = {0};
    struct tunnel_open open;
    tunnel_open_write(&client, body);
    for (size_t len = 0; len <= sizeof(body); len++)
        if (len != TUNNEL_OPEN_SIZE)
            assert_false(tunnel_open_read(bytes_of(body, len), &open));
    body[8] = 2; /* the transport */
    assert_false(tunnel_open_read(bytes_of(body, TUNNEL_OPEN_SIZE), &open));
}

static void credit_is_read_as_it_was_written(void **state)
{
    (void)state;
    uint8_t body[TUNNEL_CREDIT_SIZE];
    uint32_t id;
    uint64_t worked_off;
    tunnel_credit_write(9, UINT64_C(1) << 40, body);
    assert_true(tunnel_credit_read(bytes_of(body, sizeof(body)), &id, &worked_off));
    assert_int_equal(id, 9);
    assert_int_equal(worked_off, UINT64_C(1) << 40);
    assert_false(tunnel_credit_read(bytes_of(body, sizeof(body) - 1), &id, &worked_off));
}

static void data_has_at_least_one_byte_and_at_most_a_piece(void **state)
{
    (void)state;
    static uint8_t body[TUNNEL_ID_SIZE + TUNNEL_PIECE + 1];
    uint32_t id;
    struct bytes data;
    link_write_u32(body, 5);
    assert_false(tunnel_data_read(bytes_of(body, 3), &id, &data));
    assert_false(tunnel_data_read(bytes_of(body, TUNNEL_ID_SIZE), &id, &data));
    assert_false(tunnel_data_read(bytes_of(body, sizeof(body)), &id, &data));
    assert_true(tunnel_data_read(bytes_of(body, sizeof(body) - 1), &id, &data));
    assert_int_equal(id, 5);
    assert_int_equal(data.len, TUNNEL_PIECE);
}

static void an_end_for_an_unknown_reason_is_malformed(void **state)
{
    (void)state;
    uint8_t body[TUNNEL_ID_SIZE];
    uint32_t id;
    enum tunnel_end why;
    struct link_frame frame = {.flags = TUNNEL_END_DRAINED, .body = {body, sizeof(body)}};
    link_write_u32(body, 3);
    assert_true(tunnel_end_read(&frame, &id, &why));
    assert_int_equal(id, 3);
    assert_int_equal(why, TUNNEL_END_DRAINED);
    frame.flags = TUNNEL_ENDS;
    assert_false(tunnel_end_read(&frame, &id, &why));
}

static void a_registration_has_a_client_id_and_perhaps_a_will(void **state)
{
    (void)state;
    static uint8_t body[REGISTRATION_MAX];
    struct registration_frame said;
    size_t len = registration_write(7, bytes_of_str("pump"), body);
    assert_true(registration_read(bytes_of(body, len), &said));
    assert_int_equal(said.number, 7);
    assert_true(bytes_equal(said.client_id, bytes_of_str("pump")));
    assert_int_equal(said.will.len, 0);
    memcpy(body + len, "gone", 4);
    assert_true(registration_read(bytes_of(body, len + 4), &said));
    assert_true(bytes_equal(said.will, bytes_of_str("gone")));
    assert_false(registration_read(bytes_of(body, len - 1), &said));
    len = registration_write(7, bytes_of_str(""), body);
    assert_false(registration_read(bytes_of(body, len), &said));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_is_read_as_it_was_written),
        cmocka_unit_test(open_of_another_length_or_transport_is_malformed),
        cmocka_unit_test(credit_is_read_as_it_was_written),
        cmocka_unit_test(data_has_at_least_one_byte_and_at_most_a_piece),
        cmocka_unit_test(an_end_for_an_unknown_reason_is_malformed),
        cmocka_unit_test(a_registration_has_a_client_id_and_perhaps_a_will),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

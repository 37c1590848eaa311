/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct auth_mechanism plain = {.name = "PLAIN"}, scram = {.name = "SCRAM-SHA-1"};

static void auth_finds_a_mechanism_by_its_whole_name(void **state)
{
    (void)state;
    struct auth_registry registry = {.count = 0};
    auth_register(&registry, &plain);
    auth_register(&registry, &scram);
    assert_ptr_equal(auth_find(&registry, bytes_of_str("PLAIN")), &plain);
    assert_ptr_equal(auth_find(&registry, bytes_of_str("SCRAM-SHA-1")), &scram);
    assert_null(auth_find(&registry, bytes_of_str("SCRAM")));
    assert_null(auth_find(&registry, bytes_of_str("plain")));
    assert_null(auth_find(&registry, bytes_of_str("")));
}

static void auth_without_mechanisms_finds_none(void **state)
{
    (void)state;
    struct auth_registry registry = {.count = 0};
    assert_null(auth_find(&registry, bytes_of_str("PLAIN")));
}

/* ---- the challenge of the tests ------------------------------------------------------------- */

struct exchange {
    void *state;
    struct auth_reply reply;
};

static int set_up(void **state)
{
    static struct exchange exchange;
    exchange = (struct exchange){.state = auth_test_challenge.start(&auth_test_challenge)};
    *state = &exchange;
    return exchange.state == NULL;
}

static int tear_down(void **state)
{
    auth_test_challenge.end(((struct exchange *)*state)->state);
    return 0;
}

static enum auth_result step(struct exchange *exchange, struct bytes data)
{
    exchange->reply.len = 0;
    return auth_test_challenge.step(exchange->state, data, &exchange->reply);
}

static struct bytes reversed(const struct auth_reply *reply)
{
    static uint8_t out[64];
    assert_in_range(reply->len, 1, sizeof(out));
    for (size_t i = 0; i < reply->len; i++)
        out[i] = reply->data[reply->len - 1 - i];
    return bytes_of(out, reply->len);
}

static void challenge_asks_first_and_is_content_with_its_reverse(void **state)
{
    struct exchange *exchange = *state;
    assert_int_equal(step(exchange, bytes_of_str("")), AUTH_CONTINUE);
    assert_int_equal(exchange->reply.len, strlen("challenge:") + 16);
    assert_memory_equal(exchange->reply.data, "challenge:", 10);
    assert_int_equal(step(exchange, reversed(&exchange->reply)), AUTH_SUCCESS);
    assert_memory_equal(exchange->reply.data, "welcome", 7);
}

static void challenge_refuses_another_answer(void **state)
{
    struct exchange *exchange = *state;
    step(exchange, bytes_of_str(""));
    assert_int_equal(step(exchange, bytes_of(exchange->reply.data, exchange->reply.len)),
                     AUTH_FAILURE);
    assert_int_equal(step(exchange, bytes_of_str("")), AUTH_FAILURE);
}

static void challenge_asks_something_else_when_told_again(void **state)
{
    struct exchange *exchange = *state;
    step(exchange, bytes_of_str(""));
    struct auth_reply first = exchange->reply;
    assert_int_equal(step(exchange, bytes_of_str("again")), AUTH_CONTINUE);
    assert_int_equal(exchange->reply.len, first.len);
    assert_memory_not_equal(exchange->reply.data, first.data, first.len);
    assert_int_equal(step(exchange, reversed(&first)), AUTH_FAILURE);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auth_finds_a_mechanism_by_its_whole_name),
        cmocka_unit_test(auth_without_mechanisms_finds_none),
        RULE(challenge_asks_first_and_is_content_with_its_reverse),
        RULE(challenge_refuses_another_answer),
        RULE(challenge_asks_something_else_when_told_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

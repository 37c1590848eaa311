/* SPDX-License-Identifier: Apache-2.0 */
#include "model/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void reason_name_says_what_the_standard_calls_it(void **state)
{
    (void)state;
    assert_string_equal(reason_name(MQTT_SUCCESS), "success");
    assert_string_equal(reason_name(MQTT_DISCONNECT_WITH_WILL), "disconnect_with_will");
    assert_string_equal(reason_name(MQTT_NO_MATCHING_SUBSCRIBERS), "no_matching_subscribers");
    assert_string_equal(reason_name(MQTT_UNSPECIFIED_ERROR), "unspecified_error");
    assert_string_equal(reason_name(MQTT_SESSION_TAKEN_OVER), "session_taken_over");
    assert_string_equal(reason_name(MQTT_QOS_NOT_SUPPORTED), "qos_not_supported");
    assert_string_equal(reason_name(MQTT_WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED),
                        "wildcard_subscriptions_not_supported");
}

static void reason_name_knows_the_43_codes_and_no_others(void **state)
{
    int known = 0;
    (void)state;
    for (unsigned code = 0; code < 256; code++)
        known += strcmp(reason_name((enum mqtt_reason)code), "unknown") != 0;
    assert_int_equal(known, 43);
    assert_string_equal(reason_name((enum mqtt_reason)0xA3), "unknown");
    assert_string_equal(reason_name((enum mqtt_reason)3), "unknown");
}

static void reason_has_a_return_code_in_mqtt_3(void **state)
{
    (void)state;
    assert_int_equal(reason_to_v3_connack(MQTT_SUCCESS), 0);
    assert_int_equal(reason_to_v3_connack(MQTT_UNSUPPORTED_PROTOCOL_VERSION), 1);
    assert_int_equal(reason_to_v3_connack(MQTT_CLIENT_IDENTIFIER_NOT_VALID), 2);
    assert_int_equal(reason_to_v3_connack(MQTT_SERVER_UNAVAILABLE), 3);
    assert_int_equal(reason_to_v3_connack(MQTT_QUOTA_EXCEEDED), 3);
    assert_int_equal(reason_to_v3_connack(MQTT_BAD_USER_NAME_OR_PASSWORD), 4);
    assert_int_equal(reason_to_v3_connack(MQTT_NOT_AUTHORIZED), 5);
    assert_int_equal(reason_to_v3_connack(MQTT_BANNED), 5);
    assert_int_equal(reason_to_v3_connack(MQTT_BAD_AUTHENTICATION_METHOD), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reason_name_says_what_the_standard_calls_it),
        cmocka_unit_test(reason_name_knows_the_43_codes_and_no_others),
        cmocka_unit_test(reason_has_a_return_code_in_mqtt_3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "model/reason.h"

static const char *const error_names[] = {
    "unspecified_error",
    "malformed_packet",
    "protocol_error",
    "implementation_specific_error",
    "unsupported_protocol_version",
    "client_identifier_not_valid",
    "bad_user_name_or_password",
    "not_authorized",
    "server_unavailable",
    "server_busy",
    "banned",
    "server_shutting_down",
    "bad_authentication_method",
    "keep_alive_timeout",
    "session_taken_over",
    "topic_filter_invalid",
    "topic_name_invalid",
    "packet_identifier_in_use",
    "packet_identifier_not_found",
    "receive_maximum_exceeded",
    "topic_alias_invalid",
    "packet_too_large",
    "message_rate_too_high",
    "quota_exceeded",
    "administrative_action",
    "payload_format_invalid",
    "retain_not_supported",
    "qos_not_supported",
    "use_another_server",
    "server_moved",
    "shared_subscriptions_not_supported",
    "connection_rate_exceeded",
    "maximum_connect_time",
    "subscription_identifiers_not_supported",
    "wildcard_subscriptions_not_supported",
};

const char *reason_name(enum mqtt_reason reason)
{
    unsigned error = (unsigned)reason - MQTT_UNSPECIFIED_ERROR;
    if (error < sizeof(error_names) / sizeof(*error_names))
        return error_names[error];
    switch ((unsigned)reason) {
    case MQTT_SUCCESS:
        return "success";
    case MQTT_GRANTED_QOS_1:
        return "granted_qos_1";
    case MQTT_GRANTED_QOS_2:
        return "granted_qos_2";
    case MQTT_DISCONNECT_WITH_WILL:
        return "disconnect_with_will";
    case MQTT_NO_MATCHING_SUBSCRIBERS:
        return "no_matching_subscribers";
    case MQTT_NO_SUBSCRIPTION_EXISTED:
        return "no_subscription_existed";
    case MQTT_CONTINUE_AUTHENTICATION:
        return "continue_authentication";
    case MQTT_REAUTHENTICATE:
        return "reauthenticate";
    default:
        return "unknown";
    }
}

uint8_t reason_to_v3_connack(enum mqtt_reason reason)
{
    if ((unsigned)reason < MQTT_UNSPECIFIED_ERROR)
        return 0;
    switch (reason) {
    case MQTT_UNSUPPORTED_PROTOCOL_VERSION:
        return 1;
    case MQTT_CLIENT_IDENTIFIER_NOT_VALID:
        return 2;
    case MQTT_BAD_USER_NAME_OR_PASSWORD:
        return 4;
    case MQTT_NOT_AUTHORIZED:
    case MQTT_BANNED:
    case MQTT_BAD_AUTHENTICATION_METHOD:
        return 5;
    default:
        return 3;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One packet of every type and version, cut at every byte and with every byte replaced by every
 * other. Nothing may be read outside of the packet (a sanitizer sees that), and what is accepted
 * after all must make sense.
 */
#include "codec/codec_test.h"
#include "codec/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct sample {
    enum mqtt_version version;
    const char *text;
    unsigned shorter_ok; /* bit n: a body of n bytes is a packet too */
};

/* clang-format off */
static const struct sample samples[] = {
    {MQTT_V31, "10 1B 0006'MQIsdp' 03 EC 000A 0001'i' 0001't' 0001'm' 0001'u' 0001'p'", 0},
    {MQTT_V311, "10 19 0004'MQTT' 04 EC 000A 0001'i' 0001't' 0001'm' 0001'u' 0001'p'", 0},
    {MQTT_V5, "10 2A 0004'MQTT' 05 EC 000A 08 110000003C 210005 0001'i'"
              "07 0101 1800000001 0001't' 0001'm' 0001'u' 0001'p'", 0},
    {MQTT_V311, "20 02 00 00", 0},
    {MQTT_V5, "20 0E 01 00 0B 13003C 260001'k'0002'vw'", 0},
    {MQTT_V311, "32 0A 0004'a/bc' 0001 'hi'", 3 << 8},
    {MQTT_V5, "34 1C 0003'a/b' 0001 11 0101 02000000FF 080001'r' 0B8101 230001 'pay'", 7 << 25},
    {MQTT_V311, "40 02 0001", 0},
    {MQTT_V5, "50 0B 0001 87 07 1F0004'none'", 3 << 2},
    {MQTT_V311, "62 02 0001", 0},
    {MQTT_V5, "70 0B 0001 92 07 260001'k'0001'v'", 3 << 2},
    {MQTT_V311, "82 0B 0001 0002'a+' 01 0001'#' 02", 1 << 7},
    {MQTT_V5, "82 0F 0001 03 0BAC02 0002'a+' 2D 0001'#' 02", 1 << 11},
    {MQTT_V311, "90 05 0001 000180", 3 << 3},
    {MQTT_V5, "90 0C 0001 07 1F0004'none' 0087", 1 << 11},
    {MQTT_V311, "A2 09 0001 0002'a+' 0001'#'", 1 << 6},
    {MQTT_V5, "A2 11 0001 07 260001'k'0001'v' 0002'a+' 0001'#'", 1 << 14},
    {MQTT_V311, "B0 02 0001", 0},
    {MQTT_V5, "B0 06 0001 00 001187", 3 << 4},
    {MQTT_V5, "C0 00", 0},
    {MQTT_V5, "D0 00", 0},
    {MQTT_V311, "E0 00", 0},
    {MQTT_V5, "E0 0D 00 0B 110000003C 1F0003'bye'", 3},
    {MQTT_V5, "F0 0A 18 08 150001'm' 160001 00", 0},
};
/* clang-format on */

#define EACH(s)                                                                                    \
    const struct sample *s = samples;                                                              \
    (s) < samples + sizeof(samples) / sizeof(*samples);                                            \
    (s)++

static void walk(struct bytes filters, enum mqtt_version version, uint32_t count)
{
    struct subscribe_filter f;
    for (; subscribe_next(&filters, version, &f); count--)
        assert_true(f.options.qos <= 2 && f.options.retain_handling <= 2);
    assert_int_equal(count, 0);
}

static void walk_un(struct bytes filters, uint32_t count)
{
    struct bytes filter;
    while (unsubscribe_next(&filters, &filter))
        count--;
    assert_int_equal(count, 0);
}

static enum mqtt_reason decode_publish(const struct frame *frame, enum mqtt_version version)
{
    struct publish p;
    enum mqtt_reason reason = publish_decode(frame, version, &p);
    if (reason == MQTT_SUCCESS) {
        uint8_t *stripped = malloc(p.properties.len + 1);
        assert_true(publish_properties_strip(p.properties, stripped) <= p.properties.len);
        free(stripped);
        assert_true((p.qos > 0) == (p.packet_id != 0));
        assert_true(p.topic.len > 0 || p.has_topic_alias);
    }
    return reason;
}

static enum mqtt_reason decode(const struct frame *frame, enum mqtt_version version)
{
    union {
        struct connect connect;
        struct connack connack;
        struct ack ack;
        struct subscribe subscribe;
        struct unsubscribe unsubscribe;
        struct suback suback;
        struct disconnect disconnect;
        struct auth auth;
    } to;
    enum mqtt_reason reason;
    switch (frame->type) {
    case PACKET_CONNECT:
        return connect_decode(frame, &to.connect);
    case PACKET_CONNACK:
        return connack_decode(frame, version, &to.connack);
    case PACKET_PUBLISH:
        return decode_publish(frame, version);
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBREL:
    case PACKET_PUBCOMP:
        return ack_decode(frame, version, &to.ack);
    case PACKET_SUBSCRIBE:
        reason = subscribe_decode(frame, version, &to.subscribe);
        if (reason == MQTT_SUCCESS)
            walk(to.subscribe.filters, version, to.subscribe.count);
        return reason;
    case PACKET_UNSUBSCRIBE:
        reason = unsubscribe_decode(frame, version, &to.unsubscribe);
        if (reason == MQTT_SUCCESS)
            walk_un(to.unsubscribe.filters, to.unsubscribe.count);
        return reason;
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
        return suback_decode(frame, version, &to.suback);
    case PACKET_PINGREQ:
    case PACKET_PINGRESP:
        return empty_decode(frame);
    case PACKET_DISCONNECT:
        return disconnect_decode(frame, version, &to.disconnect);
    case PACKET_AUTH:
        return auth_decode(frame, &to.auth);
    default:
        return MQTT_PROTOCOL_ERROR;
    }
}

static void packet_of_every_type_and_version_is_accepted_whole(void **state)
{
    (void)state;
    for (EACH(s)) {
        struct frame frame = frame_of(s->text);
        enum mqtt_reason reason = decode(&frame, s->version);
        if (reason != MQTT_SUCCESS)
            fail_msg("%s: 0x%02x", s->text, reason);
    }
}

/* In 3.1 user name and password may be missing. */
static bool may_be_cut(const struct sample *s, size_t len)
{
    if (s->version == MQTT_V31)
        return len == 21 || len == 24;
    return len < 32 && (s->shorter_ok >> len & 1) != 0;
}

static void packet_cut_at_any_byte_is_refused_or_a_packet_without_its_options(void **state)
{
    (void)state;
    for (EACH(s)) {
        size_t len;
        uint8_t *whole = unhex(s->text, &len);
        for (size_t cut = 2; cut < len; cut++) {
            struct frame frame = {
                .type = whole[0] >> 4,
                .flags = whole[0] & 15,
                .body = exact_copy(whole + 2, cut - 2),
                .size = cut,
            };
            bool accepted = decode(&frame, s->version) == MQTT_SUCCESS;
            if (accepted != may_be_cut(s, cut - 2))
                fail_msg("%s cut to %zu", s->text, cut - 2);
        }
        free(whole);
    }
}

static void packet_with_any_byte_changed_is_never_read_beyond_its_end(void **state)
{
    static const enum mqtt_version versions[] = {MQTT_V31, MQTT_V311, MQTT_V5};
    unsigned accepted = 0, tried = 0;
    (void)state;
    for (EACH(s)) {
        size_t len;
        uint8_t *packet = unhex(s->text, &len);
        for (size_t at = 0; at < len; at++) {
            uint8_t right = packet[at];
            for (unsigned wrong = 0; wrong < 256; wrong++) {
                struct frame frame;
                packet[at] = (uint8_t)wrong;
                struct bytes in = exact_copy(packet, len);
                if (frame_parse(in, SIZE_MAX, &frame) != FRAME_OK)
                    continue;
                for (int v = 0; v < 3; v++, tried++)
                    accepted += decode(&frame, versions[v]) == MQTT_SUCCESS;
            }
            packet[at] = right;
        }
        free(packet);
    }
    assert_true(accepted > 0 && accepted < tried);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packet_of_every_type_and_version_is_accepted_whole),
        cmocka_unit_test(packet_cut_at_any_byte_is_refused_or_a_packet_without_its_options),
        cmocka_unit_test(packet_with_any_byte_changed_is_never_read_beyond_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

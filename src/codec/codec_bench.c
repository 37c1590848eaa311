/* SPDX-License-Identifier: Apache-2.0 */
/* The packets of the road: PUBLISH both ways, acknowledgements, SUBSCRIBE and CONNECT once. */
#include "base/bench.h"
#include "base/check.h"
#include "base/utf8.h"
#include "codec/packet.h"
#include "model/topic.h"

enum { PACKET_MAX = 512 };

struct fixture {
    enum mqtt_version version;
    uint8_t packet[PACKET_MAX];
    size_t size;
    struct publication publication;
    struct publish_form form;
};

static const char topic[] = "devices/0042/temperature";
static const char properties[] = "\x01\x01"
                                 "\x03\x00\x0A"
                                 "text/plain"
                                 "\x26\x00\x04unit\x00\x07"
                                 "celsius";

static void set_up(struct fixture *f, size_t payload)
{
    static const uint8_t zeroes[PACKET_MAX];
    f->publication.topic = bytes_of_str(topic);
    f->publication.payload = bytes_of(zeroes, payload);
    f->form.version = f->version;
    uint8_t *end = publish_header_encode(f->packet, &f->publication, &f->form);
    f->size = (size_t)(end - f->packet) + payload;
    CHECK(f->size <= PACKET_MAX);
}

static void parse_and_decode_publish(void *context, size_t n)
{
    const struct fixture *f = context;
    for (size_t i = 0; i < n; i++) {
        struct frame frame;
        struct publish publish;
        BENCH_USE(frame_parse(bytes_of(f->packet, f->size), SIZE_MAX, &frame));
        BENCH_USE(publish_decode(&frame, f->version, &publish));
        BENCH_USE(&publish);
    }
}

static void encode_publish(void *context, size_t n)
{
    struct fixture *f = context;
    for (size_t i = 0; i < n; i++) {
        BENCH_USE(publish_header_size(&f->publication, &f->form));
        BENCH_USE(publish_header_encode(f->packet, &f->publication, &f->form));
    }
}

static void parse_and_decode_puback(void *context, size_t n)
{
    const struct fixture *f = context;
    uint8_t packet[4];
    ack_write(packet, f->version, PACKET_PUBACK, 7, 0);
    for (size_t i = 0; i < n; i++) {
        struct frame frame;
        struct ack ack;
        frame_parse(bytes_of(packet, sizeof(packet)), SIZE_MAX, &frame);
        BENCH_USE(ack_decode(&frame, f->version, &ack));
        BENCH_USE(&ack);
    }
}

static void write_puback(void *context, size_t n)
{
    const struct fixture *f = context;
    uint8_t packet[8];
    for (size_t i = 0; i < n; i++)
        BENCH_USE(ack_write(packet, f->version, PACKET_PUBACK, (uint16_t)(i | 1), 0));
}

static void decode_connect(void *context, size_t n)
{
    const struct fixture *f = context;
    struct connect connect = {
        .version = f->version,
        .clean_start = true,
        .client_id = bytes_of_str("pump-0042"),
        .has_will = true,
        .will_topic = bytes_of_str(topic),
        .will_payload = bytes_of_str("gone"),
        .has_user_name = true,
        .user_name = bytes_of_str("pump"),
        .has_password = true,
        .password = bytes_of_str("secret"),
    };
    property_set(&connect.properties, PROPERTY_SESSION_EXPIRY_INTERVAL);
    property_set(&connect.properties, PROPERTY_RECEIVE_MAXIMUM);
    connect.properties.receive_maximum = 20;
    uint8_t packet[PACKET_MAX];
    size_t size = connect_encode(&connect, packet, sizeof(packet));
    for (size_t i = 0; i < n; i++) {
        struct frame frame;
        frame_parse(bytes_of(packet, size), SIZE_MAX, &frame);
        BENCH_USE(connect_decode(&frame, &connect));
        BENCH_USE(&connect);
    }
}

static void decode_subscribe(void *context, size_t n)
{
    const struct fixture *f = context;
    const struct subscribe_filter filter = {bytes_of_str("devices/+/temperature"), {.qos = 1}};
    uint8_t packet[PACKET_MAX];
    size_t size = subscribe_encode(1, f->version, NULL, &filter, 1, packet, sizeof(packet));
    for (size_t i = 0; i < n; i++) {
        struct frame frame;
        struct subscribe subscribe;
        frame_parse(bytes_of(packet, size), SIZE_MAX, &frame);
        BENCH_USE(subscribe_decode(&frame, f->version, &subscribe));
        BENCH_USE(&subscribe);
    }
}

static void check_plain_topic(void *context, size_t n)
{
    const struct fixture *f = context;
    for (size_t i = 0; i < n; i++) {
        struct bytes name = f->publication.topic;
        BENCH_USE(name.data);
        BENCH_USE(topic_name_is_plain(name));
    }
}

static void check_utf8(void *context, size_t n)
{
    struct bytes text = bytes_of_str("\xC3\xBC"
                                     "ber/ger\xC3\xA4te/0042/\xE2\x82\xAC");
    (void)context;
    for (size_t i = 0; i < n; i++) {
        BENCH_USE(text.data);
        BENCH_USE(utf8_valid_mqtt(text));
    }
}

int main(void)
{
    static struct fixture v3 = {.version = MQTT_V311}, v5 = {.version = MQTT_V5};
    static struct fixture rich = {.version = MQTT_V5};
    rich.publication.properties = bytes_of(properties, sizeof(properties) - 1);
    set_up(&v3, 36); /* 64 bytes in all */
    set_up(&v5, 35);
    set_up(&rich, 64);
    bench("frame and PUBLISH decode, 3.1.1, 64 bytes", parse_and_decode_publish, &v3);
    bench("frame and PUBLISH decode, 5.0, 64 bytes", parse_and_decode_publish, &v5);
    bench("frame and PUBLISH decode, 5.0, three properties", parse_and_decode_publish, &rich);
    bench("topic name of 24 characters", check_plain_topic, &v3);
    bench("UTF-8 of 27 bytes, four of them not ASCII", check_utf8, NULL);
    bench("frame and PUBACK decode, 3.1.1", parse_and_decode_puback, &v3);
    bench("frame and PUBACK decode, 5.0", parse_and_decode_puback, &v5);
    bench("frame and SUBSCRIBE decode, 5.0", decode_subscribe, &v5);
    bench("frame and CONNECT decode, 3.1.1, will and password", decode_connect, &v3);
    bench("frame and CONNECT decode, 5.0, will and password", decode_connect, &v5);
    bench("PUBLISH header size and encode, 3.1.1", encode_publish, &v3);
    bench("PUBLISH header size and encode, 5.0", encode_publish, &v5);
    bench("PUBLISH header size and encode, 5.0, properties", encode_publish, &rich);
    bench("PUBACK write, 3.1.1", write_puback, &v3);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format string: %-sequences print parts of the message, @-sequences go to strftime(), and
 * backslashes make control characters. A %-sequence may have '0' or '-', a width, and for texts a
 * maximum: "%-20.20t". To add a sequence: a line in SEQUENCES and a case in print_sequence().
 */
#include "cli/sub_format.h"

#include "base/memory.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#define SEQUENCES "%ACDEFIJjlmPpqRrStUxX"

enum { WIDTH_MAX = 10000 };

/* One %-sequence and what it is about. */
struct sequence {
    const struct publish *publish;
    const struct properties *properties;
    struct timespec now;
    struct tm local;
    FILE *out;
    char pad;
    bool left;
    size_t width, max;
};

/* ---- Padding ----------------------------------------------------------------------------------
 */

static void print_padded(const struct sequence *s, struct bytes text)
{
    size_t len = text.len < s->max ? text.len : s->max;
    size_t fill = len < s->width ? s->width - len : 0;

    for (size_t i = 0; !s->left && i < fill; i++)
        fputc(s->pad, s->out);
    if (len > 0)
        fwrite(text.data, 1, len, s->out);
    for (size_t i = 0; s->left && i < fill; i++)
        fputc(' ', s->out);
}

static void print_number(const struct sequence *s, uint64_t number)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%" PRIu64, number);
    struct sequence unlimited = *s;
    unlimited.max = SIZE_MAX;
    print_padded(&unlimited, bytes_of_str(digits));
}

static void print_text(struct sequence *s, enum property_id id, struct bytes text)
{
    s->pad = ' ';
    print_padded(s, property_present(s->properties, id) ? text : bytes_of(NULL, 0));
}

static void print_property(struct sequence *s, enum property_id id, uint64_t number)
{
    if (property_present(s->properties, id))
        print_number(s, number);
    else
        print_text(s, id, bytes_of(NULL, 0));
}

static void print_hex(const struct sequence *s, const char *digits)
{
    struct bytes payload = s->publish->payload;
    size_t len = 2 * payload.len, fill = len < s->width ? s->width - len : 0;

    for (size_t i = 0; !s->left && i < fill; i++)
        fputc(s->pad, s->out);
    for (size_t i = 0; i < payload.len; i++) {
        fputc(digits[payload.data[i] >> 4], s->out);
        fputc(digits[payload.data[i] & 15], s->out);
    }
    for (size_t i = 0; s->left && i < fill; i++)
        fputc(' ', s->out);
}

/* ---- Time, user properties, JSON --------------------------------------------------------------
 */

static size_t iso_time(const struct sequence *s, const char *format, char *out, size_t room)
{
    return strftime(out, room, format, &s->local);
}

static void print_user_properties(const struct sequence *s)
{
    struct bytes rest = s->properties->user, name, value;
    bool first = true;

    while (properties_next_user(&rest, &name, &value)) {
        fprintf(s->out, "%s%.*s:%.*s", first ? "" : " ", (int)name.len, (const char *)name.data,
                (int)value.len, (const char *)value.data);
        first = false;
    }
}

static json_t *json_text(struct bytes text)
{
    json_t *made = json_stringn((const char *)text.data, text.len);

    return made != NULL ? made : json_null(); /* not UTF-8 */
}

static void add_text(json_t *to, const struct sequence *s, enum property_id id, const char *name,
                     struct bytes text)
{
    if (property_present(s->properties, id))
        json_object_set_new(to, name, json_text(text));
}

static json_t *json_properties(const struct sequence *s)
{
    const struct properties *p = s->properties;
    json_t *made = json_object();
    json_t *users = json_array();
    struct bytes rest = p->user, name, value;

    add_text(made, s, PROPERTY_CONTENT_TYPE, "content-type", p->content_type);
    add_text(made, s, PROPERTY_RESPONSE_TOPIC, "response-topic", p->response_topic);
    add_text(made, s, PROPERTY_CORRELATION_DATA, "correlation-data", p->correlation_data);
    if (property_present(p, PROPERTY_MESSAGE_EXPIRY_INTERVAL))
        json_object_set_new(made, "message-expiry-interval", json_integer(p->message_expiry_s));
    if (property_present(p, PROPERTY_PAYLOAD_FORMAT_INDICATOR))
        json_object_set_new(made, "payload-format-indicator", json_integer(p->payload_format));
    if (property_present(p, PROPERTY_SUBSCRIPTION_IDENTIFIER))
        json_object_set_new(made, "subscription-identifier",
                            json_integer(p->subscription_identifier));
    if (property_present(p, PROPERTY_TOPIC_ALIAS))
        json_object_set_new(made, "topic-alias", json_integer(p->topic_alias));
    while (properties_next_user(&rest, &name, &value)) {
        json_t *pair = json_object();
        json_object_setn_new(pair, (const char *)name.data, name.len, json_text(value));
        json_array_append_new(users, pair);
    }
    if (json_array_size(users) > 0)
        json_object_set(made, "user-properties", users);
    json_decref(users);
    return made;
}

static void print_json(const struct sequence *s, bool payload_is_json, bool pretty)
{
    const struct publish *publish = s->publish;
    char time[64], zoned[96];
    json_t *root = json_object(), *payload = NULL;

    iso_time(s, "%Y-%m-%dT%H:%M:%S", time, sizeof(time));
    size_t len = (size_t)snprintf(zoned, sizeof(zoned), "%s.%06ld", time, s->now.tv_nsec / 1000);
    iso_time(s, "%z", zoned + len, sizeof(zoned) - len);
    json_object_set_new(root, "tst", json_string(zoned));
    json_object_set_new(root, "topic", json_text(publish->topic));
    json_object_set_new(root, "qos", json_integer(publish->qos));
    json_object_set_new(root, "retain", json_integer(publish->retain));
    json_object_set_new(root, "payloadlen", json_integer((json_int_t)publish->payload.len));
    if (publish->qos > 0)
        json_object_set_new(root, "mid", json_integer(publish->packet_id));
    json_t *properties = json_properties(s);
    if (json_object_size(properties) > 0)
        json_object_set(root, "properties", properties);
    json_decref(properties);
    if (payload_is_json)
        payload = json_loadb((const char *)publish->payload.data, publish->payload.len,
                             JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (payload_is_json && payload == NULL)
        fprintf(stderr, "skein sub: the payload is not valid JSON on topic %.*s\n",
                (int)publish->topic.len, (const char *)publish->topic.data);
    json_object_set_new(root, "payload", payload != NULL ? payload : json_text(publish->payload));
    json_dumpf(root, s->out, pretty ? JSON_INDENT(2) : JSON_COMPACT);
    json_decref(root);
}

/* ---- The format string ------------------------------------------------------------------------
 */

/* The sequences about properties of MQTT 5.0. */
static void print_property_sequence(struct sequence *s, char letter)
{
    const struct properties *p = s->properties;

    switch (letter) {
    case 'A':
        print_property(s, PROPERTY_TOPIC_ALIAS, p->topic_alias);
        break;
    case 'C':
        print_text(s, PROPERTY_CONTENT_TYPE, p->content_type);
        break;
    case 'D':
        print_text(s, PROPERTY_CORRELATION_DATA, p->correlation_data);
        break;
    case 'E':
        print_property(s, PROPERTY_MESSAGE_EXPIRY_INTERVAL, p->message_expiry_s);
        break;
    case 'F':
        print_property(s, PROPERTY_PAYLOAD_FORMAT_INDICATOR, p->payload_format);
        break;
    case 'P':
        print_user_properties(s);
        break;
    case 'R':
        print_text(s, PROPERTY_RESPONSE_TOPIC, p->response_topic);
        break;
    case 'S':
        print_property(s, PROPERTY_SUBSCRIPTION_IDENTIFIER, p->subscription_identifier);
        break;
    default:
        break;
    }
}

static void print_sequence(struct sequence *s, char letter, bool pretty)
{
    const struct publish *publish = s->publish;
    char time[64];

    switch (letter) {
    case '%':
        fputc('%', s->out);
        break;
    case 'I':
        s->pad = ' ';
        print_padded(s, bytes_of(time, iso_time(s, "%Y-%m-%dT%H:%M:%S%z", time, sizeof(time))));
        break;
    case 'j':
    case 'J':
        print_json(s, letter == 'J', pretty);
        break;
    case 'l':
        print_number(s, publish->payload.len);
        break;
    case 'm':
        print_number(s, publish->packet_id);
        break;
    case 'p':
        s->pad = ' ';
        print_padded(s, publish->payload);
        break;
    case 'q':
        fputc('0' + publish->qos, s->out);
        break;
    case 'r':
        fputc('0' + publish->retain, s->out);
        break;
    case 't':
        s->pad = ' ';
        print_padded(s, publish->topic);
        break;
    case 'U':
        fprintf(s->out, "%lld.%09ld", (long long)s->now.tv_sec, s->now.tv_nsec);
        break;
    case 'x':
        print_hex(s, "0123456789abcdef");
        break;
    case 'X':
        print_hex(s, "0123456789ABCDEF");
        break;
    default:
        print_property_sequence(s, letter);
        break;
    }
}

static size_t parse_number(const char **at)
{
    size_t number = 0;

    while (**at >= '0' && **at <= '9') {
        if (number < WIDTH_MAX)
            number = 10 * number + (size_t)(**at - '0');
        (*at)++;
    }
    return number;
}

/* Reads flags, width and maximum behind '%'; gives the letter and moves behind it. */
static char parse_sequence(const char **at, struct sequence *s)
{
    s->pad = ' ';
    s->left = false;
    s->width = 0;
    s->max = SIZE_MAX;
    for (; **at == '0' || **at == '-'; (*at)++) {
        if (**at == '-')
            s->left = true;
        else
            s->pad = '0';
    }
    s->width = parse_number(at);
    if (**at == '.') {
        (*at)++;
        s->max = parse_number(at);
    }
    return **at != '\0' ? *(*at)++ : '\0';
}

static int escaped(char letter)
{
    switch (letter) {
    case '\\':
        return '\\';
    case '0':
        return '\0';
    case 'a':
        return '\a';
    case 'e':
        return '\033';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    default:
        return -1;
    }
}

const char *sub_format_check(const char *format, char out[32])
{
    struct sequence s = {0};

    for (const char *at = format; *at != '\0';) {
        char mark = *at++;
        if (mark == '%') {
            char letter = parse_sequence(&at, &s);
            if (letter == '\0' || strchr(SEQUENCES, letter) == NULL) {
                snprintf(out, 32, "unknown %%%c", letter != '\0' ? letter : ' ');
                return out;
            }
        } else if (mark == '@') {
            if (*at == '\0')
                return "a lonely @";
            at++;
        } else if (mark == '\\') {
            if (*at == '\0' || escaped(*at) == -1) {
                snprintf(out, 32, "unknown \\%c", *at != '\0' ? *at : ' ');
                return out;
            }
            at++;
        }
    }
    return NULL;
}

static void print_time(const struct sequence *s, char letter)
{
    const char format[3] = {'%', letter, '\0'};
    char text[128];

    if (letter == '@')
        fputc('@', s->out);
    else if (letter == 'N')
        fprintf(s->out, "%09ld", s->now.tv_nsec);
    else
        fwrite(text, 1, iso_time(s, format, text, sizeof(text)), s->out);
}

static void print_formatted(const struct sub_format *format, struct sequence *s)
{
    for (const char *at = format->format; *at != '\0';) {
        char mark = *at++;
        if (mark == '%') {
            char letter = parse_sequence(&at, s);
            print_sequence(s, letter, format->pretty);
        } else if (mark == '@') {
            print_time(s, *at++);
        } else if (mark == '\\') {
            fputc(escaped(*at++), s->out);
        } else {
            fputc(mark, s->out);
        }
    }
}

/* The block is decoded again: the codec does not keep what is not for the road. */
static void decode_properties(struct sub_format *format, struct bytes block,
                              struct properties *properties)
{
    size_t size = block.len + varint_size((uint32_t)block.len);

    *properties = (struct properties){0};
    if (block.len == 0)
        return;
    if (size > format->block_room) {
        format->block = mem_resize(format->block, size);
        format->block_room = size;
    }
    memcpy(varint_write(format->block, (uint32_t)block.len), block.data, block.len);
    struct bytes in = bytes_of(format->block, size);
    if (properties_decode(&in, PACKET_PUBLISH, properties) != MQTT_SUCCESS)
        *properties = (struct properties){0};
}

void sub_format_print(struct sub_format *format, const struct publish *publish, FILE *out)
{
    struct properties properties;
    struct sequence s = {.publish = publish, .properties = &properties, .out = out};

    if (format->style == SUB_FORMAT) {
        decode_properties(format, publish->properties, &properties);
        clock_gettime(CLOCK_REALTIME, &s.now);
        localtime_r(&s.now.tv_sec, &s.local);
        print_formatted(format, &s);
    } else {
        if (format->style == SUB_VERBOSE) {
            fwrite(publish->topic.data, 1, publish->topic.len, out);
            fputc(' ', out);
        }
        if (publish->payload.len > 0)
            fwrite(publish->payload.data, 1, publish->payload.len, out);
    }
    if (!format->no_newline)
        fputc('\n', out);
}

void sub_format_deinit(struct sub_format *format)
{
    mem_free(format->block);
    format->block = NULL;
    format->block_room = 0;
}

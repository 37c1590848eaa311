/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/store_json.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 64 };

/* ---- base64 ------------------------------------------------------------------------------------
 */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *encode(struct bytes bytes)
{
    char *text = mem_resize(NULL, bytes.len / 3 * 4 + 5), *to = text;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t have = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        if (have > 1)
            group |= (uint32_t)bytes.data[i + 1] << 8;
        if (have > 2)
            group |= bytes.data[i + 2];
        *to++ = digits[group >> 18];
        *to++ = digits[group >> 12 & 63];
        *to++ = have > 1 ? digits[group >> 6 & 63] : '=';
        *to++ = have > 2 ? digits[group & 63] : '=';
    }
    *to = '\0';
    return text;
}

/* False: not base64 with its padding. */
static bool decode(const char *text, size_t len, uint8_t *out, size_t *out_len)
{
    size_t padding = len > 0 && text[len - 1] == '=' ? 1 + (len > 1 && text[len - 2] == '=') : 0;
    uint32_t group = 0;
    *out_len = 0;
    if (len % 4 != 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        const char *digit = i >= len - padding ? digits : strchr(digits, text[i]);
        if (digit == NULL || text[i] == '\0')
            return false;
        group = group << 6 | (uint32_t)(digit - digits);
        if (i % 4 != 3)
            continue;
        size_t count = i + 1 == len ? 3 - padding : 3;
        const uint8_t bytes[] = {(uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};
        memcpy(out + *out_len, bytes, count);
        *out_len += count;
        group = 0;
    }
    return true;
}

/* ---- texts -------------------------------------------------------------------------------------
 */

void store_json_put(json_t *object, const char *name, struct bytes bytes)
{
    if (utf8_valid_mqtt(bytes)) {
        json_object_set_new(
            object, name, json_stringn(bytes.len == 0 ? "" : (const char *)bytes.data, bytes.len));
        return;
    }
    char name64[NAME_MAX_BYTES];
    char *text = encode(bytes);
    snprintf(name64, sizeof(name64), "%s64", name);
    json_object_set_new(object, name64, json_string(text));
    mem_free(text);
}

bool store_json_get(const json_t *object, const char *name, struct bytes *out, void **owned)
{
    char name64[NAME_MAX_BYTES];
    const json_t *text = json_object_get(object, name);
    *owned = NULL;
    if (json_is_string(text)) {
        *out = bytes_of(json_string_value(text), json_string_length(text));
        return true;
    }
    snprintf(name64, sizeof(name64), "%s64", name);
    text = json_object_get(object, name64);
    if (!json_is_string(text))
        return false;
    size_t len = json_string_length(text), used;
    uint8_t *data = mem_resize(NULL, len + 1);
    if (!decode(json_string_value(text), len, data, &used)) {
        mem_free(data);
        return false;
    }
    *owned = data;
    *out = bytes_of(data, used);
    return true;
}

void store_json_free(void *owned)
{
    mem_free(owned);
}

bool store_json_number(const json_t *object, const char *name, uint64_t max, uint64_t *out)
{
    const json_t *number = json_object_get(object, name);
    json_int_t value = json_integer_value(number);
    if (!json_is_integer(number) || value < 0 || (uint64_t)value > max)
        return false;
    *out = (uint64_t)value;
    return true;
}

/* ---- messages ----------------------------------------------------------------------------------
 */

void store_json_put_message(json_t *object, const struct publication *p)
{
    store_json_put(object, "topic", p->topic);
    json_object_set_new(object, "message_qos", json_integer(p->qos));
    json_object_set_new(object, "message_retain", json_boolean(p->retain));
    json_object_set_new(object, "received_ms", json_integer((json_int_t)p->received_ms));
    json_object_set_new(object, "publisher", json_integer(p->publisher_hash));
    if (p->has_expiry)
        json_object_set_new(object, "expiry_s", json_integer(p->expiry_s));
    if (p->properties.len > 0)
        store_json_put(object, "properties", p->properties);
    store_json_put(object, "payload", p->payload);
}

bool store_json_get_message(const json_t *object, struct store_json_message *out)
{
    struct publication *p = &out->publication;
    uint64_t qos, expiry_s = 0, publisher;
    *out = (struct store_json_message){0};
    p->has_expiry = json_object_get(object, "expiry_s") != NULL;
    if (!store_json_number(object, "message_qos", 2, &qos) ||
        !store_json_number(object, "received_ms", INT64_MAX, &p->received_ms) ||
        !store_json_number(object, "publisher", UINT32_MAX, &publisher) ||
        (p->has_expiry && !store_json_number(object, "expiry_s", UINT32_MAX, &expiry_s)) ||
        !store_json_get(object, "topic", &p->topic, &out->owned[0]))
        return false;
    bool good = store_json_get(object, "payload", &p->payload, &out->owned[1]);
    if (!store_json_get(object, "properties", &p->properties, &out->owned[2]))
        p->properties = bytes_of("", 0);
    p->qos = (uint8_t)qos;
    p->expiry_s = (uint32_t)expiry_s;
    p->publisher_hash = (uint32_t)publisher;
    p->retain = json_is_true(json_object_get(object, "message_retain"));
    good = good && p->topic.len > 0 && p->topic.len <= UINT16_MAX;
    if (!good)
        store_json_message_free(out);
    return good;
}

void store_json_message_free(struct store_json_message *message)
{
    for (int i = 0; i < 3; i++)
        store_json_free(message->owned[i]);
}

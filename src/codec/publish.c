/* SPDX-License-Identifier: Apache-2.0 */
/* PUBLISH (section 3.3): the packet that the road is built for. */
#include "codec/cursor.h"
#include "codec/packet.h"
#include "codec/trim.h"
#include "model/topic.h"

enum publish_flag { PUBLISH_RETAIN = 1, PUBLISH_QOS = 6, PUBLISH_DUP = 8 };

static enum mqtt_reason decode_properties(struct bytes *in, struct publish *publish)
{
    if (in->len > 0 && in->data[0] == 0) { /* the usual case: none */
        in->data++;
        in->len--;
        publish->properties_forwardable = true;
        publish->properties = bytes_of(in->data, 0);
        return MQTT_SUCCESS;
    }
    struct properties p;
    enum mqtt_reason reason = properties_decode(in, PACKET_PUBLISH, &p);
    if (reason != MQTT_SUCCESS)
        return reason;
    publish->properties = p.user; /* the whole block */
    publish->has_topic_alias = property_present(&p, PROPERTY_TOPIC_ALIAS);
    publish->topic_alias = p.topic_alias;
    publish->has_expiry = property_present(&p, PROPERTY_MESSAGE_EXPIRY_INTERVAL);
    publish->expiry_s = p.message_expiry_s;
    publish->payload_format_present = property_present(&p, PROPERTY_PAYLOAD_FORMAT_INDICATOR);
    publish->payload_is_utf8 = publish->payload_format_present && p.payload_format == 1;
    if (property_present(&p, PROPERTY_SUBSCRIPTION_IDENTIFIER))
        publish->subscription_identifiers =
            properties_count(p.user, PROPERTY_SUBSCRIPTION_IDENTIFIER);
    publish->properties_forwardable = !publish->has_topic_alias && !publish->has_expiry &&
                                      publish->subscription_identifiers == 0;
    if (publish->has_topic_alias && publish->topic_alias == 0)
        return MQTT_TOPIC_ALIAS_INVALID; /* [MQTT-3.3.2-8] */
    return MQTT_SUCCESS;
}

enum mqtt_reason publish_decode(const struct frame *frame, enum mqtt_version version,
                                struct publish *publish)
{
    struct bytes in = frame->body;
    *publish = (struct publish){
        .dup = frame->flags & PUBLISH_DUP,
        .retain = frame->flags & PUBLISH_RETAIN,
        .qos = (frame->flags & PUBLISH_QOS) >> 1,
    };
    if (publish->qos == 3)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.3.1-4] */
    if (publish->qos == 0 && publish->dup)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.3.1-2] */
    if (!take_string(&in, &publish->topic))
        return MQTT_MALFORMED_PACKET;
    if (publish->qos > 0 && !take_u16(&in, &publish->packet_id))
        return MQTT_MALFORMED_PACKET;
    if (version == MQTT_V5) {
        enum mqtt_reason reason = decode_properties(&in, publish);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    if (publish->qos > 0 && publish->packet_id == 0)
        return MQTT_PROTOCOL_ERROR; /* [MQTT-2.2.1-3] */
    publish->payload = in;
    if (publish->topic.len == 0) /* [X5.0-3.3.2.1-1] */
        return publish->has_topic_alias ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR;
    return topic_name_valid(publish->topic) ? MQTT_SUCCESS : MQTT_TOPIC_NAME_INVALID;
}

size_t publish_properties_strip(struct bytes block, uint8_t *out)
{
    return properties_forward(block, out);
}

/* ---- encoding ---------------------------------------------------------------------------------- */

/* Bytes of the property block without its length. */
static size_t form_properties_size(const struct publication *p, const struct publish_form *form)
{
    size_t size = p->properties.len;
    size += form->topic_alias > 0 ? 3 : 0;
    size += p->has_expiry ? 5 : 0;
    for (uint32_t i = 0; i < form->subscription_identifier_count; i++)
        size += 1 + varint_size(form->subscription_identifiers[i]);
    return size;
}

/* Variable header: everything between the remaining length and the payload. */
static size_t form_size(const struct publication *p, const struct publish_form *form,
                        size_t properties)
{
    size_t size = 2 + (form->topic_left_out ? 0 : p->topic.len) + (form->qos > 0 ? 2 : 0);
    if (form->version == MQTT_V5)
        size += varint_size((uint32_t)properties) + properties;
    return size;
}

size_t publish_header_size(const struct publication *publication, const struct publish_form *form)
{
    size_t properties =
        form->version == MQTT_V5 ? form_properties_size(publication, form) : 0;
    size_t variable = form_size(publication, form, properties);
    return 1 + varint_size((uint32_t)(variable + publication->payload.len)) + variable;
}

static uint8_t *put_properties(uint8_t *out, const struct publication *p,
                               const struct publish_form *form, size_t size)
{
    out = varint_write(out, (uint32_t)size);
    if (p->has_expiry) {
        *out++ = PROPERTY_MESSAGE_EXPIRY_INTERVAL;
        out = put_u32(out, form->expiry_left_s);
    }
    if (form->topic_alias > 0) {
        *out++ = PROPERTY_TOPIC_ALIAS;
        out = put_u16(out, form->topic_alias);
    }
    for (uint32_t i = 0; i < form->subscription_identifier_count; i++) {
        *out++ = PROPERTY_SUBSCRIPTION_IDENTIFIER;
        out = varint_write(out, form->subscription_identifiers[i]);
    }
    return put_bytes(out, p->properties);
}

uint8_t *publish_header_encode(uint8_t *out, const struct publication *publication,
                               const struct publish_form *form)
{
    bool v5 = form->version == MQTT_V5;
    size_t properties = v5 ? form_properties_size(publication, form) : 0;
    size_t variable = form_size(publication, form, properties);
    uint8_t flags = (uint8_t)(form->qos << 1 | (form->retain ? PUBLISH_RETAIN : 0) |
                              (form->dup ? PUBLISH_DUP : 0));
    out = packet_begin(out, PACKET_PUBLISH, flags, variable + publication->payload.len);
    out = put_string(out, form->topic_left_out ? bytes_of("", 0) : publication->topic);
    if (form->qos > 0)
        out = put_u16(out, form->packet_id);
    return v5 ? put_properties(out, publication, form, properties) : out;
}

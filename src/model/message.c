/* SPDX-License-Identifier: Apache-2.0 */
#include "model/message.h"

#include "base/memory.h"

static struct bytes copy(uint8_t **to, struct bytes from)
{
    uint8_t *start = *to;
    if (from.len > 0)
        memcpy(start, from.data, from.len);
    *to = start + from.len;
    return bytes_of(start, from.len);
}

struct message *message_new(const struct publication *publication)
{
    size_t size = sizeof(struct message) + publication->topic.len + publication->properties.len +
                  publication->payload.len;
    struct message *message = size > UINT32_MAX ? NULL : mem_try(size);
    if (message == NULL)
        return NULL;
    atomic_init(&message->references, 1);
    message->size = (uint32_t)size;
    message->publication = *publication;
    uint8_t *to = message->data;
    message->publication.topic = copy(&to, publication->topic);
    message->publication.properties = copy(&to, publication->properties);
    message->publication.payload = copy(&to, publication->payload);
    return message;
}

void message_drop(struct message *message)
{
    if (message == NULL)
        return;
    /* release: our reads come before the free; acquire: the last one sees everybody's. */
    if (atomic_fetch_sub_explicit(&message->references, 1, memory_order_acq_rel) == 1)
        mem_free(message);
}

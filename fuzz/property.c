/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte says in which packet the block is. What is accepted survives being written again.
 */
#include "codec/property.h"
#include "base/check.h"
#include "codec/frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_user(const struct properties *p)
{
    struct bytes rest = p->user, name, value;
    size_t size = 0;
    uint32_t count = 0;
    while (properties_next_user(&rest, &name, &value)) {
        size += 5 + name.len + value.len;
        count++;
    }
    CHECK(size == properties_user_size(p->user));
    CHECK(count == properties_count(p->user, PROPERTY_USER_PROPERTY));
    CHECK((count > 0) == property_present(p, PROPERTY_USER_PROPERTY));
}

static void check_rewritten(const struct properties *p, size_t block, int where)
{
    size_t size = properties_size(p);
    CHECK(size <= block); /* shorter where a subscription identifier was repeated */
    uint8_t *first = malloc(size + 4), *second = malloc(size + 4);
    size_t len = (size_t)(properties_encode(first, p) - first);
    CHECK(len == size + varint_size((uint32_t)size));
    struct bytes in = bytes_of(first, len);
    struct properties again;
    CHECK(properties_decode(&in, where, &again) == MQTT_SUCCESS && in.len == 0);
    CHECK(again.present == p->present);
    CHECK((size_t)(properties_encode(second, &again) - second) == len);
    CHECK(memcmp(first, second, len) == 0);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    int where = data[0] % 16;
    struct bytes in = bytes_of(data + 1, size - 1);
    struct properties p;
    if (properties_decode(&in, where, &p) != MQTT_SUCCESS)
        return 0;
    uint8_t *forwarded = malloc(p.user.len + 1);
    CHECK(properties_forward(p.user, forwarded) <= p.user.len);
    free(forwarded);
    check_user(&p);
    check_rewritten(&p, p.user.len, where);
    return 0;
}

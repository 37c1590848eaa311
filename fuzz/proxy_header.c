/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of the PROXY protocol, of the input and of every beginning of it: an answer, once
 * there is one, must not change when more comes, and PROXY_V1_MAX bytes must be enough for one.
 */
#include "net/proxy_header.h"
#include "base/check.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header whole, part;
    enum proxy_result result = proxy_header_decode(bytes_of(data, size), &whole);

    CHECK(result != PROXY_MORE || size < PROXY_V1_MAX);
    CHECK((result == PROXY_REFUSED) == (whole.fault != NULL));
    CHECK(result != PROXY_DONE || (whole.size >= 15 && whole.size <= PROXY_HEADER_MAX));
    for (size_t len = 0; len < size && len < PROXY_V1_MAX; len++) {
        enum proxy_result early = proxy_header_decode(bytes_of(data, len), &part);
        CHECK(early == PROXY_MORE || early == result);
        if (early != PROXY_DONE)
            continue;
        CHECK(part.size == whole.size && part.client.family == whole.client.family);
        CHECK(part.client.port == whole.client.port);
        CHECK(memcmp(part.client.address, whole.client.address, sizeof(part.client.address)) == 0);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t bytes_hash(struct bytes a)
{
    return XXH3_64bits(a.data, a.len);
}

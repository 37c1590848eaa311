/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli), which RocksDB writes into its logs. Pure. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include "base/bytes.h"

/* Of the bytes behind those that `crc` is of; start with 0. */
uint32_t crc32c(uint32_t crc, struct bytes bytes);

/* As it stands in files: a sum over something that contains sums would be weak. */
static inline uint32_t crc32c_masked(uint32_t crc)
{
    return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

/* The polynomial 0x82F63B78 worked off four bits at a time. */
static const uint32_t nibbles[16] = {
    0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
    0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
};

static uint32_t by_table(uint32_t crc, const uint8_t *at, const uint8_t *end)
{
    for (; at < end; at++) {
        crc = nibbles[(crc ^ *at) & 15] ^ crc >> 4;
        crc = nibbles[(crc ^ *at >> 4) & 15] ^ crc >> 4;
    }
    return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t by_machine(uint32_t crc, const uint8_t *at,
                                                             const uint8_t *end)
{
    uint64_t wide = crc, word;
    for (; end - at >= 8; at += 8) {
        memcpy(&word, at, sizeof(word));
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; at < end; at++)
        crc = __builtin_ia32_crc32qi(crc, *at);
    return crc;
}
#endif

uint32_t crc32c(uint32_t crc, struct bytes bytes)
{
    if (bytes.len == 0)
        return crc;
    const uint8_t *end = bytes.data + bytes.len;
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return ~by_machine(~crc, bytes.data, end);
#endif
    return ~by_table(~crc, bytes.data, end);
}

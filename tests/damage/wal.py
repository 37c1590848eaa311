# SPDX-License-Identifier: Apache-2.0
"""The engine's log format, written down a second time: where records end, and how to add one.

A block of 32 KiB holds fragments: checksum (4), length (2), type (1), bytes. A record begins with its
sequence number (8) and its count (4).
"""

import struct

BLOCK, HEAD = 32 * 1024, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc):
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    """(begin, end, sequence, count) of each."""
    out, at, begin, head = [], 0, 0, b""
    while at + HEAD <= len(data):
        room = BLOCK - at % BLOCK
        if room < HEAD:
            at += room
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        body = data[at + HEAD:at + HEAD + length]
        if kind in (WHOLE, FIRST):
            begin, head = at, b""
        head += body[:12]
        at += HEAD + length
        if kind in (WHOLE, LAST):
            sequence, count = struct.unpack_from("<QI", head)
            out.append((begin, at, sequence, count))
    return out


def fragment(kind, body):
    return struct.pack("<IHB", masked(crc32c(bytes([kind]) + body)), len(body), kind) + body


def append_put(path, key, value):
    """One more change at the end of a log: a pair in the first family. It has to fit into the block."""
    data = path.read_bytes()
    last = records(data)[-1]
    assert BLOCK - len(data) % BLOCK > 200
    batch = struct.pack("<QI", last[2] + last[3], 1) + b"\x01" + bytes([len(key)]) + key
    path.write_bytes(data + fragment(WHOLE, batch + bytes([len(value)]) + value))

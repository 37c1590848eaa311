# SPDX-License-Identifier: Apache-2.0
"""Client ids by the shard they hash to: the late store answers each shard at a pace of its own."""

import collections
import itertools

SHARDS = 64  # the configuration's default
WORKERS = 2  # the kit's

_PRIMES = 2654435761, 2246822519, 3266489917, 668265263, 374761393
_numbers = itertools.count(1)
_recent = collections.deque(maxlen=8)  # an answer may still be due there


def _rotate(value, bits):
    return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF


def xxh32(text):
    """XXH32 with seed 0 of at most 15 bytes."""
    one, two, three, four, five = _PRIMES
    data = text.encode()
    assert len(data) < 16
    h = (five + len(data)) & 0xFFFFFFFF
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at:at + 4], "little")
        h = _rotate((h + word * three) & 0xFFFFFFFF, 17) * four & 0xFFFFFFFF
    for byte in data[whole:]:
        h = _rotate((h + byte * five) & 0xFFFFFFFF, 11) * one & 0xFFFFFFFF
    h = (h ^ h >> 15) * two & 0xFFFFFFFF
    h = (h ^ h >> 13) * three & 0xFFFFFFFF
    return h ^ h >> 16


def shard_of(client_id):
    return xxh32(client_id) % SHARDS


def client_id_of(pace=None, worker=None):
    """A new client id, on a shard that none of the last ones had. `pace`: its shard's commits take
    1 + pace delays (0 to 2); `worker`: its home (0 or 1)."""
    for number in _numbers:
        client_id = f"s{number:x}"
        shard = shard_of(client_id)
        if (shard not in _recent and pace in (None, shard % 3)
                and worker in (None, shard % WORKERS)):
            _recent.append(shard)
            return client_id


__all__ = ["client_id_of", "shard_of", "xxh32"]

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first inputs of the fuzz targets of packets and records to fuzz/corpus/.

In the texts below "0004 'MQTT' 05" stands for the bytes 00 04 4D 51 54 54 05, and [ ] for a block with
its length before it; the remaining length of a packet is put in behind its first byte.
"""

import pathlib
import re

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"

V3_PACKETS = {
    "connack": "20 0005",
    "publish_qos0": "30 0003'a/b' 'hello'",
    "publish_qos1": "33 0003'a/b' 0001 'hello'",
    "publish_qos2_dup": "3C 0007'caf' C3A9 '/x' FFFF",
    "puback": "40 0001",
    "pubrec": "50 0002",
    "pubrel": "62 0003",
    "pubcomp": "70 0004",
    "subscribe": "82 000A 0003'a/+' 01 0001'#' 02 0007'$SYS/#/' 00",
    "suback": "90 000A 000280",
    "unsubscribe": "A2 000B 0003'a/+' 0001'#'",
    "unsuback": "B0 000B",
    "pingreq": "C0",
    "pingresp": "D0",
    "disconnect": "E0",
}

PACKETS = {
    "packet_v31": V3_PACKETS | {
        "connect": "10 0006'MQIsdp' 03 02 003C 0002'id'",
        "connect_everything": "10 0006'MQIsdp' 03 EE 003C 0002'id' 0001't' 0001'm' 0001'u' 0001'p'",
        "connect_no_credentials": "10 0006'MQIsdp' 03 C2 003C 0002'id'",
        "subscribe_dup": "8A 0001 0001'a' 00",
    },
    "packet_v311": V3_PACKETS | {
        "connect": "10 0004'MQTT' 04 02 003C 0002'id'",
        "connect_everything": "10 0004'MQTT' 04 EE 003C 0002'id' 0001't' 0001'm' 0001'u' 0001'p'",
        "connect_bridge": "10 0004'MQTT' 84 02 003C 0002'id'",
    },
    "packet_v5": {
        "connect": "10 0004'MQTT' 05 02 003C [] 0000",
        "connect_everything":
            "10 0004'MQTT' 05 EE 003C [1100000E10 210014 2700010000 22000A 1901 1701"
            "260001'k'0001'v' 150005'SCRAM' 160002 00FF]"
            "0002'id' [1800000005 0101 020000003C 030001't' 080001'r' 090001 00 260001'a'0001'b']"
            "0001't' 0001'm' 0001'u' 0001'p'",
        "connack": "20 0100 []",
        "connack_everything":
            "20 0000 [1100000E10 210014 2401 2501 2700010000 120002'id' 22000A 1F0002'ok'"
            "260001'k'0001'v' 2801 2901 2A01 13003C 1A0001'r' 1C0001's' 150001'm' 160001 00]",
        "publish_qos0": "30 0003'a/b' [] 'hello'",
        "publish_everything":
            "3D 0003'a/b' 0001 [0101 020000003C 230005 080001'r' 090002 00FF 260001'k'0001'v'"
            "0B01 0BFFFFFF7F 030001't'] 'hello'",
        "publish_alias": "32 0000 0001 [230005] 'x'",
        "puback": "40 0001",
        "puback_reason": "40 0001 10",
        "pubrec_everything": "50 0001 87 [1F0003'why' 260001'k'0001'v']",
        "pubrel": "62 0001 92",
        "pubcomp": "70 0001 92 []",
        "subscribe": "82 000A [0BAC02] 0003'a/+' 2D 000B'$share/g/a/' 02",
        "suback": "90 000A [1F0003'why' 260001'k'0001'v'] 000287",
        "unsubscribe": "A2 000B [260001'k'0001'v'] 0003'a/+' 0001'#'",
        "unsuback": "B0 000B [] 0011",
        "pingreq": "C0",
        "pingresp": "D0",
        "disconnect": "E0",
        "disconnect_will": "E0 04",
        "disconnect_everything": "E0 9D [110000003C 1F0003'why' 1C0001's' 260001'k'0001'v']",
        "auth": "F0 18 [150001'm' 160001 00]",
        "auth_empty": "F0",
    },
}

# A size limit of two bytes before each.
FRAMES = {
    "publish": "FFFF 30 03 'abc'",
    "too_large": "0004 30 03 'abc'",
    "two_bytes": "FFFF 30 8101",
    "four_bytes": "FFFF 30 FFFFFF7F",
    "five_bytes": "FFFF 30 80808080 01",
    "not_shortest": "FFFF 30 8000",
}

# The packet type before each, 0 for the will.
PROPERTIES = {
    "empty": "01 []",
    "will": "00 [1800000005 0101 020000003C 030001't' 080001'r' 090001 00 260001'a'0001'b']",
    "connect": "01 [1100000E10 210014 2700010000 22000A 1901 1701 150001'm' 160001 00]",
    "connack": "02 [2401 2501 120002'id' 1F0002'ok' 2801 2901 2A01 13003C 1A0001'r' 1C0001's']",
    "publish": "03 [230005 0B01 0BFFFFFF7F 260001'k'0001'v']",
    "publish_wildcard": "03 [080001'+']",
    "subscribe": "08 [0BAC02]",
    "disconnect": "0E [110000003C]",
    "unknown": "01 [7F00]",
    "twice": "01 [210014 210014]",
}

TOPICS = {
    "plus": "'a/+/c' 0A 'a/b/c'",
    "hash": "'a/#' 0A 'a'",
    "all": "'#' 0A '/'",
    "hidden": "'+/x' 0A '$SYS/x'",
    "share": "'$share/g/a/#' 0A 'a/b'",
    "empty_levels": "'//+' 0A '///'",
    "not_ascii": "'caf' C3A9 '/+' 0A 'caf' C3A9 '/' E282AC",
    "zero": "'a' 00 0A 'a' 00",
    "long": "'aaaaaaaaaaaaaaaaaaaaaaaa/+' 0A 'aaaaaaaaaaaaaaaaaaaaaaaa/bbbbbbbbbbbb'",
}

# What it is before each: 0 a key, else a value in the order of the target's checks.
A_MESSAGE = "01 0D 0068E5CF8B010000 3C000000 BEBAFECA 0300 02000000 'a/b' 'pp' 'hello'"
RECORDS = {
    "key_session": "00 0102's' 0000000000000007",
    "key_subscription": "00 0001'u' 0000000000000007 'a/+'",
    "key_received": "00 0001'i' 0000000000000007 0100",
    "key_queued": "00 0001'q' 0000000000000007 00 0000000000000009",
    "key_high_water": "00 0001'h' 0003",
    "key_retained": "00 0001'r' 'a/b'",
    "key_meta": "00 FFFF'v'",
    "meta": "01 01000000 40000000 0700000000000000",
    "session": "02 01 01 0A000000 0000000000000000 0500000000000000 0300000000000000 'pump-7'",
    "subscription": "03 01 02 03 01 07000000",
    "message": "04" + A_MESSAGE,
    "message_expired": "04 01 0D 0000000000000000 3C000000 00000000 0100 00000000 't'",
    "will": "05 01 05000000" + A_MESSAGE,
    "queued": "06 01 01 0D 02 40000000 01000000 02000000 0300'g/a'" + A_MESSAGE,
    "queued_shared": "06 01 02 01 00 40000000 0900000000000000",
    "released": "06 01 03 02 00 00000000",
    "high_water": "07 01 0900000000000000",
    "high_water_short": "07 0900",
}

# Records behind one another, each behind its length; the top bit has the target mend the hash.
NO_HASH = "00000000000000000000000000000000"
CLAIM = "0043 01 03 0100 0100 0000 07000000 00000000 0000000000000000 0000000000000000" + NO_HASH + \
    "0500000000000000 0100000000000000 01 'a' 'x'"
BATCH = "8033 01 01 0100 0100 0000 07000000 00000000 0100000000000000 0100000000000000" + NO_HASH + "'one'"
PART_1 = "8032 01 01 0100 0200 0000 07000000 00000000 0100000000000000 0200000000000000" + NO_HASH + "'tw'"
PART_2 = "8031 01 01 0200 0200 0000 07000000 00000000 0100000000000000 0200000000000000" + NO_HASH + "'o'"
EMPTY = "8030 01 02 0100 0100 0000 07000000 00000000 0100000000000000 0300000000000000" + NO_HASH
RELEASE = "8030 01 04 0100 0100 0000 07000000 00000000 0100000000000000 0400000000000000" + NO_HASH
CHANGELOGS = {
    "claim": CLAIM,
    "batches": CLAIM + BATCH + PART_1 + PART_2 + EMPTY + RELEASE + CLAIM,
    "part_then_claim": CLAIM + BATCH + PART_1 + CLAIM,
    "wrong_hash": CLAIM + "00" + BATCH[2:],
}

V2 = "0D0A0D0A000D0A 'QUIT' 0A "
PROXY_HEADERS = {
    "line_tcp4": "'PROXY TCP4 192.0.2.1 198.51.100.7 54321 1883' 0D0A 10",
    "line_tcp6": "'PROXY TCP6 2001:db8::1 2001:db8::2 54321 1883' 0D0A",
    "line_unknown": "'PROXY UNKNOWN' 0D0A",
    "line_without_end": "'PROXY TCP4 192.0.2.1 198.51.100.7 54321 1883 " + "x" * 70 + "'",
    "local": V2 + "20000000",
    "ipv4": V2 + "2111000C C0000201 C6336407 D431 075B",
    "ipv4_tlv": V2 + "21110013 C0000201 C6336407 D431 075B 030004 'abcd' 10",
    "ipv6": V2 + "21210024" + 2 * " 20010DB8000000000000000000000001" + "D431 075B",
    "unix": V2 + "213100D8" + " '/run/x' 00",
    "command": V2 + "22110000",
    "mqtt": "10100004 'MQTT' 0402003C 0002'id'",
}


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def octets(text):
    outer, block = b"", None
    for quoted, pair, bracket in re.findall(r"'([^']*)'|([0-9A-F]{2})|([\[\]])", text):
        if bracket == "[":
            block = b""
        elif bracket == "]":
            outer, block = outer + varint(len(block)) + block, None
        else:
            data = bytes.fromhex(pair) if pair else quoted.encode()
            outer, block = (outer + data, None) if block is None else (outer, block + data)
    return outer


def packet(text):
    data = octets(text)
    return data[:1] + varint(len(data) - 1) + data[1:]


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def main():
    for target, packets in PACKETS.items():
        for name, text in packets.items():
            write(target, name, packet(text))
        write(target, "conversation", b"".join(packet(text) for text in packets.values()))
    tables = {"frame": FRAMES, "property": PROPERTIES, "topic_filter": TOPICS, "record": RECORDS,
              "changelog_record": CHANGELOGS,
              "proxy_header": PROXY_HEADERS}
    for target, texts in tables.items():
        for name, text in texts.items():
            write(target, name, octets(text))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Properties where they do not belong, twice, unknown, cut, and with lengths that lie."""

import pytest

from kit import V5, encode, unique, wire
from kit.wire import PROPERTIES, varint

from . import batch

VALUES = {"byte": b"\1", "two": b"\0\1", "four": b"\0\0\3\xe8", "string": b"\0\1a",
          "binary": b"\0\1a", "varint": b"\1", "pair": b"\0\1a\0\1b"}
UNKNOWN = [0x00, 0x04, 0x05, 0x07, 0x0A, 0x10, 0x14, 0x1B, 0x1D, 0x20, 0x2B, 0x7F]

PLACES = {
    "CONNECT": lambda raw: wire.connect(unique("p"), properties_raw=raw),
    "will": lambda raw: wire.connect(unique("p"), will=wire.Will("w", b"x", properties_raw=raw)),
    "PUBLISH": lambda raw: wire.publish("a", b"x", properties_raw=raw),
    "PUBACK": lambda raw: wire.puback(1, 0, properties_raw=raw),
    "PUBREC": lambda raw: wire.pubrec(1, 0, properties_raw=raw),
    "PUBREL": lambda raw: wire.pubrel(1, 0, properties_raw=raw),
    "PUBCOMP": lambda raw: wire.pubcomp(1, 0, properties_raw=raw),
    "SUBSCRIBE": lambda raw: wire.subscribe("a", properties_raw=raw),
    "UNSUBSCRIBE": lambda raw: wire.unsubscribe("a", properties_raw=raw),
    "DISCONNECT": lambda raw: wire.disconnect(0, properties_raw=raw),
}


def one(name):
    identifier, kind, _ = PROPERTIES[name]
    return bytes([identifier]) + VALUES[kind]


def judged(broker, connect, place, properties):
    """`properties`: {what: bytes, with their length in front}."""
    connected = place not in ("CONNECT", "will")
    cases = [batch.Case(f"{place} {what}", V5, encode(PLACES[place](raw), V5), connected)
             for what, raw in properties.items()]
    faults = batch.run(broker, cases, batch.Witness(connect))
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("place", PLACES)
def test_every_property_in_every_packet(broker, connect, place):
    """Once: right where the standard allows it. Twice: right for user properties only."""
    sent = {}
    for name in PROPERTIES:
        sent[name] = varint(len(one(name))) + one(name)
        sent[f"{name} twice"] = varint(2 * len(one(name))) + 2 * one(name)
    judged(broker, connect, place, sent)


@pytest.mark.parametrize("place", PLACES)
def test_unknown_properties(broker, connect, place):
    sent = {hex(number): varint(3) + bytes([number]) + b"\0\0" for number in UNKNOWN}
    sent["of two bytes"] = b"\x03\x80\x01\0"
    sent["of five bytes"] = b"\x06\x80\x80\x80\x80\x01\0"
    judged(broker, connect, place, sent)


@pytest.mark.parametrize("place", PLACES)
def test_properties_that_are_cut_short(broker, connect, place):
    """Every property, at every byte of it."""
    sent = {f"{name} of {end} bytes": varint(end) + one(name)[:end]
            for name in PROPERTIES for end in range(1, len(one(name)))}
    judged(broker, connect, place, sent)


@pytest.mark.parametrize("place", PLACES)
def test_lengths_of_properties_that_lie(broker, connect, place):
    sent = {f"{claim}": varint(claim) + one("user_property")
            for claim in (1, 6, 8, 9, 100, 127, 128, 16_384, 268_435_455)}
    sent["of five bytes"] = b"\x80\x80\x80\x80\x01"
    sent["without an end"] = b"\xff\xff\xff\xff"
    judged(broker, connect, place, sent)


def test_more_user_properties_than_allowed_end_the_connection(connect, topic, broker_with):
    broker = broker_with({"limits": {"user_properties": 10}})
    alice = connect(V5, broker=broker)
    alice.publish(topic, "x", 1, properties={"user_property": [("k", "v")] * 10})
    alice.send(wire.publish(topic, "x", 1, 9, properties={"user_property": [("k", "v")] * 11}))
    alice.expect_closed(0x97)

# SPDX-License-Identifier: Apache-2.0
"""Packets at the wrong time, with wrong flags, of sizes nobody has: each ends one connection."""

import pytest

from kit import V5, V311, encode, publish, unique, wire

from . import batch, packets

VERSIONS = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])


def judged(broker, connect, cases):
    faults = batch.run(broker, cases, batch.Witness(connect))
    assert not faults, "\n".join(faults)


@VERSIONS
def test_every_packet_before_connect(broker, connect, version):
    cases = [batch.Case(name, version, encode(packet, version), connected=False)
             for name, packet in packets.later(version).items()]
    judged(broker, connect, cases)


@VERSIONS
def test_every_type_with_every_flag(broker, connect, version):
    """Before CONNECT and after it, without a body."""
    cases = [batch.Case(f"{first:02x} {connected}", version, bytes([first, 0]), connected)
             for first in range(256) for connected in (False, True)]
    judged(broker, connect, cases)


@VERSIONS
def test_every_packet_with_every_flag(broker, connect, version):
    cases = [batch.Case(f"{name} {flags:x}", version, encode(packet.but(flags=flags), version))
             for name, packet in packets.later(version).items() for flags in range(16)]
    judged(broker, connect, cases)


@VERSIONS
def test_second_connect(broker, connect, version):
    """The same one, one of another client, one of another version."""
    cases = [batch.Case(f"{other}", version, encode(packets.connect(other), other))
             for other in (V311, V5) for _ in range(20)]
    judged(broker, connect, cases)


@VERSIONS
def test_bytes_that_are_no_mqtt(broker, connect, version):
    texts = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" * 20,
             b"SSH-2.0-x\r\n", b"\r\n\r\n", b"\0" * 100, b"\xff" * 100, b"AMQP\0\0\x09\x01"]
    judged(broker, connect, [batch.Case(f"{text[:8]}", version, text, connected)
                             for text in texts for connected in (False, True)])


@VERSIONS
@pytest.mark.parametrize("length", [b"\xff\xff\xff\x7f", b"\x81\x80\x80\x08"])
def test_packet_that_announces_more_than_the_limit(connect, topic, version, length):
    """Refused at once, not when 256 megabytes have come."""
    alice = connect(version)
    alice.send(publish(topic, "x").but(remaining_raw=length))
    alice.expect_closed(0x95)


@VERSIONS
def test_connect_that_announces_more_than_the_limit(dial, version):
    alice = dial(version)
    alice.send(wire.connect(unique()).but(remaining_raw=b"\xff\xff\xff\x7f"))
    alice.expect_refused()


@VERSIONS
@pytest.mark.parametrize("raw", [b"\x30\xff\xff\xff\xff", b"\x30\x80\x80\x80\x80\x01",
                                 b"\x82\xff\xff\xff\xff\xff"])
def test_length_that_does_not_end(connect, version, raw):
    alice = connect(version)
    alice.send(raw)
    alice.expect_closed({0x81, 0x95})


@VERSIONS
def test_lengths_inside_the_packet_that_lie(broker, connect, version):
    """Every two-byte length of every packet set to more, and to less, than there is."""
    cases = []
    for name in packets.names(version):
        raw = packets.encoded(version, name)
        for at in range(2, len(raw) - 1):
            for length in (0, 1, 0x7FFF, 0xFFFF):
                changed = bytearray(packets.encoded(version, name))
                changed[at:at + 2] = length.to_bytes(2, "big")
                if bytes(changed) != raw:
                    cases.append(batch.Case(f"{name} at {at}: {length}", version, bytes(changed),
                                            name != "CONNECT"))
    judged(broker, connect, cases)

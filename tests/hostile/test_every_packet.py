# SPDX-License-Identifier: Apache-2.0
"""Every packet type cut short at every byte, and with every byte replaced by every other value.

judge.py says what the standard makes of the result; the broker has to agree: the connection goes
on, or ends with the right reason code (5.0) or just so (3.1.1). Two other clients go on talking.
"""

import pytest

from kit import wire

from . import batch, packets


@pytest.fixture
def witness(connect):
    return batch.Witness(connect)


def body_of(raw):
    """What stands behind the fixed header; no packet here has more than two bytes of length."""
    return raw[2:] if raw[1] < 0x80 else raw[3:]


def judged(broker, witness, cases):
    faults = batch.run(broker, cases, witness)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("version,name", packets.ALL, ids=packets.IDS)
def test_cut_short_and_saying_so(broker, witness, version, name):
    """The remaining length is that of what is left."""
    cases = []
    for end in range(len(body_of(packets.encoded(version, name)))):
        raw = packets.encoded(version, name)
        body = body_of(raw)[:end]
        data = raw[:1] + wire.varint(len(body)) + body
        cases.append(batch.Case(f"{name} of {end} bytes", version, data, name != "CONNECT"))
    judged(broker, witness, cases)


@pytest.mark.parametrize("version,name", packets.ALL, ids=packets.IDS)
def test_cut_short_by_the_end_of_the_connection(broker, witness, dial, version, name):
    """Nothing is processed of it and nothing comes back."""
    raw = packets.encoded(version, name)
    for end in range(1, len(raw)):
        alice = dial(version)
        if name != "CONNECT":
            alice.connect()
        alice.send(raw[:end])
        alice.socket.shutdown(1)
        alice.expect_closed()
        alice.close()
    witness.check()


@pytest.mark.parametrize("version,name", packets.ALL, ids=packets.IDS)
def test_longer_by_a_byte(broker, witness, version, name):
    cases = []
    for byte in (0x00, 0x01, 0x26, 0xff):
        packet = packets.packet(version, name).but(tail=bytes([byte]))
        data = wire.encode(packet, version)
        cases.append(batch.Case(f"{name} and {byte:02x}", version, data, name != "CONNECT"))
    judged(broker, witness, cases)


@pytest.mark.parametrize("version,name", packets.ALL, ids=packets.IDS)
def test_each_byte_replaced_by_each_value(broker, witness, version, name):
    cases = []
    for at in range(len(packets.encoded(version, name))):
        for value in range(256):
            raw = bytearray(packets.encoded(version, name))
            if raw[at] != value:
                raw[at] = value
                cases.append(batch.Case(f"{name} byte {at} = {value:02x}", version, bytes(raw),
                                        name != "CONNECT"))
    judged(broker, witness, cases)

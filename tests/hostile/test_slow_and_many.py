# SPDX-License-Identifier: Apache-2.0
"""Senders of one byte at a time, receivers that never read, floods of connections.

Each time two witnesses go on talking, and the broker's memory comes back to where it was.
"""

import os
import socket
import time

import pytest

from kit import (PINGRESP, PUBACK, V5, V311, encode, patience, pingreq, publish, subscribe, unique,
                 wire)

from . import batch, packets

VERSIONS = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])

# Sanitizers take more memory, as they take more time.
TIMES = patience() / 5
SLACK_KB = 16_000 * TIMES  # what an allocator keeps for later
ANSWERS_KB = 20_000 * TIMES  # kept at most for a client that does not read them
PATIENT = 1.0 * TIMES  # seconds that a witness may wait at most


@pytest.fixture
def quiet_broker(broker_with):
    """One that these tests share with nobody, so that its memory tells something: small queues, and
    under AddressSanitizer little is kept of what was freed."""
    options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4"
    return broker_with({"queue": {"bytes_max": "4M", "publisher_pause_max": "200ms"}},
                       environment={"ASAN_OPTIONS": options})


@pytest.fixture
def witness(connect, quiet_broker):
    return batch.Witness(connect, quiet_broker)


class Memory:
    """Resident memory now, and whether it has come back to that."""

    def __init__(self, broker):
        self.broker, self.before = broker, broker.rss_kb()

    def grown_kb(self):
        return self.broker.rss_kb() - self.before

    def must_come_back(self, slack=SLACK_KB):
        deadline = time.monotonic() + patience()
        while self.grown_kb() > slack:
            assert time.monotonic() < deadline, f"{self.grown_kb()} KB more than before"
            time.sleep(0.05)


def flood(client, raw, total, witness):
    """Sends `raw` again and again, at most `total` bytes, until the broker stops reading for a
    second. Gives the bytes that went."""
    client.socket.setblocking(False)
    sent, part, last = 0, b"", time.monotonic()
    while sent < total and time.monotonic() - last < 1:
        part = part or raw
        try:
            count = client.socket.send(part)
        except BlockingIOError:
            witness.check()
            time.sleep(0.01)
            continue
        except (ConnectionResetError, BrokenPipeError):
            break
        sent, part, last = sent + count, part[count:], time.monotonic()
    return sent


def test_fifty_senders_of_one_byte_at_a_time(quiet_broker, dial, witness):
    clients = [dial(V5 if n % 2 else V311, broker=quiet_broker) for n in range(50)]
    streams = [encode(wire.connect(unique()), c.version) + encode(publish("a", b"x" * 40, 1, 7),
                                                                   c.version) for c in clients]
    for at in range(max(map(len, streams))):
        for client, stream in zip(clients, streams):
            client.send(stream[at:at + 1])
        witness.check()
    for client in clients:
        client.expect(wire.CONNACK, reason=0)
        client.expect(PUBACK, id=7)
    assert witness.slowest < PATIENT


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1])
def test_subscriber_that_never_reads(quiet_broker, connect, dial, witness, topic, version, qos):
    """64 megabytes for a client with a buffer of 4 KB: the queue's limit holds."""
    memory = Memory(quiet_broker)
    deaf = dial(version, broker=quiet_broker, receive_buffer=4096)
    deaf.connect()
    deaf.subscribe(topic, qos)
    alice = connect(V5, broker=quiet_broker)
    for n in range(64):
        alice.publish(topic, bytes(1 << 20), qos)
        if n % 8 == 0:
            witness.check()
    alice.barrier()
    assert memory.grown_kb() < 40_000 * TIMES
    deaf.close()
    alice.close()
    memory.must_come_back()
    assert witness.slowest < 3 * PATIENT


@VERSIONS
def test_publisher_that_never_reads_its_answers(quiet_broker, dial, witness, topic, version):
    """The broker stops reading from it rather than keep answers without end."""
    memory = Memory(quiet_broker)
    deaf = dial(version, broker=quiet_broker, receive_buffer=4096)
    deaf.connect()
    burst = b"".join(encode(publish(topic, b"", 1, 1 + n % 65535), version) for n in range(5000))
    flood(deaf, burst, 64 << 20, witness)
    assert memory.grown_kb() < ANSWERS_KB
    deaf.close()
    memory.must_come_back()


@pytest.mark.parametrize("packet", [pingreq(), subscribe("a" * 100), wire.unsubscribe("nothing")],
                         ids=["PINGREQ", "SUBSCRIBE", "UNSUBSCRIBE"])
def test_requests_of_a_client_that_never_reads_the_answers(quiet_broker, dial, witness, packet):
    memory = Memory(quiet_broker)
    deaf = dial(V311, broker=quiet_broker, receive_buffer=4096)
    deaf.connect()
    flood(deaf, encode(packet, V311) * 5000, 64 << 20, witness)
    assert memory.grown_kb() < ANSWERS_KB
    deaf.close()
    memory.must_come_back()
    assert witness.slowest < PATIENT


def test_retained_messages_for_clients_that_never_read(quiet_broker, connect, dial, witness,
                                                       topic):
    alice = connect(V5, broker=quiet_broker)
    for n in range(300):
        alice.publish(f"{topic}/{n}", bytes(50_000), 0, retain=True)
    alice.barrier()
    memory = Memory(quiet_broker)
    deaf = [dial(V311, broker=quiet_broker, receive_buffer=4096) for _ in range(20)]
    for client in deaf:
        client.connect()
        client.send(subscribe(f"{topic}/#", 1))
    for _ in range(20):
        witness.check()
        time.sleep(0.01)
    assert memory.grown_kb() < 150_000 * TIMES
    for client in deaf:
        client.close()
    memory.must_come_back()
    for n in range(300):
        alice.publish(f"{topic}/{n}", b"", 0, retain=True)
    alice.barrier()


def test_flood_of_connections_that_say_nothing(quiet_broker, witness):
    memory, descriptors = Memory(quiet_broker), quiet_broker.descriptors()
    opened = []
    for n in range(1500):
        opened.append(socket.create_connection(quiet_broker.address, patience()))
        if n % 100 == 0:
            witness.check()
    witness.check()
    for each in opened:
        each.close()
    deadline = time.monotonic() + patience()
    while quiet_broker.descriptors() > descriptors + 5:
        assert time.monotonic() < deadline, "connections stay open"
        time.sleep(0.02)
    memory.must_come_back()
    assert witness.slowest < PATIENT


def test_storm_of_clients_that_connect_and_vanish(quiet_broker, witness):
    """Each with a will and a subscription; half of them say good-bye."""
    memory = Memory(quiet_broker)
    for start in range(0, 2000, 100):
        some = []
        for n in range(start, start + 100):
            connection = socket.create_connection(quiet_broker.address, patience())
            packets = [wire.connect(unique("storm"), will=wire.Will("storm/gone", b"x" * 100)),
                       subscribe(f"storm/{n}/#", 1)] + ([wire.disconnect()] if n % 2 else [])
            connection.sendall(b"".join(encode(packet, V5) for packet in packets))
            some.append(connection)
        witness.check()
        for each in some:
            each.close()
    witness.check()
    memory.must_come_back()
    assert witness.slowest < PATIENT


def test_thousands_of_bad_packets_leave_nothing_behind(quiet_broker, witness):
    """Neither memory nor descriptors; the first round shows what is needed at all."""
    memory, descriptors = None, 0
    for _ in range(2):
        cases = []
        for version, name in packets.ALL:
            for at in range(len(packets.encoded(version, name))):
                raw = packets.encoded(version, name)
                bad = raw[:at] + bytes([raw[at] ^ 0xff]) + raw[at + 1:]
                cases.append(batch.Case(f"{name} {at}", version, bad, name != "CONNECT"))
        faults = batch.run(quiet_broker, cases, witness)
        assert not faults, "\n".join(faults)
        memory = memory or Memory(quiet_broker)
        descriptors = descriptors or quiet_broker.descriptors()
    memory.must_come_back()
    deadline = time.monotonic() + patience()
    while quiet_broker.descriptors() > descriptors + 5:
        assert time.monotonic() < deadline, "connections stay open"
        time.sleep(0.02)


@VERSIONS
def test_half_open_connects_are_closed_in_time(dial, broker_with, connect, version):
    broker = broker_with({"limits": {"connect_timeout": "500ms"}})
    raw = encode(wire.connect(unique()), version)
    clients = [dial(version, broker=broker) for _ in range(len(raw))]
    for end, client in enumerate(clients):
        client.send(raw[:end])
    for client in clients:
        client.expect_closed()
    connect(version, broker=broker).barrier()


def test_connections_above_the_limit_do_not_shut_others_out(dial, connect, broker_with):
    broker = broker_with({"limits": {"connections": 20, "connect_timeout": "500ms"}})
    alice = connect(V5, broker=broker)
    squatters = [dial(V5, broker=broker) for _ in range(60)]
    alice.barrier()
    for squatter in squatters:
        squatter.expect_closed()
        squatter.close()
    deadline = time.monotonic() + patience()
    newcomer = None
    while newcomer is None:  # what was closed a moment ago may still count
        try:
            newcomer = connect(V5, broker=broker)
        except AssertionError:
            assert time.monotonic() < deadline, "there is no room for anybody"


@VERSIONS
def test_filter_of_very_many_levels_is_refused(connect, dial, version):
    alice = connect(version)
    alice.send(subscribe("/" * 60_000, id=1))
    suback = alice.expect(wire.SUBACK, id=1)
    assert suback.codes == [0x97 if version == V5 else 0x80]


def test_hundred_thousand_subscriptions_of_one_client(quiet_broker, connect, witness, topic,
                                                      client_id):
    """They come and go with it, hold up nobody, and the second time costs no more memory."""
    memory = None
    for _ in range(2):
        alice = connect(V5, client_id=client_id, broker=quiet_broker)
        for start in range(0, 100_000, 2000):
            some = [f"{topic}/{n % 300}/+/{n}" for n in range(start, start + 2000)]
            alice.send(subscribe(some, id=1))
            witness.check()
            alice.expect(wire.SUBACK)
        alice.publish(f"{topic}/{99_999 % 300}/x/99999", "found", 1)
        alice.receive(payload="found")
        alice.disconnect()
        for _ in range(10):
            witness.check()
        memory = memory or Memory(quiet_broker)
    memory.must_come_back()
    assert witness.slowest < PATIENT


def test_pings_do_not_wait_behind_a_big_message(quiet_broker, connect, topic):
    """Nor does the broker choke on the biggest message it allows."""
    alice, bob = connect(V5, broker=quiet_broker), connect(V311, broker=quiet_broker)
    alice.subscribe(topic, 1)
    big = bytes((16 << 20) - 1000)
    alice.send(publish(topic, big, 0))
    for _ in range(20):
        bob.send(pingreq())
        bob.expect(PINGRESP, within=PATIENT)
    alice.receive(payload=big)

# SPDX-License-Identifier: Apache-2.0
"""Clients that do not read, or read slowly: the broker's memory stays within its limits, nobody
else is harmed, and what is dropped is counted."""

import contextlib
import socket
import threading
import time

import pytest

from kit import PINGRESP, V311, V5, encode, patience, pingreq, publish, subscribe
from kit.shards import client_id_of

KB64 = b"x" * 65_000

both_versions = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])


def _little():
    """What the broker may grow by, in the unit of rss_kb(). Sanitizers need more, as they do of time."""
    return 16 * 1024 * patience() / 5


@pytest.fixture
def tight(own_broker):
    """A broker that keeps 200 messages or 2 MB for a session and never slows a publisher."""
    return own_broker({"queue": {"messages_max": 200, "bytes_max": "2M", "slow_subscriber": "drop"},
                       "broker": {"sys_interval": "1s"}})


@pytest.fixture
def patient(own_broker):
    """A broker that slows publishers for a subscriber of which 1000 messages or 8 MB wait."""
    return own_broker({"workers": 1, "queue": {"messages_max": 1000, "bytes_max": "8M",
                                 "slow_subscriber": "pause_publisher", "publisher_pause_max": "4s"},
                       "broker": {"sys_interval": "1s"}})


@pytest.fixture
def deaf(dial):
    """deaf(broker, version, topic, qos): a subscriber that never reads again."""
    def start(broker, version, topic, qos=0):
        client = dial(version, broker=broker, receive_buffer=4096)
        client.connect()
        client.subscribe(topic, qos)
        return client
    return start


def _wait_for(client, name, wanted):
    """Until $SYS/skein/`name` is a number for which wanted(number)."""
    client.subscribe(f"$SYS/skein/{name}")
    while not wanted(int(client.receive(topic=f"$SYS/skein/{name}").payload)):
        pass


@contextlib.contextmanager
def _in_background(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    yield thread
    thread.join(4 * patience())
    assert not thread.is_alive(), "the publisher is still being held up"


def _pour(client, raw, seconds):
    """Sends `raw` over and over for at most so long, reading nothing; the bytes that were taken."""
    client.socket.settimeout(seconds / 4)
    sent, deadline = 0, time.monotonic() + seconds
    with contextlib.suppress(socket.timeout, BrokenPipeError, ConnectionResetError):
        while time.monotonic() < deadline:
            sent += client.socket.send(raw)
    return sent


# ---- subscribers that do not read --------------------------------------------------------------


@both_versions
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_subscriber_that_never_reads_costs_no_more_than_its_queue(tight, connect, deaf, topic,
                                                                    version, qos):
    deaf(tight, version, topic, qos)
    alice, bob = connect(version, broker=tight), connect(version, broker=tight)
    bob.subscribe(topic, 0)
    before = tight.rss_kb()
    for number in range(400):  # 26 MB
        alice.publish(topic, KB64, qos)
        bob.receive(payload=KB64)
    assert tight.rss_kb() < before + _little()


@both_versions
@pytest.mark.parametrize("qos, name", [(0, "publish_dropped_qos0_not_writable"),
                                       (1, "publish_dropped_queue_")])
def test_what_a_subscriber_that_never_reads_misses_is_counted(tight, connect, deaf, topic,
                                                              version, qos, name):
    deaf(tight, version, topic, qos)
    alice, watcher = connect(version, broker=tight), connect(version, broker=tight)
    for _ in range(200):  # 13 MB
        alice.publish(topic, KB64, qos)
    watcher.subscribe("$SYS/broker/publish/messages/dropped")
    while int(watcher.receive().payload) < 50:
        pass
    watcher.unsubscribe("$SYS/broker/publish/messages/dropped")
    watcher.subscribe("$SYS/skein/#")
    while not ((packet := watcher.receive()).topic.startswith(f"$SYS/skein/{name}")
               and int(packet.payload) >= 50):
        pass


def test_many_subscribers_that_never_read_share_one_copy(tight, connect, deaf, topic):
    for _ in range(20):
        deaf(tight, V5, topic, 1)
    alice = connect(V5, broker=tight)
    before = tight.rss_kb()
    for _ in range(200):
        alice.publish(topic, KB64, 1)
    # each may queue 2 MB, and these are the same 2 MB; the kernel keeps what is in its buffers
    assert tight.rss_kb() < before + 1.5 * _little()


def test_memory_comes_back_when_a_subscriber_that_never_read_goes(tight, connect, deaf, topic):
    bob, alice = deaf(tight, V5, topic, 1), connect(V5, broker=tight)
    for _ in range(100):
        alice.publish(topic, KB64, 1)
    _wait_for(alice, "queued_messages", lambda number: number > 0)
    bob.close()
    _wait_for(alice, "queued_messages", lambda number: number == 0)


@both_versions
def test_a_subscriber_that_reads_again_gets_what_was_queued_and_is_served(tight, connect, deaf,
                                                                          topic, version):
    bob, alice = deaf(tight, version, topic, 1), connect(version, broker=tight)
    for number in range(300):
        alice.publish(topic, str(number).encode().ljust(30_000, b" "), 1)
    bob.send(pingreq())
    numbers, answered = [], False
    with contextlib.suppress(AssertionError):  # when nothing comes any more
        while packet := bob.next_packet(within=patience() / 10 if answered else None):
            if packet.type == PINGRESP:
                answered = True
                continue
            numbers.append(int(packet.payload))
            bob.acknowledge(packet)
    assert answered
    assert numbers == sorted(set(numbers)) and numbers[:50] == list(range(50))
    assert len(numbers) < 300
    alice.publish(topic, "new", 1)
    bob.receive(payload="new")


def test_subscribers_that_read_get_everything_beside_one_that_does_not(tight, connect, deaf, topic):
    deaf(tight, V5, topic, 1)
    alice = connect(V5, broker=tight)
    readers = [connect(V5, broker=tight) for _ in range(4)]
    for qos, reader in enumerate(readers):
        reader.subscribe(topic, qos % 3)
    for number in range(200):
        alice.publish(topic, str(number).encode().ljust(30_000, b" "), 1)
        for reader in readers:
            assert int(reader.receive().payload) == number


# ---- publishers that are slowed ----------------------------------------------------------------


@pytest.mark.parametrize("version, qos", [(V311, 0), (V311, 1), (V5, 0)],
                         ids=["3.1.1-0", "3.1.1-1", "5.0-0"])
def test_a_slow_reader_gets_everything_when_publishers_are_paused(patient, connect, dial, topic,
                                                                  version, qos):
    bob = dial(version, broker=patient, receive_buffer=4096)
    bob.connect()
    bob.subscribe(topic, qos)
    alice = connect(version, broker=patient)
    count, before = 4000, patient.rss_kb()
    raw = b"".join(encode(publish(topic, str(n).encode().ljust(4000), qos, n + 1 if qos else None),
                          version) for n in range(count))  # 16 MB, twice the queue

    def pour():
        alice.socket.settimeout(8 * patience())
        alice.socket.sendall(raw)

    with _in_background(pour):
        for number in range(count):
            assert int(bob.receive().payload) == number
    assert patient.rss_kb() < before + _little()


@pytest.mark.parametrize("workers", [(0, 0), (1, 0)], ids=["same worker", "other worker"])
@pytest.mark.parametrize("size", [500, 4000])
def test_publishers_wait_for_a_reader_however_long_it_takes(own_broker, connect, dial, topic, size,
                                                            workers):
    """Nothing here depends on time: how far publishers get is for the queue to say, wherever its
    worker is and however seldom that gets to run."""
    broker = own_broker({"workers": 2, "queue": {"messages_max": 1000, "bytes_max": "8M",
                                                 "publisher_pause_max": "1h"},
                         "broker": {"sys_interval": "1s"}})
    bob = dial(V311, broker=broker, receive_buffer=4096)
    bob.connect(client_id_of(worker=workers[0]))
    bob.subscribe(topic)
    count, publishers = 8_000_000 // size, 4
    alices = [connect(V311, client_id_of(worker=workers[1]), broker=broker)
              for _ in range(publishers)]

    def pour(number):
        alices[number].socket.settimeout(8 * patience())
        alices[number].socket.sendall(b"".join(
            encode(publish(topic, f"{number} {n}".encode().ljust(size)), V311)
            for n in range(count // publishers)))

    watcher = connect(V311, broker=broker)
    with contextlib.ExitStack() as stack:
        for number in range(publishers):
            stack.enter_context(_in_background(pour, number))
        _wait_for(watcher, "publisher_pauses", lambda pauses: pauses > 0)
        next_of = [0] * publishers
        for _ in range(count):
            number, n = map(int, bob.receive().payload.split())
            assert n == next_of[number]
            next_of[number] += 1


def test_one_who_never_reads_slows_a_publisher_for_a_bounded_time(patient, connect, deaf, topic):
    deaf(patient, V5, topic, 0)
    alice, bob = connect(V5, broker=patient), connect(V5, broker=patient)
    bob.subscribe(f"{topic}/end")
    started = time.monotonic()
    for _ in range(300):  # 20 MB
        alice.publish(topic, KB64)
    alice.publish(f"{topic}/end")
    bob.receive(topic=f"{topic}/end", within=4 * patience())
    assert time.monotonic() - started < 2 * patience()


def test_pauses_are_counted(patient, connect, deaf, topic):
    deaf(patient, V5, topic, 0)
    alice, watcher = connect(V5, broker=patient), connect(V5, broker=patient)
    for _ in range(200):
        alice.publish(topic, KB64)
    _wait_for(watcher, "publisher_pauses", lambda number: number > 0)


def test_a_publisher_of_other_topics_is_not_paused(patient, connect, deaf, topic):
    deaf(patient, V5, topic, 0)
    alice, carol, bob = (connect(V5, broker=patient) for _ in range(3))
    bob.subscribe(f"{topic}/other", 1)
    for _ in range(10):
        alice.send(*[publish(topic, KB64)] * 10)
        started = time.monotonic()
        carol.publish(f"{topic}/other", "m", 1)
        bob.receive(payload="m")
        assert time.monotonic() - started < patience() / 5


# ---- clients that ask and do not listen --------------------------------------------------------


@pytest.mark.parametrize("name", ["PINGREQ", "PUBLISH", "SUBSCRIBE"])
def test_one_who_asks_and_never_reads_the_answers_costs_little(tight, connect, dial, name):
    packet = {"PINGREQ": pingreq(), "PUBLISH": publish("t", "", 1, 7), "SUBSCRIBE": subscribe("t")}
    raw = encode(packet[name], V311) * 10_000
    mallory = dial(V311, broker=tight, receive_buffer=4096)
    mallory.connect()
    before = tight.rss_kb()
    _pour(mallory, raw, 1.5)
    connect(V5, broker=tight).barrier()
    assert tight.rss_kb() < before + _little()


def test_one_who_asks_for_large_retained_messages_and_never_reads_costs_little(tight, connect, dial,
                                                                               topic):
    alice = connect(V5, broker=tight)
    for number in range(10):
        alice.publish(f"{topic}/{number}", b"x" * 500_000, 1, retain=True)
    mallory = dial(V311, broker=tight, receive_buffer=4096)
    mallory.connect()
    before = tight.rss_kb()
    mallory.send(*[subscribe(f"{topic}/#", 1, id=n) for n in range(1, 101)])  # 500 MB asked for
    alice.barrier()
    connect(V5, broker=tight).barrier()
    assert tight.rss_kb() < before + _little()


def test_a_paused_connection_is_closed_when_its_client_goes(tight, connect, deaf, topic):
    before = tight.descriptors()
    clients = [deaf(tight, V5, topic, 1) for _ in range(5)]
    alice = connect(V5, broker=tight)
    for _ in range(50):
        alice.publish(topic, KB64, 1)
    for client in [*clients, alice]:
        client.close()
    deadline = time.monotonic() + patience()
    while tight.descriptors() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)

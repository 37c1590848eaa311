# SPDX-License-Identifier: Apache-2.0
"""Who is gone when the store answers harms nobody. Under AddressSanitizer these mean most."""

import time

import pytest

from kit import CONNACK, PUBACK, V5, V311, Closed, Will, patience, publish, subscribe, wire

from .conftest import store
from kit.shards import client_id_of

WORKERS = pytest.mark.parametrize("worker", [0, 1], ids=["same worker", "other worker"])


@WORKERS
@pytest.mark.parametrize("how", ["close", "disconnect", "fault"])
def test_publisher_that_goes_while_acknowledgements_are_owed(late, durable, clean, topic, worker,
                                                             how):
    bob = durable(late, worker=0)
    bob.subscribe(topic, 2)
    last = None
    for number in range(10):
        alice = clean(late, worker=worker)
        alice.send(publish(topic, f"{number}", 1, 1), publish(topic, f"{number}", 2, 2))
        if how == "disconnect":
            alice.send(wire.disconnect())
        elif how == "fault":
            alice.send(b"\xff\0")
        alice.close() if how == "close" else alice.expect_closed()
        last = number
    for number in range(last + 1):
        for _ in range(2):
            bob.receive(payload=f"{number}")
    clean(late, worker=worker).publish(topic, "after", 1)
    bob.receive(payload="after")


def test_durable_publisher_that_goes_and_comes_back(late, durable, topic):
    client_id = client_id_of(pace=2)
    for number in range(5):
        alice = durable(late, client_id=client_id)
        alice.send(publish(topic, "", 2, number + 1), subscribe(topic, 1, 100 + number))
        alice.close()
    durable(late, client_id=client_id).barrier()


@WORKERS
@pytest.mark.parametrize("end", ["clean start", "expiry"])
def test_subscriber_whose_session_ends_before_the_store_answers(late, durable, clean, connect,
                                                                topic, worker, end):
    alice = clean(late, worker=worker)
    bob = durable(late, pace=2, worker=0)
    bob.subscribe(topic, 1)
    alice.send(publish(topic, "1", 1, 1))
    bob.expect(wire.PUBLISH, payload="1")
    if end == "clean start":
        connect(V5, bob.client_id, broker=late)
    else:
        bob.disconnect(properties={"session_expiry_interval": 0})
    alice.expect(PUBACK, id=1)
    alice.publish(topic, "2", 1)


def test_client_that_goes_before_its_connack(late, durable):
    client_id = client_id_of(pace=2)
    for _ in range(20):
        client = late.client(V311)
        client.send(wire.connect(client_id, clean_start=False, will=Will("will", b"gone")))
        client.close()
    deadline = time.monotonic() + patience()
    while True:  # one of them may be read only now, and take the session over
        try:
            durable(late, V311, client_id=client_id).barrier()
            return
        except Closed:
            assert time.monotonic() < deadline


def test_will_of_a_client_that_goes_reaches_durable_subscribers(late, durable, clean, topic):
    bob, alice = durable(late), clean(late, will=Will(topic, b"gone", 1))
    bob.subscribe(topic, 1)
    alice.close()
    bob.receive(payload="gone")


@WORKERS
def test_stop_while_acknowledgements_are_owed(own_broker, durable, clean, topic, worker):
    broker = own_broker({}, **store(200))
    bob, alice = durable(broker, pace=2, worker=0), clean(broker, worker=worker)
    bob.subscribe(topic, 1)
    alice.send(*[publish(topic, f"{number}", 1, number) for number in range(1, 50)])
    late_one = broker.client(V311)
    late_one.send(wire.connect(client_id_of(pace=2), clean_start=False))
    bob.receive(payload="1")
    start = time.monotonic()
    broker.stop()
    assert time.monotonic() - start < 2 * patience()
    late_one.close()


def test_stop_does_not_wait_for_a_store_that_does_not_answer(own_broker):
    broker = own_broker({}, **store(60_000))
    client = broker.client(V311)
    client.send(wire.connect(client_id_of(), clean_start=False))
    client.expect_nothing(50)
    start = time.monotonic()
    broker.stop()
    assert time.monotonic() - start < 2 * patience()
    client.close()


def test_hundred_clients_that_come_and_go_leave_nothing_behind(late, durable, clean, topic):
    bob = durable(late)
    bob.subscribe(f"{topic}/#", 1)
    before = late.descriptors()
    for number in range(100):
        alice = late.client(V311 if number % 2 else V5)
        alice.send(wire.connect(client_id_of(), clean_start=number % 3 > 0),
                   *[publish(f"{topic}/{n}", "", n % 3, n or None) for n in range(1, 10)])
        if number % 4:
            alice.expect(CONNACK, reason=0)
        alice.close()
    deadline = time.monotonic() + patience()
    while late.descriptors() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    clean(late).publish(f"{topic}/after", "after", 1)

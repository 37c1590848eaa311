# SPDX-License-Identifier: Apache-2.0
"""SIGTERM with clients of every mood: the broker says good-bye and ends in time, exit code 0."""

import signal
import time

import pytest

from kit import PUBLISH, V5, V311, Will, patience, pingreq, publish, wire

AT_ONCE = 0.6 * patience()  # seconds
LONGEST = 5 + AT_ONCE  # broker.drain_timeout is 5


def stop(broker):
    """Gives the seconds it took. Broker.stop() asserts exit code 0."""
    start = time.monotonic()
    broker.stop()
    return time.monotonic() - start


@pytest.mark.parametrize("count", [1, 3, 100])
def test_clients_are_told_and_the_broker_ends_at_once(own_broker, connect, count):
    """Although they leave their side of the connection open."""
    broker = own_broker()
    five = [connect(V5, broker=broker) for _ in range(count)]
    three = [connect(V311, broker=broker) for _ in range(count)]
    broker.terminate()
    for client in five:
        client.expect_closed(0x8B)
    for client in three:
        client.expect_closed()
    assert stop(broker) < AT_ONCE


def test_clients_over_websocket_are_told(own_broker, connect):
    broker = own_broker()
    client = connect(V5, broker=broker, websocket=True)
    broker.terminate()
    client.expect_closed(0x8B)
    assert stop(broker) < AT_ONCE


def test_connections_without_connect_hold_nothing_up(own_broker, dial):
    broker = own_broker()
    silent = [dial(V5, broker=broker) for _ in range(20)]
    silent[0].send(b"\x10\x20\0\4MQ")
    assert stop(broker) < LONGEST
    for client in silent:
        client.expect_closed()


def test_clients_that_do_not_read_hold_it_up_no_longer_than_the_limit(own_broker, connect, dial):
    broker = own_broker({"broker": {"drain_timeout": "1s"}})
    deaf = dial(V311, broker=broker, receive_buffer=4096)
    deaf.connect()
    deaf.subscribe("flood")
    alice = connect(V311, broker=broker)
    for _ in range(64):
        alice.publish("flood", b"x" * 100_000)
    alice.barrier()
    assert stop(broker) < 1 + AT_ONCE


def test_what_is_under_way_is_written_before_the_end(own_broker, connect):
    broker = own_broker()
    alice, bob = connect(V5, broker=broker), connect(V5, broker=broker)
    bob.subscribe("a", 0)
    alice.send(*[publish("a", f"{n}") for n in range(500)], pingreq())
    alice.expect(wire.PINGRESP)
    broker.terminate()
    for n in range(500):
        bob.expect(PUBLISH, payload=f"{n}")
    bob.expect_closed(0x8B)


def test_second_sigterm_changes_nothing(own_broker, connect):
    broker = own_broker()
    client = connect(V5, broker=broker)
    broker.terminate()
    broker.terminate()
    client.expect_closed(0x8B)
    assert stop(broker) < AT_ONCE


def test_stop_while_clients_come_and_go(own_broker, dial):
    broker = own_broker()
    clients = [dial(V5, broker=broker) for _ in range(60)]
    for number, client in enumerate(clients):
        client.send(wire.connect("", keep_alive=60, will=Will("w", b"gone")))
        if number % 3 == 0:
            client.close()
    assert stop(broker) < LONGEST


def test_sighup_is_survived(own_broker, connect):
    broker = own_broker()
    client = connect(V5, broker=broker)
    broker.process.send_signal(signal.SIGHUP)
    client.barrier()

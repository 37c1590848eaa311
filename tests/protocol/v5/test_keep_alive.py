# SPDX-License-Identifier: Apache-2.0
"""Keep alive (3.1.2.10): the client's, or the server's where that is shorter."""

import time

import pytest

from kit import PINGRESP, V5, Will, encode, patience, pingreq, publish

KEEP_ALIVE_TIMEOUT = 0x8D


@pytest.mark.rule("v5 MQTT-3.1.2-22", "v5 MQTT-3.2.2-22")
def test_a_silent_client_is_disconnected_after_one_and_a_half_keep_alives(connect):
    tireless = connect(V5, keep_alive=0)
    before = time.monotonic()
    alice = connect(V5, keep_alive=1)
    assert "server_keep_alive" not in alice.connack.properties
    alice.expect_closed(KEEP_ALIVE_TIMEOUT)
    assert 1.4 <= time.monotonic() - before <= 0.6 * patience()
    tireless.barrier()


@pytest.mark.rule("v5 MQTT-3.1.2-22", "v5 MQTT-3.1.2-8")
def test_the_will_of_a_client_that_fell_silent_is_published(connect, topic):
    watcher = connect(V5)
    watcher.subscribe(topic)
    connect(V5, keep_alive=1, will=Will(topic, "silent"))
    watcher.receive(payload="silent")


@pytest.mark.rule("v5 MQTT-3.1.2-22", "v5 MQTT-3.1.2-20")
@pytest.mark.parametrize("packet", [pingreq(), publish("keep/alive")], ids=["pingreq", "publish"])
def test_any_packet_keeps_a_client_alive(connect, packet):
    alice = connect(V5, keep_alive=1)
    for _ in range(3):
        time.sleep(0.7)
        alice.send(packet)
    alice.send(pingreq())
    alice.wait_for(PINGRESP)


@pytest.mark.rule("v5 MQTT-3.1.2-22")
def test_what_the_server_sends_does_not_keep_a_client_alive(connect, topic):
    alice, bob = connect(V5, keep_alive=1), connect(V5)
    alice.subscribe(topic)
    ends = time.monotonic() + 1.2
    while time.monotonic() < ends:
        bob.publish(topic)
        alice.receive()
        time.sleep(0.1)
    alice.expect_closed(KEEP_ALIVE_TIMEOUT, within=0.3 * patience())


@pytest.mark.rule("v5 MQTT-3.1.2-22")
def test_a_packet_that_is_never_complete_does_not_keep_a_client_alive(connect, topic):
    alice = connect(V5, keep_alive=1)
    slow = encode(publish(topic, "x" * 100), V5)
    for at in range(12):
        alice.send(slow[at:at + 1])
        time.sleep(0.1)
    alice.expect_closed(KEEP_ALIVE_TIMEOUT, within=0.3 * patience())


@pytest.mark.rule("v5 MQTT-3.1.2-21", "v5 MQTT-3.2.2-21", "v5 MQTT-3.1.2-22")
@pytest.mark.parametrize("keep_alive", [0, 600])
def test_the_servers_keep_alive_holds_for_a_client_that_asks_for_a_longer_one(
        broker_with, connect, keep_alive):
    broker = broker_with({"mqtt": {"keep_alive_max": "1s"}})
    before = time.monotonic()
    alice = connect(V5, broker=broker, keep_alive=keep_alive)
    assert alice.connack.properties.get("server_keep_alive") == 1
    alice.expect_closed(KEEP_ALIVE_TIMEOUT)
    assert 1.4 <= time.monotonic() - before <= 0.6 * patience()


@pytest.mark.rule("v5 MQTT-3.2.2-22")
def test_a_keep_alive_within_the_servers_is_left_to_the_client(broker_with, connect):
    broker = broker_with({"mqtt": {"keep_alive_max": "100s"}})
    alice = connect(V5, broker=broker, keep_alive=1)
    assert "server_keep_alive" not in alice.connack.properties
    alice.expect_closed(KEEP_ALIVE_TIMEOUT)

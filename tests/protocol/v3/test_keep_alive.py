# SPDX-License-Identifier: Apache-2.0
"""Keep alive. Its shortest value is a second, so these tests take their time, side by side."""

import time

import pytest

from kit import V311, Will, patience, pingreq, publish

UPPER = 3.5 * patience() / 5  # seconds: 1.5 and a margin


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-24", "v3.1.1 MQTT-3.1.2-8")
def test_silence_of_one_and_a_half_keep_alives_ends_the_connection(connect, topic):
    """Not earlier, and as if the network had failed: with its will."""
    bob = connect(V311)
    bob.subscribe(topic)
    alice = connect(V311, keep_alive=1, will=Will(topic, "gone"))
    start = time.monotonic()
    alice.expect_closed()
    assert 1.4 <= time.monotonic() - start <= UPPER
    bob.receive(payload="gone")


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-24", "v3.1.1 MQTT-3.1.2-23")
@pytest.mark.parametrize("packet", [pingreq(), publish("kit/keep-alive", "x")],
                         ids=["PINGREQ", "PUBLISH"])
def test_any_packet_counts_for_keep_alive(connect, packet):
    alice = connect(V311, keep_alive=1)
    for _ in range(5):
        time.sleep(0.6)
        alice.send(packet)
    alice.barrier()


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-24")
def test_what_the_broker_sends_does_not_count_for_keep_alive(connect, topic):
    alice, bob = connect(V311), connect(V311, keep_alive=1)
    bob.subscribe(topic)
    start = time.monotonic()
    while time.monotonic() - start < 1.3:
        alice.publish(topic, "x")
        bob.receive(payload="x")
        time.sleep(0.1)
    bob.expect_closed()
    assert time.monotonic() - start < UPPER


@pytest.mark.rule("v3.1.1 MQTT-3.1.2-24")
def test_part_of_a_packet_does_not_count_for_keep_alive(connect):
    """A control packet counts when it is there, not while it drips."""
    alice = connect(V311, keep_alive=1)
    start = time.monotonic()
    for byte in b"\x30\x40\x00\x01a":
        alice.send(bytes([byte]))
        time.sleep(0.25)
    alice.expect_closed()
    assert time.monotonic() - start < UPPER


@pytest.mark.rule("X3.1.1-3.1.2.10-1")
def test_keep_alive_0_switches_the_timeout_off(connect):
    alice = connect(V311, keep_alive=0)
    time.sleep(2.5)
    alice.expect_quiet()

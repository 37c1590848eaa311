# SPDX-License-Identifier: Apache-2.0
"""Message expiry interval (3.3.2.3.3): counted down while a message waits, then it goes."""

import time

import pytest

from kit import PUBLISH, SUBACK, V5, puback, publish, subscribe

KEPT = {"session_expiry_interval": 60}


@pytest.fixture
def away(connect, client_id, topic):
    """A session that subscribes to the topic and whose client is not here."""
    alice = connect(V5, client_id, properties=KEPT)
    alice.subscribe(topic, qos=1)
    alice.disconnect()
    return client_id


@pytest.mark.rule("v5 MQTT-3.3.2-5")
def test_a_message_that_waited_too_long_is_not_delivered(connect, away, topic):
    bob = connect(V5)
    bob.publish(topic, "expires", qos=1, properties={"message_expiry_interval": 1})
    bob.publish(topic, "stays", qos=1)
    time.sleep(1.1)
    alice = connect(V5, away, clean_start=False)
    alice.receive(payload="stays")
    alice.quiet_after(bob)


@pytest.mark.rule("v5 MQTT-3.3.2-5")
def test_a_message_that_waited_for_the_window_expires_too(connect, topic):
    alice, bob = connect(V5, properties={"receive_maximum": 1}), connect(V5)
    alice.subscribe(topic, qos=1)
    bob.publish(topic, "sent", qos=1)
    bob.publish(topic, "expires", qos=1, properties={"message_expiry_interval": 1})
    bob.publish(topic, "stays", qos=1)
    number = alice.expect(PUBLISH, payload="sent").id
    time.sleep(1.1)
    alice.send(puback(number))
    alice.receive(payload="stays")


@pytest.mark.rule("v5 MQTT-3.3.2-5")
def test_a_message_with_time_left_is_delivered(connect, away, topic):
    connect(V5).publish(topic, "x", qos=1, properties={"message_expiry_interval": 30})
    connect(V5, away, clean_start=False).receive(payload="x")


@pytest.mark.rule("v5 MQTT-3.3.2-6")
def test_the_interval_sent_is_the_one_received_less_the_wait(connect, away, topic):
    before = time.monotonic()
    connect(V5).publish(topic, "x", qos=1, properties={"message_expiry_interval": 100})
    time.sleep(1.2)
    packet = connect(V5, away, clean_start=False).receive(payload="x")
    waited = time.monotonic() - before
    assert 99 - waited <= packet.properties.get("message_expiry_interval") <= 99


@pytest.mark.rule("v5 MQTT-3.3.2-6")
def test_the_interval_of_a_retained_message_is_counted_down(connect, topic):
    before = time.monotonic()
    connect(V5).publish(topic, "x", qos=1, retain=True, properties={"message_expiry_interval": 100})
    time.sleep(1.2)
    alice = connect(V5)
    alice.subscribe(topic)
    packet = alice.receive(payload="x")
    waited = time.monotonic() - before
    assert 99 - waited <= packet.properties.get("message_expiry_interval") <= 99


@pytest.mark.rule("v5 MQTT-3.3.2-6")
@pytest.mark.parametrize("interval", [10, 0xFFFF_FFFF])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_that_does_not_wait_keeps_its_interval(connect, topic, interval, qos):
    alice = connect(V5)
    alice.subscribe(topic, qos)
    connect(V5).publish(topic, "x", qos=qos, properties={"message_expiry_interval": interval})
    packet = alice.receive(payload="x")
    assert packet.properties.get("message_expiry_interval") in (interval, interval - 1)


@pytest.mark.rule("v5 MQTT-3.3.2-6")
def test_a_message_without_an_interval_gets_none(connect, away, topic):
    connect(V5).publish(topic, "x", qos=1)
    packet = connect(V5, away, clean_start=False).receive(payload="x")
    assert "message_expiry_interval" not in packet.properties


@pytest.mark.rule("v5 MQTT-3.3.2-5", "v5 MQTT-3.3.1-9")
def test_a_retained_message_with_time_left_is_there_for_the_subscribe_behind_it(connect, topic):
    alice = connect(V5)
    time.sleep(0.05)  # the broker has nothing to do and may not look at its clock
    alice.send(publish(topic, "x", retain=True, properties={"message_expiry_interval": 100}),
               subscribe(topic, id=7))
    alice.expect(SUBACK, id=7)
    alice.expect(PUBLISH, payload="x", retain=True)


@pytest.mark.rule("v5 MQTT-3.3.2-5")
def test_a_message_with_time_left_that_waited_for_the_window_is_sent(connect, topic):
    alice = connect(V5, properties={"receive_maximum": 1})
    alice.subscribe(topic, qos=1)
    alice.publish(topic, "first", qos=1)
    number = alice.expect(PUBLISH, payload="first").id
    time.sleep(0.05)  # as above
    alice.send(publish(topic, "x", qos=1, id=7, properties={"message_expiry_interval": 100}),
               puback(number))
    alice.wait_for(PUBLISH, payload="x")

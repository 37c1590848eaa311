# SPDX-License-Identifier: Apache-2.0
"""SUBSCRIBE and SUBACK."""

import pytest

from kit import PUBACK, SUBACK, V311, publish, subscribe, wire


@pytest.mark.rule("v3.1.1 MQTT-3.8.3-2")
@pytest.mark.parametrize("name", ["#", "a/+", "+/b"])
def test_wildcard_filter_is_refused_by_0x80_where_there_are_none(connect, broker_with, name):
    broker = broker_with({"mqtt": {"wildcard_available": False}})
    alice = connect(V311, broker=broker)
    alice.send(subscribe([name, "plain"], 1, 3))
    alice.expect(SUBACK, id=3, codes=[0x80, 1])


@pytest.mark.rule("v3.1.1 MQTT-3.8.3-3")
def test_subscribe_without_a_filter_ends_the_connection(connect):
    alice = connect(V311)
    alice.send(subscribe([]))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.8.3-4")
@pytest.mark.parametrize("options", [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff])
def test_reserved_bits_or_qos_3_end_the_connection(connect, topic, options):
    alice = connect(V311)
    alice.send(subscribe([(topic, options)]))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.8.3-4")
def test_one_bad_qos_among_good_ones_ends_the_connection(connect, topic):
    alice = connect(V311)
    alice.send(subscribe([(topic, 1), (topic + "/x", 3)]))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.8.3-3", "v3.1.1 MQTT-4.8.0-1")
@pytest.mark.parametrize("body", [
    b"", b"\0", b"\0\1\0", b"\0\1\0\1a", b"\0\1\0\5a\1", b"\0\1\0\1a\0\0\1b"],
    ids=["empty", "half an id", "half a length", "no QoS", "cut short", "second without QoS"])
def test_subscribe_that_is_cut_short_ends_the_connection(connect, body):
    alice = connect(V311)
    alice.send(subscribe("a").but(body=body))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-3.8.4-1", "v3.1.1 MQTT-3.8.4-2")
def test_each_subscribe_has_its_suback(connect, topic):
    alice = connect(V311)
    alice.send(*[subscribe(f"{topic}/{n}", id=n) for n in (5, 9, 2)])
    for number in (5, 9, 2):
        alice.expect(SUBACK, id=number, codes=[0])


@pytest.mark.rule("v3.1.1 MQTT-3.8.4-3")
def test_same_filter_again_replaces_the_subscription(connect, topic):
    """Its QoS changes, up and down, and there is one copy."""
    alice, bob = connect(V311), connect(V311)
    for qos in (0, 2, 1):
        bob.subscribe(topic, qos)
        alice.publish(topic, f"{qos}", 2)
        bob.receive(payload=f"{qos}", qos=qos)
        bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-3.8.4-3")
def test_same_filter_again_sends_the_retained_messages_again(connect, topic):
    alice, bob = connect(V311), connect(V311)
    alice.publish(topic, "kept", 1, retain=True)
    for _ in range(2):
        bob.subscribe(topic, 1)
        bob.receive(payload="kept", retain=True)
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-3.8.4-3")
def test_same_filter_again_interrupts_nothing(connect, topic):
    alice = connect(V311)
    alice.subscribe(topic, 1)
    packets = []
    for n in range(8):
        packets += [publish(topic, f"{n}", 1, 100 + n), subscribe(topic, 1, 200 + n)]
    alice.send(*packets)
    for n in range(8):
        alice.wait_for(PUBACK, id=100 + n)
        alice.wait_for(SUBACK, id=200 + n)
    for n in range(8):
        alice.receive(payload=f"{n}", qos=1)
    alice.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-3.8.4-4", "v3.1.1 MQTT-3.8.4-5", "v3.1.1 MQTT-3.9.3-1")
def test_subscribe_with_several_filters_has_one_suback_with_a_code_each(connect, topic):
    alice, bob = connect(V311), connect(V311)
    qos = [2, 0, 1, 1, 0, 2]
    suback = bob.subscribe([(f"{topic}/{n}", q) for n, q in enumerate(qos)])
    assert suback.codes == qos
    for n, q in enumerate(qos):
        alice.publish(f"{topic}/{n}", f"{n}", 2)
        bob.receive(payload=f"{n}", qos=q)


@pytest.mark.rule("v3.1.1 MQTT-3.8.4-4")
def test_same_filter_twice_in_one_subscribe_is_one_subscription(connect, topic):
    """As two SUBSCRIBEs in sequence: the later one holds."""
    alice, bob = connect(V311), connect(V311)
    assert bob.subscribe([(topic, 0), (topic, 1)]).codes == [0, 1]
    alice.publish(topic, "x", 2)
    bob.receive(payload="x", qos=1)
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-3.8.4-6")
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_message_goes_out_at_the_lower_qos(connect, topic, published, granted):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(topic, granted)
    alice.publish(topic, "x", published)
    bob.receive(payload="x", qos=min(published, granted))


@pytest.mark.rule("v3.1.1 MQTT-3.8.4-6", "v3.1.1 MQTT-3.8.4-5")
def test_broker_may_grant_a_lower_qos_than_asked_for(connect, topic, broker_with):
    broker = broker_with({"mqtt": {"qos_max": 1}})
    alice, bob = connect(V311, broker=broker), connect(V311, broker=broker)
    assert bob.subscribe([(topic, 2), (topic + "/x", 0)]).codes == [1, 0]
    alice.publish(topic, "x", 1)
    bob.receive(payload="x", qos=1)


@pytest.mark.rule("v3.1.1 MQTT-3.9.3-2")
def test_failures_have_code_0x80_and_no_other(connect, topic, broker_with):
    """Whatever 5.0 would say: here a quota that is used up."""
    broker = broker_with({"limits": {"subscriptions_per_client": 2}})
    alice = connect(V311, broker=broker)
    alice.send(subscribe([(f"{topic}/{n}", 1) for n in range(4)], id=1))
    alice.expect(SUBACK, id=1, codes=[1, 1, 0x80, 0x80])


@pytest.mark.rule("X3.1.1-3.8.4-1")
def test_messages_before_suback_are_legal(connect, topic):
    """All that is promised: both come."""
    alice = connect(V311)
    alice.publish(topic, "kept", 1, retain=True)
    alice.send(subscribe(topic, 1, 5), publish(topic, "new", 1, 6))
    alice.wait_for(SUBACK, id=5)
    alice.wait_for(PUBACK, id=6)
    seen = {alice.receive().payload for _ in range(2)}
    assert seen == {b"kept", b"new"}


@pytest.mark.rule("v3.1.1 MQTT-3.8.4-1")
def test_a_thousand_filters_in_one_subscribe(connect, topic):
    alice = connect(V311)
    suback = alice.subscribe([(f"{topic}/{n}/+", n % 3) for n in range(1000)])
    assert suback.codes == [n % 3 for n in range(1000)]
    alice.publish(f"{topic}/731/x", "here", 2)
    alice.receive(payload="here", qos=731 % 3)


@pytest.mark.rule("v3.1.1 MQTT-4.8.0-1")
def test_suback_from_a_client_ends_the_connection(connect):
    alice = connect(V311)
    alice.send(wire.Packet(SUBACK, body=b"\0\1\0"))
    alice.expect_closed()

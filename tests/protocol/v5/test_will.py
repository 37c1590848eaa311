# SPDX-License-Identifier: Apache-2.0
"""Wills: when one is published, when not, and what it carries (3.1.2.5, 3.1.3.2)."""

import time

import pytest

from kit import V5, Will, disconnect, patience, publish, wire

KEPT = {"session_expiry_interval": 60}
DELAY = {"will_delay_interval": 1}
LONG_DELAY = {"will_delay_interval": 60}


@pytest.fixture
def watcher(connect, topic):
    """Subscribes to the topic of the will."""
    client = connect(V5)
    client.subscribe([(topic, 0x0A)])  # QoS 2, retain as published
    return client


# ---- when ---------------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.1.2-7", "v5 MQTT-3.1.2-8", "X5.0-3.1.2.5-1")
def test_the_will_is_published_when_the_connection_fails(connect, watcher, topic):
    alice = connect(V5, will=Will(topic, "gone"))
    alice.close()
    watcher.receive(topic=topic, payload="gone")


@pytest.mark.rule("v5 MQTT-3.1.2-8")
def test_the_will_is_published_when_the_client_breaks_the_protocol(connect, watcher, topic):
    alice = connect(V5, will=Will(topic, "gone"))
    alice.send(wire.connect("again"))
    alice.expect_closed(0x82)
    watcher.receive(topic=topic, payload="gone")


@pytest.mark.rule("v5 MQTT-3.1.2-8")
@pytest.mark.parametrize("reason", [0x04, 0x80, 0x93])
def test_the_will_is_published_after_a_disconnect_of_another_reason_than_0(
        connect, watcher, topic, reason):
    alice = connect(V5, will=Will(topic, "gone"))
    alice.disconnect(reason)
    watcher.receive(topic=topic, payload="gone")


@pytest.mark.rule("v5 MQTT-3.1.2-8", "v5 MQTT-3.1.2-10")
@pytest.mark.parametrize("reason", [None, 0x00])
def test_no_will_is_published_after_a_disconnect_of_reason_0(connect, watcher, topic, reason):
    alice = connect(V5, will=Will(topic, "gone"))
    alice.disconnect(reason)
    watcher.quiet_after(connect(V5))


@pytest.mark.rule("v5 MQTT-3.1.2-10")
def test_a_will_dropped_by_disconnect_does_not_come_with_the_next_connection(
        connect, watcher, client_id, topic):
    alice = connect(V5, client_id, properties=KEPT, will=Will(topic, "gone"))
    alice.disconnect()
    again = connect(V5, client_id, clean_start=False, properties=KEPT)
    again.close()
    connect(V5, client_id, clean_start=True)
    watcher.quiet_after(connect(V5))


@pytest.mark.rule("v5 MQTT-3.1.2-10")
def test_a_will_is_published_once(connect, watcher, client_id, topic):
    alice = connect(V5, client_id, properties=KEPT, will=Will(topic, "gone"))
    alice.close()
    watcher.receive(payload="gone")
    again = connect(V5, client_id, clean_start=False, properties=KEPT)
    assert again.connack.session_present
    again.close()
    connect(V5, client_id, clean_start=True)
    watcher.quiet_after(connect(V5))


@pytest.mark.rule("v5 MQTT-3.1.2-7")
def test_the_will_of_the_last_connect_is_the_one_that_counts(connect, watcher, client_id, topic):
    connect(V5, client_id, properties=KEPT, will=Will(topic, "first")).disconnect()
    again = connect(V5, client_id, clean_start=False, properties=KEPT, will=Will(topic, "second"))
    again.close()
    watcher.receive(payload="second")
    watcher.quiet_after(connect(V5))


@pytest.mark.rule("v5 MQTT-3.1.2-8")
def test_a_delayed_will_is_published_when_its_delay_has_passed(connect, watcher, topic):
    alice = connect(V5, properties=KEPT, will=Will(topic, "gone", properties=DELAY))
    before = time.monotonic()
    alice.close()
    watcher.receive(payload="gone")
    assert 0.9 <= time.monotonic() - before <= 0.6 * patience()


@pytest.mark.rule("v5 MQTT-3.1.2-8")
@pytest.mark.parametrize("reason", [None, 0x04])
def test_a_delayed_will_is_published_when_the_session_ends_first(connect, watcher, topic, reason):
    alice = connect(V5, properties={"session_expiry_interval": 1},
                    will=Will(topic, "gone", properties=LONG_DELAY))
    before = time.monotonic()
    alice.close() if reason is None else alice.disconnect(reason)
    watcher.receive(payload="gone")
    assert time.monotonic() - before >= 0.9


@pytest.mark.rule("v5 MQTT-3.1.2-8", "X5.0-3.1.2.11.2-2")
def test_a_delayed_will_of_a_session_without_expiry_is_published_at_once(connect, watcher, topic):
    alice = connect(V5, will=Will(topic, "gone", properties=LONG_DELAY))
    alice.close()
    watcher.receive(payload="gone")


@pytest.mark.rule("v5 MQTT-3.1.2-8")
def test_a_delayed_will_is_published_when_clean_start_ends_the_session(
        connect, watcher, client_id, topic):
    alice = connect(V5, client_id, properties=KEPT, will=Will(topic, "gone", properties=LONG_DELAY))
    alice.close()
    connect(V5, client_id, clean_start=True)
    watcher.receive(payload="gone")


@pytest.mark.rule("v5 MQTT-3.1.3-9", "v5 MQTT-3.1.2-8")
def test_no_will_is_published_when_the_client_is_back_within_the_delay(
        connect, watcher, client_id, topic):
    alice = connect(V5, client_id, properties=KEPT, will=Will(topic, "gone", properties=DELAY))
    alice.close()
    again = connect(V5, client_id, clean_start=False, properties=KEPT)
    assert again.connack.session_present
    watcher.expect_nothing(1300)


@pytest.mark.rule("X5.0-3.1.3.2.2-2", "v5 MQTT-3.1.4-3")
@pytest.mark.parametrize("clean_start", [True, False])
def test_takeover_publishes_a_will_without_delay(connect, watcher, client_id, topic, clean_start):
    connect(V5, client_id, properties=KEPT, will=Will(topic, "gone"))
    connect(V5, client_id, clean_start=clean_start, properties=KEPT)
    watcher.receive(payload="gone")


@pytest.mark.rule("X5.0-3.1.3.2.2-2")
def test_takeover_with_clean_start_publishes_a_delayed_will(connect, watcher, client_id, topic):
    connect(V5, client_id, properties=KEPT, will=Will(topic, "gone", properties=LONG_DELAY))
    connect(V5, client_id, clean_start=True)
    watcher.receive(payload="gone")


@pytest.mark.rule("X5.0-3.1.3.2.2-2", "X5.0-3.1.3.2.2-1")
def test_takeover_without_clean_start_drops_a_delayed_will(connect, watcher, client_id, topic):
    connect(V5, client_id, properties=KEPT, will=Will(topic, "gone", properties=DELAY))
    connect(V5, client_id, clean_start=False, properties=KEPT)
    watcher.expect_nothing(1300)


@pytest.mark.rule("v5 MQTT-3.1.4-3", "v5 MQTT-3.1.2-7")
def test_after_a_takeover_the_will_of_the_new_connection_stands(connect, watcher, client_id, topic):
    connect(V5, client_id, properties=KEPT)
    second = connect(V5, client_id, clean_start=False, properties=KEPT, will=Will(topic, "second"))
    watcher.quiet_after(connect(V5))
    second.close()
    watcher.receive(payload="second")


# ---- what ---------------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.1.2-14")
def test_a_will_without_retain_is_published_without(connect, watcher, topic):
    alice = connect(V5, will=Will(topic, "gone", retain=False))
    alice.close()
    watcher.receive(payload="gone", retain=False)
    late = connect(V5)
    late.subscribe(topic)
    late.quiet_after(watcher)


@pytest.mark.rule("v5 MQTT-3.1.2-15")
def test_a_will_with_retain_is_published_and_kept(connect, watcher, topic):
    alice = connect(V5, will=Will(topic, "gone", retain=True))
    alice.close()
    watcher.receive(payload="gone", retain=True)  # retain as published
    late = connect(V5)
    late.subscribe(topic)
    late.receive(topic=topic, payload="gone", retain=True)


@pytest.mark.rule("v5 MQTT-3.1.2-15", "v5 MQTT-3.3.1-6")
def test_an_empty_will_with_retain_removes_the_retained_message(connect, watcher, topic):
    connect(V5).publish(topic, "here", qos=1, retain=True)
    watcher.receive(payload="here")
    alice = connect(V5, will=Will(topic, b"", retain=True))
    alice.close()
    watcher.receive(payload=b"")
    late = connect(V5)
    late.subscribe(topic)
    late.quiet_after(watcher)


@pytest.mark.rule("v5 MQTT-3.1.2-7")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_will_is_published_at_its_qos(connect, watcher, topic, qos):
    alice = connect(V5, will=Will(topic, "gone", qos=qos))
    alice.close()
    watcher.receive(payload="gone", qos=qos)


@pytest.mark.rule("v5 MQTT-3.1.3-10", "v5 MQTT-3.3.2-18")
def test_the_user_properties_of_a_will_keep_their_order(connect, watcher, topic):
    pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("a", "1"), ("c", "é")]
    alice = connect(V5, will=Will(topic, "gone", properties={"user_property": pairs}))
    alice.close()
    assert watcher.receive(payload="gone").properties.all("user_property") == pairs


@pytest.mark.rule("v5 MQTT-3.1.2-7", "v5 MQTT-3.1.2-9")
def test_a_will_is_published_with_its_properties_but_not_its_delay(connect, watcher, topic):
    properties = {"payload_format_indicator": 1, "content_type": "text/plain",
                  "response_topic": "answers", "correlation_data": b"\x00\xff"}
    alice = connect(V5, will=Will(topic, "gone", properties={**LONG_DELAY, **properties}))
    alice.close()
    packet = watcher.receive(payload="gone")
    assert dict(packet.properties) == properties


@pytest.mark.rule("X5.0-3.1.3.2.4-1")
def test_a_will_is_published_with_its_message_expiry_interval(connect, watcher, topic):
    alice = connect(V5, will=Will(topic, properties={"message_expiry_interval": 100}))
    alice.close()
    assert watcher.receive().properties.get("message_expiry_interval") in (99, 100)


@pytest.mark.rule("X5.0-3.1.3.2.4-1")
def test_the_message_expiry_interval_of_a_will_counts_from_its_publication(connect, watcher, topic):
    alice = connect(V5, properties=KEPT, will=Will(topic, "gone", properties={
        "message_expiry_interval": 1, "will_delay_interval": 2}))
    alice.close()
    packet = watcher.receive(payload="gone")
    assert packet.properties.get("message_expiry_interval") in (0, 1)


@pytest.mark.rule("X5.0-3.1.3.2.4-1")
def test_a_will_without_a_message_expiry_interval_is_published_without(connect, watcher, topic):
    alice = connect(V5, will=Will(topic))
    alice.close()
    assert "message_expiry_interval" not in watcher.receive().properties


@pytest.mark.rule("X5.0-3.1.3.2.3-1", "X5.0-3.3.2.3.2-2")
def test_a_will_that_breaks_its_payload_format_is_refused_where_formats_are_checked(
        broker_with, connect, dial, topic):
    broker = broker_with({"mqtt": {"check_payload_format": True}})
    text, binary = {"payload_format_indicator": 1}, {"payload_format_indicator": 0}
    connect(V5, broker=broker, will=Will(topic, "é", properties=text))
    connect(V5, broker=broker, will=Will(topic, b"\xff", properties=binary))
    alice = dial(V5, broker=broker)
    alice.send(wire.connect("c", will=Will(topic, b"\xff", properties=text)))
    alice.expect_refused(0x99)


@pytest.mark.rule("v5 MQTT-3.1.2-7", "v5 MQTT-3.3.2-3")
def test_a_will_may_have_an_empty_payload_and_reaches_wildcard_subscribers(connect, topic):
    watcher = connect(V5)
    watcher.subscribe(f"{topic}/#")
    alice = connect(V5, will=Will(f"{topic}/a/b", b""))
    alice.close()
    watcher.receive(topic=f"{topic}/a/b", payload=b"")


@pytest.mark.rule("v5 MQTT-3.1.2-8")
def test_messages_sent_before_the_connection_ended_come_before_the_will(connect, watcher, topic):
    alice = connect(V5, will=Will(topic, "will"))
    alice.send(*(publish(topic, f"{number}") for number in range(20)), disconnect(0x04))
    alice.expect_closed()
    for number in range(20):
        watcher.receive(payload=f"{number}")
    watcher.receive(payload="will")

# SPDX-License-Identifier: Apache-2.0
"""Properties of CONNECT and of its will (3.1.2.11, 3.1.3.2): what is wrong, what they do."""

import pytest

from kit import (AUTH, CONNACK, PUBACK, PUBCOMP, PUBREC, SUBACK, UNSUBACK, V5, Will, pingreq,
                 publish, pubrel, subscribe, unsubscribe, wire)

PROTOCOL_ERROR, BAD_AUTHENTICATION_METHOD = 0x82, 0x8C


def _refused(dial, reason, **fields):
    alice = dial(V5)
    alice.send(wire.connect("c", **fields))
    alice.expect_refused(reason)


def _rules(*rows):
    return [pytest.param(*values, marks=pytest.mark.rule(rule), id=values[0])
            for rule, *values in rows]


@pytest.mark.parametrize("name, value", _rules(
    ("X5.0-3.1.2.11.2-1", "session_expiry_interval", 10),
    ("X5.0-3.1.2.11.3-1", "receive_maximum", 10),
    ("X5.0-3.1.2.11.4-1", "maximum_packet_size", 1000),
    ("X5.0-3.1.2.11.5-1", "topic_alias_maximum", 10),
    ("X5.0-3.1.2.11.6-1", "request_response_information", 1),
    ("X5.0-3.1.2.11.7-1", "request_problem_information", 1),
    ("X5.0-3.1.2.11.9-1", "authentication_method", "SKEIN-TEST-CHALLENGE")))
def test_a_property_of_connect_twice_is_a_protocol_error(dial, name, value):
    _refused(dial, PROTOCOL_ERROR, properties=[(name, value), (name, value)])


@pytest.mark.rule("X5.0-3.1.2.11.10-1")
def test_authentication_data_twice_is_a_protocol_error(dial):
    _refused(dial, PROTOCOL_ERROR, properties=[
        ("authentication_method", "m"), ("authentication_data", b"x"),
        ("authentication_data", b"x")])


@pytest.mark.rule("X5.0-3.1.2.11.10-1")
def test_authentication_data_without_a_method_is_a_protocol_error(dial):
    _refused(dial, PROTOCOL_ERROR, properties={"authentication_data": b"x"})


@pytest.mark.parametrize("name, value", _rules(
    ("X5.0-3.1.2.11.3-1", "receive_maximum", 0),
    ("X5.0-3.1.2.11.4-1", "maximum_packet_size", 0),
    ("X5.0-3.1.2.11.6-1", "request_response_information", 2),
    ("X5.0-3.1.2.11.6-1", "request_response_information", 255),
    ("X5.0-3.1.2.11.7-1", "request_problem_information", 2),
    ("X5.0-3.1.2.11.7-1", "request_problem_information", 255)))
def test_a_value_that_connect_may_not_have_is_a_protocol_error(dial, name, value):
    _refused(dial, PROTOCOL_ERROR, properties={name: value})


@pytest.mark.parametrize("name, value", _rules(
    ("X5.0-3.1.3.2-1", "payload_format_indicator", 1),
    ("X5.0-3.1.3.2-1", "message_expiry_interval", 10),
    ("X5.0-3.1.3.2-1", "content_type", "text"),
    ("X5.0-3.1.3.2-1", "response_topic", "answers"),
    ("X5.0-3.1.3.2-1", "correlation_data", b"x"),
    ("X5.0-3.1.3.2.2-1", "will_delay_interval", 10)))
def test_a_property_of_the_will_twice_is_a_protocol_error(dial, name, value):
    _refused(dial, PROTOCOL_ERROR, will=Will("t", properties=[(name, value), (name, value)]))


@pytest.mark.rule("X5.0-3.1.2.11.3-1", "X5.0-3.1.2.11.5-1")
def test_the_same_properties_once_are_accepted(connect):
    alice = connect(V5, properties={
        "session_expiry_interval": 0, "receive_maximum": 1, "maximum_packet_size": 200,
        "topic_alias_maximum": 0, "request_response_information": 0,
        "request_problem_information": 0, "user_property": [("a", "1"), ("a", "1")]})
    alice.barrier()


@pytest.mark.rule("v5 MQTT-3.1.2-28")
@pytest.mark.parametrize("properties", [None, {"request_response_information": 0}], ids=str)
def test_response_information_does_not_come_unasked(broker_with, connect, properties):
    broker = broker_with({"mqtt": {"response_information": "answers/"}})
    asking = connect(V5, broker=broker, properties={"request_response_information": 1})
    assert asking.connack.properties.get("response_information") == "answers/"
    alice = connect(V5, broker=broker, properties=properties)
    assert "response_information" not in alice.connack.properties


@pytest.mark.rule("v5 MQTT-3.1.2-29")
@pytest.mark.parametrize("packet, answer", [
    (subscribe("a/#/b"), SUBACK), (unsubscribe("never/subscribed"), UNSUBACK),
    (publish("no/subscriber", qos=1, id=1), PUBACK), (publish("$SYS/x", qos=1, id=1), PUBACK),
    (publish("$SYS/x", qos=2, id=1), PUBREC), (pubrel(1), PUBCOMP)], ids=str)
def test_without_problem_information_no_answer_explains_itself(connect, packet, answer):
    alice = connect(V5, properties={"request_problem_information": 0})
    alice.send(packet)
    properties = alice.expect(answer).properties
    assert "reason_string" not in properties and "user_property" not in properties


@pytest.mark.rule("v5 MQTT-3.1.2-29", "v5 MQTT-3.3.2-17")
def test_without_problem_information_messages_keep_their_user_properties(connect, topic):
    alice = connect(V5, properties={"request_problem_information": 0})
    alice.subscribe(topic)
    connect(V5).publish(topic, properties={"user_property": [("a", "1")]})
    assert alice.receive().properties == [("user_property", ("a", "1"))]


@pytest.mark.rule("v5 MQTT-3.1.2-30")
@pytest.mark.parametrize("packet", [publish("t"), subscribe("t"), pingreq()], ids=str)
def test_a_client_that_is_authenticating_may_send_nothing_but_auth_and_disconnect(
        broker_with, dial, packet):
    broker = broker_with({}, environment={"SKEIN_TEST_AUTH": "1"})
    alice = dial(V5, broker=broker)
    alice.send(wire.connect("c", properties={"authentication_method": "SKEIN-TEST-CHALLENGE"}))
    alice.expect(AUTH, reason=0x18)
    alice.send(packet)
    alice.expect_refused()


@pytest.mark.rule("v5 MQTT-3.1.2-30")
def test_an_unknown_authentication_method_is_refused_with_0x8c(dial):
    _refused(dial, BAD_AUTHENTICATION_METHOD, properties={"authentication_method": "unheard-of"})


@pytest.mark.rule("v5 MQTT-3.1.4-6", "v5 MQTT-3.1.2-30")
def test_what_is_sent_while_authenticating_is_not_processed(broker_with, connect, dial, topic):
    broker = broker_with({}, environment={"SKEIN_TEST_AUTH": "1"})
    watcher = connect(V5, broker=broker)
    watcher.subscribe(topic)
    alice = dial(V5, broker=broker)
    alice.send(wire.connect("c", properties={"authentication_method": "SKEIN-TEST-CHALLENGE"}),
               publish(topic))
    alice.expect(AUTH, reason=0x18)
    refusal = alice.expect_refused()
    assert refusal is None or refusal.type == CONNACK
    watcher.quiet_after(connect(V5, broker=broker))


@pytest.mark.rule("X5.0-3.1.4-1", "v5 MQTT-3.2.2-8")
def test_a_client_that_does_not_go_on_authenticating_is_refused_in_time(broker_with, dial):
    broker = broker_with({"limits": {"connect_timeout": "200ms"}},
                         environment={"SKEIN_TEST_AUTH": "1"})
    alice = dial(V5, broker=broker)
    alice.send(wire.connect("c", properties={"authentication_method": "SKEIN-TEST-CHALLENGE"}))
    alice.expect(AUTH, reason=0x18)
    alice.expect_refused()

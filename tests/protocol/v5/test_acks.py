# SPDX-License-Identifier: Apache-2.0
"""PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7)."""

import pytest

from kit import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, V5, puback, pubcomp, publish, pubrec,
                 pubrel)

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
NO_MATCHING_SUBSCRIBERS, ID_NOT_FOUND = 0x10, 0x92

PUBACK_CODES = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
SMALL = 20  # bytes: a CONNACK fits, a packet with a sentence in it does not


def _outgoing(connect, topic, qos):
    """A subscriber to which the broker has just sent one PUBLISH of that QoS."""
    bob = connect(V5)
    bob.subscribe(topic, qos)
    connect(V5).publish(topic, "first", qos)
    return bob, bob.expect(PUBLISH, qos=qos).id


def _served(connect, topic, bob, qos):
    """Bob's connection is alive: the next message arrives."""
    connect(V5).publish(topic, "next", qos)
    bob.receive(payload="next")


# ---- what a server may answer ------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.4.2-1", "X5.0-3.4.2.1-2")
def test_puback_tells_whether_anybody_subscribes(connect, topic):
    alice, bob = connect(V5), connect(V5)
    assert alice.publish(topic, qos=1).reason == NO_MATCHING_SUBSCRIBERS
    bob.subscribe(topic)
    assert alice.publish(topic, qos=1).reason == 0


@pytest.mark.rule("v5 MQTT-3.5.2-1", "X5.0-3.4.2.1-2")
def test_pubrec_tells_whether_anybody_subscribes(connect, topic):
    alice, bob = connect(V5), connect(V5)
    assert alice.publish(topic, qos=2).reason == NO_MATCHING_SUBSCRIBERS
    bob.subscribe(topic)
    assert alice.publish(topic, qos=2).reason == 0


@pytest.mark.rule("v5 MQTT-3.6.2-1")
def test_pubrel_answers_a_known_identifier_with_success(connect, topic):
    bob, number = _outgoing(connect, topic, 2)
    bob.send(pubrec(number))
    bob.expect(PUBREL, id=number, reason=0)


@pytest.mark.rule("v5 MQTT-3.6.2-1")
def test_pubrel_says_that_the_identifier_of_pubrec_is_unknown(connect):
    bob = connect(V5)
    bob.send(pubrec(77))
    bob.expect(PUBREL, id=77, reason=ID_NOT_FOUND)


@pytest.mark.rule("v5 MQTT-3.7.2-1")
def test_pubcomp_answers_a_known_identifier_with_success(connect, topic):
    alice = connect(V5)
    alice.send(publish(topic, qos=2, id=5), pubrel(5))
    alice.expect(PUBREC, id=5)
    alice.expect(PUBCOMP, id=5, reason=0)


@pytest.mark.rule("v5 MQTT-3.7.2-1")
def test_pubcomp_says_that_the_identifier_of_pubrel_is_unknown(connect):
    alice = connect(V5)
    alice.send(pubrel(77))
    alice.expect(PUBCOMP, id=77, reason=ID_NOT_FOUND)


# ---- what a client may answer ------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.4.2-1")
@pytest.mark.parametrize("reason", PUBACK_CODES, ids=hex)
def test_puback_of_any_code_of_its_table_is_taken(connect, topic, reason):
    bob, number = _outgoing(connect, topic, 1)
    bob.send(puback(number, reason))
    _served(connect, topic, bob, 1)


@pytest.mark.rule("v5 MQTT-3.5.2-1")
@pytest.mark.parametrize("reason", PUBACK_CODES, ids=hex)
def test_pubrec_of_any_code_of_its_table_is_taken(connect, topic, reason):
    bob, number = _outgoing(connect, topic, 2)
    bob.send(pubrec(number, reason))
    if reason < 0x80:
        bob.expect(PUBREL, id=number, reason=0)
        bob.send(pubcomp(number))
    _served(connect, topic, bob, 2)


@pytest.mark.rule("v5 MQTT-3.6.2-1")
@pytest.mark.parametrize("reason", [0x00, 0x92], ids=hex)
def test_pubrel_of_any_code_of_its_table_is_taken(connect, topic, reason):
    alice = connect(V5)
    alice.send(publish(topic, qos=2, id=5), pubrel(5, reason))
    alice.expect(PUBREC, id=5)
    alice.expect(PUBCOMP, id=5, reason=0)


@pytest.mark.rule("v5 MQTT-3.7.2-1")
@pytest.mark.parametrize("reason", [0x00, 0x92], ids=hex)
def test_pubcomp_of_any_code_of_its_table_is_taken(connect, topic, reason):
    bob, number = _outgoing(connect, topic, 2)
    bob.send(pubrec(number))
    bob.expect(PUBREL, id=number)
    bob.send(pubcomp(number, reason))
    _served(connect, topic, bob, 2)


@pytest.mark.rule("v5 MQTT-3.4.2-1")
@pytest.mark.parametrize("reason", [0x01, 0x11, 0x81, 0x92, 0xFF], ids=hex)
def test_puback_with_a_code_of_other_packets_ends_the_connection(connect, topic, reason):
    bob, number = _outgoing(connect, topic, 1)
    bob.send(puback(number, reason))
    bob.expect_closed({MALFORMED, PROTOCOL_ERROR})


@pytest.mark.rule("v5 MQTT-3.5.2-1")
@pytest.mark.parametrize("reason", [0x01, 0x11, 0x81, 0x92, 0xFF], ids=hex)
def test_pubrec_with_a_code_of_other_packets_ends_the_connection(connect, topic, reason):
    bob, number = _outgoing(connect, topic, 2)
    bob.send(pubrec(number, reason))
    bob.expect_closed({MALFORMED, PROTOCOL_ERROR})


@pytest.mark.rule("v5 MQTT-3.6.2-1")
@pytest.mark.parametrize("reason", [0x01, 0x10, 0x80, 0x91, 0xFF], ids=hex)
def test_pubrel_with_a_code_of_other_packets_ends_the_connection(connect, topic, reason):
    alice = connect(V5)
    alice.send(publish(topic, qos=2, id=5))
    alice.expect(PUBREC, id=5)
    alice.send(pubrel(5, reason))
    alice.expect_closed({MALFORMED, PROTOCOL_ERROR})


@pytest.mark.rule("v5 MQTT-3.7.2-1")
@pytest.mark.parametrize("reason", [0x01, 0x10, 0x80, 0x91, 0xFF], ids=hex)
def test_pubcomp_with_a_code_of_other_packets_ends_the_connection(connect, topic, reason):
    bob, number = _outgoing(connect, topic, 2)
    bob.send(pubrec(number))
    bob.expect(PUBREL, id=number)
    bob.send(pubcomp(number, reason))
    bob.expect_closed({MALFORMED, PROTOCOL_ERROR})


# ---- form --------------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.6.1-1")
@pytest.mark.parametrize("flags", [0, 1, 3, 6, 10, 15], ids=bin)
def test_pubrel_with_other_flags_is_malformed(connect, topic, flags):
    alice = connect(V5)
    alice.send(publish(topic, qos=2, id=5))
    alice.expect(PUBREC, id=5)
    alice.send(pubrel(5, flags=flags))
    alice.expect_closed(MALFORMED)


# How short an acknowledgement may be: no reason code, no property length, everything.
FORMS = {"2-bytes": {}, "3-bytes": {"reason": 0}, "4-bytes": {"reason": 0, "properties_raw": b"\0"},
         "properties": {"reason": 0, "properties": {"reason_string": "ok",
                                                    "user_property": [("a", "b"), ("a", "c")]}}}


@pytest.mark.rule("X5.0-3.4.2.1-1")
@pytest.mark.parametrize("form", FORMS)
def test_puback_may_leave_out_reason_and_properties(connect, topic, form):
    bob, number = _outgoing(connect, topic, 1)
    bob.send(puback(number, **FORMS[form]))
    _served(connect, topic, bob, 1)


@pytest.mark.rule("X5.0-3.4.2.1-1")
@pytest.mark.parametrize("form", FORMS)
def test_pubrec_and_pubcomp_may_leave_out_reason_and_properties(connect, topic, form):
    bob, number = _outgoing(connect, topic, 2)
    bob.send(pubrec(number, **FORMS[form]))
    bob.expect(PUBREL, id=number, reason=0)
    bob.send(pubcomp(number, **FORMS[form]))
    _served(connect, topic, bob, 2)


@pytest.mark.rule("X5.0-3.4.2.1-1")
@pytest.mark.parametrize("form", FORMS)
def test_pubrel_may_leave_out_reason_and_properties(connect, topic, form):
    alice = connect(V5)
    alice.send(publish(topic, qos=2, id=5))
    alice.expect(PUBREC, id=5)
    alice.send(pubrel(5, **FORMS[form]))
    alice.expect(PUBCOMP, id=5, reason=0)


@pytest.mark.rule("X5.0-3.4.2.2-1")
@pytest.mark.parametrize("build", [puback, pubrec, pubrel, pubcomp],
                         ids=["PUBACK", "PUBREC", "PUBREL", "PUBCOMP"])
def test_a_second_reason_string_is_a_protocol_error(connect, build):
    bob = connect(V5)
    bob.send(build(5, 0, {"reason_string": ["one", "two"]}))
    bob.expect_closed(PROTOCOL_ERROR)


# ---- no larger than the client takes -----------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.4.2-2", "v5 MQTT-3.4.2-3")
def test_puback_that_refuses_fits_the_maximum_packet_size(connect):
    alice = connect(V5, properties={"maximum_packet_size": SMALL})
    answer = alice.publish("$SYS/not/yours", qos=1)
    assert answer.type == PUBACK and answer.size <= SMALL


@pytest.mark.rule("v5 MQTT-3.5.2-2", "v5 MQTT-3.5.2-3")
def test_pubrec_that_refuses_fits_the_maximum_packet_size(connect):
    alice = connect(V5, properties={"maximum_packet_size": SMALL})
    answer = alice.publish("$SYS/not/yours", qos=2)
    assert answer.type == PUBREC and answer.size <= SMALL


@pytest.mark.rule("v5 MQTT-3.6.2-2", "v5 MQTT-3.6.2-3")
def test_pubrel_that_refuses_fits_the_maximum_packet_size(connect):
    bob = connect(V5, properties={"maximum_packet_size": SMALL})
    bob.send(pubrec(77))
    assert bob.expect(PUBREL, id=77).size <= SMALL


@pytest.mark.rule("v5 MQTT-3.7.2-2", "v5 MQTT-3.7.2-3")
def test_pubcomp_that_refuses_fits_the_maximum_packet_size(connect):
    alice = connect(V5, properties={"maximum_packet_size": SMALL})
    alice.send(pubrel(77))
    assert alice.expect(PUBCOMP, id=77).size <= SMALL

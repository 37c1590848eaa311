# SPDX-License-Identifier: Apache-2.0
"""SUBSCRIBE and SUBACK (3.8, 3.9)."""

import pytest

from kit import PUBLISH, SUBACK, V5, publish, subscribe

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
FILTER_INVALID = 0x8F

NO_LOCAL, RETAIN_AS_PUBLISHED = 0x04, 0x08
SEND_RETAINED, SEND_RETAINED_IF_NEW, SEND_NO_RETAINED = 0x00, 0x10, 0x20

INVALID_FILTERS = ["", "a#", "#/a", "a/#/b", "a+", "+a", "a/b+/c", "a/+#"]


# ---- the packet --------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.8.1-1")
@pytest.mark.parametrize("flags", [0, 1, 3, 6, 10, 15], ids=bin)
def test_subscribe_with_other_flags_is_malformed(connect, topic, flags):
    alice = connect(V5)
    alice.send(subscribe(topic, flags=flags))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-3.8.3-1")
@pytest.mark.parametrize("raw", [b"\xff", b"a/\xed\xa0\x80", b"\xc0\xaf", b"a/\xe2\x82"],
                         ids=["ff", "surrogate", "overlong", "cut-off"])
def test_a_filter_of_ill_formed_utf8_is_malformed(connect, raw):
    alice = connect(V5)
    alice.send(subscribe(raw))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-3.8.3-2")
def test_subscribe_without_a_filter_is_a_protocol_error(connect):
    alice = connect(V5)
    alice.send(subscribe([]))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("v5 MQTT-3.8.3-2")
def test_a_filter_without_its_options_is_malformed(connect):
    alice = connect(V5)
    alice.send(subscribe([], tail=b"\0\1a"))
    alice.expect_closed({MALFORMED, PROTOCOL_ERROR})


@pytest.mark.rule("v5 MQTT-3.8.3-5")
@pytest.mark.parametrize("options", [0x40, 0x80, 0xC1], ids=hex)
def test_reserved_bits_of_the_options_are_malformed(connect, topic, options):
    alice = connect(V5)
    alice.send(subscribe([(topic, options)]))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-3.8.3-5")
def test_reserved_bits_are_seen_behind_other_filters(connect, topic):
    alice = connect(V5)
    alice.send(subscribe([f"{topic}/{n}" for n in range(20)] + [(topic, 0x80)]))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("X5.0-3.8.3.1-1")
@pytest.mark.parametrize("options", [0x03, 0x07, 0x1B], ids=hex)
def test_maximum_qos_3_is_a_protocol_error(connect, topic, options):
    alice = connect(V5)
    alice.send(subscribe([(topic, options)]))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("X5.0-3.8.3.1-2")
@pytest.mark.parametrize("options", [0x30, 0x31, 0x38], ids=hex)
def test_retain_handling_3_is_a_protocol_error(connect, topic, options):
    alice = connect(V5)
    alice.send(subscribe([(topic, options)]))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("X5.0-3.8.2.1.2-1")
@pytest.mark.parametrize("value", [0, [1, 2], [3, 3]], ids=str)
def test_subscription_identifier_0_or_two_of_them_is_a_protocol_error(connect, topic, value):
    alice = connect(V5)
    alice.send(subscribe(topic, properties={"subscription_identifier": value}))
    alice.expect_closed(PROTOCOL_ERROR)


# ---- the answer --------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.8.4-1", "v5 MQTT-3.8.4-2")
@pytest.mark.parametrize("number", [1, 300, 65535])
def test_suback_answers_with_the_identifier_of_subscribe(connect, topic, number):
    alice = connect(V5)
    alice.send(subscribe(topic, id=number))
    alice.expect(SUBACK, id=number, codes=[0])


@pytest.mark.rule("v5 MQTT-3.8.4-1", "v5 MQTT-3.8.4-2")
def test_every_subscribe_of_many_in_one_write_is_answered(connect, topic):
    alice = connect(V5)
    alice.send(*[subscribe(f"{topic}/{n}", id=n) for n in range(1, 101)])
    for number in range(1, 101):
        alice.expect(SUBACK, id=number, codes=[0])


@pytest.mark.rule("v5 MQTT-3.8.4-6", "v5 MQTT-3.9.3-1")
def test_suback_has_a_code_for_each_filter_in_their_order(connect, topic):
    alice = connect(V5)
    alice.send(subscribe([(f"{topic}/a", 1), ("a/#/b", 1), (f"{topic}/b", 2), ("+x", 0),
                          (f"{topic}/c", 0), ("$share//x", 0), (f"{topic}/d", 1)]))
    alice.expect(SUBACK, codes=[1, FILTER_INVALID, 2, FILTER_INVALID, 0, FILTER_INVALID, 1])


@pytest.mark.rule("v5 MQTT-3.8.4-6", "v5 MQTT-3.9.3-1")
def test_suback_of_a_thousand_filters_keeps_their_order(connect, topic):
    alice = connect(V5)
    alice.send(subscribe([(f"{topic}/{n}", n % 3) for n in range(1000)]))
    alice.expect(SUBACK, codes=[n % 3 for n in range(1000)])


@pytest.mark.rule("v5 MQTT-3.9.3-2", "v5 MQTT-3.8.4-7")
@pytest.mark.parametrize("filter", INVALID_FILTERS)
def test_an_invalid_filter_is_refused_and_the_connection_stays(connect, filter):
    alice = connect(V5)
    alice.send(subscribe(filter, id=9))
    alice.expect(SUBACK, id=9, codes=[FILTER_INVALID])
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.8.4-7")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_suback_grants_the_qos_asked_for(connect, topic, qos):
    alice = connect(V5)
    assert alice.subscribe(topic, qos).codes == [qos]


@pytest.mark.rule("v5 MQTT-3.8.4-7", "v5 MQTT-3.9.3-2")
@pytest.mark.parametrize("qos_max", [0, 1])
def test_suback_grants_no_more_than_the_broker_offers(connect, broker_with, topic, qos_max):
    alice = connect(V5, broker=broker_with({"mqtt": {"qos_max": qos_max}}))
    granted = alice.subscribe([(f"{topic}/{qos}", qos) for qos in (0, 1, 2)]).codes
    assert granted == [min(qos, qos_max) for qos in (0, 1, 2)]


@pytest.mark.rule("v5 MQTT-3.9.2-1", "v5 MQTT-3.9.2-2")
def test_suback_that_refuses_fits_the_maximum_packet_size(connect):
    alice = connect(V5, properties={"maximum_packet_size": 20})
    alice.send(subscribe("a/#/b"))
    assert alice.expect(SUBACK, codes=[FILTER_INVALID]).size <= 20


# ---- what a subscription does ------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.8.4-8")
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("published", [0, 1, 2])
def test_a_message_goes_out_at_the_lower_qos(connect, topic, published, granted):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, granted)
    alice.publish(topic, "m", published)
    bob.receive(payload="m", qos=min(published, granted))


@pytest.mark.rule("v5 MQTT-3.8.3-3")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_local_keeps_a_message_from_its_publisher(connect, topic, qos):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe([(topic, qos | NO_LOCAL)])
    bob.subscribe([(topic, qos | NO_LOCAL)])
    alice.publish(topic, "of alice", qos)
    bob.receive(payload="of alice")
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.8.3-3")
def test_no_local_lets_messages_of_others_through(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe([(topic, NO_LOCAL)])
    bob.publish(topic, "of bob")
    alice.receive(payload="of bob")


@pytest.mark.rule("v5 MQTT-3.8.3-3")
def test_without_no_local_a_publisher_gets_its_own_message(connect, topic):
    alice = connect(V5)
    alice.subscribe(topic)
    alice.publish(topic, "of alice")
    alice.receive(payload="of alice")


@pytest.mark.rule("v5 MQTT-3.8.3-3")
def test_no_local_of_one_filter_leaves_an_overlapping_one_alone(connect, topic):
    alice = connect(V5)
    alice.subscribe([(f"{topic}/a", NO_LOCAL), f"{topic}/+"])
    alice.publish(f"{topic}/a", "m")
    alice.receive(payload="m")
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.8.3-4")
@pytest.mark.parametrize("options", [NO_LOCAL, NO_LOCAL | 1, NO_LOCAL | RETAIN_AS_PUBLISHED | 2],
                         ids=hex)
def test_no_local_on_a_shared_subscription_is_a_protocol_error(connect, topic, options):
    alice = connect(V5)
    alice.send(subscribe([(f"$share/group/{topic}", options)]))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("v5 MQTT-3.8.4-3")
def test_subscribing_again_gives_one_copy_at_the_new_qos(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, 2)
    bob.subscribe(topic, 0)
    alice.publish(topic, "m", 2)
    bob.receive(payload="m", qos=0)
    bob.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.8.4-3")
def test_subscribing_again_replaces_the_options(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([(topic, NO_LOCAL)])
    bob.subscribe([(topic, RETAIN_AS_PUBLISHED)])
    bob.publish(topic, "own")
    bob.receive(payload="own")
    alice.publish(topic, "retained", retain=True)
    bob.receive(payload="retained", retain=True)
    bob.subscribe([(topic, NO_LOCAL | SEND_NO_RETAINED)])
    bob.publish(topic, "own again")
    alice.publish(topic, "retained again", retain=True)
    bob.receive(payload="retained again", retain=False)


@pytest.mark.rule("v5 MQTT-3.8.4-4")
def test_subscribing_again_with_retain_handling_0_sends_retained_messages_again(connect, topic):
    connect(V5).publish(f"{topic}/a", "kept", qos=1, retain=True)
    bob = connect(V5)
    for _ in range(2):
        bob.subscribe([(f"{topic}/#", SEND_RETAINED)])
        bob.receive(topic=f"{topic}/a", payload="kept", retain=True)


@pytest.mark.rule("v5 MQTT-3.8.4-4")
@pytest.mark.parametrize("handling", [SEND_RETAINED_IF_NEW, SEND_NO_RETAINED],
                         ids=["if-new", "never"])
def test_subscribing_again_with_other_retain_handling_sends_nothing_again(connect, topic, handling):
    connect(V5).publish(topic, "kept", qos=1, retain=True)
    bob = connect(V5)
    bob.subscribe(topic)
    bob.receive(payload="kept")
    bob.subscribe([(topic, handling)])
    bob.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.8.4-4")
def test_no_message_is_lost_while_a_subscription_is_replaced(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, 0)
    for number in range(200):
        alice.send(publish(topic, str(number)))
        bob.send(subscribe([(topic, number % 3 | SEND_NO_RETAINED)], id=number + 1))
    seen = []
    while len(seen) < 200:
        packet = bob.wait_for(PUBLISH)
        seen.append(int(packet.payload))
    assert seen == list(range(200))


@pytest.mark.rule("v5 MQTT-3.8.4-5")
def test_several_filters_in_one_packet_all_subscribe(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([(f"{topic}/{qos}", qos) for qos in (0, 1, 2)])
    for qos in (0, 1, 2):
        alice.publish(f"{topic}/{qos}", "m", 2)
        bob.receive(topic=f"{topic}/{qos}", qos=qos)


@pytest.mark.rule("v5 MQTT-3.8.4-5", "v5 MQTT-3.8.4-3")
def test_the_same_filter_twice_in_one_packet_is_replaced_in_sequence(connect, topic):
    alice, bob = connect(V5), connect(V5)
    assert bob.subscribe([(topic, 2), (topic, 0)]).codes == [2, 0]
    alice.publish(topic, "m", 2)
    bob.receive(payload="m", qos=0)
    bob.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.8.4-5")
def test_filters_beside_a_refused_one_still_subscribe(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.send(subscribe([f"{topic}/a", "a/#/b", f"{topic}/c"]))
    bob.expect(SUBACK, codes=[0, FILTER_INVALID, 0])
    for name in "ac":
        alice.publish(f"{topic}/{name}", name)
        bob.receive(payload=name)


@pytest.mark.rule("X5.0-3.8.4-2")
@pytest.mark.parametrize("handling", [SEND_RETAINED, SEND_RETAINED_IF_NEW],
                         ids=["always", "if-new"])
def test_a_shared_subscription_gets_no_retained_messages(connect, topic, handling):
    connect(V5).publish(topic, "kept", qos=1, retain=True)
    bob = connect(V5)
    bob.subscribe([(f"$share/group/{topic}", handling)])
    bob.expect_quiet()


# ---- subscription identifiers ------------------------------------------------------------------


def _identifiers(client):
    return client.receive().properties.all("subscription_identifier")


@pytest.mark.rule("X5.0-3.8.4-3")
def test_subscribing_again_replaces_the_subscription_identifier(connect, topic):
    alice, bob = connect(V5), connect(V5)
    seen = []
    for identifier in (7, 268_435_455, None):
        bob.subscribe(topic, properties=identifier and {"subscription_identifier": identifier})
        alice.publish(topic)
        seen.append(_identifiers(bob))
    assert seen == [[7], [268_435_455], []]


@pytest.mark.rule("X5.0-3.8.4-3")
def test_unsubscribing_removes_the_subscription_identifier(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(f"{topic}/+", properties={"subscription_identifier": 1})
    bob.subscribe(f"{topic}/a", properties={"subscription_identifier": 2})
    bob.unsubscribe(f"{topic}/a")
    alice.publish(f"{topic}/a")
    assert _identifiers(bob) == [1]
    bob.subscribe(f"{topic}/a")
    alice.publish(f"{topic}/a")
    assert _identifiers(bob) == [1]


@pytest.mark.rule("X5.0-3.8.4-3")
def test_a_new_session_knows_no_subscription_identifier_of_the_old(connect, topic, client_id):
    forever = {"session_expiry_interval": 600}
    bob = connect(V5, client_id, properties=forever)
    bob.subscribe(topic, properties={"subscription_identifier": 7})
    bob.disconnect()
    bob = connect(V5, client_id, clean_start=True)
    bob.subscribe(topic)
    connect(V5).publish(topic)
    assert _identifiers(bob) == []

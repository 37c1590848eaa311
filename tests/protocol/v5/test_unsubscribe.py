# SPDX-License-Identifier: Apache-2.0
"""UNSUBSCRIBE and UNSUBACK (3.10, 3.11)."""

import pytest

from kit import PUBLISH, PUBREL, UNSUBACK, V5, pubcomp, pubrec, unsubscribe

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
NO_SUBSCRIPTION_EXISTED, FILTER_INVALID = 0x11, 0x8F


# ---- the packet --------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.10.1-1")
@pytest.mark.parametrize("flags", [0, 1, 3, 6, 10, 15], ids=bin)
def test_unsubscribe_with_other_flags_is_malformed(connect, topic, flags):
    alice = connect(V5)
    alice.subscribe(topic)
    alice.send(unsubscribe(topic, flags=flags))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-3.10.3-1")
@pytest.mark.parametrize("raw", [b"\xff", b"a/\xed\xa0\x80", b"\xc0\xaf", b"a/\xe2\x82", b"a\0b"],
                         ids=["ff", "surrogate", "overlong", "cut-off", "nul"])
def test_a_filter_of_ill_formed_utf8_is_malformed(connect, raw):
    alice = connect(V5)
    alice.send(unsubscribe(raw))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-3.10.3-2")
def test_unsubscribe_without_a_filter_is_a_protocol_error(connect):
    alice = connect(V5)
    alice.send(unsubscribe([]))
    alice.expect_closed(PROTOCOL_ERROR)


# ---- the answer --------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.10.4-4", "v5 MQTT-3.10.4-5")
@pytest.mark.parametrize("number", [1, 300, 65535])
def test_unsuback_answers_with_the_identifier_of_unsubscribe(connect, topic, number):
    alice = connect(V5)
    alice.subscribe(topic)
    alice.send(unsubscribe(topic, id=number))
    alice.expect(UNSUBACK, id=number, codes=[0])


@pytest.mark.rule("v5 MQTT-3.10.4-5")
def test_unsuback_says_that_no_subscription_existed(connect, topic):
    alice = connect(V5)
    alice.send(unsubscribe(topic, id=12))
    alice.expect(UNSUBACK, id=12, codes=[NO_SUBSCRIPTION_EXISTED])


@pytest.mark.rule("v5 MQTT-3.11.3-1", "v5 MQTT-3.11.3-2")
def test_unsuback_has_a_code_for_each_filter_in_their_order(connect, topic):
    alice = connect(V5)
    alice.subscribe([f"{topic}/b", f"{topic}/d"])
    answer = alice.unsubscribe([f"{topic}/{name}" for name in "abcde"])
    assert answer.codes == [0x11, 0, 0x11, 0, 0x11]


@pytest.mark.rule("v5 MQTT-3.11.3-1", "v5 MQTT-3.11.3-2")
def test_unsuback_of_a_thousand_filters_keeps_their_order(connect, topic):
    alice = connect(V5)
    alice.subscribe([f"{topic}/{n}" for n in range(0, 1000, 3)])
    answer = alice.unsubscribe([f"{topic}/{n}" for n in range(1000)])
    assert answer.codes == [0x11 if n % 3 else 0 for n in range(1000)]


@pytest.mark.rule("v5 MQTT-3.11.3-2")
@pytest.mark.parametrize("filter", ["", "a#", "a/#/b", "+a", "$share//x", "$share/g", "$share/+/x"])
def test_an_invalid_filter_is_refused_and_the_connection_stays(connect, filter):
    alice = connect(V5)
    assert alice.unsubscribe(filter).codes == [FILTER_INVALID]
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.11.2-1", "v5 MQTT-3.11.2-2")
def test_unsuback_that_refuses_fits_the_maximum_packet_size(connect, topic):
    alice = connect(V5, properties={"maximum_packet_size": 20})
    assert alice.unsubscribe([topic, "a#"]).size <= 20


# ---- what goes ---------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-3.10.4-1")
@pytest.mark.parametrize("kept, other", [("{}/a/b", "{}/a/+"), ("{}/a/+", "{}/a/b"),
                                         ("{}/#", "{}/+"), ("{}/a", "{}/A"), ("{}/a", "{}/a/"),
                                         ("{}/a", "/{}/a")])
def test_unsubscribe_compares_character_by_character(connect, topic, kept, other):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([kept.format(topic), f"{topic}/end"])
    assert bob.unsubscribe(other.format(topic)).codes == [NO_SUBSCRIPTION_EXISTED]
    name = kept.format(topic).replace("+", "b").replace("#", "a")
    alice.publish(name, "m")
    bob.receive(topic=name, payload="m")


@pytest.mark.rule("v5 MQTT-3.10.4-1")
@pytest.mark.parametrize("filter", ["{}", "{}/+", "{}/#", "+/{}", "/{}", "{}//", "$share/g/{}/#"])
def test_unsubscribe_of_the_same_filter_deletes_the_subscription(connect, topic, filter):
    filter = filter.format(topic)
    alice = connect(V5)
    alice.subscribe(filter)
    assert alice.unsubscribe(filter).codes == [0]
    assert alice.unsubscribe(filter).codes == [NO_SUBSCRIPTION_EXISTED]


@pytest.mark.rule("v5 MQTT-3.10.4-2")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_nothing_comes_after_unsuback(connect, topic, qos):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([(topic, qos), (f"{topic}/end", 0)])
    bob.unsubscribe(topic)
    alice.publish(topic, "late", qos)
    alice.publish(f"{topic}/end", "end")
    bob.receive(topic=f"{topic}/end")


@pytest.mark.rule("v5 MQTT-3.10.4-2")
def test_an_overlapping_subscription_stays(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([(f"{topic}/+", 1), (f"{topic}/a", 2)])
    bob.unsubscribe(f"{topic}/a")
    alice.publish(f"{topic}/a", "m", 2)
    bob.receive(payload="m", qos=1)


@pytest.mark.rule("v5 MQTT-3.10.4-3")
def test_a_qos_2_delivery_goes_on_after_unsubscribe(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, 2)
    alice.publish(topic, "m", 2)
    number = bob.expect(PUBLISH, qos=2).id
    bob.unsubscribe(topic)
    bob.send(pubrec(number))
    bob.expect(PUBREL, id=number, reason=0)
    bob.send(pubcomp(number))
    bob.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.10.4-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_delivery_is_resumed_by_the_session_after_unsubscribe(connect, topic, client_id, qos):
    stay = {"session_expiry_interval": 600}
    bob = connect(V5, client_id, properties=stay)
    bob.subscribe(topic, qos)
    connect(V5).publish(topic, "m", qos)
    number = bob.expect(PUBLISH).id
    bob.unsubscribe(topic)
    bob.close()
    bob = connect(V5, client_id, clean_start=False, properties=stay)
    bob.receive(id=number, payload="m", qos=qos, dup=True)


@pytest.mark.rule("v5 MQTT-3.10.4-6")
def test_several_filters_in_one_packet_all_go(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([f"{topic}/{name}" for name in "abcd"])
    assert bob.unsubscribe([f"{topic}/{name}" for name in "abc"]).codes == [0, 0, 0]
    for name in "abcd":
        alice.publish(f"{topic}/{name}")
    bob.receive(topic=f"{topic}/d")


@pytest.mark.rule("v5 MQTT-3.10.4-6")
def test_the_same_filter_twice_in_one_packet_goes_once(connect, topic):
    alice = connect(V5)
    alice.subscribe(topic)
    assert alice.unsubscribe([topic, topic]).codes == [0, NO_SUBSCRIPTION_EXISTED]


@pytest.mark.rule("X5.0-3.10.4-1")
def test_unsubscribing_a_shared_filter_detaches_this_session_alone(connect, topic):
    shared = f"$share/group/{topic}"
    alice, bob, carol = connect(V5), connect(V5), connect(V5)
    bob.subscribe(shared)
    carol.subscribe(shared)
    assert bob.unsubscribe(shared).codes == [0]
    for number in range(4):
        alice.publish(topic, str(number))
        carol.receive(payload=str(number))
    bob.quiet_after(alice)


@pytest.mark.rule("X5.0-3.10.4-1")
def test_a_shared_filter_and_the_same_filter_alone_are_two_subscriptions(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe([f"$share/group/{topic}", topic])
    assert bob.unsubscribe(f"$share/other/{topic}").codes == [NO_SUBSCRIPTION_EXISTED]
    assert bob.unsubscribe(f"$share/group/{topic}").codes == [0]
    alice.publish(topic, "m")
    bob.receive(payload="m")
    bob.expect_quiet()

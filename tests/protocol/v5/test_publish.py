# SPDX-License-Identifier: Apache-2.0
"""PUBLISH: flags, topic name, answers, subscriptions that overlap (3.3.1, 3.3.2, 3.3.4)."""

import pytest

from kit import PUBACK, PUBCOMP, PUBLISH, PUBREC, V5, publish, pubrel

MALFORMED, PROTOCOL_ERROR, TOPIC_NAME_INVALID = 0x81, 0x82, 0x90
KEPT = {"session_expiry_interval": 60}


# ---- DUP ----------------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.3.1-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_each_new_attempt_to_deliver_has_dup(connect, client_id, topic, qos):
    alice, bob = connect(V5, client_id, properties=KEPT), connect(V5)
    alice.subscribe(topic, qos)
    bob.publish(topic, "x", qos=qos)
    number = alice.expect(PUBLISH, dup=False).id
    for _ in range(3):
        alice.close()
        alice = connect(V5, client_id, clean_start=False, properties=KEPT)
        alice.expect(PUBLISH, id=number, qos=qos, payload="x", dup=True)


@pytest.mark.rule("v5 MQTT-3.3.1-1")
def test_a_message_that_only_waited_has_no_dup(connect, client_id, topic):
    alice = connect(V5, client_id, properties={**KEPT, "receive_maximum": 1})
    bob = connect(V5)
    alice.subscribe(topic, qos=1)
    bob.publish(topic, "sent", qos=1)
    bob.publish(topic, "waits", qos=1)
    alice.expect(PUBLISH, payload="sent")
    alice.close()
    again = connect(V5, client_id, clean_start=False, properties=KEPT)
    again.receive(payload="sent", dup=True)
    again.receive(payload="waits", dup=False)


@pytest.mark.rule("v5 MQTT-3.3.1-2")
def test_dup_on_a_qos_0_publish_is_an_error(connect, topic):
    alice = connect(V5)
    alice.send(publish(topic, "x", qos=0, dup=True))
    alice.expect_closed({MALFORMED, PROTOCOL_ERROR})


@pytest.mark.rule("v5 MQTT-3.3.1-3", "v5 MQTT-3.3.1-2")
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_dup_of_a_received_publish_is_not_passed_on(connect, topic, qos, granted):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(topic, granted)
    bob.send(publish(topic, "x", qos=qos, id=7, dup=True))
    bob.expect(PUBACK if qos == 1 else PUBREC, id=7)
    if qos == 2:
        bob.send(pubrel(7))
    alice.receive(payload="x", qos=min(qos, granted), dup=False)


# ---- QoS ----------------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.3.1-4")
@pytest.mark.parametrize("dup", [False, True])
def test_a_publish_of_qos_3_is_malformed(connect, topic, dup):
    alice = connect(V5)
    alice.send(publish(topic, "x", qos=3, id=7, dup=dup))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-3.3.4-1")
def test_qos_0_is_answered_by_nothing(connect, topic):
    alice = connect(V5)
    alice.publish(topic, "x", qos=0)
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.3.4-1")
def test_qos_1_is_answered_by_one_puback(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, qos=1)
    alice.send(publish(topic, "x", qos=1, id=7))
    alice.expect(PUBACK, id=7, reason=0)
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.3.4-1")
def test_qos_2_is_answered_by_one_pubrec(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, qos=2)
    alice.send(publish(topic, "x", qos=2, id=7))
    alice.expect(PUBREC, id=7, reason=0)
    alice.expect_quiet()
    alice.send(pubrel(7))
    alice.expect(PUBCOMP, id=7, reason=0)


@pytest.mark.rule("v5 MQTT-3.3.4-1")
@pytest.mark.parametrize("qos, answer", [(1, PUBACK), (2, PUBREC)])
def test_the_answer_to_a_publish_without_subscribers_says_so(connect, topic, qos, answer):
    alice = connect(V5)
    alice.send(publish(topic, "x", qos=qos, id=7))
    alice.expect(answer, id=7, reason=0x10)


# ---- topic names --------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.3.2-2")
@pytest.mark.parametrize("name", ["#", "+", "a/#", "a/+/b", "a+", "a#b", "+/#"])
def test_a_wildcard_in_a_topic_name_is_refused_with_0x90(connect, name):
    alice = connect(V5)
    alice.send(publish(name, "x"))
    alice.expect_closed(TOPIC_NAME_INVALID)


@pytest.mark.rule("v5 MQTT-3.3.2-1", "X5.0-3.3.2.1-1")
def test_an_empty_topic_name_without_an_alias_is_a_protocol_error(connect):
    alice = connect(V5)
    alice.send(publish("", "x"))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("v5 MQTT-3.3.2-1")
@pytest.mark.parametrize("body", [b"", b"\0", b"\0\4abc"], ids=lambda raw: raw.hex() or "empty")
def test_a_publish_cut_short_in_its_topic_name_is_malformed(connect, body):
    alice = connect(V5)
    alice.send(publish("t", body=body))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-3.3.2-3")
@pytest.mark.parametrize("filter, name", [
    ("{}/a", "{}/a"), ("{}/+", "{}/a"), ("{}/+", "{}/"), ("{}/#", "{}"), ("{}/#", "{}/a/b/c"),
    ("{}/+/b/#", "{}/a/b"), ("{}//+", "{}//a"), ("{}/ä", "{}/ä")], ids=ascii)
def test_a_message_comes_under_its_topic_name_to_filters_that_match(connect, topic, filter, name):
    alice = connect(V5)
    alice.subscribe(filter.format(topic))
    connect(V5).publish(name.format(topic), "x")
    alice.receive(topic=name.format(topic), payload="x")


@pytest.mark.rule("v5 MQTT-3.3.2-3")
@pytest.mark.parametrize("filter, name", [
    ("{}/a", "{}/A"), ("{}/a", "{}/a/"), ("{}/a", "{}/ab"), ("{}/a", "{}"), ("{}/+", "{}"),
    ("{}/+", "{}/a/b"), ("{}/+/c", "{}/a/b"), ("{}/a/#", "{}/b"), ("{}/a/#", "{}/ab"),
    ("{}", "/{}")], ids=ascii)
def test_a_message_does_not_come_to_filters_that_do_not_match(connect, topic, filter, name):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(filter.format(topic))
    bob.publish(name.format(topic), "x")
    alice.quiet_after(bob)


@pytest.mark.rule("v5 MQTT-3.3.2-3")
@pytest.mark.parametrize("size", [0, 1, 100, 5_000, 70_000, 1_000_000])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_payloads_of_any_size_arrive_unaltered(connect, topic, size, qos):
    payload = bytes(number % 251 for number in range(size))
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(topic, qos)
    bob.publish(topic, payload, qos=qos)
    assert alice.receive(topic=topic, qos=qos).payload == payload


# ---- overlapping subscriptions ------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.3.4-2")
@pytest.mark.parametrize("first, second", [(0, 2), (2, 0), (0, 1), (1, 2)])
def test_overlapping_subscriptions_get_one_copy_at_their_highest_qos(connect, topic, first, second):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe([(f"{topic}/+", first), (f"{topic}/#", second)])
    bob.publish(f"{topic}/a", "x", qos=2)
    alice.receive(payload="x", qos=max(first, second))
    alice.quiet_after(bob)


@pytest.mark.rule("v5 MQTT-3.3.4-2")
def test_the_highest_qos_of_subscriptions_is_no_more_than_that_of_the_message(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe([(f"{topic}/+", 1), (f"{topic}/#", 2)])
    bob.publish(f"{topic}/a", "x", qos=1)
    alice.receive(payload="x", qos=1)


@pytest.mark.rule("v5 MQTT-3.3.4-3", "v5 MQTT-3.3.4-4")
def test_one_copy_has_the_identifiers_of_all_its_subscriptions(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(f"{topic}/+", properties={"subscription_identifier": 5})
    alice.subscribe(f"{topic}/#", qos=1, properties={"subscription_identifier": 70_000})
    alice.subscribe(f"{topic}/a")
    alice.subscribe(f"{topic}/b", properties={"subscription_identifier": 9})
    bob.publish(f"{topic}/a", "x", qos=1)
    packet = alice.receive(payload="x", qos=1)
    assert sorted(packet.properties.all("subscription_identifier")) == [5, 70_000]
    alice.quiet_after(bob)


@pytest.mark.rule("v5 MQTT-3.3.4-3")
def test_a_subscription_without_identifier_adds_none(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(topic)
    bob.subscribe(topic, properties={"subscription_identifier": 7})
    bob.publish(topic, "x")
    assert "subscription_identifier" not in alice.receive(payload="x").properties
    assert bob.receive(payload="x").properties == [("subscription_identifier", 7)]


@pytest.mark.rule("v5 MQTT-3.3.4-3", "v5 MQTT-3.1.2-23")
def test_a_message_that_waited_has_the_identifiers_of_its_subscriptions(connect, client_id, topic):
    alice = connect(V5, client_id, properties=KEPT)
    alice.subscribe(f"{topic}/+", qos=1, properties={"subscription_identifier": 5})
    alice.subscribe(f"{topic}/#", qos=1, properties={"subscription_identifier": 6})
    alice.disconnect()
    connect(V5).publish(f"{topic}/a", "x", qos=1)
    again = connect(V5, client_id, clean_start=False)
    packet = again.receive(payload="x")
    assert sorted(packet.properties.all("subscription_identifier")) == [5, 6]


@pytest.mark.rule("X5.0-3.3.4-4")
def test_an_identifier_shared_by_subscriptions_is_repeated(connect, topic):
    alice = connect(V5)
    alice.subscribe([f"{topic}/+", f"{topic}/#"], properties={"subscription_identifier": 5})
    connect(V5).publish(f"{topic}/a", "x")
    packet = alice.receive(payload="x")
    assert packet.properties.all("subscription_identifier") == [5, 5]


@pytest.mark.rule("X5.0-3.3.4-4", "v5 MQTT-3.3.4-3")
def test_a_member_of_a_group_gets_its_own_identifier_only(connect, topic):
    members = {1: connect(V5), 2: connect(V5)}
    for identifier, member in members.items():
        member.subscribe(f"$share/group/{topic}",
                         properties={"subscription_identifier": identifier})
    bob = connect(V5)
    for _ in range(2):  # each in turn
        bob.publish(topic, "x")
    for identifier, member in members.items():
        assert member.receive(payload="x").properties == [("subscription_identifier", identifier)]


@pytest.mark.rule("v5 MQTT-3.3.4-5")
def test_copies_for_separate_subscriptions_have_the_identifier_of_their_own(connect, topic):
    alice = connect(V5)
    alice.subscribe(f"$share/group/{topic}", properties={"subscription_identifier": 1})
    alice.subscribe(topic, properties={"subscription_identifier": 2})
    alice.publish(topic, "x")
    seen = [alice.receive(payload="x").properties.all("subscription_identifier") for _ in range(2)]
    assert sorted(seen) == [[1], [2]]


@pytest.mark.rule("v5 MQTT-3.3.4-6", "X5.0-3.3.2.3.8-1")
@pytest.mark.parametrize("identifier", [0, 1, [1, 2]])
def test_a_subscription_identifier_in_a_clients_publish_is_a_protocol_error(
        connect, topic, identifier):
    alice = connect(V5)
    alice.send(publish(topic, properties={"subscription_identifier": identifier}))
    alice.expect_closed(PROTOCOL_ERROR)

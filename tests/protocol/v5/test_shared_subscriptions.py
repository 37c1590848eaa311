# SPDX-License-Identifier: Apache-2.0
"""Shared subscriptions (4.8.2). Which member gets a message: see ../test_shared_strategies.py."""

import pytest

from kit import PUBLISH, PUBREL, SUBACK, V311, V5, puback, pubcomp, pubrec, subscribe

FILTER_INVALID = 0x8F
LASTING = {"session_expiry_interval": 600}


def _payloads(client, publisher):
    """What has come of what `publisher` published so far."""
    end = "end/" + client.client_id
    client.subscribe(end)
    publisher.publish(end)
    seen = []
    while (packet := client.expect(PUBLISH)).topic != end:
        client.acknowledge(packet)
        seen.append(packet.payload.decode())
    return seen


def _members(connect, shared, count, qos=0, **fields):
    members = [connect(V5, **fields) for _ in range(count)]
    for member in members:
        member.subscribe(shared, qos)
    return members


@pytest.fixture
def share(topic):
    return f"$share/group/{topic}"


# ---- names -------------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-4.8.2-1")
@pytest.mark.parametrize("filter", ["$share/", "$share//", "$share//a", "$share//#"])
def test_a_share_name_has_at_least_one_character(connect, filter):
    alice = connect(V5)
    alice.send(subscribe(filter))
    alice.expect(SUBACK, codes=[FILTER_INVALID])


@pytest.mark.rule("v5 MQTT-4.8.2-2")
@pytest.mark.parametrize("filter", ["$share/+/a", "$share/#/a", "$share/#", "$share/g+/a",
                                    "$share/+g/a", "$share/g#/a", "$share/a#b/a"])
def test_a_share_name_has_no_wildcards(connect, filter):
    alice = connect(V5)
    alice.send(subscribe(filter))
    alice.expect(SUBACK, codes=[FILTER_INVALID])


@pytest.mark.rule("v5 MQTT-4.8.2-2")
@pytest.mark.parametrize("filter", ["$share/g", "$share/g/", "$share/g/a#", "$share/g/#/a",
                                    "$share/g/a+"])
def test_a_share_name_is_followed_by_a_valid_filter(connect, filter):
    alice = connect(V5)
    alice.send(subscribe(filter))
    alice.expect(SUBACK, codes=[FILTER_INVALID])


@pytest.mark.rule("v5 MQTT-4.8.2-2")
@pytest.mark.parametrize("filter", ["$share/g//", "$share/g//a", "$share/g/#", "$share/g/+/+",
                                    "$share/$g/a", "$share/ /a", "$share/\u00e9/a", "$share/g/$a"],
                         ids=ascii)
def test_other_share_names_and_filters_are_granted(connect, filter):
    alice = connect(V5)
    assert alice.subscribe(filter).codes == [0]
    assert alice.unsubscribe(filter).codes == [0]


@pytest.mark.rule("v5 MQTT-4.8.2-1")
def test_only_the_very_word_share_makes_a_share(connect, topic):
    clients = [connect(V5) for _ in range(2)]
    for client in clients:
        client.subscribe(f"$SHARE/group/{topic}")
    connect(V5).publish(f"$SHARE/group/{topic}", "m")
    for client in clients:
        client.receive(payload="m")


@pytest.mark.rule("X5.0-3.2.2.3.13-1")
def test_a_broker_without_shared_subscriptions_still_has_plain_ones(connect, broker_with, topic):
    alice = connect(V5, broker=broker_with({"mqtt": {"shared_available": False}}))
    alice.subscribe([topic, f"{topic}/#"])
    alice.publish(topic, "m")
    alice.receive(payload="m")
    alice.send(subscribe(f"$share/group/{topic}"))
    alice.expect_closed(0x9E)


def test_before_5_0_an_unavailable_shared_subscription_is_refused(connect, broker_with, topic):
    alice = connect(V311, broker=broker_with({"mqtt": {"shared_available": False}}))
    alice.send(subscribe([f"$share/group/{topic}", topic]))
    alice.expect(SUBACK, codes=[0x80, 0])


# ---- who gets a message ------------------------------------------------------------------------


@pytest.mark.rule("X5.0-4.8.2-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_message_goes_to_exactly_one_member(connect, topic, share, qos):
    members, alice = _members(connect, share, 5, qos), connect(V5)
    for number in range(50):
        alice.publish(topic, str(number), qos)
    seen = [payload for member in members for payload in _payloads(member, alice)]
    assert sorted(seen, key=int) == [str(number) for number in range(50)]


@pytest.mark.rule("X5.0-4.8.2-1")
def test_each_share_and_each_plain_subscriber_gets_a_message(connect, topic):
    groups = [_members(connect, f"$share/{name}/{topic}", 2) for name in ("one", "two")]
    plain, alice = _members(connect, topic, 2), connect(V5)
    alice.publish(topic, "m")
    for group in groups:
        assert [payload for member in group for payload in _payloads(member, alice)] == ["m"]
    for client in plain:
        client.receive(payload="m")


@pytest.mark.rule("X5.0-4.8.2-1")
def test_one_share_name_with_two_filters_makes_two_shares(connect, topic):
    one, two, alice = connect(V5), connect(V5), connect(V5)
    one.subscribe(f"$share/group/{topic}/a")
    two.subscribe(f"$share/group/{topic}/+")
    for number in range(4):
        alice.publish(f"{topic}/a", str(number))
    assert _payloads(one, alice) == _payloads(two, alice) == ["0", "1", "2", "3"]


@pytest.mark.rule("X5.0-4.8.2-1")
@pytest.mark.parametrize("filter, name", [("{}/+/b", "{}/a/b"), ("{}/#", "{}"), ("/{}", "/{}")],
                         ids=lambda text: text.replace("{}", "t"))
def test_the_share_prefix_plays_no_part_in_matching(connect, topic, filter, name):
    bob, alice = connect(V5), connect(V5)
    bob.subscribe("$share/group/" + filter.format(topic))
    alice.publish(name.format(topic), "m")
    alice.publish("$share/group/" + name.format(topic), "to the filter's own name")
    assert _payloads(bob, alice) == ["m"]


@pytest.mark.rule("X5.0-4.8.2-2")
def test_a_session_that_subscribes_again_is_one_member(connect, topic, share):
    bob, alice = connect(V5), connect(V5)
    for qos in (0, 1, 1):
        bob.subscribe(share, qos)
    for number in range(6):
        alice.publish(topic, str(number), 1)
    assert _payloads(bob, alice) == ["0", "1", "2", "3", "4", "5"]
    assert bob.unsubscribe(share).codes == [0]
    alice.publish(topic, "late")
    assert _payloads(bob, alice) == []


@pytest.mark.rule("X5.0-4.8.2-2")
def test_subscribing_again_gives_no_greater_share(connect, topic, share):
    alice, bob, carol = connect(V5), connect(V5), connect(V5)
    bob.subscribe(share)
    carol.subscribe(share)
    for _ in range(5):
        bob.subscribe(share)
    for number in range(10):
        alice.publish(topic, str(number))
    assert len(_payloads(bob, alice)) == len(_payloads(carol, alice)) == 5


@pytest.mark.rule("v5 MQTT-4.8.2-3")
@pytest.mark.parametrize("published", [0, 1, 2])
def test_a_message_respects_the_qos_granted_to_the_chosen_member(connect, topic, share, published):
    alice, members = connect(V5), [connect(V5) for _ in range(3)]
    for granted, member in enumerate(members):
        member.subscribe(share, granted)
    for _ in range(9):
        alice.publish(topic, "m", published)
    for granted, member in enumerate(members):
        for _ in range(3):
            member.receive(payload="m", qos=min(published, granted))


# ---- members that go away ----------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-4.8.2-4")
@pytest.mark.parametrize("released", [False, True], ids=["before-pubrec", "after-pubrec"])
def test_a_qos_2_delivery_is_completed_to_the_member_it_began_with(connect, topic, share, client_id,
                                                                   released):
    alice, bob = connect(V5), connect(V5, client_id, properties=LASTING)
    bob.subscribe(share, 2)
    alice.publish(topic, "m", 2)
    number = bob.expect(PUBLISH, qos=2).id
    other = connect(V5)
    other.subscribe(share, 2)
    if released:
        bob.send(pubrec(number))
        bob.expect(PUBREL, id=number)
    bob.close()
    assert _payloads(other, alice) == []
    bob = connect(V5, client_id, clean_start=False, properties=LASTING)
    if released:
        bob.expect(PUBREL, id=number)
        bob.send(pubcomp(number))
    else:
        bob.receive(id=number, payload="m", dup=True)
    bob.expect_quiet()
    assert _payloads(other, alice) == []


@pytest.mark.rule("v5 MQTT-4.8.2-5")
@pytest.mark.parametrize("released", [False, True], ids=["before-pubrec", "after-pubrec"])
def test_a_qos_2_message_is_for_nobody_else_when_the_session_ends(connect, topic, share, released):
    alice, bob, other = connect(V5), connect(V5), connect(V5)
    bob.subscribe(share, 2)
    alice.publish(topic, "m", 2)
    number = bob.expect(PUBLISH, qos=2).id
    other.subscribe(share, 2)
    if released:
        bob.send(pubrec(number))
        bob.expect(PUBREL, id=number)
    bob.disconnect()
    assert _payloads(other, alice) == []


@pytest.mark.rule("v5 MQTT-4.8.2-6")
@pytest.mark.parametrize("reason", [0x80, 0x83, 0x87, 0x97], ids=hex)
@pytest.mark.parametrize("qos, answer", [(1, puback), (2, pubrec)], ids=["PUBACK", "PUBREC"])
def test_a_message_that_the_chosen_member_refuses_is_dropped(connect, topic, share, qos, answer,
                                                             reason):
    alice, bob, other = connect(V5), connect(V5), connect(V5)
    bob.subscribe(share, qos)
    alice.publish(topic, "m", qos)
    number = bob.expect(PUBLISH, qos=qos).id
    other.subscribe(share, qos)
    bob.send(answer(number, reason))
    bob.expect_quiet()
    bob.disconnect()
    assert _payloads(other, alice) == []


@pytest.mark.rule("X5.0-4.8.2-3")
@pytest.mark.parametrize("way", ["disconnect", "close"])
def test_unacknowledged_qos_1_messages_go_to_another_member_when_the_session_ends(connect, topic,
                                                                                  share, way):
    alice, bob, other = connect(V5), connect(V5), connect(V5)
    bob.subscribe(share, 1)
    for number in range(3):
        alice.publish(topic, str(number), 1)
    for number in range(3):
        bob.expect(PUBLISH, payload=str(number), qos=1)
    other.subscribe(share, 1)
    bob.disconnect() if way == "disconnect" else bob.close()
    assert [other.receive(qos=1).payload for _ in range(3)] == [b"0", b"1", b"2"]
    assert _payloads(other, alice) == []


@pytest.mark.rule("X5.0-4.8.2-3")
def test_messages_that_wait_behind_a_full_window_go_to_another_member(connect, topic, share):
    alice, other = connect(V5), connect(V5)
    bob = connect(V5, properties={"receive_maximum": 2})
    bob.subscribe(share, 1)
    for number in range(10):
        alice.publish(topic, str(number), 1)
    for number in range(2):
        bob.expect(PUBLISH, payload=str(number))
    other.subscribe(share, 1)
    bob.close()
    assert sorted(int(other.receive(qos=1).payload) for _ in range(10)) == list(range(10))


@pytest.mark.rule("X5.0-4.8.2-3")
def test_a_lost_connection_hands_qos_1_messages_to_a_member_that_is_online(connect, topic, share,
                                                                           client_id):
    alice, bob, other = connect(V5), connect(V5, client_id, properties=LASTING), connect(V5)
    bob.subscribe(share, 1)
    alice.publish(topic, "m", 1)
    bob.expect(PUBLISH, payload="m")
    other.subscribe(share, 1)
    bob.close()
    other.receive(payload="m", qos=1)
    connect(V5, client_id, clean_start=False, properties=LASTING).expect_quiet()


@pytest.mark.rule("X5.0-4.8.2-3")
def test_the_only_member_keeps_its_messages_while_it_is_away(connect, topic, share, client_id):
    alice, bob = connect(V5), connect(V5, client_id, properties=LASTING)
    bob.subscribe(share, 1)
    alice.publish(topic, "sent", 1)
    number = bob.expect(PUBLISH, payload="sent").id
    bob.close()
    alice.publish(topic, "waiting", 1)
    bob = connect(V5, client_id, clean_start=False, properties=LASTING)
    bob.receive(id=number, payload="sent", dup=True)
    bob.receive(payload="waiting")


@pytest.mark.rule("X5.0-4.8.2-3")
def test_a_member_that_is_away_gets_nothing_while_another_is_online(connect, topic, share,
                                                                    client_id):
    alice, bob, other = connect(V5), connect(V5, client_id, properties=LASTING), connect(V5)
    bob.subscribe(share, 1)
    other.subscribe(share, 1)
    bob.disconnect()
    for number in range(6):
        alice.publish(topic, str(number), 1)
        other.receive(payload=str(number))


@pytest.mark.rule("X5.0-4.8.2-4")
def test_the_last_session_takes_undelivered_messages_with_it(connect, topic, share, client_id):
    alice, bob = connect(V5), connect(V5, client_id, properties=LASTING)
    bob.subscribe(share, 1)
    alice.publish(topic, "sent", 1)
    bob.expect(PUBLISH, payload="sent")
    bob.close()
    alice.publish(topic, "waiting", 1)
    connect(V5, client_id, clean_start=True).disconnect()
    other = connect(V5)
    other.subscribe(share, 1)
    assert _payloads(other, alice) == []
    assert not connect(V5, client_id, clean_start=False).connack.session_present


@pytest.mark.rule("X5.0-4.8.2-4")
def test_a_share_of_nobody_takes_no_messages(connect, topic, share):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(share, 1)
    bob.unsubscribe(share)
    assert alice.publish(topic, "m", 1).reason == 0x10
    bob.subscribe(share, 1)
    assert _payloads(bob, alice) == []

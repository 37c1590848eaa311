# SPDX-License-Identifier: Apache-2.0
"""Topic aliases, the client's and the broker's (3.3.2.3.4)."""

import pytest

from kit import PUBLISH, V5, publish

PROTOCOL_ERROR, TOPIC_ALIAS_INVALID = 0x82, 0x94
KEPT = {"session_expiry_interval": 60}


def _alias(number):
    return {"topic_alias": number}


# ---- the client's -------------------------------------------------------------------------------

@pytest.mark.rule("X5.0-3.3.4-2")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_alias_stands_for_the_name_that_it_was_given(connect, topic, qos):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(topic, qos)
    bob.publish(topic, "with the name", qos=qos, properties=_alias(3))
    bob.publish("", "by its alias", qos=qos, properties=_alias(3))
    for payload in ("with the name", "by its alias"):
        packet = alice.receive(topic=topic, payload=payload, qos=qos)
        assert packet.properties == []


@pytest.mark.rule("X5.0-3.3.4-2")
def test_an_alias_can_be_given_to_another_name(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(f"{topic}/#")
    for name in ("first", "second, which is longer", "3"):
        bob.publish(f"{topic}/{name}", "with the name", properties=_alias(1))
        bob.publish("", "by its alias", properties=_alias(1))
        alice.receive(topic=f"{topic}/{name}", payload="with the name")
        alice.receive(topic=f"{topic}/{name}", payload="by its alias")


@pytest.mark.rule("X5.0-3.3.4-2")
def test_two_aliases_may_stand_for_one_name(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(topic)
    for number in (1, 2):
        bob.publish(topic, properties=_alias(number))
    for number in (2, 1):
        bob.publish("", f"by {number}", properties=_alias(number))
    for payload in ("", "", "by 2", "by 1"):
        alice.receive(topic=topic, payload=payload)


@pytest.mark.rule("X5.0-3.3.4-2")
def test_an_alias_is_the_publishers_own(connect, topic):
    alice, bob, carol = connect(V5), connect(V5), connect(V5)
    alice.subscribe(f"{topic}/#")
    bob.publish(f"{topic}/bob", properties=_alias(1))
    alice.receive(topic=f"{topic}/bob")
    carol.publish(f"{topic}/carol", properties=_alias(1))
    alice.receive(topic=f"{topic}/carol")
    bob.publish("", properties=_alias(1))
    alice.receive(topic=f"{topic}/bob")


@pytest.mark.rule("v5 MQTT-3.3.2-12")
def test_every_alias_up_to_the_announced_maximum_is_accepted(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(f"{topic}/+")
    maximum = bob.connack.properties.get("topic_alias_maximum")
    assert maximum >= 1
    for number in range(1, maximum + 1):
        bob.publish(f"{topic}/{number}", properties=_alias(number))
        alice.receive(topic=f"{topic}/{number}")
    for number in range(1, maximum + 1):
        bob.publish("", properties=_alias(number))
        alice.receive(topic=f"{topic}/{number}")


@pytest.mark.rule("v5 MQTT-3.3.2-7")
def test_an_alias_does_not_outlive_its_connection(connect, client_id, topic):
    alice = connect(V5, client_id, properties=KEPT)
    alice.publish(topic, properties=_alias(1))
    alice.disconnect()
    again = connect(V5, client_id, clean_start=False)
    assert again.connack.session_present
    again.send(publish("", properties=_alias(1)))
    again.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("X5.0-3.3.4-3", "X5.0-3.3.2.1-1")
@pytest.mark.parametrize("qos", [0, 1])
def test_an_alias_that_was_given_no_name_is_a_protocol_error(connect, topic, qos):
    alice = connect(V5)
    alice.publish(topic, properties=_alias(1))
    alice.send(publish("", qos=qos, id=7 if qos else None, properties=_alias(2)))
    alice.expect_closed(PROTOCOL_ERROR)


@pytest.mark.rule("v5 MQTT-3.3.2-8", "X5.0-3.3.4-1")
@pytest.mark.parametrize("name", ["a/name", ""], ids=["name", "no-name"])
def test_alias_0_is_invalid(connect, name):
    alice = connect(V5)
    alice.send(publish(name, properties=_alias(0)))
    alice.expect_closed(TOPIC_ALIAS_INVALID)


@pytest.mark.rule("v5 MQTT-3.3.2-9", "v5 MQTT-3.2.2-17", "X5.0-3.3.4-1")
@pytest.mark.parametrize("above", [1, 1000])
def test_an_alias_above_the_announced_maximum_is_invalid(connect, topic, above):
    watcher, alice = connect(V5), connect(V5)
    watcher.subscribe(topic)
    maximum = alice.connack.properties.get("topic_alias_maximum")
    alice.send(publish(topic, properties=_alias(maximum + above)))
    alice.expect_closed(TOPIC_ALIAS_INVALID)
    watcher.quiet_after(connect(V5))


@pytest.mark.rule("v5 MQTT-3.3.2-2")
def test_an_alias_for_a_name_with_wildcards_is_refused(connect, topic):
    alice = connect(V5)
    alice.send(publish(f"{topic}/#", properties=_alias(1)))
    alice.expect_closed(0x90)


@pytest.mark.rule("X5.0-3.3.4-2", "v5 MQTT-3.3.1-5")
def test_a_message_by_its_alias_can_be_retained(connect, topic):
    alice, bob = connect(V5), connect(V5)
    alice.publish(topic, "passing", properties=_alias(1))
    alice.publish("", "kept", qos=1, retain=True, properties=_alias(1))
    bob.subscribe(topic)
    assert bob.receive(topic=topic, payload="kept", retain=True).properties == []


# ---- the broker's -------------------------------------------------------------------------------

def _aliases_used(alice, bob, topic):
    """The aliases on messages of five topics, each sent twice."""
    used = []
    for name in [f"{topic}/{number}" for number in range(5)] * 2:
        bob.publish(name, "x", qos=1)
        packet = alice.receive(topic=name)
        used += packet.properties.all("topic_alias")
    return used


@pytest.mark.rule("v5 MQTT-3.1.2-26", "v5 MQTT-3.3.2-11", "v5 MQTT-3.3.2-8")
@pytest.mark.parametrize("maximum", [1, 2, 100])
def test_the_broker_uses_no_alias_above_the_clients_maximum(connect, topic, maximum):
    alice, bob = connect(V5, properties={"topic_alias_maximum": maximum}), connect(V5)
    alice.subscribe(f"{topic}/+", qos=1)
    assert set(_aliases_used(alice, bob, topic)) <= set(range(1, maximum + 1))


@pytest.mark.rule("v5 MQTT-3.1.2-27")
@pytest.mark.parametrize("properties", [None, {"topic_alias_maximum": 0}], ids=str)
def test_the_broker_uses_no_alias_for_a_client_that_allows_none(connect, topic, properties):
    alice, bob = connect(V5, properties=properties), connect(V5)
    alice.subscribe(f"{topic}/+", qos=1)
    assert _aliases_used(alice, bob, topic) == []


@pytest.mark.rule("v5 MQTT-3.3.2-7")
def test_the_broker_names_its_aliases_anew_on_each_connection(connect, client_id, topic):
    bob = connect(V5)
    properties = {**KEPT, "topic_alias_maximum": 10}
    connect(V5, client_id, properties=properties).subscribe(topic, qos=1)
    for _ in range(2):
        alice = connect(V5, client_id, clean_start=False, properties=properties)
        for _ in range(3):
            bob.publish(topic, "x", qos=1)
            alice.receive(topic=topic)  # fails if the alias has no name on this connection
        alice.disconnect()


@pytest.mark.rule("v5 MQTT-3.3.2-7", "v5 MQTT-3.1.2-27")
def test_a_resent_message_has_no_alias_of_the_connection_before(connect, client_id, topic):
    alice = connect(V5, client_id, properties={**KEPT, "topic_alias_maximum": 10})
    bob = connect(V5)
    alice.subscribe(topic, qos=1)
    for payload in ("1", "2"):
        bob.publish(topic, payload, qos=1)
    for _ in range(2):
        alice.wait_for(PUBLISH)
    alice.close()
    again = connect(V5, client_id, clean_start=False)
    for payload in ("1", "2"):
        assert again.receive(topic=topic, payload=payload, dup=True).properties == []

# SPDX-License-Identifier: Apache-2.0
"""$SYS: what the broker tells of itself, and whose topics those are (4.7.2)."""

import pytest

from kit import CONNACK, PUBACK, PUBCOMP, PUBREC, V311, V5, Will, publish, pubrel, wire

NOT_AUTHORIZED, NOT_AUTHORIZED_V3 = 0x87, 5

LOADS = ["messages/received", "messages/sent", "publish/received", "publish/sent",
         "publish/dropped", "bytes/received", "bytes/sent", "sockets", "connections"]

# The names that monitoring for Mosquitto looks for.
NAMES = [
    "version", "uptime", "clients/total", "clients/connected", "clients/disconnected",
    "clients/maximum", "clients/active", "clients/expired", "bytes/received", "bytes/sent",
    "messages/received", "messages/sent", "messages/stored", "publish/messages/received",
    "publish/messages/sent", "publish/messages/dropped", "publish/bytes/received",
    "publish/bytes/sent", "retained messages/count", "store/messages/count", "store/messages/bytes",
    "subscriptions/count", "shared_subscriptions/count", "heap/current", "heap/maximum",
    *[f"load/{name}/{minutes}min" for name in LOADS for minutes in (1, 5, 15)],
]

both_versions = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])


@pytest.fixture
def every_second(broker_with):
    return broker_with({"broker": {"sys_interval": "1s"}})


def _value(client, name, wanted):
    """Reads $SYS/broker/`name` until it is a number for which wanted(number)."""
    client.subscribe(f"$SYS/broker/{name}")
    while not wanted(number := int(client.receive(topic=f"$SYS/broker/{name}").payload)):
        pass
    client.unsubscribe(f"$SYS/broker/{name}")
    return number


# ---- what there is -----------------------------------------------------------------------------


def _version(connect, version=V5):
    bob = connect(version)
    bob.subscribe("$SYS/broker/version")
    bob.receive(topic="$SYS/broker/version")  # a broker may have started just now
    bob.subscribe("$SYS/broker/version")
    return bob.receive(topic="$SYS/broker/version", retain=True).payload


@both_versions
def test_sys_topics_are_retained(connect, version):
    assert _version(connect, version).startswith(b"skein version ")


def test_the_names_that_mosquitto_has_are_there(connect):
    alice = connect(V5)
    alice.subscribe("$SYS/broker/#")
    missing = {f"$SYS/broker/{name}" for name in NAMES}
    while missing:
        missing.discard(alice.receive().topic)


def test_connected_clients_are_counted(connect, every_second):
    alice = connect(V5, broker=every_second)
    before = _value(alice, "clients/connected", lambda number: number >= 1)
    others = [connect(V5, broker=every_second) for _ in range(5)]
    _value(alice, "clients/connected", lambda number: number == before + 5)
    for other in others:
        other.disconnect()
    _value(alice, "clients/connected", lambda number: number == before)
    assert _value(alice, "clients/maximum", lambda number: number >= before + 5)


def test_sessions_that_wait_for_their_client_are_counted(connect, every_second, client_id):
    alice = connect(V5, broker=every_second)
    before = _value(alice, "clients/disconnected", lambda _: True)
    connect(V5, client_id, broker=every_second,
            properties={"session_expiry_interval": 600}).disconnect()
    _value(alice, "clients/disconnected", lambda number: number > before)
    connect(V5, client_id, broker=every_second)  # a session that ends with it
    _value(alice, "clients/disconnected", lambda number: number == before)


def test_subscriptions_are_counted_and_shared_ones_by_themselves(connect, every_second, topic):
    alice, bob = connect(V5, broker=every_second), connect(V5, broker=every_second)
    alice.subscribe("$SYS/broker/+/count")
    seen = {}

    def until(plain, shared):
        while (seen.get("$SYS/broker/subscriptions/count"),
               seen.get("$SYS/broker/shared_subscriptions/count")) != (plain, shared):
            packet = alice.receive()
            seen[packet.topic] = int(packet.payload)

    until(1, 0)
    bob.subscribe([f"{topic}/a", f"{topic}/b", f"$share/g/{topic}"])
    until(4, 1)
    bob.disconnect()
    until(1, 0)


def test_messages_are_counted_both_ways(connect, every_second, topic):
    alice, bob = connect(V5, broker=every_second), connect(V5, broker=every_second)
    received = _value(alice, "publish/messages/received", lambda _: True)
    bob.subscribe(topic)
    for _ in range(20):
        bob.publish(topic, "12345")
        bob.receive()
    assert _value(alice, "publish/messages/received", lambda number: number >= received + 20)
    assert _value(alice, "publish/bytes/received", lambda number: number >= 100)
    assert _value(alice, "publish/messages/sent", lambda number: number >= 20)


def test_retained_messages_are_counted_while_they_are_there(connect, every_second, topic):
    alice = connect(V5, broker=every_second)
    name = "retained messages/count"
    before = _value(alice, name, lambda _: True)
    alice.publish(topic, "kept", 1, retain=True)
    _value(alice, name, lambda number: number == before + 1)
    alice.publish(topic, "", 1, retain=True)
    _value(alice, name, lambda number: number == before)


def test_uptime_goes_on(connect, every_second):
    alice = connect(V5, broker=every_second)
    alice.subscribe("$SYS/broker/uptime")
    seconds = [int(alice.receive().payload.removesuffix(b" seconds")) for _ in range(3)]
    assert seconds == sorted(set(seconds))


def test_without_an_interval_there_are_no_sys_topics(connect, broker_with):
    alice = connect(V5, broker=broker_with({"broker": {"sys_interval": 0}}))
    alice.subscribe("$SYS/#")
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-4.7.2-1", "v3.1.1 MQTT-4.7.2-1")
@both_versions
@pytest.mark.parametrize("filter", ["#", "+/#", "+/broker/#", "+/broker/version"])
def test_filters_that_start_with_a_wildcard_do_not_match_sys(connect, every_second, version,
                                                             filter):
    alice = connect(version, broker=every_second)
    alice.subscribe(filter)
    alice.subscribe("$SYS/broker/uptime")
    updates = 0
    while updates < 2:
        seen = alice.receive().topic
        updates += seen == "$SYS/broker/uptime"
        assert seen == "$SYS/broker/uptime" or not seen.startswith("$")


# ---- whose topics ------------------------------------------------------------------------------


@pytest.mark.rule("X5.0-4.7.2-1")
@pytest.mark.parametrize("name", ["$SYS/broker/version", "$SYS/mine", "$SYS/"])
@pytest.mark.parametrize("qos, answer", [(1, PUBACK), (2, PUBREC)])
def test_publishing_to_sys_is_refused(connect, name, qos, answer):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe("$SYS/mine")
    alice.send(publish(name, "forged", qos, 5))
    alice.expect(answer, id=5, reason=NOT_AUTHORIZED)
    alice.expect_quiet()
    bob.expect_quiet()


@pytest.mark.rule("X5.0-4.7.2-1", "X3.1.1-4.7.2-1")
@both_versions
def test_publishing_to_sys_at_qos_0_is_dropped(connect, version):
    alice, bob = connect(version), connect(version)
    bob.subscribe("$SYS/mine")
    alice.publish("$SYS/mine", "forged")
    alice.expect_quiet()
    bob.quiet_after(alice)


@pytest.mark.rule("X3.1.1-4.7.2-1")
def test_publishing_to_sys_in_3_1_1_is_acknowledged_and_dropped(connect):
    alice, bob = connect(V311), connect(V311)
    bob.subscribe("$SYS/mine")
    alice.publish("$SYS/mine", "forged", 1)
    alice.send(publish("$SYS/mine", "forged", 2, 7))
    alice.expect(PUBREC, id=7)
    alice.send(pubrel(7))
    alice.expect(PUBCOMP, id=7)
    bob.quiet_after(alice)


@pytest.mark.rule("X5.0-4.7.2-1")
def test_a_client_can_neither_replace_nor_clear_a_sys_topic(connect):
    alice, before = connect(V5), _version(connect)
    for payload in ("forged", ""):
        answer = alice.publish("$SYS/broker/version", payload, 1, retain=True)
        assert answer.reason == NOT_AUTHORIZED
    assert _version(connect) == before


@pytest.mark.rule("X5.0-4.7.2-1")
@pytest.mark.parametrize("version, reason", [(V311, NOT_AUTHORIZED_V3), (V5, NOT_AUTHORIZED)],
                         ids=["3.1.1", "5.0"])
def test_a_will_for_sys_is_refused(dial, version, reason):
    alice = dial(version)
    alice.send(wire.connect("sys-will", will=Will("$SYS/mine", "forged")))
    alice.expect(CONNACK, reason=reason)
    alice.expect_closed()


@both_versions
def test_other_topics_of_dollar_are_for_those_who_name_them(connect, topic, version):
    alice, bob = connect(version), connect(version)
    bob.subscribe([f"$else/{topic}", f"$more/{topic}/#"], 1)
    alice.publish(f"$else/{topic}", "one", 1)
    alice.publish(f"$more/{topic}/a", "two", 1)
    bob.receive(topic=f"$else/{topic}", payload="one")
    bob.receive(topic=f"$more/{topic}/a", payload="two")

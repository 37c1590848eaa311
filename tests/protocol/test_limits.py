# SPDX-License-Identifier: Apache-2.0
"""Each limit of the configuration: the reason code, and the metric that shows that it was hit."""

import json
import os
import subprocess
import time

import pytest

from kit import (CONNACK, PINGRESP, PUBACK, PUBLISH, PUBREC, SUBACK, UNSUBACK, V311, V5, Will,
                 encode, patience, pingreq, publish, subscribe, unique, unsubscribe, wire)

ID_NOT_VALID, TOPIC_INVALID, RECEIVE_MAXIMUM_EXCEEDED = 0x85, 0x90, 0x93
TOO_LARGE, QUOTA_EXCEEDED = 0x95, 0x97
ID_REJECTED_V3, UNAVAILABLE_V3 = 2, 3

LASTING = {"session_expiry_interval": 600}
# AddressSanitizer keeps freed memory for a while, unless told otherwise.
FREE_AT_ONCE = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=0"}

both_versions = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])


def _eventually_accepted(dial, broker):
    """Connects until it succeeds: what made room may take the broker a moment."""
    deadline = time.monotonic() + patience()
    while True:
        client = dial(V5, broker=broker)
        client.send(wire.connect(unique()))
        answer = client.next_packet()
        if answer.reason == 0:
            return client
        client.close()
        assert time.monotonic() < deadline, answer


# ---- connections and sessions ------------------------------------------------------------------


@pytest.fixture
def three_connections(own_broker):
    return own_broker({"limits": {"connections": 3}})


@pytest.mark.parametrize("version, reason", [(V311, UNAVAILABLE_V3), (V5, QUOTA_EXCEEDED)],
                         ids=["3.1.1", "5.0"])
def test_a_connection_too_many_is_refused(dial, three_connections, version, reason):
    clients = [_eventually_accepted(dial, three_connections) for _ in range(3)]
    late = dial(version, broker=three_connections)
    late.send(wire.connect(unique()))
    late.expect_refused(reason)
    for client in clients:
        client.expect_quiet()


def test_a_connection_that_ends_makes_room_for_another(dial, three_connections):
    clients = [_eventually_accepted(dial, three_connections) for _ in range(3)]
    clients[0].disconnect()
    _eventually_accepted(dial, three_connections)


@pytest.fixture
def three_sessions(own_broker):
    return own_broker({"limits": {"sessions": 3}})


@pytest.mark.parametrize("version, reason", [(V311, UNAVAILABLE_V3), (V5, QUOTA_EXCEEDED)],
                         ids=["3.1.1", "5.0"])
def test_a_session_too_many_is_refused(connect, dial, three_sessions, version, reason):
    connect(V5, broker=three_sessions)
    connect(V5, broker=three_sessions, properties=LASTING).disconnect()
    connect(V5, broker=three_sessions, properties=LASTING).disconnect()
    late = dial(version, broker=three_sessions)
    late.send(wire.connect(unique()))
    late.expect_refused(reason)


def test_stored_sessions_above_a_lowered_limit_are_kept(own_broker, connect, client_id):
    node = own_broker()
    connect(V5, client_id, broker=node, properties=LASTING).disconnect()
    for _ in range(2):
        connect(V5, broker=node, properties=LASTING).disconnect()
    node.stop()
    node.config = {"limits": {"sessions": 2}}
    node.start()
    node.wait_for_log("store.more_sessions_than_limit sessions=3 key=limits.sessions value=2")
    assert connect(V5, client_id, broker=node, clean_start=False).connack.session_present


@pytest.mark.parametrize("clean_start", [False, True])
def test_a_client_with_a_session_gets_in_at_the_limit(connect, three_sessions, client_id,
                                                      clean_start):
    connect(V5, client_id, broker=three_sessions, properties=LASTING).disconnect()
    for _ in range(2):
        connect(V5, broker=three_sessions)
    again = connect(V5, client_id, broker=three_sessions, clean_start=clean_start)
    assert again.connack.session_present != clean_start


def test_a_session_that_ends_makes_room_for_another(connect, dial, three_sessions):
    clients = [connect(V5, broker=three_sessions) for _ in range(3)]
    clients[0].disconnect()
    _eventually_accepted(dial, three_sessions)


# ---- one client --------------------------------------------------------------------------------


@pytest.fixture
def three_subscriptions(broker_with):
    return broker_with({"limits": {"subscriptions_per_client": 3}})


@pytest.mark.parametrize("version, reason", [(V311, 0x80), (V5, QUOTA_EXCEEDED)],
                         ids=["3.1.1", "5.0"])
def test_a_subscription_too_many_is_refused(connect, three_subscriptions, topic, version, reason):
    alice = connect(version, broker=three_subscriptions)
    filters = [f"{topic}/{n}" for n in range(4)] + [f"$share/g/{topic}"]
    alice.send(subscribe(filters, 1))
    alice.expect(SUBACK, codes=[1, 1, 1, reason, reason])
    alice.publish(f"{topic}/3", "m")
    alice.publish(f"{topic}/0", "m")
    alice.receive(topic=f"{topic}/0")


@pytest.mark.rule("v5 MQTT-3.8.4-3")
def test_a_subscription_is_replaced_at_the_limit(connect, three_subscriptions, topic):
    alice = connect(V5, broker=three_subscriptions)
    alice.subscribe([f"{topic}/a", f"{topic}/b", f"$share/g/{topic}"])
    assert alice.subscribe([f"{topic}/a", f"$share/g/{topic}"], 1).codes == [1, 1]
    alice.unsubscribe(f"{topic}/b")
    assert alice.subscribe(f"{topic}/c", 2).codes == [2]


@pytest.mark.parametrize("version, reason", [(V311, 0x80), (V5, {QUOTA_EXCEEDED, 0x8F})],
                         ids=["3.1.1", "5.0"])
def test_a_filter_of_too_many_levels_is_refused(connect, broker_with, version, reason):
    alice = connect(version, broker=broker_with({"limits": {"filter_levels": 4}}))
    alice.send(subscribe(["a/b/c/d", "a/b/c/d/e", "////", "$share/g/a/b/c/d",
                          "$share/g/a/b/c/d/e"]))
    codes = alice.expect(SUBACK).codes
    assert codes[0] == codes[3] == 0
    assert {codes[1], codes[2], codes[4]} <= (reason if isinstance(reason, set) else {reason})


@both_versions
def test_a_retained_topic_of_too_many_levels_ends_the_connection(connect, broker_with, version):
    alice = connect(version, broker=broker_with({"limits": {"filter_levels": 4}}))
    alice.publish("a/b/c/d", "m", 1, retain=True)
    alice.publish("a/b/c/d/e", "m", 1)
    alice.send(publish("a/b/c/d/e", "m", 1, 5, retain=True))
    alice.expect_closed(TOPIC_INVALID)


@pytest.mark.parametrize("version, reason", [(V311, ID_REJECTED_V3), (V5, ID_NOT_VALID)],
                         ids=["3.1.1", "5.0"])
def test_a_client_id_that_is_too_long_is_refused(connect, dial, broker_with, version, reason):
    broker = broker_with({"limits": {"client_id_bytes": 30}})
    longest = unique().ljust(30, "x")
    connect(version, longest, broker=broker)
    late = dial(version, broker=broker)
    late.send(wire.connect(longest + "x"))
    late.expect_refused(reason)


@pytest.mark.parametrize("version, reason", [(V311, 0x80), (V5, QUOTA_EXCEEDED)],
                         ids=["3.1.1", "5.0"])
def test_a_filter_that_is_too_long_is_refused(connect, broker_with, version, reason):
    alice = connect(version, broker=broker_with({"limits": {"topic_bytes": 20}}))
    alice.send(subscribe(["x" * 20, "x" * 21, "$share/g/" + "x" * 20]))
    alice.expect(SUBACK, codes=[0, reason, 0])


@both_versions
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_topic_that_is_too_long_ends_the_connection(connect, broker_with, version, qos):
    alice = connect(version, broker=broker_with({"limits": {"topic_bytes": 20}}))
    alice.publish("x" * 20, "m", qos)
    alice.send(publish("x" * 21, "m", qos, 5 if qos else None))
    alice.expect_closed(TOPIC_INVALID)


@pytest.mark.parametrize("version, reason", [(V311, None), (V5, TOPIC_INVALID)],
                         ids=["3.1.1", "5.0"])
def test_a_will_topic_that_is_too_long_is_refused(connect, dial, broker_with, version, reason):
    broker = broker_with({"limits": {"topic_bytes": 20}})
    watcher = connect(version, broker=broker)
    watcher.subscribe("w" * 20)
    connect(version, broker=broker, will=Will("w" * 20, "gone")).close()
    watcher.receive(topic="w" * 20, payload="gone")
    late = dial(version, broker=broker)
    late.send(wire.connect(unique(), will=Will("w" * 21, "gone")))
    late.expect_refused(reason)


@pytest.fixture
def small_packets(broker_with):
    return broker_with({"limits": {"packet_bytes": 256}})


def _of_size(topic, size, version):
    """A PUBLISH of exactly so many bytes."""
    packet = publish(topic, "x" * 200)
    return packet.but(payload="x" * (200 + size - len(encode(packet, version))))


@both_versions
def test_a_packet_that_is_too_large_ends_the_connection(connect, small_packets, topic, version):
    alice = connect(version, broker=small_packets)
    alice.subscribe(topic)
    assert version < V5 or alice.connack.properties.get("maximum_packet_size") == 256
    alice.send(_of_size(topic, 256, version))
    alice.expect(PUBLISH)
    alice.send(_of_size(topic, 257, version))
    alice.expect_closed(TOO_LARGE)


@both_versions
def test_a_packet_that_is_too_large_is_refused_by_its_header(connect, small_packets, topic,
                                                             version):
    alice = connect(version, broker=small_packets)
    alice.send(encode(publish(topic, b"x" * 100_000), version)[:5])
    alice.expect_closed(TOO_LARGE)


@both_versions
def test_a_connect_that_is_too_large_is_closed(dial, small_packets, version):
    alice = dial(version, broker=small_packets)
    alice.send(wire.connect("x" * 300))
    assert alice.rest() == [] or version == V5


FIVE = [("user_property", ("a", str(n))) for n in range(5)]
SIX = [*FIVE, ("user_property", ("b", "5"))]


@pytest.fixture
def five_properties(broker_with):
    return broker_with({"limits": {"user_properties": 5}})


@pytest.mark.parametrize("build, answer", [
    (lambda some: publish("t", qos=1, id=5, properties=some), PUBACK),
    (lambda some: subscribe("t", id=5, properties=some), SUBACK),
    (lambda some: unsubscribe("t", id=5, properties=some), UNSUBACK),
], ids=["PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE"])
def test_too_many_user_properties_end_the_connection(connect, five_properties, build, answer):
    alice = connect(V5, broker=five_properties)
    alice.send(build(FIVE))
    alice.expect(answer, id=5)
    alice.send(build(SIX))
    alice.expect_closed(QUOTA_EXCEEDED)


@pytest.mark.parametrize("build", [
    lambda some: wire.connect(unique(), properties=some),
    lambda some: wire.connect(unique(), will=Will("t", properties=some)),
], ids=["CONNECT", "will"])
def test_too_many_user_properties_in_connect_are_refused(dial, five_properties, build):
    alice = dial(V5, broker=five_properties)
    alice.send(build(FIVE))
    alice.expect(CONNACK, reason=0)
    late = dial(V5, broker=five_properties)
    late.send(build(SIX))
    late.expect_refused(QUOTA_EXCEEDED)


@pytest.mark.rule("X5.0-3.1.4-1", "X3.1.1-3.1.4-1")
@pytest.mark.parametrize("first", [b"", b"\x10", encode(wire.connect("c"), V311)[:-1]],
                         ids=["nothing", "one-byte", "all-but-the-last-byte"])
def test_a_connection_without_a_connect_is_closed_in_time(dial, broker_with, first):
    broker = broker_with({"limits": {"connect_timeout": "300ms"}})
    alice, slow = dial(V5, broker=broker), dial(V311, broker=broker)
    slow.send(first)
    started = time.monotonic()
    assert alice.rest() == [] and slow.rest() == []
    assert time.monotonic() - started < patience() / 2


# ---- what is kept ------------------------------------------------------------------------------


@pytest.fixture
def three_retained(own_broker):
    return own_broker({"limits": {"retained_count": 3}, "broker": {"sys_interval": 0}})


def _retained(connect, broker, topic):
    """The names under `topic` that have a retained message."""
    reader = connect(V5, broker=broker)
    reader.subscribe(f"{topic}/#")
    reader.send(pingreq())
    names = []
    while (packet := reader.next_packet()).type != PINGRESP:
        names.append(packet.topic.removeprefix(f"{topic}/"))
    return sorted(names)


@pytest.mark.parametrize("qos, answer", [(1, PUBACK), (2, PUBREC)])
def test_a_retained_message_too_many_is_refused(connect, three_retained, topic, qos, answer):
    alice = connect(V5, broker=three_retained)
    for name in "abc":
        assert alice.publish(f"{topic}/{name}", "kept", qos, retain=True).reason < 0x80
    refused = alice.publish(f"{topic}/d", "kept", qos, retain=True)
    assert (refused.type, refused.reason) == (answer, QUOTA_EXCEEDED)
    assert _retained(connect, three_retained, topic) == ["a", "b", "c"]


@both_versions
def test_a_retained_message_too_many_of_qos_0_is_not_kept(connect, three_retained, topic, version):
    alice = connect(version, broker=three_retained)
    for name in "abcd":
        alice.publish(f"{topic}/{name}", "kept", retain=True)
    alice.expect_quiet()
    assert _retained(connect, three_retained, topic) == ["a", "b", "c"]


def test_retained_messages_are_replaced_and_cleared_at_the_limit(connect, three_retained, topic):
    alice = connect(V5, broker=three_retained)
    for name in "abcab":
        assert alice.publish(f"{topic}/{name}", "kept", 1, retain=True).reason < 0x80
    assert alice.publish(f"{topic}/a", "", 1, retain=True).reason < 0x80
    assert alice.publish(f"{topic}/d", "kept", 1, retain=True).reason < 0x80
    assert _retained(connect, three_retained, topic) == ["b", "c", "d"]


def test_the_brokers_own_topics_do_not_use_up_the_limit(connect, broker_with, topic):
    broker = broker_with({"limits": {"retained_count": 3}, "broker": {"sys_interval": "1s"}})
    alice = connect(V5, broker=broker)
    alice.subscribe("$SYS/broker/uptime")
    alice.receive(topic="$SYS/broker/uptime")  # they have been published
    assert alice.publish(topic, "kept", 1, retain=True).reason < 0x80
    alice.publish(topic, "", 1, retain=True)


def test_retained_bytes_beyond_the_limit_are_refused(connect, broker_with, topic):
    broker = broker_with({"limits": {"retained_bytes": "64K"}, "broker": {"sys_interval": 0}})
    alice = connect(V5, broker=broker)
    alice.publish(f"{topic}/a", "x" * 40_000, 1, retain=True)
    assert alice.publish(f"{topic}/b", "x" * 40_000, 1, retain=True).reason == QUOTA_EXCEEDED
    alice.publish(f"{topic}/a", "", 1, retain=True)
    assert alice.publish(f"{topic}/b", "x" * 40_000, 1, retain=True).reason < 0x80
    alice.publish(f"{topic}/b", "", 1, retain=True)


def _goes_away(connect, broker, client_id, topic):
    """A client that subscribes and disconnects; its session stays."""
    bob = connect(V5, client_id, broker=broker, properties=LASTING)
    bob.subscribe(topic, 1)
    bob.disconnect()


@pytest.mark.parametrize("policy, kept", [
    ("drop_newest", [0, 1, 2, 3]), ("drop_oldest", [4, 5, 6, 7]), ("drop_qos0_first", [1, 3, 5, 7]),
])
def test_a_full_queue_drops_by_its_policy(connect, broker_with, topic, client_id, policy, kept):
    broker = broker_with({"queue": {"messages_max": 4, "when_full": policy, "qos0_offline": True}})
    _goes_away(connect, broker, client_id, topic)
    alice = connect(V5, broker=broker)
    for number in range(8):  # even ones of QoS 0
        alice.publish(topic, str(number), number % 2)
    bob = connect(V5, client_id, broker=broker, clean_start=False)
    assert [int(bob.receive().payload) for _ in range(4)] == kept
    bob.expect_quiet()


def test_a_queue_is_full_by_bytes_too(connect, broker_with, topic, client_id):
    broker = broker_with({"queue": {"bytes_max": "100K"}})
    _goes_away(connect, broker, client_id, topic)
    alice = connect(V5, broker=broker)
    for _ in range(10):
        alice.publish(topic, b"x" * 30_000, 1)
    bob = connect(V5, client_id, broker=broker, clean_start=False)
    for _ in range(3):
        bob.receive(payload=b"x" * 30_000)
    bob.expect_quiet()


@pytest.mark.parametrize("kept", [False, True])
def test_qos_0_messages_wait_for_a_client_that_is_away_if_told_to(connect, broker_with, topic,
                                                                  client_id, kept):
    broker = broker_with({"queue": {"qos0_offline": kept}})
    _goes_away(connect, broker, client_id, topic)
    alice = connect(V5, broker=broker)
    alice.publish(topic, "of QoS 0")
    alice.publish(topic, "of QoS 1", 1)
    bob = connect(V5, client_id, broker=broker, clean_start=False)
    if kept:
        bob.receive(payload="of QoS 0", qos=0)
    bob.receive(payload="of QoS 1", qos=1)


# ---- memory ------------------------------------------------------------------------------------


@pytest.fixture
def full(own_broker, broker, connect):
    """A broker whose memory limit is reached by retained messages fill/0, fill/1 and so on; a client
    that was there before, how many messages there are, and one that is told of limit_memory."""
    limit_kb = broker.rss_kb() + 30_000
    small = own_broker({"limits": {"memory_bytes": f"{limit_kb}K"}, "broker": {"sys_interval": "1s"},
                        "durability": "memory"},  # or what the store holds for a while counts, too
                       environment=FREE_AT_ONCE)
    alice, watcher = connect(V5, broker=small), connect(V5, broker=small)
    watcher.subscribe("$SYS/skein/limit_memory")
    deadline, count = time.monotonic() + 4 * patience(), 0
    while alice.publish(f"fill/{count}", b"x" * 1_000_000, 1, retain=True).reason < 0x80:
        assert time.monotonic() < deadline
        count += small.rss_kb() < limit_kb + 2_000
    return small, alice, count, watcher


def test_publications_are_refused_when_memory_is_full(full, topic):
    _, alice, _, _ = full
    assert alice.publish(topic, "m", 1).reason == QUOTA_EXCEEDED
    assert alice.publish(topic, "m", 2).reason == QUOTA_EXCEEDED


@pytest.mark.rule("X5.0-3.9.3-1")
def test_every_filter_of_a_subscribe_is_refused_when_memory_is_full(full, topic):
    _, alice, _, _ = full
    alice.send(subscribe([f"{topic}/a", f"{topic}/b", f"$share/g/{topic}"], 1))
    alice.expect(SUBACK, codes=[QUOTA_EXCEEDED] * 3)


@pytest.mark.parametrize("version, reason", [(V311, UNAVAILABLE_V3), (V5, QUOTA_EXCEEDED)],
                         ids=["3.1.1", "5.0"])
def test_connections_are_refused_when_memory_is_full(full, dial, version, reason):
    broker, alice, _, _ = full
    late = dial(version, broker=broker)
    late.send(wire.connect(unique()))
    late.expect(CONNACK, reason=reason)
    alice.expect_quiet()


def test_memory_can_be_freed_when_it_is_full(full, topic):
    _, alice, count, _ = full
    for number in range(count + 1):
        assert alice.publish(f"fill/{number}", "", 1, retain=True).reason < 0x80
    deadline = time.monotonic() + patience()
    while alice.publish(topic, "m", 1).reason == QUOTA_EXCEEDED:
        assert time.monotonic() < deadline


def test_memory_goes_back_to_the_system_when_the_broker_is_quiet(own_broker, connect):
    broker = own_broker({"durability": "memory"}, environment=FREE_AT_ONCE)
    told = subprocess.run([broker.binary, "ctl", "--json", "broker", "-d", broker.data],
                          capture_output=True, check=True, timeout=30)
    if json.loads(told.stdout)["heap_used_bytes"] == 0:
        pytest.skip("memory is a sanitizer's, which keeps it")
    alice = connect(V5, broker=broker)
    for number in range(1000):
        for topic in ("stays", "goes"):  # so what goes leaves a thousand holes
            alice.publish(f"{topic}/{number}", bytes(16_000), 1, retain=True)
    for number in range(1000):
        alice.publish(f"goes/{number}", b"", 1, retain=True)
    full_kb, deadline = broker.rss_kb(), time.monotonic() + 2 * patience()
    while broker.rss_kb() > full_kb - 8_000:  # whole pages of 16 MB
        assert time.monotonic() < deadline
        time.sleep(0.1)


# ---- metrics -----------------------------------------------------------------------------------


def _too_many_connections(connect, dial, broker):
    for _ in range(3):
        dial(V5, broker=broker).send(wire.connect(unique()))


def _too_many_sessions(connect, dial, broker):
    for _ in range(3):
        dial(V5, broker=broker).send(wire.connect(unique()))


def _connected(*packets):
    def act(connect, dial, broker):
        connect(V5, broker=broker).send(*packets)
    return act


def _unconnected(packet):
    def act(connect, dial, broker):
        dial(V5, broker=broker).send(packet)
    return act


def _fill_a_queue(connect, dial, broker):
    bob = connect(V5, broker=broker, properties=LASTING)
    bob.subscribe("q", 1)
    bob.disconnect()
    connect(V5, broker=broker).send(*[publish("q", b"x" * 2000, 1, n) for n in range(1, 9)])


def _publish_qos_0_to_one_who_is_away(connect, dial, broker):
    bob = connect(V5, broker=broker, properties=LASTING)
    bob.subscribe("q")
    bob.disconnect()
    connect(V5, broker=broker).publish("q", "m")


def _publish_too_large_for_the_subscriber(connect, dial, broker):
    connect(V5, broker=broker, properties={"maximum_packet_size": 100}).subscribe("q")
    connect(V5, broker=broker).publish("q", "x" * 200)


HITS = {
    "limit_connections": ({"connections": 2}, _too_many_connections),
    "limit_sessions": ({"sessions": 2}, _too_many_sessions),
    "limit_subscriptions": ({"subscriptions_per_client": 1}, _connected(subscribe(["a", "b"]))),
    "limit_filter_levels": ({"filter_levels": 4}, _connected(subscribe("a/b/c/d/e"))),
    "limit_client_id": ({"client_id_bytes": 30}, _unconnected(wire.connect("x" * 31))),
    "limit_packet_size": ({"packet_bytes": 256}, _connected(publish("t", "x" * 300))),
    "limit_topic": ({"topic_bytes": 60}, _connected(publish("t" * 61))),
    "limit_user_properties": ({"user_properties": 1}, _connected(publish("t", properties=[
        ("user_property", ("a", "b")), ("user_property", ("a", "b"))]))),
    "limit_retained": ({"retained_bytes": "8K"},
                       _connected(publish("t", "x" * 9000, retain=True))),
    "connect_timeouts": ({"connect_timeout": "100ms"}, _unconnected(b"\x10")),
    "limit_receive_maximum": ({}, _connected(*[publish("t", qos=2, id=n) for n in range(1, 1002)])),
    "publish_dropped_queue_full": ({}, _fill_a_queue),
    "publish_dropped_queue_bytes_full": ({}, _fill_a_queue),
    "publish_dropped_qos0_offline": ({}, _publish_qos_0_to_one_who_is_away),
    "publish_dropped_packet_too_large": ({}, _publish_too_large_for_the_subscriber),
}
QUEUES_OF = {"publish_dropped_queue_full": {"messages_max": 4},
             "publish_dropped_queue_bytes_full": {"bytes_max": "8K"}}


@pytest.mark.parametrize("name", HITS)
def test_a_limit_that_is_hit_is_counted(connect, dial, own_broker, name):
    limits, act = HITS[name]
    broker = own_broker({"limits": limits, "queue": QUEUES_OF.get(name, {}),
                         "broker": {"sys_interval": "1s"}})
    watcher = connect(V5, broker=broker)
    watcher.subscribe(f"$SYS/skein/{name}")
    watcher.receive(payload="0")
    act(connect, dial, broker)
    assert int(watcher.receive().payload) > 0


def test_a_refusal_because_of_memory_is_counted(full):
    *_, watcher = full
    while int(watcher.receive(topic="$SYS/skein/limit_memory").payload) == 0:
        pass

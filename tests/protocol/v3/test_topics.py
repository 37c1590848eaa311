# SPDX-License-Identifier: Apache-2.0
"""Topic names and filters: which are valid, and which match."""

import pytest

from kit import CONNACK, SUBACK, V311, Closed, publish, subscribe, unique, unsubscribe, wire

INVALID_HASH = ["a#", "a/#/b", "#/a", "##", "a/b#", "a/#b", "#a", "a/##"]
INVALID_PLUS = ["a+", "a/b+", "+a", "a/+b/c", "++", "a/b+/c"]

MATCHES = [  # filter, names that match, names that do not
    ("#", ["", "/", "a", "a/b", "/a"], []),
    ("a/#", ["a", "a/", "a/b", "a/b/c", "a//"], ["b", "A", "ab", "/a"]),
    ("a/+", ["a/b", "a/"], ["a", "a/b/c", "a//", "/a"]),
    ("+/b", ["a/b", "/b"], ["b", "a/b/", "a/a/b"]),
    ("+/+", ["/", "a/", "/a", "a/b"], ["", "a", "a/b/c", "//"]),
    ("+", ["a", "", "b c"], ["a/b", "/", "/a"]),
    ("/+", ["/a", "/"], ["a", "a/", "//a"]),
    ("a/+/c", ["a/b/c", "a//c"], ["a/c", "a/b/b/c", "a/b/c/d"]),
    ("+/b/#", ["a/b", "a/b/c", "/b", "/b/c/d"], ["b", "b/b/a"[2:], "a/c/b"]),
    ("a", ["a"], ["A", "/a", "a/", "a ", "aa"]),
    ("a/", ["a/"], ["a", "a//", "/a/"]),
    ("/", ["/"], ["", "//", "a/"]),
    ("a//b", ["a//b"], ["a/b", "a///b"]),
    ("a b/c d", ["a b/c d"], ["a b/cd", "ab/c d"]),
]


def refused(client, name):
    """A filter that breaks the rules: SUBACK says so, or the connection ends."""
    client.send(subscribe(name, id=1))
    try:
        client.expect(SUBACK, id=1, codes=[0x80])
    except Closed:
        pass
    return True


@pytest.mark.rule("v3.1.1 MQTT-4.7.1-2")
@pytest.mark.parametrize("name", INVALID_HASH)
def test_hash_anywhere_but_alone_at_the_end_is_refused(connect, name):
    assert refused(connect(V311), name)


@pytest.mark.rule("v3.1.1 MQTT-4.7.1-3")
@pytest.mark.parametrize("name", INVALID_PLUS)
def test_plus_beside_other_characters_is_refused(connect, name):
    assert refused(connect(V311), name)


@pytest.mark.rule("v3.1.1 MQTT-4.7.3-1")
@pytest.mark.parametrize("packet", [subscribe(""), unsubscribe("")],
                         ids=["SUBSCRIBE", "UNSUBSCRIBE"])
def test_empty_filter_ends_the_connection(connect, packet):
    alice = connect(V311)
    alice.send(packet)
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-4.7.1-2", "v3.1.1 MQTT-4.7.1-3", "v3.1.1 MQTT-3.3.2-3")
@pytest.mark.parametrize("name,match,differ", MATCHES, ids=[row[0] for row in MATCHES])
def test_filter_matches_what_the_standard_says(connect, topic, name, match, differ):
    """All below a level of the test's own: {topic}/ stands before filter and names."""
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(f"{topic}/{name}")
    for each in match + differ:
        alice.publish(f"{topic}/{each}", each)
    for each in match:
        bob.receive(topic=f"{topic}/{each}", payload=each)
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-4.7.1-2")
def test_hash_matches_its_parent_level(connect, topic):
    alice = connect(V311)
    alice.subscribe(f"{topic}/#")
    alice.publish(topic, "x")
    alice.receive(topic=topic)


@pytest.mark.rule("v3.1.1 MQTT-4.7.1-3")
def test_plus_may_be_the_first_level(connect):
    """Where it matches an empty one too, but not the lack of one."""
    alice, last = connect(V311), unique()
    alice.subscribe(f"+/{last}")
    alice.publish(last, "no level in front")
    alice.publish(f"/{last}", "an empty one")
    alice.publish(f"a/{last}", "another")
    alice.receive(payload="an empty one")
    alice.receive(payload="another")
    alice.expect_quiet()


@pytest.mark.rule("v3.1.1 MQTT-4.7.2-1")
@pytest.mark.parametrize("name", ["#", "+/#", "+/broker/#", "+/broker/version"])
def test_wildcard_in_front_does_not_match_dollar_topics(connect, name):
    """Seen on retained messages of $SYS, which every broker has; explicit filters find them."""
    alice = connect(V311)
    alice.subscribe("$SYS/broker/version")
    alice.receive(topic="$SYS/broker/version", retain=True)
    bob = connect(V311)
    bob.send(subscribe(name, id=1))
    bob.wait_for(SUBACK, id=1)
    bob.send(unsubscribe(name, id=2), wire.pingreq())
    while (packet := bob.next_packet()).type != wire.PINGRESP:
        assert packet.type == wire.UNSUBACK or not packet.topic.startswith("$")


@pytest.mark.rule("v3.1.1 MQTT-4.7.2-1")
def test_dollar_inside_a_topic_is_an_ordinary_character(connect, topic):
    alice = connect(V311)
    alice.subscribe(f"{topic}/#")
    alice.publish(f"{topic}/$x", "1")
    alice.receive(topic=f"{topic}/$x")


@pytest.mark.rule("v3.1.1 MQTT-4.7.3-3")
def test_topic_of_65535_bytes_passes(connect, topic):
    name = topic + "/" + "x" * (65535 - len(topic) - 1)
    alice = connect(V311)
    alice.subscribe(name, 1)
    alice.publish(name, "long", 1)
    alice.receive(topic=name, payload="long")


@pytest.mark.rule("v3.1.1 MQTT-4.7.3-4")
def test_topics_are_compared_as_they_are(connect, topic):
    """Case, spaces and Unicode normal forms all make a difference."""
    names = ["caf\u00e9", "cafe\u0301", "CAF\u00c9", "caf\u00e9 ", " caf\u00e9", "caf\u00e9/"]
    alice, bob = connect(V311), connect(V311)
    bob.subscribe([f"{topic}/{name}" for name in names[:2]])
    for name in names:
        alice.publish(f"{topic}/{name}", name)
    bob.receive(topic=f"{topic}/{names[0]}")
    bob.receive(topic=f"{topic}/{names[1]}")
    bob.quiet_after(alice)


@pytest.mark.rule("v3.1.1 MQTT-4.8.0-1", "X3.1.1-4.8-1")
def test_protocol_violation_of_one_client_leaves_others_alone(connect, dial, topic):
    bob = connect(V311)
    bob.subscribe(topic, 1)
    for packet in (publish("", "x"), publish("a/#", "x"), publish(topic, "x", 3, 1)):
        alice = dial(V311)
        alice.send(wire.connect(""))
        alice.expect(CONNACK, reason=0)
        alice.send(packet)
        alice.expect_closed()
        bob.publish(topic, "still here", 1)
        bob.receive(payload="still here")


@pytest.mark.rule("X3.1.1-1.5.3-1")
@pytest.mark.parametrize("name", ["a\u0001b", "a\u007fb", "a\u0085b", "a\ufffeb", "a\U0001ffffb"])
def test_control_characters_are_refused_or_passed_unchanged(connect, topic, name):
    alice = connect(V311)
    name = f"{topic}/{name}"
    alice.send(subscribe(name, id=1), publish(name, "x"))
    try:
        alice.expect(SUBACK, id=1)
    except Closed:
        return
    alice.receive(topic=name)

# SPDX-License-Identifier: Apache-2.0
"""Topic names and filters (4.7)."""

import pytest

from kit import PINGRESP, PUBACK, PUBLISH, SUBACK, V5, pingreq, publish, subscribe

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
TOPIC_INVALID, FILTER_INVALID = 0x90, 0x8F
NO_RETAINED = 0x20


def _matches(connect, filter, name):
    """Whether a message to `name` reaches a subscription of `filter`."""
    alice, bob = connect(V5), connect(V5)
    end = "end/" + alice.client_id
    bob.subscribe([(filter, NO_RETAINED), end])
    alice.publish(name, "m")
    alice.publish(end, "end")
    while (packet := bob.wait_for(PUBLISH)).topic not in (name, end):
        pass  # of other tests
    return packet.topic == name


@pytest.mark.rule("v5 MQTT-4.7.0-1")
@pytest.mark.parametrize("name", ["#", "+", "a/#", "a/+/b", "a#b", "a+"])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_wildcard_in_the_topic_of_publish_ends_the_connection(connect, name, qos):
    alice = connect(V5)
    alice.send(publish(name, "m", qos, 5 if qos else None))
    alice.expect_closed({MALFORMED, PROTOCOL_ERROR, TOPIC_INVALID})


@pytest.mark.rule("v5 MQTT-4.7.1-1")
@pytest.mark.parametrize("filter", ["a#", "a/b#", "#a", "#/a", "a/#/b", "##", "a/##", "/#/", "+#"])
def test_a_number_sign_stands_alone_and_last(connect, filter):
    alice = connect(V5)
    alice.send(subscribe(filter))
    alice.expect(SUBACK, codes=[FILTER_INVALID])


@pytest.mark.rule("v5 MQTT-4.7.1-2")
@pytest.mark.parametrize("filter", ["a+", "+a", "a/b+", "a/+b/c", "++", "/++/", "a/+#", "a+/#"])
def test_a_plus_sign_fills_its_level(connect, filter):
    alice = connect(V5)
    alice.send(subscribe(filter))
    alice.expect(SUBACK, codes=[FILTER_INVALID])


# {} is the test's own first level
MATCHES = [
    ("{}/#", "{}"), ("{}/#", "{}/a"), ("{}/#", "{}/a/b/c"), ("{}/#", "{}/"), ("{}/#", "{}//"),
    ("{}/a/#", "{}/a"), ("#", "{}"), ("#", "/{}"), ("#", "{}/a"), ("/#", "/{}"),
]
MISSES = [
    ("{}/a/#", "{}"), ("{}/a/#", "{}/ab"), ("{}/#", "{}a"), ("/#", "{}/a"), ("{}/a/#", "{}/A"),
]
PLUS_MATCHES = [
    ("+", "{}"), ("{}/+", "{}/a"), ("{}/+", "{}/"), ("+/a", "{}/a"), ("{}/+/b", "{}/a/b"),
    ("{}/+/b", "{}//b"), ("+/+", "/{}"), ("/+", "/{}"), ("{}/+/+", "{}//"), ("+/{}/#", "/{}"),
    ("{}/+/#", "{}/a"), ("{}/+/#", "{}/a/b"), ("{}/+", "{}/a b\u00e9\U0001f40d"),
]
PLUS_MISSES = [
    ("{}/+", "{}"), ("{}/+", "{}/a/b"), ("+", "/{}"), ("{}/+/b", "{}/a/c"), ("{}/+/b", "{}/b"),
    ("{}/+/#", "{}"), ("+/+", "{}"), ("{}/+/b", "{}/a/a/b"), ("+/b", "{}/a"),
]


def _filled(pairs):
    return [pytest.param(*pair, id=" ~ ".join(pair).replace("{}", "t")) for pair in pairs]


@pytest.mark.rule("v5 MQTT-4.7.1-1")
@pytest.mark.parametrize("filter, name", _filled(MATCHES))
def test_a_number_sign_matches_its_parent_and_all_below(connect, topic, filter, name):
    top = topic.replace("/", "-")
    assert _matches(connect, filter.format(top), name.format(top))


@pytest.mark.rule("v5 MQTT-4.7.1-1")
@pytest.mark.parametrize("filter, name", _filled(MISSES))
def test_a_number_sign_matches_nothing_beside(connect, topic, filter, name):
    top = topic.replace("/", "-")
    assert not _matches(connect, filter.format(top), name.format(top))


@pytest.mark.rule("v5 MQTT-4.7.1-2")
@pytest.mark.parametrize("filter, name", _filled(PLUS_MATCHES))
def test_a_plus_sign_matches_one_level(connect, topic, filter, name):
    top = topic.replace("/", "-")
    assert _matches(connect, filter.format(top), name.format(top))


@pytest.mark.rule("v5 MQTT-4.7.1-2")
@pytest.mark.parametrize("filter, name", _filled(PLUS_MISSES))
def test_a_plus_sign_does_not_match_none_or_two_levels(connect, topic, filter, name):
    top = topic.replace("/", "-")
    assert not _matches(connect, filter.format(top), name.format(top))


@pytest.mark.rule("v5 MQTT-4.7.1-1", "v5 MQTT-4.7.1-2")
@pytest.mark.parametrize("filter", ["#", "+", "a/#", "+/+", "/+", "+/#", "/", "//", "a/+/b", "/#"])
def test_filters_with_wildcards_in_their_places_are_granted(connect, filter):
    alice = connect(V5)
    alice.send(subscribe([(filter, NO_RETAINED)]))
    assert alice.wait_for(SUBACK).codes == [0]


@pytest.mark.rule("v5 MQTT-4.7.2-1")
@pytest.mark.parametrize("filter, name", [
    ("#", "${}"), ("#", "${}/a"), ("+/a", "${}/a"), ("+", "${}"), ("+/#", "${}/a"), ("+/+", "${}/"),
], ids=lambda text: text.replace("{}", "t"))
def test_a_filter_that_starts_with_a_wildcard_matches_no_topic_of_dollar(connect, topic, filter,
                                                                         name):
    top = topic.replace("/", "-")
    assert not _matches(connect, filter, name.format(top))


@pytest.mark.rule("v5 MQTT-4.7.2-1")
def test_retained_topics_of_dollar_do_not_match_a_leading_wildcard(connect, topic):
    name = f"${topic}"
    connect(V5).publish(name, "kept", 1, retain=True)
    bob = connect(V5)
    bob.subscribe([name])
    bob.receive(topic=name)
    bob.send(subscribe(["#", "+/#", "+/+"], id=9), pingreq())
    while (packet := bob.next_packet()).type != PINGRESP:
        assert packet.type == SUBACK or not packet.topic.startswith("$")


@pytest.mark.rule("v5 MQTT-4.7.2-1")
@pytest.mark.parametrize("filter, name", [("${}/#", "${}/a"), ("${}/+", "${}/a"), ("${}", "${}")],
                         ids=lambda text: text.replace("{}", "t"))
def test_a_filter_that_names_the_dollar_level_matches(connect, topic, filter, name):
    top = topic.replace("/", "-")
    assert _matches(connect, filter.format(top), name.format(top))


@pytest.mark.rule("v5 MQTT-4.7.2-1")
def test_a_dollar_in_a_later_level_is_nothing_special(connect, topic):
    assert _matches(connect, f"{topic}/+", f"{topic}/$a")


@pytest.mark.rule("v5 MQTT-4.7.3-1")
def test_an_empty_topic_name_is_a_protocol_error(connect):
    alice = connect(V5)
    alice.send(publish("", "m"))
    alice.expect_closed({MALFORMED, PROTOCOL_ERROR, TOPIC_INVALID})


@pytest.mark.rule("v5 MQTT-4.7.3-1")
def test_an_empty_filter_is_refused(connect):
    alice = connect(V5)
    alice.send(subscribe(""))
    alice.expect(SUBACK, codes=[FILTER_INVALID])


@pytest.mark.rule("v5 MQTT-4.7.3-2")
@pytest.mark.parametrize("packet", [publish(b"a\0b", "m"), subscribe(b"a/\0"), subscribe(b"\0")],
                         ids=["PUBLISH", "SUBSCRIBE", "alone"])
def test_a_nul_in_a_topic_is_malformed(connect, packet):
    alice = connect(V5)
    alice.send(packet)
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-4.7.3-3")
@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f40d"], ids=["ascii", "two", "four"])
def test_a_topic_may_have_65535_bytes(connect, topic, character):
    name = topic + "/"
    name += character * ((65535 - len(name)) // len(character.encode()))
    name += "x" * (65535 - len(name.encode()))
    alice = connect(V5)
    alice.subscribe(name)
    alice.send(publish(name, "m", 1, 5))
    alice.wait_for(PUBACK, id=5, reason=0)
    alice.receive(topic=name, payload="m")


@pytest.mark.rule("v5 MQTT-4.7.3-4", "X5.0-4.7.3-1")
@pytest.mark.parametrize("one, other", [
    ("a", "A"), ("\u00e9", "e\u0301"), ("\ufb01", "fi"), ("a", "a "), ("a", " a"), ("a", "\ufeffa"),
    ("a", "a/"), ("a", "/a"), ("a/b", "a//b"), ("a/b", "a/./b"), ("a", "a/."), ("%61", "a"),
    ("\u00df", "ss"), ("\u0131", "i"), ("a\u200b", "a"), ("a", "\u0430"), ("*", "a"), ("?", "a"),
], ids=ascii)
def test_names_that_look_alike_are_different_topics(connect, topic, one, other):
    assert not _matches(connect, f"{topic}/{one}", f"{topic}/{other}")
    assert not _matches(connect, f"{topic}/{other}", f"{topic}/{one}")


@pytest.mark.rule("X5.0-4.7.3-1", "v5 MQTT-4.7.3-4")
@pytest.mark.parametrize("name", ["a b", " ", "/", "//", "a/", "/a", "a//b", "A", "\ufeff",
                                  "\u00e9/\U0001f40d", "a.b", "*", "\t", "\u2028"], ids=ascii)
def test_unusual_names_are_carried_as_they_are(connect, topic, name):
    assert _matches(connect, f"{topic}/{name}", f"{topic}/{name}")


@pytest.mark.rule("X5.0-4.7.3-1")
def test_a_slash_alone_is_a_topic(connect):
    alice = connect(V5)
    alice.subscribe("/")
    alice.publish("/", alice.client_id)
    while alice.receive(topic="/").payload != alice.client_id.encode():
        pass

# SPDX-License-Identifier: Apache-2.0
"""UTF-8 strings, wherever they stand."""

import pytest

from kit import V311, Will, publish, subscribe, unsubscribe, wire

ILL_FORMED = {
    "surrogate": b"a\xed\xa0\x80b",
    "surrogate pair": b"a\xed\xa0\x80\xed\xb0\x80b",
    "overlong slash": b"a\xc0\xafb",
    "overlong of three": b"a\xe0\x80\xafb",
    "continuation alone": b"a\x80b",
    "cut short": b"ab\xe2\x82",
    "above U+10FFFF": b"a\xf4\x90\x80\x80b",
    "byte 0xff": b"a\xffb",
}
ZERO = {"U+0000": b"a\0b", "overlong U+0000": b"a\xc0\x80b"}

IN_CONNECT = {
    "client id": lambda text: wire.connect(text),
    "will topic": lambda text: wire.connect("c", will=Will(text, b"x")),
    "user name": lambda text: wire.connect("c", username=text),
}
LATER = {
    "publish": lambda text: publish(text, b"x"),
    "subscribe": lambda text: subscribe(text),
    "unsubscribe": lambda text: unsubscribe(text),
}


@pytest.mark.rule("v3.1.1 MQTT-1.5.3-1", "v3.1.1 MQTT-3.1.3-4", "v3.1.1 MQTT-3.1.3-10")
@pytest.mark.parametrize("text", ILL_FORMED.values(), ids=ILL_FORMED)
@pytest.mark.parametrize("place", IN_CONNECT)
def test_ill_formed_utf8_in_connect_is_refused(dial, place, text):
    alice = dial(V311)
    alice.send(IN_CONNECT[place](text))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-1.5.3-1", "v3.1.1 MQTT-3.8.3-1", "v3.1.1 MQTT-3.10.3-1")
@pytest.mark.parametrize("text", ILL_FORMED.values(), ids=ILL_FORMED)
@pytest.mark.parametrize("place", LATER)
def test_ill_formed_utf8_ends_the_connection(connect, place, text):
    alice = connect(V311)
    alice.send(LATER[place](text))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-1.5.3-2", "v3.1.1 MQTT-3.1.3-11")
@pytest.mark.parametrize("text", ZERO.values(), ids=ZERO)
@pytest.mark.parametrize("place", IN_CONNECT)
def test_u0000_in_connect_is_refused(dial, place, text):
    alice = dial(V311)
    alice.send(IN_CONNECT[place](text))
    alice.expect_refused()


@pytest.mark.rule("v3.1.1 MQTT-1.5.3-2", "v3.1.1 MQTT-4.7.3-2")
@pytest.mark.parametrize("text", ZERO.values(), ids=ZERO)
@pytest.mark.parametrize("place", LATER)
def test_u0000_ends_the_connection(connect, place, text):
    alice = connect(V311)
    alice.send(LATER[place](text))
    alice.expect_closed()


@pytest.mark.rule("v3.1.1 MQTT-1.5.3-3")
def test_byte_order_mark_is_part_of_the_topic(connect, topic):
    """Not stripped on the way in or out, and a topic with one is another topic."""
    alice, bob = connect(V311), connect(V311)
    bob.subscribe(["\ufeff" + topic, topic + "/\ufeff"])
    alice.publish(topic, "without")
    alice.publish("\ufeff" + topic, "in front")
    alice.publish(topic + "/\ufeff", "inside")
    bob.receive(topic="\ufeff" + topic, payload="in front")
    bob.receive(topic=topic + "/\ufeff", payload="inside")


@pytest.mark.rule("v3.1.1 MQTT-1.5.3-1", "v3.1.1 MQTT-4.7.3-4")
def test_all_planes_of_unicode_pass(connect, topic):
    name = topic + "/\u00a0\u07ff\u0800\ud7ff\ue000\U00010000\U000e0041"
    alice = connect(V311)
    alice.subscribe(name)
    alice.publish(name, "x")
    alice.receive(topic=name)


@pytest.mark.rule("v3.1.1 MQTT-3.8.3-1")
def test_one_ill_formed_filter_among_good_ones_subscribes_nothing(connect, topic):
    alice = connect(V311)
    alice.send(subscribe([topic, b"\xff"]), publish(topic, "x"))
    alice.expect_closed()

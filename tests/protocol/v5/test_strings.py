# SPDX-License-Identifier: Apache-2.0
"""UTF-8 strings and string pairs (1.5.4, 1.5.7) wherever a client can put one."""

import pytest

from kit import V5, Will, disconnect, publish, subscribe, unsubscribe, wire

MALFORMED = 0x81

ILL_FORMED = {
    "surrogate": b"\xed\xa0\x80",
    "last-surrogate": b"\xed\xbf\xbf",
    "surrogate-pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "overlong-slash": b"\xc0\xaf",
    "overlong-three": b"\xe0\x9f\xbf",
    "overlong-four": b"\xf0\x8f\xbf\xbf",
    "overlong-nul": b"\xc0\x80",
    "cut-short": b"\xe2\x82",
    "lone-continuation": b"\x80",
    "above-10ffff": b"\xf4\x90\x80\x80",
    "five-bytes": b"\xf8\x88\x80\x80\x80",
    "ff": b"\xff",
}

# What a string can be put into: packets of a connected client, then of one that connects.
FIELDS = {
    "topic-name": lambda text: publish(text),
    "content-type": lambda text: publish("t", properties={"content_type": text}),
    "response-topic": lambda text: publish("t", properties={"response_topic": text}),
    "topic-filter": lambda text: subscribe(text),
    "second-topic-filter": lambda text: subscribe(["t", text]),
    "unsubscribe-filter": lambda text: unsubscribe(text),
    "reason-string": lambda text: disconnect(0, {"reason_string": text}),
}
CONNECT_FIELDS = {
    "client-id": lambda text: wire.connect(text),
    "user-name": lambda text: wire.connect("c", username=text),
    "will-topic": lambda text: wire.connect("c", will=Will(text)),
    "authentication-method": lambda text: wire.connect(
        "c", properties={"authentication_method": text}),
    "will-content-type": lambda text: wire.connect(
        "c", will=Will("t", properties={"content_type": text})),
    "will-response-topic": lambda text: wire.connect(
        "c", will=Will("t", properties={"response_topic": text})),
}
PAIRS = {
    "publish": lambda pair: publish("t", properties={"user_property": [pair]}),
    "subscribe": lambda pair: subscribe("t", properties={"user_property": [pair]}),
    "unsubscribe": lambda pair: unsubscribe("t", properties={"user_property": [pair]}),
    "disconnect": lambda pair: disconnect(0, {"user_property": [pair]}),
}


@pytest.mark.rule("v5 MQTT-1.5.4-1", "v5 MQTT-3.3.2-1")
@pytest.mark.parametrize("form", ILL_FORMED)
def test_ill_formed_utf8_in_a_topic_name_is_malformed(connect, form):
    alice = connect(V5)
    alice.send(publish(b"a" + ILL_FORMED[form] + b"b"))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-1.5.4-1")
@pytest.mark.parametrize("field", FIELDS)
def test_a_surrogate_in_any_string_is_malformed(connect, field):
    alice = connect(V5)
    alice.send(FIELDS[field](b"a\xed\xa0\x80b"))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-1.5.4-1")
@pytest.mark.parametrize("field", CONNECT_FIELDS)
def test_a_surrogate_in_any_string_of_connect_is_malformed(dial, field):
    alice = dial(V5)
    alice.send(CONNECT_FIELDS[field](b"a\xed\xa0\x80b"))
    alice.expect_refused(MALFORMED)


@pytest.mark.rule("v5 MQTT-1.5.4-2")
@pytest.mark.parametrize("field", FIELDS)
def test_u_0000_in_any_string_is_malformed(connect, field):
    alice = connect(V5)
    alice.send(FIELDS[field](b"a\0b"))
    alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-1.5.4-2")
@pytest.mark.parametrize("field", CONNECT_FIELDS)
def test_u_0000_in_any_string_of_connect_is_malformed(dial, field):
    alice = dial(V5)
    alice.send(CONNECT_FIELDS[field](b"a\0b"))
    alice.expect_refused(MALFORMED)


@pytest.mark.rule("v5 MQTT-1.5.4-1")
@pytest.mark.parametrize("text", ["\u007f~", "é", "\u07ff", "\u0800", "\ud7ff", "\ue000", "€",
                                  "\U00010000", "\U0010fffd", "日本語"], ids=ascii)
def test_well_formed_utf8_passes_unaltered(connect, topic, text):
    alice = connect(V5)
    alice.subscribe(f"{topic}/{text}")
    alice.publish(f"{topic}/{text}", properties={"content_type": text})
    packet = alice.receive(topic=f"{topic}/{text}")
    assert packet.properties.get("content_type") == text


@pytest.mark.rule("v5 MQTT-1.5.4-3")
@pytest.mark.parametrize("form", ["\ufeff{}", "{}/\ufeffa", "{}\ufeff"], ids=ascii)
def test_a_byte_order_mark_is_a_character_like_any_other(connect, topic, form):
    with_mark = form.format(topic)
    alice, bob = connect(V5), connect(V5)
    alice.subscribe(with_mark)
    bob.subscribe(with_mark.replace("\ufeff", ""))
    bob.publish(with_mark, properties={"user_property": [("\ufeffname", "\ufeffvalue")]})
    packet = alice.receive(topic=with_mark)
    assert packet.properties.all("user_property") == [("\ufeffname", "\ufeffvalue")]
    bob.expect_quiet()


@pytest.mark.rule("X5.0-1.5.4-1")
@pytest.mark.parametrize("text", ["\x01", "\x1f", "\x7f", "\x9f", "\ufdd0", "\uffff",
                                  "\U0010ffff"], ids=ascii)
def test_control_characters_and_non_characters_are_let_through(connect, topic, text):
    alice = connect(V5)
    alice.subscribe(f"{topic}/{text}")
    alice.publish(f"{topic}/{text}", "x")
    alice.receive(topic=f"{topic}/{text}", payload="x")


@pytest.mark.rule("v5 MQTT-1.5.7-1")
@pytest.mark.parametrize("text", [b"\xed\xa0\x80", b"a\0b", b"\xff"],
                         ids=["surrogate", "nul", "ff"])
@pytest.mark.parametrize("packet", PAIRS)
def test_both_strings_of_a_pair_obey_the_rules_of_strings(connect, packet, text):
    for pair in [(text, b"value"), (b"name", text)]:
        alice = connect(V5)
        alice.send(PAIRS[packet](pair))
        alice.expect_closed(MALFORMED)


@pytest.mark.rule("v5 MQTT-1.5.7-1")
def test_both_strings_of_a_pair_obey_the_rules_of_strings_in_connect(dial):
    for pair in [(b"\xff", b"value"), (b"name", b"\xff")]:
        alice = dial(V5)
        alice.send(wire.connect("c", properties={"user_property": [pair]}))
        alice.expect_refused(MALFORMED)
        bob = dial(V5)
        bob.send(wire.connect("c", will=Will("t", properties={"user_property": [pair]})))
        bob.expect_refused(MALFORMED)

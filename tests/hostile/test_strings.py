# SPDX-License-Identifier: Apache-2.0
"""Ill-formed UTF-8 in every place where the standards have a string."""

import pytest

from kit import V5, V311, Will, encode, unique, wire

from . import batch

ILL_FORMED = [
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80",  # surrogates
    b"\0", b"a\0b", b"\xc0\x80",  # U+0000, and overlong
    b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80",
    b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",  # above U+10FFFF
    b"\x80", b"\xbf", b"a\x80", b"\xfe", b"\xff",  # no beginning
    b"\xc3", b"\xe2\x82", b"\xf0\x9f\xa6", b"\xc3a", b"\xe2\x82a", b"\xe2a\x82",  # no end
]
WELL_FORMED = ["\u0001", "\u007f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd",
               "\ufeff", "\U00010000", "\U0010fffd"]


def properties(**fields):
    return {"properties": fields}


CONNECT = {
    "client id": lambda text: wire.connect(text + unique().encode()),
    "will topic": lambda text: wire.connect(unique(), will=Will(text, b"x")),
    "user name": lambda text: wire.connect(unique(), username=text),
}
CONNECT_5 = {
    "user property name": lambda t: wire.connect(unique(), **properties(user_property=(t, "v"))),
    "user property value": lambda t: wire.connect(unique(), **properties(user_property=("k", t))),
    "will content type": lambda t: wire.connect(unique(), will=Will(
        "w", b"x", **properties(content_type=t))),
    "will response topic": lambda t: wire.connect(unique(), will=Will(
        "w", b"x", **properties(response_topic=t))),
    "will user property": lambda t: wire.connect(unique(), will=Will(
        "w", b"x", **properties(user_property=("k", t)))),
}
LATER = {
    "topic name": lambda text: wire.publish(b"t/" + text, b"x"),
    "filter": lambda text: wire.subscribe(b"t/" + text),
    "second filter": lambda text: wire.subscribe(["t", b"t/" + text]),
    "unsubscribed filter": lambda text: wire.unsubscribe(b"t/" + text),
}
LATER_5 = {
    "content type": lambda t: wire.publish("t", b"x", **properties(content_type=t)),
    "response topic": lambda t: wire.publish("t", b"x", **properties(response_topic=t)),
    "user property": lambda t: wire.publish("t", b"x", **properties(user_property=(t, "v"))),
    "subscribe's": lambda t: wire.subscribe("t", **properties(user_property=("k", t))),
    "unsubscribe's": lambda t: wire.unsubscribe("t", **properties(user_property=("k", t))),
    "puback's": lambda t: wire.puback(1, 0, **properties(reason_string=t)),
    "pubrel's": lambda t: wire.pubrel(1, 0, **properties(user_property=("k", t))),
    "disconnect's": lambda t: wire.disconnect(0, **properties(reason_string=t)),
}
ALL = [(V311, CONNECT, False), (V311, LATER, True), (V5, {**CONNECT, **CONNECT_5}, False),
       (V5, {**LATER, **LATER_5}, True)]


@pytest.mark.parametrize("version,places,connected", ALL,
                         ids=["3.1.1 CONNECT", "3.1.1 later", "5.0 CONNECT", "5.0 later"])
def test_strings_of_every_kind_in_every_place(broker, connect, version, places, connected):
    cases = []
    for place, build in places.items():
        for text in ILL_FORMED + [text.encode() for text in WELL_FORMED]:
            data = encode(build(text), version)
            cases.append(batch.Case(f"{place} {text}", version, data, connected))
    faults = batch.run(broker, cases, batch.Witness(connect))
    assert not faults, "\n".join(faults)

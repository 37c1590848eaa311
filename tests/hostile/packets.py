# SPDX-License-Identifier: Apache-2.0
"""One good packet of every type that a client sends, rich in fields, to be broken in every way."""

from kit import V5, V311, Will, encode, unique, wire

USER = ("user_property", ("k", "\u00e4"))
REASON = [("reason_string", "why"), USER]


def connect(version):
    """Another client id each time: conversations at the same time do not meet."""
    five = {"properties": [("session_expiry_interval", 0), ("receive_maximum", 10),
                           ("maximum_packet_size", 0x10000), ("topic_alias_maximum", 3),
                           ("request_response_information", 0),
                           ("request_problem_information", 1), USER]}
    will = Will("w/t", b"bye", 1, True)
    if version == V5:
        will.properties = [("will_delay_interval", 0), ("payload_format_indicator", 1),
                           ("message_expiry_interval", 9), ("content_type", "c"),
                           ("response_topic", "r"), ("correlation_data", b"\0"), USER]
    return wire.connect(unique("x"), keep_alive=60, will=will, username="u", password=b"p",
                        **(five if version == V5 else {}))


def later(version):
    """{name: packet} of all that comes behind CONNECT."""
    def five(*properties):
        return {"properties": list(properties)} if version == V5 else {}

    reason = {"reason": 0, **five(*REASON)} if version == V5 else {}
    packets = {
        "PUBLISH 0": wire.publish("a/b", b"xyz", **five(
            ("payload_format_indicator", 1), ("message_expiry_interval", 5), ("topic_alias", 1),
            ("response_topic", "r"), ("correlation_data", b"\0"), USER, ("content_type", "c"))),
        "PUBLISH 1": wire.publish("a/b", b"xyz", 1, 0x1234),
        "PUBLISH 2": wire.publish("a/b", b"xyz", 2, 0x1234, dup=True),
        "PUBACK": wire.puback(0x1234, **reason), "PUBREC": wire.pubrec(0x1234, **reason),
        "PUBREL": wire.pubrel(0x1234, **reason), "PUBCOMP": wire.pubcomp(0x1234, **reason),
        "SUBSCRIBE": wire.subscribe([("a/+/c", 1), ("d/#", 2 | (0x2c if version == V5 else 0))],
                                    id=0x1234, **five(("subscription_identifier", 200), USER)),
        "UNSUBSCRIBE": wire.unsubscribe(["a/+/c", "d"], id=0x1234, **five(USER)),
        "PINGREQ": wire.pingreq(),
        "DISCONNECT": wire.disconnect(**reason),
    }
    if version == V5:
        packets["AUTH"] = wire.auth(0x18, [("authentication_method", "m"),
                                           ("authentication_data", b"d"), *REASON])
    return packets


def names(version):
    return ["CONNECT", *later(version)]


def packet(version, name):
    return connect(version) if name == "CONNECT" else later(version)[name]


def encoded(version, name):
    return encode(packet(version, name), version)


VERSIONS = {V311: "3.1.1", V5: "5.0"}
ALL = [(version, name) for version in VERSIONS for name in names(version)]
IDS = [f"{VERSIONS[version]} {name}" for version, name in ALL]

# SPDX-License-Identifier: Apache-2.0
"""What the standard makes of bytes that a client sends: a second opinion, written from tests/spec.

It knows nothing of the broker's code. Where the standard leaves a choice the verdict is "either".
"""

import collections

from kit import wire
from kit.wire import (AUTH, CONNECT, DISCONNECT, PINGREQ, PROPERTIES, PROPERTY_NAMES, PUBACK,
                      PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBSCRIBE, UNSUBSCRIBE, V31, V311, V5,
                      WireError)

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
TOPIC_ALIAS_MAX = 64  # what the broker under test announces by default

# kind: "good" (goes on), "bad" (ends, with one of `codes` in 5.0), "bye" (a good DISCONNECT),
# "incomplete" (more bytes to come), "either". `pongs`: how many PINGREQs were among the packets.
Verdict = collections.namedtuple("Verdict", "kind codes version pongs why")

WILL = "will"
ALLOWED = {
    CONNECT: {"session_expiry_interval", "receive_maximum", "maximum_packet_size",
              "topic_alias_maximum", "request_response_information", "request_problem_information",
              "user_property", "authentication_method", "authentication_data"},
    WILL: {"will_delay_interval", "payload_format_indicator", "message_expiry_interval",
           "content_type", "response_topic", "correlation_data", "user_property"},
    PUBLISH: {"payload_format_indicator", "message_expiry_interval", "topic_alias",
              "response_topic", "correlation_data", "user_property", "content_type"},
    SUBSCRIBE: {"subscription_identifier", "user_property"},
    UNSUBSCRIBE: {"user_property"},
    DISCONNECT: {"session_expiry_interval", "reason_string", "user_property"},
    AUTH: {"authentication_method", "authentication_data", "reason_string", "user_property"},
    **{each: {"reason_string", "user_property"} for each in (PUBACK, PUBREC, PUBREL, PUBCOMP)},
}
NEVER_ZERO = {"receive_maximum", "maximum_packet_size", "subscription_identifier"}
REASONS = {
    PUBACK: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    PUBREC: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    PUBREL: {0x00, 0x92}, PUBCOMP: {0x00, 0x92},
    DISCONNECT: {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, *range(0x93, 0x9A)},
}


class Bad(Exception):
    """Why, and the codes that say so beside "malformed" and "protocol error"."""

    def __init__(self, why, *codes):
        super().__init__(why)
        self.codes = {MALFORMED, PROTOCOL_ERROR, *codes}


class Either(Exception):
    """The standard does not say, or leaves a choice."""


class Bye(Exception):
    """DISCONNECT."""


class Reader(wire.Reader):
    """Fields of a packet from a client."""

    def properties(self, packet):
        end = self.varint()
        if end > self.left():
            raise Bad("properties longer than the packet")
        end += self.at
        found = {}
        while self.at < end:
            self._one(packet, found)
        if self.at != end:
            raise Bad("a property crosses the end of the properties")
        return found

    def _one(self, packet, found):
        identifier = self.varint()
        name = PROPERTY_NAMES.get(identifier)
        if packet == DISCONNECT and name == "server_reference":
            raise Either("a server reference from a client")
        if name not in ALLOWED[packet]:
            raise Bad(f"property {identifier} does not belong here")
        value = self._property(PROPERTIES[name][1])
        if name in found and name != "user_property":
            raise Bad(f"{name} twice")
        if name.startswith("request_") and value > 1:
            raise Bad(f"{name} is {value}")
        if name in NEVER_ZERO and not value:
            raise Bad(f"{name} is 0")
        if name == "payload_format_indicator" and value > 1:
            raise Either("payload format indicator above 1")
        if name == "topic_alias" and not 1 <= value <= TOPIC_ALIAS_MAX:
            raise Bad("topic alias outside its range", 0x94)
        if name == "response_topic":
            topic_name(value, 0x90)
        found[name] = value


def topic_name(name, *codes):
    if not name:
        raise Bad("empty topic name", *codes)
    if "+" in name or "#" in name:
        raise Bad("wildcard in a topic name", 0x90, *codes)


def fits(what, condition, *codes):
    if not condition:
        raise Bad(what, *codes)


class Judge:
    """Reads the stream of one client and remembers what the rules depend on."""

    def __init__(self, version=None, session_expiry=0):
        self.version, self.connected = version, version is not None
        self.session_expiry = session_expiry
        self.aliases, self.pongs = set(), 0

    def verdict(self, data):
        """On all these bytes together."""
        try:
            while data:
                used = self._header(data)
                if used is None:
                    return self._say("incomplete")
                start, length = used
                if len(data) < start + length:
                    return self._say("incomplete")
                self._packet(data[0], data[start:start + length])
                data = data[start + length:]
        except Bad as bad:
            return self._say("bad", bad.codes, str(bad))
        except WireError as bad:
            return self._say("bad", {MALFORMED, PROTOCOL_ERROR}, str(bad))
        except Either as either:
            return self._say("either", why=str(either))
        except Bye:
            return self._say("bye")
        return self._say("good")

    def _say(self, kind, codes=frozenset(), why=""):
        return Verdict(kind, codes, self.version, self.pongs, why)

    def _header(self, data):
        """Length of the header, and what it announces; None when cut short. The first byte alone
        can be bad enough, so wrong flags and types need not wait for the rest."""
        value = 0
        for at in range(1, 5):
            if len(data) <= at:
                return None
            value |= (data[at] & 0x7F) << 7 * (at - 1)
            if data[at] < 0x80:
                if at > 1 and data[at] == 0:
                    raise Either("remaining length not in the fewest bytes")
                if len(data) < at + 1 + value and self._bad_start(data[0]):
                    raise Either("bad from its first byte, but not complete")
                return at + 1, value
        raise Bad("remaining length of more than four bytes")

    def _bad_start(self, first):
        type, flags = first >> 4, first & 15
        if not self.connected:
            return type != CONNECT or flags
        if type == PUBLISH:
            return flags & 6 == 6 or flags & 14 == 8
        known = {PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT}
        return type not in known or flags != (2 if type in (PUBREL, SUBSCRIBE, UNSUBSCRIBE) else 0)

    def _packet(self, first, body):
        type, flags = first >> 4, first & 15
        fits("the first packet is not CONNECT", self.connected or type == CONNECT)
        fits("a second CONNECT", not self.connected or type != CONNECT)
        fits("reserved or server-only packet type", type not in (0, 2, 9, 11, 13))
        fits("AUTH without a method", type != AUTH, 0x8C)
        if type != PUBLISH:
            fits("flags", flags == (2 if type in (PUBREL, SUBSCRIBE, UNSUBSCRIBE) else 0))
        reader = Reader(body)
        {CONNECT: self._connect, PUBLISH: self._publish, SUBSCRIBE: self._subscribe,
         UNSUBSCRIBE: self._unsubscribe, PINGREQ: self._pingreq,
         DISCONNECT: self._disconnect}.get(type, self._acknowledgement)(reader, type, flags)
        fits("bytes behind the packet's end", reader.left() == 0)
        if type == DISCONNECT:
            raise Bye

    def _connect(self, reader, _type, _flags):
        name = reader.string()
        level = reader.number(1)
        fits("protocol name", name in ("MQTT", "MQIsdp"), 0x84)
        versions = {"MQTT": (V311, V5), "MQIsdp": (V31,)}[name]
        fits("protocol level", level in versions, 0x84)
        self.version = level
        flags = reader.number(1)
        fits("reserved connect flag", not flags & 1)
        will, will_qos = flags & 4, flags >> 3 & 3
        fits("will QoS 3", will_qos != 3)
        fits("will flags without a will", will or not flags & 0x38)
        fits("password without user name", level == V5 or flags & 0xC0 != 0x40)
        reader.number(2)
        found = reader.properties(CONNECT) if level == V5 else {}
        client_id = reader.string()
        fits("empty client id", client_id or level == V5 or (level == V311 and flags & 2), 0x85)
        if will:
            if level == V5:
                reader.properties(WILL)
            topic_name(reader.string(), 0x90)
            reader.binary()
        if flags & 0x80:
            reader.string()
        if flags & 0x40:
            reader.binary()
        fits("bytes behind the packet's end", reader.left() == 0)
        self._connect_properties(found)
        self.connected = True

    def _connect_properties(self, found):
        fits("authentication data without a method",
             "authentication_data" not in found or "authentication_method" in found)
        fits("unknown authentication method", "authentication_method" not in found, 0x8C, 0x87)
        if found.get("maximum_packet_size", 1000) < 200:
            raise Either("the client takes hardly any packet")
        self.session_expiry = found.get("session_expiry_interval", 0)

    def _publish(self, reader, _type, flags):
        qos, dup = flags >> 1 & 3, flags & 8
        fits("QoS 3", qos != 3)
        fits("DUP at QoS 0", qos or not dup)
        name = reader.string()
        if name or self.version < V5:
            topic_name(name)
        if qos:
            fits("packet id 0", reader.number(2))
        if self.version == V5:
            alias = reader.properties(PUBLISH).get("topic_alias")
            fits("no topic name", name or alias in self.aliases)
            self.aliases |= {alias} if alias else set()
        reader.bytes(reader.left())

    def _acknowledgement(self, reader, type, _flags):
        fits("packet id 0", reader.number(2))
        if self.version == V5 and reader.left():
            fits("reason code", reader.number(1) in REASONS[type])
            if reader.left():
                reader.properties(type)

    def _subscribe(self, reader, _type, _flags):
        fits("packet id 0", reader.number(2))
        if self.version == V5:
            reader.properties(SUBSCRIBE)
        fits("no filter", reader.left())
        while reader.left():
            name, options = reader.string(), reader.number(1)
            fits("QoS 3", options & 3 != 3)
            fits("reserved options", not options & (0xC0 if self.version == V5 else 0xFC))
            if self.version == V5:
                fits("retain handling 3", options & 0x30 != 0x30)
                fits("no local on a share", not (options & 4 and name.startswith("$share/")))
            self._filter(name)

    def _unsubscribe(self, reader, _type, _flags):
        fits("packet id 0", reader.number(2))
        if self.version == V5:
            reader.properties(UNSUBSCRIBE)
        fits("no filter", reader.left())
        while reader.left():
            self._filter(reader.string())

    def _filter(self, name):
        """A broker may answer a bad filter by a code, or take it for a protocol violation."""
        levels = name.split("/")
        bad = not name or "#" in name[:-1] or any(
            len(level) > 1 and ("+" in level or "#" in level) for level in levels)
        if bad or (name.startswith("$share") and self.version == V5):
            raise Either("a filter that is bad or shared")

    def _pingreq(self, _reader, _type, _flags):
        self.pongs += 1

    def _disconnect(self, reader, _type, _flags):
        if self.version == V5 and reader.left():
            fits("reason code", reader.number(1) in REASONS[DISCONNECT])
            if reader.left():
                expiry = reader.properties(DISCONNECT).get("session_expiry_interval", 0)
                fits("session expiry after none", not expiry or self.session_expiry)

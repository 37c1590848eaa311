# SPDX-License-Identifier: Apache-2.0
"""Packets of MQTT 3.1, 3.1.1 and 5.0 as bytes.

Encoding does what it is told, wrong values included: tests break rules with it. Decoding believes
nothing: whatever a server sends is held to every rule that one packet alone can break, and
WireError says which it broke. Only packets that a server may send can be decoded.
"""

import enum
import struct

V31, V311, V5 = 3, 4, 5

MAX_REMAINING = 268_435_455


class Type(enum.IntEnum):
    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC = Type(1), Type(2), Type(3), Type(4), Type(5)
PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, UNSUBSCRIBE = Type(6), Type(7), Type(8), Type(9), Type(10)
UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = Type(11), Type(12), Type(13), Type(14), Type(15)

# name: (identifier, kind, packets in which a server may send it)
PROPERTIES = {
    "payload_format_indicator": (0x01, "byte", {PUBLISH}),
    "message_expiry_interval": (0x02, "four", {PUBLISH}),
    "content_type": (0x03, "string", {PUBLISH}),
    "response_topic": (0x08, "string", {PUBLISH}),
    "correlation_data": (0x09, "binary", {PUBLISH}),
    "subscription_identifier": (0x0B, "varint", {PUBLISH}),
    "session_expiry_interval": (0x11, "four", {CONNACK}),
    "assigned_client_identifier": (0x12, "string", {CONNACK}),
    "server_keep_alive": (0x13, "two", {CONNACK}),
    "authentication_method": (0x15, "string", {CONNACK, AUTH}),
    "authentication_data": (0x16, "binary", {CONNACK, AUTH}),
    "request_problem_information": (0x17, "byte", set()),
    "will_delay_interval": (0x18, "four", set()),
    "request_response_information": (0x19, "byte", set()),
    "response_information": (0x1A, "string", {CONNACK}),
    "server_reference": (0x1C, "string", {CONNACK, DISCONNECT}),
    "reason_string": (0x1F, "string", {CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK,
                                       DISCONNECT, AUTH}),
    "receive_maximum": (0x21, "two", {CONNACK}),
    "topic_alias_maximum": (0x22, "two", {CONNACK}),
    "topic_alias": (0x23, "two", {PUBLISH}),
    "maximum_qos": (0x24, "byte", {CONNACK}),
    "retain_available": (0x25, "byte", {CONNACK}),
    "user_property": (0x26, "pair", {CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK,
                                     UNSUBACK, DISCONNECT, AUTH}),
    "maximum_packet_size": (0x27, "four", {CONNACK}),
    "wildcard_subscription_available": (0x28, "byte", {CONNACK}),
    "subscription_identifier_available": (0x29, "byte", {CONNACK}),
    "shared_subscription_available": (0x2A, "byte", {CONNACK}),
}
PROPERTY_NAMES = {row[0]: name for name, row in PROPERTIES.items()}
REPEATABLE = {(PUBLISH, "subscription_identifier")} | {(t, "user_property") for t in Type}
ZERO_OR_ONE = {"payload_format_indicator", "maximum_qos", "retain_available",
               "wildcard_subscription_available", "subscription_identifier_available",
               "shared_subscription_available"}
NEVER_ZERO = {"receive_maximum", "maximum_packet_size", "topic_alias", "subscription_identifier"}

# The reason codes that a server may put in a packet of 5.0.
REASON_CODES = {
    CONNACK: {0x00, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F},
    PUBACK: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    PUBREC: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    PUBREL: {0x00, 0x92},
    PUBCOMP: {0x00, 0x92},
    SUBACK: {0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
    UNSUBACK: {0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91},
    DISCONNECT: {0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, *range(0x8B, 0x91), *range(0x93, 0xA3)},
    AUTH: {0x00, 0x18},
}


class WireError(Exception):
    """The server sent bytes that break the standard."""


class Properties(list):
    """(name, value) pairs in the order of the wire."""

    def get(self, name, default=None):
        return next((value for key, value in self if key == name), default)

    def all(self, name):
        return [value for key, value in self if key == name]

    def __contains__(self, name):
        return any(key == name for key, _ in self)


class Packet:
    """A packet type and its fields; fields are attributes.

    Fields of every packet that break it on purpose: `flags` (low half of the first byte),
    `remaining` (the number written as remaining length), `remaining_raw` (its bytes), `body`
    (everything after it), `tail` (bytes put behind the body, counted).
    """

    def __init__(self, type, **fields):
        self.type = type
        self.__dict__.update(fields)

    def but(self, **fields):
        """A copy with some fields changed."""
        return Packet(**{**self.__dict__, **fields})

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return None

    def __repr__(self):
        fields = {key: value for key, value in self.__dict__.items() if key != "type"}
        return f"{Type(self.type).name}({', '.join(f'{k}={_short(v)}' for k, v in fields.items())})"


class Will:
    """The will of a CONNECT. `qos` may be 3; `topic` may be ill-formed bytes."""

    def __init__(self, topic, payload=b"", qos=0, retain=False, properties=None,
                 properties_raw=None):
        self.topic, self.payload, self.qos, self.retain = topic, payload, qos, retain
        self.properties, self.properties_raw = properties, properties_raw

    def __repr__(self):
        return f"Will{tuple(self.__dict__.values())}"


def _short(value):
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}..."


# ---- what tests build packets with -------------------------------------------------------------


def connect(client_id="", clean_start=True, keep_alive=0, will=None, username=None, password=None,
            properties=None, **wrong):
    """`wrong`: protocol_name, level, connect_flags, properties_raw, payload (after keep alive and
    properties), and what Packet lists."""
    return Packet(CONNECT, client_id=client_id, clean_start=clean_start, keep_alive=keep_alive,
                  will=will, username=username, password=password, properties=properties, **wrong)


def publish(topic, payload=b"", qos=0, id=None, retain=False, dup=False, properties=None, **wrong):
    return Packet(PUBLISH, topic=topic, payload=payload, qos=qos, id=id, retain=retain, dup=dup,
                  properties=properties, **wrong)


def _acknowledgement(type):
    def build(id, reason=None, properties=None, **wrong):
        return Packet(type, id=id, reason=reason, properties=properties, **wrong)
    return build


puback, pubrec = _acknowledgement(PUBACK), _acknowledgement(PUBREC)
pubrel, pubcomp = _acknowledgement(PUBREL), _acknowledgement(PUBCOMP)


def subscribe(filters, qos=0, id=1, properties=None, **wrong):
    """`filters`: one filter, or a list of filters and (filter, options byte) pairs."""
    if isinstance(filters, (str, bytes)):
        filters = [filters]
    pairs = [each if isinstance(each, tuple) else (each, qos) for each in filters]
    return Packet(SUBSCRIBE, id=id, filters=pairs, properties=properties, **wrong)


def unsubscribe(filters, id=1, properties=None, **wrong):
    if isinstance(filters, (str, bytes)):
        filters = [filters]
    return Packet(UNSUBSCRIBE, id=id, filters=filters, properties=properties, **wrong)


def pingreq(**wrong):
    return Packet(PINGREQ, **wrong)


def disconnect(reason=None, properties=None, **wrong):
    return Packet(DISCONNECT, reason=reason, properties=properties, **wrong)


def auth(reason=None, properties=None, **wrong):
    return Packet(AUTH, reason=reason, properties=properties, **wrong)


# ---- encoding ----------------------------------------------------------------------------------


def varint(number):
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def string(value):
    """Also binary data. Bytes are taken as they are, so ill-formed text can be sent."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def _property_value(kind, value):
    if kind == "pair":
        return string(value[0]) + string(value[1])
    if kind in ("string", "binary"):
        return string(value)
    if kind == "varint":
        return varint(value)
    return value.to_bytes({"byte": 1, "two": 2, "four": 4}[kind], "big")


def encode_properties(properties):
    """With their length in front. `properties`: a dict or (name, value) pairs; a list as the value
    repeats the property; a number as the name is an identifier whose value is raw bytes."""
    pairs = properties.items() if isinstance(properties, dict) else properties or []
    out = bytearray()
    for name, value in pairs:
        if isinstance(name, int):
            out += varint(name) + value
            continue
        identifier, kind, _ = PROPERTIES[name]
        for each in value if isinstance(value, list) else [value]:
            out += varint(identifier) + _property_value(kind, each)
    return varint(len(out)) + bytes(out)


def _properties_of(thing, version):
    if version < V5:
        return b""
    if thing.properties_raw is not None:
        return thing.properties_raw
    return encode_properties(thing.properties)


def _encode_connect(packet, version):
    will = packet.will
    flags = 0x02 if packet.clean_start else 0
    if will:
        flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
    flags |= 0x40 if packet.password is not None else 0
    flags |= 0x80 if packet.username is not None else 0
    if packet.connect_flags is not None:
        flags = packet.connect_flags
    name = packet.protocol_name or ("MQIsdp" if version == V31 else "MQTT")
    level = version if packet.level is None else packet.level
    out = string(name) + bytes([level, flags]) + struct.pack(">H", packet.keep_alive)
    out += _properties_of(packet, version)
    if packet.payload is not None:
        return out + packet.payload
    out += string(packet.client_id)
    if will:
        out += _properties_of(will, version) + string(will.topic) + string(will.payload)
    out += string(packet.username) if packet.username is not None else b""
    out += string(packet.password) if packet.password is not None else b""
    return out


def _encode_publish(packet, version):
    out = string(packet.topic)
    if packet.id is not None:
        out += struct.pack(">H", packet.id)
    payload = packet.payload.encode() if isinstance(packet.payload, str) else packet.payload
    return out + _properties_of(packet, version) + payload


def _encode_reason(packet, version):
    """Reason code and properties, left out as far as the standard allows."""
    if version < V5:
        return b""
    if packet.properties or packet.properties_raw is not None:
        return bytes([packet.reason or 0]) + _properties_of(packet, version)
    return b"" if packet.reason is None else bytes([packet.reason])


def _encode_acknowledgement(packet, version):
    return struct.pack(">H", packet.id) + _encode_reason(packet, version)


def _encode_subscribe(packet, version):
    out = struct.pack(">H", packet.id) + _properties_of(packet, version)
    return out + b"".join(string(topic) + bytes([options]) for topic, options in packet.filters)


def _encode_unsubscribe(packet, version):
    out = struct.pack(">H", packet.id) + _properties_of(packet, version)
    return out + b"".join(string(topic) for topic in packet.filters)


def _encode_connack(packet, version):
    out = bytes([1 if packet.session_present else 0, packet.reason or 0])
    return out + _properties_of(packet, version)


_ENCODERS = {
    CONNECT: _encode_connect, CONNACK: _encode_connack, PUBLISH: _encode_publish,
    PUBACK: _encode_acknowledgement, PUBREC: _encode_acknowledgement,
    PUBREL: _encode_acknowledgement, PUBCOMP: _encode_acknowledgement,
    SUBSCRIBE: _encode_subscribe, UNSUBSCRIBE: _encode_unsubscribe,
    DISCONNECT: _encode_reason, AUTH: _encode_reason,
}


def _flags(packet):
    if packet.flags is not None:
        return packet.flags
    if packet.type == PUBLISH:
        return (packet.dup or 0) << 3 | packet.qos << 1 | (1 if packet.retain else 0)
    return 2 if packet.type in (PUBREL, SUBSCRIBE, UNSUBSCRIBE) else 0


def encode(packet, version):
    """The bytes of a packet for that version of the protocol."""
    body = packet.body
    if body is None:
        encoder = _ENCODERS.get(packet.type)
        body = encoder(packet, version) if encoder else b""
    body += packet.tail or b""
    remaining = packet.remaining_raw
    if remaining is None:
        remaining = varint(len(body) if packet.remaining is None else packet.remaining)
    return bytes([packet.type << 4 | _flags(packet)]) + remaining + body


# ---- decoding ----------------------------------------------------------------------------------


def _must(condition, what):
    if not condition:
        raise WireError(what)


class Reader:
    """Takes fields off the front of one packet's body."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def bytes(self, count):
        _must(self.left() >= count, f"{count} bytes expected, {self.left()} left in the packet")
        self.at += count
        return bytes(self.data[self.at - count:self.at])

    def number(self, size):
        return int.from_bytes(self.bytes(size), "big")

    def binary(self):
        return self.bytes(self.number(2))

    def string(self):
        raw = self.binary()
        try:
            text = raw.decode("utf-8", "strict")
        except UnicodeDecodeError as error:
            raise WireError(f"ill-formed UTF-8: {error}") from error
        _must("\0" not in text, "U+0000 in a string")
        return text

    def varint(self):
        value, start = 0, self.at
        for shift in (0, 7, 14, 21):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                _must(self.at - start == len(varint(value)), "variable byte integer too long")
                return value
        raise WireError("variable byte integer of more than four bytes")

    def properties(self, type):
        end = self.varint()
        _must(end <= self.left(), "properties longer than the packet")
        end += self.at
        found = Properties()
        while self.at < end:
            identifier = self.varint()
            _must(identifier in PROPERTY_NAMES, f"unknown property 0x{identifier:02x}")
            name = PROPERTY_NAMES[identifier]
            _, kind, packets = PROPERTIES[name]
            _must(type in packets, f"{name} in {type.name} from a server")
            _must(name not in found or (type, name) in REPEATABLE, f"{name} twice")
            value = self._property(kind)
            _must(name not in ZERO_OR_ONE or value in (0, 1), f"{name} is {value}")
            _must(name not in NEVER_ZERO or value != 0, f"{name} is 0")
            found.append((name, value))
        _must(self.at == end, "a property crosses the end of the properties")
        return found

    def _property(self, kind):
        if kind == "pair":
            return self.string(), self.string()
        if kind in ("string", "binary", "varint"):
            return getattr(self, kind)()
        return self.number({"byte": 1, "two": 2, "four": 4}[kind])


def _reason(reader, type):
    code = reader.number(1)
    _must(code in REASON_CODES[type], f"reason code 0x{code:02x} in {type.name}")
    return code


def _identifier(reader):
    number = reader.number(2)
    _must(number != 0, "packet identifier 0")
    return number


def _decode_connack(reader, version, _flags_):
    flags = reader.number(1)
    _must(flags in (0, 1) and not (version == V31 and flags), f"CONNACK flags 0x{flags:02x}")
    if version < V5:
        reason, properties = reader.number(1), Properties()
        _must(reason <= 5, f"CONNACK return code {reason}")
    else:
        reason, properties = _reason(reader, CONNACK), reader.properties(CONNACK)
    _must(reason == 0 or flags == 0, "session present in a CONNACK that refuses")
    return Packet(CONNACK, session_present=bool(flags), reason=reason, properties=properties)


def _decode_publish(reader, version, flags):
    qos, dup = flags >> 1 & 3, bool(flags & 8)
    _must(qos < 3, "PUBLISH of QoS 3")
    _must(qos or not dup, "DUP on a PUBLISH of QoS 0")
    topic = reader.string()
    _must("+" not in topic and "#" not in topic, f"wildcard in the topic name {topic!r}")
    number = _identifier(reader) if qos else None
    properties = reader.properties(PUBLISH) if version == V5 else Properties()
    _must(topic or "topic_alias" in properties, "no topic name and no alias")
    return Packet(PUBLISH, topic=topic, payload=reader.bytes(reader.left()), qos=qos, id=number,
                  retain=bool(flags & 1), dup=dup, properties=properties)


def _decode_acknowledgement(type):
    def decode(reader, version, _flags_):
        number, reason, properties = _identifier(reader), 0, Properties()
        if version == V5 and reader.left():
            reason = _reason(reader, type)
            if reader.left():
                properties = reader.properties(type)
        return Packet(type, id=number, reason=reason, properties=properties)
    return decode


def _decode_suback(reader, version, _flags_):
    number = _identifier(reader)
    properties = reader.properties(SUBACK) if version == V5 else Properties()
    codes = list(reader.bytes(reader.left()))
    allowed = REASON_CODES[SUBACK] if version == V5 else {0, 1, 2, 0x80}
    _must(codes and set(codes) <= allowed, f"codes {codes} in SUBACK")
    return Packet(SUBACK, id=number, codes=codes, properties=properties)


def _decode_unsuback(reader, version, _flags_):
    number = _identifier(reader)
    if version < V5:
        return Packet(UNSUBACK, id=number)
    properties = reader.properties(UNSUBACK)
    codes = list(reader.bytes(reader.left()))
    _must(codes and set(codes) <= REASON_CODES[UNSUBACK], f"codes {codes} in UNSUBACK")
    return Packet(UNSUBACK, id=number, codes=codes, properties=properties)


def _decode_pingresp(_reader, _version, _flags_):
    return Packet(PINGRESP)


def _decode_ending(type):
    """DISCONNECT and AUTH."""
    def decode(reader, version, _flags_):
        _must(version == V5, f"{type.name} from a server before 5.0")
        reason, properties = 0, Properties()
        if reader.left():
            reason = _reason(reader, type)
            if reader.left():
                properties = reader.properties(type)
        _must(type != AUTH or "authentication_method" in properties, "AUTH without its method")
        return Packet(type, reason=reason, properties=properties)
    return decode


_DECODERS = {
    CONNACK: _decode_connack, PUBLISH: _decode_publish, PUBACK: _decode_acknowledgement(PUBACK),
    PUBREC: _decode_acknowledgement(PUBREC), PUBREL: _decode_acknowledgement(PUBREL),
    PUBCOMP: _decode_acknowledgement(PUBCOMP), SUBACK: _decode_suback, UNSUBACK: _decode_unsuback,
    PINGRESP: _decode_pingresp, DISCONNECT: _decode_ending(DISCONNECT), AUTH: _decode_ending(AUTH),
}


class Decoder:
    """Bytes in any portions in, packets from a server out. `packet.size` is the whole length."""

    def __init__(self, version):
        self.version, self.buffer = version, bytearray()

    def feed(self, data):
        self.buffer += data

    def next(self):
        """None: not a whole packet yet."""
        header = self._header()
        if header is None:
            return None
        start, length = header
        if len(self.buffer) < start + length:
            return None
        first, body = self.buffer[0], bytes(self.buffer[start:start + length])
        del self.buffer[:start + length]
        return self._decode(first, body, start + length)

    def _header(self):
        value = 0
        for at in range(1, 5):
            if len(self.buffer) <= at:
                return None
            value |= (self.buffer[at] & 0x7F) << 7 * (at - 1)
            if self.buffer[at] < 0x80:
                _must(at == len(varint(value)), "remaining length not in the fewest bytes")
                return at + 1, value
        raise WireError("remaining length of more than four bytes")

    def _decode(self, first, body, size):
        number, flags = first >> 4, first & 15
        _must(number in _DECODERS, f"packet of type {number} from a server")
        type = Type(number)
        if type != PUBLISH:
            _must(flags == (2 if type == PUBREL else 0), f"flags {flags} in {type.name}")
        reader = Reader(body)
        packet = _DECODERS[type](reader, self.version, flags)
        _must(reader.left() == 0, f"{reader.left()} bytes too many in {type.name}")
        packet.size = size
        return packet

# SPDX-License-Identifier: Apache-2.0
"""A client that speaks packets or bytes, and asserts what comes back.

Blocking sockets with deadlines. Each assertion that fails shows the conversation so far.
"""

import collections
import itertools
import os
import socket
import time

from . import wire, ws
from .wire import (AUTH, CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL,
                   SUBACK, UNSUBACK, V5, Decoder, Type, encode)

_counter = itertools.count(1)


def patience():
    """Seconds after which waiting was in vain. Nothing waits this long when all is well."""
    return 5.0 * float(os.environ.get("SKEIN_TEST_PATIENCE", "1"))


def unique(prefix="c"):
    """A name that no other test uses: letters and digits, at most 23 with a short prefix."""
    return f"{prefix}{os.getpid():x}n{next(_counter):x}"


class Closed(AssertionError):
    """The broker closed the connection where the test expected a packet."""


class RawClient:
    """One connection. `version` is V31, V311 or V5; `websocket`: over WebSocket, already upgraded;
    `first`: bytes that go before everything else.

    Packets that arrive while another one is awaited are kept, in order, for later expectations.
    """

    def __init__(self, broker, version, websocket=False, receive_buffer=None, first=b""):
        self.version = version
        self.client_id = None
        self.connack = None
        self._ids = itertools.cycle(range(1, 65536))
        self._inbox = []
        self._aliases = {}
        self._story = collections.deque(maxlen=60)
        self.received = b""  # the bytes of the last read
        self._decoder = Decoder(version)
        self._ended = None
        address = broker.ws_address if websocket else broker.address
        self.socket = dial(address, receive_buffer)
        self.socket.sendall(first)
        self.stream = self.socket
        if websocket:
            self.stream = ws.Stream(self.socket, patience())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Drops the connection, as a network failure would: no DISCONNECT."""
        self.socket.close()

    # ---- sending ----

    def send(self, *packets):
        """Packets or bytes, all in one write."""
        raw = b"".join(p if isinstance(p, (bytes, bytearray)) else encode(p, self.version)
                       for p in packets)
        self._story += [f"> {_shown(p)}" for p in packets]
        self.socket.settimeout(patience())
        try:
            self.stream.sendall(raw)
        except (BrokenPipeError, ConnectionResetError):
            self._story.append("! closed while sending")

    def send_slowly(self, packet, pause=0.0):
        """One byte in each TCP segment."""
        raw = packet if isinstance(packet, bytes) else encode(packet, self.version)
        for at in range(len(raw)):
            self.stream.sendall(raw[at:at + 1])
            if pause:
                time.sleep(pause)
        self._story.append(f"> {packet!r} byte by byte")

    def next_id(self):
        return next(self._ids)

    # ---- receiving ----

    def _fail(self, what):
        story = "\n".join(self._story)
        raise AssertionError(f"{what}\nThe conversation of {self.client_id!r}:\n{story}")

    def _closed(self, what):
        story = "\n".join(self._story)
        raise Closed(f"{what}\nThe conversation of {self.client_id!r}:\n{story}")

    def _read(self, deadline):
        """One packet off the wire. None: end of the stream. TimeoutError: nothing in time."""
        while True:
            packet = self._decoder.next()
            if packet is not None:
                self._story.append(f"< {packet!r}")
                return self._resolve_alias(packet)
            if self._ended:
                return None
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.socket.settimeout(left)
            try:
                data = self.stream.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if data:
                self.received = data
                self._decoder.feed(data)
                continue
            self._ended = True
            self._story.append("< end of stream")
            if self._decoder.buffer:
                self._fail(f"the stream ended inside a packet: {_shown(self._decoder.buffer)}")

    def _resolve_alias(self, packet):
        """Topic aliases that the broker makes are resolved: tests always see the topic name."""
        alias = packet.properties.get("topic_alias") if packet.type == PUBLISH else None
        if alias is not None:
            if packet.topic:
                self._aliases[alias] = packet.topic
            elif alias not in self._aliases:
                self._fail(f"topic alias {alias} was never given a topic")
            packet.wire_topic, packet.topic = packet.topic, self._aliases[alias]
        return packet

    def next_packet(self, what="a packet", within=None):
        """Whatever comes next; `what` is for the failure when nothing does."""
        if self._inbox:
            return self._inbox.pop(0)
        try:
            packet = self._read(time.monotonic() + (within or patience()))
        except TimeoutError:
            self._fail(f"{what} expected, nothing came")
        if packet is None:
            self._closed(f"{what} expected, the connection was closed")
        return packet

    def expect(self, type, within=None, **fields):
        """The very next packet, which has these values. Gives the packet."""
        packet = self.next_packet(f"{type.name} {fields}", within)
        if packet.type != type:
            self._fail(f"{type.name} expected, {packet!r} came")
        self._compare(packet, fields)
        return packet

    def _compare(self, packet, fields):
        for name, value in fields.items():
            seen = getattr(packet, name)
            if name == "payload" and isinstance(value, str):
                value = value.encode()
            if isinstance(value, (set, range, frozenset)):
                same = seen in value
            else:
                same = seen == value
            if not same:
                self._fail(f"{name} {value!r} expected, {seen!r} came in {packet!r}")

    def wait_for(self, type, within=None, id=None, **fields):
        """The next packet of that type (and packet identifier); others before it are kept."""
        kept, packet = [], None
        try:
            while packet is None:
                seen = self.next_packet(f"{type.name} {fields}", within)
                if seen.type == type and (id is None or seen.id == id):
                    packet = seen
                else:
                    kept.append(seen)
        finally:
            self._inbox = kept + self._inbox
        self._compare(packet, fields)
        return packet

    def expect_closed(self, reason=None, within=None):
        """The connection ends: in 5.0 with DISCONNECT of this reason code (or one of a set) before
        if `reason` is given, else with or without one; before 5.0 always without."""
        packet = self._until_closed(within)
        if packet is not None:
            if packet.type != DISCONNECT:
                self._fail(f"the end of the stream expected, {packet!r} came")
            after = self._until_closed(within)
            if after is not None:
                self._fail(f"{after!r} came after DISCONNECT")
        if reason is not None and self.version == V5:
            if packet is None:
                self._fail(f"DISCONNECT {_codes(reason)} expected, the connection was just closed")
            if packet.reason not in _set(reason):
                self._fail(f"DISCONNECT {_codes(reason)} expected, 0x{packet.reason:02x} came")
        return packet

    def _until_closed(self, within):
        if self._inbox:
            return self._inbox.pop(0)
        try:
            return self._read(time.monotonic() + (within or patience()))
        except TimeoutError:
            self._fail("the broker should have closed the connection")

    def rest(self, within=None):
        """Every packet until the end of the stream, as a list."""
        packets = []
        while (packet := self._until_closed(within)) is not None:
            packets.append(packet)
        return packets

    def expect_refused(self, reason=None, within=None):
        """CONNECT is refused: CONNACK with this reason code (or one of a set), then the end.
        Without `reason`: the end, with no CONNACK before 5.0, or one of 0x80 or above in 5.0."""
        if reason is None:
            packet = self._until_closed(within)
            if packet is not None:
                allowed = () if self.version < V5 else (CONNACK, DISCONNECT)
                if packet.type not in allowed or packet.reason < 0x80:
                    self._fail(f"the end of the stream expected, {packet!r} came")
                self.expect_closed(within=within)
            return packet
        packet = self.expect(CONNACK, within=within, reason=_set(reason), session_present=False)
        if self._until_closed(within) is not None:
            self._fail("something came after a CONNACK that refuses")
        return packet

    def expect_nothing(self, ms=200):
        """Nothing comes for that long. Costs the time it says: see barrier() and quiet_after()."""
        if self._inbox:
            self._fail(f"nothing expected, {self._inbox[0]!r} came")
        try:
            packet = self._read(time.monotonic() + ms / 1000)
        except TimeoutError:
            return
        self._fail(f"nothing expected, {packet or 'the end of the stream'!r} came")

    def barrier(self):
        """PINGREQ until PINGRESP: the broker has processed what this client sent."""
        self.send(wire.pingreq())
        self.wait_for(PINGRESP)

    def expect_quiet(self):
        """Nothing but PINGRESP comes. About what other clients sent, use quiet_after()."""
        self.barrier()
        if self._inbox:
            self._fail(f"only PINGRESP expected, {self._inbox[0]!r} came")

    def quiet_after(self, publisher, qos=0):
        """Nothing has come of what `publisher` published so far: a message of its own that this
        client subscribes to now comes first."""
        marker = unique("kit/marker/")
        self.subscribe(marker, qos)
        publisher.publish(marker, b"marker", qos)
        packet = self.next_packet("the marker message")
        if packet.type != PUBLISH or packet.topic != marker:
            self._fail(f"nothing but the marker expected, {packet!r} came")
        self.acknowledge(packet)
        self.unsubscribe(marker)

    # ---- whole exchanges ----

    def connect(self, client_id=None, **fields):
        """Sends CONNECT and expects it to be accepted. A unique client id when none is given."""
        self.client_id = unique() if client_id is None else client_id
        self.send(wire.connect(self.client_id, **fields))
        self.connack = self.expect(CONNACK, reason=0)
        return self.connack

    def disconnect(self, reason=None, properties=None):
        """DISCONNECT, then the broker's end of the stream."""
        self.send(wire.disconnect(reason, properties))
        if self._until_closed(None) is not None:
            self._fail("something came after DISCONNECT")
        self.close()

    def subscribe(self, filters, qos=0, properties=None):
        """SUBSCRIBE and its SUBACK, whose codes are all success. Gives the SUBACK."""
        packet = wire.subscribe(filters, qos, self.next_id(), properties)
        self.send(packet)
        suback = self.wait_for(SUBACK, id=packet.id)
        if len(suback.codes) != len(packet.filters) or max(suback.codes) > 2:
            self._fail(f"{len(packet.filters)} subscriptions expected, {suback!r} came")
        return suback

    def unsubscribe(self, filters, properties=None):
        packet = wire.unsubscribe(filters, self.next_id(), properties)
        self.send(packet)
        return self.wait_for(UNSUBACK, id=packet.id)

    def publish(self, topic, payload=b"", qos=0, retain=False, properties=None, id=None,
                within=None):
        """PUBLISH and its whole handshake. Gives PUBACK or PUBREC; at QoS 0 nothing."""
        number = (id or self.next_id()) if qos else None
        self.send(wire.publish(topic, payload, qos, number, retain, properties=properties))
        if qos == 0:
            return None
        answer = self.wait_for(PUBACK if qos == 1 else PUBREC, within, id=number)
        if qos == 2 and answer.reason < 0x80:
            self.send(wire.pubrel(number))
            self.wait_for(PUBCOMP, within, id=number, reason=0)
        return answer

    def receive(self, within=None, **fields):
        """The next packet is a PUBLISH with these values; acknowledges it. Gives the PUBLISH."""
        packet = self.expect(PUBLISH, within, **fields)
        self.acknowledge(packet)
        return packet

    def acknowledge(self, packet):
        if packet.qos == 1:
            self.send(wire.puback(packet.id))
        elif packet.qos == 2:
            self.send(wire.pubrec(packet.id))
            self.wait_for(PUBREL, id=packet.id)
            self.send(wire.pubcomp(packet.id))

    def authenticate(self, reason, properties):
        """AUTH, and the AUTH that answers it."""
        self.send(wire.auth(reason, properties))
        return self.expect(AUTH)


def _shown(packet):
    if isinstance(packet, (bytes, bytearray)):
        return packet[:40].hex(" ") + (" ..." if len(packet) > 40 else "")
    return repr(packet)


def _set(reason):
    return reason if isinstance(reason, (set, frozenset)) else {reason}


def _codes(reason):
    return " or ".join(f"0x{code:02x}" for code in sorted(_set(reason)))


def dial(address, receive_buffer=None):
    """A TCP connection; Nagle off, so that each send leaves at once."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(patience())
    connection.connect(address)
    return connection


def connect_again(broker, version, client_id, within=None, **fields):
    """Connects like a client that tries again until it is let in. `within` seconds: what a cluster
    needs for a lease and another home, on a busy machine."""
    deadline = time.monotonic() + (within or 4 * patience())
    while True:
        client = RawClient(broker, version)
        try:
            client.connect(client_id, **fields)
            return client
        except AssertionError:
            client.close()
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.1)


__all__ = ["Closed", "RawClient", "Type", "connect_again", "dial", "patience", "unique"]

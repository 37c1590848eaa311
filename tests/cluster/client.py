# SPDX-License-Identifier: Apache-2.0
"""A correct MQTT client that may connect to any node, and writes the history.

What it keeps of its session (messages not acknowledged, packet ids not released) survives every loss of
a connection and goes with it to the next node, where it sends again what was not acknowledged: same order,
same packet ids, DUP. It may connect while its last connection is still there: then the old one is only
looked at, to see whether it still does anything.
"""

import asyncio
import collections

from crash.client import id_of, payload
from kit import (CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK, V5,
                 WireError, encode, patience, pingreq, wire)

FOR_EVER_S = 100_000
KEEP_ALIVE_S = 5
ANSWER_S = 2 * patience()  # a CONNACK or PINGRESP that takes longer is a connection lost
WINDOW = 40      # as many messages on the way at most


class Link(asyncio.Protocol):
    """One connection: bytes to packets, each given to the client at once."""

    def __init__(self, client, conn, node):
        self.client, self.conn, self.node = client, conn, node
        self.decoder, self.transport, self.leaving = wire.Decoder(client.version), None, "lost"
        loop = asyncio.get_running_loop()
        self.answer, self.closed = loop.create_future(), loop.create_future()
        self.op, self.pings = None, collections.deque()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.decoder.feed(data)
        try:
            while (packet := self.decoder.next()) is not None:
                self.client.received(self, packet)
        except WireError as error:
            self.client.trouble(f"the broker broke the protocol: {error}")
            self.abort()

    def connection_lost(self, _error):
        self.client.note("closed", conn=self.conn, how=self.leaving)
        self.client.lost(self)
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, *packets):
        """Lost when the connection is: the client sends again what matters."""
        if self.transport and not self.transport.is_closing():
            self.transport.write(b"".join(encode(packet, self.client.version) for packet in packets))

    def ping(self):
        """Its answer shows that the broker still serves this connection."""
        op = self.client.history.op()
        self.client.note("ping", conn=self.conn, op=op)
        self.pings.append(op)
        self.send(pingreq())

    def abort(self):
        """Goes without a word. What the broker has sent and was not read is lost."""
        if self.leaving == "lost":
            self.leaving = "abort"
        self.transport.abort()


class Out:
    """A message on its way to the broker."""

    def __init__(self, message, pid):
        self.message, self.pid, self.op, self.released = message, pid, None, False


class Client:
    """Roles derive from it: they say when to be connected and what to do then."""

    def __init__(self, world, name, version, expiry_s=FOR_EVER_S, receive_maximum=None):
        """`expiry_s` 0: each connection starts clean and its session ends with it."""
        self.world, self.history, self.name, self.version = world, world.history, name, version
        self.expiry_s, self.receive_maximum = expiry_s, receive_maximum
        self.draw = world.random(name)
        self.link, self.conns, self.connected = None, 0, False
        self.out = collections.OrderedDict()     # pid: Out, oldest first
        self.unreleased = set()                  # QoS 2 packet ids that came and were not released
        self.asking = collections.OrderedDict()  # pid: (op, "subscribe" | "unsubscribe", [filters])
        self.last_pid, self.window = 0, WINDOW
        self.present = False

    # ---- what roles define ----

    def up(self):
        """Connected, and what was open has been sent again."""

    def acknowledged(self, message):
        """A message has got its last acknowledgement."""

    def answered(self, kind, filters, codes):
        """SUBACK or UNSUBACK."""

    def delivered(self, packet, id, new):
        """A message came."""

    def will(self):
        """The will for the next CONNECT: None or (dict for the history, wire.Will)."""
        return None

    # ---- connections ----

    def note(self, kind, **fields):
        self.history.add(kind, self.name, **fields)

    def trouble(self, what):
        self.note("trouble", what=what)

    async def connect(self, node, clean=False):
        """One attempt, also while the last connection is still there. True when the broker said yes."""
        try:
            connection = await self.world.dial(node)
        except OSError:
            return False
        self.conns += 1
        link = Link(self, self.conns, node)
        await asyncio.get_running_loop().create_connection(lambda: link, sock=connection)
        self._send_connect(link, clean or self.expiry_s == 0)
        await asyncio.wait({link.answer, link.closed}, timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
        if link.answer.done() and link.answer.result() == 0:
            return True
        if not link.closed.done():
            link.abort()
            await link.closed
        return False

    def _send_connect(self, link, clean):
        will, properties = self.will(), None
        if self.version == V5:
            properties = {"session_expiry_interval": self.expiry_s}
            if self.receive_maximum:
                properties["receive_maximum"] = self.receive_maximum
        link.clean, link.op = clean, self.history.op()
        self.note("connect", conn=link.conn, node=link.node, op=link.op, clean=clean, expiry_s=self.expiry_s,
                  version=self.version, will=will[0] if will else None)
        link.send(wire.connect(self.name, clean_start=clean, keep_alive=KEEP_ALIVE_S, will=will[1] if will else None,
                               properties=properties))

    def _on_connack(self, link, packet):
        """At once: what comes right behind it is acknowledged already."""
        code = packet.reason or 0
        self.note("connack", conn=link.conn, op=link.op, present=bool(packet.session_present), code=code)
        if code == 0:
            self.link, self.connected, self.present = link, True, bool(packet.session_present)
            if self.version == V5:
                self.window = min(WINDOW, packet.properties.get("receive_maximum", 65535))
            if link.clean or not packet.session_present:
                self.forget()
            self._resume()
            self.up()
        link.answer.set_result(code)

    def forget(self):
        """The broker has no session: neither has the client. The checker knows if that is wrong."""
        self.out.clear(), self.unreleased.clear(), self.asking.clear()

    def _resume(self):
        packets = [wire.pubrel(out.pid) if out.released else self._publish_packet(out, dup=True)
                   for out in self.out.values()]
        asking, self.asking = self.asking, collections.OrderedDict()
        packets += [self._ask_packet(kind, filters) for _, kind, filters in asking.values()]
        self.link.send(*packets)

    def lost(self, link):
        if link is self.link:
            self.connected = False

    async def stay(self):
        """Until the connection is gone or there is a newer one, asking now and then whether it is there."""
        link, asked = self.link, self.world.loop.time()
        link.ping()
        while link is self.link and not link.closed.done():
            await asyncio.wait({link.closed}, timeout=0.1)
            now = self.world.loop.time()
            if link.leaving == "lost" and not link.pings and now - asked > KEEP_ALIVE_S / 2:
                asked = now
                link.ping()
            elif now - asked > ANSWER_S:
                link.abort()

    def abort(self):
        self.connected = False
        self.link.abort()

    def disconnect(self, with_will=False):
        """DISCONNECT; the broker closes."""
        self.note("disconnect", conn=self.link.conn, with_will=with_will)
        self.link.leaving = "disconnect_with_will" if with_will else "disconnect"
        self.link.send(wire.disconnect(4 if with_will else None))
        self.connected = False

    # ---- out ----

    def next_pid(self):
        while True:
            self.last_pid = self.last_pid % 65535 + 1
            if self.last_pid not in self.out and self.last_pid not in self.asking:
                return self.last_pid

    def room(self):
        return self.connected and len(self.out) < self.window

    def publish(self, message, link=None):
        """`message` has id, topic, qos, retain, clear, size and expiry_s."""
        out = Out(message, self.next_pid() if message.qos else None)
        if message.qos:
            self.out[out.pid] = out
        (link or self.link).send(self._publish_packet(out, dup=False, link=link))

    def _publish_packet(self, out, dup, link=None):
        m, out.op = out.message, self.history.op()
        self.note("publish", conn=(link or self.link).conn, op=out.op, id=m.id, topic=m.topic, qos=m.qos,
                  retain=m.retain, dup=dup, pid=out.pid, clear=m.clear, expiry_s=m.expiry_s)
        properties = {"message_expiry_interval": m.expiry_s} if m.expiry_s else None
        body = b"" if m.clear else payload(m.id, m.size)
        return wire.publish(m.topic, body, m.qos, out.pid, m.retain, dup, properties=properties)

    def ask(self, kind, filters):
        """kind: subscribe or unsubscribe; filters: [(filter, qos)] or [filter]."""
        self.link.send(self._ask_packet(kind, filters))

    def _ask_packet(self, kind, filters):
        pid, op = self.next_pid(), self.history.op()
        self.asking[pid] = (op, kind, filters)
        self.note(kind, conn=self.link.conn, op=op, filters=filters)
        return (wire.subscribe if kind == "subscribe" else wire.unsubscribe)(filters, id=pid)

    # ---- in ----

    def received(self, link, packet):
        everywhere = {CONNACK: self._on_connack, PINGRESP: self._on_pingresp, DISCONNECT: self._on_disconnect}
        current = {PUBLISH: self._on_publish, PUBACK: self._on_puback, PUBREC: self._on_pubrec,
                   PUBCOMP: self._on_pubcomp, PUBREL: self._on_pubrel, SUBACK: self._on_answer,
                   UNSUBACK: self._on_answer}
        if packet.type in everywhere:
            everywhere[packet.type](link, packet)
        elif link is self.link:
            current[packet.type](packet)
        elif packet.type == PUBLISH and (id := id_of(packet.payload)):
            self.note("stray", conn=link.conn, id=id)

    def _on_pingresp(self, link, _packet):
        if link.pings:
            self.note("pong", conn=link.conn, op=link.pings.popleft())

    def _on_disconnect(self, link, packet):
        self.note("told", conn=link.conn, code=packet.reason)

    def _unexpected(self, packet):
        self.trouble(f"{packet.type.name} for packet id {packet.id}, which waits for none")

    def _note_acked(self, out, packet):
        self.note("acked", conn=self.link.conn, op=out.op, id=out.message.id, code=packet.reason or 0)

    def _on_puback(self, packet):
        out = self.out.get(packet.id)
        if out is None or out.message.qos != 1:
            return self._unexpected(packet)
        del self.out[packet.id]
        self._note_acked(out, packet)
        self.acknowledged(out.message)

    def _on_pubrec(self, packet):
        out = self.out.get(packet.id)
        if out is None or out.message.qos != 2:
            return self._unexpected(packet)
        if not out.released:
            self._note_acked(out, packet)
        if (packet.reason or 0) >= 0x80:
            del self.out[packet.id]
            return self.acknowledged(out.message)
        out.released = True
        self.out.move_to_end(packet.id)
        self.link.send(wire.pubrel(packet.id))

    def _on_pubcomp(self, packet):
        out = self.out.get(packet.id)
        if out is None or not out.released:
            return self._unexpected(packet)
        del self.out[packet.id]
        self.note("completed", conn=self.link.conn, op=out.op, id=out.message.id)
        self.acknowledged(out.message)

    def _on_publish(self, packet):
        new = not (packet.qos == 2 and packet.id in self.unreleased)
        if packet.qos == 2:
            self.unreleased.add(packet.id)
        id = id_of(packet.payload)
        if packet.payload and id is None:
            self.trouble(f"a payload that is nobody's: {packet.payload[:60]!r} on {packet.topic}")
        elif id is not None:
            self.note("deliver", conn=self.link.conn, id=id, topic=packet.topic, qos=packet.qos,
                      retain=bool(packet.retain), dup=bool(packet.dup), pid=packet.id, new=new)
            self.delivered(packet, id, new)
        if packet.qos:
            self.answer(id, packet)

    def answer(self, id, packet):
        """Acknowledges a message; roles may take their time, in order."""
        if self.connected:
            if id is not None:
                self.note("answer", conn=self.link.conn, id=id, pid=packet.id)
            self.link.send(wire.puback(packet.id) if packet.qos == 1 else wire.pubrec(packet.id))

    def _on_pubrel(self, packet):
        self.unreleased.discard(packet.id)
        if self.connected:
            self.link.send(wire.pubcomp(packet.id))

    def _on_answer(self, packet):
        op, kind, filters = self.asking.pop(packet.id, (None, None, None))
        if kind != ("subscribe" if packet.type == SUBACK else "unsubscribe"):
            return self._unexpected(packet)
        codes = packet.codes or [0] * len(filters)  # UNSUBACK has none before 5.0
        self.note("suback" if kind == "subscribe" else "unsuback", conn=self.link.conn, op=op, codes=codes)
        self.answered(kind, filters, codes)

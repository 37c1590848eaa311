# SPDX-License-Identifier: Apache-2.0
"""A correct MQTT client whose session outlives its connections, and the history's witness.

What it keeps of the session (messages not acknowledged, packet ids not released, subscriptions not
answered) survives every loss of the connection, as the standard asks of a client. When it is back,
it sends again what was not acknowledged: same order, same packet ids, DUP.
"""

import asyncio
import collections

from kit import (CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK,
                 UNSUBACK, V5, WireError, encode, pingreq, wire)

EXPIRY_S = 100_000
ANSWER_S = 10.0  # a CONNACK that takes longer is a connection lost


def payload(id, size):
    """The id, and filling that shows when bytes are not the message's own."""
    text = id.encode() + b" "
    return (text * (size // len(text) + 1))[:max(size, len(text))]


def id_of(data):
    """What the payload says it is, if every byte agrees; else None."""
    id, space, _ = data.partition(b" ")
    text = id.decode("ascii", "replace")
    return text if space and data == payload(text, len(data)) else None


class Link(asyncio.Protocol):
    """One connection: bytes to packets, each given to the client at once."""

    def __init__(self, client):
        self.client, self.decoder = client, wire.Decoder(client.version)
        self.transport, self.closed = None, asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.decoder.feed(data)
        try:
            while (packet := self.decoder.next()) is not None:
                self.client.received(packet)
        except WireError as error:
            self.client.trouble(f"the broker broke the protocol: {error}")
            self.transport.abort()

    def connection_lost(self, _error):
        if self.client.link is self:
            self.client.connected = False
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, *packets):
        """Lost when the connection is: the client sends again what matters."""
        if not self.transport.is_closing():
            self.transport.write(b"".join(encode(packet, self.client.version) for packet in packets))


class Out:
    """A message on its way to the broker."""

    def __init__(self, message, pid):
        self.message, self.pid, self.released = message, pid, False


class Client:
    """Roles derive from it: they say when to be connected and what to do then."""

    def __init__(self, world, name, version, receive_maximum=None):
        self.world, self.name, self.version = world, name, version
        self.history, self.draw = world.history, world.random(name)
        self.receive_maximum = receive_maximum
        self.link, self.conn, self.connected = None, 0, False
        self.out = collections.OrderedDict()  # pid: Out, oldest first
        self.unreleased = set()               # QoS 2 packet ids that came and were not released
        self.asking = collections.OrderedDict()  # pid: ("subscribe" | "unsubscribe", [filters])
        self.last_pid, self.window = 0, 100
        self.connack = self.closing = self.answer_to_connect = None
        self.clean = False
        self.leaving = "lost"

    # ---- what roles define ----

    def up(self):
        """Connected, and what was open has been sent again."""

    def acknowledged(self, out):
        """A message has got its last acknowledgement."""

    def answered(self, kind, filters):
        """SUBACK or UNSUBACK."""

    def will(self):
        """The will for the next CONNECT: None or (dict for the history, wire.Will)."""
        return None

    # ---- connection ----

    async def connect(self, clean=False):
        """One attempt. True when the broker said yes."""
        try:
            link = (await self.world.loop.create_connection(lambda: Link(self), *self.world.address))[1]
        except OSError:
            return False
        self.conn += 1
        self.link, self.clean, self.connack = link, clean, None
        answered = self.answer_to_connect = self.world.loop.create_future()
        will = self.will()
        self.history.add("connect", self.name, conn=self.conn, clean=clean, version=self.version,
                         will=will[0] if will else None)
        properties = {"session_expiry_interval": EXPIRY_S} if self.version == V5 else None
        if properties and self.receive_maximum:
            properties["receive_maximum"] = self.receive_maximum
        link.send(wire.connect(self.name, clean_start=clean, will=will[1] if will else None,
                               properties=properties))
        self.leaving = "lost"
        await asyncio.wait({answered, link.closed}, timeout=ANSWER_S,
                           return_when=asyncio.FIRST_COMPLETED)
        if answered.done() and answered.result() == 0:
            return True
        if not link.closed.done():
            self.trouble(f"CONNECT is refused with {answered.result()}" if answered.done() else
                         f"no CONNACK within {ANSWER_S:.0f} s")
            link.transport.abort()
            await link.closed
        self._down()
        return False

    def _on_connack(self, packet):
        """At once: what comes right behind it is acknowledged already."""
        self.connack = packet
        self.history.add("connack", self.name, conn=self.conn, present=bool(packet.session_present),
                         code=packet.reason or 0)
        if not packet.reason:
            self.window = 100
            if self.version == V5:
                self.window = min(100, packet.properties.get("receive_maximum", 65535))
            if self.clean or not packet.session_present:
                self.forget()
            self.connected = True
            self._resume()
            self.up()
        self.answer_to_connect.set_result(packet.reason or 0)

    def forget(self):
        """The broker has no session: neither has the client. The checker knows if that is wrong."""
        self.out.clear()
        self.unreleased.clear()
        self.asking.clear()

    def _resume(self):
        packets = []
        for out in self.out.values():
            if out.released:
                packets.append(wire.pubrel(out.pid))
            else:
                packets.append(self._publish_packet(out, dup=True))
        asking, self.asking = self.asking, collections.OrderedDict()
        for kind, filters in asking.values():
            packets.append(self._ask_packet(kind, filters))
        if packets:
            self.link.send(*packets)

    async def stay(self):
        """Until the connection is gone."""
        await self.link.closed
        self._down()

    def _down(self):
        """Noted once a connection, by whoever waited for its end."""
        self.connected = False
        self.history.add("closed", self.name, conn=self.conn, how=self.leaving)

    def abort(self):
        """Goes without a word. What the broker has sent and was not read is lost."""
        self.leaving = "abort"
        self.connected = False
        self.link.transport.abort()

    def disconnect(self, with_will=False):
        """DISCONNECT; the broker closes."""
        self.history.add("disconnect", self.name, conn=self.conn, with_will=with_will)
        self.leaving = "disconnect_with_will" if with_will else "disconnect"
        self.link.send(wire.disconnect(4 if with_will else None))
        self.connected = False

    def trouble(self, what):
        self.history.add("trouble", self.name, what=what)

    # ---- out: publications, subscriptions ----

    def next_pid(self):
        while True:
            self.last_pid = self.last_pid % 65535 + 1
            if self.last_pid not in self.out and self.last_pid not in self.asking:
                return self.last_pid

    def publish(self, message):
        """`message` has id, topic, qos, retain, size and clear. QoS 1 or 2."""
        out = Out(message, self.next_pid())
        self.out[out.pid] = out
        self.link.send(self._publish_packet(out, dup=False))

    def _publish_packet(self, out, dup):
        m = out.message
        self.history.add("publish", self.name, id=m.id, topic=m.topic, qos=m.qos, retain=m.retain,
                         dup=dup, pid=out.pid, clear=m.clear)
        body = b"" if m.clear else payload(m.id, m.size)
        return wire.publish(m.topic, body, m.qos, out.pid, m.retain, dup)

    def ask(self, kind, filters):
        """kind: subscribe or unsubscribe; filters: [(filter, qos)] or [filter]."""
        self.link.send(self._ask_packet(kind, filters))

    def _ask_packet(self, kind, filters):
        pid = self.next_pid()
        self.asking[pid] = (kind, filters)
        self.history.add(kind, self.name, filters=filters)
        build = wire.subscribe if kind == "subscribe" else wire.unsubscribe
        return build(filters, id=pid)

    # ---- in ----

    def received(self, packet):
        handlers = {CONNACK: self._on_connack, PUBLISH: self._on_publish, PUBACK: self._on_puback,
                    PUBREC: self._on_pubrec, PUBCOMP: self._on_pubcomp, PUBREL: self._on_pubrel,
                    SUBACK: self._on_suback, UNSUBACK: self._on_unsuback, PINGRESP: self._on_pingresp,
                    DISCONNECT: self._on_disconnect}
        handlers[packet.type](packet)

    def _on_disconnect(self, packet):
        if packet.reason not in (0x8B,):  # shutting down
            self.trouble(f"the broker sent DISCONNECT 0x{packet.reason:02x}")

    def ping(self):
        """A future that is done when everything the broker sent before is here."""
        self.closing = self.world.loop.create_future()
        self.link.send(pingreq())
        return self.closing

    def _on_pingresp(self, _packet):
        if self.closing and not self.closing.done():
            self.closing.set_result(None)

    def _on_puback(self, packet):
        out = self.out.get(packet.id)
        if out is None or out.message.qos != 1:
            self.trouble(f"PUBACK for packet id {packet.id}, which waits for none")
            return
        del self.out[packet.id]
        self._note_acked(out, packet)
        self.acknowledged(out)

    def _note_acked(self, out, packet):
        refused = (packet.reason or 0) >= 0x80
        self.history.add("acked", self.name, id=out.message.id, refused=refused)
        if refused:
            self.trouble(f"{out.message.id} is refused with 0x{packet.reason:02x}")

    def _on_pubrec(self, packet):
        out = self.out.get(packet.id)
        if out is None or out.message.qos != 2:
            self.trouble(f"PUBREC for packet id {packet.id}, which waits for none")
            return
        if not out.released:
            self._note_acked(out, packet)
        if (packet.reason or 0) >= 0x80:
            del self.out[packet.id]
            self.acknowledged(out)
            return
        out.released = True
        self.out.move_to_end(packet.id)
        self.link.send(wire.pubrel(packet.id))

    def _on_pubcomp(self, packet):
        out = self.out.get(packet.id)
        if out is None or not out.released:
            self.trouble(f"PUBCOMP for packet id {packet.id}, which waits for none")
            return
        del self.out[packet.id]
        self.history.add("completed", self.name, id=out.message.id)
        self.acknowledged(out)

    def _on_publish(self, packet):
        new = not (packet.qos == 2 and packet.id in self.unreleased)
        if packet.qos == 2:
            self.unreleased.add(packet.id)
        id = id_of(packet.payload)
        if packet.payload and id is None:
            self.trouble(f"a payload that is nobody's: {packet.payload[:60]!r} on {packet.topic}")
        elif id is not None:
            self.history.add("deliver", self.name, id=id, topic=packet.topic, qos=packet.qos,
                             retain=bool(packet.retain), dup=bool(packet.dup), pid=packet.id, new=new)
            self.delivered(packet, id, new)
        if packet.qos:
            self.answer(wire.puback(packet.id) if packet.qos == 1 else wire.pubrec(packet.id))

    def delivered(self, packet, id, new):
        """Roles may look."""

    def answer(self, packet):
        """Acknowledges a message; roles may take their time, in order."""
        if self.connected:
            self.link.send(packet)

    def _on_pubrel(self, packet):
        self.unreleased.discard(packet.id)
        if self.connected:
            self.link.send(wire.pubcomp(packet.id))

    def _on_suback(self, packet):
        kind, filters = self.asking.pop(packet.id, (None, None))
        if kind != "subscribe":
            self.trouble(f"SUBACK for packet id {packet.id}, which waits for none")
            return
        granted = [code < 0x80 for code in packet.codes]
        self.history.add("suback", self.name, filters=[filter for filter, _ in filters], granted=granted)
        if not all(granted):
            self.trouble(f"SUBSCRIBE is refused: {packet.codes}")
        self.answered(kind, filters)

    def _on_unsuback(self, packet):
        kind, filters = self.asking.pop(packet.id, (None, None))
        if kind != "unsubscribe":
            self.trouble(f"UNSUBACK for packet id {packet.id}, which waits for none")
            return
        self.history.add("unsuback", self.name, filters=filters)
        self.answered(kind, filters)

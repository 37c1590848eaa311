# SPDX-License-Identifier: Apache-2.0
"""Bytes by the hundred thousand: packets made and counted without a decoder between."""

import selectors
import socket
import time

from kit import patience, unique


def varint(number):
    out = bytearray()
    while True:
        out.append(number & 0x7F | (0x80 if number > 0x7F else 0))
        number >>= 7
        if number == 0:
            return bytes(out)


def packet(first, body):
    return bytes([first]) + varint(len(body)) + body


def text(string):
    raw = string.encode()
    return len(raw).to_bytes(2, "big") + raw


def publish(topic, payload, retain=False, packet_id=None):
    """QoS 1 with a packet identifier, else QoS 0."""
    qos1 = packet_id is not None
    number = packet_id.to_bytes(2, "big") if qos1 else b""
    return packet(0x30 | 2 * qos1 | retain, text(topic) + number + payload)


def subscribe(number, filters, qos=0):
    return packet(0x82, number.to_bytes(2, "big")
                  + b"".join(text(f) + bytes([qos]) for f in filters))


def unsubscribe(number, filters):
    return packet(0xA2, number.to_bytes(2, "big") + b"".join(map(text, filters)))


def connect(client_id, clean=True, will_topic=None):
    flags = (0x02 if clean else 0) | (0x04 if will_topic else 0)
    body = text("MQTT") + bytes([4, flags, 0, 0]) + text(client_id)
    if will_topic:
        body += text(will_topic) + text("gone")
    return packet(0x10, body)


class Packets:
    """Counts whole packets in a stream by type, and collects PUBACKs for those of QoS 1."""

    def __init__(self):
        self.counts, self.rest, self.pubacks = [0] * 16, b"", bytearray()

    def feed(self, data):
        data, at = self.rest + data, 0
        while True:
            size, shift, end = 0, 0, at + 1
            while end < len(data):
                size |= (data[end] & 0x7F) << shift
                shift, end = shift + 7, end + 1
                if not data[end - 1] & 0x80:
                    break
            else:
                break
            if end + size > len(data):
                break
            self.counts[data[at] >> 4] += 1
            if data[at] & 0xF6 == 0x32:
                topic_end = end + 2 + int.from_bytes(data[end:end + 2], "big")
                self.pubacks += b"\x40\x02" + data[topic_end:topic_end + 2]
            at = end + size
        self.rest = data[at:]


class Crowd:
    """Many plain connections."""

    def __init__(self, broker, count, name=None, acknowledges=False, **fields):
        self.sockets, self.seen, self.acknowledges = [], {}, acknowledges
        self.selector = selectors.DefaultSelector()
        name = name or unique()
        for number in range(count):
            each = socket.create_connection(broker.address)
            each.sendall(connect(f"{name}-{number}", **fields))
            self.sockets.append(each)
            self.seen[each] = Packets()
            self.selector.register(each, selectors.EVENT_READ)
        self.wait(2, count)

    def send(self, raw):
        for each in self.sockets:
            each.sendall(raw)

    def total(self, kind):
        return sum(packets.counts[kind] for packets in self.seen.values())

    def wait(self, kind, count):
        """Until so many packets of that type have come to all of them together."""
        deadline, total = time.monotonic() + 12 * patience(), self.total(kind)
        while total < count:
            assert time.monotonic() < deadline, f"{total} of {count}"
            for key, _ in self.selector.select(1):
                data = key.fileobj.recv(1 << 18)
                assert data, "closed"
                packets = self.seen[key.fileobj]
                before = packets.counts[kind]
                packets.feed(data)
                total += packets.counts[kind] - before
                if self.acknowledges and packets.pubacks:
                    key.fileobj.sendall(packets.pubacks)
                    packets.pubacks.clear()

    def wait_for_the_end(self):
        """Of all connections."""
        deadline = time.monotonic() + 12 * patience()
        while self.sockets:
            assert time.monotonic() < deadline, f"{len(self.sockets)} are left"
            for key, _ in self.selector.select(1):
                if not key.fileobj.recv(1 << 18):
                    self.selector.unregister(key.fileobj)
                    self.sockets.remove(key.fileobj)
                    key.fileobj.close()

    def drop(self):
        """All at once, without DISCONNECT."""
        for each in self.sockets:
            each.close()
        self.sockets = []

    def close(self):
        self.selector.close()
        self.drop()

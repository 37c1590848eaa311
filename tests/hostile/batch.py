# SPDX-License-Identifier: Apache-2.0
"""Many small conversations at once, each judged: thousands of cases a second over real sockets."""

import selectors
import socket
import struct
import time

from kit import (CONNACK, DISCONNECT, PINGRESP, V5, V311, WireError, encode, patience, unique,
                 wire)
from kit.wire import Decoder

from .judge import Judge

WIDTH = 100  # connections at one time
RESET = struct.pack("ii", 1, 0)


class Case:
    """`data` goes out behind a good CONNECT of `version`, or itself begins the connection."""

    def __init__(self, name, version, data, connected=True, **connect):
        self.name, self.version, self.connected = name, version, connected
        self.data = data + encode(wire.pingreq(), version)
        self.hello = encode(wire.connect(unique("h"), **connect), version) if connected else b""
        self.verdict = Judge(version if connected else None).verdict(self.data)
        self.received, self.ended, self.socket = bytearray(), False, None

    def open(self, address):
        self.socket = socket.create_connection(address, patience())
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(self.hello + self.data)
        self.socket.setblocking(False)

    def read(self):
        """Takes what is there. True once the conversation is over."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        self.received += data
        self.ended = not data
        if self.ended or self.verdict.kind in ("bad", "bye"):
            return self.ended
        if self.verdict.kind == "good":
            return self._answered()
        return len(self.received) >= 4  # CONNACK, and nothing more can be counted on

    def _answered(self):
        """All PINGRESPs are there. Retained messages may hold the same bytes, so a look at bytes
        alone only saves the decoding."""
        if self.received.count(b"\xd0\0") < self.verdict.pongs:
            return False
        try:
            packets = self.packets(self.verdict.version)
        except WireError:
            return True
        return sum(packet.type == PINGRESP for packet in packets) >= self.verdict.pongs

    def close(self):
        """With a reset: nothing of it is left in the kernel."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()

    def packets(self, version):
        decoder = Decoder(version)
        decoder.feed(self.received)
        found = []
        while (packet := decoder.next()) is not None:
            found.append(packet)
        if decoder.buffer and self.ended:
            raise WireError("the answer ends inside a packet")
        return found

    def fault(self):
        """What is wrong with what the broker did; None when all is well."""
        if self.verdict.version is None and self.received in (b"", b"\x20\2\0\1"):
            return "not ended" if self.verdict.kind == "bad" and not self.ended else None
        try:
            packets = self.packets(self.verdict.version or V5)
        except WireError as error:
            return f"broken answer: {error}"
        if self.connected:
            if not packets or packets[0].type != CONNACK or packets[0].reason:
                return f"the CONNECT before it got {packets}"
            packets = packets[1:]
        return getattr(self, f"_{self.verdict.kind}")(packets)

    def _good(self, packets):
        if self.ended:
            return f"the connection was ended: {packets}"
        if sum(packet.type == PINGRESP for packet in packets) != self.verdict.pongs:
            return f"PINGRESP expected, got {packets}"
        return None

    def _bad(self, packets):
        if not self.ended:
            return f"the connection should have ended, got {packets}"
        if any(packet.type == PINGRESP for packet in packets):
            return f"went on: {packets}"
        codes = {packet.reason for packet in packets if packet.type in (CONNACK, DISCONNECT)}
        if self.verdict.version in (None, V5):
            allowed = self.verdict.codes
            enough = bool(codes) or not self.connected  # CONNACK may be left out
        else:
            allowed = {2} if 0x85 in self.verdict.codes and not self.connected else set()
            enough = True
        if not enough or not codes <= allowed:
            return f"{[hex(code) for code in sorted(allowed)]} expected, got {packets}"
        return None

    def _bye(self, packets):
        if not self.ended or any(packet.type == DISCONNECT for packet in packets):
            return f"the plain end expected, got {packets}"
        return None

    def _incomplete(self, packets):
        return f"ended before the packet was complete: {packets}" if self.ended else None

    def _either(self, _packets):
        return None


def run(broker, cases, witness=None):
    """Runs them all; the witness exchanges messages between. Gives the faults, one line each."""
    faults, waiting = [], list(reversed(cases))
    while waiting:
        some = [waiting.pop() for _ in range(min(WIDTH, len(waiting)))]
        _together(broker.address, some)
        faults += [f"{case.name} ({case.verdict.kind}: {case.verdict.why}): {fault}: "
                   f"{case.data[:60].hex(' ')}" for case in some if (fault := case.fault())]
        if witness:
            witness.check()
        assert len(faults) < 20, "\n".join(faults)
    return faults


def _together(address, cases):
    deadline = time.monotonic() + patience()
    with selectors.DefaultSelector() as selector:
        for case in cases:
            case.open(address)
            selector.register(case.socket, selectors.EVENT_READ, case)
        # An incomplete CONNECT gets no answer: it is looked at once the others have theirs.
        left = {case for case in cases if case.connected or case.verdict.kind in ("good", "bad")}
        while left and time.monotonic() < deadline:
            for key, _ in selector.select(0.1):
                if key.data.read():
                    selector.unregister(key.fileobj)
                    left.discard(key.data)
        for case in cases:
            case.read() if not case.ended else None
            case.close()


class Witness:
    """Two ordinary clients that go on talking while others misbehave."""

    def __init__(self, connect, broker=None):
        options = {"broker": broker} if broker else {}
        self.alice, self.bob = connect(V5, **options), connect(V311, **options)
        self.topic = unique("witness/")
        self.bob.subscribe(self.topic, 1)
        self.said, self.slowest = 0, 0.0

    def check(self):
        self.said += 1
        start = time.monotonic()
        self.alice.publish(self.topic, f"{self.said}", 1)
        self.bob.receive(payload=f"{self.said}")
        self.slowest = max(self.slowest, time.monotonic() - start)

# SPDX-License-Identifier: Apache-2.0
"""The client's side of WebSocket, small enough to break on purpose."""

import base64
import hashlib
import os
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def request(host="localhost", path="/mqtt", protocols="mqtt", key=None, **headers):
    """An upgrade request; `protocols=None` offers none. Further headers replace the usual ones
    (underscores become hyphens), None leaves one out."""
    key = key or base64.b64encode(os.urandom(16)).decode()
    fields = {"Host": host, "Upgrade": "websocket", "Connection": "Upgrade",
              "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13",
              "Sec-WebSocket-Protocol": protocols}
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = [f"GET {path} HTTP/1.1"] + [f"{n}: {v}" for n, v in fields.items() if v is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def response(connection):
    """Status and headers (names in lower case); what follows the headers is not read."""
    raw = b""
    while not raw.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            break
        raw += byte
    if not raw:
        return None, {}
    lines = raw.decode("latin-1").split("\r\n")
    headers = dict(line.split(":", 1) for line in lines[1:] if ":" in line)
    return int(lines[0].split()[1]), {k.lower(): v.strip() for k, v in headers.items()}


def accept_key(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def frame(payload, opcode=BINARY, fin=True, mask=b"\x0a\x9b\x1c\x7d", reserved=0):
    """One frame. `mask=None` sends it unmasked, which a server refuses."""
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    bit = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    if not mask:
        return head + payload
    pad = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
    return head + mask + masked


class Stream:
    """A socket's sendall and recv over binary frames, after the upgrade."""

    def __init__(self, connection, timeout, protocols="mqtt"):
        self.socket, self.buffer = connection, bytearray()
        connection.settimeout(timeout)
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(request(key=key, protocols=protocols))
        status, headers = response(connection)
        assert status == 101, f"the upgrade was answered by {status} {headers}"
        assert headers["sec-websocket-accept"] == accept_key(key)
        self.protocol = headers.get("sec-websocket-protocol")
        self.close_code = None

    def sendall(self, raw):
        self.socket.sendall(frame(raw))

    def recv(self, _size):
        """The payload of the next binary frame; b"" at the end."""
        while True:
            parsed = self._parse()
            if parsed is None:
                data = self.socket.recv(1 << 16)
                if not data:
                    return b""
                self.buffer += data
                continue
            opcode, payload = parsed
            if opcode == PING:
                self.socket.sendall(frame(payload, PONG))
            elif opcode == CLOSE:
                self.close_code = struct.unpack(">H", payload[:2])[0] if payload else 1005
                return b""
            elif opcode in (BINARY, 0) and payload:
                return payload
            else:
                assert opcode != TEXT, "the broker sent a text frame"

    def _parse(self):
        if len(self.buffer) < 2:
            return None
        first, size, at = self.buffer[0], self.buffer[1], 2
        assert first & 0x70 == 0, "reserved bits in a frame from the broker"
        assert size < 128, "the broker masked a frame"
        if size >= 126:
            wide = 2 if size == 126 else 8
            if len(self.buffer) < 2 + wide:
                return None
            size, at = int.from_bytes(self.buffer[2:2 + wide], "big"), 2 + wide
        if len(self.buffer) < at + size:
            return None
        payload = bytes(self.buffer[at:at + size])
        del self.buffer[:at + size]
        return first & 15, payload

# SPDX-License-Identifier: Apache-2.0
"""WebSocket handshakes and frames that break its rules: a status of 4xx, or the end."""

import pytest

from kit import V5, V311, encode, patience, pingreq, publish, unique, wire, ws
from kit.client import dial as open_socket

from . import batch


def answer(broker, raw):
    """Status of the answer to a handshake; None: the connection was closed without one."""
    with open_socket(broker.ws_address) as connection:
        try:
            connection.sendall(raw)
            return ws.response(connection)[0]
        except (ConnectionResetError, BrokenPipeError):
            return None


BAD_HANDSHAKES = {
    "no upgrade": ws.request(Upgrade=None), "another upgrade": ws.request(Upgrade="h2c"),
    "no connection": ws.request(Connection=None),
    "connection closed": ws.request(Connection="close"),
    "no key": ws.request(Sec_WebSocket_Key=None), "empty key": ws.request(Sec_WebSocket_Key=""),
    "short key": ws.request(Sec_WebSocket_Key="c2hvcnQ="),
    "no version": ws.request(Sec_WebSocket_Version=None),
    "old version": ws.request(Sec_WebSocket_Version="8"),
    "POST": ws.request().replace(b"GET", b"POST"),
    "HTTP/1.0": ws.request().replace(b"/1.1", b"/1.0"),
    "no HTTP": b"\x10\x0e\0\4MQTT\4\2\0\0\0\2ab" + b"\0" * 100,
    "binary": bytes(range(256)) * 4,
    "line without colon": ws.request().replace(b"Host: ", b"Host "),
}


@pytest.mark.parametrize("raw", BAD_HANDSHAKES.values(), ids=BAD_HANDSHAKES)
def test_bad_handshake_is_refused(broker, connect, raw):
    status = answer(broker, raw)
    assert status is None or 400 <= status < 500
    connect(V311, websocket=True).barrier()


@pytest.mark.parametrize("raw", [
    ws.request(path="/" + "x" * 100_000), ws.request(X_Long="y" * 100_000),
    ws.request(**{f"X{n}": "z" * 50 for n in range(5000)}), b"GET " + b"a" * 1_000_000],
    ids=["path", "header", "headers", "no end"])
def test_handshake_without_measure_is_refused(broker, raw):
    status = answer(broker, raw)
    assert status is None or 400 <= status < 500


def test_handshake_of_one_byte_at_a_time(broker):
    with open_socket(broker.ws_address) as connection:
        for byte in ws.request():
            connection.sendall(bytes([byte]))
        assert ws.response(connection)[0] == 101


def test_handshake_that_stops_half_way_is_closed_in_time(broker_with):
    broker = broker_with({"limits": {"connect_timeout": "500ms"}})
    with open_socket(broker.ws_address) as connection:
        connection.sendall(ws.request()[:60])
        connection.settimeout(patience())
        assert ws.response(connection)[0] in (None, 408)


def test_upgrade_without_connect_is_closed_in_time(broker_with, dial):
    broker = broker_with({"limits": {"connect_timeout": "500ms"}})
    dial(V5, broker=broker, websocket=True).expect_closed()


def test_first_bytes_may_come_with_the_handshake(broker):
    hello = ws.frame(encode(wire.connect(unique()), V311) + encode(pingreq(), V311))
    with open_socket(broker.ws_address) as connection:
        connection.sendall(ws.request() + hello)
        assert ws.response(connection)[0] == 101
        received = b""
        while not received.endswith(b"\xd0\0"):
            received += connection.recv(100)


CONNECTED = [V311, V5]
FRAMES = {
    "unmasked": ws.frame(b"\xc0\0", mask=None), "text": ws.frame(b"\xc0\0", ws.TEXT),
    "reserved bit 1": ws.frame(b"\xc0\0", reserved=4),
    "reserved bit 3": ws.frame(b"\xc0\0", reserved=1),
    "opcode 3": ws.frame(b"\xc0\0", 3), "opcode 11": ws.frame(b"\xc0\0", 11),
    "continuation of nothing": ws.frame(b"\xc0\0", 0),
    "new message inside another": ws.frame(b"\xc0", fin=False) + ws.frame(b"\xc0\0"),
    "ping of 126 bytes": ws.frame(b"x" * 126, ws.PING),
    "ping in fragments": ws.frame(b"x", ws.PING, fin=False),
    "close of one byte": ws.frame(b"\x03", ws.CLOSE),
    "length of 2^63": b"\x82\xff\x80\0\0\0\0\0\0\0abcd",
    "length of 2^62": b"\x82\xff\x40\0\0\0\0\0\0\0abcd",
    "length in too many bytes": b"\x82\xfe\0\x02abcd\xa1\x62",
    "mqtt that is bad": ws.frame(b"\xff\0"),
}


@pytest.mark.parametrize("raw", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("version", CONNECTED, ids=["3.1.1", "5.0"])
def test_bad_frame_ends_the_connection(broker, connect, version, raw):
    witness = batch.Witness(connect)
    alice = connect(version, websocket=True)
    alice.socket.sendall(raw)
    if raw[1] & 0x7F == 127:  # a length that nobody can have: what it announces need not come
        alice.socket.sendall(b"x" * 100)
    alice.expect_closed()
    witness.check()


def test_frames_of_nothing_and_pings_are_taken(connect, topic):
    alice = connect(V311, websocket=True)
    alice.socket.sendall(ws.frame(b"") * 1000 + ws.frame(b"ping", ws.PING) * 100
                         + ws.frame(b"", ws.PONG) * 100)
    alice.barrier()


def test_message_in_ten_thousand_fragments(connect, topic):
    alice = connect(V311, websocket=True)
    alice.subscribe(topic)
    whole = encode(publish(topic, b"x" * 10_000), V311)
    parts = [ws.frame(whole[:1], fin=False)]
    parts += [ws.frame(bytes([byte]), 0, fin=False) for byte in whole[1:]]
    alice.socket.sendall(b"".join(parts) + ws.frame(b"", 0))
    alice.receive(payload=b"x" * 10_000)


def test_packet_above_the_limit_in_small_frames_is_refused(connect, topic):
    alice = connect(V5, websocket=True)
    alice.socket.sendall(ws.frame(encode(publish(topic, b"x").but(remaining=200 << 20), V5)))
    alice.expect_closed(0x95)

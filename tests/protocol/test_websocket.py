# SPDX-License-Identifier: Apache-2.0
"""MQTT over WebSocket (section 6 of both versions) and as much of RFC 6455 as it rests on."""

import pytest

from kit import (CONNACK, PINGRESP, PUBACK, PUBLISH, SUBACK, V31, V311, V5, encode, patience,
                 pingreq, publish, subscribe, unique, wire, ws)
from kit.client import dial as dial_socket

NORMAL, PROTOCOL_ERROR, UNSUPPORTED_DATA = 1000, 1002, 1003

both_versions = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])


@pytest.fixture
def tcp(broker):
    """A socket to the WebSocket listener, nothing said yet."""
    with dial_socket(broker.ws_address) as connection:
        yield connection


def _ended(connection):
    """The broker ends the stream; what it sent before is thrown away."""
    connection.settimeout(patience())
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass


# ---- packets and frames ------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-6.0.0-1", "v3.1.1 MQTT-6.0.0-1")
@both_versions
def test_packets_travel_in_binary_frames(connect, topic, version):
    alice = connect(version, websocket=True)
    alice.subscribe(topic, 2)
    for qos in (0, 1, 2):
        alice.publish(topic, "m", qos)
        alice.receive(payload="m", qos=qos)  # the kit takes nothing but binary frames


@both_versions
def test_each_packet_of_the_broker_is_a_frame_of_its_own(connect, topic, version):
    """Clients are in use that lose what follows the first packet of a frame."""
    alice = connect(version, websocket=True)
    sizes = [1, 200, 9000, 2, 70_000, 3]
    alice.send(subscribe([(topic, 2)], id=1), pingreq(),
               *[publish(topic, b"x" * size, qos, 3 * i + qos)
                 for i, size in enumerate(sizes) for qos in (0, 1, 2)])
    for _ in range(2 + 5 * len(sizes)):  # SUBACK, PINGRESP; three PUBLISH, PUBACK and PUBREC
        packet = alice.next_packet()
        assert len(alice.received) == packet.size


@pytest.mark.rule("v5 MQTT-6.0.0-1", "v3.1.1 MQTT-6.0.0-1")
@both_versions
def test_a_text_frame_ends_the_connection(connect, topic, version):
    alice, bob = connect(version, websocket=True), connect(version)
    bob.subscribe([f"{topic}/text", f"{topic}/end"])
    alice.socket.sendall(ws.frame(encode(publish(f"{topic}/text"), version), ws.TEXT))
    alice.rest()
    connect(version).publish(f"{topic}/end")
    bob.receive(topic=f"{topic}/end")


@pytest.mark.rule("v5 MQTT-6.0.0-1", "v3.1.1 MQTT-6.0.0-1")
@both_versions
def test_a_text_frame_in_place_of_connect_ends_the_connection(dial, version):
    alice = dial(version, websocket=True)
    alice.socket.sendall(ws.frame(encode(wire.connect(unique()), version), ws.TEXT))
    assert alice.rest() == []


@pytest.mark.rule("v5 MQTT-6.0.0-2", "v3.1.1 MQTT-6.0.0-2")
@both_versions
def test_a_frame_may_hold_several_packets(dial, topic, version):
    alice = dial(version, websocket=True)
    alice.send(wire.connect(unique()), subscribe(topic, 0, 1), publish(topic, "m"), pingreq())
    alice.expect(CONNACK)
    kinds = {alice.next_packet().type for _ in range(3)}
    assert kinds == {SUBACK, PUBLISH, PINGRESP}


@pytest.mark.rule("v5 MQTT-6.0.0-2", "v3.1.1 MQTT-6.0.0-2")
@both_versions
def test_a_packet_may_be_spread_over_frames_of_one_byte(dial, topic, version):
    alice = dial(version, websocket=True)
    alice.send_slowly(wire.connect(unique()))
    alice.expect(CONNACK, reason=0)
    alice.send_slowly(publish(topic, "m", 1, 5))
    alice.expect(PUBACK, id=5)


@pytest.mark.rule("v5 MQTT-6.0.0-2", "v3.1.1 MQTT-6.0.0-2")
@both_versions
def test_frames_and_packets_may_be_cut_anywhere(connect, topic, version):
    alice = connect(version, websocket=True)
    alice.subscribe(topic)
    raw = b"".join(encode(publish(topic, bytes([n]) * (n % 40)), version) for n in range(60))
    at, size = 0, 1
    while at < len(raw):
        alice.socket.sendall(ws.frame(raw[at:at + size]))
        at, size = at + size, size * 5 % 97 + 1
    for n in range(60):
        alice.receive(payload=bytes([n]) * (n % 40))


@pytest.mark.rule("v5 MQTT-6.0.0-2", "v3.1.1 MQTT-6.0.0-2")
@both_versions
def test_a_message_may_come_in_fragments_with_pings_between(connect, topic, version):
    alice = connect(version, websocket=True)
    raw = encode(publish(topic, "x" * 300, 1, 5), version)
    alice.socket.sendall(ws.frame(raw[:1], fin=False) + ws.frame(b"ping", ws.PING)
                         + ws.frame(raw[1:200], 0, fin=False) + ws.frame(b"", 0, fin=False)
                         + ws.frame(raw[200:], 0))
    alice.expect(PUBACK, id=5)


@pytest.mark.rule("v5 MQTT-6.0.0-2", "v3.1.1 MQTT-6.0.0-2")
@both_versions
def test_frames_of_every_length_form_arrive(connect, topic, version):
    alice = connect(version, websocket=True)
    alice.subscribe(topic, 1)
    for size in (0, 100, 126, 65_535, 65_536, 300_000):
        payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
        alice.publish(topic, payload, 1)
        alice.receive(payload=payload)


@pytest.mark.rule("v5 MQTT-6.0.0-2", "v3.1.1 MQTT-6.0.0-2")
@both_versions
def test_connect_may_come_in_the_same_segment_as_the_upgrade(tcp, version):
    tcp.sendall(ws.request() + ws.frame(encode(wire.connect(unique()), version)))
    assert ws.response(tcp)[0] == 101
    raw = tcp.recv(100)
    assert raw[0] == 0x82 and raw[2] == CONNACK << 4


def test_clients_of_tcp_and_websocket_reach_each_other(connect, topic):
    alice, bob = connect(V5, websocket=True), connect(V311)
    alice.subscribe(f"{topic}/to-alice", 1)
    bob.subscribe(f"{topic}/to-bob", 1)
    alice.publish(f"{topic}/to-bob", "hello", 1)
    bob.receive(payload="hello")
    bob.publish(f"{topic}/to-alice", "hi", 1)
    alice.receive(payload="hi")


def test_a_client_may_go_from_tcp_to_websocket_with_its_session(connect, topic, client_id):
    lasting = {"session_expiry_interval": 600}
    alice = connect(V5, client_id, properties=lasting)
    alice.subscribe(topic, 1)
    alice.disconnect()
    connect(V5).publish(topic, "m", 1)
    alice = connect(V5, client_id, websocket=True, clean_start=False, properties=lasting)
    assert alice.connack.session_present
    alice.receive(payload="m")


# ---- the upgrade -------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-6.0.0-4", "v3.1.1 MQTT-6.0.0-4")
@pytest.mark.parametrize("offer", ["mqtt", "mqtt, other", "other, mqtt", "mqttv3.1, mqtt",
                                   "mqtt,mqttv3.1", " other ,  mqtt "])
def test_the_sub_protocol_that_comes_back_is_mqtt(tcp, offer):
    tcp.sendall(ws.request(protocols=offer))
    status, headers = ws.response(tcp)
    assert status == 101
    assert headers["sec-websocket-protocol"] == "mqtt"


@pytest.mark.rule("v5 MQTT-6.0.0-4", "v3.1.1 MQTT-6.0.0-4")
def test_the_sub_protocol_of_3_1_comes_back_when_it_is_all_that_is_offered(broker, topic):
    with dial_socket(broker.ws_address) as connection:
        connection.sendall(ws.request(protocols="mqttv3.1"))
        status, headers = ws.response(connection)
        assert (status, headers["sec-websocket-protocol"]) == (101, "mqttv3.1")
        connection.sendall(ws.frame(encode(wire.connect(unique()), V31)))
        assert connection.recv(100) == b"\x82\x04\x20\x02\x00\x00"


@pytest.mark.rule("v5 MQTT-6.0.0-3", "v3.1.1 MQTT-6.0.0-3")
@pytest.mark.parametrize("offer", [None, "", "other", "MQTT", "mqttx", "mqtt/5", "amqp, stomp"])
def test_a_client_that_does_not_offer_mqtt_is_turned_away(tcp, offer):
    tcp.sendall(ws.request(protocols=offer))
    status, headers = ws.response(tcp)
    assert status == 400 and "sec-websocket-protocol" not in headers
    _ended(tcp)


def test_the_upgrade_is_accepted_with_the_key_of_the_client(tcp):
    tcp.sendall(ws.request(key="dGhlIHNhbXBsZSBub25jZQ=="))
    status, headers = ws.response(tcp)
    assert status == 101
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert headers["upgrade"].lower() == "websocket" and headers["connection"].lower() == "upgrade"


@pytest.mark.parametrize("path", ["/", "/mqtt", "/any/where?token=x"])
def test_any_path_will_do(tcp, path):
    tcp.sendall(ws.request(path=path))
    assert ws.response(tcp)[0] == 101


def test_header_names_and_tokens_are_compared_without_case(tcp):
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    tcp.sendall(f"GET / HTTP/1.1\r\nHOST: x\r\nUPGRADE: WebSocket\r\n"
                f"connection: keep-alive, UPGRADE\r\nsec-websocket-KEY: {key}\r\n"
                f"SEC-WEBSOCKET-VERSION: 13\r\nsec-websocket-protocol: mqtt\r\n\r\n".encode())
    assert ws.response(tcp)[0] == 101


@pytest.mark.parametrize("missing, status", [
    ("Upgrade", 426), ("Connection", 426), ("Sec_WebSocket_Version", 426),
    ("Sec_WebSocket_Key", 400), ("Host", 400),
])
def test_an_upgrade_without_a_header_it_needs_is_turned_away(tcp, missing, status):
    tcp.sendall(ws.request(**{missing: None}))
    assert ws.response(tcp)[0] == status
    _ended(tcp)


@pytest.mark.parametrize("raw, status", [
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426), (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    (b"hello\r\n\r\n", 400), (encode(wire.connect("c"), V311) + b"\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431),
], ids=["browser", "POST", "not-http", "mqtt-on-tcp", "endless-header"])
def test_what_is_no_upgrade_is_answered_by_http_and_closed(tcp, raw, status):
    tcp.sendall(raw)
    assert ws.response(tcp)[0] == status
    _ended(tcp)


# ---- control frames and faults -----------------------------------------------------------------


def _next_frame(client, opcode):
    """The payload of the next frame of this kind, read past the kit's stream."""
    client.socket.settimeout(patience())
    raw = bytearray()
    while True:
        while len(raw) < 2 or len(raw) < 2 + raw[1]:
            data = client.socket.recv(4096)
            assert data, f"the stream ended before a frame of type {opcode} came"
            raw += data
        kind, payload = raw[0] & 15, bytes(raw[2:2 + raw[1]])
        del raw[:2 + len(payload)]
        if kind == opcode:
            return payload


@pytest.mark.parametrize("payload", [b"", b"are you there", b"x" * 125], ids=len)
def test_a_ping_is_answered_by_a_pong_of_its_payload(connect, payload):
    alice = connect(V5, websocket=True)
    alice.socket.sendall(ws.frame(payload, ws.PING))
    assert _next_frame(alice, ws.PONG) == payload


def test_a_pong_that_nobody_asked_for_is_ignored(connect):
    alice = connect(V5, websocket=True)
    alice.socket.sendall(ws.frame(b"hello", ws.PONG))
    alice.send(pingreq())
    alice.expect(PINGRESP)


def test_a_close_frame_is_answered_and_ends_the_connection(connect, topic):
    watcher = connect(V5)
    watcher.subscribe(topic)
    alice = connect(V5, websocket=True, will=wire.Will(topic, "gone"))
    alice.socket.sendall(ws.frame(NORMAL.to_bytes(2, "big"), ws.CLOSE))
    assert _next_frame(alice, ws.CLOSE)[:2] == NORMAL.to_bytes(2, "big")
    _ended(alice.socket)
    watcher.receive(topic=topic, payload="gone")  # no DISCONNECT came


def test_the_broker_closes_websocket_after_disconnect(connect):
    alice = connect(V5, websocket=True)
    alice.send(wire.disconnect())
    assert _next_frame(alice, ws.CLOSE)[:2] == NORMAL.to_bytes(2, "big")


def test_a_text_frame_is_closed_as_unsupported_data(connect):
    alice = connect(V5, websocket=True)
    alice.socket.sendall(ws.frame(b"x", ws.TEXT))
    assert _next_frame(alice, ws.CLOSE)[:2] == UNSUPPORTED_DATA.to_bytes(2, "big")


BAD_FRAMES = {
    "not-masked": ws.frame(b"\xc0\0", mask=None),
    "reserved-bit": ws.frame(b"\xc0\0", reserved=1),
    "unknown-type": ws.frame(b"", 3),
    "unknown-control-type": ws.frame(b"", 11),
    "continuation-of-nothing": ws.frame(b"\xc0\0", 0),
    "new-message-inside-another": ws.frame(b"\xc0", fin=False) + ws.frame(b"\0"),
    "ping-in-fragments": ws.frame(b"a", ws.PING, fin=False),
    "ping-too-long": ws.frame(b"a" * 126, ws.PING),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_frame_that_breaks_the_framing_ends_the_connection(connect, name):
    alice = connect(V5, websocket=True)
    alice.socket.sendall(BAD_FRAMES[name])
    assert _next_frame(alice, ws.CLOSE)[:2] == PROTOCOL_ERROR.to_bytes(2, "big")
    _ended(alice.socket)


def test_a_frame_that_claims_to_be_endless_takes_no_memory(connect, broker):
    alice = connect(V5, websocket=True)
    before = broker.rss_kb()
    alice.socket.sendall(b"\x82\xff" + (1 << 62).to_bytes(8, "big") + b"mask" + b"m" * 10)
    connect(V5)
    assert broker.rss_kb() < before + 20_000

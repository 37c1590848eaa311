# SPDX-License-Identifier: Apache-2.0
"""Listeners that want a header of the PROXY protocol, with headers made by hand."""

import socket
import struct
import time

import pytest

from kit import CONNACK, PINGRESP, V5, V311, RawClient, encode, patience, pingreq, unique, wire
from kit.broker import free_port

from .conftest import wait_until

LINE = b"PROXY TCP4 192.0.2.1 198.51.100.7 54321 1883\r\n"
LINE6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 54321 1883\r\n"
START = b"\r\n\r\n\0\r\nQUIT\n"


def binary(command=0x21, family=0x11, block=b"", tlvs=b""):
    return START + struct.pack("!BBH", command, family, len(block + tlvs)) + block + tlvs


IPV4 = binary(block=bytes([192, 0, 2, 1, 198, 51, 100, 7]) + struct.pack("!HH", 54321, 1883))
IPV6 = binary(family=0x21, block=socket.inet_pton(socket.AF_INET6, "2001:db8::1") * 2
              + struct.pack("!HH", 54321, 1883))
WITH_TLVS = binary(block=IPV4[16:], tlvs=b"\x03\0\4abcd" + b"\x20\x0f\0" + bytes(0xf00))


@pytest.fixture(scope="module")
def config():
    tcp, ws = free_port(), free_port()
    return {"listeners": [
        {"address": f"127.0.0.1:{tcp}", "proxy_protocol": "required"},
        {"address": f"127.0.0.1:{ws}", "transport": "ws", "proxy_protocol": "required"},
        {"address": f"127.0.0.1:{free_port()}", "proxy_protocol": "off"}]}


@pytest.fixture
def proxied(broker_with, config):
    broker = broker_with(config)
    broker.ws_address = ("127.0.0.1", int(config["listeners"][1]["address"].split(":")[1]))
    return broker


def refused(ctl, broker):
    return ctl(broker, "metrics", "name=proxy_headers_refused")["metrics"]["proxy_headers_refused"]


def address_of(ctl, broker, client):
    return ctl(broker, "client", client.client_id)["address"]


@pytest.mark.parametrize(("header", "address"), [
    (LINE, "192.0.2.1:54321"), (LINE6, "[2001:db8::1]:54321"), (IPV4, "192.0.2.1:54321"),
    (IPV6, "[2001:db8::1]:54321"), (WITH_TLVS, "192.0.2.1:54321")],
    ids=["line_tcp4", "line_tcp6", "binary_ipv4", "binary_ipv6", "binary_with_tlvs"])
@pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "ws"])
def test_header_says_who_the_client_is(connect, proxied, ctl, header, address, websocket):
    for _ in range(4):  # at home on either worker
        client = RawClient(proxied, V5, websocket=websocket, first=header)
        client.connect(unique())
        assert address_of(ctl, proxied, client) == address
        client.close()


def test_log_tells_the_address_of_the_header(dial, proxied):
    client = dial(V5, broker=proxied, first=LINE)
    client.connect(unique())
    client.send(b"\0\0")
    client.expect_closed(reason=0x81)
    proxied.wait_for_log(f"conn.fault client={client.client_id} address=192.0.2.1:54321")


@pytest.mark.parametrize("header", [
    b"PROXY UNKNOWN\r\n", binary(0x20, 0), binary(0x20, 0x11, IPV4[16:]), binary(0x21, 0),
    binary(0x21, 0x31, bytes(216)), binary(0x21, 0x12, IPV4[16:])],
    ids=["line_unknown", "local", "local_with_addresses", "unspecified", "unix", "udp"])
def test_header_that_names_nobody_leaves_the_address_of_the_socket(dial, proxied, ctl, header):
    client = dial(V5, broker=proxied, first=header)
    client.connect(unique())
    assert address_of(ctl, proxied, client) == "{}:{}".format(*client.socket.getsockname())


@pytest.mark.parametrize("header", [LINE, LINE6, IPV6, WITH_TLVS], ids=["v1", "v1_6", "v2", "v2_tlvs"])
def test_header_may_come_in_pieces(dial, proxied, header):
    client = dial(V5, broker=proxied)
    step = 1 if len(header) < 200 else 97
    for at in range(0, len(header), step):
        client.send(header[at:at + step])
    client.connect(unique())


@pytest.mark.parametrize("header", [LINE, WITH_TLVS], ids=["v1", "v2"])
def test_header_and_packets_may_come_at_once(dial, proxied, header):
    for _ in range(4):  # some of them move to the other worker with PINGREQ unread
        client = dial(V5, broker=proxied)
        client.send(header + encode(wire.connect(unique()), V5) + encode(pingreq(), V5))
        client.expect(CONNACK, reason=0)
        client.expect(PINGRESP)


@pytest.mark.parametrize("first", [
    encode(wire.connect("direct"), V311), b"GET /mqtt HTTP/1.1\r\n", b"\0",
    LINE.replace(b"TCP4", b"TCP5"), LINE.replace(b"\r\n", b"\n"), b"PROXY UNKNOWN " + 100 * b"x",
    binary(0x22), binary(0x21, 0x51), binary(0x21, 0x11, bytes(11)), START[:11] + b"\r"],
    ids=["mqtt", "http", "zero", "protocol", "end", "endless", "command", "family", "short", "start"])
def test_anything_but_a_header_is_refused_and_counted(dial, proxied, ctl, first):
    before = refused(ctl, proxied)
    client = dial(V311, broker=proxied, first=first)
    client.expect_closed()
    wait_until(lambda: refused(ctl, proxied) == before + 1, "counted")


@pytest.mark.parametrize("first", [b"", LINE[:20], WITH_TLVS[:-1]],
                         ids=["nothing", "v1", "v2"])
def test_header_that_does_not_come_in_time_is_refused(dial, proxied, ctl, first):
    before = refused(ctl, proxied)
    client = dial(V5, broker=proxied, first=first)
    begun = time.monotonic()
    client.expect_closed(within=5 + patience())
    assert time.monotonic() - begun > 4
    assert refused(ctl, proxied) > before


def test_closing_without_a_word_is_no_refusal(dial, proxied, ctl):
    """As the checks of a balancer do that knows nothing but TCP."""
    before = refused(ctl, proxied)
    closed = ctl(proxied, "metrics", "name=connections_closed")["metrics"]["connections_closed"]
    dial(V5, broker=proxied).close()
    wait_until(lambda: ctl(proxied, "metrics", "name=connections_closed")["metrics"]
               ["connections_closed"] > closed, "closed")
    assert refused(ctl, proxied) == before


@pytest.mark.parametrize("header", [LINE, IPV4], ids=["v1", "v2"])
@pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "ws"])
def test_listener_without_the_protocol_takes_a_header_for_a_mistake(broker, header, websocket):
    address = broker.ws_address if websocket else broker.address
    with socket.create_connection(address) as raw:
        raw.settimeout(patience())
        raw.sendall(header + b"\r\n")
        answer = b""
        try:
            while piece := raw.recv(4096):
                answer += piece
        except ConnectionResetError:
            pass
    assert answer.startswith(b"HTTP/1.1 400") if websocket else answer == b""


def test_other_listeners_of_the_broker_want_no_header(dial, proxied, config):
    class Direct:
        address = ("127.0.0.1", int(config["listeners"][2]["address"].split(":")[1]))
    client = dial(V5, broker=Direct)
    client.connect(unique())

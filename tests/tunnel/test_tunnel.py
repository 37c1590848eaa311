# SPDX-License-Identifier: Apache-2.0
"""Clients whose session lives on another node than the one they are connected to."""

import os
import re
import signal
import socket
import time

import pytest

from kit import CONNACK, PUBACK, PUBLISH, V5, V311, RawClient, Will, patience, publish, wire
from kit.nodes import client_at

both_versions = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])
every_qos = pytest.mark.parametrize("qos", [0, 1, 2])
both_transports = pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])


def durable(version):
    """Fields of a CONNECT whose session outlives its connection."""
    expiry = {"properties": [("session_expiry_interval", 600)]} if version == V5 else {}
    return {"clean_start": False, **expiry}


def ask(node, path):
    """What the node's control socket answers."""
    with socket.socket(socket.AF_UNIX) as api:
        api.connect(str(node.data / "control.sock"))
        api.sendall(f"GET {path} HTTP/1.1\r\nHost: skein\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := api.recv(65536):
            answer += more
    return answer.decode()


def metric(node, name):
    return int(re.search(rf'"{name}": ?(\d+)', ask(node, "/v1/metrics")).group(1))


def wait_for_metric(node, name, value):
    deadline = time.monotonic() + 2 * patience()
    while (now := metric(node, name)) != value:
        assert time.monotonic() < deadline, f"{name} is {now}, not {value}"
        time.sleep(0.01)


def clients_of(node):
    return ask(node, "/v1/clients")


@both_transports
@every_qos
@both_versions
def test_a_client_is_served_as_if_it_were_at_home(tunnelled, connect, topic, version, qos,
                                                  websocket):
    two = tunnelled(2)
    bob = connect(version, client_at(0, 2), broker=two[1], websocket=websocket, **durable(version))
    assert not bob.connack.session_present
    bob.subscribe(topic, qos=2)
    alice = connect(version, client_at(1, 2), broker=two[0], **durable(version))
    for number in range(20):
        alice.publish(topic, f"m{number}", qos)
        assert bob.receive(topic=topic, payload=f"m{number}").qos == qos
    bob.publish(topic, "own", qos)
    bob.receive(topic=topic, payload="own")
    bob.disconnect()
    wait_for_metric(two[1], "tunnels_edge", 0)
    for node in two:
        assert metric(node, "tunnels_opened") == 1
        assert metric(node, "tunnel_bytes_sent") > 0
        assert metric(node, "tunnel_bytes_received") > 0


@both_versions
def test_the_session_is_resumed_through_any_edge(tunnelled, connect, topic, version):
    three = tunnelled(3)
    client_id = client_at(0, 3)
    bob = connect(version, client_id, broker=three[1], **durable(version))
    bob.subscribe(topic, qos=1)
    bob.close()
    wait_for_metric(three[0], "tunnels_home", 0)
    alice = connect(version, broker=three[1])
    alice.publish(topic, "kept", qos=1)
    for number in (2, 0, 1):
        bob = connect(version, client_id, broker=three[number], **durable(version))
        assert bob.connack.session_present
        packet = bob.expect(PUBLISH, topic=topic, payload="kept")
        bob.close()
        wait_for_metric(three[0], "tunnels_home", 0)
        assert packet.qos == 1


@both_transports
@pytest.mark.parametrize("size", [1, 9_000, 300_000, 1_000_000, 3_000_000])
def test_payloads_of_every_size_arrive_whole(tunnelled, connect, topic, size, websocket):
    two = tunnelled(2)
    bob = connect(V5, client_at(0, 2), broker=two[1], websocket=websocket, **durable(V5))
    bob.subscribe(topic, qos=1)
    payload = os.urandom(size)
    bob.publish(topic, payload, 1)
    assert bob.receive(topic=topic).payload == payload


def test_the_home_knows_the_address_of_the_client(tunnelled, connect):
    two = tunnelled(2)
    client_id = client_at(0, 2)
    bob = connect(V5, client_id, broker=two[1], **durable(V5))
    host, port = bob.socket.getsockname()
    answer = clients_of(two[0])
    assert client_id in answer
    assert f"{host}:{port}" in answer


def test_a_session_that_ends_with_its_connection_stays_on_its_edge(tunnelled, connect, topic):
    two = tunnelled(2)
    bob = connect(V5, client_at(0, 2), broker=two[1])
    bob.subscribe(topic)
    bob.publish(topic, "m")
    bob.receive(topic=topic)
    assert metric(two[1], "tunnels_opened") == 0


def test_a_client_without_an_identifier_gets_one_that_is_at_home_here(tunnelled, connect):
    two = tunnelled(2)
    for _ in range(20):
        connect(V5, "", broker=two[1], **durable(V5))
    assert metric(two[1], "tunnels_opened") == 0
    assert metric(two[1], "sessions_current") >= 20


@both_versions
def test_a_client_that_connects_through_another_edge_takes_its_session(tunnelled, connect,
                                                                       version):
    three = tunnelled(3)
    client_id = client_at(0, 3)
    last = connect(version, client_id, broker=three[1], **durable(version))
    for number in (2, 0, 1, 1):
        now = connect(version, client_id, broker=three[number], **durable(version))
        assert now.connack.session_present
        last.expect_closed(0x8e)
        last = now


def test_a_slow_reader_does_not_hold_up_others_on_its_link(tunnelled, connect, dial, topic):
    two = tunnelled(2, {"workers": 1})
    slow = dial(V5, broker=two[1], receive_buffer=4096)
    slow.connect(client_at(0, 2), **durable(V5))
    slow.subscribe(f"{topic}/big")
    bob = connect(V5, client_at(0, 2), broker=two[1], **durable(V5))
    bob.subscribe(f"{topic}/small", qos=1)
    alice = connect(V5, broker=two[0])
    for number in range(100):
        alice.publish(f"{topic}/big", bytes(200_000))
        alice.publish(f"{topic}/small", str(number), 1)
        bob.receive(topic=f"{topic}/small", payload=str(number))


def test_a_client_that_floods_waits_for_its_home_and_loses_nothing(tunnelled, connect, topic):
    two = tunnelled(2)
    bob = connect(V5, client_at(1, 2), broker=two[1], **durable(V5))
    bob.subscribe(topic, qos=1)
    alice = connect(V5, client_at(0, 2), broker=two[1], **durable(V5))
    count, body = 900, bytes(4000)
    alice.send(*[publish(topic, body + str(n).encode(), 1, n + 1) for n in range(count)])
    for number in range(count):
        alice.wait_for(PUBACK, id=number + 1)
    for number in range(count):
        assert bob.receive(topic=topic).payload == body + str(number).encode()


def test_a_thousand_clients_share_a_link(tunnelled, topic):
    two = tunnelled(2, {"workers": 1})
    clients = [RawClient(two[1], V311) for _ in range(1000)]
    try:
        for client in clients:
            client.send(wire.connect(client_at(0, 2), clean_start=False))
        for client in clients:
            client.expect(CONNACK, reason=0, within=4 * patience())
        for client in clients[::100]:
            client.subscribe(topic, qos=1)
        clients[5].publish(topic, "to ten", 1)
        for client in clients[::100]:
            client.receive(topic=topic, payload="to ten")
        assert metric(two[0], "tunnels_home") == 1000
        assert metric(two[1], "tunnels_edge") == 1000
        for client in clients:
            client.close()
        wait_for_metric(two[0], "tunnels_home", 0)
        wait_for_metric(two[1], "tunnels_edge", 0)
    finally:
        for client in clients:
            client.close()


# ---- what ends ---------------------------------------------------------------------------------


def will_of(topic):
    return Will(topic, b"gone")


def test_a_client_that_vanishes_leaves_its_will(tunnelled, connect, topic):
    two = tunnelled(2)
    alice = connect(V5, broker=two[0])
    alice.subscribe(topic)
    bob = connect(V5, client_at(0, 2), broker=two[1], will=will_of(topic), **durable(V5))
    bob.close()
    alice.receive(topic=topic, payload="gone")
    wait_for_metric(two[1], "tunnels_edge", 0)
    assert metric(two[1], "tunnels_ended_by_client") == 1


def test_a_client_that_says_goodbye_leaves_none(tunnelled, connect, topic):
    two = tunnelled(2)
    alice = connect(V5, broker=two[0])
    alice.subscribe(topic)
    bob = connect(V5, client_at(0, 2), broker=two[1], will=will_of(topic), **durable(V5))
    bob.disconnect()
    wait_for_metric(two[0], "tunnels_home", 0)
    alice.expect_quiet()


@both_versions
def test_when_the_home_is_killed_its_clients_are_told(tunnelled, connect, version):
    two = tunnelled(2)
    bob = connect(version, client_at(0, 2), broker=two[1], **durable(version))
    two[0].kill()
    bob.expect_closed(0x8b, within=2 * patience())
    assert metric(two[1], "tunnels_ended_by_link") == 1


def test_when_the_edge_is_killed_the_home_publishes_wills_and_keeps_the_session(tunnelled, connect,
                                                                                topic):
    two = tunnelled(2)
    client_id = client_at(0, 2)
    alice = connect(V5, broker=two[0])
    alice.subscribe(topic)
    connect(V5, client_id, broker=two[1], will=will_of(topic), **durable(V5))
    two[1].kill()
    alice.receive(topic=topic, payload="gone", within=2 * patience())
    bob = connect(V5, client_id, broker=two[0], **durable(V5))
    assert bob.connack.session_present


def test_a_home_that_hangs_is_given_up_with_its_lease(tunnelled, connect):
    two = tunnelled(2)
    bob = connect(V5, client_at(0, 2), broker=two[1], **durable(V5))
    os.kill(two[0].process.pid, signal.SIGSTOP)
    try:
        bob.expect_closed(0x8b, within=2 * patience())
    finally:
        os.kill(two[0].process.pid, signal.SIGCONT)


@both_versions
def test_a_node_that_stops_says_goodbye_to_tunnelled_clients(tunnelled, connect, version):
    two = tunnelled(2)
    at_edge = connect(version, client_at(0, 2), broker=two[1], **durable(version))
    at_home = connect(version, client_at(1, 2), broker=two[0], **durable(version))
    two[1].terminate()
    at_edge.expect_closed(0x8b)
    at_home.expect_closed(0x8b)
    two[1].stop()


@both_versions
def test_a_connect_without_a_home_waits_and_is_refused(tunnelled, dial, version):
    two = tunnelled(2, {"cluster": {"home_wait": "300ms"}}, homes="n0:0-7,nobody:8-15")
    bob = dial(version, broker=two[0])
    bob.send(wire.connect(client_at(1, 2), **durable(version)))
    bob.expect_refused(0x88 if version == V5 else 3)


def test_a_connect_without_a_home_goes_on_when_there_is_one(tunnelled, dial, connect):
    two = tunnelled(2, {"cluster": {"home_wait": "1m"}})
    two[0].kill()
    two.wait_for_event(1, "cluster.member_away node=n0")
    client_id = client_at(0, 2)
    bob = dial(V5, broker=two[1])
    bob.send(wire.connect(client_id, **durable(V5)))
    connect(V5, client_at(1, 2), broker=two[1])  # others are not held up
    two[0].start()
    bob.expect(CONNACK, reason=0, within=2 * patience())
    assert client_id in clients_of(two[0])

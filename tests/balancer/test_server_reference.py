# SPDX-License-Identifier: Apache-2.0
"""mqtt.server_reference: clients of MQTT 5.0 are sent to another server."""

import pytest

from kit import V5, V31, V311, unique, wire

from .conftest import wait_until

OTHERS = "b.example.com:1883 [2001:db8::1]:1883"


@pytest.mark.rule("X5.0-4.11-1")
def test_client_is_sent_elsewhere_when_the_broker_ends(own_broker, connect):
    broker = own_broker({"mqtt": {"server_reference": OTHERS}})
    clients = [connect(version, broker=broker) for version in (V5, V311, V31)]
    broker.terminate()
    packet = clients[0].expect_closed(reason=0x9C)
    assert packet.properties.get("server_reference") == OTHERS
    for old in clients[1:]:
        assert old.expect_closed() is None


@pytest.mark.rule("X5.0-4.11-1")
def test_client_is_sent_elsewhere_when_the_broker_is_full(own_broker, connect, dial):
    broker = own_broker({"mqtt": {"server_reference": OTHERS}, "limits": {"connections": 1}})
    kept = connect(V5, broker=broker)
    refused = dial(V5, broker=broker)
    refused.send(wire.connect(unique()))
    packet = refused.expect_refused(0x9C)
    assert packet.properties.get("server_reference") == OTHERS
    old = dial(V311, broker=broker)
    old.send(wire.connect(unique()))
    old.expect_refused(3)
    kept.close()
    wait_until(lambda: lets_in(dial, broker), "room")


def lets_in(dial, broker):
    client = dial(V5, broker=broker)
    client.send(wire.connect(unique()))
    answer = client.next_packet()
    client.close()
    return answer.reason == 0


def test_without_servers_it_says_what_is_wrong(own_broker, connect, dial):
    broker = own_broker({"limits": {"connections": 1}})
    connected = connect(V5, broker=broker)
    refused = dial(V5, broker=broker)
    refused.send(wire.connect(unique()))
    assert refused.expect_refused(0x97).properties.get("server_reference") is None
    broker.terminate()
    assert connected.expect_closed(reason=0x8B).properties.get("server_reference") is None

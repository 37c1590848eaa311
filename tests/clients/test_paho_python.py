# SPDX-License-Identifier: Apache-2.0
"""Paho Python, as its users use it: a network thread and callbacks."""

import queue
import socket

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from kit import V311, Will, patience, unique

VERSIONS = [paho.MQTTv31, paho.MQTTv311, paho.MQTTv5]


class Client(paho.Client):
    """Callbacks put what happens into queues; wait() takes it out."""

    def __init__(self, broker, version, client_id=None, clean=True, transport="tcp", **connect):
        options = {} if version == paho.MQTTv5 else {"clean_session": clean}
        super().__init__(client_id or unique(), protocol=version, transport=transport, **options)
        self.happened = {name: queue.Queue() for name in ("connect", "message", "publish",
                                                          "subscribe", "unsubscribe", "disconnect")}
        for name in self.happened:
            setattr(self, f"on_{name}", self._remember(name))
        self._address = broker.address if transport == "tcp" else broker.ws_address
        self._version, self._clean, self._connect = version, clean, connect

    def _remember(self, name):
        return lambda _client, _data, *values: self.happened[name].put(values)

    def start(self):
        options = {"clean_start": self._clean} if self._version == paho.MQTTv5 else {}
        self.connect(*self._address, **options, **self._connect)
        self.loop_start()
        flags, reason = self.wait("connect")[:2]
        assert reason == 0
        return flags["session present"]

    def wait(self, name):
        return self.happened[name].get(timeout=patience())

    def message(self):
        return self.wait("message")[0]

    def subscribe_now(self, *args, **options):
        assert self.subscribe(*args, **options)[0] == paho.MQTT_ERR_SUCCESS
        return self.wait("subscribe")[1]

    def leave(self):
        self.disconnect()
        self.wait("disconnect")
        self.loop_stop()


@pytest.fixture
def client(broker):
    """client(version): connected, and gone after the test."""
    opened = []

    def start(version, will=None, **options):
        each = Client(broker, version, **options)
        if will:
            each.will_set(**will)
        opened.append(each)
        each.session_present = each.start()
        return each
    yield start
    for each in opened:
        each.disconnect()
        each.loop_stop()


@pytest.mark.rule("v3.1.1 MQTT-7.0.0-2")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_message_there_and_back(client, topic, version, qos):
    alice, bob = client(version), client(version)
    bob.subscribe_now(f"{topic}/#", qos)
    alice.publish(f"{topic}/x", b"\0payload\xff", qos).wait_for_publish(patience())
    message = bob.message()
    assert (message.topic, message.payload) == (f"{topic}/x", b"\0payload\xff")
    assert (message.qos, message.retain) == (qos, False)


@pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])
def test_message_over_websocket(client, topic, version):
    alice = client(version, transport="websockets")
    alice.subscribe_now(topic, 1)
    alice.publish(topic, "x" * 50_000, 1)
    assert len(alice.message().payload) == 50_000


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hundred_messages_in_flight_come_in_order(client, topic, version):
    alice, bob = client(version), client(version)
    bob.subscribe_now(topic, 2)
    alice.max_inflight_messages_set(100)
    for n in range(100):
        alice.publish(topic, f"{n}", 2)
    assert [bob.message().payload for _ in range(100)] == [b"%d" % n for n in range(100)]


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_message(client, topic, version):
    alice = client(version)
    alice.publish(topic, "kept", 1, retain=True).wait_for_publish(patience())
    alice.subscribe_now(topic, 1)
    message = alice.message()
    assert (message.payload, message.retain) == (b"kept", True)
    alice.publish(topic, None, 1, retain=True).wait_for_publish(patience())
    assert alice.message().payload == b""


@pytest.mark.parametrize("version", VERSIONS)
def test_will(client, topic, version):
    bob = client(version)
    bob.subscribe_now(topic, 1)
    alice = client(version, will={"topic": topic, "payload": "gone", "qos": 1})
    alice.loop_stop()
    alice.socket().shutdown(socket.SHUT_RDWR)
    assert bob.message().payload == b"gone"


def test_persistent_session_of_3_1_1(client, connect, topic, client_id):
    alice = client(paho.MQTTv311, client_id=client_id, clean=False)
    assert not alice.session_present
    alice.subscribe_now(topic, 1)
    alice.leave()
    connect(V311).publish(topic, "while away", 1)
    alice = client(paho.MQTTv311, client_id=client_id, clean=False)
    assert alice.session_present
    assert alice.message().payload == b"while away"


def test_session_of_5_0_with_an_expiry_interval(client, connect, topic, client_id):
    lasting = Properties(PacketTypes.CONNECT)
    lasting.SessionExpiryInterval = 60
    alice = client(paho.MQTTv5, client_id=client_id, properties=lasting)
    alice.subscribe_now(topic, 1)
    alice.leave()
    connect(V311).publish(topic, "while away", 1)
    alice = client(paho.MQTTv5, client_id=client_id, clean=False, properties=lasting)
    assert alice.session_present
    assert alice.message().payload == b"while away"


def test_properties_of_5_0_arrive(client, topic):
    alice = client(paho.MQTTv5)
    identified = Properties(PacketTypes.SUBSCRIBE)
    identified.SubscriptionIdentifier = 42
    alice.subscribe_now(topic, options=SubscribeOptions(qos=1), properties=identified)
    sent = Properties(PacketTypes.PUBLISH)
    sent.ContentType, sent.ResponseTopic, sent.CorrelationData = "text/plain", "reply/to", b"\1\2"
    sent.MessageExpiryInterval, sent.PayloadFormatIndicator = 60, 1
    sent.UserProperty = [("a", "1"), ("b", "2"), ("a", "3")]
    alice.publish(topic, "x", 1, properties=sent)
    got = alice.message().properties
    assert (got.ContentType, got.ResponseTopic, got.CorrelationData) == ("text/plain", "reply/to",
                                                                         b"\1\2")
    assert got.UserProperty == [("a", "1"), ("b", "2"), ("a", "3")]
    assert (got.SubscriptionIdentifier, got.PayloadFormatIndicator) == ([42], 1)
    assert got.MessageExpiryInterval in (59, 60)


def test_no_local_of_5_0(client, connect, topic):
    alice = client(paho.MQTTv5)
    alice.subscribe_now(topic, options=SubscribeOptions(qos=1, noLocal=True))
    alice.publish(topic, "own", 1).wait_for_publish(patience())
    connect(V311).publish(topic, "of another", 1)
    assert alice.message().payload == b"of another"


def test_shared_subscription_of_5_0(client, topic):
    alice, members = client(paho.MQTTv5), [client(paho.MQTTv5) for _ in range(2)]
    for member in members:
        member.subscribe_now(f"$share/group/{topic}", options=SubscribeOptions(qos=1))
    for n in range(20):
        alice.publish(topic, f"{n}", 1).wait_for_publish(patience())
    for member in members:
        assert len({member.message().payload for _ in range(10)}) == 10


@pytest.mark.parametrize("version", VERSIONS)
def test_unsubscribe(client, topic, version):
    alice = client(version)
    alice.subscribe_now([(f"{topic}/a", 1), (f"{topic}/b", 1)])
    alice.unsubscribe(f"{topic}/a")
    alice.wait("unsubscribe")
    alice.publish(f"{topic}/a", "no", 1)
    alice.publish(f"{topic}/b", "yes", 1)
    assert alice.message().payload == b"yes"


def test_client_that_is_taken_over_learns_it(client, connect):
    alice = client(paho.MQTTv311)
    alice.reconnect_delay_set(min_delay=60, max_delay=60)
    connect(V311, client_id=alice._client_id.decode(), will=Will("a", "b"))
    assert alice.wait("disconnect")[0] != 0

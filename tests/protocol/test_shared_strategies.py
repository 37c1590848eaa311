# SPDX-License-Identifier: Apache-2.0
"""mqtt.share_strategy: which member of a shared subscription gets a message."""

import pytest

from kit import PUBLISH, V5

LASTING = {"session_expiry_interval": 600}


@pytest.fixture
def members(connect, broker_with, topic):
    """members(strategy, count): connected members of one share, and another client."""
    def start(strategy, count, qos=0):
        broker = broker_with({"mqtt": {"share_strategy": strategy}} if strategy else {})
        clients = [connect(V5, broker=broker) for _ in range(count)]
        for client in clients:
            client.subscribe(f"$share/group/{topic}/#", qos)
        return clients, connect(V5, broker=broker)
    return start


def _received(client, publisher):
    """The payloads that have come of what `publisher` published so far."""
    end = "end/" + client.client_id
    client.subscribe(end)
    publisher.publish(end)
    seen = []
    while (packet := client.expect(PUBLISH)).topic != end:
        client.acknowledge(packet)
        seen.append(packet.payload.decode())
    return seen


def _until_given_to(clients, publisher, topic):
    """Until a message comes to one of `clients`: a member that goes is told to the share a moment
    after its connection has ended, and what it is given until then is its."""
    for _ in range(100):
        publisher.publish(f"{topic}/a", "probe")
        if any([_received(client, publisher) for client in clients]):
            return
    pytest.fail("everything still goes to the member that has gone")


@pytest.mark.parametrize("strategy", [None, "round_robin"])
def test_round_robin_which_is_the_default_takes_each_in_turn(members, topic, strategy):
    clients, alice = members(strategy, 3)
    for number in range(12):
        alice.publish(f"{topic}/a", str(number))
    seen = [[int(payload) for payload in _received(client, alice)] for client in clients]
    assert sorted(first for first, *_ in seen) == [0, 1, 2]
    assert all(payloads == list(range(payloads[0], 12, 3)) for payloads in seen)


def test_round_robin_goes_on_with_those_who_are_left(members, topic):
    clients, alice = members("round_robin", 3)
    alice.publish(f"{topic}/a", "first")
    clients.pop().disconnect()
    for client in clients:
        _received(client, alice)
    for number in range(10):
        alice.publish(f"{topic}/a", str(number))
    assert [len(_received(client, alice)) for client in clients] == [5, 5]


def test_random_takes_every_member_about_as_often(members, topic):
    clients, alice = members("random", 3)
    for number in range(300):
        alice.publish(f"{topic}/a", str(number))
    seen = [[int(payload) for payload in _received(client, alice)] for client in clients]
    assert sorted(sum(seen, [])) == list(range(300))
    assert min(len(payloads) for payloads in seen) > 50
    # in turn, each would get every third one
    assert not all(payloads == list(range(payloads[0], 300, 3)) for payloads in seen)


def test_least_inflight_takes_the_member_with_the_fewest_unacknowledged_messages(members, topic):
    (silent, *others), alice = members("least_inflight", 3, qos=1)
    for _ in range(3):  # one for each, of which the silent one acknowledges none
        alice.publish(f"{topic}/a", "m", 1)
    silent.expect(PUBLISH)
    for client in others:
        client.receive()
        client.barrier()
    for _ in range(10):
        alice.publish(f"{topic}/a", "m", 1)
        for client in others:
            if _received(client, alice):
                break
        else:
            pytest.fail("a message went to the member that had one unacknowledged")
    silent.expect_quiet()


def test_sticky_client_takes_one_member_for_all_messages_of_a_publisher(members, topic, connect,
                                                                        broker_with):
    clients, _ = members("sticky_client", 3)
    broker = broker_with({"mqtt": {"share_strategy": "sticky_client"}})
    publishers = [connect(V5, broker=broker) for _ in range(16)]
    for number in range(5):
        for alice in publishers:
            alice.publish(f"{topic}/{number}", alice.client_id)
    for alice in publishers:
        alice.barrier()
    owners = [set(_received(client, publishers[0])) for client in clients]
    assert sum(len(owned) for owned in owners) == len(publishers), "a publisher had two members"
    assert max(len(owned) for owned in owners) < len(publishers), "all publishers had the same"


def test_sticky_topic_takes_one_member_for_all_messages_of_a_topic(members, topic, connect,
                                                                   broker_with):
    clients, alice = members("sticky_topic", 3)
    bob = connect(V5, broker=broker_with({"mqtt": {"share_strategy": "sticky_topic"}}))
    for _ in range(5):
        for name in range(16):
            for publisher in (alice, bob):
                publisher.publish(f"{topic}/{name}", str(name))
    bob.barrier()
    owners = [set(_received(client, alice)) for client in clients]
    assert sum(len(owned) for owned in owners) == 16, "a topic had two members"
    assert max(len(owned) for owned in owners) < 16, "all topics had the same"


@pytest.mark.parametrize("strategy", ["sticky_client", "sticky_topic"])
def test_a_sticky_member_that_goes_away_is_replaced_by_one_other(members, topic, strategy):
    clients, alice = members(strategy, 3)
    alice.publish(f"{topic}/a", "first")
    owner, = [client for client in clients if _received(client, alice)]
    owner.disconnect()
    clients.remove(owner)
    _until_given_to(clients, alice, topic)
    for number in range(6):
        alice.publish(f"{topic}/a", str(number))
    assert sorted(len(_received(client, alice)) for client in clients) == [0, 6]


@pytest.mark.rule("X5.0-4.8.2-1")
@pytest.mark.parametrize("strategy", ["round_robin", "random", "least_inflight", "sticky_client",
                                      "sticky_topic"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_strategy_gives_each_message_to_exactly_one_member(members, topic, strategy, qos):
    clients, alice = members(strategy, 4, qos)
    for number in range(40):
        alice.publish(f"{topic}/{number % 7}", str(number), qos)
    seen = [int(payload) for client in clients for payload in _received(client, alice)]
    assert sorted(seen) == list(range(40))


@pytest.mark.rule("X5.0-4.8.2-3")
@pytest.mark.parametrize("strategy", ["round_robin", "random", "least_inflight", "sticky_client",
                                      "sticky_topic"])
def test_every_strategy_prefers_members_that_are_online(members, connect, broker_with, topic,
                                                        client_id, strategy):
    (online,), alice = members(strategy, 1, qos=1)
    away = connect(V5, client_id, properties=LASTING,
                   broker=broker_with({"mqtt": {"share_strategy": strategy}}))
    away.subscribe(f"$share/group/{topic}/#", 1)
    away.disconnect()
    _until_given_to([online], alice, topic)
    for number in range(10):
        alice.publish(f"{topic}/{number}", str(number), 1)
        online.receive(payload=str(number))

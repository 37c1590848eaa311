# SPDX-License-Identifier: Apache-2.0
"""Sessions: clean start, what is kept and for how long, takeover (3.1.2.4, 3.1.2.11.2, 3.1.4)."""

import time

import pytest

from kit import (PUBCOMP, PUBLISH, PUBREC, PUBREL, V5, patience, pubcomp, publish, pubrec, pubrel,
                 wire)

SESSION_TAKEN_OVER = 0x8E
KEPT = {"session_expiry_interval": 60}


# ---- clean start --------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.1.2-4", "v5 MQTT-3.1.4-4", "v5 MQTT-3.2.2-2")
def test_clean_start_discards_the_session_that_was_there(connect, client_id, topic):
    alice, bob = connect(V5, client_id, properties=KEPT), connect(V5)
    alice.subscribe(topic, qos=1)
    alice.disconnect()
    bob.publish(topic, "for the old session", qos=1)
    again = connect(V5, client_id, clean_start=True)
    assert not again.connack.session_present
    bob.publish(topic, "nobody subscribes", qos=1)
    again.quiet_after(bob)


@pytest.mark.rule("v5 MQTT-3.1.2-4")
def test_a_session_discarded_by_clean_start_does_not_come_back(connect, client_id, topic):
    alice = connect(V5, client_id, properties=KEPT)
    alice.subscribe(topic, qos=1)
    alice.disconnect()
    connect(V5, client_id, clean_start=True, properties=KEPT).disconnect()
    bob = connect(V5)
    assert bob.publish(topic, qos=1).reason == 0x10
    again = connect(V5, client_id, clean_start=False)
    assert again.connack.session_present
    again.quiet_after(bob)


@pytest.mark.rule("v5 MQTT-3.1.2-5", "v5 MQTT-3.2.2-3")
def test_without_clean_start_a_session_is_resumed(connect, client_id, topic):
    alice = connect(V5, client_id, properties=KEPT)
    alice.subscribe(topic, qos=1)
    alice.disconnect()
    again = connect(V5, client_id, clean_start=False)
    assert again.connack.session_present
    connect(V5).publish(topic, "still subscribed", qos=1)
    again.receive(payload="still subscribed", qos=1)


@pytest.mark.rule("v5 MQTT-3.1.2-6", "v5 MQTT-3.2.2-3")
def test_without_clean_start_and_without_a_session_a_new_one_is_made(connect, client_id, topic):
    alice = connect(V5, client_id, clean_start=False, properties=KEPT)
    assert not alice.connack.session_present
    alice.subscribe(topic)
    alice.publish(topic, "it works")
    alice.receive(payload="it works")
    alice.disconnect()
    assert connect(V5, client_id, clean_start=False).connack.session_present


# ---- how long it is kept ------------------------------------------------------------------------

@pytest.mark.rule("X5.0-3.1.2.11.2-2")
@pytest.mark.parametrize("properties", [None, {"session_expiry_interval": 0}], ids=str)
@pytest.mark.parametrize("way", ["disconnect", "close"])
def test_a_session_without_expiry_ends_with_its_connection(
        connect, client_id, topic, properties, way):
    alice = connect(V5, client_id, properties=properties)
    alice.subscribe(topic, qos=1)
    getattr(alice, way)()
    again = connect(V5, client_id, clean_start=False)
    assert not again.connack.session_present
    bob = connect(V5)
    bob.publish(topic, qos=1)
    again.quiet_after(bob)


@pytest.mark.rule("X5.0-3.1.2.11.2-2", "v5 MQTT-3.1.2-23")
def test_a_session_ends_when_its_expiry_interval_has_passed(connect, client_id, topic):
    alice = connect(V5, client_id, properties={"session_expiry_interval": 1})
    alice.subscribe(topic, qos=1)
    early = connect(V5, client_id, clean_start=False, properties={"session_expiry_interval": 1})
    assert early.connack.session_present
    early.disconnect()
    time.sleep(1.0)
    bob, deadline = connect(V5), time.monotonic() + patience()
    while bob.publish(topic, qos=1).reason == 0:  # as long as the subscription is there
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not connect(V5, client_id, clean_start=False).connack.session_present


@pytest.mark.rule("X5.0-3.1.2.11.2-2")
def test_a_session_of_the_longest_expiry_interval_outlives_shorter_ones(connect, client_id, topic):
    alice = connect(V5, client_id, properties={"session_expiry_interval": 0xFFFF_FFFF})
    assert alice.connack.properties.get("session_expiry_interval") in (None, 0xFFFF_FFFF)
    alice.close()
    time.sleep(1.2)
    again = connect(V5, client_id, clean_start=False)
    assert again.connack.session_present


@pytest.mark.rule("X5.0-3.1.2.11.2-2")
def test_the_expiry_interval_counts_from_the_end_of_the_connection(connect, client_id):
    alice = connect(V5, client_id, properties={"session_expiry_interval": 1})
    time.sleep(1.2)
    alice.disconnect()
    assert connect(V5, client_id, clean_start=False).connack.session_present


@pytest.mark.rule("X5.0-3.1.2.11.2-2")
def test_each_connect_sets_the_expiry_interval_anew(connect, client_id):
    connect(V5, client_id, properties=KEPT).disconnect()
    connect(V5, client_id, clean_start=False).disconnect()
    assert not connect(V5, client_id, clean_start=False).connack.session_present


@pytest.mark.rule("X5.0-3.2.2.3.2-1")
def test_an_expiry_interval_cut_by_the_server_is_said_in_connack(broker_with, connect, client_id):
    broker = broker_with({"mqtt": {"session_expiry_max": "100s"}})
    for asked, told in [(101, 100), (0xFFFF_FFFF, 100), (100, None), (5, None), (0, None)]:
        alice = connect(V5, client_id, broker=broker, properties={"session_expiry_interval": asked})
        assert alice.connack.properties.get("session_expiry_interval") == told


# ---- what is kept -------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.1.2-23")
@pytest.mark.parametrize("way", ["disconnect", "close"])
def test_messages_for_a_client_that_is_away_are_kept_in_order(connect, client_id, topic, way):
    alice, bob = connect(V5, client_id, properties=KEPT), connect(V5)
    alice.subscribe(topic, qos=2)
    getattr(alice, way)()
    if way == "close":  # until the broker has noticed, it may still send to the old connection
        connect(V5, client_id, clean_start=False, properties=KEPT).disconnect()
    for number in range(10):
        bob.publish(topic, f"{number}", qos=1 + number % 2)
    again = connect(V5, client_id, clean_start=False)
    for number in range(10):
        again.receive(payload=f"{number}", qos=1 + number % 2, dup=False)


@pytest.mark.rule("v5 MQTT-3.1.2-23", "v5 MQTT-3.3.1-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_that_were_not_acknowledged_are_sent_again_with_dup(
        connect, client_id, topic, qos):
    alice, bob = connect(V5, client_id, properties=KEPT), connect(V5)
    alice.subscribe(topic, qos)
    for number in range(3):
        bob.publish(topic, f"{number}", qos=qos)
    first = [alice.expect(PUBLISH, payload=f"{number}", dup=False) for number in range(3)]
    alice.close()
    again = connect(V5, client_id, clean_start=False, properties=KEPT)
    for packet in first:
        again.expect(PUBLISH, payload=packet.payload, qos=qos, id=packet.id, dup=True)


@pytest.mark.rule("v5 MQTT-3.1.2-23")
def test_a_pubrel_that_was_not_completed_is_sent_again(connect, client_id, topic):
    alice, bob = connect(V5, client_id, properties=KEPT), connect(V5)
    alice.subscribe(topic, qos=2)
    bob.publish(topic, qos=2)
    number = alice.expect(PUBLISH, qos=2).id
    alice.send(pubrec(number))
    alice.expect(PUBREL, id=number)
    alice.close()
    again = connect(V5, client_id, clean_start=False, properties=KEPT)
    again.expect(PUBREL, id=number)
    again.send(pubcomp(number))
    again.expect_quiet()


@pytest.mark.rule("v5 MQTT-3.1.2-23")
def test_identifiers_of_received_qos_2_messages_are_kept(connect, client_id, topic):
    watcher = connect(V5)
    watcher.subscribe(topic, qos=2)
    alice = connect(V5, client_id, properties=KEPT)
    alice.send(publish(topic, "once", qos=2, id=7))
    alice.expect(PUBREC, id=7, reason=0)
    alice.close()
    again = connect(V5, client_id, clean_start=False, properties=KEPT)
    again.send(publish(topic, "once", qos=2, id=7, dup=True))
    again.expect(PUBREC, id=7, reason=0)
    again.send(pubrel(7))
    again.expect(PUBCOMP, id=7, reason=0)
    watcher.receive(payload="once")
    watcher.quiet_after(again)


@pytest.mark.rule("v5 MQTT-3.1.2-4")
def test_clean_start_forgets_identifiers_of_received_qos_2_messages(connect, client_id, topic):
    watcher = connect(V5)
    watcher.subscribe(topic, qos=2)
    alice = connect(V5, client_id, properties=KEPT)
    alice.send(publish(topic, "first", qos=2, id=7))
    alice.expect(PUBREC, id=7, reason=0)
    alice.close()
    watcher.receive(payload="first")
    again = connect(V5, client_id, clean_start=True)
    again.publish(topic, "second", qos=2, id=7)
    watcher.receive(payload="second")


# ---- takeover -----------------------------------------------------------------------------------

@pytest.mark.rule("v5 MQTT-3.1.4-3")
@pytest.mark.parametrize("clean_start", [True, False])
def test_a_second_connection_of_a_client_takes_over_from_the_first(connect, client_id, clean_start):
    first = connect(V5, client_id)
    second = connect(V5, client_id, clean_start=clean_start)
    first.expect_closed(SESSION_TAKEN_OVER)
    second.barrier()


@pytest.mark.rule("v5 MQTT-3.1.4-3")
def test_takeover_leaves_other_clients_alone(connect, client_id):
    alice, other = connect(V5, client_id), connect(V5, client_id + "x")
    connect(V5, client_id)
    alice.expect_closed(SESSION_TAKEN_OVER)
    other.barrier()


@pytest.mark.rule("v5 MQTT-3.1.4-3", "v5 MQTT-3.1.2-5")
def test_takeover_without_clean_start_resumes_the_session(connect, client_id, topic):
    first = connect(V5, client_id, properties=KEPT)
    first.subscribe(topic, qos=1)
    bob = connect(V5)
    bob.publish(topic, "unacknowledged", qos=1)
    first.expect(PUBLISH, payload="unacknowledged")
    second = connect(V5, client_id, clean_start=False, properties=KEPT)
    assert second.connack.session_present
    second.receive(payload="unacknowledged", dup=True)
    bob.publish(topic, "new", qos=1)
    second.receive(payload="new", dup=False)


@pytest.mark.rule("v5 MQTT-3.1.4-3", "X5.0-3.1.2.11.2-2")
def test_takeover_from_a_connection_without_expiry_finds_no_session(connect, client_id, topic):
    first = connect(V5, client_id)
    first.subscribe(topic)
    second = connect(V5, client_id, clean_start=False)
    assert not second.connack.session_present
    first.expect_closed(SESSION_TAKEN_OVER)


@pytest.mark.rule("v5 MQTT-3.1.4-3")
def test_a_refused_connect_does_not_take_over(connect, dial, client_id):
    first = connect(V5, client_id)
    intruder = dial(V5)
    intruder.send(wire.connect(client_id, properties={"authentication_method": "unheard-of"}))
    intruder.expect_refused(0x8C)
    first.barrier()


@pytest.mark.rule("v5 MQTT-3.1.4-3")
def test_of_many_connections_of_one_client_the_last_one_stays(connect, client_id):
    clients = [connect(V5, client_id) for _ in range(10)]
    for client in clients[:-1]:
        client.expect_closed(SESSION_TAKEN_OVER)
    clients[-1].barrier()

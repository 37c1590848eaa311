# SPDX-License-Identifier: Apache-2.0
"""Session state (4.1), transport (4.2), the QoS protocols (4.3), resending (4.4), receipt (4.5)."""

import time

import pytest

from kit import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, V5, Will, puback, pubcomp, publish,
                 pubrec, pubrel)

LASTING = {"session_expiry_interval": 600}
NOT_AUTHORIZED, ID_NOT_FOUND = 0x87, 0x92


@pytest.fixture
def bob(connect, client_id):
    """bob(): connects to a session that outlives its connections; the first time it is new."""
    def start(**fields):
        client = connect(V5, client_id, clean_start=False, **{"properties": LASTING, **fields})
        return client
    return start


# ---- session state -----------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-4.1.0-1")
def test_a_session_does_not_expire_while_its_client_is_connected(connect, topic, client_id):
    short = {"session_expiry_interval": 1}
    bob = connect(V5, client_id, properties=short)
    bob.subscribe(topic, 1)
    connected = time.monotonic()
    while time.monotonic() < connected + 1.3:
        bob.expect_nothing(100)
    connect(V5).publish(topic, "m", 1)
    bob.expect(PUBLISH, payload="m")
    bob.close()
    bob = connect(V5, client_id, clean_start=False, properties=short)
    assert bob.connack.session_present
    bob.receive(payload="m")


@pytest.mark.rule("v5 MQTT-4.1.0-2")
def test_a_session_is_dropped_when_its_expiry_interval_has_passed(connect, topic, client_id):
    # a will that waits longer than the session is published when the session ends
    watcher = connect(V5)
    watcher.subscribe(f"{topic}/will")
    bob = connect(V5, client_id, properties={"session_expiry_interval": 1},
                  will=Will(f"{topic}/will", properties={"will_delay_interval": 600}))
    bob.subscribe(topic, 1)
    bob.close()
    connect(V5).publish(topic, "m", 1)
    watcher.receive(topic=f"{topic}/will")
    bob = connect(V5, client_id, clean_start=False)
    assert not bob.connack.session_present
    connect(V5).publish(topic, "m", 1)
    bob.expect_quiet()


@pytest.mark.rule("X5.0-4.1-1")
def test_subscriptions_and_their_identifiers_are_session_state(connect, topic, bob):
    bob().subscribe([(topic, 1)], properties={"subscription_identifier": 7})
    again = bob()
    assert again.connack.session_present
    connect(V5).publish(topic, "m", 1)
    message = again.receive(payload="m", qos=1)
    assert message.properties.all("subscription_identifier") == [7]


@pytest.mark.rule("X5.0-4.1-1", "v5 MQTT-4.5.0-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_that_wait_for_a_client_are_session_state(connect, topic, bob, qos):
    bob().subscribe(topic, qos)
    bob().disconnect()
    alice = connect(V5)
    for number in range(50):
        alice.publish(topic, str(number), qos)
    again = bob()
    for number in range(50):
        again.receive(payload=str(number), qos=qos, dup=False)


@pytest.mark.rule("X5.0-4.1-1")
def test_incomplete_qos_2_identifiers_are_session_state(connect, topic, bob):
    watcher = connect(V5)
    watcher.subscribe(topic)
    bob().send(publish(topic, "once", 2, 9))
    watcher.receive(payload="once")
    again = bob()
    again.send(publish(topic, "once", 2, 9, dup=True))
    again.expect(PUBREC, id=9)
    again.send(pubrel(9))
    again.expect(PUBCOMP, id=9, reason=0)
    watcher.quiet_after(again)


@pytest.mark.rule("X5.0-4.1-2")
def test_retained_messages_outlive_the_session_of_their_publisher(connect, topic):
    alice = connect(V5)
    alice.publish(topic, "kept", 1, retain=True)
    alice.disconnect()
    bob = connect(V5)
    bob.subscribe(topic)
    bob.receive(payload="kept", retain=True)


@pytest.mark.rule("v5 MQTT-4.2.0-1")
def test_a_megabyte_arrives_byte_for_byte(connect, topic):
    payload = bytes(range(256)) * 4096
    alice = connect(V5)
    alice.subscribe(topic, 1)
    for _ in range(3):
        alice.publish(topic, payload, 1)
        alice.receive(payload=payload)


@pytest.mark.rule("v5 MQTT-4.2.0-1")
def test_packets_in_segments_of_one_byte_are_put_together(connect, topic):
    alice = connect(V5)
    alice.subscribe(topic)
    alice.send_slowly(publish(topic, "in pieces", 1, 5))
    alice.wait_for(PUBACK, id=5)
    alice.receive(payload="in pieces")


@pytest.mark.rule("v5 MQTT-4.5.0-1")
def test_every_matching_session_gets_the_message_connected_or_not(connect, topic, bob):
    bob().subscribe(f"{topic}/+", 1)
    bob().disconnect()
    connected = [connect(V5) for _ in range(8)]
    for number, client in enumerate(connected):
        client.subscribe(f"{topic}/#" if number % 2 else f"{topic}/a", 1)
    connect(V5).publish(f"{topic}/a", "m", 1)
    for client in [*connected, bob()]:
        client.receive(payload="m", qos=1)


# ---- QoS 0 -------------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-4.3.1-1")
@pytest.mark.parametrize("published", [0, 1, 2])
def test_a_qos_0_message_goes_out_with_dup_0(connect, topic, published):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, 0)
    alice.send(publish(topic, "m", published, 5 if published else None, dup=published > 0))
    bob.receive(payload="m", qos=0, dup=False, id=None)


# ---- what QoS 1 and 2 share when the broker sends ----------------------------------------------


@pytest.mark.parametrize("qos", [pytest.param(1, marks=pytest.mark.rule("v5 MQTT-4.3.2-1")),
                                 pytest.param(2, marks=pytest.mark.rule("v5 MQTT-4.3.3-1"))])
def test_each_new_message_takes_an_unused_identifier(connect, topic, qos):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, qos)
    open_ids = set()
    for _ in range(3):
        for _ in range(100):
            alice.send(publish(topic, "m", 1, alice.next_id()))
        for _ in range(100):
            number = bob.expect(PUBLISH, qos=min(qos, 1)).id
            assert number not in open_ids
            open_ids.add(number)
        for number in sorted(open_ids)[::2]:
            bob.send(puback(number))
            open_ids.remove(number)
        bob.barrier()


@pytest.mark.parametrize("qos", [pytest.param(1, marks=pytest.mark.rule("v5 MQTT-4.3.2-2")),
                                 pytest.param(2, marks=pytest.mark.rule("v5 MQTT-4.3.3-2"))])
def test_the_first_publish_has_dup_0_whatever_the_publisher_said(connect, topic, qos):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, qos)
    alice.send(publish(topic, "m", qos, 5, dup=True), *[pubrel(5)] * (qos == 2))
    bob.receive(payload="m", qos=qos, dup=False)


@pytest.mark.parametrize("qos", [pytest.param(1, marks=pytest.mark.rule("v5 MQTT-4.3.2-3")),
                                 pytest.param(2, marks=pytest.mark.rule("v5 MQTT-4.3.3-3"))])
def test_an_unacknowledged_publish_is_kept_through_reconnections(connect, topic, bob, qos):
    client = bob()
    client.subscribe(topic, qos)
    connect(V5).publish(topic, "m", qos)
    number = client.expect(PUBLISH, dup=False).id
    for _ in range(3):
        client.close()
        client = bob()
        client.expect(PUBLISH, id=number, payload="m", qos=qos, dup=True)


# ---- QoS 1 -------------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-4.3.2-3")
def test_an_acknowledged_qos_1_message_is_not_kept(connect, topic, bob):
    client = bob()
    client.subscribe(topic, 1)
    connect(V5).publish(topic, "m", 1)
    client.receive(payload="m")
    client.barrier()
    client.close()
    bob().expect_quiet()


@pytest.mark.rule("v5 MQTT-4.3.2-4")
@pytest.mark.parametrize("number", [1, 300, 65535])
def test_a_qos_1_message_is_answered_by_puback_of_its_identifier(connect, topic, number):
    alice = connect(V5)
    alice.send(publish(topic, "m", 1, number))
    alice.expect(PUBACK, id=number)
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-4.3.2-5")
@pytest.mark.parametrize("dup", [False, True])
def test_after_puback_the_same_identifier_is_a_new_message(connect, topic, dup):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic)
    for payload in ("one", "two"):
        alice.send(publish(topic, payload, 1, 5, dup=dup))
        alice.expect(PUBACK, id=5, reason=0)
        bob.receive(payload=payload)


# ---- QoS 2, the broker sends -------------------------------------------------------------------


@pytest.fixture
def sent(connect, topic, bob):
    """A client of a lasting session that has got a PUBLISH of QoS 2, and its identifier."""
    client = bob()
    client.subscribe(topic, 2)
    connect(V5).publish(topic, "m", 2)
    return client, client.expect(PUBLISH, qos=2).id


@pytest.mark.rule("v5 MQTT-4.3.3-4")
@pytest.mark.parametrize("reason", [None, 0x00, 0x10], ids=str)
def test_pubrec_of_success_is_answered_by_pubrel(sent, reason):
    client, number = sent
    client.send(pubrec(number, reason))
    client.expect(PUBREL, id=number, reason=0)


@pytest.mark.rule("v5 MQTT-4.3.3-4")
@pytest.mark.parametrize("reason", [0x80, 0x83, 0x87, 0x97, 0x99], ids=hex)
def test_pubrec_of_failure_ends_the_exchange(sent, bob, reason):
    client, number = sent
    client.send(pubrec(number, reason))
    client.expect_quiet()
    client.close()
    bob().expect_quiet()


@pytest.mark.rule("v5 MQTT-4.3.3-5", "v5 MQTT-4.3.3-6")
def test_pubrel_is_kept_and_sent_again_instead_of_publish(sent, bob):
    client, number = sent
    client.send(pubrec(number))
    client.expect(PUBREL, id=number)
    for _ in range(3):
        client.close()
        client = bob()
        client.expect(PUBREL, id=number, reason=0)
        client.expect_quiet()


@pytest.mark.rule("v5 MQTT-4.3.3-5")
def test_pubcomp_ends_the_exchange(sent, bob):
    client, number = sent
    client.send(pubrec(number))
    client.expect(PUBREL, id=number)
    client.send(pubcomp(number))
    client.barrier()
    client.close()
    bob().expect_quiet()


@pytest.mark.rule("v5 MQTT-4.3.3-6")
def test_a_second_pubrec_gets_a_pubrel_and_no_publish(sent):
    client, number = sent
    for _ in range(3):
        client.send(pubrec(number))
        client.expect(PUBREL, id=number, reason=0)
    client.expect_quiet()


@pytest.mark.rule("v5 MQTT-4.3.3-7")
def test_message_expiry_does_not_apply_to_what_was_sent(connect, topic, bob):
    client = bob()
    client.subscribe(topic, 2)
    alice = connect(V5)
    alice.publish(topic, "sent", 2, properties={"message_expiry_interval": 1})
    number = client.expect(PUBLISH, qos=2).id
    client.disconnect()
    # another message of the same age, not sent yet, is seen to expire
    alice.publish(topic, "waiting", 2, properties={"message_expiry_interval": 1})
    time.sleep(1.1)
    client = bob()
    client.receive(id=number, payload="sent", dup=True)
    client.expect_quiet()


# ---- QoS 2, the broker receives ----------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-4.3.3-8", "v5 MQTT-4.3.3-11")
@pytest.mark.parametrize("number", [1, 300, 65535])
def test_pubrec_and_pubcomp_carry_the_identifier_of_the_message(connect, topic, number):
    alice = connect(V5)
    alice.send(publish(topic, "m", 2, number))
    alice.expect(PUBREC, id=number)
    alice.send(pubrel(number))
    alice.expect(PUBCOMP, id=number, reason=0)
    alice.expect_quiet()


@pytest.mark.rule("v5 MQTT-4.3.3-9")
def test_after_a_pubrec_of_failure_the_identifier_is_free(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic)
    alice.send(publish("$SYS/not/yours", "m", 2, 5))
    alice.expect(PUBREC, id=5, reason=NOT_AUTHORIZED)
    alice.send(publish(topic, "new", 2, 5))
    alice.expect(PUBREC, id=5, reason=0)
    bob.receive(payload="new")


@pytest.mark.rule("v5 MQTT-4.3.3-10")
@pytest.mark.parametrize("dup", [False, True])
def test_a_repeat_before_pubrel_is_acknowledged_and_not_delivered(connect, topic, dup):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic)
    alice.send(publish(topic, "once", 2, 5))
    alice.expect(PUBREC, id=5, reason=0)
    for _ in range(3):
        alice.send(publish(topic, "once", 2, 5, dup=dup))
        assert alice.expect(PUBREC, id=5).reason < 0x80
    alice.send(pubrel(5))
    alice.expect(PUBCOMP, id=5, reason=0)
    bob.receive(payload="once")
    bob.quiet_after(alice)


@pytest.mark.rule("v5 MQTT-4.3.3-12")
def test_after_pubcomp_the_same_identifier_is_a_new_message(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic)
    for payload in ("one", "two"):
        alice.publish(topic, payload, 2, id=5)
        bob.receive(payload=payload)


@pytest.mark.rule("v5 MQTT-4.3.3-11")
def test_a_second_pubrel_is_answered_too(connect, topic):
    alice = connect(V5)
    alice.publish(topic, "m", 2, id=5)
    alice.send(pubrel(5))
    alice.expect(PUBCOMP, id=5, reason=ID_NOT_FOUND)


@pytest.mark.rule("v5 MQTT-4.3.3-13")
def test_the_exchange_is_completed_for_a_message_that_has_expired(connect, topic, bob):
    bob().subscribe(topic, 2)
    bob().disconnect()
    alice = connect(V5)
    alice.send(publish(topic, "short", 2, 5, properties={"message_expiry_interval": 1}))
    alice.expect(PUBREC, id=5, reason=0)
    time.sleep(1.1)
    bob().expect_quiet()
    alice.send(publish(topic, "short", 2, 5, dup=True, properties={"message_expiry_interval": 1}))
    alice.expect(PUBREC, id=5, reason=0)
    alice.send(pubrel(5))
    alice.expect(PUBCOMP, id=5, reason=0)


# ---- resending ---------------------------------------------------------------------------------


@pytest.mark.rule("v5 MQTT-4.4.0-1")
def test_a_resumed_session_resends_publish_and_pubrel_with_their_identifiers(connect, topic, bob):
    client = bob()
    client.subscribe([(f"{topic}/1", 1), (f"{topic}/2", 2), (f"{topic}/released", 2)])
    alice = connect(V5)
    alice.publish(f"{topic}/released", "r", 2)
    released = client.expect(PUBLISH).id
    client.send(pubrec(released))
    client.expect(PUBREL, id=released)
    alice.publish(f"{topic}/1", "one", 1)
    alice.publish(f"{topic}/2", "two", 2)
    one, two = client.expect(PUBLISH, qos=1).id, client.expect(PUBLISH, qos=2).id
    client.close()
    client = bob()
    assert client.connack.session_present
    client.wait_for(PUBREL, id=released)
    client.expect(PUBLISH, id=one, payload="one", qos=1, dup=True)
    client.expect(PUBLISH, id=two, payload="two", qos=2, dup=True)
    client.expect_quiet()


@pytest.mark.rule("v5 MQTT-4.4.0-1")
def test_nothing_is_resent_on_a_live_connection(connect, topic):
    alice, bob = connect(V5), connect(V5)
    bob.subscribe(topic, 2)
    alice.publish(topic, "one", 1)
    alice.publish(topic, "two", 2)
    bob.expect(PUBLISH, qos=1)
    number = bob.expect(PUBLISH, qos=2).id
    bob.send(pubrec(number))
    bob.expect(PUBREL, id=number)
    bob.expect_nothing(1000)


@pytest.mark.rule("v5 MQTT-4.4.0-2")
@pytest.mark.parametrize("reason", [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99], ids=hex)
@pytest.mark.parametrize("qos, answer", [(1, puback), (2, pubrec)], ids=["PUBACK", "PUBREC"])
def test_a_message_that_the_client_refused_is_not_resent(connect, topic, bob, qos, answer, reason):
    client = bob()
    client.subscribe(topic, qos)
    connect(V5).publish(topic, "m", qos)
    client.send(answer(client.expect(PUBLISH, qos=qos).id, reason))
    client.barrier()
    client.close()
    bob().expect_quiet()

# SPDX-License-Identifier: Apache-2.0
"""No client waits long behind another's big request: walks over many retained messages, mass
subscriptions, mass disconnects and messages for thousands are worked off in turns of at most 10 ms.
"""

from .crowd import publish, subscribe, unsubscribe

PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP = 3, 4, 9, 11, 13
PINGREQ, DISCONNECT = b"\xc0\0", b"\xe0\0"
RETAINED = SUBSCRIPTIONS = QUEUED = 100_000
FILTERS = 10_000  # in one packet
MANY = 4_000  # clients


def filters_of(packet):
    return [f"devices/{packet}/{n}/+/state" for n in range(FILTERS)]


def subscribe_to_many(client):
    for number in range(SUBSCRIPTIONS // FILTERS):
        client.send(subscribe(number + 1, filters_of(number)))
    client.wait(SUBACK, SUBSCRIPTIONS // FILTERS)


def test_subscribing_to_many_retained_messages(fair):
    client = fair.crowd(1)
    for n in range(0, RETAINED, 1000):
        client.send(b"".join(publish(f"retained/{m // 100}/{m}", b"x" * 50, retain=True)
                             for m in range(n, n + 1000)))
    client.send(PINGREQ)
    client.wait(PINGRESP, 1)
    client.send(subscribe(1, ["#"]))
    client.wait(PUBLISH, RETAINED)
    fair.check()


def test_subscribing_and_unsubscribing_with_many_filters(fair):
    client = fair.crowd(1)
    subscribe_to_many(client)
    for number in range(SUBSCRIPTIONS // FILTERS):
        client.send(unsubscribe(number + 1, filters_of(number)))
    client.wait(UNSUBACK, SUBSCRIPTIONS // FILTERS)
    fair.check()


def test_many_clients_that_disconnect_at_once(fair):
    leavers = fair.crowd(MANY)
    leavers.send(DISCONNECT)
    leavers.wait_for_the_end()
    fair.check()


def test_many_clients_that_go_at_once_with_wills(fair):
    watcher, leavers = fair.crowd(1), fair.crowd(MANY, will_topic="wills")
    watcher.send(subscribe(1, ["wills"]))
    leavers.drop()
    watcher.wait(PUBLISH, MANY)
    fair.check()


def test_a_session_with_many_subscriptions_that_ends(fair):
    client = fair.crowd(1)
    subscribe_to_many(client)
    client.drop()
    fair.wait_for("subscriptions_current", lambda count: count < 10)
    fair.check()


def test_a_session_with_many_subscriptions_that_goes_comes_back_and_is_replaced(fair):
    subscribe_to_many(client := fair.crowd(1, name="bob", clean=False))
    for clean in (False, True):
        client.drop()
        client = fair.crowd(1, name="bob", clean=clean)
    fair.wait_for("subscriptions_current", lambda count: count < 10)
    fair.check()


def test_a_message_for_many_subscribers(fair):
    subscribers, publisher = fair.crowd(MANY), fair.crowd(1)
    subscribers.send(subscribe(1, ["news/#"]))
    subscribers.wait(SUBACK, MANY)
    for number in range(3):
        publisher.send(publish("news/today", b"x" * 200))
        subscribers.wait(PUBLISH, MANY * (number + 1))
    fair.check()


def test_a_session_with_a_huge_queue_that_resumes(fair):
    subscriber, publisher = fair.crowd(1, name="bob", clean=False), fair.crowd(1)
    subscriber.send(subscribe(1, ["work"], qos=1))
    subscriber.wait(SUBACK, 1)
    subscriber.drop()
    for n in range(0, QUEUED, 1000):
        publisher.send(b"".join(publish("work", b"x" * 50, packet_id=m % 60_000 + 1)
                                for m in range(n, n + 1000)))
        publisher.wait(PUBACK, n + 1000)
    subscriber = fair.crowd(1, name="bob", clean=False, acknowledges=True)
    subscriber.wait(PUBLISH, QUEUED)
    fair.check()

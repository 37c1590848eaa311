# SPDX-License-Identifier: Apache-2.0
"""Durability by listener and by topic: what each acknowledgement waits for, and what is there after
the process, or the power, has gone."""

import types

import pytest

from crash.disk import Disk
from kit import (PINGRESP, PUBACK, PUBLISH, PUBREC, V5, V311, patience, pingreq, publish, pubrel,
                 wire)
from kit.broker import free_port
from kit.shards import client_id_of

from .conftest import MINUTE_MS, store

MEMORY, INTERVAL, FSYNC = "memory", "interval", "fsync"
WORKERS = pytest.mark.parametrize("worker", [0, 1], ids=["same worker", "other worker"])
QOS = pytest.mark.parametrize("qos", [1, 2])


def topics(*pairs):
    return [{"filter": filter, "durability": durability} for filter, durability in pairs]


MIXED = {"durability_topics": topics(("+/+/spared/#", MEMORY), ("+/+/between/#", INTERVAL),
                                     ("+/+/kept/#", FSYNC), ("+/+/spared/never", FSYNC))}


def through(broker, port):
    """The broker as clients of another of its listeners see it."""
    return types.SimpleNamespace(address=("127.0.0.1", port), ws_address=broker.ws_address)


@pytest.fixture
def listeners(own_broker):
    """listeners(memory, fsync, config={}): a broker of two listeners, seen through each."""
    def start(*durabilities, config=None, **options):
        ports = [free_port() for _ in durabilities]
        entries = [{"address": f"127.0.0.1:{port}", "durability": durability}
                   for port, durability in zip(ports, durabilities)]
        broker = own_broker({**(config or {}), "listeners": entries}, **options)
        return [broker, *[through(broker, port) for port in ports]]
    return start


def everything(bob, publisher, marker):
    """What comes to bob until a last message of that publisher, in order."""
    publisher.publish(marker, "the end", 1)
    packets = []
    while not packets or packets[-1].payload != b"the end":
        packets.append(bob.expect(PUBLISH))
        bob.acknowledge(packets[-1])
    return packets[:-1]


# ---- what is waited for -------------------------------------------------------------------------


@pytest.fixture
def memory_first(listeners):
    """A broker on a store that answers in a minute: seen through a listener of memory, and of fsync."""
    _, memory, fsync = listeners(MEMORY, FSYNC, config=MIXED, **store(MINUTE_MS))
    return memory, fsync


@WORKERS
@QOS
def test_a_topic_of_memory_is_acknowledged_at_once_and_one_of_fsync_is_not(
        memory_first, durable, clean, topic, qos, worker):
    memory, fsync = memory_first
    bob = durable(memory, worker=0)
    bob.subscribe(f"{topic}/#", qos)
    alice = clean(fsync, worker=worker)
    kind = PUBACK if qos == 1 else PUBREC
    alice.send(publish(f"{topic}/spared/a", "1", qos, 1))
    alice.expect(kind, id=1, reason=0)
    alice.send(publish(f"{topic}/kept/a", "2", qos, 2), pingreq())
    alice.expect(PINGRESP)
    bob.receive(payload="1")
    alice.expect_quiet()


def test_the_first_filter_that_matches_counts(memory_first, durable, clean, topic):
    memory, fsync = memory_first
    bob, alice = durable(memory), clean(fsync)
    bob.subscribe(f"{topic}/#", 1)
    alice.publish(f"{topic}/spared/never", "first", 1)
    bob.receive(payload="first")


def test_a_filter_wins_over_the_listener_that_the_publisher_came_through(memory_first, durable,
                                                                        clean, topic):
    memory, fsync = memory_first
    bob = durable(memory)
    bob.subscribe(f"{topic}/#", 1)
    alice, carol = clean(memory), clean(fsync)
    alice.send(publish(f"{topic}/other", "a", 1, 1))
    alice.expect(PUBACK, id=1)  # the listener's
    carol.send(publish(f"{topic}/spared", "b", 1, 1))
    carol.expect(PUBACK, id=1)  # the filter's
    alice.send(publish(f"{topic}/kept", "c", 1, 2), pingreq())
    alice.expect(PINGRESP)
    carol.send(publish(f"{topic}/other", "d", 1, 2), pingreq())
    carol.expect(PINGRESP)
    alice.expect_quiet()
    carol.expect_quiet()


@pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])
def test_changes_of_a_session_are_acknowledged_as_its_listener_says(memory_first, durable, dial,
                                                                    topic, version):
    memory, fsync = memory_first
    bob = durable(memory, version)
    bob.subscribe(topic, 1)
    bob.unsubscribe(topic)
    carol = dial(version, broker=fsync)
    properties = {"session_expiry_interval": 3600} if version == V5 else None
    carol.send(wire.connect(client_id_of(), clean_start=False, properties=properties))
    carol.expect_nothing()


@QOS
def test_topic_of_memory_is_acknowledged_at_once_to_a_publisher_whose_session_is_kept(
        memory_first, durable, topic, qos):
    memory, _ = memory_first
    alice = durable(memory)
    alice.subscribe(f"{topic}/#", qos)
    alice.publish(f"{topic}/spared", "x", qos)  # of QoS 2 the whole exchange
    alice.receive(payload="x")


def test_pubcomp_waits_for_an_identifier_that_is_kept(memory_first, durable, topic):
    memory, _ = memory_first
    alice = durable(memory)
    alice.send(publish(f"{topic}/kept", "x", 2, 7), pingreq())
    alice.expect(PINGRESP)
    alice.send(pubrel(7), pingreq())
    alice.expect(PINGRESP)
    alice.expect_quiet()


def test_retained_message_of_memory_is_acknowledged_at_once(memory_first, clean, topic):
    _, fsync = memory_first
    alice = clean(fsync)
    alice.publish(f"{topic}/spared", "x", 1, retain=True)
    alice.send(publish(f"{topic}/kept", "x", 1, 9, retain=True), pingreq())
    alice.expect(PINGRESP)
    alice.expect_quiet()


# ---- a disk that does nothing -------------------------------------------------------------------


@pytest.fixture
def disk():
    with Disk() as disk:
        yield disk


@pytest.fixture
def on_disk(disk, own_broker):
    """A broker whose data are on the test's own disk."""
    return lambda config: own_broker(config, data=disk.mount / "data")


def test_while_the_disk_stalls_memory_is_acknowledged_and_fsync_is_not(disk, on_disk, durable, clean,
                                                                       topic):
    broker = on_disk(MIXED)
    bob, away, alice, carol = durable(broker), durable(broker), clean(broker), clean(broker)
    bob.subscribe(f"{topic}/#", 1)
    away.subscribe(f"{topic}/kept", 1)  # what bob alone has acknowledged need not be written
    away.disconnect()
    with disk.stalled():
        carol.send(publish(f"{topic}/kept", "kept", 1, 1))
        bob.receive(payload="kept")
        for number in range(1, 101):
            alice.publish(f"{topic}/spared", f"{number}", 1)
            bob.receive(payload=f"{number}")
        carol.send(pingreq())
        carol.expect(PINGRESP)
        carol.expect_quiet()
    carol.expect(PUBACK, id=1)


def test_what_all_subscribers_have_acknowledged_does_not_wait_for_the_disk(disk, on_disk, durable,
                                                                           clean, topic):
    broker = on_disk({})
    bob, away = durable(broker), durable(broker)
    alice, carol = clean(broker), clean(broker)
    bob.subscribe(f"{topic}/bob", 1)
    away.subscribe(f"{topic}/away", 1)
    away.disconnect()
    with disk.stalled():
        carol.send(publish(f"{topic}/away", "stalls", 1, 1), pingreq())
        carol.expect(PINGRESP)
        disk.wait_for_sync()  # what comes now is not in that commit
        alice.send(*[publish(f"{topic}/bob", f"{number}", 1, number) for number in range(1, 21)])
        got = [bob.expect(PUBLISH) for _ in range(20)]
        alice.expect_quiet()  # bob has not acknowledged
        for packet in got:
            bob.acknowledge(packet)
        for number in range(1, 21):
            alice.expect(PUBACK, id=number)
        carol.expect_quiet()
        alice.send(publish(f"{topic}/away", "both", 1, 21), pingreq())
        alice.expect(PINGRESP)
        alice.expect_quiet()
    carol.expect(PUBACK, id=1)
    alice.expect(PUBACK, id=21)


def test_a_subscriber_that_does_not_acknowledge_holds_nobody_back(on_disk, durable, clean, topic):
    broker = on_disk({})
    bob, alice = durable(broker), clean(broker)
    bob.subscribe(topic, 1)
    alice.send(*[publish(topic, f"{number}", 1, number) for number in range(1, 101)])
    for number in range(1, 101):
        alice.expect(PUBACK, id=number)
    broker.kill()
    broker.start()
    again = durable(broker, client_id=bob.client_id)
    for number in range(1, 101):
        again.receive(payload=f"{number}")


def test_broker_ends_in_time_while_the_disk_stalls(disk, on_disk, durable, clean, topic):
    broker = on_disk({"broker": {"drain_timeout": "0s"}})
    bob, alice = durable(broker), clean(broker)
    bob.subscribe(topic, 1)
    with disk.stalled():
        alice.send(publish(topic, "x", 1, 1))
        bob.receive(payload="x")
        broker.terminate()
        assert broker.process.wait(timeout=4 * patience()) == 0
    assert "broker.store_not_ended" in broker.log


def test_death_of_the_process_loses_neither_fsync_nor_interval(disk, on_disk, durable, clean, topic):
    broker = on_disk({**MIXED, "durability_interval": "1h"})
    bob, alice = durable(broker), clean(broker)
    bob.subscribe(f"{topic}/#", 1)
    bob.disconnect()
    alice.publish(f"{topic}/kept", "kept", 1)
    alice.publish(f"{topic}/between", "between", 1)
    broker.kill()
    broker.start()
    again = durable(broker, client_id=bob.client_id)
    again.receive(payload="kept")
    again.receive(payload="between")


def test_loss_of_power_loses_what_was_only_written(disk, on_disk, durable, clean, topic):
    """It was acknowledged when it was written: nothing waited for the disk."""
    broker = on_disk({**MIXED, "durability_interval": "1h"})
    bob, alice = durable(broker), clean(broker)
    bob.subscribe(f"{topic}/#", 1)
    bob.disconnect()
    alice.publish(f"{topic}/kept", "kept", 1)
    alice.publish(f"{topic}/between", "between", 1)
    broker.kill()
    disk.cut()
    broker.start()
    again = durable(broker, client_id=bob.client_id)
    again.receive(payload="kept")
    again.expect_quiet()


def test_interval_for_everything_waits_for_no_disk(disk, on_disk, durable):
    broker = on_disk({"durability": INTERVAL, "durability_interval": "1h"})
    bob = durable(broker)
    broker.kill()
    disk.cut()
    broker.start()
    assert not durable(broker, client_id=bob.client_id).connack.session_present


# ---- after a crash ------------------------------------------------------------------------------


@pytest.mark.parametrize("away", [False, True], ids=["client is there", "client is away"])
@QOS
def test_crash_loses_nothing_of_fsync_in_a_mixture(own_broker, durable, clean, topic, qos, away):
    broker = own_broker(MIXED)
    bob, alice = durable(broker), clean(broker)
    bob.subscribe(f"{topic}/#", qos)
    if away:
        bob.disconnect()
    kept = []
    for number in range(1, 601):
        name = ("kept", "spared", "spared/b")[number % 3]
        alice.publish(f"{topic}/{name}", f"{number}", qos)
        if name == "kept":
            kept.append(number)
    broker.kill()
    broker.start()
    again = durable(broker, client_id=bob.client_id)
    came = [int(p.payload) for p in everything(again, clean(broker), f"{topic}/kept")]
    assert [number for number in came if number in kept] == kept
    assert came == sorted(came)


# ---- retained messages --------------------------------------------------------------------------


def retained(clean, broker, topic):
    """What is retained on the topic and below, by its last level."""
    bob = clean(broker)
    bob.subscribe(f"{topic}/#", 0)
    return {packet.topic.rsplit("/", 1)[1]: packet.payload.decode()
            for packet in everything(bob, clean(broker), f"{topic}/spared")}


def test_retained_message_of_memory_ends_with_the_process(own_broker, clean, topic):
    broker = own_broker(MIXED)
    alice = clean(broker)
    alice.publish(f"{topic}/spared/a", "gone", 1, retain=True)
    alice.publish(f"{topic}/kept/b", "stays", 1, retain=True)
    broker.kill()
    broker.start()
    assert retained(clean, broker, topic) == {"b": "stays"}


def test_retained_message_of_qos_0_is_kept_as_its_topic_says(own_broker, clean, topic):
    broker = own_broker(MIXED)
    alice = clean(broker)
    alice.send(publish(f"{topic}/spared/a", "gone", 0, retain=True),
               publish(f"{topic}/kept/b", "stays", 0, retain=True), pingreq())
    alice.expect(PINGRESP)
    broker.stop()
    broker.start()
    assert retained(clean, broker, topic) == {"b": "stays"}


@pytest.mark.parametrize("payload", ["new", ""], ids=["replaced", "cleared"])
@WORKERS
def test_retained_message_that_one_of_memory_took_the_place_of_does_not_come_back(
        listeners, clean, topic, payload, worker):
    broker, memory, fsync = listeners(MEMORY, FSYNC)
    alice, carol = clean(fsync, worker=worker), clean(memory, worker=0)
    alice.publish(f"{topic}/a", "old", 1, retain=True)
    carol.publish(f"{topic}/a", payload, 1, retain=True)
    alice.publish(f"{topic}/b", "stays", 1, retain=True)
    broker.stop()
    broker.start()
    assert retained(clean, broker, topic) == {"b": "stays"}


# ---- being told ---------------------------------------------------------------------------------


def test_connack_tells_the_durability_of_the_listener_when_configured(listeners, dial):
    _, memory, fsync = listeners(MEMORY, FSYNC, config={"durability_property": True})
    for broker, durability in ((memory, MEMORY), (fsync, FSYNC)):
        client = dial(V5, broker=broker)
        client.connect()
        told = dict(client.connack.properties)["user_property"]
        assert told == ("durability", durability)


def test_connack_tells_no_durability_by_default(connect):
    assert "user_property" not in dict(connect(V5).connack.properties)


@pytest.mark.rule("v5 MQTT-3.2.2-20")
def test_connack_leaves_the_durability_out_where_it_does_not_fit(listeners, dial):
    _, fsync = listeners(FSYNC, config={"durability_property": True})
    client = dial(V5, broker=fsync)
    client.connect("short", properties={"maximum_packet_size": 24})
    assert "user_property" not in dict(client.connack.properties)


def test_sys_tells_what_is_promised(listeners, clean):
    config = {"durability": INTERVAL, "durability_topics": topics(("spared/#", MEMORY))}
    broker, memory, fsync = listeners(MEMORY, FSYNC, config=config)
    bob = clean(memory, worker=1)  # another one than publishes it
    bob.subscribe("$SYS/broker/durability/#", 0)
    told = {p.topic: p.payload.decode() for p in [bob.receive() for _ in range(4)]}
    prefix = "$SYS/broker/durability"
    assert told[prefix].startswith("interval: what was acknowledged survives")
    assert told[f"{prefix}/listeners/1"].startswith(f"127.0.0.1:{memory.address[1]} memory: ")
    assert told[f"{prefix}/listeners/2"].startswith(f"127.0.0.1:{fsync.address[1]} fsync: ")
    assert told[f"{prefix}/topics/1"].startswith("spared/# memory: ")


# ---- what is configured -------------------------------------------------------------------------


def test_without_anything_but_memory_there_is_no_store(listeners, clean):
    broker, _ = listeners(MEMORY, config={"durability": MEMORY})
    assert not (broker.data / "store").exists()


def test_one_topic_that_is_kept_is_enough_for_a_store(own_broker, durable, clean, topic):
    broker = own_broker({"durability": MEMORY, "durability_topics": topics(("+/+/kept", FSYNC))})
    bob, alice = durable(broker), clean(broker)
    bob.subscribe(f"{topic}/kept", 1)
    bob.disconnect()
    alice.publish(f"{topic}/kept", "kept", 1)
    broker.kill()
    broker.start()
    durable(broker, client_id=bob.client_id).receive(payload="kept")

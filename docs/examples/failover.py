#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client of several brokers with Paho Python 1.6: prints what comes on a topic, publishes its input there.

    failover.py CLIENT_ID TOPIC HOST:PORT [HOST:PORT ...] <lines-to-publish
"""

import itertools
import sys

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

client_id, topic, *addresses = sys.argv[1:]
addresses = itertools.cycle(addresses)

session = Properties(PacketTypes.CONNECT)
session.SessionExpiryInterval = 3600  # seconds that a broker keeps the session while we are away


def use_next_address(client, *_):
    """Paho knows one address: the next attempt takes this one."""
    address = next(addresses)
    host, port = address.rsplit(":", 1)
    client.user_data_set(address)
    client.connect_async(host, int(port), keepalive=30, clean_start=False, properties=session)


def connected(client, address, flags, reason, _properties):
    if reason.value >= 0x80:  # full, or about to end: Paho tries again
        return
    resumed = flags["session present"]
    print("connected", address, "resumed" if resumed else "new", flush=True)
    if not resumed:  # this broker has no session of ours, so no subscriptions
        client.subscribe(topic, qos=1)


def subscribed(*_):
    print("subscribed", flush=True)


def received(_client, _address, message):
    print("message", message.payload.decode(), flush=True)


client = Client(client_id, protocol=MQTTv5)
client.reconnect_delay_set(min_delay=1, max_delay=10)
client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, received
client.on_disconnect = client.on_connect_fail = use_next_address
use_next_address(client)
client.loop_start()
for line in sys.stdin:
    client.publish(topic, line.rstrip("\n"), qos=1)  # kept until a broker has acknowledged it
client.on_disconnect = None
client.disconnect()
client.loop_stop()

# SPDX-License-Identifier: Apache-2.0
"""A broker with one worker, a client that asks it something all the time, and many others."""

import os
import threading
import time

import pytest

from kit import PINGRESP, PUBLISH, V311, patience, pingreq, publish

from .crowd import Crowd

TIMES = patience() / 5  # sanitizers take more of everything
TURN_MAX_MS = 10 * (TIMES if TIMES <= 1 else 2 * TIMES)  # and of a turn most


class Probe(threading.Thread):
    """Asks for a PINGRESP and for a message of its own, over and over. Its waits are the machine's
    as well, which may be busy: they have a generous limit. What the broker answers for is the CPU
    time of its longest turn."""

    def __init__(self, client, topic):
        super().__init__(daemon=True)
        self.client, self.topic = client, topic
        self.longest, self.rounds, self.failure = 0.0, 0, None
        self.over = threading.Event()
        client.subscribe(topic)

    def run(self):
        try:
            while not self.over.is_set():
                start = time.monotonic()
                self.client.send(pingreq(), publish(self.topic, "probe"))
                self.client.wait_for(PINGRESP)
                self.client.wait_for(PUBLISH, payload="probe")
                self.longest = max(self.longest, time.monotonic() - start)
                self.rounds += 1
        except BaseException as failure:  # pylint: disable=broad-except
            self.failure = failure

    def stop(self):
        self.over.set()
        self.join(4 * patience())
        if self.failure is not None:
            raise self.failure
        assert not self.is_alive()


class Fair:
    def __init__(self, broker, connect):
        self.broker, self.connect = broker, connect
        self.crowds = []
        self.probe = Probe(connect(V311, broker=broker), "probe/self")
        self.watcher = connect(V311, broker=broker)
        self.probe.start()

    def crowd(self, count, **fields):
        self.crowds.append(Crowd(self.broker, count, **fields))
        return self.crowds[-1]

    def wait_for(self, name, wanted):
        """Until $SYS/skein/`name` is a number for which wanted(number)."""
        topic = f"$SYS/skein/{name}"
        self.watcher.subscribe(topic)
        while not wanted(int(self.watcher.receive(topic=topic).payload)):
            pass
        self.watcher.unsubscribe(topic)

    def longest_turn_ms(self):
        """So far: as of an update of $SYS that begins after now."""
        for _ in range(2):
            self.watcher.subscribe("$SYS/broker/uptime")
            self.watcher.receive(topic="$SYS/broker/uptime", retain=True)
            self.watcher.receive(topic="$SYS/broker/uptime", retain=False)
            self.watcher.unsubscribe("$SYS/broker/uptime")
        self.watcher.subscribe("$SYS/skein/loop_turn_cpu/max")
        longest = int(self.watcher.receive(topic="$SYS/skein/loop_turn_cpu/max").payload) / 1e6
        self.watcher.unsubscribe("$SYS/skein/loop_turn_cpu/max")
        return longest

    def check(self):
        self.probe.stop()
        longest = self.longest_turn_ms()
        if os.environ.get("FAIR_SHOW"):
            print(f"\nTURN {longest:.2f} ms, probe {self.probe.longest * 1000:.1f} ms "
                  f"in {self.probe.rounds} rounds")
        assert self.probe.rounds > 0
        assert self.probe.longest < patience()
        assert longest <= TURN_MAX_MS, f"a turn took {longest:.1f} ms of CPU"


@pytest.fixture
def fair(own_broker, connect):
    made = Fair(own_broker({"workers": 1, "broker": {"sys_interval": "1s"},
                            "limits": {"subscriptions_per_client": 200_000},
                            "queue": {"messages_max": 200_000}}), connect)
    yield made
    made.probe.over.set()
    for crowd in made.crowds:
        crowd.close()

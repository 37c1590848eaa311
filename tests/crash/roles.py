# SPDX-License-Identifier: Apache-2.0
"""Who takes part: publishers, subscribers of every habit, clients with wills, and one who looks at
the retained messages. Topics:

    c/<publisher>/<a|b|c|d>     a, c: QoS 1; b, d: QoS 2; on c and d a third is retained
    c/<publisher>/<e|f|g|h>     e, g: QoS 1; f, h: QoS 2; durability of e and f: memory, g and h: interval
    w/<client>                  wills; those of w3 and w5 are retained
    k/<n>                       retained once, at the beginning
"""

import asyncio
import types

from kit import PUBLISH, SUBACK, V5, V311, Will, wire

from .client import Client, Link, id_of, payload

TOPICS = {"a": (1, False), "b": (2, False), "c": (1, True), "d": (2, True),
          "e": (1, False), "f": (2, False), "g": (1, False), "h": (2, False)}
BACK_S = 0.01  # before another attempt to connect


class Role(Client):
    """Connects, stays or goes by habit, and comes back, until told to end."""

    def __init__(self, world, name, version, **options):
        super().__init__(world, name, version, **options)
        self.ending = asyncio.Event()
        self.online = asyncio.Event()

    async def back(self, clean=False):
        """Connected, however often it takes."""
        while not await self.connect(clean):
            await asyncio.sleep(BACK_S * self.draw.uniform(0.5, 1.5))
        self.online.set()

    async def gone(self):
        await self.stay()
        self.online.clear()

    async def live(self):
        while True:
            await self.back()
            await self.gone()

    async def _pause(self, seconds):
        """That long, or until told to end."""
        waiting = asyncio.ensure_future(self.ending.wait())
        try:
            await asyncio.wait({waiting}, timeout=seconds)
        finally:
            waiting.cancel()

    def end(self):
        """From now on no more habits."""
        self.ending.set()


class Publisher(Role):
    """Keeps a window of messages on the way; every message has the next number."""

    def __init__(self, world, name, version, window, rate):
        super().__init__(world, name, version)
        self.own_window, self.rate = window, rate
        self.number, self.quiet = 0, False
        self.completed_all = asyncio.Event()

    def message(self, letter, retain=None):
        self.number += 1
        qos, retained = TOPICS[letter]
        if retain is None:
            retain = retained and self.draw.random() < 0.33
        clear = retain and self.draw.random() < 0.1
        size = self.draw.choice([0, 0, 50, 200, 200, 1000]) if self.draw.random() < 0.97 else 20_000
        return types.SimpleNamespace(id=f"{self.name}/{self.number}", topic=f"c/{self.name}/{letter}",
                                     qos=qos, retain=retain, clear=clear, size=size)

    async def live(self):
        talking = asyncio.ensure_future(self._talk())
        try:
            await super().live()
        finally:
            talking.cancel()

    async def _talk(self):
        """Bursts: some messages, a pause, so that `rate` a second come out."""
        while True:
            burst = self.draw.randint(1, self.own_window)
            await asyncio.sleep(burst / self.rate * self.draw.uniform(0.5, 1.5))
            for _ in range(burst):
                if self.connected and not self.quiet and len(self.out) < min(self.own_window, self.window):
                    self.publish(self.message(self.draw.choice("abcdabcdefgh")))

    def acknowledged(self, _out):
        self._look()

    def up(self):
        self._look()

    def _look(self):
        if self.quiet and not self.out:
            self.completed_all.set()

    def hush(self):
        """No more messages. completed_all tells when everything is acknowledged."""
        self.quiet = True
        self.completed_all.clear()
        self._look()

    def last_words(self):
        """One message on every topic: what comes after everything before it. Their ids."""
        self.completed_all.clear()
        messages = [self.message(letter, retain=False) for letter in TOPICS]
        for message in messages:
            self.publish(message)
        return messages


class Keeper(Role):
    """Publishes some retained messages that stay as they are."""

    def __init__(self, world, name, version, count):
        super().__init__(world, name, version)
        self.count, self.finished = count, asyncio.Event()

    def up(self):
        for number in range(self.count):
            if self.conn == 1:
                self.publish(types.SimpleNamespace(id=f"{self.name}/{number + 1}", topic=f"k/{number}",
                                                   qos=1 + number % 2, retain=True, clear=False, size=100))

    def acknowledged(self, _out):
        if not self.out:
            self.finished.set()


class Subscriber(Role):
    """`filters` at its first connection, then habits: `away` and `present` are ranges of seconds;
    lazy: acknowledges in batches; offline: goes after its first SUBACK and comes at the end."""

    def __init__(self, world, name, version, filters, present=None, away=(0.0, 0.3), lazy=False,
                 offline=False, resets=False, receive_maximum=None):
        super().__init__(world, name, version, receive_maximum=receive_maximum)
        self.filters, self.present, self.away = filters, present, away
        self.lazy, self.offline, self.resets = lazy, offline, resets
        self.subscribed = asyncio.Event()
        self.owed, self.came, self.fresh = [], set(), True

    def up(self):
        self.owed.clear()
        if not self.connack.session_present or self.fresh:
            self.fresh = False
            self.ask("subscribe", self.filters)

    def answered(self, kind, _filters):
        if kind == "subscribe":
            self.subscribed.set()

    def delivered(self, packet, id, new):
        if new and not packet.retain:
            self.came.add(id)

    async def live(self):
        clean = False
        while not self.ending.is_set():
            await self.back(clean)
            clean = False
            habits = asyncio.ensure_future(self._habits())
            await self.gone()
            habits.cancel()
            if self.offline and self.subscribed.is_set():
                await self.ending.wait()
            elif self.present and not self.ending.is_set():
                await self._pause(self.draw.uniform(*self.away))
                clean = self.resets and self.draw.random() < 0.3 and not self.ending.is_set()
                self.fresh = self.fresh or clean
        await super().live()

    async def _habits(self):
        """What happens while connected."""
        if self.offline:
            await self.subscribed.wait()
        elif self.present:
            await self._pause(self.draw.uniform(*self.present))
        else:
            return
        if self.connected and not self.ending.is_set():
            self.disconnect() if self.draw.random() < 0.5 else self.abort()

    def answer(self, packet):
        if not self.lazy or self.ending.is_set():
            self._flush()
            super().answer(packet)
            return
        if not self.owed:
            self.world.loop.call_later(self.draw.uniform(0.0, 0.05), self._flush)
        self.owed.append(packet)

    def _flush(self):
        owed, self.owed = self.owed, []
        for packet in owed:
            super().answer(packet)


class Churner(Subscriber):
    """Subscribes and unsubscribes all the time, one packet after the other."""

    def __init__(self, world, name, version, pool):
        super().__init__(world, name, version, [pool[0]])
        self.pool, self.mine = pool, {pool[0]}

    def answered(self, kind, filters):
        super().answered(kind, filters)
        change = self.mine.update if kind == "subscribe" else self.mine.difference_update
        change({pair for pair in self.pool if pair in filters or pair[0] in filters})

    def up(self):
        if not self.connack.session_present:
            self.mine = set()
        if self.fresh:
            super().up()

    async def _habits(self):
        while not self.ending.is_set():
            await self._pause(self.draw.uniform(0.005, 0.05))
            if not self.connected or self.asking or self.ending.is_set():
                continue
            pair = self.draw.choice(self.pool)
            if pair in self.mine:
                self.ask("unsubscribe", [pair[0]])
            else:
                self.ask("subscribe", [pair])


class Willing(Role):
    """Connects with a will, goes in one of the ways there are, comes back."""

    def __init__(self, world, name, version, qos, delay=0, retain=False):
        super().__init__(world, name, version)
        self.qos, self.delay, self.retain, self.number = qos, delay, retain, 0

    def will(self):
        self.number += 1
        id, topic = f"{self.name}/{self.number}", f"w/{self.name}"
        properties = {"will_delay_interval": self.delay} if self.version == V5 else None
        return ({"id": id, "topic": topic, "qos": self.qos, "retain": self.retain, "delay": self.delay},
                Will(topic, payload(id, 40), self.qos, self.retain, properties))

    async def live(self):
        while not self.ending.is_set():
            await self.back()
            habits = asyncio.ensure_future(self._habits())
            await self.gone()
            habits.cancel()
            long = self.delay and self.draw.random() < 0.3
            await self._pause(self.draw.uniform(*((4.5, 6.0) if long else (0.0, 0.3))))

    async def _habits(self):
        await self._pause(self.draw.uniform(0.02, 0.5))
        if not self.connected:
            return
        way = self.draw.random()
        if way < 0.5:
            self.abort()
        else:
            self.disconnect(with_will=self.version == V5 and way < 0.7)


class Inspector(Client):
    """Looks at all retained messages with a session of its own that ends with the connection."""

    def __init__(self, world):
        super().__init__(world, "inspector", V5)
        self.values, self.suback, self.marker = {}, None, None

    async def look(self, quiet=False):
        """True when it could. Quiet: nothing is under way any more, so that no will is either."""
        self.values, self.suback = {}, self.world.loop.create_future()
        try:
            link = (await self.world.loop.create_connection(lambda: Link(self), *self.world.address))[1]
        except OSError:
            return False
        self.link = link
        since = self.history.now()
        link.send(wire.connect(self.world.unique("inspector"), clean_start=True),
                  wire.subscribe([("c/#", 0), ("k/#", 0), ("w/#", 0), ("i/end", 0)], id=1))
        if not await self._or_closed(self.suback):
            return False
        # Retained messages may still be on their way behind SUBACK, and behind PINGRESP: a message of
        # its own, published after them and so delivered after them, says that all are here.
        self.marker = self.world.loop.create_future()
        link.send(wire.publish("i/end", b"end", 0))
        if not await self._or_closed(self.marker):
            return False
        self.history.add("inspect", "inspector", since=since, quiet=quiet, values=dict(self.values))
        link.transport.abort()
        await link.closed
        return True

    async def _or_closed(self, future):
        await asyncio.wait({future, self.link.closed}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        return future.done() and not self.link.closed.done()

    def received(self, packet):
        if packet.type == SUBACK:
            self.suback.set_result(None)
        elif packet.type == PUBLISH and packet.topic == "i/end":
            self.marker.set_result(None)
        elif packet.type == PUBLISH and packet.retain:
            self.values[packet.topic] = id_of(packet.payload)


def latecomer(world, number):
    """Subscribes to what is retained, and comes and goes from then on."""
    return Subscriber(world, f"late{number}", (V5, V311)[number % 2], [("k/#", 1 + number // 2 % 2)],
                      present=(0.0, 0.1), away=(0.0, 0.2), lazy=number % 3 == 0, receive_maximum=4)


def cast(world, draw):
    """(publishers, subscribers, willing) of one history."""
    publishers = [Publisher(world, f"p{n}", V5 if n % 2 else V311, window=draw.choice([3, 10, 40]),
                            rate=draw.uniform(60, 200)) for n in range(4)]
    every = [("c/#", 2), ("w/#", 2)]
    pool = [(f"c/p{n}/{letter}", 2) for n in range(2) for letter in TOPICS]
    pool += [("c/+/b", 2), ("c/p3/#", 1), ("c/+/a", 1)]
    subscribers = [
        Subscriber(world, "online2", V5, every),
        Subscriber(world, "online1", V311, [("c/#", 1), ("w/+", 1)], lazy=True),
        Subscriber(world, "exact", V311, [(f"c/p0/{letter}", 2) for letter in TOPICS], present=(0.1, 0.8)),
        Subscriber(world, "comes2", V5, [("c/+/b", 2), ("c/+/d", 2), ("c/+/f", 2), ("c/p1/#", 1)], present=(0.05, 0.5),
                   lazy=True, receive_maximum=5),
        Subscriber(world, "comes1", V5, [("c/#", 1)], present=(0.2, 1.0), receive_maximum=30),
        Subscriber(world, "comes3", V311, [("+/p1/+", 2), ("+/p2/#", 2)],
                   present=(0.05, 0.3), lazy=True),
        Subscriber(world, "offline2", V5, every, offline=True),
        Subscriber(world, "offline1", V311, [("c/+/+", 1)], offline=True),
        Subscriber(world, "resets", V5, [("c/p2/#", 2), ("c/p3/b", 2)], present=(0.1, 0.5), resets=True),
        Churner(world, "churner", V5, pool),
        Subscriber(world, "member1", V5, [("$share/crew/c/+/b", 2), ("$share/crew/c/p1/#", 1)],
                   present=(0.1, 0.6), lazy=True),
        Subscriber(world, "member2", V5, [("$share/crew/c/+/b", 2), ("$share/crew/c/p1/#", 1)]),
        Subscriber(world, "member3", V5, [("$share/crew/c/+/b", 2)], present=(0.1, 0.6)),
    ]
    willing = [
        Willing(world, "w0", V5, qos=2), Willing(world, "w1", V311, qos=1),
        Willing(world, "w2", V5, qos=2, delay=1), Willing(world, "w3", V311, qos=2, retain=True),
        Willing(world, "w4", V5, qos=2, delay=1), Willing(world, "w5", V5, qos=1, retain=True),
    ]
    return publishers, subscribers, willing

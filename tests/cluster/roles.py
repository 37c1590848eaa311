# SPDX-License-Identifier: Apache-2.0
"""Who takes part. Topics:

    c/<publisher>/<q>   QoS q: for durable and clean subscribers
    g/<publisher>/<q>   QoS q: for shares
    r/<publisher>/<q>   retained, now and then cleared
    x/<publisher>       QoS 1, expires
    w/<client>          wills
"""

import asyncio
import types

from kit import PUBLISH, SUBACK, V5, V311, Will, wire

from .client import Client, Link, id_of, payload

BACK_S = 0.05    # before another attempt to connect
EXPIRY_S = 2     # of messages that expire
WILL_DELAY_S = 2
PROBES_S = (0.0, 0.5, 2.0, 4.0)  # an old connection is asked that long after a takeover
OLD_S = 7.0                      # and ended then


class Role(Client):
    """Connects somewhere, stays or goes by habit, comes back somewhere else, until told to end."""

    def __init__(self, world, name, version, present=(1.0, 5.0), away=(0.0, 0.3), takes_over=0.3, **options):
        super().__init__(world, name, version, **options)
        self.ending, self.online = asyncio.Event(), asyncio.Event()
        self.stay_s, self.away_s, self.takes_over, self.moving = present, away, takes_over, False

    async def live(self):
        while True:
            await self.back()
            habits = asyncio.ensure_future(self._habits())
            try:
                await self.gone()
            finally:
                habits.cancel()
            if not self.ending.is_set():
                await self._pause(self.draw.uniform(*self.away_s))

    async def back(self):
        """Connected, however often it takes."""
        while not await self.connect(self.world.node(self.draw)):
            await asyncio.sleep(BACK_S * self.draw.uniform(0.5, 1.5))
        self.online.set()

    async def gone(self):
        """Its last connection has ended, and no newer one is there or on its way."""
        link = None
        while self.moving or link is not self.link:
            link = self.link
            await self.stay()
            while self.moving:
                await asyncio.sleep(0.01)
        self.online.clear()

    async def _habits(self):
        """What it does while it is connected."""
        while not self.ending.is_set():
            await self._pause(self.draw.uniform(*self.stay_s))
            way = self.draw.random()
            if not self.connected or self.ending.is_set():
                return
            if way < self.takes_over:
                await self.take_over()
            else:
                return self.leave()

    def leave(self):
        self.disconnect() if self.draw.random() < 0.4 else self.abort()

    async def take_over(self):
        """Connects elsewhere while the connection is there, and asks the old one now and then whether it is
        alive. In the end it goes, if nobody ends it."""
        old, self.moving = self.link, True
        try:
            accepted = await self.connect(self.world.node(self.draw))
        finally:
            self.moving = False
        if accepted and not old.closed.done():
            for after_s in PROBES_S:
                self.world.loop.call_later(after_s, self.probe, old)
            self.world.loop.call_later(OLD_S, old.abort)

    def probe(self, old):
        if not old.closed.done():
            old.ping()

    async def _pause(self, seconds):
        """As long, or until the end is near."""
        await asyncio.wait({asyncio.ensure_future(self.ending.wait())}, timeout=seconds)

    def end(self):
        """No more coming and going."""
        self.ending.set()


class Publisher(Role):
    """Keeps a window of messages on the way; every message has the next number."""

    TOPICS = [("c", 0), ("c", 1), ("c", 2), ("g", 0), ("g", 1), ("g", 2), ("r", 1), ("r", 2), ("x", 1)]

    def __init__(self, world, name, version, rate, **options):
        super().__init__(world, name, version, **options)
        self.rate, self.number, self.hushed = rate, 0, False
        self.finished = asyncio.Event()

    def message(self, kind, qos):
        self.number += 1
        retain = kind == "r"
        return types.SimpleNamespace(
            id=f"{self.name}/{self.number}", topic=f"{kind}/{self.name}" + (f"/{qos}" if kind != "x" else ""),
            qos=qos, retain=retain, clear=retain and self.draw.random() < 0.1,
            size=self.draw.choice([0, 50, 200, 1000]) if self.draw.random() < 0.98 else 20_000,
            expiry_s=EXPIRY_S if kind == "x" and self.version == V5 else None)

    async def live(self):
        talking = asyncio.ensure_future(self._talk())
        try:
            await super().live()
        finally:
            talking.cancel()

    async def _talk(self):
        """Bursts: some messages, a pause, so that `rate` a second come out."""
        while True:
            burst = self.draw.randint(1, 8)
            await asyncio.sleep(burst / self.rate * self.draw.uniform(0.5, 1.5))
            for _ in range(burst):
                if not self.hushed and self.room():
                    self.publish(self.message(*self.draw.choice(self.TOPICS)))

    def probe(self, old):
        """Besides, an old connection must not publish any more."""
        super().probe(old)
        if not old.closed.done():
            self.publish(self.message("c", 0), link=old)

    def acknowledged(self, message):
        if message.retain and self.draw.random() < 0.1:
            self.world.look_soon(self.draw)
        self._look()

    def up(self):
        self._look()

    def _look(self):
        if self.hushed and not self.out:
            self.finished.set()

    def hush(self):
        """No more messages. `finished` tells when everything is acknowledged."""
        self.hushed = True
        self.finished.clear()
        self._look()

    def last_words(self):
        """One message on every topic but the retained ones, which have to be as they were."""
        self.finished.clear()
        for kind, qos in self.TOPICS:
            if qos and kind != "r":
                self.publish(self.message(kind, qos))


class Subscriber(Role):
    """`filters` whenever its session is new. lazy: acknowledges late."""

    def __init__(self, world, name, version, filters, lazy=False, **options):
        super().__init__(world, name, version, **options)
        self.filters, self.lazy, self.owed, self.came = filters, lazy, [], set()
        self.subscribed = asyncio.Event()

    def up(self):
        self.owed.clear()
        if not self.present:
            self.subscribed.clear()
            self.ask("subscribe", self.filters)

    def answered(self, kind, filters, codes):
        if kind == "subscribe" and max(codes) > 2:  # not now: once more
            link = self.link
            self.world.loop.call_later(0.5, lambda: link is self.link and self.connected and self.ask(kind, filters))
        elif kind == "subscribe":
            self.subscribed.set()

    def delivered(self, _packet, id, _new):
        self.came.add(id)

    def answer(self, id, packet):
        if not self.lazy or self.ending.is_set():
            self._flush()
            return super().answer(id, packet)
        if not self.owed:
            self.world.loop.call_later(self.draw.uniform(0.0, 0.1), self._flush)
        self.owed.append((self.link, id, packet))

    def _flush(self):
        owed, self.owed = self.owed, []
        for link, id, packet in owed:
            if link is self.link:
                super().answer(id, packet)


class Churner(Subscriber):
    """Subscribes and unsubscribes all the time, one packet after the other."""

    def __init__(self, world, name, version, pool, **options):
        super().__init__(world, name, version, [pool[0]], **options)
        self.pool, self.mine = pool, set()

    def up(self):
        if not self.present:
            self.mine = set()
        super().up()

    def answered(self, kind, filters, codes):
        super().answered(kind, filters, codes)
        if max(codes) < 0x80:
            change = self.mine.update if kind == "subscribe" else self.mine.difference_update
            change({pair for pair in self.pool if pair in filters or pair[0] in filters})

    async def live(self):
        churning = asyncio.ensure_future(self._churn())
        try:
            await super().live()
        finally:
            churning.cancel()

    async def _churn(self):
        while not self.ending.is_set():
            await self._pause(self.draw.uniform(0.02, 0.2))
            if self.connected and not self.asking and not self.ending.is_set():
                pair = self.draw.choice(self.pool)
                self.ask("unsubscribe", [pair[0]]) if pair in self.mine else self.ask("subscribe", [pair])


class Willing(Role):
    """Connects with a will, goes in one of the ways there are, comes back."""

    def __init__(self, world, name, version, qos=2, delay_s=0, present=(0.1, 1.5), **options):
        super().__init__(world, name, version, present=present, **options)
        self.qos, self.delay_s, self.number = qos, delay_s, 0

    def will(self):
        self.number += 1
        id, topic = f"{self.name}/{self.number}", f"w/{self.name}"
        properties = {"will_delay_interval": self.delay_s} if self.version == V5 else None
        return ({"id": id, "topic": topic, "qos": self.qos, "retain": False, "delay_s": self.delay_s},
                Will(topic, payload(id, 40), self.qos, False, properties))

    def leave(self):
        way = self.draw.random()
        self.abort() if way < 0.5 else self.disconnect(with_will=self.version == V5 and way < 0.7)


class Eye(Client):
    """Looks at all that is retained on one node, with a session that ends with the connection."""

    def __init__(self, world, number):
        super().__init__(world, f"eye{number}", V5, expiry_s=0)
        self.values, self.suback, self.marker = {}, world.loop.create_future(), world.loop.create_future()

    async def look(self, node):
        """True when it could."""
        op = self.history.op()
        self.note("look", op=op, node=node)
        try:
            connection = await self.world.dial(node)
        except OSError:
            return False
        self.link = Link(self, 0, node)
        await self.world.loop.create_connection(lambda: self.link, sock=connection)
        mark = f"i/{self.name}"
        self.link.send(wire.connect(self.name, clean_start=True), wire.subscribe([("r/#", 0), (mark, 0)], id=1))
        # Retained messages may still be on their way behind SUBACK, and behind PINGRESP: a message of
        # its own, published after them and so delivered after them, says that all are here.
        done = await self._or_closed(self.suback)
        if done:
            self.link.send(wire.publish(mark, b"end", 0))
            done = await self._or_closed(self.marker)
        if done:
            self.note("seen", op=op, values=dict(self.values))
        self.link.abort()
        await self.link.closed
        return done

    def note(self, kind, **fields):
        if kind != "closed":  # its connection is no part of the history
            super().note(kind, **fields)

    async def _or_closed(self, future):
        await asyncio.wait({future, self.link.closed}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        return future.done() and future.result() and not self.link.closed.done()

    def received(self, _link, packet):
        if packet.type == SUBACK:
            self.suback.set_result(max(packet.codes) <= 2)
        elif packet.type == PUBLISH and packet.topic.startswith("i/"):
            self.marker.set_result(True)
        elif packet.type == PUBLISH and packet.retain:
            self.values[packet.topic] = id_of(packet.payload)


def cast(world, draw, rate, hops):
    """(publishers, subscribers, willing). `hops`: so many clean clients take their connections over."""
    every = [("c/#", 2), ("w/#", 2), ("r/#", 2)]
    pool = [(f"c/p{n}/{q}", 2) for n in range(2) for q in range(3)] + [("c/+/1", 1), ("c/p0/#", 2)]
    crew, team = [("$share/crew/g/#", 2)], [("$share/team/g/#", 1)]
    publishers = [Publisher(world, f"p{n}", V5 if n % 2 == 0 else V311, rate * draw.uniform(0.5, 1.5))
                  for n in range(3)]
    publishers.append(Publisher(world, "p3", V5, rate, expiry_s=0, takes_over=0.0))
    subscribers = [
        Subscriber(world, "stays", V5, every, present=(1e6, 1e6)),
        Subscriber(world, "moves", V5, every, lazy=True),
        Subscriber(world, "old", V311, [("c/#", 1), ("w/+", 1)]),
        Subscriber(world, "jumps", V5, [("c/+/2", 2), ("c/p1/#", 2)], present=(0.05, 0.5), takes_over=0.8),
        Subscriber(world, "few", V5, [("c/+/2", 2), ("r/#", 1)], receive_maximum=5, lazy=True),
        Subscriber(world, "away", V5, [("c/#", 2), ("x/#", 1)], present=(0.1, 0.5), away=(4.0, 7.0)),
        Subscriber(world, "expires", V5, [("c/#", 2)], expiry_s=3, present=(0.1, 0.5), away=(0.0, 8.0)),
        Subscriber(world, "clean", V5, [("c/#", 1)], expiry_s=0, present=(6.0, 12.0), takes_over=0.0),
        Subscriber(world, "clean2", V311, [("c/#", 2), ("r/#", 2)], expiry_s=0, present=(1e6, 1e6)),
        *[Subscriber(world, f"hops{n}", V5, [(f"c/p{n % 3}/2", 1)], expiry_s=0, present=(2.0, 6.0), takes_over=0.9)
          for n in range(hops)],
        Churner(world, "churns", V5, pool), Churner(world, "churns2", V311, pool[::-1]),
        *[Subscriber(world, f"crew{n}", V5, crew, lazy=n == 0) for n in range(3)],
        Subscriber(world, "crew3", V5, crew, expiry_s=0, takes_over=0.0),
        *[Subscriber(world, f"team{n}", V311, team, present=(0.5, 2.0)) for n in range(2)],
    ]
    willing = [Willing(world, "w0", V5), Willing(world, "w1", V311), Willing(world, "w2", V5, delay_s=WILL_DELAY_S),
               Willing(world, "w3", V5, expiry_s=0, takes_over=0.0), Willing(world, "w4", V5, qos=1),
               Willing(world, "w5", V5, expiry_s=0, present=(8.0, 14.0), takes_over=0.5)]
    return publishers, subscribers, willing

# SPDX-License-Identifier: Apache-2.0
"""One history: a cast of clients on one broker that is killed again and again, then drained.

Everything runs in one thread, so the history has one order. All draws come from the seed; what the
clock decides (where exactly a kill strikes) is not repeatable, which is why the history is kept.
"""

import asyncio
import collections
import pathlib
import random
import shutil
import tempfile

from kit import V5

from . import checker
from .broker import Skein
from .history import History
from .roles import Inspector, Keeper, cast, latecomer

FAULT_PATIENCE_S = 4.0   # a fault point that is not passed by then is not reached
STOP_PATIENCE_S = 20.0      # as long may a stop take
SETTLE_PATIENCE_S = 30.0  # without any progress, draining has failed


class Kill:
    """How and when the broker dies next. sort: kill, power, term (SIGTERM), the name of a fault point,
    or calm (not at all); within: power only, a fault point at which the process dies before the power goes."""

    def __init__(self, sort, draw, points=()):
        self.sort, self.fault = sort, None
        self.after_s = draw.choice([draw.uniform(0.0, 0.05), draw.uniform(0.02, 0.3),
                                    draw.uniform(0.1, 0.8)])
        point = sort if sort in points else None
        if sort == "power" and points and draw.random() < 0.4:
            point = draw.choice([p for p in points if p not in ("store.close", "store.checkpoint")])
        if point:
            once = point in ("store.open", "store.loaded", "store.close", "store.checkpoint")
            self.fault = f"{point}:{1 if once else draw.choice([1, 2, 3, draw.randint(4, 60)])}"

    def __repr__(self):
        return self.sort + (f" at {self.fault}" if self.fault else "")


class World:
    """What clients share: the broker's address, the history, the draws."""

    def __init__(self, seed, broker, history):
        self.seed, self.broker, self.history = seed, broker, history
        self.loop = asyncio.get_running_loop()
        self.address = ("127.0.0.1", broker.port)
        self._numbers = {}

    def random(self, name):
        return random.Random(f"{self.seed}/{name}")

    def unique(self, prefix):
        self._numbers[prefix] = self._numbers.get(prefix, 0) + 1
        return f"{prefix}{self._numbers[prefix]}"


class Play:
    """`kills`: the Kill of each time; `disk`: a Disk below the data directory for power cuts."""

    def __init__(self, seed, kills, broker, disk=None):
        self.seed, self.kills, self.broker, self.disk = seed, kills, broker, disk
        self.history, self.draw = broker.history, random.Random(f"{seed}/play")
        self.done = {}       # sort: how often it struck
        self.not_reached = 0

    # ---- the broker's lives ----

    async def _wait(self, condition, seconds, step=0.002):
        """True as soon as the condition holds, False when it did not in that time."""
        deadline = self.world.loop.time() + seconds
        while not condition():
            if self.world.loop.time() > deadline:
                return False
            await asyncio.sleep(step)
        return True

    async def _stop(self):
        """SIGTERM, while the clients go on."""
        if self.broker.ended():
            self.broker.note_end()
            return
        self.broker.terminate()
        await self._wait(self.broker.ended, STOP_PATIENCE_S)
        self.broker.judge_stop()

    async def _end_life(self, kill):
        """Lets the broker that runs now die."""
        if kill.fault is None:
            await asyncio.sleep(kill.after_s)
        else:
            await self._reach(kill)
        struck = kill.fault is None or self.broker.ended()
        if kill.sort == "term":
            await self._stop()
        elif self.broker.ended():
            self.broker.note_end()
        else:
            self.broker.kill(kill.sort)
        if kill.sort == "power":
            self.history.add("broker", what="cut", sort=self.disk.cut(self.draw), code=None)
        if struck or kill.sort == "power":
            self.done[kill.sort] = self.done.get(kill.sort, 0) + 1
        else:
            self.not_reached += 1

    async def _reach(self, kill):
        """Until the broker is dead at its fault point, or will not get there."""
        if kill.fault.startswith("store.close"):
            await asyncio.sleep(kill.after_s)
            self.broker.terminate()
        if kill.fault.startswith("store.checkpoint"):
            await asyncio.sleep(kill.after_s)
            await self._back_up()
        await self._wait(self.broker.ended, FAULT_PATIENCE_S)

    async def _back_up(self):
        """Once somebody is served: before that, the command would open the store itself."""
        await self._wait(self._stands, 10)
        command = self.broker.backup_command(f"backup{self.history.now()}")
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
        await process.wait()

    # ---- the play ----

    async def run(self):
        self.world = World(self.seed, self.broker, self.history)
        self.publishers, self.subscribers, self.willing = cast(self.world, self.draw)
        self.inspector = Inspector(self.world)
        self.keeper = Keeper(self.world, "keeper", V5, 12)
        self.broker.start()
        tasks = [asyncio.ensure_future(self.keeper.live())]
        await self._all([self.keeper.finished], "acknowledgement of what is retained")
        tasks += [asyncio.ensure_future(role.live()) for role in self.subscribers]
        try:
            await self._all([role.subscribed for role in self.subscribers], "SUBACK")
            tasks += [asyncio.ensure_future(r.live()) for r in [*self.publishers, *self.willing]]
            for number, kill in enumerate(self.kills):
                late = latecomer(self.world, number)
                self.subscribers.append(late)
                tasks.append(asyncio.ensure_future(late.live()))
                await self._life(kill)
            await self._drain()
            if not all(kill.sort == "calm" for kill in self.kills):
                await self._again()
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            await self._stop()
            self.history.add("end")
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    async def _life(self, kill):
        """The broker that runs dies, and the next one starts: the fault is in its environment, so a
        fault is given to a broker of its own."""
        if kill.fault:
            if self.draw.random() < 0.2:
                await self._stop()
            else:
                self.broker.kill("before " + kill.sort)
            self.broker.start(kill.fault)
        if kill.sort == "calm":
            await self.inspector.look()
            await asyncio.sleep(kill.after_s)
            self.done["calm"] = self.done.get("calm", 0) + 1
            return
        looking = asyncio.ensure_future(self.inspector.look())
        await self._end_life(kill)
        await asyncio.wait({looking}, timeout=1)
        looking.cancel()
        self.broker.start()
        if self.draw.random() < 0.7:
            await self._wait(self._stands, 10)
        self._alive()

    def _stands(self):
        return self.broker.ended() or any(role.connected for role in self.subscribers)

    def _alive(self):
        if self.broker.ended():  # start-up failed: said, and tried once more
            self.broker.note_end()
            self.broker.start()

    async def _all(self, events, what):
        for event in events:
            waiting = asyncio.ensure_future(event.wait())
            if not await self._wait(lambda: waiting.done() or self.broker.ended(), SETTLE_PATIENCE_S):
                self.history.add("trouble", what=f"no {what} within {SETTLE_PATIENCE_S:.0f} s")
            waiting.cancel()
        if self.broker.ended():
            self._alive()

    # ---- the end: nothing more is killed, everything has to arrive ----

    async def _drain(self):
        await self._all([p.online for p in self.publishers], "CONNACK for a publisher")
        for role in [*self.publishers, *self.subscribers, *self.willing]:
            role.end()
        for publisher in self.publishers:
            publisher.hush()
        await self._all([p.completed_all for p in self.publishers], "acknowledgement")
        await self._all([s.online for s in self.subscribers], "CONNACK for a subscriber")
        await self._speak_last()
        await self._shares()
        await self._wills()
        await self.inspector.look(quiet=True)

    async def _speak_last(self):
        """A last message on each topic. Who has got it has got all that stood before it: so no
        waiting for what does not come when all is well."""
        last = [message for publisher in self.publishers for message in publisher.last_words()]
        await self._all([p.completed_all for p in self.publishers], "acknowledgement of last messages")
        missing = {s: {m.id for m in last if self._wants(s, m.topic)} for s in self.subscribers}
        count = -1
        while any(missing[s] - s.came for s in missing) and count != self.history.now():
            count = self.history.now()
            await self._wait(lambda: not any(missing[s] - s.came for s in missing), 3.0)

    async def _shares(self):
        """Who of a share has not got it yet may still get it: order is not promised there."""
        deadline = self.world.loop.time() + 3.0
        while checker.missing_of_shares(self.history.events) and self.world.loop.time() < deadline:
            await asyncio.sleep(0.05)

    @staticmethod
    def _wants(subscriber, topic):
        filters = getattr(subscriber, "mine", None)
        if filters is None:
            filters = subscriber.filters
        return any(checker.matches(filter, topic) for filter, _ in filters if filter[0] != "$")

    async def _wills(self):
        """Delayed wills of clients that stay away. Those without delay must have come by now."""
        due = [role for role in self.willing if role.delay]
        seconds = max((role.delay for role in due), default=0) + checker.WILL_SLACK_S + 0.2
        watchers = [s for s in self.subscribers if self._wants(s, "w/w2")]
        waits = {r: f"{r.name}/{r.number}" for r in self.willing if r.leaving != "disconnect"}
        enough = lambda: all(id in w.came for id in waits.values() for w in watchers)  # noqa: E731
        await self._wait(enough, seconds)

    async def _again(self):
        """A last restart in peace: nothing that was done may come again."""
        await self._stop()
        self.broker.start()
        await self._all([role.online for role in self.subscribers], "CONNACK after the last restart")
        await self._wait(lambda: all(r.connected for r in [*self.subscribers, *self.publishers]), 10)
        await self._speak_last()
        await self.inspector.look(quiet=True)


class Result:
    def __init__(self, play, violations, folder):
        self.violations, self.folder, self.done = violations, folder, play.done
        self.not_reached, self.seed = play.not_reached, play.seed
        kinds = [event.kind for event in play.history.events]
        self.messages = len({e.id for e in play.history.events if e.kind == "publish"})
        self.deliveries, self.inspections = kinds.count("deliver"), kinds.count("inspect")
        self.wills = sum(1 for e in play.history.events if e.kind == "connect" and e.will)

    def forget(self):
        """Removes what was kept for people."""
        shutil.rmtree(self.folder, ignore_errors=True)


def few_of_each(violations, count):
    """The first ones of each kind."""
    seen = collections.Counter()
    for violation in violations:
        seen[violation.kind] += 1
        if seen[violation.kind] <= count:
            yield violation


def write_violations(path, events, violations):
    with open(path, "w", encoding="utf-8") as out:
        kinds = collections.Counter(violation.kind for violation in violations)
        out.write("".join(f"{kind}: {count}\n" for kind, count in kinds.items()) + "\n")
        for violation in few_of_each(violations, 6):
            lines = checker.explain(events, violation)
            out.write(f"{violation}\n" + "".join(f"    {line}\n" for line in lines) + "\n")


def play(seed, sorts, points=(), make=Skein, disk=None, config=None, environment=None, keep=None):
    """Plays one history with a kill of each of `sorts` in turn. A folder with history, log and data is
    kept when there are violations, or when `keep` is True; else it is removed."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-crash-"))
    draw = random.Random(f"{seed}/kills")
    history = History()
    data = disk.mount if disk else folder
    broker = make(folder, data / "data", history, config, environment)
    piece = Play(seed, [Kill(sort, draw, points) for sort in sorts], broker, disk)
    try:
        asyncio.run(piece.run())
    finally:
        if broker.process and not broker.ended():
            broker.process.kill()
            broker.process.wait()
        history.save(folder / "history.jsonl")
    violations = checker.check(history.events)
    if violations:
        write_violations(folder / "violations.txt", history.events, violations)
    elif not keep:
        shutil.rmtree(folder)
    return Result(piece, violations, folder)

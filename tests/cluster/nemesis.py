#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, when, and where: drawn from a seed, then done to a cluster.

    tests/cluster/nemesis.py SEED [--seconds N] [--nodes N] [--only KIND ...]     prints what a seed does
    tests/cluster/nemesis.py --list                                               every kind of fault

A schedule is known before anything starts. Each step is written into the history before its fault begins and
after it is over: when what was killed serves again, or the network is as it was.
"""

import argparse
import asyncio
import concurrent.futures
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from cluster.node import ENGINE, LINK  # noqa: E402

READY_S = 60.0    # as long may a node take to serve again
CALM_S = 1.0      # before the first fault
QUIET_S = 60.0    # the same to read what was acknowledged


class Kind:
    """`needs`: engine, disk, spare (a machine without a node). `seconds`: how long it lasts, from and to.
    `soft`: another one may go on meanwhile, since it takes no node from the others."""

    def __init__(self, name, what, seconds, needs=(), soft=False, weight=2):
        self.name, self.what, self.seconds, self.needs, self.soft = name, what, seconds, needs, soft
        self.weight = weight


KINDS = {kind.name: kind for kind in [
    Kind("broker.kill", "SIGKILL to a broker; it starts again", (0.0, 4.0), weight=6),
    Kind("broker.stop", "SIGSTOP of a broker, on both sides of a lease, then SIGCONT", (0.3, 6.0), weight=4),
    Kind("broker.stop.all", "SIGSTOP of all brokers at once, across a lease", (2.0, 5.0)),
    Kind("broker.starve", "a broker that gets time now and then only: SIGSTOP and SIGCONT in turn", (1.0, 8.0), weight=3),
    Kind("broker.term", "an orderly stop; it starts again", (0.0, 3.0)),
    Kind("engine.kill", "SIGKILL to an engine; whoever supervises it starts it again", (2.0, 6.0), ("engine",),
         weight=4),
    Kind("engine.stop", "SIGSTOP of an engine, then SIGCONT", (0.5, 8.0), ("engine",)),
    Kind("power.one", "a machine goes dark, with all on it and without a word", (1.0, 8.0), weight=4),
    Kind("power.all", "all machines at once; they boot in any order, at once or apart", (0.5, 3.0)),
    Kind("cut.one", "one node is cut off from all others", (1.0, 12.0), weight=4),
    Kind("cut.all", "no node reaches another", (1.0, 8.0)),
    Kind("cut.pair", "two nodes lose each other only", (1.0, 10.0), weight=3),
    Kind("cut.deaf", "one way: a node hears none of the others, and they hear it", (1.0, 10.0)),
    Kind("cut.unheard", "one way: nobody hears a node, and it hears them", (1.0, 10.0)),
    Kind("cut.links", "two nodes lose each other's links, not each other's engines", (1.0, 10.0)),
    Kind("link.slow", "a node's network at a few hundred kbit/s", (2.0, 10.0), soft=True),
    Kind("link.loss", "a share of the packets between two nodes is lost", (2.0, 10.0), soft=True),
    Kind("link.late", "connections between two nodes are late, each otherwise, so they overtake each other",
         (2.0, 10.0), soft=True),
    Kind("disk.full", "nothing more fits on a node's disk", (1.0, 6.0), ("disk",)),
    Kind("answers.lost", "an engine's answers to its broker are lost, and then their connection",
         (0.1, 1.5), ("engine",), weight=3),
    Kind("store.wipe", "an emptied node comes back under its name while another's engine is behind", (1.0, 4.0),
         ("engine",), weight=1),
    Kind("store.back", "an engine comes back with an earlier copy of its store", (2.0, 5.0), ("engine",), weight=1),
    Kind("store.majority", "all dark; two come back empty, and first", (1.0, 3.0), ("engine",), weight=1),
    Kind("node.add", "one more node joins", (2.0, 4.0), ("spare",), weight=1),
    Kind("node.remove", "a node that was added leaves, orderly", (1.0, 2.0), ("spare",), weight=1),
]}


class Step:
    def __init__(self, kind, at_s, for_s, targets, **options):
        self.kind, self.at_s, self.for_s, self.targets, self.options = kind, at_s, for_s, targets, options

    def __repr__(self):
        options = "".join(f" {key}={value}" for key, value in self.options.items())
        return (f"{self.at_s:7.1f} s  {self.kind:16} {' '.join(self.targets):14} for {self.for_s:4.1f} s{options}")


def _targets(kind, draw, nodes):
    """In the order in which they matter."""
    mixed = draw.sample(nodes, len(nodes))
    if kind.startswith("node."):
        return []
    if kind in ("cut.pair", "cut.links", "link.loss", "link.late", "store.wipe"):
        return mixed[:3] if kind == "store.wipe" else mixed[:2]
    return mixed if kind.endswith(".all") or kind == "store.majority" else mixed[:1]


def _options(kind, draw):
    if kind == "link.slow":
        return {"kbit": draw.choice([300, 1000, 3000])}
    if kind == "link.loss":
        return {"share": draw.choice([0.01, 0.1, 0.3])}
    if kind == "broker.starve":
        return {"stands_s": draw.choice([0.1, 0.4, 1.1, 1.8]), "runs_s": draw.choice([0.01, 0.05, 0.3])}
    if kind == "power.all":
        return {"apart_s": round(draw.choice([0.0, 0.0, draw.uniform(0.5, 4.0)]), 1)}
    if kind == "link.late":
        return {"ms": draw.choice([20, 100, 400])}
    return {}


def schedule(seed, nodes, seconds, kinds=None):
    """The Steps of a seed: their beginnings lie in `seconds`, and no two overlap unless one is soft and the other
    is of another kind."""
    draw, nodes = random.Random(f"{seed}/nemesis"), sorted(nodes)
    choice = [KINDS[name] for name in sorted(kinds or KINDS)]
    steps, at, spare, lasts = [], CALM_S, False, {}
    while True:
        at += draw.uniform(0.2, 6.0)
        kind = draw.choices(choice, [kind.weight for kind in choice])[0]
        if at > seconds:
            return steps
        if at < lasts.get(kind.name, 0.0):
            continue
        if kind.name.startswith("node."):  # they take turns
            kind, spare = KINDS["node.remove" if spare else "node.add"], not spare
            if kind.name not in {each.name for each in choice}:
                continue
        length = draw.uniform(*kind.seconds)
        steps.append(Step(kind.name, at, length, _targets(kind.name, draw, nodes), **_options(kind.name, draw)))
        lasts[kind.name] = at + length + 1.0
        at += 0.0 if kind.soft else length


def possible(cluster):
    """The kinds that can be done to it."""
    has = {"engine": all(node.engine() for node in cluster), "disk": all(node.disk_mb for node in cluster),
           "spare": bool(cluster.spare)}
    return {name for name, kind in KINDS.items() if all(has[need] for need in kind.needs)}


class Nemesis:
    """Does a schedule to a Cluster. Faults are done and undone by one thread, in their order."""

    def __init__(self, cluster, history, seed):
        self.cluster, self.lab, self.history, self.seed = cluster, cluster.lab, history, seed
        self.relays, self.added = {}, []

    def prepare(self, steps):
        """Before the nodes meet: connections that shall be late some time go through a relay from the first."""
        for step in steps:
            if step.kind == "link.late":
                for pair in (tuple(step.targets), tuple(reversed(step.targets))):
                    if pair not in self.relays:
                        self.relays[pair] = [self.lab.relay(*pair, LINK)]

    async def run(self, steps):
        with concurrent.futures.ThreadPoolExecutor(1) as self.hands:
            began, running = asyncio.get_running_loop().time(), []
            for step in steps:
                await asyncio.sleep(max(0.0, began + step.at_s - asyncio.get_running_loop().time()))
                if KINDS[step.kind].soft:
                    running.append(asyncio.ensure_future(self._do(step)))
                else:
                    await self._do(step)
            await asyncio.gather(*running)

    async def _do(self, step):
        number = self.history.op()
        self.history.add("fault", fault=number, what=repr(step).strip(), targets=step.targets,
                         minority=self._minority(step), all_down=step.kind == "power.all")
        await getattr(self, "_" + step.kind.replace(".", "_"))(step)
        self.history.add("over", fault=number)

    def _minority(self, step):
        """Who is certainly without the engine's quorum until it is over."""
        if step.kind == "cut.all" or step.kind == "cut.one" and len(self.cluster.nodes) > 2:
            return step.targets
        return []

    # ---- tools ----

    async def _hand(self, function, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self.hands, function, *arguments)

    async def _until(self, condition, what, seconds=READY_S):
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            while not await self._hand(condition):
                assert loop.time() < deadline, f"not within {seconds:.0f} s"
                await asyncio.sleep(0.02)
        except AssertionError as error:
            self.history.add("trouble", what=f"{what}: {error}")

    async def _back(self, *nodes):
        """They run again, and serve."""
        for node in nodes:
            await self._hand(node.start)
        for node in nodes:
            await self._until(node.ready, f"{node.name} is ready")

    async def _whole(self, *nodes):
        """They serve, and have what was lost with a disk: the next one that is lost may be the last of all."""
        for node in nodes:
            await self._until(node.ready, f"{node.name} is ready")
        for node in nodes:
            await self._until(node.has_all, f"{node.name} has all")

    async def _quiet(self, *nodes):
        """Nobody publishes any more, and all of them have what was acknowledged: what one node alone has not read
        yet is lost with the others' disks, and no broker could do anything about it."""
        cut = await self._hand(self.lab.together, lambda: [self.lab.cut(self.lab.CLIENTS, node.name)
                                                           for node in nodes], "clients")
        for node in nodes:
            await self._until(node.has_all, f"{node.name} has all", QUIET_S)
        return cut

    async def _lasts(self, step):
        """Everything that it does has begun."""
        await asyncio.sleep(step.for_s)

    async def _while(self, step, *faults):
        """These faults, for as long as the step lasts."""
        made = await self._hand(self.lab.together, lambda: [fault() for fault in faults], step.kind)
        await self._lasts(step)
        await self._hand(made.undo)

    def _nodes(self, step):
        return [self.cluster[name] for name in step.targets]

    def _others(self, name):
        return [node.name for node in self.cluster if node.name != name]

    # ---- brokers, engines, machines ----

    async def _broker_kill(self, step):
        node, = self._nodes(step)
        await self._hand(node.kill)
        await self._lasts(step)
        await self._back(node)

    async def _broker_stop(self, step):
        for node in self._nodes(step):
            await self._hand(node.freeze)
        await self._lasts(step)
        for node in self._nodes(step):
            await self._hand(node.thaw)

    _broker_stop_all = _broker_stop

    async def _broker_starve(self, step):
        node, = self._nodes(step)
        over = asyncio.ensure_future(self._lasts(step))
        while not over.done():
            await self._hand(node.freeze)
            await asyncio.wait([over], timeout=step.options["stands_s"])
            await self._hand(node.thaw)
            await asyncio.wait([over], timeout=step.options["runs_s"])
        await over

    async def _broker_term(self, step):
        node, = self._nodes(step)
        await self._hand(node.terminate)
        await self._until(node.ended, f"{node.name} has ended after SIGTERM")
        await self._lasts(step)
        await self._back(node)

    async def _engine_kill(self, step):
        node, = self._nodes(step)
        await self._until(node.engine, f"the engine of {node.name} runs")
        await self._hand(node.kill_engine)
        await self._lasts(step)
        await self._until(node.engine, f"the engine of {node.name} runs again")

    async def _engine_stop(self, step):
        node, = self._nodes(step)
        await self._until(node.engine, f"the engine of {node.name} runs")
        await self._hand(node.freeze_engine)
        await self._lasts(step)
        await self._hand(node.thaw_engine)

    async def _power_one(self, step):
        nodes = self._nodes(step)
        for node in nodes:
            await self._hand(node.cut_power)
        await self._lasts(step)
        for node in nodes:
            await self._hand(node.machine.boot)
            await self._hand(node.start)
            await asyncio.sleep(step.options.get("apart_s", 0.0))
        for node in nodes:
            await self._until(node.ready, f"{node.name} is ready")

    _power_all = _power_one

    # ---- networks ----

    async def _cut_one(self, step):
        await self._while(step, lambda: self.lab.part(step.targets))

    async def _cut_all(self, step):
        pairs = [(a, b) for a in step.targets for b in step.targets if a < b]
        await self._while(step, *[lambda pair=pair: self.lab.cut(*pair) for pair in pairs])

    async def _cut_pair(self, step):
        await self._while(step, lambda: self.lab.cut(*step.targets))

    async def _cut_links(self, step):
        await self._while(step, lambda: self.lab.cut(*step.targets, port=LINK))

    async def _cut_deaf(self, step):
        name, = step.targets
        await self._while(step, *[lambda other=other: self.lab.cut_one_way(other, name)
                                  for other in self._others(name)])

    async def _cut_unheard(self, step):
        name, = step.targets
        await self._while(step, *[lambda other=other: self.lab.cut_one_way(name, other)
                                  for other in self._others(name)])

    async def _link_slow(self, step):
        name, = step.targets
        await self._while(step, lambda: self.lab.slow(name, step.options["kbit"]))

    async def _link_loss(self, step):
        one, other = step.targets
        share = step.options["share"]
        await self._while(step, lambda: self.lab.lose(one, other, share), lambda: self.lab.lose(other, one, share))

    async def _link_late(self, step):
        relays = [relay for pair in (tuple(step.targets), tuple(reversed(step.targets))) for relay in self.relays[pair]]
        for relay in relays:
            await self._hand(relay.delay, 0, step.options["ms"])
        await self._lasts(step)
        for relay in relays:
            await self._hand(relay.delay, 0, 0)

    # ---- disks, stores ----

    async def _disk_full(self, step):
        node, = self._nodes(step)
        await self._while(step, node.fill_disk)

    async def _answers_lost(self, step):
        name, = step.targets
        mute = await self._hand(self.lab.mute, name, ENGINE)
        await self._lasts(step)
        await self._hand(self.lab.break_connections, name, ENGINE)
        await self._hand(mute.undo)

    async def _store_wipe(self, step):
        """The first is emptied, the second was stopped for a while and is behind, the third, which has it all,
        goes dark when the others come back."""
        emptied, behind, whole = self._nodes(step)
        await self._whole(emptied, behind, whole)  # or engines that begin anew would wait for `behind`
        await self._hand(behind.cut_power)
        await self._lasts(step)
        cut = await self._quiet(emptied, whole)
        await self._hand(emptied.cut_power)
        await self._hand(emptied.wipe)
        await self._hand(whole.cut_power)
        await self._hand(cut.undo)
        for node in (emptied, behind):
            await self._hand(node.machine.boot)
            await self._hand(node.start)
        await self._lasts(step)
        await self._hand(whole.machine.boot)
        await self._hand(whole.start)
        await self._whole(emptied, behind, whole)

    async def _store_back(self, step):
        node, = self._nodes(step)
        await self._hand(node.copy_engine_store)
        await self._lasts(step)
        await self._hand(node.cut_power)
        await self._hand(node.roll_back_engine_store)
        await self._hand(node.machine.boot)
        await self._back(node)

    async def _store_majority(self, step):
        first, second, whole = self._nodes(step)
        cut = await self._quiet(first, second, whole)
        for node in (first, second, whole):
            await self._hand(node.cut_power)
        await self._hand(cut.undo)
        for node in (first, second):
            await self._hand(node.wipe)
            await self._hand(node.machine.boot)
            await self._hand(node.start)
        await self._lasts(step)
        await self._hand(whole.machine.boot)
        await self._hand(whole.start)
        await self._whole(first, second, whole)

    # ---- members ----

    async def _node_add(self, step):
        node = await self._hand(self.cluster.add, self.cluster.spare[0])
        self.added.append(node)
        await self._back(node)
        await self._lasts(step)

    async def _node_remove(self, step):
        node = self.added.pop()
        await self._hand(node.terminate)
        await self._until(node.ended, f"{node.name} has left")
        others = [each for each in self.cluster if each is not node]
        await self._until(lambda: any(each.gives_up_on(node.name) for each in others), f"{node.name} is forgotten")
        await self._hand(self.cluster.drop, node.name)
        await self._lasts(step)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seed", nargs="?")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=sorted(KINDS), metavar="KIND")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list or options.seed is None:
        for kind in KINDS.values():
            needs = f" (needs: {', '.join(kind.needs)})" if kind.needs else ""
            print(f"{kind.name:16} {kind.what}; {kind.seconds[0]:g} to {kind.seconds[1]:g} s{needs}")
        return 0
    nodes = [f"n{number}" for number in range(1, options.nodes + 1)]
    for step in schedule(options.seed, nodes, options.seconds, options.only):
        print(step)
    return 0


if __name__ == "__main__":
    sys.exit(main())

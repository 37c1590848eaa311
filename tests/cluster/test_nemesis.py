# SPDX-License-Identifier: Apache-2.0
"""A schedule is the seed's own; every kind of fault is done, seen while it lasts, and undone. Nodes are programs
that stand for a broker and its engine."""

import asyncio
import contextlib
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

import pytest

from kit import patience

from . import lab as labs
from . import nemesis
from .history import History
from .lab import Lab
from .nemesis import KINDS, Nemesis, Step, possible, schedule
from .node import ENGINE, ENGINE_STORE, LINK, Cluster, Node
from .test_lab import Ear, boot_id

NODES = ["n1", "n2", "n3"]
LASTS_S = 0.2
ANSWERS = """
import socket, sys
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
held = []
while True:
    held.append(listener.accept())
"""


# ---- schedules ----


def test_a_seed_has_one_schedule_and_another_seed_another():
    steps = [list(map(repr, schedule(seed, NODES, 300))) for seed in ("a", "a", "b")]
    assert steps[0] == steps[1] != steps[2] and len(steps[0]) > 20


def test_in_some_seeds_every_kind_has_its_turn():
    drawn = {step.kind for seed in range(60) for step in schedule(seed, NODES, 120)}
    assert drawn == set(KINDS)


def test_only_soft_faults_overlap_others_and_none_its_own_kind():
    for seed in range(60):
        steps = schedule(seed, NODES, 200)
        hard = [step for step in steps if not KINDS[step.kind].soft]
        same = [[step for step in steps if step.kind == kind] for kind in KINDS]
        for line in [hard, *same]:
            for one, other in zip(line, line[1:]):
                assert one.at_s + one.for_s <= other.at_s
        assert all(0 < step.at_s <= 200 for step in steps)


def test_only_kinds_that_are_wanted_are_drawn():
    assert {step.kind for step in schedule(1, NODES, 300, {"cut.one", "node.remove"})} == {"cut.one", "node.remove"}


def test_a_schedule_can_be_read_without_a_cluster():
    done = subprocess.run([sys.executable, nemesis.__file__, "7", "--seconds", "100"], text=True, capture_output=True,
                          timeout=60)
    assert done.stdout.splitlines() == list(map(repr, schedule("7", NODES, 100)))
    listed = subprocess.run([sys.executable, nemesis.__file__, "--list"], text=True, capture_output=True, timeout=60)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(KINDS)


# ---- faults ----


class StandIn(Node):
    """A program that says that it serves, and one called nats-server that is started again when it dies."""

    def gives_up_on(self, _name):
        return True

    def has_all(self):
        return True

    def command(self):
        engine = self.folder / "nats-server"
        if not engine.exists():
            shutil.copy("/bin/sleep", engine)
        (self.data / ENGINE_STORE).mkdir(parents=True, exist_ok=True)
        supervise = f"(while sleep 0.1; do {engine} 1000; done) & " if not self.engine() else ""
        return ["sh", "-c", f"{supervise} echo broker.started; exec sleep 1000"]


@pytest.fixture
def cluster(tmp_path):
    with Lab([*NODES, "n4"]) as lab:
        made = Cluster(lab, tmp_path, NODES, make=StandIn, disk_mb=1)
        for node in made:
            node.start()
        for node in made:
            made.wait(lambda node=node: node.ready() and node.engine(), f"{node.name} is ready")
        yield made
        made.close()


class Watched(Nemesis):
    """Looks once while a fault lasts."""

    async def _lasts(self, step):
        look, self.look = self.look, None
        if look:
            self.seen = await asyncio.get_running_loop().run_in_executor(None, look)
        await super()._lasts(step)


class Stage:
    """One step, and what is seen in the middle of it."""

    def __init__(self, cluster):
        self.cluster, self.lab, self.history = cluster, cluster.lab, History()
        self.nemesis = Watched(cluster, self.history, "seed")

    def do(self, kind, *targets, look=lambda: None, **options):
        """What `look` saw while it lasted."""
        step = Step(kind, 0.0, LASTS_S, list(targets), **options)
        self.nemesis.prepare([step])
        self.nemesis.look = look
        asyncio.run(self.nemesis.run([step]))
        fault, over = self.history.events[-2:]
        assert (fault.kind, over.kind) == ("fault", "over") and fault.fault == over.fault and kind in fault.what
        assert over.t - fault.t >= LASTS_S
        return self.nemesis.seen

    def arriving(self, ear, kind, *targets, **options):
        """Pairs of nodes whose packets do not arrive meanwhile. Afterwards all do."""
        everybody = {(a, b) for a in NODES for b in NODES if a != b}
        gone = everybody - self.do(kind, *targets, look=ear.all_pairs, **options)
        assert everybody <= ear.all_pairs()
        return gone


@pytest.fixture
def stage(cluster):
    return Stage(cluster)


@pytest.fixture
def ear(cluster):
    made = Ear(cluster.lab)
    yield made
    made.close()


def stopped(pid):
    return labs.stopped(pathlib.Path(f"/proc/{pid}"))


def test_broker_kill_and_term(cluster, stage):
    for kind in ("broker.kill", "broker.term"):
        node = cluster["n1"]
        before, engine = node.process.pid, node.engine()
        assert stage.do(kind, "n1", look=node.ended)
        assert node.alive() and node.process.pid != before and node.engine() == engine
    assert cluster["n2"].alive()


def test_broker_stop_of_one_and_of_all(cluster, stage):
    def states():
        return [stopped(node.process.pid) for node in cluster]
    assert stage.do("broker.stop", "n2", look=states) == [False, True, False]
    assert stage.do("broker.stop.all", *NODES, look=states) == [True, True, True]
    assert states() == [False, False, False]


def test_broker_starve(cluster, stage):
    process = cluster["n2"].process.pid

    def states():
        seen, deadline = [stopped(process)], time.monotonic() + patience()
        while len(seen) < 5 and time.monotonic() < deadline:
            if stopped(process) != seen[-1]:
                seen.append(not seen[-1])
        return len(seen)

    assert stage.do("broker.starve", "n2", look=states, stands_s=0.05, runs_s=0.05) == 5
    assert not stopped(process)


def test_engine_stop_and_kill(cluster, stage):
    node = cluster["n1"]
    before = node.engine()
    assert stage.do("engine.stop", "n1", look=lambda: stopped(before[0]))
    assert node.engine() == before and not stopped(before[0])
    stage.do("engine.kill", "n1")
    assert node.engine() and node.engine() != before and node.alive()


def test_power_of_one_and_of_all(cluster, stage):
    before = [boot_id(node.machine) for node in cluster]
    assert stage.do("power.one", "n1", look=lambda: [len(node.machine.pids()) > 0 for node in cluster]) == [
        False, True, True]
    assert [boot_id(node.machine) == old for node, old in zip(cluster, before)] == [False, True, True]
    assert not any(stage.do("power.all", *NODES, look=lambda: [node.machine.pids() for node in cluster]))
    assert not set(before) & {boot_id(node.machine) for node in cluster}
    assert all(node.alive() and node.ready() for node in cluster)
    assert [event.all_down for event in stage.history.events if event.kind == "fault"] == [False, True]


def test_a_disk_that_forgets_loses_with_the_power_what_was_not_synced(cluster, stage):
    node = cluster.add("n4", disk_mb=None, forgets=random.Random(1))  # this one's first cut keeps nothing
    node.start()
    cluster.wait(node.ready, "n4 is ready")
    with open(node.data / "kept", "w", encoding="utf-8") as out:
        out.write("synced")
        out.flush()
        os.fsync(out.fileno())
    (node.data / "lost").write_text("never synced")
    stage.do("power.one", "n4")
    assert node.ready() and (node.data / "kept").read_text() == "synced" and not (node.data / "lost").exists()


def test_cuts(stage, ear):
    assert stage.arriving(ear, "cut.one", "n1") == {("n1", "n2"), ("n2", "n1"), ("n1", "n3"), ("n3", "n1")}
    assert stage.arriving(ear, "cut.pair", "n1", "n2") == {("n1", "n2"), ("n2", "n1")}
    assert len(stage.arriving(ear, "cut.all", *NODES)) == 6
    assert stage.arriving(ear, "cut.deaf", "n1") == {("n2", "n1"), ("n3", "n1")}
    assert stage.arriving(ear, "cut.unheard", "n1") == {("n1", "n2"), ("n1", "n3")}
    minorities = [event.minority for event in stage.history.events if event.kind == "fault"]
    assert minorities == [["n1"], [], NODES, [], []]


def reaches(lab, source, target, port):
    with contextlib.suppress(OSError):
        lab[source].connect((lab[target].address, port), timeout=0.1).close()
        return True
    return False


def test_cut_links_leaves_the_engines(cluster, stage):
    lab = cluster.lab
    listeners = [lab["n2"].listen(port) for port in (LINK, ENGINE)]
    assert stage.do("cut.links", "n1", "n2", look=lambda: [
        reaches(lab, "n1", "n2", LINK), reaches(lab, "n1", "n2", ENGINE), reaches(lab, "n3", "n2", LINK)]) == [
        False, True, True]
    assert reaches(lab, "n1", "n2", LINK)
    for listener in listeners:
        listener.close()


def test_slow_lossy_and_late_links(cluster, stage, ear):
    lab = cluster.lab
    tc = [*labs.on(lab["n1"].namespace), "tc", "qdisc", "show", "dev", "eth0"]
    assert "tbf" in stage.do("link.slow", "n1", look=lambda: subprocess.check_output(tc, text=True), kbit=300)
    assert "tbf" not in subprocess.check_output(tc, text=True)
    arrived = stage.do("link.loss", "n1", "n2", look=lambda: (ear.count("n1", "n2", 100), ear.count("n2", "n1", 100)),
                       share=0.5)
    assert max(arrived) < 90
    stage.do("link.late", "n1", "n2", ms=100)
    relays = [relay for pair in stage.nemesis.relays.values() for relay in pair]

    def late():
        return {relay.range_ms for relay in relays}
    assert stage.do("link.late", "n1", "n2", look=late, ms=100) == {(0, 100)} and late() == {(0, 0)}


def test_a_late_link_outlives_a_loss_of_power(stage):
    stage.do("link.late", "n1", "n2", ms=100)
    stage.do("power.one", "n1", look=lambda: [relay.delay(0, 50) for pair in stage.nemesis.relays.values()
                                              for relay in pair])
    stage.do("link.late", "n2", "n1", ms=100)


def test_disk_full(cluster, stage):
    def fits():
        try:
            (cluster["n1"].data / "file").write_bytes(bytes(5000))
            return True
        except OSError:
            return False
    assert not stage.do("disk.full", "n1", look=fits)
    assert fits()


def test_answers_lost(cluster, stage):
    lab, address = cluster.lab, ("127.0.0.1", ENGINE)
    process = lab["n1"].start([sys.executable, "-c", ANSWERS, str(ENGINE)])
    cluster.wait(lambda: reaches(lab, "n1", "n1", ENGINE), "the engine answers")
    with lab["n1"].connect(address) as connection:
        def ask():
            connection.sendall(b"?")
            return reaches(lab, "n1", "n1", ENGINE)
        assert not stage.do("answers.lost", "n1", look=ask)
        connection.settimeout(patience())
        with pytest.raises(ConnectionAbortedError):
            connection.recv(1)
    assert reaches(lab, "n1", "n1", ENGINE) and process.poll() is None


def marked(cluster):
    """Whose disk has what was written on all before."""
    return [(node.data / "mark").exists() for node in cluster]


def test_stores_that_are_wiped(cluster, stage):
    for kind, left in [("store.wipe", [False, True, True]), ("store.majority", [False, False, True])]:
        for node in cluster:
            (node.data / "mark").touch()
        stage.do(kind, *NODES)
        assert marked(cluster) == left and all(node.ready() for node in cluster)


def test_a_store_that_is_rolled_back(cluster, stage):
    stored = cluster["n1"].data / ENGINE_STORE / "state"
    stored.write_text("early")
    stage.do("store.back", "n1", look=lambda: stored.write_text("late"))
    assert stored.read_text() == "early"


def test_nodes_that_join_and_leave(cluster, stage):
    assert possible(cluster) == set(KINDS)
    assert "n4" in stage.do("node.add", look=lambda: sorted(cluster.addresses))
    assert cluster["n4"].ready() and not {"node.add", "node.remove"} & possible(cluster)
    stage.do("node.remove")
    assert sorted(cluster.addresses) == NODES and cluster.spare == ["n4"]


def test_a_node_that_does_not_come_back_is_told(cluster, stage):
    cluster["n1"].command = lambda: ["false"]
    asyncio.run(Nemesis(cluster, stage.history, "seed").run([Step("broker.kill", 0.0, 0.0, ["n1"])]))
    assert [event.kind for event in stage.history.events] == ["fault", "trouble", "over"]

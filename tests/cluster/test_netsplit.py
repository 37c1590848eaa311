# SPDX-License-Identifier: Apache-2.0
"""One node of three is cut off from the two others, and clients reach all of them: what each side does meanwhile,
and what has become of everybody when they hear each other again. The tests stand in the order of that story."""

import contextlib
import json
import pathlib
import random
import subprocess
import tempfile
import time

import pytest

from kit import V5, V311, RawClient, Will, connect_again, patience, unique, wire
from kit.shards import shard_of
from kit.wire import PUBACK, PUBCOMP, PUBREC

from .lab import Lab
from .node import ENGINE, Cluster

pytestmark = pytest.mark.xdist_group("netsplit")

GROUPS = 16
HOME_WAIT_S = 5.0
REJOINED_S = 30.0  # of healing: most often 1 to 5, but Debian's engine may elect anew some seconds after that
FAILOVER = 6 * patience()  # a lease, the engine's election, and a busy machine
EDGE_LEASE_MS = "3000"  # instead of 4000
KEPT = {"clean_start": False, "properties": [("session_expiry_interval", 600)]}


class Split:
    """n1 serves its clean clients when it is cut off, n3 does not, n2 never is. Groups stay where they have got to."""

    def __init__(self, lab, folder):
        self.lab, self.opened, self.topic = lab, [], unique("split/")
        self.nodes = Cluster(lab, folder, ["n1", "n2"], config={"cluster": {"home_stay": "5m"}},
                             environment={"SKEIN_TEST_EDGE_LEASE": EDGE_LEASE_MS})
        self.nodes.add("n3", forgets=random.Random(3))
        self.nodes["n1"].config["cluster"]["cut_off"] = "serve"

    def start(self):
        self.nodes.start().init()
        self.wait("each is home of some", lambda: set(self.homes()) == {"n1", "n2", "n3"})

    def close(self):
        for client in self.opened:
            client.close()
        self.nodes.close()

    # ---- clients ----

    def dial(self, node, version=V5):
        with self.lab[Lab.CLIENTS].network():
            self.opened.append(RawClient(self.nodes[node], version))
        return self.opened[-1]

    def connect(self, node, client_id=None, version=V5, **fields):
        client = self.dial(node, version)
        client.connect(client_id, **fields)
        return client

    def asks(self, node, client_id, version=V5, **fields):
        """CONNECT is sent."""
        client = self.dial(node, version)
        client.send(wire.connect(client_id, **fields))
        return client

    def connect_again(self, node, client_id, within=FAILOVER, **fields):
        with self.lab[Lab.CLIENTS].network():
            self.opened.append(connect_again(self.nodes[node], V5, client_id, within, **fields))
        return self.opened[-1]

    def publisher(self, node, topic, qos, **fields):
        """It has sent one, and awaits what comes."""
        client = self.connect(node)
        client.send(wire.publish(topic, b"held", qos, 1, **fields))
        return client

    # ---- nodes ----

    def homes(self):
        asked = self.nodes["n2"]
        said = subprocess.run([asked.binary, "cluster", "shards", "--json", "-d", asked.data], capture_output=True,
                              text=True, check=True)
        return [group.get("home") for group in json.loads(said.stdout)["groups"]]

    def engine(self, node):
        """What that node says of its own."""
        asked = self.nodes[node]
        said = subprocess.run([asked.binary, "cluster", "status", "--json", "-d", asked.data], capture_output=True,
                              text=True, check=True)
        return json.loads(said.stdout)["engine"]

    def id_at(self, home):
        """A client id whose home is that node."""
        homes = self.homes()
        return next(name for name in iter(unique, None) if homes[shard_of(name) % GROUPS] == home)

    def retained(self, node):
        """What a new subscriber gets at once."""
        bob = self.connect_again(node, unique())
        bob.subscribe([f"{self.topic}/retained", f"{self.topic}/minority"])
        came = []
        with contextlib.suppress(AssertionError):  # no more comes
            while len(came) < 2:
                came.append(bob.receive(within=1).payload)
        return sorted(came)

    def wait(self, what, condition):
        deadline = time.monotonic() + FAILOVER
        while not condition():
            assert time.monotonic() < deadline, f"not {what}:\n" + "\n\n".join(node.tail() for node in self.nodes)
            time.sleep(0.02)

    def cut(self, node):
        """The fault. It has noticed when this returns."""
        seen = len(self.nodes[node].log)
        fault = self.lab.part([node])
        self.wait("it has noticed", lambda: "homes.cut_off" in self.nodes[node].log[seen:])
        return fault


@pytest.fixture(scope="module")
def together():
    """Everybody is connected, and all is well."""
    with Lab(["n1", "n2", "n3"]) as lab, tempfile.TemporaryDirectory() as folder:
        split = Split(lab, pathlib.Path(folder))
        try:
            split.start()
            split.everybody = everybody(split)
            yield split
        finally:
            split.close()
        assert split.nodes.complaints() == {}
        forked = {node.name for node in split.nodes if "changelog.not_replayed" in node.log}
        assert not forked, f"{forked} had read what the engine has not any more, and cannot append it again"


def everybody(split):
    """Clients of all kinds, by what a test is going to ask of them."""
    here = {}
    for home in "n1", "n2":
        bob = split.connect("n2", split.id_at(home), **KEPT)
        bob.subscribe(f"{split.topic}/{home}", qos=2)
        bob.disconnect()
        here[f"absent {home}"] = bob
    split.connect("n3").publish(f"{split.topic}/n1", "queued", 1)
    for edge, home in ("n2", "n2"), ("n3", "n3"), ("n3", "n2"):
        here[f"stored {edge} {home}"] = split.connect(edge, split.id_at(home), **KEPT)
    for home in "n1", "n2":
        here[f"stored n1 {home}"] = split.connect("n1", split.id_at(home), **KEPT)
        here[f"twin {home}"] = split.connect("n1", split.id_at(home))
        here[f"rival {home}"] = split.connect("n1", split.id_at(home))
        here[f"early {home}"] = split.connect("n1", split.id_at(home))
    for edge in "n1", "n2", "n3":
        for home in "n1", "n2", "n3":
            here[f"clean {edge} {home}"] = split.connect(edge, split.id_at(home))
            here[f"clean {edge} {home}"].subscribe(f"{split.topic}/clean/{edge}")
    here["mourner"] = split.connect("n3")
    here["mourner"].subscribe(f"{split.topic}/will")
    here["mourned"] = split.connect("n1", split.id_at("n2"), will=Will(f"{split.topic}/will", b"gone"))
    return here


def clean(split, edges):
    return [client for what, client in split.everybody.items() for edge in edges
            if what.startswith(f"clean {edge}")]


@pytest.fixture(scope="module")
def apart(together):
    """n1 is cut off; it had not noticed when the first was published."""
    seen = len(together.nodes["n1"].log)
    together.fault = together.lab.part(["n1"])
    for home in "n1", "n2":
        together.everybody[f"early {home}"].send(wire.publish(f"{together.topic}/{home}", b"early", 1, 1))
    together.wait("it has noticed", lambda: "homes.cut_off" in together.nodes["n1"].log[seen:])
    return together


@pytest.fixture(scope="module")
def healed(apart):
    """They have just begun to hear each other again."""
    apart.fault.undo()
    apart.healed_at = time.monotonic()
    return apart


def test_what_the_engines_have_agreed_on_is_flushed_to_the_disks(together):
    for node in together.nodes:
        together.wait(f"{node.name}'s is flushed", lambda log=node: "engine.flushed" in log.log)
        assert all("result=ok" in line for line in node.log.splitlines() if "engine.flushed" in line)
    node, meta = together.nodes["n3"], "data/engine/store/jetstream/SYSTEM/_js_/_meta_"

    def sizes(root):
        return {path.relative_to(root): path.stat().st_size for path in (root / meta).rglob("*") if path.is_file()}

    together.wait("a loss of power would leave all of it", lambda: sizes(node.disk.mount) == sizes(node.disk.left))
    assert sum(sizes(node.disk.left).values()) > 1000, sizes(node.disk.left)


# ---- apart ----


def test_the_engine_of_a_node_that_is_cut_off_rests_and_its_status_says_so(apart):
    assert not apart.engine("n2")["rests"]
    apart.wait("it rests", lambda: apart.engine("n1")["rests"])
    apart.wait("it has ended", lambda: not apart.nodes["n1"].engine())
    assert "engine.rests" in apart.nodes["n1"].log


def test_the_majority_goes_on_with_the_sessions_of_the_node_that_is_cut_off(apart):
    bob = apart.connect_again("n2", apart.everybody["absent n1"].client_id, **KEPT)
    assert bob.connack.session_present
    bob.receive(payload="queued")
    alice = apart.connect_again("n3", unique())  # whose home may have to be elected, too
    for qos in 1, 2:
        assert alice.publish(f"{apart.topic}/n1", f"qos {qos}", qos, within=FAILOVER).reason == 0
        bob.receive(payload=f"qos {qos}", qos=qos)
    bob.disconnect()
    alice.publish(f"{apart.topic}/retained", "majority's", 1, retain=True, within=FAILOVER)


def test_a_node_that_is_cut_off_refuses_stored_sessions(apart):
    began = time.monotonic()
    asking = [(apart.asks("n1", apart.id_at(home), V5, **KEPT), 0x88) for home in ("n2", "n3")]
    asking += [(apart.asks("n1", unique(), V311, clean_start=False), 3),
               (apart.asks("n1", apart.everybody["absent n1"].client_id, V5, **KEPT), 0x88),
               (apart.asks("n1", unique(), V5, will=Will("will", b"gone")), 0x88)]
    for client, reason in asking:
        client.expect_refused(reason, within=HOME_WAIT_S + patience())
    assert time.monotonic() - began < HOME_WAIT_S + patience()


def test_a_node_that_is_cut_off_sends_stored_sessions_away(apart):
    """Whatever their home was, so that they look for another node."""
    for home in "n1", "n2":
        apart.everybody[f"stored n1 {home}"].expect_closed({0x89, 0x8B})


def test_clean_clients_of_a_node_that_is_cut_off_go_on_among_themselves_when_configured(apart):
    late = apart.connect("n1")
    late.subscribe(f"{apart.topic}/clean/n1")
    for publisher in late, apart.everybody["clean n1 n3"]:
        publisher.publish(f"{apart.topic}/clean/n1", "local", 0)
        for client in late, apart.everybody["clean n1 n3"]:
            client.receive(payload="local")
    apart.everybody["late"] = late


def test_clean_clients_on_both_sides_may_have_the_same_id_while_they_are_apart(apart):
    for home in "n1", "n2":
        twin = apart.everybody[f"twin {home}"]
        apart.everybody[f"other twin {home}"] = apart.connect_again("n3", twin.client_id)
        twin.barrier()
        rival = apart.connect_again("n3", apart.everybody[f"rival {home}"].client_id, **KEPT)
        rival.disconnect()


def test_the_majority_publishes_the_wills_of_clients_that_it_cannot_reach(apart):
    apart.everybody["mourner"].receive(payload="gone", within=FAILOVER)
    apart.everybody["mourned"].barrier()


def test_nothing_is_acknowledged_that_would_have_to_be_stored(apart):
    topic = apart.topic
    apart.held = [(apart.publisher("n1", f"{topic}/{home}", qos), qos) for home in ("n1", "n2") for qos in (1, 2)]
    apart.held += [(apart.publisher("n1", f"{topic}/minority", 1, retain=True), 1)]
    early = [apart.everybody[f"early {home}"] for home in ("n1", "n2")]
    for client in early + [client for client, _ in apart.held]:
        client.expect_nothing(ms=300)


# ---- and together again ----


def test_a_node_that_was_cut_off_rejoins_by_itself(healed):
    bob = healed.connect_again("n1", unique(), REJOINED_S, **KEPT)
    bob.subscribe(f"{healed.topic}/across", qos=1)
    print(f"a stored session at the node that was cut off {time.monotonic() - healed.healed_at:.1f} s after healing")
    alice = healed.connect("n3")
    alice.publish(f"{healed.topic}/across", "to n1", 1, within=FAILOVER)
    bob.receive(payload="to n1", within=FAILOVER)
    alice.subscribe(f"{healed.topic}/back", qos=1)
    bob.publish(f"{healed.topic}/back", "from n1", 1, within=FAILOVER)
    alice.receive(payload="from n1", within=FAILOVER)
    healed.wait("its engine joins the others", lambda: "engine.joins" in healed.nodes["n1"].log)
    assert not healed.engine("n1")["rests"]


def test_what_was_held_is_acknowledged_and_comes(healed):
    for home in "n1", "n2":
        healed.everybody[f"early {home}"].wait_for(PUBACK, within=FAILOVER, reason=0)
    for client, qos in healed.held:
        client.wait_for(PUBACK if qos == 1 else PUBREC, within=FAILOVER, reason=0)
        if qos == 2:
            client.send(wire.pubrel(1))
            client.wait_for(PUBCOMP, within=FAILOVER, reason=0)
    for home in "n1", "n2":
        bob = healed.connect_again("n3", healed.everybody[f"absent {home}"].client_id, **KEPT)
        come = []
        while len(set(come)) < 3:
            packet = bob.receive(within=FAILOVER)
            come.append((packet.payload, packet.qos))
        assert set(come) == {(b"early", 1), (b"held", 1), (b"held", 2)}
        assert come.count((b"held", 2)) == 1  # at QoS 1 one that was under way may come twice
        bob.close()


def test_of_two_clients_with_one_id_the_majoritys_stays(healed):
    for home in "n1", "n2":
        healed.everybody[f"twin {home}"].expect_closed(0x8E, within=FAILOVER)
        healed.everybody[f"other twin {home}"].barrier()
        healed.everybody[f"rival {home}"].expect_closed(0x8E, within=FAILOVER)
        rival = healed.connect_again("n1", healed.everybody[f"rival {home}"].client_id, **KEPT)
        assert rival.connack.session_present
        rival.disconnect()


def test_a_client_whose_will_was_published_is_told_to_go(healed):
    healed.everybody["mourned"].expect_closed(0x8E, within=FAILOVER)


def test_nobody_else_was_dropped(healed):
    stay = clean(healed, ["n1", "n2", "n3"]) + [healed.everybody["late"]]
    stay += [healed.everybody[f"stored {at}"] for at in ("n2 n2", "n3 n3", "n3 n2")]
    for client in stay:
        client.barrier()


def test_retained_messages_are_the_same_everywhere(healed):
    """Once all is quiet: the engine may still be electing."""
    for node in "n1", "n2", "n3":
        healed.wait(f"both on {node}", lambda node=node: healed.retained(node) == [b"held", b"majority's"])


# ---- where it is not configured ----


def test_clean_clients_of_a_node_that_is_cut_off_are_closed_unless_configured(healed):
    """The next home of their client ids may let others in, and could not tell them."""
    fault = healed.cut("n3")
    asking = [healed.asks("n3", unique()), healed.asks("n3", "")]
    for client in clean(healed, ["n3"]):
        client.expect_closed(0x89)
    for client in asking:
        client.expect_refused(0x88, within=HOME_WAIT_S + patience())
    fault.undo()
    healed.connect_again("n3", unique(), REJOINED_S)
    for client in clean(healed, ["n1", "n2"]):
        client.barrier()


# ---- afterwards: an engine that hangs ----


def test_an_engine_that_loses_one_connection_after_the_other_is_started_again(healed):
    """One whose disk was full lets its broker connect, and answers nothing. The broker is connected again within
    less time than it may take to look."""
    node = healed.nodes["n2"]
    before, seen = node.engine(), len(node.log)
    for times in range(3):
        healed.wait("connected again", lambda so_often=times: node.log[seen:].count("engine.connected") == so_often)
        healed.lab.break_connections("n2", ENGINE)
    healed.wait("another one runs", lambda: node.engine() not in ([], before))
    assert node.log[seen:].count("engine.hangs") == 1

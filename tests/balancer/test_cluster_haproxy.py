# SPDX-License-Identifier: Apache-2.0
"""What `skein cluster haproxy` prints, as it is, in front of real nodes."""

import json
import subprocess

import pytest

from kit import PEER, V5, Broker, RawClient, patience, unique
from kit.broker import free_port, merged

from .conftest import wait_until

NAMES = ["a", "b", "c"]
EX_USAGE, EX_UNAVAILABLE, EX_CONFIG = 64, 69, 78


class Plant:
    """Three nodes of one cluster, on 127.0.0.11 and so on, all with the same ports."""

    def __init__(self):
        self.mqtt, self.health, self.agent, self.link, self.front = (free_port() for _ in range(5))
        self.hosts = {name: f"127.0.0.{11 + n}" for n, name in enumerate(NAMES)}
        self.nodes = {name: Broker(self.configuration(name)) for name in NAMES}
        self.binary = self.nodes["a"].binary

    def configuration(self, name):
        host = self.hosts[name]
        others = [f"{other}:{self.link}" for other in self.hosts.values() if other != host]
        return {"listeners": [{"address": f"{host}:{self.mqtt}", "proxy_protocol": "required"}],
                "health": {"listen": f"{host}:{self.health}", "agent_listen": f"{host}:{self.agent}"},
                "cluster": {"name": "plant", "node": name, "listen": f"{host}:{self.link}",
                            "addresses": others}}

    def file(self, name):
        return self.nodes[name].folder / "skein.yaml"

    def files(self, names=NAMES):
        return [word for name in names for word in ("-c", self.file(name))]

    def run(self, *words):
        return subprocess.run([self.binary, "cluster", "haproxy", *words], capture_output=True,
                              text=True, timeout=60)

    def made(self, *words):
        done = self.run("--listen", f"127.0.0.1:{self.front}", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def homes(self, ctl):
        """By client id, the node that has it."""
        return {row["id"]: name for name, node in self.nodes.items() if not node.stopped
                for row in ctl(node, "clients", "limit=1000")["clients"]}

    def close(self):
        for node in self.nodes.values():
            node.close()


@pytest.fixture(scope="module")
def shared_plant():
    """Three nodes that no test ends."""
    if PEER:
        pytest.skip("needs brokers of its own")
    plant = Plant()
    yield plant
    plant.close()


@pytest.fixture
def plant():
    if PEER:
        pytest.skip("needs brokers of its own")
    plant = Plant()
    yield plant
    plant.close()


@pytest.fixture
def in_front(haproxy):
    """in_front(plant, text): HAProxy with what was printed, once it knows that all nodes are up and that none has
    more to do than another: one that has not heard of the others yet wants no clients, and is up."""
    def start(plant, text):
        def weights():
            return {row["weight"] for row in balancer.servers().values()}
        balancer = haproxy(text.replace("global\n", "", 1), plant.front)
        wait_until(lambda: set(statuses(balancer).values()) == {"UP"} and len(weights()) == 1 and weights() != {"0"},
                   lambda: f"up: {statuses(balancer)}, with the same weights: {weights()}", 6 * patience())
        return balancer
    return start


def statuses(balancer):
    return {name: row["status"] for name, row in balancer.servers().items()}


def servers(text):
    """[(name, address)]"""
    return [tuple(line.split()[1:3]) for line in text.splitlines() if line.startswith("    server ")]


def connect(balancer, client_id=None):
    client = RawClient(balancer, V5)
    client.connect(client_id or unique())
    return client


# ---- in front of real nodes -------------------------------------------------------------------


def test_clients_are_spread_and_known_by_their_own_address(shared_plant, in_front, ctl):
    balancer = in_front(shared_plant, shared_plant.made(*shared_plant.files()))
    clients = [connect(balancer) for _ in range(9)]
    homes = shared_plant.homes(ctl)
    homes = [homes[client.client_id] for client in clients]
    assert [homes.count(name) for name in NAMES] == [3, 3, 3]
    for client, name in zip(clients, homes):
        assert ctl(shared_plant.nodes[name], "client", client.client_id)["address"] == \
            "{}:{}".format(*client.socket.getsockname())
    for client in clients:
        client.close()


def test_a_client_id_always_reaches_the_same_node(shared_plant, in_front, ctl):
    balancer = in_front(shared_plant, shared_plant.made("--by-client-id", *shared_plant.files()))
    ids = [unique() for _ in range(60)]

    def places():
        clients = [connect(balancer, client_id) for client_id in ids]
        homes = shared_plant.homes(ctl)
        for client in clients:
            client.close()
        return [homes[client_id] for client_id in ids]
    first = places()
    assert all(first.count(name) >= 5 for name in NAMES), first
    assert places() == first


def test_balancers_made_on_different_nodes_agree_where_a_client_id_goes(shared_plant, in_front, ctl):
    ids = [unique() for _ in range(30)]
    found = []
    for names in (NAMES, NAMES[::-1]):
        balancer = in_front(shared_plant,
                            shared_plant.made("--by-client-id", *shared_plant.files(names)))
        clients = [connect(balancer, client_id) for client_id in ids]
        homes = shared_plant.homes(ctl)
        found.append([homes[client_id] for client_id in ids])
        for client in clients:
            client.close()
        balancer.process.terminate()
        balancer.process.wait()
    assert found[0] == found[1]


def test_only_the_clients_of_a_dead_node_go_elsewhere(plant, in_front, ctl):
    balancer = in_front(plant, plant.made("--by-client-id", *plant.files()))
    clients = [connect(balancer) for _ in range(30)]
    first = plant.homes(ctl)
    assert "b" in first.values()
    plant.nodes["b"].kill()
    wait_until(lambda: statuses(balancer)["b"].startswith("DOWN"), lambda: statuses(balancer))
    again = [connect(balancer, client.client_id) for client in clients]
    for client in again:
        client.barrier()
    now = plant.homes(ctl)
    assert {client_id: name for client_id, name in first.items() if name != "b"}.items() <= now.items()
    assert now.keys() == first.keys()


def test_a_node_that_leaves_gets_no_clients(plant, in_front, ctl):
    balancer = in_front(plant, plant.made(*plant.files()))
    plant.nodes["c"].stop()
    wait_until(lambda: statuses(balancer)["c"].startswith(("DOWN", "DRAIN")), lambda: statuses(balancer))
    clients = [connect(balancer) for _ in range(6)]
    homes = plant.homes(ctl)
    assert sorted(homes[client.client_id] for client in clients) == ["a"] * 3 + ["b"] * 3


def test_clients_without_an_id_do_not_all_reach_one_node(shared_plant, in_front, ctl):
    balancer = in_front(shared_plant, shared_plant.made("--by-client-id", *shared_plant.files()))
    before = shared_plant.homes(ctl).keys()
    clients = [RawClient(balancer, V5) for _ in range(30)]
    for client in clients:
        client.connect("")
    homes = [name for client_id, name in shared_plant.homes(ctl).items() if client_id not in before]
    for client in clients:
        client.close()
    assert len(homes) == 30 and set(homes) == set(NAMES)


# ---- who the nodes are ------------------------------------------------------------------------


def test_one_configuration_is_enough_where_all_are_alike(shared_plant):
    plant = shared_plant
    assert servers(plant.made("-c", plant.file("b"))) == \
        [("b", f"127.0.0.12:{plant.mqtt}"), ("127.0.0.11", f"127.0.0.11:{plant.mqtt}"),
         ("127.0.0.13", f"127.0.0.13:{plant.mqtt}")]


def test_a_running_node_tells_who_the_others_are(shared_plant, in_front, ctl):
    plant = shared_plant
    wait_until(lambda: len(ctl(plant.nodes["a"], "cluster")["members"]) == 2, "two others")
    made = plant.made("-c", plant.file("a"), "-d", plant.nodes["a"].data)
    assert sorted(servers(made)) == [(name, f"{plant.hosts[name]}:{plant.mqtt}") for name in NAMES]
    in_front(plant, made)


def test_all_addresses_of_a_machine_are_dialled_where_its_links_are(shared_plant, tmp_path):
    config = shared_plant.configuration("a")
    config["listeners"][0]["address"] = f"0.0.0.0:{shared_plant.mqtt}"
    config["allow_anonymous"] = True
    path = tmp_path / "skein.yaml"
    path.write_text(json.dumps(config))
    assert servers(shared_plant.made("-c", path))[0] == ("a", f"127.0.0.11:{shared_plant.mqtt}")


def test_health_on_another_address_is_asked_there(shared_plant, tmp_path):
    config = shared_plant.configuration("a")
    config["health"]["listen"] = "127.0.0.41:8080"
    config["health"]["agent_listen"] = "127.0.0.42:8081"
    path = tmp_path / "skein.yaml"
    path.write_text(json.dumps(config))
    made = shared_plant.made("-c", path, *shared_plant.files(["b"]))
    assert "check addr 127.0.0.41 port 8080 " in made
    assert "agent-port 8081 agent-addr 127.0.0.42\n" in made
    done = shared_plant.run("-c", path)
    assert done.returncode == EX_CONFIG and "give -c with the configuration of each" in done.stderr


# ---- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("change, says", [
    ({"cluster": {"name": ""}}, "cluster.name is not set"),
    ({"health": {"listen": ""}}, "health.listen is not set"),
    ({"listeners": [{"address": "127.0.0.11:1883"}]}, "no listener for MQTT has proxy_protocol: required"),
    ({"listeners": [{"address": "127.0.0.11:0", "proxy_protocol": "required"}]}, "port 0"),
    ({"cluster": {"addresses": ["127.0.0.11:7884", "127.0.0.12:7884", "127.0.0.12:7885"]}},
     "two nodes have the name 127.0.0.12"),
])
def test_configuration_that_no_balancer_can_use_is_refused(shared_plant, tmp_path, change, says):
    config = merged(shared_plant.configuration("a"), change)
    config = {key: value for key, value in config.items()
              if not isinstance(value, dict) or "" not in value.values()}
    path = tmp_path / "skein.yaml"
    path.write_text(json.dumps(config))
    done = shared_plant.run("-c", path)
    assert (done.returncode, done.stdout) == (EX_CONFIG, "")
    assert says in done.stderr


def test_nodes_of_two_clusters_are_refused(shared_plant, tmp_path):
    path = tmp_path / "skein.yaml"
    path.write_text(json.dumps(merged(shared_plant.configuration("b"), {"cluster": {"name": "x"}})))
    done = shared_plant.run("-c", shared_plant.file("a"), "-c", path)
    assert done.returncode == EX_CONFIG and "cluster.name is 'x'" in done.stderr


def test_nodes_with_one_address_are_refused(shared_plant, tmp_path):
    path = tmp_path / "skein.yaml"
    path.write_text(json.dumps(merged(shared_plant.configuration("a"), {"cluster": {"node": "z"}})))
    done = shared_plant.run("-c", shared_plant.file("a"), "-c", path)
    assert done.returncode == EX_CONFIG and "a and z would have the same address" in done.stderr


def test_words_that_make_no_sense_are_refused(shared_plant, tmp_path):
    plant = shared_plant
    for words, says in [(["--listen", "1883"], "--listen '1883'"),
                        (["-d", tmp_path, *plant.files()], "-d is for one configuration"),
                        (["twice"], "unexpected word 'twice'")]:
        done = plant.run(*words)
        assert done.returncode == EX_USAGE and says in done.stderr, done.stderr
    done = plant.run("-c", plant.file("a"), "-d", tmp_path)
    assert done.returncode == EX_UNAVAILABLE

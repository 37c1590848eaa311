# SPDX-License-Identifier: Apache-2.0
"""The configurations of docs/guide/load-balancer.md, in front of two real brokers.

The machines 10.0.0.* of the guide are 127.0.0.* here, ports are free ones, checks come more often, and
descriptors are few.
"""

import pathlib
import re
import shutil
import tempfile

import pytest
import yaml

from kit import V5, Broker, RawClient, unique
from kit.broker import ROOT, free_port, merged

from .conftest import Haproxy, Process, wait_until

GUIDE = (ROOT / "docs/guide/load-balancer.md").read_text()
LINE = b"PROXY TCP4 192.0.2.1 198.51.100.7 54321 1883\r\n"


def block(language):
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    return text


def told_again(broker):
    """Tells it to end, without the delay if it knows already. Gives whether it has."""
    broker.terminate()
    return not broker.alive()


class Site:
    """Ports of its own for the guide's machines, and two brokers as the guide configures them."""

    def __init__(self, config):
        ports = {"1883": free_port(), "8080": free_port(), "8081": free_port()}
        self.moved = [(rf"\b{old}\b", str(new)) for old, new in ports.items()]
        self.moved += [(r"\b10\.0\.0\.", "127.0.0."), (r"\b(inter|agent-inter) 2s", r"\1 100ms"),
                       (r"\bmaxconn 100000\b", "maxconn 1000")]
        self.port, self.config = ports["1883"], config
        self.brokers, self.balancer = {}, None

    def text(self, language):
        return self.moved_here(block(language))

    def moved_here(self, text):
        for old, new in self.moved:
            text = re.sub(old, new, text)
        return text

    def start(self, name):
        """Starts it, or starts it again."""
        if name in self.brokers:
            self.brokers[name].start()
            return
        host = {"a": "127.0.0.11", "b": "127.0.0.12"}
        text = self.text("yaml").replace(host["a"], host[name])
        config = merged(yaml.safe_load(text), self.config)
        config["listeners"] = [entry for entry in config["listeners"]
                               if not entry["address"].startswith("127.0.0.1:")]  # two on one machine
        self.brokers[name] = Broker(config)

    def close(self):
        if self.balancer is not None:
            self.balancer.close()
        for broker in self.brokers.values():
            if not broker.stopped:
                wait_until(lambda broker=broker: told_again(broker), "the end")
            broker.close()


@pytest.fixture
def site():
    """site(config): both brokers, with this over the guide's configuration."""
    made = []

    def make(config=None):
        made.append(Site(merged({"broker": {"drain_delay": "0"}}, config or {})))
        made[-1].start("a")
        made[-1].start("b")
        return made[-1]
    yield make
    for each in made:
        each.close()


def haproxy_in_front(site, change=lambda text: text):
    if shutil.which("haproxy") is None:
        pytest.fail("haproxy is not installed; ./dev deps test installs it")
    text = change(site.text("haproxy")).replace("global\n", "", 1)
    site.balancer = Haproxy(text, [site.port])
    wait_until(lambda: statuses(site) == {"a": "UP", "b": "UP"}, lambda: f"up: {statuses(site)}")
    return site.balancer


def statuses(site):
    return {name: row["status"] for name, row in site.balancer.servers().items()}


def weight(site, name):
    return int(site.balancer.servers()[name]["weight"])


def home(site, client, ctl):
    """The broker that has the client."""
    return next(name for name, broker in site.brokers.items() if not broker.stopped
                and client.client_id in {row["id"] for row in ctl(broker, "clients", "limit=1000")["clients"]})


def connect(site, client_id=None):
    client = RawClient(site.balancer, V5)
    client.connect(client_id or unique())
    return client


def direct(broker, count):
    """Clients past the balancer, as if it were another one's."""
    clients = [RawClient(broker, V5, first=LINE) for _ in range(count)]
    for client in clients:
        client.connect(unique())
    return clients


# ---- HAProxy ----------------------------------------------------------------------------------


def test_haproxy_spreads_clients_and_tells_who_they_are(site, ctl):
    site = site()
    haproxy_in_front(site)
    clients = [connect(site) for _ in range(10)]
    homes = [home(site, client, ctl) for client in clients]
    assert homes.count("a") == homes.count("b") == 5
    for client, name in zip(clients, homes):
        assert ctl(site.brokers[name], "client", client.client_id)["address"] == \
            "{}:{}".format(*client.socket.getsockname())


def test_haproxy_sends_fewer_clients_to_a_broker_that_is_loaded(site, ctl):
    site = site({"limits": {"connections": 40}})
    haproxy_in_front(site)
    kept = direct(site.brokers["a"], 20)
    wait_until(lambda: weight(site, "a") == 50, lambda: f"half: {weight(site, 'a')}")
    clients = [connect(site) for _ in range(18)]
    homes = [home(site, client, ctl) for client in clients]
    assert homes.count("b") >= homes.count("a") + 4, homes
    for client in kept:
        client.close()
    wait_until(lambda: weight(site, "a") >= 80, lambda: f"light again: {weight(site, 'a')}")


def test_haproxy_sends_nobody_to_a_broker_that_is_full_until_it_has_room(site, ctl):
    site = site({"limits": {"connections": 10}})
    haproxy_in_front(site)
    kept = direct(site.brokers["a"], 10)
    wait_until(lambda: weight(site, "a") == 0, lambda: f"none: {weight(site, 'a')}")
    assert {home(site, connect(site), ctl) for _ in range(4)} == {"b"}
    for client in kept:
        client.close()
    wait_until(lambda: weight(site, "a") > 0 and statuses(site)["a"] == "UP", "up again")


def test_haproxy_sends_nobody_to_a_broker_that_leaves_and_some_when_it_is_back(site, ctl):
    site = site({"broker": {"drain_delay": "1h"}})
    haproxy_in_front(site)
    clients = [connect(site) for _ in range(4)]
    stays = next(client for client in clients if home(site, client, ctl) == "a")
    site.brokers["a"].terminate()
    wait_until(lambda: statuses(site)["a"].startswith(("DRAIN", "DOWN")), lambda: statuses(site))
    assert {home(site, connect(site), ctl) for _ in range(4)} == {"b"}
    stays.barrier()
    site.brokers["a"].terminate()
    stays.expect_closed(reason=0x8B)
    site.brokers["a"].stop()
    site.start("a")
    wait_until(lambda: statuses(site)["a"] == "UP", lambda: f"up: {statuses(site)}")
    wait_until(lambda: home(site, connect(site), ctl) == "a", "a client for it")


def test_haproxy_finds_the_other_broker_when_one_is_killed(site, ctl):
    site = site()
    haproxy_in_front(site)
    clients = [connect(site) for _ in range(4)]
    lost = [client for client in clients if home(site, client, ctl) == "a"]
    site.brokers["a"].kill()
    for client in lost:
        client.expect_closed()
        assert home(site, connect(site, client.client_id), ctl) == "b"
    wait_until(lambda: statuses(site)["a"].startswith("DOWN"), lambda: statuses(site))


def test_haproxy_brings_a_client_back_to_the_broker_of_its_client_id(site, ctl):
    site = site()
    lines = block("haproxy by client id")
    haproxy_in_front(site, lambda text: text.replace("    balance leastconn\n", lines))
    ids = [unique() for _ in range(20)]
    first = [home(site, connect(site, client_id), ctl) for client_id in ids]
    assert set(first) == {"a", "b"}
    assert [home(site, connect(site, client_id), ctl) for client_id in ids] == first


# ---- nginx ------------------------------------------------------------------------------------


def nginx_in_front(site):
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if binary is None or not module.exists():
        pytest.fail("nginx with its stream module is not installed; ./dev deps test installs it")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-nginx-"))
    (folder / "nginx.conf").write_text(
        f"load_module {module};\ndaemon off;\npid {folder}/pid;\nerror_log stderr;\n"
        f"worker_processes 1;\nevents {{ worker_connections 1000; }}\n{site.text('nginx')}")
    command = [binary, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]
    site.balancer = Process(command, folder, [site.port])
    return site.balancer


def test_nginx_spreads_clients_and_tells_who_they_are(site, ctl):
    site = site()
    nginx_in_front(site)
    clients = [connect(site) for _ in range(10)]
    homes = [home(site, client, ctl) for client in clients]
    assert homes.count("a") == homes.count("b") == 5
    for client, name in zip(clients, homes):
        assert ctl(site.brokers[name], "client", client.client_id)["address"] == \
            "{}:{}".format(*client.socket.getsockname())


def test_nginx_finds_the_other_broker_when_one_has_ended(site, ctl):
    site = site()
    nginx_in_front(site)
    client = next(client for client in (connect(site) for _ in range(2)) if home(site, client, ctl) == "a")
    site.brokers["a"].stop()
    client.expect_closed(reason=0x8B)
    assert {home(site, connect(site), ctl) for _ in range(4)} == {"b"}

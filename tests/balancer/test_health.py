# SPDX-License-Identifier: Apache-2.0
"""/health and /ready, and the line for HAProxy's agent-check, as anybody may ask for them."""

import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest

from kit import V5, encode, patience, publish, unique, wire
from kit.broker import free_port

from .conftest import wait_until

READY = (200, {"status": "ready"})
ALIVE = (200, {"status": "ok"})


def not_ready(reason):
    return 503, {"status": "not ready", "reason": reason}


class Health:
    """What one broker answers. Each question is a connection of its own."""

    def __init__(self, port, agent_port):
        self.port, self.agent_port = port, agent_port
        self.config = {"listen": f"127.0.0.1:{port}", "agent_listen": f"127.0.0.1:{agent_port}"}

    def call(self, method, path):
        """Gives (status, text, headers)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience())
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode(), response.headers
        finally:
            connection.close()

    def get(self, path):
        status, text, headers = self.call("GET", path)
        assert headers["Content-Type"] == "application/json"
        return status, json.loads(text)

    def wait_until_ready(self):
        wait_until(lambda: self.get("/ready") == READY, "ready")

    def agent(self):
        with socket.create_connection(("127.0.0.1", self.agent_port), patience()) as raw:
            line = b""
            while piece := raw.recv(256):
                line += piece
        return line.decode()


@pytest.fixture
def health(ports):
    return Health(*ports(2))


@pytest.fixture(scope="module")
def shared():
    return Health(free_port(), free_port())


@pytest.fixture
def probed(broker_with, shared):
    """A broker that these tests share; `shared` asks it."""
    broker = broker_with({"health": shared.config})
    shared.wait_until_ready()
    return broker


@pytest.fixture
def serve(own_broker, health):
    """serve(config): a broker that `health` asks, once it lets clients in."""
    def start(config=None):
        broker = own_broker({"health": health.config, **(config or {})})
        health.wait_until_ready()
        return broker
    return start


@contextlib.contextmanager
def frozen(pid, name):
    """Holds one thread of the process, as a bug that never returns would."""
    seize, interrupt, detach, all_kinds = 0x4206, 0x4207, 17, 0x40000000
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    (thread,) = [int(task.name) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
                 if (task / "comm").read_text().strip() == name]
    if ptrace(seize, thread, None, None) != 0:
        pytest.fail(f"a thread cannot be frozen here: ptrace: {os.strerror(ctypes.get_errno())}")
    assert ptrace(interrupt, thread, None, None) == 0
    os.waitpid(thread, all_kinds)
    try:
        yield
    finally:
        assert ptrace(detach, thread, None, None) == 0


# ---- /health and /ready -----------------------------------------------------------------------


def test_broker_that_serves_is_alive_and_ready(probed, shared):
    assert shared.get("/health") == ALIVE
    assert shared.get("/ready") == READY


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_head_is_answered_without_a_body(probed, shared, path):
    status, text, headers = shared.call("HEAD", path)
    assert (status, text) == (200, "")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", ["/", "/v1/health", "/v1/broker", "/v1/clients", "/v1/metrics",
                                  "/v1/openapi.json", "/../v1/broker"])
def test_nothing_else_is_there(probed, shared, path):
    assert shared.call("GET", path)[0] in (400, 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(probed, shared, method):
    status, _, headers = shared.call(method, "/health")
    assert status == 405
    assert headers["Allow"] == "GET, HEAD"


def test_no_body_is_taken(probed, shared):
    with socket.create_connection(("127.0.0.1", shared.port), patience()) as raw:
        raw.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("request_line", [b"GET /ready HTTP/1.0\r\n\r\n",
                                          b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
def test_probe_may_be_of_either_version_of_http(probed, shared, request_line):
    with socket.create_connection(("127.0.0.1", shared.port), patience()) as raw:
        raw.sendall(request_line)
        answer = b""
        while piece := raw.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"status":"ready"}\n')


def test_nothing_listens_unless_it_is_configured(broker, probed):
    def listening_sockets(process):
        done = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True)
        return [line for line in done.stdout.splitlines() if f"pid={process.pid}," in line]
    assert len(listening_sockets(probed.process)) == len(listening_sockets(broker.process)) + 2


@pytest.mark.parametrize("key", ["listen", "agent_listen"])
def test_one_port_of_the_two_is_enough(own_broker, health, key):
    own_broker({"health": {key: health.config[key]}})
    asked = {"listen": lambda: health.get("/ready") == READY,
             "agent_listen": lambda: "up " in health.agent()}
    wait_until(asked.pop(key), "up")
    (other,) = asked.values()
    with pytest.raises(ConnectionRefusedError):
        other()


def test_port_that_is_taken_is_said_and_ends_the_start(probed, shared, tmp_path):
    done = subprocess.run([probed.binary, "serve", "-p", "0", "-d", tmp_path / "data",
                           "--set", f"health.listen=127.0.0.1:{shared.port}"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 69
    assert f"skein: health.listen: cannot listen on 127.0.0.1:{shared.port}: the address is taken" in done.stderr


def test_broker_that_loads_is_alive_and_not_ready(own_broker, health):
    broker = own_broker({"health": health.config, "durability": "fsync"})
    for _ in range(5):  # it does not take long
        broker.stop()
        seen, end = [], threading.Event()

        def ask():
            while not end.is_set():
                with contextlib.suppress(OSError):
                    seen.append((health.get("/ready"), health.get("/health")))
        thread = threading.Thread(target=ask)
        thread.start()
        broker.start()
        wait_until(lambda: seen and seen[-1][0] == READY, "ready")
        end.set()
        thread.join()
        assert all(alive == ALIVE for _, alive in seen)
        changes = [ready for at, (ready, _) in enumerate(seen) if at == 0 or seen[at - 1][0] != ready]
        assert changes in ([READY], [not_ready("loading"), READY])
        if len(changes) == 2:
            return
    pytest.fail("never seen while it loaded")


def test_broker_that_leaves_is_not_ready_while_it_still_serves(serve, health, connect):
    broker = serve({"broker": {"drain_delay": "1h"}})
    client = connect(V5, broker=broker)
    broker.terminate()
    wait_until(lambda: health.get("/ready") == not_ready("draining"), "draining")
    assert health.get("/health") == ALIVE
    assert health.agent() == "drain\n"
    client.barrier()
    connect(V5, broker=broker)
    broker.terminate()
    client.expect_closed(reason=0x8B)
    broker.process.wait(4 * patience())
    with pytest.raises(ConnectionRefusedError):
        health.get("/ready")


def test_sigterm_is_heard_at_once_without_a_delay(serve, health, connect):
    broker = serve()
    client = connect(V5, broker=broker)
    broker.terminate()
    client.expect_closed(reason=0x8B)


def test_broker_without_memory_is_alive_and_not_ready(own_broker, health, dial):
    broker = own_broker({"health": health.config, "limits": {"memory_bytes": "1M"}})
    wait_until(lambda: health.get("/ready") == not_ready("memory_full"), "full")
    assert health.get("/health") == ALIVE
    assert health.agent() == "ready up 0%\n"
    client = dial(V5, broker=broker)
    client.send(wire.connect(unique()))
    client.expect_refused(0x97)


def test_broker_at_its_limit_of_connections_is_not_ready_until_one_goes(serve, health, connect):
    broker = serve({"limits": {"connections": 2}})
    first = connect(V5, broker=broker)
    assert health.get("/ready") == READY
    connect(V5, broker=broker)
    wait_until(lambda: health.get("/ready") == not_ready("connections_full"), "full")
    assert health.agent() == "ready up 0%\n"
    first.close()
    wait_until(lambda: health.get("/ready") == READY, "room")
    assert health.agent() == "ready up 50%\n"


def test_worker_that_hangs_is_a_failure(serve, health):
    broker = serve()
    with frozen(broker.process.pid, "worker-1"):
        failed = (503, {"status": "failed", "reason": "worker_stuck"})
        wait_until(lambda: health.get("/health") == failed, "failed", 10 + 4 * patience())
        assert health.get("/ready") == not_ready("worker_stuck")
        assert health.agent() == "stopped #worker_stuck\n"
    wait_until(lambda: health.get("/health") == ALIVE, "well again")
    assert health.get("/ready") == READY


# ---- the agent's line -------------------------------------------------------------------------


def test_agent_says_a_weight_and_closes(probed, shared):
    assert shared.agent() in ("ready up 100%\n", "ready up 95%\n", "up 100%\n", "up 95%\n")


def test_agent_answers_whatever_it_is_sent(probed, shared):
    with socket.create_connection(("127.0.0.1", shared.agent_port), patience()) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        assert b"up " in raw.recv(256)


def test_weight_falls_with_connections(serve, health, connect):
    broker = serve({"limits": {"connections": 20}})
    assert health.agent() == "ready up 100%\n"
    for _ in range(12):
        connect(V5, broker=broker)
    assert health.agent() == "ready up 40%\n"


def test_weight_falls_with_load(serve, health, connect, topic):
    broker = serve({"workers": 1})
    before = int(health.agent().split()[-1].rstrip("%\n"))
    client = connect(V5, broker=broker)
    client.subscribe(topic)
    done = threading.Event()

    def load():
        message = encode(publish(topic, b"x" * 100), V5)
        with contextlib.suppress(OSError):
            while not done.is_set():
                client.socket.sendall(message * 500)

    def read():
        with contextlib.suppress(OSError):
            while client.socket.recv(1 << 20):
                pass
    threads = [threading.Thread(target=work) for work in (load, read)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: int(health.agent().split()[-1].rstrip("%\n")) <= before - 10, "less", 60)
    finally:
        done.set()
        client.socket.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


# ---- who asks nothing -------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET /ready HTTP/1.1\r\nX: "], ids=["silent", "slow"])
def test_those_who_ask_nothing_keep_nobody_out(serve, health, sent):
    serve()
    with contextlib.ExitStack() as crowd:
        for _ in range(200):
            raw = crowd.enter_context(socket.create_connection(("127.0.0.1", health.port), patience()))
            raw.sendall(sent)
        assert health.get("/ready") == READY


def test_those_who_do_not_close_keep_nobody_out(serve, health):
    serve()
    with contextlib.ExitStack() as crowd:
        for _ in range(200):
            raw = crowd.enter_context(socket.create_connection(("127.0.0.1", health.port), patience()))
            raw.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
        assert health.get("/ready") == READY
        for _ in range(200):
            crowd.enter_context(socket.create_connection(("127.0.0.1", health.agent_port), patience()))
        assert "up " in health.agent()


def test_request_that_does_not_end_is_cut_after_five_seconds(serve, health):
    serve()
    with socket.create_connection(("127.0.0.1", health.port), patience()) as raw:
        raw.settimeout(5 + patience())
        raw.sendall(b"GET /ready HTTP/1.1\r\n")
        begun = time.monotonic()
        assert raw.recv(4096).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - begun > 4


def test_probes_find_their_answer_while_many_clients_publish(serve, health, connect, topic):
    broker = serve()
    clients = [connect(V5, broker=broker) for _ in range(20)]
    for client in clients:
        client.subscribe(topic)
    for client in clients:
        for _ in range(20):
            client.publish(topic, b"x")
    assert health.get("/ready") == READY

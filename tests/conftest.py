# SPDX-License-Identifier: Apache-2.0
"""Fixtures of every suite that runs the real broker. tests/README.md shows them at work."""

import json
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from kit import PEER, Broker, RawClient, unique  # noqa: E402
from kit.broker import Peer  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "rule(*ids): the one to three rows of tests/spec it tests")


class _Brokers:
    """One broker per configuration and pytest worker, started when first asked for."""

    def __init__(self):
        self.running = {}

    def get(self, config=None, **options):
        key = json.dumps([config or {}, {k: str(v) for k, v in options.items()}], sort_keys=True)
        broker = self.running.get(key)
        if broker is None or broker.stopped:
            broker = Peer() if PEER else Broker(config, **options)
            self.running[key] = broker
        return broker

    def check(self):
        """A broker that fails is not used again, so one crash is one failed test."""
        for key, broker in list(self.running.items()):
            try:
                broker.check()
            except AssertionError:
                del self.running[key]
                broker.kill()
                raise

    def close(self):
        failures = []
        for broker in self.running.values():
            try:
                broker.close() if isinstance(broker, Broker) else broker.stop()
            except AssertionError as failure:
                failures.append(str(failure))
        assert not failures, "\n\n".join(failures)


@pytest.fixture(scope="session")
def _brokers():
    brokers = _Brokers()
    yield brokers
    brokers.close()


@pytest.fixture(autouse=True)
def _brokers_unharmed(_brokers):
    yield
    _brokers.check()


@pytest.fixture
def broker(_brokers):
    """The broker that tests share: default configuration, two workers."""
    return _brokers.get()


@pytest.fixture
def broker_with(_brokers):
    """broker_with({"limits": {"packet_bytes": 1024}}): a broker of that configuration, shared by
    the tests that ask for the same one."""
    def get(config, **options):
        if PEER:
            pytest.skip("needs a configuration that only Skein reads")
        return _brokers.get(config, **options)
    return get


@pytest.fixture
def own_broker():
    """own_broker(config): a broker that this test alone uses and may stop or kill."""
    if PEER:
        pytest.skip("needs a broker that it may stop")
    started = []

    def start(config=None, **options):
        started.append(Broker(config, **options))
        return started[-1]
    yield start
    for each in started:
        each.close()


@pytest.fixture
def dial(broker):
    """dial(V5): a connection that has not sent CONNECT. Closed after the test."""
    opened = []

    def open_connection(version, broker=broker, **options):
        opened.append(RawClient(broker, version, **options))
        return opened[-1]
    yield open_connection
    for each in opened:
        each.close()


@pytest.fixture
def connect(dial, broker):
    """connect(V5, clean_start=False, ...): a client that is connected; fields as in wire.connect.
    `broker=` another one, `websocket=True` over WebSocket."""
    def open_client(version, client_id=None, broker=broker, websocket=False, **fields):
        client = dial(version, broker=broker, websocket=websocket)
        client.connect(client_id, **fields)
        return client
    return open_client


@pytest.fixture
def topic(request):
    """A topic of this test's own, and the start of others: f"{topic}/a"."""
    return unique(re.sub(r"\W+", "-", request.node.name.removeprefix("test_"))[:40] + "/")


@pytest.fixture
def client_id():
    """A client identifier of this test's own, for sessions that outlive a connection."""
    return unique()

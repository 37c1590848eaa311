# SPDX-License-Identifier: Apache-2.0
"""Brokers on the store of the tests (src/store/late.c), and clients whose state it keeps."""

import pytest

from kit import V5, patience

from kit.shards import client_id_of

DELAY_MS = 60
AWAY_MS = round(60 * patience())  # in twice this a client goes and comes back
MINUTE_MS = 60_000


def store(delay_ms, fail_every=0):
    return {"environment": {"SKEIN_TEST_STORE": f"{delay_ms},{fail_every}"}}


@pytest.fixture
def late(broker_with):
    """What has to be kept is safe DELAY_MS later, twice or three times that in some shards."""
    return broker_with({}, **store(DELAY_MS))


@pytest.fixture
def away_late(broker_with):
    """The same with AWAY_MS."""
    return broker_with({}, **store(AWAY_MS))


@pytest.fixture
def minute_late(broker_with):
    """What waits for the store does not come while a test runs."""
    return broker_with({}, **store(MINUTE_MS))


@pytest.fixture
def failing(own_broker):
    """failing(3): each third commit of a shard fails. Commits of the client ids that a test makes
    are the only ones in their shards."""
    return lambda every, delay_ms=1: own_broker({}, **store(delay_ms, every))


@pytest.fixture
def durable(connect):
    """durable(broker): a client whose session outlives its connection; `pace` and `worker` as in
    client_id_of()."""
    def get(broker, version=V5, pace=None, worker=None, client_id=None, **fields):
        client_id = client_id or client_id_of(pace, worker)
        if version == V5:
            fields.setdefault("properties", {})["session_expiry_interval"] = 3600
        return connect(version, client_id, broker=broker, clean_start=False, **fields)
    return get


@pytest.fixture
def clean(connect):
    """The same for a client whose session ends with its connection."""
    def get(broker, version=V5, worker=None, **fields):
        return connect(version, client_id_of(worker=worker), broker=broker, **fields)
    return get

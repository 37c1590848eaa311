# SPDX-License-Identifier: Apache-2.0
"""Nodes that are home of fixed shards."""

import pytest

from kit import PEER
from kit.nodes import Nodes, homes_of


@pytest.fixture
def tunnelled():
    """tunnelled(2): that many nodes that have met, each home of its share of the shards."""
    if PEER:
        pytest.skip("needs brokers of its own")
    started = []

    def start(count, config=None, homes=None):
        environment = {"SKEIN_TEST_HOMES": homes or homes_of(count)}
        started.append(Nodes(count, config, environment))
        return started[-1].wait_until_all_are_here()
    yield start
    for each in started:
        for node in each:
            node.close()

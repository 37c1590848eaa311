# SPDX-License-Identifier: Apache-2.0
"""Some nodes of one cluster on loopback."""

import pytest

from kit import PEER
from kit.nodes import Nodes


@pytest.fixture
def nodes():
    """nodes(3): that many nodes that have met; nodes(3, meet=False)."""
    if PEER:
        pytest.skip("needs brokers of its own")
    started = []

    def start(count, config=None, meet=True):
        started.append(Nodes(count, config))
        return started[-1].wait_until_all_are_here() if meet else started[-1]
    yield start
    for each in started:
        for node in each:
            node.close()

# SPDX-License-Identifier: Apache-2.0
"""Three nodes on three machines, in peace: all rules hold."""

import os

from .main import one_run

SEED = os.environ.get("SKEIN_CLUSTER_SEED", "1")
SECONDS = 5


def test_three_nodes_keep_all_rules():
    result = one_run(SEED, SECONDS, calm=True, keep=True, rate=60, arrive_s=4.0)
    assert not result.violations, f"kept in {result.folder}:\n" + "\n".join(map(repr, result.violations[:10]))
    kinds = [event.kind for event in result.history.events]
    assert kinds.count("deliver") > 500 and kinds.count("seen") > 3
    result.forget()

# SPDX-License-Identifier: Apache-2.0
"""Three nodes on three machines, held to the rules that hold so far. The others are checked too, and a broken
one is found: so this is also the harness's own test."""

import os

from . import checker
from .main import one_run

SEED = os.environ.get("SKEIN_CLUSTER_SEED", "1")
SECONDS = 5
HOLDS = {"C1", "C5", "answer", "trouble"}


def test_three_nodes_keep_the_rules_that_hold_so_far():
    result = one_run(SEED, SECONDS, calm=True, rate=60, arrive_s=4.0)
    kept = [violation for violation in result.violations if violation.rule in HOLDS]
    assert not kept, f"kept in {result.folder}:\n" + "\n".join(map(repr, kept[:10]))
    assert set(result.rules) <= set(checker.RULES) - HOLDS
    kinds = [event.kind for event in result.history.events]
    assert kinds.count("deliver") > 500 and kinds.count("seen") > 3
    result.forget()

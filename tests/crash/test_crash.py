# SPDX-License-Identifier: Apache-2.0
"""Nothing that was acknowledged is lost, however the broker dies: the short form. SKEIN_CRASH_SEED
plays other histories; `./dev soak crash KILLS` plays many."""

import os

import pytest

from .main import one_history, sorts
from .world import few_of_each

SEED = os.environ.get("SKEIN_CRASH_SEED", "1")
KILLS = 6
BROKEN = {"SKEIN_TEST_BREAK": "ack_before_commit"}
ATTEMPTS = 4
MISSING = {"lost", "session", "retained", "will lost", "share"}


@pytest.mark.parametrize("sort", sorts())
def test_nothing_acknowledged_is_lost_however_the_broker_dies(sort):
    result = one_history(f"{SEED}.{sort}", sort, KILLS)
    assert not result.violations, f"kept in {result.folder}:\n" + "\n".join(
        map(repr, few_of_each(result.violations, 5)))
    assert result.done[sort] > KILLS / 2
    assert result.messages > 0 and result.deliveries > 0


def missing(seed, sort, **options):
    """What kinds of acknowledged things are found missing, in as many attempts as it takes."""
    for attempt in range(ATTEMPTS):
        result = one_history(f"{seed}.{attempt}", sort, KILLS, keep=False, **options)
        found = {violation.kind for violation in result.violations} & MISSING
        result.forget()
        if found:
            return found
    return set()


@pytest.mark.parametrize("sort", ["power", "store.before_write"])
def test_a_broker_that_acknowledges_before_it_commits_is_caught(sort):
    assert missing("broken", sort, environment=BROKEN)


def test_a_broker_that_takes_a_topic_of_fsync_for_one_of_memory_is_caught():
    wrong = [{"filter": "c/+/a", "durability": "memory"}, {"filter": "c/+/b", "durability": "memory"}]
    assert "lost" in missing("weak", "kill", config={"durability_topics": wrong})


def test_a_broker_that_keeps_nothing_is_caught():
    assert {"session", "lost"} <= missing("memory", "kill", config={"durability": "memory",
                                                                "durability_topics": []})

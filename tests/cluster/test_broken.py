# SPDX-License-Identifier: Apache-2.0
"""Brokers that are broken on purpose are caught. Here the one that shows soonest;
`./dev cluster-test broken` plays all, and the same runs with a whole one."""

import pathlib
import re

import pytest

from . import broken

SHORT = ["no_dedupe"]
ELSEWHERE = {"ack_before_commit"}  # one node is enough for that: test_workload.py, ../crash
BREAKS = pathlib.Path(__file__).resolve().parents[2] / "src/base/breaks.h"


def test_everything_that_may_be_broken_has_its_runs():
    names = set(re.findall(r'^ *X\(BREAK_\w+, "(\w+)"', BREAKS.read_text(), re.MULTILINE))
    assert names == set(broken.ALL) | ELSEWHERE


@pytest.mark.parametrize("name", SHORT)
def test_broken_broker_is_caught(name):
    seen = []
    for run in broken.runs(name):
        seen.append(run.line)
        if run.caught:
            return
    pytest.fail(f"none of {sorted(broken.ALL[name].rules)} was broken:\n" + "\n".join(seen))

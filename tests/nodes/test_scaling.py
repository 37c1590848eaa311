# SPDX-License-Identifier: Apache-2.0
"""docs/scaling.md: its tables are the model's, and the model is right where it can be tried."""

import re
import subprocess
import sys

import pytest

from kit import PEER
from kit.broker import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import scaling  # noqa: E402

PAGE = (ROOT / "docs/scaling.md").read_text()


def test_tables_of_the_page_are_those_of_the_model():
    made = subprocess.run([sys.executable, ROOT / "tools/scaling.py", "table"], capture_output=True,
                          text=True, check=True).stdout
    tables = [table.strip() for table in made.split("\n\n")]
    assert len(tables) == 3
    for table in tables:
        assert table in PAGE, f"docs/scaling.md lacks what `tools/scaling.py table` prints:\n{table}"


def test_constants_of_the_page_are_those_of_the_model():
    shown = dict(re.findall(r"^\| `(\w+)` \| ([\d.,]+)", PAGE, re.MULTILINE))
    assert {name: float(value.replace(",", "")) for name, value in shown.items()} == scaling.CONSTANTS


@pytest.mark.skipif(PEER, reason="needs brokers of its own")
def test_real_nodes_need_what_the_model_says():
    assert scaling.check_all([2, 4], seconds=4) == []


def test_model_that_is_wrong_is_noticed(monkeypatch):
    if PEER:
        pytest.skip("needs brokers of its own")
    for name in ("route_memory", "mark", "publish_head"):
        monkeypatch.setitem(scaling.CONSTANTS, name, 200_000)
    found, heap = scaling.check(2, filters=500, seconds=1, publications=20)
    wanted = {"bytes to forward them", "bytes to tell 500 filters of 16 bytes"}
    if heap:  # a sanitizer's heap is not counted
        wanted.add("memory for them, of 16 bytes, told by 0 others")
    assert wanted <= {what for _, what, _, _ in found}

# SPDX-License-Identifier: Apache-2.0
"""Stores of all formats that there have ever been: this version starts on them with all that is in
them. make_fixture.py has written them."""

import json
import pathlib
import tarfile

import pytest

from kit import PUBREL, V5, V311

FIXTURES = sorted(pathlib.Path(__file__).parent.glob("fixtures/store-format-*.tar.gz"))


@pytest.fixture(params=FIXTURES, ids=lambda path: path.name.split(".")[0])
def old(request, node, tmp_path):
    """A Node on a store of that format; .expected is what it was exported as."""
    with tarfile.open(request.param) as tar:
        tar.extractall(tmp_path)
    n = node(tmp_path / "data")
    n.expected = [json.loads(line) for line in (tmp_path / "expected.jsonl").open()]
    return n


def test_there_is_a_store_of_each_format():
    assert [path.name for path in FIXTURES] == ["store-format-1.tar.gz"]


def test_old_store_is_good_and_has_all(old):
    assert old.tool("check", old.data).returncode == 0
    now = old.lines()
    assert len(now) == len(old.expected)
    for before, after in zip(old.expected[1:], now[1:]):
        assert {name: after.get(name) for name in before} == before


def test_old_store_is_served_from(old):
    old.start()
    one = old.client(V5)
    connack = one.connect("one", clean_start=False, properties={"session_expiry_interval": 60})
    assert connack.session_present
    got = {}
    while len(got) < 23:
        packet = one.receive()
        got[packet.topic] = packet
    assert got["plain/3"].properties.all("user_property") == [("number", "3")]
    assert got["options"].properties.get("subscription_identifier") == 7
    assert got["shared/a"].qos == 2 and len(got["plain/large"].payload) == 6000
    two = old.client(V311)
    assert two.connect("zwei-ü", clean_start=False).session_present
    assert two.receive().topic == "plain/0"
    half = old.client(V5)
    half.connect("half-way", clean_start=False, properties={"session_expiry_interval": 60})
    half.wait_for(PUBREL)
    reader = old.client(V5)
    reader.connect()
    reader.subscribe("kept/#", 2)
    kept = {}
    while len(kept) < 6:
        packet = reader.receive()
        kept[packet.topic] = packet.payload
    assert kept["kept/bytes"] == bytes(range(256)) and kept["kept/4"] == b"kept 4"
    old.stop()

# SPDX-License-Identifier: Apache-2.0
"""A damaged store: the broker starts and says what was lost, or refuses with the command that helps,
and that command works. Nothing is ever lost silently."""

import os
import re
import shutil
import struct

import pytest

from kit import V5

from . import wal

DATA_ERROR, UNAVAILABLE, IO_ERROR = 65, 69, 74
META_KEY = b"\xff\xffv"


def only(store, pattern):
    found = sorted(store.glob(pattern))
    assert found, f"no {pattern}"
    return found[-1]


def largest(store, pattern):
    return max(store.glob(pattern), key=lambda path: path.stat().st_size)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def halve(path):
    os.truncate(path, path.stat().st_size // 2)


def command_of(said):
    """The command that the broker tells to run."""
    found = re.search(r"^  skein store (salvage .*)$", said, re.MULTILINE)
    assert found, said
    return found.group(1).split()


def recover(node):
    """Refused, salvaged, good, started. Gives what the salvage said."""
    code, said = node.refused()
    assert code == DATA_ERROR, said
    done = node.tool(*command_of(said))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(node.data.glob("store.damaged-*Z"))) == 1
    assert len(list(node.data.glob("store.damaged-*.lost.txt"))) == 1
    assert node.tool("check", node.data).returncode == 0
    return done.stdout


def starts(node):
    node.start()
    node.client(V5).connect()
    node.kill()


# ---- torn ends --------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 5, 6, 7, 8, 60, 300, 1000, 4000, 9000, 20000])
def test_log_that_ends_torn_costs_what_was_being_written_and_says_so(filled, node, cut):
    n, whole = node(filled / "log"), node(filled / "log")
    log = only(n.store, "*.log")
    os.truncate(log, log.stat().st_size - cut)
    left = log.stat().st_size
    kept = [record for record in wal.records(only(whole.store, "*.log").read_bytes())
            if record[1] <= left]
    torn = left - kept[-1][1]
    n.start()
    assert ("store.log_ends_torn" in n.log) == (torn > 0)
    if torn > 0:
        assert f"at={kept[-1][1]} bytes={torn}" in n.log
    n.kill()


@pytest.mark.parametrize("cut", [3, 700, 15000])
def test_torn_log_loses_a_suffix_only(filled, node, cut):
    n = node(filled / "log")
    before = n.lines()
    log = only(n.store, "*.log")
    os.truncate(log, log.stat().st_size - cut)
    after = n.lines()

    def queue(lines, client):
        return [line["sequence"] for line in lines
                if line.get("kind") == "queued" and line["client"] == client]
    for client in {line["client"] for line in before if line.get("kind") == "session"}:
        left = queue(after, client)
        assert left == queue(before, client)[:len(left)]


def test_end_of_zeros_is_the_end(filled, node):
    n = node(filled / "log")
    before = n.content()
    log = only(n.store, "*.log")
    log.write_bytes(log.read_bytes() + bytes(5000))
    assert n.content() == before
    starts(n)


# ---- damage in a log --------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.02, 0.15, 0.3])  # later ones may not have been synced
@pytest.mark.parametrize("where", ["checksum", "length", "type", "body"])
def test_flipped_bit_in_a_log_is_refused_and_costs_one_record(filled, node, part, where):
    n = node(filled / "log")
    log = only(n.store, "*.log")
    found = wal.records(log.read_bytes())
    index = int(len(found) * part)
    begin = found[index][0]
    flip(log, begin + {"checksum": 1, "length": 4, "type": 6, "body": 20}[where])
    before = node(filled / "log").content()
    said = recover(n)
    after = n.content()
    assert f"{log.name}: " in said and f"at {begin} with {found[index][3]} changes" in said
    assert len(before - after) <= found[index][3] + 3 * sum(
        '"session"' in line for line in before - after)
    starts(n)


def test_zeros_in_the_middle_of_a_log_are_damage(filled, node):
    n = node(filled / "log")
    log = only(n.store, "*.log")
    data = bytearray(log.read_bytes())
    found = wal.records(bytes(data))
    middle = found[len(found) // 2][0]
    data[middle:middle + 512] = bytes(512)
    log.write_bytes(data)
    recover(n)
    starts(n)


# ---- damage elsewhere -------------------------------------------------------------------------


DAMAGE = {
    "CURRENT is missing": lambda store: (store / "CURRENT").unlink(),
    "CURRENT is empty": lambda store: os.truncate(store / "CURRENT", 0),
    "CURRENT has a wrong bit": lambda store: flip(store / "CURRENT", 12),
    "the manifest is missing": lambda store: only(store, "MANIFEST-*").unlink(),
    "the manifest is half": lambda store: halve(only(store, "MANIFEST-*")),
    "the manifest is empty": lambda store: os.truncate(only(store, "MANIFEST-*"), 0),
    "the manifest has a wrong bit at its end":
        lambda store: flip(only(store, "MANIFEST-*"), only(store, "MANIFEST-*").stat().st_size - 9),
    "the manifest has a wrong bit": lambda store: flip(only(store, "MANIFEST-*"), 100),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("kind", ["log", "tables"])
def test_lost_index_costs_nothing(filled, node, how, kind):
    n = node(filled / kind)
    before = n.content()
    DAMAGE[how](n.store)
    recover(n)
    assert before - n.content() == set()
    starts(n)


def cut_records(path, count):
    data = path.read_bytes()
    at, ends = 0, []
    while at + wal.HEAD <= len(data):
        at += wal.HEAD + struct.unpack_from("<H", data, at + 4)[0]
        ends.append(at)
    os.truncate(path, ends[-1 - count])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_manifest_that_was_cut_between_records_hides_nothing(filled, node, count):
    n = node(filled / "tables")
    before = n.content()
    cut_records(only(n.store, "MANIFEST-*"), count)
    code, _ = n.refused()
    if code == DATA_ERROR:
        recover(n)
    else:
        n.start()
        n.kill()
    assert before - n.content() == set()


def test_missing_log_is_told(filled, node):
    n = node(filled / "tables")
    only(n.store, "*.log").unlink()
    assert "there is no write-ahead log" in recover(n)
    starts(n)


@pytest.mark.parametrize("at", [100, 0.3, 0.6])
def test_wrong_bit_in_a_table_costs_a_block_of_one_family(filled, node, at):
    """The largest table is that of the queues."""
    n = node(filled / "tables")
    before = n.content()
    table = largest(n.store, "*.sst")
    flip(table, at if at >= 1 else int(table.stat().st_size * at))
    said = recover(n)
    lost = before - n.content()
    assert lost and all('"kind": "queued"' in line or '"kind": "shared"' in line for line in lost)
    assert len(lost) < len(before) / 2
    assert "lost: queues: not all can be read" in said and table.name in said
    assert re.search(r"lost: session pump-\d+: ", said)
    starts(n)


def test_wrong_bit_in_the_table_of_sessions_costs_no_session(filled, node):
    n = node(filled / "tables")
    before = n.lines()
    table = min(n.store.glob("*.sst"), key=lambda path: path.name)
    flip(table, 300)
    said = recover(n)
    assert "without their checksum" in said
    assert len(n.lines()) >= len(before) - 1
    starts(n)


FOOT = 53  # bytes at the end of a table, by which its index is found


@pytest.mark.parametrize("which", ["largest", "sessions"])
@pytest.mark.parametrize("what", ["foot", "end"])
def test_table_without_an_index_is_read_block_by_block(filled, node, which, what):
    n = node(filled / "tables")
    before = n.content()
    table = largest(n.store, "*.sst") if which == "largest" else min(n.store.glob("*.sst"))
    size = table.stat().st_size
    flip(table, size - 4) if what == "foot" else os.truncate(table, size - FOOT)
    said = recover(n)
    assert f"{table.name}: damaged; what is whole in it was read" in said
    assert said.count("what is whole in it was read") == 1
    assert n.content() == before
    starts(n)


def test_table_without_an_index_loses_its_bad_block_only(filled, node):
    n = node(filled / "tables")
    before = n.content()
    table = largest(n.store, "*.sst")
    flip(table, 6000)
    flip(table, table.stat().st_size - 4)
    recover(n)
    lost = before - n.content()
    assert lost and len(lost) < len(before) / 2
    assert all('"kind": "queued"' in line or '"kind": "shared"' in line for line in lost)
    starts(n)


def test_missing_table_costs_what_was_in_it(filled, node):
    n = node(filled / "tables")
    table = largest(n.store, "*.sst")
    table.unlink()
    said = recover(n)
    assert table.stem in said and "queues: not all can be read" in said
    lines = n.lines()
    assert sum(line.get("kind") == "session" for line in lines) == 12
    assert sum(line.get("kind") == "retained" for line in lines) == 65
    starts(n)


@pytest.mark.parametrize("how", ["missing", "half", "wrong bit"])
def test_damaged_file_of_large_messages_costs_those_in_it(filled, node, how):
    n = node(filled / "tables")
    before = n.content()
    blob = largest(n.store, "*.blob")
    if how == "missing":
        blob.unlink()
    elif how == "half":
        halve(blob)
    else:
        flip(blob, blob.stat().st_size // 3)
    said = recover(n)
    lost = before - n.content()
    assert lost and all("large large" in line for line in lost)
    assert re.search(r"lost: session pump-\d+: ", said)
    starts(n)


# ---- what is no damage ------------------------------------------------------------------------


def test_store_of_a_newer_version_is_refused_and_left_alone(filled, node):
    n = node(filled / "log")
    wal.append_put(only(n.store, "*.log"), META_KEY, struct.pack("<IIQ", 99, 64, 7))
    before = only(n.store, "*.log").read_bytes()
    code, said = n.refused()
    assert code == DATA_ERROR and "its format is 99, this version reads up to 1" in said
    assert "salvage" not in said
    done = n.tool("salvage", n.data)
    assert done.returncode == DATA_ERROR and "99" in done.stderr
    assert n.tool("check", n.data).returncode == DATA_ERROR
    tables = b"".join(path.read_bytes() for path in n.store.glob("*.sst"))
    assert only(n.store, "*.log").read_bytes() == before or b"pump-0" in tables


def test_second_broker_on_the_same_directory_is_refused(filled, node):
    n = node(filled / "tables")
    n.start()
    code, said = n.refused()
    assert code == UNAVAILABLE and "another broker uses this data directory" in said
    (n.data / "control.sock").rename(n.data / "elsewhere")  # the lock of the store holds alone
    code, said = n.refused()
    assert code == IO_ERROR and "another process uses the data directory" in said
    n.client(V5).connect()
    for action in (["check", n.data], ["salvage", n.data], ["export", n.data]):
        done = n.tool(*action)
        assert done.returncode == 69 and "skein store backup -d" in done.stderr
    n.stop()


def test_directory_that_cannot_be_written_to_is_named(filled, node):
    n = node(filled / "tables")
    os.chmod(n.folder, 0o755)
    n.data.chmod(0o555)
    n.binary = shutil.copy(n.binary, n.folder)  # the checkout may be closed to others
    as_nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    code, said = n.refused(**as_nobody)
    n.data.chmod(0o755)
    assert code == IO_ERROR and str(n.data) in said and "-d names another one" in said

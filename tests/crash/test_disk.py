# SPDX-License-Identifier: Apache-2.0
"""The disk that forgets keeps its own promises: what is synced is there, what is not may be gone."""

import os
import random
import socket
import time

import pytest

from .disk import Disk


@pytest.fixture
def disk():
    with Disk() as made:
        yield made


def write(path, data, at=0, sync=False, flags=os.O_RDWR | os.O_CREAT):
    fd = os.open(path, flags, 0o644)
    os.pwrite(fd, data, at)
    if sync:
        os.fdatasync(fd)
    os.close(fd)


def sync_directory(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def test_before_a_cut_it_is_a_file_system_like_any_other(disk):
    model, path, draw = bytearray(), disk.mount / "file", random.Random(1)
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    for _ in range(600):
        at, data = draw.randrange(0, 20_000), draw.randbytes(draw.randrange(1, 3000))
        way = draw.random()
        if way < 0.6:
            os.pwrite(fd, data, at)
            model.extend(bytes(max(0, at + len(data) - len(model))))
            model[at:at + len(data)] = data
        elif way < 0.7:
            os.ftruncate(fd, at)
            del model[at:]
            model.extend(bytes(max(0, at - len(model))))
        elif way < 0.8:
            os.fsync(fd)
        else:
            assert os.pread(fd, len(data), at) == bytes(model[at:at + len(data)])
    assert os.fstat(fd).st_size == len(model)
    assert path.read_bytes() == bytes(model)
    os.fsync(fd)
    disk.cut()
    assert path.read_bytes() == bytes(model)
    os.close(fd)


def test_a_write_that_was_not_synced_is_gone_after_the_cut(disk):
    write(disk.mount / "a", b"first", sync=True)
    write(disk.mount / "a", b"SECOND!")
    assert (disk.mount / "a").read_bytes() == b"SECOND!"
    disk.cut()
    assert (disk.mount / "a").read_bytes() == b"first"


def test_a_synced_write_is_there_after_the_cut(disk):
    write(disk.mount / "a", b"x" * 100_000, sync=True)
    write(disk.mount / "b", b"y", flags=os.O_RDWR | os.O_CREAT | os.O_DSYNC)
    disk.cut()
    assert (disk.mount / "a").read_bytes() == b"x" * 100_000
    assert (disk.mount / "b").read_bytes() == b"y"


def test_a_file_that_was_never_synced_has_no_name_after_the_cut(disk):
    write(disk.mount / "a", b"data")
    disk.cut()
    assert os.listdir(disk.mount) == []


def test_a_synced_directory_keeps_the_name_but_not_the_data(disk):
    write(disk.mount / "a", b"data")
    sync_directory(disk.mount)
    disk.cut()
    assert (disk.mount / "a").read_bytes() == b""


def test_a_truncation_that_was_not_synced_is_undone(disk):
    write(disk.mount / "a", b"0123456789", sync=True)
    os.truncate(disk.mount / "a", 3)
    assert (disk.mount / "a").read_bytes() == b"012"
    disk.cut()
    assert (disk.mount / "a").read_bytes() == b"0123456789"


def test_a_rename_holds_when_its_directory_is_synced(disk):
    write(disk.mount / "current", b"old", sync=True)
    write(disk.mount / "new", b"new", sync=True)
    os.rename(disk.mount / "new", disk.mount / "current")
    assert (disk.mount / "current").read_bytes() == b"new"
    disk.cut()
    assert sorted(os.listdir(disk.mount)) == ["current", "new"]
    assert (disk.mount / "current").read_bytes() == b"old"
    os.rename(disk.mount / "new", disk.mount / "current")
    sync_directory(disk.mount)
    disk.cut()
    assert os.listdir(disk.mount) == ["current"]
    assert (disk.mount / "current").read_bytes() == b"new"


def test_a_rename_between_directories_never_loses_or_doubles_the_file(disk):
    (disk.mount / "from").mkdir()
    (disk.mount / "to").mkdir()
    write(disk.mount / "from/a", b"a", sync=True)
    sync_directory(disk.mount)
    os.rename(disk.mount / "from/a", disk.mount / "to/a")
    sync_directory(disk.mount / "from")
    disk.cut()
    assert os.listdir(disk.mount / "from") == [] and os.listdir(disk.mount / "to") == ["a"]


def test_an_unlink_that_was_not_synced_is_undone(disk):
    write(disk.mount / "a", b"still here", sync=True)
    os.unlink(disk.mount / "a")
    assert not (disk.mount / "a").exists()
    disk.cut()
    assert (disk.mount / "a").read_bytes() == b"still here"
    os.unlink(disk.mount / "a")
    sync_directory(disk.mount)
    disk.cut()
    assert os.listdir(disk.mount) == []


def test_a_synced_file_brings_the_new_directories_above_it(disk):
    (disk.mount / "x/y").mkdir(parents=True)
    write(disk.mount / "x/y/a", b"a", sync=True)
    write(disk.mount / "x/y/b", b"b")
    disk.cut()
    assert (disk.mount / "x/y/a").read_bytes() == b"a"
    assert os.listdir(disk.mount / "x/y") == ["a"]


def test_a_hard_link_is_a_second_name_of_the_same_file(disk):
    write(disk.mount / "a", b"one", sync=True)
    os.link(disk.mount / "a", disk.mount / "b")
    sync_directory(disk.mount)
    disk.cut()
    write(disk.mount / "b", b"two", sync=True)
    assert (disk.mount / "a").read_bytes() == b"two"
    os.unlink(disk.mount / "a")
    sync_directory(disk.mount)
    disk.cut()
    assert (disk.mount / "b").read_bytes() == b"two"


def test_an_unlinked_file_that_is_open_can_be_used_until_it_is_closed(disk):
    fd = os.open(disk.mount / "a", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"data")
    os.unlink(disk.mount / "a")
    sync_directory(disk.mount)
    assert os.pread(fd, 10, 0) == b"data"
    os.close(fd)
    deadline = time.monotonic() + 5  # the kernel says later that it is closed
    while os.listdir(disk.folder / "backing/limbo"):
        assert time.monotonic() < deadline


def test_a_file_that_was_open_at_the_cut_is_dead(disk):
    fd = os.open(disk.mount / "a", os.O_RDWR | os.O_CREAT)
    disk.cut()
    with pytest.raises(OSError):
        os.write(fd, b"data")
    os.close(fd)


def test_a_torn_cut_keeps_some_of_what_was_not_synced_and_all_of_what_was(disk):
    old, new = b"o" * 64 * 512, b"n" * 128 * 512
    seen = set()
    for seed in range(40):
        write(disk.mount / "a", old, sync=True)
        os.truncate(disk.mount / "a", len(old))
        write(disk.mount / "a", new[:64 * 512], at=64 * 512)  # behind what is synced
        disk.tell(f"cut torn {seed}")
        data = (disk.mount / "a").read_bytes()
        assert data[:len(old)] == old
        rest = data[len(old):]
        assert set(rest) <= {0, ord("n")}
        sectors = [rest[at:at + 512] for at in range(0, len(rest), 512)]
        seen.add("nothing" if not rest else "holes" if any(not any(s) for s in sectors) else "start")
        os.unlink(disk.mount / "a")
        sync_directory(disk.mount)
    assert seen == {"nothing", "holes", "start"}


def test_a_torn_cut_keeps_a_start_of_the_changes_of_names_in_their_order(disk):
    kept = set()
    for seed in range(30):
        for number in range(5):
            write(disk.mount / f"{number}", b"")
        disk.tell(f"cut torn {seed}")
        names = sorted(os.listdir(disk.mount))
        assert names == [str(number) for number in range(len(names))]
        kept.add(len(names))
        for name in names:
            os.unlink(disk.mount / name)
        sync_directory(disk.mount)
    assert len(kept) > 3


def test_the_same_seed_tears_the_same_way(disk):
    results = []
    for _ in range(2):
        write(disk.mount / "a", b"", sync=True)
        os.truncate(disk.mount / "a", 0)
        write(disk.mount / "a", b"n" * 20_000)
        disk.tell("cut torn 12")
        results.append((disk.mount / "a").read_bytes())
        os.unlink(disk.mount / "a")
        sync_directory(disk.mount)
    assert results[0] == results[1]


def test_what_would_be_left_can_be_looked_at(disk):
    write(disk.mount / "a", b"synced", sync=True)
    write(disk.mount / "a", b"LATER!!")
    assert (disk.left / "a").read_bytes() == b"synced"
    assert disk.tell("pending") == "ok 0 names 7 bytes"


def test_a_unix_socket_in_it_works(disk):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(disk.mount / "s"))
        listener.listen()
        client.connect(str(disk.mount / "s"))
    disk.cut()
    assert os.listdir(disk.mount) == []

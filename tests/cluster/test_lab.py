# SPDX-License-Identifier: Apache-2.0
"""Each fault of the lab does what it says, and no more; and nothing stays behind."""

import contextlib
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import time

import pytest

from kit import patience

from . import lab as labs
from .lab import Lab

SHORT_S = 0.2  # nothing has come by then: packets here take well under a millisecond
ECHO = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    while data := connection.recv(65536):
        connection.sendall(data)
"""


@pytest.fixture
def lab():
    """Three machines. Where none can be made the test fails, and says why."""
    with Lab(["n1", "n2", "n3"]) as made:
        yield made


class Ear:
    """A UDP port of each machine, to see which single packets come through."""

    def __init__(self, lab):
        self.lab, self.sockets = lab, {}
        for name, machine in lab.machines.items():
            self.sockets[name] = machine.socket(socket.SOCK_DGRAM)
            self.sockets[name].bind((machine.address, 9))

    def send(self, source, target, text=b"x"):
        self.sockets[source].sendto(text, (self.lab[target].address, 9))

    def hears(self, source, target):
        """Whether a packet arrives."""
        return (source, target) in self.pairs([(source, target)])

    def all_pairs(self):
        """{(source, target)} of all that arrives, between all machines."""
        return self.pairs([(a, b) for a in self.sockets for b in self.sockets if a != b])

    def pairs(self, wanted):
        """Which of them arrive. All are sent before the wait."""
        texts = {os.urandom(8): pair for pair in wanted}
        for text, (source, target) in texts.items():
            self.send(source, target, text)
        deadline, arrived = time.monotonic() + SHORT_S, set()
        while len(arrived) < len(wanted) and time.monotonic() < deadline:
            ready, _, _ = select.select(self.sockets.values(), [], [], deadline - time.monotonic())
            arrived |= {texts.get(each.recv(100)) for each in ready}
        return arrived & set(wanted)

    def count(self, source, target, packets):
        """How many of that many arrive. A third machine ends each burst, so that what is lost costs
        no time."""
        third = next(name for name in self.sockets if name not in (source, target))
        arrived, burst = 0, 50  # few at a time: the kernel's buffer drops nothing
        self.sockets[target].settimeout(patience())
        for _ in range(packets // burst):
            for _ in range(burst):
                self.send(source, target)
            self.send(third, target, b"end")
            while self.sockets[target].recv(100) != b"end":
                arrived += 1
        self.sockets[target].settimeout(SHORT_S)
        with contextlib.suppress(socket.timeout):
            while self.sockets[target].recv(100):
                arrived += 1
        return arrived

    def close(self):
        for each in self.sockets.values():
            each.close()


@pytest.fixture
def ear(lab):
    made = Ear(lab)
    yield made
    made.close()


def everybody(lab):
    return {(a, b) for a in lab.machines for b in lab.machines if a != b}


def echo(lab, name, port=7):
    process = lab[name].start([sys.executable, "-c", ECHO, lab[name].address, port], text=True,
                              stdout=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def said(connection, text=b"hello"):
    """Whether an echo comes back."""
    with contextlib.suppress(OSError):
        connection.settimeout(SHORT_S)
        connection.sendall(text)
        return connection.recv(100).endswith(text)
    return False


# ---- the network ----


def test_without_a_fault_everybody_hears_everybody(lab, ear):
    assert ear.all_pairs() == everybody(lab)


def test_a_one_way_cut_cuts_that_way_only(lab, ear):
    cut = lab.cut_one_way("n1", "n2")
    assert ear.all_pairs() == everybody(lab) - {("n1", "n2")}
    cut.undo()
    assert ear.hears("n1", "n2")


def test_a_cut_cuts_both_ways_and_no_third(lab, ear):
    lab.cut("n1", "n2")
    assert ear.all_pairs() == everybody(lab) - {("n1", "n2"), ("n2", "n1")}
    lab.heal()
    assert ear.all_pairs() == everybody(lab)


def test_a_part_leaves_each_group_whole_and_the_clients_everywhere(lab, ear):
    part = lab.part(["n1"])
    gone = {("n1", "n2"), ("n2", "n1"), ("n1", "n3"), ("n3", "n1")}
    assert ear.all_pairs() == everybody(lab) - gone
    part.undo()
    lab.part(["n1", "n2"], clients=True)
    assert ear.all_pairs() == {("n1", "n2"), ("n2", "n1"), ("n3", "clients"), ("clients", "n3")}


def test_one_of_two_cuts_can_be_undone_alone(lab, ear):
    one, other = lab.cut_one_way("n1", "n2"), lab.cut_one_way("n1", "n2")
    one.undo(), one.undo()
    assert not ear.hears("n1", "n2")
    other.undo()
    assert ear.hears("n1", "n2")


def test_a_connection_outlives_a_cut(lab):
    echo(lab, "n2")
    with lab["n1"].connect((lab["n2"].address, 7)) as connection:
        assert said(connection, b"before")
        cut = lab.cut("n1", "n2")
        assert not said(connection, b"meanwhile")
        cut.undo()
        connection.settimeout(patience())
        assert connection.recv(100) == b"meanwhile"


def test_a_cut_of_a_port_leaves_the_others(lab):
    echo(lab, "n2", 7), echo(lab, "n2", 8)
    with lab["n1"].connect((lab["n2"].address, 7)) as one, lab["n1"].connect((lab["n2"].address, 8)) as other:
        lab.cut("n1", "n2", port=7)
        assert not said(one) and said(other)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_loss_takes_about_the_share_asked_and_one_way(lab, ear, share):
    lab.lose("n1", "n2", share)
    packets = 1000
    deviation = (packets * share * (1 - share)) ** 0.5
    assert abs(packets - ear.count("n1", "n2", packets) - packets * share) < 5 * deviation
    assert ear.count("n2", "n1", 200) == 200


def seconds_to_send(lab, source, target, size):
    """Both ends are of this process, so the time ends when the last byte is read."""
    with lab[target].listen() as listener:
        with lab[source].connect(listener.getsockname()) as sender:
            receiver, _ = listener.accept()
            began, left = time.monotonic(), size
            sender.setblocking(False)
            sent = 0
            with receiver:
                receiver.settimeout(patience())
                while left:
                    with contextlib.suppress(BlockingIOError):
                        sent += sender.send(bytes(min(1 << 16, size - sent))) if sent < size else 0
                    left -= len(receiver.recv(1 << 16))
            return time.monotonic() - began


def test_a_slow_machine_is_slow_both_ways_and_others_are_not(lab):
    slow = lab.slow("n1", kbit=4000)  # 500 kB/s
    size, expected_s = 400_000, 0.8
    out, back = seconds_to_send(lab, "n1", "n2", size), seconds_to_send(lab, "n2", "n1", size)
    assert min(out, back) > expected_s / 2
    assert seconds_to_send(lab, "n2", "n3", size) < min(out, back) / 2
    slow.undo()
    assert seconds_to_send(lab, "n1", "n2", size) < min(out, back) / 2


def test_a_mute_port_takes_requests_and_its_answers_are_lost(lab):
    echo(lab, "n1")
    with lab["n1"].connect((lab["n1"].address, 7)) as inside:
        assert said(inside)
        mute = lab.mute("n1", 7)
        assert not said(inside, b"unheard")
        mute.undo()
        inside.settimeout(patience())
        assert inside.recv(100) == b"unheard"


def test_an_answer_that_was_lost_and_then_its_connection_is_lost_for_ever(lab):
    echo(lab, "n1")
    with lab["n1"].connect((lab["n1"].address, 7)) as inside:
        mute = lab.mute("n1", 7)
        assert not said(inside, b"unheard")
        lab.break_connections("n1", 7)
        mute.undo()
        inside.settimeout(patience())
        with pytest.raises(ConnectionAbortedError):
            inside.recv(100)


# ---- the relay ----


def test_a_relay_delays_what_goes_through_it_and_nothing_else(lab):
    echo(lab, "n2", 7)
    relay = lab.relay("n1", "n2", 7)

    def seconds(source):
        with lab[source].connect((lab["n2"].address, 7)) as connection:
            began = time.monotonic()
            connection.sendall(b"x")
            connection.recv(1)
            return time.monotonic() - began
    assert seconds("n1") < 0.4
    relay.delay(250, 250)
    assert seconds("n1") >= 0.5 and seconds("n3") < 0.4
    lab.heal()
    assert seconds("n1") < 0.4


def test_two_connections_through_a_relay_overtake_each_other_and_one_keeps_its_order(lab):
    relay = lab.relay("n1", "n2", 7)
    relay.delay(0, 80)
    orders = set()
    with lab["n2"].listen(7) as listener:
        for _ in range(40):
            with lab["n1"].connect((lab["n2"].address, 7)) as one, lab["n1"].connect((lab["n2"].address, 7)) as two:
                ends = [listener.accept()[0], listener.accept()[0]]
                one.sendall(b"1"), one.sendall(b"2"), two.sendall(b"3")
                orders.add(arrival(ends))
            if {"123", "312"} <= orders:
                break
    assert {"123", "312"} <= orders
    assert all(order.index("1") < order.index("2") for order in orders)


def arrival(ends):
    came = ""
    for end in ends:
        end.setblocking(False)
    deadline = time.monotonic() + patience()
    while len(came) < 3 and time.monotonic() < deadline:
        for end in ends:
            with contextlib.suppress(BlockingIOError):
                came += end.recv(100).decode()
    for end in ends:
        end.close()
    return came


# ---- machines ----


def test_a_stopped_process_is_silent_and_goes_on(lab):
    process = echo(lab, "n2")
    with lab["n1"].connect((lab["n2"].address, 7)) as connection:
        labs.freeze([process.pid])
        assert not said(connection, b"wait")
        process.send_signal(signal.SIGCONT)
        connection.settimeout(patience())
        assert connection.recv(100) == b"wait"


def test_a_killed_process_tells_its_peers_and_a_machine_without_power_does_not(lab):
    process, _ = echo(lab, "n2"), echo(lab, "n3")
    with lab["n1"].connect((lab["n2"].address, 7)) as killed, lab["n1"].connect((lab["n3"].address, 7)) as dark:
        assert said(killed) and said(dark)
        process.kill()
        killed.settimeout(patience())
        assert killed.recv(1) == b""
        lab["n3"].cut_power()
        assert lab["n3"].pids() == []
        dark.settimeout(SHORT_S)
        with pytest.raises(socket.timeout):
            dark.recv(1)


def boot_id(machine):
    process = machine.start(["cat", "/proc/sys/kernel/random/boot_id"], stdout=subprocess.PIPE, text=True)
    return process.communicate(timeout=patience())[0]


def test_a_machine_has_a_boot_id_of_its_own_until_its_power_is_cut(lab, ear):
    first = boot_id(lab["n1"])
    assert boot_id(lab["n1"]) == first != boot_id(lab["n2"])
    assert first != pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()
    lab["n1"].cut_power()
    assert not ear.hears("n1", "n2") and not ear.hears("n2", "n1")
    lab["n1"].boot()
    assert boot_id(lab["n1"]) != first
    assert ear.hears("n1", "n2")


def test_machines_know_each_other_by_name_and_all_by_one(lab):
    lab.add("n4")
    ask = "import socket; print(*sorted({a[4][0] for a in socket.getaddrinfo('%s', 1)}))"
    for name, addresses in [("n2", [lab["n2"].address]),
                            ("cluster", [lab[n].address for n in ("n1", "n2", "n3", "n4")])]:
        process = lab["n1"].start([sys.executable, "-c", ask % name], stdout=subprocess.PIPE, text=True)
        assert process.communicate(timeout=patience())[0].split() == addresses


def test_a_machine_can_be_added_and_removed(lab):
    lab.add("n4")
    process = echo(lab, "n4")
    with lab["n1"].connect((lab["n4"].address, 7)) as connection:
        assert said(connection)
    lab.remove("n4")
    assert process.wait(patience()) == -signal.SIGKILL


# ---- nothing stays behind ----


def test_the_end_of_a_lab_ends_all_that_ran_on_it():
    with Lab(["n1", "n2"]) as lab:
        process, base, folder = echo(lab, "n1"), lab.base, lab.folder
        lab.relay("n2", "n1", 7)
        process.send_signal(signal.SIGSTOP)
    assert process.wait(patience()) == -signal.SIGKILL
    assert not [name for name in labs.namespaces() if name.startswith(base)] and not folder.exists()


CRASH = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from cluster.lab import Lab
lab = Lab(["n1"])
lab.mount_disk(sys.argv[2], 1)
process = lab["n1"].start(["sleep", "1000"])
while process.pid not in lab["n1"].pids():
    pass
print(lab.base, process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_test_has_left_is_swept_when_the_next_one_begins(tmp_path):
    tests = pathlib.Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", CRASH, tests, tmp_path], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    base, pid = done.stdout.split()
    with Lab(["n1"]) as lab:  # another test may have swept first
        names = labs.namespaces()
        assert not [name for name in names if name.startswith(base)]
        assert f"{lab.base}-n1" in names
    assert labs.birth(int(pid)) is None
    assert str(tmp_path) not in [folder for _, folder in labs.mounted()]


def test_who_cannot_have_a_lab_is_told_why(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(labs.NoLab, match="root"):
        Lab(["n1"])

# SPDX-License-Identifier: Apache-2.0
"""Machines on one network, and what can happen to machines and networks.

A machine is a network namespace with one interface (eth0) on a common switch; the switch is a bridge in
a namespace of its own. All faults between machines are rules on that bridge, so the machine that has
the test in it sees nothing of them, and when the switch's namespace goes, so does every fault.

    with Lab(["n1", "n2", "n3"]) as lab:
        broker = lab["n1"].start(["skein", "serve", ...], log=path)
        cut = lab.cut("n1", "n2")
        ...
        cut.undo()

Namespaces are called skein-lab-PID-BIRTH-SERIAL-MACHINE after the process that made them. Who makes a
lab first removes those whose maker is gone, with all that still runs in them.
"""

import atexit
import contextlib
import ctypes
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

PREFIX = "skein-lab"
NETWORK = "10.99.0"
GONE_PATIENCE_S = 10.0     # as long may a killed process take to be gone
RELAY_PORTS = itertools.count(20000)

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_serials = itertools.count(1)


class NoLab(Exception):
    """This machine cannot have one. The text says why."""


def run(*command, input=None):
    """Its standard output; what it complained about is in the exception."""
    done = subprocess.run(command, input=input, text=True, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def birth(pid):
    """When a process began, in ticks: with it, a pid names one process for ever. None: it is gone."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] in "ZX" else int(fields[19])


def namespaces():
    """The names of all there are of ours, also of other processes."""
    return [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.startswith(PREFIX)]


def on(namespace):
    """In front of a command: on that network. (`ip -n` and `ip netns exec` also want / to be a mount, which
    it is not below chroot.)"""
    return ["nsenter", f"--net=/run/netns/{namespace}"]


def propagation():
    """What `unshare --mount` is told, so that a machine's mounts stay its own."""
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return "slave" if any(line.split()[4] == "/" for line in mounts) else "unchanged"


def maker(namespace):
    """(pid, birth) out of its name."""
    found = re.match(rf"{PREFIX}-(\d+)-(\d+)-", namespace)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def pids_in(namespace):
    return [int(pid) for pid in run("ip", "netns", "pids", namespace).split()]


def kill_all_in(namespace):
    """Every process in it is gone when this returns, those that are stopped too."""
    deadline = time.monotonic() + GONE_PATIENCE_S
    while pids := [pid for pid in pids_in(namespace) if birth(pid) is not None]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {pids} of {namespace} do not end")
        time.sleep(0.002)


def remove(namespace):
    with contextlib.suppress(RuntimeError):  # somebody else may sweep, too
        kill_all_in(namespace)
        run("ip", "netns", "del", namespace)


def freeze(pids):
    """SIGSTOP, until every thread of them has heard of it."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + GONE_PATIENCE_S
    while not all(stopped(task) for pid in pids for task in pathlib.Path(f"/proc/{pid}/task").iterdir()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {pids} do not stop")
        time.sleep(0.001)


def stopped(process):
    """`process`: its folder in /proc, or that of one thread."""
    try:
        return (process / "stat").read_text().rsplit(")", 1)[1].split()[0] in "TXZ"
    except (FileNotFoundError, ProcessLookupError):
        return True


def orphan(name):
    """Whether its maker is gone."""
    pid, began = maker(name)
    return birth(pid) != began


def mounted():
    """(source, folder) of the disks that labs have made, also those of other processes."""
    lines = [line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    return [(fields[0], fields[1]) for fields in lines if fields[0].startswith(PREFIX)]


def sweep():
    """Removes what processes that are gone have left."""
    for name in filter(orphan, namespaces()):
        remove(name)
    for source, folder in mounted():
        if orphan(source):
            subprocess.run(["umount", "-l", folder], stderr=subprocess.DEVNULL, check=False)


def unavailable():
    """Why there can be no lab here; None when there can."""
    if missing := [tool for tool in ("ip", "nft", "ss", "tc", "nsenter", "unshare") if not shutil.which(tool)]:
        return f"{', '.join(missing)} not found (Debian: iproute2, nftables)"
    if os.geteuid() != 0:
        return ("network namespaces need root: run it as root, or below "
                "unshare --map-root-user --net --mount --propagation slave")
    probe = f"{PREFIX}-{os.getpid()}-{birth(os.getpid())}-0-probe"
    try:
        run("ip", "netns", "add", probe)
        run("ip", "netns", "del", probe)
    except RuntimeError as error:
        return f"no network namespaces here: {error}"
    return None


@contextlib.contextmanager
def network_of(namespace):
    """What this thread opens meanwhile is on that network, and stays there."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        _enter(there)
        try:
            yield
        finally:
            _enter(home)


def _enter(file):
    if _libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Machine:
    """`address` is its own on the switch. It has a boot id of its own, and knows the others' names."""

    def __init__(self, lab, name, address, namespace):
        self.lab, self.name, self.address, self.namespace = lab, name, address, namespace
        self.mac = f"02:00:00:00:00:{int(address.rsplit('.', 1)[1]):02x}"
        self.on = True
        self._boot_id = lab.folder / f"{name}.boot_id"
        self._new_boot()

    def _new_boot(self):
        """In place: what is running has it mounted."""
        self._boot_id.write_text(f"{uuid.uuid4()}\n")

    # ---- what runs on it ----

    def command(self, argv):
        """In front of a program's arguments: on this machine's network, with its boot id."""
        mounts = ('mount --bind "$1" /proc/sys/kernel/random/boot_id && mount --bind "$2" /etc/hosts && '
                  'shift 2 && exec "$@"')
        return [*on(self.namespace), "unshare", "--mount", "--propagation", propagation(), "sh", "-c", mounts,
                "sh", str(self._boot_id), str(self.lab.hosts), *map(str, argv)]

    def start(self, argv, log=None, **options):
        """A Popen: its pid is the program's own. `log` gets what it writes."""
        assert self.on, f"{self.name} has no power"
        out = open(log, "ab") if log else subprocess.DEVNULL
        try:
            options = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, **options}
            return subprocess.Popen(self.command(argv), start_new_session=True, **options)
        finally:
            if log:
                out.close()

    def pids(self):
        """Of all that runs here; children of children too."""
        return pids_in(self.namespace)

    def signal(self, number, pids=None):
        """To some processes, or to all of this machine."""
        for pid in self.pids() if pids is None else pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    # ---- power ----

    def cut_power(self):
        """Everything on it is gone at once, and no packet tells anybody. Disks are not its matter."""
        self.lab.unplug(self.name)
        self.on = False
        kill_all_in(self.namespace)

    def boot(self):
        """It is there again, with nothing running and another boot id."""
        self._new_boot()
        self.on = True
        self.lab.plug(self.name)

    # ---- the test's own sockets on its network ----

    def network(self):
        return network_of(self.namespace)

    def socket(self, kind=socket.SOCK_STREAM):
        with self.network():
            return socket.socket(socket.AF_INET, kind)

    def listen(self, port=0):
        listener = self.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address, port))
        listener.listen()
        return listener

    def connect(self, address, timeout=5.0):
        connection = self.socket()
        connection.settimeout(timeout)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection


class Fault:
    """Something that is wrong now. undo() makes it right, also a second time."""

    def __init__(self, undo, text):
        self._undo, self.text = undo, text

    def __repr__(self):
        return self.text

    def undo(self):
        undo, self._undo = self._undo, None
        if undo:
            undo()


class Relay:
    """Connections from one machine to a port of another go through it, with nobody the wiser. Each
    gets a delay of its own, so that what is sent on two may arrive in another order."""

    def __init__(self, lab, source, target, port):
        self.lab, self.source, self.target, self.port = lab, source, target, port
        self.relay_port, self.range_ms, self.process = next(RELAY_PORTS), (0, 0), None
        self.start()

    def start(self):
        machine = self.lab[self.target]
        program = pathlib.Path(__file__).with_name("relay.py")
        self.process = machine.start(
            [sys.executable, program, str(self.relay_port), f"{machine.address}:{self.port}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, text=True, bufsize=1)
        assert self.process.stdout.readline() == "ready\n", "the relay does not start"
        self.delay(*self.range_ms)

    def delay(self, at_least_ms, at_most_ms):
        """Of each connection's packets, one way, from now on; without power, from the next boot on."""
        self.range_ms = (at_least_ms, at_most_ms)
        if self.process.poll() is None and not self._told(f"{at_least_ms} {at_most_ms}"):
            assert self.process.wait(5) < 0, "the relay does not answer"  # it was about to lose its power

    def _told(self, line):
        try:
            self.process.stdin.write(line + "\n")
            return self.process.stdout.readline() == "ok\n"
        except BrokenPipeError:
            return False

    def rule(self):
        source = self.lab[self.source].address
        return f"ip saddr {source} tcp dport {self.port} redirect to :{self.relay_port}"

    def stop(self):
        """Connections through it end."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close(), self.process.stdout.close()


class Lab:
    """`lab[name]` is a Machine. One more, "clients", is where the test's own connections come from;
    faults of a group against "the others" leave it alone."""

    CLIENTS = "clients"

    def __init__(self, names):
        reason = unavailable()
        if reason:
            raise NoLab(reason)
        sweep()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-lab-"))
        self.hosts = self.folder / "hosts"
        self.base = f"{PREFIX}-{os.getpid()}-{birth(os.getpid())}-{next(_serials)}"
        self.switch = f"{self.base}-switch"
        self.machines, self._rules, self._relays, self._slow = {}, [], [], {}
        self._disks, self._held = [], 0
        self._locals, self._unplugged = {}, set()  # machine: rules on itself; machines without power
        self._numbers = itertools.count(1)
        atexit.register(self.close)
        try:
            run("ip", "netns", "add", self.switch)
            run(*on(self.switch), "ip", "-batch", "-", input="link add switch type bridge\nlink set switch up\n")
            for name in [*names, self.CLIENTS]:
                self.add(name)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name):
        return self.machines[name]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends all that runs on it. Whatever was open on its networks is dead."""
        atexit.unregister(self.close)
        for relay in self._relays:
            relay.stop()
        for machine in self.machines.values():
            remove(machine.namespace)
        if self.switch in namespaces():
            remove(self.switch)
        for folder in list(self._disks):
            self.unmount_disk(folder)
        self.machines, self._relays = {}, []
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- machines ----

    def add(self, name):
        """One more machine, from now on."""
        number = next(self._numbers)
        assert number < 255 and len(name) < 15 and name not in self.machines
        machine = Machine(self, name, f"{NETWORK}.{number}", f"{self.base}-{name}")
        run("ip", "netns", "add", machine.namespace)
        self.machines[name] = machine
        run(*on(self.switch), "ip", "-batch", "-", input=(
            f"link add {name} type veth peer name eth0 address {machine.mac} netns {machine.namespace}\n"
            f"link set {name} master switch up\n"))
        others = [other for other in self.machines.values() if other is not machine]
        run(*on(machine.namespace), "ip", "-batch", "-", input="".join([
            f"link set lo up\naddress add {machine.address}/24 dev eth0\nlink set eth0 up\n",
            *map(self._neighbour, others)]))
        for other in others:
            run(*on(other.namespace), "ip", "-batch", "-", input=self._neighbour(machine))
        self._write_hosts()
        return machine

    @staticmethod
    def _neighbour(machine):
        """Nobody has to ask for another's hardware address: with one way cut, nobody could answer."""
        return f"neighbour replace {machine.address} lladdr {machine.mac} dev eth0 nud permanent\n"

    def remove(self, name):
        remove(self.machines.pop(name).namespace)
        self._unplugged.discard(name)
        self._write_hosts()

    def _write_hosts(self):
        """Each by its name, and `cluster` is all of them."""
        others = [m for m in self.machines.values() if m.name != self.CLIENTS]
        lines = [f"{m.address} {m.name}" for m in self.machines.values()]
        lines += [f"{m.address} cluster" for m in others]
        self.hosts.write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n")

    def unplug(self, name):
        """Not by taking the link down: its return takes the kernel up to a second."""
        self._unplugged.add(name)
        self._apply()

    def plug(self, name):
        self._unplugged.discard(name)
        self._apply()
        for relay in self._relays:
            if relay.target == name and relay.process.poll() is not None:
                relay.stop()
                relay.start()

    # ---- disks ----

    def mount_disk(self, folder, size_mb):
        """A small one, for what may fill it."""
        run("mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=700", self.base, str(folder))
        self._disks.append(folder)

    def unmount_disk(self, folder):
        self._disks.remove(folder)
        run("umount", "-l", str(folder))

    # ---- the network between them ----

    def cut_one_way(self, source, target, port=None):
        """Nothing from source arrives at target; what target sends does arrive. With a port: nothing
        of connections to that port of either."""
        return self._rule(source, target, "drop", f"{source} -> {target}", port)

    def cut(self, one, other, port=None):
        return self.together(lambda: [self.cut_one_way(one, other, port), self.cut_one_way(other, one, port)],
                             f"{one} <-> {other}")

    def part(self, group, clients=False):
        """That group of machines and all others no longer hear each other. `clients`: they also
        lose the test's own connections."""
        rest = [name for name in self.machines if name not in group and (clients or name != self.CLIENTS)]
        return self.together(lambda: [self.cut(one, other) for one in group for other in rest],
                             f"{{{', '.join(group)}}} <-> {{{', '.join(rest)}}}")

    def lose(self, source, target, share):
        """That share of the packets, each drawn for itself."""
        lose = f"numgen random mod 10000 < {round(share * 10000)} drop"
        return self._rule(source, target, lose, f"{source} -> {target} loses {share:.0%}")

    def slow(self, name, kbit):
        """All that goes to a machine and all that comes from it, each way for itself. What does not
        fit into a quarter of a second is dropped, as by a router."""
        assert name not in self._slow
        places = [(self.machines[name].namespace, "eth0"), (self.switch, name)]
        burst = max(4000, kbit * 125 // 100)
        for namespace, device in places:
            run(*on(namespace), "tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{kbit}kbit",
                "burst", str(burst), "latency", "250ms")
        self._slow[name] = places
        return Fault(lambda: self._quick(name), f"{name} at {kbit} kbit/s")

    def _quick(self, name):
        for namespace, device in self._slow.pop(name, []):
            with contextlib.suppress(RuntimeError):  # the machine may be removed
                run(*on(namespace), "tc", "qdisc", "del", "dev", device, "root")

    def mute(self, name, port):
        """What that port of a machine answers to programs on the same machine is lost; what they send
        to it is not."""
        return self._local(name, f"iif lo tcp sport {port} drop", f"{name}:{port} is mute to itself")

    def break_connections(self, name, port):
        """Those that programs on a machine have made to that port, on whatever machine, are broken now: what was
        under way on them stays lost."""
        sockets = [*on(self[name].namespace), "ss", "-Htn", "state", "established"]
        run(*sockets, "-K", "dport", "=", f":{port}")
        left = run(*sockets, "dport", "=", f":{port}")
        if left:
            raise RuntimeError(f"this kernel cannot break connections (INET_DIAG_DESTROY): {left}")

    def relay(self, source, target, port):
        """Connections made from now on go through it; it delays nothing until told."""
        relay = Relay(self, source, target, port)
        self._relays.append(relay)
        self._redirect(target)
        return relay

    def heal(self):
        """Takes back every fault between machines. Those without power stay without."""
        self._rules.clear()
        self._apply()
        for name in self.machines:
            if self._locals.pop(name, None):
                self._apply_local(name)
        for name in list(self._slow):
            self._quick(name)
        for relay in self._relays:
            relay.delay(0, 0)

    # ---- rules ----

    def _rule(self, source, target, verdict, text, port=None):
        assert source in self.machines and target in self.machines and source != target
        match = f'iifname "{source}" oifname "{target}"'
        lines = [f"{match} {verdict}"]
        if port:
            lines = [f"{match} tcp dport {port} {verdict}", f"{match} tcp sport {port} {verdict}"]
        entry = (text, lines)
        self._rules.append(entry)
        self._apply()

        def undo():
            if entry in self._rules:
                self._rules.remove(entry)
                self._apply()
        return Fault(undo, text)

    def _local(self, name, rule, text):
        self._locals.setdefault(name, []).append(rule)
        self._apply_local(name)

        def undo():
            if rule in self._locals.get(name, []):
                self._locals[name].remove(rule)
                self._apply_local(name)
        return Fault(undo, text)

    def together(self, make, text):
        """The faults that `make` makes, as one: all begin with the same packet, and end so."""
        with self._at_once():
            faults = make()

        def undo():
            with self._at_once():
                for fault in faults:
                    fault.undo()
        return Fault(undo, text)

    @contextlib.contextmanager
    def _at_once(self):
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._apply()

    def _apply(self):
        """All rules anew in one transaction: no packet sees half of them."""
        if self._held:
            return
        rules = [line for _, lines in self._rules for line in lines]
        rules += [f'{way} "{name}" drop' for name in sorted(self._unplugged) for way in ("iifname", "oifname")]
        self._table(self.switch, "bridge faults", "filter hook forward priority 0", rules)

    def _apply_local(self, name):
        self._table(self.machines[name].namespace, "inet faults", "filter hook input priority 0",
                    self._locals.get(name, []))

    def _redirect(self, target):
        rules = [relay.rule() for relay in self._relays if relay.target == target]
        self._table(self.machines[target].namespace, "ip relays", "nat hook prerouting priority -100", rules)

    @staticmethod
    def _table(namespace, table, hook, rules):
        lines = [f"table {table} {{}}", f"delete table {table}", f"table {table} {{", "chain rules {",
                 f"type {hook}; policy accept;", *rules, "}", "}", ""]
        run(*on(namespace), "nft", "-f", "-", input="\n".join(lines))

# SPDX-License-Identifier: Apache-2.0
"""mosquitto_pub and mosquitto_sub from a shell."""

import shutil
import subprocess

import pytest

from kit import V311, patience

VERSIONS = ["mqttv31", "mqttv311", "mqttv5"]

pytestmark = pytest.mark.skipif(not shutil.which("mosquitto_pub"),
                                reason="mosquitto-clients is not installed")


@pytest.fixture
def pub(broker):
    """pub("-t", topic, "-m", "x"): runs mosquitto_pub to its end, which is a good one."""
    def run(*arguments, version="mqttv311", **options):
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-V", version]
        done = subprocess.run([*command, *arguments], timeout=4 * patience(), text=True,
                              capture_output=True, **options)
        assert (done.returncode, done.stderr) == (0, "")
    return run


class Subscriber:
    """mosquitto_sub in the background, subscribed. `take(n)` waits for n messages."""

    def __init__(self, broker, *arguments, version="mqttv311"):
        self.process = subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port),
             "-V", version, "-d", "-F", "message %q %r %t %p", "-W", str(int(4 * patience())),
             *arguments],
            stdout=subprocess.PIPE, text=True)
        self._early = []
        while not (line := self._line()).startswith("Subscribed"):
            self._early += [line] if line.startswith("message ") else []

    def _line(self):
        line = self.process.stdout.readline()
        assert line, f"mosquitto_sub ended with {self.process.wait()}"
        return line.rstrip("\n")

    def take(self):
        """QoS, retain, topic and payload of the next message, as printed."""
        line = self._early.pop(0) if self._early else self._line()
        while not line.startswith("message "):
            line = self._line()
        return line.removeprefix("message ")

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def sub(broker):
    started = []

    def start(*arguments, **options):
        started.append(Subscriber(broker, *arguments, **options))
        return started[-1]
    yield start
    for each in started:
        each.end()


@pytest.mark.parametrize("qos", ["0", "1", "2"])
@pytest.mark.parametrize("version", VERSIONS)
def test_message_from_shell_to_shell(pub, sub, topic, version, qos):
    bob = sub("-t", f"{topic}/#", "-q", qos, version=version)
    pub("-t", f"{topic}/a b", "-m", "hello world", "-q", qos, version=version)
    assert bob.take() == f"{qos} 0 {topic}/a b hello world"


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_message_and_its_removal(pub, sub, connect, topic, version):
    pub("-t", topic, "-m", "kept", "-r", "-q", "1", version=version)
    assert sub("-t", topic, "-q", "1", version=version).take() == f"1 1 {topic} kept"
    pub("-t", topic, "-n", "-r", "-q", "1", version=version)
    alice = connect(V311)
    alice.subscribe(topic)
    alice.expect_quiet()


@pytest.mark.parametrize("version", VERSIONS)
def test_will_of_a_subscriber_that_is_killed(sub, topic, version):
    bob = sub("-t", topic, version=version)
    alice = sub("-t", "kit/other", "--will-topic", topic, "--will-payload", "gone", version=version)
    alice.process.kill()
    assert bob.take() == f"0 0 {topic} gone"


def test_lines_of_standard_input_become_messages_in_order(pub, sub, topic):
    bob = sub("-t", topic, "-q", "1")
    pub("-t", topic, "-l", "-q", "1", input="".join(f"line {n}\n" for n in range(200)))
    for n in range(200):
        assert bob.take() == f"1 0 {topic} line {n}"


def test_message_of_a_megabyte(pub, connect, topic, tmp_path):
    alice = connect(V311)
    alice.subscribe(topic, 1)
    (tmp_path / "big").write_bytes(bytes(range(256)) * 4096)
    pub("-t", topic, "-f", str(tmp_path / "big"), "-q", "1")
    alice.receive(payload=bytes(range(256)) * 4096)


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_subscriber_gets_what_its_session_missed(pub, sub, topic, client_id, version):
    lasting = ["-i", client_id, "-c", "-t", topic, "-q", "1"]
    lasting += ["-x", "60"] if version == "mqttv5" else []
    sub(*lasting, version=version).end()
    for n in range(10):
        pub("-t", topic, "-m", f"{n}", "-q", "1", version=version)
    alice = sub(*lasting, version=version)
    for n in range(10):
        assert alice.take() == f"1 0 {topic} {n}"


def test_properties_of_5_0_from_shell_to_shell(pub, sub, topic):
    bob = sub("-t", topic, "-F", "message %R %D %C %P %p", version="mqttv5")
    pub("-t", topic, "-m", "x", "-D", "publish", "response-topic", "reply", "-D", "publish",
        "correlation-data", "id1", "-D", "publish", "content-type", "text", "-D", "publish",
        "user-property", "key", "value", version="mqttv5")
    assert bob.take() == "reply id1 text key:value x"


def test_sys_topics_are_there(sub):
    bob = sub("-t", "$SYS/broker/version", "-t", "$SYS/broker/clients/connected")
    seen = {bob.take().split()[2] for _ in range(2)}
    assert seen == {"$SYS/broker/version", "$SYS/broker/clients/connected"}

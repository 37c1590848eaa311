# SPDX-License-Identifier: Apache-2.0
"""`skein pub` and `skein sub`: each letter does what users of mosquitto_pub and mosquitto_sub know,
at Skein and at another broker."""

import json
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from kit import patience
from kit.broker import free_port, listening

BROKERS = ["skein", "mosquitto"]
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@pytest.fixture(scope="session")
def mosquitto_ports(tmp_path_factory):
    """Ports of a mosquitto for TCP and WebSocket."""
    if not MOSQUITTO:
        pytest.skip("mosquitto is not installed")
    folder = tmp_path_factory.mktemp("mosquitto")
    ports = {"tcp": free_port(), "websocket": free_port()}
    (folder / "mosquitto.conf").write_text(
        f"listener {ports['tcp']} 127.0.0.1\nlistener {ports['websocket']} 127.0.0.1\n"
        "protocol websockets\nallow_anonymous true\nuser root\n")
    process = subprocess.Popen([MOSQUITTO, "-c", folder / "mosquitto.conf"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + patience()
    while not set(ports.values()) <= listening():
        assert process.poll() is None and time.monotonic() < deadline, "mosquitto does not start"
        time.sleep(0.01)
    yield ports
    process.terminate()
    process.wait()


@pytest.fixture(params=BROKERS)
def at(request):
    """The arguments that name a broker."""
    if request.param == "mosquitto":
        port = request.getfixturevalue("mosquitto_ports")["tcp"]
    else:
        port = request.getfixturevalue("broker").port
    return ["-h", "127.0.0.1", "-p", str(port)]


@pytest.fixture(params=BROKERS)
def at_websocket(request):
    if request.param == "mosquitto":
        port = request.getfixturevalue("mosquitto_ports")["websocket"]
    else:
        port = request.getfixturevalue("broker").ws_port
    return ["-h", "127.0.0.1", "-p", str(port), "--websocket"]


class Subscriber:
    """`skein sub` in the background, subscribed."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL)
        self.said = b""
        while b"granted" not in self.said:
            line = self.process.stderr.readline()
            assert line, f"it ended with {self.process.wait()}: {self.said}"
            self.said += line
        self.rest = threading.Thread(target=self.process.stderr.read)  # or its pipe fills
        self.rest.start()

    def end(self):
        """Waits for its end; gives (exit code, what it printed)."""
        out = self.process.stdout.read().decode()
        code = self.process.wait(4 * patience())
        self.rest.join()
        self.process.stderr.close()
        self.process.stdout.close()
        return code, out

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def kill(self):
        self.process.kill()
        return self.end()


@pytest.fixture
def sub(binary, at):
    """sub("-t", topic, ...): in the background."""
    started = []

    def start(*arguments):
        started.append(Subscriber([binary, "sub", *at, "-d", *map(str, arguments)]))
        return started[-1]
    yield start
    for each in started:
        if each.process.poll() is None:
            each.kill()


@pytest.fixture
def pub(binary, at):
    """pub("-t", topic, ...): to its end, which is a good one unless `code` says otherwise."""
    def run(*arguments, code=0, data=None):
        done = subprocess.run([binary, "pub", *at, *map(str, arguments)], capture_output=True,
                              input=data, timeout=4 * patience())
        assert done.returncode == code, done.stderr
        return done.stderr.decode()
    return run


@pytest.fixture
def run_sub(binary, at):
    """run_sub("-t", topic, "-E"): to its end; gives (exit code, stdout, stderr)."""
    def run(*arguments):
        done = subprocess.run([binary, "sub", *at, *map(str, arguments)], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=4 * patience())
        return done.returncode, done.stdout, done.stderr
    return run


# ---- what is published ---------------------------------------------------------------------------


def test_message_of_the_command_line_arrives(sub, pub, topic):
    listener = sub("-t", topic, "-C", 1)
    pub("-t", topic, "-m", "hello world")
    assert listener.end() == (0, "hello world\n")


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", ["31", "311", "5", "mqttv5"])
def test_qos_and_version(sub, pub, topic, qos, version):
    listener = sub("-t", topic, "-q", qos, "-V", version, "-C", 1, "-F", "%q %p")
    pub("-t", topic, "-q", qos, "-V", version, "-m", "x")
    assert listener.end() == (0, f"{qos} x\n")


def test_null_message_is_empty(sub, pub, topic):
    listener = sub("-t", topic, "-C", 1, "-F", "%l|%p|")
    pub("-t", topic, "-n")
    assert listener.end() == (0, "0||\n")


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_file_is_published_whole(sub, pub, topic, tmp_path, size):
    content = bytes(i * 7 % 256 for i in range(1000)) * (size // 1000) + b"x" * (size % 1000)
    (tmp_path / "file").write_bytes(content)
    listener = sub("-t", topic, "-q", 1, "-C", 1, "-N", "-F", "%x")
    pub("-t", topic, "-q", 1, "-f", tmp_path / "file")
    assert listener.end() == (0, content.hex())


def test_standard_input_as_one_message(sub, pub, topic):
    listener = sub("-t", topic, "-C", 1, "-F", "%x")
    pub("-t", topic, "-s", data=b"a\nb\n")
    assert listener.end() == (0, b"a\nb\n".hex() + "\n")


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_line_of_standard_input_is_a_message(sub, pub, topic, qos):
    listener = sub("-t", topic, "-q", qos, "-C", 4, "-F", "%l:%p")
    pub("-t", topic, "-q", qos, "-l", data=b"one\n\nthree\nno newline")
    assert listener.end() == (0, "3:one\n0:\n5:three\n10:no newline\n")


def test_lines_of_a_file_and_more_of_them_than_fit_in_flight(sub, binary, at, topic, tmp_path):
    lines = [f"line {i}" for i in range(3000)]
    (tmp_path / "lines").write_text("\n".join(lines))
    listener = sub("-t", topic, "-q", 1, "-C", len(lines))
    with open(tmp_path / "lines") as file:
        done = subprocess.run([binary, "pub", *at, "-t", topic, "-q", "1", "-M", "5", "-l"],
                              stdin=file, timeout=4 * patience())
    assert done.returncode == 0
    assert listener.end() == (0, "\n".join(lines) + "\n")


def test_lines_go_out_as_they_come(sub, binary, at, topic):
    listener = sub("-t", topic, "-C", 1)
    process = subprocess.Popen([binary, "pub", *at, "-t", topic, "-l"], stdin=subprocess.PIPE)
    process.stdin.write(b"now\n")
    process.stdin.flush()
    assert listener.end() == (0, "now\n")
    process.stdin.close()
    assert process.wait(patience()) == 0


def test_repeat_with_a_delay(sub, pub, topic):
    listener = sub("-t", topic, "-C", 3, "-F", "%U %p")
    pub("-t", topic, "-m", "again", "--repeat", 3, "--repeat-delay", 0.2)
    code, out = listener.end()
    times = [float(line.split()[0]) for line in out.splitlines()]
    assert code == 0 and len(times) == 3
    assert times[2] - times[0] > 0.3


def test_repeat_without_a_delay(sub, pub, topic):
    listener = sub("-t", topic, "-q", 1, "-C", 200)
    pub("-t", topic, "-q", 1, "-m", "x", "--repeat", 200)
    assert listener.end() == (0, "x\n" * 200)


def test_retained_message_waits_for_the_subscriber(sub, pub, topic):
    pub("-t", topic, "-r", "-m", "kept", "-q", 1)
    assert sub("-t", topic, "-C", 1, "-F", "%r %p").end() == (0, "1 kept\n")
    pub("-t", topic, "-r", "-n", "-q", 1)


def test_properties_of_a_message(sub, pub, topic):
    listener = sub("-t", topic, "-V", "5", "-C", 1, "-F", "%C|%R|%D|%F|%E|%P|%p")
    words = [word for name, value in [("content-type", "text/x"), ("response-topic", "a/b"),
                                      ("correlation-data", "c d"), ("payload-format-indicator", "1"),
                                      ("message-expiry-interval", "60")]
             for word in ("-D", "publish", name, value)]
    pub("-t", topic, "-m", "x", *words, "-D", "PUBLISH", "user-property", "k", "v",
        "-D", "publish", "user-property", "k", "w")
    assert listener.end() == (0, "text/x|a/b|c d|1|60|k:v k:w|x\n")


def test_topic_alias_goes_with_the_topic(sub, pub, topic):
    listener = sub("-t", topic, "-C", 1, "-v")
    pub("-t", topic, "-m", "x", "-D", "publish", "topic-alias", 3)
    assert listener.end() == (0, f"{topic} x\n")


def test_subscription_identifier(sub, pub, topic):
    listener = sub("-t", topic, "-C", 1, "-F", "%S", "-D", "subscribe", "subscription-identifier", 77)
    pub("-t", topic, "-m", "x")
    assert listener.end() == (0, "77\n")


def test_will_is_published_for_a_client_that_dies(sub, topic):
    listener = sub("-t", f"{topic}/will", "-q", 1, "-C", 1, "-F", "%q %r %t %p")
    dying = sub("-t", f"{topic}/other", "--will-topic", f"{topic}/will", "--will-payload", "bye",
                "--will-qos", 1, "--will-retain")
    dying.kill()
    assert listener.end() == (0, f"1 0 {topic}/will bye\n")
    sub("-t", f"{topic}/will", "--remove-retained", "-C", 1).end()


def test_url_names_host_port_and_topic(binary, at, topic):
    url = f"mqtt://{at[1]}:{at[3]}/{topic}"
    listener = Subscriber([binary, "sub", "-L", url, "-C", "1", "-d"])
    assert subprocess.run([binary, "pub", "-L", url, "-m", "x"]).returncode == 0
    assert listener.end() == (0, "x\n")


def test_over_websocket(binary, at_websocket, topic):
    listener = Subscriber([binary, "sub", *at_websocket, "-t", topic, "-q", "2", "-C", "2", "-d"])
    for qos in "1", "2":
        assert subprocess.run([binary, "pub", *at_websocket, "-t", topic, "-m", "w" * 50_000, "-q",
                               qos]).returncode == 0
    assert listener.end() == (0, ("w" * 50_000 + "\n") * 2)


# ---- what is printed -----------------------------------------------------------------------------


def test_verbose_prints_the_topic_first(sub, pub, topic):
    listener = sub("-t", f"{topic}/#", "-v", "-C", 1)
    pub("-t", f"{topic}/a", "-m", "x")
    assert listener.end() == (0, f"{topic}/a x\n")


def test_no_newline(sub, pub, topic):
    listener = sub("-t", topic, "-N", "-C", 2)
    pub("-t", topic, "-m", "x", "--repeat", 2)
    assert listener.end() == (0, "xx")


def test_several_topics(sub, pub, topic):
    listener = sub("-t", f"{topic}/a", "-t", f"{topic}/b", "-C", 2)
    pub("-t", f"{topic}/a", "-m", "1")
    pub("-t", f"{topic}/c", "-m", "no")
    pub("-t", f"{topic}/b", "-m", "2")
    assert listener.end() == (0, "1\n2\n")


def test_filter_out(sub, pub, topic):
    listener = sub("-t", f"{topic}/#", "-T", f"{topic}/no/+", "-C", 1)
    pub("-t", f"{topic}/no/a", "-m", "no")
    pub("-t", f"{topic}/yes", "-m", "yes")
    assert listener.end() == (0, "yes\n")


@pytest.mark.parametrize("version", ["311", "5"])
def test_retained_messages_are_left_out(sub, pub, topic, version):
    pub("-t", topic, "-r", "-q", 1, "-m", "old")
    listener = sub("-t", topic, "-R", "-V", version, "-C", 1)
    pub("-t", topic, "-m", "new")
    assert listener.end() == (0, "new\n")
    pub("-t", topic, "-r", "-n", "-q", 1)


def test_retained_only_ends_at_the_first_fresh_message(sub, pub, topic):
    pub("-t", f"{topic}/old", "-r", "-q", 1, "-m", "old")
    listener = sub("-t", f"{topic}/#", "--retained-only")
    pub("-t", f"{topic}/new", "-m", "new")
    assert listener.end() == (0, "old\n")
    pub("-t", f"{topic}/old", "-r", "-n", "-q", 1)


def test_remove_retained(run_sub, pub, topic):
    for name in "ab":
        pub("-t", f"{topic}/{name}", "-r", "-q", 1, "-m", name)
    code, out, _ = run_sub("-t", f"{topic}/#", "--remove-retained", "-C", 2)
    assert (code, sorted(out.split())) == (0, ["a", "b"])
    assert run_sub("-t", f"{topic}/#", "-W", 0.3)[:2] == (27, "")


def test_retain_as_published(sub, pub, topic):
    listener = sub("-t", topic, "-V", "5", "--retain-as-published", "-C", 1, "-F", "%r")
    pub("-t", topic, "-r", "-m", "x", "-q", 1)
    assert listener.end() == (0, "1\n")
    pub("-t", topic, "-r", "-n", "-q", 1)


def test_json(sub, pub, topic):
    listener = sub("-t", topic, "-q", 1, "-C", 1, "-F", "%j")
    pub("-t", topic, "-q", 1, "-m", 'say "hi"\n')
    told = json.loads(listener.end()[1])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d{4}", told.pop("tst"))
    assert told.pop("mid") > 0
    assert told == {"topic": topic, "qos": 1, "retain": 0, "payloadlen": 9, "payload": 'say "hi"\n'}


def test_json_payload_is_not_quoted(sub, pub, topic):
    listener = sub("-t", topic, "-C", 1, "--pretty", "-F", "%J")
    pub("-t", topic, "-m", '{"t": 1.5}')
    out = listener.end()[1]
    assert json.loads(out)["payload"] == {"t": 1.5}
    assert len(out.splitlines()) > 5


@pytest.mark.parametrize("form", ["%t %p", "%10l|%-10l|%010l|", "%x %X", "%% %q %r %m", "%.3t|%20t|%-20t|",
                                  r"a\tb\\c\a\e\v", "@@ %p", "%p%p%p", "%6.2t|"])
@pytest.mark.skipif(not shutil.which("mosquitto_sub"), reason="mosquitto-clients is not installed")
def test_format_prints_what_mosquitto_sub_prints(sub, pub, at, topic, form):
    other = subprocess.Popen(["stdbuf", "-oL", "mosquitto_sub", *at, "-d", "-t", topic, "-C", "1",
                              "-F", "message " + form], stdout=subprocess.PIPE, text=True)
    while not other.stdout.readline().startswith("Subscribed"):
        assert other.poll() is None
    listener = sub("-t", topic, "-C", 1, "-F", form)
    pub("-t", topic, "-m", "Hello")
    theirs = next(line for line in other.stdout if line.startswith("message "))
    other.wait(patience())
    other.stdout.close()
    assert listener.end() == (0, theirs.removeprefix("message "))


@pytest.mark.parametrize("form,wrong", [("%y", "unknown %y"), (r"\q", r"unknown \q"), ("%", "unknown"),
                                        ("@", "lonely @")])
def test_format_that_means_nothing_is_a_usage_error(skein, form, wrong):
    done = skein("sub", "-t", "a", "-F", form)
    assert done.returncode == 64 and wrong in done.stderr


# ---- sessions and ends ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["311", "5"])
def test_session_collects_messages_while_away(run_sub, pub, topic, client_id, version):
    keep = ["-i", client_id, "-c", "-q", 1, "-V", version]
    assert run_sub(*keep, "-t", topic, "-E")[0] == 0
    pub("-t", topic, "-q", 1, "-m", "waited")
    assert run_sub(*keep, "-t", topic, "-C", 1)[:2] == (0, "waited\n")
    assert run_sub("-i", client_id, "-V", version, "-t", topic, "-E")[0] == 0


def test_unsubscribe_from_what_an_older_run_asked_for(run_sub, pub, topic, client_id):
    keep = ["-i", client_id, "-c", "-q", 1]
    run_sub(*keep, "-t", f"{topic}/a", "-t", f"{topic}/b", "-E")
    run_sub(*keep, "-U", f"{topic}/a", "-t", f"{topic}/b", "-E")
    pub("-t", f"{topic}/a", "-q", 1, "-m", "no")
    pub("-t", f"{topic}/b", "-q", 1, "-m", "yes")
    assert run_sub(*keep, "-t", f"{topic}/b", "-C", 1)[:2] == (0, "yes\n")
    run_sub("-i", client_id, "-t", topic, "-E")


def test_session_expiry_interval(run_sub, pub, topic, client_id):
    run_sub("-i", client_id, "-V", "5", "-c", "-x", 0, "-q", 1, "-t", topic, "-E")
    pub("-t", topic, "-q", 1, "-m", "gone")
    code, out, said = run_sub("-i", client_id, "-V", "5", "-x", 0, "-c", "-t", topic, "-E", "-d")
    assert (code, out) == (0, "") and "session present" not in said


def test_id_prefix_and_the_process_id(sub, topic):
    listener = sub("-t", topic, "-I", "gauge-")
    assert f"as 'gauge-{listener.process.pid}'" in listener.said.decode()
    listener.interrupt()


def test_timeout_ends_with_27(run_sub, topic):
    assert run_sub("-t", topic, "-W", 0.2) == (27, "", "")


def test_interrupt_is_a_good_end(sub, topic):
    assert sub("-t", topic).interrupt() == (0, "")


def test_nobody_listens(skein):
    for command in ["sub", "-t", "a"], ["pub", "-t", "a", "-m", "x"]:
        done = skein(*command, "-h", "127.0.0.1", "-p", free_port())
        assert done.returncode == 69
        assert "Connection refused" in done.stderr


def test_quiet_says_nothing(skein):
    done = skein("sub", "-t", "a", "-h", "127.0.0.1", "-p", free_port(), "--quiet")
    assert (done.returncode, done.stderr) == (69, "")


def test_name_that_does_not_resolve(skein):
    assert skein("sub", "-t", "a", "-h", "no-such-host.invalid").returncode == 68


def test_bind_address_that_is_not_ours(skein, broker):
    done = skein("pub", "-t", "a", "-n", "-h", "127.0.0.1", "-p", broker.port, "-A", "192.0.2.1")
    assert done.returncode == 69


def test_bind_address(pub, topic):
    pub("-t", topic, "-n", "-A", "127.0.0.7")


def test_file_that_is_not_there(pub, topic, tmp_path):
    assert "No such file" in pub("-t", topic, "-f", tmp_path / "nothing", code=66)


def test_keep_alive_of_a_quiet_subscriber(sub, pub, topic):
    listener = sub("-t", topic, "-k", 1, "-C", 1)
    time.sleep(2.5)  # longer than the broker waits
    pub("-t", topic, "-m", "still there")
    assert listener.end() == (0, "still there\n")


# ---- what only Skein can be made to do -----------------------------------------------------------


def test_message_that_the_broker_refuses_gives_its_reason_code(binary, broker_with):
    broker = broker_with({"mqtt": {"retain_available": False}})
    done = subprocess.run([binary, "pub", "-p", str(broker.port), "-h", "127.0.0.1", "-V", "5",
                           "-t", "a", "-m", "x", "-r", "-q", "1"], capture_output=True, text=True)
    assert done.returncode == 0x9A, done.stderr
    assert "retain_not_supported" in done.stderr


def test_message_larger_than_the_broker_takes(binary, broker_with):
    broker = broker_with({"limits": {"packet_bytes": "1K"}})
    done = subprocess.run([binary, "pub", "-p", str(broker.port), "-h", "127.0.0.1", "-V", "5",
                           "-t", "a", "-m", "x" * 2000], capture_output=True, text=True)
    assert done.returncode == 65, done.stderr


def test_subscriber_comes_back_to_a_broker_that_was_away(binary, own_broker):
    port = free_port()
    config = {"listeners": [{"address": f"127.0.0.1:{port}", "transport": "tcp"}]}
    broker = own_broker(config)
    at = ["-h", "127.0.0.1", "-p", str(port)]
    listener = Subscriber([binary, "sub", *at, "-t", "back", "-q", "1", "-d", "-C", "1"])
    broker.stop()
    broker.start()
    deadline = time.monotonic() + 4 * patience()
    while listener.process.poll() is None and time.monotonic() < deadline:
        subprocess.run([binary, "pub", *at, "-t", "back", "-m", "again", "-q", "1"])
        time.sleep(0.1)
    assert listener.end() == (0, "again\n")


# ---- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize("arguments,said", [
    (["pub", "-m", "x"], "-t TOPIC"),
    (["pub", "-t", "a"], "One of -m, -f, -l, -n, -s"),
    (["pub", "-t", "a", "-m", "x", "-n"], "only one of"),
    (["pub", "-t", "a/#", "-m", "x"], "no topic that can be published to"),
    (["pub", "-t", "a", "-l", "--repeat", "2"], "--repeat is not for -l"),
    (["pub", "-t", "a", "-m", "x", "-c"], "needs a client identifier"),
    (["pub", "-t", "a", "-m", "x", "--will-payload", "x"], "--will-topic"),
    (["pub", "-t", "a", "-m", "x", "-P", "x"], "user name"),
    (["pub", "-t", "a", "-m", "x", "-q", "3"], "not one of: 0 1 2"),
    (["pub", "-t", "a", "-m", "x", "-D", "publish", "no-such", "x"], "no property 'no-such'"),
    (["pub", "-t", "a", "-m", "x", "-D", "puback", "user-property", "x", "y"], "none of connect"),
    (["pub", "-t", "a", "-m", "x", "-D", "publish", "receive-maximum", "x"], "is not a number"),
    (["pub", "-t", "a", "-m", "x", "-D", "publish", "receive-maximum", "1"], "does not have"),
    (["pub", "-t", "a", "-m", "x", "-L", "http://a/b"], "mqtt:// or ws://"),
    (["sub"], "-t FILTER"),
    (["sub", "-t", "a/#/b"], "no topic filter"),
    (["sub", "-t", "a", "-R", "--retained-only"], "leave nothing"),
    (["sub", "-t", "a", "--retain-as-published"], "-V 5"),
    (["sub", "-t", "a", "-C", "0"], "is not a number from 1"),
])
def test_usage_error_says_what_is_wrong(skein, arguments, said):
    done = skein(*arguments)
    assert done.returncode == 64
    assert said in done.stderr

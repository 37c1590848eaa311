# SPDX-License-Identifier: Apache-2.0
"""`skein bench`: its books are right, its figures are there under their names."""

import json
import os
import subprocess

import pytest

from kit import patience
from kit.broker import free_port

SHORT = ["-d", "0.3", "--warmup", "0.1", "--drain", "1", "--hold", "0.1"]
BOOKS = ["sent", "expected", "received", "lost", "duplicated", "reordered", "redelivered", "strange",
         "stalls", "refused", "disconnected", "well"]
STREAM = [*BOOKS, "publishers", "subscribers", "seconds", "published_per_s", "delivered_per_s",
          "latency_count", "latency_p50_us", "latency_p90_us", "latency_p99_us", "latency_p999_us",
          "latency_max_us", "latency_mean_us", "generator_cores"]
BROKER = ["broker_cpu_us_each", "broker_cpu_s", "broker_user_s", "broker_system_s", "broker_cores",
          "broker_rss", "broker_rss_before", "broker_written_bytes_each"]


@pytest.fixture
def bench(binary, broker):
    """bench("pairs", ...): its figures; the exit code is checked against `code`."""
    def run(*arguments, port=None, code=0):
        done = subprocess.run([binary, "bench", *map(str, arguments), *SHORT, "--json",
                               "--prefix", f"bench-{os.getpid()}", "-p", str(port or broker.port)],
                              capture_output=True, text=True, timeout=20 * patience())
        assert done.returncode == code, done.stderr + done.stdout
        return json.loads(done.stdout)
    return run


def has(figures, names):
    assert [name for name in names if name not in figures] == []


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", ["31", "311", "5"])
def test_pairs(bench, qos, version):
    figures = bench("pairs", "--publishers", 5, "-q", qos, "-V", version)
    has(figures, STREAM)
    assert figures["well"] and figures["qos"] == qos
    assert figures["received"] == figures["expected"] == figures["sent"] > 0


def test_fan_in_to_several_counts_every_copy(bench):
    figures = bench("fan-in", "--publishers", 5, "--subscribers", 3)
    assert figures["well"] and figures["received"] == 3 * figures["sent"] > 0


def test_fan_out(bench):
    figures = bench("fan-out", "--subscribers", 20, "-q", 1)
    assert figures["well"] and figures["received"] == 20 * figures["sent"] > 0


def test_mixed_filters_match_each_message_once(bench):
    figures = bench("mixed", "--publishers", 5, "--subscribers", 7, "--count", 1000)
    has(figures, [*STREAM, "count", "setup_seconds", "setup_per_s"])
    assert figures["well"] and figures["received"] == figures["sent"] > 0


def test_retained_are_stored_read_and_cleared(bench):
    for _ in range(2):  # what the first run left would be strange to the second
        figures = bench("retained", "--publishers", 5, "--count", 500, "-q", 1)
        has(figures, [*BOOKS, "store_seconds", "store_per_s", "read_seconds", "read_per_s"])
        assert figures["well"] and figures["received"] == 500


@pytest.mark.parametrize("version", ["311", "5"])
def test_offline_sessions_get_what_they_missed_in_order(bench, version):
    figures = bench("offline", "--publishers", 5, "--count", 20, "--per-session", 30, "-V", version)
    assert figures["well"] and figures["received"] == 600 and figures["reordered"] == 0


def records_made(binary, broker):
    """By stored sessions: written, or settled before that."""
    done = subprocess.run([binary, "ctl", "-d", broker.data, "--json", "metrics"],
                          capture_output=True, text=True, check=True)
    metrics = json.loads(done.stdout)["metrics"]
    return metrics["store_records"] + metrics["store_records_spared"]


@pytest.mark.parametrize("version", ["311", "5"])
@pytest.mark.parametrize("scenario", ["pairs", "fan-in", "fan-out"])
def test_persistent_subscribers_have_stored_sessions_that_are_gone_at_the_end(
        bench, binary, broker, scenario, version):
    if not hasattr(broker, "process"):
        pytest.skip("the process of the other broker is not known")
    for _ in range(2):  # what the first run left would be strange to the second
        before = records_made(binary, broker)
        figures = bench(scenario, "--publishers", 5, "--subscribers", 3, "-q", 1, "--persistent",
                        "-V", version, "--pid", broker.process.pid)
        assert figures["well"] and figures["sent"] > 0
        assert "broker_written_bytes_each" in figures
        assert records_made(binary, broker) - before >= figures["sent"]


def test_storm(bench):
    figures = bench("storm", "--concurrency", 10)
    has(figures, ["connections", "connected_per_s", "latency_p99_us", "connect_failed"])
    assert figures["well"] and figures["connections"] > 0


def test_idle_connections_from_many_addresses(bench):
    figures = bench("conns", "--count", 300, "--subscribe")
    assert figures["well"] and figures["connections"] == 300 and figures["not_subscribed"] == 0


def test_websocket(bench, broker):
    figures = bench("pairs", "--publishers", 5, "-q", 1, "--websocket", port=broker.ws_port)
    assert figures["well"] and figures["transport"] == "websocket" and figures["sent"] > 0


@pytest.mark.parametrize("size", [24, 5000, 300_000])
def test_payload_sizes(bench, size):
    figures = bench("pairs", "--publishers", 3, "-w", 3, "-s", size)
    assert figures["well"] and figures["payload_size"] == size and figures["sent"] > 0


def test_open_loop_keeps_to_its_rate(bench):
    figures = bench("pairs", "--publishers", 5, "--rate", 500, "-q", 1)
    assert figures["well"] and figures["rate_per_s"] == 500
    # 0.4 s of it, counted from the start: exact but for the last step.
    assert abs(figures["sent"] - 200) <= 20


def test_closed_loop_has_no_more_than_the_window_under_way(bench):
    figures = bench("pairs", "--publishers", 1, "-w", 1)
    assert figures["well"] and figures["sent"] > 0 and figures["window"] == 1


def test_pid_adds_what_the_broker_used(bench, broker):
    if not hasattr(broker, "process"):
        pytest.skip("the process of the other broker is not known")
    figures = bench("pairs", "--pid", broker.process.pid)
    has(figures, BROKER)
    assert figures["broker_cpu_us_each"] > 0 and figures["broker_rss"] > 1_000_000


def test_loss_is_counted_and_is_not_well(bench, broker_with):
    small = broker_with({"queue": {"messages_max": 10}, "limits": {"inflight_out": 10}})
    figures = bench("offline", "--publishers", 2, "--count", 4, "--per-session", 100,
                    port=small.port, code=1)
    assert not figures["well"]
    assert figures["lost"] == figures["expected"] - figures["received"] >= 4 * 80


def test_label_comes_back(bench):
    assert bench("pairs", "--label", "a b")["label"] == "a b"


def test_text_says_the_same_for_people(skein, broker):
    done = skein("bench", "pairs", "--publishers", 3, "-p", broker.port, *SHORT)
    assert done.returncode == 0
    assert "latency p99.9" in done.stdout
    assert done.stdout.endswith("every message is accounted for\n")


def test_nobody_listens(skein):
    done = skein("bench", "pairs", "-p", free_port(), *SHORT)
    assert (done.returncode, done.stdout) == (69, "")


@pytest.mark.parametrize("arguments,said", [
    ([], "which scenario?"),
    (["fan-inn"], "is not one of"),
    (["pairs", "storm"], "one scenario"),
    (["pairs", "-s", "23"], "from 24"),
    (["pairs", "--pid", "2147483647"], "no process"),
    (["pairs", "--prefix", "a/#"], "without wildcards"),
    (["offline", "-q", "0"], "--qos 1 or 2"),
    (["retained", "--count", "7", "--publishers", "2"], "multiple of"),
])
def test_usage_error_says_what_is_wrong(skein, arguments, said):
    done = skein("bench", *arguments)
    assert done.returncode == 64
    assert said in done.stderr

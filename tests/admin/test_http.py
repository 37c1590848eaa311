# SPDX-License-Identifier: Apache-2.0
"""The control socket as an HTTP server: what it takes, what it refuses, what it withstands."""

import concurrent.futures
import json
import os
import socket
import stat
import subprocess
import time

import pytest

from kit import V5

REQUEST = b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b'{"status":"ok"}\n'


def read_until_end(raw):
    data = b""
    while piece := raw.recv(65536):
        data += piece
    return data


def read_answers(raw, count):
    """Everything up to the body of the count-th answer to REQUEST."""
    data = b""
    while data.count(OK) < count:
        piece = raw.recv(65536)
        assert piece, data
        data += piece
    return data


def status_of(data):
    return int(data.split(b" ", 2)[1])


def test_socket_is_for_its_owner_alone(broker):
    status = os.stat(broker.folder / "data" / "control.sock")
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600


def test_socket_is_gone_after_a_clean_end(own_broker):
    broker = own_broker()
    path = broker.folder / "data" / "control.sock"
    assert path.exists()
    broker.stop()
    assert not path.exists()


def test_socket_of_a_killed_broker_is_replaced(own_broker, api_of):
    broker = own_broker()
    broker.kill()
    assert (broker.folder / "data" / "control.sock").exists()
    broker.start()
    api_of(broker).get("/v1/health").good()


def test_second_broker_on_a_data_directory_is_refused(own_broker, api_of):
    broker = own_broker()
    done = subprocess.run([broker.binary, "serve", "-p", "0", "-d", broker.folder / "data"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 69
    assert "another broker uses this data directory" in done.stderr
    api_of(broker).get("/v1/health").good()


def test_data_directory_with_a_long_path_works(binary, tmp_path):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    process = subprocess.Popen([binary, "serve", "-p", "0", "-d", deep / "data"],
                               stderr=subprocess.PIPE, text=True)
    try:
        while "broker.started" not in (line := process.stderr.readline()):
            assert line
        folder = os.open(deep / "data", os.O_PATH)
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(f"/proc/self/fd/{folder}/control.sock")
            raw.sendall(REQUEST)
            assert read_answers(raw, 1)
        os.close(folder)
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stderr.close()


def test_requests_follow_each_other_on_one_connection(api):
    for _ in range(3):
        api.get("/v1/health").good()
    sock = api.connection.sock
    api.get("/v1/broker").good()
    assert api.connection.sock is sock


def test_requests_sent_ahead_are_answered_in_turn(api):
    with api.raw() as raw:
        raw.sendall(REQUEST * 50)
        assert read_answers(raw, 50).count(b"HTTP/1.1 200 OK") == 50


def test_request_in_single_bytes_is_a_request(api):
    with api.raw() as raw:
        for byte in REQUEST:
            raw.sendall(bytes([byte]))
        assert status_of(read_answers(raw, 1)) == 200


def test_connection_close_is_honoured(api):
    with api.raw() as raw:
        raw.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in read_until_end(raw)


def test_http_1_0_gets_a_list_without_chunks(api):
    with api.raw() as raw:
        raw.sendall(b"GET /v1/clients HTTP/1.0\r\n\r\n")
        head, body = read_until_end(raw).split(b"\r\n\r\n", 1)
        assert b"chunked" not in head
        assert "clients" in json.loads(body)


def test_head_has_the_headers_and_no_body(api):
    got = api.call("HEAD", "/v1/health")
    assert (got.status, got.headers["Content-Length"], got.text) == (200, "16", "")
    got = api.call("HEAD", "/v1/clients")
    assert (got.status, got.text) == (200, "")
    api.get("/v1/health").good()


def test_expect_100_continue_is_answered_before_the_body_comes(api):
    body = b'{"path": "x"}'
    with api.raw() as raw:
        raw.sendall(b"POST /v1/store/backup HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(body)
        assert status_of(raw.recv(4096)) == 400


@pytest.mark.parametrize("text, status", [
    (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00", 400),
    (b"GET /v1/health\r\n\r\n", 505),
    (b"GET /v1/health HTTP/1.1\r\n\r\n", 400),
    (b"GET /v1/health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET /v1/health HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    (b"GET /v1/health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20000 + b"\r\n\r\n", 431),
    (b"GET /v1/health HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 64 + b"\r\n", 431),
    (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
    (b"POST /v1/store/backup HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", 413),
    (b"POST /v1/store/backup HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n", 400),
])
def test_request_that_cannot_be_read_gets_a_problem_and_the_end(api, text, status):
    with api.raw() as raw:
        raw.sendall(text)
        data = read_until_end(raw)
    head, body = data.split(b"\r\n\r\n", 1)
    assert status_of(data) == status
    assert b"application/problem+json" in head and b"Connection: close" in head
    assert json.loads(body)["status"] == status


def test_body_of_a_mebibyte_is_read_and_refused_for_what_it_says(api):
    got = api.call("POST", "/v1/store/backup", body=b" " * (1 << 20),
                   headers={"Content-Type": "application/json"})
    got.problem(400, "not JSON")
    api.get("/v1/health").good()


def test_hundred_connections_at_once_are_all_answered(api):
    """One that finds no room is told so, and none waits."""
    def ask(_):
        with api.raw() as raw:
            raw.sendall(b"GET /v1/broker HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return status_of(read_until_end(raw))
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        found = list(pool.map(ask, range(100)))
    assert set(found) <= {200, 503} and found.count(200) >= 64


def test_connections_beyond_the_limit_are_told(own_broker, api_of):
    api = api_of(own_broker())
    opened = [api.raw() for _ in range(64)]
    with api.raw() as raw:
        data = read_until_end(raw)
        assert status_of(data) == 503 and b"Retry-After: 1" in data
    opened.pop().close()
    deadline = time.monotonic() + 20
    while True:  # the broker has to notice that one went
        with api.raw() as raw:
            raw.sendall(REQUEST)
            if status_of(raw.recv(4096)) == 200:
                break
        assert time.monotonic() < deadline
    for raw in opened:
        raw.close()


def test_idle_connection_gives_way_to_a_new_one(own_broker, api_of):
    api = api_of(own_broker())
    opened = [api.raw() for _ in range(64)]
    opened[3].sendall(REQUEST)
    read_answers(opened[3], 1)
    with api.raw() as raw:
        raw.sendall(REQUEST)
        assert status_of(read_answers(raw, 1)) == 200
    assert opened[3].recv(10) == b""
    for raw in opened:
        raw.close()


def test_slow_clients_of_the_api_do_not_hinder_mqtt(own_broker, api_of, connect, topic):
    """63 half requests, and one that asks for more than it reads."""
    broker = own_broker()
    api = api_of(broker)
    stuck = [api.raw() for _ in range(63)]
    for raw in stuck:
        raw.sendall(b"GET /v1/hea")
    greedy = api.raw()
    greedy.setblocking(False)
    asked = b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    sent = 0
    try:
        while sent < 50_000_000:
            sent += greedy.send(asked * 1000)
    except BlockingIOError:
        pass
    assert sent < 50_000_000, "an API client that does not read is read from all the same"
    memory = broker.rss_kb()
    alice, bob = connect(V5, broker=broker), connect(V5, broker=broker)
    bob.subscribe(topic, qos=1)
    for number in range(200):
        alice.publish(topic, f"{number}", qos=1)
        bob.receive(payload=f"{number}")
    assert broker.rss_kb() < memory + 20_000
    for raw in [*stuck, greedy]:
        raw.close()


def test_client_that_leaves_before_its_answer_harms_nobody(api):
    for _ in range(50):
        with api.raw() as raw:
            raw.sendall(b"GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n")
    api.get("/v1/ready").good()


def test_end_of_the_broker_waits_for_no_idle_connection(own_broker, api_of):
    broker = own_broker()
    api = api_of(broker)
    api.get("/v1/health").good()
    with api.raw() as half:
        half.sendall(b"GET /v1/hea")
        started = time.monotonic()
        broker.stop()
        assert time.monotonic() - started < 10

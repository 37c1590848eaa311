# SPDX-License-Identifier: Apache-2.0
"""What the API says and does, held to its own OpenAPI document."""

import os
import time

import jsonschema
import pytest

from kit import V5, V311, Will, unique

BACKUP = "/v1/store/backup"


@pytest.fixture(scope="module")
def document_of():
    kept = {}

    def get(api):
        if "document" not in kept:
            kept["document"] = api.get("/v1/openapi.json").good()
        return kept["document"]
    return get


def schema(document, path, method="get", status="200"):
    response = document["paths"][path][method]["responses"][status]
    (media,) = response["content"].values()
    return {**media["schema"], "components": document["components"]}


@pytest.fixture
def checked(api, document_of):
    """checked("/v1/clients/{id}", client_id): the answer, which is as the document says."""
    document = document_of(api)

    def get(path, *segments, method="GET", **query):
        template = path
        got = api.call(method, path.replace("{id}", "{}"), *segments, query=query).good()
        jsonschema.validate(got, schema(document, template, method.lower()))
        return got
    return get


# ---- the document

def test_openapi_document_is_whole(api, document_of):
    document = document_of(api)
    assert document["openapi"] == "3.1.0"
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
    for path, operations in document["paths"].items():
        for operation in operations.values():
            placed = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert placed == {s[1:-1] for s in path.split("/") if s.startswith("{")}
            for parameter in operation["parameters"]:
                jsonschema.Draft202012Validator.check_schema(parameter["schema"])
            for status, response in operation["responses"].items():
                assert response["description"]
                for media in response["content"].values():
                    jsonschema.Draft202012Validator.check_schema(media["schema"])
                    assert ("$ref" in media["schema"]) == (status != "200")
            assert "default" in operation["responses"]


def test_problem_is_as_the_document_says(api, document_of):
    got = api.get("/v1/clients/{}", unique("nobody"))
    got.problem(404)
    jsonschema.validate(got.json, {**schema(document_of(api), "/v1/clients/{id}", status="404"),
                                   "components": document_of(api)["components"]})


def test_path_that_does_not_exist_is_404(api):
    api.get("/v1/cleints").problem(404, "/v1/cleints")
    api.get("/").problem(404)


def test_method_that_does_not_exist_is_405_with_those_that_do(api):
    got = api.call("PUT", "/v1/clients/{}", "x")
    got.problem(405, "PUT")
    assert got.headers["Allow"] == "GET, HEAD, DELETE"


# ---- broker

def test_health_and_readiness(checked):
    assert checked("/v1/health") == {"status": "ok"}
    assert checked("/v1/ready") == {"status": "ready"}


def test_broker_says_what_runs(checked, broker):
    got = checked("/v1/broker")
    assert got["pid"] == broker.process.pid
    assert got["workers"] == 2
    assert got["data_dir"] == str(broker.folder / "data")
    assert got["listeners"] == [{"address": f"127.0.0.1:{broker.port}", "transport": "tcp"},
                                {"address": f"127.0.0.1:{broker.ws_port}", "transport": "ws"}]


def test_metrics_are_those_of_all_workers(checked, connect):
    before = checked("/v1/metrics")["metrics"]
    clients = [connect(V311) for _ in range(8)]
    for client in clients:
        client.publish(unique("metrics"), "x", qos=1)
    after = checked("/v1/metrics")
    assert after["metrics"]["publish_received"] >= before["publish_received"] + 8
    assert any(d["name"] == "loop_turn" and d["count"] > 0 for d in after["distributions"])


def test_retained_messages_are_counted_at_once(own_broker, api_of, connect):
    broker = own_broker({"broker": {"sys_interval": 0}})
    client = connect(V5, broker=broker)
    client.publish("kept", "x", qos=1, retain=True)
    got = api_of(broker).get("/v1/metrics", name="retained_count").good()
    assert got == {"metrics": {"retained_count": 1}}


def test_metric_that_does_not_exist_gets_a_suggestion(api):
    api.get("/v1/metrics", name="publish_recieved").problem(404, "publish_received?")


# ---- clients

def test_client_is_described(checked, connect):
    name = unique("seen/\u00e9 %")
    client = connect(V5, name, keep_alive=77, properties={"session_expiry_interval": 99})
    client.subscribe("a/#")
    client.subscribe("b")
    got = checked("/v1/clients/{id}", name)
    assert got["connected_since"].endswith("Z")
    assert got["address"].startswith("127.0.0.1:")
    wanted = {"id": name, "connected": True, "transport": "tcp", "version": "5.0", "keep_alive_s": 77,
              "session_expiry_s": 99, "subscriptions": 2, "queued_messages": 0}
    assert {key: got[key] for key in wanted} == wanted


def test_websocket_client_is_told_apart(checked, connect):
    name = unique()
    connect(V311, name, websocket=True)
    got = checked("/v1/clients/{id}", name)
    assert (got["transport"], got["version"]) == ("ws", "3.1.1")


def test_session_that_waits_shows_what_waits_for_it(checked, connect, topic):
    name = unique()
    sleeper = connect(V5, name, properties={"session_expiry_interval": 99})
    sleeper.subscribe(topic, qos=1)
    sleeper.disconnect()
    publisher = connect(V5)
    for _ in range(3):
        publisher.publish(topic, "x" * 100, qos=1)
    got = checked("/v1/clients/{id}", name)
    assert (got["connected"], got["queued_messages"]) == (False, 3)
    assert got["queued_bytes"] > 300
    assert "address" not in got


def test_list_has_everybody_who_is_connected_once(own_broker, api_of, connect):
    broker = own_broker()
    api = api_of(broker)
    names = {f"c{number}" for number in range(300)}
    clients = [connect(V311, name, broker=broker) for name in names]
    away = connect(V5, "away", broker=broker, properties={"session_expiry_interval": 99})
    away.disconnect()
    got = api.get("/v1/clients", limit=1000).good()
    assert "next" not in got
    assert sorted(c["id"] for c in got["clients"]) == sorted(names)
    assert len(clients) == 300


def test_pages_follow_each_other_without_gap_or_repeat(own_broker, api_of, connect):
    broker = own_broker()
    api = api_of(broker)
    clients = [connect(V311, f"c{number}", broker=broker) for number in range(50)]
    seen, query = [], {"limit": 7}
    while True:
        got = api.get("/v1/clients", **query).good()
        seen += [c["id"] for c in got["clients"]]
        if "next" not in got:
            break
        assert len(got["clients"]) <= 7
        query["after"] = got["next"]
        clients.pop().close()  # who leaves does not move the others
        assert len(seen) < 200
    assert len(seen) == len(set(seen))
    assert {f"c{number}" for number in range(len(clients))} <= set(seen)


@pytest.mark.parametrize("after", ["x", "1", "1.", "1.2.3", "-1.0", "1.2 "])
def test_page_after_nonsense_is_refused(api, after):
    api.get("/v1/clients", after=after).problem(400, "after")


def test_page_after_the_end_is_empty(checked):
    assert checked("/v1/clients", after="999.999") == {"clients": []}


# ---- changes

def test_disconnected_client_is_told_that_a_person_did_it(checked, connect, topic):
    name = unique()
    watcher = connect(V5)
    watcher.subscribe(topic)
    client = connect(V5, name, properties={"session_expiry_interval": 99},
                     will=Will(topic, "gone"))
    assert checked("/v1/clients/{id}", name, method="DELETE") == {"id": name}
    client.expect_closed(0x98)
    watcher.receive(payload="gone")
    assert checked("/v1/clients/{id}", name)["connected"] is False


def test_client_that_is_not_connected_cannot_be_disconnected(api, connect):
    name = unique()
    client = connect(V5, name, properties={"session_expiry_interval": 99})
    client.disconnect()
    api.call("DELETE", "/v1/clients/{}", name).problem(404, "not connected")
    api.call("DELETE", "/v1/clients/{}", unique()).problem(404, "not connected")


@pytest.mark.parametrize("expiry", [0, 99])
def test_deleted_session_is_gone_and_its_client_may_come_again(checked, api, connect, expiry):
    name = unique()
    client = connect(V5, name, properties={"session_expiry_interval": expiry})
    client.subscribe("some/topic", qos=1)
    assert checked("/v1/sessions/{id}", name, method="DELETE") == {"id": name, "was_connected": True}
    client.expect_closed(0x98)
    api.get("/v1/clients/{}", name).problem(404)
    again = connect(V5, name, clean_start=False, properties={"session_expiry_interval": expiry})
    assert again.connack.session_present is False


def test_session_that_waits_is_deleted_with_its_messages(checked, connect, topic):
    name = unique()
    sleeper = connect(V5, name, properties={"session_expiry_interval": 99})
    sleeper.subscribe(topic, qos=1)
    sleeper.disconnect()
    connect(V5).publish(topic, "x", qos=1)
    assert checked("/v1/sessions/{id}", name, method="DELETE") == {"id": name, "was_connected": False}
    again = connect(V5, name, clean_start=False)
    assert again.connack.session_present is False
    again.expect_quiet()


def durable(connect, broker, name):
    return connect(V5, name, broker=broker, properties={"session_expiry_interval": 99})


def test_delete_is_answered_when_the_store_has_kept_it(own_broker, api_of, connect):
    broker = own_broker(environment={"SKEIN_TEST_STORE": "200,0"})
    name = unique()
    durable(connect, broker, name)
    started = time.monotonic()
    api_of(broker).call("DELETE", "/v1/sessions/{}", name).good()
    assert time.monotonic() - started >= 0.2


def test_delete_that_the_store_could_not_keep_is_a_problem(own_broker, api_of, connect):
    """The second commit of each shard fails: the first one is the client's own."""
    broker = own_broker(environment={"SKEIN_TEST_STORE": "1,2"})
    name = unique()
    durable(connect, broker, name)
    api_of(broker).call("DELETE", "/v1/sessions/{}", name).problem(503, "could not keep")


def test_changes_leave_a_line_in_the_log(api, connect, broker):
    name = unique("logged")
    connect(V5, name)
    api.call("DELETE", "/v1/clients/{}", name).good()
    broker.wait_for_log(f"admin.request method=DELETE resource=/v1/clients/{{id}} of={name} status=200")


# ---- store

def test_store_in_memory_says_so_and_cannot_be_copied(api, checked, tmp_path):
    if checked("/v1/store")["kind"] == "memory":
        path = tmp_path / "copy"
        api.call("POST", BACKUP, body={"path": str(path)}).problem(409, "in memory")
        assert not os.path.exists(path)


@pytest.mark.parametrize("body, status, says", [
    ({}, 400, "path is missing"),
    ({"path": 1}, 400, "path has to be a string"),
    ({"path": "relative"}, 400, "absolute"),
    ({"path": "/a", "pth": "/b"}, 400, "Unknown member of the body 'pth'"),
    ([], 400, "JSON object"),
    ("{", 400, "not JSON"),
])
def test_body_that_is_wrong_is_refused_with_what_is_wrong(api, body, status, says):
    api.call("POST", BACKUP, body=body, headers={"Content-Type": "application/json"}).problem(status, says)


def test_body_that_is_not_called_json_is_refused(api):
    api.call("POST", BACKUP, body='{"path": "/a"}', headers={"Content-Type": "text/plain"}).problem(415)

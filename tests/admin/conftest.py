# SPDX-License-Identifier: Apache-2.0
"""Talking to a broker's control socket."""

import http.client
import json
import os
import pathlib
import socket
import urllib.parse

import pytest

from kit.broker import ROOT


class UnixConnection(http.client.HTTPConnection):
    """http.client over a unix socket."""

    def __init__(self, path, timeout=20):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)

    def problem(self, status, says=""):
        """Asserts an RFC 9457 problem."""
        assert (self.status, self.headers["Content-Type"]) == (status, "application/problem+json"), self.text
        assert self.json["status"] == status and self.json["title"]
        assert says in self.json["detail"], self.json["detail"]

    def good(self):
        assert (self.status, self.headers["Content-Type"]) == (200, "application/json"), self.text
        return self.json


class Api:
    """api.get("/v1/clients", limit=5), api.call("DELETE", "/v1/clients/{}", client_id)."""

    def __init__(self, broker):
        self.socket = broker.folder / "data" / "control.sock"
        self.connection = UnixConnection(self.socket)

    def call(self, method, path, *segments, body=None, headers=None, query=None):
        path = path.format(*(urllib.parse.quote(s, safe="") for s in segments))
        if query:
            path += "?" + urllib.parse.urlencode(query)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        self.connection.request(method, path, body=body, headers=headers)
        return Answer(self.connection.getresponse())

    def get(self, path, *segments, **query):
        return self.call("GET", path, *segments, query=query)

    def raw(self):
        """A connected socket."""
        raw = socket.socket(socket.AF_UNIX)
        raw.settimeout(20)
        raw.connect(str(self.socket))
        return raw

    def close(self):
        self.connection.close()


@pytest.fixture
def api_of():
    opened = []

    def get(broker):
        opened.append(Api(broker))
        return opened[-1]
    yield get
    for each in opened:
        each.close()


@pytest.fixture
def api(api_of, broker):
    """The control socket of the broker that tests share."""
    return api_of(broker)


@pytest.fixture(scope="session")
def binary():
    return pathlib.Path(os.environ.get("SKEIN_BINARY") or ROOT / "build/release/skein").absolute()

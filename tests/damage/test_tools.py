# SPDX-License-Identifier: Apache-2.0
"""skein store: check, stats, backup, restore, export, import, and what they refuse."""

import json

from kit import V5

from .conftest import SESSIONS

NO_INPUT, IN_USE, CANNOT_CREATE, BAD_DATA, USAGE = 66, 69, 73, 65, 64


def test_good_store_is_called_good(filled, node):
    n = node(filled / "tables")
    done = n.tool("check", n.data)
    assert done.returncode == 0 and "the store is good" in done.stdout


def test_check_changes_nothing(filled, node):
    n = node(filled / "log")
    before = {path.name: path.read_bytes() for path in n.store.iterdir() if "LOG" not in path.name}
    n.tool("check", n.data)
    assert {path.name: path.read_bytes() for path in n.store.iterdir()
            if "LOG" not in path.name} == before


def test_stats_count_what_is_there(filled, node):
    n = node(filled / "tables")
    stats = json.loads(n.tool("stats", "--json", n.data).stdout)
    kinds = {name: kind["records"] for name, kind in stats["kinds"].items()}
    lines = n.lines()
    assert stats["format"] == 1 and stats["shards"] == 64 and stats["starts"] == 2
    assert kinds["sessions"] == SESSIONS and kinds["subscriptions"] == 2 * SESSIONS
    assert kinds["queued_messages"] == sum(line.get("kind") == "queued" for line in lines)
    assert kinds["retained_messages"] == 65 and kinds["wills"] == 1
    longest = [queue["messages"] for queue in stats["longest_queues"]]
    assert longest == sorted(longest, reverse=True) and len(longest) == 10
    text = n.tool("stats", n.data).stdout
    assert "longest queues:" in text and "pump-" in text


def test_folder_without_a_store_is_no_store(node):
    n = node()
    n.data.mkdir()
    for action in ("check", "stats", "export"):
        assert n.tool(action, n.data).returncode == NO_INPUT
    assert n.tool("salvage", n.folder / "nothing").returncode == NO_INPUT


def test_wrong_command_lines_are_refused(node):
    n = node()
    for words in ([], ["mend", "x"], ["check"], ["check", "a", "b"], ["restore", "a"]):
        done = n.tool(*words)
        assert done.returncode == USAGE and "try 'skein store --help'" in done.stderr


def test_backup_is_the_same_store(filled, node):
    n = node(filled / "tables")
    before = n.content()
    done = n.tool("backup", "-d", n.data, n.folder / "copy")
    assert done.returncode == 0, done.stderr
    copy = node(n.folder / "copy")
    assert copy.content() == before and n.content() == before
    copy.start()
    copy.client(V5).connect()
    copy.kill()


def test_backup_of_a_broker_that_serves_is_whole(filled, node):
    n = node(filled / "tables")
    n.start()
    publisher = n.client(V5)
    publisher.connect()
    publisher.publish("all", "the last one before", 1)
    done = n.tool("backup", "-d", n.data, n.folder / "copy")
    assert done.returncode == 0, done.stderr
    publisher.publish("all", "the first one behind", 1)
    n.stop()
    copy = node(n.folder / "copy")
    assert copy.tool("check", copy.data).returncode == 0
    payloads = {line.get("payload") for line in copy.lines()}
    assert "the last one before" in payloads and "the first one behind" not in payloads
    copy.start()
    copy.client(V5).connect()
    copy.kill()


def test_backup_overwrites_nothing(filled, node):
    n = node(filled / "tables")
    (n.folder / "copy").mkdir()
    assert n.tool("backup", "-d", n.data, n.folder / "copy").returncode == CANNOT_CREATE


def test_restore_puts_a_backup_back(filled, node):
    n = node(filled / "tables")
    before = n.content()
    n.tool("backup", "-d", n.data, n.folder / "copy")
    done = n.tool("restore", n.folder / "copy", n.folder / "fresh")
    assert done.returncode == 0, done.stderr
    assert node(n.folder / "fresh").content() == before


def test_restore_sets_a_store_aside_when_it_is_told_to(filled, node):
    n, other = node(filled / "tables"), node(filled / "log")
    before, here = other.content(), n.content()
    done = n.tool("restore", other.data, n.data)
    assert done.returncode == CANNOT_CREATE and "--force" in done.stderr
    assert n.content() == here
    assert n.tool("restore", "--force", other.data, n.data).returncode == 0
    assert n.content() == before
    aside = node()
    aside.data.mkdir()
    next(n.data.glob("store.before-*")).rename(aside.store)
    assert aside.content() == here


def test_restore_does_not_touch_what_a_broker_uses(filled, node):
    n, other = node(filled / "tables"), node(filled / "log")
    n.start()
    assert n.tool("restore", "--force", other.data, n.data).returncode == IN_USE
    n.client(V5).connect()
    n.stop()


def test_export_of_an_import_is_the_same_file(filled, node):
    n = node(filled / "tables")
    first, second = n.folder / "first", n.folder / "second"
    assert n.tool("export", n.data, first).returncode == 0
    done = n.tool("import", first, n.folder / "copy")
    assert done.returncode == 0, done.stderr
    assert n.tool("check", n.folder / "copy").returncode == 0
    assert n.tool("export", n.folder / "copy", second).returncode == 0
    assert first.read_bytes() == second.read_bytes()


def test_export_keeps_bytes_that_are_no_text(node):
    n = node()
    n.start()
    client = n.client(V5)
    client.connect()
    payloads = [bytes(range(256)), b"\x00", b"\xff", b"\xff\xfe", b"", "grün".encode()]
    for number, payload in enumerate(payloads):
        client.publish(f"b/{number}", payload, 1, retain=True, properties={
            "user_property": [("a", "1")], "correlation_data": b"\x00\x01\xff"})
    n.kill()
    first, second = n.folder / "first", n.folder / "second"
    n.tool("export", n.data, first)
    assert n.tool("import", first, n.folder / "copy").returncode == 0
    n.tool("export", n.folder / "copy", second)
    assert first.read_bytes() == second.read_bytes()
    copy = node(n.folder / "copy")
    copy.start()
    reader = copy.client(V5)
    reader.connect()
    reader.subscribe("b/#", 1)
    got = {}
    while len(got) < 5:  # an empty payload is retained by nobody
        packet = reader.receive()
        assert packet.properties.get("correlation_data") == b"\x00\x01\xff"
        got[packet.topic] = packet.payload
    assert got == {f"b/{k}": payload for k, payload in enumerate(payloads) if payload}
    copy.stop()


def test_import_into_other_shards_keeps_queues(filled, node):
    n = node(filled / "tables")
    wanted = {}
    for line in n.lines():
        if line.get("kind") == "queued":
            wanted.setdefault(line["client"], 0)
            wanted[line["client"]] += 1
    n.tool("export", n.data, n.folder / "all")
    assert n.tool("import", "--shards", 16, n.folder / "all", n.folder / "copy").returncode == 0
    copy = node(n.folder / "copy", {"shards": 16})
    assert copy.tool("check", copy.data).returncode == 0
    copy.start()
    for client_id, count in wanted.items():
        client = copy.client(V5)
        client.connect(client_id, clean_start=False,
                       properties={"session_expiry_interval": 86400})
        for _ in range(count):
            client.receive()
        client.expect_quiet()
    copy.stop()


# A publication of QoS 2 that has not been delivered yet, of which one share is settled.
ON_ITS_WAY = """\
{"skein-export":1,"shards":64,"starts":1}
{"kind":"session","client":"taker","expiry_s":86400,"connected":false,"left_ms":4000000000000,"next":1,"sent":1}
{"kind":"subscription","client":"taker","filter":"a/b","qos":2,"no_local":false,"retain_as_published":false,\
"retain_handling":0,"identifier":0}
{"kind":"outbox","shard":3,"number":4294967297,"topic":"a/b","message_qos":2,"message_retain":false,\
"received_ms":1790000000000,"publisher":7,"payload":"on its way"}
{"kind":"choices","shard":3,"number":4294967297,\
"shares":[{"filter_hash":"fedcba9876543210","shard":63}],"only_shares":false}
{"kind":"outbox","shard":3,"number":4294967300,"topic":"a/b","message_qos":2,"message_retain":false,\
"received_ms":1790000000000,"publisher":7,"payload":"for a share that is gone"}
{"kind":"choices","shard":3,"number":4294967300,\
"shares":[{"filter_hash":"0000000000000000","shard":0}],"only_shares":true}
{"kind":"mark","shard":5,"source":3,"number":4294967200,"behind":[4294967207,4294967300]}
"""


def test_messages_on_their_way_are_exported_and_imported(node):
    n = node()
    first = n.folder / "first"
    first.write_text(ON_ITS_WAY)
    done = n.tool("import", first, n.data)
    assert done.returncode == 0, done.stderr
    assert n.tool("check", n.data).returncode == 0, n.tool("check", n.data).stdout
    assert {json.dumps(line, sort_keys=True) for line in n.lines()} == \
        {json.dumps(json.loads(line), sort_keys=True) for line in ON_ITS_WAY.splitlines()}


def test_messages_on_their_way_are_delivered_before_the_shards_change(node):
    n = node()
    path, after = n.folder / "file", n.folder / "after"
    path.write_text(ON_ITS_WAY)
    done = n.tool("import", "--shards", 16, path, n.folder / "copy")
    assert done.returncode == BAD_DATA
    assert "start a broker with shards: 64" in done.stderr
    assert n.tool("import", path, n.data).returncode == 0
    n.start()
    n.stop()
    assert n.tool("export", n.data, after).returncode == 0
    done = n.tool("import", "--shards", 16, after, n.folder / "copy")
    assert done.returncode == 0, done.stderr
    copy = node(n.folder / "copy", {"shards": 16})
    copy.start()
    client = copy.client(V5)
    client.connect("taker", clean_start=False, properties={"session_expiry_interval": 86400})
    assert client.receive().payload == b"on its way"
    copy.stop()


def test_import_refuses_what_is_no_export(filled, node):
    n = node()
    path = n.folder / "file"
    for text, said in [("", "the file is empty"), ("{}\n", "the header"), ("no\n", "line 1"),
                       ('{"skein-export":2,"shards":64,"starts":1}\n', "a newer version"),
                       ('{"skein-export":1,"shards":64,"starts":1}\n{"kind":"session"}\n',
                        "line 2: not a session"),
                       ('{"skein-export":1,"shards":64,"starts":1}\n'
                        '{"kind":"choices","shard":0,"number":1,'
                        '"shares":[{"filter_hash":"x","shard":1}]}\n',
                        "line 2: not the choices"),
                       ('{"skein-export":1,"shards":64,"starts":1}\n{"kind":"song"}\n',
                        "does not know")]:
        path.write_text(text)
        done = n.tool("import", path, n.data)
        assert done.returncode == BAD_DATA and said in done.stderr
        assert not n.store.exists() and not (n.data / "store.import").exists()


def test_export_overwrites_nothing(filled, node):
    n = node(filled / "tables")
    (n.folder / "file").write_text("mine")
    assert n.tool("export", n.data, n.folder / "file").returncode == CANNOT_CREATE
    assert (n.folder / "file").read_text() == "mine"


def test_salvage_of_a_good_store_loses_nothing(filled, node):
    n = node(filled / "tables")
    before = n.content()
    done = n.tool("salvage", n.data)
    assert done.returncode == 0 and "lost:" not in done.stdout
    assert n.content() == before

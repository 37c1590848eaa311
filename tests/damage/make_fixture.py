#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a store of the present format with one of everything, and what is in it:

    tests/damage/make_fixture.py tests/damage/fixtures/store-format-N.tar.gz

Once for each format; files that are there stay as they are.
"""

import io
import pathlib
import subprocess
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from kit import PUBLISH, PUBREC, PUBREL, V5, V311, Will, publish, wire  # noqa: E402
from kit.broker import Broker  # noqa: E402

NEVER = {"session_expiry_interval": 0xFFFFFFFF}


def session(broker, client_id, version=V5, **fields):
    client = broker.client(version)
    properties = {**NEVER, **fields.pop("properties", {})} if version == V5 else None
    client.connect(client_id, clean_start=False, properties=properties, **fields)
    return client


def fill(broker):
    one = session(broker, "one")
    one.subscribe([("plain/#", 1), ("$share/group/shared/+", 2)])
    one.subscribe([("options", 0b101110)], properties={"subscription_identifier": 7})
    one.close()
    session(broker, "zwei-ü", V311).subscribe("plain/+", 2)
    session(broker, "with-will", will=Will("will", "gone", 2, True, {
        "will_delay_interval": 86400 * 365 * 20, "content_type": "text/plain"})).close()
    for number in range(10):
        fan = session(broker, f"fan-{number}")
        fan.subscribe("fan", 1)
        fan.close()
    publisher = session(broker, "publisher")
    publisher.publish("fan", "for many", 1)
    for number in range(20):
        publisher.publish(f"plain/{number}", f"message {number}", 1 + number % 2, properties={
            "user_property": [("number", str(number))]})
    publisher.publish("shared/a", "for one of the group", 2)
    publisher.publish("options", b"\x00\xff", 1)
    publisher.publish("plain/large", "large " * 1000, 1)
    for number in range(5):
        publisher.publish(f"kept/{number}", f"kept {number}", number % 3, retain=True)
    publisher.publish("kept/bytes", bytes(range(256)), 1, retain=True)
    half = session(broker, "half-way", properties={"receive_maximum": 2})
    half.subscribe("half", 2)
    for number in range(3):
        publisher.publish("half", f"{number}", 2)
    first = half.wait_for(PUBLISH)
    half.send(wire.pubrec(first.id))
    half.wait_for(PUBREL)
    half.close()
    publisher.send(publish("plain/once", "not released", 2, 99))
    publisher.wait_for(PUBREC)
    publisher.close()


def add(tar, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def main():
    target = pathlib.Path(sys.argv[1])
    broker = Broker()
    fill(broker)
    broker.kill()
    broker.start()  # most of it comes into tables
    late = session(broker, "late")
    late.subscribe("plain/#", 1)
    late.close()
    broker.kill()
    data = broker.folder / "data"
    done = subprocess.run([broker.binary, "store", "export", data], capture_output=True, check=True)
    with tarfile.open(target, "x:gz") as tar:
        add(tar, "expected.jsonl", done.stdout)
        for path in sorted((data / "store").iterdir()):
            if not path.name.startswith(("LOG", "LOCK", "OPTIONS")):
                add(tar, f"data/store/{path.name}", path.read_bytes())


if __name__ == "__main__":
    main()

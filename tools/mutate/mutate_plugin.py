# SPDX-License-Identifier: Apache-2.0
"""pytest plugin of ./dev mutate: records which mutants each test reaches, or runs chosen tests.

SKEIN_MUTANT           the file that the program under test maps
SKEIN_MUTATE_RECORD    folder for records: one line of JSON a test
SKEIN_MUTATE_TESTS     file with the ids of the tests to run, in their order
SKEIN_MUTATE_PROGRESS  file that names the test that runs
"""

import json
import os
import pathlib

import pytest

SIZE = 1 << 16
RECORD = os.environ.get("SKEIN_MUTATE_RECORD")
CHOSEN = os.environ.get("SKEIN_MUTATE_TESTS")
PROGRESS = os.environ.get("SKEIN_MUTATE_PROGRESS")


def pytest_configure(config):
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if RECORD and worker:
        shared = pathlib.Path(RECORD) / f"{worker}.shared"
        shared.write_bytes(bytes(SIZE))
        os.environ["SKEIN_MUTANT"] = str(shared)


def pytest_collection_modifyitems(items):
    if CHOSEN:
        order = {name: at for at, name in enumerate(pathlib.Path(CHOSEN).read_text().splitlines())}
        items[:] = sorted((i for i in items if i.nodeid in order), key=lambda i: order[i.nodeid])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    if PROGRESS:
        pathlib.Path(PROGRESS).write_text(item.nodeid)
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    item.mutate_failed = getattr(item, "mutate_failed", False) or report.outcome != "passed"
    if RECORD and report.when == "teardown":
        with open(os.environ["SKEIN_MUTANT"], "r+b") as shared:
            data = shared.read()
            shared.seek(4)
            shared.write(bytes(SIZE - 4))
        reached = [at - 4 for at in range(4, SIZE) if data[at]]
        entry = {"test": item.nodeid.split("@")[0], "passed": not item.mutate_failed, "reached": reached}
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        with open(pathlib.Path(RECORD) / f"{worker}.jsonl", "a") as record:
            record.write(json.dumps(entry) + "\n")

# SPDX-License-Identifier: Apache-2.0
"""pytest plugin of ./dev mutate: records which mutants each test reaches, or runs tests on request.

SKEIN_MUTANT         the file that the program under test maps
SKEIN_MUTATE_RECORD  folder for records: one line of JSON a test
SKEIN_MUTATE_SERVE   "IN,OUT", descriptors: after the collection, each line that comes in is a JSON
                     list of test ids to be run in this order. What goes out: "run ID" before each,
                     then "failed ID" for the first that fails, or "passed".
"""

import json
import os
import pathlib
import time

import pytest
from _pytest.runner import runtestprotocol

SIZE = 1 << 16
RECORD = os.environ.get("SKEIN_MUTATE_RECORD")
SERVE = os.environ.get("SKEIN_MUTATE_SERVE")


def test_id(item):
    """Without the group that xdist puts behind it."""
    grouped = "PYTEST_XDIST_WORKER" in os.environ and item.get_closest_marker("xdist_group")
    return item.nodeid.rsplit("@", 1)[0] if grouped else item.nodeid


# ---- recording -----------------------------------------------------------------------------------


def pytest_configure(config):
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if RECORD and worker:
        shared = pathlib.Path(RECORD) / f"{worker}.shared"
        shared.write_bytes(bytes(SIZE))
        os.environ["SKEIN_MUTANT"] = str(shared)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    item.mutate_started = time.monotonic()
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
        entry = {"test": test_id(item), "passed": not item.mutate_failed,
                 "seconds": time.monotonic() - item.mutate_started,
                 "reached": [at - 4 for at in range(4, SIZE) if data[at]]}
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        with open(pathlib.Path(RECORD) / f"{worker}.jsonl", "a") as record:
            record.write(json.dumps(entry) + "\n")


# ---- running on request --------------------------------------------------------------------------


def first_failure(session, items, tell):
    """The first of the items that fails, or None. Every fixture has ended when this returns."""
    failed = None
    for at, item in enumerate(items):
        tell(f"run {item.nodeid}")
        following = items[at + 1] if at + 1 < len(items) else None
        reports = runtestprotocol(item, nextitem=following, log=False)
        if any(report.outcome != "passed" for report in reports):
            failed = item
            break
    try:
        session._setupstate.teardown_exact(None)
    except BaseException:  # a broker that does not end well fails the test that was the last
        failed = failed or item
    return failed


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    if not SERVE:
        return None
    inward, outward = map(int, SERVE.split(","))
    by_id = {item.nodeid: item for item in session.items}
    with open(inward) as orders, open(outward, "w", buffering=1) as answers:
        def tell(line):
            answers.write(line + "\n")
        tell("ready")
        for order in orders:
            failed = first_failure(session, [by_id[name] for name in json.loads(order)], tell)
            tell(f"failed {failed.nodeid}" if failed else "passed")
    return True

# SPDX-License-Identifier: Apache-2.0
"""Writes what was measured: results.md for people, results.json with every round."""

import datetime
import json
import pathlib
import platform
import re
import statistics

CAVEATS = """\
- us: CPU microseconds of the broker's process, user and kernel, per delivered message (per connection
  for the storm), from its CPU clock, so a machine that is busy otherwise changes it little.
- Closed loop: each publisher has at most 20 messages that are not delivered yet; 64 bytes of payload
  unless it says otherwise; MQTT 3.1.1; every message is checked by its number.
- The broker has one worker on one CPU, the generator spins on another. Waking a generator that sleeps
  would be part of the broker's cost.
- Brokers take turns within each round, each started afresh; figures are medians over rounds, ratios
  are ratios of medians. Rounds differ by up to 40 % on small virtual machines: compare inside one
  run only.
- Mosquitto runs with max_inflight_messages 1000, max_queued_messages 0 and max_connections -1, because
  its defaults would measure its limits. Skein runs with its defaults.
"""


def machine():
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    cpus = pathlib.Path("/sys/devices/system/cpu/online").read_text().strip()
    release = re.search(r'^PRETTY_NAME="(.*)"$', pathlib.Path("/etc/os-release").read_text(), re.M)
    return (f"{model.group(1) if model else platform.machine()}, CPUs {cpus}, "
            f"kernel {platform.release()}, {release.group(1) if release else platform.system()}")


def median(values):
    return statistics.median(values) if values else None


def number(value, unit):
    if value is None:
        return "-"
    if unit == "bytes":
        return f"{value:,.0f} B"
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def target_text(row):
    if row.at_most is not None:
        return f"<= {number(row.at_most, row.unit)}"
    if row.share is None:
        return "-"
    return f"1/{row.share:g}" if row.share > 1 else f"<= {1 / row.share:g}x"


def judge(row, own, mosquitto, best):
    """(ratio as text, met or not)."""
    if own is None:
        return "-", "-"
    if row.at_most is not None:
        return "-", "met" if own <= row.at_most else "**not met**"
    other = best if row.share is not None and row.share < 1 else mosquitto
    if not other or not own:
        return "-", "-"
    ratio = other / own
    text = f"1/{ratio:.1f}" if ratio >= 1 else f"{1 / ratio:.2f}x"
    return text, "-" if row.share is None else "met" if own <= other / row.share else "**not met**"


def table(measured, kinds):
    others = [kind.name for kind in kinds if kind.name not in ("skein", "mosquitto")]
    head = ["scenario", *others, "mosquitto", "Skein", "ratio", "target", ""]
    lines = ["| " + " | ".join(head) + " |",
             "| --- |" + " ---: |" * (len(head) - 2) + " --- |"]
    for row, values in measured:
        medians = {name: median(values.get(name, [])) for name in [*others, "mosquitto", "skein"]}
        peers = [value for name, value in medians.items()
                 if name not in ("skein", "floor") and value is not None]
        ratio, met = judge(row, medians["skein"], medians["mosquitto"], min(peers, default=None))
        cells = [row.what, *(number(medians[name], row.unit) for name in others),
                 number(medians["mosquitto"], row.unit), number(medians["skein"], row.unit), ratio,
                 target_text(row), met]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def workers_table(workers, at_most):
    lines = ["| scenario | one worker, us | two workers, us | ratio | target | |",
             "| --- | ---: | ---: | ---: | ---: | --- |"]
    for row, one, two in workers:
        ratio = median(two) / median(one)
        met = "met" if ratio <= at_most else "**not met**"
        lines.append(f"| {row.what} | {median(one):.2f} | {median(two):.2f} | {ratio:.2f} "
                     f"| <= {at_most} | {met} |")
    return "\n".join(lines)


# (prefix of the figures, what happens)
MILLION_PHASES = [
    ("connect", "CONNECT"),
    ("subscribe", "SUBSCRIBE to a filter of its own"),
    ("subscribe_common", "SUBSCRIBE to one filter for all"),
    ("publish", "one publication to all, QoS 0, 64 B"),
    ("disconnect", "all say DISCONNECT"),
    ("lost", "all connections are lost, each publishes its will"),
    ("silent", "all fall silent: keep alive ends them, each publishes its will"),
]

MILLION = "## A million clients in one process"

MILLION_TEXT = """\
Written by `./dev bench million` ({rounds:.0f} rounds, medians; {machine}). Connections, sessions,
subscriptions, timers, streams and the loop are the broker's, on one worker; only the sockets are
pretended, so the kernel's part is not in these figures: some 2 KiB of memory a socket and 1 to 10 us
for each system call. `calls` are the most of them in one turn.

| bytes a client | |
| --- | ---: |
| connection | {bytes_connection:,.0f} |
| session, with its places in two tables | {bytes_session:,.0f} |
| subscription to a filter of its own, with its node | {bytes_subscription:,.0f} |
| together, as given out | {bytes_each:,.0f} |
| together, resident | {bytes_each_resident:,.0f} |
| of that the two timers | {bytes_timers:,.0f} |
| a will more | {bytes_will:,.0f} |
| a subscription to a filter that others have too | {bytes_common_subscription:,.0f} |
| left when all are gone, as given out | {silent_left_bytes_each:,.0f} |
| left when all are gone, resident | {silent_left_resident_bytes_each:,.0f} |

A second of keep alives (one PINGREQ in 60 s from each, and the timers) costs
{keep_alive_second_cpu_ms:.1f} ms of CPU; the longest turn took {keep_alive_longest_turn_ms:.1f} ms.
A publication to all finds them in steps; its first turn took {publish_first_turn_ms:.1f} ms at most. Memory goes back to
the system while clients leave, {longest_shrink_ms:.1f} ms at a time at most.
"""


def million_section(figures):
    lines = ["| all {:,.0f} clients | CPU us each | CPU s | longest turn, ms | calls |".format(
        figures["clients"]), "| --- | ---: | ---: | ---: | ---: |"]
    for prefix, what in MILLION_PHASES:
        each, whole, turn, calls = (figures[f"{prefix}_{name}"] for name in (
            "cpu_us_each", "cpu_s", "longest_turn_ms", "longest_turn_calls"))
        if prefix == "publish":
            whole = each * figures["clients"] / 1e6
        lines.append(f"| {what} | {each:.2f} | {whole:.2f} | {turn:.1f} | {calls:,.0f} |")
    return "\n".join([MILLION, "", MILLION_TEXT.format(**figures), *lines, ""])


def million_of(folder):
    path = folder / "million.json"
    return million_section(json.loads(path.read_text())) if path.exists() else ""


def replace_million(folder):
    """Puts the section into results.md, instead of the one that is there, without the rest."""
    path = folder / "results.md"
    text = path.read_text()
    begin = text.find(MILLION)
    end = text.index("\n## ", begin if begin >= 0 else text.index("\n## Idle") + 1) + 1
    path.write_text(text[: begin if begin >= 0 else end] + million_of(folder) + "\n" + text[end:])


def markdown(run):
    text = [f"# Results\n\nWritten by `./dev bench` on {datetime.date.today()}; every round is in "
            "`results.json`.\n", f"- machine: {machine()}"]
    text += [f"- {kind.name}: {kind.version}" for kind in run.kinds]
    text += [f"- rounds: {run.rounds}\n"]
    if run.measured:
        text += ["us of broker CPU per delivered message, unless it says otherwise.\n",
                 table(run.measured, run.kinds)]
    if run.workers:
        text += ["\n## Two workers\n\nOn all CPUs, with the generator, which sleeps.\n",
                 workers_table(run.workers, run.workers_at_most)]
    if (section := run.durable_section()):
        text += ["\n" + section]
    if run.idle_rss is not None:
        met = "met" if run.idle_rss <= run.idle_rss_at_most else "**not met**"
        text += [f"\n## Idle\n\nResident memory without a client: {run.idle_rss / 1e6:.1f} MB "
                 f"(target: under {run.idle_rss_at_most / 1e6:g} MB; {met})."]
    if (section := million_of(run.options.output)):
        text += ["\n" + section.rstrip("\n")]
    if run.problems:
        text += ["\n## Not accounted for\n", *(f"- {problem}" for problem in run.problems)]
    text += ["\n## How to read it\n\n" + CAVEATS]
    return "\n".join(text)


def write(run, folder):
    (folder / "results.md").write_text(markdown(run))
    (folder / "results.json").write_text(json.dumps({
        "machine": machine(),
        "brokers": {kind.name: kind.version for kind in run.kinds},
        "rounds": run.rounds,
        "idle_rss_bytes": run.idle_rss,
        "runs": run.records,
    }, indent=1) + "\n")

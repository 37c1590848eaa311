# SPDX-License-Identifier: Apache-2.0
"""What may be broken in a broker (src/base/breaks.h, SKEIN_TEST_BREAK), and by which faults and rules it is
caught. A harness that finds nothing wrong with a broken build says nothing of a whole one.
"""

import os

from .main import one_run

REJOIN_S, ARRIVE_S, RATE = 3.0, 6.0, 40


class Broken:
    """`kind`: of the faults. `rules`: it breaks one of them at least, which a whole build keeps in the same runs.
    `seconds` and `seeds`: of the runs, the likeliest first; `config`: of the nodes; `options`: of Workload."""

    def __init__(self, name, kind, rules, seconds, seeds, config=None, **options):
        self.name, self.kind, self.rules, self.seconds = name, kind, frozenset(rules.split()), seconds
        self.seeds, self.config, self.options = seeds, config, options

    def run(self, seed, whole=False):
        """The Result of one run; `whole`: with nothing broken."""
        environment = {} if whole else {"SKEIN_TEST_BREAK": self.name}
        assert "SKEIN_TEST_BREAK" not in os.environ, "the whole build would be a broken one"
        return one_run(seed, self.seconds, only=[self.kind], config=self.config, environment=environment,
                       rejoin_s=REJOIN_S, arrive_s=ARRIVE_S, rate=RATE, **self.options)

    def catches(self, result):
        return sorted(self.rules & set(result.rules))


ALL = {each.name: each for each in [
    # What was acknowledged on the way to a changelog that has another home by now is nowhere.
    Broken("ack_before_changelog", "broker.stop", "C1 C3 C4 C5 C6", 6, ["69", "11", "102"]),
    # A home that wakes up goes on beside the next one, and neither hears of the other.
    Broken("no_fencing", "broker.stop", "C3 C4", 6, ["11", "69", "102"]),
    # While groups are between two homes nobody knows who of their sessions has subscribed to what.
    Broken("no_lease", "broker.stop", "C1 C3 C4 C5", 8, ["11", "69", "102"]),
    # What had been sent and was not confirmed comes once more.
    # Whether a run shows it hangs on the moment of the kill: so each schedule has three turns.
    Broken("no_dedupe", "broker.kill", "C4", 5, ["3", "89", "111"] * 3),
    # A message that was refused, and sent again by its publisher, is there twice when its node is home again.
    Broken("keep_refused", "broker.stop", "C4", 10, ["265", "341", "461", "333"], {"cluster": {"home_stay": "1s"}}),
    # A client connects elsewhere under its name, and nobody drops the connection that it has.
    Broken("registrations_forgotten", "broker.kill", "C2 C7", 14, ["265", "2196", "3253"], hops=24),
]}


class Run:
    """`line`: what came out. `caught`: the rules of its case that were broken. `folder`: of one that was kept."""

    def __init__(self, seed, line, caught, folder):
        self.seed, self.line, self.caught, self.folder = seed, line, caught, folder


def runs(name, seeds=None, whole=False):
    """Plays its seeds, or these, one after the other. Kept is a run of a whole build that broke one of its rules."""
    case = ALL[name]
    for seed in seeds or case.seeds:
        result = case.run(seed, whole)
        caught = case.catches(result)
        if not (whole and caught):
            result.forget()
        yield Run(seed, result.line(), caught, result.folder)

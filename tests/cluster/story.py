# SPDX-License-Identifier: Apache-2.0
"""Histories made by hand, in few words, for tests of the checker."""

import copy

from . import checker
from .history import History

STEP_S = 0.01
DURABLE_S = 100_000


class Story(History):
    """Each event takes STEP_S. Clients publish, answer and ask on their last connection."""

    def __init__(self):
        self.time = 0.0
        super().__init__(clock=lambda: self.time)
        self.conns, self.topics, self.faults = {}, {}, 0

    def fork(self):
        """Another one that begins the same."""
        other = Story()
        clock = other.clock
        other.__dict__.update(copy.deepcopy({k: v for k, v in self.__dict__.items() if k != "clock"}))
        other.clock = clock
        return other

    def add(self, kind, who=None, **fields):
        self.time += STEP_S
        return super().add(kind, who, **fields)

    def wait(self, seconds):
        self.time += seconds

    # ---- connections ----

    def connect(self, who, node="n1", present=False, clean=False, expiry_s=DURABLE_S, will=None, code=0,
                version=5):
        """`code` None: no answer."""
        conn = self.conns[who] = self.conns.get(who, 0) + 1
        op = self.op()
        self.add("connect", who, conn=conn, node=node, op=op, clean=clean, expiry_s=expiry_s, version=version,
                 will=will)
        if code is not None:
            self.add("connack", who, conn=conn, op=op, present=present, code=code)
        return conn

    def close(self, who, how="abort", conn=None, told=None):
        conn = conn or self.conns[who]
        if told is not None:
            self.add("told", who, conn=conn, code=told)
            how = "lost"
        if how.startswith("disconnect"):
            self.add("disconnect", who, conn=conn, with_will=how != "disconnect")
        self.add("closed", who, conn=conn, how=how)

    def move(self, who, node, present=True, **fields):
        self.close(who)
        self.connect(who, node, present=present, **fields)

    def take_over(self, who, node, told=0x8E, present=True, expiry_s=DURABLE_S, will=None, late_s=0):
        """A second connection, while the first is there; it is let in `late_s` after that has gone."""
        conn, op, old = self.conns[who] + 1, self.op(), self.conns[who]
        self.conns[who] = conn
        self.add("connect", who, conn=conn, node=node, op=op, clean=False, expiry_s=expiry_s, version=5, will=will)
        self.close(who, conn=old, told=told), self.wait(late_s)
        self.add("connack", who, conn=conn, op=op, present=present, code=0)

    def ping(self, who, conn=None, answered=True):
        op, conn = self.op(), conn or self.conns[who]
        self.add("ping", who, conn=conn, op=op)
        if answered:
            self.add("pong", who, conn=conn, op=op)

    # ---- subscriptions ----

    def subscribe(self, who, filter, qos=2, answered=True):
        op, conn = self.op(), self.conns[who]
        self.add("subscribe", who, conn=conn, op=op, filters=[[filter, qos]])
        if answered:
            self.add("suback", who, conn=conn, op=op, codes=[qos])

    def unsubscribe(self, who, filter, answered=True):
        op, conn = self.op(), self.conns[who]
        self.add("unsubscribe", who, conn=conn, op=op, filters=[filter])
        if answered:
            self.add("unsuback", who, conn=conn, op=op, codes=[0])

    # ---- messages ----

    def publish(self, id, topic=None, qos=1, retain=False, clear=False, acked=True, code=0, conn=None, dup=False,
                expiry_s=None):
        who, op = id.split("/")[0], self.op()
        conn = conn or self.conns[who]
        topic = self.topics.setdefault(id, topic or f"c/{who}")
        self.add("publish", who, conn=conn, op=op, id=id, topic=topic, qos=qos, retain=retain, dup=dup, pid=1,
                 clear=clear, expiry_s=expiry_s)
        if qos and acked:
            self.add("acked", who, conn=conn, op=op, id=id, code=code)
            if qos == 2:
                self.add("completed", who, conn=conn, op=op, id=id)

    def deliver(self, who, id, qos=1, retain=False, dup=False, pid=None, new=True, conn=None, answered=True,
                topic=None):
        conn, pid = conn or self.conns[who], pid or len(self.events)
        self.add("deliver", who, conn=conn, id=id, topic=topic or self.topics[id], qos=qos, retain=retain, dup=dup,
                 pid=pid, new=new)
        if qos and answered:
            self.add("answer", who, conn=conn, id=id, pid=pid)

    def stray(self, who, id, conn):
        self.add("stray", who, conn=conn, id=id)

    def will(self, who, number=1, qos=2, delay_s=0):
        """What goes into connect()."""
        self.topics[f"{who}/{number}"] = f"w/{who}"
        return {"id": f"{who}/{number}", "topic": f"w/{who}", "qos": qos, "retain": False, "delay_s": delay_s}

    def look(self, node, **values):
        """Values of topics below r/."""
        op = self.op()
        self.add("look", "eye", node=node, op=op)
        self.add("seen", "eye", op=op, values={f"r/{name}": id for name, id in values.items()})

    # ---- faults, the end ----

    def fault(self, what="kill", targets=("n1",), minority=(), all_down=False, for_s=None):
        """`for_s`: it is over after that."""
        self.faults += 1
        self.add("fault", fault=self.faults, what=what, targets=list(targets), minority=list(minority),
                 all_down=all_down)
        if for_s is not None:
            self.wait(for_s)
            self.over()

    def over(self):
        self.add("over", fault=self.faults)

    def end(self):
        self.wait(40)
        self.add("quiet")
        self.wait(checker.SLACK_S)
        self.add("end")
        return self

    def rules(self):
        """Which are broken, each once."""
        if not self.events or self.events[-1].kind != "end":
            self.end()
        return rules(self.events)


def rules(events):
    """But for what has no answer: many stories leave something open, and nobody goes for it."""
    return sorted({violation.rule for violation in checker.check(events)} - {"answer"})

# SPDX-License-Identifier: Apache-2.0
"""What clients asked for, what they were answered and what came, with who, where and when.

An event is written down before its packet is sent and after its packet was received. An operation is two
events with the same `op`; one whose second event is missing had no answer, and may or may not have
happened. Times are monotonic seconds since the history began: what ended before another thing began came
before it for the brokers too, and nothing else about the order of two machines' doings is known.

Each event is a line of JSON, written at once, so that what a test that was killed has seen can be judged.
Fields (`who` is the client, `conn` counts its connections, `node` is where it connects to):

    connect      conn node op clean expiry_s version    connack   conn op present code
                 will={id topic qos retain delay_s}|None
    told         conn code                              the broker sent DISCONNECT
    disconnect   conn with_will                         the client did; `closed` follows
    closed       conn how: lost | abort | disconnect | disconnect_with_will
    subscribe    conn op filters=[[filter, qos], ...]   suback    conn op codes
    unsubscribe  conn op filters=[...]                  unsuback  conn op codes
    publish      conn op id topic qos retain dup pid    acked     conn op id code     PUBACK or PUBREC
                 clear expiry_s; each sending           completed conn op id          PUBCOMP
    deliver      conn id topic qos retain dup pid new   a PUBLISH came; not new: a QoS 2 packet id that
                                                        is not released yet
    stray        conn id                                a PUBLISH came on a connection although a newer one
                                                        was accepted
    answer       conn id pid                            PUBACK or PUBREC for it was sent
    ping         conn op                                pong      conn op
    look         node op                                seen      op values={topic: id}
                 a client asks for all that is retained; clear: a publication that retains nothing
    fault        fault what targets=[node, ...]         over      fault
                 minority=[node, ...] all_down          minority: nodes that cannot reach the engine's
                                                        quorum; all_down: nobody kept running
    trouble      what                                   nothing that a correct broker causes
    quiet        nothing is published any more, no fault is left, everybody is connected
    end          what had to come after that had its time
"""

import itertools
import json
import time

FOREVER = float("inf")
ANSWERS = {"connect": "connack", "subscribe": "suback", "unsubscribe": "unsuback", "publish": "acked",
           "ping": "pong", "look": "seen"}


class Event:
    """`n` is its place in the order, `t` its time; the rest are the fields of its kind."""

    def __init__(self, n, t, kind, who, fields):
        self.n, self.t, self.kind, self.who = n, t, kind, who
        self.__dict__.update(fields)

    def __repr__(self):
        fields = " ".join(f"{key}={value}" for key, value in self.__dict__.items()
                          if key not in ("n", "t", "kind", "who"))
        return f"{self.n:7} {self.t:10.4f} {self.kind:11} {self.who or '-':10} {fields}"


class Operation:
    """Something a client asked for: `sent` and `answer` are events, `answer` None without one."""

    def __init__(self, sent):
        self.sent, self.answer = sent, None

    @property
    def start(self):
        return self.sent.t

    @property
    def end(self):
        return self.answer.t if self.answer else FOREVER

    def __repr__(self):
        return f"{self.sent.kind} of {self.sent.who} at {self.start:.3f}"


class History:
    """`path`: a file to which each event is written as it happens. `began`: of another history whose
    events shall be merged with these."""

    def __init__(self, path=None, clock=time.monotonic, began=None):
        self.events, self.path, self.clock = [], path, clock
        self.began = clock() if began is None else began
        self._ops = itertools.count(1)
        self._file = open(path, "w", encoding="utf-8", buffering=1) if path else None

    def add(self, kind, who=None, **fields):
        event = Event(len(self.events), self.now(), kind, who, fields)
        self.events.append(event)
        if self._file:
            self._file.write(json.dumps(event.__dict__) + "\n")
        return event

    def now(self):
        return round(self.clock() - self.began, 6)

    def op(self):
        """A number for a new operation."""
        return next(self._ops)

    def close(self):
        if self._file:
            self._file.close()
            self._file = None

    def save(self, path):
        with open(path, "w", encoding="utf-8") as out:
            for event in self.events:
                out.write(json.dumps(event.__dict__) + "\n")

    @staticmethod
    def load(path):
        history = History()
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):  # the last line of a test that was killed may be half a one
                    fields = json.loads(line)
                    fixed = [fields.pop(key) for key in ("n", "t", "kind", "who")]
                    history.events.append(Event(*fixed, fields))
        return history


def operations(events):
    """All Operations, in the order in which they began."""
    begun, opened = [], {}
    kinds = {answer: asked for asked, answer in ANSWERS.items()}
    for event in events:
        if event.kind in ANSWERS:
            operation = Operation(event)
            begun.append(operation)
            opened[event.op] = operation
        elif event.kind in kinds and event.op in opened:
            opened[event.op].answer = opened[event.op].answer or event
    return begun

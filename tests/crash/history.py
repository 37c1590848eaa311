# SPDX-License-Identifier: Apache-2.0
"""What was sent and what came back, in the order in which one driver saw it.

An event is written down before its packet is sent, and after its packet was received. So when an
acknowledgement stands before another packet's sending, the broker had given it before it could know
of the other: the order of the events is all that the checker argues with, but for the delays of
wills, which need the time.

Events and their fields (`who` is the client):

    connect      conn clean version will={id topic qos retain delay}|None
    connack      conn present code
    closed       conn how: lost | abort | disconnect | disconnect_with_will
    disconnect   conn with_will                     sent; `closed` follows
    subscribe    filters=[[filter, qos], ...]       suback     filters granted=[True, ...]
    unsubscribe  filters=[...]                      unsuback   filters
    publish      id topic qos retain dup pid clear  each sending; clear: an empty retained payload
    acked        id                                 PUBACK without error, or PUBREC; refused: with one
    completed    id                                 PUBCOMP
    deliver      id topic qos retain dup pid new    a PUBLISH came; not new: a QoS 2 packet id that
                                                    is not released yet
    inspect      since values={topic: id|None}      the retained messages; since: the event number
                                                    at which they were asked for
    broker       what: start | kill | cut | term | ended     sort code
    trouble      what                               nothing that a correct broker causes
    end
"""

import json
import time


class Event:
    """`n` is its place in the order, `t` monotonic seconds; the rest are the fields of its kind."""

    def __init__(self, n, t, kind, who, fields):
        self.n, self.t, self.kind, self.who = n, t, kind, who
        self.__dict__.update(fields)

    def __repr__(self):
        fields = " ".join(f"{key}={value}" for key, value in self.__dict__.items()
                          if key not in ("n", "t", "kind", "who"))
        return f"{self.n:7} {self.t:10.4f} {self.kind:11} {self.who or '-':10} {fields}"


class History:
    def __init__(self, clock=time.monotonic):
        self.events, self.clock, self.began = [], clock, clock()

    def add(self, kind, who=None, **fields):
        event = Event(len(self.events), self.clock() - self.began, kind, who, fields)
        self.events.append(event)
        return event

    def now(self):
        """The number that the next event will have."""
        return len(self.events)

    def of(self, kind):
        return [event for event in self.events if event.kind == kind]

    def save(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            for event in self.events:
                out.write(json.dumps(event.__dict__) + "\n")

    @staticmethod
    def load(path):
        history = History()
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                fields = json.loads(line)
                history.events.append(Event(*(fields.pop(key) for key in ("n", "t", "kind", "who")),
                                            fields))
        return history

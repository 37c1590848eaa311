# SPDX-License-Identifier: Apache-2.0
"""What a history proves against the broker. Knows nothing of how the history came about.

A publication may be worked on at any time between its first sending and its last acknowledgement, a
subscription begins between SUBSCRIBE and SUBACK and ends between UNSUBSCRIBE and UNSUBACK. Only what
is wrong wherever in between it happened is a violation.
"""

import bisect
import collections

FOREVER = float("inf")
# The last level of topics below c/ whose durability is not fsync. `memory` promises nothing when the
# process ends, `interval` nothing when the power goes.
WEAK = {"e": "memory", "f": "memory", "g": "interval", "h": "interval"}
WILL_SLACK_S = 3.0  # a delayed will may be this late before it counts as lost

KINDS = {
    "lost": "an acknowledged message did not reach a subscriber",
    "twice": "a QoS 2 message reached a subscriber twice",
    "order": "messages of one publisher, topic and QoS in the wrong order",
    "unwanted": "a message without a subscription that could have asked for it",
    "content": "a message that nobody sent, or on another topic",
    "id reuse": "a packet id given to a second message before it was released",
    "session": "a session that the broker had confirmed is gone, or one is back that was ended",
    "share": "an acknowledged message reached no member of a share, or at QoS 2 more than one",
    "not given": "a new subscription did not get the retained message of a topic",
    "retained": "the retained message is older than one that was acknowledged, or gone",
    "will lost": "a will that had to be published was not",
    "will unwanted": "a will that must not be published was",
    "will not retained": "a will that had to be retained is not, nor a later one",
    "trouble": "something that no correct broker does",
}


class Violation:
    def __init__(self, kind, who, text, id=None, at=None):
        self.kind, self.who, self.text, self.id, self.at = kind, who, text, id, at

    def __repr__(self):
        return f"{self.kind}: {self.who}: {self.text}"


def matches(filter, topic):
    """The standard's rule, for topics that do not begin with $."""
    if filter.startswith("$share/"):
        filter = filter.split("/", 2)[2]
    parts, names = filter.split("/"), topic.split("/")
    for at, part in enumerate(parts):
        if part == "#":
            return True
        if at >= len(names) or part not in ("+", names[at]):
            return False
    return len(parts) == len(names)


class Message:
    """A publication, or a will. Numbers are those of events."""

    def __init__(self, id, topic, qos, retain, clear=False, will=False):
        self.id, self.topic, self.qos, self.retain = id, topic, qos, retain
        self.clear, self.will = clear, will
        self.publisher, number = id.rsplit("/", 1)
        self.number = int(number)
        self.sends, self.acked, self.refused = [], FOREVER, False
        self.done = FOREVER  # the last acknowledgement: PUBACK or PUBCOMP

    @property
    def sent(self):
        return self.sends[0]


class Subscription:
    """One life of a filter in one session: asked <= in force from <= granted, and
    ending <= in force until <= gone."""

    def __init__(self, filter, qos, asked):
        self.filter, self.qos, self.asked = filter, qos, asked
        self.share = filter.startswith("$share/")
        self.granted = self.ending = self.gone = FOREVER
        self.wiped = False  # a clean start came later: what waited for the client may be gone

    def held(self, since, until):
        """In force without doubt, all that time."""
        return self.granted < since and until < self.ending

    def possible(self, since, until):
        """In force, perhaps, at some time between."""
        return self.asked < until and since < self.gone


class Subscriber:
    def __init__(self, name):
        self.name = name
        self.subscriptions = []  # all lives, in the order asked
        self.current = {}        # filter: the life that has not ended
        self.deliveries = []
        self.asked = collections.Counter()  # filter: SUBSCRIBE packets

    def subscribe(self, filter, qos, n):
        self.asked[filter] += 1
        life = self.current.get(filter)
        if life is None or life.ending != FOREVER:
            self.current[filter] = Subscription(filter, qos, n)
            self.subscriptions.append(self.current[filter])

    def grant(self, filter, n):
        life = self.current.get(filter)
        if life and life.granted == FOREVER:
            life.granted = n

    def ending(self, filter, n):
        life = self.current.get(filter)
        if life:
            life.ending = min(life.ending, n)

    def gone(self, filter, n):
        for life in self.subscriptions:
            if life.filter == filter and life.ending != FOREVER:
                life.gone = min(life.gone, n)
        if filter in self.current and self.current[filter].gone != FOREVER:
            del self.current[filter]

    def matching(self, topic):
        return [life for life in self.subscriptions if matches(life.filter, topic)]

    def own(self, topic):
        """Those that it shares with nobody."""
        return [life for life in self.matching(topic) if not life.share]


class Checker:
    def __init__(self, events):
        self.events = events
        self.messages, self.subscribers = {}, {}
        self.violations, self._retained_by_topic = [], None
        self.cuts = [e.n for e in events if e.kind == "broker" and e.what == "cut"]
        self.starts = [e.n for e in events if e.kind == "broker" and e.what == "start"]
        self.kills = [e.n for e in events if e.kind == "broker" and e.what in ("kill", "ended", "term")]

    def fail(self, kind, who, text, **place):
        self.violations.append(Violation(kind, who, text, **place))

    def subscriber(self, name):
        return self.subscribers.setdefault(name, Subscriber(name))

    # ---- reading the history ----

    def read(self):
        readers = {"publish": self._publish, "acked": self._acked, "deliver": self._deliver,
                   "subscribe": self._subscribe, "suback": self._suback, "connect": self._connect,
                   "connack": self._connack, "completed": self._completed, "unsubscribe": self._unsubscribe,
                   "unsuback": self._unsuback}
        for event in self.events:
            if event.kind in readers:
                readers[event.kind](event)
            elif event.kind == "trouble":
                self.fail("trouble", event.who or "-", event.what, at=event.n)

    def _publish(self, event):
        message = self.messages.get(event.id)
        if message is None:
            message = Message(event.id, event.topic, event.qos, event.retain, event.clear)
            self.messages[event.id] = message
        message.sends.append(event.n)

    def _acked(self, event):
        message = self.messages[event.id]
        if event.refused:
            message.refused = True
        else:
            message.acked = min(message.acked, event.n)
            if message.qos == 1:
                message.done = message.acked

    def _completed(self, event):
        self.messages[event.id].done = event.n

    def _deliver(self, event):
        self.subscriber(event.who).deliveries.append(event)

    def _subscribe(self, event):
        for filter, qos in event.filters:
            self.subscriber(event.who).subscribe(filter, qos, event.n)

    def _suback(self, event):
        for filter, granted in zip(event.filters, event.granted):
            if granted:
                self.subscriber(event.who).grant(filter, event.n)

    def _unsubscribe(self, event):
        for filter in event.filters:
            self.subscriber(event.who).ending(filter, event.n)

    def _unsuback(self, event):
        for filter in event.filters:
            self.subscriber(event.who).gone(filter, event.n)

    def _connect(self, event):
        if event.clean:  # ends what the session had
            subscriber = self.subscriber(event.who)
            for filter in list(subscriber.current):
                subscriber.ending(filter, event.n)
            for life in subscriber.subscriptions:
                life.wiped = True
        if event.will:
            will = event.will
            message = Message(will["id"], will["topic"], will["qos"], will["retain"], will=True)
            message.sends.append(event.n)
            self.messages[message.id] = message

    def _connack(self, event):
        """Whatever was ending by a clean start has ended. Nothing of what is asked for later."""
        subscriber = self.subscriber(event.who)
        connect = self._connect_of(event)
        if connect.clean:
            for life in subscriber.subscriptions:
                if life.asked < connect.n:
                    life.gone = min(life.gone, event.n)
                    if subscriber.current.get(life.filter) is life:
                        del subscriber.current[life.filter]

    def _connect_of(self, event):
        if not hasattr(self, "_connects"):
            self._connects = {(e.who, e.conn): e for e in self.events if e.kind == "connect"}
        return self._connects[event.who, event.conn]

    # ---- the rules ----

    def _no_promise(self, message, until=FOREVER):
        """Something between its first sending and then took what was promised."""
        durability = WEAK.get(message.topic[-1]) if message.topic.startswith("c/") else None
        ends = {"memory": self.starts, "interval": self.cuts}.get(durability, [])
        return any(message.sent < n < until for n in ends)

    def check(self):
        self.read()
        self._sessions()
        for subscriber in self.subscribers.values():
            self._deliveries(subscriber)
            self._lost(subscriber)
            self._not_given(subscriber)
        self._shares()
        self._retained()
        self._wills()
        self.violations.sort(key=lambda violation: (violation.at is None, violation.at or 0))
        return self.violations

    def _sessions(self):
        """A session that a CONNACK had confirmed is present, until a clean start ends it."""
        confirmed, attempts = {}, collections.Counter()
        for event in self.events:
            if event.kind == "connect" and event.clean:
                confirmed[event.who] = False  # perhaps: the broker may or may not have seen it
                attempts[event.who] += 1
            elif event.kind == "connect":
                attempts[event.who] += 1
            elif event.kind == "connack" and event.code == 0:
                clean = self._connect_of(event).clean
                if clean and event.present:
                    self.fail("session", event.who, "present after a clean start", at=event.n)
                elif not clean and confirmed.get(event.who) and not event.present:
                    self.fail("session", event.who, "not present any more", at=event.n)
                elif event.present and attempts[event.who] == 1:
                    self.fail("session", event.who, "present at the first CONNECT", at=event.n)
                confirmed[event.who] = True

    def _deliveries(self, subscriber):
        """Everything that came was sent, was asked for, came once at QoS 2 and in order."""
        counted, seen, held, newest = collections.Counter(), set(), {}, {}
        for event in subscriber.deliveries:
            message = self.messages.get(event.id)
            if message is None or message.topic != event.topic or message.sent > event.n:
                self.fail("content", subscriber.name, f"{event.id} on {event.topic}", at=event.n)
                continue
            if not event.new:
                if held.get(event.pid) not in (None, event.id):
                    self.fail("id reuse", subscriber.name, f"packet id {event.pid} of {event.id} was "
                              f"{held[event.pid]} and not released", id=event.id, at=event.n)
                continue
            if event.qos == 2:
                held[event.pid] = event.id
            self._once(subscriber, event, message, counted)
            self._asked_for(subscriber, event, message)
            first = (event.id, event.retain) not in seen
            seen.add((event.id, event.retain))
            if first and not event.retain and not message.will:
                self._in_order(subscriber, event, message, newest)

    def _once(self, subscriber, event, message, counted):
        counted[event.id, event.retain, event.qos] += 1
        if message.qos < 2 or event.qos < 2:
            return
        lives = subscriber.matching(message.topic)
        shares = len({life.filter for life in lives if life.share and life.qos == 2})
        allowed = max(1, shares + any(not life.share for life in lives))  # each share gives its own copy
        if event.retain:  # each SUBSCRIBE may ask for it again
            allowed = sum(count for filter, count in subscriber.asked.items()
                          if matches(filter, message.topic))
        if counted[event.id, event.retain, 2] > allowed and not self._no_promise(message, event.n):
            self.fail("twice", subscriber.name, f"{event.id} on {event.topic} came "
                      f"{counted[event.id, event.retain, 2]} times", id=event.id, at=event.n)

    def _asked_for(self, subscriber, event, message):
        until = FOREVER if event.retain or message.will else message.done
        if not any(life.possible(message.sent, min(until, event.n))
                   for life in subscriber.matching(message.topic)):
            self.fail("unwanted", subscriber.name, f"{event.id} on {event.topic}, published when "
                      "nothing was subscribed that matches", id=event.id, at=event.n)

    def _in_order(self, subscriber, event, message, newest):
        """Only among messages that one subscription held all along: one that was published before
        it began may come later, when its publisher sends it again."""
        for life in subscriber.own(message.topic):
            if not life.held(message.sent, event.n):
                continue
            stream = (id(life), message.publisher, message.topic, message.qos, event.qos)
            before = newest.get(stream)
            if before and before.number > message.number and not self._no_promise(message, event.n):
                self.fail("order", subscriber.name, f"{message.id} came after {before.id} on "
                          f"{message.topic}", id=message.id, at=event.n)
            else:
                newest[stream] = message

    def _lost(self, subscriber):
        came = {event.id for event in subscriber.deliveries if event.new}
        by_topic = {}
        for message in self.messages.values():
            if message.id in came or message.will or message.clear or message.acked == FOREVER:
                continue
            if self._no_promise(message):
                continue
            if message.topic not in by_topic:
                by_topic[message.topic] = subscriber.own(message.topic)
            for life in by_topic[message.topic]:
                if life.held(message.sent, message.acked) and not life.wiped:
                    self.fail("lost", subscriber.name, f"{message.id} on {message.topic}, QoS "
                              f"{message.qos}, acknowledged at {message.acked}; subscribed to "
                              f"{life.filter} since {life.granted}", id=message.id, at=message.acked)
                    break

    # ---- shares ----

    def _shares(self):
        """Somebody of a share gets each message; one of QoS 2 nobody else."""
        members = collections.defaultdict(list)
        for subscriber in self.subscribers.values():
            for life in subscriber.subscriptions:
                if life.share:
                    members[life.filter].append((subscriber, life))
        for filter, lives in members.items():
            came = collections.Counter()
            for subscriber in {subscriber for subscriber, _ in lives}:
                came.update({(e.id, e.qos) for e in subscriber.deliveries if e.new})
            for message in self.messages.values():
                if not message.will and not message.clear and matches(filter, message.topic):
                    self._shared(filter, message, lives, came)

    def _shared(self, filter, message, lives, came):
        if self._no_promise(message):
            return
        if came[message.id, 2] > 1:
            self.fail("share", filter, f"{message.id} on {message.topic} came to {came[message.id, 2]} "
                      "members", id=message.id, at=message.sent)
        qos = min(message.qos, lives[0][1].qos)  # the members of one share ask for the same
        if came[message.id, qos] or message.acked == FOREVER:
            return
        if any(life.held(message.sent, message.acked) and not life.wiped for _, life in lives):
            self.fail("share", filter, f"{message.id} on {message.topic}, QoS {message.qos}, acknowledged at "
                      f"{message.acked}, came to nobody", id=message.id, at=message.acked)

    # ---- retained messages ----

    def _not_given(self, subscriber):
        """A subscription that was granted brings the retained message of each topic, or a later one."""
        newest = {}
        for event in subscriber.deliveries:
            if event.id in self.messages and event.new:
                number = self.messages[event.id].number
                newest[event.topic] = max(newest.get(event.topic, 0), number)
        for life in subscriber.subscriptions:
            if life.share or life.wiped or life.granted == FOREVER or life.ending != FOREVER:
                continue
            for topic, messages in self._writers().items():
                before = [m for m in messages if m.acked < life.asked] if matches(life.filter, topic) else []
                last = max(before, key=lambda m: m.number, default=None)
                later = [m for m in messages if last and m.number > last.number and m.sent < life.granted]
                if last and not last.clear and not later and newest.get(topic, 0) < last.number:
                    self.fail("not given", subscriber.name, f"{last.id}, retained on {topic} when {life.filter} "
                              f"was asked for at {life.asked}", id=last.id, at=life.granted)

    def _retained(self):
        """What is retained is what the writer of that topic published last, of what was
        acknowledged when somebody looked, or something later. One topic has one writer and one
        QoS, and the writer sends again in order, so nothing older can have overtaken."""
        for event in self.events:
            if event.kind == "inspect":
                for topic, messages in self._writers().items():
                    self._retained_now(event, topic, messages)

    def _writers(self):
        """The retained messages of each topic."""
        if self._retained_by_topic is None:
            self._retained_by_topic = collections.defaultdict(list)
            for message in self.messages.values():
                if message.retain and not message.will:
                    self._retained_by_topic[message.topic].append(message)
        return self._retained_by_topic

    def _retained_now(self, event, topic, messages):
        sent = [m for m in messages if m.sent < event.n and not m.refused]
        value = event.values.get(topic)
        candidates = [m for m in sent if (m.clear and value is None) or m.id == value]
        if value is not None and not candidates:
            self.fail("content", event.who, f"{value} is retained on {topic}", at=event.n)
            return
        newest = max((m for m in sent if m.acked < event.since), key=lambda m: m.number, default=None)
        if newest is None or any(self._not_older(m, newest, sent, event) for m in candidates):
            return
        self.fail("retained", event.who, f"{topic} has {value}, though {newest.id} was acknowledged at "
                  f"{newest.acked}", id=newest.id, at=event.n)

    @staticmethod
    def _not_older(message, newest, sent, event):
        """Could `message` have been stored last?"""
        if message.number >= newest.number:
            return True
        later = [m.sent for m in sent if m.number > message.number and m.acked < event.since]
        last = message.sends[bisect.bisect_left(message.sends, event.n) - 1]
        return last > max(later)

    # ---- wills ----

    def _wills(self):
        watchers = [s for s in self.subscribers.values() if s.deliveries or s.subscriptions]
        for connect in self.events:
            if connect.kind == "connect" and connect.will:
                message = self.messages[connect.will["id"]]
                fate = self._fate(connect)
                for watcher in watchers:
                    self._will(watcher, message, fate, connect)
                if fate == "must" and message.retain:
                    self._will_retained(message, connect)

    def _will_retained(self, message, connect):
        """Nothing acknowledges a will, so only a look when all is quiet tells. One client's wills come
        in the order of its connections, and nobody else writes its topic."""
        for event in self.events:
            if event.kind == "inspect" and event.quiet and event.n > connect.n:
                value = event.values.get(message.topic)
                now = self.messages.get(value)
                if now is None or now.topic != message.topic or now.number < message.number:
                    self.fail("will not retained", event.who, f"{message.topic} has {value}, not "
                              f"{message.id} or a later one", id=message.id, at=event.n)

    def _will(self, watcher, message, fate, connect):
        times = sum(1 for e in watcher.deliveries if e.id == message.id and e.new and not e.retain)
        held = any(life.held(message.sent, len(self.events)) for life in watcher.matching(message.topic))
        if fate == "must" and held and not times:
            self.fail("will lost", watcher.name, f"{message.id} on {message.topic}, QoS {message.qos}, "
                      f"delay {connect.will['delay']}", id=message.id, at=connect.n)
        if fate == "must not" and times:
            self.fail("will unwanted", watcher.name, f"{message.id} on {message.topic}, delay "
                      f"{connect.will['delay']}", id=message.id, at=connect.n)

    def _fate(self, connect):
        """Of the will in this CONNECT: must, must not, or may be published."""
        mine = self._of_client(connect)
        connack = next((e for e in mine if e.kind == "connack" and e.conn == connect.conn), None)
        closed = next((e for e in mine if e.kind == "closed" and e.conn == connect.conn), None)
        if connack is None or connack.code or closed is None:
            return "may"
        after = [e for e in mine if e.n > closed.n]
        back = next((e for e in after if e.kind == "connack" and e.code == 0), None)
        tried = next((e for e in after if e.kind == "connect"), None)
        if closed.how == "disconnect":
            until = back.n if back else len(self.events)
            killed = any(connect.n < n < until for n in self.kills)  # the broker may not have read it
            return "may" if killed else "must not"
        delay = connect.will["delay"]
        if delay == 0:
            return "must"
        ends = [e.t for e in mine if e.kind == "disconnect" and e.conn == connect.conn]
        ends += [self.events[n].t for n in self.kills if connect.n < n < closed.n]
        ended_s = min([closed.t, *ends])  # at the earliest
        if back and back.t - ended_s < delay and not self._connect_of(back).clean:
            return "must not"
        away_until = tried or self.events[-1]
        return "must" if self._quiet_s(closed, away_until) > delay + WILL_SLACK_S else "may"

    def _of_client(self, event):
        if not hasattr(self, "_clients"):
            self._clients = collections.defaultdict(list)
            for each in self.events:
                if each.kind in ("connect", "connack", "closed", "disconnect"):
                    self._clients[each.who].append(each)
        return [each for each in self._clients[event.who] if each.n >= event.n]

    def _quiet_s(self, since, until):
        """The longest time between them in which one broker served: a delay may begin anew with each
        start, once the store is loaded."""
        kills, longest, begin = set(self.kills), 0, since.t
        for each in self.events[since.n + 1:until.n]:
            if each.n in kills:
                longest = max(longest, 0 if begin is None else each.t - begin)
                begin = None
            elif begin is None and each.kind == "connack":
                begin = each.t
        return max(longest, 0 if begin is None else until.t - begin)


def check(events):
    """The violations of a history, in its order."""
    return Checker(events).check()


def missing_of_shares(events):
    """What no member of a share has got yet."""
    checker = Checker(events)
    checker.read()
    checker.violations = []
    checker._shares()
    return checker.violations


def explain(events, violation, around=40):
    """The events that a violation is about: its message everywhere, and at its client the packet
    id's life and the sessions; and every kill between."""
    about = [e for e in events if violation.id and getattr(e, "id", None) == violation.id]
    first = min([e.n for e in about], default=violation.at or 0)
    last = max([e.n for e in about] + [violation.at or 0])
    pids = {e.pid for e in about if e.kind == "deliver" and e.who == violation.who}
    shown = {e.n: e for e in about}
    for event in events[max(0, first - around):last + around]:
        mine = event.who == violation.who
        if event.kind in ("broker", "trouble") or mine and event.kind not in ("deliver", "publish", "acked",
                                                                              "completed"):
            shown[event.n] = event
        elif mine and event.kind == "deliver" and event.pid in pids:
            shown[event.n] = event
    return [repr(shown[n]) for n in sorted(shown)]

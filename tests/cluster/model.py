# SPDX-License-Identifier: Apache-2.0
"""A history as the checker argues with it: messages, connections, lives of subscriptions, faults.

All of them have times between which something must have happened; what lies between is left open.
"""

import collections
import functools

from .history import FOREVER, operations

SETTLE_S = 15.0  # as long after a fault is over its effects are not counted
PILED_S = 45.0   # the same for answers, when an earlier fault may still have been felt: nats-server 2.9 may elect for
                 # half a minute then, as the guide says
LATE_S = 3.0     # as long, with no fault, an operation that had no answer may take to happen


@functools.lru_cache(maxsize=None)
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
    """A publication, or a will. `sends`: (time, connection) of each sending."""

    def __init__(self, id, topic, qos, retain, clear=False, will=False, expiry_s=None):
        self.id, self.topic, self.qos, self.retain = id, topic, qos, retain
        self.clear, self.will, self.expiry_s = clear, will, expiry_s
        self.publisher, number = id.rsplit("/", 1)
        self.number = int(number)
        self.sends, self.sent = [], FOREVER  # sent: when first
        self.acked, self.refused, self.ack_node = FOREVER, False, None
        self.done = FOREVER   # the last acknowledgement: PUBACK or PUBCOMP
        self.copies = []      # all Deliveries
        self.deliveries = []  # without those of a QoS 2 packet id that was not released

    def send(self, t, connection):
        self.sends.append((t, connection))
        self.sent = min(self.sent, t)

    def sent_on(self, connection):
        """When first on that one."""
        return next((t for t, each in self.sends if each is connection), FOREVER)

    def before(self, later):
        """Whether the brokers must have taken this one first: both came on the connection on which the
        later one came first, or this one was acknowledged before."""
        if self.refused:
            return False
        if self.acked < later.sent:
            return True
        return self.qos == later.qos and self.sent_on(later.sends[0][1]) < later.sent


class Connection:
    def __init__(self, event):
        self.who, self.number, self.node, self.t = event.who, event.conn, event.node, event.t
        self.clean, self.expiry_s, self.version = event.clean, event.expiry_s, event.version
        self.will = event.will
        self.accepted = self.closed = self.disconnected = FOREVER
        self.code = self.how = None
        self.present = self.with_will = False
        self.session = None   # a number of the client's own for the session that it belongs to
        self.told = []        # (time, reason code)
        self.operations = []  # other than CONNECT
        self.strays = []      # ids of messages that came after a newer one was accepted

    @property
    def durable(self):
        return self.expiry_s > 0

    @property
    def ended_from(self):
        """When it ended, at the earliest: the broker may have ended it as soon as it had given the last answer to
        what was asked on it, and the client may have noticed late."""
        if self.how != "lost":
            return min(self.closed, self.disconnected)
        return max([self.accepted, *(each.start for each in self.operations if each.answer)])

    def __repr__(self):
        return f"connection {self.number} at {self.node}"


class Life:
    """One life of a subscription: asked <= in force from <= granted, ending <= in force until <= gone."""

    def __init__(self, client, filter, qos, connection, asked):
        self.client, self.filter, self.qos = client, filter, qos
        self.connection, self.asked = connection, asked
        self.share = filter.startswith("$share/")
        self.granted = self.ending = self.gone = FOREVER
        self.wiped = False  # the session ended: what waited for it is gone

    @property
    def durable(self):
        return self.connection.durable

    def held(self, since, until):
        """In force without doubt, all that time."""
        return self.granted < since and until < self.ending

    def possible(self, since, until):
        """In force, perhaps, at some time between."""
        return self.asked < until and since < self.gone


class Client:
    def __init__(self, name):
        self.sessions = 0
        self.name, self.connections, self.lives, self.deliveries = name, [], [], []
        self.current = {}  # filter: the life that has not ended
        self.asked = collections.Counter()  # filter: SUBSCRIBE packets

    def matching(self, topic):
        return [life for life in self.lives if matches(life.filter, topic)]

    def own(self, topic):
        """Those that it shares with nobody."""
        return [life for life in self.matching(topic) if not life.share]

    def accepted(self):
        return [each for each in self.connections if each.accepted < FOREVER]

    def at(self, t):
        """The connection that it had last been given by then."""
        before = [each for each in self.accepted() if each.accepted <= t]
        return max(before, key=lambda each: each.accepted, default=None)

    def connected_through(self, since, until):
        """Whether one connection lasted all that time."""
        return any(each.accepted < since and until <= each.closed for each in self.connections)

    def end_session(self, before, ending, gone):
        """Of what was asked for before that time. What still waits for an ended subscription goes, too."""
        for life in self.lives:
            life.wiped |= life.asked < before
        for filter, life in list(self.current.items()):
            if life.asked < before:
                life.ending, life.gone = min(life.ending, ending), min(life.gone, gone)
                if gone < FOREVER:
                    del self.current[filter]


class Delivery:
    def __init__(self, event, client, connection, message):
        self.t, self.client, self.connection, self.message = event.t, client, connection, message
        self.id, self.topic, self.qos, self.retain = event.id, event.topic, event.qos, event.retain
        self.dup, self.pid, self.new = event.dup, event.pid, event.new
        self.answered = FOREVER


class FaultTime:
    def __init__(self, event):
        self.since, self.until, self.what = event.t, FOREVER, event.what
        self.targets, self.minority, self.all_down = event.targets, event.minority, event.all_down
        self.deadly = any(kind in event.what for kind in ("broker.kill", "power.", "store."))


class Model:
    """`patience`: by how much everything may take longer than on a machine that is well."""

    def __init__(self, events, patience=1.0):
        self.patience = patience
        self.events, self.messages, self.clients = events, {}, {}
        self.faults, self.looks, self.troubles, self.strangers = [], [], [], []
        self.quiet = self.end = FOREVER
        self._connections, self._faults, self._pending = {}, {}, {}
        self.operations = operations(events)
        for event in events:
            reader = getattr(self, f"_{event.kind}", None)
            if reader:
                reader(event)
        for operation in self.operations:
            if operation.sent.kind == "look":
                self.looks.append(operation)
            elif operation.sent.kind != "connect":
                self.connection(operation.sent).operations.append(operation)
        self._late_clean_starts()

    def _late_clean_starts(self):
        """One without an answer may have ended the session even after the client was back. So may one that came
        when the session had expired: it made another one, which the next finds."""
        for client in self.clients.values():
            for attempt in client.connections:
                if attempt.code != 0 and (attempt.clean or self._may_have_expired(client, attempt)):
                    for life in client.lives:
                        life.wiped |= attempt.t < life.ending and life.asked < self.late(attempt.t)

    def _may_have_expired(self, client, attempt):
        """Before what the attempt did, if anything."""
        before = [each for each in client.accepted() if each.accepted < attempt.t]
        last = max(before, key=lambda each: each.accepted, default=None)
        return last is not None and self.late(attempt.t) - min(last.closed, self.end) >= last.expiry_s

    # ---- questions ----

    def taken_along(self, connection, since):
        """It ended when a fault killed its node, and not before that time."""
        return any(f.deadly and connection.node in f.targets and since < f.until and
                   f.since <= connection.closed <= f.until + SETTLE_S for f in self.faults)

    def calm(self, since, until):
        """No fault, and none so short before that it may still be felt."""
        return not any(f.since < until and since < f.until + SETTLE_S for f in self.faults)

    def answers_calm(self, since, until):
        """The same for what waits for an election."""
        return not any(f.since < until and since < f.until + self._elects_s(f) for f in self.faults)

    def _elects_s(self, fault):
        piled = any(f.since < fault.since < f.until + SETTLE_S for f in self.faults)
        return PILED_S if piled else SETTLE_S

    def rest_after(self, t):
        """From when on nothing that was under way at t can still be held up by a fault."""
        rest = t
        for fault in self.faults:
            if fault.since < rest and t <= fault.until:
                rest = max(rest, fault.until + SETTLE_S)
        return rest

    def late(self, t):
        """Until when something that was sent at t and not answered may happen."""
        return self.rest_after(t) + LATE_S

    def served_to_the_end(self, client):
        """Everything that it is owed had its time to come."""
        return self.end < FOREVER and client.connected_through(self.quiet, self.end)

    def connection(self, event):
        """The one that an event of a client is about."""
        return self._connections[event.who, event.conn]

    def publications(self):
        return [message for message in self.messages.values() if not message.will]

    # ---- reading ----

    def client(self, name):
        if name not in self.clients:
            self.clients[name] = Client(name)
        return self.clients[name]

    def _connect(self, event):
        connection, client = Connection(event), self.client(event.who)
        self._connections[event.who, event.conn] = connection
        client.connections.append(connection)
        if event.clean:
            client.end_session(event.t, event.t, FOREVER)
        if event.will:
            will = event.will
            message = Message(will["id"], will["topic"], will["qos"], will["retain"], will=True)
            message.send(event.t, connection)
            self.messages[message.id] = message

    def _connack(self, event):
        connection, client = self._connections[event.who, event.conn], self.client(event.who)
        connection.code = event.code
        if event.code == 0:
            connection.accepted, connection.present = event.t, event.present
            connection.session = client.sessions + (connection.clean or not event.present)
            if connection.clean or not event.present:
                client.sessions += 1
                client.end_session(connection.t, connection.t, event.t)

    def _told(self, event):
        self._connections[event.who, event.conn].told.append((event.t, event.code))

    def _disconnect(self, event):
        connection = self._connections[event.who, event.conn]
        connection.disconnected, connection.with_will = event.t, event.with_will

    def _closed(self, event):
        connection, client = self._connections[event.who, event.conn], self.client(event.who)
        connection.closed, connection.how = event.t, event.how
        if not connection.durable:
            ended = min(event.t, connection.disconnected)
            for filter, life in list(client.current.items()):
                if life.connection is connection:
                    life.ending, life.gone = min(life.ending, ended), event.t
                    life.wiped = True
                    del client.current[filter]

    def _subscribe(self, event):
        client = self.client(event.who)
        self._pending[event.op] = event.filters
        for filter, qos in event.filters:
            client.asked[filter] += 1
            life = client.current.get(filter)
            if life is None or life.ending < FOREVER:
                life = Life(client, filter, qos, self._connections[event.who, event.conn], event.t)
                client.current[filter] = life
                client.lives.append(life)

    def _suback(self, event):
        client = self.client(event.who)
        for (filter, _), code in zip(self._pending[event.op], event.codes):
            life = client.current.get(filter)
            if life and code <= 2:
                life.granted, life.qos = min(life.granted, event.t), code

    def _unsubscribe(self, event):
        client = self.client(event.who)
        self._pending[event.op] = event.filters
        for filter in event.filters:
            if filter in client.current:
                life = client.current[filter]
                life.ending = min(life.ending, event.t)

    def _unsuback(self, event):
        client = self.client(event.who)
        for filter, code in zip(self._pending[event.op], event.codes):
            if code < 0x80:
                for life in client.lives:
                    if life.filter == filter and life.ending < FOREVER:
                        life.gone = min(life.gone, event.t)
                if filter in client.current and client.current[filter].gone < FOREVER:
                    del client.current[filter]

    def _publish(self, event):
        message = self.messages.get(event.id)
        if message is None:
            message = Message(event.id, event.topic, event.qos, event.retain, event.clear,
                              expiry_s=event.expiry_s)
            self.messages[event.id] = message
        message.send(event.t, self._connections[event.who, event.conn])

    def _acked(self, event):
        message = self.messages[event.id]
        if event.code >= 0x80:
            message.refused = True
        elif message.acked == FOREVER:
            message.acked = event.t
            message.ack_node = self._connections[event.who, event.conn].node
            message.done = event.t if message.qos == 1 else FOREVER

    def _completed(self, event):
        self.messages[event.id].done = event.t

    def _deliver(self, event):
        client, message = self.client(event.who), self.messages.get(event.id)
        delivery = Delivery(event, client, self._connections[event.who, event.conn], message)
        client.deliveries.append(delivery)
        self._pending[event.who, event.conn, event.pid] = delivery
        if message is None or message.topic != event.topic:
            self.strangers.append(delivery)
        else:
            message.copies.append(delivery)
            if event.new:
                message.deliveries.append(delivery)

    def _stray(self, event):
        self._connections[event.who, event.conn].strays.append(event.id)

    def _answer(self, event):
        delivery = self._pending.get((event.who, event.conn, event.pid))
        if delivery and delivery.id == event.id:
            delivery.answered = min(delivery.answered, event.t)

    def _fault(self, event):
        self._faults[event.fault] = FaultTime(event)
        self.faults.append(self._faults[event.fault])

    def _over(self, event):
        self._faults[event.fault].until = event.t

    def _trouble(self, event):
        self.troubles.append(event)

    def _quiet(self, event):
        self.quiet = event.t

    def _end(self, event):
        self.end = event.t

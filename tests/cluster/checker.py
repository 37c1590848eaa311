# SPDX-License-Identifier: Apache-2.0
"""What a history proves against a cluster: a function for each rule, C1 to C11.

It knows nothing of how the history came about, and shares no code with the broker. An operation without
an answer may or may not have happened, at any time since; only what is wrong wherever in between it
happened is a violation. Rules about time speak only where no fault was near.
"""

import bisect
import collections

from .history import FOREVER
from .model import Model, matches

ARRIVE_S = 5.0   # with everybody well, a message takes no longer
SLACK_S = 3.0    # a clock of the broker's may be this late
TOLD_S = 1.0     # DISCONNECT may be read this long after the new CONNACK that it was sent before
ANSWER_S = 10.0  # with everybody well, no operation takes longer
UNDER_WAY_S = 1.0  # what is acknowledged is stored, and then brought to the nodes of those who subscribe
UNHEARD_S = 1.0  # a node has heard by then that a client of its own has closed its connection
LEASE_S = 2.5    # a home that is cut off may go on this long: its lease and a margin
FOR_EVER_S = 86400.0  # a session of this expiry does not expire in a history

RULES = {
    "C1": "a subscription that was acknowledged was not in force on every live node",
    "C2": "two connections of one client id, or the old one was not told",
    "C3": "the state of a session did not follow its client",
    "C4": "an acknowledged message was lost, or one of QoS 2 came twice",
    "C5": "messages of one publisher, topic and QoS in the wrong order",
    "C6": "retained messages differ, are older than one's own, or went back",
    "C7": "a will was not published, published twice, or published though it was taken back",
    "C8": "a shared subscription served nobody, or more than one",
    "C9": "something expired too early or too late",
    "C10": "something did not survive that all nodes lost power",
    "C11": "something durable was acknowledged by a node that had no quorum",
    "answer": "something was not answered although everybody was well",
    "trouble": "something that no correct broker does",
}


class Violation:
    """`id`: the message it is about; `t`: when it shows; `since`: when what is broken was promised."""

    def __init__(self, rule, who, text, id=None, t=None, since=None):
        self.rule, self.who, self.text, self.id, self.t, self.since = rule, who, text, id, t, since

    def __repr__(self):
        return f"{self.rule}: {self.who}: {self.text}"


# ---- C1, C3, C4: who got an acknowledged message ----


def owed(model, client):
    """(message, life) of what a durable session must have got by the end. Not what may have expired on
    the way, and nothing when the client was not there until the end to take it. QoS 2 is on its way to
    subscribers when PUBREC comes, so an UNSUBSCRIBE may be there first."""
    if not model.served_to_the_end(client):
        return
    by_topic = {}
    for message in model.publications():
        if message.acked == FOREVER or message.clear:
            continue
        if message.expiry_s and message.sent + message.expiry_s < model.end:
            continue
        lives = by_topic.get(message.topic)
        if lives is None:
            lives = by_topic[message.topic] = [
                life for life in client.own(message.topic) if life.durable and life.qos]
        until = message.acked if message.qos < 2 else model.late(message.acked)
        for life in lives:
            if life.held(message.sent, until) and not life.wiped:
                yield message, life
                break


def missing(model):
    """(client, message, life) of what was owed and did not come."""
    for client in model.clients.values():
        came = {delivery.id for delivery in client.deliveries if delivery.new}
        for message, life in owed(model, client):
            if message.id not in came:
                yield client, message, life


def _blame(client, message, life):
    """Which rule a missing message is counted under. C1: its client was still on the connection on which it had
    subscribed, and nothing that was acknowledged at that node has come by this subscription. C3: the session
    had moved, and nothing that its subscription matches has come since. C4: else."""
    connection = client.at(message.acked)
    came = [d.message for d in client.deliveries if d.message and matches(life.filter, d.topic)]
    if connection.closed < message.acked:
        return "C4"
    if connection is life.connection:
        known = any(each.ack_node == message.ack_node and each.sent > life.granted for each in came)
        return "C4" if known else "C1"
    if connection.node != life.connection.node and not any(each.sent > connection.accepted for each in came):
        return "C3"
    return "C4"


def lost(model):
    """Concludes: a message of QoS 1 or 2 whose first sending came after SUBACK and whose PUBACK or PUBREC
    came before UNSUBSCRIBE never reached that durable session, though it was connected at the end.

    Cannot know: which node lost it, and so which of C1, C3, C4 was broken; _blame says how it guesses.
    Says nothing of messages that expire, of clients that did not come back, of QoS 0."""
    for client, message, life in missing(model):
        yield Violation(_blame(client, message, life), client.name,
                        f"{message.id} on {message.topic}, QoS {message.qos}, acknowledged by {message.ack_node} "
                        f"at {message.acked:.3f}, never came; subscribed to {life.filter} at "
                        f"{life.connection.node} since {life.granted:.3f}", id=message.id, t=model.end,
                        since=message.acked)


def c1_suback(model):
    """Concludes: a connected client of a clean session, granted QoS 1 or 2, got nothing within ARRIVE_S of a
    message of QoS 1 or 2 that was sent after its SUBACK, on whatever node. (Durable sessions: lost().)

    Cannot know: anything near a fault, since links may drop what is for clean sessions; whether QoS 0
    was lost or dropped by a limit; how long SUBACK may wait for a node that is stopped."""
    for client in model.clients.values():
        came = {delivery.id for delivery in client.deliveries}
        clean = [life for life in client.lives if not life.durable and not life.share and life.qos]
        for life in clean:
            for message in model.publications():
                if not message.qos or message.refused or message.clear or message.id in came:
                    continue
                until = message.acked + ARRIVE_S * model.patience
                if not matches(life.filter, message.topic) or not life.granted < message.sent:
                    continue
                if until < min(life.ending, life.connection.closed, model.end) and model.calm(message.sent, until):
                    yield Violation("C1", client.name, f"{message.id} on {message.topic}, acknowledged by "
                                    f"{message.ack_node}, did not come; subscribed to {life.filter} since "
                                    f"{life.granted:.3f}", id=message.id, t=message.acked)


# ---- C2 ----


def c2_one_connection(model):
    """Concludes: a connection that was accepted before another CONNECT with its client id was sent still
    worked after that one's CONNACK: an operation begun on it later was answered, it got a message that was
    published later, or a message that was sent only on it, later, reached somebody. Of two whose CONNECT
    overlap, either may be the one that stays: only both is wrong. With no fault near, the old connection of
    5.0 ends, and with DISCONNECT 0x8E, not later than TOLD_S after the new CONNACK is read, unless it was told
    something else before the new CONNECT was sent.

    Cannot know: what came on the old connection but had been sent before; whether an old edge that could
    not be reached was waited for long enough, other than by what it still did."""
    acts = _acts(model)
    for client in model.clients.values():
        connections = sorted(client.accepted(), key=lambda each: each.accepted)
        for at, new in enumerate(connections):
            for old in connections[:at]:
                if old.closed > new.t:
                    yield from _old_and_new(model, client, old, new, acts)


def _acts(model):
    """connection: (time begun, what) of all that proves that it was served."""
    acts = collections.defaultdict(list)
    for client in model.clients.values():
        for connection in client.accepted():
            for operation in connection.operations:
                if operation.answer:
                    acts[connection].append((operation.start, f"answered {operation.sent.kind}"))
            given = [d.id for d in client.deliveries if d.connection is connection] + connection.strays
            for message in filter(None, map(model.messages.get, given)):
                if not message.will:
                    acts[connection].append((message.sent, f"was given {message.id}"))
    for message in model.publications():
        if message.deliveries and len({connection for _, connection in message.sends}) == 1:
            acts[message.sends[0][1]].append((message.sent, f"published {message.id}"))
    return acts


def _old_and_new(model, client, old, new, acts):
    later = max(old.accepted, new.accepted)
    served = [what for t, what in acts[old] if t > later]
    overlap = new.t < old.accepted
    if served and (not overlap or any(t > later for t, _ in acts[new])):
        yield Violation("C2", client.name, f"{old} {served[0]} after {new} was accepted", t=later)
        return
    by = new.accepted + ARRIVE_S * model.patience
    if overlap or not model.calm(new.t, min(old.closed, by)):
        return
    if min(old.closed, model.end) > by:
        yield Violation("C2", client.name, f"{old} was not ended for {new}", t=new.accepted)
    elif old.how == "lost" and old.version == 5 and not (old.told and old.told[0][0] < new.t):
        codes = [code for _, code in old.told]
        if codes != [0x8E]:
            yield Violation("C2", client.name, f"{old} was told {codes} for {new}, not 0x8E", t=old.closed)
        elif old.told[0][0] > new.accepted + TOLD_S * model.patience:
            yield Violation("C2", client.name, f"{old} was told after {new} was accepted", t=old.told[0][0])


# ---- C3, and C9 of sessions ----


def c3_session_present(model):
    """Concludes: CONNACK says "present" after a clean start, or at a first CONNECT; or "not present" though
    the session was confirmed, no clean start came since, and it cannot have expired: counted from when its
    last connection was last seen to work. C9 for sessions that expire: not present before their time, or
    present long after it.

    Cannot know: what a CONNECT without answer did (after a clean one, nothing until faults are over);
    when the broker noticed the end of a connection while a fault was near."""
    for client in model.clients.values():
        previous = None
        for connection in sorted(client.accepted(), key=lambda each: each.accepted):
            expected = _expected(model, connection, previous)
            after = previous.accepted if previous else -1.0
            unsure = [each for each in client.connections if each.code != 0 and each.t < connection.accepted
                      and model.late(each.t) > after]
            if expected != "none" and any(each.clean or expected == "expired" for each in unsure):
                expected = "either"
            if previous is None and not connection.clean and unsure:
                expected = "either"
            yield from _judge_present(client, connection, previous, expected)
            previous = connection


def _expected(model, connection, previous):
    """none | there | either | expired, before what is in doubt is counted."""
    if connection.clean or previous is None:
        return "none"
    if previous.closed > connection.t:  # taken over
        ended = max([previous.ended_from, *(t for t, code in previous.told if code == 0x8E)])
        return "there" if connection.accepted - ended < previous.expiry_s else "either"
    if connection.accepted - previous.ended_from < previous.expiry_s:
        return "there"
    noticed = model.rest_after(previous.closed)
    late = previous.expiry_s + SLACK_S * model.patience
    return "expired" if connection.t - noticed > late else "either"


def _judge_present(client, connection, previous, expected):
    where, t = f"at {connection.node}, {connection}", connection.accepted
    if connection.present and expected == "none":
        why = "a clean start" if connection.clean else "the first CONNECT"
        yield Violation("C3", client.name, f"session present after {why} {where}", t=t, since=connection.t)
    elif connection.present and expected == "expired":
        yield Violation("C9", client.name, f"session present long after it had expired, {where}", t=t)
    elif not connection.present and expected == "there":
        rule = "C3" if previous.expiry_s >= FOR_EVER_S or previous.closed > connection.t else "C9"
        yield Violation(rule, client.name, f"session not present any more {where}; it was at {previous.node}",
                        t=t, since=previous.accepted)


def c3_in_flight(model):
    """Concludes: a QoS 2 packet id was given to another message before it was released, on whatever node;
    a message of a durable session that came and was not acknowledged did not come again, though the session
    went on; something came that no subscription could have asked for.

    Cannot know: whether an acknowledgement that was sent arrived, so what was acknowledged may come again or
    not; of messages that were not acknowledged to their publisher, which may come early and be lost with a
    node, and are owed to who is subscribed when they are sent again; of shares, where QoS 1 may go to another member; of messages that expire; who was subscribed when a
    message that a fault had held up was routed."""
    for client in model.clients.values():
        held = {}
        for delivery in client.deliveries:
            if delivery.qos == 2 and not delivery.new and held.get(delivery.pid) not in (None, delivery.id):
                yield Violation("C3", client.name, f"packet id {delivery.pid} of {delivery.id} was "
                                f"{held[delivery.pid]} and not released", id=delivery.id, t=delivery.t)
            elif delivery.qos == 2 and delivery.new:
                held[delivery.pid] = delivery.id
        yield from _not_again(model, client)
        yield from _unwanted(model, client)


def _not_again(model, client):
    if not model.served_to_the_end(client):
        return
    for at, delivery in enumerate(client.deliveries):
        message, connection = delivery.message, delivery.connection
        if not delivery.qos or delivery.answered < FOREVER or not message or message.expiry_s:
            continue
        if message.acked == FOREVER:
            continue
        lives = client.matching(delivery.topic)
        early = message.sends[-1][0] > delivery.t and not model.calm(delivery.t, message.sends[-1][0])
        if early and not any(life.held(delivery.t, message.acked) for life in lives):
            continue
        after = [each for each in client.accepted() if each.accepted > delivery.t]
        if not after or not connection.durable or any(life.share or life.wiped for life in lives):
            continue
        if not any(each.id == delivery.id for each in client.deliveries[at + 1:]):
            yield Violation("C3", client.name, f"{delivery.id}, not acknowledged on {connection}, did not come "
                            "again", id=delivery.id, t=model.end, since=delivery.t)


def _left_by_another(delivery, lives):
    """A member of a share had it, and has not acknowledged it: it goes to another one, whenever that came."""
    return any(life.share for life in lives) and any(
        each.client is not delivery.client and each.t < delivery.t < each.answered
        for each in delivery.message.deliveries)


def _unwanted(model, client):
    """What waited for a home or a link, while a fault was near, is routed to whoever subscribes then; and who
    subscribes while a message is under way may get it."""
    lives = {}
    for delivery in client.deliveries:
        message = delivery.message
        if message is None or message.topic != delivery.topic:
            continue
        if delivery.topic not in lives:
            lives[delivery.topic] = client.matching(delivery.topic)
        waited = (not model.calm(message.sent, delivery.t)
                  or _left_by_another(delivery, lives[delivery.topic]))
        until = FOREVER if delivery.retain or message.will or waited else message.done + UNDER_WAY_S
        if not any(life.possible(message.sent, min(until, delivery.t)) for life in lives[delivery.topic]):
            yield Violation("C3", client.name, f"{delivery.id} on {delivery.topic}, published when nothing was "
                            "subscribed that matches", id=delivery.id, t=delivery.t)


# ---- C4 ----


def c4_exactly_once(model):
    """Concludes: a message of QoS 2 to a subscription of QoS 2, or of QoS 0, came as a new one to one session more
    often than subscriptions of that client match it; something came that nobody had sent, or on another topic.

    Cannot know: of QoS 1, which may come again; whether a retained copy was asked for once or twice, so each
    SUBSCRIBE allows one. Of QoS 2 nothing is promised to clean sessions near a fault."""
    for stranger in model.strangers:
        yield Violation("C4", stranger.client.name, f"{stranger.id} on {stranger.topic}, which nobody sent",
                        id=stranger.id, t=stranger.t)
    for client in model.clients.values():
        counted = collections.Counter()
        for delivery in client.deliveries:
            message = delivery.message
            if not message or not delivery.new or message.will:
                continue
            if message.qos == 1 or message.qos != delivery.qos:
                continue
            key = (delivery.id, bool(delivery.retain), delivery.connection.session)
            counted[key] += 1
            promised = not message.qos or delivery.connection.durable or model.calm(message.sent, delivery.t)
            if counted[key] == _allowed(client, delivery) + 1 and promised:
                yield Violation("C4", client.name, f"{delivery.id} of QoS {delivery.qos} came "
                                f"{counted[key]} times", id=delivery.id, t=delivery.t, since=message.deliveries[0].t)


def _allowed(client, delivery):
    if delivery.retain:
        return sum(count for filter, count in client.asked.items() if matches(filter, delivery.topic))
    lives = client.matching(delivery.topic)
    return max(1, len({life.filter for life in lives}))


# ---- C5 ----


def c5_order(model):
    """Concludes: two messages of one publisher, topic and QoS first came to a subscription, held all the
    time, in the order opposite to the one in which the brokers must have taken them: both were sent on the
    connection on which the later one was first sent, or the earlier one was acknowledged before the later
    one was sent.

    Cannot know: the order of QoS 0 sent on two connections; of copies that come again, and of what may be
    one, since the first may have expired, or was for a clean session and dropped by a link; within a share."""

    def may_be_a_copy(delivery):
        message = delivery.message
        expired = message.expiry_s and delivery.t >= message.sent + message.expiry_s
        dropped = not delivery.connection.durable and not model.calm(message.sent, delivery.t)
        again = len(message.sends) > 1 or not model.calm(message.sent, delivery.t)  # from a home to another
        return again and (expired or dropped)

    for client in model.clients.values():
        own, seen, streams = {}, set(), collections.defaultdict(list)
        for delivery in client.deliveries:
            message = delivery.message
            if not message or delivery.retain or message.will or delivery.id in seen:
                continue
            seen.add(delivery.id)
            if may_be_a_copy(delivery):
                continue
            if delivery.topic not in own:
                own[delivery.topic] = client.own(delivery.topic)
            for life in own[delivery.topic]:
                if life.held(message.sent, delivery.t):
                    stream = streams[id(life), message.publisher, delivery.topic, message.qos, delivery.qos]
                    yield from _in_order(client, stream, message, delivery)


def _in_order(client, stream, message, delivery):
    """`stream`: what has come, by number."""
    at = bisect.bisect(stream, message.number, key=lambda each: each.number)
    overtaken = next((each for each in stream[at:] if message.before(each)), None)
    if overtaken:
        yield Violation("C5", client.name, f"{message.id} came after {overtaken.id} on {message.topic}",
                        id=message.id, t=delivery.t)
    stream.insert(at, message)


# ---- C6 ----


class Retained:
    """All publications of each topic that retain or clear."""

    def __init__(self, model):
        self.writes = collections.defaultdict(list)
        for message in model.publications():
            if message.retain and not message.refused:
                self.writes[message.topic].append(message)

    @staticmethod
    def overwritten(write, by):
        """`by` was surely stored after `write`, which was not sent again since."""
        return write.before(by) and write.sends[-1][0] < by.sent

    def stale(self, topic, value, look):
        """The acknowledged write that a look should have seen instead of `value`. None is right when
        nothing was stored before, or a clear may be the last."""
        writes = self.writes[topic]
        seen = [each for each in writes if each.sent < look.end and (
            each.id == value if value is not None else each.clear)]
        if value is not None and not seen:
            return None  # nobody's: told elsewhere
        after = max((each.sends[-1][0] for each in seen), default=-1.0)
        later = writes[bisect.bisect(writes, after, key=lambda each: each.sent):]
        return next((each for each in later if each.acked < look.start and not (value is None and each.clear)
                     and all(self.overwritten(one, each) for one in seen)), None)


def c6_retained(model):
    """Concludes: once it was quiet, two nodes gave different retained messages of a topic; a look that began
    after a PUBACK or PUBREC, on whatever node, saw something that was surely stored before; a client got a
    newer message of a topic and then, on the same connection with the same QoS, an older retained one.

    Cannot know: what a node gives near a fault, which may keep it from the others (until it is quiet such a look
    is not judged, but it must be something that somebody sent); what a publication without answer left behind;
    retained messages that expire, and wills."""
    retained = Retained(model)
    yield from _looks(model, retained)
    yield from _equal(model, retained)
    for client in model.clients.values():
        yield from _never_back(client, retained)


def _judged(topic, retained):
    """Not what expires."""
    return not any(write.expiry_s for write in retained.writes[topic])


def _looks(model, retained):
    for look in model.looks:
        if not look.answer:
            continue
        values, node = look.answer.values, look.sent.node
        for topic, value in values.items():
            message = model.messages.get(value)
            if message is None or message.topic != topic or message.sent > look.end:
                yield Violation("C6", node, f"{value} is retained on {topic}, where nobody sent it", t=look.end)
        if look.start < model.quiet and not model.calm(look.start, look.end):
            continue
        for topic in list(retained.writes):
            if _judged(topic, retained):
                newer = retained.stale(topic, values.get(topic), look)
                if newer:
                    yield Violation("C6", node, f"{topic} has {values.get(topic)}, though {newer.id} was "
                                    f"acknowledged by {newer.ack_node} at {newer.acked:.3f}", id=newer.id, t=look.end,
                                    since=newer.acked)


def _equal(model, retained):
    last = {look.sent.node: look for look in model.looks if look.answer and look.start > model.quiet}
    for topic in list(retained.writes):
        values = {node: look.answer.values.get(topic) for node, look in last.items()}
        if len(set(values.values())) > 1 and _judged(topic, retained):
            yield Violation("C6", "all", f"{topic} differs: {values}", t=model.end)


def _never_back(client, retained):
    newest = collections.defaultdict(list)
    for delivery in client.deliveries:
        message = delivery.message
        if not message or not message.retain or message.will:
            continue
        key = (delivery.connection.number, delivery.topic, delivery.qos)
        if delivery.retain and not delivery.dup:
            newer = next((each for each in newest[key] if each.acked < delivery.t
                          and retained.overwritten(message, each)), None)
            if newer:
                yield Violation("C6", client.name, f"{message.id} came as retained after {newer.id} on "
                                f"{delivery.topic}", id=message.id, t=delivery.t)
        newest[key].append(message)


# ---- C7 ----


def c7_wills(model):
    """Concludes, of each CONNECT with a will, as durable subscriptions that were held from before it to the
    end saw it: it came once or more than once at QoS 2; it must have come (its connection ended in any way
    but DISCONNECT, and its delay went by with nobody back); it must not (DISCONNECT with no fault near, or
    the client was back within the delay).

    Cannot know: of a CONNECT without answer; whether a DISCONNECT near a fault was read; of a client that
    was back about when the delay was over."""
    for client in model.clients.values():
        for connection in client.connections:
            if connection.will:
                message, fate = model.messages[connection.will["id"]], _fate(model, client, connection)
                for watcher in model.clients.values():
                    yield from _will(model, watcher, message, fate)


def _will(model, watcher, message, fate):
    times = sum(1 for d in message.deliveries if d.client is watcher and not d.retain)
    exact = all(d.qos == 2 for d in message.deliveries if d.client is watcher)
    lives = [life for life in watcher.own(message.topic) if life.durable]
    allowed = max(1, len({life.filter for life in lives}))
    where = f"{message.id} on {message.topic}"
    if times > allowed and exact:
        yield Violation("C7", watcher.name, f"the will {where} came {times} times", id=message.id, t=message.sent)
    if fate == "must not" and times:
        yield Violation("C7", watcher.name, f"the will {where} came, though it was taken back", id=message.id,
                        t=message.sent)
    held = any(life.held(message.sent, model.end) and not life.wiped and life.qos for life in lives)
    if fate == "must" and held and not times and message.qos and model.served_to_the_end(watcher):
        yield Violation("C7", watcher.name, f"the will {where} never came", id=message.id, t=message.sent)


def _fate(model, client, connection):
    """must | must not | may"""
    if connection.accepted == FOREVER or connection.closed == FOREVER:
        return "may"
    ended = connection.ended_from
    if connection.how == "disconnect":
        return "must not" if model.calm(connection.disconnected, connection.closed) else "may"
    delay = min(connection.will["delay_s"], connection.expiry_s)
    others = [each for each in client.connections if each is not connection and each.accepted > connection.accepted]
    tried = min((each.t for each in others), default=FOREVER)
    back = [each for each in others if each.accepted - ended < delay]
    if delay and back:
        went_on = all(not each.clean and each.present for each in back) and model.calm(ended, back[0].accepted)
        return "must not" if went_on else "may"
    by = model.rest_after(connection.closed) + delay + SLACK_S * model.patience
    if delay and tried < by:
        return "may"
    return "must" if by < model.end else "may"


# ---- C8 ----


def c8_shares(model):
    """Concludes, of each share: a message of QoS 1 or 2 that was acknowledged while a member held the
    subscription (a durable one that was there at the end, or a clean one that was connected from before it to
    the end, with no fault near) came to no member, or to members that all went without acknowledging it; one of
    QoS 2, or of QoS 0, came to two members; one of QoS 1 came to a second although the first had acknowledged
    it, stayed connected and no fault was near.

    Cannot know: what came to a client by a share or by another subscription that matches too; who should have
    been chosen, and so whether local members are preferred; of QoS 1, whether an acknowledgement near a fault
    arrived, and what died with a node that had taken it for a clean member; of QoS 2, what was sent to a session that
    then ended, and is lost with it, or had ended with a node of which nobody had noticed that; order, which shares do
    not promise."""
    shares = collections.defaultdict(list)
    for client in model.clients.values():
        for life in client.lives:
            if life.share:
                shares[life.filter].append(life)
    for filter, lives in shares.items():
        members = {life.client for life in lives}
        for message in model.publications():
            if not matches(filter, message.topic) or message.clear:
                continue
            if any(life.filter != filter for each in members for life in each.matching(message.topic)):
                continue  # what came may have come by the other one
            copies = [d for d in message.copies if d.client in members and not d.retain]
            yield from _shared_twice(model, filter, message, [d for d in copies if d.new], lives)
            yield from _shared_lost(model, filter, message, copies, lives)


def _shared_twice(model, filter, message, came, lives):
    to = list(dict.fromkeys(d.client.name for d in came))
    if len(to) < 2:
        return
    qos = min(message.qos, *(life.qos for life in lives))
    if qos == 2 and not all(d.connection.durable for d in came) and not model.calm(message.sent, came[-1].t):
        return
    if qos != 1:
        yield Violation("C8", filter, f"{message.id} of QoS {message.qos} came to {' and '.join(to)}",
                        id=message.id, t=came[-1].t)
        return
    first, second = came[0], next(d for d in came if d.client is not came[0].client)
    kept = first.answered + SLACK_S * model.patience < min(second.t, first.connection.closed)
    if kept and model.calm(message.sent, second.t):
        yield Violation("C8", filter, f"{message.id} came to {second.client.name} after {first.client.name} had "
                        "acknowledged it", id=message.id, t=second.t)


def _noticed(model, life):
    """When all nodes knew that it was over: late of a session whose node a fault took along."""
    return life.gone if life.durable else model.rest_after(life.gone)


def _shared_lost(model, filter, message, came, lives):
    if message.acked == FOREVER or message.expiry_s:
        return
    if any(d.answered < FOREVER or not d.qos for d in came):
        return
    ended = [life for life in lives if life.asked < message.acked and message.sent < _noticed(model, life)
             and (life.wiped or not life.durable and life.connection.closed < FOREVER)]
    if message.qos == 2 and ended:
        return  # it may have been sent to that session, and stays with it [MQTT-4.8.2-5]
    if any(not life.durable and model.taken_along(life.connection, message.sent) for life in ended):
        return  # it may have been sent to that member, and died with its node
    for life in lives:
        there = model.served_to_the_end(life.client) and life.qos and not life.wiped
        until = message.acked if life.durable else model.end
        there = there and (life.durable or model.calm(message.sent, message.acked + ARRIVE_S * model.patience))
        if there and life.held(message.sent, until):
            what = "no member acknowledged it" if came else "came to no member"
            yield Violation("C8", filter, f"{message.id} on {message.topic}, acknowledged at {message.acked:.3f}: "
                            f"{what}", id=message.id, t=model.end, since=message.acked)
            return


# ---- C9, of messages ----


def c9_expiry(model):
    """Concludes: a message reached a client that had no connection from before it was sent until it had
    expired, and SLACK_S more; or a look found one that had expired that long before. (Sessions:
    c3_session_present.)

    Cannot know: when a broker had begun to send a message that came late on a connection that was there in
    time, since that it may finish. A node may send to a client of which it has not heard that it is gone, for
    long when it is cut off; that has begun, too, and what comes in the end says so (DUP). Who was not let in, or late,
    may have been for all that the next home knows: its home was lost, or waited for its engine, while it was noting
    that down. Nor when a broker that held a publisher back, for the sake of others, read what it had sent meanwhile:
    it did before it acknowledged that or what came after it."""
    slack = SLACK_S * model.patience

    def over(message):
        sent = message.sends[-1][0]
        read = min((later.acked for later in model.messages.values()
                    if later.publisher == message.publisher and later.sends[-1][0] >= sent), default=FOREVER)
        return (sent if read == FOREVER and message.qos == 0 else read) + message.expiry_s + slack

    def may_have_begun(client, delivery):
        message = delivery.message
        if any(c.closed >= message.sent and c.accepted <= over(message) for c in client.accepted()):
            return True
        return delivery.dup and (any(c.accepted < message.sent and (message.sent - c.closed < UNHEARD_S or
                                                                    not model.calm(c.closed, message.sent))
                                     for c in client.accepted()) or
                                 any(message.sent <= c.closed and c.t <= over(message) for c in client.connections))

    for client in model.clients.values():
        for delivery in client.deliveries:
            message = delivery.message
            if message and message.expiry_s and not delivery.retain and delivery.t > over(message):
                if not may_have_begun(client, delivery):
                    yield Violation("C9", client.name, f"{message.id} came {delivery.t - over(message):.1f} s and "
                                    f"{slack:g} s after it had expired", id=message.id, t=delivery.t)
    for look in model.looks:
        for topic, value in look.answer.values.items() if look.answer else ():
            message = model.messages.get(value)
            if message and message.expiry_s and look.start > over(message):
                yield Violation("C9", look.sent.node, f"{value} is retained on {topic} and has expired", id=value,
                                t=look.end)


# ---- C10 ----


def c10_power(model, others):
    """Concludes: what C3, C4 and C6 found wrong was acknowledged before all nodes lost power and found wrong
    after it.

    Cannot know: whether it would have been lost without that. Where a disk did not come back, the history
    must not say all_down."""
    cuts = [fault.since for fault in model.faults if fault.all_down]
    for violation in others:
        if violation.rule in ("C3", "C4", "C6") and violation.since is not None:
            if any(violation.since < cut < violation.t for cut in cuts):
                yield Violation("C10", violation.who, f"over a loss of all power: {violation}",
                                id=violation.id, t=violation.t)


# ---- C11 ----


def c11_minority(model):
    """Concludes: a node that had been without the engine's quorum for LEASE_S, and still was, accepted a
    durable session, acknowledged a subscription of one, or acknowledged a message of QoS 1 or 2 that is
    retained or that a durable subscription matched all the time; and that had been asked for after
    that LEASE_S.

    Cannot know: more than the test says of which node is without quorum; of what was asked before."""
    for fault in model.faults:
        for node in fault.minority:
            since = fault.since + LEASE_S
            for operation in model.operations:
                sent = operation.sent
                if since < operation.start and operation.end < fault.until and sent.kind != "look":
                    connection = model.connection(sent)
                    if connection.node == node and (what := _durable(model, operation, connection)):
                        yield Violation("C11", sent.who, f"{node} {what} without a quorum",
                                        id=getattr(sent, "id", None), t=operation.end)


def _durable(model, operation, connection):
    """What durable thing was acknowledged; None: nothing."""
    sent, answer = operation.sent, operation.answer
    if sent.kind == "connect":
        return "accepted a durable session" if answer.code == 0 and connection.durable else None
    if sent.kind in ("subscribe", "unsubscribe"):
        ok = any(code < 0x80 for code in answer.codes)
        return f"acknowledged {sent.kind} of a durable session" if ok and connection.durable else None
    if sent.kind != "publish" or answer.code >= 0x80:
        return None
    message = model.messages[sent.id]
    if message.retain:
        return f"acknowledged {sent.id}, which is retained,"
    lives = [life for client in model.clients.values() for life in client.matching(message.topic)
             if life.durable and life.qos and not life.wiped]
    wanted = any(life.held(message.sent, answer.t) for life in lives)
    return f"acknowledged {sent.id}, which a durable session has to get," if wanted else None


# ---- the rest ----


def answers(model):
    """Concludes: an operation had no answer within ANSWER_S, while its connection was there and no fault near.

    Cannot know: how long an answer may take near a fault, since what waits for a lease or an election is right, and
    an election takes long when one fault comes upon another."""
    for operation in model.operations:
        sent = operation.sent
        by = operation.start + ANSWER_S * model.patience
        if operation.end <= by or sent.kind == "look" or sent.kind == "publish" and not sent.qos:
            continue
        connection = model.connection(sent)
        there = min(connection.closed, connection.disconnected, model.end) > by
        current = sent.kind == "connect" or connection is model.client(sent.who).at(by)
        if there and current and model.answers_calm(operation.start, by):
            yield Violation("answer", sent.who, f"{operation} has none", t=by)


def trouble(model):
    """What the test itself saw that no correct broker does: a broken protocol, no answer in peace."""
    for event in model.troubles:
        yield Violation("trouble", event.who or "-", event.what, t=event.t)


ALL = [trouble, answers, lost, c1_suback, c2_one_connection, c3_session_present, c3_in_flight, c4_exactly_once,
       c5_order, c6_retained, c7_wills, c8_shares, c9_expiry, c11_minority]


def check(events, patience=1.0):
    """The violations of a history, in the order of time. `patience`: of a Model."""
    model = Model(events, patience)
    found = [violation for rule in ALL for violation in rule(model)]
    found += list(c10_power(model, found))
    return sorted(found, key=lambda violation: (violation.t is None, violation.t or 0.0))


def explain(events, violation, around_s=0.5):
    """The events that a violation is about: its message everywhere, its client's connections and
    subscriptions near it, and every fault from the first to the last of them."""
    about = [e for e in events if violation.id and getattr(e, "id", None) == violation.id]
    times = [e.t for e in about] + ([violation.t] if violation.t is not None else [])
    first, last = min(times, default=0.0) - around_s, max(times, default=0.0) + around_s
    shown = {e.n: e for e in about}
    for event in events:
        if first <= event.t <= last:
            mine = event.who == violation.who and event.kind not in ("deliver", "publish", "acked", "completed",
                                                                     "answer", "ping", "pong")
            if mine or event.kind in ("fault", "over", "trouble", "quiet", "end"):
                shown[event.n] = event
    return [repr(shown[n]) for n in sorted(shown)]

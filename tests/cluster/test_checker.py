# SPDX-License-Identifier: Apache-2.0
"""The checker names every rule that a history made by hand breaks, and none where none is broken."""

import copy

import pytest

from . import checker
from .history import Event, History, operations
from .story import Story, rules


@pytest.fixture
def story():
    """p publishes at n1; s, durable, is at n2."""
    made = Story()
    made.connect("p", "n1")
    made.connect("s", "n2")
    return made


def busy():
    """All of it, as a correct cluster would do it: what is broken in it below is broken alone."""
    it = Story()
    it.connect("p", "n1"), it.connect("q", "n3", version=4)
    it.connect("s", "n2"), it.subscribe("s", "c/#"), it.subscribe("s", "w/#"), it.subscribe("s", "r/#")
    it.connect("clean", "n3", clean=True, expiry_s=0), it.subscribe("clean", "c/#", qos=1)
    for member, node in [("m", "n1"), ("o", "n2")]:
        it.connect(member, node), it.subscribe(member, "$share/g/g/#")
    it.publish("p/1", qos=1), it.deliver("s", "p/1"), it.deliver("clean", "p/1")
    it.publish("p/2", qos=2), it.deliver("s", "p/2", qos=2), it.deliver("clean", "p/2")
    it.publish("p/3", qos=0), it.deliver("s", "p/3", qos=0), it.deliver("clean", "p/3", qos=0)
    it.publish("p/4", "g/a", qos=2), it.deliver("m", "p/4", qos=2)
    it.publish("p/5", "g/a", qos=1), it.deliver("o", "p/5")
    it.publish("p/6", "g/a", qos=0), it.deliver("o", "p/6", qos=0)
    it.publish("p/7", "r/p", retain=True), it.deliver("s", "p/7")
    it.look("n3", p="p/7")
    it.connect("w", "n3", will=it.will("w")), it.close("w"), it.deliver("s", "w/1", qos=2)
    it.wait(6)
    it.connect("w", "n1", present=True, will=it.will("w", 2)), it.close("w", "disconnect")
    it.fault("kill", ["n2"])
    it.close("s", "lost"), it.close("o", "lost")
    it.publish("p/8", qos=1), it.publish("p/9", qos=2, acked=False), it.publish("p/10", "r/p", retain=True)
    it.move("p", "n3"), it.publish("p/9", qos=2, dup=True), it.deliver("clean", "p/8"), it.deliver("clean", "p/9")
    it.connect("s", "n3", present=True)
    it.deliver("s", "p/8", answered=False), it.move("s", "n1")
    it.deliver("s", "p/8", dup=True), it.deliver("s", "p/9", qos=2), it.deliver("s", "p/10")
    it.over()
    it.connect("o", "n2", present=True)
    it.take_over("s", "n2"), it.ping("s", conn=3, answered=False), it.ping("s")
    it.connect("late", "n2"), it.subscribe("late", "r/#", qos=1), it.deliver("late", "p/10", retain=True)
    it.publish("p/11", "r/p", retain=True), it.deliver("s", "p/11"), it.deliver("late", "p/11")
    it.wait(40), it.add("quiet"), it.wait(3)
    for node in ("n1", "n2", "n3"):
        it.look(node, p="p/11")
    it.add("end")
    return it


def without(events, *gone):
    """A copy in which some never happened."""
    numbers = {event.n for event in gone}
    return [event for event in events if event.n not in numbers]


def changed(events, number, **fields):
    """A copy in which one was otherwise."""
    events = list(events)
    at = next(at for at, event in enumerate(events) if event.n == number)
    events[at] = copy.copy(events[at])
    events[at].__dict__.update(fields)
    return events


def deliveries(events):
    return [event for event in events if event.kind == "deliver"]


def find(story, kind, who, **fields):
    return next(e for e in story.events if e.kind == kind and e.who == who
                and all(getattr(e, name) == value for name, value in fields.items()))


def test_what_a_correct_cluster_does_breaks_no_rule():
    assert checker.check(busy().events) == []


def test_each_message_of_qos_1_and_2_that_did_not_come_is_missed():
    """All but what is for a clean session near a fault, and what came again."""
    events = busy().events
    for event in deliveries(events):
        gone = [e for e in deliveries(events) if (e.who, e.id) == (event.who, event.id)]
        found = rules(without(events, *gone))
        if event.qos and (event.who != "clean" or event.id in ("p/1", "p/2")) and event.who != "late":
            assert found, f"{event.id} to {event.who}"
            assert set(found) <= {"C1", "C3", "C4", "C7", "C8"}
        else:
            assert set(found) <= {"C1"}, f"{event.id} to {event.who}"


def test_each_message_that_may_come_once_is_counted():
    events = busy().events
    for event in deliveries(events):
        again = Event(len(events), event.t + 0.001, "deliver", event.who, {
            **{k: v for k, v in event.__dict__.items() if k not in ("n", "t", "kind", "who")}, "pid": 60000})
        answer = Event(len(events) + 1, event.t + 0.002, "answer", event.who,
                       {"conn": event.conn, "id": event.id, "pid": 60000})
        at = events.index(event) + 1
        found = rules(events[:at] + [again, answer] + events[at:])
        twice = event.qos == 2 or event.id in ("p/3", "p/6")
        assert bool(found) == twice and set(found) <= {"C4", "C7", "C8"}, f"{event.id} to {event.who}: {found}"


def test_each_retained_message_that_is_seen_otherwise_is_found():
    events = busy().events
    seen = [event for event in events if event.kind == "seen"]
    for event in seen:
        for wrong in ({}, {"r/p": "p/1"}, {"r/p": "p/99"}):
            assert "C6" in rules(changed(events, event.n, values=wrong)), f"{wrong} at {event.t}"
    for event in seen[1:]:
        assert "C6" in rules(changed(events, event.n, values={"r/p": "p/10"}))


def test_each_session_that_is_gone_or_back_is_found():
    events = busy().events
    for event in events:
        if event.kind == "connack" and not event.code:
            found = rules(changed(events, event.n, present=not event.present))
            assert "C3" in found, f"{event.who} at {event.t}"


# ---- C1 ----


def test_a_subscription_that_is_not_known_at_a_node_yet(story):
    story.subscribe("s", "c/#"), story.publish("p/1")
    assert story.rules() == ["C1"]


def test_the_same_of_a_clean_session(story):
    story.connect("clean", "n3", clean=True, expiry_s=0), story.subscribe("clean", "c/#", qos=1)
    story.publish("p/1")
    assert story.rules() == ["C1"]


def test_a_message_sent_before_suback_is_not_owed(story):
    op = story.op()
    story.add("subscribe", "s", conn=1, op=op, filters=[["c/#", 2]])
    story.publish("p/1")
    story.add("suback", "s", conn=1, op=op, codes=[2])
    assert story.rules() == []


def test_a_message_first_sent_before_suback_is_not_owed_when_it_is_sent_again(story):
    story.publish("p/1", acked=False), story.subscribe("s", "c/#"), story.publish("p/1", dup=True)
    assert story.rules() == []


def test_a_subscription_without_suback_or_with_a_refusal_is_owed_nothing(story):
    story.subscribe("s", "c/#", answered=False)
    op = story.op()
    story.add("subscribe", "s", conn=1, op=op, filters=[["c/+", 2]])
    story.add("suback", "s", conn=1, op=op, codes=[0x80])
    story.publish("p/1")
    assert story.rules() == []


def test_near_a_fault_a_clean_session_is_owed_nothing(story):
    story.connect("clean", "n3", clean=True, expiry_s=0), story.subscribe("clean", "c/#", qos=1)
    story.fault("cut", ["n1"], for_s=2)
    story.publish("p/1")
    assert story.rules() == []


def test_what_clears_a_retained_message_is_not_owed(story):
    story.subscribe("s", "r/#"), story.publish("p/1", "r/a", retain=True, clear=True)
    assert story.rules() == []


# ---- C2 ----


def test_an_old_connection_that_still_answers(story):
    story.take_over("s", "n3")
    story.ping("s", conn=1)
    assert story.rules() == ["C2"]


def test_an_old_connection_that_is_given_what_was_published_later(story):
    story.subscribe("s", "c/#")
    story.add("connect", "s", conn=2, node="n3", op=99, clean=False, expiry_s=100000, version=5, will=None)
    story.add("connack", "s", conn=2, op=99, present=True, code=0)
    story.conns["s"] = 2
    story.publish("p/1"), story.stray("s", "p/1", conn=1), story.deliver("s", "p/1")
    story.close("s", conn=1, told=0x8E)
    assert story.rules() == ["C2"]


def test_an_old_connection_whose_message_still_reaches_somebody(story):
    story.subscribe("s", "c/#")
    story.take_over("p", "n3")
    story.publish("p/1", qos=0, conn=1), story.deliver("s", "p/1", qos=0)
    assert story.rules() == ["C2"]


def test_the_same_near_a_fault(story):
    story.fault("cut", ["n1"])
    story.take_over("s", "n3")
    story.ping("s", conn=1)
    story.over()
    assert story.rules() == ["C2"]


@pytest.mark.parametrize("told", [0x8B, 0x00])
def test_an_old_connection_that_is_told_something_else(story, told):
    story.take_over("s", "n3", told=told)
    assert story.rules() == ["C2"]


def test_an_old_connection_that_was_told_something_else_before(story):
    story.add("told", "s", conn=1, code=0x89)
    story.connect("s", "n3", present=True), story.close("s", "lost", conn=1)
    assert story.rules() == []


def test_an_old_connection_that_is_just_closed(story):
    story.connect("s", "n3", present=True), story.close("s", "lost", conn=1)
    assert story.rules() == ["C2"]


def test_an_old_connection_that_nobody_ends(story):
    story.connect("s", "n3", present=True)
    assert story.rules() == ["C2"]


def test_an_old_connection_that_is_told_too_late(story):
    story.connect("s", "n3", present=True), story.wait(2), story.close("s", conn=1, told=0x8E)
    assert story.rules() == ["C2"]


def test_an_old_connection_that_its_client_ends_or_that_is_not_of_5_0(story):
    story.connect("s", "n3", present=True), story.close("s", "abort", conn=1)
    story.connect("old", "n1", version=4), story.connect("old", "n2", present=True, version=4)
    story.close("old", "lost", conn=1)
    assert story.rules() == []


def test_what_an_old_connection_publishes_and_nobody_gets(story):
    story.subscribe("s", "c/#")
    story.take_over("p", "n3"), story.publish("p/1", qos=0, conn=1)
    assert story.rules() == []


def test_what_is_sent_on_both_connections_may_have_come_by_the_new_one(story):
    story.subscribe("s", "c/#")
    story.take_over("p", "n3")
    story.publish("p/1", conn=1, acked=False), story.publish("p/1", dup=True), story.deliver("s", "p/1")
    assert story.rules() == []


def test_an_old_connection_that_a_fault_keeps_from_being_told(story):
    story.fault("cut", ["n2"], for_s=3)
    story.connect("s", "n3", present=True), story.wait(2), story.close("s", "lost", conn=1)
    assert story.rules() == []


def test_what_was_on_its_way_to_the_old_connection_is_right(story):
    story.subscribe("s", "c/#")
    story.publish("p/1")
    story.add("connect", "s", conn=2, node="n3", op=99, clean=False, expiry_s=100000, version=5, will=None)
    story.add("connack", "s", conn=2, op=99, present=True, code=0)
    story.conns["s"] = 2
    story.stray("s", "p/1", conn=1), story.deliver("s", "p/1"), story.close("s", conn=1, told=0x8E)
    assert story.rules() == []


def test_a_refused_connect_takes_nothing_over(story):
    story.connect("s", "n3", code=0x88), story.close("s"), story.ping("s", conn=1)
    assert story.rules() == []


def test_of_two_that_connect_at_once_either_may_stay_but_not_both(story):
    for conn in (1, 2):
        story.add("connect", "d", conn=conn, node="n1", op=90 + conn, clean=False, expiry_s=100000, version=5,
                  will=None)
    for conn in (1, 2):
        story.add("connack", "d", conn=conn, op=90 + conn, present=conn == 2, code=0)
    story.conns["d"] = 2
    both = story.fork()
    story.close("d", conn=2, told=0x8E), story.ping("d", conn=1)
    assert story.rules() == []
    both.ping("d", conn=1), both.ping("d", conn=2)
    assert both.rules() == ["C2"]


# ---- C3 ----


def test_a_session_that_is_not_there_on_another_node(story):
    story.subscribe("s", "c/#")
    story.move("s", "n3", present=False)
    assert story.rules() == ["C3"]


def test_a_session_that_is_not_there_when_it_is_taken_over():
    for expiry_s in (10, 100_000):
        story = Story()
        story.connect("s", "n2", expiry_s=expiry_s), story.wait(20)
        story.take_over("s", "n3", present=False, expiry_s=expiry_s)
        assert story.rules() == ["C3"]


def test_what_waited_for_a_session_that_is_gone_is_not_missed_too(story):
    story.subscribe("s", "c/#"), story.publish("p/1"), story.unsubscribe("s", "c/#")
    story.move("s", "n3", present=False)
    assert story.rules() == ["C3"]


def test_a_session_that_a_clean_start_had_ended(story):
    story.move("s", "n3", present=True, clean=True)
    assert story.rules() == ["C3"]


def test_after_a_clean_start_without_answer_a_session_may_be_there_or_not(story):
    for present in (True, False):
        one = story.fork()
        one.close("s"), one.connect("s", "n1", clean=True, code=None), one.close("s")
        one.connect("s", "n3", present=present)
        assert one.rules() == []


def test_after_a_clean_start_without_answer_its_subscriptions_may_be_gone(story):
    story.subscribe("s", "c/#")
    story.fault("stop", ["n1"])
    story.close("s"), story.connect("s", "n1", clean=True, code=None), story.close("s")
    story.connect("s", "n3", present=True), story.subscribe("s", "c/+")
    story.wait(3), story.over()
    story.publish("p/1")
    assert story.rules() == []


def test_a_first_connect_without_answer_may_have_made_a_session(story):
    story.connect("x", code=None), story.close("x"), story.connect("x", present=True)
    assert story.rules() == []


@pytest.mark.parametrize("present", [True, False])
def test_a_clean_session_that_is_taken_over_may_go_on_or_not(story, present):
    story.connect("x", clean=True, expiry_s=0), story.take_over("x", "n3", present=present, expiry_s=0)
    assert story.rules() == []


def test_a_refused_connect_changes_nothing(story):
    story.close("s"), story.connect("s", "n1", code=0x88), story.close("s")
    story.connect("s", "n2", present=False)
    assert story.rules() == ["C3"]


def test_subscriptions_that_did_not_follow(story):
    story.subscribe("s", "c/#"), story.publish("p/1"), story.deliver("s", "p/1")
    story.move("s", "n3"), story.publish("p/2")
    assert story.rules() == ["C3"]


def test_a_qos_2_packet_id_that_was_forgotten_on_the_way(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", qos=2), story.publish("p/2", qos=2)
    story.deliver("s", "p/1", qos=2, pid=7)
    story.move("s", "n3")
    story.deliver("s", "p/2", qos=2, pid=7, new=False), story.deliver("s", "p/2", qos=2, pid=8)
    assert story.rules() == ["C3"]


def test_a_message_in_flight_that_is_not_sent_again(story):
    story.subscribe("s", "c/#")
    story.publish("p/1"), story.deliver("s", "p/1", answered=False)
    story.move("s", "n3")
    assert story.rules() == ["C3"]


def test_a_message_in_flight_of_a_client_that_does_not_come_back_or_whose_session_ended(story):
    story.subscribe("s", "c/#")
    story.publish("p/1"), story.deliver("s", "p/1", answered=False)
    other = story.fork()
    story.move("s", "n3"), story.close("s")
    other.move("s", "n3", clean=True, present=False)
    assert story.rules() == other.rules() == []


def test_what_came_before_it_was_acknowledged_may_be_lost_with_a_node(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", acked=False), story.deliver("s", "p/1", answered=False)
    story.fault("kill", ["n1"], for_s=1)
    story.move("s", "n3")
    assert story.rules() == []


@pytest.mark.parametrize("subscribed, rules", [(False, []), (True, ["C3"])])
def test_what_came_early_and_was_lost_with_a_node_is_owed_to_who_is_subscribed_when_it_is_sent_again(story, subscribed,
                                                                                                 rules):
    story.subscribe("s", "c/#")
    story.publish("p/1", acked=False), story.deliver("s", "p/1", answered=False)
    story.fault("kill", ["n1"], for_s=1)
    story.move("s", "n3")
    if not subscribed:
        story.unsubscribe("s", "c/#")
    story.wait(20), story.publish("p/1", dup=True)
    assert story.rules() == rules


def test_a_subscription_that_is_back(story):
    story.subscribe("s", "c/#"), story.unsubscribe("s", "c/#")
    story.move("s", "n3"), story.publish("p/1"), story.deliver("s", "p/1")
    assert story.rules() == ["C3"]


@pytest.mark.parametrize("fault, after_s, rules", [(True, 2, []), (False, 2, ["C3"]), (False, 0.5, [])])
def test_what_is_held_up_goes_to_who_is_subscribed_then(story, fault, after_s, rules):
    if fault:
        story.fault("kill", ["n2"])
    story.publish("p/1")
    if fault:
        story.over()
    story.wait(after_s), story.subscribe("s", "c/#"), story.deliver("s", "p/1")
    assert story.rules() == rules


@pytest.mark.parametrize("fault, rules", [(True, []), (False, ["C5"])])
def test_a_copy_that_the_brokers_make_has_no_order_when_the_first_may_have_expired(story, fault, rules):
    story.subscribe("s", "c/#")
    if fault:
        story.fault("kill", ["n2"])
    story.publish("p/1", expiry_s=2), story.publish("p/2")
    if fault:
        story.over()
    story.wait(3 if fault else 1), story.deliver("s", "p/2"), story.deliver("s", "p/1")
    assert story.rules() == rules


def test_an_unsubscribe_without_answer_may_have_happened_or_not(story):
    story.subscribe("s", "c/#"), story.unsubscribe("s", "c/#", answered=False)
    story.publish("p/1"), story.publish("p/2"), story.deliver("s", "p/2")
    assert story.rules() == []


# ---- C4 ----


@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_was_lost_where_others_had_come(story, qos):
    story.subscribe("s", "c/#")
    story.publish("p/1"), story.deliver("s", "p/1")
    story.publish("p/2", qos=qos)
    assert story.rules() == ["C4"]


def test_a_message_that_was_lost_while_its_client_was_away(story):
    story.subscribe("s", "c/#")
    story.close("s"), story.publish("p/1"), story.connect("s", "n2", present=True)
    assert story.rules() == ["C4"]


def test_a_message_without_acknowledgement_or_with_a_refusal_may_be_lost_or_not(story):
    story.subscribe("s", "c/#")
    for number, fields in enumerate([{"acked": False}, {"code": 0x97}, {"qos": 0}]):
        story.publish(f"p/{2 * number}", **fields), story.publish(f"p/{2 * number + 1}", **fields)
        story.deliver("s", f"p/{2 * number}", qos=fields.get("qos", 1))
    assert story.rules() == []


def test_a_message_that_was_lost_where_others_had_come_since_its_session_moved(story):
    story.subscribe("s", "c/#"), story.move("s", "n3")
    story.publish("p/1"), story.deliver("s", "p/1"), story.publish("p/2")
    assert story.rules() == ["C4"]


def test_nothing_is_said_of_a_client_that_is_not_there_at_the_end(story):
    story.subscribe("s", "c/#"), story.publish("p/1"), story.close("s")
    assert story.rules() == []


def test_nothing_is_said_of_a_history_that_has_no_end(story):
    story.subscribe("s", "c/#"), story.publish("p/1")
    assert rules(story.events) == []


def test_a_qos_2_message_that_another_node_sends_again(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", qos=2), story.deliver("s", "p/1", qos=2)
    story.move("s", "n3"), story.deliver("s", "p/1", qos=2)
    assert story.rules() == ["C4"]


def test_a_qos_2_message_that_comes_again_with_its_packet_id_is_right(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", qos=2), story.deliver("s", "p/1", qos=2, pid=7)
    story.move("s", "n3"), story.deliver("s", "p/1", qos=2, pid=7, dup=True, new=False)
    assert story.rules() == []


def test_a_qos_2_message_without_acknowledgement_that_is_published_twice(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", qos=2, acked=False), story.move("p", "n3"), story.publish("p/1", qos=2, dup=True)
    story.deliver("s", "p/1", qos=2), story.deliver("s", "p/1", qos=2)
    assert story.rules() == ["C4"]


def test_a_retained_message_comes_once_for_each_subscribe_and_once_more_alive(story):
    story.publish("p/1", "r/a", qos=2, retain=True)
    story.subscribe("s", "r/#"), story.subscribe("s", "r/#")
    story.deliver("s", "p/1", qos=2, retain=True), story.deliver("s", "p/1", qos=2, retain=True)
    one = story.fork()
    assert story.rules() == []
    one.deliver("s", "p/1", qos=2, retain=True)
    assert one.rules() == ["C4"]


def test_a_subscription_that_was_asked_for_twice_is_one(story):
    story.subscribe("s", "c/#"), story.subscribe("s", "c/#")
    story.publish("p/1", qos=2), story.deliver("s", "p/1", qos=2), story.deliver("s", "p/1", qos=2)
    assert story.rules() == ["C4"]


def test_a_new_session_may_get_what_the_old_one_had(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", qos=2, acked=False), story.deliver("s", "p/1", qos=2)
    story.move("s", "n3", clean=True, present=False), story.subscribe("s", "c/#")
    story.publish("p/1", qos=2, dup=True), story.deliver("s", "p/1", qos=2)
    assert story.rules() == []


@pytest.mark.parametrize("fault", [True, False])
@pytest.mark.parametrize("durable", [True, False])
def test_near_a_fault_qos_2_comes_once_to_durable_sessions(story, durable, fault):
    story.connect("x", "n3", clean=not durable, expiry_s=100_000 if durable else 0), story.subscribe("x", "c/#")
    story.publish("p/1", qos=2, acked=False), story.deliver("x", "p/1", qos=2)
    if fault:
        story.fault("kill", ["n1"], for_s=1)
    story.move("p", "n2"), story.publish("p/1", qos=2, dup=True), story.deliver("x", "p/1", qos=2)
    assert story.rules() == ([] if fault and not durable else ["C4"])


def test_a_message_that_nobody_sent_or_on_another_topic(story):
    story.subscribe("s", "c/#"), story.publish("p/1")
    story.deliver("s", "p/1"), story.deliver("s", "p/9", topic="c/p")
    assert story.rules() == ["C4"]
    other = Story()
    other.connect("p"), other.connect("s"), other.subscribe("s", "c/#"), other.publish("p/1", acked=False)
    other.deliver("s", "p/1", topic="c/x")
    assert other.rules() == ["C4"]


# ---- C5 ----


def two_in_the_wrong_order(story, qos=1, resent=True, moved=True):
    """p/1 has no answer, p moves and publishes p/2."""
    story.subscribe("s", "c/#")
    story.publish("p/1", qos=qos, acked=False)
    if moved:
        story.move("p", "n3")
    if resent:
        story.publish("p/1", qos=qos, dup=True)
    story.publish("p/2", qos=qos)
    story.deliver("s", "p/2", qos=qos), story.deliver("s", "p/1", qos=qos)
    return story.rules()


@pytest.mark.parametrize("qos", [1, 2])
def test_messages_that_overtake_each_other_while_their_publisher_moves(story, qos):
    assert two_in_the_wrong_order(story, qos) == ["C5"]


def test_messages_of_qos_0_on_one_connection(story):
    assert two_in_the_wrong_order(story, qos=0, resent=False, moved=False) == ["C5"]


def test_what_was_given_up_on_another_connection_has_no_order(story):
    other = story.fork()
    assert two_in_the_wrong_order(story, resent=False) == []
    assert two_in_the_wrong_order(other, qos=0, resent=False) == []


def test_what_was_refused_has_no_order(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", code=0x97), story.publish("p/2"), story.deliver("s", "p/2"), story.deliver("s", "p/1")
    assert story.rules() == []


def test_an_acknowledged_message_comes_before_what_is_sent_later_elsewhere(story):
    story.subscribe("s", "c/#")
    story.publish("p/1"), story.move("p", "n3"), story.publish("p/2")
    story.deliver("s", "p/2"), story.deliver("s", "p/1")
    assert story.rules() == ["C5"]


@pytest.mark.parametrize("waited_s, rules", [(3, []), (1, ["C5"])])
def test_what_comes_after_the_first_copy_may_have_expired_has_no_order(story, waited_s, rules):
    story.subscribe("s", "c/#"), story.publish("p/1", expiry_s=2, acked=False)
    story.publish("p/2", acked=False), story.publish("p/1", expiry_s=2, dup=True), story.publish("p/2", dup=True)
    story.wait(waited_s), story.deliver("s", "p/2"), story.deliver("s", "p/1")
    assert story.rules() == rules


@pytest.mark.parametrize("durable, fault, rules", [
    (False, True, []), (True, True, ["C5"]), (False, False, ["C5"])])
def test_what_a_link_may_have_dropped_for_a_clean_session_has_no_order(durable, fault, rules):
    story = Story()
    story.connect("s", "n2", expiry_s=100_000 if durable else 0, clean=not durable), story.connect("p", "n1")
    story.subscribe("s", "c/#")
    if fault:
        story.fault("cut", ["n1"])
    story.publish("p/1", acked=False), story.publish("p/2", acked=False)
    story.publish("p/1", dup=True), story.publish("p/2", dup=True)
    story.deliver("s", "p/2"), story.deliver("s", "p/1"), story.deliver("s", "p/2")
    assert story.rules() == rules


def test_a_copy_that_comes_again_is_not_out_of_order(story):
    story.subscribe("s", "c/#")
    story.publish("p/1"), story.publish("p/2")
    for id in ("p/1", "p/2", "p/1", "p/2"):
        story.deliver("s", id)
    assert story.rules() == []


def test_other_publishers_topics_and_qos_have_no_order(story):
    story.connect("q", "n3"), story.subscribe("s", "c/#")
    story.publish("p/1"), story.publish("p/2", qos=2), story.publish("p/3", "c/other"), story.publish("q/4")
    for id, qos in [("q/4", 1), ("p/3", 1), ("p/2", 2), ("p/1", 1)]:
        story.deliver("s", id, qos=qos)
    assert story.rules() == []


# ---- C6 ----


def test_a_node_that_does_not_show_what_was_acknowledged(story):
    story.publish("p/1", "r/a", retain=True), story.publish("p/2", "r/a", retain=True)
    for value in ("p/1", None):
        one = story.fork()
        one.look("n3", a=value)
        assert one.rules() == ["C6"]


def test_a_look_without_an_answer_and_one_that_shows_what_nobody_sent(story):
    story.publish("p/1", "r/a", retain=True)
    story.add("look", "eye", node="n3", op=story.op())
    story.look("n2", a="p/9"), story.end()
    assert [violation.rule for violation in checker.check(story.events)] == ["C6"]


def test_a_cleared_one_that_is_still_shown(story):
    story.publish("p/1", "r/a", retain=True), story.publish("p/2", "r/a", retain=True, clear=True)
    story.look("n3", a="p/1")
    assert story.rules() == ["C6"]


def test_what_has_no_answer_may_be_shown_or_not(story):
    story.publish("p/1", "r/a", retain=True), story.publish("p/2", "r/a", retain=True, acked=False)
    story.look("n3", a="p/1"), story.look("n2", a="p/2")
    story.publish("p/3", "r/a", retain=True, clear=True, acked=False)
    story.look("n3"), story.look("n2", a="p/2")
    assert story.rules() == []


def test_a_look_that_began_before_the_acknowledgement_may_show_either(story):
    story.publish("p/1", "r/a", retain=True)
    story.add("look", "eye", node="n3", op=99)
    story.publish("p/2", "r/a", retain=True)
    story.add("seen", "eye", op=99, values={"r/a": "p/1"})
    assert story.rules() == []


def test_an_older_one_that_was_sent_again_may_be_stored_last(story):
    story.publish("p/1", "r/a", retain=True, acked=False), story.move("p", "n3")
    story.publish("p/2", "r/a", retain=True), story.publish("p/1", "r/a", retain=True, dup=True)
    story.look("n2", a="p/1")
    assert story.rules() == []


def test_a_node_that_is_cut_off_may_show_what_is_old(story):
    story.publish("p/1", "r/a", retain=True)
    story.fault("cut", ["n3"], ["n3"])
    story.publish("p/2", "r/a", retain=True), story.look("n3", a="p/1")
    story.over()
    assert story.rules() == []


def test_nodes_that_differ_once_it_is_quiet(story):
    story.publish("p/1", "r/a", retain=True), story.publish("p/2", "r/a", retain=True, acked=False)
    story.end()
    story.events.pop()
    story.look("n1", a="p/2"), story.look("n2", a="p/1"), story.look("n3", a="p/2")
    story.add("end")
    assert story.rules() == ["C6"]


def back(story, retain=True, dup=False):
    story.subscribe("s", "r/#", qos=1)
    story.publish("p/1", "r/a", retain=True), story.publish("p/2", "r/a", retain=True)
    story.deliver("s", "p/1"), story.deliver("s", "p/2")
    story.deliver("s", "p/1", retain=retain, dup=dup)
    return story.rules()


def test_a_newer_one_and_then_an_older(story):
    assert back(story) == ["C6"]


def test_a_copy_that_comes_again_is_not_going_back(story):
    assert back(story, retain=False) == []


# ---- C7 ----


def willing(end="abort", times=1, delay_s=0, back_s=None, fault=False, code=0, qos=2, clean=False):
    story = Story()
    story.connect("s", "n2"), story.subscribe("s", "w/#")
    story.connect("w", "n1", will=story.will("w", qos=qos, delay_s=delay_s), code=code, clean=clean,
                  expiry_s=0 if clean else 100_000)
    if fault:
        story.fault("power", ["n1"])
    story.close("w", end)
    if back_s is not None:
        story.wait(back_s), story.connect("w", "n3", present=True)
    if fault:
        story.wait(2), story.over()
    for _ in range(times):
        story.deliver("s", "w/1", qos=qos)
    return story.rules()


@pytest.mark.parametrize("end", ["abort", "lost", "disconnect_with_will"])
@pytest.mark.parametrize("clean", [True, False])
def test_a_will_comes_once(end, clean):
    assert willing(end, clean=clean) == willing(end, fault=True, clean=clean) == []


@pytest.mark.parametrize("clean", [True, False])
def test_a_will_that_does_not_come(clean):
    assert willing(times=0, clean=clean) == ["C7"]
    assert willing("lost", times=0, fault=True, clean=clean) == ["C7"]


def test_a_will_that_two_homes_publish():
    assert willing(times=2) == willing("lost", times=2, fault=True) == ["C7"]
    assert willing(times=2, qos=1) == []


def test_a_will_that_was_taken_back():
    assert willing("disconnect", times=1) == ["C7"] and willing("disconnect", times=0) == []


def test_a_disconnect_near_a_fault_may_not_have_been_read():
    assert willing("disconnect", times=1, fault=True) == []


def test_a_delayed_will_of_a_client_that_is_back_in_time_or_not():
    assert willing(delay_s=10, back_s=2, times=1) == ["C7"] and willing(delay_s=10, back_s=2, times=0) == []
    assert willing(delay_s=10, back_s=11, times=1) == willing(delay_s=10, back_s=11, times=0) == []
    assert willing(delay_s=10, back_s=30, times=0) == willing(delay_s=10, times=0) == ["C7"]


def test_a_will_without_delay_comes_though_its_client_is_back():
    assert willing(back_s=1, times=1) == [] and willing(back_s=1, times=0) == ["C7"]


def test_a_will_that_does_not_come_long_before_a_fault():
    story = Story()
    story.connect("s", "n2"), story.subscribe("s", "w/#"), story.connect("w", will=story.will("w")), story.close("w")
    story.wait(60), story.fault("kill", ["n1"])
    assert story.rules() == ["C7"]


@pytest.mark.parametrize("delay_s, times, found", [(0, 1, []), (0, 0, ["C7"]), (10, 0, []), (10, 1, ["C7"])])
def test_a_will_of_a_connection_that_is_taken_over(delay_s, times, found):
    story = Story()
    story.connect("s", "n2"), story.subscribe("s", "w/#")
    story.connect("w", "n1", will=story.will("w", delay_s=delay_s))
    other = story.fork()
    story.take_over("w", "n3")
    other.connect("w", "n3", present=True), other.close("w", told=0x8E, conn=1)  # read in the other order
    for one in (story, other):
        for _ in range(times):
            one.deliver("s", "w/1", qos=2)
        assert one.rules() == found


def test_a_delay_that_began_before_the_client_noticed():
    story = Story()
    story.connect("s", "n2"), story.subscribe("s", "w/#")
    story.connect("w", "n1", will=story.will("w", delay_s=5)), story.wait(20)
    story.close("w", told=0x8D), story.connect("w", "n3", present=True), story.deliver("s", "w/1", qos=2)
    assert story.rules() == []


def test_a_will_that_need_not_have_come_yet_or_at_all():
    assert willing(times=0, qos=0) == []
    assert willing(delay_s=50, times=0) == []
    story = Story()
    story.connect("s", "n2"), story.subscribe("s", "w/#"), story.connect("w", will=story.will("w"))
    story.close("w"), story.close("s")
    assert story.rules() == []


def test_a_will_of_a_connect_without_answer_may_come_or_not():
    assert willing(code=None, times=1) == willing(code=None, times=0) == []


# ---- C8 ----


@pytest.fixture
def crew():
    """A share of two durable members on two nodes."""
    made = Story()
    made.connect("p", "n1")
    for member, node in [("m", "n1"), ("o", "n2")]:
        made.connect(member, node), made.subscribe(member, "$share/g/c/#")
    return made


@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_no_member_gets(crew, qos):
    crew.publish("p/1", qos=qos)
    assert crew.rules() == ["C8"]


@pytest.mark.parametrize("qos", [0, 2])
def test_a_message_that_two_nodes_give_to_a_member_each(crew, qos):
    crew.publish("p/1", qos=qos), crew.deliver("m", "p/1", qos=qos), crew.deliver("o", "p/1", qos=qos)
    assert crew.rules() == ["C8"]


def test_a_second_member_when_the_first_was_well_and_had_acknowledged(crew):
    crew.publish("p/1"), crew.deliver("m", "p/1")
    crew.wait(5), crew.deliver("o", "p/1")
    assert crew.rules() == ["C8"]


def test_a_second_member_when_the_first_had_gone(crew):
    crew.publish("p/1"), crew.deliver("m", "p/1", answered=False), crew.close("m")
    crew.deliver("o", "p/1"), crew.connect("m", present=True)
    assert crew.rules() == []


@pytest.mark.parametrize("answered, rules", [(False, []), (True, ["C3"])])
def test_a_member_that_came_later_gets_what_one_had_that_has_gone(crew, answered, rules):
    crew.publish("p/1"), crew.deliver("m", "p/1", answered=answered), crew.wait(5), crew.close("m")
    crew.connect("late", "n3", clean=True, expiry_s=0), crew.subscribe("late", "$share/g/c/#")
    crew.deliver("late", "p/1"), crew.connect("m", present=True)
    assert set(rules) <= set(crew.rules()) <= {*rules, "C8"}


def test_a_message_of_a_dead_member_that_no_other_gets(crew):
    crew.connect("clean", "n3", clean=True, expiry_s=0), crew.subscribe("clean", "$share/g/c/#")
    crew.publish("p/1"), crew.deliver("clean", "p/1", answered=False), crew.close("clean")
    assert crew.rules() == ["C8"]


def test_a_qos_2_message_that_was_sent_stays_with_its_session(crew):
    crew.publish("p/1", qos=2), crew.deliver("m", "p/1", qos=2, pid=1, answered=False)
    crew.fault("kill", ["n1"]), crew.close("m", "lost")
    crew.deliver("o", "p/1", qos=2)
    crew.connect("m", "n2", present=True), crew.over()
    assert crew.rules() == ["C8"]


def test_a_qos_2_message_that_its_member_acknowledges_when_it_is_back(crew):
    crew.publish("p/1", qos=2), crew.deliver("m", "p/1", qos=2, pid=1, answered=False)
    crew.move("m", "n2"), crew.deliver("m", "p/1", qos=2, pid=1, dup=True, new=False)
    assert crew.rules() == []


def test_near_a_fault_a_second_member_may_get_what_the_first_had(crew):
    crew.publish("p/1"), crew.deliver("m", "p/1"), crew.wait(5)
    crew.fault("cut", ["n1"], for_s=1), crew.deliver("o", "p/1")
    assert crew.rules() == []


def test_near_a_fault_a_qos_2_message_of_a_clean_member_may_come_to_another(crew):
    crew.connect("clean", "n3", clean=True, expiry_s=0), crew.subscribe("clean", "$share/g/c/#")
    crew.publish("p/1", qos=2), crew.deliver("clean", "p/1", qos=2)
    calm = crew.fork()
    crew.fault("kill", ["n3"], for_s=1), crew.deliver("m", "p/1", qos=2)
    calm.deliver("m", "p/1", qos=2)
    assert crew.rules() == [] and calm.rules() == ["C8"]


def test_a_qos_2_message_may_be_lost_with_the_session_that_it_was_sent_to(crew):
    crew.connect("clean", "n3", clean=True, expiry_s=0), crew.subscribe("clean", "$share/g/c/#")
    other = crew.fork()
    crew.publish("p/1", qos=2), crew.close("clean")
    other.publish("p/1", qos=1), other.close("clean")
    assert crew.rules() == [] and other.rules() == ["C8"]


def test_a_qos_2_message_may_be_lost_with_a_node_of_which_nobody_has_noticed_that_it_is_gone(crew):
    crew.connect("clean", "n3", clean=True, expiry_s=0), crew.subscribe("clean", "$share/g/c/#")
    calm = crew.fork()
    crew.fault("power", ["n3"])
    for each in crew, calm:
        each.close("clean", "abort"), each.wait(0.5), each.publish("p/1", qos=2)
    crew.wait(3), crew.over()
    assert crew.rules() == [] and calm.rules() == ["C8"]


@pytest.mark.parametrize("what, target, rules", [("broker.kill", "n3", []), ("broker.kill", "n2", ["C8"]),
                                                 ("broker.stop", "n3", ["C8"])])
def test_what_a_node_had_taken_for_a_clean_member_dies_with_it(crew, what, target, rules):
    crew.connect("clean", "n3", clean=True, expiry_s=0), crew.subscribe("clean", "$share/g/c/#")
    crew.publish("p/1")
    crew.fault(what, [target]), crew.close("clean", "lost"), crew.wait(3), crew.over()
    assert crew.rules() == rules


def test_near_a_fault_qos_0_comes_to_one_member_too(crew):
    crew.connect("clean", "n3", clean=True, expiry_s=0), crew.subscribe("clean", "$share/g/c/#")
    crew.fault("kill", ["n1"], for_s=1)
    crew.publish("p/1", qos=0), crew.deliver("m", "p/1", qos=0), crew.deliver("clean", "p/1", qos=0)
    assert crew.rules() == ["C8"]


def test_a_share_is_owed_nothing_that_was_not_acknowledged_or_that_expires(crew):
    crew.connect("clean", "n3", clean=True, expiry_s=0), crew.subscribe("clean", "$share/g/c/#")
    crew.publish("p/1", acked=False), crew.publish("p/2", code=0x97), crew.publish("p/3", qos=0)
    crew.publish("p/4", expiry_s=1)
    assert crew.rules() == []


def test_a_share_whose_members_have_left_is_owed_nothing(crew):
    crew.unsubscribe("m", "$share/g/c/#"), crew.unsubscribe("o", "$share/g/c/#")
    crew.publish("p/1")
    assert crew.rules() == []


def test_what_comes_by_another_subscription_says_nothing_about_a_share(crew):
    crew.subscribe("m", "c/p")
    crew.publish("p/1", qos=2), crew.deliver("m", "p/1", qos=2), crew.deliver("o", "p/1", qos=2)
    assert crew.rules() == []


# ---- C9 ----


def test_a_message_that_waited_longer_than_it_may(story):
    story.subscribe("s", "c/#"), story.close("s")
    story.publish("p/1", expiry_s=5), story.wait(20)
    story.connect("s", "n3", present=True), story.deliver("s", "p/1")
    assert story.rules() == ["C9"]


@pytest.mark.parametrize("acknowledged_after_s, rules", [(0, ["C9"]), (8, []), (None, [])])
def test_a_message_that_its_broker_had_not_read(story, acknowledged_after_s, rules):
    story.subscribe("s", "c/#"), story.close("s")
    story.publish("p/1", expiry_s=5, acked=acknowledged_after_s == 0)
    if acknowledged_after_s:
        story.wait(acknowledged_after_s), story.publish("p/2")
        story.add("acked", "p", conn=story.conns["p"], op=0, id="p/1", code=0)
    story.wait(12 - (acknowledged_after_s or 0))
    story.connect("s", "n3", present=True), story.deliver("s", "p/1")
    if acknowledged_after_s:
        story.deliver("s", "p/2")
    assert story.rules() == rules


def test_a_message_that_was_being_sent_to_a_client_which_was_gone(story):
    story.subscribe("s", "c/#")
    calm, at_once = story.fork(), story.fork()
    story.fault("cut", ["n2"])
    for each, after_s, expected in [(at_once, 0, []), (calm, 2, ["C9"]), (story, 2, [])]:
        each.close("s"), each.wait(after_s), each.publish("p/1", expiry_s=5), each.wait(20)
        each.connect("s", "n3", present=True)
        other = each.fork()
        each.deliver("s", "p/1", dup=True), other.deliver("s", "p/1")
        assert (each.rules(), other.rules()) == (expected, ["C9"])


@pytest.mark.parametrize("asks_after_s, rules", [(1, []), (15, ["C9"])])
def test_a_message_that_was_being_sent_to_a_client_which_was_let_in_late(story, asks_after_s, rules):
    story.subscribe("s", "c/#"), story.close("s"), story.wait(3)
    story.publish("p/1", expiry_s=5), story.wait(asks_after_s)
    op = story.op()
    story.conns["s"] += 1
    story.add("connect", "s", conn=2, node="n3", op=op, clean=False, expiry_s=100_000, version=5, will=None)
    story.wait(20), story.add("connack", "s", conn=2, op=op, present=True, code=0), story.close("s", told=0x89)
    story.connect("s", "n2", present=True), story.deliver("s", "p/1", dup=True)
    assert [rule for rule in story.rules() if rule == "C9"] == rules


def test_a_message_that_may_have_expired_is_not_owed_and_one_that_cannot_is(story):
    story.subscribe("s", "c/#")
    story.publish("p/1"), story.deliver("s", "p/1")
    story.publish("p/2", expiry_s=5)
    one = story.fork()
    assert story.rules() == []
    one.publish("p/3", expiry_s=1000)
    assert one.rules() == ["C4"]


def test_a_retained_message_that_has_expired(story):
    story.publish("p/1", "r/a", retain=True, expiry_s=5), story.wait(20)
    story.look("n3", a="p/1")
    assert story.rules() == ["C9"]


def expiring(away_s, present, fault=False, answered=True):
    story = Story()
    story.connect("s", "n2", expiry_s=10)
    if fault:
        story.fault("power", ["n2"])
    story.close("s", "lost")
    story.wait(away_s)
    if fault:
        story.over()
    if not answered:
        story.connect("s", "n1", expiry_s=10, code=None), story.close("s")
    story.connect("s", "n3", present=present, expiry_s=10)
    return story.rules()


@pytest.mark.parametrize("qos, after_s, rules", [(1, 0, ["C1"]), (2, 0, []), (2, 4, ["C1"])])
def test_an_unsubscribe_may_overtake_what_is_on_its_way_at_qos_2(story, qos, after_s, rules):
    story.subscribe("s", "c/#", qos=2), story.publish("p/1", qos=qos), story.wait(after_s)
    story.unsubscribe("s", "c/#")
    assert story.rules() == rules


@pytest.mark.parametrize("away_s, rules", [(30, []), (1, ["C4"])])
def test_a_session_that_was_made_anew_without_an_answer_owes_nothing(away_s, rules):
    story = Story()
    story.connect("s", "n2", expiry_s=20), story.connect("p", "n1"), story.subscribe("s", "c/#")
    story.close("s", "lost"), story.wait(away_s)
    story.connect("s", "n1", expiry_s=20, code=None), story.close("s")
    story.publish("p/1"), story.connect("s", "n3", present=True, expiry_s=20)
    assert story.rules() == rules


def test_a_session_that_expires_too_early_or_too_late():
    assert expiring(5, False) == expiring(30, True) == ["C9"]
    assert expiring(5, False, fault=True) == ["C9"]
    assert expiring(5, True) == expiring(30, False) == expiring(12, True) == expiring(12, False) == []


def test_a_connection_that_its_client_ends_has_not_ended_before():
    story = Story()
    story.connect("s", "n2", expiry_s=10), story.wait(20)
    story.close("s"), story.connect("s", "n3", present=False, expiry_s=10)
    assert story.rules() == ["C9"]


def test_a_connection_may_have_ended_long_before_its_client_noticed():
    for asked, found in [(False, []), (True, ["C9"])]:
        story = Story()
        story.connect("s", "n2", expiry_s=10), story.wait(20)
        if asked:
            story.ping("s")
        story.close("s", told=0x8D), story.connect("s", "n3", present=False, expiry_s=10)
        assert story.rules() == found


@pytest.mark.parametrize("late_s, found", [(5, ["C3"]), (15, [])])
def test_a_session_may_have_expired_before_the_one_that_takes_it_over_is_let_in(late_s, found):
    story = Story()
    story.connect("s", "n2", expiry_s=10)
    story.take_over("s", "n1", present=False, expiry_s=10, late_s=late_s)
    assert story.rules() == found


def test_when_a_session_began_to_expire_is_not_known_near_a_fault():
    assert expiring(20, True, fault=True) == expiring(30, True, answered=False) == []


# ---- C10 ----


def power_loss(story):
    story.fault("power.all", ["n1", "n2", "n3"], ["n1", "n2", "n3"], all_down=True)
    story.close("s", "lost"), story.close("p", "lost")
    story.wait(5), story.over()


def test_a_message_that_is_lost_with_all_power(story):
    story.subscribe("s", "c/#"), story.publish("p/1"), story.deliver("s", "p/1"), story.publish("p/2")
    power_loss(story)
    story.connect("s", "n3", present=True)
    assert story.rules() == ["C10", "C4"]


def test_a_session_that_is_lost_with_all_power(story):
    power_loss(story)
    story.connect("s", "n3", present=False)
    assert story.rules() == ["C10", "C3"]


def test_a_retained_message_that_is_lost_with_all_power(story):
    story.publish("p/1", "r/a", retain=True)
    power_loss(story)
    story.wait(30), story.look("n2")
    assert story.rules() == ["C10", "C6"]


def test_a_qos_2_message_that_comes_again_after_all_power_was_lost(story):
    story.subscribe("s", "c/#"), story.publish("p/1", qos=2), story.deliver("s", "p/1", qos=2)
    power_loss(story)
    story.connect("s", "n3", present=True), story.deliver("s", "p/1", qos=2)
    assert story.rules() == ["C10", "C4"]


def test_what_is_wrong_without_a_promise_is_not_blamed_on_the_power(story):
    story.subscribe("s", "c/#"), story.publish("p/1", qos=2), story.publish("p/2", qos=2)
    story.deliver("s", "p/1", qos=2, pid=7)
    power_loss(story)
    story.connect("s", "n3", present=True)
    story.deliver("s", "p/2", qos=2, pid=7, new=False), story.deliver("s", "p/2", qos=2, pid=8)
    assert story.rules() == ["C3"]


def test_what_was_lost_before_or_without_acknowledgement_is_not_blamed_on_the_power(story):
    story.subscribe("s", "c/#"), story.publish("p/1"), story.deliver("s", "p/1")
    story.publish("p/2", acked=False)
    power_loss(story)
    story.connect("s", "n2", present=True), story.connect("p", "n1", present=True)
    later = story.fork()
    assert story.rules() == []
    later.publish("p/3")
    assert later.rules() == ["C4"]


# ---- C11 ----


@pytest.fixture
def minority(story):
    """s has a subscription, and n1 has been alone for a while."""
    story.subscribe("s", "c/#")
    story.fault("cut", ["n1"], ["n1"])
    story.wait(5)
    return story


def test_a_durable_session_that_a_minority_accepts(minority):
    minority.connect("x", "n1")
    minority.over()
    assert minority.rules() == ["C11"]


def test_a_message_for_a_durable_session_that_a_minority_acknowledges(minority):
    minority.publish("p/1")
    minority.over(), minority.deliver("s", "p/1")
    assert minority.rules() == ["C11"]


def test_a_retained_message_that_a_minority_acknowledges(minority):
    minority.publish("p/1", "r/a", retain=True)
    minority.over()
    assert minority.rules() == ["C11"]


def test_a_durable_subscription_that_a_minority_acknowledges(minority):
    minority.subscribe("p", "x/#")
    minority.over()
    assert minority.rules() == ["C11"]


def test_what_a_minority_refuses_holds_or_does_for_clean_sessions(minority):
    minority.connect("x", "n1", code=0x88), minority.connect("y", "n1", clean=True, expiry_s=0)
    minority.subscribe("y", "o/#", qos=0), minority.publish("y/1", "o/a")
    minority.publish("p/1", acked=False), minority.publish("p/2", code=0x97)
    minority.connect("z", "n3")
    minority.over()
    assert minority.rules() == []


def test_a_minority_may_answer_pings(minority):
    minority.ping("p"), minority.over()
    assert minority.rules() == []


def test_what_a_clean_start_without_answer_may_have_ended_is_not_durable_there(minority):
    minority.close("s"), minority.connect("s", "n2", clean=True, code=None), minority.publish("p/1")
    minority.over()
    assert minority.rules() == []


def test_within_its_lease_a_home_that_is_cut_off_may_go_on(story):
    story.subscribe("s", "c/#")
    story.fault("cut", ["n1"], ["n1"])
    story.wait(1), story.publish("p/1")
    story.over(), story.deliver("s", "p/1")
    assert story.rules() == []


def test_what_is_acknowledged_after_the_healing_is_right(minority):
    op = minority.op()
    minority.add("publish", "p", conn=1, op=op, id="p/1", topic="c/p", qos=1, retain=False, dup=False, pid=1,
                 clear=False, expiry_s=None)
    minority.over()
    minority.add("acked", "p", conn=1, op=op, id="p/1", code=0)
    minority.topics["p/1"] = "c/p"
    minority.deliver("s", "p/1")
    assert minority.rules() == []


# ---- the rest ----


def test_trouble_is_a_violation(story):
    story.add("trouble", "s", what="PUBACK for nothing")
    assert story.rules() == ["trouble"]


def test_an_operation_that_has_no_answer(story):
    near, gone = story.fork(), story.fork()
    story.subscribe("s", "c/#", answered=False), story.end()
    assert [violation.rule for violation in checker.check(story.events)] == ["answer"]
    near.fault("stop", ["n3"], for_s=1), near.subscribe("s", "c/#", answered=False), near.end()
    gone.subscribe("s", "c/#", answered=False), gone.move("s", "n3"), gone.end()
    assert checker.check(near.events) == checker.check(gone.events) == []


@pytest.mark.parametrize("between_s, wait_s, rules", [
    (30, 16, ["answer"]), (5, 16, []), (5, 46, ["answer"])])
def test_an_answer_may_take_longer_when_one_fault_has_come_upon_another(story, between_s, wait_s, rules):
    story.fault("cut", ["n3"], for_s=1), story.wait(between_s), story.fault("cut", ["n2"], for_s=1)
    story.wait(wait_s), story.subscribe("s", "c/#", answered=False), story.end()
    assert [violation.rule for violation in checker.check(story.events)] == rules


def test_a_slow_machine_gets_the_patience_it_needs(story):
    story.connect("s", "n3", present=True), story.wait(2), story.close("s", conn=1, told=0x8E)
    assert story.rules() == ["C2"] and checker.check(story.events, patience=4.0) == []


def test_every_rule_has_a_meaning_and_says_what_it_cannot_know():
    for rule in checker.ALL:
        if rule not in (checker.trouble,):
            assert "Concludes" in rule.__doc__ and "Cannot know" in rule.__doc__, rule.__name__
    assert {f"C{n}" for n in range(1, 12)} < set(checker.RULES)


def test_a_history_on_disk_is_the_same_and_can_be_read_when_its_last_line_is_half_a_one(tmp_path):
    story, path = busy(), tmp_path / "history.jsonl"
    written = History(path, clock=lambda: 0.0)
    for event in story.events:
        written.add(event.kind, event.who, **{k: v for k, v in event.__dict__.items()
                                             if k not in ("n", "t", "kind", "who")})
    with open(path, "a", encoding="utf-8") as out:
        out.write('{"n": 99, "t"')
    again = History.load(path)
    assert [repr(event) for event in again.events] == [repr(event) for event in written.events]
    story.save(path)
    assert checker.check(History.load(path).events) == []


def test_operations_have_a_beginning_an_end_and_an_answer(story):
    story.publish("p/1"), story.publish("p/2", acked=False)
    one, other = operations(story.events)[-2:]
    assert one.start < one.end < other.start and one.answer.code == 0 and other.answer is None


def test_what_a_violation_is_about_is_shown(story):
    story.subscribe("s", "c/#"), story.publish("p/1"), story.deliver("s", "p/1")
    story.fault("kill", ["n3"], for_s=1)
    story.publish("p/2"), story.publish("p/3"), story.deliver("s", "p/3")
    violation = checker.check(story.end().events)[0]
    shown = "\n".join(checker.explain(story.events, violation))
    assert "p/2" in shown and "p/3" not in shown and "quiet" in shown


@pytest.mark.parametrize("filter, topic, yes", [
    ("a/b", "a/b", True), ("a/b", "a/c", False), ("a/+", "a/b", True), ("a/+", "a/b/c", False), ("a/b/c", "a/b", False),
    ("a/#", "a/b/c", True), ("a/#", "a", True), ("#", "a/b", True), ("$share/g/a/#", "a/b", True)])
def test_filters_match_as_the_standard_says(filter, topic, yes):
    assert checker.matches(filter, topic) == yes

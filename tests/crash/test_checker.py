# SPDX-License-Identifier: Apache-2.0
"""The checker finds every kind of violation in a history made by hand, and none where none is."""

import pytest

from . import checker
from .client import id_of, payload
from .history import History


class Story(History):
    """A history in few words. Time stands still unless told."""

    def __init__(self):
        self.time = 0.0
        super().__init__(clock=lambda: self.time)
        self.conns = {}

    def connect(self, who, present=False, clean=False, will=None, answered=True):
        self.conns[who] = self.conns.get(who, 0) + 1
        self.add("connect", who, conn=self.conns[who], clean=clean, version=5, will=will)
        if answered:
            self.add("connack", who, conn=self.conns[who], present=present, code=0)

    def closed(self, who, how="lost"):
        if how.startswith("disconnect"):
            self.add("disconnect", who, conn=self.conns[who], with_will=how != "disconnect")
        self.add("closed", who, conn=self.conns[who], how=how)

    def subscribe(self, who, filter, qos=2, answered=True):
        self.add("subscribe", who, filters=[(filter, qos)])
        if answered:
            self.add("suback", who, filters=[filter], granted=[True])

    def unsubscribe(self, who, filter, answered=True):
        self.add("unsubscribe", who, filters=[filter])
        if answered:
            self.add("unsuback", who, filters=[filter])

    def publish(self, id, topic="c/p/a", qos=1, retain=False, clear=False, acked=True, dup=False):
        self.add("publish", id.split("/")[0], id=id, topic=topic, qos=qos, retain=retain, dup=dup, pid=1,
                 clear=clear)
        if acked:
            self.acked(id)

    def completed(self, id):
        self.add("completed", id.split("/")[0], id=id)

    def acked(self, id):
        self.add("acked", id.split("/")[0], id=id, refused=False)

    def deliver(self, who, id, topic="c/p/a", qos=1, retain=False, pid=1, new=True):
        self.add("deliver", who, id=id, topic=topic, qos=qos, retain=retain, dup=False, pid=pid, new=new)

    def kill(self):
        self.add("broker", what="kill", sort="kill", code=None)
        self.add("broker", what="start", sort=None, code=None)

    def cut(self):
        self.add("broker", what="kill", sort="power", code=None)
        self.add("broker", what="cut", sort="cut drop", code=None)
        self.add("broker", what="start", sort=None, code=None)

    def inspect(self, quiet=False, will=None, **values):
        values = {f"c/p/{k}": v for k, v in values.items()}
        self.add("inspect", "inspector", since=self.now(), quiet=quiet,
                 values=values | ({"w/w": will} if will else {}))

    def kinds(self):
        self.add("end")
        return [violation.kind for violation in checker.check(self.events)]


@pytest.fixture
def story():
    """A publisher p and a subscriber s, both connected."""
    made = Story()
    made.connect("p")
    made.connect("s")
    return made


def will(id="w/1", qos=2, delay=0, retain=False):
    return {"id": id, "topic": "w/w", "qos": qos, "retain": retain, "delay": delay}


def test_a_clean_history_has_no_violation(story):
    story.subscribe("s", "c/#")
    story.publish("p/1")
    story.publish("p/2", topic="c/p/b", qos=2, acked=False)
    story.deliver("s", "p/1")
    story.kill()
    story.closed("s"), story.closed("p")
    story.connect("s", present=True), story.connect("p", present=True)
    story.publish("p/2", topic="c/p/b", qos=2, dup=True)
    story.deliver("s", "p/1")  # again: QoS 1
    story.deliver("s", "p/2", topic="c/p/b", qos=2, pid=2)
    story.deliver("s", "p/2", topic="c/p/b", qos=2, pid=2, new=False)
    assert story.kinds() == []


# ---- lost ----


def test_an_acknowledged_message_that_did_not_arrive_is_lost(story):
    story.subscribe("s", "c/+/a")
    story.publish("p/1")
    assert story.kinds() == ["lost"]


def test_a_qos_2_message_is_lost_from_its_pubrec_on(story):
    story.subscribe("s", "c/p/a")
    story.publish("p/1", qos=2)
    assert story.kinds() == ["lost"]


def test_a_message_that_was_not_acknowledged_may_be_lost(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", acked=False)
    assert story.kinds() == []


MEMORY, INTERVAL = "c/p/e", "c/p/g"


@pytest.mark.parametrize("topic", [MEMORY, INTERVAL])
def test_a_message_of_a_weaker_durability_is_lost_while_the_broker_runs(story, topic):
    story.subscribe("s", "c/#")
    story.kill(), story.cut()
    story.connect("s", present=True)
    story.publish("p/1", topic)
    assert story.kinds() == ["lost"]


def test_a_message_of_memory_may_be_lost_when_the_process_ends(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", MEMORY), story.publish("p/2", INTERVAL)
    story.kill()
    assert story.kinds() == ["lost"]


def test_a_message_of_interval_may_be_lost_when_the_power_goes(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", MEMORY), story.publish("p/2", INTERVAL), story.publish("p/3")
    story.cut()
    assert story.kinds() == ["lost"]


def test_order_of_memory_counts_while_the_broker_runs(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", MEMORY), story.publish("p/2", MEMORY)
    story.deliver("s", "p/2", MEMORY), story.deliver("s", "p/1", MEMORY)
    assert story.kinds() == ["order"]


def test_order_of_memory_does_not_count_across_a_kill(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", MEMORY), story.publish("p/2", MEMORY)
    story.kill()
    story.deliver("s", "p/2", MEMORY), story.deliver("s", "p/1", MEMORY)
    assert story.kinds() == []


def test_a_qos_2_message_of_memory_comes_once_while_the_broker_runs(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", "c/p/f", qos=2)
    story.deliver("s", "p/1", "c/p/f", qos=2), story.deliver("s", "p/1", "c/p/f", qos=2, pid=2)
    assert story.kinds() == ["twice"]


def test_a_subscription_that_is_forgotten_shows_in_lost_messages(story):
    story.subscribe("s", "c/#")
    story.kill()
    story.connect("s", present=True)
    story.publish("p/1"), story.publish("p/2")
    assert story.kinds() == ["lost", "lost"]


def test_a_subscription_counts_from_its_suback_on(story):
    story.add("subscribe", "s", filters=[("c/#", 1)])
    story.publish("p/1", acked=False)
    story.add("suback", "s", filters=["c/#"], granted=[True])
    story.acked("p/1")
    assert story.kinds() == []


def test_a_subscription_counts_until_its_unsubscribe(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", acked=False)
    story.add("unsubscribe", "s", filters=["c/#"])
    story.acked("p/1")
    assert story.kinds() == []


def test_what_waited_when_an_unsubscribe_came_is_still_owed(story):
    story.subscribe("s", "c/#")
    story.publish("p/1")
    story.unsubscribe("s", "c/#")
    assert story.kinds() == ["lost"]


def test_a_refused_subscription_is_owed_nothing(story):
    story.add("subscribe", "s", filters=[("c/#", 1)])
    story.add("suback", "s", filters=["c/#"], granted=[False])
    story.publish("p/1")
    assert story.kinds() == []


def test_a_clean_start_gives_up_what_was_waiting(story):
    story.subscribe("s", "c/#")
    story.publish("p/1")
    story.connect("s", clean=True)
    story.subscribe("s", "c/#")
    story.publish("p/2")
    assert story.kinds() == ["lost"]


def test_a_retained_copy_is_not_the_message_that_was_owed(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", retain=True)
    story.deliver("s", "p/1")
    story.subscribe("s", "c/#")
    story.deliver("s", "p/1", retain=True)
    assert story.kinds() == []


# ---- twice, order, content ----


def test_a_qos_2_message_that_comes_twice_is_found(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", qos=2)
    story.deliver("s", "p/1", qos=2, pid=1)
    story.deliver("s", "p/1", qos=2, pid=2)
    assert story.kinds() == ["twice"]


def test_a_qos_2_message_that_was_not_acknowledged_must_not_come_twice_either(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", qos=2, acked=False)
    story.deliver("s", "p/1", qos=2, pid=1)
    story.deliver("s", "p/1", qos=2, pid=1)  # released in between
    assert story.kinds() == ["twice"]


def test_a_qos_2_message_may_come_twice_to_a_qos_1_subscription(story):
    story.subscribe("s", "c/#", qos=1)
    story.publish("p/1", qos=2)
    story.deliver("s", "p/1"), story.deliver("s", "p/1")
    assert story.kinds() == []


def test_a_retained_copy_may_come_once_for_each_subscribe(story):
    story.publish("p/1", qos=2, retain=True)
    for pid in (1, 2):
        story.subscribe("s", "c/#")
        story.deliver("s", "p/1", qos=2, retain=True, pid=pid)
    assert story.kinds() == []
    story.deliver("s", "p/1", qos=2, retain=True, pid=3)
    assert story.kinds() == ["twice"]


def test_a_packet_id_that_is_reused_too_early_is_found(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", qos=2, acked=False), story.publish("p/2", qos=2, acked=False)
    story.deliver("s", "p/1", qos=2, pid=5)
    story.deliver("s", "p/2", qos=2, pid=5, new=False)
    assert story.kinds() == ["id reuse"]


def test_messages_in_the_wrong_order_are_found(story):
    story.subscribe("s", "c/#")
    story.publish("p/1"), story.publish("p/2")
    story.deliver("s", "p/2"), story.deliver("s", "p/1")
    assert story.kinds() == ["order"]


def test_only_the_first_coming_counts_for_the_order(story):
    story.subscribe("s", "c/#")
    story.publish("p/1"), story.publish("p/2")
    for id in ("p/1", "p/2", "p/1", "p/2"):
        story.deliver("s", id)
    assert story.kinds() == []


def test_order_is_promised_within_one_topic_only(story):
    story.subscribe("s", "c/#")
    story.publish("p/1"), story.publish("p/2", topic="c/p/c")
    story.deliver("s", "p/2", topic="c/p/c"), story.deliver("s", "p/1")
    assert story.kinds() == []


def test_a_message_that_is_older_than_the_subscription_may_come_late(story):
    story.publish("p/1", acked=False)
    story.subscribe("s", "c/#")
    story.publish("p/2")
    story.deliver("s", "p/2")
    story.publish("p/1", dup=True)
    story.deliver("s", "p/1")
    assert story.kinds() == []


def test_a_message_on_another_topic_is_found(story):
    story.subscribe("s", "c/#")
    story.publish("p/1", acked=False)
    story.deliver("s", "p/1", topic="c/p/d")
    assert story.kinds() == ["content"]


def test_a_message_that_nobody_sent_is_found(story):
    story.subscribe("s", "c/#")
    story.deliver("s", "p/77")
    assert story.kinds() == ["content"]


def test_a_message_after_the_subscription_has_ended_is_found(story):
    story.subscribe("s", "c/#")
    story.unsubscribe("s", "c/#")
    story.kill()
    story.connect("s", present=True)
    story.publish("p/1")
    story.deliver("s", "p/1")
    assert story.kinds() == ["unwanted"]


def test_a_qos_2_message_can_be_worked_on_until_its_pubcomp(story):
    story.publish("p/1", qos=2)
    story.subscribe("s", "c/#")
    story.completed("p/1")
    story.deliver("s", "p/1", qos=2)
    assert story.kinds() == []


def test_a_qos_2_message_is_not_worked_on_after_its_pubcomp(story):
    story.publish("p/1", qos=2)
    story.completed("p/1")
    story.subscribe("s", "c/#")
    story.deliver("s", "p/1", qos=2)
    assert story.kinds() == ["unwanted"]


def test_a_message_for_a_session_that_a_clean_start_ended_is_found(story):
    story.subscribe("s", "c/#")
    story.connect("s", clean=True)
    story.publish("p/1")
    story.deliver("s", "p/1")
    assert story.kinds() == ["unwanted"]


def test_an_unsubscribe_without_answer_allows_both(story):
    story.subscribe("s", "c/#")
    story.unsubscribe("s", "c/#", answered=False)
    story.publish("p/1"), story.publish("p/2")
    story.deliver("s", "p/1")
    assert story.kinds() == []


# ---- sessions ----


def test_a_session_that_is_gone_is_found(story):
    story.kill()
    story.connect("s", present=False)
    assert story.kinds() == ["session"]


def test_a_session_whose_connack_never_came_may_be_there_or_not():
    for present in (False, True):
        story = Story()
        story.connect("s", answered=False)
        story.connect("s", present=present)
        assert story.kinds() == []


def test_a_session_that_outlives_a_clean_start_is_found(story):
    story.connect("s", clean=True, present=True)
    assert story.kinds() == ["session"]


def test_a_session_after_an_unanswered_clean_start_may_be_there_or_not(story):
    story.connect("s", clean=True, answered=False)
    story.connect("s", present=False)
    assert story.kinds() == []


def test_a_session_nobody_made_is_found():
    story = Story()
    story.connect("new", present=True)
    assert story.kinds() == ["session"]


# ---- shares ----


@pytest.fixture
def crew(story):
    """Members s and t of a share of c/#."""
    story.connect("t")
    for member in "st":
        story.subscribe(member, "$share/crew/c/#")
    return story


def test_a_message_for_a_share_comes_to_one_member(crew):
    crew.publish("p/1", qos=2), crew.publish("p/2", qos=2)
    crew.deliver("s", "p/1", qos=2), crew.deliver("t", "p/2", qos=2)
    assert crew.kinds() == []


def test_a_message_that_comes_to_no_member_of_a_share_is_found(crew):
    crew.publish("p/1")
    assert crew.kinds() == ["share"]


def test_a_qos_2_message_that_comes_to_two_members_of_a_share_is_found(crew):
    crew.publish("p/1", qos=2)
    crew.deliver("s", "p/1", qos=2), crew.deliver("t", "p/1", qos=2)
    assert crew.kinds() == ["share"]


def test_a_qos_1_message_may_come_to_two_members_of_a_share(crew):
    crew.publish("p/1")
    crew.deliver("s", "p/1"), crew.deliver("t", "p/1")
    assert crew.kinds() == []


def test_a_share_that_every_member_has_left_is_owed_nothing(crew):
    for member in "st":
        crew.unsubscribe(member, "$share/crew/c/#")
    crew.publish("p/1")
    assert crew.kinds() == []


def test_order_is_not_promised_within_a_share(crew):
    crew.publish("p/1"), crew.publish("p/2")
    crew.deliver("s", "p/2"), crew.deliver("s", "p/1")
    assert crew.kinds() == []


# ---- retained ----


def test_a_new_subscription_without_the_retained_message_is_found(story):
    story.publish("p/1", retain=True)
    story.subscribe("s", "c/#")
    assert story.kinds() == ["not given"]


def test_a_new_subscription_with_the_retained_message_or_a_later_one_is_right(story):
    story.publish("p/1", retain=True), story.publish("p/2", topic="c/p/c", qos=2, retain=True)
    story.subscribe("s", "c/#")
    story.publish("p/3")
    story.deliver("s", "p/3"), story.deliver("s", "p/2", topic="c/p/c", qos=2, retain=True)
    assert story.kinds() == []


def test_a_subscription_without_suback_need_not_get_the_retained_message(story):
    story.publish("p/1", retain=True)
    story.subscribe("s", "c/#", answered=False)
    assert story.kinds() == []


def test_a_cleared_retained_message_is_not_given(story):
    story.publish("p/1", retain=True), story.publish("p/2", retain=True, clear=True)
    story.subscribe("s", "c/#")
    assert story.kinds() == []


def test_a_retained_message_that_is_gone_is_found(story):
    story.publish("p/1", retain=True)
    story.kill()
    story.inspect()
    assert story.kinds() == ["retained"]


def test_a_retained_message_that_is_too_old_is_found(story):
    story.publish("p/1", retain=True), story.publish("p/2", retain=True)
    story.inspect(a="p/1")
    assert story.kinds() == ["retained"]


def test_a_retained_message_that_was_cleared_is_found(story):
    story.publish("p/1", retain=True), story.publish("p/2", retain=True, clear=True)
    story.inspect(a="p/1")
    assert story.kinds() == ["retained"]


def test_a_later_retained_message_without_acknowledgement_may_be_there_or_not(story):
    story.publish("p/1", retain=True), story.publish("p/2", retain=True, acked=False)
    story.inspect(a="p/1"), story.inspect(a="p/2")
    assert story.kinds() == []


def test_an_older_retained_message_that_was_sent_again_may_be_there(story):
    story.publish("p/1", retain=True, acked=False), story.publish("p/2", retain=True)
    story.publish("p/1", retain=True, dup=True)
    story.inspect(a="p/1")
    assert story.kinds() == []


def test_a_retained_message_that_nobody_sent_is_found(story):
    story.publish("p/1", retain=True)
    story.inspect(a="p/9")
    assert story.kinds() == ["content"]


# ---- wills ----


def willing(end="abort", delay=0, qos=2, times=1, killed=False, back_after=None, answered=True):
    story = Story()
    story.connect("s")
    story.subscribe("s", "w/#")
    story.connect("w", will=will(qos=qos, delay=delay), answered=answered)
    story.closed("w", how=end)
    if killed:
        story.kill()
    if back_after is not None:
        story.time += back_after
        story.connect("w", present=True)
    story.time += 100
    for pid in range(times):
        story.deliver("s", "w/1", topic="w/w", qos=2, pid=pid)
    return story.kinds()


def test_a_will_that_is_published_once_is_right():
    assert willing() == [] and willing("lost", killed=True) == [] and willing("disconnect_with_will") == []


def test_a_will_that_is_not_published_is_found():
    for end in ("abort", "lost", "disconnect_with_will"):
        assert willing(end, times=0) == ["will lost"]
        assert willing(end, times=0, killed=True) == ["will lost"]


def test_a_will_that_is_published_twice_is_found():
    assert willing(times=2) == ["twice"]


def test_a_will_after_a_disconnect_is_found():
    assert willing("disconnect", times=1) == ["will unwanted"]
    assert willing("disconnect", times=0) == []


def test_a_will_after_a_disconnect_that_a_kill_may_have_undone_is_not():
    assert willing("disconnect", times=1, killed=True) == []


def test_a_delayed_will_of_a_client_that_is_back_in_time_is_found():
    assert willing(delay=5, back_after=1, times=1) == ["will unwanted"]
    assert willing(delay=5, back_after=1, times=0) == []


def test_a_delayed_will_of_a_client_that_stays_away_is_owed():
    assert willing(delay=5, times=0) == ["will lost"]
    assert willing(delay=5, back_after=50, times=0) == ["will lost"]
    assert willing(delay=5, back_after=6, times=0) == []  # too close to say


def test_a_delay_begins_when_the_broker_serves_again():
    story = Story()
    story.connect("s")
    story.subscribe("s", "w/#")
    story.connect("w", will=will(delay=5))
    story.closed("w", how="lost")
    story.kill()
    story.time += 50  # it opens its store
    story.connect("s", present=True)
    story.connect("w", present=True)
    story.time += 100
    assert story.kinds() == []


def test_a_will_of_a_connect_without_answer_may_be_published_or_not():
    assert willing(answered=False, times=0) == [] and willing(answered=False, times=1) == []


# ---- the rest ----


def test_trouble_is_a_violation(story):
    story.add("trouble", "s", what="PUBACK for nothing")
    assert story.kinds() == ["trouble"]


@pytest.mark.parametrize("filter, topic, yes", [
    ("a/b", "a/b", True), ("a/b", "a/c", False), ("a/+", "a/b", True), ("a/+", "a/b/c", False),
    ("a/#", "a/b/c", True), ("a/#", "a", True), ("#", "a/b", True), ("+/b", "a/b", True), ("a", "a/b", False),
])
def test_filters_match_as_the_standard_says(filter, topic, yes):
    assert checker.matches(filter, topic) == yes


def test_a_payload_shows_a_wrong_byte_anywhere():
    data = payload("p1/23", 200)
    assert len(data) == 200 and id_of(data) == "p1/23"
    for at in range(len(data)):
        assert id_of(data[:at] + b"\0" + data[at + 1:]) is None


def test_a_history_is_the_same_when_read_back(story, tmp_path):
    story.publish("p/1")
    story.save(tmp_path / "history.jsonl")
    again = History.load(tmp_path / "history.jsonl")
    assert [repr(event) for event in again.events] == [repr(event) for event in story.events]


def test_what_a_violation_is_about_is_shown_with_the_kills_between(story):
    story.subscribe("s", "c/#")
    story.publish("p/1")
    story.kill()
    story.publish("p/2")
    story.add("end")
    violation = checker.check(story.events)[0]
    shown = "\n".join(checker.explain(story.events, violation))
    assert "p/1" in shown and "kill" in shown and "suback" in shown and "p/2" not in shown


def retained_wills(found, quiet=True, ends=("abort", "abort")):
    """Of one client, one with each end; then somebody looks and finds `found`."""
    story = Story()
    for number, end in enumerate(ends, 1):
        story.connect("w", present=number > 1, will=will(id=f"w/{number}", retain=True))
        story.closed("w", how=end)
    story.kill()
    story.inspect(quiet, will=found)
    return story.kinds()


def test_the_last_will_that_was_to_be_retained_is():
    assert retained_wills("w/2") == [] and retained_wills("w/1", ends=("abort", "disconnect")) == []


def test_a_retained_will_that_is_gone_or_too_old_is_found():
    assert "will not retained" in retained_wills(None) and retained_wills("w/1") == ["will not retained"]


def test_a_retained_will_may_be_under_way_when_somebody_looks_before_all_is_quiet():
    assert retained_wills(None, quiet=False) == []

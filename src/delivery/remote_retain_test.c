/* SPDX-License-Identifier: Apache-2.0 */
/* What is in an outbox, and replaces what another node retains. */
#include "delivery/other_node_fixture.h"

static void retain_as(struct node *n, const struct client *publisher, const char *topic,
                      const char *payload)
{
    struct publication p = {.topic = bytes_of_str(topic),
                            .payload = bytes_of_str(payload),
                            .qos = 2,
                            .retain = true,
                            .received_ms = NOW_MS,
                            .publisher = publisher->session->ref};
    assert_non_null(delivery_publish(hub_of(publisher->session), &p, NULL, NULL).ticket);
    node_settle(n);
}

static void retain_there(struct node *n, const struct client *publisher, const char *payload)
{
    retain_as(n, publisher, "b", payload);
}

/* It went there first, and would leave the older value behind. */
static void entry_that_replaces_a_retained_one_goes_there_again_behind_it(void **state)
{
    for (int failed_first = 0; failed_first < 2; failed_first++) {
        struct node *n = *state;
        struct client *publisher = come(n, id_of((uint32_t)failed_first), LONG_S);
        meet(n);
        other.is_home = other.hangs = true;
        n->f->published_count = 0;
        retain_there(n, publisher, "x");
        retain_there(n, publisher, "y");
        retain_there(n, publisher, "z");
        assert_int_equal(other.count, 3);
        if (failed_first)
            ticket_answered(other.hanging[0], RC_CLOSED);
        ticket_answered(other.hanging[1], RC_OK);
        node_settle(n);
        assert_int_equal(n->f->published_count, 0);
        if (!failed_first)
            ticket_answered(other.hanging[0], RC_CLOSED);
        ticket_answered(other.hanging[2], RC_OK);
        other.hangs = false;
        later(n);
        later(n);
        later(n);
        assert_int_equal(other.count, 6);
        assert_string_equal(other.sent[3].payload, "x");
        assert_string_equal(other.sent[4].payload, "y");
        assert_string_equal(other.sent[5].payload, "z");
        assert_int_equal(n->f->published_count, 3);
        part(n);
    }
}

static void entry_that_is_done_before_one_that_it_replaces_ends_behind_it(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.is_home = other.hangs = true;
    retain_there(n, publisher, "x");
    retain_there(n, publisher, "y");
    ticket_answered(other.hanging[1], RC_OK);
    node_settle(n);
    assert_int_equal(n->f->published_count, 0);
    ticket_answered(other.hanging[0], RC_OK);
    node_settle(n);
    assert_int_equal(n->f->published_count, 2);
    later(n);
    assert_int_equal(other.count, 2);
    part(n);
}

/* Both go to that node as a subscriber's and as the home of their topic. */
static void entry_waits_for_an_older_one_that_has_failed_before_its_last_answer(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.is_home = other.hangs = true;
    retain_as(n, publisher, "a", "x");
    assert_int_equal(other.count, 2);
    ticket_answered(other.hanging[0], RC_CLOSED);
    retain_as(n, publisher, "a", "y");
    assert_int_equal(other.count, 2);
    later(n);
    assert_int_equal(other.count, 2);
    ticket_answered(other.hanging[1], RC_OK);
    other.hangs = false;
    later(n);
    later(n);
    assert_int_equal(other.count, 6);
    assert_string_equal(other.sent[2].payload, "x");
    assert_string_equal(other.sent[3].payload, "x");
    assert_string_equal(other.sent[4].payload, "y");
    assert_string_equal(other.sent[5].payload, "y");
    assert_int_equal(n->f->published_count, 2);
    part(n);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RULE(entry_that_replaces_a_retained_one_goes_there_again_behind_it),
        RULE(entry_that_is_done_before_one_that_it_replaces_ends_behind_it),
        RULE(entry_waits_for_an_older_one_that_has_failed_before_its_last_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

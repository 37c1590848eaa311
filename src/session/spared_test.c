/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that need not be written (durability: memory) among others that are, in one session. */
#include "session/stored_fixture.h"

static const enum durability KEPT = DURABILITY_FSYNC, SPARED = DURABILITY_MEMORY;

static enum deliver_result give(struct session *session, int number, uint8_t qos,
                                enum durability durability)
{
    char text[TEXT_ROOM];
    snprintf(text, sizeof(text), "%d", number);
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of_str(text),
                            .qos = qos,
                            .durability = (uint8_t)durability,
                            .received_ms = START_MS};
    return deliver_publication(session, &p, &(struct deliver_as){.qos = qos});
}

/* Messages of QoS 1 with the numbers from first to last: the even ones are kept. */
static void give_mixture(struct session *session, int first, int last)
{
    for (int number = first; number <= last; number++)
        assert_int_not_equal(give(session, number, 1, number % 2 == 0 ? KEPT : SPARED),
                             NOT_DELIVERED);
}

static void assert_all_gone(struct stored *s)
{
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
    assert_int_equal(metric(&s->f, METRIC_QUEUED_MESSAGES), 0);
    assert_int_equal(metric(&s->f, METRIC_QUEUED_BYTES), 0);
    assert_int_equal(metric(&s->f, METRIC_INFLIGHT_MESSAGES), 0);
}

/* ---- what is written ------------------------------------------------------------------------ */

static void message_that_is_spared_is_sent_and_acknowledged_without_a_record(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    settle(s);
    store_end_figures(s->d.end);
    assert_int_equal(give(session, 1, 1, SPARED), DELIVERED);
    settle(s);
    assert_sent(&s->f, "1");
    assert_int_equal(session_puback(session, 1), RC_OK);
    settle(s);
    assert_int_equal(store_end_figures(s->d.end).records, 0);
}

static void message_that_is_spared_waits_in_memory_when_the_window_is_full(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session->receive_maximum = 1;
    for (int number = 1; number <= QUEUE_HEAD_MESSAGES; number++)
        give(session, number, 1, SPARED);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
    take_numbers(s, session, 1, QUEUE_HEAD_MESSAGES);
    assert_all_gone(s);
}

static void message_that_is_spared_waits_in_memory_for_a_client_that_is_away(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    for (int number = 1; number <= QUEUE_HEAD_MESSAGES; number++)
        give(session, number, 1, SPARED);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
    come(s, session);
    take_numbers(s, session, 1, QUEUE_HEAD_MESSAGES);
    assert_all_gone(s);
}

static void message_that_is_spared_is_written_when_memory_has_no_room_for_it(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    for (int number = 1; number <= 2 * QUEUE_HEAD_MESSAGES; number++)
        give(session, number, 1, SPARED);
    assert_int_equal(session->queue->count, QUEUE_HEAD_MESSAGES);
    assert_int_equal(stored_keys(s, STORE_QUEUE), QUEUE_HEAD_MESSAGES);
    come(s, session);
    take_numbers(s, session, 1, 2 * QUEUE_HEAD_MESSAGES);
    assert_all_gone(s);
}

/* After a crash its packet identifier would be given to another message, and a client that still
 * holds the identifier would take that one for a repeat. */
static void message_of_qos_2_is_never_spared(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    give(session, 1, 2, SPARED);
    assert_sent(&s->f, "");
    assert_int_equal(stored_keys(s, STORE_QUEUE), 1);
    take_numbers(s, session, 1, 1);
    assert_all_gone(s);
}

static void identifier_of_a_message_that_is_spared_has_no_record(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    uint32_t before = stored_keys(s, STORE_STATE);
    session_received_add(session, 1, DURABILITY_MEMORY);
    session_received_add(session, 2, DURABILITY_INTERVAL);
    assert_int_equal(stored_keys(s, STORE_STATE), before + 1);
    assert_false(session_received_is_kept(session, 1));
    assert_true(session_received_is_kept(session, 2));
    assert_false(session_received_is_kept(session, 3));
    crash_and_load(s);
    session = found(s, "client");
    assert_false(session_received_has(session, 1));
    assert_true(session_received_is_kept(session, 2));
}

/* ---- in order ------------------------------------------------------------------------------- */

static void mixture_is_sent_in_order(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session->receive_maximum = 3;
    give_mixture(session, 1, 1000);
    take_numbers(s, session, 1, 1000);
    assert_all_gone(s);
}

static void mixture_for_a_client_that_is_away_is_sent_in_order(void **state)
{
    struct stored *s = *state;
    s->f.table.limits.queue_messages_max = 10000;
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    give_mixture(session, 1, 6 * QUEUE_HEAD_MESSAGES);
    come(s, session);
    take_numbers(s, session, 1, 6 * QUEUE_HEAD_MESSAGES);
    assert_all_gone(s);
}

/* What is on disk comes first: with the memory full of what comes behind it, it is read all the
 * same. */
static void few_messages_on_disk_are_read_before_many_in_memory(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    give(session, 1, 1, KEPT);
    for (int number = 2; number <= QUEUE_HEAD_MESSAGES; number++)
        give(session, number, 1, SPARED);
    come(s, session);
    take_numbers(s, session, 1, QUEUE_HEAD_MESSAGES);
    assert_all_gone(s);
}

static void few_messages_on_disk_are_read_before_many_of_qos_0(void **state)
{
    struct stored *s = *state;
    s->f.table.limits.queue_qos0_offline = true;
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    give(session, 1, 1, KEPT);
    for (int number = 2; number <= QUEUE_HEAD_MESSAGES; number++)
        give(session, number, 0, KEPT);
    come(s, session);
    take_numbers(s, session, 1, QUEUE_HEAD_MESSAGES);
    assert_all_gone(s);
}

static void window_with_spared_messages_is_sent_again_when_the_client_comes_back(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    give_mixture(session, 1, 5);
    session_detach(session, SESSION_WILL_KEEP);
    give_mixture(session, 6, 10);
    come(s, session);
    take_numbers(s, session, 1, 10);
    assert_all_gone(s);
}

/* Draws that are the same each time. */
static uint32_t draw(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

struct habits {
    struct stored *s;
    struct session *session;
    int given, taken; /* the numbers so far */
};

/* The client acknowledges what it has got, all of it or the first half; a repeat is one that it has
 * not acknowledged. */
static void take_some(struct habits *h, uint64_t *random)
{
    static struct packet packets[PACKETS_MAX];
    struct client *client = &h->s->f.client;
    uint32_t count = client->count, take = draw(random, 2) == 0 ? count : count / 2;
    memcpy(packets, client->packets, count * sizeof(*packets));
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(atoi(packets[i].payload), h->taken + 1 + (int)i);
    memmove(client->packets, client->packets + take, (count - take) * sizeof(*packets));
    client->count = count - take;
    h->taken += (int)take;
    for (uint32_t i = 0; i < take; i++)
        acknowledge(h->session, &packets[i]);
}

static void step(struct habits *h, uint64_t *random)
{
    uint32_t burst = draw(random, 200);
    switch (draw(random, 5)) {
    case 0:
        if (h->session->sink != NULL) {
            session_detach(h->session, SESSION_WILL_KEEP);
            h->s->f.client.count = 0;
        } else {
            come(h->s, h->session);
        }
        break;
    case 1:
        settle(h->s);
        break;
    case 2:
        if (h->session->sink != NULL)
            take_some(h, random);
        break;
    default:
        for (uint32_t i = 0; i < burst; i++)
            assert_int_not_equal(
                give(h->session, ++h->given, 1, draw(random, 2) == 0 ? KEPT : SPARED),
                NOT_DELIVERED);
    }
}

static void mixture_comes_in_order_whenever_the_client_comes_and_goes(void **state)
{
    struct stored *s = *state;
    s->f.table.limits.queue_messages_max = 1000000;
    s->f.table.limits.queue_bytes_max = 1 << 30;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t random = seed;
        char name[TEXT_ROOM];
        snprintf(name, sizeof(name), "client%d", (int)seed);
        struct habits h = {.s = s, .session = session_of(&s->f, name)};
        attach(&s->f, h.session, LONG_S);
        for (int i = 0; i < 100; i++)
            step(&h, &random);
        if (h.session->sink != NULL)
            session_detach(h.session, SESSION_WILL_KEEP);
        come(s, h.session);
        take_numbers(s, h.session, h.taken + 1, h.given);
        assert_all_gone(s);
        h.session->sink = NULL;
        session_end(h.session);
    }
}

/* ---- a crash -------------------------------------------------------------------------------- */

static void crash_takes_what_is_spared_and_nothing_else(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    give_mixture(session, 1, 9);
    settle(s);
    crash_and_load(s);
    session = found(s, "client");
    come(s, session);
    settle(s);
    assert_sent(&s->f, "2 4 6 8");
}

static void crash_leaves_identifiers_that_fit(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    give_mixture(session, 1, 4);
    settle(s);
    crash_and_load(s);
    session = found(s, "client");
    come(s, session);
    settle(s);
    assert_int_equal(s->f.client.packets[0].packet_id, 2);
    assert_int_equal(s->f.client.packets[1].packet_id, 4);
    give(session, 5, 1, KEPT);
    assert_int_equal(s->f.client.packets[2].packet_id, 5);
}

/* ---- limits --------------------------------------------------------------------------------- */

static void full_queue_gives_up_the_oldest_of_a_mixture(void **state)
{
    struct stored *s = *state;
    s->f.table.limits.queue_messages_max = 10;
    s->f.table.limits.queue_policy = QUEUE_GIVE_UP_OLDEST;
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    give_mixture(session, 1, 1000);
    assert_true(queue_size(session->queue) <= 10);
    come(s, session);
    settle(s);
    assert_true(s->f.client.count > 0 && s->f.client.count <= 20);
    for (uint32_t i = 0; i < s->f.client.count; i++)
        assert_int_equal(atoi(s->f.client.packets[i].payload),
                         1001 - (int)s->f.client.count + (int)i);
}

static void end_of_a_session_drops_what_is_spared(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    give_mixture(session, 1, 10);
    session_detach(session, SESSION_WILL_KEEP);
    give_mixture(session, 11, 20);
    session_end(session);
    assert_all_gone(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED_RULE(message_that_is_spared_is_sent_and_acknowledged_without_a_record),
        STORED_RULE(message_that_is_spared_waits_in_memory_when_the_window_is_full),
        STORED_RULE(message_that_is_spared_waits_in_memory_for_a_client_that_is_away),
        STORED_RULE(message_that_is_spared_is_written_when_memory_has_no_room_for_it),
        STORED_RULE(message_of_qos_2_is_never_spared),
        STORED_RULE(identifier_of_a_message_that_is_spared_has_no_record),
        STORED_RULE(mixture_is_sent_in_order),
        STORED_RULE(mixture_for_a_client_that_is_away_is_sent_in_order),
        STORED_RULE(few_messages_on_disk_are_read_before_many_in_memory),
        STORED_RULE(few_messages_on_disk_are_read_before_many_of_qos_0),
        STORED_RULE(window_with_spared_messages_is_sent_again_when_the_client_comes_back),
        STORED_RULE(mixture_comes_in_order_whenever_the_client_comes_and_goes),
        STORED_RULE(crash_takes_what_is_spared_and_nothing_else),
        STORED_RULE(crash_leaves_identifiers_that_fit),
        STORED_RULE(full_queue_gives_up_the_oldest_of_a_mixture),
        STORED_RULE(end_of_a_session_drops_what_is_spared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

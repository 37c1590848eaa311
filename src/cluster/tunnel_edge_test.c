/* SPDX-License-Identifier: Apache-2.0 */
/* Where a client's transport is: what it is held to, and how it and its link end. The test is the
 * client and the home. */
#include "cluster/tunnel_fixture.h"

enum { HASH = 0xABCD, SOME = 3 };

static const struct cluster_clients clients = {.farewell = on_farewell};

static int set_up(void **state)
{
    *state = fixture_new(&clients);
    return 0;
}

static int tear_down(void **state)
{
    fixture_free(*state);
    return 0;
}

/* ---- clients and links --------------------------------------------------------------------------
 */

/* A client that has said `unread` when it turned out where its session lives. */
static void come_with(struct fixture *f, struct far *client, const char *unread)
{
    struct cluster_client who = {
        .hash = HASH, .transport = TRANSPORT_TCP, .durability = 2, .listener = 5};
    size_t len = strlen(unread);
    uint8_t *taken = mem_new(len + 1);
    int ends[2];
    pair_open(ends);
    memcpy(taken, unread, len);
    *client = (struct far){.fd = ends[1]};
    tunnels_client(f->tunnels, REMOTE, HOME_WORKER, ends[0], &who, NULL, taken, len);
}

static void hear_opened(struct fixture *f, uint32_t id)
{
    struct link_frame frame = hear(f, LINK_TUNNEL_OPEN);
    struct tunnel_open open;
    assert_true(tunnel_open_read(frame.body, &open));
    assert_int_equal(open.id, id);
    assert_int_equal(open.hash, HASH);
    assert_int_equal(open.transport, TRANSPORT_TCP);
    assert_int_equal(open.durability, 2);
    assert_int_equal(open.listener, 5);
}

/* A client with a link, both at the beginning. */
static void come(struct fixture *f, struct far *client, uint32_t id)
{
    come_with(f, client, "");
    if (f->link.fd < 0)
        reach(f);
    hear_opened(f, id);
}

/* The client writes as much as is taken from it; gives how much that was. */
static size_t write_all(struct fixture *f, struct far *client)
{
    static const uint8_t zeroes[32 * 1024];
    size_t all = 0;
    for (int quiet = 0; quiet < QUIET_TURNS;) {
        ssize_t sent = send(client->fd, zeroes, sizeof(zeroes), MSG_NOSIGNAL);
        quiet = sent > 0 ? 0 : quiet + 1;
        all += sent > 0 ? (size_t)sent : 0;
        turn(f);
    }
    return all;
}

/* The client gets that and the end, and closes. */
static void hear_last(struct fixture *f, struct far *client, const char *text)
{
    TURN_UNTIL(f, (far_look(client), client->ended));
    assert_int_equal(client->len - client->taken, strlen(text));
    assert_memory_equal(client->in + client->taken, text, strlen(text));
    far_free(client);
}

/* ---- a client's way -----------------------------------------------------------------------------
 */

static void client_waits_for_the_link_and_what_it_has_said_goes_first(void **state)
{
    struct fixture *f = *state;
    struct far client;
    come_with(f, &client, "one ");
    assert_int_equal(f->dials, 1);
    far_send(f, &client, bytes_of_str("two"));
    for (int i = 0; i < QUIET_TURNS; i++)
        turn(f);
    assert_int_equal(metric(f, METRIC_TUNNEL_BYTES_RECEIVED), 0);
    reach(f);
    hear_opened(f, 0);
    assert_int_equal(hear_data(f, 0), 7);
    assert_memory_equal(f->link.in + f->link.taken - 3, "two", 3);
    assert_int_equal(metric(f, METRIC_TUNNELS_HELD), 0);
    assert_int_equal(metric(f, METRIC_TUNNEL_BYTES_RECEIVED), 7);
    assert_int_equal(metric(f, METRIC_TUNNELS_EDGE), 1);
    assert_int_equal(f->dials, 1);
    far_free(&client);
}

static void clients_of_one_home_share_a_link(void **state)
{
    struct fixture *f = *state;
    struct far some[SOME];
    for (uint32_t i = 0; i < SOME; i++)
        come_with(f, &some[i], "");
    reach(f);
    for (uint32_t i = 0; i < SOME; i++)
        hear_opened(f, i);
    say_text(f, 1, "\xD0");
    TURN_UNTIL(f, far_left(&some[1]) == 1);
    assert_int_equal(far_left(&some[0]) + far_left(&some[2]), 0);
    assert_int_equal(f->dials, 1);
    for (uint32_t i = 0; i < SOME; i++)
        far_free(&some[i]);
}

/* ---- credit -------------------------------------------------------------------------------------
 */

static void client_sends_a_window_and_then_as_much_as_is_worked_off(void **state)
{
    struct fixture *f = *state;
    struct far client;
    come(f, &client, 0);
    write_all(f, &client);
    assert_int_equal(hear_data(f, 0), TUNNEL_WINDOW);
    say_credit(f, 0, 1);
    assert_int_equal(hear_data(f, 0), 1);
    write_all(f, &client);
    say_credit(f, 0, 1 + TUNNEL_PIECE);
    assert_int_equal(hear_data(f, 0), TUNNEL_PIECE);
    assert_true(metric(f, METRIC_TUNNELS_HELD) >= 2);
    say_credit(f, 0, 1 + TUNNEL_PIECE); /* says nothing new */
    hear_nothing(f);
    far_free(&client);
}

static void credit_for_what_was_never_sent_ends_the_link(void **state)
{
    struct fixture *f = *state;
    struct far client;
    come(f, &client, 0);
    far_send(f, &client, bytes_of_str("12345"));
    assert_int_equal(hear_data(f, 0), 5);
    say_credit(f, 0, 5);
    hear_nothing(f);
    say_credit(f, 0, 6);
    hear_hang_up(f);
    hear_last(f, &client, "N");
}

static void credit_that_is_taken_back_ends_the_link(void **state)
{
    struct fixture *f = *state;
    struct far client;
    come(f, &client, 0);
    far_send(f, &client, bytes_of_str("12345"));
    assert_int_equal(hear_data(f, 0), 5);
    say_credit(f, 0, 5);
    say_credit(f, 0, 4);
    hear_hang_up(f);
    hear_last(f, &client, "N");
}

/* The home sends as much as it may to a client that does not read. */
static uint64_t fill(struct fixture *f, uint32_t id, uint64_t *credited)
{
    uint64_t sent = 0;
    *credited = 0;
    for (int quiet = 0; quiet < QUIET_TURNS; quiet++) {
        struct link_frame frame;
        uint32_t of;
        while (sent - *credited < TUNNEL_WINDOW) {
            size_t room = TUNNEL_WINDOW - (size_t)(sent - *credited);
            size_t len = room < TUNNEL_PIECE ? room : TUNNEL_PIECE;
            say_data(f, id, len);
            sent += len;
        }
        turn(f);
        while (peek_frame(f, &frame)) {
            assert_int_equal(frame.kind, LINK_TUNNEL_CREDIT);
            assert_true(tunnel_credit_read(frame.body, &of, credited));
            assert_int_equal(of, id);
            assert_true(*credited <= sent);
            quiet = 0;
        }
    }
    return sent;
}

static void client_that_does_not_read_costs_a_bounded_buffer(void **state)
{
    struct fixture *f = *state;
    struct far client;
    uint64_t credited;
    come(f, &client, 0);
    uint64_t sent = fill(f, 0, &credited);
    assert_int_equal(sent - credited, TUNNEL_WINDOW);
    assert_true(f->loop.buffered_bytes > STREAM_OUT_HIGH);
    assert_true(f->loop.buffered_bytes <= STREAM_OUT_HIGH + TUNNEL_WINDOW);
    TURN_UNTIL(f, far_left(&client) == sent); /* it reads: all comes, and the home may go on */
    struct link_frame frame = hear(f, LINK_TUNNEL_CREDIT);
    uint32_t id;
    assert_true(tunnel_credit_read(frame.body, &id, &credited));
    assert_int_equal(credited, sent);
    far_free(&client);
}

static void one_byte_more_than_the_window_ends_the_link_and_what_was_in_it_still_comes(void **state)
{
    struct fixture *f = *state;
    struct far client;
    uint64_t credited;
    come(f, &client, 0);
    uint64_t sent = fill(f, 0, &credited);
    hear_nothing(f);
    say_text(f, 0, "\xD0");
    hear_hang_up(f);
    TURN_UNTIL(f, (far_look(&client), client.ended));
    assert_int_equal(client.len, sent + 1); /* and the farewell */
    assert_int_equal(client.in[sent], 'A');
    assert_int_equal(metric(f, METRIC_TUNNELS_ENDED_BY_LINK), 1);
    far_free(&client);
}

enum { MANY = 8 };

/* Each of them writes what is taken of its window, once. */
static void write_windows(struct far many[MANY], size_t sent[MANY])
{
    static const uint8_t zeroes[TUNNEL_WINDOW];
    for (uint32_t i = 0; i < MANY; i++) {
        ssize_t len = send(many[i].fd, zeroes, TUNNEL_WINDOW - sent[i], MSG_NOSIGNAL);
        sent[i] += len > 0 ? (size_t)len : 0;
    }
}

/* Many clients, each within its window, and nobody reads the link. */
static void link_that_is_full_holds_clients_back_and_then_lets_all_go_on(void **state)
{
    struct fixture *f = *state;
    struct far many[MANY];
    size_t sent[MANY] = {0}, heard[MANY] = {0}, all = 0;
    for (uint32_t i = 0; i < MANY; i++)
        come(f, &many[i], i);
    for (int i = 0; i < 100; i++, turn(f)) {
        write_windows(many, sent);
        assert_true(f->loop.buffered_bytes <= STREAM_OUT_HIGH + TUNNEL_PIECE + 2 * LINK_HEADER);
    }
    uint64_t held_at = metric(f, METRIC_TUNNEL_BYTES_RECEIVED);
    assert_true(held_at < MANY * (uint64_t)TUNNEL_WINDOW);
    assert_true(f->loop.buffered_bytes >= STREAM_OUT_LOW);
    for (int i = 0; i < QUIET_TURNS; i++)
        turn(f);
    assert_int_equal(metric(f, METRIC_TUNNEL_BYTES_RECEIVED), held_at);
    uint64_t deadline_ms = clock_ms() + FIXTURE_DEADLINE_MS;
    while (all < MANY * (size_t)TUNNEL_WINDOW) {
        struct link_frame frame;
        struct bytes data;
        uint32_t id;
        assert_true(clock_ms() < deadline_ms);
        write_windows(many, sent);
        turn(f);
        while (peek_frame(f, &frame)) {
            assert_true(tunnel_data_read(frame.body, &id, &data) && id < MANY);
            heard[id] += data.len;
            all += data.len;
        }
    }
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(heard[i], TUNNEL_WINDOW);
        far_free(&many[i]);
    }
}

/* ---- a client that ends -------------------------------------------------------------------------
 */

static void client_that_closes_ends_its_tunnel_and_what_was_under_way_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct far client, next;
    come(f, &client, 0);
    far_send(f, &client, bytes_of_str("bye"));
    assert_int_equal(hear_data(f, 0), 3);
    far_free(&client);
    hear_end(f, 0, TUNNEL_END_CLOSED);
    say_data(f, 0, TUNNEL_PIECE);
    say_credit(f, 0, 3);
    hear_nothing(f); /* nor is credit given for it */
    assert_int_equal(f->connections, 0);
    come(f, &next, 1); /* the id is not free yet */
    say_end_of(f, 0, TUNNEL_END_CLOSED);
    hear_nothing(f);
    far_free(&next);
    hear_end(f, 1, TUNNEL_END_CLOSED);
    come(f, &next, 0);
    assert_int_equal(metric(f, METRIC_TUNNELS_ENDED_BY_CLIENT), 2);
    far_free(&next);
}

static void client_whose_transport_breaks_is_told_from_one_that_closes(void **state)
{
    struct fixture *f = *state;
    struct far client;
    come(f, &client, 0);
    say_text(f, 0, "\xD0");
    TURN_UNTIL(f, metric(f, METRIC_TUNNEL_BYTES_SENT) == 1);
    turn(f);           /* it is in the client's socket, ... */
    far_free(&client); /* ... and was not read: a reset */
    hear_end(f, 0, TUNNEL_END_ERROR);
}

static void client_that_is_held_back_and_closes_has_said_what_was_let_through(void **state)
{
    struct fixture *f = *state;
    struct far client;
    come(f, &client, 0);
    write_all(f, &client);
    assert_int_equal(hear_data(f, 0), TUNNEL_WINDOW);
    far_free(&client);
    hear_nothing(f); /* it is not read, so nobody knows */
    say_credit(f, 0, TUNNEL_WINDOW);
    size_t rest = 0;
    for (;;) {
        struct link_frame frame;
        TURN_UNTIL(f, peek_frame(f, &frame));
        if (frame.kind == LINK_TUNNEL_END)
            break;
        assert_int_equal(frame.kind, LINK_TUNNEL_DATA);
        rest += frame.body.len - TUNNEL_ID_SIZE;
    }
    assert_true(rest > 0 && rest <= TUNNEL_WINDOW);
    hear_nothing(f);
}

static void client_that_goes_before_the_link_is_there_is_never_spoken_of(void **state)
{
    struct fixture *f = *state;
    struct far client, next;
    come_with(f, &client, "");
    far_free(&client);
    turn(f);
    reach(f);
    struct link_frame frame = hear(f, LINK_TUNNEL_OPEN); /* its end had not been read */
    (void)frame;
    hear_end(f, 0, TUNNEL_END_CLOSED);
    come(f, &next, 1);
    far_free(&next);
}

/* ---- a home that ends ---------------------------------------------------------------------------
 */

static void client_gets_all_that_was_said_before_the_home_has_ended(void **state)
{
    static const enum tunnel_end ends[] = {TUNNEL_END_FINISHED, TUNNEL_END_CLOSED};
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 2; i++) {
        struct far client;
        uint64_t credited;
        come(f, &client, 0);
        uint64_t sent = fill(f, 0, &credited);
        say_end_of(f, 0, ends[i]);
        hear_end(f, 0, TUNNEL_END_CLOSED);
        TURN_UNTIL(f, (far_look(&client), client.ended));
        assert_int_equal(client.len, sent);
        assert_int_equal(f->farewells, 0);
        assert_int_equal(metric(f, METRIC_TUNNELS_ENDED_BY_HOME), i + 1);
        far_free(&client);
        hear_nothing(f);
    }
}

static void client_whose_home_closes_is_closed_at_once_when_it_has_got_all(void **state)
{
    struct fixture *f = *state;
    struct far client;
    come(f, &client, 0);
    say_end_of(f, 0, TUNNEL_END_CLOSED);
    hear_end(f, 0, TUNNEL_END_CLOSED);
    TURN_UNTIL(f, f->connections == 0); /* without waiting for the client */
    hear_last(f, &client, "");
    struct far next;
    come(f, &next, 0);
    far_free(&next);
}

static void both_ends_may_say_so_at_once(void **state)
{
    struct fixture *f = *state;
    struct far client;
    come(f, &client, 0);
    say_end_of(f, 0, TUNNEL_END_FINISHED);
    far_free(&client);
    struct link_frame frame = hear(f, LINK_TUNNEL_END);
    (void)frame;
    hear_nothing(f); /* once */
    TURN_UNTIL(f, f->connections == 0);
}

/* ---- links that end -----------------------------------------------------------------------------
 */

static void clients_whose_link_dies_are_told_so_between_two_packets_only(void **state)
{
    struct fixture *f = *state;
    struct far some[SOME];
    for (uint32_t i = 0; i < SOME; i++)
        come(f, &some[i], i);
    say_text(f, 1,
             "\xD0\x02"
             "12"); /* a whole packet */
    say_text(f, 2,
             "\xD0\x02"
             "1");
    TURN_UNTIL(f, far_left(&some[1]) == 4 && far_left(&some[2]) == 3);
    far_close(&f->link);
    hear_last(f, &some[0], "N");
    hear_last(f, &some[1],
              "\xD0\x02"
              "12A");
    hear_last(f, &some[2],
              "\xD0\x02"
              "1");
    assert_int_equal(f->farewells, 2);
    assert_int_equal(metric(f, METRIC_TUNNELS_ENDED_BY_LINK), SOME);
    TURN_UNTIL(f, f->connections == 0);
}

static void clients_whose_link_dies_are_told_some_in_each_turn(void **state)
{
    enum { CUT = TUNNEL_CUT_AT_ONCE + 10 };
    struct fixture *f = *state;
    struct far *many = calloc(CUT, sizeof(*many));
    assert_non_null(many);
    for (uint32_t i = 0; i < CUT; i++)
        come(f, &many[i], i);
    far_close(&f->link);
    TURN_UNTIL(f, f->farewells > 0);
    assert_int_equal(f->farewells, TUNNEL_CUT_AT_ONCE);
    far_close(&many[CUT - 1]); /* one goes that has not been told */
    TURN_UNTIL(f, f->farewells == CUT);
    for (uint32_t i = 0; i < CUT - 1; i++)
        hear_last(f, &many[i], "N");
    far_free(&many[CUT - 1]);
    TURN_UNTIL(f, f->connections == 0);
    assert_int_equal(metric(f, METRIC_TUNNELS_ENDED_BY_LINK), CUT);
    free(many);
}

static void client_hears_at_once_that_its_home_cannot_be_reached_and_the_next_is_tried_anew(
    void **state)
{
    struct fixture *f = *state;
    struct far client, next;
    come_with(f, &client, "one");
    tunnel_out_reached(f->tunnels, REMOTE, HOME_WORKER, -1, bytes_of(NULL, 0));
    hear_last(f, &client, "N");
    come_with(f, &next, "");
    assert_int_equal(f->dials, 2);
    reach(f);
    hear_opened(f, 0);
    far_free(&next);
}

static void link_that_nobody_waits_for_is_closed(void **state)
{
    struct fixture *f = *state;
    reach(f);
    hear_hang_up(f);
}

static void node_that_is_away_has_no_link_left(void **state)
{
    struct fixture *f = *state;
    struct far client;
    come(f, &client, 0);
    tunnels_post_close(f->tunnels, REMOTE + 1);
    hear_nothing(f);
    tunnels_post_close(f->tunnels, REMOTE);
    hear_hang_up(f);
    hear_last(f, &client, "N");
}

static void clients_are_sent_away_as_many_as_may_go(void **state)
{
    struct fixture *f = *state;
    struct far some[SOME];
    for (uint32_t i = 0; i < SOME; i++)
        come(f, &some[i], i);
    assert_false(tunnels_drain(f->tunnels, 2));
    hear_end(f, 0, TUNNEL_END_DRAINED);
    hear_end(f, 1, TUNNEL_END_DRAINED);
    hear_nothing(f);
    hear_last(f, &some[0], "N");
    hear_last(f, &some[1], "N");
    assert_true(tunnels_drain(f->tunnels, 2));
    hear_end(f, 2, TUNNEL_END_DRAINED);
    hear_last(f, &some[2], "N");
    assert_int_equal(metric(f, METRIC_TUNNELS_ENDED_BY_DRAIN), SOME);
}

/* ---- frames that make no sense ------------------------------------------------------------------
 */

static void say_long_data(struct fixture *f)
{
    say_data(f, 0, TUNNEL_PIECE + 1);
}

static void say_no_data(struct fixture *f)
{
    say_data(f, 0, 0);
}

static void say_data_of_nobody(struct fixture *f)
{
    say_text(f, 1, "x");
}

static void say_credit_of_nobody(struct fixture *f)
{
    say_credit(f, UINT32_MAX, 0);
}

static void say_short_credit(struct fixture *f)
{
    uint8_t body[TUNNEL_CREDIT_SIZE - 1] = {0};
    say(f, LINK_TUNNEL_CREDIT, 0, bytes_of(body, sizeof(body)));
}

static void say_end_of_nobody(struct fixture *f)
{
    say_end_of(f, 1, TUNNEL_END_CLOSED);
}

static void say_end_without_a_reason(struct fixture *f)
{
    say_end_of(f, 0, TUNNEL_ENDS);
}

static void say_end_twice(struct fixture *f)
{
    say_end_of(f, 0, TUNNEL_END_FINISHED);
    say_end_of(f, 0, TUNNEL_END_FINISHED);
}

static void say_data_after_end(struct fixture *f)
{
    say_end_of(f, 0, TUNNEL_END_FINISHED);
    say_text(f, 0, "x");
}

static void say_what_an_edge_says(struct fixture *f)
{
    struct tunnel_open open = {.id = 1};
    uint8_t body[TUNNEL_OPEN_SIZE];
    tunnel_open_write(&open, body);
    say(f, LINK_TUNNEL_OPEN, 0, bytes_of(body, sizeof(body)));
}

static void say_what_is_not_said_here(struct fixture *f)
{
    say(f, LINK_HEARTBEAT, 0, bytes_of(NULL, 0));
}

/* The length of a body that nobody would wait for. */
static void say_what_is_too_long(struct fixture *f)
{
    uint8_t header[LINK_HEADER];
    link_header_write(header, LINK_TUNNEL_DATA, 0, LINK_BODY_MAX + 1);
    far_send(f, &f->link, bytes_of(header, sizeof(header)));
}

static void frame_that_makes_no_sense_ends_the_link_and_its_clients(void **state)
{
    static void (*const wrong[])(struct fixture * f) = {say_long_data,
                                                        say_no_data,
                                                        say_data_of_nobody,
                                                        say_short_credit,
                                                        say_credit_of_nobody,
                                                        say_end_of_nobody,
                                                        say_end_without_a_reason,
                                                        say_end_twice,
                                                        say_data_after_end,
                                                        say_what_an_edge_says,
                                                        say_what_is_not_said_here,
                                                        say_what_is_too_long};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct far client;
        come(f, &client, 0);
        wrong[i](f);
        hear_hang_up(f);
        far_free(&f->link);
        TURN_UNTIL(f, (far_look(&client), client.ended));
        far_free(&client);
        TURN_UNTIL(f, f->connections == 0);
    }
}

static void what_is_said_in_the_largest_piece_is_fine(void **state)
{
    struct fixture *f = *state;
    struct far client;
    come(f, &client, 0);
    say_data(f, 0, TUNNEL_PIECE);
    TURN_UNTIL(f, far_left(&client) == TUNNEL_PIECE);
    hear(f, LINK_TUNNEL_CREDIT);
    hear_nothing(f);
    far_free(&client);
}

#define RULE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(client_waits_for_the_link_and_what_it_has_said_goes_first),
        RULE(clients_of_one_home_share_a_link),
        RULE(client_sends_a_window_and_then_as_much_as_is_worked_off),
        RULE(credit_for_what_was_never_sent_ends_the_link),
        RULE(credit_that_is_taken_back_ends_the_link),
        RULE(client_that_does_not_read_costs_a_bounded_buffer),
        RULE(one_byte_more_than_the_window_ends_the_link_and_what_was_in_it_still_comes),
        RULE(link_that_is_full_holds_clients_back_and_then_lets_all_go_on),
        RULE(client_that_closes_ends_its_tunnel_and_what_was_under_way_is_dropped),
        RULE(client_whose_transport_breaks_is_told_from_one_that_closes),
        RULE(client_that_is_held_back_and_closes_has_said_what_was_let_through),
        RULE(client_that_goes_before_the_link_is_there_is_never_spoken_of),
        RULE(client_gets_all_that_was_said_before_the_home_has_ended),
        RULE(client_whose_home_closes_is_closed_at_once_when_it_has_got_all),
        RULE(both_ends_may_say_so_at_once),
        RULE(clients_whose_link_dies_are_told_so_between_two_packets_only),
        RULE(clients_whose_link_dies_are_told_some_in_each_turn),
        RULE(client_hears_at_once_that_its_home_cannot_be_reached_and_the_next_is_tried_anew),
        RULE(link_that_nobody_waits_for_is_closed),
        RULE(node_that_is_away_has_no_link_left),
        RULE(clients_are_sent_away_as_many_as_may_go),
        RULE(frame_that_makes_no_sense_ends_the_link_and_its_clients),
        RULE(what_is_said_in_the_largest_piece_is_fine),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Where a session is and its client's transport is not: what the edge is held to, and how streams
 * and their link end. The test is the edge, and the layer above the streams. */
#include "cluster/tunnel_fixture.h"

enum { HASH = 0xABCD, SOME = 3 };

/* A stream that is carried, and the layer above it: takes all that comes. */
struct served {
    struct stream stream;
    size_t taken;
    uint32_t ended, closed;
    enum stream_close_reason reason;
};

static struct served *served_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct served, stream);
}

static size_t on_received(struct stream *stream, struct bytes in)
{
    served_of(stream)->taken += in.len;
    return in.len;
}

static void on_drained(struct stream *stream)
{
    (void)stream;
}

static void on_ended(struct stream *stream, enum stream_close_reason reason)
{
    served_of(stream)->ended++;
    served_of(stream)->reason = reason;
}

static void on_closed(struct stream *stream)
{
    served_of(stream)->closed++;
}

static const struct stream_ops stream_ops = {
    .received = on_received, .drained = on_drained, .ended = on_ended, .closed = on_closed};

static bool on_accept(void *owner, struct stream_carrier *carrier,
                      const struct cluster_client *client)
{
    struct fixture *f = owner;
    f->client = *client;
    if (f->serves == NULL) {
        f->refused++;
        return false;
    }
    f->accepted++;
    stream_open_carried(&f->serves->stream, &f->loop, &stream_ops,
                        (enum transport)client->transport, carrier);
    return true;
}

static const struct cluster_clients clients = {.accept = on_accept};

static int set_up(void **state)
{
    struct fixture *f = fixture_new(&clients);
    int ends[2];
    pair_open(ends);
    f->link = (struct far){.fd = ends[1]};
    tunnels_post_in(f->tunnels, REMOTE, ends[0], bytes_of(NULL, 0));
    turn(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_free(*state);
    return 0;
}

static void say_open(struct fixture *f, uint32_t id)
{
    struct tunnel_open open = {.id = id,
                               .hash = HASH,
                               .transport = TRANSPORT_TCP,
                               .durability = 2,
                               .listener = 5,
                               .family = 10,
                               .port = 1234,
                               .address = {1, 2, 3}};
    uint8_t body[TUNNEL_OPEN_SIZE];
    tunnel_open_write(&open, body);
    say(f, LINK_TUNNEL_OPEN, 0, bytes_of(body, sizeof(body)));
}

static void open_for(struct fixture *f, struct served *served, uint32_t id)
{
    uint32_t accepted = f->accepted;
    *served = (struct served){0};
    f->serves = served;
    say_open(f, id);
    TURN_UNTIL(f, f->accepted == accepted + 1);
    f->serves = NULL;
}

/* It ends, and the edge has heard it and answers. */
static void close_for(struct fixture *f, struct served *served, uint32_t id)
{
    stream_close(&served->stream);
    hear_end(f, id, TUNNEL_END_CLOSED);
    say_end_of(f, id, TUNNEL_END_CLOSED);
    TURN_UNTIL(f, served->closed == 1);
}

static void write_to(struct served *served, size_t len)
{
    uint8_t *bytes = calloc(1, len);
    assert_non_null(bytes);
    assert_int_equal(stream_write(&served->stream, bytes_of(bytes, len)), RC_OK);
    free(bytes);
}

static void hear_credit(struct fixture *f, uint32_t id, uint64_t worked_off)
{
    struct link_frame frame = hear(f, LINK_TUNNEL_CREDIT);
    uint64_t said;
    uint32_t of;
    assert_true(tunnel_credit_read(frame.body, &of, &said));
    assert_int_equal(of, id);
    assert_int_equal(said, worked_off);
}

/* ---- a client's way -----------------------------------------------------------------------------
 */

static void client_is_who_the_edge_says_and_its_bytes_go_both_ways(void **state)
{
    struct fixture *f = *state;
    struct served served;
    open_for(f, &served, 4);
    assert_int_equal(f->client.hash, HASH);
    assert_int_equal(f->client.durability, 2);
    assert_int_equal(f->client.listener, 5);
    assert_int_equal(f->client.peer.family, 10);
    assert_int_equal(f->client.peer.port, 1234);
    assert_int_equal(f->client.peer.address[2], 3);
    assert_int_equal(metric(f, METRIC_TUNNELS_HOME), 1);
    say_text(f, 4, "hello");
    TURN_UNTIL(f, served.taken == 5);
    write_to(&served, 7);
    assert_int_equal(hear_data(f, 4), 7);
    close_for(f, &served, 4);
    assert_int_equal(metric(f, METRIC_TUNNELS_HOME), 0);
}

static void client_that_is_not_accepted_is_told_the_end_and_its_id_is_free_behind_it(void **state)
{
    struct fixture *f = *state;
    struct served served;
    say_open(f, 0);
    hear_end(f, 0, TUNNEL_END_CLOSED);
    assert_int_equal(f->refused, 1);
    assert_int_equal(metric(f, METRIC_TUNNELS_HOME), 0);
    say_text(f, 0, "was under way");
    hear_nothing(f);
    say_end_of(f, 0, TUNNEL_END_CLOSED);
    open_for(f, &served, 0);
    close_for(f, &served, 0);
}

/* ---- credit -------------------------------------------------------------------------------------
 */

static void output_is_a_window_and_then_as_much_as_is_worked_off(void **state)
{
    struct fixture *f = *state;
    struct served served;
    open_for(f, &served, 0);
    write_to(&served, 2 * TUNNEL_WINDOW);
    assert_int_equal(hear_data(f, 0), TUNNEL_WINDOW);
    say_credit(f, 0, 1);
    assert_int_equal(hear_data(f, 0), 1);
    say_credit(f, 0, TUNNEL_WINDOW);
    assert_int_equal(hear_data(f, 0), TUNNEL_WINDOW - 1);
    say_credit(f, 0, 2 * TUNNEL_WINDOW);
    hear_nothing(f);
    assert_int_equal(f->loop.buffered_bytes, 0);
    close_for(f, &served, 0);
}

static void input_is_credited_in_steps(void **state)
{
    struct fixture *f = *state;
    struct served served;
    open_for(f, &served, 0);
    say_data(f, 0, TUNNEL_CREDIT_STEP - 1);
    hear_nothing(f);
    say_data(f, 0, 1);
    hear_credit(f, 0, TUNNEL_CREDIT_STEP);
    assert_int_equal(served.taken, TUNNEL_CREDIT_STEP);
    close_for(f, &served, 0);
}

static void paused_stream_keeps_a_window_and_takes_it_when_it_goes_on(void **state)
{
    struct fixture *f = *state;
    struct served served;
    open_for(f, &served, 0);
    stream_pause(&served.stream);
    for (int i = 0; i < TUNNEL_WINDOW / TUNNEL_PIECE; i++)
        say_data(f, 0, TUNNEL_PIECE);
    hear_nothing(f);
    assert_int_equal(served.taken, 0);
    stream_resume(&served.stream);
    hear_credit(f, 0, TUNNEL_WINDOW);
    assert_int_equal(served.taken, TUNNEL_WINDOW);
    close_for(f, &served, 0);
}

static void one_byte_more_than_the_window_ends_the_link(void **state)
{
    struct fixture *f = *state;
    struct served served;
    open_for(f, &served, 0);
    stream_pause(&served.stream);
    for (int i = 0; i < TUNNEL_WINDOW / TUNNEL_PIECE; i++)
        say_data(f, 0, TUNNEL_PIECE);
    hear_nothing(f);
    say_text(f, 0, "x");
    hear_hang_up(f);
    TURN_UNTIL(f, served.closed == 1);
    assert_int_equal(served.ended, 1);
    assert_int_equal(served.reason, STREAM_CLOSED_BY_ERROR);
}

static void credit_for_what_was_never_sent_ends_the_link(void **state)
{
    struct fixture *f = *state;
    struct served served;
    open_for(f, &served, 0);
    write_to(&served, 5);
    assert_int_equal(hear_data(f, 0), 5);
    say_credit(f, 0, 5);
    hear_nothing(f);
    say_credit(f, 0, 6);
    hear_hang_up(f);
    TURN_UNTIL(f, served.closed == 1);
}

/* Many streams, each within its window, and nobody reads the link. */
static void link_that_is_full_holds_streams_back_and_then_lets_all_go_on(void **state)
{
    enum { MANY = 8 };
    struct fixture *f = *state;
    struct served many[MANY];
    size_t heard[MANY] = {0}, all = 0;
    for (uint32_t i = 0; i < MANY; i++)
        open_for(f, &many[i], i);
    for (uint32_t i = 0; i < MANY; i++)
        write_to(&many[i], TUNNEL_WINDOW);
    for (int i = 0; i < QUIET_TURNS; i++)
        turn(f);
    size_t carried = MANY * (size_t)TUNNEL_WINDOW, held = 0;
    for (uint32_t i = 0; i < MANY; i++)
        held += many[i].stream.out_bytes;
    assert_true(held > carried / 4); /* what the link and the kernel's buffers did not take */
    uint64_t deadline_ms = clock_ms() + FIXTURE_DEADLINE_MS;
    while (all < carried) {
        struct link_frame frame;
        struct bytes data;
        uint32_t id;
        assert_true(clock_ms() < deadline_ms);
        turn(f);
        while (peek_frame(f, &frame)) {
            assert_true(tunnel_data_read(frame.body, &id, &data) && id < MANY);
            heard[id] += data.len;
            all += data.len;
        }
    }
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(heard[i], TUNNEL_WINDOW);
        close_for(f, &many[i], i);
    }
}

/* ---- streams that end ---------------------------------------------------------------------------
 */

static void end_that_the_edge_says_is_the_clients(void **state)
{
    static const struct {
        enum tunnel_end said;
        enum stream_close_reason reason;
    } ends[] = {{TUNNEL_END_CLOSED, STREAM_CLOSED_BY_PEER},
                {TUNNEL_END_DRAINED, STREAM_CLOSED_BY_PEER},
                {TUNNEL_END_ERROR, STREAM_CLOSED_BY_ERROR}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct served served;
        open_for(f, &served, 0); /* of the one before: it is free */
        say_text(f, 0, "last words");
        say_end_of(f, 0, ends[i].said);
        hear_end(f, 0, TUNNEL_END_CLOSED);
        TURN_UNTIL(f, served.closed == 1);
        assert_int_equal(served.taken, 10);
        assert_int_equal(served.ended, 1);
        assert_int_equal(served.reason, ends[i].reason);
    }
}

static void last_words_wait_for_credit_before_the_end_is_said(void **state)
{
    struct fixture *f = *state;
    struct served served;
    open_for(f, &served, 0);
    write_to(&served, TUNNEL_WINDOW + 10);
    stream_close_after_flush(&served.stream, 10 * 1000);
    assert_int_equal(hear_data(f, 0), TUNNEL_WINDOW);
    say_credit(f, 0, TUNNEL_WINDOW);
    hear(f, LINK_TUNNEL_DATA);
    hear_end(f, 0, TUNNEL_END_FINISHED);
    say_credit(f, 0, TUNNEL_WINDOW + 10);
    assert_int_equal(served.closed, 0);
    say_end_of(f, 0, TUNNEL_END_CLOSED);
    TURN_UNTIL(f, served.closed == 1);
    hear_nothing(f); /* the end was said */
}

/* The client goes while the stream has more for it than it has read. */
static void client_that_closes_in_the_middle_takes_the_rest_with_it(void **state)
{
    struct fixture *f = *state;
    struct served served, next;
    open_for(f, &served, 0);
    write_to(&served, 2 * TUNNEL_WINDOW);
    assert_int_equal(hear_data(f, 0), TUNNEL_WINDOW);
    say_end_of(f, 0, TUNNEL_END_CLOSED);
    hear_end(f, 0, TUNNEL_END_CLOSED);
    TURN_UNTIL(f, served.closed == 1);
    assert_int_equal(f->loop.buffered_bytes, 0);
    open_for(f, &next, 0); /* nothing of the one before is left in its flow */
    write_to(&next, TUNNEL_WINDOW);
    assert_int_equal(hear_data(f, 0), TUNNEL_WINDOW);
    close_for(f, &next, 0);
}

static void what_was_under_way_when_the_stream_closed_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct served served;
    open_for(f, &served, 0);
    stream_close(&served.stream);
    hear_end(f, 0, TUNNEL_END_CLOSED);
    say_data(f, 0, TUNNEL_CREDIT_STEP);
    say_credit(f, 0, 0);
    hear_nothing(f);
    assert_int_equal(served.taken, 0);
    say_end_of(f, 0, TUNNEL_END_CLOSED);
    hear_nothing(f);
}

/* ---- links that end -----------------------------------------------------------------------------
 */

static void streams_end_with_their_link_whatever_they_are_at(void **state)
{
    struct fixture *f = *state;
    struct served some[SOME];
    for (uint32_t i = 0; i < SOME; i++)
        open_for(f, &some[i], i);
    stream_pause(&some[0].stream);
    say_text(f, 0, "kept");
    write_to(&some[1], 2 * TUNNEL_WINDOW);
    stream_close(&some[2].stream); /* and its end is not answered */
    turn(f);
    far_close(&f->link);
    for (uint32_t i = 0; i < SOME; i++)
        TURN_UNTIL(f, some[i].closed == 1);
    assert_int_equal(some[0].reason, STREAM_CLOSED_BY_ERROR);
    assert_int_equal(some[1].reason, STREAM_CLOSED_BY_ERROR);
    assert_int_equal(some[2].reason, STREAM_CLOSED_BY_US);
    assert_int_equal(metric(f, METRIC_TUNNELS_HOME), 0);
}

static void node_that_is_away_has_no_link_left(void **state)
{
    struct fixture *f = *state;
    struct served served;
    open_for(f, &served, 0);
    tunnels_post_close(f->tunnels, REMOTE + 1);
    hear_nothing(f);
    tunnels_post_close(f->tunnels, REMOTE);
    hear_hang_up(f);
    TURN_UNTIL(f, served.closed == 1);
    assert_int_equal(served.reason, STREAM_CLOSED_BY_ERROR);
}

static void worker_that_stops_takes_no_link(void **state)
{
    struct fixture *f = *state;
    int ends[2];
    tunnels_close(f->tunnels);
    hear_hang_up(f);
    far_free(&f->link);
    pair_open(ends);
    f->link = (struct far){.fd = ends[1]};
    tunnels_post_in(f->tunnels, REMOTE, ends[0], bytes_of(NULL, 0));
    hear_hang_up(f);
}

/* ---- frames that make no sense ------------------------------------------------------------------
 */

static void say_open_of_one_that_is(struct fixture *f)
{
    say_open(f, 0);
}

static void say_open_above_the_limit(struct fixture *f)
{
    say_open(f, TUNNELS_MAX);
}

static void say_short_open(struct fixture *f)
{
    uint8_t body[TUNNEL_OPEN_SIZE - 1] = {0, 0, 0, 1};
    say(f, LINK_TUNNEL_OPEN, 0, bytes_of(body, sizeof(body)));
}

static void say_open_of_a_transport_that_is_none(struct fixture *f)
{
    struct tunnel_open open = {.id = 1, .transport = TRANSPORT_WEBSOCKET + 1};
    uint8_t body[TUNNEL_OPEN_SIZE];
    tunnel_open_write(&open, body);
    say(f, LINK_TUNNEL_OPEN, 0, bytes_of(body, sizeof(body)));
}

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
    say_credit(f, 1, 0);
}

static void say_long_credit(struct fixture *f)
{
    uint8_t body[TUNNEL_CREDIT_SIZE + 1] = {0};
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
    say_end_of(f, 0, TUNNEL_END_CLOSED);
    say_end_of(f, 0, TUNNEL_END_CLOSED);
}

static void say_data_after_end(struct fixture *f)
{
    say_end_of(f, 0, TUNNEL_END_CLOSED);
    say_text(f, 0, "x");
}

static void say_what_is_not_said_here(struct fixture *f)
{
    say(f, LINK_HEARTBEAT, 0, bytes_of(NULL, 0));
}

static void frame_that_makes_no_sense_ends_the_link_and_its_streams(void **state)
{
    static void (*const wrong[])(struct fixture * f) = {
        say_open_of_one_that_is,
        say_open_above_the_limit,
        say_short_open,
        say_open_of_a_transport_that_is_none,
        say_long_data,
        say_no_data,
        say_data_of_nobody,
        say_credit_of_nobody,
        say_long_credit,
        say_end_of_nobody,
        say_end_without_a_reason,
        say_end_twice,
        say_data_after_end,
        say_what_is_not_said_here,
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct served served;
        struct fixture *f = *state;
        open_for(f, &served, 0);
        wrong[i](f);
        hear_hang_up(f);
        TURN_UNTIL(f, served.closed == 1);
        assert_int_equal(served.ended, 1);
        assert_int_equal(f->refused, 0);
        tear_down(state);
        set_up(state);
    }
}

#define RULE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(client_is_who_the_edge_says_and_its_bytes_go_both_ways),
        RULE(client_that_is_not_accepted_is_told_the_end_and_its_id_is_free_behind_it),
        RULE(output_is_a_window_and_then_as_much_as_is_worked_off),
        RULE(input_is_credited_in_steps),
        RULE(paused_stream_keeps_a_window_and_takes_it_when_it_goes_on),
        RULE(one_byte_more_than_the_window_ends_the_link),
        RULE(credit_for_what_was_never_sent_ends_the_link),
        RULE(link_that_is_full_holds_streams_back_and_then_lets_all_go_on),
        RULE(end_that_the_edge_says_is_the_clients),
        RULE(last_words_wait_for_credit_before_the_end_is_said),
        RULE(client_that_closes_in_the_middle_takes_the_rest_with_it),
        RULE(what_was_under_way_when_the_stream_closed_is_dropped),
        RULE(streams_end_with_their_link_whatever_they_are_at),
        RULE(node_that_is_away_has_no_link_left),
        RULE(worker_that_stops_takes_no_link),
        RULE(frame_that_makes_no_sense_ends_the_link_and_its_streams),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "model/message.h"
#include "net/carried.h"
#include "net/net_fixture.h"

struct outer;

/* A far end that takes as much as a test lets it. */
struct far {
    struct stream_carrier carrier;
    struct outer *outer;
    struct fixture *f;
    uint8_t *taken;
    size_t taken_len, room, pieces, shared, last_left;
    size_t wanted, finished, closed;
};

static struct far *far_of(const struct stream_carrier *carrier)
{
    return CONTAINER_OF((struct stream_carrier *)(uintptr_t)carrier, struct far, carrier);
}

static size_t far_send(struct stream_carrier *carrier, struct bytes bytes, struct message *message,
                       size_t left)
{
    struct far *far = far_of(carrier);
    size_t len = bytes.len < far->room ? bytes.len : far->room;

    assert_int_equal(far->closed, 0);
    far->taken = realloc(far->taken, far->taken_len + len + 1);
    assert_non_null(far->taken);
    memcpy(far->taken + far->taken_len, bytes.data, len);
    far->taken_len += len;
    far->room -= len;
    far->pieces++;
    far->shared += message != NULL;
    far->last_left = left;
    return len;
}

static void far_wanted(struct stream_carrier *carrier)
{
    far_of(carrier)->wanted++;
}

static void far_finished(struct stream_carrier *carrier)
{
    far_of(carrier)->finished++;
}

static void far_closed(struct stream_carrier *carrier)
{
    far_of(carrier)->closed++;
}

static size_t far_unsent(const struct stream_carrier *carrier)
{
    (void)carrier;
    return 7;
}

static const struct stream_carrier_ops far_ops = {
    .send = far_send,
    .wanted = far_wanted,
    .finished = far_finished,
    .closed = far_closed,
    .unsent = far_unsent,
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct far *far = calloc(1, sizeof(*far));

    assert_non_null(f);
    assert_non_null(far);
    loop_init(&f->loop, &fixture_loop_ops, f);
    f->peer = -1;
    *far = (struct far){.carrier.ops = &far_ops, .f = f, .room = SIZE_MAX};
    stream_open_carried(&f->stream, &f->loop, &fixture_stream_ops, TRANSPORT_TCP, &far->carrier);
    *state = far;
    return 0;
}

static int tear_down(void **state)
{
    struct far *far = *state;

    fixture_free(far->f);
    assert_int_equal(far->closed, 1);
    free(far->taken);
    free(far);
    return 0;
}

/* A record as the fixture's upper layer takes it, whose body is `len` bytes of `fill`. */
static struct bytes record(uint8_t *out, uint32_t len, uint8_t fill)
{
    memcpy(out, &len, sizeof(len));
    memset(out + sizeof(len), fill, len);
    return bytes_of(out, sizeof(len) + len);
}

static void come(struct far *far, struct bytes bytes)
{
    stream_carry_in(&far->carrier, bytes);
}

/* ---- input --- */

static void input_is_handed_up_at_once_and_what_is_not_consumed_comes_again(void **state)
{
    struct far *far = *state;
    uint8_t room[64];
    struct bytes whole = record(room, 20, 'a');

    come(far, bytes_of(whole.data, 10));
    assert_int_equal(far->f->record_count, 0);
    come(far, bytes_of(whole.data + 10, whole.len - 10));
    assert_int_equal(far->f->record_count, 1);
    assert_int_equal(far->f->records_len, 20);
    assert_null(far->f->stream.kept);
}

static void input_arrives_in_order_however_it_is_cut(void **state)
{
    enum { RECORDS = 200 };
    struct far *far = *state;
    uint8_t all[RECORDS * 8];
    size_t len = 0;

    for (int i = 0; i < RECORDS; i++)
        len += record(all + len, (uint32_t)(i % 4), (uint8_t)i).len;
    for (size_t at = 0, cut = 1; at < len; at += cut, cut = cut % 7 + 1) {
        if (cut > len - at)
            cut = len - at;
        come(far, bytes_of(all + at, cut));
    }
    assert_int_equal(far->f->record_count, RECORDS);
    size_t at = 0;
    for (int i = 0; i < RECORDS; i++)
        for (int n = 0; n < i % 4; n++)
            assert_int_equal(far->f->records[at++], (uint8_t)i);
}

static void input_of_a_paused_stream_is_kept_and_wanted_comes_when_it_was_taken(void **state)
{
    struct far *far = *state;
    uint8_t room[64];

    stream_pause(&far->f->stream);
    come(far, record(room, 3, 'a'));
    come(far, record(room, 3, 'b'));
    assert_int_equal(far->f->record_count, 0);
    assert_int_equal(far->wanted, 0);
    stream_resume(&far->f->stream);
    turn(far->f);
    assert_int_equal(far->f->record_count, 2);
    assert_memory_equal(far->f->records, "aaabbb", 6);
    assert_int_equal(far->wanted, 1);
}

static void input_between_resume_and_the_next_turn_stays_behind_what_was_kept(void **state)
{
    struct far *far = *state;
    uint8_t room[64];

    stream_pause(&far->f->stream);
    come(far, record(room, 1, 'a'));
    stream_resume(&far->f->stream);
    come(far, record(room, 1, 'b'));
    turn(far->f);
    assert_memory_equal(far->f->records, "ab", 2);
}

static void nothing_is_wanted_while_the_receiver_pauses_again(void **state)
{
    struct far *far = *state;
    uint8_t room[64];

    far->f->records_max = 1;
    stream_pause(&far->f->stream);
    come(far, record(room, 1, 'a'));
    come(far, record(room, 1, 'b'));
    stream_resume(&far->f->stream);
    turn(far->f);
    assert_int_equal(far->f->record_count, 1);
    assert_int_equal(far->wanted, 0);
}

/* ---- output --- */

static void output_of_a_turn_leaves_in_one_piece(void **state)
{
    struct far *far = *state;

    for (int i = 0; i < 10; i++)
        assert_int_equal(stream_write(&far->f->stream, bytes_of_str("ab")), RC_OK);
    assert_int_equal(far->pieces, 0);
    turn(far->f);
    assert_int_equal(far->pieces, 1);
    assert_int_equal(far->taken_len, 20);
    assert_int_equal(far->last_left, 0);
    assert_int_equal(stream_unsent(&far->f->stream), 7);
}

static void a_big_payload_is_offered_in_its_message(void **state)
{
    struct far *far = *state;
    uint8_t payload[STREAM_REFERENCE_MIN];

    memset(payload, 'p', sizeof(payload));
    struct publication publication = {.topic = bytes_of_str("t"),
                                      .payload = bytes_of(payload, sizeof(payload))};
    struct message *message = message_new(&publication);
    assert_non_null(message);
    assert_int_equal(stream_write(&far->f->stream, bytes_of_str("head")), RC_OK);
    stream_write_message(&far->f->stream, message, message->publication.payload);
    message_drop(message);
    far->room = 5000; /* it is cut in the middle, too */
    turn(far->f);
    far->room = SIZE_MAX;
    stream_carry_on(&far->carrier);
    turn(far->f);
    assert_int_equal(far->taken_len, 4 + sizeof(payload));
    assert_memory_equal(far->taken, "headppp", 7);
    assert_int_equal(far->shared, 2);
}

static void output_waits_for_room_and_goes_on_in_order(void **state)
{
    struct far *far = *state;

    far->room = 3;
    assert_int_equal(stream_write(&far->f->stream, bytes_of_str("abcdef")), RC_OK);
    turn(far->f);
    assert_int_equal(stream_write(&far->f->stream, bytes_of_str("ghi")), RC_OK);
    turn(far->f);
    assert_int_equal(far->taken_len, 3);
    far->room = SIZE_MAX;
    stream_carry_on(&far->carrier);
    turn(far->f);
    assert_memory_equal(far->taken, "abcdefghi", 9);
}

static void above_high_water_the_writer_holds_until_drained(void **state)
{
    struct far *far = *state;
    static uint8_t block[64 * 1024];

    far->room = 0;
    for (int i = 0; i < 5; i++)
        assert_int_equal(stream_write(&far->f->stream, bytes_of(block, sizeof(block))), RC_OK);
    assert_true(stream_is_high(&far->f->stream));
    turn(far->f);
    assert_int_equal(far->f->drained, 0);
    far->room = SIZE_MAX;
    stream_carry_on(&far->carrier);
    turn(far->f);
    assert_int_equal(far->f->drained, 1);
    assert_int_equal(far->taken_len, 5 * sizeof(block));
}

static void too_much_output_ends_the_stream_and_nothing_follows_the_hole(void **state)
{
    struct far *far = *state;
    struct stream *stream = &far->f->stream;

    assert_int_equal(stream_write(stream, bytes_of_str("before")), RC_OK);
    assert_null(stream_reserve(stream, (size_t)STREAM_OUT_MAX + 1));
    assert_int_equal(far->f->ended, 0); /* the caller may be anywhere */
    stream_write(stream, bytes_of_str("after"));
    TURN_UNTIL(far->f, far->f->ended == 1);
    assert_int_equal(far->f->reason, STREAM_CLOSED_BY_ERROR);
    assert_int_equal(far->taken_len, 0);
}

/* ---- the end --- */

static void closing_throws_output_away_and_tells_the_carrier(void **state)
{
    struct far *far = *state;

    stream_write(&far->f->stream, bytes_of_str("abc"));
    stream_close(&far->f->stream);
    assert_int_equal(far->closed, 1);
    assert_int_equal(far->f->ended, 1);
    assert_int_equal(far->f->reason, STREAM_CLOSED_BY_US);
    turn(far->f);
    assert_int_equal(far->taken_len, 0);
    assert_int_equal(far->f->closed, 1);
}

static void closing_after_the_flush_sends_all_and_waits_for_the_far_end(void **state)
{
    struct far *far = *state;

    far->room = 2;
    stream_write(&far->f->stream, bytes_of_str("abcd"));
    stream_close_after_flush(&far->f->stream, 60 * 1000);
    turn(far->f);
    assert_int_equal(far->finished, 0); /* half of it is still here */
    far->room = SIZE_MAX;
    stream_carry_on(&far->carrier);
    turn(far->f);
    assert_memory_equal(far->taken, "abcd", 4);
    assert_int_equal(far->finished, 1);
    assert_int_equal(far->closed, 0);
    come(far, bytes_of_str("thrown away"));
    stream_carry_end(&far->carrier, STREAM_CLOSED_BY_PEER);
    assert_int_equal(far->closed, 1);
    assert_int_equal(far->f->ended, 1);
    assert_int_equal(far->f->received_calls, 0);
}

static void a_far_end_that_does_not_close_is_waited_for_a_while(void **state)
{
    struct far *far = *state;

    stream_close_after_flush(&far->f->stream, 20);
    TURN_UNTIL(far->f, far->closed == 1);
    assert_int_equal(far->finished, 1);
}

static void the_end_of_the_far_end_is_told_with_its_reason(void **state)
{
    struct far *far = *state;

    turn(far->f); /* a turn has a share of ends */
    stream_write(&far->f->stream, bytes_of_str("abc"));
    stream_carry_end(&far->carrier, STREAM_CLOSED_BY_PEER);
    assert_int_equal(far->f->reason, STREAM_CLOSED_BY_PEER);
    assert_int_equal(far->closed, 1);
    assert_int_equal(stream_write(&far->f->stream, bytes_of_str("abc")), RC_CLOSED);
    turn(far->f);
    assert_int_equal(far->taken_len, 0);
}

static void close_at_record(struct fixture *f)
{
    stream_close(&f->stream);
}

static void a_receiver_may_close_while_it_is_handed_bytes(void **state)
{
    struct far *far = *state;
    uint8_t room[64];
    size_t len = record(room, 1, 'a').len;

    len += record(room + len, 1, 'b').len;
    far->f->on_record = close_at_record;
    come(far, bytes_of(room, len));
    assert_int_equal(far->f->record_count, 1);
    assert_int_equal(far->closed, 1);
}

/* ---- inside another stream --- */

struct outer {
    struct stream stream;
    struct far *far;
};

/* Everything that comes on the outer stream is for the carried one. */
static size_t outer_received(struct stream *stream, struct bytes in)
{
    struct outer *outer = CONTAINER_OF(stream, struct outer, stream);

    stream_carry_in(&outer->far->carrier, in);
    assert_ptr_equal(stream->loop->receiving, stream);
    return in.len;
}

static void outer_ended(struct stream *stream, enum stream_close_reason reason)
{
    (void)stream;
    (void)reason;
}

static void outer_closed(struct stream *stream)
{
    (void)stream;
}

static const struct stream_ops outer_ops = {
    .received = outer_received, .ended = outer_ended, .closed = outer_closed};

static size_t send_into_outer(struct stream_carrier *carrier, struct bytes bytes,
                              struct message *message, size_t left)
{
    (void)message;
    (void)left;
    assert_int_equal(stream_write(&far_of(carrier)->outer->stream, bytes), RC_OK);
    return bytes.len;
}

static void answer_record(struct fixture *f)
{
    stream_write(&f->stream, bytes_of_str("yes"));
}

static void an_answer_leaves_in_the_turn_in_which_the_question_came(void **state)
{
    struct far *far = *state;
    struct stream_carrier_ops ops = far_ops;
    struct outer outer = {.far = far};
    uint8_t room[64], answer[4];
    int ends[2];

    ops.send = send_into_outer;
    far->carrier.ops = &ops;
    far->outer = &outer;
    far->f->on_record = answer_record;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(stream_open(&outer.stream, &far->f->loop, &outer_ops, ends[0], TRANSPORT_TCP,
                                 NULL, bytes_of(NULL, 0)),
                     RC_OK);
    struct bytes question = record(room, 9, 'q');
    assert_int_equal(write(ends[1], question.data, question.len), (ssize_t)question.len);
    turn(far->f);
    assert_int_equal(read(ends[1], answer, sizeof(answer)), 3);
    stream_close(&outer.stream);
    turn(far->f);
    close(ends[1]);
    far->carrier.ops = &far_ops;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(input_is_handed_up_at_once_and_what_is_not_consumed_comes_again),
        TEST(input_arrives_in_order_however_it_is_cut),
        TEST(input_of_a_paused_stream_is_kept_and_wanted_comes_when_it_was_taken),
        TEST(input_between_resume_and_the_next_turn_stays_behind_what_was_kept),
        TEST(nothing_is_wanted_while_the_receiver_pauses_again),
        TEST(output_of_a_turn_leaves_in_one_piece),
        TEST(a_big_payload_is_offered_in_its_message),
        TEST(output_waits_for_room_and_goes_on_in_order),
        TEST(above_high_water_the_writer_holds_until_drained),
        TEST(too_much_output_ends_the_stream_and_nothing_follows_the_hole),
        TEST(closing_throws_output_away_and_tells_the_carrier),
        TEST(closing_after_the_flush_sends_all_and_waits_for_the_far_end),
        TEST(a_far_end_that_does_not_close_is_waited_for_a_while),
        TEST(the_end_of_the_far_end_is_told_with_its_reason),
        TEST(a_receiver_may_close_while_it_is_handed_bytes),
        TEST(an_answer_leaves_in_the_turn_in_which_the_question_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

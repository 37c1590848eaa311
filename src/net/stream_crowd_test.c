/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many streams of one loop: what one of them may do to others that the kernel has reported in the
 * same turn, and that nobody has to wait for long. Each member is freed by its closed(), so that a
 * sanitizer sees whoever comes too late.
 */
#include "net/net_fixture.h"

#include "model/message.h"

#include <sys/resource.h>

struct crowd;

struct member {
    struct stream stream;
    struct crowd *crowd;
    struct member **slot; /* in the crowd; NULL once it is freed */
    int peer;
    size_t received_calls;
};

struct crowd {
    struct loop loop;
    struct member **members;
    size_t count, calls, ended, closed;
    void (*on_received)(struct member *member);
    int detached_fd;
};

static size_t member_received(struct stream *stream, struct bytes in)
{
    struct member *member = CONTAINER_OF(stream, struct member, stream);

    member->received_calls++;
    member->crowd->calls++;
    if (member->crowd->on_received != NULL)
        member->crowd->on_received(member);
    return in.len;
}

static void member_drained(struct stream *stream)
{
    (void)stream;
}

static void member_ended(struct stream *stream, enum stream_close_reason reason)
{
    (void)reason;
    CONTAINER_OF(stream, struct member, stream)->crowd->ended++;
}

static void member_closed(struct stream *stream)
{
    struct member *member = CONTAINER_OF(stream, struct member, stream);

    member->crowd->closed++;
    *member->slot = NULL;
    close(member->peer);
    free(member);
}

static const struct stream_ops member_ops = {
    .received = member_received,
    .drained = member_drained,
    .ended = member_ended,
    .closed = member_closed,
};

static bool crowd_turn(void *owner)
{
    (void)owner;
    return false;
}

static void crowd_stopping(void *owner)
{
    struct crowd *crowd = owner;

    for (size_t i = 0; i < crowd->count; i++) {
        if (crowd->members[i] != NULL)
            stream_close(&crowd->members[i]->stream);
    }
}

static const struct loop_ops crowd_loop_ops = {.turn = crowd_turn, .stopping = crowd_stopping};

static void member_join(struct crowd *crowd, size_t index)
{
    struct member *member = calloc(1, sizeof(*member));
    int ends[2];

    assert_non_null(member);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    member->crowd = crowd;
    member->peer = ends[1];
    member->slot = &crowd->members[index];
    crowd->members[index] = member;
    assert_int_equal(stream_open(&member->stream, &crowd->loop, &member_ops, ends[0], TRANSPORT_TCP,
                                 NULL, bytes_of(NULL, 0)),
                     RC_OK);
}

static struct crowd *crowd_new(size_t count)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    struct rlimit limit;

    assert_non_null(crowd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    loop_init(&crowd->loop, &crowd_loop_ops, crowd);
    crowd->members = calloc(count, sizeof(struct member *));
    assert_non_null(crowd->members);
    crowd->count = count;
    for (size_t i = 0; i < count; i++)
        member_join(crowd, i);
    return crowd;
}

/* Stops the loop, which must end with every member closed. */
static void crowd_free(struct crowd *crowd)
{
    loop_stop(&crowd->loop);
    loop_run(&crowd->loop);
    assert_int_equal(crowd->closed, crowd->count);
    loop_deinit(&crowd->loop);
    free(crowd->members);
    free(crowd);
}

static void peers_send(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++)
        assert_int_equal(send(crowd->members[i]->peer, "x", 1, MSG_NOSIGNAL), 1);
}

static struct member *other_than(struct member *member)
{
    struct member **members = member->crowd->members;
    return members[0] == member ? members[1] : members[0];
}

static bool loop_would_sleep(struct loop *loop)
{
    struct pollfd poll_fd = {.fd = loop->events_fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 0;
}

/* --- what one does to another --- */

static void close_the_other(struct member *member)
{
    stream_close(&other_than(member)->stream);
}

static void stream_closed_by_another_in_the_turn_of_its_own_input_is_not_called(void **state)
{
    struct crowd *crowd = crowd_new(2);

    (void)state;
    crowd->on_received = close_the_other;
    peers_send(crowd);
    loop_turn(&crowd->loop, LOOP_LOOK);
    assert_int_equal(crowd->calls, 1);
    assert_int_equal(crowd->ended, 1);
    assert_int_equal(crowd->closed, 1); /* at the end of the turn */
    crowd_free(crowd);
}

static void close_everybody(struct member *member)
{
    crowd_stopping(member->crowd);
}

static void streams_closed_all_at_once_from_received_are_freed_after_the_turn(void **state)
{
    struct crowd *crowd = crowd_new(100);

    (void)state;
    crowd->on_received = close_everybody;
    peers_send(crowd);
    loop_turn(&crowd->loop, LOOP_LOOK);
    assert_int_equal(crowd->calls, 1);
    assert_int_equal(crowd->ended, 100);
    assert_int_equal(crowd->closed, 100);
    crowd_free(crowd);
}

static void detach_the_other(struct member *member)
{
    struct stream_filter *filter;
    uint8_t *unread;
    size_t unread_len;

    member->crowd->detached_fd =
        stream_detach(&other_than(member)->stream, 0, &filter, &unread, &unread_len);
    assert_null(unread);
}

static void stream_detached_by_another_in_the_turn_of_its_own_input_keeps_that_input(void **state)
{
    struct crowd *crowd = crowd_new(2);
    uint8_t got[2];

    (void)state;
    crowd->on_received = detach_the_other;
    peers_send(crowd);
    loop_turn(&crowd->loop, LOOP_LOOK);
    assert_int_equal(crowd->calls, 1);
    assert_int_equal(crowd->ended, 0);
    assert_int_equal(crowd->closed, 1);
    assert_true(crowd->detached_fd >= 0);
    /* its peer is closed with it, which its former loop must not see */
    assert_true(loop_would_sleep(&crowd->loop));
    assert_int_equal(recv(crowd->detached_fd, got, sizeof(got), 0), 1);
    close(crowd->detached_fd);
    crowd_free(crowd);
}

static void pause_the_other(struct member *member)
{
    stream_pause(&other_than(member)->stream);
}

static void stream_paused_by_another_in_the_turn_of_its_own_input_waits(void **state)
{
    struct crowd *crowd = crowd_new(2);

    (void)state;
    crowd->on_received = pause_the_other;
    peers_send(crowd);
    for (int i = 0; i < 5; i++)
        loop_turn(&crowd->loop, LOOP_LOOK);
    assert_int_equal(crowd->calls, 1);
    crowd->on_received = NULL;
    stream_resume(&crowd->members[0]->stream);
    stream_resume(&crowd->members[1]->stream);
    loop_turn(&crowd->loop, LOOP_LOOK);
    assert_int_equal(crowd->calls, 2);
    crowd_free(crowd);
}

/* --- many at once --- */

/* This member is ready again at once. */
static void send_to_itself(struct member *member)
{
    assert_int_equal(send(member->peer, "x", 1, MSG_NOSIGNAL), 1);
}

static void streams_that_are_always_ready_take_turns(void **state)
{
    enum { COUNT = LOOP_EVENTS_PER_TURN * 3 / 2, TURNS = 30 };
    struct crowd *crowd = crowd_new(COUNT);
    size_t least = SIZE_MAX, most = 0;

    (void)state;
    crowd->on_received = send_to_itself;
    peers_send(crowd);
    for (size_t turns = 1; turns <= TURNS; turns++) {
        loop_turn(&crowd->loop, LOOP_LOOK);
        assert_int_equal(crowd->calls, turns * LOOP_EVENTS_PER_TURN);
    }
    for (size_t i = 0; i < COUNT; i++) {
        size_t calls = crowd->members[i]->received_calls;
        least = calls < least ? calls : least;
        most = calls > most ? calls : most;
    }
    assert_true(most - least <= 1);
    crowd_free(crowd);
}

/* Two dozen more than may end at once; what is left ends later in the turn, or in the next ones. */
enum { ENDING = LOOP_ENDS_AT_ONCE + 24 };

static void close_others_soon(struct member *member)
{
    struct crowd *crowd = member->crowd;

    for (size_t i = 0; i < ENDING; i++)
        stream_close_soon(&crowd->members[i]->stream);
    assert_int_equal(crowd->ended, LOOP_ENDS_AT_ONCE);
}

static void streams_that_end_soon_leave_time_for_others_and_end_all_the_same(void **state)
{
    struct crowd *crowd = crowd_new(ENDING + 1);

    (void)state;
    crowd->on_received = close_others_soon;
    assert_int_equal(send(crowd->members[ENDING]->peer, "x", 1, MSG_NOSIGNAL), 1);
    while (crowd->closed < ENDING)
        loop_turn(&crowd->loop, LOOP_MAY_SLEEP); /* must not block */
    assert_int_equal(crowd->ended, ENDING);
    assert_int_equal(crowd->calls, 1);
    crowd_free(crowd);
}

static void end_otherwise(struct member *member)
{
    struct crowd *crowd = member->crowd;
    struct stream *ending = &crowd->members[ENDING - 1]->stream;

    close_others_soon(member);
    stream_resume(ending); /* reads no more */
    stream_close_soon(ending);
    assert_int_equal(stream_write(ending, bytes_of("bye", 3)), RC_OK);
    stream_close_after_flush(ending, 0);
    stream_close(&crowd->members[ENDING - 2]->stream);
    assert_int_equal(crowd->ended, LOOP_ENDS_AT_ONCE + 2);
}

static void stream_that_ends_soon_may_be_closed_before(void **state)
{
    struct crowd *crowd = crowd_new(ENDING + 1);

    (void)state;
    peers_send(crowd); /* nobody gets to see it of those that end */
    crowd->on_received = end_otherwise;
    for (size_t i = 0; i < ENDING; i++)
        stream_pause(&crowd->members[i]->stream);
    while (crowd->closed < ENDING)
        loop_turn(&crowd->loop, LOOP_MAY_SLEEP);
    assert_int_equal(crowd->ended, ENDING);
    assert_int_equal(crowd->calls, 1);
    crowd_free(crowd);
}

static void bulk_output_goes_out_behind_the_rest(void **state)
{
    struct crowd *crowd = crowd_new(3);
    struct stream *bulk = &crowd->members[0]->stream, *prompt = &crowd->members[1]->stream;
    struct stream *both = &crowd->members[2]->stream;
    char got[8];

    (void)state;
    crowd->loop.output = LOOP_OUTPUT_BULK;
    assert_int_equal(stream_write(bulk, bytes_of("a", 1)), RC_OK);
    assert_int_equal(stream_write(both, bytes_of("b", 1)), RC_OK);
    crowd->loop.output = LOOP_OUTPUT_PROMPT;
    assert_int_equal(stream_write(prompt, bytes_of("c", 1)), RC_OK);
    assert_int_equal(stream_write(both, bytes_of("d", 1)), RC_OK);
    assert_true(crowd->loop.dirty.next == &prompt->link && prompt->link.next == &both->link);
    assert_true(crowd->loop.bulk.next == &bulk->link && bulk->link.next == &crowd->loop.bulk);
    loop_turn(&crowd->loop, LOOP_MAY_SLEEP); /* must not block */
    assert_int_equal(recv(crowd->members[0]->peer, got, sizeof(got), 0), 1);
    assert_int_equal(recv(crowd->members[1]->peer, got, sizeof(got), 0), 1);
    assert_int_equal(recv(crowd->members[2]->peer, got, sizeof(got), 0), 2);
    assert_memory_equal(got, "bd", 2);
    crowd_free(crowd);
}

/* --- what must wake the loop, keep it awake, or not --- */

static void stream_closed_between_two_turns_keeps_the_loop_awake(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);

    (void)state;
    turn(f);
    stream_close(&f->stream);
    loop_turn(&f->loop, LOOP_MAY_SLEEP);
    assert_int_equal(f->closed, 1);
    assert_int_equal(f->sleeps, 0);
    fixture_free(f);
}

static void stream_on_a_socket_without_a_peer_ends(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    (void)state;
    assert_non_null(f);
    assert_true(fd >= 0);
    loop_init(&f->loop, &fixture_loop_ops, f);
    f->peer = -1;
    assert_int_equal(stream_open(&f->stream, &f->loop, &fixture_stream_ops, fd, TRANSPORT_TCP, NULL,
                                 bytes_of(NULL, 0)),
                     RC_OK);
    TURN_UNTIL(f, f->ended == 1);
    assert_int_equal(f->reason, STREAM_CLOSED_BY_ERROR);
    fixture_free(f);
}

static void stream_paused_lets_the_loop_sleep_though_its_peer_has_reset(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);

    (void)state;
    /* given a peer that is gone without having read */
    assert_int_equal(stream_write(&f->stream, bytes_of("unread", 6)), RC_OK);
    turn(f);
    turn(f);
    stream_pause(&f->stream);
    peer_close(f);
    for (int i = 0; i < 5; i++)
        turn(f);
    assert_true(loop_would_sleep(&f->loop));
    assert_int_equal(f->ended, 0);
    stream_resume(&f->stream);
    TURN_UNTIL(f, f->ended == 1);
    fixture_free(f);
}

/* One that consumes a little a turn keeps what was read once, not what could be read each turn. */
static void stream_that_goes_on_reads_more_only_when_what_is_kept_was_handed_up(void **state)
{
    enum { TURNS = 100, RECORD = 1024 };
    static const uint8_t record[sizeof(uint32_t) + RECORD] = {RECORD & 0xff, RECORD >> 8};
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    int size = 4 * LOOP_READ_SIZE;

    (void)state;
    setsockopt(f->peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    for (int turns = 0; turns < TURNS; turns++) {
        while (send(f->peer, record, sizeof(record), MSG_NOSIGNAL) == (ssize_t)sizeof(record))
            continue;
        f->records_max = f->record_count + 1;
        stream_resume(&f->stream);
        turn(f);
        assert_int_equal(f->record_count, f->records_max);
    }
    assert_true(f->largest_span <= LOOP_READ_HEADROOM + LOOP_READ_SIZE);
    fixture_free(f);
}

static void stream_output_beyond_its_maximum_is_refused(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    struct publication publication = {
        .topic = bytes_of_str("t"),
        .payload = bytes_of_str("never read: the stream is closed before it is flushed"),
    };
    struct message *message = message_new(&publication);
    struct bytes huge = bytes_of(message->publication.payload.data, STREAM_OUT_MAX - 11);

    (void)state;
    assert_int_equal(stream_write(&f->stream, bytes_of("h", 1)), RC_OK);
    stream_write_message(&f->stream, message, huge);
    assert_int_equal(stream_write(&f->stream, bytes_of("0123456789a", 11)), RC_NO_MEMORY);
    assert_null(stream_reserve(&f->stream, 11));
    assert_int_equal(stream_write(&f->stream, bytes_of("0123456789", 10)), RC_OK);
    assert_int_equal(f->stream.out_bytes, STREAM_OUT_MAX);
    stream_close(&f->stream);
    assert_int_equal(message->references, 1);
    message_drop(message);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_closed_by_another_in_the_turn_of_its_own_input_is_not_called),
        cmocka_unit_test(streams_closed_all_at_once_from_received_are_freed_after_the_turn),
        cmocka_unit_test(stream_detached_by_another_in_the_turn_of_its_own_input_keeps_that_input),
        cmocka_unit_test(stream_paused_by_another_in_the_turn_of_its_own_input_waits),
        cmocka_unit_test(streams_that_are_always_ready_take_turns),
        cmocka_unit_test(streams_that_end_soon_leave_time_for_others_and_end_all_the_same),
        cmocka_unit_test(stream_that_ends_soon_may_be_closed_before),
        cmocka_unit_test(bulk_output_goes_out_behind_the_rest),
        cmocka_unit_test(stream_closed_between_two_turns_keeps_the_loop_awake),
        cmocka_unit_test(stream_on_a_socket_without_a_peer_ends),
        cmocka_unit_test(stream_paused_lets_the_loop_sleep_though_its_peer_has_reset),
        cmocka_unit_test(stream_that_goes_on_reads_more_only_when_what_is_kept_was_handed_up),
        cmocka_unit_test(stream_output_beyond_its_maximum_is_refused),
    };
    return cmocka_run_group_tests_name("stream_crowd", tests, NULL, NULL);
}

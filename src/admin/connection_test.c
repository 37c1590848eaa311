/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time and order on one connection, with a loop that is turned by hand: a timer is brought forward
 * instead of waited for.
 */
/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/server_internal.h"
#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DEADLINE_MS = 10 * 1000, PIECE = 64 * 1024 };

/* A server without a thread, and the other end of its one connection. */
struct fixture {
    struct admin_server server;
    struct admin_call *kept; /* by the handler that answers later */
    unsigned pieces, pieces_max;
    bool ended;
    int peer;
    char got[4096];
    size_t got_len;
};

static void answer_later(struct admin_call *call)
{
    struct fixture *f = call_context(call);
    f->kept = call;
}

static void next_piece(struct admin_call *call)
{
    static const char text[PIECE] = {' '};
    struct fixture *f = call_context(call);

    if (f->pieces < f->pieces_max && call_piece(call, bytes_of(text, sizeof(text)))) {
        f->pieces++;
        call_again(call);
        return;
    }
    f->ended = true;
    call_end(call);
}

static void answer_in_pieces(struct admin_call *call)
{
    call_stream(call, next_piece);
}

static void work(void *own)
{
    *(pthread_t *)own = pthread_self();
}

static void work_is_done(struct admin_call *call)
{
    pthread_t *worked = call_own(call);
    bool elsewhere = !pthread_equal(*worked, pthread_self());

    mem_free(worked);
    call_answer(call, 200, json_pack("{s:b}", "elsewhere", elsewhere));
}

static void answer_after_work(struct admin_call *call)
{
    call_set_own(call, NEW(pthread_t));
    call_work(call, work, work_is_done);
}

static void answer_now(struct admin_call *call)
{
    call_answer(call, 200, json_object());
}

static const struct resource table[] = {
    {.method = HTTP_GET, .path = "/now", .name = "now", .summary = "now", .handle = answer_now},
    {.method = HTTP_GET, .path = "/later", .name = "l", .summary = "l", .handle = answer_later},
    {.method = HTTP_GET, .path = "/work", .name = "w", .summary = "w", .handle = answer_after_work},
    {.method = HTTP_GET, .path = "/long", .name = "p", .summary = "p", .handle = answer_in_pieces},
    {0},
};

static bool fixture_turn(void *owner)
{
    struct fixture *f = owner;

    calls_turn(&f->server);
    return !list_empty(&f->server.ready);
}

static const struct loop_ops loop_ops = {.turn = fixture_turn};

static struct fixture *fixture_new(void)
{
    struct fixture *f = NEW(struct fixture);
    int ends[2];

    f->server.options = (struct admin_server_options){
        .table = table, .context = f, .limits = &server_limits_trusted};
    list_init(&f->server.connections);
    list_init(&f->server.lines);
    list_init(&f->server.ready);
    loop_init(&f->server.loop, &loop_ops, f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    f->peer = ends[1];
    http_connection_open(&f->server, ends[0]);
    return f;
}

static void turn(struct fixture *f)
{
    loop_turn(&f->server.loop, LOOP_LOOK);
}

#define TURN_UNTIL(f, condition)                                                                   \
    do {                                                                                           \
        uint64_t deadline_ms_ = clock_ms() + DEADLINE_MS;                                          \
        while (!(condition)) {                                                                     \
            turn(f);                                                                               \
            if (clock_ms() > deadline_ms_)                                                         \
                fail_msg("never: %s", #condition);                                                 \
        }                                                                                          \
    } while (0)

static void fixture_free(struct fixture *f)
{
    if (f->peer >= 0)
        close(f->peer);
    TURN_UNTIL(f, f->server.connection_count == 0);
    assert_int_equal(f->server.holds, 0);
    loop_deinit(&f->server.loop);
    mem_free(f);
}

static struct http_connection *connection(struct fixture *f)
{
    assert_int_equal(f->server.connection_count, 1);
    return CONTAINER_OF(f->server.connections.next, struct http_connection, link);
}

/* The connection's timer fires in the next turn. */
static void bring_forward(struct fixture *f)
{
    assert_true(timer_running(&connection(f)->timer.timer));
    loop_timer_start(&f->server.loop, &connection(f)->timer, f->server.loop.now_ms);
}

static void say(struct fixture *f, const char *text)
{
    assert_int_equal(send(f->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void ask(struct fixture *f, const char *path)
{
    char text[128];

    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    say(f, text);
}

/* Whether the peer has read this by now. */
static bool heard(struct fixture *f, const char *text)
{
    ssize_t got = recv(f->peer, f->got + f->got_len, sizeof(f->got) - 1 - f->got_len, 0);

    if (got > 0)
        f->got_len += (size_t)got;
    return strstr(f->got, text) != NULL;
}

static bool heard_the_end(struct fixture *f)
{
    char byte;
    return recv(f->peer, &byte, 1, 0) == 0;
}

static void request_that_takes_too_long_gets_408_and_the_end(void **state)
{
    struct fixture *f = fixture_new();

    (void)state;
    say(f, "GET /now HT");
    TURN_UNTIL(f, http_request_begun(&connection(f)->request));
    bring_forward(f);
    TURN_UNTIL(f, heard(f, "HTTP/1.1 408 "));
    TURN_UNTIL(f, heard_the_end(f));
    fixture_free(f);
}

static void connection_that_asks_nothing_for_long_is_closed_without_a_word(void **state)
{
    struct fixture *f = fixture_new();

    (void)state;
    ask(f, "/now");
    TURN_UNTIL(f, heard(f, "{}"));
    bring_forward(f);
    TURN_UNTIL(f, heard_the_end(f));
    fixture_free(f);
}

static void handler_may_take_as_long_as_it_likes(void **state)
{
    struct fixture *f = fixture_new();

    (void)state;
    ask(f, "/later");
    TURN_UNTIL(f, f->kept != NULL);
    assert_false(timer_running(&connection(f)->timer.timer));
    call_answer(f->kept, 200, json_object());
    TURN_UNTIL(f, heard(f, "{}"));
    fixture_free(f);
}

static void work_that_blocks_is_done_on_another_thread(void **state)
{
    struct fixture *f = fixture_new();

    (void)state;
    ask(f, "/work");
    TURN_UNTIL(f, heard(f, "{\"elsewhere\":true}"));
    fixture_free(f);
}

static void next_request_waits_for_the_answer_to_the_one_before(void **state)
{
    struct fixture *f = fixture_new();

    (void)state;
    ask(f, "/later");
    ask(f, "/nowhere");
    TURN_UNTIL(f, f->kept != NULL);
    for (int i = 0; i < 5; i++)
        turn(f);
    assert_false(heard(f, "404"));
    call_answer(f->kept, 200, json_object());
    TURN_UNTIL(f, heard(f, "404"));
    assert_true(strstr(f->got, "{}") < strstr(f->got, "404"));
    fixture_free(f);
}

static void answer_to_a_peer_that_has_gone_is_thrown_away(void **state)
{
    struct fixture *f = fixture_new();

    (void)state;
    ask(f, "/later");
    TURN_UNTIL(f, f->kept != NULL);
    stream_close(&connection(f)->stream);
    TURN_UNTIL(f, f->server.connection_count == 0);
    assert_int_equal(f->server.holds, 1);
    call_answer(f->kept, 200, json_object());
    fixture_free(f);
}

static void answer_in_pieces_waits_for_its_reader(void **state)
{
    struct fixture *f = fixture_new();
    char sink[PIECE];

    (void)state;
    f->pieces_max = 100;
    ask(f, "/long");
    TURN_UNTIL(f, connection(f)->call != NULL && connection(f)->call->waits);
    assert_true(f->pieces < 20);
    assert_true(f->server.loop.buffered_bytes < 2 * STREAM_OUT_HIGH);
    TURN_UNTIL(f, recv(f->peer, sink, sizeof(sink), 0) <= 0 && f->ended);
    assert_int_equal(f->pieces, 100);
    fixture_free(f);
}

static void answer_that_nobody_reads_is_cut(void **state)
{
    struct fixture *f = fixture_new();

    (void)state;
    f->pieces_max = 100;
    ask(f, "/long");
    TURN_UNTIL(f, connection(f)->call != NULL && connection(f)->call->waits);
    turn(f);
    connection(f)->stuck_bytes = connection(f)->stream.out_bytes;
    bring_forward(f);
    TURN_UNTIL(f, f->ended);
    TURN_UNTIL(f, f->server.connection_count == 0);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_that_takes_too_long_gets_408_and_the_end),
        cmocka_unit_test(connection_that_asks_nothing_for_long_is_closed_without_a_word),
        cmocka_unit_test(handler_may_take_as_long_as_it_likes),
        cmocka_unit_test(work_that_blocks_is_done_on_another_thread),
        cmocka_unit_test(next_request_waits_for_the_answer_to_the_one_before),
        cmocka_unit_test(answer_to_a_peer_that_has_gone_is_thrown_away),
        cmocka_unit_test(answer_in_pieces_waits_for_its_reader),
        cmocka_unit_test(answer_that_nobody_reads_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

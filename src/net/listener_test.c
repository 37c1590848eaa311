/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net_fixture.h"

#include "net/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>

enum { ACCEPTED_MAX = 400 };

struct door {
    struct fixture *f; /* for its loop */
    struct listener listener;
    int fds[ACCEPTED_MAX];
    size_t count, closed;
};

static void on_accepted(struct listener *listener, int fd)
{
    struct door *d = listener->owner;
    assert_in_range(d->count, 0, ACCEPTED_MAX - 1);
    d->fds[d->count++] = fd;
}

static void on_closed(struct listener *listener)
{
    ((struct door *)listener->owner)->closed++;
}

static struct listener_address address_of(const char *host, uint16_t port)
{
    struct listener_address address = {.port = port};
    snprintf(address.host, sizeof(address.host), "%s", host);
    return address;
}

/* Opens a door at the address and gives its port. */
static uint16_t door_open(struct door *d, const char *host)
{
    struct listener_address address = address_of(host, 0);
    int fd = listener_bind(&address, 512);

    assert_true(fd >= 0);
    assert_int_not_equal(address.port, 0);
    d->f = fixture_new(TRANSPORT_TCP);
    assert_int_equal(listener_start(&d->listener, &d->f->loop, fd, TRANSPORT_TCP, on_accepted, d),
                     RC_OK);
    return address.port;
}

static void door_close(struct door *d)
{
    listener_close(&d->listener, on_closed);
    TURN_UNTIL(d->f, d->closed == 1);
    for (size_t i = 0; i < d->count; i++)
        close(d->fds[i]);
    fixture_free(d->f);
}

static int connect_v4(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void listener_gives_sockets_that_are_ready_for_a_stream(void **state)
{
    struct door d = {0};
    uint16_t port = door_open(&d, "127.0.0.1");
    int client = connect_v4(port);
    int no_delay = 0;
    socklen_t len = sizeof(no_delay);

    (void)state;
    TURN_UNTIL(d.f, d.count == 1);
    assert_true(fcntl(d.fds[0], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(d.fds[0], F_GETFD) & FD_CLOEXEC);
    assert_int_equal(getsockopt(d.fds[0], IPPROTO_TCP, TCP_NODELAY, &no_delay, &len), 0);
    assert_int_not_equal(no_delay, 0);
    close(client);
    door_close(&d);
}

static void listener_started_between_two_turns_accepts_in_the_next(void **state)
{
    struct door d = {0};
    uint16_t port = door_open(&d, "127.0.0.1");
    int client = connect_v4(port);

    (void)state;
    loop_turn(&d.f->loop, LOOP_MAY_SLEEP);
    assert_int_equal(d.count, 1);
    assert_int_equal(d.f->sleeps, 0);
    close(client);
    door_close(&d);
}

static void listener_takes_a_storm_in_few_turns(void **state)
{
    struct door d = {0};
    uint16_t port = door_open(&d, "127.0.0.1");
    int clients[200];

    (void)state;
    for (int i = 0; i < 200; i++)
        assert_true((clients[i] = connect_v4(port)) >= 0);
    d.f->turns = 0;
    TURN_UNTIL(d.f, d.count == 200);
    assert_in_range(d.f->turns, 200 / LISTENER_ACCEPTS_PER_TURN, 20);
    assert_int_equal(d.f->loop.counters.accepts, 200);
    for (int i = 0; i < 200; i++)
        close(clients[i]);
    door_close(&d);
}

static void listener_on_ipv6_leaves_ipv4_alone(void **state)
{
    struct door d = {0};
    uint16_t port = door_open(&d, "::1");
    struct sockaddr_in6 address = {
        .sin6_family = AF_INET6,
        .sin6_port = htons(port),
        .sin6_addr = IN6ADDR_LOOPBACK_INIT,
    };
    int client = socket(AF_INET6, SOCK_STREAM, 0);
    struct stream stream = {0};
    char name[64];

    (void)state;
    assert_int_equal(connect_v4(port), -1);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    TURN_UNTIL(d.f, d.count == 1);
    stream.fd = d.fds[0];
    stream_peer_name(&stream, name, sizeof(name));
    assert_memory_equal(name, "[::1]:", 6);
    close(client);
    door_close(&d);
}

static void listener_of_a_second_worker_shares_the_address(void **state)
{
    struct listener_address address = address_of("127.0.0.1", 0);
    int first, second;

    (void)state;
    address.exclusive = true;
    first = listener_bind(&address, 8);
    assert_true(first >= 0);
    address.exclusive = false;
    second = listener_bind(&address, 8);
    assert_true(second >= 0);
    close(first);
    close(second);
}

static void listener_that_is_exclusive_finds_a_port_that_is_taken(void **state)
{
    struct listener_address address = address_of("127.0.0.1", 0);
    int first = listener_bind(&address, 8);

    (void)state;
    assert_true(first >= 0);
    address.exclusive = true;
    assert_int_equal(listener_bind(&address, 8), -1);
    assert_int_equal(errno, EADDRINUSE);
    close(first);
}

static void listener_at_a_name_that_does_not_resolve_is_refused(void **state)
{
    struct listener_address address = address_of("no such host", 0);

    (void)state;
    assert_int_equal(listener_bind(&address, 8), -1);
    assert_int_equal(errno, EADDRNOTAVAIL);
}

static void listener_rests_while_there_are_no_descriptors(void **state)
{
    struct door d = {0};
    uint16_t port = door_open(&d, "127.0.0.1");
    struct rlimit limit, few;
    int client = connect_v4(port);
    uint64_t turns;

    (void)state;
    /* given a process that may open no more descriptors */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = (rlim_t)client; /* all below are in use */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    TURN_UNTIL(d.f, timer_running(&d.listener.rest.timer));
    /* then it does not try again and again, and goes on when there are some */
    turns = d.f->loop.counters.turns;
    assert_false(uv_is_active((uv_handle_t *)&d.listener.poll));
    assert_int_equal(d.count, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    TURN_UNTIL(d.f, d.count == 1);
    assert_true(d.f->loop.counters.turns > turns);
    close(client);
    door_close(&d);
}

static void listener_that_is_closed_refuses(void **state)
{
    struct door d = {0};
    uint16_t port = door_open(&d, "127.0.0.1");

    (void)state;
    door_close(&d);
    assert_int_equal(connect_v4(port), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listener_gives_sockets_that_are_ready_for_a_stream),
        cmocka_unit_test(listener_started_between_two_turns_accepts_in_the_next),
        cmocka_unit_test(listener_takes_a_storm_in_few_turns),
        cmocka_unit_test(listener_on_ipv6_leaves_ipv4_alone),
        cmocka_unit_test(listener_of_a_second_worker_shares_the_address),
        cmocka_unit_test(listener_that_is_exclusive_finds_a_port_that_is_taken),
        cmocka_unit_test(listener_at_a_name_that_does_not_resolve_is_refused),
        cmocka_unit_test(listener_rests_while_there_are_no_descriptors),
        cmocka_unit_test(listener_that_is_closed_refuses),
    };
    return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}

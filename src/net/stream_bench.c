/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a record costs the net layer: two loops on two threads with a TCP connection over loopback
 * between them, one sends 64-byte records with WINDOW of them under way, the other echoes each one
 * by itself. Prints nanoseconds of wall time and of CPU of both threads per echoed record: median
 * and worst of ten runs.
 */
#include "base/check.h"
#include "base/clock.h"
#include "net/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
    RECORD = 64,
    WINDOW = 2000,
    RECORDS = 1000 * 1000, /* a run */
    RUNS = 10,
};

struct side {
    struct loop loop;
    struct stream stream;
    struct listener listener;
    uint64_t sent, echoed, target;
};

static bool side_turn(void *owner)
{
    (void)owner;
    return false;
}

static void side_stopping(void *owner)
{
    stream_close(&((struct side *)owner)->stream);
}

static const struct loop_ops loop_ops = {.turn = side_turn, .stopping = side_stopping};

static void record_send(struct stream *stream, const uint8_t *record)
{
    uint8_t *room = stream_reserve(stream, RECORD);
    CHECK(room != NULL);
    memcpy(room, record, RECORD);
    stream_commit(stream, RECORD);
}

static size_t server_received(struct stream *stream, struct bytes in)
{
    size_t at = 0;

    for (; in.len - at >= RECORD; at += RECORD)
        record_send(stream, in.data + at);
    return at;
}

static size_t client_received(struct stream *stream, struct bytes in)
{
    struct side *client = CONTAINER_OF(stream, struct side, stream);
    size_t at = 0;

    for (; in.len - at >= RECORD; at += RECORD) {
        client->echoed++;
        if (client->sent < client->target) {
            client->sent++;
            record_send(stream, in.data + at);
        }
    }
    return at;
}

static void on_drained(struct stream *stream)
{
    (void)stream;
}

static void server_ended(struct stream *stream, enum stream_close_reason reason)
{
    (void)reason;
    loop_stop(stream->loop);
}

static void client_ended(struct stream *stream, enum stream_close_reason reason)
{
    (void)stream;
    (void)reason;
}

static const struct stream_ops server_ops = {server_received, on_drained, server_ended, on_drained};
static const struct stream_ops client_ops = {client_received, on_drained, client_ended, on_drained};

static void on_accepted(struct listener *listener, int fd)
{
    struct side *server = listener->owner;
    CHECK(stream_open(&server->stream, &server->loop, &server_ops, fd, TRANSPORT_TCP, NULL,
                      bytes_of(NULL, 0)) == RC_OK);
}

static void *server_main(void *arg)
{
    loop_run(&((struct side *)arg)->loop);
    return NULL;
}

static void client_connect(struct side *client, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    CHECK(fd >= 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
    CHECK(stream_open(&client->stream, &client->loop, &client_ops, fd, TRANSPORT_TCP, NULL,
                      bytes_of(NULL, 0)) == RC_OK);
}

static double cpu_ns(void)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return 1e9 * (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e3 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void run(struct side *client, double *wall, double *cpu)
{
    static const uint8_t record[RECORD];
    uint64_t start_ns = clock_ns();
    double start_cpu = cpu_ns();

    client->target += RECORDS;
    for (int i = 0; i < WINDOW; i++, client->sent++)
        record_send(&client->stream, record);
    while (client->echoed < client->target)
        loop_turn(&client->loop, LOOP_MAY_SLEEP);
    *wall = (double)(clock_ns() - start_ns) / RECORDS;
    *cpu = (cpu_ns() - start_cpu) / RECORDS;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, double *ns)
{
    qsort(ns, RUNS, sizeof(*ns), by_value);
    printf("stream echo, %s: %.1f ns a record (median), %.1f (worst of %d)\n", what, ns[RUNS / 2],
           ns[RUNS - 1], RUNS);
}

int main(void)
{
    static struct side server, client;
    struct listener_address address = {.host = "127.0.0.1"};
    int fd = listener_bind(&address, 8);
    double wall[RUNS], cpu[RUNS];
    pthread_t thread;

    CHECK(fd >= 0);
    loop_init(&server.loop, &loop_ops, &server);
    loop_init(&client.loop, &loop_ops, &client);
    CHECK(listener_start(&server.listener, &server.loop, fd, TRANSPORT_TCP, on_accepted, &server) ==
          RC_OK);
    CHECK(pthread_create(&thread, NULL, server_main, &server) == 0);
    client_connect(&client, address.port);
    for (int i = 0; i < RUNS; i++)
        run(&client, &wall[i], &cpu[i]);
    loop_stop(&client.loop);
    loop_run(&client.loop);
    pthread_join(thread, NULL);
    printf("%llu records in %llu reads and %llu writes at the server\n",
           (unsigned long long)client.echoed, (unsigned long long)server.loop.counters.reads,
           (unsigned long long)server.loop.counters.writes);
    report("wall", wall);
    report("CPU", cpu);
    loop_deinit(&server.loop);
    loop_deinit(&client.loop);
    return EXIT_SUCCESS;
}

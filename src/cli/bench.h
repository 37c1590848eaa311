/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of `skein bench` share: the settings from the command line and the scenarios. The
 * parts, bottom up:
 *
 *   bench_wire      sockets and packets: raw epoll, because a generator must be leaner than the
 *                   broker it loads
 *   bench_account   sequence numbers: what was lost, duplicated, reordered
 *   bench_process   CPU time and memory of the broker's processes, and our own
 *   bench_load      publishers with windows or a clock, subscribers, latency
 *   bench_report    the result as text or JSON, and the progress line
 *   bench_stream, bench_connections, bench_stored   the scenarios
 *
 * One thread. To add a scenario: a function here and a line in the table of bench.c.
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "config/config.h"
#include "model/version.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    BENCH_BROKERS_MAX = 64, /* processes given with --pid */
    BENCH_PAYLOAD_MIN = 24, /* what a payload carries to be checked */
    BENCH_PAYLOAD_MAX = 1 << 24,
    BENCH_WINDOW_MAX = 60000, /* packet ids, with some to spare */
};

enum bench_exit {
    BENCH_ALL_WELL = 0,
    BENCH_NOT_WELL = 1, /* something was lost, duplicated, reordered, refused or disconnected */
};

struct bench_settings {
    const char *scenario;
    const char *label;
    const char *host;
    uint16_t port;
    char subscribers_host[CONFIG_TEXT_MAX]; /* "": where the publishers are */
    uint16_t subscribers_port;
    const char *websocket_path; /* NULL: plain TCP */
    enum mqtt_version version;
    const char *user_name, *password; /* NULL: none */
    const char *prefix;               /* of client ids and topics */
    uint16_t keep_alive_s;
    uint8_t qos;
    uint32_t payload_size, window;
    double rate_per_s; /* 0: closed loop */
    uint32_t publishers, subscribers, count, per_session, concurrency;
    double warmup_s, duration_s, drain_s, hold_s, limit_s;
    bool subscribe;  /* conns: each connection holds one subscription */
    bool persistent; /* subscribers of a stream keep their sessions */
    bool spin;       /* never sleep */
    bool json;
    bool progress; /* a line on stderr while it runs */
    pid_t brokers[BENCH_BROKERS_MAX];
    uint32_t broker_count;
    int cpu; /* -1: not pinned */
};

/* Set by SIGINT and SIGTERM: every phase ends early and what was measured is reported. */
extern volatile sig_atomic_t bench_interrupted;

/* Prints "skein bench: " and the message, and exits with `exit_code`. */
_Noreturn void bench_fail(int exit_code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Each runs one scenario, prints its report and gives an enum bench_exit. */
int bench_fan_in(const struct bench_settings *settings);
int bench_fan_out(const struct bench_settings *settings);
int bench_pairs(const struct bench_settings *settings);
int bench_mixed(const struct bench_settings *settings);
int bench_storm(const struct bench_settings *settings);
int bench_conns(const struct bench_settings *settings);
int bench_retained(const struct bench_settings *settings);
int bench_offline(const struct bench_settings *settings);

#endif

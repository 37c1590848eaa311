/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load and its books: publishers that keep a window open until *delivery* (closed loop) or send by
 * the clock (open loop), subscribers whose every message is checked, and latency.
 *
 * In the closed loop a publisher has at most `window` messages that are not delivered to all who
 * should get them, so the broker's queues stay short and nothing is measured but its work. When
 * nothing moves for a second, what is outstanding is written off (a stall) and the loop goes on. In
 * the open loop a message carries the time at which it was due, so the wait of a message that could
 * not be sent in time counts: no coordinated omission.
 */
#ifndef CLI_BENCH_LOAD_H
#define CLI_BENCH_LOAD_H

#include "cli/bench_account.h"
#include "cli/bench_report.h"
#include "cli/bench_wire.h"
#include "metrics/histogram.h"

struct load;

enum load_shape {
    LOAD_EVERYBODY, /* each subscriber gets every message: one flow for each pair of both */
    LOAD_DIRECT,    /* a message is for one subscriber: one flow for each subscriber */
    LOAD_SCATTERED, /* the same, but numbered by publisher; order is not looked at */
};

enum { LOAD_TOPIC_MAX = 256 };

struct load_topic {
    size_t len;
    char text[LOAD_TOPIC_MAX];
};

/* Where a publisher's next message goes. */
struct load_address {
    struct bytes topic;     /* `made`, or empty for the publisher's fixed topic */
    struct load_topic made; /* room for a topic of this message alone */
    uint32_t subscriber;    /* LOAD_DIRECT, LOAD_SCATTERED */
    uint32_t number;        /* in its flow */
};

struct load {
    struct wire wire;
    const struct bench_settings *settings;
    enum load_shape shape;
    struct wire_conn *publishers, *subscribers;
    uint32_t publisher_count, subscriber_count;
    void (*address)(const struct load *load, const struct wire_conn *publisher,
                    struct load_address *address);
    uint32_t copies; /* deliveries of each message that the window waits for; 0: does not wait */
    uint64_t quota;  /* of a publisher; 0: none */
    bool retain;

    struct flow *flows;
    uint8_t *filler;
    bool publishing, measuring;
    uint64_t measured_from_ns;
    uint64_t sent, received, duplicated, reordered, strange, stalls;
    uint64_t measured_sent, measured_received;
    uint64_t due_count;                  /* open loop: messages that were due so far */
    uint64_t progress_seen, progress_ns; /* for stalls */
    uint64_t shown_ns, shown_received;   /* for the progress line */
    struct histogram latency;
};

/* Borrows settings. The caller sets address, copies, quota and retain afterwards. */
void load_init(struct load *load, const struct bench_settings *settings, enum load_shape shape,
               uint32_t publishers, uint32_t subscribers);
void load_deinit(struct load *load);

/* Connects a group; exits when one fails. Gives the seconds it took. */
double load_connect(struct load *load, struct wire_conn *group, uint32_t count);

/* Steps until counters.subscribed is `wanted`; exits when it does not get there. */
void load_await_subscribed(struct load *load, uint64_t wanted);

/* Each subscriber subscribes to one filter, which `name` writes (LOAD_TOPIC_MAX bytes). */
void load_subscribe(struct load *load,
                    void (*name)(const struct load *load, uint32_t subscriber, char *filter));

/* Before they connect: the broker is to keep the subscribers' sessions. */
void load_keep_sessions(struct load *load);

/* Leaves no session behind: each subscriber connects once more, with a clean start. */
void load_end_sessions(struct load *load);

/* Open loop: everything that is due at now_ns, counted from start_ns. Gives when the next one
 * is due. */
uint64_t load_publish_due(struct load *load, uint64_t start_ns, uint64_t now_ns);

/* Writes off what is outstanding when nothing has moved for a second. */
void load_check_stall(struct load *load, uint64_t now_ns);

/* Shows how it goes, twice a second. */
void load_show_progress(struct load *load, uint64_t now_ns);

/* Publishes every publisher's quota; gives the seconds until the broker has taken it all. */
double load_publish_quota(struct load *load);

/* Steps until the broker has taken everything that the publishers have sent, for at most limit_s.
 */
void load_await_taken(struct load *load);

/* Steps until `received` is `wanted` or nothing comes for drain_s; gives the seconds until the last
 * one came. */
double load_await_received(struct load *load, uint64_t wanted);

/* What the books say; true when they are clean. */
bool load_report_books(const struct load *load, struct report *report, uint64_t expected);
void load_report_latency(const struct load *load, struct report *report);

#endif

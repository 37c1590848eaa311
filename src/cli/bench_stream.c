/* SPDX-License-Identifier: Apache-2.0 */
/* The scenarios that stream: fan-in, fan-out, pairs, mixed. */
#include "base/clock.h"
#include "cli/bench_load.h"

#include <stdio.h>
#include <string.h>

enum {
    STEP_NS_MAX = 5 * 1000 * 1000,
    MIXED_UNANSWERED_MAX = 500,
    MIXED_GROUPS = 1000,
    MIXED_SHAPES = 4,
    PACKET_ID_MAX = 65535,
};

static const double SETTLE_S = 0.3;

/* ---- The stream -------------------------------------------------------------------------------
 */

/* What was used, at one moment. */
struct moment {
    struct process_use broker;
    double own_cpu_s;
    uint64_t at_ns;
};

static struct moment moment_now(const struct bench_settings *settings)
{
    return (struct moment){
        .broker = process_use_of(settings->brokers, settings->broker_count),
        .own_cpu_s = process_own_cpu_s(),
        .at_ns = clock_ns(),
    };
}

/* Publishes until end_ns. */
static void publish_until(struct load *load, uint64_t start_ns, uint64_t end_ns)
{
    uint64_t now = clock_ns();

    while (now < end_ns && !bench_interrupted) {
        uint64_t wait_ns = STEP_NS_MAX;
        if (load->settings->rate_per_s > 0) {
            uint64_t due_ns = load_publish_due(load, start_ns, now);
            wait_ns = due_ns > now ? due_ns - now : 1000;
            if (wait_ns > STEP_NS_MAX)
                wait_ns = STEP_NS_MAX;
        } else {
            load_check_stall(load, now);
        }
        load_show_progress(load, now);
        wire_step(&load->wire, load->wire.dirty_count > 0 ? 0 : wait_ns);
        now = clock_ns();
    }
}

static void report_stream(const struct load *load, struct report *report, struct moment from,
                          struct moment to)
{
    double seconds = (double)(to.at_ns - from.at_ns) / 1e9;

    report_set(report, FIGURE_PUBLISHERS, load->publisher_count);
    report_set(report, FIGURE_SUBSCRIBERS, load->subscriber_count);
    if (load->settings->rate_per_s > 0)
        report_set(report, FIGURE_RATE, load->settings->rate_per_s);
    else
        report_set(report, FIGURE_WINDOW, load->settings->window);
    report_set(report, FIGURE_SECONDS, seconds);
    report_set(report, FIGURE_PUBLISHED_PER_S, (double)load->measured_sent / seconds);
    report_set(report, FIGURE_DELIVERED_PER_S, (double)load->measured_received / seconds);
    load_report_latency(load, report);
    report_set_broker(report, from.broker, to.broker, seconds, load->measured_received);
    report_set(report, FIGURE_OWN_CORES, (to.own_cpu_s - from.own_cpu_s) / seconds);
}

/* Warm-up, measured time, drain. Gives the exit code. */
static int stream(struct load *load, struct report *report)
{
    const struct bench_settings *settings = load->settings;

    wire_run_for(&load->wire, SETTLE_S);
    uint64_t start_ns = clock_ns();
    uint64_t measure_ns = start_ns + (uint64_t)(settings->warmup_s * 1e9);
    load->publishing = true;
    for (uint32_t i = 0; i < load->publisher_count; i++)
        wire_mark(&load->wire, &load->publishers[i]);
    publish_until(load, start_ns, measure_ns);

    struct moment from = moment_now(settings);
    load->measured_from_ns = from.at_ns;
    load->measuring = true;
    publish_until(load, start_ns, from.at_ns + (uint64_t)(settings->duration_s * 1e9));
    struct moment to = moment_now(settings);
    load->measuring = load->publishing = false;

    uint64_t expected = load->sent * load->copies;
    report_stream(load, report, from, to);
    load_await_received(load, expected);
    return report_end(report, load_report_books(load, report, expected));
}

/* ---- fan-in, fan-out, pairs -------------------------------------------------------------------
 */

static void address_fan(const struct load *load, const struct wire_conn *publisher,
                        struct load_address *address)
{
    (void)load;
    address->topic = bytes_of(NULL, 0);
    address->subscriber = 0;
    address->number = (uint32_t)publisher->published;
}

static void filter_fan(const struct load *load, uint32_t subscriber, char *filter)
{
    (void)subscriber;
    snprintf(filter, LOAD_TOPIC_MAX, "%s/fan/+", load->settings->prefix);
}

static void filter_fan_one(const struct load *load, uint32_t subscriber, char *filter)
{
    (void)subscriber;
    snprintf(filter, LOAD_TOPIC_MAX, "%s/fan/0", load->settings->prefix);
}

static void address_pair(const struct load *load, const struct wire_conn *publisher,
                         struct load_address *address)
{
    address_fan(load, publisher, address);
    address->subscriber = publisher->index;
}

static void filter_pair(const struct load *load, uint32_t subscriber, char *filter)
{
    snprintf(filter, LOAD_TOPIC_MAX, "%s/fan/%u", load->settings->prefix, subscriber);
}

static int run_fan(struct load *load,
                   void (*filter)(const struct load *load, uint32_t subscriber, char *filter))
{
    struct report report = report_begin(load->settings);
    char topic[LOAD_TOPIC_MAX];

    for (uint32_t i = 0; i < load->publisher_count; i++) {
        snprintf(topic, sizeof(topic), "%s/fan/%u", load->settings->prefix, i);
        wire_fix_topic(&load->wire, &load->publishers[i], bytes_of_str(topic));
    }
    if (load->settings->persistent)
        load_keep_sessions(load);
    load_connect(load, load->subscribers, load->subscriber_count);
    load_connect(load, load->publishers, load->publisher_count);
    load_subscribe(load, filter);
    int exit_code = stream(load, &report);
    if (load->settings->persistent)
        load_end_sessions(load);
    load_deinit(load);
    return exit_code;
}

int bench_fan_in(const struct bench_settings *settings)
{
    struct load load;

    load_init(&load, settings, LOAD_EVERYBODY, settings->publishers, settings->subscribers);
    load.address = address_fan;
    load.copies = settings->subscribers;
    return run_fan(&load, filter_fan);
}

int bench_fan_out(const struct bench_settings *settings)
{
    struct load load;

    load_init(&load, settings, LOAD_EVERYBODY, 1, settings->subscribers);
    load.address = address_fan;
    load.copies = settings->subscribers;
    return run_fan(&load, filter_fan_one);
}

int bench_pairs(const struct bench_settings *settings)
{
    struct load load;

    load_init(&load, settings, LOAD_DIRECT, settings->publishers, settings->publishers);
    load.address = address_pair;
    load.copies = 1;
    return run_fan(&load, filter_pair);
}

/* ---- mixed: many subscriptions, each message matches exactly one ------------------------------
 */

/*
 * Subscription k is of shape k % 4, on connection k % subscribers:
 *   d/{k%1000}/{k}/x/v    d/{k%1000}/{k}/+/v    d/{k%1000}/{k}/#    d/+/{k}/x/v
 * and d/{k%1000}/{k}/x/v is published.
 */
static void filter_mixed(const char *prefix, uint32_t k, char *filter)
{
    uint32_t group = k % MIXED_GROUPS;

    switch (k % MIXED_SHAPES) {
    case 0:
        snprintf(filter, LOAD_TOPIC_MAX, "%s/%u/%u/x/v", prefix, group, k);
        break;
    case 1:
        snprintf(filter, LOAD_TOPIC_MAX, "%s/%u/%u/+/v", prefix, group, k);
        break;
    case 2:
        snprintf(filter, LOAD_TOPIC_MAX, "%s/%u/%u/#", prefix, group, k);
        break;
    default:
        snprintf(filter, LOAD_TOPIC_MAX, "%s/+/%u/x/v", prefix, k);
        break;
    }
}

static void address_mixed(const struct load *load, const struct wire_conn *publisher,
                          struct load_address *address)
{
    const struct bench_settings *settings = load->settings;
    uint64_t serial = publisher->published * load->publisher_count + publisher->index;
    uint32_t k = (uint32_t)(serial * 2654435761u % settings->count); /* spread, no favourites */

    int len = snprintf(address->made.text, LOAD_TOPIC_MAX, "%s/%u/%u/x/v", settings->prefix,
                       k % MIXED_GROUPS, k);
    address->topic = bytes_of(address->made.text, (size_t)len);
    address->subscriber = k % load->subscriber_count;
    address->number = (uint32_t)publisher->published;
}

static void subscribe_mixed(struct load *load, struct report *report)
{
    const struct bench_settings *settings = load->settings;
    struct moment from = moment_now(settings);
    char filter[LOAD_TOPIC_MAX];

    for (uint32_t k = 0; k < settings->count && !bench_interrupted; k++) {
        struct wire_conn *conn = &load->subscribers[k % load->subscriber_count];
        filter_mixed(settings->prefix, k, filter);
        wire_subscribe(&load->wire, conn,
                       (uint16_t)(k / load->subscriber_count % PACKET_ID_MAX + 1), filter);
        if (k >= MIXED_UNANSWERED_MAX)
            load_await_subscribed(load, k - MIXED_UNANSWERED_MAX);
    }
    load_await_subscribed(load, settings->count);
    double seconds = (double)(clock_ns() - from.at_ns) / 1e9;
    wire_run_for(&load->wire, 1);
    struct process_use use = process_use_between(from.broker, moment_now(settings).broker);

    report_set(report, FIGURE_COUNT, settings->count);
    report_set(report, FIGURE_SETUP_SECONDS, seconds);
    report_set(report, FIGURE_SETUP_PER_S, settings->count / seconds);
    if (settings->broker_count == 0)
        return;
    report_set(report, FIGURE_SETUP_CPU, use.cpu_s * 1e6 / settings->count);
    report_set(report, FIGURE_SETUP_BYTES,
               ((double)use.rss_bytes - (double)from.broker.rss_bytes) / settings->count);
}

int bench_mixed(const struct bench_settings *settings)
{
    struct load load;
    struct report report = report_begin(settings);

    load_init(&load, settings, LOAD_SCATTERED, settings->publishers, settings->subscribers);
    load.address = address_mixed;
    load.copies = 1;
    load_connect(&load, load.subscribers, load.subscriber_count);
    load_connect(&load, load.publishers, load.publisher_count);
    wire_run_for(&load.wire, SETTLE_S);
    subscribe_mixed(&load, &report);
    int exit_code = stream(&load, &report);
    load_deinit(&load);
    return exit_code;
}

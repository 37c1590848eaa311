/* SPDX-License-Identifier: Apache-2.0 */
/* The scenarios where the broker keeps messages: retained, offline. */
#include "base/check.h"
#include "cli/bench_load.h"

#include <stdio.h>
#include <sysexits.h>

static const double SETTLE_S = 0.5;

static struct process_use broker_use(const struct load *load)
{
    return process_use_of(load->settings->brokers, load->settings->broker_count);
}

/* Before, stored, read: what each step cost the broker. */
static void report_stored(const struct load *load, struct report *report,
                          const struct process_use use[3], double store_s, double read_s)
{
    double sent = load->sent > 0 ? (double)load->sent : 1;
    double received = load->received > 0 ? (double)load->received : 1;

    report_set(report, FIGURE_COUNT, load->settings->count);
    report_set(report, FIGURE_STORE_SECONDS, store_s);
    report_set(report, FIGURE_STORE_PER_S, (double)load->sent / store_s);
    report_set(report, FIGURE_READ_SECONDS, read_s);
    report_set(report, FIGURE_READ_PER_S, (double)load->received / read_s);
    if (load->settings->broker_count == 0)
        return;
    struct process_use stored = process_use_between(use[0], use[1]);
    struct process_use read = process_use_between(use[1], use[2]);
    report_set(report, FIGURE_STORE_CPU, stored.cpu_s * 1e6 / sent);
    report_set(report, FIGURE_READ_CPU, read.cpu_s * 1e6 / received);
    if (stored.written_known)
        report_set(report, FIGURE_STORE_WRITTEN, (double)stored.written_bytes / sent);
    if (read.written_known)
        report_set(report, FIGURE_READ_WRITTEN, (double)read.written_bytes / received);
    report_set(report, FIGURE_BYTES_EACH,
               ((double)use[1].rss_bytes - (double)use[0].rss_bytes) / sent);
    report_set(report, FIGURE_BROKER_RSS_BEFORE, (double)use[0].rss_bytes);
    report_set(report, FIGURE_BROKER_RSS, (double)use[1].rss_bytes);
}

/* ---- retained: store on many topics, read all with one filter ---------------------------------
 */

enum { TOPICS_PER_FOLDER = 1000, STEP_NS = 10 * 1000 * 1000 };

static void address_retained(const struct load *load, const struct wire_conn *publisher,
                             struct load_address *address)
{
    uint64_t k = publisher->published * load->publisher_count + publisher->index;

    int len = snprintf(address->made.text, LOAD_TOPIC_MAX, "%s/retained/%llu/%llu",
                       load->settings->prefix, (unsigned long long)(k / TOPICS_PER_FOLDER),
                       (unsigned long long)(k % TOPICS_PER_FOLDER));
    address->topic = bytes_of(address->made.text, (size_t)len);
    address->subscriber = 0;
    address->number = (uint32_t)publisher->published;
}

/* Deletes what was stored, with empty messages of QoS 0, so that nothing is left for the next run.
 */
static void clear_retained(struct load *load)
{
    const struct bench_settings *settings = load->settings;
    struct bench_settings empty = *settings;
    struct load_address address;

    CHECK(load->publisher_count > 0);
    empty.payload_size = 0;
    empty.qos = 0;
    load->wire.settings = &empty;
    for (uint32_t i = 0; i < load->publisher_count; i++)
        load->publishers[i].published = 0;
    for (uint32_t k = 0; k < settings->count && load->wire.counters.lost == 0; k++) {
        struct wire_conn *conn = &load->publishers[k % load->publisher_count];
        address_retained(load, conn, &address);
        wire_publish(&load->wire, conn, address.topic, true);
        conn->published++;
        wire_mark(&load->wire, conn);
        while (wire_out_is_high(conn) && conn->state == WIRE_UP)
            wire_step(&load->wire, STEP_NS);
    }
    load_await_taken(load);
    load->wire.settings = settings;
}

int bench_retained(const struct bench_settings *settings)
{
    struct load load;
    struct report report = report_begin(settings);
    struct process_use use[3];
    char filter[LOAD_TOPIC_MAX];

    if (settings->count % settings->publishers != 0)
        bench_fail(EX_USAGE, "--count must be a multiple of --publishers");
    load_init(&load, settings, LOAD_SCATTERED, settings->publishers, 1);
    load.address = address_retained;
    load.quota = settings->count / settings->publishers;
    load.retain = true;
    load_connect(&load, load.publishers, load.publisher_count);
    wire_run_for(&load.wire, SETTLE_S);
    use[0] = broker_use(&load);
    double store_s = load_publish_quota(&load);
    wire_run_for(&load.wire, SETTLE_S);
    use[1] = broker_use(&load);
    load_connect(&load, load.subscribers, 1);
    snprintf(filter, sizeof(filter), "%s/retained/#", settings->prefix);
    wire_subscribe(&load.wire, &load.subscribers[0], 1, filter);
    double read_s = load_await_received(&load, load.sent);
    use[2] = broker_use(&load);
    report_stored(&load, &report, use, store_s, read_s);
    int exit_code = report_end(&report, load_report_books(&load, &report, settings->count));
    wire_close(&load.wire, &load.subscribers[0]);
    clear_retained(&load);
    load_deinit(&load);
    return exit_code;
}

/* ---- offline: sessions without a connection collect messages, come back and take them ----------
 */

/* Publisher p serves sessions p, p + publishers, p + 2 * publishers ... in turn. */
static void address_offline(const struct load *load, const struct wire_conn *publisher,
                            struct load_address *address)
{
    uint32_t own = load->subscriber_count / load->publisher_count;
    uint32_t session =
        (uint32_t)(publisher->published % own) * load->publisher_count + publisher->index;

    int len = snprintf(address->made.text, LOAD_TOPIC_MAX, "%s/offline/%u", load->settings->prefix,
                       session);
    address->topic = bytes_of(address->made.text, (size_t)len);
    address->subscriber = session;
    address->number = (uint32_t)(publisher->published / own);
}

static void filter_offline(const struct load *load, uint32_t subscriber, char *filter)
{
    snprintf(filter, LOAD_TOPIC_MAX, "%s/offline/%u", load->settings->prefix, subscriber);
}

int bench_offline(const struct bench_settings *settings)
{
    struct load load;
    struct report report = report_begin(settings);
    struct process_use use[3];

    if (settings->count % settings->publishers != 0)
        bench_fail(EX_USAGE, "--count must be a multiple of --publishers");
    if (settings->qos == 0)
        bench_fail(EX_USAGE, "offline needs --qos 1 or 2");
    load_init(&load, settings, LOAD_DIRECT, settings->publishers, settings->count);
    load.address = address_offline;
    load.quota = (uint64_t)(settings->count / settings->publishers) * settings->per_session;
    load_keep_sessions(&load);
    load_connect(&load, load.subscribers, load.subscriber_count);
    load_subscribe(&load, filter_offline);
    for (uint32_t i = 0; i < load.subscriber_count; i++)
        wire_goodbye(&load.wire, &load.subscribers[i]);
    load_connect(&load, load.publishers, load.publisher_count);
    wire_run_for(&load.wire, SETTLE_S);
    use[0] = broker_use(&load);
    double store_s = load_publish_quota(&load);
    wire_run_for(&load.wire, SETTLE_S);
    use[1] = broker_use(&load);
    uint64_t expected = (uint64_t)settings->count * settings->per_session;
    double read_s = load_connect(&load, load.subscribers, load.subscriber_count);
    read_s += load_await_received(&load, expected);
    use[2] = broker_use(&load);
    report_stored(&load, &report, use, store_s, read_s);
    int exit_code = report_end(&report, load_report_books(&load, &report, expected));
    load_end_sessions(&load);
    load_deinit(&load);
    return exit_code;
}

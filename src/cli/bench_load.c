/* SPDX-License-Identifier: Apache-2.0 */
/* Publishers, subscribers and their books; the measured phases are in bench_stream.c and
 * bench_stored.c. */
#include "cli/bench_load.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum {
    MAGIC = 0x6e696b53, /* "Skin" */
    SETUP_PATIENCE_S = 30,
    STEP_NS = 10 * 1000 * 1000,
    PROGRESS_NS = 500 * 1000 * 1000,
};

static const uint64_t STALL_NS = 1000000000;

/* At the front of every payload; both ends are this process, so its own byte order will do. */
struct payload_head {
    uint32_t magic;
    uint32_t publisher;
    uint32_t subscriber;
    uint32_t number;
    uint64_t due_ns; /* when it was sent, or should have been */
};

_Static_assert(sizeof(struct payload_head) == BENCH_PAYLOAD_MIN, "what bench.h says");

/* ---- Publishing -------------------------------------------------------------------------------
 */

static void publish(struct load *load, struct wire_conn *conn, uint64_t due_ns)
{
    struct load_address address;
    struct payload_head head = {.magic = MAGIC, .publisher = conn->index, .due_ns = due_ns};

    load->address(load, conn, &address);
    head.subscriber = address.subscriber;
    head.number = address.number;
    uint8_t *payload = wire_publish(&load->wire, conn, address.topic, load->retain);
    memcpy(payload, &head, sizeof(head));
    memcpy(payload + sizeof(head), load->filler, load->settings->payload_size - sizeof(head));
    conn->published++;
    load->sent++;
    if (load->measuring)
        load->measured_sent++;
}

static bool may_publish(const struct load *load, const struct wire_conn *conn)
{
    uint64_t window = load->settings->window;

    if (load->quota != 0 && conn->published >= load->quota)
        return false;
    if (load->settings->qos > 0 &&
        (conn->inflight >= window || conn->inflight >= conn->receive_maximum))
        return false;
    return load->copies == 0 || conn->published * load->copies <
                                    conn->delivered + conn->forgiven + window * load->copies;
}

/* The closed loop: as many as the window lets through. */
static void on_refill(struct wire_conn *conn, void *owner)
{
    struct load *load = owner;

    if (!load->publishing || !conn->is_publisher || load->settings->rate_per_s > 0)
        return;
    uint64_t now = clock_ns();
    while (!wire_out_is_high(conn) && may_publish(load, conn))
        publish(load, conn, now);
}

static bool id_is_free(const struct load *load, const struct wire_conn *conn)
{
    return load->settings->qos == 0 ||
           (conn->inflight < BENCH_WINDOW_MAX && conn->inflight < conn->receive_maximum);
}

uint64_t load_publish_due(struct load *load, uint64_t start_ns, uint64_t now_ns)
{
    double gap_ns = 1e9 / load->settings->rate_per_s;
    uint64_t due_ns;

    while ((due_ns = start_ns + (uint64_t)((double)load->due_count * gap_ns)) <= now_ns) {
        struct wire_conn *conn = &load->publishers[load->due_count % load->publisher_count];
        if (conn->state == WIRE_UP && !id_is_free(load, conn))
            return due_ns; /* later, and then it is late */
        if (conn->state == WIRE_UP) {
            publish(load, conn, due_ns);
            wire_mark(&load->wire, conn);
        }
        load->due_count++;
    }
    return due_ns;
}

void load_check_stall(struct load *load, uint64_t now_ns)
{
    uint64_t progress = load->received + load->sent;

    if (progress != load->progress_seen || load->progress_ns == 0) {
        load->progress_seen = progress;
        load->progress_ns = now_ns;
        return;
    }
    if (now_ns - load->progress_ns < STALL_NS)
        return;
    load->stalls++;
    load->progress_ns = now_ns;
    for (uint32_t i = 0; i < load->publisher_count; i++) {
        struct wire_conn *conn = &load->publishers[i];
        conn->forgiven = conn->published * load->copies - conn->delivered;
        wire_mark(&load->wire, conn);
    }
}

/* ---- What arrives -----------------------------------------------------------------------------
 */

static struct flow *flow_of(struct load *load, const struct wire_conn *conn,
                            const struct payload_head *head)
{
    switch (load->shape) {
    case LOAD_EVERYBODY:
        return &load->flows[(size_t)conn->index * load->publisher_count + head->publisher];
    case LOAD_DIRECT:
        return head->subscriber == conn->index ? &load->flows[conn->index] : NULL;
    case LOAD_SCATTERED:
        return head->subscriber == conn->index ? &load->flows[head->publisher] : NULL;
    }
    return NULL;
}

static void on_message(struct wire_conn *conn, struct bytes payload, void *owner)
{
    struct load *load = owner;
    struct payload_head head;

    if (payload.len != load->settings->payload_size) {
        load->strange++;
        return;
    }
    memcpy(&head, payload.data, sizeof(head));
    if (head.magic != MAGIC || head.publisher >= load->publisher_count) {
        load->strange++;
        return;
    }
    struct flow *flow = flow_of(load, conn, &head);
    if (flow == NULL) {
        load->strange++;
        return;
    }
    if (load->measuring)
        load->measured_received++;
    enum flow_result result = flow_add(flow, head.number);
    if (result == FLOW_DUPLICATE) {
        load->duplicated++;
        return;
    }
    load->received++;
    if (result == FLOW_LATE && load->shape != LOAD_SCATTERED)
        load->reordered++;
    if (load->measuring && head.due_ns >= load->measured_from_ns)
        histogram_record(&load->latency,
                         load->wire.now_ns > head.due_ns ? load->wire.now_ns - head.due_ns : 0);
    struct wire_conn *publisher = &load->publishers[head.publisher];
    publisher->delivered++;
    if (load->publishing)
        wire_mark(&load->wire, publisher);
}

/* ---- Set-up -----------------------------------------------------------------------------------
 */

static const struct wire_ops load_wire_ops = {.message = on_message, .refill = on_refill};

void load_init(struct load *load, const struct bench_settings *settings, enum load_shape shape,
               uint32_t publishers, uint32_t subscribers)
{
    size_t flows = shape == LOAD_EVERYBODY ? (size_t)publishers * subscribers
                   : shape == LOAD_DIRECT  ? subscribers
                                           : publishers;

    *load = (struct load){
        .settings = settings,
        .shape = shape,
        .publisher_count = publishers,
        .subscriber_count = subscribers,
    };
    wire_init(&load->wire, settings, &load_wire_ops, load);
    load->publishers = wire_group_new(publishers, true);
    load->subscribers = wire_group_new(subscribers, false);
    load->flows = mem_new((flows > 0 ? flows : 1) * sizeof(struct flow));
    load->filler = mem_new(settings->payload_size);
    for (uint32_t i = 0; i < settings->payload_size; i++)
        load->filler[i] = (uint8_t)('a' + i % 26);
}

void load_deinit(struct load *load)
{
    size_t flows = load->shape == LOAD_EVERYBODY
                       ? (size_t)load->publisher_count * load->subscriber_count
                   : load->shape == LOAD_DIRECT ? load->subscriber_count
                                                : load->publisher_count;

    wire_group_free(&load->wire, load->publishers, load->publisher_count);
    wire_group_free(&load->wire, load->subscribers, load->subscriber_count);
    for (size_t i = 0; i < flows; i++)
        flow_deinit(&load->flows[i]);
    mem_free(load->flows);
    mem_free(load->filler);
    wire_deinit(&load->wire);
}

double load_connect(struct load *load, struct wire_conn *group, uint32_t count)
{
    struct wire_counters *counters = &load->wire.counters;
    uint64_t start = clock_ns(), last = start;
    uint64_t base = counters->up, seen = base;
    uint32_t opened = 0;

    while (counters->up - base < count && !bench_interrupted) {
        while (opened < count && opened - (counters->up - base) < load->settings->concurrency)
            wire_open(&load->wire, &group[opened++], WIRE_ONE_ADDRESS);
        wire_step(&load->wire, STEP_NS);
        if (counters->failed > 0)
            bench_fail(EX_UNAVAILABLE, "cannot connect to %s:%u (reason code %u)",
                       load->settings->host, load->settings->port, counters->first_reason);
        if (counters->up != seen) {
            seen = counters->up;
            last = clock_ns();
        }
        if ((double)(clock_ns() - last) / 1e9 > SETUP_PATIENCE_S)
            bench_fail(EX_UNAVAILABLE, "connecting stalled at %llu of %u",
                       (unsigned long long)(counters->up - base), count);
    }
    return (double)(clock_ns() - start) / 1e9;
}

void load_await_subscribed(struct load *load, uint64_t wanted)
{
    struct wire_counters *counters = &load->wire.counters;
    uint64_t last = clock_ns(), seen = counters->subscribed;

    while (counters->subscribed < wanted && !bench_interrupted) {
        wire_step(&load->wire, STEP_NS);
        if (counters->not_subscribed > 0)
            bench_fail(EX_UNAVAILABLE, "the broker refuses subscriptions (reason code %u)",
                       counters->first_reason);
        if (counters->subscribed != seen) {
            seen = counters->subscribed;
            last = clock_ns();
        }
        if (counters->lost > 0 || (double)(clock_ns() - last) / 1e9 > SETUP_PATIENCE_S)
            bench_fail(EX_UNAVAILABLE, "subscribing stalled at %llu of %llu",
                       (unsigned long long)seen, (unsigned long long)wanted);
    }
}

void load_subscribe(struct load *load,
                    void (*name)(const struct load *load, uint32_t subscriber, char *filter))
{
    char filter[LOAD_TOPIC_MAX];

    for (uint32_t i = 0; i < load->subscriber_count; i++) {
        name(load, i, filter);
        wire_subscribe(&load->wire, &load->subscribers[i], 1, filter);
    }
    load_await_subscribed(load, load->wire.counters.subscribed + load->subscriber_count);
}

void load_keep_sessions(struct load *load)
{
    for (uint32_t i = 0; i < load->subscriber_count; i++)
        load->subscribers[i].persistent = true;
}

void load_end_sessions(struct load *load)
{
    for (uint32_t i = 0; i < load->subscriber_count; i++) {
        wire_goodbye(&load->wire, &load->subscribers[i]);
        load->subscribers[i].persistent = false;
    }
    load_connect(load, load->subscribers, load->subscriber_count);
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

void load_show_progress(struct load *load, uint64_t now_ns)
{
    if (!load->settings->progress || now_ns - load->shown_ns < PROGRESS_NS)
        return;
    double seconds = (double)(now_ns - load->shown_ns) / 1e9;
    if (load->shown_ns != 0)
        report_progress(load->settings, "%s: %.0f published, %.0f received/s, %llu under way",
                        load->settings->scenario, (double)load->sent,
                        (double)(load->received - load->shown_received) / seconds,
                        (unsigned long long)(load->sent * load->copies > load->received
                                                 ? load->sent * load->copies - load->received
                                                 : 0));
    load->shown_ns = now_ns;
    load->shown_received = load->received;
}

static uint64_t in_flight(const struct load *load)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < load->publisher_count; i++)
        sum += load->publishers[i].inflight;
    return sum;
}

void load_await_taken(struct load *load)
{
    uint64_t limit_ns = clock_ns() + (uint64_t)(load->settings->limit_s * 1e9);

    /* The answer to a ping comes when everything before it was taken. */
    load->wire.counters.pongs = 0;
    for (uint32_t i = 0; i < load->publisher_count; i++)
        wire_ping(&load->wire, &load->publishers[i]);
    while (load->wire.counters.pongs < load->publisher_count && load->wire.counters.lost == 0 &&
           clock_ns() < limit_ns && !bench_interrupted)
        wire_step(&load->wire, STEP_NS);
}

double load_publish_quota(struct load *load)
{
    uint64_t start = clock_ns(), now = start;
    uint64_t wanted = load->quota * load->publisher_count;
    uint64_t limit_ns = (uint64_t)(load->settings->limit_s * 1e9);

    load->publishing = true;
    for (uint32_t i = 0; i < load->publisher_count; i++)
        wire_mark(&load->wire, &load->publishers[i]);
    while ((load->sent < wanted || in_flight(load) > 0) && now - start < limit_ns &&
           load->wire.counters.lost == 0 && !bench_interrupted) {
        wire_step(&load->wire, STEP_NS);
        now = clock_ns();
        load_check_stall(load, now);
        load_show_progress(load, now);
    }
    load->publishing = false;
    load_await_taken(load);
    return (double)(clock_ns() - start) / 1e9;
}

double load_await_received(struct load *load, uint64_t wanted)
{
    uint64_t start = clock_ns(), last = start, seen = load->received + in_flight(load);
    uint64_t patience_ns = (uint64_t)(load->settings->drain_s * 1e9);

    while ((load->received < wanted || in_flight(load) > 0) && clock_ns() - last < patience_ns &&
           !bench_interrupted) {
        wire_step(&load->wire, STEP_NS);
        load_show_progress(load, clock_ns());
        uint64_t progress = load->received + in_flight(load);
        if (progress != seen) {
            seen = progress;
            last = clock_ns();
        }
    }
    return (double)(last - start) / 1e9;
}

bool load_report_books(const struct load *load, struct report *report, uint64_t expected)
{
    const struct wire_counters *counters = &load->wire.counters;
    uint64_t strange = load->strange + counters->strange;
    uint64_t lost = expected > load->received ? expected - load->received : 0;

    report_set(report, FIGURE_SENT, (double)load->sent);
    report_set(report, FIGURE_EXPECTED, (double)expected);
    report_set(report, FIGURE_RECEIVED, (double)load->received);
    report_set(report, FIGURE_LOST, (double)lost);
    report_set(report, FIGURE_DUPLICATED, (double)load->duplicated);
    report_set(report, FIGURE_REORDERED, (double)load->reordered);
    report_set(report, FIGURE_REDELIVERED, (double)counters->redelivered);
    report_set(report, FIGURE_STRANGE, (double)strange);
    report_set(report, FIGURE_STALLS, (double)load->stalls);
    report_set(report, FIGURE_REFUSED, (double)counters->refused);
    report_set(report, FIGURE_DISCONNECTED, (double)counters->lost);
    if (counters->first_reason != 0)
        report_set(report, FIGURE_REASON, counters->first_reason);
    return lost == 0 && load->received <= expected && load->duplicated == 0 &&
           load->reordered == 0 && strange == 0 && counters->refused == 0 && counters->lost == 0;
}

void load_report_latency(const struct load *load, struct report *report)
{
    static const struct {
        enum figure figure;
        double quantile;
    } quantiles[] = {
        {FIGURE_LATENCY_P50, 0.5},
        {FIGURE_LATENCY_P90, 0.9},
        {FIGURE_LATENCY_P99, 0.99},
        {FIGURE_LATENCY_P999, 0.999},
    };
    struct histogram_sum sum = {0};

    histogram_collect(&load->latency, &sum);
    if (sum.count == 0)
        return;
    report_set(report, FIGURE_LATENCY_COUNT, (double)sum.count);
    report_set(report, FIGURE_LATENCY_MEAN, (double)sum.sum / (double)sum.count / 1e3);
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(*quantiles); i++)
        report_set(report, quantiles[i].figure,
                   (double)histogram_quantile(&sum, quantiles[i].quantile) / 1e3);
    report_set(report, FIGURE_LATENCY_MAX, (double)sum.max / 1e3);
}

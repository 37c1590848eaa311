/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people, JSON for scripts, from one table. */
#include "cli/bench_report.h"

#include "base/check.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_WIDTH = 34 };

struct figure_kind {
    const char *name, *label;
    enum figure_unit unit;
};

static const struct figure_kind kinds[FIGURE_KINDS] = {
#define X(id, name, label, unit) [id] = {name, label, unit},
    FIGURES(X)
#undef X
};

struct report report_begin(const struct bench_settings *settings)
{
    return (struct report){.settings = settings};
}

void report_set(struct report *report, enum figure figure, double value)
{
    CHECK(figure < FIGURE_KINDS);
    report->value[figure] = isfinite(value) ? value : 0;
    report->present[figure] = true;
}

void report_set_broker(struct report *report, struct process_use before, struct process_use after,
                       double seconds, uint64_t each)
{
    struct process_use use = process_use_between(before, after);

    if (report->settings->broker_count == 0)
        return;
    if (each > 0)
        report_set(report, FIGURE_BROKER_CPU_EACH, use.cpu_s * 1e6 / (double)each);
    report_set(report, FIGURE_BROKER_CPU, use.cpu_s);
    report_set(report, FIGURE_BROKER_USER, use.user_s);
    report_set(report, FIGURE_BROKER_SYSTEM, use.system_s);
    report_set(report, FIGURE_BROKER_CORES, use.cpu_s / seconds);
    report_set(report, FIGURE_BROKER_RSS_BEFORE, (double)before.rss_bytes);
    report_set(report, FIGURE_BROKER_RSS, (double)after.rss_bytes);
    if (use.written_known && each > 0)
        report_set(report, FIGURE_BROKER_WRITTEN, (double)use.written_bytes / (double)each);
}

static const char *version_name(enum mqtt_version version)
{
    return version == MQTT_V5 ? "5.0" : version == MQTT_V311 ? "3.1.1" : "3.1";
}

static void print_value(double value, enum figure_unit unit)
{
    switch (unit) {
    case UNIT_COUNT:
        printf("%.0f\n", value);
        break;
    case UNIT_BYTES:
        if (value >= 10e6)
            printf("%.1f MB\n", value / 1e6);
        else
            printf("%.0f bytes\n", value);
        break;
    case UNIT_PER_SECOND:
        printf("%.0f /s\n", value);
        break;
    case UNIT_SECONDS:
        printf("%.3f s\n", value);
        break;
    case UNIT_MICROSECONDS:
        printf(value < 100 ? "%.2f us\n" : "%.0f us\n", value);
        break;
    case UNIT_CORES:
        printf("%.2f\n", value);
        break;
    case UNIT_PERCENT:
        printf("%.2f %%\n", value);
        break;
    }
}

static void print_text(const struct report *report, bool well)
{
    const struct bench_settings *settings = report->settings;

    printf("%s: %s:%u %s, MQTT %s, QoS %u, %u bytes%s%s\n", settings->scenario, settings->host,
           settings->port, settings->websocket_path != NULL ? "WebSocket" : "TCP",
           version_name(settings->version), settings->qos, settings->payload_size,
           settings->label[0] != '\0' ? ", " : "", settings->label);
    for (size_t i = 0; i < FIGURE_KINDS; i++) {
        if (!report->present[i])
            continue;
        printf("  %-*s ", LABEL_WIDTH, kinds[i].label);
        print_value(report->value[i], kinds[i].unit);
    }
    puts(well ? "every message is accounted for" : "NOT WELL: see what is not 0 above");
}

static void print_json(const struct report *report, bool well)
{
    const struct bench_settings *settings = report->settings;
    json_t *root = json_object();

    json_object_set_new(root, "scenario", json_string(settings->scenario));
    json_object_set_new(root, "label", json_string(settings->label));
    json_object_set_new(root, "version", json_string(version_name(settings->version)));
    json_object_set_new(root, "transport",
                        json_string(settings->websocket_path != NULL ? "websocket" : "tcp"));
    json_object_set_new(root, "qos", json_integer(settings->qos));
    json_object_set_new(root, "payload_size", json_integer(settings->payload_size));
    for (size_t i = 0; i < FIGURE_KINDS; i++) {
        if (!report->present[i])
            continue;
        bool whole = kinds[i].unit == UNIT_COUNT || kinds[i].unit == UNIT_BYTES;
        json_object_set_new(root, kinds[i].name,
                            whole ? json_integer((json_int_t)report->value[i])
                                  : json_real(report->value[i]));
    }
    json_object_set_new(root, "well", json_boolean(well));
    json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7));
    putchar('\n');
    json_decref(root);
}

int report_end(struct report *report, bool well)
{
    report_progress(report->settings, "%s", "");
    if (report->settings->json)
        print_json(report, well);
    else
        print_text(report, well);
    fflush(stdout);
    return well ? BENCH_ALL_WELL : BENCH_NOT_WELL;
}

void report_progress(const struct bench_settings *settings, const char *format, ...)
{
    va_list args;

    if (!settings->progress)
        return;
    fputs("\r\033[K", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fflush(stderr);
}

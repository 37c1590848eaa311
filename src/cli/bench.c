/* SPDX-License-Identifier: Apache-2.0 */
/* `skein bench`: the command line of the load generator. */
#include "cli/bench.h"

#include "cli/bench_process.h"
#include "cli/commands.h"
#include "config/address.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static int cmd_bench(int argc, char **argv);

enum {
    OPT_PUBLISHERS = OPTION_LONG,
    OPT_SUBSCRIBERS,
    OPT_COUNT,
    OPT_PER_SESSION,
    OPT_CONCURRENCY,
    OPT_WARMUP,
    OPT_DRAIN,
    OPT_HOLD,
    OPT_LIMIT,
    OPT_SUBSCRIBE,
    OPT_PERSISTENT,
    OPT_SUBSCRIBERS_AT,
    OPT_PID,
    OPT_CPU,
    OPT_SPIN,
    OPT_WEBSOCKET,
    OPT_PATH,
    OPT_PREFIX,
    OPT_LABEL,
    OPT_JSON,
    OPT_QUIET,
};

enum { PREFIX_MAX = 64, CONNS_MAX = 10 * 1000 * 1000 };

struct scenario {
    const char *name;
    int (*run)(const struct bench_settings *settings);
    uint32_t publishers, subscribers, count; /* defaults */
    uint8_t qos;
};

static const struct scenario scenarios[] = {
    {"fan-in", bench_fan_in, 50, 1, 0, 0},
    {"fan-out", bench_fan_out, 1, 500, 0, 0},
    {"pairs", bench_pairs, 50, 50, 0, 0},
    {"mixed", bench_mixed, 50, 50, 100000, 0},
    {"retained", bench_retained, 50, 1, 100000, 0},
    {"offline", bench_offline, 50, 0, 1000, 1},
    {"storm", bench_storm, 0, 0, 0, 0},
    {"conns", bench_conns, 0, 0, 10000, 0},
};

enum { SCENARIO_COUNT = sizeof(scenarios) / sizeof(*scenarios) };

static const struct option bench_options[] = {
    {'h', "host", "HOST", "The broker's host. Default: 127.0.0.1.", 0, NULL},
    {'p', "port", "PORT", "The broker's port. Default: 1883, 8083 with --websocket.", 0, NULL},
    {'V', "protocol-version", "VERSION", "MQTT version. Default: 311.", 0, "31 311 5"},
    {'q', "qos", "QOS", "Of messages and subscriptions. Default: 0, offline: 1.", 0, "0 1 2"},
    {'s', "size", "BYTES", "Payload size, at least 24. Default: 64.", 0, NULL},
    {'w', "window", "N",
     "Closed loop: messages of each publisher that are not delivered yet. Default: 20.", 0, NULL},
    {'r', "rate", "PER_SECOND",
     "Open loop: so many messages a second in all, sent by the clock; latency counts from when a "
     "message was due.",
     0, NULL},
    {'d', "duration", "SECONDS", "Measured time. Default: 5.", 0, NULL},
    {OPT_WARMUP, "warmup", "SECONDS", "Load before the measured time. Default: 1.", 0, NULL},
    {OPT_DRAIN, "drain", "SECONDS",
     "At the end, wait for what is missing until nothing has come for so long. Default: 3.", 0,
     NULL},
    {OPT_PUBLISHERS, "publishers", "N", "Default: 50; pairs: that many pairs.", 0, NULL},
    {OPT_SUBSCRIBERS, "subscribers", "N", "Default: fan-in 1, fan-out 500, mixed 50.", 0, NULL},
    {OPT_COUNT, "count", "N",
     "Subscriptions of mixed, messages of retained (100000), sessions of offline (1000), "
     "connections of conns (10000).",
     0, NULL},
    {OPT_PER_SESSION, "per-session", "N", "offline: messages for each session. Default: 100.", 0,
     NULL},
    {OPT_CONCURRENCY, "concurrency", "N", "Connection attempts at a time. Default: 100.", 0, NULL},
    {OPT_HOLD, "hold", "SECONDS", "conns: time to settle before memory is read. Default: 2.", 0,
     NULL},
    {OPT_LIMIT, "limit", "SECONDS", "Give up storing after so long. Default: 60.", 0, NULL},
    {OPT_SUBSCRIBE, "subscribe", NULL, "conns: one subscription on each connection.", 0, NULL},
    {OPT_PERSISTENT, "persistent", NULL,
     "fan-in, fan-out, pairs: subscribers whose sessions the broker keeps (clean session 0, in "
     "MQTT "
     "5.0 an expiry of an hour), so that QoS 1 and 2 messages to them have to be safe before they "
     "are acknowledged.",
     0, NULL},
    {OPT_SUBSCRIBERS_AT, "subscribers-at", "HOST:PORT",
     "fan-in, fan-out, pairs, mixed: subscribers connect to this broker, another node of a "
     "cluster.",
     0, NULL},
    {'u', "username", "NAME", "User name of every connection.", 0, NULL},
    {'P', "pw", "PASSWORD", "Password of every connection.", 0, NULL},
    {'k', "keepalive", "SECONDS", "Keep alive of every connection, 0: none. Default: 600.", 0,
     NULL},
    {OPT_WEBSOCKET, "websocket", NULL, "Connect by WebSocket.", 0, NULL},
    {OPT_PATH, "path", "PATH", "WebSocket: the path to ask for. Default: /mqtt.", 0, NULL},
    {OPT_PID, "pid", "PID",
     "A process of the broker on this machine: its CPU time and memory are reported.",
     OPTION_REPEATABLE, NULL},
    {OPT_CPU, "cpu", "N", "Run on this CPU only.", 0, NULL},
    {OPT_SPIN, "spin", NULL,
     "Never sleep. A generator that sleeps has to be woken, and on a virtual machine the broker "
     "pays for that: spin on a CPU of its own to see the broker's cost alone.",
     0, NULL},
    {OPT_PREFIX, "prefix", "TEXT", "Of client ids and topics. Default: bench.", 0, NULL},
    {OPT_LABEL, "label", "TEXT", "Repeated in the report.", 0, NULL},
    {OPT_JSON, "json", NULL, "One JSON object instead of text.", 0, NULL},
    {OPT_QUIET, "quiet", NULL, "No progress line.", 0, NULL},
    {0},
};

static const struct operand bench_operands[] = {
    {"SCENARIO", "What to do, as above.",
     "fan-in fan-out pairs mixed retained offline storm conns"},
    {0},
};

static const struct exit_code bench_exit_codes[] = {
    {BENCH_ALL_WELL, "Every message and connection is accounted for."},
    {BENCH_NOT_WELL, "Something was lost, duplicated, out of order, refused or disconnected."},
    {EX_USAGE, "The command line is wrong."},
    {EX_UNAVAILABLE, "The broker could not be reached, or setting up stalled."},
    {EX_NOHOST, "The host's name does not resolve."},
    {EX_OSERR, "The operating system refused sockets, addresses or a CPU."},
    {0},
};

static const struct example bench_examples[] = {
    {"skein bench fan-in", "50 publishers, one subscriber, as fast as messages are delivered."},
    {"skein bench pairs -q 1 -V 5 --pid $(pidof skein)",
     "50 publishers with a subscriber each, QoS 1, MQTT 5.0, and what it costs the broker."},
    {"skein bench pairs --rate 5000 --json", "Latency at 5,000 messages a second, as JSON."},
    {"skein bench pairs -q 1 --persistent --pid $(pidof skein)",
     "The same to subscribers with durable sessions: what safety costs."},
    {"skein bench conns --count 19000 --subscribe --pid $(pidof skein)",
     "Bytes of broker memory for an idle connection with one subscription."},
    {0},
};

const struct command command_bench = {
    .name = "bench",
    .summary = "put load on a broker and check every message",
    .synopsis = "SCENARIO [-h HOST] [-p PORT] [-q QOS] [-s BYTES] [-w N | -r PER_SECOND] ...",
    .description =
        "Loads any MQTT broker from one thread and accounts for every message: what was lost, "
        "duplicated or out of order follows from numbers in the payloads.\n\n"
        "fan-in: publishers on topics of their own, subscribers to all of them. fan-out: one "
        "publisher, many subscribers to its topic. pairs: publishers with a subscriber each. "
        "mixed: many subscriptions of four filter shapes, every message matches one. retained: "
        "store on many topics, read all by one filter. offline: sessions that are away collect "
        "messages, come back and take them. storm: connect, CONNACK, DISCONNECT. conns: many idle "
        "connections from many source addresses.\n\n"
        "Without --rate the loop is closed over deliveries: a publisher sends on when all "
        "subscribers have got its older messages. With --rate the loop is open and latency is "
        "free of coordinated omission.",
    .options = bench_options,
    .operands = bench_operands,
    .exit_codes = bench_exit_codes,
    .examples = bench_examples,
    .run = cmd_bench,
};

volatile sig_atomic_t bench_interrupted;

static void on_signal(int number)
{
    (void)number;
    if (bench_interrupted)
        _exit(EX_SOFTWARE); /* the second time without a report */
    bench_interrupted = 1;
}

void bench_fail(int exit_code, const char *format, ...)
{
    va_list args;

    fputs("skein bench: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(exit_code);
}

static const struct scenario *find_scenario(const char *name)
{
    for (size_t i = 0; i < SCENARIO_COUNT; i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    return NULL;
}

static void take_version(struct bench_settings *settings, const char *value)
{
    settings->version = strcmp(value, "5") == 0    ? MQTT_V5
                        : strcmp(value, "31") == 0 ? MQTT_V31
                                                   : MQTT_V311;
}

static void take_pid(struct bench_settings *settings, struct options *o)
{
    pid_t pid = (pid_t)options_number(o, 1, INT32_MAX);

    if (settings->broker_count == BENCH_BROKERS_MAX)
        options_fail(o, "--pid: at most %d", BENCH_BROKERS_MAX);
    else if (kill(pid, 0) != 0 && errno == ESRCH)
        options_fail(o, "--pid: there is no process %d", (int)pid);
    else
        settings->brokers[settings->broker_count++] = pid;
}

static void take_prefix(struct bench_settings *settings, struct options *o)
{
    settings->prefix = o->value;
    if (strlen(o->value) == 0 || strlen(o->value) > PREFIX_MAX || strpbrk(o->value, "+#") != NULL)
        options_fail(o, "--prefix: 1 to %d characters without wildcards", PREFIX_MAX);
}

/* Options about the load itself. False when it is none. */
static bool take_load_option(struct bench_settings *settings, struct options *o)
{
    switch (o->id) {
    case 'q':
        settings->qos = (uint8_t)options_number(o, 0, 2);
        return true;
    case 's':
        settings->payload_size = (uint32_t)options_number(o, BENCH_PAYLOAD_MIN, BENCH_PAYLOAD_MAX);
        return true;
    case 'w':
        settings->window = (uint32_t)options_number(o, 1, BENCH_WINDOW_MAX);
        return true;
    case 'r':
        settings->rate_per_s = options_decimal(o, 0.001);
        return true;
    case 'd':
        settings->duration_s = options_decimal(o, 0.001);
        return true;
    case OPT_WARMUP:
        settings->warmup_s = options_decimal(o, 0);
        return true;
    case OPT_DRAIN:
        settings->drain_s = options_decimal(o, 0);
        return true;
    case OPT_HOLD:
        settings->hold_s = options_decimal(o, 0);
        return true;
    case OPT_LIMIT:
        settings->limit_s = options_decimal(o, 0);
        return true;
    case OPT_PUBLISHERS:
        settings->publishers = (uint32_t)options_number(o, 1, CONNS_MAX);
        return true;
    case OPT_SUBSCRIBERS:
        settings->subscribers = (uint32_t)options_number(o, 1, CONNS_MAX);
        return true;
    case OPT_COUNT:
        settings->count = (uint32_t)options_number(o, 1, 100 * 1000 * 1000);
        return true;
    case OPT_PER_SESSION:
        settings->per_session = (uint32_t)options_number(o, 1, CONNS_MAX);
        return true;
    case OPT_CONCURRENCY:
        settings->concurrency = (uint32_t)options_number(o, 1, CONNS_MAX);
        return true;
    case OPT_SUBSCRIBE:
        settings->subscribe = true;
        return true;
    case OPT_PERSISTENT:
        settings->persistent = true;
        return true;
    default:
        return false;
    }
}

static void take_subscribers_at(struct bench_settings *settings, struct options *o)
{
    const char *wrong =
        address_split(o->value, settings->subscribers_host, &settings->subscribers_port);

    if (wrong != NULL)
        options_fail(o, "--subscribers-at %s: %s", o->value, wrong);
}

/* Options about connections, this process and the report. */
static void take_other_option(struct bench_settings *settings, struct options *o)
{
    switch (o->id) {
    case OPTION_OPERAND:
        if (settings->scenario != NULL)
            options_fail(o, "one scenario at a time, not also '%s'", o->value);
        settings->scenario = o->value;
        break;
    case 'h':
        settings->host = o->value;
        break;
    case 'p':
        settings->port = (uint16_t)options_number(o, 1, UINT16_MAX);
        break;
    case OPT_SUBSCRIBERS_AT:
        take_subscribers_at(settings, o);
        break;
    case 'V':
        take_version(settings, o->value);
        break;
    case 'u':
        settings->user_name = o->value;
        break;
    case 'P':
        settings->password = o->value;
        break;
    case 'k':
        settings->keep_alive_s = (uint16_t)options_number(o, 0, UINT16_MAX);
        break;
    case OPT_WEBSOCKET:
        if (settings->websocket_path == NULL)
            settings->websocket_path = "/mqtt";
        break;
    case OPT_PATH:
        settings->websocket_path = o->value;
        break;
    case OPT_PID:
        take_pid(settings, o);
        break;
    case OPT_CPU:
        settings->cpu = (int)options_number(o, 0, 1023);
        break;
    case OPT_SPIN:
        settings->spin = true;
        break;
    case OPT_PREFIX:
        take_prefix(settings, o);
        break;
    case OPT_LABEL:
        settings->label = o->value;
        break;
    case OPT_JSON:
        settings->json = true;
        break;
    case OPT_QUIET:
        settings->progress = false;
        break;
    }
}

/* What was not said on the command line depends on the scenario. */
static void apply_defaults(struct bench_settings *settings, const struct scenario *scenario)
{
    if (settings->publishers == 0)
        settings->publishers = scenario->publishers;
    if (settings->subscribers == 0)
        settings->subscribers = scenario->subscribers;
    if (settings->count == 0)
        settings->count = scenario->count;
    if (settings->qos == UINT8_MAX)
        settings->qos = scenario->qos;
    if (settings->port == 0)
        settings->port = settings->websocket_path != NULL ? 8083 : 1883;
}

static int cmd_bench(int argc, char **argv)
{
    struct options o = options_begin(&command_bench, argc, argv);
    struct bench_settings settings = {
        .label = "",
        .host = "127.0.0.1",
        .version = MQTT_V311,
        .prefix = "bench",
        .keep_alive_s = 600,
        .qos = UINT8_MAX,
        .payload_size = 64,
        .window = 20,
        .per_session = 100,
        .concurrency = 100,
        .warmup_s = 1,
        .duration_s = 5,
        .drain_s = 3,
        .hold_s = 2,
        .limit_s = 60,
        .progress = isatty(STDERR_FILENO) == 1,
        .cpu = -1,
    };
    const struct scenario *scenario = NULL;

    while (options_next(&o))
        if (!take_load_option(&settings, &o))
            take_other_option(&settings, &o);
    if (settings.scenario == NULL)
        options_fail(&o, "which scenario? %s", bench_operands[0].choices);
    else if ((scenario = find_scenario(settings.scenario)) == NULL)
        options_fail(&o, "'%s' is not one of: %s", settings.scenario, bench_operands[0].choices);
    if (o.ended || scenario == NULL)
        return o.exit_code;
    apply_defaults(&settings, scenario);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    process_prepare(settings.cpu);
    return scenario->run(&settings);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* `skein sub`: subscribes and prints what comes. */
#include "base/clock.h"
#include "base/memory.h"
#include "cli/client_run.h"
#include "cli/commands.h"
#include "cli/sub_format.h"
#include "model/topic.h"

#include <stdlib.h>
#include <string.h>

static int cmd_sub(int argc, char **argv);

enum {
    OPT_PRETTY = OPT_OF_COMMAND,
    OPT_RANDOM_FILTER,
    OPT_REMOVE_RETAINED,
    OPT_RETAINED_ONLY,
    OPT_RETAIN_AS_PUBLISHED,
    OPT_NO_LOCAL,
};

static const struct option sub_options[] = {
    {'t', "topic", "FILTER", "Subscribe to this.", OPTION_REPEATABLE, NULL},
    {'T', "filter-out", "FILTER", "Do not print what matches this.", OPTION_REPEATABLE, NULL},
    {'U', "unsubscribe", "FILTER", "Unsubscribe from this first; of use with -c.",
     OPTION_REPEATABLE, NULL},
    {'q', "qos", "QOS", "Highest QoS to be sent. Default: 0.", OPTION_LAST, "0 1 2"},
    {'v', "verbose", NULL, "Print the topic before each message.", OPTION_LAST, NULL},
    {'F', "format", "FORMAT",
     "Print by this: %t topic, %p payload, %x and %X payload in hexadecimal, %l its length, %q "
     "QoS, "
     "%r retained, %m packet id, %j and %J JSON, %I and %U time, @X strftime; MQTT 5.0: %A topic "
     "alias, %C content type, %D correlation data, %E expiry, %F payload format, %P user "
     "properties, %R response topic, %S subscription identifier; \\n and the like.",
     OPTION_LAST, NULL},
    {OPT_PRETTY, "pretty", NULL, "JSON of %j and %J with line breaks.", OPTION_LAST, NULL},
    {'N', "no-newline", NULL, "Print no newline behind a message.", OPTION_LAST, NULL},
    {'C', "count", "N", "End after N messages were printed.", OPTION_LAST, NULL},
    {'W', "timeout", "SECONDS", "End after so long.", OPTION_LAST, NULL},
    {'E', "exit-when-subscribed", NULL, "End when the broker has answered all subscriptions.",
     OPTION_LAST, NULL},
    {'R', "no-retained", NULL, "Do not print retained messages.", OPTION_LAST, NULL},
    {OPT_RETAINED_ONLY, "retained-only", NULL,
     "Print retained messages only, and end at the first other one.", OPTION_LAST, NULL},
    {OPT_REMOVE_RETAINED, "remove-retained", NULL,
     "Delete each retained message that comes and is not filtered out with -T.", OPTION_LAST, NULL},
    {OPT_RETAIN_AS_PUBLISHED, "retain-as-published", NULL,
     "MQTT 5.0: keep the retain flag as the publisher set it.", OPTION_LAST, NULL},
    {OPT_NO_LOCAL, "no-local", NULL, "MQTT 5.0: not what this client publishes itself.",
     OPTION_LAST, NULL},
    {OPT_RANDOM_FILTER, "random-filter", "PERCENT",
     "Print only so many of the messages, by chance.", OPTION_LAST, NULL},
    CLIENT_OPTIONS,
    {0},
};

static const struct exit_code sub_exit_codes[] = {
    {EX_OK, "It was interrupted, or what it was to wait for has come."},
    CLIENT_EXIT_CODES,
    {EXIT_TIMEOUT, "The time of -W is over."},
    {EX_IOERR, "Standard output cannot be written."},
    {0},
};

static const struct example sub_examples[] = {
    {"skein sub -t 'hello/#' -v", "Print everything under hello, with topics."},
    {"skein sub -t '$SYS/#' -C 1", "One message, then end."},
    {"skein sub -t '#' -F '%I %t %x'", "Time, topic, and the payload in hexadecimal."},
    {"skein sub -t '#' --remove-retained --retained-only", "Delete all retained messages."},
    {"skein sub -i gauge -c -q 1 -t 'state/+' -E", "Make a session that collects messages."},
    {0},
};

const struct command command_sub = {
    .name = "sub",
    .summary = "subscribe and print messages",
    .synopsis = "[-h HOST] [-p PORT] -t FILTER ... [-v | -F FORMAT] [-C N] ...",
    .description =
        "Subscribes at a broker and prints messages until it is interrupted. The letters are those "
        "of mosquitto_sub. A connection that is lost is made again, after 1 s, 2 s, up to 30 s. "
        "TLS "
        "is not there yet, nor are SOCKS proxies and SRV records.",
    .options = sub_options,
    .exit_codes = sub_exit_codes,
    .examples = sub_examples,
    .run = cmd_sub,
};

enum { FILTERS_MAX = 10000, PERCENT_PRECISION = 1000 };

struct filter_list {
    const char **filters;
    size_t count;
};

struct sub {
    struct client_run run;
    struct client_args args;
    struct sub_format format;
    struct filter_list topics, filtered_out, unsubscribed;
    uint8_t qos;
    uint64_t count_max; /* 0: no limit */
    double timeout_s, percent;
    bool exits_when_subscribed, no_retained, retained_only, remove_retained;
    bool retain_as_published, no_local;

    uint64_t printed;
    bool done; /* ends when what is under way is finished */
    uint16_t waited_id;
    struct loop_timer timeout;
};

static struct sub *sub_of(struct client *client)
{
    return client->owner;
}

/* ---- Subscribing ------------------------------------------------------------------------------
 */

static void unsubscribe(struct sub *sub)
{
    struct bytes *filters = mem_new(sub->unsubscribed.count * sizeof(*filters));

    for (size_t i = 0; i < sub->unsubscribed.count; i++)
        filters[i] = bytes_of_str(sub->unsubscribed.filters[i]);
    sub->waited_id =
        client_unsubscribe(&sub->run.client, &sub->args.properties[PLACE_UNSUBSCRIBE].properties,
                           filters, sub->unsubscribed.count);
    mem_free(filters);
}

static void subscribe(struct sub *sub)
{
    bool v5 = sub->args.version == MQTT_V5;
    struct subscribe_filter *filters = mem_new(sub->topics.count * sizeof(*filters));

    for (size_t i = 0; i < sub->topics.count; i++) {
        filters[i].filter = bytes_of_str(sub->topics.filters[i]);
        filters[i].options.qos = sub->qos;
        filters[i].options.retain_as_published = v5 && sub->retain_as_published;
        filters[i].options.no_local = v5 && sub->no_local;
        if (v5 && sub->no_retained && !sub->remove_retained)
            filters[i].options.retain_handling = RETAIN_DO_NOT_SEND;
    }
    sub->waited_id =
        client_subscribe(&sub->run.client, &sub->args.properties[PLACE_SUBSCRIBE].properties,
                         filters, sub->topics.count);
    mem_free(filters);
}

static void on_connected(struct client *client, const struct connack *connack)
{
    struct sub *sub = sub_of(client);

    client_run_connected(&sub->run, connack);
    if (sub->unsubscribed.count > 0)
        unsubscribe(sub);
    if (sub->topics.count > 0)
        subscribe(sub);
}

static void on_answered(struct client *client, const struct suback *suback)
{
    struct sub *sub = sub_of(client);
    size_t refused = 0;
    uint8_t reason = 0;

    for (size_t i = 0; i < suback->reasons.len; i++) {
        bool bad = suback->reasons.data[i] >= MQTT_UNSPECIFIED_ERROR;
        client_args_debug(&sub->args, "%s %zu: %s (%u)",
                          suback->type == PACKET_SUBACK ? "subscription" : "unsubscription", i + 1,
                          bad ? reason_name((enum mqtt_reason)suback->reasons.data[i]) : "granted",
                          suback->reasons.data[i]);
        refused += bad;
        if (bad)
            reason = suback->reasons.data[i];
    }
    if (refused > 0)
        client_args_error(&sub->args, "sub", "the broker refuses %zu of %zu subscriptions: %s (%u)",
                          refused, suback->reasons.len, reason_name((enum mqtt_reason)reason),
                          reason);
    if (suback->packet_id != sub->waited_id)
        return;
    if (refused > 0 && refused == suback->reasons.len)
        client_run_finish(&sub->run, reason);
    else if (sub->exits_when_subscribed)
        client_run_finish(&sub->run, EX_OK);
}

/* ---- Printing ---------------------------------------------------------------------------------
 */

static bool matches_any(const struct filter_list *list, struct bytes topic)
{
    for (size_t i = 0; i < list->count; i++)
        if (topic_matches(bytes_of_str(list->filters[i]), topic))
            return true;
    return false;
}

/* Ends when deleted retained messages are acknowledged. */
static void finish_when_done(struct sub *sub)
{
    if (sub->done && sub->run.client.window.pending == 0)
        client_run_finish(&sub->run, EX_OK);
}

static void remove_retained(struct sub *sub, struct bytes topic)
{
    struct publication nothing = {.topic = topic, .qos = 1, .retain = true};
    uint16_t id;

    if (client_publish(&sub->run.client, &nothing, 0, &id) != RC_OK)
        client_args_error(&sub->args, "sub", "cannot delete the retained message of %.*s",
                          (int)topic.len, (const char *)topic.data);
}

static bool is_printed(const struct sub *sub, const struct publish *publish)
{
    if (publish->retain && sub->no_retained)
        return false;
    return sub->percent >= 100 ||
           (double)(random() % (100L * PERCENT_PRECISION)) < sub->percent * PERCENT_PRECISION;
}

static void on_message(struct client *client, const struct publish *publish)
{
    struct sub *sub = sub_of(client);

    if (sub->done)
        return;
    if (sub->retained_only && !publish->retain) {
        sub->done = true;
        finish_when_done(sub);
        return;
    }
    if (matches_any(&sub->filtered_out, publish->topic))
        return;
    if (sub->remove_retained && publish->retain)
        remove_retained(sub, publish->topic);
    if (!is_printed(sub, publish))
        return;
    sub_format_print(&sub->format, publish, stdout);
    sub->printed++;
    if (ferror(stdout)) {
        client_run_finish(&sub->run, EX_IOERR);
    } else if (sub->printed == sub->count_max) {
        sub->done = true;
        finish_when_done(sub);
    }
}

/* What was printed in this turn is shown: whoever reads a pipe sees messages as they come. */
static bool on_turn(void *owner)
{
    struct sub *sub = owner;

    if (fflush(stdout) != 0)
        client_run_finish(&sub->run, EX_IOERR);
    return false;
}

static void on_done(struct client *client, uint16_t packet_id, uint8_t reason)
{
    (void)packet_id;
    (void)reason;
    finish_when_done(sub_of(client));
}

static void on_ended(struct client *client, enum client_end why, uint8_t reason)
{
    client_run_ended(&sub_of(client)->run, why, reason);
}

static void on_closed(struct client *client)
{
    client_run_closed(&sub_of(client)->run);
}

static void on_timeout(struct loop_timer *timer)
{
    struct sub *sub = CONTAINER_OF(timer, struct sub, timeout);

    client_run_finish(&sub->run, EXIT_TIMEOUT);
}

static const struct client_ops sub_ops = {
    .connected = on_connected,
    .message = on_message,
    .done = on_done,
    .answered = on_answered,
    .ended = on_ended,
    .closed = on_closed,
};

/* ---- The command line -------------------------------------------------------------------------
 */

static void add_filter(struct filter_list *list, struct options *o, const char *filter)
{
    struct bytes inner = bytes_of_str(filter), name;

    if (topic_share_parse(inner, &name, &inner) == SHARE_INVALID || inner.len > UINT16_MAX ||
        !topic_filter_valid(inner)) {
        options_fail(o, "'%s' is no topic filter", filter);
        return;
    }
    if (list->count == FILTERS_MAX) {
        options_fail(o, "at most %d filters", FILTERS_MAX);
        return;
    }
    list->filters = mem_resize(list->filters, (list->count + 1) * sizeof(*list->filters));
    list->filters[list->count++] = filter;
}

static void take_format(struct sub *sub, struct options *o)
{
    char what[32];
    const char *wrong = sub_format_check(o->value, what);

    if (wrong != NULL)
        options_fail(o, "-F: %s", wrong);
    sub->format.style = SUB_FORMAT;
    sub->format.format = o->value;
}

static void take_flag(struct sub *sub, int id)
{
    switch (id) {
    case 'v':
        if (sub->format.style == SUB_PAYLOAD)
            sub->format.style = SUB_VERBOSE;
        break;
    case 'N':
        sub->format.no_newline = true;
        break;
    case 'E':
        sub->exits_when_subscribed = true;
        break;
    case 'R':
        sub->no_retained = true;
        break;
    case OPT_PRETTY:
        sub->format.pretty = true;
        break;
    case OPT_RETAINED_ONLY:
        sub->retained_only = true;
        break;
    case OPT_REMOVE_RETAINED:
        sub->remove_retained = true;
        break;
    case OPT_RETAIN_AS_PUBLISHED:
        sub->retain_as_published = true;
        break;
    case OPT_NO_LOCAL:
        sub->no_local = true;
        break;
    }
}

static void take_own(struct sub *sub, struct options *o)
{
    switch (o->id) {
    case 't':
        add_filter(&sub->topics, o, o->value);
        break;
    case 'T':
        add_filter(&sub->filtered_out, o, o->value);
        break;
    case 'U':
        add_filter(&sub->unsubscribed, o, o->value);
        break;
    case 'q':
        sub->qos = (uint8_t)options_number(o, 0, 2);
        break;
    case 'F':
        take_format(sub, o);
        break;
    case 'C':
        sub->count_max = options_number(o, 1, UINT64_MAX);
        break;
    case 'W':
        sub->timeout_s = options_decimal(o, 0.001);
        break;
    case OPT_RANDOM_FILTER:
        sub->percent = options_decimal(o, 0.001);
        break;
    default:
        take_flag(sub, o->id);
        break;
    }
}

static void check_arguments(struct sub *sub, struct options *o)
{
    if (sub->args.url_topic != NULL)
        add_filter(&sub->topics, o, sub->args.url_topic);
    if (sub->topics.count == 0 && sub->unsubscribed.count == 0)
        options_fail(o, "to what? -t FILTER");
    if (sub->no_retained && sub->retained_only)
        options_fail(o, "-R and --retained-only leave nothing");
    if (sub->args.version != MQTT_V5 && (sub->retain_as_published || sub->no_local))
        options_fail(o, "--retain-as-published and --no-local need MQTT 5.0: -V 5");
}

static void free_filters(struct sub *sub)
{
    mem_free(sub->topics.filters);
    mem_free(sub->filtered_out.filters);
    mem_free(sub->unsubscribed.filters);
}

static int run(struct sub *sub)
{
    srandom((unsigned)clock_ns()); /* of --random-filter */
    client_run_init(&sub->run, &sub->args, "sub", &sub_ops, sub);
    sub->run.redials = true;
    sub->run.turn = on_turn;
    loop_timer_init(&sub->timeout, on_timeout);
    if (sub->timeout_s > 0)
        loop_timer_start(&sub->run.loop, &sub->timeout,
                         sub->run.loop.now_ms + (uint64_t)(sub->timeout_s * 1000));
    int exit_code = client_run(&sub->run);
    sub_format_deinit(&sub->format);
    return exit_code;
}

static int cmd_sub(int argc, char **argv)
{
    struct options o = options_begin(&command_sub, argc, argv);
    struct sub sub = {.percent = 100};

    client_args_init(&sub.args);
    while (options_next(&o))
        if (!client_args_take(&sub.args, &o))
            take_own(&sub, &o);
    if (!o.ended)
        client_args_finish(&sub.args, &o);
    if (!o.ended)
        check_arguments(&sub, &o);
    int exit_code = o.ended ? o.exit_code : run(&sub);
    free_filters(&sub);
    client_args_deinit(&sub.args);
    return exit_code;
}

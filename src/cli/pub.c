/* SPDX-License-Identifier: Apache-2.0 */
/* `skein pub`: publishes one message, one message several times, or the lines of standard input. */
#include "base/memory.h"
#include "cli/client_run.h"
#include "cli/commands.h"
#include "cli/pub_input.h"
#include "model/topic.h"

#include <errno.h>
#include <string.h>

static int cmd_pub(int argc, char **argv);

enum {
    OPT_REPEAT = OPT_OF_COMMAND,
    OPT_REPEAT_DELAY,
};

static const struct option pub_options[] = {
    {'t', "topic", "TOPIC", "Publish to this topic.", OPTION_LAST, NULL},
    {'m', "message", "TEXT", "Publish this.", OPTION_LAST, NULL},
    {'f', "file", "FILE", "Publish what is in this file.", OPTION_LAST | OPTION_FILE, NULL},
    {'l', "stdin-line", NULL, "Publish each line of standard input.", OPTION_LAST, NULL},
    {'n', "null-message", NULL, "Publish an empty message; with -r, delete the retained one.",
     OPTION_LAST, NULL},
    {'s', "stdin-file", NULL, "Publish all of standard input as one message.", OPTION_LAST, NULL},
    {'q', "qos", "QOS", "Quality of service. Default: 0.", OPTION_LAST, "0 1 2"},
    {'r', "retain", NULL, "Retain the message.", OPTION_LAST, NULL},
    {'M', "max-inflight", "N", "QoS 1 and 2: messages under way at a time. Default: 20.",
     OPTION_LAST, NULL},
    {OPT_REPEAT, "repeat", "N", "Publish the message N times. Not with -l.", OPTION_LAST, NULL},
    {OPT_REPEAT_DELAY, "repeat-delay", "SECONDS",
     "Wait so long between two of them. Fractions are fine.", OPTION_LAST, NULL},
    CLIENT_OPTIONS,
    {0},
};

static const struct exit_code pub_exit_codes[] = {
    {EX_OK, "Everything was published; QoS 1 and 2: and acknowledged."},
    CLIENT_EXIT_CODES,
    {EX_NOINPUT, "The file cannot be read."},
    {EX_DATAERR, "The message is larger than the broker takes."},
    {0},
};

static const struct example pub_examples[] = {
    {"skein pub -t hello/world -m hi", "Publish one message."},
    {"skein pub -t state/door -r -q 1 -m open", "Retain it, and see that it arrived."},
    {"vmstat 1 | skein pub -t host/vmstat -l", "Publish each line as it comes."},
    {"skein pub -t a -m b -D publish user-property k v", "With a property of MQTT 5.0."},
    {0},
};

const struct command command_pub = {
    .name = "pub",
    .summary = "publish messages",
    .synopsis = "[-h HOST] [-p PORT] -t TOPIC (-m TEXT | -f FILE | -l | -n | -s) ...",
    .description =
        "Publishes to a broker and ends. The letters are those of mosquitto_pub. TLS is not there "
        "yet, nor are SOCKS proxies and SRV records.",
    .options = pub_options,
    .exit_codes = pub_exit_codes,
    .examples = pub_examples,
    .run = cmd_pub,
};

enum pub_mode { MODE_NONE, MODE_TEXT, MODE_FILE, MODE_LINES, MODE_NULL, MODE_STDIN };

struct pub {
    struct client_run run;
    struct client_args args;
    struct pub_input input; /* MODE_LINES */
    const char *topic, *text, *file;
    enum pub_mode mode;
    bool twice; /* two modes were asked for */
    uint8_t qos;
    bool retain;
    uint16_t inflight_max;
    uint64_t repeat;
    double delay_s;

    struct publication publication;
    uint8_t *properties; /* that go to subscribers, in their wire form */
    uint8_t *content;    /* of a file */
    uint64_t published;
    struct loop_timer repeat_timer;
};

/* ---- Publishing -------------------------------------------------------------------------------
 */

static struct pub *pub_of(struct client *client)
{
    return client->owner;
}

static bool nothing_under_way(const struct pub *pub)
{
    return pub->run.client.window.pending == 0;
}

/* RC_AGAIN: on_ready() will come. Any other failure ends it all. */
static enum rc publish(struct pub *pub, struct bytes payload)
{
    const struct properties *p = &pub->args.properties[PLACE_PUBLISH].properties;
    struct client *client = &pub->run.client;
    uint16_t alias = property_present(p, PROPERTY_TOPIC_ALIAS) ? p->topic_alias : 0;
    uint16_t id = 0;

    pub->publication.payload = payload;
    if (client->window.pending >= pub->inflight_max) {
        client->waits = true;
        return RC_AGAIN;
    }
    enum rc rc = client_publish(client, &pub->publication, alias, &id);
    if (rc == RC_INVALID) {
        client_args_error(&pub->args, "pub", "the message is larger than the broker takes");
        client_run_finish(&pub->run, EX_DATAERR);
    } else if (rc == RC_NO_MEMORY) {
        client_run_finish(&pub->run, EX_OSERR);
    } else if (rc == RC_OK) {
        pub->published++;
        client_args_debug(&pub->args, "published %zu bytes to '%s', QoS %u, packet id %u",
                          payload.len, pub->topic, pub->qos, id);
    }
    return rc;
}

static void finish_when_done(struct pub *pub)
{
    bool all =
        pub->mode == MODE_LINES ? pub_input_at_end(&pub->input) : pub->published >= pub->repeat;

    if (all && nothing_under_way(pub))
        client_run_finish(&pub->run, EX_OK);
}

/* One message, again and again: the next one when the last was delivered, and the delay is over. */
static void publish_repeated(struct pub *pub)
{
    struct bytes payload = pub->publication.payload;

    while (pub->published < pub->repeat && !timer_running(&pub->repeat_timer.timer)) {
        if (pub->delay_s > 0 && !nothing_under_way(pub))
            return;
        if (publish(pub, payload) != RC_OK)
            return;
        if (pub->delay_s > 0 && pub->published < pub->repeat)
            loop_timer_start(&pub->run.loop, &pub->repeat_timer,
                             pub->run.loop.now_ms + (uint64_t)(pub->delay_s * 1000));
    }
    finish_when_done(pub);
}

static void publish_more(struct pub *pub)
{
    if (pub->mode == MODE_LINES)
        pub_input_resume(&pub->input);
    else
        publish_repeated(pub);
}

static void on_repeat(struct loop_timer *timer)
{
    publish_more(CONTAINER_OF(timer, struct pub, repeat_timer));
}

/* A line of standard input. False: not now. */
static bool on_line(void *owner, struct bytes line)
{
    struct pub *pub = owner;

    return publish(pub, line) == RC_OK;
}

static void on_input_end(void *owner)
{
    finish_when_done(owner);
}

/* ---- The client -------------------------------------------------------------------------------
 */

static void on_connected(struct client *client, const struct connack *connack)
{
    struct pub *pub = pub_of(client);

    client_run_connected(&pub->run, connack);
    if (pub->mode == MODE_LINES)
        pub_input_start(&pub->input, &pub->run.loop, on_line, on_input_end, pub);
    else
        publish_repeated(pub);
}

/* A session that is kept may have subscriptions; they are not ours. */
static void on_message(struct client *client, const struct publish *publish)
{
    (void)client;
    (void)publish;
}

static void on_done(struct client *client, uint16_t packet_id, uint8_t reason)
{
    struct pub *pub = pub_of(client);

    client_args_debug(&pub->args, "packet id %u is done: %s", packet_id,
                      reason_name((enum mqtt_reason)reason));
    if (reason >= MQTT_UNSPECIFIED_ERROR) {
        client_args_error(&pub->args, "pub", "the broker refuses the message: %s (%u)",
                          reason_name((enum mqtt_reason)reason), reason);
        client_run_finish(&pub->run, reason);
        return;
    }
    if (pub->mode == MODE_LINES)
        finish_when_done(pub);
    else
        publish_repeated(pub);
}

static void on_ready(struct client *client)
{
    struct pub *pub = pub_of(client);

    if (!pub->run.finished)
        publish_more(pub);
}

static void on_ended(struct client *client, enum client_end why, uint8_t reason)
{
    struct pub *pub = pub_of(client);

    loop_timer_stop(&pub->run.loop, &pub->repeat_timer);
    pub_input_stop(&pub->input);
    client_run_ended(&pub->run, why, reason);
}

static void on_closed(struct client *client)
{
    client_run_closed(&pub_of(client)->run);
}

static const struct client_ops pub_ops = {
    .connected = on_connected,
    .message = on_message,
    .done = on_done,
    .ready = on_ready,
    .ended = on_ended,
    .closed = on_closed,
};

/* ---- The command line -------------------------------------------------------------------------
 */

static void set_mode(struct pub *pub, enum pub_mode mode)
{
    if (pub->mode != MODE_NONE && pub->mode != mode)
        pub->twice = true;
    pub->mode = mode;
}

static void take_own(struct pub *pub, struct options *o)
{
    switch (o->id) {
    case 't':
        pub->topic = o->value;
        break;
    case 'm':
        pub->text = o->value;
        set_mode(pub, MODE_TEXT);
        break;
    case 'f':
        pub->file = o->value;
        set_mode(pub, MODE_FILE);
        break;
    case 'l':
        set_mode(pub, MODE_LINES);
        break;
    case 'n':
        set_mode(pub, MODE_NULL);
        break;
    case 's':
        set_mode(pub, MODE_STDIN);
        break;
    case 'q':
        pub->qos = (uint8_t)options_number(o, 0, 2);
        break;
    case 'r':
        pub->retain = true;
        break;
    case 'M':
        pub->inflight_max = (uint16_t)options_number(o, 1, CLIENT_WINDOW_MAX);
        break;
    case OPT_REPEAT:
        pub->repeat = options_number(o, 1, UINT32_MAX);
        break;
    case OPT_REPEAT_DELAY:
        pub->delay_s = options_decimal(o, 0);
        break;
    }
}

static void check_arguments(struct pub *pub, struct options *o)
{
    if (pub->topic == NULL)
        pub->topic = pub->args.url_topic;
    if (pub->topic == NULL)
        options_fail(o, "where to? -t TOPIC");
    else if (strlen(pub->topic) > UINT16_MAX || !topic_name_valid(bytes_of_str(pub->topic)))
        options_fail(o, "'%s' is no topic that can be published to", pub->topic);
    if (pub->mode == MODE_NONE)
        options_fail(o, "what? One of -m, -f, -l, -n, -s");
    if (pub->twice)
        options_fail(o, "only one of -m, -f, -l, -n, -s");
    if (pub->mode == MODE_LINES && (pub->repeat > 1 || pub->delay_s > 0))
        options_fail(o, "--repeat is not for -l");
}

/* The payload that is known before connecting. EX_OK or why it cannot be had. */
static int read_content(struct pub *pub)
{
    FILE *file = stdin;
    size_t len = 0;

    if (pub->mode == MODE_TEXT)
        pub->publication.payload = bytes_of_str(pub->text);
    if (pub->mode != MODE_FILE && pub->mode != MODE_STDIN)
        return EX_OK;
    if (pub->mode == MODE_FILE)
        file = fopen(pub->file, "rbe");
    if (file == NULL || !pub_input_read_all(file, &pub->content, &len)) {
        client_args_error(&pub->args, "pub", "%s: %s", pub->mode == MODE_FILE ? pub->file : "stdin",
                          strerror(errno));
        return EX_NOINPUT;
    }
    if (pub->mode == MODE_FILE)
        fclose(file);
    pub->publication.payload = bytes_of(pub->content, len);
    return EX_OK;
}

static void describe_publication(struct pub *pub)
{
    const struct property_block *block = &pub->args.properties[PLACE_PUBLISH];
    struct publication *publication = &pub->publication;

    publication->topic = bytes_of_str(pub->topic);
    publication->qos = pub->qos;
    publication->retain = pub->retain;
    if (block->len == 0)
        return;
    pub->properties = mem_new(block->len);
    publication->properties =
        bytes_of(pub->properties, properties_forward(properties_wire(block), pub->properties));
    publication->has_expiry =
        property_present(&block->properties, PROPERTY_MESSAGE_EXPIRY_INTERVAL);
    publication->expiry_s = block->properties.message_expiry_s;
}

static int cmd_pub(int argc, char **argv)
{
    struct options o = options_begin(&command_pub, argc, argv);
    struct pub pub = {.repeat = 1, .inflight_max = 20};

    client_args_init(&pub.args);
    while (options_next(&o))
        if (!client_args_take(&pub.args, &o))
            take_own(&pub, &o);
    if (!o.ended)
        client_args_finish(&pub.args, &o);
    if (!o.ended)
        check_arguments(&pub, &o);
    int exit_code = o.ended ? o.exit_code : read_content(&pub);
    if (!o.ended && exit_code == EX_OK) {
        describe_publication(&pub);
        loop_timer_init(&pub.repeat_timer, on_repeat);
        client_run_init(&pub.run, &pub.args, "pub", &pub_ops, &pub);
        exit_code = client_run(&pub.run);
    }
    pub_input_deinit(&pub.input);
    mem_free(pub.properties);
    mem_free(pub.content);
    client_args_deinit(&pub.args);
    return exit_code;
}

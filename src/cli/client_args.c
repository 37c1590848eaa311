/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client_args.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { PORT_TCP = 1883, PORT_WEBSOCKET = 8083, RANDOM_LETTERS = 14 };

void client_args_init(struct client_args *args)
{
    *args = (struct client_args){.host = "localhost", .keep_alive_s = 60};
}

void client_args_deinit(struct client_args *args)
{
    properties_free(args->properties);
}

static void take_version(struct client_args *args, const char *value)
{
    if (strstr(value, "5") != NULL)
        args->version = MQTT_V5;
    else
        args->version = strstr(value, "311") != NULL ? MQTT_V311 : MQTT_V31;
}

static void take_expiry(struct client_args *args, struct options *o)
{
    args->has_expiry = true;
    if (strcmp(o->value, "-1") == 0 || strcmp(o->value, "\xe2\x88\x9e") == 0) /* the sign */
        args->expiry_s = UINT32_MAX;
    else
        args->expiry_s = (uint32_t)options_number(o, 0, UINT32_MAX);
}

/* Cuts the rest of *at off at the first `mark`; NULL when there is none. */
static char *cut(char *at, char mark)
{
    char *found = strchr(at, mark);

    if (found == NULL)
        return NULL;
    *found = '\0';
    return found + 1;
}

static void take_host_port(struct client_args *args, struct options *o, char *at)
{
    char *port;

    if (at[0] == '[') { /* an IPv6 address */
        char *behind = cut(at + 1, ']');
        args->host = at + 1;
        port = behind != NULL && behind[0] == ':' ? behind + 1 : NULL;
    } else {
        args->host = at;
        port = cut(at, ':');
    }
    if (port != NULL) {
        o->value = port;
        args->port = (uint16_t)options_number(o, 1, UINT16_MAX);
    }
    if (args->host[0] == '\0')
        options_fail(o, "--url has no host");
}

static void take_url(struct client_args *args, struct options *o)
{
    char *at = args->url;

    int len = snprintf(args->url, sizeof(args->url), "%s", o->value);
    if (len < 0 || (size_t)len >= sizeof(args->url)) {
        options_fail(o, "--url is too long");
        return;
    }
    if (strncmp(at, "mqtt://", 7) == 0) {
        at += 7;
    } else if (strncmp(at, "ws://", 5) == 0) {
        at += 5;
        if (args->websocket_path == NULL)
            args->websocket_path = "/mqtt";
    } else {
        options_fail(o, "--url: mqtt:// or ws:// is expected, not '%s'", o->value);
        return;
    }
    args->url_topic = cut(at, '/');
    if (args->url_topic != NULL && args->url_topic[0] == '\0')
        args->url_topic = NULL;
    char *behind_user = strrchr(at, '@');
    if (behind_user != NULL) {
        *behind_user = '\0';
        args->user_name = at;
        args->password = cut(at, ':');
        at = behind_user + 1;
    }
    take_host_port(args, o, at);
}

static bool take_will(struct client_args *args, struct options *o)
{
    switch (o->id) {
    case OPT_WILL_TOPIC:
        args->will_topic = o->value;
        return true;
    case OPT_WILL_PAYLOAD:
        args->will_payload = o->value;
        return true;
    case OPT_WILL_QOS:
        args->will_qos = (uint8_t)options_number(o, 0, 2);
        return true;
    case OPT_WILL_RETAIN:
        args->will_retain = true;
        return true;
    default:
        return false;
    }
}

static void take_client_id(struct client_args *args, struct options *o, const char *suffix)
{
    int len = snprintf(args->client_id, sizeof(args->client_id), "%s%s", o->value, suffix);

    args->own_client_id = true;
    if (len < 0 || (size_t)len >= sizeof(args->client_id))
        options_fail(o, "--%s is too long", o->option->name);
}

static bool take_session(struct client_args *args, struct options *o)
{
    char pid[16];

    switch (o->id) {
    case 'i':
        take_client_id(args, o, "");
        return true;
    case 'I':
        snprintf(pid, sizeof(pid), "%d", (int)getpid());
        take_client_id(args, o, pid);
        return true;
    case 'k':
        args->keep_alive_s = (uint16_t)options_number(o, 0, UINT16_MAX);
        return true;
    case 'c':
        args->keep_session = true;
        return true;
    case 'x':
        take_expiry(args, o);
        return true;
    case 'V':
        take_version(args, o->value);
        return true;
    case 'D':
        properties_take(args->properties, o);
        return true;
    default:
        return take_will(args, o);
    }
}

bool client_args_take(struct client_args *args, struct options *o)
{
    switch (o->id) {
    case 'h':
        args->host = o->value;
        return true;
    case 'p':
        args->port = (uint16_t)options_number(o, 1, UINT16_MAX);
        return true;
    case 'L':
        take_url(args, o);
        return true;
    case 'A':
        args->source = o->value;
        return true;
    case 'u':
        args->user_name = o->value;
        return true;
    case 'P':
        args->password = o->value;
        return true;
    case OPT_WEBSOCKET:
        if (args->websocket_path == NULL)
            args->websocket_path = "/mqtt";
        return true;
    case OPT_PATH:
        args->websocket_path = o->value;
        return true;
    case 'd':
        args->debug = true;
        return true;
    case OPT_QUIET:
        args->quiet = true;
        return true;
    case OPT_NODELAY:
        return true;
    default:
        return take_session(args, o);
    }
}

/* MQTT 3.1 allows 23 characters, and everything before 5.0 a server may refuse an empty one. */
static void random_client_id(struct client_args *args)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuv";
    uint8_t random[RANDOM_LETTERS] = {0};

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        snprintf((char *)random, sizeof(random), "%d", (int)getpid());
    int len = snprintf(args->client_id, sizeof(args->client_id), "skein-");
    for (size_t i = 0; i < sizeof(random); i++)
        args->client_id[len++] = letters[random[i] % 32];
    args->client_id[len] = '\0';
}

static bool has_properties(const struct client_args *args)
{
    for (int place = 0; place < PROPERTY_PLACES; place++)
        if (args->properties[place].len > 0)
            return true;
    return false;
}

void client_args_finish(struct client_args *args, struct options *o)
{
    properties_finish(args->properties, o);
    if (has_properties(args) || (args->has_expiry && args->version == 0))
        args->version = MQTT_V5;
    if (args->version == 0)
        args->version = MQTT_V311;
    if (args->port == 0)
        args->port = args->websocket_path != NULL ? PORT_WEBSOCKET : PORT_TCP;
    if ((args->keep_session || (args->has_expiry && args->expiry_s == UINT32_MAX)) &&
        !args->own_client_id)
        options_fail(o, "a session that is kept needs a client identifier: -i");
    if (args->will_topic == NULL && (args->will_payload != NULL || args->will_qos > 0 ||
                                     args->will_retain || args->properties[PLACE_WILL].len > 0))
        options_fail(o, "a will needs --will-topic");
    if (args->password != NULL && args->user_name == NULL && args->version != MQTT_V5)
        options_fail(o, "before MQTT 5.0 a password needs a user name: -u");
    if (!args->own_client_id && args->version != MQTT_V5)
        random_client_id(args);
}

static struct bytes bytes_or_none(const char *text)
{
    return text != NULL ? bytes_of_str(text) : bytes_of(NULL, 0);
}

void client_args_connect(const struct client_args *args, struct connect *connect)
{
    *connect = (struct connect){
        .version = args->version,
        .clean_start = !args->keep_session,
        .keep_alive_s = args->keep_alive_s,
        .client_id = bytes_of_str(args->client_id),
        .properties = args->properties[PLACE_CONNECT].properties,
        .has_will = args->will_topic != NULL,
        .will_qos = args->will_qos,
        .will_retain = args->will_retain,
        .will_topic = bytes_or_none(args->will_topic),
        .will_payload = bytes_or_none(args->will_payload),
        .will_properties = args->properties[PLACE_WILL].properties,
        .has_user_name = args->user_name != NULL,
        .has_password = args->password != NULL,
        .user_name = bytes_or_none(args->user_name),
        .password = bytes_or_none(args->password),
    };
    if (args->version == MQTT_V5 && (args->has_expiry || args->keep_session)) {
        property_set(&connect->properties, PROPERTY_SESSION_EXPIRY_INTERVAL);
        connect->properties.session_expiry_s = args->has_expiry ? args->expiry_s : UINT32_MAX;
    }
}

void client_args_debug(const struct client_args *args, const char *format, ...)
{
    va_list list;

    if (!args->debug)
        return;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

void client_args_error(const struct client_args *args, const char *command, const char *format, ...)
{
    va_list list;

    if (args->quiet)
        return;
    fprintf(stderr, "skein %s: ", command);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

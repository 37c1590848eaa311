/* SPDX-License-Identifier: Apache-2.0 */
/* The options that `skein pub` and `skein sub` share: where to connect, as whom, with which will
 * and properties. Letters are those that mosquitto_pub and mosquitto_sub users know. */
#ifndef CLI_CLIENT_ARGS_H
#define CLI_CLIENT_ARGS_H

#include "cli/client_properties.h"
#include "cli/options.h"
#include "codec/packet.h"

enum {
    OPT_NODELAY = OPTION_LONG,
    OPT_QUIET,
    OPT_WILL_TOPIC,
    OPT_WILL_PAYLOAD,
    OPT_WILL_QOS,
    OPT_WILL_RETAIN,
    OPT_WEBSOCKET,
    OPT_PATH,
    OPT_OF_COMMAND, /* ids of the command's own options start here */
};

enum { OPTION_LAST = OPTION_LAST_WINS };

/* clang-format off */
#define CLIENT_OPTIONS                                                                             \
    {'h', "host", "HOST", "The broker's host. Default: localhost.", OPTION_LAST, NULL},            \
    {'p', "port", "PORT", "Its port. Default: 1883, 8083 with --websocket.", OPTION_LAST, NULL},   \
    {'L', "url", "URL", "mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC, or ws:// for WebSocket.",     \
     OPTION_LAST, NULL},                                                                           \
    {'A', "bind", "ADDRESS", "Connect from this address of this machine.", OPTION_LAST, NULL},     \
    {'u', "username", "NAME", "User name.", OPTION_LAST, NULL},                                    \
    {'P', "pw", "PASSWORD", "Password. Others on this machine can see it in the list of "          \
     "processes.", OPTION_LAST, NULL},                                                             \
    {'i', "id", "ID", "Client identifier. Default: a random one; with MQTT 5.0 the broker "        \
     "chooses.", OPTION_LAST, NULL},                                                               \
    {'I', "id-prefix", "PREFIX", "Client identifier is PREFIX and the process id.", OPTION_LAST,   \
     NULL},                                                                                        \
    {'k', "keepalive", "SECONDS", "Keep alive, 0: none. Default: 60.", OPTION_LAST, NULL},         \
    {'c', "disable-clean-session", NULL, "Go on with the session of this client identifier, and "  \
     "keep it at the end.", OPTION_LAST, NULL},                                                    \
    {'x', "session-expiry-interval", "SECONDS", "MQTT 5.0: how long the session is kept, -1: for " \
     "ever. Default: for ever with -c, else 0.", OPTION_LAST, NULL},                               \
    {'V', "protocol-version", "VERSION", "MQTT version. Default: 311, or 5 with -D.", OPTION_LAST, \
     "5 311 31 mqttv5 mqttv311 mqttv31"},                                                          \
    {'D', "property", "PACKET", "A property of MQTT 5.0 as PACKET NAME VALUE, three words, or "    \
     "PACKET user-property NAME VALUE. PACKET: connect, publish, subscribe, unsubscribe, "         \
     "disconnect or will. NAME as in the standard, with dashes.", OPTION_REPEATABLE, NULL},        \
    {OPT_WILL_TOPIC, "will-topic", "TOPIC", "Leave a will on this topic.", OPTION_LAST, NULL},     \
    {OPT_WILL_PAYLOAD, "will-payload", "TEXT", "Payload of the will. Default: empty.",             \
     OPTION_LAST, NULL},                                                                           \
    {OPT_WILL_QOS, "will-qos", "QOS", "QoS of the will. Default: 0.", OPTION_LAST, "0 1 2"},       \
    {OPT_WILL_RETAIN, "will-retain", NULL, "Retain the will.", OPTION_LAST, NULL},                 \
    {OPT_WEBSOCKET, "websocket", NULL, "Connect by WebSocket.", OPTION_LAST, NULL},                \
    {OPT_PATH, "path", "PATH", "WebSocket: the path to ask for. Default: /mqtt.", OPTION_LAST,     \
     NULL},                                                                                        \
    {'d', "debug", NULL, "Say on stderr what happens.", OPTION_LAST, NULL},                        \
    {OPT_QUIET, "quiet", NULL, "Say nothing on stderr when something goes wrong.", OPTION_LAST,    \
     NULL},                                                                                        \
    {OPT_NODELAY, "nodelay", NULL, "Accepted; Nagle's algorithm is always off.",                   \
     OPTION_LAST | OPTION_HIDDEN, NULL}

#define CLIENT_EXIT_CODES                                                                          \
    {1, "1 to 5: MQTT 3.x, the broker refused the connection with this return code."},             \
    {EX_USAGE, "The command line is wrong."},                                                      \
    {EX_NOHOST, "The host's name does not resolve."},                                              \
    {EX_UNAVAILABLE, "Nobody answers, or the connection was lost."},                               \
    {EX_PROTOCOL, "The broker broke the protocol, or does not speak it."},                         \
    {128, "128 and above: what the broker gave as reason code of MQTT 5.0, for a connection, a "   \
     "message or a subscription."}
/* clang-format on */

struct client_args {
    const char *host, *source;
    uint16_t port;
    const char *websocket_path; /* NULL: TCP */
    enum mqtt_version version;
    char client_id[128];
    bool own_client_id; /* given by -i or -I */
    const char *user_name, *password;
    uint16_t keep_alive_s;
    bool keep_session, has_expiry;
    uint32_t expiry_s;
    const char *will_topic, *will_payload;
    uint8_t will_qos;
    bool will_retain;
    bool debug, quiet;
    const char *url_topic; /* the topic of -L, NULL when there is none */
    char url[1024];        /* what is cut out of -L */
    struct property_block properties[PROPERTY_PLACES];
};

void client_args_init(struct client_args *args);
void client_args_deinit(struct client_args *args);

/* Takes the option just found when it is one of CLIENT_OPTIONS; false when it is not. */
bool client_args_take(struct client_args *args, struct options *o);

/* After the walk: what follows from what was given. Fails the walk when it does not fit together.
 */
void client_args_finish(struct client_args *args, struct options *o);

/* Fills in what CONNECT says; borrows args. */
void client_args_connect(const struct client_args *args, struct connect *connect);

/* A line on stderr: client_args_debug() with -d, client_args_error() without --quiet. */
void client_args_debug(const struct client_args *args, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void client_args_error(const struct client_args *args, const char *command, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

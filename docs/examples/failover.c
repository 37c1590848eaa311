/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of several brokers with Paho C 1.3: prints what comes on a topic, publishes its input
 * there.
 *
 *     cc -o failover failover.c -lpaho-mqtt3a
 *     ./failover CLIENT_ID TOPIC tcp://HOST:PORT [tcp://HOST:PORT ...] <lines-to-publish
 */
#include <MQTTAsync.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct app {
    MQTTAsync client;
    MQTTAsync_connectOptions options;
    MQTTProperties session;
    const char *topic;
};

/* Ignored: it was asked to already. */
static void connect_now(struct app *app)
{
    int rc = MQTTAsync_connect(app->client, &app->options);
    if (rc != MQTTASYNC_SUCCESS && rc != MQTTASYNC_COMMAND_IGNORED) {
        fprintf(stderr, "MQTTAsync_connect: %s\n", MQTTAsync_strerror(rc));
        exit(1);
    }
}

static void subscribed(void *context, MQTTAsync_successData5 *answer)
{
    (void)context, (void)answer;
    puts("subscribed");
}

static void connected(void *context, MQTTAsync_successData5 *answer)
{
    struct app *app = context;
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;

    printf("connected %s %s\n", answer->alt.connect.serverURI,
           answer->alt.connect.sessionPresent ? "resumed" : "new");
    if (answer->alt.connect.sessionPresent)
        return;
    options.onSuccess5 = subscribed; /* this broker has no session of ours, so no subscriptions */
    MQTTAsync_subscribe(app->client, app->topic, 1, &options);
}

/* Every address was tried. */
static void refused(void *context, MQTTAsync_failureData5 *why)
{
    (void)why;
    sleep(1);
    connect_now(context);
}

/* The library's automaticReconnect would do as well, but does not tell whether there is a session.
 */
static void lost(void *context, char *cause)
{
    (void)cause;
    connect_now(context);
}

static int received(void *context, char *topic, int topic_len, MQTTAsync_message *message)
{
    (void)context, (void)topic_len;
    printf("message %.*s\n", message->payloadlen, (char *)message->payload);
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

/* Kept by the library until a broker has acknowledged it. */
static void publish(struct app *app, const char *text)
{
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    MQTTAsync_send(app->client, app->topic, (int)strlen(text), text, 1, 0, &options);
}

static void set_up(struct app *app, const char *client_id, char **addresses, int count)
{
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer5;
    MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL};

    create.sendWhileDisconnected = 1;
    MQTTAsync_createWithOptions(&app->client, addresses[0], client_id, MQTTCLIENT_PERSISTENCE_NONE,
                                NULL, &create);
    MQTTAsync_setCallbacks(app->client, app, lost, received, NULL);
    expiry.value.integer4 = 3600; /* seconds that a broker keeps the session while we are away */
    MQTTProperties_add(&app->session, &expiry);
    options.connectProperties = &app->session;
    options.cleanstart = 0;
    options.keepAliveInterval = 30;
    options.connectTimeout = 5; /* for each address */
    options.serverURIs = addresses;
    options.serverURIcount = count;
    options.onSuccess5 = connected;
    options.onFailure5 = refused;
    options.context = app;
    app->options = options;
}

int main(int argc, char **argv)
{
    struct app app = {0};
    char line[1024];

    if (argc < 4)
        return 64;
    setvbuf(stdout, NULL, _IOLBF, 0);
    app.topic = argv[2];
    set_up(&app, argv[1], argv + 3, argc - 3);
    connect_now(&app);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        publish(&app, line);
    }
    MQTTAsync_disconnectOptions leave = MQTTAsync_disconnectOptions_initializer5;
    MQTTAsync_disconnect(app.client, &leave);
    MQTTAsync_destroy(&app.client);
    return 0;
}

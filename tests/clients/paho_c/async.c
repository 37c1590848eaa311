/* SPDX-License-Identifier: Apache-2.0 */
/* Paho C's asynchronous client, MQTT 5.0: one callback leads to the next, a hundred messages are in
 * flight at once, and each comes back with its user property, in order.
 * Arguments: the broker's URI, a topic. Exit code 0: all was well. */
#include <MQTTAsync.h>

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MESSAGES 100
#define TIMEOUT_S 10

struct conversation {
    MQTTAsync client;
    const char *topic;
    sem_t done;
    int next; /* the number that the next message has to carry */
};

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void on_failure(void *context, MQTTAsync_failureData5 *data)
{
    (void)context;
    fprintf(stderr, "code %d, reason 0x%02x\n", data->code, data->reasonCode);
    exit(1);
}

static void send_one(struct conversation *c, int number)
{
    MQTTAsync_message message = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    char text[16];
    MQTTProperty user = {.identifier = MQTTPROPERTY_CODE_USER_PROPERTY};

    message.payload = text;
    message.payloadlen = snprintf(text, sizeof(text), "%d", number);
    message.qos = 2;
    user.value.data = (MQTTLenString){6, "number"};
    user.value.value = (MQTTLenString){message.payloadlen, text};
    MQTTProperties_add(&message.properties, &user);
    options.onFailure5 = on_failure;
    options.context = c;
    if (MQTTAsync_sendMessage(c->client, c->topic, &message, &options) != MQTTASYNC_SUCCESS)
        fail("sendMessage");
    MQTTProperties_free(&message.properties);
}

static void on_subscribe(void *context, MQTTAsync_successData5 *data)
{
    (void)data;
    for (int number = 0; number < MESSAGES; number++)
        send_one(context, number);
}

static void on_connect(void *context, MQTTAsync_successData5 *data)
{
    struct conversation *c = context;
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;

    (void)data;
    options.onSuccess5 = on_subscribe;
    options.onFailure5 = on_failure;
    options.context = c;
    if (MQTTAsync_subscribe(c->client, c->topic, 2, &options) != MQTTASYNC_SUCCESS)
        fail("subscribe");
}

static int on_message(void *context, char *topic, int len, MQTTAsync_message *message)
{
    struct conversation *c = context;
    MQTTProperty *user =
        MQTTProperties_getProperty(&message->properties, MQTTPROPERTY_CODE_USER_PROPERTY);
    char expected[16];

    (void)len;
    snprintf(expected, sizeof(expected), "%d", c->next);
    if (message->payloadlen != (int)strlen(expected) ||
        memcmp(message->payload, expected, strlen(expected)) != 0)
        fail("messages out of order");
    if (user == NULL || strncmp(user->value.value.data, expected, strlen(expected)) != 0)
        fail("the user property is not the one that was sent");
    if (++c->next == MESSAGES)
        sem_post(&c->done);
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 64;

    struct conversation c = {.topic = argv[2]};
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    MQTTAsync_connectOptions connect = MQTTAsync_connectOptions_initializer5;
    struct timespec deadline;

    sem_init(&c.done, 0, 0);
    if (MQTTAsync_createWithOptions(&c.client, argv[1], "", MQTTCLIENT_PERSISTENCE_NONE, NULL,
                                    &create) != MQTTASYNC_SUCCESS)
        fail("create");
    MQTTAsync_setCallbacks(c.client, &c, NULL, on_message, NULL);
    connect.cleanstart = 1;
    connect.maxInflight = MESSAGES;
    connect.onSuccess5 = on_connect;
    connect.onFailure5 = on_failure;
    connect.context = &c;
    if (MQTTAsync_connect(c.client, &connect) != MQTTASYNC_SUCCESS)
        fail("connect");
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += TIMEOUT_S;
    if (sem_timedwait(&c.done, &deadline) != 0)
        fail("not all messages came back");
    return 0;
}

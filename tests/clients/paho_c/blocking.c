/* SPDX-License-Identifier: Apache-2.0 */
/* Paho C's blocking client: subscribes, publishes at each QoS, and gets each message back.
 * Arguments: the broker's URI, the version (3, 4 or 5), a topic, a client id. Exit code 0: all was
 * well. */
#include <MQTTClient.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 10000

static void must(int rc, const char *what)
{
    if (rc != MQTTCLIENT_SUCCESS) {
        fprintf(stderr, "%s: %d\n", what, rc);
        exit(1);
    }
}

static void open_session(MQTTClient client, int version)
{
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
    MQTTClient_connectOptions options5 = MQTTClient_connectOptions_initializer5;

    if (version == MQTTVERSION_5) {
        options5.cleanstart = 1;
        MQTTResponse response = MQTTClient_connect5(client, &options5, NULL, NULL);
        must(response.reasonCode, "connect");
        MQTTResponse_free(response);
        return;
    }
    options.MQTTVersion = version;
    options.cleansession = 1;
    must(MQTTClient_connect(client, &options), "connect");
}

static void listen_to(MQTTClient client, int version, const char *topic)
{
    if (version == MQTTVERSION_5) {
        MQTTResponse response = MQTTClient_subscribe5(client, topic, 2, NULL, NULL);
        must(response.reasonCode == 2 ? 0 : response.reasonCode, "subscribe");
        MQTTResponse_free(response);
        return;
    }
    must(MQTTClient_subscribe(client, topic, 2), "subscribe");
}

static void say(MQTTClient client, int version, const char *topic, int qos, const char *text)
{
    MQTTClient_message message = MQTTClient_message_initializer;
    MQTTClient_deliveryToken token;

    message.payload = (char *)text;
    message.payloadlen = (int)strlen(text);
    message.qos = qos;
    if (version == MQTTVERSION_5) {
        MQTTResponse response = MQTTClient_publishMessage5(client, topic, &message, &token);
        must(response.reasonCode, "publish");
        MQTTResponse_free(response);
    } else {
        must(MQTTClient_publishMessage(client, topic, &message, &token), "publish");
    }
    if (qos > 0)
        must(MQTTClient_waitForCompletion(client, token, TIMEOUT_MS), "acknowledgement");
}

static void hear(MQTTClient client, const char *topic, int qos, const char *text)
{
    char *name = NULL;
    int len = 0;
    MQTTClient_message *message = NULL;

    must(MQTTClient_receive(client, &name, &len, &message, TIMEOUT_MS), "receive");
    if (message == NULL || strcmp(name, topic) != 0 || message->qos != qos ||
        message->payloadlen != (int)strlen(text) ||
        memcmp(message->payload, text, strlen(text)) != 0) {
        fprintf(stderr, "not the message that was sent at QoS %d\n", qos);
        exit(1);
    }
    MQTTClient_freeMessage(&message);
    MQTTClient_free(name);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 64;

    const char *uri = argv[1], *topic = argv[3];
    int version = atoi(argv[2]);
    MQTTClient client;
    MQTTClient_createOptions create = MQTTClient_createOptions_initializer;

    create.MQTTVersion = version;
    must(MQTTClient_createWithOptions(&client, uri, argv[4], MQTTCLIENT_PERSISTENCE_NONE, NULL,
                                      &create),
         "create");
    open_session(client, version);
    listen_to(client, version, topic);
    for (int qos = 0; qos <= 2; qos++) {
        say(client, version, topic, qos, "from C");
        hear(client, topic, qos, "from C");
    }
    must(version == MQTTVERSION_5 ? MQTTClient_disconnect5(client, 1000, 0, NULL)
                                  : MQTTClient_disconnect(client, 1000),
         "disconnect");
    MQTTClient_destroy(&client);
    return 0;
}

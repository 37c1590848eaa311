/* SPDX-License-Identifier: Apache-2.0 */
/* Takes servers out of a JetStream cluster, through the system account. */
#include "changelog/jetstream_servers.h"

#include "changelog/jetstream_answer.h"

#include <nats/nats.h>
#include <openssl/sha.h>
#include <stdio.h>

enum { NOT_A_MEMBER = 10044, PEER_ID = 9 };

/* By what a server that has been away since all of them started is known: 8 digits to the base of
 * 62 from the hash of its name. */
static void peer_id(const char *name, char out[PEER_ID])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t hash[SHA256_DIGEST_LENGTH];

    SHA256((const uint8_t *)name, strlen(name), hash);
    for (int i = 0; i < PEER_ID - 1; i++)
        out[i] = digits[hash[i] % (sizeof(digits) - 1)];
    out[PEER_ID - 1] = '\0';
}

static enum rc ask(natsConnection *connection, const char *json, uint64_t timeout_ms,
                   char error[JETSTREAM_ERROR_MAX])
{
    struct jetstream_answer read;
    natsMsg *answer = NULL;

    natsStatus status = natsConnection_RequestString(&answer, connection, "$JS.API.SERVER.REMOVE",
                                                     json, (int64_t)timeout_ms);
    if (status != NATS_OK) {
        snprintf(error, JETSTREAM_ERROR_MAX, "%s", natsStatus_GetText(status));
        return RC_AGAIN;
    }
    jetstream_answer_read(JETSTREAM_TRIM,
                          bytes_of(natsMsg_GetData(answer), (size_t)natsMsg_GetDataLength(answer)),
                          &read);
    natsMsg_Destroy(answer);
    if (read.answer.outcome == ENGINE_INFO)
        return RC_OK;
    snprintf(error, JETSTREAM_ERROR_MAX, "%s (%d)", read.why, read.code);
    return read.code == NOT_A_MEMBER ? RC_NOT_FOUND : RC_REFUSED;
}

static natsStatus connect_to(const char *url, const char *user, const char *password,
                             uint64_t timeout_ms, natsConnection **connection)
{
    natsOptions *options = NULL;

    natsStatus status = natsOptions_Create(&options);
    if (status == NATS_OK)
        status = natsOptions_SetURL(options, url);
    if (status == NATS_OK)
        status = natsOptions_SetUserInfo(options, user, password);
    if (status == NATS_OK)
        status = natsOptions_SetTimeout(options, (int64_t)timeout_ms);
    if (status == NATS_OK)
        status = natsConnection_Connect(connection, options);
    natsOptions_Destroy(options);
    return status;
}

enum rc jetstream_remove_server(const char *url, const char *user, const char *password,
                                const char *name, uint64_t timeout_ms,
                                char error[JETSTREAM_ERROR_MAX])
{
    natsConnection *connection = NULL;
    char json[JETSTREAM_ERROR_MAX], id[PEER_ID];

    natsStatus status = connect_to(url, user, password, timeout_ms, &connection);
    if (status != NATS_OK) {
        snprintf(error, JETSTREAM_ERROR_MAX, "%s", natsStatus_GetText(status));
        return RC_AGAIN;
    }
    snprintf(json, sizeof(json), "{\"peer\":\"%s\"}", name);
    enum rc rc = ask(connection, json, timeout_ms, error);
    if (rc == RC_NOT_FOUND) {
        peer_id(name, id);
        snprintf(json, sizeof(json), "{\"peer\":\"\",\"peer_id\":\"%s\"}", id);
        rc = ask(connection, json, timeout_ms, error);
    }
    natsConnection_Destroy(connection);
    return rc;
}

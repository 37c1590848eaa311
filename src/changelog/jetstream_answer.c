/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of JetStream's API and its acknowledgements. */
#include "changelog/jetstream_answer.h"

#include "base/memory.h"

#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

/* The engine's error codes that mean something here. */
enum { WRONG_LAST_SEQUENCE = 10071, NO_MESSAGE = 10037 };

static void fail(struct jetstream_answer *out, const char *why)
{
    out->answer.outcome = ENGINE_FAILED;
    snprintf(out->why, sizeof(out->why), "%s", why);
}

static void read_error(json_t *error, struct jetstream_answer *out)
{
    const char *description = json_string_value(json_object_get(error, "description"));

    fail(out, description != NULL ? description : "an error without words");
    out->code = (int)json_integer_value(json_object_get(error, "err_code"));
    if (out->code == WRONG_LAST_SEQUENCE)
        out->answer.outcome = ENGINE_REFUSED;
    else if (out->code == NO_MESSAGE)
        out->answer.outcome = ENGINE_NOT_FOUND;
}

static bool sequence_of(json_t *object, const char *key, uint64_t *sequence)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    *sequence = value > 0 ? (uint64_t)value : 0;
    return value > 0;
}

/* Base64 into memory of our own; NULL: it is none, or there is no memory. */
static uint8_t *decode(const char *text, size_t len, size_t *decoded)
{
    if (len == 0 || len % 4 != 0 || len > INT_MAX)
        return NULL;
    uint8_t *out = mem_try(len / 4 * 3);
    if (out == NULL)
        return NULL;
    int got = EVP_DecodeBlock(out, (const unsigned char *)text, (int)len);
    if (got < 0) {
        mem_free(out);
        return NULL;
    }
    size_t padding = (text[len - 1] == '=' ? 1u : 0u) + (text[len - 2] == '=' ? 1u : 0u);
    *decoded = (size_t)got - padding;
    return out;
}

static void read_record(json_t *root, struct jetstream_answer *out)
{
    json_t *message = json_object_get(root, "message");
    json_t *data = json_object_get(message, "data");
    size_t len = 0;

    if (!sequence_of(message, "seq", &out->answer.sequence)) {
        fail(out, "a message without a sequence");
        return;
    }
    if (data != NULL) {
        out->record = decode(json_string_value(data), json_string_length(data), &len);
        if (out->record == NULL) {
            fail(out, "a message that cannot be decoded");
            return;
        }
    }
    out->answer.outcome = ENGINE_RECORD;
    out->answer.record = bytes_of(out->record, len);
}

static uint64_t read_base(json_t *root)
{
    json_t *description = json_object_get(json_object_get(root, "config"), "description");
    const char *text = json_is_string(description) ? json_string_value(description) : "";
    bool has_base = strncmp(text, JETSTREAM_BASE, sizeof(JETSTREAM_BASE) - 1) == 0;

    return has_base ? strtoull(text + sizeof(JETSTREAM_BASE) - 1, NULL, 10) : 0;
}

static void read_info(json_t *root, struct jetstream_answer *out)
{
    json_t *state = json_object_get(root, "state");

    if (!json_is_object(state)) {
        fail(out, "a stream without a state");
        return;
    }
    out->answer.outcome = ENGINE_INFO;
    out->base = read_base(root);
    sequence_of(state, "last_seq", &out->answer.sequence);
    if (!sequence_of(state, "first_seq", &out->answer.first))
        out->answer.first = 1;
}

/* A server without others says nothing of a cluster. */
static void read_copies(json_t *root, struct jetstream_answer *out)
{
    json_t *count = json_object_get(json_object_get(root, "config"), "num_replicas");
    json_t *cluster = json_object_get(root, "cluster"), *copy;
    size_t i;

    if (!json_is_integer(count) || json_integer_value(count) < 1 ||
        json_integer_value(count) > UINT16_MAX) {
        fail(out, "a stream without a number of replicas");
        return;
    }
    out->answer.outcome = ENGINE_INFO;
    out->copies = (uint32_t)json_integer_value(count);
    out->copies_current = cluster == NULL || json_object_get(cluster, "leader") != NULL;
    out->copies_servers = 1;
    json_array_foreach(json_object_get(cluster, "replicas"), i, copy)
    {
        out->copies_servers++;
        bool away = json_is_true(json_object_get(copy, "offline"));
        out->copies_away += away;
        out->copies_current += !away && json_is_true(json_object_get(copy, "current"));
    }
}

static void read_good(enum jetstream_question question, json_t *root, struct jetstream_answer *out)
{
    switch (question) {
    case JETSTREAM_APPEND:
        out->answer.outcome = ENGINE_APPENDED;
        if (!sequence_of(root, "seq", &out->answer.sequence))
            fail(out, "an acknowledgement without a sequence");
        break;
    case JETSTREAM_READ:
        read_record(root, out);
        break;
    case JETSTREAM_COPIES:
        read_copies(root, out);
        break;
    default:
        if (question == JETSTREAM_INFO || question == JETSTREAM_CREATE)
            read_info(root, out);
        else
            out->answer.outcome = ENGINE_INFO;
        break;
    }
}

void jetstream_answer_read(enum jetstream_question question, struct bytes json,
                           struct jetstream_answer *out)
{
    json_error_t where;

    *out = (struct jetstream_answer){.code = 0};
    json_t *root = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, &where);
    json_t *error = json_object_get(root, "error");
    if (!json_is_object(root))
        fail(out, "an answer that cannot be read");
    else if (error != NULL)
        read_error(error, out);
    else
        read_good(question, root, out);
    json_decref(root);
}

bool jetstream_answer_server(struct bytes json, char id[JETSTREAM_SERVER_ID_MAX])
{
    json_error_t where;
    json_t *root = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, &where);
    const char *said = json_string_value(json_object_get(json_object_get(root, "server"), "id"));

    snprintf(id, JETSTREAM_SERVER_ID_MAX, "%s", said == NULL ? "" : said);
    json_decref(root);
    return id[0] != '\0';
}

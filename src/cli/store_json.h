/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as JSON objects, for export and import. A text or payload that is UTF-8 without U+0000
 * stands under its name, any other as base64 under its name with "64" behind it.
 */
#ifndef CLI_STORE_JSON_H
#define CLI_STORE_JSON_H

#include "base/bytes.h"
#include "model/message.h"

#include <jansson.h>
#include <stdint.h>

enum { STORE_EXPORT_VERSION = 1 };

void store_json_put(json_t *object, const char *name, struct bytes bytes);
/* Gives bytes that live until store_json_free(*owned); false: there is no such text. */
bool store_json_get(const json_t *object, const char *name, struct bytes *out, void **owned);
void store_json_free(void *owned);

/* The fields of a message into the object; received_ms is a time of the wall clock. */
void store_json_put_message(json_t *object, const struct publication *publication);

/* A message that was read; owns its bytes. */
struct store_json_message {
    struct publication publication;
    void *owned[3];
};

bool store_json_get_message(const json_t *object, struct store_json_message *out);
void store_json_message_free(struct store_json_message *message);

/* A whole number min..max; false: it is not there, or not one. */
bool store_json_number(const json_t *object, const char *name, uint64_t max, uint64_t *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enhanced authentication (section 4.12): mechanisms register here, connections look them up by
 * name and carry the data to and fro. One exchange per connection, on its worker's thread; a step
 * must not block.
 */
#ifndef HOOK_AUTH_H
#define HOOK_AUTH_H

#include "base/bytes.h"

enum auth_result { AUTH_CONTINUE, AUTH_SUCCESS, AUTH_FAILURE };

enum { AUTH_DATA_MAX = 4096, AUTH_MECHANISMS_MAX = 16 };

/* What a step answers with. */
struct auth_reply {
    uint8_t data[AUTH_DATA_MAX];
    size_t len;
};

struct auth_mechanism {
    const char *name; /* the authentication method of CONNECT */
    /* Gives the state of one exchange; NULL: no memory. */
    void *(*start)(const struct auth_mechanism *mechanism);
    /* Takes in what the client sent (CONNECT's authentication data first); fills *reply. */
    enum auth_result (*step)(void *exchange, struct bytes data, struct auth_reply *reply);
    /* Frees the state; NULL is fine. */
    void (*end)(void *exchange);
};

/* Filled before the workers start, read-only afterwards. */
struct auth_registry {
    const struct auth_mechanism *mechanisms[AUTH_MECHANISMS_MAX];
    uint32_t count;
};

void auth_register(struct auth_registry *registry, const struct auth_mechanism *mechanism);

/* NULL: not supported. */
const struct auth_mechanism *auth_find(const struct auth_registry *registry, struct bytes name);

/*
 * "SKEIN-TEST-CHALLENGE", for tests of the AUTH rules; registered only when the environment has
 * SKEIN_TEST_AUTH=1. The server asks with "challenge:" and 16 hex digits; the client answers with
 * the same bytes reversed, or "again" for another round; success says "welcome".
 */
extern const struct auth_mechanism auth_test_challenge;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "hook/auth.h"

#include <stdio.h>
#include <sys/random.h>

struct challenge {
    char text[32]; /* what the client has to send back, reversed */
    bool asked;
};

static void *challenge_start(const struct auth_mechanism *mechanism)
{
    (void)mechanism;
    return NEW(struct challenge);
}

static void ask(struct challenge *challenge, struct auth_reply *reply)
{
    uint64_t number = 0;
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        number = (uint64_t)(uintptr_t)challenge;
    reply->len = (size_t)snprintf(challenge->text, sizeof(challenge->text), "challenge:%016llx",
                                  (unsigned long long)number);
    memcpy(reply->data, challenge->text, reply->len);
    challenge->asked = true;
}

static enum auth_result challenge_step(void *exchange, struct bytes data, struct auth_reply *reply)
{
    struct challenge *challenge = exchange;
    if (!challenge->asked || bytes_equal(data, bytes_of_str("again"))) {
        ask(challenge, reply);
        return AUTH_CONTINUE;
    }
    size_t len = strlen(challenge->text);
    if (data.len != len)
        return AUTH_FAILURE;
    for (size_t i = 0; i < len; i++)
        if (data.data[i] != (uint8_t)challenge->text[len - 1 - i])
            return AUTH_FAILURE;
    reply->len = strlen("welcome");
    memcpy(reply->data, "welcome", reply->len);
    return AUTH_SUCCESS;
}

const struct auth_mechanism auth_test_challenge = {
    .name = "SKEIN-TEST-CHALLENGE",
    .start = challenge_start,
    .step = challenge_step,
    .end = mem_free,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durability of a topic: that of the first filter in the configuration that matches. A worker
 * remembers what it found for the topics it saw last, so that a hot topic costs a hash and a
 * comparison however long the list is. Limits: POLICY_SLOTS topics of up to POLICY_TOPIC_MAX bytes;
 * longer ones are matched each time.
 */
#include "conn/connection.h"

#include "base/memory.h"
#include "model/topic.h"

enum { POLICY_SLOTS = 512, POLICY_TOPIC_MAX = 117, POLICY_NONE = UINT8_MAX };

struct policy_slot {
    uint64_t hash;
    uint16_t len;
    uint8_t durability; /* enum durability, or POLICY_NONE: the listener's */
    uint8_t topic[POLICY_TOPIC_MAX];
};

struct topic_policy {
    const struct config *config;
    struct policy_slot slots[POLICY_SLOTS]; /* len 0: empty */
};

struct topic_policy *topic_policy_new(const struct config *config)
{
    if (config->durability_topic_count == 0)
        return NULL;
    struct topic_policy *policy = NEW(struct topic_policy);
    policy->config = config;
    return policy;
}

static uint8_t match(const struct config *config, struct bytes topic)
{
    for (uint32_t i = 0; i < config->durability_topic_count; i++)
        if (topic_matches(bytes_of_str(config->durability_topics[i].filter), topic))
            return (uint8_t)config->durability_topics[i].durability;
    return POLICY_NONE;
}

/* Looks the topic up, and remembers it. */
static uint8_t find(struct topic_policy *policy, struct bytes topic)
{
    if (topic.len > POLICY_TOPIC_MAX)
        return match(policy->config, topic);
    uint64_t hash = bytes_hash(topic);
    struct policy_slot *slot = &policy->slots[hash % POLICY_SLOTS];
    if (slot->hash == hash && bytes_equal(bytes_of(slot->topic, slot->len), topic))
        return slot->durability;
    *slot = (struct policy_slot){
        .hash = hash, .len = (uint16_t)topic.len, .durability = match(policy->config, topic)};
    memcpy(slot->topic, topic.data, topic.len);
    return slot->durability;
}

enum durability topic_policy_of(struct topic_policy *policy, struct bytes topic,
                                enum durability otherwise)
{
    uint8_t found = find(policy, topic);
    return found == POLICY_NONE ? otherwise : (enum durability)found;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults, and the rules that no single key can state. */
#include "config/config.h"

#include "config/address.h"
#include "config/cluster.h"
#include "config/error.h"
#include "config/schema.h"
#include "config/value.h"

#include "base/check.h"

#include <stdio.h>
#include <string.h>

static const struct config_listener built_in[] = {
    {.host = "127.0.0.1", .port = 1883, .transport = CONFIG_TCP},
    {.host = "::1", .port = 1883, .transport = CONFIG_TCP},
    {.host = "127.0.0.1", .port = 8083, .transport = CONFIG_WS},
};

void config_defaults(struct config *config)
{
    memset(config, 0, sizeof(*config));
    memcpy(config->listeners, built_in, sizeof(built_in));
    config->listener_count = sizeof(built_in) / sizeof(built_in[0]);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->fallback == NULL || strcmp(key->fallback, CONFIG_EMPTY) == 0 ||
            strcmp(key->fallback, "[]") == 0)
            continue; /* empty, but for the listeners */
        struct config_scalar scalar = {.text = key->fallback, .len = strlen(key->fallback)};
        CHECK(config_value_store(config, key, &scalar));
    }
}

void config_listen_loopback(struct config *config, uint16_t port)
{
    config->listeners[0] = built_in[0];
    config->listeners[0].port = port;
    config->listener_count = 1;
    snprintf(config->listeners_from, sizeof(config->listeners_from), "-p");
}

static bool fail_listener(const struct config *config, const struct config_listener *listener,
                          struct config_error *error, const char *what)
{
    bool known = config->listeners_from[0] != '\0';
    struct config_place place = {.name = known ? config->listeners_from : "built in",
                                 .line = listener->line,
                                 .path = "listeners"};
    return config_error_set(error, place, "%s", what);
}

static const struct config_choice *choice_of(enum durability durability)
{
    const struct config_choice *choice = config_durabilities;
    while (choice->value != durability)
        choice++;
    return choice;
}

const char *config_durability_name(enum durability durability)
{
    return choice_of(durability)->name;
}

const char *config_durability_promise(enum durability durability)
{
    return choice_of(durability)->doc;
}

enum durability config_strictest_durability(const struct config *config)
{
    enum durability strictest = config->durability;
    for (uint32_t i = 0; i < config->listener_count; i++)
        if (config_listener_durability(config, i) < strictest)
            strictest = config_listener_durability(config, i);
    for (uint32_t i = 0; i < config->durability_topic_count; i++)
        if (config->durability_topics[i].durability < strictest)
            strictest = config->durability_topics[i].durability;
    return strictest;
}

bool config_validate(const struct config *config, struct config_error *error)
{
    char address[CONFIG_TEXT_MAX + 8], what[CONFIG_TEXT_MAX + 160];

    for (uint32_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        address_format(listener->host, listener->port, address, sizeof(address));
        for (uint32_t j = 0; j < i; j++) {
            if (!address_same(listener, &config->listeners[j]))
                continue;
            snprintf(what, sizeof(what), "%s is listed twice: entries %u and %u", address, j, i);
            return fail_listener(config, listener, error, what);
        }
        if (config->allow_anonymous || address_is_loopback(listener->host))
            continue;
        snprintf(what, sizeof(what),
                 "%s can be reached from other machines and has no authentication; to let anybody "
                 "in, set allow_anonymous: true",
                 address);
        return fail_listener(config, listener, error, what);
    }
    return cluster_validate(config, error);
}

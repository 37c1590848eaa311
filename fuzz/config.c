/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration file and a --set of any bytes: what is accepted is in range, what is refused is
 * refused in one printable line.
 */
#include "config/config.h"
#include "base/check.h"
#include "config/schema.h"
#include "config/value.h"

#include <stdlib.h>

enum { SET_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_numbers(const struct config *config)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->type != CONFIG_INT && key->type != CONFIG_SIZE && key->type != CONFIG_DURATION)
            continue;
        uint64_t value = config_value_number(config, key);
        bool worded = key->word != NULL && value == key->word_value;
        CHECK(worded || (value >= key->min && value <= key->max));
    }
}

static void check_accepted(const struct config *config)
{
    struct config_error error;

    check_numbers(config);
    CHECK(config->listener_count >= 1 && config->listener_count <= CONFIG_LISTENERS_MAX);
    for (uint32_t i = 0; i < config->listener_count; i++)
        CHECK(config->listeners[i].host[0] != '\0');
    config_validate(config, &error);
}

static void check_refused(const struct config_error *error)
{
    size_t len = strnlen(error->text, sizeof(error->text));

    CHECK(len > 0 && len < sizeof(error->text));
    for (size_t i = 0; i < len; i++)
        CHECK((unsigned char)error->text[i] >= 0x20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct config_error error = {""};
    char assignment[SET_MAX];

    if (config_read_text(&config, (const char *)data, size, "fuzz.yaml", &error))
        check_accepted(&config);
    else
        check_refused(&error);

    if (size < sizeof(assignment)) {
        memcpy(assignment, data, size);
        assignment[size] = '\0';
        config_defaults(&config);
        if (config_set(&config, assignment, &error))
            check_accepted(&config);
        else
            check_refused(&error);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Scalars by type. YAML's own guesses (yes is true, 010 is eight, 1:30 is ninety) are not shared.
 */
#include "config/value.h"

#include "base/check.h"
#include "config/address.h"
#include "config/nearest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: the first one that divides a value is the one it is shown in. */
static const struct unit size_units[] = {
    {"T", 1ULL << 40},   {"G", 1ULL << 30},   {"M", 1ULL << 20},
    {"K", 1ULL << 10},   {"TiB", 1ULL << 40}, {"GiB", 1ULL << 30},
    {"MiB", 1ULL << 20}, {"KiB", 1ULL << 10}, {"", 1},
    {NULL, 0},
};
static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};

/*
 * Decimal digits, which single underscores may divide; no sign, no leading zero. *end is the first
 * character behind them. False when there are none or the number does not fit.
 */
static bool parse_digits(const char *text, uint64_t *value, const char **end)
{
    const char *at = text;

    *value = 0;
    if (at[0] == '0' && (at[1] == '_' || (at[1] >= '0' && at[1] <= '9')))
        return false;
    while (*at >= '0' && *at <= '9') {
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*at - '0'), value))
            return false;
        at++;
        if (at[0] == '_' && at[1] >= '0' && at[1] <= '9')
            at++;
    }
    *end = at;
    return at > text;
}

/* Digits and one of the units; 0 may stand alone. The result is in the smallest unit. */
static bool parse_with_unit(const char *text, const struct unit *units, uint64_t *value)
{
    const char *rest;

    if (!parse_digits(text, value, &rest))
        return false;
    if (*value == 0 && *rest == '\0')
        return true;
    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (strcasecmp(rest, unit->name) == 0)
            return !__builtin_mul_overflow(*value, unit->factor, value);
    return false;
}

static bool parse_bool(const char *text, uint64_t *value)
{
    *value = strcmp(text, "true") == 0;
    return *value || strcmp(text, "false") == 0;
}

static bool parse_enum(const struct config_choice *choices, const char *text, uint64_t *value)
{
    for (const struct config_choice *choice = choices; choice->name != NULL; choice++) {
        if (strcmp(choice->name, text) == 0) {
            *value = choice->value;
            return true;
        }
    }
    return false;
}

static bool parse_duration(const struct config_key *key, const char *text, uint64_t *value)
{
    if (!parse_with_unit(text, duration_units, value) || *value % key->scale != 0)
        return false;
    *value /= key->scale;
    return true;
}

static void store_number(struct config *config, const struct config_key *key, uint64_t value)
{
    void *field = (char *)config + key->offset;

    switch (key->width) {
    case 1:
        *(uint8_t *)field = (uint8_t)value;
        break;
    case 2:
        *(uint16_t *)field = (uint16_t)value;
        break;
    case 4:
        *(uint32_t *)field = (uint32_t)value;
        break;
    case 8:
        *(uint64_t *)field = value;
        break;
    default:
        UNREACHABLE();
    }
}

uint64_t config_value_number(const struct config *config, const struct config_key *key)
{
    const void *field = (const char *)config + key->offset;

    switch (key->width) {
    case 1:
        return *(const uint8_t *)field;
    case 2:
        return *(const uint16_t *)field;
    case 4:
        return *(const uint32_t *)field;
    case 8:
        return *(const uint64_t *)field;
    default:
        UNREACHABLE();
    }
}

static bool store_text(struct config *config, const struct config_key *key,
                       const struct config_scalar *scalar)
{
    if (scalar->len >= key->width || strlen(scalar->text) != scalar->len)
        return false;
    memcpy((char *)config + key->offset, scalar->text, scalar->len + 1);
    return true;
}

/* Fit for a name of the engine's: nothing that means something in its subjects. */
static bool store_name(struct config *config, const struct config_key *key,
                       const struct config_scalar *scalar)
{
    return config_name_valid(scalar->text) && store_text(config, key, scalar);
}

static bool store_address(struct config *config, const struct config_key *key,
                          const struct config_scalar *scalar)
{
    struct config_address address = {.port = 0};
    bool absent = scalar->len == 0 && strcmp(key->fallback, CONFIG_EMPTY) == 0;

    if (strlen(scalar->text) != scalar->len ||
        (!absent &&
         (address_split(scalar->text, address.host, &address.port) != NULL || address.port == 0)))
        return false;
    memcpy((char *)config + key->offset, &address, sizeof(address));
    return true;
}

bool config_name_valid(const char *name)
{
    size_t len = strlen(name);

    return len < CONFIG_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == len;
}

bool config_value_store(struct config *config, const struct config_key *key,
                        const struct config_scalar *scalar)
{
    uint64_t value = 0;
    const char *end = "";
    bool good = false;

    if (key->type == CONFIG_TEXT || key->type == CONFIG_SECRET)
        return store_text(config, key, scalar);
    if (key->type == CONFIG_NAME)
        return store_name(config, key, scalar);
    if (key->type == CONFIG_ADDRESS)
        return store_address(config, key, scalar);
    if (strlen(scalar->text) != scalar->len)
        return false;
    if (key->word != NULL && strcmp(scalar->text, key->word) == 0) {
        store_number(config, key, key->word_value);
        return true;
    }
    switch (key->type) {
    case CONFIG_BOOL:
        good = !scalar->quoted && parse_bool(scalar->text, &value);
        break;
    case CONFIG_INT:
        good = !scalar->quoted && parse_digits(scalar->text, &value, &end) && *end == '\0';
        break;
    case CONFIG_SIZE:
        good = parse_with_unit(scalar->text, size_units, &value);
        break;
    case CONFIG_DURATION:
        good = parse_duration(key, scalar->text, &value);
        break;
    case CONFIG_ENUM:
        good = parse_enum(key->choices, scalar->text, &value);
        break;
    default: /* the texts are above, and lists are no scalars */
        UNREACHABLE();
    }
    bool ranged = key->type != CONFIG_BOOL && key->type != CONFIG_ENUM;
    if (!good || (ranged && (value < key->min || value > key->max)))
        return false;
    store_number(config, key, value);
    return true;
}

static const char *format_with_unit(const struct unit *units, uint64_t value, char *out,
                                    size_t room)
{
    const struct unit *unit = units;

    while (unit->factor > 1 && (value == 0 || value % unit->factor != 0))
        unit++;
    snprintf(out, room, "%" PRIu64 "%s", value / unit->factor, unit->name);
    return out;
}

const char *config_value_format(const struct config_key *key, uint64_t value, char *out,
                                size_t room)
{
    if (key->word != NULL && value == key->word_value)
        snprintf(out, room, "%s", key->word);
    else if (value == 0)
        snprintf(out, room, "0");
    else if (key->type == CONFIG_SIZE)
        format_with_unit(size_units, value, out, room);
    else if (key->type == CONFIG_DURATION)
        format_with_unit(duration_units, value * key->scale, out, room);
    else
        snprintf(out, room, "%" PRIu64, value);
    return out;
}

void config_choices_expected(const struct config_choice *choices, char *out, size_t room)
{
    size_t used = (size_t)snprintf(out, room, "one of ");

    for (const struct config_choice *choice = choices; choice->name != NULL && used < room;
         choice++)
        used += (size_t)snprintf(out + used, room - used, "%s%s", choice == choices ? "" : ", ",
                                 choice->name);
}

static void expect_number(const struct config_key *key, char *out, size_t room)
{
    static const char *const kinds[] = {[CONFIG_INT] = "a whole number",
                                        [CONFIG_SIZE] = "a size",
                                        [CONFIG_DURATION] = "a duration"};
    char low[CONFIG_NUMBER_MAX], high[CONFIG_NUMBER_MAX];
    const char *samples = "";

    if (key->type == CONFIG_SIZE)
        samples = ", such as 65536, 64K or 16M";
    else if (key->type == CONFIG_DURATION)
        samples =
            key->scale == 1 ? ", such as 500ms, 10s or 5m" : " in whole seconds, such as 10s or 5m";
    snprintf(out, room, "%s from %s to %s%s%s%s", kinds[key->type],
             config_value_format(key, key->min, low, sizeof(low)),
             config_value_format(key, key->max, high, sizeof(high)), samples,
             key->word != NULL ? ", or " : "", key->word != NULL ? key->word : "");
}

const char *config_value_expected(const struct config_key *key, char *out, size_t room)
{
    switch (key->type) {
    case CONFIG_BOOL:
        snprintf(out, room, "true or false");
        break;
    case CONFIG_TEXT:
    case CONFIG_SECRET:
        snprintf(out, room, "a text of at most %zu bytes", key->width - 1);
        break;
    case CONFIG_NAME:
        snprintf(out, room, "at most %zu letters, digits, '-' and '_'", key->width - 1);
        break;
    case CONFIG_ADDRESS:
        snprintf(out, room, "HOST:PORT with a port from 1 to 65535, such as 127.0.0.1:7883");
        break;
    case CONFIG_ADDRESSES:
        snprintf(out, room, "a list of HOST or HOST:PORT");
        break;
    case CONFIG_URLS:
        snprintf(out, room, "a list of URLs such as nats://HOST:4222");
        break;
    case CONFIG_ENUM:
        config_choices_expected(key->choices, out, room);
        break;
    case CONFIG_LISTENERS:
        snprintf(out, room, "a list of %s", CONFIG_LISTENER_FORM);
        break;
    case CONFIG_DURABILITY_TOPICS:
        snprintf(out, room, "a list of %s", CONFIG_DURABILITY_TOPIC_FORM);
        break;
    default:
        expect_number(key, out, room);
        break;
    }
    return out;
}

const char *config_value_nearest(const struct config_key *key, const char *text)
{
    struct nearest nearest = nearest_begin(text);

    if (key->choices == NULL)
        return NULL;
    for (const struct config_choice *choice = key->choices; choice->name != NULL; choice++)
        nearest_offer(&nearest, choice->name, choice->name);
    return nearest_get(&nearest);
}

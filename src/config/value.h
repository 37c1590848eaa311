/* SPDX-License-Identifier: Apache-2.0 */
/* One scalar of the file: from text into its field and back, by the type of its key. Pure. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include "config/config.h"
#include "config/schema.h"

/* What one entry of a list looks like. */
#define CONFIG_LISTENER_FORM "{address: HOST:PORT, transport: tcp or ws}"
#define CONFIG_DURABILITY_TOPIC_FORM "{filter: TOPIC_FILTER, durability: memory, interval or fsync}"

#define CONFIG_EMPTY "\"\"" /* the default of a text without one */

enum { CONFIG_EXPECTED_MAX = 320, CONFIG_NUMBER_MAX = 32 };

/* A scalar as it was written. Borrows. */
struct config_scalar {
    const char *text; /* NUL-terminated; `len` is larger than its strlen() when it holds U+0000 */
    size_t len;
    bool quoted; /* "10" is a text, 10 a number */
};

/* Writes the field. False when the text is not a value of the key's type and range; the field is
 * then as it was. CHECKs that the key is not a list. */
bool config_value_store(struct config *config, const struct config_key *key,
                        const struct config_scalar *scalar);

/* "a whole number from 0 to 256": what config_value_store() accepts. Gives out. */
const char *config_value_expected(const struct config_key *key, char *out, size_t room);

/* "one of fsync, interval, memory". */
void config_choices_expected(const struct config_choice *choices, char *out, size_t room);

/* Letters, digits, '-' and '_', and not too many of them; "" is valid. */
bool config_name_valid(const char *name);

/* The number in an integer, size, duration, enum or bool field. */
uint64_t config_value_number(const struct config *config, const struct config_key *key);

/* A number of the key's unit as it would be written: 64K, 10s, 100. Gives out. */
const char *config_value_format(const struct config_key *key, uint64_t value, char *out,
                                size_t room);

/* Nearest of the key's choices to a mistyped one, or NULL. */
const char *config_value_nearest(const struct config_key *key, const char *text);

#endif

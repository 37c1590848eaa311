/* SPDX-License-Identifier: Apache-2.0 */
/* How messages about the configuration are put together. */
#ifndef CONFIG_ERROR_H
#define CONFIG_ERROR_H

#include "config/config.h"

/* Where a message points: "skein.yaml:12: limits.connections: ". */
struct config_place {
    const char *name; /* "skein.yaml", "--set" */
    int line;         /* 0: not told */
    const char *path; /* the key; NULL or "": not told */
};

/* Writes the one line; always gives false, so that it can be returned. */
bool config_error_set(struct config_error *error, struct config_place place, const char *format,
                      ...) __attribute__((format(printf, 3, 4)));

enum { CONFIG_QUOTE_MAX = 64 };

/* Text of the file, made fit to be shown: in quotes, cut, control characters as '?'. Gives out. */
const char *config_quote(const char *text, size_t len, char out[CONFIG_QUOTE_MAX]);

#endif

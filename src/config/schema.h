/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of keys. Everything that is said of a key anywhere (reading, errors, defaults, the
 * reference, the JSON Schema, the default file) comes from its line here.
 */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include "config/config.h"

#include <stddef.h>

enum config_type {
    CONFIG_BOOL,              /* true, false */
    CONFIG_INT,               /* 1000 or 1_000 */
    CONFIG_SIZE,              /* bytes: 65536, 64K, 64KiB, 16M, 1G */
    CONFIG_DURATION,          /* 500ms, 10s, 5m, 2h, 7d; 0 needs no unit */
    CONFIG_TEXT,              /* into a char[] */
    CONFIG_ENUM,              /* one of `choices` */
    CONFIG_LISTENERS,         /* a list of {address, transport, ...} */
    CONFIG_DURABILITY_TOPICS, /* a list of {filter, durability} */
    CONFIG_NAME,              /* a text of letters, digits, '-' and '_' */
    CONFIG_SECRET,            /* a text that is never shown, into a struct config_secret */
    CONFIG_ADDRESS,           /* HOST:PORT, into a struct config_address */
    CONFIG_ADDRESSES,         /* a list of HOST or HOST:PORT */
    CONFIG_URLS,              /* a list of URLs of the engine, never shown */
};

struct config_choice {
    const char *name; /* NULL ends a list */
    const char *doc;  /* "the newest message" */
    uint32_t value;
};

/* A key of the file. Numbers have the unit of the field: a duration field in seconds has scale
 * 1000. */
struct config_key {
    const char *path; /* "limits.connections" */
    enum config_type type;
    size_t offset, width; /* of the field in struct config */
    uint64_t min, max;    /* CONFIG_INT, _SIZE (bytes), _DURATION (field's unit): inclusive */
    uint32_t scale;       /* CONFIG_DURATION: milliseconds in one unit of the field */
    const char *fallback; /* the default as it would be written in the file; NULL for listeners */
    const char *unit;     /* of a CONFIG_INT: "messages"; NULL: none */
    const char *word;     /* a word that stands for word_value: "unlimited"; NULL: none */
    uint64_t word_value;
    const struct config_choice *choices; /* CONFIG_ENUM */
    const char *since;                   /* the first version that knows the key */
    const char *doc;                     /* one or two sentences */
};

/* A mapping that holds keys. */
struct config_section {
    const char *path; /* "limits" */
    const char *doc;
};

/* In the order of the reference; keys of one section stand together. */
extern const struct config_key config_keys[];
extern const size_t config_key_count;
extern const struct config_section config_sections[];
extern const size_t config_section_count;
extern const struct config_choice config_transports[], config_durabilities[],
    config_proxy_protocols[];

enum { CONFIG_SECTIONS_MAX = 16, CONFIG_PATH_MAX = 64 };

/* Borrows from the table; NULL when there is none. */
const struct config_key *config_key_find(const char *path);
const struct config_section *config_section_find(const char *path);

/* The key or section that somebody who wrote `path` most likely meant; NULL: no idea. */
const char *config_path_nearest(const char *path);

#endif

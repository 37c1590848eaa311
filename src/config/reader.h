/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the reading of YAML only: where it stands, for reader.c and the lists of entries.c. */
#ifndef CONFIG_READER_H
#define CONFIG_READER_H

#include "config/error.h"
#include "config/schema.h"
#include "config/value.h"

#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one just read */
    struct config *config;
    const char *name;
    bool lines; /* messages tell them */
    struct config_error *error;
    int key_line[CONFIG_KEYS_MAX], section_line[CONFIG_SECTIONS_MAX]; /* 0: not seen yet */
};

#define FAIL(r, path, ...) config_error_set((r)->error, reader_place((r), (path)), __VA_ARGS__)

struct config_place reader_place(const struct reader *r, const char *path);
int reader_line(const struct reader *r);

/* Reads the next event into r->event. */
bool reader_next(struct reader *r);

/* The scalar that was just read. */
struct config_scalar reader_scalar(const struct reader *r);

/* Nothing, ~ or null: `limits:` with all its keys commented out. */
bool reader_is_null(const struct reader *r);

/* What stands here, for "got ...". */
const char *reader_describe(const struct reader *r, char out[CONFIG_QUOTE_MAX]);

/* What stands here is no value of the key. */
bool reader_fail_value(struct reader *r, const struct config_key *key);

/* entries.c: the lists. The event is the start of the value. */
bool read_listeners(struct reader *r, const struct config_key *key);
bool read_durability_topics(struct reader *r, const struct config_key *key);
bool read_addresses(struct reader *r, const struct config_key *key);
bool read_urls(struct reader *r, const struct config_key *key);

#endif

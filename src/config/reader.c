/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML into struct config, as one walk over libyaml's events that follows the table of keys: what
 * the table does not know is an error at once, so nothing is nested deeper than the table is,
 * whatever the file looks like. Anchors, aliases and tags are refused: a configuration has no use
 * for them.
 */
#include "config/reader.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- events -----------------------------------------------------------------------------------
 */

static int mark_line(const struct reader *r, yaml_mark_t mark)
{
    return r->lines ? (int)mark.line + 1 : 0;
}

int reader_line(const struct reader *r)
{
    return mark_line(r, r->event.start_mark);
}

struct config_place reader_place(const struct reader *r, const char *path)
{
    return (struct config_place){.name = r->name, .line = reader_line(r), .path = path};
}

static bool fail_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    struct config_place place = {.name = r->name, .line = mark_line(r, p->problem_mark)};
    const char *problem = p->problem != NULL ? p->problem : "it cannot be read";

    if (p->context != NULL)
        return config_error_set(r->error, place, "not YAML: %s (%s)", problem, p->context);
    return config_error_set(r->error, place, "not YAML: %s", problem);
}

/* Does the event carry an anchor or a tag? "!" alone, which quoting implies, does not count. */
static bool decorated(const yaml_event_t *event, const char **what)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;

    switch (event->type) {
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default:
        break;
    }
    *what = tag != NULL ? "tags" : "anchors and aliases";
    return anchor != NULL || tag != NULL || event->type == YAML_ALIAS_EVENT;
}

/* Reads the next event into r->event. */
bool reader_next(struct reader *r)
{
    const char *what;

    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event))
        return fail_syntax(r);
    if (decorated(&r->event, &what))
        return FAIL(r, NULL, "%s are not supported", what);
    return true;
}

struct config_scalar reader_scalar(const struct reader *r)
{
    return (struct config_scalar){
        .text = (const char *)r->event.data.scalar.value,
        .len = r->event.data.scalar.length,
        .quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE,
    };
}

/* Nothing, ~ or null: `limits:` with all its keys commented out. */
bool reader_is_null(const struct reader *r)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return false;
    struct config_scalar s = reader_scalar(r);
    return !s.quoted && (s.len == 0 || strcmp(s.text, "~") == 0 || strcmp(s.text, "null") == 0);
}

/* What stands here, for "got ...". */
const char *reader_describe(const struct reader *r, char out[CONFIG_QUOTE_MAX])
{
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        if (reader_is_null(r))
            return "nothing";
        return config_quote((const char *)r->event.data.scalar.value, r->event.data.scalar.length,
                            out);
    case YAML_SEQUENCE_START_EVENT:
        return "a list";
    default:
        return "a mapping";
    }
}

/* ---- values -----------------------------------------------------------------------------------
 */

bool reader_fail_value(struct reader *r, const struct config_key *key)
{
    char expected[CONFIG_EXPECTED_MAX], quoted[CONFIG_QUOTE_MAX];
    const char *got = reader_describe(r, quoted);
    const char *nearest = NULL;

    config_value_expected(key, expected, sizeof(expected));
    bool secret = key->type == CONFIG_SECRET || key->type == CONFIG_URLS;
    if (secret && r->event.type == YAML_SCALAR_EVENT && !reader_is_null(r))
        return FAIL(r, key->path, "expected %s, got a text that is not shown", expected);
    if (r->event.type == YAML_SCALAR_EVENT) {
        struct config_scalar scalar = reader_scalar(r);
        nearest = config_value_nearest(key, scalar.text);
        if (scalar.quoted && (key->type == CONFIG_INT || key->type == CONFIG_BOOL))
            return FAIL(r, key->path, "expected %s, got the text %s", expected, got);
    }
    if (nearest != NULL)
        return FAIL(r, key->path, "expected %s, got %s; did you mean %s?", expected, got, nearest);
    return FAIL(r, key->path, "expected %s, got %s", expected, got);
}

static bool read_scalar(struct reader *r, const struct config_key *key)
{
    if (r->event.type != YAML_SCALAR_EVENT || reader_is_null(r))
        return reader_fail_value(r, key);
    struct config_scalar scalar = reader_scalar(r);
    return config_value_store(r->config, key, &scalar) || reader_fail_value(r, key);
}

/* The event is the start of the key's value. */
static bool read_value(struct reader *r, const struct config_key *key)
{
    r->config->origin.line[key - config_keys] = r->lines ? reader_line(r) : -1;
    switch (key->type) {
    case CONFIG_LISTENERS:
        return read_listeners(r, key);
    case CONFIG_DURABILITY_TOPICS:
        return read_durability_topics(r, key);
    case CONFIG_ADDRESSES:
        return read_addresses(r, key);
    case CONFIG_URLS:
        return read_urls(r, key);
    default:
        return read_scalar(r, key);
    }
}

/* ---- keys -------------------------------------------------------------------------------------
 */

/* Notes where a key or section stands; a second one is an error. */
static bool mark_line_once(struct reader *r, const char *path, int *line)
{
    if (*line != 0)
        return FAIL(r, path, "given twice, first in line %d", *line);
    *line = (int)r->event.start_mark.line + 1;
    return true;
}

static bool fail_unknown(struct reader *r, const char *path)
{
    const char *nearest = config_path_nearest(path);

    if (nearest != NULL)
        return FAIL(r, path, "unknown key; did you mean %s?", nearest);
    return FAIL(r, path, "unknown key");
}

static bool read_mapping(struct reader *r, const char *prefix);

/* The event is a section's name; goes on to its end. */
static bool read_section(struct reader *r, const struct config_section *section)
{
    char quoted[CONFIG_QUOTE_MAX];

    if (!mark_line_once(r, section->path, &r->section_line[section - config_sections]) ||
        !reader_next(r))
        return false;
    if (reader_is_null(r))
        return true;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return FAIL(r, section->path, "expected keys below it, got %s", reader_describe(r, quoted));
    return read_mapping(r, section->path);
}

/* All keys of a mapping whose start has been read, and its end. Sections hold no sections, so this
 * never goes deeper than two calls. */
static bool read_mapping(struct reader *r, const char *prefix)
{
    char path[CONFIG_PATH_MAX], quoted[CONFIG_QUOTE_MAX];

    for (;;) {
        if (!reader_next(r))
            return false;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return true;
        if (r->event.type != YAML_SCALAR_EVENT)
            return FAIL(r, prefix, "expected a key, got %s", reader_describe(r, quoted));
        struct config_scalar word = reader_scalar(r);
        int len = snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "", word.text);
        if (len >= (int)sizeof(path) || strlen(word.text) != word.len || strchr(word.text, '.'))
            return FAIL(r, prefix, "unknown key %s", reader_describe(r, quoted));

        const struct config_key *key = config_key_find(path);
        const struct config_section *section = config_section_find(path);
        if (section != NULL) {
            if (!read_section(r, section))
                return false;
        } else if (key != NULL) {
            if (!mark_line_once(r, path, &r->key_line[key - config_keys]) || !reader_next(r) ||
                !read_value(r, key))
                return false;
        } else {
            return fail_unknown(r, path);
        }
    }
}

/* ---- documents --------------------------------------------------------------------------------
 */

static void reader_init(struct reader *r, struct config *config, const char *name, const char *text,
                        size_t len, struct config_error *error)
{
    memset(r, 0, sizeof(*r));
    r->config = config;
    r->name = name;
    r->error = error;
    CHECK(yaml_parser_initialize(&r->parser) == 1);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, len);
}

static void reader_deinit(struct reader *r)
{
    yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
}

/* Gets to the first event of the only document; *empty when there is none. */
static bool enter_document(struct reader *r, bool *empty)
{
    if (!reader_next(r)) /* the stream starts */
        return false;
    if (!reader_next(r)) /* the document starts, or the stream ends */
        return false;
    *empty = r->event.type == YAML_STREAM_END_EVENT;
    return *empty || reader_next(r);
}

/* After the last value: the document ends here and no second one starts. */
static bool leave_document(struct reader *r)
{
    if (!reader_next(r))
        return false;
    CHECK(r->event.type == YAML_DOCUMENT_END_EVENT);
    if (!reader_next(r))
        return false;
    return r->event.type == YAML_STREAM_END_EVENT ||
           FAIL(r, NULL, "expected one YAML document, got a second one");
}

static bool read_document(struct reader *r)
{
    char quoted[CONFIG_QUOTE_MAX];
    bool empty;

    if (!enter_document(r, &empty))
        return false;
    if (empty)
        return true;
    if (r->event.type == YAML_MAPPING_START_EVENT) {
        if (!read_mapping(r, ""))
            return false;
    } else if (!reader_is_null(r)) {
        return FAIL(r, NULL, "expected `key: value` lines, got %s", reader_describe(r, quoted));
    }
    return leave_document(r);
}

bool config_read_text(struct config *config, const char *text, uint64_t len, const char *name,
                      struct config_error *error)
{
    struct reader reader;

    config_defaults(config);
    snprintf(config->origin.file, sizeof(config->origin.file), "%s", name);
    if (len > CONFIG_FILE_MAX)
        return config_error_set(error, (struct config_place){.name = name},
                                "expected at most %d bytes", CONFIG_FILE_MAX);
    reader_init(&reader, config, name, text, len, error);
    reader.lines = true;
    bool good = read_document(&reader);
    reader_deinit(&reader);
    return good;
}

/* Reads at most `room` bytes; -1 with errno when the file cannot be read. */
static ssize_t read_whole(const char *path, char *out, size_t room)
{
    size_t used = 0;
    ssize_t got = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    while (got > 0 && used < room) {
        got = read(fd, out + used, room - used);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            used += (size_t)got;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return got < 0 ? -1 : (ssize_t)used;
}

bool config_read_file(struct config *config, const char *path, struct config_error *error)
{
    size_t room = CONFIG_FILE_MAX + 1; /* one more, so that a file too long shows */
    char *text = malloc(room);
    bool good;

    CHECK(text != NULL);
    ssize_t len = read_whole(path, text, room);
    if (len < 0)
        good = config_error_set(error, (struct config_place){.name = path}, "cannot be read: %s",
                                strerror(errno));
    else
        good = config_read_text(config, text, (uint64_t)len, path, error);
    free(text);
    return good;
}

/* ---- --set ------------------------------------------------------------------------------------
 */

bool config_set(struct config *config, const char *assignment, struct config_error *error)
{
    static const char name[] = "--set";
    char path[CONFIG_PATH_MAX], quoted[CONFIG_QUOTE_MAX];
    size_t len = strcspn(assignment, "=");
    struct reader reader;
    bool empty;

    if (assignment[len] != '=' || len == 0 || len >= sizeof(path))
        return config_error_set(error, (struct config_place){.name = name},
                                "expected KEY=VALUE, got %s",
                                config_quote(assignment, strlen(assignment), quoted));
    memcpy(path, assignment, len);
    path[len] = '\0';

    const struct config_key *key = config_key_find(path);
    const char *value = assignment + len + 1;
    reader_init(&reader, config, name, value, strlen(value), error);
    bool good;
    if (config_section_find(path) != NULL)
        good = FAIL(&reader, path, "expected one of its keys, such as %s.KEY=VALUE", path);
    else if (key == NULL)
        good = fail_unknown(&reader, path);
    else if (!enter_document(&reader, &empty))
        good = false;
    else if (empty)
        good = FAIL(&reader, path, "expected a value behind the '='");
    else
        good = read_value(&reader, key) && leave_document(&reader);
    reader_deinit(&reader);
    return good;
}

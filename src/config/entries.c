/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of the configuration: mappings with keys of their own, a table for each list. To add a
 * key to one: a line in its table, a field in config.h. */
#include "config/reader.h"

#include "config/address.h"
#include "config/cluster.h"
#include "config/nearest.h"

#include "base/bytes.h"
#include "model/topic.h"

#include <string.h>

static bool read_listener_address(struct reader *r, const char *path, void *entry)
{
    struct config_listener *listener = entry;
    char quoted[CONFIG_QUOTE_MAX];

    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        return FAIL(r, path, "an IPv6 address goes in quotes, such as \"[::1]:1883\"");
    if (r->event.type != YAML_SCALAR_EVENT || reader_is_null(r))
        return FAIL(r, path, "expected HOST:PORT, got %s", reader_describe(r, quoted));
    struct config_scalar scalar = reader_scalar(r);
    const char *wrong = address_parse(scalar.text, listener);
    if (wrong != NULL || strlen(scalar.text) != scalar.len)
        return FAIL(r, path, "%s, got %s", wrong != NULL ? wrong : "expected HOST:PORT",
                    reader_describe(r, quoted));
    return true;
}

static bool read_choice(struct reader *r, const char *path, const struct config_choice *choices,
                        uint32_t *value)
{
    char quoted[CONFIG_QUOTE_MAX], expected[CONFIG_EXPECTED_MAX];

    if (r->event.type == YAML_SCALAR_EVENT) {
        struct config_scalar scalar = reader_scalar(r);
        for (const struct config_choice *c = choices; c->name != NULL; c++) {
            if (strcmp(c->name, scalar.text) == 0) {
                *value = c->value;
                return true;
            }
        }
    }
    config_choices_expected(choices, expected, sizeof(expected));
    return FAIL(r, path, "expected %s, got %s", expected, reader_describe(r, quoted));
}

/* ---- lists ------------------------------------------------------------------------------------
 */

/* A key of the mappings in a list. */
struct entry_key {
    const char *name;
    bool (*read)(struct reader *r, const char *path, void *entry);
};

enum { ENTRY_KEYS_MAX = 4 };

/* How the mappings of a list are written. */
struct entry_form {
    const char *list;                            /* "listeners" */
    const char *expected;                        /* "{address: HOST:PORT, ...}" */
    const char *words;                           /* "filter or durability" */
    const struct entry_key keys[ENTRY_KEYS_MAX]; /* name NULL: no more */
    uint32_t required;                           /* of them, from the first on */
};

static bool read_listener_transport(struct reader *r, const char *path, void *entry)
{
    struct config_listener *listener = entry;
    uint32_t value = 0;
    bool good = read_choice(r, path, config_transports, &value);
    listener->transport = (enum config_transport)value;
    return good;
}

static bool read_listener_durability(struct reader *r, const char *path, void *entry)
{
    struct config_listener *listener = entry;
    uint32_t value = 0;
    bool good = read_choice(r, path, config_durabilities, &value);
    listener->durability = (enum durability)value;
    listener->has_durability = true;
    return good;
}

static bool read_listener_proxy(struct reader *r, const char *path, void *entry)
{
    struct config_listener *listener = entry;
    uint32_t value = 0;
    bool good = read_choice(r, path, config_proxy_protocols, &value);
    listener->proxy = (enum proxy_protocol)value;
    return good;
}

static bool read_topic_filter(struct reader *r, const char *path, void *entry)
{
    struct config_durability_topic *topic = entry;
    char quoted[CONFIG_QUOTE_MAX];

    if (r->event.type == YAML_SCALAR_EVENT && !reader_is_null(r)) {
        struct config_scalar s = reader_scalar(r);
        struct bytes filter = bytes_of(s.text, s.len);
        if (s.len < sizeof(topic->filter) && strlen(s.text) == s.len &&
            topic_filter_valid(filter) && !bytes_starts_with(filter, bytes_of_str("$share/"))) {
            memcpy(topic->filter, s.text, s.len + 1);
            return true;
        }
    }
    return FAIL(r, path,
                "expected a topic filter of at most %zu bytes, such as \"sensors/#\", got %s",
                sizeof(topic->filter) - 1, reader_describe(r, quoted));
}

static bool read_topic_durability(struct reader *r, const char *path, void *entry)
{
    struct config_durability_topic *topic = entry;
    uint32_t value = 0;
    bool good = read_choice(r, path, config_durabilities, &value);
    topic->durability = (enum durability)value;
    return good;
}

static const struct entry_form listener_form = {
    .list = "listeners",
    .expected = CONFIG_LISTENER_FORM,
    .words = "address, transport, durability or proxy_protocol",
    .keys = {{"address", read_listener_address},
             {"transport", read_listener_transport},
             {"durability", read_listener_durability},
             {"proxy_protocol", read_listener_proxy}},
    .required = 1,
};

static const struct entry_form durability_topic_form = {
    .list = "durability_topics",
    .expected = CONFIG_DURABILITY_TOPIC_FORM,
    .words = "filter or durability",
    .keys = {{"filter", read_topic_filter}, {"durability", read_topic_durability}},
    .required = 2,
};

static bool fail_entry_key(struct reader *r, const char *path, const struct entry_form *form)
{
    struct nearest nearest = nearest_begin((const char *)r->event.data.scalar.value);
    char quoted[CONFIG_QUOTE_MAX];

    for (uint32_t i = 0; i < ENTRY_KEYS_MAX && form->keys[i].name != NULL; i++)
        nearest_offer(&nearest, form->keys[i].name, form->keys[i].name);
    const char *best = nearest_get(&nearest);
    reader_describe(r, quoted);
    if (best != NULL)
        return FAIL(r, path, "unknown key %s; did you mean %s?", quoted, best);
    return FAIL(r, path, "unknown key %s; expected %s", quoted, form->words);
}

/* The event is the name of one key of an entry; goes on to its value. */
static bool read_entry_key(struct reader *r, const struct entry_form *form, const char *path,
                           void *entry, bool seen[ENTRY_KEYS_MAX])
{
    char key_path[CONFIG_PATH_MAX + 16];
    uint32_t i = 0;

    while (i < ENTRY_KEYS_MAX && form->keys[i].name != NULL &&
           strcmp(form->keys[i].name, (const char *)r->event.data.scalar.value) != 0)
        i++;
    if (i == ENTRY_KEYS_MAX || form->keys[i].name == NULL)
        return fail_entry_key(r, path, form);
    snprintf(key_path, sizeof(key_path), "%s.%s", path, form->keys[i].name);
    if (seen[i])
        return FAIL(r, key_path, "given twice");
    seen[i] = true;
    return reader_next(r) && form->keys[i].read(r, key_path, entry);
}

/* One mapping of a list; `index` counts from 0. The event is its start. */
static bool read_entry(struct reader *r, const struct entry_form *form, uint32_t index, void *entry)
{
    bool seen[ENTRY_KEYS_MAX] = {false};
    char path[CONFIG_PATH_MAX], quoted[CONFIG_QUOTE_MAX];

    snprintf(path, sizeof(path), "%s[%u]", form->list, index);
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return FAIL(r, path, "expected %s, got %s", form->expected, reader_describe(r, quoted));
    struct config_place place = {.name = r->name, .line = reader_line(r), .path = path};
    for (;;) {
        if (!reader_next(r))
            return false;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            break;
        if (r->event.type != YAML_SCALAR_EVENT)
            return FAIL(r, path, "expected a key, got %s", reader_describe(r, quoted));
        if (!read_entry_key(r, form, path, entry, seen))
            return false;
    }
    for (uint32_t i = 0; i < form->required; i++)
        if (!seen[i])
            return config_error_set(r->error, place, "%s is missing: expected %s",
                                    form->keys[i].name, form->expected);
    return true;
}

/* Goes to the next entry of a list, of which `count` have been read; *end: there is none. */
static bool next_entry(struct reader *r, const struct config_key *key, uint32_t count, int max,
                       bool *end)
{
    if (!reader_next(r))
        return false;
    *end = r->event.type == YAML_SEQUENCE_END_EVENT;
    return *end || count < (uint32_t)max || FAIL(r, key->path, "expected at most %d entries", max);
}

bool read_listeners(struct reader *r, const struct config_key *key)
{
    struct config *config = r->config;
    bool end = false;

    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return reader_fail_value(r, key);
    config->listener_count = 0;
    snprintf(config->listeners_from, sizeof(config->listeners_from), "%s", r->name);
    while (next_entry(r, key, config->listener_count, CONFIG_LISTENERS_MAX, &end) && !end) {
        struct config_listener *listener = &config->listeners[config->listener_count];
        *listener = (struct config_listener){.transport = CONFIG_TCP, .line = reader_line(r)};
        if (!read_entry(r, &listener_form, config->listener_count, listener))
            return false;
        config->listener_count++;
    }
    return end && (config->listener_count > 0 || FAIL(r, key->path, "expected at least one entry"));
}

bool read_durability_topics(struct reader *r, const struct config_key *key)
{
    struct config *config = r->config;
    bool end = false;

    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return reader_fail_value(r, key);
    config->durability_topic_count = 0;
    while (next_entry(r, key, config->durability_topic_count, CONFIG_DURABILITY_TOPICS_MAX, &end) &&
           !end) {
        uint32_t index = config->durability_topic_count;
        if (!read_entry(r, &durability_topic_form, index, &config->durability_topics[index]))
            return false;
        config->durability_topic_count++;
    }
    return end;
}

/* A list of plain texts, each of which `one` takes or refuses with a message. */
static bool read_texts(struct reader *r, const struct config_key *key, uint32_t *count,
                       bool (*one)(struct reader *r, const char *path, uint32_t index))
{
    char path[CONFIG_PATH_MAX];
    bool end = false;

    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return reader_fail_value(r, key);
    *count = 0;
    while (next_entry(r, key, *count, CONFIG_CLUSTER_LIST_MAX, &end) && !end) {
        snprintf(path, sizeof(path), "%s[%u]", key->path, *count);
        if (!one(r, path, *count))
            return false;
        ++*count;
    }
    return end;
}

static bool read_one_address(struct reader *r, const char *path, uint32_t index)
{
    struct config_address *address = &r->config->cluster.addresses[index];
    char quoted[CONFIG_QUOTE_MAX];
    const char *wrong = "expected HOST or HOST:PORT";

    if (r->event.type == YAML_SCALAR_EVENT && !reader_is_null(r)) {
        struct config_scalar s = reader_scalar(r);
        if (strlen(s.text) == s.len && s.len < sizeof(address->host) && address_is_name(s.text)) {
            memcpy(address->host, s.text, s.len + 1);
            address->port = CLUSTER_PORT;
            return true;
        }
        const char *split = address_split(s.text, address->host, &address->port);
        if (split == NULL && strlen(s.text) == s.len && address->port != 0)
            return true;
        if (split != NULL && strchr(s.text, ':') != NULL)
            wrong = split;
    }
    return FAIL(r, path, "%s, got %s", wrong, reader_describe(r, quoted));
}

static bool read_one_url(struct reader *r, const char *path, uint32_t index)
{
    struct config_secret *url = &r->config->cluster.engine_urls[index];

    if (r->event.type == YAML_SCALAR_EVENT) {
        struct config_scalar s = reader_scalar(r);
        if (s.len < sizeof(url->hidden) && strlen(s.text) == s.len &&
            strpbrk(s.text, " \t\r\n") == NULL && cluster_url_valid(s.text)) {
            memcpy(url->hidden, s.text, s.len + 1);
            return true;
        }
    }
    return FAIL(r, path, "expected nats://[USER:PASSWORD@]HOST[:PORT] or the same with tls://");
}

bool read_addresses(struct reader *r, const struct config_key *key)
{
    return read_texts(r, key, &r->config->cluster.address_count, read_one_address);
}

bool read_urls(struct reader *r, const struct config_key *key)
{
    return read_texts(r, key, &r->config->cluster.engine_url_count, read_one_url);
}

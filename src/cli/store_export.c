/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `skein store export`: one JSON object a line. First the header, then shard by shard: messages
 * that queues share, each session with what is its own behind it, outbox, retained messages. In
 * bounded memory.
 */
#include "base/list.h"
#include "cli/store.h"
#include "cli/store_json.h"
#include "store/audit.h"
#include "store/walk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

struct export
{
    struct walk sessions; /* over the sessions of a shard */
    struct walk rest;     /* over what belongs to one, or to none */
    struct engine *engine;
    FILE *out;
    struct bytes client_id; /* of the session that is being written */
};

static enum rc write_line(struct export *e, json_t *line)
{
    bool good = json_dumpf(line, e->out, JSON_COMPACT | JSON_PRESERVE_ORDER) == 0 &&
                fputc('\n', e->out) != EOF;
    json_decref(line);
    return good ? RC_OK : RC_IO;
}

static json_t *line_of(const char *kind)
{
    return json_pack("{s:s}", "kind", kind);
}

/* ---- one record --------------------------------------------------------------------------------
 */

static bool put_message(json_t *line, struct bytes value)
{
    const struct record_clock clock = {0};
    struct publication publication;
    bool expired;
    if (!message_record_decode(value, &clock, &publication, &expired))
        return false;
    publication.received_ms = message_record_wall_ms(value);
    store_json_put_message(line, &publication);
    return true;
}

static bool put_session(struct export *e, json_t *line, struct bytes value)
{
    struct session_record record;
    (void)e;
    if (!session_record_decode(value, &record))
        return false;
    store_json_put(line, "client", record.client_id);
    json_object_set_new(line, "expiry_s", json_integer(record.expiry_s));
    json_object_set_new(line, "connected", json_boolean(record.connected));
    json_object_set_new(line, "left_ms", json_integer((json_int_t)record.at_wall_ms));
    json_object_set_new(line, "next", json_integer((json_int_t)record.next_sequence));
    json_object_set_new(line, "sent", json_integer((json_int_t)record.sent_sequence));
    return true;
}

static bool put_subscription(json_t *line, const struct record_key *key, struct bytes value)
{
    struct subscription_record record;
    if (!subscription_record_decode(value, &record))
        return false;
    store_json_put(line, "filter", key->text);
    json_object_set_new(line, "qos", json_integer(record.options.qos));
    json_object_set_new(line, "no_local", json_boolean(record.options.no_local));
    json_object_set_new(line, "retain_as_published",
                        json_boolean(record.options.retain_as_published));
    json_object_set_new(line, "retain_handling", json_integer(record.options.retain_handling));
    json_object_set_new(line, "identifier", json_integer(record.options.identifier));
    return true;
}

static bool put_will(json_t *line, struct bytes value)
{
    const struct record_clock clock = {0};
    struct will_record record;
    if (!will_record_decode(value, &clock, &record))
        return false;
    json_object_set_new(line, "delay_s", json_integer(record.delay_s));
    record.publication.received_ms = will_record_wall_ms(value);
    store_json_put_message(line, &record.publication);
    return true;
}

static bool put_queued(json_t *line, const struct record_key *key, struct bytes value)
{
    static const char *const forms[] = {"", "message", "shared", "released"};
    struct queue_record record;
    uint32_t identifier;
    if (!queue_record_decode(value, &record))
        return false;
    json_object_set_new(line, "sequence", json_integer((json_int_t)key->sequence));
    json_object_set_new(line, "form", json_string(forms[record.kind]));
    json_object_set_new(line, "qos", json_integer(record.qos));
    json_object_set_new(line, "retain", json_boolean(record.retain));
    json_object_set_new(line, "size", json_integer(record.size));
    if (record.share.len > 0)
        store_json_put(line, "share", record.share);
    json_t *identifiers = json_array();
    while (queue_record_identifier(&record.identifier_bytes, &identifier))
        json_array_append_new(identifiers, json_integer(identifier));
    json_object_set_new(line, "identifiers", identifiers);
    if (record.kind == QUEUE_RECORD_SHARED)
        json_object_set_new(line, "shared", json_integer((json_int_t)record.shared));
    return record.kind != QUEUE_RECORD_MESSAGE || put_message(line, record.message);
}

/* A hash does not fit a JSON integer: it stands as 16 hexadecimal digits. */
static bool put_choices(json_t *line, const struct record_key *key, struct bytes value)
{
    struct bytes shares;
    struct outbox_share share;
    char hash[17];
    enum outbox_whom whom;
    if (!choices_record_decode(value, &shares, &whom))
        return false;
    json_object_set_new(line, "shard", json_integer(key->shard));
    json_object_set_new(line, "number", json_integer((json_int_t)key->number));
    json_t *list = json_array();
    while (choices_record_next(&shares, &share)) {
        snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)share.filter_hash);
        json_array_append_new(
            list, json_pack("{s:s, s:i}", "filter_hash", hash, "shard", (int)share.shard));
    }
    json_object_set_new(line, "shares", list);
    json_object_set_new(line, "only_shares", json_boolean(whom == OUTBOX_SHARES));
    return true;
}

static bool put_mark(json_t *line, const struct record_key *key, struct bytes value)
{
    struct bytes numbers;
    uint64_t all, number;
    if (!high_water_record_decode(value, &all, &numbers))
        return false;
    json_object_set_new(line, "shard", json_integer(key->shard));
    json_object_set_new(line, "source", json_integer((json_int_t)key->sequence));
    json_object_set_new(line, "number", json_integer((json_int_t)all));
    json_t *list = json_array();
    while (high_water_record_next(&numbers, &number))
        json_array_append_new(list, json_integer((json_int_t)number));
    json_object_set_new(line, "behind", list);
    return true;
}

static const char *kind_name(enum record_kind kind)
{
    switch (kind) {
    case RECORD_SUBSCRIPTION:
        return "subscription";
    case RECORD_RECEIVED:
        return "received";
    case RECORD_WILL:
        return "will";
    case RECORD_QUEUED:
        return "queued";
    case RECORD_SHARED:
        return "shared";
    case RECORD_OUTBOX:
        return "outbox";
    case RECORD_CHOICES:
        return "choices";
    case RECORD_HIGH_WATER:
        return "mark";
    default:
        return "retained";
    }
}

static bool put_record(json_t *line, const struct record_key *key, struct bytes value)
{
    switch (key->kind) {
    case RECORD_SUBSCRIPTION:
        return put_subscription(line, key, value);
    case RECORD_RECEIVED:
        json_object_set_new(line, "id", json_integer((json_int_t)key->sequence));
        return true;
    case RECORD_WILL:
        return put_will(line, value);
    case RECORD_QUEUED:
        return put_queued(line, key, value);
    case RECORD_CHOICES:
        return put_choices(line, key, value);
    case RECORD_HIGH_WATER:
        return put_mark(line, key, value);
    case RECORD_SHARED:
    case RECORD_OUTBOX:
        json_object_set_new(line, "shard", json_integer(key->shard));
        json_object_set_new(line, "number", json_integer((json_int_t)key->number));
        return put_message(line, value);
    default:
        return put_message(line, value);
    }
}

static enum rc export_record(struct walk *walk, enum store_family family, struct bytes whole,
                             struct bytes value)
{
    struct export *e = CONTAINER_OF(walk, struct export, rest);
    struct record_key key;
    (void)family;
    if (!record_key_parse(whole, &key))
        return RC_INVALID;
    json_t *line = line_of(kind_name(key.kind));
    if (e->client_id.len > 0)
        store_json_put(line, "client", e->client_id);
    if (put_record(line, &key, value))
        return write_line(e, line);
    json_decref(line);
    return RC_INVALID;
}

/* ---- what belongs together ---------------------------------------------------------------------
 */

static enum rc export_of_session(struct export *e, enum store_family family, uint32_t shard,
                                 enum record_kind kind, uint64_t number)
{
    struct store_key from = record_key_of(shard, kind, number), until = record_key_end(&from);
    return walk_range(e->engine, &e->rest, family, bytes_of(from.head, from.head_len),
                      bytes_of(until.head, until.head_len));
}

static enum rc export_session(struct walk *walk, enum store_family family, struct bytes whole,
                              struct bytes value)
{
    struct export *e = CONTAINER_OF(walk, struct export, sessions);
    struct session_record record;
    struct record_key key;
    json_t *line = line_of("session");
    (void)family;
    if (!record_key_parse(whole, &key) || !put_session(e, line, value) ||
        !session_record_decode(value, &record)) {
        json_decref(line);
        return RC_INVALID;
    }
    enum rc rc = write_line(e, line);
    e->client_id = record.client_id;
    if (rc == RC_OK)
        rc = export_of_session(e, STORE_STATE, key.shard, RECORD_SUBSCRIPTION, key.number);
    if (rc == RC_OK)
        rc = export_of_session(e, STORE_STATE, key.shard, RECORD_RECEIVED, key.number);
    if (rc == RC_OK)
        rc = export_of_session(e, STORE_STATE, key.shard, RECORD_WILL, key.number);
    if (rc == RC_OK)
        rc = export_of_session(e, STORE_QUEUE, key.shard, RECORD_QUEUED, key.number);
    e->client_id = bytes_of("", 0);
    return rc;
}

static enum rc export_shard(struct export *e, uint32_t shard)
{
    enum rc rc = walk_kind(e->engine, &e->rest, STORE_QUEUE, shard, RECORD_SHARED);
    if (rc == RC_OK)
        rc = walk_kind(e->engine, &e->sessions, STORE_STATE, shard, RECORD_SESSION);
    if (rc == RC_OK)
        rc = walk_kind(e->engine, &e->rest, STORE_STATE, shard, RECORD_OUTBOX);
    if (rc == RC_OK)
        rc = walk_kind(e->engine, &e->rest, STORE_STATE, shard, RECORD_CHOICES);
    if (rc == RC_OK)
        rc = walk_kind(e->engine, &e->rest, STORE_STATE, shard, RECORD_HIGH_WATER);
    if (rc == RC_OK)
        rc = walk_kind(e->engine, &e->rest, STORE_RETAINED, shard, RECORD_RETAINED);
    return rc;
}

static enum rc export_all(struct export *e)
{
    struct meta_record meta;
    enum rc rc = audit_meta(e->engine, &meta);
    if (rc != RC_OK)
        return RC_INVALID;
    if (meta.format > STORE_FORMAT)
        return RC_REFUSED;
    rc = write_line(e, json_pack("{s:i, s:i, s:I}", "skein-export", STORE_EXPORT_VERSION, "shards",
                                 (int)meta.shards, "starts", (json_int_t)meta.starts));
    for (uint32_t shard = 0; shard < meta.shards && rc == RC_OK; shard++)
        rc = export_shard(e, shard);
    return rc;
}

int store_export(const struct store_args *args)
{
    struct opened_store opened;
    const char *path = args->paths[1], *error = "it cannot be read to its end";
    bool standard = path == NULL || strcmp(path, "-") == 0;
    struct export e = {.sessions.record = export_session, .rest.record = export_record};
    int code = store_open_to_read(args->paths[0], &opened);
    if (code != EX_OK)
        return code;
    e.engine = opened.engine;
    e.client_id = bytes_of("", 0);
    e.out = standard ? stdout : fopen(path, "wxe");
    if (e.out == NULL) {
        fprintf(stderr, "skein store: %s: %s\n", path, strerror(errno));
        store_close_read(&opened);
        return errno == EEXIST ? EX_CANTCREAT : EX_IOERR;
    }
    enum rc rc = export_all(&e);
    if (rc == RC_REFUSED)
        error = "it is of a newer version";
    store_close_read(&opened);
    if ((standard ? fflush(e.out) : fclose(e.out)) != 0 || rc == RC_IO) {
        fprintf(stderr, "skein store: %s: %s\n", standard ? "standard output" : path,
                strerror(errno));
        return EX_IOERR;
    }
    return store_explain(args->paths[0], rc, error);
}

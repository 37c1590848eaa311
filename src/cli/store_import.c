/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `skein store import`: makes a store of what export wrote. In another number of shards than it was
 * exported from, a message that queues of a shard share stands in each of them. In bounded memory.
 */
#include "base/memory.h"
#include "cli/store.h"
#include "cli/store_json.h"
#include "session/session.h"
#include "store/folder.h"
#include "store/lock.h"
#include "store/walk.h"
#include "store/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

struct import {
    struct writer writer;
    struct walk walk; /* over shared messages that are not needed any more */
    struct meta_record meta;
    uint32_t from_shards;
    uint64_t number, line; /* of the session, and in the file */
    uint32_t shard;        /* of the session */
    char error[ENGINE_ERROR_MAX];
};

static enum rc bad(struct import *m, const char *what)
{
    snprintf(m->error, sizeof(m->error), "line %llu: %s", (unsigned long long)m->line, what);
    return RC_INVALID;
}

static enum rc put(struct import *m, enum store_family family, const struct store_key *key,
                   const struct record_value *value)
{
    uint8_t whole[STORE_KEY_HEAD + UINT16_MAX];
    if (key->tail.len > UINT16_MAX)
        return bad(m, "a text is too long");
    memcpy(whole, key->head, key->head_len);
    if (key->tail.len > 0)
        memcpy(whole + key->head_len, key->tail.data, key->tail.len);
    return writer_put(&m->writer, family, bytes_of(whole, key->head_len + key->tail.len),
                      value->parts, value->count, m->error);
}

/* Times in the file are of the wall clock. */
static struct record_clock clock_of(const struct publication *publication)
{
    return (struct record_clock){publication->received_ms, publication->received_ms};
}

/* ---- one line each -----------------------------------------------------------------------------
 */

static enum rc import_session(struct import *m, const json_t *line)
{
    struct session_record session = {.connected = json_is_true(json_object_get(line, "connected"))};
    struct record_value value;
    uint64_t expiry_s;
    void *owned;
    if (!store_json_number(line, "expiry_s", UINT32_MAX, &expiry_s) ||
        !store_json_number(line, "left_ms", INT64_MAX, &session.at_wall_ms) ||
        !store_json_number(line, "next", INT64_MAX, &session.next_sequence) ||
        !store_json_number(line, "sent", INT64_MAX, &session.sent_sequence) ||
        !store_json_get(line, "client", &session.client_id, &owned))
        return bad(m, "not a session");
    session.expiry_s = (uint32_t)expiry_s;
    m->number++;
    m->shard = client_id_hash(session.client_id) % m->meta.shards;
    session_record_encode(&session, &value);
    struct store_key key = record_key_of(m->shard, RECORD_SESSION, m->number);
    enum rc rc = session.client_id.len == 0 || session.client_id.len > UINT16_MAX
                     ? bad(m, "not a client id")
                     : put(m, STORE_STATE, &key, &value);
    store_json_free(owned);
    return rc;
}

static enum rc import_subscription(struct import *m, const json_t *line)
{
    uint64_t qos, handling, identifier;
    struct record_value value;
    struct bytes filter;
    void *owned;
    if (!store_json_number(line, "qos", 2, &qos) ||
        !store_json_number(line, "retain_handling", RETAIN_DO_NOT_SEND, &handling) ||
        !store_json_number(line, "identifier", UINT32_MAX, &identifier) ||
        !store_json_get(line, "filter", &filter, &owned))
        return bad(m, "not a subscription");
    struct subscription_record record = {
        .options = {.qos = (uint8_t)qos,
                    .no_local = json_is_true(json_object_get(line, "no_local")),
                    .retain_as_published =
                        json_is_true(json_object_get(line, "retain_as_published")),
                    .retain_handling = (uint8_t)handling,
                    .identifier = (uint32_t)identifier}};
    subscription_record_encode(&record, &value);
    struct store_key key = record_key_subscription(m->shard, m->number, filter);
    enum rc rc = put(m, STORE_STATE, &key, &value);
    store_json_free(owned);
    return rc;
}

static enum rc import_received(struct import *m, const json_t *line)
{
    const struct record_value value = {.count = 0};
    uint64_t id;
    if (!store_json_number(line, "id", UINT16_MAX, &id))
        return bad(m, "not a packet identifier");
    struct store_key key = record_key_received(m->shard, m->number, (uint16_t)id);
    return put(m, STORE_STATE, &key, &value);
}

static enum rc import_will(struct import *m, const json_t *line)
{
    struct store_json_message message;
    struct record_value value;
    uint64_t delay_s;
    if (!store_json_number(line, "delay_s", UINT32_MAX, &delay_s) ||
        !store_json_get_message(line, &message))
        return bad(m, "not a will");
    struct will_record will = {.delay_s = (uint32_t)delay_s, .publication = message.publication};
    struct record_clock clock = clock_of(&message.publication);
    will_record_encode(&will, &clock, &value);
    struct store_key key = record_key_of(m->shard, RECORD_WILL, m->number);
    enum rc rc = put(m, STORE_STATE, &key, &value);
    store_json_message_free(&message);
    return rc;
}

/* A message under a key of its own. */
static enum rc import_message(struct import *m, const json_t *line, enum store_family family,
                              const struct store_key *key)
{
    struct store_json_message message;
    struct record_value value;
    if (!store_json_get_message(line, &message))
        return bad(m, "not a message");
    struct record_clock clock = clock_of(&message.publication);
    message_record_encode(&message.publication, &clock, &value);
    struct store_key whole = *key;
    if (family == STORE_RETAINED)
        whole = record_key_retained(client_id_hash(message.publication.topic) % m->meta.shards,
                                    message.publication.topic);
    enum rc rc = put(m, family, &whole, &value);
    store_json_message_free(&message);
    return rc;
}

static enum rc import_numbered(struct import *m, const json_t *line, enum store_family family,
                               enum record_kind kind)
{
    uint64_t shard, number;
    if (!store_json_number(line, "shard", m->from_shards - 1, &shard) ||
        !store_json_number(line, "number", INT64_MAX, &number))
        return bad(m, "not a message");
    struct store_key key = record_key_of((uint32_t)shard, kind, number);
    return import_message(m, line, family, &key);
}

static enum rc import_mark(struct import *m, const json_t *line)
{
    uint64_t shard, source, number;
    if (!store_json_number(line, "shard", m->from_shards - 1, &shard) ||
        !store_json_number(line, "source", m->from_shards - 1, &source) ||
        !store_json_number(line, "number", INT64_MAX, &number))
        return bad(m, "not a mark of an outbox");
    const json_t *behind = json_object_get(line, "behind"); /* an older export has none */
    size_t count = json_array_size(behind);
    uint64_t *numbers = mem_new(count * sizeof(*numbers) + 1);
    uint8_t *encoded = mem_new(count * HIGH_WATER_NUMBER_BYTES + 1);
    for (size_t i = 0; i < count; i++)
        numbers[i] = (uint64_t)json_integer_value(json_array_get(behind, i));
    struct record_value value;
    high_water_record_encode(number, numbers, (uint32_t)count, encoded, &value);
    struct store_key key = record_key_high_water((uint32_t)shard, (uint32_t)source);
    enum rc rc = put(m, STORE_STATE, &key, &value);
    mem_free(encoded);
    mem_free(numbers);
    return rc;
}

static bool read_share(const json_t *line, uint32_t shards, struct outbox_share *out)
{
    const char *hash = json_string_value(json_object_get(line, "filter_hash"));
    uint64_t shard;
    char *end;
    if (hash == NULL || !store_json_number(line, "shard", shards - 1, &shard))
        return false;
    out->filter_hash = strtoull(hash, &end, 16);
    out->shard = (uint16_t)shard;
    return *hash != '\0' && *end == '\0';
}

static enum rc import_choices(struct import *m, const json_t *line)
{
    const json_t *list = json_object_get(line, "shares");
    uint64_t shard, number;
    size_t count = json_array_size(list);
    struct record_value value;
    if (!store_json_number(line, "shard", m->from_shards - 1, &shard) ||
        !store_json_number(line, "number", INT64_MAX, &number) || count > UINT16_MAX)
        return bad(m, "not the choices of an outbox message");
    struct outbox_share *shares = mem_new((count + 1) * sizeof(*shares));
    uint8_t *encoded = mem_new((count + 1) * OUTBOX_SHARE_BYTES);
    bool good = true;
    for (size_t i = 0; i < count; i++)
        good &= read_share(json_array_get(list, i), m->from_shards, &shares[i]);
    bool only_shares = json_is_true(json_object_get(line, "only_shares"));
    choices_record_encode(shares, (uint32_t)count, only_shares ? OUTBOX_SHARES : OUTBOX_ALL,
                          encoded, &value);
    struct store_key key = record_key_of((uint32_t)shard, RECORD_CHOICES, number);
    enum rc rc =
        good ? put(m, STORE_STATE, &key, &value) : bad(m, "not the choices of an outbox message");
    mem_free(encoded);
    mem_free(shares);
    return rc;
}

/* ---- queues ------------------------------------------------------------------------------------
 */

/* The shared message of an entry, out of the shard that it was exported from. */
static enum rc put_unshared(struct import *m, const struct store_key *key,
                            struct queue_record *entry, uint32_t from_shard)
{
    const struct record_clock clock = {0};
    struct store_key shared = record_key_of(from_shard, RECORD_SHARED, entry->shared);
    struct publication publication;
    struct record_value value;
    void *bytes;
    size_t len;
    bool expired;
    enum rc rc = writer_flush(&m->writer, m->error);
    if (rc == RC_OK)
        rc = engine_get(m->writer.engine, STORE_QUEUE, bytes_of(shared.head, shared.head_len),
                        &bytes, &len);
    if (rc != RC_OK)
        return bad(m, "its shared message has not come before it");
    if (message_record_decode(bytes_of(bytes, len), &clock, &publication, &expired)) {
        publication.received_ms = message_record_wall_ms(bytes_of(bytes, len));
        struct record_clock then = clock_of(&publication);
        entry->kind = QUEUE_RECORD_MESSAGE;
        queue_record_encode(entry, &publication, &then, &value);
        rc = put(m, STORE_QUEUE, key, &value);
    } else {
        rc = bad(m, "its shared message is not readable");
    }
    engine_free(bytes);
    return rc;
}

static bool read_entry(const json_t *line, struct queue_record *out,
                       uint32_t identifiers[QUEUE_RECORD_IDENTIFIERS], uint64_t *sequence)
{
    const char *form = json_string_value(json_object_get(line, "form"));
    const json_t *list = json_object_get(line, "identifiers");
    uint64_t qos, size;
    if (form == NULL || !store_json_number(line, "sequence", INT64_MAX, sequence) ||
        !store_json_number(line, "qos", 2, &qos) || qos == 0 ||
        !store_json_number(line, "size", UINT32_MAX, &size) ||
        json_array_size(list) > QUEUE_RECORD_IDENTIFIERS)
        return false;
    *out = (struct queue_record){
        .kind = strcmp(form, "message") == 0  ? QUEUE_RECORD_MESSAGE
                : strcmp(form, "shared") == 0 ? QUEUE_RECORD_SHARED
                                              : QUEUE_RECORD_RELEASED,
        .qos = (uint8_t)qos,
        .retain = json_is_true(json_object_get(line, "retain")),
        .size = (uint32_t)size,
        .identifiers = identifiers,
        .identifier_count = (uint32_t)json_array_size(list),
    };
    for (uint32_t i = 0; i < out->identifier_count; i++)
        identifiers[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    return out->kind != QUEUE_RECORD_SHARED ||
           store_json_number(line, "shared", INT64_MAX, &out->shared);
}

static enum rc import_queued(struct import *m, const json_t *line)
{
    struct store_json_message message = {0};
    struct record_value value;
    struct queue_record entry;
    uint32_t identifiers[QUEUE_RECORD_IDENTIFIERS];
    uint64_t sequence;
    struct bytes client;
    void *share_owned, *client_owned;
    if (!read_entry(line, &entry, identifiers, &sequence) ||
        !store_json_get(line, "client", &client, &client_owned))
        return bad(m, "not a queued message");
    uint32_t from_shard = client_id_hash(client) % m->from_shards;
    store_json_free(client_owned);
    if (entry.kind == QUEUE_RECORD_MESSAGE && !store_json_get_message(line, &message))
        return bad(m, "not a queued message");
    if (!store_json_get(line, "share", &entry.share, &share_owned))
        entry.share = bytes_of("", 0);
    struct store_key key = record_key_queued(m->shard, m->number, sequence);
    enum rc rc;
    if (entry.kind == QUEUE_RECORD_SHARED && m->from_shards != m->meta.shards) {
        rc = put_unshared(m, &key, &entry, from_shard);
    } else {
        struct record_clock clock = clock_of(&message.publication);
        queue_record_encode(&entry, &message.publication, &clock, &value);
        rc = put(m, STORE_QUEUE, &key, &value);
    }
    store_json_free(share_owned);
    store_json_message_free(&message);
    return rc;
}

static enum rc delete_shared(struct walk *walk, enum store_family family, struct bytes whole,
                             struct bytes value)
{
    struct import *m = CONTAINER_OF(walk, struct import, walk);
    struct record_key key;
    (void)value;
    if (!record_key_parse(whole, &key) || key.kind != RECORD_SHARED)
        return RC_OK;
    return writer_delete(&m->writer, family, whole, m->error);
}

/* ---- the file ----------------------------------------------------------------------------------
 */

static enum rc import_header(struct import *m, const json_t *line, uint32_t shards)
{
    uint64_t version, from, starts;
    if (!store_json_number(line, "skein-export", INT64_MAX, &version) ||
        !store_json_number(line, "shards", 4096, &from) || from == 0 ||
        !store_json_number(line, "starts", UINT32_MAX, &starts))
        return bad(m, "the header of an export is missing");
    if (version > STORE_EXPORT_VERSION)
        return bad(m, "a newer version has written this");
    m->from_shards = (uint32_t)from;
    m->meta = (struct meta_record){STORE_FORMAT, shards == 0 ? (uint32_t)from : shards, starts};
    m->number = starts << STORE_NUMBER_BITS; /* numbers that later starts do not use */
    return RC_OK;
}

/* Who has got an outbox message is known by shard, and the shards change. */
static enum rc on_their_way(struct import *m)
{
    char what[160];
    snprintf(what, sizeof(what),
             "messages are on their way between the %u shards; start a broker with shards: %u on "
             "the exported store, stop it, and export again",
             m->from_shards, m->from_shards);
    return bad(m, what);
}

static enum rc import_line(struct import *m, const json_t *line)
{
    const char *kind = json_string_value(json_object_get(line, "kind"));
    bool other_shards = m->from_shards != m->meta.shards;
    if (kind == NULL)
        return bad(m, "not a line of an export");
    if (strcmp(kind, "session") == 0)
        return import_session(m, line);
    if (strcmp(kind, "subscription") == 0)
        return import_subscription(m, line);
    if (strcmp(kind, "received") == 0)
        return import_received(m, line);
    if (strcmp(kind, "will") == 0)
        return import_will(m, line);
    if (strcmp(kind, "queued") == 0)
        return import_queued(m, line);
    if (strcmp(kind, "retained") == 0)
        return import_message(m, line, STORE_RETAINED, &(struct store_key){0});
    if (strcmp(kind, "shared") == 0)
        return import_numbered(m, line, STORE_QUEUE, RECORD_SHARED);
    if (strcmp(kind, "mark") == 0)
        return other_shards ? RC_OK : import_mark(m, line);
    if (strcmp(kind, "outbox") == 0)
        return other_shards ? on_their_way(m)
                            : import_numbered(m, line, STORE_STATE, RECORD_OUTBOX);
    if (strcmp(kind, "choices") == 0)
        return other_shards ? on_their_way(m) : import_choices(m, line);
    return bad(m, "a kind of line that this version does not know");
}

static enum rc import_all(struct import *m, FILE *in, uint32_t shards)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t len;
    enum rc rc = RC_OK;
    while (rc == RC_OK && (len = getline(&text, &room, in)) >= 0) {
        json_error_t error;
        json_t *line = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, &error);
        m->line++;
        if (line == NULL)
            rc = bad(m, error.text);
        else
            rc = m->line == 1 ? import_header(m, line, shards) : import_line(m, line);
        json_decref(line);
    }
    free(text);
    if (rc == RC_OK && m->line == 0)
        rc = bad(m, "the file is empty");
    if (rc == RC_OK && ferror(in))
        rc = RC_IO;
    if (rc == RC_OK && m->from_shards != m->meta.shards) {
        rc = writer_flush(&m->writer, m->error);
        m->walk.record = delete_shared;
        if (rc == RC_OK)
            rc = walk_range(m->writer.engine, &m->walk, STORE_QUEUE, bytes_of("", 0),
                            bytes_of("", 0));
    }
    return rc == RC_OK ? writer_finish(&m->writer, &m->meta, m->error) : rc;
}

/* EX_OK: the store may be put there. */
static int look_at_target(const char *data_dir, const char *target, bool force)
{
    int lock;
    if (mkdir(data_dir, 0700) != 0 && errno != EEXIST) {
        fprintf(stderr, "skein store: %s: %s\n", data_dir, strerror(errno));
        return EX_IOERR;
    }
    if (folder_empty(target))
        return EX_OK;
    enum rc rc = store_lock_take(target, &lock);
    if (rc != RC_OK)
        return store_explain(data_dir, rc, strerror(errno));
    store_lock_drop(lock);
    if (force)
        return EX_OK;
    fprintf(stderr, "skein store: there is a store in %s; --force sets it aside\n", data_dir);
    return EX_CANTCREAT;
}

int store_import(const struct store_args *args)
{
    const char *path = args->paths[0], *data_dir = args->paths[1];
    char target[STORE_PATH_MAX], work[STORE_PATH_MAX + 16];
    struct import m = {0};
    snprintf(target, sizeof(target), "%s/store", data_dir);
    snprintf(work, sizeof(work), "%s/store.import", data_dir);
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (in == NULL) {
        fprintf(stderr, "skein store: %s: %s\n", path, strerror(errno));
        return EX_NOINPUT;
    }
    int code = look_at_target(data_dir, target, args->force);
    if (code == EX_OK) {
        enum rc rc = folder_remove(work, m.error);
        if (rc == RC_OK)
            rc = writer_open(&m.writer, work, m.error);
        if (rc == RC_OK) {
            rc = import_all(&m, in, args->shards);
            writer_close(&m.writer);
        }
        if (rc != RC_OK)
            fprintf(stderr, "skein store: %s: %s\n", path, m.error);
        code = rc == RC_OK ? EX_OK : rc == RC_INVALID ? EX_DATAERR : EX_IOERR;
    }
    if (in != stdin)
        fclose(in);
    if (code == EX_OK)
        code = store_put_in_place(work, target, args->force);
    if (code != EX_OK)
        folder_remove(work, m.error);
    else
        folder_sync(data_dir);
    return code;
}

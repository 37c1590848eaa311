/* SPDX-License-Identifier: Apache-2.0 */
#include "store/audit.h"

#include "base/check.h"
#include "base/map.h"
#include "base/memory.h"
#include "store/walk.h"

#include <stdarg.h>
#include <stdio.h>

enum { LINE_MAX_BYTES = 1024, NAME_SHOWN = 200 };

const char *const audit_kind_names[AUDIT_KINDS] = {
    [AUDIT_SESSIONS] = "sessions",
    [AUDIT_SUBSCRIPTIONS] = "subscriptions",
    [AUDIT_RECEIVED] = "inbound QoS 2 identifiers",
    [AUDIT_WILLS] = "wills",
    [AUDIT_TESTAMENTS] = "wills of no session",
    [AUDIT_OUTBOX] = "outbox messages",
    [AUDIT_CHOICES] = "outbox choices",
    [AUDIT_HIGH_WATER] = "outbox marks",
    [AUDIT_QUEUED] = "queued messages",
    [AUDIT_SHARED] = "shared messages",
    [AUDIT_RETAINED] = "retained messages",
};

/* One kind of record, in the order in which a shard is looked at: sessions come first. */
static const struct {
    enum record_kind record;
    enum store_family family;
    const char *name; /* of one */
} kinds[AUDIT_KINDS] = {
    [AUDIT_SESSIONS] = {RECORD_SESSION, STORE_STATE, "session"},
    [AUDIT_SUBSCRIPTIONS] = {RECORD_SUBSCRIPTION, STORE_STATE, "subscription"},
    [AUDIT_RECEIVED] = {RECORD_RECEIVED, STORE_STATE, "inbound QoS 2 identifier"},
    [AUDIT_WILLS] = {RECORD_WILL, STORE_STATE, "will"},
    [AUDIT_TESTAMENTS] = {RECORD_TESTAMENT, STORE_STATE, "will of no session"},
    [AUDIT_OUTBOX] = {RECORD_OUTBOX, STORE_STATE, "outbox message"},
    [AUDIT_CHOICES] = {RECORD_CHOICES, STORE_STATE, "outbox choice"},
    [AUDIT_HIGH_WATER] = {RECORD_HIGH_WATER, STORE_STATE, "outbox mark"},
    [AUDIT_QUEUED] = {RECORD_QUEUED, STORE_QUEUE, "queued message"},
    [AUDIT_SHARED] = {RECORD_SHARED, STORE_QUEUE, "shared message"},
    [AUDIT_RETAINED] = {RECORD_RETAINED, STORE_RETAINED, "retained message"},
};

/* ---- gaps --------------------------------------------------------------------------------------
 */

static struct bytes copy(struct bytes bytes)
{
    uint8_t *data = mem_new(bytes.len + 1);
    if (bytes.len > 0)
        memcpy(data, bytes.data, bytes.len);
    return bytes_of(data, bytes.len);
}

struct audit_gap *audit_gap_new(enum store_family family, struct bytes from, struct bytes until,
                                const char *error)
{
    struct audit_gap *gap = NEW(struct audit_gap);
    *gap = (struct audit_gap){
        .family = family,
        .from = copy(from),
        .until = copy(until),
        .error = (char *)(uintptr_t)copy(bytes_of_str(error)).data,
    };
    return gap;
}

void audit_gaps_free(struct audit_gap *gaps)
{
    while (gaps != NULL) {
        struct audit_gap *next = gaps->next;
        mem_free((void *)(uintptr_t)gaps->from.data);
        mem_free((void *)(uintptr_t)gaps->until.data);
        mem_free(gaps->error);
        mem_free(gaps);
        gaps = next;
    }
}

/* ---- one record --------------------------------------------------------------------------------
 */

static enum audit_kind kind_of(enum record_kind record)
{
    int kind = 0;
    while (kind < AUDIT_KINDS && kinds[kind].record != record)
        kind++;
    return (enum audit_kind)kind;
}

static bool queue_record_good(struct bytes value)
{
    struct queue_record record;
    struct publication publication;
    const struct record_clock clock = {0};
    bool expired;
    return queue_record_decode(value, &record) &&
           (record.kind != QUEUE_RECORD_MESSAGE ||
            message_record_decode(record.message, &clock, &publication, &expired));
}

static bool value_good(enum record_kind kind, struct bytes value)
{
    const struct record_clock clock = {0};
    struct session_record session;
    struct subscription_record subscription;
    struct will_record will;
    struct publication publication;
    struct meta_record meta;
    struct bytes shares;
    enum outbox_whom whom;
    uint64_t number;
    bool expired;
    switch (kind) {
    case RECORD_SESSION:
        return session_record_decode(value, &session);
    case RECORD_SUBSCRIPTION:
        return subscription_record_decode(value, &subscription);
    case RECORD_WILL:
    case RECORD_TESTAMENT:
        return will_record_decode(value, &clock, &will);
    case RECORD_OUTBOX:
    case RECORD_SHARED:
    case RECORD_RETAINED:
        return message_record_decode(value, &clock, &publication, &expired);
    case RECORD_QUEUED:
        return queue_record_good(value);
    case RECORD_CHOICES:
        return choices_record_decode(value, &shares, &whom);
    case RECORD_HIGH_WATER:
        return high_water_record_decode(value, &number, &shares);
    case RECORD_META:
        return meta_record_decode(value, &meta);
    default:
        return true;
    }
}

bool audit_record_good(enum store_family family, const struct record_key *key, struct bytes value)
{
    enum audit_kind kind = kind_of(key->kind);
    if (key->kind == RECORD_POSITION)
        return family == STORE_STATE && key->shard == SHARD_META;
    if (key->kind == RECORD_META)
        return family == STORE_STATE && key->shard == SHARD_META && value_good(key->kind, value);
    return kind != AUDIT_KINDS && kinds[kind].family == family && value_good(key->kind, value);
}

enum rc audit_meta(struct engine *engine, struct meta_record *out)
{
    struct store_key key = record_key(SHARD_META, RECORD_META);
    void *value;
    size_t len;
    enum rc rc = engine_get(engine, STORE_STATE, bytes_of(key.head, key.head_len), &value, &len);
    if (rc != RC_OK)
        return rc;
    rc = meta_record_decode(bytes_of(value, len), out) ? RC_OK : RC_INVALID;
    engine_free(value);
    return rc;
}

/* ---- the walk ----------------------------------------------------------------------------------
 */

struct looking {
    struct walk walk;
    struct audit *audit;
    struct engine *engine;
    uint32_t shard;
    enum audit_kind kind;
    struct map sessions; /* struct audit_session, of the shard */
    struct audit_session *last;
};

__attribute__((format(printf, 2, 3))) static void problem(struct audit *audit, const char *format,
                                                          ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    audit->problems++;
    audit->problem(audit, line);
}

static uint64_t number_hash(uint64_t number)
{
    return number * 0x9E3779B97F4A7C15u;
}

static bool has_number(const void *element, const void *key)
{
    return ((const struct audit_session *)element)->number == *(const uint64_t *)key;
}

static struct audit_session *session_add(struct looking *looking, uint64_t number,
                                         struct bytes client_id)
{
    struct audit_session *session = mem_new(sizeof(*session) + client_id.len);
    uint8_t *name = (uint8_t *)(session + 1);
    if (client_id.len > 0)
        memcpy(name, client_id.data, client_id.len);
    *session = (struct audit_session){
        .number = number, .shard = looking->shard, .client_id = bytes_of(name, client_id.len)};
    map_insert(&looking->sessions, number_hash(number), session);
    return session;
}

/* The session of a record; one that is not known is noted. */
static struct audit_session *session_of(struct looking *looking, uint64_t number)
{
    struct audit_session *session = looking->last;
    if (session == NULL || session->number != number)
        session = map_find(&looking->sessions, number_hash(number), has_number, &number);
    if (session == NULL)
        session = session_add(looking, number, bytes_of("", 0));
    looking->last = session;
    return session;
}

static enum rc useless(struct looking *looking, enum store_family family, struct bytes whole)
{
    struct audit *audit = looking->audit;
    return audit->useless == NULL ? RC_OK : audit->useless(audit, family, whole);
}

static void note_topic(struct audit_session *session, struct bytes message)
{
    struct publication publication;
    const struct record_clock clock = {0};
    bool expired;
    if (session->known || session->topic[0] != '\0' ||
        !message_record_decode(message, &clock, &publication, &expired))
        return;
    snprintf(session->topic, sizeof(session->topic), "%.*s", (int)publication.topic.len,
             (const char *)publication.topic.data);
}

/* Whether the message that several share is there. */
static bool shared_exists(struct looking *looking, struct audit_session *session, uint64_t number)
{
    struct store_key key = record_key_of(looking->shard, RECORD_SHARED, number);
    void *value;
    size_t len;
    enum rc rc =
        engine_get(looking->engine, STORE_QUEUE, bytes_of(key.head, key.head_len), &value, &len);
    if (rc != RC_OK)
        return false;
    note_topic(session, bytes_of(value, len));
    engine_free(value);
    return true;
}

/* False: its message is missing. */
static bool look_at_queued(struct looking *looking, struct audit_session *session,
                           uint64_t sequence, struct bytes value)
{
    struct queue_record record;
    if (session->queued > 0 && sequence > session->last_sequence + 1)
        session->holes += sequence - session->last_sequence - 1;
    session->last_sequence = sequence;
    CHECK(queue_record_decode(value, &record));
    if (record.kind == QUEUE_RECORD_SHARED && !shared_exists(looking, session, record.shared)) {
        session->lost++;
        return false;
    }
    if (record.kind == QUEUE_RECORD_MESSAGE)
        note_topic(session, record.message);
    session->queued++;
    session->queued_bytes += record.size;
    return true;
}

static bool belongs_to_session(enum audit_kind kind)
{
    return kind == AUDIT_SUBSCRIPTIONS || kind == AUDIT_RECEIVED || kind == AUDIT_WILLS ||
           kind == AUDIT_QUEUED;
}

static void say_unreadable(struct looking *looking, const struct record_key *key)
{
    const char *name = kinds[looking->kind].name;
    if (belongs_to_session(looking->kind))
        session_of(looking, key->number)->unreadable++;
    else if (key->text.len > 0)
        problem(looking->audit, "%s of %s %.*s: not readable", name,
                looking->kind == AUDIT_TESTAMENTS ? "client" : "topic",
                key->text.len > NAME_SHOWN ? NAME_SHOWN : (int)key->text.len,
                (const char *)key->text.data);
    else
        problem(looking->audit, "%s %llu of shard %u: not readable", name,
                (unsigned long long)key->number, looking->shard);
}

static enum rc look(struct walk *walk, enum store_family family, struct bytes whole,
                    struct bytes value)
{
    struct looking *looking = CONTAINER_OF(walk, struct looking, walk);
    struct audit_count *count = &looking->audit->counts[looking->kind];
    struct record_key key;
    if (!record_key_parse(whole, &key))
        return RC_OK; /* look_for_strays() says so */
    if (!audit_record_good(family, &key, value)) {
        say_unreadable(looking, &key);
        return useless(looking, family, whole);
    }
    if (looking->kind == AUDIT_SESSIONS) {
        struct session_record record;
        CHECK(session_record_decode(value, &record));
        struct audit_session *session = session_add(looking, key.number, record.client_id);
        session->known = true;
        session->connected = record.connected;
    } else if (belongs_to_session(looking->kind)) {
        struct audit_session *session = session_of(looking, key.number);
        bool good =
            looking->kind != AUDIT_QUEUED || look_at_queued(looking, session, key.sequence, value);
        if (!session->known || !good)
            return useless(looking, family, whole);
    }
    count->records++;
    count->bytes += whole.len + value.len;
    return RC_OK;
}

static enum rc pass_gap(struct walk *walk, enum store_family family, struct bytes from,
                        struct bytes until, const char *error)
{
    (void)walk, (void)family, (void)from, (void)until, (void)error;
    return RC_OK; /* look_for_strays() has said so */
}

/* ---- what is said at the end of a shard --------------------------------------------------------
 */

static int compare(struct bytes a, struct bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static void mark_gaps(struct looking *looking, struct audit_session *session)
{
    struct store_key from = record_key_of(looking->shard, RECORD_QUEUED, session->number);
    struct store_key until = record_key_end(&from);
    for (const struct audit_gap *gap = looking->audit->gaps; gap != NULL; gap = gap->next)
        if (gap->family == STORE_QUEUE && !gap->suspected &&
            compare(gap->from, bytes_of(until.head, until.head_len)) < 0 &&
            (gap->until.len == 0 || compare(bytes_of(from.head, from.head_len), gap->until) < 0))
            session->in_gap = true;
}

static void say_session(struct looking *looking, const struct audit_session *session)
{
    struct audit *audit = looking->audit;
    char name[NAME_SHOWN + 64];
    if (session->client_id.len > 0)
        snprintf(name, sizeof(name), "session %.*s",
                 session->client_id.len > NAME_SHOWN ? NAME_SHOWN : (int)session->client_id.len,
                 (const char *)session->client_id.data);
    else
        snprintf(name, sizeof(name), "session %llu of shard %u, client id unknown",
                 (unsigned long long)session->number, session->shard);
    if (!session->known)
        problem(audit, "%s: its record is missing; %llu messages in its queue%s%s", name,
                (unsigned long long)session->queued,
                session->topic[0] != '\0' ? ", the first of topic " : "", session->topic);
    if (session->lost > 0)
        problem(audit, "%s: the messages of %llu queue entries are missing", name,
                (unsigned long long)session->lost);
    if (session->holes > 0 && audit->say_holes)
        problem(audit, "%s: up to %llu messages are missing in its queue", name,
                (unsigned long long)session->holes);
    if (session->unreadable > 0)
        problem(audit, "%s: %llu records are not readable", name,
                (unsigned long long)session->unreadable);
    if (session->in_gap)
        problem(audit, "%s: some of its queue may be missing", name);
}

static void end_shard(struct looking *looking)
{
    size_t cursor = 0;
    for (struct audit_session *session;
         (session = map_next(&looking->sessions, &cursor)) != NULL;) {
        mark_gaps(looking, session);
        say_session(looking, session);
        if (looking->audit->session != NULL && session->known)
            looking->audit->session(looking->audit, session);
        mem_free(session);
    }
    map_deinit(&looking->sessions);
}

static enum rc look_at_shard(struct looking *looking)
{
    enum rc rc = RC_OK;
    map_init(&looking->sessions);
    for (int kind = 0; kind < AUDIT_KINDS && rc == RC_OK; kind++) {
        looking->kind = (enum audit_kind)kind;
        looking->last = NULL;
        rc = walk_kind(looking->engine, &looking->walk, kinds[kind].family, looking->shard,
                       kinds[kind].record);
    }
    end_shard(looking);
    return rc;
}

/* ---- strays ------------------------------------------------------------------------------------
 */

static enum rc look_for_stray(struct walk *walk, enum store_family family, struct bytes whole,
                              struct bytes value)
{
    struct looking *looking = CONTAINER_OF(walk, struct looking, walk);
    struct record_key key;
    (void)value;
    if (record_key_parse(whole, &key)) {
        enum audit_kind kind = kind_of(key.kind);
        if ((key.kind == RECORD_META || key.kind == RECORD_POSITION) && key.shard == SHARD_META)
            return RC_OK;
        if (kind != AUDIT_KINDS && kinds[kind].family == family &&
            key.shard < looking->audit->shards)
            return RC_OK;
    }
    problem(looking->audit, "a key of %zu bytes belongs to nothing that this version knows",
            whole.len);
    return useless(looking, family, whole);
}

static enum rc say_gap(struct walk *walk, enum store_family family, struct bytes from,
                       struct bytes until, const char *error)
{
    static const char *const names[STORE_FAMILIES] = {"sessions and subscriptions", "queues",
                                                      "retained messages"};
    struct looking *looking = CONTAINER_OF(walk, struct looking, walk);
    (void)from, (void)until;
    problem(looking->audit, "%s: %s", names[family], error);
    return RC_OK;
}

/* Reads everything once, with its checksums. */
static enum rc look_for_strays(struct looking *looking)
{
    enum rc rc = RC_OK;
    looking->walk = (struct walk){.record = look_for_stray, .gap = say_gap};
    for (int family = 0; family < STORE_FAMILIES && rc == RC_OK; family++)
        rc = walk_range(looking->engine, &looking->walk, (enum store_family)family, bytes_of("", 0),
                        bytes_of("", 0));
    return rc;
}

enum rc audit_run(struct engine *engine, struct audit *audit)
{
    struct looking looking = {.audit = audit, .engine = engine};
    enum rc rc = audit_meta(engine, &audit->meta);
    audit->has_meta = rc == RC_OK;
    if (!audit->has_meta)
        problem(audit, "the record of the store's format is %s",
                rc == RC_NOT_FOUND ? "missing" : "not readable");
    else if (audit->meta.format > STORE_FORMAT)
        return RC_REFUSED;
    audit->shards = audit->has_meta ? audit->meta.shards : SHARD_META;
    rc = look_for_strays(&looking);
    looking.walk = (struct walk){.record = look, .gap = pass_gap};
    for (uint32_t shard = 0; shard < audit->shards && rc == RC_OK; shard++) {
        looking.shard = shard;
        rc = look_at_shard(&looking);
    }
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world for tests: a log that a fake engine keeps, nodes that use it through connections which
 * delay, lose and refuse, a clock that moves when it is told to, and a note of all that happened.
 */
#ifndef CHANGELOG_CHANGELOG_FIXTURE_H
#define CHANGELOG_CHANGELOG_FIXTURE_H

#include "changelog/changelog.h"

#include "base/check.h"
#include "base/list.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    WORLD_NODES = 4,
    WORLD_RECORDS = 4096,
    WORLD_ANSWERS = 256,
    WORLD_BATCHES = 2048,
    WORLD_GROUP = 7
};

struct kept {
    uint8_t *bytes;
    size_t len;
    char id[CHANGELOG_ID_MAX];
};

/* One stream; kept[n] is sequence n + 1. */
struct fake_log {
    struct kept kept[WORLD_RECORDS];
    uint64_t last, first;
};

struct pending {
    struct engine_answer answer;
    uint8_t *bytes;
    uint64_t due_ms;
};

struct node;

struct world {
    uint64_t now_ms;
    struct fake_log log;
    struct node *nodes[WORLD_NODES];
};

/* A node and its connection to the engine. */
struct node {
    struct engine engine;
    struct world *world;
    struct engine_sink *sink;
    struct fake_log *log; /* the world's, or a fork of it */
    struct changelog changelog;

    /* the connection */
    struct pending answers[WORLD_ANSWERS];
    uint32_t answer_count;
    bool cut;         /* nothing arrives, either way */
    bool failing;     /* everything is answered at once: nobody knows; copies can be read */
    bool copies_fail; /* then they cannot */
    uint32_t copies_read;
    bool forgets_ids;      /* too long ago for the engine to know a record again */
    uint32_t lost_answers; /* so many of appends do not come back */
    uint32_t wrong_infos;  /* so many say that nothing is in the log any more */
    uint64_t stale_above;  /* a replica that has no more; 0: it has all */
    uint32_t delay_ms;
    size_t record_max;
    uint32_t appends_seen, reads_seen, trims_seen;

    /* what happened */
    uint32_t opened, deposed, released, broken, behind, lease_changes;
    uint64_t opened_epoch, opened_ms, behind_first;
    const char *why;
    bool home;
    uint64_t committed[WORLD_BATCHES]; /* cookies */
    uint32_t committed_count;
    struct changelog_position position;
    char applied[WORLD_BATCHES][16]; /* batches, cut */
    size_t applied_len[WORLD_BATCHES];
    uint32_t applied_count, claims_applied;
    char note[32];
};

/* ---- the fake engine ---------------------------------------------------------------------------
 */

static void fake_answer(struct node *node, struct engine_answer answer, struct bytes record)
{
    if (node->cut)
        return;
    CHECK(node->answer_count < WORLD_ANSWERS);
    struct pending *p = &node->answers[node->answer_count++];
    *p = (struct pending){.answer = answer, .due_ms = node->world->now_ms + node->delay_ms};
    if (record.len > 0) {
        p->bytes = mem_new(record.len);
        memcpy(p->bytes, record.data, record.len);
        p->answer.record = bytes_of(p->bytes, record.len);
    }
}

static void fake_attach(struct engine *engine, uint32_t group, struct engine_sink *sink)
{
    CHECK(group == WORLD_GROUP);
    CONTAINER_OF(engine, struct node, engine)->sink = sink;
}

static void log_keep(struct fake_log *log, struct bytes head, struct bytes body, const char *id)
{
    struct kept *kept = &log->kept[log->last++];

    CHECK(log->last < WORLD_RECORDS);
    kept->len = head.len + body.len;
    kept->bytes = mem_new(kept->len);
    memcpy(kept->bytes, head.data, head.len);
    if (body.len > 0)
        memcpy(kept->bytes + head.len, body.data, body.len);
    snprintf(kept->id, sizeof(kept->id), "%s", id);
}

static uint64_t log_find_id(const struct fake_log *log, const char *id)
{
    for (uint64_t i = 0; i < log->last; i++)
        if (strcmp(log->kept[i].id, id) == 0)
            return i + 1;
    return 0;
}

static struct engine_answer fake_appended(struct node *node, const struct engine_append *a)
{
    struct engine_answer answer = {.token = a->token, .outcome = ENGINE_APPENDED};

    if (node->failing || a->head.len + a->body.len > node->record_max) {
        answer.outcome = ENGINE_FAILED;
        return answer;
    }
    answer.sequence = node->forgets_ids ? 0 : log_find_id(node->log, a->id);
    if (answer.sequence != 0)
        return answer;
    if (a->fenced && a->expected != node->log->last) {
        answer.outcome = ENGINE_REFUSED;
        return answer;
    }
    log_keep(node->log, a->head, a->body, a->id);
    answer.sequence = node->log->last;
    return answer;
}

static void fake_append(struct engine *engine, uint32_t group, const struct engine_append *append)
{
    struct node *node = CONTAINER_OF(engine, struct node, engine);

    CHECK(group == WORLD_GROUP);
    node->appends_seen++;
    if (node->cut)
        return;
    struct engine_answer answer = fake_appended(node, append);
    if (node->lost_answers > 0)
        node->lost_answers--;
    else
        fake_answer(node, answer, bytes_of(NULL, 0));
}

static void fake_read(struct engine *engine, uint32_t group, uint64_t token, uint64_t sequence)
{
    struct node *node = CONTAINER_OF(engine, struct node, engine);
    struct engine_answer answer = {.token = token, .sequence = sequence};
    struct bytes record = {0};

    CHECK(group == WORLD_GROUP);
    node->reads_seen++;
    bool hidden = node->stale_above != 0 && sequence > node->stale_above;
    if (node->failing) {
        answer.outcome = ENGINE_FAILED;
    } else if (hidden || sequence < node->log->first || sequence > node->log->last) {
        answer.outcome = ENGINE_NOT_FOUND;
    } else {
        const struct kept *kept = &node->log->kept[sequence - 1];
        answer.outcome = ENGINE_RECORD;
        record = bytes_of(kept->bytes, kept->len);
    }
    fake_answer(node, answer, record);
}

/* Copies can be read while who leads fails, unless they fail, too. */
static void fake_read_copy(struct engine *engine, uint32_t group, uint64_t token, uint64_t sequence)
{
    struct node *node = CONTAINER_OF(engine, struct node, engine);
    bool failing = node->failing;

    node->failing &= node->copies_fail;
    node->copies_read++;
    fake_read(engine, group, token, sequence);
    node->failing = failing;
}

static void fake_info(struct engine *engine, uint32_t group, uint64_t token)
{
    struct node *node = CONTAINER_OF(engine, struct node, engine);
    struct engine_answer answer = {.token = token,
                                   .outcome = node->failing ? ENGINE_FAILED : ENGINE_INFO,
                                   .first = node->log->first,
                                   .sequence = node->log->last};

    CHECK(group == WORLD_GROUP);
    if (node->wrong_infos > 0) {
        node->wrong_infos--;
        answer.first = answer.sequence + 1;
    }
    fake_answer(node, answer, bytes_of(NULL, 0));
}

static void fake_trim(struct engine *engine, uint32_t group, uint64_t sequence)
{
    struct node *node = CONTAINER_OF(engine, struct node, engine);

    CHECK(group == WORLD_GROUP);
    node->trims_seen++;
    node->log->first = sequence;
    if (node->log->last < sequence - 1)
        node->log->last = sequence - 1;
}

/* What the engine lost of the world's log: all behind `last`. */
static inline void world_lose(struct world *world, uint64_t last)
{
    for (uint64_t i = last; i < world->log.last; i++) {
        mem_free(world->log.kept[i].bytes);
        world->log.kept[i] = (struct kept){0};
    }
    world->log.last = last;
}

static size_t fake_record_max(struct engine *engine)
{
    return CONTAINER_OF(engine, struct node, engine)->record_max;
}

static const struct engine_ops fake_ops = {
    .attach = fake_attach,
    .append = fake_append,
    .read = fake_read,
    .read_copy = fake_read_copy,
    .info = fake_info,
    .trim = fake_trim,
    .record_max = fake_record_max,
};

/* ---- what happens to a node --------------------------------------------------------------------
 */

static void node_note_batch(struct node *node, struct bytes body)
{
    CHECK(node->applied_count < WORLD_BATCHES);
    char *out = node->applied[node->applied_count];
    node->applied_len[node->applied_count++] = body.len;
    snprintf(out, sizeof(node->applied[0]), "%.*s", (int)(body.len < 15 ? body.len : 15),
             (const char *)body.data);
}

static void node_apply(struct changelog *log, const struct changelog_entry *entry)
{
    struct node *node = log->owner;

    if (entry->kind == CHANGELOG_BATCH)
        node_note_batch(node, entry->body);
    if (entry->kind == CHANGELOG_CLAIM) {
        node->claims_applied++;
        snprintf(node->note, sizeof(node->note), "%.*s", (int)entry->claim->note.len,
                 (const char *)entry->claim->note.data);
    }
    assert_true(entry->position.sequence > node->position.sequence);
    node->position = entry->position;
}

static void node_opened(struct changelog *log, uint64_t epoch)
{
    struct node *node = log->owner;
    node->opened++;
    node->opened_epoch = epoch;
    node->opened_ms = node->world->now_ms;
    node->home = true;
}

static void node_committed(struct changelog *log, uint64_t cookie,
                           const struct changelog_position *position)
{
    struct node *node = log->owner;
    CHECK(node->committed_count < WORLD_BATCHES);
    node->committed[node->committed_count++] = cookie;
    assert_true(position->sequence > node->position.sequence);
    node->position = *position;
}

static void node_deposed(struct changelog *log)
{
    struct node *node = log->owner;
    node->deposed++;
    node->home = false;
}

static void node_released(struct changelog *log)
{
    struct node *node = log->owner;
    node->released++;
    node->home = false;
}

static void node_behind(struct changelog *log, uint64_t first)
{
    struct node *node = log->owner;
    node->behind++;
    node->behind_first = first;
}

static void node_broken(struct changelog *log, const char *why)
{
    struct node *node = log->owner;
    node->broken++;
    node->home = false;
    node->why = why;
}

static void node_lease_changed(struct changelog *log, bool fresh)
{
    struct node *node = log->owner;
    node->lease_changes++;
    assert_int_equal(fresh, changelog_lease_fresh(log, node->world->now_ms));
}

static const struct changelog_ops node_ops = {
    .apply = node_apply,
    .opened = node_opened,
    .committed = node_committed,
    .deposed = node_deposed,
    .released = node_released,
    .behind = node_behind,
    .broken = node_broken,
    .lease_changed = node_lease_changed,
};

/* ---- the world ---------------------------------------------------------------------------------
 */

static inline struct world *world_new(void)
{
    struct world *world = NEW(struct world);
    world->now_ms = 1000000;
    world->log.first = 1;
    return world;
}

static inline struct node *node_new(struct world *world, uint32_t at, const char *name)
{
    struct node *node = NEW(struct node);
    node->engine.ops = &fake_ops;
    node->world = world;
    node->log = &world->log;
    node->delay_ms = 1;
    node->record_max = 1 << 20;
    world->nodes[at] = node;
    changelog_init(&node->changelog, WORLD_GROUP, &node->engine, &node_ops, node, name, 1);
    return node;
}

static inline void node_free(struct node *node)
{
    changelog_deinit(&node->changelog);
    for (uint32_t i = 0; i < node->answer_count; i++)
        mem_free(node->answers[i].bytes);
    mem_free(node);
}

static inline void log_empty(struct fake_log *log)
{
    for (uint64_t i = 0; i < log->last; i++)
        mem_free(log->kept[i].bytes);
    *log = (struct fake_log){.first = 1};
}

static inline void world_free(struct world *world)
{
    for (int i = 0; i < WORLD_NODES; i++)
        if (world->nodes[i] != NULL)
            node_free(world->nodes[i]);
    log_empty(&world->log);
    mem_free(world);
}

/* One answer that is due reaches the node. */
static inline bool node_answer_due(struct node *node)
{
    for (uint32_t i = 0; i < node->answer_count; i++) {
        struct pending p = node->answers[i];
        if (p.due_ms > node->world->now_ms)
            continue;
        memmove(&node->answers[i], &node->answers[i + 1], (node->answer_count - i - 1) * sizeof(p));
        node->answer_count--;
        if (node->sink != NULL && !node->cut)
            node->sink->answered(node->sink, &p.answer, node->world->now_ms);
        mem_free(p.bytes);
        return true;
    }
    return false;
}

/* At no moment do two nodes have a lease; and who has one is home. */
static inline void world_check(struct world *world)
{
    int leases = 0;
    for (int i = 0; i < WORLD_NODES; i++)
        if (world->nodes[i] != NULL &&
            changelog_lease_fresh(&world->nodes[i]->changelog, world->now_ms))
            leases++;
    assert_true(leases <= 1);
}

static inline void world_step(struct world *world)
{
    for (int i = 0; i < WORLD_NODES; i++) {
        struct node *node = world->nodes[i];
        if (node == NULL)
            continue;
        while (node_answer_due(node))
            world_check(world);
        if (changelog_deadline_ms(&node->changelog) <= world->now_ms)
            changelog_turn(&node->changelog, world->now_ms);
        world_check(world);
    }
}

static inline void world_advance(struct world *world, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        world_step(world);
        world->now_ms++;
    }
    world_step(world);
}

static inline void claim(struct node *node)
{
    changelog_claim(&node->changelog, bytes_of_str(""), node->world->now_ms);
}

static inline void follow(struct node *node)
{
    changelog_follow(&node->changelog, node->world->now_ms);
}

/* `text` stays the caller's until it is committed. */
static inline enum rc append(struct node *node, const char *text, uint64_t cookie)
{
    return changelog_append_fenced(&node->changelog, bytes_of_str(text), cookie,
                                   node->world->now_ms);
}

static inline bool fresh(const struct node *node)
{
    return changelog_lease_fresh(&node->changelog, node->world->now_ms);
}

#endif

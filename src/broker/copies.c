/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/copies.h"

#include "base/check.h"
#include "base/fault.h"
#include "base/log.h"
#include "broker/group_retained.h"
#include "broker/node.h"
#include "broker/position.h"
#include "link/copy.h"
#include "store/batch.h"
#include "store/image.h"
#include "store/record.h"

_Static_assert((int)COPIES_GROUPS == HOMES_GROUPS && (int)COPY_POSITION_MAX == STORE_POSITION_MAX,
               "cluster/ and link/ know neither homes nor the store");

static struct metrics_shard *metrics_of(struct broker *broker)
{
    return metrics_shard_get(&broker->metrics, broker->worker_count + 3);
}

static struct bytes cluster_id(void *owner, uint32_t *shards)
{
    struct broker *broker = owner;
    struct homes_news news;

    homes_news(broker->homes, &news);
    memcpy(broker->copies_id, news.id, sizeof(broker->copies_id));
    *shards = broker->config->shards;
    return bytes_of_str(broker->copies_id);
}

/* ---- giving ------------------------------------------------------------------------------------
 */

static enum rc image_open(void *owner, uint32_t group, void **image, uint8_t *position,
                          uint32_t *position_len)
{
    struct broker *broker = owner;
    struct store_image *opened;
    struct store_position stored;
    struct homes_news news;

    homes_news(broker->homes, &news);
    if (news.groups[group].part != HOMES_FOLLOWS && news.groups[group].part != HOMES_IS_HOME)
        return RC_NOT_FOUND;
    enum rc rc = store_image_open(broker->store, group, &opened, &stored);
    if (rc != RC_OK)
        return rc;
    memcpy(position, stored.bytes, stored.len);
    *position_len = stored.len;
    *image = opened;
    metric_inc(metrics_of(broker), METRIC_COPIES_GIVEN);
    return RC_OK;
}

static enum rc image_next(void *owner, void *image, struct bytes *chunk)
{
    struct broker *broker = owner;
    enum rc rc = store_image_next(image, chunk);

    if (rc == RC_OK)
        metric_add(metrics_of(broker), METRIC_COPIES_BYTES_GIVEN, chunk->len);
    return rc;
}

static void image_close(void *owner, void *image)
{
    (void)owner;
    store_image_close(image);
}

/* ---- taking ------------------------------------------------------------------------------------
 */

static bool decode(struct bytes position, struct changelog_position *out)
{
    struct store_position stored = {.len = (uint32_t)position.len};

    memcpy(stored.bytes, position.data, position.len);
    return position_decode(&stored, out) && out->sequence > 0;
}

/* What the store has of them is about to go. */
static void clear_retained(struct broker *broker, uint32_t group)
{
    struct store_image *image;
    struct batch_change change;
    struct record_key key;
    struct bytes chunk;

    if (store_image_open_family(broker->store, group, STORE_RETAINED, &image) != RC_OK)
        return;
    while (store_image_next(image, &chunk) == RC_OK) {
        struct bytes rest = bytes_of(chunk.data + BATCH_HEADER, chunk.len - BATCH_HEADER);
        while (batch_change_next(&rest, &change))
            if (record_key_parse(change.key, &key))
                retained_clear(&broker->retained, key.text);
    }
    store_image_close(image);
}

static bool copy_begin(void *owner, uint32_t group, uint64_t token, struct bytes position)
{
    struct broker *broker = owner;
    struct changelog_position decoded;

    if (!decode(position, &decoded))
        return false;
    LOG(LOG_INFO, "group.copying", log_uint("group", group),
        log_uint("sequence", decoded.sequence));
    homes_copying(broker->homes, group, &decoded);
    clear_retained(broker, group);
    store_replica_copy(broker->store, group, token);
    return true;
}

static bool copy_chunk(void *owner, uint32_t group, uint64_t token, struct bytes records,
                       uint32_t *count)
{
    struct broker *broker = owner;

    if (!store_image_fits(records, group, HOMES_GROUPS, broker->config->shards, count))
        return false;
    fault_point("group.copy");
    (void)group_retained_apply(broker, records);
    store_replica_copy_chunk(broker->store, group, token, records);
    metric_add(metrics_of(broker), METRIC_COPIES_BYTES_TAKEN, records.len);
    return true;
}

static void copy_end(void *owner, uint32_t group, uint64_t token, struct bytes position)
{
    struct broker *broker = owner;
    struct store_position stored = {.len = (uint32_t)position.len};

    memcpy(stored.bytes, position.data, position.len);
    store_replica_copied(broker->store, group, token, &stored);
}

static void copy_done(void *owner, uint32_t group, struct bytes position)
{
    struct broker *broker = owner;
    struct changelog_position decoded;

    CHECK(decode(position, &decoded));
    LOG(LOG_INFO, "group.copied", log_uint("group", group), log_uint("sequence", decoded.sequence));
    metric_inc(metrics_of(broker), METRIC_COPIES_TAKEN);
    homes_position_set(broker->homes, group, &decoded);
}

static void copy_failed(void *owner, uint32_t group, const char *node, const char *why)
{
    struct broker *broker = owner;

    LOG(LOG_WARN, "group.copy_failed", log_uint("group", group), log_text("node", node),
        log_text("reason", why), log_text("meaning", "another one is asked for"));
    metric_inc(metrics_of(broker), METRIC_COPIES_FAILED);
    homes_copying(broker->homes, group, NULL);
}

const struct copies_ops broker_copies_ops = {
    .cluster = cluster_id,
    .open = image_open,
    .next = image_next,
    .close = image_close,
    .begin = copy_begin,
    .chunk = copy_chunk,
    .end = copy_end,
    .done = copy_done,
    .failed = copy_failed,
};

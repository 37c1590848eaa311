/* SPDX-License-Identifier: Apache-2.0 */
#include "store/image.h"

#include "base/memory.h"
#include "store/inside.h"
#include "store/record.h"

struct store_image {
    struct list link; /* in store->images */
    struct store *store;
    uint32_t group, shard;       /* of these shards the one that is read now */
    int family, first, last;     /* and of that the family, of these */
    struct engine_view *view;    /* NULL: the engine was closed underneath */
    struct engine_cursor *range; /* of both; NULL: not begun */
    struct batch batch;
    uint8_t *bytes;
    size_t room;
};

/* ---- opening and closing -----------------------------------------------------------------------
 */

/* What holds on to the engine. Nobody reads meanwhile. */
static void let_go(struct store_image *image)
{
    if (image->range != NULL)
        engine_cursor_close(image->range);
    if (image->view != NULL)
        engine_view_drop(image->view);
    image->range = NULL;
    image->view = NULL;
}

static enum rc read_position(const struct store_image *image, struct store_position *out)
{
    struct store_key key = record_key_position(image->group);
    void *value;
    size_t len;
    enum rc rc =
        engine_view_get(image->view, STORE_STATE, bytes_of(key.head, key.head_len), &value, &len);
    if (rc != RC_OK)
        return rc;
    rc = replica_position_read(bytes_of(value, len), out);
    engine_free(value);
    if (rc == RC_AGAIN || (rc == RC_OK && out->len == 0))
        rc = RC_NOT_FOUND;
    return rc;
}

/* `position` may be NULL. */
static enum rc begin(struct store_image *image, struct store_position *position)
{
    struct store *store = image->store;
    enum rc rc = RC_IO;
    batch_init(&image->batch);
    image->shard = image->group;
    image->family = image->first;
    pthread_rwlock_rdlock(&store->engine_lock);
    pthread_mutex_lock(&store->images_lock);
    list_add_last(&store->images, &image->link);
    if (store->engine != NULL &&
        !atomic_load_explicit(&store->engine_failed, memory_order_relaxed)) {
        image->view = engine_view_take(store->engine);
        rc = position == NULL ? RC_OK : read_position(image, position);
    }
    pthread_mutex_unlock(&store->images_lock);
    pthread_rwlock_unlock(&store->engine_lock);
    return rc;
}

static enum rc image_open(const struct store_image *what, struct store_position *position,
                          struct store_image **out)
{
    struct store_image *image = NEW(struct store_image);
    *image = *what;
    enum rc rc = begin(image, position);
    if (rc == RC_OK)
        *out = image;
    else
        store_image_close(image);
    return rc;
}

enum rc store_image_open(struct store *store, uint32_t group, struct store_image **out,
                         struct store_position *position)
{
    struct store_image image = {.store = store, .group = group, .last = STORE_FAMILIES - 1};
    return image_open(&image, position, out);
}

enum rc store_image_open_family(struct store *store, uint32_t group, enum store_family family,
                                struct store_image **out)
{
    struct store_image image = {
        .store = store, .group = group, .first = (int)family, .last = (int)family};
    return image_open(&image, NULL, out);
}

void store_image_close(struct store_image *image)
{
    if (image == NULL)
        return;
    struct store *store = image->store;
    pthread_rwlock_rdlock(&store->engine_lock);
    pthread_mutex_lock(&store->images_lock);
    list_remove(&image->link);
    let_go(image);
    pthread_mutex_unlock(&store->images_lock);
    pthread_rwlock_unlock(&store->engine_lock);
    batch_deinit(&image->batch);
    mem_free(image->bytes);
    mem_free(image);
}

void store_images_let_go(struct store *store)
{
    pthread_mutex_lock(&store->images_lock);
    LIST_FOR_EACH (link, &store->images)
        let_go(CONTAINER_OF(link, struct store_image, link));
    pthread_mutex_unlock(&store->images_lock);
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* All keys of a shard, in any family. */
static void shard_range(uint32_t shard, struct store_key *from, struct store_key *until)
{
    *from = record_key(shard, RECORD_META);
    from->head_len = SHARD_PREFIX;
    *until = record_key_end(from);
}

/* The range behind the one that has been read. False: there is none. */
static bool next_range(struct store_image *image)
{
    struct store_key from, until;
    if (image->range != NULL) {
        engine_cursor_close(image->range);
        image->range = NULL;
        if (++image->family > image->last) {
            image->family = image->first;
            image->shard += image->store->group_count;
        }
    }
    if (image->shard >= image->store->shards)
        return false;
    shard_range(image->shard, &from, &until);
    image->range = engine_view_cursor(image->view, (enum store_family)image->family,
                                      bytes_of(from.head, from.head_len),
                                      bytes_of(until.head, until.head_len));
    return true;
}

static enum rc collect(struct store_image *image)
{
    while (batch_size(&image->batch) < IMAGE_CHUNK) {
        struct bytes key, value;
        enum rc rc =
            image->range == NULL ? RC_NOT_FOUND : engine_cursor_next(image->range, &key, &value);
        if (rc == RC_NOT_FOUND) {
            if (!next_range(image))
                return RC_OK;
            continue;
        }
        if (rc != RC_OK)
            return rc;
        batch_add(&image->batch, &(struct batch_record){.shard = (uint16_t)image->shard,
                                                        .operation = BATCH_PUT,
                                                        .family = (enum store_family)image->family,
                                                        .key = &key,
                                                        .key_parts = 1,
                                                        .value = &value,
                                                        .value_parts = 1});
    }
    return RC_OK;
}

enum rc store_image_next(struct store_image *image, struct bytes *chunk)
{
    struct store *store = image->store;
    batch_reset(&image->batch);
    pthread_rwlock_rdlock(&store->engine_lock);
    enum rc rc = image->view == NULL ? RC_IO : collect(image);
    pthread_rwlock_unlock(&store->engine_lock);
    if (rc != RC_OK)
        return rc;
    if (image->batch.live == 0)
        return RC_NOT_FOUND;
    size_t need = BATCH_HEADER + batch_size(&image->batch);
    if (need > image->room) {
        mem_free(image->bytes);
        image->bytes = mem_new(need);
        image->room = need;
    }
    batch_header(image->bytes, image->batch.live);
    batch_serialise(&image->batch, image->bytes + BATCH_HEADER);
    *chunk = bytes_of(image->bytes, need);
    return RC_OK;
}

/* ---- what others send --------------------------------------------------------------------------
 */

bool store_image_fits(struct bytes chunk, uint32_t group, uint32_t groups, uint32_t shards,
                      uint32_t *records)
{
    struct batch_change change;
    uint32_t count = 0;
    if (chunk.len <= BATCH_HEADER)
        return false;
    struct bytes rest = bytes_of(chunk.data + BATCH_HEADER, chunk.len - BATCH_HEADER);
    while (rest.len > 0) {
        struct record_key key;
        if (!batch_change_next(&rest, &change) || change.operation != BATCH_PUT ||
            !record_key_parse(change.key, &key) || key.shard >= shards ||
            key.shard % groups != group)
            return false;
        count++;
    }
    *records = count;
    return count == batch_header_count(chunk);
}

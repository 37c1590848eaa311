/* SPDX-License-Identifier: Apache-2.0 */
#include "store/writer.h"

#include "base/memory.h"
#include "store/logs.h"

#include <stdio.h>

enum rc writer_open(struct writer *writer, const char *dir, char error[ENGINE_ERROR_MAX])
{
    struct logs_report report;
    *writer = (struct writer){0};
    batch_init(&writer->batch);
    enum rc rc = logs_check(dir, &report, error);
    if (rc == RC_OK || rc == RC_INVALID) {
        snprintf(error, ENGINE_ERROR_MAX, "there is a store already");
        return RC_EXISTS;
    }
    if (rc != RC_NOT_FOUND)
        return rc;
    return engine_open(dir, ENGINE_CREATE, ENGINE_NORMAL, &writer->engine, error);
}

enum rc writer_flush(struct writer *writer, char error[ENGINE_ERROR_MAX])
{
    struct batch *batch = &writer->batch;
    if (batch->live == 0)
        return RC_OK;
    size_t size = BATCH_HEADER + batch_size(batch);
    uint8_t *bytes = mem_try(size);
    if (bytes == NULL)
        return RC_NO_MEMORY;
    batch_header(bytes, batch->live);
    batch_serialise(batch, bytes + BATCH_HEADER);
    enum rc rc = engine_write(writer->engine, bytes_of(bytes, size), ENGINE_BUFFERED, error);
    mem_free(bytes);
    batch_reset(batch);
    return rc;
}

static enum rc add(struct writer *writer, const struct batch_record *record,
                   char error[ENGINE_ERROR_MAX])
{
    batch_add(&writer->batch, record);
    return batch_size(&writer->batch) < WRITER_BATCH_BYTES ? RC_OK : writer_flush(writer, error);
}

enum rc writer_put(struct writer *writer, enum store_family family, struct bytes key,
                   const struct bytes *value, uint32_t parts, char error[ENGINE_ERROR_MAX])
{
    struct batch_record record = {.operation = BATCH_PUT,
                                  .family = family,
                                  .key = &key,
                                  .key_parts = 1,
                                  .value = value,
                                  .value_parts = parts};
    return add(writer, &record, error);
}

enum rc writer_delete(struct writer *writer, enum store_family family, struct bytes key,
                      char error[ENGINE_ERROR_MAX])
{
    struct batch_record record = {
        .operation = BATCH_DELETE, .family = family, .key = &key, .key_parts = 1};
    return add(writer, &record, error);
}

enum rc writer_finish(struct writer *writer, const struct meta_record *meta,
                      char error[ENGINE_ERROR_MAX])
{
    struct store_key key = record_key(SHARD_META, RECORD_META);
    struct record_value value;
    meta_record_encode(meta, &value);
    enum rc rc = writer_put(writer, STORE_STATE, bytes_of(key.head, key.head_len), value.parts,
                            value.count, error);
    if (rc == RC_OK)
        rc = writer_flush(writer, error);
    for (int family = 0; family < STORE_FAMILIES && rc == RC_OK; family++)
        rc = engine_flush(writer->engine, (enum store_family)family, error);
    return rc == RC_OK ? engine_sync(writer->engine, error) : rc;
}

void writer_close(struct writer *writer)
{
    batch_deinit(&writer->batch);
    engine_close(writer->engine);
    writer->engine = NULL;
}

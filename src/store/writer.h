/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a new store that nobody serves from yet. One thread. Limit: WRITER_BATCH_BYTES in memory.
 */
#ifndef STORE_WRITER_H
#define STORE_WRITER_H

#include "store/batch.h"
#include "store/record.h"

enum { WRITER_BATCH_BYTES = 1024 * 1024 };

struct writer {
    struct engine *engine;
    struct batch batch;
};

/* Makes the store in the folder `dir`, which must not hold one: RC_EXISTS. */
enum rc writer_open(struct writer *writer, const char *dir, char error[ENGINE_ERROR_MAX]);

enum rc writer_put(struct writer *writer, enum store_family family, struct bytes key,
                   const struct bytes *value, uint32_t parts, char error[ENGINE_ERROR_MAX]);
enum rc writer_delete(struct writer *writer, enum store_family family, struct bytes key,
                      char error[ENGINE_ERROR_MAX]);

/* Writes what is waiting, so that it can be read. */
enum rc writer_flush(struct writer *writer, char error[ENGINE_ERROR_MAX]);

/* Writes the record of the format and brings everything to the disk. Then, or without it:
 * writer_close(). */
enum rc writer_finish(struct writer *writer, const struct meta_record *meta,
                      char error[ENGINE_ERROR_MAX]);
void writer_close(struct writer *writer);

#endif

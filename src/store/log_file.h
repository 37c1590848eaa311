/* SPDX-License-Identifier: Apache-2.0 */
/* Inside store/: how the engine's logs are read, for those who check and who mend them. */
#ifndef STORE_LOG_FILE_H
#define STORE_LOG_FILE_H

#include "store/engine.h"

enum {
    LOG_BLOCK = 32 * 1024,
    LOG_FRAGMENT_HEAD = 7,
    LOG_FILES_MAX = 4096,
    LOG_BATCH_SEQUENCE = 8, /* bytes of the sequence number that a record begins with */
    LOG_BATCH_HEAD = 12,    /* and of the count behind it */
};

enum log_fragment_type { LOG_WHOLE = 1, LOG_FIRST = 2, LOG_MIDDLE = 3, LOG_LAST = 4 };

static inline uint64_t log_get_le(const uint8_t *from, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

/* Gives the file's bytes until log_file_unmap(). RC_NOT_FOUND, RC_IO. */
enum rc log_file_map(const char *dir, const char *name, struct bytes *out,
                     char error[ENGINE_ERROR_MAX]);
enum rc log_file_map_path(const char *path, struct bytes *out, char error[ENGINE_ERROR_MAX]);
void log_file_unmap(struct bytes file);

/* What is done with the beginning of each record. False: it makes no sense there. */
struct log_reader {
    bool (*record)(struct log_reader *reader, struct bytes head);
    /* Whether a record that begins like this may stand behind what has been read. */
    bool (*may_follow)(const struct log_reader *reader, struct bytes head);
    /* Whether one behind a bad place says that this had been synced. NULL: any one does. */
    bool (*proves)(const struct log_reader *reader, struct bytes head);
    uint64_t next;  /* sequence number that has to come; 0: any */
    uint64_t first; /* that came first; 0: none has */
    uint64_t last;  /* manifest: the highest that it names */
    uint64_t records;
};

struct log_fragment {
    enum log_fragment_type type;
    struct bytes bytes;
};

/* False: none can stand there. Its checksum is not compared. */
bool log_fragment_at(struct bytes file, size_t at, struct log_fragment *out);
bool log_fragment_sound(const struct log_fragment *fragment);

/* Reads all records. Gives the place behind the last one that is whole. RC_INVALID: damaged. */
enum rc log_file_read(struct log_reader *reader, struct bytes file, size_t *end);

/* Whether there is nothing from a place on: room that was reserved. */
bool log_file_only_zeros(struct bytes file, size_t at);

/* ---- write-ahead logs --------------------------------------------------------------------------
 */

/* For struct log_reader: the numbers of changes have no gap. */
bool log_batch_record(struct log_reader *reader, struct bytes head);
bool log_batch_may_follow(const struct log_reader *reader, struct bytes head);

/* The numbers of all write-ahead logs of a folder, in order; gives how many. */
uint32_t log_files_list(const char *dir, uint64_t numbers[LOG_FILES_MAX]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log consists of blocks of 32 KiB, and a record of one or more fragments that do not cross
 * blocks:
 *
 *      checksum (4), length (2), type (1), bytes      type: whole, first, middle, last
 *
 * A record of a write-ahead log begins with its sequence number (8) and count (4), so that what is
 * missing shows.
 */
#include "store/log_file.h"

#include "base/crc32c.h"
#include "store/logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD_HEAD_MAX = 256 }; /* bytes of a record that are looked at */

/* ---- files -------------------------------------------------------------------------------------
 */

enum rc log_file_map_path(const char *path, struct bytes *out, char error[ENGINE_ERROR_MAX])
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *out = bytes_of(NULL, 0);
    if (fd < 0 || fstat(fd, &status) != 0) {
        snprintf(error, ENGINE_ERROR_MAX, "%.300s: %s", path, strerror(errno));
        enum rc rc = errno == ENOENT ? RC_NOT_FOUND : RC_IO;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    if (status.st_size > 0) {
        void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data != MAP_FAILED)
            *out = bytes_of(data, (size_t)status.st_size);
    }
    close(fd);
    if (status.st_size > 0 && out->data == NULL) {
        snprintf(error, ENGINE_ERROR_MAX, "%.300s: %s", path, strerror(errno));
        return RC_IO;
    }
    return RC_OK;
}

enum rc log_file_map(const char *dir, const char *name, struct bytes *out,
                     char error[ENGINE_ERROR_MAX])
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    enum rc rc = log_file_map_path(path, out, error);
    if (rc != RC_OK)
        snprintf(error, ENGINE_ERROR_MAX, "%.300s: %s", name, strerror(errno));
    return rc;
}

void log_file_unmap(struct bytes file)
{
    if (file.data != NULL)
        munmap((void *)(uintptr_t)file.data, file.len);
}

/* ---- one log -----------------------------------------------------------------------------------
 */

bool log_fragment_at(struct bytes file, size_t at, struct log_fragment *out)
{
    size_t room = LOG_BLOCK - at % LOG_BLOCK;
    if (room < LOG_FRAGMENT_HEAD || at + LOG_FRAGMENT_HEAD > file.len)
        return false;
    const uint8_t *head = file.data + at;
    size_t len = log_get_le(head + 4, 2);
    if (head[6] < LOG_WHOLE || head[6] > LOG_LAST || LOG_FRAGMENT_HEAD + len > room ||
        at + LOG_FRAGMENT_HEAD + len > file.len)
        return false;
    *out = (struct log_fragment){.type = (enum log_fragment_type)head[6],
                                 .bytes = bytes_of(head + LOG_FRAGMENT_HEAD, len)};
    return true;
}

bool log_fragment_sound(const struct log_fragment *fragment)
{
    const uint8_t *from = fragment->bytes.data - 1; /* its type is in the sum */
    uint32_t sum = crc32c(0, bytes_of(from, fragment->bytes.len + 1));
    return crc32c_masked(sum) == log_get_le(fragment->bytes.data - LOG_FRAGMENT_HEAD, 4);
}

/* Whether a record begins anywhere behind `at`. */
static bool record_behind(const struct log_reader *reader, struct bytes file, size_t at)
{
    struct log_fragment fragment;
    for (at++; at + LOG_FRAGMENT_HEAD < file.len; at++)
        if (log_fragment_at(file, at, &fragment) && fragment.type <= LOG_FIRST &&
            reader->may_follow(reader, fragment.bytes) && log_fragment_sound(&fragment) &&
            (reader->proves == NULL || reader->proves(reader, fragment.bytes)))
            return true;
    return false;
}

bool log_file_only_zeros(struct bytes file, size_t at)
{
    while (at < file.len && file.data[at] == 0)
        at++;
    return at == file.len;
}

struct record_head {
    uint8_t bytes[RECORD_HEAD_MAX];
    size_t len;
    bool open; /* its last fragment has not come */
};

/* False: the fragment does not continue what came before. */
static bool head_add(struct record_head *head, const struct log_fragment *fragment)
{
    bool begins = fragment->type <= LOG_FIRST;
    if (begins == head->open)
        return false;
    if (begins)
        head->len = 0;
    size_t take = fragment->bytes.len;
    if (take > RECORD_HEAD_MAX - head->len)
        take = RECORD_HEAD_MAX - head->len;
    memcpy(head->bytes + head->len, fragment->bytes.data, take);
    head->len += take;
    head->open = fragment->type == LOG_FIRST || fragment->type == LOG_MIDDLE;
    return true;
}

enum rc log_file_read(struct log_reader *reader, struct bytes file, size_t *end)
{
    struct record_head head = {.open = false};
    struct log_fragment fragment;
    size_t at = 0;
    *end = 0;
    while (at < file.len) {
        size_t room = LOG_BLOCK - at % LOG_BLOCK;
        if (room < LOG_FRAGMENT_HEAD && at + room <= file.len) {
            at += room;
            continue;
        }
        if (!log_fragment_at(file, at, &fragment) || !log_fragment_sound(&fragment) ||
            !head_add(&head, &fragment))
            return record_behind(reader, file, at) ? RC_INVALID : RC_OK;
        at += LOG_FRAGMENT_HEAD + fragment.bytes.len;
        if (head.open)
            continue;
        if (!reader->record(reader, bytes_of(head.bytes, head.len)))
            return RC_INVALID;
        reader->records++;
        *end = at;
    }
    return RC_OK;
}

/* ---- write-ahead logs --------------------------------------------------------------------------
 */

bool log_batch_record(struct log_reader *reader, struct bytes head)
{
    if (head.len < LOG_BATCH_HEAD)
        return false;
    uint64_t sequence = log_get_le(head.data, LOG_BATCH_SEQUENCE);
    if (reader->next != 0 && sequence > reader->next)
        return false; /* some are missing */
    if (reader->first == 0)
        reader->first = sequence;
    reader->next = sequence + log_get_le(head.data + LOG_BATCH_SEQUENCE, 4);
    return true;
}

bool log_batch_may_follow(const struct log_reader *reader, struct bytes head)
{
    if (head.len < LOG_BATCH_HEAD)
        return true;
    uint64_t sequence = log_get_le(head.data, LOG_BATCH_SEQUENCE);
    return sequence >= reader->next && sequence - reader->next < 1ULL << 32;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

uint32_t log_files_list(const char *dir, uint64_t numbers[LOG_FILES_MAX])
{
    uint32_t count = 0;
    DIR *folder = opendir(dir);
    if (folder == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && count < LOG_FILES_MAX;) {
        char *end;
        uint64_t number = strtoull(entry->d_name, &end, 10);
        if (end != entry->d_name && strcmp(end, ".log") == 0)
            numbers[count++] = number;
    }
    closedir(folder);
    qsort(numbers, count, sizeof(numbers[0]), by_number);
    return count;
}

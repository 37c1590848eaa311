/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blob file is a head of 30 bytes (magic 4, version 4, family 4, and what does not matter here),
 * then records: lengths of key and value (8 each), expiration 8, checksum of that 4, checksum of
 * key and value 4, key, value; at the end a foot of 32 bytes that begins with the magic again.
 */
#include "store/blob.h"

#include "base/crc32c.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_HEAD = 30, FILE_FOOT = 32, RECORD_HEAD = 32, SUMMED_HEAD = 24, KEY_MAX = 128 * 1024 };

static const uint32_t magic = 2395959;

static uint64_t get_le(const uint8_t *from, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

/* Whether a record stands there; its lengths are then good too. */
static bool record_at(struct bytes file, size_t at, struct bytes *key, struct bytes *value)
{
    const uint8_t *head = file.data + at;
    if (at + RECORD_HEAD > file.len ||
        crc32c_masked(crc32c(0, bytes_of(head, SUMMED_HEAD))) != get_le(head + SUMMED_HEAD, 4))
        return false;
    uint64_t key_len = get_le(head, 8), value_len = get_le(head + 8, 8);
    if (key_len > KEY_MAX || value_len > file.len - at ||
        key_len + value_len > file.len - at - RECORD_HEAD)
        return false;
    *key = bytes_of(head + RECORD_HEAD, key_len);
    *value = bytes_of(head + RECORD_HEAD + key_len, value_len);
    return true;
}

static bool record_sound(struct bytes file, size_t at, struct bytes key, struct bytes value)
{
    uint32_t sum = crc32c(crc32c(0, key), value);
    return crc32c_masked(sum) == get_le(file.data + at + SUMMED_HEAD + 4, 4);
}

static enum rc walk_file(struct bytes file, const char *name, struct blob_walk *walk)
{
    struct bytes key, value;
    enum rc rc = RC_OK;
    if (file.len < FILE_HEAD || get_le(file.data, 4) != magic ||
        get_le(file.data + 8, 4) >= STORE_FAMILIES) {
        walk->damaged(walk, name, 0);
        return RC_OK;
    }
    enum store_family family = (enum store_family)get_le(file.data + 8, 4);
    bool good = true;
    if (file.len >= FILE_HEAD + FILE_FOOT && get_le(file.data + file.len - FILE_FOOT, 4) == magic)
        file.len -= FILE_FOOT;
    for (size_t at = FILE_HEAD; at + RECORD_HEAD <= file.len && rc == RC_OK;) {
        bool here = record_at(file, at, &key, &value);
        if (here && record_sound(file, at, key, value))
            rc = walk->record(walk, family, key, value);
        else if (good)
            walk->damaged(walk, name, at);
        good = here;
        at += here ? RECORD_HEAD + key.len + value.len : 1;
    }
    return rc;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

static size_t list(const char *dir, uint64_t **out)
{
    size_t count = 0, room = 0;
    DIR *folder = opendir(dir);
    *out = NULL;
    if (folder == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char *end;
        uint64_t number = strtoull(entry->d_name, &end, 10);
        if (end == entry->d_name || strcmp(end, ".blob") != 0)
            continue;
        if (count == room) {
            room = room == 0 ? 64 : room * 2;
            *out = mem_resize(*out, room * sizeof(**out));
        }
        (*out)[count++] = number;
    }
    closedir(folder);
    if (count > 0)
        qsort(*out, count, sizeof(**out), by_number);
    return count;
}

enum rc blob_walk(const char *dir, struct blob_walk *walk, char error[ENGINE_ERROR_MAX])
{
    uint64_t *numbers;
    size_t count = list(dir, &numbers);
    enum rc rc = RC_OK;
    for (size_t i = 0; i < count && rc == RC_OK; i++) {
        char name[64], path[4096 + 64];
        struct stat status;
        snprintf(name, sizeof(name), "%06llu.blob", (unsigned long long)numbers[i]);
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        void *data = MAP_FAILED;
        if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size > 0)
            data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            walk->damaged(walk, name, 0);
        } else {
            rc = walk_file(bytes_of(data, (size_t)status.st_size), name, walk);
            munmap(data, (size_t)status.st_size);
        }
        if (fd >= 0)
            close(fd);
    }
    mem_free(numbers);
    if (rc != RC_OK)
        snprintf(error, ENGINE_ERROR_MAX, "what was found cannot be written");
    return rc;
}

/* ---- one value ---------------------------------------------------------------------------------
 */

static bool get_varint(struct bytes *rest, uint64_t *out)
{
    *out = 0;
    for (uint32_t shift = 0; shift < 64 && rest->len > 0; shift += 7) {
        uint8_t byte = rest->data[0];
        *rest = bytes_of(rest->data + 1, rest->len - 1);
        *out |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

/* An index: 1, then number of the file, place of the value and its length as varints, and 0. */
enum rc blob_read(const char *dir, struct bytes key, struct bytes index, uint8_t **value,
                  size_t *len)
{
    uint64_t number, place, size;
    char path[4096 + 64];
    if (index.len < 2 || index.data[0] != 1)
        return RC_INVALID;
    struct bytes rest = bytes_of(index.data + 1, index.len - 1), found, body;
    if (!get_varint(&rest, &number) || !get_varint(&rest, &place) || !get_varint(&rest, &size) ||
        size > UINT32_MAX || place < RECORD_HEAD + key.len)
        return RC_INVALID;
    snprintf(path, sizeof(path), "%s/%06llu.blob", dir, (unsigned long long)number);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return RC_INVALID;
    size_t whole = RECORD_HEAD + key.len + size;
    uint8_t *record = mem_try(whole);
    bool good = record != NULL &&
                pread(fd, record, whole, (off_t)(place - key.len - RECORD_HEAD)) == (ssize_t)whole;
    close(fd);
    struct bytes file = bytes_of(record, good ? whole : 0);
    good = good && record_at(file, 0, &found, &body) && bytes_equal(found, key) &&
           body.len == size && record_sound(file, 0, found, body);
    if (!good) {
        mem_free(record);
        return RC_INVALID;
    }
    memmove(record, body.data, size);
    *value = record;
    *len = size;
    return RC_OK;
}

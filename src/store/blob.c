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

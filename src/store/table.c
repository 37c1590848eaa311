/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block, not compressed, as engine.c has them written:
 *
 *      entries: bytes shared with the key before, bytes that are not, bytes of the value (varints),
 *               those bytes of the key, value
 *      places of every 16th entry (4 each), their count (4)
 *      0 (1), checksum (4)
 *
 * A key ends with 8 bytes: its kind (1), its sequence number (7).
 */
#include "store/table.h"

#include "base/memory.h"
#include "store/log_file.h"

#include <stdio.h>
#include <xxhash.h>

enum {
    RESTART_EVERY = 16,
    TRAILER = 5,
    KEY_FOOT = 8,
    KEY_MIN = KEY_FOOT + 3,
    KEY_MAX = 128 * 1024
};
enum { KIND_DELETED = 0x0, KIND_VALUE = 0x1, KIND_DELETED_ONCE = 0x7, KIND_BLOB = 0x11 };

struct entry {
    uint32_t shared;
    struct bytes key; /* what it does not share */
    struct bytes value;
};

static bool get_varint(struct bytes *rest, uint32_t *out)
{
    *out = 0;
    for (uint32_t shift = 0; shift < 35 && rest->len > 0; shift += 7) {
        uint8_t byte = rest->data[0];
        *rest = bytes_of(rest->data + 1, rest->len - 1);
        *out |= (uint32_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static struct bytes take(struct bytes *rest, size_t len)
{
    struct bytes taken = bytes_of(rest->data, len);
    *rest = bytes_of(rest->data + len, rest->len - len);
    return taken;
}

/* Takes an entry off the front. `before`: length of the key before it. */
static bool get_entry(struct bytes *rest, size_t before, struct entry *out)
{
    uint32_t key_len, value_len;
    if (!get_varint(rest, &out->shared) || !get_varint(rest, &key_len) ||
        !get_varint(rest, &value_len) || out->shared > before || key_len > rest->len ||
        value_len > rest->len - key_len || out->shared + key_len < KEY_MIN ||
        out->shared + key_len > KEY_MAX)
        return false;
    out->key = take(rest, key_len);
    out->value = take(rest, value_len);
    return true;
}

/* Whether a block of so many entries ends with `rest`, whose first bytes are its places. */
static bool ends(struct bytes block, struct bytes rest, uint32_t entries)
{
    uint32_t places = (entries + RESTART_EVERY - 1) / RESTART_EVERY;
    size_t len = (size_t)places * 4 + 4;
    if (rest.len < len + TRAILER || log_get_le(rest.data, 4) != 0 ||
        log_get_le(rest.data + len - 4, 4) != places || rest.data[len] != 0)
        return false;
    size_t whole = (size_t)(rest.data - block.data) + len;
    return (uint32_t)XXH3_64bits(block.data, whole) == log_get_le(rest.data + len + 1, 4);
}

/* Entries of the block that begins there; 0: none does. *len: with its trailer. */
static uint32_t block_at(struct bytes file, size_t at, size_t *len)
{
    struct bytes block = bytes_of(file.data + at, file.len - at), rest = block;
    struct entry entry;
    size_t key_len = 0;
    for (uint32_t entries = 0; get_entry(&rest, key_len, &entry);) {
        if (entries % RESTART_EVERY == 0 && entry.shared != 0)
            return 0;
        key_len = entry.shared + entry.key.len;
        if (!ends(block, rest, ++entries))
            continue;
        *len = (size_t)(rest.data - block.data) +
               (entries + RESTART_EVERY - 1) / RESTART_EVERY * 4 + 4 + TRAILER;
        return entries;
    }
    return 0;
}

struct reading {
    struct table_walk *walk;
    uint8_t *key, *last; /* KEY_MAX each; the last that was given, without its foot */
    size_t key_len, last_len;
};

static enum rc give(struct reading *reading, struct bytes value)
{
    struct bytes key = bytes_of(reading->key, reading->key_len - KEY_FOOT);
    struct table_walk *walk = reading->walk;
    if (bytes_equal(key, bytes_of(reading->last, reading->last_len)))
        return RC_OK; /* an older one */
    memcpy(reading->last, key.data, key.len);
    reading->last_len = key.len;
    switch (reading->key[key.len]) {
    case KIND_DELETED:
    case KIND_DELETED_ONCE:
        return walk->record(walk, TABLE_DELETED, key, bytes_of("", 0));
    case KIND_VALUE:
        return walk->record(walk, TABLE_VALUE, key, value);
    case KIND_BLOB:
        return walk->record(walk, TABLE_BLOB, key, value);
    default:
        return RC_OK; /* of the table's own, not a record */
    }
}

static enum rc give_block(struct reading *reading, struct bytes rest, uint32_t entries)
{
    struct entry entry;
    enum rc rc = RC_OK;
    reading->key_len = 0;
    while (entries-- > 0 && rc == RC_OK && get_entry(&rest, reading->key_len, &entry)) {
        memcpy(reading->key + entry.shared, entry.key.data, entry.key.len);
        reading->key_len = entry.shared + entry.key.len;
        rc = give(reading, entry.value);
    }
    return rc;
}

enum rc table_walk(const char *path, struct table_walk *walk, char error[ENGINE_ERROR_MAX])
{
    struct bytes file;
    enum rc rc = log_file_map_path(path, &file, error);
    if (rc != RC_OK)
        return RC_IO;
    struct reading reading = {.walk = walk, .key = mem_new(KEY_MAX), .last = mem_new(KEY_MAX)};
    for (size_t at = 0, len; at < file.len && rc == RC_OK; at += len) {
        uint32_t entries = file.data[at] == 0 ? block_at(file, at, &len) : 0;
        if (entries == 0)
            len = 1; /* damaged, or no block of records: the next one is looked for */
        else
            rc = give_block(&reading, bytes_of(file.data + at, file.len - at), entries);
    }
    mem_free(reading.key);
    mem_free(reading.last);
    log_file_unmap(file);
    return rc;
}

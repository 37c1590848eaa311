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

enum block_state { BLOCK_NONE, BLOCK_ALTERED, BLOCK_SOUND };

/* Whether a block of so many entries ends with `rest`, whose first bytes are its places. */
static enum block_state ends(struct bytes block, struct bytes rest, uint32_t entries)
{
    uint32_t places = (entries + RESTART_EVERY - 1) / RESTART_EVERY;
    size_t len = (size_t)places * 4 + 4;
    if (rest.len < len + TRAILER || log_get_le(rest.data, 4) != 0 ||
        log_get_le(rest.data + len - 4, 4) != places || rest.data[len] != 0)
        return BLOCK_NONE;
    size_t whole = (size_t)(rest.data - block.data) + len;
    return (uint32_t)XXH3_64bits(block.data, whole) == log_get_le(rest.data + len + 1, 4)
               ? BLOCK_SOUND
               : BLOCK_ALTERED;
}

struct block {
    enum block_state state;
    uint32_t entries;
    size_t len; /* with its trailer */
};

static struct block block_at(struct bytes file, size_t at)
{
    struct bytes bytes = bytes_of(file.data + at, file.len - at), rest = bytes;
    struct block block = {.state = BLOCK_NONE};
    struct entry entry;
    size_t key_len = 0;
    while (block.state == BLOCK_NONE && get_entry(&rest, key_len, &entry)) {
        if (block.entries % RESTART_EVERY == 0 && entry.shared != 0)
            break;
        key_len = entry.shared + entry.key.len;
        block.state = ends(bytes, rest, ++block.entries);
    }
    uint32_t places = (block.entries + RESTART_EVERY - 1) / RESTART_EVERY;
    block.len = (size_t)(rest.data - bytes.data) + (size_t)places * 4 + 4 + TRAILER;
    return block;
}

struct reading {
    struct table_walk *walk;
    uint8_t *key; /* KEY_MAX */
    size_t key_len;
    uint64_t records;
};

static enum rc give(struct reading *reading, struct bytes value, bool sound)
{
    const uint8_t *foot = reading->key + reading->key_len - KEY_FOOT;
    struct table_record record = {
        .sound = sound,
        .sequence = log_get_le(foot + 1, KEY_FOOT - 1),
        .key = bytes_of(reading->key, reading->key_len - KEY_FOOT),
        .value = value,
    };
    switch (foot[0]) {
    case KIND_DELETED:
    case KIND_DELETED_ONCE:
        record.kind = TABLE_DELETED;
        break;
    case KIND_VALUE:
        record.kind = TABLE_VALUE;
        break;
    case KIND_BLOB:
        record.kind = TABLE_BLOB;
        break;
    default:
        return RC_OK; /* of the table's own, not a record */
    }
    reading->records++;
    return reading->walk->record(reading->walk, &record);
}

static enum rc give_block(struct reading *reading, struct bytes rest, const struct block *block)
{
    struct entry entry;
    enum rc rc = RC_OK;
    reading->key_len = 0;
    for (uint32_t i = 0; i < block->entries && rc == RC_OK; i++) {
        if (!get_entry(&rest, reading->key_len, &entry))
            break;
        memcpy(reading->key + entry.shared, entry.key.data, entry.key.len);
        reading->key_len = entry.shared + entry.key.len;
        rc = give(reading, entry.value, block->state == BLOCK_SOUND);
    }
    return rc;
}

static bool has_end(struct bytes file)
{
    static const uint8_t magic[] = {0xf7, 0xcf, 0xf4, 0x85, 0xb7, 0x41, 0xe2, 0x88};
    return file.len > sizeof(magic) &&
           memcmp(file.data + file.len - sizeof(magic), magic, sizeof(magic)) == 0;
}

enum rc table_walk(const char *path, struct table_walk *walk, char error[ENGINE_ERROR_MAX])
{
    struct bytes file;
    enum rc rc = log_file_map_path(path, &file, error);
    if (rc != RC_OK)
        return RC_IO;
    struct reading reading = {.walk = walk, .key = mem_new(KEY_MAX)};
    bool in_step = true; /* a block ended here; else the next one is looked for */
    walk->holes = !has_end(file);
    for (size_t at = 0; at < file.len && rc == RC_OK;) {
        struct block block = {.state = BLOCK_NONE};
        if (file.data[at] == 0)
            block = block_at(file, at);
        if (block.state == BLOCK_SOUND || (block.state == BLOCK_ALTERED && in_step)) {
            uint64_t before = reading.records;
            rc = give_block(&reading, bytes_of(file.data + at, file.len - at), &block);
            if (reading.records > before) /* else a block of the table's own, behind its index */
                walk->holes |= !in_step || block.state == BLOCK_ALTERED;
            at += block.len;
            in_step = true;
        } else {
            in_step = false;
            at++;
        }
    }
    mem_free(reading.key);
    log_file_unmap(file);
    return rc;
}

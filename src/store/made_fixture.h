/* SPDX-License-Identifier: Apache-2.0 */
/* A store that is made record by record in DIR/store, and damaged in place. */
#ifndef MADE_FIXTURE_H
#define MADE_FIXTURE_H

#include "store/record.h"
#include "store/store_fixture.h"
#include "store/writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { PATH_ROOM = DIR_ROOM + 300, MADE_SHARDS = 4, TEXT_ROOM = 32 };

struct made {
    char dir[DIR_ROOM], store[DIR_ROOM + 16];
    struct writer writer;
};

static inline int made_set_up(void **state)
{
    char error[ENGINE_ERROR_MAX] = "";
    struct made *m = calloc(1, sizeof(*m));
    assert_non_null(m);
    folder_new(m->dir);
    snprintf(m->store, sizeof(m->store), "%s/store", m->dir);
    assert_int_equal(writer_open(&m->writer, m->store, error), RC_OK);
    *state = m;
    return 0;
}

static inline int made_tear_down(void **state)
{
    struct made *m = *state;
    writer_close(&m->writer);
    folder_remove(m->dir);
    free(m);
    return 0;
}

/* ---- records -------------------------------------------------------------------------------- */

static inline void made_put(struct made *m, enum store_family family, const struct store_key *key,
                            const struct record_value *value)
{
    char error[ENGINE_ERROR_MAX];
    uint8_t whole[128];
    assert_true(key->head_len + key->tail.len <= sizeof(whole));
    memcpy(whole, key->head, key->head_len);
    if (key->tail.len > 0)
        memcpy(whole + key->head_len, key->tail.data, key->tail.len);
    assert_int_equal(writer_put(&m->writer, family, bytes_of(whole, key->head_len + key->tail.len),
                                value->parts, value->count, error),
                     RC_OK);
}

static inline void made_session(struct made *m, uint32_t shard, uint64_t number,
                                const char *client_id)
{
    struct session_record session = {.client_id = bytes_of_str(client_id), .expiry_s = 1000};
    struct store_key key = record_key_of(shard, RECORD_SESSION, number);
    struct record_value value;
    session_record_encode(&session, &value);
    made_put(m, STORE_STATE, &key, &value);
}

static inline void made_queued(struct made *m, uint32_t shard, uint64_t session, uint64_t sequence)
{
    const struct record_clock clock = {1, 1};
    struct publication p = {
        .topic = bytes_of_str("a/b"), .payload = bytes_of_str("payload"), .qos = 1};
    struct queue_record record = {.kind = QUEUE_RECORD_MESSAGE, .qos = 1, .size = 100};
    struct store_key key = record_key_queued(shard, session, sequence);
    struct record_value value;
    queue_record_encode(&record, &p, &clock, &value);
    made_put(m, STORE_QUEUE, &key, &value);
}

static inline void made_queue(struct made *m, uint32_t shard, uint64_t session, uint64_t count)
{
    for (uint64_t sequence = 1; sequence <= count; sequence++)
        made_queued(m, shard, session, sequence);
}

static inline void made_retained(struct made *m, uint32_t shard, const char *topic,
                                 struct bytes payload)
{
    const struct record_clock clock = {1, 1};
    struct publication p = {.topic = bytes_of_str(topic), .payload = payload, .retain = true};
    struct store_key key = record_key_retained(shard, p.topic);
    struct record_value value;
    message_record_encode(&p, &clock, &value);
    made_put(m, STORE_RETAINED, &key, &value);
}

/* All of it is in tables from now on, and the store is closed. */
static inline void made_finish(struct made *m)
{
    char error[ENGINE_ERROR_MAX];
    const struct meta_record meta = {.format = STORE_FORMAT, .shards = MADE_SHARDS, .starts = 1};
    assert_int_equal(writer_finish(&m->writer, &meta, error), RC_OK);
    for (int family = 0; family < STORE_FAMILIES; family++)
        assert_int_equal(engine_flush(m->writer.engine, (enum store_family)family, error), RC_OK);
    writer_close(&m->writer);
    m->writer = (struct writer){0};
}

/* ---- damage --------------------------------------------------------------------------------- */

/* The largest file whose name ends so. */
static inline off_t made_largest(const struct made *m, const char *suffix, char path[PATH_ROOM])
{
    off_t largest = -1;
    DIR *folder = opendir(m->store);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char each[PATH_ROOM + 300];
        struct stat status;
        size_t len = strlen(entry->d_name);
        snprintf(each, sizeof(each), "%s/%s", m->store, entry->d_name);
        if (len < strlen(suffix) || strcmp(entry->d_name + len - strlen(suffix), suffix) != 0 ||
            stat(each, &status) != 0 || status.st_size <= largest)
            continue;
        largest = status.st_size;
        snprintf(path, PATH_ROOM, "%.*s", PATH_ROOM - 1, each);
    }
    closedir(folder);
    assert_true(largest >= 0);
    return largest;
}

static inline void flip_byte(const char *path, off_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

#define MADE_RULE(rule) cmocka_unit_test_setup_teardown(rule, made_set_up, made_tear_down)

#endif

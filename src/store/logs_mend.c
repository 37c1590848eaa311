/* SPDX-License-Identifier: Apache-2.0 */
/* Writes logs anew from the records that are whole. */
#include "store/logs.h"

#include "base/crc32c.h"
#include "base/memory.h"
#include "store/log_file.h"

#include <errno.h>
#include <stdio.h>

struct mending {
    struct log_reader reader;
    struct bytes file;
    const char *name;
    uint8_t *record; /* its fragments so far */
    size_t record_len, record_room;
    bool open;
    FILE *out;
    size_t out_at;
    struct logs_mending *told;
};

static void write_fragment(struct mending *m, enum log_fragment_type type, struct bytes bytes)
{
    uint8_t head[LOG_FRAGMENT_HEAD] = {0};
    head[6] = (uint8_t)type;
    uint32_t sum = crc32c_masked(crc32c(crc32c(0, bytes_of(head + 6, 1)), bytes));
    for (int i = 0; i < 4; i++)
        head[i] = (uint8_t)(sum >> (8 * i));
    head[4] = (uint8_t)bytes.len;
    head[5] = (uint8_t)(bytes.len >> 8);
    fwrite(head, sizeof(head), 1, m->out);
    if (bytes.len > 0)
        fwrite(bytes.data, bytes.len, 1, m->out);
    m->out_at += sizeof(head) + bytes.len;
}

static void write_record(struct mending *m)
{
    static const uint8_t zeros[LOG_FRAGMENT_HEAD];
    size_t at = 0;
    do {
        size_t room = LOG_BLOCK - m->out_at % LOG_BLOCK;
        if (room < LOG_FRAGMENT_HEAD) {
            fwrite(zeros, room, 1, m->out);
            m->out_at += room;
            room = LOG_BLOCK;
        }
        size_t take = m->record_len - at;
        if (take > room - LOG_FRAGMENT_HEAD)
            take = room - LOG_FRAGMENT_HEAD;
        bool first = at == 0, last = at + take == m->record_len;
        write_fragment(m,
                       first  ? last ? LOG_WHOLE : LOG_FIRST
                       : last ? LOG_LAST
                              : LOG_MIDDLE,
                       bytes_of(m->record + at, take));
        at += take;
    } while (at < m->record_len);
}

/* False: the fragment does not continue what came before. */
static bool record_add(struct mending *m, const struct log_fragment *fragment)
{
    if ((fragment->type <= LOG_FIRST) == m->open)
        return false;
    if (fragment->type <= LOG_FIRST)
        m->record_len = 0;
    size_t need = m->record_len + fragment->bytes.len;
    if (need > m->record_room) {
        m->record = mem_resize(m->record, need * 2);
        m->record_room = need * 2;
    }
    if (fragment->bytes.len > 0)
        memcpy(m->record + m->record_len, fragment->bytes.data, fragment->bytes.len);
    m->record_len = need;
    m->open = fragment->type == LOG_FIRST || fragment->type == LOG_MIDDLE;
    return true;
}

/* Where the next record begins that is whole at its beginning; the end of the file if none does. */
static size_t next_record(const struct mending *m, size_t at)
{
    struct log_fragment fragment;
    for (at++; at + LOG_FRAGMENT_HEAD < m->file.len; at++)
        if (log_fragment_at(m->file, at, &fragment) && fragment.type <= LOG_FIRST &&
            m->reader.may_follow(&m->reader, fragment.bytes) && log_fragment_sound(&fragment))
            return at;
    return m->file.len;
}

static void report_loss(struct mending *m, size_t from, size_t until, uint64_t next)
{
    struct logs_loss loss = {.at = from, .bytes = until - from};
    snprintf(loss.name, sizeof(loss.name), "%s", m->name);
    if (next != 0 && m->reader.next != 0 && next > m->reader.next)
        loss.changes = next - m->reader.next;
    if (loss.bytes > 0 && !(until == m->file.len && log_file_only_zeros(m->file, from)))
        m->told->lost(m->told, &loss);
}

static void mend_all(struct mending *m)
{
    struct log_fragment fragment;
    size_t at = 0, whole = 0; /* behind the last record */
    while (at < m->file.len) {
        size_t room = LOG_BLOCK - at % LOG_BLOCK;
        if (room < LOG_FRAGMENT_HEAD && at + room <= m->file.len) {
            at += room;
            continue;
        }
        if (!log_fragment_at(m->file, at, &fragment) || !log_fragment_sound(&fragment) ||
            !record_add(m, &fragment)) {
            size_t next = next_record(m, at);
            uint64_t sequence = 0;
            if (next < m->file.len && log_fragment_at(m->file, next, &fragment) &&
                fragment.bytes.len >= LOG_BATCH_HEAD)
                sequence = log_get_le(fragment.bytes.data, LOG_BATCH_SEQUENCE);
            report_loss(m, whole, next, sequence);
            m->open = false;
            at = whole = next;
            continue;
        }
        at += LOG_FRAGMENT_HEAD + fragment.bytes.len;
        if (m->open)
            continue;
        whole = at;
        m->reader.next = 0; /* what is missing has been said */
        struct bytes record = bytes_of(m->record, m->record_len);
        if (!log_batch_record(&m->reader, record))
            continue;
        write_record(m);
        if (m->told->record != NULL)
            m->told->record(m->told, record);
    }
    if (whole < m->file.len)
        report_loss(m, whole, m->file.len, 0);
}

static enum rc mend_log(const char *dir, const char *name, struct mending *m,
                        char error[ENGINE_ERROR_MAX])
{
    char path[4096 + 2 * LOGS_NAME_MAX], mended[4096 + 2 * LOGS_NAME_MAX];
    enum rc rc = log_file_map(dir, name, &m->file, error);
    if (rc != RC_OK)
        return rc;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    snprintf(mended, sizeof(mended), "%s/%s.mended", dir, name);
    m->name = name;
    m->out_at = 0;
    m->open = false;
    m->out = fopen(mended, "we");
    if (m->out != NULL) {
        mend_all(m);
        bool bad = ferror(m->out) != 0;
        if (fclose(m->out) != 0 || bad || rename(mended, path) != 0)
            rc = RC_IO;
    } else {
        rc = RC_IO;
    }
    if (rc != RC_OK)
        snprintf(error, ENGINE_ERROR_MAX, "%.300s: %s", mended, strerror(errno));
    log_file_unmap(m->file);
    return rc;
}

enum rc logs_mend(const char *dir, struct logs_mending *mending, char error[ENGINE_ERROR_MAX])
{
    uint64_t *numbers = mem_new(LOG_FILES_MAX * sizeof(*numbers));
    struct mending m = {.reader = {.record = log_batch_record, .may_follow = log_batch_may_follow},
                        .told = mending};
    enum rc rc = RC_OK;
    uint32_t count = log_files_list(dir, numbers);
    for (uint32_t i = 0; i < count && rc == RC_OK; i++) {
        char name[LOGS_NAME_MAX];
        snprintf(name, sizeof(name), "%06llu.log", (unsigned long long)numbers[i]);
        rc = mend_log(dir, name, &m, error);
    }
    mem_free(m.record);
    mem_free(numbers);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log consists of blocks of 32 KiB, and a record of one or more fragments that do not cross
 * blocks:
 *
 *      checksum (4), length (2), type (1), bytes      type: whole, first, middle, last
 *
 * A record of a write-ahead log begins with its sequence number (8) and count (4), so that what is
 * missing shows; one of the manifest is a list of tagged fields, of which only the first few are
 * read here.
 */
#include "store/logs.h"

#include "base/crc32c.h"
#include "base/memory.h"
#include "store/batch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BLOCK = 32 * 1024,
    FRAGMENT_HEAD = 7,
    RECORD_HEAD_MAX = 256, /* bytes of a record that are looked at */
    LOGS_MAX = 4096,
};

enum fragment_type { WHOLE = 1, FIRST = 2, MIDDLE = 3, LAST = 4 };

static uint64_t get_le(const uint8_t *from, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

/* ---- files -------------------------------------------------------------------------------------
 */

/* Gives the file's bytes until unmap(). */
static enum rc map_file(const char *dir, const char *name, struct bytes *out,
                        char error[ENGINE_ERROR_MAX])
{
    char path[4096];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *out = bytes_of(NULL, 0);
    if (fd < 0 || fstat(fd, &status) != 0) {
        snprintf(error, ENGINE_ERROR_MAX, "%.300s: %s", name, strerror(errno));
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
        snprintf(error, ENGINE_ERROR_MAX, "%.300s: %s", name, strerror(errno));
        return RC_IO;
    }
    return RC_OK;
}

static void unmap(struct bytes file)
{
    if (file.data != NULL)
        munmap((void *)(uintptr_t)file.data, file.len);
}

/* ---- one log -----------------------------------------------------------------------------------
 */

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

struct fragment {
    enum fragment_type type;
    struct bytes bytes;
};

static bool fragment_at(struct bytes file, size_t at, struct fragment *out)
{
    size_t room = BLOCK - at % BLOCK;
    if (room < FRAGMENT_HEAD || at + FRAGMENT_HEAD > file.len)
        return false;
    const uint8_t *head = file.data + at;
    size_t len = get_le(head + 4, 2);
    if (head[6] < WHOLE || head[6] > LAST || FRAGMENT_HEAD + len > room ||
        at + FRAGMENT_HEAD + len > file.len)
        return false;
    *out = (struct fragment){.type = (enum fragment_type)head[6],
                             .bytes = bytes_of(head + FRAGMENT_HEAD, len)};
    return true;
}

static bool fragment_sound(const struct fragment *fragment)
{
    const uint8_t *from = fragment->bytes.data - 1; /* its type is in the sum */
    uint32_t sum = crc32c(0, bytes_of(from, fragment->bytes.len + 1));
    return crc32c_masked(sum) == get_le(fragment->bytes.data - FRAGMENT_HEAD, 4);
}

/* Whether a record begins anywhere behind `at`. */
static bool record_behind(const struct log_reader *reader, struct bytes file, size_t at)
{
    struct fragment fragment;
    for (at++; at + FRAGMENT_HEAD < file.len; at++)
        if (fragment_at(file, at, &fragment) && fragment.type <= FIRST &&
            reader->may_follow(reader, fragment.bytes) && fragment_sound(&fragment) &&
            (reader->proves == NULL || reader->proves(reader, fragment.bytes)))
            return true;
    return false;
}

static bool only_zeros(struct bytes file, size_t at)
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
static bool head_add(struct record_head *head, const struct fragment *fragment)
{
    bool begins = fragment->type <= FIRST;
    if (begins == head->open)
        return false;
    if (begins)
        head->len = 0;
    size_t take = fragment->bytes.len;
    if (take > RECORD_HEAD_MAX - head->len)
        take = RECORD_HEAD_MAX - head->len;
    memcpy(head->bytes + head->len, fragment->bytes.data, take);
    head->len += take;
    head->open = fragment->type == FIRST || fragment->type == MIDDLE;
    return true;
}

/* Reads all records. Gives the place behind the last one that is whole. RC_INVALID: damaged. */
static enum rc read_log(struct log_reader *reader, struct bytes file, size_t *end)
{
    struct record_head head = {.open = false};
    struct fragment fragment;
    size_t at = 0;
    *end = 0;
    while (at < file.len) {
        size_t room = BLOCK - at % BLOCK;
        if (room < FRAGMENT_HEAD && at + room <= file.len) {
            at += room;
            continue;
        }
        if (!fragment_at(file, at, &fragment) || !fragment_sound(&fragment) ||
            !head_add(&head, &fragment))
            return record_behind(reader, file, at) ? RC_INVALID : RC_OK;
        at += FRAGMENT_HEAD + fragment.bytes.len;
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

enum { BATCH_SEQUENCE = 8, BATCH_HEAD = 12 };

static bool batch_record(struct log_reader *reader, struct bytes head)
{
    if (head.len < BATCH_HEAD)
        return false;
    uint64_t sequence = get_le(head.data, BATCH_SEQUENCE);
    if (reader->next != 0 && sequence > reader->next)
        return false; /* some are missing */
    if (reader->first == 0)
        reader->first = sequence;
    reader->next = sequence + get_le(head.data + BATCH_SEQUENCE, 4);
    return true;
}

static bool batch_may_follow(const struct log_reader *reader, struct bytes head)
{
    if (head.len < BATCH_HEAD)
        return true;
    uint64_t sequence = get_le(head.data, BATCH_SEQUENCE);
    return sequence >= reader->next && sequence - reader->next < 1ULL << 32;
}

/*
 * Several records may have been on their way to the disk when power went, and any part of them may
 * have got there: a hole, and whole records behind it. One that was written after the place had
 * been synced says so; one without a mark is taken for such a one.
 */
static bool batch_proves(const struct log_reader *reader, struct bytes head)
{
    uint64_t synced;
    if (head.len < BATCH_HEAD + BATCH_MARK)
        return head.len <= BATCH_HEAD;
    struct bytes behind = bytes_of(head.data + BATCH_HEAD, head.len - BATCH_HEAD);
    return !batch_mark_read(behind, &synced) || synced >= reader->next;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

/* The numbers of all write-ahead logs in order. */
static uint32_t list_logs(const char *dir, uint64_t numbers[LOGS_MAX])
{
    uint32_t count = 0;
    DIR *folder = opendir(dir);
    if (folder == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && count < LOGS_MAX;) {
        char *end;
        uint64_t number = strtoull(entry->d_name, &end, 10);
        if (end != entry->d_name && strcmp(end, ".log") == 0)
            numbers[count++] = number;
    }
    closedir(folder);
    qsort(numbers, count, sizeof(numbers[0]), by_number);
    return count;
}

uint64_t logs_bytes(const char *dir)
{
    uint64_t *numbers = mem_new(LOGS_MAX * sizeof(*numbers)), bytes = 0;
    uint32_t count = list_logs(dir, numbers);
    for (uint32_t i = 0; i < count; i++) {
        char path[4096 + LOGS_NAME_MAX];
        struct stat status;
        snprintf(path, sizeof(path), "%s/%06llu.log", dir, (unsigned long long)numbers[i]);
        if (stat(path, &status) == 0)
            bytes += (uint64_t)status.st_size;
    }
    mem_free(numbers);
    return bytes;
}

static enum rc check_log(const char *dir, uint64_t number, struct log_reader *reader,
                         struct logs_report *out, char error[ENGINE_ERROR_MAX])
{
    char name[LOGS_NAME_MAX];
    struct bytes file;
    size_t end;
    snprintf(name, sizeof(name), "%06llu.log", (unsigned long long)number);
    enum rc rc = map_file(dir, name, &file, error);
    if (rc != RC_OK)
        return rc;
    uint64_t before = reader->records;
    rc = read_log(reader, file, &end);
    out->records += reader->records - before;
    if (rc != RC_OK) {
        snprintf(error, ENGINE_ERROR_MAX,
                 "the log %s is damaged behind byte %zu, and there are records behind that", name,
                 end);
    } else if (end < file.len && !only_zeros(file, end)) {
        snprintf(out->torn, sizeof(out->torn), "%s", name);
        out->torn_at = end;
        out->torn_bytes = file.len - end;
    }
    unmap(file);
    return rc;
}

/* `last`: the highest sequence number that the manifest names. */
static enum rc check_logs(const char *dir, uint64_t last, struct logs_report *out,
                          char error[ENGINE_ERROR_MAX])
{
    uint64_t *numbers = mem_new(LOGS_MAX * sizeof(*numbers));
    struct log_reader reader = {
        .record = batch_record, .may_follow = batch_may_follow, .proves = batch_proves};
    enum rc rc = RC_OK;
    out->logs = list_logs(dir, numbers);
    for (uint32_t i = 0; i < out->logs && rc == RC_OK; i++)
        rc = check_log(dir, numbers[i], &reader, out, error);
    mem_free(numbers);
    out->fault = LOGS_RECORDS;
    if (rc != RC_OK)
        return rc;
    if (out->logs == 0 && last > 0) { /* one that has never been written to may have none yet */
        snprintf(error, ENGINE_ERROR_MAX, "there is no write-ahead log");
        return RC_INVALID;
    }
    if (reader.first > last + 1) {
        out->fault = LOGS_MANIFEST;
        snprintf(error, ENGINE_ERROR_MAX,
                 "the manifest ends with change %llu, and the logs begin with %llu",
                 (unsigned long long)last, (unsigned long long)reader.first);
        return RC_INVALID;
    }
    out->fault = LOGS_GOOD;
    out->unused = last == 0 && out->records == 0;
    return RC_OK;
}

/* ---- mending -----------------------------------------------------------------------------------
 */

struct mending {
    struct log_reader reader;
    struct bytes file;
    const char *name;
    uint8_t *record; /* its fragments so far */
    size_t record_len, record_room;
    bool open;
    FILE *out;
    size_t out_at;
    void (*lost)(void *arg, const struct logs_loss *loss);
    void *arg;
};

static void write_fragment(struct mending *m, enum fragment_type type, struct bytes bytes)
{
    uint8_t head[FRAGMENT_HEAD] = {0};
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
    static const uint8_t zeros[FRAGMENT_HEAD];
    size_t at = 0;
    do {
        size_t room = BLOCK - m->out_at % BLOCK;
        if (room < FRAGMENT_HEAD) {
            fwrite(zeros, room, 1, m->out);
            m->out_at += room;
            room = BLOCK;
        }
        size_t take = m->record_len - at;
        if (take > room - FRAGMENT_HEAD)
            take = room - FRAGMENT_HEAD;
        bool first = at == 0, last = at + take == m->record_len;
        write_fragment(m,
                       first  ? last ? WHOLE : FIRST
                       : last ? LAST
                              : MIDDLE,
                       bytes_of(m->record + at, take));
        at += take;
    } while (at < m->record_len);
}

/* False: the fragment does not continue what came before. */
static bool record_add(struct mending *m, const struct fragment *fragment)
{
    if ((fragment->type <= FIRST) == m->open)
        return false;
    if (fragment->type <= FIRST)
        m->record_len = 0;
    size_t need = m->record_len + fragment->bytes.len;
    if (need > m->record_room) {
        m->record = mem_resize(m->record, need * 2);
        m->record_room = need * 2;
    }
    if (fragment->bytes.len > 0)
        memcpy(m->record + m->record_len, fragment->bytes.data, fragment->bytes.len);
    m->record_len = need;
    m->open = fragment->type == FIRST || fragment->type == MIDDLE;
    return true;
}

/* Where the next record begins that is whole at its beginning; the end of the file if none does. */
static size_t next_record(const struct mending *m, size_t at)
{
    struct fragment fragment;
    for (at++; at + FRAGMENT_HEAD < m->file.len; at++)
        if (fragment_at(m->file, at, &fragment) && fragment.type <= FIRST &&
            m->reader.may_follow(&m->reader, fragment.bytes) && fragment_sound(&fragment))
            return at;
    return m->file.len;
}

static void report_loss(struct mending *m, size_t from, size_t until, uint64_t next)
{
    struct logs_loss loss = {.at = from, .bytes = until - from};
    snprintf(loss.name, sizeof(loss.name), "%s", m->name);
    if (next != 0 && m->reader.next != 0 && next > m->reader.next)
        loss.changes = next - m->reader.next;
    if (loss.bytes > 0 && !(until == m->file.len && only_zeros(m->file, from)))
        m->lost(m->arg, &loss);
}

static void mend_all(struct mending *m)
{
    struct fragment fragment;
    size_t at = 0, whole = 0; /* behind the last record */
    while (at < m->file.len) {
        size_t room = BLOCK - at % BLOCK;
        if (room < FRAGMENT_HEAD && at + room <= m->file.len) {
            at += room;
            continue;
        }
        if (!fragment_at(m->file, at, &fragment) || !fragment_sound(&fragment) ||
            !record_add(m, &fragment)) {
            size_t next = next_record(m, at);
            uint64_t sequence = 0;
            if (next < m->file.len && fragment_at(m->file, next, &fragment) &&
                fragment.bytes.len >= BATCH_HEAD)
                sequence = get_le(fragment.bytes.data, BATCH_SEQUENCE);
            report_loss(m, whole, next, sequence);
            m->open = false;
            at = whole = next;
            continue;
        }
        at += FRAGMENT_HEAD + fragment.bytes.len;
        if (m->open)
            continue;
        whole = at;
        m->reader.next = 0; /* what is missing has been said */
        if (batch_record(&m->reader, bytes_of(m->record, m->record_len)))
            write_record(m);
    }
    if (whole < m->file.len)
        report_loss(m, whole, m->file.len, 0);
}

static enum rc mend_log(const char *dir, const char *name, struct mending *m,
                        char error[ENGINE_ERROR_MAX])
{
    char path[4096 + 2 * LOGS_NAME_MAX], mended[4096 + 2 * LOGS_NAME_MAX];
    enum rc rc = map_file(dir, name, &m->file, error);
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
    unmap(m->file);
    return rc;
}

enum rc logs_mend(const char *dir, void (*lost)(void *arg, const struct logs_loss *loss), void *arg,
                  char error[ENGINE_ERROR_MAX])
{
    uint64_t *numbers = mem_new(LOGS_MAX * sizeof(*numbers));
    struct mending m = {.reader = {.record = batch_record, .may_follow = batch_may_follow},
                        .lost = lost,
                        .arg = arg};
    enum rc rc = RC_OK;
    uint32_t count = list_logs(dir, numbers);
    for (uint32_t i = 0; i < count && rc == RC_OK; i++) {
        char name[LOGS_NAME_MAX];
        snprintf(name, sizeof(name), "%06llu.log", (unsigned long long)numbers[i]);
        rc = mend_log(dir, name, &m, error);
    }
    mem_free(m.record);
    mem_free(numbers);
    return rc;
}

/* ---- the manifest ------------------------------------------------------------------------------
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

enum manifest_tag { TAG_COMPARATOR = 1, TAG_LOG = 2, TAG_NEXT_FILE = 3, TAG_LAST_SEQUENCE = 4 };
enum { TAG_PREVIOUS_LOG = 9, TAG_MIN_LOG = 10, TAG_MAX_FAMILY = 203, TAG_DB_ID = 0x2001 };

/* Takes the value of the tag off the front. False: what follows is of no interest here. */
static bool skip_tag(uint64_t tag, struct bytes *rest, uint64_t *value)
{
    switch (tag) {
    case TAG_COMPARATOR:
    case TAG_DB_ID:
        if (!get_varint(rest, value) || *value > rest->len)
            return false;
        *rest = bytes_of(rest->data + *value, rest->len - *value);
        return true;
    case TAG_LOG:
    case TAG_NEXT_FILE:
    case TAG_LAST_SEQUENCE:
    case TAG_PREVIOUS_LOG:
    case TAG_MIN_LOG:
    case TAG_MAX_FAMILY:
        return get_varint(rest, value);
    default:
        return false;
    }
}

static bool manifest_record(struct log_reader *reader, struct bytes head)
{
    uint64_t tag, value;
    while (get_varint(&head, &tag) && skip_tag(tag, &head, &value))
        if (tag == TAG_LAST_SEQUENCE && value > reader->last)
            reader->last = value;
    return true;
}

static bool manifest_may_follow(const struct log_reader *reader, struct bytes head)
{
    (void)reader;
    return head.len > 0;
}

/* CURRENT names the manifest. */
static enum rc read_current(const char *dir, char name[LOGS_NAME_MAX], char error[ENGINE_ERROR_MAX])
{
    static const char prefix[] = "MANIFEST-";
    struct bytes file;
    enum rc rc = map_file(dir, "CURRENT", &file, error);
    if (rc != RC_OK)
        return rc;
    size_t prefix_len = sizeof(prefix) - 1, len = file.len;
    bool good = len > prefix_len + 1 && len < LOGS_NAME_MAX && file.data[len - 1] == '\n' &&
                memcmp(file.data, prefix, prefix_len) == 0;
    for (size_t i = prefix_len; good && i + 1 < len; i++)
        good = file.data[i] >= '0' && file.data[i] <= '9';
    if (good)
        snprintf(name, LOGS_NAME_MAX, "%.*s", (int)len - 1, (const char *)file.data);
    else
        snprintf(error, ENGINE_ERROR_MAX, "the file CURRENT does not name a manifest");
    unmap(file);
    return good ? RC_OK : RC_INVALID;
}

/* A store without CURRENT is one that was never finished, or has lost it. */
static enum rc missing_current(const char *dir, char error[ENGINE_ERROR_MAX])
{
    bool any = false;
    DIR *folder = opendir(dir);
    if (folder == NULL)
        return errno == ENOENT ? RC_NOT_FOUND : RC_IO;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        any |= dot != NULL &&
               (strcmp(dot, ".sst") == 0 || strcmp(dot, ".log") == 0 || strcmp(dot, ".blob") == 0);
    }
    closedir(folder);
    snprintf(error, ENGINE_ERROR_MAX, any ? "the file CURRENT is missing" : "there is no store");
    return any ? RC_INVALID : RC_NOT_FOUND;
}

static enum rc check_manifest(const char *dir, uint64_t *last, enum logs_fault *fault,
                              char error[ENGINE_ERROR_MAX])
{
    char name[LOGS_NAME_MAX];
    struct bytes file;
    size_t end;
    struct log_reader reader = {.record = manifest_record, .may_follow = manifest_may_follow};
    enum rc rc = read_current(dir, name, error);
    *fault = LOGS_CURRENT;
    if (rc == RC_NOT_FOUND)
        return missing_current(dir, error);
    if (rc != RC_OK)
        return rc;
    *fault = LOGS_MANIFEST;
    rc = map_file(dir, name, &file, error);
    if (rc == RC_NOT_FOUND) {
        snprintf(error, ENGINE_ERROR_MAX, "the file %s is missing", name);
        return RC_INVALID;
    }
    if (rc != RC_OK)
        return rc;
    rc = read_log(&reader, file, &end);
    unmap(file);
    if (rc == RC_OK && reader.records == 0)
        rc = RC_INVALID;
    if (rc != RC_OK)
        snprintf(error, ENGINE_ERROR_MAX, "%s is damaged behind byte %zu", name, end);
    *last = reader.last;
    return rc;
}

enum rc logs_check(const char *dir, struct logs_report *out, char error[ENGINE_ERROR_MAX])
{
    uint64_t last = 0;
    *out = (struct logs_report){0};
    enum rc rc = check_manifest(dir, &last, &out->fault, error);
    return rc == RC_OK ? check_logs(dir, last, out, error) : rc;
}

static bool write_current(const char *dir, uint64_t number)
{
    char path[4096 + LOGS_NAME_MAX];
    snprintf(path, sizeof(path), "%s/CURRENT", dir);
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return false;
    fprintf(file, "MANIFEST-%06llu\n", (unsigned long long)number);
    return fclose(file) == 0;
}

enum rc logs_mend_current(const char *dir)
{
    uint64_t number, last, below = UINT64_MAX;
    char error[ENGINE_ERROR_MAX];
    enum logs_fault fault;
    for (;;) {
        uint64_t best = 0;
        DIR *folder = opendir(dir);
        if (folder == NULL)
            return RC_IO;
        for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
            if (strncmp(entry->d_name, "MANIFEST-", 9) != 0)
                continue;
            number = strtoull(entry->d_name + 9, NULL, 10);
            if (number > best && number < below)
                best = number;
        }
        closedir(folder);
        if (best == 0)
            return RC_NOT_FOUND;
        if (write_current(dir, best) && check_manifest(dir, &last, &fault, error) == RC_OK)
            return RC_OK;
        below = best;
    }
}

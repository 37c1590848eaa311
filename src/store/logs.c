/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with the files that the engine starts from. A record of the manifest is a list of
 * tagged fields, of which only the first few are read here. */
#include "store/logs.h"

#include "base/memory.h"
#include "store/batch.h"
#include "store/log_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTE "MANIFEST_END" /* a file of ours among RocksDB's, which it leaves alone */

/* ---- write-ahead logs --------------------------------------------------------------------------
 */

/*
 * Several records may have been on their way to the disk when power went, and any part of them may
 * have got there: a hole, and whole records behind it. One that was written after the place had
 * been synced says so; one without a mark is taken for such a one.
 */
static bool batch_proves(const struct log_reader *reader, struct bytes head)
{
    uint64_t synced;
    if (head.len < LOG_BATCH_HEAD + BATCH_MARK)
        return head.len <= LOG_BATCH_HEAD;
    struct bytes behind = bytes_of(head.data + LOG_BATCH_HEAD, head.len - LOG_BATCH_HEAD);
    return !batch_mark_read(behind, &synced) || synced >= reader->next;
}

uint64_t logs_bytes(const char *dir)
{
    uint64_t *numbers = mem_new(LOG_FILES_MAX * sizeof(*numbers)), bytes = 0;
    uint32_t count = log_files_list(dir, numbers);
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
    enum rc rc = log_file_map(dir, name, &file, error);
    if (rc != RC_OK)
        return rc;
    uint64_t before = reader->records;
    rc = log_file_read(reader, file, &end);
    out->records += reader->records - before;
    if (rc != RC_OK) {
        snprintf(error, ENGINE_ERROR_MAX,
                 "the log %s is damaged behind byte %zu, and there are records behind that", name,
                 end);
    } else if (end < file.len && !log_file_only_zeros(file, end)) {
        snprintf(out->torn, sizeof(out->torn), "%s", name);
        out->torn_at = end;
        out->torn_bytes = file.len - end;
    }
    log_file_unmap(file);
    return rc;
}

/* `last`: the highest sequence number that the manifest names. */
static enum rc check_logs(const char *dir, uint64_t last, struct logs_report *out,
                          char error[ENGINE_ERROR_MAX])
{
    uint64_t *numbers = mem_new(LOG_FILES_MAX * sizeof(*numbers));
    struct log_reader reader = {
        .record = log_batch_record, .may_follow = log_batch_may_follow, .proves = batch_proves};
    enum rc rc = RC_OK;
    out->logs = log_files_list(dir, numbers);
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
    enum rc rc = log_file_map(dir, "CURRENT", &file, error);
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
    log_file_unmap(file);
    return good ? RC_OK : RC_INVALID;
}

/* A note of logs_note_end(): a name and a length. An older one names another manifest, or one that
 * has grown since. */
static bool shorter_than_noted(const char *dir, const char *name, size_t len)
{
    char path[4096 + LOGS_NAME_MAX], line[2 * LOGS_NAME_MAX] = "";
    snprintf(path, sizeof(path), "%s/" NOTE, dir);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool read = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    size_t name_len = strlen(name);
    return read && strncmp(line, name, name_len) == 0 && line[name_len] == ' ' &&
           len < strtoull(line + name_len, NULL, 10);
}

void logs_note_end(const char *dir)
{
    char name[LOGS_NAME_MAX], path[4096 + LOGS_NAME_MAX], error[ENGINE_ERROR_MAX];
    struct stat status;
    if (read_current(dir, name, error) != RC_OK)
        return;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    bool safe = fsync(fd) == 0 && fstat(fd, &status) == 0; /* never more than the disk has */
    close(fd);
    snprintf(path, sizeof(path), "%s/" NOTE, dir);
    FILE *file = safe ? fopen(path, "we") : NULL;
    if (file == NULL)
        return;
    fprintf(file, "%s %llu\n", name, (unsigned long long)status.st_size);
    fclose(file);
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
    rc = log_file_map(dir, name, &file, error);
    if (rc == RC_NOT_FOUND) {
        snprintf(error, ENGINE_ERROR_MAX, "the file %s is missing", name);
        return RC_INVALID;
    }
    if (rc != RC_OK)
        return rc;
    rc = log_file_read(&reader, file, &end);
    log_file_unmap(file);
    if (rc == RC_OK && (reader.records == 0 || shorter_than_noted(dir, name, file.len)))
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

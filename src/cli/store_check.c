/* SPDX-License-Identifier: Apache-2.0 */
/* `skein store check`, `stats` and `salvage`. */
#include "base/list.h"
#include "base/memory.h"
#include "cli/store.h"
#include "store/audit.h"
#include "store/salvage.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { LONGEST = 10, PROBLEMS_SHOWN = 50, SHARDS_DEFAULT = 64 };

struct looked {
    struct audit audit;
    bool json, quiet;
    struct audit_session longest[LONGEST]; /* their client ids are copies */
    int longest_count;
    json_t *problems;
};

/* ---- collecting --------------------------------------------------------------------------------
 */

static void on_problem(struct audit *audit, const char *line)
{
    struct looked *looked = CONTAINER_OF(audit, struct looked, audit);
    if (looked->json && audit->problems <= PROBLEMS_SHOWN)
        json_array_append_new(looked->problems, json_string(line));
    else if (!looked->json && audit->problems <= PROBLEMS_SHOWN)
        printf("damaged: %s\n", line);
}

/* Keeps the longest queues, the longest first. */
static void on_session(struct audit *audit, const struct audit_session *session)
{
    struct looked *looked = CONTAINER_OF(audit, struct looked, audit);
    int at = looked->longest_count;
    while (at > 0 && looked->longest[at - 1].queued < session->queued)
        at--;
    if (at == LONGEST || session->queued == 0)
        return;
    if (looked->longest_count == LONGEST)
        mem_free((void *)(uintptr_t)looked->longest[LONGEST - 1].client_id.data);
    else
        looked->longest_count++;
    memmove(&looked->longest[at + 1], &looked->longest[at],
            (size_t)(looked->longest_count - 1 - at) * sizeof(looked->longest[0]));
    looked->longest[at] = *session;
    uint8_t *copy = mem_new(session->client_id.len + 1);
    memcpy(copy, session->client_id.data, session->client_id.len);
    looked->longest[at].client_id = bytes_of(copy, session->client_id.len);
}

/* ---- saying it ---------------------------------------------------------------------------------
 */

/* "inbound QoS 2 identifiers" as a name in JSON. */
static void json_name(const char *text, char *out, size_t room)
{
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < room; i++)
        out[i] = text[i] == ' '                     ? '_'
                 : text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 32)
                                                    : text[i];
    out[i] = '\0';
}

static json_t *longest_json(const struct looked *looked)
{
    json_t *list = json_array();
    for (int i = 0; i < looked->longest_count; i++) {
        const struct audit_session *session = &looked->longest[i];
        json_array_append_new(
            list,
            json_pack("{s:s%, s:I, s:I, s:b}", "client_id", (const char *)session->client_id.data,
                      session->client_id.len, "messages", (json_int_t)session->queued, "bytes",
                      (json_int_t)session->queued_bytes, "connected", session->connected));
    }
    return list;
}

static void print_json(struct looked *looked, const uint64_t disk[STORE_FAMILIES])
{
    const struct audit *audit = &looked->audit;
    json_t *kinds = json_object();
    for (int kind = 0; kind < AUDIT_KINDS; kind++) {
        char name[64];
        json_name(audit_kind_names[kind], name, sizeof(name));
        json_object_set_new(kinds, name,
                            json_pack("{s:I, s:I}", "records",
                                      (json_int_t)audit->counts[kind].records, "bytes",
                                      (json_int_t)audit->counts[kind].bytes));
    }
    json_t *all =
        json_pack("{s:i, s:i, s:I, s:o, s:{s:I, s:I, s:I}, s:o, s:I, s:O}", "format",
                  (int)audit->meta.format, "shards", (int)audit->meta.shards, "starts",
                  (json_int_t)audit->meta.starts, "kinds", kinds, "disk_bytes", "state",
                  (json_int_t)disk[STORE_STATE], "queue", (json_int_t)disk[STORE_QUEUE], "retained",
                  (json_int_t)disk[STORE_RETAINED], "longest_queues", longest_json(looked),
                  "problems", (json_int_t)audit->problems, "problem_lines", looked->problems);
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}

static void print_counts(const struct audit_count counts[AUDIT_KINDS])
{
    for (int kind = 0; kind < AUDIT_KINDS; kind++)
        printf("%-26s%12llu%16llu bytes\n", audit_kind_names[kind],
               (unsigned long long)counts[kind].records, (unsigned long long)counts[kind].bytes);
}

static void print_text(const struct looked *looked, const uint64_t disk[STORE_FAMILIES])
{
    const struct audit *audit = &looked->audit;
    printf("format %u, shards %u, started %llu times\n", audit->meta.format, audit->meta.shards,
           (unsigned long long)audit->meta.starts);
    print_counts(audit->counts);
    printf("on disk: state %llu, queues %llu, retained %llu bytes, and what is in the log\n",
           (unsigned long long)disk[STORE_STATE], (unsigned long long)disk[STORE_QUEUE],
           (unsigned long long)disk[STORE_RETAINED]);
    if (looked->longest_count > 0)
        puts("longest queues:");
    for (int i = 0; i < looked->longest_count; i++)
        printf(
            "  %12llu messages %14llu bytes  %.*s\n", (unsigned long long)looked->longest[i].queued,
            (unsigned long long)looked->longest[i].queued_bytes,
            (int)looked->longest[i].client_id.len, (const char *)looked->longest[i].client_id.data);
}

/* ---- the actions -------------------------------------------------------------------------------
 */

static int look(const struct store_args *args, bool stats)
{
    struct opened_store opened;
    struct looked looked = {.json = args->json, .problems = json_array()};
    uint64_t disk[STORE_FAMILIES];
    int code = store_open_to_read(args->paths[0], &opened);
    if (code != EX_OK) {
        json_decref(looked.problems);
        return code;
    }
    looked.audit = (struct audit){.problem = on_problem, .session = on_session};
    enum rc rc = audit_run(opened.engine, &looked.audit);
    for (int family = 0; family < STORE_FAMILIES; family++)
        disk[family] = engine_disk_bytes(opened.engine, (enum store_family)family);
    store_close_read(&opened);
    if (rc == RC_REFUSED) {
        char error[ENGINE_ERROR_MAX];
        snprintf(error, sizeof(error), "its format is %u, this version reads up to %u",
                 looked.audit.meta.format, (unsigned)STORE_FORMAT);
        code = store_explain(args->paths[0], RC_REFUSED, error);
    } else {
        char error[ENGINE_ERROR_MAX];
        if (args->json)
            print_json(&looked, disk);
        else if (stats)
            print_text(&looked, disk);
        else
            print_counts(looked.audit.counts);
        snprintf(error, sizeof(error), "%llu problems", (unsigned long long)looked.audit.problems);
        code = store_explain(args->paths[0], looked.audit.problems > 0 ? RC_INVALID : rc, error);
        if (code == EX_OK && !stats && !args->json)
            puts("the store is good");
    }
    for (int i = 0; i < looked.longest_count; i++)
        mem_free((void *)(uintptr_t)looked.longest[i].client_id.data);
    json_decref(looked.problems);
    return code;
}

int store_check(const struct store_args *args)
{
    return look(args, false);
}

int store_stats(const struct store_args *args)
{
    return look(args, true);
}

static void print_list(const char *path, uint64_t lines)
{
    char line[2048];
    FILE *list = fopen(path, "re");
    if (list == NULL)
        return;
    for (int i = 0; i < PROBLEMS_SHOWN && fgets(line, sizeof(line), list) != NULL; i++)
        printf("lost: %s", line);
    fclose(list);
    if (lines > PROBLEMS_SHOWN)
        printf("and %llu more\n", (unsigned long long)(lines - PROBLEMS_SHOWN));
}

int store_salvage(const struct store_args *args)
{
    struct salvaged salvaged;
    char error[ENGINE_ERROR_MAX] = "";
    uint32_t shards = args->shards == 0 ? SHARDS_DEFAULT : args->shards;
    enum rc rc = salvage(args->paths[0], shards, &salvaged, error);
    if (rc == RC_INVALID)
        rc = RC_IO;
    if (rc != RC_OK)
        return store_explain(args->paths[0], rc, error);
    print_list(salvaged.list, salvaged.losses);
    puts("kept:");
    print_counts(salvaged.counts);
    printf("the damaged store is now %s\nwhat was lost is listed in %s\n", salvaged.aside,
           salvaged.list);
    if (salvaged.shards_unknown)
        printf("the number of shards could not be read: %u is assumed\n", salvaged.shards);
    return EX_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* `skein store`: the command line of what works on a store, and what its parts share. */
#include "cli/store.h"

#include "base/clock.h"
#include "cli/commands.h"
#include "store/folder.h"
#include "store/lock.h"
#include "store/logs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int cmd_store(int argc, char **argv);

enum { OPT_JSON = OPTION_LONG, OPT_FORCE, OPT_SHARDS };
enum { SHARDS_DEFAULT = 64, SHARDS_MIN = 16, SHARDS_MAX = 4096 };

static const struct option store_options[] = {
    {.id = 'd',
     .name = "data-dir",
     .argument = "DIR",
     .flags = OPTION_FILE,
     .help = "backup: the data directory to copy from, by default /var/lib/skein."},
    {.id = OPT_JSON, .name = "json", .help = "check, stats: one JSON object instead of text."},
    {.id = OPT_FORCE,
     .name = "force",
     .help = "restore, import: set a store that is there aside instead of refusing."},
    {.id = OPT_SHARDS,
     .name = "shards",
     .argument = "N",
     .help = "import: make the store for `shards: N`, by default as it was exported. salvage: what "
             "is assumed when the store does not say, by default 64."},
    {0},
};

static const struct operand store_operands[] = {
    {"ACTION", "What to do; see above.", "check stats salvage backup restore export import"},
    {"PATH",
     "check, stats, salvage: DIR. backup: TO. restore: FROM DIR. export: DIR [FILE]. import: "
     "FILE DIR. DIR is a data directory; FILE may be - for standard input or output.",
     NULL},
    {0},
};

static const struct exit_code store_exit_codes[] = {
    {EX_OK, "It was done; check: the store is good."},
    {EX_USAGE, "The command line is wrong."},
    {EX_DATAERR,
     "The store is damaged, or what was to be imported is; the message says what helps."},
    {EX_NOINPUT, "There is no store."},
    {EX_UNAVAILABLE, "A broker is using the store."},
    {EX_CANTCREAT, "What would be written is there already."},
    {EX_IOERR, "Something cannot be read or written."},
    {0},
};

static const struct example store_examples[] = {
    {"skein store check ./data", "Read everything and compare checksums."},
    {"skein store salvage ./data", "Keep what can be read of a damaged store."},
    {"skein store backup -d ./data ./backup", "Make a consistent copy, also while a broker runs."},
    {"skein store export ./data store.jsonl", "Write the store as JSON lines."},
    {0},
};

const struct command command_store = {
    .name = "store",
    .summary = "check, save and repair what a broker keeps on disk",
    .synopsis = "ACTION [OPTIONS] PATH...",
    .description =
        "Works on the store of a data directory.\n\n"
        "check reads everything, compares checksums, and looks whether what belongs together is "
        "there. stats says how much there is of what, and which queues are the longest.\n\n"
        "salvage makes a good store of a damaged one: what can be read is kept, the damaged store "
        "is set aside as DIR/store.damaged-TIME, and what was lost is listed, by session and "
        "topic where they are known. It needs room for a second store.\n\n"
        "backup makes a consistent copy in the new folder TO, which is a data directory again. "
        "restore puts such a copy into DIR.\n\n"
        "export writes sessions, subscriptions, wills, queues and retained messages as JSON lines, "
        "import makes a store of them: between versions, and for another number of shards.\n\n"
        "All but backup need a store that no broker uses.",
    .options = store_options,
    .operands = store_operands,
    .exit_codes = store_exit_codes,
    .examples = store_examples,
    .run = cmd_store,
};

struct action {
    const char *name;
    int (*run)(const struct store_args *args);
    int paths_min, paths_max;
};

static const struct action actions[] = {
    {"check", store_check, 1, 1},     {"stats", store_stats, 1, 1},
    {"salvage", store_salvage, 1, 1}, {"backup", store_backup, 1, 1},
    {"restore", store_restore, 2, 2}, {"export", store_export, 1, 2},
    {"import", store_import, 2, 2},
};

enum { ACTION_COUNT = sizeof(actions) / sizeof(*actions) };

static const struct action *find_action(struct options *o)
{
    for (int i = 0; i < ACTION_COUNT; i++)
        if (strcmp(actions[i].name, o->value) == 0)
            return &actions[i];
    options_fail(o, "there is no action '%s'; there are: %s", o->value, store_operands[0].choices);
    return NULL;
}

static int cmd_store(int argc, char **argv)
{
    struct options o = options_begin(&command_store, argc, argv);
    const struct action *action = NULL;
    struct store_args args = {0};
    int paths = 0;

    while (options_next(&o)) {
        if (o.id == 'd')
            args.data_dir = o.value;
        else if (o.id == OPT_JSON)
            args.json = true;
        else if (o.id == OPT_FORCE)
            args.force = true;
        else if (o.id == OPT_SHARDS)
            args.shards = (uint32_t)options_number(&o, SHARDS_MIN, SHARDS_MAX);
        else if (action == NULL)
            action = find_action(&o);
        else if (paths < action->paths_max)
            args.paths[paths++] = o.value;
        else
            options_fail(&o, "%s: unexpected word '%s'", action->name, o.value);
    }
    if (action == NULL)
        options_fail(&o, "an action is missing: %s", store_operands[0].choices);
    else if (paths < action->paths_min)
        options_fail(&o, "%s: a path is missing", action->name);
    return o.ended || action == NULL ? o.exit_code : action->run(&args);
}

/* ---- what the parts share ----------------------------------------------------------------------
 */

int store_explain(const char *data_dir, enum rc rc, const char *error)
{
    switch (rc) {
    case RC_OK:
        return EX_OK;
    case RC_EXISTS:
        fprintf(stderr,
                "skein store: a process is using the store in %s. A copy can be made meanwhile:\n"
                "  skein store backup -d %s NEW_FOLDER\n",
                data_dir, data_dir);
        return EX_UNAVAILABLE;
    case RC_NOT_FOUND:
        fprintf(stderr, "skein store: there is no store in %s\n", data_dir);
        return EX_NOINPUT;
    case RC_INVALID:
        fprintf(stderr,
                "skein store: the store in %s is damaged: %s\n"
                "This keeps everything that can be read, sets the damaged store aside, and lists "
                "what was lost:\n"
                "  skein store salvage %s\n",
                data_dir, error, data_dir);
        return EX_DATAERR;
    case RC_REFUSED:
        fprintf(stderr, "skein store: the store in %s cannot be used: %s\n", data_dir, error);
        return EX_DATAERR;
    default:
        fprintf(stderr, "skein store: %s: %s\n", data_dir, error);
        return EX_IOERR;
    }
}

int store_open_to_read(const char *data_dir, struct opened_store *out)
{
    char error[ENGINE_ERROR_MAX] = "";
    struct logs_report report;
    snprintf(out->dir, sizeof(out->dir), "%s/store", data_dir);
    enum rc rc = folder_empty(out->dir) ? RC_NOT_FOUND : store_lock_take(out->dir, &out->lock);
    if (rc != RC_OK) {
        if (rc == RC_IO)
            snprintf(error, sizeof(error), "%s", strerror(errno));
        return store_explain(data_dir, rc, error);
    }
    rc = logs_check(out->dir, &report, error);
    if (rc == RC_OK && report.torn[0] != '\0')
        fprintf(stderr,
                "skein store: %s ends torn at byte %llu: the change that was being written there "
                "is not in the store\n",
                report.torn, (unsigned long long)report.torn_at);
    if (rc == RC_OK)
        rc = engine_open(out->dir, ENGINE_READ_ONLY, ENGINE_SMALL, &out->engine, error);
    if (rc == RC_OK)
        return EX_OK;
    store_lock_drop(out->lock);
    return store_explain(data_dir, rc, error);
}

void store_close_read(struct opened_store *opened)
{
    engine_close(opened->engine);
    store_lock_drop(opened->lock);
}

int store_put_in_place(const char *work, const char *target, bool force)
{
    char aside[STORE_PATH_MAX + 64], when[32];
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &utc);
    snprintf(aside, sizeof(aside), "%s.before-%s", target, when);
    if (rmdir(target) != 0 && errno != ENOENT) {
        if (!force) {
            fprintf(stderr, "skein store: %s is not empty; --force sets what is there aside\n",
                    target);
            return EX_CANTCREAT;
        }
        if (rename(target, aside) != 0) {
            fprintf(stderr, "skein store: %s: %s\n", aside, strerror(errno));
            return EX_IOERR;
        }
        printf("what was there is now %s\n", aside);
    }
    if (rename(work, target) != 0) {
        fprintf(stderr, "skein store: %s: %s\n", target, strerror(errno));
        return EX_IOERR;
    }
    return EX_OK;
}
